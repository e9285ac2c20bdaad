"""Values by name and the formats of the table, of a running program: known values in, what each output shows out."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from command import specc
from jsonschema import Draft202012Validator

from .build import compile_c, live
from .test_live_run import finish, started

pytestmark = live

HEADER = r"""
#define W_READ 1
#define W_WRITE 2u
#define W_BOTH (W_READ | W_WRITE)
#define W_SYNC (1ul << 20 | W_LATE)
#define W_LATE 0x80000000
#define W_TEXT "no number"
enum state { IDLE, BUSY, GONE = -3 };
typedef enum state state_t;
struct in_addr { unsigned int s_addr; };
struct in6_addr { unsigned char bytes[16]; };
int work(int state, unsigned long how, state_t declared, struct in_addr from, struct in6_addr to, const void *mac,
         const unsigned int *gateway);
"""
PROGRAM = r"""
#include "work.h"
#include <string.h>
#include <unistd.h>
__attribute__((noinline, noipa))
int work(int state, unsigned long how, state_t declared, struct in_addr from, struct in6_addr to, const void *mac,
         const unsigned int *gateway)
{
    usleep(2000);
    return how & W_WRITE ? -11 : state;
}
int main(void)
{
    static unsigned char mac[6];
    static unsigned int gateway;
    struct in_addr from;
    struct in6_addr to = {{0x20, 1, 0x0d, 0xb8}};

    memcpy(mac, "\2\0\x5e\xff\xaa\x0b", 6), memcpy(&gateway, "\xc0\xa8\1\xfe", 4), memcpy(&from, "\x7f\0\0\1", 4);
    to.bytes[15] = 0x42;
    work(BUSY, W_READ | W_LATE, GONE, from, to, mac, &gateway);
    work(GONE, W_BOTH | 1ul << 63, IDLE, from, to, mac, &gateway);
    work(7, 0, (state_t)9, from, to, mac, &gateway);
    work(IDLE, W_SYNC | W_WRITE | 0x40, BUSY, from, to, mac, &gateway);
    return 0;
}
"""
SPEC = """
specc: 1
name: names
headers: [work.h]
fields: [tid]
probes:
  - name: call
    uprobe: {path: ./work, symbol: work}
    args:
      - state: {enum: state}
      - state: {as: number}
      - how: {flags: W_}
      - declared
      - from: {format: ipv4}
      - to: {format: ipv6}
      - mac: {bytes: {size: 6}, format: mac}
      - gateway: {deref: true, format: ipv4}
  - name: done
    uretprobe: {path: ./work, symbol: work}
    args: [{how: {flags: W_}}, latency, {return: {format: errno}}, {return: {as: state_after, enum: state_t}}]
"""
TO = [0x20, 1, 0x0D, 0xB8, *[0] * 11, 0x42]
SAME: dict[str, Any] = {
    "from": {"s_addr": 0x0100007F}, "to": {"bytes": TO}, "mac": "02005effaa0b", "gateway": 0xFE01A8C0,
}  # fmt: skip
CALLS: list[dict[str, Any]] = [
    {"state": "BUSY", "number": 1, "how": "W_READ|W_LATE", "declared": -3},
    {"state": "GONE", "number": -3, "how": "W_BOTH|0x8000000000000000", "declared": 0},
    {"state": 7, "number": 7, "how": "0", "declared": 9},
    {"state": "IDLE", "number": 0, "how": "W_WRITE|W_SYNC|0x40", "declared": 1},
]
DONES: list[dict[str, Any]] = [
    {"how": CALLS[0]["how"], "return": 1, "state_after": "BUSY"},
    {"how": CALLS[1]["how"], "return": -11, "state_after": -11},
    {"how": CALLS[2]["how"], "return": 7, "state_after": 7},
    {"how": CALLS[3]["how"], "return": -11, "state_after": -11},
]
DECLARED = ["GONE", "IDLE", "9", "BUSY"]
RETURNS = ["1", "-EAGAIN", "7", "-EAGAIN"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "work.h").write_text(HEADER)
    compile_c(tmp_path / "work", PROGRAM)
    (tmp_path / "names.yaml").write_text(SPEC)
    return tmp_path


def shown(folder: Path, program: str, format_: str, *options: str) -> str:
    with started(program, "--format", format_, "--count", "8", *options, cwd=folder) as process:
        subprocess.run([folder / "work"], check=True)
        done = finish(process)
    assert done.code == 0 and done.err.splitlines()[-1] == "received 8, lost 0", done.err
    return done.out


@pytest.mark.parametrize("program", ["names.yaml", "generated/names.bpf.o"])
def test_records(program: str, folder: Path) -> None:
    """From the spec, and from the object alone, when the headers are gone."""
    schema = json.loads(specc("schema", "--event", folder / "names.yaml", cwd=folder).out)
    if program.endswith(".o"):
        assert specc("build", folder / "names.yaml", cwd=folder).code == 0
        (folder / "work.h").unlink()
    records = [json.loads(line) for line in shown(folder, program, "jsonl").splitlines()]
    for record in records:
        assert list(Draft202012Validator(schema).iter_errors(record)) == []
        record.pop("tid")
    assert [r for r in records if r.pop("probe") == "call"] == [c | SAME for c in CALLS]
    dones = [r for r in records if "return" in r]
    for done in dones:
        assert 2_000_000 <= done.pop("latency") < 10_000_000_000  # it sleeps 2 ms
    assert dones == DONES


def test_table(folder: Path) -> None:
    lines = [line.split() for line in shown(folder, "names.yaml", "table").splitlines()]
    calls = [line for line in lines if line[0] == "call"]
    addresses = ["127.0.0.1", "2001:db8::42", "02:00:5e:ff:aa:0b", "192.168.1.254"]
    assert [line[2:] for line in calls] == [
        [str(c["state"]), str(c["number"]), c["how"], declared, *addresses]
        for c, declared in zip(CALLS, DECLARED, strict=True)
    ]
    dones = [line for line in lines if line[0] == "done"]
    assert [(line[2], line[4], line[5]) for line in dones] == [
        (d["how"], r, str(d["state_after"])) for d, r in zip(DONES, RETURNS, strict=True)
    ]
    for line in dones:
        assert re.fullmatch(r"\d{1,3}\.\d{3}ms|\d\.\d{3}s", line[3]), line


def test_csv(folder: Path) -> None:
    rows = [r for r in csv.DictReader(io.StringIO(shown(folder, "names.yaml", "csv"))) if r["probe"] == "call"]
    for row, wanted in zip(rows, CALLS, strict=True):
        assert {k: row[k] for k in wanted} == {k: str(v) for k, v in wanted.items()}
        assert (row["from.s_addr"], row["mac"], row["gateway"]) == ("16777343", SAME["mac"], str(SAME["gateway"]))


def test_columns(folder: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    shown(folder, "names.yaml", "parquet", "-o", str(folder / "x.parquet"))
    rows = [r for r in parquet.read_table(folder / "x.parquet").to_pylist() if r["probe"] == "call"]
    for row, wanted in zip(rows, CALLS, strict=True):
        assert (row["state"], row["how"]) == (str(wanted["state"]), wanted["how"])
        assert (row["number"], row["declared"]) == (wanted["number"], wanted["declared"])
        assert {k: row[k] for k in SAME} == SAME

"""What pointers lead to, as a program knows it: strings, bytes, numbers; cut, empty, unreadable; and how long a call took."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from command import specc
from jsonschema import Draft202012Validator

from .build import compile_c, live
from .test_live_run import finish, started

pytestmark = live

PROGRAM = r"""
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
__attribute__((noinline, noipa)) const char *take(const char *text, const void *data, int size, const int *number,
                          const short *const *far, char *out)
{
    if (out)
        strcpy(out, "left behind");
    usleep(2000);
    return out;
}
int main(void)
{
    char *edge = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) + 4096;
    const short deep = -7, *way = &deep;
    static char big[3000];
    int number = -123456;
    char out[32];

    /* A probe sees no memory that is not in place yet: what is constant is copied to where it is. */
    static char text[8][16], data[8][16];
    memcpy(text[0], "hello", 6), memcpy(text[1], "1234567", 8), memcpy(text[2], "12345678", 9);
    memcpy(text[6], "caf\xc3\xa9 \xff", 8), memcpy(data[0], "\x00\x01\xfe\xff", 4);
    memcpy(data[1], "12345678", 8), memcpy(data[2], "123456789", 9);
    mprotect(edge, 4096, PROT_NONE);
    strcpy(edge - 6, "edges"); /* ends at the last byte that can be read */
    memset(big, 'x', sizeof(big) - 1);
    take(text[0], data[0], 4, &number, &way, out);
    take(text[1], data[1], 8, &number, &way, out);     /* the longest string and bytes that fit */
    take(text[2], data[2], 9, &number, &way, out);     /* one more */
    take(text[3], data[3], 0, &number, &way, out);
    take(edge - 6, edge - 8, 8, &number, &way, out);
    take(0, edge - 2, 8, 0, 0, 0);
    take(text[6], big, -1, &number, (void *)8, out);
    take(big, big, sizeof(big), &number, &way, out);
    return 0;
}
"""
PROTOTYPE = "const char *take(const char *text, const void *data, int size, const int *number, const short *const *far, char *out)"
SHORT = (
    "{text: {string: 8}}, {data: {bytes: {size: size, max: 8}}}, {number: {deref: true}}, {far: {deref: true}}, "
    "{text: {bytes: {size: 2}, as: two}}"
)
LONG = "{text: {string: 2048, as: whole}}"  # more than a program's stack holds, where events for a perf buffer are made
RING, PERF = "{ring: 1MiB}", "{perf: 64}"
FAULT = "EFAULT"
WANTED: list[dict[str, Any]] = [
    {"text": "hello", "data": "0001feff", "two": "6865", "whole": "hello"},
    {"text": "1234567", "data": "3132333435363738", "two": "3132", "whole": "1234567"},
    {"text": "1234567", "text_truncated": True, "data": "3132333435363738", "data_truncated": True, "two": "3132",
     "whole": "12345678"},
    {"text": "", "data": "", "two": "0000", "whole": ""},
    {"text": "edges", "data": "0000656467657300", "two": "6564", "whole": "edges"},
    {"text": None, "text_error": FAULT, "data": None, "data_error": FAULT, "number": None, "number_error": FAULT,
     "far": None, "far_error": FAULT, "two": None, "two_error": FAULT, "whole": None, "whole_error": FAULT},
    {"text": "caf\u00e9 \\xff", "data": None, "data_error": "EINVAL", "far": None, "far_error": FAULT, "two": "6361",
     "whole": "caf\u00e9 \\xff"},
    {"text": "xxxxxxx", "text_truncated": True, "data": "7878787878787878", "data_truncated": True, "two": "7878",
     "whole": "x" * 2047, "whole_truncated": True},
]  # fmt: skip


def spec_of(folder: Path, buffer: str) -> Path:
    compile_c(folder / "take", PROGRAM)
    args = SHORT if buffer == PERF else f"{SHORT}, {LONG}"
    target = f'{{path: ./take, symbol: take}}, prototype: "{PROTOTYPE}"'
    path = folder / "memory.yaml"
    path.write_text(
        f"specc: 1\nname: memory\nfields: [tid]\nbuffer: {buffer}\nprobes:\n"
        f"  - {{name: call, uprobe: {target}, args: [{args}]}}\n"
        f"  - {{name: done, uretprobe: {target}, args: [{{out: {{string: 12}}}}, {{text: {{string: 6}}}}, "
        "{data: {bytes: {size: size, max: 4}}}, size, latency, {return: {string: 5}}]}\n"
    )
    return path


def shown(folder: Path, buffer: str, format_: str, *options: str) -> str:
    """What specc prints of one run of the program."""
    spec = spec_of(folder, buffer)
    with started(spec, "--format", format_, "--count", str(2 * len(WANTED)), *options, cwd=folder) as process:
        subprocess.run([folder / "take"], check=True)
        done = finish(process)
    assert done.code == 0 and done.err.splitlines()[-1] == f"received {2 * len(WANTED)}, lost 0", done.err
    return done.out


def records(folder: Path, buffer: str, probe: str) -> list[dict[str, Any]]:
    """The records of a probe, each as its schema says."""
    events = [json.loads(line) for line in shown(folder, buffer, "jsonl").splitlines()]
    schema = json.loads(specc("schema", "--event", folder / "memory.yaml", cwd=folder).out)
    for event in events:
        assert list(Draft202012Validator(schema).iter_errors(event)) == []
    found = [{k: v for k, v in e.items() if k not in ("probe", "tid")} for e in events if e["probe"] == probe]
    assert len(found) == len(WANTED)
    return found


@pytest.mark.parametrize("buffer", [RING, PERF])
def test_memory_behind_pointers(buffer: str, tmp_path: Path) -> None:
    for got, wanted in zip(records(tmp_path, buffer, "call"), WANTED, strict=True):
        expected = {"number": -123456, "far": got["far"]} | wanted
        if buffer == PERF:
            expected = {k: v for k, v in expected.items() if not k.startswith("whole")}
        assert got == expected
        assert wanted.get("far", True) is None or got["far"] > 0xFFFF  # an address in the program


def test_at_the_return(tmp_path: Path) -> None:
    """Memory is read at the return, where the function has left what it made."""
    done = records(tmp_path, RING, "done")
    for event in done:
        assert 2_000_000 <= event.pop("latency") < 10_000_000_000  # it sleeps 2 ms
    assert done[0] == {
        "out": "left behind", "text": "hello", "data": "0001feff", "size": 4, "return": "left", "return_truncated": True,
    }  # fmt: skip
    assert done[5] == {
        "out": None, "out_error": FAULT, "text": None, "text_error": FAULT, "data": None, "data_error": FAULT,
        "size": 8, "return": None, "return_error": FAULT,
    }  # fmt: skip
    assert [e.get("data_error") for e in done] == [None, None, None, None, None, FAULT, "EINVAL", None]
    assert [e["size"] for e in done] == [4, 8, 9, 0, 8, 8, -1, 3000]


def test_other_formats(tmp_path: Path) -> None:
    rows = [r for r in csv.DictReader(io.StringIO(shown(tmp_path, RING, "csv"))) if r["probe"] == "call"]
    for key in ("text", "data", "two", "whole"):
        assert [(r[key], r[f"{key}_truncated"], r[f"{key}_error"]) for r in rows] == [
            (w[key] or "", "true" if f"{key}_truncated" in w else "", w.get(f"{key}_error", "")) for w in WANTED
        ]
    table = shown(tmp_path, RING, "table")
    assert '"1234567"…' in table and "3132333435363738…" in table and "!EFAULT" in table


def test_columns(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    shown(tmp_path, RING, "parquet", "-o", str(tmp_path / "x.parquet"))
    rows = [r for r in parquet.read_table(tmp_path / "x.parquet").to_pylist() if r["probe"] == "call"]
    for row, wanted in zip(rows, WANTED, strict=True):
        for key in ("text", "data", "whole", "two"):
            assert row[key] == wanted[key]
            assert bool(row[f"{key}_truncated"]) == (f"{key}_truncated" in wanted)
            assert row[f"{key}_error"] == wanted.get(f"{key}_error")


MANY = """
#include <string.h>
__attribute__((noinline, noipa)) long many(unsigned size, const char *text, long v) { __asm__ volatile("" ::: "memory"); return v; }
int main(void) { static char text[64]; strcpy(text, "many readers of one argument"); return many(11, text, 7) != 7; }
"""


@pytest.mark.parametrize("compiler", ["clang", "zig"])
def test_many_reads_by_one_argument(compiler: str, tmp_path: Path) -> None:
    """clang 14 would rather keep the address of a register in the context, from which no verifier takes a load."""
    target = compile_c(tmp_path / "target", MANY)
    args = [f"{{text: {{bytes: {{size: size, max: 16}}, as: b{n}}}}}" for n in range(24)]
    args += [f"{{text: {{string: {n + 20}, as: s{n}}}}}" for n in range(24)]
    args += [f"{{text: {{type: 'struct pair *', field: {'ab'[n % 2]}, as: f{n}}}}}" for n in range(24)]
    (tmp_path / "pair.h").write_text("struct pair { int a, b; };\n")
    spec = tmp_path / "many.yaml"
    lines = "".join(f"      - {a}\n" for a in args)
    spec.write_text(
        f"specc: 1\nname: many\nfields: []\nheaders: [pair.h]\nprobes:\n  - uprobe: {{path: {target}, symbol: many}}\n"
        f'    prototype: "long many(unsigned size, const char *text, long v)"\n    args:\n{lines}      - size\n'
    )
    with started(spec, "--format", "jsonl", "--compiler", compiler, cwd=tmp_path) as run:
        subprocess.run([target], check=True)
        run.send_signal(2)
        done = finish(run)
    text = b"many readers of one argument"
    [event] = [json.loads(line) for line in done.out.splitlines()]
    assert [event[f"b{n}"] for n in range(24)] == [text[:11].hex()] * 24
    for n in range(24):
        room = n + 20
        assert event[f"s{n}"] == text[: room - 1].decode()
        assert event.get(f"s{n}_truncated", False) is (len(text) >= room)
        assert event[f"f{n}"] == int.from_bytes(text[4 * (n % 2) :][:4], "little")
    assert event["size"] == 11


EMPTY = """
#include <string.h>
__attribute__((noinline, noipa)) long named(const char *text) { __asm__ volatile("" ::: "memory"); return *text; }
int main(void) { static char text[16]; named(text); strcpy(text, "a"); return named(text) != 'a'; }
"""


def test_the_empty_string(tmp_path: Path) -> None:
    """Kernels tell differently that they copied nothing but its end."""
    target = compile_c(tmp_path / "target", EMPTY)
    probes = "".join(
        f"  - name: {name}\n    uprobe: {{path: {target}, symbol: named}}\n    prototype: long named(const char *text)\n"
        f"    args: [{{text: {{string: 8}}}}]\n{where}"
        for name, where in (("all", ""), ("empty", '    where: text == ""\n'), ("other", '    where: text != ""\n'))
    )
    spec = tmp_path / "empty.yaml"
    spec.write_text(f"specc: 1\nname: empty\nfields: []\nprobes:\n{probes}")
    with started(spec, "--format", "jsonl", cwd=tmp_path) as run:
        subprocess.run([target], check=True)
        run.send_signal(2)
        done = finish(run)
    seen = sorted(tuple(json.loads(line).values()) for line in done.out.splitlines())
    assert seen == [("all", ""), ("all", "a"), ("empty", ""), ("other", "a")]

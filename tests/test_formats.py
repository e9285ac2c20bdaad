"""Values by name, and formats of the table: what is shown in every output, against values that a person worked out."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import struct
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from specc.batch import batch_of
from specc.describe import Description, describe
from specc.describe.reader import parse_description
from specc.diagnostics import Location, Stop
from specc.events import Decoder, open_writer
from specc.events.formats import duration_text, port_text, size_text, syscall_text
from specc.events.naming import Naming
from specc.events.syscalls import NAMES
from specc.ir import Capture, Event, Names, Probe, Program, Role
from specc.lower.event import Planned, Storage, lay_out_event, storage
from specc.prototype import (
    CHAR,
    INT,
    LONG,
    UCHAR,
    UINT,
    ULONG,
    USHORT,
    VOID,
    Array,
    CType,
    Enum,
    Member,
    Pointer,
    Record,
    Typedef,
)
from specc.records import record_schema
from specc.run.symbols import open_symbols

MODE = Names("enum", "enum mode", (("OFF", 0), ("ON", 1), ("ALIAS", 1), ("BAD", -1)))
OPEN = Names(
    "flags",
    "O_",
    (
        ("O_RDONLY", 0),
        ("O_WRONLY", 1),
        ("O_RDWR", 2),
        ("O_ACCMODE", 3),
        ("O_DSYNC", 0x1000),
        ("O_SYNC", 0x101000),
        ("O_ALSO_SYNC", 0x101000),
        ("O_TOP", 1 << 31),
    ),
)
BITS = Names("flags", "B_", (("B_LOW", 1), ("B_SIGN", 0x80)))


def event_of(
    ctype: CType, names: Names | None = None, format_: str | None = None, form: Storage | None = None
) -> Event:
    made = form or storage(ctype)
    planned = [Planned("probe", "__u32", None, Role.PROBE), Planned("x_error", "__s32", None, Role.STATUS)]
    length = None
    if made.c_type == "__u8" and made.count:
        length = "x_length"
        planned.append(Planned(length, "__u32", None, Role.LENGTH))
    value = Planned("x", made.c_type, made.count, Role.VALUE, ctype, format_, "x_error", length=length, names=names)
    return lay_out_event("e", "p", 0, (*planned, value))


def program_of(event: Event) -> Program:
    probe = Probe(
        "p", "n_p", "kprobe/f", "kprobe", "f", None, False, None, None, (), event, (), Capture(), None, (), Location("s"),
    )  # fmt: skip
    return Program("n", "", "GPL", "s.yaml", "ring", 4096, (probe,), ())


def described(event: Event) -> Description:
    """As an object says it: what a decoder needs has to travel in it."""
    description = parse_description(describe(program_of(event)))
    assert description.probes[0].event == event
    return description


def record_of(event: Event, raw: bytes, status: int = 0) -> bytes:
    at = event.field("x")
    head = struct.pack("<Ii", 0, status)
    if at.length is not None:
        head += struct.pack("<I", len(raw))
    return (head.ljust(at.offset, b"\0") + raw).ljust(event.size, b"\0")


def written(event: Event, raw: bytes, format_: str, **options: Any) -> str:
    out = io.StringIO()
    writer = open_writer(format_, described(event), out, **options)
    writer.write([record_of(event, raw)])
    writer.close()
    return out.getvalue()


def cell(event: Event, raw: bytes, **options: Any) -> str:
    """What the table has under the heading."""
    return written(event, raw, "table", **options).splitlines()[1].strip()


NAMED = [
    (INT, MODE, 0, "OFF"),
    (INT, MODE, 1, "ON"),
    (INT, MODE, -1, "BAD"),
    (INT, MODE, 2, 2),
    (INT, MODE, -2, -2),
    (UCHAR, MODE, 255, 255),
    (Enum("mode", 4, True, MODE.members), MODE, 1, "ON"),
    (Typedef("mode_t", Enum("mode", 4, True, ())), MODE, 7, 7),
    (LONG, MODE, 1 << 32, 1 << 32),
    (UINT, OPEN, 0, "O_RDONLY"),
    (UINT, OPEN, 1, "O_WRONLY"),
    (UINT, OPEN, 3, "O_ACCMODE"),
    (UINT, OPEN, 0x101001, "O_WRONLY|O_SYNC"),
    (UINT, OPEN, 0x1002, "O_RDWR|O_DSYNC"),
    (UINT, OPEN, 0x100000, "0x100000"),
    (UINT, OPEN, 0x42, "O_RDWR|0x40"),
    (INT, OPEN, -(1 << 31), "O_TOP"),
    (INT, OPEN, -1, "O_ACCMODE|O_SYNC|O_TOP|0x7fefeffc"),
    (ULONG, OPEN, 1 << 63, "0x8000000000000000"),
    (UCHAR, BITS, 0x81, "B_LOW|B_SIGN"),
    (UCHAR, BITS, 0, "0"),
    (UCHAR, BITS, 2, "0x2"),
]  # fmt: skip


@pytest.mark.parametrize(("ctype", "names", "value", "wanted"), NAMED)
def test_values_by_name(ctype: CType, names: Names, value: int, wanted: str | int) -> None:
    event = event_of(ctype, names)
    raw = value.to_bytes(event.field("x").size, "little", signed=value < 0)
    got = Decoder(described(event)).decode(record_of(event, raw))
    assert got == {"probe": "p", "x": wanted}
    assert type(got["x"]) is type(wanted)
    assert json.loads(written(event, raw, "jsonl")) == got
    assert list(jsonschema.Draft202012Validator(record_schema(program_of(event))).iter_errors(got)) == []
    assert next(csv.DictReader(io.StringIO(written(event, raw, "csv"))))["x"] == str(wanted)
    assert cell(event, raw) == str(wanted)


def test_values_by_name_in_columns() -> None:
    pa = pytest.importorskip("pyarrow")
    from specc.events.columns import Columns, columns
    from specc.events.lines import json_text

    for ctype, names, value, wanted in NAMED:
        event = event_of(ctype, names)
        decoder = Decoder(described(event))
        raw = value.to_bytes(event.field("x").size, "little", signed=value < 0)
        batch = batch_of([record_of(event, raw)] * 3)
        made = Columns(decoder).record_batch(batch)
        assert made.schema.field("x").type == pa.string()
        assert made.column("x").to_pylist() == [str(wanted)] * 3
        assert columns(decoder, batch)["p"]["x"].tolist() == [value] * 3
        text = json_text(decoder, batch)
        assert text is not None
        assert [json.loads(line) for line in bytes(text).splitlines()] == [{"probe": "p", "x": wanted}] * 3


def test_a_failed_read_has_no_name() -> None:
    event = event_of(INT, MODE)
    record = record_of(event, b"\1\0\0\0", -14)
    assert Decoder(described(event)).decode(record) == {"probe": "p", "x": None, "x_error": "EFAULT"}


def test_flags_are_their_bits() -> None:
    """Random constants, random values: names and rest together are the value, each bit once."""
    rng = random.Random(os.environ["SPECC_SEED"])
    for _ in range(300):
        names = Names("flags", "R_", tuple((f"R_{i}", rng.getrandbits(32) & rng.getrandbits(32)) for i in range(12)))
        value = rng.getrandbits(32)
        text = Naming(names, 4)[value]
        assert isinstance(text, str)
        of = dict(reversed(names.members))
        parts = [of[word] if word in of else int(word, 16) for word in text.split("|")]
        assert sum(parts) == value
        if value:
            assert 0 not in parts


def test_many_values_are_not_kept() -> None:
    naming = Naming(OPEN, 4)
    for value in range((1 << 16) + 10):
        assert naming[value << 2] is not None
    assert len(naming) <= 1 << 16


@pytest.mark.parametrize(
    "change",
    [
        lambda row: row["names"][0].update(kind="bits"),
        lambda row: row["names"][0]["members"].append(["A", "1"]),
        lambda row: row["names"][0]["members"].append(["A"]),
        lambda row: row["names"][0]["members"].append(["\x1b[2J", 1]),
        lambda row: row["names"][0]["members"].append(["\ud800", 1]),
        lambda row: row["names"][0]["members"].append(["", 1]),
        lambda row: row["probes"][0]["fields"][-1].update(names=1),
        lambda row: row["probes"][0]["fields"][-1].update(names=-1),
        lambda row: row["probes"][0]["fields"][-1].update(type="long"),
        lambda row: row["probes"][0]["fields"][-2].update(names=0),
    ],
)
def test_damaged_names_are_told(change: Any) -> None:
    row = json.loads(describe(program_of(event_of(UINT, OPEN))))
    parse_description(json.dumps(row))
    change(row)
    with pytest.raises(Stop) as caught:
        parse_description(json.dumps(row))
    assert caught.value.diagnostic.code == "SP461"


# --- formats, which are the table's -----------------------------------------------------------------------------------

IPV4 = Record("struct", "in_addr", (Member("s_addr", UINT, 0),), 4, 4)
IPV6 = Record("struct", "in6_addr", (Member("s6", Array(UCHAR, 16), 0),), 16, 4)
MAC = Record("struct", "mac", (Member("b", Array(UCHAR, 6), 0),), 6, 1)
LOOPBACK6 = bytes(15) + b"\1"
BYTES6, BYTES16 = Storage("__u8", 6, ()), Storage("__u8", 16, ())
COLOUR = Enum("colour", 4, False, (("RED", 0), ("GREEN", 7), ("ALSO", 7)))


def le(value: int, size: int) -> bytes:
    return value.to_bytes(size, "little", signed=value < 0)


FORMATS = [
    (INT, "errno", le(-11, 4), "-EAGAIN", -11),
    (INT, "errno", le(-35, 4), "-EDEADLK", -35),
    (INT, "errno", le(-95, 4), "-EOPNOTSUPP", -95),
    (LONG, "errno", le(-512, 8), "-ERESTARTSYS", -512),
    (LONG, "errno", le(-4095, 8), "-4095", -4095),
    (LONG, "errno", le(-4096, 8), "-4096", -4096),
    (INT, "errno", le(11, 4), "11", 11),
    (INT, "errno", le(0, 4), "0", 0),
    (ULONG, "errno", le(-14, 8), "-EFAULT", (1 << 64) - 14),
    (ULONG, "errno", le(1 << 63, 8), str(1 << 63), 1 << 63),
    (Pointer(VOID), "errno", le(-12, 8), "-ENOMEM", (1 << 64) - 12),
    (Pointer(VOID), "errno", le(0x1000, 8), "0x1000", 0x1000),
    (Pointer(VOID), "errno", bytes(8), "NULL", 0),
    (UINT, "ipv4", b"\x7f\0\0\1", "127.0.0.1", 0x0100007F),
    (INT, "ipv4", b"\xc0\xa8\1\xfe", "192.168.1.254", -33445696),
    (IPV4, "ipv4", b"\x0a\1\2\3", "10.1.2.3", {"s_addr": 0x0302010A}),
    (IPV6, "ipv6", LOOPBACK6, "::1", {"s6": [*LOOPBACK6]}),
    (Array(UCHAR, 16), "ipv6", bytes(10) + b"\xff\xff\x0a\0\0\1", "::ffff:10.0.0.1", "00000000000000000000ffff0a000001"),
    (Array(UCHAR, 16), "ipv6", b"\x20\1\x0d\xb8" + bytes(11) + b"\x42", "2001:db8::42", "20010db8000000000000000000000042"),
    (MAC, "mac", b"\2\0\x5e\xff\xaa\x0b", "02:00:5e:ff:aa:0b", {"b": [2, 0, 0x5E, 255, 0xAA, 11]}),
    (Array(UCHAR, 6), "mac", b"\2\0\x5e\xff\xaa\x0b", "02:00:5e:ff:aa:0b", "02005effaa0b"),
    (CHAR, "char", b"A", "'A'", 65),
    (Array(UCHAR, 6), "char", b"a\r\n\xff\xc3\xa9", '"a\\r\\n\\xff\u00e9"', "610d0affc3a9"),
    (Array(UCHAR, 6), "char", b"\x1b[2J\0\xc3", '"\\e[2J\\x00\\xc3"', "1b5b324a00c3"),
    (ULONG, "duration", le(1_234_000, 8), "1.234ms", 1_234_000),
    (INT, "duration", le(-1500, 4), "-1.500us", -1500),
    (UINT, "size", le(4096, 4), "4KiB", 4096),
    (LONG, "size", le(-14, 8), "-14", -14),
    (LONG, "syscall", le(257, 8), "openat", 257),
    (INT, "syscall", le(-1, 4), "-1", -1),
    (USHORT, "port", b"\x01\xbb", "443", 0xBB01),
    (Pointer(VOID), "symbol", le(0xFFFF_0000, 8), "0xffff0000", 0xFFFF_0000),
    (COLOUR, None, le(7, 4), "GREEN", 7),
    (COLOUR, None, le(8, 4), "8", 8),
    (COLOUR, "hex", le(7, 4), "0x7", 7),
    (LONG, "pointer", le(-1, 8), "0xffffffffffffffff", -1),
    (INT, "pointer", le(-2, 4), "0xfffffffe", -2),
    (LONG, "symbol", le(-4096, 8), "0xfffffffffffff000", -4096),
    (LONG, "pointer", le(0, 8), "NULL", 0),
    (COLOUR, "dec", le(7, 4), "7", 7),
    (Record("struct", "s", (Member("c", COLOUR, 0), Member("n", USHORT, 32)), 8, 4), None, le(7, 4) + le(9, 2), "{c=GREEN n=9}", {"c": 7, "n": 9}),
    (Record("struct", "s", (Member("c", COLOUR, 0, 3),), 4, 4), None, le(7, 4), "{c=GREEN}", {"c": 7}),
    (UINT, "mac", b"\7\0\0\0", "7", 7),  # damage: a format that does not fit is passed over
]  # fmt: skip


@pytest.mark.parametrize(("ctype", "format_", "raw", "shown", "value"), FORMATS)
def test_formats_are_for_the_table_alone(ctype: CType, format_: str | None, raw: bytes, shown: str, value: Any) -> None:
    form = {6: BYTES6, 16: BYTES16}[len(raw)] if isinstance(ctype, Array) else None
    event = event_of(ctype, None, format_, form)
    assert cell(event, raw) == shown
    assert Decoder(described(event)).decode(record_of(event, raw)) == {"probe": "p", "x": value}
    assert json.loads(written(event, raw, "jsonl")) == {"probe": "p", "x": value}
    plain = event_of(ctype, None, None, form)
    assert written(event, raw, "csv") == written(plain, raw, "csv")
    pytest.importorskip("pyarrow")
    from specc.events.columns import Columns

    batch = batch_of([record_of(event, raw)])
    assert Columns(Decoder(described(event))).record_batch(batch) == Columns(Decoder(described(plain))).record_batch(
        batch
    )


def test_a_failed_read_has_no_address() -> None:
    event = event_of(UINT, None, "ipv4")
    out = io.StringIO()
    open_writer("table", described(event), out).write([record_of(event, b"\1\2\3\4", -14)])
    assert out.getvalue().splitlines()[1] == "!EFAULT"


def test_symbols() -> None:
    event = event_of(ULONG, None, "symbol")
    known = {0xFFFFFFFF81000010: "vfs_read+0x10"}
    assert cell(event, le(0xFFFFFFFF81000010, 8), symbol=known.get) == "vfs_read+0x10"
    assert cell(event, le(0xFFFFFFFF81000011, 8), symbol=known.get) == "0xffffffff81000011"
    assert cell(event, bytes(8), symbol=known.get) == "NULL"


@pytest.mark.parametrize(
    ("ns", "shown"),
    [
        (0, "0ns"), (999, "999ns"), (1000, "1.000us"), (1999, "1.999us"), (999_999, "999.999us"), (1_000_000, "1.000ms"),
        (1_234_567, "1.234ms"), (999_999_999, "999.999ms"), (10**9, "1.000s"), (3_600 * 10**9, "3600.000s"),
    ],
)  # fmt: skip
def test_durations(ns: int, shown: str) -> None:
    assert duration_text(ns) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0, "0B"), (1023, "1023B"), (1024, "1KiB"), (1126, "1KiB"), (1127, "1.1KiB"), (1536, "1.5KiB"), (2**20 - 1, "1023.9KiB"),
        (2**20, "1MiB"), (2**31 + 2**30, "3GiB"), (2**64 - 1, "15.9EiB"), (-1, "-1"),
    ],
)  # fmt: skip
def test_sizes(number: int, shown: str) -> None:
    assert size_text(number) == shown


def test_symbols_of_a_kernel(tmp_path: Path) -> None:
    path = tmp_path / "kallsyms"
    path.write_text(
        "0000000000001000 A irq_stack\nffffffff81000100 T vfs_read\nffffffff81000100 D data_there\n"
        "ffffffff81000000 T first\nffffffff81000180 t helper\nffffffff82000000 D table\nffffffff82000000 T both\n"
        "ffffffffc0000000 t in_module\t[mod]\nffffffffc0000040 d its_data\t[mod]\nffffffffc0000080 t last\t[mod]\n"
    )
    symbols = open_symbols(str(path))
    assert symbols is not None
    wanted = {
        0x1000: None,
        0xFFFFFFFF80FFFFFF: None,
        0xFFFFFFFF81000000: "first",
        0xFFFFFFFF810000FF: "first+0xff",
        0xFFFFFFFF81000100: "vfs_read",
        0xFFFFFFFF8100017F: "vfs_read+0x7f",
        0xFFFFFFFF81000181: "helper+0x1",
        0xFFFFFFFF81900000: None,  # no function is so long
        0xFFFFFFFF82000000: "both",
        0xFFFFFFFFC0000001: "in_module+0x1 [mod]",
        0xFFFFFFFFC0000040: "its_data [mod]",
        0xFFFFFFFFC0000041: None,
        0xFFFFFFFFC001007F: "last+0xffff [mod]",
        0xFFFFFFFFC0010080: None,
    }
    assert {address: symbols(address) for address in wanted} == wanted
    path.write_text("0000000000000000 T vfs_read\n")
    hidden = open_symbols(str(path))
    assert hidden is not None and hidden(0) is None and hidden(0x1000) is None
    assert open_symbols(str(tmp_path / "nothing")) is None


def test_symbols_of_the_running_kernel() -> None:
    if os.geteuid() or not os.path.exists("/proc/kallsyms"):
        pytest.skip("not root: the kernel shows no addresses")
    symbols = open_symbols()
    found = [line.split() for line in Path("/proc/kallsyms").read_text().splitlines() if " T vfs_read" in line]
    if symbols is None or not found:
        pytest.skip("the running kernel has no symbol table")
    [address] = [int(a, 16) for a, _, name in found if name == "vfs_read"]
    assert (symbols(address), symbols(address + 1)) == ("vfs_read", "vfs_read+0x1")


# ---- numbers of system calls, and ports ---------------------------------------------------------------------------


def test_numbers_of_system_calls_are_those_of_the_header() -> None:
    """The header of whatever Linux this machine has: every number of it that the table has, has the same name."""
    found = [p for p in map(Path, _UNISTD) if p.is_file()]
    if not found:
        pytest.skip("no asm/unistd_64.h here (linux-libc-dev)")
    lines = [line.split() for line in found[0].read_text().splitlines() if line.startswith("#define __NR_")]
    header = {int(number): name.removeprefix("__NR_") for _, name, number in lines}
    assert len(header) > 300
    assert {n: NAMES.get(n) for n in header if n <= max(NAMES)} == {n: a for n, a in header.items() if n <= max(NAMES)}


_UNISTD = ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h")


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "read"),
        (257, "openat"),
        (334, "rseq"),
        (424, "pidfd_send_signal"),
        (400, "400"),
        (-1, "-1"),
        (1 << 30, "1073741824"),
    ],
)
def test_system_calls(number: int, text: str) -> None:
    assert syscall_text(number) == text


def test_ports() -> None:
    for port in (0, 1, 80, 443, 8080, 65535):
        assert port_text(int.from_bytes(port.to_bytes(2, "big"), "little")) == str(port)
    assert port_text(-1) == "65535"  # of a signed type

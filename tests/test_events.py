"""Decoding against C: what gcc reads out of the same bytes, through the types as they were declared, must be our value.

The C program knows nothing of specc but where a field begins in an event (NAME.h, itself checked by the compiler); the
types are those of the headers. Records are random bytes, so every bit of every member counts.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import random
import re
import struct
import subprocess
import time
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from specc.batch import Batch, batch_of
from specc.compiler.find import find_compiler
from specc.describe import Description, describe
from specc.describe.reader import parse_description
from specc.diagnostics import Report, Stop
from specc.emit import emit_header
from specc.events import Decoder, open_writer
from specc.events.decoder import StacksOf
from specc.events.program import dumps
from specc.events.stacks import Frame, Stacks
from specc.ir import Event, Field, Program, Role
from specc.noun import replace
from specc.pipeline import Session, front
from specc.prototype import (
    BOOL,
    CHAR,
    DOUBLE,
    FLOAT,
    FLOAT16,
    FLOAT128,
    INT,
    INT128,
    LONG_DOUBLE,
    UCHAR,
    UINT128,
    Array,
    BitInt,
    Complex,
    CType,
    Enum,
    Float,
    Int,
    Member,
    Pointer,
    Record,
    Vector,
    bare,
    size_of,
    spell,
)
from specc.records import record_schema

GOLDEN = Path(__file__).parent / "golden" / "programs"
CASES = sorted(p.parent.name for p in GOLDEN.glob("*/spec.*"))
SEED = os.environ["SPECC_SEED"]


def program_of(spec: Path) -> Program:
    report = Report()
    program = front(spec, Session(find_compiler), report)
    assert program is not None, report.diagnostics
    return program


def described(program: Program) -> Description:
    return parse_description(describe(program))


# --- the other decoder ------------------------------------------------------------------------------------------------

ORACLE = r"""
#include <stdio.h>
#include <string.h>
#include <quadmath.h>
static void integer(__int128 v)
{
	char text[50], *at = text + 49;
	unsigned __int128 u = v < 0 ? -(unsigned __int128)v : (unsigned __int128)v;
	*at = 0;
	do *--at = '0' + (int)(u % 10); while (u /= 10);
	printf("%s%s\n", v < 0 ? "-" : "", at);
}
static void whole(unsigned __int128 u)
{
	printf("%llx %llx\n", (unsigned long long)(u >> 64), (unsigned long long)u);
}
static void real(long double v) { printf("%La\n", v); }
static void quad(__float128 v)
{
	char text[80];
	quadmath_snprintf(text, sizeof(text), "%Qa", v);
	puts(text);
}
static void text(const char *s, unsigned long n)
{
	for (unsigned long i = 0; i < n; i++) printf("%02x", (unsigned char)s[i]);
	puts("");
}
"""


def leaves(ctype: CType, c: str) -> Iterator[tuple[str, str]]:
    """Statements that print an lvalue of this type, each with how its line is to be read; in our order."""
    kind = bare(ctype)
    match kind:
        case Int(size=16, signed=False):
            yield f"whole({c});", "whole"
        case Int(kind="bool"):
            yield f"integer({c});", "bool"
        case Int() | Enum():
            yield f"integer({c});", "integer"
        case Pointer():
            yield f"integer((unsigned long)({c}));", "integer"
        case Float(name="__float128"):
            yield f"quad({c});", "quad"
        case Float():
            yield f"real({c});", "real"
        case Complex(element=element):
            yield from leaves(element, f"__real__ ({c})")
            yield from leaves(element, f"__imag__ ({c})")
        case Vector(element=element, size=size):
            for i in range(size // size_of(element)):
                yield from leaves(element, f"({c})[{i}]")
        case Array(element=element, count=count):
            inner = bare(element)
            if isinstance(inner, Int) and inner.kind == "char":
                yield f"text({c}, {count});", "text"
            else:
                for i in range(count or 0):
                    yield from leaves(element, f"({c})[{i}]")
        case Record():
            for member in kind.members or ():
                inner = bare(member.type)
                if member.name:
                    yield from leaves(member.type, f"({c}).{member.name}")
                elif isinstance(inner, Record):
                    yield from leaves(inner, c)
        case _:
            raise AssertionError(f"no way to print {kind}")


def flat(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from flat(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from flat(inner)
    else:
        yield value


def agree(line: str, how: str, value: Any) -> None:
    match how:
        case "whole":
            high, low = (int(w, 16) for w in line.split())
            assert value == (high << 64 | low)
        case "integer":
            assert type(value) is int
            assert value == int(line)
        case "bool":
            assert value is (line != "0")
        case "hex":
            assert value == line
        case "text":
            assert value == bytes.fromhex(line).split(b"\0")[0].decode("utf-8", "backslashreplace")
        case _:
            agree_real(line, 64 if how == "real" else 113, value)


def agree_real(line: str, precision: int, value: Any) -> None:
    if "nan" in line or "inf" in line:
        assert value == line.replace("-nan", "nan")
        return
    exact = hexadecimal(line)
    if isinstance(value, float):
        assert Fraction(value) == exact
        assert (math.copysign(1, value) < 0) == line.startswith("-")
        return
    assert isinstance(value, Decimal)
    # The digits tell the value from its neighbours: rounding back gives it again.
    exponent = exact.numerator.bit_length() - exact.denominator.bit_length()
    assert abs(Fraction(value) - exact) < abs(Fraction(2) ** (exponent - precision - 1))
    assert value != Decimal(float(value)) or Fraction(float(value)) != exact


def hexadecimal(line: str) -> Fraction:
    digits, _, exponent = line.lstrip("-").removeprefix("0x").partition("p")
    whole, _, after = digits.partition(".")
    value = Fraction(int(whole + after, 16)) * Fraction(2) ** (int(exponent) - 4 * len(after))
    return -value if line.startswith("-") else value


def random_record(event: Event, rng: random.Random, *, cut: bool = False) -> bytes:
    """Random bytes as a program leaves them: no status is set, all is there, and what is no data is zero. With `cut`, some
    strings and bytes are longer than what the event holds of them."""
    made = bytearray(rng.randbytes(event.size))
    if rng.random() < 0.3:
        made = bytearray(rng.choice((0, 0, 0xFF, 0x80, 0x7F, byte)) for byte in made)
    for field in event.fields:
        end = field.offset + field.size
        if field.role in (Role.STATUS, Role.ABSENT, Role.PADDING):
            made[field.offset : end] = bytes(field.size)
        if field.type is not None and isinstance(bare(field.type), Int | Record | BitInt):
            made[field.offset : end] = masked(field.type, bytes(made[field.offset : end]))
    for field in (f for f in event.fields if f.length is not None):
        length = rng.choice([0, 1, held(field), *((held(field) + 1, 0xFFFFFFFF) if cut else ())])
        at = event.field(field.length or "").offset
        made[at : at + 4] = struct.pack("<I", length)
    made[:4] = struct.pack("<I", event.number)
    return bytes(made)


def held(field: Field) -> int:
    """The most bytes of a string (without its NUL) or of memory that an event holds."""
    return field.size - (field.c_type == "char")


def truncated(event: Event, record: bytes) -> dict[str, bool]:
    lengths = {f.name: record[event.field(f.length).offset :][:4] for f in event.fields if f.length is not None}
    return {
        f"{name}_truncated": True
        for name, raw in lengths.items()
        if int.from_bytes(raw, "little") > held(event.field(name))
    }


def masked(ctype: CType, raw: bytes) -> bytes:
    """A _Bool that is neither 0 nor 1 is not a value in C."""
    kind = bare(ctype)
    if isinstance(kind, Int) and kind.kind == "bool":
        return bytes([raw[0] & 1]) + raw[1:]
    if isinstance(kind, Array):
        size = size_of(kind.element)
        return b"".join(masked(kind.element, raw[i : i + size]) for i in range(0, len(raw), size or 1))
    if not isinstance(kind, Record):
        return raw
    made = bytearray(raw)
    for member in kind.members or ():
        if member.bit_width is None:
            at, size = member.bit_offset // 8, size_of(member.type)
            made[at : at + size] = masked(member.type, bytes(made[at : at + size]))
    return bytes(made)


def check_against_c(program: Program, includes: str, tmp_path: Path, rng: random.Random, records: int) -> None:
    description = described(program)
    (tmp_path / f"{program.name}.h").write_text(emit_header(program))
    lines = [
        f'#include "{program.name}.h"',
        includes,
        ORACLE,
        "int main(void) {",
        "static char r[1 << 16]; unsigned n;",
    ]
    lines += ["while (fread(&n, 4, 1, stdin)) {", "memcpy(r, &n, 4);", "switch (n) {"]
    hows: dict[int, list[str]] = {}
    for probe in description.streaming:
        event = probe.event
        hows[event.number] = []
        lines.append(f"case {event.number}: fread(r + 4, sizeof(struct {event.name}) - 4, 1, stdin);")
        for field in event.fields:
            if field.role is Role.CONTEXT:
                ctype: CType = Array(CHAR, 16) if field.name == "comm" else Int("", field.size, False)
                declaration = "char x[16]" if field.name == "comm" else f"{field.c_type} x"
            elif field.role is Role.STACK:
                ctype, declaration = Int("", field.size, False), f"{field.c_type} x"
            elif field.role is Role.VALUE:
                assert field.type is not None
                ctype, declaration = field.type, spell(field.type, "x")
            else:
                continue
            if field.length is not None and field.c_type != "char":
                lines.append(f"{{ struct {event.name} *e = (void *)r;")
                lines.append(
                    f"for (unsigned i = 0; i < e->{field.length} && i < {field.size}; i++) "
                    f'printf("%02x", e->{field.name}[i]); puts(""); }}'
                )
                hows[event.number].append("hex")
                continue
            lines.append(f"{{ {declaration}; memcpy(&x, r + offsetof(struct {event.name}, {field.name}), sizeof(x));")
            for statement, how in leaves(ctype, "x"):
                lines.append(statement)
                hows[event.number].append(how)
            lines.append("}")
        lines.append("break;")
    lines.append("} } return 0; }\n")
    source = tmp_path / "oracle.c"
    source.write_text("\n".join(lines))
    binary = tmp_path / "oracle"
    # Not optimised: gcc 12 at -O1 copies some unions by a member with padding, and loses what the other members have there.
    subprocess.run(["gcc", "-O0", "-w", "-D__user=", "-I", tmp_path, "-o", binary, source, "-lquadmath"], check=True)
    inputs = [random_record(rng.choice(description.streaming).event, rng, cut=True) for _ in range(records)]
    said = subprocess.run([binary], input=b"".join(inputs), stdout=subprocess.PIPE, check=True).stdout
    answers = iter(said.decode().splitlines())
    decoder = Decoder(description, stacks_of(description))
    numbers = Decoder(without_names(description))
    schema = jsonschema.Draft202012Validator(record_schema(program))
    for record in inputs:
        got = numbers.decode(record)
        event = description.probes[int.from_bytes(record[:4], "little")].event
        assert got.pop("probe") == event.probe
        cuts = {k: got.pop(k) for k in list(got) if k.endswith("_truncated")}
        assert cuts == truncated(event, record)
        for value, how in zip(flat(got), hows[int.from_bytes(record[:4], "little")], strict=True):
            agree(next(answers), how, value)
    assert next(answers, None) is None
    for record in inputs[:20]:
        schema.validate(decoder.decode(record))
    check_writers(description, inputs)


def stacks_of(description: Description) -> StacksOf:
    """Stack traces of which an id tells everything."""

    def read(id: int) -> tuple[Frame, ...]:
        return (*(Frame(f'f{id}+{n:#x} ["a";\n]', f"f{id}") for n in range(id % 3)), Frame("main", "main"))

    return {p.name: {name: Stacks(read) for name in ("kernel_stack", "user_stack")} for p in description.probes}


def without_names(description: Description) -> Description:
    """With numbers in the records: C knows of no names. tests/test_formats.py has those."""

    def plain(event: Event) -> Event:
        return replace(event, fields=tuple(replace(f, names=None) for f in event.fields))

    return replace(description, probes=tuple(replace(p, event=plain(p.event)) for p in description.probes))


def check_writers(description: Description, records: list[bytes]) -> None:
    """The lines say what the dicts say, whether the records come one by one, in a row, or spaced as in a buffer."""
    stacks = stacks_of(description)
    decoder = Decoder(description, stacks)
    expected = [dumps(decoder.decode(r)) for r in records]
    assert [json.loads(line, parse_float=Decimal) for line in expected] == [
        json.loads(dumps(decoder.decode(r)), parse_float=Decimal) for r in records
    ]
    by_event = [[r for r in records if r[:4] == struct.pack("<I", p.event.number)] for p in description.probes]
    for given in [records, *(r for r in by_event if r)]:
        for batch in (given, batch_of(given), *spaced(given)):
            out = io.StringIO()
            writer = open_writer("jsonl", description, out, stacks=stacks)
            assert writer.write(batch) == len(given)
            assert out.getvalue().splitlines() == [dumps(decoder.decode(r)) for r in given]


def spaced(records: list[bytes]) -> Iterator[Batch]:
    if len({len(r) for r in records}) == 1:
        step = len(records[0]) + 8
        data = memoryview(b"".join(b"\xaa" * 8 + r for r in records) + b"\xaa" * 8)
        yield Batch(data, range(8, 8 + step * len(records), step), len(records[0]))


@pytest.mark.parametrize("case", CASES)
def test_golden_programs(case: str, tmp_path: Path) -> None:
    [spec] = (GOLDEN / case).glob("spec.*")
    includes = f'#include "{GOLDEN / case / "f.h"}"' if (GOLDEN / case / "f.h").exists() else ""
    check_against_c(program_of(spec), includes, tmp_path, random.Random(f"{SEED} {case}"), 100)


# --- random types -----------------------------------------------------------------------------------------------------

SCALARS = (
    "char", "signed char", "unsigned char", "short", "unsigned short", "int", "unsigned int", "long",
    "unsigned long", "long long", "_Bool", "float", "double", "long double", "__float128", "_Float16", "__int128",
    "unsigned __int128", "void *", "enum colour", "_Complex double", "_Complex float", "vec4",
)  # fmt: skip
BIT_TYPES = (
    "int", "unsigned int", "long", "unsigned long", "char", "signed char", "unsigned char", "_Bool", "short",
    "enum colour",
)  # fmt: skip
WIDTHS = {"int": 32, "unsigned int": 32, "long": 64, "unsigned long": 64, "_Bool": 1, "short": 16, "enum colour": 32}


def random_struct(rng: random.Random, name: str, depth: int = 0) -> str:
    kind = "union" if rng.random() < 0.15 else "struct"
    body = []
    for i in range(rng.randint(1, 6)):
        member = f"{name}_{depth}{i}"
        roll = rng.random()
        if roll < 0.25 and kind == "struct":
            what = rng.choice(BIT_TYPES)
            body.append(f"{what} {member} : {rng.randint(1, WIDTHS.get(what, 8))};")
            if rng.random() < 0.2:
                body.append(f"int : {rng.randint(0, 9)};")
        elif roll < 0.4 and depth < 2:
            inner = random_struct(rng, f"{member}_", depth + 1)
            body.append(f"{inner} {'' if rng.random() < 0.4 else member + rng.choice(('', '', '[2]'))};")
        else:
            count = rng.choice(("", "", "", "[3]", "[20]", "[2][2]"))
            body.append(f"{rng.choice(SCALARS)} {member}{count};")
    packed = " __attribute__((packed))" if rng.random() < 0.2 else ""
    return f"{kind}{packed} {{ {' '.join(body)} }}"


def test_random_types(tmp_path: Path) -> None:
    rng = random.Random(f"{SEED} types")
    text = ["enum colour { RED, GREEN = 7, BLUE = 0x7fffffff };", "typedef int vec4 __attribute__((vector_size(16)));"]
    probes = []
    for i in range(60):
        # More than 16 bytes, so that it is passed in memory whatever is in it.
        text.append(f"struct s{i} {{ {random_struct(rng, f'm{i}')} body; long tail[3]; }};")
        text.append(f"void f{i}(struct s{i} a);")
        probes.append(f"  - uprobe: {{path: prog, symbol: f{i}}}\n    args: [a]\n")
    (tmp_path / "r.h").write_text("\n".join(text) + "\n")
    spec = tmp_path / "random.yaml"
    spec.write_text(f"specc: 1\nname: random\nheaders: [r.h]\nfields: [timestamp]\nprobes:\n{''.join(probes)}")
    check_against_c(program_of(spec), '#include "r.h"', tmp_path, rng, 1500)


# --- what random bytes do not reach -----------------------------------------------------------------------------------


def one(ctype: CType, raw: bytes, **options: Any) -> Any:
    """The value of a single field of this type, decoded and checked to be one JSON value in the line too."""
    from specc.lower.event import Planned, lay_out_event, storage

    form = storage(ctype)
    planned = (
        Planned("probe", "__u32", None, Role.PROBE),
        Planned("x_error", "__s32", None, Role.STATUS),
        Planned("absent", "__u64", None, Role.ABSENT),
        Planned("x", form.c_type, form.count, Role.VALUE, ctype, options.get("format"), "x_error", 0, key="return"),
    )
    event = lay_out_event("e", "p", 0, planned)
    at: Field = event.field("x")
    record = struct.pack("<IiQ", 0, options.get("status", 0), options.get("absent", 0)) + raw.ljust(at.size, b"\0")
    from specc.describe import ProbeDescription

    description = Description(
        "n", "ring", 4096, (ProbeDescription("p", "kprobe", "f", None, "n_p", None, None, (), event),)
    )
    got = Decoder(description).decode(record.ljust(event.size, b"\0"))
    out = io.StringIO()
    open_writer("jsonl", description, out).write([record.ljust(event.size, b"\0")])
    assert out.getvalue() == dumps(got) + "\n"
    assert list(got)[:2] == ["probe", "return"]
    if options.get("status") and not options.get("absent"):
        assert got["return"] is None
        return got["return_error"]
    assert len(got) == 2
    return got["return"]


@pytest.mark.parametrize(
    ("ctype", "raw", "value"),
    [
        (BitInt(7, True, 1, 1), b"\x40", -64),
        (BitInt(7, False, 1, 1), b"\x40", 64),
        (BitInt(40, True, 8, 8), b"\xff\xff\xff\xff\xff", -1),
        (BitInt(100, True, 16, 8), (1 << 99).to_bytes(16, "little"), -(1 << 99)),
        (BitInt(100, False, 16, 8), (1 << 99).to_bytes(16, "little"), 1 << 99),
        (INT128, b"\xff" * 16, -1),
        (UINT128, b"\xff" * 16, (1 << 128) - 1),
        (BOOL, b"\x02", True),
        (FLOAT16, struct.pack("<e", 1.5), 1.5),
        (Float("__bf16", 2, 2), b"\xc0\x3f", 1.5),
        (Float("__bf16", 2, 2), b"\x80\x7f", "inf"),
        (FLOAT, struct.pack("<f", 0.1), 0.10000000149011612),
        (DOUBLE, struct.pack("<d", -math.inf), "-inf"),
        (DOUBLE, struct.pack("<d", math.nan), "nan"),
        (DOUBLE, b"\xff" * 8, "nan"),
        (LONG_DOUBLE, bytes(7) + b"\x80\xff\x3f", 1.0),
        (LONG_DOUBLE, bytes(7) + b"\x80\xff\x7f", "inf"),
        (LONG_DOUBLE, bytes(7) + b"\x80\xff\xff", "-inf"),
        (LONG_DOUBLE, bytes(7) + b"\x00\xff\x7f", "nan"),  # a pseudo-infinity
        (LONG_DOUBLE, bytes(7) + b"\x40\xff\x3f", "nan"),  # an unnormal
        (LONG_DOUBLE, b"\1" + bytes(6) + b"\x80\xff\x3f", Decimal("1.00000000000000000011")),
        # 0.1 as a double is no 0.1 of this type, and two numbers that one double stands for are two.
        (LONG_DOUBLE, bytes.fromhex("00d0ccccccccccccfb3f"), Decimal("0.100000000000000005551")),
        (LONG_DOUBLE, bytes.fromhex("cdccccccccccccccfb3f"), Decimal("0.100000000000000000001")),
        (LONG_DOUBLE, (1895400741062437376 << 3).to_bytes(8, "little") + b"\x3b\x40", Decimal("1895400741062437376")),
        (LONG_DOUBLE, (1895400741062437400 << 3).to_bytes(8, "little") + b"\x3b\x40", Decimal("1895400741062437400")),
        (LONG_DOUBLE, bytes(7) + b"\xc0\xff\xbf", -1.5),
        (LONG_DOUBLE, bytes(7) + b"\x80\xfe\x7f", Decimal("5.94865747678615882543E+4931")),
        (LONG_DOUBLE, b"\1" + bytes(9), Decimal("3.64519953188247460253E-4951")),
        (FLOAT128, b"\1" + bytes(13) + b"\xff\x3f", Decimal("1.00000000000000000000000000000000019")),
        (FLOAT128, bytes(14) + b"\xff\x7f", "inf"),
        (Complex(DOUBLE), struct.pack("<2d", 1, math.nan), {"real": 1.0, "imag": "nan"}),
        (Vector(INT, 8), struct.pack("<2i", 1, -2), [1, -2]),
        (Record("struct", "s", (Member("c", Array(CHAR, 4), 0),), 4, 1), b'a"\n\xff', {"c": 'a"\n\\xff'}),
        (Record("struct", "s", (Member("c", Array(CHAR, 4), 0),), 4, 1), b"ab\0d", {"c": "ab"}),
        (Record("struct", "s", (Member("c", Array(UCHAR, 40), 0),), 40, 1), bytes(range(40)), {"c": [*range(40)]}),
        (Record("struct", "s", (Member("c", Array(UCHAR, None), 32), Member("i", INT, 0)), 4, 4), b"\5", {"c": [], "i": 5}),
    ],
    ids=lambda v: spell(v) if not isinstance(v, bytes) and not isinstance(v, str | float | dict | list | Decimal | int) else None,
)  # fmt: skip
def test_values(ctype: CType, raw: bytes, value: Any) -> None:
    got = one(ctype, raw)
    assert got == value
    assert type(got) is type(value)


def test_a_failed_read_and_what_is_not_there() -> None:
    assert one(INT, b"\7", status=-14) == "EFAULT"
    assert one(INT, b"\7", status=-4095) == "errno 4095"
    assert one(INT, b"\7", absent=1) is None
    assert one(INT, b"\7", absent=1, status=-14) is None
    record = Record("struct", "s", (Member("a", Array(CHAR, 4), 0),), 4, 1)
    assert one(record, b"abc", absent=1) is None
    assert one(record, b"abc", absent=2) == {"a": "abc"}


@pytest.mark.parametrize(("format_", "value"), [("bool", True), ("hex", 7), ("char", 7), (None, 7)])
def test_a_format_changes_no_value_but_for_bool(format_: str | None, value: Any) -> None:
    for ctype in (INT, BitInt(5, False, 1, 1), INT128, Enum("e", 4, False)):
        got = one(ctype, b"\7", format=format_)
        assert got == value
        assert type(got) is type(value)


def test_strange_records() -> None:
    decoder = Decoder(described(program_of(GOLDEN / "perf" / "spec.yaml")))
    size = decoder.events[0].event.size
    for record in (b"", b"\0\0\0", bytes(size - 1), bytes(size + 8), b"\2" + bytes(size - 1), b"\xff" * size):
        with pytest.raises(Stop) as caught:
            decoder.decode(record)
        assert caught.value.diagnostic.code == "SP463"
        with pytest.raises(Stop):
            open_writer("jsonl", decoder.description, io.StringIO()).write([record])


# --- tables and CSV, as files that a person has read ------------------------------------------------------------------


def shown(case: str, format_: str, **options: Any) -> str:
    """Eight records of a golden program, the same in every run, with a failed read and a field that is not there."""
    description = described(program_of(GOLDEN / case / "spec.yaml"))
    rng = random.Random(case)
    records = []
    for number in range(8):
        event = description.probes[number * 3 % 7 % len(description.probes)].event
        record = bytearray(random_record(event, rng))
        for field in event.fields:
            at = slice(field.offset, field.offset + field.size)
            if field.name == "timestamp":
                record[at] = struct.pack("<Q", 3_600 * 10**9 + number * 1_000_250_000)
            elif field.name == "comm":
                record[at] = (b"bash", b"\x1b[2J\n", "größe".encode(), b'x,"y"', b"")[number % 5].ljust(16, b"\0")
            elif field.c_type == "__u32" and field.role is Role.CONTEXT:
                record[at] = struct.pack("<I", rng.choice((1, 812, 40123)))
            elif field.role is Role.STATUS and number == 3:
                record[at] = struct.pack("<i", -14)
            elif field.role is Role.ABSENT and number > 5:
                record[at] = struct.pack("<Q", 5)
        records.append(bytes(record))
    out = io.StringIO()
    writer = open_writer(format_, description, out, **options)
    assert writer.write(records[:3]) == 3
    assert writer.write(records[3:]) == 5
    writer.close()
    return out.getvalue()


@pytest.mark.parametrize("case", ["context", "floats", "large", "options", "perf", "returns", "scalars", "structs"])
@pytest.mark.parametrize("format_", ["table", "csv", "jsonl"])
def test_written_text(case: str, format_: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    text = shown(case, format_, **({"width": 100, "wall_offset_ns": 10**18} if format_ == "table" else {}))
    path = GOLDEN.parent / "records" / f"{case}.{format_}"
    if os.environ.get("SPECC_UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
    assert text == path.read_bytes().decode()


def test_a_table_moves_no_cursor_and_is_no_wider_than_the_terminal() -> None:
    for case in ("context", "perf", "returns", "scalars"):
        for line in shown(case, "table", width=80).splitlines():
            assert line.isprintable()
            assert len(line) <= 80
    assert "\x1b[1m" in shown("perf", "table", colour=True)
    plain = shown("perf", "table")
    coloured = shown("perf", "table", colour=True)
    assert re.sub("\x1b\\[[0-9]*m", "", coloured) == plain


def test_csv_is_read_again() -> None:
    for case in ("context", "perf", "returns", "structs"):
        rows = list(csv.DictReader(io.StringIO(shown(case, "csv"), newline="")))
        lines = [json.loads(line, parse_float=str) for line in shown(case, "jsonl").splitlines()]
        assert len(rows) == len(lines) == 8
        for row, line in zip(rows, lines, strict=True):
            given = dict(flattened("", line))
            assert {k: v for k, v in row.items() if v} == {k: v for k, v in given.items() if v}


def flattened(prefix: str, value: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from flattened(f"{prefix}{key}.", inner)
        elif isinstance(inner, list):
            yield prefix + key, json.dumps(inner, separators=(",", ":"))
        elif inner is not None:
            yield prefix + key, json.dumps(inner) if isinstance(inner, bool | int) else inner


def test_the_example_of_the_documentation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from specc.build import compile_object
    from specc.emit import emit

    root = Path(__file__).parent.parent
    monkeypatch.chdir(root)
    program = program_of(Path("specs/gup.yaml"))
    (tmp_path / "generated").mkdir()
    (tmp_path / "generated" / "gup.bpf.o").write_bytes(compile_object(emit(program), "gup", find_compiler()))
    [example] = re.findall(r"```python\n(.*?)```", (root / "docs" / "records.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(example, {})
    assert capsys.readouterr().out == "gup\n"

"""Record layouts against the compilers themselves: random records and named hard ones, through gcc and clang."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from specc.layout import data_mask, lay_out
from specc.prototype import (
    BOOL,
    CHAR,
    DOUBLE,
    FLOAT,
    FLOAT128,
    INT,
    INT128,
    LLONG,
    LONG,
    LONG_DOUBLE,
    SHORT,
    UCHAR,
    UINT,
    ULONG,
    USHORT,
    VOID,
    Array,
    BitInt,
    Complex,
    CType,
    Enum,
    Member,
    Pointer,
    Qualified,
    Record,
    Typedef,
    Unknown,
    Vector,
    align_of,
    bare,
    size_of,
    spell,
)

SEED = int(os.environ.get("SPECC_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
COUNT = int(os.environ.get("SPECC_LAYOUTS", "400"))

ENUM = Enum("e", 4, False, (("E0", 0),))
BIG_ENUM = Enum("big", 8, False, (("B0", 0), ("B1", 1 << 40)))
PRELUDE = """
enum e { E0 };
enum big { B0, B1 = 1ll << 40 };
int printf(const char *, ...);
void *memset(void *, int, unsigned long);
static void bits(const void *object, unsigned size) {
    const unsigned char *p = object;
    int first = -1, count = 0;
    for (unsigned i = 0; i < size * 8; i++)
        if (p[i / 8] >> i % 8 & 1) { if (first < 0) first = i; count++; }
    printf(" %d:%d", first, count);
}
"""


def attributes(m: Member | Record) -> str:
    words = (
        (["packed"] if m.packed else [])
        + (["transparent_union"] if getattr(m, "transparent", False) else [])
        + ([f"aligned({m.aligned})"] if m.aligned else [])
    )
    return f" __attribute__(({', '.join(words)}))" if words else ""


@dataclass
class Source:
    """C text that declares records and typedefs, each before its use, and measures the records."""

    text: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    def need(self, t: CType) -> None:
        match t:
            case Typedef(name=name, target=target, align=align):
                self.need(target)
                if name not in self.seen:
                    self.seen.add(name)
                    attribute = f" __attribute__((aligned({align})))" if align else ""
                    self.text.append(f"typedef {self.declare(target, name)}{attribute};\n")
            case Array(element=element):
                self.need(element)
            case Qualified(target=target):
                self.need(target)
            case Record(tag=str(tag)) if tag not in self.seen:
                self.seen.add(tag)
                self.define(t)

    def define(self, r: Record) -> None:
        for m in r.members or ():
            self.need(m.type)
        pack = f"#pragma pack(push, {r.pack})\n" if r.pack else ""
        body = "".join(f"    {self.member(m)};\n" for m in r.members or ())
        self.text.append(
            f"{pack}{r.kind} {r.tag} {{\n{body}}}{attributes(r)};\n{'#pragma pack(pop)' if pack else ''}\n"
        )

    def declare(self, t: CType, name: str) -> str:
        return spell(t, name)

    def member(self, m: Member) -> str:
        if not m.name and isinstance(t := bare(m.type), Record):
            inside = " ".join(f"{self.member(x)};" for x in t.members or ())
            return f"{t.kind} {{ {inside} }}{attributes(t)}{attributes(m)}"
        width = "" if m.bit_width is None else f" : {m.bit_width}"
        return f"{self.declare(m.type, m.name)}{width}{attributes(m)}"

    def measure(self, records: Sequence[Record]) -> str:
        out = []
        for i, r in enumerate(records):
            self.need(r)
            name = spell(r)
            lines = [f'printf("{i} %d %d", (int)sizeof({name}), (int)__alignof__({name}));']
            for m in r.members or ():
                if m.name and m.bit_width:
                    lines.append(f"memset(&x, 0, sizeof x); x.{m.name} = -1; bits(&x, sizeof x);")
                elif m.name:
                    lines.append(f'printf(" %d", (int)__builtin_offsetof({name}, {m.name}) * 8);')
            lines.append(r'printf("\n");')
            out.append(f"static void f{i}(void) {{ static {name} x; (void)x; {' '.join(lines)} }}\n")
        calls = " ".join(f"f{i}();" for i in range(len(records)))
        return PRELUDE + "".join(self.text) + "".join(out) + f"int main(void) {{ {calls} return 0; }}\n"


def expected(i: int, r: Record) -> str:
    words = [str(i), str(r.size), str(r.align)]
    for m in r.members or ():
        if m.name and m.bit_width:
            words.append(f"{m.bit_offset}:{m.bit_width}")
        elif m.name:
            words.append(str(m.bit_offset))
    return " ".join(words)


def run(compiler: str, text: str, folder: Path) -> list[str]:
    source = folder / "layouts.c"
    source.write_text(text)
    binary = folder / f"layouts.{compiler}"
    flags = ["-std=gnu11", "-w", "-O0"]
    made = subprocess.run([compiler, *flags, "-o", str(binary), str(source)], capture_output=True, text=True)
    assert made.returncode == 0, f"SPECC_SEED={SEED}: {made.stderr[:3000]}\n"
    return subprocess.run([binary], capture_output=True, text=True, check=True).stdout.splitlines()


def compare(compiler: str, records: Sequence[Record], folder: Path) -> None:
    source = Source()
    lines = run(compiler, source.measure(records), folder)
    assert len(lines) == len(records)
    clang = compiler.startswith("clang")
    wrong = []
    for i, (r, line) in enumerate(zip(records, lines, strict=True)):
        mine = expected(i, r.clang if clang and r.clang else r)
        if mine != line:
            one = Source()
            one.need(r)
            wrong.append(f"{''.join(one.text)} {compiler}: {line}\n specc: {mine}\n")
    assert not wrong, f"SPECC_SEED={SEED}: {len(wrong)} wrong\n" + "\n".join(sorted(wrong, key=len)[:5])


COMPILERS = [
    pytest.param(c, marks=pytest.mark.skipif(shutil.which(c) is None, reason=f"{c} is not installed"))
    for c in ("gcc", "clang", "clang-19")
]

PLAIN: list[CType] = [
    CHAR, UCHAR, BOOL, SHORT, USHORT, INT, UINT, LONG, ULONG, LLONG, INT128, FLOAT, DOUBLE, LONG_DOUBLE, FLOAT128,
    Pointer(VOID), ENUM, BIG_ENUM, Complex(FLOAT), Complex(DOUBLE), Typedef("v4", Vector(INT, 4)),
    Typedef("v8", Vector(INT, 8)), Typedef("v16", Vector(FLOAT, 16)), Typedef("v32", Vector(CHAR, 32)),
]  # fmt: skip
BITS: list[CType] = [CHAR, UCHAR, BOOL, SHORT, USHORT, INT, UINT, LONG, ULONG, LLONG, ENUM, BIG_ENUM, INT128]


def make_records(seed: int, count: int, *, bit_int: bool = False) -> Iterator[Record]:
    """Records that gcc and clang accept; every third is a collection of what went wrong in other tools."""
    rng = random.Random(seed)
    done: list[Record] = []
    typedefs = 0
    plain = PLAIN + ([BitInt(7, True, 1, 1), BitInt(33, False, 8, 8), BitInt(100, True, 16, 8)] if bit_int else [])
    bits = BITS + ([BitInt(13, False, 2, 2)] if bit_int else [])

    def some_typedef(target: CType) -> Typedef:
        nonlocal typedefs
        typedefs += 1
        return Typedef(f"t{typedefs}", target, rng.choice([None, 1, 2, 4, 8, 16, 32]))

    def some_type() -> CType:
        t = rng.choice(done) if done and rng.random() < 0.25 else rng.choice(plain)
        roll = rng.random()
        if roll < 0.15 and not contains_flexible(t):
            t = Array(t, rng.choice([0, 1, 2, 3, 5])) if size_of(t) % align_of(t) == 0 else t
        if rng.random() < 0.2:
            t = some_typedef(t)
        return Qualified(t, ("const",)) if rng.random() < 0.05 else t

    def some_member(name: str, bitty: bool) -> Member:
        aligned = rng.choice([1, 2, 4, 8, 16, 32]) if rng.random() < 0.15 else None
        packed = rng.random() < 0.15
        if not bitty or rng.random() < 0.3:
            return Member(name, some_type(), 0, None, aligned, packed)
        t = rng.choice(bits)
        most = 1 if t is BOOL else t.width if isinstance(t, BitInt) else size_of(t) * 8
        width = rng.choice([1, 3, 7, 8, 9, 13, 16, 17, 31, 32, 33, 48, 63, 64, 128, most, most, rng.randint(1, 64)])
        if rng.random() < 0.15 and align_of(narrow := some_typedef(t)) <= 16:
            t = narrow
        if rng.random() < 0.15:
            return Member("", t, 0, min(width, most) if rng.random() < 0.5 else 0, aligned, packed)
        return Member(name, t, 0, min(width, most), aligned, packed)

    while len(done) < count:
        kind = "struct" if rng.random() < 0.8 else "union"
        pack = rng.choice([1, 2, 4, 8, 16]) if rng.random() < 0.15 else None
        bitty = rng.random() < 0.6
        members = [some_member(f"m{i}", bitty) for i in range(rng.choice([0, 1, 2, 2, 3, 3, 4, 6]))]
        if rng.random() < 0.1:
            inside = [Member("a1", LONG, 0), Member("a2", CHAR, 0)]
            inner = lay_out(rng.choice(["struct", "union"]), None, inside, pack=pack)
            members.insert(rng.randint(0, len(members)), Member("", inner, 0))
        if kind == "struct" and any(m.name and size_of(m.type) for m in members) and rng.random() < 0.05:
            members.append(Member("last", Array(rng.choice([CHAR, INT, LONG]), None), 0))
        record = lay_out(
            kind,
            f"r{len(done)}",
            members,
            packed=rng.random() < 0.2,
            aligned=rng.choice([1, 2, 4, 8, 16, 32]) if rng.random() < 0.15 else None,
            pack=pack,
        )
        done.append(record)
        yield record


def contains_flexible(t: CType) -> bool:
    match bare(t):
        case Array(element=element, count=count):
            return count is None or contains_flexible(element)
        case Record(members=members):
            return any(contains_flexible(m.type) for m in members or ())
        case _:
            return False


def bits(name: str, t: CType, width: int, *, aligned: int | None = None, packed: bool = False) -> Member:
    return Member(name, t, 0, width, aligned, packed)


def plain(name: str, t: CType, *, aligned: int | None = None, packed: bool = False) -> Member:
    return Member(name, t, 0, None, aligned, packed)


def lowered(t: CType, align: int) -> Typedef:
    return Typedef(f"at{align}_{spell(t).replace(' ', '_')}", t, align)


def struct(*members: Member, **attributes: Any) -> Record:
    return lay_out("struct", f"n{next(NUMBER)}", members, **attributes)


def union(*members: Member, **attributes: Any) -> Record:
    return lay_out("union", f"n{next(NUMBER)}", members, **attributes)


NUMBER = itertools.count()
INNER = lay_out("union", None, [plain("whole", LONG), plain("half", INT)])
SHAPES = {
    "empty": struct(),
    "empty, aligned": struct(aligned=16),
    "empty union": union(),
    "holes": struct(plain("a", CHAR), plain("b", LONG), plain("c", CHAR)),
    "packed": struct(plain("a", CHAR), plain("b", LONG), plain("c", CHAR), packed=True),
    "packed and aligned": struct(plain("a", CHAR), plain("b", LONG), packed=True, aligned=4),
    "packed member": struct(plain("a", CHAR), plain("b", LONG, packed=True)),
    "packed member, aligned to 2": struct(plain("a", CHAR), plain("b", LONG, packed=True, aligned=2)),
    "aligned member of a packed record": struct(plain("a", CHAR), plain("b", INT, aligned=8), packed=True),
    "aligned cannot lower a member": struct(plain("a", CHAR), plain("b", LONG, aligned=2)),
    "aligned cannot lower a record": struct(plain("a", LONG), aligned=2),
    "a typedef can lower": struct(plain("a", CHAR), plain("b", lowered(LONG, 2))),
    "a typedef can raise": struct(plain("a", CHAR), plain("b", lowered(CHAR, 16))),
    "packed supersedes the typedef": struct(plain("a", CHAR), plain("b", lowered(INT, 16)), packed=True),
    "pack(2)": struct(plain("a", CHAR), plain("b", LONG), pack=2),
    "pack(4) limits aligned members": struct(plain("a", CHAR), plain("b", LONG, aligned=16), pack=4),
    "pack does not limit the record's": struct(plain("a", CHAR), plain("b", LONG), pack=1, aligned=16),
    "bit-fields": struct(bits("a", INT, 3), bits("b", INT, 30), bits("c", CHAR, 7), bits("d", LONG, 40)),
    "bit-fields, packed": struct(bits("a", INT, 3), bits("b", INT, 30), bits("d", LONG, 40), packed=True),
    "bit-field in the tail": struct(plain("a", INT), plain("b", CHAR), bits("c", INT, 8), bits("d", INT, 17)),
    "bit-field after a wider one": struct(bits("a", LONG, 33), bits("b", SHORT, 9), bits("c", BOOL, 1)),
    "zero width": struct(bits("a", CHAR, 3), bits("", INT, 0), bits("b", CHAR, 3)),
    "zero width, packed": struct(bits("a", CHAR, 3), bits("", LONG, 0), bits("b", CHAR, 3), packed=True),
    "zero width at the end": struct(plain("a", CHAR), bits("", LONG, 0)),
    "zero width under pack": struct(plain("a", CHAR), bits("", INT, 0), plain("b", CHAR), pack=1),
    "unnamed bits do not align": struct(plain("a", CHAR), bits("", LONG, 20), plain("b", CHAR)),
    "aligned bit-field": struct(bits("a", INT, 3), bits("b", INT, 3, aligned=4), bits("c", INT, 3)),
    "aligned bit-field, packed": struct(bits("a", INT, 3), bits("b", INT, 3, aligned=2), packed=True),
    "bit-fields under pack(1)": struct(plain("a", CHAR), bits("b", INT, 30), bits("c", INT, 30), pack=1),
    "a whole bit-field": struct(bits("a", INT, 3), bits("b", CHAR, 8), bits("c", INT, 32)),
    "128 bits": struct(bits("a", INT128, 100), bits("b", INT128, 28), bits("c", INT128, 128)),
    "enums": struct(bits("a", ENUM, 3), plain("b", BIG_ENUM), bits("c", BIG_ENUM, 41)),
    "flexible array": struct(plain("n", CHAR), plain("rest", Array(LONG, None))),
    "zero-length array": struct(plain("a", CHAR), plain("none", Array(LONG, 0)), plain("b", CHAR)),
    "union": union(plain("a", Array(CHAR, 9)), plain("b", INT), bits("c", LONG, 3)),
    "union, packed": union(plain("a", Array(CHAR, 9)), plain("b", LONG), packed=True),
    "anonymous union": struct(plain("a", CHAR), plain("", INNER), plain("b", CHAR)),
    "long double": struct(plain("a", CHAR), plain("b", LONG_DOUBLE), plain("c", Complex(FLOAT))),
    "two layouts: a lowered whole bit-field": struct(bits("a", lowered(INT, 2), 32)),
    "two layouts: aligned above pack": struct(bits("a", INT, 3), bits("b", INT, 3, aligned=16), pack=4),
}


@pytest.mark.parametrize("compiler", COMPILERS)
def test_named_shapes(compiler: str, tmp_path: Path) -> None:
    compare(compiler, list(SHAPES.values()), tmp_path)


def test_two_layouts_are_told() -> None:
    for name, record in SHAPES.items():
        assert (record.clang is not None) == bool(record.doubt) == name.startswith("two layouts"), name
    outer = struct(plain("a", CHAR), plain("b", Array(SHAPES["two layouts: a lowered whole bit-field"], 1)))
    assert outer.clang is not None and (outer.size, outer.clang.size) == (8, 6)
    assert "gcc" in outer.doubt and "clang" in outer.doubt


@pytest.mark.parametrize(
    ("member", "told"),
    [
        (
            plain("x", Unknown("_Decimal64", "specc does not know it")),
            "`x` has type `_Decimal64`: specc does not know it",
        ),
        (plain("x", Array(Record("struct", "later", None), 2)), "`x`: `struct later` is incomplete here"),
        (plain("x", VOID), "`x` is not an object"),
        (plain("x", Qualified(SHAPES["holes"], ("_Atomic",))), "`x` is an _Atomic aggregate"),
        (bits("x", lowered(CHAR, 32), 3), "depends on compiler flags"),
    ],
)
def test_what_cannot_be_laid_out_is_incomplete(member: Member, told: str) -> None:
    record = struct(plain("a", INT), member)
    assert record.members is None and not record.complete
    assert told in record.doubt
    assert record.doubt in struct(plain("inner", record)).doubt


def test_exactness_is_handed_on() -> None:
    vague = replace(SHAPES["holes"], exact=False)
    assert not struct(plain("a", Array(vague, 2))).exact
    assert struct(plain("a", Pointer(vague))).exact


MASKS = [
    (INT, "ffffffff"),
    (BOOL, "ff"),
    (LONG_DOUBLE, "ff" * 10 + "00" * 6),
    (Complex(LONG_DOUBLE), ("ff" * 10 + "00" * 6) * 2),
    (Array(SHORT, 3), "ff" * 6),
    (Array(CHAR, None), ""),
    (BitInt(13, True, 2, 2), "ff1f"),
    (Typedef("t", Qualified(Vector(FLOAT, 16), ("const",))), "ff" * 16),
    (SHAPES["holes"], "ff" + "00" * 7 + "ff" * 8 + "ff" + "00" * 7),
    (SHAPES["bit-fields"], "07000000" + "ffffff3f" + "ffffffffff7f" + "0000"),
    (SHAPES["unnamed bits do not align"], "ff000000ff"),
    (SHAPES["union"], "ff" * 9 + "00" * 7),
    (SHAPES["anonymous union"], "ff" + "00" * 7 + "ff" * 8 + "ff" + "00" * 7),
    (SHAPES["flexible array"], "ff" + "00" * 7),
    (Array(struct(plain("c", CHAR), plain("s", SHORT)), 2), "ff00ffff" * 2),
    (VOID, ""),
]


@pytest.mark.parametrize(("ctype", "mask"), MASKS)
def test_data_mask(ctype: CType, mask: str) -> None:
    assert data_mask(ctype).hex() == mask


@pytest.mark.parametrize("compiler", COMPILERS)
def test_random_records(compiler: str, tmp_path: Path) -> None:
    print(f"SPECC_SEED={SEED}")
    bit_int = compiler.startswith("clang")
    compare(compiler, list(make_records(SEED, COUNT, bit_int=bit_int)), tmp_path)

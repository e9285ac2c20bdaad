"""The BTF reader: every kind from hand-written bytes, whole kernels against bpftool, compilers' output, damage."""

from __future__ import annotations

import json
import random
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from btf_writer import Writer

from specc.btf import RUNNING, Btf, open_all, open_btf
from specc.diagnostics import Location, Stop
from specc.prototype import (
    BOOL,
    CHAR,
    DOUBLE,
    FLOAT,
    FLOAT16,
    FLOAT128,
    INT,
    INT128,
    LLONG,
    LONG,
    LONG_DOUBLE,
    SCHAR,
    SHORT,
    UCHAR,
    UINT,
    UINT128,
    ULLONG,
    ULONG,
    USHORT,
    VOID,
    Array,
    Complex,
    CType,
    Enum,
    Function,
    Int,
    Member,
    Pointer,
    Qualified,
    Record,
    Typedef,
    Unknown,
    Vector,
    bare,
    spell_prototype,
)

WHERE = Location("a.yaml", 4, 5)


def read(w: Writer, base: Btf | None = None, **kw: Any) -> Btf:
    return Btf(w.bytes(**kw), "test", base)


def refusal(action: Callable[[], object]) -> tuple[str, str]:
    """Code and message of the Stop that `action` must raise."""
    with pytest.raises(Stop) as caught:
        action()
    return caught.value.diagnostic.code, caught.value.diagnostic.message


def parameter(build: Callable[[Writer], int]) -> CType:
    """The type of a parameter that `build` writes."""
    w = Writer()
    w.int("signed char", 1, signed=True)  # present in every kernel; shows that this BTF marks signs
    w.func("f", w.proto(0, [("x", build(w))]))
    return read(w).prototype("f").parameters[0].type


def record(kind: str, tag: str | None, members: list[Member], size: int, align: int) -> Record:
    return Record(kind, tag, tuple(members), size, align, exact=False)


# ---- base types ---------------------------------------------------------------------------------------------------

WRONG_SPELLINGS = [
    "int int",
    "signed unsigned",
    "long char",
    "long long long",
    "int char",
    "unsigned _Bool",
    "int __int128",
]

INTEGERS = [
    # name in BTF (gcc's and clang's), size, signed flag, type
    ("char", 1, True, CHAR),
    ("char", 1, False, Int("char", 1, False, "char")),  # -funsigned-char
    ("signed char", 1, True, SCHAR),
    ("signed char", 1, False, SCHAR),  # pahole before 1.21
    ("unsigned char", 1, False, UCHAR),
    ("short int", 2, True, SHORT),
    ("short", 2, True, SHORT),
    ("short unsigned int", 2, False, USHORT),
    ("unsigned short", 2, False, USHORT),
    ("int", 4, True, INT),
    ("unsigned int", 4, False, UINT),
    ("unsigned", 4, False, UINT),
    ("long int", 8, True, LONG),
    ("long", 8, True, LONG),
    ("long unsigned int", 8, False, ULONG),
    ("unsigned long", 8, False, ULONG),
    ("long long int", 8, True, LLONG),
    ("long long", 8, True, LLONG),
    ("long long unsigned int", 8, False, ULLONG),
    ("unsigned long long", 8, False, ULLONG),
    ("__int128", 16, True, INT128),
    ("__int128 unsigned", 16, False, UINT128),
    ("unsigned __int128", 16, False, UINT128),
    ("ssizetype", 8, True, LONG),
    ("__u32", 4, False, UINT),
    ("u64", 8, False, ULONG),
    ("s16", 2, True, SHORT),
    # pahole writes floats as integers unless it is told not to
    ("float", 4, False, FLOAT),
    ("double", 8, False, DOUBLE),
    ("long double", 16, False, LONG_DOUBLE),
    ("_Float16", 2, False, FLOAT16),
    ("_Float128", 16, False, FLOAT128),
    ("__float128", 16, False, FLOAT128),
    ("complex float", 8, False, Complex(FLOAT)),
    ("complex double", 16, False, Complex(DOUBLE)),
]


@pytest.mark.parametrize(("name", "size", "signed", "expected"), INTEGERS)
def test_base_types(name: str, size: int, signed: bool, expected: CType) -> None:
    assert parameter(lambda w: w.int(name, size, signed=signed)) == expected


def test_bool() -> None:
    assert parameter(lambda w: w.int("_Bool", 1, boolean=True)) == BOOL


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [("float", 4, FLOAT), ("double", 8, DOUBLE), ("long double", 16, LONG_DOUBLE), ("_Float16", 2, FLOAT16)],
)
def test_float_kind(name: str, size: int, expected: CType) -> None:
    assert parameter(lambda w: w.float(name, size)) == expected


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("_Decimal64", 8),
        ("complex", 16),  # clang does not say of what
        ("_BitInt", 8),
        ("unsigned _BitInt", 8),
        ("long", 4),  # a 32-bit machine's
        ("int", 8),
        ("double", 4),
        ("widget", 8),
        ("", 4),
        *((n, 4) for n in WRONG_SPELLINGS),
    ],
)
def test_base_types_that_nobody_can_place(name: str, size: int) -> None:
    made = parameter(lambda w: w.int(name, size))
    assert isinstance(made, Unknown)
    assert made.reason


def test_an_integer_of_fewer_bits_than_its_bytes_is_unknown() -> None:
    assert isinstance(parameter(lambda w: w.int("int", 4, bits=7)), Unknown)


def test_plain_char_is_signed_where_pahole_did_not_write_signs() -> None:
    w = Writer()
    w.int("signed char", 1)
    w.func("f", w.proto(0, [("c", w.int("char", 1))]))
    assert read(w).prototype("f").parameters[0].type == CHAR


# ---- derived types ------------------------------------------------------------------------------------------------


def _int(w: Writer) -> int:
    return w.int("int", 4, signed=True)


DERIVED = [
    (lambda w: w.ptr(0), Pointer(VOID)),
    (lambda w: w.ptr(_int(w)), Pointer(INT)),
    (lambda w: w.ptr(w.const(w.int("char", 1, signed=True))), Pointer(Qualified(CHAR, ("const",)))),
    (lambda w: w.const(w.ptr(_int(w))), Qualified(Pointer(INT), ("const",))),
    (lambda w: w.volatile(w.const(_int(w))), Qualified(INT, ("const", "volatile"))),
    (lambda w: w.const(w.volatile(_int(w))), Qualified(INT, ("const", "volatile"))),
    (lambda w: w.const(w.const(_int(w))), Qualified(INT, ("const",))),
    (lambda w: w.restrict(w.ptr(_int(w))), Qualified(Pointer(INT), ("restrict",))),
    (lambda w: w.ptr(w.type_tag("user", _int(w))), Pointer(Qualified(INT, ("__user",)))),
    (lambda w: w.ptr(w.type_tag("percpu", w.const(_int(w)))), Pointer(Qualified(INT, ("const", "__percpu")))),
    (lambda w: w.ptr(w.type_tag("address_space(1)", 0, attribute=True)), Pointer(VOID)),
    (lambda w: w.typedef("myint", _int(w)), Typedef("myint", INT)),
    (lambda w: w.ptr(w.array(_int(w), 3)), Pointer(Array(INT, 3))),
    (lambda w: w.ptr(w.array(w.array(_int(w), 4), 3)), Pointer(Array(Array(INT, 4), 3))),
    (lambda w: w.ptr(w.array(_int(w), 0)), Pointer(Array(INT, None))),
    (lambda w: w.ptr(w.fwd("s")), Pointer(Record("struct", "s", None))),
    (lambda w: w.ptr(w.fwd("u", union=True)), Pointer(Record("union", "u", None))),
    (lambda w: w.ptr(w.record("struct", "s", 4, [("a", _int(w), 0)])), Pointer(Record("struct", "s", None))),
    (lambda w: w.ptr(w.record("union", "", 4, [("a", _int(w), 0)])), Pointer(Record("union", None, None))),
    (
        lambda w: w.ptr(w.typedef("t", w.record("struct", "", 4, [("a", _int(w), 0)]))),
        Pointer(Typedef("t", Record("struct", None, None))),
    ),
    (
        lambda w: w.ptr(w.proto(_int(w), [("", w.int("char", 1, signed=True)), ("", 0)])),
        Pointer(Function(INT, (CHAR,), variadic=True)),
    ),
    (lambda w: w.ptr(w.proto(0, [])), Pointer(Function(VOID, ()))),
    (lambda w: w.enum("e", [("A", 0), ("B", 5)]), Enum("e", 4, False, (("A", 0), ("B", 5)))),
    (lambda w: w.enum("e", [("A", -1)], signed=True), Enum("e", 4, True, (("A", -1),))),
    (lambda w: w.enum("", [("A", 1)], 1), Enum(None, 1, False, (("A", 1),))),
    (lambda w: w.enum64("e", [("A", 1 << 40)]), Enum("e", 8, False, (("A", 1 << 40),))),
    (lambda w: w.enum64("e", [("A", 1 << 63)]), Enum("e", 8, False, (("A", 1 << 63),))),
    (lambda w: w.enum64("e", [("A", -(1 << 40))], signed=True), Enum("e", 8, True, (("A", -(1 << 40)),))),
    # An array by value can only be a vector.
    (lambda w: w.typedef("v4", w.array(_int(w), 4)), Typedef("v4", Vector(INT, 16))),
    (lambda w: w.const(w.array(w.float("float", 4), 2)), Qualified(Vector(FLOAT, 8), ("const",))),
]


@pytest.mark.parametrize(("build", "expected"), DERIVED)
def test_derived_types(build: Callable[[Writer], int], expected: CType) -> None:
    assert parameter(build) == expected


def test_an_array_by_value_that_no_vector_can_be_is_unknown() -> None:
    assert isinstance(parameter(lambda w: w.array(_int(w), 3)), Unknown)


def test_a_parameter_without_a_type_is_unknown() -> None:
    w = Writer()
    w.func("f", w.proto(0, [("x", 0), ("y", _int(w))]))
    p = read(w).prototype("f")
    assert isinstance(p.parameters[0].type, Unknown)
    assert (p.parameters[1].name, p.parameters[1].type, p.variadic) == ("y", INT, False)


def test_enum_signs_where_btf_did_not_have_them() -> None:
    w = Writer()
    w.func("f", w.proto(0, [("x", w.enum("e", [("A", -22)]))]))
    assert bare(read(w).prototype("f").parameters[0].type) == Enum("e", 4, True, (("A", -22),))
    w.func("g", w.proto(0, [("x", w.enum("mask", [("A", 1 << 31), ("B", 0xEFFFFFFF)]))]))
    mask = Enum("mask", 4, False, (("A", 1 << 31), ("B", 0xEFFFFFFF)))
    assert bare(read(w).prototype("g").parameters[0].type) == mask
    w.enum("newer", [("B", -1)], signed=True)  # this BTF has them, so `e` is unsigned
    assert bare(read(w).prototype("f").parameters[0].type) == Enum("e", 4, False, (("A", 2**32 - 22),))


# ---- records ------------------------------------------------------------------------------------------------------


def _long(w: Writer) -> int:
    return w.int("long int", 8, signed=True)


RECORDS = [
    (
        lambda w: w.record("struct", "s", 16, [("a", i := _int(w), 0), ("b", _long(w), 64)]) if True else i,
        record("struct", "s", [Member("a", INT, 0), Member("b", LONG, 64)], 16, 8),
    ),
    (
        lambda w: w.record("union", "u", 8, [("a", _int(w), 0), ("b", _long(w), 0)]),
        record("union", "u", [Member("a", INT, 0), Member("b", LONG, 0)], 8, 8),
    ),
    # packed: a size, or an offset, that natural alignment would not give
    (
        lambda w: w.record("struct", "p", 12, [("b", _long(w), 0), ("a", _int(w), 64)]),
        record("struct", "p", [Member("b", LONG, 0), Member("a", INT, 64)], 12, 1),
    ),
    (
        lambda w: w.record("struct", "p", 5, [("c", w.int("char", 1, signed=True), 0), ("a", _int(w), 8)]),
        record("struct", "p", [Member("c", CHAR, 0), Member("a", INT, 8)], 5, 1),
    ),
    # room that only an alignment attribute explains
    (lambda w: w.record("struct", "a", 16, [("a", _int(w), 0)]), record("struct", "a", [Member("a", INT, 0)], 16, 16)),
    (
        lambda w: w.record("struct", "a", 32, [("a", _int(w), 0), ("b", _long(w), 128)]),
        record("struct", "a", [Member("a", INT, 0), Member("b", LONG, 128)], 32, 16),
    ),
    (lambda w: w.record("union", "a", 32, [("a", _int(w), 0)]), record("union", "a", [Member("a", INT, 0)], 32, 32)),
    # bit-fields with kind_flag
    (
        lambda w: w.record(
            "struct", "b", 8, [("x", (u := w.int("unsigned int", 4)), 0, 3), ("y", u, 3, 29), ("z", u, 32)]
        ),
        record("struct", "b", [Member("x", UINT, 0, 3), Member("y", UINT, 3, 29), Member("z", UINT, 32)], 8, 4),
    ),
    # bit-fields before kind_flag: an INT type of their own, which may also say how many bits to skip
    (
        lambda w: w.record(
            "struct",
            "o",
            4,
            [("x", w.int("unsigned int", 4, bits=3), 0), ("y", w.typedef("t", w.int("int", 4, bits=5, skip=3)), 0)],
        ),
        record("struct", "o", [Member("x", UINT, 0, 3), Member("y", INT, 3, 5)], 4, 4),
    ),
    # nested by value, anonymous, behind a pointer, and itself behind a pointer
    (
        lambda w: w.record(
            "struct",
            "n",
            24,
            [
                ("", w.record("union", "", 8, [("i", _int(w), 0), ("l", _long(w), 0)]), 0),
                ("in", w.record("struct", "in", 8, [("l", _long(w), 0)]), 64),
                ("next", w.ptr(w.count + 2), 128),
            ],
        ),
        record(
            "struct",
            "n",
            [
                Member("", record("union", None, [Member("i", INT, 0), Member("l", LONG, 0)], 8, 8), 0),
                Member("in", record("struct", "in", [Member("l", LONG, 0)], 8, 8), 64),
                Member("next", Pointer(Record("struct", "n", None)), 128),
            ],
            24,
            8,
        ),
    ),
    # a flexible array at the end, `[0]` elsewhere
    (
        lambda w: w.record("struct", "f", 4, [("z", (a := w.array(_int(w), 0)), 0), ("n", _int(w), 0), ("d", a, 32)]),
        record(
            "struct", "f", [Member("z", Array(INT, 0), 0), Member("n", INT, 0), Member("d", Array(INT, None), 32)], 4, 4
        ),
    ),
    (lambda w: w.record("struct", "e", 0, []), record("struct", "e", [], 0, 1)),
    # gcc drops the members of a transparent union
    (lambda w: w.record("union", "", 8, []), record("union", None, [], 8, 8)),
]


@pytest.mark.parametrize(("build", "expected"), RECORDS)
def test_records_by_value(build: Callable[[Writer], int], expected: Record) -> None:
    assert parameter(build) == expected


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (lambda w: w.int("_Decimal64", 8), "member `x`: `_Decimal64`: its BTF calls it `_Decimal64`"),
        (lambda w: w.array(w.int("complex", 8), 1), "member `x`: `complex`: its BTF calls it"),
        (lambda w: w.fwd("far"), "member `x`: `struct far` is incomplete here"),
        (lambda w: w.typedef("t", 0), "member `x`: its BTF has no type for it"),
        (lambda w: w.record("struct", "in", 8, [("y", w.int("_BitInt", 8), 0)]), "member `y`: `_BitInt`"),
    ],
)
def test_a_record_with_a_member_that_nobody_can_place_is_incomplete(
    member: Callable[[Writer], int], reason: str
) -> None:
    made = parameter(lambda w: w.record("struct", "s", 16, [("a", _int(w), 0), ("x", member(w), 64)]))
    assert isinstance(made, Record)
    assert (made.members, made.size) == (None, 0)
    assert reason in made.doubt


def test_a_record_is_whole_by_value_and_closed_behind_a_pointer_and_in_a_callback() -> None:
    w = Writer()
    s = w.record("struct", "s", 8, [("l", _long(w), 0)])
    w.func("f", w.proto(s, [("a", s), ("b", w.ptr(s)), ("c", w.ptr(w.proto(s, [("", s)])))]))
    p = read(w).prototype("f")
    whole, closed = record("struct", "s", [Member("l", LONG, 0)], 8, 8), Record("struct", "s", None)
    assert p.result == whole
    assert [a.type for a in p.parameters] == [whole, Pointer(closed), Pointer(Function(closed, (closed,)))]


# ---- functions ----------------------------------------------------------------------------------------------------


def test_prototype() -> None:
    w = Writer()
    w.func("f", w.proto(_long(w), [("fd", _int(w)), ("", w.ptr(0)), ("", 0)]))
    p = read(w).prototype("f")
    assert (p.name, p.result, p.variadic, p.source, p.doubt) == ("f", LONG, True, "BTF of test", "")
    assert [(a.name, a.type) for a in p.parameters] == [("fd", INT), (None, Pointer(VOID))]


def test_an_empty_prototype_is_doubted() -> None:
    w = Writer()
    w.func("memcpy", w.proto(0, []))
    w.func("count", w.proto(_int(w), []))
    btf = read(w)
    assert "assembler" in btf.prototype("memcpy").doubt
    assert btf.prototype("count").doubt == ""


def test_names_that_fit_no_function_or_more_than_one() -> None:
    w = Writer()
    i = _int(w)
    one, two = w.proto(i, [("a", i)]), w.proto(0, [("a", i), ("b", i)])
    w.func("vfs_read", one)
    w.func("cleanup", one)
    w.func("cleanup", two)
    w.func("gone.isra.0", two)
    w.record("struct", "page", 4, [("a", i, 0)])
    w.func("twice", one)
    w.func("twice", one)
    btf = read(w)

    with pytest.raises(Stop) as caught:
        btf.prototype("vfs_raed", WHERE)
    d = caught.value.diagnostic
    assert (d.code, d.where, d.help) == ("SP234", WHERE, "did you mean `vfs_read`?")

    with pytest.raises(Stop) as caught:
        btf.prototype("cleanup", WHERE)
    d = caught.value.diagnostic
    assert (d.code, d.where, d.notes) == ("SP235", WHERE, ("int cleanup(int a)", "void cleanup(int a, int b)"))
    assert [spell_prototype(p) for p in btf.find("cleanup")] == list(d.notes)
    assert refusal(lambda: btf.prototype("twice"))[0] == "SP235"

    with pytest.raises(Stop) as caught:
        btf.prototype("gone", WHERE)
    d = caught.value.diagnostic
    assert (d.code, d.where) == ("SP234", WHERE)
    assert "`gone.isra.0`" in d.notes[0]
    for clone in ("gone.isra.0", "gone.constprop.3", "vfs_read.part.0.cold", "gone.isra.0.part.1"):
        assert refusal(lambda clone=clone: btf.prototype(clone))[0] == "SP237"

    with pytest.raises(Stop) as caught:
        btf.prototype("page")
    assert caught.value.diagnostic.notes == ("`page` is a struct there",)
    assert btf.find("page") == () and btf.find("nothing") == ()
    assert btf.functions() == ["vfs_read", "cleanup", "gone.isra.0", "twice"]


@pytest.mark.parametrize("name", ["", "\0", "f\0", "é", "\ud800", "f" * 100_000])
def test_names_that_cannot_be_there(name: str) -> None:
    w = Writer()
    w.func("f", w.proto(0, []))
    assert refusal(lambda: read(w).prototype(name))[0] == "SP234"


def test_a_name_may_share_its_bytes_with_other_names_and_its_number_with_other_words() -> None:
    w = Writer()
    i = _int(w)
    # The string offset of `ead` is also a type id and an array length; the name is the tail of two others.
    w.func("vfs_read", w.proto(0, [("x", i)]))
    at = w.name("vfs_read") + 5
    w.array(i, at)
    w.ptr(at)
    w.func(at, w.proto(i, [("tail", i)]))
    w.func("xead", w.proto(0, [("y", i)]))
    btf = read(w)
    assert [spell_prototype(p) for p in btf.find("ead")] == ["int ead(int tail)"]
    for _ in range(10):  # later lookups come from the index
        assert [spell_prototype(p) for p in btf.find("ead")] == ["int ead(int tail)"]
        assert btf.find("ad") == ()
    assert btf.functions() == ["vfs_read", "ead", "xead"]


def test_searching_and_the_index_find_the_same() -> None:
    w = Writer()
    i = _int(w)
    proto = w.proto(0, [("x", i)])
    names = [f"{a}{b}" for a in ("read", "ad", "d", "x_read") for b in ("", "1", "read")]
    for n in names:
        w.func(n, proto)
    for n in [*names, "e", "1", "rea", "x"]:
        searched = read(w).find(n)
        indexed = read(w)
        indexed.blob.index()
        assert searched == indexed.find(n)
        assert len(searched) == (n in names)


# ---- types and constants by name ----------------------------------------------------------------------------------


def test_types_by_name() -> None:
    w = Writer()
    i = _int(w)
    w.int("char", 1)
    w.int("signed char", 1, signed=True)
    w.int("long unsigned int", 8)
    s = w.record("struct", "s", 4, [("a", i, 0)])
    w.typedef("s_t", s)
    w.fwd("far")
    w.enum("color", [("RED", 0), ("BLUE", 7)])
    w.enum64("big", [("HUGE", 1 << 40), ("BLUE2", 1)])
    btf = read(w)
    whole, closed = record("struct", "s", [Member("a", INT, 0)], 4, 4), Record("struct", "s", None)
    assert btf.complete("struct", "s") == whole
    assert btf.complete("union", "s") is None and btf.complete("struct", "far") is None
    assert btf.typedef("s_t") == Typedef("s_t", whole)
    assert btf.typedef("nope") is None
    assert btf.enum("color") == Enum("color", 4, False, (("RED", 0), ("BLUE", 7)))
    assert (btf.constant("BLUE"), btf.constant("HUGE"), btf.constant("GREEN")) == (7, 1 << 40, None)
    unsigned_char = Int("char", 1, False, "char")
    for text, expected in {
        "struct s": whole,
        "struct s *": Pointer(closed),
        "struct s**": Pointer(Pointer(closed)),
        "struct far *": Pointer(Record("struct", "far", None)),
        "struct far": None,
        "s_t": Typedef("s_t", whole),
        "s_t *": Pointer(Typedef("s_t", closed)),
        "enum color": Enum("color", 4, False, (("RED", 0), ("BLUE", 7))),
        "unsigned long": ULONG,
        "long unsigned int": ULONG,
        "char": unsigned_char,
        "char *": Pointer(unsigned_char),
        "int": INT,
        "void *": Pointer(VOID),
        "void": None,
        "double": None,
        "s": None,
        "": None,
        "*": None,
        "int int": None,
        "struct": None,
        "struct s x": None,
    }.items():
        assert btf.type_named(text) == expected, text


def test_definitions_that_differ_are_refused() -> None:
    w = Writer()
    i = _int(w)
    w.record("struct", "s", 4, [("a", i, 0)])
    w.record("struct", "s", 8, [("a", i, 0), ("b", i, 32)])
    w.enum("", [("A", 1)])
    w.enum("", [("A", 2)])
    assert refusal(lambda: read(w).complete("struct", "s"))[0] == "SP235"
    assert refusal(lambda: read(w).constant("A"))[0] == "SP235"


# ---- modules: split BTF -------------------------------------------------------------------------------------------


def test_a_module_builds_on_its_kernel(tmp_path: Path) -> None:
    kernel = Writer()
    i = kernel.int("int", 4, signed=True)
    file = kernel.record("struct", "file", 4, [("f_pos", i, 0)])
    kernel.func("vfs_read", kernel.proto(i, [("file", kernel.ptr(file))]))
    module = Writer(base=kernel)
    long_ = module.int("long int", 8, signed=True)
    own = module.record("struct", "own", 16, [("file", file, 0), ("n", long_, 64)])
    module.func("ext4_read", module.proto(long_, [("o", own), ("file", module.ptr(file)), ("n", i)]))
    module.func("vfs_read", module.proto(0, [("n", i)]))
    base = read(kernel)
    btf = Btf(module.bytes(), "ext4", base)

    inner = record("struct", "file", [Member("f_pos", INT, 0)], 4, 4)
    whole = record("struct", "own", [Member("file", inner, 0), Member("n", LONG, 64)], 16, 8)
    p = btf.prototype("ext4_read")
    assert p.source == "BTF of ext4"
    assert [a.type for a in p.parameters] == [whole, Pointer(Record("struct", "file", None)), INT]
    assert [a.name for a in p.parameters] == ["o", "file", "n"]
    assert btf.complete("struct", "file") == inner
    assert btf.functions() == ["ext4_read", "vfs_read"]
    assert [p.source for p in btf.find("vfs_read")] == ["BTF of ext4", "BTF of test"]
    assert refusal(lambda: btf.prototype("vfs_read"))[0] == "SP235"
    assert base.find("ext4_read") == ()
    assert refusal(lambda: Btf(module.bytes(), "ext4"))[0] == "SP236"

    (tmp_path / "vmlinux").write_bytes(kernel.bytes())
    (tmp_path / "ext4").write_bytes(module.bytes())
    opened = open_all([tmp_path / "vmlinux", tmp_path / "ext4"])
    assert opened[1].prototype("ext4_read") == p
    assert refusal(lambda: open_all([tmp_path / "ext4", tmp_path / "vmlinux"]))[0] == "SP236"


# ---- damage -------------------------------------------------------------------------------------------------------


def _blob(types: bytes, count_flag: int = 0, strings: bytes = b"\0a\0") -> bytes:
    return struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings)) + types + strings


def _type(kind: int, name: int = 0, third: int = 0, vlen: int = 0) -> bytes:
    return struct.pack("<III", name, kind << 24 | vlen, third)


FUNC_1 = _type(12, 1, 2) + _type(13, 0, 3)  # a: proto 2, which returns type 3

DAMAGED = [
    ("empty", b"", "SP232"),
    ("one byte", b"\x9f", "SP232"),
    ("text", b"int f(void);\n", "SP232"),
    ("big endian", b"\xeb\x9f\x01\0\0\0\0\x18", "SP232"),
    ("version 2", struct.pack("<HBBIIIII", 0xEB9F, 2, 0, 24, 0, 0, 0, 1) + b"\0", "SP232"),
    ("header cut off", b"\x9f\xeb\x01\0\x18\0", "SP233"),
    ("header length too small", struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 23, 0, 0, 0, 1) + b"\0", "SP233"),
    ("header length too big", struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 4096, 0, 0, 0, 1) + b"\0", "SP233"),
    ("types outside", struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, 4096, 0, 1) + b"\0", "SP233"),
    ("strings outside", struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, 0, 0, 9) + b"\0", "SP233"),
    ("huge offset", struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0xFFFFFFFC, 8, 0, 1) + b"\0", "SP233"),
    ("sections overlap", struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, 12, 0, 12) + bytes(12), "SP233"),
    ("types not aligned", struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 1, 0, 0, 1) + b"\0", "SP233"),
    ("strings do not end", _blob(FUNC_1 + _type(8, 1), strings=b"\0a"), "SP233"),
    ("last type cut off", _blob(FUNC_1 + _type(1, 1, 4)), "SP233"),
    ("last type is one word", _blob(FUNC_1 + b"\0\0\0\0"), "SP233"),
    ("vlen runs out", _blob(_type(13, 0, 0, vlen=0xFFFF)), "SP233"),
    ("kind 0", _blob(_type(0)), "SP233"),
    ("unknown kind", _blob(FUNC_1 + _type(31)), "SP233"),
    ("type id outside", _blob(_type(12, 1, 2) + _type(13, 0, 77)), "SP233"),
    ("function of a non-function", _blob(_type(12, 1, 1)), "SP233"),
    ("name outside", _blob(FUNC_1 + _type(4, 999, 0)), "SP233"),
    ("typedef of itself", _blob(FUNC_1 + _type(8, 1, 3)), "SP233"),
    ("pointer to itself", _blob(FUNC_1 + _type(2, 0, 3)), "SP233"),
    ("const ring", _blob(FUNC_1 + _type(10, 0, 4) + _type(9, 0, 3)), "SP233"),
    ("struct in itself", _blob(FUNC_1 + _type(4, 1, 8, 1) + struct.pack("<III", 1, 3, 0)), "SP233"),
    ("array of itself", _blob(FUNC_1 + _type(3) + struct.pack("<III", 3, 3, 2)), "SP233"),
    ("function pointer ring", _blob(FUNC_1 + _type(2, 0, 2)), "SP233"),
    ("a variable as a type", _blob(FUNC_1 + _type(14, 1, 0) + bytes(4)), "SP233"),
    ("member outside", _blob(FUNC_1 + _type(4, 1, 1, 1) + struct.pack("<III", 1, 4, 8) + _type(2)), "SP233"),
    ("member in a byte", _blob(FUNC_1 + _type(4, 1, 16, 1) + struct.pack("<III", 1, 4, 4) + _type(2)), "SP233"),
    ("enum of 3 bytes", _blob(FUNC_1 + _type(6, 1, 3)), "SP233"),
    ("tag is no identifier", _blob(FUNC_1 + _type(4, 3, 0), strings=b"\0a\0x;y\0"), "SP233"),
    ("tag is not text", _blob(FUNC_1 + _type(4, 3, 0), strings=b"\0a\0\xff\0"), "SP233"),
    ("deep pointers", _blob(FUNC_1 + b"".join(_type(2, 0, 4 + i) for i in range(5000)) + _type(2)), "SP233"),
    (
        "bomb of callbacks",
        _blob(
            FUNC_1
            + b"".join(
                _type(2, 0, 4 + 2 * i) + _type(13, 0, 0, 2) + struct.pack("<IIII", 0, 5 + 2 * i, 0, 5 + 2 * i)
                for i in range(60)
            )
            + _type(2)
        ),
        "SP233",
    ),
]


@pytest.mark.parametrize(("data", "code"), [d[1:] for d in DAMAGED], ids=[d[0] for d in DAMAGED])
def test_damage_is_told(data: bytes, code: str) -> None:
    assert refusal(lambda: Btf(data, "x").prototype("a"))[0] == code
    # Twice: what a failure left behind must not make the next answer.
    assert refusal(lambda: Btf(data, "x").prototype("a"))[0] == code


def test_a_failure_does_not_spoil_other_functions() -> None:
    w = Writer()
    loop = w.typedef("t", w.count + 1)
    w.func("bad", w.proto(0, [("x", w.ptr(loop))]))
    w.func("good", w.proto(0, [("x", w.ptr(_int(w)))]))
    btf = read(w)
    for _ in range(2):
        assert refusal(lambda: btf.prototype("bad"))[0] == "SP233"
        assert btf.prototype("good").parameters[0].type == Pointer(INT)


def test_a_damaged_name_hides_nothing_else() -> None:
    w = Writer()
    w.typedef("t", _int(w))
    w.add(8, 999_999, 1)
    w.func("f", w.proto(0, [("x", 1)]))
    btf = read(w)
    for _ in range(10):  # searched at first, then from the index
        assert btf.prototype("f").parameters[0].type == INT
    w.enum("bad", [("A", 1)])
    w.types[-8:-4] = struct.pack("<I", 999_999)
    for _ in range(2):
        assert refusal(lambda: read(w).constant("A"))[0] == "SP233"
    spoilt = read(w)
    for _ in range(2):
        assert refusal(lambda: spoilt.constant("A"))[0] == "SP233"


def test_unknown_kinds_are_stepped_over_where_the_blob_tells_their_length() -> None:
    w = Writer()
    w.add(40, third=7, rest=bytes(4 + 2 * 8), vlen=2)
    i = _int(w)
    w.func("f", w.proto(i, [("x", i)]))
    w.func("g", w.proto(0, [("x", 1)]))
    assert refusal(lambda: read(w))[0] == "SP233"
    layout = bytearray(4 * 41)
    layout[160:162] = bytes((4, 8))
    btf = read(w, layout=bytes(layout))
    assert spell_prototype(btf.prototype("f")) == "int f(int x)"
    assert refusal(lambda: btf.prototype("g"))[0] == "SP233"


def _sample() -> bytes:
    w = Writer()
    i = _int(w)
    c = w.int("char", 1, signed=True)
    e = w.enum("e", [("A", -1), ("B", 2)], signed=True)
    w.enum64("f", [("C", 1 << 40)])
    u = w.record("union", "", 8, [("a", i, 0), ("p", w.ptr(c), 0)])
    s = w.record("struct", "s", 24, [("u", u, 0), ("x", i, 64, 3), ("y", i, 67, 5), ("v", w.array(c, 8), 96)])
    t = w.typedef("s_t", s)
    w.var("v", i)
    w.datasec(".data", [(1, 0, 4)])
    f = w.func("one", w.proto(i, [("a", t), ("b", w.ptr(w.const(s))), ("c", e), ("", 0)]))
    w.decl_tag("bpf_kfunc", f)
    w.func("two", w.proto(w.float("double", 8), [("cb", w.ptr(w.proto(0, [("", i)]))), ("d", w.fwd("far"))]))
    w.func("none", w.proto(0, []))
    return w.bytes()


def _use(data: bytes, base: Btf | None = None) -> None:
    """Everything that the reader offers."""
    btf = Btf(data, "fuzz", base)
    for name in (*btf.functions(), "one", "nothing"):
        try:
            btf.prototype(name)
        except Stop as stopped:
            assert stopped.diagnostic.code in FUZZ_CODES
    for ask in (
        lambda: list(btf.prototypes()),
        lambda: btf.complete("struct", "s"),
        lambda: btf.typedef("s_t"),
        lambda: btf.enum("e"),
        lambda: btf.constant("A"),
        lambda: btf.type_named("unsigned long"),
    ):
        try:
            ask()
        except Stop as stopped:
            assert stopped.diagnostic.code in FUZZ_CODES


FUZZ_CODES = {"SP232", "SP233", "SP234", "SP235", "SP236", "SP237"}


def test_the_sample_is_sound() -> None:
    btf = Btf(_sample(), "sample")
    assert [spell_prototype(p) for p in btf.prototypes()] == [
        "int one(s_t a, const struct s *b, enum e c, ...)",
        "double two(void (*cb)(int), struct far d)",
        "void none(void)",
    ]
    assert btf.constant("C") == 1 << 40


@pytest.mark.parametrize("seed", range(8))
def test_random_damage_gives_nothing_but_diagnostics(seed: int) -> None:
    sample, rng = _sample(), random.Random(seed)
    for _ in range(400):
        data = bytearray(sample)
        for _ in range(rng.choice((1, 1, 2, 8))):
            match rng.randrange(4):
                case 0:
                    data = data[: rng.randrange(len(data) + 1)]
                case 1 if data:
                    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
                case 2 if len(data) >= 4:
                    at = rng.randrange(len(data) // 4) * 4
                    data[at : at + 4] = struct.pack("<I", rng.choice((0, 1, 5, 255, 0xFFFF, 0xFFFFFF, 0xFFFFFFFF)))
                case 3 if data:
                    at = rng.randrange(len(data))
                    data[at:at] = rng.randbytes(rng.randrange(8))
        try:
            _use(bytes(data))
        except Stop as stopped:
            assert stopped.diagnostic.code in FUZZ_CODES


# ---- compilers ----------------------------------------------------------------------------------------------------


SOURCE = r"""
#include <stddef.h>
struct far; typedef struct far far_t;
struct plain { char c; short s; int i; long l; void *p; };
struct bits { unsigned a : 3; int b : 5; long c : 40; char d; };
struct __attribute__((packed)) tight { char c; int i; long l; };
struct deep { union { int i; float f; }; struct { short a[3]; struct plain *next; } in; };
typedef union { long l; int i; } word_t;
typedef struct { int x, y; } point;
typedef enum { LOW = -1, HIGH } level;
enum { ONE = 1 };
enum wide { BIG = 0x1ffffffffULL };
typedef int (*callback)(const char *, ...);
typedef int table[4];

long scalars(char c, signed char sc, unsigned char uc, short s, unsigned short us, int i, unsigned u, long l,
             unsigned long ul, long long ll, unsigned long long ull, _Bool b) { return 0; }
size_t qualified(const char *restrict a, const volatile int *const b, char *const *volatile c, const long d) { return 0; }
void records(struct plain a, struct bits b, struct tight c, struct deep d, word_t e, point f) {}
far_t *pointers(struct far *a, far_t **b, point *c, union { int a; } *d, void *e, struct plain (*f)[2]) { return 0; }
level enums(level a, enum wide b, level *c) { return HIGH; }
struct plain callbacks(callback a, void (*b)(void), int (*(*c)(int))(point), void d(int)) { return (struct plain){0}; }
int arrays(table a, int b[static 5], int c[3][4], char (*d)[4], char *e[]) { return 0; }
int dots(const char *fmt, ...) { return 0; }
int k_and_r(a, b) int a; char *b; { return 0; }
void nothing(void) {}
__int128 wide(unsigned __int128 a, __int128 b) { return b; }
double floats(float a, double b, long double c, _Float16 d, _Complex float e) { return 0; }
"""

EXPECTED = """
long scalars(char c, signed char sc, unsigned char uc, short s, unsigned short us, int i, unsigned int u, long l, \
unsigned long ul, long long ll, unsigned long long ull, _Bool b)
size_t qualified(const char *restrict a, const volatile int *const b, char *const *volatile c, const long d)
void records(struct plain a, struct bits b, struct tight c, struct deep d, word_t e, point f)
far_t *pointers(struct far *a, far_t **b, point *c, union (anonymous) *d, void *e, struct plain (*f)[2])
level enums(level a, enum wide b, level *c)
struct plain callbacks(callback a, void (*b)(void), int (*(*c)(int))(point), void (*d)(int))
int arrays(int *a, int *b, int (*c)[4], char (*d)[4], char **e)
int dots(const char *fmt, ...)
int k_and_r(int a, char *b)
void nothing(void)
__int128 wide(unsigned __int128 a, __int128 b)
double floats(float a, double b, long double c, _Float16 d, _Complex float e)
"""


def compiled(tmp_path: Path, source: str, *compiler: str) -> Btf:
    """The BTF that a compiler and pahole make of a C text."""
    for tool in (compiler[0], "pahole"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    (tmp_path / "t.c").write_text(source)
    subprocess.run([*compiler, "-g", "-c", "-w", "t.c", "-o", "t.o"], cwd=tmp_path, check=True)
    subprocess.run(["pahole", "-J", "t.o"], cwd=tmp_path, check=True, capture_output=True)
    return open_btf(tmp_path / "t.o")


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_prototypes_of_compilers(tmp_path: Path, compiler: str) -> None:
    source, expected = SOURCE, EXPECTED
    if compiler == "clang":  # clang 14 has no _Float16 on every x86-64, and names no element of a complex type
        source = source.replace(", _Float16 d, _Complex float e", "")
        expected = expected.replace(", _Float16 d, _Complex float e", "")
    btf = compiled(tmp_path, source, compiler)
    lines = expected.replace("\\\n", "").strip().splitlines()
    found = [spell_prototype(btf.prototype(line.split("(")[0].split()[-1].lstrip("*"))) for line in lines]
    assert found == lines


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_layouts_of_compilers(tmp_path: Path, compiler: str) -> None:
    source = SOURCE.replace(", _Float16 d, _Complex float e", "")
    btf = compiled(tmp_path, source, compiler)
    records = [bare(a.type) for a in btf.prototype("records").parameters]
    assert [
        (r.size, r.align, [(m.name, m.bit_offset, m.bit_width) for m in r.members or ()])
        for r in records
        if isinstance(r, Record)
    ] == [
        (24, 8, [("c", 0, None), ("s", 16, None), ("i", 32, None), ("l", 64, None), ("p", 128, None)]),
        (8, 8, [("a", 0, 3), ("b", 3, 5), ("c", 8, 40), ("d", 48, None)]),
        (13, 1, [("c", 0, None), ("i", 8, None), ("l", 40, None)]),
        (24, 8, [("", 0, None), ("in", 64, None)]),
        (8, 8, [("l", 0, None), ("i", 0, None)]),
        (8, 4, [("x", 0, None), ("y", 32, None)]),
    ]
    assert [bare(a.type) for a in btf.prototype("enums").parameters][:2] == [
        Enum(None, 4, True, (("LOW", -1), ("HIGH", 0))),
        Enum("wide", 8, False, (("BIG", 0x1FFFFFFFF),)),
    ]


def test_btf_of_clang_itself(tmp_path: Path) -> None:
    if shutil.which("clang") is None:
        pytest.skip("clang is not installed")
    source = """
        #define __user __attribute__((btf_type_tag("user")))
        struct far; struct s { char c; long l; int b : 4; };
        int f(const struct s *p, struct far *q, unsigned short n, int (*cb)(struct s), char c) { return p->b; }
        long g(const char __user *text, struct s __user *p, int __user *const *r) { return p->l; }
    """
    (tmp_path / "t.c").write_text(source)
    subprocess.run(["clang", "-target", "bpf", "-O2", "-g", "-c", "t.c", "-o", "t.o"], cwd=tmp_path, check=True)
    btf = open_btf(tmp_path / "t.o")
    assert [spell_prototype(btf.prototype(n)) for n in ("f", "g")] == [
        "int f(const struct s *p, struct far *q, unsigned short n, int (*cb)(struct s), char c)",
        "long g(const __user char *text, __user struct s *p, __user int *const *r)",
    ]
    assert btf.complete("struct", "s") == record(
        "struct", "s", [Member("c", CHAR, 0), Member("l", LONG, 64), Member("b", INT, 128, 4)], 24, 8
    )


# ---- whole kernels, against bpftool -------------------------------------------------------------------------------


NAMES = {
    "long unsigned int": "unsigned long",
    "short int": "short",
    "short unsigned int": "unsigned short",
    "long long int": "long long",
    "long long unsigned int": "unsigned long long",
    "long int": "long",
    "__int128 unsigned": "unsigned __int128",
    "ssizetype": "long",
}


class Dump:
    """bpftool's decoding of a BTF file, as plain tuples."""

    def __init__(self, path: Path) -> None:
        text = subprocess.run(
            ["bpftool", "-j", "btf", "dump", "file", str(path)], check=True, capture_output=True
        ).stdout
        self.types: dict[int, dict[str, Any]] = {t["id"]: t for t in json.loads(text)["types"]}
        self.seen: dict[tuple[int, bool], Any] = {}

    def type(self, type_id: int, behind: bool = False) -> Any:
        key = (type_id, behind)
        if key not in self.seen:
            self.seen[key] = self._type(type_id, behind)
        return self.seen[key]

    def _type(self, type_id: int, behind: bool) -> Any:
        if type_id == 0:
            return "void"
        t = self.types[type_id]
        name = "" if t["name"] == "(anon)" else t["name"]
        match t["kind"]:
            case "INT":
                assert t["bits_offset"] == 0 and t["nr_bits"] == 8 * t["size"]
                return ("int", NAMES.get(name, name), t["size"])
            case "FLOAT":
                return ("float", name, t["size"])
            case "PTR":
                return ("ptr", self.type(t["type_id"], True))
            case "ARRAY":
                return ("array", self.type(t["type_id"], behind), t["nr_elems"])
            case "STRUCT" | "UNION" as kind:
                if behind:
                    return (kind.lower(), name)
                return (kind.lower(), name, t["size"], tuple(self.member(m) for m in t["members"]))
            case "ENUM" | "ENUM64" as kind:
                # bpftool prints the values of an unsigned 4-byte enum as signed.
                signed, top = t["encoding"] == "SIGNED", 2**32 if kind == "ENUM" else 2**64
                values = tuple((v["name"], v["val"] if signed else v["val"] % top) for v in t["values"])
                return ("enum", name, t["size"], signed, values)
            case "FWD":
                return (t["fwd_kind"], name)
            case "TYPEDEF":
                return ("typedef", name, self.type(t["type_id"], behind))
            case "CONST" | "VOLATILE" | "RESTRICT" as kind:
                words, inner = {kind.lower()}, t["type_id"]
                while inner and self.types[inner]["kind"] in ("CONST", "VOLATILE", "RESTRICT"):
                    words.add(self.types[inner]["kind"].lower())
                    inner = self.types[inner]["type_id"]
                return (frozenset(words), self.type(inner, behind))
            case "TYPE_TAG":
                assert name == "address_space(1)"
                return self.type(t["type_id"], behind)
            case "FUNC_PROTO":
                return ("function", *self.signature(t, True))
        raise AssertionError(t)

    def member(self, m: dict[str, Any]) -> Any:
        name = "" if m["name"] == "(anon)" else m["name"]
        return (name, self.type(m["type_id"]), m["bits_offset"], m.get("bitfield_size"))

    def signature(self, proto: dict[str, Any], behind: bool) -> Any:
        parameters = proto["params"]
        variadic = bool(parameters) and parameters[-1]["type_id"] == 0
        kept = parameters[:-1] if variadic else parameters
        types = tuple(self.type(p["type_id"], behind) for p in kept)
        return self.type(proto["ret_type_id"], behind), types, variadic

    def prototype(self, func: dict[str, Any]) -> Any:
        proto = self.types[func["type_id"]]
        result, types, variadic = self.signature(proto, False)
        names = [None if p["name"] == "(anon)" else p["name"] for p in proto["params"]][: len(types)]
        return (func["name"], result, tuple(zip(names, types, strict=True)), variadic)


def plain(ctype: CType, memo: dict[int, tuple[CType, Any]]) -> Any:
    """Our type as such tuples."""
    if id(ctype) not in memo:
        memo[id(ctype)] = (ctype, _plain(ctype, memo))
    return memo[id(ctype)][1]


def _plain(ctype: CType, memo: dict[int, tuple[CType, Any]]) -> Any:
    match ctype:
        case Int():
            return ("int", ctype.name, ctype.size)
        case Pointer():
            return ("ptr", plain(ctype.target, memo))
        case Array():
            return ("array", plain(ctype.element, memo), ctype.count or 0)
        case Record(members=None):
            return (ctype.kind, ctype.tag or "")
        case Record():
            members = tuple((m.name, plain(m.type, memo), m.bit_offset, m.bit_width) for m in ctype.members or ())
            return (ctype.kind, ctype.tag or "", ctype.size, members)
        case Enum():
            return ("enum", ctype.tag or "", ctype.size, ctype.signed, ctype.members)
        case Typedef():
            return ("typedef", ctype.name, plain(ctype.target, memo))
        case Qualified():
            return (frozenset(ctype.qualifiers), plain(ctype.target, memo))
        case Function():
            parameters = tuple(plain(p, memo) for p in ctype.parameters)
            return ("function", plain(ctype.result, memo), parameters, ctype.variadic)
        case Unknown():
            return "void"
        case _ if ctype == VOID:
            return "void"
        case _:
            return (type(ctype).__name__.lower(), ctype.name, ctype.size)  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def kernel() -> tuple[Btf, Dump]:
    if shutil.which("bpftool") is None:
        pytest.skip("bpftool is not installed")
    if not RUNNING.exists():
        pytest.skip(f"this machine has no {RUNNING}")
    return open_btf(RUNNING), Dump(RUNNING)


def test_every_function_of_the_kernel_is_as_bpftool_has_it(kernel: tuple[Btf, Dump]) -> None:
    btf, dump = kernel
    memo: dict[int, tuple[CType, Any]] = {}
    funcs = [t for t in dump.types.values() if t["kind"] == "FUNC"]
    ours = list(btf.prototypes())
    assert len(ours) == len(funcs) > 1000
    for p, func in zip(ours, funcs, strict=True):
        parameters = tuple((a.name, plain(a.type, memo)) for a in p.parameters)
        assert (p.name, plain(p.result, memo), parameters, p.variadic) == dump.prototype(func)
        assert (p.doubt != "") == (p.parameters == () and p.result == VOID and not p.variadic)
    names = [f["name"] for f in funcs]
    assert btf.functions() == list(dict.fromkeys(names))
    for name in random.Random(7).sample(names, 200):
        alike = [p for p in ours if p.name == name]
        assert list(btf.find(name)) == alike


def test_every_record_and_enum_of_the_kernel_is_as_bpftool_has_it(kernel: tuple[Btf, Dump]) -> None:
    btf, dump = kernel
    memo: dict[int, tuple[CType, Any]] = {}
    counted = 0
    for type_id, t in dump.types.items():
        if t["kind"] in ("STRUCT", "UNION", "ENUM", "ENUM64", "TYPEDEF", "FUNC_PROTO"):
            assert plain(btf.types.whole(type_id), memo) == dump.type(type_id)
            counted += 1
    assert counted > 10_000


def test_a_kernels_types_by_name(kernel: tuple[Btf, Dump]) -> None:
    btf, dump = kernel
    path = btf.complete("struct", "path")
    assert path is not None and [m.name for m in path.members or ()] == ["mnt", "dentry"]
    values = {v["name"]: v["val"] for t in dump.types.values() if t["kind"] in ("ENUM", "ENUM64") for v in t["values"]}
    assert btf.constant("PIDTYPE_TGID") == values["PIDTYPE_TGID"]


# ---- files --------------------------------------------------------------------------------------------------------


def test_files_that_are_not_btf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    (tmp_path / "text").write_text("hello")
    (tmp_path / "vmlinuz").write_bytes(b"MZ" + bytes(0x200) + b"HdrS" + bytes(100))
    os.mkfifo(tmp_path / "fifo")
    cases = {
        tmp_path / "text": "SP232",
        tmp_path / "vmlinuz": "SP232",
        tmp_path / "absent": "SP231",
        tmp_path: "SP231",
        tmp_path / "fifo": "SP231",
        Path("/dev/zero"): "SP231",
        Path("a\0b"): "SP231",
    }
    for path, code in cases.items():
        assert refusal(lambda path=path: open_btf(path))[0] == code, path
    monkeypatch.setattr("specc.btf.open.RUNNING", tmp_path / "absent")
    assert refusal(lambda: open_btf(tmp_path / "absent"))[0] == "SP230"


def test_a_raw_file_and_its_name(tmp_path: Path) -> None:
    (tmp_path / "k.btf").write_bytes(_sample())
    assert open_btf(tmp_path / "k.btf").prototype("one").source == "BTF of k.btf"

"""Places of arguments as a table. Every row was measured with gcc 12, clang 19 and clang 14: a callee was entered with
known bytes in each register and stack slot. `tests/test_abi_random.py` measures again, with random prototypes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from specc.abi import place_arguments, place_text
from specc.headers import parse_prototypes
from specc.layout import lay_out
from specc.place import Argument, Piece, Placement
from specc.prototype import (
    CHAR,
    DOUBLE,
    FLOAT,
    INT,
    LONG,
    UCHAR,
    VOID,
    Array,
    CType,
    Member,
    Parameter,
    Pointer,
    Prototype,
    Record,
    Typedef,
    Unknown,
)

TYPES = """
struct two { long a, b; };
struct three { long a, b, c; };
struct mixed { double d; long n; };
struct mirror { long n; double d; };
struct dd { double a, b; };
struct fff { float a, b, c; };
struct al16 { int n; } __attribute__((aligned(16)));
struct al32 { int n; } __attribute__((aligned(32)));
struct al64 { int n; } __attribute__((aligned(64)));
struct member_al16 { long a; int b __attribute__((aligned(16))); };
struct p12 { long a; int b; } __attribute__((packed));
struct p5 { char c; int n; } __attribute__((packed));
struct nested5 { struct p5 inner; char c; };
struct c3 { char c[3]; };
struct c9 { char c[9]; };
struct c13 { char c[13]; };
struct page_list { char bytes[4096]; };
struct empty { };
struct zero { long none[0]; };
struct empty16 { } __attribute__((aligned(16)));
struct flexible { long n; long rest[]; };
struct gap { long n; long : 40; };
struct beside { float f; int : 32; };
struct straddle { int a : 20, b : 20, c : 30; } __attribute__((packed));
struct i128 { __int128 n; };
struct ld { long double n; };
typedef struct { unsigned val; } kuid_t;
typedef struct { unsigned val; } kgid_t;
typedef long a16 __attribute__((aligned(16)));
typedef long a4 __attribute__((aligned(4)));
struct low { int n; a4 x; };
union du { double d; struct two t; };
typedef union { void *p; int *q; } any_pointer __attribute__((transparent_union));
typedef int v4 __attribute__((vector_size(4)));
typedef int v8 __attribute__((vector_size(8)));
typedef double v8d __attribute__((vector_size(8)));
typedef float v4f __attribute__((vector_size(4)));
typedef int v16 __attribute__((vector_size(16)));
typedef int v32 __attribute__((vector_size(32)));
enum small { S0 };
enum large { L0, L1 = 1l << 40 };
"""

L6 = "long a, long b, long c, long d, long e, long g"  # all six general registers
L5 = "long a, long b, long c, long d, long e"
R6 = "rdi rsi rdx rcx r8 r9"
R5 = "rdi rsi rdx rcx r8"
D8 = "double a0, double a1, double a2, double a3, double a4, double a5, double a6, double a7"
X8 = "!xmm0 !xmm1 !xmm2 !xmm3 !xmm4 !xmm5 !xmm6 !xmm7"

# A place in the order of the arguments; pieces are joined by "+"; "!" is known and not readable, "?" is in doubt.
ROWS = [
    ("scalars", "int f(char a, _Bool b, short c, int d, long e, void *p, enum small s, enum large l)", f"{R6} sp+8 sp+16"),
    ("arrays and functions are pointers", "int f(int a[4], int g(int), char b[])", "rdi rsi rdx"),
    ("no arguments", "int f(void)", ""),
    ("all or nothing, then on", f"int f({L5}, struct two f, char g)", f"{R5} sp+8 r9"),
    ("twice", f"int f({L5}, struct two x, long g, struct two y, long h)", f"{R5} sp+8 r9 sp+24 sp+40"),
    ("both pools must do", f"int f({L6}, struct mixed m, double d)", f"{R6} sp+8 !xmm0"),
    ("the mirror image", f"int f({D8}, struct mirror m, long n)", f"{X8} sp+8 rdi"),
    ("spilled floats are read", f"int f({D8}, double d, float g, long n)", f"{X8} sp+8 sp+16 rdi"),
    ("24 bytes use no register", "int f(struct three t, int n)", "sp+8 rdi"),
    ("4096 bytes by value", "int f(int a, struct page_list l, int b)", "rdi sp+8 rsi"),
    ("long double uses none", "int f(long double a, int b)", "sp+8 rdi"),
    ("_Complex long double", "int f(int a, _Complex long double b, int c)", "rdi sp+8 rsi"),
    ("eightbytes apart", "int f(struct mixed m, struct mirror n)", "!xmm0+rdi !rsi+xmm1"),
    ("floats share", "int f(struct fff a, float b)", "!xmm0+xmm1 !xmm2"),
    ("INTEGER wins", "int f(union du u, int n)", "rdi+rsi rdx"),
    ("small wrappers stay apart", "int f(kuid_t u, kgid_t g, int n)", "rdi rsi rdx"),
    ("3 and 9 bytes", "int f(struct c3 a, struct c9 b, int n)", "rdi rsi+rdx rcx"),
    ("packed is not memory", "int f(struct p12 a, int n)", "rdi+rsi rdx"),
    ("misaligned is", "int f(struct p5 a, int n)", "sp+8 rdi"),
    ("at every depth", "int f(struct nested5 a, int n)", "sp+8 rdi"),
    ("bit-fields are exempt", "int f(struct straddle a, int n)", "rdi+rsi rdx"),
    ("slots of 8", f"int f({L6}, char a, struct c13 b, char d)", f"{R6} sp+8 sp+16 sp+32"),
    ("aligned at an odd slot", f"int f({L6}, int x, struct al16 y, int z)", f"{R6} sp+8 sp+24 sp+40"),
    ("aligned at an even slot", f"int f({L6}, int x, int w, struct al16 y, int z)", f"{R6} sp+8 sp+16 sp+24 sp+40"),
    ("aligned to 32", f"int f({L6}, int x, struct al32 y)", f"{R6} sp+8 sp+40"),
    ("aligned to 64", f"int f({L6}, int x, int w, int v, struct al64 y)", f"{R6} sp+8 sp+16 sp+24 sp+72"),
    ("by a member", f"int f({L6}, int x, struct member_al16 y)", f"{R6} sp+8 sp+24"),
    ("long double at an odd slot", f"int f({L6}, int x, long double y)", f"{R6} sp+8 sp+24"),
    ("struct with __int128 at an odd slot", f"int f({L6}, int x, struct i128 y)", f"{R6} sp+8 sp+24"),
    ("a typedef's alignment is ignored", f"int f({L6}, int x, a16 y)", f"{R6} sp+8 sp+16"),
    ("alignment is nothing to registers", "int f(int x, struct al16 y, int z)", "rdi rsi rdx"),
    ("any two registers for __int128", "int f(int x, __int128 y, int z)", "rdi rsi+rdx rcx"),
    ("struct { __int128 } with one left", f"int f({L5}, struct i128 x, int z)", f"{R5} sp+8 r9"),
    ("empty structs", f"int f(struct empty x, {L6}, int y, struct empty16 z, struct zero w, int v)", f"- {R6} sp+8 - - sp+16"),
    ("_Complex int", "int f(_Complex int a, _Complex long b, int n)", "rdi rsi+rdx rcx"),
    ("_Complex float", "int f(_Complex float a, _Complex double b, int n)", "!xmm0 !xmm1+xmm2 rdi"),
    ("vectors", "int f(v4 a, v8 b, v8d c, v16 d, int n)", "rdi !xmm0 sp+8 !xmm1 rsi"),
    ("__float128", f"int f({D8}, {L6}, int x, __float128 y)", f"{X8} {R6} sp+8 sp+24"),
    ("a transparent union is its first member", "int f(any_pointer u, int n)", "rdi rsi"),
    ("variadic", "int f(const char *p, double d, ...)", "rdi !xmm0"),
    ("hidden: 24 bytes", f"struct three f({L6})", "rsi rdx rcx r8 r9 sp+8"),
    ("hidden: 5 packed bytes", "struct p5 f(int a)", "rsi"),
    ("hidden: no __int128", "__int128 f(int a)", "rdi"),
    ("hidden: no long double", "long double f(int a)", "rdi"),
    ("hidden: no struct of one", "struct ld f(int a)", "rdi"),
    ("hidden: no _Complex long double", "_Complex long double f(int a)", "rdi"),
    ("hidden: no two kinds", "struct mixed f(int a)", "rdi"),
    ("hidden: no empty struct", "struct empty f(int a)", "rdi"),
    # gcc and clang
    ("bare __int128 with one left", f"int f({L5}, __int128 x, int z)", f"{R5} ? ?"),
    ("bare __int128 at an odd slot", f"int f({L6}, int x, __int128 y, int z)", f"{R6} sp+8 ? ?"),
    ("bare __int128 at an even slot", f"int f({L6}, __int128 y, int z)", f"{R6} sp+8 sp+24"),
    ("flexible array", "int f(struct flexible x, int n)", "? ?"),
    ("flexible array without registers", f"int f({L6}, struct flexible x, int n)", f"{R6} sp+8 sp+16"),
    ("flexible array returned", "struct flexible f(int n)", "?"),
    ("an eightbyte of unnamed bits", "int f(struct gap x, int n)", "rdi ?"),
    ("unnamed bits beside a float", "int f(struct beside x, int n)", "? ?"),
    ("a vector of one float", "int f(v4f x, int n)", "? ?"),
    ("32-byte vector", f"int f(v32 x, {L6}, int n)", f"? {R6} ?"),
    ("32-byte vector returned", "v32 f(int n)", "?"),
    ("under-aligned member: clang 14 differs", "int f(struct low x, int n)", "? ?"),
    ("ten longs", f"int f({L6}, long x, long y, long z, long w)", f"{R6} sp+8 sp+16 sp+24 sp+32"),
]  # fmt: skip


def prototype(text: str) -> Prototype:
    return parse_prototypes(TYPES + text + ";\n", ["f"])["f"]


def brief(a: Argument) -> str:
    if a.alternatives:
        return "?"
    pieces = "+".join(place_text((p,)) if i == 0 or p.where != "stack" else "" for i, p in enumerate(a.pieces)) or "-"
    return pieces if a.readable else f"!{pieces}"


def in_brief(placement: Placement) -> str:
    return " ".join(brief(a) for a in placement.arguments)


@pytest.mark.parametrize(("name", "text", "expected"), ROWS, ids=[r[0] for r in ROWS])
def test_places(name: str, text: str, expected: str) -> None:
    placement = place_arguments(prototype(text))
    assert in_brief(placement) == expected
    for a in placement.arguments:
        assert a.readable or a.reason, a
        if a.readable and a.cls not in ("MEMORY", "NO_CLASS"):
            assert a.reason == ""


ALTERNATIVES = [
    (f"int f({L5}, __int128 x, int z)", 5, {"gcc and clang": "sp+8", "clang before 18": "r9 and sp+8"}),
    (f"int f({L5}, __int128 x, int z)", 6, {"gcc": "r9", "clang": "sp+24", "clang before 18": "sp+16"}),
    ("int f(struct flexible x, int n)", 0, {"gcc": "rdi", "clang": "sp+8"}),
    ("struct flexible f(int n)", 0, {"gcc": "rdi", "clang": "rsi"}),
    ("int f(struct gap x, int n)", 1, {"gcc": "rdx", "clang": "rsi"}),
    ("int f(struct beside x, int n)", 0, {"gcc": "rdi", "clang": "xmm0"}),
    ("int f(v32 x)", 0, {"any compiler": "sp+8", "any compiler, if it is compiled with -mavx": "xmm0"}),
    (
        "int f(v32 x, ...)",
        0,
        {"any compiler": "sp+8", "gcc, if it is compiled with -mavx": "xmm0"},
    ),
]


@pytest.mark.parametrize(("text", "index", "expected"), ALTERNATIVES)
def test_alternatives(text: str, index: int, expected: dict[str, str]) -> None:
    a = place_arguments(prototype(text)).arguments[index]
    assert not a.readable
    assert {label: place_text(pieces) for label, pieces in a.alternatives} == expected
    for place in expected.values():
        assert place in a.reason


REASONS = [
    ("struct two s", "two INTEGER eightbytes need 2 registers, 1 is left"),
    ("struct three s", "larger than 16 bytes"),
    ("struct p5 s", "member `n` is misaligned"),
    ("struct nested5 s", "member `n` is misaligned"),
    ("long double s", "long double is passed in memory"),
    ("struct ld s", "it holds a member that is passed in memory"),
    ("int x, int s", "the 6 general registers are taken"),
    ("v8d s", "a vector of one double is passed in memory"),
]


@pytest.mark.parametrize(("last", "reason"), REASONS)
def test_reasons(last: str, reason: str) -> None:
    a = place_arguments(prototype(f"int f({L5}, {last})")).arguments[-1]
    assert (a.readable, a.cls, a.reason) == (True, "MEMORY", reason)


RESULTS = [
    ("int f(void)", "INTEGER", True, False, "rax"),
    ("void f(void)", "NO_CLASS", False, False, "no place"),
    ("struct two f(void)", "INTEGER", True, False, "rax and rdx"),
    ("struct c3 f(void)", "INTEGER", True, False, "rax"),
    ("__int128 f(void)", "INTEGER", True, False, "rax and rdx"),
    ("struct three f(void)", "MEMORY", True, True, "no place"),
    ("double f(void)", "SSE", False, False, "xmm0"),
    ("struct dd f(void)", "SSE", False, False, "xmm0 and xmm1"),
    ("struct mixed f(void)", "SSE+INTEGER", False, False, "xmm0 and rax"),
    ("struct mirror f(void)", "INTEGER+SSE", False, False, "rax and xmm0"),
    ("long double f(void)", "X87", False, False, "st0"),
    ("_Complex long double f(void)", "COMPLEX_X87", False, False, "st0 and st1"),
    ("_Complex float f(void)", "SSE", False, False, "xmm0"),
    ("v16 f(void)", "SSE", False, False, "xmm0"),
    ("struct empty f(void)", "NO_CLASS", True, False, "no place"),
]


@pytest.mark.parametrize(("text", "cls", "readable", "memory", "place"), RESULTS)
def test_results(text: str, cls: str, readable: bool, memory: bool, place: str) -> None:
    placement = place_arguments(prototype(text))
    r = placement.result
    assert (r.cls, r.readable, r.memory, place_text(r.pieces)) == (cls, readable, memory, place)
    assert placement.hidden_return_pointer == ("rdi" if memory else None)


def test_a_result_in_doubt() -> None:
    placement = place_arguments(prototype("struct flexible f(int n)"))
    assert placement.hidden_return_pointer is None
    assert not placement.result.readable
    assert placement.result.reason == ("its place is in doubt: rax (gcc); memory, its address in rdi at entry (clang)")


def test_the_example_of_show() -> None:
    f, g = place_arguments(prototype(f"void f({L5}, struct two f, char g)")).arguments[5:]
    assert (f.size, f.align, f.cls, f.readable) == (16, 8, "MEMORY", True)
    assert f.reason == "two INTEGER eightbytes need 2 registers, 1 is left"
    assert f.pieces == (Piece(arg_offset=0, size=16, where="stack", stack_offset=8),)
    assert (g.size, g.align, g.cls, g.readable, g.reason) == (1, 1, "INTEGER", True, "")
    assert g.pieces == (Piece(arg_offset=0, size=1, where="r9", reg_offset=0),)


# ---- other conventions, types that are not known


@pytest.mark.parametrize("convention", ["ms_abi", "regparm"])
def test_another_convention_is_refused(convention: str) -> None:
    placement = place_arguments(replace(prototype("int f(int a, double b)"), convention=convention))
    assert [a.readable for a in placement.arguments] == [False, False]
    assert all(convention in a.reason for a in placement.arguments)
    assert not placement.result.readable


def function(*types: CType, result: CType = VOID) -> Prototype:
    return Prototype("f", result, tuple(Parameter(f"a{i}", t) for i, t in enumerate(types)))


LOST = [Unknown("_Decimal64", "specc does not know it"), Record("struct", "later", None)]


@pytest.mark.parametrize("lost", LOST, ids=["unknown", "incomplete"])
def test_all_after_an_unknown_type_is_refused(lost: CType) -> None:
    before, it, after = place_arguments(function(INT, lost, INT)).arguments
    assert before.readable and before.pieces[0].where == "rdi"
    assert not it.readable and not after.readable
    assert "later" in it.reason or "specc does not know it" in it.reason
    assert after.reason.startswith("an argument before it")


@pytest.mark.parametrize("lost", LOST, ids=["unknown", "incomplete"])
def test_an_unknown_result_refuses_all(lost: CType) -> None:
    placement = place_arguments(function(INT, result=lost))
    assert not placement.arguments[0].readable and "rdi" in placement.arguments[0].reason
    assert not placement.result.readable


def test_pointers_to_them_are_pointers() -> None:
    assert in_brief(place_arguments(function(*(Pointer(t) for t in LOST), INT))) == "rdi rsi rdx"


def test_a_record_with_two_layouts_is_refused() -> None:
    """gcc makes the whole bit-field a plain member and aligns the record by it, clang by the typedef alone."""
    low = Typedef("low", INT, 2)
    r = lay_out("struct", "s", [Member("a", low, 0, 32)])
    assert r.clang is not None and (r.align, r.clang.align) == (4, 2)
    a, b = place_arguments(function(r, INT)).arguments
    assert not a.readable and "aligns" in a.reason
    assert b.readable and b.pieces[0].where == "rsi"


# ---- what BTF does not tell


def vague(kind: str, tag: str, *members: tuple[str, CType], size: int | None = None) -> Record:
    r = replace(lay_out(kind, tag, [Member(n, t, 0) for n, t in members]), exact=False)
    return r if size is None else replace(r, size=size)


PAIR = vague("struct", "pair", ("a", LONG), ("b", LONG))
TWELVE = vague("struct", "twelve", ("a", INT), ("b", INT), ("c", INT))
HOLE = vague("struct", "hole", ("a", LONG), size=16)
FLOATS = vague("struct", "floats", ("a", FLOAT), ("b", DOUBLE))
NOTHING = vague("union", "nothing", size=8)
SEEN = vague("struct", "seen", ("n", LONG), ("d", DOUBLE))
UNION = vague("union", "either", ("s", SEEN), ("p", PAIR))
POINTERS = vague("union", "pointers", ("p", Pointer(VOID)), ("q", Pointer(INT)))

BTF_ROWS = [
    ("in registers", (PAIR, INT), "rdi+rsi rdx"),
    ("at an even slot", (LONG,) * 5 + (PAIR, INT), f"{R5} sp+8 r9"),
    ("at an odd slot it may be over-aligned", (LONG,) * 7 + (PAIR, INT), f"{R6} sp+8 ? ?"),
    ("later ones that do not move are read", (LONG,) * 7 + (PAIR, DOUBLE), f"{R6} sp+8 ? !xmm0"),
    ("12 bytes cannot be over-aligned to 16", (LONG,) * 7 + (TWELVE, INT), f"{R6} sp+8 sp+16 sp+32"),
    ("a whole eightbyte of nothing", (HOLE, INT), "rdi ?"),
    ("a hole beside a float", (FLOATS, INT), "? ?"),
    ("members that are not there", (INT, NOTHING, INT), "rdi !- !-"),
    ("a union that may be transparent", (UNION, INT), "? ?"),
    ("a union where that is no matter", (POINTERS, INT), "rdi rsi"),
]


@pytest.mark.parametrize(("name", "types", "expected"), BTF_ROWS, ids=[r[0] for r in BTF_ROWS])
def test_what_btf_does_not_tell(name: str, types: tuple[CType, ...], expected: str) -> None:
    assert in_brief(place_arguments(function(*types))) == expected


def test_the_doubt_of_btf_is_told() -> None:
    a = place_arguments(function(*(LONG,) * 7, PAIR)).arguments[-1]
    assert [(label, place_text(p)) for label, p in a.alternatives] == [
        ("any compiler", "sp+16"),
        ("any compiler, if `struct pair` is aligned to 16", "sp+24"),
    ]


def test_a_hidden_result_of_btf() -> None:
    assert in_brief(place_arguments(function(INT, result=PAIR))) == "rdi"
    assert in_brief(place_arguments(function(INT, result=vague("struct", "big", ("a", Array(LONG, 3)))))) == "rsi"
    assert not place_arguments(function(INT, result=NOTHING)).arguments[0].readable


def test_many_vague_records_end() -> None:
    """Each of these may have ten alignments: they are refused, not tried out one by one."""
    records = [vague("struct", f"s{i}", ("a", Array(UCHAR, 4096))) for i in range(12)]
    placement = place_arguments(function(*(LONG,) * 7, *records, INT))
    assert [a.readable for a in placement.arguments] == [True] * 7 + [False] * 13
    assert "alignment is not known" in placement.arguments[7].reason


# ---- the kernel is compiled without SSE

KERNEL_ROWS = [
    ((INT, DOUBLE, INT), "rdi !- !-"),
    ((LONG,) * 6 + (FLOAT, INT), f"{R6} !- !-"),
    ((PAIR, INT), "rdi+rsi rdx"),
    ((lay_out("struct", "m", [Member("n", LONG, 0), Member("d", DOUBLE, 0)]), INT), "!- !-"),
    ((lay_out("struct", "w", [Member("n", INT, 0), Member("f", FLOAT, 0)]), INT), "rdi rsi"),
    ((lay_out("struct", "b", [Member("f", Array(FLOAT, 5), 0)]), INT), "sp+8 rdi"),
]


@pytest.mark.parametrize(("types", "expected"), KERNEL_ROWS)
def test_kernel_floats(types: tuple[CType, ...], expected: str) -> None:
    placement = place_arguments(function(*types), kernel=True)
    assert in_brief(placement) == expected
    assert all(a.readable or "SSE" in a.reason for a in placement.arguments)


def test_a_float_result_in_the_kernel_moves_nothing() -> None:
    assert in_brief(place_arguments(function(INT, CHAR, result=DOUBLE), kernel=True)) == "rdi rsi"

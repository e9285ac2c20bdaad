"""Comparing two prototypes of one function; and the header route against the BTF route, which must agree."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from oracle import generate
from oracle.shapes import Case
from test_btf import SOURCE, compiled

from specc.abi import place_arguments
from specc.btf import open_btf
from specc.compare import argument_differences, canonical, differences
from specc.diagnostics import Location
from specc.headers import HeaderIndex, parse_declaration, preprocess
from specc.prototype import CHAR, Int, Parameter, Pointer, Prototype, Qualified, Record, Unknown, spell_prototype

TYPES = """
typedef unsigned long u64; typedef unsigned int u32; typedef unsigned char u8; typedef _Bool bool;
struct page; struct mm;
struct two { long a, b; };
struct two_other { long a; int b; int c; };
struct three { long a, b, c; };
struct fields { int x : 3; int y : 5; char t[4]; struct two *p; };
struct nested { int a; union { int i; float f; }; struct { short s; } in; };
enum color { RED, BLUE };
enum mood { GOOD, BAD };
union any { long l; void *p; };
"""


def p(text: str, source: str = "") -> Prototype:
    made = parse_declaration(text, HeaderIndex(TYPES), Location("t"))
    return Prototype(made.name, made.result, made.parameters, made.variadic, source=source)


SAME = [
    ("int f(int a)", "int f(int a)"),
    ("int f(int)", "int f(int a)"),
    ("int f(int, long b)", "int f(int a, long)"),
    ("void f(u64 a)", "void f(unsigned long a)"),
    ("void f(u64 a)", "void f(unsigned long long a)"),
    ("void f(int a[4])", "void f(int *a)"),
    ("void f(int a[3][4])", "void f(int (*a)[4])"),
    ("void f(int g(int))", "void f(int (*g)(int))"),
    ("void f(int (*g)(int))", "void f(void (*g)(long, long))"),
    ("void f(const int a, char *restrict b)", "void f(int a, char *b)"),
    ("void f(const char *a)", "void f(char *a)"),
    ("void f(unsigned char *a)", "void f(char *a)"),
    ("void f(void *a)", "void f(struct page *a)"),
    ("void f(struct page *a)", "void f(const struct page *a)"),
    ("void f(enum color c)", "void f(unsigned int c)"),
    ("void f(struct nested n)", "void f(struct nested n)"),
]


@pytest.mark.parametrize(("ours", "theirs"), SAME)
def test_what_only_one_source_knows_is_no_difference(ours: str, theirs: str) -> None:
    a, b = p(ours), p(theirs)
    names = [x.name for x in a.parameters if x.name]
    for one, other in ((a, b), (b, a)):
        assert differences(one, other) == ()
        assert argument_differences(one, other, [*names, "return"]) == ()


DIFFERENT = [
    ("void f(int a)", "void f(long a)", "argument 1 (`a`) is `int` in H and `long` in B: 4 bytes against 8"),
    (
        "void f(int a)",
        "void f(unsigned a)",
        "argument 1 (`a`) is `int` in H and `unsigned int` in B: signed against unsigned",
    ),
    (
        "void f(bool a)",
        "void f(unsigned char a)",
        "argument 1 (`a`) is `bool` in H and `unsigned char` in B: true or false against a number",
    ),
    (
        "void f(long a)",
        "void f(void *a)",
        "argument 1 (`a`) is `long` in H and `void *` in B: an integer against a pointer",
    ),
    (
        "void f(float a)",
        "void f(double a)",
        "argument 1 (`a`) is `float` in H and `double` in B: different floating types",
    ),
    (
        "void f(float a)",
        "void f(int a)",
        "argument 1 (`a`) is `float` in H and `int` in B: a floating type against an integer",
    ),
    (
        "void f(struct page *a)",
        "void f(struct mm *a)",
        (
            "argument 1 (`a`) is `struct page *` in H and `struct mm *` in B: they point to different things: "
            "`struct page` against `struct mm`"
        ),
    ),
    (
        "void f(struct page **a)",
        "void f(struct page *a)",
        (
            "argument 1 (`a`) is `struct page **` in H and `struct page *` in B: they point to different things: "
            "a pointer against a struct by value"
        ),
    ),
    (
        "void f(enum color a)",
        "void f(enum mood a)",
        "argument 1 (`a`) is `enum color` in H and `enum mood` in B: different enums",
    ),
    (
        "void f(struct two a)",
        "void f(struct two_other a)",
        "argument 1 (`a`) is `struct two` in H and `struct two_other` in B: `struct two` against `struct two_other`",
    ),
    ("void f(int a, int b)", "void f(int b, int a)", "`a` is argument 1 in H and argument 2 in B"),
    ("void f(int a)", "void f(int new, int a)", "`a` is argument 1 in H and argument 2 in B"),
    ("void f(int a, int old)", "void f(int a)", None),
    ("void f(int a)", "void f(int flags)", "argument 1 is `a` in H and `flags` in B"),
    ("void f(int)", "void f(int, int)", None),
    ("struct three f(int a)", "struct two f(int a)", None),
]


@pytest.mark.parametrize(("ours", "theirs", "sentence"), DIFFERENT)
def test_differences(ours: str, theirs: str, sentence: str | None) -> None:
    a, b = p(ours, "H"), p(theirs, "B")
    found = differences(a, b)
    assert found
    assert differences(b, a)
    if sentence is not None:
        assert sentence in found
        assert argument_differences(a, b, ["a"]) == (sentence,)


def test_a_removed_argument_is_named() -> None:
    old = p(
        "long gup(struct mm *mm, u64 start, u64 n, u32 flags, struct page **pages, void **vmas, int *locked)", "mm.h:9"
    )
    new = p("long gup(struct mm *mm, u64 start, u64 n, u32 flags, struct page **pages, int *locked)", "BTF of vmlinux")
    assert differences(old, new) == (
        "7 arguments in mm.h:9, 6 arguments in BTF of vmlinux",
        "argument 6 (`vmas`) is only in mm.h:9",
        "`locked` is argument 7 in mm.h:9 and argument 6 in BTF of vmlinux",
    )
    assert argument_differences(old, new, ["start", "n"]) == ()
    assert argument_differences(old, new, ["start", "locked"]) == (
        "`locked` is argument 7 in mm.h:9 and argument 6 in BTF of vmlinux",
    )
    assert argument_differences(old, new, ["vmas"]) == ("argument 6 (`vmas`) is only in mm.h:9",)
    assert argument_differences(new, old, ["pages"]) == ()
    assert argument_differences(new, old, ["locked"]) == (
        "`locked` is argument 6 in BTF of vmlinux and argument 7 in mm.h:9",
    )


MOVES = [
    # what comes before `x`, in each; whether x may be elsewhere
    ("int a", "long a", False),
    ("int a", "void *b", False),
    ("int a", "enum color a", False),
    ("int a[4]", "long a", False),
    ("int a", "double a", True),
    ("int a", "__int128 a", True),
    ("long a", "struct two a", True),
    ("struct two a", "struct three a", True),
    ("struct two a", "struct two_other a", True),
    ("double a", "long double a", True),
    ("float a", "double a", False),
]


@pytest.mark.parametrize(("ours", "theirs", "moves"), MOVES)
def test_an_earlier_argument_matters_if_it_moves_a_later_one(ours: str, theirs: str, moves: bool) -> None:
    a, b = p(f"void f({ours}, long x, char y)", "H"), p(f"void f({theirs}, long x, char y)", "B")
    for names in (["x"], ["y"], ["x", "y"]):
        found = argument_differences(a, b, names)
        assert bool(found) == moves
        assert all("this moves later arguments" in sentence for sentence in found)
    later = p(f"void f(long x, {ours})"), p(f"void f(long x, {theirs})")
    assert argument_differences(*later, ["x"]) == ()


RESULTS = [
    ("struct three", "int", True, True),
    ("struct three", "struct two", True, True),
    ("int", "long", False, True),
    ("void", "int", False, True),
    ("int", "int", False, False),
]


@pytest.mark.parametrize(("ours", "theirs", "arguments", "result"), RESULTS)
def test_a_result_matters_to_arguments_if_it_may_be_in_memory(
    ours: str, theirs: str, arguments: bool, result: bool
) -> None:
    a, b = p(f"{ours} f(int x)"), p(f"{theirs} f(int x)")
    assert bool(argument_differences(a, b, ["x"])) == arguments
    assert bool(argument_differences(a, b, ["return"])) == result


def test_records_by_value_are_compared_member_by_member() -> None:
    def f(source: str, text: str) -> Prototype:
        made = parse_declaration("void f(struct s a)", HeaderIndex(text), Location("t"))
        return Prototype(made.name, made.result, made.parameters, source=source)

    whole = "struct s { int a; char c; int b : 3; };"
    for text, why in {
        "struct s { int a; char c; int b : 3; char d; };": "member `d` is only in one of them",
        "struct s { int a; char c; };": "member `b` is only in one of them",
        "struct s { char c; int a; };": "8 bytes",
        "struct s { int a; short x; int b : 3; };": "member `c` is only in one of them",
        "struct s { int a; int b : 3; char c; };": "member `c` is at byte 4 in one and at byte 5 in the other",
        "struct s { int a; char c; int b : 4; };": "with 3 bits in one and at byte 5 with 4 bits in the other",
        "struct s { unsigned a; char c; int b : 3; };": "member `a`: signed against unsigned",
        "struct s { int a; char c[1]; int b : 3; };": "member `c`: an integer against an array or vector",
        "struct s { float a; char c; int b : 3; };": "member `a`: an integer against a floating type",
    }.items():
        found = differences(f("H", whole), f("B", text))
        if why == "8 bytes":
            assert found
        else:
            assert len(found) == 1 and why in found[0], found
    # Where anonymous records begin and end is no matter to who reads a member.
    flat = f("H", "struct s { int a; int b; long c; };")
    assert differences(flat, f("B", "struct s { struct { int a; int b; }; struct { struct { long c; }; }; };")) == ()


def test_doubts_and_unknown_types_are_no_differences() -> None:
    declared = p("void *memcpy(void *to, const void *from, u64 n)")
    empty = Prototype("memcpy", p("void f(void)").result, (), doubt="assembler")
    assert differences(declared, empty) == argument_differences(declared, empty, ["n"]) == ()
    unknown = Prototype("f", p("void f(void)").result, (Parameter("a", Unknown("_Decimal64", "no idea")),))
    assert differences(p("void f(long a)"), unknown) == ()
    members_lost = Record("union", "any", (), 8, 8, exact=False)
    lost = Prototype("f", p("void f(void)").result, (Parameter("a", members_lost),))
    assert differences(p("void f(union any a)"), lost) == ()


def test_plain_char_has_the_sign_of_the_build() -> None:
    unsigned = Int("char", 1, False, "char")

    def f(ctype: Int | Pointer) -> Prototype:
        return Prototype("f", CHAR, (Parameter("c", ctype),))

    assert "-funsigned-char" in differences(f(CHAR), f(unsigned))[0]
    assert differences(f(Pointer(CHAR)), f(Pointer(unsigned))) == ()


def test_the_canonical_form() -> None:
    ours = canonical(p("void f(const char *restrict a, int b[3][4], void g(int[2]), volatile long *const c)"))
    theirs = canonical(p("void f(char const *a, int (*b)[4], void (*g)(int *), long volatile *c)"))
    assert ours == theirs
    user = Pointer(Qualified(CHAR, ("const", "__user")))
    assert canonical(Prototype("f", CHAR, (Parameter("a", user),))).parameters[0].type == Pointer(
        Qualified(CHAR, ("const",))
    )


# ---- the header route is the BTF route ------------------------------------------------------------------------------


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_hard_prototypes_are_the_same_from_a_header_and_from_btf(tmp_path: Path, compiler: str) -> None:
    source = SOURCE
    if compiler == "clang":  # it does not write which type a complex type is of
        source = source.replace(", _Float16 d, _Complex float e", "")
    btf = compiled(tmp_path, source, compiler)
    header = tmp_path / "t.h"
    header.write_text("\n".join(line for line in source.splitlines() if "k_and_r" not in line))
    index = HeaderIndex(preprocess([header], [], {}, [compiler]).text)
    names = [n for n in btf.functions() if n != "k_and_r"]
    assert len(names) == 11
    for name in names:
        declared = index.prototype(name)
        assert declared is not None
        assert canonical(declared) == canonical(btf.prototype(name))
        assert differences(declared, btf.prototype(name)) == ()


# pahole gives up on a file that has one of these.
NOT_IN_BTF = ("_Atomic", "_BitInt", "_Complex long double", "_Complex int", "_Complex char", "_Complex long")


def header_and_btf(folder: Path, cases: Sequence[Case]) -> Iterator[tuple[Prototype, Prototype]]:
    """Each case by both routes."""
    for start in range(0, len(cases), 60):
        some = cases[start : start + 60]
        definitions = "".join(f"{c.declarations}\n{c.prototype} {{ __builtin_trap(); }}\n" for c in some)
        (folder / "t.c").write_text(definitions)
        subprocess.run(["gcc", "-g", "-w", "-c", "t.c", "-o", "t.o"], cwd=folder, check=True)
        subprocess.run(["pahole", "-J", "t.o"], cwd=folder, check=True, capture_output=True)
        btf = open_btf(folder / "t.o")
        index = HeaderIndex("".join(f"{c.declarations}\n{c.prototype};\n" for c in some))
        for case in some:
            declared = index.prototype(case.name)
            assert declared is not None
            yield declared, btf.prototype(case.name)


def test_random_prototypes_are_the_same_from_a_header_and_from_btf(tmp_path: Path) -> None:
    for tool in ("gcc", "pahole"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    seed = int(os.environ.get("SPECC_SEED", "1"))
    chosen = [c for c in generate.cases(seed, 0, 400) if not any(w in c.declarations + c.prototype for w in NOT_IN_BTF)]
    declarations = {c.name: c.declarations for c in chosen}
    equal = 0
    for declared, found in header_and_btf(tmp_path, chosen):
        text = f"SPECC_SEED={seed}\n{declarations[declared.name]}{spell_prototype(declared)}"
        assert differences(declared, found) == (), text
        if "transparent_union" not in text:  # gcc 12 writes no members for some
            assert canonical(declared) == canonical(found), text
            equal += 1
    assert equal > 100


def test_places_from_btf_never_contradict_those_from_a_header(tmp_path: Path) -> None:
    """What BTF leaves out may make specc refuse an argument, and never read another place.

    Without vectors: BTF stores them as arrays, and the kernel has none in its records.
    """
    for tool in ("gcc", "pahole"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    left_out = (*NOT_IN_BTF, "vector_size")
    chosen = [c for c in generate.cases(21, 0, 600) if not any(w in c.declarations + c.prototype for w in left_out)]
    both = 0
    for declared, found in header_and_btf(tmp_path, chosen):
        ours, theirs = place_arguments(declared), place_arguments(found)
        for a, b in zip(ours.arguments, theirs.arguments, strict=True):
            if a.readable and b.readable:
                both += 1
                assert a.pieces == b.pieces, f"{spell_prototype(declared)}: {a.name}"
    assert both > 500


def test_a_sign_that_is_lost_is_a_difference_in_one_direction() -> None:
    """An enum without negative values, recorded of a kernel that passes an errno there, shows it as a large number."""
    index = HeaderIndex("enum e { A, B };")
    where = Location("spec.yaml", 1, 1)
    ours = parse_declaration("enum e f(enum e x, int y)", index, where)
    theirs = parse_declaration("int f(int x, enum e y)", index, where)
    assert [d.rpartition(": ")[2] for d in argument_differences(ours, theirs, ["x", "y", "return"])] == [
        "negative values of `int` would be told as positive",
        "negative values of `int` would be told as positive",
    ]
    assert argument_differences(theirs, ours, ["x", "return"]) == ()

"""The oracle itself: facts known by hand, found by running code; and a comparison that can fail."""

from __future__ import annotations

import pytest
from oracle import generate
from oracle.compare import Claim, Fault, compare
from oracle.experiment import Measurement, Place, compilers, configurations, measure
from oracle.refusal import heard, named_in, speaks_of
from oracle.shapes import (
    BOOL,
    CHAR,
    DOUBLE,
    FLOAT,
    INT,
    LONG,
    LONG_DOUBLE,
    POINTER,
    Array,
    Case,
    Leaf,
    Member,
    Signature,
    Typedef,
    bitint,
    leaves,
    render,
    scalar,
    struct,
    union,
)
from oracle.shrink import shrink, steps, weight

from specc import prototype as p
from specc.place import Argument, Piece, Placement, Result

needs_compilers = pytest.mark.skipif(
    {one.kind for one in compilers()} != {"gcc", "clang"}, reason="gcc and clang are both needed to measure"
)


def measured(signature: Signature) -> tuple[Case, list[Measurement]]:
    case = render(signature, "f")
    return case, measure([case], configurations())["f"]


# What the C text is.


def test_a_case_declares_what_it_uses_and_only_names_of_its_own() -> None:
    inner = struct(INT, Member(union(FLOAT, CHAR), named=False), Member(INT, 3), Member(INT, 0, named=False))
    case = render(Signature((inner, Typedef(LONG, "aligned(16)"), POINTER), LONG), "f7")
    assert case.text == (
        "struct f7_t0 { int m0; union { float m1_0; char m1_1; }; int m2 : 3; int  : 0; };\n"
        "typedef long f7_t1 __attribute__((aligned(16)));\n"
        "long f7(struct f7_t0 a0, f7_t1 a1, void * a2);\n"
    )


def test_leaves_are_every_scalar_and_a_solid_array_is_one() -> None:
    type_ = struct(Array(CHAR, 9), Array(struct(BOOL), 2), Member(INT, 3), Member(struct(LONG), named=False))
    assert list(leaves(type_)) == [
        Leaf(".m0", "bytes"),
        Leaf(".m1[0].m0", "bool"),
        Leaf(".m1[1].m0", "bool"),
        Leaf(".m2", "bitfield", 3),
        Leaf(".m3_0", "bytes"),
    ]


def test_a_seed_and_a_number_make_the_same_case_in_any_order() -> None:
    assert generate.cases(3, 10, 5) == [generate.case(3, number) for number in range(10, 15)]
    assert generate.case(3, 10) != generate.case(4, 10)


# What is found by running.


@needs_compilers
def test_plain_arguments_are_where_every_textbook_has_them() -> None:
    _, found = measured(Signature((INT, DOUBLE, LONG, LONG, LONG, LONG, POINTER, CHAR, LONG)))
    expected = [("rdi", 4), ("xmm0", 8), ("rsi", 8), ("rdx", 8), ("rcx", 8), ("r8", 8), ("r9", 8)]
    assert len(found) == 4
    for one in found:
        assert one.status == "measured" and one.disagreements == () and one.hidden_return_pointer is None
        places = [parameter.places for parameter in one.parameters]
        assert places[:7] == [tuple(Place(where, byte) for byte in range(size)) for where, size in expected]
        assert places[7] == (Place("stack", 8),)
        assert places[8] == tuple(Place("stack", 16 + byte) for byte in range(8))


@needs_compilers
def test_only_data_bits_have_places() -> None:
    padded = struct(CHAR, INT, Member(INT, 3), BOOL)
    _, found = measured(Signature((padded, LONG_DOUBLE, BOOL)))
    for one in found:
        first, second, third = one.parameters
        assert (first.size, first.align) == (12, 4)
        assert first.mask == bytes.fromhex("ff000000ffffffff07010000")
        assert first.leaf_offsets == (0, 32, 64, 72)
        assert first.places[1:4] == (None, None, None)
        assert second.mask == b"\xff" * 10 + b"\0" * 6
        assert third.mask == b"\x01"


@needs_compilers
def test_a_large_result_has_a_hidden_pointer_and_a_small_one_has_none() -> None:
    _, large = measured(Signature((LONG,), struct(LONG, LONG, LONG)))
    _, small = measured(Signature((LONG,), struct(LONG, DOUBLE)))
    for one in large:
        assert one.hidden_return_pointer == "rdi"
        assert one.parameters[0].places[0] == Place("rsi", 0)
        assert one.result is not None and one.result.memory
    for one in small:
        assert one.hidden_return_pointer is None
        assert one.result is not None and not one.result.memory
        assert (one.result.places[0], one.result.places[8]) == (Place("rax", 0), Place("xmm0", 0))


@needs_compilers
def test_a_case_that_a_compiler_refuses_is_taken_out_of_its_batch() -> None:
    good = render(Signature((INT,)), "good")
    bad = render(Signature((scalar("no_such_type"),)), "bad")
    found = measure([good, bad], configurations())
    assert {one.status for one in found["good"]} == {"measured"}
    assert {one.status for one in found["bad"]} == {"not compiled"}
    assert all("no_such_type" in one.message for one in found["bad"])


@needs_compilers
def test_a_type_is_measured_by_the_compilers_that_have_it() -> None:
    case, found = measured(Signature((bitint(65),)))
    able = {one.compiler.kind for one in configurations() if "_BitInt" in one.compiler.features}
    assert case.features == {"_BitInt"}
    assert {one.configuration.partition("-")[0] for one in found} == able


# What the comparison says of right and wrong claims, on f(long, char) with r = rdi.

FOUND = Case("f", "", "", (), None, False, frozenset(), Signature(()))


def argument(*pieces: Piece, size: int = 8, readable: bool = True, alternatives: tuple = ()) -> Argument:
    return Argument("a0", p.LONG, size, 8, "INTEGER", readable, "" if readable else "why", pieces, alternatives)


def claim(*arguments: Argument, hidden: str | None = None) -> Claim:
    result = Result(p.VOID, 0, "NO_CLASS", True, "")
    parameters = tuple(p.Parameter(one.name, one.type) for one in arguments)
    return Claim(p.Prototype("f", p.VOID, parameters), Placement(arguments, hidden, result))


RIGHT = Piece(0, 8, "rdi")
CLAIMS = {
    "right": (argument(RIGHT), []),
    "right in two pieces": (argument(Piece(0, 4, "rdi"), Piece(4, 4, "rdi", reg_offset=4)), []),
    "another register": (argument(Piece(0, 8, "rsi")), ["wrong place"]),
    "on the stack": (argument(Piece(0, 8, "stack", stack_offset=8)), ["wrong place"]),
    "one byte further": (argument(Piece(0, 7, "rdi"), Piece(7, 1, "rdi", reg_offset=6)), ["wrong place"]),
    "a byte twice": (argument(RIGHT, Piece(0, 1, "rdi")), ["wrong place"]),
    "too short": (argument(Piece(0, 7, "rdi")), ["missing byte"]),
    "no pieces": (argument(), ["missing byte"]),
    "outside": (argument(RIGHT, Piece(8, 1, "rdi", reg_offset=7)), ["piece outside the argument"]),
    "refused": (argument(readable=False), ["needless refusal"]),
    "refused with the wrong place": (
        argument(Piece(0, 8, "xmm0"), readable=False),
        ["wrong place", "needless refusal"],
    ),
    "no such alternative": (
        argument(readable=False, alternatives=(("gcc", (RIGHT,)), ("clang", (Piece(0, 8, "rsi"),)))),
        ["no such alternative", "needless refusal"],
    ),
    "wrong size": (argument(RIGHT, size=4), ["wrong size or alignment"]),
}


@needs_compilers
@pytest.mark.parametrize("name", CLAIMS)
def test_a_wrong_claim_is_reported(name: str) -> None:
    said, expected = CLAIMS[name]
    case, found = measured(Signature((LONG,)))
    verdict = compare(case, claim(said), found)
    kinds = [fault.kind for fault in verdict.faults]
    assert list(dict.fromkeys(kinds)) == expected
    assert len(verdict.outcomes) == 1
    assert verdict.undecided == ("needless refusal" in expected)


@needs_compilers
def test_a_refusal_is_accepted_where_a_vector_register_is_used() -> None:
    case, found = measured(Signature((DOUBLE,)))
    refused = Argument("a0", p.DOUBLE, 8, 8, "SSE", False, "xmm0", (Piece(0, 8, "xmm0"),))
    verdict = compare(case, claim(refused), found)
    assert verdict.faults == ()
    assert verdict.outcomes == ("refused: not in general registers or on the stack",)


@needs_compilers
def test_a_refusal_is_accepted_where_the_compilers_differ_and_no_claim_is() -> None:
    case, found = measured(Signature((struct(INT, Array(INT, None)),)))
    flexible = p.Array(p.INT, None)
    record = p.Record("struct", "f_t0", (p.Member("m0", p.INT, 0), p.Member("m1", flexible, 32)), 4, 4)
    for readable, expected in ((False, []), (True, ["wrong place"])):
        said = Argument("a0", record, 4, 4, "INTEGER", readable, "why", (Piece(0, 4, "rdi"),) if readable else ())
        verdict = compare(case, claim(said), found)
        assert list(dict.fromkeys(fault.kind for fault in verdict.faults)) == expected


@needs_compilers
def test_a_wrong_hidden_pointer_and_a_wrong_layout_are_reported() -> None:
    case, found = measured(Signature((LONG,)))
    assert [fault.kind for fault in compare(case, claim(argument(RIGHT), hidden="rdi"), found).faults] == [
        "wrong hidden return pointer"
    ]
    case, found = measured(Signature((struct(INT, CHAR),)))
    misplaced = p.Record("struct", "f_t0", (p.Member("m0", p.INT, 0), p.Member("m1", p.CHAR, 40)), 8, 4)
    said = Argument("a0", misplaced, 8, 4, "INTEGER", True, "", (RIGHT,))
    assert [fault.kind for fault in compare(case, claim(said), found).faults] == ["wrong layout"]


WHO = {
    ("gcc", "gcc-12 -O0"): True,
    ("gcc", "clang-19 -O2"): False,
    ("gcc and clang", "clang-19 -O2"): True,
    ("clang before 18", "clang-14 -O2"): True,
    ("clang before 18", "clang-19 -O2"): False,
    ("gcc and clang before 18", "gcc-12 -O0"): True,
    ("any compiler", "gcc-12 -O0"): True,
    ("any compiler, if it is compiled with -mavx", "gcc-12 -O2"): False,
    ("any compiler, if it is compiled with -mavx", "gcc-12 -O2 -mavx"): True,
    ("nobody", "gcc-12 -O2"): False,
}


@pytest.mark.parametrize(("who", "configuration"), WHO)
def test_who_is_meant_by_an_alternative(who: str, configuration: str) -> None:
    assert speaks_of(who, configuration) == WHO[who, configuration]


def test_a_refusal_is_only_judged_when_all_that_it_names_were_heard() -> None:
    assert named_in("in doubt: sp+8 (gcc and clang); r9 (clang before 18)") == ["gcc and clang", "clang before 18"]
    told = ["gcc and clang", "clang before 18"]
    assert heard(told, ["gcc-12 -O2", "clang-14 -O2"])
    assert not heard(told, ["gcc-12 -O2", "clang-19 -O2"])


def test_a_prototype_that_specc_cannot_parse_is_a_fault() -> None:
    verdict = compare(FOUND, Claim(error="SyntaxError: no"), [])
    assert verdict.faults == (Fault("not parsed", "", "SyntaxError: no"),)


def test_compilers_are_told_by_version_once_and_newest_first() -> None:
    names = [one.name for one in compilers()]
    assert len(names) == len(set(names))
    for kind in ("gcc", "clang"):
        majors = [one.major for one in compilers() if one.kind == kind]
        assert majors == sorted(majors, reverse=True)


# How a failing signature is made smaller.


def test_shrinking_keeps_what_fails_and_drops_the_rest() -> None:
    wanted = struct(CHAR, DOUBLE, attributes="packed")
    big = Signature((INT, wanted, struct(LONG, Array(INT, 3))), LONG, variadic=True)

    def packed_double(one: Signature) -> bool:
        return any("packed" in repr(t) and "double" in repr(t) for t in one.parameters)

    small = shrink(big, lambda many: [packed_double(one) for one in many])
    assert small == Signature((struct(DOUBLE, attributes="packed"),))


def test_every_step_is_lighter() -> None:
    for number in range(40):
        signature = generate.case(9, number).signature
        assert all(weight(one) <= weight(signature) for one in steps(signature))

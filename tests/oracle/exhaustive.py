"""What is small enough to try in full: every state of the registers and the stack with every shape of an argument,
and every pair of member types in every arrangement.

Out: for each group its cases; a case is named after its shape, and `SHAPES` order is the order of the table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from .shapes import (
    BOOL,
    CHAR,
    COMPLEX_DOUBLE,
    COMPLEX_FLOAT,
    COMPLEX_LONG_DOUBLE,
    DOUBLE,
    FLOAT,
    FLOAT16,
    FLOAT128,
    INT,
    INT128,
    LONG,
    LONG_DOUBLE,
    POINTER,
    SHORT,
    UCHAR,
    Array,
    Case,
    Member,
    Signature,
    Type,
    Typedef,
    Vector,
    render,
    struct,
    union,
)  # fmt: skip

GENERAL_STATES, VECTOR_STATES, STACK_STATES = range(7), range(9), range(2)
THREE_LONGS = struct(LONG, LONG, LONG)
# After the argument in question: what is left for a later long, double and pair tells the state that it left.
PROBES = (struct(LONG, DOUBLE), LONG, DOUBLE, struct(LONG, LONG), CHAR)
SCALARS: dict[str, Type] = {
    "char": CHAR, "_Bool": BOOL, "short": SHORT, "int": INT, "long": LONG, "pointer": POINTER, "float": FLOAT,
    "double": DOUBLE, "long double": LONG_DOUBLE, "__int128": INT128, "_Float16": FLOAT16, "__float128": FLOAT128,
    "_Complex float": COMPLEX_FLOAT, "_Complex double": COMPLEX_DOUBLE, "_Complex long double": COMPLEX_LONG_DOUBLE,
    "vector of 8": Vector("float", 8), "vector of 16": Vector("float", 16), "vector of 32": Vector("float", 32),
}  # fmt: skip
EIGHTBYTES: dict[str, tuple[Type, ...]] = {
    "long": (LONG,),
    "double": (DOUBLE,),
    "float": (FLOAT,),
    "float, float": (FLOAT, FLOAT),
    "float, int": (FLOAT, INT),
    "char": (CHAR,),
    "long double": (LONG_DOUBLE,),
    "nothing": (struct(),),
}
ALIGNMENTS = (1, 2, 4, 8, 16, 32, 64)
MEMBERS: tuple[Type, ...] = (
    CHAR,
    BOOL,
    SHORT,
    INT,
    LONG,
    FLOAT,
    DOUBLE,
    FLOAT16,
    LONG_DOUBLE,
    INT128,
    COMPLEX_FLOAT,
    Vector("int", 8),
)
SEQUENCE: tuple[Type, ...] = (INT, FLOAT, LONG, DOUBLE)


@dataclass(frozen=True, slots=True)
class Labelled:
    group: str
    shape: str
    state: str
    case: Case


def shapes() -> Iterator[tuple[str, str, Type]]:
    """(group, name, type) of each argument that is tried in each state."""
    for name, type_ in SCALARS.items():
        yield "scalars", name, type_
        yield "a struct of one scalar", name, struct(type_)
    for (one, first), (two, second) in product(EIGHTBYTES.items(), EIGHTBYTES.items()):
        yield "two eightbytes", f"{{{one}}}, {{{two}}}", struct(struct(*first), struct(*second))
    for size in range(34):
        yield "bytes", f"char[{size}]", struct(Array(CHAR, size))
    for size in range(1, 34):
        yield "packed", f"packed long, char[{size}]", struct(LONG, Array(CHAR, size), attributes="packed")
    for count in range(1, 9):
        yield "floats", f"float[{count}]", struct(Array(FLOAT, count))
    for align in ALIGNMENTS:
        text = f"aligned({align})"
        yield "aligned", f"{text} empty", struct(attributes=text)
        yield "aligned", f"{text} long", struct(LONG, attributes=text)
        yield "aligned", f"{text} long, long", struct(LONG, LONG, attributes=text)
        yield "aligned", f"{text} double", struct(DOUBLE, attributes=text)
        yield "aligned", f"{text} member", struct(Member(INT, attributes=text))
        yield "aligned", f"{text} typedef of int", Typedef(INT, text)
        yield "aligned", f"{text} typedef of double", Typedef(DOUBLE, text)
        yield "aligned", f"{text} typedef of __int128", Typedef(INT128, text)
        yield "aligned", f"{text} typedef of a pair", Typedef(struct(LONG, LONG), text)


def states() -> Iterator[Labelled]:
    number = 0
    for group, name, type_ in shapes():
        for general, vector, odd in product(GENERAL_STATES, VECTOR_STATES, STACK_STATES):
            before: list[Type] = [*[LONG] * general, *[DOUBLE] * vector, *[THREE_LONGS] * odd]
            state = f"{general} general, {vector} vector, {'odd' if odd else 'even'} slot"
            case = render(Signature((*before, type_, *PROBES)), f"s{number}")
            yield Labelled(group, name, state, case)
            number += 1


def pairs() -> Iterator[tuple[str, Type]]:
    """(group, type): every ordered pair of members in every arrangement, and every short sequence."""
    for one, two in product(MEMBERS, MEMBERS):
        yield "struct of a pair", struct(one, two)
        yield "packed struct of a pair", struct(one, two, attributes="packed")
        yield "union of a pair", union(one, two)
        yield "arrays of a pair", struct(Array(one, 2), two)
        yield "arrays of a pair", struct(one, Array(two, 2))
        yield "arrays of a pair", struct(Array(one, 3), two)
        yield "arrays of a pair", union(Array(one, 2), two)
        yield "arrays of a pair", union(Array(one, 3), Array(two, 2))
        yield "nested pair", struct(struct(one), two)
        yield "nested pair", struct(one, struct(two, CHAR, attributes="packed"))
        yield "nested pair", union(struct(one, one), struct(two, two))
        for offset in range(1, 8):
            lead = Array(CHAR, offset)
            yield "pair after bytes", struct(lead, one, two)
            yield "packed pair after bytes", struct(lead, one, two, attributes="packed")
            yield "union of a shifted member", union(struct(lead, one), two)
            yield "packed union of a shifted member", union(struct(lead, one, attributes="packed"), two)
    for length in range(3, 6):
        for members in product(SEQUENCE, repeat=length):
            yield f"struct of {length}", struct(*members)
    for width, offset in product(range(1, 65), (0, 1, 3, 7, 31, 33, 63)):
        lead_bits = [Member(LONG, offset)] if offset else []
        yield "bit-fields", struct(*lead_bits, Member(LONG, width))
        yield "packed bit-fields", struct(*lead_bits, Member(LONG, width), attributes="packed")
        yield "bit-field and a float", struct(*lead_bits, Member(LONG, width), FLOAT)
        yield "unnamed bit-field", struct(*lead_bits, Member(LONG, width, named=False), UCHAR)


def merges() -> Iterator[Labelled]:
    for number, (group, type_) in enumerate(pairs()):
        case = render(Signature((type_, *PROBES)), f"m{number}")
        shape = " ".join(render(Signature((type_,)), "f").declarations.replace("f_", "").split())
        yield Labelled(group, shape, "", case)


def everything() -> Iterator[Labelled]:
    yield from states()
    yield from merges()

"""Random prototypes, biased towards what is hard.

In: a seed and a number.  Out: a Case; the same seed and number always give the same one.

    >>> case(seed=1, number=7) == case(seed=1, number=7)
    True
"""

from __future__ import annotations

from random import Random
from typing import Literal

from . import shapes
from .shapes import Array, Case, Enum, Member, Record, Scalar, Signature, Type, Typedef, Vector

INTEGERS = (
    shapes.CHAR, shapes.SCHAR, shapes.UCHAR, shapes.SHORT, shapes.USHORT, shapes.INT,
    shapes.UINT, shapes.LONG, shapes.ULONG, shapes.LLONG, shapes.ULLONG,
)  # fmt: skip
POINTERS = (
    shapes.POINTER,
    shapes.FUNCTION,
    shapes.scalar("const char *"),
    shapes.scalar("struct opaque *"),
    shapes.scalar("long **"),
    Scalar("void (*(*{})(int))(char *)"),
)
ONLY_PARAMETERS = (
    shapes.ARRAY_PARAMETER,
    shapes.FUNCTION_PARAMETER,
    Scalar("const char {}[]", adjusted="const char *"),
    Scalar("int {}[static 3]", adjusted="int *"),
    Scalar("long {}[2][5]", adjusted="long (*)[5]"),
    Scalar("double {}(double, float)", adjusted="double (*)(double, float)"),
    Scalar("const int {}", adjusted="int"),
    Scalar("volatile long {}", adjusted="long"),
    Scalar("char *restrict {}", adjusted="char *"),
    Scalar("const double {}", adjusted="double"),
)
ENUMS = (
    Enum(("0", "1")),
    Enum(("-1", "5")),
    Enum(("1ULL << 40",)),
    Enum(("-1", "1LL << 35")),
    Enum(("0", "200"), "packed"),
    Enum(("-1", "300"), "packed"),
)
FLOATS = (shapes.FLOAT, shapes.FLOAT, shapes.DOUBLE, shapes.DOUBLE, shapes.FLOAT16)
COMPLEX = (shapes.COMPLEX_FLOAT, shapes.COMPLEX_DOUBLE, shapes.COMPLEX_LONG_DOUBLE)
ELEMENTS = ("char", "short", "int", "long", "float", "double")
VECTOR_SIZES = (8, 8, 8, 16, 16, 16, 32, 64)
RARE = tuple(map(shapes.scalar, ("_Complex int", "_Complex long", "_Complex char", "_Atomic int", "_Atomic long")))
BIT_FIELD_TYPES: tuple[tuple[Type, int], ...] = (
    (shapes.INT, 32), (shapes.UINT, 32), (shapes.LONG, 64), (shapes.ULONG, 64),
    (shapes.SHORT, 16), (shapes.UCHAR, 8), (shapes.SCHAR, 8), (shapes.LLONG, 64),
    (shapes.BOOL, 1), (ENUMS[0], 32),
)  # fmt: skip
ALIGNMENTS = (1, 2, 4, 8, 8, 16, 16, 32, 64)
MAXIMUM = 16  # parameters


def signature(random: Random) -> Signature:
    """A prototype; many begin with plain arguments, so that registers run out where it matters."""
    count = random.choice((*range(MAXIMUM + 1), 1, 2, 3, 4, 5, 6, 7, 8, 9, 10))
    lead = random.choice((None, None, shapes.LONG, shapes.INT, shapes.DOUBLE, shapes.POINTER))
    lead_count = random.randint(1, 9) if lead else 0
    parameters: list[Type] = []
    for index in range(count):
        parameters.append(lead if lead and index < lead_count else parameter(random))
    returns = None if random.random() < 0.35 else result(random)
    return Signature(tuple(parameters), returns, bool(parameters) and random.random() < 0.06)


def case(seed: int, number: int) -> Case:
    random = Random(f"{seed}/{number}")
    return shapes.render(signature(random), f"f{number}")


def cases(seed: int, first: int, count: int) -> list[Case]:
    return [case(seed, number) for number in range(first, first + count)]


def parameter(random: Random) -> Type:
    if random.random() < 0.06:
        return random.choice(ONLY_PARAMETERS)
    if random.random() < 0.03:
        return transparent_union(random)
    if random.random() < 0.01:
        return shapes.struct(Array(shapes.CHAR, random.choice((256, 1000, 4096))))
    return any_type(random, 2)


def result(random: Random) -> Type:
    return any_type(random, 2)


def any_type(random: Random, depth: int) -> Type:
    """A type that an object can have; `depth` is how deep records may still nest."""
    if depth and random.random() < 0.5:
        return aliased(random, record(random, depth))
    return aliased(random, simple(random))


def simple(random: Random) -> Type:
    roll = random.random()
    if roll < 0.38:
        return random.choice(INTEGERS)
    if roll < 0.55:
        return random.choice(FLOATS)
    if roll < 0.65:
        return random.choice(POINTERS)
    if roll < 0.71:
        return shapes.BOOL
    if roll < 0.76:
        return random.choice(ENUMS)
    if roll < 0.81:
        return random.choice((shapes.INT128, shapes.UINT128))
    if roll < 0.86:
        return shapes.LONG_DOUBLE
    if roll < 0.91:
        return random.choice(COMPLEX)
    if roll < 0.93:
        return shapes.FLOAT128
    if roll < 0.936:
        bits = random.choice((2, 7, 8, 9, 31, 33, 63, 64, 65, 127, 128))
        return shapes.bitint(bits, random.random() < 0.5)
    if roll < 0.95:
        return random.choice(RARE)
    return Vector(random.choice(ELEMENTS), random.choice(VECTOR_SIZES))


def aliased(random: Random, type_: Type) -> Type:
    """Sometimes behind typedefs, which may raise or lower the alignment."""
    if random.random() < 0.06:
        type_ = Typedef(type_, f"aligned({random.choice(ALIGNMENTS)})")
    while random.random() < 0.1:
        type_ = Typedef(type_)
    return type_


def record(random: Random, depth: int) -> Record:
    keyword: Literal["struct", "union"] = "union" if random.random() < 0.2 else "struct"
    roll = random.random()
    count = 0 if roll < 0.02 else random.randint(1, 3) if roll < 0.6 else random.randint(2, 7)
    bit_fields = random.random() < 0.22
    members = [
        bit_field(random) if bit_fields and random.random() < 0.7 else one_member(random, depth) for _ in range(count)
    ]
    if keyword == "struct" and members and random.random() < 0.03:
        members.append(Member(Array(random.choice((shapes.CHAR, shapes.INT, shapes.DOUBLE)), None)))
        if not any(one.named for one in members[:-1]):
            members.insert(0, Member(shapes.CHAR))
    attributes: list[str] = []
    if random.random() < 0.1:
        attributes.append("packed")
    if random.random() < 0.07:
        attributes.append(f"aligned({random.choice(ALIGNMENTS)})")
    pack = random.choice((1, 2, 4, 8)) if random.random() < 0.05 else None
    return Record(keyword, tuple(members), ", ".join(attributes), pack)


def one_member(random: Random, depth: int) -> Member:
    roll = random.random()
    attribute = ""
    if random.random() < 0.05:
        attribute = f"aligned({random.choice(ALIGNMENTS)})"
    elif random.random() < 0.04:
        attribute = "packed"
    if roll < 0.2:
        return Member(array(random, depth - 1), attributes=attribute)
    if roll < 0.27 and depth > 1:
        return Member(record(random, depth - 1), named=False)
    return Member(any_type(random, depth - 1), attributes=attribute)


def array(random: Random, depth: int) -> Array:
    """An array of what can be an element: the size must be a multiple of the alignment."""
    if depth and random.random() < 0.3:
        element: Type = plain_record(random)
    else:
        element = random.choice((*INTEGERS, *INTEGERS, *FLOATS, *POINTERS, shapes.BOOL, *COMPLEX))
    length = random.choice((0, 1, 1, 2, 2, 2, 3, 3, 4, 5, 6, 7, 8))
    if isinstance(element, Scalar) and random.random() < 0.15:
        element = Array(element, random.randint(1, 3))
    return Array(element, length)


def plain_record(random: Random) -> Record:
    members = [Member(random.choice((*INTEGERS, *FLOATS))) for _ in range(random.randint(1, 3))]
    attributes = "packed" if random.random() < 0.2 else ""
    return Record("struct", tuple(members), attributes)


def bit_field(random: Random) -> Member:
    type_, most = random.choice(BIT_FIELD_TYPES)
    roll = random.random()
    if roll < 0.08:
        return Member(type_, 0, named=False)
    bits = random.choice((1, most, random.randint(1, most), random.randint(1, most)))
    attribute = ""
    if random.random() < 0.05:
        attribute = random.choice(("packed", "aligned(4)", "aligned(8)", "aligned(16)"))
    return Member(type_, bits, "" if roll < 0.2 else attribute, named=roll >= 0.2)


def transparent_union(random: Random) -> Type:
    groups = (
        (shapes.POINTER, shapes.scalar("const char *"), shapes.scalar("struct opaque *")),
        (shapes.LONG, shapes.ULONG),
        (shapes.INT, shapes.UINT),
        (shapes.LONG, shapes.POINTER),
    )
    members = tuple(map(Member, random.choice(groups)))
    made = Record("union", members, "transparent_union")
    if random.random() < 0.3:
        return Typedef(Record("union", members), "transparent_union")
    return made

"""What an attribute makes of a type: other sizes, vectors, transparent unions, the memory that a pointer is good for.

In: an `Attribute` of a `Parsed` declaration and the type it stands at.  Out: the changed type, or a Stop.

    memory_tag(parsed, attribute)                  # `address_space(1)`, `btf_type_tag("user")` -> "__user"
    reshaped(parsed, attribute, FLOAT, value)      # `vector_size(16)` -> Vector(FLOAT, 16)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from specc.diagnostics import Stop, did_you_mean, stop
from specc.headers.attributes import (
    ADDRESS_SPACES,
    CONVENTIONS,
    HARMLESS,
    KEPT,
    REFUSED,
    TAGS,
    TYPE_TAGS,
    Attribute,
    plain,
)
from specc.headers.syntax import Parsed
from specc.noun import replace
from specc.prototype import (
    FLOATS,
    INTS,
    LONG_DOUBLE,
    BitInt,
    Complex,
    CType,
    Enum,
    Float,
    Int,
    Pointer,
    Qualified,
    Record,
    Typedef,
    Vector,
    bare,
    size_of,
    spell,
)

RESHAPING: Final = ("vector_size", "ext_vector_type", "mode")

_MODES: Final[dict[str, tuple[int, str]]] = {
    # gcc internals, "Machine Modes": size, and what kind of type it makes
    "QI": (1, "int"), "HI": (2, "int"), "SI": (4, "int"), "DI": (8, "int"), "TI": (16, "int"), "byte": (1, "int"),
    "word": (8, "int"), "pointer": (8, "int"), "unwind_word": (8, "int"), "HF": (2, "float"), "SF": (4, "float"),
    "DF": (8, "float"), "XF": (16, "x87"), "TF": (16, "float"), "HC": (2, "complex"), "SC": (4, "complex"),
    "DC": (8, "complex"), "XC": (16, "x87 complex"), "TC": (16, "complex"),
}  # fmt: skip
_INT_BY_SIZE: Final = {1: "signed char", 2: "short", 4: "int", 8: "long", 16: "__int128"}
_FLOAT_BY_SIZE: Final = {2: "_Float16", 4: "float", 8: "double", 16: "__float128"}
_QUALIFIER_ORDER: Final = ("const", "volatile", "restrict", "_Atomic")


def qualified(ctype: CType, words: list[str] | tuple[str, ...]) -> CType:
    """The type with these qualifiers, each once and in one order, so that equal types are equal values."""
    extra = {w for w in words if w}
    if not extra:
        return ctype
    if isinstance(ctype, Qualified):
        extra |= set(ctype.qualifiers)
        ctype = ctype.target
    order = [w for w in _QUALIFIER_ORDER if w in extra] + sorted(extra - set(_QUALIFIER_ORDER))
    return Qualified(ctype, tuple(order))


def attribute_error(parsed: Parsed, a: Attribute, message: str) -> Stop:
    return stop("SP219", message, parsed.scan.location(a.offset, a.end - a.offset))


def check_known(parsed: Parsed, a: Attribute) -> None:
    """Refuse an attribute that specc does not know, or knows to make the ABI unpredictable."""
    if a.name in KEPT or a.name in CONVENTIONS or a.name in TAGS or a.name in HARMLESS:
        return
    if a.name in REFUSED:
        raise attribute_error(parsed, a, f"the attribute `{a.name}` is not supported: {REFUSED[a.name]}")
    raise stop(
        "SP212",
        f"unknown attribute `{a.name}`",
        parsed.scan.location(a.offset, a.end - a.offset),
        notes=("an attribute may change where arguments are, so specc passes over none that it does not know",),
        help=did_you_mean(a.name, (*HARMLESS, *KEPT, *CONVENTIONS)),
    )


def memory_tag(parsed: Parsed, a: Attribute) -> str | None:
    """The qualifier (`__user`) that an attribute stands for, "" for none in particular, None if it is no tag."""
    if a.name in TAGS:
        return a.name
    if a.name == "address_space" and a.arguments:
        text = parsed.scan.text[slice(*a.arguments)].strip()
        if text not in ADDRESS_SPACES:
            raise attribute_error(parsed, a, f"`address_space({text})` is not known")
        return ADDRESS_SPACES[text]
    if a.name == "btf_type_tag" and a.arguments:
        return TYPE_TAGS.get(parsed.scan.text[slice(*a.arguments)].strip().strip('"'), "")
    return None


def transparent(ctype: CType) -> CType:
    """`typedef union {...} U __attribute__((transparent_union))` says it of the union."""
    match ctype:
        case Record(kind="union"):
            return replace(ctype, transparent=True)
        case Qualified(target=target) | Typedef(target=target):
            return replace(ctype, target=transparent(target))
        case _:
            return ctype


def reshaped(parsed: Parsed, a: Attribute, ctype: CType, value: Callable[[int, int], int]) -> CType:
    """What `vector_size`, `ext_vector_type` or `mode` makes of the base type of a declaration.

    `value` evaluates the constant expression in a range of the text.
    """
    element = bare(ctype)
    if a.name == "mode":
        return _mode(parsed, a, ctype)
    if a.arguments is None or not isinstance(element, Int | Float | Pointer | BitInt | Enum):
        raise attribute_error(parsed, a, f"`{a.name}` of `{spell(ctype)}` is not understood")
    number = value(*a.arguments)
    unit = size_of(element)
    if a.name == "ext_vector_type":
        if number < 1:
            raise attribute_error(parsed, a, f"a vector of {number} elements")
        return Vector(ctype, 1 << (number * unit - 1).bit_length())  # three elements take the room of four
    count = number // unit
    if number < unit or number % unit or count & (count - 1):
        raise attribute_error(parsed, a, f"{number} bytes do not hold a power of two of `{spell(ctype)}`")
    return Vector(ctype, number)


def _mode(parsed: Parsed, a: Attribute, ctype: CType) -> CType:
    word = plain(parsed.scan.code[slice(*a.arguments)].strip()) if a.arguments else ""
    size, kind = _MODES.get(word, (0, ""))
    match bare(ctype), kind:
        case Enum() as enum, "int":
            return replace(enum, size=size)
        case Int(signed=signed), "int":
            name = _INT_BY_SIZE[size]
            return INTS[name if signed else "unsigned char" if size == 1 else f"unsigned {name}"]
        case Complex(), "complex":
            return Complex(FLOATS[_FLOAT_BY_SIZE[size]])
        case Complex(), "x87 complex":
            return Complex(LONG_DOUBLE)
        case Float(), "float":
            return FLOATS[_FLOAT_BY_SIZE[size]]
        case Float(), "x87":
            return LONG_DOUBLE
    raise attribute_error(parsed, a, f"`mode({word})` of `{spell(ctype)}` is not understood")

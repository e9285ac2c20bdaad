"""Whether two declarations of a function, or two types, are the same one to the compiler.

    same(Typedef("u32", UINT), UINT)             # True
    difference(a, b)                             # "parameter 2: `int` and `long`", or None

C11 6.2.7 and 6.7.6.3p15, as far as it matters to where arguments are: typedefs are looked through, qualifiers do not
count, and an incomplete record is the same as the complete one with its tag.
"""

from __future__ import annotations

from specc.prototype import (
    Array,
    BitInt,
    Complex,
    CType,
    Enum,
    Float,
    Function,
    Int,
    Pointer,
    Prototype,
    Record,
    Unknown,
    Vector,
    Void,
    bare,
    decay,
    spell,
)


def same(a: CType, b: CType) -> bool:
    a, b = bare(a), bare(b)
    if isinstance(a, Enum) and isinstance(b, Int):
        return a.size == b.size and a.signed == b.signed
    if isinstance(b, Enum) and isinstance(a, Int):
        return same(b, a)
    if type(a) is not type(b):
        return isinstance(a, Unknown) or isinstance(b, Unknown)
    match a, b:
        case Pointer(), Pointer():
            return same(a.target, b.target)
        case Array(), Array():
            return same(a.element, b.element) and (a.count == b.count or a.count is None or b.count is None)
        case Function(), Function():
            return (
                same(a.result, b.result)
                and len(a.parameters) == len(b.parameters)
                and a.variadic == b.variadic
                and all(same(decay(x), decay(y)) for x, y in zip(a.parameters, b.parameters, strict=True))
            )
        case Record(), Record():
            if a.kind != b.kind or a.tag != b.tag:
                return False
            return a.members is None or b.members is None or (a.size, a.align) == (b.size, b.align)
        case Enum(), Enum():
            return a.tag == b.tag and (a.size, a.signed) == (b.size, b.signed)
        case Complex(), Complex():
            return same(a.element, b.element)
        case Vector(), Vector():
            return a.size == b.size and same(a.element, b.element)
        case ((Int() | Float() | BitInt() | Void() | Unknown()), _):
            return a == b
        case _:
            return False


def difference(a: Prototype, b: Prototype) -> str | None:
    """How two declarations of one function contradict each other, or None."""
    if not same(a.result, b.result):
        return f"result: `{spell(a.result)}` and `{spell(b.result)}`"
    if len(a.parameters) != len(b.parameters):
        return f"{len(a.parameters)} and {len(b.parameters)} parameters"
    if a.variadic != b.variadic:
        return "only one of them ends in `...`"
    for number, (x, y) in enumerate(zip(a.parameters, b.parameters, strict=True), 1):
        if not same(decay(x.type), decay(y.type)):
            return f"parameter {number}: `{spell(x.type)}` and `{spell(y.type)}`"
    if a.convention != b.convention:
        return f"calling convention: {a.convention} and {b.convention}"
    return None

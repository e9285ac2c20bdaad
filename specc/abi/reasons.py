"""Why an argument is in memory, in words for a person.

In: a type of class MEMORY, or the registers that an argument needs and that are left.  Out: half a sentence.

    memory_reason(LONG_DOUBLE)    # "long double is passed in memory"
    spill_reason(2, 0, 1, 8)      # "two INTEGER eightbytes need 2 registers, 1 is left"
"""

from __future__ import annotations

from specc.abi.classify import has_flexible_array, natural_align
from specc.prototype import Array, Complex, CType, Float, Record, Vector, bare, size_of, spell


def spill_reason(need_gpr: int, need_sse: int, gpr: int, sse: int) -> str:
    if need_gpr > gpr:
        return (
            "the 6 general registers are taken"
            if gpr == 0
            else f"two INTEGER eightbytes need 2 registers, {gpr} is left"
        )
    return "the 8 SSE registers are taken" if sse == 0 else f"two SSE eightbytes need 2 registers, {sse} is left"


def memory_reason(ctype: CType) -> str:
    """Why a type has class MEMORY, in words."""
    match bare(ctype):
        case Float(name=name):
            return f"{name} is passed in memory"
        case Complex(element=element):
            return f"_Complex {element.name} is passed in memory"
        case Vector(size=size) if size > 16:
            return "larger than 16 bytes"
        case Vector(element=element):
            return f"a vector of one {spell(element)} is passed in memory"
        case t if size_of(t) > 16:
            return "larger than 16 bytes"
        case Record() as r if has_flexible_array(r):
            return "it ends in a flexible array"
        case Record() as r if name := _misaligned(r, 0):
            return f"member `{name}` is misaligned"
        case _:
            return "it holds a member that is passed in memory"


def _misaligned(t: CType, offset: int) -> str:
    """The name of a member, at any depth, that is not where its type's alignment would have it."""
    t = bare(t)
    if isinstance(t, Array):
        step = size_of(t.element)
        places = range(offset, offset + step * max(t.count or 0, 1), step) if step else (offset,)
        return next((name for o in places if (name := _misaligned(t.element, o))), "")
    if not isinstance(t, Record):
        return ""
    for m in t.members or ():
        if m.bit_width is None:
            at = offset + m.bit_offset // 8
            inner = _misaligned(m.type, at)
            if inner or at % natural_align(m.type):
                return inner or m.name or "(anonymous)"
    return ""

"""Whether a compiler heeds `transparent_union` on a union, or drops it with a warning.

In: a union that is declared so, a Hypothesis.  Out: whether it is passed as its first member.

    is_transparent(lay_out("union", "u", [Member("d", DOUBLE, 0), Member("n", LONG, 0)]), GCC)    # False

gcc (c-decl.cc, finish_struct) wants the first member to have the machine mode of the union, clang (SemaDeclAttr.cpp,
handleTransparentUnionAttr) wants members of the same size.
"""

from __future__ import annotations

from typing import Final

from specc.abi.classify import Hypothesis
from specc.layout import as_clang
from specc.prototype import Array, Complex, CType, Float, Record, Vector, align_of, bare, size_of

_BLOCK: Final = ("block", 0)
_FIXED: Final = (1, 2, 4, 8, 16)


def is_transparent(union: Record, h: Hypothesis) -> bool:
    if not union.members or union.kind != "union":
        return False
    first = union.members[0]
    if h.compiler == "gcc":
        return first.bit_width is None and _mode(first.type) == _mode(union)
    members = [as_clang(m.type) for m in union.members]
    t = bare(members[0])
    if isinstance(t, Float | Vector) or (isinstance(t, Complex) and isinstance(t.element, Float)):
        return False
    size, align = size_of(t), align_of(members[0])
    return all(size_of(m) == size and align_of(m) <= align for m in members[1:])


def _mode(ctype: CType) -> tuple[str, int]:
    """gcc's machine mode, as a class and a size (stor-layout.cc, layout_type and compute_record_mode)."""
    t = bare(ctype)
    size = size_of(t)
    match t:
        case Float(name=name):
            return name, size
        case Complex(element=element):
            return f"_Complex {element.name}", size
        case Vector(element=element):
            return f"vector of {size_of(element)}", size
        case Array(element=element, count=count):
            if _mode(element) == _BLOCK:
                return _BLOCK
            return _mode(element) if count == 1 else _integer_mode(size)
        case Record(kind=kind, members=members):
            whole: tuple[str, int] | None = None
            for m in members or ():
                mode = _integer_mode(size_of(m.type)) if m.bit_width is not None else _mode(m.type)
                flexible = isinstance(array := bare(m.type), Array) and array.count is None
                if mode == _BLOCK and (size_of(m.type) or flexible):
                    return _BLOCK
                if m.bit_width is None and size_of(m.type) == size and _precision(mode) > _precision(whole):
                    whole = mode
                if kind == "union" and whole == ("long double", 16):
                    return _BLOCK  # i386.cc, ix86_member_type_forces_blk
            if whole is not None and kind == "struct":
                return whole
            return _integer_mode(size)
        case _:
            return _integer_mode(size)


def _integer_mode(size: int) -> tuple[str, int]:
    return ("integer", size) if size in _FIXED else _BLOCK


def _precision(mode: tuple[str, int] | None) -> int:
    match mode:
        case ("long double", _):
            return 80
        case (_, size):
            return 8 * size
        case None:
            return 0

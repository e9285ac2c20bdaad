"""The classes of a type's eightbytes, as a compiler under a `Hypothesis` sees them (psABI 3.2.3, "Classification").

In: a C type.  Out: one class for each eightbyte; `(MEMORY,)` for what goes to memory whole, `()` for what has no place.

    classify(lay_out("struct", "s", [Member("a", FLOAT, 0), Member("b", INT, 0), Member("c", DOUBLE, 0)]), GCC)
    # ("INTEGER", "SSE"): a and b share the first eightbyte, and INTEGER wins

The psABI's text is the same for all, but gcc (i386.cc, classify_argument) and clang (X86.cpp, X86_64ABIInfo::classify)
read it differently at its edges: flexible and empty arrays, unnamed bit-fields, what "unaligned" means. Both readings
are here, and every difference has a row in tests/test_abi.py that was measured.
"""

from __future__ import annotations

from typing import Final

from specc.layout import as_clang
from specc.noun import dataclass
from specc.prototype import (
    Array,
    BitInt,
    Complex,
    CType,
    Enum,
    Float,
    Int,
    Member,
    Pointer,
    Qualified,
    Record,
    Typedef,
    Vector,
    align_of,
    bare,
    size_of,
)

NO_CLASS: Final = "NO_CLASS"
INTEGER: Final = "INTEGER"
SSE: Final = "SSE"
SSEUP: Final = "SSEUP"
X87: Final = "X87"
X87UP: Final = "X87UP"
COMPLEX_X87: Final = "COMPLEX_X87"
MEMORY: Final = "MEMORY"

IN_MEMORY: Final = (MEMORY,)


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One way that the code which calls the function may have been made.

    `label` names the compiler, `doubts` what else is supposed, in words that fit after "if". `vector` is the size of
    the widest vector register in use. What records that are not `exact` may hide is given for each argument, and for
    the result in the last place; the tuples are empty where nothing is supposed: `unnamed` has the eightbytes, as
    bits, where a hole is an unnamed bit-field, `aligned` the alignment (0 for the one that shows), and `transparent`
    the unions that are transparent.
    """

    label: str
    compiler: str  # "gcc" or "clang"
    old: bool = False  # gcc before 12, clang before 18
    vector: int = 16
    variadic: bool = False
    doubts: tuple[str, ...] = ()
    unnamed: tuple[int, ...] = ()
    aligned: tuple[int, ...] = ()
    transparent: tuple[bool, ...] = ()


GCC: Final = Hypothesis("gcc", "gcc")
CLANG: Final = Hypothesis("clang", "clang")
OLD_GCC: Final = Hypothesis("gcc before 12", "gcc", old=True)
OLD_CLANG: Final = Hypothesis("clang before 18", "clang", old=True)


def classify(ctype: CType, h: Hypothesis, unnamed: int = 0) -> tuple[str, ...]:
    """The classes of the eightbytes of an argument or a result of this type; `unnamed` as in a Hypothesis."""
    if h.compiler == "gcc":
        classes = _gcc(ctype, 0, h)
        if classes is not None and unnamed:
            _merge_into(classes, [INTEGER if unnamed >> i & 1 else NO_CLASS for i in range(len(classes))], 0)
            classes = _post_merge(classes)
        if classes is None:
            return IN_MEMORY
    else:
        low, high = _clang(as_clang(ctype), 0, h)
        if low == MEMORY:
            return IN_MEMORY
        classes = [low, high]
        if high == SSEUP:
            classes += [SSEUP] * (size_of(ctype) // 8 - 2)
    while classes and classes[-1] == NO_CLASS:
        classes.pop()
    return tuple(classes)


def merge(a: str, b: str) -> str:
    """psABI 3.2.3, 4: the class of an eightbyte that holds two fields."""
    if a == b or b == NO_CLASS:
        return a
    if a == NO_CLASS:
        return b
    if MEMORY in (a, b):
        return MEMORY
    if INTEGER in (a, b):
        return INTEGER
    if a in (X87, X87UP, COMPLEX_X87) or b in (X87, X87UP, COMPLEX_X87):
        return MEMORY
    return SSE


# ---- gcc


def _gcc(ctype: CType, bit: int, h: Hypothesis) -> list[str] | None:
    """classify_argument: classes from the eightbyte of `bit` on, None for memory."""
    t = bare(ctype)
    match t:
        case Record() | Array():
            return _gcc_aggregate(t, bit, h)
        case Int(size=size) | Enum(size=size):
            return _gcc_integer(size, size, bit)
        case Pointer():
            return _gcc_integer(8, 8, bit)
        case Complex(element=Int(size=size)):
            return _gcc_integer(2 * size, size, bit)
        case BitInt(size=size, align=align):
            # Since gcc 14; above 64 bits as a struct of 64-bit elements.
            return None if size > 16 else _gcc_integer(size, align, bit)
        case Complex(element=Float(name="long double")):
            return [COMPLEX_X87]
        case Complex(element=element):
            if element.size > 8 or bit % (element.size * 8):
                return None
            if element.size == 8:
                return [SSE, SSE]
            return [SSE] if bit % 64 + 16 * element.size <= 64 else [SSE, SSE]
        case Float(name="long double"):
            return None if bit % 128 else [X87, X87UP]
        case Float(size=size):
            if bit % (size * 8):
                return None
            return [SSE, SSEUP] if size == 16 else [SSE]
        case Vector(element=element, size=size):
            return _gcc_vector(bare(element), size, bit, h)
        case _:
            return None


def _gcc_integer(size: int, align: int, bit: int) -> list[str] | None:
    if bit % (align * 8):
        return None
    return [INTEGER] * ((bit % 64 + size * 8 + 63) // 64)


def _gcc_vector(element: CType, size: int, bit: int, h: Hypothesis) -> list[str] | None:
    # A float or double alone has no vector mode: such a vector is a block, and goes to memory.
    floating = isinstance(element, Float)
    if size > h.vector or bit % (size * 8) or (floating and size_of(element) == size):
        return None
    if size > 16 and size_of(element) == 16:
        return None
    if size >= 8:
        return [SSE] + [SSEUP] * (size // 8 - 1)
    return [SSE] if size == 4 and floating else [INTEGER]  # two _Float16


def _gcc_aggregate(t: Record | Array, bit: int, h: Hypothesis) -> list[str] | None:
    size = size_of(t)
    # The words that the object touches, from the eightbyte in which it begins; a zero-length array that begins
    # within an eightbyte touches it, too, and is classified.
    words = (size + bit % 64 // 8 + 7) // 8
    if size > 64:
        return None
    if not words:
        return [NO_CLASS]
    classes = [NO_CLASS] * words
    if isinstance(t, Array):
        inner = _gcc(t.element, bit, h)  # of the first element only
        if inner is None:
            return None
        classes = [inner[i % len(inner)] for i in range(words)]
    elif t.kind == "union":
        for m in t.members or ():
            inner = _gcc(m.type, bit, h) if m.bit_width is None else _gcc_union_bits(m, bit)
            if inner is None:
                return None
            _merge_into(classes, inner, 0)
    else:
        for m in t.members or ():
            if m.bit_width is not None and not _is_whole(m, t):
                if m.bit_width or h.old:
                    first = (m.bit_offset + bit % 64) // 64
                    last = (m.bit_offset + bit % 64 + m.bit_width + 63) // 64
                    _merge_into(classes, [INTEGER] * (last - first), first)
                continue
            if isinstance(array := bare(m.type), Array) and array.count is None:
                continue
            if m.bit_width is not None:
                inner = _gcc_integer(m.bit_width // 8, m.bit_width // 8, m.bit_offset + bit)
            else:
                inner = _gcc(m.type, m.bit_offset + bit, h)
            if inner is None:
                return None
            _merge_into(classes, inner, (m.bit_offset + bit % 64) // 64)
    return _post_merge(classes)


def _is_whole(m: Member, record: Record) -> bool:
    """A bit-field that is a whole integer on its boundary is a plain member to gcc (layout_decl)."""
    width = m.bit_width or 0
    return (
        width in (8, 16, 32, 64, 128) and not m.bit_offset % width and not (width > 8 and (record.packed or m.packed))
    )


def _gcc_union_bits(m: Member, bit: int) -> list[str] | None:
    """gcc sees a bit-field of a union as an integer of the next size, which may then be misaligned."""
    size = 1
    while size * 8 < (m.bit_width or 0):
        size *= 2
    return _gcc_integer(size, size, bit)


def _merge_into(classes: list[str], inner: list[str], first: int) -> None:
    for i, c in enumerate(inner, first):
        if i < len(classes):
            classes[i] = merge(classes[i], c)


def _post_merge(classes: list[str]) -> list[str] | None:
    """psABI 3.2.3, 5: the cleanup after merging."""
    if len(classes) > 2 and (classes[0] != SSE or any(c != SSEUP for c in classes[1:])):
        return None
    for i, c in enumerate(classes):
        if c == MEMORY or (c == X87UP and (i == 0 or classes[i - 1] != X87)):
            return None
        if c == SSEUP and (i == 0 or classes[i - 1] not in (SSE, SSEUP)):
            classes[i] = SSE
    return classes


# ---- clang


def _clang(ctype: CType, bit: int, h: Hypothesis) -> tuple[str, str]:
    """X86_64ABIInfo::classify: the classes of the low and the high eightbyte; anything with MEMORY is memory."""
    t = bare(ctype)
    low_half = bit < 64
    if t is not ctype and is_atomic(ctype):
        return MEMORY, NO_CLASS  # it has no rule for AtomicType
    match t:
        case Int(size=16):
            return INTEGER, INTEGER
        case Int() | Enum() | Pointer():
            return (INTEGER, NO_CLASS) if low_half else (NO_CLASS, INTEGER)
        case BitInt(width=width):
            if width > 128:
                return MEMORY, NO_CLASS
            if width > 64:
                return INTEGER, INTEGER
            return (INTEGER, NO_CLASS) if low_half else (NO_CLASS, INTEGER)
        case Float(name="long double"):
            return X87, X87UP
        case Float(size=16):
            return (MEMORY, NO_CLASS) if h.old else (SSE, SSEUP)
        case Float():
            return (SSE, NO_CLASS) if low_half else (NO_CLASS, SSE)
        case Complex(element=element):
            return _clang_complex(element, bit)
        case Vector(element=element, size=size):
            return _clang_vector(bare(element), size, bit, h)
        case Array():
            return _clang_array(t, bit, h)
        case Record():
            return _clang_record(t, bit, h)
        case _:
            return MEMORY, NO_CLASS


def _clang_complex(element: Float | Int, bit: int) -> tuple[str, str]:
    low, high = NO_CLASS, NO_CLASS
    if isinstance(element, Float) and element.size == 16:
        return (COMPLEX_X87, NO_CLASS) if element.name == "long double" else (MEMORY, NO_CLASS)
    if element.size == 16:
        return MEMORY, NO_CLASS
    c = SSE if isinstance(element, Float) else INTEGER
    if element.size == 8:
        return c, c
    if bit < 64:
        low = c
    else:
        high = c
    if high == NO_CLASS and bit // 64 != (bit + element.size * 8) // 64:
        high = low
    return low, high


def _clang_vector(element: CType, size: int, bit: int, h: Hypothesis) -> tuple[str, str]:
    if size in (1, 2, 4):
        if bit // 64 != (bit + size * 8 - 1) // 64:
            return INTEGER, INTEGER
        return (INTEGER, NO_CLASS) if bit < 64 else (NO_CLASS, INTEGER)
    if size == 8:
        if isinstance(element, Float) and element.size == 8:
            return MEMORY, NO_CLASS
        if bit not in (0, 64):
            return SSE, SSE
        return (SSE, NO_CLASS) if bit < 64 else (NO_CLASS, SSE)
    wide = size <= h.vector and not h.variadic and size_of(element) != 16
    return (SSE, SSEUP) if size == 16 or wide else (MEMORY, NO_CLASS)


def _clang_array(t: Array, bit: int, h: Hypothesis) -> tuple[str, str]:
    size, step = size_of(t), size_of(t.element)
    if size > 64 or bit % (align_of(t.element) * 8):
        return MEMORY, NO_CLASS
    if size > 16 and (size != step or size > h.vector):
        return NO_CLASS, NO_CLASS  # the record around it is for memory by its size, but for a union with a vector
    low, high = NO_CLASS, NO_CLASS
    for i in range(t.count or 0):
        a, b = _clang(t.element, bit + i * step * 8, h)
        low, high = merge(low, a), merge(high, b)
        if MEMORY in (low, high):
            break
    return _clang_post_merge(low, high, size)


def _clang_record(t: Record, bit: int, h: Hypothesis) -> tuple[str, str]:
    if t.size > 64 or has_flexible_array(t):
        return MEMORY, NO_CLASS
    low, high = NO_CLASS, NO_CLASS
    for m in t.members or ():
        if m.bit_width is not None and not m.name:
            continue
        if t.size > 16 and (t.size > h.vector or (t.kind == "struct" and t.size != size_of(m.type))):
            return MEMORY, NO_CLASS
        offset = bit + m.bit_offset
        if m.bit_width is None:
            # Since about clang 15 a typedef's own alignment does not count here.
            align = align_of(m.type) if h.old else natural_align(m.type)
            if offset % (align * 8):
                return MEMORY, NO_CLASS
            a, b = _clang(m.type, offset, h)
        else:
            # Bit-fields do not force the record into memory even if unaligned, so they may straddle.
            first, last = offset // 64, (offset + m.bit_width - 1) // 64
            a, b = (NO_CLASS if first else INTEGER), (INTEGER if last else NO_CLASS)
        low, high = merge(low, a), merge(high, b)
        if MEMORY in (low, high):
            break
    return _clang_post_merge(low, high, t.size)


def _clang_post_merge(low: str, high: str, size: int) -> tuple[str, str]:
    if high == MEMORY or (high == X87UP and low != X87) or (size > 16 and (low, high) != (SSE, SSEUP)):
        low = MEMORY
    if high == SSEUP and low != SSE:
        high = SSE
    return low, high


# ---- what both need


def natural_align(ctype: CType) -> int:
    """Alignment in bytes of the type behind typedefs: an attribute on a typedef counts for objects, not arguments."""
    t = bare(ctype)
    return natural_align(t.element) if isinstance(t, Array) else align_of(t)


def is_atomic(ctype: CType) -> bool:
    while isinstance(ctype, Typedef | Qualified):
        if isinstance(ctype, Qualified) and "_Atomic" in ctype.qualifiers:
            return True
        ctype = ctype.target
    return False


def has_flexible_array(t: Record) -> bool:
    """A flexible array member, here or in a record that is itself a member."""
    for m in t.members or ():
        inner = bare(m.type)
        if isinstance(inner, Array) and inner.count is None:
            return True
        if isinstance(inner, Record) and has_flexible_array(inner):
            return True
    return False

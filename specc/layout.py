"""Where the members of a record are, and how big it is, as gcc and clang have it on x86-64 Linux.

In: a record's members and attributes as declared.  Out: a `Record` with offsets, size and alignment; `data_mask`.

    r = lay_out("struct", "s", [Member("c", CHAR, 0), Member("n", LONG, 0)])
    (r.size, r.align, r.members[1].bit_offset)    # (16, 8, 64)
    data_mask(r)                                  # ff 00 00 00 00 00 00 00 ff ff ff ff ff ff ff ff

The rules are psABI 3.1.2 ("Aggregates and Unions", "Bit-Fields") with the GNU attributes, which no standard
describes: they follow what gcc (stor-layout.cc: layout_decl, place_field) and clang (RecordLayoutBuilder.cpp:
LayoutField, LayoutBitField) do, and `tests/test_layout.py` holds both against the compilers. The two differ for
some bit-fields with alignment attributes; such a record has gcc's layout, clang's in `clang`, and a `doubt`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from specc.noun import replace
from specc.prototype import (
    Array,
    BitInt,
    Complex,
    CType,
    Enum,
    Float,
    Function,
    Int,
    Member,
    Pointer,
    Qualified,
    Record,
    Typedef,
    Unknown,
    Vector,
    Void,
    align_of,
    bare,
    size_of,
    spell,
)

_BYTE: Final = 8  # bits


def lay_out(
    kind: str,
    tag: str | None,
    members: Sequence[Member],
    *,
    packed: bool = False,
    aligned: int | None = None,
    pack: int | None = None,
    transparent: bool = False,
) -> Record:
    """The record with these members, whose `bit_offset` is not looked at, and these attributes.

    `packed` and `aligned` are the attributes of the record, `pack` is the `#pragma pack(N)` in force at its end.
    A member that cannot be laid out (an unknown or incomplete type) makes the record incomplete: its `members` are
    None and its `doubt` says which member and why.
    """
    reason = ""
    exact = True
    special = False  # anything that gcc and clang may see differently
    for m in members:
        reason = reason or _obstacle(m)
        inner = _element(m.type)
        special = special or m.bit_width is not None
        if isinstance(inner, Record):
            exact = exact and inner.exact
            special = special or inner.clang is not None
    attributes = {"transparent": transparent, "exact": exact, "packed": packed, "aligned": aligned, "pack": pack}
    if reason:
        return Record(kind, tag, None, doubt=reason, **attributes)  # type: ignore[arg-type]
    limit = (pack or 0) * _BYTE

    offsets, size, align = _gcc(kind, members, packed, limit, aligned or 1)
    record = Record(
        kind,
        tag,
        tuple(replace(m, bit_offset=o) for m, o in zip(members, offsets, strict=True)),
        size,
        align,
        **attributes,  # type: ignore[arg-type]
    )
    if not special:
        return record
    seen = [replace(m, type=as_clang(m.type)) for m in members]
    offsets, size, align = _clang(kind, seen, packed, limit, aligned or 1)
    other = replace(
        record,
        members=tuple(replace(m, bit_offset=o) for m, o in zip(seen, offsets, strict=True)),
        size=size,
        align=align,
    )
    if other == record:
        return record
    return replace(record, clang=other, doubt=_difference(record, other))


def _difference(gcc: Record, clang: Record) -> str:
    for a, b in zip(gcc.members or (), clang.members or (), strict=True):
        if a.bit_offset != b.bit_offset:
            what = f"member `{a.name}`" if a.name else "an unnamed member"
            return f"gcc puts {what} at bit {a.bit_offset}, clang at bit {b.bit_offset}"
    if gcc.size != clang.size:
        return f"gcc makes `{spell(gcc)}` {gcc.size} bytes long, clang {clang.size}"
    if gcc.align != clang.align:
        return f"gcc aligns `{spell(gcc)}` to {gcc.align}, clang to {clang.align}"
    inner = next(
        (t for m in gcc.members or () if isinstance(t := _element(m.type), Record) and t.doubt),
        None,
    )
    return inner.doubt if inner else "gcc and clang lay it out differently"


def as_clang(ctype: CType) -> CType:
    """The type with each record in it (not behind a pointer) as clang lays it out."""
    match ctype:
        case Record(clang=Record() as other):
            return other
        case Array(element=element):
            other_element = as_clang(element)
            return ctype if other_element is element else replace(ctype, element=other_element)
        case Typedef(target=target) | Qualified(target=target):
            other_target = as_clang(target)
            return ctype if other_target is target else replace(ctype, target=other_target)
        case _:
            return ctype


def _element(ctype: CType) -> CType:
    """What an object of this type consists of, once arrays are taken apart."""
    ctype = bare(ctype)
    while isinstance(ctype, Array):
        ctype = bare(ctype.element)
    return ctype


def _obstacle(m: Member) -> str:
    name = f"member `{m.name}`" if m.name else "an unnamed member"
    match _element(m.type):
        case Unknown(name=spelling, reason=reason):
            return f"{name} has type `{spelling}`: {reason}"
        case Record(members=None) as record:
            return f"{name}: " + (record.doubt or f"`{spell(record)}` is incomplete here")
        case Void() | Function():
            return f"{name} is not an object"
        case _:
            if m.bit_width is not None and align_of(m.type) > 16:
                # gcc then rounds by BIGGEST_ALIGNMENT, which -mavx changes (place_field, offset_align).
                return f"where {name}, a bit-field of an over-aligned type, is depends on compiler flags"
            return f"{name} is an _Atomic aggregate" if is_atomic_aggregate(m.type) else ""


def is_atomic_aggregate(ctype: CType) -> bool:
    """_Atomic raises the alignment of an aggregate, and clang its size: neither is part of our types."""
    while isinstance(ctype, Typedef | Qualified | Array):
        if isinstance(ctype, Qualified) and "_Atomic" in ctype.qualifiers and isinstance(bare(ctype), Record | Complex):
            return True
        ctype = ctype.element if isinstance(ctype, Array) else ctype.target
    return False


def _up(offset: int, align: int) -> int:
    return (offset + align - 1) // align * align


def _field_align(m: Member, packed: bool, limit: int) -> int:
    """Alignment in bits of a member that is no bit-field; both compilers agree on it.

    `packed` takes what the type asks for away, but not an `aligned` on the member itself, and `#pragma pack` limits
    both (gcc layout_decl: packing supersedes the alignment from the type, but defers to the declaration's own).
    """
    align = 1 if packed or m.packed else align_of(m.type)
    align = max(align, m.aligned or 1) * _BYTE
    return min(align, limit) if limit else align


def _gcc(kind: str, members: Sequence[Member], packed: bool, limit: int, align: int) -> tuple[list[int], int, int]:
    """Bit offsets of the members, size and alignment in bytes, by gcc's place_field."""
    record_align = align * _BYTE
    position = end = 0
    offsets = []
    for m in members:
        if kind == "union":
            position = 0
        if m.bit_width is None:
            desired = _field_align(m, packed, limit)
            record_align = max(record_align, desired)
            position = _up(position, desired)
            width = size_of(m.type) * _BYTE
        else:
            width = m.bit_width
            field_packed = packed or m.packed
            type_align = align_of(m.type) * _BYTE
            desired = (m.aligned or 0) * _BYTE or 1
            whole = False
            if width == 0:
                # Not influenced by any packing (layout_decl), and without a name it does not align the record.
                desired = max(desired, type_align)
            else:
                # A bit-field that is a whole integer on its boundary becomes a plain member (layout_decl).
                whole = width in (8, 16, 32, 64, 128) and position % width == 0 and not (width > 8 and field_packed)
                if whole:
                    desired = max(desired, width)
                if limit:
                    desired = min(desired, limit)
                if m.name:
                    lowered = (
                        min(type_align, limit) if limit else min(type_align, _BYTE) if field_packed else type_align
                    )
                    record_align = max(record_align, desired, lowered)
            position = _up(position, desired)
            # psABI 3.1.2: a bit-field must entirely reside in a storage unit appropriate for its declared type.
            if width and not whole and not limit and not field_packed:
                unit = size_of(m.type) * _BYTE
                if (position % type_align + width + type_align - 1) // type_align > unit // type_align:
                    position = _up(position, type_align)
        offsets.append(position)
        position += width
        end = max(end, position)
    return offsets, _up((end + 7) // 8, record_align // _BYTE), record_align // _BYTE


def _clang(kind: str, members: Sequence[Member], packed: bool, limit: int, align: int) -> tuple[list[int], int, int]:
    """Bit offsets of the members, size and alignment in bytes, by clang's LayoutField and LayoutBitField."""
    record_align = align * _BYTE
    position = end = 0
    offsets = []
    for m in members:
        if kind == "union":
            position = 0
        if m.bit_width is None:
            field_align = _field_align(m, packed, limit)
            position = _up(position, field_align)
            width = size_of(m.type) * _BYTE
        else:
            width = m.bit_width
            field_packed = packed or m.packed
            unit = size_of(m.type) * _BYTE
            unpacked = field_align = align_of(m.type) * _BYTE
            if field_packed and width:
                field_align = 1
            explicit = (m.aligned or 0) * _BYTE
            field_align, unpacked = max(field_align, explicit), max(unpacked, explicit)
            if limit and width:
                unpacked = min(unpacked, limit)
                field_align = unpacked if field_packed else min(field_align, limit)
            if width == 0 or (not limit and position % field_align + width > unit):
                position = _up(position, field_align)
            elif explicit and (not limit or explicit <= limit):
                position = _up(position, explicit)
            if not m.name:
                field_align = 1
        offsets.append(position)
        record_align = max(record_align, field_align)
        position += width
        end = max(end, position)
    return offsets, _up((end + 7) // 8, record_align // _BYTE), record_align // _BYTE


def data_mask(ctype: CType) -> bytes:
    """One byte for each byte of an object of this type, with a bit set where the object holds data, not padding."""
    match ctype:
        case Typedef(target=target) | Qualified(target=target):
            return data_mask(target)
        case Float(size=size, data=data):
            return b"\xff" * data + bytes(size - data)
        case Complex(element=element):
            return data_mask(element) * 2
        case BitInt(width=width, size=size):
            # psABI 3.1.2: the value of the unused bits beyond the width is unspecified.
            return ((1 << width) - 1).to_bytes(size, "little")
        case Vector(element=element, size=size):
            return data_mask(element) * (size // (size_of(element) or 1))
        case Array(element=element, count=count):
            return data_mask(element) * (count or 0)
        case Record(members=members, size=size):
            return _record_mask(members or ()).to_bytes(size, "little")
        case Int() | Enum() | Pointer():
            return b"\xff" * size_of(ctype)
        case Void() | Function() | Unknown():
            return b""


def _record_mask(members: Sequence[Member]) -> int:
    mask = 0
    for m in members:
        if m.bit_width is None:
            mask |= int.from_bytes(data_mask(m.type), "little") << m.bit_offset
        elif m.name:  # unnamed bit-fields are padding (C11 6.7.9p9)
            mask |= ((1 << m.bit_width) - 1) << m.bit_offset
    return mask

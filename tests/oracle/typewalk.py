"""Walks specc's types to say which bits of an object are data and where a member is.

Only for `compare`: the offsets come from specc's types, this adds none. A record may carry a second layout, clang's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from specc import prototype as p


def _members(record: p.Record, clang: bool) -> tuple[p.Member, ...]:
    chosen = record.clang if clang and record.clang is not None else record
    return chosen.members or ()


def _size(type_: p.CType, clang: bool) -> int:
    bare = p.bare(type_)
    if isinstance(bare, p.Record) and clang and bare.clang is not None:
        return bare.clang.size
    if isinstance(bare, p.Array):
        return (bare.count or 0) * _size(bare.element, clang)
    return p.size_of(bare)


def _data(type_: p.CType, at: int, clang: bool) -> Iterator[tuple[int, int]]:
    """(first bit, number of bits) of all data of a type that begins at bit `at`."""
    match p.bare(type_):
        case p.Int(kind="bool"):
            yield at, 1
        case p.Int(size=size) | p.Enum(size=size) | p.Vector(size=size):
            yield at, 8 * size
        case p.BitInt(width=width):
            yield at, width
        case p.Float(data=data):
            yield at, 8 * data
        case p.Pointer():
            yield at, 64
        case p.Complex(element=element):
            yield from _data(element, at, clang)
            yield from _data(element, at + 8 * element.size, clang)
        case p.Array(element=element, count=count):
            for index in range(count or 0):
                yield from _data(element, at + 8 * index * _size(element, clang), clang)
        case p.Record() as record:
            for one in _members(record, clang):
                if one.bit_width is None:
                    yield from _data(one.type, at + one.bit_offset, clang)
                elif one.name:
                    yield at + one.bit_offset, one.bit_width
        case _:
            return


def known(type_: p.CType, clang: bool) -> bool:
    """Whether specc has laid the type out."""
    match p.bare(type_):
        case p.Unknown():
            return False
        case p.Array(element=element):
            return known(element, clang)
        case p.Record() as record:
            return record.complete and all(known(one.type, clang) for one in _members(record, clang))
        case _:
            return True


def data_mask(type_: p.CType, clang: bool, size: int) -> bytes:
    """The data bits of an object as bytes; bits beyond `size` make it longer, so that they are noticed."""
    bits = 0
    for first, count in _data(p.decay(type_), 0, clang):
        bits |= ((1 << count) - 1) << first
    return bits.to_bytes(max(size, (bits.bit_length() + 7) // 8), "little")


def leaf_offset(type_: p.CType, path: str, clang: bool) -> int | None:
    """Where ".a.b[2]" begins, in bits; None when specc's types have no such member."""
    at = 0
    here: p.CType = p.decay(type_)
    for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", path):
        bare = p.bare(here)
        if index and isinstance(bare, p.Array):
            at += 8 * int(index) * _size(bare.element, clang)
            here = bare.element
            continue
        found = _find(bare, name, clang) if isinstance(bare, p.Record) else None
        if found is None:
            return None
        at += found[0]
        here = found[1]
    return at


def _find(record: p.Record, name: str, clang: bool) -> tuple[int, p.CType] | None:
    """A member by name, also inside anonymous structs and unions."""
    for one in _members(record, clang):
        inner = p.bare(one.type)
        if one.name == name:
            return one.bit_offset, one.type
        if not one.name and one.bit_width is None and isinstance(inner, p.Record):
            deeper = _find(inner, name, clang)
            if deeper is not None:
                return one.bit_offset + deeper[0], deeper[1]
    return None

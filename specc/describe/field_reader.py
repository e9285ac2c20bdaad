"""The fields of an event in a description: their rows in, `Field`s out with the padding between them, or `Damage`.

    fields_of(rows, 16, types, names)           # (Field("probe", 0, 4, "__u32", ...), ...)

What a decoder relies on is proved here: fields do not overlap, lie in the event, and refer to fields that are there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from specc.describe.rows import Damage, Json, mapping, maybe, named_values, size_in, take, unless
from specc.describe.type_reader import Types
from specc.ir import CONTEXT, STACKS, Field, Names, Role
from specc.prototype import Enum, Int, bare, size_of

_NAMED: Final = {(kind, size, None) for kind in (Int, Enum) for size in (1, 2, 4, 8)}
_STACKS: Final = {f"{whose}_stack" for whose in STACKS}
_WIDTHS: Final = {"char": 1} | {f"__{s}{8 * n}": n for s in "us" for n in (1, 2, 4, 8)}


def fields_of(rows: list[Json], size: int, types: Types, names: Sequence[Names]) -> tuple[Field, ...]:
    """The fields of an event of that many bytes."""
    fields = tuple(_with_padding([_field(mapping(row), types, names) for row in rows], size))
    _check_fields(fields, size)
    return fields


def _field(row: dict[str, Json], types: Types, names: Sequence[Names]) -> Field:
    c_type = take(row, "as", str)
    unless(c_type in _WIDTHS, f"`{c_type}` is no type of a field")
    count = None if row.get("count") is None else size_in(row, "count")
    role = take(row, "role", str)
    unless(role in {r.value for r in Role}, f"`{role}` is no role of a field")
    absent = None if row.get("absent") is None else size_in(row, "absent")
    named = maybe(row, "names", int)
    unless(named is None or 0 <= named < len(names), "a field has names that are not there")
    return Field(
        take(row, "name", str),
        size_in(row, "at"),
        _WIDTHS[c_type] * (1 if count is None else count),
        c_type,
        count,
        Role(role),
        None if row.get("type") is None else types.read(row["type"]),
        maybe(row, "format", str),
        maybe(row, "status", str),
        absent,
        "",
        maybe(row, "key", str) or "",
        maybe(row, "place", str) or "",
        maybe(row, "length", str),
        None if named is None else names[named],
    )


def names_of(row: dict[str, Json]) -> Names:
    kind = take(row, "kind", str)
    unless(kind in ("enum", "flags"), f"`{kind}` is no way to name values")
    members = tuple(named_values(take(row, "members", list)))
    unless(all(name and name.isprintable() for name, _ in members), "a name is no text for a person")
    return Names(kind, take(row, "source", str), members, row.get("btf") is True)


def _with_padding(fields: list[Field], size: int) -> Iterator[Field]:
    """Padding is not written down: it is what lies between the fields."""
    at = number = 0
    for field in [*fields, None]:
        start = size if field is None else field.offset
        unless(start >= at, "fields overlap, or the event is too small for them")
        if start > at:
            yield Field(f"__pad{number}", at, start - at, "__u8", start - at, Role.PADDING)
            number += 1
        if field is not None:
            yield field
            at = field.offset + field.size


def _check_fields(fields: tuple[Field, ...], size: int) -> None:
    """What a decoder relies on."""
    named = {f.name: f for f in fields}
    unless(len(named) == len(fields), "two fields have one name")
    keys = [f.record_key for f in fields if f.role in (Role.CONTEXT, Role.VALUE, Role.STACK)]
    unless(len(set(keys)) == len(keys) and "probe" not in keys, "two values have one name")
    first = fields[0] if fields else None
    unless(first is not None and first.role is Role.PROBE and first.size == 4, "an event has no probe number")
    unless(size % 8 == 0, "the size of an event is not a multiple of 8")
    absent = [f for f in fields if f.role is Role.ABSENT]
    for field in fields:
        if field.status is not None:
            status = named.get(field.status)
            fine = status is not None and status.role is Role.STATUS and status.c_type == "__s32"
            unless(fine, f"`{field.name}` has a status that is no field")
        if field.length is not None:
            length = named.get(field.length)
            fine = length is not None and length.role is Role.LENGTH and length.c_type == "__u32"
            fine = fine and field.c_type in ("char", "__u8") and field.count is not None
            fine = fine and (field.c_type == "char" or field.offset == (length.offset if length else 0) + 4)
            unless(fine, f"`{field.name}` has a length that is no field")
        if field.absent_bit is not None:
            fine = len(absent) == 1 and absent[0].c_type == "__u64" and field.absent_bit < 64
            unless(fine, f"`{field.name}` has no bit that says whether it is there")
        if field.role is Role.CONTEXT:
            fine = field.name in CONTEXT and (field.c_type, field.count) == CONTEXT[field.name][::2]
            unless(fine, f"`{field.name}` is no context field")
        if field.role is Role.SPACE:
            fine = field.c_type == "__u64" and field.count is None and "pid" in named
            unless(fine, f"`{field.name}` tells no address space")
        if field.role is Role.STACK:
            fine = field.name in _STACKS and field.c_type == "__u32" and field.count is None
            fine = fine and field.status is not None and named[field.status].offset + 4 == field.offset
            unless(fine, f"`{field.name}` is no stack")
        if field.role is Role.VALUE:
            if field.type is None:
                raise Damage(f"`{field.name}` has no type")
            unless(size_of(field.type) <= field.size, f"`{field.name}` is smaller than its type")
            number = (type(bare(field.type)), field.size, field.count) in _NAMED and field.size == size_of(field.type)
            unless(field.names is None or number, f"`{field.name}` has names, and is no integer")
        else:
            unless(field.names is None, f"`{field.name}` has names, and is no value")

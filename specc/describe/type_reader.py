"""The types of a description: their rows in, `CType`s out, or `Damage`.

    types = Types([{"record": "struct", "tag": "s", "members": [["a", "int", 0]], "size": 4, "align": 4}])
    types.read({"pointer": "char"})             # Pointer(CHAR)
    types.read(0)                               # Record("struct", "s", (Member("a", INT, 0),), 4, 4)

Records and enums stand in a table, in which each refers to those before it; any other type is written out.
"""

from __future__ import annotations

from typing import Final

from specc.describe.rows import MOST_BYTES, Damage, Json, mapping, maybe, named_values, size_in, take, unless
from specc.prototype import (
    FLOATS,
    INTS,
    VOID,
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
    bare,
    size_of,
)

_DEEPEST: Final = 64


class Types:
    def __init__(self, rows: list[Json]) -> None:
        self._table: list[CType] = []
        for row in rows:
            self._table.append(self._tabled(mapping(row)))

    def read(self, value: Json, depth: int = 0) -> CType:
        unless(depth < _DEEPEST, "a type nests too deeply")

        def deeper(inner: Json) -> CType:
            return self.read(inner, depth + 1)

        match value:
            case bool():
                raise Damage("true and false are no types")
            case "void":
                return VOID
            case str(name) if name in INTS:
                return INTS[name]
            case str(name) if name in FLOATS:
                return FLOATS[name]
            case int(index) if 0 <= index < len(self._table):
                return self._table[index]
            case {"int": str(name), "kind": str(kind)}:
                return Int(name, _scalar(value), take(value, "signed", bool), kind)
            case {"float": str(name)}:
                return Float(name, _scalar(value), size_in(value, "data"))
            case {"bits": int(width)}:
                size = size_in(value, "size")
                unless(0 < width <= 8 * size, "a _BitInt has more bits than its storage")
                return BitInt(width, take(value, "signed", bool), size, size_in(value, "align"))
            case {"complex": element}:
                kind_of = deeper(element)
                if not isinstance(kind_of, Int | Float):
                    raise Damage("a complex type has a part that is no number")
                return Complex(kind_of)
            case {"vector": element}:
                return Vector(deeper(element), size_in(value, "size"))
            case {"pointer": target}:
                return Pointer(deeper(target))
            case {"array": element, "count": None}:
                return Array(deeper(element), None)
            case {"array": element}:
                array = Array(deeper(element), size_in(value, "count"))
                unless(size_of(array) <= MOST_BYTES, "an array is too large")
                return array
            case {"function": result}:
                inside = tuple(deeper(p) for p in take(value, "parameters", list))
                return Function(deeper(result), inside, take(value, "variadic", bool))
            case {"typedef": str(name), "of": target}:
                return Typedef(name, deeper(target), None if value.get("align") is None else size_in(value, "align"))
            case {"qualified": list(words), "of": target}:
                unless(all(isinstance(w, str) for w in words), "a qualifier is no word")
                return Qualified(deeper(target), tuple(words))
            case {"unknown": str(name)}:
                return Unknown(name, "it is not known to specc")
            case _:
                raise Damage(f"`{str(value)[:40]}` is no type")

    def _tabled(self, row: dict[str, Json]) -> CType:
        if "enum" in row:
            members = list(named_values(take(row, "members", list)))
            size = size_in(row, "size")
            unless(size in (0, 1, 2, 4, 8), "an enum has a size that no integer has")
            return Enum(maybe(row, "enum", str), size, take(row, "signed", bool), tuple(members))
        kind = take(row, "record", str)
        unless(kind in ("struct", "union"), f"`{kind}` is no kind of record")
        tag = maybe(row, "tag", str)
        if "members" not in row:
            return Record(kind, tag, None)
        size = size_in(row, "size")
        return Record(
            kind, tag, tuple(self._member(m, size) for m in take(row, "members", list)), size, size_in(row, "align")
        )

    def _member(self, row: Json, record_size: int) -> Member:
        match row:
            case [str(name), kind, int(offset)]:
                member = Member(name, self.read(kind), offset)
                bits = 8 * size_of(member.type)
                unless(offset % 8 == 0, f"member `{name}` does not begin at a byte")
            case [str(name), kind, int(offset), int(bits)]:
                member = Member(name, self.read(kind), offset, bits)
                unless(isinstance(bare(member.type), Int | Enum | BitInt), f"`{name}` is no bit-field")
                unless(0 <= bits <= 8 * size_of(member.type), f"bit-field `{name}` is wider than its type")
            case _:
                raise Damage("a member has no name, type and offset")
        unless(offset >= 0 and offset + bits <= 8 * record_size, f"member `{name}` lies outside of its record")
        return member


def _scalar(row: dict[str, Json]) -> int:
    size = size_in(row, "size")
    unless(size in (1, 2, 4, 8, 16), "a number has a size that none has")
    return size

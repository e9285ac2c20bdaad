"""A description from an object's bytes, or from its text: a `Description` out, or a Stop that says what is wrong.

    description_of(Path("gup.bpf.o").read_bytes(), "gup.bpf.o")
    parse_description(describe(program))

The object may come from anywhere, so nothing in the text is believed that a decoder relies on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, TypeVar

from specc.describe.aggregate import aggregate_of
from specc.describe.nouns import AGGREGATING, SECTION, VERSION, Description, ProbeDescription, TrampolineDescription
from specc.diagnostics import stop
from specc.ir import CONTEXT, STACKS, Event, Field, Names, PathNeed, PlaceConstant, Places, Role, Target
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
    Parameter,
    Pointer,
    Prototype,
    Qualified,
    Record,
    Typedef,
    Unknown,
    Vector,
    bare,
    size_of,
)

# Bounds for texts of unknown origin: beyond them is no event that specc makes.
_MOST_BYTES: Final = 1 << 20
_DEEPEST: Final = 64

Json = Any
T = TypeVar("T")


def description_of(data: bytes, name: str = "the object") -> Description:
    """The description in a BPF object; `name` is how messages call it. Raises Stop."""
    from specc.elf import EM_BPF, NotElf, read_elf

    try:
        elf = read_elf(data)
        section = elf.find(SECTION)
        text = None if section is None else bytes(elf.contents(section))
    except NotElf as problem:
        raise stop("SP460", f"{name} is not an object of specc: {problem}", None) from None
    if elf.machine != EM_BPF:
        raise stop("SP460", f"{name} is an ELF file, and not one for BPF", None)
    if text is None:
        raise stop(
            "SP460", f"{name} has no section {SECTION}", None, help="`specc run` takes objects that `specc build` made"
        )
    try:
        return parse_description(text.rstrip(b"\0").decode("ascii"))
    except UnicodeDecodeError:
        raise stop("SP461", f"the description in {name} is damaged: it is not text", None) from None


def parse_description(text: str) -> Description:
    """A description from its text. Raises Stop when it is of a later specc, or damaged."""
    try:
        root = _Damage.mapping(json.loads(text))
        version = _take(root, "specc", int)
        if version not in (VERSION, AGGREGATING):
            raise stop(
                "SP462",
                f"the object's description has version {version}, and this specc reads versions up to {AGGREGATING}",
                None,
                help="build the object with this specc, or run it with the specc that built it",
            )
        return _Reader(root).description()
    except (ValueError, RecursionError) as problem:
        reason = "it nests too deeply" if isinstance(problem, RecursionError) else str(problem)
        raise stop("SP461", f"the object's description is damaged: {reason}", None) from None


class _Damage(ValueError):
    """The text is not what `describe` writes; says where."""

    @staticmethod
    def unless(condition: bool, reason: str) -> None:
        if not condition:
            raise _Damage(reason)

    @staticmethod
    def mapping(value: Json) -> dict[str, Json]:
        _Damage.unless(isinstance(value, dict), "an object is missing")
        return value  # type: ignore[no-any-return]


def _take(row: dict[str, Json], key: str, kind: type[T]) -> T:
    value = row.get(key)
    # bool is an int to isinstance, and never meant where a number is.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise _Damage(f"`{key}` is missing or is no {kind.__name__}")
    return value


def _maybe(row: dict[str, Json], key: str, kind: type[T]) -> T | None:
    return None if row.get(key) is None else _take(row, key, kind)


def _size(row: dict[str, Json], key: str) -> int:
    value = _take(row, key, int)
    _Damage.unless(0 <= value <= _MOST_BYTES, f"`{key}` is out of range")
    return value


class _Reader:
    def __init__(self, root: dict[str, Json]) -> None:
        self._root = root
        self._types: list[CType] = []
        self._names: list[Names] = []

    def description(self) -> Description:
        for row in _take(self._root, "types", list):
            self._types.append(self._tabled(_Damage.mapping(row)))
        self._names += [_names(_Damage.mapping(row)) for row in _maybe(self._root, "names", list) or ()]
        buffer = _take(self._root, "buffer", str)
        _Damage.unless(buffer in ("ring", "perf"), f"`{buffer}` is no buffer")
        size = _take(self._root, "buffer_size", int)
        _Damage.unless(size > 0, "the buffer has no size")
        rows = _take(self._root, "probes", list)
        probes = tuple(self._probe(_Damage.mapping(row), number) for number, row in enumerate(rows))
        _Damage.unless(len({p.name for p in probes}) == len(probes) > 0, "its probes have no names of their own")
        return Description(_take(self._root, "name", str), buffer, size, probes)

    def _probe(self, row: dict[str, Json], number: int) -> ProbeDescription:
        name = _take(row, "name", str)
        size = _size(row, "size")
        fields = tuple(_with_padding([self._field(_Damage.mapping(f)) for f in _take(row, "fields", list)], size))
        _check_fields(fields, size)
        event = Event(_take(row, "event", str), name, number, size, fields)
        aggregate = _maybe(row, "aggregate", dict)
        return ProbeDescription(
            name,
            _take(row, "kind", str),
            _maybe(row, "function", str),
            self._target(_maybe(row, "target", list)),
            _take(row, "symbol", str),
            _maybe(row, "entry", str),
            self._declaration(row["declaration"]) if row.get("declaration") is not None else None,
            tuple(_take({"used": u}, "used", str) for u in _take(row, "used", list)),
            event,
            self._places(_take(row, "places", dict)) if row.get("places") is not None else None,
            self._trampoline(_take(row, "trampoline", dict)) if row.get("trampoline") is not None else None,
            tuple(self._path(_Damage.mapping(p)) for p in _maybe(row, "paths", list) or ()),
            aggregate_of(aggregate, event) if aggregate is not None else None,
            tuple(_named_values(_maybe(row, "constants", list) or [])),
            tuple(_named_values(_maybe(row, "assumed", list) or [])),
        )

    def _path(self, row: dict[str, Json]) -> PathNeed:
        return PathNeed(
            _take(row, "of", str), _take(row, "argument", str), _take(row, "path", str), self._type(row.get("start")),
            self._type(row.get("type")), None if row.get("bits") is None else _size(row, "bits"),
            None if row.get("at_least") is None else _size(row, "at_least"),
            tuple(self._type(t) for t in _take(row, "through", list)), row.get("optional") is True,
        )  # fmt: skip

    def _trampoline(self, row: dict[str, Json]) -> TrampolineDescription:
        kind = _take(row, "kind", str)
        _Damage.unless(kind in ("fentry", "fexit"), f"`{kind}` is no trampoline")
        places = self._places(_take(row, "places", dict)) if row.get("places") is not None else None
        return TrampolineDescription(kind, _take(row, "symbol", str), places)

    def _places(self, row: dict[str, Json]) -> Places:
        size, room = _size(row, "size"), _take(row, "room", dict)
        for name in room:
            width = 8 if name == "__absent" else 4
            fine = name in ("__absent", "__first", "__length", "__since", "__until")
            _Damage.unless(fine and _size(room, name) + width <= size, f"`{name}` is no constant of a place")
        constants = tuple(self._constant(_Damage.mapping(c), size) for c in _take(row, "constants", list))
        slots = _size(row, "slots")
        _Damage.unless(not slots or {"__first", "__length"} <= set(room), "its stack slots have no constants")
        return Places(
            _take(row, "symbol", str), constants, _take(row, "right_for", str), slots, 0, 0,
            0 if "__absent" in room else None, 0, 0, size, room,
        )  # fmt: skip

    def _constant(self, row: dict[str, Json], size: int) -> PlaceConstant:
        codes = tuple(_take({"code": c}, "code", int) for c in _take(row, "codes", list))
        offset = _size(row, "at")
        _Damage.unless(len(codes) > 0 and offset + 4 * len(codes) <= size, "a place lies outside of the constants")
        _Damage.unless(all(0 <= c <= _MOST_BYTES for c in codes), "a place is nowhere")
        return PlaceConstant(
            _take(row, "of", str),
            _take(row, "argument", str),
            codes,
            len(codes) if row.get("array") else None,
            offset,
            row.get("optional") is True,
            row.get("any_type") is True,
            self._type(row.get("type")),
            None if row.get("part") is None else _size(row, "part"),
        )

    def _declaration(self, value: Json) -> Prototype:
        row = _Damage.mapping(value)
        parameters = []
        for pair in _take(row, "parameters", list):
            match pair:
                case [str() | None as name, kind]:
                    parameters.append(Parameter(name, self._type(kind)))
                case _:
                    raise _Damage("a parameter is not a name and a type")
        return Prototype(
            _take(row, "name", str),
            self._type(row.get("result")),
            tuple(parameters),
            _maybe(row, "variadic", bool) or False,
            source=_maybe(row, "source", str) or "",
            doubt=_maybe(row, "doubt", str) or "",
        )

    @staticmethod
    def _target(row: list[Json] | None) -> Target | None:
        match row:
            case None:
                return None
            case [str(path), str() | None as symbol, int(offset), int() | None as pid, *build] if len(build) < 2:
                _Damage.unless(all(isinstance(b, str) for b in build), "a build id is no text")
                return Target(path, symbol, offset, pid, build[0] if build else None)
            case _:
                raise _Damage("a target is not a path, a symbol, an offset and a pid")

    def _field(self, row: dict[str, Json]) -> Field:
        c_type = _take(row, "as", str)
        _Damage.unless(c_type in _WIDTHS, f"`{c_type}` is no type of a field")
        count = None if row.get("count") is None else _size(row, "count")
        role = _take(row, "role", str)
        _Damage.unless(role in {r.value for r in Role}, f"`{role}` is no role of a field")
        absent = None if row.get("absent") is None else _size(row, "absent")
        names = _maybe(row, "names", int)
        _Damage.unless(names is None or 0 <= names < len(self._names), "a field has names that are not there")
        return Field(
            _take(row, "name", str),
            _size(row, "at"),
            _WIDTHS[c_type] * (1 if count is None else count),
            c_type,
            count,
            Role(role),
            None if row.get("type") is None else self._type(row["type"]),
            _maybe(row, "format", str),
            _maybe(row, "status", str),
            absent,
            "",
            _maybe(row, "key", str) or "",
            _maybe(row, "place", str) or "",
            _maybe(row, "length", str),
            None if names is None else self._names[names],
        )

    def _type(self, value: Json, depth: int = 0) -> CType:
        _Damage.unless(depth < _DEEPEST, "a type nests too deeply")

        def deeper(inner: Json) -> CType:
            return self._type(inner, depth + 1)

        match value:
            case bool():
                raise _Damage("true and false are no types")
            case "void":
                return VOID
            case str(name) if name in INTS:
                return INTS[name]
            case str(name) if name in FLOATS:
                return FLOATS[name]
            case int(index) if 0 <= index < len(self._types):
                return self._types[index]
            case {"int": str(name), "kind": str(kind)}:
                return Int(name, _scalar(value), _take(value, "signed", bool), kind)
            case {"float": str(name)}:
                return Float(name, _scalar(value), _size(value, "data"))
            case {"bits": int(width)}:
                size = _size(value, "size")
                _Damage.unless(0 < width <= 8 * size, "a _BitInt has more bits than its storage")
                return BitInt(width, _take(value, "signed", bool), size, _size(value, "align"))
            case {"complex": element}:
                kind_of = deeper(element)
                if not isinstance(kind_of, Int | Float):
                    raise _Damage("a complex type has a part that is no number")
                return Complex(kind_of)
            case {"vector": element}:
                return Vector(deeper(element), _size(value, "size"))
            case {"pointer": target}:
                return Pointer(deeper(target))
            case {"array": element, "count": None}:
                return Array(deeper(element), None)
            case {"array": element}:
                array = Array(deeper(element), _size(value, "count"))
                _Damage.unless(size_of(array) <= _MOST_BYTES, "an array is too large")
                return array
            case {"function": result}:
                inside = tuple(deeper(p) for p in _take(value, "parameters", list))
                return Function(deeper(result), inside, _take(value, "variadic", bool))
            case {"typedef": str(name), "of": target}:
                return Typedef(name, deeper(target), None if value.get("align") is None else _size(value, "align"))
            case {"qualified": list(words), "of": target}:
                _Damage.unless(all(isinstance(w, str) for w in words), "a qualifier is no word")
                return Qualified(deeper(target), tuple(words))
            case {"unknown": str(name)}:
                return Unknown(name, "it is not known to specc")
            case _:
                raise _Damage(f"`{str(value)[:40]}` is no type")

    def _tabled(self, row: dict[str, Json]) -> CType:
        if "enum" in row:
            members = list(_named_values(_take(row, "members", list)))
            size = _size(row, "size")
            _Damage.unless(size in (0, 1, 2, 4, 8), "an enum has a size that no integer has")
            return Enum(_maybe(row, "enum", str), size, _take(row, "signed", bool), tuple(members))
        kind = _take(row, "record", str)
        _Damage.unless(kind in ("struct", "union"), f"`{kind}` is no kind of record")
        tag = _maybe(row, "tag", str)
        if "members" not in row:
            return Record(kind, tag, None)
        size = _size(row, "size")
        return Record(
            kind, tag, tuple(self._member(m, size) for m in _take(row, "members", list)), size, _size(row, "align")
        )

    def _member(self, row: Json, record_size: int) -> Member:
        match row:
            case [str(name), kind, int(offset)]:
                member = Member(name, self._type(kind), offset)
                bits = 8 * size_of(member.type)
                _Damage.unless(offset % 8 == 0, f"member `{name}` does not begin at a byte")
            case [str(name), kind, int(offset), int(bits)]:
                member = Member(name, self._type(kind), offset, bits)
                _Damage.unless(isinstance(bare(member.type), Int | Enum | BitInt), f"`{name}` is no bit-field")
                _Damage.unless(0 <= bits <= 8 * size_of(member.type), f"bit-field `{name}` is wider than its type")
            case _:
                raise _Damage("a member has no name, type and offset")
        _Damage.unless(offset >= 0 and offset + bits <= 8 * record_size, f"member `{name}` lies outside of its record")
        return member


_NAMED: Final = {(kind, size, None) for kind in (Int, Enum) for size in (1, 2, 4, 8)}
_STACKS: Final = {f"{whose}_stack" for whose in STACKS}
_WIDTHS: Final = {"char": 1} | {f"__{s}{8 * n}": n for s in "us" for n in (1, 2, 4, 8)}


def _scalar(row: dict[str, Json]) -> int:
    size = _size(row, "size")
    _Damage.unless(size in (1, 2, 4, 8, 16), "a number has a size that none has")
    return size


def _names(row: dict[str, Json]) -> Names:
    kind = _take(row, "kind", str)
    _Damage.unless(kind in ("enum", "flags"), f"`{kind}` is no way to name values")
    members = tuple(_named_values(_take(row, "members", list)))
    _Damage.unless(all(name and name.isprintable() for name, _ in members), "a name is no text for a person")
    return Names(kind, _take(row, "source", str), members, row.get("btf") is True)


def _named_values(pairs: list[Json]) -> Iterator[tuple[str, int]]:
    for pair in pairs:
        _Damage.unless(isinstance(pair, list) and len(pair) == 2, "an enumerator is not a name and a value")
        yield _take({"name": pair[0]}, "name", str), _take({"value": pair[1]}, "value", int)


def _with_padding(fields: list[Field], size: int) -> Iterator[Field]:
    """Padding is not written down: it is what lies between the fields."""
    at = number = 0
    for field in [*fields, None]:
        start = size if field is None else field.offset
        _Damage.unless(start >= at, "fields overlap, or the event is too small for them")
        if start > at:
            yield Field(f"__pad{number}", at, start - at, "__u8", start - at, Role.PADDING)
            number += 1
        if field is not None:
            yield field
            at = field.offset + field.size


def _check_fields(fields: tuple[Field, ...], size: int) -> None:
    """What a decoder relies on."""
    named = {f.name: f for f in fields}
    _Damage.unless(len(named) == len(fields), "two fields have one name")
    keys = [f.record_key for f in fields if f.role in (Role.CONTEXT, Role.VALUE, Role.STACK)]
    _Damage.unless(len(set(keys)) == len(keys) and "probe" not in keys, "two values have one name")
    first = fields[0] if fields else None
    _Damage.unless(first is not None and first.role is Role.PROBE and first.size == 4, "an event has no probe number")
    _Damage.unless(size % 8 == 0, "the size of an event is not a multiple of 8")
    absent = [f for f in fields if f.role is Role.ABSENT]
    for field in fields:
        if field.status is not None:
            status = named.get(field.status)
            fine = status is not None and status.role is Role.STATUS and status.c_type == "__s32"
            _Damage.unless(fine, f"`{field.name}` has a status that is no field")
        if field.length is not None:
            length = named.get(field.length)
            fine = length is not None and length.role is Role.LENGTH and length.c_type == "__u32"
            fine = fine and field.c_type in ("char", "__u8") and field.count is not None
            fine = fine and (field.c_type == "char" or field.offset == (length.offset if length else 0) + 4)
            _Damage.unless(fine, f"`{field.name}` has a length that is no field")
        if field.absent_bit is not None:
            fine = len(absent) == 1 and absent[0].c_type == "__u64" and field.absent_bit < 64
            _Damage.unless(fine, f"`{field.name}` has no bit that says whether it is there")
        if field.role is Role.CONTEXT:
            fine = field.name in CONTEXT and (field.c_type, field.count) == CONTEXT[field.name][::2]
            _Damage.unless(fine, f"`{field.name}` is no context field")
        if field.role is Role.SPACE:
            fine = field.c_type == "__u64" and field.count is None and "pid" in named
            _Damage.unless(fine, f"`{field.name}` tells no address space")
        if field.role is Role.STACK:
            fine = field.name in _STACKS and field.c_type == "__u32" and field.count is None
            fine = fine and field.status is not None and named[field.status].offset + 4 == field.offset
            _Damage.unless(fine, f"`{field.name}` is no stack")
        if field.role is Role.VALUE:
            if field.type is None:
                raise _Damage(f"`{field.name}` has no type")
            _Damage.unless(size_of(field.type) <= field.size, f"`{field.name}` is smaller than its type")
            number = (type(bare(field.type)), field.size, field.count) in _NAMED and field.size == size_of(field.type)
            _Damage.unless(field.names is None or number, f"`{field.name}` has names, and is no integer")
        else:
            _Damage.unless(field.names is None, f"`{field.name}` has names, and is no value")

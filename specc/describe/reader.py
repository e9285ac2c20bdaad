"""A description from an object's bytes, or from its text: a `Description` out, or a Stop that says what is wrong.

    description_of(Path("gup.bpf.o").read_bytes(), "gup.bpf.o")
    parse_description(describe(program))

The object may come from anywhere, so nothing in the text is believed that a decoder relies on.
"""

from __future__ import annotations

import json

from specc.describe.aggregate import aggregate_of
from specc.describe.field_reader import fields_of, names_of
from specc.describe.nouns import AGGREGATING, SECTION, VERSION, Description, ProbeDescription, TrampolineDescription
from specc.describe.rows import MOST_BYTES, Damage, Json, mapping, maybe, named_values, size_in, take, unless
from specc.describe.type_reader import Types
from specc.diagnostics import stop
from specc.ir import Event, PathNeed, PlaceConstant, Places, Target
from specc.prototype import Parameter, Prototype


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
        root = mapping(json.loads(text))
        version = take(root, "specc", int)
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


class _Reader:
    def __init__(self, root: dict[str, Json]) -> None:
        self._root = root
        self._types = Types(take(root, "types", list))
        self._names = [names_of(mapping(row)) for row in maybe(root, "names", list) or ()]

    def description(self) -> Description:
        buffer = take(self._root, "buffer", str)
        unless(buffer in ("ring", "perf"), f"`{buffer}` is no buffer")
        size = take(self._root, "buffer_size", int)
        unless(size > 0, "the buffer has no size")
        rows = take(self._root, "probes", list)
        probes = tuple(self._probe(mapping(row), number) for number, row in enumerate(rows))
        unless(len({p.name for p in probes}) == len(probes) > 0, "its probes have no names of their own")
        return Description(take(self._root, "name", str), buffer, size, probes)

    def _probe(self, row: dict[str, Json], number: int) -> ProbeDescription:
        name = take(row, "name", str)
        size = size_in(row, "size")
        fields = fields_of(take(row, "fields", list), size, self._types, self._names)
        event = Event(take(row, "event", str), name, number, size, fields)
        aggregate = maybe(row, "aggregate", dict)
        return ProbeDescription(
            name,
            take(row, "kind", str),
            maybe(row, "function", str),
            self._target(maybe(row, "target", list)),
            take(row, "symbol", str),
            maybe(row, "entry", str),
            self._declaration(row["declaration"]) if row.get("declaration") is not None else None,
            tuple(take({"used": u}, "used", str) for u in take(row, "used", list)),
            event,
            self._places(take(row, "places", dict)) if row.get("places") is not None else None,
            self._trampoline(take(row, "trampoline", dict)) if row.get("trampoline") is not None else None,
            tuple(self._path(mapping(p)) for p in maybe(row, "paths", list) or ()),
            aggregate_of(aggregate, event) if aggregate is not None else None,
            tuple(named_values(maybe(row, "constants", list) or [])),
            tuple(named_values(maybe(row, "assumed", list) or [])),
        )

    def _path(self, row: dict[str, Json]) -> PathNeed:
        return PathNeed(
            take(row, "of", str), take(row, "argument", str), take(row, "path", str), self._types.read(row.get("start")),
            self._types.read(row.get("type")), None if row.get("bits") is None else size_in(row, "bits"),
            None if row.get("at_least") is None else size_in(row, "at_least"),
            tuple(self._types.read(t) for t in take(row, "through", list)), row.get("optional") is True,
        )  # fmt: skip

    def _trampoline(self, row: dict[str, Json]) -> TrampolineDescription:
        kind = take(row, "kind", str)
        unless(kind in ("fentry", "fexit"), f"`{kind}` is no trampoline")
        places = self._places(take(row, "places", dict)) if row.get("places") is not None else None
        return TrampolineDescription(kind, take(row, "symbol", str), places)

    def _places(self, row: dict[str, Json]) -> Places:
        size, room = size_in(row, "size"), take(row, "room", dict)
        for name in room:
            width = 8 if name == "__absent" else 4
            fine = name in ("__absent", "__first", "__length", "__since", "__until")
            unless(fine and size_in(room, name) + width <= size, f"`{name}` is no constant of a place")
        constants = tuple(self._constant(mapping(c), size) for c in take(row, "constants", list))
        slots = size_in(row, "slots")
        unless(not slots or {"__first", "__length"} <= set(room), "its stack slots have no constants")
        return Places(
            take(row, "symbol", str), constants, take(row, "right_for", str), slots, 0, 0,
            0 if "__absent" in room else None, 0, 0, size, room,
        )  # fmt: skip

    def _constant(self, row: dict[str, Json], size: int) -> PlaceConstant:
        codes = tuple(take({"code": c}, "code", int) for c in take(row, "codes", list))
        offset = size_in(row, "at")
        unless(len(codes) > 0 and offset + 4 * len(codes) <= size, "a place lies outside of the constants")
        unless(all(0 <= c <= MOST_BYTES for c in codes), "a place is nowhere")
        return PlaceConstant(
            take(row, "of", str),
            take(row, "argument", str),
            codes,
            len(codes) if row.get("array") else None,
            offset,
            row.get("optional") is True,
            row.get("any_type") is True,
            self._types.read(row.get("type")),
            None if row.get("part") is None else size_in(row, "part"),
        )

    def _declaration(self, value: Json) -> Prototype:
        row = mapping(value)
        parameters = []
        for pair in take(row, "parameters", list):
            match pair:
                case [str() | None as name, kind]:
                    parameters.append(Parameter(name, self._types.read(kind)))
                case _:
                    raise Damage("a parameter is not a name and a type")
        return Prototype(
            take(row, "name", str),
            self._types.read(row.get("result")),
            tuple(parameters),
            maybe(row, "variadic", bool) or False,
            source=maybe(row, "source", str) or "",
            doubt=maybe(row, "doubt", str) or "",
        )

    @staticmethod
    def _target(row: list[Json] | None) -> Target | None:
        match row:
            case None:
                return None
            case [str(path), str() | None as symbol, int(offset), int() | None as pid, *build] if len(build) < 2:
                unless(all(isinstance(b, str) for b in build), "a build id is no text")
                return Target(path, symbol, offset, pid, build[0] if build else None)
            case _:
                raise Damage("a target is not a path, a symbol, an offset and a pid")

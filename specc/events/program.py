"""Functions made for one event: its slots in, Python that unpacks and spells a whole batch in one expression out.

    made = Compiled("gup", event)
    made.build(record)                    # {"probe": "gup", "pid": 7, ...}
    made.json_lines(data, 8, 80, 1000)    # the lines of 1,000 records that begin at byte 8, 80 bytes apart

A generic loop over fields costs several microseconds for each record; an f-string over what `struct` unpacks costs
less than one. The source that is put together here holds generated names and literals that `repr` wrote, never a word
of a spec as code.
"""

from __future__ import annotations

import errno
import json
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from itertools import count
from types import MappingProxyType
from typing import Any

from specc.events.naming import Naming
from specc.events.shape import Items, Leaf, Object, Shape, Slot, Value, number, slots, text
from specc.events.stacks import Stacks, joined
from specc.ir import Event

_CACHED_TEXTS = 1 << 16


class _Texts(dict[bytes, str]):
    """What a char array is spelled as, remembered: the same names of threads come again and again."""

    def __init__(self, spell: Callable[[str], str]) -> None:
        super().__init__()
        self._spell = spell

    def __missing__(self, raw: bytes) -> str:
        if len(self) >= _CACHED_TEXTS:
            self.clear()
        spelled = self[raw] = self._spell(text(raw))
        return spelled


class _Spelled(dict[int, str]):
    """What a named integer, or a stack, is spelled as, remembered."""

    def __init__(self, naming: Naming | Stacks, spell: Callable[[Any], str]) -> None:
        super().__init__()
        self._naming = naming
        self._spell = spell

    def __missing__(self, value: int) -> str:
        if len(self) >= _CACHED_TEXTS:
            self.clear()
        spelled = self[value] = self._spell(self._naming[value])
        return spelled


def dumps(value: Value) -> str:
    """Compact JSON in one line; a Decimal is written with all its digits."""
    match value:
        case Decimal():
            return str(value)
        case list():
            return f"[{','.join(map(dumps, value))}]"
        case dict():
            return "{" + ",".join(f"{json.dumps(k)}:{dumps(v)}" for k, v in value.items()) + "}"
        case _:
            return json.dumps(value)


def error_name(status: int) -> str:
    """The name of a negative errno: -14 is "EFAULT". One that has no name keeps its number."""
    return errno.errorcode.get(-status, f"errno {-status}")


def csv_cell(value: str) -> str:
    """A cell as RFC 4180 has it."""
    if any(c in value for c in ',"\r\n') or value.strip() != value:
        return '"' + value.replace('"', '""') + '"'
    return value


class _Code:
    """Leaves that the code unpacks, and the constants that it uses, each under a generated name."""

    def __init__(self) -> None:
        self._numbers = count()
        self.leaves: dict[tuple[int, str], str] = {}
        self.names: dict[str, object] = {
            "B": ("false", "true"),
            "D": dumps,
            "E": error_name,
            "J": _Texts(json.dumps),
            "N": number,
            "NULL": "null",
            "Q": lambda value: json.dumps(number(value)),
            "S": str,
            "T": _Texts(str),
            "C": _Texts(csv_cell),
            "K": csv_cell,
            "EMPTY": "",
            "TRUE": "true",
        }

    def variable(self, offset: int, code: str) -> str:
        return self.leaves.setdefault((offset, code), f"v{len(self.leaves)}")

    def constant(self, value: object) -> str:
        name = f"c{next(self._numbers)}"
        self.names[name] = value
        return name

    def value(self, of: Shape) -> str:
        """An expression for the value."""
        match of:
            case Object(members=members):
                return "{" + ", ".join(f"{self.constant(k)}: {self.value(v)}" for k, v in members) + "}"
            case Items(items=items):
                return f"[{', '.join(map(self.value, items))}]"
            case Leaf(kind="nothing"):
                return "None"
            case Leaf(kind=kind, shift=shift, width=width):
                v = self.variable(of.offset, of.code)
                mask = (1 << width) - 1
                match kind:
                    case "int" | "bool":
                        return v
                    case "truth":
                        return f"({v} != 0)"
                    case "bits truth":
                        return f"({v} >> {shift} & {mask} != 0)"
                    case "bits" if of.signed:
                        sign = 1 << width - 1
                        return f"(({v} >> {shift} & {mask} ^ {sign}) - {sign})"
                    case "bits":
                        return f"({v} >> {shift} & {mask})"
                    case "float":
                        return f"({v} if {v} - {v} == 0 else N({v}))"
                    case "text":
                        return f"T[{v}]"
                    case "named":
                        return f"{self.constant(of.naming)}[{v}]"
                    case "stack":
                        return f"[*{self.constant(of.stacks)}[{v}]]"
                    case _:
                        return f"{self.constant(of.convert)}({v})"

    def json_text(self, of: Shape) -> str:
        """An expression that is spelled as the value's JSON by str()."""
        match of:
            case Leaf(kind="int" | "bits" | "wide"):
                return self.value(of)
            case Leaf(kind="bool" | "truth" | "bits truth" | "wide truth"):
                return f"B[{self.value(of)}]"
            case Leaf(kind="float"):
                v = self.variable(of.offset, of.code)
                return f"({v} if {v} - {v} == 0 else Q({v}))"
            case Leaf(kind="text"):
                return f"J[{self.variable(of.offset, of.code)}]"
            case Leaf(naming=naming) if naming is not None:
                return f"{self.constant(_Spelled(naming, json.dumps))}[{self.variable(of.offset, of.code)}]"
            case Leaf(stacks=stacks) if stacks is not None:
                return f"{self.constant(_Spelled(stacks, dumps))}[{self.variable(of.offset, of.code)}]"
            case _:
                return f"D({self.value(of)})"

    def csv_text(self, of: Shape) -> str:
        match of:
            case Leaf(kind="int" | "bits" | "wide"):
                return self.value(of)
            case Leaf(kind="bool" | "truth" | "bits truth" | "wide truth"):
                return f"B[{self.value(of)}]"
            case Leaf(kind="text"):
                return f"C[{self.variable(of.offset, of.code)}]"
            case Leaf(naming=naming) if naming is not None:
                spelled = _Spelled(naming, lambda value: csv_cell(str(value)))
                return f"{self.constant(spelled)}[{self.variable(of.offset, of.code)}]"
            case Leaf(stacks=stacks) if stacks is not None:
                spelled = _Spelled(stacks, lambda texts: csv_cell(joined(texts)))
                return f"{self.constant(spelled)}[{self.variable(of.offset, of.code)}]"
            case Leaf(kind="bytes"):
                return self.value(of)
            case Leaf(kind="float" | "number"):
                return f"S({self.value(of)})"
            case Leaf(kind="nothing"):
                return "EMPTY"
            case _:
                return f"K(D({self.value(of)}))"

    def json_pieces(self, of: Shape) -> Iterator[str | tuple[str]]:
        """JSON as literal texts and, each in a tuple, expressions."""
        match of:
            case Object(members=members):
                yield "{"
                for number_, (name, inner) in enumerate(members):
                    yield ("," if number_ else "") + json.dumps(name) + ":"
                    yield from self.json_pieces(inner)
                yield "}"
            case Items(items=items):
                yield "["
                for number_, inner in enumerate(items):
                    yield "," if number_ else ""
                    yield from self.json_pieces(inner)
                yield "]"
            case _:
                yield (self.json_text(of),)


def cells(key: str, of: Shape) -> Iterator[tuple[str, Shape]]:
    """A value as columns of a flat table: a struct gives one for each member, an array is one."""
    if isinstance(of, Object):
        for name, inner in of.members:
            yield from cells(f"{key}.{name}", inner)
    else:
        yield key, of


class Compiled:
    """What is made for one event, each function when it is first wanted."""

    def __init__(self, probe: str, event: Event, stacks: Mapping[str, Stacks] = MappingProxyType({})) -> None:
        self.probe = probe
        self.event = event
        self.slots = slots(event, stacks)

    @cached_property
    def build(self) -> Callable[[bytes | memoryview], dict[str, Any]]:
        """A record's bytes to its dict."""
        code = _Code()
        body = [f"out = {{'probe': {self.probe!r}}}"]
        for slot in self.slots:
            key = repr(slot.key)
            value = code.value(slot.shape)
            store = [f"out[{key}] = {value}"]
            if slot.cut is not None:
                length = code.variable(slot.cut[0], "I")
                store += [f"if {length} > {slot.cut[1]}:", f"    out[{slot.key + '_truncated'!r}] = True"]
            if slot.status is not None:
                status = code.variable(slot.status, "i")
                failed = [f"out[{key}] = None", f"out[{slot.key + '_error'!r}] = E({status})"]
                store = [f"if {status}:", *(f"    {f}" for f in failed), "else:", *(f"    {line}" for line in store)]
            if slot.absent is not None:
                absent = code.variable(slot.absent[0], "Q")
                store = [
                    f"if {absent} >> {slot.absent[1]} & 1:",
                    f"    out[{key}] = None",
                    "else:",
                    *(f"    {line}" for line in store),
                ]
            body += store
        return self._function(code, body, "out")

    @cached_property
    def csv_row(self) -> Callable[[bytes | memoryview], dict[str, str]]:
        """A record's bytes to its cells by the names of their columns."""
        code = _Code()
        body = [f"out = {{'probe': {csv_cell(self.probe)!r}}}"]
        for slot in self.slots:
            for name, expression in self._csv_cells(slot, code):
                body.append(f"out[{name!r}] = {expression}")
        return self._function(code, body, "out")

    def csv_columns(self) -> list[str]:
        return ["probe", *(name for slot in self.slots for name, _ in self._csv_cells(slot, _Code()))]

    def json_lines(self, data: memoryview, first: int, step: int, number_of: int) -> list[str]:
        """The lines of `number_of` records that lie `step` bytes apart from `first` on."""
        return self._many("json", step)(data[first : first + number_of * step])

    def csv_lines(self, data: memoryview, first: int, step: int, number_of: int, columns: Sequence[str]) -> list[str]:
        return self._many(("csv", *columns), step)(data[first : first + number_of * step])

    # --- how they are made --------------------------------------------------------------------------------------------

    def _csv_cells(self, slot: Slot, code: _Code) -> Iterator[tuple[str, str]]:
        conditions = []
        if slot.absent is not None:
            conditions.append(f"({code.variable(slot.absent[0], 'Q')} >> {slot.absent[1]} & 1)")
        status = None if slot.status is None else code.variable(slot.status, "i")
        if status is not None:
            conditions.append(status)
        for name, inner in cells(slot.key, slot.shape):
            expression = code.csv_text(inner)
            yield name, f"(EMPTY if {' or '.join(conditions)} else {expression})" if conditions else expression
        if slot.cut is not None:
            length = code.variable(slot.cut[0], "I")
            wanted = " and ".join([f"{length} > {slot.cut[1]}", *(f"not {c}" for c in conditions)])
            yield f"{slot.key}_truncated", f"(TRUE if {wanted} else EMPTY)"
        if status is not None:
            yield f"{slot.key}_error", f"(E({status}) if {' and not '.join(reversed(conditions))} else EMPTY)"

    def _json_pieces(self, code: _Code) -> Iterator[str | tuple[str]]:
        yield f'{{"probe":{json.dumps(self.probe)}'
        for slot in self.slots:
            yield f",{json.dumps(slot.key)}:"
            if slot.absent is None:
                yield from code.json_pieces(slot.shape)
            else:
                absent = code.variable(slot.absent[0], "Q")
                yield (f"(NULL if {absent} >> {slot.absent[1]} & 1 else {code.json_text(slot.shape)})",)
        yield "}\n"

    def _csv_pieces(self, code: _Code, columns: Iterable[str]) -> Iterator[str | tuple[str]]:
        mine = {name: e for slot in self.slots for name, e in self._csv_cells(slot, code)}
        for number_, column in enumerate(columns):
            yield "," if number_ else ""
            if column == "probe":
                yield csv_cell(self.probe)
            elif column in mine:
                yield (mine[column],)
        yield "\n"

    def _many(self, what: str | tuple[str, ...], step: int) -> Callable[[memoryview], list[str]]:
        """A function that spells records `step` bytes apart, remembered."""
        key = (what, step)
        if key not in self._made:
            code = _Code()
            pieces = self._json_pieces(code) if what == "json" else self._csv_pieces(code, what[1:])
            # Literals and f-strings side by side are one f-string to Python.
            line = " ".join(repr(p) if isinstance(p, str) else "f'{" + f"({p[0]})" + "}'" for p in pieces)
            statuses = {s.status for s in self.slots if s.status is not None} if what == "json" else set()
            cuts = sorted({s.cut for s in self.slots if s.cut is not None}) if what == "json" else []
            if statuses or cuts:
                failed = " or ".join(
                    [code.variable(s, "i") for s in sorted(statuses)]
                    + [f"{code.variable(offset, 'I')} > {held}" for offset, held in cuts]
                )
                code.names["slow"] = self._slow_line
                line = f"slow(r) if {failed} else {line}"
            patterns, lanes = _lanes(code, step)
            rows = [f"{code.constant(p.iter_unpack)}(data)" for p in patterns]
            targets = [f"({', '.join(names)},)" for names in lanes]
            if statuses or cuts:
                code.names["rows"] = lambda data: (data[i : i + step] for i in range(0, len(data), step))
                rows.append("rows(data)")
                targets.append("r")
            if not rows:
                code.names["rows"] = lambda data: range(0, len(data), step)
                rows, targets = ["rows(data)"], ["r"]
            source = f"zip({', '.join(rows)})" if len(rows) > 1 else rows[0]
            target = ", ".join(targets)
            exec(f"def many(data):\n    return [{line} for {target} in {source}]", code.names)
            self._made[key] = code.names["many"]  # type: ignore[assignment]
        return self._made[key]

    @cached_property
    def _made(self) -> dict[tuple[object, int], Callable[[memoryview], list[str]]]:
        return {}

    def _slow_line(self, record: memoryview) -> str:
        return dumps(self.build(record[: self.event.size])) + "\n"

    def _function(self, code: _Code, body: list[str], result: str) -> Callable[[bytes | memoryview], dict[str, Any]]:
        patterns, lanes = _lanes(code, self.event.size)
        unpack = [
            f"{', '.join(names)}, = {code.constant(p.unpack)}(record)" for p, names in zip(patterns, lanes, strict=True)
        ]
        lines = "\n".join(f"    {line}" for line in [*unpack, *body, f"return {result}"])
        exec(f"def made(record):\n{lines}", code.names)
        return code.names["made"]  # type: ignore[return-value]


def _lanes(code: _Code, size: int) -> tuple[list[struct.Struct], list[list[str]]]:
    """Patterns of `size` bytes that unpack all leaves, and the variables of each: leaves that overlap (those of a
    union, or bit-fields beside others) cannot be in one."""
    lanes: list[tuple[list[str], list[str], int]] = []
    for (offset, what), name in sorted(code.leaves.items()):
        for number_, (parts, names, end) in enumerate(lanes):
            if end <= offset:
                lanes[number_] = ([*parts, f"{offset - end}x{what}"], [*names, name], offset + _width(what))
                break
        else:
            lanes.append(([f"{offset}x{what}"], [name], offset + _width(what)))
    patterns = [struct.Struct(f"<{''.join(parts)}{size - end}x") for parts, _, end in lanes]
    return patterns, [names for _, names, _ in lanes]


def _width(code: str) -> int:
    return struct.calcsize(f"<{code}")

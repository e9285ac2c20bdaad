"""A Python module for programs that read a program's events: `Program` in, its text out.

    emit_python(program)        # the text of gup_events.py

The module needs the standard library and libbpf, not specc. What it decodes is what `specc.events` decodes: the tests
compare the two record for record. Attributes hold what Python has for a value (bytes, tuples, dataclasses, floats that
may be nan); its function `record` turns them into the flat object that `specc run --format jsonl` writes.
"""

from __future__ import annotations

import builtins
import keyword
from collections.abc import Iterable
from typing import Final

from specc.diagnostics import stop
from specc.emit import template
from specc.ir import Event, Field, Names, Probe, Program, Role
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
    Record,
    Typedef,
    Vector,
    bare,
    size_of,
    spell,
)
from specc.records import CONTEXT_MEANING, STACK_MEANING, unit_of

# What the template defines or uses, and may therefore name no class of an event.
_TAKEN: Final = frozenset({"Any", "ClassVar", "Context", "Decimal", "Event", "Iterator", "TypeAlias", *dir(builtins)})
# Words that annotations use: an attribute by such a name would hide it from those after.
_WORDS: Final = frozenset({"bool", "bytes", "float", "int", "str", "tuple", "PROBE"})
_HELPERS: Final = ("text", "int", "uint", "bits", "float", "extended", "quad", "error", "flags")
_LOCALS: Final = frozenset({"record", "range"})
_CODES: Final = {1: "b", 2: "h", 4: "i", 8: "q"}
_FLOATS: Final = {"_Float16": "e", "float": "f", "double": "d"}
_DEEPEST: Final = 8  # arrays of arrays, whose loops each have a variable: i, i2, ...


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute of a class. `key` is its name in records where Python needs another; `default` is of those that a
    record leaves out, `value` the expression that it is decoded by."""

    name: str
    type: str
    note: str
    value: str
    default: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class Class:
    name: str
    note: str
    attributes: tuple[Attribute, ...]


@dataclass(frozen=True, slots=True)
class EventClass:
    """An event's class; `layout` is for `struct`, and unpacks to the variables `unpacked`."""

    probe: str
    number: int
    size: int
    made: Class
    layout: str
    unpacked: tuple[str, ...]


def emit_python(program: Program) -> str:
    """The module: a class per event and per struct, `decode`, `record`, `events` and `lost`. Raises Stop when there are no
    events: what a program counts in the kernel, `specc run` and `specc.open` take out."""
    if not program.streaming:
        raise stop("SP477", f"{program.name} makes no events that a module could read: all of its probes aggregate", None,
                   help="leave `python` out of --emit; `specc run` and `specc.open` give what they count")  # fmt: skip
    writer = _Writer()
    for probe in program.streaming:
        writer.name_classes(probe)
    events = [writer.event(p) for p in program.streaming]
    return template("events.py.j2").render(
        program=program,
        source=_doc(program.source),
        title=_doc(f"The events of {program.name}{': ' + program.description if program.description else '.'}"),
        classes=writer.classes(),
        events=events,
        helpers=writer.helpers,
        tables=writer.tables,
        stacks=any(p.stacks for p in program.probes),
        renamed=any(a.key for c in [*writer.classes(), *(e.made for e in events)] for a in c.attributes),
    )


class _Writer:
    """Names first: what an attribute may be called depends on what all classes are called."""

    def __init__(self) -> None:
        self.helpers: set[str] = set()
        self.tables: list[dict[int, str]] = []
        self._names: dict[Record | str, str] = {}
        self._made: dict[Record, Class] = {}

    # --- names --------------------------------------------------------------------------------------------------------

    def name_classes(self, probe: Probe) -> None:
        name = self._class_name(probe.name, probe.name)
        for field in probe.event.fields:
            if field.role is Role.VALUE and field.type is not None and field.length is None:
                self._name_records(field.type, name + _pascal(field.record_key))

    def _class_name(self, key: Record | str, wanted: str) -> str:
        if key not in self._names:
            name = plain = _pascal(wanted)
            number = 2
            while name in _TAKEN or keyword.iskeyword(name) or name in self._names.values():
                name, number = f"{plain}{number}", number + 1
            self._names[key] = name
        return self._names[key]

    def _name_records(self, ctype: CType, fallback: str) -> None:
        """Name the records in a type, the inner ones first."""
        alias = ctype.name if isinstance(ctype, Typedef) else ""
        match bare(ctype):
            case Array(element=element) | Vector(element=element):
                self._name_records(element, fallback)
            case Complex() as kind:
                self._name_record(_parts(kind), spell(kind))
            case Record() as record:
                for member in _members(record):
                    self._name_records(member.type, fallback + _pascal(member.name))
                self._name_record(record, alias or record.tag or fallback)

    def _name_record(self, record: Record, wanted: str) -> None:
        if record not in self._made:
            self._class_name(record, wanted)
            self._made[record] = Class("", "", ())  # its place: after what it holds, and before what holds it

    def _attribute_names(self, keys: Iterable[str]) -> dict[str, str]:
        """Attributes for names of C: no keyword, nothing that a class mangles, nothing that annotations use."""
        made: dict[str, str] = {}
        for key in keys:
            name = f"_{key.lstrip('_')}" if key.startswith("__") else key
            while (
                keyword.iskeyword(name)
                or name in _WORDS
                or (name.startswith("_") and name[1:] in _HELPERS)
                or name in self._names.values()
                or name in made.values()
            ):  # fmt: skip
                name += "_"
            made[key] = name
        return made

    # --- classes ------------------------------------------------------------------------------------------------------

    def classes(self) -> list[Class]:
        return [self._record(record) for record in self._made]

    def _record(self, record: Record) -> Class:
        members = list({m.name: m for m in _members(record)}.values())  # as in a dict, the last of a name is the one
        names = self._attribute_names(m.name for m in members)
        attributes = []
        for member in members:
            kind = bare(member.type)
            note = spell(member.type, member.name)
            if member.bit_width is None:
                type_, value = self._typed(member.type), self._value(member.type, "raw", "", member.bit_offset // 8)
            else:
                signed = isinstance(kind, Int | Enum | BitInt) and kind.signed
                truth = isinstance(kind, Int) and kind.kind == "bool"
                note += f" : {member.bit_width}"
                type_, value = ("bool" if truth else "int"), self._bits("raw", member.bit_offset, member.bit_width, signed)  # fmt: skip
                value += " != 0" if truth else ""
            attributes.append(self._attribute(member.name, names[member.name], type_, note, value))
        return Class(self._names[record], _doc(f"{spell(record)}, {record.size} bytes."), tuple(attributes))

    def _attribute(self, key: str, name: str, type_: str, note: str, value: str) -> Attribute:
        return Attribute(name, type_, _doc(note), value, key=key if key != name else "")

    def event(self, probe: Probe) -> EventClass:
        event = probe.event
        shown = [f for f in event.fields if f.role in (Role.CONTEXT, Role.VALUE, Role.STACK)]
        keys: list[str] = []
        for field in shown:
            keys.append(field.record_key)
            keys += [f"{field.record_key}_truncated"] if field.length is not None else []
            keys += [f"{field.record_key}_error"] if field.status is not None else []
        names = self._attribute_names(keys)
        carried = [f for f in event.fields if f.role in (Role.STATUS, Role.LENGTH, Role.ABSENT)]
        taken = set(names.values()) | _LOCALS | {_loop(n) for n in range(_DEEPEST)}
        variables: dict[str, str] = {}
        for field in [*shown, *carried]:
            variable = names[field.record_key] if field in shown else field.name.lstrip("_")
            while (field not in shown and variable in taken) or variable in _LOCALS or _is_loop(variable):
                variable += "_"
            while variable in variables.values() or keyword.iskeyword(variable):
                variable += "_"
            variables[field.name] = variable
        attributes = [a for field in shown for a in self._of_field(field, event, names, variables)]
        layout, unpacked = _layout(event, variables)
        where = f"of `{probe.function}`" if probe.function else f"of `{probe.target.symbol or probe.target.path}`" if probe.target else ""  # fmt: skip
        made = Class(
            self._names[probe.name], _doc(f"The probe `{probe.name}` ({probe.kind} {where})."), tuple(attributes)
        )
        return EventClass(probe.name, event.number, event.size, made, layout, tuple(unpacked))

    def _of_field(self, field: Field, event: Event, names: dict[str, str], variables: dict[str, str]) -> list[Attribute]:  # fmt: skip
        """A field's attribute, and those that say why it has no value or not all of it."""
        key, variable = field.record_key, variables[field.name]
        if field.role is Role.CONTEXT:
            type_, note = ("str" if field.c_type == "char" else "int"), CONTEXT_MEANING[field.name]
            value = self._helped("text", variable) if field.c_type == "char" else variable
        elif field.role is Role.STACK:
            type_, value = "int", variable
            note = f"the id of its {STACK_MEANING[field.name]}, whose frames the map `*_{field.name}s` has"
        else:
            assert field.type is not None, "a value has a type"
            type_, value = self._of_value(field, field.type, variables)
            note = spell(field.type, key) + (f", {unit}" if (unit := unit_of(field)) else "")
        notes: list[Attribute] = []
        unless = []
        status = None if field.status is None else variables[field.status]
        if field.absent_bit is not None:
            absent = next(variables[f.name] for f in event.fields if f.role is Role.ABSENT)
            unless.append(f"{absent} >> {field.absent_bit} & 1")
            note += "; None where the kernel has no such argument"
        here = f"not ({unless[0]}) and " if unless else ""
        if status is not None:
            error = names[f"{key}_error"]
            unless.append(status)
            note += "; None when it could not be read"
            value_ = self._helped("error", status)
            value_ = f"None if {unless[0]} else {value_}" if len(unless) == 2 else value_
            why = f"the errno that kept `{key}` from being read"
            notes.append(self._attribute(f"{key}_error", error, "str | None", why, value_))
        if field.length is not None:
            held = field.size - (field.c_type == "char")  # a string ends in a NUL
            cut = f"{variables[field.length]} > {held}"
            cut = f"{here}not {status} and {cut}" if status is not None else f"{here}{cut}"
            notes.append(
                self._attribute(f"{key}_truncated", names[f"{key}_truncated"], "bool", f"whether `{key}` was longer", cut)
            )  # fmt: skip
        if unless:
            type_ = type_ if type_ == "None" else f"{type_} | None"
            value = f"None if {' or '.join(unless)} else {value}"
        defaults = {"bool": "False"}
        notes = [Attribute(a.name, a.type, a.note, a.value, defaults.get(a.type, "None"), a.key) for a in notes]
        return [self._attribute(key, names[key], type_, note, value), *notes]

    def _of_value(self, field: Field, ctype: CType, variables: dict[str, str]) -> tuple[str, str]:
        variable = variables[field.name]
        if field.length is not None and field.c_type != "char":
            return "bytes", f"{variable}[:{variables[field.length]}]"
        kind = bare(ctype)
        if _code(ctype) in ("?", ""):
            truth = field.format == "bool" and isinstance(kind, Int | BitInt) and _code(ctype) != "?"
            if truth:
                whole = f"{variable}[0:{size_of(ctype)}]"
                return "bool", f"{self._helped('uint', whole)} != 0"
            if _code(ctype) == "?":
                return "bool", variable
            return self._typed(ctype), self._value(ctype, variable, "", 0)
        if isinstance(kind, Float):
            return "float", variable
        if field.format == "bool":
            return "bool", f"{variable} != 0"
        return ("int", variable) if field.names is None else self._named(field.names, size_of(ctype), variable)

    def _named(self, names: Names, size: int, variable: str) -> tuple[str, str]:
        """A value by name, as records have it: of two names for one value the first, of flags those of most bits."""
        values = {value: name for name, value in reversed(names.members)}
        if names.kind == "flags":
            mask = (1 << 8 * size) - 1
            first = sorted(dict(reversed(values.items())).items(), key=lambda v: -(v[0] & mask).bit_count())
            table = self._table({value & mask: name for value, name in first})
            return "str", self._helped("flags", f"{variable} & {mask:#x}, {table}")
        return "int | str", f"{self._table(dict(reversed(values.items())))}.get({variable}, {variable})"

    def _table(self, values: dict[int, str]) -> str:
        if values not in self.tables:
            self.tables.append(values)
        return f"_names_{self.tables.index(values)}"

    # --- values -------------------------------------------------------------------------------------------------------

    def _typed(self, ctype: CType) -> str:
        """The annotation of a value."""
        kind = bare(ctype)
        match kind:
            case Int(kind="bool", size=1):
                return "bool"
            case Int() | Enum() | Pointer() | BitInt() if size_of(kind):
                return "int"
            case Float(size=size):
                return "float | Decimal" if size == 16 else "float"
            case Complex():
                return self._names[_parts(kind)]
            case Array(element=element) if _is_text(kind):
                return "str"
            case Array(element=element) | Vector(element=element):
                inner = self._typed(element)
                return f"tuple[{inner}, ...]"
            case Record():
                return self._names[kind]
            case _:
                return "None"

    def _value(self, ctype: CType, raw: str, base: str, offset: int, depth: int = 0) -> str:
        """An expression for the value at `base + offset` of the bytes `raw`, of which `base` is a variable or ""."""
        kind = bare(ctype)

        def part(size: int) -> str:
            if not base:
                return f"{raw}[{offset}:{offset + size}]"
            return f"{raw}[{_sum(base, offset)} : {_sum(base, offset + size)}]"

        match kind:
            case Int(kind="bool", size=1):
                return f"{raw}[{_sum(base, offset)}] != 0"
            case Int(size=size, signed=signed) | Enum(size=size, signed=signed) if size:
                return self._helped("int" if signed else "uint", part(size))
            case BitInt(width=width, signed=signed, size=size):
                return self._bits(part(size), 0, width, signed)
            case Pointer():
                return self._helped("uint", part(8))
            case Float(name="__bf16"):
                return self._helped("float", f'"<f", b"\\0\\0" + {part(2)}')  # the upper half of a float
            case Float(size=size) if size in (2, 4, 8):
                return self._helped("float", f'"<{_FLOATS_BY_SIZE[size]}", {part(size)}')
            case Float(data=10):
                return self._helped("extended", part(10))
            case Float(size=16):
                return self._helped("quad", part(16))
            case Array(count=count) if _is_text(kind):
                return self._helped("text", part(count or 0))
            case Array(element=element, count=count):
                return self._items(element, count or 0, raw, base, offset, depth)
            case Vector(element=element, size=size):
                return self._items(element, size // max(1, size_of(element)), raw, base, offset, depth)
            case Complex():
                return f"_struct_{self._names[_parts(kind)]}({part(size_of(kind))})"
            case Record(size=size):
                return f"_struct_{self._names[kind]}({part(size)})"
            case _:
                return "None"

    def _items(self, element: CType, count: int, raw: str, base: str, offset: int, depth: int) -> str:
        size = size_of(element)
        if not size or not count:
            return "()"
        loop = _loop(depth)
        inner = self._value(element, raw, loop, 0, depth + 1)
        first, last = _sum(base, offset), _sum(base, offset + size * count)
        return f"tuple({inner} for {loop} in range({first}, {last}, {size}))"

    def _bits(self, raw: str, first: int, width: int, signed: bool) -> str:
        return self._helped("bits", f"{raw}, {first}, {width}, {signed}")

    def _helped(self, helper: str, arguments: str) -> str:
        assert helper in _HELPERS
        self.helpers.add(helper)
        return f"_{helper}({arguments})"


_FLOATS_BY_SIZE: Final = {2: "e", 4: "f", 8: "d"}


def _doc(text: str) -> str:
    """Text that is safe inside of a docstring, on one line."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line.replace("\\", "\\\\").replace('"', "'")


def _pascal(name: str) -> str:
    """A class's name: "__get_user_pages" is GetUserPages."""
    made = "".join(part[:1].upper() + part[1:] for part in "".join(c if c.isalnum() else "_" for c in name).split("_"))
    return made if made[:1].isalpha() else f"Of{made}"


def _parts(kind: Complex) -> Record:
    """A complex number as the struct that C lays it out like (C11 6.2.5p13)."""
    size = kind.element.size
    parts = (Member("real", kind.element, 0), Member("imag", kind.element, 8 * size))
    return Record("struct", spell(kind), parts, 2 * size, size)


def _members(record: Record) -> Iterable[Member]:
    """Members with names; those of an anonymous one are its parent's, as they are in C."""
    for member in record.members or ():
        inner = bare(member.type)
        if member.name and member.bit_width != 0:
            yield member
        elif isinstance(inner, Record) and member.bit_width is None:
            for deeper in _members(inner):
                at = member.bit_offset + deeper.bit_offset
                yield Member(deeper.name, deeper.type, at, deeper.bit_width, deeper.aligned, deeper.packed)


def _is_text(kind: Array) -> bool:
    inner = bare(kind.element)
    return isinstance(inner, Int) and inner.kind == "char"


def _code(ctype: CType) -> str:
    """What `struct` calls the type; "" when it has no word for it."""
    match bare(ctype):
        case Int(kind="bool", size=1):
            return "?"
        case Int(size=size, signed=signed) | Enum(size=size, signed=signed) if size in _CODES:
            return _CODES[size] if signed else _CODES[size].upper()
        case Pointer():
            return "Q"
        case Float(name=name):
            return _FLOATS.get(name, "")
        case _:
            return ""


def _layout(event: Event, variables: dict[str, str]) -> tuple[str, list[str]]:
    """The event for `struct`, and the variables that it unpacks to."""
    parts, unpacked, at = [], [], 0
    plain = {Role.STATUS: "i", Role.LENGTH: "I", Role.ABSENT: "Q", Role.STACK: "I"}
    for field in event.fields:
        if field.name not in variables:
            continue
        if field.role is Role.VALUE and field.type is not None and (code := _code(field.type)):
            size = size_of(field.type)
        elif field.role is Role.CONTEXT and field.c_type != "char":
            code, size = _CODES[field.size].upper(), field.size
        else:
            code, size = plain.get(field.role, f"{field.size}s"), field.size
        parts.append((f"{field.offset - at}x" if field.offset > at else "") + code)
        unpacked.append(variables[field.name])
        at = field.offset + size
    return "<" + " ".join([*parts, *([f"{event.size - at}x"] if event.size > at else [])]), unpacked


def _sum(base: str, offset: int) -> str:
    return str(offset) if not base else f"{base} + {offset}" if offset else base


def _loop(depth: int) -> str:
    return f"i{depth + 1}" if depth else "i"


def _is_loop(name: str) -> bool:
    return name[:1] == "i" and (name[1:].isdigit() or not name[1:])

"""The module's text: a class per event and per struct, each with its attributes and how they are decoded.

In: a `Program`.  Out: text, by a template that spells `Class` and `EventClass`.

    emit_python(program)        # the text of gup_events.py
"""

from __future__ import annotations

import keyword
from typing import Final

from specc.consumer.naming import Naming, members_of
from specc.consumer.values import CODES, Values, code_of, is_loop_name, loop_name
from specc.diagnostics import stop
from specc.emit import template
from specc.ir import Event, Field, Probe, Program, Role
from specc.noun import dataclass
from specc.prototype import BitInt, Enum, Int, Record, bare, size_of, spell
from specc.records import CONTEXT_MEANING, STACK_MEANING, unit_of

_LOCALS: Final = frozenset({"record", "range"})
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
    naming = Naming()
    for probe in program.streaming:
        naming.add(probe)
    values = Values(naming)
    writer = _Writer(naming, values)
    events = [writer.event(p) for p in program.streaming]
    return template("events.py.j2").render(
        program=program,
        source=_doc(program.source),
        title=_doc(f"The events of {program.name}{': ' + program.description if program.description else '.'}"),
        classes=writer.classes(),
        events=events,
        helpers=values.helpers,
        tables=values.tables,
        stacks=any(p.stacks for p in program.probes),
        renamed=any(a.key for c in [*writer.classes(), *(e.made for e in events)] for a in c.attributes),
    )


class _Writer:
    def __init__(self, naming: Naming, values: Values) -> None:
        self._naming = naming
        self._values = values

    def classes(self) -> list[Class]:
        return [self._record(record) for record in self._naming.records]

    def _record(self, record: Record) -> Class:
        members = list({m.name: m for m in members_of(record)}.values())  # as in a dict, the last of a name is the one
        names = self._naming.attributes(m.name for m in members)
        attributes = []
        for member in members:
            kind = bare(member.type)
            note = spell(member.type, member.name)
            if member.bit_width is None:
                type_, value = (
                    self._values.typed(member.type),
                    self._values.value(member.type, "raw", "", member.bit_offset // 8),
                )
            else:
                signed = isinstance(kind, Int | Enum | BitInt) and kind.signed
                truth = isinstance(kind, Int) and kind.kind == "bool"
                note += f" : {member.bit_width}"
                type_, value = ("bool" if truth else "int"), self._values.bits("raw", member.bit_offset, member.bit_width, signed)  # fmt: skip
                value += " != 0" if truth else ""
            attributes.append(self._attribute(member.name, names[member.name], type_, note, value))
        return Class(self._naming.of(record), _doc(f"{spell(record)}, {record.size} bytes."), tuple(attributes))

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
        names = self._naming.attributes(keys)
        # A status may be of nothing that is shown: of a stack slot that a path begins in.
        meant = {name for f in shown for name in (f.status, f.length)}
        optional = any(f.absent_bit is not None for f in shown)
        carried = [f for f in event.fields if f.name in meant or (f.role is Role.ABSENT and optional)]
        taken = set(names.values()) | _LOCALS | {loop_name(n) for n in range(_DEEPEST)}
        variables: dict[str, str] = {}
        for field in [*shown, *carried]:
            variable = names[field.record_key] if field in shown else field.name.lstrip("_")
            while (field not in shown and variable in taken) or variable in _LOCALS or is_loop_name(variable):
                variable += "_"
            while variable in variables.values() or keyword.iskeyword(variable):
                variable += "_"
            variables[field.name] = variable
        attributes = [a for field in shown for a in self._of_field(field, event, names, variables)]
        layout, unpacked = _layout(event, variables)
        where = f"of `{probe.function}`" if probe.function else f"of `{probe.target.symbol or probe.target.path}`" if probe.target else ""  # fmt: skip
        made = Class(
            self._naming.of(probe.name), _doc(f"The probe `{probe.name}` ({probe.kind} {where})."), tuple(attributes)
        )
        return EventClass(probe.name, event.number, event.size, made, layout, tuple(unpacked))

    def _of_field(self, field: Field, event: Event, names: dict[str, str], variables: dict[str, str]) -> list[Attribute]:  # fmt: skip
        """A field's attribute, and those that say why it has no value or not all of it."""
        key, variable = field.record_key, variables[field.name]
        if field.role is Role.CONTEXT:
            type_, note = ("str" if field.c_type == "char" else "int"), CONTEXT_MEANING[field.name]
            value = self._values.helped("text", variable) if field.c_type == "char" else variable
        elif field.role is Role.STACK:
            type_, value = "int", variable
            note = f"the id of its {STACK_MEANING[field.name]}, whose frames the map `*_{field.name}s` has"
        else:
            assert field.type is not None, "a value has a type"
            type_, value = self._values.of_field(field, field.type, variables)
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
            value_ = self._values.helped("error", status)
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


def _doc(text: str) -> str:
    """Text that is safe inside of a docstring, on one line."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line.replace("\\", "\\\\").replace('"', "'")


def _layout(event: Event, variables: dict[str, str]) -> tuple[str, list[str]]:
    """The event for `struct`, and the variables that it unpacks to."""
    parts, unpacked, at = [], [], 0
    plain = {Role.STATUS: "i", Role.LENGTH: "I", Role.ABSENT: "Q", Role.STACK: "I"}
    for field in event.fields:
        if field.name not in variables:
            continue
        if field.role is Role.VALUE and field.type is not None and (code := code_of(field.type)):
            size = size_of(field.type)
        elif field.role is Role.CONTEXT and field.c_type != "char":
            code, size = CODES[field.size].upper(), field.size
        else:
            code, size = plain.get(field.role, f"{field.size}s"), field.size
        parts.append((f"{field.offset - at}x" if field.offset > at else "") + code)
        unpacked.append(variables[field.name])
        at = field.offset + size
    return "<" + " ".join([*parts, *([f"{event.size - at}x"] if event.size > at else [])]), unpacked

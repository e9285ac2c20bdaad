"""A program's description as text: `Program` in, JSON out, the same bytes for the same program.

describe(program)           # '{"specc": 1, "name": "gup", "buffer": "ring",\n"types": [\n...'
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from specc.describe.nouns import AGGREGATING, VERSION
from specc.ir import Aggregate, Field, Names, PathNeed, Places, Probe, Program, Role, Target
from specc.prototype import (
    FLOATS,
    INTS,
    Array,
    BitInt,
    Complex,
    CType,
    Enum,
    Float,
    Function,
    Int,
    Pointer,
    Prototype,
    Qualified,
    Record,
    Typedef,
    Unknown,
    Vector,
    Void,
)

Json = Any


def describe(program: Program) -> str:
    types = _Types()
    names = list(dict.fromkeys(f.names for p in program.probes for f in p.event.fields if f.names is not None))
    probes = [_probe(p, types, names) for p in program.probes]
    head = [
        f'"specc": {AGGREGATING if program.aggregated else VERSION}',
        f'"name": {_dump(program.name)}',
        f'"buffer": {_dump(program.buffer)}',
    ]
    head.append(f'"buffer_size": {program.buffer_size}')
    rows, joined = ",\n".join(_dump(t) for t in types.table), ",\n".join(probes)
    named = ",\n".join(map(_names, names))
    called = f'"names": [\n{named}\n],\n' if names else ""
    return f'{{{", ".join(head)},\n"types": [\n{rows}\n],\n{called}"probes": [\n{joined}\n]}}\n'


# One for all: json.dumps makes a new one for each call whose options are not the usual ones.
_dump = json.JSONEncoder(ensure_ascii=True, allow_nan=False).encode


_ON_A_LINE: Final = 6


def _names(names: Names) -> str:
    members = [_dump(list(m)) for m in names.members]
    lines = [", ".join(members[i : i + _ON_A_LINE]) for i in range(0, len(members), _ON_A_LINE)]
    broken = ",\n".join(lines)
    btf = '"btf": true, ' if names.btf else ""
    return f'{{"kind": {_dump(names.kind)}, "source": {_dump(names.source)}, {btf}"members": [{broken}]}}'


def _probe(probe: Probe, types: _Types, names: list[Names]) -> str:
    target = probe.target
    row = {
        "name": probe.name,
        "kind": probe.kind,
        "function": probe.function,
        "target": target and _target(target),
        "symbol": probe.symbol,
        "entry": probe.entry.symbol if probe.entry else None,
        "declaration": _declaration(probe.prototype, types) if probe.prototype else None,
        "used": list(probe.used),
        "constants": _constants(probe.condition.constants if probe.condition else ()),
        "assumed": _constants(probe.condition.assumed if probe.condition else ()),
        "places": _places(probe.at, types) if probe.at else None,
        "trampoline": _trampoline(probe.trampoline, types) if probe.trampoline else None,
        "paths": [_path(f.need, types) for f in probe.followings if f.relocated] or None,
        "aggregate": _aggregate(probe.aggregate) if probe.aggregate else None,
        "event": probe.event.name,
        "size": probe.event.size,
    }
    fields = ",\n".join(_dump(_field(f, types, names)) for f in probe.event.fields if f.role is not Role.PADDING)
    head = _dump({k: v for k, v in row.items() if v is not None})[:-1]
    return f'{_broken(head)}, "fields": [\n{fields}\n]}}'


def _constants(named: Iterable[tuple[str, int]]) -> Json:
    return [list(c) for c in named] or None


def _target(target: Target) -> Json:
    return [target.path, target.symbol, target.offset, target.pid, *([target.build] if target.build else [])]


def _broken(head: str) -> str:
    """A probe's own line, with its declaration on another: the text is C that a person reads."""
    for key in (
        ', "declaration": ',
        ', "used": ',
        ', "places": ',
        ', "trampoline": ',
        ', "paths": ',
        ', "aggregate": ',
    ):
        head = head.replace(key, key.replace(" ", "\n", 1), 1)
    return head


def _declaration(prototype: Prototype, types: _Types) -> Json:
    row = {
        "name": prototype.name,
        "result": types.of(prototype.result),
        "parameters": [[p.name, types.of(p.type)] for p in prototype.parameters],
        "variadic": prototype.variadic or None,
        "source": prototype.source or None,
        "doubt": prototype.doubt or None,
    }
    return {k: v for k, v in row.items() if v is not None}


def _trampoline(other: Probe, types: _Types) -> Json:
    row = {"kind": other.kind, "symbol": other.symbol, "places": _places(other.at, types) if other.at else None}
    return {k: v for k, v in row.items() if v is not None}


def _aggregate(a: Aggregate) -> Json:
    row = {
        "function": a.function,
        "symbol": a.symbol,
        "value": a.value.name if a.value is not None else None,
        "by": list(a.by),
        "key": a.key.size,
        "owned": a.owned or None,
        "every": a.every,
        "most": a.most,
        "steps": [a.low, a.step, a.steps] if a.steps else None,
    }
    return {k: v for k, v in row.items() if v is not None}


def _places(at: Places, types: _Types) -> Json:
    constants = [
        {
            "of": c.member,
            "argument": c.argument,
            "type": types.of(c.type),
            "at": c.offset,
            "codes": list(c.values),
            "array": c.count is not None or None,
            "optional": c.optional or None,
            "any_type": c.any_type or None,
            "part": c.part,
        }
        for c in at.constants
    ]
    return {
        "symbol": at.symbol,
        "right_for": at.right_for,
        "size": at.size,
        "slots": at.slots,
        "room": dict(at.room),
        "constants": [{k: v for k, v in c.items() if v is not None} for c in constants],
    }


def _path(need: PathNeed, types: _Types) -> Json:
    row = {
        "of": need.field,
        "argument": need.argument,
        "path": need.text,
        "start": types.of(need.start),
        "type": types.of(need.type),
        "bits": need.bit_width,
        "at_least": need.at_least,
        "through": [types.of(r, behind=True) for r in need.roots],
        "optional": need.optional or None,
    }
    return {k: v for k, v in row.items() if v is not None}


def _field(field: Field, types: _Types, names: list[Names]) -> Json:
    row = {
        "name": field.name,
        "at": field.offset,
        "as": field.c_type,
        "count": field.count,
        "role": field.role.value,
        "type": None if field.type is None else types.of(field.type),
        "format": field.format,
        "status": field.status,
        "absent": field.absent_bit,
        "key": field.key or None,
        "place": field.place or None,
        "length": field.length,
        "names": None if field.names is None else names.index(field.names),
    }
    return {k: v for k, v in row.items() if v is not None}


class _Types:
    """The table of record and enum types: each once, after those that it contains."""

    def __init__(self) -> None:
        self.table: list[Json] = []
        self._index: dict[tuple[CType, bool], int] = {}

    def of(self, ctype: CType, *, behind: bool = False) -> Json:
        """A type as JSON; `behind` a pointer, records and enums keep only their names."""
        match ctype:
            case Void():
                return "void"
            case Int(name=name) if INTS.get(name) == ctype:
                return name
            case Float(name=name) if FLOATS.get(name) == ctype:
                return name
            case Int(name=name, size=size, signed=signed, kind=kind):
                return {"int": name, "size": size, "signed": signed, "kind": kind}
            case Float(name=name, size=size, data=data):
                return {"float": name, "size": size, "data": data}
            case BitInt(width=width, signed=signed, size=size, align=align):
                return {"bits": width, "signed": signed, "size": size, "align": align}
            case Complex(element=element):
                return {"complex": self.of(element)}
            case Vector(element=element, size=size):
                return {"vector": self.of(element, behind=behind), "size": size}
            case Pointer(target=target):
                return {"pointer": self.of(target, behind=True)}
            case Array(element=element, count=count):
                return {"array": self.of(element, behind=behind), "count": count}
            case Function(result=result, parameters=parameters, variadic=variadic):
                inside = [self.of(p, behind=True) for p in parameters]
                return {"function": self.of(result, behind=True), "parameters": inside, "variadic": variadic}
            case Typedef(name=name, target=target, align=None):
                return {"typedef": name, "of": self.of(target, behind=behind)}
            case Typedef(name=name, target=target, align=align):
                return {"typedef": name, "of": self.of(target, behind=behind), "align": align}
            case Qualified(target=target, qualifiers=qualifiers):
                return {"qualified": list(qualifiers), "of": self.of(target, behind=behind)}
            case Unknown(name=name):
                return {"unknown": name}
            case Record() | Enum():
                return self._indexed(ctype, behind)

    def _indexed(self, ctype: Record | Enum, behind: bool) -> int:
        key = (ctype, behind)
        if key not in self._index:
            row = self._enum(ctype, behind) if isinstance(ctype, Enum) else self._record(ctype, behind)
            self._index[key] = len(self.table)
            self.table.append(row)
        return self._index[key]

    def _enum(self, enum: Enum, behind: bool) -> Json:
        members = [] if behind else [list(m) for m in enum.members]
        return {"enum": enum.tag, "size": enum.size, "signed": enum.signed, "members": members}

    def _record(self, record: Record, behind: bool) -> Json:
        if behind or record.members is None:
            return {"record": record.kind, "tag": record.tag}
        return {
            "record": record.kind,
            "tag": record.tag,
            "size": record.size,
            "align": record.align,
            "members": [
                [m.name, self.of(m.type), m.bit_offset] + ([] if m.bit_width is None else [m.bit_width])
                for m in record.members
            ],
        }

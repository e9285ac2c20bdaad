"""The JSON Schema of the records that a program's events become.

    record_schema(program)["oneOf"][0]["properties"]["start"]      # {"type": "integer", "minimum": 0, ...}

A record is one flat object: `probe`, the context fields, then the values under their names, in the spec's order.
"""

from __future__ import annotations

import json

from specc.ir import CONTEXT, DEEPEST_STACK, Aggregate, Event, Field, Names, Program, Role
from specc.prototype import (
    ULLONG,
    Array,
    BitInt,
    Complex,
    CType,
    Enum,
    Float,
    Int,
    Pointer,
    Record,
    Vector,
    bare,
    size_of,
    spell,
)

Schema = dict[str, object]

CONTEXT_MEANING = {
    "timestamp": "nanoseconds, CLOCK_MONOTONIC",
    "pid": "thread group id, in the initial pid namespace",
    "tid": "thread id, in the initial pid namespace",
    "ppid": "thread group id of the parent",
    "uid": "real user id",
    "gid": "real group id",
    "cpu": "number of the processor",
    "comm": "name of the thread",
    "cgroup": "id of the cgroup (version 2)",
    "mntns": "inode number of the mount namespace",
    "pidns": "inode number of the pid namespace",
}


STACK: Schema = {"type": "array", "items": {"type": "string"}, "maxItems": DEEPEST_STACK + 2}
STACK_MEANING = {"kernel_stack": "stack of the kernel", "user_stack": "stack of the process's own code"}


def record_schema(program: Program) -> Schema:
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"records of {program.name}",
        "description": program.description,
        "oneOf": [_event(p.event) if p.aggregate is None else _row(p.aggregate) for p in program.probes],
    }


def unit_of(field: Field) -> str:
    """What a field's number counts: "ns", or "" where nobody says. Of values, only the latency of a call has no place."""
    if field.role is Role.CONTEXT:
        return "ns" if field.name == "timestamp" else ""
    return "ns" if field.role is Role.VALUE and not field.place and field.type == ULLONG else ""


def schema_text(program: Program) -> str:
    return json.dumps(record_schema(program), indent=2) + "\n"


def _event(event: Event) -> Schema:
    properties: dict[str, Schema] = {"probe": {"const": event.probe}}
    required = ["probe"]
    for field in event.fields:
        if field.role not in (Role.CONTEXT, Role.VALUE, Role.STACK):
            continue
        if field.role is Role.STACK:
            schema = STACK | {"description": f"{STACK_MEANING[field.name]}: frames by name, the innermost first"}
        else:
            schema = _context(field) if field.role is Role.CONTEXT else _value(field)
        if field.status is not None or field.absent_bit is not None:
            schema = {"anyOf": [schema, {"type": "null"}]}
        properties[field.record_key] = schema
        required.append(field.record_key)
        if field.length is not None:
            properties[f"{field.record_key}_truncated"] = {
                "const": True,
                "description": f"`{field.record_key}` was longer, and was cut",
            }
        if field.status is not None:
            properties[f"{field.record_key}_error"] = {
                "type": "string",
                "description": f"name of the errno that kept `{field.record_key}` from being read; then it is null",
            }
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


_HITS: Schema = {"type": "integer", "minimum": 1, "description": "hits"}


def _row(aggregate: Aggregate) -> Schema:
    """What one key has in one interval: the times, the key as an event has it, and what was counted."""
    row = _event(aggregate.key)
    keys, names = row["properties"], row["required"]
    assert isinstance(keys, dict) and isinstance(names, list)
    probe = keys.pop("probe")
    time = _integer(64, signed=False)
    begins = time | {"description": "beginning of the interval: nanoseconds, CLOCK_MONOTONIC"}
    own: dict[str, Schema] = {"count": _HITS}
    required = ["count"]
    if aggregate.buckets:
        end: Schema = {"type": ["integer", "null"]}
        bucket = {
            "type": "object",
            "properties": {
                "from": end | {"description": "the least value in it; null: there is none"},
                "to": end | {"description": "the least value above it; null: there is none"},
                "count": _HITS,
            },
            "required": ["from", "to", "count"],
            "additionalProperties": False,
        }
        own["buckets"] = {"type": "array", "items": bucket, "minItems": 1, "maxItems": aggregate.buckets}
        required.append("buckets")
    elif aggregate.value is not None:
        function = aggregate.function
        value = aggregate.value
        number: Schema = {"type": "integer"}
        if function == "avg":
            number = {"type": "number"}
            own["sum"] = {"type": "integer", "description": f"the sum of `{value.record_key}`"}
        elif function in ("min", "max"):
            number = _integer(8 * value.size, signed=aggregate.signed)
        number["description"] = f"the {function} of `{value.record_key}`"
        if function in ("sum", "avg"):
            number = {"anyOf": [number, {"type": "null"}]}
            why = f"why there is no {function}: more than 2^32 values were counted on one processor"
            own[f"{function}_error"] = {"const": "EOVERFLOW", "description": why}
        own[function] = number
        required.append(function)
    properties = {"probe": probe, "from": begins, "to": time | {"description": "end of the interval"}, **keys, **own}
    return row | {"properties": properties, "required": ["probe", "from", "to", *names[1:], *required]}


def _context(field: Field) -> Schema:
    meaning: Schema = {"description": CONTEXT_MEANING[field.name]}
    if field.name == "comm":
        return meaning | {"type": "string"}
    return _integer(8 * CONTEXT[field.name][1], signed=False) | meaning


def _value(field: Field) -> Schema:
    assert field.type is not None
    schema = type_schema(field.type)
    if field.length is not None and field.c_type != "char":
        schema = {"type": "string", "pattern": "^([0-9a-f]{2})*$", "maxLength": 2 * field.size}
    if field.format == "bool":
        schema = {"type": "boolean"}
    if field.names is not None:
        schema = _named(field.names, schema)
    return schema | {"description": spell(field.type, field.record_key)}


def _named(names: Names, number: Schema) -> Schema:
    words = list({value: name for name, value in reversed(names.members)}.values())
    if names.kind == "enum" and names.btf:  # the running kernel may have more of them
        return {"anyOf": [{"type": "string", "pattern": r"^\w+$", "examples": words[::-1][:2]}, number]}
    if names.kind == "enum":
        return {"anyOf": [{"enum": words[::-1]}, number]}
    return {"type": "string", "pattern": r"^(0|\w+(\|\w+)*)$", "examples": words[::-1][:2]}


def type_schema(ctype: CType) -> Schema:
    """The JSON form of a C value: exact integers, pointers as integers, records as objects, floating values as numbers."""
    kind = bare(ctype)
    match kind:
        case Int(kind="bool"):
            return {"type": "boolean"}
        case Int(size=size, signed=signed) | Enum(size=size, signed=signed):
            return _integer(8 * size, signed=signed)
        case BitInt(width=width, signed=signed):
            return _integer(width, signed=signed)
        case Pointer():
            return _integer(64, signed=False)
        case Float():
            return {"type": ["number", "string"]}  # what JSON has no number for is a string: "nan", "inf"
        case Complex(element=element):
            part = type_schema(element)
            return {"type": "object", "properties": {"real": part, "imag": part}, "required": ["real", "imag"]}
        case Vector(element=element, size=size):
            return _array(element, size // max(1, size_of(element)))
        case Array(element=element, count=count):
            inner = bare(element)
            if isinstance(inner, Int) and inner.kind == "char":
                return {"type": "string", "maxLength": 4 * (count or 0)}  # a byte that is no UTF-8 is spelled \\xff
            return _array(element, count or 0)
        case Record():
            return _record(kind)
        case _:
            return {}


def _integer(bits: int, *, signed: bool) -> Schema:
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    return {"type": "integer", "minimum": low, "maximum": high}


def _array(element: CType, count: int) -> Schema:
    return {"type": "array", "items": type_schema(element), "minItems": count, "maxItems": count}


def _record(record: Record) -> Schema:
    properties: dict[str, Schema] = {}
    for member in record.members or ():
        inner = bare(member.type)
        if not member.name:
            if isinstance(inner, Record):
                properties.update(_record(inner)["properties"])  # type: ignore[call-overload]
            continue
        if member.bit_width is not None and isinstance(inner, Int | Enum | BitInt):
            boolean = isinstance(inner, Int) and inner.kind == "bool"
            properties[member.name] = (
                {"type": "boolean"} if boolean else _integer(member.bit_width, signed=inner.signed)
            )
        else:
            properties[member.name] = type_schema(member.type)
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}

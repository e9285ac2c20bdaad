"""JSON lines made column by column: a batch in, the text of all its lines out, in one piece of memory.

    json_text(decoder, batch)           # a memoryview of UTF-8, or None: let the plain way do it

pyarrow spells whole columns and joins them with the literal text between; that is faster than a line at a time when a
batch has some hundreds of records. The lines are the same to the byte as those of `program`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from specc.batch import Batch
from specc.events.columns import Array, Rows, by_value, groups, numbers, spelled
from specc.events.decoder import Decoder
from specc.events.program import Compiled, dumps
from specc.events.shape import Items, Leaf, Object, Shape, finish, text

_STRING = pa.string()
_NOTHING = pa.scalar("")


def json_text(decoder: Decoder, batch: Batch) -> memoryview | None:
    """The records as JSON lines, made column by column; None where one of them tells of a failed read."""
    found = groups(decoder, batch)
    lines = [_json_lines(rows) for rows, _ in found]
    if any(array is None for array in lines):
        return None
    joined: Any = lines[0]
    if len(lines) > 1:
        order = np.argsort(np.concatenate([where for _, where in found]), kind="stable")
        joined = pa.concat_arrays(lines).take(pa.array(order))
    offsets, data = joined.buffers()[1:3]
    ends = np.frombuffer(offsets, np.int32)
    return memoryview(data)[ends[joined.offset] : ends[joined.offset + len(joined)]]


def _json_lines(rows: Rows) -> Any | None:
    parts: list[Any] = []
    for part in _json_parts(rows.event):
        match part:
            case _Fallible(offset=offset):
                if rows.raw(offset, "i").any():
                    return None
            case _Cut(offset=offset, held=held):
                if (rows.raw(offset, "I") > held).any():
                    return None
            case _Optional(offset=offset, bit=bit):
                if (rows.raw(offset, "Q") >> np.uint64(bit) & np.uint64(1)).any():
                    return None
            case Leaf():
                parts.append(_json_leaf(part, rows))
            case _:
                parts.append(part)
    if len(parts) == 1:
        return pa.repeat(parts[0], rows.count)
    return pc.binary_join_element_wise(*parts, _NOTHING)


@dataclass(frozen=True, slots=True)
class _Fallible:
    """A status: where it is not 0, the line has other keys."""

    offset: int


@dataclass(frozen=True, slots=True)
class _Cut:
    """A length: where it is more than is held, the line has another key."""

    offset: int
    held: int


@dataclass(frozen=True, slots=True)
class _Optional:
    """A bit: where it is set, the value is null."""

    offset: int
    bit: int


@cache
def _json_parts(event: Compiled) -> list[Any]:
    """A line as scalars of literal text and leaves, behind what has to be looked at before. Made once: pyarrow looks
    for pandas whenever it makes a scalar, which takes longer than the rest of a small batch."""
    before: list[Any] = [_Fallible(o) for o in dict.fromkeys(s.status for s in event.slots) if o is not None]
    before += [_Cut(*s.cut) for s in event.slots if s.cut is not None]
    before += [_Optional(*s.absent) for s in event.slots if s.absent is not None]
    parts: list[Any] = []
    literal = f'{{"probe":{dumps(event.probe)}'
    for slot in event.slots:
        literal = _json(slot.shape, parts, f"{literal},{dumps(slot.key)}:")
    return [*before, *parts, pa.scalar(literal + "}\n")]


def _json(of: Shape, parts: list[Any], literal: str) -> str:
    """Add the value's parts; the literal text that is still to be written comes in and goes out."""
    match of:
        case Object(members=members):
            literal += "{"
            for number, (name, inner) in enumerate(members):
                literal = _json(inner, parts, f"{literal}{',' if number else ''}{dumps(name)}:")
            return literal + "}"
        case Items(items=items):
            literal += "["
            for number, inner in enumerate(items):
                literal = _json(inner, parts, literal + ("," if number else ""))
            return literal + "]"
        case Leaf(kind="nothing"):
            return literal + "null"
        case Leaf():
            parts += [pa.scalar(literal), of]
            return ""


def _json_leaf(of: Leaf, rows: Rows) -> Array:
    if of.kind == "text":
        return spelled(of, rows, lambda raw: dumps(text(raw)))
    if of.naming is not None:
        return by_value(of, rows, of.naming, dumps)
    if of.stacks is not None:
        return by_value(of, rows, of.stacks, dumps)
    if of.kind in ("int", "bits"):
        values = numbers(of, rows)
        kind = pa.from_numpy_dtype(values.dtype)
        return pa.Array.from_buffers(kind, rows.count, [None, pa.py_buffer(values)]).cast(_STRING)
    if of.kind in ("bool", "truth", "bits truth"):
        return pa.array(numbers(of, rows)).cast(_STRING)
    return pa.array([dumps(finish(of, v)) for v in rows.raw(of.offset, of.code).tolist()], _STRING)

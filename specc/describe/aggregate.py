"""What a description says of a probe's aggregate: a row of it in, an `Aggregate` out; `Damage` for a damaged one.

aggregate_of({"function": "count", "symbol": "a_f", "by": ["pid"], "key": 8, "most": 16}, event).key.fields

The row comes from an object of unknown origin: nothing in it is believed that a reader of cells relies on.
"""

from __future__ import annotations

from typing import Any, Final

from specc.describe.rows import unless
from specc.ir import OWNER, Aggregate, Event, Field, Role
from specc.prototype import Int, bare, decay

_FUNCTIONS: Final = ("count", "sum", "avg", "min", "max", "hist", "lhist")
_MOST_CELLS: Final = 1 << 20
_MOST_BUCKETS: Final = 100


def aggregate_of(row: dict[str, Any], event: Event) -> Aggregate:
    function, symbol, by = row.get("function"), row.get("symbol"), row.get("by")
    unless(isinstance(function, str) and function in _FUNCTIONS, "it aggregates by no function")
    unless(isinstance(symbol, str) and symbol.isidentifier(), "its cells have no name")
    assert isinstance(function, str)
    size = _number(row, "key", 8, event.size)
    inside = tuple(f for f in event.fields if f.offset < size)
    unless(size % 8 == 0 and all(f.offset + f.size <= size for f in inside), "the key ends inside of a field")
    shown = [f.record_key for f in inside if f.role in (Role.CONTEXT, Role.VALUE, Role.STACK)]
    unless(isinstance(by, list) and by == shown, "the key has other fields")
    assert isinstance(by, list)
    named = {f.name for f in inside}
    carried = {n for f in inside for n in (f.status, f.length) if n is not None}
    bits = any(f.absent_bit is not None for f in inside)
    unless(carried <= named, "what says how the key was read is not in it")
    unless(not bits or any(f.role is Role.ABSENT for f in inside), "what says what the key lacks is not in it")
    owned = row.get("owned") is True
    if owned:
        owner = next((f for f in event.fields if f.offset == size), None)
        unless(owner is not None and owner.name == OWNER and owner.size == 8, "the thread is not behind the key")
    value = next((f for f in event.fields if f.name == row.get("value")), None)
    unless((value is None) == (function == "count"), "it has no value to count with")
    unless(value is None or _is_number(value), "what it counts with is no integer")
    steps = row.get("steps")
    low, step, count = 0, 0, 0
    if function == "lhist":
        unless(isinstance(steps, list) and len(steps) == 3 and all(type(n) is int for n in steps), "its steps are none")
        low, step, count = steps or (0, 0, 0)
        unless(step > 0 and 0 < count <= _MOST_BUCKETS, "its steps are none")
    every = _number(row, "every", 1, 1 << 62) if row.get("every") is not None else None
    most = _number(row, "most", 1, _MOST_CELLS)
    assert isinstance(symbol, str)
    key = Event(f"{symbol}_key", event.probe, event.number, size, inside)
    return Aggregate(function, symbol, value, tuple(by), key, owned, every, most, low, step, count)


def _is_number(field: Field) -> bool:
    if field.count is not None or field.names is not None or field.size not in (1, 2, 4, 8):
        return False
    if field.role is Role.CONTEXT:
        return True
    return field.role is Role.VALUE and field.type is not None and isinstance(bare(decay(field.type)), Int)


def _number(row: dict[str, Any], key: str, least: int, most: int) -> int:
    value = row.get(key)
    unless(type(value) is int and least <= value <= most, f"`{key}` of an aggregate is missing or out of range")
    assert isinstance(value, int)
    return value

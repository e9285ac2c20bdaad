"""What a probe counts in the kernel: its event laid out with the key first, and the `Aggregate` that says how.

    event = key_first(probe, event)                     # the fields of `by`, and what says how they were read, come first
    aggregate_of(spec, probe, event, known, report)     # Aggregate("hist", ...), or None after a finding

The key is handed to the map as the bytes that it is: only what has one form for one value can be a key.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from specc.diagnostics import Report
from specc.ir import ADDRESSES, OWNER, Aggregate, Event, Field, Role
from specc.lower.event import Planned, lay_out_fields
from specc.lower.nouns import Resolved
from specc.noun import replace
from specc.place import argument_names
from specc.prototype import BitInt, Enum, Float, Int, Pointer, bare, decay, spell
from specc.spec import USER_KINDS, AggregateSpec, ProbeSpec, Spec, Word

_MOST_TEXT: Final = 64  # bytes of a string or of other memory in a key


def key_first(probe: ProbeSpec, event: Event) -> Event:
    """The event with the fields of its key, in the order of `by`, before all others."""
    wanted = probe.aggregate
    assert wanted is not None
    keys = [f for word in wanted.by if (f := _field(event, word.text)) is not None]
    needed = {f.status for f in keys if f.role is not Role.STACK}
    absent = any(f.absent_bit is not None for f in keys)
    before = [
        f
        for f in event.fields
        if f.role is Role.PROBE or (f.role is Role.STATUS and f.name in needed) or (f.role is Role.ABSENT and absent)
    ]
    first = before + [f for key in keys for f in _with_length(event, key)]
    owner = [Field(OWNER, 0, 8, "__u64", None, Role.LENGTH, comment="the thread that this entry is of")]
    # The key's end is padded as an event's is; what is after it begins there.
    fields, size = lay_out_fields(tuple(map(_planned, first)))
    rest = [f for f in event.fields if f not in first and f.role is not Role.PADDING]
    more, whole = lay_out_fields(tuple(map(_planned, [*(owner if _owned(probe) else ()), *rest])))
    pads = sum(f.role is Role.PADDING for f in fields)
    names = iter(range(pads, pads + len(more)))
    moved = tuple(
        replace(f, offset=f.offset + size, name=f"__pad{next(names)}" if f.role is Role.PADDING else f.name)
        for f in more
    )
    return replace(event, size=size + whole, fields=(*fields, *moved))


def _owned(probe: ProbeSpec) -> bool:
    """Whether a cell is one thread's. Threads in a uprobe preempt each other, and the greatest of two values cannot be
    kept by an addition: so each has cells of its own, and the reader takes the greatest of all."""
    assert probe.aggregate is not None
    return probe.aggregate.function in ("min", "max") and probe.kind in USER_KINDS


def _with_length(event: Event, field: Field) -> list[Field]:
    """A field with what lies right before it."""
    before = field.status if field.role is Role.STACK else field.length
    return ([event.field(before)] if before is not None else []) + [field]


def _planned(f: Field) -> Planned:
    return Planned(
        f.name, f.c_type, f.count, f.role, f.type, f.format, f.status, f.absent_bit, f.comment, f.key, f.place,
        f.length, f.names,
    )  # fmt: skip


def _field(event: Event, key: str) -> Field | None:
    return next(
        (f for f in event.fields if f.role in (Role.CONTEXT, Role.VALUE, Role.STACK) and f.record_key == key), None
    )


def aggregate_of(
    spec: Spec, probe: ProbeSpec, event: Event, known: Resolved | None, report: Report
) -> Aggregate | None:
    """How it is counted; None when the key or the value is of a kind that cannot be."""
    wanted = probe.aggregate
    assert wanted is not None
    fine = _unambiguous(probe, wanted, known, report)
    keys = [(word, event.field(f.name)) for word in wanted.by if (f := _field(event, word.text)) is not None]
    for word, field in keys:
        if why := _no_key(probe, field):
            report.error("SP316", f"`{word.text}` cannot be a key: {why}", word.where)
            fine = False
    value = None
    if wanted.value is not None:
        value = _field(event, wanted.value.text)
        assert value is not None, "it is among the arguments or the context"
        if why := _no_value(value):
            report.error("SP315", f"`{wanted.function}` cannot take `{wanted.value.text}`: {why}", wanted.value.where,
                         help="`count` with it in `by` counts each of its values" if not _no_key(probe, value) else None)  # fmt: skip
            return None
        fine = _steps_fit(wanted, value, report) and fine
    if not fine:
        return None
    steps = wanted.steps
    return Aggregate(
        wanted.function,
        f"{spec.name}_{probe.name.text}",
        value,
        tuple(word.text for word in wanted.by),
        _key(spec, probe, event, [f for _, f in keys]),
        _owned(probe),
        wanted.every,
        wanted.keys,
        steps.low if steps else 0,
        steps.step if steps else 0,
        (steps.high - steps.low) // steps.step if steps else 0,
    )


def _key(spec: Spec, probe: ProbeSpec, event: Event, keys: Sequence[Field]) -> Event:
    """The first fields of the event, up to the last key and the padding after it."""
    size = (max(f.offset + f.size for f in keys) + 7) // 8 * 8 if keys else 8
    fields = tuple(f for f in event.fields if f.offset < size)
    return Event(f"{spec.name}_{probe.name.text}_key", event.probe, event.number, size, fields)


def _unambiguous(probe: ProbeSpec, wanted: AggregateSpec, known: Resolved | None, report: Report) -> bool:
    """A context field whose name an argument has too could be meant for that."""
    arguments = argument_names(known.placement) if known is not None else []
    recorded = {a.name for a in probe.args or ()}
    fine = True
    for word in (*wanted.by, *([wanted.value] if wanted.value is not None else [])):
        if word.text in wanted.contexts and word.text in arguments and word.text not in recorded:
            report.error(
                "SP317",
                f"`{word.text}` is a context field and an argument of `{known.prototype.name if known else ''}`",
                word.where,
                help=f"for the argument, add `args: [{{{word.text}: {{as: its_{word.text}}}}}]` and name that here",
                notes=["where an argument is recorded under a name of its own, this one means the context"],
            )
            fine = False
    return fine


def _no_key(probe: ProbeSpec, field: Field) -> str:
    """Why a field cannot be a key; empty when it can."""
    if field.role in (Role.CONTEXT, Role.STACK):
        return ""
    assert field.type is not None
    if field.length is not None:
        if field.size > _MOST_TEXT:
            return f"it has room for {field.size} bytes, and a key holds {_MOST_TEXT} of a string or of memory"
        asked = next((a for a in probe.args or () if a.field == field.record_key), None)
        if asked is not None and asked.bytes is not None and isinstance(asked.bytes.size, Word):
            return "how many bytes it has differs from call to call; with a number as their `size` they could be"
        return ""
    kind = bare(decay(field.type))
    if field.format in ADDRESSES and field.size <= _MOST_TEXT:
        return ""
    if isinstance(kind, Int | Enum | Pointer | BitInt) and field.count is None:
        return ""
    if isinstance(kind, Float):
        return f"`{spell(field.type)}` has values that are equal and not the same, and others that equal nothing"
    return f"`{spell(field.type)}` may have padding, and the same value would be many keys"


def _no_value(field: Field) -> str:
    """Why nothing can be computed of a field; empty when it is an integer."""
    if field.role is Role.CONTEXT:
        return "it is a name" if field.count is not None else ""
    if field.role is Role.STACK:
        return "it is a stack"
    assert field.type is not None
    if field.length is not None:
        return "it is a string" if field.c_type == "char" else "it is memory"
    if field.names is not None:
        return f"its values are names of {field.names.source}"
    kind = bare(decay(field.type))
    match kind:
        case Int(size=1 | 2 | 4 | 8):
            return ""
        case Int():
            return f"`{spell(field.type)}` has more than 8 bytes"
        case Enum():
            return f"`{spell(field.type)}` has names for values, and no sums of them"
        case Pointer():
            return f"`{spell(field.type)}` is an address"
        case _:
            return f"`{spell(field.type)}` is no integer of 1, 2, 4 or 8 bytes"


def _steps_fit(wanted: AggregateSpec, value: Field, report: Report) -> bool:
    if wanted.steps is None or value.c_type.startswith("__s") or wanted.steps.low >= 0:
        return True
    assert wanted.value is not None
    report.error("SP319", f"`min` is {wanted.steps.low}, and `{wanted.value.text}` has no sign", wanted.steps.where,
                 help="begin at 0 or above")  # fmt: skip
    return False

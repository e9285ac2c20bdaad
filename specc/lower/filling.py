"""What fills an event: its members, what is stored into them, what is saved at the entry until the return.

In: a probe's values, and where their eightbytes are from.  Out: an `Event`, stores and fetches, an `Entry`.
"""

from __future__ import annotations

from collections.abc import Sequence

from specc.diagnostics import Report
from specc.ir import (
    ALL_BITS,
    CONTEXT,
    FALLIBLE_CONTEXT,
    AddressSpace,
    Constant,
    Entry,
    Event,
    Fetch,
    Now,
    Places,
    Role,
    Saved,
    Setting,
    Source,
    Store,
)
from specc.lower.captures import MOVING_STATUS, SAVED_BYTES, STACK_BYTES, Captured
from specc.lower.event import Planned, lay_out_event, lay_out_fields
from specc.lower.nouns import RETURN, RETURN_FIELD, Value
from specc.lower.section import section
from specc.lower.stacks import space_field, stack_fields
from specc.noun import replace
from specc.prototype import Record, bare, size_of
from specc.spec import USER_KINDS, ProbeSpec, Spec

# Members of a saved entry: the time then, and whose memory it was.
ENTERED = "__entered"
MEMORY = "__memory"


def fetches_of(
    probe: ProbeSpec, values: Sequence[Value], event: Event, now: Captured, saved: Captured | None
) -> tuple[Fetch, ...]:
    """What is copied from the memory that values point to, once these are known."""
    hidden = {v.argument: v for v in values if v.hidden and v.behind is None}

    def word(value: Value) -> Source:
        if saved is not None and value.entry and value.wanted is not None:
            return Saved(value.name)
        return now.words.get(value.name, Constant(0))  # nothing is at 0, of an argument that is not there

    def covered(value: Value) -> str | None:
        return (saved.status_of if saved is not None and value.entry else now.status_of).get(value.name)

    found: list[Fetch] = []
    for value in (v for v in values if v.behind is not None and not v.hidden):
        assert value.behind is not None
        size = hidden[value.behind.size] if value.behind.size is not None else None
        after = [covered(v) for v in (value, size) if v is not None]
        field = event.field(value.name)
        assert field.status is not None
        found.append(
            Fetch(
                value.name,
                value.behind.kind,
                value.behind.room,
                word(value),
                value.behind.user,
                field.status,
                field.length,
                word(size)
                if size is not None
                else Constant(value.behind.room)
                if value.behind.kind == "bytes"
                else None,
                size.storage.c_type if size is not None else "",
                tuple(dict.fromkeys(s for s in after if s is not None)),
                path=value.behind.path,
                absent_bit=field.absent_bit
                if value.behind.path is not None and value.behind.path.need.optional
                else None,
                cleared=field.size if value.behind.path is not None and value.behind.kind == "object" else 0,
                masks=_masks(value) if isinstance(bare(value.type), Record) else (),
                of_entry=saved is not None and is_of_entry(probe, value),
            )
        )
    return tuple(found)


def is_of_entry(probe: ProbeSpec, value: Value) -> bool:
    """Whether it is read out of a process's memory when the kernel returns, by what it was given at the entry: execve(2)
    returns to another address space. Code of a process does not outlive its own."""
    if probe.kind in USER_KINDS or not value.entry or value.behind is None:
        return False
    return value.behind.user or (value.behind.path is not None and any(value.behind.path.users))


def _masks(value: Value) -> tuple[tuple[int, int], ...]:
    """The words of a record that hold padding, but for what follows its end, which is clear."""
    tail = -size_of(value.type) % 8
    ends = len(value.storage.masks) - 1
    words = ((i, m, ALL_BITS >> 8 * (tail if i == ends else 0)) for i, m in enumerate(value.storage.masks))
    return tuple((i, mask) for i, mask, all_bits in words if mask != all_bits)


def unfailing(event: Event, now: Captured) -> list[Store]:
    """What can fail in the program that an event was laid out for, and not in this one."""
    contexts = {f"{name}_error" for name in FALLIBLE_CONTEXT}
    contexts |= {f.status for f in event.fields if f.status == f"{f.name}_error"}  # which the fetch sets
    statuses = (f.name for f in event.fields if f.role is Role.STATUS)
    return [Store(n, None, Constant(0), "__s32") for n in statuses if n not in contexts and n not in now.statuses]


def event_of(
    spec: Spec,
    probe: ProbeSpec,
    number: int,
    contexts: tuple[str, ...],
    values: list[Value],
    now: Captured,
    saved: Captured | None,
    *,
    moved: bool,
) -> Event:
    status_of = {**now.status_of, **(saved.status_of if saved else {})}
    statuses = dict.fromkeys(now.statuses + (saved.statuses if saved else ()))
    planned = [Planned("probe", "__u32", None, Role.PROBE, comment=f"{number}: {probe.name.text}")]
    for status in statuses:
        covered = ", ".join(n for n, s in status_of.items() if s == status)
        if moved and status == MOVING_STATUS:
            covered = "what is on the stack"
        comment = f"0, or the negative errno that kept {covered} from being read"
        planned.append(Planned(status, "__s32", None, Role.STATUS, comment=comment))
    fallible = [c for c in contexts if c in FALLIBLE_CONTEXT]
    planned.extend(
        Planned(
            f"{c}_error", "__s32", None, Role.STATUS, comment=f"0, or the negative errno that kept {c} from being read"
        )
        for c in fallible
    )
    optional = [v for v in values if v.optional]
    if optional:
        planned.append(
            Planned("absent", "__u64", None, Role.ABSENT, comment="a bit per optional field: it is not there")
        )
    for name in contexts:
        c_type, _, count = CONTEXT[name]
        planned.append(Planned(name, c_type, count, Role.CONTEXT, status=f"{name}_error" if name in fallible else None))
    for value in values:
        if value.hidden:
            continue
        form = value.storage
        length = None
        if value.behind is not None:
            status_of[value.name] = f"{value.name}_error"
            comment = f"0, or the negative errno that kept {value.name} from being read"
            planned.append(Planned(f"{value.name}_error", "__s32", None, Role.STATUS, comment=comment))
            if value.behind.kind != "object":
                length = f"{value.name}_length"
                means = "as the string is long" if value.behind.kind == "string" else "as were meant"
                comment = f"bytes, {means}; what does not fit is cut"
                planned.append(Planned(length, "__u32", None, Role.LENGTH, comment=comment))
        planned.append(
            Planned(
                value.name,
                form.c_type,
                form.count,
                Role.VALUE,
                value.type,
                value.format,
                status_of.get(value.name),
                optional.index(value) if value.optional else None,
                value.declaration,
                RETURN if value.name == RETURN_FIELD and not value.entry else "",
                value.place,
                length,
                value.names,
            )
        )
    planned += stack_fields(probe) + space_field(probe)
    return lay_out_event(f"{spec.name}_{probe.name.text}_event", probe.name.text, number, tuple(planned))


def fixed_stores(values: list[Value], places: Places | None) -> list[Store]:
    """What is known before any event: which optional fields are not there, and zeros in their place."""
    optional = [v for v in values if v.optional]
    stores: list[Store] = []
    if optional and places is not None:
        stores.append(Store("absent", None, Setting(places.symbol, "__absent"), "__u64"))
    elif optional:
        bits = sum(1 << i for i, v in enumerate(optional) if v.wanted is None)
        stores.append(Store("absent", None, Constant(bits), "__u64"))
    for value in optional:
        if value.wanted is None and value.behind is None and not value.hidden:
            indexes = [None] if value.storage.count is None else list(range(value.storage.count))
            stores.extend(
                Store(value.name, i, Constant(0), value.storage.c_type, comment="" if i else "not in this prototype")
                for i in indexes
            )
    return stores


def entry_of(
    probe: ProbeSpec, symbol: str, values: list[Value], saved: Captured, timed: bool, space: bool, report: Report
) -> Entry | None:
    """`space` says that the address space is noted."""
    planned = [Planned(s, "__s32", None, Role.STATUS) for s in saved.statuses]
    planned += [
        Planned(v.name, v.wanted.storage.c_type, v.wanted.storage.count, Role.VALUE, comment=v.declaration)
        for v in values
        if v.wanted and v.entry
    ]
    captured = saved.capture
    if timed:
        planned.append(Planned(ENTERED, "__u64", None, Role.LENGTH, comment="when, in ns"))
        captured = replace(captured, stores=(*captured.stores, Store(ENTERED, None, Now(), "__u64")))
    if space:
        planned.append(Planned(MEMORY, "__u64", None, Role.LENGTH, comment="the address space then"))
        captured = replace(captured, stores=(*captured.stores, Store(MEMORY, None, AddressSpace(), "__u64")))
    fields, size = lay_out_fields(tuple(planned))
    if size > SAVED_BYTES or size + 8 * captured.slots > STACK_BYTES:
        copied = f", beside {8 * captured.slots} for their copies" if captured.slots and size <= SAVED_BYTES else ""
        most = min(SAVED_BYTES, STACK_BYTES - 8 * captured.slots) if copied else SAVED_BYTES
        report.error(
            "SP305",
            f"the entry arguments of `{probe.name.text}` take {size} bytes, and at most {most} can be saved "
            f"until the return{copied}",
            probe.where,
            help="name fewer arguments, or record the large ones with an entry probe",
        )
        return None
    return Entry(
        f"{symbol}_entry",
        section(probe, at_return=False),
        f"{symbol}_entry",
        fields,
        size,
        captured,
        f"{symbol}_calls",
    )


def saved_stores(entry: Entry, loose: frozenset[str]) -> list[Store]:
    stores: list[Store] = []
    for field in entry.fields:
        if field.role is Role.PADDING or field.name in (ENTERED, MEMORY) or field.name in loose:
            continue
        if field.count is None:
            stores.append(Store(field.name, None, Saved(field.name), field.c_type))
        else:
            stores.extend(Store(field.name, i, Saved(field.name, i), field.c_type) for i in range(field.count))
    return stores

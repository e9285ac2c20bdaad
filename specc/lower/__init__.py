"""Spec + prototypes + places -> Program: every decision about what is read, from where, into which field.

    program = lower(spec, {"gup": Resolved(prototype, placement, type_named)}, report)

All semantic errors of a spec are found here, each with the spec's place. What a probe cannot read is refused here
with the reason that `abi` gave; nothing after this stage refuses or guesses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from specc.declare import prove_layouts
from specc.diagnostics import Location, Report
from specc.ir import (
    CONTEXT,
    FALLIBLE_CONTEXT,
    Condition,
    Constant,
    Elapsed,
    Entry,
    Event,
    Fetch,
    Now,
    Places,
    Probe,
    Program,
    Role,
    Saved,
    Setting,
    Source,
    Store,
    Target,
)
from specc.lower.arguments import LATENCY, RETURN, RETURN_FIELD, Resolved, Value, select
from specc.lower.captures import MOVING_STATUS, PROCESS_REGISTERS, Captured, Slots, Wanted, capture, capture_moving
from specc.lower.conditions import Asked, ask, condition
from specc.lower.event import Planned, lay_out_event, lay_out_fields
from specc.lower.places import move
from specc.lower.text import place_lines
from specc.noun import replace
from specc.place import argument_names
from specc.spec import RETURN_KINDS, SYSCALL_KINDS, TRAMPOLINE_KINDS, USER_KINDS, ProbeSpec, Spec, Word
from specc.trampoline import trampoline_problem

__all__ = ["Resolved", "lower"]

# The kernel refuses a program that uses more stack than 512 bytes; calls and spilled registers need the rest.
_STACK_BYTES = 400
ENTERED = "__entered"  # the saved entry's member that has the time then
# An entry is copied through the stack, beside its key and the local slots.
_SAVED_BYTES = 256


def lower(spec: Spec, resolved: Mapping[str, Resolved], report: Report) -> Program | None:
    """The program of a spec, or None when there were errors. `resolved` has the probes whose prototype is known."""
    before = len(report.diagnostics)
    probes = [_probe(spec, p, n, resolved.get(p.name.text), report) for n, p in enumerate(spec.probes)]
    whole = [p for p in probes if p is not None]
    _check_symbols(spec, whole, report)
    if any(d.severity.value == "error" for d in report.diagnostics[before:]) or len(whole) != len(probes):
        return None
    return Program(
        spec.name,
        spec.description,
        spec.license,
        spec.path.rpartition("/")[2],  # the C text is the same in every directory
        spec.buffer.kind,
        spec.buffer.size,
        tuple(whole),
        prove_layouts(spec.name, [(f.name, f.type) for p in whole for f in p.event.fields if f.type is not None]),
    )


def _probe(spec: Spec, probe: ProbeSpec, number: int, known: Resolved | None, report: Report) -> Probe | None:
    symbol = f"{spec.name}_{probe.name.text}"
    made = _make(spec, probe, number, known, symbol, None, report)
    if made is None or known is None or not probe.best:
        return made
    return replace(made, trampoline=_by_trampoline(spec, probe, known, symbol, made.event))


def _by_trampoline(spec: Spec, probe: ProbeSpec, known: Resolved, symbol: str, event: Event) -> Probe | None:
    """The same event made by fentry or fexit, for kernels that offer it; None where a trampoline can do it on no kernel."""
    placed = [(known.prototype, known.placement), *((e.prototype, e.placement) for e in known.elsewhere)]
    if any(trampoline_problem(*one) for one in placed):
        return None
    twin = replace(probe, kind="fexit" if probe.kind in RETURN_KINDS else "fentry", best=False)
    made = _make(spec, twin, event.number, known, f"{symbol}_trampoline", event, Report())
    # Not loaded unless it is asked for: a loader that does not choose takes the other program alone.
    return replace(made, section=f"?{made.section}") if made is not None else None


def _make(
    spec: Spec,
    probe: ProbeSpec,
    number: int,
    known: Resolved | None,
    symbol: str,
    event: Event | None,
    report: Report,
) -> Probe | None:
    """A probe with its programs. With `event`, which another probe made, it fills that one."""
    values = select(probe, known, report)
    asked = ask(probe, known, report) if probe.condition is not None else None
    if values is None or (probe.condition is not None and asked is None):
        return None
    recorded = {v.name for v in values}
    values = values + [v for v in asked.values if v.name not in recorded] if asked is not None else values
    contexts = tuple(w.text for w in spec.fields)
    at_return = probe.kind in RETURN_KINDS
    saves = at_return and probe.kind not in TRAMPOLINE_KINDS
    slots = PROCESS_REGISTERS if probe.kind in SYSCALL_KINDS else Slots()
    moved = None
    if known is not None and known.target and any(v.wanted and v.entry for v in values):
        moved = move(probe, known, values, symbol, report)
        if moved is None:
            return None
        values = moved.values

    loose = frozenset(v.name for v in values if v.behind or v.hidden)

    def captured(wanted: list[Wanted], loose: frozenset[str]) -> Captured:
        if moved is None:
            return capture(wanted, slots, loose=loose)
        return capture_moving(wanted, moved.window, loose)

    saved = captured([v.wanted for v in values if v.wanted and v.entry], frozenset()) if saves else None
    late = [v for v in values if v.wanted and not (saves and v.entry)]
    now = captured([v.wanted for v in late if v.wanted and v.name in recorded], loose)
    test = None
    if asked is not None:
        mine = [v for v in values if v.hidden and v.name in {a.name for a in asked.values}]
        tested = captured([v.wanted for v in mine if v.wanted and v in late], frozenset(v.name for v in mine))
        test = condition(probe, symbol, asked, mine, tested, saved, moved.places if moved else None)
    timed = any(v.argument == LATENCY and not v.entry for v in values)
    stores = _fixed_stores(values, moved.places if moved else None) + list(now.capture.stores)
    if event is not None:
        stores = _unfailing(event, now) + stores
    else:
        event = _event(spec, probe, number, contexts, values, now, saved, moved=moved is not None)
        if not _check_fields(probe, event, values, frozenset(moved.places.room if moved else ()), report):
            return None
    if not _check_room(spec, probe, event, now, report):
        return None
    if test is not None and not _check_test(spec, probe, event, test, now, report):
        return None
    entry = None
    if saved is not None and (saved.capture.reads or saved.capture.stores or timed):
        entry = _entry(probe, symbol, values, saved, timed, report)
        if entry is None:
            return None
        stores = _saved_stores(entry, loose) + stores
    if timed:
        stores += [
            Store(v.name, None, Elapsed(ENTERED), "__u64") for v in values if v.argument == LATENCY and not v.hidden
        ]
    fetches = _fetches(probe, values, event, now, saved)
    return Probe(
        probe.name.text,
        symbol,
        section(probe, at_return=at_return),
        probe.kind,
        probe.function.text if probe.function is not None and probe.target is None else None,
        _target(probe, known.build if known else None),
        probe.kind in USER_KINDS,
        known.prototype if known else None,
        known.placement if known else None,
        _used(probe, known, asked),
        event,
        contexts,
        replace(now.capture, stores=tuple(stores), fetches=fetches),
        entry,
        place_lines(values, known),
        probe.where,
        moved.places if moved else None,
        timed=timed,
        condition=test,
    )


def _fetches(
    probe: ProbeSpec, values: Sequence[Value], event: Event, now: Captured, saved: Captured | None
) -> tuple[Fetch, ...]:
    """What is copied from the memory that values point to, once these are known."""
    hidden = {v.argument: v for v in values if v.hidden}

    def word(value: Value) -> Source:
        if saved is not None and value.entry and value.wanted is not None:
            return Saved(value.name)
        return now.words.get(value.name, Constant(0))  # nothing is at 0, of an argument that is not there

    def covered(value: Value) -> str | None:
        return (saved.status_of if saved is not None and value.entry else now.status_of).get(value.name)

    found: list[Fetch] = []
    for value in (v for v in values if v.behind is not None):
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
            )
        )
    return tuple(found)


def _unfailing(event: Event, now: Captured) -> list[Store]:
    """What can fail in the program that an event was laid out for, and not in this one."""
    contexts = {f"{name}_error" for name in FALLIBLE_CONTEXT}
    contexts |= {f.status for f in event.fields if f.status == f"{f.name}_error"}  # which the fetch sets
    statuses = (f.name for f in event.fields if f.role is Role.STATUS)
    return [Store(n, None, Constant(0), "__s32") for n in statuses if n not in contexts and n not in now.statuses]


def _used(probe: ProbeSpec, known: Resolved | None, asked: Asked | None) -> tuple[str, ...]:
    recorded = _recorded(probe, known)
    tested = (v.argument for v in asked.values if v.argument != LATENCY or v.entry) if asked is not None else ()
    return tuple(dict.fromkeys((*recorded, *tested)))


def _recorded(probe: ProbeSpec, known: Resolved | None) -> tuple[str, ...]:
    if probe.args is not None:
        sizes = [a.bytes.size.text for a in probe.args if a.bytes and isinstance(a.bytes.size, Word)]
        returns = probe.kind in RETURN_KINDS
        return tuple(dict.fromkeys([a.name for a in probe.args if not (returns and a.name == LATENCY)] + sizes))
    if known is None:
        return ()
    readable = zip(argument_names(known.placement), known.placement.arguments, strict=True)
    return (*(name for name, a in readable if a.readable), *([RETURN] if probe.kind in RETURN_KINDS else []))


def _target(probe: ProbeSpec, build: str | None) -> Target | None:
    target = probe.target
    if target is None:
        return None
    return Target(target.path.text, target.symbol.text if target.symbol else None, target.offset, target.pid, build)


def section(probe: ProbeSpec, *, at_return: bool) -> str:
    """The ELF section that tells a libbpf-based loader where to attach (libbpf's SEC conventions)."""
    match probe.kind:
        case "kprobe" | "kretprobe":
            kind = "kretprobe" if at_return else "kprobe"
        case "uprobe" | "uretprobe":
            kind = "uretprobe" if at_return else "uprobe"
        case "ksyscall" | "kretsyscall":
            kind = "kretsyscall" if at_return else "ksyscall"
        case other:
            kind = other
    if probe.target is None:
        assert probe.function is not None
        return f"{kind}/{probe.function.text}"
    target = probe.target
    # Where libbpf's syntax cannot say it, the section names only the program type and the loader attaches by itself.
    if target.symbol is None or target.pid is not None or ":" in target.path.text or "@" in target.symbol.text:
        return kind
    offset = f"+{target.offset:#x}" if target.offset else ""
    text = f"{kind}/{target.path.text}:{target.symbol.text}{offset}"
    return text if text.isascii() and text.isprintable() else kind  # what C can say in an attribute


def _event(
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
    return lay_out_event(f"{spec.name}_{probe.name.text}_event", probe.name.text, number, tuple(planned))


def _fixed_stores(values: list[Value], places: Places | None) -> list[Store]:
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


def _entry(
    probe: ProbeSpec, symbol: str, values: list[Value], saved: Captured, timed: bool, report: Report
) -> Entry | None:
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
    fields, size = lay_out_fields(tuple(planned))
    if size > _SAVED_BYTES:
        report.error(
            "SP305",
            f"the entry arguments of `{probe.name.text}` take {size} bytes, and at most {_SAVED_BYTES} can be saved "
            "until the return",
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


def _saved_stores(entry: Entry, loose: frozenset[str]) -> list[Store]:
    stores: list[Store] = []
    for field in entry.fields:
        if field.role is Role.PADDING or field.name == ENTERED or field.name in loose:
            continue
        if field.count is None:
            stores.append(Store(field.name, None, Saved(field.name), field.c_type))
        else:
            stores.extend(Store(field.name, i, Saved(field.name, i), field.c_type) for i in range(field.count))
    return stores


def _check_fields(
    probe: ProbeSpec, event: Event, values: list[Value], constants: frozenset[str], report: Report
) -> bool:
    """No two members of an event or of its `constants`, and no two keys of a record, have one name; the value is what can
    be renamed."""
    places = {v.name: v.where for v in values}
    shown = [f for f in event.fields if f.role in (Role.CONTEXT, Role.VALUE)]
    taken = {f.name for f in event.fields if f.role is not Role.VALUE} | {"probe"} | constants
    # A record tells a failed read under the key NAME_error.
    taken |= {f"{f.record_key}_error" for f in shown if f.status is not None}
    fine = True
    for field in (f for f in shown if f.role is Role.VALUE):
        for name in dict.fromkeys((field.name, field.record_key)):
            if name in taken:
                fine = False
                report.error(
                    "SP241",
                    f"two fields of `{probe.name.text}` would be called `{name}`",
                    places.get(field.name, probe.where),
                    help=f"give it another name: {{{name}: {{as: {name}_}}}}",
                )
            taken.add(name)
    return fine


def _check_room(spec: Spec, probe: ProbeSpec, event: Event, now: Captured, report: Report) -> bool:
    used = 8 * now.capture.slots + (event.size if spec.buffer.kind == "perf" else 0)
    if used <= _STACK_BYTES:
        return True
    report.error(
        "SP304",
        f"the event of `{probe.name.text}` has {event.size} bytes, too many for a perf buffer: it is put together on "
        f"the program's stack, which holds {_STACK_BYTES - 8 * now.capture.slots} beside the rest",
        probe.where,
        help="use `buffer: {ring: 1MiB}`, or record less",
    )
    return False


def _check_test(spec: Spec, probe: ProbeSpec, event: Event, test: Condition, now: Captured, report: Report) -> bool:
    """What is tested is copied to the stack, as what is recorded is, and as is an event for a perf buffer."""
    used = event.size if spec.buffer.kind == "perf" else 0
    used += 8 * (test.capture.slots + now.capture.slots + test.capture.words) + 80 * bool(test.texts)
    if used <= _STACK_BYTES:
        return True
    report.error(
        "SP289", f"what `{probe.name.text}` tests and records takes {used} bytes of the program's stack, of {_STACK_BYTES}",
        probe.condition.where if probe.condition is not None else probe.where,
        help="record fewer of the arguments on the stack, or test none of them",
    )  # fmt: skip
    return False


def _check_symbols(spec: Spec, probes: list[Probe], report: Report) -> None:
    """The C identifiers of a file: two probes' derived names can meet, say those of `a` and of `a_entry`."""
    taken: dict[str, Location | None] = dict.fromkeys(f"{spec.name}_{n}" for n in ("events", "lost", "pid"))
    taken["specc_description"] = None
    for probe in probes:
        names = [probe.symbol] + ([probe.entry.symbol, probe.entry.map] if probe.entry else [])
        names += [probe.at.symbol] if probe.at else []
        names += _condition_names(probe)
        if other := probe.trampoline:
            names += [other.symbol] + ([other.at.symbol] if other.at else []) + _condition_names(other)
        for name in names:
            if name in taken:
                report.error(
                    "SP242",
                    f"the generated C would define `{name}` twice",
                    probe.where,
                    help="give the probe another `name`",
                )
            taken[name] = probe.where


def _condition_names(probe: Probe) -> list[str]:
    test = probe.condition
    return [test.symbol, *(t.name for t in test.texts)] if test is not None else []

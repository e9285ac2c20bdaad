"""One probe of a spec -> its programs and its event.

made = lower_probe(spec, spec.probes[0], 0, known, report)      # a Probe, or None after a finding
"""

from __future__ import annotations

from specc.diagnostics import Report
from specc.ir import (
    Elapsed,
    Event,
    Limit,
    Probe,
    Store,
    Target,
)
from specc.lower.aggregates import aggregate_of, key_first
from specc.lower.arguments import select
from specc.lower.captures import PROCESS_REGISTERS, SAVING_SLOTS, Captured, Slots, Wanted, capture, capture_moving
from specc.lower.checks import check_fields, check_room, check_test
from specc.lower.conditions import Asked, ask, condition
from specc.lower.filling import ENTERED, entry_of, event_of, fetches_of, fixed_stores, saved_stores, unfailing
from specc.lower.nouns import LATENCY, RETURN, Resolved
from specc.lower.places import move
from specc.lower.section import section
from specc.lower.shown import check_process
from specc.lower.stacks import wants_space
from specc.lower.text import place_lines
from specc.noun import replace
from specc.place import argument_names
from specc.spec import RETURN_KINDS, SYSCALL_KINDS, TRAMPOLINE_KINDS, USER_KINDS, ProbeSpec, Spec, Word
from specc.trampoline import trampoline_problem


def lower_probe(spec: Spec, probe: ProbeSpec, number: int, known: Resolved | None, report: Report) -> Probe | None:
    symbol = f"{spec.name}_{probe.name.text}"
    made = _make(spec, probe, number, known, symbol, None, report)
    if made is not None and probe.aggregate is not None:
        aggregate = aggregate_of(spec, probe, made.event, known, report)
        made = replace(made, aggregate=aggregate) if aggregate is not None else None
    if made is None or known is None or not probe.best:
        return made
    twin = _by_trampoline(spec, probe, known, symbol, made.event)
    return replace(made, trampoline=replace(twin, aggregate=made.aggregate) if twin is not None else None)


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
    contexts = tuple(w.text for w in spec.fields) if probe.aggregate is None else probe.aggregate.contexts
    if not check_process(probe, contexts, report):
        return None
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

    def captured(wanted: list[Wanted], loose: frozenset[str], slots: Slots = slots) -> Captured:
        if moved is None:
            return capture(wanted, slots, loose=loose)
        return capture_moving(wanted, moved.window, loose)

    saving = replace(slots, most=SAVING_SLOTS)
    saved = captured([v.wanted for v in values if v.wanted and v.entry], frozenset(), saving) if saves else None
    late = [v for v in values if v.wanted and not (saves and v.entry)]
    now = captured([v.wanted for v in late if v.wanted and v.name in recorded], loose)
    test = None
    if asked is not None:
        mine = [v for v in values if v.hidden and v.name in {a.name for a in asked.values}]
        tested = captured([v.wanted for v in mine if v.wanted and v in late], frozenset(v.name for v in mine))
        test = condition(probe, symbol, asked, mine, tested, saved, moved.places if moved else None)
    timed = any(v.argument == LATENCY and not v.entry for v in values)
    stores = fixed_stores(values, moved.places if moved else None) + list(now.capture.stores)
    if event is not None:
        stores = unfailing(event, now) + stores
    else:
        event = event_of(spec, probe, number, contexts, values, now, saved, moved=moved is not None)
        event = event if probe.aggregate is None else key_first(probe, event)
        if not check_fields(probe, event, values, frozenset(moved.places.room if moved else ()), report):
            return None
    if not check_room(spec, probe, event, now, report):
        return None
    if test is not None and not check_test(spec, probe, event, test, now, report):
        return None
    fetches = fetches_of(probe, values, event, now, saved)
    entry = None
    if saved is not None and (saved.capture.reads or saved.capture.stores or timed):
        space = any(f.of_entry for f in fetches) or (test is not None and test.of_entry)
        entry = entry_of(probe, symbol, values, saved, timed, space, report)
        if entry is None:
            return None
        stores = saved_stores(entry, loose) + stores
    if timed:
        stores += [
            Store(v.name, None, Elapsed(ENTERED), "__u64") for v in values if v.argument == LATENCY and not v.hidden
        ]
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
        sample=probe.sample,
        limit=Limit(probe.limit.text, probe.limit.most, probe.limit.ns, f"{spec.name}_{probe.name.text}_spans")
        if probe.limit is not None
        else None,
        stacks=probe.stacks,
        space=wants_space(probe),
    )


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

"""Spec + prototypes + places -> Program: every decision about what is read, from where, into which field.

    program = lower(spec, {"gup": Resolved(prototype, placement, type_named)}, report)

All semantic errors of a spec are found here, each with the spec's place. What a probe cannot read is refused here
with the reason that `abi` gave; nothing after this stage refuses or guesses.
"""

from __future__ import annotations

from collections.abc import Mapping

from specc.declare import prove_layouts
from specc.diagnostics import Location, Report
from specc.ir import Probe, Program
from specc.lower.nouns import Resolved
from specc.lower.probe import lower_probe
from specc.spec import Spec

__all__ = ["Resolved", "lower"]


def lower(spec: Spec, resolved: Mapping[str, Resolved], report: Report) -> Program | None:
    """The program of a spec, or None when there were errors. `resolved` has the probes whose prototype is known."""
    before = len(report.diagnostics)
    probes = [lower_probe(spec, p, n, resolved.get(p.name.text), report) for n, p in enumerate(spec.probes)]
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
        spec.stack_room,
    )


def _check_symbols(spec: Spec, probes: list[Probe], report: Report) -> None:
    """The C identifiers of a file: two probes' derived names can meet, say those of `a` and of `a_entry`."""
    taken: dict[str, Location | None] = dict.fromkeys(
        f"{spec.name}_{n}" for n in ("events", "lost", "pid", "comm", "by_cgroup", "cgroup")
    )
    taken |= dict.fromkeys(f"{spec.name}_{whose}_stacks" for probe in probes for whose in probe.stacks)
    taken |= dict.fromkeys([f"{spec.name}_phases"] if any(p.aggregate for p in probes) else [])
    taken["specc_description"] = None
    for probe in probes:
        names = [probe.symbol] + ([probe.entry.symbol, probe.entry.map] if probe.entry else [])
        names += [probe.at.symbol] if probe.at else []
        names += [f"{probe.symbol}_{n}" for n in ("0", "1", "add", "cell", "empty")] if probe.aggregate else []
        names += [probe.limit.map] if probe.limit else []
        names += _condition_names(probe)
        names += [f.symbol for f in probe.followings]
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

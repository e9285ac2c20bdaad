"""A probed kernel function on each kernel that its spec is compiled for.

In: a probe and its targets.  Out: the prototype that counts with those of the others; findings where they differ in what
the probe uses (SP250 to SP254), or a declaration of the spec in what it says (SP209).

    found = on_targets(probe, targets, report, surveys)
    found.prototype, found.btf                 # those of the first target
    found.elsewhere                            # (Elsewhere("6.12", prototype, placement),): others, where all fits
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from specc.diagnostics import Report, Stop
from specc.lower.nouns import Elsewhere, Resolved
from specc.noun import dataclass, replace
from specc.path import Complete
from specc.place import Placement
from specc.prototype import Prototype, spell_prototype
from specc.spec import TRACEPOINT, ProbeSpec
from specc.tracepoint import place_tracepoint

if TYPE_CHECKING:
    from specc.btf import Btf
    from specc.sources import Target
    from specc.survey import Seen, Survey


@dataclass(frozen=True, slots=True)
class OnTargets:
    target: str
    prototype: Prototype
    btf: Btf
    elsewhere: tuple[Elsewhere, ...]


def on_targets(
    probe: ProbeSpec, targets: Sequence[Target], report: Report, surveys: list[Survey] | None
) -> OnTargets | None:
    """The function on its targets. What does not fit on one of several is reported: then the program comes to nothing,
    and the rest of the probe is still checked on those where everything fits. None where nothing does. Raises Stop."""
    assert probe.function is not None
    if len(targets) == 1 and surveys is None:
        return OnTargets(targets[0].name, *_prototype(probe, targets[0]), ())
    from specc.survey import report_findings, survey_probe

    survey = survey_probe(probe, [_seen(probe, target) for target in targets])
    if surveys is not None:
        surveys.append(survey)
    rows = survey.rows
    if len(rows) == 1 and rows[0].problem is not None:
        raise Stop(rows[0].problem)
    rows = report_findings(survey, report)
    if not rows:
        return None
    first = next(target for target in targets if target.name == rows[0].target)
    prototype, btf = _prototype(probe, first)
    elsewhere = [
        Elsewhere(r.target, r.prototype, r.placement, _records_of(probe, targets, r.target))
        for r in rows[1:]
        if r.prototype and r.placement
    ]
    return OnTargets(first.name, prototype, btf, tuple(elsewhere))


def _records_of(probe: ProbeSpec, targets: Sequence[Target], name: str) -> Complete:
    from specc.btf.complete import completed_by

    _, btf = _prototype(probe, next(t for t in targets if t.name == name))
    return completed_by(btf)


def look(probe: ProbeSpec, targets: Sequence[Target], surveys: list[Survey]) -> None:
    """Whether the function is there, for a probe that needs nothing of its prototype: what BTF does not have may still
    be in the kernel, so that its lack is no finding."""
    from specc.survey import survey_probe

    if targets:
        surveys.append(survey_probe(probe, [_seen(probe, target) for target in targets]))


def place(probe: ProbeSpec, prototype: Prototype) -> Placement:
    """Where a probe finds the arguments of what the kernel calls."""
    if probe.kind == TRACEPOINT:
        return place_tracepoint(prototype)
    from specc.abi import place_arguments

    return place_arguments(prototype, kernel=True)


def _prototype(probe: ProbeSpec, target: Target) -> tuple[Prototype, Btf]:
    """Raises Stop."""
    assert probe.function is not None
    find = target.tracepoint if probe.kind == TRACEPOINT else target.prototype
    return find(probe.function.text, probe.function.where)


def _seen(probe: ProbeSpec, target: Target) -> Seen:
    from specc.survey import Seen

    try:
        prototype, _ = _prototype(probe, target)
    except Stop as problem:
        return Seen(target.name, problem=problem.diagnostic)
    return Seen(target.name, prototype, place(probe, prototype))


def compare_declared(
    probe: ProbeSpec,
    known: Resolved,
    declared: str,
    targets: Sequence[Target],
    report: Report,
    surveys: list[Survey] | None,
) -> None:
    """A header's prototype against the targets: they must agree on what the spec uses. `declared` says where it is.

    The running kernel is not asked here: the same spec gives the same output on every machine, and the kernel that
    it is loaded into is compared when it is loaded.
    """
    if not targets:
        return
    from specc.compare import argument_differences
    from specc.survey import Seen, survey_probe

    assert probe.function is not None
    ours = known.prototype
    names = [a.name for a in ours.parameters if a.name] if probe.args is None else [a.name for a in probe.args]
    names += [n for n in probe.tested if n not in names and n in {*(a.name for a in ours.parameters), "return"}]
    seen = [Seen(declared, ours, known.placement)]
    different: dict[str, list[tuple[str, Prototype]]] = {}
    for target in targets:
        # A name that stands for several functions there agrees when one of them does: which of them is probed is
        # a question for the machine that runs the probe. One that is not in the BTF may still be in the kernel.
        find = target.tracepoints if probe.kind == TRACEPOINT else target.find
        others = [(theirs, argument_differences(ours, theirs, names)) for theirs in find(probe.function.text)]
        if not others:
            seen.append(_seen(probe, target))
            continue
        theirs, found = min(others, key=lambda other: len(other[1]))
        seen.append(Seen(target.name, theirs, place(probe, theirs)))
        if found:
            different.setdefault(spell_prototype(theirs), []).append((target.name, theirs))
    for alike in different.values():
        _report_difference(probe, ours, alike, names, report)
    if surveys is not None:
        surveys.append(survey_probe(probe, seen, declared))


def _report_difference(
    probe: ProbeSpec, ours: Prototype, alike: Sequence[tuple[str, Prototype]], names: Sequence[str], report: Report
) -> None:
    """SP209, once for all kernels that declare the function in one way."""
    from specc.compare import argument_differences
    from specc.survey import listed

    assert probe.function is not None
    kernel, theirs = alike[0]
    source = theirs.source
    if len(alike) > 1 or source not in (f"BTF of {kernel}", f"BTF of {kernel}.btf"):
        source = f"the BTF of {listed([name for name, _ in alike])}"
    found = argument_differences(ours, replace(theirs, source=source), names)
    report.error(
        "SP209",
        f"`{ours.name}` is declared differently in {source}: {found[0]}",
        probe.function.where,
        notes=[
            *(f"also: {difference}" for difference in found[1:]),
            f"{ours.source}: {spell_prototype(ours)}",
            f"{source}: {spell_prototype(theirs)}",
        ],
        help="take the declaration of the kernel that is probed",
    )

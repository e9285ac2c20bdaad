"""One probe on every kernel that it is for: where its arguments are there, what changed from one to the next, what does
not fit.

In: a probe of a spec, and its function on each target.  Out: a `Survey`, and its findings in a Report (SP250 to SP254).

    survey = survey_probe(probe, (Seen("6.1", prototype, placement), Seen("6.12", ...)))
    survey.rows[1].places["locked"]            # (Piece(0, 8, "r9"),)
    survey.rows[1].changes                     # (Change("removed", "vmas", "`vmas` is gone"), ...)
    report_findings(survey, report)

The kernel that comes first says what the types are; an optional argument that it lacks is taken from the next one that
has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from specc.compare import type_difference
from specc.diagnostics import Diagnostic, Location, Report, did_you_mean
from specc.fit import RETURN, Misfit, Need, fit
from specc.noun import dataclass
from specc.place import Piece, Placement, argument_names, place_text
from specc.prototype import CType, Prototype, Unknown, Void, bare, decay, spell, spell_prototype
from specc.spec import RETURN_KINDS, TRACEPOINT, ProbeSpec

_CODES: Final = {"missing": "SP250", "type": "SP251", "unreadable": "SP252", "unknown": "SP253"}


@dataclass(frozen=True, slots=True)
class Seen:
    """A function on one target. `problem` says why it has no prototype there."""

    target: str
    prototype: Prototype | None = None
    placement: Placement | None = None
    problem: Diagnostic | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What is other than on the kernel before. `kind` is "inserted", "removed", "renamed", "retyped", "reordered",
    "moved" or "result"; `argument` is its name here, of a removed one its name there."""

    kind: str
    argument: str
    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """One target. `places` has what is wanted and found there, `misfits` what is wanted and does not fit; what is in
    neither is optional and absent. `changes` are against the row before that has a prototype."""

    target: str
    prototype: Prototype | None
    placement: Placement | None
    problem: Diagnostic | None
    places: Mapping[str, tuple[Piece, ...]]
    misfits: Mapping[str, Misfit]
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Survey:
    """One probe on its targets. `wanted` are the names of arguments, in the order of the event, and maybe "return".

    `declared` says where the spec itself has the prototype from: then the first row is that declaration's.
    """

    probe: str
    kind: str
    function: str
    where: Location
    wanted: tuple[str, ...]
    optional: frozenset[str]
    name_where: Mapping[str, Location]
    declared: str
    rows: tuple[Row, ...]


def survey_probe(probe: ProbeSpec, seen: Sequence[Seen], declared: str = "") -> Survey:
    """The probe on every target, in their order."""
    assert probe.function is not None
    needs = _needs(probe, seen)
    known = {need.name for need in needs}
    # The program measures the time of a call itself: it is on every kernel, and in no prototype.
    arguments = [a for a in probe.args or () if a.name != "latency" or probe.kind not in RETURN_KINDS]
    nowhere = [a for a in arguments if a.name not in known]
    rows: list[Row] = []
    before: Row | None = None
    wanted = tuple(dict.fromkeys((*(a.name for a in arguments), *(n.name for n in needs))))
    for one in seen:
        if one.prototype is None or one.placement is None:
            rows.append(Row(one.target, None, None, one.problem, {}, {}, ()))
            continue
        there = fit(needs, one.prototype, one.placement)
        misfits = {m.need: m for m in there.misfits}
        places = dict(there.pieces)
        if RETURN in known and RETURN not in misfits:
            places[RETURN] = one.placement.result.pieces
        names = argument_names(one.placement)
        for argument in nowhere:
            if not argument.optional:
                text = f"no argument `{argument.name}`: there are {', '.join(names) or 'none'}"
                misfits[argument.name] = Misfit(argument.name, "missing", text, did_you_mean(argument.name, names))
        doubtful = bool(one.prototype.doubt)
        changes = () if before is None or doubtful else _changes(before, one, places, wanted)
        row = Row(one.target, one.prototype, one.placement, None, places, misfits, changes)
        rows.append(row)
        before = before if doubtful else row
    return Survey(
        probe.name.text,
        probe.written_kind,
        probe.function.text,
        probe.function.where,
        wanted,
        frozenset(a.name for a in probe.args or () if a.optional),
        {a.name: a.where for a in probe.args or ()},
        declared,
        tuple(rows),
    )


def _needs(probe: ProbeSpec, seen: Sequence[Seen]) -> tuple[Need, ...]:
    """What the probe wants, with the types that the first target says it has."""
    found = [one for one in seen if one.prototype is not None and one.placement is not None]
    if probe.args is None:
        return _everything(probe, found[0]) if found else ()
    needs: list[Need] = []
    for argument in probe.args:
        ctype = next((t for one in found if (t := _type_of(argument.name, one)) is not None), None)
        if ctype is not None:
            needs.append(Need(argument.name, ctype, argument.optional, argument.type is not None))
    return (*needs, *_tested(probe, found, {n.name for n in needs}))


def _tested(probe: ProbeSpec, found: Sequence[Seen], known: set[str]) -> Iterator[Need]:
    """What a condition wants besides; what is no argument anywhere may be another name, and is looked at elsewhere."""
    for name in probe.tested:
        ctype = next((t for one in found if (t := _type_of(name, one)) is not None), None)
        if ctype is not None and name not in known and (name != RETURN or probe.kind in RETURN_KINDS):
            yield Need(name, ctype)


def _type_of(name: str, one: Seen) -> CType | None:
    assert one.prototype is not None and one.placement is not None
    if name == RETURN:
        return one.prototype.result
    names = argument_names(one.placement)
    return one.placement.arguments[names.index(name)].type if name in names else None


def _everything(probe: ProbeSpec, one: Seen) -> tuple[Need, ...]:
    """Without `args`: all that can be read on the first target."""
    assert one.prototype is not None and one.placement is not None
    named = zip(argument_names(one.placement), one.placement.arguments, strict=True)
    needs = [Need(name, a.type) for name, a in named if a.readable and a.size > 0]
    result = one.placement.result
    if (
        probe.kind in RETURN_KINDS
        and not isinstance(bare(one.prototype.result), Void | Unknown)
        and result.size > 0
        and (result.readable or result.memory)
    ):
        needs.append(Need(RETURN, one.prototype.result))
    return tuple(needs)


# --- what changed -----------------------------------------------------------------------------------------------------


def _changes(
    before: Row, now: Seen, places: Mapping[str, tuple[Piece, ...]], wanted: Sequence[str]
) -> tuple[Change, ...]:
    """From one kernel to the next: in the prototype, and in the places of what is wanted."""
    assert before.prototype is not None and before.placement is not None
    assert now.prototype is not None and now.placement is not None
    found = prototype_changes(before.prototype, before.placement, now.prototype, now.placement)
    for name in wanted:
        old, new = before.places.get(name), places.get(name)
        if old is not None and new is not None and name != RETURN and place_text(old) != place_text(new):
            found.append(Change("moved", name, f"`{name}` moves from {place_text(old)} to {place_text(new)}"))
    return tuple(found)


def prototype_changes(a: Prototype, a_placement: Placement, b: Prototype, b_placement: Placement) -> list[Change]:
    """What of `a` is other in `b`, as somebody who reads the second prototype after the first would say it."""
    from difflib import SequenceMatcher

    ours, theirs = argument_names(a_placement), argument_names(b_placement)
    types = {n: x.type for n, x in zip(theirs, b_placement.arguments, strict=True)}
    old_types = {n: x.type for n, x in zip(ours, a_placement.arguments, strict=True)}
    found: list[Change] = []
    renamed: set[str] = set()
    for tag, i, i_end, j, j_end in SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes():
        if tag == "replace" and i_end - i == j_end - j:
            for old, new in zip(ours[i:i_end], theirs[j:j_end], strict=True):
                if old not in types and new not in old_types and _alike(old_types[old], types[new]):
                    found.append(Change("renamed", new, f"`{old}` is called `{new}`"))
                    renamed |= {old, new}
    for number, name in enumerate(ours):
        if name not in types and name not in renamed:
            found.append(Change("removed", name, f"`{name}` (argument {number + 1}) is gone"))
    for number, name in enumerate(theirs):
        if name not in old_types and name not in renamed:
            text = f"`{spell(types[name], name)}` is new, as argument {number + 1}"
            found.append(Change("inserted", name, text))
    kept, kept_there = [n for n in ours if n in types], [n for n in theirs if n in old_types]
    swapped = next(((old, new) for old, new in zip(kept, kept_there, strict=False) if old != new), None)
    if swapped is not None and sorted(kept) == sorted(kept_there):  # else a name is there twice
        found.append(Change("reordered", swapped[1], f"`{swapped[1]}` comes before `{swapped[0]}`"))
    for name in kept_there:
        why = type_difference(decay(old_types[name]), decay(types[name]))
        if why is not None:
            text = f"`{name}` is `{spell(types[name])}`, it was `{spell(old_types[name])}`"
            found.append(Change("retyped", name, text))
    if type_difference(a.result, b.result) is not None:
        found.append(Change("result", RETURN, f"the result is `{spell(b.result)}`, it was `{spell(a.result)}`"))
    return found


def _alike(a: CType, b: CType) -> bool:
    return type_difference(decay(a), decay(b)) is None


# --- findings ---------------------------------------------------------------------------------------------------------


def report_findings(survey: Survey, report: Report) -> tuple[Row, ...]:
    """Report what does not fit, each thing once with all the kernels that it is so on. Gives the rows without findings.

    What is wrong on every kernel alike is the spec's own mistake: the compiler's later stages tell it.
    """
    _report_absences(survey, report)
    rows = [row for row in survey.rows if row.prototype is not None]
    found: set[str] = set()
    for name in survey.wanted:
        if len({_alike_misfit(row.misfits.get(name)) for row in rows}) > 1:
            _report_misfits(survey, name, [row for row in rows if not _doubt(row)], report)
            found.add(name)
    if found:
        _report_doubts(survey, [row for row in rows if _doubt(row)], report)
    return tuple(row for row in rows if found.isdisjoint(row.misfits))


def _report_absences(survey: Survey, report: Report) -> None:
    what = "tracepoint" if survey.kind == TRACEPOINT else "function"
    absent: dict[tuple[str, tuple[str, ...], str | None], list[str]] = {}
    for row in survey.rows:
        match row.problem:
            case None:
                pass
            case Diagnostic(code="SP234" | "SP235" | "SP237" | "SP247" | "SP248" as code, notes=notes, help=help):
                # Without the file's name, so that kernels where it is so can be told together.
                text = {
                    "SP234": f"there is no function `{survey.function}`",
                    "SP235": f"several {what}s are named `{survey.function}`",
                    "SP247": f"there is no tracepoint `{survey.function}`",
                    "SP248": f"nothing names the parameters of the tracepoint `{survey.function}`",
                }.get(code, row.problem.message)
                absent.setdefault((text, notes, help), []).append(row.target)
            case problem:
                report.diagnostics.append(problem)
    for (text, notes, help), targets in absent.items():
        where = "every target" if len(targets) == len(survey.rows) else listed(targets)
        report.error("SP254", f"on {where}: {text}", survey.where, notes=notes, help=help)


def _doubt(row: Row) -> str:
    return row.prototype.doubt if row.prototype is not None else ""


def _report_doubts(survey: Survey, rows: Sequence[Row], report: Report) -> None:
    for doubt in dict.fromkeys(map(_doubt, rows)):
        targets = listed([row.target for row in rows if _doubt(row) == doubt])
        report.error("SP253", f"`{survey.function}` on {targets}: {doubt}", survey.where)


def _alike_misfit(misfit: Misfit | None) -> tuple[str, str] | None:
    """What makes two misfits one: a missing argument is missing, whatever there is instead."""
    return None if misfit is None else (misfit.kind, "" if misfit.kind == "missing" else misfit.text)


def _report_misfits(survey: Survey, name: str, rows: Sequence[Row], report: Report) -> None:
    groups: dict[tuple[str, str, str | None], list[Row]] = {}
    for row in rows:
        if (misfit := row.misfits.get(name)) is not None:
            groups.setdefault((misfit.kind, misfit.text, misfit.help), []).append(row)
    right = next(row for row in rows if name not in row.misfits) if any(name not in r.misfits for r in rows) else None
    for (kind, text, help), members in groups.items():
        notes = [f"{_group(members)}: {_spelled(members[0])}"]
        if right is not None:
            notes.append(f"{right.target}: {_spelled(right)}")
        if kind == "missing" and help is None:
            help = f"`{{{name}: {{optional: true}}}}` makes it null where it does not exist"
        where = survey.name_where.get(name, survey.where)
        targets = listed([row.target for row in members])
        report.error(_CODES[kind], f"`{survey.function}` on {targets}: {text}", where, notes=notes, help=help)


def _spelled(row: Row) -> str:
    assert row.prototype is not None
    return spell_prototype(row.prototype)


def _group(rows: Sequence[Row]) -> str:
    return rows[0].target if len(rows) == 1 else f"{rows[0].target} and others"


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"

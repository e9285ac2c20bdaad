"""Whether the functions in the files of this machine are those that an object was compiled for.

In: user probes of a description, and where they go.  Out: findings; none when all is well.

    check_user_code(probes, places, where, report, force=False)

A file with the build id that the object carries is the one that was read. In another, debug information must say that
the declaration holds there too, and that the arguments are where the programs read them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

from specc.describe import ProbeDescription
from specc.diagnostics import Diagnostic, Location, Report, Severity, Stop
from specc.elf import NotElf
from specc.fit import RETURN
from specc.ir import Role
from specc.locate import UserPlace
from specc.noun import replace
from specc.place import argument_names, place_text

Where = Callable[[str], Location | None]


def check_user_code(
    probes: Sequence[ProbeDescription], places: Mapping[str, UserPlace], where: Where, report: Report, *, force: bool
) -> None:
    """Report each probe whose function has other arguments, or has them elsewhere, than its programs were made for."""
    for probe in probes:
        place = places.get(probe.name)
        if place is None or place.symbol is None or probe.declaration is None or not probe.used:
            continue
        for message, notes in _problems(probe, place):
            report.diagnostics.append(
                Diagnostic(
                    "SP276",
                    message,
                    where(probe.name),
                    notes,
                    "values may be wrong: --force was given"
                    if force
                    else "build the spec with the file of this machine (--force runs it all the same)",
                    Severity.WARNING if force else Severity.ERROR,
                )
            )


def _problems(probe: ProbeDescription, place: UserPlace) -> list[tuple[str, tuple[str, ...]]]:
    from specc.prototype import spell_prototype
    from specc.user_code import described, disagreements, identity, moved

    assert probe.target is not None and probe.declaration is not None and place.symbol is not None
    built, name, symbol = probe.target.build, os.path.basename(probe.target.path), place.symbol.name
    try:
        now = identity(place.path) if built is not None else None
    except (OSError, NotElf) as problem:
        return [(f"cannot read `{place.path}`: {problem}", ())]
    if built is not None and now == built:
        return []
    ids = (f"build id there: {now}", f"compiled in: {built}") if built is not None else ()
    try:
        found = described(place, name, None, declared=True)
    except Stop as problem:
        return [(problem.diagnostic.message, (*problem.diagnostic.notes, *ids))]
    if found is None:
        if built is None:
            return []  # a declaration that a person gave, and nothing to compare it with
        return [
            (
                f"`{place.path}` is not the file that the places of `{symbol}`'s arguments were read from",
                (*ids, "it has no debug information, so nobody can tell where they are there"),
            )
        ]
    ours, theirs = probe.declaration, found.subprogram.prototype
    if ours.source == theirs.source:  # of the same file, as it was and as it is
        ours = replace(ours, source=f"{ours.source} as it was when this was compiled")
    different = disagreements(ours, theirs, list(probe.used))
    if different:
        both = (f"{ours.source or 'the spec'}: {spell_prototype(ours)}", f"{theirs.source}: {spell_prototype(theirs)}")
        return [
            (f"`{symbol}` is declared differently in `{place.path}`: {different[0]}", (*different[1:], *both, *ids))
        ]
    by_abi = found.subprogram.by_abi(ours)
    read = {n: place_text(a.pieces) for n, a in zip(argument_names(by_abi), by_abi.arguments, strict=True)}
    if built is not None:
        read = {n: _places_compiled_in(probe).get(n, "where the other file had it") for n in read}
    # Nothing is recorded of a result that there is none of, or that no probe can read, also where nothing was named.
    returns = by_abi.result.readable or by_abi.result.memory
    read = {n: read.get(n, "") for n in probe.used if n in read or (n == RETURN and returns)}
    elsewhere = moved(ours, found.subprogram, read)
    if not elsewhere:
        return []
    return [(f"arguments of `{symbol}` are elsewhere in `{place.path}`: {elsewhere[0]}", (*elsewhere[1:], *ids))]


def _places_compiled_in(probe: ProbeDescription) -> dict[str, str]:
    """Where the program reads its arguments, as far as fields tell: those that paths lead to, those that are called like the
    argument; and all, where there are as many, since they are in the arguments' order."""
    fields = [f for f in probe.event.fields if f.role is Role.VALUE]
    found = {f.record_key: f.place.lstrip("*") for f in fields}
    found |= {p.argument: found[p.field] for p in probe.paths if p.field in found}
    if len(fields) == len(probe.used) and not probe.paths:
        found |= {name: f.place.lstrip("*") for name, f in zip(probe.used, fields, strict=True)}
    return found

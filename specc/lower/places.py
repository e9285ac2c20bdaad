"""Places that are known only when a program is loaded: constants for a loader to set, with those of the first target in
them.

    moved = move(probe, known, values, "gup_gup", report)
    moved.values        # as before, but for where their eightbytes come from
    moved.places        # the constants, for `emit` to spell and for the description to carry

A prototype out of BTF is one kernel's. The same program runs on the others, because each argument's place is a constant
of .rodata that the verifier knows: it follows the one branch that is right there and drops the rest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from specc.diagnostics import Report
from specc.ir import PlaceConstant, Places
from specc.lower.captures import LOCAL_SLOTS, Window
from specc.lower.nouns import RETURN, Resolved, Value
from specc.noun import dataclass, replace
from specc.place import (
    GENERAL_REGISTERS,
    SMALL,
    Placement,
    argument_codes,
    argument_names,
    trampoline_codes,
    window_of,
)
from specc.prototype import size_of
from specc.spec import TRACEPOINT, WORD_KINDS, ProbeSpec

# So many slots more than any target needs are copied where a kernel, unknown when the program was compiled, needs them;
# and where no target has an argument on the stack, so many more arguments must still find registers.
_SPARE_SLOTS: Final = 2


@dataclass(frozen=True, slots=True)
class Moved:
    values: list[Value]
    places: Places
    window: Window


@dataclass(frozen=True, slots=True)
class _On:
    """One target: what each value's constant is there, and the stack slots to copy."""

    target: str
    codes: Mapping[str, tuple[int, ...]]
    first: int
    length: int
    absent: int


def move(probe: ProbeSpec, known: Resolved, values: list[Value], symbol: str, report: Report) -> Moved | None:
    """The values of a probe with movable places; None when something was reported."""
    trampoline = probe.kind in WORD_KINDS
    movable = [v for v in values if v.wanted is not None and (v.entry or trampoline)]
    placements = [(known.target, known.placement), *((e.target, e.placement) for e in known.elsewhere)]
    seen = [_on(target, placement, values, movable, trampoline=trampoline) for target, placement in placements]
    slots = 0
    if not trampoline and any(_small(v) for v in movable):
        slots = max(on.length for on in seen) // 8
        full = any(_registers(p) + _SPARE_SLOTS > len(GENERAL_REGISTERS) for _, p in placements)
        slots += _SPARE_SLOTS if slots or full else 0
    if slots > LOCAL_SLOTS:
        report.error(
            "SP308",
            f"the stack arguments of `{known.prototype.name}` are too far apart: {8 * slots} bytes lie between them, and "
            f"a program copies {8 * LOCAL_SLOTS}",
            probe.where,
            help="record some of them with a probe of their own",
        )
        return None
    at = f"{symbol}_at"
    window = Window(at, slots, context=trampoline, short=probe.kind == TRACEPOINT)
    since, until = _versions(seen)
    places = _places(at, movable, seen, slots, since, until, optional=any(v.optional for v in values))
    moved = [replace(v, wanted=replace(v.wanted, at=at)) if v.wanted and v in movable else v for v in values]
    return Moved(moved, places, window)


def _small(value: Value) -> bool:
    """Whether its eightbytes are taken one by one; what is larger is in memory on every kernel, and read in one go."""
    assert value.wanted is not None
    return value.wanted.eightbytes <= SMALL


def _registers(placement: Placement) -> int:
    """How many general registers a call of the function uses."""
    used = {p.where for a in placement.arguments for p in a.pieces if p.where in GENERAL_REGISTERS}
    return len(used) + (placement.hidden_return_pointer is not None)


def _on(
    target: str, placement: Placement, values: Sequence[Value], movable: Sequence[Value], *, trampoline: bool
) -> _On:
    names = argument_names(placement)
    codes: dict[str, tuple[int, ...]] = {}
    for value in movable:
        assert value.wanted is not None
        part = value.wanted.part
        eightbytes = value.wanted.eightbytes if part is None else (size_of(value.declared) + 7) // 8
        if value.argument == RETURN and not value.entry:
            codes[value.name] = trampoline_codes(placement, None, eightbytes)
        else:
            position = names.index(value.argument) if value.argument in names else None
            codes[value.name] = argument_codes(placement, position, eightbytes, words=trampoline)
        if part is not None:
            codes[value.name] = codes[value.name][part.number : part.number + 1]
    first, length = (0, 0) if trampoline else window_of([codes[v.name] for v in movable if _small(v)])
    optional = [v for v in values if v.optional]
    absent = sum(1 << i for i, v in enumerate(optional) if v.argument not in names)
    return _On(target, codes, first, length, absent)


def _places(
    at: str, movable: Sequence[Value], seen: Sequence[_On], slots: int, since: int, until: int, *, optional: bool
) -> Places:
    first = seen[0]
    offset = 8 if optional else 0  # the one __u64 is before the others
    room = {"__absent": 0} if optional else {}
    constants: list[PlaceConstant] = []
    for value in movable:
        codes = first.codes[value.name]
        if not _small(value):
            codes = codes[:1]  # the rest follows
        assert value.wanted is not None
        count = len(codes) if value.wanted.storage.count is not None and _small(value) else None
        constants.append(
            PlaceConstant(
                value.name,
                value.argument,
                codes,
                count,
                offset,
                value.optional,
                value.any_type,
                value.declared,
                value.wanted.part.number if value.wanted.part is not None else None,
            )
        )
        offset += 4 * len(codes)
    for name, wanted in (("__first", slots), ("__length", slots), ("__since", until), ("__until", until)):
        if wanted:
            room[name] = offset
            offset += 4
    offset += -offset % (8 if optional else 4)
    same = [on.target for on in seen if _same(on, first)]
    return Places(
        at, tuple(constants), _listed(same), slots, first.first, first.length, first.absent if optional else None,
        since, until, offset, room,
    )  # fmt: skip


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _same(a: _On, b: _On) -> bool:
    return (a.codes, a.absent) == (b.codes, b.absent)


def _versions(seen: Sequence[_On]) -> tuple[int, int]:
    """The kernels for which the first target's places may be taken as they are, as far as their versions tell.

    Targets that differ are told apart by the versions in their names; between two of the same places, and beyond the
    first and last target, nothing speaks against them. Without versions in the names no kernel is let pass.
    """
    if all(_same(on, seen[0]) for on in seen):
        return 0, 0
    versions = [version_of(on.target) for on in seen]
    known = [v for v in versions if v is not None]
    if len(known) < len(seen) or len(set(known)) < len(seen):
        return 1, 1
    row = sorted(zip(known, seen, strict=True), key=lambda pair: pair[0])
    here = next(i for i, (_, on) in enumerate(row) if on is seen[0])
    low = high = here
    while low and _same(row[low - 1][1], seen[0]):
        low -= 1
    while high + 1 < len(row) and _same(row[high + 1][1], seen[0]):
        high += 1
    since = _number(row[low][0]) if low else 0
    major, minor = row[high][0]
    return since, _number((major, minor + 1)) if high + 1 < len(row) else 0xFFFFFFFF


def version_of(target: str) -> tuple[int, int] | None:
    """The version of Linux that a target's name begins with: "6.1" and "6.1.0-56-amd64" are (6, 1)."""
    found = re.match(r"v?(\d{1,3})\.(\d{1,3})(?!\d)", target)
    return (int(found[1]), int(found[2])) if found else None


def _number(version: tuple[int, int]) -> int:
    """As the kernel's KERNEL_VERSION() has it."""
    return version[0] << 16 | version[1] << 8

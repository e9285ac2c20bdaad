"""The constants that tell a program its arguments' places, for the kernel that it is about to be loaded into.

In: a probe's description and the function's prototype there.  Out: bytes for its constants, and the probe as it is with
them; or why it cannot read there what it records.

    filled = fill(description.probes[0], btf.find("__get_user_pages")[0])
    filled.settings         # {24: b"\\x06\\0\\0\\0"}: `locked` is in r9 on this kernel
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from specc.abi import place_arguments
from specc.describe import ProbeDescription
from specc.fit import RETURN, Misfit, Need, fit
from specc.ir import Event, Field, PlaceConstant, Places
from specc.noun import dataclass, replace
from specc.place import SMALL, Placement, argument_codes, argument_names, place_text, trampoline_codes, window_of
from specc.prototype import Prototype, decay, size_of
from specc.spec import TRACEPOINT, TRAMPOLINE_KINDS
from specc.tracepoint import place_tracepoint, tracepoint_problem
from specc.trampoline import trampoline_problem

_ALWAYS: Final = {"__since": 0, "__until": 0xFFFFFFFF}  # what is set here is right for the kernel that runs


@dataclass(frozen=True, slots=True)
class Filled:
    """`settings` are bytes by their offset in the constants. `event` tells the places that they stand for, and has the names
    of the kernel that runs, of which `notes` tell."""

    settings: Mapping[int, bytes]
    event: Event
    misfits: tuple[Misfit, ...]
    notes: tuple[str, ...] = ()


def needs_of(probe: ProbeDescription) -> tuple[Need, ...]:
    """What a probe wants of its function, by the types that it was compiled with."""
    at = probe.at
    constants = at.constants if at is not None else ()
    found = [Need(c.argument, c.type, c.optional, c.any_type) for c in constants if c.argument != RETURN]
    if RETURN in probe.used and probe.declaration is not None:
        result = next((c for c in constants if c.argument == RETURN), None)
        found.append(Need(RETURN, probe.declaration.result, any_type=result is not None and result.any_type))
    return tuple(found)


def fill(probe: ProbeDescription, theirs: Prototype) -> Filled:
    """The constants of a probe on a kernel whose function is `theirs`; or the misfits, and no constants."""
    at = probe.at
    assert at is not None
    tracepoint = probe.kind == TRACEPOINT
    placement = place_tracepoint(theirs) if tracepoint else place_arguments(theirs, kernel=True)
    needs = needs_of(probe)
    found = fit(needs, theirs, placement)
    misfits = list(found.misfits)
    names = argument_names(placement)
    known = {n.name for n in needs}
    # Optional, and of no target: its type was not known when the event was laid out.
    misfits += [
        Misfit(name, "unknown", f"`{name}` exists here, and on no kernel that this was compiled for")
        for name in probe.used
        if name not in known and name in names
    ]
    by_words = tracepoint or probe.kind in TRAMPOLINE_KINDS
    if by_words and not misfits:
        if tracepoint and (problem := tracepoint_problem(theirs, placement)):
            misfits.append(Misfit("", "unreadable", problem))
        elif not tracepoint and (problem := trampoline_problem(theirs, placement)):
            misfits.append(Misfit("", "unreadable", f"a trampoline does not take it: {problem}"))
    if misfits:
        return Filled({}, probe.event, tuple(misfits))
    codes = {c.member: _codes(c, placement, found.positions, by_words=by_words) for c in at.constants}
    first, length = (
        (0, 0)
        if by_words
        else window_of([codes[c.member] for c in at.constants if c.part is not None or _eightbytes(c) <= SMALL])
    )
    if length > 8 * at.slots:
        text = f"{length} bytes of the stack must be copied, and this was compiled to copy {8 * at.slots}"
        return Filled({}, probe.event, (Misfit("", "unreadable", text),))
    settings = {
        c.offset: b"".join(code.to_bytes(4, "little") for code in codes[c.member][: len(c.values)])
        for c in at.constants
    }
    values = {"__first": first, "__length": length, **_ALWAYS}
    settings |= {offset: values[name].to_bytes(4, "little") for name, offset in at.room.items() if name in values}
    if "__absent" in at.room:
        gone = [f for f in probe.event.fields if f.absent_bit is not None and not _there(f, at, found.positions)]
        bits = sum(1 << f.absent_bit for f in gone if f.absent_bit is not None)
        settings[at.room["__absent"]] = bits.to_bytes(8, "little")
    return Filled(settings, _event(probe.event, at, codes, placement, found.positions, by_words=by_words), ())


def keep(at: Places) -> Mapping[int, bytes]:
    """For a kernel about which nothing is known: the places as they were compiled, and no guard."""
    return {at.room[name]: value.to_bytes(4, "little") for name, value in _ALWAYS.items() if name in at.room}


def _eightbytes(constant: PlaceConstant) -> int:
    return (size_of(decay(constant.type)) + 7) // 8


def _codes(
    constant: PlaceConstant, placement: Placement, positions: Mapping[str, int | None], *, by_words: bool
) -> tuple[int, ...]:
    eightbytes = _eightbytes(constant)
    if constant.argument == RETURN:
        codes = trampoline_codes(placement, None, eightbytes)
    else:
        codes = argument_codes(placement, positions[constant.argument], eightbytes, words=by_words)
    return codes if constant.part is None else codes[constant.part : constant.part + 1]


def _there(field: Field, at: Places, positions: Mapping[str, int | None]) -> bool:
    constant = next((c for c in at.constants if c.member == field.name), None)
    return constant is not None and positions[constant.argument] is not None


def _event(
    event: Event,
    at: Places,
    codes: Mapping[str, tuple[int, ...]],
    placement: Placement,
    positions: Mapping[str, int | None],
    *,
    by_words: bool,
) -> Event:
    """The event with the places of this kernel. What is in a register is there, whatever became of the copy of the stack;
    what is behind it, which has an errno of its own, may be unreadable all the same."""
    constants = {c.member: c for c in at.constants}

    def placed(field: Field) -> Field:
        constant = constants.get(field.name)
        if constant is None:
            return field
        position = positions.get(constant.argument)
        if by_words:
            place = ", ".join(f"ctx[{code - 1}]" for code in codes[field.name] if code) or "absent"
            return replace(field, place=place)
        if position is None:
            return replace(field, place="absent", status=None)  # null, for a reason that is no errno
        pieces = placement.arguments[position].pieces
        covered = any(p.where == "stack" for p in pieces) or field.status == f"{field.name}_error"
        return replace(field, place=place_text(pieces), status=field.status if covered else None)

    return replace(event, fields=tuple(placed(f) for f in event.fields))

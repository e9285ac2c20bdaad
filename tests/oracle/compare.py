"""Compares what specc says of a prototype with what was measured.

In: a Case, specc's Claim about it, Measurements.  Out: a Verdict: faults, and what became of each argument.

A claim must hold in every measured configuration. A refusal must be needed: some byte is in a vector register, or
some compiler (a witness will do: an older one, other flags) has the argument elsewhere than another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .experiment import GENERAL, MeasuredParameter, MeasuredResult, Measurement, Place, spell, summary
from .shapes import Case
from .typewalk import data_mask, known, leaf_offset

if TYPE_CHECKING:
    from specc.place import Argument, Piece, Placement, Result
    from specc.prototype import Prototype

FaultKind = Literal[
    "wrong place",
    "missing byte",
    "piece outside the argument",
    "needless refusal",
    "wrong size or alignment",
    "wrong layout",
    "wrong hidden return pointer",
    "wrong result",
    "no such alternative",
    "not parsed",
    "the oracle contradicts itself",
]


@dataclass(frozen=True, slots=True)
class Claim:
    """What specc says; `error` instead when it could not read the prototype at all."""

    prototype: Prototype | None = None
    placement: Placement | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    kind: FaultKind
    where: str  # the parameter, or "result"
    message: str


@dataclass(frozen=True, slots=True)
class Verdict:
    faults: tuple[Fault, ...]
    outcomes: tuple[str, ...]  # one for each argument


def claims(cases: Sequence[Case]) -> dict[str, Claim]:
    """Asks specc about all cases; a batch that cannot be parsed is asked about one by one."""
    from specc.abi import place_arguments

    from specc.headers import parse_prototypes

    try:
        parsed = parse_prototypes("".join(case.text for case in cases), [case.name for case in cases])
    except Exception as error:  # any failure of specc is a finding of one case, not the end of the run
        if len(cases) == 1:
            return {cases[0].name: Claim(error=f"{type(error).__name__}: {error}")}
        half = len(cases) // 2
        return claims(cases[:half]) | claims(cases[half:])
    found: dict[str, Claim] = {}
    for case in cases:
        prototype = parsed.get(case.name)
        if prototype is None:
            found[case.name] = Claim(error="parse_prototypes does not return it")
        else:
            found[case.name] = Claim(prototype, place_arguments(prototype))
    return found


def compare(
    case: Case, claim: Claim, measured: Sequence[Measurement], witnesses: Sequence[Measurement] = ()
) -> Verdict:
    """`witnesses` are more configurations: they can excuse a refusal, they bind no claim."""
    usable = [one for one in measured if one.status == "measured"]
    faults = [
        Fault("the oracle contradicts itself", one.configuration, text)
        for one in measured
        for text in one.disagreements
    ]
    faults += [
        Fault("the oracle contradicts itself", one.configuration, f"{one.status}: {one.message}")
        for one in measured
        if one.status != "measured"
    ]
    if claim.prototype is None or claim.placement is None:
        return Verdict((*faults, Fault("not parsed", "", claim.error)), ())
    outcomes: list[str] = []
    more = [one for one in witnesses if one.status == "measured"]
    for index, argument in enumerate(claim.placement.arguments):
        own = {one.configuration: one.parameters[index] for one in usable}
        extra = {one.configuration: one.parameters[index] for one in more}
        found = _argument_faults(case.parameters[index].name, argument, own, extra)
        found += layout_faults(case, index, claim.prototype, own, argument.readable)
        outcomes.append(_outcome(argument, own, found))
        faults += found
    if len(claim.placement.arguments) != len(case.parameters):
        faults.append(Fault("not parsed", "", "the number of arguments is not the number of parameters"))
    faults += _hidden_faults(claim.placement, usable, more)
    faults += _result_faults(claim.placement.result, usable, more)
    return Verdict(tuple(faults), tuple(outcomes))


def needs_witnesses(verdict: Verdict) -> bool:
    """Could another configuration change the verdict?"""
    return any(fault.kind in ("needless refusal", "wrong hidden return pointer") for fault in verdict.faults)


def _outcome(argument: Argument, own: Mapping[str, MeasuredParameter], faults: Sequence[Fault]) -> str:
    if faults:
        return faults[0].kind
    if argument.readable:
        return "read" if any(any(one.mask) for one in own.values()) else "read: has no data"
    if not _by_both(own):
        return "refused: only one compiler has the type"
    if not agree(own.values()):
        return "refused: the compilers differ"
    if any(map(general_or_stack, own.values())):
        return "refused: another compiler differs"
    return "refused: not in general registers or on the stack"


def _argument_faults(
    name: str, argument: Argument, own: Mapping[str, MeasuredParameter], extra: Mapping[str, MeasuredParameter]
) -> list[Fault]:
    faults: list[Fault] = []
    if argument.readable or (argument.pieces and not argument.alternatives):
        for configuration, one in own.items():
            faults += _piece_faults(name, argument.pieces, one, configuration, partial=not argument.readable)
    if not argument.readable:
        everyone = [*own.values(), *extra.values()]
        if _by_both(own) and agree(everyone) and general_or_stack(everyone[0]):
            said = summary(everyone[0].places, everyone[0].mask)
            faults.append(Fault("needless refusal", name, f"all agree on {said}; specc: {argument.reason}"))
        faults += _alternative_faults(name, argument, own)
    shapes = {(one.size, one.align) for one in own.values()}
    if shapes and (argument.readable or len(shapes) == 1) and shapes != {(argument.size, argument.align)}:
        told = f"specc: size {argument.size}, alignment {argument.align}; measured: {sorted(shapes)}"
        faults.append(Fault("wrong size or alignment", name, told))
    return faults


def _by_both(configurations: Iterable[str]) -> bool:
    """Measured by gcc and by clang: a type that one of them lacks may be refused."""
    return {name.partition("-")[0] for name in configurations} == {"gcc", "clang"}


def agree(measured: Iterable[MeasuredParameter]) -> bool:
    return len({(one.size, one.mask, _data_places(one)) for one in measured}) <= 1


def same_result(measured: Iterable[Measurement]) -> bool:
    """Whether all have the hidden pointer and the result in the same places."""
    found = {
        (one.hidden_return_pointer, one.result and (one.result.size, one.result.memory, _data_places(one.result)))
        for one in measured
    }
    return len(found) <= 1


def _data_places(one: MeasuredParameter | MeasuredResult) -> tuple[Place | None, ...]:
    return tuple(place for place, bits in zip(one.places, one.mask, strict=True) if bits)


def general_or_stack(one: MeasuredParameter | MeasuredResult) -> bool:
    return all(place is not None and place.where in (*GENERAL, "stack") for place in _data_places(one))


def _piece_places(pieces: Iterable[Piece]) -> dict[int, Place]:
    return {
        piece.arg_offset + byte: Place(
            piece.where, byte + (piece.stack_offset if piece.where == "stack" else piece.reg_offset)
        )
        for piece in pieces
        for byte in range(piece.size)
    }


def _piece_faults(
    name: str,
    pieces: Sequence[Piece],
    measured: MeasuredParameter | MeasuredResult,
    configuration: str,
    partial: bool = False,
) -> list[Fault]:
    """`partial`: pieces that are told although the argument is refused may leave bytes out."""
    claimed = _piece_places(pieces)
    context = f"[{configuration}] measured: {summary(measured.places, measured.mask)}"
    if sum(piece.size for piece in pieces) != len(claimed):
        return [Fault("wrong place", name, f"two pieces cover one byte; {context}")]
    if any(byte not in range(measured.size) for byte in claimed):
        return [Fault("piece outside the argument", name, f"{list(pieces)}; {context}")]
    for byte, bits in enumerate(measured.mask):
        place = claimed.get(byte)
        if not bits or (partial and place is None):
            continue
        if place is None:
            return [Fault("missing byte", name, f"no piece covers byte {byte}; {context}")]
        if place != measured.places[byte]:
            return [Fault("wrong place", name, f"specc has byte {byte} at {spell(place)}; {context}")]
    return []


def _matches(pieces: Sequence[Piece], measured: MeasuredParameter) -> bool:
    return not _piece_faults("", pieces, measured, "")


def _alternative_faults(name: str, argument: Argument, own: Mapping[str, MeasuredParameter]) -> list[Fault]:
    """Each compiler's place must be among the alternatives told for its kind (or for all, if none is named so)."""
    faults: list[Fault] = []
    for configuration, one in own.items():
        kind = configuration.partition("-")[0]
        told = [pieces for who, pieces in argument.alternatives if kind in who.split()]
        told = told or [pieces for _, pieces in argument.alternatives]
        if told and not any(_matches(pieces, one) for pieces in told):
            seen = summary(one.places, one.mask)
            faults.append(Fault("no such alternative", name, f"[{configuration}] measured: {seen}"))
    return faults


def layout_faults(
    case: Case, index: int, prototype: Prototype, own: Mapping[str, MeasuredParameter], readable: bool = True
) -> list[Fault]:
    """The data bits and the offset of every leaf, as specc's types have them for this kind of compiler."""
    name, declared = case.parameters[index].name, prototype.parameters[index].type
    for configuration, one in own.items():
        clang = configuration.startswith("clang")
        if not known(declared, clang):
            return [Fault("wrong layout", name, "specc has no layout of it")] if readable else []
        mask = data_mask(declared, clang, one.size)
        if mask != one.mask:
            told = f"[{configuration}] data bits {one.mask.hex()}, specc's types have {mask.hex()}"
            return [Fault("wrong layout", name, told)]
        for leaf, offset in zip(case.parameters[index].leaves, one.leaf_offsets, strict=True):
            said = None if offset is None else leaf_offset(declared, leaf.path, clang)
            if said != offset:
                told = f"[{configuration}] offset of {leaf.path} is {offset}, specc's types have {said}"
                return [Fault("wrong layout", name, told)]
    return []


def _hidden_faults(
    placement: Placement, measured: Sequence[Measurement], witnesses: Sequence[Measurement]
) -> list[Fault]:
    found = {one.hidden_return_pointer for one in measured}
    claimed = placement.hidden_return_pointer
    if len(found) != 1 or found == {claimed}:
        return []
    if claimed is None and len(found | {one.hidden_return_pointer for one in witnesses}) > 1:
        return []  # it is in doubt
    return [Fault("wrong hidden return pointer", "result", f"specc: {claimed}, measured: {found.pop()}")]


def _result_faults(result: Result, measured: Sequence[Measurement], witnesses: Sequence[Measurement]) -> list[Fault]:
    found = {one.configuration: one.result for one in measured if one.result is not None}
    faults: list[Fault] = []
    for configuration, one in found.items():
        if not result.readable:
            continue
        if result.memory != one.memory:
            faults.append(Fault("wrong result", "result", f"[{configuration}] in memory: {one.memory}"))
        elif not one.memory:
            told = _piece_faults("result", result.pieces, one, configuration)
            faults += [Fault("wrong result", "result", fault.message) for fault in told]
    everyone = [*found.values(), *(one.result for one in witnesses if one.result is not None)]
    places = {(one.size, one.mask, one.memory, _data_places(one)) for one in everyone}
    if (
        _by_both(found)
        and not result.readable
        and len(places) == 1
        and (everyone[0].memory or general_or_stack(everyone[0]))
    ):
        said = "memory" if everyone[0].memory else summary(everyone[0].places, everyone[0].mask)
        faults.append(Fault("needless refusal", "result", f"all agree on {said}; specc: {result.reason}"))
    return faults

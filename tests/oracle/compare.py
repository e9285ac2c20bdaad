"""Compares what specc says of a prototype with what was measured.

In: a Case, specc's Claim about it, Measurements.  Out: a Verdict: faults, and what became of each argument.

A claim must hold in every measured configuration. A refusal must be needed: some byte is in a vector register, or
some compiler (a witness will do: an older one, other flags) has the argument elsewhere than another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .experiment import COMPILER_FAILED, GENERAL, MeasuredParameter, MeasuredResult, Measurement, Place, spell, summary
from .refusal import heard, named_in, speaks_of
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


NEEDLESS = "needless refusal"
UNDECIDED = "refused: a compiler that is not here may differ"


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
    undecided: bool = False  # more witnesses could excuse a fault, or make one


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
    """`witnesses` are more configurations: they can excuse a refusal, by differing or by being silent."""
    usable = [one for one in measured if one.status == "measured"]
    faults = [
        Fault("the oracle contradicts itself", one.configuration, text)
        for one in measured
        for text in one.disagreements
    ]
    faults += [
        Fault("the oracle contradicts itself", one.configuration, f"{one.status}: {one.message}")
        for one in measured
        if one.status != "measured" and one.message != COMPILER_FAILED
    ]
    if claim.prototype is None or claim.placement is None:
        return Verdict((*faults, Fault("not parsed", "", claim.error)), ())
    placement = claim.placement
    more = [one for one in witnesses if one.status == "measured"]
    # One that lacks a type of this prototype, or whose code this processor cannot run, might have differed.
    names = [one.configuration for one in (*usable, *more)] if len(more) == len(witnesses) else []
    outcomes: list[str] = []
    undecided = False
    for index, (argument, parameter) in enumerate(zip(placement.arguments, case.parameters, strict=False)):
        own = {one.configuration: one.parameters[index] for one in usable}
        extra = {one.configuration: one.parameters[index] for one in more}
        found = _argument_faults(parameter.name, argument, own)
        found += layout_faults(case, index, claim.prototype, own, argument.readable)
        outcome = "read" if argument.readable else _refusal(argument, own, extra, names)
        if outcome == NEEDLESS:
            told = next(iter(own.values()))
            text = f"all agree on {summary(told.places, told.mask)}; specc: {argument.reason}"
            found.append(Fault("needless refusal", parameter.name, text))
        undecided |= outcome in (NEEDLESS, UNDECIDED)
        outcomes.append(found[0].kind if found else outcome)
        faults += found
    if len(placement.arguments) != len(case.parameters):
        faults.append(Fault("not parsed", "", "the number of arguments is not the number of parameters"))
    for found, doubt in (
        _hidden_faults(placement, usable, more, names),
        _result_faults(placement.result, usable, more, names),
    ):
        faults += found
        undecided |= doubt
    return Verdict(tuple(faults), tuple(outcomes), undecided)


def _refusal(
    argument: Argument,
    own: Mapping[str, MeasuredParameter],
    extra: Mapping[str, MeasuredParameter],
    names: Sequence[str],
) -> str:
    """Why a refusal was right, or NEEDLESS, or UNDECIDED."""
    everyone = [*own.values(), *extra.values()]
    if not _by_both(own):
        return "refused: only one compiler has the type"
    if not agree(own.values()):
        return "refused: the compilers differ"
    if not general_or_stack(everyone[0]):
        return "refused: not in general registers or on the stack"
    if not any(everyone[0].mask) and everyone[0].size:
        return "refused: it is all padding"
    if not agree(everyone):
        return "refused: another compiler differs"
    named = [who for who, _ in argument.alternatives]
    return NEEDLESS if names and heard(named, names) else UNDECIDED


def _argument_faults(name: str, argument: Argument, own: Mapping[str, MeasuredParameter]) -> list[Fault]:
    faults: list[Fault] = []
    if argument.readable or (argument.pieces and not argument.alternatives):
        for configuration, one in own.items():
            faults += _piece_faults(name, argument.pieces, one, configuration, partial=not argument.readable)
    if not argument.readable:
        faults += _alternative_faults(name, argument, own)
    shapes = {(one.size, one.align) for one in own.values()}
    # What is refused because the compilers differ has the size that one of them gives it.
    settled = argument.readable or (len(shapes) == 1 and _by_both(own))
    if shapes and settled and shapes != {(argument.size, argument.align)}:
        told = f"specc: size {argument.size}, alignment {argument.align}; measured: {sorted(shapes)}"
        faults.append(Fault("wrong size or alignment", name, told))
    return faults


def _by_both(configurations: Iterable[str]) -> bool:
    """Measured by gcc and by clang: a type that one of them lacks may be refused."""
    return {name.partition("-")[0] for name in configurations} == {"gcc", "clang"}


def agree(measured: Iterable[MeasuredParameter]) -> bool:
    return len({(one.size, one.mask, one.leaf_offsets, _data_places(one)) for one in measured}) <= 1


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
        if not bits or (partial and (place is None or measured.places[byte] is None)):
            continue  # a compiler may lose a byte of what is refused: clang 19 does, in a union of a float and a hole
        if place is None:
            return [Fault("missing byte", name, f"no piece covers byte {byte}; {context}")]
        if place != measured.places[byte]:
            return [Fault("wrong place", name, f"specc has byte {byte} at {spell(place)}; {context}")]
    return []


def _matches(pieces: Sequence[Piece], measured: MeasuredParameter) -> bool:
    return not _piece_faults("", pieces, measured, "")


def _alternative_faults(name: str, argument: Argument, own: Mapping[str, MeasuredParameter]) -> list[Fault]:
    """Each compiler's place must be among the alternatives told of it."""
    faults: list[Fault] = []
    for configuration, one in own.items():
        told = [pieces for who, pieces in argument.alternatives if speaks_of(who, configuration)]
        if argument.alternatives and not any(_matches(pieces, one) for pieces in told):
            seen = summary(one.places, one.mask)
            faults.append(Fault("no such alternative", name, f"[{configuration}] measured: {seen}; {argument.reason}"))
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
            said = leaf_offset(declared, leaf.path, clang)
            if said != offset:
                told = f"[{configuration}] {leaf.path} begins at bit {offset}, specc's types have {said}"
                return [Fault("wrong layout", name, told)]
    return []


def _hidden_faults(
    placement: Placement, measured: Sequence[Measurement], witnesses: Sequence[Measurement], names: Sequence[str]
) -> tuple[list[Fault], bool]:
    """Faults, and whether more witnesses could change that."""
    found = {one.hidden_return_pointer for one in measured}
    claimed = placement.hidden_return_pointer
    if len(found) != 1 or found == {claimed}:
        return [], False
    fault = Fault("wrong hidden return pointer", "result", f"specc: {claimed}, measured: {found.copy().pop()}")
    if claimed is not None:
        return [fault], False
    if len(found | {one.hidden_return_pointer for one in witnesses}) > 1:
        return [], False  # it is in doubt
    return ([fault], True) if _all_heard(placement.result, names) else ([], True)


def _all_heard(result: Result, names: Sequence[str]) -> bool:
    return bool(names) and heard(named_in(result.reason), names)


def _result_faults(
    result: Result, measured: Sequence[Measurement], witnesses: Sequence[Measurement], names: Sequence[str]
) -> tuple[list[Fault], bool]:
    found = {one.configuration: one.result for one in measured if one.result is not None}
    if result.readable:
        return [fault for name, one in found.items() for fault in _result_claim_faults(result, name, one)], False
    everyone = [*found.values(), *(one.result for one in witnesses if one.result is not None)]
    places = {(one.size, one.mask, one.memory, _data_places(one)) for one in everyone}
    if not _by_both(found) or len(places) != 1 or not any(everyone[0].mask):
        return [], False
    if not everyone[0].memory and not general_or_stack(everyone[0]):
        return [], False
    if not _all_heard(result, names):
        return [], True
    said = "memory" if everyone[0].memory else summary(everyone[0].places, everyone[0].mask)
    return [Fault("needless refusal", "result", f"all agree on {said}; specc: {result.reason}")], True


def _result_claim_faults(result: Result, configuration: str, one: MeasuredResult) -> list[Fault]:
    if result.memory != one.memory:
        return [Fault("wrong result", "result", f"[{configuration}] in memory: {one.memory}")]
    if one.memory:
        return []
    told = _piece_faults("result", result.pieces, one, configuration)
    return [Fault("wrong result", "result", fault.message) for fault in told]

"""Where every argument of a function is at its entry, by the System V x86-64 psABI, section 3.2.3; or why none can say.

In: a `Prototype`.  Out: a `Placement`: a place for each argument, the hidden return pointer, the result's place.

    f = Prototype("f", INT, (Parameter("a", LONG), Parameter("b", CHAR)))
    place_arguments(f).arguments[1].pieces    # (Piece(arg_offset=0, size=1, where="rsi"),)

A prototype of integers and pointers is placed at once. For anything else, the arguments are placed under each
`Hypothesis` that may hold (`doubts`), and a place is told as readable only where all of them agree.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Final

from specc.abi.classify import NO_CLASS, SSE, Hypothesis, classify
from specc.abi.doubts import COMPILERS, suppose
from specc.abi.passing import Seat, Seating, seat_arguments
from specc.layout import as_clang, data_mask
from specc.noun import replace
from specc.place import GENERAL_REGISTERS, STACK, Argument, Piece, Placement, Result
from specc.prototype import (
    Array,
    CType,
    Enum,
    Function,
    Int,
    Pointer,
    Prototype,
    Qualified,
    Record,
    Typedef,
    Void,
    align_of,
    bare,
    decay,
    size_of,
    spell,
)

__all__ = ["COMPILERS", "Hypothesis", "place_arguments"]


def place_arguments(
    prototype: Prototype, *, kernel: bool = False, compilers: Sequence[Hypothesis] = COMPILERS
) -> Placement:
    """The places of all arguments and of the result.

    `kernel` says that the code may be compiled without SSE. `compilers` are the ones that may have made the code.
    """
    if prototype.convention != "sysv":
        return _refuse(prototype)
    simple = _place_scalars(prototype)
    if simple is not None:
        return simple
    types = tuple(decay(p.type) for p in prototype.parameters)
    found = suppose(prototype.result, types, prototype.variadic, compilers)
    seatings = [(h, seat_arguments(prototype.result, types, h)) for h in found]
    unsure = _first_without_sse(prototype.result, types, compilers) if kernel else None
    arguments: list[Argument] = []
    culprit: str | None = None  # the first argument in doubt is why the later ones are
    for i, (p, ctype) in enumerate(zip(prototype.parameters, types, strict=True)):
        if unsure is not None and i >= unsure:
            arguments.append(_without_sse(p.name, ctype, i, unsure, prototype, seatings[0][1]))
            continue
        seats = [(h, s.arguments[i]) for h, s in seatings]
        argument = _agree(p.name, ctype, seats, culprit)
        if culprit is None and _differ(seats):
            culprit = f"`{p.name}`" if p.name else f"argument {i + 1}"
        arguments.append(argument)
    hidden = [s.hidden for _, s in seatings]
    result = _agree_on_result(prototype.result, [(h, s.result) for h, s in seatings])
    return Placement(tuple(arguments), "rdi" if all(hidden) else None, result)


# ---- the common case: integers and pointers only

_IN_REGISTER: Final = {
    size: tuple((Piece(0, size, register),) for register in GENERAL_REGISTERS) for size in (1, 2, 4, 8)
}
_ON_STACK: Final = "the 6 general registers are taken"


def _place_scalars(prototype: Prototype) -> Placement | None:
    """The places when every type is an integer of up to 8 bytes or a pointer: the compilers agree on them."""
    result = _place_scalar_result(prototype.result)
    if result is None:
        return None
    arguments: list[Argument] = []
    for i, p in enumerate(prototype.parameters):
        declared = ctype = p.type
        while isinstance(ctype, Typedef | Qualified):
            if isinstance(ctype, Qualified) and "_Atomic" in ctype.qualifiers:
                return None
            ctype = ctype.target
        match ctype:
            case Pointer():
                size, align = 8, align_of(declared)
            case Int(size=size) | Enum(size=size) if size in _IN_REGISTER:
                align = size if ctype is declared else align_of(declared)
            case Array() | Function():
                declared = decay(declared)
                size = align = 8
            case _:
                return None
        if i < 6:
            arguments.append(Argument(p.name, declared, size, align, "INTEGER", True, "", _IN_REGISTER[size][i]))
        else:
            pieces = (Piece(0, size, STACK, 0, 8 * i - 40),)  # the seventh is at sp+8
            arguments.append(Argument(p.name, declared, size, align, "MEMORY", True, _ON_STACK, pieces))
    return Placement(tuple(arguments), None, result)


def _place_scalar_result(declared: CType) -> Result | None:
    match bare(declared):
        case Void():
            return Result(declared, 0, "NO_CLASS", False, "the function returns nothing")
        case Pointer() | Int(size=1 | 2 | 4 | 8) | Enum(size=1 | 2 | 4 | 8) as t:
            size = size_of(t)
            return Result(declared, size, "INTEGER", True, "", (Piece(0, size, "rax"),))
        case _:
            return None


# ---- what the hypotheses agree on


def _agree(name: str | None, ctype: CType, seats: Sequence[tuple[Hypothesis, Seat]], culprit: str | None) -> Argument:
    size, align = size_of(ctype), align_of(ctype)
    lost = next((s for _, s in seats if s.pieces is None), None)
    if lost is not None:
        return Argument(name, ctype, size, align, lost.cls, False, _sentence(lost.reason))
    if isinstance(bare(ctype), Record) and not any(data_mask(ctype)):
        return Argument(name, ctype, size, align, NO_CLASS, True, "a record without data has no place")
    if _differ(seats):
        seats = _with_data(ctype, seats)
    if _differ(seats):
        places = _alternatives(seats, {h.label for h, _ in seats})
        told = "; ".join(f"{place_text(pieces)} ({label})" for label, pieces in places)
        because = f", as the place of {culprit} is" if culprit else ""
        cls = "/".join(dict.fromkeys(s.cls for _, s in seats))
        return Argument(name, ctype, size, align, cls, False, f"its place is in doubt{because}: {told}", (), places)
    first = seats[0][1]
    pieces = first.pieces or ()
    hidden = [p.where for p in pieces if p.where not in GENERAL_REGISTERS and p.where != STACK]
    doubt = t.doubt if isinstance(t := bare(ctype), Record) else ""
    if hidden:
        part = "passed" if len(hidden) == len(pieces) else "partly passed"
        reason = f"{part} in {' and '.join(hidden)}; a probe sees only general registers"
    elif doubt:
        reason = f"its members are in doubt: {doubt}"
    else:
        return Argument(name, ctype, size, align, first.cls, True, first.reason, pieces)
    return Argument(name, ctype, size, align, first.cls, False, reason, pieces)


def _differ(seats: Sequence[tuple[Hypothesis, Seat]]) -> bool:
    first = seats[0][1].pieces
    return any(s.pieces != first for _, s in seats)


def _with_data(ctype: CType, seats: Sequence[tuple[Hypothesis, Seat]]) -> list[tuple[Hypothesis, Seat]]:
    """The same without pieces that hold no data: whether a register is spent on unnamed bits does not matter here."""
    masks = {"gcc": data_mask(ctype), "clang": data_mask(as_clang(ctype))}

    def keep(h: Hypothesis, s: Seat) -> Seat:
        mask = masks[h.compiler]
        return replace(s, pieces=tuple(p for p in s.pieces or () if any(mask[p.arg_offset : p.arg_offset + p.size])))

    return [(h, keep(h, s)) for h, s in seats]


def _alternatives(
    seats: Sequence[tuple[Hypothesis, Seat]], everyone: Set[str]
) -> tuple[tuple[str, tuple[Piece, ...]], ...]:
    """The possible places, each with who of `everyone` puts the argument there."""
    groups: dict[tuple[Piece, ...], list[Hypothesis]] = {}
    for h, s in seats:
        groups.setdefault(s.pieces or (), []).append(h)
    places: list[tuple[str, tuple[Piece, ...]]] = []
    for pieces, group in groups.items():
        labels = dict.fromkeys(h.label for h in group)
        who = "any compiler" if set(labels) == everyone else " and ".join(labels)
        # A place that is there without any supposition needs none of the longer ones that lead to it, too.
        doubts = min((h.doubts for h in group), key=len)
        places.append((f"{who}, if {' and '.join(doubts)}" if doubts else who, pieces))
    return tuple(places)


def place_text(pieces: Sequence[Piece]) -> str:
    """ "rdi and rsi", "sp+8", "no place"."""
    return " and ".join(f"sp+{p.stack_offset}" if p.where == STACK else p.where for p in pieces) or "no place"


def _agree_on_result(ctype: CType, seats: Sequence[tuple[Hypothesis, Seat]]) -> Result:
    first = seats[0][1]
    size = size_of(ctype)
    if isinstance(bare(ctype), Void):
        return Result(ctype, 0, "NO_CLASS", False, "the function returns nothing")
    if first.pieces is None:
        return Result(ctype, size, first.cls, False, _sentence(first.reason))
    if _differ(seats) and all(s.pieces is not None and s.cls != "MEMORY" for _, s in seats):
        seats = _with_data(ctype, seats)
        first = seats[0][1]
    if any((s.pieces, s.cls == "MEMORY") != (first.pieces, first.cls == "MEMORY") for _, s in seats):
        told = "; ".join(
            f"{'memory, its address in rdi at entry' if label_is_memory else place_text(pieces)} ({label})"
            for label, pieces, label_is_memory in _result_places(seats)
        )
        return Result(ctype, size, first.cls, False, f"its place is in doubt: {told}")
    if first.cls == "MEMORY":
        return Result(ctype, size, "MEMORY", True, first.reason, (), True)
    pieces = first.pieces or ()
    hidden = [p.where for p in pieces if p.where not in ("rax", "rdx")]
    doubt = t.doubt if isinstance(t := bare(ctype), Record) else ""
    if hidden:
        reason = f"returned in {' and '.join(hidden)}; a probe sees only general registers"
        return Result(ctype, size, first.cls, False, reason, pieces)
    if doubt:
        return Result(ctype, size, first.cls, False, f"its members are in doubt: {doubt}", pieces)
    reason = "" if pieces else "a record without data has no place"
    return Result(ctype, size, first.cls, True, reason, pieces)


def _result_places(seats: Sequence[tuple[Hypothesis, Seat]]) -> list[tuple[str, tuple[Piece, ...], bool]]:
    memory = [(h, s) for h, s in seats if s.cls == "MEMORY"]
    rest = [(h, s) for h, s in seats if s.cls != "MEMORY"]
    everyone = {h.label for h, _ in seats}
    return [
        *((label, p, False) for label, p in _alternatives(rest, everyone)),
        *((label, p, True) for label, p in _alternatives(memory, everyone)),
    ]


def _sentence(reason: str) -> str:
    return reason if reason.startswith(("an argument", "the result")) else f"it {reason}"


# ---- refusals


def _refuse(prototype: Prototype) -> Placement:
    reason = f"the function's calling convention is {prototype.convention}, not System V"
    arguments = tuple(
        Argument(p.name, t := decay(p.type), size_of(t), align_of(t), "NO_CLASS", False, reason)
        for p in prototype.parameters
    )
    result = Result(prototype.result, size_of(prototype.result), "NO_CLASS", False, reason)
    return Placement(arguments, None, result)


def _first_without_sse(result: CType, types: Sequence[CType], compilers: Sequence[Hypothesis]) -> int | None:
    """The argument from which on places are not to be told in code that may be compiled without SSE.

    Without it, gcc passes what is of class SSE on the stack, and clang in general registers, a float each: all that
    comes after may move.
    """
    if size_of(result) > 8 and any(SSE in classify(result, h) for h in compilers if not isinstance(bare(result), Void)):
        return 0
    for i, t in enumerate(types):
        if any(SSE in classify(t, h) for h in compilers):
            return i
    return None


def _without_sse(
    name: str | None, ctype: CType, i: int, first: int, prototype: Prototype, seating: Seating
) -> Argument:
    if i == first:
        what = (
            f"`{spell(ctype)}`" if SSE in seating.arguments[i].cls or size_of(prototype.result) <= 8 else "the result"
        )
    else:
        before = prototype.parameters[first]
        what = f"`{before.name}` before it" if before.name else f"argument {first + 1} before it"
    reason = f"the kernel is compiled without SSE for the most part: where gcc and clang then pass {what} differs"
    return Argument(name, ctype, size_of(ctype), align_of(ctype), seating.arguments[i].cls, False, reason)

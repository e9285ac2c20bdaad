"""Whether the places that the ABI gives to a function's arguments hold for the code that a compiler made of it.

In: `Facts`, what DWARF and the symbol table say of the code.  Out: a `Subprogram`, whose `adjust` turns the ABI's
`Placement` into the one of this code: each argument where it is, or refused with the reason.

    subprogram = judge(facts)
    subprogram.adjust(place_arguments(prototype)).arguments[1]

What compilers change (with -O1 and more), and what shows it:

- gcc changes copies only, and their symbols say so: `.constprop.0` lost arguments, `.isra.0` gets members or what a
  pointer led to instead of the argument; `.part.0` and `.cold` are entered in the middle. It tells the location of each
  parameter at the very entry of such a copy, since gcc 8 with numbered views.
- clang changes functions that nobody else can call under their own name: arguments and results disappear, constants are
  not passed. Newer versions mark some with DW_CC_nocall. Of all functions, also those that others call, it knows the
  callers in the same file: they do not pass what the function does not use, and then DWARF has no location for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from specc.abi import place_arguments
from specc.abi.classify import CLANG, GCC, OLD_CLANG, OLD_GCC, Hypothesis
from specc.dwarf.places import COMPUTED, CONSTANT, PLACE, AtEntry
from specc.noun import dataclass, replace
from specc.place import GENERAL_REGISTERS, STACK, Argument, Piece, Placement, place_text
from specc.prototype import Prototype, Record, Void, bare

_COMPILERS: Final[dict[str, tuple[Hypothesis, ...]]] = {"gcc": (GCC, OLD_GCC), "clang": (CLANG, OLD_CLANG)}


@dataclass(frozen=True, slots=True)
class Facts:
    """`compiler` is "gcc", "clang" or "". `optimised` is whether it may have been at work; `changeable` that the function
    may take other arguments than its declaration says; `marked` that DWARF or the symbol's name says so; `viewed` that
    locations at the entry are told apart by gcc's views.
    """

    symbol: str
    prototype: Prototype
    entries: tuple[AtEntry, ...]
    compiler: str
    optimised: bool
    changeable: bool
    marked: bool
    viewed: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """About one argument: `pieces` replace the ABI's; without them, a reason says why it cannot be read, none that the
    ABI holds."""

    reason: str = ""
    pieces: tuple[Piece, ...] | None = None


@dataclass(frozen=True, slots=True)
class Subprogram:
    """One function of a file: its prototype, and what its code makes of the ABI's places."""

    symbol: str
    prototype: Prototype
    compiler: str
    verdicts: tuple[Verdict, ...]
    result: Verdict

    @property
    def placement(self) -> Placement:
        return self.adjust(self.by_abi())

    def by_abi(self, prototype: Prototype | None = None) -> Placement:
        """Where the ABI has the arguments, by the rules of the compiler that DWARF names."""
        compilers = _COMPILERS.get(self.compiler)
        prototype = prototype or self.prototype
        return place_arguments(prototype, compilers=compilers) if compilers else place_arguments(prototype)

    def adjust(self, placement: Placement) -> Placement:
        """The ABI's places of this prototype, or of a header's that agrees with it, as the code has them."""
        arguments = [
            _adjusted(a, self.verdicts[i]) if i < len(self.verdicts) else a for i, a in enumerate(placement.arguments)
        ]
        result = placement.result
        if self.result.reason and not isinstance(bare(result.type), Void):
            result = replace(result, readable=False, reason=self.result.reason, pieces=(), memory=False)
        return Placement(tuple(arguments), placement.hidden_return_pointer, result)


def _adjusted(argument: Argument, verdict: Verdict) -> Argument:
    if verdict.pieces is not None:
        return replace(argument, readable=True, reason=verdict.reason, pieces=verdict.pieces, alternatives=())
    if verdict.reason and argument.size:
        return replace(argument, readable=False, reason=verdict.reason, pieces=(), alternatives=())
    return argument


_HOLDS: Final = Verdict()


def judge(facts: Facts) -> Subprogram:
    plain = Subprogram(facts.symbol, facts.prototype, facts.compiler, (), _HOLDS)
    placement = plain.by_abi()
    result = _HOLDS
    if not facts.optimised or (facts.compiler == "gcc" and not facts.changeable):
        verdicts = _fixed(facts, placement)
    elif facts.compiler == "gcc" and facts.viewed:
        verdicts = _changed(facts, placement)
    else:
        verdicts = _confirmed(facts, placement)
    if facts.changeable and facts.optimised:
        result = Verdict(
            f"the compiler may have changed {_call(facts)}, and DWARF does not tell whether it still returns it"
        )
    elif verdicts and all(v.reason for v in verdicts) and not facts.changeable and facts.compiler == "gcc":
        result = verdicts[0]
    return replace(plain, verdicts=tuple(verdicts), result=result)


def _call(facts: Facts) -> str:
    return f"`{facts.symbol}`"


def _fixed(facts: Facts, placement: Placement) -> list[Verdict]:
    """The convention cannot have been changed. That it is System V's, DWARF can still contradict: gcc does not mark
    ms_abi, but keeps the arguments of such functions in their callers' frames, or says which registers they come in."""
    for argument, told in zip(placement.arguments, facts.entries, strict=True):
        if told.kind != PLACE or not argument.pieces:
            continue
        known = told.pieces if facts.viewed else tuple(p for p in told.pieces if p.where == STACK)
        if not all(p.where in GENERAL_REGISTERS or p.where == STACK for p in known) or not known:
            continue
        if _contradict(known, argument.pieces):
            return [Verdict(_against(facts, argument, known, "it does not follow the System V convention"))] * len(
                placement.arguments
            )
    return [_HOLDS] * len(placement.arguments)


def _changed(facts: Facts, placement: Placement) -> list[Verdict]:
    """A copy that gcc changed: each argument is where DWARF says, if that makes a whole."""
    if not _in_order(facts, placement):
        reason = f"the compiler changed {_call(facts)}, and what DWARF says of its arguments does not fit together"
        return [Verdict(reason)] * len(placement.arguments)
    verdicts: list[Verdict] = []
    for argument, told in zip(placement.arguments, facts.entries, strict=True):
        if not argument.size:
            # Of a type that DWARF does not tell, also for a header that does.
            verdicts.append(_HOLDS if argument.readable else Verdict(argument.reason))
        elif told.kind == PLACE and not _whole(argument, told.pieces):
            verdicts.append(
                Verdict(
                    f"the compiler changed {_call(facts)}: DWARF has it in {_places(told.pieces)}, which a probe cannot read"
                )
            )
        elif told.kind == PLACE:
            same = not _differ(told.pieces, argument.pieces) and bool(argument.pieces)
            other = (
                f"where the ABI says {_places(argument.pieces)}" if argument.pieces else "which the ABI leaves in doubt"
            )
            by_abi = "as the ABI has it" if same else other
            verdicts.append(Verdict(f"DWARF: the compiler changed {_call(facts)}; {by_abi}", told.pieces))
        else:
            verdicts.append(Verdict(f"the compiler changed {_call(facts)}: {_lost(told)}"))
    return verdicts


def _confirmed(facts: Facts, placement: Placement) -> list[Verdict]:
    """Without views, DWARF is asked only whether it confirms the ABI. Of a function that may have been changed it must do
    so for every argument: one that is missing moves the others, and an assignment can hide that."""
    verdicts = [
        _confirmation(facts, argument, told) for argument, told in zip(placement.arguments, facts.entries, strict=True)
    ]
    if facts.changeable and any(v.reason for v in verdicts):
        first = next(i for i, v in enumerate(verdicts) if v.reason)
        return [v if v.reason else Verdict(_in_doubt(facts, placement, first)) for v in verdicts]
    return verdicts


def _confirmation(facts: Facts, argument: Argument, told: AtEntry) -> Verdict:
    if not argument.pieces:
        # Nothing can be confirmed of what DWARF alone cannot place, also for a header that knows more of its type.
        return _HOLDS if argument.readable else Verdict(argument.reason)
    if argument.pieces[0].where == STACK and isinstance(bare(argument.type), Record):
        # LLVM infers that a function does not read the memory, and then its callers do not write it.
        return Verdict("callers that clang knows do not fill a record on the stack that the function does not read")
    if told.kind == PLACE and not _differ(told.pieces, argument.pieces):
        return _HOLDS
    registers = {u.where for u in told.uses}
    if told.kind in (PLACE, COMPUTED) and all(
        any(
            u.where == p.where and u.arg_offset < p.arg_offset + p.size and p.arg_offset < u.arg_offset + u.size
            for u in told.uses
        )
        for p in argument.pieces
    ):
        return _HOLDS
    if told.kind == PLACE or registers:
        other = told.pieces or tuple(Piece(u.arg_offset, u.size, u.where) for u in told.uses)
        return Verdict(
            _against(facts, argument, other, "the compiler changed the function, or assigns the argument first")
        )
    return Verdict(f"{_lost(told)}; what a function does not use, callers that the compiler knows do not pass")


def _in_doubt(facts: Facts, placement: Placement, first: int) -> str:
    other = placement.arguments[first].name or f"argument {first + 1}"
    changed = "changed" if facts.marked else "may have changed"
    return f"the compiler {changed} {_call(facts)}, as DWARF does not have `{other}` where the ABI has it"


def _lost(told: AtEntry) -> str:
    if told.kind == CONSTANT:
        what = "a constant" if told.text == "a constant" else f"the constant {told.text}"
        return f"DWARF says that the compiler replaced it by {what}"
    return "DWARF does not say where it is at the entry"


def _against(facts: Facts, argument: Argument, told: Sequence[Piece], why: str) -> str:
    name = f"`{argument.name}`" if argument.name else "an argument"
    return (
        f"DWARF says that {name} of {_call(facts)} is in {_places(told)} "
        f"where the ABI says {_places(argument.pieces)}: {why}"
    )


def _places(pieces: Sequence[Piece]) -> str:
    return place_text(pieces)


def _differ(told: Sequence[Piece], by_abi: Sequence[Piece]) -> bool:
    """Whether some byte that the ABI places is elsewhere, or nowhere."""
    theirs = _bytes(told)
    return any(theirs.get(i) != where for i, where in _bytes(by_abi).items())


def _contradict(told: Sequence[Piece], by_abi: Sequence[Piece]) -> bool:
    """Whether some byte that both place is in two places; padding may be in one only."""
    theirs = _bytes(told)
    return any(i in theirs and theirs[i] != where for i, where in _bytes(by_abi).items())


def _bytes(pieces: Sequence[Piece]) -> dict[int, tuple[str, int]]:
    return {
        p.arg_offset + i: (p.where, (p.stack_offset if p.where == STACK else p.reg_offset) + i)
        for p in pieces
        for i in range(p.size)
    }


def _whole(argument: Argument, pieces: Sequence[Piece]) -> bool:
    """Whether a probe can read the value from there: eightbytes in general registers, or one piece of the stack."""
    if len(pieces) == 1 and pieces[0].where == STACK:
        return pieces[0].size == argument.size
    covered = 0
    for p in pieces:
        if p.where not in GENERAL_REGISTERS or p.arg_offset != covered or p.arg_offset % 8 or p.size > 8:
            return False
        covered += p.size
    return covered == argument.size


def _in_order(facts: Facts, placement: Placement) -> bool:
    """Whether the parameters that have a place are in registers in their own order, as those of any function are, with
    none skipped but for parameters whose replacements DWARF does not name."""
    register, stack = 0, 8
    result = placement.result
    open_ = result.memory or not (result.pieces or isinstance(bare(result.type), Void))  # a pointer to it, or none
    for told in facts.entries:
        if told.kind != PLACE:
            open_ = True
            continue
        for piece in told.pieces:
            if piece.where in GENERAL_REGISTERS:
                index = GENERAL_REGISTERS.index(piece.where)
                if index < register or (index > register and not open_):
                    return False
                register, open_ = index + 1, False
            elif piece.where == STACK:
                if piece.stack_offset < stack:
                    return False
                stack = piece.stack_offset + piece.size
            elif not piece.where.startswith("xmm"):
                return False
    return True

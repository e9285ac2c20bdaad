"""Where arguments are at function entry: the nouns that `abi` makes and that `lower` and `show` read.

    Piece(arg_offset=0, size=8, where="stack", stack_offset=8)     # the first 8 bytes are at sp+8

A place that a probe cannot read is still told, with the reason: "cannot" is a value.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from specc.noun import dataclass
from specc.prototype import CType

GENERAL_REGISTERS: Final = ("rdi", "rsi", "rdx", "rcx", "r8", "r9")  # psABI 3.2.3: in the order of their use
STACK: Final = "stack"


@dataclass(frozen=True, slots=True)
class Piece:
    """`size` bytes of an argument from `arg_offset` on, in a register or on the stack.

    `where` is a register's name or STACK. `reg_offset` counts bytes from the register's low end; `stack_offset`
    counts from the stack pointer at function entry, where 0 is the return address.
    """

    arg_offset: int
    size: int
    where: str
    reg_offset: int = 0
    stack_offset: int = 0


@dataclass(frozen=True, slots=True)
class Argument:
    """One parameter's place. `cls` is the psABI class it is passed by ("INTEGER", "SSE", "MEMORY", "X87", ...;
    the classes of two different eightbytes are joined by a plus; "NO_CLASS" has no place at all).

    When `readable` is false, `reason` says why; `pieces` holds the place if it is known and single, and
    `alternatives` the places that are possible, each with who puts it there ("gcc", "clang").
    """

    name: str | None
    type: CType
    size: int
    align: int
    cls: str
    readable: bool
    reason: str
    pieces: tuple[Piece, ...] = ()
    alternatives: tuple[tuple[str, tuple[Piece, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """Where the return value is at return. `memory` says that rax holds the address of the value."""

    type: CType
    size: int
    cls: str
    readable: bool
    reason: str
    pieces: tuple[Piece, ...] = ()
    memory: bool = False


@dataclass(frozen=True, slots=True)
class Placement:
    """All places of one prototype. `hidden_return_pointer` is "rdi", None, or None with `reason` when it is in doubt."""

    arguments: tuple[Argument, ...]
    hidden_return_pointer: str | None
    result: Result


# How a place is told to a program that learns it when it is loaded: an eightbyte is in the register with this number, or,
# from 8 on, in the stack slot at that offset from the stack pointer at entry. Slots begin at 8: the return address is
# at 0, which here means nowhere.
NOWHERE: Final = 0
REGISTER_CODES: Final = {register: number for number, register in enumerate(GENERAL_REGISTERS, 1)}


# An argument of more eightbytes than this is in memory on every kernel (psABI 3.2.3), and read in one go; smaller ones are
# taken an eightbyte at a time. The compiler and whoever sets the places must agree on it.
SMALL: Final = 2


def place_codes(pieces: Sequence[Piece], eightbytes: int) -> tuple[int, ...]:
    """The code of each eightbyte of an argument; one that no piece covers is padding, and nowhere."""
    codes = [NOWHERE] * eightbytes
    for piece in pieces:
        for number in range((piece.size + 7) // 8):
            code = REGISTER_CODES.get(piece.where) or piece.stack_offset + 8 * number
            codes[piece.arg_offset // 8 + number] = code
    return tuple(codes)


def trampoline_codes(placement: Placement, argument: int | None, eightbytes: int) -> tuple[int, ...]:
    """The same for a BPF trampoline, whose context has the arguments' words in their order, whatever the ABI does, and
    then the result (None): the words are numbered from 1."""
    before = placement.arguments[:argument]
    first = 1 + sum((a.size + 7) // 8 for a in before)
    return tuple(range(first, first + eightbytes))


def argument_codes(placement: Placement, position: int | None, eightbytes: int, *, words: bool) -> tuple[int, ...]:
    """The codes of the argument at that position, which is None where a kernel does not have it; by `words` of a context, or
    by the ABI. The compiler and the loader both take them from here."""
    if position is None:
        return (NOWHERE,) * eightbytes
    if words:
        return trampoline_codes(placement, position, eightbytes)
    return place_codes(placement.arguments[position].pieces, eightbytes)


def window_of(codes: Iterable[tuple[int, ...]]) -> tuple[int, int]:
    """The stack slots that arguments with these codes are in: the offset of the first, and the bytes to the last's end."""
    slots = [code for one in codes for code in one if code not in REGISTER_CODES.values() and code != NOWHERE]
    return (min(slots), max(slots) + 8 - min(slots)) if slots else (0, 0)


def argument_names(placement: Placement) -> list[str]:
    """The name each argument goes by; one that its declaration does not name is `arg0`, `arg1`, by its position."""
    return [a.name or f"arg{i}" for i, a in enumerate(placement.arguments)]


def place_text(pieces: Sequence[Piece]) -> str:
    """A place for a person: "rdi:rsi", "sp+8", "sp+8..sp+47"."""
    parts: list[str] = []
    for piece in pieces:
        if piece.where == STACK:
            last = piece.stack_offset + piece.size - 1
            parts.append(f"sp+{piece.stack_offset}" + (f"..sp+{last}" if piece.size > 8 else ""))
        else:
            parts.append(piece.where)
    return ":".join(parts) or "no place"

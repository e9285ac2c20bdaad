"""What a parameter's location says about its place at the function's entry.

In: the entry of a parameter of a concrete function, and the function's `Frame`.  Out: an `AtEntry`.

    at_entry(die, 8, frame)     # AtEntry(PLACE, (Piece(0, 8, "rdi"),), (Use(0, 8, "rdi"),))

A location holds for a range of instructions, and at the first of them several can hold one after another: `a = b;` costs
no instruction, and from then on `a` is where `b` was passed. gcc numbers such points ("location views"); clang does not
tell them apart, so with clang a location at the entry may be of a parameter that was assigned.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from specc.dwarf.dies import Die, has, number
from specc.noun import dataclass
from specc.place import STACK, Piece

PLACE: Final = "place"  # the whole value is in `pieces`
OWN_FRAME: Final = "own frame"  # where the function's prologue puts it: nothing about the entry
CONSTANT: Final = "constant"  # `text`; it may not be passed at all
COMPUTED: Final = "computed"  # from `uses`, or in part only
NOTHING: Final = "nothing"

# psABI 3.6.2, figure 3.36: DWARF register numbers.
REGISTERS: Final = ("rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15")  # fmt: skip
_RBP, _RSP, _XMM0 = 6, 7, 17
_REG, _BREG, _LIT = range(0x50, 0x70), range(0x70, 0x90), range(0x30, 0x50)
_REGX, _FBREG, _PIECE, _BIT_PIECE, _CFA, _STACK_VALUE = 0x90, 0x91, 0x93, 0x9D, 0x9C, 0x9F
_IMPLICIT_VALUE: Final = 0x9E
_CONSTANTS: Final = range(0x08, 0x12)
_FRAME_POINTER: Final = -16  # where it is pushed, from the canonical frame address
_PARAMETER_REF: Final = 0xFA  # DW_OP_GNU_parameter_ref: what the caller would have passed, and does not


@dataclass(frozen=True, slots=True)
class Use:
    """`size` bytes of the value from `arg_offset` on are computed from what is in a register at the entry."""

    arg_offset: int
    size: int
    where: str


@dataclass(frozen=True, slots=True)
class AtEntry:
    kind: str
    pieces: tuple[Piece, ...] = ()
    uses: tuple[Use, ...] = ()
    text: str = ""
    listed: bool = False  # it comes from a list of locations by address


@dataclass(frozen=True, slots=True)
class Frame:
    """`entry` is the function's first address. `cfa` is what to add to an offset from the frame base to count from the
    canonical frame address, which is the stack pointer at the entry plus 8; None when that is not known."""

    entry: int
    cfa: int | None
    parser: Any  # of expressions, by pyelftools
    lists: Any  # its location lists


def frame_of(function: Die, entry: int, parser: Any, lists: Any) -> Frame:
    cfa = None
    base = function.attributes.get("DW_AT_frame_base")
    if base is not None and isinstance(base.value, list):
        match base.value:
            case [0x9C]:  # DW_OP_call_frame_cfa
                cfa = 0
            case [0x56]:  # DW_OP_reg6: the frame pointer, pushed below the return address
                cfa = _FRAME_POINTER
    return Frame(entry, cfa, parser, lists)


def at_entry(parameter: Die | None, size: int, frame: Frame) -> AtEntry:
    """`parameter` is None when the function has no such parameter any more."""
    if parameter is None:
        return AtEntry(NOTHING)
    if has(parameter, "const_value"):
        value = number(parameter, "const_value")
        return AtEntry(CONSTANT, text="a constant" if value is None else str(value))
    location = parameter.attributes.get("DW_AT_location")
    if location is None:
        return AtEntry(NOTHING)
    if isinstance(location.value, list):
        return _read(location.value, size, frame, listed=False)
    found = _first(parameter, location, frame)
    return AtEntry(NOTHING, listed=True) if found is None else _read(found, size, frame, listed=True)


def in_own_frame(parameter: Die | None, frame: Frame) -> bool:
    """Whether a value is below the frame pointer of a function that is not optimised, right in its frame: then the prologue
    put it there, out of registers. What was passed in memory is described where it is, or through a pointer (ASan)."""
    location = None if parameter is None else parameter.attributes.get("DW_AT_location")
    if location is None or not isinstance(location.value, list) or frame.cfa != _FRAME_POINTER:
        return False
    operations = frame.parser.parse_expr(location.value)
    return len(operations) == 1 and operations[0].op == _FBREG and bool(operations[0].args[0] < 0)


def _first(parameter: Die, location: Any, frame: Frame) -> Sequence[int] | None:
    """The expression that holds first at the entry, in the order of gcc's views where there are any."""
    if frame.lists is None:
        return None
    base = number(parameter.cu.get_top_DIE(), "low_pc") or 0
    offset = location.value
    views = iter(_views(parameter, frame, offset))
    for one in frame.lists.get_location_list_at_offset(offset, parameter):
        if hasattr(one, "base_address"):
            base = one.base_address
            continue
        begin, end = next(views, (0, 1))
        if one.begin_offset == one.end_offset == -1:
            return list(one.loc_expr)  # DW_LLE_default_location
        shift = 0 if one.is_absolute else base
        if one.begin_offset + shift != frame.entry:
            continue
        if begin == 0 and (one.end_offset > one.begin_offset or end > 0):
            return list(one.loc_expr)
    return None


def _views(parameter: Die, frame: Frame, end: int) -> Iterable[tuple[int, int]]:
    """gcc's DW_AT_GNU_locviews: a pair of numbers for each location of the list that follows them."""
    start = number(parameter, "GNU_locviews")
    if start is None or not start < end <= start + (1 << 16):
        return ()
    # A file with units of DWARF 4 and 5 has both sections, and pyelftools a pair of readers.
    lists = getattr(frame.lists, "_loclists" if parameter.cu["version"] >= 5 else "_loc", frame.lists)
    lists.stream.seek(start)
    numbers = list(_uleb128(lists.stream.read(end - start)))
    return zip(numbers[::2], numbers[1::2], strict=False)


def _uleb128(data: bytes) -> Iterable[int]:
    value = shift = 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            yield value
            value = shift = 0


def _read(expression: Sequence[int], size: int, frame: Frame, *, listed: bool) -> AtEntry:
    """An expression, cut at its DW_OP_pieces, as places of the value's bytes."""
    try:
        operations = frame.parser.parse_expr(expression)
    except (KeyError, ValueError, IndexError, AssertionError):
        return AtEntry(COMPUTED, text="an expression that specc does not know", listed=listed)
    parts: list[tuple[list[Any], int]] = []
    part: list[Any] = []
    for operation in operations:
        if operation.op == _PIECE:
            parts.append((part, operation.args[0]))
            part = []
        elif operation.op == _BIT_PIECE:
            return AtEntry(COMPUTED, listed=listed)
        else:
            part.append(operation)
    if part or not parts:
        parts.append((part, size - sum(n for _, n in parts)))
    pieces: list[Piece] = []
    uses: list[Use] = []
    kinds: set[str] = set()
    at = 0
    for operations, length in parts:
        kind, piece = _part(operations, at, length, frame, listed)
        kinds.add(kind)
        if piece is not None:
            pieces.append(piece)
        uses += [Use(at, length, where) for where in dict.fromkeys(_registers(operations))]
        at += length
    if kinds == {PLACE} and at == size:
        return AtEntry(PLACE, tuple(pieces), tuple(uses), listed=listed)
    kind = kinds.pop() if len(kinds) == 1 and PLACE not in kinds else COMPUTED
    return AtEntry(kind, (), tuple(uses), "a constant" if kind == CONSTANT else "", listed)


def _part(operations: list[Any], at: int, size: int, frame: Frame, listed: bool) -> tuple[str, Piece | None]:
    match [(o.op, o.args) for o in operations]:
        case []:
            return NOTHING, None
        case [(op, _)] if op in _REG:
            return _register(op - _REG.start, at, size)
        case [(op, args)] if op == _REGX:
            return _register(args[0], at, size)
        case [(op, args)] if op == _FBREG and frame.cfa is not None and args[0] + frame.cfa >= 0:
            return PLACE, Piece(at, size, STACK, stack_offset=args[0] + frame.cfa + 8)
        case [(op, args)] if op == _BREG.start + _RSP and listed and args[0] >= 8:
            return PLACE, Piece(at, size, STACK, stack_offset=args[0])  # the stack pointer of the entry itself
        case [(op, _)] if op == _FBREG or op in _BREG:
            return OWN_FRAME, None
        case [(op, _), *_] if op == _PARAMETER_REF:
            return NOTHING, None
        case [(op, _)] if op == _IMPLICIT_VALUE:
            return CONSTANT, None
        case [(op, _), (last, _)] if last == _STACK_VALUE and (op in _LIT or op in _CONSTANTS):
            return CONSTANT, None
        case _:
            return COMPUTED, None


def _register(number: int, at: int, size: int) -> tuple[str, Piece | None]:
    name = _name(number)
    if name is None or size > (16 if name.startswith("xmm") else 8):
        return COMPUTED, None
    return PLACE, Piece(at, size, name)


def _name(number: int) -> str | None:
    if number < len(REGISTERS):
        return REGISTERS[number]
    return f"xmm{number - _XMM0}" if _XMM0 <= number < _XMM0 + 16 else None


def _registers(operations: Iterable[Any]) -> Iterable[str]:
    """The registers that an expression reads, also for a value at the entry (DW_OP_entry_value)."""
    for operation in operations:
        number = None
        if operation.op in _REG:
            number = operation.op - _REG.start
        elif operation.op in _BREG:
            number = operation.op - _BREG.start
        elif operation.op == _REGX:
            number = operation.args[0]
        name = _name(number) if number is not None else None
        if name is not None:
            yield name

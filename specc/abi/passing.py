"""Where the arguments of one call are under one `Hypothesis` (psABI 3.2.3, "Passing").

In: the types of result and arguments, a Hypothesis.  Out: a `Seat` for each argument, and the hidden return pointer.

    seats = seat_arguments(VOID, (LONG, DOUBLE), GCC).arguments
    seats[0].pieces    # (Piece(arg_offset=0, size=8, where="rdi"),)

gcc assigns registers as the psABI says. clang does it in two steps that do not know of each other: its front end
counts registers to decide whether an aggregate fits, its back end then hands them out value by value. Where the
counts part (a bare __int128 with one register left) an aggregate may even be cut in two.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from specc.abi.classify import (
    COMPLEX_X87,
    IN_MEMORY,
    INTEGER,
    MEMORY,
    NO_CLASS,
    SSE,
    SSEUP,
    X87,
    X87UP,
    Hypothesis,
    classify,
    is_atomic,
    natural_align,
)
from specc.abi.reasons import memory_reason, spill_reason
from specc.abi.transparent import is_transparent
from specc.layout import as_clang, is_atomic_aggregate
from specc.noun import dataclass, field, replace
from specc.place import GENERAL_REGISTERS, STACK, Piece
from specc.prototype import (
    Array,
    BitInt,
    Complex,
    CType,
    Enum,
    Float,
    Function,
    Int,
    Pointer,
    Record,
    Unknown,
    Vector,
    Void,
    bare,
    decay,
    size_of,
    spell,
)

SSE_REGISTERS: Final = tuple(f"xmm{i}" for i in range(8))
FIRST_STACK_OFFSET: Final = 8  # above the return address
_TWO_PARTS: Final = ((SSE, SSE), (SSE, INTEGER))
UNKNOWN_ALIGNMENT: Final = -1  # in Hypothesis.aligned


@dataclass(frozen=True, slots=True)
class Seat:
    """Where one argument is. `pieces` is None when that cannot be said, and `reason` says why; else `reason` is why
    the argument is not simply in the next registers."""

    cls: str
    pieces: tuple[Piece, ...] | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Seating:
    arguments: tuple[Seat, ...]
    result: Seat
    hidden: bool | None  # the result is returned in memory; None when that cannot be said


def seat_arguments(result: CType, arguments: Sequence[CType], h: Hypothesis) -> Seating:
    """Every argument's place in a call of a function with this result and these (decayed) arguments."""
    came_back, hidden = _seat_result(result, h)
    if hidden is None:
        lost = Seat(NO_CLASS, None, f"the result {came_back.reason}, and may need a hidden pointer in rdi")
        return Seating((lost,) * len(arguments), came_back, None)
    call = _Call(h, gpr=int(hidden), counted_gpr=int(hidden))
    if not hidden and h.compiler == "clang" and isinstance(v := bare(result), Vector) and v.size > 4 * h.vector:
        call.gpr = 1  # more than the four registers for results: the back end adds a pointer that the front end misses
    seats: list[Seat] = []
    for i, ctype in enumerate(arguments):
        if seats and seats[-1].pieces is None:
            reason = seats[-1].reason
            if not reason.startswith("an argument before it"):
                reason = f"an argument before it {reason}"
            seats.append(Seat(NO_CLASS, None, reason))
            continue
        t = bare(ctype)
        if isinstance(t, Pointer | Int | Enum) and (t is ctype or not is_atomic(ctype)) and (size := size_of(t)) <= 8:
            seats.append(call.integer(size))  # by far the most; the rest of the loop would say the same
            continue
        hide = bool(h.transparent and h.transparent[i])
        ctype = _as_passed(ctype, hide, h)
        obstacle = _obstacle(ctype)
        if h.aligned and h.aligned[i] == UNKNOWN_ALIGNMENT:
            obstacle = f"has type `{spell(ctype)}`, whose alignment is not known, as that of others here is not"
        if obstacle:
            seats.append(Seat(NO_CLASS, None, obstacle))
            continue
        classes = classify(ctype, h, h.unnamed[i] if h.unnamed else 0)
        align = h.aligned[i] if h.aligned and h.aligned[i] else _stack_align(ctype, h)
        seat = call.gcc(ctype, classes, align) if h.compiler == "gcc" else call.clang(ctype, classes, align)
        seats.append(seat)
    return Seating(tuple(seats), came_back, hidden)


def _as_passed(ctype: CType, transparent: bool, h: Hypothesis) -> CType:
    """A transparent union is passed as its first member (GCC manual, "Common Type Attributes")."""
    t = bare(ctype)
    if isinstance(t, Record) and (t.transparent or transparent) and is_transparent(t, h):
        assert t.members
        return decay(t.members[0].type)
    return ctype


def _obstacle(ctype: CType) -> str:
    """Why a value of this type has no place that can be told, or ""."""
    match bare(ctype):
        case Unknown(name=name, reason=reason):
            return f"has type `{name}`: {reason}"
        case Record(members=None) as r:
            return f"has type `{spell(r)}`, which is incomplete here" + (f": {r.doubt}" if r.doubt else "")
        case Record(members=(), exact=False, size=size) as r if size:
            return f"has type `{spell(r)}` of {size} bytes, whose members are not known"
        case Void() | Function():
            return "has no object type"
        case _:
            return "is an _Atomic aggregate" if is_atomic_aggregate(ctype) else ""


def _stack_align(ctype: CType, h: Hypothesis) -> int:
    """Bytes; psABI 3.2.3 rounds up to 8, and to 16 and more where the type asks for it. Typedefs do not count."""
    if h.old and h.compiler == "clang" and isinstance(t := bare(ctype), Int) and t.size == 16:
        return 8  # clang before 18 aligns a bare __int128 to 8 only
    return max(8, natural_align(ctype if h.compiler == "gcc" else as_clang(ctype)))


def _seat_result(ctype: CType, h: Hypothesis) -> tuple[Seat, bool | None]:
    """Where the result is at return; and whether it is in memory, its address in rdi at entry."""
    t = bare(ctype)
    if isinstance(t, Void):
        return Seat(NO_CLASS, ()), False
    obstacle = _obstacle(ctype)
    if obstacle:
        return Seat(NO_CLASS, None, obstacle), None
    # A result is never an unnamed argument, which is what clang takes all of a variadic function's vectors for.
    classes = classify(ctype, replace(h, variadic=False) if h.variadic else h, h.unnamed[-1] if h.unnamed else 0)
    if classes == IN_MEMORY and h.compiler == "gcc" and _is_empty(ctype):
        return Seat(NO_CLASS, ()), False
    if classes == IN_MEMORY:
        # clang returns what is no aggregate in registers, whatever its class; as many of them as it takes.
        scalar = not isinstance(t, Record | Array | Complex | BitInt)
        if h.compiler == "clang" and scalar and not (isinstance(t, Vector) and t.size > 16 == size_of(t.element)):
            if isinstance(t, Vector | Float):
                return Seat(SSE, _vector_pieces(t.size)), False
            return Seat(INTEGER, _general_pieces(t)), False
        return Seat(MEMORY, (), memory_reason(ctype)), True
    if h.compiler == "clang" and classes in _TWO_PARTS and _begins_with_quad(t):
        classes = (INTEGER, *classes[1:])
    general, sse = ["rax", "rdx"], ["xmm0", "xmm1"]
    pieces: list[Piece] = []
    for i, c in enumerate(classes):
        size = min(8, size_of(ctype) - 8 * i)
        match c:
            case "INTEGER":
                pieces.append(Piece(8 * i, size, general.pop(0)))
            case "SSE":
                pieces.append(Piece(8 * i, size, sse.pop(0)))
            case "SSEUP":
                last = pieces.pop()
                pieces.append(Piece(last.arg_offset, last.size + size, last.where))
            case "X87":
                pieces.append(Piece(0, 10, "st0"))
            case "COMPLEX_X87":
                pieces += [Piece(0, 10, "st0"), Piece(16, 10, "st1")]
            case _:
                pass
    return Seat(class_name(classes), tuple(pieces)), False


def _general_pieces(t: CType) -> tuple[Piece, ...]:
    size = size_of(t)
    return tuple(Piece(8 * i, min(8, size - 8 * i), r) for i, r in enumerate(("rax", "rdx")[: (size + 7) // 8]))


def _vector_pieces(size: int) -> tuple[Piece, ...]:
    return tuple(Piece(i, min(16, size - i), SSE_REGISTERS[i // 16 % 8]) for i in range(0, size, 16))


def class_name(classes: Sequence[str]) -> str:
    """ "INTEGER" for one or two of the same, "INTEGER+SSE" for a mixture."""
    seen = dict.fromkeys(c for c in classes if c not in (NO_CLASS, SSEUP, X87UP))
    return "+".join(seen) or NO_CLASS


@dataclass(slots=True)
class _Call:
    """Registers and stack slots that the arguments so far have taken."""

    h: Hypothesis
    gpr: int = 0
    sse: int = 0
    slots: int = 0
    counted_gpr: int = 0  # what clang's front end believes
    counted_sse: int = 0
    _pieces: list[Piece] = field(default_factory=list)

    def gcc(self, ctype: CType, classes: tuple[str, ...], align: int) -> Seat:
        need_gpr, need_sse = classes.count(INTEGER), classes.count(SSE)
        in_memory = _in_memory(classes)
        fits = not in_memory and self.gpr + need_gpr <= 6 and self.sse + need_sse <= 8
        if not classes or (not fits and _is_empty(ctype)):
            return _NOWHERE
        if in_memory:
            return Seat(MEMORY, (self.push(size_of(ctype), align),), memory_reason(ctype))
        # psABI 3.2.3: if there are no registers available for any eightbyte of an argument, the whole argument is
        # passed on the stack; what was assigned is reverted, and later arguments may take it.
        if not fits:
            reason = spill_reason(need_gpr, need_sse, 6 - self.gpr, 8 - self.sse)
            return Seat(MEMORY, (self.push(size_of(ctype), align),), reason)
        return Seat(class_name(classes), self.eightbytes(classes, size_of(ctype)))

    def clang(self, ctype: CType, classes: tuple[str, ...], align: int) -> Seat:
        t = bare(ctype)
        size = size_of(as_clang(ctype))
        need_gpr, need_sse = classes.count(INTEGER), classes.count(SSE)
        if not classes:
            return _NOWHERE
        memory = _in_memory(classes)
        fits = not memory and self.counted_gpr + need_gpr <= 6 and self.counted_sse + need_sse <= 8
        reason = memory_reason(ctype) if memory else ""
        if not fits and not memory:
            reason = spill_reason(need_gpr, need_sse, 6 - self.counted_gpr, 8 - self.counted_sse)
        if fits:
            self.counted_gpr += need_gpr
            self.counted_sse += need_sse
        wide = isinstance(t, Vector) and (size <= 8 or size > self.h.vector or size_of(t.element) == 16 < size)
        aggregate = isinstance(t, Record | Array | Complex | BitInt) or wide
        if classes in _TWO_PARTS and _begins_with_quad(t):
            # clang has no half of a __float128 to put into an SSE register, and takes a general one (no assertions).
            classes = (INTEGER, *classes[1:])
        if fits and (aggregate or size == 16 == 8 * need_gpr):  # a bare __int128 is two values, too
            pieces = _join(self.eightbytes(classes, size))
        elif aggregate and not size:
            # Without bytes but of class MEMORY, for a flexible array: still a slot, unless cut down to an integer.
            if self.counted_gpr < 6 or align > 8:
                self.push(8, align)
            return _NOWHERE
        elif aggregate:
            pieces = (self.push(size, align),)
        else:
            pieces = _join(self.scalar(t, size, align))
        if any(p.where == STACK for p in pieces):
            return Seat(MEMORY, pieces, reason or "the registers for it are taken")
        if memory:  # only what clang's front end believes
            return Seat(INTEGER if pieces[0].where in GENERAL_REGISTERS else SSE, pieces)
        return Seat(class_name(classes), pieces)

    def integer(self, size: int) -> Seat:
        """An INTEGER of one eightbyte, which gcc and clang treat alike."""
        self.counted_gpr = min(6, self.counted_gpr + 1)
        if self.gpr == 6:
            return Seat(MEMORY, (self.push(size, 8),), spill_reason(1, 0, 0, 0))
        self.gpr += 1
        return _IN_REGISTER[size, self.gpr]

    def scalar(self, t: CType, size: int, align: int) -> tuple[Piece, ...]:
        """clang's back end with one value that is no aggregate."""
        match t:
            case Int(size=16) if self.h.old:
                return (*self.general(0, 8), *self.general(8, 8))
            case Int(size=16):
                if self.gpr + 2 <= 6:
                    return (*self.general(0, 8), *self.general(8, 8))
                # The last register is not used, and lost for what follows (llvm issue 123935).
                self.gpr = 6
                return (self.push(16, 16),)
            case Float(name="long double"):
                return (self.push(16, 16),)
            case Float() | Vector():
                return self.vector(0, size, align)
            case _:
                return self.general(0, size)

    def eightbytes(self, classes: Sequence[str], size: int) -> tuple[Piece, ...]:
        pieces: list[Piece] = []
        for i, c in enumerate(classes):
            if c == INTEGER:
                pieces += self.general(8 * i, min(8, size - 8 * i))
            elif c == SSE:
                ups = 0
                while i + ups + 1 < len(classes) and classes[i + ups + 1] == SSEUP:
                    ups += 1
                width = min(8 * (ups + 1), size - 8 * i)
                pieces += self.vector(8 * i, width, 8 * (ups + 1))
        return tuple(pieces)

    def general(self, arg_offset: int, size: int) -> tuple[Piece, ...]:
        if self.gpr == 6:
            return (self.push(size, 8, arg_offset),)
        self.gpr += 1
        return (Piece(arg_offset, size, GENERAL_REGISTERS[self.gpr - 1]),)

    def vector(self, arg_offset: int, size: int, align: int) -> tuple[Piece, ...]:
        if self.sse == 8 or (
            self.h.variadic and size > 16 and self.h.compiler == "clang"
        ):  # LLVM's CC_X86_64_C: CCIfNotVarArg
            return (self.push(size, max(8, align), arg_offset),)
        self.sse += 1
        return (Piece(arg_offset, size, SSE_REGISTERS[self.sse - 1]),)

    def push(self, size: int, align: int, arg_offset: int = 0) -> Piece:
        """The next stack place: psABI 3.2.3, 3.2.2: a multiple of 8 from the first argument on, more if aligned."""
        step = align // 8
        self.slots = (self.slots + step - 1) // step * step
        piece = Piece(arg_offset, size, STACK, stack_offset=FIRST_STACK_OFFSET + 8 * self.slots)
        self.slots += (size + 7) // 8
        return piece


_IN_REGISTER: Final = {
    (size, i): Seat(INTEGER, (Piece(0, size, register),))
    for size in (1, 2, 4, 8)
    for i, register in enumerate(GENERAL_REGISTERS, 1)
}
_NOWHERE: Final = Seat(NO_CLASS, (), "a record without bytes has no place")


def _begins_with_quad(ctype: CType) -> bool:
    """Whether clang's storage for this record begins with a __float128 (CGRecordLayoutBuilder.cpp, lowerUnion)."""
    t = bare(ctype)
    match t:
        case Float(name=name):
            return name == "__float128"
        case Array(element=element):
            return _begins_with_quad(element)
        case Record(kind="union", members=members) if members:
            widest = max(members, key=lambda m: (_storage_align(m.type), size_of(m.type)))  # the first of equals
            return widest.bit_width is None and _begins_with_quad(widest.type)
        case Record(members=members):
            first = next((m for m in members or () if m.bit_offset == 0 and size_of(m.type)), None)
            return first is not None and first.bit_width is None and _begins_with_quad(first.type)
        case _:
            return False


def _storage_align(ctype: CType) -> int:
    t = bare(ctype)
    match t:
        case Array(element=element):
            return _storage_align(element)
        case Record(members=members):
            return max((_storage_align(m.type) for m in members or ()), default=1)
        case Float() | Int() | Vector():
            return size_of(t)
        case _:
            return natural_align(t)


def _join(pieces: tuple[Piece, ...]) -> tuple[Piece, ...]:
    """Stack pieces that follow each other in argument and stack alike are one."""
    if len(pieces) < 2:
        return pieces
    joined = [pieces[0]]
    for p in pieces[1:]:
        last = joined[-1]
        if (
            p.where == last.where == STACK
            and p.stack_offset - last.stack_offset == last.size == p.arg_offset - last.arg_offset
        ):
            joined[-1] = Piece(last.arg_offset, last.size + p.size, STACK, 0, last.stack_offset)
        else:
            joined.append(p)
    return tuple(joined)


def _is_empty(ctype: CType) -> bool:
    """gcc's default_is_empty_type: nothing but unnamed bit-fields; such a record may take a register, but no slot."""
    match bare(ctype):
        case Array(element=element, count=count):
            return not count or _is_empty(element)
        case Record(members=members):
            return all((m.bit_width is not None and not m.name) or _is_empty(m.type) for m in members or ())
        case _:
            return False


def _in_memory(classes: tuple[str, ...]) -> bool:
    # psABI 3.2.3, 5: if the class is X87, X87UP or COMPLEX_X87, it is passed in memory.
    return classes == IN_MEMORY or X87 in classes or X87UP in classes or COMPLEX_X87 in classes

"""Where the eightbytes of the wanted values come from: places in, reads and stores out.

    capture([Wanted("locked", storage, pieces)])

All wanted stack slots of a program that touch one another are copied by a single bpf_probe_read.
"""

from __future__ import annotations

from collections.abc import Sequence

from specc.ir import (
    ALL_BITS,
    Bits,
    Capture,
    Constant,
    ContextWord,
    Joined,
    Moving,
    Read,
    Register,
    Source,
    StackSlot,
    Store,
)
from specc.lower.event import Storage
from specc.noun import dataclass, replace
from specc.place import SMALL, STACK, Piece

# pt_regs spells the registers without their r, but for the numbered ones.
MEMBER = {"rdi": "di", "rsi": "si", "rdx": "dx", "rcx": "cx", "r8": "r8", "r9": "r9", "rax": "ax"}

# The kernel refuses a program that uses more stack than 512 bytes; calls and spilled registers need the rest.
STACK_BYTES = 400
# Up to this many eightbytes of it hold copies of stack slots; what does not fit is read straight into the event, the
# largest values first.
LOCAL_SLOTS = 32
# The same at the entry of a call, where what is saved until the return, at most so many bytes, is on the stack too.
SAVED_BYTES = 256
SAVING_SLOTS = (STACK_BYTES - SAVED_BYTES) // 8


@dataclass(frozen=True, slots=True)
class Wanted:
    """A value to capture into the field `name`: its place as `abi` gave it, or the words of a trampoline's context.

    With `at`, the name of the constants, the place is told to the program when it is loaded.

    `copied` says that these words cannot be loaded one by one. `memory` is set for a value that a register points to (a
    result returned in memory): the pt_regs member. With `part`, the place is that of one eightbyte; with `span`, that of the
    whole struct.
    """

    name: str
    storage: Storage
    pieces: tuple[Piece, ...] = ()
    context_words: tuple[int, ...] = ()
    memory: str | None = None
    size: int = 0
    comment: str = ""
    copied: bool = False
    at: str = ""
    part: Part | None = None
    span: Span | None = None

    @property
    def eightbytes(self) -> int:
        """How many there are at its place."""
        return len(self.storage.masks) if self.span is None else self.span.eightbytes


@dataclass(frozen=True, slots=True)
class Part:
    """What is wanted of a struct by value: of its eightbyte `number` some bits, shifted to the left, then to the right."""

    number: int
    left: int
    right: int
    signed: bool
    width: int | None  # of a bit-field

    def of(self, word: Source) -> Source:
        return Bits(word, self.left, self.right, self.signed) if self.left or self.right else word


@dataclass(frozen=True, slots=True)
class Span:
    """What is wanted of a struct by value, which has so many `eightbytes`: `size` bytes from byte `first` on."""

    first: int
    size: int
    eightbytes: int

    def of(self, words: Sequence[Source]) -> list[Source]:
        """Its own eightbytes, out of those of the struct."""
        number, odd = divmod(self.first, 8)
        made: list[Source] = []
        for done in range(0, self.size, 8):
            low, right = words[number + done // 8], 8 * odd
            if odd and self.size - done > 8 - odd:
                made.append(Joined(low, words[number + done // 8 + 1], right))
            else:
                made.append(Bits(low, 0, right, signed=False) if odd else low)
        return made


@dataclass(frozen=True, slots=True)
class Window:
    """For places that are known when the program is loaded: the constants `at` say which stack slots are copied, at most
    `slots`; or, with `context`, they number words of a trampoline's context, or of a tracepoint's. The `short` context of a
    tracepoint ends with its last parameter: what cannot be loaded is copied word by word, and nothing behind the end."""

    at: str
    slots: int
    context: bool = False
    short: bool = False


@dataclass(frozen=True, slots=True)
class Captured:
    """The capture, the names of its status fields, and for each wanted value the status that covers it (or None); and the
    `words` of values that are not stored, but wanted for something else.
    """

    capture: Capture
    statuses: tuple[str, ...]
    status_of: dict[str, str | None]
    words: dict[str, Source]


def slots_of(wanted: Wanted) -> list[int]:
    """Stack offsets of the slots that hold a value; every stack argument begins at a multiple of 8 (psABI 3.2.3)."""
    found: list[int] = []
    for piece in wanted.pieces:
        if piece.where == STACK:
            assert piece.stack_offset % 8 == 0, "a stack argument begins at a slot"
            found.extend(range(piece.stack_offset, piece.stack_offset + piece.size, 8))
    return found


@dataclass(frozen=True, slots=True)
class Slots:
    """What holds the slots: the pt_regs member that points to it, its name in the C text, and whether it is so small
    that one read of all that lies between the wanted slots is better than several; and how many are copied at the `most`."""

    base: str = "sp"
    array: str = "stack"
    join: bool = False
    most: int = LOCAL_SLOTS


STACK_SLOTS = Slots()

# The one argument of a system call's wrapper points to the registers that the process came with.
PROCESS_REGISTERS = Slots("di", "registers", join=True)


def capture_moving(values: Sequence[Wanted], window: Window, loose: frozenset[str] = frozenset()) -> Captured:
    """Reads and stores for `values` whose places are set when the program is loaded, and for others that do not move."""
    loose_words: dict[str, Source] = {}
    reads: list[Read] = []
    stores: list[Store] = []
    status_of: dict[str, str | None] = {}
    for wanted in values:
        if not wanted.at:
            found = capture([wanted], loose=loose)
            loose_words |= found.words
            reads += found.capture.reads
            stores += found.capture.stores
            status_of |= found.status_of
        elif wanted.eightbytes > SMALL:
            read = replace(
                _direct(replace(wanted, pieces=(_ANYWHERE,))),
                offset=wanted.span.first if wanted.span is not None else 0,
                comment="",
                moving=Moving(wanted.at, wanted.name),
            )
            reads.append(read)
            status_of[wanted.name] = read.status
        else:
            count = wanted.storage.count
            words: list[Source] = [
                Moving(
                    wanted.at,
                    wanted.name,
                    None if count is None else i,
                    window.slots == 0,
                    window.context,
                    wanted.copied,
                    wanted.copied and window.short,
                )
                for i in range(wanted.eightbytes)
            ]
            words = _wanted_of(wanted, words)
            if wanted.name in loose:
                loose_words[wanted.name] = words[0]
            else:
                stores += _stores(replace(wanted, comment=""), words)
            status_of[wanted.name] = MOVING_STATUS if window.slots else None
    moving = any(w.at and w.eightbytes <= SMALL for w in values)
    slots = window.slots if moving else 0
    statuses = ([MOVING_STATUS] if slots else []) + [r.status for r in reads]
    words_copied = _CONTEXT_WORDS if any(w.copied for w in values) and not window.short else 0
    return Captured(
        Capture(tuple(reads), tuple(stores), slots, "stack", words_copied, window.at if slots else ""),
        tuple(dict.fromkeys(statuses)),
        status_of,
        loose_words,
    )


MOVING_STATUS = "stack_error"
_ANYWHERE = Piece(0, 8, STACK, stack_offset=8)
_CONTEXT_WORDS = 13  # the most arguments that a trampoline takes (MAX_BPF_FUNC_ARGS of the kernel), and the result


def capture(values: Sequence[Wanted], where: Slots = STACK_SLOTS, *, loose: frozenset[str] = frozenset()) -> Captured:
    """Reads and stores for all `values`, in their order; no stores for those that are `loose`, but their words."""
    loose_words: dict[str, Source] = {}
    direct = _direct_names(values, where.most)
    shared = [w for w in values if w.name not in direct]
    runs = _runs(sorted({offset for w in shared for offset in slots_of(w)}), join=where.join)
    reads: list[Read] = []
    slot_index: dict[int, int] = {}
    slot_status: dict[int, str] = {}
    for number, run in enumerate(runs):
        name = f"{where.array}_error" if len(runs) == 1 else f"{where.array}_error_{number + 1}"
        reads.append(Read(where.base, run[0], 8 * len(run), name, len(slot_index), where.array))
        for offset in run:
            slot_status[offset] = name
            slot_index[offset] = len(slot_index)
    status_of: dict[str, str | None] = {}
    stores: list[Store] = []
    for wanted in values:
        if wanted.name in direct:
            read = _direct(wanted)
            reads.append(read)
            status_of[wanted.name] = read.status
            continue
        slots = slots_of(wanted)
        # A value on the stack is whole there, and in one piece, so one status covers it.
        status_of[wanted.name] = slot_status[slots[0]] if slots else None
        words = _wanted_of(wanted, _words(wanted, slot_index, where.array))
        if wanted.name in loose:
            loose_words[wanted.name] = words[0]
        else:
            stores.extend(_stores(wanted, words))
    statuses = tuple(dict.fromkeys(r.status for r in reads))
    copied = max((index + 1 for w in values if w.copied for index in w.context_words), default=0)
    made = Capture(tuple(reads), tuple(stores), len(slot_index), where.array, copied)
    return Captured(made, statuses, status_of, loose_words)


def _direct_names(values: Sequence[Wanted], most: int) -> frozenset[str]:
    """The values that are read straight into their field: those behind a pointer, and what `most` slots cannot hold."""
    direct = {w.name for w in values if w.memory is not None or (w.span is not None and w.eightbytes > SMALL)}
    on_stack = sorted(
        (w for w in values if slots_of(w) and w.name not in direct), key=lambda w: len(slots_of(w)), reverse=True
    )
    held = sum(len(slots_of(w)) for w in on_stack)
    for wanted in on_stack:
        if held <= most:
            break
        if wanted.storage.count is not None:  # a scalar's field may be narrower than its slot
            held -= len(slots_of(wanted))
            direct.add(wanted.name)
    return frozenset(direct)


def _runs(offsets: Sequence[int], *, join: bool) -> list[list[int]]:
    if join and offsets:
        return [list(range(offsets[0], offsets[-1] + 8, 8))]
    runs: list[list[int]] = []
    for offset in offsets:
        if runs and runs[-1][-1] + 8 == offset:
            runs[-1].append(offset)
        else:
            runs.append([offset])
    return runs


def _direct(wanted: Wanted) -> Read:
    status = f"{wanted.name}_error"
    masks = tuple((i, m) for i, m in enumerate(wanted.storage.masks) if m != ALL_BITS)
    if wanted.memory is None:  # whole slots: what lies behind the value in the last one is cut by its mask
        place = ("sp", wanted.pieces[0].stack_offset, wanted.storage.size)
        if wanted.span is not None:
            place = ("sp", wanted.pieces[0].stack_offset + wanted.span.first, wanted.span.size)
    else:  # an object in memory ends where it ends
        place = (wanted.memory, 0, wanted.size)
    base, offset, size = place
    return Read(base, offset, size, status, target=wanted.name, masks=masks, comment=wanted.comment)


def _words(wanted: Wanted, slot_index: dict[int, int], array: str) -> list[Source]:
    """The source of each eightbyte of the value, in order."""
    if wanted.context_words:
        return [ContextWord(i, wanted.copied) for i in wanted.context_words]
    # An eightbyte that no piece covers holds padding only, and none of it is copied.
    words: list[Source] = [Constant(0)] * wanted.eightbytes
    for piece in wanted.pieces:
        first, odd = divmod(piece.arg_offset, 8)
        assert odd == 0, "pieces begin at an eightbyte"
        if piece.where == STACK:
            for number, offset in enumerate(range(piece.stack_offset, piece.stack_offset + piece.size, 8)):
                words[first + number] = StackSlot(slot_index[offset], array)
        else:
            assert piece.reg_offset == 0 and piece.size <= 8, "an eightbyte has a general register of its own"
            words[first] = Register(MEMBER[piece.where])
    return words


def _wanted_of(wanted: Wanted, words: list[Source]) -> list[Source]:
    """What is wanted of the eightbytes that are at its place."""
    if wanted.span is not None:
        return wanted.span.of(words)
    return words if wanted.part is None else [wanted.part.of(words[0])]


def _stores(wanted: Wanted, words: list[Source]) -> list[Store]:
    form = wanted.storage
    if form.count is None:
        return [Store(wanted.name, None, words[0], form.c_type, form.masks[0], wanted.comment)]
    return [
        Store(wanted.name, i, word, form.c_type, mask, wanted.comment if i == 0 else "")
        for i, (word, mask) in enumerate(zip(words, form.masks, strict=True))
    ]

"""Captures: how one part of a program fills a struct, from registers, stack slots and the memory behind pointers.

In: nothing, these are nouns.  Out: what `emit` spells as one statement each.

    Store("locked", None, StackSlot(0, "stack"), "__u64")       # e->locked = stack[0];
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from specc.noun import dataclass
from specc.path import Hop, told
from specc.prototype import CType

ALL_BITS: Final = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Register:
    """A general register of `struct pt_regs`, by the member's name ("di")."""

    member: str


@dataclass(frozen=True, slots=True)
class StackSlot:
    """Element `index` of `array`, the program's local copy of the wanted stack slots, or of a system call's registers."""

    index: int
    array: str = "stack"


@dataclass(frozen=True, slots=True)
class ContextWord:
    """Word `index` of a trampoline's or tracepoint's context: arguments flattened in their order, then the return value.

    `copied` says that it is taken from a copy of the context, because some verifiers do not let a program load it.
    """

    index: int
    copied: bool = False


@dataclass(frozen=True, slots=True)
class Saved:
    """Member of what the entry program saved for this frame; `index` when it is an array."""

    name: str
    index: int | None = None


@dataclass(frozen=True, slots=True)
class Bits:
    """Some bits of a word: it is shifted to the left and then to the right, with its sign or without."""

    word: Source
    left: int
    right: int
    signed: bool


@dataclass(frozen=True, slots=True)
class Joined:
    """The eightbyte that begins `right` bits, of 8 to 56, into the word `low` and ends in the word `high`."""

    low: Source
    high: Source
    right: int


@dataclass(frozen=True, slots=True)
class Constant:
    """A value known when the program is compiled."""

    value: int


@dataclass(frozen=True, slots=True)
class Moving:
    """An eightbyte of an argument from where the constant `member` of `at` says; `index` when it has several.

    `register` says that no kernel has it on the stack, as far as is known; `context` that the constant is the number of
    a word of a trampoline's context; `copied` is as for ContextWord, and `alone` that a read of its own copies it.
    """

    at: str
    member: str
    index: int | None = None
    register: bool = False
    context: bool = False
    copied: bool = False
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Setting:
    """The value of a constant, one of a probe's `Places`, that is set when the program is loaded."""

    at: str
    member: str


@dataclass(frozen=True, slots=True)
class Now:
    """The time, in ns."""


@dataclass(frozen=True, slots=True)
class AddressSpace:
    """Which address space the task has: another one after each execve(2)."""


@dataclass(frozen=True, slots=True)
class Elapsed:
    """The time since the entry of the call, in ns; `since` is the saved entry's member that has the time then."""

    since: str


Source: TypeAlias = (
    "Register | StackSlot | ContextWord | Saved | Bits | Joined | Constant | Moving | Setting | Now | AddressSpace |"
    "Elapsed"
)


@dataclass(frozen=True, slots=True)
class Store:
    """`target[index] = source`, cut to `c_type` and to `mask`. The target is a member of an event or of a saved entry."""

    target: str
    index: int | None
    source: Source
    c_type: str
    mask: int = ALL_BITS
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Read:
    """One bpf_probe_read: `size` bytes at `base + offset`, where `base` is a pt_regs member; `moving` tells the offset
    where that is known only when the program is loaded.

    Goes to the local `array` from `slot` on, or, when `slot` is None, straight into the array member `target`, of which
    `masks` then cuts the words that hold padding. The target is cleared first when `size` does not fill its last word.
    """

    base: str
    offset: int
    size: int
    status: str
    slot: int | None = None
    array: str = "stack"
    target: str | None = None
    masks: tuple[tuple[int, int], ...] = ()
    comment: str = ""
    moving: Moving | None = None


@dataclass(frozen=True, slots=True)
class PathNeed:
    """A path that a program follows in the kernel, for a loader to look at: from the argument, read as `start`, to the end
    of the type `type` (no `text`: to the record that the argument points to) with `bit_width` bits, or to an array of `at_least` bytes. `roots` are what
    the pointers lead to that are followed: records, which CO-RE looks for by name, or other elements."""

    field: str
    argument: str
    text: str
    start: CType
    type: CType
    bit_width: int | None
    at_least: int | None
    roots: tuple[CType, ...]
    optional: bool

    @property
    def said(self) -> str:
        return told(self.argument, self.text) if self.text else f"*{self.argument}"


@dataclass(frozen=True, slots=True)
class Leaf:
    """A member of a record that is read whole: `offset` bytes into it, of `size` bytes in all. `signed` is None where the
    sign does not count, `step` how far its elements are apart when it is an array of more than one. A bit-field has its
    `width`, and `end`, in bits from where the record begins."""

    hop: Hop
    offset: int
    size: int
    signed: bool | None
    step: int | None
    several: bool  # an array
    width: int | None = None
    end: int = 0


@dataclass(frozen=True, slots=True)
class Following:
    """A path from a pointer as a C function `symbol(from, to)`, which gives 0 or a negative errno.

    What `end` says goes to where `to` points, a `c_type`: "value" a number or a pointer of `size` bytes, "bits" the value
    of a bit-field whose type has as many, "memory" the `size` bytes that are there; or where to go on: "pointer" what is
    there, "address" where that is (at least `size` bytes). `users` tells of each hop whether it is read from a process. When `relocated`, offsets in records come from
    CO-RE, and the function looks whether size and sign are those that it was compiled for; `size` is 0 when any will do; `signed` is None when the sign
    does not count, `element` when the end is an array's element. `leaves` are the members of a record at the end.
    """

    symbol: str
    text: str
    need: PathNeed
    hops: tuple[Hop, ...]
    users: tuple[bool, ...]
    end: str
    c_type: str
    size: int
    signed: bool | None
    element: bool
    relocated: bool
    leaves: tuple[Leaf, ...] = ()

    def relocates(self, hop: Hop) -> bool:
        """Nothing but records is laid out otherwise in another kernel."""
        return self.relocated and hop.in_record

    @property
    def most_bits(self) -> int:
        """What a bit-field may have for its value to fit: one that is promoted to an int leaves its sign free."""
        return 31 if self.c_type == "__s32" and self.signed is False else 8 * self.size


@dataclass(frozen=True, slots=True)
class Fetch:
    """Memory that a value points to, copied into the member `target`, which has `room` bytes.

    `kind` is "string" (up to its NUL), "bytes" (as many as `size` says, whose C type is `size_type`) or "object" (all of
    `room`). `after` names the statuses of what pointer and size were read from: if one failed, so does this. With `path`,
    the pointer is what the path begins at: an "object" is its end, a string or bytes are at the address that it gives.
    """

    target: str
    kind: str
    room: int
    pointer: Source
    user: bool
    status: str
    length: str | None = None
    size: Source | None = None
    size_type: str = ""
    after: tuple[str, ...] = ()
    comment: str = ""
    path: Following | None = None
    absent_bit: int | None = None
    cleared: int = 0  # bytes of the member, of a path's end: a hop before it may fail
    of_entry: bool = False  # a process's memory, by what was passed before a call that may have given it another one
    masks: tuple[tuple[int, int], ...] = ()  # of its words that hold padding

    @property
    def address(self) -> bool:
        """Whether the path gives an address."""
        return self.path is not None and self.path.end in ("pointer", "address")


@dataclass(frozen=True, slots=True)
class Capture:
    """How one part of a program fills a struct: the reads first, then the stores, then the fetches. `slots` counts its
    local `array`.

    `words` are how many of a trampoline's context are copied first. `at` names the constants that tell which stack slots
    are copied to the array, where these are known only when the program is loaded.
    """

    reads: tuple[Read, ...] = ()
    stores: tuple[Store, ...] = ()
    slots: int = 0
    array: str = "stack"
    words: int = 0
    at: str = ""
    fetches: tuple[Fetch, ...] = ()

    @property
    def loaded(self) -> Mapping[Source, str]:
        """What several fetches take their pointers or sizes from, with the variable that it is loaded into before the first:
        clang 14 keeps the address of such a member of the context in a register, and no verifier takes a load from that."""
        taken = [
            s
            for f in self.fetches
            for s in (f.pointer, f.size)
            if s is not None and not isinstance(s, Saved | Constant)
        ]
        several = [s for s in dict.fromkeys(taken) if taken.count(s) > 1]
        return {source: f"word_{number}" for number, source in enumerate(several)}


@dataclass(frozen=True, slots=True)
class PlaceConstant:
    """Where one argument is, for a loader to set: a __u32 per eightbyte of it, `offset` bytes into the constants.

    Each is a code of `specc.place`; `values` are those of the first target. `argument` is the prototype's name of it.
    Of a struct by value, `part` is the number of the one eightbyte that is wanted; None for all of it.
    """

    member: str
    argument: str
    values: tuple[int, ...]
    count: int | None
    offset: int
    optional: bool
    any_type: bool
    type: CType
    part: int | None = None


@dataclass(frozen=True, slots=True)
class Places:
    """The constants of one probe, `size` bytes of .rodata called `symbol`, set before its programs are loaded.

    `slots` is how many stack slots a program can copy; `first` (the offset of the first from the stack pointer) and
    `length` (bytes) say which. `absent` has a bit per optional field that is not there, and is None when there are none.
    As they are, the constants are right for the targets `right_for`, and for kernels with `since <= version < until`;
    `until` is 0 when every target has the same ones. `room` is where these five are in the constants, those that are.
    """

    symbol: str
    constants: tuple[PlaceConstant, ...]
    right_for: str
    slots: int
    first: int
    length: int
    absent: int | None
    since: int
    until: int
    size: int
    room: Mapping[str, int]

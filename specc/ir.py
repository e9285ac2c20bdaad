"""The program between the spec and the C text: what every probe reads, from where, and the event it makes of it.

In: nothing, these are nouns; `lower` makes them, `emit` spells them, the decoder reads `Event`.

    Store("locked", None, Word(StackSlot(0)), "__u64")        # e->locked = stack[0];

One `Event` layout feeds the emitted C and every decoder, so they cannot drift apart.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, TypeAlias

from specc.diagnostics import Location
from specc.noun import dataclass
from specc.place import Placement
from specc.prototype import CType, Prototype

ALL_BITS: Final = (1 << 64) - 1

CONTEXT: Final[dict[str, tuple[str, int, int | None]]] = {  # name: C type, bytes of one element, elements
    "timestamp": ("__u64", 8, None),
    "pid": ("__u32", 4, None),
    "tid": ("__u32", 4, None),
    "ppid": ("__u32", 4, None),
    "uid": ("__u32", 4, None),
    "gid": ("__u32", 4, None),
    "cpu": ("__u32", 4, None),
    "comm": ("char", 1, 16),
    "cgroup": ("__u64", 8, None),
    "mntns": ("__u32", 4, None),
    "pidns": ("__u32", 4, None),
}
# These walk the task's own structs, and such a read can fail (a task that exits has no namespaces any more).
FALLIBLE_CONTEXT: Final = ("ppid", "mntns", "pidns")


class Role(Enum):
    """Why a member is in an event. Only CONTEXT and VALUE reach a record; the others are how it is carried."""

    PROBE = "probe"  # which probe of the spec made the event
    STATUS = "status"  # 0, or the negative errno of a read
    ABSENT = "absent"  # a bit per optional field that this kernel does not have
    CONTEXT = "context"
    VALUE = "value"
    PADDING = "padding"


@dataclass(frozen=True, slots=True)
class Field:
    """One member of an event struct: `size` bytes at `offset`, spelled `c_type name` or `c_type name[count]`.

    `type` is the C type of the value for the decoder (None for what is not a VALUE). `status` names the STATUS field
    that says whether the value could be read; `absent_bit` is its bit in the ABSENT field.
    """

    name: str
    offset: int
    size: int
    c_type: str
    count: int | None
    role: Role
    type: CType | None = None
    format: str | None = None
    status: str | None = None
    absent_bit: int | None = None
    comment: str = ""
    key: str = ""  # the name in records, where it is not `name`: `return` is a keyword of C
    place: str = ""  # of a VALUE, for a person: "rsi", "sp+8", "absent"

    @property
    def record_key(self) -> str:
        return self.key or self.name


@dataclass(frozen=True, slots=True)
class Event:
    """The record of one probe. `name` is the struct's tag; `size` is a multiple of 8 and has no hidden padding."""

    name: str
    probe: str
    number: int
    size: int
    fields: tuple[Field, ...]

    def field(self, name: str) -> Field:
        return next(f for f in self.fields if f.name == name)


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
    """Word `index` of a trampoline's context: arguments flattened in their order, then the return value.

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
class Constant:
    """A value known when the program is compiled."""

    value: int


Source: TypeAlias = Register | StackSlot | ContextWord | Saved | Constant


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
    """One bpf_probe_read: `size` bytes at `base + offset`, where `base` is a pt_regs member.

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


@dataclass(frozen=True, slots=True)
class Capture:
    """How one part of a program fills a struct: the reads first, then the stores. `slots` counts its local `array`.

    `words` are how many of a trampoline's context are copied first.
    """

    reads: tuple[Read, ...] = ()
    stores: tuple[Store, ...] = ()
    slots: int = 0
    array: str = "stack"
    words: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """The entry half of a return probe: what it saves, per thread and frame, for the return half to take."""

    symbol: str
    section: str
    struct: str
    fields: tuple[Field, ...]
    size: int
    capture: Capture
    map: str


@dataclass(frozen=True, slots=True)
class Target:
    """Code in an ELF file, as the spec names it: `symbol` with its version if one was written ("memcpy@@GLIBC_2.14")."""

    path: str
    symbol: str | None
    offset: int
    pid: int | None


@dataclass(frozen=True, slots=True)
class Probe:
    """One program (two with an `entry`). `user` says that its pointers and its stack are a process's.

    What it attaches to is a kernel's `function`, or a `target` in an ELF file: one of them is None. `used` are the
    arguments that it records, by their names in the prototype, and "return".
    """

    name: str
    symbol: str
    section: str
    kind: str
    function: str | None
    target: Target | None
    user: bool
    prototype: Prototype | None
    placement: Placement | None
    used: tuple[str, ...]
    event: Event
    contexts: tuple[str, ...]
    capture: Capture
    entry: Entry | None
    places: tuple[str, ...]
    where: Location


@dataclass(frozen=True, slots=True)
class LayoutProof:
    """A by-value record type as C, and the offsets that the layout engine computed, for the compiler to prove."""

    comment: str
    declaration: tuple[str, ...]
    asserts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Program:
    """Everything `emit` needs. `buffer` is "ring" or "perf"; its size is in bytes or in pages per CPU."""

    name: str
    description: str
    license: str
    source: str
    buffer: str
    buffer_size: int
    probes: tuple[Probe, ...]
    layouts: tuple[LayoutProof, ...]

"""The program between the spec and the C text: what every probe reads, from where, and the event it makes of it.

In: nothing, these are nouns; `lower` makes them, `emit` spells them, the decoder reads `Event`.

    Store("locked", None, Word(StackSlot(0)), "__u64")        # e->locked = stack[0];

One `Event` layout feeds the emitted C and every decoder, so they cannot drift apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final, TypeAlias

from specc.diagnostics import Location
from specc.noun import dataclass
from specc.path import Hop, told
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
OWNER: Final = "__owner"  # of an event: the thread whose own a cell is
ADDRESSES: Final = {"ipv4": 4, "ipv6": 16, "mac": 6}  # formats of whole structs and bytes, and how many bytes

STACKS: Final = ("kernel", "user")  # whose stack; the event's field and the map are called after it
DEEPEST_STACK: Final = 127  # frames: what kernel.perf_event_max_stack is, unless someone changed it

# These walk the task's own structs, and such a read can fail (a task that exits has no namespaces any more).
FALLIBLE_CONTEXT: Final = ("ppid", "mntns", "pidns")


class Role(Enum):
    """Why a member is in an event. CONTEXT, VALUE and STACK reach a record; the others are how it is carried."""

    PROBE = "probe"  # which probe of the spec made the event
    STATUS = "status"  # 0, or the negative errno of a read
    LENGTH = "length"  # how many bytes a value behind a pointer has, in truth
    ABSENT = "absent"  # a bit per optional field that this kernel does not have
    CONTEXT = "context"
    VALUE = "value"
    STACK = "stack"  # the id of a stack trace in one of the program's maps, which has its frames
    SPACE = "space"  # what tells the address space of a process from those before and after it
    PADDING = "padding"


@dataclass(frozen=True, slots=True)
class Names:
    """What an integer's values are called in records: each value ("enum"), or its bits ("flags").

    `source` is what the spec calls them: an enum, or a prefix. The values are as the field has them: cut to its width, with
    its sign, and each has one name. With `btf` they are out of the targets' BTF, and on all of them: who knows the kernel
    that runs takes its names instead.
    """

    kind: str
    source: str
    members: tuple[tuple[str, int], ...]
    btf: bool = False


@dataclass(frozen=True, slots=True)
class Field:
    """One member of an event struct: `size` bytes at `offset`, spelled `c_type name` or `c_type name[count]`.

    `type` is the C type of the value for the decoder (None for what is not a VALUE). `status` names the STATUS field
    that says whether the value could be read; `absent_bit` is its bit in the ABSENT field; `length` names the LENGTH
    field of a string or of bytes, which is more than the member holds when the value was cut. With `names`, a record has
    the value by name.
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
    length: str | None = None
    names: Names | None = None

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


@dataclass(frozen=True, slots=True)
class TestedValue:
    """A local variable of a condition: `source`, cut to `c_type` and `mask`; None for what is nowhere. With `path`, what
    that leads to from the source; `after` is the C that is true when the source was not read."""

    name: str
    c_type: str
    source: Source | None
    mask: int = ALL_BITS
    path: Following | None = None
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TestedText:
    """A function that tells whether a string is `text`, or begins with it. `memory` is "user", "kernel" or "comm"."""

    name: str
    memory: str
    text: bytes
    begins: bool


@dataclass(frozen=True, slots=True)
class Condition:
    """What is tested before there is an event; `text` is as the spec has it.

    `early` values are loaded and `first` tests are made before the capture's reads, whose results are in `statuses`; then
    come the `late` values and the `rest`. The tests are C, made of the variables' names and of literals. `handed` are those
    of "ctx", "entry" and "now" that it takes them from. `constants` are the names in it whose values are out of the
    targets' BTF, `assumed` those whose values are out of the spec's headers. `of_entry` is as a Fetch has it, of the `rest`.
    """

    text: str
    symbol: str
    capture: Capture
    statuses: tuple[str, ...]
    contexts: tuple[str, ...]
    early: tuple[TestedValue, ...]
    first: tuple[str, ...]
    late: tuple[TestedValue, ...]
    rest: tuple[str, ...]
    texts: tuple[TestedText, ...]
    divides: bool
    fails: bool
    handed: tuple[str, ...]
    constants: tuple[tuple[str, int], ...] = ()
    assumed: tuple[tuple[str, int], ...] = ()
    of_entry: bool = False


@dataclass(frozen=True, slots=True)
class Limit:
    """At most so many events in each span of time, which are counted in a `map`; `text` is as the spec has it."""

    text: str
    most: int
    ns: int
    map: str


@dataclass(frozen=True, slots=True)
class Aggregate:
    """What a probe counts in the kernel in place of events: its event is made on the program's stack, and added to a cell.

    `key` are the first fields of the event, as far as the cells are told apart by them; with `owned`, a member of 8 bytes
    after them, the thread, belongs to the map's key too. `value` is the event's field that is counted with; `by` are the
    keys of records. An lhist has `steps` buckets of `step` from `low` on. There are two maps of at most `most` cells each,
    `{symbol}_0` and `{symbol}_1`, and every `every` ns the reader has the programs go to the other.
    """

    function: str
    symbol: str
    value: Field | None
    by: tuple[str, ...]
    key: Event
    owned: bool
    every: int | None
    most: int
    low: int = 0
    step: int = 0
    steps: int = 0

    @property
    def title(self) -> str:
        """What is counted, for a person: "hist of latency by comm"."""
        of = f" of {self.value.record_key}" if self.value is not None else ""
        steps = f" from {self.low} to {self.low + self.steps * self.step} by {self.step}" if self.steps else ""
        by = f" by {', '.join(self.by)}" if self.by else ""
        return f"{self.function}{of}{steps}{by}"

    @property
    def signed(self) -> bool:
        return self.value is not None and self.value.c_type.startswith("__s")

    @property
    def wide(self) -> bool:
        """Whether a sum is kept in two halves, so that it does not overflow."""
        return self.sums and self.value is not None and self.value.size == 8

    @property
    def sums(self) -> bool:
        return self.function in ("sum", "avg")

    @property
    def fallible(self) -> bool:
        """Whether the value can be one that was not read."""
        return self.value is not None and (bool(self.value.status) or self.value.absent_bit is not None)

    @property
    def buckets(self) -> int:
        """How many counters a cell has: of a hist one for 0, one for each power of two and, with a sign, one for all that
        is negative; of an lhist one below and one above its steps."""
        if self.function == "hist" and self.value is not None:
            return 8 * self.value.size + 1
        return self.steps + 2 if self.function == "lhist" else 0

    @property
    def nested(self) -> int:
        """How many places a cell has for the extreme, beside the depth: a hit in the kernel can be interrupted by another
        one, from a thread up to an NMI, and each depth has a place of its own."""
        return 4 if self.function in ("min", "max") and not self.owned else 0

    @property
    def words(self) -> int:
        """Of 8 bytes, in a cell."""
        return len(self.counters) + self.buckets + (1 + 2 * self.nested if self.nested else 0)

    @property
    def counters(self) -> tuple[str, ...]:
        """The members of a cell beside its buckets and places, 8 bytes each."""
        match self.function:
            case "hist" | "lhist":
                return ()
            case "sum" | "avg":
                return ("count", "low", "high") if self.wide else ("count", "sum")
            case "min" | "max":
                return ("count", "extreme") if self.owned else ()
            case _:
                return ("count",)


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

    @property
    def space(self) -> bool:
        """Whether it notes the address space."""
        return any(isinstance(s.source, AddressSpace) for s in self.capture.stores)


@dataclass(frozen=True, slots=True)
class Target:
    """Code in an ELF file, as the spec names it: `symbol` with its version if one was written ("memcpy@@GLIBC_2.14").

    `build` is the build id of the file whose debug information said where arguments are; None when it was not asked.
    """

    path: str
    symbol: str | None
    offset: int
    pid: int | None
    build: str | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """One program (two with an `entry`). `user` says that its pointers and its stack are a process's.

    What it attaches to is a kernel's `function`, or a `target` in an ELF file: one of them is None. `used` are the
    arguments that it records, by their names in the prototype, and "return". `trampoline` is another program that makes
    the same event, for a loader to choose. `timed` says that it wants to know the time. Of hits, one in `sample` is taken.
    `stacks` are whose stack traces it takes. With `space`, its event tells address spaces apart.
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
    at: Places | None = None
    trampoline: Probe | None = None
    timed: bool = False
    condition: Condition | None = None
    sample: int | None = None
    limit: Limit | None = None
    stacks: tuple[str, ...] = ()
    aggregate: Aggregate | None = None
    space: bool = False

    @property
    def by_words(self) -> bool:
        """Whether its context is an array of words: a trampoline's, a tracepoint's."""
        return self.kind in ("fentry", "fexit", "raw_tracepoint")

    @property
    def context(self) -> str:
        """The parameter of its program, in C."""
        return "const __u64 *ctx" if self.by_words else "struct pt_regs *ctx"

    @property
    def followings(self) -> tuple[Following, ...]:
        """The paths that its programs follow, each once."""
        programs = [self] if self.trampoline is None else [self, self.trampoline]
        found = [f.path for p in programs for f in p.capture.fetches if f.path is not None]
        found += [v.path for p in programs if p.condition for v in p.condition.late if v.path is not None]
        return tuple({f.symbol: f for f in found}.values())


@dataclass(frozen=True, slots=True)
class LayoutProof:
    """A by-value record type as C, and the offsets that the layout engine computed, for the compiler to prove."""

    comment: str
    declaration: tuple[str, ...]
    asserts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Program:
    """Everything `emit` needs. `buffer` is "ring" or "perf"; its size is in bytes or in pages per CPU. `stack_room` is how
    many stack traces each map of them holds.
    """

    name: str
    description: str
    license: str
    source: str
    buffer: str
    buffer_size: int
    probes: tuple[Probe, ...]
    layouts: tuple[LayoutProof, ...]
    stack_room: int = 0

    @property
    def streaming(self) -> tuple[Probe, ...]:
        """The probes that make events."""
        return tuple(p for p in self.probes if p.aggregate is None)

    @property
    def aggregated(self) -> tuple[Probe, ...]:
        """The probes that count in the kernel."""
        return tuple(p for p in self.probes if p.aggregate is not None)

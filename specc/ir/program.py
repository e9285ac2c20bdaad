"""Programs: the probes of a spec, each with its event, what it captures, what it tests and what it counts.

In: nothing, these are nouns.  Out: what `emit` renders and `describe` writes down.

    program.probes[0].entry.capture     # what a return probe saves when its function is entered
"""

from __future__ import annotations

from specc.diagnostics import Location
from specc.ir.captures import ALL_BITS, AddressSpace, Capture, Following, Places, Source
from specc.ir.events import Event, Field
from specc.noun import dataclass
from specc.place import Placement
from specc.prototype import Prototype


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

"""The nouns of a read spec: what a user asked for, each word with its place.

In: nothing, `reader` makes them.  Out: frozen values.

    spec.probes[0].args[0].name             # "start"
    spec.probes[0].args[0].where            # specs/gup.yaml:11:12
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from specc.diagnostics import Location
from specc.noun import dataclass
from specc.path import Path
from specc.where.syntax import Condition

TRACEPOINT: Final = "raw_tracepoint"
KINDS: Final = (
    "kprobe",
    "kretprobe",
    "fentry",
    "fexit",
    "uprobe",
    "uretprobe",
    "ksyscall",
    "kretsyscall",
    TRACEPOINT,
)
FUNCTION: Final = "function"  # a probe's key too: it is read as a kprobe or kretprobe that may be done better
RETURN_KINDS: Final = frozenset(("kretprobe", "fexit", "uretprobe", "kretsyscall"))
# What the kernel calls by the very name that the spec has: functions, and tracepoints.
KERNEL_KINDS: Final = frozenset(("kprobe", "kretprobe", "fentry", "fexit", TRACEPOINT))
USER_KINDS: Final = frozenset(("uprobe", "uretprobe"))
TRAMPOLINE_KINDS: Final = frozenset(("fentry", "fexit"))
WORD_KINDS: Final = TRAMPOLINE_KINDS | {TRACEPOINT}  # their context is an array of words, no registers
SYSCALL_KINDS: Final = frozenset(("ksyscall", "kretsyscall"))
AGGREGATES: Final = ("count", "sum", "avg", "min", "max", "hist", "lhist")


@dataclass(frozen=True, slots=True)
class Word:
    """A piece of text and where it stands."""

    text: str
    where: Location


@dataclass(frozen=True, slots=True)
class BytesSpec:
    """Memory to copy: `size` bytes, or as many as the argument of that name says; at most `most`."""

    size: int | Word
    most: int


@dataclass(frozen=True, slots=True)
class ArgumentSpec:
    """One wanted argument. `where` is its name's place; `option_where` has the place of each option's value.

    `string` is the room for a string behind the pointer, in bytes with the NUL. `memory` is "user" or "kernel".
    `enum` and `flags` say where the names of its values are from. `path` leads from the argument to what is recorded.
    """

    name: str
    where: Location
    as_name: str | None
    format: str | None
    optional: bool
    type: Word | None
    option_where: Mapping[str, Location]
    string: int | None = None
    bytes: BytesSpec | None = None
    deref: bool = False
    memory: str | None = None
    enum: Word | None = None
    flags: Word | None = None
    path: Path | None = None

    @property
    def field(self) -> str:
        """The name of the event's field."""
        return self.as_name or self.name


@dataclass(frozen=True, slots=True)
class UserTarget:
    """A function in an ELF file. `symbol` has the version if one was written ("memcpy@@GLIBC_2.14")."""

    path: Word
    symbol: Word | None
    offset: int
    pid: int | None
    where: Location


@dataclass(frozen=True, slots=True)
class LimitSpec:
    """At most so many events in each span of `ns`; `text` is as written: "1000/s"."""

    text: str
    most: int
    ns: int


@dataclass(frozen=True, slots=True)
class Steps:
    """The buckets of an lhist: `step` wide, from `low` up to `high`."""

    low: int
    high: int
    step: int
    where: Location


@dataclass(frozen=True, slots=True)
class AggregateSpec:
    """What is counted in place of events. `value` is None for "count"; it and `by` name fields, of which `contexts` are
    context fields and the others among the probe's `args`. `every` is in ns; `keys` are the most that there is room for."""

    function: str
    value: Word | None
    by: tuple[Word, ...]
    contexts: tuple[str, ...]
    every: int | None
    keys: int
    steps: Steps | None
    where: Location


@dataclass(frozen=True, slots=True)
class ProbeSpec:
    """One probe. `function` is the C function's name: for user probes the symbol without its version, None without.

    `args` is None when the spec has no `args`: every readable argument is wanted. `best` is for `function:`, a kprobe or
    kretprobe that may be made by a BPF trampoline instead. Of the hits one in `sample` is taken. `stack` is "kernel",
    "user" or "both". With `aggregate`, `args` are what that needs.
    """

    name: Word
    kind: str
    kind_where: Location
    function: Word | None
    target: UserTarget | None
    prototype: Word | None
    args: tuple[ArgumentSpec, ...] | None
    where: Location
    best: bool = False
    condition: Condition | None = None
    sample: int | None = None
    limit: LimitSpec | None = None
    aggregate: AggregateSpec | None = None
    stack: Word | None = None

    @property
    def stacks(self) -> tuple[str, ...]:
        """Whose stack traces it takes."""
        if self.stack is None:
            return ()
        return ("kernel", "user") if self.stack.text == "both" else (self.stack.text,)

    @property
    def tested(self) -> tuple[str, ...]:
        """The names in its condition: arguments, and whatever else."""
        return self.condition.names if self.condition is not None else ()

    @property
    def written_kind(self) -> str:
        """The kind as the spec says it."""
        if not self.best:
            return self.kind
        return "function (at return)" if self.kind in RETURN_KINDS else FUNCTION


@dataclass(frozen=True, slots=True)
class Buffer:
    """`size` is in bytes for a "ring", in pages per CPU for "perf"."""

    kind: str
    size: int


@dataclass(frozen=True, slots=True)
class TargetSpec:
    """A kernel that specs are compiled for: files with its BTF, a module's after the kernel's.

    Without a `name` the first file's is the kernel's, as "6.1" of "6.1.btf".
    """

    name: Word | None
    btf: tuple[Word, ...]


@dataclass(frozen=True, slots=True)
class Spec:
    """A whole spec. `where` is the place of its name. `targets` are those of the spec itself. `stack_room` is how many
    different stack traces are kept of the kernel, and of processes."""

    path: str
    name: str
    description: str
    license: str
    headers: tuple[Word, ...]
    include_dirs: tuple[Word, ...]
    defines: tuple[tuple[str, str], ...]
    fields: tuple[Word, ...]
    buffer: Buffer
    probes: tuple[ProbeSpec, ...]
    where: Location
    targets: tuple[TargetSpec, ...] = ()
    stack_room: int = 0

"""The nouns of a lock: what is recorded of each spec.

In: nothing; `made` makes them of programs, `text` of a file.  Out: frozen values.

    lock.spec("specs/gup.yaml").probes[0].targets[0].places     # (("start", "rsi"), ...)
"""

from __future__ import annotations

from specc.noun import dataclass


@dataclass(frozen=True, slots=True)
class LockedOutput:
    """`by` is the compiler that made an object, empty for text."""

    name: str
    digest: str
    by: str


@dataclass(frozen=True, slots=True)
class LockedTarget:
    """A function on one kernel, or as the spec declares it (`name` empty). `places` has every argument, and "return"."""

    name: str
    prototype: str
    places: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class LockedField:
    """A member of an event; `name` has dots for what is inside of a struct. `bit` is its bit in `absent`, if it has one."""

    offset: int
    size: int
    name: str
    type: str
    bit: int | None


@dataclass(frozen=True, slots=True)
class LockedProbe:
    """`code` is the kernel's function, or the file and symbol; `build` the build id of the file, empty where none counts;
    `aggregate` what is counted in place of events, empty where nothing is."""

    name: str
    number: int
    kind: str
    code: str
    build: str
    targets: tuple[LockedTarget, ...]
    size: int
    fields: tuple[LockedField, ...]
    aggregate: str = ""


@dataclass(frozen=True, slots=True)
class LockedSpec:
    """`name` is what files, maps, structs and modules are called after; `buffer` is "ring" or "perf", empty where no probe
    makes events."""

    path: str
    name: str
    buffer: str
    outputs: tuple[LockedOutput, ...]
    probes: tuple[LockedProbe, ...]


@dataclass(frozen=True, slots=True)
class Lock:
    specs: tuple[LockedSpec, ...]

    def spec(self, path: str) -> LockedSpec | None:
        return next((s for s in self.specs if s.path == path), None)

"""The nouns of a description. In: nothing. Out: frozen values.

description.probes[event_number].event.fields       # as the compiler laid them out
"""

from __future__ import annotations

from typing import Final

from specc.ir import Aggregate, Event, PathNeed, Places, Role, Target
from specc.noun import dataclass, replace
from specc.prototype import Prototype

VERSION: Final = 1
AGGREGATING: Final = 2  # the version of a description with aggregates, which an older reader must not take for events
SECTION: Final = ".specc"  # of the object; a string table, which every loader passes over


@dataclass(frozen=True, slots=True)
class TrampolineDescription:
    """Another program for a probe's event: "fentry" or "fexit"."""

    kind: str
    symbol: str
    at: Places | None


@dataclass(frozen=True, slots=True)
class ProbeDescription:
    """One probe: what it goes to, the names of its programs in the object, and its event.

    `entry` is the program that saves the arguments of a call for `symbol` to take at its return. `declaration` is the
    prototype that the places were computed from, and `used` names the arguments (and "return") that are recorded. `at`
    are the constants that tell the programs their arguments' places, where these are set before the load. `trampoline`
    is another way to make the same event: one of the two is loaded. `paths` are followed in the kernel's types. With
    `aggregate`, no event leaves the kernel. `constants` are names in its condition, with the values that they have in the
    program, out of the BTF that it was compiled for; `assumed` those out of the spec's headers.
    """

    name: str
    kind: str
    function: str | None
    target: Target | None
    symbol: str
    entry: str | None
    declaration: Prototype | None
    used: tuple[str, ...]
    event: Event
    at: Places | None = None
    trampoline: TrampolineDescription | None = None
    paths: tuple[PathNeed, ...] = ()
    aggregate: Aggregate | None = None
    constants: tuple[tuple[str, int], ...] = ()
    assumed: tuple[tuple[str, int], ...] = ()

    @property
    def key(self) -> Event:
        """What the cells of an aggregate are told apart by, as an event: the fields that come first."""
        assert self.aggregate is not None
        size = self.aggregate.key.size
        return replace(self.aggregate.key, fields=tuple(f for f in self.event.fields if f.offset < size))

    def by_trampoline(self) -> ProbeDescription:
        """The probe with its other program in place of the first."""
        assert self.trampoline is not None
        other = self.trampoline
        return replace(self, kind=other.kind, symbol=other.symbol, entry=None, at=other.at, trampoline=None)


@dataclass(frozen=True, slots=True)
class Description:
    """`buffer` is "ring" or "perf", its size in bytes or in pages per CPU. Events are numbered as `probes` are."""

    name: str
    buffer: str
    buffer_size: int
    probes: tuple[ProbeDescription, ...]

    @property
    def streaming(self) -> tuple[ProbeDescription, ...]:
        """The probes that make events."""
        return tuple(p for p in self.probes if p.aggregate is None)

    @property
    def aggregated(self) -> tuple[ProbeDescription, ...]:
        """The probes that count in the kernel."""
        return tuple(p for p in self.probes if p.aggregate is not None)

    @property
    def phases_map(self) -> str:
        return f"{self.name}_phases"

    @property
    def events_map(self) -> str:
        return f"{self.name}_events"

    @property
    def lost_map(self) -> str:
        return f"{self.name}_lost"

    @property
    def stack_maps(self) -> dict[str, str]:
        """The map of each kind of stack that an event tells of, by the field's name: "user_stack"."""
        fields = dict.fromkeys(f.name for p in self.probes for f in p.event.fields if f.role is Role.STACK)
        return {name: f"{self.name}_{name}s" for name in fields}

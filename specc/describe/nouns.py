"""The nouns of a description. In: nothing. Out: frozen values.

description.probes[event_number].event.fields       # as the compiler laid them out
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from specc.ir import Event, Target

VERSION: Final = 1
SECTION: Final = ".specc"  # of the object; a string table, which every loader passes over


@dataclass(frozen=True, slots=True)
class ProbeDescription:
    """One probe: what it was attached to, the names of its programs in the object, and its event.

    `entry` is the program that saves the arguments of a call for `symbol` to take at its return. `prototype` is C.
    """

    name: str
    kind: str
    function: str | None
    target: Target | None
    symbol: str
    entry: str | None
    prototype: str
    event: Event


@dataclass(frozen=True, slots=True)
class Description:
    """`buffer` is "ring" or "perf". Event numbers are the positions in `probes`."""

    name: str
    buffer: str
    probes: tuple[ProbeDescription, ...]

    @property
    def events_map(self) -> str:
        return f"{self.name}_events"

    @property
    def lost_map(self) -> str:
        return f"{self.name}_lost"

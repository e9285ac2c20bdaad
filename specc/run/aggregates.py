"""What programs count in the kernel, taken out of their maps interval by interval.

In: a loaded object's maps.  Out: lists of `Interval`, one list for all probes with the same `every`.

    collector = Collector(library, maps, description, wait=barrier.wait)   # before the programs are attached
    collector.due()                                         # those whose time has come
    collector.rest()                                        # after detaching: what was counted since

A probe has two maps. Its programs are sent to the other one; when none runs any more that began before, the first is
nobody's but ours: it is read and emptied. So every hit is in one interval and in no other.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from specc.describe import Description, ProbeDescription
from specc.events.cells import Interval, Tally, cell_size, tally_of
from specc.libbpf import Library

COUNTS: Final = struct.Struct("<7Q")  # struct specc_counts of a program with aggregates


class Collector:
    """`wait` returns when no program runs that ran when it was called."""

    def __init__(
        self,
        library: Library,
        maps: Mapping[str, int],
        description: Description,
        *,
        wait: Callable[[], None],
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._library = library
        self._cpus = library.possible_cpus()
        self._wait = wait
        self._clock = clock
        self._phases = maps[description.phases_map]
        self._counts = maps[description.lost_map]
        self._number = {p.name: n for n, p in enumerate(description.probes)}
        self._maps = {p.name: _cells_of(p, maps) for p in description.aggregated}
        self._phase = dict.fromkeys(self._maps, 0)
        self._told = {name: [[0, 0], [0, 0]] for name in self._maps}  # by phase: full, unread
        started = clock()
        self._groups: dict[int | None, list[ProbeDescription]] = {}
        for probe in description.aggregated:
            assert probe.aggregate is not None
            self._groups.setdefault(probe.aggregate.every, []).append(probe)
        self._since = dict.fromkeys(self._groups, started)
        self._next = {every: started + every for every in self._groups if every is not None}

    def left(self) -> float | None:
        """Seconds until something is due; None when nothing will be."""
        if not self._next:
            return None
        return max(0, min(self._next.values()) - self._clock()) / 1e9

    def due(self) -> Iterator[list[Interval]]:
        """The intervals whose time has come."""
        for every in sorted(self._next):
            if self._clock() >= self._next[every]:
                yield self._take(every, flip=True)
                # When it took long, times that have passed are left out: an interval is then longer, and says so.
                behind = self._clock() - self._next[every]
                self._next[every] += every * (behind // every + 1)

    def now(self) -> Iterator[list[Interval]]:
        """All of them up to now, while the programs run."""
        for every in self._groups:
            yield self._take(every, flip=True)

    def rest(self) -> Iterator[list[Interval]]:
        """What was counted since the last time, once no program runs any more."""
        for every in self._groups:
            yield self._take(every, flip=False)
        self._groups.clear()
        self._next.clear()

    def _take(self, every: int | None, *, flip: bool) -> list[Interval]:
        probes = self._groups[every]
        if flip:
            for probe in probes:
                other = 1 - self._phase[probe.name]
                self._library.update_bytes(
                    self._phases, struct.pack("<I", self._number[probe.name]), struct.pack("<I", other)
                )
        since, until = self._since[every], self._clock()
        self._since[every] = until
        if flip:
            self._wait()
        made = [self._interval(probe, since, until) for probe in probes]
        if flip:
            for probe in probes:
                self._phase[probe.name] ^= 1
        return made

    def _interval(self, probe: ProbeDescription, since: int, until: int) -> Interval:
        phase = self._phase[probe.name]
        tallies = self._drain(probe, self._maps[probe.name][phase])
        raw = self._library.lookup(self._counts, self._number[probe.name], COUNTS.size * self._cpus)
        sums = [sum(column) for column in zip(*COUNTS.iter_unpack(raw), strict=True)]
        told = self._told[probe.name][phase]
        full, unread = sums[3 + phase] - told[0], sums[5 + phase] - told[1]
        self._told[probe.name][phase] = [sums[3 + phase], sums[5 + phase]]
        return Interval(probe, since, until, tallies, full, unread)

    def _drain(self, probe: ProbeDescription, cells: int) -> tuple[Tally, ...]:
        aggregate = probe.aggregate
        assert aggregate is not None
        owned = aggregate.owned
        width = cell_size(aggregate)
        size = width if owned else width * self._cpus
        key_size = aggregate.key.size + (8 if owned else 0)
        found: dict[bytes, list[bytes]] = {}
        for key in list(self._library.keys(cells, key_size)):
            raw = self._library.lookup_bytes(cells, key, size)
            found.setdefault(key[: aggregate.key.size], []).extend(raw[i : i + width] for i in range(0, size, width))
            if not owned:
                # Before Linux 5.10 an entry that is used again begins with what other processors left in it.
                self._library.update_bytes(cells, key, bytes(size))
            self._library.delete(cells, key)
        tallies = (tally_of(aggregate, key, parts) for key, parts in found.items())
        return tuple(t for t in tallies if t.count)


def _cells_of(probe: ProbeDescription, maps: Mapping[str, int]) -> Sequence[int]:
    assert probe.aggregate is not None
    return [maps[f"{probe.aggregate.symbol}_{phase}"] for phase in (0, 1)]

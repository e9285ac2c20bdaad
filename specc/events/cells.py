"""What was counted in the kernel: the bytes of keys and cells in, tallies of each interval and flat records out.

    tally = tally_of(aggregate, key, cells)                     # the cells of every processor as one
    interval = Interval(probe, since, until, (tally, ...), full=0, unread=0)
    records(interval, decoder_of(probe))                        # [{"probe": "reads", "from": 1, "to": 2, "comm": ..., "count": 7}]

A sum is exact: where it cannot be, there is none, and `sum_error` says so.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Final

from specc.describe import ProbeDescription
from specc.events.decoder import StacksOf
from specc.events.program import Compiled
from specc.ir import Aggregate
from specc.noun import dataclass

# So many values of 32 bits, or halves of wider ones, cannot overflow the 64 bits that they are added up in.
_EXACT: Final = 1 << 32
OVERFLOW: Final = "EOVERFLOW"


@dataclass(frozen=True, slots=True)
class Tally:
    """What one key has: `count` hits, of which `number` is the sum or the least or greatest (None: it overflowed), or
    how many were in each of the `buckets`."""

    key: bytes
    count: int
    number: int | None = None
    buckets: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Interval:
    """What a probe counted between two times (CLOCK_MONOTONIC, ns), and what of it is in no tally: hits of new keys that
    found the map full, and hits whose value could not be read."""

    probe: ProbeDescription
    since: int
    until: int
    tallies: tuple[Tally, ...]
    full: int = 0
    unread: int = 0

    @property
    def hits(self) -> int:
        return sum(t.count for t in self.tallies)


def cell_size(aggregate: Aggregate) -> int:
    return 8 * aggregate.words


def tally_of(aggregate: Aggregate, key: bytes, cells: Iterable[bytes]) -> Tally:
    """The cells of one key, those of each processor or thread, as one."""
    return merged(aggregate, key, [_read(aggregate, cell) for cell in cells])


def _read(aggregate: Aggregate, cell: bytes) -> Tally | None:
    """One cell; None when nothing was counted in it."""
    words = struct.unpack_from(f"<{aggregate.words}Q", cell)
    match aggregate.function:
        case "hist" | "lhist":
            return Tally(b"", sum(words), None, words) if any(words) else None
        case "count":
            return Tally(b"", words[0]) if words[0] else None
    if aggregate.nested:
        return _deepest(aggregate, words)
    count = words[0]
    if not count:
        return None
    if aggregate.function in ("min", "max"):
        return Tally(b"", count, _signed(words[1]) if aggregate.signed else words[1])
    if count >= _EXACT:
        return Tally(b"", count, None)
    if aggregate.wide:
        high = _signed(words[2]) if aggregate.signed else words[2]
        return Tally(b"", count, (high << 32) + words[1])
    return Tally(b"", count, _signed(words[1]) if aggregate.signed else words[1])


def _deepest(aggregate: Aggregate, words: Sequence[int]) -> Tally | None:
    """The extreme of the places for each depth of hits that interrupted each other."""
    places = zip(words[1 : 1 + aggregate.nested], words[1 + aggregate.nested :], strict=True)
    parts = [Tally(b"", n, _signed(word) if aggregate.signed else word) for n, word in places if n]
    return merged(aggregate, b"", parts) if parts else None


def merged(aggregate: Aggregate, key: bytes, parts: Iterable[Tally | None]) -> Tally:
    found = [p for p in parts if p is not None]
    count = sum(p.count for p in found)
    match aggregate.function:
        case "hist" | "lhist":
            return Tally(key, count, None, tuple(map(sum, zip(*(p.buckets for p in found), strict=True))))
        case "count":
            return Tally(key, count)
    numbers = [p.number for p in found if p.number is not None]
    if len(numbers) < len(found) or not found:
        return Tally(key, count, None)
    with_numbers = {"min": min, "max": max}.get(aggregate.function, sum)
    return Tally(key, count, with_numbers(numbers))


def _signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word


def bounds(aggregate: Aggregate) -> tuple[tuple[int | None, int | None], ...]:
    """From and to of each bucket; `to` is not in it, and None is an open end."""
    if aggregate.function == "lhist":
        steps = [aggregate.low + n * aggregate.step for n in range(aggregate.steps + 1)]
        return ((None, steps[0]), *pairwise(steps), (steps[-1], None))
    powers = [(1 << n, 2 << n) for n in range(aggregate.buckets - (2 if aggregate.signed else 1))]
    return (*(((None, 0),) if aggregate.signed else ()), (0, 1), *powers)


def decoder_of(probe: ProbeDescription, stacks: StacksOf = MappingProxyType({})) -> Compiled:
    """What decodes the keys of a probe; `stacks` is as for a Decoder."""
    return Compiled(probe.name, probe.key, stacks.get(probe.name, {}))


def ranked(interval: Interval) -> Sequence[Tally]:
    """Those of the greatest number first, and those of the most hits where it is about buckets."""
    return sorted(interval.tallies, key=lambda t: (-(t.count if t.number is None else t.number), t.key))


def records(interval: Interval, decoder: Compiled) -> Iterator[dict[str, Any]]:
    """A flat object for each key."""
    aggregate = interval.probe.aggregate
    assert aggregate is not None
    limits = bounds(aggregate) if aggregate.buckets else ()
    for tally in ranked(interval):
        keys = decoder.build(tally.key)
        del keys["probe"]
        row: dict[str, Any] = {"probe": interval.probe.name, "from": interval.since, "to": interval.until, **keys}
        if aggregate.buckets:
            row["buckets"] = [
                {"from": low, "to": high, "count": count}
                for (low, high), count in zip(limits, tally.buckets, strict=True)
                if count
            ]
        elif aggregate.function != "count":
            row.update(_numbers(aggregate.function, tally))
        row["count"] = tally.count
        yield row


def _numbers(function: str, tally: Tally) -> dict[str, Any]:
    if tally.number is None:
        return {function: None, f"{function}_error": OVERFLOW}
    if function == "avg":
        return {"avg": tally.number / tally.count, "sum": tally.number}  # rounded once, correctly
    return {function: tally.number}

"""Intervals of aggregates as text: tables and bar charts for a person, JSON lines, CSV.

    writer = open_intervals(events, sys.stdout, width=100, wall_offset_ns=offset)     # events: what open_writer gave
    writer.tell([interval])

    12:00:01.000 - 12:00:02.000  reads: sum of size by comm
    COMM   SUM  COUNT
    bash  4096      2

They go to the stream that events go to, between these.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from fractions import Fraction
from types import MappingProxyType
from typing import IO, Any, Final, Protocol

from specc.describe import ProbeDescription
from specc.diagnostics import stop
from specc.events.cells import Interval, Tally, bounds, decoder_of, ranked, records
from specc.events.charts import chart
from specc.events.decoder import StacksOf
from specc.events.folded import FoldedWriter
from specc.events.formats import duration_text
from specc.events.program import Compiled, dumps
from specc.events.table import TableWriter
from specc.events.text import CsvWriter, LineWriter, Output
from specc.ir import Aggregate

_BUCKET_COLUMNS: Final = ("bucket_from", "bucket_to", "count")
_GAP: Final = "  "


class Teller(Protocol):
    """`tell` writes the intervals that ended at one time."""

    def tell(self, intervals: Sequence[Interval]) -> None: ...


def open_intervals(
    events: object,
    stream: IO[Any],
    *,
    colour: bool = False,
    width: int | None = None,
    wall_offset_ns: int = 0,
    stacks: StacksOf = MappingProxyType({}),
) -> Teller:
    """What goes with a writer of events of "table", "jsonl", "csv" or "folded", in its format and to its stream."""
    match events:
        case TableWriter():
            return TableIntervals(events, stream, stacks, colour=colour, width=width, wall_offset_ns=wall_offset_ns)
        case CsvWriter():
            return CsvIntervals(events, stacks)
        case LineWriter():
            return LineIntervals(stream, stacks)
        case FoldedWriter():
            return FoldedIntervals(events, stacks)
        case _:
            raise ValueError("this format has no aggregates")


def lost_words(interval: Interval) -> str:
    """What is in no tally of an interval, in words; empty when all is."""
    parts = []
    if interval.full:
        parts.append(f"{interval.full} hit{'' if interval.full == 1 else 's'} of new keys found the map full")
    if interval.unread:
        parts.append(f"{interval.unread} hit{'' if interval.unread == 1 else 's'} had a value that could not be read")
    return ", ".join(parts)


class _Decoders(dict[str, Compiled]):
    def __init__(self, stacks: StacksOf) -> None:
        super().__init__()
        self._stacks = stacks

    def of(self, interval: Interval) -> Compiled:
        name = interval.probe.name
        if name not in self:
            self[name] = decoder_of(interval.probe, self._stacks)
        return self[name]


class LineIntervals:
    """An object for each key."""

    def __init__(self, stream: IO[Any], stacks: StacksOf) -> None:
        self._out = Output(stream)
        self._decoders = _Decoders(stacks)

    def tell(self, intervals: Sequence[Interval]) -> None:
        lines = (dumps(r) for i in intervals for r in records(i, self._decoders.of(i)))
        self._out.text("".join(f"{line}\n" for line in lines))


class FoldedIntervals:
    """Counts and sums at the end, those of each stack together."""

    def __init__(self, inner: FoldedWriter, stacks: StacksOf) -> None:
        self._inner = inner
        self._decoders = _Decoders(stacks)

    def tell(self, intervals: Sequence[Interval]) -> None:
        for interval in intervals:
            decoder = self._decoders.of(interval)
            aggregate = interval.probe.aggregate
            for tally in interval.tallies:
                weight = tally.count if aggregate is None or aggregate.function == "count" else tally.number
                if weight is None:
                    raise stop("SP478", f"a sum of `{interval.probe.name}` is not known: more than 2^32 values were added "
                               "up on one processor", None, help="let it have an `every`")  # fmt: skip
                self._inner.add(decoder, tally.key, weight)


def why_not_folded(aggregate: Aggregate) -> str:
    """Why folded stacks cannot show it; empty when they can: they have numbers that are added up."""
    if aggregate.function not in ("count", "sum"):
        return f"`{aggregate.function}` gives nothing that could be added up"
    if aggregate.function == "sum" and aggregate.signed:
        return "a sum of values with a sign may be below 0"
    return ""


def csv_columns(probe: ProbeDescription) -> list[str]:
    """Of an aggregate's rows: those of its keys as events have them, and then its own."""
    aggregate = probe.aggregate
    assert aggregate is not None
    keys = [c for c in decoder_of(probe).csv_columns() if c != "probe"]
    if aggregate.buckets:
        own: list[str] = [*_BUCKET_COLUMNS]
    elif aggregate.function == "count":
        own = ["count"]
    elif aggregate.function == "avg":
        own = ["avg", "avg_error", "sum", "count"]
    else:
        own = [aggregate.function, *(["sum_error"] if aggregate.function == "sum" else []), "count"]
    return ["probe", "from", "to", *keys, *own]


class CsvIntervals:
    """A row for each key, or for each bucket that has something."""

    def __init__(self, inner: CsvWriter, stacks: StacksOf) -> None:
        self._inner = inner
        self._decoders = _Decoders(stacks)

    def tell(self, intervals: Sequence[Interval]) -> None:
        for interval in intervals:
            decoder = self._decoders.of(interval)
            for tally, record in zip(ranked(interval), records(interval, decoder), strict=True):
                keys = {k: str(v) for k, v in decoder.csv_row(tally.key).items()}
                self._inner.rows(_cells(row) | keys for row in _bucket_rows(record))


def _bucket_rows(record: dict[str, Any]) -> Iterable[dict[str, Any]]:
    buckets = record.pop("buckets", None)
    if buckets is None:
        yield record
        return
    for bucket in buckets:
        yield record | {"bucket_from": bucket["from"], "bucket_to": bucket["to"], "count": bucket["count"]}


def _cells(record: dict[str, Any]) -> dict[str, str]:
    return {k: "" if v is None else str(v) for k, v in record.items()}


class TableIntervals:
    """A table for each probe, or a chart for each of its keys."""

    def __init__(
        self,
        inner: TableWriter,
        stream: IO[Any],
        stacks: StacksOf,
        *,
        colour: bool = False,
        width: int | None = None,
        wall_offset_ns: int = 0,
    ) -> None:
        self._inner = inner
        self._out = Output(stream)
        self._colour = colour
        self._width = width
        self._offset = wall_offset_ns
        self._blocks = (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "") == "utf8"
        self._decoders = _Decoders(stacks)

    def tell(self, intervals: Sequence[Interval]) -> None:
        lines: list[str] = []
        for interval in intervals:
            lines += self._lines(interval)
            lines.append("")
        self._inner.interrupted()
        self._out.text("".join(f"{line}\n" for line in lines))

    def _lines(self, interval: Interval) -> list[str]:
        aggregate = interval.probe.aggregate
        assert aggregate is not None
        title = f"{self._time(interval.since)} - {self._time(interval.until)}  {interval.probe.name}: {aggregate.title}"
        lines = [self._bold(title)]
        tallies = ranked(interval)
        if not tallies and not interval.full and not interval.unread:
            lines.append("no hits")
        elif aggregate.buckets:
            lines += self._charts(interval, aggregate, tallies)
        elif tallies:
            lines += self._table(interval, aggregate, tallies)
        if words := lost_words(interval):
            lines.append(f"({words})")
        return lines

    def _table(self, interval: Interval, aggregate: Aggregate, tallies: Sequence[Tally]) -> list[str]:
        decoder = self._decoders.of(interval)
        columns = self._inner.columns_of(decoder)
        own = ["COUNT"] if aggregate.function == "count" else [aggregate.function.upper(), "COUNT"]
        rows = [[c.title for c in columns] + own]
        under: list[list[str]] = [[]]  # the frames of stacks, below their rows
        for tally in tallies:
            values = decoder.build(tally.key)
            cells, _ = self._inner.cells(columns, values, tally.key)
            numbers = [str(tally.count)]
            if aggregate.function != "count":
                numbers.insert(0, number_text(aggregate, tally))
            rows.append(cells + numbers)
            under.append(self._inner.frames(decoder, values))
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        right = [c.right for c in columns] + [True] * len(own)
        lines: list[str] = []
        for row, frames in zip(rows, under, strict=True):
            aligned = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True))
            lines += [_GAP.join(aligned).rstrip(), *frames]
        return [self._bold(lines[0]), *lines[1:]]

    def _charts(self, interval: Interval, aggregate: Aggregate, tallies: Sequence[Tally]) -> list[str]:
        decoder = self._decoders.of(interval)
        columns = self._inner.columns_of(decoder)
        limits = bounds(aggregate)
        lines = []
        for tally in tallies:
            values = decoder.build(tally.key)
            cells, _ = self._inner.cells(columns, values, tally.key)
            named = [f"{c.title} {cell}" for c, cell in zip(columns, cells, strict=True)]
            if named:
                lines.append(self._bold(_GAP.join(named)))
            lines += self._inner.frames(decoder, values)
            lines += chart(
                limits, tally.buckets, width=self._width, blocks=self._blocks, duration=_is_duration(aggregate)
            )
        return lines

    def _bold(self, text: str) -> str:
        return f"\x1b[1m{text}\x1b[0m" if self._colour else text

    def _time(self, ns: int) -> str:
        whole = ns + self._offset
        return time.strftime("%H:%M:%S", time.localtime(whole // 10**9)) + f".{whole // 10**6 % 1000:03d}"


def _is_duration(aggregate: Aggregate) -> bool:
    return aggregate.value is not None and aggregate.value.format == "duration"


def number_text(aggregate: Aggregate, tally: Tally) -> str:
    """The number of a tally for a person; an average with three digits after the point, rounded once."""
    if tally.number is None:
        return "!EOVERFLOW"
    duration = _is_duration(aggregate)
    if aggregate.function == "avg":
        mean = Fraction(tally.number, tally.count)
        if duration:
            return duration_text(round(mean))
        thousandths = round(mean * 1000)
        sign = "-" if thousandths < 0 else ""
        return f"{sign}{abs(thousandths) // 1000}.{abs(thousandths) % 1000:03d}"
    return duration_text(tally.number) if duration else str(tally.number)

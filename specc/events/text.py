"""Records as JSON lines and as CSV: batches in, text on a stream out.

    writer = LineWriter(decoder, out)         # one JSON object for each record
    writer = CsvWriter(decoder, out)          # one header, one row for each record
    writer.write(batch)                       # how many records it wrote

Several probes give one CSV table with the union of their columns; a cell that a record has no value for is empty.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import ModuleType
from typing import IO, Any, Final, TypeAlias

from specc.batch import Batch, batch_of
from specc.events.decoder import Decoder
from specc.events.program import Compiled, csv_cell

_MANY: Final = 5000  # records, after which more are to be expected
_WORTHWHILE: Final = 500  # records in a batch

# An event, memory, where its first record begins, how far apart the records are, how many they are; lines out.
Spell: TypeAlias = Callable[[Compiled, memoryview, int, int, int], list[str]]


def as_batch(records: Iterable[bytes | memoryview]) -> Batch:
    return records if isinstance(records, Batch) else batch_of(list(records))


class Output:
    """A stream for text and for bytes. A text stream's own buffer takes the bytes, where it has one."""

    def __init__(self, stream: IO[Any]) -> None:
        self._stream = stream
        self._binary = getattr(stream, "buffer", None)
        if self._binary is None and "b" in getattr(stream, "mode", ""):
            self._binary = stream
        if self._binary is None and not hasattr(stream, "encoding"):
            self._binary = stream

    def text(self, text: str) -> None:
        if self._binary is not None:
            self._binary.write(text.encode())
        else:
            self._stream.write(text)

    def bytes(self, data: bytes | memoryview) -> None:
        if self._binary is not None:
            self._binary.write(data)
        else:
            self._stream.write(str(data, "utf-8"))

    def flush(self) -> None:
        (self._stream if self._binary is None else self._binary).flush()


def lines_of(decoder: Decoder, batch: Batch, spell: Spell) -> list[str]:
    """The lines of a batch in its order; records of one event are spelled together."""
    event = decoder.only(batch)
    if event is not None:
        assert isinstance(batch.offsets, range)
        if batch.lengths != event.event.size:
            decoder.event_of(batch[0])  # says what is wrong
        return spell(event, batch.data, batch.offsets[0], batch.offsets.step, len(batch))
    groups: dict[int, list[int]] = {}
    records = list(batch)
    for number, record in enumerate(records):
        groups.setdefault(decoder.event_of(record).event.number, []).append(number)
    lines = [""] * len(records)
    for event_number, members in groups.items():
        event = decoder.events[event_number]
        data = memoryview(b"".join([records[i] for i in members]))
        size = event.event.size
        for i, line in zip(members, spell(event, data, 0, size, len(members)), strict=True):
            lines[i] = line
    return lines


class _Fast:
    """The way by columns, where numpy and pyarrow are installed: three times as fast. Importing them takes a while, in
    which events would be lost, so that is done beside the first many records and not for a few."""

    def __init__(self) -> None:
        self._seen = 0
        self._asked = False
        self._module: ModuleType | None = None

    def text(self, decoder: Decoder, batch: Batch) -> memoryview | None:
        """The lines of a batch, or None where the plain way is the right one."""
        if self._module is not None and len(batch) >= _WORTHWHILE:
            made: memoryview | None = self._module.json_text(decoder, batch)
            return made
        self._seen += len(batch)
        if self._seen > _MANY and not self._asked:
            self._asked = True
            threading.Thread(target=self._load).start()
        return None

    def _load(self) -> None:
        with contextlib.suppress(ImportError):  # they are optional
            self._module = importlib.import_module("specc.events.lines")


class LineWriter:
    def __init__(self, decoder: Decoder, stream: IO[Any]) -> None:
        self._decoder = decoder
        self._out = Output(stream)
        self._fast = _Fast()

    def write(self, records: Iterable[bytes | memoryview]) -> int:
        batch = as_batch(records)
        if len(batch):
            made = self._fast.text(self._decoder, batch)
            if made is not None:
                self._out.bytes(made)
            else:
                self._out.text("".join(lines_of(self._decoder, batch, Compiled.json_lines)))
        return len(batch)

    def flush(self) -> None:
        self._out.flush()

    def close(self) -> None:
        self.flush()


class CsvWriter:
    """The header goes out with the first call, even if it brings no record. `more` are columns of what is no record."""

    def __init__(self, decoder: Decoder, stream: IO[Any], more: Iterable[str] = ()) -> None:
        self._decoder = decoder
        self._out = Output(stream)
        own = [c for e in decoder.streaming for c in e.csv_columns()]
        self.columns: Sequence[str] = list(dict.fromkeys((*own, *more)))
        self._headed = False

    def write(self, records: Iterable[bytes | memoryview]) -> int:
        self._head()
        batch = as_batch(records)
        if len(batch):
            self._out.text("".join(lines_of(self._decoder, batch, self._spell)))
        return len(batch)

    def rows(self, rows: Iterable[Mapping[str, str]]) -> None:
        """Rows of cells by the names of their columns."""
        self._head()
        self._out.text("".join(",".join(row.get(c, "") for c in self.columns) + "\n" for row in rows))

    def flush(self) -> None:
        self._head()
        self._out.flush()

    def close(self) -> None:
        self.flush()

    def _head(self) -> None:
        if not self._headed:
            self._headed = True
            self._out.text(",".join(map(csv_cell, self.columns)) + "\n")

    def _spell(self, event: Compiled, data: memoryview, first: int, step: int, count: int) -> list[str]:
        return event.csv_lines(data, first, step, count, self.columns)

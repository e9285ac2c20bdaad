"""Records as files of columns: batches in, Arrow's streaming format or Parquet out.

writer = ParquetWriter(decoder, open("gup.parquet", "wb"))
writer.write(batch)
writer.close()                      # without it, it is no file that anything reads
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO, Any, Final

import pyarrow as pa

from specc.events.columns import Columns
from specc.events.decoder import Decoder
from specc.events.text import as_batch

_GROUP_ROWS: Final = 1 << 17


class ArrowWriter:
    """Arrow's streaming format: a record batch for each batch."""

    def __init__(self, decoder: Decoder, stream: IO[Any]) -> None:
        self._columns = Columns(decoder)
        self._stream = getattr(stream, "buffer", stream)
        self._writer = self._columns.stream(self._stream)

    def write(self, records: Iterable[bytes | memoryview]) -> int:
        batch = as_batch(records)
        if len(batch):
            self._writer.write_batch(self._columns.record_batch(batch))
        return len(batch)

    def flush(self) -> None:
        self._stream.flush()

    def close(self) -> None:
        self._writer.close()
        self._stream.flush()


class ParquetWriter:
    """A Parquet file, in groups of many rows. Without `close` it is no file that anything reads."""

    def __init__(self, decoder: Decoder, stream: IO[Any]) -> None:
        self._columns = Columns(decoder)
        self._stream = getattr(stream, "buffer", stream)
        self._writer = self._columns.parquet(self._stream)
        self._kept: list[Any] = []
        self._rows = 0

    def write(self, records: Iterable[bytes | memoryview]) -> int:
        batch = as_batch(records)
        if len(batch):
            self._kept.append(self._columns.record_batch(batch))
            self._rows += len(batch)
        if self._rows >= _GROUP_ROWS:
            self._write()
        return len(batch)

    def flush(self) -> None:
        """Nothing: what is written has whole groups of rows only."""

    def close(self) -> None:
        self._write()
        self._writer.close()
        self._stream.flush()

    def _write(self) -> None:
        if self._kept:
            self._writer.write_table(pa.Table.from_batches(self._kept))
        self._kept, self._rows = [], 0

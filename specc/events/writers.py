"""The writers by the names of their formats.

writer = open_writer("table", description, sys.stdout, colour=True, width=100, wall_offset_ns=offset)
writer.write(batch)
writer.flush()
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import MappingProxyType
from typing import IO, Any, Final, Protocol

from specc.describe import Description
from specc.diagnostics import stop
from specc.events.decoder import Decoder, StacksOf

FORMATS: Final = ("table", "jsonl", "csv", "arrow", "parquet", "folded")


class Writer(Protocol):
    """`write` takes records, best as a Batch, and returns how many it wrote; `flush` sends them on their way.

    `close` ends what was written, and leaves the stream open: a Parquet file without it cannot be read.
    """

    def write(self, records: Iterable[bytes | memoryview]) -> int: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...


def open_writer(
    format: str,
    description: Description,
    stream: IO[Any],
    *,
    colour: bool = False,
    width: int | None = None,
    wall_offset_ns: int = 0,
    symbol: Callable[[int], str | None] | None = None,
    in_process: Callable[[int, int, int], str | None] | None = None,
    stacks: StacksOf = MappingProxyType({}),
) -> Writer:
    """A writer of one of FORMATS. `colour`, `width` (None: as wide as it gets) and `wall_offset_ns`, which is
    CLOCK_REALTIME - CLOCK_MONOTONIC, are the table's: the other formats give times as the kernel does. So is `symbol`,
    which says what is at an address in the kernel, and `in_process`, which does for a process, its address space and an
    address. `stacks` is the Decoder's. Raises Stop when "arrow" or "parquet" lack what they need."""
    require(format)
    decoder = Decoder(description, stacks)
    match format:
        case "jsonl":
            from specc.events.text import LineWriter

            return LineWriter(decoder, stream)
        case "csv":
            from specc.events.text import CsvWriter

            return CsvWriter(decoder, stream, _aggregate_columns(description))
        case "table":
            from specc.events.table import TableWriter

            return TableWriter(
                decoder,
                stream,
                colour=colour,
                width=width,
                wall_offset_ns=wall_offset_ns,
                symbol=symbol,
                in_process=in_process,
            )
        case "folded":
            from specc.events.folded import FoldedWriter

            return FoldedWriter(decoder, stream)
        case "arrow" | "parquet":
            return _columnar(format, decoder, stream)
        case _:
            raise ValueError(f"no format {format!r}")


def _aggregate_columns(description: Description) -> list[str]:
    if not description.aggregated:
        return []
    from specc.events.intervals import csv_columns

    return [c for p in description.aggregated for c in csv_columns(p)]


def require(format: str) -> None:
    """Raises Stop when this format lacks what it needs."""
    if format not in ("arrow", "parquet"):
        return
    try:
        import specc.events.files  # noqa: F401
    except ImportError as problem:
        raise stop(
            "SP465",
            f"the format {format} needs numpy and pyarrow: {problem}",
            None,
            help="pip install 'specc[arrow]', or take `--format jsonl` or `csv`",
        ) from None


def require_stacks(format: str, description: Description) -> None:
    """Raises Stop when this format shows stacks, and there are none."""
    if format == "folded" and not description.stack_maps:
        raise stop(
            "SP468", f"the format folded shows stacks, and no probe of `{description.name}` takes one", None,
            help="add `stack: kernel`, `user` or `both` to a probe",
        )  # fmt: skip


def _columnar(format: str, decoder: Decoder, stream: IO[Any]) -> Writer:
    from specc.events.files import ArrowWriter, ParquetWriter

    return ArrowWriter(decoder, stream) if format == "arrow" else ParquetWriter(decoder, stream)

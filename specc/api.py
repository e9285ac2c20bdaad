"""Specs from within a program: run one, and take its events as they come.

    with specc.open("specs/gup.yaml") as probe:
        for event in probe:
            print(event["probe"], event["nr_pages"])

Loading and attaching happen at `open`, and everything is detached when the `with` is left. Unlike `specc run`, nothing
here touches the process's signals or capabilities.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from types import SimpleNamespace, TracebackType
from typing import Any, Final

from specc.commands.run import object_bytes, program_of, spec_places
from specc.describe import Description
from specc.describe.reader import description_of
from specc.diagnostics import Diagnostic, Report, Sources, Stop, render
from specc.events import Decoder
from specc.events.cells import decoder_of, records
from specc.run.filters import Filters
from specc.run.load import Options, Refused
from specc.run.open import open_session
from specc.run.session import Counts, Session, was_rewritten
from specc.run.stacks import open_stacks

_TICK_MS: Final = 100
ATTACH: Final = ("auto", "link", "perf", "legacy")


class SpeccError(Exception):
    """Why a spec does not run here; its text is what the command line would show."""

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        super().__init__(render(diagnostics, "full", Sources()).rstrip("\n"))
        self.diagnostics: Final = tuple(diagnostics)


class Running:
    """A spec at work. Iterate over it for events; `lost`, `missed` and `skipped` say what could not be recorded."""

    def __init__(self, session: Session, description: Description) -> None:
        self._session = session
        self._stacks = open_stacks(session)
        self._decoder = Decoder(description, self._stacks)
        self._closed = False
        self._last: Counts | None = None  # when it is closed
        self.description: Final = description

    def __enter__(self) -> Running:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Events until the loop is left."""
        return self.events()

    def events(self, seconds: float | None = None) -> Iterator[dict[str, Any]]:
        """Events as they come, for so long, or until the loop is left."""
        for batch in self.batches(seconds):
            yield from batch

    def batches(self, seconds: float | None = None) -> Iterator[list[dict[str, Any]]]:
        """The same, as many at a time as are there."""
        self._must_be_open()
        if seconds is not None and not seconds >= 0:
            raise ValueError(f"no time to wait for: {seconds} seconds")
        end = None if seconds is None else time.monotonic() + seconds
        while not self._closed:
            left = _TICK_MS if end is None else 1000 * (end - time.monotonic())
            yield from self._taken(int(max(0, min(_TICK_MS, left))))
            if self._closed:
                return
            if rewritten := self._session.rewritten():
                self._session.detach()
                raise SpeccError([was_rewritten(path) for path in rewritten])
            if end is not None and time.monotonic() >= end:
                return

    def drain(self) -> list[dict[str, Any]]:
        """Detach, and give what is still in the buffer; after that no event comes."""
        self._must_be_open()
        self._session.detach()
        return [event for batch in self._taken(0) for event in batch]

    def take(self) -> list[dict[str, Any]]:
        """What was counted since the last time, or since the beginning: a record for each key of the probes that
        aggregate, however long their intervals would be."""
        self._must_be_open()
        collector = self._session.collector
        if collector is None:
            return []
        groups = list(collector.now())
        return [row for group in groups for i in group for row in records(i, decoder_of(i.probe, self._stacks))]

    def _taken(self, timeout_ms: int) -> Iterator[list[dict[str, Any]]]:
        for batch in self._session.poll(timeout_ms):
            yield [self._decoder.decode(record) for record in batch]

    @property
    def lost(self) -> int:
        """Events that found no room in the buffer."""
        return self._counts().lost

    @property
    def missed(self) -> int:
        """Returns whose entry was not seen, or that the kernel had no room to note."""
        return self._counts().missed

    @property
    def skipped(self) -> int:
        """Hits at which the kernel ran no program: it was in another one, or in another probe, on that processor."""
        return self._counts().skipped

    @property
    def limited(self) -> int:
        """Events that were more than a probe's limit."""
        return self._counts().limited

    def _counts(self) -> Counts:
        return self._last if self._last is not None else self._session.counts()

    def _must_be_open(self) -> None:
        if self._closed:
            raise ValueError("it is closed")

    def close(self) -> None:
        """Detach. What could not be recorded until then is still told."""
        if not self._closed:
            self._closed = True
            try:
                self._session.detach()
                self._last = self._session.counts()
            finally:
                self._session.close()


def open(
    path: str | bytes | os.PathLike[str],
    *,
    pid: int | None = None,
    comm: str | None = None,
    cgroup: str | None = None,
    attach: str = "auto",
    force: bool = False,
    compiler: str | None = None,
    btf: Sequence[str] = (),
) -> Running:
    """Build a spec (or take an object), load it and attach it. Raises SpeccError."""
    if attach not in ATTACH:
        raise ValueError(f"attach is one of {', '.join(ATTACH)}, not {attach!r}")
    report = Report()
    options: Any = SimpleNamespace(
        program=os.fsdecode(path),
        compiler=compiler,
        btf=[os.fsdecode(b) for b in btf],
        verbose=False,
        output_format="full",
    )
    try:
        program = program_of(options.program, report)
        options.program = program
        data = object_bytes(program, options, report) if program is not None else None
        if data is None:
            raise SpeccError(report.diagnostics)
        description = description_of(data, options.program)
        wanted = Options(attach, Filters(pid, comm, cgroup), force, False, *spec_places(options))
        session = open_session(data, description, wanted, report)
        return Running(session, session.description)
    except Stop as problem:
        raise SpeccError([*report.diagnostics, problem.diagnostic]) from None
    except Refused:
        raise SpeccError(report.diagnostics) from None

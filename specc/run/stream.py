"""The loop of a run: records from the session to a writer until something says that it is enough.

In: a session, a writer, limits.  Out: how many events were written, and why it ended.

    with stop_signals() as signals:
        ended = stream(session, writer, Limits(count=10), signals)

After the end nothing is lost from sight: the programs are taken off first, then what they left in the buffer is
written, and only then are the counters read. So received + lost is every hit there was.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Final, Protocol

from specc.events.cells import Interval
from specc.noun import dataclass
from specc.outputs import NO_ROOM
from specc.run.session import Session

_TICK_MS: Final = 100  # how long a signal or the end of a duration may wait
_LOOK_SECONDS: Final = 0.1  # how often files are looked at
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Writer(Protocol):
    def write(self, records: Iterable[bytes | memoryview]) -> int: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """When to end by itself. `seconds` counts from when the programs are attached."""

    count: int | None = None
    seconds: float | None = None
    pid: int | None = None


@dataclass(slots=True)
class Received:
    """What came: events, and hits that were counted in `intervals`. `reason` is why it ended: a signal, "count",
    "duration", "pipe", "process", "rewritten" when a probed file was, or "output" when it takes no more, for the
    reason in `trouble`."""

    events: int = 0
    intervals: int = 0
    hits: int = 0
    reason: str = ""
    trouble: str = ""


class Signals:
    """Which signal came first, if any."""

    def __init__(self) -> None:
        self.first: int | None = None


@contextmanager
def stop_signals() -> Iterator[Signals]:
    """Turn Ctrl-C and its like into a wish to end. The second Ctrl-C is an exception again, should the end hang."""
    seen = Signals()

    def handler(number: int, _: FrameType | None) -> None:
        if seen.first is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        seen.first = number

    before = {number: signal.signal(number, handler) for number in _SIGNALS}
    try:
        yield seen
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def stream(
    session: Session,
    writer: Writer,
    limits: Limits,
    signals: Signals,
    *,
    output: int | None = None,
    say: Callable[[str], None] = lambda _: None,
    tell: Callable[[Sequence[Interval]], None] = lambda _: None,
) -> Received:
    """Write events until a limit, a signal, or the end of who reads `output` (a descriptor), and detach. `tell` writes the
    intervals of aggregates."""
    received = Received()
    started = looked = time.monotonic()
    watch = _Watch(limits.pid, output)
    told: set[str] = set()
    try:
        while not received.reason:
            timeout = _TICK_MS
            if limits.seconds is not None:
                left = started + limits.seconds - time.monotonic()
                timeout = max(0, min(timeout, int(left * 1000) + 1))
                if left <= 0:
                    received.reason = "duration"
            if session.collector is not None and (due := session.collector.left()) is not None:
                timeout = min(timeout, int(due * 1000) + 1)
            _take(session, writer, limits, received, timeout)
            if session.collector is not None:
                _tell(session.collector.due(), writer, tell, limits, received)
            now = time.monotonic()
            if signals.first is not None:
                received.reason = received.reason or signal.Signals(signals.first).name
            received.reason = received.reason or watch.ended()
            if now - looked >= _LOOK_SECONDS:
                looked = now
                if session.rewritten():
                    received.reason = "rewritten"
                for path in session.replaced():
                    if path not in told:
                        told.add(path)
                        say(f"{path} was replaced: processes that start from now on are not probed")
        session.detach()
        if received.reason != "pipe":
            _take(session, writer, limits, received, 0)
            if session.collector is not None and received.reason != "count":
                _tell(session.collector.rest(), writer, tell, limits, received)
            writer.close()
    except BrokenPipeError:
        received.reason = "pipe"
    except OSError as problem:
        if problem.filename is not None or problem.errno not in NO_ROOM:
            raise
        received.reason, received.trouble = "output", problem.strerror or "it takes no more"
    finally:
        watch.close()
        session.detach()
    return received


def _take(session: Session, writer: Writer, limits: Limits, received: Received, timeout: int) -> None:
    """Write what is there, or comes within the time; no more than the count."""
    wrote = False
    for batch in session.poll(timeout):
        records: Sequence[bytes | memoryview] = batch
        if limits.count is not None:
            records = batch[: max(0, limits.count - received.events - received.intervals)]
        if records:
            received.events += writer.write(records)
            wrote = True
        if limits.count is not None and received.events + received.intervals >= limits.count:
            received.reason = received.reason or "count"
            break
    if wrote:
        writer.flush()


def _tell(
    found: Iterator[list[Interval]],
    writer: Writer,
    tell: Callable[[Sequence[Interval]], None],
    limits: Limits,
    received: Received,
) -> None:
    """Write intervals, each of which is as good as an event when these are counted; no more than the count."""
    for intervals in found:
        if limits.count is not None and received.events + received.intervals >= limits.count:
            return
        tell(intervals)
        writer.flush()
        received.intervals += 1
        received.hits += sum(i.hits for i in intervals)
        if limits.count is not None and received.events + received.intervals >= limits.count:
            received.reason = received.reason or "count"


class _Watch:
    """Whether the process that is probed, or the reader of the output, has gone."""

    def __init__(self, pid: int | None, output: int | None) -> None:
        self._poll = select.poll()
        self._pidfd = -1
        self._output = output
        if pid is not None:
            try:
                self._pidfd = os.pidfd_open(pid)
                self._poll.register(self._pidfd, select.POLLIN)
            except ProcessLookupError:
                self._pidfd = -2  # it ended between the check and now
        if output is not None:
            self._poll.register(output, 0)  # POLLERR alone: nobody reads the pipe any more

    def ended(self) -> str:
        if self._pidfd == -2:
            return "process"
        for fd, event in self._poll.poll(0):
            if fd == self._pidfd:
                return "process"
            if event & (select.POLLERR | select.POLLHUP):
                return "pipe"
        return ""

    def close(self) -> None:
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

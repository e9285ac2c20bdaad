"""Programs that are attached: their records, what they counted that no record tells of, and taking them off.

In: what `open_session` put into the kernel.  Out: batches of records; leaving a `Session` detaches everything.

    with open_session(data, description, Options(), report) as session:
        for batch in session.poll(100): ...
        session.detach(); session.poll(0); session.counts()
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Final

from specc.buffers import Reader
from specc.describe import Description
from specc.diagnostics import Diagnostic
from specc.libbpf import Library, Object
from specc.locate import UserPlace, stamp
from specc.noun import dataclass, field
from specc.run.aggregates import Collector
from specc.run.attach import Attacher, Attachment
from specc.run.barrier import Barrier
from specc.run.load import RETURN_KINDS

_COUNTS: Final = 7  # numbers in struct specc_counts


@dataclass(frozen=True, slots=True)
class Counts:
    """What no event tells of, since the programs were attached: events that found no room, returns whose entry was not
    seen or that the kernel had no room to note, hits at which the kernel was in another probe or program. Where not all
    processes are watched, `anyones` is how many of the last two the kernel counts, which it does for all. `limited` are
    those that were more than a probe's limit. Of the lost, `full` are hits of new keys
    that found the map of an aggregate full; `unread` hits are in no aggregate since the value could not be read."""

    lost: int
    missed: int
    skipped: int = 0
    anyones: int = 0
    limited: int = 0
    full: int = 0
    unread: int = 0


@dataclass(slots=True)
class Session:
    """A running program. `description` has the places of this kernel; `notes` are what a user may want to know with -v.

    `ways` has the kind of program that was chosen for each probe that has two, and why not the better one.
    """

    description: Description
    library: Library
    thing: Object
    reader: Reader
    lost_map: int
    barrier: Barrier
    attacher: Attacher
    attachments: list[Attachment] = field(default_factory=list)
    entries: list[Attachment] = field(default_factory=list)  # that save arguments for a return
    places: dict[str, UserPlace] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    filtered: bool = False  # not everyone's hits are recorded
    _unnoted: tuple[int, int] = (0, 0)
    ways: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    collector: Collector | None = None  # of a program with aggregates

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def poll(self, timeout_ms: int) -> Iterable[Sequence[bytes | memoryview]]:
        """Batches of records that are there, or come within the time."""
        return self.reader.poll(timeout_ms)

    def detach(self) -> None:
        """Take every program off; when this returns, no further record will come."""
        if not self.attachments and not self.entries:
            return
        # Returns go before entries: the other way around, the last returns would count as missed.
        for group in (self.attachments, self.entries):
            detach_all(group)
        self._unnoted = self._by_kernel()
        self.attachments.clear()
        self.entries.clear()
        self.barrier.wait()

    def _by_kernel(self) -> tuple[int, int]:
        """Returns, and other hits, for which the kernel says it ran no program. When that is true of an entry, it shows at
        the return, which finds no arguments."""
        missed, skipped = self._unnoted
        for one in self.attachments:
            number = one.missed() or 0
            missed, skipped = (missed + number, skipped) if one.at_return else (missed, skipped + number)
        return missed, skipped

    def counts(self) -> Counts:
        """The sum over all processors and probes."""
        width = self.library.value_size(self.lost_map)
        lost = missed = limited = full = unread = 0
        late, early = self._by_kernel()
        cpus = self.library.possible_cpus()
        fds = self.thing.programs
        for number, probe in enumerate(self.description.probes):
            raw = self.library.lookup(self.lost_map, number, width * cpus)
            for one_lost, one_missed, one_limited, *more in _counted(raw, width):
                lost += one_lost
                missed += one_missed
                limited += one_limited
                full += sum(more[:2])
                unread += sum(more[2:])
            not_run = self.library.program_skipped(fds[probe.symbol]) or 0
            if probe.kind in RETURN_KINDS or probe.kind == "fexit":
                late += not_run
            else:
                early += not_run
        if self.filtered:
            return Counts(lost + full, missed, 0, late + early, limited, full, unread)
        return Counts(lost + full, missed + late, early, 0, limited, full, unread)

    @property
    def untold(self) -> bool:
        """Whether this kernel keeps to itself how many returns it had no room to note."""
        return self.attacher.untold

    def replaced(self) -> list[str]:
        """Files of user probes that are no longer the ones that were probed."""
        gone: list[str] = []
        for place in {p.path: p for p in self.places.values()}.values():
            try:
                same = stamp(os.stat(place.path))[0] == place.inode
            except OSError:
                same = False
            if not same:
                gone.append(place.path)
        return gone

    def rewritten(self) -> list[str]:
        """Files of user probes that were written to since their functions were looked up: the probes sit in the new bytes,
        where the functions of the old ones were."""
        found: list[str] = []
        for place in {p.path: p for p in self.places.values()}.values():
            with contextlib.suppress(OSError):
                inode, version = stamp(os.stat(place.path))
                if inode == place.inode and version != place.version:
                    found.append(place.path)
        return found

    def close(self) -> None:
        try:
            self.detach()
        finally:
            self.attacher.close()
            self.reader.close()
            self.barrier.close()
            self.thing.close()
            self.library.close()


def was_rewritten(path: str) -> Diagnostic:
    """What to say of a file that was written to while it was probed, and no longer is."""
    return Diagnostic(
        "SP458", f"`{path}` was written to while it was probed, so it is no longer", None,
        ("what was recorded since then may be wrong",),
        "put a new version in the place of the old one by renaming it, as `install` and `mv` do, and run again",
    )  # fmt: skip


def _counted(raw: bytes, width: int) -> Iterable[tuple[int, ...]]:
    """What each processor counted. An object of before a count was counts nothing there."""
    for at in range(0, len(raw), width):
        found = struct.unpack_from(f"<{width // 8}Q", raw, at)
        yield (*found, *(0,) * _COUNTS)[:_COUNTS]


def detach_all(attachments: Sequence[Attachment]) -> None:
    """Close them all, and raise the first error only after that.

    Each close waits until no processor runs the program any more; many can wait together.
    """
    problems: list[Exception] = []

    def close(one: Attachment) -> None:
        try:
            one.close()
        except OSError as problem:
            problems.append(problem)

    if len(attachments) > 1:
        from concurrent.futures import ThreadPoolExecutor  # which imports logging: it is not needed before the end

        with ThreadPoolExecutor(min(64, len(attachments))) as pool:
            list(pool.map(close, attachments))
    else:
        for one in attachments:
            close(one)
    if problems:
        raise problems[0]

"""Programs onto probes, in one of three ways, and off again.

In: a program's descriptor and where it goes.  Out: an `Attachment`; closing it leaves nothing behind.

    attacher = Attacher(library, "auto")
    attachment = attacher.user(program_fd, place, at_return=False, pid=None)
    attachment.close(); attacher.close()

link    a BPF link: for uprobes without anything else (kernel 6.6), or one that keeps the PMU's event (kernel 5.15)
perf    the PMU's event and its ioctls (kernel 4.17)
legacy  an event made through tracefs, and the ioctls of its tracepoint (any kernel; the event is removed at the end)
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Final

from specc.libbpf import LibbpfError, Library
from specc.noun import dataclass
from specc.run.system import PERF_TYPE_TRACEPOINT, attach_by_ioctl, perf_event_open, pmu
from specc.run.tracefs import EventFile, find_tracefs

MODES: Final = ("auto", "link", "perf", "legacy")
# How many calls of a kernel function may be in progress before the kernel misses returns. Without a number it takes 10 or
# two for each processor, and on a server kernel before 5.19 or so one for each. Each takes about 100 bytes.
_CALLS_AT_ONCE: Final = 512
_TRACEFS_FILE: Final = {"kprobe": "kprobe_events", "uprobe": "uprobe_events"}


class NoMode(Exception):
    """This machine cannot attach in the way that was asked for; the text says why, as the end of a sentence."""


def _nobody() -> None:
    """Nobody to ask."""


@dataclass(slots=True)
class Attachment:
    """One program on one probe: the descriptor that holds it there, and what else there is to undo.

    `ask` is how the kernel tells how often it did not run the program when it should have.
    """

    mode: str
    fd: int
    undo: Callable[[], None] | None = None
    ask: Callable[[], int | None] = _nobody
    at_return: bool = False
    _missed: int | None = None

    def missed(self) -> int | None:
        """How often the kernel did not run the program, up to now or to the end; None: it does not tell."""
        if self.fd >= 0:
            self._missed = self.ask()
        return self._missed

    def close(self) -> None:
        if self.fd >= 0:
            try:
                self.missed()
            finally:
                fd, self.fd = self.fd, -1
                os.close(fd)
        if self.undo is not None:
            undo, self.undo = self.undo, None
            undo()


class Attacher:
    """Attaches the programs of one run. `mode` becomes definite when "auto" has found what works."""

    def __init__(self, library: Library, mode: str) -> None:
        self._library = library
        self._asked = mode
        self.modes: dict[str, str] = {}  # how each kind of probe is attached
        self.untold = False  # whether the kernel does not say how many returns it missed
        self._files: dict[str, EventFile] = {}
        self._count = 0

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()

    def kernel(self, program: int, function: str, *, at_return: bool) -> Attachment:
        """Raises OSError, LibbpfError, NoMode."""
        return self._probe("kprobe", program, function.encode(), 0, function, at_return, None)

    def user(
        self, program: int, path: str, offset: int, *, at_return: bool, pid: int | None, linked: bool
    ) -> Attachment:
        """`linked`: the program was loaded for a link of its own. Raises OSError, LibbpfError, NoMode."""
        if linked:
            self.modes.setdefault("uprobe", "link")
            return Attachment(
                "link", self._library.link_uprobe(program, os.fsencode(path), offset, at_return=at_return)
            )
        place = f"{os.path.abspath(path)}:{offset:#x}"
        return self._probe("uprobe", program, os.fsencode(path), offset, place, at_return, pid)

    def trampoline(self, program: int) -> Attachment:
        """A program that was loaded for one place by its BTF. Raises LibbpfError."""
        return Attachment("link", self._library.link_trampoline(program))

    def _probe(
        self, kind: str, program: int, name: bytes, offset: int, place: str, at_return: bool, pid: int | None
    ) -> Attachment:
        what = "kretprobe" if kind == "kprobe" and at_return else kind
        known = self.modes.get(what)
        mode = known or self._asked
        if mode == "auto":
            mode = "link" if pmu(kind) else "legacy"
        if mode == "legacy":
            made = self._legacy(kind, program, place, at_return, pid)
        else:
            made = self._pmu(kind, program, name, offset, at_return, pid, mode)
        if what == "kretprobe" and made.missed() is None:
            if self._asked == "auto" and known is None:
                made = self._counted(made, program, place) or self._pmu(kind, program, name, 0, True, pid, mode)
            self.untold = self.untold or made.missed() is None
        made.at_return = at_return
        self.modes.setdefault(what, made.mode)
        return made

    def _counted(self, made: Attachment, program: int, place: str) -> Attachment | None:
        """A kernel that has no room for a call in progress does not run the program at its return. Through the PMU, Linux
        before 6.7 does not say how often, and 5.10 has room for one call for each processor: tracefs is better there.
        None where there is no tracefs; what was made is off then, too: a return must not be seen twice."""
        made.close()
        try:
            return self._legacy("kprobe", program, place, True, None)
        except (NoMode, OSError):
            return None

    def _pmu(
        self, kind: str, program: int, name: bytes, offset: int, at_return: bool, pid: int | None, mode: str
    ) -> Attachment:
        found = pmu(kind)
        if found is None:
            raise NoMode(f"this kernel has no PMU for {kind}s")
        number, flag = found
        event = perf_event_open(number, flag if at_return else 0, config1=name, config2=offset, pid=pid)
        try:
            if mode == "link":
                try:
                    link = self._library.link_perf_event(program, event)
                except LibbpfError as problem:
                    # The command is from 5.7, and takes perf events since 5.15.
                    if problem.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                        raise
                    if self._asked == "link":
                        raise NoMode("this kernel has no BPF links for perf events (they came with 5.15)") from None
                else:
                    os.close(event)  # the link has it now
                    counted = kind == "kprobe"
                    return Attachment("link", link, None, lambda: self._library.link_missed(link) if counted else None)
            attach_by_ioctl(event, program)
        except BaseException:
            os.close(event)
            raise
        return Attachment("perf", event)

    def _legacy(self, kind: str, program: int, place: str, at_return: bool, pid: int | None) -> Attachment:
        if any(c.isspace() for c in place):
            raise NoMode(f"tracefs takes no path with a space in it: {place}")
        if kind not in self._files:
            tracefs = find_tracefs()
            if tracefs is None:
                raise NoMode("tracefs is not mounted, or not for us (mount -t tracefs tracefs /sys/kernel/tracing)")
            try:
                self._files[kind] = EventFile(tracefs, _TRACEFS_FILE[kind])
            except FileNotFoundError:
                raise NoMode(f"this kernel has no {_TRACEFS_FILE[kind]}") from None
        file = self._files[kind]
        self._count += 1
        name = f"p{file.run}_{self._count}"  # kprobe_profile names no group
        returns = f"r{_CALLS_AT_ONCE}" if kind == "kprobe" else "r"
        number = file.add(returns if at_return else "p", name, place)
        event = -1
        try:
            event = perf_event_open(PERF_TYPE_TRACEPOINT, number, pid=pid)
            attach_by_ioctl(event, program)
        except BaseException:
            if event >= 0:
                os.close(event)
            file.remove(name)
            raise
        return Attachment("legacy", event, lambda: file.remove(name), lambda: file.missed(name))

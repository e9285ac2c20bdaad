"""Probe events of tracefs, for kernels that have no PMU for probes: made by a line in a file, removed by another.

In: where a probe goes.  Out: an event's id for perf_event_open.

    with EventFile("uprobe_events") as events:
        number = events.add("p", "p0", "/bin/bash:0xc6c10")
        events.remove("p0")

The group of our events names this process and its start, so that the next run knows which were left by a killed one.
"""

from __future__ import annotations

import errno
import os
import re
import time
from types import TracebackType
from typing import Final

from specc.run.system import process_started

FILES: Final = ("kprobe_events", "uprobe_events")
_OURS: Final = re.compile(rb"^[pr]\d*:(specc_(\d+)_(\d+)/\S+)", re.MULTILINE)


def find_tracefs() -> str | None:
    """Where tracefs is mounted, and can be used."""
    try:
        with open("/proc/mounts", encoding="utf-8", errors="surrogateescape") as file:
            rows = [line.split(" ") for line in file]
    except FileNotFoundError:
        return None
    places = [r[1] for r in rows if r[2] == "tracefs"] + [f"{r[1]}/tracing" for r in rows if r[2] == "debugfs"]
    return next((p for p in places if os.access(f"{p}/events", os.X_OK)), None)


class EventFile:
    """`kprobe_events` or `uprobe_events`, open from the first event to the last, whatever this process gives up."""

    def __init__(self, tracefs: str, name: str) -> None:
        self._root = tracefs
        self.run: Final = f"{os.getpid()}_{process_started(os.getpid()) or 0}"
        self._group = f"specc_{self.run}"
        # O_APPEND: without it, opening the file for writing removes everybody's events.
        self._fd = os.open(f"{tracefs}/{name}", os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._profile = -1
        if name == "kprobe_events":
            try:
                self._profile = os.open(f"{tracefs}/kprobe_profile", os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                self._profile = -1  # then nobody knows what was missed

    def close(self) -> None:
        os.close(self._fd)
        if self._profile >= 0:
            os.close(self._profile)

    def __enter__(self) -> EventFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def add(self, kind: str, name: str, place: str) -> int:
        """An event at `place`, a symbol or PATH:OFFSET; `kind` is "p" or "r", after which there may be how many calls can
        be in progress at once. Its id. Raises OSError."""
        os.write(self._fd, os.fsencode(f"{kind}:{self._group}/{name} {place}\n"))
        try:
            with open(f"{self._root}/events/{self._group}/{name}/id", encoding="ascii") as file:
                return int(file.read())
        except BaseException:
            self.remove(name)
            raise

    def missed(self, name: str) -> int | None:
        """How often the kernel hit a kprobe's event and could not note it (the last column of kprobe_profile), or None."""
        text, at = b"", 0
        while self._profile >= 0 and (part := os.pread(self._profile, 1 << 16, at)):
            text, at = text + part, at + len(part)
        found = re.search(rb"^ *%s +\d+ +(\d+)$" % name.encode(), text, re.MULTILINE)
        return int(found[1]) if found else None

    def remove(self, name: str) -> None:
        """Raises OSError."""
        _remove(self._fd, f"{self._group}/{name}".encode())


def _remove(fd: int, event: bytes) -> None:
    # A perf event that was just closed lets go of it a moment later.
    for pause in (0.001, 0.004, 0.016, 0.064, 0.256, 0):
        try:
            os.write(fd, b"-:%s\n" % event)
            return
        except OSError as problem:
            if problem.errno == errno.ENOENT:
                return
            if problem.errno != errno.EBUSY or not pause:
                raise
        time.sleep(pause)


def remove_leftovers(tracefs: str) -> list[str]:
    """Remove the events of runs that were killed; their names. What is still in use is somebody's, and stays."""
    removed: list[str] = []
    for name in FILES:
        try:
            with open(f"{tracefs}/{name}", "rb") as file:
                events = _OURS.findall(file.read())
        except OSError:
            continue  # this kernel has no such probes, or we may not see them
        dead = [event for event, pid, started in events if process_started(int(pid)) != int(started)]
        if not dead:
            continue
        try:
            fd = os.open(f"{tracefs}/{name}", os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            for event in dead:
                try:
                    os.write(fd, b"-:%s\n" % event)
                except OSError:
                    continue  # in use: its owner is in another pid namespace
                removed.append(event.decode())
        finally:
            os.close(fd)
    return removed

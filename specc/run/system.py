"""The system calls that Python has no function for: perf events, capabilities, and waiting for the kernel's readers.

In: plain numbers and text.  Out: descriptors; OSError with the kernel's errno.

    fd = perf_event_open(pmu("uprobe"), config=0, config1="/bin/bash", config2=0xc6c10, pid=None)
    attach_by_ioctl(fd, program_fd)
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
from collections.abc import Callable, Iterable
from ctypes import Structure, c_char_p, c_int, c_long, c_uint32, c_uint64
from typing import Final

PERF_TYPE_TRACEPOINT: Final = 2
_SYS_PERF_EVENT_OPEN, _SYS_CAPSET = 298, 126  # arch/x86/entry/syscalls/syscall_64.tbl
_PERF_FLAG_FD_CLOEXEC = 8
# include/uapi/linux/perf_event.h: _IO('$', 0), _IO('$', 1), _IOW('$', 8, __u32)
_ENABLE, _DISABLE, _SET_BPF = 0x2400, 0x2401, 0x40042408
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION_3 = 0x20080522

CAPABILITIES: Final = {"CAP_SYS_PTRACE": 19, "CAP_SYS_ADMIN": 21, "CAP_PERFMON": 38, "CAP_BPF": 39}
LOOKING_AT_PROCESSES: Final = ("CAP_SYS_PTRACE",)  # to see which files other processes run
PMUS: Final = "/sys/bus/event_source/devices"


class _PerfEventAttr(Structure):
    """struct perf_event_attr up to config2, which is PERF_ATTR_SIZE_VER1; the kernel takes what is missing as 0."""

    _fields_ = (
        ("type", c_uint32),
        ("size", c_uint32),
        ("config", c_uint64),
        ("sample_period", c_uint64),
        ("sample_type", c_uint64),
        ("read_format", c_uint64),
        ("flags", c_uint64),
        ("wakeup_events", c_uint32),
        ("bp_type", c_uint32),
        ("config1", c_uint64),
        ("config2", c_uint64),
    )


_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = c_long


def _syscall(number: int, *arguments: object) -> int:
    ctypes.set_errno(0)
    result = int(_libc.syscall(c_long(number), *arguments))
    if result < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno))
    return result


def pmu(name: str) -> tuple[int, int] | None:
    """The type of the kernel's PMU for `kprobe` or `uprobe`, and its flag for returns; None when it has none."""
    try:
        with open(f"{PMUS}/{name}/type", encoding="ascii") as file:
            kind = int(file.read())
        with open(f"{PMUS}/{name}/format/retprobe", encoding="ascii") as file:
            bit = int(file.read().partition(":")[2])
    except FileNotFoundError:
        return None
    return kind, 1 << bit


def perf_event_open(
    kind: int, config: int, *, config1: bytes | None = None, config2: int = 0, pid: int | None = None
) -> int:
    """A perf event of every process, or of one. `config1` is the text whose address the kernel wants there."""
    text = c_char_p(config1)
    attr = _PerfEventAttr(
        type=kind,
        size=ctypes.sizeof(_PerfEventAttr),
        config=config,
        sample_period=1 if kind == PERF_TYPE_TRACEPOINT else 0,
        wakeup_events=1 if kind == PERF_TYPE_TRACEPOINT else 0,
        config1=ctypes.cast(text, ctypes.c_void_p).value or 0,
        config2=config2,
    )
    # Which processor is named does not matter to a program on a probe: it runs wherever the probe is hit.
    target, cpu = (-1, 0) if pid is None else (pid, -1)
    return _syscall(
        _SYS_PERF_EVENT_OPEN, ctypes.byref(attr), c_int(target), c_int(cpu), c_int(-1), c_long(_PERF_FLAG_FD_CLOEXEC)
    )


def attach_by_ioctl(event: int, program: int) -> None:
    """Run a program at each hit of a perf event."""
    fcntl.ioctl(event, _SET_BPF, program)
    fcntl.ioctl(event, _ENABLE, 0)


def raise_file_limit(wanted: int) -> bool:
    """Let this process have `wanted` open files; False when it may not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return True
    if hard != resource.RLIM_INFINITY and hard < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
        except (ValueError, OSError):
            return False
        return True
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return True


def effective_capabilities() -> int:
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("CapEff:"):
                return int(line.split()[1], 16)
    return 0


def has_capability(name: str) -> bool:
    return bool(effective_capabilities() >> CAPABILITIES[name] & 1)


def missing_capabilities() -> list[str]:
    """What loading and attaching needs and this process has not; empty when it has enough."""
    if has_capability("CAP_SYS_ADMIN"):
        return []
    try:
        with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as file:
            last = int(file.read())
    except FileNotFoundError:
        last = 40
    if last < CAPABILITIES["CAP_BPF"]:
        return ["CAP_SYS_ADMIN"]  # before 5.8 there was nothing less
    return [name for name in ("CAP_BPF", "CAP_PERFMON") if not has_capability(name)]


class _CapHeader(Structure):
    _fields_ = (("version", c_uint32), ("pid", c_int))


class _CapData(Structure):
    _fields_ = (("effective", c_uint32), ("permitted", c_uint32), ("inheritable", c_uint32))


def drop_capabilities(*, keep_permitted: int = 0, keep_effective: int = 0) -> None:
    """Give up every other capability of this thread, and whatever a program that it executes could gain."""
    header = _CapHeader(_CAPABILITY_VERSION_3, 0)
    words = (_CapData * 2)()
    for i in range(2):
        words[i].permitted = keep_permitted >> (32 * i) & 0xFFFFFFFF
        words[i].effective = keep_effective >> (32 * i) & 0xFFFFFFFF
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, c_long(1), c_long(0), c_long(0), c_long(0))
    _syscall(_SYS_CAPSET, ctypes.byref(header), ctypes.byref(words))


def process_started(pid: int) -> int | None:
    """When a process was started, in ticks since boot: with its number, what names it for ever. None: it has ended."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # proc(5): the name, field 2, may hold spaces and parentheses; then the state; the start is field 22.
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def drop_privileges(still_needed: Callable[[], object], keep: Iterable[str] = ()) -> None:
    """Give up every capability but those to `keep`, and but for CAP_BPF where the kernel wants it for what comes later
    (before 5.19 or so it does for reading a map through its descriptor); `still_needed` is tried to find out."""
    have = effective_capabilities()
    kept = have & sum(1 << CAPABILITIES[name] for name in keep)
    drop_capabilities(keep_permitted=have)
    try:
        still_needed()
    except Exception:
        kept |= have & (1 << CAPABILITIES["CAP_BPF"] | (0 if have >> CAPABILITIES["CAP_BPF"] & 1 else 1 << 21))
    drop_capabilities(keep_permitted=kept, keep_effective=kept)

"""Whose hits a run records: one process's, those of tasks of a name, those of a cgroup and the ones below it.

In: what the command line says.  Out: bytes for the object's constants, and a descriptor for its map; or findings.

    check_filters(Filters(pid=42, comm="nginx", cgroup="system.slice/nginx.service"), report)
    set_filters(thing, data, "gup", filters, report)       # before the load
    fill_filters(library, thing, "gup", filters, report)   # after it
"""

from __future__ import annotations

import os
from typing import Final

from specc.diagnostics import Report
from specc.elf import read_elf, symbols
from specc.libbpf import LibbpfError, Library, Object
from specc.noun import dataclass

MOST_COMM: Final = 15  # bytes; with the NUL, TASK_COMM_LEN of the kernel
_FIRST_NAMESPACE: Final = 0xEFFFFFFC  # PROC_PID_INIT_INO


@dataclass(frozen=True, slots=True)
class Filters:
    """What is None is not asked for. `cgroup` is a directory, or its path below where cgroups (v2) are mounted."""

    pid: int | None = None
    comm: str | None = None
    cgroup: str | None = None

    def __bool__(self) -> bool:
        return self.pid is not None or self.comm is not None or self.cgroup is not None


def check_filters(filters: Filters, report: Report) -> None:
    """Report what can be no process (SP452, SP453), no name (SP456) or no cgroup (SP457)."""
    if filters.pid is not None:
        if not os.path.exists(f"/proc/{filters.pid}"):
            report.error("SP452", f"there is no process {filters.pid}", None)
        elif os.stat("/proc/self/ns/pid").st_ino != _FIRST_NAMESPACE:
            # The programs see the numbers of the first namespace only.
            report.error("SP453", "--pid works only in the machine's first pid namespace, not in this container", None,
                         help="run specc on the host, with the process's number there")  # fmt: skip
    if filters.comm is not None:
        raw = os.fsencode(filters.comm)
        if not raw or b"\0" in raw:
            report.error(
                "SP456", "no task has an empty name", None, help="give --comm the name that `ps -o comm` shows"
            )
        elif len(raw) > MOST_COMM:
            report.error("SP456", f"no task is called `{filters.comm}`: the kernel keeps {MOST_COMM} bytes of a name", None,
                         help=f"--comm {raw[:MOST_COMM].decode(errors='ignore')}")  # fmt: skip
    if filters.cgroup == "":  # which would be every cgroup: what an unset variable of a script leaves
        report.error("SP457", "no cgroup has an empty name", None, help="`systemd-cgls` lists them; `/` is all of them")
    elif filters.cgroup is not None:
        found = cgroup_directory(filters.cgroup)
        if not found:
            mounts = cgroup_mounts()
            report.error("SP457", f"there is no cgroup `{filters.cgroup}`", None,
                         notes=[f"cgroups (v2) are in {', '.join(mounts)}" if mounts
                                else "no cgroup file system of version 2 is mounted, and the kernel's programs know no other"],
                         help="`systemd-cgls` lists them" if mounts else "mount -t cgroup2 none /sys/fs/cgroup")  # fmt: skip


def cgroup_mounts() -> list[str]:
    """Where file systems of cgroups, version 2, are mounted."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            rows = [line.split() for line in file]
    except OSError:
        return []
    # proc(5): after optional fields and a dash come the type, the source and its options.
    return [_unescaped(row[4]) for row in rows if "-" in row and row[row.index("-") + 1] == "cgroup2"]


def _unescaped(path: str) -> str:
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        path = path.replace(code, char)
    return path


def cgroup_directory(name: str) -> str:
    """The directory of a cgroup; "" when there is none of that name in a file system of cgroups."""
    mounts = cgroup_mounts()
    candidates = [os.path.abspath(name)] if name.startswith(("/", "./", "../")) else []
    candidates += [os.path.join(mount, name.lstrip("/")) for mount in mounts]
    for path in candidates:
        inside = any(os.path.commonpath((mount, os.path.realpath(path))) == mount for mount in mounts)
        if inside and os.path.isfile(os.path.join(path, "cgroup.procs")):
            return path
    return ""


def set_filters(thing: Object, data: bytes, name: str, filters: Filters, report: Report) -> bool:
    """Set the constants of an object that is not loaded yet; False when it has none."""
    settings = {
        "pid": filters.pid.to_bytes(4, "little") if filters.pid is not None else None,
        "comm": os.fsencode(filters.comm).ljust(16, b"\0") if filters.comm is not None else None,
        "by_cgroup": b"\1\0\0\0" if filters.cgroup is not None else None,
    }
    elf = read_elf(data) if filters else None
    for word, value in settings.items():
        if value is None or elf is None:
            continue
        constant = symbols(elf, f"{name}_{word}")
        if not constant:
            report.error("SP431", f"this object cannot be limited by --{word.removeprefix('by_')}", None,
                         help="build it again with this specc")  # fmt: skip
            return False
        thing.set_constant(constant[0].value, value)
    if filters.cgroup is None:
        thing.without(f"{name}_cgroup")
    return True


def fill_filters(library: Library, thing: Object, name: str, filters: Filters, report: Report) -> bool:
    """Put the cgroup into the map of a loaded object; False when the kernel does not take it."""
    if filters.cgroup is None:
        return True
    try:
        directory = os.open(cgroup_directory(filters.cgroup), os.O_RDONLY | os.O_DIRECTORY)
    except OSError as problem:
        report.error("SP457", f"there is no cgroup `{filters.cgroup}` any more: {problem.strerror}", None)
        return False
    try:
        library.update(thing.maps[f"{name}_cgroup"], 0, directory.to_bytes(4, "little"))
    except LibbpfError as problem:
        report.error("SP457", f"the kernel does not take `{filters.cgroup}` for a cgroup: {problem.message}", None)
        return False
    finally:
        os.close(directory)
    return True

"""Which file a spec's `path` means: a path, or the name of a library or program, looked up as the loader would.

In: the name, the environment, perhaps a process.  Out: a path; Stop says where it was looked for.

    find_file("libssl.so.3", None, {})          # "/lib/x86_64-linux-gnu/libssl.so.3"
    find_file("bash", None, {"PATH": "/bin"})   # "/bin/bash"
"""

from __future__ import annotations

import glob
import os
import re
import struct
from collections.abc import Iterable, Mapping
from typing import Final

from specc.diagnostics import Diagnostic, Location, Severity, Stop, did_you_mean, stop
from specc.noun import dataclass

CACHE: Final = "/etc/ld.so.cache"
# ld.so(8): what is searched when the cache does not have it.
DIRECTORIES: Final = ("/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib")
NAME_A_PROGRAM: Final = "give the path of a program or a shared library for x86-64"
_LIBRARY: Final = re.compile(r"\.so(\.|$)")

# glibc's sysdeps/generic/dl-cache.h: struct cache_file_new and struct file_entry_new.
_MAGIC: Final = b"glibc-ld.so.cache1.1"
_HEADER: Final = struct.Struct("<20sII4sI3I")
_ENTRY: Final = struct.Struct("<iIIIQ")
_X86_64: Final = 0x0303  # FLAG_X8664_LIB64 | FLAG_ELF_LIBC6
_EXTENSION: Final = 1 << 62  # DL_CACHE_HWCAP_EXTENSION: of glibc-hwcaps, not of the directories before glibc 2.33

LOADER: Final = "/lib64/ld-linux-x86-64.so.2"  # psABI 5.2.1
_SUBDIRECTORIES: Final = re.compile(r"^Subdirectories of glibc-hwcaps.*?:\n((?:  .*\n)*)", re.MULTILINE)
_SEARCHED: Final = re.compile(r"^  (\S+) \(supported, searched\)$", re.MULTILINE)
_VARIANT: Final = re.compile(r"/glibc-hwcaps/([^/]+)/[^/]+$")


@dataclass(frozen=True, slots=True)
class Found:
    """A file, and the variants of it, for other processors, that the loader leaves out."""

    path: str
    others: tuple[str, ...] = ()


def find_file(name: str, where: Location | None, environ: Mapping[str, str], pid: int | None = None) -> str:
    """The file that `name` means; with `pid`, a library is the one that this process has loaded. Raises Stop."""
    return find(name, where, environ, pid).path


def find(name: str, where: Location | None, environ: Mapping[str, str], pid: int | None = None) -> Found:
    """The same, and what else there is under this name. Raises Stop."""
    if "/" in name:
        if os.path.isfile(name):
            return Found(name)
        if os.path.exists(name):
            what = "a directory" if os.path.isdir(name) else "a device, a pipe or a socket"
            raise stop("SP449", f"`{name}` is {what}, and has no code to probe", where, help=NAME_A_PROGRAM)
        raise _missing(name, where, f"there is no file `{name}`", [])
    library = _LIBRARY.search(name) is not None
    if library and pid is not None and (mapped := _mapped(name, pid)):
        return Found(mapped)
    found = _library(name, where, environ)
    if found is not None:
        return found
    if (program := _program(name, environ)) is not None:
        return Found(program)
    if library:
        known = {os.path.basename(n) for n, _ in cached_libraries()}
        raise _missing(name, where, f"no library `{name}` is installed here", known)
    raise _missing(name, where, f"no program `{name}` is in $PATH", _programs(environ))


def variant_warning(name: str, found: Found, where: Location | None) -> Diagnostic:
    """That a library has variants, which is probed, and which processes have another one: a probe sits in one file."""
    users = {path: pids for path in found.others if (pids := _users(path))}
    notes = [f"not probed: {path}" + _by(users.get(path, [])) for path in found.others]
    return Diagnostic(
        "SP455", f"`{name}` is installed in {1 + len(found.others)} variants; the probe is on {found.path}", where,
        tuple(notes), "give the path of a variant to probe it, or --pid" if users else
        "it is the one that the loader picks on this processor; give the path of another to probe that",
        Severity.WARNING,
    )  # fmt: skip


def _by(pids: list[int]) -> str:
    if not pids:
        return ""
    more = f" and {len(pids) - 5} more" if len(pids) > 5 else ""
    return f", which process {', '.join(map(str, pids[:5]))}{more} has loaded"


def _users(path: str) -> list[int]:
    """The processes that have a file mapped."""
    found: list[int] = []
    for maps in glob.iglob("/proc/[0-9]*/maps"):
        try:
            with open(maps, "rb") as file:
                if b" %s\n" % os.fsencode(path) in file.read():
                    found.append(int(maps.split("/")[2]))
        except OSError:
            continue  # it has ended, or is not ours to look at
    return sorted(found)


def _missing(name: str, where: Location | None, what: str, known: Iterable[str]) -> Stop:
    help = did_you_mean(name, known) or "give its path, or the name by which the loader finds it: libssl.so.3"
    if "/" in name and not name.startswith("/"):
        help = "a relative path counts from the directory in which specc runs"
    return stop("SP446", what, where, help=help)


def _library(name: str, where: Location | None, environ: Mapping[str, str]) -> Found | None:
    for folder in environ.get("LD_LIBRARY_PATH", "").replace(";", ":").split(":"):
        if folder and (found := _chosen(_in_folder(folder, name), environ)):
            return found
    rows = [(path, hwcaps) for n, path, hwcaps in _cached(CACHE) if n == name and os.path.isfile(path)]
    if len({os.path.realpath(path) for path, _ in rows}) > 1 and any(h and not h & _EXTENSION for _, h in rows):
        # The directories before glibc 2.33, whose rules each version of it had its own of.
        raise stop("SP446", f"`{name}` is installed in {len(rows)} variants", where,
                   notes=[path for path, _ in rows], help="give the path of the one to probe")  # fmt: skip
    if found := _chosen([path for path, _ in rows], environ):
        return found
    return next((found for d in DIRECTORIES if (found := _chosen(_in_folder(d, name), environ))), None)


def _in_folder(folder: str, name: str) -> list[str]:
    """A library in a directory, and its variants."""
    inside = f"{glob.escape(folder)}/glibc-hwcaps/*/{glob.escape(name)}"
    return [path for path in (f"{folder}/{name}", *sorted(glob.glob(inside))) if os.path.isfile(path)]


def _chosen(paths: list[str], environ: Mapping[str, str]) -> Found | None:
    """What the loader takes of files with one name: the variant for the best processor that this one is, else the first
    file that is none."""
    plain = next((path for path in paths if not _VARIANT.search(path)), None)
    variants = {match[1]: path for path in reversed(paths) if (match := _VARIANT.search(path))}
    order = searched(environ) if variants else []
    path = next((variants[v] for v in order if v in variants), plain)
    if path is None:
        return None
    files = dict.fromkeys(os.path.realpath(p) for p in (*variants.values(), *([plain] if plain else [])))
    return Found(path, tuple(p for p in files if p != os.path.realpath(path)))


def searched(environ: Mapping[str, str]) -> list[str]:
    """The subdirectories of glibc-hwcaps for this processor, best first: the loader itself is asked."""
    import subprocess

    try:
        done = subprocess.run(
            [LOADER, "--help"], env=dict(environ), stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", timeout=10, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return []
    listed = _SUBDIRECTORIES.search(done.stdout)
    return _SEARCHED.findall(listed[1]) if listed else []


def _program(name: str, environ: Mapping[str, str]) -> str | None:
    for folder in environ.get("PATH", os.defpath).split(":"):
        path = f"{folder or '.'}/{name}"
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def _programs(environ: Mapping[str, str]) -> set[str]:
    found: set[str] = set()
    for folder in environ.get("PATH", os.defpath).split(":"):
        if os.path.isdir(folder) and os.access(folder, os.R_OK):
            found.update(os.listdir(folder))
    return found


def _mapped(name: str, pid: int) -> str | None:
    """The library of this name in a process's address space, as seen through its own root directory."""
    try:
        with open(f"/proc/{pid}/maps", encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except OSError:
        return None  # whoever filters by the process says that it is not there
    for line in lines:
        path = line.partition("/")[2]
        base = path.rpartition("/")[2]
        if base == name or base.startswith(f"{name}."):  # maps show libz.so.1.2.13, of which libz.so.1 is a link
            inside = f"/proc/{pid}/root/{path}"
            return inside if os.path.isfile(inside) else None
    return None


def cached_libraries(path: str = CACHE) -> list[tuple[str, str]]:
    """(name, path) of every x86-64 library in the loader's cache; empty where there is none (musl)."""
    return [(name, place) for name, place, _ in _cached(path)]


def _cached(path: str) -> list[tuple[str, str, int]]:
    """The same with the hwcap field, which is 0 for what is for every processor."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:
        return []
    start = data.find(_MAGIC)  # an older cache may stand before it
    if start < 0 or start + _HEADER.size > len(data):
        return []
    count = _HEADER.unpack_from(data, start)[1]
    first = start + _HEADER.size
    found: list[tuple[str, str, int]] = []
    for at in range(first, min(first + count * _ENTRY.size, len(data) - _ENTRY.size + 1), _ENTRY.size):
        flags, key, value, _, hwcaps = _ENTRY.unpack_from(data, at)
        if flags == _X86_64:
            found.append((_text(data, start + key), _text(data, start + value), hwcaps))
    return found


def _text(data: bytes, at: int) -> str:
    return os.fsdecode(data[at : max(at, data.find(b"\0", at))])

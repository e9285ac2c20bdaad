"""Which file a spec's `path` means: a path, or the name of a library or program, looked up as the loader would.

In: the name, the environment, perhaps a process.  Out: a path; Stop says where it was looked for.

    find_file("libssl.so.3", None, {})          # "/lib/x86_64-linux-gnu/libssl.so.3"
    find_file("bash", None, {"PATH": "/bin"})   # "/bin/bash"
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterable, Mapping
from typing import Final

from specc.diagnostics import Location, Stop, did_you_mean, stop

CACHE: Final = "/etc/ld.so.cache"
# ld.so(8): what is searched when the cache does not have it.
DIRECTORIES: Final = ("/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib")
_LIBRARY: Final = re.compile(r"\.so(\.|$)")

# glibc's sysdeps/generic/dl-cache.h: struct cache_file_new and struct file_entry_new.
_MAGIC: Final = b"glibc-ld.so.cache1.1"
_HEADER: Final = struct.Struct("<20sII4sI3I")
_ENTRY: Final = struct.Struct("<iIIIQ")
_X86_64: Final = 0x0303  # FLAG_X8664_LIB64 | FLAG_ELF_LIBC6


def find_file(name: str, where: Location | None, environ: Mapping[str, str], pid: int | None = None) -> str:
    """The file that `name` means; with `pid`, a library is the one that this process has loaded. Raises Stop."""
    if "/" in name:
        if os.path.isfile(name):
            return name
        raise _missing(name, where, f"there is no file `{name}`", [])
    library = _LIBRARY.search(name) is not None
    if library and pid is not None and (mapped := _mapped(name, pid)):
        return mapped
    found = _library(name, where, environ) or _program(name, environ)
    if found is not None:
        return found
    if library:
        known = {os.path.basename(n) for n, _ in cached_libraries()}
        raise _missing(name, where, f"no library `{name}` is installed here", known)
    raise _missing(name, where, f"no program `{name}` is in $PATH", _programs(environ))


def _missing(name: str, where: Location | None, what: str, known: Iterable[str]) -> Stop:
    help = did_you_mean(name, known) or "give its path, or the name by which the loader finds it: libssl.so.3"
    if "/" in name and not name.startswith("/"):
        help = "a relative path counts from the directory in which specc runs"
    return stop("SP446", what, where, help=help)


def _library(name: str, where: Location | None, environ: Mapping[str, str]) -> str | None:
    for folder in environ.get("LD_LIBRARY_PATH", "").replace(";", ":").split(":"):
        if folder and os.path.isfile(path := f"{folder}/{name}"):
            return path
    cached = dict.fromkeys(os.path.realpath(path) for n, path in cached_libraries() if n == name)
    there = [path for path in cached if os.path.isfile(path)]
    if len(there) > 1:
        # glibc-hwcaps: which one a process gets depends on its processor, and a probe sits in one file.
        raise stop("SP446", f"`{name}` is installed in {len(there)} variants", where,
                   notes=there, help="give the path of the one to probe")  # fmt: skip
    if there:
        return there[0]
    return next((path for d in DIRECTORIES if os.path.isfile(path := f"{d}/{name}")), None)


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
    found: list[tuple[str, str]] = []
    for at in range(first, min(first + count * _ENTRY.size, len(data) - _ENTRY.size + 1), _ENTRY.size):
        flags, key, value, _, _ = _ENTRY.unpack_from(data, at)
        if flags == _X86_64:
            found.append((_text(data, start + key), _text(data, start + value)))
    return found


def _text(data: bytes, at: int) -> str:
    return os.fsdecode(data[at : max(at, data.find(b"\0", at))])

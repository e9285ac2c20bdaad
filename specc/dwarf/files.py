"""The file that holds a program's debug information: itself, or a separate one that its build id or debug link names.

In: the path of an ELF file.  Out: the path of a file with .debug_info that belongs to it, or None.

    debug_file("/usr/bin/nginx")       # "/usr/lib/debug/.build-id/4f/2d6c....debug"

A file that is found by its name only is taken when the checksum, or the build id, proves that it belongs.
"""

from __future__ import annotations

import mmap
import os
import zlib
from typing import Final

from specc.elf import SHT_NOBITS, Elf, NotElf, build_id, read_elf

DEBUG_ROOT: Final = "/usr/lib/debug"  # of gdb and of every distribution


def debug_file(path: str, root: str = DEBUG_ROOT) -> str | None:
    """The file with the debug information of `path`. Raises OSError and NotElf about `path` itself."""
    elf = mapped(path)
    if has_debug_info(elf):
        return path
    own = build_id(elf)
    if own is not None:
        found = f"{root}/.build-id/{own[:2]}/{own[2:]}.debug"
        if _belongs(found, own):
            return found
    return _linked(elf, path, own, root)


def mapped(path: str) -> Elf:
    """The ELF file at `path`, mapped. Raises OSError and NotElf."""
    with open(path, "rb") as file:
        if not os.fstat(file.fileno()).st_size:
            raise NotElf("it is empty")
        return read_elf(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))


def has_debug_info(elf: Elf) -> bool:
    return any(s.name in (".debug_info", ".zdebug_info") and s.type != SHT_NOBITS and s.size for s in elf.sections)


def _belongs(path: str, own: str) -> bool:
    """Whether there is a file with debug information and this build id."""
    try:
        elf = mapped(path)
        return has_debug_info(elf) and build_id(elf) == own
    except (OSError, NotElf):
        return False


def _linked(elf: Elf, path: str, own: str | None, root: str) -> str | None:
    """By .gnu_debuglink: a name, and the CRC-32 of the file that is meant (gdb's manual, "Separate Debug Files")."""
    section = elf.find(".gnu_debuglink")
    if section is None:
        return None
    data = bytes(elf.contents(section))
    name = os.fsdecode(data.partition(b"\0")[0])
    if not name or "/" in name or len(data) < 8:
        return None
    checksum = int.from_bytes(data[-4:], "little")
    folder = os.path.dirname(os.path.realpath(path))
    for candidate in (f"{folder}/{name}", f"{folder}/.debug/{name}", f"{root}{folder}/{name}"):
        try:
            debug = mapped(candidate)
        except (OSError, NotElf):
            continue
        if has_debug_info(debug) and zlib.crc32(debug.data) == checksum and _alike(build_id(debug), own):
            return candidate
    return None


def _alike(theirs: str | None, own: str | None) -> bool:
    return theirs is None or own is None or theirs == own

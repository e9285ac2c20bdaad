"""The files that processes run, found by their build ids, and the functions in them by their places in the file.

    files = CodeFiles(["/usr/sbin/nginx"])
    files.frame("a608efd9af4df7af249f61d4f276f820a6f256ae", 0x118d, returned=True)      # Frame("outer+0xb [prog]", "outer")

A build id is a checksum of what was linked: the file that has it is the one that ran, whatever happened to the process
since, and an address in no function of it is not given the name of the nearest one.
"""

from __future__ import annotations

import contextlib
import os
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from specc.elf import (
    SHT_SYMTAB,
    STT_FUNC,
    STT_GNU_IFUNC,
    STT_OBJECT,
    Elf,
    NotElf,
    Symbol,
    build_id,
    code_address,
    read_elf,
    symbols,
)
from specc.events.stacks import Frame
from specc.locate.files import cached_libraries
from specc.run.demangle import demangled

NOT_CODE: Final = "[not code]"  # data that an unwinder took for an address
ID_BYTES: Final = 20  # of a build id as the kernel has it: a shorter one is followed by zeros


class Functions:
    """The functions of one file, or what else is of the given types, each from its first byte to its last."""

    def __init__(self, found: Iterable[Symbol], types: Collection[int] = (STT_FUNC, STT_GNU_IFUNC)) -> None:
        by_start: dict[int, Symbol] = {}
        for symbol in found:
            if symbol.type in types and symbol.size and symbol.name:
                other = by_start.get(symbol.value)
                if other is None or _preference(symbol) < _preference(other):
                    by_start[symbol.value] = symbol
        self._starts = sorted(by_start)
        self._symbols = [by_start[start] for start in self._starts]
        self._ends: list[int] = []  # the furthest end of all functions up to this one: they may be one in another
        for symbol in self._symbols:
            self._ends.append(max(symbol.value + symbol.size, self._ends[-1] if self._ends else 0))

    def at(self, address: int) -> Symbol | None:
        number = bisect_right(self._starts, address) - 1
        while number >= 0 and self._ends[number] > address:
            symbol = self._symbols[number]
            if address < symbol.value + symbol.size:
                return symbol
            number -= 1
        return None


def _preference(symbol: Symbol) -> tuple[int, bool, int, str]:
    """Of two names for one function: the longer code, then what is seen from outside, then `read` before `__read`."""
    return -symbol.size, symbol.local, len(symbol.name) - len(symbol.name.lstrip("_")), symbol.name


@dataclass(frozen=True, slots=True)
class CodeFile:
    """`name` is what frames call the file."""

    name: str
    elf: Elf
    functions: Functions
    data: Functions

    def frame(self, offset: int, *, returned: bool) -> Frame:
        """What is at an offset of the file. An address that a call `returned` to may be the next function's first: the
        call before it is what was running."""
        address = code_address(self.elf, offset)
        if address is None:
            return Frame(NOT_CODE, NOT_CODE)
        symbol = self.functions.at(address - returned)
        if symbol is None:
            return Frame(f"[{self.name}+{offset:#x}]", f"[{self.name}]")
        past, name = address - symbol.value, demangled(symbol.name)
        return Frame(f"{name}{f'+{past:#x}' if past else ''} [{self.name}]", name)


def read_code(path: str, name: str) -> CodeFile:
    """Raises OSError and NotElf."""
    with open(path, "rb") as file:
        elf = read_elf(file.read())
    found = symbols(elf)
    if not any(s.type == SHT_SYMTAB for s in elf.sections):
        from specc.dwarf import debug_file

        with contextlib.suppress(OSError, NotElf):
            separate = debug_file(path)
            if separate is not None and separate != path:
                with open(separate, "rb") as file:
                    found = symbols(read_elf(file.read())) + found
    return CodeFile(name, elf, Functions(found), Functions(found, (STT_OBJECT,)))


class CodeFiles:
    """Files by their build ids. One that is not known is looked for among `probed` files, in what all processes have
    mapped, and among the loader's libraries: once, when its first frame comes."""

    def __init__(self, probed: Sequence[str] = (), proc: str = "/proc") -> None:
        self._probed = probed
        self._proc = proc
        self._found: dict[str, CodeFile | None] = {}
        self._paths: dict[str, tuple[str, str]] = {}  # of a build id: where it was, and its name
        self._seen: set[tuple[object, ...]] = set()
        self._frames: dict[tuple[str, int, bool], Frame] = {}

    def frame(self, build: str, offset: int, *, returned: bool) -> Frame:
        """`build` is the build id in hexadecimal digits, of 20 bytes."""
        key = (build, offset, returned)
        found = self._frames.get(key)
        if found is None:
            file = self.file(build)
            unknown = build.rstrip("0") or "0"
            made = file.frame(offset, returned=returned) if file else Frame(f"[{unknown}+{offset:#x}]", f"[{unknown}]")
            found = self._frames[key] = made
        return found

    def file(self, build: str) -> CodeFile | None:
        if build not in self._found:
            self._found[build] = self._look(build)
        return self._found[build]

    def _look(self, wanted: str) -> CodeFile | None:
        if wanted in self._paths and (file := self._read(wanted, *self._paths[wanted])):
            return file
        for key, path, name in self._places():
            if key in self._seen:
                continue
            self._seen.add(key)
            own = _id(path)
            if own is None:
                self._seen.discard(key)  # another process may show it
                continue
            self._paths[own] = (path, name)
            if own == wanted and (file := self._read(own, path, name)):
                return file
        return None

    def _read(self, wanted: str, path: str, name: str) -> CodeFile | None:
        try:
            file = read_code(path, name)
            own = build_id(file.elf)
        except (OSError, NotElf):
            return None
        return file if own is not None and own.ljust(2 * ID_BYTES, "0") == wanted else None

    def _places(self) -> Iterator[tuple[tuple[object, ...], str, str]]:
        """Files that may be it: what tells one from another, a path, and its name."""
        for path in self._probed:
            yield (path,), path, os.path.basename(path)
        for pid in filter(str.isdigit, os.listdir(self._proc)):
            for start, end, device, inode, path in mapped_code(f"{self._proc}/{pid}/maps"):
                name = os.path.basename(path.removesuffix(" (deleted)"))
                # What is mapped, even if its name is gone; else the name, as that process sees it.
                for place in (f"{self._proc}/{pid}/map_files/{start:x}-{end:x}", f"{self._proc}/{pid}/root{path}"):
                    yield (device, inode, path), place, name
        for _, path in cached_libraries():
            yield (path,), path, os.path.basename(path)


def mapped_code(maps: str) -> Iterator[tuple[int, int, str, int, str]]:
    """The executable mappings of files, from proc(5)'s maps: start, end, device, inode, path."""
    try:
        with open(maps, "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return  # it has ended, or is not ours to look at
    for line in lines:
        where, permissions, _, device, inode, *rest = line.split(None, 5)
        if b"x" in permissions and inode != b"0" and rest:
            start, _, end = where.partition(b"-")
            yield int(start, 16), int(end, 16), device.decode(), int(inode), os.fsdecode(rest[0])


def _id(path: str) -> str | None:
    from specc.elf import file_build_id

    try:
        own = file_build_id(path)
    except (OSError, NotElf):
        return None
    return None if own is None else own.ljust(2 * ID_BYTES, "0")

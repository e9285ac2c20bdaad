"""Addresses in processes by name, while the process is there and has the address space that it had.

    symbols = UserSymbols()
    symbols(4711, 0x7ffc5d21be90, 0x55d0c1a0e149)       # "inner+0x4 [prog]"; None: that cannot be told any more

In: a process's number, where its stack began (which tells it from a later process of that number, and from the program
that it executed since), and an address in a function or in a variable of a file that it has mapped.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from specc.elf import NotElf, loads
from specc.run.code_files import CodeFile, read_code
from specc.run.demangle import demangled

_PAGE = 4096


@dataclass(frozen=True, slots=True)
class _Mapping:
    start: int
    end: int
    code: bool
    offset: int
    file: tuple[bytes, bytes] | None  # device and inode
    path: bytes


class UserSymbols:
    def __init__(self) -> None:
        self._files: dict[tuple[int, ...], CodeFile | None] = {}

    def __call__(self, pid: int, space: int, address: int) -> str | None:
        if not space or _space(pid) != space:
            return None
        mappings = list(_mappings(pid))
        found = self._named(pid, mappings, address)
        return found if _space(pid) == space else None  # it could have executed another program meanwhile

    def _named(self, pid: int, mappings: list[_Mapping], address: int) -> str | None:
        number = next((i for i, m in enumerate(mappings) if m.start <= address < m.end), None)
        if number is None:
            return None
        mine = mappings[number]
        before = mappings[number - 1] if number else None
        if mine.file is None and before is not None and before.end == mine.start and not mine.path:
            mine = before  # variables that begin as zeros have no bytes in the file, and lie right behind it
        if mine.file is None:
            return None
        for code in (m for m in mappings if m.code and m.file == mine.file):
            file = self._file(pid, code)
            if file is None:
                continue
            for offset, start, in_file, _, is_code in loads(file.elf):
                if is_code and offset - _PAGE < code.offset < offset + in_file:
                    # What was added to the file's own addresses when it was loaded.
                    found = _in_file(file, address - (code.start - code.offset + offset - start))
                    if found is not None:
                        return found
        return None

    def _file(self, pid: int, mapping: _Mapping) -> CodeFile | None:
        """The file that is mapped: what the kernel says of the mapping itself; or its path, if it is that file."""
        name = os.path.basename(os.fsdecode(mapping.path).removesuffix(" (deleted)"))
        inside = os.fsdecode(mapping.path)
        for path in (f"/proc/{pid}/map_files/{mapping.start:x}-{mapping.end:x}", f"/proc/{pid}/root{inside}"):
            try:
                status = os.stat(path)
                if mapping.file is None or status.st_ino != int(mapping.file[1]):
                    continue
                key = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
                if key not in self._files:
                    self._files[key] = read_code(path, name)
            except NotElf:
                self._files[key] = None
            except OSError:
                continue
            return self._files[key]
        return None


def _in_file(file: CodeFile, address: int) -> str | None:
    """A function or a variable at an address as the file's symbols have it."""
    for _, start, _, in_memory, is_code in loads(file.elf):
        if start <= address < start + in_memory:
            symbol = (file.functions if is_code else file.data).at(address)
            if symbol is None:
                return None
            past = address - symbol.value
            return f"{demangled(symbol.name)}{f'+{past:#x}' if past else ''} [{file.name}]"
    return None


def _space(pid: int) -> int | None:
    """Where the stack of a process began (proc(5): field 28 of stat); None when it has ended, or is not shown to us."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[25])
    except (OSError, IndexError):
        return None


def _mappings(pid: int) -> Iterator[_Mapping]:
    try:
        with open(f"/proc/{pid}/maps", "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return
    for line in lines:
        where, permissions, offset, device, inode, *rest = line.split(None, 5)
        start, _, end = where.partition(b"-")
        yield _Mapping(
            int(start, 16),
            int(end, 16),
            b"x" in permissions,
            int(offset, 16),
            None if inode == b"0" else (device, inode),
            rest[0] if rest else b"",
        )

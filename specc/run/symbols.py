"""Addresses in the kernel by name: /proc/kallsyms in, read when the first one is asked for.

    symbols = open_symbols()            # None where there is no such file
    symbols(0xffffffff81000010)         # "vfs_read+0x10", or None: nothing is known to be there

The kernel shows addresses to whom it did when the file was opened, so that is done before privileges are given up.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import IO, Final

KALLSYMS: Final = "/proc/kallsyms"
_CODE: Final = frozenset(b"tTwW")
_PER_CPU: Final = frozenset(b"aA")  # offsets, not addresses
# What lies further behind the last symbol of a module is not its code.
_FURTHEST: Final = 1 << 16


class Symbols:
    """Code by its function and the offset in it, data by its beginning alone."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file: IO[bytes] | None = file
        self._addresses: list[int] = []
        self._names: list[tuple[str, bool]] = []

    def __call__(self, address: int) -> str | None:
        found = self.find(address)
        if found is None:
            return None
        name, offset, module = found
        return (f"{name}+{offset:#x}" if offset else name) + (f" {module}" if module else "")

    def find(self, address: int) -> tuple[str, int, str] | None:
        """The name, how far behind its beginning the address is, and the module: "[nf_tables]", or "" of the kernel."""
        if self._file is not None:
            self._read(self._file)
            self._file = None
        at = bisect_right(self._addresses, address) - 1
        if at < 0:
            return None
        name, code = self._names[at]
        offset = address - self._addresses[at]
        if offset and (not code or offset >= _FURTHEST):
            return None
        name, _, module = name.partition(" ")
        return name, offset, module

    def _read(self, file: IO[bytes]) -> None:
        found: dict[int, tuple[str, bool]] = {}
        with file:
            for line in file:
                address, kind, name, *module = line.split()
                where = int(address, 16)  # 0 to whom it is not shown
                if not where or kind[0] in _PER_CPU:
                    continue
                code = kind[0] in _CODE
                known = found.get(where)
                if known is None or (code and not known[1]):
                    found[where] = (b" ".join((name, *module)).decode("ascii", "replace"), code)
        self._addresses = sorted(found)
        self._names = [found[a] for a in self._addresses]


def open_symbols(path: str = KALLSYMS) -> Symbols | None:
    try:
        return Symbols(open(path, "rb"))
    except OSError:
        return None


def kernel_has(*names: str, path: str = KALLSYMS) -> bool:
    """Whether the kernel has functions of these names. Names are shown to everyone."""
    missing = {name.encode() for name in names}
    try:
        with open(path, "rb") as file:
            for line in file:
                missing.discard(line.split(None, 3)[2])
    except OSError:
        return False
    return not missing

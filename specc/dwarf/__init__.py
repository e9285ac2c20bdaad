"""What a program's own debug information says of its functions: prototypes, and where arguments are at the entry.

dwarf = open_dwarf("/usr/bin/nginx", "nginx")
dwarf.find(symbol, where)        # Subprogram(prototype, placement, ...)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from specc.diagnostics import Location, stop
from specc.dwarf.files import debug_file
from specc.elf import NotElf

if TYPE_CHECKING:
    from specc.dwarf.reader import Dwarf

__all__ = ["debug_file", "open_dwarf"]


def open_dwarf(path: str, name: str, where: Location | None = None) -> Dwarf | None:
    """The DWARF of the ELF file at `path`, or of the debug file that belongs to it; None when there is none.

    `name` is how messages call the file. Raises Stop when it cannot be read.
    """
    try:
        found = debug_file(path)
        if found is None:
            return None  # and what reads it is not loaded either
        from specc.dwarf.reader import Dwarf

        return Dwarf(path, name, found, where)
    except OSError as problem:
        raise stop("SP270", f"cannot read the debug information of `{name}`: {problem.strerror}", where) from None
    except NotElf as problem:
        raise stop("SP270", f"cannot read the debug information of `{name}`: {problem}", where) from None

"""What a program's own debug information says of its functions: prototypes, and where arguments are at the entry.

with_dwarf = open_dwarf("/usr/bin/nginx", "nginx")
with_dwarf.find(symbol, where)        # Subprogram(prototype, placement, ...)
"""

from specc.dwarf.files import debug_file
from specc.dwarf.judge import Subprogram
from specc.dwarf.reader import Dwarf, open_dwarf

__all__ = ["Dwarf", "Subprogram", "debug_file", "open_dwarf"]

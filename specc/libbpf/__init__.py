"""libbpf through ctypes: open an object, load it, find its programs and maps, link a program to an event.

In: an object's bytes.  Out: file descriptors of what the kernel made of them; `LibbpfError` with libbpf's own words.

    with Library() as library, library.open(data, "gup") as thing:
        thing.load()
        thing.programs["gup_gup"]                   # a file descriptor, closed with the object

Everything that libbpf prints is kept in `Library.log`.
"""

from specc.libbpf.calls import LibbpfError
from specc.libbpf.interface import BPF_TRACE_UPROBE_MULTI
from specc.libbpf.library import Library
from specc.libbpf.objects import Object

__all__ = ["BPF_TRACE_UPROBE_MULTI", "LibbpfError", "Library", "Object"]

"""BTF to prototypes: what a kernel says about its own functions. Pure: the same bytes give the same answers.

In: raw BTF, an ELF file's .BTF section, or /sys/kernel/btf/vmlinux.  Out: `Prototype`s and the types they use.

    btf = open_btf(RUNNING)
    btf.prototype("vfs_read")                # Prototype("vfs_read", ..., source="BTF of vmlinux")
    btf.complete("struct", "path")           # its members and their offsets

A name that stands for several functions is refused, an empty prototype is given with a doubt, and a copy that the
compiler specialised (`f.isra.0`) is refused: its registers do not follow the prototype.
"""

from specc.btf.open import RUNNING, open_all, open_btf
from specc.btf.reader import Btf

__all__ = ["RUNNING", "Btf", "open_all", "open_btf"]

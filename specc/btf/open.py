"""A file to a `Btf`: raw BTF, or the .BTF section of an ELF file.

In: a path, and for a kernel module the BTF of its kernel.  Out: `Btf`; what is wrong with the file is a Stop.

    open_btf(RUNNING)                                       # SP230 where the machine has none
    open_btf(Path("vmlinux"))                               # an ELF file
    open_btf(Path("/sys/kernel/btf/nf_tables"))             # its base is the vmlinux beside it
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from specc.btf.reader import Btf
from specc.diagnostics import Stop, stop

if TYPE_CHECKING:
    import mmap

RUNNING: Final = Path("/sys/kernel/btf/vmlinux")
_ELF: Final = b"\x7fELF"
_BTF: Final = b"\x9f\xeb"
_HEAD: Final = 0x206  # enough to tell what the file is; a boot image has its mark at 0x202


def open_btf(path: Path, base: Btf | None = None) -> Btf:
    """Read a file that has BTF. `base` is what a module's BTF builds on; a module's BTF in sysfs finds its own."""
    data = _read(path)
    name = path.name
    if base is None and path.parent == RUNNING.parent and path != RUNNING:
        base = open_btf(RUNNING)
    if bytes(data[:4]) == _ELF:
        return _from_elf(memoryview(data), name, base)
    if bytes(data[0x202:0x206]) == b"HdrS":
        raise stop(
            "SP232",
            f"`{name}` is a compressed kernel image, not BTF",
            None,
            help="give the vmlinux ELF file, or /sys/kernel/btf/vmlinux of a machine that runs this kernel",
        )
    return Btf(bytes(data), name, base)


def open_all(paths: Sequence[Path]) -> tuple[Btf, ...]:
    """Several files as `--btf` names them: a module's BTF builds on the kernel's that was named before it."""
    opened: list[Btf] = []
    for path in paths:
        base = next((b for b in reversed(opened) if b.base is None), None)
        try:
            opened.append(open_btf(path))
        except Stop as problem:
            if problem.diagnostic.code != "SP236" or base is None:
                raise
            opened.append(open_btf(path, base))
    return tuple(opened)


def _from_elf(data: memoryview, name: str, base: Btf | None) -> Btf:
    from specc.elf import EM_BPF, EM_X86_64, NotElf, read_elf  # raw BTF is the common case and needs none of it

    try:
        elf = read_elf(data)
        if elf.machine not in (EM_X86_64, EM_BPF):
            raise stop("SP232", f"`{name}` is an ELF file of another machine; specc knows x86-64 only", None)
        section = elf.find(".BTF")
        if section is None:
            raise stop(
                "SP232",
                f"`{name}` is an ELF file without a .BTF section",
                None,
                help="build it with `clang -target bpf -g`, or add the section with `pahole -J`",
            )
        if base is None:
            # Since Linux 6.12 a module carries the few types of its base that it uses.
            distilled = elf.find(".BTF.base")
            base = Btf(bytes(elf.contents(distilled)), f"{name} (base)") if distilled else None
        return Btf(bytes(elf.contents(section)), name, base)
    except NotElf as e:
        raise stop("SP232", f"cannot read BTF from the ELF file `{name}`: {e}", None) from None


def _read(path: Path) -> bytes | memoryview:
    """The file's bytes; of an ELF file a mapping, as debug files are large; of anything else than BTF the beginning."""
    try:
        # Without O_NONBLOCK, a mistyped path that is a FIFO would wait for a writer.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise stop("SP231", f"cannot read BTF from `{path}`: it is not a file", None)
            head = os.pread(file.fileno(), _HEAD, 0)
            if head[:4] == _ELF:
                return memoryview(_map(file.fileno()))
            if head[:2] != _BTF:
                return head
            if path.parent == RUNNING.parent:
                # sysfs gives 4 KiB to a read; since Linux 6.16 it can be mapped, which is 5 ms faster.
                with contextlib.suppress(OSError):
                    return bytes(_map(file.fileno()))
            whole: bytes = file.read()
            return whole
    except FileNotFoundError:
        if path == RUNNING:
            raise stop(
                "SP230",
                f"this machine has no BTF of its kernel: `{path}` does not exist",
                None,
                help="give a BTF file with `--btf FILE`, a header, or a `prototype:` (BTF needs CONFIG_DEBUG_INFO_BTF)",
            ) from None
        raise stop("SP231", f"cannot read BTF from `{path}`: no such file", None) from None
    except IsADirectoryError:
        raise stop("SP231", f"cannot read BTF from `{path}`: it is a directory", None) from None
    except (OSError, ValueError) as e:
        reason = e.strerror if isinstance(e, OSError) and e.strerror else str(e)
        raise stop("SP231", f"cannot read BTF from `{path}`: {reason}", None) from None


def _map(file: int) -> mmap.mmap:
    import mmap

    return mmap.mmap(file, 0, access=mmap.ACCESS_READ)

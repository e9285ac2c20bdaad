"""A file to a `Btf`: raw BTF, an ELF file, or what `extract` finds it in.

In: a path, and for a kernel module the BTF of its kernel.  Out: `Btf`; what is wrong with the file is a Stop.

    open_btf(RUNNING)                                       # SP230 where the machine has none
    open_btf(Path("vmlinuz"))                               # a kernel image, a vmlinux, a package, a .btf.tar.xz
    open_btf(Path("/sys/kernel/btf/nf_tables"))             # its base is the vmlinux beside it
    open_file(Path("linux.deb"), module="ext4")             # a module in a package, and what was found where
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
from specc.noun import replace

if TYPE_CHECKING:
    import mmap

    from specc.btf.extract import Found

RUNNING: Final = Path("/sys/kernel/btf/vmlinux")
_BTF: Final = b"\x9f\xeb"
_HEAD: Final = 0x206  # enough to tell what the file is: a boot image has its mark at 0x202, a tar file at 0x101


def open_btf(path: Path, base: Btf | None = None) -> Btf:
    """Read a file that has BTF. `base` is what a module's BTF builds on; a module's BTF in sysfs finds its own."""
    data = _read(path)
    if bytes(data[:2]) == _BTF:
        return _raw(bytes(data), path, base)
    from specc.btf.extract import extract  # raw BTF is the common case and needs none of it

    return _assembled(extract(data, path.name), path.name, base)


def open_file(path: Path, base: Path | None = None, module: str | None = None) -> tuple[Btf, Found]:
    """As `open_btf`, also with what the file turned out to be. `module` is one in a package.

    A module's base is the kernel in `base`, else the one in the same package, else what the module brings along.
    """
    from specc.btf.extract import extract

    data = _read(path)
    found = extract(data, path.name, module)
    if path.parent == RUNNING.parent:
        own = "" if path == RUNNING else path.name
        found = replace(found, what="BTF of the running kernel", release=os.uname().release, module=own)
    below: Btf | None = None
    if base is not None:
        below, kernel = open_file(base)
        _same_release(found, kernel, below)
    elif module is not None and found.distilled is None:
        below = _assembled(kernel := extract(data, path.name), path.name, None)
        _same_release(found, kernel, below)
    name = path.name if module is None else found.module or module
    return (_raw(found.data, path, below) if data[:2] == _BTF else _assembled(found, name, below)), found


def _raw(data: bytes, path: Path, base: Btf | None) -> Btf:
    if path.parent == RUNNING.parent and path != RUNNING and base is None:
        return Btf(data, path.name, open_btf(RUNNING))
    return _on(data, path.name, base)


def _on(data: bytes, name: str, base: Btf | None) -> Btf:
    """Raw BTF; on its base where it needs one."""
    try:
        return Btf(data, name)
    except Stop as problem:
        if problem.diagnostic.code != "SP236" or base is None:
            raise
    from specc.btf.base import on_base

    return on_base(data, name, base)


def _assembled(found: Found, name: str, base: Btf | None) -> Btf:
    if found.distilled is None:
        return _on(found.data, name, base)
    from specc.btf.base import on_distilled

    return on_distilled(found.data, found.distilled, name, base)


def _same_release(module: Found, kernel: Found, base: Btf) -> None:
    """A module's BTF on that of a kernel of another release would be read without an error, and wrong."""
    if module.module and module.release and kernel.release and module.release != kernel.release:
        raise stop(
            "SP236",
            f"the module `{module.module}` is of release {module.release}, and `{base.name}` of {kernel.release}",
            None,
            help="give the BTF of exactly the kernel that the module was built for",
        )


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


def _read(path: Path) -> bytes | memoryview:
    """The file's bytes; of anything else than raw BTF a mapping, as packages and debug files are large."""
    try:
        # Without O_NONBLOCK, a mistyped path that is a FIFO would wait for a writer.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise stop("SP231", f"cannot read BTF from `{path}`: it is not a file", None)
            head = os.pread(file.fileno(), _HEAD, 0)
            if head[:2] != _BTF:
                return memoryview(_map(file.fileno())) if len(head) == _HEAD else head
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

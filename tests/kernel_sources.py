"""Debian's kernel headers, and `mm/gup.c`, unpacked (not installed) into a cache outside the repository.

In: nothing; the packages come from the mirror that apt already uses.  Out: paths and preprocessor flags, or why not.

    kernel = kernel_sources()            # raises Unavailable("apt-get is not installed")
    preprocess([Path("linux/mm.h")], [], [], ["clang"], flags=kernel.flags)

The headers are 12 MB. No package holds single source files, so `gup.c` costs one download of 140 MB; only `mm/gup.c`
and `mm/internal.h` are kept of it. `python tests/kernel_sources.py` fills the cache ahead of a test run.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path


class Unavailable(Exception):
    """Why the kernel sources cannot be had on this machine."""


@dataclass(frozen=True, slots=True)
class KernelSources:
    """`flags` preprocess as the kernel's own build does (Makefile: LINUXINCLUDE, KBUILD_CPPFLAGS)."""

    release: str
    flags: tuple[str, ...]
    gup: Path | None
    without_gup: str = ""


def cache_dir() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "specc-tests"


def _run(*argv: str, cwd: Path | None = None) -> str:
    try:
        done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=600, check=False)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise Unavailable(f"{argv[0]}: {e}") from None
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise Unavailable(f"`{' '.join(argv[:3])}` failed: {last}")
    return done.stdout


def _release() -> str:
    """The newest kernel of this Debian: what linux-headers-amd64 depends on."""
    for tool in ("apt-get", "apt-cache", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise Unavailable(f"{tool} is not installed (the sources come from Debian's packages)")
    m = re.search(r"Depends: linux-headers-(\d\S*)-amd64", _run("apt-cache", "depends", "linux-headers-amd64"))
    if m is None:
        raise Unavailable("apt knows no linux-headers-amd64")
    return m[1]


def _fetch(package: str, target: Path, only: tuple[str, ...] = ()) -> None:
    """Unpack a package into `target`; of a linux-source package just the files in `only`."""
    if target.is_dir():
        return
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        work, out = Path(scratch), Path(scratch) / "out"
        out.mkdir()
        _run("apt-get", "-q", "download", package, cwd=work)
        (deb,) = work.glob("*.deb")
        if only:
            _run(
                "sh", "-c", f"dpkg-deb --fsys-tarfile {deb.name} | tar -xf - --wildcards './usr/src/*.tar.xz'", cwd=work
            )
            (archive,) = work.glob("usr/src/*.tar.xz")
            top = archive.name.removesuffix(".tar.xz")
            _run("tar", "-xJf", str(archive), "-C", str(out), "--strip-components=1", *(f"{top}/{f}" for f in only))
        else:
            _run("dpkg-deb", "-x", deb.name, "out", cwd=work)
        out.rename(target)


@cache
def kernel_sources() -> KernelSources:
    folder = cache_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError as e:
        raise Unavailable(f"{folder}: {e}") from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test processes may want it at once
        known = sorted(folder.glob("kernel-*-common"))
        release = known[-1].name.removeprefix("kernel-").removesuffix("-common") if known else _release()
        common, flavour = folder / f"kernel-{release}-common", folder / f"kernel-{release}-amd64"
        _fetch(f"linux-headers-{release}-amd64", flavour)
        _fetch(f"linux-headers-{release}-common", common)
        series = ".".join(release.split(".")[:2])
        source, why = folder / f"kernel-{release}-source", ""
        try:
            _fetch(f"linux-source-{series}", source, ("mm/gup.c", "mm/internal.h"))
        except Unavailable as e:
            why = str(e)
    gup = source / "mm" / "gup.c"
    return KernelSources(release, _flags(common, flavour), gup if gup.is_file() else None, why)


def _flags(common: Path, flavour: Path) -> tuple[str, ...]:
    (shared,) = common.glob("usr/src/linux-headers-*-common")
    (generated,) = flavour.glob("usr/src/linux-headers-*-amd64")
    folders = [
        shared / "arch/x86/include", generated / "arch/x86/include/generated", shared / "include",
        generated / "include", shared / "arch/x86/include/uapi", generated / "arch/x86/include/generated/uapi",
        shared / "include/uapi", generated / "include/generated/uapi",
    ]  # fmt: skip
    first = ["compiler-version.h", "kconfig.h", "compiler_types.h"]
    return (
        "-nostdinc",
        *(f"-I{f}" for f in folders),
        *(word for name in first for word in ("-include", str(shared / "include/linux" / name))),
        "-D__KERNEL__", '-DKBUILD_MODNAME="specc"', '-DKBUILD_BASENAME="specc"', "-std=gnu11", "-fshort-wchar", "-mno-sse",
    )  # fmt: skip


if __name__ == "__main__":
    try:
        found = kernel_sources()
    except Unavailable as e:
        sys.exit(f"the kernel sources are not available: {e}")
    print(f"{found.release}: {found.gup or found.without_gup}")

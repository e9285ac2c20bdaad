"""Debian's cloud kernels, unpacked (never installed) into a cache outside the repository.

In: a series.  Out: where its image and its modules are; or Unavailable, which says why not.

    kernel = get_kernel("6.12")          # downloads 30 MB the first time
    kernel.release                       # "6.12.57+deb13-cloud-amd64"

apt itself fetches them, with a state directory of its own for each suite, from the mirror that this machine's apt uses.
Once a day the newest release is asked for; without a network the one of last time is used.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import lzma
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kernel_sources import Unavailable, cache_dir

SUITES: Final = {"5.10": "bullseye", "6.1": "bookworm", "6.12": "trixie", "7.2": "sid"}
_PACKAGE: Final = "linux-image-cloud-amd64"
_DAY: Final = 24 * 3600
_KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


@dataclass(frozen=True, slots=True)
class Kernel:
    """An unpacked kernel. `root` has lib/modules; `series` is what the tests call it, whatever Debian has by now.

    `btf` and `symbols`, a function's name per line, are there once `machine.ask` has asked the running kernel.
    """

    series: str
    release: str
    root: Path
    image: Path
    btf: Path
    symbols: Path


def get_kernel(series: str) -> Kernel:
    """Raises Unavailable."""
    suite = SUITES[series]
    folder = cache_dir() / "kernels" / suite
    with _locked(folder):
        current = folder / "current.json"
        known = json.loads(current.read_text()) if current.is_file() else None
        if known is not None and not (folder / known["root"]).is_dir():
            known = None
        if known is None or time.time() - current.stat().st_mtime > _DAY:
            try:
                known = _newest(folder, suite, known)
            except Unavailable:
                if known is None:
                    raise
            temporary = folder / "current.json.new"
            temporary.write_text(json.dumps(known))
            temporary.replace(current)
        return _kernel(series, folder / known["root"])


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError as problem:
        raise Unavailable(f"{folder}: {problem}") from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _run(*argv: str, cwd: Path | None = None) -> str:
    try:
        done = subprocess.run(
            argv, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600, check=False,
            env={**os.environ, "LC_ALL": "C", "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise Unavailable(f"{argv[0]}: {problem}") from None
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise Unavailable(f"`{argv[0]}` failed: {last}")
    return done.stdout


# --- apt --------------------------------------------------------------------------------------------------------------


def _mirrors() -> tuple[str, str | None]:
    """Where this machine's apt gets Debian and its security updates from."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise Unavailable("apt-get is not installed (the kernels come from Debian's packages)")
    rows = _run("apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)", "Created-By: Packages")
    found: dict[str, str] = {}
    for row in rows.splitlines():
        origin, label, uri = row.split("|", 2)
        if origin == "Debian":
            found.setdefault(label, uri)
    if "Debian" not in found:
        raise Unavailable("apt has no Debian mirror, or its index was never fetched (apt-get update)")
    return found["Debian"], found.get("Debian-Security")


def _options(folder: Path, suite: str) -> list[str]:
    """Options that keep apt to one suite and to directories of ours."""
    state = folder / "apt"
    for name in ("lists/partial", "archives/partial", "etc"):
        (state / name).mkdir(parents=True, exist_ok=True)
    debian, security = _mirrors()
    signed = f"[signed-by={_KEYRING}] " if _KEYRING.is_file() else ""
    lines = [f"deb {signed}{debian} {suite} main"]
    if security is not None and suite != "sid":
        lines.append(f"deb {signed}{security} {suite}-security main")
    (state / "etc/sources.list").write_text("\n".join([*lines, ""]))
    settings = {
        "Dir::Etc::sourcelist": state / "etc/sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": state / "lists",
        "Dir::State::status": "/dev/null",
        "Dir::Cache": state,
        "Dir::Cache::archives": state / "archives",
        "APT::Architecture": "amd64",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Acquire::Check-Valid-Until": "false",  # an old suite's index is no longer renewed
        "Acquire::http::Timeout": "30",
        "Acquire::https::Timeout": "30",
        "Acquire::Retries": "2",
    }
    return [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]


def _newest(folder: Path, suite: str, known: dict[str, str] | None) -> dict[str, str]:
    """Resolve, and unless it is the known one download and unpack, the suite's newest kernel."""
    options = _options(folder, suite)
    _run("apt-get", *options, "-qq", "update")
    depends = _run(
        "apt-cache", *options, "depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts",
        "--no-breaks", "--no-replaces", "--no-enhances", _PACKAGE,
    )  # fmt: skip
    # The image's name has its version; from some release on, image and modules are packages of their own.
    packages = sorted(set(re.findall(r"^(linux-(?:image|binary|modules)-\d\S*)", depends, re.MULTILINE)))
    if not packages:
        raise Unavailable(f"{suite} has no kernel behind {_PACKAGE}")
    shown = _run("apt-cache", *options, "show", "--no-all-versions", *packages)
    version = re.findall(r"^Version: (\S+)", shown, re.MULTILINE)[0]
    # The name of a directory on overlayfs and in options of a mount: no ":" or ",".
    root = re.sub(r"[^\w.+~-]", "_", f"{packages[0]}_{version}")
    if known is not None and known["root"] == root:
        return known
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        work, out = Path(scratch), Path(scratch) / "out"
        out.mkdir()
        _run("apt-get", *options, "-qq", "download", *packages, cwd=work)
        for deb in sorted(work.glob("*.deb")):
            _run("dpkg-deb", "-x", str(deb), str(out))
        _prepare(out)
        shutil.rmtree(folder / root, ignore_errors=True)
        out.rename(folder / root)
    if known is not None:
        shutil.rmtree(folder / known["root"], ignore_errors=True)
    return {"root": root}


# --- unpacked kernels -------------------------------------------------------------------------------------------------


def _kernel(series: str, root: Path) -> Kernel:
    (modules,) = (root / "lib/modules").iterdir()
    return Kernel(series, modules.name, root, _image(root, modules), root / "vmlinux.btf", root / "functions")


def _image(root: Path, modules: Path) -> Path:
    found = [*root.glob("boot/vmlinuz-*"), *modules.glob("vmlinuz")]
    if not found:
        raise Unavailable(f"no kernel image in {root.name}")
    return found[0]


def _prepare(root: Path) -> None:
    """What every boot needs and the packages do not have: the modules' dependencies."""
    if not (root / "lib").exists() and (root / "usr/lib").is_dir():
        (root / "lib").symlink_to("usr/lib")
    (modules,) = (root / "lib/modules").iterdir()
    _run("depmod", "-b", str(root), modules.name)


def decompress(data: bytes) -> bytes:
    """A module, by its first bytes."""
    if data.startswith(b"\x7fELF"):
        return data
    if data.startswith(b"\xfd7zXZ\0"):
        return lzma.decompress(data)
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        try:
            done = subprocess.run(["zstd", "-dcq"], input=data, capture_output=True, timeout=60, check=False)
        except (OSError, subprocess.TimeoutExpired) as problem:
            raise Unavailable(f"zstd: {problem}") from None
        if done.returncode != 0:
            raise Unavailable(f"zstd: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout
    raise Unavailable(f"a compression that this knows not: {data[:4].hex()}")

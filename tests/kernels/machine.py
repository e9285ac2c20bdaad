"""A virtual machine: an unpacked kernel, this machine's own root file system read-only under a tmpfs, one command.

In: a kernel and a command.  Out: what it wrote, how it ended; the machine is gone again.

    done = boot(get_kernel("6.12"), ["uname", "-r"], patience=60)
    done.code, done.out                  # 0, "6.12.57+deb13-cloud-amd64\n"

Everything runs under plain emulation: there need be no KVM. Paths inside are those outside (virtiofs), what is written
inside is lost, and the modules of the kernel are at /lib/modules. `python -m kernels.machine 6.12 -- COMMAND` tries it.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kernel_sources import Unavailable

from kernels.packages import SUITES, Kernel, decompress, get_kernel

_QEMU: Final = "qemu-system-x86_64"
_VIRTIOFSD: Final = ("/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd")
_MODULES: Final = ("virtio_pci", "virtio_console", "virtio_rng", "overlay", "virtiofs")  # or built in
_MEMORY: Final = "1024M"

# The first process: the file systems, then the command in them, with its output to ports that are files outside.
_INIT: Final = r"""#!/bin/busybox sh
/bin/busybox --install -s /bin
mkdir -p /proc /sys /dev /host /over /new
mount -t devtmpfs dev /dev; mount -t proc proc /proc; mount -t sysfs sys /sys
while read module; do insmod /modules/$module || echo "no module $module"; done < /modules/order
option() { sed "s/.*specc.$1=\([^ ]*\).*/\1/" /proc/cmdline; }
job=$(option job); root=$(option root)
mount -t virtiofs -o ro host /host || { echo "no root file system"; poweroff -f; }
mount -t tmpfs -o size=60% over /over; mkdir /over/upper /over/work
mount -t overlay -o lowerdir=/host,upperdir=/over/upper,workdir=/over/work root /new || { echo "no overlay"; poweroff -f; }
mount -t proc proc /new/proc; mount -t sysfs sys /new/sys; mount -t devtmpfs dev /new/dev
mkdir -p /new/dev/shm /new/dev/pts /new/lib/modules
mount -t tmpfs shm /new/dev/shm; mount -t devpts pts /new/dev/pts; mount -t tmpfs run /new/run
mount -t tracefs tracefs /new/sys/kernel/tracing; mount -t debugfs debugfs /new/sys/kernel/debug
mount -t bpf bpf /new/sys/fs/bpf; mount -t cgroup2 cgroup2 /new/sys/fs/cgroup
mount --bind /host$root/lib/modules /new/lib/modules
ip link set lo up; hostname machine; ulimit -l unlimited
for port in /sys/class/virtio-ports/*; do ln -s /dev/${port##*/} /dev/$(cat $port/name); done
echo booted > /dev/specc.status
chroot /new /bin/sh $job/command.sh </dev/null >/dev/specc.out 2>/dev/specc.err
echo "ended $?" > /dev/specc.status
sync; poweroff -f
"""
_PORTS: Final = ("out", "err", "status")


@dataclass(frozen=True, slots=True)
class Done:
    """`code` is None when the command did not end: `why` says what happened, with the end of the console."""

    code: int | None
    out: str
    err: str
    seconds: float
    why: str = ""


def missing_here() -> str:
    """What keeps machines from running here; empty when nothing does."""
    if os.geteuid() != 0:
        return "virtiofsd needs root"
    wanted = {_QEMU: "qemu-system-x86", "busybox": "busybox-static", "depmod": "kmod", "zstd": "zstd"}
    lacking = [package for command, package in wanted.items() if _which(command) is None]
    if not any(map(os.path.exists, _VIRTIOFSD)):
        lacking.append("virtiofsd (qemu-system-common)")
    return f"not installed: {', '.join(lacking)}" if lacking else ""


def _which(command: str) -> str | None:
    return shutil.which(command, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def boot(
    kernel: Kernel, command: Sequence[str], *, patience: float, env: Mapping[str, str] | None = None, cpus: int = 2
) -> Done:
    """Run `command` as root inside, in this process's directory. It is stopped after `patience` seconds."""
    initrd = _initrd(kernel)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="specc-machine-") as folder, contextlib.ExitStack() as stack:
        job = Path(folder)
        job.chmod(0o755)
        exports = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/root"), **(env or {})}
        lines = [f"cd {shlex.quote(os.getcwd())}", *(f"export {k}={shlex.quote(v)}" for k, v in exports.items())]
        (job / "command.sh").write_text("\n".join([*lines, f"exec {shlex.join(command)}", ""]))
        stack.enter_context(_virtiofsd(job))
        qemu = stack.enter_context(_running([_QEMU, *_qemu_options(kernel, initrd, job, cpus)], job / "qemu"))
        try:
            qemu.wait(patience)
            why = "" if qemu.returncode == 0 else f"qemu ended with {qemu.returncode}"
        except subprocess.TimeoutExpired:
            why = f"not done after {patience:.0f} s"
        return _done(job, why, time.monotonic() - started)


def _done(job: Path, why: str, seconds: float) -> Done:
    def read(name: str) -> str:
        path = job / name
        return path.read_text(errors="replace") if path.exists() else ""

    ended = re.search(r"^ended (\d+)", read("status"), re.MULTILINE)
    code = int(ended[1]) if ended else None
    if code is None:
        said = [part for part in (why, read("qemu").strip(), read("console").strip()[-3000:]) if part]
        why = "\n".join(said) or "the kernel went off without a word"
    return Done(code, read("out"), read("err"), seconds, why)


@contextlib.contextmanager
def _running(argv: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with the block, and with this process, however it ends."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *argv], stdin=subprocess.DEVNULL, stdout=file, stderr=file
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def _virtiofsd(job: Path) -> Iterator[None]:
    program = next(path for path in _VIRTIOFSD if os.path.exists(path))
    socket, log = job / "virtiofs", job / "virtiofsd"
    # The default sandbox needs namespaces that a container may not have.
    options = ["-o", "source=/", "-o", "cache=always", "-o", "sandbox=chroot", "-f"]
    with _running([program, f"--socket-path={socket}", *options], log) as process:
        until = time.monotonic() + 20
        while not socket.exists():
            if process.poll() is not None or time.monotonic() > until:
                raise Unavailable(f"virtiofsd does not start: {log.read_text(errors='replace').strip()}")
            time.sleep(0.01)
        yield


def _qemu_options(kernel: Kernel, initrd: Path, job: Path, cpus: int) -> list[str]:
    # One thread for all of a machine's processors: with one each, qemu now and then runs a kernel's code while the kernel
    # patches it, and Linux 7.2 fell over a breakpoint of its own that was gone already. Two machines keep two cores busy.
    ports: list[str] = []
    for name in _PORTS:
        ports += ["-chardev", f"file,id={name},path={job}/{name}"]
        ports += ["-device", f"virtserialport,chardev={name},name=specc.{name}"]
    return [
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-machine", "q35",
        "-accel", "tcg,thread=single", "-cpu", "max", "-smp", str(cpus), "-m", _MEMORY,
        "-kernel", str(kernel.image), "-initrd", str(initrd),
        "-append", f"console=ttyS0 quiet panic=-1 specc.job={job} specc.root={kernel.root} ",
        "-serial", f"file:{job}/console", "-device", "virtio-serial-pci", *ports,
        "-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng",
        "-object", f"memory-backend-memfd,id=memory,size={_MEMORY},share=on", "-numa", "node,memdev=memory",
        "-chardev", f"socket,id=virtiofs,path={job}/virtiofs",
        "-device", "vhost-user-fs-pci,chardev=virtiofs,tag=host",
    ]  # fmt: skip


# --- the initial file system ------------------------------------------------------------------------------------------


def _initrd(kernel: Kernel) -> Path:
    """busybox, the modules that reach the root file system, and the first process; made once per kernel."""
    busybox = _which("busybox")
    if busybox is None:
        raise Unavailable("busybox is not installed")
    program = Path(busybox).read_bytes()
    key = hashlib.sha256(_INIT.encode() + program).hexdigest()[:12]
    path = kernel.root / f"initrd-{key}.gz"
    if not path.exists():
        modules = _modules(kernel)
        files = {
            "bin/busybox": program,
            "init": _INIT.encode(),
            "modules/order": "".join(f"{n}\n" for n in modules).encode(),
        }
        files |= {f"modules/{name}": data for name, data in modules.items()}
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        temporary.write_bytes(gzip.compress(_archive(files), 1))
        temporary.replace(path)
    return path


def _modules(kernel: Kernel) -> dict[str, bytes]:
    """Those of `_MODULES` that are not built in, with what they depend on, in the order of loading."""
    folder = kernel.root / "lib/modules" / kernel.release
    rows = (line.split(":", 1) for line in (folder / "modules.dep").read_text().splitlines())
    needs = {path: depends.split() for path, depends in rows}
    by_name = {re.sub(r"\.ko(\.\w+)?$", "", os.path.basename(path)).replace("-", "_"): path for path in needs}
    order: dict[str, None] = {}

    def need(path: str) -> None:
        for other in needs[path]:
            need(other)
        order.setdefault(path)

    for name in _MODULES:
        if name in by_name:
            need(by_name[name])
    return {re.sub(r"\.ko\.\w+$", ".ko", os.path.basename(p)): decompress((folder / p).read_bytes()) for p in order}


def _archive(files: Mapping[str, bytes]) -> bytes:
    """In the kernel's format (its Documentation/driver-api/early-userspace/buffer-format.rst)."""
    folders = sorted({os.path.dirname(name) for name in files} - {""})
    entries = [(name, 0o040755, b"") for name in folders] + [(name, 0o100755, data) for name, data in files.items()]
    out = bytearray()
    for number, (name, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        out += b"070701" + "".join(f"{f:08x}" for f in fields).encode() + name.encode() + b"\0"
        out += bytes(-len(out) % 4) + data
        out += bytes(-len(out) % 4)
    return bytes(out)


def ask(kernel: Kernel) -> None:
    """Have the kernel's own BTF and the names of its functions as files; it is asked once. Raises Unavailable."""
    if kernel.btf.exists() and kernel.symbols.exists():
        return
    # A port carries bytes, but `Done` has text.
    names = "awk '$2 ~ /[tTwW]/ && NF == 3 { print $3 }' /proc/kallsyms"
    done = boot(kernel, ["sh", "-c", f"base64 -w0 /sys/kernel/btf/vmlinux && echo && {names}"], patience=180)
    btf, _, symbols = done.out.partition("\n")
    if done.code != 0 or not symbols:
        raise Unavailable(f"{kernel.release} does not tell about itself: {done.why or done.err}")
    for path, data in ((kernel.btf, base64.b64decode(btf)), (kernel.symbols, symbols.encode())):
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        temporary.write_bytes(data)
        temporary.replace(path)


def main(arguments: Sequence[str]) -> int:
    if len(arguments) < 3 or arguments[0] not in SUITES or arguments[1] != "--":
        print(f"usage: machine {'|'.join(SUITES)} -- COMMAND...", file=sys.stderr)
        return 2
    if lacking := missing_here():
        print(lacking, file=sys.stderr)
        return 3
    try:
        done = boot(get_kernel(arguments[0]), arguments[2:], patience=600)
    except Unavailable as problem:
        print(problem, file=sys.stderr)
        return 3
    sys.stdout.write(done.out)
    sys.stderr.write(done.err + (f"{done.why}\n" if done.why else ""))
    print(f"[{done.seconds:.1f} s]", file=sys.stderr)
    return 125 if done.code is None else done.code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What works on this machine, found out by trying.

In: nothing but the machine.  Out: checks, each with what it affects and how to mend it.

    for check in examine("clang"): print(check.name, check.works, check.detail)
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from typing import Final

from specc.diagnostics import Stop
from specc.libbpf import LibbpfError, Library
from specc.noun import dataclass
from specc.run.kernel_target import BTF, has_probes
from specc.run.system import missing_capabilities, pmu
from specc.run.tracefs import find_tracefs

LOCKDOWN: Final = "/sys/kernel/security/lockdown"
_HELPERS: Final = {"bpf_probe_read_kernel": 113, "bpf_probe_read_user": 112, "bpf_get_current_cgroup_id": 80}
_RINGBUF_RESERVE, _KTIME_GET_COARSE_NS = 131, 160


@dataclass(frozen=True, slots=True)
class Check:
    """`affects` is what does not work without it, `help` how to have it; both are empty when it works.

    `needed` names the commands that cannot do anything without it.
    """

    name: str
    works: bool
    detail: str
    affects: str = ""
    help: str = ""
    needed: tuple[str, ...] = ()


def _check(name: str, works: bool, detail: str, affects: str, help: str = "", needed: tuple[str, ...] = ()) -> Check:
    return Check(name, works, detail, "" if works else affects, "" if works else help, needed)


def examine(compiler: str | None) -> list[Check]:
    """Every check, in an order that a person reads. `compiler` is what --compiler asks for."""
    checks = [_compiler(compiler), _kernel(), _btf()]
    library: Library | None = None
    try:
        library = Library()
    except Stop as problem:
        d = problem.diagnostic
        checks.append(_check("libbpf", False, d.message, "run", d.help or "", ("run",)))
    else:
        version = ".".join(map(str, library.version))
        checks.append(_check("libbpf", True, version, "", needed=("run",)))
    missing = missing_capabilities()
    checks.append(
        _check("capabilities", not missing, f"missing: {', '.join(missing)}" if missing else "enough to load and attach",
               "run", "run as root, or give the process these capabilities", ("run",))
    )  # fmt: skip
    if library is not None:
        try:
            checks += _features(library) if not missing else []
            checks += _attach_modes(library if not missing else None)
        finally:
            library.close()
    checks += [_tracefs(), _lockdown(), _columns()]
    return checks


def _compiler(request: str | None) -> Check:
    from specc.compiler.find import find_compiler

    try:
        found = find_compiler(request)
    except Stop as problem:
        d = problem.diagnostic
        return _check("compiler", False, d.message, "build; run of a spec (an object runs)", d.help or "", ("build",))
    return _check("compiler", True, f"{found.kind} {found.version}, {found.path}", "", needed=("build",))


def _kernel() -> Check:
    system = os.uname()
    fine = system.sysname == "Linux" and system.machine == "x86_64"
    return _check("kernel", fine, f"{system.sysname} {system.release} {system.machine}",
                  "run: specc knows the calling convention of x86-64 only", "", ("run",))  # fmt: skip


def _btf() -> Check:
    return _check(
        "BTF", os.path.exists(BTF), BTF if os.path.exists(BTF) else "this kernel describes no types",
        "fentry, fexit, raw_tracepoint; ppid, mntns, pidns; prototypes from the running kernel",
        "name headers or a `prototype:` in the spec; or a kernel with CONFIG_DEBUG_INFO_BTF",
    )  # fmt: skip


def _features(library: Library) -> Iterator[Check]:
    kprobe, uprobe = has_probes("kprobe"), has_probes("uprobe")
    programs = library.has_program_type("kprobe")
    yield _check("kprobes", kprobe and programs, "" if kprobe else "the kernel was built without CONFIG_KPROBES",
                 "kprobe, kretprobe, ksyscall, kretsyscall", "a kernel of a distribution has them")  # fmt: skip
    yield _check("uprobes", uprobe and programs, "" if uprobe else "the kernel was built without CONFIG_UPROBE_EVENTS",
                 "uprobe, uretprobe", "a kernel of a distribution has them")  # fmt: skip
    yield _check("any probe", programs and (kprobe or uprobe), "" if programs else "programs for probes do not load",
                 "run", "", ("run",))  # fmt: skip
    tracing = os.path.exists(BTF) and library.has_program_type("tracing")
    yield _check("trampolines", tracing, "" if tracing else "the kernel does not load programs of type tracing",
                 "fentry, fexit", "use kprobe and kretprobe")  # fmt: skip
    points = os.path.exists(BTF) and library.has_tracepoints()
    yield _check("tracepoints", points, "" if points else "the kernel does not load programs for tracepoints by BTF",
                 "raw_tracepoint", "a kernel from 5.5 on with CONFIG_DEBUG_INFO_BTF has them")  # fmt: skip
    ways = [w for w, there in (("fentry and fexit", tracing), ("kprobe and kretprobe", kprobe)) if there]
    yield _check("function", bool(ways), f"by {', else by '.join(ways)}" if ways else "neither trampolines nor kprobes",
                 "`function:` probes")  # fmt: skip
    lacking = [name for name, number in _HELPERS.items() if not library.has_helper("kprobe", number)]
    yield _check("helpers", not lacking, f"missing: {', '.join(lacking)}" if lacking else ", ".join(_HELPERS),
                 "specs that read memory, or the cgroup", "a kernel from 5.5 on has them")  # fmt: skip
    ring = library.has_map_type("ringbuf") and library.has_helper("kprobe", _RINGBUF_RESERVE)
    yield _check("ring buffer", ring, "", "`buffer: {ring: SIZE}`, which is the default",
                 "write `buffer: {perf: 64}`; kernels from 5.8 on have it")  # fmt: skip
    perf = library.has_map_type("perf_event_array")
    yield _check("perf buffer", perf, "", "`buffer: {perf: PAGES}`")
    yield _memlock(library)


def _memlock(library: Library) -> Check:
    if library.has_helper("kprobe", _KTIME_GET_COARSE_NS):  # as libbpf asks: it came when maps left RLIMIT_MEMLOCK
        return _check("locked memory", True, "this kernel does not count maps as locked memory", "")
    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    plenty = hard in (resource.RLIM_INFINITY, -1) or hard >= 64 << 20
    shown = "unlimited" if soft in (resource.RLIM_INFINITY, -1) else f"{soft >> 10} KiB"
    return _check("locked memory", plenty, shown, "specs with large buffers", "ulimit -l unlimited")


def _attach_modes(library: Library | None) -> Iterator[Check]:
    links = False
    if library is not None:
        try:
            links = library.has_perf_links()
        except LibbpfError:
            links = False
    tracefs = find_tracefs()
    for kind in ("kprobe", "uprobe"):
        if not has_probes(kind):
            continue
        modes = []
        if pmu(kind) is not None:
            modes += ["link", "perf"] if links else ["perf"]
        if tracefs is not None and os.access(f"{tracefs}/{kind}_events", os.W_OK):
            modes.append("legacy")
        yield _check(f"attaching {kind}s", bool(modes), ", ".join(modes) or "neither a PMU nor tracefs",
                     f"{kind} and its return", "mount -t tracefs tracefs /sys/kernel/tracing")  # fmt: skip


def _tracefs() -> Check:
    where = find_tracefs()
    return _check("tracefs", where is not None, where or "not mounted, or not for us",
                  "--attach legacy; arguments of system calls; telling why a function cannot be traced",
                  "mount -t tracefs tracefs /sys/kernel/tracing")  # fmt: skip


def _columns() -> Check:
    from specc.events.writers import require

    try:
        require("parquet")
    except Stop as problem:
        d = problem.diagnostic
        return _check("columns", False, d.message, "run --format arrow, parquet; JSON lines are written slower",
                      d.help or "")  # fmt: skip
    return _check("columns", True, "numpy and pyarrow", "")


def _lockdown() -> Check:
    try:
        with open(LOCKDOWN, encoding="ascii") as file:
            text = file.read().strip()
    except OSError:
        return _check("lockdown", True, "none", "")
    chosen = text.partition("[")[2].partition("]")[0]
    return _check("lockdown", chosen != "confidentiality", chosen,
                  "every probe on the kernel: its memory may not be read", "boot without lockdown=confidentiality")  # fmt: skip

"""What is run inside a kernel: the specs, the objects that both compilers make of them, and the runs, in their order.

In: a kernel, a directory.  Out: `Plan`, with a file that `guest` performs.

    plan = make_plan(get_kernel("6.12"), Path("/tmp/x"))
    plan.skipped["vma_merge"]            # "no such function in the BTF of 6.12.57+deb13-cloud-amd64"

The prototypes come from that kernel's own BTF, so the same few lines of spec read `locked` from the stack or from r9.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from command import specc
from kernel_sources import Unavailable

from kernels import everywhere, members
from kernels.everywhere import Everywhere
from kernels.functions import CASES, FUNCTIONS, TRIGGERS
from kernels.gallery import Gallery, build_gallery
from kernels.packages import Kernel
from specc.btf import open_btf
from specc.diagnostics import Stop
from specc.prototype import Prototype, Void, bare

MODES: Final = ("link", "perf", "legacy")
COMPILERS: Final = ("clang", "zig")
_NO_LINKS: Final = ("5.10",)  # for perf events they came with 5.15

# fentry and fexit: kernels refuse what their trampolines cannot hand over; these are taken by all four, ...
SIMPLE_TRAMPOLINES: Final = ("vfs_fallocate", "do_sendfile", "ep_loop_check_proc")
# ... these, with structs in registers, from 6.1 on, and these, with more than six words, from 6.12 on.
STRUCT_TRAMPOLINES: Final = ("security_path_chown", "from_kuid_munged", "tcp_setsockopt")
WIDE_TRAMPOLINES: Final = (
    "__get_user_pages", "do_futex", "do_mmap", "ip_make_skb", "ip_append_data", "inet_netconf_fill_devconf",
    "process_vm_rw", "fsnotify", "do_ip_getsockopt", "vma_modify_flags_uffd",
)  # fmt: skip

USER_HEADER: Final = """\
struct pair { long x; int y; };
struct big { long v[5]; };
long user_spill(int a, long b, signed char c, unsigned short d, long e, struct pair p, unsigned char late,
                struct big big, short s);
long user_recurse(long depth, long number);
"""
SYSCALLS: Final = {
    "futex": "long futex(unsigned int *uaddr, int op, unsigned int val, const void *utime, unsigned int *uaddr2, unsigned int val3)",
    "process_vm_writev": "long process_vm_writev(int pid, const void *lvec, unsigned long liovcnt, const void *rvec, unsigned long riovcnt, unsigned long flags)",
    "sendfile64": "long sendfile64(int out_fd, int in_fd, long long *offset, unsigned long count)",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """`runs` is what the guest reads. `functions` are probed, `skipped` says of the others why not.

    `everywhere` has the objects that are the same for all kernels, or says why there are none.
    """

    kernel: Kernel
    file: Path
    runs: tuple[Mapping[str, Any], ...]
    functions: Mapping[str, Prototype]
    trampolines: tuple[str, ...]
    skipped: Mapping[str, str]
    everywhere: Everywhere | str
    gallery: Gallery


def compile_triggers(folder: Path) -> Path:
    """Raises Unavailable."""
    program = folder / "triggers"
    source = Path(__file__).with_name("triggers.c")
    argv = ["gcc", "-O2", "-static", "-pthread", "-o", str(program), str(source)]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise Unavailable(f"gcc: {problem}") from None
    if done.returncode != 0:
        raise Unavailable(f"gcc does not compile {source.name}: {done.stderr.strip().splitlines()[-1]}")
    return program


def make_plan(kernel: Kernel, folder: Path, triggers: Path, everywhere: Everywhere | str) -> Plan:
    """Write the specs, build them, write the plan. Raises Unavailable; AssertionError when a spec does not build."""
    functions, skipped = _prototypes(kernel)
    trampolines = tuple(name for name in _trampolines(kernel.series) if name in functions)
    specs = folder / "specs"
    specs.mkdir()
    (specs / "user.h").write_text(USER_HEADER)
    names: dict[str, list[Mapping[str, Any]]] = {
        "functions": _functions(functions),
        "trampolines": [
            {"name": f"{name}{suffix}", kind: name, "args": [*_names(functions[name]), *_result(functions[name], suffix)]}
            for name in trampolines
            for kind, suffix in (("fentry", ""), ("fexit", "_ret"))
        ],
        "user": _user(triggers),
        "syscalls": [
            {"name": f"{name}{suffix}", kind: name, "prototype": prototype,
             "args": [*_parameters(prototype), *(["return"] if suffix else [])]}
            for name, prototype in SYSCALLS.items()
            for kind, suffix in (("ksyscall", ""), ("kretsyscall", "_ret"))
        ],
        "small": _small(triggers),
        "memory": _memory(),
        "where": _where(),
        "tallies": _tallies(triggers),
        "stacks": _stacks(triggers),
        "few": _few(),
        "edges": _edges(),
        "renames": _renames(),
        "execs": [
            {"name": "execve", "kretsyscall": "execve", "prototype": "long execve(const char *filename, void *argv, void *envp)",
             "args": [{"filename": {"string": 64}}, "return"]},
        ],
    }  # fmt: skip
    for name, probes in names.items():
        _write(specs / f"{name}.yaml", name, probes)
    _write(specs / "perfbuffer.yaml", "perfbuffer", _small(triggers), buffer={"perf": 16})
    create = "int pthread_create(void *thread, const void *attributes, void *(*start)(void *), void *argument)"
    created = {"uprobe": {"path": str(triggers), "symbol": "pthread_create"}, "prototype": create,
               "args": [{"start": {"format": "symbol"}}]}  # fmt: skip
    _write(specs / "symbols.yaml", "symbols", [created], fields=["pid"])
    objects = {compiler: folder / compiler for compiler in COMPILERS}
    for compiler, out in objects.items():
        built = specc(
            "build", specs, "-o", out, "--emit", "obj", "--btf", kernel.btf, "--compiler", compiler, cwd=folder
        )
        assert built.code == 0, f"{kernel.series}, {compiler}:\n{built.err}"
    gallery = build_gallery(folder / "gallery")
    runs = [*_runs(kernel, objects, specs), *_refusals(kernel, folder, functions), *gallery.runs(kernel.series)]
    if not isinstance(everywhere, str):
        runs += _runs_of_all(kernel, everywhere)
    file = folder / "plan.json"
    file.write_text(json.dumps({"triggers": str(triggers), "runs": runs}))
    return Plan(kernel, file, tuple(runs), functions, trampolines, skipped, everywhere, gallery)


# --- what exists ------------------------------------------------------------------------------------------------------


def _prototypes(kernel: Kernel) -> tuple[dict[str, Prototype], dict[str, str]]:
    btf, symbols = open_btf(kernel.btf), set(kernel.symbols.read_text().split())
    found: dict[str, Prototype] = {}
    skipped: dict[str, str] = {}
    for name in FUNCTIONS:
        try:
            prototype = btf.prototype(name)
        except Stop:
            skipped[name] = f"no such function in the BTF of {kernel.release}"
            continue
        if name in symbols:
            found[name] = prototype
        else:
            copies = sorted(s for s in symbols if s.startswith(f"{name}.") and not s.endswith(".cold"))
            what = f"only as {', '.join(copies)}" if copies else "inlined everywhere"
            skipped[name] = f"{kernel.release} has it {what}"
    return found, skipped


def _trampolines(series: str) -> tuple[str, ...]:
    if series == "5.10":
        return SIMPLE_TRAMPOLINES
    if series == "6.1":
        return SIMPLE_TRAMPOLINES + STRUCT_TRAMPOLINES
    return SIMPLE_TRAMPOLINES + STRUCT_TRAMPOLINES + WIDE_TRAMPOLINES


# --- specs ------------------------------------------------------------------------------------------------------------


def _write(path: Path, name: str, probes: Iterable[Mapping[str, Any]], **more: Any) -> None:
    spec = {"specc": 1, "name": name, "fields": ["timestamp", "tid"], **more, "probes": list(probes)}
    if any("prototype" not in p and ("uprobe" in p or "uretprobe" in p) for p in spec["probes"]):
        spec["headers"] = ["user.h"]
    path.write_text(yaml.safe_dump(spec, sort_keys=False))


def _names(prototype: Prototype) -> list[str]:
    return [p.name for p in prototype.parameters if p.name]


def _result(prototype: Prototype, suffix: str) -> list[str]:
    return ["return"] if suffix and not isinstance(bare(prototype.result), Void) else []


def _functions(functions: Mapping[str, Prototype]) -> list[Mapping[str, Any]]:
    """Entry and return of each; without `args` an entry probe records every argument."""
    probes: list[Mapping[str, Any]] = []
    for name, prototype in functions.items():
        probes.append({"kprobe": name})
        probes.append(
            {"name": f"{name}_ret", "kretprobe": name, "args": [*_names(prototype), *_result(prototype, "_ret")]}
        )
    return probes


def _user(triggers: Path) -> list[Mapping[str, Any]]:
    spill = ["a", "b", "c", "d", "e", "p", "late", "big", "s"]
    recurse = ["depth", "number"]
    return [
        {"name": f"{symbol}{suffix}", kind: {"path": str(triggers), "symbol": symbol}, "args": args + more}
        for symbol, args in (("user_spill", spill), ("user_recurse", recurse))
        for kind, suffix, more in (("uprobe", "", []), ("uretprobe", "_ret", ["return"]))
    ]  # fmt: skip


def _small(triggers: Path) -> list[Mapping[str, Any]]:
    """A probe of each kind, and few of each."""
    return [
        {"kprobe": "vfs_fallocate"},
        {"name": "vfs_fallocate_ret", "kretprobe": "vfs_fallocate", "args": ["mode", "offset", "len", "return"]},
        *_user(triggers)[:2],
    ]


def _memory() -> list[Mapping[str, Any]]:
    """What pointers lead to: the kernel's memory and a process's, at the entry and at the return."""
    openat = "long openat(int dfd, const char *filename, int flags, unsigned short mode)"
    user = {"memory": "user"}
    return [
        {"name": "locked", "kprobe": "__get_user_pages", "args": ["start", {"locked": {"deref": True}}]},
        {"name": "opened", "kretsyscall": "openat", "prototype": openat,
         "args": [{"filename": {"string": 20}}, "return", "latency"]},
        {"name": "wrote", "kprobe": "vfs_write",
         "args": [{"buf": {"bytes": {"size": "count", "max": 16}, **user}}, {"pos": {"deref": True}}, "count"]},
        {"name": "read", "function": "vfs_read", "at": "return",
         "args": [{"buf": {"bytes": {"size": "return"}, **user}}, {"pos": {"deref": True}}, "return"]},
        {"name": "attribute", "kretprobe": "vfs_setxattr",
         "args": [{"name": {"string": 32}}, {"value": {"bytes": {"size": "size", "max": 8}}}, "size", "latency"]},
    ]  # fmt: skip


def _stacks(triggers: Path) -> list[Mapping[str, Any]]:
    """Stacks by each kind of program; no two probes of returns and entries on one function, where they see each other."""
    inner = {"path": str(triggers), "symbol": "stack_inner"}
    outer = {"path": str(triggers), "symbol": "stack_outer"}
    return [
        {"name": "read", "kprobe": "vfs_read", "args": ["count"], "where": "count == 20", "stack": "both"},
        {"name": "sent", "kretprobe": "do_sendfile", "args": ["return"], "stack": "kernel"},
        {"name": "entered", "fentry": "vfs_fallocate", "args": ["len"], "stack": "both"},
        {"name": "left", "fexit": "vfs_fallocate", "args": ["len", "return"], "stack": "kernel"},
        {"name": "called", "ksyscall": "sendfile64", "prototype": SYSCALLS["sendfile64"], "args": [], "stack": "kernel"},
        {"name": "inner", "uprobe": inner, "prototype": "long stack_inner(int fd)", "args": [], "stack": "user"},
        {"name": "outer", "uretprobe": outer, "prototype": "long stack_outer(int fd)", "args": ["return"], "stack": "user"},
    ]  # fmt: skip


def _where() -> list[Mapping[str, Any]]:
    """Conditions on registers, stack slots, results, times, the process's name and a string; by each kind of program."""
    return [
        {"name": "pinned", "kprobe": "__get_user_pages", "args": ["start"], "where": "nr_pages == 37 && locked != 0"},
        {"name": "none", "kprobe": "__get_user_pages", "args": ["start"], "where": "nr_pages == 37 && locked == 0"},
        {"name": "done", "kretprobe": "__get_user_pages", "args": ["return"],
         "where": "return == 37 && latency > 0 && nr_pages > 36"},
        {"name": "read", "function": "vfs_read", "at": "return", "args": ["count"],
         "where": 'return == 20 && comm == "triggers" && count < 21'},
        {"name": "entered", "fentry": "vfs_read", "args": ["count"], "where": 'count == 20 && comm != "other"'},
        {"name": "wrote", "kprobe": "vfs_write", "args": ["count", {"buf": {"string": 8, "memory": "user"}}],
         "where": 'startswith(buf, "The quick") && count % 7 == 1'},
        {"name": "opened", "kretsyscall": "openat", "args": [{"filename": {"string": 64}}],
         "prototype": "long openat(int dfd, const char *filename, int flags, unsigned short mode)",
         "where": 'filename == "/dev/shm/specc-memory-of-a-name" && return >= 0'},
    ]  # fmt: skip


def _few() -> list[Mapping[str, Any]]:
    """Fewer events than hits: by each kind of program, and at a return with entry arguments."""
    return [
        {"name": "entered", "kprobe": "vfs_fallocate", "args": ["len"], "limit": "2/h"},
        {"name": "done", "kretprobe": "vfs_fallocate", "args": ["len", "return"], "limit": "3/h"},
        {"name": "quick", "fentry": "vfs_fallocate", "args": ["len"], "limit": "4/h"},
        {"name": "some", "kretprobe": "vfs_fallocate", "args": ["len", "return"], "sample": "1/999999999"},
    ]  # fmt: skip


def _edges() -> list[Mapping[str, Any]]:
    """What cannot be read, by each kind of program, and a string with nothing in it."""
    nothing: dict[str, Any] = {"args": ["count", {"pos": {"deref": True}}], "where": "count == 4321"}
    stat = "long newfstatat(int dfd, const char *filename, void *statbuf, int flag)"
    empty = {"prototype": stat, "args": [{"filename": {"string": 16}}, "flag"]}
    return [
        {"name": "wrote", "kprobe": "vfs_write", **nothing},
        {"name": "wrote_ret", "kretprobe": "vfs_write", **nothing},
        {"name": "wrote_best", "function": "vfs_write", **nothing},
        {"name": "wrote_fast", "fentry": "vfs_write", **nothing},
        {"name": "read", "kretprobe": "vfs_read", "where": "count == 4320",
         "args": [{"buf": {"bytes": {"size": "return"}, "memory": "user"}}, {"pos": {"deref": True}}, "return"]},
        {"name": "opened", "kprobe": "do_sys_openat2", "args": [{"filename": {"string": 16, "memory": "user"}}],
         "where": "filename == 0xdead0000"},
        {"name": "all", "kretsyscall": "newfstatat", **empty, "where": "flag == 0x1000"},
        {"name": "empty", "kretsyscall": "newfstatat", **empty, "where": 'flag == 0x1000 && filename == ""'},
        {"name": "other", "kretsyscall": "newfstatat", **empty, "where": 'flag == 0x1000 && filename != ""'},
        {"name": "early", "ksyscall": "newfstatat", **empty, "where": 'flag == 0x1000 && filename == ""'},
    ]  # fmt: skip


def _renames() -> list[Mapping[str, Any]]:
    prctl = "long prctl(int option, const char *arg2, unsigned long arg3, unsigned long arg4, unsigned long arg5)"
    return [
        {"name": "prctl", "kretsyscall": "prctl", "prototype": prctl, "args": ["option", "arg2", "return", "latency"]}
    ]


def _tallies(triggers: Path) -> list[Mapping[str, Any]]:
    """What is counted in the kernel: each function, with keys of each kind, by each kind of program."""
    recurse, spill = ({"path": str(triggers), "symbol": symbol} for symbol in ("user_recurse", "user_spill"))
    return [
        {"name": "lengths", "kprobe": "vfs_fallocate", "aggregate": {"sum": "len", "by": ["comm", "mode"], "every": "100ms"}},
        {"name": "mean", "kprobe": "vfs_fallocate", "aggregate": {"avg": "len"}},
        {"name": "took", "kretprobe": "vfs_fallocate", "aggregate": {"hist": "latency", "by": ["return"]}},
        {"name": "longest", "function": "vfs_fallocate", "at": "return", "args": ["len", "return"],
         "aggregate": {"max": "len", "by": ["return"]}},
        {"name": "named", "kretprobe": "vfs_setxattr", "args": [{"name": {"string": 32}}],
         "aggregate": {"count": True, "by": ["name", "comm"]}},
        {"name": "depths", "uprobe": recurse, "aggregate": {"sum": "number", "by": ["depth"], "every": "100ms"}},
        {"name": "deepest", "uretprobe": recurse, "aggregate": {"max": "return", "by": ["comm"]}},
        {"name": "least", "uprobe": spill, "aggregate": {"min": "e", "by": ["comm"]}},
        {"name": "spread", "uprobe": recurse, "aggregate": {"hist": "number"}},
        {"name": "steps", "uprobe": recurse,
         "aggregate": {"lhist": {"value": "depth", "min": 0, "max": 40, "step": 8}, "by": ["comm"]}},
        {"name": "few", "uprobe": recurse, "aggregate": {"count": True, "by": ["depth"], "keys": 8}},
    ]  # fmt: skip


def _parameters(prototype: str) -> list[str]:
    inside = prototype[prototype.index("(") + 1 : prototype.rindex(")")]
    return [parameter.replace("*", " ").split()[-1] for parameter in inside.split(",")]


# --- runs -------------------------------------------------------------------------------------------------------------


def _runs(kernel: Kernel, objects: Mapping[str, Path], specs: Path) -> list[dict[str, Any]]:
    """Objects of both compilers, and with each way to attach."""
    runs: list[dict[str, Any]] = []

    def run(name: str, what: str, *more: str, triggers: Sequence[str] = (), **options: Any) -> None:
        arguments = ["run", what, "--format", "jsonl", *more]
        runs.append({"name": name, "arguments": arguments, "triggers": list(triggers), **options})

    def object_of(spec: str, compiler: str) -> str:
        return str(objects[compiler] / f"{spec}.bpf.o")

    pid = ("--pid", "{pid}")
    modes = [mode for mode in MODES if not (mode == "link" and kernel.series in _NO_LINKS)]
    for mode in modes:
        # With two modes or with three, each compiler's object has its turn in both specs.
        one, other = ("zig", "clang") if mode == "perf" else ("clang", "zig")
        end = "process" if mode == "legacy" else "interrupt"
        run(f"functions-{mode}", object_of("functions", one), "--attach", mode, *pid, triggers=TRIGGERS, end=end)
        run(f"user-{mode}", object_of("user", other), "--attach", mode, *pid, triggers=["user"], end=end)
    if "link" not in modes:
        run("no-link", object_of("small", "clang"), "--attach", "link", "--dry-run")
    used = [c.trigger for c in CASES if c.function in _trampolines(kernel.series)]
    run("trampolines", object_of("trampolines", "zig"), *pid, triggers=[*dict.fromkeys(used), "epoll"])
    run("syscalls", object_of("syscalls", "clang"), *pid, triggers=["futex", "vmwrite", "sendfile"])
    run("memory", object_of("memory", "clang"), *pid, triggers=["mlock", "memory", "xattr"])
    run("memory-zig", object_of("memory", "zig"), *pid, triggers=["mlock", "memory", "xattr"])
    run("stacks", object_of("stacks", "clang"), *pid, triggers=["stack", "sendfile"])
    run("symbols", object_of("symbols", "zig"), *pid, "--format", "table", triggers=["threads"])
    run("stacks-zig", object_of("stacks", "zig"), *pid, triggers=["stack", "sendfile"])
    run("where", object_of("where", "clang"), *pid, triggers=["mlock", "memory"])
    for compiler in COMPILERS:
        run(
            f"tallies-{compiler}",
            object_of("tallies", compiler),
            *pid,
            triggers=["fallocate", "xattr", "user", "fallocate"],
        )
    run("few", object_of("few", "zig"), "--comm", "triggers", triggers=["fallocate"] * 7)
    run("edges", object_of("edges", "clang"), *pid, triggers=["edges"])
    run("edges-zig", object_of("edges", "zig"), *pid, triggers=["edges"])
    run("renames", object_of("renames", "clang"), "--comm", "triggers", triggers=["renames"])
    run("execs", object_of("execs", "zig"), triggers=["exec"])
    run("cgroup", object_of("small", "clang"), "--cgroup", "specc", triggers=["fallocate"], cgroup="specc")
    run("no-cgroup", object_of("small", "zig"), "--cgroup", "specc/other", triggers=["fallocate"], cgroup="specc")
    run("perfbuffer", object_of("perfbuffer", "zig"), *pid, triggers=["fallocate", "user"])
    # The whole command as a user types it: the spec is built inside, from the running kernel's BTF, for all processes.
    run("whole", str(specs / "small.yaml"), triggers=["fallocate"], own=True)
    run("killed", object_of("small", "clang"), "--attach", "legacy", triggers=["fallocate"], end="kill")
    run("after-killed", object_of("small", "clang"), "--attach", "legacy", *pid, triggers=["firstbyte", "fallocate"])
    run("dry", object_of("small", "zig"), "--dry-run")
    return runs


def _refusals(kernel: Kernel, folder: Path, functions: Mapping[str, Prototype]) -> list[dict[str, Any]]:
    """Probes that cannot be: each in a spec of its own, built here if it builds at all."""
    wanted: dict[str, dict[str, Any]] = {
        "refused-missing": {"kprobe": "specc_no_such_function", "args": []},
        "refused-blacklisted": {"kprobe": "do_int3", "args": []},
        "refused-notrace": {"kprobe": "ring_buffer_lock_reserve", "args": []},
        "refused-fexit-struct": {"fexit": "timespec64_add_safe"},
        "refused-fentry-large": {"fentry": "rtc_tm_to_ktime"},
    }
    if "rtnl_fill_ifinfo" not in functions:
        wanted["refused-isra"] = {"kprobe": "rtnl_fill_ifinfo"}
    if kernel.series in ("5.10", "6.1"):
        wanted["refused-fentry-wide"] = {"fentry": "do_futex"}
    if kernel.series == "5.10":
        wanted["refused-fentry-struct"] = {"fentry": "from_kuid_munged"}
    specs, out = folder / "refused", folder / "refused-objects"
    specs.mkdir()
    runs: list[dict[str, Any]] = []
    for name, probe in wanted.items():
        path = specs / f"{name.replace('-', '_')}.yaml"
        _write(path, path.stem, [probe])
    # One build for all; those that do not build are run from the spec, and refused when it is compiled inside.
    specc("build", specs, "-o", out, "--emit", "obj", "--btf", kernel.btf, "--compiler", "clang", cwd=folder)
    for name in wanted:
        stem = name.replace("-", "_")
        built = out / f"{stem}.bpf.o"
        what = built if built.exists() else specs / f"{stem}.yaml"
        runs.append({"name": name, "arguments": ["run", str(what), "--dry-run", "--output-format", "concise"]})
    return runs


def bpftool() -> str | None:
    return shutil.which("bpftool", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _runs_of_all(kernel: Kernel, built: Everywhere) -> list[dict[str, Any]]:
    """Of objects that were built once, for all kernels; each kernel is given the very same files."""
    runs: list[dict[str, Any]] = []

    def run(name: str, *triggers: str, more: Sequence[str] = (), **options: Any) -> None:
        arguments = ["run", str(built.objects[name]), "--format", "jsonl", "--pid", "{pid}", *more]
        runs.append({"name": name, "arguments": arguments, "triggers": list(triggers), "sum": True, **options})

    run("one-clang", *everywhere.TRIGGERS)
    run("one-zig", *everywhere.TRIGGERS, end="process")
    run("trampolines-of-all", *everywhere.TRIGGERS)
    run("elsewhere", "mlock", more=["-v"])
    run("lacking", "mlock")
    run("names", "mlock", more=["-v"])
    run("constant", "mlock")
    run("unforeseen", "mlock")
    run("isra", "link")
    run("fields-clang", "fields")
    run("fields-zig", "fields")
    run("members-clang", *members.TRIGGERS)
    run("members-zig", *members.TRIGGERS)
    for name in ("tracepoints-clang", "tracepoints-zig"):
        command = ["run", str(built.objects[name]), "--format", "jsonl"]
        runs.append({"name": name, "arguments": command, "triggers": ["tracepoints"], "sum": True})
    if kernel.series != "5.10":
        run("module", "tun", modules=[everywhere.MODULE])
    loader = bpftool()
    for name in ("guard-old", "guard-new") if loader is not None else ():
        pins = f"/sys/fs/bpf/{name}"
        command = [loader, "prog", "loadall", str(built.objects[name]), pins]
        runs.append({"name": name, "command": command, "pins": pins})
    return runs

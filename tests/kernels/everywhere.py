"""One object for all four kernels: functions that they declare differently, and what each must have shown.

In: the four kernels.  Out: objects that were built once, for any of them; cases as `functions` has them.

    built = build_everywhere(Path("/tmp/x"), kernels)
    built.objects["one-clang"]           # its places are set before it is loaded, from the running kernel's BTF
    built.skipped["hugetlb_file_setup"]  # "7.2.13+deb14-cloud-amd64 declares no argument `creat_flags`"

Which argument is where on which kernel is nowhere in these tests: a spec has names, a trigger passes values.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import yaml
from command import specc

from kernels import fields, members, tracepoints
from kernels.functions import PAGE, Case, Events, Facts, check_case
from kernels.packages import Kernel, decompress
from specc.abi import place_arguments
from specc.btf import open_btf
from specc.fit import Need, fit
from specc.prototype import Prototype

MODULE: Final = "tun"


@dataclass(frozen=True, slots=True)
class Function:
    """What a spec records of a function: `optional` arguments are missing on some of the kernels."""

    args: tuple[str, ...]
    optional: tuple[str, ...] = ()
    result: bool = True


def _function(args: str, optional: str = "", *, result: bool = True) -> Function:
    return Function(tuple(args.split()), tuple(optional.split()), result)


# vfs_mkdir's result is another type on some kernels, and a null is no `int`.
FUNCTIONS: Final = {
    "__get_user_pages": _function("start nr_pages pages locked", "vmas"),
    "pin_user_pages_remote": _function("start nr_pages locked", "vmas"),
    "do_mmap": _function("addr len prot flags pgoff uf", "vm_flags"),
    "mlock_fixup": _function("start end", result=False),
    "mprotect_fixup": _function("start end newflags", "tlb vmi"),
    "change_protection": _function("start end", "newprot", result=False),
    "do_brk_flags": _function("addr len"),
    "futex_requeue": _function("uaddr1 uaddr2 nr_wake nr_requeue cmpval requeue_pi", "flags flags1 flags2"),
    "futex_wake": _function("uaddr nr_wake bitset", "pop"),
    "hugetlb_file_setup": _function("size creat_flags page_size_log", "user", result=False),
    "do_truncate": _function("dentry length time_attrs filp"),
    "notify_change": _function("dentry attr"),
    "setattr_prepare": _function("dentry attr"),
    "shmem_setattr": _function("dentry attr"),
    "vfs_setxattr": _function("dentry name value size flags"),
    "__vfs_setxattr": _function("dentry inode name value size flags"),
    "shmem_xattr_handler_set": _function("unused inode value size flags", "mnt_userns idmap"),
    "security_inode_setxattr": _function("dentry name value size flags"),
    "vfs_getxattr": _function("size"),
    "vfs_mknod": _function("dir dentry mode dev"),
    "shmem_mknod": _function("dir dentry mode dev"),
    "vfs_mkdir": _function("dir dentry mode", result=False),
    "shmem_rename2": _function("old_dir old_dentry new_dir new_dentry flags"),
    "inode_permission": _function("inode mask"),
    "generic_permission": _function("inode mask"),
    "may_open": _function("acc_mode flag"),
    "shmem_getattr": _function("path stat request_mask query_flags"),
    "udp_recvmsg": _function("len flags", "noblock"),
    "__skb_recv_udp": _function("flags off err", "noblock", result=False),
    "tcp_recvmsg": _function("len flags", "nonblock"),
    "dev_ioctl": _function("cmd need_copyout", "data"),
    "n_tty_ioctl": _function("cmd arg", "file"),
}
# By fentry and fexit too: few enough words for 5.10, no structs by value.
TRAMPOLINES: Final = ("do_truncate", "setattr_prepare", "vfs_mknod", "inode_permission", "may_open", "n_tty_ioctl")
MODULE_FUNCTIONS: Final = {"__tun_chr_ioctl": _function("cmd arg ifreq_len")}


def _handed(*names: str, by: str, under: str = "") -> Any:
    """These arguments are those of a call of `by` in the same thread, the last before this one."""

    def check(event: Mapping[str, Any], facts: Facts, events: Events) -> None:
        before = [e for e in events.get(by, ()) if e["tid"] == event["tid"] and e["timestamp"] < event["timestamp"]]
        if not before and by not in events:
            return  # that function is not the same everywhere by now, and was left out
        assert before, f"no call of {by} before {event}"
        for name in names:
            assert event[name] == before[-1][under or name] != 0, f"{name} of {event} is not that of {before[-1]}"

    return check


def _reads(event: Mapping[str, Any], facts: Facts, events: Events) -> None:
    assert event["newflags"] & 7 == 1, event  # VM_READ, VM_WRITE, VM_EXEC


def _blocking(without: str, *pointers: str) -> Any:
    """MSG_DONTWAIT is an argument of its own on some kernels, and a bit of the flags on others: never both or none."""

    def check(event: Mapping[str, Any], facts: Facts, events: Events) -> None:
        assert (event[without], event["flags"]) in ((None, 0x42), (0x40, 2), (1, 2)), event
        _kernel_pointer(*pointers)(event, facts, events)

    return check


def _queried(event: Mapping[str, Any], facts: Facts, events: Events) -> None:
    assert event["query_flags"] & 0xFFFFFF == 0x4000, event  # newer kernels have a flag of their own above
    _kernel_pointer("path", "stat")(event, facts, events)


def _different(event: Mapping[str, Any], facts: Facts, events: Events) -> None:
    assert event["old_dir"] == event["new_dir"] != 0 and 0 != event["old_dentry"] != event["new_dentry"] != 0, event


def _pinned(event: Mapping[str, Any], facts: Facts, events: Events) -> None:
    """`locked` is handed on."""
    handed = [e["locked"] for e in events["pin_user_pages_remote"] if e["start"] == event["start"]]
    assert handed == [event["locked"]] != [0], f"{handed} {event}"


def _kernel_pointer(*names: str) -> Any:
    def check(event: Mapping[str, Any], facts: Facts, events: Events) -> None:
        for name in names:
            assert event[name] >> 48 >= 0xFF00, f"{name} of {event} is no pointer into the kernel"

    return check


_VALUE: Final = {"size": 0x321, "flags": 1, "return": 0}
_DEVICE: Final = {"mode": 0o20624, "dev": 0x123 << 20 | 0x45678, "return": 0}

CASES: Final = (
    Case("__get_user_pages", "mlock", "locked", ("start",), lambda f: [
        {"start": f["addr"], "nr_pages": 37, "pages": 0, "vmas": 0, "return": 37}], also=_kernel_pointer("locked")),
    Case("__get_user_pages", "vmread", "locked", ("start",),
         lambda f: [{"start": f["page"], "nr_pages": 4, "return": 4}], also=_pinned),
    Case("pin_user_pages_remote", "vmread", "locked", ("start",),
         lambda f: [{"start": f["page"], "nr_pages": 4, "vmas": 0, "return": 4}], also=_kernel_pointer("locked")),
    Case("do_mmap", "mmap", "pgoff", ("len", "pgoff"), lambda f: [{
        "addr": 0, "len": 18000, "prot": 1, "flags": 2, "vm_flags": 0, "pgoff": 3, "return": f["result"]}],
        also=_kernel_pointer("uf")),
    Case("mlock_fixup", "mlock", "end", ("start",),
         lambda f: [{"start": f["addr"], "end": f["addr"] + 37 * PAGE}]),
    Case("mprotect_fixup", "mprotect", "newflags", ("start",),
         lambda f: [{"start": f["addr"], "end": f["addr"] + 3 * PAGE, "return": 0}], also=_reads),
    Case("change_protection", "mprotect", "end", ("start",),
         lambda f: [{"start": f["addr"], "end": f["addr"] + 3 * PAGE}]),
    Case("do_brk_flags", "brk", "len", ("addr",), lambda f: [{"addr": f["from"], "len": 5 * PAGE, "return": 0}]),
    Case("futex_requeue", "futex", "requeue_pi", ("uaddr1",), lambda f: [{
        "uaddr1": f["uaddr"], "uaddr2": f["uaddr2"], "nr_wake": 0x11, "nr_requeue": 0x11223344, "requeue_pi": 0,
        "return": 0}], also=_kernel_pointer("cmpval")),
    Case("futex_wake", "wake", "bitset", ("uaddr",), lambda f: [{
        "uaddr": f["uaddr"], "nr_wake": 0x7654321, "bitset": 0x1BADCAFE, "pop": 0, "return": 0}]),
    Case("hugetlb_file_setup", "huge", "page_size_log", ("size",),
         lambda f: [{"size": 6 << 20, "creat_flags": 2, "page_size_log": 21}]),
    Case("do_truncate", "truncate", "length", ("length",),
         lambda f: [{"length": 0x123456789, "time_attrs": 0, "filp": 0, "return": 0}]),
    Case("notify_change", "truncate", "attr", (), lambda f: [{"return": 0}], repeats=True,
         also=_handed("dentry", by="do_truncate")),
    Case("setattr_prepare", "truncate", "attr", (), lambda f: [{"return": 0}], repeats=True,
         also=_handed("dentry", "attr", by="notify_change")),
    Case("shmem_setattr", "truncate", "attr", (), lambda f: [{"return": 0}], repeats=True,
         also=_handed("dentry", "attr", by="notify_change")),
    Case("vfs_setxattr", "xattr", "flags", ("size",), lambda f: [_VALUE],
         also=_kernel_pointer("dentry", "name", "value")),
    Case("__vfs_setxattr", "xattr", "flags", ("size",), lambda f: [_VALUE],
         also=_handed("dentry", "name", "value", by="vfs_setxattr")),
    Case("shmem_xattr_handler_set", "xattr", "flags", ("size",), lambda f: [_VALUE],
         also=_handed("inode", "value", by="__vfs_setxattr")),
    Case("security_inode_setxattr", "xattr", "flags", ("size",), lambda f: [_VALUE],
         also=_handed("dentry", "name", "value", by="vfs_setxattr")),
    Case("vfs_getxattr", "xattr", "size", ("size",), lambda f: [{"size": 0x765, "return": 0x321}]),
    Case("vfs_mknod", "mknod", "dev", ("dev",), lambda f: [_DEVICE], also=_kernel_pointer("dir", "dentry")),
    Case("shmem_mknod", "mknod", "dev", ("dev",), lambda f: [_DEVICE], also=_handed("dir", "dentry", by="vfs_mknod")),
    Case("vfs_mkdir", "mkdir", "mode", ("mode",), lambda f: [{"mode": 0o613}], also=_kernel_pointer("dir", "dentry")),
    Case("shmem_rename2", "exchange", "flags", ("flags",), lambda f: [{"flags": 2, "return": 0}], also=_different),
    Case("inode_permission", "access", "mask", ("mask",), lambda f: [{"mask": 0x17, "return": 0}],
         also=_kernel_pointer("inode")),
    Case("generic_permission", "access", "mask", ("mask",), lambda f: [{"mask": 0x17, "return": 0}],
         also=_handed("inode", by="inode_permission")),
    Case("may_open", "access", "flag", ("flag",),
         lambda f: [{"acc_mode": 4, "flag": 0o1000000 | 0o400000 | 0o100000, "return": 0}]),
    Case("shmem_getattr", "statx", "query_flags", ("request_mask",),
         lambda f: [{"request_mask": 0x304, "return": 0}], also=_queried),
    Case("udp_recvmsg", "receive", "flags", ("len",), lambda f: [{"len": 1357, "return": -11}],
         also=_blocking("noblock")),
    Case("__skb_recv_udp", "receive", "off", (), lambda f: [{}], also=_blocking("noblock", "off", "err")),
    Case("tcp_recvmsg", "receive", "flags", ("len",), lambda f: [{"len": 2468, "return": -11}],
         also=_blocking("nonblock")),
    Case("dev_ioctl", "mtu", "need_copyout", ("cmd",),
         lambda f: [{"cmd": 0x8921, "data": 0x1122334455667788, "return": 0}], also=_kernel_pointer("need_copyout")),
    Case("n_tty_ioctl", "tty", "arg", ("cmd",), lambda f: [{"cmd": 0x5ABC, "arg": 0x123456789ABCDEF0, "return": -515}]),
)  # fmt: skip
MODULE_CASE: Final = Case("__tun_chr_ioctl", "tun", "ifreq_len", ("cmd",), lambda f: [
    {"cmd": 0x800454D2, "arg": f["arg"], "ifreq_len": 40, "return": -77}])  # fmt: skip
TRIGGERS: Final = tuple(dict.fromkeys(c.trigger for c in CASES))


@dataclass(frozen=True, slots=True)
class Everywhere:
    """`objects` by name, each with the sum of its bytes; `functions` are in the object of all kernels, `skipped` are not,
    with the reason; `prototypes` are the functions' by the kernel's series."""

    objects: Mapping[str, Path]
    sums: Mapping[str, str]
    functions: Mapping[str, Function]
    skipped: Mapping[str, str]
    prototypes: Mapping[str, Mapping[str, Prototype]]


def absent_of(function: str, series: str, built: Everywhere) -> set[str]:
    """The arguments that this kernel does not declare."""
    there = {p.name for p in built.prototypes[series][function].parameters}
    return {a for a in built.functions[function].optional if a not in there}


def check(
    case: Case, series: str, built: Everywhere, suffix: str, events: Events, facts: Facts
) -> list[dict[str, Any]]:
    """The events of this case's calls, at the entry ("") or at the return ("_ret"); raises AssertionError unless every
    value is as it was passed, and null for what this kernel does not declare."""
    function, absent = built.functions[case.function], absent_of(case.function, series, built)

    def calls(facts: Facts) -> list[Mapping[str, Any]]:
        return [{n: None if n in absent else v for n, v in call.items()} for call in case.calls(facts)]

    names = frozenset({*function.args, *function.optional, *(["return"] if suffix and function.result else [])})
    here = replace(case, calls=calls, sometimes=("return",))
    found = check_case(here, f"{case.function}{suffix}", events, facts, names)
    for event in found:
        assert set(event) == {"probe", "timestamp", "tid", *names}, event
        assert {n for n in names if event[n] is None} == absent, event
    return found


def build_everywhere(folder: Path, kernels: Sequence[Kernel]) -> Everywhere:
    """Each object once. `kernels` are in the order of their age, and have told of themselves. Raises Unavailable;
    AssertionError when a spec does not build."""
    btfs = {k.series: open_btf(k.btf) for k in kernels}
    prototypes: dict[str, dict[str, Prototype]] = {k.series: {} for k in kernels}
    functions: dict[str, Function] = {}
    skipped: dict[str, str] = {}
    symbols = {k.series: Counter(k.symbols.read_text().split()) for k in kernels}
    for name, function in FUNCTIONS.items():
        found = {k.series: btfs[k.series].find(name) for k in kernels}
        why = [reason for k in kernels if (reason := _not_there(k, name, function, found[k.series], symbols[k.series]))]
        why = why or [
            r for k in kernels if (r := _unlike(k, function, found[kernels[0].series][0], found[k.series][0]))
        ]
        if why:
            skipped[name] = why[0]
            continue
        functions[name] = function
        for series, (prototype, *_) in found.items():
            prototypes[series][name] = prototype
    for kernel in kernels:
        # What a target is called tells its version, which the guard against other loaders goes by.
        (folder / f"{kernel.series}.btf").symlink_to(kernel.btf)
    every = [k.series for k in kernels]
    trampolines = {name: f for name, f in functions.items() if name in TRAMPOLINES}
    gup = {"kprobe": "__get_user_pages", "args": _args(Function(("start", "nr_pages", "locked"), ("vmas",)))}
    recipes: dict[str, tuple[str, Sequence[str], Iterable[Mapping[str, Any]]]] = {
        "one-clang": ("clang", every, _probes(functions, "kprobe", "kretprobe")),
        "one-zig": ("zig", [every[-1], *every[1:-1], every[0]], _probes(functions, "kprobe", "kretprobe")),
        "trampolines-of-all": ("clang", every[1:] + every[:1], _probes(trampolines, "fentry", "fexit")),
        "guard-old": ("clang", every, [gup]),
        "guard-new": ("zig", every[::-1], [gup]),
        "elsewhere": ("clang", every[2:3], [{"kprobe": "__get_user_pages", "args": ["start", "nr_pages", "locked"]}]),
        "tracepoints-clang": ("clang", every, tracepoints.PROBES),
        "tracepoints-zig": ("zig", every[::-1], tracepoints.PROBES),
        "fields-clang": ("clang", every, fields.PROBES),
        "fields-zig": ("zig", every[::-1], fields.PROBES),
        "members-clang": ("clang", every, members.PROBES),
        "members-zig": ("zig", every[::-1], members.PROBES),
        "names": ("clang", every, [{"kprobe": "__get_user_pages", "where": "nr_pages == 37",
                                    "args": ["nr_pages", {"gup_flags": {"flags": "FOLL_"}},
                                             {"gup_flags": {"as": "number"}}]}]),
        "constant": ("clang", every[2:3], [{"kprobe": "__get_user_pages", "args": ["nr_pages"],
                                            "where": "nr_pages == 37 && gup_flags & FOLL_TOUCH"}]),
        "lacking": ("clang", every[:1], [{"kprobe": "__get_user_pages", "args": ["start", "vmas"]}]),
        "unforeseen": ("clang", every[2:3], [gup]),
        "isra": ("clang", every[:2], [{"kprobe": "rtnl_fill_ifinfo"},
                                      {"name": "rtnl_fill_ifinfo_ret", "kretprobe": "rtnl_fill_ifinfo",
                                       "args": ["seq", "gfp", "return"]}]),
    }  # fmt: skip
    objects = {name: _build(folder, name, *recipe) for name, recipe in recipes.items()}
    with_modules = [k for k in kernels if k.series != "5.10"]  # module BTF came with 5.11
    for kernel in with_modules:
        (packed,) = kernel.root.glob(f"**/{MODULE}.ko*")
        (folder / f"{kernel.series}-{MODULE}.btf").write_bytes(decompress(packed.read_bytes()))
    named = [n for k in with_modules for n in (k.series, f"{k.series}-{MODULE}")]
    objects["module"] = _build(folder, "module", "clang", named, _probes(MODULE_FUNCTIONS, "kprobe", "kretprobe"))
    sums = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in objects.items()}
    return Everywhere(objects, sums, functions, skipped, prototypes)


def _not_there(
    kernel: Kernel, name: str, function: Function, found: Sequence[Prototype], symbols: Mapping[str, int]
) -> str:
    if len(found) != 1 or symbols.get(name, 0) != 1:
        return f"{kernel.release} has {len(found)} declarations of it, and {symbols.get(name, 0)} functions"
    missing = [a for a in function.args if a not in {p.name for p in found[0].parameters}]
    return f"{kernel.release} declares no argument `{missing[0]}`" if missing else ""


def _unlike(kernel: Kernel, function: Function, first: Prototype, other: Prototype) -> str:
    """Types that changed: sid's kernel moves."""
    types = {p.name: p.type for p in first.parameters if p.name}
    needs = [Need(name, types[name]) for name in function.args]
    if function.result:
        needs.append(Need("return", first.result))
    misfits = fit(needs, other, place_arguments(other, kernel=True)).misfits
    return f"{kernel.release}: {misfits[0].text}" if misfits else ""


def _args(function: Function) -> list[Any]:
    return [*function.args, *({name: {"optional": True}} for name in function.optional)]


def _probes(functions: Mapping[str, Function], entry: str, at_return: str) -> list[Mapping[str, Any]]:
    probes: list[Mapping[str, Any]] = []
    for name, function in functions.items():
        result = ["return"] if function.result else []
        probes.append({"name": name, entry: name, "args": _args(function)})
        probes.append({"name": f"{name}_ret", at_return: name, "args": [*_args(function), *result]})
    return probes


def _build(folder: Path, name: str, compiler: str, targets: Sequence[str], probes: Iterable[Mapping[str, Any]]) -> Path:
    stem = name.replace("-", "_")
    path = folder / f"{stem}.yaml"
    spec = {"specc": 1, "name": stem, "fields": ["timestamp", "tid"], "probes": list(probes)}
    path.write_text(yaml.safe_dump(spec, sort_keys=False))
    flags = [word for target in targets for word in ("--btf", folder / f"{target}.btf")]
    built = specc("build", path, "-o", folder / "out", "--emit", "obj", "--compiler", compiler, *flags, cwd=folder)
    assert built.code == 0, f"{name}:\n{built.err}"
    return folder / "out" / f"{stem}.bpf.o"

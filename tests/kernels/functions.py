"""What each kernel function must have shown: the arguments of calls that a trigger made, and what they returned.

In: what a trigger knows (its facts).  Out: for every call the values that the event must have, exactly.

    case = next(c for c in CASES if c.function == "do_futex")
    case.calls({"uaddr": 4096, ...})     # [{"uaddr": 4096, "op": 132, "val3": 0x5a5a1234, "return": 0, ...}]

An argument that is only named on some kernels (`vmas`) is left out where the kernel's prototype has none.
"""

from __future__ import annotations

import calendar
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

Facts = Mapping[str, Any]
Values = Mapping[str, Any]
Events = Mapping[str, list[dict[str, Any]]]  # by the probe's name, in the order of the buffer

PAGE: Final = 4096
TM: Final = {
    "tm_sec": 8, "tm_min": 7, "tm_hour": 6, "tm_mday": 5, "tm_mon": 3, "tm_year": 133, "tm_wday": 2, "tm_yday": 94,
    "tm_isdst": 77,
}  # fmt: skip
_CTX: Final = "vm_userfaultfd_ctx"


@dataclass(frozen=True, slots=True)
class Case:
    """One function under one trigger. `key` finds the events of a call among others of the same function.

    `shown` is the argument whose place is interesting. `repeats`: the kernel may make the same call more than once.
    `also` checks what is known only together: an event, the facts, all events.
    """

    function: str
    trigger: str
    shown: str
    key: tuple[str, ...]
    calls: Callable[[Facts], list[Values]]
    repeats: bool = False
    sometimes: tuple[str, ...] = ()
    also: Callable[[Mapping[str, Any], Facts, Events], None] | None = field(default=None)

    @property
    def name(self) -> str:
        return f"{self.function}-{self.trigger}"


def _same(argument: str, function: str, other: str, key: str) -> Callable[[Mapping[str, Any], Facts, Events], None]:
    """The pointer was handed on: the argument equals `other` of `function`, for the call with the same `key`."""

    def check(event: Mapping[str, Any], facts: Facts, events: Events) -> None:
        if function in events and argument in event:
            handed = [e[other] for e in events[function] if e[key] == event[key]]
            assert handed, f"no call of {function} with {key} = {event[key]}"
            assert event[argument] in handed, f"{argument} of this call is none of {function}'s {other}: {handed}"
            assert event[argument] != 0

    return check


def _sum(event: Mapping[str, Any], facts: Facts, events: Events) -> None:
    lhs, rhs = event["lhs"], event["rhs"]
    at = lhs["tv_sec"] * 10**9 + lhs["tv_nsec"]
    assert facts["before"] <= at <= facts["after"], f"lhs is not when the call was made: {lhs}, {facts}"
    if "return" in event:
        got = event["return"]
        assert got["tv_sec"] * 10**9 + got["tv_nsec"] == at + rhs["tv_sec"] * 10**9 + rhs["tv_nsec"]


def _contexts(name: str, start: str) -> Callable[[Mapping[str, Any], Facts, Events], None]:
    def check(event: Mapping[str, Any], facts: Facts, events: Events) -> None:
        probe = str(event["probe"])
        by_start = {e[start]: e[name]["ctx"] for e in events[probe] if e[name]["ctx"]}
        first, second, third = (by_start[facts[n]] for n in ("first", "second", "third"))
        assert first == second != third, f"{first:#x} {second:#x} {third:#x}"
        known = [e["ctx"] for e in events.get("userfaultfd_register", [])]
        assert not known or known == [first, second, third]

    return check


def _mlock(facts: Facts) -> list[Values]:
    return [{"start": facts["addr"], "nr_pages": 37, "pages": 0, "vmas": 0, "return": 37}]


def _getsockopt(facts: Facts) -> list[Values]:
    return [{
        "level": 0, "optname": 2, "optval": {"user": facts["optval"], "is_kernel": False},
        "optlen": {"user": facts["optlen"], "is_kernel": False}, "return": 0,
    }]  # fmt: skip


CASES: Final = (
    Case("__get_user_pages", "mlock", "locked", ("start",), _mlock, sometimes=("vmas",),
         also=_same("locked", "populate_vma_page_range", "locked", "start")),
    Case("__get_user_pages", "vmread", "locked", ("start",),
         lambda f: [{"start": f["page"], "nr_pages": 4, "return": 4}]),
    Case("populate_vma_page_range", "mlock", "locked", ("start",),
         lambda f: [{"start": f["addr"], "end": f["addr"] + 37 * PAGE, "return": 37}]),
    Case("do_futex", "futex", "val3", ("uaddr",), lambda f: [{
        "uaddr": f["uaddr"], "op": 132, "val": 0x11, "timeout": 0, "uaddr2": f["uaddr2"], "val2": 0x11223344,
        "val3": 0x5A5A1234, "return": 0}]),
    Case("do_mmap", "mmap", "pgoff", ("len", "pgoff"), lambda f: [{
        "addr": 0, "len": 18000, "prot": 1, "flags": 2, "vm_flags": 0, "pgoff": 3, "return": f["result"]}],
        sometimes=("vm_flags",), also=_same("uf", "mmap_region", "uf", "pgoff")),
    Case("ip_make_skb", "udp", "flags", ("length",),
         lambda f: [{"length": 785, "transhdrlen": 8, "flags": 0x4040}],
         also=_same("cork", "__ip_append_data", "cork", "length")),
    Case("__ip_append_data", "udp", "flags", ("length",),
         lambda f: [{"length": 785, "transhdrlen": 8, "flags": 0x4040, "return": 0}]),
    Case("ip_append_data", "cork", "flags", ("length",),
         lambda f: [{"length": 341, "transhdrlen": 8, "flags": 0x8040, "return": 0}]),
    Case("inet_netconf_fill_devconf", "netconf", "type", ("seq",), lambda f: [{
        "ifindex": 1, "portid": f["port"], "seq": 0x7E57C0DE, "event": 80, "flags": 0, "type": -1, "return": 0}]),
    Case("process_vm_rw", "vmwrite", "vm_write", ("flags",), lambda f: [{
        "pid": f["pid"], "lvec": f["from"], "liovcnt": 2, "rvec": f["to"], "riovcnt": 3, "flags": 0x1122334455667788,
        "vm_write": 1, "return": -22}]),
    Case("process_vm_rw", "vmread", "vm_write", ("rvec",), lambda f: [{
        "pid": f["pid"], "lvec": f["to"], "liovcnt": 1, "rvec": f["from"], "riovcnt": 1, "flags": 0, "vm_write": 0,
        "return": 3 * PAGE}]),
    Case("fsnotify", "rename", "cookie", ("mask", "cookie"), lambda f: [
        {"mask": 0x40, "inode": 0, "cookie": f["cookie"], "return": 0},
        {"mask": 0x80, "inode": 0, "cookie": f["cookie"], "return": 0}]),
    Case("timespec64_add_safe", "ppoll", "rhs", ("rhs",),
         lambda f: [{"rhs": {"tv_sec": 1234, "tv_nsec": 567891234}}], also=_sum),
    Case("tcp_setsockopt", "setsockopt", "optval", ("optlen",), lambda f: [{
        "level": 6, "optname": 1, "optval": {"user": f["optval"], "is_kernel": False}, "optlen": 12, "return": 0}]),
    Case("do_ip_getsockopt", "getsockopt", "optlen", ("optname",), _getsockopt),
    Case("security_path_chown", "chown", "gid", ("uid",),
         lambda f: [{"uid": {"val": 1234567}, "gid": {"val": 7654321}, "return": 0}]),
    Case("from_kuid_munged", "chown", "kuid", ("kuid",),
         lambda f: [{"kuid": {"val": 1234567}, "return": 1234567}], repeats=True),
    Case("rtc_tm_to_ktime", "rtc", "tm", ("tm",), lambda f: [
        {"tm": TM, "return": calendar.timegm((2033, 4, 5, 6, 7, 8)) * 10**9}], repeats=True),
    Case("do_pages_move", "movepages", "task_nodes", ("nodes",), lambda f: [{
        "task_nodes": {"bits": [1, *[0] * 15]}, "nr_pages": 5, "pages": f["pages"], "nodes": f["nodes"],
        "status": f["status"], "flags": 2, "return": 0}]),
    Case("vma_merge", "mprotect", "pgoff", ("addr",), lambda f: [
        {"addr": f["addr"], "end": f["addr"] + 3 * PAGE, "pgoff": 9, _CTX: {"ctx": 0}}]),
    Case("vma_merge", "uffd", _CTX, ("addr", "end"), lambda f: [
        {"addr": f[n], "end": f[n] + PAGE, "file": 0} for n in ("first", "second", "third")],
        repeats=True, also=_contexts(_CTX, "addr")),
    Case("vma_modify_flags_uffd", "uffd", "new_ctx", ("start", "end", "give_up_on_oom"), lambda f: [
        {"start": f[n], "end": f[n] + PAGE, "give_up_on_oom": False} for n in ("first", "second", "third")],
        also=_contexts("new_ctx", "start")),
    Case("rtnl_fill_ifinfo", "link", "gfp", ("seq",), lambda f: [{
        "type": 16, "pid": f["port"], "seq": 0x5EED1234, "change": 0, "flags": 0, "ext_filter_mask": 9, "event": 0,
        "new_nsid": 0, "new_ifindex": 0, "tgt_netnsid": -1, "gfp": 0xCC0, "return": 0}]),
    Case("vfs_fallocate", "fallocate", "len", ("offset",),
         lambda f: [{"mode": 1, "offset": 0x12345000, "len": 0x6789, "return": 0}]),
    Case("do_sendfile", "sendfile", "max", ("count",), lambda f: [
        {"out_fd": f["out"], "in_fd": f["in"], "count": 0x2345, "max": 0, "return": 0x2345}]),
)  # fmt: skip

# Probed for what other functions hand to them or get from them, and for recursion and threads.
OTHERS: Final = ("mmap_region", "userfaultfd_register", "ep_loop_check_proc", "ksys_read")
FUNCTIONS: Final = tuple(dict.fromkeys([*(c.function for c in CASES), *OTHERS]))
TRIGGERS: Final = tuple(dict.fromkeys([*(c.trigger for c in CASES), "epoll", "threads"]))


def check_case(case: Case, probe: str, events: Events, facts: Facts, names: frozenset[str]) -> list[dict[str, Any]]:
    """The events of this case's calls; raises AssertionError unless every value is right. `names` has the event."""
    found: list[dict[str, Any]] = []
    for call in case.calls(facts):
        wanted = {
            name: value for name, value in call.items() if name in names or name not in (*case.sometimes, "return")
        }
        mine = [e for e in events.get(probe, []) if all(differing(e.get(k), wanted[k]) is None for k in case.key)]
        seen = events.get(probe, [])
        assert mine, f"no event of {probe} with {[(k, wanted[k]) for k in case.key]} among {len(seen)}: {seen[:3]}"
        assert case.repeats or len(mine) == 1, f"{len(mine)} events for one call: {mine}"
        for event in mine:
            wrong = {n: (event.get(n, "(missing)"), v) for n, v in wanted.items() if differing(event.get(n), v)}
            assert not wrong, f"{probe}: seen and passed differ: {wrong}; the event: {event}"
            if case.also is not None:
                case.also(event, facts, events)
        found += mine
    return found


def differing(seen: Any, wanted: Any) -> str | None:
    """Why a value is not the wanted one; a struct is compared in the wanted members, wherever anonymous ones are."""
    if isinstance(wanted, Mapping):
        if not isinstance(seen, Mapping):
            return f"{seen!r} is no struct"
        for name, value in wanted.items():
            if why := differing(_member(seen, name), value):
                return f"{name}: {why}"
        return None
    if type(seen) is not type(wanted) and isinstance(seen, bool | int) and isinstance(wanted, bool | int):
        return None if int(seen) == int(wanted) else f"{seen!r} is not {wanted!r}"
    return None if seen == wanted else f"{seen!r} is not {wanted!r}"


def _member(struct: Mapping[str, Any], name: str) -> Any:
    if name in struct:
        return struct[name]
    for value in struct.values():
        if isinstance(value, Mapping) and (found := _member(value, name)) is not None:
            return found
    return None

"""Members of structs by value, in one object for all four kernels, and what they must have shown.

In: what the triggers `chown`, `ppoll`, `rtc` and `setsockopt` did.  Out: nothing, or an AssertionError.

    check(on.events("members-clang"), on.facts("members-clang"))

`kuid_t` and `kgid_t` are structs of four bytes in one register, `timespec64` takes two, `sockptr_t` has a bit-field in its
second, and `rtc_time` is on the stack.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

Events = Mapping[str, Sequence[Mapping[str, Any]]]

_OWNER: Final = [{"uid": {"field": "val", "as": "user"}}, {"gid": {"field": "val", "as": "group"}}]
_TIME: Final = [{"rhs": {"field": "tv_nsec", "as": "ns"}}, {"rhs": {"field": "tv_sec", "as": "s"}}]
_YEAR: Final = [{"tm": {"field": "tm_year", "as": "year"}}, {"tm": {"field": "tm_sec", "as": "second"}}]
PROBES: Final[tuple[Mapping[str, Any], ...]] = (
    {"name": "owner", "kprobe": "security_path_chown", "args": _OWNER, "where": "gid.val > 7654320 && uid.val != 0"},
    {"name": "owned", "kretprobe": "security_path_chown", "args": [*_OWNER, "return"], "where": "uid.val == 1234567"},
    {"name": "best", "function": "security_path_chown",
     "args": [*_OWNER, {"path": {"field": "dentry->d_name.name", "string": 8, "as": "name"}}]},
    {"name": "time", "kprobe": "timespec64_add_safe", "args": _TIME, "where": "rhs.tv_sec == 1234"},
    {"name": "timed", "kretprobe": "timespec64_add_safe", "args": _TIME, "where": "rhs.tv_nsec == 567891234"},
    {"name": "year", "kprobe": "rtc_tm_to_ktime", "args": _YEAR, "where": "tm.tm_year == 133"},
    {"name": "option", "kprobe": "tcp_setsockopt", "where": "optlen == 12",
     "args": [{"optval": {"field": "is_kernel", "as": "ours"}}, {"optval": {"field": "user", "as": "at"}}]},
)  # fmt: skip
TRIGGERS: Final = ("chown", "ppoll", "rtc", "setsockopt")


def check(events: Events, facts: Mapping[str, Mapping[str, Any]]) -> None:
    def all_are(probe: str, wanted: Mapping[str, Any]) -> None:
        assert events[probe], probe
        for event in events[probe]:
            assert {k: event[k] for k in wanted} == wanted, event

    owner = {"user": 1234567, "group": 7654321}
    all_are("owner", owner)
    all_are("owned", {**owner, "return": 0})
    all_are("best", owner)
    time = {"s": 1234, "ns": 567891234}
    all_are("time", time)
    all_are("timed", time)
    all_are("year", {"year": 133, "second": 8})
    all_are("option", {"ours": False, "at": facts["setsockopt"]["optval"]})

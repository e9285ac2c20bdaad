"""Programs on tracepoints, in one object for all four kernels, and what they must have shown.

In: what the trigger `tracepoints` did.  Out: nothing, or an AssertionError that names the event.

    check("6.12", on.events("tracepoints-clang"), on.facts("tracepoints-clang")["tracepoints"])

`mm_migrate_pages` has one parameter more from Linux 6.3 on, before two that are recorded; the compiler is told by nobody
where they are. `xen_mmu_set_pte` is handed a struct, which the verifier of 5.10 lets no program load.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

Events = Mapping[str, Sequence[Mapping[str, Any]]]

_MINE: Final = 'comm == "triggers"'
PROBES: Final[tuple[Mapping[str, Any], ...]] = (
    {"name": "enter", "raw_tracepoint": "sys_enter", "args": ["id"], "where": f"{_MINE} && (id == 110 || id >= 9999)"},
    {"name": "failed", "raw_tracepoint": "sys_exit", "args": [{"ret": {"format": "errno"}}],
     "where": f"{_MINE} && ret < 0 && ret >= -4095"},
    {"name": "large", "raw_tracepoint": "sys_exit", "args": ["ret"], "where": f"{_MINE} && ret == 0x123456789a"},
    {"name": "renamed", "raw_tracepoint": "task_rename", "args": [{"comm": {"string": 32}}],
     "where": 'startswith(comm, "a-known-")'},  # the parameter: it goes before the context field
    {"name": "signalled", "raw_tracepoint": "signal_generate", "args": ["sig", "group", "result"],
     "where": f"{_MINE} && sig == 18"},
    {"name": "executed", "raw_tracepoint": "sched_process_exec", "args": ["old_pid"], "where": 'comm == "busybox"'},
    {"name": "switched", "raw_tracepoint": "sched_switch", "args": ["preempt", {"prev_state": {"optional": True}}],
     "where": _MINE},
    {"name": "migrated", "raw_tracepoint": "mm_migrate_pages", "where": _MINE,
     "args": ["succeeded", {"large_folio_split": {"optional": True}}, {"mode": {"enum": "migrate_mode"}},
              {"reason": {"enum": "migrate_reason"}}]},
    {"name": "never", "raw_tracepoint": "xen_mmu_set_pte", "args": ["ptep", "pteval"], "where": "ptep != 0"},
)  # fmt: skip


def check(series: str, events: Events, facts: Mapping[str, Any]) -> None:
    """Events of the trigger alone: its own system calls' numbers and results, and what the kernel did for it."""
    old = series == "5.10"
    assert [e["id"] for e in events["enter"]] == [110, 9999]
    assert [e["ret"] for e in events["failed"]] == [-9, -38]
    assert [e["ret"] for e in events["large"]] == [0x123456789A]
    assert [e["comm"] for e in events["renamed"]] == ["a-known-name-wh"]
    assert [(e["sig"], e["group"], e["result"]) for e in events["signalled"]] == [(18, 1, 1)]  # it is ignored
    assert [e["old_pid"] for e in events["executed"]] == [facts["child"]]
    assert {e["prev_state"] is None for e in events["switched"]} == {old}
    # What sleeps is interruptible (1); Linux 6.1 and later set bits of their own above.
    states = [e["prev_state"] for e in events["switched"] if not e["preempt"]]
    assert old or any(state & 1 for state in states), states
    migrated = events["migrated"]
    assert {(e["mode"], e["reason"]) for e in migrated} == {("MIGRATE_SYNC", "MR_COMPACTION")}
    assert {e["large_folio_split"] is None for e in migrated} == {series in ("5.10", "6.1")}
    assert sum(e["succeeded"] for e in migrated) > 0
    assert "never" not in events

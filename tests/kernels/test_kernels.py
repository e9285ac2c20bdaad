"""What `specc run` shows on four kernels is what was passed: values of known calls, by every way to attach."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from kernels.functions import CASES, Case, check_case
from kernels.plan import COMPILERS, MODES, SYSCALLS, WIDE_TRAMPOLINES
from kernels.results import Results

pytestmark = pytest.mark.slow


def _mode(on: Results, run: str) -> None:
    if not any(r["name"] == run for r in on.plan.runs):
        pytest.skip(f"Linux {on.plan.kernel.series} has no BPF links for perf events (they came with 5.15)")


def _names(on: Results, function: str, *, returns: bool) -> frozenset[str]:
    prototype = on.plan.functions[function]
    return frozenset(p.name for p in prototype.parameters if p.name) | ({"return"} if returns else frozenset())


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
@pytest.mark.parametrize("mode", MODES)
def test_arguments(on: Results, mode: str, case: Case) -> None:
    """At the entry, and at the return with what was saved at the entry, next to what is returned."""
    run = f"functions-{mode}"
    _mode(on, run)
    if case.function in on.plan.skipped:
        pytest.skip(on.plan.skipped[case.function])
    facts = on.facts(run)[case.trigger]
    for suffix in ("", "_ret"):
        names = _names(on, case.function, returns=bool(suffix))
        check_case(case, f"{case.function}{suffix}", on.events(run), facts, names)


def test_enough_functions_are_probed(on: Results) -> None:
    assert len({c.function for c in CASES} & set(on.plan.functions)) >= 15


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_trampolines(on: Results, case: Case) -> None:
    """fentry and fexit, where the kernel's trampolines take the function."""
    if case.function not in on.plan.trampolines:
        pytest.skip(
            on.plan.skipped.get(case.function, "not among the functions that are tried by fentry on this kernel")
        )
    facts = on.facts("trampolines")[case.trigger]
    for suffix in ("", "_ret"):
        names = _names(on, case.function, returns=bool(suffix))
        check_case(case, f"{case.function}{suffix}", on.events("trampolines"), facts, names)


# --- returns ----------------------------------------------------------------------------------------------------------


def _complete(on: Results, mode: str) -> bool:
    """Whether the kernel shows every return: 5.10 notes one call for each processor, and the PMU cannot ask for more."""
    return not (on.plan.kernel.series == "5.10" and mode.endswith("perf"))


def _bare(event: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in event.items() if k not in ("probe", "timestamp", "return")}


def _nesting(events: list[dict[str, Any]], function: str, *, complete: bool) -> int:
    """Follow each thread's calls: a return must have the arguments of the call that it ends. How many there were."""
    calls: dict[int, list[dict[str, Any]]] = {}
    returns = 0
    for event in events:
        mine = calls.setdefault(event["tid"], [])
        if event["probe"] == function:
            mine.append(event)
        elif event["probe"] == f"{function}_ret":
            if not complete:  # calls whose return the kernel did not note are above it
                while len(mine) > 1 and _bare(mine[-1]) != _bare(event):
                    mine.pop()
            assert mine, f"a return without its call: {event}"
            call = mine.pop()
            assert _bare(event) == _bare(call), f"{event} does not end {call}"
            assert event["timestamp"] > call["timestamp"]
            returns += 1
    # What was being executed when the probes were taken off has no return.
    assert not complete or sum(map(len, calls.values())) <= 1, calls
    return returns


@pytest.mark.parametrize("mode", MODES)
def test_each_return_has_the_arguments_of_its_own_call(on: Results, mode: str) -> None:
    """Of every function, in every call: also those of the C library and of the threads' beginning and end."""
    run = f"functions-{mode}"
    _mode(on, run)
    events = on.events(run)
    for function in on.plan.functions:
        returns = _nesting(events[""], function, complete=_complete(on, mode))
        assert returns == len(events[f"{function}_ret"]) > 0


@pytest.mark.parametrize("run", [*(f"functions-{mode}" for mode in MODES), "trampolines"])
def test_recursion_in_the_kernel(on: Results, run: str) -> None:
    """Adding a link to a chain of epoll instances walks down the chain, one call inside another."""
    _mode(on, run)
    depth = "call_nests" if "call_nests" in _names(on, "ep_loop_check_proc", returns=False) else "depth"
    events = on.events(run)
    down = [e[depth] for e in events["ep_loop_check_proc"]]
    up = [e[depth] for e in events["ep_loop_check_proc_ret"]]
    assert down == [0, 0, 1, 0, 1, 2, 0, 1, 2, 3]
    if _complete(on, run):
        assert up == [0, 1, 0, 2, 1, 0, 3, 2, 1, 0]
    returns = _nesting(events[""], "ep_loop_check_proc", complete=_complete(on, run))
    assert returns == len(up) >= 4


@pytest.mark.parametrize("mode", MODES)
def test_threads_in_the_kernel(on: Results, mode: str) -> None:
    """Eight threads read at once, each call another number of bytes; then some sleep in the call at the same time."""
    run = f"functions-{mode}"
    _mode(on, run)
    facts, events = on.facts(run)["threads"], on.events(run)
    for number, reader in enumerate(facts["readers"]):
        counts = [1 + number + facts["threads"] * i for i in range(facts["reads"])]
        wanted = [(reader["buffer"], n, n) for n in counts]
        if number < facts["sleepers"]:
            wanted.append((reader["buffer"], 900 + number, 100 + number))
        seen = [(e["buf"], e["count"], e["return"]) for e in events["ksys_read_ret"] if e["tid"] == reader["tid"]]
        assert seen == wanted if _complete(on, mode) else set(seen) <= set(wanted)
        entries = [(e["buf"], e["count"]) for e in events["ksys_read"] if e["tid"] == reader["tid"]]
        assert entries == [w[:2] for w in wanted]


# --- user probes ------------------------------------------------------------------------------------------------------


def _cut(value: int, bits: int, *, signed: bool) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if signed and value >> (bits - 1) else value


def _spill(number: int) -> dict[str, Any]:
    """What `spill` of triggers.c passes, and the function returns."""
    wide = _cut(number * 0x0123456789ABCD, 64, signed=True)
    a = _cut(wide, 32, signed=True)
    return {
        "a": a, "b": number * 3, "c": _cut(wide, 8, signed=True), "d": _cut(wide, 16, signed=False), "e": ~number,
        "p": {"x": number * 5, "y": number * 11}, "late": _cut(wide, 8, signed=False),
        "big": {"v": [number, number + 1, number + 2, number + 3, -number]}, "s": _cut(wide, 16, signed=True),
        "return": -number * 7 + a,
    }  # fmt: skip


def _check_spills(events: Mapping[str, list[dict[str, Any]]], facts: Mapping[str, Any]) -> None:
    for thread, tid in enumerate(facts["tids"]):
        wanted = [_spill(thread * 1000 + i + 1) for i in range(facts["calls"])]
        for probe, without in (("user_spill", "return"), ("user_spill_ret", "")):
            seen = [
                {k: v for k, v in e.items() if k not in ("probe", "timestamp", "tid")}
                for e in events[probe]
                if e["tid"] == tid
            ]
            assert seen == [{k: v for k, v in w.items() if k != without} for w in wanted]


@pytest.mark.parametrize("mode", MODES)
def test_user_arguments(on: Results, mode: str) -> None:
    """Nine arguments of eight threads: registers, spilled and large structs, narrow values with garbage above."""
    run = f"user-{mode}"
    _mode(on, run)
    _check_spills(on.events(run), on.facts(run)["user"])


@pytest.mark.parametrize("mode", MODES)
def test_recursion_in_user_space(on: Results, mode: str) -> None:
    """Eight threads, each forty calls deep; every return has its own call's arguments and result."""
    run = f"user-{mode}"
    _mode(on, run)
    facts, events = on.facts(run)["user"], on.events(run)
    for thread, tid in enumerate(facts["tids"]):
        calls = [(facts["depth"] - 1 - i, thread * 1000 + i) for i in range(facts["depth"])]
        down = [(e["depth"], e["number"]) for e in events["user_recurse"] if e["tid"] == tid]
        up = [(e["depth"], e["number"], e["return"]) for e in events["user_recurse_ret"] if e["tid"] == tid]
        assert down == calls
        assert up == [(d, n, n * 1000 + d) for d, n in reversed(calls)]
    for function in ("user_spill", "user_recurse"):
        _nesting(events[""], function, complete=True)


# --- the rest of a run ------------------------------------------------------------------------------------------------


def test_system_calls(on: Results) -> None:
    facts, events = on.facts("syscalls"), on.events("syscalls")
    futex, write, send = facts["futex"], facts["vmwrite"], facts["sendfile"]
    wanted = {
        "futex": {"uaddr": futex["uaddr"], "op": 132, "val": 0x11, "utime": 0xFEED000011223344,
                  "uaddr2": futex["uaddr2"], "val3": 0x5A5A1234, "return": 0},
        "process_vm_writev": {"pid": write["pid"], "lvec": write["from"], "liovcnt": 2, "rvec": write["to"],
                              "riovcnt": 3, "flags": 0x1122334455667788, "return": -22},
        "sendfile64": {"out_fd": send["out"], "in_fd": send["in"], "count": 0x2345, "return": 0x2345},
    }  # fmt: skip
    assert set(wanted) == set(SYSCALLS)
    for name, values in wanted.items():
        for probe in (name, f"{name}_ret"):
            (event,) = (e for e in events[probe] if name != "futex" or e["uaddr"] == futex["uaddr"])
            right = {k: v for k, v in values.items() if k != "return" or probe != name}
            assert {k: event.get(k) for k in right} == right


@pytest.mark.parametrize("run", ["memory", "memory-zig"])
def test_memory_behind_pointers(on: Results, run: str) -> None:
    """Strings, bytes and numbers, of the kernel and of a process; on return probes as the function left them."""
    facts, events = on.facts(run), on.events(run)
    text = b"The quick brown fox jumps over the lazy dog"
    (locked,) = (e for e in events["locked"] if e["start"] == facts["mlock"]["addr"])
    assert locked["locked"] == 1
    (opened,) = (e for e in events["opened"] if e["filename"] == "/dev/shm/specc-memo")
    assert opened["filename_truncated"] is True and opened["return"] > 0
    assert 0 < opened["latency"] < 10**10
    (wrote,) = (e for e in events["wrote"] if e["count"] == len(text))
    assert {k: wrote[k] for k in ("buf", "buf_truncated", "pos")} == {
        "buf": text[:16].hex(), "buf_truncated": True, "pos": 0x100,
    }  # fmt: skip
    (read,) = (e for e in events["read"] if e["pos"] == 0x118)
    assert {k: v for k, v in read.items() if k in ("buf", "return", "buf_truncated")} == {
        "buf": text[4:24].hex(), "return": 20,
    }  # fmt: skip
    (attribute,) = events["attribute"]
    assert {k: attribute[k] for k in ("name", "value", "value_truncated", "size")} == {
        "name": "trusted.specc", "value": b"vvvvvvvv".hex(), "value_truncated": True, "size": 0x321,
    }  # fmt: skip
    assert attribute["latency"] > 0


def _functions(frames: list[str]) -> list[str]:
    return [frame.partition("+")[0] for frame in frames]


@pytest.mark.parametrize("run", ["stacks", "stacks-zig"])
def test_stacks(on: Results, run: str) -> None:
    """The way into the kernel, which its source tells, and in the program, which knows where each call returns to."""
    facts, events = on.facts(run)["stack"], on.events(run)
    (read,), (sent,), (entered,), (left,) = (events[name] for name in ("read", "sent", "entered", "left"))
    (called,), (inner,), (outer,) = (events[name] for name in ("called", "inner", "outer"))
    entry = ["do_syscall_64", "entry_SYSCALL_64_after_hwframe"]
    assert _functions(read["kernel_stack"]) == ["vfs_read", "ksys_read", *entry]
    assert read["kernel_stack"][0] in ("vfs_read", "vfs_read+0x1", "vfs_read+0x5")  # a breakpoint, or a call of ftrace
    assert _functions(entered["kernel_stack"]) == ["vfs_fallocate", "__x64_sys_fallocate", *entry]
    assert left["kernel_stack"] == entered["kernel_stack"] and entered["kernel_stack"][0] == "vfs_fallocate"
    assert _functions(called["kernel_stack"]) == ["__x64_sys_sendfile64", *entry]
    if on.plan.kernel.series == "5.10":
        assert sent["kernel_stack"] == ["kretprobe_trampoline"]  # it sees no further
    else:
        assert _functions(sent["kernel_stack"]) == ["__x64_sys_sendfile64", *entry]
    middle, above = (f"stack_{name}+{facts[name]:#x} [triggers]" for name in ("middle", "outer"))
    assert read["user_stack"][:3] == [f"stack_inner+{facts['inner']:#x} [triggers]", middle, above]
    assert _functions(entered["user_stack"])[:3] == ["stack_inner", *_functions([middle, above])]
    # Debian's 6.1 has the caller, as 6.12 has, and its 5.10 has not; both cannot be asked whether they do.
    callers = {"5.10": ["[caller perhaps not recorded]"], "6.1": ["[caller perhaps not recorded]", middle]}
    known = ["stack_inner [triggers]", *callers.get(on.plan.kernel.series, [middle]), above]
    assert inner["user_stack"][: len(known)] == known
    assert outer["return"] == facts["result"] and _functions(outer["user_stack"])[0] == "do_stack"


def test_symbols_of_a_process(on: Results) -> None:
    """The function that a thread begins in, by the name that the program has for it."""
    result, facts = on.run("symbols"), on.facts("symbols")["threads"]
    rows = [line.split() for line in result["out"].splitlines() if not line.lstrip().startswith("PID")]
    assert rows == [[str(result["pid"]), "read_much", "[triggers]"]] * facts["threads"]
    assert (result["code"], result["left"]) == (0, {}), result["err"]


def test_conditions(on: Results) -> None:
    """What is not wanted is not recorded, and what is wanted is."""
    facts, events = on.facts("where"), on.events("where")
    addr = facts["mlock"]["addr"]
    wanted = {
        "pinned": [{"start": addr}], "done": [{"return": 37}], "read": [{"count": 20}], "entered": [{"count": 20}],
        "wrote": [{"count": 43, "buf": "The qui", "buf_truncated": True}],
        "opened": [{"filename": "/dev/shm/specc-memory-of-a-name"}],
    }  # fmt: skip
    context = ("probe", "timestamp", "tid")
    seen = {
        name: [{k: v for k, v in e.items() if k not in context} for e in those]
        for name, those in events.items()
        if name
    }
    assert seen == wanted


def test_limits_and_samples(on: Results) -> None:
    """Seven calls of `triggers`. That a sample of one in a thousand million has one is no test's business.

    Linux 5.19 to 6.4 write a task's name and leave what follows it, so a comparison of all 16 bytes is right only where
    they were cleared before: here the programs' stacks still have what ran before them on it.
    """
    events = on.events("few")
    assert len(on.run("few")["facts"]) == 7
    for probe, most in (("entered", 2), ("done", 3), ("quick", 4)):
        assert [e["len"] for e in events[probe]] == [0x6789] * most
    assert "some" not in events
    assert on.run("few")["err"].splitlines()[-1] == "received 9, lost 0, left out 12 (limit)"


@pytest.mark.parametrize("run", ["edges", "edges-zig"])
def test_what_is_not_there(on: Results, run: str) -> None:
    """Null and the errno, by whatever program; nothing is never a zero, an empty string or the end of one."""
    events, facts = on.events(run), on.facts(run)["edges"]
    for name in ("wrote", "wrote_ret", "wrote_best", "wrote_fast"):
        [event] = events[name]
        assert (event["count"], event["pos"]) == (4321, None) and event["pos_error"] in ("EFAULT", "ERANGE"), event
    [read] = events["read"]
    assert (read["return"], read["buf"], read["buf_error"], read["pos"]) == (-11, None, "EINVAL", None)
    assert read["pos_error"] in ("EFAULT", "ERANGE")
    [opened] = events["opened"]
    assert (opened["filename"], opened["filename_error"]) == (None, "EFAULT")
    assert facts["status"] == 0 and facts["opened"] == -1
    # The C library asks about its output in the same way.
    assert len(events["all"]) == len(events["empty"]) == len(events["early"]) >= 1
    for event in events["all"] + events["empty"] + events["early"]:
        assert event["filename"] == "" and "filename_truncated" not in event
    assert "other" not in events


def test_names_that_change_in_a_call(on: Results) -> None:
    """Each call is under the wanted name at its entry or at its return, and never at both."""
    assert on.facts("renames")["renames"]["pairs"] == 20
    assert on.events("renames")[""] == []
    assert on.run("renames")["err"].splitlines()[-1] == "received 0, lost 0, missed 20 returns"


def test_another_program_since(on: Results) -> None:
    """What execve(2) was given is gone when it returns, whatever is there now."""
    facts = on.facts("execs")["exec"]
    assert facts["status"] == 0
    mine = [e for e in on.events("execs")["execve"] if e["return"] == 0 and e["tid"] == facts["child"]]
    assert [(e["filename"], e["filename_error"]) for e in mine] == [(None, "ESTALE")] * 2


def power_of_two(value: int) -> tuple[int, int]:
    low = 1
    while low * 2 <= value:
        low *= 2
    return (low, low * 2) if value else (0, 1)


@pytest.mark.parametrize("compiler", COMPILERS)
def test_what_is_counted_in_the_kernel(on: Results, compiler: str) -> None:
    """Exactly, whatever the kernel: by every function, for interrupted threads too."""
    run = f"tallies-{compiler}"
    rows, facts = on.events(run), on.facts(run)
    threads, calls, depth = (facts["user"][k] for k in ("threads", "calls", "depth"))
    length = 0x6789
    sums = [(r["comm"], r["mode"], r["sum"], r["count"]) for r in rows["lengths"]]
    assert {s[:2] for s in sums} == {("triggers", 1)}
    assert (sum(s[2] for s in sums), sum(s[3] for s in sums)) == (2 * length, 2)
    (mean,) = rows["mean"]
    assert (mean["avg"], mean["sum"], mean["count"]) == (length, 2 * length, 2)
    (took,) = rows["took"]
    assert (took["return"], took["count"], sum(b["count"] for b in took["buckets"])) == (0, 2, 2)
    (longest,) = rows["longest"]
    assert (longest["return"], longest["max"], longest["count"]) == (0, length, 2)
    assert {r["comm"] for r in rows["named"]} == {"triggers"}
    assert sum(r["count"] for r in rows["named"]) == len(on.events("memory")["attribute"])
    assert {r["name"] for r in rows["named"]} == {e["name"] for e in on.events("memory")["attribute"]}
    numbers = {(t, d): t * 1000 + depth - 1 - d for t in range(threads) for d in range(depth)}
    got: dict[int, list[int]] = {}
    for row in rows["depths"]:
        one = got.setdefault(row["depth"], [0, 0])
        one[0] += row["sum"]
        one[1] += row["count"]
    assert got == {d: [sum(numbers[t, d] for t in range(threads)), threads] for d in range(depth)}
    (deepest,) = rows["deepest"]
    assert deepest["max"] == max(n * 1000 + d for (_, d), n in numbers.items())
    assert deepest["count"] == len(numbers)
    (least,) = rows["least"]
    assert (least["min"], least["count"]) == (min(~(t * 1000 + i + 1) for t in range(threads) for i in range(calls)), threads * calls)  # fmt: skip
    (spread,) = rows["spread"]
    buckets = {(b["from"], b["to"]): b["count"] for b in spread["buckets"]}
    assert buckets == Counter(power_of_two(n) for n in numbers.values())
    (steps,) = rows["steps"]
    assert [(b["from"], b["to"], b["count"]) for b in steps["buckets"]] == [(n, n + 8, 8 * threads) for n in range(0, 40, 8)]  # fmt: skip
    # All threads begin with the greatest depth, so who comes first is told by it.
    assert all(r["count"] == threads for r in rows["few"]) and len(rows["few"]) == 8
    lost = (depth - 8) * threads
    assert on.run(run)["err"].splitlines()[-1].startswith("received 0, counted ")
    assert f"lost {lost} ({lost} hits of new keys found the map full)" in on.run(run)["err"].splitlines()[-1]


def test_only_a_cgroup(on: Results) -> None:
    """What is in it is recorded; what is in the one above is not."""
    _check_fallocate(on.events("cgroup"))
    assert on.run("no-cgroup")["err"].splitlines()[-1] == "received 0, lost 0"


def _check_fallocate(events: Mapping[str, list[dict[str, Any]]]) -> None:
    call = {"mode": 1, "offset": 0x12345000, "len": 0x6789}
    for probe, wanted in (("vfs_fallocate", call), ("vfs_fallocate_ret", {**call, "return": 0})):
        (event,) = events[probe]
        assert {k: event[k] for k in wanted} == wanted


def test_a_perf_buffer(on: Results) -> None:
    """As on kernels before 5.8. Each processor has its own, so the order between threads is open."""
    _check_fallocate(on.events("perfbuffer"))
    events, facts = on.events("perfbuffer"), on.facts("perfbuffer")["user"]
    for probe in ("user_spill", "user_spill_ret"):
        events[probe].sort(key=lambda e: e["timestamp"])
    _check_spills(events, facts)


def test_the_whole_command(on: Results) -> None:
    """A spec, no options: built inside, with the BTF of the running kernel, attached as is best."""
    assert on.run("whole")["err"] == "attached 4 probes\nreceived 2, lost 0\n"
    _check_fallocate(on.events("whole"))


def test_both_compilers_objects_were_run(on: Results) -> None:
    for spec in ("functions", "user", "small"):
        objects = [Path(r["arguments"][1]) for r in on.plan.runs if "arguments" in r]
        assert {path.parent.name for path in objects if path.stem == f"{spec}.bpf"} == set(COMPILERS)


@pytest.mark.parametrize(
    "run", [*(f"{spec}-{mode}" for mode in MODES for spec in ("functions", "user")),
            "trampolines", "syscalls", "memory", "memory-zig", "where", "stacks", "stacks-zig", "cgroup", "perfbuffer", "whole", "after-killed", "dry"]
)  # fmt: skip
def test_nothing_is_lost_and_nothing_stays(on: Results, run: str) -> None:
    _mode(on, run)
    result = on.run(run)
    assert (result["code"], result["left"]) == (0, {}), result["err"]
    if run != "dry":
        received = len(result["out"].splitlines())
        assert result["err"].splitlines()[-1] == f"received {received}, lost 0"
        assert received > 0


def test_dry_run_attaches_and_records_nothing(on: Results) -> None:
    result = on.run("dry")
    assert result["err"] == "attached 4 probes and detached them: nothing was recorded (--dry-run)\n"
    assert result["out"] == ""


# --- faults -----------------------------------------------------------------------------------------------------------


def test_a_killed_run_leaves_nothing_active(on: Results) -> None:
    """Its events in tracefs are off, no process is interrupted by a breakpoint, and the next run takes them away."""
    left = on.run("killed")["left"]
    assert on.run("killed")["code"] == -9
    assert "uprobes" not in left and "enabled_functions" not in left, left
    assert all("[DISABLED]" in line for line in left.get("kprobes", "").splitlines()), left
    # Otherwise the next check means nothing.
    assert left["kprobe_events"].count("specc_") == 3 and left["uprobe_events"].count("specc_") == 3, left
    assert on.run("after-killed")["left"] == {}
    _check_fallocate(on.events("after-killed"))


_REFUSED = {
    "no-link": (3, "SP423", "cannot attach `vfs_fallocate` by `link`: this kernel has no BPF links for perf events"),
    "refused-missing": (1, "SP440", "has no function `specc_no_such_function`"),
    "refused-blacklisted": (1, "SP444", "`do_int3` is on the kernel's blacklist"),
    "refused-notrace": (1, "SP443", "`ring_buffer_lock_reserve` is not among the functions that this kernel lets be traced"),
    "refused-isra": (1, "SP441", "`rtnl_fill_ifinfo` exists only as `rtnl_fill_ifinfo.isra.0`"),
    "refused-fexit-struct": (1, "SP303", "it returns `struct timespec64` by value"),
    "refused-fentry-large": (1, "SP303", "it takes `struct rtc_time` of 36 bytes by value"),
    "refused-fentry-wide": (3, "SP426", "the kernel does not attach `do_futex`: not supported"),
    "refused-fentry-struct": (3, "SP426", "do not take `from_kuid_munged`, which fentry needs"),
}  # fmt: skip


@pytest.mark.parametrize("run", _REFUSED)
def test_what_cannot_be_is_refused_with_a_reason(on: Results, run: str) -> None:
    if not any(r["name"] == run for r in on.plan.runs):
        pytest.skip(f"Linux {on.plan.kernel.series} does not refuse this" + (
            f" ({', '.join(WIDE_TRAMPOLINES[:2])}, ... are tried)" if "fentry" in run else ""))  # fmt: skip
    code, diagnostic, words = _REFUSED[run]
    result = on.run(run)
    assert result["out"] == ""
    assert (result["code"], result["left"]) == (code, {}), json.dumps(result, indent=1)
    assert f"{diagnostic} " in result["err"] and words in result["err"], result["err"]
    assert "Traceback" not in result["err"]

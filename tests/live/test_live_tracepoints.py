"""Tracepoints of the kernel that runs: a program makes calls whose numbers, results and names are known."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from specc.btf.tracepoints import find_tracepoint
from specc.run.kernel_target import BTF

from .build import compile_c, live
from .test_live_run import events, finish, started

PROGRAM = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
static char *self;
static void *thread(void *unused)
{
	printf("%ld\n", syscall(SYS_gettid));
	fflush(stdout);
	execl(self, self, "again", (char *)0);
	return 0;
}
int main(int n, char **v)
{
	pthread_t other;
	int file;
	if (n > 1) return 0;
	self = v[0];
	file = open("/proc/self/exe", O_RDONLY);
	if (read(0, &n, 1) != 1) return 1;
	syscall(SYS_getpid);
	syscall(SYS_getppid);
	syscall(SYS_close, -1);
	syscall(SYS_lseek, file, 0x123456789aL, SEEK_SET);
	syscall(SYS_kill, getpid(), 999);
	syscall(9999);
	prctl(PR_SET_NAME, "a-known-name-which-is-cut");
	kill(getpid(), SIGCONT);
	syscall(SYS_getpid);
	pthread_create(&other, 0, thread, 0);
	pthread_join(other, 0);
	return 0;
}
"""
SPEC = """specc: 1
name: known
fields: [pid, tid]
probes:
  - name: enter
    raw_tracepoint: sys_enter
    args: [id]
  - name: exit
    raw_tracepoint: sys_exit
    args: [{ret: {format: errno}}]
  - name: failed
    raw_tracepoint: sys_exit
    args: [ret]
    where: ret < 0 && ret >= -4095 && pid == PID
  - name: stacked
    raw_tracepoint: sys_exit
    args: [{regs: {field: orig_ax, as: number, format: syscall}}]
    where: ret == -38 && pid == PID
    stack: kernel
  - raw_tracepoint: task_rename
    args: [{comm: {as: name, string: 32}}]
    where: comm == "a-known-name-wh"
  - raw_tracepoint: signal_generate
    args: [sig, group, result, {specc_none: {optional: true}}]
  - raw_tracepoint: sched_process_exec
    args: [old_pid, p, {p: {as: again}}]
"""
NAMES = ("sys_enter", "sys_exit", "task_rename", "signal_generate", "sched_process_exec")


def why_not() -> str:
    """Why this kernel has no programs on tracepoints."""
    from specc.btf import open_btf
    from specc.libbpf import Library

    if not os.path.exists(BTF):
        return "this kernel has no BTF"
    with Library() as library:
        if not library.has_tracepoints():
            return "this kernel loads no programs by BTF"
    btf = open_btf(Path(BTF))
    gone = [name for name in NAMES if not find_tracepoint(btf, name)]
    return f"this kernel has no {', '.join(gone)}" if gone else ""


@live
@pytest.mark.parametrize("compiler", ["clang", "zig"])
def test_known_values(compiler: str, tmp_path: Path) -> None:
    if reason := why_not():
        pytest.skip(reason)
    program = compile_c(tmp_path / "calls", PROGRAM)
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as calls:
        assert calls.stdin is not None and calls.stdout is not None
        (tmp_path / "known.yaml").write_text(SPEC.replace("PID", str(calls.pid)))
        options = ("--pid", str(calls.pid), "--format", "jsonl", "--compiler", compiler)
        with started("known.yaml", *options, cwd=tmp_path) as running:
            calls.stdin.write("x")
            calls.stdin.close()
            thread = int(calls.stdout.readline())
            assert calls.wait() == 0
            done = finish(running)
    found = events(done)
    assert {e["pid"] for e in found} == {calls.pid}

    def of(probe: str, key: str) -> list[object]:
        return [e[key] for e in found if e["probe"] == probe and e["tid"] == calls.pid]

    numbers = of("enter", "id")
    first = numbers.index(39)  # getpid; the read was entered before the programs were there
    assert numbers[first : first + 8] == [39, 110, 3, 8, 39, 62, 9999, 157]
    results = of("exit", "ret")
    first = results.index(calls.pid)
    assert results[first : first + 8] == [
        calls.pid, os.getpid(), -9, 0x123456789A, calls.pid, -22, -38, 0,
    ]  # fmt: skip
    failed = of("failed", "ret")
    assert failed[failed.index(-9) :][:3] == [-9, -22, -38] and all(isinstance(r, int) and r < 0 for r in failed)
    [stacked] = [e for e in found if e["probe"] == "stacked"]
    assert stacked["number"] == 9999
    stack: Any = stacked["kernel_stack"]
    assert "bpf" not in stack[0] and "traceiter" not in stack[0], stack
    assert any(frame.startswith("entry_SYSCALL_64") for frame in stack), stack
    assert of("task_rename", "name") == ["a-known-name-wh"]
    signals = [e for e in found if e["probe"] == "signal_generate" and e["sig"] == 18]
    assert [(e["group"], e["result"], e["specc_none"]) for e in signals] == [(1, 1, None)]  # SIGCONT is ignored
    [executed] = [e for e in found if e["probe"] == "sched_process_exec"]
    assert executed["old_pid"] == thread != executed["tid"] == calls.pid  # which becomes the leader
    assert executed["p"] == executed["again"] and str(executed["p"]).startswith(("0xff", "1844"))

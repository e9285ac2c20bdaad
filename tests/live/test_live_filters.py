"""Whose hits are recorded (--comm, --cgroup), and how many of them (`sample`, `limit`)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from command import Done, specc

from specc.api import SpeccError
from specc.api import open as open_spec

from .build import compile_c, live
from .test_live_run import events, finish, started

# argv: its name, how many calls, how many threads; it waits for a line of input before them.
SOURCE = """
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
__attribute__((noinline, noipa)) long probed(long a) { __asm__ volatile("" ::: "memory"); return a + 1; }
static long calls;
static void *loop(void *first) { for (long i = 0; i < calls; i++) probed((long)first + i); return 0; }
int main(int n, char **v) {
	pthread_t threads[16];
	int many = atoi(v[3]);
	prctl(PR_SET_NAME, v[1]);
	calls = atol(v[2]);
	getchar();
	for (int i = 1; i < many; i++) pthread_create(&threads[i], 0, loop, (void *)(i * calls));
	loop(0);
	for (int i = 1; i < many; i++) pthread_join(threads[i], 0);
	return 0;
}
"""


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return compile_c(tmp_path / "target", SOURCE)


def write_spec(target: Path, *lines: str, kind: str = "uprobe", args: str = "[a]") -> Path:
    path = target.with_name("watch.yaml")
    path.write_text(
        "specc: 1\nname: watch\nfields: [pid, comm]\nbuffer: {ring: 16MiB}\nprobes:\n"
        f"  - name: call\n    {kind}: {{path: {target}, symbol: probed}}\n    prototype: long probed(long a)\n"
        f"    args: {args}\n" + "".join(f"    {line}\n" for line in lines)
    )
    return path


@contextmanager
def waiting(target: Path, name: str, calls: int, threads: int = 1) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([target, name, str(calls), str(threads)], stdin=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def run_out(process: subprocess.Popen[bytes]) -> None:
    process.communicate(b"\n", timeout=120)
    assert process.returncode == 0


@live
def test_only_tasks_of_a_name(target: Path) -> None:
    """Of names that begin alike, and one that is as long as a name can be."""
    full = "fifteen-letters"
    with (
        waiting(target, full, 3) as ours,
        waiting(target, full[:-1], 4) as shorter,
        waiting(target, "other", 5) as other,
        started(write_spec(target), "--format", "jsonl", "--comm", full, "--count", "3", cwd=target.parent) as run,
    ):
        for process in (shorter, other, ours):
            run_out(process)
        done = finish(run)
    assert [(e["comm"], e["a"]) for e in events(done)] == [(full, 0), (full, 1), (full, 2)]
    assert done.err.splitlines()[-1] == "received 3, lost 0"


@live
@pytest.mark.parametrize("name", ["", "sixteen-letters-"])
def test_a_name_that_no_task_has(target: Path, name: str) -> None:
    done = specc("run", write_spec(target), "--comm", name, cwd=target.parent)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("SP456 no task ")


@pytest.fixture
def cgroups(tmp_path: Path) -> Iterator[Path]:
    """A directory in a file system of cgroups, with another one in it."""
    mount = tmp_path / "cgroups"
    mount.mkdir()
    done = subprocess.run(["mount", "-t", "cgroup2", "none", mount], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no cgroup file system of version 2 here: {done.stderr.strip()}")
    group = mount / f"specc-test-{os.getpid()}"
    try:
        (group / "inner").mkdir(parents=True)
        yield group
    finally:
        for folder in (group / "inner", group):
            if folder.exists():
                folder.rmdir()
        subprocess.run(["umount", mount], check=True)


@live
@pytest.mark.parametrize("relative", [False, True], ids=["directory", "name"])
def test_only_a_cgroup_and_those_below_it(target: Path, cgroups: Path, relative: bool) -> None:
    with (
        waiting(target, "in", 2) as ours,
        waiting(target, "below", 3) as below,
        waiting(target, "out", 4) as out,
    ):
        (cgroups / "cgroup.procs").write_text(str(ours.pid))
        (cgroups / "inner" / "cgroup.procs").write_text(str(below.pid))
        option = cgroups.name if relative else str(cgroups)
        with started(
            write_spec(target), "--format", "jsonl", "--cgroup", option, "--count", "5", cwd=target.parent
        ) as run:
            for process in (out, below, ours):
                run_out(process)
            done = finish(run)
    assert [(e["comm"], e["a"]) for e in events(done)] == [
        ("below", 0),
        ("below", 1),
        ("below", 2),
        ("in", 0),
        ("in", 1),
    ]
    assert done.err.splitlines()[-1] == "received 5, lost 0"


@live
@pytest.mark.parametrize("name", ["/etc", "no/such/group", "/proc/self"])
def test_what_is_no_cgroup(target: Path, cgroups: Path, name: str) -> None:
    done = specc("run", write_spec(target), "--cgroup", name, cwd=target.parent)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"SP457 there is no cgroup `{name}`")


@live
def test_an_empty_name_is_not_every_cgroup(target: Path) -> None:
    done = specc("run", write_spec(target), "--cgroup", "", "--output-format", "concise", cwd=target.parent)
    said = "SP457 no cgroup has an empty name (`systemd-cgls` lists them; `/` is all of them)\n"
    assert done == Done(1, "", said)
    with pytest.raises(SpeccError, match="SP457 no cgroup has an empty name"):
        open_spec(write_spec(target), cgroup="")


@live
def test_the_name_that_is_proposed_is_cut_between_letters(target: Path) -> None:
    done = specc(
        "run", write_spec(target), "--comm", "fourteen-lettré", "--output-format", "concise", cwd=target.parent
    )
    said = "SP456 no task is called `fourteen-lettré`: the kernel keeps 15 bytes of a name (--comm fourteen-lettr)\n"
    assert done == Done(1, "", said)


@live
@pytest.mark.parametrize("kind", ["uprobe", "uretprobe"])
def test_a_limit_over_all_threads(target: Path, kind: str) -> None:
    """Not one more than the limit in its hour, and the rest counted. An hour may begin during the test: then twice as many."""
    with (
        waiting(target, "busy", 5000, threads=8) as process,
        started(write_spec(target, "limit: 1000/h", kind=kind), "--format", "jsonl", cwd=target.parent) as run,
    ):
        run_out(process)
        run.send_signal(2)
        done = finish(run)
    got = events(done)
    assert len(got) in (1000, 2000)
    assert len({e["a"] for e in got}) == len(got)
    assert done.err.splitlines()[-1] == f"received {len(got)}, lost 0, left out {40_000 - len(got)} (limit)"


@live
def test_a_limit_counts_what_is_wanted(target: Path) -> None:
    """Hits that a condition leaves out take nothing of it."""
    spec = write_spec(target, "limit: 3/h", "where: a >= 90")
    with (
        waiting(target, "busy", 100) as process,
        started(spec, "--format", "jsonl", cwd=target.parent) as run,
    ):
        run_out(process)
        run.send_signal(2)
        done = finish(run)
    assert [e["a"] for e in events(done)][:3] == [90, 91, 92]
    assert done.err.splitlines()[-1].endswith(f"left out {10 - len(events(done))} (limit)")


@live
@pytest.mark.parametrize("kind", ["uprobe", "uretprobe"])
def test_a_sample(target: Path, kind: str) -> None:
    """One in 50 of 100,000: 2,000, give or take ten standard deviations of 44; at a return nothing of a call stays saved."""
    with (
        waiting(target, "busy", 25_000, threads=4) as process,
        started(write_spec(target, "sample: 1/50", kind=kind), "--format", "jsonl", cwd=target.parent) as run,
    ):
        run_out(process)
        run.send_signal(2)
        done = finish(run)
    got = events(done)
    assert 1560 < len(got) < 2440
    assert len({e["a"] for e in got}) == len(got)
    assert done.err.splitlines()[-1] == f"received {len(got)}, lost 0"


RENAMING = """
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
__attribute__((noinline, noipa)) int named(int number, const char *to) { prctl(PR_SET_NAME, to); return number; }
int main(void) {
	prctl(PR_SET_NAME, "foo");
	for (int i = 0; i < 20; i++) { named(1000 + i, "bar"); named(2000 + i, "foo"); }
	named(3000, "foo");
	return 0;
}
"""


@live
def test_a_return_is_not_given_the_arguments_of_a_call_under_another_name(tmp_path: Path) -> None:
    """The first call of each pair is entered as `foo` and left as `bar`, the second the other way: of neither is all known.
    All are at the same stack pointer, where the first has left its arguments."""
    target = compile_c(tmp_path / "ren", RENAMING)
    spec = tmp_path / "ren.yaml"
    spec.write_text(
        f"specc: 1\nname: ren\nfields: [comm]\nprobes:\n  - uretprobe: {{path: {target}, symbol: named}}\n"
        '    prototype: "int named(int number, const char *to)"\n    args: [number, return]\n'
    )
    with started(spec, "--format", "jsonl", "--comm", "foo", cwd=tmp_path) as run:
        subprocess.run([target], check=True)
        run.send_signal(2)
        done = finish(run)
    assert list(events(done)) == [{"probe": "named", "comm": "foo", "number": 3000, "return": 3000}]
    assert done.err.splitlines()[-1] == "received 1, lost 0, missed 20 returns"

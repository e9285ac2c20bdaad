"""`specc run` as a process: how it ends, what it says, and that nothing stays behind in the kernel."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from command import Done, environment, specc

from specc.api import SpeccError
from specc.api import open as open_spec
from specc.elf import file_offset, read_elf, symbols

from .build import compile_c, live

TARGET = """
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
__attribute__((noinline, noipa)) long probed(long a, int b, long c, long d, long e, long f, long g) { __asm__ volatile("" ::: "memory"); return a + b; }
int main(int n, char **v) { /* calls, microseconds between them; with a third argument, one line of input is waited for */
	long calls = atol(v[1]), pause = atol(v[2]);
	if (n > 3) getchar();
	for (long i = 0; i < calls; i++) {
		probed(i, -5, 3, 4, 5, 6, 7 * i);
		if (pause) usleep(pause);
	}
	return 0;
}
"""
PROTOTYPE = "long probed(long a, int b, long c, long d, long e, long f, long g)"
PRIVATE_TRACEFS = ("unshare", "-m", "sh", "-c", 'mount -t tracefs tracefs /sys/kernel/tracing && exec "$@"', "sh")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return compile_c(tmp_path / "target", TARGET)


@pytest.fixture
def spec(tmp_path: Path, target: Path) -> Path:
    return write_spec(tmp_path, target)


def write_spec(folder: Path, target: Path, buffer: str = "{ring: 1MiB}") -> Path:
    path = folder / "watch.yaml"
    path.write_text(
        f"specc: 1\nname: watch\nfields: [pid]\nbuffer: {buffer}\nprobes:\n"
        f'  - name: call\n    uprobe: {{path: {target}, symbol: probed}}\n    prototype: "{PROTOTYPE}"\n    args: [a, b, g]\n'
        f'  - name: done\n    uretprobe: {{path: {target}, symbol: probed}}\n    prototype: "{PROTOTYPE}"\n'
        "    args: [a, return]\n"
    )
    return path


@contextmanager
def started(*arguments: str | Path, cwd: Path, before: tuple[str, ...] = ()) -> Iterator[subprocess.Popen[str]]:
    """`specc run` from when it says that it is attached."""
    process = subprocess.Popen(
        [*before, sys.executable, "-m", "specc", "run", *map(str, arguments)],
        cwd=cwd, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if line.startswith("attached "):
                break
        else:
            pytest.fail(f"it did not attach: {''.join(said)}")
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def finish(process: subprocess.Popen[str]) -> Done:
    out, err = process.communicate(timeout=60)
    return Done(process.returncode, out, err)


def counts(done: Done) -> tuple[int, int]:
    found = re.search(r"^received (\d+), lost (\d+)$", done.err.splitlines()[-1])
    assert found is not None, done.err
    return int(found[1]), int(found[2])


def events(done: Done) -> list[dict[str, int | str]]:
    return [json.loads(line) for line in done.out.splitlines()]


def breakpoint_is_set(pid: int, target: Path) -> bool:
    """Whether the first byte of `probed` in a process is the breakpoint that a uprobe puts there."""
    elf = read_elf(target.read_bytes())
    address = symbols(elf, "probed")[0].value
    offset = file_offset(elf, address)
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        span, mode, start, *_, name = line.split()
        low, high = (int(x, 16) for x in span.split("-"))
        if name == str(target) and "x" in mode and offset is not None and 0 <= offset - int(start, 16) < high - low:
            with open(f"/proc/{pid}/mem", "rb") as memory:
                memory.seek(low + offset - int(start, 16))
                return memory.read(1) == b"\xcc"
    raise AssertionError("the program is not mapped")


@contextmanager
def sleeping(target: Path, calls: int = 10, pause: int = 0) -> Iterator[subprocess.Popen[str]]:
    """A target that waits for a line on its stdin before it calls."""
    process = subprocess.Popen([target, str(calls), str(pause), "wait"], stdin=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdin is not None:
            process.stdin.close()


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


@live
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_well(sent: signal.Signals, spec: Path, target: Path) -> None:
    with sleeping(target) as process, started(spec, "--format", "jsonl", cwd=spec.parent) as run:
        assert breakpoint_is_set(process.pid, target)
        subprocess.run([target, "10", "0"], check=True)
        run.send_signal(sent)
        done = finish(run)
        assert not breakpoint_is_set(process.pid, target)
    assert done.code == 0
    assert counts(done) == (20, 0)
    assert [e["a"] for e in events(done) if e["probe"] == "call"] == list(range(10))
    assert [e["g"] for e in events(done) if e["probe"] == "call"] == [7 * i for i in range(10)]
    assert [e["return"] for e in events(done) if e["probe"] == "done"] == [i - 5 for i in range(10)]


@live
@pytest.mark.parametrize("attach", ["link", "perf"])
def test_killed_leaves_nothing_attached(attach: str, spec: Path, target: Path) -> None:
    with sleeping(target) as process:
        with started(spec, "--attach", attach, cwd=spec.parent) as run:
            assert breakpoint_is_set(process.pid, target)
            run.kill()
            run.wait()
        assert not breakpoint_is_set(process.pid, target)


def uprobe_events() -> str:
    return subprocess.run([*PRIVATE_TRACEFS, "cat", "/sys/kernel/tracing/uprobe_events"], capture_output=True, text=True, check=True).stdout  # fmt: skip


def has_tracefs() -> bool:
    return subprocess.run([*PRIVATE_TRACEFS, "test", "-w", "/sys/kernel/tracing/uprobe_events"], check=False, capture_output=True).returncode == 0  # fmt: skip


needs_tracefs = pytest.mark.skipif(not has_tracefs(), reason="live tests: no tracefs to mount")


@live
@needs_tracefs
def test_legacy_events_are_removed(spec: Path, target: Path) -> None:
    with started(spec, "--format", "jsonl", "--attach", "legacy", cwd=spec.parent, before=PRIVATE_TRACEFS) as run:
        assert len(re.findall(rf"[pr]:specc_{run.pid}_\d+/\w+ {re.escape(str(target))}:", uprobe_events())) == 3
        subprocess.run([target, "10", "0"], check=True)
        run.send_signal(signal.SIGINT)
        done = finish(run)
    assert counts(done) == (20, 0)
    assert f"specc_{run.pid}_" not in uprobe_events()


@live
@needs_tracefs
def test_a_killed_runs_events_are_removed_by_the_next_run(spec: Path, target: Path) -> None:
    with started(spec, "--attach", "legacy", cwd=spec.parent, before=PRIVATE_TRACEFS) as run:
        run.kill()
        run.wait()
    assert f"specc_{run.pid}_" in uprobe_events()
    done = specc("run", "-v", "--dry-run", spec, cwd=spec.parent, before=PRIVATE_TRACEFS)
    assert (done.code, done.err.count(f"removed the event specc_{run.pid}_")) == (0, 3)
    assert f"specc_{run.pid}_" not in uprobe_events()


@live
@pytest.mark.parametrize("buffer", ["{ring: 4KiB}", "{perf: 1}"])
def test_overflow_is_counted_exactly(buffer: str, target: Path, tmp_path: Path) -> None:
    calls = 20000
    spec = write_spec(tmp_path, target, buffer)
    with started(spec, "--format", "jsonl", cwd=tmp_path) as run:
        run.send_signal(signal.SIGSTOP)  # nobody reads meanwhile
        subprocess.run([target, str(calls), "0"], check=True)
        run.send_signal(signal.SIGCONT)
        time.sleep(0.5)
        subprocess.run([target, "3", "20000"], check=True)
        time.sleep(0.3)
        run.send_signal(signal.SIGINT)
        done = finish(run)
    received, lost = counts(done)
    assert received + lost == 2 * (calls + 3)
    assert lost > calls and received >= 6
    assert len(events(done)) == received
    assert [e["a"] for e in events(done)][-6:] == [0, 0, 1, 1, 2, 2], "what comes after a loss is whole again"


@live
def test_full_speed_is_counted_exactly(target: Path, tmp_path: Path) -> None:
    calls = 200_000
    spec = write_spec(tmp_path, target, "{ring: 64KiB}")
    with started(spec, "--format", "jsonl", "-o", "out", cwd=tmp_path) as run:
        subprocess.run([target, str(calls), "0"], check=True)
        run.send_signal(signal.SIGTERM)
        done = finish(run)
    received, lost = counts(done)
    assert received + lost == 2 * calls
    assert len((tmp_path / "out").read_text().splitlines()) == received


@live
def test_count_and_duration(spec: Path, target: Path) -> None:
    with sleeping(target, 1000, 1000) as process:
        with started(spec, "--format", "jsonl", "--count", "5", cwd=spec.parent) as run:
            go(process)
            done = finish(run)
        assert (done.code, len(events(done)), counts(done)) == (0, 5, (5, 0))
        done = specc("run", spec, "--format", "csv", "--duration", "0.3", cwd=spec.parent)
        assert done.code == 0 and counts(done)[0] == len(done.out.splitlines()) - 1


@live
def test_head(spec: Path, target: Path) -> None:
    with sleeping(target, 2000, 1000) as process:
        with started(spec, "--format", "jsonl", cwd=spec.parent) as run:
            assert run.stdout is not None
            go(process)
            assert select.select([run.stdout], [], [], 30)[0], "no event came"
            first = json.loads(run.stdout.readline())
            run.stdout.close()
            assert run.wait(timeout=30) == 0
            assert run.stderr is not None
            last = run.stderr.read().splitlines()[-1]
        assert (first["probe"], first["a"]) == ("call", 0)
        assert last.startswith("received ")
        assert not breakpoint_is_set(process.pid, target)


@live
def test_only_one_process(spec: Path, target: Path) -> None:
    with (
        sleeping(target, 7) as ours,
        sleeping(target, 5) as other,
        started(spec, "--format", "jsonl", "--pid", str(ours.pid), cwd=spec.parent) as run,
    ):
        go(other)
        assert other.wait(timeout=30) == 0
        go(ours)
        assert ours.wait(timeout=30) == 0
        done = finish(run)
    assert done.code == 0
    assert f"process {ours.pid} has ended" in done.err
    assert [(e["pid"], e["a"]) for e in events(done) if e["probe"] == "call"] == [(ours.pid, i) for i in range(7)]
    assert counts(done) == (14, 0)


@live
def test_a_process_that_is_not_there(spec: Path) -> None:
    done = specc("run", spec, "--pid", str(2**22 - 1), cwd=spec.parent)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"SP452 there is no process {2**22 - 1}")


@live
def test_a_process_of_the_spec_that_is_not_there(spec: Path) -> None:
    gone = 2**22 - 1
    spec.write_text(spec.read_text().replace("symbol: probed}", f"symbol: probed, pid: {gone}}}", 1))
    done = specc("run", spec, "--output-format", "concise", cwd=spec.parent)
    said = f"{spec}:7:20: SP452 there is no process {gone}, which `call` is for"
    assert done == Done(1, "", f"{said} (leave `pid` out of the spec, and choose a process with --pid)\n")


@live
@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/nowhere/at/all", "SP446 there is no file `/nowhere/at/all` (give its path, or the name by which the loader finds it: libssl.so.3)"),
        ("/dev/zero", "SP449 `/dev/zero` is a device, a pipe or a socket, and has no code to probe (give the path of a program or a shared library for x86-64)"),
        ("/tmp", "SP449 `/tmp` is a directory, and has no code to probe (give the path of a program or a shared library for x86-64)"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_said_at_the_file(path: str, said: str, tmp_path: Path) -> None:
    spec = tmp_path / "s.yaml"
    spec.write_text(f'specc: 1\nname: s\nprobes:\n  - uprobe: {path}:f\n    prototype: "int f(int a)"\n')
    done = specc("run", "s.yaml", "--output-format", "concise", cwd=tmp_path)
    assert done == Done(1, "", f"s.yaml:4:13: {said}\n")


@live
def test_a_replaced_file_is_told(spec: Path, target: Path) -> None:
    with started(spec, "--format", "jsonl", cwd=spec.parent) as run:
        copy = target.with_name("copy")
        copy.write_bytes(target.read_bytes())
        copy.chmod(0o755)
        copy.rename(target)
        time.sleep(1.5)
        run.send_signal(signal.SIGINT)
        done = finish(run)
    assert f"{target} was replaced: processes that start from now on are not probed" in done.err


@live
def test_a_rewritten_file_is_probed_no_longer(spec: Path, target: Path) -> None:
    """`cp` writes into the file: the probes would be at places of another function."""
    with started(spec, "--format", "jsonl", cwd=spec.parent) as run:
        subprocess.run([target, "1", "0"], check=True)
        time.sleep(0.5)
        target.write_bytes(target.read_bytes() + b"more")
        done = finish(run)
    assert done.code == 1
    assert done.err.splitlines()[0] == f"SP458 `{target}` was written to while it was probed, so it is no longer"
    assert done.err.splitlines()[-1] == "received 2, lost 0"
    assert [e["probe"] for e in events(done)] == ["call", "done"]
    with open_spec(spec) as probe, pytest.raises(SpeccError, match=r"SP458 .* was written to while it was probed"):
        target.write_bytes(target.read_bytes() + b"more")
        list(probe.events(seconds=5))


@live
def test_an_object_runs_as_its_spec_does(spec: Path, target: Path) -> None:
    built = specc("build", spec, "-o", "out", cwd=spec.parent)
    assert built.code == 0, built.err
    with started("out/watch.bpf.o", "--format", "jsonl", "--count", "4", cwd=spec.parent) as run:
        subprocess.run([target, "2", "0"], check=True)
        done = finish(run)
    assert [(e["probe"], e["a"]) for e in events(done)] == [("call", 0), ("done", 0), ("call", 1), ("done", 1)]


@live
def test_dry_run(spec: Path) -> None:
    done = specc("run", "--dry-run", spec, cwd=spec.parent)
    assert (done.code, done.out) == (0, "")
    assert done.err == "attached 2 probes and detached them: nothing was recorded (--dry-run)\n"


@live
def test_a_full_disk(spec: Path, target: Path) -> None:
    with sleeping(target) as process:
        with started(spec, "--format", "jsonl", "-o", "/dev/full", cwd=spec.parent) as run:
            subprocess.run([target, "2000", "0"], check=True)
            assert run.wait(timeout=30) == 3
            assert run.stderr is not None
            said = run.stderr.read().splitlines()
            assert said[0] == "SP506 cannot write `/dev/full`: No space left on device"
            assert re.fullmatch(r"received \d+, lost \d+", said[-1])
        assert not breakpoint_is_set(process.pid, target)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@live
@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet", "arrow"])
def test_a_disk_that_becomes_full(ending: str, spec: Path, target: Path, small_disk: Path) -> None:
    """Whole lines stay; of columns nothing, since they cannot be read without their end."""
    if ending in ("parquet", "arrow"):
        pytest.importorskip("pyarrow")
    output = small_disk / f"events.{ending}"
    (small_disk / "filler").write_bytes(b"x" * 40_000)
    with started(spec, "-o", output, cwd=spec.parent) as run:
        subprocess.run([target, "20000", "0"], check=True)
        if ending in ("parquet", "arrow"):
            time.sleep(0.5)
            run.send_signal(signal.SIGINT)
        done = finish(run)
    assert done.code == 3
    assert done.err.splitlines()[-1].startswith("received ")
    assert f"SP506 cannot write `{output}`: No space left on device" in done.err
    if ending in ("parquet", "arrow"):
        assert not output.exists()
        assert f"removed {output}, of which only a part could be written" in done.err
        return
    text = output.read_text()
    assert text.endswith("\n") and len(text) > 1000
    if ending == "jsonl":
        assert {json.loads(line)["probe"] for line in text.splitlines()} == {"call", "done"}


@live
def test_capabilities_are_given_up(spec: Path) -> None:
    with started(spec, cwd=spec.parent) as run:
        status = Path(f"/proc/{run.pid}/status").read_text()
    found = dict(line.split(":\t") for line in status.splitlines() if line.startswith(("Cap", "NoNew")))
    assert int(found["CapEff"], 16) == 0
    assert int(found["CapPrm"], 16) & ~(1 << 39) == 0
    assert found["NoNewPrivs"] == "1"


@live
def test_without_capabilities(spec: Path) -> None:
    code = (
        "import sys\n"
        "from specc.run.system import drop_capabilities\n"
        "from specc.cli import main\n"
        "drop_capabilities()\n"
        f"sys.exit(main(['run', '--dry-run', {str(spec)!r}]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr.startswith("SP421 this process has no CAP_")


BAD_STACK = """#asm
	.text
	.globl edge
	.type edge, @function
edge:
	ret
	.size edge, .-edge
	.globl call_at_the_edge
call_at_the_edge: /* rdi: the first byte after the last page that is mapped */
	pushq %rbp
	movq %rsp, %rbp
	movq %rdi, %rsp
	movq $42, %rdi
	call edge
	movq %rbp, %rsp
	popq %rbp
	ret
	.section .note.GNU-stack,"",@progbits
"""
BAD_STACK_MAIN = """
#include <sys/mman.h>
void call_at_the_edge(void *);
int main(void) {
	char *page = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(page + 4096, 4096, PROT_NONE);
	call_at_the_edge(page + 4096);
	return 0;
}
"""


@live
def test_a_read_that_fails_is_visible(tmp_path: Path) -> None:
    import specc as api

    program = compile_c(tmp_path / "edge", BAD_STACK, BAD_STACK_MAIN)
    spec = tmp_path / "edge.yaml"
    spec.write_text(
        "specc: 1\nname: edge\nfields: []\nprobes:\n"
        f"  - uprobe: {{path: {program}, symbol: edge}}\n"
        '    prototype: "void edge(long a, long b, long c, long d, long e, long f, int g, long h)"\n'
        "    args: [a, g, h]\n"
    )
    with api.open(spec) as probe:
        subprocess.run([program], check=True)
        assert probe.drain() == [
            {"probe": "edge", "a": 42, "g": None, "g_error": "EFAULT", "h": None, "h_error": "EFAULT"}
        ]


@live
def test_a_thousand_probes(tmp_path: Path) -> None:
    import specc as api

    number = 1000
    source = "".join(f'__attribute__((noinline, noipa)) int f{i}(int a) {{ __asm__ volatile("" ::: "memory"); return a; }}\n' for i in range(number))  # fmt: skip
    calls = "".join(f"f{i}({i});" for i in range(number))
    program = compile_c(tmp_path / "many", f"{source}int main(void) {{ {calls} return 0; }}", flags=("-O1",))
    spec = tmp_path / "many.yaml"
    probes = "".join(f"  - uprobe: {{path: {program}, symbol: f{i}}}\n" for i in range(number))
    (tmp_path / "many.h").write_text("".join(f"int f{i}(int a);\n" for i in range(number)))
    spec.write_text(f"specc: 1\nname: many\nheaders: [many.h]\nfields: []\nprobes:\n{probes}")
    with api.open(spec) as probe:
        subprocess.run([program], check=True)
        assert probe.drain() == [{"probe": f"f{i}", "a": i} for i in range(number)]
        assert (probe.lost, probe.missed) == (0, 0)


@live
@pytest.mark.skipif(
    os.path.exists("/sys/bus/event_source/devices/kprobe"), reason="live tests: this kernel has kprobes"
)
def test_a_kernel_without_kprobes(tmp_path: Path) -> None:
    spec = tmp_path / "k.yaml"
    spec.write_text('specc: 1\nname: k\nprobes:\n  - kprobe: vfs_read\n    prototype: "long vfs_read(void *file)"\n')
    done = specc("run", spec, cwd=tmp_path)
    assert done.code == 3
    assert re.match(r"SP422 the kernel of this machine \(\S+\) has no kprobes\n +--> \S*k\.yaml:4:13\n", done.err)


@live
def test_the_interface_after_its_end(spec: Path, target: Path) -> None:
    with open_spec(os.fsencode(spec)) as probe:
        subprocess.run([target, "3", "0"], check=True)
        assert len(list(probe.events(seconds=0.5))) == 6
        with pytest.raises(ValueError, match="no time to wait for: nan seconds"):
            next(probe.events(seconds=float("nan")))
    assert (probe.lost, probe.missed, probe.limited) == (0, 0, 0)
    for ask in (lambda: next(probe.events()), lambda: list(probe.batches(0)), probe.drain, probe.take):
        with pytest.raises(ValueError, match="it is closed"):
            ask()
    probe.close()

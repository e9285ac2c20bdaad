"""User stacks against what a program knows of itself: each of its functions notes what it returns to.

The names, offsets and files that a record has must be those that the program printed, whatever became of the process.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from command import specc as command
from jsonschema import Draft202012Validator

import specc

from .build import compile_c, live
from .test_live_run import finish, started

pytestmark = live

# A function's frame as a record spells it: where it was when it called the next one.
KNOWS = r"""
#include <stdio.h>
#include <stdlib.h>
struct note { const char *file, *name; char *function, *returns; };
extern struct note notes[1000];
extern int depth;
#define ENTER(f) notes[depth++] = (struct note){FILE_NAME, #f, (char *)f, __builtin_return_address(0)}
#define LEAVE depth--
#define CODE __attribute__((noinline, noclone, noipa))
"""
CHAIN = (
    KNOWS
    + r"""
struct note notes[1000];
int depth;
long far_away(long a);
void tell(void);
CODE long leaf(long a) { return a + 1; }
CODE long probed(long a) { ENTER(probed); if (a < 0) tell(); long r = leaf(a); LEAVE; return r; }
void tell(void)
{
	printf("[\"%s [%s]\"", notes[depth - 1].name, notes[depth - 1].file);
	for (int i = depth - 1; i > 0; i--)
		printf(", \"%s+%#lx [%s]\"", notes[i - 1].name, notes[i].returns - notes[i - 1].function, notes[i - 1].file);
	printf("]\n");
	fflush(stdout);
}
CODE long inner(long a) { ENTER(inner); long r = probed(a) + 1; LEAVE; return r; }
CODE static long hidden(long a) { ENTER(hidden); long r = FAR(a) + 2; LEAVE; return r; }
CODE long recurse(long n) { ENTER(recurse); long r = n ? recurse(n - 1) + 1 : inner(-1); LEAVE; return r; }
int main(int n, char **v)
{
	ENTER(main);
	if (n > 2) getchar();
	return (n > 1 ? recurse(atol(v[1])) : hidden(-1)) == 12345;
}
"""
)
LIBRARY = (
    KNOWS
    + "long inner(long a);\nCODE long far_away(long a) { ENTER(far_away); long r = inner(a) + 3; LEAVE; return r; }\n"
)
FRAMES = ("-O1", "-fno-omit-frame-pointer", "-fno-optimize-sibling-calls")
PROTOTYPE = "long probed(long a)"


def build(folder: Path, name: str, *flags: str, library: bool = False) -> Path:
    more: list[str] = []
    if library:
        shared = [*FRAMES, "-fPIC", "-shared", '-DFILE_NAME="libfar.so"']
        compile_c(folder / "libfar.so", LIBRARY, flags=shared)
        more = ["-rdynamic", f"-L{folder}", "-lfar", f"-Wl,-rpath,{folder}"]
    far = "far_away" if library else "inner"
    return compile_c(
        folder / name,
        CHAIN,
        flags=[*FRAMES, *flags, f'-DFILE_NAME="{name}"', f"-DFAR={far}", "-Wl,--no-as-needed", *more],
    )


def spec_of(
    folder: Path, *programs: Path, symbol: str = "probed", kinds: tuple[str, ...] = ("uprobe",), more: str = ""
) -> Path:
    lines = ["specc: 1", "name: stacks", "fields: [pid, comm]", *([more] if more else []), "probes:"]
    for program in programs:
        for kind in kinds:
            lines.append(
                f"  - {{name: {kind}_{program.name}, {kind}: {{path: {program}, symbol: {symbol}}}, "
                f'prototype: "long {symbol}(long a)", args: [a], stack: user}}'
            )
    path = folder / "stacks.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


def run(program: Path, *arguments: str) -> list[list[str]]:
    """What the program knows: a stack for each line."""
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


@contextmanager
def waiting(program: Path) -> Iterator[None]:
    """Another process of the program, that has begun and does nothing."""
    process = subprocess.Popen([program, "0", "wait"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        while b" r-xp " not in Path(f"/proc/{process.pid}/maps").read_bytes().partition(b"libc.so")[2]:
            if b"libc" not in subprocess.run(["ldd", program], capture_output=True, check=False).stdout:
                break
        yield
    finally:
        process.communicate(b"\n")


def begins(found: list[str] | None, known: list[str]) -> None:
    """The frames up to `main`; what called that is the C library's."""
    assert found is not None and found[: len(known)] == known
    assert not {f.split("+")[0] for f in found[len(known) :]} & {f.split("+")[0] for f in known}


BUILDS = {
    "pie": (("-fPIE", "-pie"), False),
    "no-pie": (("-no-pie", "-fno-pie"), False),
    "static": (("-static", "-no-pie", "-fno-pie"), False),
    "static-pie": (("-static-pie", "-fPIE"), False),
    "library": (("-fPIE", "-pie"), True),
}


@pytest.mark.parametrize("how", BUILDS)
def test_names_offsets_and_files(how: str, tmp_path: Path) -> None:
    flags, library = BUILDS[how]
    program = build(tmp_path, "chain", *flags, library=library)
    [known] = run(program)  # before: a return probe puts its own address where a function finds the one to return to
    with specc.open(spec_of(tmp_path, program, kinds=("uprobe", "uretprobe"))) as probe:
        run(program)
        with waiting(program):  # whose library somebody has to use for it to be found
            entered, left = probe.drain()
    assert len(known) == (5 if library else 4)
    begins(entered["user_stack"], known)
    begins(left["user_stack"], known[1:])  # at the return, the caller runs


def test_a_function_without_a_frame_of_its_own(tmp_path: Path) -> None:
    """Frame pointers lead past the caller of a function that has not set one up: its place is not left empty."""
    program = build(tmp_path, "chain", "-fPIE", "-pie", "-momit-leaf-frame-pointer")
    with specc.open(spec_of(tmp_path, program, symbol="leaf")) as probe:
        [known] = run(program)
        [event] = probe.drain()
    begins(event["user_stack"], ["leaf [chain]", "[caller not recorded]", *known[1:]])


def test_a_function_that_begins_with_endbr64(tmp_path: Path) -> None:
    program = build(tmp_path, "chain", "-fPIE", "-pie", "-fcf-protection")
    with specc.open(spec_of(tmp_path, program)) as probe:
        [known] = run(program)
        [event] = probe.drain()
    knows = " ibt_save\n" in Path("/proc/kallsyms").read_text()
    begins(event["user_stack"], known if knows else [known[0], "[caller not recorded]", *known[2:]])


def test_stripped_without_names(tmp_path: Path) -> None:
    """A place in no function that the file still names is told as a place in the file, never as the nearest name."""
    program = build(tmp_path, "chain", "-fPIE", "-pie", "-rdynamic")
    [named] = run(program)
    symbols = subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout
    start = next(int(line.split()[0], 16) for line in symbols.splitlines() if line.endswith(" t hidden"))
    subprocess.run(["strip", program], check=True)
    with specc.open(spec_of(tmp_path, program)) as probe:
        run(program)
        [event] = probe.drain()
    [number] = [i for i, frame in enumerate(named) if frame.startswith("hidden+")]
    offset = int(named[number].split("+")[1].split()[0], 16)
    # Code is at the same place in this file as in memory.
    named[number] = f"[chain+{start + offset:#x}]"
    begins(event["user_stack"], named)


def test_names_from_a_separate_debug_file(tmp_path: Path) -> None:
    program = build(tmp_path, "chain", "-fPIE", "-pie", "-g")
    subprocess.run(["objcopy", "--only-keep-debug", program, tmp_path / "chain.debug"], check=True)
    subprocess.run(["strip", program], check=True)
    subprocess.run(["objcopy", f"--add-gnu-debuglink={tmp_path / 'chain.debug'}", program], check=True)
    offsets = subprocess.run(["nm", tmp_path / "chain.debug"], capture_output=True, text=True, check=True).stdout
    start = next(int(line.split()[0], 16) for line in offsets.splitlines() if line.endswith(" T probed"))
    spec = spec_of(tmp_path, program)
    spec.write_text(
        spec.read_text()
        .replace("symbol: probed", f"offset: {start}")
        .replace(', prototype: "long probed(long a)", args: [a]', "")
    )
    with specc.open(spec) as probe:
        [known] = run(program)
        [event] = probe.drain()
    begins(event["user_stack"], known)


def test_a_file_that_is_gone_is_told_by_its_build_id(tmp_path: Path) -> None:
    program = build(tmp_path, "chain", "-fPIE", "-pie")
    notes = subprocess.run(["readelf", "-n", program], capture_output=True, text=True, check=True).stdout
    build_id = notes.split("Build ID: ")[1].split()[0]
    with specc.open(spec_of(tmp_path, program)) as probe:
        run(program)
        program.unlink()
        [event] = probe.drain()
    frames = event["user_stack"]
    assert frames is not None and len(frames) > 4
    assert all(frame.startswith(f"[{build_id}+0x") for frame in frames[:4])


def test_a_deleted_file_that_a_process_still_runs(tmp_path: Path) -> None:
    program = build(tmp_path, "chain", "-fPIE", "-pie")
    with specc.open(spec_of(tmp_path, program)) as probe:
        [known] = run(program)
        with waiting(program):
            program.unlink()
            [event] = probe.drain()
    begins(event["user_stack"], known)


def test_two_programs_at_the_same_addresses(tmp_path: Path) -> None:
    """Their stacks meet in one place of the map, and only the first is kept."""
    one, two = (build(tmp_path, name, "-static", "-no-pie", "-fno-pie") for name in ("chain1", "chain2"))
    addresses = [
        [line.split()[0] for line in subprocess.run(["nm", p], capture_output=True, text=True, check=True).stdout.splitlines() if line.endswith((" probed", " inner", " main"))]
        for p in (one, two)
    ]  # fmt: skip
    assert addresses[0] == addresses[1]
    with specc.open(spec_of(tmp_path, one, two)) as probe:
        known = [*run(one), *run(two), *run(one)]
        events = probe.drain()
    begins(events[0]["user_stack"], known[0])
    begins(events[2]["user_stack"], known[2])
    assert (events[1]["user_stack"], events[1]["user_stack_error"]) == (None, "EEXIST")


@pytest.mark.parametrize("levels", [20, 200])
def test_deep_recursion(levels: int, tmp_path: Path) -> None:
    program = build(tmp_path, "chain", "-fPIE", "-pie")
    with specc.open(spec_of(tmp_path, program)) as probe:
        [known] = run(program, str(levels))
        [event] = probe.drain()
    assert len(known) == levels + 4
    if levels == 20:
        begins(event["user_stack"], known)
    else:
        assert event["user_stack"] == [*known[:127], "[at most 127 frames]"]


MANY = r"""
#include <pthread.h>
#include <stdlib.h>
__attribute__((noinline, noipa)) long bottom(long depth, long all) { __asm__ volatile(""); return depth; }
__attribute__((noinline, noipa)) long step(long n, long depth, long all) { long r = n > 1 ? step(n - 1, depth, all) : bottom(depth, all); __asm__ volatile(""); return r + 1; }
static long levels, rounds;
static void *work(void *x) { for (long i = 0; i < rounds; i++) step(1 + (i + (long)x) % levels, 1 + (i + (long)x) % levels, levels); return 0; }
int main(int n, char **v)
{
	long threads = atol(v[1]);
	pthread_t t[64];
	levels = atol(v[2]), rounds = atol(v[3]);
	for (long i = 0; i < threads; i++) pthread_create(&t[i], 0, work, (void *)(i * 7));
	for (long i = 0; i < threads; i++) pthread_join(t[i], 0);
	return 0;
}
"""


@contextmanager
def many(folder: Path, *, stacks: int = 16384) -> Iterator[tuple[Path, specc.Running]]:
    program = compile_c(folder / "many", MANY, flags=("-O0", "-fno-omit-frame-pointer"))
    path = folder / "many.yaml"
    path.write_text(
        f"specc: 1\nname: many\nfields: [tid]\nbuffer: {{ring: 16MiB}}\nstacks: {stacks}\nprobes:\n"
        f"  - uprobe: {program}:bottom\n    prototype: long bottom(long depth, long all)\n    args: [depth]\n    stack: user\n"
    )
    with specc.open(path) as probe:
        yield program, probe


@cache
def code_of(program: Path) -> list[tuple[int, str]]:
    said = subprocess.run(["nm", "-n", program], capture_output=True, text=True, check=True).stdout
    lines = [line.split() for line in said.splitlines() if line[:16].strip()]
    return [(int(start, 16), name) for start, kind, name in lines if kind in "tT"]


def by_address(frames: list[str], program: Path) -> list[str]:
    """Frames of which the kernel had no more than the addresses, since another thread was changing what is mapped, by the
    names that nm has for them. The first one is where `bottom` begins."""
    code = code_of(program)
    added = int(frames[0], 16) - next(start for start, name in code if name == "bottom")
    assert added % 4096 == 0

    def named(address: int) -> str:
        start, name = max((s, n) for s, n in code if s <= address)
        return f"{name}+{address - start:#x} [many]" if address > start else f"{name} [many]"

    end = next(i for i, f in enumerate(frames) if not code[0][0] <= int(f, 16) - added <= code[-1][0])
    return [named(int(f, 16) - added) for f in frames[:end]] + frames[end:]


def checked(event: dict[str, Any], program: Path) -> bool:
    """Whether it has a stack; if so, it is that of its own depth."""
    frames = event["user_stack"]
    if frames is None:
        return False
    if frames[0].startswith("0x"):
        frames = by_address(frames, program)
    assert frames[0] == "bottom [many]"
    steps = [f for f in frames if f.startswith("step+")]
    assert len(steps) == event["depth"] and frames[1 : 1 + len(steps)] == steps
    assert frames[1 + len(steps)].startswith("work+")
    return True


@pytest.mark.parametrize("stacks", [4, 64])
def test_a_map_that_is_too_small_shows_no_other_stack(stacks: int, tmp_path: Path) -> None:
    with many(tmp_path, stacks=stacks) as (program, probe):
        subprocess.run([program, "1", "60", "600"], check=True)
        events = probe.drain()
    assert len(events) == 600
    told = [checked(e, program) for e in events]
    kept = {e["depth"] for e, t in zip(events, told, strict=True) if t}
    why = {e["user_stack_error"] for e, t in zip(events, told, strict=True) if not t}
    assert 1 <= len(kept) < 60
    if stacks == 4:
        # A map with no free element has none to compare the next stack in. The four may fill it before one finds its
        # place taken: the places are by the addresses, which are others each time.
        assert "ENOMEM" in why and why <= {"EEXIST", "ENOMEM"}
    else:
        assert why == {"EEXIST"} and sum(told) == 10 * len(kept)


def test_many_threads_have_each_its_own_stack(tmp_path: Path) -> None:
    with many(tmp_path) as (program, probe):
        done = subprocess.Popen([program, "16", "20", "1500"])
        events = [e for batch in probe.batches(0.5) for e in batch]  # while they run: frames are read meanwhile
        done.wait()
        events += probe.drain()
        lost = probe.lost
    assert len(events) + lost == 16 * 1500
    told = [checked(e, program) for e in events]
    assert {e["user_stack_error"] for e, t in zip(events, told, strict=True) if not t} <= {"EEXIST", "EAGAIN", "EFAULT"}
    assert sum(told) > 1000 and {e["depth"] for e, t in zip(events, told, strict=True) if t} >= set(range(1, 19))


def folded(text: str) -> dict[tuple[str, ...], int]:
    """As flamegraph.pl reads it: what is behind the last space is the count."""
    found: dict[tuple[str, ...], int] = {}
    for line in text.splitlines():
        stack, _, count = line.rpartition(" ")
        assert tuple(stack.split(";")) not in found
        found[tuple(stack.split(";"))] = int(count)
    return found


def test_folded(tmp_path: Path) -> None:
    program = build(tmp_path, "chain", "-fPIE", "-pie")
    spec = spec_of(tmp_path, program)
    with started(spec, "--format", "folded", "--count", "5", cwd=tmp_path) as process:
        for levels in (1, 1, 3, 1, 3):
            run(program, str(levels))
        done = finish(process)
    assert done.code == 0, done.err
    stacks = folded(done.out)
    cut = {stack[stack.index("main") :]: count for stack, count in stacks.items()}
    assert cut == {
        ("main", "recurse", "recurse", "inner", "probed"): 3,
        ("main", "recurse", "recurse", "recurse", "recurse", "inner", "probed"): 2,
    }
    assert {stack[0] for stack in stacks} == {"chain"}


def test_lines_and_tables(tmp_path: Path) -> None:
    program = build(tmp_path, "chain", "-fPIE", "-pie")
    spec = spec_of(tmp_path, program)
    schema = json.loads(command("schema", "--event", spec, cwd=tmp_path).out)
    for format_ in ("jsonl", "csv", "table"):
        with started(spec, "--format", format_, "--count", "1", cwd=tmp_path) as process:
            [known] = run(program)
            done = finish(process)
        assert done.code == 0, done.err
        if format_ == "jsonl":
            [event] = [json.loads(line) for line in done.out.splitlines()]
            assert list(Draft202012Validator(schema).iter_errors(event)) == []
            begins(event["user_stack"], known)
        elif format_ == "csv":
            head, row = done.out.splitlines()
            begins(row.split(",")[head.split(",").index("user_stack")].split(";"), known)
        else:
            begins([line.removeprefix("    ") for line in done.out.splitlines()[2:]], known)


def test_folded_without_stacks_is_refused(tmp_path: Path) -> None:
    program = build(tmp_path, "chain", "-fPIE", "-pie")
    spec = spec_of(tmp_path, program)
    spec.write_text(spec.read_text().replace(", stack: user", ""))
    done = command("run", spec, "--format", "folded", cwd=tmp_path)
    assert done.code == 1 and done.err.startswith("SP468 "), done.err


def test_after_privileges_are_given_up(tmp_path: Path) -> None:
    """The command line keeps what it takes to see which files other processes have mapped: here a library, by one."""
    program = build(tmp_path, "chain", "-fPIE", "-pie", library=True)
    with waiting(program), started(spec_of(tmp_path, program), "--format", "jsonl", "--count", "1", cwd=tmp_path) as process:  # fmt: skip
        [known] = run(program)
        done = finish(process)
    assert done.code == 0, done.err
    assert " [libfar.so]" in str(known)
    begins(json.loads(done.out)["user_stack"], known)


def test_perf_buffer(tmp_path: Path) -> None:
    program = build(tmp_path, "chain", "-fPIE", "-pie")
    with specc.open(spec_of(tmp_path, program, more="buffer: {perf: 16}")) as probe:
        [known] = run(program)
        [event] = probe.drain()
    begins(event["user_stack"], known)


def test_columns(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    program = build(tmp_path, "chain", "-fPIE", "-pie")
    options = ("--format", "parquet", "-o", "x.parquet", "--count", "1")
    with started(spec_of(tmp_path, program), *options, cwd=tmp_path) as process:
        [known] = run(program)
        done = finish(process)
    assert done.code == 0, done.err
    [row] = parquet.read_table(tmp_path / "x.parquet").to_pylist()
    begins(row["user_stack"], known)
    assert row["user_stack_error"] is None

"""`format: symbol` of addresses in a process: against the names that the program has for them, and hex where none is sure."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from command import specc as command

from specc.run.user_symbols import UserSymbols

from .build import compile_c, live
from .test_live_run import finish, started

pytestmark = live

PROGRAM = r"""
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
extern char **environ;
long in_library(long a);
extern int library_table[50];
__attribute__((noinline, noipa)) void take(const void *what) { __asm__ volatile("" ::: "memory"); }
__attribute__((noinline, noipa)) long function(long a) { return a * 3; }
static __attribute__((noinline, noipa)) long hidden(long a) { return a * 5; }
int table[100] = {1, 2, 3};
const int constants[10] = {4, 5};
int zeros[4000];
static char *const NAMES[] = {"a"};
int main(int n, char **v)
{
	char local;
	if (n > 2) { puts("second"); fflush(stdout); getchar(); return 0; }
	take(function); take((char *)function + 2); take(hidden); take(&table[7]); take(&constants[1]); take(&zeros[3999]);
	take(&local); take((void *)16); take(malloc(8)); take(0);
#ifdef LIBRARY
	take(in_library); take(&library_table[49]); take(&library_table[50]);
#endif
	printf("%#lx %#lx\n", (long)&local, (long)function);
	fflush(stdout);
	getchar();
	execl("/proc/self/exe", v[0], "1", "2", NULL);
	return 1;
}
"""
LIBRARY = "long in_library(long a) { return a * 7; }\nint library_table[50] = {1};\n"
NAMES = ["function [names]", "function+0x2 [names]", "hidden [names]", "table+0x1c [names]", "constants+0x4 [names]",
         "zeros+0x3e7c [names]"]  # fmt: skip


def build(folder: Path, *flags: str, library: bool = False) -> Path:
    more: list[str] = []
    if library:
        compile_c(folder / "libnames.so", LIBRARY, flags=["-O1", "-fPIC", "-shared"])
        more = ["-DLIBRARY", f"-L{folder}", "-Wl,--no-as-needed", "-lnames", f"-Wl,-rpath,{folder}"]
    return compile_c(folder / "names", PROGRAM, flags=["-O1", *flags, *more])


def spec_of(program: Path, fields: str = "pid") -> Path:
    path = program.with_name("names.yaml")
    path.write_text(
        f"specc: 1\nname: names\nfields: [{fields}]\nprobes:\n  - uprobe: {{path: {program}, symbol: take}}\n"
        '    prototype: "void take(const void *what)"\n    args: [{what: {format: symbol}}]\n'
    )
    return path


@contextmanager
def alive(program: Path) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """The program after its calls, waiting: and the addresses of a local variable and of a function."""
    process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    try:
        local, function = process.stdout.readline().split()
        yield process, local, function
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("flags", "library"),
    [(("-fPIE", "-pie"), False), (("-no-pie", "-fno-pie"), False), (("-static", "-no-pie"), False), (("-fPIC", "-pie"), True)],
    ids=["pie", "no-pie", "static", "library"],
)  # fmt: skip
def test_names(flags: tuple[str, ...], library: bool, tmp_path: Path) -> None:
    program = build(tmp_path, *flags, library=library)
    count = 13 if library else 10
    running = started(spec_of(program), "--format", "table", "--count", str(count), cwd=tmp_path)
    with running as process, alive(program) as (_, local, _function):
        done = finish(process)
    shown = [line.split(None, 1)[1].strip() for line in done.out.splitlines()[1:]]
    assert shown[:8] == [*NAMES, local, "0x10"]
    assert shown[8].startswith("0x") and shown[9] == "NULL"  # the heap has no names
    if library:
        assert shown[10:12] == ["in_library [libnames.so]", "library_table+0xc4 [libnames.so]"]
        assert not shown[12].startswith("library_table")  # one past the end is something else, or nothing


def test_records_have_the_number(tmp_path: Path) -> None:
    program = build(tmp_path, "-fPIE", "-pie")
    running = started(spec_of(program), "--format", "jsonl", "--count", "10", cwd=tmp_path)
    with running as process, alive(program) as (_, local, function):
        done = finish(process)
    events = [json.loads(line) for line in done.out.splitlines()]
    assert [set(e) for e in events] == [{"probe", "pid", "what"}] * 10
    assert (events[0]["what"], events[6]["what"]) == (int(function, 16), int(local, 16))


def start_of_stack(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[25])


def test_another_program_in_the_same_process(tmp_path: Path) -> None:
    """After an exec, and after its end, a process's addresses are no longer known."""
    symbols = UserSymbols()
    with alive(build(tmp_path, "-fPIE", "-pie")) as (process, _, function):
        space, address = start_of_stack(process.pid), int(function, 16)
        assert symbols(process.pid, space, address) == "function [names]"
        assert symbols(process.pid, space + 16, address) is None and symbols(process.pid, 0, address) is None
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "second\n"  # it has executed itself
        assert start_of_stack(process.pid) != space
        assert symbols(process.pid, space, address) is None
    assert symbols(process.pid, space, address) is None


def test_a_deleted_program_and_another_in_its_place(tmp_path: Path) -> None:
    program = build(tmp_path, "-fPIE", "-pie")
    with alive(program) as (process, _, function):
        program.unlink()
        program.write_bytes(Path("/bin/true").read_bytes())
        space, address = start_of_stack(process.pid), int(function, 16)
        assert UserSymbols()(process.pid, space, address) == "function [names]"


def test_without_the_process_it_is_refused(tmp_path: Path) -> None:
    program = build(tmp_path, "-fPIE", "-pie")
    done = command("build", spec_of(program, "tid"), "--emit", "c", "-o", os.devnull, cwd=tmp_path)
    assert done.code == 1 and done.err.startswith("SP297 "), done.err

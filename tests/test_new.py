"""`specc new`: the function that is meant, a spec that `check` takes, and no half of a file."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command import Done, environment, specc

GCC = shutil.which("gcc") or shutil.which("clang")
# The kernel has a function of this name too, with other arguments.
PROGRAM = "__attribute__((noinline)) int vfs_read(int x) { return x + 1; }\nint main(int n, char **v) { return vfs_read(n); }\n"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    if GCC is None:
        pytest.skip("no C compiler for the host")
    (tmp_path / "p.c").write_text(PROGRAM)
    for flags, name in (("-g", "program"), ("-g0", "plain")):
        subprocess.run([GCC, "-O1", flags, "p.c", "-o", name], cwd=tmp_path, check=True)
    return tmp_path / "program"


@pytest.mark.parametrize("named", ["./program", "program"])
def test_a_user_function_is_that_of_its_file(named: str, program: Path) -> None:
    done = specc("new", "vfs_read", "--uprobe", named, cwd=program.parent)
    assert (done.code, done.err) == (0, "")
    assert (
        done.out
        == """\
specc: 1
name: vfs_read
description: Calls of vfs_read.
probes:
  # int vfs_read(int x)
  - uprobe: {path: "./program", symbol: vfs_read}
    args:
      - x  # int x: rdi
  # The result, int, is seen by a `uretprobe` as `return`.
"""
    )
    (program.parent / "s.yaml").write_text(done.out)
    assert specc("check", "s.yaml", cwd=program.parent) == Done(0, "", "1 spec checked, nothing wrong\n")


def test_a_file_that_says_nothing_of_its_functions(program: Path) -> None:
    done = specc("new", "vfs_read", "--uprobe", "./plain", "--output-format", "concise", cwd=program.parent)
    assert done == Done(
        1, "", "SP272 `./plain` has no debug information "
        "(compile it with -g, install its debug package, or give --header or --prototype)\n",
    )  # fmt: skip
    done = specc("new", "vfs_read", "--uprobe", "./plain", "--prototype", "int vfs_read(long a)", cwd=program.parent)
    assert done.code == 0 and "      - a  # long a: rdi\n" in done.out


@pytest.mark.parametrize(
    ("function", "arguments", "listed"),
    [
        ("f", "int pid, int comm, int probe, int latency, int x_error, int x",
         ["{pid: {as: pid_2}}", "{comm: {as: comm_2}}", "{probe: {as: probe_2}}", "latency", "{x_error: {as: x_error_2}}", "x"]),
        ("f", "int tid, int tid_2, char *a_truncated, int a",
         ["{tid: {as: tid_2_2}}", "tid_2", "{a_truncated: {as: a_truncated_2}}", "a"]),
        ("__64th", "int a", ["a"]),
    ],
)  # fmt: skip
def test_what_new_writes_check_takes(function: str, arguments: str, listed: list[str], tmp_path: Path) -> None:
    done = specc("new", function, "--prototype", f"int {function}({arguments})", "-o", "s.yaml", cwd=tmp_path)
    assert done == Done(0, "", "wrote s.yaml\n")
    lines = (tmp_path / "s.yaml").read_text().splitlines()
    assert [line.partition("#")[0].strip()[2:] for line in lines if line.startswith("      - ")] == listed
    assert specc("check", "s.yaml", cwd=tmp_path) == Done(0, "", "1 spec checked, nothing wrong\n")


def test_no_half_of_a_file(tmp_path: Path) -> None:
    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))

    done = subprocess.run(
        [sys.executable, "-B", "-m", "specc", "new", "f", "--prototype", "int f(int a)", "-o", "s.yaml",
         "--output-format", "concise"],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False, preexec_fn=little_room,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (
        3, "", "SP506 cannot write `s.yaml`: File too large (make room there, or choose another place with -o)\n",
    )  # fmt: skip
    assert list(tmp_path.iterdir()) == []

"""Where `specc run` writes is looked at before anything is built, loaded or attached; this needs no root."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from command import Done, environment, specc

from specc.api import SpeccError
from specc.api import open as open_spec

SPEC = """specc: 1
name: watch
fields: []
probes:
  - uprobe: {path: /nowhere/program, symbol: main}
    prototype: "int main(int number)"
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "watch.yaml"
    path.write_text(SPEC)
    return path


def without_arrow(folder: Path) -> dict[str, str]:
    for name in ("numpy", "pyarrow"):
        (folder / f"{name}.py").write_text(f"raise ImportError('there is no {name}')\n")
    return environment(PYTHONPATH=os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")])))


@pytest.mark.parametrize(
    ("arguments", "format_"),
    [
        (("-o", "events.parquet"), "parquet"),
        (("-o", "events.arrow"), "arrow"),
        (("-o", "events.jsonl", "--format", "parquet"), "parquet"),
        (("--format", "arrow"), "arrow"),
    ],
)
def test_without_pyarrow(arguments: tuple[str, ...], format_: str, spec: Path) -> None:
    (folder := spec.parent / "site").mkdir()
    done = specc("run", spec, *arguments, cwd=spec.parent, env=without_arrow(folder))
    assert done.err.startswith(f"SP465 the format {format_} needs numpy and pyarrow: there is no ")
    assert (done.code, done.out) == (3, "")
    assert "\n1 error found" in done.err, "what is wrong with the spec is not looked at"
    assert sorted(p.name for p in spec.parent.iterdir()) == ["site", "watch.yaml"]


def test_a_file_that_is_there_is_left_alone(spec: Path) -> None:
    (folder := spec.parent / "site").mkdir()
    (spec.parent / "events.parquet").write_text("of yesterday")
    assert specc("run", spec, "-o", "events.parquet", cwd=spec.parent, env=without_arrow(folder)).code == 3
    assert (spec.parent / "events.parquet").read_text() == "of yesterday"


@pytest.mark.parametrize(
    ("output", "why"),
    [
        ("missing/events.jsonl", "No such file or directory"),
        ("/proc/nope/events", "No such file or directory"),
    ],
)
def test_a_place_that_cannot_be_written(output: str, why: str, spec: Path) -> None:
    done = specc("run", spec, "-o", output, cwd=spec.parent)
    assert (done.code, done.out, done.err.splitlines()[0]) == (3, "", f"SP506 cannot write `{output}`: {why}")
    assert "\n1 error found" in done.err


@pytest.mark.parametrize(
    ("output", "why"),
    [
        ("watch.yaml/events.jsonl", "Not a directory"),
        (".", "Is a directory"),
        ("/proc/version/events", "Not a directory"),
    ],
)
def test_something_is_in_the_way(output: str, why: str, spec: Path) -> None:
    done = specc("run", spec, "-o", output, cwd=spec.parent)
    said = f"SP507 cannot write `{output}`: a part of the path is in the way ({why})"
    assert (done.code, done.out, done.err.splitlines()[0]) == (1, "", said)


@pytest.mark.parametrize("output", ["watch.yaml", "./watch.yaml", "link.yaml", "hard.yaml"])
def test_the_input_is_no_output(output: str, spec: Path) -> None:
    (spec.parent / "link.yaml").symlink_to(spec)
    (spec.parent / "hard.yaml").hardlink_to(spec)
    done = specc("run", "watch.yaml", "-o", output, "--output-format", "concise", cwd=spec.parent)
    assert done == Done(1, "", f"SP507 `{output}` is what is to be run, and would be lost (choose another -o)\n")
    assert spec.read_text() == SPEC


def test_one_spec_is_run_at_a_time(spec: Path) -> None:
    (spec.parent / "other.yaml").write_text(SPEC.replace("watch", "other"))
    done = specc("run", ".", cwd=spec.parent)
    assert (done.code, done.out) == (1, "")
    assert done.err.splitlines() == [
        "SP454 `.` has 2 specs, and only one is run at a time",
        "  = help: name one of them",
        "  = note: other.yaml",
        "  = note: watch.yaml",
        "",
        "1 error found; `specc explain CODE` says more",
    ]
    (spec.parent / "empty").mkdir()
    done = specc("run", "empty", "--output-format", "concise", cwd=spec.parent)
    assert done.code == 1 and done.err.startswith("SP029 no specs in the directory `empty`")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", ""), "argument SPEC or OBJECT: an empty name is given"),
        (("run", "watch.yaml", "-o", ""), "argument -o/--output: an empty name is given"),
        (("check", "watch.yaml", ""), "argument SPEC or DIR: an empty name is given"),
        (("build", ""), "argument SPEC or DIR: an empty name is given"),
        (("build", "watch.yaml", "-o", ""), "argument -o/--output: an empty name is given"),
        (("check", "--btf", "", "watch.yaml"), "argument --btf: an empty name is given"),
        (("run", "watch.yaml", "--count", "abc"), "argument --count: `abc` is not a positive number"),
        (("run", "watch.yaml", "--count", "-1"), "argument --count: `-1` is not a positive number"),
        (("run", "watch.yaml", "--pid", "1_0"), "argument --pid: `1_0` is not a positive number"),
        (("run", "watch.yaml", "--duration", "5s"), "argument --duration: `5s` is not a duration in seconds, such as 2.5"),
        (("run", "watch.yaml", "--duration", "nan"), "argument --duration: `nan` is not a duration in seconds, such as 2.5"),
    ],
)  # fmt: skip
def test_words_that_mean_nothing(arguments: tuple[str, ...], said: str, spec: Path) -> None:
    done = specc(*arguments, cwd=spec.parent)
    assert (done.code, done.out, done.err.splitlines()[-1]) == (2, "", f"specc {arguments[0]}: {said}")
    assert [p.name for p in spec.parent.iterdir()] == ["watch.yaml"]


def test_an_empty_name_is_no_program() -> None:
    with pytest.raises(SpeccError, match="an empty name is no spec, and no object"):
        open_spec("")


def test_no_columns_on_a_terminal(spec: Path) -> None:
    pytest.importorskip("pyarrow")
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "specc", "run", str(spec), "--format", "parquet"],
            cwd=spec.parent, env=environment(), stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.PIPE,
            text=True, check=False,
        )  # fmt: skip
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 1
    assert done.stderr.startswith("SP466 the format parquet is no text for a terminal")


@pytest.mark.parametrize("arguments", [{"attach": "foo"}, {"attach": ""}])
def test_the_interface_takes_what_the_command_line_takes(arguments: dict[str, str], spec: Path) -> None:
    with pytest.raises(ValueError, match="attach is one of auto, link, perf, legacy, not '"):
        open_spec(spec, **arguments)  # type: ignore[arg-type]


def test_a_path_of_bytes() -> None:
    with pytest.raises(SpeccError, match="there is no object"):
        open_spec(b"/nowhere/\xe9.o")


def test_a_btf_that_is_not_there_is_told_to_the_interface_too(spec: Path) -> None:
    with pytest.raises(SpeccError, match="SP231 cannot read BTF from `nope`: no such file"):
        open_spec(spec, btf=["nope"])

"""Where `specc run` writes is looked at before anything is built, loaded or attached; this needs no root."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from command import environment, specc

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
        ("watch.yaml/events.jsonl", "Not a directory"),
        (".", "Is a directory"),
        ("/proc/version/events", "Not a directory"),
    ],
)
def test_a_place_that_cannot_be_written(output: str, why: str, spec: Path) -> None:
    done = specc("run", spec, "-o", output, cwd=spec.parent)
    assert (done.code, done.out, done.err.splitlines()[0]) == (1, "", f"SP506 cannot write `{output}`: {why}")
    assert "\n1 error found" in done.err


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

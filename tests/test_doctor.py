"""`specc doctor`: what it says agrees with its exit code, and a machine without libbpf is told as such."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from command import environment, specc


def test_json(tmp_path: Path) -> None:
    done = specc("doctor", "--format", "json", cwd=tmp_path)
    said = json.loads(done.out)
    assert (done.code == 0) == (said["build"] and said["run"])
    assert done.code in (0, 3) and done.err == ""
    for check in said["checks"]:
        assert set(check) == {"name", "works", "detail", "affects", "help"}
        assert bool(check["affects"]) == (not check["works"])
    names = [c["name"] for c in said["checks"]]
    assert len(set(names)) == len(names) and {"compiler", "libbpf", "BTF", "kernel", "capabilities"} <= set(names)


@pytest.mark.parametrize("library", ["/nowhere/libbpf.so.1", "libc.so.6"])
def test_without_libbpf(library: str, tmp_path: Path) -> None:
    done = specc("doctor", "--format", "json", cwd=tmp_path, env=environment(SPECC_LIBBPF=library))
    said = json.loads(done.out)
    assert (done.code, said["run"]) == (3, False)
    assert [c["works"] for c in said["checks"] if c["name"] == "libbpf"] == [False]


def test_without_a_compiler(tmp_path: Path) -> None:
    done = specc("doctor", "--compiler", "/nowhere/clang", cwd=tmp_path)
    assert done.code == 3
    assert "specc build does not work here" in done.out


def test_without_pyarrow(tmp_path: Path) -> None:
    """Columns are missing, and nothing else is worse for it."""
    (tmp_path / "pyarrow.py").write_text("raise ImportError('there is no pyarrow')\n")
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    usual = specc("doctor", "--format", "json", cwd=tmp_path)
    done = specc("doctor", "--format", "json", cwd=tmp_path, env=environment(PYTHONPATH=path))
    before, said = json.loads(usual.out), json.loads(done.out)
    assert (done.code, said["build"], said["run"]) == (usual.code, before["build"], before["run"])
    [check] = [c for c in said["checks"] if c["name"] == "columns"]
    assert (check["works"], "there is no" in check["detail"]) == (False, True)
    assert "pip install 'specc[arrow]'" in check["help"] and "parquet" in check["affects"]

"""The same specs give the same bytes: whatever the directory, clock, umask, hash seed, language and number of jobs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from command import ROOT, Done, environment, files, specc

from specc.compiler.find import find_compiler
from specc.diagnostics import Stop

COMPILERS = ("clang", "zig")


def _missing(compiler: str) -> str:
    try:
        find_compiler(compiler)
    except Stop as problem:
        return problem.diagnostic.message
    return ""


def _build(project: Path, compiler: str, jobs: int, umask: int, **settings: str) -> dict[str, bytes]:
    """All example specs, in a directory of their own, with an empty cache."""
    shutil.copytree(ROOT / "specs", project / "specs")
    env = environment(SPECC_CACHE_DIR=str(project / "cache"), HOME=str(project), **settings)
    command = ("sh", "-c", f'umask {umask:03o}; exec "$@"', "sh")
    done = specc("build", "--compiler", compiler, "-j", str(jobs), "specs", cwd=project, env=env, before=command)
    assert done == Done(0, "", done.err), done.err
    return files(project / "generated")


@pytest.mark.parametrize("compiler", COMPILERS)
def test_same_bytes_everywhere(compiler: str, tmp_path: Path) -> None:
    if problem := _missing(compiler):
        pytest.skip(f"--compiler {compiler}: {problem}")
    here = tmp_path / "a"
    there = tmp_path / "another directory" / "deeper, with spaces and ümlauts"
    one = _build(here, compiler, 1, 0o022, TZ="Pacific/Kiritimati", PYTHONHASHSEED="1", LC_ALL="C", USER="a")
    two = _build(there, compiler, 4, 0o077, TZ="America/Noronha", PYTHONHASHSEED="4242", LC_ALL="C.UTF-8", USER="b")
    specs = [p for p in (ROOT / "specs").iterdir() if p.is_file()]
    assert len(one) == 3 * len(specs) > 0
    assert sorted(one) == sorted(two)
    assert [name for name in one if one[name] != two[name]] == []
    # Nothing of the machine is in them either.
    marks = [str(tmp_path).encode(), str(ROOT).encode(), b"Kiritimati", compiler.encode() + b" version"]
    assert [(name, mark) for name, data in one.items() for mark in marks if mark in data] == []


def test_the_c_does_not_depend_on_the_compiler(tmp_path: Path) -> None:
    for compiler in COMPILERS:
        if problem := _missing(compiler):
            pytest.skip(f"--compiler {compiler}: {problem}")
    texts = [{n: d for n, d in _build(tmp_path / c, c, 2, 0o022).items() if not n.endswith(".o")} for c in COMPILERS]
    assert texts[0] == texts[1]


def test_the_committed_c_is_what_the_specs_give(tmp_path: Path) -> None:
    done = specc("build", "--emit", "c,header", "-o", str(tmp_path), "specs", cwd=ROOT)
    assert done.code == 0, done.err
    committed = {n: d for n, d in files(ROOT / "generated").items() if not n.endswith((".o", ".d"))}
    assert files(tmp_path) == committed

"""`pip install` of the wheel and of the source distribution, outside of the checkout: a whole specc comes out."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from command import ROOT, environment

from specc import __version__
from specc.compiler.find import find_compiler
from specc.diagnostics import Stop

# pip's own network patience and a cold cache; nothing here takes this long otherwise.
PATIENCE = 300

SPEC = """\
specc: 1
name: demo
probes:
  - kprobe: do_thing
    prototype: "int do_thing(int a, long b, long c, long d, long e, long f, short seventh)"
    args: [a, seventh]
"""


def _run(*command: str | Path, cwd: Path) -> str:
    """A command's stdout; fails the test with all that it said."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=environment(PYTHONPATH=None, SPECC_CACHE_DIR=str(cwd / "cache")),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _pip(*arguments: str | Path, cwd: Path, python: str | Path = sys.executable) -> None:
    try:
        _run(python, "-m", "pip", "--no-input", "-qq", *arguments, cwd=cwd)
    except AssertionError as problem:
        # No index and no cache of pip's is the machine's lack, not the package's.
        if any(sign in str(problem) for sign in ("No matching distribution found for", "NewConnectionError")):
            pytest.skip(f"pip cannot get what it needs here: {str(problem).splitlines()[-1]}")
        raise


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkout's files, apart from it: building must not litter it, nor find its .venv."""
    folder = tmp_path_factory.mktemp("source") / "specc"
    leave = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "bench", "tests", "*.egg-info")
    shutil.copytree(ROOT, folder, ignore=leave)
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    _pip("wheel", "--no-deps", "-w", folder, source, cwd=folder)
    (found,) = folder.glob("*.whl")
    return found


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
    expected = {
        str(p.relative_to(ROOT)) for p in (ROOT / "specc").rglob("*") if p.is_file() and "__pycache__" not in p.parts
    } | {f"specc/templates/{p.name}" for p in (ROOT / "templates").iterdir()}
    assert {name for name in inside if not name.startswith(f"specc-{__version__}.dist-info/")} == expected
    assert {"specc/py.typed", "specc/spec.schema.json", "specc/templates/program.bpf.c.j2"} <= inside
    assert f"specc-{__version__}.dist-info/licenses/LICENSE" in inside


def _works(python: Path, folder: Path) -> None:
    """An installed specc does its main work in an empty directory."""
    bin_ = python.parent
    assert _run(bin_ / "specc", "--version", cwd=folder) == f"specc {__version__}\n"
    assert _run(python, "-m", "specc", "--version", cwd=folder) == f"specc {__version__}\n"
    where = _run(python, "-c", "import specc; print(specc.__file__)", cwd=folder)
    assert not Path(where).is_relative_to(ROOT)
    assert json.loads(_run(bin_ / "specc", "schema", cwd=folder)) == json.loads(
        (ROOT / "specc" / "spec.schema.json").read_text()
    )
    page = (ROOT / "specc" / "explain" / "SP201.md").read_text()
    assert _run(bin_ / "specc", "explain", "SP201", cwd=folder) == page.rstrip("\n") + "\n"
    (folder / "demo.yaml").write_text(SPEC)
    try:
        find_compiler("clang")
        emit = "c,header,obj"
    except Stop:
        emit = "c,header"
    _run(bin_ / "specc", "build", "--emit", emit, "demo.yaml", cwd=folder)
    text = (folder / "generated" / "demo.bpf.c").read_text()
    assert 'SEC("kprobe/do_thing")' in text
    if "obj" in emit:
        assert (folder / "generated" / "demo.bpf.o").read_bytes()[:4] == b"\x7fELF"


def _venv(folder: Path) -> Path:
    try:
        _run(sys.executable, "-m", "venv", folder, cwd=folder.parent)
    except AssertionError as problem:
        pytest.skip(f"no venv module with pip: {str(problem).splitlines()[-1]}")
    return folder / "bin" / "python"


def test_the_wheel_works_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    python = _venv(tmp_path / "venv")
    _pip("install", wheel, cwd=tmp_path, python=python)
    (tmp_path / "work").mkdir()
    _works(python, tmp_path / "work")


def test_the_source_distribution_gives_the_same_wheel(source: Path, wheel: Path, tmp_path: Path) -> None:
    backend = "import hatchling.build, sys; print(hatchling.build.build_sdist(sys.argv[1]))"
    tool = _venv(tmp_path / "tool")
    _pip("install", "hatchling", cwd=tmp_path, python=tool)
    name = _run(tool, "-c", backend, tmp_path, cwd=source).split()[-1]
    with tarfile.open(tmp_path / name) as archive:
        members = {m.name.partition("/")[2] for m in archive.getmembers()}
        assert {"pyproject.toml", "README.md", "LICENSE", "templates/macros.j2", "specc/spec.schema.json"} <= members
    _pip(
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        tmp_path / "again",
        tmp_path / name,
        cwd=tmp_path,
        python=tool,
    )
    (again,) = (tmp_path / "again").glob("*.whl")
    with zipfile.ZipFile(wheel) as a, zipfile.ZipFile(again) as b:
        assert {i.filename: i.CRC for i in a.infolist()} == {i.filename: i.CRC for i in b.infolist()}

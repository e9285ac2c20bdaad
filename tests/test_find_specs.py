"""Which specs a command means: directories that cannot be read are told, and a file that has two names is one spec."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from command import Done, specc

from specc.commands.common import find_specs
from specc.diagnostics import Report

SPEC = """specc: 1
name: s
probes:
  - uprobe: {path: /nowhere/program, symbol: main}
    prototype: "int main(int number)"
"""
WITHOUT_POWERS = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
powerless = pytest.mark.skipif(
    os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root, and no setpriv to be less"
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("specs/a", "specs/closed/b", "specs/z/c"):
        path = tmp_path / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SPEC.replace("name: s", f"name: {path.stem}"))
    return tmp_path


@powerless
@pytest.mark.parametrize("mode", [0o000, 0o600])
def test_a_directory_that_cannot_be_read(mode: int, project: Path) -> None:
    (project / "specs/closed").chmod(mode)
    told = {
        "specs/closed/b.yaml": "specs/closed/b.yaml:1:1: SP001 cannot read `specs/closed/b.yaml`: Permission denied\n",
        "specs/closed": "SP001 cannot read the directory `specs/closed`: Permission denied "
        "(give access to it, or name the specs that are meant)\n",
    }
    told["specs"] = told["."] = told["specs/closed"]
    if mode == 0o600:  # the names can be seen, but not what they are of
        told["specs/closed"] = told["specs"] = told["specs/closed/b.yaml"]
    try:
        for name in ("specs/closed/b.yaml", "specs/closed", "specs"):
            for command in (["check"], ["build", "--emit", "c", "-o", "out"]):
                done = specc(*command, name, "--output-format", "concise", cwd=project, before=WITHOUT_POWERS)
                err = "".join(line for line in done.err.splitlines(True) if "SP" in line)
                assert (done.code, done.out, err) == (1, "", told[name]), (name, command)
        assert sorted(os.listdir(project / "out")) == ["a.bpf.c", "c.bpf.c"]
        check = ("build", "--emit", "c", "-o", "out", "--check", "specs", "--output-format", "concise")
        (project / "out/b.bpf.c").write_bytes((project / "out/a.bpf.c").read_bytes())
        done = specc(*check, cwd=project, before=WITHOUT_POWERS)
        assert (done.code, done.err) == (1, told["specs"]), "whether a file is an orphan is not known"
    finally:
        (project / "specs/closed").chmod(0o755)


def test_directories_that_vanish(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("closed"):
            raise FileNotFoundError(2, "No such file or directory", path)
        return real(path)

    monkeypatch.chdir(project)
    monkeypatch.setattr(os, "scandir", scandir)
    report = Report()
    assert [str(p) for p in find_specs(["specs"], report)] == ["specs/a.yaml", "specs/z/c.yaml"]
    assert report.diagnostics == []


def test_two_names_of_one_file(project: Path) -> None:
    (project / "specs/link.yaml").symlink_to("a.yaml")
    (project / "other").mkdir()
    (project / "other/a.yaml").symlink_to("../specs/a.yaml")  # headers would be looked for elsewhere
    names = (
        "specs/a.yaml",
        "./specs/a.yaml",
        "specs/../specs/a.yaml",
        "specs/link.yaml",
        str(project / "specs/a.yaml"),
    )
    done = specc("build", "--emit", "c", *names, cwd=project)
    assert done == Done(0, "", "created generated/a.bpf.c\n1 spec built: 1 file written, 0 unchanged\n")
    done = specc("check", *names, "specs", cwd=project)
    assert done == Done(0, "", "3 specs checked, nothing wrong\n")
    done = specc("build", "--emit", "c", "specs/a.yaml", "other/a.yaml", "--output-format", "concise", cwd=project)
    assert done.code == 1 and "SP508 two specs would write a.bpf.c: specs/a.yaml and other/a.yaml" in done.err

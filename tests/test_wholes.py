"""Whole structs behind pointers on kernels that lay them out otherwise: one value everywhere, or refused with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from btf_compiled import clang, compile_btf
from command import specc

from specc.btf import Btf
from specc.btf.complete import completed_by
from specc.build import compile_object
from specc.compiler.find import find_compiler
from specc.describe.reader import description_of
from specc.diagnostics import Report
from specc.pipeline import Session, emit_all, front
from specc.run.paths import problems

pytestmark = pytest.mark.skipif(clang() is None, reason="no clang with a BPF target")

KERNELS = {
    "old": "struct time { int id; long s; }; struct node { struct time at; struct time *next; }",
    "moved": "struct time { int id; long s; }; struct node { long added; struct time *next; struct time at; }",
    "padded": "struct time { int id; int more; long s; }; struct node { struct time at; struct time *next; }",
    "swapped": "struct time { long s; int id; }; struct node { struct time at; struct time *next; }",
    "signed": "struct time { unsigned id; long s; }; struct node { struct time at; struct time *next; }",
    "longer": "struct time { int id; long s, ns; }; struct node { struct time at; struct time *next; }",
    "number": "struct time { int id; long s; }; struct node { long at; long *next; }",
}
# What there is on the kernel that differs, after the name of what is recorded.
WHY = {
    "moved": None,
    "padded": "it is `struct time`, not `struct time`: member `more` is only in one of them",
    "swapped": "it is `struct time`, not `struct time`: member `s` is at byte 0 in one and at byte 8 in the other",
    "signed": "it is `struct time`, not `struct time`: member `id`: unsigned against signed",
    "longer": "it is `struct time`, not `struct time`: 24 bytes against 16",
}
SPEC = "specc: 1\nname: t\nfields: []\nprobes:\n  - {kprobe: f, args: [%s]}\n"
ARGS = {
    "next": "{node: {field: next, deref: true}}",
    "at": "{node: {field: at, as: at}}",
    "time": "{time: {deref: true}}",
    "element": '{time: {field: "[2]", as: element}}',
}
SAID = {"next": "node->next", "at": "node->at", "time": "*time", "element": "time[2]"}


def btf(name: str) -> bytes:
    declared = "int f(struct node *node, struct time *time); struct node n; struct time t;"
    return compile_btf(f"{KERNELS[name]}; {declared}", {"f": ["node", "time"]}, 0)


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kernels")
    for name in KERNELS:
        (folder / f"{name}.btf").write_bytes(btf(name))
    return folder


def found(kernels: Path, folder: Path, args: str, *names: str) -> list[str]:
    (folder / "t.yaml").write_text(SPEC % args)
    report = Report()
    session = Session(find_compiler, btf_files=tuple(kernels / f"{n}.btf" for n in names))
    assert (front(folder / "t.yaml", session, report) is None) == bool(report.diagnostics)
    return [f"{d.code} {d.message}" for d in report.diagnostics]


@pytest.mark.parametrize("argument", ARGS)
@pytest.mark.parametrize("name", WHY)
def test_on_several_kernels(argument: str, name: str, kernels: Path, tmp_path: Path) -> None:
    said = "time" if argument == "time" else SAID[argument]
    why = WHY[name]
    wanted = [f"SP256 `{said}` on {name} is not what it is on old: {why}"] if why else []
    assert found(kernels, tmp_path, ARGS[argument], "old", name) == wanted


def test_a_number_is_no_struct(kernels: Path, tmp_path: Path) -> None:
    (one,) = found(kernels, tmp_path, ARGS["next"], "old", "number")
    assert one == (
        "SP256 `node->next` on number is not what it is on old: it goes through struct node, not through struct node, struct time"
    )
    (one,) = found(kernels, tmp_path, ARGS["next"], "number", "old")
    assert "it goes through struct node, struct time, not through struct node" in one


def test_before_the_load(kernels: Path, tmp_path: Path) -> None:
    """What `specc run` says of the object in each kernel; it has the layout with it."""
    (tmp_path / "t.yaml").write_text(SPEC % ", ".join(ARGS.values()))
    report = Report()
    program = front(tmp_path / "t.yaml", Session(find_compiler, btf_files=(kernels / "old.btf",)), report)
    assert program is not None, report.diagnostics
    (probe,) = description_of(compile_object(emit_all(program).c_text, "t", find_compiler("clang"))).probes
    assert [p.said for p in probe.paths] == list(SAID.values())
    assert problems(probe, completed_by(Btf(btf("old"), "k"))) == ()
    for name, why in WHY.items():
        wanted = tuple(f"`{said}`: {why}" for said in SAID.values()) if why else ()
        assert problems(probe, completed_by(Btf(btf(name), "k"))) == wanted
    first, second, *_ = problems(probe, completed_by(Btf(btf("number"), "k")))
    assert first.startswith("`node->next`: it goes through struct node, not") and second.startswith("`node->at`: it is")


def test_a_small_btf_keeps_them(kernels: Path, tmp_path: Path) -> None:
    for argument in ARGS.values():
        (tmp_path / "t.yaml").write_text(SPEC % argument)
        done = specc("btf", kernels / "old.btf", "--spec", "t.yaml", "-o", "small.btf", cwd=tmp_path)
        assert (done.code, done.err) == (0, "")
        assert found(tmp_path, tmp_path, argument, "small") == []

"""Where prototypes come from: first match wins, the origin is told the same on every machine, disagreements are errors."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from specc.compiler.find import find_compiler
from specc.diagnostics import Report, Sources, render
from specc.ir import Program
from specc.pipeline import Session, emit_all, front

OLD = "long f(int a, int vmas, int *locked); long only_btf(char c);"
NEW = "long f(int a, int *locked); long only_btf(char c);"


def btf_of(folder: Path, name: str, text: str) -> Path:
    """The BTF of functions with these declarations, made by a compiler."""
    if shutil.which("clang") is None:
        pytest.skip("clang is not installed: it makes the BTF of this test")
    source = folder / f"{name}.c"
    bodies = "".join(d.strip() + " { return 0; }\n" for d in text.split(";") if d.strip())
    source.write_text(bodies)
    target = folder / f"{name}.o"
    subprocess.run(["clang", "-target", "bpf", "-g", "-O1", "-c", source, "-o", target], check=True)
    return target


def compiled(tmp_path: Path, spec: str, *btf: Path) -> tuple[Program | None, str]:
    path = tmp_path / "spec.yaml"
    path.write_text(f"specc: 1\nname: x\nfields: []\n{spec}")
    report = Report()
    program = front(path, Session(find_compiler, btf), report)
    text = render(report.diagnostics, "concise", Sources())
    return program, text.replace(str(tmp_path), "DIR")


def values(program: Program | None) -> dict[str, str]:
    assert program is not None
    [probe] = program.probes
    return dict(line.split(maxsplit=1)[:2] for line in probe.places[2:] if " " in line)  # type: ignore[misc]


def test_prototype_of_the_probe_wins(tmp_path: Path) -> None:
    (tmp_path / "f.h").write_text(OLD)
    spec = 'headers: [f.h]\nprobes: [{kprobe: f, prototype: "long f(int *locked)", args: [locked]}]'
    program, text = compiled(tmp_path, spec)
    assert text == ""
    assert values(program) == {"locked": "rdi"}


def test_header_wins_over_btf_of_the_running_kernel(tmp_path: Path) -> None:
    (tmp_path / "f.h").write_text("void vfs_read(int mine);")
    program, text = compiled(tmp_path, "headers: [f.h]\nprobes: [{kprobe: vfs_read, args: [mine]}]")
    assert text == ""
    assert values(program) == {"mine": "rdi"}


def test_btf_file(tmp_path: Path) -> None:
    btf = btf_of(tmp_path, "old", OLD)
    program, text = compiled(tmp_path, "probes: [{kprobe: f, args: [vmas, locked]}]", btf)
    assert text == ""
    assert values(program) == {"vmas": "rsi", "locked": "rdx"}


def test_every_target_must_know_the_function(tmp_path: Path) -> None:
    first, second = btf_of(tmp_path, "first", "int other(int x);"), btf_of(tmp_path, "second", NEW)
    program, text = compiled(tmp_path, "probes: [{kprobe: f, args: [locked]}]", first, second)
    assert program is None
    assert text.startswith("DIR/spec.yaml:4:19: SP254 on first.o: there is no function `f` ")


def test_header_and_btf_disagree(tmp_path: Path) -> None:
    (tmp_path / "f.h").write_text(OLD)
    btf = btf_of(tmp_path, "new", NEW)
    program, text = compiled(tmp_path, "headers: [f.h]\nprobes: [{kprobe: f, args: [locked]}]", btf)
    assert program is None
    assert text.startswith("DIR/spec.yaml:5:19: SP209 `f` is declared differently in BTF of new.o: ")


def test_header_and_btf_disagree_about_what_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "f.h").write_text(OLD)
    btf = btf_of(tmp_path, "new", NEW)
    program, text = compiled(tmp_path, "headers: [f.h]\nprobes: [{kprobe: f, args: [a]}]", btf)
    assert text == ""
    assert values(program) == {"a": "rdi"}


def test_the_origin_names_no_directory(tmp_path: Path) -> None:
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "f.h").write_text("\n\n" + OLD)
    program, text = compiled(tmp_path, "headers: [include/f.h, <stdlib.h>]\nprobes: [{kprobe: f, args: [a]}]")
    assert text == "" and program is not None
    c_text = emit_all(program).c_text
    assert "declared in include/f.h:3\n" in c_text
    assert str(tmp_path) not in c_text
    program, text = compiled(tmp_path, "headers: [<stdlib.h>]\nprobes: [{uprobe: 'libc.so.6:atoi', args: []}]")
    assert text == "" and program is not None
    program, text = compiled(
        tmp_path, "headers: [<stdlib.h>]\nprobes: [{uprobe: 'libc.so.6:system', args: [__command]}]"
    )
    assert text == "" and program is not None
    assert "declared in <stdlib.h>\n" in emit_all(program).c_text

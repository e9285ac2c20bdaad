"""Specs of user probes and the files that they are about: where the prototype comes from, and what is compared."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from command import specc

from specc.compiler.find import find_compiler
from specc.describe import describe
from specc.describe.reader import parse_description
from specc.diagnostics import Report, Sources, render
from specc.elf import file_build_id, read_elf, symbols
from specc.ir import Program
from specc.pipeline import Session, front

GCC = shutil.which("gcc")
pytestmark = pytest.mark.skipif(GCC is None, reason="programs of these tests: it needs gcc")

TEXT = """
volatile long sink;
struct pair { long a; int b; };
static __attribute__((noinline)) long copied(void *ctx, long a, long b) { sink = a; return a * b; }
__attribute__((noinline)) long plain(int first, long second) { sink = first; return second; }
__attribute__((noinline)) int by_value(struct pair p, char c) { sink = p.a; return c; }
int main(int n, char **v) { return copied(v, sink, n) + copied(0, n, 3) + plain(n, 2) + by_value((struct pair){ n, n }, 1); }
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert GCC is not None
    folder = tmp_path_factory.mktemp("user_code")
    (folder / "p.c").write_text(TEXT)
    command = [GCC, "-g", "-O2", "-Wl,--build-id=sha1", "p.c", "-o", "p"]
    subprocess.run(command, cwd=folder, check=True)
    subprocess.run(["strip", "p", "-o", "stripped"], cwd=folder, check=True)
    subprocess.run(["objcopy", "--strip-debug", "p", "bare"], cwd=folder, check=True)
    return folder / "p"


@pytest.fixture
def copy(program: Path) -> str:
    """The symbol of gcc's copy of `copied`."""
    names = [s.name for s in symbols(read_elf(program.read_bytes()))]
    found = [n for n in names if n.startswith("copied.constprop") or n.startswith("copied.isra")]
    if len(found) != 1 or "copied" in names:
        pytest.skip(f"this gcc makes no copy of an unused argument's function, or several: {found}")
    return found[0]


def compiled(folder: Path, spec: str) -> tuple[Program | None, str]:
    path = folder / "spec.yaml"
    path.write_text(f"specc: 1\nname: x\nfields: []\n{spec}")
    report = Report()
    made = front(path, Session(find_compiler), report)
    return made, render(report.diagnostics, "full", Sources())


def places(made: Program | None) -> dict[str, str]:
    assert made is not None
    return {f.name: f.place for f in made.probes[0].event.fields if f.place}


def test_the_prototype_comes_from_the_file(tmp_path: Path, program: Path) -> None:
    made, text = compiled(tmp_path, f"probes: [{{uprobe: {program}:by_value}}]")
    assert (places(made), text) == ({"p": "rdi:rsi", "c": "rdx"}, "")
    assert made is not None and made.probes[0].prototype is not None
    assert made.probes[0].prototype.source == "DWARF of p"
    assert made.probes[0].target is not None
    assert made.probes[0].target.build == file_build_id(str(program))
    assert parse_description(describe(made)).probes[0].target == made.probes[0].target


def test_a_copy_has_its_arguments_where_the_compiler_put_them(tmp_path: Path, program: Path, copy: str) -> None:
    target = f"{{path: {program}, symbol: {copy}}}"
    for prototype in ("", 'prototype: "long copied(void *ctx, long a, long b)", '):
        made, text = compiled(tmp_path, f"probes: [{{uprobe: {target}, {prototype}args: [a, b]}}]")
        assert (places(made), text) == ({"a": "rdi", "b": "rsi"}, "")
        assert made is not None and made.probes[0].target is not None and made.probes[0].target.build is not None
    made, text = compiled(tmp_path, f"probes: [{{uprobe: {target}, args: [ctx]}}]")
    assert made is None and text.startswith("SP301 `ctx` cannot be read here: the compiler changed")
    made, text = compiled(tmp_path, f"probes: [{{uretprobe: {target}, args: [return]}}]")
    assert made is None and text.startswith(f"SP302 the result of `{copy}` cannot be read here")


def test_a_declaration_that_agrees_leaves_no_trace(tmp_path: Path, program: Path) -> None:
    """The output does not depend on whether the file is there; a definition may call its arguments otherwise."""
    spec = 'probes: [{{uprobe: {}:plain, prototype: "long plain(int __first, long second)", args: [__first, second]}}]'
    made, text = compiled(tmp_path, spec.format(program))
    assert (places(made), text) == ({"__first": "rdi", "second": "rsi"}, "")
    assert made is not None and made.probes[0].target is not None and made.probes[0].target.build is None


@pytest.mark.parametrize(
    ("prototype", "args", "message"),
    [
        (
            "long plain(long first, long second)",
            "[first]",
            "argument 1 (`first`) is `long` in the prototype at spec.yaml:4 and `int` in DWARF of p",
        ),
        ("long plain(long second, int first)", "[first]", "`first` is argument 2 in the prototype at spec.yaml:4"),
        (
            "long plain(int first, int x, long second)",
            "[second]",
            "`second` is argument 3 in the prototype at spec.yaml:4",
        ),
    ],
)
def test_a_declaration_that_differs(prototype: str, args: str, message: str, tmp_path: Path, program: Path) -> None:
    made, text = compiled(tmp_path, f'probes: [{{uprobe: {program}:plain, prototype: "{prototype}", args: {args}}}]')
    assert made is None
    head = text.splitlines()[0].replace(str(tmp_path) + "/", "")
    assert head.startswith("SP209 `plain` is declared differently in the DWARF of p: ") and message in head
    assert "DWARF of p: long plain(int first, long second)" in text


@pytest.mark.parametrize(
    ("target", "code", "note"),
    [
        ("bare:plain", "SP206", "has no debug information"),
        ("stripped:plain", "SP206", "there is no function `plain`"),
        ("nothing:plain", "SP206", "there is no file"),
        ("bare:copied.constprop.0", "SP275", "has no debug information"),
    ],
)
def test_nothing_to_go_by(target: str, code: str, note: str, tmp_path: Path, program: Path) -> None:
    prototype = ', prototype: "long copied(void *ctx, long a, long b)"' if code == "SP275" else ""
    made, text = compiled(tmp_path, f"probes: [{{uprobe: {program.parent}/{target}{prototype}, args: [a]}}]")
    assert made is None and text.startswith(code) and note in text


def test_a_function_that_is_only_there_as_a_copy(tmp_path: Path, program: Path, copy: str) -> None:
    made, text = compiled(tmp_path, f"probes: [{{uprobe: {program}:copied, args: [a]}}]")
    assert made is None and text.startswith("SP206") and "there is no function `copied`" in text


def test_a_file_that_is_not_there_is_no_problem_with_a_declaration(tmp_path: Path) -> None:
    made, text = compiled(tmp_path, 'probes: [{uprobe: /nothing:plain, prototype: "int plain(int a)"}]')
    assert (places(made), text) == ({"a": "rdi"}, "")


def test_show_elf(tmp_path: Path, program: Path, copy: str) -> None:
    done = specc("show", copy, "--elf", "p", "--format", "json", cwd=program.parent)
    assert (done.code, done.err) == (0, "")
    shown = json.loads(done.out)
    assert (shown["function"], shown["source"]) == (copy, "DWARF of p")
    assert [(a["name"], a["readable"], [p["where"] for p in a["pieces"]]) for a in shown["args"]] == [
        ("ctx", False, []), ("a", True, ["rdi"]), ("b", True, ["rsi"]),
    ]  # fmt: skip
    assert f"the compiler changed `{copy}`" in shown["args"][0]["reason"]
    every = specc("show", "--all", "--elf", "p", "--format", "json", cwd=program.parent)
    assert every.code == 0
    assert {"main", "plain", "by_value", copy} <= {one["function"] for one in json.loads(every.out)}
    declared = specc("show", "--prototype", "long plain(int x, long y)", "plain", "--elf", "p", cwd=program.parent)
    assert declared.code == 0 and "rsi" in declared.out
    none = specc("show", "plain", "--elf", "bare", cwd=program.parent)
    assert none.code == 1 and "SP272 `bare` has no debug information" in none.err

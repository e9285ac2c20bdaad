"""Specs of user probes and the files that they are about: where the prototype comes from, and what is compared."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from command import Done, specc

from specc.compiler.find import find_compiler
from specc.describe import describe
from specc.describe.reader import parse_description
from specc.diagnostics import Report, Sources, render
from specc.elf import file_build_id, read_elf, symbols
from specc.ir import Program
from specc.pipeline import Session, front
from specc.run.user_target import check_user_code
from specc.user_code import find_place

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


RESULTS = """
struct big { long a, b, c; };
struct odd { char a; int b; } __attribute__((packed));
void nothing(int a, long b) { }
float floating(int a) { return a; }
int number(int a) { return a; }
struct big memory(int a) { return (struct big){ a }; }
int after(struct odd o, int z) { return z; }
"""


@pytest.mark.parametrize("compiler", [c for c in ("gcc", "clang-14", "clang-19") if shutil.which(c)])
@pytest.mark.parametrize("level", ["-O0 -gdwarf-4", "-O2 -gdwarf-5"])
def test_a_file_that_agrees_at_the_start(level: str, compiler: str, tmp_path: Path) -> None:
    """Nothing is said of results that are not recorded, nor of types that the file only knows less of."""
    (tmp_path / "t.h").write_text("".join(RESULTS.partition("void")[0]))
    (tmp_path / "q.c").write_text(RESULTS)
    command = [compiler, *level.split(), "-g", "-w", "-shared", "-fPIC", "q.c", "-o", "q"]
    subprocess.run(command, cwd=tmp_path, check=True)
    spec = "headers: [t.h]\nprobes:\n"
    for prototype in (
        "void nothing(int a, long b)",
        "float floating(int a)",
        "int number(int a)",
        "struct big memory(int a)",
    ):
        name = prototype.partition("(")[0].split()[-1]
        spec += f"  - {{name: {name}, uretprobe: {tmp_path}/q:{name}, prototype: '{prototype}'}}\n"
    if "-O0" in level:
        spec += (
            f"  - {{name: after, uprobe: {tmp_path}/q:after, prototype: 'int after(struct odd o, int z)', args: [z]}}\n"
        )
    made, text = compiled(tmp_path, spec)
    assert made is not None and text == "", text
    probes = parse_description(describe(made)).probes
    found = {p.name: find_place(p.target, None) for p in probes if p.target is not None}
    report = Report()
    check_user_code(probes, found, lambda name: None, report, force=False)
    assert [d.message for d in report.diagnostics] == []


UNPLACED = """
struct st { int a; long b; };
struct pair { long a; int b; };
int dec(int a, _Decimal64 b, int z) { return z; }
int ld(int a, long double b, int z) { return z; }
struct st st(int a) { return (struct st){ a }; }
int pair(struct pair p, int z) { return z; }
int kr(a, b) float a; short b; { return b; }
"""
UNPLACED_CXX = """
struct NT { int a; NT(int x) : a(x) { } NT(const NT &o) : a(o.a) { } };
struct D : NT { int b; D() : NT(1) { } };
extern "C" NT result(int y, int z) { return NT(z + y); }
extern "C" int argument(NT y, int z) { return z; }
extern "C" int member(int y, int NT::*m, int z) { return z; }
extern "C" int null(decltype(nullptr) n, int z) { return z; }
extern "C" int fine(int y, int z) { return z; }
"""


@pytest.mark.parametrize(
    ("flags", "prototype", "args", "message"),
    [
        ("", "int dec(int a, long b, int z)", "[z]", "argument 2 (`b`) is `long`"),
        ("", "int dec(int a, long b, int z)", "[a]", ""),
        ("", "int ld(int a, long double b, int z)", "[b]", ""),
        ("-mlong-double-64", "int ld(int a, long double b, int z)", "[z]", "`long double` in the prototype at spec.yaml:5 and `double`"),
        ("-mlong-double-64", "int ld(int a, double b, int z)", "[z]", ""),
        ("-mlong-double-128", "int ld(int a, long double b, int z)", "[z]", "and `__float128` in DWARF of q"),
        ("-mlong-double-128", "int ld(int a, __float128 b, int z)", "[z]", ""),
        ("-fpcc-struct-return", "struct st st(int a)", "[a]", "by -fpcc-struct-return"),
        ("-mabi=ms", "int ld(int a, int b, int z)", "[a]", "the code's calling convention is ms_abi"),
        ("", "int pair(struct pair p, int z)", "[z]", ""),
        ("clang -gdwarf-4", "int pair(struct pair p, int z)", "[z]", ""),  # it is not _Atomic
        ("", "int kr(float a, short b)", "[b]", ""),
        ("", "int kr(float a, short b)", "[a]", "`float` in the prototype at spec.yaml:5 and `double`"),
        ("g++", "int result(int y, int z)", "[z]", "the result is `int` in the prototype at spec.yaml:5 and `struct NT`"),
        ("g++", "struct NT result(int y, int z)", "[z]", "the result is `struct NT`"),
        ("g++", "int argument(int y, int z)", "[z]", "argument 1 (`y`) is `int`"),
        ("g++", "int argument(struct NT y, int z)", "[z]", "argument 1 (`y`) is `struct NT`"),
        ("g++", "int member(int y, long m, int z)", "[z]", "argument 2 (`m`) is `long`"),
        ("g++", "int member(int y, long m, int z)", "[y]", ""),
        ("g++", "int null(void *n, int z)", "[z]", ""),
        ("g++", "int fine(int y, int z)", "[z]", ""),
    ],
)  # fmt: skip
def test_a_type_that_specc_cannot_place(flags: str, prototype: str, args: str, message: str, tmp_path: Path) -> None:
    """What only the file knows contradicts a declaration; where the declaration knows more, it is believed."""
    compiler = "g++" if flags == "g++" else flags.partition(" ")[0] if flags.startswith("clang") else GCC
    if shutil.which(str(compiler)) is None:
        pytest.skip(f"it needs {compiler}")
    source = "q.cc" if flags == "g++" else "q.c"
    (tmp_path / source).write_text(UNPLACED_CXX if flags == "g++" else UNPLACED)
    options = [f for f in flags.split() if f.startswith("-")]
    command = [str(compiler), "-g", "-O0", "-w", *options, "-shared", "-fPIC", source, "-o", "q"]
    if compiler == "clang":
        (tmp_path / source).write_text(UNPLACED.replace("_Decimal64", "long"))
    subprocess.run(command, cwd=tmp_path, check=True)
    name = prototype.partition("(")[0].split()[-1]
    (tmp_path / "t.h").write_text("struct st { int a; long b; }; struct pair { long a; int b; }; struct NT { int a; };")
    spec = f'headers: [t.h]\nprobes: [{{uprobe: {tmp_path}/q:{name}, prototype: "{prototype}", args: {args}}}]'
    made, text = compiled(tmp_path, spec)
    if message:
        head = text.splitlines()[0].replace(str(tmp_path) + "/", "")
        assert made is None and head.startswith(f"SP209 `{name}` is declared differently") and message in head, head
    else:
        assert made is not None, text


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


def test_two_functions_of_one_name(tmp_path: Path) -> None:
    """Without a prototype, too, what is wrong is the name."""
    assert GCC is not None
    for name, types in (("a", "int a, long b"), ("b", "char *p, short a")):
        text = f"__attribute__((noinline)) static int dup({types}) {{ return a; }} int use_{name}(void) {{ return dup(0, 1); }}"
        (tmp_path / f"{name}.c").write_text(text)
    subprocess.run([GCC, "-g", "-O0", "-w", "-shared", "-fPIC", "a.c", "b.c", "-o", "two"], cwd=tmp_path, check=True)
    made, text = compiled(tmp_path, f"probes: [{{uprobe: {tmp_path}/two:dup}}]")
    assert made is None and text.startswith(f"SP447 `{tmp_path}/two` has 2 functions called `dup`"), text


@pytest.mark.parametrize("debug", ["-g0", "-g"])
def test_a_declaration_with_an_asm_label(debug: str, tmp_path: Path) -> None:
    """The symbol is the label, and the name is not; as GNU C has it, of one string or several."""
    assert GCC is not None
    declared = 'int labelled(int a, long b) __asm__("the" "_real")'
    (tmp_path / "l.c").write_text(f"{declared}; int labelled(int a, long b) {{ return a; }}")
    subprocess.run([GCC, debug, "-O0", "-shared", "-fPIC", "l.c", "-o", "l"], cwd=tmp_path, check=True)
    made, text = compiled(tmp_path, f"probes: [{{uprobe: {tmp_path}/l:the_real, prototype: '{declared}', args: [b]}}]")
    assert (places(made), text) == ({"b": "rsi"}, "")
    made, text = compiled(tmp_path, f"probes: [{{uprobe: {tmp_path}/l:labelled, prototype: '{declared}', args: [b]}}]")
    assert made is None and text.startswith("SP207 the prototype declares `the_real`, and the probe is on `labelled`")
    if debug == "-g":
        made, text = compiled(tmp_path, f"probes: [{{uprobe: {tmp_path}/l:the_real, args: [b]}}]")
        assert (places(made), text) == ({"b": "rsi"}, "")


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
    other = ("--prototype", "int plain(long second, int first)", "--elf", "p", "--output-format", "concise")
    refused = specc("show", "plain", *other, cwd=program.parent)
    assert refused == Done(
        1, "", "SP209 `plain` is declared differently in the DWARF of p: `second` is argument 1 in the prototype at "
        "<command line>:1 and argument 2 in DWARF of p (take the declaration that the program was compiled with)\n",
    )  # fmt: skip
    none = specc("show", "plain", "--elf", "bare", cwd=program.parent)
    assert none.code == 1 and "SP272 `bare` has no debug information" in none.err

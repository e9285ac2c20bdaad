"""The command line as its contract has it: every command, option and exit code, run as a user runs it."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import jsonschema
import pytest
from command import PATIENCE, ROOT, Done, environment, files, specc

from specc import __version__
from specc.cli import COMMANDS
from specc.compiler.find import find_compiler
from specc.diagnostics import Stop

SPEC = """\
specc: 1
name: demo
headers: [include/demo.h]
fields: [timestamp, pid]
probes:
  - kprobe: do_thing
    args: [a, seventh]
"""
HEADER = "int do_thing(int a, long b, long c, long d, long e, long f, short seventh);\n"
WRONG = SPEC.replace("seventh]", "sevnth]")
WRONG_FULL = """\
SP201 no argument `sevnth` in `do_thing`
  --> specs/demo.yaml:7:15
   |
 7 |     args: [a, sevnth]
   |               ^^^^^^ did you mean `seventh`?
   = note: arguments (include/demo.h:1): a, b, c, d, e, f, seventh
"""


def _no_compiler() -> str:
    try:
        find_compiler()
    except Stop as problem:
        return problem.diagnostic.message
    return ""


compiles = pytest.mark.skipif(bool(_no_compiler()), reason=_no_compiler() or "-")
REAL_CLANG = shutil.which("clang")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with one good spec and its header."""
    folder = tmp_path / "project"
    (folder / "specs" / "include").mkdir(parents=True)
    (folder / ".git").mkdir()
    (folder / "specs" / "demo.yaml").write_text(SPEC)
    (folder / "specs" / "include" / "demo.h").write_text(HEADER)
    return folder


def _inputs(project: Path) -> dict[str, bytes]:
    return {n: d for n, d in files(project).items() if not n.startswith("generated/")}


# --- usage ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "required: COMMAND"),
        (["bild"], "invalid choice: 'bild'"),
        (["build", "--nonsense"], "unrecognized arguments: --nonsense"),
        (["build", "-j", "0"], "`0` is not a positive number"),
        (["build", "-j", "x"], "argument -j/--jobs"),
        (["build", "--emit", "c,objekt"], "--emit takes c, obj, header, python, jsonschema, not `objekt`"),
        (["build", "--emit", ""], "--emit takes c, obj, header, python, jsonschema, not ``"),
        (["build", "--output-format", "xml"], "argument --output-format"),
        (["show"], "name a function or a spec, or give --all"),
        (["show", "f", "--format", "yaml"], "argument --format"),
        (["new"], "required: FUNCTION"),
        (["explain", "SP999"], "no diagnostic has the code `SP999`"),
    ],
    ids=lambda value: " ".join(value) or "nothing" if isinstance(value, list) else "",
)
def test_bad_usage_is_2(arguments: list[str], said: str, project: Path) -> None:
    before = files(project)
    done = specc(*arguments, cwd=project)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert "Traceback" not in done.err and "bug" not in done.err
    assert files(project) == before


def test_a_format_in_the_environment_must_be_one(project: Path) -> None:
    done = specc("check", cwd=project, env=environment(SPECC_OUTPUT_FORMAT="xml"))
    assert done.code == 2
    assert "$SPECC_OUTPUT_FORMAT is `xml`" in done.err


@pytest.mark.parametrize("arguments", [["--help"], *([c, "--help"] for c in COMMANDS)], ids=" ".join)
def test_help_is_on_stdout(arguments: list[str], tmp_path: Path) -> None:
    done = specc(*arguments, cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("usage: specc")
    assert all(c in done.out for c in (COMMANDS if arguments == ["--help"] else ()))


def test_every_command_has_its_module_and_its_place_in_the_help(tmp_path: Path) -> None:
    """The command line builds the parser of a known command alone: the list of them must be whole."""
    assert {p.stem for p in (ROOT / "specc" / "commands").glob("*.py")} - {"__init__", "common"} == set(COMMANDS)
    listed = re.findall(r"^    (\w+) ", specc("--help", cwd=tmp_path).out, re.MULTILINE)
    assert tuple(listed) == COMMANDS


def test_version(tmp_path: Path) -> None:
    assert specc("--version", cwd=tmp_path) == Done(0, f"specc {__version__}\n", "")


# --- build ------------------------------------------------------------------------------------------------------------


@compiles
def test_build_writes_three_files_and_then_none(project: Path) -> None:
    done = specc("build", cwd=project)
    assert (done.code, done.out) == (0, ""), done.err
    made = files(project / "generated")
    assert sorted(made) == ["demo.bpf.c", "demo.bpf.o", "demo.h"]
    times = {p: p.stat().st_mtime_ns for p in (project / "generated").iterdir()}
    again = specc("build", cwd=project)
    assert again == Done(0, "", "1 spec built: 0 files written, 3 unchanged\n")
    assert {p: p.stat().st_mtime_ns for p in (project / "generated").iterdir()} == times


@compiles
@pytest.mark.parametrize(
    ("emit", "made"),
    [
        ("c", ["demo.bpf.c"]),
        ("header,c", ["demo.bpf.c", "demo.h"]),
        ("obj", ["demo.bpf.o"]),
        ("obj,c,header,c", ["demo.bpf.c", "demo.bpf.o", "demo.h"]),
        ("jsonschema,python", ["demo.schema.json", "demo_events.py"]),
    ],
)
def test_emit_chooses_files(emit: str, made: list[str], project: Path) -> None:
    done = specc("build", "specs/demo.yaml", "-o", "out", "--emit", emit, cwd=project)
    assert (done.code, done.out) == (0, ""), done.err
    assert sorted(files(project / "out")) == made
    assert not (project / "generated").exists()


def test_without_obj_the_c_needs_no_bpf_compiler(project: Path) -> None:
    (project / "specs" / "demo.yaml").write_text(
        SPEC.replace("headers: [include/demo.h]\n", "").replace(
            "    args", f"    prototype: {json.dumps(HEADER.strip().rstrip(';'))}\n    args"
        )
    )
    done = specc("build", "--emit", "c,header", "--compiler", "clang", cwd=project, env=environment(PATH="/nowhere"))
    assert done.code == 0, done.err
    assert sorted(files(project / "generated")) == ["demo.bpf.c", "demo.h"]


@compiles
def test_one_wrong_spec_does_not_keep_the_others_from_being_built(project: Path) -> None:
    (project / "specs" / "wrong.yaml").write_text(WRONG.replace("name: demo", "name: wrong"))
    done = specc("build", "--output-format", "concise", cwd=project)
    assert done.code == 1
    assert "specs/wrong.yaml:7:15: SP201 no argument `sevnth` in `do_thing`" in done.err
    assert sorted(files(project / "generated")) == ["demo.bpf.c", "demo.bpf.o", "demo.h"]


def _damage_nothing(generated: Path) -> None:
    pass


def _damage_missing(generated: Path) -> None:
    (generated / "demo.h").unlink()


def _damage_stale(generated: Path) -> None:
    (generated.parent / "specs" / "include" / "demo.h").write_text(HEADER.replace("short", "int"))


def _damage_edited(generated: Path) -> None:
    path = generated / "demo.bpf.c"
    path.write_text(path.read_text().replace("seventh", "sixth"))


def _damage_orphaned(generated: Path) -> None:
    for path in list(generated.iterdir()):
        shutil.copy(path, generated / path.name.replace("demo", "gone"))


@compiles
@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (_damage_nothing, []),
        (_damage_missing, [("SP501", "generated/demo.h")]),
        (_damage_stale, [("SP502", "generated/demo.bpf.c"), ("SP502", "generated/demo.bpf.o"), ("SP502", "generated/demo.h")]),
        (_damage_edited, [("SP503", "generated/demo.bpf.c")]),
        (_damage_orphaned, [("SP504", f"generated/gone.{x}") for x in ("bpf.c", "bpf.o", "h")]),
    ],
    ids=["fresh", "missing", "stale", "edited", "orphaned"],
)  # fmt: skip
def test_check_names_what_differs_and_writes_nothing(
    damage: object, found: list[tuple[str, str]], project: Path
) -> None:
    assert specc("build", cwd=project).code == 0
    assert callable(damage)
    damage(project / "generated")
    before = files(project)
    done = specc("build", "--check", "--output-format", "json", cwd=project)
    assert [(d["code"], d["file"]) for d in json.loads(done.out)["diagnostics"]] == found
    assert done.code == (1 if found else 0)
    assert files(project) == before
    # A build mends all but the orphans, which are the user's to delete.
    specc("build", cwd=project)
    assert specc("build", "--check", cwd=project).code == (1 if damage is _damage_orphaned else 0)


@compiles
def test_check_of_one_spec_says_nothing_of_others_files(project: Path) -> None:
    assert specc("build", cwd=project).code == 0
    _damage_orphaned(project / "generated")
    done = specc("build", "--check", "specs/demo.yaml", cwd=project)
    assert done == Done(0, "", "1 spec: every file is as the specs say\n")


@compiles
def test_diff_is_a_patch_and_writes_nothing(project: Path) -> None:
    assert specc("build", cwd=project).code == 0
    assert specc("build", "--diff", cwd=project) == Done(0, "", "1 spec: every file is as the specs say\n")
    _damage_stale(project / "generated")
    before = files(project)
    done = specc("build", "--diff", cwd=project)
    assert done.code == 1
    assert files(project) == before
    assert "--- a/generated/demo.bpf.c\n+++ b/generated/demo.bpf.c\n@@ " in done.out
    assert "Binary files generated/demo.bpf.o and generated/demo.bpf.o (planned) differ" in done.out
    # What it prints is what a build would do.
    text = "".join(x for x in done.out.splitlines(keepends=True) if not x.startswith("Binary "))
    if shutil.which("patch"):
        subprocess.run(["patch", "-p1", "-s"], input=text.encode(), cwd=project, check=True, timeout=PATIENCE)
        patched = files(project / "generated")
        assert specc("build", cwd=project).code == 0
        built = files(project / "generated")
        assert [n for n in built if built[n] != patched[n]] == ["demo.bpf.o"]


@compiles
@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
def test_make_rebuilds_by_the_d_file(project: Path) -> None:
    (project / "Makefile").write_text(
        f"generated/demo.bpf.c: specs/demo.yaml\n\t{sys.executable} -m specc build -MD --emit c,obj specs/demo.yaml\n"
        "-include generated/demo.d\n"
    )

    def make() -> str:
        done = subprocess.run(["make"], cwd=project, env=environment(), capture_output=True, text=True, timeout=PATIENCE, check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "specc build" in make()
    assert "up to date" in make()
    header = project / "specs" / "include" / "demo.h"
    later = time.time() + 5
    header.write_text(HEADER.replace("short", "int"))
    os.utime(header, (later, later))
    assert "specc build" in make()
    assert "int seventh" in (project / "generated" / "demo.bpf.c").read_text()
    # A header that is deleted together with its mention does not stop make.
    header.unlink()
    spec = project / "specs" / "demo.yaml"
    spec.write_text(SPEC.replace("headers: [include/demo.h]\n", "").replace("    args: [a, seventh]", "    args: []"))
    assert "specc build" in make()
    text = (project / "generated" / "demo.d").read_text()
    assert text == "generated/demo.bpf.c generated/demo.bpf.o: specs/demo.yaml\n"


@compiles
def test_jobs_do_not_change_order_or_outcome(project: Path) -> None:
    for n in range(6):
        (project / "specs" / f"s{n}.yaml").write_text(SPEC.replace("name: demo", f"name: s{n}"))
    said = {specc("build", "-j", str(j), "-o", f"out{j}", cwd=project).err.replace(f"out{j}", "out") for j in (1, 4)}
    assert len(said) == 1
    assert files(project / "out1") == files(project / "out4")
    assert len(files(project / "out1")) == 21


# --- findings, and how they are told ----------------------------------------------------------------------------------


@pytest.fixture
def wrong(project: Path) -> Path:
    (project / "specs" / "demo.yaml").write_text(WRONG)
    return project


@compiles
@pytest.mark.parametrize("command", ["check", "build", "show specs/demo.yaml", "schema --event specs/demo.yaml"])
def test_a_finding_in_full(command: str, wrong: Path) -> None:
    before = files(wrong)
    done = specc(*command.split(), cwd=wrong)
    assert done == Done(1, "", f"{WRONG_FULL}\n1 error found; `specc explain CODE` says more\n")
    assert files(wrong) == before


MESSAGE = "no argument `sevnth` in `do_thing`"
NOTE = "arguments (include/demo.h:1): a, b, c, d, e, f, seventh"


@compiles
def test_a_finding_as_concise_github_and_json(wrong: Path) -> None:
    done = specc("check", "--output-format", "concise", cwd=wrong)
    assert done == Done(1, "", f"specs/demo.yaml:7:15: SP201 {MESSAGE} (did you mean `seventh`?)\n")
    done = specc("check", "--output-format", "github", cwd=wrong)
    text = f"{MESSAGE}%0Adid you mean `seventh`?%0A{NOTE}"
    assert done == Done(1, f"::error file=specs/demo.yaml,line=7,col=15,title=SP201::{text}\n", "")
    done = specc("check", "--output-format", "json", cwd=wrong)
    assert (done.code, done.err) == (1, "")
    assert json.loads(done.out) == {
        "version": 1,
        "diagnostics": [
            {
                **{"code": "SP201", "severity": "error", "message": MESSAGE, "file": "specs/demo.yaml"},
                **{"line": 7, "column": 15, "end_line": 7, "end_column": 21},
                **{"notes": [NOTE], "help": "did you mean `seventh`?"},
            }
        ],
    }


@compiles
def test_the_option_beats_the_environment(wrong: Path) -> None:
    env = environment(SPECC_OUTPUT_FORMAT="concise")
    assert specc("check", cwd=wrong, env=env).err.startswith("specs/demo.yaml:7:15: SP201")
    assert specc("check", "--output-format", "full", cwd=wrong, env=env).err.startswith("SP201 ")
    assert specc("check", cwd=wrong, env=environment(SPECC_OUTPUT_FORMAT="")).err.startswith("SP201 ")


def test_nothing_wrong_is_an_empty_list(project: Path) -> None:
    done = specc("check", "--no-resolve", "--output-format", "json", cwd=project)
    assert (done.code, json.loads(done.out), done.err) == (0, {"version": 1, "diagnostics": []}, "")


def _on_a_terminal(*arguments: str, cwd: Path, env: dict[str, str]) -> str:
    """What a command writes to stderr when that is a terminal."""
    ours, theirs = os.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "specc", *arguments],
            cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=theirs,
        )  # fmt: skip
        os.close(theirs)
        said = b""
        while select.select([ours], [], [], PATIENCE)[0]:
            try:
                part = os.read(ours, 4096)
            except OSError:  # EIO: nobody holds the other end any more
                break
            if not part:
                break
            said += part
        process.wait(PATIENCE)
    finally:
        os.close(ours)
    return said.decode()


@pytest.mark.parametrize(
    ("terminal", "settings", "coloured"),
    [
        (True, {}, True),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": ""}, True),
        (True, {"TERM": "dumb"}, False),
        (True, {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        (False, {}, False),
        (False, {"FORCE_COLOR": "1"}, True),
        (False, {"FORCE_COLOR": "1", "TERM": "dumb"}, True),
    ],
    ids=str,
)
def test_colour(terminal: bool, settings: dict[str, str], coloured: bool, project: Path) -> None:
    (project / "specs" / "demo.yaml").write_text(SPEC.replace("name: demo", "name: 5"))
    env = environment(**settings)
    if terminal:
        said = _on_a_terminal("check", cwd=project, env=env)
    else:
        said = specc("check", cwd=project, env=env).err
    assert "specs/demo.yaml" in said
    assert ("\x1b[" in said) == coloured


def test_machine_formats_are_never_coloured(project: Path) -> None:
    (project / "specs" / "demo.yaml").write_text(SPEC.replace("name: demo", "name: 5"))
    env = environment(FORCE_COLOR="1")
    for style in ("json", "github"):
        assert "\x1b" not in specc("check", "--output-format", style, cwd=project, env=env).out


# --- check ------------------------------------------------------------------------------------------------------------


@compiles
def test_check_of_a_good_spec(project: Path) -> None:
    before = files(project)
    for arguments in ((), ("specs",), ("specs/demo.yaml",), ("specs", "specs/demo.yaml")):
        assert specc("check", *arguments, cwd=project) == Done(0, "", "1 spec checked, nothing wrong\n")
    assert files(project) == before


@compiles
def test_check_tells_all_errors_of_all_specs(project: Path) -> None:
    (project / "specs" / "demo.yaml").write_text(
        WRONG.replace("[a,", "[aa,").replace("- kprobe", "- name: 7x\n    kprobe")
    )
    (project / "specs" / "second.toml").write_text('specc = 1\nname = "second"\ndescripton = 1\nprobes = []\n')
    (project / "specs" / "third.yaml").write_text("specc: 1\nname: third\n\tprobes: []\n")
    done = specc("check", "--output-format", "concise", cwd=project)
    assert done.code == 1
    assert {line.partition(":")[0] for line in done.err.splitlines()} == {
        "specs/demo.yaml",
        "specs/second.toml",
        "specs/third.yaml",
    }
    assert "did you mean `description`?" in done.err


def test_no_resolve_looks_for_no_prototype(project: Path) -> None:
    (project / "specs" / "demo.yaml").write_text(WRONG)
    done = specc("check", "--no-resolve", cwd=project, env=environment(PATH="/nowhere"))
    assert done == Done(0, "", "1 spec checked, nothing wrong\n")


def test_where_specs_are_looked_for(project: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = specc("check", "--output-format", "concise", cwd=tmp_path / "empty")
    assert done.code == 1
    assert done.err.startswith("SP029 no spec is named, and there is no directory `specs` here")
    done = specc("check", "--output-format", "concise", "empty", cwd=tmp_path)
    assert (done.code, done.err.startswith("SP029 no specs in the directory `empty`")) == (1, True)
    done = specc("check", "--output-format", "concise", "gone.yaml", cwd=tmp_path)
    assert (done.code, "SP001" in done.err and "gone.yaml" in done.err) == (1, True)
    # In a directory, only what has a spec's first key is one.
    (project / "specs" / "ci.yaml").write_text("jobs: {}\n")
    (project / "specs" / "pyproject.toml").write_text("[project]\n")
    assert specc("check", "--no-resolve", cwd=project) == Done(0, "", "1 spec checked, nothing wrong\n")


BOMB = "specc: 1\n" + "".join(
    f"x-{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9) if n else '1'}]\n" for n in range(12)
)  # fmt: skip


BAD = {
    "empty": b"",
    "binary": b"\0\1\2\xff" * 100,
    "noise": Random(os.environ["SPECC_SEED"]).randbytes(3000),
    "UTF-16": "specc: 1".encode("utf-16"),
    "deep list": b"specc: 1\nname: a\nprobes: " + b"[" * 100_000,
    "deep map": b"specc: 1\nname: a\nprobes: " + b"{a: " * 5_000,
    "large": b"specc: 1\n" + b"#" * 10_000_000,
    "many": b"specc: 1\nname: a\nprobes: [" + b"{kprobe: f}," * 80_000 + b"]",
    "bomb": BOMB.encode(),
    "loop": b"specc: 1\nx-a: &a [*a]\nname: a\nprobes: []\n",
    "list": b"- specc\n- 1\n",
    "word": b"specc\n",
    "version": b"specc: 99\nname: a\nprobes: [{kprobe: f, args: []}]\n",
    "types": b"specc: 1\nname: [a]\nprobes: 7\n",
    "twice": b"specc: 1\nname: a\nname: b\nprobes: [{kprobe: f, args: []}]\n",
    "path as name": b"specc: 1\nname: ../a\nprobes: [{kprobe: f, args: []}]\n",
    "space in name": b"specc: 1\nname: a b\nprobes: [{kprobe: f, args: []}]\n",
    "two probes of one name": b"specc: 1\nname: a\nprobes: [{kprobe: f, args: []}, {kprobe: f, args: []}]\n",
    "C in a function": b"specc: 1\nname: a\nprobes: [{kprobe: 'f; }', args: []}]\n",
    "header outside": b"specc: 1\nname: a\nheaders: [../../../../etc/passwd]\nprobes: [{kprobe: f}]\n",
    "no header": b"specc: 1\nname: a\nheaders: [gone.h]\nprobes: [{kprobe: f}]\n",
    "half a prototype": b"specc: 1\nname: a\nprobes: [{kprobe: f, prototype: 'int f(', args: [a]}]\n",
    "deep prototype": b"specc: 1\nname: a\nprobes: [{kprobe: f, prototype: '" + b"(" * 50_000 + b"', args: [a]}]\n",
    "python": b"!!python/object/apply:os.system ['true']\n",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_bad_input_is_a_diagnostic_and_1(text: bytes, project: Path) -> None:
    (project / "specs" / "demo.yaml").write_bytes(text)
    for command in ("check", "build"):
        done = specc(command, "specs/demo.yaml", "--output-format", "json", cwd=project)
        assert (done.code, done.err) == (1, "")
        found = json.loads(done.out)["diagnostics"]
        assert found
        assert all(re.fullmatch(r"SP\d{3}", d["code"]) and d["file"] == "specs/demo.yaml" for d in found)
    assert not (project / "generated").exists()


def test_what_is_no_file_is_a_diagnostic(project: Path) -> None:
    os.mkfifo(project / "specs" / "pipe.yaml")
    (project / "specs" / "folder.yaml").mkdir()
    (project / "specs" / "loop.yaml").symlink_to("loop.yaml")
    for name in ("pipe.yaml", "loop.yaml", "/dev/zero"):
        done = specc("build", "--output-format", "concise", f"specs/{name}" if "/" not in name else name, cwd=project)
        assert done.code == 1, done
        assert re.search(r"SP00[14] ", done.err)
    assert specc("check", "--no-resolve", "specs", cwd=project).code == 0


# --- show, schema, new, explain ---------------------------------------------------------------------------------------

FOO = """\
struct foo { long a; long b; };
void foo(long a, long b, long c, long d, long e, struct foo f, char g);
double bar(double x, int n);
"""


@pytest.fixture
def header(tmp_path: Path) -> Path:
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "foo.h").write_text(FOO)
    return tmp_path


@compiles
def test_show_as_json(header: Path) -> None:
    done = specc("show", "foo", "--header", "include/foo.h", "--format", "json", cwd=header)
    assert (done.code, done.err) == (0, "")
    shown = json.loads(done.out)
    assert {k: shown[k] for k in ("function", "source", "hidden_return_pointer")} == {
        "function": "foo",
        "source": "include/foo.h:2",
        "hidden_return_pointer": None,
    }
    assert [a["name"] for a in shown["args"]] == ["a", "b", "c", "d", "e", "f", "g"]
    assert shown["args"][5] == {
        **{"name": "f", "type": "struct foo", "size": 16, "align": 8, "class": "MEMORY", "readable": True},
        "reason": "two INTEGER eightbytes need 2 registers, 1 is left",
        "pieces": [{"arg_offset": 0, "size": 16, "where": "stack", "stack_offset": 8}],
    }
    assert shown["args"][6] == {
        **{"name": "g", "type": "char", "size": 1, "align": 1, "class": "INTEGER", "readable": True, "reason": ""},
        "pieces": [{"arg_offset": 0, "size": 1, "where": "r9", "reg_offset": 0}],
    }


@compiles
def test_show_all(header: Path) -> None:
    done = specc("show", "--all", "--header", "include/foo.h", "--format", "json", cwd=header)
    shown = json.loads(done.out)
    assert [f["function"] for f in shown] == ["foo", "bar"]
    (x, n) = shown[1]["args"]
    assert (x["readable"], x["pieces"][0]["where"], bool(x["reason"])) == (False, "xmm0", True)
    assert (n["readable"], n["pieces"][0]["where"]) == (True, "rdi")


@compiles
def test_show_as_text_has_every_argument_and_slot(header: Path) -> None:
    done = specc("show", "foo", "--header", "include/foo.h", cwd=header)
    assert (done.code, done.err) == (0, "")
    for word in ("struct foo", "rdi", "r9", "two INTEGER eightbytes need 2 registers, 1 is left"):
        assert word in done.out


def test_show_with_a_prototype_needs_no_compiler(tmp_path: Path) -> None:
    declared = "int f(int a, unsigned char b)"
    done = specc("show", "--prototype", declared, "f", "--format", "json", cwd=tmp_path, env=environment(PATH="/no"))
    assert done.code == 0, done.err
    assert [(a["name"], a["pieces"][0]["where"], a["size"]) for a in json.loads(done.out)["args"]] == [
        ("a", "rdi", 4),
        ("b", "rsi", 1),
    ]


@compiles
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (
            ["fooo", "--header", "include/foo.h"],
            "SP206 no declaration of `fooo` in include/foo.h (did you mean `foo`?)",
        ),
        (["foo", "--prototype", "int bar(int a)"], "SP207 "),
        (["foo", "--prototype", "int foo("], "SP2"),
        (["foo", "--btf", "include/foo.h"], "SP23"),
        (["foo", "--btf", "gone"], "SP23"),
        (["gone.yaml"], "SP001 "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_show_finds_nothing(arguments: list[str], code: str, header: Path) -> None:
    done = specc("show", *arguments, "--output-format", "concise", cwd=header)
    assert (done.code, done.out) == (1, "")
    assert code in done.err


@compiles
def test_show_of_a_missing_header(header: Path) -> None:
    done = specc("show", "foo", "--header", "include/fo.h", "--output-format", "concise", cwd=header)
    assert (done.code, done.out) == (1, "")
    assert re.search(r"SP2\d\d .*fo\.h", done.err)


@compiles
@pytest.mark.parametrize("command", [["show"], ["schema", "--event"], ["check"]], ids=" ".join)
def test_an_object_is_no_spec(command: list[str], project: Path) -> None:
    (project / "demo.bpf.o").write_bytes(b"\x7fELF")
    done = specc(*command, "demo.bpf.o", "--output-format", "concise", cwd=project)
    said = "SP004 `demo.bpf.o` is an object, not a spec (name the spec that it was built from)\n"
    assert done == Done(1, "", said)


def test_show_of_a_spec(project: Path) -> None:
    done = specc("show", "specs/demo.yaml", "--format", "json", cwd=project)
    assert (done.code, done.err) == (0, "")
    shown = json.loads(done.out)
    (probe,) = shown["probes"]
    assert (shown["spec"], probe["probe"], probe["kind"]) == ("demo", "do_thing", "kprobe")
    assert probe["function"]["function"] == "do_thing"
    done = specc("show", "specs/demo.yaml", cwd=project)
    assert done.code == 0
    assert "seventh" in done.out


def test_schema(tmp_path: Path) -> None:
    done = specc("schema", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    schema = json.loads(done.out)
    jsonschema.validators.validator_for(schema).check_schema(schema)


@compiles
def test_schema_of_records(project: Path) -> None:
    done = specc("schema", "--event", "specs/demo.yaml", cwd=project)
    assert (done.code, done.err) == (0, "")
    schema = json.loads(done.out)
    validator = jsonschema.validators.validator_for(schema)
    validator.check_schema(schema)
    good = {"probe": "do_thing", "timestamp": 1, "pid": 2, "a": -3, "seventh": 4}
    validator(schema).validate(good)
    for bad in ({**good, "a": "x"}, {**good, "probe": "other"}, {k: v for k, v in good.items() if k != "pid"}):
        with pytest.raises(jsonschema.ValidationError):
            validator(schema).validate(bad)


@compiles
def test_new_makes_a_spec_that_is_right(header: Path) -> None:
    (header / "specs").mkdir()
    done = specc("new", "foo", "--header", "include/foo.h", "-o", "specs/foo.yaml", cwd=header)
    assert done == Done(0, "", "wrote specs/foo.yaml\n")
    text = (header / "specs" / "foo.yaml").read_text()
    assert all(f"      - {name} " in text for name in "abcdef")
    assert "      # - {g: {type: unsigned char}}" in text
    assert specc("check", "specs", cwd=header) == Done(0, "", "1 spec checked, nothing wrong\n")
    again = specc("new", "foo", "--header", "include/foo.h", "-o", "specs/foo.yaml", "--output-format", "concise", cwd=header)  # fmt: skip
    assert (again.code, "SP505" in again.err) == (1, True)
    assert (header / "specs" / "foo.yaml").read_text() == text
    (header / "specs" / "foo.yaml").write_text(text.replace("# - {g:", "- {g:"))
    assert specc("check", "specs", cwd=header) == Done(0, "", "1 spec checked, nothing wrong\n")
    nowhere = specc("new", "foo", "--header", "include/foo.h", "-o", "no/foo.yaml", "--output-format", "concise", cwd=header)  # fmt: skip
    assert (nowhere.code, "SP506" in nowhere.err) == (3, True)


@compiles
def test_new_keeps_what_the_header_needs(tmp_path: Path) -> None:
    (tmp_path / "inc").mkdir()
    (tmp_path / "inc" / "types.h").write_text("typedef int number;\n")
    (tmp_path / "f.h").write_text("#include <types.h>\nint f(number a\n#if WIDE == 2\n, number b\n#endif\n);\n")
    (tmp_path / "specs").mkdir()
    done = specc("new", "f", "--header", "f.h", "-I", "inc", "-D", "WIDE=2", "-o", "specs/f.yaml", cwd=tmp_path)
    assert done.code == 0, done.err
    assert specc("check", "specs", cwd=tmp_path) == Done(0, "", "1 spec checked, nothing wrong\n")
    assert "      - b " in (tmp_path / "specs" / "f.yaml").read_text()


@compiles
def test_new_on_stdout_leaves_out_what_cannot_be_read(header: Path) -> None:
    done = specc("new", "bar", "--header", "include/foo.h", "--uprobe", "libbar.so.1", cwd=header)
    assert (done.code, done.err) == (0, "")
    assert re.search(r"^      # - x .*xmm0", done.out, re.MULTILINE)
    assert re.search(r"^      - n ", done.out, re.MULTILINE)
    (header / "bar.yaml").write_text(done.out)
    assert specc("check", "bar.yaml", cwd=header).code == 0


# --- the machine ------------------------------------------------------------------------------------------------------


@pytest.fixture
def bare_python(tmp_path: Path) -> list[str]:
    """A command that runs specc without a ziglang package in sight."""
    libraries = tmp_path / "libraries"
    libraries.mkdir()
    for name in ("jinja2", "markupsafe", "yaml", "pycparser", "tomlkit"):
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            (libraries / name).symlink_to(Path(spec.origin).parent)
    (libraries / "specc").symlink_to(ROOT / "specc")
    code = f"import sys; sys.path[:0] = [{str(libraries)!r}]; from specc.cli import main; sys.exit(main())"
    return [sys.executable, "-I", "-S", "-c", code]


@pytest.mark.parametrize("command", ["build", "check"])
def test_no_compiler_is_3_and_says_how_to_get_one(command: str, bare_python: list[str], project: Path) -> None:
    done = subprocess.run(
        [*bare_python, command, "--output-format", "json"],
        cwd=project, env=environment(PATH="/nowhere"), capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (3, "")
    (found,) = json.loads(done.stdout)["diagnostics"]
    assert (found["code"], "pip install 'specc[zig]'" in found["help"]) == ("SP401", True)
    assert not (project / "generated").exists()


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("exit 1", "SP405"),
        ('echo "clang version 13.0.1"', "SP403"),
        ('[ "$1" = --version ] && echo "clang version 14.0.6" || { echo "error: unable to create target: No available targets" >&2; exit 1; }', "SP404"),
    ],
    ids=["not a compiler", "too old", "no BPF target"],
)  # fmt: skip
def test_a_compiler_that_will_not_do_is_3(script: str, code: str, project: Path) -> None:
    path = project.parent / "bin" / "clang"
    path.parent.mkdir()
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    done = specc("build", "--compiler", path, "--output-format", "concise", cwd=project)
    assert (done.code, done.out) == (3, "")
    assert code in done.err


def test_a_compiler_that_is_not_there_is_3(project: Path) -> None:
    for asked, env in (
        (("--compiler", "gone/clang"), environment()),
        ((), environment(SPECC_COMPILER="gone/clang")),
    ):
        done = specc("build", *asked, "--output-format", "concise", cwd=project, env=env)
        assert (done.code, done.out) == (3, "")
        assert "SP405 no compiler `gone/clang` (asked for by" in done.err


def _interruptible() -> None:
    """A shell that runs things in the background has them ignore Ctrl-C, and that is inherited."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.skipif(REAL_CLANG is None, reason="no clang on PATH")
def test_ctrl_c_is_130_and_leaves_nothing(project: Path) -> None:
    """The compiler hangs; Ctrl-C reaches the whole group, as from a terminal."""
    fake = project.parent / "bin" / "clang"
    fake.parent.mkdir()
    fake.write_text(
        "#!/bin/sh\n"
        f'case " $* " in *" -c "*) echo $$ >"{project.parent}/started"; exec sleep 600;; esac\n'
        f'exec {REAL_CLANG} "$@"\n'
    )
    fake.chmod(0o755)
    scratch = project.parent / "scratch"
    scratch.mkdir()
    before = _inputs(project)
    process = subprocess.Popen(
        [sys.executable, "-m", "specc", "build", "--compiler", str(fake)],
        cwd=project,
        env=environment(TMPDIR=str(scratch), SPECC_CACHE_DIR=str(project.parent / "cache")),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=_interruptible,
    )
    started = project.parent / "started"
    deadline = time.monotonic() + PATIENCE
    while not (started.exists() and started.read_text().strip()) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, err) == (130, "", "interrupted\n")
    assert list(scratch.iterdir()) == []
    compiler = Path(f"/proc/{started.read_text().strip()}")
    deadline = time.monotonic() + PATIENCE  # who adopts an orphan may take a moment to bury it
    while compiler.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not compiler.exists()
    assert files(project) == before


def _closed_pipe() -> int:
    ours, theirs = os.pipe()
    os.close(ours)
    return theirs


@pytest.mark.parametrize(
    "arguments", [["schema"], ["explain"], ["--help"], ["--version"], ["explain", "SP501"]], ids=" ".join
)
def test_a_reader_that_has_enough_is_no_error(arguments: list[str], tmp_path: Path) -> None:
    pipe = _closed_pipe()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "specc", *arguments],
            cwd=tmp_path, env=environment(), stdout=pipe, stderr=subprocess.PIPE, timeout=PATIENCE, check=False,
        )  # fmt: skip
    finally:
        os.close(pipe)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize("arguments", [["schema"], ["--version"]], ids=" ".join)
def test_a_full_disk_behind_stdout_is_told(arguments: list[str], tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "specc", *arguments],
            cwd=tmp_path, env=environment(), stdout=full, stderr=subprocess.PIPE, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
    assert done.returncode == 3
    assert done.stderr == "specc: cannot write the output: No space left on device\n"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"cannot mount a small tmpfs: {done.stderr.strip() or 'not root'}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@compiles
def test_a_full_disk_for_the_outputs_leaves_them_as_they_were(small_disk: Path, project: Path) -> None:
    done = specc("build", "-o", small_disk / "out", "--output-format", "concise", cwd=project)
    assert done.code == 3
    assert re.search("^[0-9]+ specs? built", done.err, re.MULTILINE) is None
    assert "SP506" in done.err and "No space left on device" in done.err
    assert files(small_disk) == {}


@compiles
def test_a_full_disk_for_temporary_files_is_3(small_disk: Path, project: Path) -> None:
    (small_disk / "filler").write_bytes(b"x" * 8192)
    done = specc(
        "build", "--output-format", "concise", cwd=project, env=environment(TMPDIR=str(small_disk), SPECC_NO_CACHE="1")
    )
    assert done.code == 3
    assert "SP407" in done.err and "No space left on device" in done.err
    assert files(small_disk) == {"filler": b"x" * 8192}
    assert not (project / "generated").exists()


@compiles
@pytest.mark.parametrize(
    ("output", "code", "exit_code"),
    [("specs/demo.yaml", "SP507", 1), ("specs/demo.yaml/deep", "SP507", 1), ("/proc/specc", "SP506", 3)],
)
def test_an_output_directory_that_cannot_be(output: str, code: str, exit_code: int, project: Path) -> None:
    before = files(project)
    done = specc("build", "-o", output, "--output-format", "concise", cwd=project)
    assert (done.code, done.out) == (exit_code, "")
    assert code in done.err and "built" not in done.err
    assert files(project) == before


def _without_capabilities() -> list[str]:
    """A command that runs another one without root's powers over files."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]


@compiles
@pytest.mark.skipif(os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root, and no setpriv to be less")
def test_without_root(project: Path) -> None:
    """A user who may read everything and write only here builds; and is told where writing is not allowed."""
    before = _without_capabilities()
    env = environment(HOME="/nonexistent", SPECC_CACHE_DIR=None, XDG_CACHE_HOME=None)
    done = specc("build", cwd=project, before=before, env=env)
    assert done.code == 0, done.err
    (project / "closed").mkdir(mode=0o555)
    (project / "specs" / "hidden.yaml").write_text(SPEC)
    (project / "specs" / "hidden.yaml").chmod(0o000)
    done = specc("build", "specs/demo.yaml", "-o", "closed", "--output-format", "concise", cwd=project, before=before)
    assert done.code == 3
    assert "SP506" in done.err and "Permission denied" in done.err
    done = specc("check", "specs/hidden.yaml", "--output-format", "concise", cwd=project, before=before)
    assert done == Done(1, "", "specs/hidden.yaml:1:1: SP001 cannot read `specs/hidden.yaml`: Permission denied\n")
    assert files(project / "closed") == {}


@compiles
def test_a_working_directory_that_is_gone(project: Path) -> None:
    gone = project.parent / "gone"
    gone.mkdir()
    done = subprocess.run(
        ["sh", "-c", f'rmdir "{gone}"; exec "{sys.executable}" -P -m specc build "{project}/specs" -o "{project}/out"'],
        cwd=gone, env=environment(PYTHONPATH=str(ROOT)), capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr and "bug" not in done.stderr, done.stderr
    assert done.returncode in (0, 1, 3)

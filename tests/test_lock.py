"""specc.lock and specc diff: what is written down, when it is no longer true, and what breaks those who read events."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from random import Random

import pytest
from command import Done, environment, files, specc
from small_kernels import kernel

from specc.diagnostics import Stop
from specc.lock import (
    Lock,
    LockedField,
    LockedOutput,
    LockedProbe,
    LockedSpec,
    LockedTarget,
    event_changes,
    lock_difference,
    read_lock,
    spec_changes,
    write_lock,
)
from specc.noun import replace

DIGEST = "sha256:" + "5b" * 32
FIELDS = (
    LockedField(0, 4, "probe", "__u32", None),
    LockedField(8, 8, "absent", "__u64", None),
    LockedField(16, 8, "a", "unsigned long", None),
    LockedField(24, 8, "b", "struct pair", 0),
    LockedField(24, 4, "b.x", "int", None),
    LockedField(32, 4, "c", "int", 1),
)
PROBE = LockedProbe(
    "f", 0, "kprobe", "vfs_f", "",
    (
        LockedTarget("", "int f(int a)", (("a", "rdi"), ("return", "rax"))),
        LockedTarget("6.1", "int f(int x, int a)", (("x", "rdi"), ("a", "rsi"), ("gone", "-"))),
        LockedTarget("6.12", "", ()),
    ),
    40, FIELDS,
)  # fmt: skip
SPEC = LockedSpec(
    "specs/a.yaml",
    "a",
    "ring",
    (LockedOutput("a.bpf.c", DIGEST, ""), LockedOutput("a.bpf.o", DIGEST, "clang 14")),
    (PROBE,),
)
TEXT = f"""\
# What the specs give: `specc lock` writes this file, `specc check` and `specc build --locked` compare with it.
version 1

spec specs/a.yaml
  name a
  buffer ring
  output a.bpf.c {DIGEST}
  output a.bpf.o {DIGEST} by clang 14
  probe 0 f: kprobe vfs_f
    declared
      prototype int f(int a)
      at a: rdi
      at return: rax
    on 6.1
      prototype int f(int x, int a)
      at x: rdi
      at a: rsi
      at gone: -
    on 6.12
      nowhere
    event of 40 bytes
      field 0 4 probe: __u32
      field 8 8 absent: __u64
      field 16 8 a: unsigned long
      optional 0 24 8 b: struct pair
      field 24 4 b.x: int
      optional 1 32 4 c: int
"""


def test_text() -> None:
    assert write_lock(Lock((SPEC,))) == TEXT
    assert read_lock(TEXT, "specc.lock") == Lock((SPEC,))


def test_the_text_is_sorted() -> None:
    other = replace(SPEC, path="specs/Z.yaml", probes=())
    assert write_lock(Lock((SPEC, other))) == write_lock(Lock((other, SPEC)))
    assert [s.path for s in read_lock(write_lock(Lock((SPEC, other))), "l").specs] == ["specs/Z.yaml", "specs/a.yaml"]


@pytest.mark.parametrize("odd", ['"', "a b", " ", "a\nspec b", "\u202e", "é", 'q"uote', "on: x", "a by b", "\\", ""])
def test_odd_names_come_back(odd: str) -> None:
    target = LockedTarget(odd or "-", "int f(int a)", ((odd or "-", "rdi"),))
    field = LockedField(0, 4, odd or "-", odd or "-", None)
    probe = replace(PROBE, code=odd or "-", build=odd, targets=(target,), fields=(field,))
    spec = LockedSpec(odd or "-", "a", "", (LockedOutput("a.bpf.o", DIGEST, odd),), (probe,))
    text = write_lock(Lock((spec,)))
    assert read_lock(text, "l") == Lock((spec,))
    assert all(c.isprintable() for line in text.split("\n") for c in line)


# a text that is no lock, and the line of the finding
WRONG = [
    ("", 1),
    ("spec a\n", 1),
    ("version 1\n  output a.c " + DIGEST + "\n", 2),
    ("version 1\nspec a\n    on 6.1\n", 3),
    ("version 1\nspec a\n  probe 0 f: kprobe f\n      at a: rdi\n", 4),
    ("version 1\nversion 1\n", 2),
    ("version 1\nspec a\n<<<<<<< HEAD\n", 3),
    ("version 1\nspec a\n  output a.c sha256:12\n", 3),
    ('version 1\nspec "a\n', 2),
    ("version 1\nspec a\n  probe 0 f: kprobe f\n    event of 1e9 bytes\n", 4),
    ("specc: 1\n", 1),
    ('version 1\nspec "\\ud800"\n', 2),
    ('version 1\nspec "\\u0000"\n', 2),
    ("version \u0663\n", 1),
]


@pytest.mark.parametrize(("text", "line"), WRONG)
def test_no_lock(text: str, line: int) -> None:
    with pytest.raises(Stop) as caught:
        read_lock(text, "specc.lock")
    found = caught.value.diagnostic
    assert found.code == "SP514" and found.where is not None
    assert (found.where.file, found.where.line) == ("specc.lock", line)


def test_damaged_locks() -> None:
    """Whatever happened to a lock: it is read, or refused with a line."""
    rnd = Random(os.environ["SPECC_SEED"])
    for _ in range(300):
        lines = TEXT.split("\n")
        for _ in range(rnd.randrange(1, 4)):
            number = rnd.randrange(len(lines))
            line = lines[number]
            match rnd.randrange(5):
                case 0:
                    del lines[number]
                case 1:
                    lines.insert(number, rnd.choice(lines))
                case 2:
                    at = rnd.randrange(len(line) + 1)
                    lines[number] = line[:at] + rnd.choice(['"', "\\", ":", "9" * 30, "\u0663", " ", "\0"]) + line[at:]
                case 3:
                    lines[number] = line[: rnd.randrange(len(line) + 1)]
                case _:
                    rnd.shuffle(lines)
        try:
            lock = read_lock("\n".join(lines), "specc.lock")
        except Stop as problem:
            assert problem.diagnostic.where is not None
            assert problem.diagnostic.code in ("SP514", "SP515")
        else:
            assert read_lock(write_lock(lock), "l") == Lock(tuple(sorted(lock.specs, key=lambda s: s.path)))


def test_a_lock_of_a_later_version() -> None:
    with pytest.raises(Stop) as caught:
        read_lock("version 2\nanything\n", "specc.lock")
    assert caught.value.diagnostic.code == "SP515"


def test_the_difference_of_locks() -> None:
    new_target = replace(PROBE.targets[1], places=(("x", "rdi"), ("a", "sp+8"), ("gone", "-")))
    probe = replace(PROBE, targets=(PROBE.targets[0], new_target, PROBE.targets[2]), size=48)
    assert lock_difference(SPEC, SPEC) == []
    assert lock_difference(SPEC, replace(SPEC, probes=(probe,), outputs=SPEC.outputs[:1])) == [
        "    probe 0 f: kprobe vfs_f",
        "      on 6.1",
        "-       at a: rsi",
        "+       at a: sp+8",
        "-     event of 40 bytes",
        "+     event of 48 bytes",
    ]


def _with(*fields: LockedField) -> LockedSpec:
    return replace(SPEC, probes=(replace(PROBE, fields=fields),))


PROBE_, ABSENT, A, B, B_X, C = FIELDS
MORE = LockedField(40, 8, "more", "long", None)

# the spec afterwards, and what changed: kind, whether it breaks, and the text
EVENT_CHANGES = [
    (SPEC, []),
    (replace(SPEC, path="other.yaml", outputs=()), []),
    (_with(*FIELDS, MORE), ["fine added: `more` is new, at byte 40"]),
    (_with(PROBE_, ABSENT, A, B, B_X), ["breaks removed: `c` is gone"]),
    (_with(PROBE_, ABSENT, replace(A, offset=40), B, B_X, C), ["breaks moved: `a` is at byte 40, it was at 16"]),
    (_with(PROBE_, ABSENT, replace(A, type="long"), B, B_X, C),
     ["breaks retyped: `a` is `long`, it was `unsigned long`"]),
    (_with(PROBE_, ABSENT, replace(A, size=4, type="unsigned int"), B, B_X, C),
     ["breaks retyped: `a` is `unsigned int`, it was `unsigned long`", "breaks resized: `a` has 4 bytes, it had 8"]),
    (_with(PROBE_, ABSENT, A, B, replace(B_X, type="unsigned int"), C),
     ["breaks retyped: `b.x` is `unsigned int`, it was `int`"]),
    (_with(PROBE_, ABSENT, replace(A, bit=2), B, B_X, C), ["breaks nullable: `a` may be null, it was always there"]),
    (_with(PROBE_, ABSENT, A, replace(B, bit=None), B_X, C), []),
    (_with(PROBE_, ABSENT, A, replace(B, bit=1), B_X, replace(C, bit=0)),
     ["breaks moved: `b` has bit 1 of `absent`, it had 0", "breaks moved: `c` has bit 0 of `absent`, it had 1"]),
    (replace(SPEC, probes=()), ["breaks removed: the probe is gone"]),
    (replace(SPEC, probes=(PROBE, replace(PROBE, name="g", number=1))), ["fine added: the probe is new"]),
    (replace(SPEC, probes=(replace(PROBE, name="g"), replace(PROBE, number=1))),
     ["breaks renumbered: its events have the number 1, they had 0", "fine added: the probe is new"]),
    (replace(SPEC, probes=(replace(PROBE, kind="fentry", targets=PROBE.targets[:1]),)), []),
    (replace(SPEC, name="b"),
     ["breaks renamed: files, maps, structs and modules are called after `b`, they were after `a`"]),
    (replace(SPEC, buffer="perf"), ["breaks moved: events come by a perf buffer, they came by a ring buffer"]),
    (replace(SPEC, buffer=""), []),
]  # fmt: skip


@pytest.mark.parametrize(("new", "expected"), EVENT_CHANGES)
def test_event_changes(new: LockedSpec, expected: list[str]) -> None:
    found = spec_changes(SPEC, new)
    assert [f"{'breaks' if c.breaks else 'fine'} {c.kind}: {c.text}" for c in found] == expected


def test_changes_of_whole_locks() -> None:
    gone, new = replace(SPEC, path="specs/gone.yaml"), replace(SPEC, path="specs/new.yaml")
    found = event_changes(Lock((SPEC, gone)), Lock((SPEC, new)))
    assert [(c.spec, c.kind, c.breaks) for c in found] == [
        ("specs/gone.yaml", "removed", True),
        ("specs/new.yaml", "added", False),
    ]


# --- the commands -----------------------------------------------------------------------------------------------------

HEADER = (
    "struct pair { int x; char y[3]; unsigned z : 3; struct { long in; }; };\nint g(int a, struct pair p, int b);\n"
)
SPEC_F = """\
specc: 1
name: f
fields: [pid]
probes:
  - kprobe: f
    args: [start, {vmas: {optional: true}}, locked]
"""
SPEC_G = """\
specc: 1
name: g
fields: []
headers: [g.h]
probes:
  - uretprobe: {path: /nowhere/libg.so, symbol: g}
    args: [p, return]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for folder in ("specs", "btf", ".git"):
        (tmp_path / folder).mkdir()
    kernel(tmp_path / "btf/5.4.btf", {"f": "int a, long start, int b, int c, int d, long vmas, int * locked -> long"})
    kernel(tmp_path / "btf/6.1.btf", {"f": "int a, long start, int b, int c, int d, int * locked -> long"})
    (tmp_path / "specc.toml").write_text('targets = ["btf/5.4.btf", "btf/6.1.btf"]\n')
    (tmp_path / "specs/f.yaml").write_text(SPEC_F)
    (tmp_path / "specs/g.yaml").write_text(SPEC_G)
    (tmp_path / "specs/g.h").write_text(HEADER)
    return tmp_path


def run(project: Path, *arguments: str) -> Done:
    env = environment(SPECC_TARGETS=None, SPECC_CACHE_DIR=str(project / ".cache"))
    return specc(*arguments, cwd=project, env=env)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


LOCKED = """\
# What the specs give: `specc lock` writes this file, `specc check` and `specc build --locked` compare with it.
version 1

spec specs/f.yaml
  name f
  buffer ring
  output f.bpf.c sha256:...
  output f.h sha256:...
  probe 0 f: kprobe f
    on 5.4
      prototype long f(int a, long start, int b, int c, int d, long vmas, int *locked)
      at a: rdi
      at start: rsi
      at b: rdx
      at c: rcx
      at d: r8
      at vmas: r9
      at locked: sp+8
    on 6.1
      prototype long f(int a, long start, int b, int c, int d, int *locked)
      at a: rdi
      at start: rsi
      at b: rdx
      at c: rcx
      at d: r8
      at locked: r9
      at vmas: -
    event of 48 bytes
      field 0 4 probe: __u32
      field 4 4 stack_error: __s32
      field 8 8 absent: __u64
      field 16 4 pid: __u32
      field 24 8 start: long
      optional 0 32 8 vmas: long
      field 40 8 locked: int *

spec specs/g.yaml
  name g
  buffer ring
  output g.bpf.c sha256:...
  output g.h sha256:...
  probe 0 g: uretprobe /nowhere/libg.so:g
    declared
      prototype int g(int a, struct pair p, int b)
      at a: rdi
      at p: rsi:rdx
      at b: rcx
      at return: rax
    event of 32 bytes
      field 0 4 probe: __u32
      field 8 16 p: struct pair
      field 8 4 p.x: int
      field 12 3 p.y: char [3]
      field 15 4 p.z: unsigned int : 3 at bit 0
      field 16 8 p.3: struct (anonymous)
      field 16 8 p.3.in: long
      field 24 4 return: int
"""


def test_lock(project: Path) -> None:
    done = run(project, "lock", "--emit", "c,header")
    assert (done.code, done.out, done.err) == (0, "", "created specc.lock: 2 specs\n")
    text = (project / "specc.lock").read_text()
    assert _without_digests(text) == LOCKED
    assert not (project / "generated").exists()
    done = run(project, "lock", "--emit", "c,header", "-j", "1", "specs/g.yaml", "specs/f.yaml")
    assert (done.code, done.err) == (0, "unchanged specc.lock: 2 specs\n")
    assert (project / "specc.lock").read_text() == text


def _without_digests(text: str) -> str:
    return re.sub("sha256:[0-9a-f]{64}", "sha256:...", text)


def test_check_and_build_agree_with_a_fresh_lock(project: Path) -> None:
    assert run(project, "lock").code == 0
    done = run(project, "check")
    assert (done.code, done.err) == (0, "2 specs checked, nothing wrong\n")
    done = run(project, "build", "--locked")
    assert done.code == 0, done.err
    assert sorted(p.name for p in (project / "generated").iterdir()) == [
        "f.bpf.c", "f.bpf.o", "f.h", "g.bpf.c", "g.bpf.o", "g.h",
    ]  # fmt: skip


def test_another_compiler_is_named(project: Path) -> None:
    assert run(project, "lock").code == 0
    text = (project / "specc.lock").read_text()
    line = next(x for x in text.splitlines() if "f.bpf.o" in x)
    (project / "specc.lock").write_text(text.replace(line, f"  output f.bpf.o {DIGEST} by clang 99"))
    assert run(project, "check").code == 0  # it makes no objects
    done = run(project, "build", "--locked")
    assert done.code == 1
    assert f"= note: -   output f.bpf.o {DIGEST} by clang 99\n" in done.err


# what is edited, and what is said of it: the code and some of the notes
REALITY = [
    ("specs/f.yaml", "start, ", "", "SP511", ["-       field 24 8 start: long"]),
    ("specs/g.h", "int a, struct", "long a, struct", "SP511",
     ["-       prototype int g(int a, struct pair p, int b)", "+       prototype int g(long a, struct pair p, int b)"]),
    ("specs/g.h", "struct pair p, int b", "int b, struct pair p", "SP511",
     ["-       at p: rsi:rdx", "+       at p: rdx:rcx"]),
    ("specs/f.yaml", "name: f", "name: other", "SP511", ["-   name f", "+   name other"]),
    ("specs/f.yaml", "fields", "buffer: {perf: 8}\nfields", "SP511", ["-   buffer ring", "+   buffer perf"]),
    ("specc.toml", '"btf/5.4.btf", ', "", "SP511", ["-     on 5.4"]),
    ("specc.toml", '"]', '", {name = "six", btf = "btf/6.1.btf"}]', "SP511", ["+     on six"]),
]  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new", "code", "notes"), REALITY)
def test_reality_differs(project: Path, file: str, old: str, new: str, code: str, notes: list[str]) -> None:
    assert run(project, "lock", "--emit", "c,header").code == 0
    edit(project / file, old, new)
    before = files(project / "specs")
    for command in (["check"], ["build", "--emit", "c,header", "--locked"]):
        done = run(project, *command, "--output-format", "json")
        assert done.code == 1, done.err
        [found] = json.loads(done.out)["diagnostics"]
        assert found["code"] == code
        assert found["file"] == "specc.lock"
        assert set(notes) <= set(found["notes"])
    assert not (project / "generated").exists() and files(project / "specs") == before
    assert run(project, "check", "--no-lock").code == 0
    assert run(project, "lock", "--emit", "c,header").code == 0
    assert run(project, "check").code == 0


def test_a_kernel_that_changed(project: Path) -> None:
    assert run(project, "lock", "--emit", "c,header").code == 0
    kernel(project / "btf/6.1.btf", {"f": "int new, int a, long start, int b, int c, int d, int * locked -> long"})
    done = run(project, "check")
    assert done.code == 1
    assert "   = note:       on 6.1\n" in done.err
    assert "   = note: -       at locked: r9\n" in done.err and "   = note: +       at locked: sp+8\n" in done.err


def test_no_file_is_written_that_the_lock_does_not_have(project: Path) -> None:
    assert run(project, "lock", "--emit", "c").code == 0
    done = run(project, "build", "--locked", "--emit", "c,header", "specs/f.yaml", "--output-format", "json")
    assert done.code == 1
    [found] = json.loads(done.out)["diagnostics"]
    assert found["code"] == "SP511"
    assert [note.partition(" sha256")[0] for note in found["notes"]] == ["+   output f.h"]
    assert not (project / "generated").exists()
    assert run(project, "build", "--locked", "--emit", "c", "specs/f.yaml").code == 0
    assert [p.name for p in (project / "generated").iterdir()] == ["f.bpf.c"]


def test_a_spec_of_another_name_breaks_readers(project: Path) -> None:
    (project / "new.yaml").write_text(SPEC_F.replace("name: f", "name: two"))
    done = run(project, "diff", "specs/f.yaml", "new.yaml", "--format", "json")
    assert done.code == 1
    text = "files, maps, structs and modules are called after `two`, they were after `f`"
    changes = [{"spec": "new.yaml", "probe": None, "field": None, "kind": "renamed", "breaks": True, "message": text}]
    assert json.loads(done.out) == {"version": 1, "breaks": True, "changes": changes}


def test_new_and_gone_specs(project: Path) -> None:
    assert run(project, "lock", "--emit", "c,header").code == 0
    (project / "specs/f.yaml").rename(project / "specs/h.yaml")
    edit(project / "specs/h.yaml", "name: f", "name: h")
    done = run(project, "check", "--output-format", "concise")
    assert done.code == 1
    assert done.err.splitlines() == [
        "specc.lock:4:1: SP512 specc.lock has `specs/f.yaml`, and there is no such spec (run `specc lock` and commit it)",
        "specs/h.yaml:1:1: SP510 `specs/h.yaml` is not in specc.lock (run `specc lock` and commit it)",
    ]
    assert run(project, "lock", "--emit", "c,header", "specs/h.yaml").code == 0
    locked = read_lock((project / "specc.lock").read_text(), "l")
    assert [s.path for s in locked.specs] == ["specs/g.yaml", "specs/h.yaml"]


def test_locked_without_a_lock(project: Path) -> None:
    done = run(project, "build", "--locked", "--emit", "c", "--output-format", "concise", "specs/f.yaml")
    assert (done.code, done.err) == (
        1, "SP513 there is no specc.lock for `specs/f.yaml` (`specc lock` writes specc.lock)\n",
    )  # fmt: skip
    assert not (project / "generated").exists()


def test_where_a_lock_is(project: Path) -> None:
    """The nearest one counts, then the place of the config, then beside the directory `specs`."""
    run(project, "lock", "--emit", "c", "specs/f.yaml")
    (project / "specs/specc.lock").write_text("version 1\n")
    assert run(project, "lock", "--emit", "c", "specs/g.yaml").err == "updated specs/specc.lock: 1 spec\n"
    assert [s.path for s in read_lock((project / "specs/specc.lock").read_text(), "l").specs] == ["g.yaml"]
    (project / "specc.lock").unlink()
    (project / "specs/specc.lock").unlink()
    (project / "specc.toml").unlink()
    assert run(project, "lock", "--emit", "c", "specs/g.yaml").err == "created specc.lock: 1 spec\n"


def test_specs_in_directories_of_their_own_have_one_lock(project: Path) -> None:
    (project / "specc.toml").unlink()
    (project / "specs/f.yaml").unlink()
    (project / "specs/net").mkdir()
    edit(project / "specs/g.yaml", "headers: [g.h]\n", "")
    edit(project / "specs/g.yaml", "    args", "    prototype: int g(int p)\n    args")
    (project / "specs/net/a.yaml").write_text((project / "specs/g.yaml").read_text().replace("name: g", "name: a"))
    assert run(project, "lock", "--emit", "c").err == "created specc.lock: 2 specs\n"
    assert [s.path for s in read_lock((project / "specc.lock").read_text(), "l").specs] == [
        "specs/g.yaml",
        "specs/net/a.yaml",
    ]
    assert not list((project / "specs").rglob("specc.lock"))
    assert run(project, "check").code == 0
    (project / "specc.lock").unlink()
    (project / ".git").rename(project / "specs/.git")  # a project that is called `specs`
    assert run(project, "lock", "--emit", "c", "specs/g.yaml").err == "created specs/specc.lock: 1 spec\n"


def test_a_lock_that_a_merge_left(project: Path) -> None:
    assert run(project, "lock", "--emit", "c,header").code == 0
    edit(project / "specc.lock", "version 1\n", "version 1\n<<<<<<< HEAD\n")
    done = run(project, "check", "--output-format", "concise")
    assert done.code == 1
    assert done.err.startswith("specc.lock:3:1: SP514 `<<<<<<< HEAD` is not a line of a lock")
    done = run(project, "lock", "--emit", "c,header", "--output-format", "concise")
    assert done.code == 0 and "SP514 warning" in done.err
    assert _without_digests((project / "specc.lock").read_text()) == LOCKED


def test_a_lock_of_another_version_is_left_alone(project: Path) -> None:
    (project / "specc.lock").write_text("version 7\n")
    done = run(project, "lock", "--emit", "c,header", "--output-format", "concise")
    assert done.code == 1 and ": SP515 " in done.err
    assert (project / "specc.lock").read_text() == "version 7\n"


def test_a_spec_with_errors_writes_no_lock(project: Path) -> None:
    edit(project / "specs/f.yaml", "locked]", "lokced]")
    done = run(project, "lock", "--emit", "c,header", "--output-format", "concise")
    assert done.code == 1 and "SP201" in done.err
    assert not (project / "specc.lock").exists()


def test_diff_of_two_specs(project: Path) -> None:
    (project / "new.yaml").write_text(SPEC_F.replace("start, ", "").replace("locked]", "locked, start]"))
    kernel_flags = ("--btf", "btf/5.4.btf")
    done = run(project, "diff", "specs/f.yaml", "new.yaml", *kernel_flags)
    assert done.code == 1
    assert (
        done.out
        == """\
new.yaml
  breaks  f: `start` is at byte 40, it was at 24
  breaks  f: `vmas` is at byte 24, it was at 32
  breaks  f: `locked` is at byte 32, it was at 40
3 changes break those who read the events
"""
    )
    (project / "new.yaml").write_text(SPEC_F.replace("locked]", "locked, a]"))
    done = run(project, "diff", "specs/f.yaml", "new.yaml", *kernel_flags)
    assert (done.code, done.out) == (0, """\
new.yaml
  fine    f: `a` is new, at byte 48
those who read the events can stay as they are
""")  # fmt: skip
    done = run(project, "diff", "specs/f.yaml", "specs/f.yaml", *kernel_flags)
    assert (done.code, done.out) == (0, "the events are the same\n")


def test_a_value_by_name_is_no_number_any_more(project: Path) -> None:
    (project / "specs/g.h").write_text("enum mode { OFF, ON };\n" + HEADER)
    (project / "specs/g.yaml").write_text(SPEC_G.replace("[p, return]", "[p, b, return]"))
    (project / "specs/new.yaml").write_text(SPEC_G.replace("[p, return]", "[p, {b: {enum: mode}}, return]"))
    done = run(project, "diff", "specs/g.yaml", "specs/new.yaml")
    assert done.code == 1
    assert "  breaks  g: `b` is `int as enum mode`, it was `int`\n" in done.out


def test_diff_of_two_locks(project: Path) -> None:
    assert run(project, "lock", "--emit", "c,header").code == 0
    shutil.copy(project / "specc.lock", project / "old")
    edit(project / "specs/g.h", "int x;", "long x;")
    (project / "specs/f.yaml").unlink()
    assert run(project, "lock", "--emit", "c,header").code == 0
    done = run(project, "diff", "old", "specc.lock", "--format", "json")
    assert done.code == 1
    document = json.loads(done.out)
    assert (document["version"], document["breaks"]) == (1, True)
    assert document["changes"][0] == {
        "spec": "specs/f.yaml", "probe": None, "field": None, "kind": "removed", "breaks": True, "message": "the spec is gone",
    }  # fmt: skip
    assert {
        "spec": "specs/g.yaml", "probe": "g", "field": "p.x", "kind": "retyped", "breaks": True,
        "message": "`p.x` is `long`, it was `int`",
    } in document["changes"]  # fmt: skip


@pytest.fixture
def repository(project: Path) -> Path:
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    (project / ".git").rmdir()
    _git(project, "init", "-q")
    (project / ".gitignore").write_text(".cache\n")
    (project / ".gitattributes").write_text("specs export-ignore\n")  # `git archive` would leave them out
    _git(project, "add", ".")
    _git(project, "commit", "-q", "-m", "one")
    return project


def _git(folder: Path, *arguments: str) -> str:
    identity = [
        "-c",
        "user.name=n",
        "-c",
        "user.email=e@x",
        "-c",
        "init.defaultBranch=main",
        "-c",
        "commit.gpgsign=false",
    ]
    return subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def test_diff_against_a_commit(repository: Path) -> None:
    assert run(repository, "diff", "--against", "git:HEAD").out == "the events are the same\n"
    (repository / "specs/g.yaml").rename(repository / "specs/h.yaml")
    edit(repository / "specs/f.yaml", "locked]", "locked, a]")
    kernel(
        repository / "btf/5.4.btf",
        {"f": "int a, unsigned long start, int b, int c, int d, long vmas, int * locked -> long"},
    )
    kernel(repository / "btf/6.1.btf", {"f": "int a, unsigned long start, int b, int c, int d, int * locked -> long"})
    _git(repository, "add", ".")
    status = _git(repository, "status", "--porcelain")
    done = run(repository, "diff", "--against", "git:HEAD")
    assert (done.code, done.err) == (1, "")
    assert (
        done.out
        == """\
specs/f.yaml
  breaks  f: `start` is `unsigned long`, it was `long`
  fine    f: `a` is new, at byte 48
specs/g.yaml
  breaks  the spec is gone
specs/h.yaml
  fine    the spec is new
2 changes break those who read the events
"""
    )
    assert _git(repository, "status", "--porcelain") == status
    done = run(repository, "diff", "--against", "git:HEAD", "specs/h.yaml")
    assert (done.code, done.out) == (
        0,
        "specs/h.yaml\n  fine    the spec is new\nthose who read the events can stay as they are\n",
    )


def test_a_commit_whose_specs_are_wrong(repository: Path) -> None:
    edit(repository / "specs/f.yaml", "locked]", "lokced]")
    _git(repository, "commit", "-q", "-a", "-m", "two")
    edit(repository / "specs/f.yaml", "lokced]", "locked]")
    done = run(repository, "diff", "--against", "git:HEAD", "--output-format", "concise")
    assert done.code == 1
    assert done.err.startswith("HEAD:specs/f.yaml:6:45: SP201 no argument `lokced` in `f`")


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("--output=x", "SP516 `--output=x` is not the name of a commit"),
        ("-h", "SP516 `-h` is not the name of a commit"),
        ("", "SP516 `` is not the name of a commit"),
        ("a b", "SP516 `a b` is not the name of a commit"),
        ("HEAD:specs", "SP516 `HEAD:specs` is not the name of a commit"),
        ("HEAD~7", "SP516 cannot take specs from git: there is no commit `HEAD~7`"),
        ("nope", "SP516 cannot take specs from git: there is no commit `nope`"),
    ],
)
def test_no_commit(repository: Path, reference: str, said: str) -> None:
    before = files(repository)
    done = run(repository, "diff", "--against", f"git:{reference}", "--output-format", "concise")
    assert done.code == 1
    assert done.err.startswith(said), done.err
    assert {n: d for n, d in files(repository).items() if not n.startswith(".cache")} == before


def test_specs_that_are_nowhere(repository: Path) -> None:
    done = run(repository, "diff", "--against", "git:HEAD", "specs/nope.yaml", "--output-format", "concise")
    assert (done.code, done.err) == (1, "SP516 `specs/nope.yaml` has no specs, neither here nor in HEAD\n")
    done = run(repository, "diff", "--against", "git:HEAD", "specs", "..", "--output-format", "concise")
    assert done.code == 1 and done.err.startswith("SP516 `..` is not in the repository "), done.err


def test_no_repository(project: Path) -> None:
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    (project / ".git").rmdir()
    done = run(project, "diff", "--against", "git:HEAD", "--output-format", "concise")
    assert done.code == 1
    assert done.err.startswith("SP516 cannot take specs from git: fatal: not a git repository")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "specc diff: give two specs, two locks, or --against git:REF\n"),
        (("a",), "specc diff: give two specs, two locks, or --against git:REF\n"),
        (("--against", "main"), "specc diff: --against takes git:REF, not `main`\n"),
    ],
)
def test_usage(project: Path, arguments: tuple[str, ...], said: str) -> None:
    done = run(project, "diff", *arguments)
    assert (done.code, done.out, done.err) == (2, "", said)


def test_a_spec_against_a_lock(project: Path) -> None:
    done = run(project, "diff", "specs/f.yaml", "specc.lock", "--output-format", "concise")
    assert (done.code, done.err) == (1, "SP517 a spec and a lock cannot be compared (give two specs, or two locks)\n")

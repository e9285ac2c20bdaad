"""A probe on several kernels: its table, what is found, and what is compiled all the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import specc
from small_kernels import kernel

from specc.abi import place_arguments
from specc.diagnostics import Location, Report, Sources, render
from specc.headers import HeaderIndex, parse_declaration
from specc.pipeline import Session, front
from specc.survey import Survey, prototype_changes

ARGS = "struct mm * mm, long start, int flags"
# name, functions: what each kernel of the tests has
KERNELS = {
    "5.4": {"f": f"{ARGS}, int * locked -> long", "g": "int a", "only": "int a"},
    "5.10": {"f": f"{ARGS}, int * locked -> long", "g": "int a"},
    "inserted": {"f": f"{ARGS}, long more, long vmas, int new, int * locked -> long", "g": "int a"},
    "renamed": {"f": "struct mm * mm, long start, int gup_flags, int * locked -> long", "g": "int b"},
    "retyped": {"f": "struct mm * mm, long start, long flags, int * locked -> int", "g": "long a"},
    "target": {"f": "struct mm * mm, long start, int flags, struct folio * locked -> long"},
    "unreadable": {"f": "struct mm * mm, long start, double flags, int * locked -> long"},
    "empty": {"f": " -> void", "g": "int a"},
    "clone": {"f.isra.0": f"{ARGS}, int * locked -> long", "g": "int a"},
    "two": {"f": "int a", "f#2": "long b", "g": "int a"},
    "twins": {"f": "int flags, int flags -> long", "g": "int a"},
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, functions in KERNELS.items():
        kernel(tmp_path / f"{name}.btf", functions)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SPECC_TARGETS", raising=False)
    return tmp_path


def surveyed(probes: str, *targets: str) -> tuple[list[Survey], str, bool]:
    """The surveys of a spec, its findings in one line each, and whether there is a program."""
    Path("s.yaml").write_text(f"specc: 1\nname: s\nfields: []\nprobes: [{probes}]\n")
    report = Report()
    surveys: list[Survey] = []

    def none() -> object:
        raise AssertionError("no compiler is needed")

    session = Session(none, [Path(f"{t}.btf") for t in targets])  # type: ignore[arg-type]
    program = front(Path("s.yaml"), session, report, surveys=surveys)
    return surveys, render(report.diagnostics, "concise", Sources()), program is not None


FINE = "{kprobe: f, args: [start, {flags: {optional: true}}]}"

# probes; targets; what is said (code and message), in the order of the places
FINDINGS = [
    (FINE, ["5.4", "5.10", "inserted", "renamed"], []),
    ("{kprobe: f, args: [start, flags]}", ["5.4", "5.10", "renamed", "inserted"], [
        "SP250 `f` on renamed: no argument `flags`: there are mm, start, gup_flags, locked (did you mean `gup_flags`?)",
    ]),
    ("{kprobe: g, args: [a]}", ["renamed", "5.4"], [
        "SP250 `g` on renamed: no argument `a`: there are b (`b` has its type: was it renamed?)",
    ]),
    ("{kprobe: f, args: [vmas]}", ["5.4", "5.10", "inserted"], [
        ("SP250 `f` on 5.4 and 5.10: no argument `vmas`: there are mm, start, flags, locked "
        "(`start` has its type: was it renamed?)"),
    ]),
    ("{kprobe: f, args: [start, {vmas: {optional: true}}]}", ["5.4", "inserted"], []),
    ("{kprobe: f, args: [{flags: {optional: true}}]}", ["5.4", "retyped"], [
        "SP251 `f` on retyped: `flags` is `long`, not `int`: 4 bytes against 8",
    ]),
    ("{kprobe: f, args: [{flags: {type: 'unsigned int'}}]}", ["5.4", "retyped"], [
        "SP251 `f` on retyped: `flags` is `long`, not `int`: 8 bytes, not 4",
    ]),
    ("{kprobe: f, args: [locked]}", ["5.4", "target"], [
        ("SP251 `f` on target: `locked` is `struct folio *`, not `int *`: "
        "they point to different things: an integer against a struct by value"),
    ]),
    ("{kretprobe: f, args: [return]}", ["5.4", "retyped", "5.10"], [
        "SP251 `f` on retyped: the result is `int`, not `long`: 8 bytes against 4",
    ]),
    ("{kprobe: f, args: [start]}", ["5.4", "empty"], [
        ("SP253 `f` on empty: BTF gives assembler functions an empty prototype, and functions of C without arguments the "
        "same: it may have arguments and a result that BTF does not tell"),
    ]),
    ("{kprobe: f, args: [flags]}", ["5.4", "twins"], ["SP253 `f` on twins: two arguments are called `flags`"]),
    ("{kprobe: f, args: [start]}", ["5.4", "clone", "two", "5.10"], [
        "SP254 on clone: there is no function `f` (probe a function that calls it, or one that it calls)",
        ("SP254 on two: several functions are named `f` (give the one that is meant with `prototype:`, "
        "and see which of them the probe attaches to)"),
    ]),
    ("{kprobe: only, args: [a]}", ["5.10", "5.4", "two"], [
        ("SP254 on 5.10 and two: there is no function `only` (it may be inlined everywhere, be a macro, or belong to a "
        "module (give the module's BTF with `--btf`))"),
    ]),
    ("{kprobe: nowhere, args: [a]}", ["5.10", "5.4"], [
        ("SP254 on every target: there is no function `nowhere` (it may be inlined everywhere, be a macro, or belong to a "
        "module (give the module's BTF with `--btf`))"),
    ]),
    # What is wrong everywhere is told once, and in the same run as what is wrong somewhere.
    ("{kprobe: f, args: [sart, flags]}", ["5.4", "retyped", "5.10"], [
        "SP201 no argument `sart` in `f` (did you mean `start`?)",
        "SP251 `f` on retyped: `flags` is `long`, not `int`: 4 bytes against 8",
    ]),
    ("{kprobe: f, args: [flags]}", ["unreadable"], [
        ("SP301 `flags` cannot be read here: the kernel is compiled without SSE for the most part: where gcc and clang then "
        "pass `double` differs"),
    ]),
    # Without `args`, what the first one has; a function that needs no prototype may be where BTF does not tell it.
    ("{kprobe: g}", ["5.4", "renamed"], [
        "SP250 `g` on renamed: no argument `a`: there are b (`b` has its type: was it renamed?)",
    ]),
    ("{kprobe: only, args: []}", ["5.10", "5.4"], []),
    # The declaration of the spec itself must be right for all.
    ("{kprobe: g, prototype: int g(int a), args: [a]}", ["5.4", "5.10"], []),
    ("{kprobe: g, prototype: int g(int a), args: [a]}", ["5.4", "retyped"], [
        ("SP209 `g` is declared differently in BTF of retyped.btf: argument 1 (`a`) is `int` in the prototype at s.yaml:4 "
        "and `long` in BTF of retyped.btf: 4 bytes against 8 (take the declaration of the kernel that is probed)"),
    ]),
    ("{kprobe: g, prototype: int g(long a), args: [a]}", ["5.4", "5.10", "retyped", "two"], [
        ("SP209 `g` is declared differently in the BTF of 5.4, 5.10 and two: argument 1 (`a`) is `long` in the prototype "
        "at s.yaml:4 and `int` in the BTF of 5.4, 5.10 and two: 8 bytes against 4 "
        "(take the declaration of the kernel that is probed)"),
    ]),
]  # fmt: skip


def test_a_time_is_no_argument_and_a_name_has_one_column() -> None:
    args = "[start, latency, {start: {as: again}}, return]"
    (survey,), said, fine = surveyed(f"{{kretprobe: f, args: {args}}}", "5.4", "inserted")
    assert (said, fine, survey.wanted) == ("", True, ("start", "return"))
    assert not any(row.misfits for row in survey.rows)
    # At the entry it is a name like any other.
    (survey,), said, fine = surveyed("{kprobe: f, args: [latency]}", "5.4", "inserted")
    assert (fine, [set(row.misfits) for row in survey.rows]) == (False, [{"latency"}] * 2)


@pytest.mark.parametrize(("probes", "targets", "expected"), FINDINGS)
def test_findings(probes: str, targets: list[str], expected: list[str]) -> None:
    _, text, compiled = surveyed(probes, *targets)
    assert [line.partition(": ")[2] for line in text.splitlines()] == expected
    assert compiled == (not expected)


def test_a_difference_between_unreadable_and_readable() -> None:
    _, text, _ = surveyed("{kprobe: f, args: [{flags: {type: 'long'}}]}", "unreadable", "retyped")
    assert "SP252 `f` on unreadable: `flags` cannot be read: " in text


def test_findings_have_the_place_of_the_argument_and_both_declarations() -> None:
    surveyed("{kprobe: f, args: [start, flags]}", "5.4", "retyped")
    done = specc("check", "s.yaml", "--btf", "5.4.btf", "--btf", "retyped.btf", cwd=Path.cwd())
    assert done.code == 1
    expected = """
SP251 `f` on retyped: `flags` is `long`, not `int`: 4 bytes against 8
  --> s.yaml:4:36
   |
 4 | probes: [{kprobe: f, args: [start, flags]}]
   |                                    ^^^^^
   = note: retyped: int f(struct mm *mm, long start, long flags, int *locked)
   = note: 5.4: long f(struct mm *mm, long start, int flags, int *locked)

1 error found; `specc explain CODE` says more
"""
    assert done.err == expected
    github = specc(
        "check", "s.yaml", "--btf", "5.4.btf", "--btf", "retyped.btf", "--output-format", "github", cwd=Path.cwd()
    )
    assert github.code == 1
    assert "\n::error file=s.yaml,line=4,col=36,title=SP251::`f` on retyped: `flags` is `long`, not `int`" in github.out


def test_build_tells_the_same() -> None:
    cwd = _spec("{kprobe: f, args: [start, flags]}, {name: g, kretprobe: f, args: [return]}")
    targets = ["--btf", "5.4.btf", "--btf", "retyped.btf", "--btf", "renamed.btf", "--output-format", "json"]
    checked = specc("check", "s.yaml", *targets, cwd=cwd)
    built = specc("build", "--emit", "c", "s.yaml", *targets, cwd=cwd)
    assert (checked.code, built.code) == (1, 1)
    assert json.loads(built.out) == json.loads(checked.out)
    assert [d["code"] for d in json.loads(built.out)["diagnostics"]] == ["SP250", "SP251", "SP251"]
    assert not Path("generated").exists()


# two declarations, and what a reader of the second one would say
CHANGES = [
    ("int f(int a)", "int f(int a)", []),
    ("int f(int a)", "int f(const int a)", []),
    ("int f(int a, int b)", "int f(int a, int c, int b)", ["inserted: `int c` is new, as argument 2"]),
    ("int f(int a, int b)", "int f(int b)", ["removed: `a` (argument 1) is gone"]),
    ("int f(int a, int b)", "int f(int a, int c)", ["renamed: `b` is called `c`"]),
    ("int f(int a, int b)", "int f(int a, char *c)", [
        "removed: `b` (argument 2) is gone", "inserted: `char *c` is new, as argument 2",
    ]),
    ("int f(int a, int b)", "int f(int b, int a)", ["reordered: `b` comes before `a`"]),
    ("int f(int a)", "int f(long a)", ["retyped: `a` is `long`, it was `int`"]),
    ("int f(int a)", "long f(int a)", ["result: the result is `long`, it was `int`"]),
    ("int f(void)", "int f(int a)", ["inserted: `int a` is new, as argument 1"]),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "expected"), CHANGES)
def test_changes(old: str, new: str, expected: list[str]) -> None:
    a, b = (parse_declaration(t, HeaderIndex(""), Location("s", 1, 1, 1, 1)) for t in (old, new))
    found = prototype_changes(a, place_arguments(a, kernel=True), b, place_arguments(b, kernel=True))
    assert [f"{c.kind}: {c.text}" for c in found] == expected


def test_table() -> None:
    done = specc(
        "check", "s.yaml", *(w for k in ("5.4", "5.10", "inserted", "renamed", "clone") for w in ("--btf", f"{k}.btf")),
        cwd=_spec("{kprobe: f, args: [mm, flags, locked, {new: {optional: true}}]}"),
    )  # fmt: skip
    assert done.code == 1
    expected = """\
kprobe f

  kernel     mm   flags     locked  new  against the one before
  5.4, 5.10  rdi  rdx       rcx     -
  inserted   rdi  rdx       sp+8    r9   `long more` is new, as argument 4; `long vmas` is new, as argument 5; \
`int new` is new, as argument 6; `locked` moves from rcx to sp+8
  renamed    rdi  missing!  rcx     -    `flags` (argument 3) is gone; `more` (argument 4) is gone; \
`vmas` (argument 5) is gone; `new` (argument 6) is gone; `int gup_flags` is new, as argument 3; \
`locked` moves from sp+8 to rcx
  clone                                  no function `f` in the BTF of clone.btf; there is only `f.isra.0`, \
a copy that the compiler specialised

  5.4, 5.10  long f(struct mm *mm, long start, int flags, int *locked)
  inserted   long f(struct mm *mm, long start, int flags, long more, long vmas, int new, int *locked)
  renamed    long f(struct mm *mm, long start, int gup_flags, int *locked)
"""
    assert done.out == expected


def test_neighbours_share_a_row() -> None:
    for number in range(8):
        kernel(Path(f"6.{number}.btf"), {"g": "int a" if number < 6 else "long x, int a"})
    targets = [w for n in range(8) for w in ("--btf", f"6.{n}.btf")]
    done = specc("check", "s.yaml", *targets, cwd=_spec("{name: done, kretprobe: g, args: [a, return]}"))
    assert (done.code, done.err) == (0, "1 spec checked, nothing wrong\n")
    expected = """\
done: kretprobe g

  kernel          a    return  against the one before
  6.0 .. 6.5 (6)  rdi  rax
  6.6, 6.7        rsi  rax     `long x` is new, as argument 1; `a` moves from rdi to rsi

  6.0 .. 6.5 (6)  int g(int a)
  6.6, 6.7        int g(long x, int a)
"""
    assert done.out == expected


def test_prototypes_that_were_shown_are_not_shown_again() -> None:
    targets = ["--btf", "5.4.btf", "--btf", "5.10.btf"]
    cwd = _spec("{name: one, kprobe: g}, {name: other, kretprobe: g, args: [return]}, {kprobe: f, args: [start]}")
    done = specc("check", "s.yaml", *targets, cwd=cwd)
    expected = """\
one: kprobe g

  kernel     a
  5.4, 5.10  rdi

  5.4, 5.10  int g(int a)

other: kretprobe g

  kernel     return
  5.4, 5.10  rax

  the prototypes are those of `one`

kprobe f

  kernel     start
  5.4, 5.10  rsi

  5.4, 5.10  long f(struct mm *mm, long start, int flags, int *locked)
"""
    assert (done.code, done.out) == (0, expected)


def test_the_specs_own_declaration_comes_first() -> None:
    targets = ["--btf", "5.4.btf", "--btf", "target.btf"]
    probe = "{kprobe: g, prototype: int g(int a), args: [a]}"
    done = specc("check", "s.yaml", *targets, cwd=_spec(probe))
    assert (done.code, done.err) == (0, "1 spec checked, nothing wrong\n")
    expected = """\
kprobe g

  kernel    a
  the spec  rdi
  5.4       rdi
  target         no function `g` in the BTF of target.btf

  the spec  int g(int a)
  5.4       int g(int a)
"""
    assert done.out == expected


def test_json() -> None:
    targets = ["--btf", "5.4.btf", "--btf", "renamed.btf", "--btf", "clone.btf"]
    cwd = _spec("{kprobe: f, args: [flags, {new: {optional: true, type: int}}]}")
    done = specc("check", "s.yaml", *targets, "--format", "json", "--output-format", "json", cwd=cwd)
    assert (done.code, done.err) == (1, "")
    document = json.loads(done.out)
    assert document.keys() == {"version", "specs", "diagnostics"}
    assert document["version"] == 1
    assert [(d["code"], d["line"]) for d in document["diagnostics"]] == [("SP254", 4), ("SP250", 4)]
    [spec] = document["specs"]
    assert spec["spec"] == "s.yaml"
    [probe] = spec["probes"]
    kernels = probe.pop("kernels")
    assert probe == {"probe": "f", "kind": "kprobe", "function": "f", "declaration": None}
    new = {"name": "new", "optional": True, "place": None, "pieces": [], "misfit": None}
    assert kernels == [
        {
            "kernel": "5.4",
            "prototype": "long f(struct mm *mm, long start, int flags, int *locked)",
            "problem": None,
            "args": [
                {"name": "flags", "optional": False, "place": "rdx", "misfit": None,
                 "pieces": [{"arg_offset": 0, "size": 4, "where": "rdx", "reg_offset": 0}]},
                new,
            ],
            "changes": [],
        },
        {
            "kernel": "renamed",
            "prototype": "long f(struct mm *mm, long start, int gup_flags, int *locked)",
            "problem": None,
            "args": [
                {"name": "flags", "optional": False, "place": None, "pieces": [], "misfit": {
                    "kind": "missing", "message": "no argument `flags`: there are mm, start, gup_flags, locked",
                    "help": "did you mean `gup_flags`?"}},
                new,
            ],
            "changes": [{"kind": "renamed", "argument": "gup_flags", "message": "`flags` is called `gup_flags`"}],
        },
        {"kernel": "clone", "prototype": None, "problem": "no function `f` in the BTF of clone.btf",
         "args": [], "changes": []},
    ]  # fmt: skip


def test_without_targets_there_is_no_table() -> None:
    done = specc("check", "s.yaml", cwd=_spec("{kprobe: g, prototype: int g(int a), args: [a]}"))
    assert (done.code, done.out, done.err) == (0, "", "1 spec checked, nothing wrong\n")
    done = specc("check", "s.yaml", "--format", "json", cwd=Path.cwd())
    assert json.loads(done.out) == {"version": 1, "specs": [{"spec": "s.yaml", "probes": []}], "diagnostics": []}


def _spec(probe: str) -> Path:
    Path("s.yaml").write_text(f"specc: 1\nname: s\nfields: []\nprobes: [{probe}]\n")
    return Path.cwd()

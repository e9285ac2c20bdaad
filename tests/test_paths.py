"""Paths through C types: their text, the walk, and several kernels whose records differ."""

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
from specc.diagnostics import Location, Report, Stop
from specc.path import LocalTypes, access, parse_path, walk
from specc.pipeline import Session, emit_all, front
from specc.prototype import Int, Pointer, Record, spell
from specc.run.paths import problems

WHERE = Location("s.yaml", 1, 10, 1, 30)


def no_compiler() -> str:
    raise AssertionError("no compiler is needed")


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("a", ["a"]),
        ("a.b->c", ["a", "b", "c"]),
        (" a [2] . b", ["a", 2, "b"]),
        ("a[0x10][1]->b", ["a", 16, 1, "b"]),
        ("int_", ["int_"]),
        ("[1]", [1]),
        ("[0].a->b[2]", [0, "a", "b", 2]),
        (" [1] [0x2]", [1, 2]),
    ],
)
def test_text(text: str, steps: list[str | int]) -> None:
    assert [s.index if s.name is None else s.name for s in parse_path(text, None).steps] == steps


@pytest.mark.parametrize("text", ["", ".", "a.", "a->", "->a", "a[", "a[]", "a[b]", "a[1", "a]", "a b", "a-b", "1a", "a[-1]", "a[010]", "[1]a", "[1].", "[1].[2]", "->[1]", "[", "[n]", "a." * 40 + "a"])  # fmt: skip
def test_no_path(text: str) -> None:
    with pytest.raises(Stop) as problem:
        parse_path(text, WHERE)
    assert problem.value.diagnostic.code == "SP263"


def test_a_step_has_its_own_place() -> None:
    place = parse_path("first->second[3]", Location("s.yaml", 7, 20, 7, 36)).steps[1].where
    assert place == Location("s.yaml", 7, 27, 7, 33)


# --- kernels ----------------------------------------------------------------------------------------------------------

COMMON = "struct head { unsigned short id; char text[12]; }; struct other { int x; };"
# The same function on kernels whose records are laid out otherwise.
KERNELS = {
    "old": """
        struct node { struct node *next; int state; unsigned flags : 3, mode : 7; struct head head[2]; struct other *other;
                      const char *name; int gone; unsigned long size; int *ints, (*rows)[3]; struct head *heads;
                      struct other **far; };""",
    "new": """
        struct node { long added; unsigned mode : 9, flags : 3; union { struct { struct other *other; struct node *next; };
                      long raw[2]; }; const char *name; struct head head[4]; int state; unsigned long size; int *ints, (*rows)[4]; struct head *heads;
                      struct other **far; };""",
    "wide": """
        struct node { struct node *next; long state; struct head *head; struct head *other; int name; unsigned size; long *ints;
                      struct other *heads, *far; };""",
}


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if clang() is None:
        pytest.skip("no clang with a BPF target")
    folder = tmp_path_factory.mktemp("kernels")
    for name, text in KERNELS.items():
        declared = f"{COMMON}{text} int f(struct node *node); struct head h; struct other o;"
        (folder / f"{name}.btf").write_bytes(compile_btf(declared, {"f": ["node"]}, 0))
    return folder


def said(kernels: Path, folder: Path, option: str, *names: str) -> list[str]:
    """What is found on these kernels."""
    spec = folder / "t.yaml"
    spec.write_text(f"specc: 1\nname: t\nfields: []\nprobes:\n  - {{kprobe: f, args: [{{node: {option}}}]}}\n")
    report = Report()
    program = front(spec, Session(no_compiler, btf_files=tuple(kernels / f"{n}.btf" for n in names)), report)
    assert (program is None) == bool(report.diagnostics)
    return [f"{d.code} {d.message}" for d in report.diagnostics]


@pytest.mark.parametrize(
    ("option", "names", "wanted"),
    [
        ("{field: next->state}", ["old", "new"], []),
        ("{field: other.x}", ["old", "new"], []),
        ('{field: "head[1].id"}', ["old", "new"], []),
        ("{field: mode}", ["old", "new"], []),
        ("{field: name, string: 8}", ["old", "new"], []),
        ("{field: gone}", ["old", "new"], ["SP255 on new: `struct node` has no member `gone`"]),
        ("{field: gone}", ["new", "old"], ["SP255 on new: `struct node` has no member `gone`"]),
        ("{field: gone, optional: true}", ["new", "old"], []),
        ("{field: gone}", ["new", "wide"], ["SP264 `struct node` has no member `gone`"]),
        ('{field: "head[3].id"}', ["old", "new"], ["SP265 `node->head` has 2 elements, so there is no [3]"]),
        ("{field: next->state}", ["old", "wide"],
         ["SP256 `node->next->state` on wide is not what it is on old: it is `long`, not `int`: 8 bytes against 4"]),
        ("{field: size}", ["old", "new", "wide"],
         ["SP256 `node->size` on wide is not what it is on old: it is `unsigned int`, not `unsigned long`: 4 bytes against 8"]),
        ("{field: name}", ["old", "wide"],
         ["SP256 `node->name` on wide is not what it is on old: it is `int`, not `const char *`: an integer against a pointer"]),
        ("{field: other->x}", ["old", "wide"], ["SP255 on wide: `struct head` has no member `x`"]),
        ('{field: "[2].state"}', ["old", "new"], []),
        ('{field: "next[2].head[1].id"}', ["old", "new"], []),
        ('{field: "ints[2]"}', ["old", "new"], []),
        ('{field: "far[1]->x"}', ["old", "new"], []),
        ('{field: "heads[1]"}', ["old", "new"], []),
        ('{field: "[1].gone"}', ["new", "old"], ["SP255 on new: `struct node` has no member `gone`"]),
        ('{field: "[1].state"}', ["old", "wide"],
         ["SP256 `node[1].state` on wide is not what it is on old: it is `long`, not `int`: 8 bytes against 4"]),
        ('{field: "ints[2]"}', ["old", "wide"],
         ["SP256 `node->ints[2]` on wide is not what it is on old: it goes through struct node, long, not through struct node, int"]),
        ('{field: "rows[1][2]"}', ["old", "new"],
         ["SP256 `node->rows[1][2]` on new is not what it is on old: it goes through struct node, int [4], not through struct node, int [3]"]),
        ('{field: "heads[1]"}', ["old", "wide"],
         ["SP256 `node->heads[1]` on wide is not what it is on old: it goes through struct node, struct other, not through struct node, struct head"]),
        ('{field: "far[1]"}', ["old", "wide"],
         ["SP256 `node->far[1]` on wide is not what it is on old: it goes through struct node, struct other, not through struct node, struct other *"]),
        ("{field: head, bytes: {size: 28}, as: bytes}", ["old", "new"], []),
        ("{field: head}", ["old", "new"], ["SP256 `node->head` on new is not what it is on old: it is `struct head [4]`, not `struct head [2]`: 4 elements against 2"]),
    ],
)  # fmt: skip
def test_on_several_kernels(option: str, names: list[str], wanted: list[str], kernels: Path, tmp_path: Path) -> None:
    assert said(kernels, tmp_path, option, *names) == wanted


def test_a_character_of_text_before_the_load(kernels: Path, tmp_path: Path) -> None:
    """A program that tells it as a number is for kernels with the same `char`: unsigned since Linux 6.2."""
    (tmp_path / "c.btf").write_bytes(compile_btf("int f(char *text, char **texts);", {"f": ["text", "texts"]}, 0))
    (tmp_path / "t.yaml").write_text(
        'specc: 1\nname: t\nfields: []\nprobes:\n  - kprobe: f\n    args: [{text: {field: "[1]"}}, {text: {deref: true, as: first}}, {texts: {field: "[1]", string: 8}}]\n'
        "    where: texts[1][2] > 100\n"
    )
    report = Report()
    program = front(tmp_path / "t.yaml", Session(find_compiler, btf_files=(tmp_path / "c.btf",)), report)
    assert program is not None, report.diagnostics
    (probe,) = description_of(compile_object(emit_all(program).c_text, "t", find_compiler("clang"))).probes
    complete = completed_by(Btf((tmp_path / "c.btf").read_bytes(), "c"))
    assert problems(probe, complete, Int("char", 1, True, "char")) == ()
    assert problems(probe, complete, Int("char", 1, False, "char")) == (
        "`text[1]`: plain `char` is unsigned there, not signed",
        "`text[0]`: plain `char` is unsigned there, not signed",
        "`texts[1][2]`: plain `char` is unsigned there, not signed",
    )


def test_another_record_by_the_same_names(tmp_path: Path) -> None:
    """CO-RE goes by the name of the record that a pointer leads to."""
    if clang() is None:
        pytest.skip("no clang with a BPF target")
    for name, ctype in (("a", "one"), ("b", "two")):
        text = f"struct one {{ int x, y; }}; struct two {{ int y, x; }}; struct top {{ struct {ctype} *p; }};"
        text += "int f(struct top *top); struct one one; struct two two;"
        (tmp_path / f"{name}.btf").write_bytes(compile_btf(text, {"f": ["top"]}, 0))
    (tmp_path / "t.yaml").write_text(
        "specc: 1\nname: t\nfields: []\nprobes:\n  - {kprobe: f, args: [{top: {field: p->x}}]}\n"
    )
    report = Report()
    files = (tmp_path / "a.btf", tmp_path / "b.btf")
    assert front(tmp_path / "t.yaml", Session(no_compiler, btf_files=files), report) is None
    assert [d.message for d in report.diagnostics] == [
        "`top->p->x` on b is not what it is on a: it goes through struct top, struct two, not through struct top, struct one"
    ]


def test_two_records_of_one_name(tmp_path: Path) -> None:
    """A kernel may have two; nobody says which of them libbpf takes."""
    if clang() is None:
        pytest.skip("no clang with a BPF target")
    text = "struct aatop { struct aanode *p; }; struct aanode { int x; }; struct bbnode { long x; }; struct bbnode b; struct aanode a; int aaf(struct aatop *top);"  # fmt: skip
    btf = Btf(compile_btf(text, {"aaf": ["top"]}, 2), "k")
    start = btf.prototype("f").parameters[0].type
    with pytest.raises(Stop) as problem:
        walk(start, parse_path("p->x", WHERE), completed_by(btf), "top")
    assert "the BTF of k has 2 different definitions of `struct node`" in problem.value.diagnostic.message


def test_local_types_have_the_parts_that_are_used(kernels: Path) -> None:
    btf = Btf((kernels / "new.btf").read_bytes(), "new")
    start = Pointer(Record("struct", "node", None))
    walks = [
        walk(start, parse_path(p, None), completed_by(btf)) for p in ("next->head[2].text", "other->x", "head[1].id")
    ]
    local = LocalTypes(hop for w in walks for hop in w.hops)
    assert ["\n".join(d) for d in local.declarations] == [
        "struct head___specc {\n\tsigned char text[1];\n\tunsigned short id;\n};",
        "struct node___specc {\n\tvoid *next;\n\tstruct head___specc head[3];\n\tvoid *other;\n};",
        "struct other___specc {\n\tint x;\n};",
    ]
    assert [(local.word(h), access(h), h.bit_offset) for h in walks[0].hops] == [
        ("struct node___specc", "next", 192),
        ("struct node___specc", "head[2].text", 8 * (40 + 2 * 14 + 2)),
    ]
    assert spell(walks[0].type) == "char [12]"


def test_a_small_btf_keeps_what_the_paths_of_a_spec_lead_through(kernels: Path, tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(
        "specc: 1\nname: t\nfields: []\nprobes:\n"
        '  - {kprobe: f, args: [{node: {field: "next->head[1].id"}}, {node: {field: "heads[1].id", as: id}}], '
        "where: 'node->other->x > 1 && node[1].far[1]->x && node->rows[1][2]'}\n"
    )
    done = specc("btf", kernels / "old.btf", "--spec", "t.yaml", "-o", "small.btf", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    report = Report()
    session = Session(no_compiler, btf_files=(tmp_path / "small.btf",))
    assert front(tmp_path / "t.yaml", session, report) is not None, report.diagnostics
    specc("btf", kernels / "old.btf", "--functions", "f", "-o", "smaller.btf", cwd=tmp_path)
    session = Session(no_compiler, btf_files=(tmp_path / "smaller.btf",))
    assert front(tmp_path / "t.yaml", session, report) is None
    assert "the BTF of smaller.btf does not have `struct node` whole" in report.diagnostics[0].message

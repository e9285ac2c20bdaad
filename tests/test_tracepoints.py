"""Tracepoints from BTF: what their parameters are, where, on which kernel; what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from command import specc
from small_kernels import kernel

from specc.btf import Btf, open_btf
from specc.btf.part import part_of
from specc.btf.tracepoints import find_tracepoint, tracepoint, tracepoints
from specc.build import compile_object
from specc.compiler.find import find_compiler
from specc.describe import ProbeDescription
from specc.describe.reader import parse_description
from specc.describe.writer import describe
from specc.diagnostics import Report, Sources, Stop, render
from specc.ir import Program
from specc.pipeline import Session, emit_all, front
from specc.prototype import spell_prototype
from specc.run import kernel_target, settle
from specc.run.fill import fill

GOLDEN = Path(__file__).parent / "golden" / "places" / "tracepoints.bpf.c"

# As in Linux: `next` moves to another word, `state` came later, `mode` exists in one only, and nobody names `idle`'s.
OLD = {
    "exit": "struct regs* regs, long ret",
    "turn": "struct task* next, int preempt",
    "idle": "?unsigned int state, unsigned int cpu",
    "gone": "int a",
    "value": "struct word/8 word, int* number",
}
NEW = {
    "exit": "struct regs* regs, long ret",
    "turn": "int preempt, struct task* next, unsigned int state",
    "idle": "unsigned int state, unsigned int cpu",
    "value": "struct word/8 word, int* number",
}


@pytest.fixture
def kernels(tmp_path: Path) -> tuple[Path, Path]:
    old, new = tmp_path / "6.1.btf", tmp_path / "6.12.btf"
    kernel(old, {"exit": "int a, int b"}, tracepoints=OLD)
    kernel(new, {}, tracepoints=NEW)
    return old, new


def compiled(folder: Path, probes: str, *btf: Path) -> tuple[Program | None, str]:
    path = folder / "spec.yaml"
    path.write_text(f"specc: 1\nname: x\nfields: [tid]\nprobes: [{probes}]\n")
    report = Report()
    program = front(path, Session(find_compiler, btf), report)
    return program, render(report.diagnostics, "full", Sources()).replace(str(folder), "DIR")


def described(program: Program | None) -> ProbeDescription:
    assert program is not None
    return parse_description(describe(program)).probes[0]


# ---- what BTF tells ---------------------------------------------------------------------------------------------------


def test_parameters_by_name(kernels: tuple[Path, Path]) -> None:
    """Without `__data`; and no function of the same name is taken for it."""
    old, new = map(open_btf, kernels)
    assert [spell_prototype(p) for p in find_tracepoint(old, "exit")] == ["void exit(struct regs *regs, long ret)"]
    assert spell_prototype(tracepoint(new, "turn")) == ("void turn(int preempt, struct task *next, unsigned int state)")
    assert tracepoints(old) == list(OLD)


@pytest.mark.parametrize(
    ("name", "code", "hint"),
    [
        ("exti", "SP247", "did you mean `exit`?"),
        ("nothing_like_it", "SP247", "of a module"),
        ("idle", "SP248", 'prototype: "void idle(unsigned int NAME1, unsigned int NAME2)"'),
    ],
)
def test_what_btf_does_not_tell(kernels: tuple[Path, Path], name: str, code: str, hint: str) -> None:
    with pytest.raises(Stop) as caught:
        tracepoint(open_btf(kernels[0]), name)
    assert caught.value.diagnostic.code == code and hint in (caught.value.diagnostic.help or "")


def test_a_function_with_other_types_names_nothing(tmp_path: Path) -> None:
    """The function that names the parameters must be of this very tracepoint."""
    kernel(tmp_path / "k.btf", {"__traceiter_a": "void* __data, long value -> int"}, tracepoints={"a": "?int value"})
    with pytest.raises(Stop) as caught:
        tracepoint(open_btf(tmp_path / "k.btf"), "a")
    assert caught.value.diagnostic.code == "SP248"


def test_two_that_differ_are_nobodys_choice(tmp_path: Path) -> None:
    kernel(tmp_path / "k.btf", {}, tracepoints={"a": "?int value", "a#2": "?long value"})
    with pytest.raises(Stop) as caught:
        tracepoint(open_btf(tmp_path / "k.btf"), "a")
    assert caught.value.diagnostic.code == "SP235" and len(caught.value.diagnostic.notes) == 2


def test_a_module_has_its_own(tmp_path: Path) -> None:
    whole = kernel(tmp_path / "vmlinux", {}, tracepoints=NEW)
    kernel(tmp_path / "module", {}, base=whole, tracepoints={"mine": "int a, long b"})
    base = open_btf(tmp_path / "vmlinux")
    module = open_btf(tmp_path / "module", base)
    assert spell_prototype(tracepoint(module, "mine")) == "void mine(int a, long b)"
    assert spell_prototype(tracepoint(module, "exit")) == "void exit(struct regs *regs, long ret)"
    assert find_tracepoint(base, "mine") == ()
    program, text = compiled(tmp_path, "{raw_tracepoint: mine, args: [b]}", tmp_path / "vmlinux", tmp_path / "module")
    assert text == "" and described(program).event.field("b").place == "ctx[1]"


@pytest.mark.parametrize("name", OLD)
def test_a_part_tells_the_same(kernels: tuple[Path, Path], name: str) -> None:
    whole = open_btf(kernels[0])
    data = part_of(whole, [], [], [name])
    part = Btf(data, whole.name)
    assert find_tracepoint(part, name) == find_tracepoint(whole, name) != ()
    assert tracepoints(part) == [name] and len(data) < len(kernels[0].read_bytes())
    assert part_of(part, [], [], [name]) == data


def test_btf_of_specs_has_their_tracepoints(kernels: tuple[Path, Path], tmp_path: Path) -> None:
    spec = tmp_path / "s.yaml"
    spec.write_text(
        "specc: 1\nname: s\nprobes: [{raw_tracepoint: turn, args: [next]}, {name: e, kprobe: exit, args: [a]}]\n"
    )
    done = specc("btf", kernels[0], "--spec", spec, "-o", "part.btf", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    part = open_btf(tmp_path / "part.btf")
    assert tracepoints(part) == ["turn"] and set(part.functions()) == {"exit", "__traceiter_turn"}
    spec.write_text("specc: 1\nname: s\nprobes: [{raw_tracepoint: trun, args: [next]}]\n")
    done = specc("btf", kernels[0], "--spec", spec, "-o", "other.btf", cwd=tmp_path)
    assert done.code == 1 and "SP247" in done.err


def test_a_tracepoint_is_no_function(kernels: tuple[Path, Path], tmp_path: Path) -> None:
    program, text = compiled(tmp_path, "{kprobe: turn, args: [next]}", kernels[1])
    assert program is None and "SP234 no function `turn`" in text
    assert "`turn` is a tracepoint there" in text and "use `raw_tracepoint: turn`" in text


# ---- programs ---------------------------------------------------------------------------------------------------------

PROBES = """{name: out, raw_tracepoint: exit, args: [{ret: {format: errno}}], where: ret < 0},
 {raw_tracepoint: turn, args: [next, preempt, {state: {optional: true}}]},
 {raw_tracepoint: value}"""


def test_emitted_text(kernels: tuple[Path, Path], tmp_path: Path) -> None:
    program, text = compiled(tmp_path, PROBES, *kernels)
    assert text == "" and program is not None
    got = emit_all(program).c_text
    if os.environ.get("SPECC_UPDATE_GOLDEN"):
        GOLDEN.write_text(got, encoding="utf-8")
    assert got == GOLDEN.read_text(encoding="utf-8")
    assert compile_object(got, "x", find_compiler())


def test_places_on_each_kernel(kernels: tuple[Path, Path], tmp_path: Path) -> None:
    """Compiled for one, and for both; filled in for either: the words that the parameters are in there."""
    names = ("next", "preempt", "state")
    probe = "{raw_tracepoint: turn, args: [next, preempt, {state: {optional: true}}]}"
    expected = {kernels[0]: ["ctx[0]", "ctx[1]", "absent"], kernels[1]: ["ctx[1]", "ctx[0]", "ctx[2]"]}
    for targets in (kernels, kernels[::-1], kernels[1:]):
        known = described(compiled(tmp_path, probe, *targets)[0])
        for running in kernels:
            filled = fill(known, tracepoint(open_btf(running), "turn"))
            assert [filled.event.field(n).place for n in names] == expected[running], (targets, running)
            assert known.at is not None
            settings = {c.member: int.from_bytes(filled.settings[c.offset], "little") for c in known.at.constants}
            assert settings == {
                n: 0 if p == "absent" else int(p[4]) + 1 for n, p in zip(names, expected[running], strict=True)
            }


def test_all_parameters_without_args(kernels: tuple[Path, Path], tmp_path: Path) -> None:
    known = described(compiled(tmp_path, "{raw_tracepoint: value}", kernels[0])[0])
    assert [(f.name, f.place) for f in known.event.fields if f.type is not None] == [
        ("word", "ctx[0]"), ("number", "ctx[1]"),
    ]  # fmt: skip
    assert (known.kind, known.function, known.used) == ("raw_tracepoint", "exit", ()) or known.used == (
        "word",
        "number",
    )


ERRORS = [
    ("{raw_tracepoint: gone, args: [a]}", ["SP254", "on 6.12: there is no tracepoint `gone`"]),
    ("{raw_tracepoint: idle, args: [cpu]}", ["SP254", "on 6.1: nothing names the parameters of the tracepoint `idle`"]),
    ("{raw_tracepoint: turn, args: [state]}", ["SP250", "`turn` on 6.1: no argument `state`"]),
    (
        '{raw_tracepoint: exit, prototype: "void exit(struct regs *regs, int ret)", args: [ret]}',
        ["SP209", "4 bytes against 8"],
    ),
    ('{raw_tracepoint: exit, prototype: "void exit(long ret)", args: [ret]}', ["SP209", "argument 1"]),
    ('{raw_tracepoint: idle, prototype: "void idle(unsigned int cpu)", args: [cpu]}', ["SP209", "1 argument in"]),
]


@pytest.mark.parametrize(("probe", "words"), ERRORS)
def test_errors(kernels: tuple[Path, Path], tmp_path: Path, probe: str, words: list[str]) -> None:
    program, text = compiled(tmp_path, probe, *kernels)
    assert program is None and all(w in text for w in words), text


def test_a_prototype_names_what_btf_does_not(kernels: tuple[Path, Path], tmp_path: Path) -> None:
    probe = '{raw_tracepoint: idle, prototype: "void idle(unsigned int state, unsigned int cpu)", args: [cpu]}'
    program, text = compiled(tmp_path, probe, *kernels)
    assert text == "" and described(program).event.field("cpu").place == "ctx[1]"


def test_a_header_declares_functions_only(tmp_path: Path, kernels: tuple[Path, Path]) -> None:
    (tmp_path / "f.h").write_text("void exit(int status);\n")
    (tmp_path / "spec.yaml").write_text(
        "specc: 1\nname: x\nheaders: [f.h]\nprobes: [{raw_tracepoint: exit, args: [ret]}]\n"
    )
    report = Report()
    program = front(tmp_path / "spec.yaml", Session(find_compiler, kernels[:1]), report)
    assert not report.diagnostics and described(program).event.field("ret").place == "ctx[1]"


# ---- the kernel that runs -----------------------------------------------------------------------------------------------

SYMBOLS = """\
ffffffff81000010 T __traceiter_exit
ffffffff81000020 T __traceiter_idle
ffffffff81000030 T __traceiter_turn
ffffffff81000040 T __traceiter_mine\t[module]
"""


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose /sys/kernel/btf is in the directory that this gives."""
    folder = tmp_path / "sys"
    folder.mkdir()
    (tmp_path / "kallsyms").write_text(SYMBOLS)
    monkeypatch.setattr(kernel_target, "KALLSYMS", str(tmp_path / "kallsyms"))
    monkeypatch.setattr(kernel_target, "BTF", str(folder / "vmlinux"))
    monkeypatch.setattr(settle, "BTF_FOLDER", str(folder))
    return folder


def checked(probe: ProbeDescription, *, force: bool = False) -> tuple[list[str], list[str]]:
    report = Report()
    filled = kernel_target.check_kernel([probe], lambda _: None, report, force=force)
    places = [f.place for one in filled.values() for f in one.event.fields if f.type is not None]
    return places, [f"{d.severity.value} {d.code} {d.message}" for d in report.diagnostics]


def test_the_running_kernel_gives_the_places(kernels: tuple[Path, Path], running: Path, tmp_path: Path) -> None:
    known = described(compiled(tmp_path, "{raw_tracepoint: turn, args: [next]}", kernels[0])[0])
    (running / "vmlinux").write_bytes(kernels[1].read_bytes())
    assert checked(known) == (["ctx[1]"], [])


def test_a_module_that_is_loaded(running: Path, tmp_path: Path) -> None:
    whole = kernel(running / "vmlinux", {}, tracepoints=NEW)
    kernel(running / "module", {}, base=whole, tracepoints={"mine": "int a, long b"})
    probe = "{raw_tracepoint: mine, args: [b]}"
    known = described(compiled(tmp_path, probe, running / "vmlinux", running / "module")[0])
    assert checked(known) == (["ctx[1]"], [])


def test_what_the_running_kernel_lacks(kernels: tuple[Path, Path], running: Path, tmp_path: Path) -> None:
    release = os.uname().release
    gone = described(compiled(tmp_path, "{raw_tracepoint: gone, args: [a]}", kernels[0])[0])
    exit_ = described(compiled(tmp_path, "{raw_tracepoint: exit, args: [ret]}", kernels[0])[0])
    idle = described(compiled(tmp_path, "{raw_tracepoint: idle, args: [cpu]}", kernels[1])[0])
    assert checked(exit_)[1] == [
        f"error SP424 the kernel of this machine ({release}) has no BTF, which raw_tracepoint needs"
    ]
    (running / "vmlinux").write_bytes(kernels[0].read_bytes())
    assert checked(gone)[1] == [f"error SP467 this kernel ({release}) has no tracepoint `gone`"]
    [found] = checked(idle)[1]
    assert found.startswith("error SP470 the running kernel's BTF does not name the parameters of `idle`, so nothing")


def test_before_there_were_functions_for_tracepoints(running: Path, tmp_path: Path) -> None:
    """Linux 5.5 to 5.9: BTF has the types, no symbol and nothing with the names."""
    kernel(running / "vmlinux", {}, tracepoints={"idle": "?unsigned int state, unsigned int cpu"})
    (tmp_path / "kallsyms").write_text("ffffffff81000010 T do_idle\n")
    probe = '{raw_tracepoint: idle, prototype: "void idle(unsigned int state, unsigned int cpu)", args: [cpu]}'
    known = described(compiled(tmp_path, probe, running / "vmlinux")[0])
    assert checked(known) == ([], [])
    kernel(running / "vmlinux", {}, tracepoints={"other": "?int a"})
    assert [d[:11] for d in checked(known)[1]] == ["error SP467"]


def test_a_declared_prototype_is_compared(kernels: tuple[Path, Path], running: Path, tmp_path: Path) -> None:
    (running / "vmlinux").write_bytes(kernels[1].read_bytes())
    right = '{raw_tracepoint: idle, prototype: "void idle(unsigned int state, unsigned int cpu)", args: [cpu]}'
    assert checked(described(compiled(tmp_path, right, kernels[0])[0])) == ([], [])
    wrong = '{raw_tracepoint: turn, prototype: "void turn(struct task *next, int preempt)", args: [next]}'
    [found] = checked(described(compiled(tmp_path, wrong, kernels[0])[0]))[1]
    assert found.startswith("error SP445 `turn` is declared differently in the running kernel: `next` is argument 1")

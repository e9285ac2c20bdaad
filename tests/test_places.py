"""Programs whose places are set before the load: constants of the first target, guards, comments, and refusals."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from specc.btf import open_btf
from specc.build import compile_object
from specc.compiler.find import find_compiler
from specc.describe import ProbeDescription
from specc.describe.reader import parse_description
from specc.describe.writer import describe
from specc.diagnostics import Report, Sources, render
from specc.ir import Program
from specc.pipeline import Session, emit_all, front
from specc.run.fill import fill

ROOT = Path(__file__).parent.parent
BTF = ROOT / "specs" / "btf"
TARGETS = ("5.10", "6.1", "6.12", "7.2")
GOLDEN = Path(__file__).parent / "golden" / "places"


def compiled(tmp_path: Path, probes: str, *targets: str, fields: str = "[]") -> tuple[Program | None, str]:
    path = tmp_path / "spec.yaml"
    path.write_text(f"specc: 1\nname: x\nfields: {fields}\nprobes: [{probes}]\n")
    report = Report()
    program = front(path, Session(find_compiler, [BTF / f"{t}.btf" for t in targets]), report)
    return program, render(report.diagnostics, "concise", Sources()).replace(str(tmp_path), "DIR")


def constants(program: Program | None) -> dict[str, tuple[int, ...]]:
    assert program is not None
    [probe] = program.probes
    assert probe.at is not None
    return {c.member: c.values for c in probe.at.constants}


GUP = "{kprobe: __get_user_pages, args: [start, {vmas: {optional: true}}, locked]}"


def test_emitted_text(tmp_path: Path) -> None:
    """Registers, a stack slot, an absent argument, a struct by value, a trampoline, a return: for four kernels."""
    probes = [
        GUP,
        "{name: done, kretprobe: __get_user_pages, args: [locked, return]}",
        "{name: mapped, fexit: do_mmap, args: [pgoff, populate, return]}",
        "{kprobe: security_path_chown}",
        "{function: vfs_read, at: return, args: [{buf: {bytes: {size: return, max: 16}, memory: user}}, latency]}",
        "{name: begun, function: vfs_read, args: [{pos: {deref: true}}, {buf: {string: 8}}]}",
    ]
    program, text = compiled(tmp_path, ", ".join(probes), *TARGETS)
    assert text == "" and program is not None
    got = emit_all(program).c_text
    expected = GOLDEN / "x.bpf.c"
    if os.environ.get("SPECC_UPDATE_GOLDEN"):
        GOLDEN.mkdir(exist_ok=True)
        expected.write_text(got, encoding="utf-8")
    assert got == expected.read_text(encoding="utf-8")
    assert compile_object(got, "x", find_compiler())


# targets; the constants of `start`, `vmas`, `locked`; the stack slots copied; the guard
ROWS = [
    (("5.10",), (2, 6, 8), (8, 8), (0, 0)),
    (("6.12", "7.2"), (2, None, 6), (0, 0), (0, 0)),  # nobody knows what type `vmas` would have
    (("5.10", "6.1"), (2, 6, 8), (8, 8), (0, 0)),
    (("5.10", "6.1", "6.12"), (2, 6, 8), (8, 8), (0, 0x60200)),
    (("6.1", "6.12", "5.10"), (2, 6, 8), (8, 8), (0, 0x60200)),
    (("6.12", "5.10", "6.1"), (2, 0, 6), (0, 0), (0x60C00, 0xFFFFFFFF)),
    (("7.2", "6.12", "6.1"), (2, 0, 6), (0, 0), (0x60C00, 0xFFFFFFFF)),
]


@pytest.mark.parametrize(("targets", "places", "window", "guard"), ROWS)
def test_constants_of_the_first_target(
    tmp_path: Path,
    targets: tuple[str, ...],
    places: tuple[int | None, ...],
    window: tuple[int, int],
    guard: tuple[int, int],
) -> None:
    program, text = compiled(tmp_path, GUP, *targets)
    assert text == "" and program is not None
    named = zip(("start", "vmas", "locked"), places, strict=True)
    assert constants(program) == {n: (p,) for n, p in named if p is not None}
    at = program.probes[0].at
    assert at is not None
    assert ((at.first, at.length), (at.since, at.until)) == (window, guard)
    assert at.absent == (1 if targets[0] in ("6.12", "7.2") else 0)


def test_targets_without_versions_are_told_apart_by_nobody(tmp_path: Path) -> None:
    for name, target in (("old", "5.10"), ("new", "6.12")):
        (tmp_path / f"{name}.btf").write_bytes((BTF / f"{target}.btf").read_bytes())
    path = tmp_path / "spec.yaml"
    path.write_text(f"specc: 1\nname: x\nprobes: [{GUP}]\n")
    report = Report()
    program = front(path, Session(find_compiler, [tmp_path / "old.btf", tmp_path / "new.btf"]), report)
    assert not report.diagnostics and program is not None
    at = program.probes[0].at
    assert at is not None
    assert (at.since, at.until) == (1, 1)  # no kernel has a version that is at least 1 and less than 1


def test_a_function_by_two_programs(tmp_path: Path) -> None:
    """One event; the trampoline's program has places of its own, and nothing in it can fail."""
    probe_text = "{function: do_mmap, at: return, args: [pgoff, populate, {vm_flags: {optional: true}}, return]}"
    program, text = compiled(tmp_path, probe_text, *TARGETS)
    assert text == "" and program is not None
    [probe] = program.probes
    other = probe.trampoline
    assert other is not None and other.at is not None and probe.at is not None
    assert (probe.kind, probe.section) == ("kretprobe", "kretprobe/do_mmap")
    assert (other.kind, other.section, other.symbol) == ("fexit", "?fexit/do_mmap", "x_do_mmap_trampoline")
    assert other.event == probe.event
    assert {c.member: c.values for c in probe.at.constants} == {"pgoff": (6,), "populate": (8,), "vm_flags": (0,)}
    assert {c.member: c.values for c in other.at.constants} == {
        "pgoff": (6,), "populate": (7,), "vm_flags": (0,), "return_value": (9,),
    }  # fmt: skip
    known = described(program)
    [theirs] = open_btf(BTF / "7.2.btf").find("do_mmap")
    filled = fill(known.by_trampoline(), theirs)
    assert {f.name: f.place for f in filled.event.fields if f.type is not None} == {
        "pgoff": "ctx[6]", "populate": "ctx[7]", "vm_flags": "ctx[5]", "return_value": "ctx[9]",
    }  # fmt: skip
    assert {f.name: f.place for f in fill(known, theirs).event.fields if f.type is not None} == {
        "pgoff": "sp+8", "populate": "sp+16", "vm_flags": "r9", "return_value": "rax",
    }  # fmt: skip


def test_a_function_that_no_trampoline_takes_has_one_program(tmp_path: Path) -> None:
    program, text = compiled(tmp_path, "{function: rtnl_fill_ifinfo, args: [type, gfp]}", "5.10")
    assert text == "" and program is not None
    assert program.probes[0].trampoline is None  # 14 arguments


def described(program: Program) -> ProbeDescription:
    """The probe as it comes out of an object."""
    return parse_description(describe(program)).probes[0]


@pytest.mark.parametrize("compiled_for", TARGETS)
@pytest.mark.parametrize("running", TARGETS)
def test_an_object_of_one_kernel_on_another(tmp_path: Path, compiled_for: str, running: str) -> None:
    """Whatever kernel it was compiled for, the constants on a kernel are that kernel's."""
    program, text = compiled(tmp_path, GUP, compiled_for)
    assert text == "" and program is not None
    probe = described(program)
    [theirs] = open_btf(BTF / f"{running}.btf").find("__get_user_pages")
    filled = fill(probe, theirs)
    assert probe.at is not None
    by_name = {c.member: filled.settings.get(c.offset) for c in probe.at.constants}
    number = {n: v and int.from_bytes(v, "little") for n, v in by_name.items()}
    old, was_old = running in ("5.10", "6.1"), compiled_for in ("5.10", "6.1")
    if not was_old and old:
        # `vmas` was of no target, so the event has no room of its type: a null would be wrong.
        assert [m.text for m in filled.misfits] == ["`vmas` exists here, and on no kernel that this was compiled for"]
        return
    assert filled.misfits == ()
    assert number["locked"] == (8 if old else 6)
    assert number["start"] == 2
    assert {f.name: (f.place, f.status) for f in filled.event.fields if f.name == "locked"} == {
        "locked": ("sp+8", "stack_error") if old else ("r9", None)
    }
    absent = int.from_bytes(filled.settings[probe.at.room["__absent"]], "little")
    assert absent == (0 if old else 1)


@pytest.mark.parametrize("kind", ["kprobe", "kretprobe"])
def test_what_is_behind_a_register_can_be_unreadable(tmp_path: Path, kind: str) -> None:
    """The errno of the memory is the field's own; that of the copy of the stack is not a register's."""
    args = "[count, {pos: {deref: true}}, {buf: {string: 8, memory: user}}]"
    program, _ = compiled(tmp_path, f"{{{kind}: vfs_read, args: {args}}}", "6.1")
    assert program is not None
    filled = fill(described(program), open_btf(BTF / "6.12.btf").find("vfs_read")[0])
    assert filled.misfits == ()
    assert {f.name: f.status for f in filled.event.fields if f.type is not None} == {
        "count": None, "pos": "pos_error", "buf": "buf_error"
    }  # fmt: skip


REFUSED = [
    ("{kprobe: __get_user_pages, args: [vmas]}", "5.10", "6.12",
     "no argument `vmas`: there are mm, start, nr_pages, gup_flags, pages, locked"),
    ("{kprobe: do_mmap, args: [vm_flags]}", "6.12", "5.10",
     "no argument `vm_flags`: there are file, addr, len, prot, flags, pgoff, populate, uf"),
]  # fmt: skip


@pytest.mark.parametrize(("probe", "compiled_for", "running", "reason"), REFUSED)
def test_refused_on_another_kernel(tmp_path: Path, probe: str, compiled_for: str, running: str, reason: str) -> None:
    program, text = compiled(tmp_path, probe, compiled_for)
    assert text == "" and program is not None
    name = program.probes[0].function
    assert name is not None
    filled = fill(described(program), open_btf(BTF / f"{running}.btf").find(name)[0])
    assert [m.text for m in filled.misfits] == [reason]
    assert filled.settings == {}


def test_a_few_arguments_take_no_stack_slots(tmp_path: Path) -> None:
    """Where two more arguments would still find registers, no program pays for a look at the stack."""
    program, _ = compiled(tmp_path, "{kprobe: vfs_read, args: [count]}", *TARGETS)
    assert program is not None
    text = emit_all(program).c_text
    assert "stack" not in re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
    assert program.probes[0].at is not None and program.probes[0].at.slots == 0

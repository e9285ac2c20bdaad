"""Names and constants out of BTF on the kernel that runs: its own names, or numbers; conditions that mean something else
there are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from btf_writer import Writer

from specc.compiler.find import find_compiler
from specc.describe import ProbeDescription
from specc.describe.reader import parse_description
from specc.describe.writer import describe
from specc.diagnostics import Report, Sources, render
from specc.ir import Event
from specc.pipeline import Session, front
from specc.prototype import Enum, bare
from specc.run import kernel_target, settle

Values = dict[str, int]

OLD = {"DMA": 0, "NORMAL": 1, "LAST": 2}
NEW = {"DMA": 0, "NORMAL": 1, "DEVICE": 2, "LAST": 3}
BITS = {"FOLL_WRITE": 1, "FOLL_PIN": 0x40000}
MOVED = {"FOLL_WRITE": 1, "FOLL_PIN": 0x80000, "FOLL_NEW": 0x40000}
SPEC = """specc: 1
name: t
fields: []
probes:
  - kprobe: f
    args: [{zone: {enum: zone}}, {zone: {as: plain}}, {flags: {flags: FOLL_}}, {at: {deref: true}}]
"""


def kernel(path: Path, zones: Values, bits: Values | None) -> Path:
    """`long f(enum zone zone, unsigned long flags, enum zone *at)`; `bits` are an enum's without a tag, or are not there."""
    w = Writer()
    zone = w.enum("zone", list(zones.items()))
    if bits is not None:
        w.enum("", list(bits.items()))
    wide = w.int("unsigned long", 8, signed=False)
    result = w.int("long", 8, signed=True)
    w.func("f", w.proto(result, [("zone", zone), ("flags", wide), ("at", w.ptr(zone))]))
    path.write_bytes(w.bytes())
    return path


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that is the running kernel's BTF."""
    folder = tmp_path / "sys"
    folder.mkdir()
    (tmp_path / "kallsyms").write_text("ffffffff81000010 T f\nffffffff81000020 T __x64_sys_f\n")
    monkeypatch.setattr(kernel_target, "KALLSYMS", str(tmp_path / "kallsyms"))
    monkeypatch.setattr(kernel_target, "has_probes", lambda kind: True)
    monkeypatch.setattr(kernel_target, "_blacklist", frozenset)
    monkeypatch.setattr(settle, "BTF_FOLDER", str(folder))
    return folder / "vmlinux"


def compiled(folder: Path, spec: str, *btf: Path) -> ProbeDescription:
    (folder / "t.yaml").write_text(spec)
    report = Report()
    program = front(folder / "t.yaml", Session(find_compiler, btf), report)
    assert program is not None, render(report.diagnostics, "full", Sources())
    return parse_description(describe(program)).probes[0]


def settled(probe: ProbeDescription, *, force: bool = False) -> tuple[Event, tuple[str, ...], str]:
    report = Report()
    filled = kernel_target.check_kernel([probe], lambda _: None, report, force=force)
    one = filled.get(probe.name)
    said = render(report.diagnostics, "full", Sources())
    return (one.event, one.notes, said) if one is not None else (probe.event, (), said)


def called(event: Event, field: str) -> Values:
    names = event.field(field).names
    assert names is not None
    return dict(names.members)


def typed(event: Event, field: str) -> Values:
    ctype = event.field(field).type
    assert ctype is not None
    kind = bare(ctype)
    assert isinstance(kind, Enum)
    return dict(kind.members)


RUNNING = [
    # where it was compiled for, what runs, and what values are called there
    ([(OLD, BITS)], (OLD, BITS), OLD, BITS),
    ([(OLD, BITS)], (NEW, MOVED), NEW, MOVED),  # renumbered, and with new ones
    ([(NEW, MOVED)], (OLD, BITS), OLD, BITS),
    ([(OLD, BITS)], (OLD, None), OLD, {}),  # macros again
    ([(OLD, None), (NEW, MOVED)], (OLD, None), OLD, {}),  # of the targets, one has the names
    ([(OLD, None), (NEW, MOVED)], (NEW, MOVED), NEW, MOVED),
    ([(OLD, BITS), (NEW, MOVED)], (OLD, BITS), OLD, BITS),  # on which the targets disagree
    ([(OLD, BITS)], ({"OTHER": 7}, {"FOLL_PIN": 4}), {"OTHER": 7}, {"FOLL_PIN": 4}),
]


@pytest.mark.parametrize(("targets", "runs", "zones", "bits"), RUNNING)
def test_names_are_those_of_the_kernel_that_runs(
    targets: list[tuple[Values, Values | None]],
    runs: tuple[Values, Values | None],
    zones: Values,
    bits: Values,
    running: Path,
    tmp_path: Path,
) -> None:
    btf = [kernel(tmp_path / f"{n}.btf", *one) for n, one in enumerate(targets)]
    known = compiled(tmp_path, SPEC, *btf)
    kernel(running, *runs)
    event, notes, said = settled(known)
    assert said == ""
    assert (called(event, "zone"), typed(event, "plain"), typed(event, "at")) == (zones, zones, zones)
    assert called(event, "flags") == bits
    before = [known.event.field(f).names for f in ("zone", "flags")]
    changed = [n for n, now in zip(before, (zones, bits), strict=True) if n is not None and dict(n.members) != now]
    assert len(notes) == len(changed)


def test_a_note_tells(running: Path, tmp_path: Path) -> None:
    known = compiled(tmp_path, SPEC, kernel(tmp_path / "a.btf", OLD, BITS))
    kernel(running, NEW, None)
    assert settled(known)[1] == (
        "names of f.zone (`zone`): 4 names of this kernel's BTF",
        "names of f.flags (`FOLL_`): none, for this kernel's BTF has no such names",
    )


def test_names_of_a_header_stay(running: Path, tmp_path: Path) -> None:
    """The spec says what they are, also where BTF has the same enum with other values."""
    (tmp_path / "z.h").write_text("enum zone { HIGH = 7 };\n")
    spec = SPEC.replace("fields", "headers: [z.h]\nfields").replace("{flags: {flags: FOLL_}}, ", "")
    known = compiled(tmp_path, spec, kernel(tmp_path / "a.btf", OLD, BITS))
    kernel(running, NEW, BITS)
    event, _, said = settled(known)
    assert said == "" and called(event, "zone") == {"HIGH": 7}
    assert typed(event, "plain") == NEW  # the argument's own type is out of BTF


def test_a_header_of_another_kernel(running: Path, tmp_path: Path) -> None:
    """Macros of one kernel, and another one whose BTF has them as an enum with other values."""
    (tmp_path / "z.h").write_text("#define FOLL_WRITE 1\n#define FOLL_PIN 0x40000\n#define FOLL_OWN 0x100\n")
    spec = SPEC.replace("fields", "headers: [z.h]\nfields").replace("{zone: {enum: zone}}, ", "")
    known = compiled(tmp_path, spec, kernel(tmp_path / "a.btf", OLD, None))
    for fits in (None, BITS, {"FOLL_OTHER": 0x10}):
        kernel(running, OLD, fits)
        event, _, said = settled(known)
        assert (said, called(event, "flags")) == ("", {"FOLL_WRITE": 1, "FOLL_PIN": 0x40000, "FOLL_OWN": 0x100})
    kernel(running, OLD, {**MOVED, "FOLL_ELSE": 0x100})
    event, _, said = settled(known)
    assert said == (
        "SP472 warning: names in the headers of `f` are not this kernel's, and are left out: "
        "`FOLL_PIN` of `flags` is 262144 there, and 524288 in this kernel\n"
        "  = help: leave the header out: where BTF has the names, they are those of the kernel that runs\n"
        "  = note: also: `FOLL_OWN` of `flags` is 256 there, which is `FOLL_ELSE` in this kernel\n"
    )
    assert called(event, "flags") == {"FOLL_WRITE": 1}
    event, _, said = settled(known, force=True)
    assert "--force was given" in said and "FOLL_OWN" in called(event, "flags")


def test_names_beside_a_declared_prototype(running: Path, tmp_path: Path) -> None:
    """The places are the declaration's, and the names of the enum come from BTF."""
    spec = SPEC.replace("    args", '    prototype: "long f(int zone, unsigned long flags, void *at)"\n    args')
    spec = spec.replace(", {zone: {as: plain}}", "").replace(", {at: {deref: true}}", "")
    known = compiled(tmp_path, spec, kernel(tmp_path / "a.btf", OLD, BITS))
    assert known.at is None
    kernel(running, NEW, MOVED)
    event, _, said = settled(known)
    assert (said, called(event, "zone"), called(event, "flags")) == ("", NEW, MOVED)
    syscall = spec.replace("kprobe", "ksyscall").replace("{zone: {enum: zone}}, ", "")
    event, _, said = settled(compiled(tmp_path, syscall, tmp_path / "a.btf"))
    assert (said, called(event, "flags")) == ("", MOVED)
    running.unlink()
    event, notes, said = settled(known)
    assert (said, called(event, "zone"), called(event, "flags"), len(notes)) == ("", {}, {}, 2)
    assert called(settled(known, force=True)[0], "zone") == OLD


CONDITION = SPEC + "    where: zone == LAST || flags & FOLL_PIN\n"
GOLDEN = """\
SP471 the condition of `f` may test something else on this kernel: `LAST` is 2 where it was compiled for, and 3 in this kernel
  = help: build the spec with this kernel among its targets, or write numbers (--force runs it all the same)
  = note: also: `FOLL_PIN` is 262144 where it was compiled for, and 524288 in this kernel
"""


def test_a_condition_that_means_something_else(running: Path, tmp_path: Path) -> None:
    known = compiled(tmp_path, CONDITION, kernel(tmp_path / "a.btf", OLD, BITS))
    assert known.constants == (("LAST", 2), ("FOLL_PIN", 0x40000))
    kernel(running, OLD, {**BITS, "FOLL_OTHER": 2})
    assert settled(known)[2] == ""
    kernel(running, NEW, MOVED)
    assert settled(known)[2] == GOLDEN
    forced = settled(known, force=True)
    assert "SP471 warning: " in forced[2] and "--force was given" in forced[2]
    assert called(forced[0], "flags") == MOVED
    kernel(running, OLD, None)
    assert "`FOLL_PIN` is 262144 where it was compiled for, and this kernel's BTF does not have it" in settled(known)[2]


def test_a_condition_on_a_constant_of_a_header(running: Path, tmp_path: Path) -> None:
    """The header's word counts, but where this kernel has the constant as another number."""
    (tmp_path / "z.h").write_text("#define FOLL_PIN 0x40000\n#define FOLL_OWN 0x100\nenum { LAST = 2 };\n")
    spec = CONDITION.replace("fields", "headers: [z.h]\nfields").replace("FOLL_PIN", "FOLL_PIN || flags == FOLL_OWN")
    known = compiled(tmp_path, spec, kernel(tmp_path / "a.btf", OLD, None))
    assert known.constants == () and known.assumed == (("LAST", 2), ("FOLL_PIN", 0x40000), ("FOLL_OWN", 0x100))
    for fits in (None, BITS):
        kernel(running, OLD, fits)
        assert "SP471" not in settled(known)[2]
    kernel(running, OLD, MOVED)
    assert (
        "SP471 the condition of `f` may test something else on this kernel: `FOLL_PIN` is 262144 in the header that the "
        "spec names, and 524288 in this kernel\n" in settled(known)[2]
    )
    assert "SP471 warning: " in settled(known, force=True)[2]


def test_a_condition_without_btf(running: Path, tmp_path: Path) -> None:
    spec = SPEC.replace("    args", '    prototype: "long f(int zone, unsigned long flags, void *at)"\n    args')
    spec = spec.replace("args: [{zone: {enum: zone}}, {zone: {as: plain}}, {flags: {flags: FOLL_}}, {at: {deref: true}}]", "args: []\n    where: flags == FOLL_PIN")  # fmt: skip
    known = compiled(tmp_path, spec, kernel(tmp_path / "a.btf", OLD, BITS))
    assert not running.exists()
    said = settled(known)[2]
    assert said.startswith("SP471") and "this kernel has no BTF, which alone tells what `FOLL_PIN` is here" in said
    numbers = compiled(tmp_path, spec.replace("FOLL_PIN", "0x40000"), tmp_path / "a.btf")
    assert settled(numbers)[2] == "" and numbers.constants == ()


def test_an_older_object_is_read(tmp_path: Path) -> None:
    """Its names are not marked, and stay as they are."""
    (tmp_path / "t.yaml").write_text(SPEC)
    program = front(tmp_path / "t.yaml", Session(find_compiler, [kernel(tmp_path / "a.btf", OLD, BITS)]), Report())
    assert program is not None
    text = describe(program)
    assert text.count('"btf": true, ') == 2
    older = parse_description(text.replace('"btf": true, ', "")).probes[0].event.field("zone").names
    assert older is not None and (dict(older.members), older.btf) == (OLD, False)

"""What values are called: constants of headers, of BTF on several kernels, of debug information; what fits into a type."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from btf_writer import Writer

from specc.compiler.find import find_compiler
from specc.diagnostics import Report, Sources, render
from specc.ir import Names, Program
from specc.lower.shown import agreed, agreed_type, in_width
from specc.pipeline import Session, front
from specc.prototype import INT, LONG, UCHAR, UINT, ULONG, Enum, Int, Member, Record, bare
from specc.records import record_schema

SCHAR = Int("signed char", 1, True, "int")

HEADER = """
enum { M_ENUM = 3, M_NEXT, M_SHADOWED = 8 };
struct two { int a, b[2]; };
#define M_PLAIN 1
#define M_EXPRESSION (M_PLAIN << 4 | M_ENUM)
#define M_UNSIGNED ~0u
#define M_LONG ((unsigned long)1 << 63)
#define M_MINUS -1
#define M_CHAR 'A'
#define M_SIZE sizeof(struct two)
#define M_CONDITION (M_PLAIN > 0 ? 5 : 6)
#define M_HEX 0xFFul
#define M_CALLED M_CALL(7)
#define M_CALL(x) (x)
#define M_LONGER (M_PLAIN | \\
	32)
#define M_ALIAS M_PLAIN
#define M_SHADOWED M_SHADOWED
#define M_TWICE 1
#undef M_TWICE
#define M_TWICE 2
#define M_GONE 3
#undef M_GONE
#define M_TEXT "text"
#define M_TYPE unsigned int
#define M_EMPTY
#define M_REAL 1.5
#define M_STATEMENT do { } while (0)
#define M_UNKNOWN NOTHING_OF_THAT_NAME
#define M_BRACE {
#define M_PARENTHESES 1) + (2
#define M_ATTRIBUTE __attribute__((packed))
#define OTHER_M_ 4
int f(unsigned long flags, int mode);
"""
MACROS = {
    "M_ENUM": 3, "M_NEXT": 4, "M_SHADOWED": 8, "M_PLAIN": 1, "M_EXPRESSION": 19, "M_UNSIGNED": 0xFFFFFFFF,
    "M_LONG": 1 << 63, "M_MINUS": (1 << 64) - 1, "M_CHAR": 65, "M_SIZE": 12, "M_CONDITION": 5, "M_HEX": 255, "M_CALLED": 7,
    "M_LONGER": 33, "M_TWICE": 2,
}  # fmt: skip


def compiled(
    folder: Path, args: str, *btf: Path, probe: str = "kprobe: f", head: str = ""
) -> tuple[Program | None, str]:
    spec = folder / "t.yaml"
    spec.write_text(f"specc: 1\nname: t\nfields: []\n{head}probes:\n  - {probe}\n    args: [{args}]\n")
    report = Report()
    program = front(spec, Session(find_compiler, btf), report)
    return program, render(report.diagnostics, "concise", Sources()).replace(str(spec), "t.yaml")


def names(program: Program | None, field: str) -> Names | None:
    assert program is not None
    return program.probes[0].event.field(field).names


@pytest.mark.parametrize("compiler", ["clang", "zig"])
def test_macros(compiler: str, tmp_path: Path) -> None:
    """The values that a C compiler gives them, in the order of the header: enum constants, then macros."""
    if compiler == "clang" and shutil.which("clang") is None:
        pytest.skip("no clang")
    (tmp_path / "m.h").write_text(HEADER)
    spec = tmp_path / "t.yaml"
    spec.write_text("specc: 1\nname: t\nheaders: [m.h]\nprobes:\n  - {kprobe: f, args: [{flags: {flags: M_}}]}\n")
    try:
        find_compiler(compiler)
    except Exception:  # which of its errors says why it is not there is not this test's affair
        pytest.skip(f"no {compiler}")
    report = Report()
    found = names(front(spec, Session(lambda: find_compiler(compiler)), report), "flags")
    assert not report.diagnostics
    assert found is not None
    assert list(found.members) == list(MACROS.items())


def test_an_integer_has_only_what_it_can_hold(tmp_path: Path) -> None:
    (tmp_path / "m.h").write_text(HEADER)
    program, said = compiled(tmp_path, "{mode: {enum: M_}}", head="headers: [m.h]\n")
    found = names(program, "mode")
    assert said == "" and found is not None and found.kind == "enum"
    members = dict(found.members)
    assert (members["M_UNSIGNED"], "M_MINUS" in members, "M_LONG" in members) == (-1, False, False)


@pytest.mark.parametrize(
    ("kind", "flags", "value", "wanted"),
    [
        (INT, False, -1, -1),
        (INT, False, 0xFFFFFFFF, -1),
        (INT, False, 1 << 32, None),
        (INT, False, -(1 << 31) - 1, None),
        (UINT, False, -1, 0xFFFFFFFF),
        (UINT, True, 1 << 31, 1 << 31),
        (INT, True, 1 << 31, -(1 << 31)),
        (LONG, False, (1 << 64) - 1, -1),
        (LONG, False, 0xFFFFFFFF, 0xFFFFFFFF),
        (ULONG, False, -1, (1 << 64) - 1),
        (SCHAR, False, 255, None),
        (SCHAR, False, -1, -1),
        (SCHAR, True, 255, -1),
        (UCHAR, False, -1, None),
        (UCHAR, False, 255, 255),
        (UCHAR, True, -128, 128),
        (UCHAR, True, 256, None),
    ],
)
def test_constants_in_the_width_of_a_value(kind: Int, flags: bool, value: int, wanted: int | None) -> None:
    assert in_width([("N", value)], kind, flags=flags) == ((("N", wanted),) if wanted is not None else ())


@pytest.mark.parametrize(
    ("on", "kept", "left"),
    [
        ({"a": [("X", 1), ("Y", 2)]}, [("X", 1), ("Y", 2)], []),
        ({"a": [("X", 1)], "b": [("X", 1)]}, [("X", 1)], []),
        ({"a": [("X", 1)], "b": [("X", 1), ("Y", 2)]}, [("X", 1), ("Y", 2)], []),
        ({"a": [("X", 1)], "b": [("Y", 1)]}, [], ["1 is `X` on a, `Y` on b"]),
        ({"a": [("X", 1)], "b": [("X", 2)]}, [], ["1 is `X` on a", "2 is `X` on b"]),
        ({"a": [("X", 1), ("LAST", 2)], "b": [("X", 1), ("NEW", 2), ("LAST", 3)]}, [("X", 1)],
         ["2 is `LAST` on a, `NEW` on b", "3 is `LAST` on b"]),
        ({"a": [("X", 1), ("ALSO", 1)], "b": [("X", 1)]}, [("X", 1)], []),
        ({"a": [("OLD", 1)], "b": [("NEW", 1), ("OLD", 1)]}, [("OLD", 1)], []),
    ],
)  # fmt: skip
def test_what_kernels_agree_on(on: Any, kept: Any, left: list[str]) -> None:
    assert agreed(on) == (tuple(kept), left)


def kernel(path: Path, zones: list[tuple[str, int]], prefix: str = "FOLL_") -> Path:
    writer = Writer()
    zone = writer.enum("zone", zones)
    writer.typedef("zone_t", zone)
    writer.enum("", [(f"{prefix}WRITE", 1), (f"{prefix}PIN", 1 << 19), ("GOLL_NO", 2)])
    number = writer.int("int", 4, signed=True)
    wide = writer.int("unsigned long", 8, signed=False)
    writer.func(
        "f", writer.proto(zone, [("zone", zone), ("flags", wide), ("number", number), ("at", writer.ptr(zone))])
    )
    path.write_bytes(writer.bytes())
    return path


OLD = [("DMA", 0), ("NORMAL", 1), ("LAST", 2)]
NEW = [("DMA", 0), ("NORMAL", 1), ("DEVICE", 2), ("LAST", 3)]


def test_of_one_kernel(tmp_path: Path) -> None:
    old = kernel(tmp_path / "6.1.btf", OLD)
    args = "{zone: {enum: zone}}, {number: {enum: zone_t}}, {flags: {flags: FOLL_}}, {at: {deref: true, enum: zone}}"
    program, said = compiled(tmp_path, args, old)
    assert said == ""
    assert names(program, "zone") == Names("enum", "zone", tuple(OLD), btf=True)
    assert names(program, "number") == Names("enum", "zone_t", tuple(OLD), btf=True)
    assert names(program, "flags") == Names("flags", "FOLL_", (("FOLL_WRITE", 1), ("FOLL_PIN", 1 << 19)), btf=True)
    assert names(program, "at") == Names("enum", "zone", tuple(OLD), btf=True)


def test_of_several_kernels(tmp_path: Path) -> None:
    """A value that kernels call differently has no name, in records or in the table."""
    btf = (kernel(tmp_path / "6.1.btf", OLD), kernel(tmp_path / "6.12.btf", NEW))
    program, said = compiled(tmp_path, "{zone: {enum: zone}}, {zone: {as: plain}}, {flags: {flags: FOLL_}}", *btf)
    assert said.splitlines()[0] == (
        "t.yaml:6:26: SP294 warning: `zone` is not alike on all targets; these values are numbers for readers that do not "
        "know which kernel runs"
    )
    assert names(program, "zone") == Names("enum", "zone", (("DMA", 0), ("NORMAL", 1)), btf=True)
    assert program is not None
    plain = program.probes[0].event.field("plain").type
    assert plain is not None and bare(plain) == Enum("zone", 4, False, (("DMA", 0), ("NORMAL", 1)))
    inner = Record("struct", "s", (Member("zone", Enum("zone", 4, False, tuple(OLD)), 0),), 4, 4)
    other = Record("struct", "s", (Member("zone", Enum("zone", 4, False, tuple(NEW)), 0),), 4, 4)
    made = agreed_type(inner, [other])
    assert isinstance(made, Record) and made.members is not None
    assert made.members[0].type == Enum("zone", 4, False, (("DMA", 0), ("NORMAL", 1)))
    assert agreed_type(inner, [inner]) is inner
    same, said = compiled(tmp_path, "{zone: {enum: zone}}", btf[0], kernel(tmp_path / "6.6.btf", OLD))
    assert (names(same, "zone"), said) == (Names("enum", "zone", tuple(OLD), btf=True), "")


def test_a_kernel_that_lacks_the_names(tmp_path: Path) -> None:
    """Linux 6.1 has macros `FOLL_`, which are not in BTF, and 6.12 an enum, with other values: no name is right on both."""
    new = kernel(tmp_path / "6.12.btf", OLD)
    old = kernel(tmp_path / "6.1.btf", OLD, prefix="NO_FOLL_")
    for targets in ((old, new), (new, old)):
        program, said = compiled(tmp_path, "{flags: {flags: FOLL_}}", *targets)
        assert names(program, "flags") == Names("flags", "FOLL_", (), btf=True)
        assert said.splitlines()[0] == (
            "t.yaml:6:28: SP294 warning: `FOLL_` is not in the BTF of 6.1: its values are numbers there, and for readers "
            "that do not know which kernel runs"
        )
        assert program is not None
        schema = record_schema(program)["oneOf"][0]["properties"]["flags"]  # type: ignore[index]
        assert schema["type"] == "string" and schema["examples"] == []


@pytest.mark.parametrize(
    ("test", "said"),
    [
        ("flags & FOLL_PIN", "`FOLL_PIN` is not the same on all targets"),
        ("zone == LAST", "`LAST` is not the same on all targets"),
        ("zone == DEVICE", "`DEVICE` is not the same on all targets"),
    ],
)
def test_a_condition_on_what_targets_disagree_on(test: str, said: str, tmp_path: Path) -> None:
    """Also on a constant of the argument's own enum, which is the first target's."""
    btf = (kernel(tmp_path / "6.1.btf", OLD, prefix="NO_FOLL_"), kernel(tmp_path / "6.12.btf", NEW))
    for targets in (btf, btf[::-1]):
        program, text = compiled(tmp_path, f"zone]\n    where: {test}\n    x-note: [", *targets)
        assert program is None and f"SP282 {said}" in text, text
    constant = {"FOLL_PIN": "on 6.1 it is not there; on 6.12 it is 524288", "LAST": "on 6.1 it is 2; on 6.12 it is 3",
                "DEVICE": "on 6.1 it is not there; on 6.12 it is 2"}[test.split()[-1]]  # fmt: skip
    report = Report()
    front(tmp_path / "t.yaml", Session(find_compiler, btf), report)
    assert report.diagnostics[0].notes == (constant,)
    program, text = compiled(tmp_path, "zone]\n    where: zone == NORMAL && flags != FOLL_WRITE\n    x-note: [", btf[1])
    assert text == "" and program is not None and program.probes[0].condition is not None
    assert program.probes[0].condition.constants == (("NORMAL", 1), ("FOLL_WRITE", 1))


def test_a_condition_on_a_constant_that_a_target_has_otherwise(tmp_path: Path) -> None:
    """A header goes before BTF, but not against it."""
    btf = (kernel(tmp_path / "6.1.btf", OLD, prefix="NO_FOLL_"), kernel(tmp_path / "6.12.btf", NEW))
    (tmp_path / "z.h").write_text("#define FOLL_PIN 0x40000\n#define OTHER 9\n")
    headers, after = "zone]\n    where: flags & {}\n    x-note: [", "headers: [z.h]\n"
    program, text = compiled(tmp_path, headers.format("FOLL_PIN"), *btf, head=after)
    assert program is None and "SP282 `FOLL_PIN` is not the same on all targets" in text
    report = Report()
    front(tmp_path / "t.yaml", Session(find_compiler, btf), report)
    assert report.diagnostics[0].notes == ("in the headers it is 262144; on 6.12 it is 524288",)
    for name, targets in (("OTHER", btf), ("FOLL_PIN", btf[:1])):
        program, text = compiled(tmp_path, headers.format(name), *targets, head=after)
        assert text == "" and program is not None and program.probes[0].condition is not None
        assert [n for n, _ in program.probes[0].condition.assumed] == [name]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("{zone: {enum: zon}}", "SP295 no enum `zon` in BTF"),
        ("{flags: {flags: GULL_}}", "SP295 nothing that begins with `GULL_` is a constant in BTF"),
        ("{number: {enum: int}}", "SP295 no enum `int` in BTF"),
    ],
)
def test_what_is_not_there(args: str, said: str, tmp_path: Path) -> None:
    program, text = compiled(tmp_path, args, kernel(tmp_path / "6.1.btf", OLD))
    assert program is None
    code, _, message = said.partition(" ")
    assert f": {code} {message}" in text.splitlines()[0]
    if "zon}" in args:
        assert "did you mean `zone`?" in text


def test_a_header_goes_before_btf(tmp_path: Path) -> None:
    (tmp_path / "z.h").write_text("enum zone { HIGH = 7 };\n")
    program, said = compiled(
        tmp_path, "{zone: {enum: zone}}", kernel(tmp_path / "6.1.btf", OLD), head="headers: [z.h]\n"
    )
    assert (names(program, "zone"), said) == (Names("enum", "zone", (("HIGH", 7),)), "")


def test_of_debug_information(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The enums that a function's own parameters have."""
    gcc = shutil.which("gcc")
    if gcc is None:
        pytest.skip("no gcc")
    monkeypatch.chdir(tmp_path)
    Path("p.c").write_text(
        "enum mode { OFF, ON = 5 }; typedef enum { A = 1, B } way;\n"
        "__attribute__((noipa)) int f(enum mode mode, way *way, int number) { return mode + *way + number; }\n"
        "int main(void) { way w = A; return f(ON, &w, 1); }\n"
    )
    subprocess.run([gcc, "-g", "-O2", "-o", "p", "p.c"], check=True)
    program, said = compiled(
        tmp_path, "{mode: {enum: mode}}, {way: {deref: true, enum: way}}, {number: {flags: way}}", probe="uprobe: ./p:f"
    )
    assert said == ""
    assert names(program, "mode") == Names("enum", "mode", (("OFF", 0), ("ON", 5)))
    assert names(program, "way") == Names("enum", "way", (("A", 1), ("B", 2)))
    assert names(program, "number") == Names("flags", "way", (("A", 1), ("B", 2)))

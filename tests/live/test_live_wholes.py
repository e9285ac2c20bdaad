"""Whole structs and unions behind pointers: in processes against what C put there, and in kernels that are made up.

Padding is full of ones where the probe reads, and none of it is in the event.
"""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from btf_compiled import clang, compile_btf
from jsonschema import Draft202012Validator

from specc.btf import Btf
from specc.btf.complete import completed_by
from specc.build import compile_object
from specc.compiler.find import find_compiler
from specc.describe.reader import description_of
from specc.diagnostics import Report, Sources, render
from specc.events import Decoder
from specc.libbpf import Library
from specc.pipeline import Session, emit_all, front
from specc.run.paths import problems

from .build import compile_c, live
from .test_live_relocated import ARENA, ROOM, Relocated, harness, run

pytestmark = live

HEADER = """
struct inner { unsigned char id; long time; };
union either { int number; char text[13]; };
typedef struct { short low; int high; } pair;
struct outer {
	char name[7];
	struct inner in[2];
	union either either;
	unsigned three : 3, : 5, more : 9;
	struct inner *there;
	_Bool yes;
};
"""
CALLED = """#include "o.h"
const struct outer *f(const struct outer *o, pair *p, union either *e) { asm volatile("" : : "r"(o), "r"(p), "r"(e) : "memory"); return o; }
"""
MAIN = """#include "o.h"
#include <string.h>
const struct outer *f(const struct outer *o, pair *p, union either *e);
int main(void)
{
	static struct outer o;
	static struct inner i;
	static pair p;
	static union either e;
	memset(&o, 0xff, sizeof(o)); memset(&i, 0xff, sizeof(i)); memset(&p, 0xff, sizeof(p)); memset(&e, 0xff, sizeof(e));
	memcpy(o.name, "outer", 6); o.in[0].id = 1; o.in[0].time = -2; o.in[1].id = 3; o.in[1].time = 1L << 40;
	memcpy(o.either.text, "AB\\0D", 4); o.three = 5; o.more = 257; o.there = &i; o.yes = 1;
	i.id = 200; i.time = 7; p.low = -5; p.high = 70000; memcpy(e.text, "\\1\\0\\0\\0xyz", 8);
	f(&o, &p, &e);
	o.there = 0;
	f(&o, 0, &e);
	return 0;
}
"""
ARGS = (
    "{o: {deref: true, as: whole}}, {o: {field: there, deref: true, as: there}}, {o: {field: 'in[1]', as: second}}, "
    "{o: {field: either, as: either}}, {p: {deref: true}}, {e: {deref: true}}"
)


@pytest.mark.parametrize("source", ["header", "dwarf"])
@pytest.mark.parametrize("kind", ["uprobe", "uretprobe"])
def test_in_a_process(source: str, kind: str, tmp_path: Path) -> None:
    import specc

    (tmp_path / "o.h").write_text(HEADER)
    flags = ("-O1", "-g") if source == "dwarf" else ("-O1",)
    path = compile_c(tmp_path / "program", CALLED, MAIN, flags=(*flags, f"-I{tmp_path}"))
    (tmp_path / "f.h").write_text("const struct outer *f(const struct outer *o, pair *p, union either *e);\n")
    headers = "headers: [o.h, f.h]\n" if source == "header" else ""
    args = ARGS + (", {return: {deref: true}}" if kind == "uretprobe" else "")
    spec = tmp_path / "wholes.yaml"
    spec.write_text(
        f"specc: 1\nname: wholes\nfields: []\n{headers}probes:\n  - name: p\n"
        f"    {kind}: {{path: {path}, symbol: f}}\n    args: [{args}]\n"
    )
    with specc.open(spec) as probe:
        subprocess.run([path], check=True, timeout=60)
        probe._session.detach()
        raw = [bytes(r) for batch in probe._session.poll(0) for r in batch]
        events = [probe._decoder.decode(r) for r in raw]
        fields = {f.name: f for f in probe._decoder.description.probes[0].event.fields}
    assert len(events) == 2
    first, second = events
    inner, second_inner = {"id": 1, "time": -2}, {"id": 3, "time": 1 << 40}
    either = first["either"]
    assert either["number"] == int.from_bytes(b"AB\0D", "little") and either["text"].startswith("AB")
    address = first["whole"]["there"]
    assert address > 0xFFFF
    whole = {"name": "outer", "in": [inner, second_inner], "either": either, "three": 5, "more": 257,
             "there": address, "yes": True}  # fmt: skip
    assert first["whole"] == whole and list(first["whole"]) == list(whole)
    assert first["there"] == {"id": 200, "time": 7}
    assert first["second"] == second_inner
    assert first["p"] == {"low": -5, "high": 70000}
    assert first["e"]["number"] == 1
    assert second["whole"] == whole | {"there": 0} and "whole_error" not in second
    assert (second["there"], second["there_error"], second["p"], second["p_error"]) == (None, "EFAULT", None, "EFAULT")
    if kind == "uretprobe":
        assert first["return"] == whole and second["return"] == whole | {"there": 0}

    def bytes_of(event: int, name: str) -> bytes:
        return raw[event][fields[name].offset : fields[name].offset + fields[name].size]

    text = b"AB\0D" + 9 * b"\xff"
    bits = struct.pack("<I", 5 | 257 << 8)
    assert bytes_of(0, "whole") == (
        b"outer\0\xff\0" + struct.pack("<QqQq", 1, -2, 3, 1 << 40) + text + bytes(3) + bits + bytes(4)
        + struct.pack("<QQ", address, 1)
    )  # fmt: skip
    assert bytes_of(0, "there") == struct.pack("<Qq", 200, 7)
    assert bytes_of(0, "either") == text + bytes(3)
    assert bytes_of(0, "p") == struct.pack("<hxxi", -5, 70000)
    assert bytes_of(1, "p") == bytes(8) and bytes_of(1, "there") == bytes(16)
    schema = json.loads(_schema(spec))
    for event in events:
        assert list(Draft202012Validator(schema).iter_errors(json.loads(json.dumps(event)))) == []


def _schema(spec: Path) -> str:
    from command import specc as command

    return command("schema", "--event", spec, cwd=spec.parent).out


# --- kernels that are made up -----------------------------------------------------------------------------------------

PART = "short a; unsigned char b; long c;"
FLAT = (
    "short cells[4]; signed char id; int n; unsigned u; union { long l; int i; }; char text[5]; "
    "struct { int x, y; } at; enum e e; void *p; _Bool yes; double d;"
)
ROOT = "long first; struct part part; struct part parts[2]; struct part *next;"
VALUES = struct.pack("<4hbxxxiIxxxxq5sxxxiiixxxxQ?7xd", 1, -2, 3, -4, -5, 6, 7, 8, b"text", 9, 10, 2, 11, True, 0.5)
PARTS = struct.pack("<hBxxxxxq", -300, 200, 1 << 50)


def records(root: str = ROOT, part: str = PART, flat: str = FLAT) -> str:
    return f"enum e {{ NONE, SOME = 2 }}; struct part {{ {part} }}; struct s0 {{ {root} }}; struct flat {{ {flat} }};\n"


def changed(text: str, was: str, now: str) -> str:
    assert text.count(was) == 1
    return text.replace(was, now)


OTHER_FLATS = {
    "size": FLAT + "long added;",
    "order": changed(FLAT, "int n; unsigned u;", "unsigned u; int n;"),
    "sign": changed(FLAT, "unsigned u;", "int u;"),
    "elements": changed(FLAT, "short cells[4];", "int cells[2] __attribute__((aligned(2)));"),
    "inside": changed(FLAT, "int x, y;", "int y, x;"),
    "length": changed(FLAT, "char text[5]", "char text[6]"),
    "width": changed(FLAT, "enum e e;", "enum e e; int added;").replace("_Bool yes;", "short yes;"),
}


def kernel(path: Path, text: str) -> Path:
    declared = (
        "int f0(struct s0 *o);\nint f1(struct flat *o);\nstruct s0 whole0; struct flat whole1; struct part whole2;\n"
    )
    path.write_bytes(compile_btf(text + declared, {"f0": ["o"], "f1": ["o"]}, 0))
    return path


SPEC = """specc: 1
name: nest
fields: []
probes:
  - {name: p0, fentry: f0, args: [{o: {field: part, as: part}}, {o: {field: "parts[1]", as: second}}, {o: {field: next, deref: true, as: next}}]}
  - {name: p1, fentry: f1, args: [{o: {deref: true, as: flat}}]}
"""


def seen(compiler: str, folder: Path, there: str, roots: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """The two events in a kernel with these records, where `roots` and VALUES lie."""
    (folder / "nest.yaml").write_text(SPEC)
    report = Report()
    here = kernel(folder / "here.btf", records())
    program = front(folder / "nest.yaml", Session(find_compiler, btf_files=(here,)), report)
    assert program is not None, render(report.diagnostics, "full", Sources())
    made = compile_object(harness(emit_all(program).c_text, 2, [0, 1024]), "nest", find_compiler(compiler))
    decoder = Decoder(description_of(made))
    with Library() as library, Relocated(library, made, kernel(folder / "there.btf", there)) as loaded:
        loaded.load()
        maps = {name.partition(".")[2]: fd for name, fd in loaded.maps.items() if "data." in name}
        arena = roots.ljust(1024, b"\0") + VALUES
        library.update(maps["data.arena"], 0, arena.ljust(ARENA, b"\0"))
        events = []
        for number in range(2):
            run(loaded.programs[f"run{number}"])
            size = program.probes[number].event.size
            events.append(decoder.decode(library.lookup(maps["data.result"], 0, ROOM)[:size]))
    return events[0], events[1]


WHOLE_PART = {"a": -300, "b": 200, "c": 1 << 50}


@pytest.mark.skipif(clang() is None, reason="no clang with a BPF target")
@pytest.mark.parametrize("compiler", ["clang", "zig"])
def test_records_that_moved(compiler: str, tmp_path: Path) -> None:
    """Where a struct is does not matter, while it is the same in itself."""
    root = "struct { struct part *next; long added; struct part parts[2]; }; int more; struct part part; long first;"
    garbage = PARTS[:3] + b"\xee" * 5 + PARTS[8:]
    roots = bytes(16) + bytes(16) + garbage + b"\xee" * 8 + garbage
    nest, flat = seen(compiler, tmp_path, records(root), roots)
    assert (nest["part"], nest["second"]) == (WHOLE_PART, WHOLE_PART)
    assert (nest["next"], nest["next_error"]) == (None, "ERANGE")  # of an address that is no kernel's
    assert flat["flat"] == {
        "cells": [1, -2, 3, -4], "id": -5, "n": 6, "u": 7, "l": 8, "i": 8, "text": "text", "at": {"x": 9, "y": 10},
        "e": 2, "p": 11, "yes": True, "d": 0.5,
    }  # fmt: skip


@pytest.mark.skipif(clang() is None, reason="no clang with a BPF target")
@pytest.mark.parametrize("compiler", ["clang", "zig"])
@pytest.mark.parametrize("change", OTHER_FLATS)
def test_records_that_changed(compiler: str, change: str, tmp_path: Path) -> None:
    part = changed(PART, "short a; unsigned char b;", "unsigned char b; short a;")
    nest, flat = seen(compiler, tmp_path, records(part=part, flat=OTHER_FLATS[change]), PARTS * 8)
    for event, name in ((nest, "part"), (nest, "second"), (nest, "next"), (flat, "flat")):
        assert event[name] is None, name
        # The pointer is followed only after it was read, from what lies there now.
        assert event[f"{name}_error"] == "EOVERFLOW", name


# --- bit-fields, and arrays of structs --------------------------------------------------------------------------------

SMALL = "unsigned a : 5, b : 20;"
ROWS = (
    "unsigned char kind : 2, : 3, flag : 1; int low : 7; unsigned long wide : 40; struct part parts[2]; "
    "struct { short x, y; unsigned z : 5; } grid[2][2]; enum e state : 4; struct small one[1];"
)
WANTED_ROWS = {
    "kind": 2, "flag": 1, "low": -33, "wide": 0xAB12345678, "parts": [{"a": -300, "b": 200, "c": 1 << 50}, {"a": 5, "b": 6, "c": -7}],
    "grid": [[{"x": 1, "y": -2, "z": 3}, {"x": 4, "y": 5, "z": 6}], [{"x": 7, "y": 8, "z": 9}, {"x": 10, "y": 11, "z": 31}]],
    "state": 2, "one": [{"a": 17, "b": 0x54321}],
}  # fmt: skip
BITS = 2 | 0b111 << 2 | 1 << 5 | (-33 & 0x7F) << 6 | 0xAB12345678 << 13 | 0x7FF << 53
ROW_BYTES = (
    struct.pack("<Q", BITS) + PARTS + struct.pack("<hBxxxxxq", 5, 6, -7)
    + b"".join(struct.pack("<hhI", x, y, z | 0xFFFFFFE0) for x, y, z in ((1, -2, 3), (4, 5, 6), (7, 8, 9), (10, 11, 31)))
    + struct.pack("<II", 2 | 0xFFFFFFF0, 17 | 0x54321 << 5 | 0x7F << 25)
)  # fmt: skip
ROWS_SPEC = """specc: 1
name: nest
fields: []
probes:
  - {name: p0, fentry: f0, args: [{o: {field: small, as: small}}, {o: {field: rows, as: rows}}, {o: {field: "many[1]", as: second}}]}
  - {name: p1, fentry: f1, args: [{o: {deref: true, as: rows}}]}
"""
HERE_ROOT = "int first; struct small small; struct rows rows; struct small many[2];"
THERE_ROOT = "struct small many[2]; long added; int more; struct small small; struct rows rows;"
OTHER_ROWS = {
    "width": {"rows": changed(ROWS, "int low : 7", "int low : 8")},
    "sign": {"rows": changed(ROWS, "int low : 7", "unsigned low : 7")},
    "order": {
        "rows": changed(ROWS, "unsigned char kind : 2, : 3, flag : 1;", "unsigned char flag : 1, : 3, kind : 2;")
    },
    "shift": {"rows": changed(ROWS, ": 3, flag", ": 4, flag").replace("int low : 7", "int low : 6")},
    "no bits": {"rows": changed(ROWS, "enum e state : 4;", "enum e state;")},
    "element": {"part": changed(PART, "short a; unsigned char b;", "unsigned char b; short a;")},
    "length": {"part": PART + "long d;"},
    "count": {"rows": changed(ROWS, "parts[2]", "parts[3]")},
    "dimensions": {"rows": changed(ROWS, "x, y; unsigned z : 5; } grid[2][2]", "y, x; unsigned z : 5; } grid[2][2]")},
    "bits of elements": {"rows": changed(ROWS, "unsigned z : 5;", "unsigned : 1, z : 5;")},
    "one": {"small": "unsigned b : 20, a : 5;"},
}
LATER_CLANG = shutil.which("clang-19")


def rows_kernel(path: Path, root: str, *, rows: str = ROWS, part: str = PART, small: str = SMALL) -> Path:
    text = f"enum e {{ NONE, SOME = 2 }}; struct small {{ {small} }}; struct part {{ {part} }}; struct rows {{ {rows} }};\n"
    text += f"struct s0 {{ {root} }};\nint f0(struct s0 *o);\nint f1(struct rows *o);\nstruct s0 whole0; struct rows whole1;\n"
    path.write_bytes(compile_btf(text, {"f0": ["o"], "f1": ["o"]}, 0))
    return path


def rows_seen(
    compiler: str, folder: Path, other: dict[str, str], arena: bytes
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The two events in a kernel where `other` records are."""
    (folder / "nest.yaml").write_text(ROWS_SPEC)
    report = Report()
    here = rows_kernel(folder / "here.btf", HERE_ROOT)
    program = front(folder / "nest.yaml", Session(find_compiler, btf_files=(here,)), report)
    assert program is not None, render(report.diagnostics, "full", Sources())
    made = compile_object(harness(emit_all(program).c_text, 2, [0, 1024]), "nest", find_compiler(compiler))
    there = {"root": THERE_ROOT, "rows": ROWS} | other
    # pahole writes an array of arrays into a kernel's BTF as one long array.
    kernel_ = rows_kernel(folder / "there.btf", **there | {"rows": there["rows"].replace("[2][2]", "[4]")})
    probes = description_of(made).probes
    told = [problems(p, completed_by(Btf(kernel_.read_bytes(), "k"))) for p in probes]
    assert any(told) == bool(other), "a loader that knows BTF sees it before"
    events = []
    with Library() as library, Relocated(library, made, kernel_) as loaded:
        loaded.load()
        maps = {name.partition(".")[2]: fd for name, fd in loaded.maps.items() if "data." in name}
        library.update(maps["data.arena"], 0, (arena.ljust(1024, b"\xee") + ROW_BYTES).ljust(ARENA, b"\xee"))
        for number in range(2):
            run(loaded.programs[f"run{number}"])
            size = program.probes[number].event.size
            events.append(Decoder(description_of(made)).decode(library.lookup(maps["data.result"], 0, ROOM)[:size]))
    return events[0], events[1]


@pytest.mark.skipif(clang() is None, reason="no clang with a BPF target")
@pytest.mark.parametrize("compiler", ["clang", "zig", *([LATER_CLANG] if LATER_CLANG is not None else [])])
def test_rows_that_moved(compiler: str, tmp_path: Path) -> None:
    many = struct.pack("<II", 1 | 2 << 5, 3 | 4 << 5 | 0x7F << 25)
    arena = many + b"\xee" * 12 + struct.pack("<I", 9 | 77 << 5 | 0x7F << 25) + ROW_BYTES
    nest, rows = rows_seen(compiler, tmp_path, {}, arena)
    assert nest == {"probe": "p0", "small": {"a": 9, "b": 77}, "rows": WANTED_ROWS, "second": {"a": 3, "b": 4}}
    assert rows == {"probe": "p1", "rows": WANTED_ROWS}


@pytest.mark.skipif(clang() is None, reason="no clang with a BPF target")
@pytest.mark.parametrize("compiler", ["clang", "zig"])
@pytest.mark.parametrize("change", OTHER_ROWS)
def test_rows_that_changed(compiler: str, change: str, tmp_path: Path) -> None:
    nest, rows = rows_seen(compiler, tmp_path, OTHER_ROWS[change], b"")
    for event in (nest, rows):
        assert (event["rows"], event["rows_error"]) == (None, "EOVERFLOW")
    assert (nest["small"] is None) == (nest["second"] is None) == (change == "one")

"""Elements of what a pointer leads to, as C counts them: in processes, and in kernels that are made up, whose structs are
longer than where the spec was compiled."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from btf_compiled import clang, compile_btf

from specc.build import compile_object
from specc.compiler.find import find_compiler
from specc.describe.reader import description_of
from specc.diagnostics import Report, Sources, render
from specc.events import Decoder
from specc.libbpf import Library
from specc.pipeline import Session, emit_all, front

from .build import compile_c, live
from .test_live_relocated import ARENA, ROOM, Relocated, harness, run

pytestmark = live

HEADER = """
struct part { void *base; unsigned long size; };
typedef struct { int id; unsigned low : 3; signed high : 5; } cell;
struct holder { struct part *parts; int (*rows)[3]; cell *cells; struct part (*grid)[2]; };
struct by_value { const int *numbers; struct part *parts; };
"""
DECLARED = (
    "long f(const struct part *vec, char **argv, int *fds, struct holder *holder, struct holder **far, "
    "struct by_value own);"
)
CALLED = f"""#include "e.h"
{DECLARED[:-1]} {{ asm volatile("" : : "r"(vec), "r"(argv), "r"(fds), "r"(holder), "r"(far) : "memory"); return 0; }}
"""
MAIN = f"""#include "e.h"
{DECLARED}
int main(void)
{{
	static char *argv[] = {{"zero", "first", 0}};
	static struct part vec[] = {{{{argv, 1}}, {{"base", 8192}}, {{0, 3}}}};
	static int fds[] = {{5, -3, 7}}, rows[][3] = {{{{1, 2, 3}}, {{4, -5, 6}}}};
	static cell cells[] = {{{{1, 2, 3}}, {{4, 5, -6}}}};
	static struct part grid[][2] = {{{{{{0, 1}}, {{0, 2}}}}, {{{{0, 3}}, {{0, 4}}}}}};
	static struct holder holders[] = {{{{vec, rows, cells, grid}}, {{vec + 1, rows, cells, grid}}}};
	static struct holder *far[] = {{0, holders}};
	volatile char touched = *argv[0] + *(char *)vec[1].base; /* a page that nobody has looked at is not there */
	f(vec, argv, fds, holders, far, (struct by_value){{fds, vec}});
	f(0, 0, 0, 0, 0, (struct by_value){{0, 0}});
	return 0;
}}
"""
ARGS = """
      - {vec: {field: "[1].size", as: size}}
      - {vec: {field: "[1].base", string: 8, as: base}}
      - {vec: {field: "[2]", as: part}}
      - {vec: {field: "[1]", bytes: {size: 16}, as: memory}}
      - {argv: {field: "[1]", string: 4, as: cut}}
      - {argv: {field: "[0]", string: 16, as: zero}}
      - {argv: {field: "[2]", as: none}}
      - {argv: {field: "[1][2]", format: char, as: letter}}
      - {fds: {field: "[1]", as: fd}}
      - {fds: {field: "[0]", as: fd_0}}
      - {holder: {field: "[1].parts[1].size", as: middle}}
      - {holder: {field: "rows[1][1]", as: cell_of_row}}
      - {holder: {field: "rows[1]", as: row}}
      - {holder: {field: "cells[1].high", as: high}}
      - {holder: {field: "cells[1]", as: cell}}
      - {holder: {field: "grid[1][1].size", as: of_grid}}
      - {far: {field: "[1]->parts[1].size", as: far}}
      - {far: {field: "[1][1].parts->size", as: farther}}
      - {far: {field: "[1]", deref: true, as: whole}}
      - {far: {field: "[0]->parts", as: nowhere}}
      - {own: {field: "numbers[2]", as: number}}
      - {own: {field: "parts[1].size", as: own_size}}
"""


@pytest.mark.parametrize("source", ["header", "dwarf"])
@pytest.mark.parametrize("kind", ["uprobe", "uretprobe"])
def test_in_a_process(source: str, kind: str, tmp_path: Path) -> None:
    import specc

    (tmp_path / "e.h").write_text(HEADER)
    (tmp_path / "f.h").write_text(DECLARED)
    flags = ("-O1", "-g") if source == "dwarf" else ("-O1",)
    path = compile_c(tmp_path / "program", CALLED, MAIN, flags=(*flags, f"-I{tmp_path}"))
    headers = "headers: [e.h, f.h]\n" if source == "header" else ""
    spec = tmp_path / "elements.yaml"
    where = {
        "yes": 'vec[1].size > 4096 && fds[1] == -3 && argv[0] == "zero" && own.numbers[2] == 7',
        "no": "vec[0].size > 4096 || fds[2] == -3 || argv[2] != NULL || holder->cells[1].low != 5",
    }
    tests = "".join(
        f"  - name: {name}\n    {kind}: {{path: {path}, symbol: f}}\n    args: []\n    where: '{text}'\n"
        for name, text in where.items()
    )
    spec.write_text(
        f"specc: 1\nname: elements\nfields: []\n{headers}probes:\n  - name: p\n"
        f"    {kind}: {{path: {path}, symbol: f}}\n    args:{ARGS}{tests}"
    )
    with specc.open(spec) as probe:
        subprocess.run([path], check=True, timeout=60)
        probe._session.detach()
        events = [probe._decoder.decode(r) for batch in probe._session.poll(0) for r in batch]
    assert [e["probe"] for e in events if e["probe"] != "p"] == ["yes"]
    first, second = (e for e in events if e["probe"] == "p")
    base, whole = first["memory"], first["whole"]
    assert whole.keys() == {"parts", "rows", "cells", "grid"} and whole["parts"] > 0xFFFF
    assert int.from_bytes(bytes.fromhex(base)[:8], "little") > 0xFFFF
    assert {k: v for k, v in first.items() if k not in ("memory", "whole")} == {
        "probe": "p", "size": 8192, "base": "base", "part": {"base": 0, "size": 3}, "cut": "fir", "cut_truncated": True,
        "zero": "zero", "none": 0, "letter": ord("r"), "fd": -3, "fd_0": 5, "middle": 3, "cell_of_row": -5,
        "row": [4, -5, 6], "of_grid": 4, "high": -6, "cell": {"id": 4, "low": 5, "high": -6}, "far": 8192, "farther": 8192,
        "nowhere": None, "nowhere_error": "EFAULT", "number": 7, "own_size": 8192,
    }  # fmt: skip
    assert bytes.fromhex(base)[8:] == struct.pack("<Q", 8192)
    for name in first:
        if name != "probe" and not name.endswith(("_error", "_truncated")):
            assert (second[name], second[f"{name}_error"]) == (None, "EFAULT"), name


# --- kernels that are made up -----------------------------------------------------------------------------------------

SAME = "struct pair { short a; long b; }; "
HERE = (
    SAME + "typedef struct { int id; unsigned low : 3; signed high : 5; } cell; struct part { long size; }; "
    "struct s0 { long first; cell *cells; struct part *parts; int *ints; struct pair *pairs; struct part **far; "
    "struct part *own[3]; long gone; };\n"
)
THERE = (
    SAME + "typedef struct { char added[19]; signed high : 5; unsigned : 7, low : 3; int id; } cell; "  # 28 bytes
    "struct part { char added[40]; long size; int more; }; "  # 56 bytes
    "struct s0 { struct part *own[3]; struct part **far; struct pair *pairs; int *ints; struct part *parts; cell *cells; "
    "long first; };\n"  # 72 bytes
)
SPEC = """specc: 1
name: nest
fields: []
probes:
  - name: p0
    fentry: f0
    args:
      - {o: {field: "[2].first", as: first}}
      - {o: {field: "[1].cells[2].id", as: id}}
      - {o: {field: "[1].cells[2].low", as: low}}
      - {o: {field: "cells[1].high", as: high}}
      - {o: {field: "parts[3].size", as: size}}
      - {o: {field: "ints[3]", as: number}}
      - {o: {field: "pairs[1]", as: pair}}
      - {o: {field: "pairs[1]", bytes: {size: 2}, as: memory}}
      - {o: {field: "far[1]->size", as: far}}
      - {o: {field: "far[1][2].size", as: farther}}
      - {o: {field: "own[2][1].size", optional: true, as: own}}
      - {o: {field: "[1].gone", optional: true, as: gone}}
  - name: p1
    fentry: f0
    args: [{o: {field: first}}]
    where: o[1].cells[2].low == 5 && o->ints[3] == -9 && o->far[1][2].size > 1 && o[2].first == 77
"""
WANTED = {
    "first": 77, "id": -123456, "low": 5, "high": -6, "size": 1 << 40, "number": -9, "pair": {"a": -300, "b": 1 << 50},
    "memory": "d4fe", "far": 11, "farther": 22, "own": 33, "gone": None,
}  # fmt: skip
LATER_CLANG = shutil.which("clang-19")


def kernel(path: Path, text: str) -> Path:
    declared = "int f0(struct s0 *o);\nstruct s0 whole0; cell whole1; struct part whole2; struct pair whole3;\n"
    path.write_bytes(compile_btf(text + declared, {"f0": ["o"]}, 0))
    return path


def objects(at: int) -> bytes:
    """What lies at the address `at` in a kernel with the records of THERE."""
    cells, parts, ints, pairs, far, own = (at + 0x1000 * n for n in range(1, 7))
    arena = bytearray(ARENA)

    def put(place: int, layout: str, *values: int) -> None:
        struct.pack_into(f"<{layout}", arena, place - at, *values)

    roots = (
        (0, 0, own, far, pairs, ints, parts, cells, 55),
        (0, 0, 0, 0, 0, 0, 0, cells, 66),
        (0, 0, 0, 0, 0, 0, 0, 0, 77),
    )
    for number, root in enumerate(roots):
        put(at + 72 * number, "9Q", *root)
    put(cells + 28 + 19, "B", -6 & 0x1F)
    put(cells + 2 * 28 + 20, "Hxxi", 5 << 7, -123456)
    put(parts + 3 * 56 + 40, "q", 1 << 40)
    put(ints, "4i", 1, 2, 3, -9)
    put(pairs + 16, "hxxxxxxq", -300, 1 << 50)
    put(far, "2Q", 0, far + 0x100)
    put(far + 0x100 + 40, "q", 11)
    put(far + 0x100 + 2 * 56 + 40, "q", 22)
    put(own + 56 + 40, "q", 33)
    return bytes(arena)


def seen(compiler: str, folder: Path, there: str) -> list[dict[str, Any] | None]:
    """The events in a kernel with these records; None where the condition was false."""
    (folder / "nest.yaml").write_text(SPEC)
    report = Report()
    here = kernel(folder / "here.btf", HERE)
    program = front(folder / "nest.yaml", Session(find_compiler, btf_files=(here,)), report)
    assert program is not None, render(report.diagnostics, "full", Sources())
    made = compile_object(harness(emit_all(program).c_text, 2, [0, 0]), "nest", find_compiler(compiler))
    decoder = Decoder(description_of(made))
    events: list[dict[str, Any] | None] = []
    with Library() as library, Relocated(library, made, kernel(folder / "there.btf", there)) as loaded:
        loaded.load()
        maps = {name.partition(".")[2]: fd for name, fd in loaded.maps.items() if "data." in name}
        run(loaded.programs["where"])
        library.update(
            maps["data.arena"], 0, objects(int.from_bytes(library.lookup(maps["data.where"], 0, 8), "little"))
        )
        for number in range(2):
            library.update(maps["data.result"], 0, bytes(ROOM))
            run(loaded.programs[f"run{number}"])
            size = program.probes[number].event.size
            made_of = library.lookup(maps["data.result"], 0, ROOM)[:size]
            events.append(decoder.decode(made_of) if any(made_of) else None)
    return events


@pytest.mark.skipif(clang() is None, reason="no clang with a BPF target")
@pytest.mark.parametrize("compiler", ["clang", "zig", *([LATER_CLANG] if LATER_CLANG is not None else [])])
def test_longer_elements(compiler: str, tmp_path: Path) -> None:
    event, tested = seen(compiler, tmp_path, THERE)
    assert event == {"probe": "p0", **WANTED}
    assert tested == {"probe": "p1", "o": 55}


@pytest.mark.skipif(clang() is None, reason="no clang with a BPF target")
@pytest.mark.parametrize("compiler", ["clang", "zig"])
def test_elements_that_changed(compiler: str, tmp_path: Path) -> None:
    """A struct that is read whole, or a member of another size, at an element as anywhere else."""
    there = THERE.replace("struct pair { short a; long b; }", "struct pair { short a; long b, c; }")
    there = there.replace("long size; int more;", "int size; long more;")
    event, tested = seen(compiler, tmp_path, there)
    assert event is not None and tested is None
    assert event["memory"] is not None and event["first"] == 77
    for name in ("pair", "size", "far", "farther", "own"):
        assert (event[name], event[f"{name}_error"]) == (None, "EOVERFLOW"), name

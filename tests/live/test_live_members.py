"""Members of structs that are passed and returned by value, and what C says they are: taken out of registers and stack slots."""

from __future__ import annotations

import json
import os
import random
import re
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
from .nests import RUNTIME
from .test_live_relocated import run as run_program
from .test_live_run import events, finish, started

SEED = int(os.environ["SPECC_SEED"])
FUNCTIONS = 60

pytestmark = live

HEADER = """
struct inner { short s; unsigned char b; };
struct pt { int a; unsigned x:3; signed y:5; unsigned z:24; const char *name; };
struct big { long v[2]; struct inner in; int last; struct pt *next; };
struct small { char c; short h; float f; };
struct odd { unsigned char c, v[9]; short t[2]; };
struct mac { unsigned char bytes[6]; char text[2]; };
struct held { char tag[5]; unsigned char cells[3][7]; struct { short a; long b; } pair; int n[3]; };
long with_arrays(struct odd o, struct mac m, long n, struct held h, struct odd late);
struct odd give_odd(long n);
long in_struct(struct pt p, int n, struct big g, struct small q, struct pt late, struct small tail);
struct pt give(long n);
struct wide { long n; struct inner in; struct pt pt; char text[8]; short v[3]; };
struct wide give_wide(long n, int m);
"""
SOURCE = """
#include "known.h"
#include <string.h>
static const char *volatile hello = "hello", *volatile given = "given";
__attribute__((noinline, noipa)) long in_struct(struct pt p, int n, struct big g, struct small q, struct pt late, struct small tail) { __asm__ volatile("" ::: "memory"); return n; }
__attribute__((noinline, noipa)) long with_arrays(struct odd o, struct mac m, long n, struct held h, struct odd late) { __asm__ volatile("" ::: "memory"); return n; }
__attribute__((noinline, noipa)) struct odd give_odd(long n) { return (struct odd){n, {9, 8, 7, 6, 5, 4, 3, 2, 1}, {-n, 300}}; }
__attribute__((noinline, noipa)) struct pt give(long n) { return (struct pt){n, 5, -7, 0xabcdef, given}; }
__attribute__((noinline, noipa)) struct wide give_wide(long n, int m) {
	return (struct wide){n, {m, 201}, {m, 5, -7, 0xabcdef, given}, "in mem", {1, 2, -m}};
}
int main(void) {
	volatile char touched = *hello + *given;
	struct pt p = {-5, 6, -16, 0x123456, hello}, late = {77, 1, 15, 1, hello};
	struct big g = {{1, 2}, {-3, 200}, -99, &late};
	struct small q = {'q', -2, 1.5}, tail = {'t', 300, -0.25};
	struct odd odd = {1, {2, 3, 4, 5, 6, 7, 8, 9, 255}, {-2, 1000}}, last = {0, {11, 12, 13, 14, 15, 16, 17, 18, 19}, {-1, 1}};
	struct held held;
	memset(&held, 0xff, sizeof(held));
	memcpy(held.tag, "abcd", 5); held.pair.a = -7; held.pair.b = 1L << 40; held.n[0] = 5; held.n[1] = -6; held.n[2] = 7;
	for (int i = 0; i < 21; i++) held.cells[i / 7][i % 7] = i;
	with_arrays(odd, (struct mac){{1, 2, 3, 0xaa, 0xbb, 0xcc}, "xy"}, 3, held, last); give_odd(5);
	for (int i = 0; i < 3; i++) { in_struct(p, i, g, q, late, tail); give(i - 1); give_wide(i - 1, 30 + i); }
	return 0;
}
"""
SPEC = """
specc: 1
name: known
fields: []
HEADERSprobes:
  - name: in
    uprobe: {path: PROGRAM, symbol: in_struct}
    args:
      - p: {field: a, as: a}
      - p: {field: x, as: x}
      - p: {field: y, as: y}
      - p: {field: z, as: z, format: hex}
      - p: {field: name, string: 8, as: name}
      - g: {field: "v[1]", as: v1}
      - g: {field: in.s, as: s}
      - g: {field: in.b, as: b}
      - g: {field: last, as: last}
      - g: {field: next->name, string: 8, as: next_name}
      - g: {field: next->y, as: next_y}
      - q: {field: c, as: c}
      - q: {field: h, as: h}
      - late: {field: a, as: late_a}
      - late: {field: y, as: late_y}
      - tail: {field: h, as: tail_h}
      - n
    where: p.y < 0 && p.x - 7 < 0 && g.last == -99 && g.next->a == 77 && late.y == 15 && startswith(p.name, "hel") && q.h + 2 == 0
  - name: none
    uprobe: {path: PROGRAM, symbol: in_struct}
    args: [n]
    where: p.y > 0 || p.x == 5 || late.y < 0 || p.name == "hell"
  - name: out
    uretprobe: {path: PROGRAM, symbol: in_struct}
    args: [{p: {field: y, as: y}}, {g: {field: next->a, as: next_a}}, {tail: {field: h, as: h}}, {p: {field: name, string: 4, as: name}}, n]
    where: p.z == 0x123456 && g.in.b > 199 && n != 1
  - name: give
    uretprobe: {path: PROGRAM, symbol: give}
    args: [{return: {field: a, as: a}}, {return: {field: y, as: y}}, {return: {field: z, as: z}}, {return: {field: name, string: 8, as: name}}]
    where: return.a >= 0 && return.y == -7
  - name: wide   # rax has the address of what is returned
    uretprobe: {path: PROGRAM, symbol: give_wide}
    args:
      - return: {field: n, as: n}
      - return: {field: in.s, as: s}
      - return: {field: in, as: in}
      - return: {field: pt.y, as: y}
      - return: {field: pt.name, string: 8, as: name}
      - return: {field: text, as: text}
      - return: {field: "v[2]", as: v2}
      - return: {field: text, bytes: {size: m, max: 4}, as: bytes}
      - m
    where: return.n >= 0 && return->pt.y == -7 && return.text == "in mem" && m > 0
"""
ARRAYS = """  - name: arrays
    KIND: {path: PROGRAM, symbol: with_arrays}
    args:
      - o: {field: v, as: v}
      - o: {field: t, as: t}
      - o: {field: "v[8]", as: v8}
      - m: {field: bytes, as: mac}
      - m: {field: text, as: text}
      - h: {field: tag, as: tag}
      - h: {field: cells, as: cells}
      - h: {field: "cells[1]", as: row}
      - h: {field: pair, as: pair}
      - h: {field: n, as: numbers}
      - late: {field: v, as: late}
      - late: {field: t, as: late_t}
"""
GIVEN = """  - name: odd
    uretprobe: {path: PROGRAM, symbol: give_odd}
    args: [{return: {field: v, as: v}}, {return: {field: t, as: t}}, {return: {field: "v[3]", as: v3}}]
"""
IN_ARRAYS = {
    "v": [2, 3, 4, 5, 6, 7, 8, 9, 255], "t": [-2, 1000], "v8": 255, "mac": [1, 2, 3, 0xAA, 0xBB, 0xCC], "text": "xy", "tag": "abcd",
    "cells": [[*range(7)], [*range(7, 14)], [*range(14, 21)]], "row": [*range(7, 14)], "pair": {"a": -7, "b": 1 << 40},
    "numbers": [5, -6, 7], "late": [*range(11, 20)], "late_t": [-1, 1],
}  # fmt: skip
WHOLE = {
    "a": -5, "x": 6, "y": -16, "z": 0x123456, "name": "hello", "v1": 2, "s": -3, "b": 200, "last": -99,
    "next_name": "hello", "next_y": 15, "c": ord("q"), "h": -2, "late_a": 77, "late_y": 15, "tail_h": 300,
}  # fmt: skip


@pytest.mark.parametrize("source", ["header", "dwarf"])
@pytest.mark.parametrize("compiler", ["clang", "zig"])
def test_known_members(tmp_path: Path, source: str, compiler: str) -> None:
    """The float in `struct small` makes its eightbyte INTEGER all the same, since a short is beside it (psABI 3.2.3)."""
    (tmp_path / "known.h").write_text(HEADER)
    target = compile_c(tmp_path / "target", SOURCE, flags=("-O1", "-g", f"-I{tmp_path}"))
    spec = tmp_path / "known.yaml"
    headers = "headers: [known.h]\n" if source == "header" else ""
    spec.write_text(SPEC.replace("HEADERS", headers).replace("PROGRAM", str(target)))
    with started(spec, "--format", "jsonl", "--compiler", compiler, cwd=tmp_path) as run:
        subprocess.run([target], check=True)
        run.send_signal(2)
        done = finish(run)
    found: dict[str, list[dict[str, Any]]] = {}
    for event in events(done):
        found.setdefault(str(event.pop("probe")), []).append(event)
    assert found == {
        "in": [{**WHOLE, "n": n} for n in range(3)],
        "out": [{"y": -16, "next_a": 77, "h": 300, "name": "hel", "name_truncated": True, "n": n} for n in (0, 2)],
        "give": [{"a": n, "y": -7, "z": 0xABCDEF, "name": "given"} for n in (0, 1)],
        "wide": [
            {"n": n, "s": 31 + n, "in": {"s": 31 + n, "b": 201}, "y": -7, "name": "given", "text": "in mem", "v2": -31 - n,
             "bytes": b"in m".hex(), "bytes_truncated": True, "m": 31 + n}
            for n in (0, 1)
        ],
    }  # fmt: skip


@pytest.mark.parametrize("source", ["header", "dwarf"])
@pytest.mark.parametrize("kind", ["uprobe", "uretprobe"])
def test_known_arrays(tmp_path: Path, source: str, kind: str) -> None:
    """Whole, from any byte of registers and of stack slots; `n` is not wanted, and what lies between is in no event."""
    (tmp_path / "known.h").write_text(HEADER)
    target = compile_c(tmp_path / "target", SOURCE, flags=("-O1", "-g", f"-I{tmp_path}"))
    spec = tmp_path / "known.yaml"
    headers = "headers: [known.h]\n" if source == "header" else ""
    text = f"specc: 1\nname: known\nfields: []\n{headers}probes:\n{ARRAYS.replace('KIND', kind)}{GIVEN}"
    spec.write_text(text.replace("PROGRAM", str(target)))
    with started(spec, "--format", "jsonl", cwd=tmp_path) as run:
        subprocess.run([target], check=True)
        run.send_signal(2)
        done = finish(run)
    assert list(events(done)) == [
        {"probe": "arrays", **IN_ARRAYS},
        {"probe": "odd", "v": [9, 8, 7, 6, 5, 4, 3, 2, 1], "t": [-5, 300], "v3": 6},
    ]


TYPES = {
    "signed char": 8, "unsigned char": 8, "short": 16, "unsigned short": 16, "int": 32, "unsigned int": 32, "long": 64,
    "unsigned long": 64, "_Bool": 8,
}  # fmt: skip


def random_struct(rng: random.Random, name: str) -> tuple[str, list[str]]:
    """A struct with integers, bit-fields, an array and another struct in it; and paths to its integers."""
    lines: list[str] = []
    paths: list[str] = []
    inner: list[str] = []
    for number in range(rng.randint(1, 6)):
        ctype = rng.choice(list(TYPES))
        match rng.randrange(6):
            case 0 if ctype != "_Bool":
                lines.append(f"{ctype} m{number}:{rng.randint(1, TYPES[ctype])};")
                paths.append(f"m{number}")
            case 1:
                count = rng.randint(1, 3)
                lines.append(f"{ctype} m{number}[{count}];")
                paths.append(f"m{number}[{rng.randrange(count)}]")
            case 2:
                inner.append(f"struct {name}_{number} {{ {ctype} a; short b; }};")
                lines.append(f"struct {name}_{number} m{number};")
                paths += [f"m{number}.a", f"m{number}.b"]
            case 3:
                lines.append(f"union {{ {ctype} m{number}; unsigned int u{number}; }};")
                paths += [f"m{number}", f"u{number}"]
            case _:
                lines.append(f"{ctype} m{number};")
                paths.append(f"m{number}")
    rng.shuffle(paths)
    return f"{' '.join(inner)} struct {name} {{ {' '.join(lines)} }};\n", paths[:8]


@pytest.mark.parametrize("source", ["header", "dwarf"])
def test_random_members(tmp_path: Path, source: str) -> None:
    """Structs of every size, behind so many other arguments that they are in registers, half of them, or on the stack; all of
    their bytes are random, those of padding too."""
    rng = random.Random(SEED + (source == "dwarf"))
    header, callees, calls, probes = "", "", "", ""
    for n in range(FUNCTIONS):
        declaration, paths = random_struct(rng, f"s{n}")
        before = rng.randint(0, 6)
        longs = "".join(f"long p{i}, " for i in range(before))
        header += f"{declaration}void f{n}({longs}struct s{n} v, int after);\n"
        callees += f'void f{n}({longs}struct s{n} v, int after) {{ asm volatile("" : : "r"(&v) : "memory"); }}\n'
        told = ", ".join(f'\\"a{i}\\": %lld' for i in range(len(paths)))
        values = "".join(f", (long long)v.{path}" for path in paths)
        # What a _Bool holds is 0 or 1, whatever else is in its byte would be no value of C.
        calls += f"\t{{ struct s{n} v; fill(&v, sizeof(v)); {_true_bools(declaration, paths)}"
        calls += f'printf("{{\\"probe\\": \\"f{n}\\", {told}}}\\n"{values}); f{n}({"1, " * before}v, 7); }}\n'
        args = ", ".join(f'{{v: {{field: "{path}", as: a{i}}}}}' for i, path in enumerate(paths))
        kind = rng.choice(["uprobe", "uretprobe"])
        probes += f"  - {{name: f{n}, {kind}: {{path: {tmp_path}/target, symbol: f{n}}}, args: [{args}]}}\n"
    (tmp_path / "types.h").write_text(header)
    main = (
        '#include <stdio.h>\n#include "types.h"\nstatic unsigned long state = 88172645463325252;\n'
        "static void fill(void *to, int size) { for (unsigned char *p = to; size--; p++) { state ^= state << 13; state ^= state >> 7;"
        " state ^= state << 17; *p = state; } }\n"
        f"int main(void) {{\n{calls}\treturn 0;\n}}\n"
    )
    include = '#include "types.h"\n'
    target = compile_c(tmp_path / "target", f"{include}{callees}", main, flags=("-O0", "-g", f"-I{tmp_path}"))
    spec = tmp_path / "members.yaml"
    headers = "headers: [types.h]\n" if source == "header" else ""
    spec.write_text(f"specc: 1\nname: members\nfields: []\n{headers}probes:\n{probes}")
    with started(spec, "--format", "jsonl", cwd=tmp_path) as run:
        wanted = subprocess.run([target], check=True, capture_output=True, text=True).stdout
        run.send_signal(2)
        done = finish(run)
    got = {str(e["probe"]): e for e in events(done)}
    assert len(got) == FUNCTIONS, done.err
    for line in wanted.splitlines():
        one = json.loads(line)
        assert {k: int(v) if isinstance(v, bool) else v for k, v in got[one["probe"]].items()} == {
            k: _as_declared(v, got[one["probe"]][k]) for k, v in one.items()
        }, line


def _true_bools(declaration: str, paths: list[str]) -> str:
    """C that makes each _Bool among the paths one that C could have stored."""
    return "".join(f"v.{path} = *(unsigned char *)&v.{path} & 1; " for path in paths if _is_bool(declaration, path))


def _is_bool(declaration: str, path: str) -> bool:
    name = path.split("[")[0]
    if path.endswith(".a"):
        return "_Bool a; short b; }; " in declaration and f"_{name.split('.')[0][1:]} {{ _Bool a;" in declaration
    return f"_Bool {name};" in declaration or f"_Bool {name}[" in declaration


def _as_declared(value: Any, got: Any) -> Any:
    """printf's %lld shows an unsigned long of 63 bits and more as negative."""
    return (
        value + (1 << 64) if isinstance(value, int) and value < 0 and isinstance(got, int) and got >= 1 << 63 else value
    )


def array_struct(rng: random.Random, name: str) -> tuple[str, list[tuple[str, int]]]:
    """A struct of numbers and arrays, and the arrays with their lengths."""
    lines: list[str] = []
    arrays: list[tuple[str, int]] = []
    for number in range(rng.randint(1, 4)):
        ctype = rng.choice([t for t in TYPES if t != "_Bool"])
        if rng.random() < 0.6 or not number:
            count = rng.randint(1, rng.choice([3, 9]))
            lines.append(f"{ctype} m{number}[{count}];")
            arrays.append((f"m{number}", count))
        else:
            lines.append(f"{ctype} m{number};")
    rng.shuffle(lines)
    return f"struct {name} {{ {' '.join(lines)} }};\n", arrays


@pytest.mark.parametrize("source", ["header", "dwarf"])
def test_random_arrays(tmp_path: Path, source: str) -> None:
    """As above, of arrays whole: at any byte of one register or two, of stack slots, and of larger structs."""
    rng = random.Random(f"{SEED} arrays {source}")
    header, callees, calls, probes = "", "", "", ""
    for n in range(FUNCTIONS):
        declaration, arrays = array_struct(rng, f"s{n}")
        before = rng.randint(0, 6)
        longs = "".join(f"long p{i}, " for i in range(before))
        header += f"{declaration}void f{n}({longs}struct s{n} v, int after);\n"
        callees += f'void f{n}({longs}struct s{n} v, int after) {{ asm volatile("" : : "r"(&v) : "memory"); }}\n'
        told = " ".join(f'printf(", \\"a{i}\\": "); list(v.{a}[i], {count});' for i, (a, count) in enumerate(arrays))
        calls += f'\t{{ struct s{n} v; fill_bytes(&v, sizeof(v)); printf("{{\\"probe\\": \\"f{n}\\""); {told} printf("}}\\n"); '
        calls += f"f{n}({'1, ' * before}v, 7); }}\n"
        args = ", ".join(f"{{v: {{field: {a}, as: a{i}}}}}" for i, (a, _) in enumerate(arrays))
        kind = rng.choice(["uprobe", "uretprobe"])
        probes += f"  - {{name: f{n}, {kind}: {{path: {tmp_path}/target, symbol: f{n}}}, args: [{args}]}}\n"
    (tmp_path / "types.h").write_text(header)
    main = f'{RUNTIME}#include "types.h"\nint main(void)\n{{\n\tstate = {SEED};\n{calls}\treturn 0;\n}}\n'
    target = compile_c(
        tmp_path / "target", f'#include "types.h"\n{callees}', main, flags=("-O0", "-g", f"-I{tmp_path}")
    )
    spec = tmp_path / "arrays.yaml"
    headers = "headers: [types.h]\n" if source == "header" else ""
    spec.write_text(f"specc: 1\nname: arrays\nfields: []\n{headers}probes:\n{probes}")
    with started(spec, "--format", "jsonl", cwd=tmp_path) as run:
        wanted = subprocess.run([target], check=True, capture_output=True, text=True).stdout
        run.send_signal(2)
        done = finish(run)
    got = {str(e["probe"]): e for e in events(done)}
    assert len(got) == FUNCTIONS, done.err
    for line in wanted.splitlines():
        one = json.loads(line)
        assert got[one["probe"]] == one, line


# --- kernels that are made up -----------------------------------------------------------------------------------------

IN_KERNEL = """struct odd { unsigned char c, v[9]; short t[2]; };
struct held { char tag[5]; unsigned char cells[7]; struct { short a; long b; } pair; int n[3]; };
"""
PLACES = {
    "registers": "long f0(struct odd o, struct held h);",
    "stack": "long f0(long a, long b, long c, long d, long e, struct odd o, long last, struct held h);",
}
ODD = struct.pack("<B9B2h", 1, 2, 3, 4, 5, 6, 7, 8, 9, 255, -2, 1000) + b"\xee\xee"
HELD = struct.pack("<5s7B4sh6sq3i4s", b"abcd", *range(7), b"\xee" * 4, -7, b"\xee" * 6, 1 << 40, 5, -6, 7, b"\xee" * 4)
MOVING = """specc: 1
name: nest
fields: []
probes:
  - name: p0
    KIND: f0
    args: [ODDHELD]
"""
OF_ODD = '{o: {field: v, as: v}}, {o: {field: t, as: t}}, {o: {field: "v[8]", as: v8}}'
OF_HELD = (
    ", {h: {field: tag, as: tag}}, {h: {field: cells, as: cells}}, {h: {field: pair, as: pair}}, {h: {field: n, as: n}}"
)


@pytest.mark.skipif(clang() is None, reason="no clang with a BPF target")
@pytest.mark.parametrize("compiler", ["clang", "zig"])
@pytest.mark.parametrize("place", ["registers", "stack", "context"])
def test_arrays_of_several_kernels(place: str, compiler: str, tmp_path: Path) -> None:
    """One object for kernels that have the struct elsewhere: its places are constants, those of the first target."""
    by_words = place == "context"
    first, other = ("registers", "stack") if place == "registers" else ("stack", "registers")
    declared = dict(PLACES)
    if by_words:  # a trampoline takes no struct of more than 16 bytes
        declared = {"registers": "long f0(struct odd o);", "stack": "long f0(long a, long b, struct odd o);"}
    targets = []
    for name, which in (("6.12", first), ("6.1", other)):
        names = [p.rpartition(" ")[2] for p in declared[which].partition("(")[2].rstrip(");").split(",")]
        btf = compile_btf(f"{IN_KERNEL}{declared[which]} struct odd w0; struct held w1;", {"f0": names}, 0)
        (tmp_path / f"{name}.btf").write_bytes(btf)
        targets.append(tmp_path / f"{name}.btf")
    spec = tmp_path / "nest.yaml"
    text = MOVING.replace("KIND", "fentry" if by_words else "kprobe").replace("ODD", OF_ODD)
    spec.write_text(text.replace("HELD", "" if by_words else OF_HELD))
    report = Report()
    program = front(spec, Session(find_compiler, btf_files=tuple(targets)), report)
    assert program is not None, render(report.diagnostics, "full", Sources())
    low, high = (int.from_bytes(ODD[i : i + 8], "little") for i in (0, 8))
    stack = bytes(8) + (ODD if place == "stack" else b"") + HELD
    handed = (
        f"{{.di = {low:#x}, .si = {high:#x}, .sp = (__u64)arena}}" if place == "registers" else "{.sp = (__u64)arena}"
    )
    text = re.sub(
        r'SEC\("(fentry|kprobe)/f0"\)\nint (\w+)\(', r"static __always_inline int \2(", emit_all(program).c_text
    )
    text = text.replace("e = bpf_ringbuf_reserve(&nest_events, sizeof(*e), 0);", "e = (void *)result;")
    text = text.replace("bpf_ringbuf_submit(e, 0);", "")
    maps = 'char arena[512] SEC(".data.arena") = {1}, result[512] SEC(".data.result") = {1};\n'
    text = text.replace("struct nest_p0_event {", f"{maps}struct nest_p0_event {{", 1)
    context = f"__u64 regs[13] = {{0, 0, {low:#x}, {high:#x}}}" if by_words else f"struct pt_regs regs = {handed}"
    text += f'SEC("raw_tracepoint/r") int run0(void *ctx)\n{{\n\t{context};\n\treturn nest_p0({"regs" if by_words else "&regs"});\n}}\n'
    made = compile_object(text, "nest", find_compiler(compiler))
    with Library() as library, library.open(made, "nest") as loaded:
        loaded.load()
        data = {name.partition(".")[2]: fd for name, fd in loaded.maps.items() if "data." in name}
        library.update(data["data.arena"], 0, stack.ljust(512, b"\xee"))
        run_program(loaded.programs["run0"])
        size = program.probes[0].event.size
        event = Decoder(description_of(made)).decode(library.lookup(data["data.result"], 0, 512)[:size])
    wanted: dict[str, Any] = {"probe": "p0", "v": [2, 3, 4, 5, 6, 7, 8, 9, 255], "t": [-2, 1000], "v8": 255}
    if not by_words:
        wanted |= {"tag": "abcd", "cells": [*range(7)], "pair": {"a": -7, "b": 1 << 40}, "n": [5, -6, 7]}
    assert event == wanted

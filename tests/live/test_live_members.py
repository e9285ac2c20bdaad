"""Members of structs that are passed and returned by value, and what C says they are: taken out of registers and stack slots."""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .build import compile_c, live
from .test_live_run import events, finish, started

SEED = int(os.environ["SPECC_SEED"])
FUNCTIONS = 60

pytestmark = live

HEADER = """
struct inner { short s; unsigned char b; };
struct pt { int a; unsigned x:3; signed y:5; unsigned z:24; const char *name; };
struct big { long v[2]; struct inner in; int last; struct pt *next; };
struct small { char c; short h; float f; };
long in_struct(struct pt p, int n, struct big g, struct small q, struct pt late, struct small tail);
struct pt give(long n);
struct wide { long n; struct inner in; struct pt pt; char text[8]; short v[3]; };
struct wide give_wide(long n, int m);
"""
SOURCE = """
#include "known.h"
static const char *volatile hello = "hello", *volatile given = "given";
__attribute__((noinline, noipa)) long in_struct(struct pt p, int n, struct big g, struct small q, struct pt late, struct small tail) { __asm__ volatile("" ::: "memory"); return n; }
__attribute__((noinline, noipa)) struct pt give(long n) { return (struct pt){n, 5, -7, 0xabcdef, given}; }
__attribute__((noinline, noipa)) struct wide give_wide(long n, int m) {
	return (struct wide){n, {m, 201}, {m, 5, -7, 0xabcdef, given}, "in mem", {1, 2, -m}};
}
int main(void) {
	volatile char touched = *hello + *given;
	struct pt p = {-5, 6, -16, 0x123456, hello}, late = {77, 1, 15, 1, hello};
	struct big g = {{1, 2}, {-3, 200}, -99, &late};
	struct small q = {'q', -2, 1.5}, tail = {'t', 300, -0.25};
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

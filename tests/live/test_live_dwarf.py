"""Optimised programs and their own debug information: every value that a probe records is what was passed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command import specc

from specc.diagnostics import Stop
from specc.dwarf import open_dwarf
from specc.dwarf.judge import Subprogram
from specc.elf import STT_FUNC, read_elf, symbols

from .build import live
from .changed import MEMBERS, RUNTIME, Function, header, source, told

SEED = int(os.environ["SPECC_SEED"])
FUNCTIONS = 48

GCC = [("gcc", level) for level in ("-O1", "-O2", "-O3", "-Os")]
CLANG = [(c, level) for c in ("clang-14", "clang-19", "clang") for level in ("-O1", "-O2", "-O3")]
MATRIX = [(c, level) for c, level in (*GCC, *CLANG) if shutil.which(c)]
MATRIX = [m for i, m in enumerate(MATRIX) if os.path.realpath(shutil.which(m[0]) or "") not in
          {os.path.realpath(shutil.which(c) or "") for c, level in MATRIX[:i] if level == m[1]}]  # fmt: skip
# Debug information without what makes entries certain, link-time optimisation, and none at all.
ODD = [("gcc", "-O2 -gno-variable-location-views"), ("gcc", "-O2 -gdwarf-4 -gstrict-dwarf"), ("gcc", "-O2 -fno-var-tracking"),
       ("gcc", "-O2 -gdwarf-4"), ("gcc", "-O2 -flto -fuse-linker-plugin"), ("gcc", "-O0"), ("clang-14", "-O2 -gdwarf-4"),
       ("clang-19", "-O0"), ("clang-14", "-O0"), ("clang-19", "-Os -fPIC -pie"), ("clang-19", "-Og")]  # fmt: skip


def compiled(folder: Path, compiler: str, flags: str, text: str) -> Path:
    (folder / "f.c").write_text(text)
    (folder / "main.c").write_text(RUNTIME)
    command = [compiler, "-g", "-fwrapv", *flags.split(), "-w", "f.c", "main.c", "-o", "program"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "program"


def described(path: Path) -> Iterator[tuple[str, Subprogram]]:
    """Every function of the generated source, its copies too, that can be probed at all."""
    dwarf = open_dwarf(str(path), path.name)
    assert dwarf is not None
    for symbol in symbols(read_elf(path.read_bytes())):
        if symbol.type == STT_FUNC and symbol.name[0] == "f" and symbol.name.partition(".")[0][1:].isdigit():
            try:
                yield symbol.name, dwarf.find(symbol)
            except Stop as problem:
                assert problem.diagnostic.code == "SP271", problem.diagnostic.message


def spec_of(path: Path, found: dict[str, Subprogram], *, declared: bool) -> str:
    headers = ["headers: [f.h]"] if declared else []
    lines = ["specc: 1", "name: changed", *headers, "fields: [tid]", "buffer: {ring: 4MiB}", "probes:"]
    for number, (name, subprogram) in enumerate(found.items()):
        lines += [f"  - name: e{number}", f"    uprobe: {{path: {path}, symbol: {name}}}"]
        if subprogram.placement.result.readable or subprogram.placement.result.memory:
            lines += [f"  - name: r{number}", f"    uretprobe: {{path: {path}, symbol: {name}}}", "    args: [return]"]
    return "\n".join(lines) + "\n"


def recorded(event: dict[str, Any], function: Function) -> dict[str, int]:
    values: dict[str, int] = {}
    for p in function.parameters:
        if p.name in event and p.type in MEMBERS:
            values |= {f"{p.name}.{m}": event[p.name][m] for m in MEMBERS[p.type]}
        elif p.name in event and p.type != "double":
            value = event[p.name]
            values[p.name] = value - (1 << 64) * (value >> 63) if value >= 0 else value  # addresses as C's long
    return values


def check_program(folder: Path, compiler: str, flags: str, seed: int, *, declared: bool = False) -> tuple[int, int]:
    """Runs one program under its probes. How many values were compared, and how many arguments were refused."""
    import specc

    text, functions = source(seed, FUNCTIONS)
    by_name = {f.name: f for f in functions}
    path = compiled(folder, compiler, flags, text)
    found = dict(described(path))
    spec = folder / "changed.yaml"
    spec.write_text(spec_of(path, found, declared=declared))
    (folder / "f.h").write_text(header(functions))
    names = list(found)
    events: list[dict[str, Any]] = []
    with specc.open(spec) as probe:
        subprocess.run([path, folder / "out", str(seed)], check=True, timeout=60)
        probe._session.detach()
        for batch in probe._session.poll(0):
            events += [probe._decoder.decode(record) for record in batch]
        assert (probe.lost, probe.missed) == (0, 0)
    passed = told(folder / "out")
    compared = 0
    for event in events:
        symbol = names[int(event["probe"][1:])]
        function = by_name[symbol.partition(".")[0]]
        what = f"{compiler} {flags} seed {seed}: {symbol}: {function.declaration()}: {event}"
        if event["probe"][0] == "r":
            value = event["return"]
            result = (value,) if function.result == "long" else (value["x"], value["y"], value["z"])
            assert result in passed.results[function.name], what
            compared += 1
            continue
        values = recorded(event, function)
        calls = passed.calls.get(function.name, [])
        assert any(values.items() <= call.items() for call in calls), f"{what}\npassed: {calls}"
        compared += len(values)
    refused = sum(not a.readable for s in found.values() for a in s.placement.arguments)
    return compared, refused


@live
@pytest.mark.parametrize(("compiler", "flags"), MATRIX)
def test_every_recorded_value_was_passed(compiler: str, flags: str, tmp_path: Path) -> None:
    compared, _ = check_program(tmp_path, compiler, flags, SEED)
    assert compared > FUNCTIONS, "so few values that something is refused that was not before"


@live
@pytest.mark.parametrize(("compiler", "flags"), [o for o in ODD if shutil.which(o[0])])
def test_every_recorded_value_of_declared_functions_was_passed(compiler: str, flags: str, tmp_path: Path) -> None:
    compared, _ = check_program(tmp_path, compiler, flags, SEED, declared=True)
    assert compared > FUNCTIONS, "so few values that something is refused that was not before"


BUILDS = """
#define NOINLINE __attribute__((noinline))
volatile long sink;
#ifdef MORE
NOINLINE long taken(int more, long a, long b) { sink = more; return a * b; }
#define CALL taken(1, n, 3)
#else
NOINLINE long taken(long a, long b) { sink = a; return a * b; }
#define CALL taken(n, 3)
#endif
static NOINLINE long moved(void *unused, long a) { sink = a; return a * 3; }
int main(int n, char **v) { return CALL + moved(v, n) + moved(v, sink); }
"""


def built(folder: Path, flags: str, compiler: str = "gcc") -> None:
    (folder / "b.c").write_text(BUILDS)
    command = [compiler, *flags.split(), "-w", "-Wl,--build-id=sha1", "b.c", "-o", "target"]
    subprocess.run(command, cwd=folder, check=True)


@live
@pytest.mark.skipif(shutil.which("gcc") is None, reason="it needs gcc")
@pytest.mark.parametrize(
    ("flags", "symbol", "prototype", "message"),
    [
        ("-g -O1", "taken", "", None),  # the same function in another build
        ("-O1", "taken", "", "is not the file that the places of `taken`'s arguments were read from"),
        ("-g -O1 -DMORE", "taken", "", "`taken` is declared differently in"),
        ("-g -O1 -DMORE", "taken", "long taken(long a, long b)", "`taken` is declared differently in"),
        ("-O1 -DMORE", "taken", "long taken(long a, long b)", None),  # nobody can know
        (
            "clang -g -O2",
            "moved",
            "",
            "cannot be read there: DWARF says that `a` of `moved` is in rdi where the ABI says rsi",
        ),
    ],
)
def test_another_build_of_the_program(
    flags: str, symbol: str, prototype: str, message: str | None, tmp_path: Path
) -> None:
    built(tmp_path, "-g -O1")
    declared = f'\n    prototype: "{prototype}"' if prototype else ""
    (tmp_path / "s.yaml").write_text(
        f"specc: 1\nname: s\nprobes:\n  - name: p\n    uprobe: {{path: {tmp_path}/target, symbol: {symbol}}}{declared}\n    args: [a]\n"
    )
    done = specc("build", "s.yaml", "-o", ".", "--emit", "obj", cwd=tmp_path)
    assert done.code == 0, done.err
    same = specc("run", "s.bpf.o", "--dry-run", cwd=tmp_path)
    assert same.code == 0, same.err
    (tmp_path / "target").unlink()
    if flags.startswith("clang ") and shutil.which("clang") is None:
        pytest.skip("another compiler's build: clang is not installed")
    built(tmp_path, flags.removeprefix("clang "), "clang" if flags.startswith("clang ") else "gcc")
    other = specc("run", "s.bpf.o", "--dry-run", cwd=tmp_path)
    if message is None:
        assert (other.code, "SP276" in other.err) == (0, False), other.err
        return
    assert other.code == 1 and "SP276" in other.err and message in other.err, other.err
    if "-DMORE" in flags and not prototype:  # the two sides have names of their own
        assert (
            "is argument 1 in DWARF of target as it was when this was compiled and argument 2 in DWARF of target"
            in other.err
        )
    forced = specc("run", "s.bpf.o", "--dry-run", "--force", cwd=tmp_path)
    assert forced.code == 0 and "SP276" in forced.err, forced.err


ATTRIBUTES = """
#define A(...) __attribute__((__VA_ARGS__))
struct in9 { long a[2]; char b; };
struct G { int a[1]; unsigned long b A(packed); long c; };
struct H { int a; long b A(packed); int d; long c; };
struct I { int a; struct in9 c A(packed); int d; long e; };
struct J { long v A(aligned(64)); int w; };
struct K { int x; struct { long v A(aligned(64)); } in; };
struct L { char x : 1; char y A(aligned(32)); char z : 3; };
struct M { int a : 3; char b A(aligned(16)); short c; };
struct N { char a; long b; int c[3]; } A(packed, aligned(4));
struct O { char a; struct { int b; long c A(packed); } in; union { int d; char e; } A(packed) u; };
struct Q { long a; union { char a; int : 17; } u; union { int : 3; } v; long b[2]; };
#define F(T) A(noinline) void by_##T(struct T v) { __asm__ volatile("" :: "r"(&v) : "memory"); } \\
	A(noinline) void to_##T(struct T *v) { __asm__ volatile("" :: "r"(v) : "memory"); }
F(G) F(H) F(I) F(J) F(K) F(L) F(M) F(N) F(O) F(Q)
int main(void) {
	struct G g = { { -1 }, 2, -3 }; by_G(g); to_G(&g);
	struct H h = { -1, 2, -3, 4 }; by_H(h); to_H(&h);
	struct I i = { -1, { { 2, -3 }, 4 }, -5, 6 }; by_I(i); to_I(&i);
	struct J j = { -1, 2 }; by_J(j); to_J(&j);
	struct K k = { -1, { -2 } }; by_K(k); to_K(&k);
	struct L l = { -1, 2, -3 }; by_L(l); to_L(&l);
	struct M m = { -1, 2, -3 }; by_M(m); to_M(&m);
	struct N n = { -1, 2, { -3, 4, -5 } }; by_N(n); to_N(&n);
	struct O o = { -1, { 2, -3 }, { 4 } }; by_O(o); to_O(&o);
	struct Q q = { -1, { 2 }, { }, { -3, 4 } }; by_Q(q); to_Q(&q);
}
"""
VALUES: dict[str, dict[str, Any]] = {
    "G": {"a": [-1], "b": 2, "c": -3}, "H": {"a": -1, "b": 2, "d": -3, "c": 4},
    "I": {"a": -1, "c": {"a": [2, -3], "b": 4}, "d": -5, "e": 6}, "J": {"v": -1, "w": 2}, "K": {"x": -1, "in": {"v": -2}},
    "L": {"x": -1, "y": 2, "z": -3}, "M": {"a": -1, "b": 2, "c": -3},
    "N": {"a": -1, "b": 2, "c": [-3, 4, -5]}, "O": {"a": -1, "in": {"b": 2, "c": -3}, "u": {"d": 4, "e": 4}},
    "Q": {"a": -1, "u": {"a": 2}, "v": {}, "b": [-3, 4]},
}  # fmt: skip


@live
@pytest.mark.parametrize(
    ("compiler", "flags"),
    [c for c in (("gcc", "-O0 -gdwarf-5"), ("gcc", "-O2 -gdwarf-4"), ("clang-14", "-O0 -gdwarf-4"), ("clang-19", "-O2 -gdwarf-5"))
     if shutil.which(c[0])],
)  # fmt: skip
def test_records_with_attributes(compiler: str, flags: str, tmp_path: Path) -> None:
    """`aligned` and `packed` on records and members: by value and behind pointers, each member or a refusal."""
    import specc as module

    (tmp_path / "p.c").write_text(ATTRIBUTES)
    subprocess.run([compiler, *flags.split(), "-w", "p.c", "-o", "p"], cwd=tmp_path, check=True)
    probes: dict[str, str] = {}
    for name in VALUES:
        for what, args in (("by", "[v]"), ("to", "[{v: {deref: true}}]")):
            probe = f"  - name: {what}_{name}\n    uprobe: {{path: {tmp_path}/p, symbol: {what}_{name}}}\n    args: {args}\n"
            (tmp_path / "one.yaml").write_text(f"specc: 1\nname: one\nfields: []\nprobes:\n{probe}")
            done = specc("build", "one.yaml", "-o", "out", cwd=tmp_path)
            assert "SP402" not in done.err, done.err
            if done.code == 0:
                probes[f"{what}_{name}"] = probe
    assert len(probes) >= (20 if (compiler, flags) == ("gcc", "-O0 -gdwarf-5") else 3), sorted(probes)
    spec = tmp_path / "all.yaml"
    spec.write_text("specc: 1\nname: all\nfields: []\nprobes:\n" + "".join(probes.values()))
    seen: dict[str, Any] = {}
    with module.open(spec) as probe:
        subprocess.run([tmp_path / "p"], check=True, timeout=60)
        probe._session.detach()
        for batch in probe._session.poll(0):
            for event in map(probe._decoder.decode, batch):
                seen[event["probe"]] = event["v"]
    assert seen == {name: VALUES[name[3:]] for name in probes}


PROMOTED = """
#define A __attribute__((noinline))
#define B __asm__ volatile("" ::: "memory")
A int old(a, b, c, d, e, f, g, h, i, j, k, l, m, n) double a, b, c, d, e, f, g, h; float i; short j; char k; float l; _Bool m; long n; { B; return k; }
int main(void) { old(1., 2., 3., 4., 5., 6., 7., 8., 2.5, -3, -4, -7.25, 1, -5L); }
"""
PACKED = """
template<class... T> __attribute__((noinline)) int pack(T... t, int z) { __asm__ volatile("" ::: "memory"); return z; }
struct S { template<class... T> __attribute__((noinline)) int m(T... t, short z) { __asm__ volatile("" ::: "memory"); return z; } };
int main() { pack<signed char, long>(-1, 2, -20); S().m<signed char, signed char>(3, -4, -21); }
"""


@live
@pytest.mark.parametrize(
    "compiler", [c for c in ("gcc", "clang-14", "clang-19", "g++", "clang++-14", "clang++-19") if shutil.which(c)]
)
def test_what_callers_pass(compiler: str, tmp_path: Path) -> None:
    """A `double` for a `float` of a function without a prototype, and every argument of a parameter pack."""
    import specc

    cxx = "++" in compiler
    source = tmp_path / ("p.cc" if cxx else "p.c")
    source.write_text(PACKED if cxx else PROMOTED)
    subprocess.run([compiler, "-g", "-O0", "-w", source.name, "-o", "p"], cwd=tmp_path, check=True)
    wanted: dict[str, dict[str, Any]] = {
        "_Z4packIJalEEiDpT_i": {"arg0": -1, "arg1": 2, "z": -20}, "_ZN1S1mIJaaEEEiDpT_s": {"arg1": 3, "arg2": -4, "z": -21},
    } if cxx else {"old": {"i": 2.5, "j": -3, "k": -4, "l": -7.25, "m": True, "n": -5}}  # fmt: skip
    lines = ["specc: 1", "name: passed", "fields: []", "probes:"]
    for name, values in wanted.items():
        lines += [f"  - {{name: p{name}, uprobe: {{path: {tmp_path}/p, symbol: {name}}}, args: [{', '.join(values)}]}}"]
    (tmp_path / "s.yaml").write_text("\n".join(lines) + "\n")
    seen: dict[str, Any] = {}
    with specc.open(tmp_path / "s.yaml") as probe:
        subprocess.run([tmp_path / "p"], timeout=60, check=False)
        probe._session.detach()
        for batch in probe._session.poll(0):
            for event in map(probe._decoder.decode, batch):
                seen[event.pop("probe")[1:]] = event
    assert seen == wanted

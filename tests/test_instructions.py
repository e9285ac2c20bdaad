"""How many instructions each program of specs/ has, and how much stack it takes, so that growth is seen in review.

tests/golden/instructions.txt has a line for each program and a column for each compiler, with its exact version: another
version makes other code, and is skipped by that name. SPECC_UPDATE_GOLDEN=1 writes the file anew, with the compilers that
are here; read the difference before it is committed.
"""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path

import pytest
from bpf_code import Function, functions, stack_of
from command import ROOT, specc

from specc.build import compile_object
from specc.compiler.find import find_compiler
from specc.diagnostics import Stop

GOLDEN = Path(__file__).parent / "golden" / "instructions.txt"
UPDATE = bool(os.environ.get("SPECC_UPDATE_GOLDEN"))
STACK = 512  # MAX_BPF_STACK
LONGEST = 4096  # BPF_MAXINSNS; what the verifier walks through for one is tested in kernels/

Counts = dict[tuple[str, str], tuple[int, int]]  # {(spec, program): (instructions, bytes of stack)}


def _compilers() -> dict[str, str]:
    """Every clang on PATH, and zig: {"clang 14.0.6": what --compiler is told}."""
    names = {"clang", "zig"}
    for folder in os.get_exec_path():
        if os.path.isdir(folder):
            names |= {name for name in os.listdir(folder) if re.fullmatch(r"clang-\d+", name)}
    found: dict[str, str] = {}
    for name in sorted(names):
        try:
            compiler = find_compiler(name)
        except Stop:
            continue
        found.setdefault(f"{compiler.kind} {compiler.version}", name)
    return found


def _golden() -> dict[str, Counts]:
    """By compiler."""
    lines = [line for line in GOLDEN.read_text().splitlines() if line and not line.startswith("#")]
    columns = re.split(r"\s{2,}", lines[0].strip())
    found: dict[str, Counts] = {name: {} for name in columns}
    for line in lines[1:]:
        spec, program, *cells = line.split()
        assert len(cells) == len(columns), line
        for name, cell in zip(columns, cells, strict=True):
            instructions, _, stack = cell.partition("/")
            found[name][spec, program] = int(instructions), int(stack)
    return found


def _write(found: dict[str, Counts]) -> None:
    columns = sorted(found)
    rows = sorted(next(iter(found.values())))
    first, second = (max(len(row[i]) for row in rows) for i in (0, 1))
    lines = [
        "# Of each program of specs/: instructions / bytes of stack, by compiler (tests/test_instructions.py).",
        " " * (first + second + 4) + "  ".join(f"{name:>12}" for name in columns),
    ]
    for spec, program in rows:
        cells = ("{}/{}".format(*found[name][spec, program]) for name in columns)
        lines.append(f"{spec:{first}}  {program:{second}}  " + "  ".join(f"{cell:>12}" for cell in cells))
    GOLDEN.write_text("\n".join([*lines, ""]))


COMPILERS = _compilers()
COLUMNS = sorted({*COMPILERS, *(_golden() if GOLDEN.exists() else ())})


@cache
def _built(folder: Path, column: str) -> dict[tuple[str, str], Function]:
    out = folder / column.replace(" ", "-")
    done = specc("build", "specs", "-o", out, "--emit", "obj", "--compiler", COMPILERS[column], cwd=ROOT)
    assert done.code == 0, done.err
    objects = sorted(out.glob("*.bpf.o"))
    assert {p.name.partition(".")[0] for p in objects} == {p.stem for p in (ROOT / "specs").iterdir() if p.is_file()}
    return {(p.name.partition(".")[0], f.name): f for p in objects for f in functions(p.read_bytes())}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("instructions")


def _counts(folder: Path, column: str) -> Counts:
    return {key: (f.instructions, f.stack) for key, f in _built(folder, column).items()}


@pytest.mark.parametrize("column", COLUMNS)
def test_no_program_has_grown(column: str, folder: Path) -> None:
    if column not in COMPILERS:
        pytest.skip(f"no {column} here, which {GOLDEN.name} has numbers for; here are {', '.join(COMPILERS)}")
    if UPDATE:
        _write({name: _counts(folder, name) for name in COMPILERS})
    golden = _golden()
    if column not in golden:
        pytest.skip(f"{GOLDEN.name} has no numbers for {column}, but for {', '.join(golden)}")
    assert _counts(folder, column) == golden[column]


@pytest.mark.parametrize("column", COMPILERS)
def test_every_program_is_small(column: str, folder: Path) -> None:
    """Whatever the version: within the stack, and so short that no kernel has ever refused its length."""
    found = _built(folder, column)
    large = [f for f in found.values() if f.stack > STACK or f.instructions > LONGEST]
    assert large == []
    assert found


def test_counting() -> None:
    """Against code whose size and stack are known: three functions, one of them called by another."""
    source = """
    #define SEC(name) __attribute__((section(name), used))
    static void (*const touch)(void *at, unsigned int size, const void *from) = (void *)113;
    static __attribute__((noinline)) long called(char *p) { char big[200]; touch(big, 200, p); return big[7]; }
    SEC("kprobe/one") int one(void *c) { return 0; }
    SEC("kprobe/two") int two(char *c) { char some[48]; touch(some, 48, c); return called(some); }
    char LICENSE[] SEC("license") = "GPL";
    """
    found = {f.name: f for f in functions(compile_object(source, "counting", find_compiler()))}
    assert {n: f.section for n, f in found.items()} == {"one": "kprobe/one", "two": "kprobe/two", "called": ".text"}
    assert (found["one"].instructions, found["one"].stack) == (2, 0)  # r0 = 0; exit
    assert (found["two"].stack, found["called"].stack) == (48, 200)


@pytest.mark.parametrize(
    ("code", "stack"),
    [
        ("7b1af8ff00000000", 8),  # *(u64 *)(r10 - 8) = r1
        ("61a1d0ff00000000", 48),  # w1 = *(u32 *)(r10 - 48)
        ("bfa200000000000007020000c0ffffff", 64),  # r2 = r10; r2 += -64
        ("bfa2000000000000bf2300000000000007030000c0ffffff", 64),  # r2 = r10; r3 = r2; r3 += -64
        ("bfa2000000000000b702000000000000" + "07020000c0ffffff", 0),  # r2 = r10; r2 = 0; r2 += -64
        ("7b12f8ff00000000", 0),  # *(u64 *)(r2 - 8) = r1
        ("b7000000000000009500000000000000", 0),
    ],
)
def test_stack(code: str, stack: int) -> None:
    assert stack_of(bytes.fromhex(code)) == stack

"""Every function of four kernels' BTF: its arguments are placed, or refused with the reason; a table counts them."""

from __future__ import annotations

import os
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from random import Random, SystemRandom

import pytest
import yaml
from command import ROOT
from kernel_sources import Unavailable
from kernels.machine import ask, missing_here
from kernels.packages import SUITES, Kernel, get_kernel

from specc.abi import place_arguments
from specc.btf import Btf, open_btf
from specc.build import compile_object
from specc.compiler.find import find_compiler
from specc.diagnostics import Report, Sources, render
from specc.fit import Need, fit
from specc.pipeline import Session, emit_all, front
from specc.place import GENERAL_REGISTERS, STACK, Argument, Placement
from specc.prototype import Array, Enum, Function, Int, Pointer, Prototype, Record, Void, bare, decay, size_of

pytestmark = pytest.mark.slow

SEED = int(os.environ.get("SPECC_SEED") or SystemRandom().randrange(10**6))
SERIES = tuple(SUITES)
COUNTED = (7, 8, 9, 10, 11)

# What others have counted on earlier point releases of these kernels, by another method: functions with 7 to 11
# arguments in all, and with an argument on the stack.
TOLD = {"5.10": (387, 424), "6.1": (564, 602), "6.12": (801, 875), "7.2": (875, 945)}
NEAR = 0.05


@dataclass(slots=True)
class Counts:
    """Of one kernel."""

    release: str
    functions: int
    arguments: Counter[int]
    stack: int
    records: int
    large: int
    spilled: int
    memory_results: int
    refused: Counter[str]
    empty: int


@cache
def _kernel(series: str) -> Kernel | str:
    try:
        kernel = get_kernel(series)
        if not kernel.btf.exists():
            if lacking := missing_here():
                raise Unavailable(lacking)
            ask(kernel)
    except Unavailable as why:
        return f"no BTF of Linux {series}: {why}"
    return kernel


def _have(series: str) -> Kernel:
    kernel = _kernel(series)
    if isinstance(kernel, str):
        pytest.skip(kernel)
    return kernel


@cache
def _btf(series: str) -> Btf:
    return open_btf(_have(series).btf)


# --- each function ----------------------------------------------------------------------------------------------------


def _check(prototype: Prototype, placement: Placement) -> None:
    """Each argument has a place for each of its bytes that no other has, or a reason."""
    assert len(placement.arguments) == len(prototype.parameters)
    taken: set[tuple[str, int]] = set()
    hidden = placement.hidden_return_pointer
    if hidden is not None:
        assert (hidden, placement.result.memory) == ("rdi", True)
        taken |= {("rdi", byte) for byte in range(8)}
    for argument in placement.arguments:
        if not argument.readable:
            assert argument.reason, f"{prototype.name}: {argument.name} is refused without a reason"
            continue
        covered = 0
        for piece in argument.pieces:
            assert piece.where == STACK or piece.where in GENERAL_REGISTERS
            assert piece.where != STACK or (piece.stack_offset >= 8 and piece.stack_offset % 8 == 0)
            assert piece.arg_offset % 8 == 0 and piece.size > 0 and piece.arg_offset + piece.size <= argument.size
            start = piece.stack_offset if piece.where == STACK else piece.reg_offset
            bytes_ = {(piece.where, byte) for byte in range(start, start + piece.size)}
            assert not bytes_ & taken, f"{prototype.name}: {argument.name} shares a place"
            taken |= bytes_
            covered += piece.size
        assert covered == argument.size or isinstance(bare(argument.type), Record)
    assert placement.result.readable or placement.result.reason


def _plain(prototype: Prototype) -> bool:
    """Whether each argument is one word."""
    kinds = (Int, Enum, Pointer, Array, Function)
    return all(isinstance(t := bare(decay(p.type)), kinds) and _size(t) <= 8 for p in prototype.parameters)


def _size(t: object) -> int:
    return t.size if isinstance(t, Int | Enum) else 8


def _check_plain(prototype: Prototype, placement: Placement) -> None:
    """psABI 3.2.3: six words in registers, the others on the stack, where the return address is first."""
    first = 0 if placement.hidden_return_pointer is None else 1
    for number, argument in enumerate(placement.arguments, first):
        (piece,) = argument.pieces
        assert argument.readable and piece.size == argument.size
        if number < 6:
            assert piece.where == ("rdi", "rsi", "rdx", "rcx", "r8", "r9")[number], prototype.name
        else:
            assert (piece.where, piece.stack_offset) == (STACK, 8 * (number - 5)), prototype.name


def _on_stack(argument: Argument) -> bool:
    return any(p.where == STACK for p in argument.pieces)


@cache
def _count(series: str) -> Counts:
    found = Counts(_have(series).release, 0, Counter(), 0, 0, 0, 0, 0, Counter(), 0)
    for prototype in _btf(series).prototypes():
        placement = place_arguments(prototype, kernel=True)
        _check(prototype, placement)
        if _plain(prototype) and not isinstance(bare(prototype.result), Record):
            _check_plain(prototype, placement)
        records = [a for a in placement.arguments if isinstance(bare(a.type), Record)]
        found.functions += 1
        found.arguments[len(prototype.parameters)] += 1
        found.stack += any(map(_on_stack, placement.arguments))
        found.records += bool(records)
        found.large += any(a.size > 16 for a in records)
        found.spilled += any(a.size <= 16 and _on_stack(a) for a in records)
        found.memory_results += placement.result.memory
        found.refused.update(_why(a.reason) for a in placement.arguments if not a.readable)
        found.empty += bool(prototype.doubt)
    return found


def _why(reason: str) -> str:
    return "its members are not known" if "members are not known" in reason else reason


@pytest.mark.parametrize("series", SERIES)
def test_every_function_is_placed_or_refused(series: str) -> None:
    counts = _count(series)
    assert counts.functions > 30000
    # Which they are is sid's business; that there are few, and why, is looked at when this fails.
    assert set(counts.refused) <= {"its members are not known"} and counts.refused.total() < 20, counts.refused


# --- counted by another reader ----------------------------------------------------------------------------------------


def _arguments_in(data: bytes) -> Iterator[int]:
    """How many arguments each function has, by its bytes (the kernel's Documentation/bpf/btf.rst)."""
    header, types, length = struct.unpack_from("<4xIII", data)
    more: Mapping[int, Callable[[int], int]] = {
        1: lambda n: 4, 3: lambda n: 12, 4: lambda n: 12 * n, 5: lambda n: 12 * n, 6: lambda n: 8 * n,
        13: lambda n: 8 * n, 14: lambda n: 4, 15: lambda n: 12 * n, 17: lambda n: 4, 19: lambda n: 12 * n,
    }  # fmt: skip
    at, end = header + types, header + types + length
    counts, functions = [0], []
    while at < end:
        info, third = struct.unpack_from("<4xII", data, at)
        kind, count = info >> 24 & 0x1F, info & 0xFFFF
        counts.append(count)
        if kind == 12:
            functions.append(third)
        at += 12 + more.get(kind, lambda n: 0)(count)
    # Of a function that takes any arguments, the last has no name and no type.
    return (counts[proto] for proto in functions)


@pytest.mark.parametrize("series", SERIES)
def test_the_numbers_of_arguments_are_those_of_the_file(series: str) -> None:
    theirs = Counter(_arguments_in(_have(series).btf.read_bytes()))
    variadic = Counter(len(p.parameters) for p in _btf(series).prototypes() if p.variadic)
    ours = Counter(_count(series).arguments)
    for count, times in variadic.items():  # there `...` is one more
        ours[count] -= times
        ours[count + 1] += times
    assert {n: t for n, t in ours.items() if t} == dict(theirs)


@pytest.mark.parametrize("series", SERIES)
def test_the_counts_are_near_those_of_others(series: str) -> None:
    counts, (many, stack) = _count(series), TOLD[series]
    assert abs(sum(counts.arguments[n] for n in COUNTED) / many - 1) < NEAR
    assert abs(counts.stack / stack - 1) < NEAR


def test_the_table() -> None:
    """As docs/how-it-is-tested.md has it."""
    found = [_count(series) for series in SERIES if isinstance(_kernel(series), Kernel)]
    if len(found) < len(SERIES):
        pytest.skip("it needs all four kernels")
    rows: list[tuple[str, Callable[[Counts], int]]] = [
        ("functions", lambda c: c.functions),
        *((f"with {n} arguments", lambda c, n=n: c.arguments[n]) for n in COUNTED),  # type: ignore[misc]
        ("with 12 or more", lambda c: sum(t for n, t in c.arguments.items() if n > 11)),
        ("with an argument on the stack", lambda c: c.stack),
        ("with a struct or union by value", lambda c: c.records),
        ("of these, one of more than 16 bytes", lambda c: c.large),
        ("of these, one that no longer fits into registers", lambda c: c.spilled),
        ("that return a struct in memory", lambda c: c.memory_results),
        ("arguments that are refused", lambda c: c.refused.total()),
        ("functions that BTF has without arguments, so that nothing of them is read", lambda c: c.empty),
    ]
    lines = [f"| | {' | '.join(c.release for c in found)} |", f"|{'---|' * (len(found) + 1)}"]
    lines += [f"| {name} | {' | '.join(str(value(c)) for c in found)} |" for name, value in rows]
    (ROOT / "build").mkdir(exist_ok=True)
    (ROOT / "build" / "functions.md").write_text("\n".join([*lines, ""]))


# --- on other kernels -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ours", "theirs"), [*pairwise(SERIES), *pairwise(SERIES[::-1])])
def test_every_function_on_the_next_kernel(ours: str, theirs: str) -> None:
    """All that can be read of it here is there, under its name, or refused with the reason."""
    there: dict[str, list[Prototype]] = {}
    for prototype in _btf(theirs).prototypes():
        there.setdefault(prototype.name, []).append(prototype)
    outcomes: Counter[str] = Counter()
    for first in _btf(ours).prototypes():
        others = there.get(first.name, ())
        needs = [Need(p.name, p.type) for p in first.parameters if p.name]
        for other in others if needs and not first.doubt else ():
            placement = place_arguments(other, kernel=True)
            found = fit(needs, other, placement)
            told = {m.need for m in found.misfits}
            assert all(m.text for m in found.misfits)
            for need in needs:
                assert (need.name in found.pieces) != (need.name in told), (first.name, need.name)
                if need.name in found.pieces:
                    argument = placement.arguments[found.positions[need.name] or 0]
                    assert argument.name == need.name and argument.size == size_of(decay(need.type)), first.name
                    assert found.pieces[need.name] == argument.pieces
            outcomes["refused" if told else "fits"] += 1
    print(f"{ours} to {theirs}: {dict(outcomes)}")
    assert outcomes["fits"] > 20000 and outcomes["refused"] > 500


# --- compiled ---------------------------------------------------------------------------------------------------------

SAMPLE = 150  # functions of each kernel


def _sample(series: str, random: Random) -> list[str]:
    """Half of them have something hard."""
    btf, symbols = _btf(series), Counter(_have(series).symbols.read_text().split())
    easy: list[str] = []
    hard: list[str] = []
    for prototype in btf.prototypes():
        if symbols[prototype.name] != 1 or prototype.doubt:
            continue
        if len(prototype.parameters) > 6 or not _plain(prototype) or isinstance(bare(prototype.result), Record):
            hard.append(prototype.name)
        else:
            easy.append(prototype.name)
    chosen = [*random.sample(sorted(hard), SAMPLE // 2), *random.sample(sorted(easy), SAMPLE // 2)]
    return [name for name in chosen if len(btf.find(name)) == 1]


def _program(path: Path, names: list[str], series: str) -> tuple[str, Counter[str]]:
    """The C text of a spec with these functions; without those that are refused, which are counted by their codes."""
    refused: Counter[str] = Counter()
    probes: list[Mapping[str, str]] = []
    for number, name in enumerate(names):
        probes.append({"name": f"entry{number}", "kprobe": name})
        if not isinstance(bare(_btf(series).find(name)[0].result), Void):
            probes.append({"name": f"return{number}", "kretprobe": name})
    session = Session(find_compiler, [_have(series).btf])
    while True:
        path.write_text(yaml.safe_dump({"specc": 1, "name": "many", "probes": probes}, sort_keys=False))
        report = Report()
        program = front(path, session, report)
        if program is not None:
            return emit_all(program).c_text, refused
        lines = path.read_text().splitlines()
        starts = [i for i, line in enumerate(lines, 1) if line.startswith("- name:")]
        bad: set[int] = set()
        for diagnostic in report.diagnostics:
            assert diagnostic.where is not None, render([diagnostic], "concise", Sources())
            bad.add(sum(1 for start in starts if start <= diagnostic.where.line) - 1)
            refused[diagnostic.code] += 1
        assert bad
        probes = [probe for i, probe in enumerate(probes) if i not in bad]


@pytest.mark.parametrize("series", SERIES)
def test_programs_for_random_functions_compile(series: str, tmp_path: Path) -> None:
    """kprobes with every argument and kretprobes; what cannot be read was refused, never does a compiler complain."""
    print(f"SPECC_SEED={SEED}")
    names = _sample(series, Random(f"{SEED}/{series}"))
    text, refused = _program(tmp_path / "many.yaml", names, series)
    assert refused.total() <= len(names) / 4, refused
    assert text.count('SEC("kprobe/') >= len(names) / 2
    made = compile_object(text, "many", find_compiler())
    assert made.startswith(b"\x7fELF")

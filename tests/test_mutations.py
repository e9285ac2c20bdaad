"""A function is declared otherwise on the kernel that runs: what was compiled is refused, or each argument comes from its
right place. Never is a value silently wrong.

The prototypes and their changes are random, others at each run; where the arguments of the changed function really are
is found by compiling and running it (tests/oracle). SPECC_SEED=... makes the same ones again, SPECC_MUTATIONS more.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random, SystemRandom

import pytest
import yaml
from btf_compiled import clang, compile_btf
from mutations import MUTATIONS, Alias, Enum, Function, Member, Pair, Plain, Pointer, Record, Type, case_of, pair
from oracle.experiment import Configuration, Measurement, Place, compilers, measure

from specc.abi import place_arguments
from specc.btf import open_btf
from specc.compiler.find import find_compiler
from specc.describe import ProbeDescription
from specc.describe.reader import parse_description
from specc.describe.writer import describe
from specc.diagnostics import Report, Sources, render
from specc.ir import PlaceConstant, Places
from specc.pipeline import Session, front
from specc.prototype import Prototype
from specc.run.fill import Filled, fill
from specc.trampoline import trampoline_problem

SEED = int(os.environ.get("SPECC_SEED") or SystemRandom().randrange(10**6))
COUNT = int(os.environ.get("SPECC_MUTATIONS") or 1000)
PREFIX = len("a0000_")
KINDS = ("kprobe", "kretprobe", "fentry", "fexit")
REGISTERS = ("rdi", "rsi", "rdx", "rcx", "r8", "r9")  # psABI 3.2.3

pytestmark = [
    pytest.mark.skipif(clang() is None, reason="no clang that makes BTF (its BPF target)"),
    pytest.mark.skipif({c.kind for c in compilers()} != {"gcc", "clang"}, reason="gcc and clang are both needed"),
]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a probe of the first function records: `cast` is read as a type of its own, so that only its size counts."""

    kind: str
    args: tuple[str, ...]
    optional: frozenset[str]
    cast: frozenset[str]
    result: bool


@dataclass(frozen=True, slots=True)
class Try:
    pair: Pair
    wanted: Wanted
    probe: ProbeDescription
    ours: Prototype
    theirs: Prototype
    filled: Filled


def _kernel(functions: list[Function], letter: str, folder: Path) -> Path:
    """A kernel's BTF that has these functions."""
    text, names = "", {}
    for number, function in enumerate(functions):
        case = case_of(function, f"{letter}{number:04}_")
        text += case.text
        names[case.name] = [name for name, _ in function.parameters]
    path = folder / f"{letter}.btf"
    path.write_bytes(compile_btf(text, names, PREFIX))
    return path


def _wanted(random: Random, function: Function, prototype: Prototype) -> Wanted | None:
    """Some of the arguments that can be read; None when none can."""
    kind = random.choice(KINDS)
    placement = place_arguments(prototype, kernel=True)
    if kind in ("fentry", "fexit") and trampoline_problem(prototype, placement):
        kind = "kprobe"
    readable = [a.name for a in placement.arguments if a.readable and a.name and a.size]
    result = kind in ("kretprobe", "fexit") and placement.result.readable and not placement.result.memory
    result = result and random.random() < 0.6
    args = [name for name in readable if random.random() < 0.45] or readable[:1]
    if not args:
        return None
    plain = {n for n, t in function.parameters if isinstance(t, Plain) and not t.boolean and t.size == 8}
    cast = frozenset(a for a in args if a in plain and random.random() < 0.3)
    return Wanted(kind, tuple(args), frozenset(a for a in args if random.random() < 0.3), cast, result)


def _probe(function: Function, wanted: Wanted) -> Mapping[str, object]:
    def one(name: str) -> object:
        more: dict[str, object] = {}
        if name in wanted.optional:
            more["optional"] = True
        if name in wanted.cast:
            more["type"] = "unsigned long"
        return {name: more} if more else name

    args = [*map(one, wanted.args), *(["return"] if wanted.result else [])]
    return {"name": function.name, wanted.kind: function.name, "args": args}


def _built(chosen: list[tuple[Pair, Wanted]], btf: Path, folder: Path) -> dict[str, ProbeDescription]:
    """The probes as they come out of an object; without those that no program can be made for."""
    path = folder / "spec.yaml"
    spec = {"specc": 1, "name": "x", "fields": [], "probes": [_probe(p.first, w) for p, w in chosen]}
    path.write_text(yaml.safe_dump(spec, sort_keys=False))
    report = Report()
    program = front(path, Session(find_compiler, [btf]), report)
    if program is not None:
        return {p.name: p for p in parse_description(describe(program)).probes}
    if len(chosen) > 1:
        half = len(chosen) // 2
        return _built(chosen[:half], btf, folder) | _built(chosen[half:], btf, folder)
    # Too many bytes to save until the return, or stack slots too far apart.
    assert {d.code for d in report.diagnostics} <= {"SP305", "SP308"}, render(report.diagnostics, "concise", Sources())
    return {}


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    return [pair(SEED, number) for number in range(COUNT)]


@pytest.fixture(scope="module")
def kernels(pairs: list[Pair], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("kernels")
    return _kernel([p.first for p in pairs], "a", folder), _kernel([p.other for p in pairs], "b", folder)


@pytest.fixture(scope="module")
def tries(pairs: list[Pair], kernels: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> list[Try]:
    folder = tmp_path_factory.mktemp("specs")
    random = Random(SEED)
    ours, theirs = ({p.name: p for p in open_btf(kernel).prototypes()} for kernel in kernels)
    chosen = {p.first.name: (p, w) for p in pairs if (w := _wanted(random, p.first, ours[p.first.name]))}
    names = list(chosen)
    found: dict[str, ProbeDescription] = {}
    for start in range(0, len(names), 50):
        found |= _built([chosen[n] for n in names[start : start + 50]], kernels[0], folder)
    return [Try(*chosen[n], probe, ours[n], theirs[n], fill(probe, theirs[n])) for n, probe in found.items()]


# --- what is read -----------------------------------------------------------------------------------------------------


def _reading(made: Type, path: str = "") -> Iterator[tuple[object, ...]]:
    """What a value of the type means to one who reads it, but for where its members are."""
    match made:
        case Alias(of=of):
            yield from _reading(of, path)
        case Record(keyword=keyword, members=members):
            yield path, keyword
            for m in sorted(members, key=lambda m: m.name):
                yield from _member(m, f"{path}.{m.name}")
        case Plain(size=size, signed=signed, boolean=boolean):
            yield path, "bool" if boolean else "integer", size, signed
        case Enum(values=values):
            yield path, "enum", 4, any("-" in v for v in values)
        case Pointer():
            yield path, "pointer"


def _member(m: Member, path: str) -> Iterator[tuple[object, ...]]:
    for leaf in _reading(m.type, path):
        yield (*leaf, m.bits, m.count)


def _alike(ours: Type, theirs: Type) -> bool:
    """Whether a value of the other type is told rightly by one who takes it for the first."""
    first, second = list(_reading(ours)), list(_reading(theirs))
    return len(first) == len(second) and all(map(_leaf_alike, first, second))


def _leaf_alike(x: tuple[object, ...], y: tuple[object, ...]) -> bool:
    if x == y:
        return True
    if not {x[1], y[1]} <= {"integer", "enum"} or (x[0], x[2], x[4:]) != (y[0], y[2], y[4:]):
        return False
    # An enum without negative values has none, and is no larger than an int.
    return "enum" in (x[1], y[1]) and (x[3] == y[3] or bool(x[3] and y[1] == "enum"))


# --- what is set ------------------------------------------------------------------------------------------------------


def _codes(constant: PlaceConstant, filled: Filled) -> list[int]:
    data = filled.settings[constant.offset]
    return [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4)]


def _number(at: Places, filled: Filled, name: str) -> int:
    return int.from_bytes(filled.settings[at.room[name]], "little") if name in at.room else 0


def _place(codes: list[int], byte: int, size: int) -> Place | None:
    """Where a program that has these codes takes a byte of an argument of this size from."""
    if size > 16:
        return Place("stack", codes[0] + byte)
    code = codes[byte // 8]
    if code == 0:
        return None
    return Place(REGISTERS[code - 1], byte % 8) if code < 8 else Place("stack", code + byte % 8)


def _faults(one: Try, ours: list[Measurement], theirs: list[Measurement]) -> list[str]:
    """What is wrong about a probe whose constants were set."""
    at = one.probe.at
    assert at is not None
    there, here = dict(one.pair.other.parameters), dict(one.pair.first.parameters)
    order = list(there)
    faults: list[str] = []
    constants = {c.argument: c for c in at.constants}
    trampoline = one.wanted.kind in ("fentry", "fexit")
    absent = 0
    for number, name in enumerate(sorted(one.wanted.optional, key=one.wanted.args.index)):
        absent |= (name not in there) << number
    if one.wanted.optional and _number(at, one.filled, "__absent") != absent:
        faults.append(f"absent: {_number(at, one.filled, '__absent'):b}, not {absent:b}")
    for name in one.wanted.args:
        if name not in there:
            if name not in one.wanted.optional:
                faults.append(f"{name} is not there")
            continue
        if name not in one.wanted.cast and not _alike(here[name], there[name]):
            faults.append(f"{name} is another type: {here[name]} and {there[name]}")
        codes = _codes(constants[name], one.filled)
        for before, after in zip(ours, theirs, strict=True):
            old = next(p for p in before.parameters if p.name == name)
            new = next(p for p in after.parameters if p.name == name)
            if old.size != new.size:
                faults.append(f"{name} has {new.size} bytes, not {old.size}")
                continue
            if name not in one.wanted.cast and old.mask != new.mask:
                faults.append(f"{name}: data at {new.mask.hex()}, not at {old.mask.hex()}")
            if trampoline:
                words = sum((p.size + 7) // 8 for p in after.parameters[: order.index(name)])
                wanted = list(range(words + 1, words + 1 + (new.size + 7) // 8))
                if codes != wanted:
                    faults.append(f"{name}: words {codes}, not {wanted}")
                continue
            for byte, place in enumerate(new.places):
                if new.mask[byte] and _place(codes, byte, new.size) != place:
                    faults.append(f"{name} byte {byte}: {_place(codes, byte, new.size)}, not {place}")
            if new.size <= 16:
                first, length = _number(at, one.filled, "__first"), _number(at, one.filled, "__length")
                outside = [c for c in codes if c >= 8 and not (first <= c < first + length and (c - first) % 8 == 0)]
                if outside or length > 8 * at.slots:
                    faults.append(f"{name}: {outside} outside of {length} bytes at {first}, of {at.slots} slots")
    if one.wanted.result:
        faults += _result_faults(one, ours, theirs, constants.get("return"))
    return faults


def _result_faults(
    one: Try, ours: list[Measurement], theirs: list[Measurement], constant: PlaceConstant | None
) -> list[str]:
    first, other = one.pair.first.result, one.pair.other.result
    if first is None or other is None or not _alike(first, other):
        return [f"the result is another type: {first} and {other}"]
    faults: list[str] = []
    for before, after in zip(ours, theirs, strict=True):
        assert before.result is not None and after.result is not None
        if before.result != after.result:
            faults.append(f"the result is elsewhere: {before.result} and {after.result}")
        if constant is not None:
            words = sum((p.size + 7) // 8 for p in after.parameters)
            if (codes := _codes(constant, one.filled)) != [words + 1]:
                faults.append(f"the result is word {codes}, not {words + 1}")
    return faults


def _show(one: Try, faults: list[str]) -> str:
    texts = [case_of(f, "").text for f in (one.pair.first, one.pair.other)]
    return "\n".join([*one.pair.changes, str(one.wanted), *texts, *(f"  {f}" for f in dict.fromkeys(faults)), ""])


def test_no_value_is_silently_wrong(tries: list[Try]) -> None:
    handled = [t for t in tries if not t.filled.misfits]
    newest = {c.kind: c for c in reversed(compilers())}
    chosen = [Configuration(newest[kind], ("-O2",)) for kind in ("gcc", "clang")]
    first = {t.pair.first.name: case_of(t.pair.first, f"a_{t.pair.first.name}_") for t in handled}
    other = {t.pair.first.name: case_of(t.pair.other, f"b_{t.pair.first.name}_") for t in handled}
    measured = measure([*first.values(), *other.values()], chosen)
    wrong: list[str] = []
    for one in handled:
        ours, theirs = (measured[cases[one.pair.first.name].name] for cases in (first, other))
        assert {m.status for m in (*ours, *theirs)} == {"measured"}, [m.message for m in (*ours, *theirs)]
        faults = _faults(one, ours, theirs)
        if faults:
            wrong.append(_show(one, faults))
    kinds = Counter((kind, "handled" if not t.filled.misfits else "refused") for t in tries for kind in t.pair.kinds)
    for kind in MUTATIONS:
        print(f"{kind:16} {kinds[kind, 'handled']:5} handled {kinds[kind, 'refused']:5} refused")
    print(f"{'of functions':16} {len(handled):5} handled {len(tries) - len(handled):5} refused; SPECC_SEED={SEED}")
    assert not wrong, f"{len(wrong)} of {len(tries)}; SPECC_SEED={SEED}\n" + "\n".join(sorted(wrong, key=len)[:5])
    assert len(tries) >= COUNT / 2
    assert len(handled) >= len(tries) / 3, "it refuses too much to show anything"
    assert len(tries) - len(handled) >= len(tries) / 10, "it refuses too little to be true"
    assert all(kinds[kind, "handled"] for kind in MUTATIONS), kinds


def test_what_is_refused_is_told(tries: list[Try]) -> None:
    """And then no constant is set."""
    for one in tries:
        if one.filled.misfits:
            assert not one.filled.settings
            assert all(m.text and m.kind in ("missing", "type", "unreadable", "unknown") for m in one.filled.misfits)


def test_nothing_is_refused_where_nothing_of_it_changed(tries: list[Try]) -> None:
    """Same declarations, and other names of typedefs: they fit."""
    harmless = [t for t in tries if set(t.pair.kinds) <= {"nothing", "other_alias"}]
    assert len(harmless) >= 10
    for one in harmless:
        assert not one.filled.misfits, _show(one, [m.text for m in one.filled.misfits])


def test_an_object_for_both_kernels(tries: list[Try], kernels: tuple[Path, Path], tmp_path: Path) -> None:
    """Both are its targets: it is made exactly where one that was made for the first is right on the other, and has the
    same places there."""
    path, made = tmp_path / "spec.yaml", 0
    session = Session(find_compiler, kernels)
    for one in tries[:300]:
        probes = [_probe(one.pair.first, one.wanted)]
        path.write_text(yaml.safe_dump({"specc": 1, "name": "x", "fields": [], "probes": probes}, sort_keys=False))
        report = Report()
        program = front(path, session, report)
        said = [*(m.text for m in one.filled.misfits), render(report.diagnostics, "concise", Sources())]
        if program is None:
            assert report.diagnostics
            assert one.filled.misfits or {d.code for d in report.diagnostics} <= {"SP308"}, _show(one, said)
            continue
        made += 1
        (probe,) = parse_description(describe(program)).probes
        assert probe.at is not None and one.probe.at is not None
        here = fill(probe, one.ours)
        assert not here.misfits
        assert [_codes(c, here) for c in probe.at.constants] == [list(c.values) for c in probe.at.constants]
        there = fill(probe, one.theirs)
        if one.filled.misfits:  # more stack slots than one for the first kernel copies: now there is room
            assert all("must be copied" in m.text for m in one.filled.misfits), _show(one, said)
            assert not there.misfits
            continue
        assert not there.misfits, _show(one, [m.text for m in there.misfits])
        both = zip(probe.at.constants, one.probe.at.constants, strict=True)
        assert all(_codes(a, there) == _codes(b, one.filled) for a, b in both), _show(one, said)
    assert made >= 100

"""Compiles and runs cases, and says where every byte of every parameter is at function entry.

In: cases and configurations (a compiler with flags).  Out: a Measurement for each pair.

    >>> measured = measure([render(Signature((INT, DOUBLE)), "f")], configurations())
    >>> measured["f"][0].parameters[1].places[0]
    Place(where='xmm0', offset=0)
"""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

from .shapes import Case
from .translation import RUNTIME, described, translation_unit

GENERAL = ["rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"]
REGISTER_BYTES = len(GENERAL) * 8 + 16 * 16
FLAGS = ("-w", "-std=gnu11", "-fno-stack-protector", "-fcf-protection=none", "-ffreestanding")
FEATURES = {
    "_BitInt": "_BitInt(65) a; unsigned _BitInt(7) b;",
    "_Float16": "_Float16 a; struct s { _Float16 b[3]; } f(_Float16 x, struct s y) { return y; }",
    "__float128": "__float128 a;",
}
Status = Literal["measured", "crashed", "too large", "not compiled"]
STATUSES: tuple[Status, ...] = ("measured", "crashed", "too large")
BATCH = 100


class Place(NamedTuple):
    """A byte: in a register, or on the stack, counted from the stack pointer at entry."""

    where: str
    offset: int


SCATTERED = Place("scattered", 0)  # the bits of one byte come from several bytes


@dataclass(frozen=True, slots=True)
class Compiler:
    path: str
    kind: Literal["gcc", "clang"]
    major: int
    features: frozenset[str]

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.major}"


@dataclass(frozen=True, slots=True)
class Configuration:
    compiler: Compiler
    flags: tuple[str, ...]

    @property
    def name(self) -> str:
        return " ".join((self.compiler.name, *self.flags))


@dataclass(frozen=True, slots=True)
class MeasuredParameter:
    name: str
    size: int
    align: int
    mask: bytes  # the data bits of each byte; 0: padding
    places: tuple[Place | None, ...]  # of each byte that is data, by the callee
    leaf_offsets: tuple[int, ...]  # of each leaf, in bits


@dataclass(frozen=True, slots=True)
class MeasuredResult:
    size: int
    mask: bytes
    places: tuple[Place | None, ...]  # at return; none when the result is in memory
    memory: bool  # rax holds, at return, the address where the result is


@dataclass(frozen=True, slots=True)
class Measurement:
    case: str
    configuration: str
    status: Status
    parameters: tuple[MeasuredParameter, ...] = ()
    hidden_return_pointer: str | None = None
    result: MeasuredResult | None = None
    disagreements: tuple[str, ...] = ()  # between this compiler's callee and its caller
    message: str = ""  # why it was not compiled


Measurements = dict[str, list[Measurement]]


@cache
def compilers() -> tuple[Compiler, ...]:
    """Every gcc and clang on PATH, one per version, newest first within a kind."""
    found: dict[str, Compiler] = {}
    for kind in ("gcc", "clang"):
        names = [kind, *(f"{kind}-{major}" for major in range(30, 6, -1))]
        for path in filter(None, map(shutil.which, names)):
            one = _probe(path, kind)
            if one:
                found.setdefault(one.name, one)
    return tuple(sorted(found.values(), key=lambda one: (one.kind != "gcc", -one.major)))


def _probe(path: str, kind: Literal["gcc", "clang"]) -> Compiler | None:
    text = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"\b(\d+)\.\d+\.\d+", text)
    if not version or ("clang" in text) != (kind == "clang"):
        return None
    features = frozenset(word for word, sample in FEATURES.items() if _accepts(path, sample))
    return Compiler(path, kind, int(version[1]), features)


def _accepts(path: str, text: str) -> bool:
    command = [path, *FLAGS, "-x", "c", "-fsyntax-only", "-"]
    return subprocess.run(command, input=text, text=True, capture_output=True).returncode == 0


def configurations(chosen: Iterable[Compiler] | None = None) -> tuple[Configuration, ...]:
    """The default: the newest gcc and the newest clang, each at -O0 and -O2."""
    if chosen is None:
        newest: dict[str, Compiler] = {}
        for one in compilers():
            newest.setdefault(one.kind, one)
        chosen = newest.values()
    return tuple(Configuration(one, (level,)) for one in chosen for level in ("-O0", "-O2"))


def measure(
    cases: Sequence[Case],
    chosen: Sequence[Configuration],
    jobs: int = 2,
    batch: int = BATCH,
) -> Measurements:
    """Every case by every configuration that has the types it needs; keyed by the case's name."""
    measured: Measurements = {case.name: [] for case in cases}
    with tempfile.TemporaryDirectory(prefix="oracle-") as folder:
        runtime = _build_runtime(Path(folder), chosen[0].compiler)
        work = [
            _Batch(Path(folder) / f"b{index}_{number}", runtime, one, part)
            for index, one in enumerate(chosen)
            for number, part in enumerate(_split([c for c in cases if has_types(one, c)], batch))
        ]
        with ThreadPoolExecutor(jobs) as pool:
            for results in pool.map(_measure_batch, work):
                for one_result in results:
                    measured[one_result.case].append(one_result)
    return measured


def has_types(configuration: Configuration, case: Case) -> bool:
    return case.features <= configuration.compiler.features


def _split(cases: Sequence[Case], size: int) -> list[Sequence[Case]]:
    return [cases[start : start + size] for start in range(0, len(cases), size)]


def _build_runtime(folder: Path, compiler: Compiler) -> tuple[Path, Path]:
    objects = (folder / "runtime_c.o", folder / "runtime_s.o")
    for source, made in zip(("runtime.c", "runtime.S"), objects, strict=True):
        command = [compiler.path, "-O2", "-c", str(RUNTIME / source), "-o", str(made)]
        subprocess.run(command, check=True, capture_output=True)
    return objects


@dataclass(frozen=True, slots=True)
class _Batch:
    stem: Path
    runtime: tuple[Path, Path]
    configuration: Configuration
    cases: Sequence[Case]


def _measure_batch(work: _Batch) -> list[Measurement]:
    """Cases that do not compile are taken out by the names in the messages, or by halving."""
    if not work.cases:
        return []
    message = _compile(work)
    if message is None:
        output = subprocess.run([work.stem], capture_output=True, check=True).stdout
        work.stem.unlink()
        return _decode(work, output)
    refused = set(re.findall(r"^(\w+)\.case:\d+:\d+: (?:fatal |internal )?.*error", message, re.M))
    bad = [case for case in work.cases if case.name in refused]
    good = [case for case in work.cases if case.name not in refused]
    if not bad and len(work.cases) > 1:
        half = len(work.cases) // 2
        parts = [work.cases[:half], work.cases[half:]]
        return [one for part in parts for one in _measure_batch(_with(work, part))]
    bad = bad or list(work.cases)
    return _measure_batch(_with(work, good if len(bad) < len(work.cases) else [])) + [
        Measurement(
            case.name,
            work.configuration.name,
            "not compiled",
            message=_first_error(message, case.name),
        )
        for case in bad
    ]


def _with(work: _Batch, cases: Sequence[Case]) -> _Batch:
    return _Batch(work.stem, work.runtime, work.configuration, cases)


# What gcc and clang say when they themselves fail: such a compiler has told nothing of the case.
_OWN_FAILURES = ("internal compiler error", "PLEASE submit a bug report", "PLEASE ATTACH THE FOLLOWING FILES")
COMPILER_FAILED = "the compiler itself failed"


def _first_error(message: str, name: str) -> str:
    if any(words in message for words in _OWN_FAILURES):
        return COMPILER_FAILED
    lines = [line for line in message.splitlines() if "error" in line]
    named = [line for line in lines if line.startswith(name + ".case")]
    return (named or lines or [message])[0]


def _compile(work: _Batch) -> str | None:
    """None, or the compiler's messages."""
    source = work.stem.with_suffix(".c")
    source.write_text(translation_unit(work.cases))
    configuration = work.configuration
    command = [configuration.compiler.path, *FLAGS, *configuration.flags, str(source)]
    if configuration.compiler.kind == "clang":
        command.append("-ferror-limit=0")
    # An _Atomic object that is aligned to less than its size is read by a call of libatomic, which comes with gcc.
    command += [*map(str, work.runtime), "-o", str(work.stem), "-latomic"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    source.unlink()
    return None if done.returncode == 0 else done.stderr


class _Reader:
    """Takes the numbers that runtime.c writes, one after another."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def numbers(self, count: int) -> tuple[int, ...]:
        taken = struct.unpack_from(f"<{count}i", self.data, self.at)
        self.at += 4 * count
        return taken

    def raw(self, count: int) -> bytes:
        taken = self.data[self.at : self.at + count]
        self.at += count
        return taken


def _decode(work: _Batch, output: bytes) -> list[Measurement]:
    reader = _Reader(output)
    found = [_decode_one(case, work.configuration.name, reader) for case in work.cases]
    if reader.at != len(output):
        raise ValueError("runtime.c and experiment.py do not agree on the output")
    return found


def _decode_one(case: Case, configuration: str, reader: _Reader) -> Measurement:
    status, pointer, in_memory, taken, result_size = reader.numbers(5)
    leaf_count = sum(len(one.leaves) for one in described(case))
    leaf_numbers = iter(reader.numbers(leaf_count))
    sizes = reader.numbers(2 * len(case.parameters))
    total = sum(sizes[::2])
    if status:
        return Measurement(case.name, configuration, STATUSES[status])
    masks = reader.raw(total + result_size)
    callee, caller = reader.numbers(total), reader.numbers(total)
    returned = tuple(map(_place_at_return, reader.numbers(result_size)))
    parameters: list[MeasuredParameter] = []
    disagreements: list[str] = []
    start = 0
    for one, size, align in zip(case.parameters, sizes[::2], sizes[1::2], strict=True):
        span = slice(start, start + size)
        offsets = tuple(islice(leaf_numbers, len(one.leaves)))
        places = tuple(map(_place, callee[span]))
        parameters.append(MeasuredParameter(one.name, size, align, masks[span], places, offsets))
        if callee[span] != caller[span]:
            disagreements.append(_difference(one.name, places, tuple(map(_place, caller[span]))))
        start += size
    if not taken:
        disagreements.append("the caller does not take its result from where the callee puts it")
    result = None
    if case.result is not None:
        result = MeasuredResult(result_size, masks[total:], returned, bool(in_memory))
    hidden = GENERAL[pointer] if pointer >= 0 else None
    shown = tuple(parameters)
    return Measurement(case.name, configuration, "measured", shown, hidden, result, tuple(disagreements))


@cache
def _place(source: int) -> Place | None:
    if source < 0:
        return None if source == -1 else SCATTERED
    if source < len(GENERAL) * 8:
        return Place(GENERAL[source // 8], source % 8)
    if source < REGISTER_BYTES:
        return Place(f"xmm{(source - len(GENERAL) * 8) // 16}", (source - len(GENERAL) * 8) % 16)
    return Place("stack", source - REGISTER_BYTES + 8)


@cache
def _place_at_return(source: int) -> Place | None:
    if source < REGISTER_BYTES:
        return _place(source)
    return Place(f"st{(source - REGISTER_BYTES) // 10}", (source - REGISTER_BYTES) % 10)


def _difference(name: str, callee: Sequence[Place | None], caller: Sequence[Place | None]) -> str:
    at = next(i for i, pair in enumerate(zip(callee, caller, strict=True)) if pair[0] != pair[1])
    return f"{name} byte {at}: the callee reads {spell(callee[at])}, the caller puts {spell(caller[at])}"


def spell(place: Place | None) -> str:
    if place is None:
        return "nowhere"
    return f"sp+{place.offset}" if place.where == "stack" else f"{place.where}+{place.offset}"


def summary(places: Sequence[Place | None], mask: bytes) -> str:
    """Places of an object as runs: '0..7 rdi+0, 8..11 sp+8'; padding is left out."""
    runs: list[tuple[int, int, Place | None]] = []
    for at, place in enumerate(places):
        if not mask[at]:
            continue
        if runs and place and runs[-1][2]:
            first, last, origin = runs[-1]
            if origin and last == at - 1 and place == Place(origin.where, origin.offset + at - first):
                runs[-1] = (first, at, origin)
                continue
        runs.append((at, at, place))
    return ", ".join(f"{first}..{last} {spell(place)}" for first, last, place in runs) or "empty"

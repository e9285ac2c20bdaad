"""What each option of a spec costs for one hit: `python bench/options.py [--rounds N] [--hits N] [--only WORD]`, as root.

Prints a markdown table for docs/performance.md. Each option is a spec that `specc build` makes an object of, and beside it is
a program that does the same as one writes it by hand. All are on the same function of one process, one after the other in
each round, A B C A B C ...; the kernel measures them (kernel.bpf_stats_enabled), so the trap is not in it. What an empty
program takes in the same round, which is mostly the measuring, is subtracted from all. A return probe is two programs, and
its cost is that of both.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE)]

from cost import statistics_on  # noqa: E402  (the path must be set first)
from options_cases import CASES, EMPTY, HEADER, RING, SPEC, TARGET, Case  # noqa: E402

from specc.buffers import Reader, open_buffer  # noqa: E402
from specc.build import compile_object  # noqa: E402
from specc.compiler.find import find_compiler  # noqa: E402
from specc.describe.reader import description_of  # noqa: E402
from specc.elf import file_offset, read_elf, symbols  # noqa: E402
from specc.libbpf import Library  # noqa: E402
from specc.run.system import attach_by_ioctl, perf_event_open, pmu  # noqa: E402

SAID = 10.0  # ns; of less no ratio is printed


@dataclass(slots=True)
class Loaded:
    """Programs and whether each is for the return; where events come out, if they do; how many a hit makes."""

    programs: list[tuple[int, bool]]
    reader: Reader | None
    events: int | None


class Bench:
    def __init__(self, library: Library, folder: Path) -> None:
        self.library = library
        self.target = folder / "target"
        (folder / "target.c").write_text(TARGET)
        subprocess.run(["gcc", "-O2", "-o", self.target, folder / "target.c"], check=True)
        elf = read_elf(self.target.read_bytes())
        offset, kind = file_offset(elf, symbols(elf, "probed")[0].value), pmu("uprobe")
        assert offset is not None and kind is not None
        self.offset, self.kind = offset, kind
        self.caller = subprocess.Popen([self.target], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def of_spec(self, stack: ExitStack, case: Case, path: Path) -> Loaded:
        data = path.read_bytes()
        described = description_of(data)
        thing = stack.enter_context(self.library.open(data, "cost"))
        thing.load()
        (probe,) = described.probes
        programs = [(thing.programs[probe.symbol], case.at_return)]
        if probe.entry is not None:
            programs.insert(0, (thing.programs[probe.entry], False))
        return Loaded(programs, self._reader(stack, thing.maps.get(described.events_map)), case.events)

    def by_hand(self, stack: ExitStack, case: Case) -> Loaded:
        thing = stack.enter_context(
            self.library.open(compile_object(case.by_hand(), "by_hand", find_compiler()), "hand")
        )
        thing.load()
        programs = [(fd, case.at_return and name == "by_hand") for name, fd in thing.programs.items()]
        return Loaded(sorted(programs, key=lambda p: p[1]), self._reader(stack, thing.maps.get("events")), case.events)

    def empty(self, stack: ExitStack) -> Loaded:
        thing = stack.enter_context(self.library.open(compile_object(EMPTY, "empty", find_compiler()), "empty"))
        thing.load()
        return Loaded([(fd, False) for fd in thing.programs.values()], None, None)

    def _reader(self, stack: ExitStack, ring: int | None) -> Reader | None:
        if ring is None:
            return None
        reader = open_buffer("ring", ring, RING)
        stack.callback(reader.close)
        return reader

    def cost(self, loaded: Loaded, hits: int) -> float:
        """Nanoseconds that its programs took for one hit, as the kernel counts them."""
        assert self.caller.stdin is not None and self.caller.stdout is not None
        number, flag = self.kind
        with ExitStack() as stack:
            for program, at_return in loaded.programs:
                path = os.fsencode(self.target)
                event = perf_event_open(number, flag if at_return else 0, config1=path, config2=self.offset)
                stack.callback(os.close, event)
                attach_by_ioctl(event, program)
            before = [self.library.program_runs(program) for program, _ in loaded.programs]
            self.caller.stdin.write(f"{hits}\n")
            self.caller.stdin.flush()
            self.caller.stdout.readline()
            after = [self.library.program_runs(program) for program, _ in loaded.programs]
        runs = [b[1] - a[1] for a, b in zip(before, after, strict=True)]
        assert set(runs) == {hits}, (runs, hits)
        if loaded.reader is not None:
            seen = sum(len(batch) for batch in loaded.reader.poll(0))
            assert loaded.events is None or seen == hits * loaded.events, (seen, hits)
        return sum(b[0] - a[0] for a, b in zip(before, after, strict=True)) / hits

    def close(self) -> None:
        self.caller.kill()
        self.caller.communicate()


def build(folder: Path, target: Path, cases: Sequence[Case]) -> list[Path]:
    """The objects of all cases, by one run of specc."""
    (folder / "cost.h").write_text(HEADER)
    specs = folder / "specs"
    specs.mkdir()
    for number, case in enumerate(cases):
        (specs / f"cost{number}.yaml").write_text(
            SPEC.format(
                number=number,
                fields=case.fields,
                ring=RING >> 20,
                target=target,
                probe=case.probe,
                kind="uretprobe" if case.at_return else "uprobe",
            )
        )
    subprocess.run(
        [sys.executable, "-m", "specc", "build", "specs", "-o", "out", "--emit", "obj"],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return [folder / "out" / f"cost{number}.bpf.o" for number in range(len(cases))]


def measure(cases: Sequence[Case], rounds: int, hits: int) -> dict[str, tuple[list[float], list[float]]]:
    """For each case, specc's and the hand-written program's costs in each round, net of the empty program's."""
    found: dict[str, tuple[list[float], list[float]]] = {case.name: ([], []) for case in cases}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        library = stack.enter_context(Library())
        bench = Bench(library, folder)
        stack.callback(bench.close)
        objects = build(folder, bench.target, cases)
        pairs = [
            (c, bench.of_spec(stack, c, path), bench.by_hand(stack, c)) for c, path in zip(cases, objects, strict=True)
        ]
        empty = bench.empty(stack)
        stack.enter_context(statistics_on())
        for round_ in range(rounds + 1):
            nothing = bench.cost(empty, hits)
            for case, ours, theirs in pairs:
                times = len(ours.programs), len(theirs.programs)
                costs = bench.cost(ours, hits) - nothing * times[0], bench.cost(theirs, hits) - nothing * times[1]
                if round_:  # the first one warms up
                    for of_all, cost in zip(found[case.name], costs, strict=True):
                        of_all.append(cost)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--hits", type=int, default=10_000)
    parser.add_argument("--only", default="", help="cases with this in their name")
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("the cost of a probe needs root", file=sys.stderr)
        return 3
    cases = [case for case in CASES if options.only in case.name]
    found = measure(cases, options.rounds, options.hits)
    print("| what a hit does | ns, by specc | ns, by hand | ratio |\n|---|---|---|---|")
    for case in cases:
        ours, theirs = found[case.name]
        medians = statistics.median(ours), statistics.median(theirs)
        # Of a few nanoseconds, most is noise.
        ratio = (
            f"{statistics.median(a / b for a, b in zip(ours, theirs, strict=True)):.2f}" if min(medians) >= SAID else ""
        )
        print(f"| {case.name} | {medians[0]:.0f} | {medians[1]:.0f} | {ratio} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Cases through the whole oracle: measure, ask specc, compare; faults come with the smallest C that shows them.

In: cases.  Out: a Trial: how often each outcome was seen, and the failures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat

from .compare import Verdict, claims, compare
from .experiment import Configuration, Measurement, Measurements, compilers, configurations, has_types, measure
from .shapes import Case, Signature, render
from .shrink import shrink

SPLIT = 200  # from so many cases on, more than one process

# Wide vectors are passed otherwise where the compiler may use AVX. That excuses a refusal; it binds no claim.
WITNESS_FLAGS = ((("-O2",),), (("-O2", "-mavx"), ("-O2", "-mavx2"), ("-O2", "-mavx512f")))


@dataclass(frozen=True, slots=True)
class Failure:
    case: Case
    verdict: Verdict

    def __str__(self) -> str:
        told = "\n".join(f"  {fault.kind}: {fault.where}: {fault.message}" for fault in self.verdict.faults)
        return f"{self.case.text}{told}"


@dataclass(frozen=True, slots=True)
class Trial:
    outcomes: Counter[str]
    failures: tuple[Failure, ...]


def witnesses(chosen: Sequence[Configuration]) -> list[list[Configuration]]:
    """Every other compiler here; then all of them with flags that move arguments."""
    rounds = [[Configuration(one, flags) for one in compilers() for flags in group] for group in WITNESS_FLAGS]
    return [[one for one in group if one not in chosen] for group in rounds]


def run(cases: Sequence[Case], chosen: Sequence[Configuration] | None = None, jobs: int = 2) -> Trial:
    """In `jobs` processes: specc thinks in Python for as long as the compilers work."""
    chosen = chosen or configurations()
    if jobs == 1 or len(cases) < SPLIT:
        return _run(cases, chosen, jobs)
    size = -(-len(cases) // (2 * jobs))
    parts = [cases[start : start + size] for start in range(0, len(cases), size)]
    with ProcessPoolExecutor(jobs) as pool:
        found = list(pool.map(_run, parts, repeat(chosen), repeat(1)))
    outcomes = sum((one.outcomes for one in found), Counter[str]())
    return Trial(outcomes, tuple(failure for one in found for failure in one.failures))


def _run(cases: Sequence[Case], chosen: Sequence[Configuration], jobs: int) -> Trial:
    verdicts = judge(cases, measure(cases, chosen, jobs), chosen, jobs)
    outcomes: Counter[str] = Counter()
    for case in cases:
        outcomes.update(verdicts[case.name].outcomes)
    failures = tuple(Failure(case, verdicts[case.name]) for case in cases if verdicts[case.name].faults)
    return Trial(outcomes, failures)


def judge(
    cases: Sequence[Case], measured: Measurements, chosen: Sequence[Configuration], jobs: int = 2
) -> dict[str, Verdict]:
    """The witnesses are only heard where they could excuse something: that is rare."""
    claimed = claims(cases)
    verdicts = {case.name: compare(case, claimed[case.name], measured[case.name]) for case in cases}
    doubtful = [case for case in cases if verdicts[case.name].undecided]
    told: Measurements = {case.name: [] for case in doubtful}
    for group in witnesses(chosen):
        found = measure(doubtful, group, jobs) if doubtful and group else {}
        for case in doubtful:
            told[case.name] += found.get(case.name, [])
            told[case.name] += [_silent(case, one) for one in group if not has_types(one, case)]
            verdicts[case.name] = compare(case, claimed[case.name], measured[case.name], told[case.name])
        doubtful = [case for case in doubtful if verdicts[case.name].undecided]
    return verdicts


def _silent(case: Case, configuration: Configuration) -> Measurement:
    return Measurement(case.name, configuration.name, "not compiled", message="it lacks a type")


def shrunk(failure: Failure, chosen: Sequence[Configuration] | None = None) -> Failure:
    """The smallest signature near this one that shows a fault of the same kind."""
    kinds = {fault.kind for fault in failure.verdict.faults}

    def failing(signatures: Sequence[Signature]) -> list[bool]:
        cases = [render(one, f"f{index}") for index, one in enumerate(signatures)]
        bad = {
            one.case.name for one in run(cases, chosen).failures if kinds & {fault.kind for fault in one.verdict.faults}
        }
        return [case.name in bad for case in cases]

    case = render(shrink(failure.case.signature, failing), "f")
    again = run([case], chosen).failures
    return again[0] if again else failure


def report(failures: Sequence[Failure], seed: int, shown: int, chosen: Sequence[Configuration] | None = None) -> str:
    """The smallest C for the first failures of each kind, and how to see them again."""
    lines = [f"{len(failures)} prototypes failed; SPECC_SEED={seed} shows them again"]
    seen: Counter[str] = Counter()
    printed: set[str] = set()
    for failure in sorted(failures, key=lambda one: len(one.case.text)):
        kind = failure.verdict.faults[0].kind
        seen[kind] += 1
        if seen[kind] <= shown:
            small = str(shrunk(failure, chosen))
            if small not in printed:
                lines.append(f"\n{failure.case.name}, made smaller:\n{small}")
            printed.add(small)
    lines += [f"{count:8} {kind}" for kind, count in seen.most_common()]
    return "\n".join(lines)

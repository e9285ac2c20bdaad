"""Every state of the registers and the stack with every shape of an argument: `python bench/abi_exhaustive.py`.

Also every pair of member types in every arrangement (tests/oracle/exhaustive.py has the lists). Writes
bench/results/abi_exhaustive.md: counts, where the compilers differ, and specc's faults; exits with 1 if there is one.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import islice, repeat
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from oracle import exhaustive, trial  # noqa: E402  (the path must be set first)
from oracle.compare import agree, same_result  # noqa: E402
from oracle.exhaustive import Labelled  # noqa: E402
from oracle.experiment import Measurement, configurations, measure, summary  # noqa: E402

RESULT = ROOT / "bench" / "results" / "abi_exhaustive.md"
STEP = 500


@dataclass(slots=True)
class Group:
    """One row of the table."""

    cases: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    differ: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))  # shape -> how, in each state
    contradictions: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def chunks(items: Iterator[Labelled]) -> Iterator[list[Labelled]]:
    while chunk := list(islice(items, STEP)):
        yield chunk


def difference(found: Sequence[Measurement]) -> str:
    """How the compilers differ, at the first parameter where they do; empty if they do not."""
    usable = [one for one in found if one.status == "measured"]
    for index in range(len(usable[0].parameters) if usable else 0):
        if not agree(one.parameters[index] for one in usable):
            ways: dict[str, list[str]] = defaultdict(list)
            for one in usable:
                parameter = one.parameters[index]
                ways[summary(parameter.places, parameter.mask)].append(one.configuration)
            return "; ".join(f"{' and '.join(who)}: {way}" for way, who in ways.items())
    return "" if same_result(usable) else "the result"


def merge(into: dict[str, Group], more: dict[str, Group]) -> None:
    for name, group in more.items():
        whole = into[name]
        whole.cases += group.cases
        whole.outcomes += group.outcomes
        whole.contradictions += group.contradictions
        whole.faults += group.faults
        for shape, ways in group.differ.items():
            whole.differ[shape] += ways


def examine(chunk: Sequence[Labelled], with_specc: bool) -> dict[str, Group]:
    groups: dict[str, Group] = defaultdict(Group)
    cases = [one.case for one in chunk]
    found = measure(cases, configurations(), 1)
    judged = trial.judge(cases, found, configurations(), 1) if with_specc else {}
    for one in chunk:
        group = groups[one.group]
        group.cases += 1
        for measured in found[one.case.name]:
            group.contradictions += [f"{measured.configuration}: {text}" for text in measured.disagreements]
            if measured.status != "measured":
                group.outcomes[measured.status] += 1
        how = difference(found[one.case.name])
        if how:
            group.differ[one.shape].append(f"{one.state}: {how}" if one.state else how)
        verdict = judged.get(one.case.name)
        if verdict:
            group.outcomes.update(verdict.outcomes)
            group.faults += [f"{one.shape} {one.state} {fault.kind}: {fault.message}" for fault in verdict.faults]
    return groups


def table(groups: dict[str, Group], with_specc: bool) -> str:
    names = ", ".join(one.name for one in configurations())
    lines = [
        "# Every state and every shape",
        "",
        f"Made by `python bench/abi_exhaustive.py` with {names}: all compiled and run.",
        "",
        "| Group | Prototypes | Compilers differ | Callee and caller differ | Read | Refused | Faults |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, group in groups.items():
        read = sum(count for outcome, count in group.outcomes.items() if outcome.startswith("read"))
        refused = sum(count for outcome, count in group.outcomes.items() if outcome.startswith("refused"))
        said = f"{read} | {refused} | {len(group.faults)}" if with_specc else "- | - | -"
        differ = sum(map(len, group.differ.values()))
        lines.append(f"| {name} | {group.cases} | {differ} | {len(group.contradictions)} | {said} |")
    total = sum(group.cases for group in groups.values())
    outcomes = sum((group.outcomes for group in groups.values()), Counter[str]())
    lines += ["", f"{total} prototypes.", ""]
    lines += [f"- {count} arguments: {outcome}" for outcome, count in sorted(outcomes.items())]
    lines += [
        "",
        "## Where the compilers differ",
        "",
        "The first state of each shape, and in how many states they do.",
        "",
    ]
    for name, group in groups.items():
        for shape, ways in group.differ.items():
            lines.append(f"- {name}: `{shape}` ({len(ways)}): {ways[0]}")
    for title, kind in (("Contradictions", "contradictions"), ("Faults", "faults")):
        listed = [f"- {name}: {text}" for name, group in groups.items() for text in getattr(group, kind)[:20]]
        lines += ["", f"## {title}", "", *(listed or ["None."])]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="only the groups whose name has this")
    parser.add_argument("--without-specc", action="store_true", help="only measure and compare the compilers")
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    groups: dict[str, Group] = defaultdict(Group)
    parts = list(chunks(one for one in exhaustive.everything() if options.only in one.group))
    done = 0
    with ProcessPoolExecutor(options.jobs) as pool:
        results = pool.map(examine, parts, repeat(not options.without_specc))
        for part, result in zip(parts, results, strict=True):
            merge(groups, result)
            done += len(part)
            print(f"  {done} done", file=sys.stderr)
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text(table(groups, not options.without_specc))
    return 1 if any(group.faults or group.contradictions for group in groups.values()) else 0


if __name__ == "__main__":
    sys.exit(main())

"""Random prototypes by the thousand against compiled code: `python bench/abi_random.py --seed 1 100000`.

Prints how often each outcome was seen, the smallest C for each kind of fault, and exits with 1 if there is one.
A run is the numbers FIRST..FIRST+COUNT of a seed, so it can be cut into parts and taken up again anywhere.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from oracle import generate, trial  # noqa: E402  (the path must be set first)
from oracle.experiment import Configuration, compilers, configurations  # noqa: E402

STEP = 2000


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("count", nargs="?", type=int, default=100_000, help="how many prototypes (default: 100000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="begin at this number")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--every-compiler", action="store_true", help="claims must hold for each compiler found")
    parser.add_argument("--show", type=int, default=3, help="how many faults of each kind to show")
    return parser.parse_args()


def chosen_configurations(every: bool) -> tuple[Configuration, ...]:
    return configurations(compilers()) if every else configurations()


def main() -> int:
    options = arguments()
    chosen = chosen_configurations(options.every_compiler)
    print(f"seed {options.seed}, with {', '.join(one.name for one in chosen)}")
    outcomes: Counter[str] = Counter()
    failures: list[trial.Failure] = []
    end = options.first + options.count
    began = time.monotonic()
    for first in range(options.first, end, STEP):
        count = min(STEP, end - first)
        found = trial.run(generate.cases(options.seed, first, count), chosen, options.jobs)
        outcomes += found.outcomes
        failures += found.failures
        done = first + count - options.first
        rate = done / (time.monotonic() - began)
        print(f"  next: --first {first + count}; {done} done, {rate:.0f}/s, {len(failures)} failed", file=sys.stderr)
    for outcome, number in outcomes.most_common():
        print(f"{number:10} {outcome}")
    print(f"{outcomes.total():10} arguments of {options.count} prototypes")
    if failures:
        print(trial.report(failures, options.seed, options.show, chosen))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

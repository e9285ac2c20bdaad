"""What specc says of prototypes against what compiled code does: random prototypes, and the hard ones by name.

The random ones are others at each run. A failure tells the seed: SPECC_SEED=... runs the same again.
SPECC_CASES sets how many there are.
"""

from __future__ import annotations

import os
from random import SystemRandom

import pytest
from oracle import generate, hard_cases, trial
from oracle.experiment import compilers, configurations

pytest.importorskip("specc.abi", reason="specc.abi is not there")
pytest.importorskip("specc.headers", reason="specc.headers is not there")

MISSING = sorted({"gcc", "clang"} - {one.kind for one in compilers()})
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not on PATH: {' '.join(MISSING)}")

SEED = int(os.environ.get("SPECC_SEED") or SystemRandom().randrange(10**6))
COUNT = int(os.environ.get("SPECC_CASES") or 2000)
SHOWN = 5


@pytest.fixture(scope="module")
def hard() -> dict[str, trial.Failure]:
    cases = hard_cases.cases()
    return {failure.case.name: failure for failure in trial.run(cases).failures}


@pytest.mark.parametrize("name", hard_cases.HARD)
def test_hard_case(name: str, hard: dict[str, trial.Failure]) -> None:
    failure = hard.get(f"hard_{name}")
    assert failure is None, f"\n{failure}"


def test_random_prototypes() -> None:
    print(f"SPECC_SEED={SEED} SPECC_CASES={COUNT} with {', '.join(one.name for one in configurations())}")
    found = trial.run(generate.cases(SEED, 0, COUNT))
    for outcome, count in found.outcomes.most_common():
        print(f"{count:8} {outcome}")
    if found.failures:
        pytest.fail(trial.report(found.failures, SEED, SHOWN), pytrace=False)
    assert found.outcomes.total() >= COUNT

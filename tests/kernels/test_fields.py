"""Fields behind pointers: one object of each compiler, on four kernels, and values that system calls tell."""

from __future__ import annotations

import pytest

from kernels import fields, members
from kernels.results import Results

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("run", ["fields-clang", "fields-zig"])
def test_known_values(on: Results, run: str) -> None:
    if isinstance(on.plan.everywhere, str):
        pytest.skip(on.plan.everywhere)
    result = on.run(run)
    assert (result["code"], result["left"]) == (0, {}), result["err"]
    assert result["err"].splitlines()[-1] == f"received {len(result['out'].splitlines())}, lost 0"
    assert result["sum"] == on.plan.everywhere.sums[run]
    fields.check(on.plan.kernel.series, on.events(run), on.facts(run)["fields"])


@pytest.mark.parametrize("run", ["members-clang", "members-zig"])
def test_members_of_structs_by_value(on: Results, run: str) -> None:
    if isinstance(on.plan.everywhere, str):
        pytest.skip(on.plan.everywhere)
    result = on.run(run)
    assert (result["code"], result["left"]) == (0, {}), result["err"]
    assert result["err"].splitlines()[-1] == f"received {len(result['out'].splitlines())}, lost 0"
    assert result["sum"] == on.plan.everywhere.sums[run]
    members.check(on.events(run), on.facts(run))

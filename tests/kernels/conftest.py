"""The kernels that the tests here run on, each booted once for all of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import ROOT
from kernel_sources import Unavailable

from kernels.packages import SUITES
from kernels.results import Results, results_of
from kernels.table import write_table

SERIES = tuple(SUITES)
_seen: dict[str, Results] = {}  # for the table


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """A directory that pytest-xdist's processes share; None when there is one process."""
    return tmp_path_factory.getbasetemp().parent if "PYTEST_XDIST_WORKER" in os.environ else None


@pytest.fixture(params=SERIES)
def on(request: pytest.FixtureRequest, shared: Path | None) -> Results:
    """A kernel's results; the first test of each boots it."""
    try:
        results = results_of(request.param, shared)
    except Unavailable as why:
        pytest.skip(f"no virtual machine with Linux {request.param}: {why}")
    _seen[request.param] = results
    return results


@pytest.fixture(scope="session", autouse=True)
def table() -> Iterator[None]:
    """The table of docs/how-it-is-tested.md, as this run has it."""
    yield
    if len(_seen) == len(SERIES):
        write_table(ROOT / "build" / "kernels.md", _seen)

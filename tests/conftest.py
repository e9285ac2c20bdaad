"""One seed for all random tests of a run, told at its start and at its end; and a cache that is not the user's."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from random import SystemRandom
from typing import Any

import pytest

# Here and not in a fixture: the processes of pytest-xdist inherit it, and test modules read it when they are imported.
if "SPECC_SEED" not in os.environ:
    os.environ["SPECC_SEED"] = str(SystemRandom().randrange(10**6))
if "SPECC_CACHE_DIR" not in os.environ:
    os.environ["SPECC_CACHE_DIR"] = tempfile.mkdtemp(prefix="specc-tests-")
    atexit.register(shutil.rmtree, os.environ["SPECC_CACHE_DIR"], ignore_errors=True)

for _name in ("SPECC_OUTPUT_FORMAT", "SPECC_COMPILER", "SPECC_NO_CACHE", "FORCE_COLOR", "NO_COLOR"):
    os.environ.pop(_name, None)


def _seed() -> str:
    return f"random tests: SPECC_SEED={os.environ['SPECC_SEED']} makes the same ones again"


def pytest_report_header() -> str:
    return _seed()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(_seed())


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """The virtual machines of tests/kernels take one process, one after the other, while another one does the rest, file by
    file: two processes that want the same machine would wait for each other, and the commands of a document are in order."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):  # type: ignore[misc, unused-ignore]
        def _split_scope(self, nodeid: str) -> str:
            return "kernels" if nodeid.startswith("tests/kernels/") else nodeid.partition("::")[0]

    return Scheduling(config, log)

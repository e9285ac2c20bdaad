"""The results of a kernel: planned, booted, performed once for all tests of a session.

In: a series.  Out: `Results`, or Unavailable, which says what this machine lacks.

    results = results_of("6.12", None)
    results.events("functions-link")["do_futex"]          # [{"probe": "do_futex", "uaddr": ..., ...}]
    results.facts("functions-link")["futex"]              # {"uaddr": ..., "result": 0}
"""

from __future__ import annotations

import fcntl
import json
import pickle
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from command import ROOT
from kernel_sources import Unavailable

from kernels.machine import Done, ask, boot, missing_here
from kernels.packages import get_kernel
from kernels.plan import Plan, compile_triggers, make_plan

PATIENCE: Final = 300.0  # for one kernel; it takes about 60


@dataclass(frozen=True, slots=True)
class Results:
    """`runs` is by name. `why` says what went wrong, should runs be missing."""

    plan: Plan
    runs: Mapping[str, Mapping[str, Any]]
    seconds: float
    why: str
    _events: dict[str, dict[str, list[dict[str, Any]]]] = field(default_factory=dict)

    def run(self, name: str) -> Mapping[str, Any]:
        """Raises AssertionError."""
        assert name in self.runs, f"{self.plan.kernel.release} has not done {name}: {self.why}"
        result = self.runs[name]
        assert "broken" not in result, result["broken"]
        return result

    def events(self, name: str) -> dict[str, list[dict[str, Any]]]:
        """By probe, in the buffer's order; under "" all of them."""
        if name not in self._events:
            found: dict[str, list[dict[str, Any]]] = {"": []}
            for line in self.run(name)["out"].splitlines():
                event = json.loads(line)
                found[""].append(event)
                found.setdefault(event["probe"], []).append(event)
            self._events[name] = found
        return self._events[name]

    def facts(self, name: str) -> dict[str, dict[str, Any]]:
        found = {fact["do"]: fact for fact in self.run(name)["facts"]}
        problems = [fact["error"] for fact in found.values() if "error" in fact]
        assert not problems, problems
        return found


@cache
def results_of(series: str, shared: Path | None) -> Results:
    """Raises Unavailable. `shared` is a directory of all processes of a session: what one finds out the others read."""
    if lacking := missing_here():
        raise Unavailable(lacking)
    if shared is None:
        return _find_out(series)
    with (shared / f"kernel-{series}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = shared / f"kernel-{series}.pickle"
        if not known.exists():
            known.write_bytes(pickle.dumps(_or_not(series)))
    found = pickle.loads(known.read_bytes())
    if isinstance(found, Unavailable):
        raise found
    assert isinstance(found, Results)
    return found


def _or_not(series: str) -> Results | Unavailable:
    try:
        return _find_out(series)
    except Unavailable as problem:
        return problem


def _find_out(series: str) -> Results:
    kernel = get_kernel(series)
    ask(kernel)
    with tempfile.TemporaryDirectory(prefix="specc-kernels-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        plan = make_plan(kernel, folder, compile_triggers(folder))
        guest = Path(__file__).with_name("guest.py")
        env = {"SPECC_CACHE_DIR": "/dev/shm/specc-cache", "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        done = boot(kernel, [sys.executable, str(guest), str(plan.file)], patience=PATIENCE, env=env)
        if done.why and not _whole_lines(done):
            # The machine ended before it did anything, say for want of memory beside another: that is nobody's answer.
            print(f"{kernel.release} is started again: {done.why}", file=sys.stderr)
            done = boot(kernel, [sys.executable, str(guest), str(plan.file)], patience=PATIENCE, env=env)
    runs = {run["name"]: run for run in map(json.loads, _whole_lines(done))}
    return Results(plan, runs, done.seconds, done.why or done.err)


def _whole_lines(done: Done) -> list[str]:
    """A machine that was stopped may have been in the middle of a line."""
    return [line for line in done.out.split("\n")[:-1] if line]

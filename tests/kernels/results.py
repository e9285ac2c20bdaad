"""The results of a kernel: planned, booted, performed once for all tests of a session.

In: a series.  Out: `Results`, or Unavailable, which says what this machine lacks.

    results = results_of("6.12", None)
    results.events("functions-link")["do_futex"]          # [{"probe": "do_futex", "uaddr": ..., ...}]
    results.facts("functions-link")["futex"]              # {"uaddr": ..., "result": 0}
"""

from __future__ import annotations

import atexit
import fcntl
import json
import pickle
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from command import ROOT
from kernel_sources import Unavailable

from kernels.everywhere import Everywhere, build_everywhere
from kernels.machine import Done, ask, boot, missing_here
from kernels.packages import SUITES, get_kernel
from kernels.plan import Plan, compile_triggers, make_plan

PATIENCE: Final = 900.0  # for one kernel; it takes about 200, and two machines at once take twice as long


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
    found = _once(shared, f"kernel-{series}", lambda: _or_not(lambda: _find_out(series, shared)))
    if isinstance(found, Unavailable):
        raise found
    assert isinstance(found, Results)
    return found


def _once(shared: Path | None, name: str, find_out: Callable[[], Any]) -> Any:
    """What one process finds out the others read."""
    if shared is None:
        return find_out()
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = shared / f"{name}.pickle"
        if not known.exists():
            known.write_bytes(pickle.dumps(find_out()))
        return pickle.loads(known.read_bytes())


def _or_not(find_out: Callable[[], Any]) -> Any:
    try:
        return find_out()
    except Unavailable as problem:
        return problem


@cache
def everywhere_of(shared: Path | None) -> Everywhere | str:
    """The objects for all kernels, or which kernel cannot be had; one file for every machine that boots."""
    found = _once(shared, "everywhere", lambda: _or_not(lambda: _build(shared)))
    assert isinstance(found, Everywhere | Unavailable)
    return f"it needs all four kernels: {found}" if isinstance(found, Unavailable) else found


def _build(shared: Path | None) -> Everywhere:
    kernels = [get_kernel(series) for series in SUITES]
    for kernel in kernels:
        ask(kernel)
    if shared is None:
        name = tempfile.mkdtemp(prefix="specc-everywhere-")
        atexit.register(shutil.rmtree, name, ignore_errors=True)
        return build_everywhere(Path(name), kernels)
    (shared / "everywhere").mkdir()
    return build_everywhere(shared / "everywhere", kernels)


def _find_out(series: str, shared: Path | None) -> Results:
    kernel = get_kernel(series)
    ask(kernel)
    everywhere = everywhere_of(shared)
    with tempfile.TemporaryDirectory(prefix="specc-kernels-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        plan = make_plan(kernel, folder, compile_triggers(folder), everywhere)
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

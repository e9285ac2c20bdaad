"""Returns that a kernel has no room to note: counted, where it says how many, and told as unknown where it does not.

A kretprobe notes each call in progress, and has room for few. Forty threads sleep in one function at the same time.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from command import ROOT, specc
from kernel_sources import Unavailable

from kernels.machine import ask, boot, missing_here
from kernels.packages import get_kernel

SLEEPERS = 40
SPEC = """specc: 1
name: crowd
fields: [tid]
probes:
  - {name: call, kprobe: hrtimer_nanosleep, prototype: "long hrtimer_nanosleep(long rqtp)", args: []}
  - {name: done, kretprobe: hrtimer_nanosleep, prototype: "long hrtimer_nanosleep(long rqtp)", args: [return]}
"""
GUEST = """
import json, sys, threading, time
import specc
for mode, pid in json.loads(sys.argv[2]):
    ready = threading.Barrier(int(sys.argv[3]))
    def sleep():
        ready.wait()
        time.sleep(0.5)
    with specc.open(sys.argv[1], attach=mode, pid=1 if pid else None) as probe:
        threads = [threading.Thread(target=sleep) for _ in range(int(sys.argv[3]))]
        for one in threads: one.start()
        for one in threads: one.join()
        seen = [e["probe"] for e in probe.drain()]
        session = probe._session
        counts = session.counts()
        print(json.dumps([seen.count("call"), seen.count("done"), counts.lost, counts.missed, counts.skipped,
                          counts.anyones, session.untold, session.attacher.modes]), flush=True)
"""


def perform(series: str, folder: Path, runs: list[tuple[str, bool]]) -> list[list[Any]]:
    try:
        if lacking := missing_here():
            raise Unavailable(lacking)
        kernel = get_kernel(series)
        ask(kernel)
    except Unavailable as problem:
        pytest.skip(f"kernel {series}: {problem}")
    (folder / "crowd.yaml").write_text(SPEC)
    built = specc("build", "crowd.yaml", "-o", ".", "--emit", "obj", cwd=folder)
    assert built.code == 0, built.err
    folder.chmod(0o755)
    command = [sys.executable, "-c", GUEST, str(folder / "crowd.bpf.o"), json.dumps(runs), str(SLEEPERS)]
    done = boot(kernel, command, patience=120, env={"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"})
    found = [json.loads(line) for line in done.out.splitlines()]
    assert len(found) == len(runs), (done.why, done.err)
    return found


def test_it_is_not_known_before_6_7_but_in_tracefs(tmp_path: Path) -> None:
    """5.10 has room for one call for each processor, and no link; tracefs lets more be asked for, and counts."""
    best, perf, legacy = perform("5.10", tmp_path, [("auto", False), ("perf", False), ("legacy", False)])
    for calls, returns, *counts, untold, modes in (best, legacy):
        assert (calls, returns, counts, untold) == (SLEEPERS, SLEEPERS, [0, 0, 0, 0], False)
        assert modes["kretprobe"] == "legacy"
    calls, returns, lost, missed, *_, untold, modes = perf
    assert (calls, lost, missed, untold, modes["kretprobe"]) == (SLEEPERS, 0, 0, True, "perf")
    assert 0 < returns < SLEEPERS


@pytest.mark.parametrize("series", ["6.12", "7.2"])
def test_a_link_tells(series: str, tmp_path: Path) -> None:
    best, alone, perf, legacy = perform(
        series, tmp_path, [("auto", False), ("link", True), ("perf", False), ("legacy", False)]
    )
    calls, returns, lost, missed, skipped, anyones, untold, modes = best
    assert (calls, lost, skipped, anyones, untold, modes["kretprobe"]) == (SLEEPERS, 0, 0, 0, False, "link")
    assert missed == calls - returns > 0
    # Process 1 does not sleep here; the kernel counts for all.
    assert alone[:5] == [0, 0, 0, 0, 0] and alone[5] > 0
    assert perf[0] > perf[1] and perf[3] == 0 and perf[6]
    assert legacy[:6] == [SLEEPERS, SLEEPERS, 0, 0, 0, 0] and not legacy[6]

"""Running `specc` as a user does: a process of its own, in a directory of its own, with a known environment.

done = specc("check", "specs/gup.yaml", cwd=project)
assert (done.code, done.out) == (0, "")
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PATIENCE = 120.0  # seconds: a test that hangs is a failed test


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended: its exit code (negative: the signal), and what it said."""

    code: int
    out: str
    err: str


def environment(**changes: str | None) -> dict[str, str]:
    """This process's, without colour and width of a terminal; None takes a variable away."""
    env = {**os.environ, "TERM": "xterm", "PYTHONUTF8": "1"}
    for name in ("COLUMNS", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"):
        env.pop(name, None)
    for name, value in changes.items():
        if value is None:
            env.pop(name, None)
        else:
            env[name] = value
    return env


def specc(
    *arguments: str | Path,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    before: Sequence[str] = (),
) -> Done:
    """Run `specc ARGUMENTS`; `before` is a command that runs it, such as ("setpriv", ...)."""
    done = subprocess.run(
        [*before, sys.executable, "-m", "specc", *map(str, arguments)],
        cwd=cwd,
        env=environment() if env is None else dict(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a directory, hidden ones too: {relative path: bytes}."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}

"""`specc lock`: write down what specs give. Entries of other specs stay, those of specs that are gone do not."""

from __future__ import annotations

import argparse
import os
import sys

from specc.commands.build import Job, Run, emits
from specc.commands.common import USAGE, exit_code, tell
from specc.config import Configs, shown
from specc.diagnostics import Severity, Stop
from specc.lock import NAME, Lock, LockedSpec, load_lock, lock_folder, locked_spec, path_in, write_lock
from specc.noun import replace
from specc.outputs import write_outputs


def run(options: argparse.Namespace) -> int:
    emit = emits(options)
    if emit is None:
        return USAGE
    options.locked = True  # what a lock is made of is kept
    work = Run(options, emit)
    work.build()
    configs = Configs()
    folders: dict[str, list[Job]] = {}
    for job in work.claimed():
        folders.setdefault(lock_folder(job.path, configs)[0], []).append(job)
    if not work.failed:
        for folder, jobs in sorted(folders.items()):
            try:
                _write(folder, jobs, work)
            except Stop as problem:
                work.report.diagnostics.append(problem.diagnostic)
    tell(work.report, options.output_format)
    return exit_code(work.report)


def _write(folder: str, jobs: list[Job], work: Run) -> None:
    """Raises Stop."""
    path = os.path.join(folder, NAME)
    known: dict[str, LockedSpec] = {}
    if os.path.lexists(path):
        try:
            lock, _ = load_lock(shown(path))
            known = {s.path: s for s in lock.specs if os.path.lexists(os.path.join(folder, s.path))}
        except Stop as problem:
            if problem.diagnostic.code != "SP514":
                raise
            # As a merge leaves it: it is written anew, and what it said of other specs is lost.
            work.report.diagnostics.append(replace(problem.diagnostic, severity=Severity.WARNING))
    for job in jobs:
        assert job.made is not None and job.outputs is not None
        made = locked_spec(path_in(folder, job.path), *job.made, job.outputs, work.compiler_name())
        known[made.path] = made
    text = write_lock(Lock(tuple(known.values())))
    done = write_outputs({NAME: text.encode()}, os.path.dirname(shown(path)))
    if work.options.output_format in ("full", "concise"):
        print(f"{done[NAME]} {shown(path)}: {len(known)} spec{'' if len(known) == 1 else 's'}", file=sys.stderr)

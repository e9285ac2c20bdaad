"""`specc diff`: whether those who read the events of specs must change, when the specs do."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from specc.commands.common import FINDINGS, FINE, SUFFIXES, USAGE, exit_code, find_specs, tell
from specc.diagnostics import Diagnostic, Report, Stop, stop
from specc.lock import EventChange, Lock, LockedSpec, event_changes, load_lock, locked_spec, spec_changes
from specc.noun import replace
from specc.pipeline import front
from specc.pipeline import session as open_session

if TYPE_CHECKING:
    from specc.pipeline import Session


def run(options: argparse.Namespace) -> int:
    against = options.against
    if against is None and len(options.what) != 2:
        return _usage("give two specs, two locks, or --against git:REF")
    if against is not None and not against.startswith("git:"):
        return _usage(f"--against takes git:REF, not `{against}`")
    report = Report()
    changes: Sequence[EventChange] = ()
    try:
        if against is None:
            changes = _of_two(options, report)
        else:
            changes = _since(options, against.removeprefix("git:"), report)
    except Stop as problem:
        report.diagnostics.append(problem.diagnostic)
    if report.failed:
        tell(report, options.output_format)
        return exit_code(report)
    if report.diagnostics and options.output_format in ("full", "concise"):
        tell(report, options.output_format)
    _print(changes, options.format)
    return FINDINGS if any(change.breaks for change in changes) else FINE


def _usage(what: str) -> int:
    print(f"specc diff: {what}", file=sys.stderr)
    return USAGE


def _of_two(options: argparse.Namespace, report: Report) -> Sequence[EventChange]:
    old, new = options.what
    are_specs = [name.endswith(SUFFIXES) for name in (old, new)]
    if not any(are_specs):
        return event_changes(load_lock(old)[0], load_lock(new)[0])
    session = open_session(options.compiler, options.btf)
    if all(are_specs):
        before, after = (_compiled(Path(name), name, session, report) for name in (old, new))
        return () if before is None or after is None else spec_changes(before, after)
    raise stop("SP517", "a spec and a lock cannot be compared", None, help="give two specs, or two locks")


def _compiled(path: Path, shown: str, session: Session, report: Report) -> LockedSpec | None:
    program = front(path, session, report)
    return None if program is None else locked_spec(shown, program, (), {})


def _since(options: argparse.Namespace, reference: str, report: Report) -> Sequence[EventChange]:
    """The specs as they are, against those of a commit, at the same paths."""
    from specc.history import checkout

    named: list[str] = options.what or ["specs"]
    with checkout(reference, Path(_folder(named[0]))) as (top, tree):
        now: list[Path] = []
        then: list[Path] = []
        for name in named:
            inside = _inside(name, top)
            if inside.startswith(".."):
                raise stop("SP516", f"`{name}` is not in the repository {top}", None)
            here, there = _specs_of(Path(name), report), _specs_of(tree / inside, report)
            if not here and not there:
                raise stop("SP516", f"`{name}` has no specs, neither here nor in {reference}", None)
            now, then = now + here, then + there
        session = open_session(options.compiler, options.btf)
        new = [_compiled(p, _inside(str(p), top), session, report) for p in now]
        session = open_session(options.compiler, options.btf)
        before = Report()
        old = [_compiled(p, str(p.relative_to(tree)), session, before) for p in then]
        report.diagnostics += [_as_of(reference, tree, d) for d in before.diagnostics]
    return event_changes(*(Lock(tuple(s for s in side if s is not None)) for side in (old, new)))


def _as_of(reference: str, tree: Path, found: Diagnostic) -> Diagnostic:
    """A finding in a file of the commit, with the name that git has for that."""
    where = found.where
    if where is None or not where.file.startswith(f"{tree}/"):
        return found
    return replace(found, where=replace(where, file=f"{reference}:{where.file.removeprefix(f'{tree}/')}"))


def _specs_of(path: Path, report: Report) -> list[Path]:
    """The specs that a name means, none where there is no such file. What cannot be read is reported."""
    told = Report()
    found = find_specs([str(path)], told) if os.path.exists(path) else []
    report.diagnostics += [d for d in told.diagnostics if d.code == "SP001"]
    return found


def _inside(name: str, top: Path) -> str:
    """A spec's path in the repository; git tells its top without links."""
    folder, base = os.path.split(os.path.abspath(name))
    return os.path.relpath(os.path.join(os.path.realpath(folder), base), top)


def _folder(name: str) -> str:
    """The nearest directory that is there: a spec that is gone was in this repository too."""
    folder = os.path.abspath(name)
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return folder


def _print(changes: Sequence[EventChange], form: str) -> None:
    breaking = sum(change.breaks for change in changes)
    if form == "json":
        described = [
            {"spec": c.spec, "probe": c.probe or None, "field": c.field or None, "kind": c.kind, "breaks": c.breaks,
             "message": c.text}
            for c in changes
        ]  # fmt: skip
        print(json.dumps({"version": 1, "breaks": breaking > 0, "changes": described}, indent=1))
        return
    spec = None
    for change in changes:
        if change.spec != spec:
            spec = change.spec
            print(spec)
        where = f"{change.probe}: " if change.probe else ""
        print(f"  {'breaks' if change.breaks else 'fine  '}  {where}{change.text}")
    if not changes:
        print("the events are the same")
    elif breaking:
        print(
            f"{breaking} change{'' if breaking == 1 else 's'} break{'s' if breaking == 1 else ''} those who read the events"
        )
    else:
        print("those who read the events can stay as they are")

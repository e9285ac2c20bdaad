"""`specc check`: every error of every spec in one run, and where arguments are on each target; writes nothing."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from specc.commands.common import exit_code, find_specs, tell
from specc.diagnostics import Report
from specc.lock import Locks
from specc.pipeline import front
from specc.pipeline import session as open_session

if TYPE_CHECKING:
    from specc.ir import Program
    from specc.survey import Survey


def run(options: argparse.Namespace) -> int:
    report = Report()
    specs = find_specs(options.specs, report)
    session = open_session(options.compiler, options.btf)
    surveyed: list[tuple[str, list[Survey]]] = []
    locks, locked = Locks(), Report()
    for path in specs:
        surveys: list[Survey] = []
        program = front(path, session, report, resolve=options.resolve, surveys=surveys)
        surveyed.append((str(path), surveys))
        if program is not None and options.lock and locks.there(str(path)):
            locks.compare(str(path), program, surveys, _texts(program), "", locked, needed=False)
    if not report.failed:
        locks.compare_rest(locked)
    report.extend(locked)
    if options.format == "json":
        from specc.matrix import matrix_json

        print(json.dumps(matrix_json(surveyed, report.diagnostics), indent=1))
        if options.output_format == "json":
            return exit_code(report)  # the findings are in it
    elif options.output_format != "json" and _print_tables(surveyed) and options.output_format == "full":
        sys.stderr.write("\n" if report.diagnostics else "")
    tell(report, options.output_format)
    if not report.diagnostics and options.output_format in ("full", "concise"):
        print(f"{len(specs)} spec{'s' if len(specs) != 1 else ''} checked, nothing wrong", file=sys.stderr)
    return exit_code(report)


def _texts(program: Program) -> dict[str, bytes]:
    """The outputs that need no compiler."""
    from specc.pipeline import emit_all

    texts = emit_all(program)
    return {f"{texts.name}.bpf.c": texts.c_text.encode(), f"{texts.name}.h": texts.header.encode()}


def _print_tables(surveyed: list[tuple[str, list[Survey]]]) -> bool:
    shown = [(path, surveys) for path, surveys in surveyed if surveys]
    if not shown:
        return False
    from specc.matrix import matrix_text

    for number, (path, surveys) in enumerate(shown):
        head = f"{Path(path)}\n\n" if len(surveyed) > 1 else ""
        sys.stdout.write(("\n" if number else "") + head + matrix_text(surveys))
    sys.stdout.flush()
    return True

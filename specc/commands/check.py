"""`specc check`: every error of every spec in one run; writes nothing."""

from __future__ import annotations

import argparse
import sys

from specc.commands.common import exit_code, find_specs, tell
from specc.diagnostics import Report
from specc.pipeline import front
from specc.pipeline import session as open_session


def run(options: argparse.Namespace) -> int:
    report = Report()
    specs = find_specs(options.specs, report)
    session = open_session(options.compiler, options.btf)
    for path in specs:
        front(path, session, report, resolve=options.resolve)
    tell(report, options.output_format)
    if not report.diagnostics and options.output_format in ("full", "concise"):
        print(f"{len(specs)} spec{'s' if len(specs) != 1 else ''} checked, nothing wrong", file=sys.stderr)
    return exit_code(report)

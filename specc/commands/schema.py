"""`specc schema`: the JSON Schema of specs; with `--event SPEC`, of the records that a spec's probes give."""

from __future__ import annotations

import argparse
import sys
from importlib.resources import files
from pathlib import Path

from specc.commands.common import FINE, exit_code, tell
from specc.diagnostics import Report
from specc.pipeline import front
from specc.pipeline import session as open_session


def run(options: argparse.Namespace) -> int:
    if options.event is None:
        sys.stdout.write((files("specc") / "spec.schema.json").read_text(encoding="utf-8"))
        return FINE
    report = Report()
    program = front(Path(options.event), open_session(options.compiler, options.btf), report)
    tell(report, options.output_format)
    if program is None:
        return exit_code(report)
    from specc.records import schema_text

    sys.stdout.write(schema_text(program))
    return FINE

"""The whole compiler on one screen: a spec's path in, its program, its C and the files it gives out.

    session = Session()
    program = front(Path("specs/gup.yaml"), session, report)     # None when something was reported
    text = emit(program)

Every stage is a function in a module of its own; here they only follow one another.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from specc.config import TARGETS_VARIABLE
from specc.diagnostics import Report, Stop
from specc.noun import dataclass, field, replace
from specc.sources import Sources

if TYPE_CHECKING:
    from specc.compiler import Compiler
    from specc.ir import Program
    from specc.survey import Survey


class Session:
    """What a run shares between specs: the compiler, found when first needed, and the sources of prototypes."""

    def __init__(self, compiler: Callable[[], Compiler], btf_files: Sequence[Path] = ()) -> None:
        variable = os.environ.get(TARGETS_VARIABLE, "")
        self.sources = Sources(lambda: compiler().preprocess_argv, tuple(btf_files), variable)


def session(request: str | None, btf_files: Sequence[str] = ()) -> Session:
    """The session that a command's --compiler and --btf ask for."""

    @cache
    def compiler() -> Compiler:
        from specc.compiler.find import find_compiler

        return find_compiler(request)

    return Session(compiler, [Path(b) for b in btf_files])


def front(
    path: Path, session: Session, report: Report, *, resolve: bool = True, surveys: list[Survey] | None = None
) -> Program | None:
    """A spec file to its program; None when errors were reported, or when `resolve` is off.

    `surveys` takes up what each probe of a kernel function is on every target.
    """
    findings = Report()
    try:
        program = _front(path, session, findings, resolve, surveys)
    except Stop as problem:
        findings.diagnostics.append(problem.diagnostic)
        program = None
    report.extend(findings)
    return None if findings.failed else program


def _front(path: Path, session: Session, report: Report, resolve: bool, surveys: list[Survey] | None) -> Program | None:
    from specc.source import load
    from specc.spec import missing_files, read_spec

    spec = read_spec(load(path), report)
    if spec is None:
        return None
    missing_files(spec, path.parent, report)
    if report.failed or not resolve:
        return None
    try:
        session.sources.look(spec)
    except Stop as problem:
        report.diagnostics.append(problem.diagnostic)
    session.sources.start(spec)  # the preprocessor works while Python imports the rest

    from specc.emit import prepare
    from specc.lower import lower
    from specc.resolve import resolve as resolve_prototypes

    prepare()
    unresolved: set[str] = set()
    resolved = resolve_prototypes(spec, session.sources, report, surveys, unresolved)
    # What has no prototype has been reported, and what would follow from that is no news; the other probes' errors are told
    # in the same run.
    rest = tuple(p for p in spec.probes if p.name.text not in unresolved)
    return lower(replace(spec, probes=rest), resolved, report)


@dataclass(frozen=True, slots=True)
class Texts:
    """What a program is emitted as. `consumers` are the texts that few ask for, by how --emit calls them."""

    name: str
    c_text: str
    header: str
    consumers: Mapping[str, str] = field(default_factory=dict)


def emit_all(program: Program, wanted: Sequence[str] = ()) -> Texts:
    """The texts, each sealed with the digest that later tells whether somebody edited it."""
    from specc.emit import emit, emit_header
    from specc.outputs import seal

    consumers: dict[str, str] = {}
    if "jsonschema" in wanted:
        from specc.records import schema_text

        consumers["jsonschema"] = seal(schema_text(program), "json")
    if "python" in wanted:
        from specc.consumer import emit_python

        consumers["python"] = seal(emit_python(program), "python")
    return Texts(program.name, seal(emit(program)), seal(emit_header(program)), consumers)

"""The emitted C of whole specs, and the errors of whole specs, against files that were read by a person.

tests/golden/programs/<case>/        spec.yaml, headers it names, and NAME.bpf.c and NAME.h as they must come out
tests/golden/program_errors/<case>/  spec.yaml, headers it names, and expected.txt

SPECC_UPDATE_GOLDEN=1 writes the expected files anew; read the difference before it is committed.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from specc.compiler.find import find_compiler
from specc.diagnostics import Report, Sources, render
from specc.pipeline import Session, emit_all, front

HERE = Path(__file__).parent / "golden"
PROGRAMS = sorted(p.parent.name for p in HERE.glob("programs/*/spec.*"))
ERRORS = sorted(p.parent.name for p in HERE.glob("program_errors/*/spec.*"))
UPDATE = bool(os.environ.get("SPECC_UPDATE_GOLDEN"))


def spec_of(case: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(case)
    [spec] = Path().glob("spec.*")
    return spec


def compare(path: Path, text: str) -> None:
    if UPDATE:
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("case", PROGRAMS)
def test_emitted_text(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = spec_of(HERE / "programs" / case, monkeypatch)
    report = Report()
    program = front(spec, Session(find_compiler), report)
    assert render(report.diagnostics, "full", Sources()) == ""
    assert program is not None
    texts = emit_all(program)
    compare(Path(f"{texts.name}.bpf.c"), texts.c_text)
    compare(Path(f"{texts.name}.h"), texts.header)


@pytest.mark.parametrize("case", ERRORS)
def test_error_text(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = spec_of(HERE / "program_errors" / case, monkeypatch)
    report = Report()
    program = front(spec, Session(find_compiler), report)
    assert program is None
    got = render(report.diagnostics, "full", Sources())
    assert got, "the case has no error"
    compare(Path("expected.txt"), got)


def test_every_code_of_lowering_has_a_case() -> None:
    package = Path(__file__).parent.parent / "specc"
    files = [*(package / "lower").glob("*.py"), package / "resolve.py"]
    codes = {c for f in files for c in re.findall(r'"(SP\d{3})"', f.read_text(encoding="utf-8"))}
    texts = [p.read_text(encoding="utf-8") for p in HERE.glob("program_errors/*/expected.txt")]
    shown = {c for text in texts for c in re.findall(r"^(SP\d{3}) ", text, re.MULTILINE)}
    # What a BTF file is needed for: tests/test_resolve.py and tests/test_paths.py have it.
    assert codes - shown == {"SP209", "SP255", "SP256", "SP308"}

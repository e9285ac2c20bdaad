"""Every error of the spec language as a user sees it: tests/golden/spec_errors/<case>/{spec.yaml or spec.toml, expected.txt}.

SPECC_UPDATE_GOLDEN=1 writes the expected texts anew; read the difference before it is committed.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from specc.diagnostics import Report, Sources, Stop, render
from specc.source import load
from specc.spec import missing_files, read_spec

GOLDEN = Path(__file__).parent / "golden" / "spec_errors"
EXPLAIN = Path(__file__).parent.parent / "specc" / "explain"
SOURCE = Path(__file__).parent.parent / "specc"
CASES = sorted(path.parent.name for path in GOLDEN.glob("*/spec.*"))


def errors_of(spec: Path) -> str:
    report = Report()
    try:
        document = load(spec, shown=spec.name)
        read = read_spec(document, report)
        if read is not None:
            missing_files(read, spec.parent, report)
    except Stop as problem:
        report.diagnostics.append(problem.diagnostic)
    sources = Sources()
    sources.add(spec.name, spec.read_bytes().decode("utf-8-sig", errors="replace"))
    return render(report.diagnostics, "full", sources)


@pytest.mark.parametrize("case", CASES)
def test_error_text(case: str) -> None:
    [spec] = (GOLDEN / case).glob("spec.*")
    got = errors_of(spec)
    assert got, "the case has no error"
    expected = GOLDEN / case / "expected.txt"
    if os.environ.get("SPECC_UPDATE_GOLDEN"):
        expected.write_text(got, encoding="utf-8")
    assert got == expected.read_text(encoding="utf-8")


def codes_in_code() -> set[str]:
    files = [*(SOURCE / "source").glob("*.py"), *(SOURCE / "spec").glob("*.py"), *(SOURCE / "schema").glob("*.py")]
    return {code for file in files for code in re.findall(r'"(SP\d{3})"', file.read_text(encoding="utf-8"))}


def test_every_code_has_a_golden_case() -> None:
    shown = {
        code
        for case in CASES
        for code in re.findall(r"^(SP\d{3}) ", (GOLDEN / case / "expected.txt").read_text(encoding="utf-8"), re.M)
    }
    # These need a file that cannot be committed (a FIFO, 4 MiB, a wrong name): tests/test_source.py has them.
    assert codes_in_code() - shown == {"SP001", "SP002", "SP004"}


def codes_of(text: str, directory: Path) -> set[str]:
    spec = directory / f"spec.{'toml' if text.startswith('specc =') else 'yaml'}"
    spec.write_text(text, encoding="utf-8")
    return set(re.findall(r"^(SP\d{3}) ", errors_of(spec), re.M))


@pytest.mark.parametrize("code", sorted(codes_in_code()))
def test_every_code_has_a_page_whose_examples_are_true(code: str, tmp_path: Path) -> None:
    page = (EXPLAIN / f"{code}.md").read_text(encoding="utf-8")
    assert re.match(rf"# {code}: \S.*\n", page) and "\nHow to mend it: " in page
    wrong, right = (
        "".join(line.removeprefix("    ") + "\n" for line in found.group(1).splitlines())
        for found in re.finditer(r"^(?:Wrong|Right)[^\n]*:\n\n((?:    [^\n]*\n)+)", page, re.M)
    )
    if wrong.startswith("$ "):
        assert code in ("SP001", "SP002", "SP003", "SP004") and f"\n{code} " in wrong
        return
    (tmp_path / "specs").mkdir()
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "mm.h").write_text("")
    assert codes_of(wrong, tmp_path / "specs") == {code}
    assert codes_of(right, tmp_path / "specs") == set()

"""Every diagnostic code that specc can say has a page, every page is of a code that it can say, and all can be asked for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from command import specc

from specc.commands.explain import pages

PACKAGE = Path(__file__).parent.parent / "specc"
PAGES = pages()


def codes_in_code() -> set[str]:
    return {c for f in PACKAGE.rglob("*.py") for c in re.findall(r'"(SP\d{3})"', f.read_text(encoding="utf-8"))}


def test_codes_and_pages_are_the_same() -> None:
    assert sorted(codes_in_code()) == sorted(PAGES)


@pytest.mark.parametrize("code", sorted(PAGES))
def test_page(code: str, tmp_path: Path) -> None:
    text = PAGES[code]
    head, blank, *rest = text.splitlines()
    assert re.fullmatch(rf"# {code}: \S.*[^.]", head)
    assert blank == "" and len(rest) >= 3
    assert max(len(line) for line in text.splitlines() if not line.startswith("    ")) <= 120  # examples may be long


def test_explain_prints_a_page(tmp_path: Path) -> None:
    done = specc("explain", "sp201", cwd=tmp_path)
    assert (done.code, done.out.rstrip("\n"), done.err) == (0, PAGES["SP201"].rstrip("\n"), "")


def test_explain_lists_the_codes(tmp_path: Path) -> None:
    done = specc("explain", cwd=tmp_path)
    assert done.code == 0
    assert [line[:5] for line in done.out.splitlines()] == sorted(PAGES)


def test_explain_of_nothing(tmp_path: Path) -> None:
    done = specc("explain", "SP200", cwd=tmp_path)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("specc: no diagnostic has the code `SP200`; did you mean `SP2")

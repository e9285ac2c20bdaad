"""`specc explain CODE`: what a diagnostic means and how to mend it; without a code, all of them by title."""

from __future__ import annotations

import argparse
import sys
from importlib.resources import files

from specc.commands.common import FINE, USAGE
from specc.diagnostics import did_you_mean


def pages() -> dict[str, str]:
    """Every code's page, sorted by code."""
    folder = files("specc") / "explain"
    found = {
        p.name.removesuffix(".md"): p.read_text(encoding="utf-8") for p in folder.iterdir() if p.name.endswith(".md")
    }
    return dict(sorted(found.items()))


def run(options: argparse.Namespace) -> int:
    known = pages()
    if options.code is None:
        for code, text in known.items():
            print(f"{code}  {title(text)}")
        return FINE
    code = options.code.upper()
    if code not in known:
        near = [k for k in known if k[:3] == code[:3]]  # a code's first digit says what it is about
        hint = did_you_mean(code, near or known) or "`specc explain` without a code lists them all"
        print(f"specc: no diagnostic has the code `{options.code}`; {hint}", file=sys.stderr)
        return USAGE
    print(known[code].rstrip("\n"))
    return FINE


def title(page: str) -> str:
    return page.splitlines()[0].lstrip("# ").partition(": ")[2]

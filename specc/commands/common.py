"""What the commands share: finding specs, and saying what was found wrong."""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

from specc.cache import distinct
from specc.diagnostics import Diagnostic, Report, Severity, Sources, render

FINE, FINDINGS, USAGE, LACKING, INTERRUPTED = 0, 1, 2, 3, 130

# What is wrong with these is the machine, not what was named: no compiler, no capability, no room, no access.
LACKS = frozenset(
    {"SP230", "SP240", "SP401", "SP403", "SP404", "SP405", "SP406", "SP407"}
    | {"SP420", "SP421", "SP422", "SP423", "SP424", "SP425", "SP426", "SP427", "SP453", "SP465", "SP506"}
)
# And with this one it is specc itself.
_BUGS = frozenset({"SP402"})

SUFFIXES = (".yaml", ".yml", ".toml")
_LOOKS_LIKE_A_SPEC = re.compile(rb"""^["']?specc["']?[ \t]*[:=]""", re.MULTILINE)


def colour_wanted(stream: object) -> bool:
    """Colour only on a terminal; NO_COLOR, FORCE_COLOR and TERM=dumb are honoured."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return os.environ.get("TERM") != "dumb" and bool(getattr(stream, "isatty", lambda: False)())


def abandon_stdout() -> None:
    """Let the rest of the output go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def tell(report: Report, style: str, sources: Sources | None = None) -> None:
    """Print the findings: to stdout where they are the product (json, github), else to stderr."""
    machine = style in ("json", "github")
    stream = sys.stdout if machine else sys.stderr
    text = render(report.diagnostics, style, sources or Sources(), colour=not machine and colour_wanted(stream))
    stream.write(text)
    errors = sum(d.severity is Severity.ERROR for d in _distinct(report))
    if errors and style == "full":
        stream.write(f"\n{errors} error{'s' if errors > 1 else ''} found; `specc explain CODE` says more\n")


def exit_code(report: Report) -> int:
    errors = [d for d in _distinct(report) if d.severity is Severity.ERROR]
    if not errors:
        return FINE
    if any(d.code in _BUGS for d in errors):
        return USAGE
    return LACKING if all(d.code in LACKS for d in errors) else FINDINGS


def _distinct(report: Report) -> list[Diagnostic]:
    return list(dict.fromkeys(report.diagnostics))


def find_specs(named: Sequence[str], report: Report) -> list[Path]:
    """The spec files that the arguments mean, in the order of the arguments, a directory's sorted by path.

    Without arguments, the directory `specs`. In a directory, files with a spec's suffix and a top-level key `specc`.
    """
    found: list[str] = []
    for name in named or ["specs"]:
        if os.path.isdir(name):
            inside = _specs_in(name, report)
            if inside is None:
                continue
            if not inside:
                report.error("SP029", f"no specs in the directory `{name}`", None, help=_WHAT_A_SPEC_IS)
            found += inside
        elif not named and not os.path.lexists(name):
            report.error("SP029", "no spec is named, and there is no directory `specs` here", None,
                         help="name a spec or a directory of specs")  # fmt: skip
        else:
            found.append(name)
    return [Path(path) for path in distinct(found)]


def _specs_in(folder: str, report: Report) -> list[str] | None:
    """The specs below a directory; None when it cannot be read. Every directory that cannot be is reported."""
    unreadable: list[str] = []

    def wrong(problem: OSError) -> None:
        if not isinstance(problem, FileNotFoundError):  # it was there a moment ago, and nobody misses it
            unreadable.append(str(problem.filename))
            report.error("SP001", f"cannot read the directory `{problem.filename}`: {problem.strerror}", None,
                         help="give access to it, or name the specs that are meant")  # fmt: skip

    inside = [Path(here, name) for here, _, names in os.walk(folder, onerror=wrong) for name in names]
    specs = [str(p) for p in sorted(inside) if p.suffix in SUFFIXES and _is_spec(p)]
    return None if unreadable and not specs else specs


_WHAT_A_SPEC_IS = "a spec is a .yaml, .yml or .toml file with the top-level key `specc`"


def _is_spec(path: Path) -> bool:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a named pipe would wait for a writer
            return False
        with path.open("rb") as file:
            head = file.read(1 << 16)
    except FileNotFoundError:
        return False  # a link to nowhere, or it has just been removed
    except OSError as problem:
        return problem.errno != errno.ELOOP  # that leads nowhere too; else reading it as a spec says what is wrong
    return _LOOKS_LIKE_A_SPEC.search(head) is not None

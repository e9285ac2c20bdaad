"""What specc has to say about a user's files: place, cause, and what would have been right.

In: a code, a message and a `Location` from any stage.  Out: text (full, concise), JSON or GitHub annotations.

    report = Report()
    report.error("SP201", "no argument `nr_pags`", where, help="did you mean `nr_pages`?")
    print(render(report.diagnostics, "full", Sources()))
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from enum import Enum
from pathlib import Path
from typing import Final

from specc.noun import dataclass, field


class Severity(Enum):
    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, order=True)
class Location:
    """A span of text in a file. Lines and columns count from 1, in characters; the end column is exclusive."""

    file: str
    line: int = 1
    column: int = 1
    end_line: int = 0
    end_column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    def short(self) -> str:
        """`file:line`, as notes name a declaration."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding. `help` is the mending, shown under the carets; `notes` are facts that support the message."""

    code: str
    message: str
    where: Location | None
    notes: tuple[str, ...] = ()
    help: str | None = None
    severity: Severity = Severity.ERROR


@dataclass(slots=True)
class Report:
    """Collects the findings of a run, so that a user sees all of them and not the first."""

    diagnostics: list[Diagnostic] = field(default_factory=list)

    def error(
        self, code: str, message: str, where: Location | None, *, notes: Iterable[str] = (), help: str | None = None
    ) -> None:
        self.diagnostics.append(Diagnostic(code, message, where, tuple(notes), help))

    def warning(
        self, code: str, message: str, where: Location | None, *, notes: Iterable[str] = (), help: str | None = None
    ) -> None:
        self.diagnostics.append(Diagnostic(code, message, where, tuple(notes), help, Severity.WARNING))

    @property
    def failed(self) -> bool:
        return any(d.severity is Severity.ERROR for d in self.diagnostics)

    def extend(self, other: Report) -> None:
        self.diagnostics.extend(other.diagnostics)


class Stop(Exception):
    """A stage cannot go on; carries the one finding that says why. Caught by the pipeline, never shown as a traceback."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.message)
        self.diagnostic: Final = diagnostic


def stop(
    code: str, message: str, where: Location | None, *, notes: Iterable[str] = (), help: str | None = None
) -> Stop:
    return Stop(Diagnostic(code, message, where, tuple(notes), help))


def did_you_mean(word: str, candidates: Iterable[str]) -> str | None:
    """A help line naming the closest candidate, or None when nothing is close."""
    import difflib

    pool = sorted(set(candidates))
    close = difflib.get_close_matches(word, pool, n=1, cutoff=0.6)
    if not close:
        close = [c for c in pool if c.lower() == word.lower()]
    return f"did you mean `{close[0]}`?" if close else None


class Sources:
    """Lines of the files that diagnostics point into, read at most once, and only when something is wrong."""

    def __init__(self) -> None:
        self._lines: dict[str, list[str]] = {}

    def add(self, file: str, text: str) -> None:
        # Not splitlines(): a form feed or U+2028 inside a line starts no new line for a compiler or an editor.
        self._lines[file] = [line.removesuffix("\r") for line in text.split("\n")]

    def line(self, file: str, number: int) -> str | None:
        if file not in self._lines:
            path = Path(file)
            self._lines[file] = []
            with contextlib.suppress(OSError, ValueError):
                if path.is_file():  # never wait for a FIFO or a terminal
                    self.add(file, path.read_bytes().decode("utf-8-sig", errors="replace"))
        lines = self._lines[file]
        return lines[number - 1] if 0 < number <= len(lines) else None


FORMATS: Final = ("full", "concise", "json", "github")


def render(diagnostics: Sequence[Diagnostic], style: str, sources: Sources, *, colour: bool = False) -> str:
    """All findings as text in one of FORMATS, in the order of their places. Ends with a newline unless empty."""
    ordered = sorted(
        dict.fromkeys(diagnostics),
        key=lambda d: (d.where is not None, d.where or Location(""), d.code, d.message),
    )
    if style == "json":
        import json

        return json.dumps({"version": 1, "diagnostics": [as_json(d) for d in ordered]}, indent=2) + "\n"
    if not ordered:
        return ""
    if style == "concise":
        return "".join(_concise(d) + "\n" for d in ordered)
    if style == "github":
        return "".join(_github(d) + "\n" for d in ordered)
    return "\n".join(_full(d, sources, colour) for d in ordered)


def as_json(d: Diagnostic) -> dict[str, object]:
    w = d.where
    return {
        "code": d.code,
        "severity": d.severity.value,
        "message": d.message,
        "file": w.file if w else None,
        "line": w.line if w else None,
        "column": w.column if w else None,
        "end_line": (w.end_line or w.line) if w else None,
        "end_column": (w.end_column or w.column) if w else None,
        "notes": list(d.notes),
        "help": d.help,
    }


def _concise(d: Diagnostic) -> str:
    place = f"{d.where}: " if d.where else ""
    level = "warning: " if d.severity is Severity.WARNING else ""
    hint = f" ({d.help})" if d.help else ""
    return _visible(f"{place}{d.code} {level}{d.message}{hint}")


def _github(d: Diagnostic) -> str:
    # Workflow commands take no raw newline, and properties no colon or comma either.
    def data(text: str) -> str:
        return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")

    def prop(text: str) -> str:
        return data(text).replace(":", "%3A").replace(",", "%2C")

    body = "\n".join([d.message, *([d.help] if d.help else []), *d.notes])
    if d.where is None:
        return f"::{d.severity.value} title={prop(d.code)}::{data(body)}"
    w = d.where
    return f"::{d.severity.value} file={prop(w.file)},line={w.line},col={w.column},title={prop(d.code)}::{data(body)}"


def _visible(text: str) -> str:
    """Text without control characters: a spec must not drive the terminal that shows its errors."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def _full(d: Diagnostic, sources: Sources, colour: bool) -> str:
    def paint(code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if colour else text

    tint = "1;31" if d.severity is Severity.ERROR else "1;33"
    level = "warning: " if d.severity is Severity.WARNING else ""
    out = [f"{paint(tint, d.code)} {level}{paint('1', _visible(d.message))}"]
    margin = ""
    help_line = _visible(d.help) if d.help else ""
    if d.where is not None:
        w = d.where
        number = str(w.line)
        margin = " " * len(number)
        out.append(f"{margin} {paint('1;34', '-->')} {_visible(str(w))}")
        raw = sources.line(w.file, w.line)
        if raw is not None:
            text, start, width = _window(raw, w)
            bar = paint("1;34", "|")
            out.append(f"{margin}  {bar}")
            out.append(f" {number} {bar} {text}".rstrip())
            out.append(f"{margin}  {bar} {' ' * start}{paint(tint, '^' * width)} {help_line}".rstrip())
            help_line = ""
    if help_line:
        out.append(f"{margin}  {paint('1;36', '= help:')} {help_line}")
    out.extend(f"{margin}  {paint('1;34', '= note:')} {_visible(n)}" for n in d.notes)
    return "\n".join(out) + "\n"


_WINDOW: Final = 160  # characters of a line that are shown; a minified 10 MB file has one line


def _window(raw: str, w: Location) -> tuple[str, int, int]:
    """The part of a line to show, where the carets begin in it, and how many there are."""
    column = min(w.column, len(raw) + 1)
    end = w.end_column if w.end_line in (0, w.line) and w.end_column > column else 0
    if w.end_line > w.line:
        end = len(raw) + 1
    first = 0
    if len(raw) > _WINDOW:
        first = max(0, column - 1 - _WINDOW // 3)
    shown = "".join(c if c.isprintable() else " " for c in raw[first : first + _WINDOW])
    start = column - 1 - first
    width = max(1, min((end or column + 1) - column, max(1, len(shown) - start)))
    return shown, start, width

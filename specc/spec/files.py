"""The files that a spec names: are they there, and inside of the project?

In: a Spec and the directory of its file.  Out: SP125 and SP129 in the Report.

    missing_files(spec, Path("specs"), report)      # SP129 there is no header `include/mn.h`
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from specc.diagnostics import Report, did_you_mean
from specc.spec.nouns import Spec, Word


def missing_files(spec: Spec, base: Path, report: Report) -> None:
    """Report what `headers` and `include_dirs` name and is not there, or is outside of the project.

    `base` is the directory of the spec. Names in angle brackets are left to the compiler, which knows where to look.
    """
    if not spec.include_dirs and not spec.headers:
        return
    base = Path(os.path.abspath(base))  # not resolve(): see `_look`
    project = _project(base)
    for word in spec.include_dirs:
        _look(word, base, project, report, directory=True)
    for word in spec.headers:
        if not word.text.startswith("<"):
            _look(
                word, base, project, report, directory=False, searched=[base / word.text for word in spec.include_dirs]
            )


def _look(
    word: Word, base: Path, project: Path | None, report: Report, *, directory: bool, searched: Sequence[Path] = ()
) -> None:
    # Without resolving symbolic links: what a link in the project points to is the project's decision.
    relative = PurePosixPath(word.text)
    path = base / relative
    what = "directory" if directory else "header"
    if not relative.is_absolute():
        flat = _flatten(base, relative)
        if flat is None or (project is not None and not flat.is_relative_to(project)):
            report.error(
                "SP125",
                f"`{word.text}` leaves the project",
                word.where,
                help="stay below the directory with the `.git`"
                if project is not None
                else "the spec and its headers have no directory in common but `/`",
            )
            return
        path = flat
    try:
        if path.is_dir() if directory else path.is_file():
            return
        there = path.exists()
        hint = None if there else _spelling(word.text, path, directory)
    except OSError as error:
        report.error("SP129", f"cannot look for `{word.text}`: {error.strerror}", word.where)
        return
    if there:
        message = f"`{word.text}` is {'not a directory' if directory else 'not a file'}"
        report.error("SP129", message, word.where)
        return
    if not directory and any(os.path.isfile(place / relative) for place in (*searched, Path("/usr/include"))):
        hint = f"write `<{word.text}>` to have it searched for"
    report.error("SP129", f"there is no {what} `{word.text}`", word.where, help=hint)


def _spelling(written: str, path: Path, directory: bool) -> str | None:
    """A hint from the names beside the first part of the path that is not there."""
    parts = list(PurePosixPath(written).parts)
    for back in range(len(parts)):
        place, last = path, back == 0
        for _ in range(back):
            place = place.parent
        if place.parent.is_dir():
            inside = [p for p in place.parent.iterdir() if p.is_dir() == (directory or not last)]
            names = [p.name for p in inside if p.is_dir() or p.suffix in (".h", ".hh", ".hpp", place.suffix)]
            close = did_you_mean(place.name, names)
            if close is None:
                return None
            parts[len(parts) - 1 - back] = close.split("`")[1]
            return f"did you mean `{PurePosixPath(*parts)}`?"
    return None


def _flatten(base: Path, relative: PurePosixPath) -> Path | None:
    """The path without its `..`, or None when it climbs up to the root of the file system."""
    parts = list(base.parts)
    for part in relative.parts:
        if part != "..":
            parts.append(part)
        elif len(parts) > 2:
            parts.pop()
        else:
            return None
    return Path(*parts)


def _project(base: Path) -> Path | None:
    """The nearest directory at or above the spec with a version control system's mark; None for an exported tree."""
    for directory in (base, *base.parents):
        if any(os.path.lexists(directory / mark) for mark in (".git", ".hg", ".jj", ".svn")):
            return directory
    return None

"""Where specc.lock is, and whether it still says what the specs give.

In: specs that were compiled.  Out: SP510 to SP514 in a Report.

    locks = Locks()
    locks.compare("specs/gup.yaml", program, surveys, outputs, "clang 14.0.6", report, needed=True)
    locks.compare_rest(report)
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Final

from specc.config import Configs, ancestors, shown
from specc.diagnostics import Location, Report, Stop, stop
from specc.ir import Program
from specc.lock.changes import lock_difference
from specc.lock.made import locked_spec
from specc.lock.nouns import Lock
from specc.lock.text import read_lock
from specc.noun import dataclass, field
from specc.survey import Survey

NAME: Final = "specc.lock"
_LIMIT: Final = 16 << 20  # bytes of a lock; a spec on four kernels has about 6,000
_SHOWN: Final = 40  # lines of a difference


def lock_folder(spec: str, configs: Configs) -> tuple[str, bool]:
    """The directory of the lock that a spec belongs in, and whether it is there: the nearest one going up, up to the
    project's directory; else beside the config that counts for the spec; else beside the directory `specs`."""
    folder = os.path.dirname(os.path.abspath(spec))
    for here in ancestors(folder):
        if os.path.lexists(os.path.join(here, NAME)):
            return here, True
    try:
        config = configs.near(folder, {}, {})
    except Stop:
        config = None  # told by whoever compiles the spec
    if config is not None:
        return os.path.abspath(config.folder), False
    # The directory `specs` may have directories of its own; and a project that is itself called so is not left.
    *inside, _ = ancestors(folder)
    return next((os.path.dirname(here) for here in inside if os.path.basename(here) == "specs"), folder), False


def path_in(folder: str, spec: str) -> str:
    """A spec's path as a lock has it."""
    return os.path.relpath(os.path.abspath(spec), folder)


def load_lock(path: str) -> tuple[Lock, str]:
    """A lock and its text. Raises Stop (SP514)."""
    try:
        if not os.path.isfile(path):
            raise stop(
                "SP514", f"`{path}` is not a file" if os.path.exists(path) else f"there is no file `{path}`", None
            )
        with open(path, "rb") as file:
            data = file.read(_LIMIT + 1)
    except OSError as problem:
        raise stop("SP514", f"cannot read `{path}`: {problem.strerror}", Location(path)) from None
    if len(data) > _LIMIT:
        raise stop("SP514", f"`{path}` is larger than {_LIMIT >> 20} MiB", Location(path))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise stop("SP514", f"`{path}` is not UTF-8 text", Location(path)) from None
    return read_lock(text.replace("\r\n", "\n"), path), text


@dataclass(frozen=True, slots=True)
class _Read:
    file: str
    folder: str
    lock: Lock
    lines: list[str]


@dataclass(slots=True)
class Locks:
    """The locks of a run, each read once."""

    _configs: Configs = field(default_factory=Configs)
    _read: dict[str, _Read | None] = field(default_factory=dict)

    def there(self, spec: str) -> bool:
        """Whether a spec has a lock."""
        return lock_folder(spec, self._configs)[1]

    def compare(
        self,
        spec: str,
        program: Program,
        surveys: Sequence[Survey],
        outputs: Mapping[str, bytes],
        compiler: str,
        report: Report,
        *,
        needed: bool,
    ) -> None:
        """Report what is other than the lock says; with `needed`, also that there is no lock, or that it has
        not all outputs."""
        folder, there = lock_folder(spec, self._configs)
        if not there:
            if needed:
                file = shown(os.path.join(folder, NAME))
                report.error("SP513", f"there is no {NAME} for `{spec}`", None, help=f"`specc lock` writes {file}")
            return
        read = self._lock(folder, report)
        if read is None:
            return
        path = path_in(folder, spec)
        old = read.lock.spec(path)
        if old is None:
            report.error(
                "SP510", f"`{path}` is not in {read.file}", Location(spec), help="run `specc lock` and commit it"
            )
            return
        difference = lock_difference(old, locked_spec(path, program, surveys, outputs, compiler), written=needed)
        if difference:
            more = [f"and {len(difference) - _SHOWN} more lines"] if len(difference) > _SHOWN else []
            report.error(
                "SP511",
                f"`{path}` gives something else than {read.file} says",
                _place(read, path),
                notes=[*difference[:_SHOWN], *more],
                help="if that is meant, run `specc lock` and commit the difference",
            )

    def compare_rest(self, report: Report) -> None:
        """Report what the locks have and is there no longer."""
        for read in self._read.values():
            for old in read.lock.specs if read is not None else ():
                assert read is not None
                if not os.path.lexists(os.path.join(read.folder, old.path)):
                    report.error("SP512", f"{read.file} has `{old.path}`, and there is no such spec",
                                 _place(read, old.path), help="run `specc lock` and commit it")  # fmt: skip

    def _lock(self, folder: str, report: Report) -> _Read | None:
        if folder not in self._read:
            file = shown(os.path.join(folder, NAME))
            try:
                lock, text = load_lock(file)
                self._read[folder] = _Read(file, folder, lock, text.split("\n"))
            except Stop as problem:
                report.diagnostics.append(problem.diagnostic)
                self._read[folder] = None
        return self._read[folder]


def _place(read: _Read, path: str) -> Location:
    line = f"spec {path}"
    return Location(read.file, read.lines.index(line) + 1, 1) if line in read.lines else Location(read.file)

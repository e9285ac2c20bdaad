"""`specc run SPEC or OBJECT`: build, load, attach, write events until it is enough, detach, say what was lost."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from specc.commands.common import FINE, abandon_stdout, colour_wanted, exit_code, tell
from specc.diagnostics import Location, Report, Stop, stop

if TYPE_CHECKING:
    from specc.describe import Description
    from specc.events import Writer
    from specc.events.cells import Interval
    from specc.events.decoder import StacksOf
    from specc.run.session import Counts, Session

_ELF: Final = b"\x7fELF"


def run(options: argparse.Namespace) -> int:
    report = Report()
    try:
        program = program_of(options.program, report)
        if program is None:
            tell(report, options.output_format)
            return exit_code(report)
        options.program = program
        format_ = "" if options.dry_run else output_format(options)
        data = object_bytes(program, options, report)
        if data is None:
            tell(report, options.output_format)
            return exit_code(report)
        return _run(data, options, format_, report)
    except Stop as problem:
        report.diagnostics.append(problem.diagnostic)
    tell(report, options.output_format)
    return exit_code(report)


def program_of(path: str, report: Report) -> str | None:
    """The spec or object that a path means: itself, or the one spec of a directory. None when that was reported."""
    if not path:
        report.error("SP454", "an empty name is no spec, and no object", None, help="name one")
        return None
    if not os.path.isdir(path):
        return path
    from specc.commands.common import find_specs

    found = find_specs([path], report)
    if len(found) > 1:
        report.error("SP454", f"`{path}` has {len(found)} specs, and only one is run at a time", None,
                     notes=[str(spec) for spec in found[:_SHOWN_SPECS]], help="name one of them")  # fmt: skip
    return None if report.failed else str(found[0])


_SHOWN_SPECS: Final = 20


def object_bytes(path: str, options: argparse.Namespace, report: Report) -> bytes | None:
    """The object: the file itself, or what is built from a spec. None when findings were reported; raises Stop."""
    if os.path.isfile(path):
        try:
            with open(path, "rb") as file:
                head = file.read(4)
                if head == _ELF or path.endswith(".o"):
                    return head + file.read()
        except OSError as problem:
            report.error("SP454", f"cannot read `{path}`: {problem.strerror}", None)
            return None
    if path.endswith(".o"):
        report.error("SP454", f"there is no object `{path}`", None, help="`specc build` makes objects; `specc run` takes specs too")  # fmt: skip
        return None
    from specc.commands.build import Run

    options.specs = [path]
    options.jobs = 1
    options.locked = False
    built = Run(options, ("obj",))
    built.build()
    for job in built.jobs:
        if job.outputs is not None:
            if built.failed is False and built._report is not None:
                report.extend(built.report)
            return next(iter(job.outputs.values()))
    report.extend(built.report)
    return None


_Where = Callable[[str], "Location | None"]


def spec_places(options: argparse.Namespace) -> tuple[_Where, _Where]:
    """Where the spec names each probe, and its file. Asked only when there is something to say about one."""
    known: dict[str, Location] | None = None
    in_files: dict[str, Location] = {}

    def where(probe: str) -> Location | None:
        nonlocal known
        if known is None:
            known = {}
            if not options.program.endswith(".o"):
                from specc.source import load
                from specc.spec import read_spec

                try:
                    spec = read_spec(load(Path(options.program)), Report())
                except Stop:
                    spec = None  # it was fine a moment ago: somebody is editing it
                if spec is not None:
                    known = {p.name.text: p.function.where if p.function else p.where for p in spec.probes}
                    in_files.update({p.name.text: p.target.path.where for p in spec.probes if p.target is not None})
        return known.get(probe)

    def file_where(probe: str) -> Location | None:
        place = where(probe)
        return in_files.get(probe, place)

    return where, file_where


def _run(data: bytes, options: argparse.Namespace, format_: str, report: Report) -> int:
    from specc.describe.reader import description_of
    from specc.events.writers import require_stacks
    from specc.run.filters import Filters
    from specc.run.load import Options, Refused
    from specc.run.open import open_session

    description = description_of(data, options.program)
    _check_aggregates(description, options, format_)
    filters = Filters(options.pid, options.comm, options.cgroup)
    require_stacks(format_, description)
    wanted = Options(options.attach, filters, options.force, options.verbose, *spec_places(options))
    try:
        session = open_session(data, description, wanted, report)
    except Refused:
        tell(report, options.output_format)
        return exit_code(report)
    with session:
        if report.diagnostics:
            tell(report, options.output_format)
        for note in session.notes if options.verbose else ():
            _say(note)
        for name, (kind, reason) in session.ways.items():
            _say(f"{name} is a {kind}" + (f": {reason}" if reason else ""))
        if options.dry_run:
            count = len(description.probes)
            session.detach()
            _say(f"attached {_plural(count, 'probe')} and detached them: nothing was recorded (--dry-run)")
            return FINE
        return _stream(session, session.description, options, format_)


def _stream(session: Session, description: Description, options: argparse.Namespace, format_: str) -> int:
    from specc.events import open_writer
    from specc.ir import Role
    from specc.run.session import was_rewritten
    from specc.run.stacks import open_stacks
    from specc.run.stream import Limits, stop_signals, stream
    from specc.run.system import LOOKING_AT_PROCESSES, drop_privileges
    from specc.run.user_symbols import UserSymbols

    spaces = format_ == "table" and any(f.role is Role.SPACE for p in description.probes for f in p.event.fields)
    output: IO[str]
    if options.output is None:
        output = sys.stdout
    else:
        try:
            output = open(options.output, "w", encoding="utf-8", newline="")  # noqa: SIM115
        except OSError as problem:
            return _cannot_write(options, problem.strerror)
    offset = time.clock_gettime_ns(time.CLOCK_REALTIME) - time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    stacks = open_stacks(session)
    code = FINE
    try:
        width = shutil.get_terminal_size((0, 0)).columns if output.isatty() else None
        writer = open_writer(
            format_,
            description,
            output,
            colour=colour_wanted(output),
            width=width,
            symbol=_symbols(description) if format_ == "table" else None,
            in_process=UserSymbols() if spaces else None,
            stacks=stacks,
            wall_offset_ns=offset,
        )
        with stop_signals() as signals:
            looks = spaces or "user_stack" in description.stack_maps
            drop_privileges(session.counts, keep=LOOKING_AT_PROCESSES if looks else ())
            _say(f"attached {_plural(len(description.probes), 'probe')}")
            limits = Limits(options.count, options.duration, options.pid)
            fd = output.fileno() if _is_pipe(output) else None
            teller = _teller(description, writer, output, format_, stacks, wall_offset_ns=offset, width=width)
            received = stream(session, writer, limits, signals, output=fd, say=_say, tell=teller)
            counts = session.counts()
        if received.reason == "process":
            _say(f"process {options.pid} has ended")
        if received.trouble:
            _leave_whole(output, options, format_)
            code = _cannot_write(options, received.trouble)
        if rewritten := session.rewritten():
            report = Report([was_rewritten(path) for path in rewritten])
            tell(report, options.output_format)
            code = code or exit_code(report)
        if counts.anyones:
            _say(
                f"{_plural(counts.anyones, 'hit')} of any process, not counted below, found the kernel without room to note the call, or in another probe"
            )
        if session.untold:
            _say(
                "returns that the kernel had no room to note are not counted: this kernel tells of them only with --attach legacy"
            )
        counted = f", counted {received.hits}" if description.aggregated else ""
        _say(
            f"received {received.events}{counted}, lost {counts.lost}{_full(counts)}{_missed(counts)}{_limited(counts)}"
            f"{_unread(counts)}"
        )
    finally:
        if options.output is not None:
            with contextlib.suppress(OSError):  # what was written is flushed; only after a failure there is a rest
                output.close()
    return code


def _leave_whole(output: IO[str], options: argparse.Namespace, format_: str) -> None:
    """After a write that failed: columns without their end cannot be read, and of a line only a part may be there."""
    if options.output is None:
        abandon_stdout()
        return
    with contextlib.suppress(OSError):
        output.close()  # which may write some more of the rest
    if os.path.isfile(options.output):
        if format_ in ("arrow", "parquet"):
            os.unlink(options.output)
            _say(f"removed {options.output}, of which only a part could be written")
        else:
            with open(options.output, "r+b") as file:
                file.truncate(_end_of_lines(file))


def _end_of_lines(file: IO[bytes]) -> int:
    """Where the last whole line of a file ends."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - (1 << 16))
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _symbols(description: Description) -> Callable[[int], str | None] | None:
    """What tells the addresses in the kernel that the table shows, where it shows some. The file is opened while that is
    still allowed."""
    if any(f.format == "symbol" for p in description.probes for f in p.event.fields):
        from specc.run.symbols import open_symbols

        return open_symbols()
    return None


def output_format(options: argparse.Namespace) -> str:
    """The format that was asked for, else that of the file's ending, else the table. Raises Stop when nothing could be
    written in it, or not where it should go: better before anything is built and attached than after."""
    from specc.events.writers import require

    place = options.output
    ending = os.path.splitext(place or "")[1][1:]
    format_: str = options.format or (ending if ending in ("jsonl", "csv", "arrow", "parquet", "folded") else "table")
    if format_ in ("arrow", "parquet") and place is None and sys.stdout.isatty():
        raise stop("SP466", f"the format {format_} is no text for a terminal", None, help="give it a file: `-o FILE`")
    if place is not None:
        if os.path.exists(place) and os.path.exists(options.program) and os.path.samefile(place, options.program):
            raise stop("SP507", f"`{place}` is what is to be run, and would be lost", None, help="choose another -o")
        number = _why_not_writable(place)
        if number in (errno.EISDIR, errno.ENOTDIR):
            raise stop("SP507", f"cannot write `{place}`: a part of the path is in the way ({os.strerror(number)})", None,
                       help="choose another -o")  # fmt: skip
        if number:
            raise stop("SP506", f"cannot write `{place}`: {os.strerror(number)}", None,
                       help="make the directory" if number == errno.ENOENT else None)  # fmt: skip
    require(format_)
    return format_


def _why_not_writable(path: str) -> int:
    """The errno with which opening this file for writing would fail, as far as that is known without doing it; else 0."""
    if os.path.isdir(path):
        return errno.EISDIR
    if os.path.exists(path):
        return 0 if os.access(path, os.W_OK) else errno.EACCES
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        return errno.ENOTDIR if os.path.exists(folder) else errno.ENOENT
    return 0 if os.access(folder, os.W_OK | os.X_OK) else errno.EACCES


def _missed(counts: Counts) -> str:
    """Hits that no program has seen, or not with its arguments; nothing when there were none."""
    parts = [_plural(n, word) for n, word in ((counts.missed, "return"), (counts.skipped, "hit")) if n]
    return f", missed {' and '.join(parts)}" if parts else ""


def _limited(counts: Counts) -> str:
    return f", left out {counts.limited} (limit)" if counts.limited else ""


def _full(counts: Counts) -> str:
    return f" ({_plural(counts.full, 'hit')} of new keys found the map full)" if counts.full else ""


def _unread(counts: Counts) -> str:
    return f", {_plural(counts.unread, 'hit')} had a value that could not be read" if counts.unread else ""


def _check_aggregates(description: Description, options: argparse.Namespace, format_: str) -> None:
    """Raises Stop for what makes no sense with aggregates."""
    if not description.aggregated:
        return
    name = description.aggregated[0].name
    if format_ == "folded":
        from specc.events.intervals import why_not_folded

        for probe in description.aggregated:
            if probe.aggregate is not None and (why := why_not_folded(probe.aggregate)):
                raise stop("SP475", f"the format folded cannot show `{probe.name}`: {why}", None,
                           help="take the table, `--format jsonl` or `csv`")  # fmt: skip
    if format_ in ("arrow", "parquet"):
        raise stop("SP475", f"the format {format_} is for events, and `{name}` counts in the kernel", None,
                   help="take `--format jsonl` or `csv`")  # fmt: skip
    ends = description.streaming or any(p.aggregate and p.aggregate.every for p in description.aggregated)
    if options.count is not None and not ends:
        raise stop("SP476", "`--count` would never be reached: nothing here makes events or has intervals", None,
                   help="add `every` to an `aggregate`, or take `--duration`")  # fmt: skip


def _teller(
    description: Description,
    writer: Writer,
    output: IO[str],
    format_: str,
    stacks: StacksOf,
    *,
    wall_offset_ns: int,
    width: int | None,
) -> Callable[[Sequence[Interval]], None]:
    """What writes the intervals of aggregates, and says what is in none where the format has no place for that."""
    if not description.aggregated:
        return lambda _: None
    from specc.events.intervals import lost_words, open_intervals

    inner = open_intervals(
        writer, output, colour=colour_wanted(output), width=width, wall_offset_ns=wall_offset_ns, stacks=stacks
    )  # fmt: skip

    def tell(intervals: Sequence[Interval]) -> None:
        inner.tell(intervals)
        for interval in intervals if format_ != "table" else ():
            if words := lost_words(interval):
                _say(f"{interval.probe.name}: {words}")

    return tell


def _is_pipe(stream: IO[str]) -> bool:
    import stat

    mode = os.fstat(stream.fileno()).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _cannot_write(options: argparse.Namespace, why: str | None) -> int:
    report = Report()
    what = "the output" if options.output is None else f"`{options.output}`"
    report.error("SP506", f"cannot write {what}: {why}", None, help="make room there, or choose another place with -o")
    tell(
        report,
        "full" if options.output is None and options.output_format in ("json", "github") else options.output_format,
    )
    return exit_code(report)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _plural(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"

"""An object in the kernel: opened, loaded, attached, read, detached. The only code that needs privileges.

In: an object's bytes.  Out: a `Session` with batches of records; leaving it detaches everything.

    with open_session(data, description, Options(), report) as session:
        for batch in session.poll(100): ...
        session.detach(); session.poll(0); session.counts()

Every finding is told at once in a Report, and then `Refused` is raised; nothing stays behind in the kernel.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Final

from specc.buffers import NoEvents, Reader, open_buffer
from specc.describe import Description, ProbeDescription
from specc.diagnostics import Diagnostic, Location, Report, Severity, Stop
from specc.libbpf import LibbpfError, Library, Object
from specc.locate import UserPlace, UserTargets
from specc.noun import dataclass, field, replace
from specc.run.aggregates import Collector
from specc.run.attach import Attacher, Attachment, NoMode
from specc.run.barrier import Barrier
from specc.run.fill import Filled
from specc.run.filters import check_filters
from specc.run.kernel_target import (
    KERNEL_KINDS,
    LINK_KINDS,
    check_kernel,
    has_probes,
    kernel_symbol,
    why_not_attached,
)
from specc.run.load import LoadedProgram, Options, Refused, load, programs_of, verified
from specc.run.system import has_capability, missing_capabilities, raise_file_limit
from specc.run.tracefs import find_tracefs, remove_leftovers
from specc.run.user_target import check_user_code

RETURN_KINDS: Final = frozenset({"kretprobe", "uretprobe", "kretsyscall"})
_SHOWN_LOG_LINES: Final = 12
_COUNTS: Final = 7  # numbers in struct specc_counts


@dataclass(frozen=True, slots=True)
class Counts:
    """What no event tells of, since the programs were attached: events that found no room, returns whose entry was not
    seen or that the kernel had no room to note, hits at which the kernel was in another probe or program. Where not all
    processes are watched, `anyones` is how many of the last two the kernel counts, which it does for all. `limited` are
    those that were more than a probe's limit. Of the lost, `full` are hits of new keys
    that found the map of an aggregate full; `unread` hits are in no aggregate since the value could not be read."""

    lost: int
    missed: int
    skipped: int = 0
    anyones: int = 0
    limited: int = 0
    full: int = 0
    unread: int = 0


@dataclass(slots=True)
class Session:
    """A running program. `description` has the places of this kernel; `notes` are what a user may want to know with -v.

    `ways` has the kind of program that was chosen for each probe that has two, and why not the better one.
    """

    description: Description
    library: Library
    thing: Object
    reader: Reader
    lost_map: int
    barrier: Barrier
    attacher: Attacher
    attachments: list[Attachment] = field(default_factory=list)
    entries: list[Attachment] = field(default_factory=list)  # that save arguments for a return
    places: dict[str, UserPlace] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    filtered: bool = False  # not everyone's hits are recorded
    _unnoted: tuple[int, int] = (0, 0)
    ways: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    collector: Collector | None = None  # of a program with aggregates

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def poll(self, timeout_ms: int) -> Iterable[Sequence[bytes | memoryview]]:
        """Batches of records that are there, or come within the time."""
        return self.reader.poll(timeout_ms)

    def detach(self) -> None:
        """Take every program off; when this returns, no further record will come."""
        if not self.attachments and not self.entries:
            return
        # Returns go before entries: the other way around, the last returns would count as missed.
        for group in (self.attachments, self.entries):
            detach_all(group)
        self._unnoted = self._by_kernel()
        self.attachments.clear()
        self.entries.clear()
        self.barrier.wait()

    def _by_kernel(self) -> tuple[int, int]:
        """Returns, and other hits, for which the kernel says it ran no program. When that is true of an entry, it shows at
        the return, which finds no arguments."""
        missed, skipped = self._unnoted
        for one in self.attachments:
            number = one.missed() or 0
            missed, skipped = (missed + number, skipped) if one.at_return else (missed, skipped + number)
        return missed, skipped

    def counts(self) -> Counts:
        """The sum over all processors and probes."""
        width = self.library.value_size(self.lost_map)
        lost = missed = limited = full = unread = 0
        late, early = self._by_kernel()
        cpus = self.library.possible_cpus()
        fds = self.thing.programs
        for number, probe in enumerate(self.description.probes):
            raw = self.library.lookup(self.lost_map, number, width * cpus)
            for one_lost, one_missed, one_limited, *more in _counted(raw, width):
                lost += one_lost
                missed += one_missed
                limited += one_limited
                full += sum(more[:2])
                unread += sum(more[2:])
            not_run = self.library.program_skipped(fds[probe.symbol]) or 0
            if probe.kind in RETURN_KINDS or probe.kind == "fexit":
                late += not_run
            else:
                early += not_run
        if self.filtered:
            return Counts(lost + full, missed, 0, late + early, limited, full, unread)
        return Counts(lost + full, missed + late, early, 0, limited, full, unread)

    @property
    def untold(self) -> bool:
        """Whether this kernel keeps to itself how many returns it had no room to note."""
        return self.attacher.untold

    def replaced(self) -> list[str]:
        """Files of user probes that are no longer the ones that were probed."""
        gone: list[str] = []
        for place in {p.path: p for p in self.places.values()}.values():
            try:
                status = os.stat(place.path)
                same = (status.st_dev, status.st_ino) == place.inode
            except OSError:
                same = False
            if not same:
                gone.append(place.path)
        return gone

    def close(self) -> None:
        try:
            self.detach()
        finally:
            self.attacher.close()
            self.reader.close()
            self.barrier.close()
            self.thing.close()
            self.library.close()


def _counted(raw: bytes, width: int) -> Iterable[tuple[int, ...]]:
    """What each processor counted. An object of before a count was counts nothing there."""
    for at in range(0, len(raw), width):
        found = struct.unpack_from(f"<{width // 8}Q", raw, at)
        yield (*found, *(0,) * _COUNTS)[:_COUNTS]


def detach_all(attachments: Sequence[Attachment]) -> None:
    """Close them all, and raise the first error only after that.

    Each close waits until no processor runs the program any more; many can wait together.
    """
    problems: list[Exception] = []

    def close(one: Attachment) -> None:
        try:
            one.close()
        except OSError as problem:
            problems.append(problem)

    if len(attachments) > 1:
        from concurrent.futures import ThreadPoolExecutor  # which imports logging: it is not needed before the end

        with ThreadPoolExecutor(min(64, len(attachments))) as pool:
            list(pool.map(close, attachments))
    else:
        for one in attachments:
            close(one)
    if problems:
        raise problems[0]


def open_session(data: bytes, description: Description, options: Options, report: Report) -> Session:
    """Load and attach. Raises Refused, with the findings in `report`.

    A probe that a trampoline can make too is tried with it, and without where the kernel refuses that.
    """
    trying = {p.name for p in description.probes if p.trampoline is not None}
    reasons: dict[str, str] = {}
    if options.attach in ("perf", "legacy"):
        reasons = dict.fromkeys(trying, f"--attach {options.attach} was given")
        trying = set()
    while True:
        chosen = replace(
            description, probes=tuple(p.by_trampoline() if p.name in trying else p for p in description.probes)
        )
        findings = Report()
        try:
            session = _open(data, chosen, options, findings)
        except (Stop, Refused) as problem:
            if isinstance(problem, Stop):
                findings.diagnostics.append(problem.diagnostic)
            refused = _refused(findings, [p for p in chosen.probes if p.name in trying])
            if not refused:
                report.diagnostics += findings.diagnostics
                raise Refused from None
            trying -= refused.keys()
            reasons |= refused
            continue
        report.diagnostics += findings.diagnostics
        by = {p.name: p.kind for p in chosen.probes}
        session.ways = {p.name: (by[p.name], reasons.get(p.name, "")) for p in description.probes if p.trampoline}
        return session


def _refused(findings: Report, tried: Sequence[ProbeDescription]) -> dict[str, str]:
    """Of the probes that were tried with a trampoline, those that a finding names, and the finding; when it names none of
    them, all: without trampolines it may be another."""
    problem = next((d.message for d in findings.diagnostics if d.severity is Severity.ERROR), "it is refused")
    named = [p for p in tried if f"`{p.name}`" in problem or f"`{p.function}`" in problem]
    return {p.name: problem for p in named or tried}


def _open(data: bytes, description: Description, options: Options, report: Report) -> Session:
    _check_privileges(report)
    places, filled = _check_targets(description, options, report)
    if report.failed:
        raise Refused
    description = _as_filled(description, filled)
    tracefs = find_tracefs()
    leftovers = remove_leftovers(tracefs) if tracefs is not None else []
    programs = programs_of(description)
    if not raise_file_limit(4 * len(programs) + 256):
        report.error("SP427", f"{len(description.probes)} probes need more open files than this process may have", None,
                     help="raise the limit (ulimit -n), or make two specs of it")  # fmt: skip
        raise Refused
    undo: list[Callable[[], None]] = []
    try:
        library = Library(verbose=options.verbose)
        undo.append(library.close)
        barrier = Barrier(library)
        undo.append(barrier.close)
        linked = _linked(library, programs, options)
        thing = load(library, data, description, linked, filled, options, report)
        undo.append(thing.close)
        maps, fds = thing.maps, thing.programs
        reader = _reader(description, maps)
        undo.append(reader.close)
        collector = Collector(library, maps, description, wait=barrier.wait) if description.aggregated else None
        attacher = Attacher(library, options.attach)
        undo.append(attacher.close)
        session = Session(
            description,
            library,
            thing,
            reader,
            maps[description.lost_map],
            barrier,
            attacher,
            places=places,
            notes=[],
            filtered=bool(options.filters),
            collector=collector,
        )
        undo.append(session.detach)
        for program in programs:
            linking = program.symbol in linked
            group = session.entries if program.symbol == program.probe.entry else session.attachments
            group.append(_attach(session, program, fds[program.symbol], linking, options, report))
    except BaseException:
        for step in reversed(undo):
            step()
        raise
    session.notes += [f"removed the event {name} of a run that was killed" for name in leftovers]
    session.notes += [_places_told(p) for p in description.probes if p.name in filled and p.at is not None]
    session.notes += [note for one in filled.values() for note in one.notes]
    session.notes += verified("".join(library.log))
    session.notes += [f"{kind}s are attached by {mode}" for kind, mode in attacher.modes.items()]
    return session


def _reader(description: Description, maps: Mapping[str, int]) -> Reader:
    if not description.streaming:
        return NoEvents()
    return open_buffer(description.buffer, maps[description.events_map], description.buffer_size)


def _places_told(probe: ProbeDescription) -> str:
    """Where the arguments are on this kernel."""
    places = [f"{f.record_key} {f.place}" for f in probe.event.fields if f.place]
    return f"{probe.name} on this kernel: {', '.join(places)}"


def _check_privileges(report: Report) -> None:
    missing = missing_capabilities()
    if missing:
        report.error("SP421", f"this process has no {' and no '.join(missing)}", None,
                     help="run it as root, or give it these capabilities: "
                     f"setcap {','.join(m.lower() for m in missing)}=ep PROGRAM")  # fmt: skip
        raise Refused


def _check_targets(
    description: Description, options: Options, report: Report
) -> tuple[dict[str, UserPlace], Mapping[str, Filled]]:
    """Where each user probe goes, and where each kernel probe's arguments are; every problem of every probe is reported."""
    check_filters(options.filters, report)
    users = [p for p in description.probes if p.target is not None]
    if users and not has_probes("uprobe"):
        report.error("SP422", f"the kernel of this machine ({os.uname().release}) has no uprobes",
                     options.where(users[0].name), notes=["it was built without CONFIG_UPROBE_EVENTS"])  # fmt: skip
        return {}, {}
    places: dict[str, UserPlace] = {}
    targets = UserTargets(pid=options.filters.pid)
    for probe in users:
        assert probe.target is not None
        try:
            places[probe.name] = targets.find(probe.target, None)
            found = list(places[probe.name].notes)
        except Stop as problem:
            found = [problem.diagnostic]
        report.diagnostics += [_placed(d, options.where(probe.name)) for d in found]
    check_user_code(users, places, options.where, report, force=options.force)
    return places, check_kernel(description.probes, options.where, report, force=options.force)


def _as_filled(description: Description, filled: Mapping[str, Filled]) -> Description:
    """The description with the places of this kernel."""
    probes = tuple(replace(p, event=filled[p.name].event) if p.name in filled else p for p in description.probes)
    return replace(description, probes=probes)


def _placed(d: Diagnostic, where: Location | None) -> Diagnostic:
    return Diagnostic(d.code, d.message, where, d.notes, d.help, d.severity)


def _linked(library: Library, programs: Sequence[LoadedProgram], options: Options) -> frozenset[str]:
    """The programs that go to their uprobes by a link of their own: it costs less than a perf event, and many of them
    are taken off in the time of one. For one process the kernel's first versions of it filtered wrongly."""
    users = [p for p in programs if p.probe.target is not None and p.probe.target.pid is None]
    if (
        not users
        or options.filters.pid is not None
        or options.attach not in ("auto", "link")
        or not library.has_uprobe_links()
    ):
        return frozenset()
    return frozenset(p.symbol for p in users)


def _attach(
    session: Session, program: LoadedProgram, fd: int, linked: bool, options: Options, report: Report
) -> Attachment:
    """Raises Refused."""
    probe, attacher = program.probe, session.attacher
    try:
        if probe.kind in LINK_KINDS:
            if options.attach in ("perf", "legacy"):
                raise NoMode(f"{probe.kind} programs are attached by a link only")
            return attacher.trampoline(fd)
        if probe.kind in KERNEL_KINDS:
            return attacher.kernel(fd, kernel_symbol(probe), at_return=program.at_return)
        assert probe.target is not None
        place = session.places[probe.name]
        pid = probe.target.pid if probe.target.pid is not None else options.filters.pid
        return attacher.user(fd, place.path, place.offset, at_return=program.at_return, pid=pid, linked=linked)
    except NoMode as problem:
        report.error("SP423", f"cannot attach `{probe.name}` by `{options.attach}`: {problem}",
                     options.where(probe.name), help="`--attach auto` takes what works")  # fmt: skip
    except (OSError, LibbpfError) as failure:
        number = failure.errno or 0
        notes = []
        if probe.function is not None and probe.kind not in LINK_KINDS:
            why = why_not_attached(kernel_symbol(probe))
            if why is not None:
                report.error("SP443", why, options.where(probe.name),
                             help="probe its caller, or a function that it calls")  # fmt: skip
                raise Refused from None
        if number in (errno.EACCES, errno.EPERM) and not has_capability("CAP_SYS_ADMIN"):
            # Linux 6.16, and stable kernels since, took uprobes back from CAP_PERFMON.
            report.error("SP421", f"this process has no CAP_SYS_ADMIN, and this kernel wants it for {probe.kind}s",
                         options.where(probe.name), help="run it as root, or give it this capability")  # fmt: skip
            raise Refused from None
        if isinstance(failure, LibbpfError):
            notes += failure.log.replace("libbpf: ", "").splitlines()[-_SHOWN_LOG_LINES:]
        report.error("SP426", f"the kernel does not attach `{probe.name}`: {_words(number)}", options.where(probe.name),
                     notes=notes, help=_HINTS.get(number))  # fmt: skip
    raise Refused


_ENOTSUPP: Final = 524  # of the kernel's own, without a text in libc
_HINTS: Final = {
    _ENOTSUPP: "this kernel's trampolines do not take this function's arguments; use a kprobe",
    errno.EACCES: "`specc doctor` says which capabilities are missing",
    errno.EPERM: "`specc doctor` says which capabilities are missing",
    errno.EBUSY: "something else holds the function; try `--attach perf`",
}


def _words(number: int) -> str:
    return (
        "not supported (ENOTSUPP)"
        if number == _ENOTSUPP
        else f"{os.strerror(number)} ({errno.errorcode.get(number, number)})"
    )

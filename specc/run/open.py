"""An object's bytes into the kernel: what must be there is looked for, then the programs are loaded and attached.

In: an object, its description, and what the user chose.  Out: a `Session`.

    with open_session(data, description, Options(), report) as session:
        for batch in session.poll(100): ...

Every finding is told at once in a Report, and then `Refused` is raised; nothing stays behind in the kernel.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from specc.buffers import NoEvents, Reader, open_buffer
from specc.describe import Description, ProbeDescription
from specc.diagnostics import Diagnostic, Location, Report, Severity, Stop
from specc.libbpf import LibbpfError, Library
from specc.locate import UserPlace, UserTargets
from specc.noun import replace
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
from specc.run.session import Session
from specc.run.system import has_capability, missing_capabilities, raise_file_limit
from specc.run.tracefs import find_tracefs, remove_leftovers
from specc.run.user_target import check_user_code

_SHOWN_LOG_LINES: Final = 12
_OF_THE_FILE: Final = ("SP446", "SP449", "SP455")  # what is wrong with a user probe's file, not with the function in it


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
        pid = probe.target.pid
        if pid is not None and not os.path.exists(f"/proc/{pid}"):
            report.error("SP452", f"there is no process {pid}, which `{probe.name}` is for", options.file_where(probe.name),
                         help="leave `pid` out of the spec, and choose a process with --pid")  # fmt: skip
            continue
        try:
            places[probe.name] = targets.find(probe.target, None)
            found = list(places[probe.name].notes)
        except Stop as problem:
            found = [problem.diagnostic]
        for d in found:
            where = options.file_where if d.code in _OF_THE_FILE else options.where
            report.diagnostics.append(_placed(d, where(probe.name)))
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

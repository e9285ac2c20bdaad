"""An object into the kernel: opened, its constants set, loaded; and what to say when the kernel refuses it.

In: an object's bytes and what is known of the kernel.  Out: an `Object` of libbpf; or findings, and `Refused`.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Mapping
from typing import Final

from specc.describe import Description, ProbeDescription
from specc.diagnostics import Diagnostic, Location, Report, Stop, stop
from specc.libbpf import BPF_TRACE_UPROBE_MULTI, LibbpfError, Library, Object
from specc.noun import dataclass
from specc.run.fill import Filled
from specc.run.filters import Filters, fill_filters, set_filters
from specc.run.kernel_target import (
    LINK_KINDS,
    TRACEPOINT,
    TRAMPOLINE_KINDS,
)

RETURN_KINDS: Final = frozenset({"kretprobe", "uretprobe", "kretsyscall"})
_SHOWN_LOG_LINES: Final = 12


class Refused(Exception):
    """What was found wrong is in the report that was given."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to run. `where` gives the place of a probe in its spec, where there is one, and `file_where` that of its file; they
    are asked only on errors."""

    attach: str = "auto"
    filters: Filters = Filters()
    force: bool = False
    verbose: bool = False
    where: Callable[[str], Location | None] = lambda _: None
    file_where: Callable[[str], Location | None] = lambda _: None


@dataclass(slots=True)
class LoadedProgram:
    """One program of the object and the probe that it belongs to."""

    symbol: str
    probe: ProbeDescription
    at_return: bool


def load(
    library: Library,
    data: bytes,
    description: Description,
    linked: frozenset[str],
    filled: Mapping[str, Filled],
    options: Options,
    report: Report,
) -> Object:
    """The object in the kernel. Raises Refused or Stop."""
    thing: Object | None = None
    _check_btf(data, description.name)
    try:
        thing = library.open(data, description.name)
        if not set_filters(thing, data, description.name, options.filters, report):
            raise Refused
        _set_places(thing, data, description, filled, report)
        thing.only({program.symbol for program in programs_of(description)})
        for symbol in linked:
            thing.expect(symbol, BPF_TRACE_UPROBE_MULTI)
        thing.load()
        if not fill_filters(library, thing, description.name, options.filters, report):
            raise Refused
    except LibbpfError as problem:
        if thing is not None:
            thing.close()
        report.diagnostics.append(_not_loaded(problem, description, options))
        raise Refused from None
    except BaseException:
        if thing is not None:
            thing.close()
        raise
    return thing


def _check_btf(data: bytes, name: str) -> None:
    """libbpf believes the types of an object, and its process ends when they are damaged. Raises Stop."""
    from specc.btf.whole import check_whole
    from specc.elf import NotElf, read_elf

    try:
        elf = read_elf(data)
        section = elf.find(".BTF")
        if section is None:
            raise NotElf("it has no types")
        check_whole(bytes(elf.contents(section)), name)
    except (NotElf, Stop) as problem:
        raise stop("SP461", f"the object `{name}` is damaged: {problem}", None, help=_AGAIN) from None


_AGAIN: Final = "build it again with this specc"


def _set_places(
    thing: Object, data: bytes, description: Description, filled: Mapping[str, Filled], report: Report
) -> None:
    from specc.elf import read_elf, symbols

    if not filled:
        return
    elf = read_elf(data)
    for probe in description.probes:
        if probe.name in filled and probe.at is not None:
            constants = symbols(elf, probe.at.symbol)
            if not constants:
                report.error("SP431", f"the object lacks `{probe.at.symbol}`, which its description names", None,
                             help=_AGAIN)  # fmt: skip
                raise Refused
            for offset, value in filled[probe.name].settings.items():
                thing.set_constant(constants[0].value + offset, value)


_PROGRAM_LOG: Final = re.compile(
    r"prog '(?P<program>\w+)': -- BEGIN PROG LOAD LOG --\n(?P<log>.*?)-- END PROG LOAD LOG --", re.DOTALL
)
_PROGRAM_FAILED: Final = re.compile(r"prog '(\w+)': (?:BPF program load failed|failed to)")
_COUNTED: Final = ("processed ", "verification time ", "stack depth ")  # how the verifier's log ends
_STATISTICS: Final = re.compile(r"^processed (\d+) insns", re.MULTILINE)
_STACK: Final = re.compile(r"^stack depth ([\d+]+)", re.MULTILINE)
# btf_distill_func_proto() of kernel/bpf/btf.c, asked before the program itself is looked at.
_NOT_TAKEN: Final = re.compile(
    r"The function \S+ (?:(?:arg\d+|return) type \S+ is unsupported|has \d+ arguments\. Too many|with variable args is)"
)


def _not_loaded(problem: LibbpfError, description: Description, options: Options) -> Diagnostic:
    """What libbpf said about a load that failed, at the probe that it is about."""
    verifier = _PROGRAM_LOG.search(problem.log)
    named = verifier["program"] if verifier else None
    if named is None and (failed := _PROGRAM_FAILED.search(problem.log)):
        named = failed[1]
    probe = next((p for p in description.probes if named in (p.symbol, p.entry)), None)
    where = options.where(probe.name) if probe is not None else None
    said = [line for line in problem.log.replace("libbpf: ", "").splitlines() if line.strip()]
    if verifier and verifier["log"].strip():
        log = [line for line in verifier["log"].splitlines() if line.strip()]
        end = [line for line in log if not line.startswith(_COUNTED)]
        untaken = next((line for line in log if _NOT_TAKEN.match(line)), None)
        if probe is not None and probe.kind in TRAMPOLINE_KINDS and untaken is not None:
            instead = "kprobe" if probe.kind == "fentry" else "kretprobe"
            return Diagnostic(
                "SP426", f"the trampolines of this machine's kernel ({os.uname().release}) do not take "
                f"`{probe.function}`, which {probe.kind} needs", where, (untaken,), f"use a {instead}",
            )  # fmt: skip
        return Diagnostic(
            "SP430",
            f"the kernel's verifier rejects the program of `{probe.name if probe else named}`: {end[-1] if end else problem.message}",
            where,
            tuple(log if options.verbose else end[-_SHOWN_LOG_LINES:-1]),
            "this is a bug of specc, or the kernel is older than what the spec needs; -v shows the whole log",
        )
    if probe is not None and probe.kind in LINK_KINDS and problem.errno in (errno.EPERM, errno.ENOENT, errno.ESRCH):
        return Diagnostic(
            "SP424", f"the kernel of this machine ({os.uname().release}) does not load {probe.kind} programs: "
            f"{problem.message}", where, tuple(said[-_SHOWN_LOG_LINES:]),
            "use a kprobe instead" if probe.kind != TRACEPOINT else None,
        )  # fmt: skip
    if f"map '{description.events_map}': failed to create" in problem.log and description.buffer == "ring":
        return Diagnostic(
            "SP425", f"the kernel of this machine ({os.uname().release}) does not give a ring buffer: {problem.message}",
            None, tuple(said[-_SHOWN_LOG_LINES:]), "kernels before 5.8 need `buffer: {perf: 64}` in the spec",
        )  # fmt: skip
    return Diagnostic(
        "SP431", f"the object cannot be loaded: {problem.message}", where, tuple(said[-_SHOWN_LOG_LINES:]),
        "`specc doctor` says what works on this machine",
    )  # fmt: skip


def verified(log: str) -> list[str]:
    """What the verifier counted for each program that it took: how many instructions it went through on all ways, which has
    a limit of a million, and the stack of the program and of what it calls. There when libbpf was asked to be verbose."""
    found: list[str] = []
    for program in _PROGRAM_LOG.finditer(log):
        steps, stack = _STATISTICS.search(program["log"]), _STACK.search(program["log"])
        if steps and stack:
            depth = sum(map(int, stack[1].split("+")))
            found.append(
                f"{program['program']}: the verifier went through {steps[1]} instructions, {depth} bytes of stack"
            )
    return found


def programs_of(description: Description) -> list[LoadedProgram]:
    """In the order of attaching: an entry before its return, so that no return lacks its arguments."""
    found: list[LoadedProgram] = []
    for probe in description.probes:
        if probe.entry is not None:
            found.append(LoadedProgram(probe.entry, probe, False))
        found.append(LoadedProgram(probe.symbol, probe, probe.kind in RETURN_KINDS))
    return found

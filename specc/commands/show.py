"""`specc show`: where every argument of a function is, or what a spec's events look like."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from specc.commands.common import FINE, SUFFIXES, USAGE, exit_code, tell
from specc.diagnostics import Location, Report, Sources, Stop, did_you_mean, stop
from specc.noun import replace
from specc.pipeline import Session, front
from specc.pipeline import session as open_session
from specc.prototype import Prototype, spell_prototype

if TYPE_CHECKING:
    from specc.dwarf.judge import Subprogram
    from specc.place import Placement

COMMAND_LINE: Final = "<command line>"


def run(options: argparse.Namespace) -> int:
    report = Report()
    session = open_session(options.compiler, options.btf)
    if options.function is None and not options.all:
        print("specc show: name a function or a spec, or give --all", file=sys.stderr)
        return USAGE
    if options.function is not None and options.function.endswith((*SUFFIXES, ".o")):
        return _spec(options, session, report)
    try:
        # What can be refused is, before the first one is given; the places of many are computed as they are printed.
        placed = _placed(options, session)
        first = list(islice(placed, 1))
    except Stop as problem:
        report.diagnostics.append(problem.diagnostic)
        tell(report, options.output_format, command_line(options))
        return exit_code(report)
    _print(options, chain(first, placed))
    return FINE


def _placed(options: argparse.Namespace, session: Session) -> Iterator[tuple[Prototype, Placement]]:
    """What the arguments name, with its places. Raises Stop."""
    from specc.abi import place_arguments

    if options.elf and not (options.header or options.prototype):
        yield from _from_elf(options)
        return
    # What only BTF describes is kernel code; a header says nothing about who compiles it, so it is taken as user code
    # unless the user says otherwise.
    kernel = options.kernel or not (options.header or options.prototype)
    for prototype in list(prototypes_named(options, session)):
        # The compiler calls a header that was named `x.h` `./x.h`.
        named = replace(prototype, source=prototype.source.removeprefix("./"))
        code = _in_elf(options.elf, prototype.name, declared=True) if options.elf else None
        if code is None:
            yield named, place_arguments(named, kernel=kernel)
        else:
            _must_agree(named, code.prototype)
            yield named, code.adjust(code.by_abi(named))


def _must_agree(ours: Prototype, theirs: Prototype) -> None:
    """Raises Stop where the debug information says otherwise than the header or the --prototype."""
    from specc.user_code import disagreements

    different = disagreements(ours, theirs, [p.name for p in ours.parameters if p.name] + ["return"])
    if different:
        raise stop(
            "SP209",
            f"`{ours.name}` is declared differently in the {theirs.source}: {different[0]}",
            None,
            notes=[
                *(f"also: {difference}" for difference in different[1:]),
                f"{ours.source or 'the prototype'}: {spell_prototype(ours)}",
                f"{theirs.source}: {spell_prototype(theirs)}",
            ],
            help="take the declaration that the program was compiled with",
        )


def _from_elf(options: argparse.Namespace) -> Iterator[tuple[Prototype, Placement]]:
    from specc.dwarf import open_dwarf
    from specc.locate import find_file

    if not options.all:
        found = in_elf(options.elf, options.function)
        yield found.prototype, found.placement
        return
    dwarf = open_dwarf(find_file(as_path(options.elf), None, os.environ), Path(options.elf).name)
    if dwarf is None:
        raise _without_debug_information(options.elf)
    for one in list(dwarf.functions()):
        yield replace(one.prototype, name=one.symbol), one.placement


def in_elf(path: str, function: str) -> Subprogram:
    """A function of an ELF file as its debug information has it. Raises Stop, also when there is none."""
    found = _in_elf(path, function, declared=False)
    if found is None:
        raise _without_debug_information(path)
    return found


def _in_elf(path: str, function: str, *, declared: bool) -> Subprogram | None:
    """The same; None when the file says nothing."""
    from specc.ir import Target
    from specc.user_code import described, find_place

    found = described(
        find_place(Target(as_path(path), function, 0, None), None), Path(path).name, None, declared=declared
    )
    return found.subprogram if found is not None else None


def as_path(name: str) -> str:
    """A file of the working directory comes before a program of the same name in $PATH."""
    return f"./{name}" if "/" not in name and os.path.isfile(name) else name


def _without_debug_information(path: str) -> Stop:
    return stop("SP272", f"`{path}` has no debug information", None,
                help="compile it with -g, install its debug package, or give --header or --prototype")  # fmt: skip


def _print(options: argparse.Namespace, placed: Iterable[tuple[Prototype, Placement]]) -> None:
    from specc.show import show_json, show_text

    if options.format == "json":
        shown = (show_json(p, placement) for p, placement in placed)
        if not options.all:
            print(json.dumps(next(shown), indent=1))
            return
        # A line per function: tens of thousands of them are made and read as they come.
        sys.stdout.write("[")
        for number, described in enumerate(shown):
            sys.stdout.write((",\n" if number else "\n") + json.dumps(described))
        sys.stdout.write("\n]\n")
        return
    for number, (prototype, placement) in enumerate(placed):
        sys.stdout.write(("\n" if number else "") + show_text(prototype, placement))


def command_line(options: argparse.Namespace) -> Sources:
    """What a finding in a --prototype points into."""
    sources = Sources()
    sources.add(COMMAND_LINE, options.prototype or "")
    return sources


def prototypes_named(options: argparse.Namespace, session: Session) -> Iterator[Prototype]:
    """What the arguments name. Raises Stop."""
    here = Location(COMMAND_LINE, 1, 1, 1, len(options.prototype or "") + 1)
    index = None
    if options.header:
        from specc.headers import HeaderIndex, preprocess

        defines = tuple((n, v if eq else "1") for n, eq, v in (d.partition("=") for d in options.define))
        result = preprocess(
            [Path(h) for h in options.header],
            [Path(i) for i in options.include],
            defines,
            session.sources.preprocessor(),
        )
        index = HeaderIndex(result.text)
    if options.prototype:
        from specc.headers import parse_declaration
        from specc.headers.declaration import symbol_of

        prototype = parse_declaration(options.prototype, index, here)
        prototype = replace(prototype, name=symbol_of(options.prototype, prototype))
        if options.function not in (None, prototype.name):
            raise stop("SP207", f"the prototype declares `{prototype.name}`, not `{options.function}`", None)
        yield prototype
        return
    if index is not None:
        if options.all:
            for name in index.functions():
                found = index.prototype(name)
                if found is not None:
                    yield found
            return
        found = index.prototype(options.function)
        if found is None:
            raise stop(
                "SP206",
                f"no declaration of `{options.function}` in {', '.join(options.header)}",
                None,
                help=did_you_mean(options.function, index.functions()),
            )
        yield found
        return
    yield from _from_btf(options, session)


def _from_btf(options: argparse.Namespace, session: Session) -> Iterator[Prototype]:
    btfs = session.sources.btfs() or (session.sources.running_kernel(),)
    for btf in btfs:
        if options.all:
            for name in btf.functions():
                yield from btf.find(name)
        elif btf.find(options.function) or btf is btfs[-1]:
            yield btf.prototype(options.function)
            return


def _spec(options: argparse.Namespace, session: Session, report: Report) -> int:
    from specc.show import event_json, show_event, show_json, show_text

    program = front(Path(options.function), session, report)
    tell(report, options.output_format)
    if program is None:
        return exit_code(report)
    if options.format == "json":
        described = [
            {
                "probe": p.name,
                "kind": p.kind,
                "function": show_json(p.prototype, p.placement) if p.prototype and p.placement else None,
                "event": event_json(p.event),
                **({"aggregate": p.aggregate.title} if p.aggregate is not None else {}),
            }
            for p in program.probes
        ]
        print(json.dumps({"spec": program.name, "probes": described}, indent=1))
        return FINE
    for number, probe in enumerate(program.probes):
        sys.stdout.write(("\n" if number else "") + f"probe {probe.name} ({probe.section})\n\n")
        if probe.prototype and probe.placement:
            sys.stdout.write(show_text(probe.prototype, probe.placement) + "\n")
        if probe.aggregate is not None:
            sys.stdout.write(f"in place of events, {probe.aggregate.title}; it is made of\n\n")
        sys.stdout.write(show_event(probe.event))
    return FINE

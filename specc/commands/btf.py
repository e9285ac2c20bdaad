"""`specc btf`: BTF out of a kernel image, a package, an archive or a module; all of it, or what some functions need.

In: a file or the running kernel.  Out: a summary on stdout, or raw BTF in a file, written whole or not at all.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from specc.commands.common import USAGE, exit_code, find_specs, tell
from specc.diagnostics import Location, Report, Stop, stop
from specc.noun import dataclass

if TYPE_CHECKING:
    from specc.btf import Btf
    from specc.btf.extract import Found
    from specc.spec import ProbeSpec

_MAGIC = b"\x9f\xeb"


def run(options: argparse.Namespace) -> int:
    report = Report()
    functions, types = _words(options.functions), _words(options.types)
    part = bool(options.functions or options.types or options.spec)
    try:
        wanted = _from_specs(options.spec, report)
        if part and not (functions or types or wanted.functions or wanted.tracepoints or report.failed):
            # A list that a script left empty must not write the whole BTF, nor a part with nothing in it.
            print("specc btf: no function or type is named, and no spec has a kernel probe", file=sys.stderr)
            return USAGE
        if not report.failed:
            btf, found = _opened(options)
            if part:
                data = _part(btf, dict.fromkeys((*functions, *wanted.functions)), types, wanted, options, report)
            else:
                data = _whole(btf, found)
            if data is not None:
                _give(btf, found, data, options, part=part)
    except Stop as problem:
        report.diagnostics.append(problem.diagnostic)
    if report.diagnostics:  # else stdout belongs to the summary
        tell(report, options.output_format)
    return exit_code(report)


def _opened(options: argparse.Namespace) -> tuple[Btf, Found]:
    from specc.btf.open import RUNNING, open_file

    base = Path(options.base) if options.base else None
    if options.file is not None:
        btf, found = open_file(Path(options.file), base, options.module)
    elif options.module is not None:
        btf, found = open_file(_running_module(options.module), base)
    else:
        btf, found = open_file(RUNNING, base)
    if base is not None and btf.base is None and found.distilled is None:
        print(f"specc btf: {btf.name} is complete by itself; --base is not needed", file=sys.stderr)
    return btf, found


def _give(btf: Btf, found: Found, data: bytes, options: argparse.Namespace, *, part: bool) -> None:
    if options.output is None:
        _summary(btf, found, data, part=part)
        return
    for read in filter(None, (options.file, options.base)):
        if os.path.exists(options.output) and os.path.samefile(options.output, read):
            raise stop(
                "SP507", f"`{options.output}` is what is read, and would be lost", None, help="choose another -o"
            )
    _write(options.output, data)
    if options.verbose:
        print(f"{options.output}: {len(data)} bytes", file=sys.stderr)


def _words(lists: Iterable[str]) -> list[str]:
    """The names in lists such as "vfs_read, struct file"."""
    return [w for text in lists for part in text.split(",") if (w := " ".join(part.split()))]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What the probes of specs want of a kernel's BTF. `read_as` are types that arguments are read as and enums that name
    values, `prefixes` what such constants begin with, and `tested` are names in conditions, constants among them: those that
    this BTF does not have come from elsewhere. `probes` are those whose paths lead through types."""

    functions: tuple[str, ...] = ()
    tracepoints: tuple[str, ...] = ()
    read_as: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    tested: tuple[str, ...] = ()
    probes: tuple[ProbeSpec, ...] = ()


def _from_specs(named: list[str], report: Report) -> _Wanted:
    if not named:
        return _Wanted()
    from specc.source import load
    from specc.spec import KERNEL_KINDS, TRACEPOINT, read_spec

    functions: list[str] = []
    tracepoints: list[str] = []
    read_as: list[str] = []
    prefixes: list[str] = []
    tested: list[str] = []
    probes: list[ProbeSpec] = []
    for path in find_specs(named, report):
        try:
            spec = read_spec(load(path), report)
        except Stop as problem:
            report.diagnostics.append(problem.diagnostic)
            continue
        for probe in spec.probes if spec is not None else ():
            if probe.kind in KERNEL_KINDS and probe.function is not None:
                (tracepoints if probe.kind == TRACEPOINT else functions).append(probe.function.text)
                tested += probe.tested
                probes.append(probe)
                for argument in probe.args or ():
                    if argument.type is not None:
                        read_as.append(argument.type.text)
                    for names in (argument.enum, argument.flags):
                        if names is not None:
                            (prefixes if names.text.endswith("_") else read_as).append(names.text)
    return _Wanted(
        tuple(functions),
        tuple(tracepoints),
        tuple(read_as),
        tuple(dict.fromkeys(prefixes)),
        tuple(tested),
        tuple(probes),
    )


def _through(btf: Btf, probe: ProbeSpec) -> Iterator[str]:
    """The records that a probe's paths lead through. What is wrong with a path, the compiler tells."""
    from specc.btf.complete import completed_by
    from specc.btf.tracepoints import find_tracepoint
    from specc.path import Path as Steps
    from specc.path import root_key, walk
    from specc.spec import TRACEPOINT

    assert probe.function is not None
    name = probe.function.text
    args = [a for a in probe.args or () if a.path is not None or a.deref]
    paths = [(a.name, a.path or Steps("", a.where, ()), a.type, a.deref) for a in args]
    paths += [(n, p, None, False) for n, p in probe.condition.paths] if probe.condition is not None else []
    for prototype in (find_tracepoint(btf, name) if probe.kind == TRACEPOINT else btf.find(name)) if paths else ():
        types = {"return": prototype.result} | {p.name: p.type for p in prototype.parameters if p.name}
        for argument, path, read_as, deref in paths:
            start = types.get(argument) if read_as is None else btf.type_named(read_as.text)
            if start is None:
                continue
            try:
                hops = walk(start, path, completed_by(btf), whole=deref).hops
            except Stop:
                continue
            for kind, tag in (root_key(hop.root) for hop in hops if hop.in_record):
                yield tag if kind == "typedef" else f"{kind} {tag}"


def _running_module(name: str) -> Path:
    from specc.btf.open import RUNNING
    from specc.diagnostics import did_you_mean

    path = RUNNING.parent / name.replace("-", "_")
    if "/" in name or not path.exists():
        known = sorted(os.listdir(RUNNING.parent)) if RUNNING.parent.is_dir() else []
        raise stop(
            "SP244",
            f"the running kernel has no module `{name}` with BTF",
            None,
            help=did_you_mean(name, known)
            or "load the module, or name the package that has it: specc btf FILE --module NAME",
        )
    return path


def _part(
    btf: Btf,
    functions: Iterable[str],
    types: Iterable[str],
    wanted: _Wanted,
    options: argparse.Namespace,
    report: Report,
) -> bytes | None:
    """The part with these functions and types, and what specs want besides functions. All that is missing is reported;
    with --optional it is left out."""
    from specc.btf.part import part_of, types_named
    from specc.btf.tracepoints import find_tracepoint, tracepoint

    def there(names: Iterable[str], look: Callable[[str], object], told: Report | None) -> list[str]:
        kept: list[str] = []
        for name in names:
            try:
                look(name)
            except Stop as problem:
                if told is not None and options.optional and problem.diagnostic.code in ("SP234", "SP238", "SP247"):
                    print(f"specc btf: left out: {problem.diagnostic.message}", file=sys.stderr)
                elif told is not None:
                    told.diagnostics.append(problem.diagnostic)
            else:
                kept.append(name)
        return kept

    # A name of several functions is no error here: the part has them all, so that a probe of it stays refused.
    functions = there(functions, lambda name: btf.find(name) or btf.prototype(name), report)
    types = there(types, lambda name: types_named(btf, name), report)
    through = [name for probe in wanted.probes for name in _through(btf, probe)]
    types += there((*wanted.read_as, *dict.fromkeys(through)), lambda name: types_named(btf, name), None)
    tracepoints = there(wanted.tracepoints, lambda name: find_tracepoint(btf, name) or tracepoint(btf, name), report)
    if report.failed:
        return None
    constants = [name for name in dict.fromkeys(wanted.tested) if _is_constant(btf, name)]
    return part_of(btf, functions, types, tracepoints, [*wanted.prefixes, *constants])


def _is_constant(btf: Btf, name: str) -> bool:
    try:
        return btf.constant(name) is not None
    except Stop:
        return True  # of several values, which the part must have too


def _whole(btf: Btf, found: Found) -> bytes:
    from specc.btf.part import merged

    return found.data if btf.base is None else merged(btf)


def _summary(btf: Btf, found: Found, data: bytes, *, part: bool) -> None:
    from specc.btf import Btf

    shown = Btf(data, btf.name) if part else btf
    rows = [("what", found.what)]
    if found.module:
        rows.append(("module", found.module))
    rows.append(("release", found.release or "not told by the file"))
    if found.banner:
        rows.append(("banner", found.banner))
    if part:
        rows.append(("functions", ", ".join(shown.functions()) or "none"))
        rows.append(("types", f"{len(shown.blob.ids())} of {btf.blob.end_id - 1}"))
    else:
        rows.append(("functions", _functions(shown)))
        rows.append(("types", str(len(shown.blob.ids()))))
    rows.append(("bytes", str(len(data if part else found.data))))
    print(shown.name)
    for label, text in rows:
        print(f"  {label:<9}  {_printable(text)}")


def _functions(btf: Btf) -> str:
    """How many; a kernel has names that several functions share."""
    from specc.btf import blob

    entries = len(btf.blob.ids_of_kind({blob.FUNC}))
    names = len(btf.functions())
    return str(names) if entries == names else f"{names} names for {entries} functions"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def _write(output: str, data: bytes) -> None:
    """Replace BTF, and nothing else that may be there."""
    from specc.outputs import write_outputs

    folder, name = os.path.split(output)
    if name in ("", ".", ".."):
        raise stop("SP507", f"`{output}` is no name of a file", None, help="name a file, such as -o kernel.btf")
    try:
        with open(output if os.path.isfile(output) else os.devnull, "rb") as file:
            head = file.read(2)
    except OSError as e:
        raise stop("SP506", f"cannot read {output}: {e.strerror}", Location(output), help="give access to it") from None
    if head not in (b"", _MAGIC):
        raise stop(
            "SP505",
            f"{output} exists and is not BTF",
            Location(output),
            help="move it away, or choose another -o",
        )
    write_outputs({name: data}, folder or ".")

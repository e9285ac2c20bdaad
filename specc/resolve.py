"""Where each probe's prototype comes from: its own `prototype:`, then the headers, then BTF; first match wins.

sources = Sources(compiler, btf_files)
resolve(spec, sources, report)          # {"gup": Resolved(prototype, placement, type_named)}
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from specc.diagnostics import Location, Report, Severity, Stop, did_you_mean, stop
from specc.ir import CONTEXT
from specc.kernel_code import compare_declared, look, on_targets, place
from specc.lower.nouns import RETURN, Resolved
from specc.noun import replace
from specc.prototype import CType, Prototype, Record, spell_prototype
from specc.sources import RUNNING_TARGET, Target
from specc.spec import KERNEL_KINDS, SYSCALL_KINDS, TRACEPOINT, ProbeSpec, Spec, Word
from specc.vocabulary import Vocabulary

if TYPE_CHECKING:
    from specc.btf import Btf
    from specc.headers import HeaderIndex
    from specc.sources import Sources
    from specc.survey import Survey
    from specc.user_code import Described


def resolve(
    spec: Spec,
    sources: Sources,
    report: Report,
    surveys: list[Survey] | None = None,
    unresolved: set[str] | None = None,
) -> dict[str, Resolved]:
    """The prototype and the places of every probe that has one; what is missing is reported.

    `surveys` takes up what each probe of a kernel function is on every target, `unresolved` the probes with something missing.
    """
    try:
        index = sources.headers(spec)
    except Stop as problem:
        report.diagnostics.append(problem.diagnostic)
        if unresolved is not None:
            unresolved.update(probe.name.text for probe in spec.probes)
        return {}
    found: dict[str, Resolved] = {}
    for probe in spec.probes:
        errors = _errors(report)
        try:
            known = _probe(probe, spec, index, sources, report, surveys)
        except Stop as problem:
            report.diagnostics.append(problem.diagnostic)
            known = None
        if known is None and _errors(report) > errors and unresolved is not None:
            unresolved.add(probe.name.text)
        if known is not None:
            source = portable_source(known.prototype, Path(spec.path).parent)
            on = {known.target: known.prototype} | {e.target: e.prototype for e in known.elsewhere}
            words = Vocabulary(
                index, partial(sources.macros, spec), partial(_targets, probe, spec, sources),
                partial(_kernels, probe, spec, sources), known.prototype, on if known.target else {},
            )  # fmt: skip
            found[probe.name.text] = replace(
                known,
                prototype=replace(known.prototype, source=source),
                constants=words.constants,
                constant=words.constant,
            )
    return found


def _errors(report: Report) -> int:
    return sum(d.severity is Severity.ERROR for d in report.diagnostics)


def _targets(probe: ProbeSpec, spec: Spec, sources: Sources) -> tuple[Target, ...]:
    """The kernels that the spec is for, whose BTF may tell what values are called."""
    if probe.kind not in KERNEL_KINDS | SYSCALL_KINDS:
        return ()
    try:
        return sources.targets(spec)
    except Stop:
        return ()  # the header or the prototype was enough so far


def _kernels(probe: ProbeSpec, spec: Spec, sources: Sources) -> tuple[Target, ...]:
    """Those, or else the running kernel."""
    declared = _targets(probe, spec, sources)
    if declared or probe.kind not in KERNEL_KINDS | SYSCALL_KINDS:
        return declared
    try:
        return (Target(RUNNING_TARGET, (sources.running_kernel(),)),)
    except Stop:
        return ()


def _probe(
    probe: ProbeSpec,
    spec: Spec,
    index: HeaderIndex | None,
    sources: Sources,
    report: Report,
    surveys: list[Survey] | None,
) -> Resolved | None:
    if probe.function is None:
        return None
    kernel = probe.kind in KERNEL_KINDS
    if probe.prototype is None and probe.args == () and not set(probe.tested) - set(CONTEXT):
        # Nothing is named, and the reader of specs has seen to that.
        if kernel and surveys is not None:
            look(probe, sources.targets(spec), surveys)
        return None
    # What a header declares by that name is a function, and no tracepoint.
    prototype = _declared(probe, index if probe.kind != TRACEPOINT or probe.prototype is not None else None)
    if prototype is not None:
        known = _as_compiled(probe, _resolved(probe, prototype, index, None), sources)
        if kernel:
            declared = portable_source(prototype, Path(spec.path).parent)
            compare_declared(probe, known, declared, sources.targets(spec), report, surveys)
        return known
    if kernel:
        targets = sources.targets(spec)
        if not targets:
            targets, surveys = (Target(RUNNING_TARGET, (sources.running_kernel(),)),), None
        found = on_targets(probe, targets, report, surveys)
        if found is None:
            return None
        known = _resolved(probe, found.prototype, index, found.btf)
        return replace(known, target=found.target, elsewhere=found.elsewhere)
    if probe.kind in SYSCALL_KINDS:
        return _resolved(probe, _from_tracepoint(probe, index), index, None)
    return _from_dwarf(probe, index, sources)


def _declared(probe: ProbeSpec, index: HeaderIndex | None) -> Prototype | None:
    """The prototype from the probe itself or from the headers."""
    assert probe.function is not None
    if probe.prototype is not None:
        from specc.headers import parse_declaration
        from specc.headers.declaration import symbol_of

        prototype = parse_declaration(probe.prototype.text, index, probe.prototype.where)
        prototype = replace(prototype, name=symbol_of(probe.prototype.text, prototype))
        if prototype.name not in _names(probe):
            raise stop(
                "SP207",
                f"the prototype declares `{prototype.name}`, and the probe is on `{probe.function.text}`",
                probe.prototype.where,
                help=f"write `{probe.function.text}` in the prototype",
            )
        return prototype
    if index is None:
        return None
    return next((found for name in _names(probe) if (found := index.prototype(name)) is not None), None)


def _names(probe: ProbeSpec) -> tuple[str, ...]:
    """The names that a declaration of the function may have: linux/syscalls.h puts a `sys_` before system calls."""
    assert probe.function is not None
    name = probe.function.text
    return (f"sys_{name}", name) if probe.kind in SYSCALL_KINDS else (name,)


def _from_tracepoint(probe: ProbeSpec, index: HeaderIndex | None) -> Prototype:
    """A system call's declaration from the running kernel's tracepoint format."""
    from specc.headers import parse_declaration
    from specc.syscalls import declaration

    assert probe.function is not None
    name, where = probe.function.text, probe.function.where
    prototype = parse_declaration(declaration(name, where), index, where)
    return replace(prototype, where=None, source="the tracepoint format of the running kernel")


def _from_dwarf(probe: ProbeSpec, index: HeaderIndex | None, sources: Sources) -> Resolved:
    """The function as the debug information of its own file describes it, with its places in this very file."""
    from specc.user_code import Described

    assert probe.function is not None
    found = _described(probe, sources, declared=False)
    if isinstance(found, Described):
        known = _resolved(probe, found.subprogram.prototype, index, None)
        return replace(known, placement=found.subprogram.placement, build=found.identity, complete=found.complete)
    declared = index.functions() if index is not None else []
    raise stop(
        "SP206",
        f"no prototype of `{probe.function.text}`",
        probe.function.where,
        notes=[found],
        help=did_you_mean(probe.function.text, declared)
        or "add a header that declares it to `headers`, or a `prototype:` to the probe",
    )


def _as_compiled(probe: ProbeSpec, known: Resolved, sources: Sources) -> Resolved:
    """A declared user function in the file on this machine, if there is one that describes it: the declarations must
    agree on what the spec uses, and where the compiler changed the function, the file's places are the right ones."""
    from specc.user_code import Described, disagreements

    found = _described(probe, sources, declared=True) if probe.target is not None else ""
    assert probe.function is not None
    if not isinstance(found, Described):
        if probe.target is not None and probe.target.symbol is not None and _is_copy(probe.target.symbol):
            raise _unknown_copy(probe.target.symbol, found)
        return known
    ours, theirs = known.prototype, found.subprogram.prototype
    names = [a.name for a in ours.parameters if a.name] if probe.args is None else [a.name for a in probe.args]
    names += [n for n in probe.tested if n not in names and n in {*(a.name for a in ours.parameters), RETURN}]
    different = disagreements(ours, theirs, names)
    if different:
        raise stop(
            "SP209",
            f"`{ours.name}` is declared differently in the {theirs.source}: {different[0]}",
            probe.function.where,
            notes=[
                *(f"also: {difference}" for difference in different[1:]),
                f"{ours.source or 'the spec'}: {spell_prototype(ours)}",
                f"{theirs.source}: {spell_prototype(theirs)}",
            ],
            help="take the declaration that the program was compiled with",
        )
    placement = found.subprogram.adjust(found.subprogram.by_abi(ours))
    copy = probe.target is not None and probe.target.symbol is not None and _is_copy(probe.target.symbol)
    same = placement == known.placement and not copy
    return known if same else replace(known, placement=placement, build=found.identity)


def _is_copy(symbol: Word) -> bool:
    """`f.isra.0`; a dot in a symbol's version says nothing."""
    return "." in symbol.text.partition("@")[0]


def _unknown_copy(symbol: Word, why: str) -> Stop:
    return stop(
        "SP275",
        f"`{symbol.text}` is a copy that the compiler made, and its arguments may not be those of the declaration",
        symbol.where,
        notes=[f"only debug information tells where they are: {why}"] if why else (),
        help="compile the program with -g, or install its debug package",
    )


def _described(probe: ProbeSpec, sources: Sources, *, declared: bool) -> Described | str:
    """What the probed file says of the function, or why it says nothing. Raises Stop where it says that it is no
    function to probe."""
    from specc.ir import Target as Code
    from specc.locate import SAY_WHICH
    from specc.user_code import described, find_place

    assert probe.target is not None
    target, where = probe.target, probe.function.where if probe.function is not None else probe.where
    try:
        symbol = target.symbol.text if target.symbol is not None else None
        place = find_place(Code(target.path.text, symbol, target.offset, target.pid), where)
    except Stop as problem:
        if "/" in target.path.text:
            sources.absent[target.path.text] = None
        if not declared and problem.diagnostic.help == SAY_WHICH:
            raise  # a prototype would not help
        return problem.diagnostic.message
    sources.dependencies[place.path] = None
    found = described(place, Path(target.path.text).name, where, declared=declared)
    if found is None:
        return f"`{target.path.text}` has no debug information"
    sources.dependencies.update(dict.fromkeys(found.files))
    return found


def _resolved(probe: ProbeSpec, prototype: Prototype, index: HeaderIndex | None, btf: Btf | None) -> Resolved:
    from specc.abi import place_arguments

    def type_named(text: str, where: Location) -> CType:
        from specc.headers import HeaderIndex

        if btf is not None:
            found = btf.type_named(text)
            if found is not None:
                return found
        return (index or HeaderIndex("")).type(text, where)

    def complete(ctype: CType) -> Record | str:
        if btf is not None:
            from specc.btf.complete import completed_by

            return completed_by(btf)(ctype)
        from specc.headers.complete import completed_by as completed_by_headers

        return completed_by_headers(index)(ctype)

    if probe.kind in SYSCALL_KINDS:
        from specc.syscalls import as_syscall, place_syscall

        prototype = as_syscall(prototype)
        return Resolved(prototype, place_syscall(prototype), type_named, char_known=False, complete=complete)
    kernel = probe.kind in KERNEL_KINDS
    placement = place(probe, prototype) if kernel else place_arguments(prototype, kernel=False)
    return Resolved(prototype, placement, type_named, char_known=btf is not None or not kernel, complete=complete)


def portable_source(prototype: Prototype, base: Path) -> str:
    """The origin of a prototype without what differs between machines and working directories: relative to the spec,
    or, for a system header, as it is included (its lines move with every update, so they are left out)."""
    if prototype.where is None:
        return prototype.source
    file = Path(prototype.where.file)
    if str(file) == str(base) or file.suffix in (".yaml", ".yml", ".toml"):
        return "the spec"
    if file.is_absolute() and not base.is_absolute():
        return f"<{str(file).rpartition('/include/')[2]}>"
    try:
        return f"{file.relative_to(base)}:{prototype.where.line}"
    except ValueError:
        return (
            f"<{str(file).rpartition('/include/')[2]}>" if file.is_absolute() else f"{file.name}:{prototype.where.line}"
        )

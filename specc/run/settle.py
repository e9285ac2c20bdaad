"""Kernel probes against the running kernel's own BTF: those that were compiled for one prototype must find it, those whose
places are set before the load get them.

In: probes, and the modules that their functions are in.  Out: constants by the probes' names; findings in the report.

    settle(description.probes, {"gup": ""}, where, report, force=False)["gup"].settings
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from specc.describe import ProbeDescription
from specc.diagnostics import Diagnostic, Location, Report, Severity, Stop
from specc.noun import replace
from specc.prototype import Prototype, spell_prototype
from specc.run.fill import Filled, fill, keep
from specc.run.names import asks, changed, contradicted, renamed, told
from specc.spec import SYSCALL_KINDS, TRACEPOINT

if TYPE_CHECKING:
    from specc.btf import Btf

BTF_FOLDER: Final = "/sys/kernel/btf"

Where = Callable[[str], Location | None]


def settle(
    probes: Sequence[ProbeDescription], modules: Mapping[str, str], where: Where, report: Report, *, force: bool
) -> dict[str, Filled]:
    """`modules` has by each probe's name the module that its function is in, "" for the kernel itself. What does not fit is
    refused, or with `force` warned of, and then the places are those that were compiled in."""
    wanted = [p for p in probes if p.declaration is not None and p.used and p.kind not in SYSCALL_KINDS]
    kernel = _Kernel()
    filled: dict[str, Filled] = {}
    found: dict[str, Sequence[Prototype]] = {}
    for probe in wanted:
        assert probe.function is not None and probe.declaration is not None
        try:
            theirs = kernel.find(probe, modules.get(probe.name, ""))
        except Stop as problem:
            report.diagnostics.append(_unknown(probe, problem.diagnostic.message, where(probe.name), force=force))
            theirs = ()
        found[probe.name] = theirs
        if (
            probe.paths
            and not _check_paths(probe, kernel, modules, where(probe.name), report, force=force)
            and not force
        ):
            continue
        if probe.at is None:
            if theirs:
                _compare(probe, probe.declaration, theirs, where(probe.name), report, force=force)
            continue
        one = _fill(probe, theirs, where(probe.name), report, force=force)
        if one is None and force:
            one = Filled(keep(probe.at), probe.event, ())
        if one is not None:
            filled[probe.name] = one
    for probe in probes:
        if asks(probe):
            btfs = kernel.btfs(modules.get(probe.name, ""))
            one = filled.get(probe.name, Filled({}, probe.event, ()))
            _check_constants(probe, btfs, found.get(probe.name, ()), where(probe.name), report, force=force)
            _check_headers(probe, btfs, where(probe.name), report, force=force)
            if btfs or not force:
                event = renamed(probe, one.event, btfs, believe_headers=force)
                filled[probe.name] = replace(one, event=event, notes=told(probe.event, event))
    return filled


def _check_headers(
    probe: ProbeDescription, btfs: Sequence[Btf], where: Location | None, report: Report, *, force: bool
) -> None:
    """Names that the spec's headers give to values must not be this kernel's names of others: those are left out."""
    found = contradicted(probe, btfs)
    if found:
        what = "may be wrong: --force was given" if force else "are left out"
        report.warning(
            "SP472", f"names in the headers of `{probe.name}` are not this kernel's, and {what}: {found[0]}", where,
            notes=[f"also: {f}" for f in found[1:4]] + ([f"and {len(found) - 4} more"] if len(found) > 4 else []),
            help="leave the header out: where BTF has the names, they are those of the kernel that runs",
        )  # fmt: skip


def _check_constants(
    probe: ProbeDescription,
    btfs: Sequence[Btf],
    theirs: Sequence[Prototype],
    where: Location | None,
    report: Report,
    *,
    force: bool,
) -> None:
    """What a condition tests by name must be what the name means here."""
    if not probe.constants and not probe.assumed:
        return
    found = changed(probe, btfs, theirs[0] if len(theirs) == 1 else None)
    if probe.constants and not btfs:
        listed = ", ".join(f"`{name}`" for name, _ in probe.constants)
        found = [f"this kernel has no BTF, which alone tells what {listed} is here"]
    if found:
        report.diagnostics.append(
            Diagnostic(
                "SP471", f"the condition of `{probe.name}` may test something else on this kernel: {found[0]}", where,
                tuple(f"also: {f}" for f in found[1:]),
                "events may be the wrong ones: --force was given" if force
                else "build the spec with this kernel among its targets, or write numbers (--force runs it all the same)",
                Severity.WARNING if force else Severity.ERROR,
            )
        )  # fmt: skip


class _Kernel:
    """The running kernel's BTF and its modules', each opened when first needed."""

    def __init__(self) -> None:
        self._opened: dict[str, Btf | Stop] = {}

    def find(self, probe: ProbeDescription, module: str) -> tuple[Prototype, ...]:
        """The functions, or tracepoints, of the name; none where there is no BTF. Raises Stop when it cannot be read."""
        assert probe.function is not None
        base = self._open("vmlinux", None)
        if base is None:
            return ()
        own = self._open(module, base) if module else None
        btf = own if own is not None else base
        if probe.kind != TRACEPOINT:
            return btf.find(probe.function)
        from specc.btf.tracepoints import find_tracepoint

        return find_tracepoint(btf, probe.function)

    def types(self, module: str) -> Btf | None:
        """What describes the kernel's types, a module's own among them. Raises Stop."""
        base = self._open("vmlinux", None)
        own = self._open(module, base) if module and base is not None else None
        return own or base

    def btfs(self, module: str) -> tuple[Btf, ...]:
        """The kernel's, and that of a module; none where there is none, or where it cannot be read."""
        try:
            base = self._open("vmlinux", None)
            own = self._open(module, base) if module and base is not None else None
        except Stop:
            return ()
        return tuple(b for b in (base, own) if b is not None)

    def _open(self, name: str, base: Btf | None) -> Btf | None:
        from specc.btf import open_btf

        path = Path(BTF_FOLDER, name)
        if name not in self._opened:
            if not path.exists():
                return None
            try:
                self._opened[name] = open_btf(path, base)
            except Stop as problem:
                self._opened[name] = problem
        found = self._opened[name]
        if isinstance(found, Stop):
            raise found
        return found


def _unknown(probe: ProbeDescription, why: str, where: Location | None, *, force: bool) -> Diagnostic:
    if probe.at is None:
        return Diagnostic(
            "SP445",
            f"the running kernel's BTF cannot be read, so the prototype of `{probe.function}` is not compared with it",
            where, (why,), None, Severity.WARNING,
        )  # fmt: skip
    return Diagnostic(
        "SP470", f"the running kernel's BTF cannot be read, and it alone says where the arguments of `{probe.function}` are",
        where, (why,), None, Severity.WARNING if force else Severity.ERROR,
    )  # fmt: skip


def _fill(
    probe: ProbeDescription, theirs: Sequence[Prototype], where: Location | None, report: Report, *, force: bool
) -> Filled | None:
    """The constants; None with a finding. Of several functions with the name, each must give the same."""
    assert probe.at is not None
    severity = Severity.WARNING if force else Severity.ERROR
    before = len(report.diagnostics)
    if not theirs:
        if not any(d.code == "SP470" and d.where == where for d in report.diagnostics):
            report.diagnostics.append(_silent(probe, where, severity))
        return None
    if any(p.name is None for one in theirs for p in one.parameters) and probe.kind == TRACEPOINT:
        report.diagnostics.append(_silent(probe, where, severity, "does not name the parameters of"))
        return None
    results = [(p, fill(probe, p)) for p in theirs]
    for prototype, result in results:
        if result.misfits and len(report.diagnostics) == before:
            report.diagnostics.append(_misfit(probe, prototype, result, where, severity))
    if len(report.diagnostics) > before:
        return None
    if any(r.settings != results[0][1].settings for _, r in results):
        report.diagnostics.append(
            Diagnostic(
                "SP470",
                f"the running kernel's BTF has {len(theirs)} functions `{probe.function}` with different arguments",
                where,
                tuple(spell_prototype(p) for p in theirs),
                "probe a function with a name of its own",
                severity,
            )
        )
        return None
    return results[0][1]


def _check_paths(
    probe: ProbeDescription,
    kernel: _Kernel,
    modules: Mapping[str, str],
    where: Location | None,
    report: Report,
    *,
    force: bool,
) -> bool:
    """Whether all paths of a probe lead to what its event has room for."""
    from specc.btf.complete import completed_by
    from specc.run.paths import problems

    assert probe.function is not None
    severity = Severity.WARNING if force else Severity.ERROR
    try:
        btf = kernel.types(modules.get(probe.name, ""))
    except Stop:
        return False  # which has been told
    if btf is None:
        message = f"the running kernel has no BTF, and it alone says where the fields are that `{probe.name}` records"
        report.diagnostics.append(Diagnostic("SP470", message, where, (), None, severity))
        return False
    first, *rest = problems(probe, completed_by(btf), btf.type_named("char")) or ("",)
    if not first:
        return True
    report.diagnostics.append(
        Diagnostic(
            "SP470",
            f"the running kernel does not have what `{probe.name}` records: {first}",
            where,
            tuple(f"also: {text}" for text in rest),
            "values may be wrong: --force was given"
            if force
            else "build the spec with this kernel among its targets (--force runs it all the same)",
            severity,
        )
    )
    return False


def _silent(
    probe: ProbeDescription, where: Location | None, severity: Severity, lack: str = "does not know"
) -> Diagnostic:
    assert probe.at is not None
    has = os.path.exists(f"{BTF_FOLDER}/vmlinux")
    problem = f"the running kernel's BTF {lack} `{probe.function}`" if has else "the running kernel has no BTF"
    forced = severity is Severity.WARNING
    return Diagnostic(
        "SP470",
        f"{problem}, so nothing says where the arguments of `{probe.function}` are here",
        where,
        (f"the program was compiled for {probe.at.right_for}",),
        f"values may be wrong: --force takes the places of {probe.at.right_for}"
        if forced
        else "give the prototype of this kernel's function in the spec (--force takes the places that were compiled in)",
        severity,
    )


def _misfit(
    probe: ProbeDescription, theirs: Prototype, filled: Filled, where: Location | None, severity: Severity
) -> Diagnostic:
    first, *rest = filled.misfits
    assert probe.declaration is not None and probe.at is not None
    forced = severity is Severity.WARNING
    help_ = first.help or "build the spec with this kernel among its targets (--force runs it all the same)"
    return Diagnostic(
        "SP470",
        f"`{probe.function}` of the running kernel does not have what the spec records: {first.text}",
        where,
        (
            *(f"also: {m.text}" for m in rest),
            f"compiled for {probe.at.right_for}: {spell_prototype(probe.declaration)}",
            f"{theirs.source}: {spell_prototype(theirs)}",
        ),
        "values may be wrong: --force was given" if forced else help_,
        severity,
    )


def _compare(
    probe: ProbeDescription,
    ours: Prototype,
    theirs: Sequence[Prototype],
    where: Location | None,
    report: Report,
    *,
    force: bool,
) -> None:
    """The prototype that a program was compiled for against the running kernel's."""
    from specc.compare import argument_differences

    for other in theirs:
        found = argument_differences(ours, other, probe.used)
        if not found:
            continue
        report.diagnostics.append(
            Diagnostic(
                "SP445",
                f"`{ours.name}` is declared differently in the running kernel: {found[0]}",
                where,
                (
                    *(f"also: {d}" for d in found[1:]),
                    f"{ours.source or 'the spec'}: {spell_prototype(ours)}",
                    f"{other.source}: {spell_prototype(other)}",
                ),
                "values may be wrong: --force was given"
                if force
                else "build the spec with the declaration of this kernel (--force runs it all the same)",
                Severity.WARNING if force else Severity.ERROR,
            )
        )

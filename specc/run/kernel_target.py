"""Whether the running kernel has what its probes want: functions by exactly this name, with these arguments.

In: probes of a description and the places where the spec names them.  Out: findings; none when all is well.

    check_kernel(probes, where, report, force=False)

The kernel itself would accept some of these: of several symbols with one name it takes the first.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from specc.describe import ProbeDescription
from specc.diagnostics import Diagnostic, Location, Report, Severity, Stop, did_you_mean
from specc.noun import dataclass
from specc.run.fill import Filled
from specc.run.settle import settle
from specc.run.system import PMUS
from specc.run.tracefs import find_tracefs

SYSCALL_KINDS: Final = frozenset({"ksyscall", "kretsyscall"})
TRACEPOINT: Final = "raw_tracepoint"
TRAMPOLINE_KINDS: Final = frozenset({"fentry", "fexit"})
LINK_KINDS: Final = TRAMPOLINE_KINDS | {TRACEPOINT}  # loaded for one place by its BTF, and attached by a link
KERNEL_KINDS: Final = frozenset({"kprobe", "kretprobe"}) | LINK_KINDS | SYSCALL_KINDS
BTF: Final = "/sys/kernel/btf/vmlinux"
KALLSYMS: Final = "/proc/kallsyms"
BLACKLIST: Final = "/sys/kernel/debug/kprobes/blacklist"
_CODE: Final = frozenset(b"tTwW")
_CALLER: Final = "__traceiter_"

Where = Callable[[str], Location | None]


@dataclass(frozen=True, slots=True)
class KernelSymbol:
    """A line of /proc/kallsyms. `module` is "" for the kernel itself."""

    name: str
    code: bool
    module: str


def kernel_symbol(probe: ProbeDescription) -> str:
    """The symbol that a probe goes to: a system call's is its wrapper, whose registers the program sees through; a
    tracepoint's is the function that calls the programs on it, and is in the module that has the tracepoint."""
    assert probe.function is not None
    if probe.kind == TRACEPOINT:
        return f"{_CALLER}{probe.function}"
    return f"__x64_sys_{probe.function}" if probe.kind in SYSCALL_KINDS else probe.function


def check_kernel(
    probes: Sequence[ProbeDescription], where: Where, report: Report, *, force: bool
) -> Mapping[str, Filled]:
    """Report every probe on a kernel function that cannot be, or must not be, attached; and give the constants of those
    whose places are set before the load, by the probes' names."""
    ours = [p for p in probes if p.kind in KERNEL_KINDS and p.function is not None]
    if not ours:
        return {}
    if not _mechanisms(ours, where, report):
        return {}
    symbols = kernel_symbols({kernel_symbol(p) for p in ours})
    blacklist = _blacklist() if any(p.kind not in LINK_KINDS for p in ours) else frozenset()
    for probe in ours:
        symbol = kernel_symbol(probe)
        if probe.kind == TRACEPOINT:
            absent = _no_tracepoint(probe, where(probe.name)) if not symbols.get(symbol) else None
            if absent is not None:
                report.diagnostics.append(absent)
            continue
        found = symbol_problem(symbol, symbols.get(symbol, []), where(probe.name))
        if found is None and symbol in blacklist and probe.kind not in LINK_KINDS:
            found = Diagnostic(
                "SP444", f"`{symbol}` is on the kernel's blacklist: a kprobe there could bring it down",
                where(probe.name), help="probe its caller, or a function that it calls",
            )  # fmt: skip
        found = found or _clones(symbol, symbols.get(symbol, []), where(probe.name))
        if found is not None:
            report.diagnostics.append(found)
    if report.failed:
        return {}
    modules = {p.name: there[0].module for p in ours if (there := symbols.get(kernel_symbol(p)))}
    return settle(ours, modules, where, report, force=force)


def _mechanisms(probes: Sequence[ProbeDescription], where: Where, report: Report) -> bool:
    """Whether this kernel has kprobes, and BTF for trampolines."""
    kprobe = next((p for p in probes if p.kind not in LINK_KINDS), None)
    trampoline = next((p for p in probes if p.kind in LINK_KINDS), None)
    fine = True
    if kprobe is not None and not has_probes("kprobe"):
        fine = False
        report.error("SP422", f"the kernel of this machine ({os.uname().release}) has no kprobes", where(kprobe.name),
                     notes=["it was built without CONFIG_KPROBES"],
                     help="a kernel of a distribution has them; `specc doctor` says what works here")  # fmt: skip
    if trampoline is not None and not os.path.exists(BTF):
        fine = False
        report.error("SP424", f"the kernel of this machine ({os.uname().release}) has no BTF, which "
                     f"{trampoline.kind} needs", where(trampoline.name),
                     help="use a kernel with CONFIG_DEBUG_INFO_BTF" if trampoline.kind == TRACEPOINT
                     else "use a kprobe, or a kernel with CONFIG_DEBUG_INFO_BTF")  # fmt: skip
    return fine


def has_probes(kind: str) -> bool:
    """Whether the kernel has `kprobe`s or `uprobe`s at all."""
    if os.path.exists(f"{PMUS}/{kind}"):
        return True
    tracefs = find_tracefs()
    return tracefs is not None and os.path.exists(f"{tracefs}/{kind}_events")


def kernel_symbols(names: set[str]) -> dict[str, list[KernelSymbol]]:
    """Every symbol with one of these names, or with one of them before a dot, by the name without its suffix."""
    try:
        with open(KALLSYMS, "rb") as file:
            text = file.read()
    except OSError:
        return {}
    found: dict[str, list[KernelSymbol]] = {}
    pattern = rb"^[0-9a-f]+ (\w) ((%s)(?:\.[^\s]+)?)(?:\t\[(\S+)\])?$"
    listed = sorted(names)
    for start in range(0, len(listed), 500):  # the pattern of a thousand names is still found in one pass each
        words = b"|".join(re.escape(n).encode() for n in listed[start : start + 500])
        for row in re.finditer(pattern % words, text, re.MULTILINE):
            kind, name, base, module = row.groups()
            symbol = KernelSymbol(name.decode(), kind[0] in _CODE, (module or b"").decode())
            found.setdefault(base.decode(), []).append(symbol)
    return found


def symbol_problem(function: str, symbols: Sequence[KernelSymbol], where: Location | None) -> Diagnostic | None:
    """Why a function cannot be probed by its name; None when it can."""
    exact = [s for s in symbols if s.name == function]
    code = [s for s in exact if s.code]
    if len(code) == 1:
        return None
    if len(code) > 1:
        modules = sorted({s.module or "the kernel" for s in code})
        return Diagnostic(
            "SP442", f"this kernel has {len(code)} functions called `{function}`, and a probe by name is on one of them",
            where, (f"in {', '.join(modules)}",), "probe a function with a name of its own, such as its caller",
        )  # fmt: skip
    if exact:
        return Diagnostic("SP440", f"`{function}` is data in this kernel, not a function", where)
    if symbols:
        copies = sorted({s.name for s in symbols})
        return Diagnostic(
            "SP441", f"in this kernel `{function}` exists only as {', '.join(f'`{c}`' for c in copies)}",
            where, ("the compiler changed its arguments, or split it: nobody can tell where they are",),
            "probe its caller, or a function that it calls",
        )  # fmt: skip
    if function.startswith("__x64_sys_"):
        return Diagnostic(
            "SP440", f"this kernel ({os.uname().release}) has no system call `{function.removeprefix('__x64_sys_')}` "
            f"(no `{function}`)", where, (), _similar_call(function),
        )  # fmt: skip
    return Diagnostic("SP440", f"this kernel ({os.uname().release}) has no function `{function}`", where,
                      _why_missing(function), _similar(function))  # fmt: skip


def _no_tracepoint(probe: ProbeDescription, where: Location | None) -> Diagnostic | None:
    """Before Linux 5.10 no function of its own calls the programs on a tracepoint: then BTF alone tells of it."""
    assert probe.function is not None
    try:
        with open(KALLSYMS, "rb") as file:
            known = {n.decode() for n in re.findall(rb" [tT] __traceiter_(\w+)", file.read())}
    except OSError:
        known = set()
    if not known and _in_btf(f"btf_trace_{probe.function}", typedef=True):
        return None
    near = {n for n in known if n[:1] == probe.function[:1]}
    return Diagnostic(
        "SP467", f"this kernel ({os.uname().release}) has no tracepoint `{probe.function}`", where,
        ("tracepoints of a module appear when it is loaded",), did_you_mean(probe.function, near),
    )  # fmt: skip


def _clones(function: str, symbols: Sequence[KernelSymbol], where: Location | None) -> Diagnostic | None:
    """A warning when some of a function's callers call a copy of it, which a probe by name does not see."""
    copies = sorted({s.name for s in symbols if re.search(r"\.(isra|constprop)\.\d+$", s.name)})
    if not copies:
        return None
    return Diagnostic(
        "SP441", f"calls of {', '.join(f'`{c}`' for c in copies)} are not seen by a probe on `{function}`", where,
        ("the compiler made a copy of the function for some of its callers",), None, Severity.WARNING,
    )  # fmt: skip


def _why_missing(function: str) -> tuple[str, ...]:
    described = _in_btf(function)
    if described:
        return ("its BTF knows the function, so the compiler put it into its callers (inlined it)",)
    return ("it may be inlined, in a module that is not loaded, or of another version of Linux",)


def _similar(function: str) -> str | None:
    try:
        with open(KALLSYMS, "rb") as file:
            text = file.read()
    except OSError:
        return None
    near = rb"^[0-9a-f]+ [tTwW] (\w*%s\w*)" % re.escape(function.strip("_")[: max(4, len(function) * 2 // 3)]).encode()
    return did_you_mean(function, {n.decode() for n in re.findall(near, text, re.MULTILINE)})


def _similar_call(function: str) -> str | None:
    try:
        with open(KALLSYMS, "rb") as file:
            known = {n.decode() for n in re.findall(rb" [tT] __x64_sys_(\w+)$", file.read(), re.MULTILINE)}
    except OSError:
        return None
    return did_you_mean(function.removeprefix("__x64_sys_"), known)


def _in_btf(name: str, *, typedef: bool = False) -> bool:
    from specc.btf import open_btf

    if not os.path.exists(BTF):
        return False
    try:
        btf = open_btf(Path(BTF))
        return btf.typedef(name) is not None if typedef else bool(btf.find(name))
    except Stop:
        return False


def _blacklist() -> frozenset[str]:
    try:
        with open(BLACKLIST, encoding="ascii", errors="replace") as file:
            return frozenset(line.split("\t")[1].split()[0] for line in file if "\t" in line)
    except OSError:
        return frozenset()  # debugfs is not mounted, or not for us: the kernel will say no by itself


def why_not_attached(function: str) -> str | None:
    """After the kernel refused a kprobe: whether it may be traced at all."""
    tracefs = find_tracefs()
    if tracefs is None:
        return None
    try:
        with open(f"{tracefs}/available_filter_functions", "rb") as file:
            text = b"\n" + file.read()
    except OSError:
        return None
    if re.search(rb"\n%s(\n| )" % re.escape(function).encode(), text):
        return None
    return f"`{function}` is not among the functions that this kernel lets be traced (it is notrace, or assembler)"

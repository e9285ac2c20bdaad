"""Tables of what was proven on which kernel: for each function, where its interesting argument was and what was seen; by
an object for each kernel, and by one object for all.

In: the results of all kernels.  Out: a Markdown file, `build/kernels.md`; `docs/how-it-is-tested.md` has a copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kernels import everywhere
from kernels.functions import CASES, Case, check_case
from kernels.results import Results
from specc.abi import place_arguments
from specc.place import STACK
from specc.prototype import Prototype


def place_of(prototype: Prototype, argument: str) -> str:
    """`sp+8`, `rdi`, or the registers of a struct: `rcx:r8`."""
    for found in place_arguments(prototype, kernel=True).arguments:
        if found.name == argument:
            if found.pieces[0].where == STACK:
                return f"sp+{found.pieces[0].stack_offset}"
            return ":".join(piece.where for piece in found.pieces)
    return "-"


def _spelled(value: Any) -> str:
    match value:
        case Mapping() if len(value) > 3 or "user" in value:  # a union's members are the same bytes
            shown = {k: v for k, v in value.items() if k != "kernel"}
            return (
                "{"
                + ", ".join(f"{k}: {_spelled(v)}" for k, v in list(shown.items())[:2])
                + (", ...}" if len(shown) > 2 else "}")
            )
        case Mapping():
            return "{" + ", ".join(f"{k}: {_spelled(v)}" for k, v in value.items()) + "}"
        case [first, *rest] if not any(rest) and rest:
            return f"[{first}, 0, ...]"
        case list():
            return f"[{', '.join(map(_spelled, value))}]"
        case bool():
            return str(value).lower()
        case int() if abs(value) >= 1 << 30 or value in (0x4040, 0x8040):
            return f"{value:#x}"
    return str(value)


def _cell(case: Case, results: Results) -> str:
    if case.function in results.plan.skipped:
        return "no such function" if "BTF" in results.plan.skipped[case.function] else "refused (`.isra`)"
    prototype = results.plan.functions[case.function]
    run = "functions-perf"
    names = frozenset(p.name for p in prototype.parameters if p.name)
    try:
        (event, *_) = check_case(case, case.function, results.events(run), results.facts(run)[case.trigger], names)
    except AssertionError:
        return "**wrong**"
    return f"`{place_of(prototype, case.shown)}` {_spelled(event[case.shown])}"


def _cell_of_all(case: Case, results: Results) -> str:
    """The same of the object for all kernels, with the places that were set."""
    built = results.plan.everywhere
    assert not isinstance(built, str)
    if case.function in built.skipped:
        return "left out"
    try:
        (event, *_) = everywhere.check(case, results.plan.kernel.series, built, "", results.events("one-clang"),
                                       results.facts("one-clang")[case.trigger])  # fmt: skip
    except AssertionError:
        return "**wrong**"
    place = place_of(built.prototypes[results.plan.kernel.series][case.function], case.shown)
    return "absent" if event[case.shown] is None else f"`{place}` {_spelled(event[case.shown])}"


def write_table(path: Path, results: Mapping[str, Results]) -> None:
    heads = [f"{series} ({r.plan.kernel.release})" for series, r in results.items()]
    head = [f"| function | argument | {' | '.join(heads)} |", f"|{'---|' * (len(heads) + 2)}"]
    lines = ["An object for each kernel:", "", *head]
    for case in CASES:
        cells = [_cell(case, r) for r in results.values()]
        lines.append(f"| `{case.function}` ({case.trigger}) | `{case.shown}` | {' | '.join(cells)} |")
    lines += ["", "One object for all of them:", "", *head]
    for case in everywhere.CASES:
        if not any(isinstance(r.plan.everywhere, str) for r in results.values()):
            cells = [_cell_of_all(case, r) for r in results.values()]
            lines.append(f"| `{case.function}` ({case.trigger}) | `{case.shown}` | {' | '.join(cells)} |")
    seconds = ", ".join(f"{series}: {r.seconds:.0f} s" for series, r in results.items())
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join([*lines, "", f"Time in each virtual machine: {seconds}.", ""]))

"""The paths that a program follows, in the kernel that it is about to be loaded into.

In: a probe's description, what completes that kernel's records, and its `char`.  Out: why a path does not lead there to what the
event has room for.

    problems(description.probes[0], completed_by(btf), char)    # ("`file->f_path.dentry`: `struct path` has no member ...",)

libbpf finds the members by their names, and the program looks at sizes and signs; this says it in words, and looks at
what neither can see: what a pointer leads to, how a struct is laid out.
"""

from __future__ import annotations

from specc.describe import ProbeDescription
from specc.diagnostics import Stop
from specc.fit import end_difference, roots_difference
from specc.ir import PathNeed
from specc.path import Complete, Path, parse_path, walk
from specc.prototype import CType, Int, Record, bare


def problems(probe: ProbeDescription, complete: Complete, char: CType | None = None) -> tuple[str, ...]:
    found = ((need, _problem(need, complete) or _char_problem(need, char)) for need in probe.paths)
    return tuple(f"`{need.said}`: {why}" for need, why in found if why is not None)


def _problem(need: PathNeed, complete: Complete) -> str | None:
    try:
        path = parse_path(need.text, None) if need.text else Path("", None, ())
        whole = isinstance(bare(need.type), Record)
        walked = walk(need.start, path, complete, need.argument, whole=whole)
    except Stop as problem:
        missing = problem.diagnostic.code == "SP264"
        return None if missing and need.optional else problem.diagnostic.message
    return roots_difference(need.roots, [hop.root for hop in walked.hops]) or end_difference(
        need.type, need.bit_width, walked, at_least=need.at_least
    )


def _char_problem(need: PathNeed, char: CType | None) -> str | None:
    """A prototype's pointers to text are the same to all kernels; a character that is told as a number is not."""
    ours, theirs = bare(need.type), None if char is None else bare(char)
    if not isinstance(ours, Int) or ours.kind != "char" or not isinstance(theirs, Int) or ours.signed == theirs.signed:
        return None
    return f"plain `char` is {'signed' if theirs.signed else 'unsigned'} there, not {'signed' if ours.signed else 'unsigned'}"

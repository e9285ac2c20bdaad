"""How a tracepoint's parameters lie in the context of a program on it (section `tp_btf/NAME`).

In: the tracepoint's prototype, without the `void *__data` that no program sees.  Out: places; what is in the way, or None.

    place_tracepoint(prototype).arguments[1].pieces         # (Piece(0, 8, "ctx[1]"),)

The kernel makes one __u64 of each parameter (include/trace/bpf_probe.h, CAST_TO_U64): the bytes of the value through an
unsigned integer of its size, and zeros above it. What has another size than such an integer does not compile there.
"""

from __future__ import annotations

from typing import Final

from specc.place import Argument, Piece, Placement, Result
from specc.prototype import Prototype, Void, align_of, bare, decay, size_of, spell

MOST_PARAMETERS: Final = 12  # bpf_trace_run12() is the last
_SIZES: Final = (1, 2, 4, 8)


def place_tracepoint(prototype: Prototype) -> Placement:
    """A word of the context for each parameter."""
    arguments: list[Argument] = []
    for number, parameter in enumerate(prototype.parameters):
        ctype = decay(parameter.type)
        size = size_of(ctype)
        reason = "" if size in _SIZES else f"a tracepoint has no parameter of {size} bytes"
        pieces = () if reason else (Piece(0, size, f"ctx[{number}]"),)
        arguments.append(Argument(parameter.name, parameter.type, size, align_of(ctype), "INTEGER", not reason, reason, pieces))  # fmt: skip
    return Placement(
        tuple(arguments), None, Result(prototype.result, 0, "NO_CLASS", False, "a tracepoint has no result")
    )


def tracepoint_problem(prototype: Prototype, placement: Placement) -> str | None:
    """Why it is no tracepoint that a program can be on, to follow its name and a colon."""
    if prototype.variadic:
        return "it is variadic"
    if not isinstance(bare(prototype.result), Void):
        return f"it returns `{spell(prototype.result)}`, and a tracepoint returns nothing"
    for argument in placement.arguments:
        if not argument.readable:
            return f"`{spell(argument.type, argument.name or '')}`: {argument.reason}"
    if len(placement.arguments) > MOST_PARAMETERS:
        return f"it has {len(placement.arguments)} parameters, and programs are given {MOST_PARAMETERS}"
    return None

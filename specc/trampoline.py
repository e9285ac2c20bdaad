"""Which functions a BPF trampoline (fentry, fexit) takes, and how their arguments lie in its context.

In: a prototype with its places.  Out: what is in the way, or None; words of 8 bytes.

    trampoline_problem(prototype, placement)        # "it is variadic"

These are the rules of the kernel's btf_distill_func_proto and of its newest x86 JIT; an older kernel takes less.
"""

from __future__ import annotations

from typing import Final

from specc.place import Argument, Placement
from specc.prototype import Enum, Float, Int, Pointer, Prototype, Record, bare, decay, size_of, spell

MOST_WORDS: Final = 12  # MAX_BPF_FUNC_ARGS


def words_of(argument: Argument) -> int:
    """Words of the context that an argument takes: they are flattened in order, whatever the ABI does."""
    return (argument.size + 7) // 8


def trampoline_problem(prototype: Prototype, placement: Placement) -> str | None:
    """Why no trampoline takes the function, to follow its name and a colon."""
    result = bare(prototype.result)
    if prototype.variadic:
        return "it is variadic"
    if isinstance(result, Record):
        return f"it returns `{spell(prototype.result)}` by value"
    if isinstance(result, Float) or size_of(prototype.result) > 8:
        return f"it returns `{spell(prototype.result)}`"
    for argument in placement.arguments:
        kind = bare(decay(argument.type))
        if isinstance(kind, Record):
            if not 0 < argument.size <= 16:
                return f"it takes `{spell(argument.type)}` of {argument.size} bytes by value"
        elif not isinstance(kind, Int | Enum | Pointer) or argument.size > 8:
            return f"it takes `{spell(argument.type)}`"
        if not argument.readable:
            return f"the place of `{argument.name}` is not certain: {argument.reason}"
    words = sum(map(words_of, placement.arguments))
    return f"its arguments take {words} words, and a trampoline takes {MOST_WORDS}" if words > MOST_WORDS else None

"""What may be true of the code behind a prototype and decides places, but is not in the prototype.

In: the types of result and arguments.  Out: every `Hypothesis` under which the arguments are to be placed.

    suppose(VOID, (INT128, LONG), False, COMPILERS)    # gcc, clang, clang before 18
    # with a BTF struct of 16 bytes on the stack: the same, and the same "if `struct s` is aligned to 16"

The compiler is a doubt, and its vector registers, where vectors of more than 16 bytes are about. A record that is
not `exact` (BTF and DWARF drop what the ABI depends on) may be aligned otherwise than it shows, a hole in it may be
an unnamed bit-field, a union may be transparent.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Final

from specc.abi.classify import CLANG, GCC, INTEGER, MEMORY, OLD_CLANG, OLD_GCC, Hypothesis, classify, natural_align
from specc.abi.passing import UNKNOWN_ALIGNMENT, seat_arguments
from specc.layout import data_mask
from specc.noun import replace
from specc.place import STACK
from specc.prototype import Array, Complex, CType, Float, Int, Qualified, Record, Typedef, Vector, bare, size_of, spell

COMPILERS: Final = (GCC, CLANG, OLD_CLANG, OLD_GCC)
_MOST: Final = 512  # hypotheses about one prototype; with more, what the records hide is refused instead of tried


def suppose(
    result: CType, types: Sequence[CType], variadic: bool, compilers: Sequence[Hypothesis]
) -> tuple[Hypothesis, ...]:
    """All the hypotheses; the first is the plain one."""
    found = [h for h in compilers if not h.old or any(_is_old(t, h.compiler, False) for t in (*types, result))]
    if variadic:
        found = [replace(h, variadic=True) for h in found]
    widest = max((_widest_vector(t) for t in (*types, result)), default=0)
    if widest > 16:
        found += [replace(h, vector=32, doubts=("it is compiled with -mavx",)) for h in found]
    if widest > 32:
        found += [replace(h, vector=64, doubts=("it is compiled with -mavx512f",)) for h in found if h.vector == 16]
    every = (*types, result)
    vague = [i for i, t in enumerate(every) if isinstance(r := bare(t), Record) and not r.exact]
    return _suppose_hidden(every, vague, found) if vague else tuple(found)


def _is_old(ctype: CType, compiler: str, inside: bool) -> bool:
    """Whether older versions of this compiler pass this type in another way than its present ones."""
    if isinstance(ctype, Typedef) and ctype.align is not None and inside and compiler == "clang":
        return True
    match ctype:
        case Typedef(target=target) | Qualified(target=target):
            return _is_old(target, compiler, inside)
        case Array(element=element):
            return _is_old(element, compiler, inside)
        case Record(members=members):
            return any(
                (m.bit_width == 0 and compiler == "gcc") or _is_old(m.type, compiler, True) for m in members or ()
            )
        case Int(size=16):
            return compiler == "clang" and not inside
        case Float(name="__float128"):
            return compiler == "clang"
        case _:
            return False


def _widest_vector(ctype: CType) -> int:
    match bare(ctype):
        case Vector(size=size):
            return size
        case Array(element=element):
            return _widest_vector(element)
        case Record(members=members):
            return max((_widest_vector(m.type) for m in members or ()), default=0)
        case _:
            return 0


def _suppose_hidden(
    every: Sequence[CType], vague: Sequence[int], found: Sequence[Hypothesis]
) -> tuple[Hypothesis, ...]:
    """The hypotheses with all that the records at the places `vague` may hide."""
    alike: list[list[int]] = []  # places of the same type hide the same
    for i in vague:
        group = next((g for g in alike if bare(every[g[0]]) == bare(every[i])), None)
        if group is None:
            alike.append([i])
        else:
            group.append(i)
    in_registers = [_hidden_classes(bare(every[g[0]])) for g in alike]
    supposed = [
        _with(h, len(every), alike, choice)
        for h in found
        for choice in product(*([_NOTHING, *c] for c in in_registers))
    ]
    on_stack: set[int] = set()
    for h in supposed:
        for i, seat in enumerate(seat_arguments(every[-1], every[:-1], h).arguments):
            if seat.pieces and seat.pieces[0].where == STACK:
                on_stack.add(i)
    in_memory = [_hidden_alignments(bare(every[g[0]])) if on_stack & set(g) else [] for g in alike]
    if len(supposed) * prod(1 + len(c) for c in in_memory) > _MOST:
        in_memory = [[("", 0, UNKNOWN_ALIGNMENT, False)] if c else [] for c in in_memory]
    return tuple(
        _with(h, len(every), alike, choice)
        for h in supposed
        for choice in product(*([_NOTHING, *c] for c in in_memory))
    )


_Choice = tuple[str, int, int, bool]  # in words; unnamed eightbytes, alignment, transparent
_NOTHING: Final[_Choice] = ("", 0, 0, False)


def _with(h: Hypothesis, count: int, alike: Sequence[Sequence[int]], choice: Sequence[_Choice]) -> Hypothesis:
    if all(c == _NOTHING for c in choice):
        return h
    unnamed, aligned = list(h.unnamed or (0,) * count), list(h.aligned or (0,) * count)
    transparent = list(h.transparent or (False,) * count)
    words = list(h.doubts)
    for places, (word, bits, align, see_through) in zip(alike, choice, strict=True):
        if word:
            words.append(word)
        for i in places:
            unnamed[i] |= bits
            aligned[i] = align or aligned[i]
            transparent[i] = transparent[i] or see_through
    return replace(
        h, doubts=tuple(words), unnamed=tuple(unnamed), aligned=tuple(aligned), transparent=tuple(transparent)
    )


def _hidden_classes(t: CType) -> list[_Choice]:
    """What the record may hide that changes the registers it takes."""
    assert isinstance(t, Record)
    choices: list[_Choice] = []
    classes = classify(t, GCC)
    if t.members and t.size <= 16 and MEMORY not in classes:
        holes = [i for i in range((t.size + 7) // 8) if _may_hide_bits(t, i, classes)]
        word = f"a hole in `{spell(t)}` is an unnamed bit-field"
        choices += [(word, bits, 0, False) for bits in _subsets(holes)]
    if t.kind == "union" and t.members:
        first = t.members[0].type
        # Both compilers drop the attribute where the first member is a floating or vector type.
        if not isinstance(bare(first), Float | Complex | Vector) and size_of(first) == t.size:
            differs = any(classify(first, h) != classify(t, h) for h in (GCC, CLANG))
            if differs or natural_align(first) != natural_align(t):
                choices.append((f"`{spell(t)}` is a transparent union", 0, 0, True))
    return choices


def _may_hide_bits(t: Record, i: int, classes: Sequence[str]) -> bool:
    """Whether an unnamed bit-field could be in this eightbyte, and make it INTEGER where it is not."""
    if i < len(classes) and classes[i] == INTEGER:
        return False
    end = min(8 * i + 8, t.size)
    return t.kind == "union" or data_mask(t)[8 * i : end] != b"\xff" * (end - 8 * i)


def _subsets(holes: Sequence[int]) -> list[int]:
    bits = [1 << i for i in holes]
    return sorted(
        {sum(b for b, taken in zip(bits, chosen, strict=True) if taken) for chosen in product((0, 1), repeat=len(bits))}
        - {0}
    )


def _hidden_alignments(t: CType) -> list[_Choice]:
    """Other alignments that a record of this size may have: `packed` lowers it, `aligned` raises it."""
    shown = max(8, natural_align(t))
    size = size_of(t)
    # A record's size is a multiple of its alignment; below 8, a stack slot's own alignment rules.
    possible = [8, *(1 << i for i in range(4, 13) if size % (1 << i) == 0)]
    return [
        (f"`{spell(t)}` is aligned to {a}" if a > 8 else f"`{spell(t)}` is packed", 0, a, False)
        for a in possible
        if a != shown
    ]

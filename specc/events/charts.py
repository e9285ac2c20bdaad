"""Histograms as bar charts for a terminal: counts and the bounds of their buckets in, lines of text out.

for line in chart(((1, 2), (2, 4)), (3, 1), width=40): ...

[1, 2)  3 ███████████████████████████
[2, 4)  1 █████████
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_UNITS: Final = ("", "K", "M", "G", "T", "P", "E")  # of 1024
_TIMES: Final = ((1, 1000, "ns"), (10**3, 1000, "us"), (10**6, 1000, "ms"), (10**9, 60, "s"), (60 * 10**9, 0, "m"))
_BLOCKS: Final = " ▏▎▍▌▋▊▉"  # eighths of a character
_LEAST_BAR: Final = 10
_WIDEST_BAR: Final = 52

Bound = tuple[int | None, int | None]


def chart(
    bounds: Sequence[Bound],
    counts: Sequence[int],
    *,
    width: int | None = None,
    blocks: bool = True,
    duration: bool = False,
) -> list[str]:
    """From the first bucket that has something to the last. Bars are of blocks, or else of `@`."""
    there = [n for n, count in enumerate(counts) if count]
    if not there:
        return []
    shown = range(there[0], there[-1] + 1)
    labels = [label(bounds[n], duration=duration) for n in shown]
    numbers = [f"{counts[n]:,}" for n in shown]
    wide, right = max(map(len, labels)), max(map(len, numbers))
    room = max(_LEAST_BAR, min(_WIDEST_BAR, (width or 80) - wide - right - 3))
    most = max(counts)
    return [
        f"{text:<{wide}}  {number:>{right}} {bar(counts[n], most, room, blocks=blocks)}".rstrip()
        for n, text, number in zip(shown, labels, numbers, strict=True)
    ]


def bar(count: int, most: int, room: int, *, blocks: bool) -> str:
    """As long as the count is of the most; what is not nothing is never without a bar."""
    if not blocks:
        return "@" * max(count > 0, count * room // most)
    eighths = max(count > 0, count * room * 8 // most)
    whole, part = divmod(eighths, 8)
    return "█" * whole + (_BLOCKS[part] if part else "")


def label(bound: Bound, *, duration: bool) -> str:
    low, high = bound
    spell = time if duration else short
    if low is None:
        return f"(..., {spell(high or 0)})"
    if high is None:
        return f"[{spell(low)}, ...)"
    if high == low + 1:
        return f"[{spell(low)}]"
    return f"[{spell(low)}, {spell(high)})"


def short(value: int) -> str:
    """A whole number of a unit of 1024, or all of the digits: nothing is rounded."""
    power = 0
    while value and value % 1024 == 0 and power < len(_UNITS) - 1:
        value //= 1024
        power += 1
    return f"{value}{_UNITS[power]}"


def time(ns: int) -> str:
    """A time with three digits: bounds that are powers of two of a ns have no short name."""
    if ns < 0:
        return f"-{time(-ns)}"
    for size, most, unit in _TIMES:
        digits = max(0, 3 - len(str(ns // size))) if size > 1 else 0
        scaled = (ns * 10**digits + size // 2) // size
        if not most or scaled < most * 10**digits:
            whole, part = divmod(scaled, 10**digits)
            return (f"{whole}.{part:0{digits}}".rstrip("0").rstrip(".") if digits else str(whole)) + unit
    raise AssertionError("the last unit has no end")

"""The comment above a program: the prototype, and the place of each value and why it is there.

In: a probe's values and what its prototype is.  Out: lines of text; emit puts them into a comment.

    place_lines(values, known)      # ("long f(int a);", "a  rdi")
"""

from __future__ import annotations

from collections.abc import Sequence

from specc.lower.nouns import LATENCY, RETURN, Resolved, Value
from specc.place import Placement, argument_names, place_text, trampoline_codes
from specc.prototype import Prototype, spell_prototype


def place_lines(values: Sequence[Value], known: Resolved | None) -> tuple[str, ...]:
    values = [v for v in values if v.argument != LATENCY or v.entry]  # which is nowhere
    if known is None:
        return ()
    if known.elsewhere:
        return tuple(_of_targets(values, known))
    lines = _wrapped(f"{spell_prototype(known.prototype)};")
    if known.prototype.source:
        lines.append(f"declared in {known.prototype.source}")
    if known.placement.hidden_return_pointer:
        lines.append(_HIDDEN)
    return (*lines, *_table([(v.name, v.place, v.reason) for v in values]))


_HIDDEN = "the result is returned in memory: rdi holds its address, and every argument moves by one"


def _of_targets(values: Sequence[Value], known: Resolved) -> list[str]:
    """Each prototype once, under the names of its targets, and a column of places for each."""
    targets = [(known.target, known.prototype, known.placement)]
    targets += [(e.target, e.prototype, e.placement) for e in known.elsewhere]
    groups: dict[tuple[str, ...], list[tuple[str, Prototype, Placement]]] = {}
    for row in targets:
        # The same text may name a type that differs.
        key = (spell_prototype(row[1]), *(_place(v, row[2]) for v in values))
        groups.setdefault(key, []).append(row)
    lines: list[str] = []
    for (text, *_), group in groups.items():
        lines.append(", ".join(name for name, _, _ in group) + ":")
        lines += [f"    {line}" for line in _wrapped(f"{text};")]
        if group[0][2].hidden_return_pointer:
            lines.append(f"    {_HIDDEN}")
    heads = [", ".join(name for name, _, _ in group) for group in groups.values()]
    placements = [group[0][2] for group in groups.values()]
    rows = [("", *heads)] + [(v.name, *(_place(v, p) for p in placements)) for v in values]
    return lines + _table(rows)


def _place(value: Value, placement: Placement) -> str:
    trampoline = value.place.startswith("ctx[")
    names = argument_names(placement)
    if value.argument == RETURN and not value.entry:
        return _words(placement, None, value) if trampoline else value.place
    if value.argument not in names:
        return "absent"
    number = names.index(value.argument)
    return _words(placement, number, value) if trampoline else place_text(placement.arguments[number].pieces)


def _words(placement: Placement, argument: int | None, value: Value) -> str:
    return ", ".join(f"ctx[{c - 1}]" for c in trampoline_codes(placement, argument, len(value.storage.masks)))


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    if not rows:
        return []
    wide = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(f"{cell:<{w}}" for cell, w in zip(row, wide, strict=True)).rstrip() for row in rows]


def _wrapped(declaration: str) -> list[str]:
    """A declaration in lines of bearable length, broken between parameters."""
    lines = [""]
    for part in declaration.split(", "):
        joined = f"{lines[-1]}, {part}" if lines[-1] else part
        if len(joined) <= 96 or not lines[-1]:
            lines[-1] = joined
        else:
            lines[-1] += ","
            lines.append(f"    {part}")
    return lines

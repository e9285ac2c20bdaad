"""A probe's `aggregate`: what is counted in the kernel, by what, and how often it is told.

In: a Node that the schema finds nothing wrong with, and the probe's `args`.  Out: an `AggregateSpec` and the arguments
that the programs read for it; SP145 to SP150 in the Report.

    aggregate, args = read_aggregate(node, args, None, report)
    aggregate.function, aggregate.value, aggregate.by       # "hist", Word("latency"), (Word("comm"),)

A name means a stack that the probe takes, one of `args` by its field, else a context field, else an argument of the function, or `return` or `latency`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from specc.diagnostics import Report
from specc.schema import schema
from specc.source import Entry, Node
from specc.spec.nouns import AGGREGATES, AggregateSpec, ArgumentSpec, Steps, Word

DEFAULT_KEYS: Final = 10_240
DEFAULT_HISTOGRAMS: Final = 1_024  # each has a counter per bucket
MOST_STEPS: Final = 100
_UNITS: Final = {"ms": 10**6, "s": 10**9, "m": 60 * 10**9}
_LEAST, _MOST = 100 * 10**6, 24 * 3600 * 10**9  # of `every`
_OWN: Final = (
    "probe", "from", "to", "count", "sum", "avg", "min", "max", "buckets", "sum_error", "avg_error", "bucket_from", "bucket_to",
)  # fmt: skip


def read_aggregate(
    node: Node, args: tuple[ArgumentSpec, ...] | None, stack: Word | None, report: Report
) -> tuple[AggregateSpec, tuple[ArgumentSpec, ...]]:
    if isinstance(node.value, str):
        entries: Mapping[str, Entry] = {}
        function, key = "count", node
    else:
        entries = node.value if isinstance(node.value, dict) else {}
        keys = [entries[name].key for name in AGGREGATES if name in entries]
        for extra in keys[1:]:
            report.error(
                "SP145",
                f"`aggregate` has both `{keys[0].value}` and `{extra.value}`",
                extra.where,
                help="make a probe for each, with a `name` of its own",
            )
        key = keys[0]
        function = str(key.value)
    value, steps = None, None
    if function == "lhist":
        inner = _entries(entries["lhist"].value)
        value = _word(inner["value"].value)
        steps = _steps(inner, report)
    elif function == "count":
        if "count" in entries and entries["count"].value.value is False:
            report.error("SP146", "`count` cannot be false: it is what is counted", entries["count"].value.where,
                         help="write `count: true`, or another function")  # fmt: skip
    else:
        value = _word(entries[function].value)
    by = tuple(_word(item) for item in _items(entries.get("by")))
    every = _every(entries["every"].value, report) if "every" in entries else None
    default = DEFAULT_HISTOGRAMS if function in ("hist", "lhist") else DEFAULT_KEYS
    most = _int(entries["keys"].value) if "keys" in entries else default
    for word in by:
        if word.text in _OWN:
            report.error("SP150", f"a key cannot be called `{word.text}`: that is what a record of an aggregate calls "
                         "its own", word.where, help="give it another name with `as` in `args`")  # fmt: skip
    names = (*by, *([value] if value is not None else ()))
    stacks = _stacks(names, stack, report)
    made, contexts = _arguments([w for w in names if w.text not in stacks], args, report)
    return AggregateSpec(function, value, by, contexts, every, most, steps, node.where), made


def _stacks(names: Sequence[Word], stack: Word | None, report: Report) -> tuple[str, ...]:
    """The stacks that the probe takes, each of which must be a key."""
    if stack is None:
        return ()
    taken = ("kernel_stack", "user_stack") if stack.text == "both" else (f"{stack.text}_stack",)
    for name in taken:
        if name not in {w.text for w in names}:
            report.error("SP148", f"`{name}` is no key of `aggregate`, so nothing would tell of it", stack.where,
                         help="name it in `by`, or take another `stack`")  # fmt: skip
    return taken


def _arguments(
    names: Sequence[Word], args: tuple[ArgumentSpec, ...] | None, report: Report
) -> tuple[tuple[ArgumentSpec, ...], tuple[str, ...]]:
    """The arguments that are read for these names, and those names that mean context fields."""
    listed = {a.field: a for a in args or ()}
    wanted = {w.text for w in names}
    for name, argument in listed.items():
        if name not in wanted:
            report.error(
                "SP148",
                f"`{name}` is neither a key nor the value of `aggregate`, so nothing would tell of it",
                argument.option_where.get("as", argument.where),
                help="name it in `by`, or take it out of `args`",
                notes=[f"`aggregate` names: {', '.join(dict.fromkeys(w.text for w in names)) or 'nothing'}"],
            )
    fields = schema().properties["fields"].items
    assert fields is not None
    contexts: dict[str, None] = {}
    made = list(args or ())
    for word in names:
        if word.text in listed:
            continue
        if word.text in fields.enum:
            contexts[word.text] = None
            continue
        argument = ArgumentSpec(word.text, word.where, None, None, False, None, {})
        listed[word.text] = argument
        made.append(argument)
    return tuple(made), tuple(contexts)


def _every(node: Node, report: Report) -> int | None:
    found = re.fullmatch(r"([0-9]+)(ms|s|m)", str(node.value))
    assert found is not None, "the schema's pattern"
    ns = int(found[1]) * _UNITS[found[2]]
    if not _LEAST <= ns <= _MOST:
        report.error("SP147", f"`every` cannot be `{node.value}`", node.where, help="from 100ms to 1440m")
        return None
    return ns


def _steps(entries: Mapping[str, Entry], report: Report) -> Steps:
    low, high, step = (_int(entries[n].value) for n in ("min", "max", "step"))
    where = {n: entries[n].value.where for n in ("min", "max", "step")}
    if low >= high:
        report.error("SP149", f"`max` is {high}, which is not above `min`, {low}", where["max"])
    elif (high - low) % step:
        least = low + (high - low) // step * step
        fits = f"{least} or {least + step}" if least > low else str(least + step)
        report.error(
            "SP149",
            f"from {low} to {high} is no whole number of steps of {step}",
            where["step"],
            help=f"such as `max: {fits}`",
        )
    elif (high - low) // step > MOST_STEPS:
        report.error(
            "SP149",
            f"from {low} to {high} are {(high - low) // step:,} steps of {step}, and {MOST_STEPS} are the most",
            where["step"],
            help="take wider steps, or `hist`, which has buckets for every value",
        )
    return Steps(low, high, step, where["min"])


def _int(node: Node) -> int:
    assert isinstance(node.value, int | float)
    return int(node.value)


def _word(node: Node) -> Word:
    return Word(str(node.value), node.where)


def _items(entry: Entry | None) -> tuple[Node, ...]:
    return entry.value.value if entry is not None and isinstance(entry.value.value, tuple) else ()


def _entries(node: Node) -> Mapping[str, Entry]:
    return node.value if isinstance(node.value, dict) else {}

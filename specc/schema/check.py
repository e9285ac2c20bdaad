"""A document against the schema: findings that have a place, a cause and a hint.

In: a Document and a Rule.  Out: diagnostics SP101-SP119 in a Report, and the nodes that have them.

    bad = check(document, schema(), report)
    print(id(document.root) in bad)

The `jsonschema` library takes ten times longer to import than a spec to check, and says "is not valid under any of
the given schemas"; the tests prove that it accepts exactly the same specs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from specc.diagnostics import Location, Report, did_you_mean
from specc.schema.rules import PLANNED, PLANNED_KINDS, Rule, ecma
from specc.schema.words import TYPE_WORDS, cut, either, inline, pair, show, type_word
from specc.source import Document, Entry, Node, Value, plain

_HINTED: Final = 200  # findings of a document that get a did-you-mean: it costs as much as the rest of the check
_DOTTED: Final = (
    "a name with a dot (`.isra.0`, `.constprop.0`, `.part.0`, `.cold`) is a copy that the compiler made, "
    "and its arguments may be others than the declared ones"
)
_NAME_OF: Final = {"argument": "the name of an argument"}


def check(document: Document, rule: Rule, report: Report, label: str = "the spec") -> set[int]:
    """Report every place where the tree breaks the schema. Returns the ids of the nodes with errors on or inside them.

    `label` is what the whole document is called.
    """
    checker = _Checker(report, document.syntax)
    checker.node(document.root, rule, label)
    return checker.bad


_LANGUAGES: Final = ("`where`", "`prototype`")  # strings that mean something: a number in quotes does not


def _as_string(value: Value, rule: Rule, label: str) -> str:
    """What would be right in the place of a number, a boolean or null where a string belongs."""
    if value is None:
        return "give it a value, or leave it out"
    if label in _LANGUAGES and isinstance(rule.example, str):
        return f"such as `{rule.example}`"
    if rule.pattern_means is not None and rule.pattern is not None and not ecma(rule.pattern).search(show(value)):
        return rule.pattern_means
    return "put it in quotes if it is meant as a string"


class _Checker:
    def __init__(self, report: Report, syntax: str) -> None:
        self.report = report
        self.syntax = syntax
        self.bad: set[int] = set()
        self.hints = 0

    def node(self, node: Node, rule: Rule, label: str) -> bool:
        """True when all of the node is sound."""
        before = len(self.report.diagnostics)
        value = node.value
        if rule.types and not _has_type(value, rule):
            self.wrong_type(node, rule, label)
        elif rule.const is not None or rule.enum:
            self.constant(node, rule, label)
        elif isinstance(value, str):
            self.string(node, value, rule, label)
        elif isinstance(value, tuple):
            self.list(node, value, rule, label)
        elif isinstance(value, dict):
            self.map(node, value, rule, label)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            self.number(node, value, rule, label)
        if len(self.report.diagnostics) == before:
            return True
        self.bad.add(id(node))
        return False

    def wrong_type(self, node: Node, rule: Rule, label: str) -> None:
        value = node.value
        help = None
        if "string" in rule.types and not isinstance(value, tuple | dict):
            help = _as_string(value, rule, label)
            if value is None and node.end_column == node.column and node.end_line == node.line:
                help = "there is no value here"
        elif isinstance(value, str) and rule.types == ("array",) and len(value) < 40:
            help = f"write `[{value}]`"
        elif isinstance(value, str) and "integer" in rule.types and re.fullmatch("-?[0-9]{1,15}", value):
            help = "take the quotes away"
        message = f"{label} must be {either([TYPE_WORDS[t] for t in rule.types])}, not {type_word(value)}"
        self.report.error("SP103", message, node.where, help=help)

    def constant(self, node: Node, rule: Rule, label: str) -> None:
        value = node.value
        if rule.const is not None:
            if isinstance(value, bool) or value != rule.const:
                self.report.error(
                    "SP104", f"{label} must be {rule.const}, not {show(value)}", node.where, help=f"write {rule.const}"
                )
            return
        if isinstance(value, str) and value in rule.enum:
            return
        if isinstance(value, str) and value in PLANNED.get(rule.name, ()):
            self.planned(value, node.where)
            return
        allowed = ", ".join(rule.enum)
        self.report.error(
            "SP104",
            f"{label} cannot be {show(value)}",
            node.where,
            help=self.hint(value, rule.enum) if isinstance(value, str) else None,
            notes=[f"possible: {allowed}", *([rule.why] if rule.why else [])],
        )

    def string(self, node: Node, value: str, rule: Rule, label: str) -> None:
        if len(value) < rule.min_length:
            self.report.error("SP108", f"{label} is empty", node.where)
        elif rule.max_length is not None and len(value) > rule.max_length:
            message = f"{label} has {len(value):,} characters; {rule.max_length:,} are allowed"
            self.report.error("SP108", message, node.where)
        elif rule.pattern is not None and not ecma(rule.pattern).search(value):
            notes = [_DOTTED] if rule.name in ("function", "symbol") and re.search(r"\w\.\w", value) else []
            message = f"{label} cannot be {show(value)}"
            self.report.error("SP106", message, node.where, help=rule.pattern_means, notes=notes)

    def number(self, node: Node, value: int | float, rule: Rule, label: str) -> None:
        low, high = rule.minimum, rule.maximum
        if (low is not None and value < low) or (high is not None and value > high):
            message = f"{label} cannot be {show(value)}"
            self.report.error("SP107", message, node.where, help=f"from {low} to {high}")

    def list(self, node: Node, items: tuple[Node, ...], rule: Rule, label: str) -> None:
        if len(items) < rule.min_items:
            self.report.error("SP108", f"{label} has no items; it needs {rule.min_items}", node.where)
        if rule.max_items is not None and len(items) > rule.max_items:
            self.report.error("SP108", f"{label} has {len(items)} items; {rule.max_items} are allowed", node.where)
        if rule.items is not None:
            for item in items:
                self.node(item, rule.items, "the probe" if rule.items.name == "probe" else f"an item of {label}")
        if rule.unique_items:
            first: dict[object, Node] = {}
            for item in items:
                same = _identity(item)
                if same in first:
                    message = f"{show(item.value)} is twice in {label}"
                    self.report.error("SP111", message, item.where, notes=[f"first at {first[same].where}"])
                else:
                    first[same] = item

    def map(self, node: Node, entries: Mapping[str, Entry], rule: Rule, label: str) -> None:
        if rule.max_properties == 1 and len(entries) != 1:
            self.one_key(node, entries, label)
            return  # the values are most likely not what they would be in maps of their own
        guessed = self.keys(entries, rule, label)
        for name in rule.required:
            if name not in entries and name not in guessed:
                inner = rule.properties.get(name)
                example = inner.example if inner is not None else None
                help = None
                if isinstance(example, str | int):
                    help = f"such as `{pair(name, example, self.syntax)}`"
                self.report.error("SP102", f"{label} has no `{name}`", _begin(node), help=help)
        if rule.one_of:
            self.choice(node, entries, rule.one_of, guessed, label)
        if rule.any_of and not any(name in entries or name in guessed for name in rule.any_of):
            names = either([f"`{name}`" for name in rule.any_of])
            self.report.error("SP102", f"{label} has neither {names}".replace(" or ", " nor "), _begin(node))

    def keys(self, entries: Mapping[str, Entry], rule: Rule, label: str) -> set[str]:
        """Check every key and its value. Returns the known keys that unknown ones seem to mean, and planned ones."""
        guessed: set[str] = set()
        for name, entry in entries.items():
            if rule.property_names is not None:
                self.node(entry.key, rule.property_names, _NAME_OF.get(rule.name, f"a name in {label}"))
            inner = rule.properties.get(name)
            if inner is not None:
                self.node(entry.value, inner, f"`{name}`")
                continue
            matching = [r for pattern, r in rule.pattern_properties if ecma(pattern).search(name)]
            if matching:
                for one in matching:
                    self.node(entry.value, one, f"`{name}`")
            elif isinstance(rule.additional, Rule):
                self.node(entry.value, rule.additional, f"`{cut(name)}`")
            elif not rule.additional:
                if name in PLANNED.get(rule.name, ()):
                    self.planned(name, entry.key.where)
                    if name in PLANNED_KINDS:
                        guessed.update(rule.one_of)
                    continue
                hint = self.hint(name, [p for p in rule.properties if p not in entries])
                if hint is not None:
                    guessed.add(hint.split("`")[1])
                self.report.error(
                    "SP101",
                    f"{label} has no key {show(name)}",
                    entry.key.where,
                    help=hint,
                    notes=[f"keys: {', '.join(rule.properties)}"],
                )
        return guessed

    def choice(
        self, node: Node, entries: Mapping[str, Entry], names: Iterable[str], guessed: set[str], label: str
    ) -> None:
        present = [entries[name].key for name in names if name in entries]
        words = ", ".join(f"`{name}`" for name in names)
        if not present and guessed.isdisjoint(names):
            self.report.error("SP109", f"{label} needs one of the keys {words}", _begin(node))
        for extra in present[1:]:
            self.report.error(
                "SP109",
                f"{label} has both `{present[0].value}` and `{extra.value}`",
                extra.where,
                help="make two probes of it" if label == "the probe" else "choose one",
                notes=[f"the first is at {present[0].where}", f"exactly one of {words}"],
            )

    def one_key(self, node: Node, entries: Mapping[str, Entry], label: str) -> None:
        if not entries:
            example = inline({"flags": {"format": "hex"}}, self.syntax)
            help = f"a name, or a name with options, such as `{example}`"
            self.report.error("SP110", f"{label} is an empty map", _begin(node), help=help)
            return
        first, second = list(entries.values())[:2]
        help = "make an item of each"
        if first.value.value is None:  # `- flags:` and, as far to the right, `format: hex`
            nested = inline({first.key.value: {second.key.value: plain(second.value)}}, self.syntax)
            help = f"the options stand inside of the name: `{cut(nested)}`"
        message = f"{label} is a map of {len(entries)} names; it holds one name and its options"
        self.report.error("SP110", message, second.key.where, help=help)

    def hint(self, word: str, candidates: Iterable[str]) -> str | None:
        self.hints += 1
        return did_you_mean(word, candidates) if self.hints <= _HINTED and len(word) < 100 else None

    def planned(self, word: str, where: Location) -> None:
        self.report.error("SP105", f"`{word}` is not supported by this version of specc yet", where)


def _has_type(value: object, rule: Rule) -> bool:
    if type(value) in rule.accepts:
        return True
    # 1.0 is an integer in JSON Schema
    return isinstance(value, float) and int in rule.accepts and value.is_integer()


def _identity(node: Node) -> object:
    """Equal for values that JSON Schema calls equal: 1 and 1.0 are, 1 and true are not."""
    match node.value:
        case tuple() as items:
            return ("list", tuple(map(_identity, items)))
        case dict() as entries:
            return ("map", frozenset((name, _identity(entry.value)) for name, entry in entries.items()))
        case bool() as value:
            return ("bool", value)
        case value:
            return value


def _begin(node: Node) -> Location:
    """Where something is missing from a map: its first line."""
    if node.line == node.end_line:
        return node.where
    entries = node.value
    first = next(iter(entries.values())).key if isinstance(entries, dict) and entries else node
    if (first.line, first.column) == (node.line, node.column):
        return first.where
    return Location(node.file, node.line, node.column, node.line, node.column + 1)

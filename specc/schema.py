"""The JSON Schema of specs, and a small validator of it whose findings have a place, a cause and a hint.

In: a `Document`'s nodes.  Out: diagnostics SP101-SP119 in a Report, and the nodes that have them.

    report = Report()
    bad = check(document.root, schema(), report)
    print(id(document.root) in bad)

`spec.schema.json` is the one description of the language: editors load it, this module interprets it. It knows the
keywords that the schema uses, and refuses others when the schema is loaded. (The `jsonschema` library takes ten
times longer to import than a spec to compile, and says "is not valid under any of the given schemas"; the tests
prove that it accepts exactly the same specs.)
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from specc.diagnostics import Location, Report, did_you_mean
from specc.source import Entry, Node

SCHEMA_FILE: Final = Path(__file__).with_name("spec.schema.json")

# What the language will have and this version does not: by the schema's definition in which the word would stand.
# The schema lists only what works, so that an editor offers nothing else.
PLANNED_KINDS: Final = frozenset(("ksyscall", "kretsyscall", "tracepoint", "raw_tracepoint", "function", "usdt"))
PLANNED: Final[Mapping[str, frozenset[str]]] = {
    "probe": PLANNED_KINDS | {"where", "aggregate", "stack", "sample", "limit", "at"},
    "options": frozenset(("deref", "field", "string", "bytes", "memory", "enum", "flags")),
    "format": frozenset(("symbol", "errno", "ipv4", "ipv6", "mac")),
}

_ANNOTATIONS: Final = {"$schema", "title", "description", "default", "examples", "$defs"}
_COPIED: Final = {  # keywords whose value is used as it is, and the Rule's field that holds it
    "const": "const",
    "enum": "enum",
    "errorMessage": "why",
    "patternErrorMessage": "pattern_means",
    "minLength": "min_length",
    "maxLength": "max_length",
    "minimum": "minimum",
    "maximum": "maximum",
    "minItems": "min_items",
    "uniqueItems": "unique_items",
    "required": "required",
    "minProperties": "min_properties",
    "maxProperties": "max_properties",
}
_HINTED: Final = 20  # unknown keys of one map that get a did-you-mean: it costs as much as the rest of the check


@dataclass(frozen=True, slots=True)
class Rule:
    """One schema object, ready to check nodes against. `name` is that of its definition."""

    name: str = ""
    types: tuple[str, ...] = ()
    accepts: frozenset[type] = frozenset()  # the Python types of values that have one of `types`
    const: int | None = None
    enum: tuple[str, ...] = ()
    why: str | None = None
    pattern: re.Pattern[str] | None = None
    pattern_means: str | None = None
    min_length: int = 0
    max_length: int | None = None
    minimum: int | None = None
    maximum: int | None = None
    min_items: int = 0
    unique_items: bool = False
    items: Rule | None = None
    properties: Mapping[str, Rule] = field(default_factory=dict)
    pattern_properties: tuple[tuple[re.Pattern[str], Rule], ...] = ()
    additional: Rule | bool = True
    property_names: Rule | None = None
    required: tuple[str, ...] = ()
    min_properties: int = 0
    max_properties: int | None = None
    one_of: tuple[str, ...] = ()
    any_of: tuple[str, ...] = ()
    example: Any = None


@cache
def schema() -> Rule:
    """The language's schema."""
    text: dict[str, Any] = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    return compile_schema(text)


def compile_schema(text: Mapping[str, Any]) -> Rule:
    """A schema ready for use; AssertionError for a keyword or a form of one that `check` does not know."""
    definitions: Mapping[str, Mapping[str, Any]] = text.get("$defs", {})
    done: dict[str, Rule] = {}

    def build(node: Mapping[str, Any], name: str = "") -> Rule:
        if "$ref" in node:
            target = node["$ref"].removeprefix("#/$defs/")
            assert not set(node) - _ANNOTATIONS - {"$ref"}, f"keywords beside $ref: {sorted(node)}"
            if target not in done:
                done[target] = build(definitions[target], target)
            return done[target]
        found: dict[str, Any] = {"name": name}
        for keyword, value in node.items():
            if keyword in _ANNOTATIONS:
                if keyword == "examples":
                    found["example"] = value[0]
                continue
            if keyword in _COPIED:
                found[_COPIED[keyword]] = tuple(value) if isinstance(value, list) else value
                continue
            match keyword:
                case "type":
                    names = (value,) if isinstance(value, str) else tuple(value)
                    found["types"] = names
                    found["accepts"] = frozenset(t for name in names for t in _PYTHON_TYPES[name])
                case "pattern":
                    found["pattern"] = ecma(value)
                case "items":
                    found["items"] = build(value)
                case "properties":
                    found["properties"] = {key: build(inner) for key, inner in value.items()}
                case "patternProperties":
                    found["pattern_properties"] = tuple((ecma(key), build(inner)) for key, inner in value.items())
                case "additionalProperties":
                    found["additional"] = value if isinstance(value, bool) else build(value)
                case "propertyNames":
                    found["property_names"] = build(value)
                case "oneOf" | "anyOf":
                    # only "exactly one / at least one of these keys": each branch requires one key and no more
                    assert all(set(branch) == {"required"} and len(branch["required"]) == 1 for branch in value)
                    found["one_of" if keyword == "oneOf" else "any_of"] = tuple(b["required"][0] for b in value)
                case _:
                    raise AssertionError(f"the validator does not know the keyword `{keyword}`")
        return Rule(**found)

    return build(text)


def ecma(pattern: str) -> re.Pattern[str]:
    """JSON Schema's patterns are ECMA-262's, where `$` is the end; in Python it is before a last newline too."""
    assert not re.search(r"(?<!\\)\\[dDwWsSbBAZz]", pattern), "means another thing in another dialect"
    return re.compile(re.sub(r"(?<!\\)\$", r"\\Z", pattern))


def check(root: Node, rule: Rule, report: Report) -> set[int]:
    """Report every place where the tree breaks the schema. Returns the ids of nodes that are not sound, inside or out."""
    checker = _Checker(report)
    checker.node(root, rule, "the spec")
    return checker.bad


class _Checker:
    def __init__(self, report: Report) -> None:
        self.report = report
        self.bad: set[int] = set()

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
            help = "put it in quotes if it is meant as a string"
            if value is None and node.end_column == node.column and node.end_line == node.line:
                help = "there is no value here"
        elif isinstance(value, str) and rule.types == ("array",) and len(value) < 40:
            help = f"write `[{value}]`"
        elif isinstance(value, str) and "integer" in rule.types and re.fullmatch("-?[0-9]{1,15}", value):
            help = "take the quotes away"
        message = f"{label} must be {_or([_TYPE_WORDS[t] for t in rule.types])}, not {_type_word(value)}"
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
            f"{label} can not be {show(value)}",
            node.where,
            help=did_you_mean(value, rule.enum) if isinstance(value, str) and len(value) < 100 else None,
            notes=[f"possible: {allowed}", *([rule.why] if rule.why else [])],
        )

    def string(self, node: Node, value: str, rule: Rule, label: str) -> None:
        if len(value) < rule.min_length:
            self.report.error("SP108", f"{label} is empty", node.where)
        elif rule.max_length is not None and len(value) > rule.max_length:
            message = f"{label} has {len(value):,} characters; {rule.max_length:,} are allowed"
            self.report.error("SP108", message, node.where)
        elif rule.pattern is not None and not rule.pattern.search(value):
            self.report.error("SP106", f"{label} can not be {show(value)}", node.where, help=rule.pattern_means)

    def number(self, node: Node, value: int | float, rule: Rule, label: str) -> None:
        low, high = rule.minimum, rule.maximum
        if (low is not None and value < low) or (high is not None and value > high):
            message = f"{label} can not be {show(value)}"
            self.report.error("SP107", message, node.where, help=f"from {low} to {high}")

    def list(self, node: Node, items: tuple[Node, ...], rule: Rule, label: str) -> None:
        if len(items) < rule.min_items:
            self.report.error("SP108", f"{label} has no items; it needs {rule.min_items}", node.where)
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
        guessed = self.keys(entries, rule, label)
        for name in rule.required:
            if name not in entries and name not in guessed:
                inner = rule.properties.get(name)
                example = inner.example if inner is not None else None
                help = None
                if isinstance(example, str | int):
                    help = f"add `{name}: {example}`, say"
                self.report.error("SP102", f"{label} has no `{name}`", _begin(node), help=help)
        if rule.one_of:
            self.choice(node, entries, rule.one_of, guessed, label)
        if rule.any_of and not any(name in entries or name in guessed for name in rule.any_of):
            names = _or([f"`{name}`" for name in rule.any_of])
            self.report.error("SP102", f"{label} has neither {names}".replace(" or ", " nor "), _begin(node))
        if rule.max_properties == 1 and len(entries) != 1:
            self.one_key(node, entries, label)

    def keys(self, entries: Mapping[str, Entry], rule: Rule, label: str) -> set[str]:
        """Check every key and its value. Returns the known keys that unknown ones seem to mean, and planned ones."""
        guessed: set[str] = set()
        hints = 0
        for name, entry in entries.items():
            if rule.property_names is not None:
                self.node(entry.key, rule.property_names, "a name" if rule.name else f"a name in {label}")
            inner = rule.properties.get(name)
            if inner is not None:
                self.node(entry.value, inner, f"`{name}`")
                continue
            matching = [r for pattern, r in rule.pattern_properties if pattern.search(name)]
            if matching:
                for one in matching:
                    self.node(entry.value, one, f"`{name}`")
            elif isinstance(rule.additional, Rule):
                self.node(entry.value, rule.additional, f"`{_cut(name)}`")
            elif not rule.additional:
                if name in PLANNED.get(rule.name, ()):
                    self.planned(name, entry.key.where)
                    if name in PLANNED_KINDS:
                        guessed.update(rule.one_of)
                    continue
                hint = None
                if hints < _HINTED and len(name) < 100:
                    hints += 1
                    hint = did_you_mean(name, [p for p in rule.properties if p not in entries])
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
            self.report.error("SP110", f"{label} is an empty map", _begin(node), help="a name, or `{name: {options}}`")
            return
        first, second = list(entries.values())[:2]
        help = "an item each, as in `[start, {flags: {format: hex}}]`"
        if first.value.value is None:
            help = f"the options stand inside of the name: `{{{first.key.value}: {{{second.key.value}: ...}}}}`"
        message = f"{label} is a map of {len(entries)} names; it holds one name and its options"
        self.report.error("SP110", message, second.key.where, help=help)

    def planned(self, word: str, where: Location) -> None:
        self.report.error("SP105", f"`{word}` is not supported by this version of specc yet", where)


_TYPE_WORDS: Final = {
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a map",
    "null": "null",
}


_PYTHON_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (tuple,),
    "object": (dict,),
    "null": (type(None),),
}


def _has_type(value: object, rule: Rule) -> bool:
    if type(value) in rule.accepts:
        return True
    # 1.0 is an integer in JSON Schema
    return isinstance(value, float) and int in rule.accepts and value.is_integer()


def _type_word(value: object) -> str:
    match value:
        case str():
            return "a string"
        case tuple():
            return "a list"
        case dict():
            return "a map"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case _:
            return "null"


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


def _or(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _cut(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def show(value: object) -> str:
    """A value as a message quotes it."""
    match value:
        case str():
            return f"`{_cut(value)}`" if value else "an empty string"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case _:
            return _type_word(value)

"""The JSON Schema of specs as rules that are quick to check against.

In: `spec.schema.json`.  Out: a Rule for the whole spec, which holds those of its parts.

    schema().properties["probes"].items.one_of      # ("kprobe", "kretprobe", ...)

The file is the one description of the language: editors load it, `check` interprets it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from specc.noun import dataclass, field

SCHEMA_FILE: Final = Path(__file__).parent.parent / "spec.schema.json"

# What the language will have and this version does not: by the schema's definition in which the word would stand.
# The schema lists only what works, so that an editor offers nothing else.
PLANNED_KINDS: Final = frozenset(("tracepoint", "usdt"))
PLANNED: Final[Mapping[str, frozenset[str]]] = {
    "probe": PLANNED_KINDS,
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
    "maxItems": "max_items",
    "uniqueItems": "unique_items",
    "required": "required",
    "minProperties": "min_properties",
    "maxProperties": "max_properties",
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


@dataclass(frozen=True, slots=True)
class Rule:
    """One schema object, ready to check nodes against. `name` is that of its definition."""

    name: str = ""
    types: tuple[str, ...] = ()
    accepts: frozenset[type] = frozenset()  # the Python types of values that have one of `types`
    const: int | None = None
    enum: tuple[str, ...] = ()
    why: str | None = None
    pattern: str | None = None
    pattern_means: str | None = None
    min_length: int = 0
    max_length: int | None = None
    minimum: int | None = None
    maximum: int | None = None
    min_items: int = 0
    max_items: int | None = None
    unique_items: bool = False
    items: Rule | None = None
    properties: Mapping[str, Rule] = field(default_factory=dict)
    pattern_properties: tuple[tuple[str, Rule], ...] = ()
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
                    found["pattern"] = _known(value)
                case "items":
                    found["items"] = build(value)
                case "properties":
                    found["properties"] = {key: build(inner) for key, inner in value.items()}
                case "patternProperties":
                    found["pattern_properties"] = tuple((_known(key), build(inner)) for key, inner in value.items())
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


def _known(pattern: str) -> str:
    assert not re.search(r"(?<!\\)\\[dDwWsSbBAZz]", pattern), "means another thing in another dialect"
    return pattern


@cache
def ecma(pattern: str) -> re.Pattern[str]:
    """JSON Schema's patterns are ECMA-262's, where `$` is the end; in Python it is before a last newline too.

    Compiled when first needed: all of them together take as long as reading twenty specs.
    """
    return re.compile(re.sub(r"(?<!\\)\$", r"\\Z", pattern))

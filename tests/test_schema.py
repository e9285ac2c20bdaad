"""The schema is complete, and our validator accepts exactly what the jsonschema library accepts."""

from __future__ import annotations

import copy
import json
import os
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specc.diagnostics import Report, Stop
from specc.schema import PLANNED, SCHEMA_FILE, check, compile_schema, ecma, inline, pair, schema
from specc.schema.rules import Rule
from specc.source import Document, Entry, Node, Value, load, parse, plain

SEED = int(os.environ["SPECC_SEED"])
SCHEMA: dict[str, Any] = json.loads(SCHEMA_FILE.read_text())
GOLDEN = Path(__file__).parent / "golden" / "spec_errors"
SPECS = Path(__file__).parent.parent / "specs"


def _ecma_pattern(_: object, pattern: str, instance: object, __: object) -> Iterator[jsonschema.ValidationError]:
    # JSON Schema's patterns are ECMA-262's, in which `$` is the end; the library hands them to Python's `re`.
    if isinstance(instance, str) and not re.search(pattern.replace("$", r"\Z"), instance):
        yield jsonschema.ValidationError("does not match")


LIBRARY = jsonschema.validators.extend(jsonschema.Draft202012Validator, {"pattern": _ecma_pattern})(SCHEMA)


def node(value: Any) -> Node:
    """Plain data as a node, as if it had been read from somewhere."""
    inner: Value
    if isinstance(value, list):
        inner = tuple(map(node, value))
    elif isinstance(value, dict):
        inner = {name: Entry(node(name), node(item)) for name, item in value.items()}
    else:
        inner = value
    return Node(inner, "f", 1, 1, 1, 2)


def accepts(value: Any) -> bool:
    report = Report()
    bad = check(Document(node(value), "f", "yaml"), schema(), report)
    assert bool(bad) == report.failed
    return not report.failed


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def properties(rule: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any], bool]]:
    """Every key that the schema describes: its path, its schema, and whether it is required."""
    if isinstance(rule, list):
        for inner in rule:
            yield from properties(inner, path)
    elif isinstance(rule, dict):
        for keyword in ("properties", "patternProperties"):
            for name, inner in rule.get(keyword, {}).items():
                choices = [*rule.get("oneOf", ()), *(rule.get("anyOf", ()) if path.endswith("/aggregate") else ())]
                required = name in rule.get("required", ()) or {"required": [name]} in choices
                yield f"{path}/{name}", inner, required
        for keyword, inner in rule.items():
            if keyword not in ("examples", "default", "enum"):
                yield from properties(inner, f"{path}/{keyword}")


PROPERTIES = list(properties(SCHEMA))


@pytest.mark.parametrize(("path", "rule", "required"), PROPERTIES, ids=[path for path, _, _ in PROPERTIES])
def test_every_key_is_described(path: str, rule: dict[str, Any], required: bool) -> None:
    assert re.fullmatch(r"[A-Z`].*[.]", rule["description"]), "a description is whole sentences"
    assert rule["examples"], "an editor shows examples"
    says_what_its_lack_means = re.search(r"\bWithout\b|\ballowed and ignored\b", rule["description"])
    assert required or "default" in rule or says_what_its_lack_means
    described = {**SCHEMA, "$ref": "#/$defs/x", "$defs": {**SCHEMA["$defs"], "x": rule}}
    for value in [*rule["examples"], *([rule["default"]] if "default" in rule else [])]:
        jsonschema.validate(value, described, jsonschema.Draft202012Validator)


def test_the_schema_lists_only_what_works() -> None:
    for name, words in PLANNED.items():
        definition = SCHEMA["$defs"][name]
        assert words.isdisjoint(definition.get("properties", {})) and words.isdisjoint(definition.get("enum", ()))


@pytest.mark.parametrize(
    "wrong",
    [
        {"typ": "string"},
        {"properties": {"a": {"items": {"multipleOf": 2}}}},
        {"oneOf": [{"required": ["a", "b"]}]},
        {"anyOf": [{"type": "string"}]},
        {"$ref": "#/$defs/a", "type": "string", "$defs": {"a": {}}},
        {"pattern": r"^\d$"},
    ],
)
def test_a_keyword_that_the_validator_does_not_know_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        compile_schema(wrong)


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [("^a$", "a", True), ("^a$", "a\n", False), (r"^\$$", "$", True), ("a", "bab", True)],
)
def test_patterns_are_those_of_ecma(pattern: str, text: str, matches: bool) -> None:
    assert bool(ecma(pattern).search(text)) == matches


# Agreement with the library

SOUND: list[dict[str, Any]] = [
    {
        "specc": 1,
        "name": "gup",
        "description": "Who pins\n\tpages.",
        "license": "GPL",
        "headers": ["include/mm.h", "<openssl/ssl.h>", "../a b.h"],
        "include_dirs": ["include", "/usr/include"],
        "defines": {"A": 1, "B": True, "C": "(x)", "D": -3, "E": ""},
        "fields": ["timestamp", "pid"],
        "buffer": {"ring": "1MiB"},
        "x-note": {"any": ["thing", None, 1.5]},
        "probes": [
            {"name": "g", "kprobe": "__get_user_pages", "args": ["start", {"f": {"format": "hex", "x-a": 1}}]},
            {"kretprobe": "f", "args": ["return", {"a": {"as": "b", "optional": True, "type": "unsigned long"}}]},
            {"fentry": "f", "prototype": "int f(int a)"},
            {"fexit": "f", "args": [], "x-why": "because"},
            {"uprobe": {"path": "libssl.so.3", "symbol": "SSL_write", "pid": 7}},
            {"uretprobe": {"path": "a", "offset": 16, "x-y": 1}},
            {"uprobe": "libc.so.6:memcpy@@GLIBC_2.14"},
        ],
    },
    {"specc": 1, "name": "t", "buffer": {"perf": 64}, "probes": [{"kprobe": "f"}]},
    {"specc": 1, "name": "t", "buffer": {"ring": 4096}, "probes": [{"kprobe": "f"}]},
]

VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 1.0, 1.5, 64.0, 4096, 4095, 2**31, 2**31 + 1, 65536, 65537, 2**63, float("inf")),
    *("", "a", "A_1", "1a", "a\n", "a b", "é", "x" * 48, "x" * 49, "x" * 64, "x" * 65, "x" * 127, "x" * 128, "x" * 512),
    *(
        "1MiB",
        "0KiB",
        "12345678901KiB",
        "1MB",
        "hex",
        "Hex",
        "GPL",
        "MIT",
        "pid",
        "comm",
        "a:b",
        "a:b@c",
        "a:b@@c",
        ":b",
    ),
    *("-I", "<a.h>", "<a b.h>", 'a"', "a\\b", "a\tb", "a\x00b", "a\x7fb", "\u202e", "return", "a.isra.0", "f@@V_1.2"),
    *([], {}, ["a"], ["a", "a"], ["pid", "pid"], [1, 1.0], [1, True], [{"a": {}}, {"a": {}}], {"a": {}}),
    *({"a": {}, "b": {}}, {"a": None}, {"path": "a"}, {"symbol": "a"}, {"path": "a", "symbol": "b"}, {"ring": 4096}),
    *({"perf": 1}, {"ring": 4096, "perf": 1}, {"x-": 1}, {"kprobe": "f"}, {"kprobe": "f", "fexit": "f"}, {"1": 1}),
]
KEYS = [
    *SOUND[0],
    "perf",
    "ring",
    "kprobe",
    "fexit",
    "uprobe",
    "args",
    "as",
    "format",
    "type",
    "where",
    "x-",
    "xx",
    "é",
]
KEYS += ["path", "symbol", "offset", "pid", "prototype", "optional", "a\n", "", "tracepoint", "Kprobe"]


def spots(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place in the tree that can be replaced, as a container and a key."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from spots(value[key])


def mutate(rnd: random.Random, value: Any) -> None:
    places = [*spots(value)]
    holder, key = rnd.choice(places)
    match rnd.randrange(6):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[rnd.choice(KEYS)] = copy.deepcopy(rnd.choice(VALUES))
        case 2 if isinstance(holder, list):
            holder.insert(key, copy.deepcopy(rnd.choice([*VALUES, *holder])))
        case 3 if isinstance(holder, dict):
            holder[rnd.choice(KEYS)] = holder.pop(key)
        case 4:
            other, where = rnd.choice(places)
            holder[key] = copy.deepcopy(other[where]) if _holds(other, where) else 0
        case _:
            holder[key] = copy.deepcopy(rnd.choice(VALUES))


def _holds(holder: Any, key: Any) -> bool:
    return key in holder if isinstance(holder, dict) else key < len(holder)


def test_it_accepts_what_the_library_accepts() -> None:
    rnd = random.Random(SEED)
    sound = 0
    for _ in range(6_000):
        value = copy.deepcopy(rnd.choice(SOUND))
        for _ in range(rnd.choice([0, 1, 1, 1, 2, 3])):
            if value:
                mutate(rnd, value)
        expected = LIBRARY.is_valid(value)
        assert accepts(value) == expected, value
        sound += expected
    assert 500 < sound < 5_500, "both answers are tried"


@settings(max_examples=300, deadline=None)
@given(
    st.recursive(
        st.sampled_from(VALUES[:80]) | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
        max_leaves=20,
    )
)
def test_random_trees_as_the_library(value: Any) -> None:
    assert accepts(value) == LIBRARY.is_valid(value)


@pytest.mark.parametrize("definition", sorted(SCHEMA["$defs"]))
@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_each_definition_as_the_library(definition: str, value: Any) -> None:
    """Each part of the schema alone, against every value: a probe that is a number, a name that is a list, ..."""
    text = {"$ref": f"#/$defs/{definition}", "$defs": SCHEMA["$defs"]}
    report = Report()
    check(Document(node(value), "f", "yaml"), compile_schema(text), report)
    assert report.failed != LIBRARY.evolve(schema=text).is_valid(value)


# Cases of golden/spec_errors that only spec.py refuses: a schema cannot say these.
BEYOND_A_SCHEMA = {
    *("two_probes_one_name", "field_names", "field_names_default", "return_at_entry", "offset_with_args", "no_symbol"),
    *(
        "offset_of_return_probe",
        "long_function",
        "c_words",
        "buffer_sizes",
        "buffer_pages",
        "buffer_huge",
        "escape",
        "field",
        "where",
    ),
    *("missing_headers", "targets_paths"),
    *("aggregate", "aggregate_steps"),
}


def test_golden_cases_as_the_library() -> None:
    accepted = set()
    for path in sorted(GOLDEN.glob("*/spec.*")):
        try:
            document = load(path)
        except Stop:
            continue
        value = plain(document.root)
        assert accepts(value) == LIBRARY.is_valid(value), path
        if accepts(value):
            accepted.add(path.parent.name.removesuffix("_toml"))
    assert accepted == BEYOND_A_SCHEMA


def test_examples_as_the_library() -> None:
    for path in [*SPECS.glob("*.yaml"), *SPECS.glob("*.toml")]:
        value = plain(load(path).root)
        assert LIBRARY.is_valid(value) and accepts(value), path


def test_soundness_is_told_for_every_node() -> None:
    text = b"specc: 1\nname: t\nheaders: [a.h, 7]\nprobes:\n- {kprobe: f}\n- {kprobe: g, args: [a, 1]}\n"
    document = parse(text, "f", "yaml")
    report = Report()
    bad = check(document, schema(), report)
    root = document.root.value
    assert isinstance(root, dict)
    headers, probes = root["headers"].value, root["probes"].value
    assert isinstance(headers.value, tuple) and isinstance(probes.value, tuple)
    expected = [document.root, headers, headers.value[1], probes, probes.value[1]]
    assert all(id(n) in bad for n in expected)
    assert not any(id(n) in bad for n in (root["name"].value, headers.value[0], probes.value[0]))


@pytest.mark.parametrize(
    ("value", "as_yaml", "as_toml"),
    [
        ({"ring": "1MiB"}, '{ring: "1MiB"}', '{ring = "1MiB"}'),
        ({"as": "a_2"}, "{as: a_2}", '{as = "a_2"}'),
        ({"b c": [1, True]}, '{"b c": [1, true]}', '{"b c" = [1, true]}'),
        ({"k": "null"}, '{k: "null"}', '{k = "null"}'),
        ({"k": "a: b"}, '{k: "a: b"}', '{k = "a: b"}'),
    ],
)
def test_examples_are_in_the_users_language(value: dict[str, Any], as_yaml: str, as_toml: str) -> None:
    assert (inline(value, "yaml"), inline(value, "toml")) == (as_yaml, as_toml)
    assert plain(parse(pair("x", value, "yaml").encode(), "f", "yaml").root) == {"x": value}
    assert plain(parse(pair("x", value, "toml").encode(), "f", "toml").root) == {"x": value}


def test_rules_are_shared_and_frozen() -> None:
    assert schema() is schema()
    with pytest.raises(AttributeError):
        Rule().name = "x"  # type: ignore[misc]

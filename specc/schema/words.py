"""How the findings of the schema spell values, types and examples.

In: plain values.  Out: text for a message, in the language of the user's file where it is an example.

    pair("ring", "1MiB", "toml")      # ring = "1MiB"
    show("x" * 100)                   # `xxx...`, cut
"""

from __future__ import annotations

import json
import re
from typing import Final

_PLAIN: Final = re.compile(r"(?!(?:null|true|false)\Z)[A-Za-z_][A-Za-z0-9_./-]*", re.IGNORECASE)
TYPE_WORDS: Final = {
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a map",
    "null": "null",
}


def type_word(value: object) -> str:
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


def either(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def cut(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def pair(name: str, value: object, syntax: str) -> str:
    """A key and its value as the user's file would have it."""
    key = name if re.fullmatch("[A-Za-z0-9_-]+", name) else json.dumps(name, ensure_ascii=False)
    return f"{key}{': ' if syntax == 'yaml' else ' = '}{inline(value, syntax)}"


def inline(value: object, syntax: str) -> str:
    """A value on one line, in the language of the user's file."""
    match value:
        case dict():
            return "{" + ", ".join(pair(str(k), v, syntax) for k, v in value.items()) + "}"
        case list():
            return "[" + ", ".join(inline(v, syntax) for v in value) + "]"
        case bool() | None:
            return json.dumps(value)
        case str() if syntax != "yaml" or not _PLAIN.fullmatch(value):
            return json.dumps(value, ensure_ascii=False)
        case _:
            return str(value)


def show(value: object) -> str:
    """A value as a message quotes it."""
    match value:
        case str():
            return f"`{cut(value)}`" if value else "an empty string"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case _:
            return type_word(value)

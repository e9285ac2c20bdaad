"""A row of a description: the value of a key, when it is one that could stand there.

In: JSON's data from an object of unknown origin.  Out: plain values; `Damage` says what is wrong with the text.

    take({"name": "gup"}, "name", str)          # "gup"
    size_in({"at": -1}, "at")                   # Damage: `at` is out of range
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, TypeVar

# A bound for texts of unknown origin: beyond it is no event that specc makes.
MOST_BYTES: Final = 1 << 20

Json = Any
T = TypeVar("T")


class Damage(ValueError):
    """The text is not what `describe` writes; says where."""


def unless(condition: bool, reason: str) -> None:
    if not condition:
        raise Damage(reason)


def mapping(value: Json) -> dict[str, Json]:
    unless(isinstance(value, dict), "an object is missing")
    return value  # type: ignore[no-any-return]


def take(row: dict[str, Json], key: str, kind: type[T]) -> T:
    value = row.get(key)
    # bool is an int to isinstance, and never meant where a number is.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise Damage(f"`{key}` is missing or is no {kind.__name__}")
    return value


def maybe(row: dict[str, Json], key: str, kind: type[T]) -> T | None:
    return None if row.get(key) is None else take(row, key, kind)


def size_in(row: dict[str, Json], key: str) -> int:
    value = take(row, key, int)
    unless(0 <= value <= MOST_BYTES, f"`{key}` is out of range")
    return value


def named_values(pairs: list[Json]) -> Iterator[tuple[str, int]]:
    """Names with their numbers, such as enumerators."""
    for pair in pairs:
        unless(isinstance(pair, list) and len(pair) == 2, "an enumerator is not a name and a value")
        yield take({"name": pair[0]}, "name", str), take({"value": pair[1]}, "value", int)

"""The nouns of a read spec: plain data in which every key and value knows its place.

In: nothing, `yaml_reader` and `toml_reader` make them.  Out: a tree of `Node`s.

    node.value["probes"].value.value[0]     # an Entry's value is a Node; a Node's value is a scalar, tuple or dict
    node.value["probes"].key.where          # Location of the word `probes`
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeAlias

from specc.diagnostics import Location

# Bounds of a readable spec. The largest real one we know has some hundred values and is 5 deep; the bounds keep
# the time and memory for hostile input small, and each has a diagnostic that names it.
MAX_BYTES: Final = 4 * 1024 * 1024
MAX_VALUES: Final = 100_000
MAX_DEPTH: Final = 64
MIN_INTEGER: Final = -(2**63)
MAX_INTEGER: Final = 2**64 - 1


class Node(NamedTuple):
    """One value and the text it was written as: from line:column up to, and without, end_line:end_column.

    A list is a tuple of Nodes, a map is a dict of Entries in the order of the file; treat the dict as read-only.
    (A NamedTuple and not a frozen dataclass: a spec has a hundred of them, and they are made three times faster.)
    """

    value: Value
    file: str
    line: int
    column: int
    end_line: int
    end_column: int

    @property
    def where(self) -> Location:
        return Location(self.file, self.line, self.column, self.end_line, self.end_column)

    def part(self, start: int, stop: int) -> Location:
        """The place of `value[start:stop]` of a string; of the whole string where escapes or line breaks blur it."""
        if self.line == self.end_line and isinstance(self.value, str):
            around = self.end_column - self.column - len(self.value)
            if around in (0, 2):  # plain or in quotes, and no escapes
                first = self.column + around // 2
                return Location(self.file, self.line, first + start, self.line, first + stop)
        return self.where


class Entry(NamedTuple):
    """A key of a map (a Node whose value is a str) and its value."""

    key: Node
    value: Node


Value: TypeAlias = "bool | int | float | str | tuple[Node, ...] | dict[str, Entry] | None"


class Document(NamedTuple):
    root: Node
    file: str  # as diagnostics show it
    syntax: str  # "yaml" or "toml"


def plain(node: Node) -> Any:
    """The value without its places, as a JSON library would hold it."""
    match node.value:
        case tuple() as items:
            return [plain(item) for item in items]
        case dict() as entries:
            return {name: plain(entry.value) for name, entry in entries.items()}
        case scalar:
            return scalar

"""TOML 1.0 text -> Node: statements, and which table each of them fills.

In: decoded text.  Out: the root Node, None for a file without content, or `Stop` at the first mistake.

    read_toml("[[probes]]\\nkprobe = 'f'", "a.toml")      # {"probes": [{"kprobe": "f"}]}, each with its place

An own reader, because the standard library's gives no places (and recurses as deep as the text says); the tests
hold it against `tomllib`, which decides what is TOML.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

from specc.diagnostics import Stop, stop
from specc.noun import dataclass, field
from specc.source.document import MAX_DEPTH, MAX_VALUES, Entry, Node
from specc.source.toml_text import Text

_BLANK: Final = re.compile(r"(?:[ \t\r\n]++|#[^\n]*+)*+")  # between statements, and inside of arrays
_SPACE: Final = re.compile(r"[ \t]*+")
_LINE_END: Final = re.compile(r"[ \t]*+(?:#[^\n]*+)?+(?:\n|\r\n|\Z)")
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]++")
_TOKEN: Final = re.compile(r"[^\s,\[\]{}#=\"']++")
_ONE_LINE: Final = "an inline table is written on one line"


@dataclass(slots=True)
class _Table:
    """A table that is being read. TOML lets a later section open some tables again and others not:

    one made by a header once (`named`), one made by dotted keys only from within the same section (`section`),
    an inline one never (`closed`).
    """

    start: int
    end: int
    entries: dict[str, tuple[Node, _Item]] = field(default_factory=dict)
    named: bool = False
    section: int | None = None
    closed: bool = False


@dataclass(slots=True)
class _Tables:
    """An array of tables, `[[name]]`."""

    tables: list[_Table]


@dataclass(slots=True)
class _List:
    """An inline array."""

    start: int
    end: int
    items: list[_Item]


_Item: TypeAlias = "Node | _Table | _Tables | _List"


def read_toml(text: str, file: str) -> Node | None:
    reader = _Reader(text, file)
    root = reader.read()
    return reader.finish(root) if root.entries else None


class _Reader:
    def __init__(self, text: str, file: str) -> None:
        self.source = Text(text, file)
        self.text = text
        self.at = 0
        self.section = 0
        self.count = 0

    def bound(self, depth: int, start: int) -> None:
        if depth > MAX_DEPTH:
            raise stop(
                "SP013", f"arrays and tables are nested more than {MAX_DEPTH} deep", self.source.span(start, start + 1)
            )

    def counted(self, start: int) -> None:
        self.count += 1
        if self.count > MAX_VALUES:
            where = self.source.span(start, start + 1)
            raise stop("SP012", f"the spec has more than {MAX_VALUES:,} values", where, help="split it into several")

    # Statements

    def read(self) -> _Table:
        root = table = _Table(0, 0, named=True)
        text = self.text
        while True:
            self.at = _BLANK.match(text, self.at).end()  # type: ignore[union-attr]  # matches the empty string too
            if self.at >= len(text):
                return root
            if not root.entries and root.end == 0:
                root.start = self.at
                root.end = text.find("\n", self.at) if "\n" in text[self.at :] else len(text)
            if text[self.at] == "[":
                table = self.header(root)
            else:
                self.pair(table, self.section, 0)
            end = _LINE_END.match(text, self.at)
            if end is None:
                raise self.source.error("expected the end of the line", self.at, help="one statement on a line")
            self.at = end.end()

    def header(self, root: _Table) -> _Table:
        """`[a.b]` or `[[a.b]]`: the table that the statements after it fill."""
        start = self.at
        many = self.text.startswith("[[", start)
        self.at += 2 if many else 1
        self.section += 1
        keys = self.key()
        if not self.text.startswith("]]" if many else "]", self.at):
            raise self.source.error(f"expected `{']]' if many else ']'}` after the table's name", self.at)
        self.at += 2 if many else 1
        self.bound(len(keys), start)
        self.counted(start)
        parent = root
        for key in keys[:-1]:
            parent = self.step(parent, key, start)
        last = keys[-1]
        name = _name(last)
        old = parent.entries.get(name)
        new = _Table(start, self.at, named=True)
        if many:
            if old is None:
                parent.entries[name] = (last, _Tables([new]))
            elif isinstance(old[1], _Tables):
                old[1].tables.append(new)
            else:
                raise self.twice(last, old[0])
            return new
        if old is None:
            parent.entries[name] = (last, new)
            return new
        table = old[1]
        if not isinstance(table, _Table) or table.named or table.closed or table.section is not None:
            raise self.twice(last, old[0])
        table.named, table.start, table.end = True, start, self.at
        return table

    def step(self, parent: _Table, key: Node, start: int) -> _Table:
        """One part of a header's path: an open table, made where it is missing."""
        name = _name(key)
        if name not in parent.entries:
            self.counted(start)
            made = _Table(start, self.at)
            parent.entries[name] = (key, made)
            return made
        old, item = parent.entries[name]
        if isinstance(item, _Tables):
            return item.tables[-1]
        if not isinstance(item, _Table) or item.closed:
            raise self.twice(key, old)
        return item

    def pair(self, table: _Table, section: int, depth: int) -> None:
        """`a.b = value`, in a section or an inline table."""
        keys = self.key()
        self.bound(depth + len(keys), self.at)
        if not self.text.startswith("=", self.at):
            help = "TOML has `key = value`" if self.text.startswith(":", self.at) else None
            raise self.source.error("expected `=` after the key", self.at, help=help)
        self.at = _SPACE.match(self.text, self.at + 1).end()  # type: ignore[union-attr]
        for key in keys[:-1]:
            name = _name(key)
            if name not in table.entries:
                self.counted(self.at)
                first, last = self.source.offset(key.line, key.column), self.source.offset(key.end_line, key.end_column)
                made = _Table(first, last, section=section)
                table.entries[name] = (key, made)
                table = made
                continue
            old, item = table.entries[name]
            # A dotted key adds to a table of its own section only (TOML 1.0, "Table").
            if not isinstance(item, _Table) or item.named or item.closed or item.section not in (None, section):
                raise self.twice(key, old)
            item.section = section
            table = item
        last_key = keys[-1]
        name = _name(last_key)
        if name in table.entries:
            raise self.twice(last_key, table.entries[name][0])
        table.entries[name] = (last_key, self.value(depth + len(keys)))

    def twice(self, key: Node, first: Node) -> Stop:
        name = _name(key)
        short = name if len(name) <= 60 else name[:57] + "..."
        return stop("SP009", f"the key `{short}` is here twice", key.where, notes=[f"first at {first.where}"])

    def key(self) -> list[Node]:
        """A key with its dots; leaves `at` at what follows it and its spaces."""
        text, parts = self.text, []
        while True:
            start = _SPACE.match(text, self.at).end()  # type: ignore[union-attr]
            bare = _BARE_KEY.match(text, start)
            if bare is not None:
                name, end = bare.group(), bare.end()
            elif text.startswith(('"""', "'''"), start):
                raise self.source.error("a key is written on one line", start, start + 3)
            elif text.startswith(('"', "'"), start):
                name, end = self.source.string(start)
            else:
                help = "a key is letters, digits, `_` and `-`, or a string in quotes"
                raise self.source.error("expected a key", start, help=help)
            parts.append(self.source.node(name, start, end))
            if len(parts) > MAX_DEPTH:
                self.bound(len(parts), start)
            self.at = _SPACE.match(text, end).end()  # type: ignore[union-attr]
            if not text.startswith(".", self.at):
                return parts
            self.at += 1

    # Values

    def value(self, depth: int) -> _Item:
        text, start = self.text, self.at
        self.counted(start)
        self.bound(depth, start)
        first = text[start : start + 1]
        if first in ('"', "'") and first:
            string, self.at = self.source.string(start)
            return self.source.node(string, start, self.at)
        if first == "[":
            return self.array(depth)
        if first == "{":
            return self.inline(depth)
        token = _TOKEN.match(text, start)
        if token is None:
            raise self.source.error("expected a value", start)
        self.at = token.end()
        return self.source.node(self.source.scalar(token.group(), start), start, self.at)

    def array(self, depth: int) -> _Item:
        text, start = self.text, self.at
        items: list[_Item] = []
        self.at += 1
        while True:
            self.blank(start)
            if text[self.at] == "]":
                break
            items.append(self.value(depth + 1))
            self.blank(start)
            if text[self.at] == ",":
                self.at += 1
            elif text[self.at] != "]":
                raise self.source.error("expected `,` or `]` in the array", self.at)
        self.at += 1
        return _List(start, self.at, items)

    def blank(self, opened: int) -> None:
        self.at = _BLANK.match(self.text, self.at).end()  # type: ignore[union-attr]
        if self.at >= len(self.text):
            raise self.source.error("the `[` is never closed", opened)

    def inline(self, depth: int) -> _Item:
        text, start = self.text, self.at
        table = _Table(start, start)
        self.at = _SPACE.match(text, start + 1).end()  # type: ignore[union-attr]
        if not text.startswith("}", self.at):
            while True:
                if _LINE_END.match(text, self.at):
                    raise self.source.error("the `{` is not closed on its line", start, help=_ONE_LINE)
                self.pair(table, -1, depth)
                self.at = _SPACE.match(text, self.at).end()  # type: ignore[union-attr]
                if text.startswith("}", self.at):
                    break
                if not text.startswith(",", self.at):
                    line_end = _LINE_END.match(text, self.at)
                    help = _ONE_LINE if line_end else None
                    raise self.source.error("expected `,` or `}` in the inline table", self.at, help=help)
                self.at += 1
        self.at += 1
        _close(table)
        table.end = self.at
        return table

    # The finished tree

    def finish(self, item: _Item) -> Node:
        match item:
            case _Table(start=start, end=end, entries=entries):
                done = {name: Entry(key, self.finish(value)) for name, (key, value) in entries.items()}
                return self.source.node(done, start, end)
            case _Tables(tables=tables):
                nodes = tuple(self.finish(table) for table in tables)
                return nodes[0]._replace(value=nodes)
            case _List(start=start, end=end, items=items):
                return self.source.node(tuple(self.finish(value) for value in items), start, end)
            case _:
                return item


def _name(key: Node) -> str:
    assert isinstance(key.value, str)
    return key.value


def _close(item: _Item) -> None:
    """An inline table, and every table that dotted keys made in it, can not be added to."""
    if isinstance(item, _Table):
        item.closed = True
        for _, inner in item.entries.values():
            _close(inner)

"""YAML text -> Node, as YAML 1.2 with its core schema: `on` and `off` are strings, `010` is ten, `0o17` is octal.

In: decoded text.  Out: the root Node, None for a file without content, or `Stop` at the first mistake.

    read_yaml("args: [off]", "a.yaml").value["args"].value.value[0].value      # "off"

libyaml (or PyYAML's own parser, where libyaml is missing) makes the events; the tree is built here. `yaml.compose`
would resolve by YAML 1.1, lets duplicate keys pass, and recurses in C: 200,000 brackets end the process.
"""

from __future__ import annotations

import re
from typing import Any, Final

from specc.diagnostics import Location, Stop, stop
from specc.source.document import MAX_DEPTH, MAX_INTEGER, MAX_VALUES, MIN_INTEGER, Entry, Node, Value

# YAML 1.2.2, 10.3.2 (tag resolution of the core schema).
_INTEGER: Final = re.compile(r"[-+]?[0-9]+")
_OCTAL: Final = re.compile(r"0o[0-7]+")
_HEXADECIMAL: Final = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INFINITY: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)")
_WORDS: Final[dict[str, bool | float | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_TOO_DEEP: Final = f"lists and maps are nested more than {MAX_DEPTH} deep"
_MAX_DIGITS: Final = 40  # more than any 64-bit number has; Python's own bound on int(text) is a ValueError


def read_yaml(text: str, file: str) -> Node | None:
    import yaml

    loader_class: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    loader = loader_class(text)
    try:
        builder = _Builder(yaml, loader, text, file)
        root = builder.build()
    except yaml.YAMLError as error:
        raise _syntax_error(error, text, file) from None
    finally:
        loader.dispose()
    if "\t" in text:
        _refuse_tabs(text, file, builder.blocks)
    return root


class _Open:
    """A list or map that is being read. `size` and `depth` measure what it holds with every alias spelled out."""

    __slots__ = ("anchor", "depth", "end", "entries", "file", "flow", "items", "key", "size", "start")

    def __init__(self, event: Any, is_map: bool) -> None:
        self.start = event.start_mark
        self.end = event.end_mark
        self.flow = bool(event.flow_style)
        self.anchor: str | None = event.anchor
        self.items: list[Node] = []
        self.entries: dict[str, Entry] | None = {} if is_map else None
        self.key: Node | None = None
        self.size = 1
        self.depth = 1


class _Builder:
    def __init__(self, yaml: Any, loader: Any, text: str, file: str) -> None:
        self.yaml = yaml
        self.next = loader.get_event
        self.text = text
        self.line_count = text.count("\n") + 1
        self.file = file
        self.stack: list[_Open] = []
        # What an anchor stands for: the node, its size and its depth; None while it is still open.
        self.anchors: dict[str, tuple[Node, int, int] | None] = {}
        self.blocks: list[tuple[int, int]] = []  # first and last line of scalars of several lines
        self.total = 0

    def build(self) -> Node | None:
        yaml, stack = self.yaml, self.stack
        scalar, alias = yaml.ScalarEvent, yaml.AliasEvent
        mapping, sequence = yaml.MappingStartEvent, yaml.SequenceStartEvent
        ends = (yaml.MappingEndEvent, yaml.SequenceEndEvent)
        root: Node | None = None
        documents = 0
        while True:
            event = self.next()
            kind = type(event)
            if kind is scalar:
                node, size, depth = self.scalar(event), 1, 0
            elif kind is alias:
                node, size, depth = self.alias(event)
            elif kind is mapping or kind is sequence:
                self.open(event, kind is mapping)
                continue
            elif kind in ends:
                node, size, depth = self.close(event)
            elif kind is yaml.DocumentStartEvent:
                documents += 1
                if documents > 1:
                    raise _second_document(self.span(event))
                if event.version not in (None, (1, 2)):
                    version = ".".join(map(str, event.version))
                    raise stop("SP017", f"specs are YAML 1.2, not {version}", self.span(event), help="use `%YAML 1.2`")
                continue
            elif kind is yaml.StreamEndEvent:
                return root
            else:
                continue
            if stack:
                self.add(stack[-1], node, size, depth)
            else:
                # `---` and comments alone are a document that holds an empty plain scalar
                empty = kind is scalar and node.value is None and not event.value
                root = None if empty else node

    def scalar(self, event: Any) -> Node:
        start, end = event.start_mark, event.end_mark
        if event.tag is not None:
            self.refuse_tag(event)
        value: Value = event.value
        if not event.style and event.implicit[0] and (event.value[:1] in "-+.0123456789tTfFnN~"):
            value = self.resolve(event)
        elif event.style == '"' and _SURROGATE.search(event.value):  # "\\ud800": libyaml itself refuses it
            raise stop("SP006", "this string has an escape that is no Unicode character", self.span(event))
        node = Node(value, self.file, start.line + 1, start.column + 1, end.line + 1, end.column + 1)
        if node.end_line > self.line_count:  # libyaml counts a line more than there are
            last = self.text.rpartition("\n")[2]
            node = node._replace(end_line=self.line_count, end_column=len(last) + 1)
            if node.line > self.line_count:
                node = node._replace(line=node.end_line, column=node.end_column)
        if start.line != end.line:
            self.blocks.append((node.line, node.end_line))
        if event.anchor is not None:
            self.anchors[event.anchor] = (node, 1, 0)
        return node

    def resolve(self, event: Any) -> Value:
        text: str = event.value
        if text in _WORDS:
            return _WORDS[text]
        if _INTEGER.fullmatch(text):
            value = int(text) if len(text) <= _MAX_DIGITS else MAX_INTEGER + 1
        elif _OCTAL.fullmatch(text):
            value = int(text[2:], 8)
        elif _HEXADECIMAL.fullmatch(text):
            value = int(text[2:], 16)
        elif _INFINITY.fullmatch(text):
            return float("-inf" if text[0] == "-" else "inf")
        elif _FLOAT.fullmatch(text):
            number = float(text)
            if number in (float("inf"), float("-inf")):
                raise stop("SP018", "the number is too large", self.span(event))
            return number
        else:
            return text
        if not MIN_INTEGER <= value <= MAX_INTEGER:
            raise stop("SP018", "the number does not fit into 64 bits", self.span(event))
        return value

    def alias(self, event: Any) -> tuple[Node, int, int]:
        name: str = event.anchor
        if name not in self.anchors:
            raise stop("SP011", f"no anchor `&{_short(name)}` comes before this alias", self.span(event))
        found = self.anchors[name]
        if found is None:
            raise stop("SP011", f"the alias `*{_short(name)}` stands inside what it names: a loop", self.span(event))
        node, size, depth = found
        if len(self.stack) + depth > MAX_DEPTH:
            raise stop("SP013", _TOO_DEEP, self.span(event))
        return node, size, depth

    def open(self, event: Any, is_map: bool) -> None:
        if event.tag is not None:
            self.refuse_tag(event)
        if self.stack and self.stack[-1].entries is not None and self.stack[-1].key is None:
            kind = "map" if is_map else "list"
            raise stop("SP010", f"a key must be a string, not a {kind}", self.span(event), help=_braces(event, is_map))
        if len(self.stack) >= MAX_DEPTH:
            raise stop("SP013", _TOO_DEEP, self.span(event))
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        self.stack.append(_Open(event, is_map))

    def close(self, event: Any) -> tuple[Node, int, int]:
        done = self.stack.pop()
        # The end of a block collection is where the next token is; show the end of its last value instead.
        end = event.end_mark if done.flow else done.end
        value: Value = tuple(done.items) if done.entries is None else done.entries
        node = Node(value, self.file, done.start.line + 1, done.start.column + 1, end.line + 1, end.column + 1)
        if not done.flow:
            last = done.items[-1] if done.items else None
            if done.entries:
                entry = next(reversed(done.entries.values()))
                last = entry.value if entry.value.value is not None else entry.key
            if last is not None and (last.end_line, last.end_column) > (node.line, node.column):
                node = node._replace(end_line=last.end_line, end_column=last.end_column)
        if done.anchor is not None:
            self.anchors[done.anchor] = (node, done.size, done.depth)
        return node, done.size, done.depth

    def add(self, parent: _Open, node: Node, size: int, depth: int) -> None:
        if parent.entries is not None and parent.key is None:
            parent.key = self.checked_key(parent.entries, node)
            return
        parent.size += size
        self.total = max(self.total + 1, parent.size)
        if self.total > MAX_VALUES:
            raise stop(
                "SP012",
                f"the spec has more than {MAX_VALUES:,} values, aliases spelled out",
                node.where,
                help="split it into several specs",
            )
        if depth >= parent.depth:
            parent.depth = depth + 1
        if parent.entries is None:
            parent.items.append(node)
        else:
            assert parent.key is not None and isinstance(parent.key.value, str)
            parent.entries[parent.key.value] = Entry(parent.key, node)
            parent.key = None

    def checked_key(self, entries: dict[str, Entry], node: Node) -> Node:
        name = node.value
        if not isinstance(name, str):
            what = {bool: "a boolean", int: "a number", float: "a number", type(None): "null", tuple: "a list"}
            raise stop(
                "SP010",
                f"a key must be a string, not {what.get(type(name), 'a map')}",
                node.where,
                help="put it in quotes if it is meant as a name",
            )
        if name == "<<" and (node.end_column - node.column) == 2:  # not in quotes
            raise stop(
                "SP015",
                "merge keys `<<` are not part of YAML 1.2",
                node.where,
                help="write the keys out, or use an alias for a whole value",
            )
        if name in entries:
            first = entries[name].key
            raise stop(
                "SP009", f"the key `{_short(name)}` is here twice", node.where, notes=[f"first at {first.where}"]
            )
        return node

    def refuse_tag(self, event: Any) -> None:
        tag = event.tag
        shown = tag.replace("tag:yaml.org,2002:", "!!", 1)
        where = self.span(event)
        if event.start_mark.line != event.end_mark.line:
            where = Location(self.file, where.line, where.column, where.line, where.column + 1)
        raise stop(
            "SP014",
            f"the tag `{_short(shown)}`: a spec is plain data without tags",
            where,
            help="take it out; quotes make a string",
        )

    def span(self, event: Any) -> Location:
        start, end = event.start_mark, event.end_mark
        return Location(self.file, start.line + 1, start.column + 1, end.line + 1, end.column + 1)


def _braces(event: Any, is_map: bool) -> str | None:
    # `{{name}}` is how templates of other tools look; YAML reads a map as the key of a map.
    return "quote the value if the braces are meant as text" if is_map and event.flow_style else None


def _short(name: str) -> str:
    return name if len(name) <= 60 else name[:57] + "..."


def _refuse_tabs(text: str, file: str, blocks: list[tuple[int, int]]) -> None:
    """Tabs before a key or value: libyaml lets them pass inside brackets, the YAML standard does not (6.1)."""
    inside = {number for first, last in blocks for number in range(first + 1, last + 1)}
    for number, line in enumerate(text.split("\n"), 1):
        body = line.lstrip(" \t")
        if number not in inside and body.strip() and not body.startswith("#"):
            column = line.find("\t", 0, len(line) - len(body)) + 1
            if column:
                raise _tab(Location(file, number, column, number, column + 1))


def _tab(where: Location) -> Stop:
    return stop("SP008", "a tab in the indentation", where, help="YAML is indented with spaces")


def _second_document(where: Location) -> Stop:
    message = "a second document begins here; a spec is one document"
    return stop("SP016", message, where, help="take out the `---` or `...`, or split the file")


# libyaml's and PyYAML's words for a mistake, and ours. Where the third is true, the mistake is shown where the
# construct began: "never closed" at the end of the file helps nobody.
_SAID: Final[tuple[tuple[str, str, bool, str | None], ...]] = (
    ("found unexpected end of stream", "the string that begins here is never closed", True, None),
    ("found unexpected document indicator", "the string that begins here is never closed", True, None),
    ("',' or ']'", "expected `,` or `]` in the list", False, None),
    ("',' or '}'", "expected `,` or `}` in the map", False, None),
    (
        "mapping values are not allowed",
        "a `:` that makes a key is not possible here",
        False,
        "put the value in quotes if it holds `: `, or mend the indentation",
    ),
    ("invalid Unicode character escape", "this escape is no Unicode character", False, None),
    ("unknown escape character", "this escape is not known", False, "in single quotes a backslash is a backslash"),
    ("expected '-' indicator", "expected `- ` and an item of the list", False, "indent it as the items before"),
    ("<block end>", "expected a key or an item as on the lines before", False, "mend the indentation"),
    ("expected key", "expected `key: value`", False, "mend the indentation, or the value before it"),
    ("could not find expected ':'", "expected `:` after the key", False, None),
    ("node content", "expected a value", False, None),
    ("unknown directive name", "this directive is not known", False, "take the line out"),
    ("incompatible YAML document", "specs are YAML 1.2", False, "use `%YAML 1.2`"),
)


def _syntax_error(error: Any, text: str, file: str) -> Stop:
    mark = getattr(error, "problem_mark", None)
    context = getattr(error, "context_mark", None)
    problem = str(getattr(error, "problem", None) or error)
    lines = text.split("\n")
    where = _mark(mark, file, lines)
    character = ""
    if mark is not None and mark.line < len(lines):
        character = lines[mark.line][mark.column : mark.column + 1]
    if character == "\t" and ("cannot start" in problem or "tab" in problem):
        return _tab(where)
    if "nesting depth" in problem:  # libyaml looks ahead, and from 0.2.6 on no deeper than 1,000
        return stop("SP013", _TOO_DEEP, where)
    if "cannot start any token" in problem and character:
        return stop("SP006", f"a value cannot begin with `{character}`", where, help="put the value in quotes")
    if "<document start>" in problem:
        if mark is not None and any(line.startswith("...") for line in lines[: mark.line]):
            return _second_document(where)
        return stop("SP006", "the value before has ended, and this does not belong to it", where)
    at_end = mark is None or not "".join(lines[mark.line :])[mark.column :].strip()
    if at_end and context is not None and ("or ']'" in problem or "or '}'" in problem):
        bracket = "[" if "]" in problem else "{"
        return stop("SP006", f"the `{bracket}` is never closed", _mark(context, file, lines))
    for words, message, at_start, help in _SAID:
        if words in problem:
            return stop("SP006", message, _mark(context or mark, file, lines) if at_start else where, help=help)
    return stop("SP006", f"this is not YAML: {problem}", where)


def _mark(mark: Any, file: str, lines: list[str]) -> Location:
    if mark is None:
        return Location(file)
    if mark.line >= len(lines):  # libyaml counts a line more than there are
        return Location(file, len(lines), len(lines[-1]) + 1, len(lines), len(lines[-1]) + 2)
    return Location(file, mark.line + 1, mark.column + 1, mark.line + 1, mark.column + 2)

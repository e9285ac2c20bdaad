"""A range of cleaned text -> pycparser's tree, with every attribute tied to the node that it belongs to.

In: a `Scan`, a range, and which identifiers are type names there.  Out: `Parsed`.

    parsed = Syntax(scan, is_type).declarations(a, b)
    parsed.nodes                         # [Decl(name="f", type=FuncDecl(...))]
    parsed.entity[id(decl)]              # attributes of the thing that this node declares

Where an attribute belongs is decided by what stands before and after it (gcc manual 6.39.1, "Attribute Syntax"):
after `struct` or `}` it is the type's, after `*` the pointer's, after a declarator that entity's, and anywhere else
in the specifiers it is for every entity that the declaration declares.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any, Final

from specc.diagnostics import Location, Stop, did_you_mean, stop
from specc.headers.attributes import CONVENTIONS, TAGS, Attribute
from specc.headers.clean import Cleaned, clean
from specc.headers.scan import Scan
from specc.noun import dataclass, field

_IDENTIFIER: Final = re.compile(r"[A-Za-z_$][\w$]*")
_ERROR: Final = re.compile(r"^.*?:(\d+):(\d+): (.*)$", re.S)


@dataclass(slots=True)
class Parsed:
    scan: Scan
    start: int
    cleaned: Cleaned
    line_starts: list[int]
    nodes: list[Any] = field(default_factory=list)
    entity: dict[int, list[tuple[Attribute, bool]]] = field(default_factory=dict)  # id(node) -> (attribute, is prefix)
    pointer: dict[int, list[Attribute]] = field(default_factory=dict)  # offset of a `*` -> attributes
    type: dict[int, list[Attribute]] = field(default_factory=dict)  # offset of a `{` -> attributes

    def offset(self, coord: Any) -> int:
        at: int = self.line_starts[coord.line - 2] + coord.column - 1
        return self.start + at

    def where(self, coord: Any) -> Location:
        at = self.offset(coord)
        word = _IDENTIFIER.match(self.cleaned.text, at - self.start)
        return self.scan.location(at, len(word[0]) if word else 1)

    def place(self, node: Any) -> Location:
        """Where a node is; of a declarator, what it declares; else the whole text that was parsed."""
        coord = getattr(node, "coord", None)
        if coord is None or coord.line < 2:
            inner = innermost(node)
            coord = getattr(inner, "coord", None) if inner is not None else None
        if coord is None or coord.line < 2:
            return self.scan.location(self.start)
        return self.where(coord)

    def brace(self, node: Any) -> int:
        """The offset of the `{` of a struct, union or enum node that has one."""
        return self.start + self.cleaned.text.index("{", self.offset(node.coord) - self.start)


def innermost(node: Any) -> Any:
    """The TypeDecl of a declarator, under its pointers, arrays and parameters."""
    inner: Any = getattr(node, "type", None)
    while type(inner).__name__ in ("PtrDecl", "ArrayDecl", "FuncDecl"):
        inner = inner.type
    return inner if type(inner).__name__ == "TypeDecl" else None


@cache
def _parser() -> Any:
    from pycparser.c_parser import CParser

    return CParser()


class Syntax:
    def __init__(
        self, scan: Scan, is_type: Callable[[str, int], bool], type_names: Callable[[], Iterable[str]]
    ) -> None:
        self._scan = scan
        self._is_type = is_type
        self._type_names = type_names

    def declarations(self, start: int, end: int, body: bool = False) -> Parsed:
        """The declarations of a chunk; the range ends before the body if it is a function's."""
        return self._parse(start, end, "", ";" if body else "")

    def operand(self, start: int, end: int) -> tuple[Parsed, Any]:
        """A type name or an expression, whichever the range holds, as `sizeof` would tell."""
        parsed = self._parse(start, end, "int $x[sizeof(", ")];")
        try:
            (declaration,) = parsed.nodes
            operand = declaration.type.dim
            assert operand.op == "sizeof"
        except (ValueError, AttributeError, AssertionError):
            raise stop("SP213", "this is neither a type nor an expression", self._scan.location(start)) from None
        return parsed, operand.expr

    def _parse(self, start: int, end: int, before: str, after: str) -> Parsed:
        cleaned = clean(self._scan, start, end)
        text = cleaned.text
        names = {
            n
            for n in set(_IDENTIFIER.findall(text))
            if (cleaned.placeholders[n].kind != "compatible" if n in cleaned.placeholders else self._is_type(n, start))
        }
        prelude = f"typedef int {','.join(sorted(names))};" if names else ""
        line_starts = [0]
        at = text.find("\n")
        while at >= 0:
            line_starts.append(at + 1)
            at = text.find("\n", at + 1)
        parsed = Parsed(self._scan, start, cleaned, line_starts)
        if before:
            # The operand begins on a line of its own, so that columns count from its start.
            prelude += before
        try:
            tree = _parser().parse(f"{prelude}\n{text}{after}")
        except RecursionError:
            raise stop("SP213", "this declaration is nested too deeply", self._scan.location(start)) from None
        except Exception as e:  # pycparser also lets ValueError, AssertionError and AttributeError out
            raise self._syntax_error(e, parsed) from None
        parsed.nodes = tree.ext[len(names) :]
        if cleaned.attributes:
            _attach(parsed)
        return parsed

    def _syntax_error(self, error: Exception, parsed: Parsed) -> Stop:
        from specc.headers.names import type_candidates

        text = parsed.cleaned.text
        for name, offset in type_candidates(text):
            if name not in parsed.cleaned.placeholders and not self._is_type(name, parsed.start):
                place = self._scan.location(parsed.start + offset, len(name))
                names = set(self._type_names())
                help_ = f"`{name}` becomes a type only further down" if name in names else did_you_mean(name, names)
                return stop("SP214", f"unknown type `{name}`", place, help=help_)
        m = _ERROR.match(str(error))
        at = parsed.start + len(text) - len(text.lstrip())
        what = str(error) or type(error).__name__
        if m is not None:
            what = m[3]
            line = int(m[1]) - 2
            if 0 <= line < len(parsed.line_starts):
                at = min(parsed.start + parsed.line_starts[line] + int(m[2]) - 1, parsed.start + len(text))
        if "end of input" in what:
            at = parsed.start + len(text.rstrip())
        at = min(at, len(self._scan.text))
        ended = at - parsed.start >= len(text.rstrip().removesuffix(";"))
        return stop("SP213", f"this C is not understood: {_in_words(what, ended)}", self._scan.location(at))


def _in_words(said: str, ended: bool) -> str:
    """What pycparser said, for people. It was `ended` where the text was, or its last semicolon, which may not be theirs."""
    what = said.strip(": ")
    token = what.removeprefix("before: ") if what.startswith("before: ") else None
    if "end of input" in what or (ended and token == ";"):
        return "it ends too early"
    if token is not None:
        return f"`{token}` is not expected here"
    return what[:1].lower() + what[1:]


def walk(node: Any) -> Iterator[Any]:
    """The node and everything under it, in the order of the text."""
    stack = [node]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(child for _, child in reversed(node.children()))


def _attach(parsed: Parsed) -> None:
    from pycparser.c_ast import Decl, Typedef, Typename

    declared: list[tuple[int, Any]] = []
    for top in parsed.nodes:
        for node in walk(top):
            if isinstance(node, Decl | Typedef | Typename):
                coord = node.coord
                inner = node.type
                while inner is not None and type(inner).__name__ in ("PtrDecl", "ArrayDecl", "FuncDecl"):
                    inner = inner.type
                if type(inner).__name__ == "TypeDecl" and inner.coord is not None:
                    coord = inner.coord
                if coord is not None and coord.line >= 2:
                    declared.append((parsed.offset(coord) - parsed.start, node))
    declared.sort(key=lambda entry: entry[0])
    for attribute in parsed.cleaned.attributes:
        if not _place(parsed, declared, attribute):
            raise stop(
                "SP219",
                f"what the attribute `{attribute.name}` belongs to here is not understood",
                parsed.scan.location(attribute.offset, attribute.end - attribute.offset),
                help="write it after the declarator, or after the closing brace of the type",
            )


_LAST: Final = re.compile(r"(\w+|[^\w\s])\s*$")
_QUALIFIERS: Final = ("const", "volatile", "restrict", "_Atomic")


def _place(parsed: Parsed, declared: list[tuple[int, Any]], attribute: Attribute) -> bool:
    """Put one attribute where it belongs. False when that is not clear."""
    text = parsed.cleaned.text
    at, end = attribute.offset - parsed.start, attribute.end - parsed.start
    before = _token_before(text, at)
    while before[0] in _QUALIFIERS:
        before = _token_before(text, before[1])
    word, position = _token_before(text, at)
    if word in ("struct", "union", "enum"):
        m = re.compile(r"\s*(?:[A-Za-z_$][\w$]*\s*)?\{").match(text, _skip_blank(text, end))
        if m is not None:
            parsed.type.setdefault(parsed.start + m.end() - 1, []).append(attribute)
        return True  # without a body both compilers ignore it, and warn
    if word == "}":
        opening = _opening(text, position)
        head = re.search(r"\b(?:struct|union|enum)\s*(?:[A-Za-z_$][\w$]*\s*)?$", text[:opening])
        if head is None:
            return False
        parsed.type.setdefault(parsed.start + opening, []).append(attribute)
        return True
    if before[0] == "*" and attribute.name not in CONVENTIONS:  # `void *__attribute__((ms_abi)) f(void);` is f's
        parsed.pointer.setdefault(parsed.start + before[1], []).append(attribute)
        return True
    following = text[_skip_blank(text, end) :][:1]
    if word == "(" and following == "*":
        # `void (__attribute__((ms_abi)) *fp)(int)`: how the pointed-to function is called does not matter here.
        return attribute.name in CONVENTIONS
    start, opener, comma = _segment(text, at)
    in_list = opener == "(" or word == ","
    if following in ("", ",", ";", "=", ")", "{", ":") or in_list:
        prefix = following not in ("", ",", ";", "=", ")", "{", ":")
        segments = [(start, len(text) if not in_list else _segment_end(text, end)[0])]
        if not in_list:
            segments = [(start, at)]
    else:
        prefix = True
        if comma:
            return False
        segments = []
        here = start
        while True:
            stop_at, delimiter = _segment_end(text, max(here, end))
            segments.append((here, stop_at))
            if delimiter != ",":
                break
            here = stop_at + 1
    found = False
    for low, high in segments:
        node = _first(text, declared, low, high)
        if node is not None:
            parsed.entity.setdefault(id(node), []).append((attribute, prefix))
            found = True
    # `__attribute__((packed)) struct s {...};` declares no entity: both compilers ignore the attribute, and warn.
    # A memory tag in a cast or a sizeof says nothing about an argument.
    return found or attribute.name in TAGS or text[segments[-1][1] :][:1] == ";"


def _token_before(text: str, at: int) -> tuple[str, int]:
    m = _LAST.search(text[max(0, at - 200) : at].rstrip()[-120:])
    if m is None:
        return "", 0
    stripped = len(text[:at].rstrip())
    return m[1], stripped - len(m[1])


def _skip_blank(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _opening(text: str, brace: int) -> int:
    depth = 0
    for at in range(brace, -1, -1):
        if text[at] == "}":
            depth += 1
        elif text[at] == "{":
            depth -= 1
            if not depth:
                return at
    return 0


def _segment(text: str, at: int) -> tuple[int, str, bool]:
    """Where the declarator or parameter around `at` begins, what encloses it, and whether a comma stands before."""
    depth = 0
    start = -1
    for here in range(at - 1, -1, -1):
        c = text[here]
        if c in ")]}":
            depth += 1
        elif c in "([{":
            if not depth:
                return (start if start >= 0 else here + 1), c, start >= 0
            depth -= 1
        elif not depth and c == ";":
            return (start if start >= 0 else here + 1), c, start >= 0
        elif not depth and c == "," and start < 0:
            start = here + 1
    return max(start, 0), "", start >= 0


def _segment_end(text: str, at: int) -> tuple[int, str]:
    depth = 0
    for here in range(at, len(text)):
        c = text[here]
        if c in "([{":
            depth += 1
        elif c in ")]}":
            if not depth:
                return here, c
            depth -= 1
        elif not depth and c in ",;":
            return here, c
    return len(text), ""


def _first(text: str, declared: list[tuple[int, Any]], low: int, high: int) -> Any:
    """The entity that a segment declares: its first declared name outside braces."""
    for offset, node in declared:
        if low <= offset < high and text.count("{", low, offset) == text.count("}", low, offset):
            return node
    return None

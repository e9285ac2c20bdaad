"""Preprocessed C text -> its top-level chunks, and where in the user's files each piece of it came from.

In: what `cc -E` printed.  Out: a `Scan`: the text, a same-length copy that is safe to search, and the chunks.

    scan = Scan(text, "openssl/ssl.h")
    scan.code[a:b]                  # the text with strings, characters and directives blanked
    scan.location(offset)           # the real header's file:line:column, by the line markers

This is the only pass over the whole text (megabytes for a kernel header), so it works with searches and counts that
run in C and looks at single characters only where a chunk begins, opens a brace or ends.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Final

from specc.diagnostics import Location, Stop, stop
from specc.headers.pragmas import PackState

_LITERAL: Final = re.compile(r""""[^"\\\n]*(?:\\.[^"\\\n]*)*"|'[^'\\\n]*(?:\\.[^'\\\n]*)*'""")
_CHARACTER: Final = re.compile(r"'[^'\\\n]*(?:\\.[^'\\\n]*)*'")
_INDENTED_DIRECTIVE: Final = re.compile(r"\n[ \t]+#")
_MARKER: Final = re.compile(r'#(?:[ \t]*line)?[ \t]+(\d+)(?:[ \t]+"((?:[^"\\\n]|\\.)*)")?[^\n]*')
_PRAGMA: Final = re.compile(r"#[ \t]*pragma[ \t]+([^\n]*)")
_OPERATOR: Final = re.compile(r'_Pragma[ \t]*\([ \t]*"([^"\n]*)"[ \t]*\)')
_LAST_WORD: Final = re.compile(r"\w+$")
_GROUP: Final = re.compile(r"\([^()]*\)|\{[^{}]*\}")
_ATTRIBUTE_WORDS: Final = (
    "__attribute__",
    "__attribute",
    "_Alignas",
    "alignas",
    "asm",
    "__asm__",
    "__asm",
    "__declspec",
)


def _blank(m: re.Match[str]) -> str:
    quote = m[0][0]
    return quote + " " * (m.end() - m.start() - 2) + quote


def _without_literals(code: str) -> str:
    """The code with the contents of its string and character literals blanked.

    Splitting at the quotes is several times faster than matching each literal, and right unless a quote stands
    where none should: then some "string" holds a line end, and the careful way is taken.
    """
    simple = (
        code.replace("\\\\", "  ").replace('\\"', "  ").replace("'\"'", "' '")
        if "\\" in code or "'\"'" in code
        else code
    )
    parts = simple.split('"')
    strings = parts[1::2]
    if len(parts) % 2 == 0 or "\n" in "".join(strings):
        return _LITERAL.sub(_blank, code)
    parts[1::2] = [" " * len(part) for part in strings]
    simple = '"'.join(parts)
    return _CHARACTER.sub(_blank, simple) if "'" in simple else simple


class Scan:
    """The chunks of a translation unit. `starts[i]:ends[i]` is chunk i; `bodies` has the brace of function bodies
    by chunk number, `aggregates` the chunks that have braces and are no functions (types, initialisers)."""

    def __init__(self, text: str, name: str) -> None:
        self.text: Final = text
        self.name: Final = name
        self._furthest = (0, name, 1)
        self.packs: Final[list[tuple[int, int | Stop | None]]] = []
        self.code: Final = self._searchable()
        self.starts: Final[list[int]] = []
        self.ends: Final[list[int]] = []
        self.bodies: Final[dict[int, int]] = {}
        self.aggregates: Final[dict[int, int]] = {}
        self._split()

    def _searchable(self) -> str:
        """The text with the contents of literals and whole directives blanked, so that `{};()` mean what they say."""
        text = self.text
        indented = _INDENTED_DIRECTIVE.search(text) is not None
        parts = ("\n" + text).split("\n#")
        if indented:
            code = re.sub(r"^[ \t]*#[^\n]*", lambda m: " " * (m.end() - m.start()), text, flags=re.M)
        else:
            for i in range(1, len(parts)):
                part = parts[i]
                end = part.find("\n")
                parts[i] = " " * (len(part) + 1) if end < 0 else " " * (end + 1) + part[end:]
            code = "\n".join(parts)[1:]
        if "pragma" in text or "_Pragma" in text:
            self._pragmas()
        if "\r" in code or "\f" in code or "\v" in code:
            code = code.translate({13: " ", 12: " ", 11: " "})
        return _without_literals(code)

    def _pragmas(self) -> None:
        """Follow `#pragma pack` (gcc manual, "Structure-Layout Pragmas"; clang has the same), and note what else
        changes layouts; it is an error only for a record that it applies to."""
        text = self.text
        found = [m for m in _PRAGMA.finditer(text) if not text[text.rfind("\n", 0, m.start()) + 1 : m.start()].strip()]
        if "_Pragma" in text:
            found = sorted([*found, *_OPERATOR.finditer(text)], key=lambda m: m.start())
        state = PackState()
        for m in found:
            try:
                changed = state.follow(m[1])
            except ValueError as e:
                problem = stop("SP219", f"`{m[0].strip()}` {e}", self.location(m.start()), help=state.help)
                self.packs.append((m.start(), problem))
            else:
                if changed:
                    self.packs.append((m.start(), state.now))

    def pack(self, offset: int) -> int | None:
        """The `#pragma pack` value in force at an offset. Raises Stop where it is not known."""
        number = bisect_right(self.packs, offset, key=lambda entry: entry[0])
        value = self.packs[number - 1][1] if number else None
        if isinstance(value, Stop):
            raise value
        return value

    def _split(self) -> None:
        code = self.code
        find = code.find
        starts, ends = self.starts, self.ends
        size = len(code)
        here = 0
        semicolon, brace = find(";"), find("{")
        while True:
            if semicolon >= 0 and (semicolon < brace or brace < 0):
                starts.append(here)
                here = semicolon + 1
                ends.append(here)
                semicolon = find(";", here)
                continue
            if brace < 0:
                break
            number, opening = len(starts), brace
            starts.append(here)
            while True:
                end = self.closing(brace) + 1
                if _opens_function(code, here, brace):
                    self.bodies[number] = brace
                    break
                self.aggregates[number] = opening
                semicolon, brace = find(";", end), find("{", end)
                if semicolon < 0 and brace < 0:
                    end = size
                    break
                if semicolon >= 0 and (semicolon < brace or brace < 0):
                    end = semicolon + 1
                    break
            here = end
            ends.append(end)
            semicolon, brace = find(";", here), find("{", here)
        if code[here:].strip():
            starts.append(here)
            ends.append(size)

    def closing(self, brace: int) -> int:
        """The offset of the `}` that closes the `{` at an offset."""
        code = self.code
        depth, at = 1, brace + 1
        while True:
            end = code.find("}", at)
            if end < 0:
                raise stop("SP213", "this `{` is never closed", self.location(brace))
            depth += code.count("{", at, end) - 1
            if not depth:
                return end
            at = end + 1

    def chunk_at(self, offset: int) -> int:
        return bisect_right(self.starts, offset) - 1

    def location(self, offset: int, length: int = 1) -> Location:
        """The place in the file that the nearest line marker before an offset names."""
        line_start = self.text.rfind("\n", 0, offset) + 1
        file, line = self._line(line_start)
        column = offset - line_start + 1
        return Location(file, line, column, line, column + length)

    def _line(self, start: int) -> tuple[str, int]:
        """The file and the number of the line that begins at `start`.

        Counting begins at the furthest line that was asked for, or else at the nearest marker: whoever asks for all
        of a file does it from its start to its end, and the lines are then counted once.
        """
        text = self.text
        known, file, line = self._furthest
        if 0 < known <= start and text.find("\n#", known - 1, start) < 0:
            found = (file, line + text.count("\n", known, start))
        else:
            found = self._line_from_marker(start)
        if start > known:
            self._furthest = (start, *found)
        return found

    def _line_from_marker(self, start: int) -> tuple[str, int]:
        text, at = self.text, start
        while at > 0:
            at = text.rfind("\n#", 0, at) + 1
            m = _MARKER.match(text, at)
            if m is not None:
                file = self.name if m[2] is None else m[2].replace('\\"', '"').replace("\\\\", "\\")
                return file, max(int(m[1]) + text.count("\n", m.end(), start) - 1, 1)
        return self.name, text.count("\n", 0, start) + 1


def _opens_function(code: str, start: int, brace: int) -> bool:
    """Whether the `{` at `brace` opens a function's body, and not a record, an enum or an initialiser.

    A body follows a `)`; so may the brace of `struct __attribute__((packed)) {` and of `= (struct point) {`.
    """
    head = code[start:brace].rstrip()
    if head.endswith(")") and not any(word in head for word in ("=", "attribute", "align", "asm", "declspec")):
        return True
    while head:
        if head[-1] != ")":
            return False
        at = head.rfind("(")
        while head.count("(", at) < head.count(")", at):
            at = head.rfind("(", 0, at)
            if at < 0:
                return False
        before = head[:at].rstrip()
        if before.endswith(_ATTRIBUTE_WORDS):
            word = _LAST_WORD.search(before)
            assert word is not None
            if word[0] in _ATTRIBUTE_WORDS:
                head = before[: word.start()].rstrip()
                if head.endswith(("struct", "union", "enum")):
                    return False
                continue
        return "=" not in head or "=" not in _GROUP.sub("", head)
    return True  # the body after the parameter declarations of a K&R definition


def aggregate_before(code: str, start: int, at: int) -> str | None:
    """`struct`, `union` or `enum` if that stands before a tag at `at`, attributes between them left aside."""
    head = code[max(start, at - 1000) : at].rstrip()
    while head.endswith(")"):
        opening = head.rfind("(")
        while opening >= 0 and head.count("(", opening) < head.count(")", opening):
            opening = head.rfind("(", 0, opening)
        head = head[: max(opening, 0)].rstrip()
        word = _LAST_WORD.search(head)
        if word is None or word[0] not in _ATTRIBUTE_WORDS:
            return None
        head = head[: word.start()].rstrip()
    if head.endswith("]]"):
        head = head[: max(head.rfind("[["), 0)].rstrip()
    word = _LAST_WORD.search(head)
    return word[0] if word is not None and word[0] in ("struct", "union", "enum") else None

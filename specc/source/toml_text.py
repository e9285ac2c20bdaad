"""The words of TOML: strings, numbers and booleans, and where in the text each of them is.

In: decoded text, and an offset in it.  Out: a value and where it ends, a place, or the `Stop` of a mistake there.

    text = Text("a = 'b'", "a.toml")
    text.string(4)                  # ("b", 7)
    text.scalar("0x10", 4)          # 16
    text.span(0, 1)                 # Location("a.toml", 1, 1, 1, 2)
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import Final

from specc.diagnostics import Location, Stop, stop
from specc.source.document import MAX_INTEGER, MIN_INTEGER, Node, Value

_BASIC: Final = re.compile(r'"((?:[^"\\\n\r]++|\\[^\n\r])*+)"')
_LITERAL: Final = re.compile(r"'([^'\n\r]*+)'")
# Up to two quotes may stand right before the three that close; so the run that closes is three to five long.
_LONG_BASIC: Final = re.compile(r'"""(?:\r?\n)?+((?:[^"\\]++|\\[\s\S]|"{1,2}+(?!"))*+)("{3,5}+)')
_LONG_LITERAL: Final = re.compile(r"'''(?:\r?\n)?+((?:[^']++|'{1,2}+(?!'))*+)('{3,5}+)")
_ESCAPE: Final = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|([btnfr\"\\])|([ \t]*\r?\n[ \t\r\n]*)|)")
_ESCAPED: Final = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}
_DECIMAL: Final = re.compile(r"[+-]?(?:0|[1-9](?:_?[0-9])*)")
_PREFIXED: Final = re.compile(
    r"0x[0-9A-Fa-f](?:_?[0-9A-Fa-f])*|0o[0-7](?:_?[0-7])*|0b[01](?:_?[01])*",
)
_FLOAT: Final = re.compile(
    r"[+-]?(?:0|[1-9](?:_?[0-9])*)(?:\.[0-9](?:_?[0-9])*)?(?:[eE][+-]?[0-9](?:_?[0-9])*)?|[+-]?(?:inf|nan)"
)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}.*|[0-9]{2}:[0-9]{2}:[0-9]{2}.*")
_MAX_DIGITS: Final = 100  # more than any 64-bit number has, even in binary


class Text:
    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.file = file
        self.lines = [0, *(m.end() for m in re.finditer("\n", text))]  # where each line starts

    def place(self, offset: int) -> tuple[int, int]:
        line = bisect_right(self.lines, offset)
        return line, offset - self.lines[line - 1] + 1

    def span(self, start: int, end: int) -> Location:
        return Location(self.file, *self.place(start), *self.place(end))

    def node(self, value: Value, start: int, end: int) -> Node:
        return Node(value, self.file, *self.place(start), *self.place(end))

    def error(self, message: str, start: int, end: int | None = None, help: str | None = None) -> Stop:
        if start >= len(self.text):  # at the end of the file: show the end of the last line that has text
            start = end = len(self.text.rstrip())
        return stop("SP007", message, self.span(start, end if end is not None else start + 1), help=help)

    def offset(self, line: int, column: int) -> int:
        return self.lines[line - 1] + column - 1

    def scalar(self, token: str, start: int) -> Value:
        end = start + len(token)
        if token in ("true", "false"):
            return token == "true"
        if _DECIMAL.fullmatch(token) or _PREFIXED.fullmatch(token):
            number = MAX_INTEGER + 1
            if len(token) <= _MAX_DIGITS:
                number = int(token, 0) if token[:1] == "0" else int(token)
            if not MIN_INTEGER <= number <= MAX_INTEGER:
                raise stop("SP018", "the number does not fit into 64 bits", self.span(start, end))
            return number
        if _FLOAT.fullmatch(token):
            value = float(token)
            if value in (float("inf"), float("-inf")) and "inf" not in token:
                raise stop("SP018", "the number is too large", self.span(start, end))
            return value
        where = self.span(start, end)
        if _DATE.fullmatch(token):
            raise stop("SP019", "a spec has no dates and times", where, help="put it in quotes if it is a string")
        short = token if len(token) <= 60 else token[:57] + "..."
        raise stop("SP007", f"`{short}` is not a TOML value", where, help="put it in quotes if it is a string")

    def string(self, start: int) -> tuple[str, int]:
        """The string that begins at `start`, and where it ends."""
        text = self.text
        quote = text[start]
        if text.startswith(quote * 3, start):
            found = (_LONG_BASIC if quote == '"' else _LONG_LITERAL).match(text, start)
            if found is None:
                raise self.error("the string that begins here is never closed", start, start + 3)
            body = found.group(1) + found.group(2)[3:]
        else:
            found = (_BASIC if quote == '"' else _LITERAL).match(text, start)
            if found is None:
                raise self.error("the string that begins here is not closed on its line", start)
            body = found.group(1)
        if quote == '"' and "\\" in body:
            body = self.unescape(body, found.start(1))
        return body.replace("\r\n", "\n"), found.end()

    def unescape(self, body: str, start: int) -> str:
        def one(match: re.Match[str]) -> str:
            four, eight, letter, line = match.groups()
            if letter is not None:
                return _ESCAPED[letter]
            if line is not None:
                return ""
            digits = four or eight
            if digits is None:
                at = start + match.start()
                raise self.error("this escape is not known", at, at + 2, "in single quotes a backslash is a backslash")
            code = int(digits, 16)
            if code > 0x10FFFF or 0xD800 <= code < 0xE000:
                at = start + match.start()
                raise self.error("this is no Unicode character", at, start + match.end())
            return chr(code)

        return _ESCAPE.sub(one, body)

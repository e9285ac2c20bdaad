"""The text of a path -> its steps, each with its place.

parse_path("skb->cb[2].len", where).steps       # Step("skb", ...), Step("cb", ...), Step(None, 2, ...), Step("len", ...)
parse_path("[1].iov_len", where).steps          # of what a pointer leads to: Step(None, 1, ...), Step("iov_len", ...)
"""

from __future__ import annotations

import re
from typing import Final

from specc.diagnostics import Location, stop
from specc.path.nouns import Path, Step

MOST_STEPS: Final = 32
_TOKEN: Final = re.compile(
    r"(?P<space>[ \t]+)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<number>0[xX][0-9a-fA-F]+|[0-9]+)|(?P<op>->|\.|\[|\])"
)
_HELP: Final = "write names with `.` or `->` between them, and a number in `[]` for an element: `a.b->c[2].d`"


def parse_path(text: str, where: Location | None) -> Path:
    """The path that begins with a member's name, or with an index. Raises Stop (SP263)."""
    tokens = _tokens(text, where)
    steps: list[Step] = []
    at = 0

    def place(number: int) -> Location | None:
        return _part(text, where, *tokens[number][2:]) if number < len(tokens) else where

    def kind(number: int) -> str:
        return tokens[number][0] if number < len(tokens) else "end"

    def word(number: int) -> str:
        return tokens[number][1] if number < len(tokens) else "the end"

    while True:
        if kind(at) == "name":
            steps.append(Step(word(at), None, place(at)))
            at += 1
        elif steps or word(at) != "[":
            missing = f"before `{word(at)}`" if kind(at) != "end" else "at the end"
            raise stop("SP263", f"a member's name is missing {missing}", place(at), help=_HELP)
        while word(at) == "[":
            if kind(at + 1) != "number" or word(at + 2) != "]":
                raise stop("SP263", "the index of an element is a number", place(at + 1), help=_HELP)
            digits = word(at + 1)
            if len(digits) > 10 or (digits.isdigit() and digits != "0" and digits[0] == "0"):  # C has it octal
                raise stop("SP263", f"`{digits}` is no index", place(at + 1), help=_HELP)
            steps.append(Step(None, int(digits, 16 if digits[:2] in ("0x", "0X") else 10), place(at + 1)))
            at += 3
        if kind(at) == "end":
            break
        if word(at) not in (".", "->"):
            raise stop("SP263", f"`{word(at)}` is not expected here", place(at), help=_HELP)
        at += 1
    if len(steps) > MOST_STEPS:
        raise stop("SP263", f"the path has {len(steps)} steps, and {MOST_STEPS} are the most", where)
    return Path(text, where, tuple(steps))


def _tokens(text: str, where: Location | None) -> list[tuple[str, str, int, int]]:
    found: list[tuple[str, str, int, int]] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise stop("SP263", f"`{text[at]}` is nothing that a path has", _part(text, where, at, at + 1), help=_HELP)
        if match.lastgroup != "space":
            found.append((str(match.lastgroup), match[0], at, match.end()))
        at = match.end()
    return found


def _part(text: str, where: Location | None, start: int, end: int) -> Location | None:
    """The place of a part of a string of the spec; of the whole string where escapes or line breaks blur it."""
    if where is None:
        return None
    around = where.end_column - where.column - len(text)
    if where.line != where.end_line or around not in (0, 2):
        return where
    first = where.column + around // 2
    return Location(where.file, where.line, first + start, where.line, first + end)

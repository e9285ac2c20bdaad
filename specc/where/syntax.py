"""The text of a condition -> a tree in which every part knows its place.

In: what a spec says in `where:`.  Out: a Condition, or None after a finding.

    parse("nr > 16 && comm == \"nginx\"", where, report).names      # ("nr", "comm")

The grammar is C's for the operators that there are, with C's precedence; what C reads otherwise than people do (a chain
of comparisons, `a & 1 == 0`) is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple, TypeAlias

from specc.diagnostics import Location, Report, Stop, stop
from specc.noun import dataclass
from specc.path import MOST_STEPS, Path, Step

MOST_TOKENS: Final = 120  # a compiler bounds how deep parentheses are, and Python its stack
MOST_DEPTH: Final = 40
MOST_TEXT: Final = 64  # bytes of a string that one is compared with

_LEVELS: Final = (
    ("||",), ("&&",), ("|",), ("^",), ("&",), ("==", "!="), ("<", "<=", ">", ">="), ("<<", ">>"), ("+", "-"), ("*", "/", "%"),
)  # fmt: skip
LOGIC: Final = frozenset(("||", "&&"))
COMPARISONS: Final = frozenset(("==", "!=", "<", "<=", ">", ">="))
_BITS: Final = frozenset("|^&")
_SPACE: Final = re.compile(r"[ \t\r\n]+")
_TOKEN: Final = re.compile(
    r"""(?P<name>[A-Za-z_][A-Za-z0-9_]*) | (?P<number>[0-9][A-Za-z0-9_.]*)
    | (?P<char>'(?:[^'\\\n]|\\.)*') | (?P<text>"(?:[^"\\\n]|\\.)*")
    | (?P<op>\|\||&&|==|!=|<=|>=|<<|>>|->|[-|^&<>+*/%~!(),.?:=\[\]])""",
    re.VERBOSE,
)
_NUMBER: Final = re.compile(r"(0[xX][0-9a-fA-F]+|0[oO][0-7]+|[0-9]+)([uUlL]*)", re.ASCII)
_ESCAPE: Final = re.compile(r"\\(?:x([0-9a-fA-F]{1,2})|([0-7]{1,3})|(.))|([^\\])", re.DOTALL)
_SIMPLE: Final = {"n": 10, "t": 9, "r": 13, "a": 7, "b": 8, "f": 12, "v": 11, "\\": 92, "'": 39, '"': 34}


class Number(NamedTuple):
    """An integer with its C type: bytes, and whether signed."""

    value: int
    size: int
    signed: bool
    start: int
    stop: int


class Name(NamedTuple):
    """A name, and the path that begins at what it means."""

    text: str
    start: int
    stop: int
    path: Path | None = None


class Text(NamedTuple):
    value: bytes
    start: int
    stop: int


class Unary(NamedTuple):
    op: str
    operand: Tree
    start: int
    stop: int


class Binary(NamedTuple):
    """`at` is where the operator stands; `closed` that it is in parentheses of its own."""

    op: str
    left: Tree
    right: Tree
    start: int
    stop: int
    at: int
    closed: bool = False


class Starts(NamedTuple):
    """startswith(operand, text)"""

    operand: Name
    text: Text
    start: int
    stop: int


Tree: TypeAlias = "Number | Name | Text | Unary | Binary | Starts"


@dataclass(frozen=True, slots=True)
class Condition:
    """`text` as it stands in the spec, at `where`; `names` are those in it, each once."""

    text: str
    where: Location
    tree: Tree
    names: tuple[str, ...]

    @property
    def paths(self) -> tuple[tuple[str, Path], ...]:
        """The paths in it, each with the name that it begins at."""
        return tuple(_paths(self.tree))

    def part(self, start: int, stop: int) -> Location:
        return part(self.text, self.where, start, stop)


def _paths(tree: Tree) -> Iterator[tuple[str, Path]]:
    match tree:
        case Name(text=text, path=Path() as path):
            yield text, path
        case Unary(operand=operand) | Starts(operand=operand):
            yield from _paths(operand)
        case Binary(left=left, right=right):
            yield from _paths(left)
            yield from _paths(right)


def part(text: str, where: Location, start: int, stop: int) -> Location:
    """The place of a part of a string of the spec; of the whole string where escapes or line breaks blur it."""
    around = where.end_column - where.column - len(text)
    if where.line != where.end_line or around not in (0, 2):
        return where
    first = where.column + around // 2
    return Location(where.file, where.line, first + start, where.line, first + max(stop, start + 1))


def parse(text: str, where: Location, report: Report) -> Condition | None:
    """The condition; None after SP280, SP281, SP287 or SP288."""
    try:
        parser = _Parser(text, where)
        tree = parser.whole()
    except Stop as problem:
        report.diagnostics.append(problem.diagnostic)
        return None
    return Condition(text, where, tree, tuple(parser.names))


class _Token(NamedTuple):
    kind: str  # "name", "number", "char", "text", "op" or "end"
    text: str
    start: int
    stop: int


class _Parser:
    def __init__(self, text: str, where: Location) -> None:
        self.text = text
        self.where = where
        self.names: dict[str, None] = {}
        self.tokens = self.split()
        self.next = 0
        self.depth = 0

    def wrong(self, message: str, start: int, stop_: int, help_: str | None = None, code: str = "SP280") -> Stop:
        return stop(code, message, part(self.text, self.where, start, stop_), help=help_)

    def split(self) -> list[_Token]:
        found: list[_Token] = []
        at = 0
        while True:
            if space := _SPACE.match(self.text, at):
                at = space.end()
            if at == len(self.text):
                break
            match = _TOKEN.match(self.text, at)
            if match is None:
                if self.text[at] in "'\"":
                    raise self.wrong(f"this {self.text[at]} is not closed", at, len(self.text))
                raise self.wrong(f"`{self.text[at]}` is no part of a condition", at, at + 1)
            assert match.lastgroup is not None
            found.append(_Token(match.lastgroup, match[0], at, match.end()))
            at = match.end()
            if len(found) > MOST_TOKENS:
                message = f"a condition has at most {MOST_TOKENS} words and signs"
                raise self.wrong(message, found[-1].start, at, "record more, and choose among the records", "SP281")
        found.append(_Token("end", "", len(self.text), len(self.text)))
        return found

    @property
    def token(self) -> _Token:
        return self.tokens[self.next]

    def take(self) -> _Token:
        self.next += 1
        return self.tokens[self.next - 1]

    def whole(self) -> Tree:
        tree = self.level(0)
        token = self.token
        if token.kind == "end":
            return tree
        if token.text == "=":
            raise self.wrong("`=` compares nothing", token.start, token.stop, "write `==`")
        if token.text in ("?", ":"):
            raise self.wrong("`?:` is not in the language of conditions", token.start, token.stop,
                             "write it with `&&` and `||`", "SP287")  # fmt: skip
        self.no_path(token)
        raise self.wrong(f"`{token.text}` is not expected here", token.start, token.stop,
                         "an operator may be missing before it" if token.kind != "op" else None)  # fmt: skip

    def no_path(self, token: _Token) -> None:
        if token.text in ("->", ".", "["):
            raise self.wrong("only a name has members and elements", token.start, token.stop,
                             "write `NAME->MEMBER` without parentheses", "SP287")  # fmt: skip

    def name(self, token: _Token) -> Name:
        """A name that was taken, with the members and elements after it."""
        self.names[token.text] = None
        steps: list[Step] = []
        first = self.token.start if self.token.text == "[" else self.token.stop
        while self.token.text in ("->", ".", "["):
            sign = self.take()
            word = self.take()
            place = part(self.text, self.where, word.start, word.stop)
            if sign.text == "[":
                if word.kind != "number" or self.token.text != "]":
                    raise self.wrong("the index of an element is a number", word.start, max(word.stop, word.start + 1),
                                     None, "SP287")  # fmt: skip
                self.take()
                steps.append(Step(None, self.number(word).value, place))
            elif word.kind != "name":
                raise self.wrong("a member's name is missing", word.start, max(word.stop, word.start + 1))
            else:
                steps.append(Step(word.text, None, place))
        if not steps:
            return Name(token.text, token.start, token.stop)
        if len(steps) > MOST_STEPS:
            raise self.wrong(f"the path has {len(steps)} steps, and {MOST_STEPS} are the most", token.start,
                             self.tokens[self.next - 1].stop, None, "SP281")  # fmt: skip
        end = self.tokens[self.next - 1].stop
        text = re.sub(r"\s", "", self.text[first:end])
        return Name(
            token.text, token.start, end, Path(text, part(self.text, self.where, token.start, end), tuple(steps))
        )

    def level(self, number: int) -> Tree:
        if number == len(_LEVELS):
            return self.unary()
        left = self.level(number + 1)
        while self.token.kind == "op" and self.token.text in _LEVELS[number]:
            op = self.take()
            right = self.level(number + 1)
            left = Binary(op.text, left, right, left.start, right.stop, op.start)
            self.clear(left)
        return left

    def clear(self, tree: Binary) -> None:
        """Refuse what C reads in another way than it looks."""
        for side in (tree.left, tree.right):
            if not isinstance(side, Binary) or side.closed or side.op not in COMPARISONS:
                continue
            inner = self.text[side.start : side.stop]
            if tree.op in COMPARISONS:
                raise self.wrong(
                    f"`{side.op}` gives 0 or 1, and `{tree.op}` would compare that", side.start, tree.stop,
                    "write two comparisons with `&&` between them, or parentheses", "SP288",
                )  # fmt: skip
            if tree.op in _BITS:
                raise self.wrong(
                    f"C reads this as `{tree.op}` with `({inner})`", tree.start, tree.stop,
                    f"put `{tree.op}` and what it joins in parentheses", "SP288",
                )  # fmt: skip

    def unary(self) -> Tree:
        self.depth += 1
        token = self.token
        if self.depth > MOST_DEPTH:
            raise self.wrong(f"a condition is at most {MOST_DEPTH} deep", token.start, token.stop, None, "SP281")
        if token.kind == "op" and token.text in ("!", "~", "-", "+"):
            self.take()
            operand = self.unary()
            tree: Tree = Unary(token.text, operand, token.start, operand.stop)
        else:
            tree = self.primary()
        self.depth -= 1
        return tree

    def primary(self) -> Tree:
        token = self.take()
        tree: Tree
        match token.kind:
            case "number":
                tree = self.number(token)
            case "char":
                value = self.unescape(token)
                if len(value) != 1:
                    raise self.wrong("a character is one byte in quotes", token.start, token.stop,
                                     f'a string has double quotes: "{token.text[1:-1]}"')  # fmt: skip
                tree = Number(value[0] - 256 if value[0] > 127 else value[0], 4, True, token.start, token.stop)
            case "text":
                tree = self.string(token)
            case "name" if self.token.text == "(":
                tree = self.call(token)
            case "name":
                tree = self.name(token)
            case _ if token.text == "(":
                tree = self.level(0)
                if self.token.text != ")":
                    raise self.wrong("this parenthesis is not closed", token.start, token.stop)
                self.take()
                if isinstance(tree, Binary):
                    tree = tree._replace(closed=True, start=token.start, stop=self.tokens[self.next - 1].stop)
            case "end":
                raise self.wrong("something is missing at the end", max(token.start - 1, 0), token.stop)
            case _:
                raise self.wrong(f"`{token.text}` is not expected here", token.start, token.stop)
        self.no_path(self.token)
        return tree

    def call(self, called: _Token) -> Tree:
        if called.text != "startswith":
            raise self.wrong(f"there is no function `{called.text}` in conditions", called.start, called.stop,
                             'there is `startswith(NAME, "text")`', "SP287")  # fmt: skip
        self.take()
        operand = self.take()
        name = self.name(operand) if operand.kind == "name" else None
        comma = self.take()
        text = self.take()
        close = self.take() if text.kind != "end" else text
        if name is None or (comma.text, text.kind, close.text) != (",", "text", ")"):
            raise self.wrong("`startswith` takes a name and a string", called.start, min(close.stop, len(self.text)),
                             'write `startswith(NAME, "text")`')  # fmt: skip
        return Starts(name, self.string(text), called.start, close.stop)

    def string(self, token: _Token) -> Text:
        value = self.unescape(token)
        if b"\0" in value:
            raise self.wrong("a string ends at a NUL, so none is in it", token.start, token.stop)
        if len(value) > MOST_TEXT:
            message = f"a string in a condition has at most {MOST_TEXT} bytes, and this has {len(value)}"
            raise self.wrong(message, token.start, token.stop, None, "SP281")
        return Text(value, token.start, token.stop)

    def number(self, token: _Token) -> Number:
        found = _NUMBER.fullmatch(token.text)
        if found is None:
            raise self.wrong(f"`{token.text}` is no integer", token.start, token.stop,
                             "write it as 10, 0xa or 0o12; `u` and `l` may follow")  # fmt: skip
        digits, suffix = found[1], found[2].lower()
        if suffix not in ("", "u", "l", "ul", "lu", "ll", "ull", "llu"):
            raise self.wrong(f"`{found[2]}` is no suffix of an integer", token.start, token.stop, "`u`, `l` or `ul`")
        plain = digits.isdigit()
        if plain and len(digits) > 1 and digits[0] == "0":
            raise self.wrong("C and YAML read a number with a zero before it differently", token.start, token.stop,
                             f"write 0o{digits.lstrip('0') or '0'} or {digits.lstrip('0') or '0'}")  # fmt: skip
        value = int(digits, 10 if plain else 0) if len(digits) < 40 else 1 << 64
        # C11 6.4.4.1p5: the first type that holds it; a decimal number is unsigned only when it says so.
        for size, signed in ((4, True), (4, False), (8, True), (8, False)):
            if (
                (signed and "u" in suffix)
                or (size == 4 and "l" in suffix)
                or (plain and not signed and "u" not in suffix)
            ):
                continue
            if value < 1 << (8 * size - signed):
                return Number(value, size, signed, token.start, token.stop)
        raise self.wrong(f"`{token.text}` does not fit into 64 bits", token.start, token.stop,
                         "add a `u`" if value < 1 << 64 else None)  # fmt: skip

    def unescape(self, token: _Token) -> bytes:
        made = bytearray()
        for match in _ESCAPE.finditer(token.text[1:-1]):
            at = token.start + 1 + match.start()
            if match[1]:
                made.append(int(match[1], 16))
            elif match[2] and int(match[2], 8) < 256:
                made.append(int(match[2], 8))
            elif match[4]:
                made += match[4].encode("utf-8", "surrogatepass")
            elif match[3] and match[3] in _SIMPLE:
                made.append(_SIMPLE[match[3]])
            else:
                raise self.wrong(f"`{match[0]}` is no escape", at, at + len(match[0]), r"write a backslash as `\\`")
        return bytes(made)

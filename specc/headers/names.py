"""Which names a chunk declares, told from its tokens without parsing it.

In: the searchable code of a chunk.  Out: names, and whether each is a typedef or a function.

    declared_names(scan, a, b)      # `typedef int (*handler)(int), flag;` -> handler and flag, both typedefs

Building the table of type names must come before pycparser sees anything (C's grammar needs to know them), and
listing 10,000 functions must not parse 10,000 declarations.
"""

from __future__ import annotations

import re
from typing import Final

from specc.headers.clean import clean
from specc.headers.scan import Scan
from specc.noun import dataclass


@dataclass(frozen=True, slots=True)
class Declared:
    """`base` is the typedef name that is the whole type of the declarator: it may be a function's type."""

    name: str
    typedef: bool
    function: bool
    base: str | None


_KEYWORDS = """
    auto break case char const continue default do double else enum extern float for goto if inline int long
    register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while
    _Alignas _Alignof _Atomic _Bool _Complex _Generic _Noreturn _Static_assert _Thread_local __int128
    __attribute__ __attribute __extension__ __inline __inline__ __restrict __restrict__ __const __const__ __volatile__
    __volatile __signed__ __signed __thread asm __asm__ __asm typeof __typeof__ __typeof __typeof_unqual__ typeof_unqual
    _BitInt __complex__ __complex __declspec static_assert constexpr thread_local
"""
KEYWORDS: Final = frozenset(_KEYWORDS.split())
_QUALIFIERS: Final = frozenset({"const", "volatile", "restrict", "_Atomic"})
_STORAGE_WORDS = "typedef extern static inline register auto _Thread_local _Noreturn"
_STORAGE: Final = frozenset(_STORAGE_WORDS.split())
_TYPE_WORDS = "void char short int long float double signed unsigned _Bool _Complex __int128 struct union enum"
TYPES: Final = frozenset(_TYPE_WORDS.split())
_FUNCTION: Final = re.compile(r"[\s\w*]*?([A-Za-z_$][\w$]*)\s*\(")
_TYPEDEF_TAIL: Final = re.compile(r"([A-Za-z_$][\w$]*)\s*;$")
_TYPEDEF_POINTER: Final = re.compile(r"\(\s*\*\s*([A-Za-z_$][\w$]*)\s*\)\s*\(")
_TYPEDEF_WORD: Final = re.compile(r"\btypedef\b")
_TOKEN: Final = re.compile(r"[A-Za-z_$][\w$]*|[^\s\w]")


def fast_function(code: str, start: int, end: int) -> str | None:
    """The one function that a plain declaration declares, "" if it clearly declares none, None if in doubt."""
    first = code.find("(", start, end)
    m = _FUNCTION.match(code, start, end)
    if m is None or m.end() - 1 != first:
        return None
    name = m[1]
    if name in KEYWORDS or code.count("(", first, end) != 1:
        return None if name in KEYWORDS else _nested(code, name, start, first, end)
    tail = code.find(")", first, end)
    if "," in code[tail:end] or "=" in code[tail:end] or not code[start : m.start(1)].strip():
        return None
    return "" if _TYPEDEF_WORD.search(code, start, first) else name


def _nested(code: str, name: str, start: int, first: int, end: int) -> str | None:
    """The same for a declaration whose parameters have parentheses, if nothing follows the parameter list."""
    depth = 0
    for m in re.compile(r"[()]").finditer(code, first, end):
        depth += 1 if m[0] == "(" else -1
        if not depth:
            rest = code[m.end() : end]
            if (
                rest.strip() not in ("", ";")
                or _TYPEDEF_WORD.search(code, start, first)
                or not code[start:first].strip()
            ):
                return None
            return name
    return None


def fast_typedef(code: str, start: int, end: int) -> str | None:
    """The one name of a plain typedef; None if in doubt."""
    tail = max(code.rfind("}", start, end), start)
    text = code[tail:end]
    if "," in text:
        if "(" not in text:
            return None
        m = _TYPEDEF_POINTER.search(text)
        return m[1] if m is not None and _plain_pointer(text, m) else None
    if "(" in text:
        m = _TYPEDEF_POINTER.search(text)
        return m[1] if m is not None and _plain_pointer(text, m) else None
    if "[" in text:
        return None
    m = _TYPEDEF_TAIL.search(text)
    return m[1] if m is not None and m[1] not in KEYWORDS else None


def _plain_pointer(text: str, m: re.Match[str]) -> bool:
    """`typedef T (*name)(parameters);` with no other parenthesis before or after."""
    if "(" in text[: m.start()]:
        return False
    depth = 0
    for at in range(m.end() - 1, len(text)):
        depth += (text[at] == "(") - (text[at] == ")")
        if not depth:
            return text[at + 1 :].strip() == ";"
    return False


def declared_names(scan: Scan, start: int, end: int) -> list[Declared]:
    """Every name that the declarators of a chunk declare, in order."""
    tokens = _TOKEN.findall(clean(scan, start, end).text)
    out: list[Declared] = []
    typedef, base, at = False, None, 0
    typed = False
    while at < len(tokens):  # the specifiers
        word = tokens[at]
        if word in ("struct", "union", "enum"):
            typed = True
            at += 1
            if at < len(tokens) and _is_name(tokens[at]):
                at += 1
            if at < len(tokens) and tokens[at] == "{":
                at = _skip(tokens, at)
            continue
        if word == "typedef":
            typedef = True
        elif word == "_Atomic" and tokens[at + 1 : at + 2] == ["("]:
            typed = True
            at = _skip(tokens, at + 1)
            continue
        elif word in TYPES:
            typed = True
        elif word not in _STORAGE and word not in _QUALIFIERS:
            if typed or not _is_name(word):
                break
            typed, base = True, word
        at += 1
    while at < len(tokens) and tokens[at] != ";":
        at = _declarator(tokens, at, typedef, base, out)
        while at < len(tokens) and tokens[at] not in (",", ";"):  # an initialiser, a width
            at = _skip(tokens, at) if tokens[at] in "([{" else at + 1
        if at < len(tokens) and tokens[at] == ",":
            at += 1
    return out


def _is_name(token: str) -> bool:
    return (token[0].isalpha() or token[0] in "_$") and token not in KEYWORDS


def _skip(tokens: list[str], at: int) -> int:
    """The index after the bracket group that opens at `at`."""
    depth = 0
    while at < len(tokens):
        if tokens[at] in ("(", "[", "{"):
            depth += 1
        elif tokens[at] in (")", "]", "}"):
            depth -= 1
            if not depth:
                return at + 1
        at += 1
    return at


def _declarator(tokens: list[str], at: int, typedef: bool, base: str | None, out: list[Declared]) -> int:
    """Note the name of one declarator; returns the index after it and its suffixes."""
    stars = 0
    opened: list[int] = []  # stars seen before each parenthesis around the name
    while at < len(tokens):
        token = tokens[at]
        if token == "*":
            stars += 1
        elif token == "(":
            opened.append(stars)
            stars = 0
        elif token not in _QUALIFIERS:
            break
        at += 1
    if at >= len(tokens) or not _is_name(tokens[at]):
        return at
    name = tokens[at]
    at += 1
    function = tokens[at : at + 1] == ["("]
    plain = not stars and not opened and not function and tokens[at : at + 1] != ["["]
    total = stars
    # `int (foo)(int)` is a function, `int (*foo)(int)` is not: only parentheses without a star are looked through.
    while opened:
        while at < len(tokens) and tokens[at] in ("(", "["):
            at = _skip(tokens, at)
        if at < len(tokens) and tokens[at] == ")":
            at += 1
        if not function and not total and tokens[at : at + 1] == ["("]:
            function = True
        total += opened.pop()
    while at < len(tokens) and tokens[at] in ("(", "["):
        at = _skip(tokens, at)
    out.append(Declared(name, typedef, function, base if plain else None))
    return at


def type_candidates(text: str) -> list[tuple[str, int]]:
    """Identifiers (and their offsets in cleaned text) that stand where only a type name can: first in a declaration,
    a member or a parameter. For the error that names an unknown type; pycparser only says that it is lost."""
    tokens = [(m[0], m.start()) for m in _TOKEN.finditer(text)]
    out: list[tuple[str, int]] = []
    open_: list[str] = []  # for each open bracket: "parameters", "members" or ""
    fresh = True  # no type specifier yet
    for at, (token, offset) in enumerate(tokens):
        before = tokens[at - 1][0] if at else ""
        if token == "(":
            is_list = before == ")" or before == "]" or (_is_name(before or "(") and not fresh)
            open_.append("parameters" if is_list else "")
            fresh = fresh or is_list
        elif token == "{":
            earlier = [t for t, _ in tokens[max(0, at - 2) : at]]
            is_record = any(t in ("struct", "union") for t in earlier)
            open_.append("members" if is_record else "")
            fresh = is_record
        elif token in ("[",):
            open_.append("")
        elif token in (")", "]", "}"):
            if open_:
                open_.pop()
            fresh = False
        elif (token == "," and open_[-1:] == ["parameters"]) or (token == ";" and open_[-1:] in ([], ["members"])):
            fresh = True
        elif token in TYPES:
            fresh = False
        elif fresh and _is_name(token) and open_[-1:] in ([], ["parameters"], ["members"]):
            if tokens[at + 1 : at + 2] and tokens[at + 1][0] == "(" and not open_:
                fresh = False  # `f(int)`: the return type is missing, which the parser says better
                continue
            out.append((token, offset))
            fresh = False
    return out

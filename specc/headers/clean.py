"""GNU C -> the C that pycparser reads, in place: every token that stays keeps its offset.

In: a range of a `Scan`.  Out: `Cleaned`: text of the same length, and in side tables what was taken out of it.

    clean(scan, a, b).text          # "int f(char  *p)                      ;"
    clean(scan, a, b).attributes    # [Attribute("ms_abi", ...)]

Attributes, asm labels and `__extension__` are blanked, GNU spellings become standard ones, and types that pycparser
has no syntax for become identifiers beginning with `$` that `convert` looks up in `placeholders`.
"""

from __future__ import annotations

import re
from typing import Final

from specc.headers.attributes import HARMLESS, TAGS, Attribute, matching, split_attributes
from specc.headers.scan import Scan
from specc.noun import dataclass, field


@dataclass(frozen=True, slots=True)
class Placeholder:
    """`kind` is "typeof", "typeof_unqual", "bitint", "ubitint", "complex" or "compatible"; the range is its operand."""

    kind: str
    start: int
    end: int


@dataclass(slots=True)
class Cleaned:
    start: int
    text: str
    attributes: list[Attribute] = field(default_factory=list)
    placeholders: dict[str, Placeholder] = field(default_factory=dict)
    alignofs: set[int] = field(default_factory=set)  # offsets of a `sizeof` that was `__alignof__`
    ellipses: set[int] = field(default_factory=set)  # offsets of an `int` that was the `...` of C23's `f(...)`
    enum_types: dict[int, tuple[int, int]] = field(default_factory=dict)  # brace -> `enum e : TYPE {` (C23)


_WORDS: Final = {
    "__extension__": "", "__restrict": "restrict", "__restrict__": "restrict", "__inline": "inline",
    "__inline__": "inline", "__volatile__": "volatile", "__volatile": "volatile", "__const": "const",
    "__const__": "const", "__signed__": "signed", "__signed": "signed", "__thread": "", "thread_local": "",
    "constexpr": "", "_Noreturn": "", "__complex__": "_Complex", "__complex": "_Complex", "_Nonnull": "",
    "_Nullable": "", "_Null_unspecified": "", "__builtin_offsetof": "offsetof",
    "__alignof__": "sizeof", "__alignof": "sizeof", "_Alignof": "sizeof", "alignof": "sizeof", "__force": "",
}  # fmt: skip
_ALIGNOF: Final = frozenset({"__alignof__", "__alignof", "_Alignof", "alignof"})

_SPECIAL: Final = re.compile(
    r"\b(?:(?P<attribute>__attribute(?:__)?)\b"
    r"|(?P<asm>asm|__asm__|__asm)\b"
    r"|(?P<bitint>(?:(?:un)?signed\s+)?(?:_BitInt|_ExtInt))\s*(?=\()"
    r"|(?P<typeof>(?:__)?typeof(?:_unqual)?(?:__)?)\s*(?=\()"
    r"|(?P<complex>(?:_Complex|__complex__|__complex)\s+(?:_Float\d+x?|__float128|__float80))\b"
    r"|(?P<alignas>_Alignas|alignas)\s*(?=\()"
    r"|(?P<assert>_Static_assert|static_assert)\s*(?=\()"
    r"|(?P<compatible>__builtin_types_compatible_p)\s*(?=\()"
    r"|(?P<enum>enum)(?=[^{};,()=:]*:[\w\s]+\{)"
    # glibc has parameters called `__user`: a tag is followed by more of the declaration.
    rf"|(?P<tag>{'|'.join(sorted(TAGS))})\b(?=\s*[\w*(])"
    rf"|(?P<word>{'|'.join(sorted(_WORDS, key=len, reverse=True))})\b)"
    r"|(?P<c23>\[\s*\[)"
    r"|(?<=\()\s*(?P<ellipsis>\.\.\.)(?=\s*\))"
)
_LITERAL: Final = re.compile(r""""[^"]*"|'[^']*'""")
_ASM_QUALIFIERS: Final = re.compile(r"\s*(?:(?:volatile|__volatile__|goto|inline)\s*)*")


def clean(scan: Scan, start: int, end: int) -> Cleaned:
    code = scan.code
    out = list(code[start:end])
    for m in _LITERAL.finditer(code, start, end):
        out[m.start() - start : m.end() - start] = scan.text[m.start() : m.end()]
    result = Cleaned(start, "")
    done = start
    for m in _SPECIAL.finditer(code, start, end):
        if m.start() < done:
            continue
        kind = m.lastgroup
        assert kind is not None
        replacement, stop_at = "", m.end()
        match kind:
            case "attribute":
                stop_at = _group(code, m.end(), end)
                _gnu(code, m.end(), stop_at, result)
            case "c23":
                stop_at = min(matching(code, m.start(), end) + 1, end)
                result.attributes += _relevant(split_attributes(code, m.end(), stop_at - 2))
            case "asm":
                qualifiers = _ASM_QUALIFIERS.match(code, m.end(), end)
                stop_at = _group(code, qualifiers.end() if qualifiers else m.end(), end)
            case "alignas":
                stop_at = _group(code, m.end(), end)
                inside = (code.index("(", m.end()) + 1, stop_at - 1)
                result.attributes.append(Attribute("aligned", inside, m.start(), stop_at, alignas=True))
            case "assert":
                stop_at = _group(code, m.end(), end)
            case "typeof" | "bitint" | "compatible":
                stop_at = _group(code, m.end(), end)
                inside = (code.index("(", m.end()) + 1, stop_at - 1)
                if kind == "typeof" and "unqual" in m[0]:
                    kind = "typeof_unqual"
                elif kind == "bitint" and m[0].startswith("unsigned"):
                    kind = "ubitint"
                replacement = f"${len(result.placeholders)}"
                result.placeholders[replacement] = Placeholder(kind, *inside)
            case "complex":
                word = m[0].split()[-1]
                replacement = f"${len(result.placeholders)}"
                result.placeholders[replacement] = Placeholder("complex", m.end() - len(word), m.end())
            case "enum":
                colon, brace = code.index(":", m.end()), code.index("{", m.end())
                if not code[colon + 1 : brace].strip():
                    continue
                result.enum_types[brace] = (colon + 1, brace)
                out[colon - start : brace - start] = " " * (brace - colon)
                continue
            case "ellipsis":
                result.ellipses.add(m.start("ellipsis"))
                out[m.start("ellipsis") - start : m.end() - start] = "int"
                continue
            case "tag":
                result.attributes.append(Attribute(m[0], None, m.start(), m.end()))
            case _:
                replacement = _WORDS[m[0]]
                if m[0] in _ALIGNOF:
                    result.alignofs.add(m.start())
        done = stop_at
        out[m.start() - start : stop_at - start] = _fit(code, m.start(), stop_at, replacement)
    result.text = "".join(out)
    return result


def _fit(code: str, start: int, end: int, replacement: str) -> list[str]:
    """`replacement`, then blanks up to the same length; line ends stay, so that lines keep their numbers."""
    new = [c if c == "\n" else " " for c in code[start:end]]
    new[: len(replacement)] = replacement
    return new


def _group(code: str, at: int, end: int) -> int:
    """The offset after the parenthesised group that begins at or after `at`."""
    while at < end and code[at].isspace():
        at += 1
    return min(matching(code, at, end) + 1, end) if at < end and code[at] == "(" else at


def _gnu(code: str, start: int, end: int, result: Cleaned) -> None:
    outer = code.find("(", start, end)
    inner = code.find("(", outer + 1, end)
    if outer >= 0 and inner >= 0:
        result.attributes += _relevant(split_attributes(code, inner + 1, matching(code, inner, end)))


def _relevant(attributes: list[Attribute]) -> list[Attribute]:
    return [a for a in attributes if a.name not in HARMLESS]

"""`#pragma`s that change the layout of records.

In: the pragmas of a text, one after the other.  Out: the `#pragma pack` value in force.

    state = PackState()
    state.follow("pack(push, 1)")      # True: state.now is 1
    state.follow("GCC poison x")       # False: nothing to do with layouts
"""

from __future__ import annotations

import re
from typing import Final

from specc.headers.attributes import HARMLESS, plain

_PACK: Final = re.compile(r"pack\s*\(([^)]*)\)")
_ATTRIBUTES: Final = re.compile(r"(?:__attribute__\s*\(\(|\[\[\s*(?:\w+::)?)\s*(\w+)")
_VALUES: Final = ("0", "1", "2", "4", "8", "16")


class PackState:
    """`now` is the value in force, None without; `help` mends what `follow` last complained about."""

    def __init__(self) -> None:
        self.now: int | None = None
        self.help: str | None = None
        self._stack: list[tuple[str, int | None]] = []

    def follow(self, text: str) -> bool:
        """Take in one pragma; whether it may have changed `now`. Raises ValueError with what is wrong."""
        self.help = None
        word = re.match(r"\w*", text)
        match word[0] if word is not None else "":
            case "pack":
                m = _PACK.match(text)
                if m is not None and self._pack([w.strip() for w in m[1].split(",")] if m[1].strip() else []):
                    return True
                self.help = "use 1, 2, 4, 8 or 16, `push`, `pop`, or nothing"
                raise ValueError("is not understood")
            case "ms_struct" | "scalar_storage_order" | "options" | "align":
                if not re.search(r"\b(?:off|reset|default)\b", text):
                    raise ValueError("changes layouts")
                return True
            case "clang":
                m = re.match(r"clang\s+attribute\b(.*)", text)
                if m is not None and any(plain(name) not in HARMLESS for name in _ATTRIBUTES.findall(m[1])):
                    raise ValueError("changes layouts")
        return False

    def _pack(self, words: list[str]) -> bool:
        """gcc manual: pack(n), pack(), pack(push[, label][, n]), pack(pop[, label][, n]). False if it is none."""
        action = words.pop(0) if words and words[0] in ("push", "pop") else ""
        label = words.pop(0) if action and words and re.fullmatch(r"[A-Za-z_]\w*", words[0]) else ""
        if len(words) > 1 or (words and words[0] not in _VALUES):
            return False
        if action == "push":
            self._stack.append((label, self.now))
        elif action == "pop":
            if not label and self._stack:
                self.now = self._stack.pop()[1]
            elif any(name == label for name, _ in self._stack):
                while self._stack:
                    name, self.now = self._stack.pop()
                    if name == label:
                        break
        if words:
            self.now = int(words[0]) or None
        elif not action:
            self.now = None
        return True

"""Macros of headers that are integers: a prefix in, names with their values out, in the order of the headers.

    Macros(headers, include_dirs, defines, compiler).constants("O_", index)      # (("O_ACCMODE", 3), ("O_RDONLY", 0), ...)

The preprocessor is asked twice: which macros there are, and then what those with the prefix expand to, so that a macro
made of others is what C says it is. What is no integer constant (a string, a type, a statement) is no constant here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from specc.headers.index import HeaderIndex
from specc.headers.preprocess import preprocess

_DIRECTIVE: Final = re.compile(r"^#(define|undef) ([A-Za-z_]\w*)(?![\w(])", re.M | re.A)
_VALUE: Final = re.compile(r"^__specc_value\((\d+)\)(.*)$", re.M)


class Macros:
    """The macros of some headers, looked for when they are first wanted."""

    def __init__(
        self,
        headers: Sequence[Path],
        include_dirs: Sequence[Path],
        defines: Sequence[tuple[str, str]],
        compiler: Sequence[str],
    ) -> None:
        self._headers = headers
        self._include_dirs = include_dirs
        self._defines = defines
        self._compiler = compiler
        self._names: tuple[str, ...] | None = None
        self._constants: dict[str, tuple[tuple[str, int], ...]] = {}

    def names(self) -> tuple[str, ...]:
        """The macros without parameters."""
        if self._names is None:
            found: dict[str, None] = {}
            for what, name in _DIRECTIVE.findall(self._run(("-dD",), "")):
                if what == "define":
                    found[name] = None
                else:
                    found.pop(name, None)
            self._names = tuple(found)
        return self._names

    def constants(self, prefix: str, index: HeaderIndex, most: int) -> tuple[tuple[str, int], ...]:
        """Those that begin so and are integers; at most one more than `most` are looked at."""
        if prefix not in self._constants:
            names = [n for n in self.names() if n.startswith(prefix)][: most + 1]
            asked = "".join(f"__specc_value({i}) {name}\n" for i, name in enumerate(names))
            text = self._run((), asked) if names else ""
            values = {names[int(i)]: index.value(expression) for i, expression in _VALUE.findall(text)}
            self._constants[prefix] = tuple((n, v) for n in names if (v := values.get(n)) is not None)
        return self._constants[prefix]

    def _run(self, flags: Sequence[str], after: str) -> str:
        return preprocess(
            self._headers, self._include_dirs, self._defines, self._compiler, flags=flags, after=after
        ).text

"""Which chunks of a header's text may declare a name, told without parsing any.

In: a `Scan`.  Out: numbers of chunks, in the order of the text.

    chunks = Chunks(scan, is_function)
    chunks.typedefs["size_t"]               # [12]
    chunks.declaring("SSL_write")           # [4007]: functions, whose names stand outside of bodies
    chunks.tagged("struct", "stat")         # [311]: those that give it a body

Typedefs are found in one pass, for C's grammar needs all of their names; anything else is looked for when it is asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from specc.diagnostics import Location
from specc.headers.names import Declared, declared_names, fast_function, fast_typedef
from specc.headers.scan import Scan, aggregate_before

_TYPEDEF: Final = re.compile(r"\s*(?:__extension__\s+)?typedef\b")
_BRACE: Final = r"\s*(?::[\w\s]+)?\{"  # `enum e : TYPE {` in C23
_TAG: Final = re.compile(rf"\b([A-Za-z_$][\w$]*){_BRACE}")


class Chunks:
    """`is_function` is asked for what only a parser tells: whether a chunk declares this name, by `typeof`, a function."""

    def __init__(self, scan: Scan, is_function: Callable[[int, str], bool]) -> None:
        self._scan: Final = scan
        self._is_function: Final = is_function
        self._functions: dict[str, list[int]] | None = None
        self._tags: dict[tuple[str, str], list[int]] | None = None
        self.typedefs: Final = self._typedefs()

    def _typedefs(self) -> dict[str, list[int]]:
        """The chunks that declare each name of a type."""
        code = self._scan.code
        starts, ends = self._scan.starts, self._scan.ends
        table: dict[str, list[int]] = {}
        at = code.find("typedef")
        numbers: dict[int, None] = {}
        while at >= 0:
            number = self._scan.chunk_at(at)
            numbers[number] = None
            at = code.find("typedef", at + 7)
        for number in numbers:
            if number < 0 or number in self._scan.bodies:
                continue
            start, end = starts[number], ends[number]
            name = fast_typedef(code, start, end) if _TYPEDEF.match(code, start) else None
            if name is not None:
                table.setdefault(name, []).append(number)
                continue
            for found in declared_names(self._scan, start, end):
                if found.typedef:
                    table.setdefault(found.name, []).append(number)
        return table

    def functions(self) -> dict[str, list[int]]:
        """The chunks that declare each function, in the order of the first."""
        if self._functions is None:
            self._functions = {}
            for number in range(len(self._scan.starts)):
                for name in self._function_names(number):
                    self._functions.setdefault(name, []).append(number)
        return self._functions

    def declaring(self, name: str) -> list[int]:
        """Chunks that may declare the function: where its name stands outside bodies like a declared name."""
        if self._functions is not None:
            return self._functions.get(name, [])
        return [n for n in self.having(name) if name in self._function_names(n)]

    def having(self, name: str) -> list[int]:
        """The chunks that have a word, but not in a function's body."""
        code = self._scan.code
        out: dict[int, None] = {}
        at = code.find(name)
        size = len(name)
        while at >= 0:
            end = at + size
            if not (at and (code[at - 1].isalnum() or code[at - 1] in "_$")) and not (
                end < len(code) and (code[end].isalnum() or code[end] in "_$")
            ):
                number = self._scan.chunk_at(at)
                if at < self._scan.bodies.get(number, at + 1):
                    out[number] = None
            at = code.find(name, end)
        return list(out)

    def enumerating(self, name: str) -> Iterator[int]:
        """The chunks with an enum that may have the constant."""
        pattern = re.compile(rf"\b{re.escape(name)}\s*(?:[,=}}\[]|__attribute__)")
        for number in self.having(name):
            if number in self._scan.aggregates and pattern.search(
                self._scan.code, self._scan.starts[number], self._scan.ends[number]
            ):
                yield number

    def tags(self) -> dict[tuple[str, str], list[int]]:
        """The chunks that define each (kind, tag) of a record or an enum."""
        if self._tags is None:
            self._tags = {}
            code = self._scan.code
            for number in self._scan.aggregates:
                for m in _TAG.finditer(code, self._scan.starts[number], self._scan.ends[number]):
                    kind = aggregate_before(code, self._scan.starts[number], m.start())
                    if kind is not None:
                        self._tags.setdefault((kind, m[1]), []).append(number)
        return self._tags

    def tagged(self, kind: str, tag: str) -> list[int]:
        """The chunks that may define this one; another than `kind` may have the tag in them."""
        if self._tags is not None:
            return self._tags.get((kind, tag), [])
        chunks = [n for n in self.having(tag) if n in self._scan.aggregates]
        pattern = re.compile(rf"\b{re.escape(tag)}{_BRACE}")
        code, starts, ends = self._scan.code, self._scan.starts, self._scan.ends
        return [n for n in chunks if pattern.search(code, starts[n], ends[n])]

    def where(self, number: int) -> Location:
        code, start = self._scan.code, self._scan.starts[number]
        return self._scan.location(start + len(code[start:]) - len(code[start:].lstrip()))

    def _function_names(self, number: int) -> list[str]:
        scan = self._scan
        start, end = scan.starts[number], scan.bodies.get(number, scan.ends[number])
        if number not in scan.aggregates:
            fast = fast_function(scan.code, start, end)
            if fast is not None:
                return [fast] if fast else []
        elif "(" not in scan.code[scan.code.rfind("}", start, end) : end] + scan.code[start : scan.aggregates[number]]:
            return []
        out = []
        for found in declared_names(scan, start, end):
            if found.typedef:
                continue
            if found.function or (found.base is not None and self._declares_function(number, found)):
                out.append(found.name)
        return out

    def _declares_function(self, number: int, found: Declared) -> bool:
        assert found.base is not None
        if not found.base.startswith("$"):
            return self._names_function(found.base)
        return self._is_function(number, found.name)  # `typeof(f) g;`: only its type tells

    def _names_function(self, base: str) -> bool:
        """Whether a typedef name stands for a function type (`typedef int fn(int); fn foo;`)."""
        seen: set[str] = set()
        name: str | None = base
        while name is not None and name not in seen:
            seen.add(name)
            chunks, following = self.typedefs.get(name, ()), None
            for found in (
                declared_names(self._scan, self._scan.starts[chunks[0]], self._scan.ends[chunks[0]]) if chunks else ()
            ):
                if found.name == name:
                    if found.function:
                        return True
                    following = found.base
            name = following
        return False

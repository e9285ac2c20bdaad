"""What values are called where a prototype comes from: the enums and macros of headers, the enums of BTF.

    Vocabulary(index, macros, targets, prototype).constants(Word("FOLL_", where), report)
    # (("FOLL_WRITE", 1), ...), or None when there is nothing of that name, which is reported

The headers of a spec go first, as they do for prototypes; then BTF, where the enums of all targets are held against one
another; then the enums that the prototype itself speaks of, which is what debug information tells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from specc.diagnostics import Report, did_you_mean
from specc.lower.shown import MOST_NAMES, Constants, agreed
from specc.noun import dataclass
from specc.prototype import CType, Enum, Pointer, Prototype, Qualified, Typedef, bare
from specc.sources import Target
from specc.spec import Word

if TYPE_CHECKING:
    from specc.headers import HeaderIndex, Macros

_MOST_SAID = 3


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """`macros` and `targets` are asked for when they are needed: both take a while."""

    index: HeaderIndex | None
    macros: Callable[[], Macros]
    targets: Callable[[], tuple[Target, ...]]
    prototype: Prototype

    def constants(self, word: Word, report: Report) -> Constants | None:
        name = word.text
        found = self._enum_of_headers(name)
        if found is not None:
            return found.members
        prefix = name.endswith("_")
        if prefix and self.index is not None:
            ours = self.index.constants(name)
            taken = {n for n, _ in ours}
            both = ours + tuple(m for m in self.macros().constants(name, self.index, MOST_NAMES) if m[0] not in taken)
            if both:
                return both
        on = {t.name: c for t in self.targets() if (c := _on(t, name, prefix)) is not None}
        if on:
            kept, left = agreed(on)
            if left:
                more = f", and {len(left) - _MOST_SAID} more" if len(left) > _MOST_SAID else ""
                report.warning(
                    "SP294", f"`{name}` is not alike on all targets; these values are recorded as numbers",
                    word.where, notes=[f"{'; '.join(left[:_MOST_SAID])}{more}"],
                )  # fmt: skip
            return kept
        found = _enum_of(self.prototype, name)
        if found is not None:
            return found.members
        self._nothing(word, prefix, report)
        return None

    def constant(self, name: str) -> int | None:
        """The value of one constant; None when there is none, or when the targets do not agree on it."""
        if self.index is not None:
            found = self.index.constant(name)
            if found is None:
                macros = self.macros().constants(name, self.index, MOST_NAMES)
                found = next((value for word, value in macros if word == name), None)
            if found is not None:
                return found
        for enum in _enums(self.prototype):
            if name in dict(enum.members):
                return dict(enum.members)[name]
        on = [next((v for b in t.btfs if (v := b.constant(name)) is not None), None) for t in self.targets()]
        return on[0] if on and len(set(on)) == 1 else None

    def _enum_of_headers(self, name: str) -> Enum | None:
        if self.index is None:
            return None
        found = self.index.enumeration(name)
        if found is None:
            alias = self.index.typedef(name)
            kind = bare(alias) if alias is not None else None
            found = kind if isinstance(kind, Enum) else None
        return found

    def _nothing(self, word: Word, prefix: bool, report: Report) -> None:
        name = word.text
        places = (["the headers"] if self.index is not None else []) + (["BTF"] if self.targets() else [])
        where = " or ".join(places) or "this spec: it has no headers"
        if prefix:
            names = list(self.macros().names()) if self.index is not None else []
            stems = {n[: i + 1] for n in names for i, c in enumerate(n) if c == "_" and i}
            report.error(
                "SP295", f"nothing that begins with `{name}` is a constant in {where}", word.where,
                help=did_you_mean(name, stems) or "name an enum, or a header that defines the macros in `headers`",
            )  # fmt: skip
            return
        near = [tag for kind, tag in self.index.records() if kind == "enum"] if self.index is not None else []
        near += [e.tag for e in _enums(self.prototype) if e.tag]
        near += [n for t in self.targets() for b in t.btfs for n in b.enums(name) if _on(t, n, False) is not None]
        help = did_you_mean(name, near) or "name an enum's tag, a typedef of one, or a prefix that ends in `_`"
        report.error("SP295", f"no enum `{name}` in {where}", word.where, help=help)


def _on(target: Target, name: str, prefix: bool) -> Constants | None:
    """The constants of an enum on a target, or those that begin so; of the kernel, or of the first module with any."""
    for btf in target.btfs:
        if prefix:
            if constants := btf.constants(name):
                return constants
            continue
        alias = btf.typedef(name)
        found = btf.enum(name) or (bare(alias) if alias is not None else None)
        if isinstance(found, Enum) and found.members:
            return found.members
    return None


def _enum_of(prototype: Prototype, name: str) -> Enum | None:
    """An enum of that tag, or with a typedef of that name, among the types of a prototype."""
    for ctype in _types(prototype):
        kind = bare(ctype)
        if isinstance(kind, Enum) and kind.members and (kind.tag == name or name in _aliases(ctype)):
            return kind
    return None


def _enums(prototype: Prototype) -> Iterable[Enum]:
    return (kind for ctype in _types(prototype) if isinstance(kind := bare(ctype), Enum))


def _types(prototype: Prototype) -> Iterator[CType]:
    for ctype in (prototype.result, *(p.type for p in prototype.parameters)):
        yield ctype
        if isinstance(pointer := bare(ctype), Pointer):
            yield pointer.target


def _aliases(ctype: CType) -> Iterator[str]:
    while isinstance(ctype, Typedef | Qualified):
        if isinstance(ctype, Typedef):
            yield ctype.name
        ctype = ctype.target

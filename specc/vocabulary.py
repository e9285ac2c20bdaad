"""What values are called where a prototype comes from: the enums and macros of headers, the enums of BTF.

    Vocabulary(index, macros, targets, prototype).constants(Word("FOLL_", where), report)
    # Called((("FOLL_WRITE", 1), ...), ...), or None when there is nothing of that name, which is reported

The headers of a spec go first, as they do for prototypes; then BTF, where the enums of all targets are held against one
another; then the enums that the prototype itself speaks of, which is what debug information tells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from specc.diagnostics import Report, Stop, did_you_mean
from specc.lower.shown import MOST_NAMES, Called, Constants, agreed
from specc.noun import dataclass
from specc.prototype import CType, Enum, Pointer, Prototype, Qualified, Typedef, bare
from specc.sources import Target
from specc.spec import Word

if TYPE_CHECKING:
    from specc.btf import Btf
    from specc.headers import HeaderIndex, Macros

_MOST_SAID = 3


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """`macros` and `targets` are asked for when they are needed: both take a while. `declared` are the targets that the spec
    is for, if it says; `targets` then these, else the running kernel. `on` has the function's prototypes out of BTF, by their
    targets."""

    index: HeaderIndex | None
    macros: Callable[[], Macros]
    declared: Callable[[], tuple[Target, ...]]
    targets: Callable[[], tuple[Target, ...]]
    prototype: Prototype
    on: Mapping[str, Prototype]

    def constants(self, word: Word, report: Report) -> Called | None:
        name = word.text
        found = self._enum_of_headers(name)
        if found is not None:
            return Called(found.members, found.members)
        prefix = name.endswith("_")
        if prefix and self.index is not None:
            ours = self.index.constants(name)
            taken = {n for n, _ in ours}
            both = ours + tuple(m for m in self.macros().constants(name, self.index, MOST_NAMES) if m[0] not in taken)
            if both:
                return Called(both, both)
        on = {t.name: c for t in self.targets() if (c := called_in(t.btfs, name)) is not None}
        if on:
            return self._of_targets(word, on, report)
        found = _enum_of(self.prototype, name)
        if found is not None:
            return Called(found.members, found.members)
        self._nothing(word, prefix, report)
        return None

    def _of_targets(self, word: Word, on: Mapping[str, Constants], report: Report) -> Called:
        """What is called alike on all targets. What one does not have is nobody's name for its values there: Linux 6.1 has
        no `FOLL_` in its BTF, and gives the bits other meanings than 6.12."""
        known = tuple({m: None for constants in on.values() for m in constants})
        lacking = [t.name for t in self.targets() if t.name not in on]
        if lacking:
            report.warning(
                "SP294", f"`{word.text}` is not in the BTF of {_listed(lacking)}: its values are numbers there, and for "
                "readers that do not know which kernel runs", word.where,
            )  # fmt: skip
            return Called((), known, btf=True)
        kept, left = agreed(on)
        if left:
            more = f", and {len(left) - _MOST_SAID} more" if len(left) > _MOST_SAID else ""
            report.warning(
                "SP294", f"`{word.text}` is not alike on all targets; these values are numbers for readers that do not know "
                "which kernel runs", word.where, notes=[f"{'; '.join(left[:_MOST_SAID])}{more}"],
            )  # fmt: skip
        return Called(kept, known, btf=True)

    def constant(self, name: str) -> tuple[int, bool] | str | None:
        """The value of one constant, and whether it is out of BTF; None when there is none. A text says how the targets
        disagree on it."""
        if self.index is not None:
            found = self.index.constant(name)
            if found is None:
                macros = self.macros().constants(name, self.index, MOST_NAMES)
                found = next((value for word, value in macros if word == name), None)
            if found is not None:
                return self._contradiction(name, found) or (found, False)
        if not self.on and (own := _value_of(self.prototype, name)) is not None:
            return own, False
        on = {t.name: value_in(t.btfs, self.on.get(t.name), name) for t in self.targets()}
        values = list(dict.fromkeys(on.values()))
        if values in ([], [None]):
            return None
        if len(values) == 1 and values[0] is not None:
            return values[0], True
        said = {v: _listed([target for target, value in on.items() if value == v]) for v in values}
        return "; ".join(f"on {t} it is {'not there' if v is None else v}" for v, t in said.items())

    def _contradiction(self, name: str, value: int) -> str:
        """How a target's BTF has a constant of the headers otherwise; what it does not have the headers may say."""
        theirs = {t.name: assumed_here(t.btfs, self.on.get(t.name), name) for t in self.declared()}
        others = {t: v for t, v in theirs.items() if v not in (None, value)}
        said = "; ".join(f"on {t} it is {v}" for t, v in others.items())
        return f"in the headers it is {value}; {said}" if said else ""

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
        near += [n for t in self.targets() for b in t.btfs for n in b.enums(name) if called_in(t.btfs, n) is not None]
        help = did_you_mean(name, near) or "name an enum's tag, a typedef of one, or a prefix that ends in `_`"
        report.error("SP295", f"no enum `{name}` in {where}", word.where, help=help)


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def value_in(btfs: Iterable[Btf], prototype: Prototype | None, name: str) -> int | None:
    """The value of a constant on one kernel: that of an enum of the function's own prototype there goes first. Raises Stop
    when several enums of the kernel give it different ones."""
    own = _value_of(prototype, name) if prototype is not None else None
    return own if own is not None else next((v for b in btfs if (v := b.constant(name)) is not None), None)


def assumed_here(btfs: Iterable[Btf], prototype: Prototype | None, name: str) -> int | None:
    """What a constant of a header is on one kernel; None where that does not say, or says several things."""
    try:
        return value_in(btfs, prototype, name)
    except Stop:
        return None


def _value_of(prototype: Prototype, name: str) -> int | None:
    return next((dict(e.members)[name] for e in _enums(prototype) if name in dict(e.members)), None)


def called_in(btfs: Iterable[Btf], name: str) -> Constants | None:
    """The constants of an enum on a kernel, or, with a `_` at the end, those that begin so; of the kernel, or of the first
    module with any."""
    for btf in btfs:
        if name.endswith("_"):
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

"""Functions, types and constants of one BTF by name.

In: a blob's bytes.  Out: `Prototype`s and C types by the names that a spec uses; a name that fits nothing, or more
than one thing, is a Stop with the place that the caller gives.

    btf = Btf(data, "vmlinux")
    btf.prototype("vfs_read", where)         # or Stop: SP234 unknown, SP235 ambiguous, SP236 base, SP237 a clone
    btf.find("cleanup")                      # all functions of that name
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, TypeVar

from specc.btf import blob as B
from specc.btf.blob import Blob
from specc.btf.types import Types
from specc.diagnostics import Location, did_you_mean, stop
from specc.prototype import (
    CType,
    Enum,
    Parameter,
    Pointer,
    Prototype,
    Record,
    Typedef,
    Void,
    bare,
    spell_prototype,
)

EMPTY: Final = (
    "BTF gives assembler functions an empty prototype, and functions of C without arguments the same: it may have "
    "arguments and a result that BTF does not tell"
)

# Suffixes of gcc's and clang's copies of a function. Those of `.isra` and `.constprop` take other arguments than the
# source says, those of `.part` and `.cold` are entered in the middle of it. `.llvm.123` is just a local name made global.
_CLONE: Final = re.compile(r"\.(isra|constprop|part|cold|lto_priv|specialized)(?:\.|$)")
_FUNC: Final = frozenset({B.FUNC})
_ENUMS: Final = frozenset({B.ENUM, B.ENUM64})
_T = TypeVar("_T")


class Btf:
    """One BTF. With `base` it is a module's: its functions and types come first, the base's after them."""

    def __init__(self, data: bytes, name: str, base: Btf | None = None) -> None:
        self.name: Final = name
        self.base: Final[Btf | None] = base
        self.blob: Final[Blob] = Blob(data, name, base.blob if base else None)
        self.types: Final[Types] = Types(self.blob, base.types if base else None)
        self._functions: list[str] | None = None
        self._constants: dict[str, set[int]] | None = None

    @property
    def source(self) -> str:
        return f"BTF of {self.name}"

    def functions(self) -> list[str]:
        """Names of all functions of this BTF (a module's without its base's), each once, in the file's order."""
        if self._functions is None:
            ids = self.blob.ids_of_kind(_FUNC)
            self._functions = list(dict.fromkeys(self.blob.text(self.blob.record(i).name_offset) for i in ids))
        return list(self._functions)

    def prototype(self, name: str, where: Location | None = None) -> Prototype:
        """The prototype of the one function with this name. `where` is the place in the spec that names it."""
        found = self.find(name)
        if len(found) == 1 and not _CLONE.search(name):
            return found[0]
        base_name = _CLONE.split(name, maxsplit=1)[0]
        if base_name != name:
            raise stop(
                "SP237",
                f"`{name}` is a copy of `{base_name}` that the compiler specialised; "
                "its arguments are not where the prototype says",
                where,
                help="probe a function that calls it, or one that it calls",
            )
        if found:
            raise self._ambiguous(name, found, where)
        raise self._unknown(name, where)

    def find(self, name: str) -> tuple[Prototype, ...]:
        """All functions of that name, in the file's order; of a module's BTF also the base's."""
        own = [self._prototype(name, i) for i in self.blob.ids_named(name, _FUNC)]
        return tuple(own) + (self.base.find(name) if self.base else ())

    def prototypes(self) -> Iterable[Prototype]:
        """Every function of this BTF, those with a shared name too. Types are made once, so this is cheap per function."""
        for i in self.blob.ids_of_kind(_FUNC):
            yield self._prototype(self.blob.text(self.blob.record(i).name_offset), i)

    def _prototype(self, name: str, func_id: int) -> Prototype:
        proto = self.blob.record(self.blob.record(func_id).size_or_type)
        if proto.kind != B.FUNC_PROTO:
            raise self.blob.damaged(f"the type of function `{name}` is {B.KIND_NAMES.get(proto.kind, 'unknown')}")
        result, parameters, variadic = self.types.signature(proto, self.types.whole)
        empty = isinstance(result, Void) and not parameters and not variadic
        return Prototype(
            name,
            result,
            tuple(Parameter(n, t) for n, t in parameters),
            variadic,
            source=self.source,
            doubt=EMPTY if empty else "",
        )

    def _ambiguous(self, name: str, found: tuple[Prototype, ...], where: Location | None) -> Exception:
        alike = len({spell_prototype(p) for p in found}) == 1
        notes = [spell_prototype(p) for p in found]
        if alike:
            notes = [notes[0], "they read alike, and differ in a type that one of them refers to"]
        return stop(
            "SP235",
            f"the {self.source} has {len(found)} functions named `{name}`; a probe by name cannot choose one",
            where,
            notes=notes,
            help="give the one that is meant with `prototype:`, and see which of them the probe attaches to",
        )

    def _unknown(self, name: str, where: Location | None) -> Exception:
        names = self._names()
        notes: list[str] = []
        hint: str | None = None
        clones = sorted(n for n in names if n.startswith(name + "."))
        others = [B.KIND_NAMES[self.blob.record(i).kind] for i in self.ids_named(name, set(B.KIND_NAMES) - {B.FUNC})]
        if clones:
            notes.append(f"there is only {', '.join(f'`{c}`' for c in clones)}, a copy that the compiler specialised")
            hint = "probe a function that calls it, or one that it calls"
        elif self.ids_named(f"btf_trace_{name}", {B.TYPEDEF}):
            notes.append(f"`{name}` is a tracepoint there")
            hint = f"use `raw_tracepoint: {name}`"
        elif others:
            notes.append(f"`{name}` is {others[0]} there")
            hint = "name a function"
        if hint is None:
            hint = did_you_mean(name, near(name, names)) or (
                "it may be inlined everywhere, be a macro, or belong to a module (give the module's BTF with `--btf`)"
            )
        return stop("SP234", f"no function `{name}` in the {self.source}", where, notes=notes, help=hint)

    def _names(self) -> set[str]:
        return set(self.functions()) | (self.base._names() if self.base else set())

    def ids_named(self, name: str, kinds: Iterable[int]) -> list[int]:
        """Ids with that name; the base's only where this blob has none, as a module's own type hides the kernel's."""
        return self.blob.ids_named(name, frozenset(kinds)) or (self.base.ids_named(name, kinds) if self.base else [])

    def complete(self, kind: str, tag: str) -> Record | None:
        """`struct tag` or `union tag` with its members, or None when it is nowhere complete."""
        ids = self.ids_named(tag, {B.STRUCT if kind == "struct" else B.UNION})
        found = [t for t in map(self.types.whole, ids) if isinstance(t, Record)]
        return self._single(f"{kind} {tag}", found)

    def records_named(self, kind: str, tag: str | None, alias: str | None) -> list[Record]:
        """Every record with that tag, or, without a tag, that the typedef `alias` stands for; the base's too."""
        wanted = {B.TYPEDEF} if tag is None else {B.STRUCT if kind == "struct" else B.UNION}
        made = (bare(self.types.whole(i)) for i in self.blob.ids_named(tag or alias or "", frozenset(wanted)))
        own = [r for r in made if isinstance(r, Record) and r.kind == kind]
        return own + (self.base.records_named(kind, tag, alias) if self.base else [])

    def typedef(self, name: str) -> Typedef | None:
        found = [t for t in map(self.types.whole, self.ids_named(name, {B.TYPEDEF})) if isinstance(t, Typedef)]
        return self._single(name, found)

    def enum(self, tag: str) -> Enum | None:
        found = [t for t in map(self.types.whole, self.ids_named(tag, _ENUMS)) if isinstance(t, Enum)]
        return self._single(f"enum {tag}", [t for t in found if t.members] or found)

    def constant(self, name: str) -> int | None:
        """The value of an enum constant, or None when there is none of that name."""
        if self._constants is None:
            constants: dict[str, set[int]] = {}
            for i in self.blob.ids_of_kind(_ENUMS):
                made = self.types.whole(i)
                if isinstance(made, Enum):
                    for word, value in made.members:
                        constants.setdefault(word, set()).add(value)
            self._constants = constants
        values = self._constants.get(name)
        if values is None:
            return self.base.constant(name) if self.base else None
        return self._single(name, sorted(values))

    def constants(self, prefix: str) -> tuple[tuple[str, int], ...]:
        """The enum constants that begin so; a name that has several values is nobody's choice."""
        self.constant("")  # which finds all
        names = [n for n in self._constants or () if n.startswith(prefix)]
        found = {n: value for n in names if (value := self.constant(n)) is not None}
        return tuple(({**dict(self.base.constants(prefix)), **found} if self.base else found).items())

    def enums(self, name: str) -> list[str]:
        """The tags of enums that are much like a name, and typedefs."""
        ids = [*self.blob.ids_of_kind(_ENUMS), *self.blob.ids_of_kind({B.TYPEDEF})]
        names = {self.blob.text(self.blob.record(i).name_offset) for i in ids}
        return near(name, names) + (self.base.enums(name) if self.base else [])

    def type_named(self, text: str) -> CType | None:
        """The type of a plain spelling: "struct page", "enum x", "u32", "unsigned long", with `*`s after it."""
        words = text.replace("*", " * ").split()
        stars = 0
        while words and words[-1] == "*":
            words.pop()
            stars += 1
        made: CType | None
        match words:
            case ["struct" | "union" as kind, tag]:
                made = Record(kind, tag, None) if stars else self.complete(kind, tag)
            case ["enum", tag]:
                made = self.enum(tag)
            case ["void"]:
                made = Void() if stars else None
            case [name] if (alias := self.typedef(name)) is not None:
                made = self.types.behind(self.ids_named(name, {B.TYPEDEF})[0]) if stars else alias
            case _:
                made = self._base_type(words)
        for _ in range(stars):
            made = Pointer(made) if made is not None else None
        return made

    def _base_type(self, words: list[str]) -> CType | None:
        """An integer or floating type by its specifiers, if this BTF has it: it tells the size and char's sign."""
        from specc.btf.names import canonical_name

        wanted = canonical_name(" ".join(words))
        if wanted is None:
            return None
        for i in self.blob.ids_of_kind({B.INT, B.FLOAT}):
            if canonical_name(self.blob.text(self.blob.record(i).name_offset)) == wanted:
                return self.types.whole(i)
        return self.base._base_type(words) if self.base else None

    def _single(self, what: str, found: list[_T]) -> _T | None:
        """The one thing of that name. Copies that are equal are one; copies that differ are nobody's choice."""
        different = list(dict.fromkeys(found))
        if len(different) > 1:
            raise stop(
                "SP235",
                f"the {self.source} has {len(different)} different definitions of `{what}`",
                None,
                help="declare the one that is meant in a header of the spec",
            )
        return different[0] if different else None


def near(name: str, names: Iterable[str]) -> list[str]:
    """The few names that share most of their parts with `name`; comparing all of a kernel's would take seconds."""
    parts = {name[i : i + 3] for i in range(max(1, len(name) - 2))}
    scored = [(sum(p in n for p in parts), n) for n in names if abs(len(n) - len(name)) <= 3 + len(name) // 4]
    scored.sort(key=lambda s: (-s[0], s[1]))
    return [n for _, n in scored[:40]]

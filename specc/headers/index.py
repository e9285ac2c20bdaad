"""All declarations of a preprocessed header, found by name and converted on demand.

In: preprocessed text.  Out: prototypes, types and constants, one by one.

    index = HeaderIndex(preprocessed.text)
    index.prototype("SSL_write")            # Prototype(...), or None when it is not declared
    index.complete("struct", "stat")        # Record(...) with its members and layout

Only the chunks that an answer needs are parsed: the prototype's, those of the typedefs it names, and those of the
records it uses by value. Whether a name is a type is known from one pass over the typedefs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from specc.diagnostics import Location, Stop, stop
from specc.headers.attributes import CONVENTIONS
from specc.headers.chunks import Chunks
from specc.headers.compare import difference
from specc.headers.convert import Converter
from specc.headers.functions import convention_of, prototype_of, repeats
from specc.headers.scan import Scan
from specc.headers.syntax import Parsed, Syntax, walk
from specc.headers.wellknown import BUILTINS, WELL_KNOWN
from specc.noun import replace
from specc.prototype import CType, Enum, Function, Prototype, Record, Typedef, bare

_IDENTIFIER: Final = re.compile(r"[A-Za-z_$][\w$]*")


class HeaderIndex:
    """`well_known` adds the table of `size_t`, `u32` and so on, for a text without headers; `parent` is asked for
    what this text does not declare."""

    def __init__(
        self, text: str, name: str = "<header>", *, parent: HeaderIndex | None = None, well_known: bool = False
    ) -> None:
        self._scan: Final = Scan(text, name)
        self._parent: Final = parent
        self._extra: Final[dict[str, CType]] = {**WELL_KNOWN, **BUILTINS} if well_known else BUILTINS
        self._chunks: Final = Chunks(self._scan, self._is_function)
        self._syntax: Final = Syntax(self._scan, self._is_type, self.type_names)
        self._converter: Final = Converter(self)
        self._parsed: dict[int, Parsed] = {}
        self._done: dict[tuple[str, bool], CType] = {}
        self._open: set[tuple[str, bool]] = set()
        self._conventions: dict[str, set[str]] = {}
        self._constants: dict[str, tuple[int, CType]] = {}
        self._shared: dict[tuple[str, int], Record | Enum] = {}
        self._records: dict[tuple[str, str], Record | Enum | None] = {}

    # What users ask

    def prototype(self, name: str) -> Prototype | None:
        """The function's prototype: of its declarations the last one that names all parameters, else the last.

        Raises Stop when it is declared, but not understood, or when two declarations contradict each other.
        """
        if not _IDENTIFIER.fullmatch(name):
            return None
        found: list[Prototype] = []
        vague: list[Prototype] = []  # `int f();` says nothing about the parameters
        for number in self._chunks.declaring(name):
            parsed = self._chunk(number)
            for node in parsed.nodes:
                if type(node).__name__ != "Decl" or node.name != name or repeats(parsed, node):
                    continue
                location = parsed.where(node.coord)
                p = self._guarded(location, prototype_of, self._converter, parsed, node, name, location.short())
                if p is not None:
                    empty = type(node.type).__name__ == "FuncDecl" and node.type.args is None
                    (vague if empty and number not in self._scan.bodies else found).append(p)
        if not found and not vague:
            return self._parent.prototype(name) if self._parent is not None else None
        if not found:
            return replace(
                vague[-1], doubt="it is declared with empty parentheses, which tell nothing of its parameters"
            )
        full = [p for p in found if all(a.name for a in p.parameters)]
        best = (full or found)[-1]
        for other in found:
            unlike = difference(other, best)
            if unlike is not None:
                raise stop(
                    "SP215",
                    f"conflicting declarations of `{name}`: {unlike}",
                    best.where,
                    notes=(f"the other declaration: {other.source}",),
                    help="only one of them can be the one that was compiled; leave the other header out",
                )
        return best

    def functions(self) -> list[str]:
        """The names of all functions that are declared or defined, in the order of their first declaration."""
        return list(self._chunks.functions())

    def complete(self, kind: str, tag: str) -> Record | None:
        """The record with this tag, its members and layout; None when nothing defines it."""
        found = self._tagged(kind, tag)
        return found if isinstance(found, Record) else None

    def enumeration(self, tag: str) -> Enum | None:
        found = self._tagged("enum", tag)
        return found if isinstance(found, Enum) else None

    def typedef(self, name: str) -> Typedef | None:
        """The typedef, its target complete unless nothing here completes it (`typedef struct ssl_st SSL;`)."""
        try:
            found = self.typedef_of(name, True)
        except Stop as e:
            if e.diagnostic.code != "SP217":
                raise
            found = self.typedef_of(name, False)
        return found if isinstance(found, Typedef) else None

    def type(self, text: str, where: Location | None) -> CType:
        """The type that a C type name spells, complete: `type("struct stat", where)`."""
        if re.search(r"[;{}#\"'\\]", text) or not text.strip():
            raise stop("SP213", f"`{text}` is not the name of a C type", where)
        sub = HeaderIndex(text, "<type>", parent=self, well_known=True)
        try:
            parsed, node = sub._syntax.operand(0, len(text))
            if type(node).__name__ != "Typename":
                raise stop("SP213", f"`{text}` is an expression, not the name of a C type", where)
            found: CType = self._guarded(where, sub._converter.declared, parsed, node, True)
            return found
        except Stop as e:
            d = e.diagnostic
            if d.where is not None and d.where.file == "<type>":
                raise stop(d.code, d.message, where, notes=d.notes, help=d.help) from None
            raise

    def constant(self, name: str) -> int | None:
        """The value of an enum constant."""
        found = self._guarded(None, self.constant_of, name)
        return found[0] if found is not None else None

    def constants(self, prefix: str) -> tuple[tuple[str, int], ...]:
        """The enum constants that begin so, in the order of the text."""
        words = dict.fromkeys(re.findall(rf"(?<![\w$]){re.escape(prefix)}\w*", self._scan.code))
        values = ((word, self.constant(word)) for word in words)
        return tuple((word, value) for word, value in values if value is not None)

    def value(self, text: str) -> int | None:
        """The value of an expression as C has it, None for what is no integer constant."""
        try:
            sub = HeaderIndex(text, "<value>", parent=self, well_known=True)
            parsed, node = sub._syntax.operand(0, len(text))
            found: int = self._guarded(None, sub._converter.integer, parsed, node)
        except Stop:
            return None
        return found

    def records(self) -> list[tuple[str, str]]:
        """(kind, tag) of every record and enum that the text defines under a tag."""
        return list(self._chunks.tags())

    def typedefs(self) -> list[str]:
        return list(self._chunks.typedefs)

    # What the converter asks

    def typedef_of(self, name: str, need: bool) -> CType | None:
        key = (name, need)
        if key in self._done:
            return self._done[key]
        chunks = self._chunks.typedefs.get(name)
        if not chunks:
            if self._parent is not None and name in self._parent._chunks.typedefs:
                return self._parent.typedef_of(name, need)
            return self._extra.get(name)
        if key in self._open:
            raise stop("SP217", f"the type `{name}` is defined by itself", self._chunks.where(chunks[-1]))
        self._open.add(key)
        try:
            result: CType | None = None
            for number in chunks:
                result = self._typedef_in(number, name, need)
                if result is not None:
                    break
        finally:
            self._open.discard(key)
        if result is not None:
            self._done[key] = result
        return result

    def _typedef_in(self, number: int, name: str, need: bool) -> CType | None:
        parsed = self._chunk(number)
        for node in parsed.nodes:
            if type(node).__name__ == "Typedef" and node.name == name:
                target = self._converter.declared(parsed, node, need)
                conventions = {a.name for a, _ in parsed.entity.get(id(node), ()) if a.name in CONVENTIONS}
                conventions |= convention_of(self._converter, parsed, node)
                if conventions:
                    self._conventions[name] = conventions
                return Typedef(name, target, self._converter.typedef_alignment(parsed, node))
        return None

    def conventions_of(self, name: str) -> set[str]:
        """The calling conventions, other than the usual one, of a function type's name or of a function."""
        if name in self._chunks.typedefs:
            self.typedef_of(name, False)
            return self._conventions.get(name, set())
        if self._parent is not None and name not in self._extra:
            found = self._parent.conventions_of(name)
            if found:
                return found
        p = self.prototype(name) if name not in self._extra else None
        return set() if p is None or p.convention == "sysv" else set(p.convention.split())

    def constant_of(self, name: str) -> tuple[int, CType] | None:
        if name not in self._constants:
            for number in self._chunks.enumerating(name):
                self._build_enums(number, name)
                if name in self._constants:
                    break
            else:
                return self._parent.constant_of(name) if self._parent is not None else None
        return self._constants[name]

    def entity_of(self, name: str) -> CType | None:
        """The type of a variable or function, for `typeof(name)`."""
        for number in self._chunks.having(name):
            for node in self._chunk(number).nodes:
                if type(node).__name__ == "Decl" and node.name == name:
                    return self._converter.declared(self._chunk(number), node, False)
        return self._parent.entity_of(name) if self._parent is not None else None

    def operand(self, start: int, end: int) -> tuple[Parsed, Any]:
        return self._syntax.operand(start, end)

    def type_names(self) -> Iterator[str]:
        yield from self._chunks.typedefs
        yield from self._extra
        if self._parent is not None:
            yield from self._parent.type_names()

    def define_constant(self, name: str, value: int, ctype: CType) -> None:
        self._constants[name] = (value, ctype)

    def shared(self, key: tuple[str, int]) -> Record | Enum | None:
        return self._shared.get(key)

    def share(self, key: tuple[str, int], ctype: Record | Enum) -> None:
        self._shared[key] = ctype

    # Finding

    def _is_function(self, number: int, name: str) -> bool:
        parsed = self._chunk(number)
        for node in parsed.nodes:
            if type(node).__name__ == "Decl" and node.name == name:
                return isinstance(bare(self._converter.declared(parsed, node, False)), Function)
        return False

    def _is_type(self, name: str, offset: int) -> bool:
        chunks = self._chunks.typedefs.get(name)
        if chunks:
            # Only a typedef that stands before makes a type of the name; before it, it may be a parameter's.
            return self._scan.starts[chunks[0]] < offset
        return name in self._extra or (self._parent is not None and self._parent._is_any_type(name))

    def _is_any_type(self, name: str) -> bool:
        return name in self._chunks.typedefs or name in self._extra

    def _tagged(self, kind: str, tag: str) -> Record | Enum | None:
        key = (kind, tag)
        if key in self._records:
            return self._records[key]
        result: Record | Enum | None = None
        for number in self._chunks.tagged(kind, tag):
            parsed = self._chunk(number)
            for top in parsed.nodes:
                for node in walk(top):
                    if type(node).__name__.lower() != kind or node.name != tag:
                        continue
                    where, earlier = parsed.where(node.coord), result
                    if kind == "enum" and node.values is not None:
                        result = self._guarded(where, self._converter.build_enum, parsed, node)
                    elif kind != "enum" and node.decls is not None:
                        result = self._guarded(where, self._converter.build, parsed, node)
                    if earlier is not None and earlier != result:
                        raise stop("SP215", f"`{kind} {tag}` is defined twice, and not alike", where)
        if result is None and self._parent is not None:
            return self._parent._tagged(kind, tag)
        self._records[key] = result
        return result

    def _build_enums(self, number: int, name: str) -> None:
        parsed = self._chunk(number)
        for top in parsed.nodes:
            for node in walk(top):
                if (
                    type(node).__name__ == "Enum"
                    and node.values is not None
                    and any(getattr(e, "name", None) == name for e in node.values.enumerators)
                ):
                    self._converter.build_enum(parsed, node)

    def _chunk(self, number: int) -> Parsed:
        parsed = self._parsed.get(number)
        if parsed is None:
            start = self._scan.starts[number]
            body = self._scan.bodies.get(number)
            if body is not None:
                parsed = self._syntax.declarations(start, body, body=True)
            else:
                parsed = self._syntax.declarations(start, self._scan.ends[number])
            self._parsed[number] = parsed
        return parsed

    def _guarded(self, where: Location | None, function: Any, *arguments: Any) -> Any:
        """Call a converter; a type that is nested a thousand deep is the user's to hear of, not a traceback."""
        try:
            return function(*arguments)
        except RecursionError:
            raise stop("SP213", "this declaration is nested too deeply", where) from None


def parse_prototypes(text: str, names: Iterable[str] | None = None) -> dict[str, Prototype]:
    """The prototypes of the functions that preprocessed text declares, or of those with the given names."""
    index = HeaderIndex(text, "<text>")
    out = {}
    for name in index.functions() if names is None else names:
        p = index.prototype(name)
        if p is not None:
            out[name] = p
    return out

"""pycparser's tree -> specc's types: specifiers, declarators, records, enums, and what attributes make of them.

In: a `Parsed` node and an `Environment` that finds the declarations it refers to.  Out: a `CType`.

    converter.declared(parsed, decl, need=True)      # the type of the thing that `decl` declares

`need` says that the type is used by value: then records and the records in them are completed, else a record is left
as `Record(kind, tag, None)`, so that a prototype drags in only the types its ABI depends on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from specc.diagnostics import Location, Stop, did_you_mean, stop
from specc.headers.attributes import Attribute
from specc.headers.constant import Evaluator
from specc.headers.meaning import (
    RESHAPING,
    attribute_error,
    check_known,
    memory_tag,
    qualified,
    reshaped,
    transparent,
)
from specc.headers.records import build_enum, build_record
from specc.headers.syntax import Parsed
from specc.headers.wellknown import BUILTINS, bit_int, spelled
from specc.noun import replace
from specc.prototype import (
    FLOATS,
    VOID,
    Array,
    Complex,
    CType,
    Enum,
    Float,
    Function,
    Int,
    Pointer,
    Qualified,
    Record,
    Typedef,
    Unknown,
    align_of,
    bare,
)


class Environment(Protocol):
    """Where the converter finds other declarations; `HeaderIndex` is one."""

    def typedef_of(self, name: str, need: bool) -> CType | None: ...
    def complete(self, kind: str, tag: str) -> Record | None: ...
    def enumeration(self, tag: str) -> Enum | None: ...
    def constant_of(self, name: str) -> tuple[int, CType] | None: ...
    def entity_of(self, name: str) -> CType | None: ...
    def operand(self, start: int, end: int) -> tuple[Parsed, Any]: ...
    def type_names(self) -> Iterable[str]: ...
    def define_constant(self, name: str, value: int, ctype: CType) -> None: ...
    def conventions_of(self, name: str) -> set[str]: ...
    def shared(self, key: tuple[str, int]) -> Record | Enum | None: ...
    def share(self, key: tuple[str, int], ctype: Record | Enum) -> None: ...


class Converter:
    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self._evaluator = Evaluator(self)
        self._open: list[tuple[str, int]] = []

    # What the evaluator needs

    def typename(self, parsed: Parsed, node: Any, need: bool) -> CType:
        return self.declared(parsed, node, need)

    def completed(self, ctype: CType, parsed: Parsed, node: Any) -> CType:
        """The type with its record complete, for a `sizeof` of what a declaration left incomplete."""
        match ctype:
            case Record(members=None, doubt="") if ctype.tag is not None:
                return self._complete(ctype.kind, ctype.tag, parsed.place(node))
            case Typedef(name=name):
                found = self.environment.typedef_of(name, True)
                return found if found is not None else ctype
            case Qualified(target=target):
                return replace(ctype, target=self.completed(target, parsed, node))
            case Array(element=element):
                return replace(ctype, element=self.completed(element, parsed, node))
            case _:
                return ctype

    def constant_of(self, name: str) -> tuple[int, CType] | None:
        return self.environment.constant_of(name)

    def define_constant(self, name: str, value: int, ctype: CType) -> None:
        self.environment.define_constant(name, value, ctype)

    def entity_of(self, name: str) -> CType | None:
        return self.environment.entity_of(name)

    def same_types(self, parsed: Parsed, placeholder: str) -> bool:
        from specc.headers.compare import same

        code = parsed.scan.code
        where = parsed.cleaned.placeholders[placeholder]
        depth, comma = 0, where.start
        for comma in range(where.start, where.end):
            depth += (code[comma] in "([{") - (code[comma] in ")]}")
            if code[comma] == "," and not depth:
                break
        first, second = self.environment.operand(where.start, comma), self.environment.operand(comma + 1, where.end)
        return same(self._evaluator.operand_type(*first), self._evaluator.operand_type(*second))

    def operand_type(self, start: int, end: int, need: bool) -> CType:
        parsed, node = self.environment.operand(start, end)
        if type(node).__name__ == "Typename":
            return self.declared(parsed, node, need)
        ctype = self._evaluator.type_of(parsed, node)
        return self.completed(ctype, parsed, node) if need else ctype

    def integer(self, parsed: Parsed, node: Any) -> int:
        return self._evaluator.integer(parsed, node)

    # Declarators

    def declared(self, parsed: Parsed, node: Any, need: bool) -> CType:
        """The type of what a Decl, Typedef or Typename node declares, with the attributes that change a type."""
        attributes = parsed.entity.get(id(node), ())
        tags = [t for a, prefix in attributes if prefix and (t := memory_tag(parsed, a))]
        base_attributes = [a for a, _ in attributes if a.name in RESHAPING]
        ctype = self.derived(parsed, node.type, need, tags, base_attributes)
        ctype = qualified(ctype, [t for a, prefix in attributes if not prefix and (t := memory_tag(parsed, a))])
        for a, _ in attributes:
            check_known(parsed, a)
            if a.name == "transparent_union":
                if type(node).__name__ != "Typedef":
                    raise attribute_error(parsed, a, "`transparent_union` belongs to a union or a typedef of one")
                ctype = transparent(ctype)
        return ctype

    def derived(self, parsed: Parsed, node: Any, need: bool, tags: list[str], base: list[Attribute]) -> CType:
        """The type of a declarator; `tags` and `base` are what attributes of the declaration make of its base type."""
        match type(node).__name__:
            case "PtrDecl":
                pointer: CType = Pointer(self.derived(parsed, node.type, False, tags, base))
                words = list(node.quals or ())
                for a in parsed.pointer.get(parsed.offset(node.coord), ()):
                    check_known(parsed, a)
                    if (tag := memory_tag(parsed, a)) is not None:
                        words.append(tag)
                    else:
                        # gcc and clang disagree about what such an attribute applies to, and nobody writes it.
                        raise attribute_error(parsed, a, f"`{a.name}` after a `*` is not understood")
                return qualified(pointer, words)
            case "ArrayDecl":
                element = self.derived(parsed, node.type, need, tags, base)
                return Array(element, self._count(parsed, node, need))
            case "FuncDecl":
                result = self.derived(parsed, node.type, False, tags, base)
                parameters, variadic = self.parameters(parsed, node)
                types = tuple(self.declared(parsed, p, False) for p in parameters)
                return Function(result, types, variadic)
            case "TypeDecl":
                ctype = self._base(parsed, node.type, need)
                for a in base:
                    ctype = reshaped(parsed, a, ctype, self._range_value)
                return qualified(ctype, [*(node.quals or ()), *tags])
            case _:
                return self._base(parsed, node, need)

    def _count(self, parsed: Parsed, node: Any, need: bool) -> int | None:
        if node.dim is None or (type(node.dim).__name__ == "ID" and node.dim.name == "*"):
            return None
        try:
            count = self.integer(parsed, node.dim)
        except Stop:
            if need:
                raise
            return None  # a variable array behind a pointer: its size matters to no argument
        if count < 0:
            raise stop("SP218", f"an array of {count} elements", parsed.place(node.dim))
        return count

    def parameters(self, parsed: Parsed, node: Any) -> tuple[list[Any], bool]:
        """The parameter nodes of a function declarator, without `void` and `...`."""
        nodes = list(node.args.params) if node.args is not None else []
        variadic = bool(nodes) and type(nodes[-1]).__name__ == "EllipsisParam"
        if variadic:
            nodes.pop()
        for p in nodes:
            if type(p).__name__ == "ID":
                raise stop(
                    "SP214",
                    f"`{p.name}` is not a type (and old K&R parameter lists are not supported)",
                    parsed.place(p),
                    help=did_you_mean(p.name, self.environment.type_names()),
                )
        if len(nodes) == 1 and type(nodes[0]).__name__ == "Typename":
            inner = nodes[0].type
            if nodes[0].coord is not None and parsed.offset(nodes[0].coord) in parsed.cleaned.ellipses:
                return [], True
            if type(inner).__name__ == "TypeDecl" and bare(self.derived(parsed, inner, False, [], [])) == VOID:
                return [], variadic
        return nodes, variadic

    # Specifiers

    def _base(self, parsed: Parsed, node: Any, need: bool) -> CType:
        match type(node).__name__:
            case "IdentifierType":
                return self._words(parsed, node, need)
            case "Struct" | "Union":
                return self._record(parsed, node, need)
            case "Enum":
                return self._enum(parsed, node)
            case "Typename":
                return self.declared(parsed, node, need)
            case kind:
                raise stop("SP213", f"this C is not understood: {kind}", parsed.place(node))

    def _words(self, parsed: Parsed, node: Any, need: bool) -> CType:
        names = [n for n in node.names if n != "_Complex"]
        if len(names) != len(node.names):
            if not names:
                return Complex(FLOATS["double"])
            element = bare(self._plain(parsed, node, names, need))
            if not isinstance(element, Float | Int):
                raise stop("SP213", f"`_Complex {' '.join(names)}` is not a type", parsed.place(node))
            return Complex(element)
        return self._plain(parsed, node, names, need)

    def _plain(self, parsed: Parsed, node: Any, names: list[str], need: bool) -> CType:
        found = spelled(names)
        if found is not None:
            return found
        first = names[0]
        if first in parsed.cleaned.placeholders:
            return self._placeholder(parsed, first, names, need)
        if len(names) == 1:
            found = self.environment.typedef_of(first, need)
            if found is not None:
                return found
        raise stop(
            "SP214",
            f"unknown type `{' '.join(names)}`",
            parsed.place(node),
            help=did_you_mean(first, self.environment.type_names()),
        )

    def _placeholder(self, parsed: Parsed, name: str, names: list[str], need: bool) -> CType:
        holder = parsed.cleaned.placeholders[name]
        match holder.kind:
            case "typeof" | "typeof_unqual":
                try:
                    ctype = self.operand_type(holder.start, holder.end, need)
                except Stop as e:
                    if e.diagnostic.code != "SP218":
                        raise
                    text = " ".join(parsed.scan.text[holder.start : holder.end].split())
                    return Unknown(f"typeof({text})", e.diagnostic.message)
                if holder.kind == "typeof_unqual" and isinstance(ctype, Qualified):
                    return ctype.target
                return ctype
            case "complex":
                word = parsed.scan.text[holder.start : holder.end].strip()
                found = self.environment.typedef_of(word, False) or BUILTINS.get(word)
                element = bare(found) if found is not None else None
                if not isinstance(element, Float):
                    raise stop(
                        "SP214", f"unknown type `_Complex {word}`", parsed.scan.location(holder.start, len(word))
                    )
                return Complex(element)
            case _:
                width = self._range_value(holder.start, holder.end)
                signed = holder.kind == "bitint" and "unsigned" not in names
                made = bit_int(width, signed)
                if made is None:
                    raise stop("SP218", f"`_BitInt({width})` is not a type", parsed.scan.location(holder.start))
                return made

    def _range_value(self, start: int, end: int) -> int:
        parsed, node = self.environment.operand(start, end)
        if type(node).__name__ == "Typename":
            raise stop("SP218", "a number is needed here, not a type", parsed.scan.location(start))
        return self.integer(parsed, node)

    # Records and enums

    def _record(self, parsed: Parsed, node: Any, need: bool) -> Record:
        kind = type(node).__name__.lower()
        if not need:
            return Record(kind, node.name, None)
        if node.decls is None:
            return self._complete(kind, node.name, parsed.place(node))
        return self.build(parsed, node)

    def _complete(self, kind: str, tag: str, where: Location) -> Record:
        found = self.environment.complete(kind, tag)
        if found is not None:
            return found
        raise stop(
            "SP217",
            f"`{kind} {tag}` is used by value, but only declared, never defined, in these headers",
            where,
            help="add the header that defines it to `headers`",
        )

    def build(self, parsed: Parsed, node: Any) -> Record:
        """The record that a node with members defines, built once."""
        key = (parsed.scan.name, parsed.brace(node))
        known = self.environment.shared(key)
        if isinstance(known, Record):
            return known
        if key in self._open:
            raise stop("SP217", f"`{type(node).__name__.lower()} {node.name}` contains itself", parsed.place(node))
        self._open.append(key)
        try:
            record = build_record(self, parsed, node)
        finally:
            self._open.pop()
        self.environment.share(key, record)
        return record

    def _enum(self, parsed: Parsed, node: Any) -> Enum:
        if node.values is None:
            found = self.environment.enumeration(node.name)
            # An enum that is only declared (a GNU extension) is as wide as an int.
            return found if found is not None else Enum(node.name, 4, False)
        return self.build_enum(parsed, node)

    def build_enum(self, parsed: Parsed, node: Any) -> Enum:
        key = (parsed.scan.name, parsed.brace(node))
        known = self.environment.shared(key)
        if isinstance(known, Enum):
            return known
        if key in self._open:
            raise stop("SP218", "the value of a constant of this enum depends on itself", parsed.place(node))
        self._open.append(key)
        try:
            enum = build_enum(self, parsed, node)
        finally:
            self._open.pop()
        self.environment.share(key, enum)
        return enum

    # Alignment

    def alignment(self, parsed: Parsed, a: Attribute) -> int:
        """The value of an `aligned` or `_Alignas`."""
        if a.arguments is None or not parsed.scan.code[slice(*a.arguments)].strip():
            return 16  # gcc manual: the largest alignment that is useful on the machine
        node_parsed, node = self.environment.operand(*a.arguments)
        if a.alignas and type(node).__name__ == "Typename":
            return align_of(self.declared(node_parsed, node, True))
        value = self._range_value(*a.arguments)
        if value == 0 and a.alignas:
            return 0
        if value < 1 or value & (value - 1) or value > 1 << 28:
            raise attribute_error(parsed, a, f"an alignment of {value}: it must be a power of two")
        return value

    def typedef_alignment(self, parsed: Parsed, node: Any) -> int | None:
        values = [self.alignment(parsed, a) for a, _ in parsed.entity.get(id(node), ()) if a.name == "aligned"]
        return max(values) if values else None

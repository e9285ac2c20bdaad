"""pycparser's tree -> specc's types: specifiers, declarators, records, enums, and what attributes make of them.

In: a `Parsed` node and an `Environment` that finds the declarations it refers to.  Out: a `CType`.

    converter.declared(parsed, decl, need=True)      # the type of the thing that `decl` declares

`need` says that the type is used by value: then records and the records in them are completed, else a record is left
as `Record(kind, tag, None)`, so that a prototype drags in only the types its ABI depends on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final, Protocol

from specc.diagnostics import Location, Stop, did_you_mean, stop
from specc.headers.attributes import (
    ADDRESS_SPACES,
    CONVENTIONS,
    HARMLESS,
    KEPT,
    REFUSED,
    TAGS,
    TYPE_TAGS,
    Attribute,
)
from specc.headers.constant import Evaluator
from specc.headers.syntax import Parsed
from specc.headers.wellknown import BUILTINS
from specc.layout import lay_out
from specc.prototype import (
    FLOAT,
    FLOATS,
    INT,
    INTS,
    LONG_DOUBLE,
    VOID,
    Array,
    BitInt,
    Complex,
    CType,
    Enum,
    Float,
    Function,
    Int,
    Member,
    Pointer,
    Prototype,
    Qualified,
    Record,
    Typedef,
    Unknown,
    Vector,
    bare,
    decay,
    size_of,
    spell,
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
    def shared(self, key: tuple[str, int]) -> Record | Enum | None: ...
    def share(self, key: tuple[str, int], ctype: Record | Enum) -> None: ...


_MODES: Final[dict[str, tuple[int, str]]] = {
    # gcc internals, "Machine Modes": size, and what kind of type it makes
    "QI": (1, "int"), "HI": (2, "int"), "SI": (4, "int"), "DI": (8, "int"), "TI": (16, "int"), "byte": (1, "int"),
    "word": (8, "int"), "pointer": (8, "int"), "unwind_word": (8, "int"), "HF": (2, "float"), "SF": (4, "float"),
    "DF": (8, "float"), "XF": (16, "x87"), "TF": (16, "float"), "HC": (2, "complex"), "SC": (4, "complex"),
    "DC": (8, "complex"), "XC": (16, "x87 complex"), "TC": (16, "complex"),
}  # fmt: skip
_INT_BY_SIZE: Final = {1: "signed char", 2: "short", 4: "int", 8: "long", 16: "__int128"}
_FLOAT_BY_SIZE: Final = {2: "_Float16", 4: "float", 8: "double", 16: "__float128"}
_SPECIFIERS: Final = {
    "char": INTS["char"], "char signed": INTS["signed char"], "char unsigned": INTS["unsigned char"],
    "short": INTS["short"], "short signed": INTS["short"], "short unsigned": INTS["unsigned short"],
    "": INTS["int"], "signed": INTS["int"], "unsigned": INTS["unsigned int"],
    "long": INTS["long"], "long signed": INTS["long"], "long unsigned": INTS["unsigned long"],
    "long long": INTS["long long"], "long long signed": INTS["long long"],
    "long long unsigned": INTS["unsigned long long"],
    "__int128": INTS["__int128"], "__int128 signed": INTS["__int128"], "__int128 unsigned": INTS["unsigned __int128"],
}  # fmt: skip
_QUALIFIER_ORDER: Final = ("const", "volatile", "restrict", "_Atomic")


def qualified(ctype: CType, words: Iterable[str]) -> CType:
    """The type with these qualifiers, each once and in one order, so that equal types are equal values."""
    extra = {w for w in words if w}
    if not extra:
        return ctype
    if isinstance(ctype, Qualified):
        extra |= set(ctype.qualifiers)
        ctype = ctype.target
    order = [w for w in _QUALIFIER_ORDER if w in extra] + sorted(extra - set(_QUALIFIER_ORDER))
    return Qualified(ctype, tuple(order))


class Converter:
    def __init__(self, environment: Environment) -> None:
        self._env = environment
        self._evaluator = Evaluator(self)
        self._open: list[tuple[str, int]] = []

    # What the evaluator needs

    def typename(self, parsed: Parsed, node: Any, need: bool) -> CType:
        return self.declared(parsed, node, need)

    def completed(self, ctype: CType, parsed: Parsed, node: Any) -> CType:
        """The type with its record complete, for a `sizeof` of what a declaration left incomplete."""
        match ctype:
            case Record(members=None, doubt="") if ctype.tag is not None:
                return self._complete(ctype.kind, ctype.tag, self._where(parsed, node))
            case Typedef(name=name):
                found = self._env.typedef_of(name, True)
                return found if found is not None else ctype
            case Qualified(target=target):
                return replace(ctype, target=self.completed(target, parsed, node))
            case Array(element=element):
                return replace(ctype, element=self.completed(element, parsed, node))
            case _:
                return ctype

    def constant_of(self, name: str) -> tuple[int, CType] | None:
        return self._env.constant_of(name)

    def entity_of(self, name: str) -> CType | None:
        return self._env.entity_of(name)

    def same_types(self, parsed: Parsed, placeholder: str) -> bool:
        from specc.headers.compare import same

        code = parsed.scan.code
        where = parsed.cleaned.placeholders[placeholder]
        depth, comma = 0, where.start
        for comma in range(where.start, where.end):
            depth += (code[comma] in "([{") - (code[comma] in ")]}")
            if code[comma] == "," and not depth:
                break
        first, second = self._env.operand(where.start, comma), self._env.operand(comma + 1, where.end)
        return same(self._evaluator.operand_type(*first), self._evaluator.operand_type(*second))

    def operand_type(self, start: int, end: int, need: bool) -> CType:
        parsed, node = self._env.operand(start, end)
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
        tags = [t for a, prefix in attributes if prefix and (t := self._tag(parsed, a))]
        base_attributes = [a for a, _ in attributes if a.name in ("vector_size", "ext_vector_type", "mode")]
        ctype = self._derive(parsed, node.type, need, tags, base_attributes)
        ctype = qualified(ctype, [t for a, prefix in attributes if not prefix and (t := self._tag(parsed, a))])
        for a, _ in attributes:
            self._check(parsed, a)
            if a.name == "transparent_union":
                ctype = self._transparent(ctype)
        return ctype

    def _derive(self, parsed: Parsed, node: Any, need: bool, tags: list[str], base: list[Attribute]) -> CType:
        match type(node).__name__:
            case "PtrDecl":
                pointer: CType = Pointer(self._derive(parsed, node.type, False, tags, base))
                words = list(node.quals or ())
                for a in parsed.pointer.get(parsed.offset(node.coord), ()):
                    self._check(parsed, a)
                    if (tag := self._tag(parsed, a)) is not None:
                        words.append(tag)
                    elif a.name == "aligned":
                        # gcc and clang disagree about what is aligned here, and nobody writes it.
                        raise self._error(parsed, a, "SP219", "`aligned` after a `*` is not understood")
                return qualified(pointer, words)
            case "ArrayDecl":
                element = self._derive(parsed, node.type, need, tags, base)
                return Array(element, self._count(parsed, node, need))
            case "FuncDecl":
                result = self._derive(parsed, node.type, False, tags, base)
                parameters, variadic = self._parameters(parsed, node)
                types = tuple(self.declared(parsed, p, False) for p in parameters)
                return Function(result, types, variadic)
            case "TypeDecl":
                ctype = self._base(parsed, node.type, need)
                for a in base:
                    ctype = self._reshaped(parsed, a, ctype)
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
            raise stop("SP218", f"an array of {count} elements", self._where(parsed, node.dim))
        return count

    def _parameters(self, parsed: Parsed, node: Any) -> tuple[list[Any], bool]:
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
                    self._where(parsed, p),
                    help=did_you_mean(p.name, self._env.type_names()),
                )
        if len(nodes) == 1 and type(nodes[0]).__name__ == "Typename":
            inner = nodes[0].type
            if nodes[0].coord is not None and parsed.offset(nodes[0].coord) in parsed.cleaned.ellipses:
                return [], True
            if type(inner).__name__ == "TypeDecl" and bare(self._derive(parsed, inner, False, [], [])) == VOID:
                return [], variadic
        return nodes, variadic

    def prototype(self, parsed: Parsed, decl: Any, name: str, source: str) -> Prototype | None:
        """The prototype of a function that `decl` declares; None when it declares something else."""
        from specc.prototype import Parameter

        node = decl.type
        attributes = [a for a, _ in parsed.entity.get(id(decl), ())]
        where = self._where(parsed, decl)
        if type(node).__name__ == "FuncDecl":
            tags = [t for a in attributes if (t := self._tag(parsed, a))]
            base = [a for a in attributes if a.name in ("vector_size", "ext_vector_type", "mode")]
            result = self._derive(parsed, node.type, True, tags, base)
            nodes, variadic = self._parameters(parsed, node)
            parameters = []
            for p in nodes:
                declarator = self._innermost(p)
                place = declarator if declarator is not None and declarator.coord is not None else p
                ctype = self.declared(parsed, p, type(p.type).__name__ != "ArrayDecl")
                self._usable(ctype, parsed, place)
                parameters.append(Parameter(getattr(p, "name", None), ctype, self._where(parsed, place)))
        elif type(node).__name__ == "TypeDecl":
            function = bare(self.declared(parsed, decl, False))
            if not isinstance(function, Function):
                return None
            # `typedef int fn(struct s); fn foo;`: the types of the typedef, completed
            result = self.completed(function.result, parsed, decl)
            variadic = function.variadic
            parameters = [Parameter(None, self.completed(t, parsed, decl), where) for t in function.parameters]
        else:
            return None
        self._usable(result, parsed, decl)
        conventions = {a.name for a in attributes if a.name in CONVENTIONS}
        for a in attributes:
            self._check(parsed, a)
        conventions |= self.convention_of(parsed, decl)
        return Prototype(
            name, result, tuple(parameters), variadic, " ".join(sorted(conventions)) or "sysv", where, source
        )

    def convention_of(self, parsed: Parsed, decl: Any) -> set[str]:
        """The calling conventions that the typedefs which a declaration is made with carry."""
        inner = self._innermost(decl)
        found: set[str] = set()
        if inner is not None and type(inner.type).__name__ == "IdentifierType" and inner is decl.type:
            for name in inner.type.names:
                found |= getattr(self._env, "conventions", dict)().get(name, set())
        return found

    def _usable(self, ctype: CType, parsed: Parsed, node: Any) -> None:
        """Refuse a value whose layout is not known; a pointer to it would be fine."""
        inner = bare(ctype)
        if isinstance(inner, Record) and inner.members is None:
            reason = inner.doubt or "it is declared, but never defined, in these headers"
            raise stop(
                "SP217",
                f"`{spell(inner)}` is used by value, but specc cannot lay it out: {reason}",
                self._where(parsed, node),
                help="add the header that defines it to `headers`" if not inner.doubt else None,
            )

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
                raise stop("SP213", f"this C is not understood: {kind}", self._where(parsed, node))

    def _words(self, parsed: Parsed, node: Any, need: bool) -> CType:
        names = [n for n in node.names if n != "_Complex"]
        if len(names) != len(node.names):
            if not names:
                return Complex(FLOATS["double"])
            element = bare(self._plain(parsed, node, names, need))
            if not isinstance(element, Float | Int):
                raise stop("SP213", f"`_Complex {' '.join(names)}` is not a type", self._where(parsed, node))
            return Complex(element)
        return self._plain(parsed, node, names, need)

    def _plain(self, parsed: Parsed, node: Any, names: list[str], need: bool) -> CType:
        if len(names) == 1:
            name = names[0]
            if name == "void":
                return VOID
            if name in INTS:
                return INTS[name]
            if name in ("float", "double"):
                return FLOATS[name]
        if "double" in names:
            return LONG_DOUBLE
        first = names[0]
        if first in parsed.cleaned.placeholders:
            return self._placeholder(parsed, first, names, need)
        key = " ".join(sorted(n for n in names if n != "int"))
        if key in _SPECIFIERS and (key or names == ["int"]):
            return _SPECIFIERS[key]
        if len(names) > 1 and first in BUILTINS and set(names[1:]) <= {"signed", "unsigned"}:
            return BUILTINS[first]
        if len(names) == 1:
            found = self._env.typedef_of(first, need)
            if found is not None:
                return found
        raise stop(
            "SP214",
            f"unknown type `{' '.join(names)}`",
            self._where(parsed, node),
            help=did_you_mean(first, self._env.type_names()),
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
                element = bare(self._env.typedef_of(word, False) or BUILTINS[word])
                assert isinstance(element, Float)
                return Complex(element)
            case _:
                width = self._range_value(holder.start, holder.end)
                signed = holder.kind == "bitint" and "unsigned" not in names
                if not (1 if not signed else 2) <= width <= 8388608:
                    raise stop("SP218", f"`_BitInt({width})` is not a type", parsed.scan.location(holder.start))
                # psABI 3.1.2: like the smallest fundamental type that holds it, else an array of 64-bit words.
                size = next((s for s in (1, 2, 4, 8) if width <= 8 * s), (width + 63) // 64 * 8)
                return BitInt(width, signed, size, min(size, 8))

    def _range_value(self, start: int, end: int) -> int:
        parsed, node = self._env.operand(start, end)
        if type(node).__name__ == "Typename":
            raise stop("SP218", "a number is needed here, not a type", parsed.scan.location(start))
        return self.integer(parsed, node)

    # Records and enums

    def _record(self, parsed: Parsed, node: Any, need: bool) -> Record:
        kind = type(node).__name__.lower()
        if not need:
            return Record(kind, node.name, None)
        if node.decls is None:
            return self._complete(kind, node.name, self._where(parsed, node))
        return self.build(parsed, node)

    def _complete(self, kind: str, tag: str, where: Location) -> Record:
        found = self._env.complete(kind, tag)
        if found is not None:
            return found
        raise stop(
            "SP217",
            f"`{kind} {tag}` is used by value, but only declared, never defined, in these headers",
            where,
            help="add the header that defines it to `headers`",
        )

    def build(self, parsed: Parsed, node: Any) -> Record:
        """The record that a struct or union node with members defines, laid out."""
        kind = type(node).__name__.lower()
        brace = parsed.brace(node)
        key = (parsed.scan.name, brace)
        known = self._env.shared(key)
        if isinstance(known, Record):
            return known
        if key in self._open:
            raise stop("SP217", f"`{kind} {node.name}` contains itself", self._where(parsed, node))
        self._open.append(key)
        try:
            members = [m for decl in node.decls for m in self._member(parsed, decl)]
            packed, aligned, transparent = False, None, False
            for a in parsed.type.get(brace, ()):
                self._check(parsed, a)
                if a.name == "packed":
                    packed = True
                elif a.name == "aligned":
                    aligned = max(aligned or 0, self._alignment(parsed, a)) or None
                elif a.name == "transparent_union":
                    transparent = kind == "union"
            closing = parsed.scan.closing(brace)
            pack = parsed.scan.pack(brace)
            if pack != parsed.scan.pack(closing):
                raise stop("SP219", "`#pragma pack` inside a record is not understood", self._where(parsed, node))
            record = lay_out(
                kind, node.name, members, packed=packed, aligned=aligned, pack=pack, transparent=transparent
            )
        finally:
            self._open.pop()
        self._env.share(key, record)
        return record

    def _member(self, parsed: Parsed, decl: Any) -> list[Member]:
        if type(decl).__name__ in ("Pragma", "StaticAssert", "EmptyStatement"):
            return []
        inner = decl.type
        if decl.bitsize is None and decl.name is None and type(inner).__name__ in ("Struct", "Union", "Enum"):
            if type(inner).__name__ == "Enum":
                self._enum(parsed, inner)
                return []
            if inner.name is not None:
                raise stop(
                    "SP213",
                    f"`{type(inner).__name__.lower()} {inner.name}` without a member name declares a member only "
                    "under -fms-extensions; whether that was given is not known",
                    self._where(parsed, inner),
                    help="give the member a name, or take the tag away",
                )
        ctype = self.declared(parsed, decl, True)
        width = self.integer(parsed, decl.bitsize) if decl.bitsize is not None else None
        if width is not None and not 0 <= width <= self._bits(ctype):
            raise stop("SP218", f"a bit-field of {width} bits in `{spell(ctype)}`", self._where(parsed, decl.bitsize))
        aligned: int | None = None
        packed = False
        for a, _ in parsed.entity.get(id(decl), ()):
            if a.name == "aligned":
                aligned = max(aligned or 0, self._alignment(parsed, a)) or None
            elif a.name == "packed":
                packed = True
        return [Member(decl.name or "", ctype, 0, width, aligned, packed)]

    def _bits(self, ctype: CType) -> int:
        inner = bare(ctype)
        return inner.width if isinstance(inner, BitInt) else 8 * size_of(inner)

    def _enum(self, parsed: Parsed, node: Any) -> Enum:
        if node.values is None:
            found = self._env.enumeration(node.name)
            # An enum that is only declared (a GNU extension) is as wide as an int.
            return found if found is not None else Enum(node.name, 4, False)
        return self.build_enum(parsed, node)

    def build_enum(self, parsed: Parsed, node: Any) -> Enum:
        brace = parsed.brace(node)
        key = (parsed.scan.name, brace)
        known = self._env.shared(key)
        if isinstance(known, Enum):
            return known
        members: list[tuple[str, int]] = []
        following = 0
        fixed = self._fixed_type(parsed, brace)
        for e in node.values.enumerators:
            if type(e).__name__ != "Enumerator":
                continue
            value = following if e.value is None else self.integer(parsed, e.value)
            members.append((e.name, value))
            # gcc: a constant that fits has type int until the enum is complete
            self._env.define_constant(e.name, value, INT if -(2**31) <= value < 2**31 else INTS["long"])
            following = value + 1
        low = min((v for _, v in members), default=0)
        high = max((v for _, v in members), default=0)
        signed = low < 0
        # gcc and clang: unsigned int unless a value is negative, 8 bytes when a value needs them
        size = 4 if low >= -(2**31) and high < (2**31 if signed else 2**32) else 8
        for a in parsed.type.get(brace, ()):
            self._check(parsed, a)
            if a.name == "packed":
                size = next(s for s in (1, 2, 4, 8) if low >= -(1 << 8 * s - 1) and high < 1 << (8 * s - signed))
            elif a.name in ("mode", "aligned"):
                raise self._error(parsed, a, "SP219", f"`{a.name}` on an enum is not understood")
        if fixed is not None:
            size, signed = fixed.size, fixed.signed
        enum = Enum(node.name, size, signed, tuple(members))
        for name, value in members:
            fits = fixed is None and -(2**31) <= value < 2**31
            self._env.define_constant(name, value, INT if fits else enum)
        self._env.share(key, enum)
        return enum

    def _fixed_type(self, parsed: Parsed, brace: int) -> Int | None:
        place = parsed.cleaned.enum_types.get(brace)
        if place is None:
            return None
        ctype = bare(self.operand_type(*place, need=False))
        if not isinstance(ctype, Int):
            raise stop("SP213", f"`{spell(ctype)}` cannot be under an enum", parsed.scan.location(place[0]))
        return ctype

    # Attributes

    def _check(self, parsed: Parsed, a: Attribute) -> None:
        if a.name in KEPT or a.name in CONVENTIONS or a.name in TAGS or a.name in HARMLESS:
            return
        if a.name in REFUSED:
            raise self._error(
                parsed, a, "SP219", f"the attribute `{a.name}` changes the ABI unpredictably: {REFUSED[a.name]}"
            )
        raise stop(
            "SP212",
            f"unknown attribute `{a.name}`",
            parsed.scan.location(a.offset, a.end - a.offset),
            notes=("an attribute may change where arguments are, so specc passes over none that it does not know",),
            help=did_you_mean(a.name, (*HARMLESS, *KEPT, *CONVENTIONS)),
        )

    def _error(self, parsed: Parsed, a: Attribute, code: str, message: str) -> Stop:
        return stop(code, message, parsed.scan.location(a.offset, a.end - a.offset))

    def _tag(self, parsed: Parsed, a: Attribute) -> str | None:
        """The memory qualifier (`__user`) that an attribute stands for, "" for none in particular."""
        if a.name in TAGS:
            return a.name
        if a.name == "address_space" and a.arguments:
            text = parsed.scan.text[slice(*a.arguments)].strip()
            if text not in ADDRESS_SPACES:
                raise self._error(parsed, a, "SP219", f"`address_space({text})` is not known")
            return ADDRESS_SPACES[text]
        if a.name == "btf_type_tag" and a.arguments:
            return TYPE_TAGS.get(parsed.scan.text[slice(*a.arguments)].strip().strip('"'), "")
        return None

    def _alignment(self, parsed: Parsed, a: Attribute) -> int:
        if a.arguments is None or not parsed.scan.code[slice(*a.arguments)].strip():
            return 16  # gcc manual: the largest alignment that is useful on the machine
        node_parsed, node = self._env.operand(*a.arguments)
        if a.alignas and type(node).__name__ == "Typename":
            from specc.prototype import align_of

            return align_of(self.declared(node_parsed, node, True))
        value = self._range_value(*a.arguments)
        if value == 0 and a.alignas:
            return 0
        if value < 1 or value & (value - 1) or value > 1 << 28:
            raise self._error(parsed, a, "SP219", f"an alignment of {value}: it must be a power of two")
        return value

    def typedef_alignment(self, parsed: Parsed, node: Any) -> int | None:
        values = [self._alignment(parsed, a) for a, _ in parsed.entity.get(id(node), ()) if a.name == "aligned"]
        return max(values) if values else None

    def _transparent(self, ctype: CType) -> CType:
        match ctype:
            case Record(kind="union"):
                return replace(ctype, transparent=True)
            case Qualified(target=target) | Typedef(target=target):
                return replace(ctype, target=self._transparent(target))
            case _:
                return ctype

    def _reshaped(self, parsed: Parsed, a: Attribute, ctype: CType) -> CType:
        """What `vector_size`, `ext_vector_type` or `mode` makes of the base type of a declaration."""
        element = bare(ctype)
        if a.name == "mode":
            return self._mode(parsed, a, ctype)
        if a.arguments is None or not isinstance(element, Int | Float | Pointer | BitInt | Enum):
            raise self._error(parsed, a, "SP219", f"`{a.name}` of `{spell(ctype)}` is not understood")
        number = self._range_value(*a.arguments)
        unit = size_of(element)
        if a.name == "ext_vector_type":
            if number < 1:
                raise self._error(parsed, a, "SP219", f"a vector of {number} elements")
            return Vector(ctype, 1 << (number * unit - 1).bit_length())
        if number < unit or number % unit or (number // unit) & (number // unit - 1):
            raise self._error(parsed, a, "SP219", f"a vector of {number} bytes is no power of two of `{spell(ctype)}`")
        return Vector(ctype, number)

    def _mode(self, parsed: Parsed, a: Attribute, ctype: CType) -> CType:
        from specc.headers.attributes import plain

        word = plain(parsed.scan.code[slice(*a.arguments)].strip()) if a.arguments else ""
        size, kind = _MODES.get(word, (0, ""))
        old = bare(ctype)
        if kind == "int" and isinstance(old, Int | Enum):
            name = _INT_BY_SIZE[size]
            unsigned = {"signed char": "unsigned char"}.get(name, f"unsigned {name}")
            if isinstance(old, Enum):
                return replace(old, size=size)
            return INTS[name if old.signed else unsigned]
        if "complex" in kind and isinstance(old, Complex):
            return Complex(LONG_DOUBLE if kind.startswith("x87") else FLOATS[_FLOAT_BY_SIZE[size]])
        if kind in ("float", "x87") and isinstance(old, Float):
            return LONG_DOUBLE if kind == "x87" else FLOATS[_FLOAT_BY_SIZE[size]]
        raise self._error(parsed, a, "SP219", f"`mode({word})` of `{spell(ctype)}` is not understood")

    # Places

    def _where(self, parsed: Parsed, node: Any) -> Location:
        coord = getattr(node, "coord", None)
        if coord is None or coord.line < 2:
            inner = self._innermost(node)
            coord = getattr(inner, "coord", None) if inner is not None else None
        if coord is None or coord.line < 2:
            return parsed.scan.location(parsed.start)
        return parsed.where(coord)

    def _innermost(self, node: Any) -> Any:
        inner = getattr(node, "type", None)
        while type(inner).__name__ in ("PtrDecl", "ArrayDecl", "FuncDecl"):
            inner = inner.type
        return inner if type(inner).__name__ == "TypeDecl" else None


__all__ = ["FLOAT", "Converter", "Environment", "decay", "qualified"]

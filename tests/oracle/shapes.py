"""C types as data, and one prototype with everything it needs as C text.

In: a Signature (types of the parameters, of the result).  Out: a Case (C text, and every leaf).

    >>> pair = struct(LONG, INT)
    >>> render(Signature((INT, pair)), "f1").prototype
    'void f1(int a0, struct f1_t0 a1)'
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

# What of an object is data: every bit, bit 0 of a _Bool, 10 of the 16 bytes of a long double,
# the low `bits` bits of a _BitInt, or whatever a bit-field covers (found by experiment).
LeafKind = Literal["bytes", "bool", "x87", "x87pair", "bitint", "bitfield"]


@dataclass(frozen=True, slots=True)
class Scalar:
    """A type without members. `declarator` spells the declaration of the name put into `{}`."""

    declarator: str
    kind: LeafKind = "bytes"
    bits: int = 0
    feature: str = ""  # a word that a compiler may lack
    adjusted: str = ""  # the object's type, when a parameter spelled so is something else


@dataclass(frozen=True, slots=True)
class Enum:
    values: tuple[str, ...]
    attributes: str = ""


@dataclass(frozen=True, slots=True)
class Vector:
    element: str
    size: int


@dataclass(frozen=True, slots=True)
class Array:
    element: Type
    length: int | None  # None: a flexible array member


@dataclass(frozen=True, slots=True)
class Typedef:
    base: Type
    attributes: str = ""


@dataclass(frozen=True, slots=True)
class Member:
    type: Type
    bits: int | None = None
    attributes: str = ""
    named: bool = True  # False: an unnamed bit-field, or an anonymous struct or union


@dataclass(frozen=True, slots=True)
class Record:
    keyword: Literal["struct", "union"]
    members: tuple[Member, ...]
    attributes: str = ""
    pack: int | None = None  # #pragma pack around the definition


Type = Scalar | Enum | Vector | Array | Typedef | Record


@dataclass(frozen=True, slots=True)
class Signature:
    parameters: tuple[Type, ...]
    returns: Type | None = None
    variadic: bool = False


@dataclass(frozen=True, slots=True)
class Leaf:
    path: str  # ".m0.m1[2]"; empty for a parameter that is a scalar
    kind: LeafKind
    bits: int = 0


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    type: str  # C text of the object's type
    leaves: tuple[Leaf, ...]


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    declarations: str
    prototype: str  # without a semicolon, so that a body can follow
    parameters: tuple[Parameter, ...]
    result: Parameter | None
    variadic: bool
    features: frozenset[str]
    signature: Signature

    @property
    def text(self) -> str:
        """The C text that specc is given."""
        return f"{self.declarations}{self.prototype};\n"


def scalar(spelling: str, **more: object) -> Scalar:
    return Scalar(spelling + " {}", **more)  # type: ignore[arg-type]


CHAR, SCHAR, UCHAR = scalar("char"), scalar("signed char"), scalar("unsigned char")
SHORT, USHORT = scalar("short"), scalar("unsigned short")
INT, UINT = scalar("int"), scalar("unsigned int")
LONG, ULONG = scalar("long"), scalar("unsigned long")
LLONG, ULLONG = scalar("long long"), scalar("unsigned long long")
BOOL = scalar("_Bool", kind="bool")
POINTER = scalar("void *")
FUNCTION = Scalar("int (*{})(long)")
ARRAY_PARAMETER = Scalar("int {}[4]", adjusted="int *")
FUNCTION_PARAMETER = Scalar("long {}(int)", adjusted="long (*)(int)")
FLOAT, DOUBLE = scalar("float"), scalar("double")
LONG_DOUBLE = scalar("long double", kind="x87")
COMPLEX_FLOAT, COMPLEX_DOUBLE = scalar("_Complex float"), scalar("_Complex double")
COMPLEX_LONG_DOUBLE = scalar("_Complex long double", kind="x87pair")
INT128, UINT128 = scalar("__int128"), scalar("unsigned __int128")
FLOAT16 = scalar("_Float16", feature="_Float16")
FLOAT128 = scalar("__float128", feature="__float128")


def bitint(bits: int, unsigned: bool = False) -> Scalar:
    spelling = f"{'unsigned ' if unsigned else ''}_BitInt({bits})"
    return scalar(spelling, kind="bitint", bits=bits, feature="_BitInt")


def member(item: Type | Member) -> Member:
    return item if isinstance(item, Member) else Member(item)


def struct(*items: Type | Member, attributes: str = "", pack: int | None = None) -> Record:
    return Record("struct", tuple(map(member, items)), attributes, pack)


def union(*items: Type | Member, attributes: str = "", pack: int | None = None) -> Record:
    return Record("union", tuple(map(member, items)), attributes, pack)


def parts(type_: Type) -> tuple[Type, ...]:
    """The types that a type is directly made of."""
    match type_:
        case Array(element=inner) | Typedef(base=inner):
            return (inner,)
        case Record(members=members):
            return tuple(one.type for one in members)
        case _:
            return ()


def features(type_: Type) -> frozenset[str]:
    own = {type_.feature} - {""} if isinstance(type_, Scalar) else set()
    return frozenset(own).union(*(features(part) for part in parts(type_)))


def leaves(type_: Type, path: str = "", prefix: str = "m") -> Iterator[Leaf]:
    """Every leaf; an array whose elements are data in every byte is one leaf."""
    match type_:
        case Scalar(kind=kind, bits=bits):
            yield Leaf(path, kind, bits)
        case Enum() | Vector():
            yield Leaf(path, "bytes")
        case Typedef(base=base):
            yield from leaves(base, path, prefix)
        case Array(element=element, length=length):
            if not length:
                return
            if _solid(element):
                yield Leaf(path, "bytes")
                return
            for index in range(length):
                yield from leaves(element, f"{path}[{index}]")
        case Record(members=members):
            for index, one in enumerate(members):
                name = f"{prefix}{index}"
                if one.bits is not None:
                    if one.named:
                        yield Leaf(f"{path}.{name}", "bitfield", one.bits)
                elif one.named:
                    yield from leaves(one.type, f"{path}.{name}")
                else:
                    yield from leaves(one.type, path, f"{name}_")


def _solid(type_: Type) -> bool:
    match type_:
        case Scalar(kind=kind):
            return kind == "bytes"
        case Typedef(base=inner) | Array(element=inner):
            return _solid(inner)
        case Record():
            return False
        case _:
            return True


def _attribute(text: str) -> str:
    return f" __attribute__(({text}))" if text else ""


class _Renderer:
    """Spells types, defining each named one once, under names that begin with `prefix`."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.lines: list[str] = []
        self.known: dict[Type, str] = {}

    def declare(self, type_: Type, name: str) -> str:
        match type_:
            case Scalar(declarator=declarator):
                return declarator.format(name)
            case Array(element=element, length=length):
                return self.declare(element, f"{name}[{'' if length is None else length}]")
            case _:
                if type_ not in self.known:
                    self.known[type_] = self.define(type_)
                return f"{self.known[type_]} {name}"

    def define(self, type_: Enum | Vector | Typedef | Record) -> str:
        """Append the definition of a type that has a name; the parts come first."""
        body = ""
        match type_:
            case Record():
                body = self.members(type_, "m")
            case Typedef(base=base):
                body = self.declare(base, "{}")
            case _:
                pass
        tag = f"{self.prefix}_t{len(self.known)}"
        while tag in self.known.values():
            tag += "x"
        match type_:
            case Enum(values=values, attributes=attributes):
                listed = ", ".join(f"{tag}_{i} = {value}" for i, value in enumerate(values))
                self.lines.append(f"enum{_attribute(attributes)} {tag} {{ {listed} }};")
                return f"enum {tag}"
            case Vector(element=element, size=size):
                self.lines.append(f"typedef {element} {tag} __attribute__((vector_size({size})));")
                return tag
            case Typedef(attributes=attributes):
                self.lines.append(f"typedef {body.format(tag)}{_attribute(attributes)};")
                return tag
            case Record(keyword=keyword, pack=pack):
                definition = f"{keyword} {tag} {{{body} }}{_attribute(type_.attributes)};"
                if pack is not None:
                    definition = f"#pragma pack(push, {pack})\n{definition}\n#pragma pack(pop)"
                self.lines.append(definition)
                return f"{keyword} {tag}"

    def members(self, record: Record, prefix: str) -> str:
        return "".join(f" {self.one_member(one, f'{prefix}{index}')};" for index, one in enumerate(record.members))

    def one_member(self, one: Member, name: str) -> str:
        attribute = _attribute(one.attributes)
        if one.bits is not None:
            return f"{self.declare(one.type, name if one.named else '')} : {one.bits}{attribute}"
        if one.named:
            return self.declare(one.type, name) + attribute
        if not isinstance(one.type, Record):
            raise TypeError("only a struct, a union or a bit-field can be without a name")
        inner = self.members(one.type, name + "_")
        return f"{one.type.keyword} {{{inner} }}{_attribute(one.type.attributes)}{attribute}"


def render(signature: Signature, name: str) -> Case:
    """The C text of a function of this signature; all that it declares begins with its name."""
    renderer = _Renderer(name)
    declared: list[str] = []
    parameters: list[Parameter] = []
    for index, type_ in enumerate(signature.parameters):
        declared.append(renderer.declare(type_, f"a{index}"))
        adjusted = type_.adjusted if isinstance(type_, Scalar) else ""
        text = adjusted or renderer.declare(type_, "").strip()
        parameters.append(Parameter(f"a{index}", text, tuple(leaves(type_))))
    if signature.variadic:
        declared.append("...")
    head = f"{name}({', '.join(declared) or 'void'})"
    returns = signature.returns
    prototype = f"void {head}"
    result: Parameter | None = None
    if returns is not None:
        prototype = renderer.declare(returns, head)
        text = renderer.declare(returns, "").strip()
        result = Parameter("result", text, tuple(leaves(returns)))
    used = signature.parameters if returns is None else (*signature.parameters, returns)
    return Case(
        name,
        "".join(line + "\n" for line in renderer.lines),
        prototype,
        tuple(parameters),
        result,
        signature.variadic,
        frozenset[str]().union(*map(features, used)),
        signature,
    )

"""C types and function prototypes, complete enough to place arguments and to lay out events.

In: nothing, these are nouns; `headers`, `btf` and `layout` make them.  Out: frozen values with a size and alignment.

    long_ = Int("long", 8, signed=True)
    Prototype("f", long_, (Parameter("p", Pointer(VOID)),))

A record behind a pointer is not expanded: it is a `Record` whose members are None. That keeps types finite and
makes the header and the BTF route comparable; who needs its members asks the source of the prototype for them.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from specc.diagnostics import Location
from specc.noun import dataclass


@dataclass(frozen=True, slots=True)
class Void:
    pass


@dataclass(frozen=True, slots=True)
class Int:
    """An integer base type under its canonical C name ("unsigned long"); `__int128` and `_Bool` are Ints too."""

    name: str
    size: int
    signed: bool
    kind: str = "int"  # "int", "char" or "bool"


@dataclass(frozen=True, slots=True)
class BitInt:
    """`_BitInt(width)`; bits of the storage above `width` are unspecified (psABI 3.1.2)."""

    width: int
    signed: bool
    size: int
    align: int


@dataclass(frozen=True, slots=True)
class Float:
    """A floating type. `data` is how many of its `size` bytes hold the value: 10 of 16 for long double."""

    name: str  # "_Float16", "float", "double", "long double", "__float128", "__bf16"
    size: int
    data: int


@dataclass(frozen=True, slots=True)
class Complex:
    element: Float | Int


@dataclass(frozen=True, slots=True)
class Vector:
    """GNU `vector_size(size)`: `size` is in bytes and is the alignment too."""

    element: CType
    size: int


@dataclass(frozen=True, slots=True)
class Pointer:
    target: CType


@dataclass(frozen=True, slots=True)
class Array:
    """`count` is None for a flexible array `[]`; `[0]` has count 0."""

    element: CType
    count: int | None


@dataclass(frozen=True, slots=True)
class Function:
    result: CType
    parameters: tuple[CType, ...]
    variadic: bool = False


@dataclass(frozen=True, slots=True)
class Enum:
    """`align` differs from `size` only when the declaration has an attribute; members are empty behind a forward."""

    tag: str | None
    size: int
    signed: bool
    members: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Member:
    """One member; `name` is "" for an anonymous record or an unnamed bit-field.

    `aligned` and `packed` are the attributes written on the member itself (None, False without): the emitter
    repeats them, so that the compiler proves `bit_offset`.
    """

    name: str
    type: CType
    bit_offset: int
    bit_width: int | None = None
    aligned: int | None = None
    packed: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """A struct or union with its layout. `members` is None when incomplete (then size and align are 0).

    `exact` says that everything the ABI depends on is known: alignment attributes, unnamed bit-fields, transparent
    unions. BTF and DWARF drop those, so records from there are not exact and `abi` treats the doubt as a doubt.
    `packed`, `aligned`, `pack` (`#pragma pack`) are as declared, for the emitter.

    Where gcc and clang lay the record out differently, it has gcc's layout, `clang` has the other, and `doubt` says
    what differs. The `doubt` of an incomplete record is why it could not be laid out.
    """

    kind: str  # "struct" or "union"
    tag: str | None
    members: tuple[Member, ...] | None
    size: int = 0
    align: int = 0
    transparent: bool = False
    exact: bool = True
    packed: bool = False
    aligned: int | None = None
    pack: int | None = None
    doubt: str = ""
    clang: Record | None = None

    @property
    def complete(self) -> bool:
        return self.members is not None


@dataclass(frozen=True, slots=True)
class Typedef:
    """`align` is the value of an `aligned` attribute on the typedef; it may raise or lower the target's."""

    name: str
    target: CType
    align: int | None = None


@dataclass(frozen=True, slots=True)
class Qualified:
    """const, volatile, restrict, _Atomic; and `__user`, `__percpu`, `__rcu` where the declaration says so."""

    target: CType
    qualifiers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unknown:
    """A type that specc cannot lay out (say `_Decimal64`, or a construct of a newer C): `reason` tells the user.

    `certain` says that this is known of the code, so that no declaration in C of the type is right about it.
    """

    name: str
    reason: str
    certain: bool = False


CType: TypeAlias = (
    Void
    | Int
    | BitInt
    | Float
    | Complex
    | Vector
    | Pointer
    | Array
    | Function
    | Enum
    | Record
    | Typedef
    | Qualified
    | Unknown
)


@dataclass(frozen=True, slots=True)
class Parameter:
    """`name` is None in a declaration without names. `type` is as declared, before array and function decay."""

    name: str | None
    type: CType
    where: Location | None = None


@dataclass(frozen=True, slots=True)
class Prototype:
    """A function's declaration. `convention` is "sysv" or the attribute that says otherwise ("ms_abi", "regparm").

    `source` is how a person names its origin: "include/mm.h:12" or "BTF of vmlinux".
    `doubt` says why the source may not tell all of this function (BTF gives assembler functions no arguments).
    """

    name: str
    result: CType
    parameters: tuple[Parameter, ...]
    variadic: bool = False
    convention: str = "sysv"
    where: Location | None = None
    source: str = ""
    doubt: str = ""


VOID: Final = Void()
CHAR: Final = Int("char", 1, True, "char")
SCHAR: Final = Int("signed char", 1, True)
UCHAR: Final = Int("unsigned char", 1, False)
SHORT: Final = Int("short", 2, True)
USHORT: Final = Int("unsigned short", 2, False)
INT: Final = Int("int", 4, True)
UINT: Final = Int("unsigned int", 4, False)
LONG: Final = Int("long", 8, True)
ULONG: Final = Int("unsigned long", 8, False)
LLONG: Final = Int("long long", 8, True)
ULLONG: Final = Int("unsigned long long", 8, False)
INT128: Final = Int("__int128", 16, True)
UINT128: Final = Int("unsigned __int128", 16, False)
BOOL: Final = Int("_Bool", 1, False, "bool")
FLOAT16: Final = Float("_Float16", 2, 2)
BFLOAT16: Final = Float("__bf16", 2, 2)
FLOAT: Final = Float("float", 4, 4)
DOUBLE: Final = Float("double", 8, 8)
LONG_DOUBLE: Final = Float("long double", 16, 10)
FLOAT128: Final = Float("__float128", 16, 16)

INTS: Final = {
    t.name: t for t in (CHAR, SCHAR, UCHAR, SHORT, USHORT, INT, UINT, LONG, ULONG, LLONG, ULLONG, INT128, UINT128, BOOL)
}
FLOATS: Final = {t.name: t for t in (FLOAT16, BFLOAT16, FLOAT, DOUBLE, LONG_DOUBLE, FLOAT128)}


def bare(ctype: CType) -> CType:
    """The type without typedefs and qualifiers around it."""
    while isinstance(ctype, Typedef | Qualified):
        ctype = ctype.target
    return ctype


def record_and_alias(ctype: CType) -> tuple[CType, str | None]:
    """The type without typedefs and qualifiers, and the name of the innermost typedef: that of a struct without a tag."""
    alias: str | None = None
    while isinstance(ctype, Typedef | Qualified):
        if isinstance(ctype, Typedef):
            alias = ctype.name
        ctype = ctype.target
    return ctype, alias


def decay(ctype: CType) -> CType:
    """What a parameter declared with this type really is (C11 6.7.6.3p7-8): arrays and functions are pointers."""
    match bare(ctype):
        case Array(element=element):
            return Pointer(element)
        case Function():
            return Pointer(ctype)
        case _:
            return ctype


def size_of(ctype: CType) -> int:
    """Bytes, as `sizeof` has it in GNU C; 0 for void, functions, incomplete and unknown types."""
    match ctype:
        case Int() | BitInt() | Float() | Vector() | Enum() | Record():
            return ctype.size
        case Complex(element=element):
            return 2 * element.size
        case Pointer():
            return 8
        case Array(element=element, count=count):
            return size_of(element) * (count or 0)
        case Typedef(target=target) | Qualified(target=target):
            return size_of(target)
        case Void() | Function() | Unknown():
            return 0


def align_of(ctype: CType) -> int:
    """Bytes, as `_Alignof` has it, attributes included; 1 where there is nothing to align."""
    match ctype:
        case Typedef(target=target, align=align):
            return align if align is not None else align_of(target)
        case Qualified(target=target):
            return align_of(target)
        case Array(element=element):
            return align_of(element)
        case Complex(element=element):
            return element.size
        case BitInt() | Record():
            return ctype.align or 1
        case Int() | Float() | Vector() | Enum():
            return ctype.size or 1
        case Pointer():
            return 8
        case Void() | Function() | Unknown():
            return 1


def spell(ctype: CType, name: str = "") -> str:
    """The C declaration of `name` with this type ("struct page **pages"), or the bare type name without one."""
    match ctype:
        case Pointer(target=target):
            inner = bare_qualified(target)
            if isinstance(inner, Array | Function):
                return spell(target, f"(*{name})")
            return spell(target, f"*{name}")
        case Array(element=element, count=count):
            return spell(element, f"{name}[{'' if count is None else count}]")
        case Function(result=result, parameters=parameters, variadic=variadic):
            inside = [spell(p) for p in parameters] + (["..."] if variadic else [])
            return spell(result, f"{name}({', '.join(inside) or 'void'})")
        case Qualified(target=target, qualifiers=qualifiers):
            words = " ".join(qualifiers)
            if isinstance(target, Pointer):
                return spell(target, f"{words} {name}".rstrip())
            return f"{words} {spell(target, name)}"
        case _:
            word = type_word(ctype)
            return f"{word} {name}" if name else word


def bare_qualified(ctype: CType) -> CType:
    """The type without qualifiers only: what decides whether a pointer to it needs parentheses."""
    while isinstance(ctype, Qualified):
        ctype = ctype.target
    return ctype


def type_word(ctype: CType) -> str:
    """The specifier of a type that is not derived: "unsigned long", "struct page", "enum (anonymous)"."""
    match ctype:
        case Void():
            return "void"
        case Int(name=name) | Float(name=name) | Typedef(name=name) | Unknown(name=name):
            return name
        case BitInt(width=width, signed=signed):
            return f"{'' if signed else 'unsigned '}_BitInt({width})"
        case Complex(element=element):
            return f"_Complex {element.name}"
        case Vector(element=element, size=size):
            return f"{spell(element)} __attribute__((vector_size({size})))"
        case Enum(tag=tag):
            return f"enum {tag or '(anonymous)'}"
        case Record(kind=kind, tag=tag):
            return f"{kind} {tag or '(anonymous)'}"
        case _:
            raise AssertionError(f"{type(ctype).__name__} has no specifier of its own")


def spell_prototype(p: Prototype) -> str:
    """One line of C for a message: `long f(struct mm_struct *mm, unsigned long start)`."""
    inside = [spell(a.type, a.name or "") for a in p.parameters] + (["..."] if p.variadic else [])
    return spell(p.result, f"{p.name}({', '.join(inside) or 'void'})")

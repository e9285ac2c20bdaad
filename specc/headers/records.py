"""Structs, unions and enums with a body: their members and values, laid out.

In: a `Parsed` node and the converter.  Out: `Record` and `Enum`.

    build_record(converter, parsed, node)      # Record("struct", "stat", (Member(...), ...), 144, 8)
    build_enum(converter, parsed, node)        # Enum("pid_type", 4, False, (("PIDTYPE_PID", 0), ...))
"""

from __future__ import annotations

from typing import Any, Protocol

from specc.diagnostics import stop
from specc.headers.attributes import TAGS, Attribute
from specc.headers.meaning import attribute_error, check_known
from specc.headers.syntax import Parsed
from specc.layout import lay_out
from specc.prototype import INT, LONG, BitInt, CType, Enum, Int, Member, Record, bare, size_of, spell


class Converter(Protocol):
    """What a body needs of `convert.Converter`."""

    def declared(self, parsed: Parsed, node: Any, need: bool) -> CType: ...
    def operand_type(self, start: int, end: int, need: bool) -> CType: ...
    def integer(self, parsed: Parsed, node: Any) -> int: ...
    def alignment(self, parsed: Parsed, a: Attribute) -> int: ...
    def define_constant(self, name: str, value: int, ctype: CType) -> None: ...


def build_record(converter: Converter, parsed: Parsed, node: Any) -> Record:
    """The record that a struct or union node with members defines."""
    kind = type(node).__name__.lower()
    brace = parsed.brace(node)
    members = [m for decl in node.decls for m in _members(converter, parsed, decl)]
    packed, aligned, transparent = False, None, False
    for a in parsed.type.get(brace, ()):
        check_known(parsed, a)
        if a.name == "packed":
            packed = True
        elif a.name == "aligned":
            aligned = max(aligned or 0, converter.alignment(parsed, a)) or None
        elif a.name == "transparent_union" and kind == "union":
            transparent = True
        elif a.name not in TAGS:
            raise attribute_error(parsed, a, f"`{a.name}` on a {kind} is not understood")
    pack = parsed.scan.pack(brace)
    if pack != parsed.scan.pack(parsed.scan.closing(brace)):
        # gcc takes the value at the end of the record, clang the one at its beginning.
        raise stop("SP219", "`#pragma pack` inside a record is not understood", parsed.place(node))
    return lay_out(kind, node.name, members, packed=packed, aligned=aligned, pack=pack, transparent=transparent)


def _members(converter: Converter, parsed: Parsed, decl: Any) -> list[Member]:
    """One member, or none for a declaration inside a record that declares none."""
    if type(decl).__name__ in ("Pragma", "StaticAssert", "EmptyStatement"):
        return []
    inner = decl.type
    if decl.bitsize is None and decl.name is None and type(inner).__name__ in ("Struct", "Union", "Enum"):
        if type(inner).__name__ == "Enum":
            converter.declared(parsed, decl, False)
            return []
        if inner.name is not None:
            raise stop(
                "SP213",
                f"`{type(inner).__name__.lower()} {inner.name}` without a member name declares a member only "
                "under -fms-extensions, and whether that was given is not known",
                parsed.place(inner),
                help="give the member a name, or take the tag away",
            )
    ctype = converter.declared(parsed, decl, True)
    width = converter.integer(parsed, decl.bitsize) if decl.bitsize is not None else None
    if width is not None and not 0 <= width <= _bits(ctype):
        raise stop("SP218", f"a bit-field of {width} bits in `{spell(ctype)}`", parsed.place(decl.bitsize))
    aligned: int | None = None
    packed = False
    for a, _ in parsed.entity.get(id(decl), ()):
        if a.name == "aligned":
            aligned = max(aligned or 0, converter.alignment(parsed, a)) or None
        elif a.name == "packed":
            packed = True
    return [Member(decl.name or "", ctype, 0, width, aligned, packed)]


def _bits(ctype: CType) -> int:
    inner = bare(ctype)
    if isinstance(inner, Int) and inner.kind == "bool":
        return 1
    return inner.width if isinstance(inner, BitInt) else 8 * size_of(inner)


def build_enum(converter: Converter, parsed: Parsed, node: Any) -> Enum:
    """The enum that a node with enumerators defines; its constants become known to the environment."""
    brace = parsed.brace(node)
    define = converter.define_constant
    members: list[tuple[str, int]] = []
    following = 0
    for e in node.values.enumerators:
        if type(e).__name__ != "Enumerator":
            continue
        value = following if e.value is None else converter.integer(parsed, e.value)
        members.append((e.name, value))
        # gcc manual, C11 6.7.2.2p3: inside the enum, a constant that fits has type int
        define(e.name, value, INT if _fits_int(value) else LONG)
        following = value + 1
    low = min((v for _, v in members), default=0)
    high = max((v for _, v in members), default=0)
    signed = low < 0
    # gcc and clang: unsigned int unless a value is negative, 8 bytes when a value needs them
    size = 4 if low >= -(2**31) and high < (2**31 if signed else 2**32) else 8
    for a in parsed.type.get(brace, ()):
        check_known(parsed, a)
        if a.name == "packed":
            size = next((s for s in (1, 2, 4) if _holds(s, signed, low, high)), 8)
        elif a.name not in TAGS:
            raise attribute_error(parsed, a, f"`{a.name}` on an enum is not understood")
    if not _holds(size, signed, low, high):
        raise stop("SP218", f"the values of `enum {node.name or ''}` fit no integer type", parsed.place(node))
    fixed = _underlying(converter, parsed, brace)
    if fixed is not None:
        size, signed = fixed.size, fixed.signed
    enum = Enum(node.name, size, signed, tuple(members))
    for name, value in members:
        define(name, value, INT if fixed is None and _fits_int(value) else enum)
    return enum


def _fits_int(value: int) -> bool:
    return -(2**31) <= value < 2**31


def _holds(size: int, signed: bool, low: int, high: int) -> bool:
    bits = 8 * size
    return low >= -(1 << bits - 1) and high < 1 << (bits - 1 if signed else bits)


def _underlying(converter: Converter, parsed: Parsed, brace: int) -> Int | None:
    """The type that C23's `enum e : TYPE` fixes."""
    place = parsed.cleaned.enum_types.get(brace)
    if place is None:
        return None
    ctype = bare(converter.operand_type(*place, need=False))
    if not isinstance(ctype, Int):
        raise stop("SP213", f"`{spell(ctype)}` cannot be under an enum", parsed.scan.location(place[0]))
    return ctype

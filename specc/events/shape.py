"""What the bytes of an event mean: C types in, leaves at their offsets out.

    shape(timespec64, 56)       # Object((("tv_sec", Leaf(56, "q", "int")), ("tv_nsec", Leaf(64, "q", "int"))))

A leaf is what one `struct` code unpacks, and how the result becomes a value. Decoders, writers and columns are all
made from these shapes, so that they cannot disagree.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from types import MappingProxyType
from typing import Final, TypeAlias

from specc.events.naming import Naming
from specc.events.stacks import Stacks
from specc.ir import Event, Field, Role
from specc.prototype import Array, BitInt, Complex, CType, Enum, Float, Int, Pointer, Record, Vector, bare, size_of

Value: TypeAlias = "int | float | str | bool | Decimal | list[Value] | dict[str, Value] | None"

_SIGNED: Final = {1: "b", 2: "h", 4: "i", 8: "q"}
_MOST_ITEMS: Final = 16  # a longer array is one leaf, taken apart by a loop


@dataclass(frozen=True, slots=True)
class Leaf:
    """`code` (of `struct`, little-endian) at `offset`; `kind` says what its result is:

    "int", "bool", "float", "text" as they are; "truth" an integer shown as a boolean; "bits" the bits from `shift` on,
    `width` of them, `signed` or not; "wide" an integer of `width` bits, "wide truth" a boolean, "number" a floating value, "bytes" text in hex and
    "list" a list, all from bytes by `convert`; "named" an integer that `naming` has a name for; "stack" the id of one of
    `stacks`; "nothing" a value without
    bytes. A list has its `element`, as it is at offset 0.
    """

    offset: int
    code: str
    kind: str
    shift: int = 0
    width: int = 0
    signed: bool = False
    convert: Callable[[bytes], Value] | None = None
    element: Shape | None = None
    naming: Naming | None = None
    stacks: Stacks | None = None

    @property
    def size(self) -> int:
        return struct.calcsize(f"<{self.code}")


@dataclass(frozen=True, slots=True)
class Object:
    members: tuple[tuple[str, Shape], ...]


@dataclass(frozen=True, slots=True)
class Items:
    items: tuple[Shape, ...]


Shape: TypeAlias = Leaf | Object | Items


@dataclass(frozen=True, slots=True)
class Slot:
    """One key of a record. `status` is the offset of its errno, `absent` the offset and the bit that say it is not there.

    `cut` is the offset of the true length of a string or of bytes, and the most that the event can hold of them.
    """

    key: str
    field: Field
    shape: Shape
    status: int | None
    absent: tuple[int, int] | None
    cut: tuple[int, int] | None


def slots(event: Event, stacks: Mapping[str, Stacks] = MappingProxyType({})) -> tuple[Slot, ...]:
    """The keys of an event's records, after "probe", in their order. Of a stack trace for which `stacks`, by the names of
    fields, has nothing, a record has the id."""
    absent = next((f.offset for f in event.fields if f.role is Role.ABSENT), None)
    made = []
    for field in event.fields:
        if field.role is Role.CONTEXT:
            of: Shape = _context(field)
        elif field.role is Role.VALUE:
            assert field.type is not None, "a value has a type"
            of = shape(field.type, field.offset, field.offset + field.size)
            if field.format == "bool":
                of = _truth(of)
            if field.names is not None and isinstance(of, Leaf) and of.kind == "int":
                of = Leaf(of.offset, of.code, "named", naming=Naming(field.names, of.size))
            if field.length is not None and field.c_type != "char":
                of = _bytes(event.field(field.length).offset, field)
        elif field.role is Role.STACK:
            named = stacks.get(field.name)
            of = Leaf(field.offset, "I", "int" if named is None else "stack", stacks=named)
        else:
            continue
        status = None if field.status is None else event.field(field.status).offset
        bit = None if field.absent_bit is None or absent is None else (absent, field.absent_bit)
        cut = None
        if field.length is not None:
            held = field.size - 1 if field.c_type == "char" else field.size  # a string ends in a NUL
            cut = (event.field(field.length).offset, held)
        made.append(Slot(field.record_key, field, of, status, bit, cut))
    return tuple(made)


def _context(field: Field) -> Leaf:
    if field.c_type == "char":
        return Leaf(field.offset, f"{field.size}s", "text")
    return Leaf(field.offset, _SIGNED[field.size].upper(), "int")


def _bytes(length: int, field: Field) -> Leaf:
    """Bytes in hex, as many as there are: a leaf that begins with their length, which lies before them."""
    assert length + 4 == field.offset, "the length of bytes is before them"

    def convert(raw: bytes) -> Value:
        return raw[4 : 4 + int.from_bytes(raw[:4], "little")].hex()

    return Leaf(length, f"{4 + field.size}s", "bytes", convert=convert)


def _truth(of: Shape) -> Shape:
    if isinstance(of, Leaf) and of.kind == "int":
        return Leaf(of.offset, of.code, "truth")
    if isinstance(of, Leaf) and of.convert is not None:
        convert = of.convert
        return Leaf(of.offset, of.code, "wide truth", convert=lambda raw: bool(convert(raw)))
    if isinstance(of, Leaf) and of.kind == "bits":
        return Leaf(of.offset, of.code, "truth")  # a _BitInt: its other bits are zero
    return of


def shape(ctype: CType, offset: int, end: int) -> Shape:
    """The shape of an object of this type at `offset`; memory may be looked at up to `end`."""
    kind = bare(ctype)
    match kind:
        case Int(kind="bool", size=1):
            return Leaf(offset, "?", "bool")
        case Int(size=size, signed=signed) | Enum(size=size, signed=signed) if size in _SIGNED:
            return Leaf(offset, _SIGNED[size] if signed else _SIGNED[size].upper(), "int")
        case Int(size=size, signed=signed) if size:
            return Leaf(offset, f"{size}s", "wide", 0, 8 * size, signed, _integer(0, 8 * size, signed))
        case BitInt(width=width, signed=signed, size=size):
            return _bits(8 * offset, width, signed, offset + size)
        case Pointer():
            return Leaf(offset, "Q", "int")
        case Float():
            return _float(kind, offset)
        case Complex(element=element):
            parts = (("real", shape(element, offset, end)), ("imag", shape(element, offset + element.size, end)))
            return Object(parts)
        case Vector(element=element, size=size):
            return _array(element, size // max(1, size_of(element)), offset, end)
        case Array(element=element, count=count):
            inner = bare(element)
            if isinstance(inner, Int) and inner.kind == "char":
                return Leaf(offset, f"{count or 0}s", "text")
            return _array(element, count or 0, offset, end)
        case Record():
            return Object(tuple(_members(kind, offset, end)))
        case _:
            return Leaf(offset, "0s", "nothing")


def _members(record: Record, offset: int, end: int) -> list[tuple[str, Shape]]:
    """Members by their names; those of an anonymous one are its parent's, as they are in C."""
    found: list[tuple[str, Shape]] = []
    for member in record.members or ():
        inner = bare(member.type)
        if member.bit_width is not None:
            if member.name and member.bit_width:
                signed = isinstance(inner, Int | Enum | BitInt) and inner.signed
                bits = _bits(8 * offset + member.bit_offset, member.bit_width, signed, end)
                boolean = isinstance(inner, Int) and inner.kind == "bool"
                found.append((member.name, _truth_of_bits(bits) if boolean else bits))
            continue
        at = offset + member.bit_offset // 8
        if member.name:
            found.append((member.name, shape(member.type, at, end)))
        elif isinstance(inner, Record):
            found.extend(_members(inner, at, end))
    return found


def _truth_of_bits(leaf: Leaf) -> Leaf:
    if leaf.kind == "bits":
        return Leaf(leaf.offset, leaf.code, "bits truth", leaf.shift, leaf.width)
    convert = leaf.convert
    assert convert is not None
    return Leaf(leaf.offset, leaf.code, "wide truth", convert=lambda raw: bool(convert(raw)))


def _bits(start: int, width: int, signed: bool, end: int) -> Leaf:
    """Bits of memory from bit `start` on: a leaf of the smallest aligned unit that has them all."""
    for size in (1, 2, 4, 8):
        at = start // 8 // size * size
        if start + width <= 8 * (at + size) and at + size <= end:
            return Leaf(at, _SIGNED[size].upper(), "bits", start - 8 * at, width, signed)
    at = start // 8
    length = (start + width + 7) // 8 - at
    return Leaf(at, f"{length}s", "wide", 0, width, signed, _integer(start - 8 * at, width, signed))


def _integer(shift: int, width: int, signed: bool) -> Callable[[bytes], int]:
    mask, sign = (1 << width) - 1, 1 << width - 1 if signed else 0

    def convert(raw: bytes) -> int:
        return ((int.from_bytes(raw, "little") >> shift & mask) ^ sign) - sign

    return convert


def _array(element: CType, count: int, offset: int, end: int) -> Shape:
    size = size_of(element)
    if count <= _MOST_ITEMS:
        return Items(tuple(shape(element, offset + i * size, end) for i in range(count)))
    if not size:
        return Items(())
    inner = shape(element, 0, size)

    def convert(raw: bytes) -> Value:
        return [plain(inner, raw[i : i + size]) for i in range(0, len(raw), size)]

    return Leaf(offset, f"{count * size}s", "list", convert=convert, element=inner)


def plain(of: Shape, raw: bytes) -> Value:
    """The value of a shape in `raw`, one leaf at a time: the slow way that needs no preparation."""
    match of:
        case Object(members=members):
            return {name: plain(inner, raw) for name, inner in members}
        case Items(items=items):
            return [plain(inner, raw) for inner in items]
        case Leaf():
            (got,) = struct.unpack_from(f"<{of.code}", raw, of.offset) if of.kind != "nothing" else (None,)
            return finish(of, got)


def finish(leaf: Leaf, got: int | float | bytes | bool | None) -> Value:
    """What a leaf's code unpacked, as a value of a record."""
    if isinstance(got, bytes):
        if leaf.kind == "text":
            return text(got)
        assert leaf.convert is not None
        return leaf.convert(got)
    if isinstance(got, float):
        return number(got)
    if leaf.kind == "nothing" or got is None:
        return None
    if leaf.kind == "truth":
        return got != 0
    if leaf.naming is not None:
        return leaf.naming[int(got)]
    if leaf.stacks is not None:
        return [*leaf.stacks[int(got)]]
    if leaf.kind.startswith("bits"):
        sign = 1 << leaf.width - 1 if leaf.signed else 0
        bits = ((got >> leaf.shift & (1 << leaf.width) - 1) ^ sign) - sign
        return bits != 0 if leaf.kind == "bits truth" else bits
    return got


# --- floating values and text -----------------------------------------------------------------------------------------


def text(raw: bytes) -> str:
    """A char array as C has it, up to its first NUL; bytes that are not UTF-8 are spelled \\xff."""
    return raw.partition(b"\0")[0].decode("utf-8", "backslashreplace")


def number(value: float) -> float | str:
    """What JSON has no number for is a string: "nan", "inf", "-inf"."""
    if value - value == 0:
        return value
    return "nan" if value != value else "inf" if value > 0 else "-inf"


def _float(kind: Float, offset: int) -> Leaf:
    match kind:
        case Float(name="__bf16"):
            return Leaf(offset, "2s", "number", convert=_bfloat16)
        case Float(size=2):
            return Leaf(offset, "e", "float")
        case Float(size=4):
            return Leaf(offset, "f", "float")
        case Float(size=8):
            return Leaf(offset, "d", "float")
        case Float(data=10):
            return Leaf(offset, "10s", "number", convert=_extended)
        case Float(size=16):
            return Leaf(offset, "16s", "number", convert=_quad)
        case _:
            return Leaf(offset, "0s", "nothing")


def _bfloat16(raw: bytes) -> Value:
    (value,) = struct.unpack("<f", b"\0\0" + raw)  # the upper half of a float
    return number(value)


def _extended(raw: bytes) -> Value:
    """The x87's 80 bits: a sign, 15 bits of exponent, and 64 of significand whose first is not implied."""
    significand = int.from_bytes(raw[:8], "little")
    word = int.from_bytes(raw[8:], "little")
    exponent = word & 0x7FFF
    if exponent == 0x7FFF:
        return _special(word >> 15, significand << 1 & (1 << 64) - 1 or not significand >> 63)
    if exponent and not significand >> 63:
        return "nan"  # an unnormal, which the processor takes no more
    return _scaled(word >> 15, significand, max(exponent, 1) - 16383 - 63, 21)


def _quad(raw: bytes) -> Value:
    """IEEE 754 binary128: a sign, 15 bits of exponent, 112 of significand after the implied one."""
    whole = int.from_bytes(raw, "little")
    exponent, fraction = whole >> 112 & 0x7FFF, whole & (1 << 112) - 1
    if exponent == 0x7FFF:
        return _special(whole >> 127, fraction)
    return _scaled(whole >> 127, fraction | (1 << 112 if exponent else 0), max(exponent, 1) - 16383 - 112, 36)


def _special(negative: int, payload: int) -> str:
    return "nan" if payload else "-inf" if negative else "inf"


def _scaled(negative: int, significand: int, exponent: int, digits: int) -> float | Decimal:
    """significand * 2**exponent with the digits that tell it apart: a float where that is the same number and is written
    with the same digits. (0.1 is not: of a wider type its neighbours are nearer.)"""
    if significand == 0:
        return -0.0 if negative else 0.0
    context = Context(prec=digits, Emax=999_999, Emin=-999_999)
    if exponent >= 0:
        decimal = context.create_decimal(significand << exponent)
    else:
        decimal = context.divide(Decimal(significand), Decimal(1 << -exponent))
    near = float(decimal)
    if math.isfinite(near) and Decimal(repr(near)) == decimal and _is(near, significand, exponent):
        return -near if negative else near
    return decimal.copy_negate() if negative else decimal


def _is(value: float, significand: int, exponent: int) -> bool:
    """Whether it is significand * 2**exponent."""
    top, bottom = value.as_integer_ratio()
    return top << max(-exponent, 0) == (significand * bottom) << max(exponent, 0)

"""How values are stored in an event, and where: planned fields in, an `Event` without hidden padding out.

    storage(Pointer(VOID))            # Storage("__u64", None, (0xffff_ffff_ffff_ffff,))
    lay_out_event("gup_gup_event", "gup", 0, (Planned(...), ...))

A scalar is stored in its own width. Everything wider than 8 bytes, and every struct and union, is stored as whole
eightbytes with its padding cut to zero, so that no stray kernel byte leaves with it.
"""

from __future__ import annotations

from specc.ir import ALL_BITS, Event, Field, Names, Role
from specc.layout import data_mask
from specc.noun import dataclass
from specc.prototype import Array, BitInt, CType, Enum, Float, Int, Pointer, bare, decay, size_of


@dataclass(frozen=True, slots=True)
class Storage:
    """`c_type name` or `c_type name[count]`; `masks` has the data bits of each element."""

    c_type: str
    count: int | None
    masks: tuple[int, ...]

    @property
    def size(self) -> int:
        return width(self.c_type) * (1 if self.count is None else self.count)


def width(c_type: str) -> int:
    """Bytes of one of the fixed-width types that events are made of."""
    return 1 if c_type == "char" else int(c_type[3:]) // 8


def storage(ctype: CType) -> Storage:
    """How an event holds a value of this type. A type without bytes gets an array without elements."""
    kind = bare(decay(ctype))
    size = size_of(kind)
    match kind:
        case Int(signed=signed, kind=flavour) if size <= 8:
            return Storage(f"__{'s' if signed and flavour != 'bool' else 'u'}{8 * size}", None, (ALL_BITS,))
        case Enum(signed=signed):
            return Storage(f"__{'s' if signed else 'u'}{8 * size}", None, (ALL_BITS,))
        case Pointer():
            return Storage("__u64", None, (ALL_BITS,))
        case BitInt(width=bits) if size <= 8:
            return Storage(f"__u{8 * size}", None, ((1 << bits) - 1,))
        case Float() if size <= 8:
            return Storage(f"__u{8 * size}", None, (ALL_BITS,))
        case _:
            return in_eightbytes(kind)


def in_eightbytes(ctype: CType) -> Storage:
    """How an event holds what may have several eightbytes, without its padding."""
    mask = data_mask(ctype)
    words = tuple(int.from_bytes(mask[i : i + 8], "little") for i in range(0, len(mask), 8))
    return Storage("__u64", len(words), words)


def array_storage(array: CType) -> Storage:
    """How an event holds an array that is a value: text as such, else as whole eightbytes."""
    kind = bare(array)
    assert isinstance(kind, Array)
    element = bare(kind.element)
    if isinstance(element, Int) and element.kind == "char":
        return Storage("char", size_of(kind), (ALL_BITS,))
    return in_eightbytes(kind)


@dataclass(frozen=True, slots=True)
class Planned:
    """A field that has no offset yet."""

    name: str
    c_type: str
    count: int | None
    role: Role
    type: CType | None = None
    format: str | None = None
    status: str | None = None
    absent_bit: int | None = None
    comment: str = ""
    key: str = ""
    place: str = ""
    length: str | None = None
    names: Names | None = None


def lay_out_fields(planned: tuple[Planned, ...]) -> tuple[tuple[Field, ...], int]:
    """Fields in their order at their natural alignment, every gap a named PADDING field, the size a multiple of 8."""
    fields: list[Field] = []
    offset = 0

    def pad(to: int) -> None:
        nonlocal offset
        if gap := -offset % to:
            name = f"__pad{sum(f.role is Role.PADDING for f in fields)}"
            fields.append(Field(name, offset, gap, "__u8", gap, Role.PADDING))
            offset += gap

    for p in planned:
        each = width(p.c_type)
        pad(each)
        size = each * (1 if p.count is None else p.count)
        fields.append(
            Field(
                p.name,
                offset,
                size,
                p.c_type,
                p.count,
                p.role,
                p.type,
                p.format,
                p.status,
                p.absent_bit,
                p.comment,
                p.key,
                p.place,
                p.length,
                p.names,
            )
        )
        offset += size
    pad(8)
    return tuple(fields), offset


def lay_out_event(name: str, probe: str, number: int, planned: tuple[Planned, ...]) -> Event:
    fields, size = lay_out_fields(planned)
    return Event(name, probe, number, size, fields)

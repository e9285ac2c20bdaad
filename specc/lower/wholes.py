"""A struct or union that is read whole from behind a pointer: whether it can be, and what a program looks at first.

In: the hop that ends at a record with its members.  Out: the `Leaf` of each member for the kernel's code; or a Stop (SP266).

    leaves(hop, "*time", where)[1].offset       # 8, of tv_nsec in struct timespec64

In a process the layout is that of the header, or of the program's debug information. A kernel may have another one, of
which CO-RE tells the size, and of each member where it is, how big, and whether it has a sign. Of a bit-field it tells the
unit and how far that is shifted up, to where the field ends, and down again, to where it begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from specc.diagnostics import Location, stop
from specc.ir import Leaf
from specc.noun import replace
from specc.path import Access, Hop, flexible_member, innermost
from specc.prototype import Array, CType, Enum, Float, Int, Member, Pointer, Record, bare, size_of, spell

MOST_BYTES: Final = 256
MOST_LEAVES: Final = 32
_HELP: Final = "name the members that are wanted with `field`"


def check_whole(ctype: CType, what: str, where: Location | None) -> None:
    """Raises Stop (SP266) for a record that is never read whole."""
    record = bare(ctype)
    assert isinstance(record, Record)
    if record.members is None:
        why = f"whose members are not known{': ' if record.doubt else ''}{record.doubt}"
    elif record.doubt:
        why = f"whose layout is not sure: {record.doubt}"
    elif (name := flexible_member(record)) is not None:
        why = f"whose member `{name}` has no declared length"
    elif record.size == 0:
        why = "which has no bytes"
    elif record.size > MOST_BYTES:
        why = f"which has {record.size} bytes, and {MOST_BYTES} are the most that are read whole"
    else:
        return
    raise stop("SP266", f"`{what}` is `{spell(ctype)}`, {why}", where, help=_HELP)


def leaves(hop: Hop, what: str, where: Location | None) -> tuple[Leaf, ...]:
    """The members of the record that a hop in the kernel ends at. Raises Stop (SP266) for what CO-RE does not tell."""
    record = bare(hop.type)
    assert isinstance(record, Record)
    found: list[Leaf] = []
    for path, member, offset in _members(record, (), 0):
        name = ".".join(a.name for a in path if a.name)
        kind, step, accesses = bare(member.type), None, path
        several = isinstance(kind, Array)
        if isinstance(kind, Array):
            element = innermost(kind)
            if size_of(kind) > size_of(element):
                step = size_of(element)
                accesses = (*path, Access(None, 1, element))
            kind = element
        # What elements that are structs have is looked at in the first one: all are of one type.
        told_apart = several and isinstance(kind, Record) and kind.members is not None
        if not told_apart and (not isinstance(kind, Int | Enum | Pointer | Float) or size_of(kind) not in (1, 2, 4, 8)):
            raise _untold(
                hop, what, f"nothing tells how member `{name}`, `{spell(member.type)}`, is laid out there", where
            )
        # CO-RE tells the sign of members, and not of an array's elements (relo_core.c, bpf_core_calc_field_relo).
        told = isinstance(kind, Int) and kind.size > 1 and kind.kind != "bool" and not several
        sign = kind.signed if told and isinstance(kind, Int) else None
        at = replace(
            hop, accesses=(*hop.accesses, *accesses), bit_offset=hop.bit_offset + offset, type=accesses[-1].type
        )
        width = member.bit_width
        end = offset + width if width is not None else 0
        found.append(Leaf(at, offset // 8, size_of(member.type), sign, step, several, width, end))
    if len(found) > MOST_LEAVES:
        raise _untold(hop, what, f"{len(found)} members, and at most {MOST_LEAVES} are looked at", where)
    return tuple(found)


def _untold(hop: Hop, what: str, why: str, where: Location | None) -> Exception:
    message = (
        f"`{what}` is `{spell(hop.type)}`, whose layout the program cannot compare with the running kernel's: {why}"
    )
    return stop("SP266", message, where, help=_HELP)


def _members(record: Record, path: tuple[Access, ...], base: int) -> Iterator[tuple[tuple[Access, ...], Member, int]]:
    """Each named member that is no record, by the names that lead there, and its place in bits; of an array of records
    also what its first element has."""
    for member in record.members or ():
        inner = bare(member.type)
        here = (*path, Access(member.name, None, member.type)) if member.name else path
        if isinstance(inner, Record) and member.bit_width is None:
            yield from _members(inner, here, base + member.bit_offset)
        elif member.name:
            yield here, member, base + member.bit_offset
            element = innermost(inner)
            if isinstance(element, Record):
                yield from _members(element, (*here, Access(None, 0, element)), base + member.bit_offset)

"""A member of a struct that is passed, or returned, by value: its bits are taken out of the eightbytes that hold it.

In: the path from the argument.  Out: the member's walk, what is left of the path behind a pointer in the struct, and the
value; or a Stop.

    walked, rest = into(Record("struct", "path", ...), path, known.complete, "path")
    member(whole, walked)               # a Value whose `wanted` is the eightbyte of `path.dentry`

Nothing is read for it but what a stack argument takes anyway.
"""

from __future__ import annotations

from specc.diagnostics import stop
from specc.lower.captures import Part, Span
from specc.lower.event import in_eightbytes, storage
from specc.lower.nouns import Value
from specc.lower.wholes import check_whole
from specc.noun import replace
from specc.path import Complete, Hop, Path, innermost, walk
from specc.place import STACK, Piece, place_text
from specc.prototype import Array, CType, Enum, Float, Int, Pointer, Record, bare, size_of, spell


def is_by_value(declared: CType) -> bool:
    return isinstance(bare(declared), Record)


def into(declared: CType, path: Path, complete: Complete | None, name: str) -> tuple[Hop, Path | None]:
    """The member, and the rest of the path, which begins at a pointer. Raises Stop: SP264 to SP266."""
    walked = walk(declared, path, complete or (lambda ctype: f"nothing here says what `{spell(ctype)}` has"), name)
    inside = walked.inside
    assert inside is not None, "the path begins in a struct"
    rest = path.steps[len(inside.accesses) :]
    kind, first = bare(inside.type), inside.bit_offset % 64
    width = inside.bit_width or 8 * size_of(kind)
    said = f"{name}.{path.text}"
    if isinstance(kind, Record):
        check_whole(inside.type, said, path.where)
    if is_several(inside.type):
        return inside, None
    if not isinstance(kind, Int | Enum | Pointer | Float) or size_of(kind) not in (1, 2, 4, 8):
        raise stop(
            "SP266", f"`{said}` is `{spell(inside.type)}`, which a path does not take out of a struct by value",
            path.where, help="record the struct whole: its members are in the record",
        )  # fmt: skip
    if first + width > 64:
        raise stop("SP266", f"`{said}` lies in two eightbytes of `{spell(declared)}`", path.where,
                   help="record the struct whole: its members are in the record")  # fmt: skip
    if not rest:
        return inside, None
    text = "".join(f"[{s.index}]" if s.name is None else f".{s.name}" for s in rest).removeprefix(".")
    return inside, Path(text, path.where, rest)


def is_several(ctype: CType) -> bool:
    """An array of numbers or pointers, or a struct: what is recorded as it lies there."""
    kind = bare(ctype)
    if isinstance(kind, Array):
        return size_of(kind) > 0 and isinstance(innermost(kind), Int | Enum | Pointer | Float)
    return isinstance(kind, Record)


def several(whole: Value, inside: Hop, said: str) -> Value:
    """The value of an array or a struct, of the value of the struct that it is in."""
    assert whole.wanted is not None and inside.bit_offset % 8 == 0
    first, size = inside.bit_offset // 8, size_of(inside.type)
    form = in_eightbytes(bare(inside.type))
    comment = f"{whole.wanted.comment} from byte {first}" if first else whole.wanted.comment
    span = Span(first, size, whole.wanted.eightbytes)
    wanted = replace(whole.wanted, storage=form, comment=comment, span=span)
    return replace(whole, type=inside.type, storage=form, wanted=wanted, declaration=spell(inside.type, said))


def member(whole: Value, inside: Hop, said: str) -> Value:
    """The value of the member, of the value of the struct."""
    assert whole.wanted is not None
    kind = bare(inside.type)
    number, first = divmod(inside.bit_offset, 64)
    left = right = 0
    if inside.bit_width is not None:
        left, right = 64 - first - inside.bit_width, 64 - inside.bit_width
    else:
        right = first  # what is above the member, the type of its field cuts
    signed = isinstance(kind, Int | Enum) and kind.signed
    form = storage(inside.type)
    pieces = _pieces(whole.wanted.pieces, number)
    words = whole.wanted.context_words[number : number + 1]
    place = f"ctx[{words[0]}]" if words else place_text(pieces)
    bits = f" from bit {first}" if first or inside.bit_width is not None else ""
    wanted = replace(
        whole.wanted, storage=form, pieces=pieces, context_words=words, comment=f"{place}{bits}",
        part=Part(number, left, right, signed, inside.bit_width),
    )  # fmt: skip
    # `place` stays that of the whole struct, which is what a loader compares.
    return replace(whole, type=inside.type, storage=form, wanted=wanted, declaration=spell(inside.type, said))


def _pieces(pieces: tuple[Piece, ...], number: int) -> tuple[Piece, ...]:
    """The place of one eightbyte."""
    for piece in pieces:
        behind = 8 * number - piece.arg_offset
        if 0 <= behind < piece.size:
            offset = piece.stack_offset + behind if piece.where == STACK else 0
            return (Piece(0, 8, piece.where, piece.reg_offset, offset),)
    return ()

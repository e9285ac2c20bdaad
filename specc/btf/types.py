"""BTF type records to C types.

In: a `Blob` and a type id.  Out: a `CType`, whole (records by value with their members) or as seen behind a pointer.

    types = Types(Blob(data, "vmlinux"))
    types.whole(17)       # Record("struct", "path", (Member("mnt", ...), ...), size=16, align=8, exact=False)
    types.behind(17)      # Record("struct", "path", None)

What BTF does not say is not made up: records are not `exact`, and a base type that is not known by its name is
`Unknown`. Each type is made once. Type graphs of damaged or hostile files cannot loop, recurse without end, or unfold
to more than can be printed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from specc.btf import blob as B
from specc.btf.blob import Blob, TypeRecord
from specc.btf.names import base_type
from specc.prototype import (
    VOID,
    Array,
    CType,
    Enum,
    Float,
    Function,
    Int,
    Member,
    Pointer,
    Qualified,
    Record,
    Typedef,
    Unknown,
    Vector,
    Void,
    align_of,
    bare,
    size_of,
)

_QUALIFIERS: Final = {B.VOLATILE: "volatile", B.CONST: "const", B.RESTRICT: "restrict"}
QUALIFIER_ORDER: Final = ("const", "volatile", "restrict")  # then the type tags, by name
_CHAIN: Final = frozenset({B.ARRAY, B.TYPEDEF, B.TYPE_TAG, *_QUALIFIERS})
_DEEPEST: Final = 128  # real kernels nest to about 30
_LARGEST: Final = 1_000_000  # types in one unfolded type; the largest struct of a real kernel has some thousands
# Before BTF marked signed enums, -1 and 0xffffffff were stored alike. Enums with values from here on are taken for
# signed: nearly all of Linux 5.10's are, while its unsigned ones stay below (0x80000000 and 0xefffffff).
_SMALL_NEGATIVE: Final = 0xFFFF0000
_IDENTIFIER: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*\Z")


class Types:
    """The C types of one blob, made on demand and kept."""

    def __init__(self, blob: Blob, base: Types | None = None) -> None:
        self.blob: Final = blob
        self.base: Final = base
        self._whole: Final[dict[int, CType]] = {0: VOID}
        self._behind: Final[dict[int, CType]] = {0: VOID}
        # Height and number of nodes of each type that was made, by 2 * id, plus 1 behind a pointer.
        self._measure: Final[dict[int, tuple[int, int]]] = {0: (1, 1), 1: (1, 1)}
        self._open: Final[set[int]] = set()
        self._signs: bool | None = None

    def whole(self, type_id: int) -> CType:
        """The type as a value: records by value have their members."""
        made = self._whole.get(type_id)
        if made is not None:
            return made
        if self.base is not None and type_id < self.blob.first_id:
            return self.base.whole(type_id)
        return self._make(type_id, self._whole, 2 * type_id, behind=False)

    def behind(self, type_id: int) -> CType:
        """The type as the target of a pointer: records are not expanded."""
        made = self._behind.get(type_id)
        if made is not None:
            return made
        if self.base is not None and type_id < self.blob.first_id:
            return self.base.behind(type_id)
        record = self.blob.record(type_id)
        if record.kind in (B.STRUCT, B.UNION):
            made = Record("struct" if record.kind == B.STRUCT else "union", self._tag(record), None)
            self._measure[2 * type_id + 1] = (1, 1)
            self._behind[type_id] = made
            return made
        if record.kind in _CHAIN:
            return self._make(type_id, self._behind, 2 * type_id + 1, behind=True)
        made = self.whole(type_id)
        self._measure[2 * type_id + 1] = self._measure[2 * type_id]
        self._behind[type_id] = made
        return made

    def _measured(self, key: int) -> tuple[int, int]:
        if self.base is not None and key >> 1 < self.blob.first_id:
            return self.base._measured(key)
        return self._measure[key]

    def _make(self, type_id: int, memo: dict[int, CType], key: int, *, behind: bool) -> CType:
        if key in self._open:
            raise self.blob.damaged(f"type {type_id} contains itself")
        if len(self._open) >= _DEEPEST:
            raise self.blob.damaged(f"its types are nested deeper than {_DEEPEST}")
        self._open.add(key)
        try:
            parts: list[int] = []
            made = self._convert(self.blob.record(type_id), behind, parts)
            height, nodes = 1, 1
            for part in parts:
                part_height, part_nodes = self._measured(part)
                height = max(height, part_height + 1)
                nodes += part_nodes
            if height > _DEEPEST or nodes > _LARGEST:
                raise self.blob.damaged(f"type {type_id} unfolds to more than a C compiler would take")
        finally:
            self._open.discard(key)
        self._measure[key] = (height, nodes)
        memo[type_id] = made
        return made

    def _convert(self, record: TypeRecord, behind: bool, parts: list[int]) -> CType:
        """One record to a type; notes in `parts` which other types it is made of."""

        def same(type_id: int) -> CType:
            made = self.behind(type_id) if behind else self.whole(type_id)
            parts.append(2 * type_id + behind)
            return made

        def pointee(type_id: int) -> CType:
            made = self.behind(type_id)
            parts.append(2 * type_id + 1)
            return made

        match record.kind:
            case B.INT:
                return self._int(record)
            case B.FLOAT:
                return base_type(self.blob.text(record.name_offset), record.size_or_type)
            case B.PTR:
                return Pointer(pointee(record.size_or_type))
            case B.ARRAY:
                element, _, count = self.blob.rest(record, 3)
                # `[]` and `[0]` are stored alike. Elsewhere than at the end of a record both are harmless.
                return Array(same(element), count or None)
            case B.STRUCT | B.UNION:
                return self._record(record, same)
            case B.ENUM | B.ENUM64:
                return self._enum(record)
            case B.FWD:
                return Record("union" if record.flag else "struct", self._tag(record), None)
            case B.TYPEDEF:
                return Typedef(self.identifier(record.name_offset), same(record.size_or_type))
            case B.VOLATILE | B.CONST | B.RESTRICT:
                return qualified(same(record.size_or_type), _QUALIFIERS[record.kind])
            case B.TYPE_TAG:
                target = same(record.size_or_type)
                tag = self.blob.text(record.name_offset)
                # With the flag it is a GNU attribute of the type (address_space(1)), which is no matter of the ABI.
                return target if record.flag or not _IDENTIFIER.match(tag) else qualified(target, f"__{tag}")
            case B.FUNC_PROTO:
                result, parameters, variadic = self.signature(record, pointee)
                return Function(result, tuple(t for _, t in parameters), variadic)
            case _:
                what = B.KIND_NAMES.get(record.kind, f"of kind {record.kind}")
                raise self.blob.damaged(f"type {record.id} is used as a C type, and it is {what}")

    def signature(
        self, record: TypeRecord, get: Callable[[int], CType]
    ) -> tuple[CType, list[tuple[str | None, CType]], bool]:
        """Result, named parameters, and whether `...` follows. `get` makes the types by id."""
        result = _by_value(get(record.size_or_type))
        words = self.blob.rest(record, 2 * record.vlen)
        variadic = record.vlen > 0 and words[-2] == 0 and words[-1] == 0  # btf.rst: a nameless void is the `...`
        parameters: list[tuple[str | None, CType]] = []
        for i in range(0, 2 * (record.vlen - variadic), 2):
            name = self.identifier(words[i]) if words[i] else None
            ctype = _by_value(get(words[i + 1]))
            if bare(ctype) is VOID:
                ctype = Unknown("void", "its BTF has no type for it")
            parameters.append((name, ctype))
        return result, parameters, variadic

    def identifier(self, offset: int) -> str:
        """A name that goes into C text, so it must be a C identifier."""
        text = self.blob.text(offset)
        if not _IDENTIFIER.match(text):
            raise self.blob.damaged(f"{text!r} stands where a C identifier must")
        return text

    def _tag(self, record: TypeRecord) -> str | None:
        return self.identifier(record.name_offset) if record.name_offset else None

    def _int(self, record: TypeRecord) -> CType:
        bits = self.blob.rest(record, 1)[0]
        name = self.blob.text(record.name_offset)
        if bits >> 16 & 0xFF or bits & 0xFF != 8 * record.size_or_type & 0xFF:
            return Unknown(name, f"its BTF gives it {bits & 0xFF} bits of {8 * record.size_or_type}")
        made = base_type(name, record.size_or_type)
        if isinstance(made, Int) and made.kind == "char":
            return Int(made.name, made.size, self.char_signed(bool(bits >> 24 & 1)), "char")
        return made

    def char_signed(self, flagged: bool) -> bool:
        """Whether plain `char` is signed. Linux is built with -funsigned-char since 6.2.

        pahole before 1.21 marked no character type as signed, `signed char` neither: then it does not tell, and the
        compiler's default for x86-64 holds.
        """
        if flagged:
            return True
        found = self.blob.ids_named("signed char", {B.INT})
        if not found:
            return self.base.char_signed(False) if self.base is not None else False
        return not any(self.blob.rest(self.blob.record(i), 1)[0] >> 24 & 1 for i in found)

    def _enum(self, record: TypeRecord) -> Enum:
        size = record.size_or_type
        if size not in (1, 2, 4, 8):
            raise self.blob.damaged(f"the enum of type {record.id} has {size} bytes")
        wide = record.kind == B.ENUM64
        each = 3 if wide else 2
        words = self.blob.rest(record, each * record.vlen)
        raw = [words[i + 1] | (words[i + 2] << 32 if wide else 0) for i in range(0, len(words), each)]
        top = 1 << (63 if wide else 31)
        signed = record.flag
        if not signed and not wide and any(v >= _SMALL_NEGATIVE for v in raw) and not self._enums_tell_sign():
            signed = True
        members = tuple(
            (self.identifier(words[each * i]), v - 2 * top if signed and v & top else v) for i, v in enumerate(raw)
        )
        return Enum(self._tag(record), size, signed, members)

    def _enums_tell_sign(self) -> bool:
        """Whether this BTF marks signed enums: Linux 6.0 and pahole 1.24 began to, with ENUM64."""
        if self._signs is None:
            found = map(self.blob.record, self.blob.ids_of_kind({B.ENUM, B.ENUM64}))
            self._signs = any(r.flag or r.kind == B.ENUM64 for r in found)
        return self._signs or (self.base is not None and self.base._enums_tell_sign())

    def _record(self, record: TypeRecord, same: Callable[[int], CType]) -> Record:
        """A record that holds a value nobody can place is incomplete, as `layout` has it for headers."""
        kind = "struct" if record.kind == B.STRUCT else "union"
        words = self.blob.rest(record, 3 * record.vlen)
        members: list[Member] = []
        for i in range(0, 3 * record.vlen, 3):
            name = self.identifier(words[i]) if words[i] else ""
            offset, width = words[i + 2], None
            if record.flag:
                offset, width = offset & 0xFFFFFF, offset >> 24 or None
            else:
                # Before kind_flag (Linux 4.20), a bit-field's place was in an INT type of its own.
                old = self._old_bit_field(words[i + 1])
                if old is not None:
                    ctype, skip, width = old
                    members.append(Member(name, ctype, offset + skip, width))
                    continue
            ctype = same(words[i + 1])
            last = i == 3 * (record.vlen - 1)
            if isinstance(ctype, Array) and ctype.count is None and not last:
                ctype = Array(ctype.element, 0)
            reason = _why_without_layout(ctype)
            if reason:
                label = f"member `{name}`" if name else "an unnamed member"
                return Record(kind, self._tag(record), None, exact=False, doubt=f"{label}: {reason}")
            if width is None and offset % 8:
                raise self.blob.damaged(f"a member of type {record.id} begins inside of a byte")
            members.append(Member(name, ctype, offset, width))
        size = record.size_or_type
        for m in members:
            if m.bit_offset + (m.bit_width if m.bit_width is not None else 8 * size_of(m.type)) > 8 * size:
                raise self.blob.damaged(f"a member of type {record.id} ends outside of it")
        return Record(kind, self._tag(record), tuple(members), size, infer_align(kind, size, members), exact=False)

    def _old_bit_field(self, type_id: int) -> tuple[CType, int, int] | None:
        """Type, bits to skip and width of a bit-field whose INT is narrower than its bytes."""
        for _ in range(_DEEPEST):
            if not type_id:
                return None
            record = self.blob.record(type_id)
            if record.kind in (B.TYPEDEF, *_QUALIFIERS):
                type_id = record.size_or_type
                continue
            if record.kind != B.INT:
                return None
            bits = self.blob.rest(record, 1)[0]
            skip, width = bits >> 16 & 0xFF, bits & 0xFF
            if not skip and width == 8 * record.size_or_type & 0xFF:
                return None
            return base_type(self.blob.text(record.name_offset), record.size_or_type), skip, width
        return None


def qualified(target: CType, word: str) -> CType:
    """`target` with one more qualifier; each is there once and in a fixed order, whatever order the file has."""
    words = {word}
    if isinstance(target, Qualified):
        words.update(target.qualifiers)
        target = target.target
    ordered = [q for q in QUALIFIER_ORDER if q in words] + sorted(words.difference(QUALIFIER_ORDER))
    return Qualified(target, tuple(ordered))


def _by_value(ctype: CType) -> CType:
    """A parameter's or result's type. C has no arrays there, so an array in BTF is a vector, which BTF cannot say."""
    match ctype:
        case Typedef(name=name, target=target, align=align):
            inner = _by_value(target)
            return ctype if inner is target else Typedef(name, inner, align)
        case Qualified(target=target, qualifiers=qualifiers):
            inner = _by_value(target)
            return ctype if inner is target else Qualified(inner, qualifiers)
        case Array(element=element):
            size = size_of(ctype)
            if isinstance(bare(element), Int | Float) and size and size & (size - 1) == 0:
                return Vector(element, size)
            return Unknown("array", "its BTF has an array by value, which C does not have")
        case _:
            return ctype


def _why_without_layout(member: CType) -> str:
    """Why a member's value has no size or class; "" when it has."""
    inner = bare(member)
    while isinstance(inner, Array):
        inner = bare(inner.element)
    match inner:
        case Unknown(name=name, reason=reason):
            return f"`{name}`: {reason}"
        case Record(members=None):
            return inner.doubt or f"`{inner.kind} {inner.tag or '(anonymous)'}` is incomplete here"
        case Void() | Function():
            return "its BTF has no type for it"
        case _:
            return ""


def infer_align(kind: str, size: int, members: list[Member]) -> int:
    """The alignment that explains where the members are. BTF does not store it.

    A member or a size that is not aligned shows `packed`: 1. Room before a member or at the end that its natural
    alignment does not explain shows an alignment attribute: the smallest power of two that does. Without members
    (gcc drops those of a transparent union) it is what members of that size would have.
    """
    if not members and size:
        return min(8, size & -size)
    align, end = 1, 0
    for m in members:
        own = align_of(m.type)
        if m.bit_width is not None:
            align, end = max(align, own), max(end, m.bit_offset + m.bit_width)
            continue
        at = m.bit_offset // 8
        if at % own:
            return 1
        used = -(-end // 8)
        if kind == "struct" and at > _round_up(used, own):
            grown = _smallest_align(used, own, at)
            own = grown if grown and size % grown == 0 else own
        align, end = max(align, own), max(end, 8 * (at + size_of(m.type)))
    if size % align:
        return 1
    used = -(-end // 8)
    if _round_up(used, align) < size:
        align = _smallest_align(used, align, size) or align
    return align


def _round_up(value: int, align: int) -> int:
    return -(-value // align) * align


def _smallest_align(used: int, align: int, at: int) -> int | None:
    """The smallest power of two above `align` that moves what follows `used` bytes to `at`."""
    while align <= 4096:
        align *= 2
        if _round_up(used, align) == at:
            return align
    return None

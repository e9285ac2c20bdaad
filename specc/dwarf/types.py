"""DWARF type entries to C types.

In: the entry of a type, None for void.  Out: a `CType`, whole (records by value with their members) or as seen behind
a pointer.

    types = Types()
    types.whole(die)       # Record("struct", "path", (Member("mnt", ...), ...), size=16, align=8, exact=False)
    types.behind(die)      # Record("struct", "path", None)

What DWARF does not say is not made up: it drops unnamed bit-fields, and gcc drops the members of transparent unions, so
records are not `exact`. Alignment attributes are there since DWARF 5 (DW_AT_alignment), and where they are not, the
members' places show them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from specc.btf.names import base_type
from specc.btf.types import infer_align, qualified
from specc.dwarf.dies import (
    Damaged,
    Die,
    children,
    flag,
    has,
    identifier,
    number,
    options,
    parameters,
    tells_bits,
    text,
    type_of,
)
from specc.prototype import (
    BOOL,
    DOUBLE,
    FLOAT,
    FLOAT128,
    INTS,
    VOID,
    Array,
    Complex,
    CType,
    Enum,
    Float,
    Function,
    Int,
    Member,
    Pointer,
    Record,
    Typedef,
    Unknown,
    Vector,
    Void,
    align_of,
    bare,
    size_of,
)

_QUALIFIERS: Final = {
    "DW_TAG_const_type": "const",
    "DW_TAG_volatile_type": "volatile",
    "DW_TAG_restrict_type": "restrict",
    "DW_TAG_atomic_type": "_Atomic",
}
_RECORDS: Final = {"DW_TAG_structure_type": "struct", "DW_TAG_class_type": "struct", "DW_TAG_union_type": "union"}
_POINTERS: Final = frozenset({"DW_TAG_pointer_type", "DW_TAG_reference_type", "DW_TAG_rvalue_reference_type"})
_CHAIN: Final = frozenset({"DW_TAG_typedef", "DW_TAG_array_type", *_QUALIFIERS})
_NULL: Final = ("decltype(nullptr)", "std::nullptr_t")  # Itanium C++ ABI 2.1: of `void *`'s size, and passed so
_DEEPEST: Final = 128
_IN_REGISTERS: Final = 16  # bytes; psABI 3.2.3: what is larger is passed in memory

# DWARF 5, 7.8: DW_ATE_*
_BOOLEAN, _COMPLEX_FLOAT, _FLOAT, _SIGNED, _SIGNED_CHAR, _UNSIGNED, _UNSIGNED_CHAR, _UTF = 2, 3, 4, 5, 6, 7, 8, 16
_SIGNED_BY_SIZE: Final = {1: "signed char", 2: "short", 4: "int", 8: "long", 16: "__int128"}
_UNSIGNED_BY_SIZE: Final = {1: "unsigned char", 2: "unsigned short", 4: "unsigned int", 8: "unsigned long", 16: "unsigned __int128"}  # fmt: skip
_BY_REFERENCE: Final = 4  # DW_CC_pass_by_reference of a C++ class


class Types:
    """The C types of one file, made on demand and kept."""

    def __init__(self) -> None:
        self._whole: Final[dict[tuple[int, int], CType]] = {}
        self._behind: Final[dict[tuple[int, int], CType]] = {}
        self._open: Final[set[tuple[int, int]]] = set()

    def whole(self, die: Die | None) -> CType:
        """The type as a value: records by value have their members."""
        if die is None:
            return VOID
        key = (id(die.cu.dwarfinfo), die.offset)
        made = self._whole.get(key)
        if made is None:
            made = self._whole[key] = self._make(die, key, behind=False)
        return made

    def behind(self, die: Die | None) -> CType:
        """The type as the target of a pointer: records are not expanded."""
        if die is None:
            return VOID
        key = (id(die.cu.dwarfinfo), die.offset)
        made = self._behind.get(key)
        if made is None:
            if die.tag in _RECORDS:
                made = Record(_RECORDS[die.tag], identifier(text(die, "name")), None)
            elif die.tag in _CHAIN:
                made = self._make(die, key, behind=True)
            else:
                made = self.whole(die)
            self._behind[key] = made
        return made

    def _make(self, die: Die, key: tuple[int, int], *, behind: bool) -> CType:
        if key in self._open:
            raise Damaged("a type of its debug information contains itself")
        if len(self._open) >= _DEEPEST:
            raise Damaged(f"types of its debug information are nested deeper than {_DEEPEST}")
        self._open.add(key)
        try:
            return self._convert(die, behind)
        finally:
            self._open.discard(key)

    def _convert(self, die: Die, behind: bool) -> CType:
        same = self.behind if behind else self.whole
        tag = die.tag
        if tag in _POINTERS:
            return Pointer(self.behind(type_of(die)))
        if tag in _QUALIFIERS:
            return qualified(same(type_of(die)), _QUALIFIERS[tag])
        if tag in _RECORDS:
            return self._record(die)
        match tag:
            case "DW_TAG_base_type":
                return _reversed(die) or _base(die)
            case "DW_TAG_typedef":
                target, name = same(type_of(die)), identifier(text(die, "name"))
                return target if name is None else Typedef(name, target, number(die, "alignment"))
            case "DW_TAG_enumeration_type":
                return self._enum(die)
            case "DW_TAG_array_type":
                return _array(die, same(type_of(die)))
            case "DW_TAG_subroutine_type":
                found = parameters(die)
                variadic = bool(children(die, "unspecified_parameters"))
                return Function(self.behind(type_of(die)), tuple(self.behind(type_of(p)) for p in found), variadic)
            case "DW_TAG_unspecified_type" if text(die, "name") in _NULL:
                return Pointer(VOID)
            case _:
                what = str(tag).removeprefix("DW_TAG_").replace("_", " ")
                return Unknown(text(die, "name") or what, f"it is a {what}, whose place specc does not know")

    def _enum(self, die: Die) -> CType:
        if (swapped := _reversed(die)) is not None:
            return swapped
        size = number(die, "byte_size")
        if size not in (1, 2, 4, 8):
            return Unknown(f"enum {text(die, 'name') or '(anonymous)'}", "it is incomplete here")
        members: list[tuple[str, int]] = []
        for one in children(die, "enumerator"):
            name, value = identifier(text(one, "name")), number(one, "const_value")
            if name is None or value is None:
                raise Damaged("an enumerator of its debug information has no name or no value")
            members.append((name, value))
        base = bare(self.whole(type_of(die)))
        signed = base.signed if isinstance(base, Int) else any(v < 0 for _, v in members)
        return Enum(identifier(text(die, "name")), size, signed, tuple(members))

    def _record(self, die: Die) -> CType:
        """A record that holds a value nobody can place is incomplete, as `layout` has it for headers."""
        kind, tag = _RECORDS[die.tag], identifier(text(die, "name"))
        size = number(die, "byte_size")
        if flag(die, "declaration") or size is None:
            return Record(kind, tag, None, exact=False)
        reason = _why_no_c_record(die)
        members: list[Member] = []
        end = 0
        entries = [m for m in children(die, "member") if not has(m, "external") and not flag(m, "declaration")]
        for index, entry in enumerate(entries):
            ctype = _reversed(entry) or self.whole(type_of(entry))
            if isinstance(ctype, Array) and ctype.count is None and index < len(entries) - 1:
                ctype = Array(ctype.element, 0)
            name = text(entry, "name")
            if name is not None and identifier(name) is None:
                reason = reason or "a member's name is none of C"
            inner = _why_without_layout(ctype)
            if inner:
                reason = reason or (f"member `{name}`: {inner}" if name else f"an unnamed member: {inner}")
                break
            offset, width = _bits(entry, size_of(ctype))
            if width is None and offset % 8:
                raise Damaged("a member of its debug information begins inside of a byte")
            bits = width if width is not None else 8 * size_of(ctype)
            if offset < 0 or offset + bits > 8 * size or (kind == "struct" and offset < end):
                reason = reason or _WHOLE
            end = max(end, offset + bits)
            members.append(Member(identifier(name) or "", ctype, offset, width))
        if not reason and kind == "struct" and not tells_bits(die):
            # DWARF 5, 2.24, and clang with DWARF 4: attributes that raise an alignment are told.
            told = [max(number(e, "alignment") or 1, align_of(m.type)) for e, m in zip(entries, members, strict=True)]
            if _may_be_moved(members, told, number(die, "alignment") or 1, size):
                reason = _ROOM
        if reason:
            return Record(kind, tag, None, exact=False, doubt=reason)
        align, known = _alignment(die, kind, size, entries, members)
        return Record(kind, tag, tuple(members), size, align, exact=known and kind == "struct" and size > _IN_REGISTERS)


def _alignment(die: Die, kind: str, size: int, entries: list[Die], members: list[Member]) -> tuple[int, bool]:
    """A record's alignment, and whether it is known: DWARF 5 tells attributes that raise it, of the record or of a
    member. What `packed` lowers is not told, and matters to arguments where it was above 8."""
    own = number(die, "alignment") or 1
    natural = max([1, *(number(e, "alignment") or 1 for e in entries), *(align_of(m.type) for m in members)])
    told = die.cu["version"] >= 5
    if own >= natural and own > 1:
        return own, told
    return infer_align(kind, size, members), told and natural <= 8


_WHOLE: Final = "clang's DWARF does not tell where in its byte a bit-field begins that is a whole integer"


_ROOM: Final = (
    "there is room in it that the alignment of its members does not explain, and clang's DWARF tells no unnamed"
    " bit-fields, behind which a member that is a bit-field may begin inside of a byte"
)


def _may_be_moved(members: list[Member], aligns: list[int], own: int, size: int) -> bool:
    """Whether a member may be a bit-field of the size of its type, some bits further on than DWARF says: then there is
    room behind it that the alignment of what follows does not explain, or the record is packed."""
    natural = max([own, *(a for m, a in zip(members, aligns, strict=True) if m.bit_width is None)])
    packed = size % natural or any(
        m.bit_offset % (8 * align_of(m.type)) for m in members if m.bit_width is None and size_of(m.type)
    )
    for i, m in enumerate(members):
        if m.bit_width is not None or not isinstance(bare(m.type), Int | Enum):
            continue
        end = m.bit_offset + 8 * size_of(m.type)
        last = i + 1 == len(members)
        start = 8 * size if last else members[i + 1].bit_offset
        step = 8 * (natural if last else aligns[i + 1])
        if start > end and (packed or start - end >= step or start % step):
            return True
    return False


def hidden_doubt(ctype: CType, *, atomic: bool, bits: bool) -> str:
    """Why a record by value may not be what DWARF shows of it, so that it can be passed in another way; "" otherwise.

    Larger ones are in memory, whatever is hidden in them. `atomic` says that one may be passed in memory for a
    member whose _Atomic is not told, `bits` that a bit-field that is a whole integer is told.
    """
    record = bare(ctype)
    if not isinstance(record, Record) or not record.members or record.size > _IN_REGISTERS:
        return ""
    if atomic:
        return "clang passes a record with an _Atomic member in memory, and DWARF 4 does not tell which are _Atomic"
    for offset, member, plain in _parts(record, 0):
        inner = bare(member)
        if isinstance(inner, Record) and offset % (8 * align_of(inner)):
            return "a record in it is not aligned, and unnamed bit-fields would decide how that is passed"
        if not bits and plain and isinstance(inner, Int | Enum) and offset % (8 * inner.size):
            return "an integer in it is not aligned: a packed member, with which clang passes it in memory, or a bit-field, with which it does not"
    return ""


def _parts(record: Record, base: int) -> Iterator[tuple[int, CType, bool]]:
    """Offset in bits and type of each member, also of records in it, and whether it is no bit-field."""
    for m in record.members or ():
        inner = bare(m.type)
        while isinstance(inner, Array):
            inner = bare(inner.element)
        yield base + m.bit_offset, inner, m.bit_width is None
        if isinstance(inner, Record):
            yield from _parts(inner, base + m.bit_offset)


_BIG_ENDIAN: Final = 1  # DWARF 5, 7.8: DW_END_big
_SWAPPED: Final = "its bytes are in big-endian order (DW_AT_endianity)"


def _reversed(die: Die) -> Unknown | None:
    """What a type or a member is that does not have the machine's order of bytes (DWARF 5, 5.1.1): gcc's attribute
    `scalar_storage_order`."""
    return (
        Unknown(text(die, "name") or "(no name)", _SWAPPED, True) if number(die, "endianity") == _BIG_ENDIAN else None
    )


def _long_double(die: Die, size: int) -> CType:
    """gcc's -mlong-double-64 makes it a `double`, which its size shows, and -mlong-double-128 a `__float128`."""
    if size == DOUBLE.size:
        return DOUBLE
    return FLOAT128 if "-mlong-double-128" in options(die) else base_type("long double", size)


def _base(die: Die) -> CType:
    """A base type by its name, or, if that is a name of the compiler's own, by its encoding."""
    name, size, encoding = text(die, "name") or "", number(die, "byte_size") or 0, number(die, "encoding")
    if "_BitInt" in name:
        return Unknown(name, "DWARF does not tell how many bits it has")
    if encoding == _COMPLEX_FLOAT and name in ("complex", "_Complex"):  # clang before 14 says no more
        plain = {8: FLOAT, 16: DOUBLE}.get(size)
        return Complex(plain) if plain else Unknown(name, "DWARF does not tell of what")
    if name == "long double" and encoding == _FLOAT:
        return _long_double(die, size)
    if name in ("complex long double", "_Complex long double") and encoding == _COMPLEX_FLOAT:
        element = _long_double(die, size // 2)
        return Complex(element) if isinstance(element, Float) else element
    made = base_type(name, size)
    if isinstance(made, Int) and made.kind == "char":
        return Int(made.name, made.size, encoding == _SIGNED_CHAR, "char")
    if not isinstance(made, Unknown):
        return made
    if encoding == _BOOLEAN and size == 1:
        return BOOL
    named = {_SIGNED: _SIGNED_BY_SIZE, _SIGNED_CHAR: _SIGNED_BY_SIZE, _UNSIGNED: _UNSIGNED_BY_SIZE,
             _UNSIGNED_CHAR: _UNSIGNED_BY_SIZE, _UTF: _UNSIGNED_BY_SIZE}.get(encoding or 0, {}).get(size)  # fmt: skip
    if named is not None and has(die, "name") and not has(die, "bit_size"):
        return INTS[named]
    return Unknown(name or "(no name)", f"DWARF calls it `{name}`, a base type whose place specc does not know")


def _array(die: Die, element: CType) -> CType:
    counts = [_count(c) for c in children(die, "subrange_type")]
    if flag(die, "GNU_vector"):
        total = size_of(element) * (counts[0] or 0) if len(counts) == 1 and counts[0] else 0
        if not total or total & (total - 1):
            return Unknown("vector", "DWARF does not tell its size, or it is no power of two")
        return Vector(element, total)
    made = element
    for count in reversed(counts or [None]):
        made = Array(made, count)
    return made


def _count(subrange: Die) -> int | None:
    """Elements of one dimension; None for `[]` and for what is known only at run time."""
    count = number(subrange, "count")
    if count is not None:
        return count
    upper = number(subrange, "upper_bound")
    if upper is None:
        return None
    return 0 if upper in (-1, (1 << 64) - 1, (1 << 32) - 1) else upper + 1


def _bits(member: Die, size: int) -> tuple[int, int | None]:
    """Offset in bits, and the width of a bit-field (DWARF 5, 5.7.6; DWARF 3's form is of a big-endian mind)."""
    start = 8 * (number(member, "data_member_location") or 0)
    width = number(member, "bit_size")
    if width is None:
        if has(member, "data_member_location") and number(member, "data_member_location") is None:
            raise Damaged("a member of its debug information has no fixed place")
        return start, None
    whole = number(member, "data_bit_offset")
    if whole is not None:
        return start + whole, width
    skipped = number(member, "bit_offset")
    if skipped is None:
        return start, width
    return start + 8 * (number(member, "byte_size") or size) - skipped - width, width


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
            return "DWARF has no type for it"
        case _:
            return ""


_REFERENCE: Final = "C++ passes it by reference, as it is not trivial to copy"
_EITHER: Final = "DWARF does not tell whether C++ passes it by value or by reference"
_BASES, _VIRTUAL, _EMPTY = "it has base classes", "it has virtual functions", "it is an empty class"


def is_certain(doubt: str) -> bool:
    """Whether what keeps a record from being placed is known of the code, so that a header in C cannot know better."""
    return any(reason in doubt for reason in (_REFERENCE, _EITHER, _BASES, _VIRTUAL, _EMPTY, _SWAPPED))


def _why_no_c_record(die: Die) -> str:
    """Why a record is not passed as the C record with these members (Itanium C++ ABI 3.1.1); "" when it is."""
    convention = number(die, "calling_convention")
    if convention == _BY_REFERENCE:
        return _REFERENCE
    for child in die.iter_children():
        if child.tag == "DW_TAG_inheritance":
            return _BASES
        if child.tag == "DW_TAG_subprogram" and (has(child, "virtuality") or convention is None):
            return _EITHER
        if child.tag == "DW_TAG_variant_part":
            return "it has variants"
        if str(text(child, "name")).startswith("_vptr"):
            return _VIRTUAL
    if not children(die, "member") and _is_cxx(die):
        return _EMPTY
    return ""


def _is_cxx(die: Die) -> bool:
    return number(die.cu.get_top_DIE(), "language") in CXX


# DWARF 5, 7.12 and later numbers: DW_LANG_*
C: Final = {0x01: "C89", 0x02: "C", 0x0C: "C99", 0x1D: "C11", 0x2C: "C17", 0x3E: "C23"}
CXX: Final = {0x04: "C++", 0x19: "C++03", 0x1A: "C++11", 0x21: "C++14", 0x2A: "C++17", 0x2B: "C++20", 0x3A: "C++23"}

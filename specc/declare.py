"""By-value record types as C text, with the assertions that let the compiler prove the layout engine's numbers.

    Declarations("gup", user=False).add("sockptr_t", record)     # "struct gup_sockptr_t", declared before its users

Members become fixed-width integers of the same size and alignment, so that the text needs no header and means the
same to the BPF compiler, whose own `long double` and vectors differ from the host's.
"""

from __future__ import annotations

from collections.abc import Iterable

from specc.ir import LayoutProof
from specc.layout import lay_out
from specc.noun import dataclass, field, replace
from specc.prototype import (
    Array,
    BitInt,
    CType,
    Enum,
    Float,
    Int,
    Member,
    Pointer,
    Record,
    Typedef,
    align_of,
    bare,
    size_of,
    spell,
)


def prove_layouts(prefix: str, types: Iterable[tuple[str, CType]]) -> tuple[LayoutProof, ...]:
    """The proofs for the records among `types` (each with a name to fall back on) and all that they contain."""
    declarations = Declarations(prefix)
    for name, ctype in types:
        declarations.of_type(name, ctype)
    return tuple(declarations.proofs)


@dataclass(slots=True)
class Declarations:
    """Declares each record once; a name that is taken by another record gets a number.

    `user` spells `float` and `double` as such, for programs that read events; BPF programs see their bits.
    """

    prefix: str
    user: bool = False
    proofs: list[LayoutProof] = field(default_factory=list)
    _names: dict[Record, str] = field(default_factory=dict)

    def of_type(self, fallback: str, ctype: CType) -> str | None:
        """The declared name of a record type ("struct gup_sockptr_t"), None for what is not a record."""
        record = bare(ctype)
        if not isinstance(record, Record) or not record.complete or record.size == 0 or record.doubt:
            return None
        name = ctype.name if isinstance(ctype, Typedef) else record.tag
        return self.add(name or fallback, record, spell(ctype))

    def add(self, name: str, record: Record, origin: str) -> str:
        if record in self._names:
            return self._names[record]
        word, number = f"{record.kind} {self.prefix}_{name}", 2
        while word in self._names.values():
            word, number = f"{record.kind} {self.prefix}_{name}_{number}", number + 1
        self._names[record] = word
        plain = _as_declared(record)
        lines = self._body(word, plain, name) if plain is not None else self._explicit(word, record, name)
        self.proofs.append(
            LayoutProof(
                f"{origin}: {record.size} bytes, aligned to {record.align}",
                tuple(lines),
                tuple(_asserts(word, record, by_name=plain is not None)),
            )
        )
        return word

    def _body(self, word: str, record: Record, name: str) -> list[str]:
        """The record as it was declared, with its attributes."""
        inner = [f"\t{line}" for line in self._members(record, name)]
        lines = [f"{word} {{", *inner, f"}}{_attributes(record.packed, record.aligned)};"]
        if record.pack is not None:
            return [f"#pragma pack(push, {record.pack})", *lines, "#pragma pack(pop)"]
        return lines

    def _members(self, record: Record, name: str) -> list[str]:
        lines: list[str] = []
        for index, member in enumerate(record.members or ()):
            inner = bare(member.type)
            if not member.name and isinstance(inner, Record) and member.bit_width is None:
                if inner.pack == record.pack:
                    attributes = _attributes(inner.packed or member.packed, inner.aligned or member.aligned)
                    body = [f"\t{line}" for line in self._members(inner, f"{name}_{index}")]
                    lines += [f"{inner.kind} {{", *body, f"}}{attributes};"]
                    continue
                member = replace(member, name=f"__anonymous{index}")
            lines.append(self._member(member, record.packed, f"{name}_{member.name}"))
        return lines

    def _member(self, member: Member, in_packed: bool, name: str) -> str:
        base, dims, natural = self._spell(member.type, name)
        if member.bit_width is not None:
            return f"{base} {member.name} : {member.bit_width}{_attributes(member.packed, member.aligned)};".replace(
                "  ", " "
            )
        packed, aligned = member.packed, member.aligned
        declared = align_of(member.type)
        if not in_packed and not packed and declared != natural:
            # `aligned` on a member only raises; `packed` first lets it lower too.
            packed, aligned = declared < natural, max(declared, aligned or 0)
        return f"{base} {member.name}{dims}{_attributes(packed, aligned)};"

    def _spell(self, ctype: CType, name: str) -> tuple[str, str, int]:
        """Base type, array brackets, and the alignment that this spelling has by itself."""
        kind = bare(ctype)
        match kind:
            case Array(element=element, count=count):
                base, dims, natural = self._spell(element, name)
                return base, f"[{count or 0}]{dims}", natural
            case Record() if kind.complete and kind.size and not kind.doubt:
                return self.of_type(name, ctype) or "", "", kind.align
            case Int(kind="char"):
                return "char", "", 1
            case Int(signed=signed, size=size) if size <= 8:
                return f"__{'s' if signed else 'u'}{8 * size}", "", size
            case Enum(signed=signed, size=size):
                return f"__{'s' if signed else 'u'}{8 * size}", "", size
            case BitInt(signed=signed, size=size) if size <= 8:
                return f"__{'s' if signed else 'u'}{8 * size}", "", size
            case Pointer():
                return "__u64", "", 8
            case Float(name=word, size=size) if size in (4, 8):
                return (word if self.user else f"__u{8 * size}"), "", size
            case _:
                return "__u8", f"[{size_of(kind)}]", 1

    def _explicit(self, word: str, record: Record, name: str) -> list[str]:
        """A record whose attributes nobody knows (BTF has none), spelled by its offsets alone."""
        lines: list[str] = []
        at = 0
        for index, member in enumerate(record.members or ()):
            base, dims, _ = self._spell(member.type, f"{name}_{member.name or index}")
            label = member.name or f"__anonymous{index}"
            if record.kind == "struct":
                gap = member.bit_offset - at
                whole, rest = (gap // 8, gap % 8) if at % 8 == 0 else (0, gap)
                lines += [f"\t__u8 __gap{index}[{whole}];"] if whole else []
                while rest > 0:
                    lines.append(f"\t__u64 : {min(rest, 64)};")
                    rest -= 64
            bits = f" : {member.bit_width}" if member.bit_width is not None else ""
            lines.append(f"\t{base} {label}{dims}{bits};")
            wide = member.bit_width if member.bit_width is not None else 8 * size_of(member.type)
            at = member.bit_offset + wide
        widest = max((m.bit_offset + (m.bit_width or 8 * size_of(m.type)) for m in record.members or ()), default=0)
        tail = record.size - ((at if record.kind == "struct" else widest) + 7) // 8
        if record.kind == "union" and tail > 0:
            lines.append(f"\t__u8 __all[{record.size}];")  # unnamed bit-fields, which nobody tells
        elif tail > 0:
            lines.append(f"\t__u8 __tail[{tail}];")
        return [f"{word} {{", *lines, f"}} __attribute__((packed, aligned({record.align})));"]


def _as_declared(record: Record) -> Record | None:
    """The record if its declaration puts its members where they are said to be: with its attributes, or, if its source
    tells none (BTF; DWARF, which has the alignment that they come to, and no `packed`), without any."""
    if record.exact:
        laid = lay_out(
            record.kind,
            record.tag,
            record.members or (),
            packed=record.packed,
            aligned=record.aligned,
            pack=record.pack,
        )
    else:
        laid = lay_out(record.kind, record.tag, [replace(m, aligned=None, packed=False) for m in record.members or ()])
    same = [(m.bit_offset, m.bit_width) for m in laid.members or ()] == [
        (m.bit_offset, m.bit_width) for m in record.members or ()
    ]
    inner_fine = all(
        _as_declared(inner) is not None
        for m in record.members or ()
        if not m.name and isinstance(inner := bare(m.type), Record)
    )
    if same and inner_fine and (laid.size, laid.align) == (record.size, record.align):
        return record if record.exact else laid
    return None


def _attributes(packed: bool, aligned: int | None) -> str:
    words = (["packed"] if packed else []) + ([f"aligned({aligned})"] if aligned is not None else [])
    return f" __attribute__(({', '.join(words)}))" if words else ""


def _asserts(word: str, record: Record, *, by_name: bool) -> list[str]:
    lines = [f'_Static_assert(sizeof({word}) == {record.size}, "size of {word}");']
    for path, member in _named(record) if by_name else [(m.name, m) for m in record.members or () if m.name]:
        if member.bit_width is None:
            where = f"__builtin_offsetof({word}, {path})"
            lines.append(f'_Static_assert({where} == {member.bit_offset // 8}, "{word}.{path}");')
    return lines


def _named(record: Record, base: int = 0) -> list[tuple[str, Member]]:
    """Members by name, those of anonymous records with them, their offsets from the outermost record."""
    found: list[tuple[str, Member]] = []
    for member in record.members or ():
        moved = replace(member, bit_offset=member.bit_offset + base)
        inner = bare(member.type)
        if member.name:
            found.append((member.name, moved))
        elif isinstance(inner, Record) and inner.pack == record.pack:
            found += _named(inner, moved.bit_offset)
    return found

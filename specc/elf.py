"""Sections, symbols and segments of a 64-bit little-endian ELF file: as much as specc needs, and no more.

In: the bytes of a file (bytes, mmap or a memoryview).  Out: `Elf` with its sections; `NotElf` says why there is none.

    elf = read_elf(Path("libssl.so.3").read_bytes())
    [s for s in symbols(elf, "SSL_write")]          # [Symbol("SSL_write", "OPENSSL_3.0.0", True, 2, ...)]
    file_offset(elf, symbol.value)                  # where the function's first byte is in the file
"""

from __future__ import annotations

import struct
from typing import Final

from specc.noun import dataclass

MAGIC: Final = b"\x7fELF"
EM_X86_64: Final = 62
EM_BPF: Final = 247
SHT_NOBITS: Final = 8
SHF_COMPRESSED: Final = 1 << 11
SHT_SYMTAB: Final = 2
SHT_DYNSYM: Final = 11
SHN_UNDEF: Final = 0
STT_NOTYPE, STT_OBJECT, STT_FUNC, STT_GNU_IFUNC = 0, 1, 2, 10
STB_LOCAL: Final = 0
ET_EXEC, ET_DYN = 2, 3
PT_LOAD: Final = 1
PF_X: Final = 1
_SHN_XINDEX: Final = 0xFFFF

# gABI chapter 4, Elf64_Ehdr after e_ident, and Elf64_Shdr.
_EHDR: Final = struct.Struct("<HHIQQQIHHHHHH")
_SHDR: Final = struct.Struct("<IIQQQQIIQQ")
_PHDR: Final = struct.Struct("<IIQQQQQQ")
_SYM: Final = struct.Struct("<IBBHQQ")
_VERDEF: Final = struct.Struct("<HHHHIII")
_VERDAUX: Final = struct.Struct("<II")
_HIDDEN: Final = 0x8000  # of a version index: the name alone does not mean this symbol


class NotElf(ValueError):
    """The bytes are no ELF file that specc reads; the text says what is wrong, as the end of a sentence."""


@dataclass(frozen=True, slots=True)
class Section:
    name: str
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    entry_size: int


@dataclass(frozen=True, slots=True)
class Elf:
    """`type` and `machine` are e_type and e_machine; sections are in the order of their headers."""

    data: memoryview
    type: int
    machine: int
    sections: tuple[Section, ...]

    def find(self, name: str) -> Section | None:
        return next((s for s in self.sections if s.name == name), None)

    def contents(self, section: Section) -> memoryview:
        """The bytes of a section; raises NotElf when the file has fewer, or has them compressed."""
        if section.flags & SHF_COMPRESSED:
            raise NotElf(f"section {section.name} is compressed")
        if section.type == SHT_NOBITS:
            raise NotElf(f"section {section.name} has no bytes in the file (a separate debug file has them)")
        if section.offset + section.size > len(self.data):
            raise NotElf(f"section {section.name} ends after the file does")
        return self.data[section.offset : section.offset + section.size]


def read_elf(data: bytes | memoryview) -> Elf:
    """The section headers of an ELF file. Raises NotElf."""
    view = memoryview(data)
    if bytes(view[:4]) != MAGIC:
        raise NotElf("it does not begin as an ELF file does")
    if len(view) < 64:
        raise NotElf("its ELF header is cut off")
    if view[4] != 2:
        raise NotElf("it is a 32-bit ELF file")
    if view[5] != 1:
        raise NotElf("it is a big-endian ELF file")
    e_type, machine, _, _, _, shoff, _, _, _, _, shentsize, shnum, shstrndx = _EHDR.unpack_from(view, 16)
    if shoff == 0:
        return Elf(view, e_type, machine, ())
    if shentsize != _SHDR.size:
        raise NotElf(f"its section headers have {shentsize} bytes each, not {_SHDR.size}")
    if shoff + _SHDR.size > len(view):
        raise NotElf("its section headers lie outside of the file")
    # gABI: with 0xff00 sections or more, both numbers are in the first section header.
    first = _SHDR.unpack_from(view, shoff)
    if shnum == 0:
        shnum = first[5]
    if shstrndx == _SHN_XINDEX:
        shstrndx = first[6]
    if shoff + shnum * _SHDR.size > len(view):
        raise NotElf("its section headers lie outside of the file")
    headers = list(_SHDR.iter_unpack(view[shoff : shoff + shnum * _SHDR.size]))
    if shstrndx >= shnum:
        raise NotElf("its section names are missing")
    names_offset, names_size = headers[shstrndx][4], headers[shstrndx][5]
    if names_offset + names_size > len(view):
        raise NotElf("its section names lie outside of the file")
    names = bytes(view[names_offset : names_offset + names_size])
    sections = tuple(
        Section(_string(names, name), kind, flags, address, offset, size, link, entry_size)
        for name, kind, flags, address, offset, size, link, _, _, entry_size in headers
    )
    return Elf(view, e_type, machine, sections)


def _string(table: bytes, offset: int) -> str:
    """A NUL-terminated string of a string table; "" for an offset outside of it."""
    end = table.find(b"\0", offset)
    return table[offset : end if end >= 0 else len(table)].decode("utf-8", "replace")


# --- symbols and segments ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Symbol:
    """A defined symbol. `version` is None where the file gives it none; `default` says that the name alone means it."""

    name: str
    version: str | None
    default: bool
    type: int
    local: bool
    value: int
    size: int


def symbols(elf: Elf, name: str | None = None) -> list[Symbol]:
    """The defined symbols of .symtab, or, in a stripped file, of .dynsym, with this name, or all. Raises NotElf.

    The dynamic symbols come too where both are: they know the versions.
    """
    found: list[Symbol] = []
    for section in elf.sections:
        if section.type in (SHT_SYMTAB, SHT_DYNSYM):
            found += _table(elf, section, name)
    return found


def _table(elf: Elf, section: Section, name: str | None) -> list[Symbol]:
    if section.link >= len(elf.sections):
        raise NotElf(f"the names of {section.name} are missing")
    if section.entry_size not in (0, _SYM.size):
        raise NotElf(f"the symbols of {section.name} have {section.entry_size} bytes each, not {_SYM.size}")
    names = bytes(elf.contents(elf.sections[section.link]))
    rows = elf.contents(section)
    rows = rows[: len(rows) // _SYM.size * _SYM.size]
    versions, indexes = ({}, ()) if section.type == SHT_SYMTAB else _versions(elf)
    # A symbol's name may be the tail of another string, so every place where the bytes end in it counts.
    wanted = None if name is None else _offsets(names, name)
    found: list[Symbol] = []
    for number, (at, info, _, index, value, size) in enumerate(_SYM.iter_unpack(rows)):
        if index == SHN_UNDEF or (wanted is not None and at not in wanted):
            continue
        text, _, version = _string(names, at).partition("@")
        word = indexes[number] if number < len(indexes) else 0
        default = not word & _HIDDEN
        named: str | None = versions.get(word & ~_HIDDEN)
        if version:  # .symtab spells it: NAME@@VERSION is the default, NAME@VERSION is not
            named, default = version.removeprefix("@"), version.startswith("@")
        found.append(Symbol(text, named, default, info & 15, info >> 4 == STB_LOCAL, value, size))
    return found


def names_after(elf: Elf, prefix: str) -> list[str]:
    """The names in the string table of .symtab that begin with `prefix`; of a stripped file none. Raises NotElf."""
    table = next((s for s in elf.sections if s.type == SHT_SYMTAB), None)
    if table is None or table.link >= len(elf.sections):
        return []
    names, raw = bytes(elf.contents(elf.sections[table.link])), b"\0" + prefix.encode()
    found: list[str] = []
    at = names.find(raw)
    while at >= 0:
        found.append(_string(names, at + 1))
        at = names.find(raw, at + 1)
    return found


def _offsets(names: bytes, name: str) -> set[int]:
    """Where in a string table `name`, or `name@VERSION`, begins and ends."""
    raw = name.encode()
    found: set[int] = set()
    at = names.find(raw)
    while at >= 0:
        if names[at + len(raw) : at + len(raw) + 1] in (b"\0", b"@", b""):
            found.add(at)
        at = names.find(raw, at + 1)
    return found


def _versions(elf: Elf) -> tuple[dict[int, str], tuple[int, ...]]:
    """The names of a library's own versions by index, and the index of each dynamic symbol (gABI's GNU extension)."""
    table, defined = elf.find(".gnu.version"), elf.find(".gnu.version_d")
    if table is None or defined is None or defined.link >= len(elf.sections):
        return {}, ()
    raw = elf.contents(table)
    indexes = struct.unpack(f"<{len(raw) // 2}H", raw[: len(raw) // 2 * 2])
    rows, names = elf.contents(defined), bytes(elf.contents(elf.sections[defined.link]))
    found: dict[int, str] = {}
    at = 0
    while at + _VERDEF.size <= len(rows):
        _, flags, index, _, _, auxiliary, after = _VERDEF.unpack_from(rows, at)
        if not flags & 1 and at + auxiliary + _VERDAUX.size <= len(rows):  # VER_FLG_BASE names the file itself
            found[index] = _string(names, _VERDAUX.unpack_from(rows, at + auxiliary)[0])
        if not after:
            break
        at += after
    return found, indexes


def file_offset(elf: Elf, address: int) -> int | None:
    """Where the byte of code that is loaded at `address` stands in the file; None when it is not code of the file."""
    for kind, flags, offset, start, _, in_file, _, _ in _segments(elf):
        if kind == PT_LOAD and flags & PF_X and start <= address < start + in_file:
            return int(address - start + offset)
    return None


def code_address(elf: Elf, offset: int) -> int | None:
    """The address, as the file's symbols have it, of the byte of code at this offset of the file; None when it is none."""
    for kind, flags, at, start, _, in_file, _, _ in _segments(elf):
        if kind == PT_LOAD and flags & PF_X and at <= offset < at + in_file:
            return int(offset - at + start)
    return None


def loads(elf: Elf) -> list[tuple[int, int, int, int, bool]]:
    """What is loaded of a file: offset, address, bytes in the file, bytes in memory, and whether it is code."""
    return [
        (offset, start, in_file, in_memory, bool(flags & PF_X))
        for kind, flags, offset, start, _, in_file, in_memory, _ in _segments(elf)
        if kind == PT_LOAD
    ]


def is_code(elf: Elf, offset: int) -> bool:
    """Whether the byte at this offset of the file is in an executable segment."""
    return code_address(elf, offset) is not None


def _segments(elf: Elf) -> list[tuple[int, ...]]:
    _, _, _, _, phoff, _, _, _, size, count, _, _, _ = _EHDR.unpack_from(elf.data, 16)
    if not count:
        return []
    if size != _PHDR.size or phoff + count * size > len(elf.data):
        raise NotElf("its program headers lie outside of the file")
    return list(_PHDR.iter_unpack(elf.data[phoff : phoff + count * size]))


# --- identity and debug links -----------------------------------------------------------------------------------------

_NT_GNU_BUILD_ID: Final = 3
_NOTE: Final = struct.Struct("<III")


def build_id(elf: Elf) -> str | None:
    """The GNU build id in hexadecimal digits; None when the file has none. Raises NotElf."""
    section = elf.find(".note.gnu.build-id")
    if section is None:
        return None
    data = elf.contents(section)
    if len(data) < _NOTE.size:
        return None
    name_size, size, kind = _NOTE.unpack_from(data, 0)
    start = _NOTE.size + (name_size + 3) // 4 * 4
    if kind != _NT_GNU_BUILD_ID or not size or start + size > len(data):
        return None
    return bytes(data[start : start + size]).hex()


def file_build_id(path: str) -> str | None:
    """The build id of the ELF file at `path`. Raises OSError and NotElf."""
    import mmap

    with open(path, "rb") as file:
        try:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError:
            raise NotElf("it is empty") from None
    return build_id(read_elf(memoryview(data)))

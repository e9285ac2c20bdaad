"""Sections of a 64-bit little-endian ELF file: as much of the format as specc needs, and no more.

In: the bytes of a file (bytes or a memoryview).  Out: `Elf` with its sections by name; `NotElf` says why there is none.

    elf = read_elf(Path("vmlinux").read_bytes())
    btf = elf.find(".BTF")
    blob = elf.contents(btf) if btf else None
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

MAGIC: Final = b"\x7fELF"
EM_X86_64: Final = 62
EM_BPF: Final = 247
SHT_NOBITS: Final = 8
SHF_COMPRESSED: Final = 1 << 11
_SHN_XINDEX: Final = 0xFFFF

# gABI chapter 4, Elf64_Ehdr after e_ident, and Elf64_Shdr.
_EHDR: Final = struct.Struct("<HHIQQQIHHHHHH")
_SHDR: Final = struct.Struct("<IIQQQQIIQQ")


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

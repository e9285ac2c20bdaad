"""The ELF reader: real files against pyelftools, and damaged ones."""

from __future__ import annotations

import random
import struct
import sys
from pathlib import Path

import pytest

from specc.elf import SHF_COMPRESSED, SHT_NOBITS, NotElf, Section, read_elf


def small() -> bytes:
    """An ELF file with the sections .data (of 4 bytes), .bss and .shstrtab."""
    names = b"\0.data\0.bss\0.shstrtab\0"
    header = (
        b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 1, 62, 1, 0, 0, 100, 0, 64, 0, 0, 64, 4, 3)
    )
    body = b"DATA" + names
    rows = [
        (0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
        (1, 1, 3, 0x1000, 64, 4, 0, 0, 1, 0),
        (7, SHT_NOBITS, 3, 0x2000, 68, 99, 0, 0, 1, 0),
        (12, 3, 0, 0, 68, len(names), 0, 0, 1, 0),
    ]
    table = b"".join(struct.pack("<IIQQQQIIQQ", *row) for row in rows)
    return (header + body).ljust(100, b"\0") + table


def test_sections() -> None:
    elf = read_elf(small())
    assert (elf.type, elf.machine, [s.name for s in elf.sections]) == (1, 62, ["", ".data", ".bss", ".shstrtab"])
    data = elf.find(".data")
    assert data == Section(".data", 1, 3, 0x1000, 64, 4, 0, 0)
    assert bytes(elf.contents(data)) == b"DATA"
    assert elf.find(".text") is None


def test_sections_without_bytes_to_read() -> None:
    data = bytearray(small())
    elf = read_elf(bytes(data))
    bss = elf.find(".bss")
    assert bss is not None
    with pytest.raises(NotElf, match="separate debug file"):
        elf.contents(bss)
    struct.pack_into("<Q", data, 100 + 64 + 8, SHF_COMPRESSED)
    packed = read_elf(bytes(data))
    with pytest.raises(NotElf, match="compressed"):
        packed.contents(packed.sections[1])
    struct.pack_into("<QQ", data, 100 + 64 + 8, 0, 0)
    struct.pack_into("<QQ", data, 100 + 64 + 24, 64, 1 << 40)
    cut = read_elf(bytes(data))
    with pytest.raises(NotElf, match="ends after"):
        cut.contents(cut.sections[1])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "does not begin"),
        (b"MZ" + bytes(100), "does not begin"),
        (b"\x7fELF\x02\x01", "cut off"),
        (b"\x7fELF\x01\x01" + bytes(90), "32-bit"),
        (b"\x7fELF\x02\x02" + bytes(90), "big-endian"),
        (small()[:110], "outside"),
        (small()[:-1], "outside"),
    ],
)
def test_what_is_no_elf_file(data: bytes, reason: str) -> None:
    with pytest.raises(NotElf, match=reason):
        read_elf(data)


def test_random_damage() -> None:
    rng, good = random.Random(5), small()
    for _ in range(3000):
        data = bytearray(good)
        for _ in range(rng.choice((1, 2, 8))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            elf = read_elf(bytes(data[: rng.randrange(len(data) + 1)]) if rng.random() < 0.3 else bytes(data))
            for section in elf.sections:
                elf.contents(section)
        except NotElf:
            pass


@pytest.mark.parametrize("path", [sys.executable, "/bin/sh", "/lib/x86_64-linux-gnu/libc.so.6"])
def test_real_files_are_as_pyelftools_has_them(path: str) -> None:
    elffile = pytest.importorskip("elftools.elf.elffile")
    if not Path(path).is_file():
        pytest.skip(f"this machine has no {path}")
    elf = read_elf(Path(path).read_bytes())
    with Path(path).open("rb") as file:
        expected = elffile.ELFFile(file)
        if expected["e_machine"] != "EM_X86_64":
            pytest.skip(f"{path} is of another machine")
        assert [(s.name, s.offset, s.size, s.address, s.flags) for s in elf.sections] == [
            (s.name, s["sh_offset"], s["sh_size"], s["sh_addr"], s["sh_flags"]) for s in expected.iter_sections()
        ]
        for ours, theirs in zip(elf.sections, expected.iter_sections(), strict=True):
            if ours.type != SHT_NOBITS and ours.size:
                assert bytes(elf.contents(ours)) == theirs.data()

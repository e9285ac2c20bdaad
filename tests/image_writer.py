"""Writes what BTF comes packed in, small: ELF files, kernel images, packages, archives. Shares no code with specc.

bzimage(elf({".BTF": data}), "xz", release="6.1.0-x")       # as a kernel's vmlinuz
deb({"./boot/vmlinuz-6.1.0-x": image}, "zst")               # as a distribution's package
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
from collections.abc import Callable, Mapping

import lz4.block
import zstandard


def elf(sections: Mapping[str, bytes], *, kind: int = 2, machine: int = 62) -> bytes:
    """A 64-bit ELF file of x86-64 with these sections; `kind` is e_type: 2 an executable, 1 an object or a module."""
    names = b"\0" + b"".join(f"{n}\0".encode() for n in (*sections, ".shstrtab"))
    body = b""
    rows = [(0,) * 10]
    for name, data in (*sections.items(), (".shstrtab", names)):
        rows.append((names.index(f"\0{name}\0".encode()) + 1, 1, 0, 0, 64 + len(body), len(data), 0, 0, 1, 0))
        body += data
    table = b"".join(struct.pack("<IIQQQQIIQQ", *row) for row in rows)
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack(
        "<HHIQQQIHHHHHH", kind, machine, 1, 0, 0, 64 + len(body), 0, 64, 0, 0, 64, len(rows), len(rows) - 1
    )
    return header + body + table


def module(btf: bytes, name: str, release: str, *, base: bytes | None = None) -> bytes:
    info = f"license=GPL\0name={name}\0vermagic={release} SMP preempt mod_unload \0".encode()
    extra = {} if base is None else {".BTF.base": base}
    return elf({".modinfo": info, ".BTF": btf, **extra}, kind=1)


def _lz4_legacy(data: bytes) -> bytes:
    """As `lz4 -l` writes it: blocks of 8 MiB, each after its packed size."""
    blocks = [lz4.block.compress(data[at : at + (8 << 20)], store_size=False) for at in range(0, len(data), 8 << 20)]
    return b"\x02\x21\x4c\x18" + b"".join(struct.pack("<I", len(b)) + b for b in blocks)


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "bzip2": bz2.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "lz4": _lz4_legacy,
}


def bzimage(vmlinux: bytes, packer: str, release: str = "", *, size: int | None = None) -> bytes:
    """A boot image (Documentation/arch/x86/boot.rst) with a packed kernel. `size` is what it says it unpacks to."""
    payload = PACKERS[packer](vmlinux) if packer in PACKERS else packer.encode("latin-1") + vmlinux
    if packer != "gzip":
        payload += struct.pack("<I", len(vmlinux) if size is None else size)
    setup = bytearray(512 * 5)
    setup[0x1F1] = 4  # setup_sects
    setup[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", setup, 0x206, 0x020F)  # the version of the boot protocol
    if release:
        text = f"{release} (someone@somewhere) #1 SMP Debian\0".encode()
        struct.pack_into("<H", setup, 0x20E, 0x400)
        setup[0x600 : 0x600 + len(text)] = text
    start = b"startup code"
    struct.pack_into("<II", setup, 0x248, len(start), len(payload))  # payload_offset, payload_length
    return bytes(setup) + start + payload + b"the rest of the image"


def tar(files: Mapping[str, bytes], *, format: int = tarfile.GNU_FORMAT) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=format) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        link = tarfile.TarInfo("./vmlinuz-link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return made.getvalue()


def ar(members: Mapping[str, bytes]) -> bytes:
    made = b"!<arch>\n"
    for name, data in members.items():
        made += (
            f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)
        )
    return made


SUFFIXES = {"gz": "gzip", "xz": "xz", "zst": "zstd", "bz2": "bzip2", "lzma": "lzma"}


def deb(files: Mapping[str, bytes], suffix: str = "xz") -> bytes:
    """A Debian package (deb(5)). The suffix "" is a data archive that is not compressed."""
    data = tar(files)
    name = f"data.tar.{suffix}" if suffix else "data.tar"
    packed = PACKERS[SUFFIXES[suffix]](data) if suffix else data
    control = lzma.compress(tar({"./control": b"Package: linux-image\n"}))
    return ar({"debian-binary": b"2.0\n", "control.tar.xz": control, name: packed})

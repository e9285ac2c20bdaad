"""Compressed bytes to a stream of plain ones: gzip, xz, lzma, bzip2, lz4 and zstd.

In: bytes of a file or a part of it.  Out: a `Stream`; damage, and more than a kernel can have, is a Stop (SP243).

    compression(data)                        # "xz", or None for what is not compressed
    unpacked(data, "vmlinuz").read(4)        # b"\\x7fELF"
    unpacked(data, "vmlinuz").rest()         # all of it, at most LARGEST

Nothing is written to a disk, and no more than the piece that is looked at is in memory. lz4 and zstd are not in the
standard library: without the packages of `specc[images]` they are refused by name (SP240), as is lzo, for which there
is no package that is kept up.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from specc.diagnostics import Stop, stop

if TYPE_CHECKING:
    from typing import BinaryIO

LARGEST: Final = 1 << 30  # of one unpacked file: debug information of a kernel has up to 700 MB
LARGEST_STREAM: Final = 1 << 33  # of a whole archive that is looked through
_PIECE: Final = 1 << 20
# A zstd block of 4 bytes may stand for 128 KiB (RFC 8878 3.1.1.2), so this much is at most 32 MiB.
_ZSTD_PIECE: Final = 1 << 10
_LZ4_BLOCK: Final = 8 << 20  # what one block of the legacy format unpacks to at most (lz4_Frame_format.md)

# Longest first where one begins as another does.
_MAGICS: Final = {
    b"\xfd7zXZ\0": "xz",
    b"\x1f\x8b\x08": "gzip",
    b"BZh": "bzip2",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x02\x21\x4c\x18": "lz4",
    b"\x89LZO": "lzo",
    b"\x5d\0\0": "lzma",
}


def compression(data: bytes | memoryview) -> str | None:
    """What the bytes are compressed with, by how they begin."""
    head = bytes(data[:8])
    return next((kind for magic, kind in _MAGICS.items() if head.startswith(magic)), None)


def damaged(name: str, what: str) -> Stop:
    return stop("SP243", f"cannot unpack `{name}`: {what}", None, help="take the file from its source again")


def too_large(name: str, limit: int) -> Stop:
    return stop(
        "SP243",
        f"cannot unpack `{name}`: it unpacks to more than {limit >> 20} MiB",
        None,
        help="no kernel is that large; if this one is, unpack it yourself and give the vmlinux ELF file",
    )


class Stream:
    """Bytes that come one piece after the other, and only forward. `taken` counts those that were read."""

    def __init__(self, pieces: Iterator[bytes], name: str) -> None:
        self.name: Final = name
        self.taken = 0
        self._pieces: Final = pieces
        self._ready = b""
        self._at = 0  # so much of what is ready was taken
        self._total = 0

    def peek(self, size: int) -> bytes:
        """The next bytes without taking them; fewer only at the end."""
        if len(self._ready) - self._at < size:
            parts = [self._ready[self._at :]]
            length = len(parts[0])
            while length < size and (piece := next(self._pieces, b"")):
                parts.append(piece)
                length += len(piece)
                self._total += len(piece)
                if self._total > LARGEST_STREAM:
                    raise too_large(self.name, LARGEST_STREAM)
            self._ready, self._at = b"".join(parts), 0
        return self._ready[self._at : self._at + size]

    def read(self, size: int) -> bytes:
        """The next bytes; raises Stop when there are fewer."""
        taken = self.peek(size)
        if len(taken) < size:
            raise damaged(self.name, "it is cut off")
        self._at += size
        self.taken += size
        return taken

    def skip(self, size: int) -> None:
        while size > 0:
            size -= len(self.read(min(size, _PIECE)))

    def rest(self) -> bytes:
        """All that is left, at most LARGEST."""
        taken = self.peek(LARGEST + 1)
        if len(taken) > LARGEST:
            raise too_large(self.name, LARGEST)
        self._ready, self._at = b"", 0
        self.taken += len(taken)
        return taken


def plain(data: bytes | memoryview, name: str) -> Stream:
    """A stream of bytes as they are."""
    return Stream((bytes(data[at : at + _PIECE]) for at in range(0, len(data), _PIECE)), name)


def unpacked(data: bytes | memoryview, name: str) -> Stream:
    """A stream of what compressed bytes unpack to. Raises Stop."""
    kind = compression(data)
    make = _READERS.get(kind or "")
    if make is None:
        raise stop(
            "SP232",
            f"`{name}` is compressed with {kind or 'something that specc does not know'}",
            None,
            help="unpack it (`lzop -d`, or scripts/extract-vmlinux of Linux), and give the vmlinux ELF file",
        )
    return Stream(_guarded(make(memoryview(data), name), kind or "", name), name)


def _guarded(pieces: Iterator[bytes], kind: str, name: str) -> Iterator[bytes]:
    """The pieces; whatever a decompressor raises about its input is a Stop."""
    import lzma
    import zlib

    try:
        yield from pieces
    except EOFError:
        raise damaged(name, f"its {kind} data is cut off") from None
    except (zlib.error, lzma.LZMAError, OSError, ValueError) as problem:
        raise damaged(name, f"its {kind} data is damaged ({problem})") from None
    except MemoryError:
        raise damaged(name, f"its {kind} data wants more memory than there is") from None


class _Window(io.RawIOBase):
    """A file on a part of another's bytes, which are not copied."""

    def __init__(self, data: memoryview) -> None:
        self._data: Final = data
        self._at = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        piece = self._data[self._at : self._at + len(buffer)]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


def _file(data: memoryview) -> BinaryIO:
    return io.BufferedReader(_Window(data), _PIECE)


def _read_all(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(_PIECE):
        yield piece


def _gzip(data: memoryview, name: str) -> Iterator[bytes]:
    import gzip

    return _read_all(gzip.GzipFile(fileobj=_file(data)))  # type: ignore[arg-type]


def _lzma(data: memoryview, name: str) -> Iterator[bytes]:
    import lzma

    return _read_all(lzma.LZMAFile(_file(data)))  # type: ignore[arg-type]


def _bzip2(data: memoryview, name: str) -> Iterator[bytes]:
    import bz2

    return _read_all(bz2.BZ2File(_file(data)))  # type: ignore[arg-type]


def _zstd(data: memoryview, name: str) -> Iterator[bytes]:
    try:
        import zstandard
    except ImportError:
        raise _lacking(name, "zstd", "zstandard") from None
    return _zstd_pieces(data, zstandard.ZstdDecompressor().decompressobj, zstandard.ZstdError)


def _zstd_pieces(data: memoryview, make: Callable[[], Any], error: type[Exception]) -> Iterator[bytes]:
    at = 0
    while at < len(data):  # a frame after the other
        frame = make()
        while not frame.eof:
            piece = data[at : at + _ZSTD_PIECE]
            if not piece:
                raise EOFError
            try:
                made = frame.decompress(piece)
            except error as problem:
                raise ValueError(problem) from None
            at += len(piece) - len(frame.unused_data)
            if made:
                yield made


def _lz4(data: memoryview, name: str) -> Iterator[bytes]:
    try:
        from lz4 import block
    except ImportError:
        raise _lacking(name, "lz4", "lz4") from None
    return _lz4_pieces(data, block.decompress, block.LZ4BlockError)


def _lz4_pieces(data: memoryview, decompress: Callable[..., bytes], error: type[Exception]) -> Iterator[bytes]:
    """The legacy format, which `lz4 -l` and with it the kernel's build writes: blocks, each after its size."""
    at = 4
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        at += 4
        if size > len(data) - at:
            raise EOFError
        try:
            yield decompress(data[at : at + size], uncompressed_size=_LZ4_BLOCK)
        except error as problem:
            raise ValueError(problem) from None
        at += size


def _lacking(name: str, kind: str, package: str) -> Stop:
    return stop(
        "SP240",
        f"`{name}` is compressed with {kind}, which Python's standard library cannot read",
        None,
        help=f"pip install 'specc[images]' (the package `{package}`)",
    )


_READERS: Final[dict[str, Callable[[memoryview, str], Iterator[bytes]]]] = {
    "gzip": _gzip,
    "xz": _lzma,
    "lzma": _lzma,
    "bzip2": _bzip2,
    "zstd": _zstd,
    "lz4": _lz4,
}

"""What is in a Debian package or a tar archive: names and contents, one after the other, nothing written anywhere.

In: bytes of an ar file, or a `Stream` of a tar file.  Out: members; damage is a Stop (SP243).

    package(data, "linux-image.deb")              # ("data.tar.xz", its bytes)
    for member in members(stream):                # Member("./boot/vmlinuz-6.1.0", 14186432)
        ...                                       # the stream is at its first byte now

Names only choose what is read: a member's name is never a path on this machine. tarfile is not used, as it takes an
extended header of any length into memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from specc.btf.unpack import Stream, damaged
from specc.noun import dataclass

AR: Final = b"!<arch>\n"
_AR_HEADER: Final = 60
_BLOCK: Final = 512
_LONGEST: Final = 1 << 20  # of an extended header or a long name


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file of an archive."""

    name: str
    size: int


def package(data: bytes | memoryview, name: str) -> tuple[str, memoryview] | None:
    """Name and bytes of a Debian package's data archive (deb(5)); None when an ar file is no package."""
    view = memoryview(data)
    at = len(AR)
    while at + _AR_HEADER <= len(view):
        header = bytes(view[at : at + _AR_HEADER])
        if header[58:] != b"`\n" or not header[48:58].strip().isdigit():
            raise damaged(name, "a header of the archive is damaged")
        size = int(header[48:58])
        at += _AR_HEADER
        member = header[:16].decode("ascii", "replace").strip().rstrip("/")
        if size > len(view) - at:
            raise damaged(name, f"`{member}` in it is cut off")
        if member.startswith("data.tar"):
            return member, view[at : at + size]
        at += size + size % 2
    return None


def is_tar(head: bytes) -> bool:
    """Whether bytes begin as a tar file: POSIX.1-1988 and GNU both have "ustar" there."""
    return head[257:262] == b"ustar"


def members(stream: Stream) -> Iterator[Member]:
    """Regular files of a tar archive. While one is the current, the stream may be read up to the member's size."""
    long_name: str | None = None
    long_size: int | None = None
    while len(stream.peek(_BLOCK)) == _BLOCK:
        header = stream.read(_BLOCK)
        if not header.strip(b"\0"):
            return
        if not is_tar(header) or _checksum(header) != _number(header[148:156], stream.name):
            raise damaged(stream.name, "a header of the archive is damaged")
        size = _number(header[124:136], stream.name)
        kind = header[156:157]
        if kind in (b"L", b"K", b"x", b"g"):
            if size > _LONGEST:
                raise damaged(stream.name, f"a header of the archive has {size} bytes")
            text = stream.read(size)
            stream.skip(-size % _BLOCK)
            if kind == b"L":
                long_name = text.rstrip(b"\0").decode("utf-8", "replace")
            elif kind == b"x":
                fields = _extended(text, stream.name)
                long_name = fields.get("path", long_name)
                digits = fields.get("size", "")
                long_size = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 20 else long_size
            continue
        name = long_name if long_name is not None else _name(header)
        size = long_size if long_size is not None else size
        long_name = long_size = None
        if kind in (b"0", b"\0", b"7"):
            end = stream.taken + size + -size % _BLOCK
            yield Member(name, size)
            stream.skip(end - stream.taken)
        elif kind not in (b"1", b"2"):  # links have no bytes, whatever their size says
            stream.skip(size + -size % _BLOCK)
    if stream.peek(1):
        raise damaged(stream.name, "it is cut off")


def _checksum(header: bytes) -> int:
    """POSIX.1-1988 10.1.1: the sum of the header's bytes, those of the checksum as spaces."""
    return sum(header) - sum(header[148:156]) + 8 * ord(" ")


def _number(field: bytes, name: str) -> int:
    """An octal number, or GNU's large one in base 256."""
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    try:
        return int(digits or b"0", 8)
    except ValueError:
        raise damaged(name, "a header of the archive is damaged") from None


def _name(header: bytes) -> str:
    name = header[:100].split(b"\0")[0].decode("utf-8", "replace")
    prefix = header[345:500].split(b"\0")[0].decode("utf-8", "replace") if header[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _extended(text: bytes, name: str) -> dict[str, str]:
    """POSIX.1-2001 pax: records of "LENGTH KEY=VALUE\\n"."""
    fields: dict[str, str] = {}
    at = 0
    while at < len(text):
        digits, _, _ = text[at : at + 20].partition(b" ")
        length = int(digits) if digits.isdigit() else 0
        if not len(digits) + 1 < length <= len(text) - at:
            raise damaged(name, "a header of the archive is damaged")
        record = text[at + len(digits) + 1 : at + length - 1]
        key, equals, value = record.partition(b"=")
        if not equals:
            raise damaged(name, "a header of the archive is damaged")
        fields[key.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
        at += length
    return fields

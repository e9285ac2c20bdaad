"""Writes BTF, so that the tests need no compiler and can write what no compiler would. Shares no code with specc.

w = Writer()
int_ = w.int("int", 4, signed=True)
w.func("f", w.proto(int_, [("a", int_)]))
data = w.bytes()
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field


@dataclass
class Writer:
    """Each method adds one type and returns its id. `base` makes split BTF."""

    base: Writer | None = None
    types: bytearray = field(default_factory=bytearray)
    count: int = 0
    strings: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        if self.base is None:
            self.strings += b"\0"

    @property
    def first_string(self) -> int:
        return len(self.base.strings) + self.base.first_string if self.base else 0

    @property
    def first_id(self) -> int:
        return self.base.first_id + self.base.count if self.base else 1

    def name(self, text: str) -> int:
        if not text:
            return 0
        at = self.strings.find(b"\0" + text.encode() + b"\0")
        if self.base is not None and at < 0 and self.strings.startswith(text.encode() + b"\0"):
            return self.first_string
        if at < 0:
            at = len(self.strings) - 1
            self.strings += text.encode() + b"\0"
        return self.first_string + at + 1

    def add(
        self, kind: int, name: str | int = "", third: int = 0, rest: bytes = b"", *, vlen: int = 0, flag: bool = False
    ) -> int:
        offset = self.name(name) if isinstance(name, str) else name
        self.types += struct.pack("<III", offset, flag << 31 | kind << 24 | vlen, third) + rest
        self.count += 1
        return self.first_id + self.count - 1

    def int(
        self, name: str, size: int, *, signed: bool = False, boolean: bool = False, bits: int = 0, skip: int = 0
    ) -> int:
        word = (signed | boolean << 2) << 24 | skip << 16 | (bits or 8 * size)
        return self.add(1, name, size, struct.pack("<I", word))

    def ptr(self, target: int) -> int:
        return self.add(2, third=target)

    def array(self, element: int, count: int, index: int = 1) -> int:
        return self.add(3, rest=struct.pack("<III", element, index, count))

    def record(
        self, kind: str, tag: str, size: int, members: list[tuple[str, int, int] | tuple[str, int, int, int]]
    ) -> int:
        """Members are (name, type, bit offset) and for bit-fields the width; any width makes it kind_flag encoding."""
        flag = any(len(m) == 4 for m in members)
        rest = b""
        for name, ctype, offset, *width in members:
            place = offset | (width[0] if width else 0) << 24
            rest += struct.pack("<III", self.name(name), ctype, place)
        return self.add(4 if kind == "struct" else 5, tag, size, rest, vlen=len(members), flag=flag)

    def enum(self, tag: str, values: list[tuple[str, int]], size: int = 4, *, signed: bool = False) -> int:
        rest = b"".join(struct.pack("<II", self.name(n), v & 0xFFFFFFFF) for n, v in values)
        return self.add(6, tag, size, rest, vlen=len(values), flag=signed)

    def enum64(self, tag: str, values: list[tuple[str, int]], *, signed: bool = False) -> int:
        rest = b"".join(struct.pack("<III", self.name(n), v & 0xFFFFFFFF, v >> 32 & 0xFFFFFFFF) for n, v in values)
        return self.add(19, tag, 8, rest, vlen=len(values), flag=signed)

    def fwd(self, tag: str, *, union: bool = False) -> int:
        return self.add(7, tag, flag=union)

    def typedef(self, name: str, target: int) -> int:
        return self.add(8, name, target)

    def volatile(self, target: int) -> int:
        return self.add(9, third=target)

    def const(self, target: int) -> int:
        return self.add(10, third=target)

    def restrict(self, target: int) -> int:
        return self.add(11, third=target)

    def func(self, name: str, proto: int, linkage: int = 1) -> int:
        return self.add(12, name, proto, vlen=linkage)

    def proto(self, result: int, parameters: list[tuple[str, int]]) -> int:
        rest = b"".join(struct.pack("<II", self.name(n), t) for n, t in parameters)
        return self.add(13, third=result, rest=rest, vlen=len(parameters))

    def var(self, name: str, ctype: int) -> int:
        return self.add(14, name, ctype, struct.pack("<I", 1))

    def datasec(self, name: str, entries: list[tuple[int, int, int]]) -> int:
        rest = b"".join(struct.pack("<III", *e) for e in entries)
        return self.add(15, name, 0, rest, vlen=len(entries))

    def float(self, name: str, size: int) -> int:
        return self.add(16, name, size)

    def decl_tag(self, name: str, target: int, component: int = -1) -> int:
        return self.add(17, name, target, struct.pack("<i", component))

    def type_tag(self, name: str, target: int, *, attribute: bool = False) -> int:
        return self.add(18, name, target, flag=attribute)

    def bytes(self, *, layout: bytes = b"") -> bytes:
        header = struct.pack("<HBBI", 0xEB9F, 1, 0, 32 if layout else 24)
        header += struct.pack("<IIII", 0, len(self.types), len(self.types), len(self.strings))
        if layout:
            pad = -(len(self.types) + len(self.strings)) % 4
            header += struct.pack("<II", len(self.types) + len(self.strings) + pad, len(layout))
            return header + bytes(self.types) + bytes(self.strings) + b"\0" * pad + layout
        return header + bytes(self.types) + bytes(self.strings)

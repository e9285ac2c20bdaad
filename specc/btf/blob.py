"""A BTF blob as bytes: header, string table, where each type begins, which types have a name.

In: the bytes of a .BTF section.  Out: type records by id and ids by name; damage is a Stop (SP232, SP233, SP236).

    blob = Blob(Path("/sys/kernel/btf/vmlinux").read_bytes(), "vmlinux")
    blob.ids_named("vfs_read", {FUNC})        # [104711]
    blob.record(104711)                       # Record: kind, flag, vlen, name, and the third word

The format is Documentation/bpf/btf.rst and include/uapi/linux/btf.h of Linux. One prototype must cost milliseconds,
so nothing is unpacked ahead of need: one walk finds where the types begin (their lengths differ), and a name is found
by searching the bytes, then proven to be a type's by the walk.
"""

from __future__ import annotations

import re
import struct
import sys
from array import array
from bisect import bisect_left
from collections.abc import Collection
from itertools import accumulate
from typing import Final, NamedTuple

from specc.diagnostics import Stop, stop

INT: Final = 1
PTR: Final = 2
ARRAY: Final = 3
STRUCT: Final = 4
UNION: Final = 5
ENUM: Final = 6
FWD: Final = 7
TYPEDEF: Final = 8
VOLATILE: Final = 9
CONST: Final = 10
RESTRICT: Final = 11
FUNC: Final = 12
FUNC_PROTO: Final = 13
VAR: Final = 14
DATASEC: Final = 15
FLOAT: Final = 16
DECL_TAG: Final = 17
TYPE_TAG: Final = 18
ENUM64: Final = 19

KIND_NAMES: Final = {
    INT: "an integer type",
    PTR: "a pointer type",
    ARRAY: "an array type",
    STRUCT: "a struct",
    UNION: "a union",
    ENUM: "an enum",
    FWD: "a struct or union declared without members",
    TYPEDEF: "a typedef",
    VOLATILE: "a volatile type",
    CONST: "a const type",
    RESTRICT: "a restrict type",
    FUNC: "a function",
    FUNC_PROTO: "a function type",
    VAR: "a variable",
    DATASEC: "a data section",
    FLOAT: "a floating type",
    DECL_TAG: "a tag of a declaration",
    TYPE_TAG: "a tag of a type",
    ENUM64: "an enum",
}

# Words of 4 bytes that a type takes: in all, and for each of its vlen elements.
_WORDS: Final = dict.fromkeys(KIND_NAMES, (3, 0)) | {
    INT: (4, 0),
    ARRAY: (6, 0),
    STRUCT: (3, 3),
    UNION: (3, 3),
    ENUM: (3, 2),
    FUNC_PROTO: (3, 2),
    VAR: (4, 0),
    DATASEC: (3, 3),
    DECL_TAG: (4, 0),
    ENUM64: (3, 3),
}

_MAGIC: Final = 0xEB9F
_HEADER: Final = struct.Struct("<HBBIIIII")
# Linux 7.1 widened kind to 7 bits and vlen to 24; the bits it took were zero before, so one reading serves both.
_KIND: Final = 0x7F
_VLEN: Final = 0xFFFFFF
_SEARCHES: Final = 4  # so many names are found by searching the bytes; then an index of all names pays for itself


class TypeRecord(NamedTuple):  # a tuple, because reading a kernel makes half a million
    """One type as it is stored. `size_or_type` is the third word; the words after it begin at index `rest`."""

    id: int
    kind: int
    flag: bool
    vlen: int
    name_offset: int
    size_or_type: int
    rest: int


class Blob:
    """One BTF blob. With `base`, its ids and string offsets continue those of the base (split BTF of a module)."""

    def __init__(self, data: bytes, name: str, base: Blob | None = None) -> None:
        self.name: Final = name
        self.base: Final[Blob | None] = base
        header = _header(data, name)
        self._data: Final = data  # searched in place: a copy of each section would cost more than the search
        self._types: Final = (header.types, header.types + header.types_size)
        self._strings: Final = (header.strings, header.strings + header.strings_size)
        self._layout: Final = data[header.layout : header.layout + header.layout_size]
        self.words: Final = array("I")
        self.words.frombytes(memoryview(data)[slice(*self._types)])
        if sys.byteorder == "big":
            self.words.byteswap()
        start, end = self._strings
        if base is None and (start == end or data[start] != 0):
            # btf.rst: a blob's first string is the empty one; only split BTF leaves it to its base.
            raise stop(
                "SP236",
                f"`{name}` holds the BTF of a kernel module, which is complete only with the kernel's own BTF",
                None,
                help="give the BTF of the kernel that the module was built for before it",
            )
        if start == end or data[end - 1] != 0:
            raise self.damaged("its strings do not end with a NUL")
        self.first_id: Final[int] = base.end_id if base else 1
        self.first_string: Final[int] = base.end_string if base else 0
        self.end_string: Final[int] = self.first_string + header.strings_size
        self._offsets: Final = self._walk()  # word index of each type's second word
        self.end_id: Final[int] = self.first_id + len(self._offsets)
        self._names: Final[dict[int, str]] = {}
        self._searches = 0
        self._index: dict[str, list[int]] | None = None

    def damaged(self, what: str) -> Stop:
        return stop(
            "SP233",
            f"the BTF of `{self.name}` is damaged: {what}",
            None,
            help="take the BTF from the kernel or the object file again",
        )

    def _walk(self) -> list[int]:
        """Where the types begin. The hot loop of the module: about 60 ns per type."""
        words = self.words
        steps: dict[int, int] = {}
        offsets: list[int] = []
        note = offsets.append
        at = 1  # the second word of a type has its kind and vlen, which is all that its length depends on
        while True:
            try:
                while True:
                    step = steps[words[at]]
                    note(at)
                    at += step
            except KeyError:
                steps[words[at]] = self._step(words[at], len(offsets))
            except IndexError:
                break
        if at - 1 != len(words):
            raise self.damaged("its last type is cut off")
        return offsets

    def _step(self, info: int, index: int) -> int:
        """How many words a type takes."""
        kind, vlen = info >> 24 & _KIND, info & _VLEN
        if kind in _WORDS:
            own, each = _WORDS[kind]
            return own + each * vlen
        if kind and 4 * kind + 4 <= len(self._layout):
            # The blob's own table of lengths, made so that older readers can step over newer kinds.
            own_size, element_size = self._layout[4 * kind], self._layout[4 * kind + 1]
            size = 12 + own_size + element_size * vlen
            if size % 4 == 0:
                return size // 4
        raise self.damaged(
            f"type {self.first_id + index} has kind {kind}, which specc does not know and whose length the file does not tell"
        )

    def record(self, type_id: int) -> TypeRecord:
        """The type with an id of this blob or its base."""
        if self.base is not None and type_id < self.first_id:
            return self.base.record(type_id)
        index = type_id - self.first_id
        if not 0 <= index < len(self._offsets):
            raise self.damaged(f"it refers to type {type_id}, and there are only {self.end_id - 1}")
        at = self._offsets[index]
        name, info, third = self.words[at - 1 : at + 2]
        return TypeRecord(type_id, info >> 24 & _KIND, bool(info >> 31), info & _VLEN, name, third, at + 2)

    def rest(self, record: TypeRecord, count: int) -> array[int]:
        """`count` words that follow the third word of a type."""
        if self.base is not None and record.id < self.first_id:
            return self.base.rest(record, count)
        return self.words[record.rest : record.rest + count]

    def text(self, offset: int) -> str:
        """A string by its offset."""
        if offset < self.first_string and self.base is not None:
            return self.base.text(offset)
        text = self._names.get(offset)
        if text is None:
            if offset >= self.end_string:
                raise self.damaged(f"a name begins at {offset}, outside of its strings")
            start = self._strings[0] + offset - self.first_string
            try:
                text = self._data[start : self._data.index(b"\0", start)].decode("utf-8")
            except UnicodeDecodeError:
                raise self.damaged(f"the name at {offset} is not text") from None
            self._names[offset] = text
        return text

    def ids_named(self, name: str, kinds: Collection[int]) -> list[int]:
        """Ids of this blob's own types (not its base's) that have this name and one of these kinds, in order."""
        if self._index is None and self._searches < _SEARCHES:
            self._searches += 1
            ids = self._search(name)
        else:
            ids = self.index().get(name, [])
        return [i for i in ids if self.record(i).kind in kinds]

    def _search(self, name: str) -> list[int]:
        """Ids of the types with this name, by searching the bytes. Exact: a hit counts where the walk saw a type."""
        if not name or "\0" in name or not name.isascii():
            return []
        needle = name.encode("ascii") + b"\0"
        ids: list[int] = []
        blob: Blob | None = self
        while blob is not None:
            # A type's name may also be the end of a longer string: the format lets strings share their tails.
            for string in _hits(needle, blob._data, *blob._strings):
                word = struct.pack("<I", blob.first_string + string - blob._strings[0])
                for hit in _hits(word, self._data, *self._types):
                    at, odd = divmod(hit - self._types[0], 4)
                    index = bisect_left(self._offsets, at + 1)
                    if not odd and index < len(self._offsets) and self._offsets[index] == at + 1:
                        ids.append(self.first_id + index)
            blob = blob.base
        return sorted(ids)

    def index(self) -> dict[str, list[int]]:
        """Every name of this blob's own types, with the ids that have it. A damaged name fits no query."""
        if self._index is None:
            index: dict[str, list[int]] = {}
            words, first = self.words, self.first_string
            table = self._names
            pieces = self._data[slice(*self._strings)].split(b"\0")
            starts = accumulate((len(p) + 1 for p in pieces), initial=first)
            for start, piece in zip(starts, pieces, strict=False):
                if start not in table and piece.isascii():
                    table[start] = piece.decode("ascii")
            get = table.get
            for type_id, at in enumerate(self._offsets, self.first_id):
                offset = words[at - 1]
                if offset:
                    name = get(offset)
                    if name is None:
                        try:
                            name = self.text(offset)
                        except Stop:
                            continue
                    if name in index:
                        index[name].append(type_id)
                    else:
                        index[name] = [type_id]
            self._index = index
        return self._index

    def place(self, type_id: int) -> int:
        """Where in the bytes one of this blob's own types begins."""
        return self._types[0] + 4 * (self._offsets[type_id - self.first_id] - 1)

    def names_are_whole(self) -> bool:
        """Whether the name of each of this blob's own types is a whole string, as every known writer has it.

        The names of split BTF that lies on another base than it was made for begin in the middle of strings.
        """
        for at in self._offsets:
            offset = self.words[at - 1]
            blob: Blob = self
            while offset < blob.first_string and blob.base is not None:
                blob = blob.base
            start = blob._strings[0] + offset - blob.first_string
            if offset > blob.first_string and (offset >= blob.end_string or blob._data[start - 1] != 0):
                return False
        return True

    def ids(self) -> range:
        return range(self.first_id, self.end_id)

    def ids_of_kind(self, kinds: Collection[int]) -> list[int]:
        """Ids of this blob's own types of these kinds."""
        words = self.words
        return [i for i, at in enumerate(self._offsets, self.first_id) if words[at] >> 24 & _KIND in kinds]


def _hits(needle: bytes, data: bytes, start: int, end: int) -> list[int]:
    """Where `needle` is in a part of `data`, overlaps too. `re` searches a literal 3 times faster than `bytes.find`."""
    search = re.compile(re.escape(needle)).search
    hits: list[int] = []
    hit = search(data, start, end)
    while hit is not None:
        hits.append(hit.start())
        hit = search(data, hit.start() + 1, end)
    return hits


class _Header(NamedTuple):
    types: int
    types_size: int
    strings: int
    strings_size: int
    layout: int
    layout_size: int


def _header(data: bytes, name: str) -> _Header:
    """Where the sections are; proves that they are inside of the data, aligned, and apart."""

    def damaged(what: str) -> Stop:
        return stop(
            "SP233",
            f"the BTF of `{name}` is damaged: {what}",
            None,
            help="take the BTF from the kernel or the object file again",
        )

    if data[:2] == b"\xeb\x9f":
        raise stop("SP232", f"`{name}` is BTF of a big-endian machine; specc knows x86-64 only", None)
    if data[:2] != b"\x9f\xeb":
        start = data[:4].hex(" ") or "nothing"
        raise stop(
            "SP232",
            f"`{name}` is not BTF: it begins with {start}, BTF begins with 9f eb",
            None,
            help="give raw BTF (such as /sys/kernel/btf/vmlinux) or an ELF file that has a .BTF section",
        )
    if len(data) < _HEADER.size:
        raise damaged("its header is cut off")
    _, version, _, size, type_off, type_len, str_off, str_len = _HEADER.unpack_from(data)
    if version != 1:
        raise stop("SP232", f"`{name}` is BTF of version {version}; specc knows version 1", None)
    if not _HEADER.size <= size <= len(data):
        raise damaged(f"its header says to be {size} bytes long")
    layout_off, layout_len = struct.unpack_from("<II", data, _HEADER.size) if size >= 32 else (0, 0)
    room = len(data) - size
    for what, offset, length in (
        ("types", type_off, type_len),
        ("strings", str_off, str_len),
        ("kind layout", layout_off, layout_len),
    ):
        if offset + length > room:
            raise damaged(
                f"its {what} end at byte {size + offset + length}, and there are only {len(data)} (is it cut off?)"
            )
    if type_off % 4 or type_len % 4:
        raise damaged("its types are not aligned to 4 bytes")
    if type_len and str_len and type_off < str_off + str_len and str_off < type_off + type_len:
        raise damaged("its types and its strings overlap")
    return _Header(size + type_off, type_len, size + str_off, str_len, size + layout_off, layout_len)

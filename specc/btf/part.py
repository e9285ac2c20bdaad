"""A part of a BTF: what some functions and types need of it, as a small BTF that stands alone.

In: a `Btf`, names of functions, names of types.  Out: the bytes of raw BTF without a base, the same for the same input.

    data = part_of(btf, ["vfs_read"])                  # some hundred bytes
    Btf(data, "part").prototype("vfs_read")            # equal to what the whole BTF gives
    part_of(btf, ["vfs_read"], ["struct file"])        # also with the members of struct file

What is passed by value is kept whole, all the way down. A record that is only pointed at is declared without members,
as C's `struct file;`, and stays so until its name is among the types: one pointer to `struct file` would else bring
half of the kernel. The part gives the answers of the whole, its refusals too, so these are kept as well:

- every function of a wanted name, and its specialised copies: what is ambiguous or only a copy stays refused;
- every type with the name of one that is kept: two definitions that differ stay nobody's choice;
- every base type: `char`'s sign is told by `signed char`, and a spec may name `unsigned long`;
- the function that names a tracepoint's parameters;
- every enum with constants that begin as a spec's `flags: FOLL_` says;
- one signed enum, if there is any: it tells that this BTF marks signed enums.

After writing, the part is read and compared with the whole; one that would say something else is refused (SP239).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from specc.btf import blob as B
from specc.btf.blob import Blob, TypeRecord
from specc.btf.reader import Btf
from specc.btf.tracepoints import FUNCTION_PREFIX, TYPEDEF_PREFIX, find_tracepoint, tracepoint
from specc.diagnostics import Stop, did_you_mean, stop
from specc.noun import replace
from specc.prototype import Prototype

_ENUMS: Final = frozenset({B.ENUM, B.ENUM64})
_BASE_TYPES: Final = frozenset({B.INT, B.FLOAT})
_RECORDS: Final = frozenset({B.STRUCT, B.UNION})
_NAMED: Final = {"struct": {B.STRUCT}, "union": {B.UNION}, "enum": _ENUMS}
# Kinds whose third word is another type, and that say nothing else about it.
_LINKS: Final = frozenset({B.TYPEDEF, B.VOLATILE, B.CONST, B.RESTRICT, B.TYPE_TAG})
# For each kind the words after the third, as a pattern that repeats: t is a type, n a name, = is copied.
_PATTERNS: Final = {
    B.INT: "=",
    B.ARRAY: "tt=",
    B.STRUCT: "nt=",
    B.UNION: "nt=",
    B.ENUM: "n=",
    B.ENUM64: "n==",
    B.FUNC_PROTO: "nt",
}
_THIRD_IS_A_TYPE: Final = _LINKS | {B.PTR, B.FUNC, B.FUNC_PROTO}
_KNOWN: Final = _THIRD_IS_A_TYPE | set(_PATTERNS) | {B.FWD, B.FLOAT}


def part_of(
    btf: Btf,
    functions: Sequence[str],
    types: Sequence[str] = (),
    tracepoints: Sequence[str] = (),
    prefixes: Sequence[str] = (),
) -> bytes:
    """Raw BTF with these functions, types and tracepoints, and the enums that have constants which begin with one of the
    prefixes, if there are any. Raises Stop: SP234 or SP237 no such function, SP238 no such type, SP247 no such tracepoint."""
    selection = _Selection(btf)
    for name in dict.fromkeys(functions):
        if not selection.function(name):
            btf.prototype(name)  # which says why not
    for name in dict.fromkeys(types):
        for i in types_named(btf, name):
            selection.want(i)
    for name in dict.fromkeys(tracepoints):
        if not selection.tracepoint(name):
            tracepoint(btf, name)  # which says why not
    for prefix in prefixes:
        selection.constants(prefix)
    selection.base_types()
    selection.close()
    data = selection.written()
    part = Btf(data, btf.name)
    for name in functions:
        _check_same(btf, name, part.find(name), btf.find(name))
    for name in tracepoints:
        _check_same(btf, name, find_tracepoint(part, name), find_tracepoint(btf, name))
    for prefix in prefixes:
        if _constants(part, prefix) != _constants(btf, prefix):
            raise _differs(btf, f"{prefix}...")
    return data


def _check_same(btf: Btf, name: str, part: Sequence[Prototype], whole: Sequence[Prototype]) -> None:
    if [replace(p, source="") for p in part] != [replace(p, source="") for p in whole]:
        raise _differs(btf, name)


def _constants(btf: Btf, prefix: str) -> list[tuple[str, int]] | str:
    """Those that begin so; or the code with which they are refused, when one of them has two values."""
    try:
        return sorted(btf.constants(prefix))
    except Stop as problem:
        return problem.diagnostic.code


def _differs(btf: Btf, name: str) -> Stop:
    return stop(
        "SP239",
        f"a part of the {btf.source} would not declare `{name}` as the whole does",
        None,
        help="use the whole BTF, and report what it comes from",
    )


def types_named(btf: Btf, text: str) -> list[int]:
    """Ids of the types with that name, with or without `struct`, `union` or `enum` before it. Raises Stop (SP238)."""
    keyword, _, tag = text.strip().rpartition(" ")
    kinds: Iterable[int] = _NAMED.get(keyword, ()) if keyword else (*_RECORDS, *_ENUMS, B.TYPEDEF)
    found = btf.ids_named(tag, kinds) or btf.ids_named(" ".join(text.split()), _BASE_TYPES)
    if not found:
        known = {btf.blob.text(btf.blob.record(i).name_offset) for i in _of_kind(btf.blob, kinds)}
        near = sorted(n for n in known if n[:1] == tag[:1] and abs(len(n) - len(tag)) < 4)
        raise stop("SP238", f"no type `{text}` in the {btf.source}", None, help=did_you_mean(tag, near))
    return found


def _everywhere(blob: Blob | None, name: str, kinds: Iterable[int]) -> list[int]:
    """Ids in a blob and its base; `Btf.ids_named` stops where a module's own types hide the base's."""
    found: list[int] = []
    while blob is not None:
        found += blob.ids_named(name, frozenset(kinds))
        blob = blob.base
    return found


def _of_kind(blob: Blob | None, kinds: Iterable[int]) -> list[int]:
    found: list[int] = []
    while blob is not None:
        found += blob.ids_of_kind(frozenset(kinds))
        blob = blob.base
    return found


class _Selection:
    """Ids of the types that a part has. `declared` are the records that it has without members."""

    def __init__(self, btf: Btf) -> None:
        self.btf: Final = btf
        self.blob: Final = btf.blob
        self.kept: Final[set[int]] = set()
        self.declared: Final[set[int]] = set()
        self._pending: Final[list[tuple[int, bool]]] = []  # (id, behind a pointer)
        self._seen: Final[set[tuple[int, bool]]] = set()
        self._specialised: dict[str, list[str]] | None = None

    def function(self, name: str) -> bool:
        """Want all functions of that name; False when there is none."""
        found = _everywhere(self.blob, name, {B.FUNC})
        for i in found:
            self.want(i)
        for copy in self._copies().get(name, ()) if found else ():
            self.function(copy)
        return bool(found)

    def tracepoint(self, name: str) -> bool:
        """Want what tells a tracepoint's parameters: their types, and the function that names them."""
        found = _everywhere(self.blob, TYPEDEF_PREFIX + name, {B.TYPEDEF})
        for i in found:
            self.want(i)
        return bool(found) and (self.function(FUNCTION_PREFIX + name) or True)

    def constants(self, prefix: str) -> None:
        """Want every enum with a constant that begins so."""
        for i in _of_kind(self.blob, _ENUMS):
            if any(name.startswith(prefix) for name, _ in self._constants(i)):
                self.want(i)

    def _copies(self) -> dict[str, list[str]]:
        """The copies that the compiler specialised, by the name of the function: "f.isra.0" and "f.cold" of "f"."""
        if self._specialised is None:
            names = self.btf.functions() + (self.btf.base.functions() if self.btf.base else [])
            self._specialised = {}
            for name in dict.fromkeys(names):
                plain, dot, _ = name.partition(".")
                if dot:
                    self._specialised.setdefault(plain, []).append(name)
        return self._specialised

    def base_types(self) -> None:
        for i in _of_kind(self.blob, _BASE_TYPES):
            self.want(i)

    def close(self) -> None:
        """Add what the wanted types need, until nothing is missing."""
        self._run()
        enums = _of_kind(self.blob, _ENUMS)
        if not any(self._tells_sign(i) for i in self.kept):
            telling = [i for i in enums if self._tells_sign(i)]
            if telling:
                self.want(min(telling, key=lambda i: (self.blob.record(i).vlen, i)))
                self._run()
        while contradicting := self._contradicting(enums):
            for i in contradicting:
                self.want(i)
            self._run()

    def _contradicting(self, enums: list[int]) -> list[int]:
        """Enums that give a constant of a kept one another value: then the constant's name is nobody's choice."""
        kept: dict[str, set[tuple[int, ...]]] = {}
        for i in enums:
            if i in self.kept:
                for name, value in self._constants(i):
                    kept.setdefault(name, set()).add(value)
        others = (i for i in enums if i not in self.kept)
        return [i for i in others if any(n in kept and v not in kept[n] for n, v in self._constants(i))]

    def _constants(self, type_id: int) -> list[tuple[str, tuple[int, ...]]]:
        record = self.blob.record(type_id)
        each = len(_PATTERNS[record.kind])
        words = self.blob.rest(record, each * record.vlen)
        return [(self.blob.text(words[i]), tuple(words[i + 1 : i + each])) for i in range(0, len(words), each)]

    def _tells_sign(self, type_id: int) -> bool:
        record = self.blob.record(type_id)
        return record.kind == B.ENUM64 or (record.kind == B.ENUM and record.flag)

    def want(self, type_id: int, behind: bool = False) -> None:
        if type_id and (type_id, behind) not in self._seen:
            self._seen.add((type_id, behind))
            self._pending.append((type_id, behind))

    def _run(self) -> None:
        while self._pending:
            type_id, behind = self._pending.pop()
            self._take(self.blob.record(type_id), behind)

    def _take(self, record: TypeRecord, behind: bool) -> None:
        """Keep one type, and want what it refers to. Follows Types.whole and Types.behind of types.py."""
        if record.kind not in _KNOWN:
            what = B.KIND_NAMES.get(record.kind, f"of kind {record.kind}")
            raise self.blob.damaged(f"type {record.id} is used as a C type, and it is {what}")
        if record.kind == B.FWD or (behind and record.kind in _RECORDS and record.name_offset):
            self.declared.add(record.id)
            return
        self.kept.add(record.id)
        if record.name_offset and record.kind in (*_RECORDS, *_ENUMS, B.TYPEDEF):
            kinds = _ENUMS if record.kind in _ENUMS else {record.kind}
            for i in self.btf.ids_named(self.blob.text(record.name_offset), kinds):
                self.want(i, behind and record.kind == B.TYPEDEF)
        behind = record.kind == B.PTR or (behind and record.kind in _LINKS)
        for i in _references(self.blob, record):
            self.want(i, behind)

    def written(self) -> bytes:
        """The part as raw BTF: a module's own types first, as its functions and types come before its base's."""
        own = self.blob.first_id
        order = sorted(self.kept, key=lambda i: (i < own, i))
        numbers = {i: n for n, i in enumerate(order, 1)}
        out = Writer()
        declared: dict[tuple[bool, str], list[int]] = {}
        for i in self.declared - self.kept:
            record = self.blob.record(i)
            union = record.kind == B.UNION or (record.kind == B.FWD and record.flag)
            declared.setdefault((union, self.blob.text(record.name_offset)), []).append(i)
        for number, key in enumerate(sorted(declared), len(order) + 1):
            numbers.update(dict.fromkeys(declared[key], number))
        numbers[0] = 0
        for i in order:
            out.add(self.blob, self.blob.record(i), numbers.__getitem__)
        for union, tag in sorted(declared):
            out.words(out.name(tag), int(union) << 31 | B.FWD << 24, 0)
        return out.bytes()


def _references(blob: Blob, record: TypeRecord) -> list[int]:
    """Ids of the types that a type is made of."""
    pattern = _PATTERNS.get(record.kind, "")
    found = [record.size_or_type] if record.kind in _THIRD_IS_A_TYPE else []
    words = blob.rest(record, _length(record))
    at = pattern.find("t")
    while at >= 0:
        found += words[at :: len(pattern)]
        at = pattern.find("t", at + 1)
    return found


def _length(record: TypeRecord) -> int:
    """How many words follow the third."""
    pattern = _PATTERNS.get(record.kind, "")
    return len(pattern) * (1 if record.kind in (B.INT, B.ARRAY) else record.vlen)


class Writer:
    """BTF that is being written: types one after the other, and each string once.

    With `base_strings`, the size of a base's strings, its names continue these.
    """

    def __init__(self, base_strings: int = 0) -> None:
        self._types: Final = bytearray()
        self._first: Final = base_strings
        self._strings: Final = bytearray(b"" if base_strings else b"\0")
        self._names: Final[dict[str, int]] = {"": 0}

    def name(self, text: str) -> int:
        offset = self._names.get(text)
        if offset is None:
            offset = self._names[text] = self._first + len(self._strings)
            self._strings.extend(text.encode() + b"\0")
        return offset

    def words(self, *words: int) -> None:
        self._types.extend(struct.pack(f"<{len(words)}I", *words))

    def add(self, blob: Blob, record: TypeRecord, number: Callable[[int], int]) -> None:
        """A copy of a blob's type; `number` gives the new id of a type that it refers to."""
        info = int(record.flag) << 31 | record.kind << 24 | record.vlen
        third = number(record.size_or_type) if record.kind in _THIRD_IS_A_TYPE else record.size_or_type
        pattern = _PATTERNS.get(record.kind, "")
        rest = list(blob.rest(record, _length(record)))
        for i, word in enumerate(rest):
            match pattern[i % len(pattern)]:
                case "t":
                    rest[i] = number(word)
                case "n":
                    rest[i] = self.name(blob.text(word))
        self.words(self.name(blob.text(record.name_offset)), info, third, *rest)

    def bytes(self) -> bytes:
        """Documentation/bpf/btf.rst 3: header, types, strings."""
        types, strings = len(self._types), len(self._strings)
        return struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, types, types, strings) + self._types + self._strings


def merged(btf: Btf) -> bytes:
    """All of a module's own functions and types, with what they need of its base, as BTF that stands alone."""
    selection = _Selection(btf)
    for i in btf.blob.ids():
        if btf.blob.record(i).kind in _KNOWN:
            selection.want(i)
    selection.base_types()
    selection.close()
    return selection.written()

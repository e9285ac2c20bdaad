"""Whether all that a BTF blob refers to is there.

In: the bytes of a .BTF section.  Out: nothing, or a Stop (SP233).

    check_whole(bytes(elf.contents(section)), "gup.bpf.o")

specc itself looks at what it needs when it needs it. libbpf follows numbers without a look (1.1 does, at least), and the
process that hands it a damaged object is gone.
"""

from __future__ import annotations

from typing import Final

from specc.btf import blob as B
from specc.btf.blob import Blob, TypeRecord

# For each kind, what its third word is, and the words after it, as a pattern that repeats for each element: t is a type,
# n a name, = neither.
_WORDS: Final = {
    B.INT: ("=", "="),
    B.PTR: ("t", ""),
    B.ARRAY: ("=", "tt="),
    B.STRUCT: ("=", "nt="),
    B.UNION: ("=", "nt="),
    B.ENUM: ("=", "n="),
    B.FWD: ("=", ""),
    B.TYPEDEF: ("t", ""),
    B.VOLATILE: ("t", ""),
    B.CONST: ("t", ""),
    B.RESTRICT: ("t", ""),
    B.FUNC: ("t", ""),
    B.FUNC_PROTO: ("t", "nt"),
    B.VAR: ("t", "="),
    B.DATASEC: ("=", "t=="),
    B.FLOAT: ("=", ""),
    B.DECL_TAG: ("t", "="),
    B.TYPE_TAG: ("t", ""),
    B.ENUM64: ("=", "n=="),
}
_ONE: Final = frozenset({B.INT, B.ARRAY, B.VAR, B.DECL_TAG})  # what follows them is there once, whatever vlen says
_ADDRESS: Final = (B.PTR, B.FUNC, B.FUNC_PROTO, B.STRUCT, B.UNION)  # where going from type to type ends


def check_whole(data: bytes, name: str) -> None:
    """Raises Stop with the first type that refers to one, or to a name, that is not there, or to itself."""
    blob = Blob(data, name)
    for type_id in blob.ids():
        record = blob.record(type_id)
        if record.kind not in _WORDS:
            raise blob.damaged(f"type {type_id} is of kind {record.kind}, which is not in objects of specc")
        types, names = _refers(blob, record)
        for other in types:
            if other >= blob.end_id:
                raise blob.damaged(f"type {type_id} refers to type {other}, and there are only {blob.end_id - 1}")
        for at in names:
            blob.text(at)
        if record.kind == B.DATASEC and any(blob.record(other).kind != B.VAR for other in types if other):
            raise blob.damaged(f"`{blob.text(record.name_offset)}` has something else than variables")
    _check_ends(blob)


def _refers(blob: Blob, record: TypeRecord) -> tuple[list[int], list[int]]:
    """The types and the names that a type refers to."""
    third, pattern = _WORDS[record.kind]
    found: dict[str, list[int]] = {"t": [], "n": [record.name_offset], "=": []}
    found[third].append(record.size_or_type)
    count = 1 if record.kind in _ONE else record.vlen
    for number, word in enumerate(blob.rest(record, len(pattern) * count)):
        found[pattern[number % len(pattern)]].append(word)
    return found["t"], found["n"]


def _check_ends(blob: Blob) -> None:
    """Raises Stop when a type is made of itself, without a pointer or a struct in between."""
    ends: set[int] = {0}
    for type_id in blob.ids():
        way: dict[int, None] = {}
        at = type_id
        while at not in ends and at not in way:
            way[at] = None
            record = blob.record(at)
            types, _ = _refers(blob, record)
            at = types[0] if types and record.kind not in (*_ADDRESS, B.DATASEC) else 0
        if at in way:
            raise blob.damaged(f"type {at} is made of itself")
        ends.update(way)

"""The few ways in which the rest reads a debugging information entry (DIE); DWARF 5, chapters 2 and 7.

In: a DIE of pyelftools.  Out: plain values; `Damaged` says what is wrong with the file.

    text(die, "name"); number(die, "byte_size"); origin(die)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, TypeAlias

# pyelftools is imported by `reader`, and only when DWARF is read; to the type checker its entries are anything.
Die: TypeAlias = Any

_IDENTIFIER: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*\Z")
_LONGEST_CHAIN: Final = 16  # of abstract_origin and specification; compilers make three at most


class Damaged(ValueError):
    """The debug information cannot be right, or is of a kind that is not read; the end of a sentence."""


def has(die: Die, name: str) -> bool:
    return f"DW_AT_{name}" in die.attributes


def text(die: Die, name: str) -> str | None:
    found = die.attributes.get(f"DW_AT_{name}")
    if found is None or not isinstance(found.value, bytes):
        return None
    return str(found.value.decode("utf-8", "replace"))


def number(die: Die, name: str) -> int | None:
    """A constant or an address; None without the attribute, or when it is an expression."""
    found = die.attributes.get(f"DW_AT_{name}")
    return found.value if found is not None and isinstance(found.value, int) else None


def flag(die: Die, name: str) -> bool:
    found = die.attributes.get(f"DW_AT_{name}")
    return found is not None and bool(found.value)


def referred(die: Die, name: str) -> Die | None:
    """The entry that an attribute refers to."""
    return die.get_DIE_from_attribute(f"DW_AT_{name}") if has(die, name) else None


def chain(die: Die) -> Iterator[Die]:
    """The entry, what it is an instance of, and what that is a definition of (DWARF 5, 3.3.8 and 5.7.8)."""
    for _ in range(_LONGEST_CHAIN):
        yield die
        after = referred(die, "abstract_origin") or referred(die, "specification")
        if after is None:
            return
        die = after
    raise Damaged("an entry of its debug information is an instance of itself")


def inherited(die: Die, name: str) -> Die | None:
    """The first entry of the chain that has the attribute."""
    return next((d for d in chain(die) if has(d, name)), None)


def inherited_text(die: Die, name: str) -> str | None:
    found = inherited(die, name)
    return None if found is None else text(found, name)


def type_of(die: Die) -> Die | None:
    """The entry of the type; None is void."""
    found = inherited(die, "type")
    return None if found is None else referred(found, "type")


def children(die: Die, tag: str | None = None) -> list[Die]:
    return [c for c in die.iter_children() if tag is None or c.tag == f"DW_TAG_{tag}"]


def parameters(die: Die) -> list[Die]:
    """The parameters of a function in their order, with those of a C++ parameter pack, which g++ puts a level deeper:
    DW_TAG_GNU_formal_parameter_pack has an entry for each argument that the pack stands for."""
    found: list[Die] = []
    for child in die.iter_children():
        if child.tag == "DW_TAG_formal_parameter":
            found.append(child)
        elif child.tag == "DW_TAG_GNU_formal_parameter_pack":
            found += children(child, "formal_parameter")
    return found


def identifier(name: str | None) -> str | None:
    """A name that may go into C text; None for one that is no C identifier (`vector<int>`)."""
    return name if name is not None and _IDENTIFIER.match(name) else None


# gcc's options without which it numbers no views (its manual: -gvariable-location-views), and the first version with them.
_WITHOUT_VIEWS: Final = (
    "-gno-variable-location-views",
    "-gstrict-dwarf",
    "-fno-var-tracking",
    "-gno-statement-frontiers",
)
_GNU: Final = re.compile(r"GNU (?:C|GIMPLE|Objective).*? (\d+)\.\d+")
_VIEWS_SINCE: Final = 8


def options(die: Die) -> frozenset[str]:
    """The compiler's options in the entry's unit, those that it tells: gcc all that change code, clang none."""
    return frozenset((text(die.cu.get_top_DIE(), "producer") or "").split())


_CLANG: Final = re.compile(r"clang version (\d+)\.")
_BITS_SINCE: Final = 19  # found by trying: clang 14 does not, and those between were not tried


def tells_bits(die: Die) -> bool:
    """Whether the entry's compiler tells a bit-field that has all bits of its type from another member."""
    if compiler_of(die)[0] == "gcc":
        return True
    found = _CLANG.search(text(die.cu.get_top_DIE(), "producer") or "")
    return found is not None and int(found[1]) >= _BITS_SINCE


def compiler_of(die: Die) -> tuple[str, bool]:
    """ "gcc", "clang" or "" as an entry's unit says, and whether it numbered the views of locations."""
    producer = text(die.cu.get_top_DIE(), "producer") or ""
    if "clang version" in producer:
        return "clang", False
    found = _GNU.match(producer)
    if found is None:
        return "", False
    told = " -O" in producer and int(found[1]) >= _VIEWS_SINCE
    return "gcc", told and not any(option in producer for option in _WITHOUT_VIEWS)

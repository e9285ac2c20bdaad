"""Base types by the names that compilers and pahole give them.

In: a name and a size in bytes, from a BTF INT or FLOAT.  Out: the canonical C type, or `Unknown` with the reason.

    base_type("long unsigned int", 8)     # ULONG
    base_type("double", 8)                # DOUBLE: pahole before 1.22, and without an option, writes floats as INTs
    base_type("_Decimal64", 8)            # Unknown: its registers would be guessed

The name decides, not the encoding bits: pahole before 1.21 left the sign out of `signed char`.
"""

from __future__ import annotations

import re
from typing import Final

from specc.prototype import (
    BOOL,
    DOUBLE,
    FLOAT,
    FLOAT16,
    FLOAT128,
    FLOATS,
    INT,
    INT128,
    INTS,
    LONG,
    LONG_DOUBLE,
    SCHAR,
    SHORT,
    UCHAR,
    UINT,
    UINT128,
    ULONG,
    USHORT,
    Complex,
    CType,
    Unknown,
    type_word,
)

_SIGNED: Final = {1: SCHAR, 2: SHORT, 4: INT, 8: LONG, 16: INT128}
_UNSIGNED: Final = {1: UCHAR, 2: USHORT, 4: UINT, 8: ULONG, 16: UINT128}

# gcc names `__float128` and `_Float128` alike; both are binary128, as are `double` and the C23 names of its format.
_FLOATS: Final = FLOATS | {"_Float128": FLOAT128, "_Float32": FLOAT, "_Float64": DOUBLE, "_Float32x": DOUBLE}
_FLOATS.update({"_Float64x": LONG_DOUBLE, "half": FLOAT16})

# Types of a compiler's own making, and names that other languages and hand-written BTF use for C's integers.
_ALIASES: Final = {
    "bool": (BOOL, 1),
    "char8_t": (UCHAR, 1),
    "char16_t": (USHORT, 2),
    "char32_t": (UINT, 4),
    "wchar_t": (INT, 4),
    "ssizetype": (LONG, 8),
    "sizetype": (ULONG, 8),
    "__ARRAY_SIZE_TYPE__": (ULONG, 8),
    "isize": (LONG, 8),
    "usize": (ULONG, 8),
}
_WITH_INT: Final[tuple[list[str], ...]] = ([], ["short"], ["long"], ["long", "long"])
_SIZED: Final = re.compile(r"(?:__)?([siu])(8|16|32|64|128)\Z")


def base_type(name: str, size: int) -> CType:
    """The type for a base type's name in BTF. The sizes must agree, or it is not a type of x86-64."""
    made = _by_name(name)
    if made is None:
        return Unknown(name or "(no name)", f"its BTF calls it `{name}`, a base type whose place specc does not know")
    ctype, expected = made
    if size != expected:
        return Unknown(name, f"its BTF gives `{name}` {size} bytes, x86-64 gives it {expected}")
    return ctype


def _by_name(name: str) -> tuple[CType, int] | None:
    """The canonical type and its size on x86-64."""
    if name in _ALIASES:
        return _ALIASES[name]
    sized = _SIZED.match(name)
    if sized:
        size = int(sized[2]) // 8
        return (_UNSIGNED if sized[1] == "u" else _SIGNED)[size], size
    floating = _FLOATS.get(name)
    if floating is not None:
        return floating, floating.size
    words = name.split()
    # gcc: "complex double". clang: just "complex", which leaves open of what.
    if len(words) > 1 and words[0] in ("complex", "_Complex"):
        element = _FLOATS.get(" ".join(words[1:]))
        return (Complex(element), 2 * element.size) if element is not None else None
    return _integer(words)


def _integer(words: list[str]) -> tuple[CType, int] | None:
    """C11 6.7.2p2: the specifiers of an integer type, in any order."""
    signs = [w for w in words if w in ("signed", "unsigned")]
    plain = [w for w in words if w == "int"]
    kept = [w for w in words if w not in ("signed", "unsigned", "int")]
    if len(signs) > 1 or len(plain) > 1 or (plain and kept not in _WITH_INT) or not words:
        return None
    if kept == ["char"] and signs:
        name = f"{signs[0]} char"
    else:
        name = ("unsigned " if signs == ["unsigned"] else "") + (" ".join(kept) or "int")
    made = INTS.get(name)
    return (made, made.size) if made is not None else None


def canonical_name(name: str) -> str | None:
    """ "long unsigned int" to "unsigned long"; None for a name that is no base type's."""
    made = _by_name(name)
    return type_word(made[0]) if made is not None else None

"""The numbers of C: how they wrap, promote and convert, what operators and builtins make of them, and what a constant's
spelling is worth.

In: Python numbers with a C type, or the text of a constant.  Out: the same as C has it on x86-64.

    wrap(300, UCHAR)                        # 44
    common(INT, ULONG)                      # ULONG
    compute("/", -7, 2)                     # -3
    constant_value("int", "0xffffffff")     # (4294967295, UINT)

C11 6.3.1 (conversions), 6.4.4.1 (types of constants), 6.4.4.4 (character constants).
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from specc.prototype import (
    CHAR,
    DOUBLE,
    FLOAT,
    INT,
    INT128,
    INTS,
    LLONG,
    LONG,
    LONG_DOUBLE,
    UINT,
    UINT128,
    ULLONG,
    ULONG,
    USHORT,
    BitInt,
    Complex,
    CType,
    Enum,
    Float,
    Int,
    Pointer,
    Record,
    Vector,
    bare,
    size_of,
)

Value: TypeAlias = tuple[int | float, CType]

_RANK: Final = {INT: 3, UINT: 3, LONG: 4, ULONG: 4, LLONG: 5, ULLONG: 5, INT128: 6, UINT128: 6}
_UNSIGNED: Final = {INT: UINT, LONG: ULONG, LLONG: ULLONG, INT128: UINT128}
_SUFFIX: Final = re.compile(r"([uUlL]*)$")
ESCAPE: Final = re.compile(r"\\(?:x([0-9a-fA-F]+)|([0-7]{1,3})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))|([^\\])", re.S)
_SIMPLE_ESCAPES: Final = {"n": 10, "t": 9, "r": 13, "0": 0, "a": 7, "b": 8, "f": 12, "v": 11, "e": 27}
BIT_FUNCTION: Final = re.compile(r"__builtin_(?:(clz|ctz|ffs|popcount|parity)(l|ll|)|bswap(16|32|64))")
COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge,
}  # fmt: skip


def wrap(value: int, ctype: CType) -> int:
    """The value as an integer type of this size and sign holds it."""
    ctype = bare(ctype)
    if ctype == INTS["_Bool"]:
        return int(value != 0)
    bits = ctype.width if isinstance(ctype, BitInt) else 8 * (size_of(ctype) or 8)
    value &= (1 << bits) - 1
    signed = isinstance(ctype, Int | Enum | BitInt) and ctype.signed
    return value - (1 << bits) if signed and value >> (bits - 1) else value


def promote(ctype: CType) -> CType:
    """C11 6.3.1.1p2: anything narrower than int becomes int."""
    ctype = bare(ctype)
    if isinstance(ctype, Enum):
        if ctype.size < 4:
            return INT
        if ctype.size == 4:
            return INT if ctype.signed else UINT
        return LONG if ctype.signed else ULONG
    if isinstance(ctype, Int) and ctype not in _RANK:
        return INT
    return ctype


def common(a: CType, b: CType) -> CType:
    """C11 6.3.1.8."""
    a, b = bare(a), bare(b)
    for kind in (Complex, Vector):
        if isinstance(a, kind) or isinstance(b, kind):
            return a if isinstance(a, kind) else b
    if isinstance(a, Float) or isinstance(b, Float):
        floats = [t for t in (a, b) if isinstance(t, Float)]
        return max(floats, key=lambda t: (t.data, t.size))
    a, b = promote(a), promote(b)
    if isinstance(a, Int) and isinstance(b, Int) and a in _RANK and b in _RANK:
        if _RANK[a] == _RANK[b]:
            return a if not a.signed else b
        high, low = (a, b) if _RANK[a] > _RANK[b] else (b, a)
        if high.signed and not low.signed and low.size == high.size:
            return _UNSIGNED[high]
        return high
    return a if isinstance(a, Pointer) else b


def compute(op: str, a: int | float, b: int | float) -> int | float | None:
    """What an operator makes of two numbers of one type; None when it is none, or not one for these."""
    match op:
        case "+":
            return a + b
        case "-":
            return a - b
        case "*":
            return a * b
        case "/" if isinstance(a, float) or isinstance(b, float):
            return a / b
    if isinstance(a, float) or isinstance(b, float):
        return None
    match op:
        case "/" | "%":
            quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)  # C11 6.5.5p6: towards zero
            return quotient if op == "/" else a - quotient * b
        case "&":
            return a & b
        case "|":
            return a | b
        case "^":
            return a ^ b
        case _:
            return None


def bit_function(name: str, value: int) -> Value | None:
    """What a builtin that `BIT_FUNCTION` matches makes of a number; None where gcc's manual leaves it undefined."""
    m = BIT_FUNCTION.fullmatch(name)
    assert m is not None
    if m[3]:
        size = int(m[3]) // 8
        kind = {2: USHORT, 4: UINT, 8: ULONG}[size]
        return int.from_bytes(wrap(value, kind).to_bytes(size, "little"), "big"), kind
    kind = {"": UINT, "l": ULONG, "ll": ULLONG}[m[2]]
    value = wrap(value, kind)
    if not value and m[1] in ("clz", "ctz"):
        return None
    lowest = (value & -value).bit_length()
    table = {
        "clz": 8 * kind.size - value.bit_length(),
        "ctz": lowest - 1,
        "ffs": lowest,
        "popcount": value.bit_count(),
        "parity": value.bit_count() & 1,
    }
    return table[m[1]], INT


def find_member(record: CType, name: str) -> tuple[int, CType] | None:
    """Bit offset and type of a member, also one of an anonymous record inside."""
    record = bare(record)
    if not isinstance(record, Record):
        return None
    for m in record.members or ():
        if m.name == name:
            return m.bit_offset, m.type
        if not m.name and m.bit_width is None:
            inner = find_member(m.type, name)
            if inner is not None:
                return m.bit_offset + inner[0], inner[1]
    return None


def constant_value(kind: str, text: str) -> Value:
    """Value and type of an integer, floating or character constant; `kind` is what pycparser calls it.

    Raises ValueError or OverflowError when no type holds it.
    """
    if text.endswith("'"):
        return _character(text)
    text = text.replace("'", "")  # C23 digit separators
    if kind in ("float", "double", "long double"):
        digits = text[:-1] if text[-1] in "fFlL" else text
        number = float.fromhex(digits) if text[:2].lower() == "0x" else float(digits)
        return number, {"float": FLOAT, "double": DOUBLE}.get(kind, LONG_DOUBLE)
    m = _SUFFIX.search(text)
    assert m is not None
    return _integer(text[: m.start()].lower(), m[1].lower())


def _integer(digits: str, suffix: str) -> Value:
    decimal = not digits.startswith("0") or digits == "0"
    base = 10 if decimal else {"0x": 16, "0b": 2}.get(digits[:2], 8)
    value = int(digits, base)
    if "ll" in suffix:
        candidates: list[Int] = [LLONG, ULLONG]
    elif "l" in suffix:
        candidates = [LONG, ULONG]
    else:
        candidates = [INT, UINT, LONG, ULONG]
    if "u" in suffix:
        candidates = [t for t in candidates if not t.signed]
    elif decimal:
        candidates = [t for t in candidates if t.signed]
    for ctype in candidates:
        if wrap(value, ctype) == value:
            return value, ctype
    raise OverflowError(digits)


def _character(text: str) -> Value:
    prefix, _, rest = text.partition("'")
    value = 0
    for m in ESCAPE.finditer(rest[:-1]):
        code = _character_code(m)
        value = code if prefix else (value << 8) | (code & 0xFF)
    if not prefix:
        # One character has the value of a (signed) char, several make an int (gcc and clang alike).
        return wrap(value, CHAR if value < 256 else INT), INT
    return value, {"L": INT, "U": UINT}.get(prefix, INT)


def _character_code(m: re.Match[str]) -> int:
    if m[1]:
        return int(m[1], 16)
    if m[2]:
        return int(m[2], 8)
    if m[3] or m[4]:
        return int(m[3] or m[4], 16)
    return _SIMPLE_ESCAPES.get(m[5], ord(m[5])) if m[5] else ord(m[6])

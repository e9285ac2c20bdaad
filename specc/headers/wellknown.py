"""Types whose meaning is certain on x86-64 Linux without any header: the language's own words, compiler built-ins, and
names for `prototype:`.

    spelled(["long", "unsigned", "int"])    # ULONG
    BUILTINS["__int128_t"]                  # what gcc and clang know without a declaration
    WELL_KNOWN["size_t"]                    # for a prototype in a spec, when no header says otherwise

A name is in WELL_KNOWN only if every C library and the kernel agree on its size and signedness on x86-64: psABI
3.1.2 and 9 (for `size_t` and friends), C11 7.20 (stdint.h), and the kernel's include/uapi/asm-generic/int-ll64.h
and posix_types.h. `time_t`-like names of 32-bit ABIs, `dev_t` and `nlink_t` (which the kernel and libc define
differently) are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from specc.prototype import (
    BFLOAT16,
    BOOL,
    CHAR,
    DOUBLE,
    FLOAT,
    FLOAT16,
    FLOAT128,
    FLOATS,
    INT,
    INT128,
    INTS,
    LLONG,
    LONG,
    LONG_DOUBLE,
    SCHAR,
    SHORT,
    UCHAR,
    UINT,
    UINT128,
    ULLONG,
    ULONG,
    USHORT,
    VOID,
    Array,
    BitInt,
    CType,
    Member,
    Pointer,
    Record,
    Typedef,
    Unknown,
)

_SPECIFIERS: Final = {
    "char": INTS["char"], "char signed": INTS["signed char"], "char unsigned": INTS["unsigned char"],
    "short": INTS["short"], "short signed": INTS["short"], "short unsigned": INTS["unsigned short"],
    "": INTS["int"], "signed": INTS["int"], "unsigned": INTS["unsigned int"],
    "long": INTS["long"], "long signed": INTS["long"], "long unsigned": INTS["unsigned long"],
    "long long": INTS["long long"], "long long signed": INTS["long long"],
    "long long unsigned": INTS["unsigned long long"],
    "__int128": INTS["__int128"], "__int128 signed": INTS["__int128"], "__int128 unsigned": INTS["unsigned __int128"],
}  # fmt: skip

# psABI 3.5.7, figure 3.34: the va_list type.
_VA_LIST: Final = Record(
    "struct",
    "__va_list_tag",
    (
        Member("gp_offset", UINT, 0),
        Member("fp_offset", UINT, 32),
        Member("overflow_arg_area", Pointer(VOID), 64),
        Member("reg_save_area", Pointer(VOID), 128),
    ),
    24,
    8,
)

_DECIMAL: Final = "decimal floating point is passed in xmm registers and not laid out by specc"

BUILTINS: Final[dict[str, CType]] = {
    "__builtin_va_list": Typedef("__builtin_va_list", Array(_VA_LIST, 1)),
    "__builtin_ms_va_list": Pointer(CHAR),
    "__int128_t": Typedef("__int128_t", INT128),
    "__uint128_t": Typedef("__uint128_t", UINT128),
    "_Float16": FLOAT16,
    "__bf16": BFLOAT16,
    "_Float32": FLOAT,
    "_Float64": DOUBLE,
    "_Float32x": DOUBLE,
    "_Float64x": LONG_DOUBLE,
    "_Float128": FLOAT128,
    "__float128": FLOAT128,
    "__float80": LONG_DOUBLE,
    **{name: Unknown(name, _DECIMAL) for name in ("_Decimal32", "_Decimal64", "_Decimal128")},
    "bool": BOOL,  # a keyword since C23; an earlier typedef of that name comes first
}


def _table(text: str, ctype: CType) -> dict[str, CType]:
    return {name: Typedef(name, ctype) for name in text.split()}


WELL_KNOWN: Final[dict[str, CType]] = {
    **_table("int8_t s8 __s8 __int8_t", SCHAR),
    **_table("uint8_t u8 __u8 __uint8_t u_int8_t u_char unchar", UCHAR),
    **_table("int16_t s16 __s16 __int16_t", SHORT),
    **_table(
        "uint16_t u16 __u16 __le16 __be16 __sum16 __uint16_t u_int16_t ushort u_short sa_family_t umode_t", USHORT
    ),
    **_table("int32_t s32 __s32 __int32_t pid_t __pid_t clockid_t key_t __kernel_pid_t", INT),
    **_table(
        "uint32_t u32 __u32 __le32 __be32 __wsum __uint32_t u_int32_t uint u_int uid_t gid_t id_t socklen_t gfp_t "
        "fmode_t projid_t mode_t",
        UINT,
    ),
    **_table("u64 __u64 __le64 __be64 phys_addr_t dma_addr_t sector_t", ULLONG),
    **_table("s64 __s64 loff_t __loff_t", LLONG),
    **_table("int64_t intptr_t intmax_t ptrdiff_t ssize_t __ssize_t off_t off64_t time_t clock_t suseconds_t", LONG),
    **_table("uint64_t uintptr_t uintmax_t size_t ulong u_long pgoff_t", ULONG),
    "bool": BOOL,
    "wchar_t": Typedef("wchar_t", INT),
    "va_list": Typedef("va_list", BUILTINS["__builtin_va_list"]),
}


def spelled(names: Sequence[str]) -> CType | None:
    """The type of one or more words that stand in a specifier, other than qualifiers and `_Complex`."""
    if len(names) == 1:
        name = names[0]
        if name == "void":
            return VOID
        if name in INTS:
            return INTS[name]
        if name in ("float", "double"):
            return FLOATS[name]
    if "double" in names:
        return LONG_DOUBLE
    first = names[0]
    key = " ".join(sorted(n for n in names if n != "int"))
    if key in _SPECIFIERS and (key or names == ["int"]):
        return _SPECIFIERS[key]
    if len(names) > 1 and first in BUILTINS and set(names[1:]) <= {"signed", "unsigned"}:
        return BUILTINS[first]
    return None


def bit_int(width: int, signed: bool) -> BitInt | None:
    """`_BitInt(width)`, None when C has none of that width."""
    if not (1 if not signed else 2) <= width <= 8388608:
        return None
    # psABI 3.1.2: like the smallest fundamental type that holds it, else an array of 64-bit words.
    size = next((s for s in (1, 2, 4, 8) if width <= 8 * s), (width + 63) // 64 * 8)
    return BitInt(width, signed, size, min(size, 8))

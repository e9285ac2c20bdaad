"""Prototypes at the edges of the rules, by name. What is right is measured, so there are no values here.

Each row is a Signature; `cases()` renders them under their names.
"""

from __future__ import annotations

from .shapes import (
    ARRAY_PARAMETER,
    BOOL,
    CHAR,
    COMPLEX_DOUBLE,
    COMPLEX_FLOAT,
    COMPLEX_LONG_DOUBLE,
    DOUBLE,
    FLOAT,
    FLOAT16,
    FLOAT128,
    FUNCTION,
    FUNCTION_PARAMETER,
    INT,
    INT128,
    LLONG,
    LONG,
    LONG_DOUBLE,
    POINTER,
    SCHAR,
    SHORT,
    UCHAR,
    UINT,
    UINT128,
    ULONG,
    USHORT,
    Array,
    Case,
    Enum,
    Member,
    Scalar,
    Signature,
    Type,
    Typedef,
    Vector,
    bitint,
    render,
    scalar,
    struct,
    union,
)  # fmt: skip


def _of(*parameters: Type, returns: Type | None = None, variadic: bool = False) -> Signature:
    return Signature(parameters, returns, variadic)


def _bits(type_: Type, width: int, attributes: str = "") -> Member:
    return Member(type_, width, attributes)


def _unnamed(type_: Type, width: int) -> Member:
    return Member(type_, width, named=False)


TWO_LONGS = struct(LONG, LONG)
THREE_LONGS = struct(LONG, LONG, LONG)
MIXED = struct(DOUBLE, LONG)
FIVE, SIX, SEVEN = (LONG,) * 5, (LONG,) * 6, (LONG,) * 7
DOUBLES = (DOUBLE,) * 8
AFTER = (LONG, DOUBLE, INT, THREE_LONGS)

HARD: dict[str, Signature] = {
    "nothing": _of(),
    "every_integer_width": _of(CHAR, SCHAR, SHORT, INT, LONG, LLONG, BOOL, UCHAR, USHORT, UINT, ULONG),
    "fourteen_arguments": _of(
        INT, POINTER, SHORT, LONG, FLOAT, CHAR, UINT, POINTER, BOOL, INT, DOUBLE, CHAR, LONG, INT
    ),
    "like_do_mmap": _of(
        POINTER, ULONG, ULONG, ULONG, ULONG, ULONG, ULONG, scalar("unsigned long *"), POINTER, returns=ULONG
    ),
    "pair_with_one_register_left": _of(*FIVE, TWO_LONGS, LONG, LONG),
    "pair_with_one_register_left_then_narrow": _of(*FIVE, struct(LONG, INT), CHAR, struct(LONG, CHAR)),
    "pair_with_no_register_left": _of(*SIX, TWO_LONGS, LONG),
    "mixed_with_no_general_register": _of(*SIX, MIXED, DOUBLE, LONG),
    "mixed_with_no_vector_register": _of(*DOUBLES, MIXED, LONG, DOUBLE),
    "mixed_with_neither": _of(*SIX, *DOUBLES, MIXED, LONG, DOUBLE),
    "two_doubles_with_one_vector_left": _of(*DOUBLES[:7], struct(DOUBLE, DOUBLE), DOUBLE, LONG),
    "hidden_return_three_longs": _of(*FIVE, LONG, LONG, returns=THREE_LONGS),
    "hidden_return_pair_after": _of(*FIVE[:4], TWO_LONGS, LONG, returns=THREE_LONGS),
    "return_two_longs": _of(*SIX, returns=TWO_LONGS),
    "return_mixed": _of(*SIX, returns=MIXED),
    "return_packed_five": _of(LONG, returns=struct(CHAR, INT, attributes="packed")),
    "return_packed_misaligned": _of(LONG, returns=struct(CHAR, LONG, attributes="packed")),
    "return_long_double_struct": _of(LONG, returns=struct(LONG_DOUBLE)),
    "return_complex_long_double": _of(LONG, returns=COMPLEX_LONG_DOUBLE),
    "return_complex_long_double_struct": _of(LONG, returns=struct(COMPLEX_LONG_DOUBLE)),
    "return_empty": _of(LONG, returns=struct()),
    "int128_with_r9_left": _of(*FIVE, INT128, LONG, LONG),
    "int128_with_r9_left_then_nothing": _of(*FIVE, INT128, DOUBLE),
    "int128_at_even_slot": _of(*SIX, INT128, LONG),
    "int128_at_odd_slot": _of(*SEVEN, UINT128, LONG),
    "int128_in_struct_odd_slot": _of(*SEVEN, struct(INT128), LONG),
    "int128_in_struct_with_r9_left": _of(*FIVE, struct(INT128), LONG),
    "int128_under_aligned": _of(*SEVEN, Typedef(INT128, "aligned(8)"), LONG),
    "float128_at_odd_slot": _of(*SEVEN, *DOUBLES, FLOAT128, LONG),
    "long_double_at_odd_slot": _of(*SEVEN, LONG_DOUBLE, LONG),
    "complex_long_double_at_odd_slot": _of(*SEVEN, COMPLEX_LONG_DOUBLE, LONG),
    "long_double_in_struct_with_char": _of(struct(CHAR, LONG_DOUBLE), LONG),
    "long_double_or_long": _of(union(LONG_DOUBLE, LONG), LONG),
    "long_double_or_char_array": _of(union(LONG_DOUBLE, Array(CHAR, 3)), LONG),
    "aligned_32_on_stack": _of(*SEVEN, struct(LONG, LONG, LONG, attributes="aligned(32)"), LONG),
    "aligned_64_on_stack": _of(*SEVEN, struct(INT, attributes="aligned(64)"), LONG, LONG),
    "aligned_16_in_registers": _of(LONG, struct(LONG, attributes="aligned(16)"), LONG),
    "aligned_16_pair_with_r9_left": _of(*FIVE, struct(LONG, LONG, attributes="aligned(16)"), LONG),
    "aligned_16_scalar": _of(*SEVEN, Typedef(INT, "aligned(16)"), INT),
    "aligned_16_scalar_pair": _of(*SEVEN, Typedef(LONG, "aligned(16)"), Typedef(LONG, "aligned(16)"), INT),
    "aligned_16_member": _of(*SEVEN, struct(CHAR, Member(INT, attributes="aligned(16)")), INT),
    "under_aligned_typedef": _of(*SEVEN, Typedef(LONG, "aligned(2)"), LONG),
    "under_aligned_member": _of(struct(CHAR, Typedef(LONG, "aligned(1)")), LONG),
    "under_aligned_double_member": _of(struct(FLOAT, Typedef(DOUBLE, "aligned(4)")), LONG, DOUBLE),
    "under_aligned_but_in_place": _of(struct(LONG, Typedef(LONG, "aligned(1)")), LONG),
    "bit_field_straddles": _of(struct(_bits(INT, 30), _bits(INT, 30), _bits(INT, 30)), LONG),
    "bit_field_straddles_packed": _of(struct(_bits(INT, 30), _bits(LONG, 40), attributes="packed"), LONG),
    "bit_field_straddles_eightbytes": _of(struct(_bits(LONG, 60), _bits(LONG, 20), attributes="packed"), LONG),
    "bit_field_beside_float": _of(struct(_bits(INT, 5), FLOAT, FLOAT), LONG, DOUBLE),
    "bit_field_bool": _of(struct(_bits(BOOL, 1), _bits(BOOL, 1), _bits(CHAR, 3)), LONG),
    "unnamed_bits_alone": _of(struct(_unnamed(INT, 5)), *AFTER),
    "unnamed_bits_alone_long": _of(struct(_unnamed(LONG, 64)), *AFTER),
    "unnamed_bits_beside_float": _of(struct(FLOAT, _unnamed(INT, 5)), *AFTER),
    "unnamed_eightbyte_then_double": _of(struct(_unnamed(LONG, 64), DOUBLE), *AFTER),
    "double_then_unnamed_eightbyte": _of(struct(DOUBLE, _unnamed(LONG, 64)), *AFTER),
    "zero_width_bit_field": _of(struct(_bits(INT, 3), _unnamed(INT, 0), _bits(INT, 3)), *AFTER),
    "zero_width_alone": _of(struct(_unnamed(INT, 0)), *AFTER),
    "zero_width_beside_double": _of(struct(DOUBLE, _unnamed(LONG, 0)), *AFTER),
    "flexible_array": _of(struct(INT, Array(INT, None)), *AFTER),
    "flexible_array_of_double": _of(struct(LONG, Array(DOUBLE, None)), *AFTER),
    "zero_length_array": _of(struct(LONG, Array(DOUBLE, 0)), *AFTER),
    "only_zero_length_array": _of(struct(Array(LONG, 0)), *AFTER),
    "empty_struct": _of(LONG, struct(), LONG),
    "empty_struct_on_stack": _of(*SEVEN, struct(), LONG),
    "empty_aligned_on_stack": _of(*SEVEN, struct(attributes="aligned(16)"), LONG),
    "empty_union": _of(LONG, union(), LONG),
    "nested_empty": _of(struct(struct(), FLOAT), *AFTER),
    "transparent_union_of_pointers": _of(union(POINTER, scalar("char *"), attributes="transparent_union"), *AFTER),
    "transparent_union_of_int": _of(union(INT, UINT, attributes="transparent_union"), *AFTER),
    "transparent_union_on_stack": _of(*SIX, union(POINTER, FUNCTION, attributes="transparent_union"), LONG),
    "vector_8": _of(Vector("float", 8), Vector("int", 8), *AFTER),
    "vector_16": _of(Vector("float", 16), Vector("int", 16), *AFTER),
    "vector_16_on_stack": _of(*SEVEN, *DOUBLES, Vector("float", 16), LONG),
    "vector_32": _of(LONG, Vector("float", 32), *AFTER),
    "vector_in_struct": _of(struct(Vector("float", 16)), struct(Vector("float", 8), INT), *AFTER),
    "complex": _of(COMPLEX_FLOAT, COMPLEX_DOUBLE, *AFTER),
    "complex_with_one_vector_left": _of(*DOUBLES[:7], COMPLEX_DOUBLE, DOUBLE),
    "int_and_complex_float": _of(struct(INT, COMPLEX_FLOAT), *AFTER),
    "complex_int": _of(scalar("_Complex int"), scalar("_Complex long"), scalar("_Complex char"), *AFTER),
    "atomic": _of(scalar("_Atomic int"), struct(scalar("_Atomic long")), *AFTER),
    "return_vector_32": _of(*SIX, returns=Vector("int", 32)),
    "return_vector_of_one_double": _of(*SIX, returns=Vector("double", 8)),
    "return_vector_of_one_float": _of(*SIX, returns=Vector("float", 4)),
    "vector_of_two_half_floats": _of(Vector("short", 4), Vector("float", 4), *AFTER),
    "float128_in_union": _of(union(FLOAT128), *AFTER),
    "unnamed_bits_then_long": _of(struct(_unnamed(SHORT, 5), LONG), *AFTER),
    "unnamed_bits_fill_an_eightbyte": _of(struct(_unnamed(LONG, 60), CHAR), *AFTER),
    "nested_flexible_array": _of(struct(struct(LONG, Array(CHAR, None))), *AFTER),
    "over_aligned_packed_member": _of(struct(LONG, Member(Typedef(BOOL, "aligned(64)"), attributes="packed")), *AFTER),
    "packed_records_in_array": _of(struct(Array(struct(SHORT, CHAR, attributes="packed"), 2)), *AFTER),
    "packed_records_in_array_one": _of(struct(Array(struct(SHORT, CHAR, attributes="packed"), 1)), *AFTER),
    "packed_bit_field_record": _of(struct(CHAR, struct(_bits(INT, 3)), attributes="packed"), *AFTER),
    "packed_aligned_record": _of(struct(CHAR, struct(CHAR, attributes="aligned(4)"), attributes="packed"), *AFTER),
    "packed_aligned_empty": _of(struct(CHAR, struct(attributes="aligned(8)"), CHAR, attributes="packed"), *AFTER),
    "packed_complex": _of(struct(INT, COMPLEX_DOUBLE, attributes="packed"), *AFTER),
    "packed_bit_int": _of(struct(INT, bitint(40), attributes="packed"), *AFTER),
    "under_aligned_array": _of(struct(SHORT, Array(Typedef(INT, "aligned(2)"), 2)), *AFTER),
    "under_aligned_record": _of(struct(SHORT, Typedef(struct(_bits(INT, 5)), "aligned(2)")), *AFTER),
    "unnamed_bits_after_floats": _of(struct(FLOAT, FLOAT, _unnamed(INT, 1)), *AFTER),
    "unnamed_bits_before_float": _of(struct(_unnamed(INT, 5), FLOAT), *AFTER),
    "unnamed_bits_in_union": _of(union(FLOAT, _unnamed(INT, 5)), *AFTER),
    "unnamed_bits_in_array": _of(struct(Array(struct(_unnamed(INT, 32)), 2)), *AFTER),
    "float128_or_long": _of(union(FLOAT128, LONG), *AFTER),
    "int128_bit_field": _of(struct(_bits(INT128, 70)), struct(LONG, _bits(INT128, 60)), *AFTER),
    "transparent_union_of_int128": _of(*SEVEN, union(TWO_LONGS, INT128, attributes="transparent_union"), LONG),
    "three_floats": _of(struct(FLOAT, FLOAT, FLOAT), *AFTER),
    "float_and_int": _of(struct(FLOAT, INT), struct(FLOAT, FLOAT, INT), *AFTER),
    "half_floats": _of(FLOAT16, struct(FLOAT16, FLOAT16, FLOAT16), struct(FLOAT16, SHORT), *AFTER),
    "packed_long_int": _of(struct(LONG, INT, attributes="packed"), *AFTER),
    "packed_int_long": _of(struct(INT, LONG, attributes="packed"), *AFTER),
    "packed_char_int": _of(struct(CHAR, INT, attributes="packed"), *AFTER),
    "packed_nested": _of(struct(CHAR, struct(SHORT, INT), attributes="packed"), *AFTER),
    "packed_nested_packed": _of(struct(INT, struct(CHAR, CHAR, attributes="packed")), *AFTER),
    "packed_float_double": _of(struct(FLOAT, DOUBLE, attributes="packed"), *AFTER),
    "packed_array_of_records": _of(struct(CHAR, Array(struct(SHORT), 3), attributes="packed"), *AFTER),
    "pragma_pack_4": _of(struct(INT, LONG, pack=4), struct(INT, DOUBLE, pack=4), *AFTER),
    "pragma_pack_1": _of(struct(LONG, CHAR, pack=1), *AFTER),
    "union_double_or_two_longs": _of(union(DOUBLE, TWO_LONGS), *AFTER),
    "union_float_or_int": _of(union(FLOAT, INT), union(DOUBLE, FLOAT), *AFTER),
    "union_of_arrays": _of(union(Array(FLOAT, 3), LONG), union(Array(CHAR, 9), DOUBLE), *AFTER),
    "every_size_of_char_array": _of(*(struct(Array(CHAR, size)) for size in (1, 3, 5, 7, 8, 9, 15, 16, 17))),
    "large_struct": _of(LONG, struct(Array(CHAR, 4096)), LONG),
    "enum_of_64_bits": _of(Enum(("1ULL << 40",)), Enum(("0", "1"), "packed"), Enum(("-1",)), *AFTER),
    "array_and_function_parameters": _of(ARRAY_PARAMETER, FUNCTION_PARAMETER, FUNCTION, LONG),
    "list_of_variadic_arguments": _of(Scalar("__builtin_va_list {}", adjusted="void *"), LONG),
    "variadic": _of(LONG, DOUBLE, TWO_LONGS, POINTER, variadic=True),
    "variadic_on_stack": _of(*SIX, INT, struct(INT), variadic=True),
    "bit_int_65": _of(bitint(65), bitint(7, unsigned=True), LONG),
    "bit_int_128_with_r9_left": _of(*FIVE, bitint(128), LONG),
    "bit_int_200": _of(LONG, bitint(200), LONG),
    "bit_int_in_struct": _of(struct(bitint(33), bitint(65)), struct(bitint(3), CHAR), LONG),
    "anonymous_members": _of(
        struct(INT, Member(union(FLOAT, INT), named=False), Member(struct(CHAR), named=False)), LONG
    ),
}


def cases() -> list[Case]:
    return [render(signature, f"hard_{name}") for name, signature in HARD.items()]

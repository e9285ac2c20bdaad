"""Conditions: what is read from their text, the C types of what they compute, and how they are spelled."""

from __future__ import annotations

from itertools import accumulate

import pytest

from specc.diagnostics import Location, Report
from specc.path import Path
from specc.where import IntType, Meaning, check, parse, spell_test
from specc.where.typing import Constant, Operation, TextTest

WHERE = Location("spec.yaml", 5, 12, 5, 200)
NAMES = {
    "c": IntType(1, True), "b": IntType(1, False), "s": IntType(2, True), "i": IntType(4, True), "u": IntType(4, False),
    "l": IntType(8, True), "ul": IntType(8, False), "p": IntType(8, False, pointer=True),
}  # fmt: skip


def meaning(name: str, path: Path | None, where: Location) -> Meaning | None:
    if name == "comm":
        return Meaning(name, IntType(1, True), text=True)
    return Meaning(name, NAMES[name], f"`{name}`", text=name == "p")


def spelled(text: str) -> list[str]:
    report = Report()
    condition = parse(text, WHERE, report)
    assert condition is not None, report.diagnostics
    found = check(condition, meaning, report)
    assert found is not None, report.diagnostics
    return [spell_test(t.tree, {}, lambda t: f"text({t.variable}, {t.text!r}, {t.begins})") for t in found]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("i", ["i"]),
        ("i > 16 && u", ["(i > 16)", "u"]),
        ("i && (u && l)", ["i", "u", "l"]),
        ("i || u && l", ["(i || (u && l))"]),
        ("c < b", ["(c < b)"]),  # both are ints
        ("i < u", ["((__u32)i < u)"]),
        ("u < l", ["((__s64)u < l)"]),
        ("l < ul", ["((__u64)l < ul)"]),
        ("c + 1", ["((__s32)((__u32)c + (__u32)1))"]),
        ("i - u * 2", ["((__u32)((__u32)(__u32)i - (__u32)((__u32)((__u32)u * (__u32)(__u32)2))))"]),
        ("c << i", ["((__s32)((__u32)c << ((__u32)i & 31)))"]),
        ("l >> c", ["((__s64)(l >> ((__u32)c & 63)))"]),
        ("s / c", ["((__s32)signed_quotient((__s64)s, (__s64)c, &failed))"]),
        ("u % c", ["((__u32)remainder((__u64)u, (__u64)(__u32)c, &failed))"]),
        ("~b == -1", ["(((__s32)~(__u32)b) == ((__s32)0xffffffffffffffffULL))"]),
        ("!p", ["!p"]),
        ("p != 0", ["(p != (__u64)0)"]),
        ('comm == "x"', ["text(comm, b'x', False)"]),
        (r'"\x41\n\0101" != p', [r"!text(p, b'A\n\x081', False)"]),
        ('startswith(p, "a\u00e9")', [r"text(p, b'a\xc3\xa9', True)"]),
        ("i == 'a' && i == '\\n'", ["(i == 97)", "(i == 10)"]),
        ("i == 2 + 3 * 4 - 6 / 4 % 3 << 1", ["(i == 26)"]),
        ("i == -7 / 2 && i == -7 % 2", ["(i == ((__s32)0xfffffffffffffffdULL))", "(i == ((__s32)0xffffffffffffffffULL))"]),
        ("ul == -1 + 0x0u", ["(ul == (__u64)((__u32)0xffffffffULL))"]),
    ],
)  # fmt: skip
def test_tests(text: str, wanted: list[str]) -> None:
    assert spelled(text) == wanted


@pytest.mark.parametrize(
    ("text", "size", "signed"),
    [
        ("2147483647", 4, True), ("2147483648", 8, True), ("0x7fffffff", 4, True), ("0x80000000", 4, False),
        ("0xffffffff", 4, False), ("0x100000000", 8, True), ("0xffffffffffffffff", 8, False), ("1u", 4, False),
        ("4294967296u", 8, False), ("1l", 8, True), ("1ul", 8, False), ("1LLU", 8, False), ("0o17", 4, True),
        ("18446744073709551615u", 8, False),
    ],
)  # fmt: skip
def test_types_of_literals(text: str, size: int, signed: bool) -> None:
    report = Report()
    condition = parse(f"i == {text}", WHERE, report)
    assert condition is not None
    found = check(condition, meaning, report)
    assert found is not None and isinstance(found[0].tree, Operation)
    assert found[0].tree.operands[1] == Constant(int(text.rstrip("uUlL"), 0), IntType(size, signed))


def test_the_place_of_a_mistake() -> None:
    """Inside of a string whose text is that of the file; else the whole string."""
    text = 'i == "x"'
    for around, wanted in ((0, (12, 13)), (2, (13, 14)), (3, (12, 23))):
        where = Location("spec.yaml", 5, 12, 5, 12 + len(text) + around)
        report = Report()
        condition = parse(text, where, report)
        assert condition is not None and check(condition, meaning, report) is None
        [found] = report.diagnostics
        assert found.where is not None and (found.where.column, found.where.end_column) == wanted


@pytest.mark.parametrize(
    "text", ["i" + " + i" * 59, "(" * 39 + "i" + ")" * 39, "~" * 39 + "i", "i" + " / i" * 59, "i && " * 59 + "i"]
)
def test_the_largest(text: str) -> None:
    for test in spelled(text):
        deep = list(accumulate((c == "(") - (c == ")") for c in test))
        assert deep[-1] == 0 and max(deep) < 250  # clang takes 256


@pytest.mark.parametrize(
    "text", ["i" + " + i" * 60, "(" * 40 + "i" + ")" * 40, "-" * 100_000, "(" * 4000, "i" * 4000 + "("]
)
def test_too_large(text: str) -> None:
    report = Report()
    assert parse(text, WHERE, report) is None
    assert report.diagnostics[0].code in ("SP281", "SP280", "SP287")


def test_which_tests_read_memory() -> None:
    report = Report()
    condition = parse('comm == "a" && p == "b" && !startswith(p, "c") && p', WHERE, report)
    assert condition is not None and condition.names == ("comm", "p")
    found = check(condition, meaning, report)
    assert found is not None and [t.reads for t in found] == [False, True, True, False]
    assert isinstance(found[0].tree, TextTest)

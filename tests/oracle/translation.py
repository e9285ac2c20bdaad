"""Cases to one C translation unit: a callee, a caller and a description of each.

The callee copies its parameters whole to `oracle_out`. The caller calls through a pointer that no
compiler can see through, so neither function can be adapted to the other, and one unit holds both.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .shapes import Case, Leaf, Parameter

RUNTIME = Path(__file__).parent
KINDS = ("bytes", "bool", "x87", "x87pair", "bitint", "bitfield")


def translation_unit(cases: Sequence[Case]) -> str:
    header = (RUNTIME / "runtime.h").read_text()
    rows = ",\n".join(
        f"\t{{ {case.name}, {case.name}_call, {_result(case)}, {len(case.parameters)}, "
        f"{sum(len(one.leaves) for one in described(case))}, "
        f"{case.name}_parameters, {case.name}_leaves }}"
        for case in cases
    )
    return (
        header
        + "".join(map(_one, cases))
        + f"const struct oracle_case oracle_cases[] = {{\n{rows}\n}};\n"
        + f"const unsigned oracle_case_count = {len(cases)};\n"
    )


def described(case: Case) -> tuple[Parameter, ...]:
    """The parameters and the result, in the order in which the runtime has them."""
    return case.parameters if case.result is None else (*case.parameters, case.result)


def _result(case: Case) -> str:
    return "0, 0" if case.result is None else f"&{case.name}_result, sizeof {case.name}_result"


def _one(case: Case) -> str:
    """One case; its lines are numbered in a file of its own name, so that an error names it."""
    return "\n".join(
        (
            f'#line 1 "{case.name}.case"',
            f"{case.declarations}{_callee(case)}",
            *(f"{_object(one.type)} {case.name}_{one.name};" for one in case.parameters),
            _caller(case),
            *_description(case),
            "",
        )
    )


def _object(type_: str) -> str:
    return f"__typeof__({type_})"


def _callee(case: Case) -> str:
    copies = " ".join(
        f"__builtin_memcpy(out, (void *)&{one.name}, sizeof {one.name}); out += sizeof {one.name};"
        for one in case.parameters
    )
    finish = ""
    if case.result is not None:
        finish = (
            f"{_object(case.result.type)} result; "
            "__builtin_memcpy(&result, oracle_result, sizeof result); return result; "
        )
    return f"{case.prototype} {{ unsigned char *out = oracle_out; {copies} {finish}}}"


def _caller(case: Case) -> str:
    given = [f"{case.name}_{one.name}" for one in case.parameters]
    if case.variadic:
        given += ["1", "2.0", "3L"]
    call = f"((__typeof__(&{case.name}))oracle_stub_pointer)({', '.join(given)});"
    if case.result is None:
        return f"void {case.name}_call(void) {{ {call} }}"
    return (
        f"{_object(case.result.type)} {case.name}_result;\n"
        f"void {case.name}_call(void) {{ {case.name}_result = {call} }}"
    )


def _description(case: Case) -> list[str]:
    """Tables whose numbers the compiler fills in: sizes, alignments, offsets, bit-field masks."""
    lines: list[str] = []
    leaf_rows: list[str] = []
    for index, one in enumerate(described(case)):
        for leaf in one.leaves:
            mask = "0"
            if leaf.kind == "bitfield":
                mask = f"&{case.name}_mask{len(leaf_rows)}"
                lines.append(f"const {_object(one.type)} {mask[1:]} = {{ {leaf.path} = -1 }};")
            leaf_rows.append(
                f"{{ {index}, {KINDS.index(leaf.kind)}, {leaf.bits}, {_offset_and_size(one.type, leaf)}, {mask} }}"
            )
    parameter_rows = [
        f"{{ sizeof({_object(one.type)}), {_alignment(one.type)}, &{case.name}_{one.name} }}" for one in case.parameters
    ]
    for kind, rows in (("parameter", parameter_rows), ("leaf", leaf_rows)):
        table = {"parameter": "parameters", "leaf": "leaves"}[kind]
        listed = ", ".join(rows) or "{ 0 }"
        lines.append(f"const struct oracle_{kind} {case.name}_{table}[] = {{ {listed} }};")
    return lines


def _alignment(type_: str) -> str:
    """As records are laid out: gcc's _Alignof has 16 for a vector of 32 bytes that it aligns to 32."""
    return f"__builtin_offsetof(struct {{ char c; {_object(type_)} x; }}, x)"


def _offset_and_size(type_: str, leaf: Leaf) -> str:
    if leaf.kind == "bitfield":
        return f"0, sizeof({_object(type_)})"
    if not leaf.path:
        return f"0, sizeof({_object(type_)})"
    place = leaf.path.removeprefix(".")
    return f"__builtin_offsetof({_object(type_)}, {place}), sizeof((({_object(type_)} *)0)->{place})"

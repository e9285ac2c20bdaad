"""Random prototypes as a program that passes random values to each function and tells what it passed.

In: cases of the oracle and a seed.  Out: C text; and from the program's output, what every function was given.

The program fills each argument's padding with garbage, and tells the argument's bytes without it, and every scalar in
it as C sees it: so both the bytes of an event and its decoded values have something independent to be compared with.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from oracle import generate, shapes
from oracle.shapes import Array, Case, Enum, Leaf, Parameter, Record, Scalar, Type, Typedef

SIGNED = {shapes.SCHAR, shapes.SHORT, shapes.INT, shapes.LONG, shapes.LLONG, shapes.CHAR}
UNSIGNED = {shapes.UCHAR, shapes.USHORT, shapes.UINT, shapes.ULONG, shapes.ULLONG}

_RUNTIME = r"""
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static uint64_t state;
static uint64_t rnd(void) { /* splitmix64 */
	uint64_t z = (state += 0x9e3779b97f4a7c15);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}
static void fill(void *p, unsigned long n) { unsigned char *c = p; while (n--) *c++ = rnd(); }
static FILE *out;
static void put(char tag, int number, int argument, const char *path, const void *p, unsigned n) {
	const unsigned char *c = p;
	fprintf(out, "%c %d %d %s ", tag, number, argument, *path ? path : "-");
	while (n--) fprintf(out, "%02x", *c++);
	fputc('\n', out);
}
#define FILL(to, path) fill(&(to path), sizeof(to path))
#define SHOW_INT(tag, n, a, x, path) do { __int128 v = (x path); put(tag, n, a, #path, &v, 16); } while (0)
#define SHOW_FLOAT(n, a, x, path) do { double v = (x path); put('f', n, a, #path, &v, 8); } while (0)
"""


def program(cases: Sequence[Case]) -> tuple[str, str, str]:
    """(header with the prototypes, callees, callers): the last two are translation units of their own.

    The callers call through pointers, so that neither side can be adapted to the other.
    """
    header = "struct opaque;\n" + "".join(case.text for case in cases)  # one type, and not one for each prototype
    callees = '#include "cases.h"\n' + "".join(map(_callee, cases))
    callers = [_RUNTIME, '#include "cases.h"\n']
    callers += [_caller(case, number) for number, case in enumerate(cases)]
    calls = "".join(f"\tcall_{number}();\n" for number in range(len(cases)))
    callers.append(f"int main(int n, char **v) {{\n\tout = fopen(v[1], \"w\");\n\tstate = atoll(v[2]);\n{calls}\treturn fclose(out);\n}}\n")  # fmt: skip
    return header, callees, "".join(callers)


def _object(type_: str) -> str:
    return f"__typeof__({type_})"


def _callee(case: Case) -> str:
    # The first bytes of an argument's object say where it is; the compiler cannot tell that nobody looks.
    uses = "".join(f' __asm__ volatile("" : : "r"(&{p.name}) : "memory");' for p in case.parameters)
    if case.result is None:
        return f"__attribute__((noinline)) {case.prototype} {{{uses} }}\n"
    return (
        f"{_object(case.result.type)} {case.name}_given;\n"
        f"__attribute__((noinline)) {case.prototype} {{{uses} return {case.name}_given; }}\n"
    )


def _caller(case: Case, number: int) -> str:
    lines = [f"static __typeof__({case.name}) *volatile pointer_{number} = {case.name};"]
    if case.result is not None:
        lines.append(f"extern {_object(case.result.type)} {case.name}_given;")
    lines.append(f"static void call_{number}(void) {{")
    types = (*case.signature.parameters, *([case.signature.returns] if case.signature.returns is not None else []))
    for index, (one, type_) in enumerate(zip(_described(case), types, strict=True)):
        argument = index if index < len(case.parameters) else -1
        lines += [f"\t{line}" for line in _value(one, type_, number, argument)]
    arguments = [p.name for p in case.parameters] + (["1", "2.0", "3L"] if case.variadic else [])
    if case.result is not None:
        lines.append(f"\tmemcpy(&{case.name}_given, &result, sizeof result);")
    lines.append(f"\tpointer_{number}({', '.join(arguments)});\n}}")
    return "\n".join(lines) + "\n"


def _described(case: Case) -> tuple[Parameter, ...]:
    return case.parameters if case.result is None else (*case.parameters, case.result)


def _value(one: Parameter, type_: Type, number: int, argument: int) -> Iterator[str]:
    clean = f"clean_{one.name}"
    yield f"{_object(one.type)} {one.name}, {clean};"
    yield f"memset(&{one.name}, 0xa5, sizeof {one.name}); memset(&{clean}, 0, sizeof {clean});"
    for leaf in one.leaves:
        yield from _leaf(one.name, clean, leaf)
    yield f"put('o', {number}, {argument}, \"\", &{clean}, sizeof {clean});"
    for path, tag in scalars(type_):
        if tag == "f":
            yield f"SHOW_FLOAT({number}, {argument}, {clean}, {path});"
        else:
            yield f"SHOW_INT('{tag}', {number}, {argument}, {_integer(clean, path, tag)}, {path});".replace(
                f", {path});", f", {path});"
            )


def _integer(clean: str, path: str, tag: str) -> str:
    return f"(unsigned long){clean}" if tag == "p" else clean


def _leaf(name: str, clean: str, leaf: Leaf) -> Iterator[str]:
    path = leaf.path
    match leaf.kind:
        case "bytes":
            yield f"FILL({clean}, {path}); memcpy(&{name}{path}, &{clean}{path}, sizeof {name}{path});"
        case "bool":
            yield f"{clean}{path} = {name}{path} = rnd() & 1;"
        # Its 10 bytes alone: an assignment may leave anything in the other 6, which in a union another member has.
        case "x87":
            yield f"{{ long double v = (int)rnd() / 3.0L; {_ten(name, clean, path, 'v', 0)} }}"
        case "x87pair":
            yield (
                f"{{ long double v = (int)rnd() / 3.0L, w = (int)rnd() / 7.0L; {_ten(name, clean, path, 'v', 0)} "
                f"{_ten(name, clean, path, 'w', 16)} }}"
            )
        case "bitint" | "bitfield":
            yield f"{{ unsigned long v = rnd(); {clean}{path} = v; {name}{path} = v; }}"


def _ten(name: str, clean: str, path: str, value: str, offset: int) -> str:
    return "".join(f" memcpy((char *)&{one}{path} + {offset}, &{value}, 10);" for one in (name, clean))


def scalars(type_: Type, path: str = "", prefix: str = "m") -> Iterator[tuple[str, str]]:
    """(path, tag) of every scalar that C and Python can both show: i and u integers, p pointers, f floats, b truths."""
    match type_:
        case Scalar() if type_.adjusted and "*" in type_.adjusted:
            yield path, "p"
        case Scalar() if type_ in SIGNED:
            yield path, "i"
        case Scalar() if type_ in UNSIGNED:
            yield path, "u"
        case Scalar(kind="bool"):
            yield path, "b"
        case Scalar() if type_ in (shapes.FLOAT, shapes.DOUBLE):
            yield path, "f"
        case Scalar() if type_ in generate.POINTERS:
            yield path, "p"
        case Enum():
            yield path, "i"
        case Typedef(base=base):
            yield from scalars(base, path, prefix)
        case Array(element=element, length=length) if element != shapes.CHAR:
            for index in range(length or 0):
                yield from scalars(element, f"{path}[{index}]")
        case Record(keyword="union"):
            # Where members overlap, a truth may be neither 0 nor 1, and C does not say what that means.
            yield from ((p, tag) for p, tag in _members(type_, path, prefix) if tag != "b")
        case Record():
            yield from _members(type_, path, prefix)
        case _:
            return


def _members(record: Record, path: str, prefix: str) -> Iterator[tuple[str, str]]:
    for index, one in enumerate(record.members):
        name = f"{prefix}{index}"
        if one.bits is not None:
            if one.named:
                yield f"{path}.{name}", "b" if one.type == shapes.BOOL else "i"
        elif one.named:
            yield from scalars(one.type, f"{path}.{name}")
        else:
            yield from scalars(one.type, path, f"{name}_")


@dataclass(slots=True)
class Passed:
    """What one argument (or, as -1, the result) was: its bytes without padding, and its scalars by their paths."""

    data: bytes = b""
    scalars: dict[str, int | float | bool] = field(default_factory=dict)


def passed(output: Path) -> dict[tuple[int, int], Passed]:
    """From the program's output, by the case's number and the argument's."""
    found: dict[tuple[int, int], Passed] = {}
    for line in output.read_text().splitlines():
        tag, number, argument, path, data = (line + " ").split(" ")[:5]
        one = found.setdefault((int(number), int(argument)), Passed())
        raw = bytes.fromhex(data)
        if tag == "o":
            one.data = raw
            continue
        value: int | float | bool
        if tag == "f":
            (value,) = struct.unpack("<d", raw)
        else:
            value = int.from_bytes(raw, "little", signed=True)
            value = bool(value) if tag == "b" else value
        one.scalars["" if path == "-" else path] = value
    return found

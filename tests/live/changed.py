"""Random functions that optimising compilers change: arguments that are unused, constant, replaced by a member or by
what they point to, assigned at once; recursion, early exits, results that nobody takes.

In: a seed.  Out: C text, whose program tells each call's arguments and each result, in text, to a file.

Whoever calls tells what it passes, in the source's words; whatever a probe sees must be what some call passed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

_TYPES: Final = """
struct P { long x; int y; };
struct S { int x; int y; };
struct L { long x; long y; };
struct B { long x; long y; long z; };
"""
_HEAD: Final = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define NOINLINE __attribute__((noinline))
extern void touch(void *);
extern FILE *out;
extern unsigned long rnd(void);
volatile long sink;
static struct P shared = { 5, 6 };
"""
RUNTIME: Final = """
#include <stdio.h>
#include <stdlib.h>
FILE *out;
static unsigned long state;
unsigned long rnd(void) { /* splitmix64 */
	unsigned long z = (state += 0x9e3779b97f4a7c15);
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}
void touch(void *p) { *(char *)p ^= 1; }
void work(void);
int main(int n, char **v) { out = fopen(v[1], "w"); state = atol(v[2]); work(); return fclose(out); }
"""
MEMBERS: Final = {"struct S": ("x", "y"), "struct L": ("x", "y"), "struct B": ("x", "y", "z")}
_INTEGERS: Final = ("long", "long", "long", "int", "unsigned", "short", "signed char", "unsigned char")


@dataclass(slots=True)
class Parameter:
    name: str
    type: str
    role: str  # used, unused, constant, member, pointee, escaped
    constant: int = 0


@dataclass(slots=True)
class Function:
    name: str
    parameters: list[Parameter]
    static: bool
    result: str = "long"
    lines: list[str] = field(default_factory=list)

    def declaration(self) -> str:
        inside = ", ".join(f"{p.type}{'' if p.type.endswith('*') else ' '}{p.name}" for p in self.parameters)
        return f"{self.result} {self.name}({inside or 'void'})"


def source(seed: int, count: int) -> tuple[str, list[Function]]:
    """A translation unit with `count` functions and `void work(void)`, which calls each of them some times."""
    random = Random(seed)
    functions: list[Function] = []
    for number in range(count):
        functions.append(_function(random, number, functions))
    work = [line for f in functions for line in _calls(random, f)]
    parts = [_TYPES, _HEAD, *("\n".join(f.lines) for f in functions)]
    return "\n".join([*parts, "void work(void) {", *work, "}", ""]), functions


def header(functions: list[Function]) -> str:
    """Their declarations, as a header would have them."""
    return "\n".join([_TYPES, *(f"{f.declaration()};" for f in functions), ""])


def _function(random: Random, number: int, earlier: list[Function]) -> Function:
    parameters = [_parameter(random, i) for i in range(random.choice((1, 2, 2, 3, 3, 3, 4, 4, 5, 6, 8, 10)))]
    f = Function(f"f{number}", parameters, random.random() < 0.75)
    recursive = random.random() < 0.15
    if random.random() < 0.12:
        f.result = "struct B"  # in memory: its address is in the first register, or, where nobody takes it, nowhere
    words = ["static"] if f.static else []
    if random.random() < 0.9 or not f.static:
        words.append("NOINLINE")
    if recursive:
        f.parameters.append(Parameter("depth", "int", "depth"))
    f.lines = [
        " ".join([*words, f.declaration(), "{"]),
        *(f"\t{line}" for line in _body(random, f, recursive, earlier)),
        "}",
    ]
    if random.random() < 0.12:
        f.lines.append(f"__typeof__({f.name}) *volatile pointer_{f.name} = {f.name};")
    return f


def _parameter(random: Random, i: int) -> Parameter:
    name = f"a{i}"
    match random.randrange(12):
        case 0 | 1:
            return Parameter(name, random.choice(_INTEGERS), "unused")
        case 2:
            return Parameter(name, random.choice(_INTEGERS[:5]), "constant", random.randrange(1, 100))
        case 3 | 4:
            return Parameter(name, "struct P *", random.choice(("pointee", "pointee", "used", "unused")))
        case 5:
            return Parameter(name, random.choice(("struct S", "struct L")), random.choice(("member", "used", "unused")))
        case 6:
            return Parameter(name, "struct B", random.choice(("member", "member", "used", "unused")))
        case 7:
            return Parameter(name, "double", random.choice(("used", "unused")))
        case 8:
            return Parameter(name, random.choice(_INTEGERS[:4]), "escaped")
        case _:
            return Parameter(name, random.choice(_INTEGERS), "used")


def _body(random: Random, f: Function, recursive: bool, earlier: list[Function]) -> Iterator[str]:
    scalars = [p for p in f.parameters if p.type in _INTEGERS and p.role != "depth"]
    if scalars and random.random() < 0.35:  # assignments that may cost no instruction
        for _ in range(random.randrange(1, 4)):
            target = random.choice(scalars)
            yield f"{target.name} = {random.choice([*(s.name for s in scalars), '7', 'sink * 3', f'{target.name} + 1'])};"
    yield f"long result = {random.randrange(1000)};"
    if random.random() < 0.3:
        yield "sink = result;"
    for p in random.sample(f.parameters, len(f.parameters)):
        match p.role, p.type:
            case "used", "struct P *":
                yield f"result = result * 31 + (long){p.name};"
            case (("used" | "member"), ("struct S" | "struct L" | "struct B")):
                for name in MEMBERS[p.type] if p.role == "used" else [random.choice(MEMBERS[p.type])]:
                    yield f"result = result * 31 + {p.name}.{name};"
            case (("used" | "constant"), _):
                yield f"result = result * 31 + (long){p.name};"
            case "pointee", _:
                yield f"result += {p.name}->{random.choice('xy')} * 3;"
            case "escaped", _:
                yield f"touch(&{p.name}); result += {p.name};"
        if random.random() < 0.12:
            yield f"if (__builtin_expect(result % {random.randrange(3, 9)} == 0, {random.randrange(2)})) {{ sink = 1; {_result(f)} }}"
        if random.random() < 0.1:
            yield "for (int i = 0; i < 3; i++) { sink = result + i; touch(&result); }"
    if earlier and random.random() < 0.4:
        yield from _passes_on(random, f, random.choice(earlier[-6:]))
    if recursive:
        given = []
        for p in f.parameters:
            given.append("depth - 1" if p.name == "depth" else p.name)
        yield "if (depth > 0) {"
        yield f"\t{_told(f, given)}"
        yield f"\tresult += {f.name}({', '.join(given)}){'.y' if f.result != 'long' else ''};"
        yield "}"
    if random.random() < 0.1:
        yield "result = 7;"
    if random.random() < 0.3:
        yield "sink = result;"
    yield _result(f)


def _passes_on(random: Random, f: Function, callee: Function) -> Iterator[str]:
    """A call of another function with what this one was given, or with constants."""
    given: list[str] = []
    yield "{"
    for p in callee.parameters:
        own = [q.name for q in f.parameters if q.type == p.type and q.role != "depth"]
        if p.role == "depth":
            given.append("1")
        elif own and random.random() < 0.7:
            given.append(random.choice(own))
        elif p.type == "struct P *":
            given.append("&shared")
        elif p.type in MEMBERS:
            yield f"\t{p.type} made_{p.name} = {{ {', '.join('result + 1' for _ in MEMBERS[p.type])} }};"
            given.append(f"made_{p.name}")
        else:
            given.append(random.choice(("3", f"({p.type})result")))
    yield f"\t{_told(callee, given)}"
    call = f"{callee.name}({', '.join(given)})"
    yield f"\tresult += {call}{'.y' if callee.result != 'long' else ''};" if random.random() < 0.6 else f"\t{call};"
    yield "}"


def _result(f: Function) -> str:
    """Tells the result and returns it."""
    if f.result == "long":
        return f'fprintf(out, "r {f.name} %ld\\n", result); return result;'
    value = "struct B made = { result, ~result, result + 1 };"
    return f'{value} fprintf(out, "r {f.name} %ld %ld %ld\\n", made.x, made.y, made.z); return made;'


def _told(f: Function, given: list[str]) -> str:
    words, values = [], []
    for p, g in zip(f.parameters, given, strict=True):
        if p.type in MEMBERS:
            for name in MEMBERS[p.type]:
                words.append(f"{p.name}.{name}=%ld")
                values.append(f"(long)({g}).{name}")
        elif p.type == "double":
            continue
        else:
            words.append(f"{p.name}=%ld")
            values.append(f"(long)({p.type})({g})")
    return f'fprintf(out, "c {f.name} {" ".join(words)}\\n"{"".join(", " + v for v in values)});'


def _calls(random: Random, f: Function) -> Iterator[str]:
    pointer = any(line.startswith("__typeof__") for line in f.lines)
    for number in range(random.randrange(2, 5)):
        yield "\t{"
        given: list[str] = []
        for p in f.parameters:
            match p:
                case Parameter(role="constant") if number < 3:
                    # Not all callers agree on every constant: some functions get a copy for those that do.
                    given.append(str(p.constant))
                    continue
                case Parameter(role="depth"):
                    given.append("3")
                    continue
                case Parameter(type="struct P *"):
                    yield f"\t\tstruct P o_{p.name} = {{ rnd(), rnd() }}; struct P *{p.name} = &o_{p.name};"
                case Parameter(type="double"):
                    yield f"\t\tdouble {p.name} = (double)(long)rnd();"
                case Parameter(type=type_) if type_ in MEMBERS:
                    yield f"\t\t{type_} {p.name} = {{ {', '.join('rnd()' for _ in MEMBERS[type_])} }};"
                case _:
                    yield f"\t\t{p.type} {p.name} = rnd();"
            given.append(p.name)
        yield f"\t\t{_told(f, given)}"
        called = f"pointer_{f.name}" if pointer and number == 1 else f.name
        used = random.random() < 0.5
        member = ".z" if used and f.result != "long" else ""
        yield f"\t\t{'sink = ' if used else ''}{called}({', '.join(given)}){member};"
        yield "\t}"


@dataclass(slots=True)
class Told:
    """By function: the arguments of each call, and each result."""

    calls: dict[str, list[dict[str, int]]] = field(default_factory=dict)
    results: dict[str, set[tuple[int, ...]]] = field(default_factory=dict)


def told(output: Path) -> Told:
    found = Told()
    for line in output.read_text().splitlines():
        kind, name, *words = line.split()
        if kind == "r":
            found.results.setdefault(name, set()).add(tuple(map(int, words)))
        else:
            values = {n: int(v) for n, v in re.findall(r"([\w.]+)=(-?\d+)", " ".join(words))}
            found.calls.setdefault(name, []).append(values)
    return found

"""Random conditions, run on known arguments: an event is there just when C says that the condition is true.

The evaluator below follows the C standard and knows nothing of specc's own. Every run has 1,240 expressions of its own.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from .build import compile_c, live
from .test_live_run import finish, started

pytestmark = live

SPECS, CALLS = 10, 6
PROBES = {"uprobe": 160, "uretprobe": 40}  # in each spec; a return probe has a map of its own, which is large
TYPES = {  # C type, bytes, signed
    "a": ("signed char", 1, True), "b": ("unsigned char", 1, False), "c": ("short", 2, True),
    "d": ("unsigned short", 2, False), "e": ("int", 4, True), "f": ("unsigned int", 4, False),
    "g": ("long", 8, True), "h": ("unsigned long", 8, False), "i": ("_Bool", 1, False), "j": ("long long", 8, True),
}  # fmt: skip
PROTOTYPE = f"long take({', '.join(f'{t} {n}' for n, (t, _, _) in TYPES.items())})"
EDGES = (
    0,
    1,
    2,
    3,
    7,
    31,
    32,
    63,
    64,
    100,
    127,
    128,
    255,
    256,
    32767,
    65535,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63 - 1,
    2**63,
)


class Zero(Exception):
    """A division by zero: the condition is false."""


class Typed(NamedTuple):
    value: int
    size: int
    signed: bool


def cut(value: int, size: int, signed: bool) -> int:
    value %= 2 ** (8 * size)
    return value - 2 ** (8 * size) if signed and value >= 2 ** (8 * size - 1) else value


def promote(t: Typed) -> Typed:
    """C11 6.3.1.1p2: every type that is narrower than int has only values that an int has."""
    return t if t.size >= 4 else Typed(t.value, 4, True)


def balance(a: Typed, b: Typed) -> tuple[Typed, Typed]:
    """C11 6.3.1.8p1, with int of 4 bytes and long of 8."""
    a, b = promote(a), promote(b)
    if a.size == b.size:
        signed = a.signed and b.signed
        size = a.size
    else:
        size, signed = max(((a.size, a.signed), (b.size, b.signed)))
    return Typed(cut(a.value, size, signed), size, signed), Typed(cut(b.value, size, signed), size, signed)


def truth(value: bool) -> Typed:
    return Typed(int(value), 4, True)


class Leaf(NamedTuple):
    text: str
    constant: Typed | None = None


class Node(NamedTuple):
    op: str
    parts: tuple[Leaf | Node, ...]  # type: ignore[misc]


def evaluate(tree: Leaf | Node, arguments: dict[str, int]) -> Typed:
    if isinstance(tree, Leaf):
        if tree.constant is not None:
            return tree.constant
        _, size, signed = TYPES[tree.text]
        return Typed(arguments[tree.text], size, signed)
    first = evaluate(tree.parts[0], arguments)
    op = tree.op
    if len(tree.parts) == 1:
        t = promote(first)
        if op == "!":
            return truth(t.value == 0)
        return t._replace(value=cut(-t.value if op == "-" else ~t.value, t.size, t.signed))
    if op == "&&" and not first.value:
        return truth(False)
    if op == "||" and first.value:
        return truth(True)
    second = evaluate(tree.parts[1], arguments)
    if op in ("&&", "||"):
        return truth(second.value != 0)
    if op in ("<<", ">>"):
        t = promote(first)
        count = second.value % (8 * t.size)  # as documented
        return t._replace(value=cut(t.value << count if op == "<<" else t.value >> count, t.size, t.signed))
    a, b = balance(first, second)
    x, y = a.value, b.value
    match op:
        case "==":
            return truth(x == y)
        case "!=":
            return truth(x != y)
        case "<":
            return truth(x < y)
        case "<=":
            return truth(x <= y)
        case ">":
            return truth(x > y)
        case ">=":
            return truth(x >= y)
        case "/" | "%":
            if y == 0:
                raise Zero
            whole = abs(x) // abs(y)
            whole = -whole if (x < 0) != (y < 0) else whole
            result = whole if op == "/" else x - y * whole
        case _:
            result = {"+": x + y, "-": x - y, "*": x * y, "&": x & y, "|": x | y, "^": x ^ y}[op]
    return a._replace(value=cut(result, a.size, a.signed))


def is_true(tree: Leaf | Node, arguments: dict[str, int]) -> bool:
    try:
        return evaluate(tree, arguments).value != 0
    except Zero:
        return False


def spelled(tree: Leaf | Node) -> str:
    if isinstance(tree, Leaf):
        return tree.text
    if len(tree.parts) == 1:
        return f"({tree.op}{spelled(tree.parts[0])})"
    return f"({spelled(tree.parts[0])} {tree.op} {spelled(tree.parts[1])})"


def literal(rng: random.Random) -> Leaf:
    value = rng.choice(EDGES) if rng.random() < 0.6 else rng.getrandbits(rng.randrange(1, 64))
    suffix = rng.choice(("", "", "u", "l", "ul"))
    hexadecimal = rng.random() < 0.4
    if not hexadecimal and "u" not in suffix and value >= 2**63:
        suffix = "u"
    # C11 6.4.4.1p5, as a table of the types that are tried.
    tried = [(4, True), (4, False), (8, True), (8, False)]
    if "u" in suffix:
        tried = [t for t in tried if not t[1]]
    elif not hexadecimal:
        tried = [t for t in tried if t[1]]
    if "l" in suffix:
        tried = [t for t in tried if t[0] == 8]
    size, signed = next(t for t in tried if cut(value, *t) == value)
    return Leaf((hex(value) if hexadecimal else str(value)) + suffix, Typed(value, size, signed))


def knows_nothing(tree: Leaf | Node) -> bool:
    return tree.constant is not None if isinstance(tree, Leaf) else all(map(knows_nothing, tree.parts))


def expression(rng: random.Random, depth: int) -> Leaf | Node:
    if depth == 0 or rng.random() < 0.1:
        return Leaf(rng.choice(list(TYPES))) if rng.random() < 0.7 else literal(rng)
    if rng.random() < 0.15:
        return Node(rng.choice("!-~"), (expression(rng, depth - 1),))
    op = rng.choice(("||", "&&", "==", "!=", "<", "<=", ">", ">=", "|", "^", "&", "<<", ">>", "+", "-", "*", "/", "%"))
    left, right = expression(rng, depth - 1), expression(rng, depth - 1)
    if knows_nothing(right) and op in ("<<", ">>", "/", "%"):  # what is known to be wrong is refused
        right = Leaf(str(n := rng.randrange(1, 31)), Typed(n, 4, True))
    return Node(op, (left, right))


def conditions(rng: random.Random, count: int) -> list[Leaf | Node]:
    found: list[Leaf | Node] = []
    while len(found) < count:
        tree = expression(rng, rng.randrange(1, 5))
        if not knows_nothing(tree) and "(" in spelled(tree):
            found.append(tree)
    return found


def calls(rng: random.Random) -> list[dict[str, int]]:
    made = []
    for _ in range(CALLS):
        made.append(
            {
                n: rng.randrange(2) if t == "_Bool" else
                cut(rng.choice(EDGES) * rng.choice((1, -1)) if rng.random() < 0.6 else rng.getrandbits(64), size, signed)
                for n, (t, size, signed) in TYPES.items()
            }
        )  # fmt: skip
    return made


def source_of(made: list[dict[str, int]]) -> str:
    body = "".join(
        f"    take({', '.join(f'({TYPES[n][0]}){v % 2**64}ULL' for n, v in call.items())});\n" for call in made
    )
    return (
        f'#include <unistd.h>\n__attribute__((noinline, noipa)) {PROTOTYPE} {{ __asm__ volatile("" ::: "memory"); '
        f"return g; }}\nint main(void) {{\n{body}    return 0;\n}}\n"
    )


@pytest.mark.parametrize("number", range(SPECS))
def test_random_conditions(number: int, tmp_path: Path) -> None:
    rng = random.Random(f"{os.environ['SPECC_SEED']} where {number}")
    made = calls(rng)
    compile_c(tmp_path / "take", source_of(made))
    kind = "uretprobe" if number % 3 == 2 else "uprobe"
    trees = conditions(rng, PROBES[kind])
    buffer = ("{ring: 1MiB}", "{perf: 64}")[number % 2]
    lines = [f"specc: 1\nname: where\nfields: []\nbuffer: {buffer}\nprobes:"]
    for i, tree in enumerate(trees):
        lines.append(
            f'  - {{name: p{i}, {kind}: {{path: ./take, symbol: take}}, prototype: "{PROTOTYPE}", args: [e], '
            f"where: {json.dumps(spelled(tree))}}}"
        )
    lines.append(f'  - {{name: all, uprobe: {{path: ./take, symbol: take}}, prototype: "{PROTOTYPE}", args: [e]}}')
    (tmp_path / "where.yaml").write_text("\n".join(lines) + "\n")
    wanted = Counter({(f"p{i}", call["e"]): 0 for i, _ in enumerate(trees) for call in made})
    for i, tree in enumerate(trees):
        wanted.update((f"p{i}", call["e"]) for call in made if is_true(tree, call))
    wanted.update(("all", call["e"]) for call in made)
    count = sum(wanted.values())
    with started("where.yaml", "--format", "jsonl", "--duration", "2", cwd=tmp_path) as process:
        subprocess.run([tmp_path / "take"], check=True)
        done = finish(process)
    events = Counter((e["probe"], e["e"]) for e in map(json.loads, done.out.splitlines()))
    different = {k: (wanted[k], events[k]) for k in {*wanted, *events} if wanted[k] != events[k]}
    shown = [(spelled(trees[int(k[0][1:])]) if k[0] != "all" else k[0], k[1], v) for k, v in different.items()]
    assert not shown, (shown[:3], made)
    assert done.err.splitlines()[-1] == f"received {count}, lost 0"


STRINGS = """
#include <string.h>
#include <sys/mman.h>
__attribute__((noinline, noipa)) int open_it(const char *name, void *data, int n) { return n - 2; }
int main(void)
{
    static char text[4][32];
    char *edge = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) + 4096;
    mprotect(edge, 4096, PROT_NONE);
    strcpy(edge - 12, "/etc/passwd"); /* ends at the last byte that can be read */
    strcpy(text[0], "/etc/passwd"), strcpy(text[1], "/etc/passwd2"), strcpy(text[2], "/etc/passw");
    open_it(text[0], text[0], 0), open_it(text[1], 0, 1), open_it(text[2], 0, 2), open_it(text[3], 0, 3);
    open_it(edge - 12, 0, 4), open_it(0, 0, 5), open_it((char *)8, 0, 6);
    return 0;
}
"""
OPEN = "int open_it(const char *name, void *data, int n)"
CASES = {  # which calls are recorded
    'name == "/etc/passwd"': "04",
    'name != "/etc/passwd"': "123",  # what cannot be read is neither
    '"/etc/passwd" == name': "04",
    'name == ""': "3",
    'startswith(name, "/etc/passwd")': "014",
    'startswith(name, "/etc/pas")': "0124",
    '!startswith(name, "/etc/pas")': "3",
    'name == NULL || name == "/etc/passw"': "25",
    'n == 6 || startswith(name, "/etc/passwd2")': "16",  # the left side decides
    'startswith(name, "/etc/passwd2") || n == 6': "1",  # the left side cannot be read
    'data && n < 3': "0",
    'comm == "opener" && n == 3': "3",
    'comm == "opene" || comm == "opener2"': "",
    'startswith(comm, "open") && startswith(comm, "opener")': "0123456",
    "10 / n == 5": "2",
    "!(10 / n == 5)": "13456",  # not the call with a zero
    "n == 0 || 10 / n > 4": "012",
    "n % 'a' == '\\x05'": "5",
    "-n / 2 == -2 && pid == tid && uid == 0 && ppid > 0 && timestamp > 0": "45",
    "n < 0 - 1u && pidns != 0 && mntns != 0 && cgroup > 0 && cpu < 4096": "0123456",
}  # fmt: skip
RETURNS = {"return < 0": "01", "return == n - 2 && latency < 10000000000l": "0123456", "return > 2 && n == 6": "6"}


def test_strings_and_context(tmp_path: Path) -> None:
    compile_c(tmp_path / "opener", STRINGS)
    target = f'{{path: ./opener, symbol: open_it}}, prototype: "{OPEN}", args: [n], where: '
    all_cases = [
        *(("uprobe", text, w) for text, w in CASES.items()),
        *(("uretprobe", t, w) for t, w in RETURNS.items()),
    ]
    lines = [f"  - {{name: p{i}, {kind}: {target}{json.dumps(text)}}}" for i, (kind, text, _) in enumerate(all_cases)]
    (tmp_path / "strings.yaml").write_text("specc: 1\nname: strings\nprobes:\n" + "\n".join(lines) + "\n")
    with started("strings.yaml", "--format", "jsonl", "--duration", "2", cwd=tmp_path) as process:
        subprocess.run([tmp_path / "opener"], check=True)
        done = finish(process)
    events = [json.loads(line) for line in done.out.splitlines()]
    got = {
        text: "".join(sorted(str(e["n"]) for e in events if e["probe"] == f"p{i}"))
        for i, (_, text, _) in enumerate(all_cases)
    }
    assert got == {text: wanted for _, text, wanted in all_cases}

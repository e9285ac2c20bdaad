"""One function for each hard signature, called with random values: what its event shows is what was passed."""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path
from random import Random
from typing import Any

import pytest

from .build import compile_c, live

SEED = int(os.environ["SPECC_SEED"])
BUFFERS = ["{ring: 1MiB}", "{perf: 64}"]

HEADER = """
struct pair { long a; int b; };
struct big { long a[3]; short s; };
struct al { int x; } __attribute__((aligned(16)));
struct small { short a; char b; };
long eight(long a, int b, short c, signed char d, unsigned int e, unsigned short f, unsigned char g, long h);
int fourteen(int a, long b, int c, long d, int e, long f, int g, long h, short i, long j, signed char k, long l, int m, long n);
int in_registers(struct pair p, struct small s, long q);
int spilled(long a, long b, long c, long d, long e, struct pair f, signed char g, struct small h);
int large(int x, struct big b, long y);
int aligned(long a, long b, long c, long d, long e, long f, int g, struct al s, long h);
struct big hidden(long a, struct pair p, int c);
struct pair two_registers(long a, int b);
long narrow(signed char a, unsigned char b, short c, unsigned short d, int e, unsigned int f,
            signed char g, unsigned short h, int i, _Bool j);
long recursive(long n, int tag);
long threaded(long n, int tag);
"""

CALLEES = """
#include "hard.h"
#define KEEP __asm__ volatile("" ::: "memory")
long eight(long a, int b, short c, signed char d, unsigned e, unsigned short f, unsigned char g, long h) { KEEP; return h; }
int fourteen(int a, long b, int c, long d, int e, long f, int g, long h, short i, long j, signed char k, long l, int m, long n) { KEEP; return m; }
int in_registers(struct pair p, struct small s, long q) { KEEP; return p.b; }
int spilled(long a, long b, long c, long d, long e, struct pair f, signed char g, struct small h) { KEEP; return g; }
int large(int x, struct big b, long y) { KEEP; return b.s; }
int aligned(long a, long b, long c, long d, long e, long f, int g, struct al s, long h) { KEEP; return s.x; }
struct big hidden(long a, struct pair p, int c) { KEEP; return (struct big){{a, p.a, p.b}, c}; }
struct pair two_registers(long a, int b) { KEEP; return (struct pair){a ^ 1, b ^ 1}; }
long narrow(signed char a, unsigned char b, short c, unsigned short d, int e, unsigned f, signed char g, unsigned short h, int i, _Bool j) { KEEP; return 0; }
static long (*volatile again)(long, int);
long recursive(long n, int tag) { again = recursive; return n ? n + again(n - 1, tag + 1) : tag; }
long threaded(long n, int tag) { KEEP; return n * 3 + tag; }
"""

CALLERS = """
#include "hard.h"
#include <pthread.h>
#include <stdlib.h>
long call_narrow(unsigned long *words);
static unsigned long v[64];
static void *thread(void *p) {
	long base = (long)p * 1000000;
	for (long i = 0; i < THREAD_CALLS; i++) threaded(base + i, (int)(long)p);
	return 0;
}
int main(int n, char **w) {
	for (int i = 1; i < n; i++) v[i - 1] = strtoul(w[i], 0, 0);
	struct pair p = {v[0], v[1]};
	struct big b = {{v[0], v[1], v[2]}, v[3]};
	struct al s = {v[4]};
	struct small q = {v[5], v[6]};
	eight(v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]);
	fourteen(v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10], v[11], v[12], v[13]);
	in_registers(p, q, v[7]);
	spilled(v[8], v[9], v[10], v[11], v[12], p, v[13], q);
	large(v[14], b, v[15]);
	aligned(v[1], v[2], v[3], v[5], v[6], v[7], v[8], s, v[9]);
	hidden(v[16], p, v[17]);
	two_registers(v[18], v[19]);
	call_narrow(v);
	recursive(DEPTH, 7);
	pthread_t t[THREADS];
	for (long i = 0; i < THREADS; i++) pthread_create(&t[i], 0, thread, (void *)i);
	for (int i = 0; i < THREADS; i++) pthread_join(t[i], 0);
	return 0;
}
"""

# Every register and slot is full: what is above a narrow value is garbage, as the psABI allows.
NARROW = """#asm
	.text
	.globl call_narrow
call_narrow:
	pushq %rbx
	movq %rdi, %rbx
	pushq 72(%rbx)
	pushq 64(%rbx)
	pushq 56(%rbx)
	pushq 48(%rbx)
	movq 40(%rbx), %r9
	movq 32(%rbx), %r8
	movq 24(%rbx), %rcx
	movq 16(%rbx), %rdx
	movq 8(%rbx), %rsi
	movq (%rbx), %rdi
	call narrow
	addq $32, %rsp
	popq %rbx
	ret
	.section .note.GNU-stack,"",@progbits
"""

DEPTH, THREADS, CALLS = 12, 8, 500
ENTRIES = ["eight", "fourteen", "in_registers", "spilled", "large", "aligned", "hidden", "two_registers", "narrow"]
RETURNS = {
    "eight": "[a, h, return]",
    "fourteen": "[a, g, n, return]",
    "spilled": "[f, g, return]",
    "large": "[b, y, return]",
    "aligned": "[s, return]",
    "hidden": "[a, p, return]",
    "two_registers": "[a, b, return]",
    "recursive": "[n, tag, return]",
    "threaded": "[n, tag, return]",
}


def spec_text(program: Path, buffer: str) -> str:
    lines = ["specc: 1", "name: hard", "headers: [hard.h]", "fields: [tid]", f"buffer: {buffer}", "probes:"]
    for name in ENTRIES:
        lines += [f"  - uprobe: {{path: {program}, symbol: {name}}}"]
    for name, args in RETURNS.items():
        lines += [
            f"  - name: {name}_return",
            f"    uretprobe: {{path: {program}, symbol: {name}}}",
            f"    args: {args}",
        ]
    return "\n".join(lines) + "\n"


def run_hard(folder: Path, buffer: str, words: list[int], **options: Any) -> dict[str, list[dict[str, Any]]]:
    import specc

    (folder / "hard.h").write_text(HEADER)
    macros = (f"-DDEPTH={DEPTH}", f"-DTHREADS={THREADS}", f"-DTHREAD_CALLS={CALLS}")
    program = compile_c(folder / "program", CALLEES, CALLERS, NARROW, flags=("-O2", *macros))
    spec = folder / "hard.yaml"
    spec.write_text(spec_text(program, buffer))
    found: dict[str, list[dict[str, Any]]] = {}
    with specc.open(spec, **options) as probe:
        subprocess.run([program, *map(str, words)], check=True, timeout=60)
        for event in probe.drain():
            found.setdefault(event.pop("probe"), []).append(event)
        assert (probe.lost, probe.missed) == (0, 0)
    return found


C = {
    "long": ctypes.c_long, "int": ctypes.c_int, "short": ctypes.c_short, "char": ctypes.c_byte,
    "uint": ctypes.c_uint, "ushort": ctypes.c_ushort, "uchar": ctypes.c_ubyte,
}  # fmt: skip


def cast(kind: str, word: int) -> int:
    """The word as C converts it; ctypes does not know specc."""
    return int(C[kind](word).value)


def expected(v: list[int]) -> dict[str, dict[str, Any]]:
    def of(kinds: str, *words: int) -> list[int]:
        return [cast(k, w) for k, w in zip(kinds.split(), words, strict=True)]

    def named(names: str, values: list[Any]) -> dict[str, Any]:
        return dict(zip(names.split(), values, strict=True))

    pair = named("a b", of("long int", v[0], v[1]))
    small = named("a b", of("short char", v[5], v[6]))
    big = {"a": of("long long long", *v[:3]), "s": cast("short", v[3])}
    al = {"x": cast("int", v[4])}
    eight = named("a b c d e f g h", of("long int short char uint ushort uchar long", *v[:8]))
    kinds = "int long int long int long int long short long char long int long"
    fourteen = named("a b c d e f g h i j k l m n", of(kinds, *v[:14]))
    spilled = named("a b c d e", of("long long long long long", *v[8:13]))
    spilled |= {"f": pair, "g": cast("char", v[13]), "h": small}
    aligned = named("a b c d e f", of("long long long long long long", *v[1:4], *v[5:8]))
    aligned |= {"g": cast("int", v[8]), "s": al, "h": cast("long", v[9])}
    made = {"a": [cast("long", v[16]), pair["a"], pair["b"]], "s": cast("short", v[17])}
    two = named("a b", of("long int", v[18], v[19]))
    narrow = named("a b c d e f g h i", of("char uchar short ushort int uint char ushort int", *v[:9]))
    return {
        "eight": eight,
        "fourteen": fourteen,
        "in_registers": {"p": pair, "s": small, "q": cast("long", v[7])},
        "spilled": spilled,
        "large": {"x": cast("int", v[14]), "b": big, "y": cast("long", v[15])},
        "aligned": aligned,
        "hidden": {"a": cast("long", v[16]), "p": pair, "c": cast("int", v[17])},
        "two_registers": two,
        "narrow": narrow | {"j": bool(v[9] & 1)},
        "eight_return": {"a": eight["a"], "h": eight["h"], "return": eight["h"]},
        "fourteen_return": {k: fourteen[k] for k in "agn"} | {"return": fourteen["m"]},
        "spilled_return": {"f": pair, "g": spilled["g"], "return": spilled["g"]},
        "large_return": {"b": big, "y": cast("long", v[15]), "return": big["s"]},
        "aligned_return": {"s": al, "return": al["x"]},
        "hidden_return": {"a": cast("long", v[16]), "p": pair, "return": made},
        "two_registers_return": two | {"return": {"a": two["a"] ^ 1, "b": two["b"] ^ 1}},
    }


@live
@pytest.mark.parametrize("buffer", BUFFERS)
@pytest.mark.parametrize("attach", ["link", "perf"])
def test_hard_signatures(buffer: str, attach: str, tmp_path: Path) -> None:
    random = Random(f"{SEED} {buffer} {attach}")
    words = [random.getrandbits(64) for _ in range(20)]
    words[9] = words[9] & ~0xFF | random.getrandbits(1)  # a _Bool's own byte is 0 or 1
    found = run_hard(tmp_path, buffer, words, attach=attach)
    for name, values in expected(words).items():
        assert len(found[name]) == 1, name
        got = dict(found[name][0])
        assert got.pop("tid") > 0
        assert got == values, f"{name} (seed {SEED})"
    check_recursion(found["recursive_return"])
    check_threads(found["threaded_return"])


def check_recursion(events: list[dict[str, Any]]) -> None:
    """The innermost call returns first; each has the arguments of its own frame."""
    total = 7 + DEPTH
    for n, event in enumerate(events):
        total += n
        assert (event["n"], event["tag"], event["return"]) == (n, 7 + DEPTH - n, total)
    assert len(events) == DEPTH + 1


def check_threads(events: list[dict[str, Any]]) -> None:
    """Every call of every thread once, with its own arguments; a thread's tid is its own."""
    seen = sorted((e["tag"], e["n"]) for e in events)
    assert seen == [(t, t * 1000000 + i) for t in range(THREADS) for i in range(CALLS)]
    assert all(e["return"] == e["n"] * 3 + e["tag"] for e in events)
    assert len({(e["tag"], e["tid"]) for e in events}) == THREADS

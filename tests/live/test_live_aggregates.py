"""What is counted in the kernel, against what the program that was probed counted itself: exact, whoever interrupts whom."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
from command import Done, specc

import specc as library

from .build import compile_c, live
from .test_live_run import finish, started

pytestmark = live

THREADS, CALLS = 8, 100_000

CROWD = r"""
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define KEYS 7
static char *names[4];
static long calls;
static long long sums[64][KEYS]; static long counts[64][KEYS]; static unsigned long most[64][4]; static long named[64][4];
__attribute__((noinline, noipa)) int probed(long value, int key, unsigned long wide, const char *name) { __asm__ volatile("" ::: "memory"); return key; }
static void *work(void *p) {
	long n = (long)p;
	uint64_t state = n * 7919 + 1;
	for (long i = 0; i < calls; i++) {
		state = state * 6364136223846793005u + 1442695040888963407u;
		long value = (long)state >> 20; /* of either sign */
		int key = (int)(i % KEYS) - 3, which = i & 3;
		unsigned long wide = state ^ state >> 31;
		probed(value, key, wide, names[which]);
		sums[n][key + 3] += value; counts[n][key + 3]++; named[n][which]++;
		if (wide > most[n][which]) most[n][which] = wide;
	}
	return 0;
}
int main(int argc, char **argv) {
	long threads = atol(argv[1]); calls = atol(argv[2]);
	pthread_t all[64];
	const char *texts[] = {"", "one", "another", "the third of the names"};
	for (int i = 0; i < 4; i++) names[i] = strdup(texts[i]);
	for (long i = 0; i < threads; i++) pthread_create(&all[i], 0, work, (void *)i);
	for (long i = 0; i < threads; i++) pthread_join(all[i], 0);
	for (int k = 0; k < KEYS; k++) {
		long long sum = 0; long count = 0;
		for (int i = 0; i < threads; i++) { sum += sums[i][k]; count += counts[i][k]; }
		printf("sum %d %lld %ld\n", k - 3, sum, count);
	}
	for (int k = 0; k < 4; k++) {
		unsigned long greatest = 0; long count = 0;
		for (int i = 0; i < threads; i++) { greatest = most[i][k] > greatest ? most[i][k] : greatest; count += named[i][k]; }
		printf("max %d %lu %ld\n", k, greatest, count);
	}
	return 0;
}
"""
NAMES = ("", "one", "another", "the third of the names")
CROWDED = "int probed(long value, int key, unsigned long wide, const char *name)"


def spec_of(folder: Path, *probes: str, name: str = "tally", more: str = "") -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(f"specc: 1\nname: {name}\n{more}probes:\n" + "".join(probes))
    return path


def probe(target: Path, symbol: str, prototype: str, aggregate: str, *, kind: str = "uprobe", name: str = "", args: str = "") -> str:  # fmt: skip
    lines = [f"  - name: {name or symbol}", f"    {kind}: {{path: {target}, symbol: {symbol}}}", f'    prototype: "{prototype}"']  # fmt: skip
    lines += [f"    args: {args}"] if args else []
    return "\n".join([*lines, f"    aggregate: {aggregate}\n"])


def run(spec: Path, *command: str | Path, options: tuple[str, ...] = ("--format", "jsonl")) -> tuple[Done, str]:
    """What a run of the spec gave, with a whole run of the command in it, and what the command printed."""
    with started(spec, *options, cwd=spec.parent) as process:
        said = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True).stdout
        process.send_signal(signal.SIGINT)
        done = finish(process)
    assert done.code == 0, done.err
    return done, said


def rows(spec: Path, done: Done) -> list[dict[str, Any]]:
    """Its records, each of which is as the schema says."""
    schema = json.loads(specc("schema", "--event", spec.name, cwd=spec.parent).out)
    check = jsonschema.Draft202012Validator(schema)
    found = [json.loads(line) for line in done.out.splitlines()]
    for row in found:
        check.validate(row)
    return found


def last(done: Done) -> str:
    return done.err.splitlines()[-1]


def test_threads_that_interrupt_each_other_lose_no_hit(tmp_path: Path) -> None:
    target = compile_c(tmp_path / "crowd", CROWD, flags=("-O2", "-fwrapv"))
    spec = spec_of(
        tmp_path,
        probe(target, "probed", CROWDED, "{sum: value, by: [key], every: 300ms}", name="total"),
        probe(target, "probed", CROWDED, "{max: wide, by: [name]}", name="most", args="[{name: {string: 16}}, wide]"),
    )
    done, said = run(spec, target, str(THREADS), str(CALLS))
    found = rows(spec, done)
    told = [line.split() for line in said.splitlines()]
    sums: Counter[int] = Counter()
    hits: Counter[int] = Counter()
    spans: dict[int, int] = {}
    for row in found:
        if row["probe"] == "total":
            sums[row["key"]] += row["sum"]
            hits[row["key"]] += row["count"]
            assert spans.setdefault(row["from"], row["to"]) == row["to"]
    assert sums == {int(k): int(s) for what, k, s, _ in told if what == "sum"}
    assert hits == {int(k): int(c) for what, k, _, c in told if what == "sum"}
    ordered = sorted(spans.items())
    assert len(ordered) >= 3 and all(a[1] <= b[0] for a, b in pairwise(ordered))
    most = {row["name"]: (row["max"], row["count"]) for row in found if row["probe"] == "most"}
    assert most == {NAMES[int(k)][:15]: (int(m), int(c)) for what, k, m, c in told if what == "max"}
    assert last(done) == f"received 0, counted {2 * THREADS * CALLS}, lost 0"


NUMBERS = r"""
#define F(name, type) __attribute__((noinline, noipa)) type name(type value) { __asm__ volatile("" ::: "memory"); return value; }
#include <stdbool.h>
F(take_u64, unsigned long) F(take_s64, long) F(take_u32, unsigned) F(take_s32, int) F(take_u16, unsigned short) F(take_s16, short) F(take_u8, unsigned char)
F(take_s8, signed char) F(truth, bool)
int main(void) {
	for (int bit = 0; bit < 64; bit++)
		for (long off = -1; off < 2; off++) {
			unsigned long v = (1ul << bit) + off;
			take_u64(v); take_s64(v); take_u32(v); take_s32(v); take_u16(v); take_s16(v); take_u8(v); take_s8(v); truth(v & 1);
			take_s64(-v); take_s32(-v); take_s16(-v); take_s8(-v);
		}
	return 0;
}
"""
WIDTHS = {
    "take_u64": ("unsigned long", 64, False), "take_s64": ("long", 64, True), "take_u32": ("unsigned", 32, False),
    "take_s32": ("int", 32, True), "take_u16": ("unsigned short", 16, False), "take_s16": ("short", 16, True),
    "take_u8": ("unsigned char", 8, False), "take_s8": ("signed char", 8, True),
}  # fmt: skip


def passed(name: str) -> list[int]:
    _, bits, signed = WIDTHS[name]
    values = [((1 << bit) + off) * sign for bit in range(64) for off in (-1, 0, 1) for sign in ((1, -1) if signed else (1,))]  # fmt: skip
    cut = [v % (1 << bits) for v in values]
    return [v - (1 << bits) if signed and v >> (bits - 1) else v for v in cut]


def power_bucket(value: int) -> tuple[int | None, int | None]:
    if value < 0:
        return None, 0
    low = 1
    while low * 2 <= value:
        low *= 2
    return (0, 1) if value == 0 else (low, low * 2)


def step_bucket(value: int, low: int, high: int, step: int) -> tuple[int | None, int | None]:
    if value < low:
        return None, low
    if value >= high:
        return high, None
    start = low
    while start + step <= value:
        start += step
    return start, start + step


def test_buckets_at_all_powers_of_two_and_their_neighbours(tmp_path: Path) -> None:
    target = compile_c(tmp_path / "numbers", NUMBERS)
    steps = {name: (-20, 20, 5) if signed else (0, 30, 3) for name, (_, _, signed) in WIDTHS.items()}
    steps["take_s64"] = (-(1 << 63), (1 << 63) - 1 - ((1 << 64) - 1) % 99, ((1 << 64) - 1) // 99)
    probes = []
    for name, (c_type, _, _) in WIDTHS.items():
        low, high, step = steps[name]
        prototype = f"{c_type} {name}({c_type} value)"
        lhist = f"{{lhist: {{value: value, min: {low}, max: {high}, step: {step}}}}}"
        probes += [
            probe(target, name, prototype, "{hist: value}", name=f"{name}_hist"),
            probe(target, name, prototype, lhist, name=f"{name}_steps"),
            probe(target, name, prototype, "{hist: return}", name=f"{name}_return", kind="uretprobe"),
        ]
    spec = spec_of(tmp_path, *probes)
    done, _ = run(spec, target)
    found = {row["probe"]: row for row in rows(spec, done)}
    assert len(found) == 3 * len(WIDTHS)
    for name in WIDTHS:
        values = passed(name)
        for probe_name, sort in (
            (f"{name}_hist", power_bucket),
            (f"{name}_return", power_bucket),
            (f"{name}_steps", lambda v, name=name: step_bucket_of(v, *steps[name])),
        ):
            row = found[probe_name]
            got = {(b["from"], b["to"]): b["count"] for b in row["buckets"]}
            assert got == Counter(map(sort, values)), probe_name
            assert row["count"] == len(values)


def step_bucket_of(value: int, low: int, high: int, step: int) -> tuple[int | None, int | None]:
    if step < 1000:
        return step_bucket(value, low, high, step)
    if value < low or value >= high:
        return (None, low) if value < low else (high, None)
    start = low + (value - low) // step * step  # too far to walk
    return start, start + step


def test_numbers_at_the_ends_of_their_types(tmp_path: Path) -> None:
    target = compile_c(tmp_path / "numbers", NUMBERS)
    functions = ("sum", "avg", "min", "max")
    probes = [
        probe(target, name, f"{c_type} {name}({c_type} value)", f"{{{f}: value}}", name=f"{name}_{f}")
        for name, (c_type, _, _) in WIDTHS.items()
        for f in functions
    ]
    probes.append(probe(target, "truth", "_Bool truth(_Bool value)", "{sum: value}"))
    probes.append(probe(target, "truth", "_Bool truth(_Bool value)", "{count: true, by: [value]}", name="truths"))
    spec = spec_of(tmp_path, *probes)
    done, _ = run(spec, target)
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows(spec, done):
        found[row["probe"]].append(row)
    for name in WIDTHS:
        values = passed(name)
        expected = {"sum": sum(values), "avg": sum(values) / len(values), "min": min(values), "max": max(values)}
        for function in functions:
            [row] = found[f"{name}_{function}"]
            assert (row[function], row["count"]) == (expected[function], len(values)), (name, function)
    odd = sum(((1 << bit) + off) & 1 for bit in range(64) for off in (-1, 0, 1))
    assert found["truth"][0]["sum"] == odd
    assert [(r["value"], r["count"]) for r in found["truths"]] == [(True, odd), (False, 192 - odd)]


KEYS = r"""
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
enum mode { OFF, ON = 5 };
__attribute__((noinline, noipa)) int keyed(int number, const char *name, enum mode mode, unsigned flags, const long *behind) { __asm__ volatile("" ::: "memory"); return number; }
__attribute__((noinline, noipa)) int slow(int number) { usleep(3000); return number; }
int main(void) {
	char *empty = strdup(""), *some = strdup("some"), *same = strdup("a name that is longer than its room");
	char *too = strdup("a name that is longer, and another");
	long seven = 7, *behind = &seven;
	for (int i = 0; i < 100; i++)
		for (int n = 0; n < 3; n++)
			keyed(i, some, ON, 1, behind);
	for (int i = 0; i < 5; i++) keyed(1000, 0, OFF, 0x42, 0);
	for (int i = 0; i < 4; i++) keyed(1000, empty, 9, 3, behind);
	keyed(1000, same, ON, 0, (long *)8); keyed(1000, too, ON, 0, behind);
	for (int i = 0; i < 20; i++) slow(i);
	return 0;
}
"""
KEYED = "int keyed(int number, const char *name, enum mode mode, unsigned flags, const long *behind)"
HEADER = f"enum mode {{ OFF, ON = 5 }};\nenum bits {{ B_ONE = 1, B_TWO = 2 }};\n{KEYED};\n"


def test_a_full_map_is_told_and_no_other_hit_is_lost(tmp_path: Path) -> None:
    target = compile_c(tmp_path / "keys", KEYS)
    prototype = KEYED.replace("enum mode", "unsigned")
    few = probe(target, "keyed", prototype, "{count: true, by: [number], keys: 16}", name="few")
    owned = probe(target, "keyed", prototype, "{max: flags, by: [number], keys: 8}", name="owned")
    spec = spec_of(tmp_path, few, owned)
    done, _ = run(spec, target)
    found = rows(spec, done)
    assert {r["number"]: r["count"] for r in found if r["probe"] == "few"} == dict.fromkeys(range(16), 3)
    assert {r["number"]: r["count"] for r in found if r["probe"] == "owned"} == dict.fromkeys(range(8), 3)
    few_lost, owned_lost = 311 - 48, 311 - 24
    assert f"few: {few_lost} hits of new keys found the map full" in done.err.splitlines()
    assert f"owned: {owned_lost} hits of new keys found the map full" in done.err.splitlines()
    lost = few_lost + owned_lost
    assert last(done) == f"received 0, counted 72, lost {lost} ({lost} hits of new keys found the map full)"
    table, _ = run(spec_of(tmp_path, few, name="few"), target, options=())
    assert table.out.splitlines()[-2] == f"({few_lost} hits of new keys found the map full)"


def test_keys_of_every_kind_and_what_could_not_be_read(tmp_path: Path) -> None:
    target = compile_c(tmp_path / "keys", KEYS)
    (tmp_path / "keys.h").write_text(HEADER)
    where = f"    uprobe: {{path: {target}, symbol: keyed}}\n    where: number == 1000\n"
    spec = spec_of(
        tmp_path,
        f"  - name: keys\n{where}    args: [{{name: {{string: 16}}}}, {{mode: {{enum: mode}}}}, {{flags: {{flags: B_}}}}]\n"
        "    aggregate: {count: true, by: [mode, name, flags, comm]}\n",
        f"  - name: behind\n{where}    args: [{{behind: {{deref: true, as: number}}}}]\n    aggregate: {{sum: number}}\n",
        more="headers: [keys.h]\n",
    )
    done, _ = run(spec, target)
    found = rows(spec, done)
    keys = [{k: v for k, v in r.items() if k not in ("probe", "from", "to")} for r in found if r["probe"] == "keys"]
    cut = "a name that is "
    assert keys == [
        {"mode": "OFF", "name": None, "name_error": "EFAULT", "flags": "B_TWO|0x40", "comm": "keys", "count": 5},
        {"mode": 9, "name": "", "flags": "B_ONE|B_TWO", "comm": "keys", "count": 4},
        {"mode": "ON", "name": cut, "name_truncated": True, "flags": "0", "comm": "keys", "count": 2},
    ]
    assert list(keys[0])[:2] == ["mode", "name"]  # in the order of `by`
    [behind] = [r for r in found if r["probe"] == "behind"]
    assert (behind["sum"], behind["count"]) == (35, 5)
    assert "behind: 6 hits had a value that could not be read" in done.err.splitlines()
    assert last(done) == "received 0, counted 16, lost 0, 6 hits had a value that could not be read"


def test_times_of_calls_in_a_histogram(tmp_path: Path) -> None:
    target = compile_c(tmp_path / "keys", KEYS)
    spec = spec_of(tmp_path, probe(target, "slow", "int slow(int number)", "{hist: latency}", kind="uretprobe"))
    done, _ = run(spec, target)
    [row] = rows(spec, done)
    assert row["count"] == 20
    assert all(b["to"] > 3_000_000 for b in row["buckets"])  # ns: each slept for 3 ms at least


def test_events_and_aggregates_in_one_run_and_as_csv(tmp_path: Path) -> None:
    target = compile_c(tmp_path / "keys", KEYS)
    prototype = KEYED.replace("enum mode", "unsigned")
    event = f"  - name: seen\n    uprobe: {{path: {target}, symbol: slow}}\n    prototype: int slow(int number)\n    args: [number]\n"  # fmt: skip
    histogram = probe(target, "keyed", prototype, "{lhist: {value: number, min: 0, max: 100, step: 50}, by: [flags]}", name="steps")  # fmt: skip
    spec = spec_of(tmp_path, event, histogram, more="fields: [pid]\n")
    done, _ = run(spec, target, options=("--format", "csv"))
    table = list(csv.DictReader(io.StringIO(done.out)))
    assert list(table[0]) == ["probe", "pid", "number", "from", "to", "flags", "bucket_from", "bucket_to", "count"]
    assert [r["number"] for r in table if r["probe"] == "seen"] == [str(n) for n in range(20)]
    steps = {(r["flags"], r["bucket_from"], r["bucket_to"]): r["count"] for r in table if r["probe"] == "steps"}
    assert steps == {
        ("1", "0", "50"): "150", ("1", "50", "100"): "150", ("66", "100", ""): "5", ("3", "100", ""): "4", ("0", "100", ""): "2",
    }  # fmt: skip
    assert last(done) == "received 20, counted 311, lost 0"


def test_the_count_of_a_run_counts_intervals_and_needs_some(tmp_path: Path) -> None:
    target = compile_c(tmp_path / "keys", KEYS)
    with_time = spec_of(tmp_path, probe(target, "slow", "int slow(int number)", "{count: true, every: 100ms}"))
    done = specc("run", with_time, "--count", "3", cwd=tmp_path)
    assert done.code == 0
    assert len(re.findall(r"^[\d:.]+ - [\d:.]+  slow: count\nno hits$", done.out, re.MULTILINE)) == 3
    without = spec_of(tmp_path, probe(target, "slow", "int slow(int number)", "count"), name="endless")
    refused = specc("run", without, "--count", "3", cwd=tmp_path)
    assert refused.code == 1 and "SP476" in refused.err
    no_rows = specc("run", without, "--format", "arrow", "-o", "x.arrow", cwd=tmp_path)
    assert no_rows.code == 1 and "SP475" in no_rows.err


def test_aggregates_within_a_program(tmp_path: Path) -> None:
    target = compile_c(tmp_path / "keys", KEYS)
    spec = spec_of(tmp_path, probe(target, "slow", "int slow(int number)", "{sum: number, by: [comm]}"))
    with library.open(spec) as running:
        subprocess.run([target], check=True)
        first = running.take()
        subprocess.run([target], check=True)
        second = running.take()
        assert running.take() == []
        assert running.lost == 0
    assert [(r["probe"], r["comm"], r["sum"], r["count"]) for r in first + second] == [("slow", "keys", 190, 20)] * 2
    assert first[0]["from"] < first[0]["to"] <= second[0]["from"] < second[0]["to"]


def test_stacks_as_keys(tmp_path: Path) -> None:
    target = compile_c(tmp_path / "callers", CALLERS, flags=("-O0", "-fno-omit-frame-pointer"))
    where = f"    uprobe: {{path: {target}, symbol: called}}\n    prototype: void called(int n)\n    stack: user\n"
    spec = spec_of(
        tmp_path,
        f"  - name: who\n{where}    aggregate: {{sum: n, by: [user_stack, comm]}}\n",
        f"  - name: spread\n{where}    aggregate: {{hist: n, by: [user_stack]}}\n",
    )
    done, _ = run(spec, target)
    found = rows(spec, done)
    by_caller = {r["user_stack"][1].partition("+")[0]: (r["sum"], r["count"]) for r in found if r["probe"] == "who"}
    assert by_caller == {"first": (10 * 11 // 2, 10), "second": (400, 4)}
    assert {r["user_stack"][1].partition("+")[0]: r["count"] for r in found if r["probe"] == "spread"} == {
        "first": 10, "second": 4,
    }  # fmt: skip
    table, _ = run(spec, target, options=())
    lines = table.out.splitlines()
    at = next(n for n, line in enumerate(lines) if "who: sum of n by user_stack, comm" in line)
    assert lines[at + 1].split() == ["COMM", "SUM", "COUNT"]
    assert lines[at + 2].split() == ["callers", "400", "4"]
    assert [line.split()[0].partition("+")[0] for line in lines[at + 3 : at + 6]] == ["called", "second", "main"]
    count = spec_of(
        tmp_path,
        f"  - name: who\n{where}    aggregate: {{count: true, by: [user_stack], every: 100ms}}\n",
        name="count",
    )
    folded, _ = run(count, target, options=("--format", "folded"))
    ends = {tuple(f.partition("+")[0] for f in line.rpartition(" ")[0].split(";")[-3:]): int(line.rpartition(" ")[2]) for line in folded.out.splitlines()}  # fmt: skip
    assert ends == {("main", "first", "called"): 10, ("main", "second", "called"): 4}
    refused = specc("run", spec, "--format", "folded", cwd=tmp_path)
    assert refused.code == 1 and "SP475 the format folded cannot show `who`: a sum of values with a sign" in refused.err


CALLERS = r"""
__attribute__((noinline, noipa)) void called(int n) { __asm__ volatile("" ::: "memory"); }
__attribute__((noinline, noipa)) void first(int n) { called(n); __asm__ volatile("" ::: "memory"); }
__attribute__((noinline, noipa)) void second(int n) { called(n); __asm__ volatile("" ::: "memory"); }
int main(void) {
	for (int i = 1; i <= 10; i++) first(i);
	for (int i = 0; i < 4; i++) second(100);
	return 0;
}
"""


def test_a_value_that_is_a_key_and_context_as_a_value_beside_a_perf_buffer(tmp_path: Path) -> None:
    target = compile_c(tmp_path / "keys", KEYS)
    prototype = "int slow(int number)"
    spec = spec_of(
        tmp_path,
        probe(target, "slow", prototype, "{sum: number, by: [number]}", name="same"),
        probe(target, "slow", prototype, "{hist: cpu, by: [ppid, pid]}", name="processors"),
        probe(target, "slow", prototype, "{max: timestamp, by: [uid]}", name="latest"),
        f"  - name: seen\n    uprobe: {{path: {target}, symbol: slow}}\n    prototype: {prototype}\n    args: [number]\n",
        more="buffer: {perf: 8}\n",
    )
    done, _ = run(spec, target)
    found = rows(spec, done)
    seen = [r for r in found if r["probe"] == "seen"]
    assert sorted(r["number"] for r in seen) == list(range(20))
    same = {r["number"]: (r["sum"], r["count"]) for r in found if r["probe"] == "same"}
    assert same == {n: (n, 1) for n in range(20)}
    [processors] = [r for r in found if r["probe"] == "processors"]
    assert (processors["pid"], processors["ppid"], processors["count"]) == (seen[0]["pid"], os.getpid(), 20)
    [latest] = [r for r in found if r["probe"] == "latest"]
    assert (latest["uid"], latest["count"]) == (0, 20)
    assert latest["from"] < latest["max"] < latest["to"]
    assert latest["max"] > sorted(r["timestamp"] for r in seen)[-2]  # one thread: of its last hit
    assert last(done) == "received 20, counted 60, lost 0"

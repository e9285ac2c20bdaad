"""What a probe costs: `python bench/cost.py [--rounds N] [--hits N]`, as root. Prints a markdown table.

Programs on a uprobe of the same function, one after the other in each round, A B C A B C ...; the kernel measures them
(kernel.bpf_stats_enabled), so the trap, which costs far more than any program, is not in it. specc's programs are those that
`specc build` makes; beside them are programs as one writes them with BPF_KPROBE and a bpf_probe_read_user for each stack
slot. All send an event through a ring that has room. Costs of slots are net of the same program without arguments.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from specc.buffers import Reader, open_buffer  # noqa: E402  (the path must be set first)
from specc.build import compile_object  # noqa: E402
from specc.compiler.find import find_compiler  # noqa: E402
from specc.describe.reader import description_of  # noqa: E402
from specc.elf import file_offset, read_elf, symbols  # noqa: E402
from specc.libbpf import Library  # noqa: E402
from specc.run.system import attach_by_ioctl, perf_event_open, pmu  # noqa: E402

RING = 16 << 20
REGISTERS, SLOTS = "abcdef", "ghij"
NOISE = 1.05  # two runs of one program differ by as much

TARGET = """
#include <stdio.h>
#include <stdlib.h>
__attribute__((noinline, noipa)) long probed(long a, long b, long c, long d, long e, long f, long g, long h, long i, long j)
{ __asm__ volatile("" ::: "memory"); return a + j; }
int main(void) {
	char line[64];
	while (fgets(line, sizeof(line), stdin)) {
		for (long i = 0, n = atol(line); i < n; i++) probed(i, 2, 3, 4, 5, 6, 7, 8, 9, 10);
		puts("done"); fflush(stdout);
	}
	return 0;
}
"""
PROTOTYPE = f"long probed({', '.join(f'long {n}' for n in REGISTERS + SLOTS)})"
SPEC = """\
specc: 1
name: NAME
fields: []
buffer: {ring: RING}
probes:
  - uprobe: {path: TARGET, symbol: probed}
    prototype: "PROTOTYPE"
    args: [ARGS]
"""
BY_HAND = """
typedef unsigned int __u32;
typedef unsigned long long __u64;
#define SEC(name) __attribute__((section(name), used))
#define __uint(name, val) int (*name)[val]
struct pt_regs { __u64 r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss; };
static long (*const bpf_probe_read_user)(void *dst, __u32 size, const void *from) = (void *)112;
static void *(*const bpf_ringbuf_reserve)(void *ring, __u64 size, __u64 flags) = (void *)131;
static void (*const bpf_ringbuf_submit)(void *data, __u64 flags) = (void *)132;
char LICENSE[] SEC("license") = "GPL";
struct { __uint(type, 27); __uint(max_entries, %(ring)d); } events SEC(".maps");
struct event { __u32 probe, errors; %(fields)s };
SEC("uprobe")
int by_hand(struct pt_regs *ctx)
{
	struct event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e)
		return 0;
	e->probe = 0;
	e->errors = 0;
	%(body)s
	bpf_ringbuf_submit(e, 0);
	return 0;
}
"""
_REGISTER = dict(zip(REGISTERS, ("di", "si", "dx", "cx", "r8", "r9"), strict=True))


@dataclass(frozen=True, slots=True)
class Made:
    """An object, and the names of its program and of its ring."""

    data: bytes
    program: str
    ring: str


@dataclass(slots=True)
class Candidate:
    """A loaded program and where its events come out."""

    program: int
    reader: Reader


def spec_object(folder: Path, name: str, args: Sequence[str], target: Path) -> Made:
    text = SPEC.replace("NAME", name).replace("RING", f"{RING >> 20}MiB").replace("TARGET", str(target))
    (folder / f"{name}.yaml").write_text(text.replace("PROTOTYPE", PROTOTYPE).replace("ARGS", ", ".join(args)))
    subprocess.run(
        [sys.executable, "-m", "specc", "build", f"{name}.yaml", "-o", ".", "--emit", "obj"],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, capture_output=True,
    )  # fmt: skip
    data = (folder / f"{name}.bpf.o").read_bytes()
    described = description_of(data)
    return Made(data, described.probes[0].symbol, described.events_map)


def hand_object(args: Sequence[str]) -> Made:
    lines = [
        f"e->{a} = ctx->{_REGISTER[a]};" if a in _REGISTER
        else f"bpf_probe_read_user(&e->{a}, 8, (void *)(ctx->sp + {8 + 8 * SLOTS.index(a)}));"
        for a in args
    ]  # fmt: skip
    text = BY_HAND % {"ring": RING, "fields": "".join(f"__u64 {a}; " for a in args), "body": "\n\t".join(lines)}
    return Made(compile_object(text, "by_hand", find_compiler()), "by_hand", "events")


@contextmanager
def statistics_on() -> Iterator[None]:
    """As `sysctl kernel.bpf_stats_enabled=1`, put back at the end."""
    switch = Path("/proc/sys/kernel/bpf_stats_enabled")
    before = switch.read_text()
    switch.write_text("1")
    try:
        yield
    finally:
        switch.write_text(before)


class Bench:
    def __init__(self, library: Library, folder: Path) -> None:
        self.library = library
        self.target = folder / "target"
        (folder / "target.c").write_text(TARGET)
        subprocess.run(["gcc", "-O2", "-o", self.target, folder / "target.c"], check=True)
        elf = read_elf(self.target.read_bytes())
        offset = file_offset(elf, symbols(elf, "probed")[0].value)
        kind = pmu("uprobe")
        assert offset is not None and kind is not None
        self.offset, self.kind = offset, kind[0]
        self.caller = subprocess.Popen([self.target], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def load(self, stack: ExitStack, made: Made) -> Candidate:
        thing = stack.enter_context(self.library.open(made.data, "cost"))
        thing.load()
        reader = open_buffer("ring", thing.maps[made.ring], RING)
        stack.callback(reader.close)
        return Candidate(thing.programs[made.program], reader)

    def cost(self, candidate: Candidate, hits: int) -> float:
        """Nanoseconds for one run, as the kernel counts them."""
        assert self.caller.stdin is not None and self.caller.stdout is not None
        event = perf_event_open(self.kind, 0, config1=os.fsencode(self.target), config2=self.offset)
        try:
            attach_by_ioctl(event, candidate.program)
            before = self.library.program_runs(candidate.program)
            self.caller.stdin.write(f"{hits}\n")
            self.caller.stdin.flush()
            self.caller.stdout.readline()
            after = self.library.program_runs(candidate.program)
        finally:
            os.close(event)
        seen = sum(len(batch) for batch in candidate.reader.poll(0))
        runs = after[1] - before[1]
        assert runs == seen == hits, (runs, seen, hits)
        return (after[0] - before[0]) / runs

    def close(self) -> None:
        self.caller.kill()
        self.caller.communicate()


CASES: Mapping[str, str] = {
    "nothing": "", "6 registers": REGISTERS, "1 stack slot": "g", "2 stack slots": "gh", "4 stack slots": "ghij"
}  # fmt: skip
BUDGETS = {"2 stack slots": 0.7, "4 stack slots": 0.5}


def measure(rounds: int, hits: int) -> dict[tuple[str, str], list[float]]:
    found: dict[tuple[str, str], list[float]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        library = stack.enter_context(Library())
        bench = Bench(library, folder)
        stack.callback(bench.close)
        stack.enter_context(statistics_on())
        candidates = {}
        for number, (case, args) in enumerate(CASES.items()):
            candidates["specc", case] = bench.load(stack, spec_object(folder, f"cost{number}", args, bench.target))
            candidates["by hand", case] = bench.load(stack, hand_object(args))
        for round_ in range(rounds + 1):
            for key, candidate in candidates.items():
                cost = bench.cost(candidate, hits)
                if round_:  # the first one warms up
                    found.setdefault(key, []).append(cost)
    return found


def ratio(over: Sequence[float], under: Sequence[float]) -> float:
    """The median of the rounds' ratios: what is compared ran right after each other."""
    return statistics.median(a / b for a, b in zip(over, under, strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--hits", type=int, default=20_000)
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("the cost of a probe needs root", file=sys.stderr)
        return 3
    found = measure(options.rounds, options.hits)
    print(
        "| ns for one hit, with its event | specc | by hand, one read for each slot | ratio | budget | |\n|---|---|---|---|---|---|"
    )
    for case in CASES:
        ours, theirs = found["specc", case], found["by hand", case]
        budget, verdict = "", ""
        if case == "6 registers":
            budget = "at most 1 x"
            verdict = "met" if ratio(ours, theirs) <= NOISE else "NOT MET"
        print(
            f"| {case} | {statistics.median(ours):.0f} | {statistics.median(theirs):.0f} | {ratio(ours, theirs):.2f} | {budget} | {verdict} |"
        )
    print(
        "\n| ns for the slots alone, net of nothing | specc | by hand | ratio | budget | |\n|---|---|---|---|---|---|"
    )
    for case in list(CASES)[2:]:
        net = [
            [a - b for a, b in zip(found[who, case], found[who, "nothing"], strict=True)]
            for who in ("specc", "by hand")
        ]
        part = statistics.median(net[0]) / statistics.median(net[1])
        budget = f"at most {BUDGETS[case]} x" if case in BUDGETS else ""
        verdict = ("met" if part <= BUDGETS[case] else "NOT MET") if case in BUDGETS else ""
        print(
            f"| {case} | {statistics.median(net[0]):.0f} | {statistics.median(net[1]):.0f} | {part:.2f} | {budget} | {verdict} |"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())

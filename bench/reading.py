"""How fast events are read: `.venv/bin/python bench/reading.py [--rounds N]`, as root after `make setup-test`. Prints a
markdown table.

A program that BPF_PROG_TEST_RUN runs fills the running kernel's own ring with events of 64 bytes; the ways of reading
are timed in turn, A B C A B C ..., each on a full ring of 8 MiB (116,508 events), and the median is shown. The filling
is not timed but in the last part, where it goes on at a million events a second while they are read.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from event_source import EVENT, Source, event_source  # noqa: E402  (the path must be set first)

from specc.batch import Batch  # noqa: E402
from specc.buffers import open_buffer  # noqa: E402
from specc.describe import Description, ProbeDescription  # noqa: E402
from specc.events import Decoder, open_writer  # noqa: E402
from specc.ir import Role  # noqa: E402
from specc.lower.event import Planned, lay_out_event  # noqa: E402
from specc.prototype import ULONG, VOID, Pointer  # noqa: E402

SIZE = 8 << 20
FULL = SIZE // (EVENT + 8) - 1

C_READER = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
typedef unsigned long long u64;
struct event { unsigned probe, pid; u64 time, more[6]; };
int main(int argc, char **argv)
{
	int fd = atoi(argv[1]), print = atoi(argv[2]);
	u64 size = strtoull(argv[3], 0, 10);
	volatile u64 *consumer = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	char *rest = mmap(0, 4096 + 2 * size, PROT_READ, MAP_SHARED, fd, 4096);
	volatile u64 *producer = (volatile u64 *)rest;
	FILE *out = fopen("/dev/null", "w");
	struct timespec a, b;
	u64 n = 0, sum = 0;
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (u64 at = *consumer; at < __atomic_load_n(producer, __ATOMIC_ACQUIRE); n++) {
		char *record = rest + 4096 + (at & (size - 1));
		unsigned length = __atomic_load_n((unsigned *)record, __ATOMIC_ACQUIRE);
		if (length >> 31) break;
		struct event *e = (struct event *)(record + 8);
		if (print)
			fprintf(out, "{\"probe\":\"fill\",\"pid\":%u,\"timestamp\":%llu,\"a\":%llu,\"b\":%llu,\"c\":%llu,"
				"\"d\":%llu,\"e\":%llu,\"f\":%llu}\n", e->pid, e->time, e->more[0], e->more[1], e->more[2],
				e->more[3], e->more[4], e->more[5]);
		else
			for (int i = 0; i < 6; i++) sum += e->more[i];
		at += ((length & 0x3fffffff) + 7) / 8 * 8 + 8;
		__atomic_store_n(consumer, at, __ATOMIC_RELEASE);
	}
	clock_gettime(CLOCK_MONOTONIC, &b);
	printf("%llu %llu\n", n, (u64)(b.tv_sec - a.tv_sec) * 1000000000 + b.tv_nsec - a.tv_nsec);
	return sum == 1;
}
"""

# What one writes with libbpf in an afternoon. Its headers need not be here: these are its functions.
C_LIBBPF = r"""
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
typedef unsigned long long u64;
struct event { unsigned probe, pid; u64 time, more[6]; };
struct ring_buffer;
struct ring_buffer *ring_buffer__new(int fd, int (*f)(void *, void *, size_t), void *context, const void *options);
int ring_buffer__consume(struct ring_buffer *rb);
static FILE *out;
static u64 n;
static int print(void *context, void *data, size_t size)
{
	struct event *e = data;
	fprintf(out, "{\"probe\":\"fill\",\"pid\":%u,\"timestamp\":%llu,\"a\":%llu,\"b\":%llu,\"c\":%llu,"
		"\"d\":%llu,\"e\":%llu,\"f\":%llu}\n", e->pid, e->time, e->more[0], e->more[1], e->more[2],
		e->more[3], e->more[4], e->more[5]);
	n++;
	return 0;
}
int main(int argc, char **argv)
{
	struct timespec a, b;
	struct ring_buffer *rb = ring_buffer__new(atoi(argv[1]), print, NULL, NULL);
	out = fopen("/dev/null", "w");
	if (!rb || !out)
		return 1;
	clock_gettime(CLOCK_MONOTONIC, &a);
	ring_buffer__consume(rb);
	clock_gettime(CLOCK_MONOTONIC, &b);
	printf("%llu %llu\n", n, (u64)(b.tv_sec - a.tv_sec) * 1000000000 + b.tv_nsec - a.tv_nsec);
	return 0;
}
"""
# Calls as fast as it can once both functions are probed, and then the one at which bpftrace ends.
CALLER = r"""
#include <stdlib.h>
#include <unistd.h>
#define PROBED __attribute__((noinline, noipa))
PROBED long probed(long a, long b, long c, long d, long e, long f) { __asm__ volatile("" ::: "memory"); return a; }
PROBED void over(void) { __asm__ volatile("" ::: "memory"); }
int main(int argc, char **argv)
{
	volatile unsigned char *one = (void *)probed, *other = (void *)over; /* a uprobe is a breakpoint, 0xcc */
	for (int i = 0; *one != 0xcc || *other != 0xcc; i++) {
		if (i == 30000)
			return 1;
		usleep(1000);
	}
	for (long i = 0, n = atol(argv[1]); i < n; i++)
		probed(i, 1, 2, 3, 4, 5);
	over();
	return 0;
}
"""
BPFTRACE = (
    r"""uprobe:CALLER:probed { printf("{\"probe\":\"fill\",\"pid\":%u,\"timestamp\":%llu,\"a\":%llu,\"b\":%llu,"""
    r"""\"c\":%llu,\"d\":%llu,\"e\":%llu,\"f\":%llu}\n", pid, nsecs, arg0, arg1, arg2, arg3, arg4, arg5); } """
    r"""uprobe:CALLER:over { exit(); }"""
)
CALLS = 100_000


def description() -> Description:
    planned = [
        Planned("probe", "__u32", None, Role.PROBE),
        Planned("pid", "__u32", None, Role.CONTEXT),
        Planned("timestamp", "__u64", None, Role.CONTEXT),
        *(Planned(n, "__u64", None, Role.VALUE, ULONG) for n in "abcde"),
        Planned("f", "__u64", None, Role.VALUE, Pointer(VOID)),
    ]
    event = lay_out_event("fill", "fill", 0, tuple(planned))
    assert event.size == EVENT
    return Description(
        "bench", "ring", SIZE, (ProbeDescription("fill", "kprobe", "f", None, "f", None, None, (), event),)
    )


class Bench:
    def __init__(self, source: Source, folder: Path) -> None:
        self.source = source
        self.described = description()
        self.decoder = Decoder(self.described)
        self.reader = open_buffer("ring", source.events, SIZE)
        self.null = open("/dev/null", "wb")  # noqa: SIM115
        self.c_reader = self.compiled(folder, "reader", C_READER)
        self.libbpf_reader = self.compiled(folder, "libbpf_reader", C_LIBBPF, "-l:libbpf.so.1")
        self.caller = self.compiled(folder, "caller", CALLER)

    @staticmethod
    def compiled(folder: Path, name: str, text: str, *libraries: str) -> Path:
        (folder / f"{name}.c").write_text(text)
        subprocess.run(["gcc", "-O2", "-o", folder / name, folder / f"{name}.c", *libraries], check=True)
        return folder / name

    def each(self, do: Callable[[Batch], object]) -> float:
        """Seconds for one full ring."""
        self.source.fill(FULL)
        seen = 0
        start = time.perf_counter()
        while seen < FULL:
            for batch in self.reader.poll(0):
                do(batch)
                seen += len(batch)
        return time.perf_counter() - start

    def in_c(self, what: int, program: Path | None = None) -> float:
        self.source.fill(FULL)
        os.set_inheritable(self.source.events, True)
        done = subprocess.run(
            [program or self.c_reader, str(self.source.events), str(what), str(SIZE)],
            stdout=subprocess.PIPE,
            close_fds=False,
            check=False,
        )
        count, ns = map(int, done.stdout.split())
        assert count == FULL
        return ns / 1e9

    def by_bpftrace(self, *, check: bool = False) -> float:
        """The processor time that bpftrace takes for as many events, without that of its start and end. Its events come
        from a uprobe, so they cannot wait in a buffer for it; but the trap is paid by the process that is probed."""
        start, _ = self._bpftrace(0, check=False)
        whole, lines = self._bpftrace(CALLS, check=check)
        assert not check or lines == CALLS, f"bpftrace printed {lines} of {CALLS}"
        return (whole - start) / CALLS * FULL

    def _bpftrace(self, calls: int, *, check: bool) -> tuple[float, int]:
        script = BPFTRACE.replace("CALLER", str(self.caller))
        env = {**os.environ, "BPFTRACE_PERF_RB_PAGES": "8192"}  # 32 MiB: room for all
        with tempfile.TemporaryFile() if check else open("/dev/null", "w+b") as out:
            tracer = subprocess.Popen(["bpftrace", "-e", script], env=env, stdout=out, stderr=subprocess.PIPE)
            # On one processor: its events, and the wish to end, are in one of bpftrace's buffers.
            subprocess.run(["taskset", "-c", "0", self.caller, str(calls)], check=True)
            _, status, used = os.wait4(tracer.pid, 0)
            tracer.returncode = os.waitstatus_to_exitcode(status)
            assert tracer.stderr is not None
            said = tracer.stderr.read()
            tracer.stderr.close()
            assert tracer.returncode == 0 and b"Lost" not in said, said
            out.seek(0)
            lines = sum(line.startswith(b"{") for line in out) if check else 0
        return used.ru_utime + used.ru_stime, lines

    def writer(self, format_: str, *, plain: bool = False) -> Callable[[], float]:
        writer = open_writer(format_, self.described, self.null)
        if format_ == "jsonl" and not plain:
            writer._fast._load()  # type: ignore[attr-defined]  # as it is after the first many records
        if plain:
            writer._fast._asked = True  # type: ignore[attr-defined]
        return lambda: self.each(writer.write)


def ways(bench: Bench) -> dict[str, Callable[[], float]]:
    from specc.events.columns import Columns, columns

    table = Columns(bench.decoder)
    found: dict[str, Callable[[], float]] = {
        "C: mmap, six fields summed": lambda: bench.in_c(0),
        "C: mmap, JSON lines by fprintf": lambda: bench.in_c(1),
        "C: libbpf's ring_buffer, JSON lines by fprintf": lambda: bench.in_c(0, bench.libbpf_reader),
        "batches, not looked at": lambda: bench.each(len),
        "numpy arrays, one per probe": lambda: bench.each(lambda b: columns(bench.decoder, b)),
        "Arrow record batches": lambda: bench.each(table.record_batch),
        "JSON lines by columns": bench.writer("jsonl"),
        "JSON lines, plain Python": bench.writer("jsonl", plain=True),
        "CSV": bench.writer("csv"),
        "Parquet": bench.writer("parquet"),
        "records as memoryviews": lambda: bench.each(list),
        "records as dicts": lambda: bench.each(lambda b: [bench.decoder.decode(r) for r in b]),
        "table": bench.writer("table"),
    }
    if shutil.which("bpftrace"):
        bench.by_bpftrace(check=True)
        found["bpftrace: JSON lines by printf (its processor time)"] = bench.by_bpftrace
    return found


def sustained(source: Source, size: int, seconds: float) -> tuple[float, int, int]:
    """A million events a second come while JSON lines are written: events/s, events, lost."""
    described = description()
    reader = open_buffer("ring", source.events, size)
    with open("/dev/null", "wb") as null:
        writer = open_writer("jsonl", described, null)
        writer._fast._load()  # type: ignore[attr-defined]
        before = source.tally()
        start = time.perf_counter()
        child = os.fork()
        if child == 0:
            steps = int(seconds * 1000)
            for step in range(steps):
                source.fill(1000)
                while time.perf_counter() - start < step / 1000:
                    pass
            os._exit(0)
        read = 0
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            for batch in reader.poll(20):
                read += writer.write(batch)
        took = time.perf_counter() - start
        for batch in reader.poll(0):
            read += writer.write(batch)
    reader.close()
    made, lost = (now - then for now, then in zip(source.tally(), before, strict=True))
    assert read + lost == made, (read, lost, made)
    return made / took, made, lost


def lone(kind: str) -> tuple[float, float]:
    """Milliseconds until a lone event is seen (the worst of 20), and the part of a processor that waiting takes."""
    with event_source(kind, size=1 << 20) as source:
        reader = open_buffer(kind, source.events, 1 << 20 if kind == "ring" else 64)
        worst = 0.0
        for _ in range(20):
            child = os.fork()
            if child == 0:
                time.sleep(0.03)
                source.fill(1)
                os._exit(0)
            while not (batches := [bytes(r) for b in reader.poll(100) for r in b]):
                pass
            worst = max(worst, time.clock_gettime_ns(time.CLOCK_MONOTONIC) - int.from_bytes(batches[0][8:16], "little"))
            os.waitpid(child, 0)
        used = resource.getrusage(resource.RUSAGE_SELF)
        start = time.perf_counter()
        while time.perf_counter() - start < 3:
            for _ in reader.poll(100):
                pass
        after = resource.getrusage(resource.RUSAGE_SELF)
        reader.close()
    spent = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    return worst / 1e6, spent / 3


def producers() -> dict[str, float]:
    """Nanoseconds for one run of the program, beside the reader, with and without wake-ups."""
    found: dict[str, list[float]] = {}
    for _ in range(5):
        for name, flags in (("wake-ups as they come", 0), ("BPF_RB_NO_WAKEUP", 1)):
            with event_source("ring", size=16 << 20, flags=flags) as source:
                reader = open_buffer("ring", source.events, 16 << 20)
                out, into = os.pipe()
                child = os.fork()
                if child == 0:
                    costs = []
                    for _ in range(20):
                        costs.append(source.fill(10_000))
                        time.sleep(0.002)
                    os.write(into, str(statistics.median(costs)).encode())
                    os._exit(0)
                while os.waitpid(child, os.WNOHANG) == (0, 0):
                    for _ in reader.poll(10):
                        pass
                found.setdefault(name, []).append(float(os.read(out, 100)))
                os.close(out)
                os.close(into)
                reader.close()
    return {name: statistics.median(costs) for name, costs in found.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("reading a real ring needs root", file=sys.stderr)
        return 3
    print("| drained from a full ring | million events/s | of C, summed | of libbpf and fprintf |\n|---|---|---|---|")
    with event_source("ring", size=SIZE) as source, tempfile.TemporaryDirectory() as folder:
        bench = Bench(source, Path(folder))
        runs: dict[str, list[float]] = {}
        all_ways = ways(bench)
        for round_ in range(options.rounds + 1):
            for name, run in all_ways.items():
                took = run()
                if round_:  # the first one warms up
                    runs.setdefault(name, []).append(took)
        rates = {name: FULL / statistics.median(times) / 1e6 for name, times in runs.items()}
        base, printed = rates["C: mmap, six fields summed"], rates["C: libbpf's ring_buffer, JSON lines by fprintf"]
        for name, rate in rates.items():
            print(f"| {name} | {rate:.2f} | {rate / base:.3f} | {rate / printed:.2f} |")
        bench.reader.close()
        if not any("bpftrace" in name for name in rates):
            print("\nbpftrace is left out: it is not installed")
    print("\n| while it is filled | |\n|---|---|")
    with event_source("ring", size=SIZE) as source:
        rate, made, lost = sustained(source, SIZE, 5)
        print(f"| JSON lines, 5 s, a ring of 8 MiB | {rate / 1e6:.2f} million events/s came, {made:,}; {lost:,} lost |")
    for kind in ("ring", "perf"):
        worst, part = lone(kind)
        print(f"| a lone event in a {kind} buffer, the slowest of 20 | seen after {worst:.1f} ms |")
        print(f"| waiting at an idle {kind} buffer | {part:.2%} of a processor |")
    for name, cost in producers().items():
        print(f"| the program's cost beside the reader, {name} | {cost:.0f} ns |")
    return 0


if __name__ == "__main__":
    sys.exit(main())

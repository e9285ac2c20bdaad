"""Real buffers of the running kernel, filled as fast as wanted: a program that BPF_PROG_TEST_RUN runs, no probe needed.

    with event_source("ring", size=1 << 16) as source:      # skips the test where the kernel or root is missing
        source.fill(1000)                                    # 1,000 runs: events 0, 1, 2, ...
        open_buffer("ring", source.events, 1 << 16)

An event is {u32 probe, u32 number, u64 timestamp, ...} of `EVENT` bytes; every fifth one is longer if `mixed`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from specc.build import compile_object
from specc.cache import Cache
from specc.compiler.find import find_compiler

EVENT = 64

C = """
typedef unsigned int __u32;
typedef unsigned long long __u64;
#define SEC(name) __attribute__((section(name), used))
#define __uint(name, val) int (*name)[val]
#define __type(name, val) typeof(val) *name
static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static __u64 (*const bpf_ktime_get_ns)(void) = (void *)5;
static long (*const bpf_perf_event_output)(void *ctx, void *map, __u64 flags, void *data, __u64 size) = (void *)25;
static void *(*const bpf_ringbuf_reserve)(void *ring, __u64 size, __u64 flags) = (void *)131;
static void (*const bpf_ringbuf_submit)(void *data, __u64 flags) = (void *)132;
static void (*const bpf_ringbuf_discard)(void *data, __u64 flags) = (void *)133;
char LICENSE[] SEC("license") = "GPL";
struct {
#if PERF
	__uint(type, 4);
	__uint(key_size, 4);
	__uint(value_size, 4);
#else
	__uint(type, 27);
	__uint(max_entries, SIZE);
#endif
} events SEC(".maps");
struct counts { __u64 made; __u64 lost; };
struct {
	__uint(type, 2);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counts);
} counts SEC(".maps");
struct event { __u32 probe, number; __u64 time; __u64 more[6]; };
struct longer { struct event e; __u64 rest[3]; };
SEC("tc")
int fill(void *ctx)
{
	__u32 key = 0;
	struct counts *c = bpf_map_lookup_elem(&counts, &key);
	if (!c)
		return 0;
	__u64 n = c->made++;
#if PERF
	struct longer l = {{0, n, bpf_ktime_get_ns(), {n, 1, 2, 3, 4, 5}}, {n, n, n}};
	if (MIXED && n % 5 == 4) {
		l.e.probe = 1;
		if (bpf_perf_event_output(ctx, &events, 0xffffffffULL, &l, sizeof(l)))
			c->lost++;
	} else if (bpf_perf_event_output(ctx, &events, 0xffffffffULL, &l.e, sizeof(l.e)))
		c->lost++;
#else
	if (MIXED && n % 7 == 6) {
		void *nothing = bpf_ringbuf_reserve(&events, 24, 0);
		if (nothing)
			bpf_ringbuf_discard(nothing, FLAGS);
	}
	if (MIXED && n % 5 == 4) {
		struct longer *l = bpf_ringbuf_reserve(&events, sizeof(*l), 0);
		if (!l) {
			c->lost++;
			return 0;
		}
		*l = (struct longer){{1, n, bpf_ktime_get_ns(), {n, 1, 2, 3, 4, 5}}, {n, n, n}};
		bpf_ringbuf_submit(l, FLAGS);
		return 0;
	}
	struct event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e) {
		c->lost++;
		return 0;
	}
	*e = (struct event){0, n, bpf_ktime_get_ns(), {n, 1, 2, 3, 4, 5}};
	bpf_ringbuf_submit(e, FLAGS);
#endif
	return 0;
}
"""


@dataclass
class Source:
    program: int
    events: int
    counts: int

    def fill(self, runs: int) -> float:
        """Run the program so many times, here and now; nanoseconds for each."""
        packet = ctypes.create_string_buffer(64)
        attributes = ctypes.create_string_buffer(
            struct.pack("<IIIIQQII", self.program, 0, 64, 0, ctypes.addressof(packet), 0, runs, 0), 80
        )
        _bpf(10, attributes)
        return float(struct.unpack_from("<I", attributes, 36)[0])

    def tally(self) -> tuple[int, int]:
        """Events made, and those of them that found no room."""
        key, value = ctypes.c_uint32(0), ctypes.create_string_buffer(16)
        attributes = ctypes.create_string_buffer(
            struct.pack("<IIQQQ", self.counts, 0, ctypes.addressof(key), ctypes.addressof(value), 0)
        )
        _bpf(1, attributes)
        made, lost = struct.unpack("<QQ", value.raw)
        return made, lost


def _bpf(command: int, attributes: ctypes.Array[ctypes.c_char]) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    result = int(libc.syscall(ctypes.c_long(321), ctypes.c_int(command), attributes, ctypes.c_uint(len(attributes))))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def _get(path: Path) -> int:
    name = ctypes.create_string_buffer(os.fsencode(path))
    return _bpf(7, ctypes.create_string_buffer(struct.pack("<QII", ctypes.addressof(name), 0, 0)))


@contextlib.contextmanager
def event_source(kind: str, *, size: int = 1 << 20, mixed: bool = False, flags: int = 0) -> Iterator[Source]:
    bpftool = shutil.which("bpftool", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if os.geteuid() != 0 or bpftool is None:
        pytest.skip("real buffers need root and bpftool")
    defines = {"PERF": int(kind == "perf"), "SIZE": size, "MIXED": int(mixed), "FLAGS": flags}
    text = "".join(f"#define {k} {v}\n" for k, v in defines.items()) + C
    folder = Path(tempfile.mkdtemp(prefix="specc-events-"))
    try:
        (folder / "source.o").write_bytes(compile_object(text, "source", find_compiler(), cache=Cache(None)))
        bpffs = folder / "bpf"
        bpffs.mkdir()
        if subprocess.run(["mount", "-t", "bpf", "bpf", bpffs], capture_output=True, check=False).returncode:
            pytest.skip("cannot mount a BPF file system here")
        pins = bpffs / "pins"  # bpftool mounts a file system over the parent of what is none
        try:
            command = [bpftool, "prog", "loadall", folder / "source.o", pins, "pinmaps", pins]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"the kernel takes no BPF program here: {done.stderr.strip()}")
            source = Source(_get(pins / "fill"), _get(pins / "events"), _get(pins / "counts"))
        finally:
            subprocess.run(["umount", bpffs], check=True)
        try:
            yield source
        finally:
            for descriptor in (source.program, source.events, source.counts):
                os.close(descriptor)
    finally:
        shutil.rmtree(folder)

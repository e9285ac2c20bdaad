"""What specc asks of libbpf and of bpf(2): objects, maps, links, and what this kernel can do.

In: descriptors, keys and values.  Out: descriptors and bytes; `LibbpfError`.

    with Library() as library:
        cell = library.create_map("array", value_size=8)
        library.lookup(cell, 0, 8)                  # b"\\0" * 8
        library.has_map_type("ringbuf")             # True since Linux 5.8
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from ctypes import byref, c_long, c_size_t, c_uint32, c_uint64, c_void_p
from types import TracebackType
from typing import Final

from specc.libbpf.calls import Calls, LibbpfError
from specc.libbpf.interface import (
    BPF_LINK_CREATE,
    BPF_PERF_EVENT,
    BPF_TRACE_RAW_TP,
    BPF_TRACE_UPROBE_MULTI,
    LINK_MISSED,
    MAP_TYPES,
    PROG_TYPES,
    PROGRAM_RUN_NS,
    PROGRAM_RUNS,
    PROGRAM_SKIPPED,
    SYS_BPF,
    UPROBE_MULTI_RETURN,
    LoadOptions,
    MapOptions,
    UprobeLink,
)
from specc.libbpf.objects import Object


class Library:
    """libbpf itself, and what it asks of the kernel; one at a time, as `Calls` is."""

    def __init__(self, *, verbose: bool = False, path: str = "") -> None:
        """Raises Stop when there is no libbpf here that will do."""
        self.calls: Final = Calls(verbose=verbose, path=path)
        self.log: Final = self.calls.log
        self._system_call = ctypes.CDLL(None, use_errno=True).syscall
        self._system_call.restype = c_long
        self._system_call.argtypes = (c_long, c_long, c_void_p, c_size_t)
        self.version = (self.calls.call("libbpf_major_version"), self.calls.call("libbpf_minor_version"))

    def __enter__(self) -> Library:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self.calls.close()

    def open(self, data: bytes, name: str) -> Object:
        return Object(self.calls, data, name)

    def link_perf_event(self, program: int, event: int) -> int:
        """A BPF link between a program and a perf event: its descriptor (kernel 5.15)."""
        return self.calls.check("bpf_link_create", program, event, BPF_PERF_EVENT, None)

    def link_trampoline(self, program: int) -> int:
        """The link of an fentry or fexit program to its function, or of one on a tracepoint: it was loaded for it."""
        return self.calls.check("bpf_raw_tracepoint_open", None, program)

    def create_map(self, kind: str, *, value_size: int, inner: int = 0) -> int:
        """An array map of one element: its descriptor. Of maps, with the descriptor of one like those in it."""
        options = MapOptions(sz=ctypes.sizeof(MapOptions), inner_map_fd=inner)
        return self.calls.check("bpf_map_create", MAP_TYPES[kind], None, 4, value_size, 1, byref(options))

    def lookup(self, map_fd: int, key: int, size: int) -> bytes:
        """The value of an array map's element; `size` counts every CPU's, for a per-CPU map."""
        value = ctypes.create_string_buffer(size)
        self.calls.check("bpf_map_lookup_elem", map_fd, byref(c_uint32(key)), value)
        return value.raw

    def update(self, map_fd: int, key: int, value: bytes) -> None:
        """Set an array map's element."""
        self.calls.check("bpf_map_update_elem", map_fd, byref(c_uint32(key)), value, 0)

    def value_size(self, map_fd: int) -> int:
        """Bytes of a value of a map; a per-CPU map has one for each CPU, each on a multiple of 8."""
        info = ctypes.create_string_buffer(256)
        self.calls.check("bpf_obj_get_info_by_fd", map_fd, info, byref(c_uint32(len(info))))
        return int.from_bytes(info.raw[12:16], "little")  # struct bpf_map_info: type, id, key_size, value_size

    def lookup_bytes(self, map_fd: int, key: bytes, size: int) -> bytes:
        """The value of any map's element; of a per-CPU map, those of all possible CPUs."""
        value = ctypes.create_string_buffer(size)
        self.calls.check("bpf_map_lookup_elem", map_fd, key, value)
        return value.raw

    def update_bytes(self, map_fd: int, key: bytes, value: bytes) -> None:
        """Set an element, as `lookup_bytes` has it."""
        self.calls.check("bpf_map_update_elem", map_fd, key, value, 0)

    def delete(self, map_fd: int, key: bytes) -> None:
        self.calls.check("bpf_map_delete_elem", map_fd, key)

    def keys(self, map_fd: int, size: int) -> Iterator[bytes]:
        """The keys of a map that nobody changes meanwhile."""
        key: bytes | None = None
        found = ctypes.create_string_buffer(size)
        while True:
            try:
                self.calls.check("bpf_map_get_next_key", map_fd, key, found)
            except LibbpfError as problem:
                if problem.errno != errno.ENOENT:
                    raise
                return
            key = found.raw
            yield key

    def link_missed(self, link: int) -> int | None:
        """How often the kernel did not run a link's program on a kprobe or at a return: it was in another kprobe, or had
        no room for one more call. None: it does not tell (before Linux 6.7)."""
        return self._number(link, LINK_MISSED)

    def program_skipped(self, program: int) -> int | None:
        """How often the kernel did not run a program since it was running another one on that processor. None: it does
        not tell (before Linux 5.12, and before 6.7 for programs of kprobes)."""
        return self._number(program, PROGRAM_SKIPPED)

    def program_runs(self, program: int) -> tuple[int, int]:
        """The nanoseconds that a program ran for, and how often, while kernel.bpf_stats_enabled was on (Linux 5.1)."""
        return self._number(program, PROGRAM_RUN_NS) or 0, self._number(program, PROGRAM_RUNS) or 0

    def _number(self, fd: int, offset: int) -> int | None:
        """The 8 bytes at an offset of an info, when the kernel has an info of that length: it tells how much it wrote."""
        info = ctypes.create_string_buffer(256)
        length = c_uint32(len(info))
        self.calls.check("bpf_obj_get_info_by_fd", fd, info, byref(length))
        return int.from_bytes(info.raw[offset : offset + 8], "little") if length.value >= offset + 8 else None

    def has_program_type(self, name: str) -> bool:
        return int(self.calls.call("libbpf_probe_bpf_prog_type", PROG_TYPES[name], None)) > 0

    def has_map_type(self, name: str) -> bool:
        return int(self.calls.call("libbpf_probe_bpf_map_type", MAP_TYPES[name], None)) > 0

    def has_helper(self, program_type: str, number: int) -> bool:
        """Whether programs of this type may call the helper (its number in linux/bpf.h)."""
        return int(self.calls.call("libbpf_probe_bpf_helper", PROG_TYPES[program_type], number, None)) > 0

    def has_perf_links(self) -> bool:
        """Whether a BPF link can hold a perf event. Raises LibbpfError when not even an empty program can be loaded."""
        program = self._empty_program(0)
        try:
            # A kernel that knows such links looks at the descriptor and finds it bad; an older one at the command.
            return -int(self.calls.call("bpf_link_create", program, -1, BPF_PERF_EVENT, None)) == errno.EBADF
        finally:
            os.close(program)

    def has_uprobe_links(self) -> bool:
        """Whether a BPF link can hold uprobes without a perf event (Linux 6.6). Raises LibbpfError as above."""
        program = self._empty_program(BPF_TRACE_UPROBE_MULTI)
        try:
            os.close(self.link_uprobe(program, b"/", 0, at_return=False))
        except LibbpfError as problem:
            return problem.errno == errno.EBADF  # it is a directory; an older kernel gets no further than the command
        finally:
            os.close(program)
        return False

    def has_tracepoints(self) -> bool:
        """Whether programs on tracepoints by BTF load (Linux 5.5): one that is in every kernel is tried."""
        try:
            number = self.calls.check("libbpf_find_vmlinux_btf_id", b"sched_switch", BPF_TRACE_RAW_TP)
            os.close(self._empty_program(BPF_TRACE_RAW_TP, "tracing", number))
        except LibbpfError:
            return False
        return True

    def _empty_program(self, attach_type: int, kind: str = "kprobe", attach_to: int = 0) -> int:
        # r0 = 0; exit
        empty = ctypes.create_string_buffer(bytes.fromhex("b700000000000000 9500000000000000"), 16)
        size = ctypes.sizeof(LoadOptions)
        options = LoadOptions(sz=size, expected_attach_type=attach_type, attach_btf_id=attach_to)
        return self.calls.check("bpf_prog_load", PROG_TYPES[kind], b"empty", b"GPL", empty, 2, byref(options))

    def link_uprobe(self, program: int, path: bytes, offset: int, *, at_return: bool) -> int:
        """The link of a program, loaded for BPF_TRACE_UPROBE_MULTI, to one place of a file."""
        attr = UprobeLink(
            prog_fd=program,
            attach_type=BPF_TRACE_UPROBE_MULTI,
            path=path,
            offsets=ctypes.pointer(c_uint64(offset)),
            cnt=1,
            flags=UPROBE_MULTI_RETURN if at_return else 0,
        )
        ctypes.set_errno(0)
        result = self._system_call(SYS_BPF, BPF_LINK_CREATE, byref(attr), ctypes.sizeof(attr))
        if result < 0:
            number = ctypes.get_errno()
            raise LibbpfError("BPF_LINK_CREATE", number, os.strerror(number))
        return int(result)

    def possible_cpus(self) -> int:
        return self.calls.check("libbpf_num_possible_cpus")

"""What C's headers say of libbpf and of bpf(2), for ctypes: structures, signatures, numbers.

In: nothing.  Out: structures to fill, and the signature of each function that specc calls.

    options = MapOptions(sz=ctypes.sizeof(MapOptions))
    SIGNATURES["bpf_map__fd"]           # (c_int, (c_void_p,)): the result, the arguments

The signatures are those of libbpf 1.1 (bpf/libbpf.h, bpf/bpf.h).
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, c_bool, c_char_p, c_int, c_size_t, c_uint32, c_uint64, c_void_p
from typing import Any, Final

WARN, INFO, DEBUG = 0, 1, 2  # enum libbpf_print_level
LOG_AND_STATS: Final = 1 | 4  # BPF_LOG_LEVEL1, which is kept of a program that is refused, and BPF_LOG_STATS
BPF_TRACE_RAW_TP, BPF_PERF_EVENT, BPF_TRACE_UPROBE_MULTI = 23, 41, 48  # enum bpf_attach_type
PROG_TYPES: Final = {"kprobe": 2, "tracing": 26}  # enum bpf_prog_type
MAP_TYPES: Final = {  # enum bpf_map_type
    "array": 2, "perf_event_array": 4, "percpu_array": 6, "lru_hash": 9, "array_of_maps": 12, "ringbuf": 27,
}  # fmt: skip


class OpenOptions(Structure):
    """struct bpf_object_open_opts."""

    _fields_ = (
        ("sz", c_size_t),
        ("object_name", c_char_p),
        ("relaxed_maps", c_bool),
        ("pin_root_path", c_char_p),
        ("unused", c_uint32),
        ("kconfig", c_char_p),
        ("btf_custom_path", c_char_p),
        ("kernel_log_buf", c_void_p),
        ("kernel_log_size", c_size_t),
        ("kernel_log_level", c_uint32),
    )


class LoadOptions(Structure):
    """struct bpf_prog_load_opts, as far as it is used; libbpf is told the size."""

    _fields_ = (
        ("sz", c_size_t),
        ("attempts", c_int),
        ("expected_attach_type", c_int),
        ("prog_btf_fd", c_uint32),
        ("prog_flags", c_uint32),
        ("prog_ifindex", c_uint32),
        ("kern_version", c_uint32),
        ("attach_btf_id", c_uint32),
    )


class MapOptions(Structure):
    """struct bpf_map_create_opts, as far as it is used."""

    _fields_ = (
        ("sz", c_size_t),
        ("btf_fd", c_uint32),
        ("btf_key_type_id", c_uint32),
        ("btf_value_type_id", c_uint32),
        ("btf_vmlinux_value_type_id", c_uint32),
        ("inner_map_fd", c_uint32),
    )


class UprobeLink(Structure):
    """The part of union bpf_attr for BPF_LINK_CREATE, with `uprobe_multi` (linux/bpf.h); libbpf has it since 1.3."""

    _fields_ = (
        ("prog_fd", c_uint32),
        ("target_fd", c_uint32),
        ("attach_type", c_uint32),
        ("link_flags", c_uint32),
        ("path", c_char_p),
        ("offsets", POINTER(c_uint64)),
        ("ref_ctr_offsets", c_uint64),
        ("cookies", c_uint64),
        ("cnt", c_uint32),
        ("flags", c_uint32),
        ("pid", c_uint32),
        ("padding", c_uint32),
    )


SYS_BPF, BPF_LINK_CREATE = 321, 28
# Where struct bpf_link_info has perf_event.kprobe.missed, and struct bpf_prog_info its counters (linux/bpf.h).
LINK_MISSED, PROGRAM_RUN_NS, PROGRAM_RUNS, PROGRAM_SKIPPED = 48, 192, 200, 208
UPROBE_MULTI_RETURN = 1

# int (*)(enum libbpf_print_level, const char *, va_list); a va_list parameter is a pointer (psABI 3.5.7).
PRINT = ctypes.CFUNCTYPE(c_int, c_int, c_char_p, c_void_p)
VA_LIST_BYTES = 24

SIGNATURES: Final[dict[str, tuple[Any, tuple[Any, ...]]]] = {
    "libbpf_major_version": (c_uint32, ()),
    "libbpf_minor_version": (c_uint32, ()),
    "libbpf_version_string": (c_char_p, ()),
    "libbpf_set_print": (c_void_p, (PRINT,)),
    "libbpf_strerror": (c_int, (c_int, c_char_p, c_size_t)),
    "libbpf_num_possible_cpus": (c_int, ()),
    "libbpf_probe_bpf_prog_type": (c_int, (c_int, c_void_p)),
    "libbpf_probe_bpf_map_type": (c_int, (c_int, c_void_p)),
    "libbpf_probe_bpf_helper": (c_int, (c_int, c_int, c_void_p)),
    "bpf_object__open_mem": (c_void_p, (c_void_p, c_size_t, POINTER(OpenOptions))),
    "bpf_object__load": (c_int, (c_void_p,)),
    "bpf_object__close": (None, (c_void_p,)),
    "bpf_object__next_program": (c_void_p, (c_void_p, c_void_p)),
    "bpf_object__next_map": (c_void_p, (c_void_p, c_void_p)),
    "bpf_program__name": (c_char_p, (c_void_p,)),
    "bpf_program__fd": (c_int, (c_void_p,)),
    "bpf_map__name": (c_char_p, (c_void_p,)),
    "bpf_map__fd": (c_int, (c_void_p,)),
    "bpf_map__initial_value": (c_void_p, (c_void_p, POINTER(c_size_t))),
    "bpf_map__set_autocreate": (c_int, (c_void_p, c_bool)),
    "bpf_map__max_entries": (c_uint32, (c_void_p,)),
    "bpf_map_create": (c_int, (c_int, c_char_p, c_uint32, c_uint32, c_uint32, POINTER(MapOptions))),
    "bpf_map_lookup_elem": (c_int, (c_int, c_void_p, c_void_p)),
    "bpf_map_update_elem": (c_int, (c_int, c_void_p, c_void_p, c_uint64)),
    "bpf_map_delete_elem": (c_int, (c_int, c_void_p)),
    "bpf_map_get_next_key": (c_int, (c_int, c_void_p, c_void_p)),
    "bpf_prog_load": (c_int, (c_int, c_char_p, c_char_p, c_void_p, c_size_t, POINTER(LoadOptions))),
    "bpf_program__set_expected_attach_type": (c_int, (c_void_p, c_int)),
    "bpf_program__set_autoload": (c_int, (c_void_p, c_bool)),
    "bpf_link_create": (c_int, (c_int, c_int, c_int, c_void_p)),
    "bpf_raw_tracepoint_open": (c_int, (c_char_p, c_int)),
    "libbpf_find_vmlinux_btf_id": (c_int, (c_char_p, c_int)),
    "bpf_obj_get_info_by_fd": (c_int, (c_int, c_void_p, POINTER(c_uint32))),
}

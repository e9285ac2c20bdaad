"""libbpf through ctypes: open an object, load it, find its programs and maps, link a program to an event.

In: an object's bytes.  Out: file descriptors of what the kernel made of them; `LibbpfError` with libbpf's own words.

    with Library() as library, library.open(data, "gup") as thing:
        thing.load()
        thing.programs["gup_gup"]                   # a file descriptor, closed with the object

Everything that libbpf prints is kept in `Library.log`. The signatures are those of libbpf 1.1 (bpf/libbpf.h, bpf/bpf.h).
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Collection, Iterator
from ctypes import POINTER, Structure, byref, c_bool, c_char_p, c_int, c_long, c_size_t, c_uint32, c_uint64, c_void_p
from types import TracebackType
from typing import Any, Final

from specc.diagnostics import stop

WARN, INFO, DEBUG = 0, 1, 2  # enum libbpf_print_level
LOG_AND_STATS: Final = 1 | 4  # BPF_LOG_LEVEL1, which is kept of a program that is refused, and BPF_LOG_STATS
BPF_TRACE_RAW_TP, BPF_PERF_EVENT, BPF_TRACE_UPROBE_MULTI = 23, 41, 48  # enum bpf_attach_type
OLDEST: Final = (1, 1)
SONAME: Final = "libbpf.so.1"

PROG_TYPES: Final = {"kprobe": 2, "tracing": 26}  # enum bpf_prog_type
MAP_TYPES: Final = {  # enum bpf_map_type
    "array": 2, "perf_event_array": 4, "percpu_array": 6, "lru_hash": 9, "array_of_maps": 12, "ringbuf": 27,
}  # fmt: skip


class _OpenOptions(Structure):
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


class _LoadOptions(Structure):
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


class _MapOptions(Structure):
    """struct bpf_map_create_opts, as far as it is used."""

    _fields_ = (
        ("sz", c_size_t),
        ("btf_fd", c_uint32),
        ("btf_key_type_id", c_uint32),
        ("btf_value_type_id", c_uint32),
        ("btf_vmlinux_value_type_id", c_uint32),
        ("inner_map_fd", c_uint32),
    )


class _UprobeLink(Structure):
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


_SYS_BPF, _BPF_LINK_CREATE = 321, 28
# Where struct bpf_link_info has perf_event.kprobe.missed, and struct bpf_prog_info its counters (linux/bpf.h).
_LINK_MISSED, _PROGRAM_RUN_NS, _PROGRAM_RUNS, _PROGRAM_SKIPPED = 48, 192, 200, 208
_UPROBE_MULTI_RETURN = 1

# int (*)(enum libbpf_print_level, const char *, va_list); a va_list parameter is a pointer (psABI 3.5.7).
_PRINT = ctypes.CFUNCTYPE(c_int, c_int, c_char_p, c_void_p)
_VA_LIST_BYTES = 24

_SIGNATURES: Final[dict[str, tuple[Any, tuple[Any, ...]]]] = {
    "libbpf_major_version": (c_uint32, ()),
    "libbpf_minor_version": (c_uint32, ()),
    "libbpf_version_string": (c_char_p, ()),
    "libbpf_set_print": (c_void_p, (_PRINT,)),
    "libbpf_strerror": (c_int, (c_int, c_char_p, c_size_t)),
    "libbpf_num_possible_cpus": (c_int, ()),
    "libbpf_probe_bpf_prog_type": (c_int, (c_int, c_void_p)),
    "libbpf_probe_bpf_map_type": (c_int, (c_int, c_void_p)),
    "libbpf_probe_bpf_helper": (c_int, (c_int, c_int, c_void_p)),
    "bpf_object__open_mem": (c_void_p, (c_void_p, c_size_t, POINTER(_OpenOptions))),
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
    "bpf_map_create": (c_int, (c_int, c_char_p, c_uint32, c_uint32, c_uint32, POINTER(_MapOptions))),
    "bpf_map_lookup_elem": (c_int, (c_int, c_void_p, c_void_p)),
    "bpf_map_update_elem": (c_int, (c_int, c_void_p, c_void_p, c_uint64)),
    "bpf_map_delete_elem": (c_int, (c_int, c_void_p)),
    "bpf_map_get_next_key": (c_int, (c_int, c_void_p, c_void_p)),
    "bpf_prog_load": (c_int, (c_int, c_char_p, c_char_p, c_void_p, c_size_t, POINTER(_LoadOptions))),
    "bpf_program__set_expected_attach_type": (c_int, (c_void_p, c_int)),
    "bpf_program__set_autoload": (c_int, (c_void_p, c_bool)),
    "bpf_link_create": (c_int, (c_int, c_int, c_int, c_void_p)),
    "bpf_raw_tracepoint_open": (c_int, (c_char_p, c_int)),
    "libbpf_find_vmlinux_btf_id": (c_int, (c_char_p, c_int)),
    "bpf_obj_get_info_by_fd": (c_int, (c_int, c_void_p, POINTER(c_uint32))),
}


class LibbpfError(Exception):
    """A call failed: what was tried, the errno, and what libbpf printed meanwhile."""

    def __init__(self, operation: str, number: int, message: str, log: str = "") -> None:
        super().__init__(f"{operation}: {message}")
        self.operation: Final = operation
        self.errno: Final = number
        self.message: Final = message
        self.log: Final = log


class Library:
    """libbpf itself; it prints to one place per process, so there is one `Library` at a time."""

    def __init__(self, *, verbose: bool = False, path: str = "") -> None:
        """Raises Stop when there is no libbpf here that will do."""
        self.log: list[str] = []
        self._handle = _load(path or os.environ.get("SPECC_LIBBPF") or SONAME)
        self.verbose: Final = verbose
        self._level = DEBUG if verbose else INFO
        libc = ctypes.CDLL(None, use_errno=True)
        self._system_call = libc.syscall
        self._system_call.restype = c_long
        self._system_call.argtypes = (c_long, c_long, c_void_p, c_size_t)
        self._format = libc.vsnprintf
        self._format.restype = c_int
        self._format.argtypes = (c_char_p, c_size_t, c_char_p, c_void_p)
        self._callback = _PRINT(self._printed)  # kept: libbpf calls it as long as it is set
        self.version = (self.call("libbpf_major_version"), self.call("libbpf_minor_version"))
        self.call("libbpf_set_print", self._callback)

    def __enter__(self) -> Library:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let libbpf print nowhere from now on."""
        self.call("libbpf_set_print", _PRINT())

    def _printed(self, level: int, form: bytes, arguments: int) -> int:
        if level > self._level:
            return 0
        # vsnprintf uses its va_list up, and it takes two calls to learn the length and to have the text.
        copy = ctypes.create_string_buffer(ctypes.string_at(arguments, _VA_LIST_BYTES), _VA_LIST_BYTES)
        length = self._format(None, 0, form, ctypes.addressof(copy))
        text = ctypes.create_string_buffer(max(0, length) + 1)
        self._format(text, len(text), form, arguments)
        self.log.append(text.value.decode("utf-8", "replace"))
        return 0

    def call(self, name: str, *arguments: Any) -> Any:
        """A function's plain result."""
        function = getattr(self._handle, name)
        function.restype, function.argtypes = _SIGNATURES[name]
        return function(*arguments)

    def check(self, name: str, *arguments: Any) -> int:
        """An int that is not negative, or a pointer that is not NULL. Raises LibbpfError."""
        mark = len(self.log)
        ctypes.set_errno(0)
        result = self.call(name, *arguments)
        if result is None or result < 0:
            number = -result if result else ctypes.get_errno()
            raise LibbpfError(name, number, self.message(number), "".join(self.log[mark:]))
        return int(result)

    def message(self, number: int) -> str:
        text = ctypes.create_string_buffer(256)
        self.call("libbpf_strerror", number, text, len(text))
        return text.value.decode("utf-8", "replace")

    def open(self, data: bytes, name: str) -> Object:
        return Object(self, data, name)

    def link_perf_event(self, program: int, event: int) -> int:
        """A BPF link between a program and a perf event: its descriptor (kernel 5.15)."""
        return self.check("bpf_link_create", program, event, BPF_PERF_EVENT, None)

    def link_trampoline(self, program: int) -> int:
        """The link of an fentry or fexit program to its function, or of one on a tracepoint: it was loaded for it."""
        return self.check("bpf_raw_tracepoint_open", None, program)

    def create_map(self, kind: str, *, value_size: int, inner: int = 0) -> int:
        """An array map of one element: its descriptor. Of maps, with the descriptor of one like those in it."""
        options = _MapOptions(sz=ctypes.sizeof(_MapOptions), inner_map_fd=inner)
        return self.check("bpf_map_create", MAP_TYPES[kind], None, 4, value_size, 1, byref(options))

    def lookup(self, map_fd: int, key: int, size: int) -> bytes:
        """The value of an array map's element; `size` counts every CPU's, for a per-CPU map."""
        value = ctypes.create_string_buffer(size)
        self.check("bpf_map_lookup_elem", map_fd, byref(c_uint32(key)), value)
        return value.raw

    def update(self, map_fd: int, key: int, value: bytes) -> None:
        """Set an array map's element."""
        self.check("bpf_map_update_elem", map_fd, byref(c_uint32(key)), value, 0)

    def value_size(self, map_fd: int) -> int:
        """Bytes of a value of a map; a per-CPU map has one for each CPU, each on a multiple of 8."""
        info = ctypes.create_string_buffer(256)
        self.check("bpf_obj_get_info_by_fd", map_fd, info, byref(c_uint32(len(info))))
        return int.from_bytes(info.raw[12:16], "little")  # struct bpf_map_info: type, id, key_size, value_size

    def lookup_bytes(self, map_fd: int, key: bytes, size: int) -> bytes:
        """The value of any map's element; of a per-CPU map, those of all possible CPUs."""
        value = ctypes.create_string_buffer(size)
        self.check("bpf_map_lookup_elem", map_fd, key, value)
        return value.raw

    def update_bytes(self, map_fd: int, key: bytes, value: bytes) -> None:
        """Set an element, as `lookup_bytes` has it."""
        self.check("bpf_map_update_elem", map_fd, key, value, 0)

    def delete(self, map_fd: int, key: bytes) -> None:
        self.check("bpf_map_delete_elem", map_fd, key)

    def keys(self, map_fd: int, size: int) -> Iterator[bytes]:
        """The keys of a map that nobody changes meanwhile."""
        key: bytes | None = None
        found = ctypes.create_string_buffer(size)
        while True:
            try:
                self.check("bpf_map_get_next_key", map_fd, key, found)
            except LibbpfError as problem:
                if problem.errno != errno.ENOENT:
                    raise
                return
            key = found.raw
            yield key

    def link_missed(self, link: int) -> int | None:
        """How often the kernel did not run a link's program on a kprobe or at a return: it was in another kprobe, or had
        no room for one more call. None: it does not tell (before Linux 6.7)."""
        return self._number(link, _LINK_MISSED)

    def program_skipped(self, program: int) -> int | None:
        """How often the kernel did not run a program since it was running another one on that processor. None: it does
        not tell (before Linux 5.12, and before 6.7 for programs of kprobes)."""
        return self._number(program, _PROGRAM_SKIPPED)

    def program_runs(self, program: int) -> tuple[int, int]:
        """The nanoseconds that a program ran for, and how often, while kernel.bpf_stats_enabled was on (Linux 5.1)."""
        return self._number(program, _PROGRAM_RUN_NS) or 0, self._number(program, _PROGRAM_RUNS) or 0

    def _number(self, fd: int, offset: int) -> int | None:
        """The 8 bytes at an offset of an info, when the kernel has an info of that length: it tells how much it wrote."""
        info = ctypes.create_string_buffer(256)
        length = c_uint32(len(info))
        self.check("bpf_obj_get_info_by_fd", fd, info, byref(length))
        return int.from_bytes(info.raw[offset : offset + 8], "little") if length.value >= offset + 8 else None

    def has_program_type(self, name: str) -> bool:
        return int(self.call("libbpf_probe_bpf_prog_type", PROG_TYPES[name], None)) > 0

    def has_map_type(self, name: str) -> bool:
        return int(self.call("libbpf_probe_bpf_map_type", MAP_TYPES[name], None)) > 0

    def has_helper(self, program_type: str, number: int) -> bool:
        """Whether programs of this type may call the helper (its number in linux/bpf.h)."""
        return int(self.call("libbpf_probe_bpf_helper", PROG_TYPES[program_type], number, None)) > 0

    def has_perf_links(self) -> bool:
        """Whether a BPF link can hold a perf event. Raises LibbpfError when not even an empty program can be loaded."""
        program = self._empty_program(0)
        try:
            # A kernel that knows such links looks at the descriptor and finds it bad; an older one at the command.
            return -int(self.call("bpf_link_create", program, -1, BPF_PERF_EVENT, None)) == errno.EBADF
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
            number = self.check("libbpf_find_vmlinux_btf_id", b"sched_switch", BPF_TRACE_RAW_TP)
            os.close(self._empty_program(BPF_TRACE_RAW_TP, "tracing", number))
        except LibbpfError:
            return False
        return True

    def _empty_program(self, attach_type: int, kind: str = "kprobe", attach_to: int = 0) -> int:
        # r0 = 0; exit
        empty = ctypes.create_string_buffer(bytes.fromhex("b700000000000000 9500000000000000"), 16)
        size = ctypes.sizeof(_LoadOptions)
        options = _LoadOptions(sz=size, expected_attach_type=attach_type, attach_btf_id=attach_to)
        return self.check("bpf_prog_load", PROG_TYPES[kind], b"empty", b"GPL", empty, 2, byref(options))

    def link_uprobe(self, program: int, path: bytes, offset: int, *, at_return: bool) -> int:
        """The link of a program, loaded for BPF_TRACE_UPROBE_MULTI, to one place of a file."""
        attr = _UprobeLink(
            prog_fd=program,
            attach_type=BPF_TRACE_UPROBE_MULTI,
            path=path,
            offsets=ctypes.pointer(c_uint64(offset)),
            cnt=1,
            flags=_UPROBE_MULTI_RETURN if at_return else 0,
        )
        ctypes.set_errno(0)
        result = self._system_call(_SYS_BPF, _BPF_LINK_CREATE, byref(attr), ctypes.sizeof(attr))
        if result < 0:
            number = ctypes.get_errno()
            raise LibbpfError("BPF_LINK_CREATE", number, os.strerror(number))
        return int(result)

    def possible_cpus(self) -> int:
        return self.check("libbpf_num_possible_cpus")


class Object:
    """One BPF object. `programs` and `maps` are by name; their values are descriptors once it is loaded."""

    def __init__(self, library: Library, data: bytes, name: str) -> None:
        self._library = library
        self._data = ctypes.create_string_buffer(data, len(data))  # libbpf reads from it until the load
        level = LOG_AND_STATS if library.verbose else 0
        options = _OpenOptions(sz=ctypes.sizeof(_OpenOptions), object_name=name.encode(), kernel_log_level=level)
        self._pointer: int | None = library.check("bpf_object__open_mem", self._data, len(data), byref(options))

    def __enter__(self) -> Object:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        if self._pointer is not None:
            self._library.call("bpf_object__close", self._pointer)
            self._pointer = None

    def _each(self, function: str) -> list[int]:
        found: list[int] = []
        item = self._library.call(function, self._pointer, None)
        while item:
            found.append(item)
            item = self._library.call(function, self._pointer, item)
        return found

    def _named(self, function: str, name: str, fd: str) -> dict[str, int]:
        call = self._library.call
        return {call(name, item).decode(): call(fd, item) for item in self._each(function)}

    @property
    def programs(self) -> dict[str, int]:
        return self._named("bpf_object__next_program", "bpf_program__name", "bpf_program__fd")

    @property
    def maps(self) -> dict[str, int]:
        return self._named("bpf_object__next_map", "bpf_map__name", "bpf_map__fd")

    def set_constant(self, offset: int, value: bytes) -> None:
        """Write into the object's .rodata, before the load."""
        for item in self._each("bpf_object__next_map"):
            if self._library.call("bpf_map__name", item).endswith(b".rodata"):
                size = c_size_t()
                start = self._library.check("bpf_map__initial_value", item, byref(size))
                if offset + len(value) > size.value:
                    raise ValueError(f"{offset + len(value)} is outside of .rodata, which has {size.value} bytes")
                ctypes.memmove(start + offset, value, len(value))
                return
        raise ValueError("the object has no .rodata")

    def expect(self, program: str, attach_type: int) -> None:
        """Load this program for that type of attachment."""
        for item in self._each("bpf_object__next_program"):
            if self._library.call("bpf_program__name", item) == program.encode():
                self._library.check("bpf_program__set_expected_attach_type", item, attach_type)

    def only(self, wanted: Collection[str]) -> None:
        """Load these programs, and no others of the object."""
        for item in self._each("bpf_object__next_program"):
            loads = self._library.call("bpf_program__name", item).decode() in wanted
            self._library.check("bpf_program__set_autoload", item, loads)

    def without(self, name: str) -> None:
        """Do not make this map: no program that is loaded reaches it."""
        for item in self._each("bpf_object__next_map"):
            if self._library.call("bpf_map__name", item) == name.encode():
                self._library.check("bpf_map__set_autocreate", item, False)

    def load(self) -> None:
        """Give it to the kernel. Raises LibbpfError, whose log holds what the verifier said."""
        self._library.check("bpf_object__load", self._pointer)


def _load(name: str) -> ctypes.CDLL:
    try:
        handle = ctypes.CDLL(name, use_errno=True)
    except OSError as problem:
        raise stop("SP420", f"libbpf cannot be loaded: {problem}", None, help=_INSTALL) from None
    try:
        major: Callable[[], int] = handle.libbpf_major_version
        minor: Callable[[], int] = handle.libbpf_minor_version
        version = (major(), minor())
    except AttributeError:
        version = (0, 0)
    if version < OLDEST:
        found = f"{version[0]}.{version[1]}" if version[0] else "older than 1.0"
        raise stop("SP420", f"libbpf here is {found}, and specc needs {OLDEST[0]}.{OLDEST[1]}", None, help=_INSTALL)
    return handle


_INSTALL = "install libbpf 1.1 or newer: the package is called libbpf1 (Debian, Ubuntu) or libbpf (Fedora, Arch)"

"""One BPF object: opened, changed before the load, loaded; then the descriptors of its programs and maps.

In: an object's bytes.  Out: an `Object`; leaving it closes what the kernel made of it.

    with Object(calls, data, "gup") as thing:
        thing.set_constant(0, bytes(8))
        thing.load()
        thing.programs["gup_gup"]                   # a file descriptor
"""

from __future__ import annotations

import ctypes
from collections.abc import Collection
from ctypes import byref, c_size_t
from types import TracebackType

from specc.libbpf.calls import Calls
from specc.libbpf.interface import LOG_AND_STATS, OpenOptions


class Object:
    """One BPF object. `programs` and `maps` are by name; their values are descriptors once it is loaded."""

    def __init__(self, calls: Calls, data: bytes, name: str) -> None:
        self._calls = calls
        self._data = ctypes.create_string_buffer(data, len(data))  # libbpf reads from it until the load
        level = LOG_AND_STATS if calls.verbose else 0
        options = OpenOptions(sz=ctypes.sizeof(OpenOptions), object_name=name.encode(), kernel_log_level=level)
        self._pointer: int | None = calls.check("bpf_object__open_mem", self._data, len(data), byref(options))

    def __enter__(self) -> Object:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        if self._pointer is not None:
            self._calls.call("bpf_object__close", self._pointer)
            self._pointer = None

    def _each(self, function: str) -> list[int]:
        found: list[int] = []
        item = self._calls.call(function, self._pointer, None)
        while item:
            found.append(item)
            item = self._calls.call(function, self._pointer, item)
        return found

    def _named(self, function: str, name: str, fd: str) -> dict[str, int]:
        call = self._calls.call
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
            if self._calls.call("bpf_map__name", item).endswith(b".rodata"):
                size = c_size_t()
                start = self._calls.check("bpf_map__initial_value", item, byref(size))
                if offset + len(value) > size.value:
                    raise ValueError(f"{offset + len(value)} is outside of .rodata, which has {size.value} bytes")
                ctypes.memmove(start + offset, value, len(value))
                return
        raise ValueError("the object has no .rodata")

    def expect(self, program: str, attach_type: int) -> None:
        """Load this program for that type of attachment."""
        for item in self._each("bpf_object__next_program"):
            if self._calls.call("bpf_program__name", item) == program.encode():
                self._calls.check("bpf_program__set_expected_attach_type", item, attach_type)

    def only(self, wanted: Collection[str]) -> None:
        """Load these programs, and no others of the object."""
        for item in self._each("bpf_object__next_program"):
            loads = self._calls.call("bpf_program__name", item).decode() in wanted
            self._calls.check("bpf_program__set_autoload", item, loads)

    def without(self, name: str) -> None:
        """Do not make this map: no program that is loaded reaches it."""
        for item in self._each("bpf_object__next_map"):
            if self._calls.call("bpf_map__name", item) == name.encode():
                self._calls.check("bpf_map__set_autocreate", item, False)

    def load(self) -> None:
        """Give it to the kernel. Raises LibbpfError, whose log holds what the verifier said."""
        self._calls.check("bpf_object__load", self._pointer)

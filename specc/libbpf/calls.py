"""Calls of libbpf's functions: what failed is an error, and what libbpf printed meanwhile is kept.

In: a function's name and its arguments.  Out: its result; `LibbpfError` with libbpf's own words.

    calls = Calls(verbose=False, path="")
    calls.check("bpf_object__load", pointer)        # 0, or LibbpfError
    calls.log                                       # everything that libbpf printed
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from ctypes import c_char_p, c_int, c_size_t, c_void_p
from typing import Any, Final

from specc.diagnostics import stop
from specc.libbpf.interface import DEBUG, INFO, PRINT, SIGNATURES, VA_LIST_BYTES

OLDEST: Final = (1, 1)
SONAME: Final = "libbpf.so.1"


class LibbpfError(Exception):
    """A call failed: what was tried, the errno, and what libbpf printed meanwhile."""

    def __init__(self, operation: str, number: int, message: str, log: str = "") -> None:
        super().__init__(f"{operation}: {message}")
        self.operation: Final = operation
        self.errno: Final = number
        self.message: Final = message
        self.log: Final = log


class Calls:
    """The functions of libbpf. It prints to one place per process, so there is one `Calls` at a time."""

    def __init__(self, *, verbose: bool, path: str) -> None:
        self.log: list[str] = []
        self._handle = _load(path or os.environ.get("SPECC_LIBBPF") or SONAME)
        self.verbose: Final = verbose
        self._level = DEBUG if verbose else INFO
        libc = ctypes.CDLL(None, use_errno=True)
        self._format = libc.vsnprintf
        self._format.restype = c_int
        self._format.argtypes = (c_char_p, c_size_t, c_char_p, c_void_p)
        self._callback = PRINT(self._printed)  # kept: libbpf calls it as long as it is set
        self.call("libbpf_set_print", self._callback)

    def close(self) -> None:
        """Let libbpf print nowhere from now on."""
        self.call("libbpf_set_print", PRINT())

    def _printed(self, level: int, form: bytes, arguments: int) -> int:
        if level > self._level:
            return 0
        # vsnprintf uses its va_list up, and it takes two calls to learn the length and to have the text.
        copy = ctypes.create_string_buffer(ctypes.string_at(arguments, VA_LIST_BYTES), VA_LIST_BYTES)
        length = self._format(None, 0, form, ctypes.addressof(copy))
        text = ctypes.create_string_buffer(max(0, length) + 1)
        self._format(text, len(text), form, arguments)
        self.log.append(text.value.decode("utf-8", "replace"))
        return 0

    def call(self, name: str, *arguments: Any) -> Any:
        """A function's plain result."""
        function = getattr(self._handle, name)
        function.restype, function.argtypes = SIGNATURES[name]
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

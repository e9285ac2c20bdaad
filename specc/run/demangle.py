"""Names of C++ as its source has them.

In: a symbol's name.  Out: the declaration that it stands for, or the name itself.

    demangled("_ZN4http6Parser4feedEPKcm")       # "http::Parser::feed(char const*, unsigned long)"
    demangled("SSL_write")                       # "SSL_write"

The C++ run-time library does it (Itanium C++ ABI, __cxa_demangle). Where there is none, names stay as the linker has them.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Final

_LIBRARIES: Final = ("libstdc++.so.6", "libc++abi.so.1")


@cache
def demangled(name: str) -> str:
    function = _function() if name.startswith("_Z") else None
    if function is None:
        return name
    # A copy that a compiler made has a suffix, which is no part of the name: `_Z1fi.isra.0`.
    plain, dot, suffix = name.partition(".")
    status = ctypes.c_int(0)
    text = function(plain.encode(), None, None, ctypes.byref(status))
    if not text:
        return name
    try:
        found = ctypes.cast(text, ctypes.c_char_p).value or b""
    finally:
        _free(text)
    return found.decode(errors="replace") + dot + suffix


@cache
def _function() -> ctypes._NamedFuncPointer | None:
    for name in _LIBRARIES:
        try:
            function = ctypes.CDLL(name).__cxa_demangle
        except (OSError, AttributeError):
            continue
        function.argtypes = [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_int)]
        function.restype = ctypes.c_void_p
        return function
    return None


def _free(address: int) -> None:
    free = ctypes.CDLL(None).free
    free.argtypes, free.restype = [ctypes.c_void_p], None
    free(address)

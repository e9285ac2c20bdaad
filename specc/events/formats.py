"""Formats of the table that say what a number or some bytes stand for: a value in, text for a person out.

errno_text(-11, "-11")                      # "-EAGAIN"
address_text("ipv4", b"\\x7f\\0\\0\\x01")        # "127.0.0.1"
duration_text(1_234_000)                    # "1.234ms"
size_text(1536)                             # "1.5KiB"
syscall_text(257), port_text(0xbb01)        # "openat", "443"
"""

from __future__ import annotations

import errno
from typing import Final

from specc.ir import ADDRESSES
from specc.prototype import CType, size_of

_MAX_ERRNO: Final = 4095  # include/linux/err.h

# Where an errno has two names, the one that the kernel's own code uses.
_USUAL: Final = {11: "EAGAIN", 35: "EDEADLK", 95: "EOPNOTSUPP"}
# include/linux/errno.h: what functions of the kernel return to one another, and no process sees.
_OF_THE_KERNEL: Final = {
    512: "ERESTARTSYS", 513: "ERESTARTNOINTR", 514: "ERESTARTNOHAND", 515: "ENOIOCTLCMD", 516: "ERESTART_RESTARTBLOCK",
    517: "EPROBE_DEFER", 518: "EOPENSTALE", 519: "ENOPARAM", 521: "EBADHANDLE", 522: "ENOTSYNC", 523: "EBADCOOKIE",
    524: "ENOTSUPP", 525: "ETOOSMALL", 526: "ESERVERFAULT", 527: "EBADTYPE", 528: "EJUKEBOX", 529: "EIOCBQUEUED",
    530: "ERECALLCONFLICT", 531: "ENOGRACE",
}  # fmt: skip
_SIZES: Final = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_UNITS: Final = ((10**9, "s"), (10**6, "ms"), (10**3, "us"))


def errno_text(value: int, size: int, plain: str) -> str:
    """A negative errno by name, also one in an unsigned number or in a pointer; else the value as it is shown `plain`."""
    signed = (value & (1 << 8 * size) - 1 ^ 1 << 8 * size - 1) - (1 << 8 * size - 1)
    if not -_MAX_ERRNO <= signed < 0:
        return plain
    name = _USUAL.get(-signed) or _OF_THE_KERNEL.get(-signed) or errno.errorcode.get(-signed)
    return f"-{name}" if name else str(signed)


def address_text(format_: str, raw: bytes) -> str:
    """An address as it is written, from its bytes in the order of the network."""
    match format_:
        case "ipv4":
            return ".".join(map(str, raw))
        case "ipv6":
            from ipaddress import IPv6Address  # RFC 5952, with the last four bytes of a mapped IPv4 address as such

            address = IPv6Address(raw)
            return f"::ffff:{address.ipv4_mapped}" if address.ipv4_mapped else str(address)
        case _:
            return raw.hex(":")


def shown_address(ctype: CType, format_: str | None, held: int) -> int | None:
    """How many bytes at the value are an address to show; None where the format is no address's, or the size another."""
    size = ADDRESSES.get(format_ or "")
    return size if size is not None and size == size_of(ctype) <= held else None


def duration_text(ns: int) -> str:
    """Nanoseconds with the largest unit that there is a whole one of; the rest is cut."""
    sign, ns = ("-", -ns) if ns < 0 else ("", ns)
    for size, unit in _UNITS:
        if ns >= size:
            return f"{sign}{ns // size}.{ns % size * 1000 // size:03d}{unit}"
    return f"{sign}{ns}ns"


def size_text(number: int) -> str:
    """Bytes with the largest unit that there is a whole one of, the rest cut; a negative number, which is no size, as it is."""
    if number < 1024:
        return f"{number}B" if number >= 0 else str(number)
    power = min((number.bit_length() - 1) // 10, len(_SIZES))
    unit = 1 << 10 * power
    tenth = number % unit * 10 // unit
    return f"{number // unit}{f'.{tenth}' if tenth else ''}{_SIZES[power - 1]}"


def syscall_text(number: int) -> str:
    """A system call's name by its number, as 64-bit processes make it; a number that none has, as it is."""
    from specc.events.syscalls import NAMES

    return NAMES.get(number) or str(number)


def port_text(value: int) -> str:
    """A port from two bytes in the order of the network, which an x86 number has in the other order."""
    return str((value & 0xFF) << 8 | value >> 8 & 0xFF)

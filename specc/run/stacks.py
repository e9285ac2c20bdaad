"""Stack traces of a running program: ids out of events in, frames by name out.

    stacks = open_stacks(session)               # while that is still allowed
    stacks["slow_read"]["kernel_stack"][7]      # ["vfs_read", "ksys_read+0x6b", ...]

What the kernel has of a stack is read when its id first comes. The map is looked at and never emptied: while an entry is
missing, another stack could get its id, and the events that are still to be read would mean that one.
"""

from __future__ import annotations

import errno
import re
import struct
from collections.abc import Iterator
from typing import Final

from specc.describe import ProbeDescription
from specc.events.stacks import Frame, Read, Stacks
from specc.ir import DEEPEST_STACK, Role
from specc.libbpf import LibbpfError
from specc.run.code_files import CodeFiles
from specc.run.kernel_target import TRACEPOINT, TRAMPOLINE_KINDS
from specc.run.session import Session
from specc.run.symbols import Symbols, kernel_has, open_symbols

_BUILD_ID: Final = struct.Struct("<i20sQ")  # struct bpf_stack_build_id
_EMPTY, _VALID = 0, 1  # enum bpf_stack_build_id_status; 2 is an address
_SIZES: Final = {"kernel_stack": DEEPEST_STACK * 8, "user_stack": DEEPEST_STACK * _BUILD_ID.size}
_PUSH_RBP, _ENDBR64 = b"\x55", b"\xf3\x0f\x1e\xfa"
# Where a return probe has put its own address in place of a function's return address.
_TRAMPOLINES: Final = frozenset(
    {"kretprobe_trampoline", "__kretprobe_trampoline", "arch_rethook_trampoline", "return_to_handler"}
)
_CALLS_TRAMPOLINE: Final = (5, 9)  # what the call returns to: it is first, or behind an endbr64
# include/trace/bpf_probe.h and include/linux/tracepoint.h: from a tracepoint to a program on it.
_CALLS_PROGRAMS: Final = re.compile(r"bpf_trace_run\d+|__bpf_trace_\w+|__traceiter_\w+")
_ENTRY_FIX: Final = "is_uprobe_at_func_entry"  # a function of kernels that have it
_KNOWS_ENDBR64: Final = "ibt_save"  # of kernels with CONFIG_X86_KERNEL_IBT, without which is_endbr() is always false
_CUT: Final = Frame(f"[at most {DEEPEST_STACK} frames]", f"[at most {DEEPEST_STACK} frames]")
_NO_CALLER: Final = Frame("[caller not recorded]", "[caller not recorded]")
_PERHAPS_NO_CALLER: Final = Frame("[caller perhaps not recorded]", "[caller perhaps not recorded]")


def open_stacks(session: Session) -> dict[str, dict[str, Stacks]]:
    """What knows the stack traces of a session, by probe and field."""
    maps = session.description.stack_maps
    if not maps:
        return {}
    symbols = open_symbols()
    files = CodeFiles(list(dict.fromkeys(p.path for p in session.places.values())))

    def raw(field: str, id: int) -> bytes:
        return session.library.lookup(session.thing.maps[maps[field]], id, _SIZES[field])

    def kernel(id: int) -> tuple[Frame, ...]:
        return tuple(kernel_frames(raw("kernel_stack", id), symbols))

    def user(id: int) -> tuple[Frame, ...]:
        return tuple(user_frames(raw("user_stack", id), files))

    plain = {"kernel_stack": Stacks(_telling(kernel)), "user_stack": Stacks(_telling(user))}
    behind_tracepoint = Stacks(_telling(lambda id: tuple(tracepoint_frames(raw("kernel_stack", id), symbols))))

    def marked(caller: Frame) -> Stacks:
        def read(id: int) -> tuple[Frame, ...]:
            frames = user(id)
            return (*frames[:1], caller, *frames[1:])

        return Stacks(_telling(read))

    without_caller = {caller: marked(caller) for caller in (_NO_CALLER, _PERHAPS_NO_CALLER)}

    def of(probe: ProbeDescription, field: str) -> Stacks:
        if field == "user_stack" and (caller := _missing_caller(probe, session)) is not None:
            return without_caller[caller]
        if field == "kernel_stack" and probe.kind in TRAMPOLINE_KINDS:
            function = probe.function or ""
            return Stacks(_telling(lambda id: tuple(trampoline_frames(raw(field, id), symbols, function))))
        if field == "kernel_stack" and probe.kind == TRACEPOINT:
            return behind_tracepoint
        return plain[field]

    return {
        p.name: {f.name: of(p, f.name) for f in p.event.fields if f.role is Role.STACK}
        for p in session.description.probes
    }


def _telling(read: Read) -> Read:
    """The same, or what kept the frames from being read: an event has come, and it is shown."""

    def told(id: int) -> tuple[Frame, ...]:
        try:
            return read(id)
        except LibbpfError as problem:
            text = f"[no frames of stack {id}: {errno.errorcode.get(problem.errno, problem.errno)}]"
            return (Frame(text, text),)

    return told


def kernel_frames(raw: bytes, symbols: Symbols | None, *, called: bool = True) -> Iterator[Frame]:
    """What the kernel's map has of one of its own stacks, by name. The first address is where the probe is when that was
    `called`; each other one is what a call returns to."""
    for number, address in enumerate(_addresses(raw)):
        yield _kernel_frame(address, symbols, returned=number > 0 or not called)
    if len(_addresses(raw)) == DEEPEST_STACK:
        yield _CUT


def trampoline_frames(raw: bytes, symbols: Symbols | None, function: str) -> Iterator[Frame]:
    """The same for a program on a BPF trampoline: its first frame is the trampoline's. The second is the function, which
    has called it from its first bytes; or, where the call was made a jump (on 7.2), already the function's caller."""
    addresses = _addresses(raw)
    places = [symbols.find(a) if symbols is not None else None for a in addresses[:2]]
    first = 1 if addresses and (places[0] is None or places[0][2] == "[bpf]") else 0
    beyond = places[first] if first < len(places) else None
    yield Frame(function, function)
    if beyond is not None and beyond[0] == function and beyond[1] in _CALLS_TRAMPOLINE:
        first += 1
    rest = b"".join(a.to_bytes(8, "little") for a in addresses[first:])
    yield from kernel_frames(rest, symbols, called=False)
    if first and len(addresses) == DEEPEST_STACK:
        yield _CUT


def _addresses(raw: bytes) -> list[int]:
    addresses = [address for (address,) in struct.iter_unpack("<Q", raw)]
    return addresses[: addresses.index(0)] if 0 in addresses else addresses


def tracepoint_frames(raw: bytes, symbols: Symbols | None) -> Iterator[Frame]:
    """The same for a program on a tracepoint, from the code that came to the tracepoint: what lies between is the kernel's
    way of calling programs."""
    addresses = _addresses(raw)
    first = 0
    for address in addresses:
        found = symbols.find(address) if symbols is not None else None
        if found is None or not (found[2] == "[bpf]" or _CALLS_PROGRAMS.fullmatch(found[0])):
            break
        first += 1
    rest = b"".join(a.to_bytes(8, "little") for a in addresses[first:])
    yield from kernel_frames(rest, symbols, called=False)
    if first and len(addresses) == DEEPEST_STACK:
        yield _CUT


def _kernel_frame(address: int, symbols: Symbols | None, *, returned: bool) -> Frame:
    found = symbols.find(address) if symbols is not None else None
    if returned and found is not None and not found[1] and found[0] not in _TRAMPOLINES and symbols is not None:
        # The next function's first byte follows a call that does not return: that was running.
        before = symbols.find(address - 1)
        found = (before[0], before[1] + 1, before[2]) if before is not None else None
    if found is None:
        return Frame(f"{address:#x}", f"{address:#x}")
    name, offset, module = found
    text = f"{name}+{offset:#x}" if offset else name
    return Frame(f"{text} {module}" if module else text, name)


def user_frames(raw: bytes, files: CodeFiles) -> Iterator[Frame]:
    """What the kernel's map has of a process's stack: build ids and places in files; an address where it had no more."""
    for number, (status, build, place) in enumerate(_BUILD_ID.iter_unpack(raw)):
        if status == _EMPTY:
            return
        if status == _VALID:
            # A frame pointer that was none leads anywhere; the kernel gives an address that is in no file the build id
            # of the next one in memory.
            yield files.frame(build.hex(), place, returned=number > 0)
        else:
            yield Frame(f"{place:#x}", f"{place:#x}")
    yield _CUT


# --- the caller of a function that a uprobe is on ---------------------------------------------------------------------


def _missing_caller(probe: ProbeDescription, session: Session) -> Frame | None:
    """What stands for the caller at this probe, where the kernel leaves it out. Frame pointers lead to it from within a
    function only; at its first instruction the kernel must take it from the stack, and since Linux 6.12 it does, where
    that instruction is `push %rbp`, or `endbr64` and the kernel was built to know it. Some kernels before that do, which
    nothing of them tells."""
    target, place = probe.target, session.places.get(probe.name)
    if probe.kind != "uprobe" or target is None or place is None or target.symbol is None or target.offset:
        return None
    with open(place.path, "rb") as file:
        file.seek(place.offset)
        first = file.read(len(_ENDBR64))
    if first[:1] != _PUSH_RBP and first != _ENDBR64:
        return _NO_CALLER
    if not kernel_has(_ENTRY_FIX):
        return _PERHAPS_NO_CALLER
    return None if first[:1] == _PUSH_RBP or kernel_has(_KNOWS_ENDBR64) else _NO_CALLER

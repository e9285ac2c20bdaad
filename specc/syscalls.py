"""System calls: their declarations from tracepoint formats, and where their arguments are.

    declaration("openat", where)      # "long openat(int dfd, const char *filename, int flags, umode_t mode);"
    place_syscall(prototype)          # a Placement; the registers are those that the process came with

The kernel's own interface differs from the function-call sequence in one register: psABI A.2.1, "the kernel interface
uses %rdi, %rsi, %rdx, %r10, %r8 and %r9". Since Linux 4.17 a system call's function is a wrapper, `__x64_sys_NAME`,
whose single argument points to a struct pt_regs with them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from specc.diagnostics import Location, did_you_mean, stop
from specc.noun import replace
from specc.place import Argument, Piece, Placement, Result
from specc.prototype import LONG, BitInt, Enum, Int, Pointer, Prototype, align_of, bare, decay, size_of, spell

REGISTERS: Final = ("rdi", "rsi", "rdx", "r10", "r8", "r9")
TRACEFS: Final = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))

_FIELD = re.compile(r"^\tfield:(?P<type>.*?)(?P<name>\w+);\toffset:\d+;\tsize:8;", re.MULTILINE)


def as_syscall(prototype: Prototype) -> Prototype:
    """The declaration as the kernel has it: whatever the C library's says, a system call returns a long."""
    return replace(prototype, result=LONG)


def place_syscall(prototype: Prototype) -> Placement:
    """Where a system call's arguments are. Each has a register of its own; nothing is on the stack."""
    arguments: list[Argument] = []
    for number, parameter in enumerate(prototype.parameters):
        ctype = decay(parameter.type)
        size, kind = size_of(ctype), bare(ctype)
        reason = ""
        if number >= len(REGISTERS):
            reason = "a system call has six arguments at the most"
        elif not isinstance(kind, Int | Enum | Pointer | BitInt) or size > 8:
            reason = f"a system call has no argument of type `{spell(parameter.type)}`"
        pieces = () if reason else (Piece(0, size, REGISTERS[number]),)
        arguments.append(Argument(parameter.name, ctype, size, align_of(ctype), "INTEGER", not reason, reason, pieces))
    result = Result(LONG, 8, "INTEGER", True, "", (Piece(0, 8, "rax"),))
    return Placement(tuple(arguments), None, result)


def declaration(name: str, where: Location | None) -> str:
    """The C declaration of a system call, from the tracepoint that the running kernel has for it. Raises Stop."""
    events = next((t / "events" / "syscalls" for t in TRACEFS if (t / "events" / "syscalls").is_dir()), None)
    if events is None:
        raise stop(
            "SP221",
            f"no declaration of the system call `{name}`: this machine shows no tracepoint formats",
            where,
            help="give a `prototype:`, or, as root, `mount -t tracefs tracefs /sys/kernel/tracing`",
        )
    try:
        text = (events / f"sys_enter_{name}" / "format").read_text(encoding="utf-8")
    except OSError as e:
        known = [p.name.removeprefix("sys_enter_") for p in events.glob("sys_enter_*")]
        raise stop(
            "SP222",
            f"the running kernel has no system call `{name}` ({e.strerror})",
            where,
            help=did_you_mean(name, known) or "give a `prototype:` if it has one without a tracepoint",
        ) from None
    return declaration_of(name, text)


def declaration_of(name: str, text: str) -> str:
    """The declaration that a format file tells: after the common fields and the number, a field per argument."""
    fields = [(m["type"].strip(), m["name"]) for m in _FIELD.finditer(text) if m["name"] != "__syscall_nr"]
    return f"long {name}({', '.join(f'{ctype} {field}' for ctype, field in fields) or 'void'});"

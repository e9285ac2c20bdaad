"""System calls: declarations out of tracepoint formats, and the registers that the kernel's interface uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from specc import syscalls
from specc.diagnostics import Location, Stop
from specc.headers import parse_declaration
from specc.prototype import LONG, spell_prototype
from specc.syscalls import declaration, declaration_of, place_syscall

HERE = Location("the test")

# As Linux 6.1 prints it.
OPENAT = """name: sys_enter_openat
ID: 701
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:int __syscall_nr;\toffset:8;\tsize:4;\tsigned:1;
\tfield:int dfd;\toffset:16;\tsize:8;\tsigned:0;
\tfield:const char * filename;\toffset:24;\tsize:8;\tsigned:0;
\tfield:int flags;\toffset:32;\tsize:8;\tsigned:0;
\tfield:umode_t mode;\toffset:40;\tsize:8;\tsigned:0;

print fmt: "dfd: 0x%08lx, filename: 0x%08lx, flags: 0x%08lx, mode: 0x%08lx"
"""
GETPID = OPENAT.partition("\tfield:int dfd")[0]


def test_format() -> None:
    text = declaration_of("openat", OPENAT)
    assert text == "long openat(int dfd, const char * filename, int flags, umode_t mode);"
    prototype = parse_declaration(text, None, HERE)
    assert spell_prototype(prototype) == "long openat(int dfd, const char *filename, int flags, umode_t mode)"
    assert declaration_of("getpid", GETPID) == "long getpid(void);"


def test_registers() -> None:
    text = "int f(int a, char *b, unsigned c, long d, unsigned short e, signed char g)"
    placed = place_syscall(parse_declaration(text, None, HERE))
    places = [(a.name, a.readable, p.where, p.size) for a in placed.arguments for p in a.pieces]
    # psABI A.2.1: %rdi, %rsi, %rdx, %r10, %r8 and %r9.
    assert places == [
        ("a", True, "rdi", 4),
        ("b", True, "rsi", 8),
        ("c", True, "rdx", 4),
        ("d", True, "r10", 8),
        ("e", True, "r8", 2),
        ("g", True, "r9", 1),
    ]
    assert placed.result.type == LONG


def test_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syscalls, "TRACEFS", (tmp_path / "no", tmp_path))
    with pytest.raises(Stop) as problem:
        declaration("openat", None)
    assert problem.value.diagnostic.code == "SP221"
    folder = tmp_path / "events" / "syscalls" / "sys_enter_openat"
    folder.mkdir(parents=True)
    (folder / "format").write_text(OPENAT)
    assert declaration("openat", None) == declaration_of("openat", OPENAT)
    with pytest.raises(Stop) as problem:
        declaration("opneat", None)
    found = problem.value.diagnostic
    assert (found.code, found.help) == ("SP222", "did you mean `openat`?")

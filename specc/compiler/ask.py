"""Ask a program whether it is a C compiler with a BPF target, and which: it compiles an empty file.

In: a program's path.  Out: kind, version and version line, or `Unfit`, which says why it will not do.

    ask("/usr/bin/clang")       # ("clang", "14.0.6", "Debian clang version 14.0.6")
    begin("/usr/bin/clang")     # the same, and the answer is waited for when `ask` is called

Processes are started here only, and what they say is kept out of the messages but for its first error.
"""

from __future__ import annotations

import os
from subprocess import DEVNULL, PIPE, STDOUT, Popen, TimeoutExpired

from specc.compiler import BPF_FLAGS, environment, major

OLDEST = 14
_PROBE_SECONDS = 60.0
INSTALL = f"pip install 'specc[zig]' (needs no root), or install clang {OLDEST} or newer (`apt install clang`)"


class Unfit:
    """Why a program is not a compiler for us."""

    def __init__(self, code: str, message: str, *notes: str, help: str) -> None:
        self.code = code
        self.message = message
        self.notes = notes
        self.help = help


def ask(path: str) -> tuple[str, str, str] | Unfit:
    """Kind, version and version line of a program that compiles an empty file for BPF."""
    answers: list[str] = []
    for kind in _kinds(path):
        code, text = _answer(path, kind)
        line = _version_line(text)
        if line is None:  # a wrapper may keep what -v says to itself
            asked, said = _run([*_start(path, kind), "--version"])
            line = _version_line(said) if asked == 0 else None
            if line is None:
                answers.append(said)
                continue
        version = line.partition("clang version ")[2].split()[0]
        if major(version) < OLDEST:
            return Unfit(
                "SP403",
                f"is clang {version}, and specc needs {OLDEST} or newer",
                f"clang {OLDEST} is the oldest that specc is tested with",
                help=INSTALL,
            )
        if code != 0:
            if "No available targets" in text or "unknown target triple" in text:
                return Unfit("SP404", "has no BPF target", *_head(text), help=INSTALL)
            return Unfit("SP404", "cannot compile an empty file for BPF", *_head(text.partition(line)[2]), help=INSTALL)
        return kind, version, line
    return Unfit("SP405", "is not clang, nor zig", *_head(answers[0]), help=INSTALL)


def _kinds(path: str) -> tuple[str, str]:
    """A program by the name of zig is asked as zig first; others too when they do not answer as clang."""
    return ("zig", "clang") if os.path.basename(path).startswith("zig") else ("clang", "zig")


def _start(path: str, kind: str) -> list[str]:
    return [path, "clang"] if kind == "zig" else [path]


def _version_line(text: str) -> str | None:
    return next((x for x in text.splitlines() if "clang version " in x), None)


def _question(path: str, kind: str) -> list[str]:
    """One run that tells the version and whether an empty file can be compiled: with -v, clang says first who it is."""
    return [*_start(path, kind), *BPF_FLAGS, "-v", "-S", "-x", "c", "-o", "-", "/dev/null"]


# Compilers that were asked ahead by `begin`, and whose answer nobody has looked at yet.
_begun: dict[str, Popen[bytes]] = {}


def begin(path: str) -> None:
    """Start to ask, unless that was done; a program that does not start tells why when it is asked."""
    if path not in _begun:
        try:
            _begun[path] = _open(_question(path, _kinds(path)[0]))
        except OSError:
            return


def _answer(path: str, kind: str) -> tuple[int, str]:
    process = _begun.pop(path, None) if kind == _kinds(path)[0] else None
    return _run(_question(path, kind)) if process is None else _ended(process)


def _run(argv: list[str]) -> tuple[int, str]:
    """Exit code and all output of a short-lived program; a failure to start or to end is a code and a text too."""
    try:
        process = _open(argv)
    except OSError as e:
        return 1, f"it does not start: {e.strerror}"
    return _ended(process)


def _open(argv: list[str]) -> Popen[bytes]:
    return Popen(argv, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, env=environment())


def _ended(process: Popen[bytes]) -> tuple[int, str]:
    try:
        said, _ = process.communicate(timeout=_PROBE_SECONDS)
    except TimeoutExpired:
        return 1, f"it did not end within {_PROBE_SECONDS:.0f} s"
    finally:  # Ctrl-C too
        if process.returncode is None:
            process.kill()
            process.wait()
    return process.returncode, said.decode("utf-8", "replace")


def _head(text: str) -> list[str]:
    """What a program said, as a note: its first error, else its first line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    chosen = next((line for line in lines if "error:" in line), lines[0] if lines else None)
    return [] if chosen is None else [f"it said: {chosen[:200]}"]

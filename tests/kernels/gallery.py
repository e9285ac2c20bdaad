"""The specs of specs/, each built once and run on every kernel, and what they must have shown.

In: a directory.  Out: `Gallery`, with objects of both compilers, and the runs for a kernel.

    made = build_gallery(Path("/tmp/x"))
    made.runs("6.12")                    # [{"name": "gallery-gup", "arguments": ["run", "/tmp/x/zig/gup.bpf.o", ...}, ...]

Of each spec one compiler's object is run with its triggers; the other's is loaded and attached. The specs say themselves
which kernels they are for, so nothing here knows the kernel's BTF.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bpf_code import functions
from command import ROOT, specc

COMPILERS: Final = ("clang", "zig")


@dataclass(frozen=True, slots=True)
class Entry:
    """A spec, the triggers that it must show, and the words with which a kernel refuses it."""

    spec: str
    triggers: tuple[str, ...]
    refused: Mapping[str, str] = field(default_factory=dict)
    program: str = ""  # instead of the usual triggers


_OTHER: Final = "is declared differently in the running kernel"
GALLERY: Final = (
    Entry("chowns", ("chowns",)),
    Entry("connects", ("connects",)),
    Entry("failing", ("failing",)),
    Entry("files", ("memory",)),
    Entry("futex", ("futex",)),
    Entry("gup", ("mlock",)),
    # The 4.18 that it is for has one argument more than any of these.
    Entry("gup_4_18", (), dict.fromkeys(("5.10", "6.1", "6.12", "7.2"), _OTHER)),
    Entry("opens", ("opens",)),
    Entry("pins", ("mlock", "vmread")),
    Entry("pins_6_1", ("mlock", "vmread")),
    Entry("reads", ("reads",)),
    Entry("rtc", ("rtc",)),
    Entry("sockopt", ("setsockopt", "getsockopt")),
    Entry("tls", ("tls",), program="tls"),
)
# These are not for a kernel: they are run on the machine's own (live/test_live_gallery.py).
OF_NO_KERNEL: Final = ("eight",)


@dataclass(frozen=True, slots=True)
class Gallery:
    """`stacks` has for each object's path what the code of each program takes of the stack. `lacking` says which programs
    of triggers there are not, and why."""

    folder: Path
    stacks: Mapping[str, Mapping[str, int]]
    lacking: Mapping[str, str]

    def object_of(self, spec: str, compiler: str) -> Path:
        return self.folder / compiler / f"{spec}.bpf.o"

    def runs(self, series: str) -> list[dict[str, Any]]:
        runs: list[dict[str, Any]] = []
        for number, entry in enumerate(GALLERY):
            run, load = (COMPILERS[number % 2], COMPILERS[1 - number % 2])
            options: dict[str, Any] = {"triggers": list(entry.triggers)}
            if entry.program:
                if entry.program in self.lacking:
                    continue
                options["program"] = str(self.folder / entry.program)
            dry = ["run", str(self.object_of(entry.spec, load)), "-v", "--dry-run", "--output-format", "concise"]
            runs.append({"name": f"gallery-{entry.spec}-{load}", "arguments": dry})
            if series not in entry.refused:
                what = ["run", str(self.object_of(entry.spec, run)), "-v", "--format", "jsonl", "--pid", "{pid}"]
                runs.append({"name": f"gallery-{entry.spec}", "arguments": what, **options})
        return runs


def build_gallery(folder: Path) -> Gallery:
    """Raises AssertionError when a spec does not build."""
    folder.mkdir(exist_ok=True)
    for compiler in COMPILERS:
        built = specc("build", "specs", "-o", folder / compiler, "--emit", "obj", "--compiler", compiler, cwd=ROOT)
        assert built.code == 0, built.err
    objects = [folder / compiler / f"{entry.spec}.bpf.o" for compiler in COMPILERS for entry in GALLERY]
    stacks = {str(path): {f.name: f.stack for f in functions(path.read_bytes())} for path in objects}
    return Gallery(folder, stacks, compile_tls(folder / "tls"))


def compile_tls(program: Path) -> dict[str, str]:
    """A program that writes to a TLS connection; what is lacking where it cannot be compiled."""
    source = Path(__file__).with_name("tls.c")
    argv = ["gcc", "-O2", "-o", str(program), str(source), "-lssl", "-lcrypto"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired) as problem:
        return {"tls": f"gcc: {problem}"}
    if done.returncode != 0:
        return {"tls": f"gcc does not compile {source.name}: {done.stderr.strip().splitlines()[0]}"}
    return {}

"""What live tests need of the machine, programs of C, and specs that probe them.

program = compile_c(tmp_path / "p", "int f(int a) { return a; } ...")
with running(spec_text, tmp_path) as probe: ...
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest


def missing() -> str:
    """Why live tests cannot run here; empty when they can."""
    if os.geteuid() != 0:
        return "it needs root"
    if shutil.which("gcc") is None and shutil.which("clang") is None:
        return "it needs a C compiler for the host"
    from specc.diagnostics import Stop
    from specc.libbpf import Library
    from specc.run.kernel_target import has_probes

    if not has_probes("uprobe"):
        return "this kernel has no uprobes"
    try:
        with Library() as library:
            if not library.has_program_type("kprobe"):
                return "this kernel loads no programs for probes"
    except Stop as problem:
        return problem.diagnostic.message
    return ""


WHY_NOT = missing()
live = pytest.mark.skipif(bool(WHY_NOT), reason=f"live tests: {WHY_NOT}")

HOST_COMPILER = shutil.which("gcc") or shutil.which("clang") or "cc"


def compile_c(path: Path, *sources: str, flags: Sequence[str] = ("-O2",), compiler: str = HOST_COMPILER) -> Path:
    """A program; each source is a translation unit of its own. Assembler begins with `#asm`."""
    files: list[str] = []
    for number, text in enumerate(sources):
        suffix = ".S" if text.startswith("#asm") else ".c"
        file = path.with_name(f"{path.name}_{number}{suffix}")
        file.write_text(text.removeprefix("#asm"))
        files.append(str(file))
    command = [compiler, "-w", "-std=gnu11", *flags, *files, "-o", str(path), "-lpthread"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:4000]
    return path

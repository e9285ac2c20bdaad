"""The specs of specs/ that are for no kernel, on this machine's own: programs that are probed know what they pass."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from command import ROOT, environment
from kernels.gallery import compile_tls

from .build import HOST_COMPILER, live


def watched(spec: str, compiler: str, program: Sequence[str | Path], said: str, cwd: Path) -> tuple[list[dict[str, object]], str, str]:  # fmt: skip
    """What `specc run` records while a program is run; what the program says; the last line of stderr."""
    run = subprocess.Popen(
        [sys.executable, "-m", "specc", "run", ROOT / "specs" / spec, "--format", "jsonl", "--compiler", compiler],
        cwd=cwd, env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert run.stderr is not None
    for line in run.stderr:
        if line.startswith("attached "):
            break
    process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    answer, _ = process.communicate(said, 60)
    assert process.returncode == 0
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=60)
    events = [json.loads(line) for line in out.splitlines()]
    return [e for e in events if e["pid"] == process.pid], answer, err.splitlines()[-1]


@live
@pytest.mark.parametrize("compiler", ["clang", "zig"])
def test_tls(compiler: str, tmp_path: Path) -> None:
    if lacking := compile_tls(tmp_path / "tls"):
        pytest.skip(lacking["tls"])
    events, answer, _ = watched("tls.yaml", compiler, [tmp_path / "tls"], "tls\n", tmp_path)
    first, second = b"GET /secret HTTP/1.1\r\nHost: example.org\r\n", b"password=correct horse"
    assert json.loads(answer) == {"do": "tls", "first": len(first), "second": len(second)}
    assert {e["comm"] for e in events} == {"tls"} and len({e["ssl"] for e in events}) == 1
    assert [[e["probe"], e.get("buf"), e["num"], e.get("return")] for e in events] == [
        ["write", first.hex(), len(first), None],
        ["written", None, len(first), len(first)],
        ["write_ex", second.hex(), len(second), None],
    ]


@live
@pytest.mark.parametrize("compiler", ["clang", "zig"])
def test_eight(compiler: str, tmp_path: Path) -> None:
    """What the events show is what the program prints."""
    program = tmp_path / "build/demo/eight"  # where the spec says, from where it is run
    program.parent.mkdir(parents=True)
    subprocess.run([HOST_COMPILER, "-O1", "-o", program, ROOT / "specs/programs/eight.c"], check=True)
    events, answer, last = watched("eight.yaml", compiler, [program], "", tmp_path)
    assert last == f"received {len(events)}, lost 0"
    entries, returns = ([e for e in events if e["probe"] == name] for name in ("eight", "eight_done"))
    passed = [
        [-i, i % 2 == 1, 0x123456789A * i, {"x": 10 * i, "y": 1000 * i}, 40000 + i, -i, 1 << 40 + i] for i in (1, 2, 3)
    ]
    assert [[e[name] for name in "abcdefg"] for e in entries] == passed
    assert len({e["h"] for e in entries}) == 1
    results = [f"eight() = {e['return']}" for e in returns]
    assert results == answer.splitlines()
    assert [[e["a"], e["g"]] for e in returns] == [[call[0], call[6]] for call in passed]

"""Standard streams that are closed or full, and signals that end a command: nothing is printed where it does not belong,
nothing hangs, nothing is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command import PATIENCE, environment

SPEC = """specc: 1
name: s
probes:
  - uprobe: {path: /nowhere/program, symbol: main}
    prototype: "int main(int number)"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "s.yaml").write_text(SPEC)
    return tmp_path


def shell(command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", command.replace("specc", f'"{sys.executable}" -m specc')],
        cwd=cwd, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip


LOST = "specc: cannot write the output: Bad file descriptor\n"


@pytest.mark.parametrize(
    ("command", "code", "out", "err"),
    [
        ("specc check s.yaml >&-", 0, "", "1 spec checked, nothing wrong\n"),
        ("specc check s.yaml --output-format json >&-", 3, "", LOST),
        ("specc show s.yaml >&-", 3, "", LOST),
        ("specc --version >&-", 3, "", LOST),
        ("specc check --output-format concise nope.yaml 2>&-", 1, "", ""),
        ("specc check --output-format concise s.yaml 2>&-", 0, "", ""),
        ("specc bild 2>&-", 2, "", ""),
        ("specc check s.yaml <&- >&- 2>&-", 0, "", ""),
        ("specc check s.yaml 2>/dev/full", 0, "", ""),
        ("specc check nope.yaml 2>/dev/full", 1, "", ""),
        ("specc build --emit c s.yaml 2>&-; ls generated", 0, "s.bpf.c\n", ""),
        ("specc build --emit c s.yaml 2>/dev/full && ls generated", 0, "s.bpf.c\n", ""),
        # Messages never get to where the product goes.
        ("specc show s.yaml --format json 2>&- | head -c 1", 0, "{", ""),
    ],
)
def test_closed_and_full_streams(command: str, code: int, out: str, err: str, project: Path) -> None:
    done = shell(command, project)
    assert (done.returncode, done.stdout, done.stderr) == (code, out, err)


def test_a_reader_of_messages_that_goes_stops_nothing(project: Path) -> None:
    for name in "abc":
        (project / f"{name}.yaml").write_text(SPEC.replace("name: s", f"name: {name}"))
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(
        [sys.executable, "-m", "specc", "build", "--emit", "c", "."],
        cwd=project, env=environment(), stderr=theirs, timeout=PATIENCE, check=False,
    )  # fmt: skip
    os.close(theirs)
    assert done.returncode == 0
    assert sorted(os.listdir(project / "generated")) == ["a.bpf.c", "b.bpf.c", "c.bpf.c", "s.bpf.c"]


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_nothing(sent: signal.Signals, project: Path) -> None:
    """It ends specc as it ends any program, but for what specc made for itself."""
    fake, scratch = project / "clang", project / "scratch"
    scratch.mkdir()
    fake.write_text(
        '#!/bin/sh\ncase " $* " in\n'
        f'*" -c "*) [ -n "$(cat)" ] && exit 0; echo $$ >"{project}/started"; exec sleep 600;;\n'
        '*--version*) echo "clang version 14.0.6";;\nesac\n'
    )
    fake.chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, "-m", "specc", "build", "--compiler", str(fake), "s.yaml"],
        cwd=project, env=environment(TMPDIR=str(scratch), SPECC_CACHE_DIR=str(project / "cache")),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    started = project / "started"
    deadline = time.monotonic() + PATIENCE
    while not (started.exists() and started.read_text().strip()) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    assert len(list(scratch.iterdir())) == 1
    process.send_signal(sent)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, err) == (-sent, "", "")
    assert list(scratch.iterdir()) == []
    assert not (project / "generated").exists()

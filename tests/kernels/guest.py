"""Runs inside a virtual machine: each run of a plan, one after the other.

In: a plan's file (see `plan`).  Out: a line of JSON per run on stdout: what specc wrote, what the triggers know, what was
left in the kernel afterwards.

Python starts slowly under emulation, so specc is imported once, and each run of it is a fork.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

TRACING: Final = Path("/sys/kernel/tracing")
# Where a probe would show: kprobes; functions with a trampoline or an ftrace-based kprobe; events made through tracefs.
PLACES: Final = {
    "kprobes": Path("/sys/kernel/debug/kprobes/list"),
    "enabled_functions": TRACING / "enabled_functions",
    "kprobe_events": TRACING / "kprobe_events",
    "uprobe_events": TRACING / "uprobe_events",
}
BREAKPOINT: Final = 0xCC


def left() -> dict[str, str]:
    """What is attached; {} when nothing is."""
    found = {name: path.read_text().strip() for name, path in PLACES.items() if path.exists()}
    return {name: text for name, text in found.items() if text}


def settled(patience: float = 5.0) -> dict[str, str]:
    """`left` after the kernel had time to take away what it takes away later."""
    until = time.monotonic() + patience
    while (found := left()) and time.monotonic() < until:
        time.sleep(0.05)
    return found


class Trigger:
    """The program that calls the functions; it waits for commands."""

    def __init__(self, program: str) -> None:
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self.process.pid

    def do(self, name: str) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{name}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            return {"do": name, "error": f"the trigger ended with {self.process.wait()}"}
        facts: dict[str, Any] = json.loads(line)
        return facts

    def end(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Specc:
    """`specc ARGUMENTS` in a fork (or, for `own`, in a process of its own); stderr can be waited for line by line."""

    def __init__(self, arguments: Sequence[str], output: Path, *, own: bool) -> None:
        self.said = b""
        self.code: int | None = None
        self._stderr, write = os.pipe()
        out = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        if own:
            command = [sys.executable, "-m", "specc", *arguments]
            self.pid = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=write).pid
        else:
            self.pid = os.fork()
            if self.pid == 0:
                _child(arguments, out, write)
        os.close(write)
        os.close(out)

    def wait_for(self, line: bytes | None, patience: float) -> bool:
        """Read stderr until a line begins as `line` says (True), or it is closed or time is up (False)."""
        until = time.monotonic() + patience
        while line is None or not re.search(b"^" + line, self.said, re.MULTILINE):
            rest = until - time.monotonic()
            if rest <= 0 or not select.select([self._stderr], [], [], rest)[0]:
                return False
            data = os.read(self._stderr, 65536)
            if not data:
                return False
            self.said += data
        return True

    def kill(self, number: int) -> None:
        os.kill(self.pid, number)

    def end(self, patience: float) -> None:
        """Wait for its end; a run that hangs is killed, and its code is -9."""
        self.wait_for(None, patience)
        until = time.monotonic() + 1
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > until:
                os.kill(self.pid, signal.SIGKILL)
                _, status = os.waitpid(self.pid, 0)
                break
            time.sleep(0.005)
        self.code = os.waitstatus_to_exitcode(status)
        os.close(self._stderr)


def _child(arguments: Sequence[str], out: int, err: int) -> NoReturn:
    code = 70
    try:
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.closerange(3, 256)  # among them the trigger's input, which must end when its one writer closes it
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", 1, encoding="utf-8", closefd=False)  # noqa: SIM115
        from specc.cli import main

        code = main(list(arguments))
        sys.stdout.flush()
    except SystemExit as problem:
        code = problem.code if isinstance(problem.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def perform(run: dict[str, Any], triggers: str, folder: Path) -> dict[str, Any]:
    """One run of specc with its triggers."""
    started = time.monotonic()
    for module in run.get("modules", ()):
        subprocess.run(["modprobe", module], check=True, capture_output=True)
    output = folder / f"{run['name']}.out"
    trigger = Trigger(run.get("program", triggers))
    if "cgroup" in run:
        put_into_cgroup(run["cgroup"], trigger.pid)
    arguments = [word.replace("{pid}", str(trigger.pid)) for word in run["arguments"]]
    specc = Specc(arguments, output, own=run.get("own", False))
    attached = specc.wait_for(rb"attached \d", run.get("patience", 60.0))
    ready = time.monotonic() - started
    facts = [trigger.do(name) for name in run.get("triggers", ())] if attached else []
    result: dict[str, Any] = {"name": run["name"], "attached": attached, "facts": facts}
    match run.get("end", "interrupt"):
        case "process":
            trigger.end()  # --pid ends with its process
        case "kill":
            specc.kill(signal.SIGKILL)
        case "interrupt" if attached and "--dry-run" not in arguments:
            specc.kill(signal.SIGINT)
    specc.end(60.0)
    trigger.end()
    remains = settled(0.3 if run.get("end") == "kill" else 5.0)
    fresh = Trigger(triggers)
    if fresh.do("firstbyte").get("byte") == BREAKPOINT:
        remains["uprobes"] = "a new process of the probed program has a breakpoint in the probed function"
    fresh.end()
    result |= {
        "pid": trigger.pid, "code": specc.code, "err": specc.said.decode(errors="replace"),
        "out": output.read_text(errors="replace"), "left": remains,
        "ready": ready, "seconds": time.monotonic() - started,
    }  # fmt: skip
    output.unlink()
    if run.get("sum"):
        result["sum"] = hashlib.sha256(Path(arguments[1]).read_bytes()).hexdigest()
    return result


def put_into_cgroup(name: str, pid: int) -> None:
    """Move a process into a cgroup, which has another one below it."""
    mount = Path("/dev/shm/cgroups")
    if not mount.exists():
        mount.mkdir()
        subprocess.run(["mount", "-t", "cgroup2", "none", mount], check=True)
    (mount / name / "other").mkdir(parents=True, exist_ok=True)
    (mount / name / "cgroup.procs").write_text(str(pid))


def command(run: dict[str, Any]) -> dict[str, Any]:
    """Another loader. What it pinned is taken away again."""
    started = time.monotonic()
    done = subprocess.run(run["command"], capture_output=True, text=True, check=False)
    shutil.rmtree(run["pins"], ignore_errors=True)
    return {
        "name": run["name"], "code": done.returncode, "out": done.stdout, "err": done.stderr, "left": settled(),
        "seconds": time.monotonic() - started,
    }  # fmt: skip


def main(path: str) -> None:
    plan = json.loads(Path(path).read_text())
    folder = Path("/dev/shm/specc-kernels")
    folder.mkdir()
    # What each fork would import again.
    import specc.buffers
    import specc.cli
    import specc.commands.run
    import specc.events
    import specc.run.open
    import specc.run.stream  # noqa: F401

    for run in plan["runs"]:
        try:
            result = command(run) if "command" in run else perform(run, plan["triggers"], folder)
        except Exception:
            result = {"name": run["name"], "broken": traceback.format_exc()}
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])

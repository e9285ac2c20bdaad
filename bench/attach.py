"""How long it takes from the command to the probe: `python bench/attach.py [--rounds N]`, as root. Prints a markdown table.

The same uprobe, on a function of a sleeping process, by specc, bpftrace and bcc in turn, A B C A B C ... What is waited
for is the same for all, whatever they print: the breakpoint in that process's memory. Medians; each tool is stopped, and
the breakpoint gone, before the next one starts. What is not here, or does not work here, is named and left out.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from specc.elf import file_offset, read_elf, symbols  # noqa: E402  (the path must be set first)

PATIENCE = 30.0
TARGET = """
#include <stdio.h>
__attribute__((noinline, noipa)) long probed(long a, long b, long c, long d, long e, long f, long g)
{ __asm__ volatile("" ::: "memory"); return a + g; }
int main(void) { puts("ready"); fflush(stdout); getchar(); return probed(1, 2, 3, 4, 5, 6, 7); }
"""
SPEC = """\
specc: 1
name: attach
fields: [timestamp, pid]
probes:
  - uprobe: {path: TARGET, symbol: probed}
    prototype: "long probed(long a, long b, long c, long d, long e, long f, long g)"
    args: [a, g]
"""
BPFTRACE = 'uprobe:TARGET:probed { printf("%llu %d %ld %ld\\n", nsecs, pid, arg0, sarg0); }'
BCC = r"""
import sys
from bcc import BPF
b = BPF(text='''
#include <uapi/linux/ptrace.h>
struct event { u64 time; u32 pid; u64 a, g; };
BPF_PERF_OUTPUT(events);
int hit(struct pt_regs *ctx)
{
	struct event e = {.time = bpf_ktime_get_ns(), .pid = bpf_get_current_pid_tgid() >> 32, .a = PT_REGS_PARM1(ctx)};
	bpf_probe_read_user(&e.g, 8, (void *)(ctx->sp + 8));
	events.perf_submit(ctx, &e, sizeof(e));
	return 0;
}
''')
b.attach_uprobe(name=sys.argv[1], sym="probed", fn_name="hit")
b["events"].open_perf_buffer(lambda cpu, data, size: print(b["events"].event(data).a))
while True:
    b.perf_buffer_poll()
"""
# Where the kernel has no headers of its own, bcc is shown those of another one, as a file system of its own has them.
HEADERS = """
mount -t tmpfs tmpfs /lib/modules && mkdir "/lib/modules/$(uname -r)" &&
ln -s "$1" "/lib/modules/$(uname -r)/build" && ln -s "$2" "/lib/modules/$(uname -r)/source" || exit 3
shift 2; exec "$@"
"""


@dataclass(frozen=True, slots=True)
class Tool:
    """A command. With `fresh`, specc's cache is empty at each start."""

    argv: Sequence[str]
    fresh: bool = False
    env: Mapping[str, str] = field(default_factory=dict)


class Target:
    """The process that is probed, and whether it is."""

    def __init__(self, program: Path) -> None:
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.process.stdout.readline()
        elf = read_elf(program.read_bytes())
        offset = file_offset(elf, symbols(elf, "probed")[0].value)
        assert offset is not None
        self._memory = open(f"/proc/{self.process.pid}/mem", "rb", buffering=0)  # noqa: SIM115
        self._address = self._mapped(program, offset)

    def _mapped(self, program: Path, offset: int) -> int:
        for line in Path(f"/proc/{self.process.pid}/maps").read_text().splitlines():
            span, mode, start, _, _, name = line.split(maxsplit=5)
            low, high = (int(x, 16) for x in span.split("-"))
            if name == str(program) and "x" in mode and 0 <= offset - int(start, 16) < high - low:
                return low + offset - int(start, 16)
        raise AssertionError("the program is not mapped")

    def is_probed(self) -> bool:
        return os.pread(self._memory.fileno(), 1, self._address) == b"\xcc"

    def close(self) -> None:
        self._memory.close()
        self.process.kill()
        self.process.communicate()


def time_of(tool: Tool, target: Target, folder: Path) -> float:
    """Seconds until the probe is there. Raises RuntimeError with what the tool said when it does not come."""
    cache = folder / "fresh" if tool.fresh else folder / "cache"
    shutil.rmtree(folder / "fresh", ignore_errors=True)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "SPECC_CACHE_DIR": str(cache), **tool.env}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # it would have all modules compiled at each start
    with open(folder / "said", "w+b") as said:
        start = time.perf_counter()
        process = subprocess.Popen(tool.argv, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        while not target.is_probed():
            if process.poll() is not None or time.perf_counter() - start > PATIENCE:
                process.kill()
                process.wait()
                said.seek(0)
                lines = said.read().decode(errors="replace").strip().splitlines() or ["it said nothing"]
                raise RuntimeError(lines[0])
            time.sleep(0.0002)
        took = time.perf_counter() - start
        process.send_signal(signal.SIGINT)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        while target.is_probed():
            time.sleep(0.001)
    return took


def bcc_command(program: Path, folder: Path) -> tuple[list[str], str]:
    """How bcc is run, and what there is to say about it."""
    (folder / "by_bcc.py").write_text(BCC)
    command = ["/usr/bin/python3", str(folder / "by_bcc.py"), str(program)]
    if os.path.exists(f"/lib/modules/{os.uname().release}/build"):
        return command, ""
    for build in sorted(Path("/usr/src").glob("linux-headers-*-amd64"), reverse=True):
        source = Path(str(build).replace("-amd64", "-common"))
        if source.is_dir():
            note = f", with the headers of {build.name.removeprefix('linux-headers-')}: this kernel has none"
            return ["unshare", "-m", "sh", "-c", HEADERS, "sh", str(build), str(source), *command], note
    return command, ""


def tools(folder: Path, program: Path) -> dict[str, Tool]:
    (folder / "attach.yaml").write_text(SPEC.replace("TARGET", str(program)))
    specc = [sys.executable, "-m", "specc"]
    subprocess.run(
        [*specc, "build", "attach.yaml", "-o", ".", "--emit", "obj"], cwd=folder, check=True, capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    bcc, note = bcc_command(program, folder)
    return {
        "specc run SPEC, nothing cached": Tool([*specc, "run", "attach.yaml"], fresh=True),
        "specc run SPEC, unchanged": Tool([*specc, "run", "attach.yaml"]),
        "specc run OBJECT": Tool([*specc, "run", "attach.bpf.o"]),
        "bpftrace": Tool(["bpftrace", "-e", BPFTRACE.replace("TARGET", str(program))]),
        f"bcc{note}": Tool(bcc),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("attaching needs root", file=sys.stderr)
        return 3
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "target.c").write_text(TARGET)
        program = folder / "target"
        subprocess.run(["gcc", "-O2", "-o", program, folder / "target.c"], check=True)
        target = Target(program)
        try:
            times: dict[str, list[float]] = {}
            left_out: dict[str, str] = {}
            wanted = tools(folder, program)
            for round_ in range(options.rounds + 1):
                for what, tool in wanted.items():
                    if what in left_out:
                        continue
                    try:
                        took = time_of(tool, target, folder)
                    except (RuntimeError, OSError) as problem:
                        left_out[what] = str(problem)
                        continue
                    if round_:  # the first one warms up
                        times.setdefault(what, []).append(took)
        finally:
            target.close()
    print("| from the command to the probe | seconds | of bpftrace |\n|---|---|---|")
    base = times.get("bpftrace")
    for what in wanted:
        if what not in left_out and what in times:
            mine = times[what]
            part = f"{statistics.median(a / b for a, b in zip(mine, base, strict=True)):.2f}" if base else ""
            print(f"| {what} | {statistics.median(mine):.3f} | {part} |")
    for what, why in left_out.items():
        print(f"\n{what} is left out: {why}")
    return 1 if any(what.startswith("specc") for what in left_out) else 0


if __name__ == "__main__":
    sys.exit(main())

"""The build budgets beside what is measured here: `make bench`, or `python bench/build.py [--runs N] [--specs N]`.

Prints a markdown table; docs/performance.md holds one. Machines are noisy, so what is compared is run in turn,
A B C A B C ..., and the ratio is the median of the rounds' ratios; a figure alone is the median of its runs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from specc.compiler import Compiler, environment  # noqa: E402  (the path must be set first)
from specc.compiler.find import find_compiler  # noqa: E402

PYTHON = sys.executable
_SCRIPT = Path(PYTHON).with_name("specc")
SPECC = [str(_SCRIPT)] if _SCRIPT.exists() else [PYTHON, "-m", "specc"]
FUNCTION = "__get_user_pages"
KERNEL_BTF = Path("/sys/kernel/btf/vmlinux")

# One probe with a register, a stack slot and context: what bpftrace is asked for too.
SPEC = """\
specc: 1
name: gup
fields: [timestamp, pid, tid, comm]
probes:
  - kprobe: __get_user_pages
    prototype: "long __get_user_pages(struct mm_struct *mm, unsigned long start, unsigned long nr_pages,
      unsigned int gup_flags, struct page **pages, struct vm_area_struct **vmas, int *locked)"
    args: [start, nr_pages, gup_flags, vmas, locked]
"""
BPFTRACE = """\
kprobe:__get_user_pages {
  printf("%llu %d %d %s %lx %lu %x %lx %lx\\n", nsecs, pid, tid, comm,
         arg1, arg2, (uint32)arg3, arg5, *(uint64 *)(reg("sp") + 8));
}
"""


@dataclass(frozen=True, slots=True)
class Command:
    """What is timed, and what is done before each run without being timed."""

    argv: Sequence[str]
    cwd: Path
    env: Mapping[str, str]
    before: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class Run:
    seconds: float
    cpu: float  # seconds of all its processes
    peak_kib: int  # of the largest single process


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `budget` and `measured` as text; `met` is None where nothing could be measured."""

    what: str
    budget: str
    measured: str
    met: bool | None


def run(command: Command) -> Run:
    """Run to its end; its output goes nowhere. Raises when it fails: a failure is not a time."""
    command.before()
    start = time.perf_counter()
    process = subprocess.Popen(
        command.argv,
        cwd=command.cwd,
        env=command.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command.argv)} ended with {process.returncode}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)


def in_turn(commands: Mapping[str, Command], runs: int) -> dict[str, list[Run]]:
    """Every command `runs` times, in turn, after one run of each that is not counted."""
    for command in commands.values():
        run(command)
    found: dict[str, list[Run]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            found[name].append(run(command))
    return found


def median(runs: Sequence[Run]) -> float:
    return statistics.median(r.seconds for r in runs)


def ratio(a: Sequence[Run], b: Sequence[Run]) -> float:
    return statistics.median(x.seconds / y.seconds for x, y in zip(a, b, strict=True))


def seconds(value: float) -> str:
    return f"{value:.3f} s" if value < 10 else f"{value:.1f} s"


def versus(what: str, most: float, ours: Sequence[Run], theirs: Sequence[Run], peer: str) -> Row:
    times = ratio(ours, theirs)
    text = f"{times:.2f} x ({seconds(median(ours))}; {peer} {seconds(median(theirs))})"
    return Row(what, f"at most {most:g} x {peer}", text, times <= most)


class Bench:
    """A directory to work in, and the environment of what is timed: no cache of the user's, bytecode on disk."""

    def __init__(self, folder: Path, compiler: Compiler, runs: int, specs: int) -> None:
        self.folder = folder
        self.compiler = compiler
        self.runs = runs
        self.specs = specs
        self.cache = folder / "cache"
        self.env = {
            **{k: v for k, v in environment().items() if k not in ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")},
            "SPECC_CACHE_DIR": str(self.cache),
        }
        subprocess.run([PYTHON, "-m", "compileall", "-q", str(ROOT / "specc")], env=self.env, check=True)

    def specc(self, *arguments: str, cold: bool = False, out: Path | None = None) -> Command:
        def before() -> None:
            if cold:
                shutil.rmtree(self.cache, ignore_errors=True)
            if out is not None:
                shutil.rmtree(out, ignore_errors=True)

        return Command([*SPECC, *arguments], self.folder, self.env, before)

    def bare(self, source: Path) -> Command:
        """The compiler alone, with specc's own options, on the C that specc emitted."""
        return Command([*self.compiler.compile_argv, "-c", source.name, "-o", "bare.o"], source.parent, self.env)

    # --- what is measured ---------------------------------------------------------------------------------------------

    def one_spec(self) -> list[Row]:
        folder = self.folder / "one"
        folder.mkdir()
        spec = folder / "gup.yaml"
        spec.write_text(SPEC)
        out = folder / "out"
        build = ("build", str(spec), "-o", str(out))
        run(self.specc(*build))
        source = folder / "gup.bpf.c"
        shutil.copy(out / "gup.bpf.c", source)
        cold = self.specc(*build, cold=True, out=out)
        commands = {"cold": cold, "bare": self.bare(source)}
        bpftrace = shutil.which("bpftrace")
        lacking = "no bpftrace on PATH" if bpftrace is None else "bpftrace wants root" if os.geteuid() != 0 else ""
        if bpftrace is not None and not lacking:
            script = folder / "gup.bt"
            script.write_text(BPFTRACE)
            commands["bpftrace"] = Command([bpftrace, "-d", str(script)], folder, self.env)
        found = in_turn(commands, self.runs)
        # What every build after the first one on a machine costs: the compiler is known, the spec is new.
        number = iter(range(10**6))

        def edit() -> None:
            spec.write_text(SPEC.replace("name: gup\n", f"name: gup\ndescription: Version {next(number)}.\n"))

        edited = in_turn(
            {"edited": Command(cold.argv, self.folder, self.env, edit), "bare": commands["bare"]}, self.runs
        )
        spec.write_text(SPEC)
        run(self.specc(*build))
        unchanged = in_turn({**commands, "cold": self.specc(*build)}, self.runs)
        rows = [
            versus("`specc build` of one spec, nothing cached", 3.5, found["cold"], found["bare"], "the bare compiler"),
            Row(
                "the same with an edited spec and a compiler that was used before",
                "",
                f"{ratio(edited['edited'], edited['bare']):.2f} x ({seconds(median(edited['edited']))})",
                None,
            ),
        ]
        if "bpftrace" in commands:
            rows += [
                versus("the same", 3, found["cold"], found["bpftrace"], "`bpftrace -d`"),
                versus("the same, unchanged", 1, unchanged["cold"], unchanged["bpftrace"], "`bpftrace -d`"),
            ]
        else:
            rows += [
                Row("the same", "at most 3 x `bpftrace -d`", f"not measured: {lacking}", None),
                Row(
                    "the same, unchanged",
                    "at most 1 x `bpftrace -d`",
                    f"{seconds(median(unchanged['cold']))}; not compared: {lacking}",
                    None,
                ),
            ]
        return rows

    def many_specs(self) -> list[Row]:
        folder = self.folder / "many"
        (folder / "specs").mkdir(parents=True)
        for n in range(self.specs):
            (folder / "specs" / f"s{n:04}.yaml").write_text(
                SPEC.replace("name: gup", f"name: s{n:04}").replace(FUNCTION, f"function_{n}")
            )
        jobs = str(len(os.sched_getaffinity(0)))
        out = folder / "out"
        ours = self.specc("build", "-j", jobs, str(folder / "specs"), "-o", str(out), cold=True, out=out)
        run(ours)
        bare = folder / "bare"
        bare.mkdir()
        for path in out.glob("*.bpf.c"):
            shutil.copy(path, bare)
        names = sorted(p.name for p in bare.iterdir())
        (bare / "list").write_text("".join(f"{n}\n{n.removesuffix('.c')}.o\n" for n in names))
        script = f"exec {shlex.join(self.compiler.compile_argv)} -c $0 -o $1"
        argv = ["xargs", "-a", "list", "-n", "2", "-P", jobs, "sh", "-c", script]
        found = in_turn({"specc": ours, "bare": Command(argv, bare, self.env)}, max(3, self.runs // 5))
        cpu = statistics.median(x.cpu / y.cpu for x, y in zip(found["specc"], found["bare"], strict=True))
        same = in_turn({"same": self.specc("build", str(folder / "specs"), "-o", str(out))}, max(3, self.runs // 5))
        peak = max(r.peak_kib for r in found["specc"]) / 1024
        return [
            versus(
                f"`specc build` of {self.specs} specs, nothing cached, -j{jobs}",
                1.1,
                found["specc"],
                found["bare"],
                f"the bare compiler on the {self.specs} emitted files",
            ),
            Row("the same in processor time, which other programs disturb less", "", f"{cpu:.2f} x", None),
            Row("its memory", "at most 200 MiB", f"{peak:.0f} MiB in the largest process", peak <= 200),
            Row(
                f"the {self.specs} specs again, unchanged",
                "",
                f"{seconds(median(same['same']))}, {median(same['same']) / self.specs * 1e6:.0f} us for each",
                None,
            ),
        ]

    def from_header(self) -> list[Row]:
        what = "one prototype out of a {} preprocessed file"
        text, problem = kernel_text()
        if text is None:
            return [Row(what.format("2.6 MB"), "at most 0.15 s", f"not measured: {problem}", None)]
        path = self.folder / "kernel.i"
        path.write_text(text)
        code = (
            "import sys, time\n"
            "from pathlib import Path\n"
            "from specc.headers import HeaderIndex\n"
            "text = Path(sys.argv[1]).read_text()\n"
            "start = time.perf_counter()\n"
            "assert HeaderIndex(text).prototype(sys.argv[2]).name == sys.argv[2]\n"
            "print(time.perf_counter() - start)\n"
        )
        times = [
            float(
                subprocess.run(
                    [PYTHON, "-c", code, str(path), FUNCTION],
                    env={**self.env, "PYTHONPATH": str(ROOT)},
                    capture_output=True,
                    text=True,
                    check=True,
                ).stdout
            )
            for _ in range(self.runs)
        ]
        value = statistics.median(times)
        return [Row(what.format(f"{len(text) / 1e6:.1f} MB"), "at most 0.15 s", seconds(value), value <= 0.15)]

    def from_btf(self) -> list[Row]:
        if not KERNEL_BTF.exists():
            return [Row("one prototype out of a BTF blob, as a process", "at most 0.05 s", f"not measured: no {KERNEL_BTF}", None)]  # fmt: skip
        path = self.folder / "vmlinux.btf"
        shutil.copyfile(KERNEL_BTF, path)
        found = in_turn({"show": self.specc("show", FUNCTION, "--btf", str(path), "--format", "json")}, self.runs)
        what = f"one prototype out of a {path.stat().st_size / 1e6:.1f} MB BTF blob, as a process (`specc show --btf`)"
        value = median(found["show"])
        return [Row(what, "at most 0.05 s", seconds(value), value <= 0.05)]

    def many_kernels(self) -> list[Row]:
        what, budget = "`specc check` of 100 specs against 20 kernels", "at most 10 s"
        if not KERNEL_BTF.exists():
            return [Row(what, budget, f"not measured: no {KERNEL_BTF}", None)]
        folder = self.folder / "kernels"
        (folder / "specs").mkdir(parents=True)
        # Copies of one kernel: each file is opened and searched for itself, whatever is in it.
        for n in range(20):
            shutil.copyfile(KERNEL_BTF, folder / f"6.{n}.btf")
        listed = subprocess.run(
            [*SPECC, "show", "--all", "--btf", str(folder / "6.0.btf"), "--format", "json"],
            env=self.env, capture_output=True, text=True, check=True,
        )  # fmt: skip
        # Without `args` every argument is recorded, under its own name, which must not be one of the context's.
        taken = {"probe", "timestamp", "pid", "tid", "comm"}
        fit = [f["function"] for f in json.loads(listed.stdout) if taken.isdisjoint(a["name"] for a in f["args"])]
        once = sorted(name for name, count in Counter(fit).items() if count == 1 and name.isidentifier())
        chosen = once[:: len(once) // 200][:200]
        for n in range(100):
            text = f"specc: 1\nname: s{n}\nprobes:\n  - kprobe: {chosen[n]}\n  - kprobe: {chosen[n + 100]}\n"
            (folder / "specs" / f"s{n}.yaml").write_text(text)
        command = self.specc("check", str(folder / "specs"))
        env = {**self.env, "SPECC_TARGETS": str(folder)}
        found = [run(Command(command.argv, command.cwd, env)) for _ in range(max(3, self.runs // 5))]
        value, peak = median(found), max(r.peak_kib for r in found) / 1024
        size = KERNEL_BTF.stat().st_size / 1e6
        return [Row(f"{what} of {size:.1f} MB of BTF each", budget, f"{seconds(value)}, {peak:.0f} MiB", value <= 10)]

    def start(self) -> list[Row]:
        commands = {
            "--help": self.specc("--help"),
            "--version": self.specc("--version"),
            "empty": Command([PYTHON, "-c", ""], self.folder, self.env),
        }
        found = in_turn(commands, 3 * self.runs)
        return [versus(f"`specc {n}`", 5, found[n], found["empty"], "an empty Python") for n in ("--help", "--version")]


def _write(path: Path, text: str) -> None:
    path.write_text(text)


def kernel_text() -> tuple[str | None, str]:
    """The size and kind of text that a kernel source file is once preprocessed: every type of the running kernel, by
    bpftool, and a prototype; or why there is none."""
    if shutil.which("bpftool") is None:
        return None, "no bpftool on PATH"
    if not KERNEL_BTF.exists():
        return None, f"no {KERNEL_BTF}"
    done = subprocess.run(
        ["bpftool", "btf", "dump", "file", str(KERNEL_BTF), "format", "c"], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        return None, f"bpftool: {done.stderr.strip()}"
    lines = [line for line in done.stdout.splitlines(keepends=True) if not line.startswith("#")]
    prototype = (
        "long __get_user_pages(struct mm_struct *mm, unsigned long start, unsigned long nr_pages, "
        "unsigned int gup_flags, struct page **pages, struct vm_area_struct **vmas, int *locked);\n"
    )
    return "".join(lines) + prototype, ""


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the build budgets.")
    parser.add_argument(
        "--runs", type=int, default=21, help="runs of each command (default: 21; of the many specs a fifth)"
    )
    parser.add_argument("--specs", type=int, default=1000, help="how many specs make many (default: 1000)")
    parser.add_argument("--compiler", help="as specc's option of that name")
    parser.add_argument("--only", help="one part: one_spec, many_specs, from_header, from_btf, many_kernels or start")
    options = parser.parse_args()
    compiler = find_compiler(options.compiler)
    parts = ("start", "one_spec", "from_header", "from_btf", "many_kernels", "many_specs")
    cpus = len(os.sched_getaffinity(0))
    print(f"Python {platform.python_version()}, {compiler.kind} {compiler.version}, {cpus} processors, {options.runs} runs\n")  # fmt: skip
    print("| what | budget | measured | |\n|---|---|---|---|", flush=True)
    missed = 0
    with tempfile.TemporaryDirectory(prefix="specc-bench-") as folder:
        bench = Bench(Path(folder), compiler, options.runs, options.specs)
        for part in [options.only] if options.only else parts:
            print(f"measuring {part} ...", file=sys.stderr)
            for row in getattr(bench, part)():
                verdict = {True: "met", False: "NOT MET", None: ""}[row.met]
                print(f"| {row.what} | {row.budget} | {row.measured} | {verdict} |", flush=True)
                missed += row.met is False
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

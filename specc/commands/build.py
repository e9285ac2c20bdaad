"""`specc build`: specs to C, header and object; or, with --check and --diff, how the files differ from that.

An unchanged spec is answered from the manifest of its last build before anything heavy is imported.
"""

from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from specc.cache import Manifest
    from specc.diagnostics import Report
    from specc.pipeline import Session, Texts

EMITS = ("c", "obj", "header")


class Job:
    """One spec of a run. `outputs` is set when it is built: {file name: bytes}, in the order of the contract."""

    __slots__ = ("dependencies", "key", "outputs", "path", "started_ns", "texts")

    def __init__(self, path: str) -> None:
        self.path = path
        self.key = ""
        self.started_ns = 0
        self.dependencies: tuple[str, ...] = ()
        self.texts: Texts | None = None
        self.outputs: dict[str, bytes] | None = None


def run(options: argparse.Namespace) -> int:
    from specc.commands.common import USAGE

    emit = tuple(dict.fromkeys(options.emit.split(",")))
    unknown = [e for e in emit if e not in EMITS]
    if unknown:
        print(f"specc build: --emit takes {', '.join(EMITS)}, not `{unknown[0]}`", file=sys.stderr)
        return USAGE
    run_ = Run(options, emit)
    run_.build()
    return run_.finish()


class Run:
    """The state of one `specc build`."""

    def __init__(self, options: argparse.Namespace, emit: tuple[str, ...]) -> None:
        from specc.cache import Manifest, open_cache
        from specc.diagnostics import Report
        from specc.pipeline import Session

        self.options = options
        self.emit = emit
        self.report: Report = Report()
        self.session: Session = Session(options.compiler, options.btf)
        self.cache = open_cache()
        self.manifest: Manifest = Manifest(self.cache)
        self.jobs: list[Job] = []

    def build(self) -> None:
        """Every spec's outputs, from the manifest or made anew."""
        from specc.commands.common import find_specs

        self.jobs = [Job(str(path)) for path in find_specs(self.options.specs, self.report)]
        fresh = [job for job in self.jobs if not self._remembered(job)]
        if fresh:
            self._make(fresh)

    def _remembered(self, job: Job) -> bool:
        from specc.cache import code_fingerprint, digest

        if self.cache.root is None:
            return False
        from specc.diagnostics import Stop

        if not os.path.isfile(job.path):
            return False  # opening a named pipe would wait for ever
        try:
            with open(job.path, "rb") as file:
                text = file.read()
            identity = self.session.compiler.identity
        except (OSError, Stop):
            return False  # the front end, or the first use of the compiler, says what is wrong
        key = digest("spec", os.path.abspath(job.path), text, identity, code_fingerprint(), *self.emit, *map(os.path.abspath, self.options.btf))  # fmt: skip
        job.key = key
        job.started_ns = time.time_ns()
        job.outputs = self.manifest.lookup(key)
        return job.outputs is not None

    def _make(self, jobs: list[Job]) -> None:
        from specc.build import compile_objects
        from specc.diagnostics import Diagnostic, Stop
        from specc.outputs import seal

        def finish(job: Job, compiled: bytes | None) -> None:
            assert job.texts is not None
            name = job.texts.name
            made = {"c": seal(job.texts.c_text).encode(), "obj": compiled, "header": seal(job.texts.header).encode()}
            names = {"c": f"{name}.bpf.c", "obj": f"{name}.bpf.o", "header": f"{name}.h"}
            job.outputs = {names[e]: data for e in EMITS if e in self.emit and (data := made[e]) is not None}
            job.texts = None  # a thousand specs' texts need not stay in memory
            if job.key:
                self.manifest.store(job.key, [job.path, *job.dependencies], job.outputs, started_ns=job.started_ns)

        sources = self._front(jobs)
        if "obj" not in self.emit:
            for job, _, _ in sources:
                finish(job, None)
            return
        try:
            compiler = self.session.compiler
        except Stop as problem:
            self.report.diagnostics.append(problem.diagnostic)
            for _ in sources:
                continue  # the specs' own errors are told all the same
            return
        for job, result in compile_objects(sources, compiler, workers=self.options.jobs, cache=self.cache):
            if isinstance(result, Diagnostic):
                self.report.diagnostics.append(result)
            else:
                finish(job, result)

    def _front(self, jobs: list[Job]) -> Iterator[tuple[Job, str, str]]:
        """The front end of each spec, drawn by the compilers as they become free."""
        from pathlib import Path

        from specc.outputs import seal
        from specc.pipeline import emit_all, front

        for job in jobs:
            job.started_ns = job.started_ns or time.time_ns()
            self.session.sources.dependencies = {}
            before = len(self.report.diagnostics)
            program = front(Path(job.path), self.session, self.report)
            if program is None:
                continue
            job.dependencies = tuple(self.session.sources.dependencies)
            if len(self.report.diagnostics) > before:
                job.key = ""  # a warning is told at every build
            job.texts = emit_all(program)
            yield job, job.texts.name, seal(job.texts.c_text)

    def finish(self) -> int:
        """Write, or compare, what was built; tell what was wrong."""
        from specc.commands.common import exit_code, tell

        built = self._claimed()
        counts: dict[str, int] = {}
        if self.options.check or self.options.diff:
            self._compare(built)
        else:
            self._write(built, counts)
        self._summary(built, counts)
        tell(self.report, self.options.output_format)
        code = exit_code(self.report)
        if self.options.diff and self._differs:
            return code or 1
        return code

    _differs = False

    def _claimed(self) -> list[Job]:
        """The jobs that were built, without those whose files another spec of this run writes too."""
        from specc.outputs import claim

        taken: dict[str, str] = {}
        built: list[Job] = []
        for job in self.jobs:
            if job.outputs is None:
                continue
            problem = claim(taken, job.path, job.outputs)
            if problem is not None:
                self.report.diagnostics.append(problem)
            else:
                built.append(job)
        return built

    def _compare(self, built: list[Job]) -> None:
        from specc.outputs import check_orphans, check_outputs, diff_outputs

        for job in built:
            assert job.outputs is not None
            if self.options.diff:
                difference = diff_outputs(job.outputs, self.options.output)
                self._differs = self._differs or bool(difference)
                sys.stdout.write(difference)
            if self.options.check:
                self.report.extend(check_outputs(job.outputs, self.options.output))
        whole = not self.options.specs or any(os.path.isdir(s) for s in self.options.specs)
        if self.options.check and whole and not self.report.failed:
            names = [name for job in self.jobs for name in job.outputs or ()]
            self.report.extend(check_orphans(names, self.options.output))

    def _write(self, built: list[Job], counts: dict[str, int]) -> None:
        from specc.diagnostics import Stop
        from specc.outputs import make_dependencies, write_outputs

        for job in built:
            assert job.outputs is not None
            planned = dict(job.outputs)
            if self.options.make_dependencies and planned:
                targets = [os.path.join(self.options.output, name) for name in planned]
                stem = next(iter(planned)).partition(".")[0]
                text = make_dependencies(targets, [job.path, *(job.dependencies or self._dependencies(job))])
                planned[f"{stem}.d"] = text.encode()
            try:
                done = write_outputs(planned, self.options.output)
            except Stop as problem:
                self.report.diagnostics.append(problem.diagnostic)
                continue
            for name, what in done.items():
                counts[what] = counts.get(what, 0) + 1
                if what != "unchanged":
                    self._say(f"{what} {os.path.join(self.options.output, name)}")

    def _dependencies(self, job: Job) -> tuple[str, ...]:
        """What a remembered build depended on."""
        return self.manifest.dependencies(job.key)

    def _summary(self, built: list[Job], counts: dict[str, int]) -> None:
        if self.options.check or self.options.diff:
            if not self.report.failed and not self._differs:
                self._say(f"{_plural(len(built), 'spec')}: every file is as the specs say")
            return
        changed = sum(n for what, n in counts.items() if what != "unchanged")
        if built:
            self._say(f"{_plural(len(built), 'spec')} built: {_plural(changed, 'file')} written, {counts.get('unchanged', 0)} unchanged")  # fmt: skip
        if self.options.verbose and self.cache.trouble:
            self._say(f"the cache is not used: {self.cache.trouble}")

    def _say(self, text: str) -> None:
        if self.options.output_format in ("full", "concise"):
            print(text, file=sys.stderr)


def _plural(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"

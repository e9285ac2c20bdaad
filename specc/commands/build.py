"""`specc build`: specs to C, header and object; or, with --check and --diff, how the files differ from that.

An unchanged spec is answered from the manifest of its last build before anything heavy is imported.
"""

from __future__ import annotations

import os
import sys
import time

from specc.cache import Manifest, code_fingerprint, digest, distinct, open_cache

TYPE_CHECKING = False  # typing takes as long to import as a rebuild; type checkers know the name
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from specc.compiler import Compiler
    from specc.diagnostics import Report
    from specc.ir import Program
    from specc.pipeline import Texts
    from specc.survey import Survey

# What --emit can ask for, and how the file's name ends after the spec's.
EMITS = {"c": ".bpf.c", "obj": ".bpf.o", "header": ".h", "python": "_events.py", "jsonschema": ".schema.json"}


class Job:
    """One spec of a run. `outputs` is set when it is built: {file name: bytes}, in the order of the contract.

    `spec` is the file's bytes as they were at the start, None when the result is not to be remembered.
    """

    __slots__ = ("absent", "dependencies", "made", "outputs", "path", "spec", "started_ns", "texts")

    def __init__(self, path: str) -> None:
        self.path = path
        self.spec: bytes | None = None
        self.started_ns = time.time_ns()
        self.dependencies: tuple[str, ...] = ()
        self.absent: tuple[str, ...] = ()
        self.texts: Texts | None = None
        self.made: tuple[Program, list[Survey]] | None = None  # for the lock
        self.outputs: dict[str, bytes] | None = None


def run(options: argparse.Namespace) -> int:
    emit = emits(options)
    if emit is None:
        return 2
    work = Run(options, emit)
    work.build()
    return work.finish()


def emits(options: argparse.Namespace) -> tuple[str, ...] | None:
    """What --emit names; None after it was told that something of that is not known."""
    emit = tuple(dict.fromkeys(options.emit.split(",")))
    unknown = [e for e in emit if e not in EMITS]
    if unknown:
        print(f"specc {options.command}: --emit takes {', '.join(EMITS)}, not `{unknown[0]}`", file=sys.stderr)
        return None
    return emit


class Run:
    """The state of one `specc build`. `report` exists only once there is something to report."""

    def __init__(self, options: argparse.Namespace, emit: tuple[str, ...]) -> None:
        self.options = options
        self.emit = emit
        self.cache = open_cache()
        self.manifest = Manifest(self.cache)
        self.jobs: list[Job] = []
        self.differs = False
        self._unwritten = 0
        self._compiler: Compiler | None = None
        self._fingerprint = code_fingerprint()  # before anything else of specc is loaded
        self._report: Report | None = None
        self._targets = _named_targets(options.btf)

    @property
    def report(self) -> Report:
        if self._report is None:
            from specc.diagnostics import Report

            self._report = Report()
        return self._report

    @property
    def failed(self) -> bool:
        return self._report is not None and self._report.failed

    def compiler(self) -> Compiler:
        """Raises Stop."""
        if self._compiler is None:
            from specc.compiler.find import find_compiler

            self._compiler = find_compiler(self.options.compiler, cache=self.cache)
        return self._compiler

    def build(self) -> None:
        """Every spec's outputs, from the manifest or made anew."""
        named = self.options.specs
        if named and all(os.path.isfile(name) for name in named):
            paths = distinct(named) if len(named) > 1 else list(named)
        else:
            from specc.commands.common import find_specs

            paths = [str(path) for path in find_specs(named, self.report)]
        self.jobs = [Job(path) for path in paths]
        fresh = [job for job in self.jobs if not self._remembered(job)]
        if fresh:
            self._make(fresh)

    def _remembered(self, job: Job) -> bool:
        # Opening a named pipe would wait for ever, and without a cache nothing is remembered.
        if self.cache.root is None or not os.path.isfile(job.path) or self.options.locked:
            return False
        try:
            with open(job.path, "rb") as file:
                job.spec = file.read()
        except OSError:
            return False  # the front end says what is wrong
        if self._compiler is None:
            from specc.compiler import known_compiler

            self._compiler = known_compiler(self.options.compiler, cache=self.cache)
            if self._compiler is None:
                from specc.compiler.find import ask_ahead

                self._compiler = ask_ahead(self.options.compiler, cache=self.cache)
        if self._compiler is not None:
            job.outputs = self.manifest.lookup(self._key(job, self._compiler))
        return job.outputs is not None

    def _key(self, job: Job, compiler: Compiler) -> str:
        """What tells this build from every other one, but for the files that the spec leads to."""
        assert job.spec is not None
        return digest("spec", os.path.abspath(job.path), job.path, job.spec, compiler.identity, self._fingerprint, *self.emit, "", *self._targets)  # fmt: skip

    def _remembered_dependencies(self, job: Job) -> tuple[str, ...]:
        return (
            ()
            if self._compiler is None or job.spec is None
            else self.manifest.dependencies(self._key(job, self._compiler))
        )

    def _make(self, jobs: list[Job]) -> None:
        from itertools import chain

        from specc.build import compile_objects
        from specc.diagnostics import Diagnostic, Stop

        sources: Iterator[tuple[Job, str, str]] = self._front(jobs)
        if "obj" not in self.emit:
            for job, _, _ in sources:
                self._done(job, None)
            return
        # The front end of the first spec runs while the compiler is still being asked what it is.
        first = next(sources, None)
        if first is None:
            return
        sources = chain([first], sources)
        try:
            compiler = self.compiler()
        except Stop as problem:
            self.report.diagnostics.append(problem.diagnostic)
            for _ in sources:
                continue  # the specs' own errors are told all the same
            return
        for job, result in compile_objects(sources, compiler, workers=self.options.jobs, cache=self.cache):
            if isinstance(result, Diagnostic):
                self.report.diagnostics.append(result)
            else:
                self._done(job, result)

    def _done(self, job: Job, compiled: bytes | None) -> None:
        """Take in what was made of a spec."""
        assert job.texts is not None
        name = job.texts.name
        texts = {"c": job.texts.c_text, "header": job.texts.header, **job.texts.consumers}
        made = {"obj": compiled, **{e: text.encode() for e, text in texts.items()}}
        job.outputs = {name + EMITS[e]: data for e in EMITS if e in self.emit and (data := made.get(e)) is not None}
        job.texts = None  # a thousand specs' texts need not stay in memory
        if job.spec is not None and self._compiler is not None:
            key = self._key(job, self._compiler)
            dependencies = [job.path, *job.dependencies]
            self.manifest.store(key, dependencies, job.outputs, started_ns=job.started_ns, absent=job.absent)

    def _front(self, jobs: list[Job]) -> Iterator[tuple[Job, str, str]]:
        """The front end of each spec, drawn by the compilers as they become free."""
        from pathlib import Path

        from specc.diagnostics import Location
        from specc.pipeline import Session, emit_all, front

        session = Session(self.compiler, [Path(b) for b in self.options.btf])
        for job in jobs:
            session.sources.dependencies.clear()
            session.sources.absent.clear()
            before = len(self.report.diagnostics)
            surveys: list[Survey] | None = [] if self.options.locked else None
            program = front(Path(job.path), session, self.report, surveys=surveys)
            if program is None:
                continue
            job.dependencies = tuple(session.sources.dependencies)
            job.absent = tuple(session.sources.absent)
            emit = self.emit
            if "python" in emit and not program.streaming:
                emit = tuple(e for e in emit if e != "python")
                self.report.warning(
                    "SP477", f"{program.name} makes no events that a module could read: all of its probes aggregate",
                    Location(job.path), help="its results come by `specc run` or `specc.open`",
                    notes=[f"{program.name}{EMITS['python']} is not made"],
                )  # fmt: skip
            if len(self.report.diagnostics) > before:
                job.spec = None  # a warning is told at every build
            job.made = (program, surveys) if surveys is not None else None
            job.texts = emit_all(program, emit)
            yield job, job.texts.name, job.texts.c_text

    def finish(self) -> int:
        """Write, or compare, what was built; tell what was wrong."""
        built = self.claimed()
        if self.options.locked and not self._as_locked(built):
            built = []
        counts: dict[str, int] = {}
        if self.options.check or self.options.diff:
            self._compare(built)
        else:
            self._write(built, counts)
        self._summary(built, counts)
        code = 0
        if self._report is not None or self.options.output_format == "json":
            from specc.commands.common import exit_code, tell

            tell(self.report, self.options.output_format)
            code = exit_code(self.report)
        return code or int(self.options.diff and self.differs)

    def compiler_name(self) -> str:
        """What made the objects, for the lock."""
        return "" if self._compiler is None else f"{self._compiler.kind} {self._compiler.version}"

    def _as_locked(self, built: list[Job]) -> bool:
        """Whether the lock says the same; where it does not, nothing is written."""
        from specc.diagnostics import Report
        from specc.lock import Locks

        report, locks = Report(), Locks()
        for job in built:
            assert job.made is not None and job.outputs is not None
            locks.compare(job.path, *job.made, job.outputs, self.compiler_name(), report, needed=True)
        if not self.failed:
            locks.compare_rest(report)
        self.report.extend(report)
        return not report.failed

    def claimed(self) -> list[Job]:
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

    def _stem(self, job: Job) -> str:
        """The spec's name, by the first of its outputs: a remembered build has nothing else."""
        first = next(iter(job.outputs or ()))
        return next(first.removesuffix(end) for end in EMITS.values() if first.endswith(end))

    def _compare(self, built: list[Job]) -> None:
        from specc.outputs import check_orphans, check_outputs, diff_outputs

        complete = not self.failed and len(built) == len(self.jobs)
        for job in built:
            assert job.outputs is not None
            if self.options.diff:
                difference = diff_outputs(job.outputs, self.options.output)
                self.differs = self.differs or bool(difference)
                sys.stdout.write(difference)
            if self.options.check:
                self.report.extend(check_outputs(job.outputs, self.options.output))
        # Only a run over a whole directory of specs can tell that a file belongs to none of them.
        whole = not self.options.specs or any(os.path.isdir(name) for name in self.options.specs)
        if self.options.check and whole and complete:
            # Nor is one an orphan that only --emit did not name this time.
            names = [self._stem(job) + end for job in self.jobs if job.outputs for end in EMITS.values()]
            self.report.extend(check_orphans(names, self.options.output))

    def _write(self, built: list[Job], counts: dict[str, int]) -> None:
        from specc.outputs import make_dependencies, write_outputs

        for job in built:
            assert job.outputs is not None
            planned = dict(job.outputs)
            if self.options.make_dependencies and planned:
                targets = [os.path.join(self.options.output, name) for name in planned]
                dependencies = job.dependencies or self._remembered_dependencies(job)
                planned[f"{self._stem(job)}.d"] = make_dependencies(targets, [job.path, *dependencies]).encode()
            try:
                done = write_outputs(planned, self.options.output)
            except Exception as problem:
                from specc.diagnostics import Stop

                if not isinstance(problem, Stop):
                    raise
                self.report.diagnostics.append(problem.diagnostic)
                self._unwritten += 1
                continue
            for name, what in done.items():
                counts[what] = counts.get(what, 0) + 1
                if what != "unchanged":
                    self._say(f"{what} {os.path.join(self.options.output, name)}")

    def _summary(self, built: list[Job], counts: dict[str, int]) -> None:
        if self.options.check or self.options.diff:
            if not self.failed and not self.differs:
                self._say(f"{_plural(len(built), 'spec')}: every file is as the specs say")
        elif counts:
            changed = sum(n for what, n in counts.items() if what != "unchanged")
            unchanged = counts.get("unchanged", 0)
            self._say(
                f"{_plural(len(built) - self._unwritten, 'spec')} built: {_plural(changed, 'file')} written, {unchanged} unchanged"
            )
        if self.options.verbose and self.cache.trouble:
            self._say(f"the cache is not used: {self.cache.trouble}")

    def _say(self, text: str) -> None:
        if self.options.output_format in ("full", "concise"):
            print(text, file=sys.stderr)


def _named_targets(btf: list[str]) -> list[str]:
    """The BTF files that the command line names, else those of the environment, as they are written and where they are."""
    variable = os.environ.get("SPECC_TARGETS", "")
    if variable and not btf:
        from specc.config import expand
        from specc.diagnostics import Stop

        try:
            btf = expand(variable)
        except Stop:
            btf = [variable]  # told by whoever wants to read them
    return [word for path in btf for word in (path, os.path.abspath(path))]


def _plural(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"

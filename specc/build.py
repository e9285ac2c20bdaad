"""C text to BPF objects: the only caller of the BPF compiler.

In: jobs (a tag of the caller's, a name, C text) and a `Compiler`.  Out: each job's object, or the Diagnostic that says
why there is none, in the order of the jobs.

    compiler = find_compiler()
    compile_object(c_text, "gup", compiler)                                    # b"\\x7fELF..."
    for tag, result in compile_objects(jobs, compiler, workers=4): ...         # result: bytes or a Diagnostic

The jobs may come from a generator: while compilers run, the next jobs are drawn from it, so that the front end works
beside them. Equal C text, name and compiler give equal bytes in any directory, time zone, umask and order: the source
is compiled under its plain name in an empty directory.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from specc.cache import Cache, digest, open_cache, unlink_quietly, write_all
from specc.compiler import Compiler, environment
from specc.diagnostics import Diagnostic, Location, Stop

if TYPE_CHECKING:
    from subprocess import Popen

T = TypeVar("T")

TIMEOUT_SECONDS: Final = 300.0  # a probe takes 0.03 s; a machine that swaps may take long, one that hangs must not
_SHOWN_ERRORS: Final = 5


def compile_object(c_text: str, name: str, compiler: Compiler, *, cache: Cache | None = None) -> bytes:
    """The object of one C text. `name` is the stem of the source's name in its BTF. Raises Stop."""
    for _, result in compile_objects([(None, name, c_text)], compiler, workers=1, cache=cache):
        if isinstance(result, Diagnostic):
            raise Stop(result)
        return result
    raise AssertionError("one job has one result")


def compile_objects(
    jobs: Iterable[tuple[T, str, str]],
    compiler: Compiler,
    *,
    workers: int | None = None,
    cache: Cache | None = None,
) -> Iterator[tuple[T, bytes | Diagnostic]]:
    """Compile jobs (tag, name, C text), at most `workers` at a time (default: the processors this process may use).

    Yields (tag, object or Diagnostic) in the order of the jobs. Closing the iterator, or an exception (Ctrl-C), stops
    the compilers that run and removes their files.
    """
    with _Workshop[T](compiler, workers or len(os.sched_getaffinity(0)), cache) as shop:
        source = iter(jobs)
        drained = False
        while True:
            # Draw a few jobs ahead: the front end of the next ones is then done before a compiler is free.
            while not drained and shop.wants_jobs():
                try:
                    tag, name, c_text = next(source)
                except StopIteration:
                    drained = True
                    break
                shop.submit(tag, name, c_text)
                shop.step(wait=False)
                yield from shop.results()
            if drained and shop.idle():
                return
            shop.step(wait=True)
            yield from shop.results()


class _Job(Generic[T]):
    """One job on its way. `result` is set when it is done."""

    __slots__ = ("c_text", "key", "name", "result", "tag")

    def __init__(self, tag: T, name: str, c_text: str, key: str) -> None:
        self.tag = tag
        self.name = name
        self.c_text = c_text
        self.key = key
        self.result: bytes | Diagnostic | None = None


class _Bench(Generic[T]):
    """A directory where one compiler at a time works, and what works there now."""

    __slots__ = ("deadline", "folder", "job", "process", "said")

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.job: _Job[T] | None = None
        self.process: Popen[bytes] | None = None
        self.said = bytearray()
        self.deadline = 0.0

    def clear(self) -> None:
        """Remove what a job leaves in the directory."""
        if self.job is not None:
            unlink_quietly(f"{self.folder}/{self.job.name}.bpf.c")
            unlink_quietly(f"{self.folder}/{self.job.name}.bpf.o")
        self.job = None
        self.process = None
        self.said = bytearray()


class _Workshop(Generic[T]):
    """The compilers that run, the jobs that wait for one, and the results that wait for their turn."""

    def __init__(self, compiler: Compiler, workers: int, cache: Cache | None) -> None:
        self._compiler = compiler
        self._workers = max(1, workers)
        self._cache = open_cache() if cache is None else cache
        self._environment = environment()
        self._waiting: deque[_Job[T]] = deque()
        self._ordered: deque[_Job[T]] = deque()  # every job without its result yielded, in order
        self._free: list[_Bench[T]] = []
        self._busy: dict[int, _Bench[T]] = {}  # by the descriptor of the compiler's stderr
        self._poll = select.poll()
        self._root: str | None = None
        self._null = -1
        self._benches = 0

    def __enter__(self) -> _Workshop[T]:
        return self

    def __exit__(self, *_: object) -> None:
        """Stop what runs, remove what it left. Runs after Ctrl-C too, so it waits only for processes that it killed."""
        for bench in self._busy.values():
            if bench.process is not None:
                bench.process.kill()
        for bench in self._busy.values():
            if bench.process is not None:
                bench.process.wait()
                if bench.process.stderr is not None:
                    bench.process.stderr.close()
        if self._null >= 0:
            os.close(self._null)
        if self._root is not None:
            import shutil

            shutil.rmtree(self._root, ignore_errors=True)

    def wants_jobs(self) -> bool:
        # Results that wait for an earlier, slower job hold memory: draw no more while there are many.
        return len(self._waiting) < self._workers and len(self._ordered) < 8 * self._workers + 8

    def idle(self) -> bool:
        return not self._ordered

    def results(self) -> Iterator[tuple[T, bytes | Diagnostic]]:
        while self._ordered and (result := self._ordered[0].result) is not None:
            yield self._ordered.popleft().tag, result

    def submit(self, tag: T, name: str, c_text: str) -> None:
        if not name.isidentifier() or not name.isascii():
            raise ValueError(f"not a C identifier, so not a stem for a file: {name!r}")
        key = digest("object", self._compiler.identity, *self._compiler.compile_argv[1:], name, c_text)
        job = _Job(tag, name, c_text, key)
        self._ordered.append(job)
        job.result = self._cache.get("object", key)
        if job.result is None:
            self._waiting.append(job)

    def step(self, *, wait: bool) -> None:
        """Give waiting jobs to free compilers and take in what others have finished; with `wait`, at least one thing."""
        while self._waiting and len(self._busy) < self._workers:
            self._start(self._waiting.popleft())
        if not self._busy:
            return
        for fd, _ in self._poll.poll(1000 if wait else 0):
            bench = self._busy[fd]
            said = os.read(fd, 1 << 16)
            if said:
                bench.said += said
            else:  # end of file: the compiler has ended, or is about to
                self._finish(fd, bench)
        now = time.monotonic()
        for fd, bench in list(self._busy.items()):
            if now > bench.deadline and bench.process is not None:
                bench.process.kill()
                self._finish(fd, bench, timed_out=True)
        while self._waiting and len(self._busy) < self._workers:
            self._start(self._waiting.popleft())

    def _bench(self) -> _Bench[T]:
        if self._free:
            return self._free.pop()
        if self._root is None:
            base = os.environ.get("TMPDIR") or "/tmp"
            root = f"{base}/specc-{os.urandom(8).hex()}"  # nobody can have guessed it, and mkdir follows no link
            os.mkdir(root, 0o700)
            self._root = os.path.abspath(root)
            self._null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self._benches += 1
        folder = f"{self._root}/{self._benches}"
        os.mkdir(folder, 0o700)
        return _Bench(folder)

    def _start(self, job: _Job[T]) -> None:
        from subprocess import PIPE, Popen

        try:
            bench = self._bench()
            bench.job = job
            fd = os.open(
                f"{bench.folder}/{job.name}.bpf.c", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600
            )
            try:
                write_all(fd, job.c_text.encode())
            finally:
                os.close(fd)
        except OSError as e:
            job.result = _no_space(self._root or os.environ.get("TMPDIR") or "/tmp", e.strerror)
            return
        argv = [*self._compiler.compile_argv, "-c", f"{job.name}.bpf.c", "-o", f"{job.name}.bpf.o"]
        try:
            # With close_fds=False, and all of Python's descriptors closed on exec anyway, this is a vfork.
            process = Popen(
                argv,
                cwd=bench.folder,
                env={**self._environment, "TMPDIR": bench.folder},  # a clang that crashes leaves files there
                stdin=self._null,
                stdout=self._null,
                stderr=PIPE,
                bufsize=0,
                close_fds=False,
            )
        except OSError as e:
            job.result = Diagnostic(
                "SP406", f"the compiler {self._compiler.path} does not start: {e.strerror}", None, help=_TRY_ANOTHER
            )
            bench.clear()
            self._free.append(bench)
            return
        assert process.stderr is not None
        bench.process = process
        bench.deadline = time.monotonic() + TIMEOUT_SECONDS
        fd = process.stderr.fileno()
        self._busy[fd] = bench
        self._poll.register(fd, select.POLLIN)

    def _finish(self, fd: int, bench: _Bench[T], *, timed_out: bool = False) -> None:
        job, process = bench.job, bench.process
        assert job is not None and process is not None and process.stderr is not None
        code = process.wait()
        self._poll.unregister(fd)
        process.stderr.close()
        del self._busy[fd]
        if code == -signal.SIGINT:
            raise KeyboardInterrupt  # Ctrl-C reaches the whole process group, and the compiler was first to tell
        said = bench.said.decode("utf-8", "replace")
        if timed_out:
            job.result = self._ended(job, f"did not end within {TIMEOUT_SECONDS:.0f} s")
        elif code < 0:
            job.result = self._ended(job, f"was killed by {_signal_name(-code)}")
        elif "No space left on device" in said:
            job.result = _no_space(bench.folder, "No space left on device")
        elif code != 0:
            job.result = self._rejected(job, said)
        else:
            job.result = self._take(job, bench.folder)
        bench.clear()
        self._free.append(bench)

    def _take(self, job: _Job[T], folder: str) -> bytes | Diagnostic:
        path = f"{folder}/{job.name}.bpf.o"
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                size = os.fstat(fd).st_size
                data = os.read(fd, size)
            finally:
                os.close(fd)
        except OSError as e:
            return self._ended(job, f"succeeded, but its object cannot be read: {e.strerror}")
        if len(data) != size or data[:4] != b"\x7fELF":
            return self._ended(job, "succeeded, but wrote no ELF object")
        self._cache.put("object", job.key, data)
        return data

    def _ended(self, job: _Job[T], how: str) -> Diagnostic:
        return Diagnostic(
            "SP406", f"the compiler {self._compiler.path} {how} (at `{job.name}`)", None, help=_TRY_ANOTHER
        )

    def _rejected(self, job: _Job[T], said: str) -> Diagnostic:
        """specc's own C does not compile: a bug of specc, told with all that a report of it needs."""
        kept = _keep(job.name, job.c_text, self._cache)
        errors = [e for line in said.splitlines() if (e := _error_of(line, kept)) is not None]
        others = [f"{where.line}:{where.column}: {text}" for where, text in errors[1:_SHOWN_ERRORS]]
        if len(errors) > _SHOWN_ERRORS:
            others.append(f"and {len(errors) - _SHOWN_ERRORS} more errors")
        where, text = errors[0] if errors else (Location(kept), said.strip().partition("\n")[0] or "no message")
        return Diagnostic(
            "SP402",
            f"the compiler rejects the C that specc made for `{job.name}`: {text}",
            where,
            notes=(*others, f"compiler: {self._compiler.kind} {self._compiler.version}, {self._compiler.path}"),
            help=f"this is a bug of specc, not of the spec; please report it with {kept}",
        )


_TRY_ANOTHER: Final = "try again, or choose another compiler with --compiler"


def _no_space(folder: str, why: str | None) -> Diagnostic:
    return Diagnostic(
        "SP407", f"cannot write temporary files in {folder}: {why}", None, help="make room there, or set $TMPDIR"
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _keep(name: str, c_text: str, cache: Cache) -> str:
    """Leave a C text that does not compile where the user finds it; its path, or its bare name if nothing can be written."""
    for base in (cache.root, os.environ.get("TMPDIR") or "/tmp"):
        if base is None:
            continue
        folder = (
            f"{base}/rejected-{digest(c_text)[:16]}" if base == cache.root else f"{base}/specc-{os.urandom(8).hex()}"
        )
        path = f"{folder}/{name}.bpf.c"
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                write_all(fd, c_text.encode())
            finally:
                os.close(fd)
        except OSError:
            continue  # the next place, else none: the message does not depend on it
        return path
    return f"{name}.bpf.c"


def _error_of(line: str, file: str) -> tuple[Location, str] | None:
    """`NAME.bpf.c:12:3: error: text` as a place in `file` and the text."""
    for word in (": error: ", ": fatal error: "):
        place, found, text = line.partition(word)
        if found:
            numbers = place.rsplit(":", 2)[1:]
            if len(numbers) == 2 and all(n.isdecimal() for n in numbers):
                return Location(file, int(numbers[0]), int(numbers[1])), text
            return Location(file), text
    return None

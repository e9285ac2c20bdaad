"""The command line: arguments, exit codes, and what happens when something unforeseen does.

    main(["build", "specs/gup.yaml"])       # 0

Exit codes: 0 fine; 1 findings: what was named is wrong; 2 bad usage, that is, a command line without a meaning, or a bug;
3 this machine lacks something, room and access for files among them; 130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import io
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from specc import __version__
from specc.outputs import NO_ROOM

COMMANDS = ("build", "check", "lock", "diff", "show", "run", "schema", "new", "btf", "doctor", "explain")
_FORMATS = ("full", "concise", "json", "github")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: {message}\n")


class _Skipped:
    """In the place of the parser of a command that is not the one that was given."""

    def add_argument(self, *_: object, **__: object) -> None:
        pass


def _parser(only: str | None = None) -> argparse.ArgumentParser:
    """The parser of all commands; of one alone where it is known, which takes a quarter of the time."""
    parser = _Parser(
        prog="specc", description="Compile declarative probe specs: arguments by name, from the right place or refused."
    )
    parser.add_argument("--version", action="version", version=f"specc {__version__}")
    commands: argparse._SubParsersAction[argparse.ArgumentParser] = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True, parser_class=_Parser
    )

    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--output-format", choices=_FORMATS, metavar="FORMAT", default=None,
        help="how findings are told: full (default), concise, json or github; also $SPECC_OUTPUT_FORMAT",
    )  # fmt: skip
    common.add_argument("-v", "--verbose", action="store_true", help="say more of what happens")
    source = argparse.ArgumentParser(add_help=False)
    source.add_argument("--btf", action="append", default=[], type=_named, metavar="FILE", help="BTF to take kernel prototypes from (may be repeated); default: the running kernel's")  # fmt: skip
    source.add_argument("--compiler", type=_named, metavar="clang|zig|PATH", help="the C compiler; default: clang, else the ziglang wheel; also $SPECC_COMPILER")  # fmt: skip
    header = argparse.ArgumentParser(add_help=False)
    header.add_argument("--header", action="append", default=[], type=_named, metavar="H", help="a C header that declares the function; <name> is searched as #include does")  # fmt: skip
    header.add_argument("--prototype", metavar="C", help="the function's declaration")
    header.add_argument("-I", dest="include", action="append", default=[], type=_named, metavar="DIR", help="where headers are searched")  # fmt: skip
    header.add_argument("-D", dest="define", action="append", default=[], metavar="NAME[=VALUE]", help="a macro for the headers")  # fmt: skip

    def command(name: str, help: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser | _Skipped:
        if only not in (None, name):
            return _Skipped()
        return commands.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".", parents=[common, *parents])  # fmt: skip

    build = command("build", "compile specs to libbpf C, a header and a BPF object", source)
    build.add_argument("specs", nargs="*", type=_named, metavar="SPEC or DIR", help="default: the directory specs")
    build.add_argument("-o", "--output", default="generated", type=_named, metavar="DIR", help="where the files go; default: generated")  # fmt: skip
    build.add_argument("--emit", default="c,obj,header", metavar="LIST", help="which files: c, obj, header, python (a module that reads the events), jsonschema (of their records), separated by commas; default: c,obj,header")  # fmt: skip
    build.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file is missing, stale, edited or orphaned")  # fmt: skip
    build.add_argument("--diff", action="store_true", help="write nothing; print how the files differ from what they would be")  # fmt: skip
    build.add_argument("--locked", action="store_true", help="write nothing unless the specs give what specc.lock says")  # fmt: skip
    build.add_argument("-j", "--jobs", type=_positive, default=None, metavar="N", help="compilers at a time; default: one per processor")  # fmt: skip
    build.add_argument("-MD", dest="make_dependencies", action="store_true", help="also write NAME.d, the dependencies for make")  # fmt: skip

    check = command("check", "find every error of every spec, and write nothing", source)
    check.add_argument("specs", nargs="*", type=_named, metavar="SPEC or DIR", help="default: the directory specs")
    check.add_argument("--format", choices=("text", "json"), default="text", help="where arguments are on each target: tables (default) or JSON")  # fmt: skip
    check.add_argument("--no-lock", dest="lock", action="store_false", help="do not compare with specc.lock")
    check.add_argument("--no-resolve", dest="resolve", action="store_false", help="check the text only, without prototypes")  # fmt: skip

    lock = command("lock", "write down in specc.lock what specs give, for reviews and for build --locked", source)
    lock.add_argument("specs", nargs="*", type=_named, metavar="SPEC or DIR", help="default: the directory specs")
    lock.add_argument("--emit", default="c,obj,header", metavar="LIST", help="which outputs to record: as build --emit; default: c,obj,header")  # fmt: skip
    lock.add_argument("-j", "--jobs", type=_positive, default=None, metavar="N", help="compilers at a time; default: one per processor")  # fmt: skip

    diff = command("diff", "say whether a change of specs breaks those who read their events", source)
    diff.add_argument("what", nargs="*", type=_named, metavar="OLD NEW", help="two specs or two locks; with --against, the specs to compare (default: the directory specs)")  # fmt: skip
    diff.add_argument("--against", metavar="git:REF", help="compare with the specs of a commit")
    diff.add_argument("--format", choices=("text", "json"), default="text", help="lines (default) or JSON")

    show = command("show", "show where every argument of a function is, or a spec's events", source, header)
    show.add_argument("function", nargs="?", type=_named, metavar="FUNCTION or SPEC")
    show.add_argument("--elf", type=_named, metavar="FILE", help="the function is in this program or library: by its debug information, and compared with a header")  # fmt: skip
    show.add_argument("--all", action="store_true", help="every function of the headers, of the BTF or of the ELF file")
    show.add_argument("--format", choices=("text", "json"), default="text", help="a picture (default) or JSON")
    show.add_argument("--kernel", action="store_true", help="the header's functions are kernel code, where floating arguments cannot be told")  # fmt: skip

    run = command("run", "build a spec, load and attach it, and print its events until Ctrl-C", source)
    run.add_argument(
        "program", type=_named, metavar="SPEC or OBJECT", help="a spec, or an object that `specc build` made"
    )
    run.add_argument(
        "--format",
        choices=("table", "jsonl", "csv", "arrow", "parquet", "folded"),
        help="default: by the ending of FILE, or table",
    )
    run.add_argument("-o", "--output", type=_named, metavar="FILE", help="where the events go; default: stdout")
    run.add_argument("--count", type=_positive, metavar="N", help="end after N events")
    run.add_argument("--duration", type=_seconds, metavar="S", help="end after S seconds")
    run.add_argument("--pid", type=_positive, metavar="P", help="only the process P; ends when it does")
    run.add_argument("--comm", metavar="NAME", help="only tasks of this name, of at most 15 bytes (`ps -o comm`)")
    run.add_argument("--cgroup", metavar="PATH", help="only tasks in this cgroup (v2) and those below it")
    run.add_argument("--attach", choices=("auto", "link", "perf", "legacy"), default="auto", help="by a BPF link, by perf_event_open, or through tracefs; default: the best that works")  # fmt: skip
    run.add_argument("--dry-run", action="store_true", help="load, attach, detach")
    run.add_argument("--force", action="store_true", help="run although the running kernel declares a function differently")  # fmt: skip

    schema = command("schema", "print the JSON Schema of specs, or of a spec's records", source)
    schema.add_argument("--event", type=_named, metavar="SPEC", help="the records that this spec's probes give")

    new = command("new", "write a spec for a function, with every argument listed", source, header)
    new.add_argument("function", type=_named, metavar="FUNCTION")
    new.add_argument(
        "--uprobe", type=_named, metavar="PATH", help="the function is in this program or library, not in the kernel"
    )
    new.add_argument("-o", "--output", type=_named, metavar="FILE", help="default: stdout; never overwrites")

    btf = command("btf", "get BTF out of a kernel image, a package, an archive or a module; or a small part of it")
    btf.add_argument("file", nargs="?", type=_named, metavar="FILE", help="vmlinuz, vmlinux, .deb, .btf.tar.xz, .ko or raw BTF; default: the running kernel")  # fmt: skip
    btf.add_argument("-o", "--output", type=_named, metavar="OUT", help="write raw BTF; default: say what was found")
    btf.add_argument("--functions", action="append", default=[], metavar="A,B", help="only what these functions need")
    btf.add_argument("--spec", action="append", default=[], type=_named, metavar="SPEC or DIR", help="only what the probes of this spec need (may be repeated)")  # fmt: skip
    btf.add_argument("--types", action="append", default=[], metavar="A,B", help="types to keep with their members, also where they are only pointed at")  # fmt: skip
    btf.add_argument("--optional", action="store_true", help="leave functions and types out that this BTF does not have")  # fmt: skip
    btf.add_argument("--base", type=_named, metavar="FILE", help="the kernel that a module was built for")
    btf.add_argument("--module", metavar="NAME", help="a module of the running kernel, or in the package FILE")

    doctor = command("doctor", "say what works on this machine, and what is affected by what does not", source)
    doctor.add_argument("--format", choices=("text", "json"), default="text", help="a table (default) or JSON")

    explain = command("explain", "say what a diagnostic code means and how to mend it")
    explain.add_argument("code", nargs="?", metavar="CODE")
    return parser


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not int(text[:20]):
        raise argparse.ArgumentTypeError(f"`{text}` is not a positive number")
    return int(text[:20])  # more digits than that are as good as no limit


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e9:
        raise argparse.ArgumentTypeError(f"`{text}` is not a duration in seconds, such as 2.5")
    return number


def _named(text: str) -> str:
    """A file, a directory or a function: an empty word is what an unset variable of a script leaves, and names none."""
    if not text:
        raise argparse.ArgumentTypeError("an empty name is given")
    return text


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; never raises for what a user can do."""
    # Nearly all that is made lives until the end, so looking for garbage often finds none and takes a tenth of the time.
    gc.set_threshold(100_000, 50, 100)
    _make_streams_usable()
    ended: list[int] = []
    before = _end_by_exception(ended)
    try:
        return _main(argv, ended)
    finally:
        for number in before:
            signal.signal(number, signal.SIG_DFL)


def _main(argv: Sequence[str] | None, ended: list[int]) -> int:
    try:
        try:
            words = sys.argv[1:] if argv is None else argv
            options = _parser(words[0] if words and words[0] in COMMANDS else None).parse_args(words)
        except SystemExit:
            sys.stdout.flush()  # --help and --version end here
            raise
        if options.output_format is None:
            options.output_format = os.environ.get("SPECC_OUTPUT_FORMAT") or "full"
            if options.output_format not in _FORMATS:
                print(f"specc: $SPECC_OUTPUT_FORMAT is `{options.output_format}`, not one of {', '.join(_FORMATS)}", file=sys.stderr)  # fmt: skip
                return 2
        code = int(importlib.import_module(f"specc.commands.{options.command}").run(options))
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Who reads has enough; the interpreter's own flush at exit must not complain about it.
        _abandon_stdout()
        return 0
    except KeyboardInterrupt:
        if ended:  # whoever sent the signal sees that it was this which ended the command
            signal.signal(ended[0], signal.SIG_DFL)
            os.kill(os.getpid(), ended[0])
        print("interrupted", file=sys.stderr)
        return 130
    except OSError as problem:
        if problem.filename is not None or problem.errno not in NO_ROOM:
            return _bug(problem)
        _abandon_stdout()
        print(f"specc: cannot write the output: {problem.strerror}", file=sys.stderr)
        return 3
    except Exception as problem:
        return _bug(problem)


class _Unfailing(io.FileIO):
    """Where messages go. That nobody takes them is no reason to stop what was asked for."""

    def write(self, data: object) -> int:
        written = None  # nor is one that would have to wait
        with contextlib.suppress(OSError):
            written = super().write(data)  # type: ignore[arg-type]
        return len(data) if written is None else written  # type: ignore[arg-type]


def _make_streams_usable() -> None:
    """Standard streams that were closed are taken by what fails when it is written to (stdout), or never (stderr): else the
    next file to be opened would be in their place, and `print` would give messages to stdout."""
    for number, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, flags), True)  # it gets the lowest number that is free: this one
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stderr is None or sys.stderr is sys.__stderr__:
        encoding = "utf-8" if sys.stderr is None else sys.stderr.encoding
        raw = io.BufferedWriter(_Unfailing(2, "w", closefd=False))
        sys.stderr = io.TextIOWrapper(raw, encoding, "backslashreplace", line_buffering=True)


def _end_by_exception(ended: list[int]) -> list[int]:
    """SIGTERM and SIGHUP end a command as Ctrl-C does, with everything removed that it made for itself. Which of them are
    taken care of so."""
    taken: list[int] = []

    def handler(number: int, _: object) -> None:
        if not ended:
            ended.append(number)
            raise KeyboardInterrupt

    with contextlib.suppress(ValueError):  # not in the main thread: whoever runs `main` there has signals of his own
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:  # nohup has SIGHUP ignored, and means it
                signal.signal(number, handler)
                taken.append(number)
    return taken


def _abandon_stdout() -> None:
    from specc.commands.common import abandon_stdout

    abandon_stdout()


def _bug(problem: Exception) -> int:
    if os.environ.get("SPECC_TRACEBACK"):
        raise problem
    print(f"specc: internal error: {type(problem).__name__}: {problem}", file=sys.stderr)
    print("This is a bug of specc. Please report it, with what SPECC_TRACEBACK=1 adds.", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())

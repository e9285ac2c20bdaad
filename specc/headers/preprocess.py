"""Headers -> preprocessed text: one run of `cc -E`, for x86-64 user C whatever the compiler's own target is.

In: header paths, include directories, macros, and the compiler's command.  Out: `Preprocessed`.

    running = start_preprocess([Path("include/mm.h")], [], {}, ["clang"])
    ...                                       # import, read the rest of the spec
    running.finish().text                     # with line markers; .dependencies names every file that was read

The compiler writes to files in memory, so that it never waits for us.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, NoReturn

from specc.diagnostics import Location, Stop, did_you_mean, stop
from specc.noun import dataclass

if TYPE_CHECKING:
    import subprocess

TIMEOUT: Final = 120.0  # seconds; a header that needs longer includes something endless
_MARKER: Final = re.compile(r'^#(?:line)? \d+ "((?:[^"\\\n]|\\.)+)"', re.M)
_MESSAGE: Final = re.compile(
    r"^(?P<file>[^\n]+?):(?P<line>\d+)(?::(?P<column>\d+))?: (?:fatal )?error: (?P<text>.*)$", re.M
)
_MISSING: Final = re.compile(r"^'?(?P<name>[^']+?)'?(?: file not found|: No such file or directory)")
_MACRO: Final = re.compile(r"[A-Za-z_]\w*(?:\([\w\s,.]*\))?")


@dataclass(frozen=True, slots=True)
class Preprocessed:
    """`dependencies` are the files that were read, in the order of their first use, as the compiler names them."""

    text: str
    dependencies: tuple[str, ...]


class Preprocessing:
    """A preprocessor at work. `finish()` waits for it; `cancel()` ends it when the result is not wanted."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        out: IO[bytes],
        err: IO[bytes],
        headers: Sequence[Path],
        places: Sequence[Location],
    ) -> None:
        self._process = process
        self._out = out
        self._err = err
        self._headers = tuple(headers)
        self._places = tuple(places)

    def cancel(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._out.close()
        self._err.close()

    def finish(self) -> Preprocessed:
        import subprocess

        try:
            status = self._process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self.cancel()
            raise stop("SP211", f"preprocessing took longer than {TIMEOUT:.0f} seconds", self._place(0)) from None
        try:
            text, errors = _read(self._out), _read(self._err)
        finally:
            self._out.close()
            self._err.close()
        if status != 0:
            raise self._failure(errors)
        files = dict.fromkeys(m[1].replace('\\"', '"').replace("\\\\", "\\") for m in _MARKER.finditer(text))
        return Preprocessed(text, tuple(f for f in files if not f.startswith("<")))

    def _place(self, number: int) -> Location | None:
        if number < len(self._places):
            return self._places[number]
        return Location(str(self._headers[number])) if number < len(self._headers) else None

    def _failure(self, errors: str) -> Stop:
        m = _MESSAGE.search(errors)
        if m is None:
            lines = [line for line in errors.splitlines() if line.strip()]
            return stop(
                "SP211",
                f"the preprocessor failed: {lines[0] if lines else 'it gave no reason'}",
                self._place(0),
                notes=lines[1:4],
            )
        where: Location | None
        if m["file"] in ("<stdin>", "-", "<built-in>", "<command line>", "<command-line>"):
            where = self._place(int(m["line"]) - 1)
        else:
            where = Location(m["file"], int(m["line"]), int(m["column"] or 1))
        missing = _MISSING.match(m["text"])
        if missing is not None:
            return stop(
                "SP210",
                f"header `{missing['name']}` not found",
                where,
                help=_similar(missing["name"], where)
                or "add the directory that holds it to `include_dirs`, or install the package that brings it",
            )
        return stop(
            "SP211",
            f"the preprocessor failed: {m['text']}",
            where,
            notes=[f"{m['file']}:{m['line']}"] if not where else (),
        )


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", errors="replace")


def _similar(name: str, where: Location | None) -> str | None:
    folder = Path(name).parent if Path(name).is_absolute() else Path(where.file).parent if where else Path()
    try:
        names = [p.name for p in folder.iterdir() if p.suffix in (".h", ".hh", ".hpp", Path(name).suffix)]
    except OSError:
        return None
    return did_you_mean(Path(name).name, names)


def target_flags(compiler: Sequence[str]) -> list[str]:
    """What makes this compiler a C compiler for x86-64 Linux."""
    if any(word.lstrip("-").startswith("target") for word in compiler):
        return []  # the caller has chosen
    words = [Path(word).name for word in compiler]
    if any(word == "ziglang" or word == "zig" or word.startswith("zig-") for word in words):
        return ["-target", "x86_64-linux-gnu"]
    if any("clang" in word for word in words):
        return ["--target=x86_64-linux-gnu"]
    return ["-m64"]


def start_preprocess(
    headers: Sequence[Path],
    include_dirs: Sequence[Path],
    defines: Mapping[str, str] | Sequence[tuple[str, str]],
    compiler: Sequence[str],
    *,
    places: Sequence[Location] = (),
    flags: Sequence[str] = (),
    after: str = "",
) -> Preprocessing:
    """Start the preprocessor. `places` says where each header is named in the spec, for errors about it; `after` is text
    that follows the headers.

    `<openssl/ssl.h>` is searched for like a system header. A header that exists is included by its path; any other
    name is left to the compiler's search in `include_dirs` and the system's directories. Raises Stop when a header cannot be a header, or the compiler does not start.
    """
    import subprocess
    import tempfile

    lines = []
    for number, header in enumerate(headers):
        where = places[number] if number < len(places) else Location(str(header))
        lines.append(_include(header, where))
    pairs = defines.items() if isinstance(defines, Mapping) else defines
    arguments = [*compiler, *target_flags(compiler), "-E", "-x", "c", *flags]
    for name, value in pairs:
        if not _MACRO.fullmatch(name):
            raise stop("SP211", f"`{name}` is not the name of a macro", places[0] if places else None)
        arguments.append(f"-D{name}={value}")
    arguments += [f"-I{_text(d)}" for d in include_dirs]
    source = tempfile.TemporaryFile()  # noqa: SIM115 - the child owns it
    source.write("".join([*lines, after]).encode("utf-8", errors="surrogateescape"))
    source.seek(0)
    out, err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - closed by finish() and cancel()
    try:
        process = subprocess.Popen([*arguments, "-"], stdin=source, stdout=out, stderr=err, env=_environment())
    except OSError as e:
        out.close()
        err.close()
        raise stop(
            "SP220",
            f"the compiler `{compiler[0]}` could not be started: {e.strerror or e}",
            None,
            help="install clang, or `pip install specc[zig]`",
        ) from None
    finally:
        source.close()
    return Preprocessing(process, out, err, headers, places)


def preprocess(
    headers: Sequence[Path],
    include_dirs: Sequence[Path],
    defines: Mapping[str, str] | Sequence[tuple[str, str]],
    compiler: Sequence[str],
    *,
    places: Sequence[Location] = (),
    flags: Sequence[str] = (),
    after: str = "",
) -> Preprocessed:
    return start_preprocess(headers, include_dirs, defines, compiler, places=places, flags=flags, after=after).finish()


def _text(path: Path) -> str:
    text = str(path)
    return f"./{text}" if text.startswith("-") else text


def _unwritable(text: str, where: Location) -> NoReturn:
    raise stop("SP210", f"the header name {text!r} cannot be written in an `#include`", where)


def _environment() -> dict[str, str]:
    """Messages in English, and no include directory that the spec does not name."""
    hidden = ("CPATH", "C_INCLUDE_PATH", "DEPENDENCIES_OUTPUT", "SUNPRO_DEPENDENCIES", "CCC_OVERRIDE_OPTIONS")
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return {**kept, "LC_ALL": "C", "NO_COLOR": "1"}


def _include(header: Path, where: Location) -> str:
    text = str(header)
    if text.startswith("<") and text.endswith(">"):
        return f"#include {text}\n" if re.fullmatch(r"<[^<>\n\r\0]+>", text) else _unwritable(text, where)
    if text.startswith("<") and text.endswith(">"):
        if not re.fullmatch(r"<[\w./+-]+>", text):
            raise stop("SP210", f"the header name {text!r} cannot be written in an `#include`", where)
        return f"#include {text}\n"
    if re.search(r'["\n\r\\\0]', text):
        _unwritable(text, where)
    try:
        mode: int | None = header.stat().st_mode
    except (OSError, ValueError):
        mode = None
    if mode is not None and not stat.S_ISREG(mode):
        # A FIFO or a terminal would keep the compiler waiting for ever.
        raise stop("SP210", f"`{text}` is not a file", where)
    # As it was named: the text goes in by standard input, so a relative path starts at the working directory, and the
    # line markers, and with them every message, show it as the user wrote it.
    return f'#include "{text}"\n'

"""Find a C compiler with a BPF target on this machine, and know it well enough to name it in a cache key.

In: what the user asked for ("clang", "zig", a path, or nothing), PATH, the `ziglang` wheel.  Out: a `Compiler`, or a
Stop (SP401, SP403 to SP405) that says what to do.

    compiler = find_compiler(None)      # clang 14 or newer, else the zig of `pip install 'specc[zig]'`
    compiler.compile_argv               # ("/usr/bin/clang", "-target", "bpf", "-mcpu=v3", "-O2", "-g", ...)
    compiler.identity                   # "Debian clang version 14.0.6 ..." and more, for hashing

Once asked, a compiler is remembered by its file's size, times and inode, so a rebuild starts no process for it. Like
`cache`, this module is on the fast path and imports nothing heavy before something is wrong.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from specc.cache import Cache, digest, open_cache

TYPE_CHECKING = False  # typing takes as long to import as a rebuild; type checkers know the name
if TYPE_CHECKING:
    from subprocess import Popen

OLDEST = 14
_PROBE_SECONDS = 60.0

# Why each flag:
# -mcpu=v3: 32-bit registers and jumps (ALU32, JMP32), known to kernels since 5.1 and what clang 20 made its default;
#   v4 needs 6.6. Pinned, since the default changes from one clang to the next.
# -g -gcodeview -gcolumn-info: BTF is made from debug info, DWARF is not wanted. CodeView exists on Windows only, so
#   asking for it turns DWARF off and leaves BTF as it was, byte for byte: an object of 3 kB instead of 7.
# -fdebug-compilation-dir=.: BTF holds the source's path (and its lines, for the verifier's log): "./NAME.bpf.c".
# -fno-ident, -fno-addrsig: no compiler name, and no section that only a linker reads.
# -fno-stack-protector: some distributions turn it on by default, and BPF has none.
_BPF_FLAGS = (
    *("-target", "bpf", "-mcpu=v3", "-std=gnu11", "-O2", "-g", "-gcodeview", "-gcolumn-info"),
    *("-nostdinc", "-fdebug-compilation-dir=.", "-fcoverage-compilation-dir=.", "-fno-ident", "-fno-addrsig"),
    *("-fno-stack-protector", "-fno-color-diagnostics", "-fno-crash-diagnostics", "-Wno-everything"),
    "-Werror=implicit-function-declaration",  # an object with an undefined function would fail only when it is loaded
)
_HOST_FLAGS = ("-E", "--target=x86_64-linux-gnu", "-fno-color-diagnostics")

# What would make clang read or write something that neither the command line nor the cache key shows.
_HIDDEN_INPUTS = ("CCC_OVERRIDE_OPTIONS", "CPATH", "C_INCLUDE_PATH", "DEPENDENCIES_OUTPUT", "SUNPRO_DEPENDENCIES")


class Compiler:
    """A compiler that was tried and works. Frozen; a dataclass would take longer to import than a rebuild takes.

    `compile_argv` compiles BPF: append "-c", a source and "-o" with an object. `preprocess_argv` preprocesses C for
    x86-64 Linux: append options and a source. Both want `environment()`. Equal `identity`, equal objects.
    """

    __slots__ = ("compile_argv", "identity", "kind", "path", "preprocess_argv", "version")

    kind: str  # "clang" or "zig"
    path: str
    version: str  # "14.0.6": clang's, also for zig
    compile_argv: tuple[str, ...]
    preprocess_argv: tuple[str, ...]
    identity: str

    def __init__(self, kind: str, path: str, version: str, identity: str) -> None:
        def put(name: str, value: object) -> None:
            object.__setattr__(self, name, value)

        # `zig clang` is zig's clang under clang's own options: twice as fast as `zig cc`, which adds a cache of its
        # own, sanitizers and a musl of its choice.
        start = (path, "clang") if kind == "zig" else (path,)
        # Configuration files of the user are read by default since clang 16, and the option to ignore them came then.
        plain = ("--no-default-config",) if _major(version) >= 16 else ()
        put("kind", kind)
        put("path", path)
        put("version", version)
        put("compile_argv", (*start, *plain, *_BPF_FLAGS))
        put("preprocess_argv", (*start, *plain, *_HOST_FLAGS, *(_zig_headers(path) if kind == "zig" else ())))
        put("identity", identity)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Compiler is frozen: {name}")

    def __repr__(self) -> str:
        return f"Compiler({self.kind!r}, {self.path!r}, {self.version!r})"


def environment() -> dict[str, str]:
    """The environment for compilers: the user's, without what would change their output unseen; messages in English."""
    env = {name: value for name, value in os.environ.items() if name not in _HIDDEN_INPUTS}
    env["LC_ALL"] = "C"
    env["LLVM_DISABLE_SYMBOLIZATION"] = (
        "1"  # a clang that crashes (say, on a full disk) need not explain itself for long
    )
    return env


def find_compiler(request: str | None = None, *, cache: Cache | None = None) -> Compiler:
    """The compiler to use. `request` is --compiler: "clang", "zig", a path or a command's name; None asks
    $SPECC_COMPILER and then takes the best there is. Raises Stop."""
    from_env = "" if request else os.environ.get("SPECC_COMPILER", "")
    wanted = request or from_env or None
    cache = open_cache() if cache is None else cache
    match wanted:
        case None:
            return _find_clang(cache, then_zig=True)
        case "clang":
            return _find_clang(cache, then_zig=False)
        case "zig":
            return _find_zig(cache)
        case _:
            origin = "$SPECC_COMPILER" if from_env else "--compiler"
            path = _which(wanted)
            if path is None:
                raise _stop(
                    "SP405",
                    f"no compiler `{wanted}` (asked for by {origin})",
                    "no such file, or not executable" if os.sep in wanted else "no such command on $PATH",
                    help=f"{origin} takes `clang`, `zig`, or the path of a clang or zig program",
                )
            found = _examine(path, cache)
            if isinstance(found, _Unfit):
                raise _stop(
                    found.code, f"`{wanted}` (asked for by {origin}) {found.message}", *found.notes, help=found.help
                )
            return found


class _Unfit:
    """Why a program is not a compiler for us."""

    def __init__(self, code: str, message: str, *notes: str, help: str) -> None:
        self.code = code
        self.message = message
        self.notes = notes
        self.help = help


def _find_clang(cache: Cache, *, then_zig: bool) -> Compiler:
    """`clang`, else the highest `clang-NN`, else, when wanted, zig; else all that was tried and why it would not do."""
    from_path: list[tuple[str, _Unfit]] = []
    for path in _clangs():
        found = _examine(path, cache)
        if isinstance(found, Compiler):
            return found
        from_path.append((path, found))
    if then_zig and (zig := _zig_path()) is not None:
        found = _examine(zig, cache)
        if isinstance(found, Compiler):
            return found
        from_path.append((zig, found))
    # One compiler that is nearly right is a more useful message than "there is none".
    if len(from_path) == 1:
        path, unfit = from_path[0]
        raise _stop(unfit.code, f"{path} {unfit.message}", *unfit.notes, help=_INSTALL)
    tried = [f"{path} {unfit.message}" for path, unfit in from_path]
    if not tried:
        tried.append("no `clang` or `clang-NN` on $PATH")
        if then_zig:
            tried.append(f"no `ziglang` package in {sys.prefix}, no `zig` on $PATH")
    raise _stop("SP401", "there is no compiler with a BPF target on this machine", *tried, help=_INSTALL)


_INSTALL = f"pip install 'specc[zig]' (needs no root), or install clang {OLDEST} or newer (`apt install clang`)"


def _find_zig(cache: Cache) -> Compiler:
    path = _zig_path()
    if path is None:
        raise _stop(
            "SP401",
            "there is no zig on this machine",
            f"no `ziglang` package in {sys.prefix}, no `zig` on $PATH",
            help="pip install 'specc[zig]'",
        )
    found = _examine(path, cache)
    if isinstance(found, _Unfit):
        raise _stop(found.code, f"{path} {found.message}", *found.notes, help=found.help)
    return found


def _clangs() -> Iterator[str]:
    """Every clang on PATH, best first: `clang`, then `clang-NN` from the highest. Lazy: the first one mostly will do."""
    if (plain := _which("clang")) is not None:
        yield plain
    numbered: dict[int, str] = {}
    for folder in os.get_exec_path():
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue  # PATH may name what does not exist
        for name in names:
            number = name.removeprefix("clang-")
            if number != name and number.isdecimal() and int(number) not in numbered:
                path = os.path.join(folder, name)
                if os.access(path, os.X_OK):
                    numbered[int(number)] = path
    for number_ in sorted(numbered, reverse=True):
        yield numbered[number_]


def _which(command: str) -> str | None:
    """The absolute path of a command, as a shell would find it. (shutil.which takes 5 ms to import.)"""
    folders = [""] if os.sep in command else os.get_exec_path()
    for folder in folders:
        path = os.path.abspath(os.path.join(folder, command))
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def _zig_path() -> str | None:
    """The zig binary inside the `ziglang` wheel of this interpreter, else a `zig` on PATH.

    The wheel is found by its directory: importing it, or running `python -m ziglang`, costs a Python start.
    """
    for folder in sys.path:
        path = os.path.join(folder or ".", "ziglang", "zig")
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return os.path.abspath(path)
    return _which("zig")


def _zig_headers(zig: str) -> Iterator[str]:
    """Options that let zig's clang find the compiler's own headers, and after the system's headers those of the glibc
    that zig carries: a machine without libc6-dev can still read stdio.h."""
    lib = os.path.join(os.path.dirname(os.path.realpath(zig)), "lib")
    yield from ("-nobuiltininc", "-isystem", os.path.join(lib, "include"))
    include = os.path.join(lib, "libc", "include")
    # The first pair has one name or the other from version to version of zig; clang ignores what does not exist.
    for name in (
        "x86_64-linux-gnu",
        "x86-linux-gnu",
        "generic-glibc",
        "x86_64-linux-any",
        "x86-linux-any",
        "any-linux-any",
    ):
        yield from ("-idirafter", os.path.join(include, name))


def known_compiler(request: str | None, *, cache: Cache) -> Compiler | None:
    """What `find_compiler` gives, if it was asked before; else None, and the compiler that is probably the one is being
    asked while the caller goes on. (What must be asked each time is asked, and waited for.)"""
    wanted = request or os.environ.get("SPECC_COMPILER", "")
    match wanted:
        case "" | "clang":
            path = next(_clangs(), None)
            if path is None and not wanted:
                path = _zig_path()
        case "zig":
            path = _zig_path()
        case _:
            path = _which(wanted)
    if path is None:
        return None
    if not _fingerprint(path)[2]:
        found = _examine(path, cache)
        return found if isinstance(found, Compiler) else None
    known = _remembered(path, cache)
    if known is None and path not in _begun:
        try:
            _begun[path] = _open(_question(path, _kinds(path)[0]))
        except OSError:
            return None  # find_compiler will say so
    return known


def _examine(path: str, cache: Cache) -> Compiler | _Unfit:
    """Whether a program compiles for BPF, and which it is: from the cache, else by having it compile an empty file."""
    known = _remembered(path, cache)
    if known is not None:
        return known
    found = _ask(path)
    if isinstance(found, _Unfit):
        return found
    key, stamp, steady = _fingerprint(path)
    if steady:
        cache.put("compiler", key, "\n".join(found).encode())
    return _compiler(path, "\n".join(found), stamp)


def _remembered(path: str, cache: Cache) -> Compiler | None:
    key, stamp, steady = _fingerprint(path)
    found = cache.get("compiler", key) if steady else None
    return None if found is None else _compiler(path, found.decode(), stamp)


def _compiler(path: str, description: str, stamp: str) -> Compiler:
    kind, version, line = description.split("\n")
    return Compiler(kind, path, version, f"{kind} {line} {stamp}")


def _fingerprint(path: str) -> tuple[str, str, bool]:
    """The key under which a program is remembered, what tells it from its next version, and whether that can be trusted:
    behind a wrapper (ccache, a shell script) the compiler changes while the wrapper does not, so it is asked each time.
    """
    real = os.path.realpath(path)
    st = os.stat(real)
    stamp = f"{st.st_size} {st.st_mtime_ns} {st.st_ino}"
    steady = os.path.basename(real).startswith(("clang", "zig")) and _is_elf(real)
    return digest("compiler", path, real, stamp, *_BPF_FLAGS), stamp, steady


def _is_elf(path: str) -> bool:
    try:
        with open(path, "rb", buffering=0) as f:
            return f.read(4) == b"\x7fELF"
    except OSError:
        return False  # a program may be executable and not readable


def _ask(path: str) -> tuple[str, str, str] | _Unfit:
    """Kind, version and version line of a program that compiles an empty file for BPF."""
    answers: list[str] = []
    for kind in _kinds(path):
        code, text = _answer(path, kind)
        line = _version_line(text)
        if line is None:  # a wrapper may keep what -v says to itself
            asked, said = _run([*_start(path, kind), "--version"])
            line = _version_line(said) if asked == 0 else None
            if line is None:
                answers.append(said)
                continue
        version = line.partition("clang version ")[2].split()[0]
        if _major(version) < OLDEST:
            return _Unfit(
                "SP403",
                f"is clang {version}, and specc needs {OLDEST} or newer",
                f"clang {OLDEST} is the oldest that specc is tested with",
                help=_INSTALL,
            )
        if code != 0:
            if "No available targets" in text or "unknown target triple" in text:
                return _Unfit("SP404", "has no BPF target", *_head(text), help=_INSTALL)
            return _Unfit(
                "SP404", "cannot compile an empty file for BPF", *_head(text.partition(line)[2]), help=_INSTALL
            )
        return kind, version, line
    return _Unfit("SP405", "is not clang, nor zig", *_head(answers[0]), help=_INSTALL)


def _kinds(path: str) -> tuple[str, str]:
    """A program by the name of zig is asked as zig first; others too when they do not answer as clang."""
    return ("zig", "clang") if os.path.basename(path).startswith("zig") else ("clang", "zig")


def _start(path: str, kind: str) -> list[str]:
    return [path, "clang"] if kind == "zig" else [path]


def _version_line(text: str) -> str | None:
    return next((x for x in text.splitlines() if "clang version " in x), None)


def _question(path: str, kind: str) -> list[str]:
    """One run that tells the version and whether an empty file can be compiled: with -v, clang says first who it is."""
    return [*_start(path, kind), *_BPF_FLAGS, "-v", "-S", "-x", "c", "-o", "-", "/dev/null"]


# Compilers that were asked ahead by `begin`, and whose answer nobody has looked at yet.
_begun: dict[str, Popen[bytes]] = {}


def _answer(path: str, kind: str) -> tuple[int, str]:
    process = _begun.pop(path, None) if kind == _kinds(path)[0] else None
    return _run(_question(path, kind)) if process is None else _ended(process)


def _run(argv: list[str]) -> tuple[int, str]:
    """Exit code and all output of a short-lived program; a failure to start or to end is a code and a text too."""
    try:
        process = _open(argv)
    except OSError as e:
        return 1, f"it does not start: {e.strerror}"
    return _ended(process)


def _open(argv: list[str]) -> Popen[bytes]:
    from subprocess import DEVNULL, PIPE, STDOUT, Popen

    return Popen(argv, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, env=environment())


def _ended(process: Popen[bytes]) -> tuple[int, str]:
    from subprocess import TimeoutExpired

    try:
        said, _ = process.communicate(timeout=_PROBE_SECONDS)
    except TimeoutExpired:
        return 1, f"it did not end within {_PROBE_SECONDS:.0f} s"
    finally:  # Ctrl-C too
        if process.returncode is None:
            process.kill()
            process.wait()
    return process.returncode, said.decode("utf-8", "replace")


def _head(text: str) -> list[str]:
    """What a program said, as a note: its first error, else its first line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    chosen = next((line for line in lines if "error:" in line), lines[0] if lines else None)
    return [] if chosen is None else [f"it said: {chosen[:200]}"]


def _major(version: str) -> int:
    digits = version.partition(".")[0]
    return int(digits) if digits.isdecimal() else 0


def _stop(code: str, message: str, *notes: str, help: str) -> Exception:
    from specc.diagnostics import stop

    return stop(code, message, None, notes=notes, help=help)

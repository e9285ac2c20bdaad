"""C compilers with a BPF target: where they are on this machine, how they are called, and those that were asked before.

In: what the user asked for ("clang", "zig", a path, or nothing), PATH, the `ziglang` wheel, the cache.  Out: a `Compiler`,
or None when `find` must ask it first.

    compiler = known_compiler(None, cache=open_cache())
    compiler.compile_argv               # ("/usr/bin/clang", "-target", "bpf", "-mcpu=v3", "-O2", "-g", ...)
    compiler.identity                   # "Debian clang version 14.0.6 ..." and more, for hashing

Once asked, a compiler is remembered by its file's size, times and inode, so a rebuild starts no process for it. Like
`cache`, this module is on the fast path and imports nothing heavy.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from specc.cache import Cache, digest

# Why each flag:
# -mcpu=v3: 32-bit registers and jumps (ALU32, JMP32), known to kernels since 5.1 and what clang 20 made its default;
#   v4 needs 6.6. Pinned, since the default changes from one clang to the next.
# -g -gcodeview -gcolumn-info: BTF is made from debug info, DWARF is not wanted. CodeView exists on Windows only, so
#   asking for it turns DWARF off and leaves BTF as it was, byte for byte: an object of 3 kB instead of 7.
# -fdebug-compilation-dir=.: BTF holds the source's path (and its lines, for the verifier's log): "./NAME.bpf.c".
# -fno-ident, -fno-addrsig: no compiler name, and no section that only a linker reads.
# -fno-stack-protector: some distributions turn it on by default, and BPF has none.
BPF_FLAGS = (
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
        plain = ("--no-default-config",) if major(version) >= 16 else ()
        put("kind", kind)
        put("path", path)
        put("version", version)
        put("compile_argv", (*start, *plain, *BPF_FLAGS))
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


def known_compiler(request: str | None, *, cache: Cache) -> Compiler | None:
    """What `find_compiler` gives, if it was asked before and need not be asked each time."""
    path = probable(request)
    return None if path is None else remembered(path, cache)


def probable(request: str | None) -> str | None:
    """The program that is probably the one: `find_compiler` takes another when this one will not do."""
    wanted = request or os.environ.get("SPECC_COMPILER", "")
    match wanted:
        case "" | "clang":
            path = next(clangs(), None)
            return zig_path() if path is None and not wanted else path
        case "zig":
            return zig_path()
        case _:
            return which(wanted)


def clangs() -> Iterator[str]:
    """Every clang on PATH, best first: `clang`, then `clang-NN` from the highest. Lazy: the first one mostly will do."""
    if (plain := which("clang")) is not None:
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


def which(command: str) -> str | None:
    """The absolute path of a command, as a shell would find it. (shutil.which takes 5 ms to import.)"""
    folders = [""] if os.sep in command else os.get_exec_path()
    for folder in folders:
        path = os.path.abspath(os.path.join(folder, command))
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def zig_path() -> str | None:
    """The zig binary inside the `ziglang` wheel of this interpreter, else a `zig` on PATH.

    The wheel is found by its directory: importing it, or running `python -m ziglang`, costs a Python start.
    """
    for folder in sys.path:
        path = os.path.join(folder or ".", "ziglang", "zig")
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return os.path.abspath(path)
    return which("zig")


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


def remembered(path: str, cache: Cache) -> Compiler | None:
    key, stamp, steady = fingerprint(path)
    found = cache.get("compiler", key) if steady else None
    return None if found is None else _described(path, found.decode(), stamp)


def remember(path: str, answer: tuple[str, str, str], cache: Cache) -> Compiler:
    """The compiler that has given this answer to `ask`."""
    key, stamp, steady = fingerprint(path)
    description = "\n".join(answer)
    if steady:
        cache.put("compiler", key, description.encode())
    return _described(path, description, stamp)


def _described(path: str, description: str, stamp: str) -> Compiler:
    kind, version, line = description.split("\n")
    return Compiler(kind, path, version, f"{kind} {line} {stamp}")


def fingerprint(path: str) -> tuple[str, str, bool]:
    """The key under which a program is remembered, what tells it from its next version, and whether that can be trusted:
    behind a wrapper (ccache, a shell script) the compiler changes while the wrapper does not, so it is asked each time.
    """
    real = os.path.realpath(path)
    st = os.stat(real)
    stamp = f"{st.st_size} {st.st_mtime_ns} {st.st_ino}"
    steady = os.path.basename(real).startswith(("clang", "zig")) and _is_elf(real)
    return digest("compiler", path, real, stamp, *BPF_FLAGS), stamp, steady


def _is_elf(path: str) -> bool:
    try:
        with open(path, "rb", buffering=0) as f:
            return f.read(4) == b"\x7fELF"
    except OSError:
        return False  # a program may be executable and not readable


def major(version: str) -> int:
    digits = version.partition(".")[0]
    return int(digits) if digits.isdecimal() else 0

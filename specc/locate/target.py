"""Where a user probe goes: a file and the offset of the code in it, which is what the kernel wants to know.

In: a `Target` of the program and the place where the spec names it.  Out: a `UserPlace`; Stop says why there is none.

    find_user_place(Target("libc.so.6", "malloc", 0, None), None)     # UserPlace("/lib/.../libc.so.6", 0x9a0d0, ...)
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Mapping
from typing import Final

from specc.diagnostics import Diagnostic, Location, Severity, Stop, did_you_mean, stop
from specc.elf import (
    EM_X86_64,
    ET_DYN,
    ET_EXEC,
    STT_FUNC,
    STT_GNU_IFUNC,
    STT_NOTYPE,
    Elf,
    NotElf,
    Symbol,
    file_offset,
    is_code,
    names_after,
    read_elf,
    symbols,
)
from specc.ir import Target
from specc.locate.files import NAME_A_PROGRAM, find, variant_warning
from specc.noun import dataclass, replace

# What helps with a name of several functions, and with nothing else.
SAY_WHICH: Final = "say which by `offset`, without `symbol`"

_COPIES: Final = re.compile(r"\.(isra|constprop|part|cold|lto_priv)\b")


@dataclass(frozen=True, slots=True)
class UserPlace:
    """`inode` tells whether the file was replaced since, `version` whether it was written to. `notes` are warnings about the choice that was made.
    `symbol` is the function that was found by its name; None for a place that was given as an offset.
    """

    path: str
    offset: int
    inode: tuple[int, int]
    version: tuple[int, int]
    notes: tuple[Diagnostic, ...] = ()
    symbol: Symbol | None = None


_Stamp = tuple[tuple[int, int], tuple[int, int]]


def stamp(status: os.stat_result) -> _Stamp:
    """A file's `inode` and `version`."""
    return (status.st_dev, status.st_ino), (status.st_size, status.st_mtime_ns)


class UserTargets:
    """Places in ELF files; each file is read once, however many probes it has."""

    def __init__(self, environ: Mapping[str, str] | None = None, pid: int | None = None) -> None:
        self._environ = os.environ if environ is None else environ
        self._pid = pid
        self._files: dict[str, tuple[Elf, _Stamp]] = {}

    def find(self, target: Target, where: Location | None) -> UserPlace:
        """Raises Stop."""
        found = find(target.path, where, self._environ, target.pid or self._pid)
        place = self._in_file(found.path, target, where)
        if not found.others:
            return place
        return replace(place, notes=(*place.notes, variant_warning(target.path, found, where)))

    def _in_file(self, path: str, target: Target, where: Location | None) -> UserPlace:
        elf, file = self._open(path, where)
        if elf.machine != EM_X86_64:
            raise stop(
                "SP449", f"`{path}` is not x86-64 code (its ELF machine is {elf.machine})", where, help=NAME_A_PROGRAM
            )
        if elf.type not in (ET_EXEC, ET_DYN):
            raise stop("SP449", f"`{path}` is neither a program nor a shared library", where, help=_LINKED)
        try:
            if target.symbol is None:
                return _at_offset(elf, path, file, target.offset, where)
            return _at_symbol(elf, path, file, target.symbol, target.offset, where)
        except NotElf as problem:
            raise stop("SP449", f"cannot read `{path}`: {problem}", where,
                       help="the file is damaged: install or link it again") from None  # fmt: skip

    def _open(self, path: str, where: Location | None) -> tuple[Elf, _Stamp]:
        if path not in self._files:
            try:
                with open(path, "rb") as file:
                    status = os.fstat(file.fileno())
                    data = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) if status.st_size else b""
                    self._files[path] = (read_elf(memoryview(data)), stamp(status))
            except OSError as problem:
                raise stop(
                    "SP449", f"cannot read `{path}`: {problem.strerror}", where, help="give access to it"
                ) from None
            except NotElf as problem:
                raise stop("SP449", f"`{path}` has no code to probe: {problem}", where, help=_script(path)) from None
        return self._files[path]


_LINKED = "a uprobe needs a file that processes run: link it first"


def _script(path: str) -> str:
    with open(path, "rb") as file:
        head = file.read(64)
    if head.startswith(b"#!"):
        return f"it is a script: probe its interpreter, {head[2:].splitlines()[0].decode('utf-8', 'replace').strip()}"
    if head.startswith(b"/* GNU ld"):
        return "it is a text for the linker; name the library that processes load, with its number: libc.so.6"
    return NAME_A_PROGRAM


def _at_offset(elf: Elf, path: str, file: _Stamp, offset: int, where: Location | None) -> UserPlace:
    if not is_code(elf, offset):
        raise stop("SP450", f"there is no code at offset {offset:#x} of `{path}`", where,
                   help="without a symbol, the offset counts from the beginning of the file")  # fmt: skip
    return UserPlace(path, offset, *file)


def _at_symbol(elf: Elf, path: str, file: _Stamp, wanted: str, offset: int, where: Location | None) -> UserPlace:
    name, _, version = wanted.partition("@")
    version = version.removeprefix("@")
    named = symbols(elf, name)
    if not named:
        raise _no_symbol(elf, path, name, where)
    if version:
        chosen = [s for s in named if s.version == version]
        if not chosen:
            known = sorted({s.version for s in named if s.version})
            raise stop("SP447", f"`{name}` in `{path}` has no version `{version}`", where,
                       help=did_you_mean(version, known), notes=[f"versions: {', '.join(known) or 'none'}"])  # fmt: skip
    else:
        chosen = [s for s in named if s.default] or named
    if any(s.type == STT_GNU_IFUNC for s in chosen):
        raise stop(
            "SP448",
            f"`{name}` in `{path}` is an indirect function: the symbol is a resolver, which runs once and picks the code",
            where,
            help="probe the implementation that it picks, by its own name or by an offset",
        )
    code = [s for s in chosen if s.type in (STT_FUNC, STT_NOTYPE)]
    if not code:
        raise stop("SP448", f"`{name}` in `{path}` is not a function", where, help="a uprobe needs code")
    shared = [s for s in code if not s.local] or code
    addresses = sorted({s.value for s in shared})
    if len(addresses) > 1:
        raise stop(
            "SP447",
            f"`{path}` has {len(addresses)} functions called `{name}`",
            where,
            notes=[f"at offset {file_offset(elf, a) or 0:#x} of the file" for a in addresses],
            help=SAY_WHICH,
        )
    size = max(s.size for s in shared)
    if offset and size and offset >= size:
        raise stop("SP450", f"`{name}` in `{path}` has {size} bytes, so {offset:#x} is not in it", where)
    at = file_offset(elf, addresses[0] + offset)
    if at is None:
        raise stop("SP450", f"`{wanted}{f'+{offset:#x}' if offset else ''}` is not in the code of `{path}`", where)
    notes = [*_other_versions(named, shared[0], version, path, where), *_copies(elf, name, path, where)]
    return UserPlace(path, at, *file, tuple(notes), shared[0])


def _copies(elf: Elf, name: str, path: str, where: Location | None) -> list[Diagnostic]:
    """A warning when some callers call a copy of the function, which a probe on it does not see."""
    found = sorted(set(names_after(elf, f"{name}.")))
    copies = [c for c in found if re.fullmatch(r"(\.(isra|constprop)(\.\d+)?)+", c.removeprefix(name))]
    if not copies:
        return []
    return [
        Diagnostic(
            "SP277",
            f"calls of {', '.join(f'`{c}`' for c in copies)} in `{path}` are not seen by a probe on `{name}`",
            where,
            ("the compiler made a copy of the function for some of its callers",),
            f"probe the copy too, by `symbol: {copies[0]}`",
            Severity.WARNING,
        )
    ]


def _other_versions(
    named: list[Symbol], chosen: Symbol, version: str, path: str, where: Location | None
) -> list[Diagnostic]:
    others = sorted({s.version for s in named if s.version and s.value != chosen.value})
    if version or not others or chosen.version is None:
        return []
    return [
        Diagnostic(
            "SP451",
            f"`{chosen.name}` in `{path}` has several versions; the probe is on the default one, {chosen.version}",
            where,
            notes=(f"programs that were linked long ago may call: {', '.join(others)}",),
            help=f"to be explicit: {chosen.name}@@{chosen.version}",
            severity=Severity.WARNING,
        )
    ]


def _no_symbol(elf: Elf, path: str, name: str, where: Location | None) -> Stop:
    every = symbols(elf)
    functions = {s.name for s in every if s.type == STT_FUNC}
    copies = sorted(n for n in functions if n.startswith(f"{name}.") and _COPIES.search(n))
    notes: list[str] = []
    hint: str | None = None
    if copies:
        notes.append(
            f"the compiler made {', '.join(copies)} of it, whose arguments may differ; it is not the function itself"
        )
        whole = [c for c in copies if ".part" not in c and ".cold" not in c]
        hint = (
            f"name the copy, if debug information tells where its arguments are: `symbol: {whole[0]}`"
            if whole
            else None
        )
    elif elf.find(".symtab") is None:
        notes.append("the file is stripped: only the functions that it exports have names")
        hint = (
            did_you_mean(name, functions)
            or "give the function's `offset` in the file, without `symbol`, or take a file that is not stripped"
        )
    else:
        notes.append("it may be inlined everywhere, or its name may be mangled (C++, Rust)")
        hint = did_you_mean(name, functions) or f"`nm {path}` lists what is there"
    mangled = sorted(n for n in functions if n.startswith("_") and f"{len(name)}{name}" in n)
    if mangled:
        hint = f"did you mean `{mangled[0]}`?"
    return stop("SP447", f"there is no function `{name}` in `{path}`", where, help=hint, notes=notes)

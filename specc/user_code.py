"""What the file of a user probe says of the function that is probed, by its debug information.

In: a probe's target.  Out: `Described`, or None where there is nothing that describes it; Stop says what is wrong.

    found = described(Target("./server", "handle", 0, None), where)
    found.subprogram.prototype, found.identity

Files are looked for as `specc run` does, so a declaration can be compared with the file when a spec is compiled, and
again with the file that it is run on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

from specc.diagnostics import Location, Stop
from specc.elf import NotElf, file_build_id
from specc.ir import Target
from specc.locate import UserPlace, UserTargets
from specc.noun import dataclass, replace
from specc.path import Complete
from specc.place import Placement, argument_names, place_text
from specc.prototype import (
    BitInt,
    Complex,
    CType,
    Enum,
    Parameter,
    Prototype,
    Record,
    Unknown,
    Vector,
    bare,
    decay,
    spell,
)

if TYPE_CHECKING:
    from specc.dwarf.judge import Subprogram
    from specc.dwarf.reader import Dwarf

# Without a prototype there is nothing to go on; with one, these say only that the file cannot be asked.
_SILENT = ("SP270", "SP272", "SP274")


@dataclass(frozen=True, slots=True)
class Described:
    """`files` are those that were read: the program's, and the one with its debug information. `complete` gives the members
    of records that the prototype only names."""

    subprogram: Subprogram
    identity: str
    files: tuple[str, ...]
    complete: Complete


def identity(path: str) -> str:
    """What tells a build of a file from another: its build id, else the hash of its bytes. Raises OSError, NotElf."""
    from specc.cache import file_digest

    return file_build_id(path) or f"sha256:{file_digest(path)}"


def described(place: UserPlace, name: str, where: Location | None, *, declared: bool = False) -> Described | None:
    """What DWARF says of the function at `place`; None when the file has no debug information.

    `declared` says that the prototype is known from elsewhere, so that only what contradicts it is of interest.
    """
    if place.symbol is None:
        return None
    try:
        dwarf = _opened(place.path, name, _stamp(place.path))
        if dwarf is None:
            return None
        found = dwarf.find(place.symbol, where, declared=declared)
        files = tuple(dict.fromkeys((place.path, dwarf.debug_path)))
        return Described(found, identity(place.path), files, dwarf.completed_by(place.symbol))
    except (OSError, NotElf):
        return None
    except Stop as problem:
        if declared and problem.diagnostic.code in _SILENT:
            return None
        raise


def find_place(target: Target, where: Location | None) -> UserPlace:
    """Where a target is on this machine. Raises Stop."""
    return UserTargets().find(target, where)


def _stamp(path: str) -> tuple[int, int, int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


@lru_cache(maxsize=8)
def _opened(path: str, name: str, stamp: tuple[int, int, int, int]) -> Dwarf | None:
    """Many probes are on one file; as long as it is the same, it is read once."""
    from specc.dwarf import open_dwarf

    return open_dwarf(path, name)


def disagreements(ours: Prototype, theirs: Prototype, used: list[str]) -> tuple[str, ...]:
    """Where a declaration and the file's own differ in what is used. A definition may call an argument otherwise than
    its declaration does, unless it calls another one so."""
    from specc.compare import argument_differences

    here, there = {p.name for p in ours.parameters}, {p.name for p in theirs.parameters}
    renamed = {i for i, (a, b) in enumerate(zip(ours.parameters, theirs.parameters, strict=False))
               if a.name not in there and b.name not in here}  # fmt: skip
    known = [p.type for p in ours.parameters]
    parameters = tuple(
        Parameter(
            None if i in renamed else p.name, known[i] if i < len(known) and _is_vague(known[i], p.type) else p.type
        )
        for i, p in enumerate(theirs.parameters)
    )
    found = argument_differences(ours, replace(theirs, parameters=parameters), used)
    return found + tuple(d for d in _unplaced(ours, theirs, used) if d not in found)


def _unplaced(ours: Prototype, theirs: Prototype, used: list[str]) -> Iterator[str]:
    """Differences that types which specc cannot place make: `compare` leaves them out, as one who does not know a type
    cannot contradict it. Here the file does know: it is another type, or passed in a way that C has no word for."""
    if theirs.convention != "sysv" and ours.convention == "sysv" and used:
        yield f"the code's calling convention is {theirs.convention}, not System V"
    last = max((i for i, p in enumerate(ours.parameters) if p.name in used), default=-1)
    pairs = [
        (f"argument {i + 1}" + (f" (`{a.name}`)" if a.name else ""), decay(a.type), decay(b.type))
        for i, (a, b) in enumerate(zip(ours.parameters, theirs.parameters, strict=False))
        if i <= last
    ]
    if used:
        pairs.insert(0, ("the result", ours.result, theirs.result))
    for what, here, there in pairs:
        unknown = bare(there)
        if isinstance(unknown, Unknown) and not isinstance(bare(here), Unknown) and not _is_vague(here, there):
            yield (
                f"{what} is `{spell(here)}` in {ours.source or 'the declaration'} and `{unknown.name}` in {theirs.source}:"
                f" {unknown.reason}"
            )


def _is_vague(here: CType, there: CType) -> bool:
    """Whether the file only knows less of the same type."""
    unknown = bare(there)
    return isinstance(unknown, Unknown) and not isinstance(bare(here), Unknown) and _may_be(bare(here), unknown)


def _may_be(ctype: CType, unknown: Unknown) -> bool:
    """Whether a declaration's type can be what the file has: the same by its name, of which only the file knows less."""
    match ctype:
        case Record(kind=kind, tag=tag):
            same = [f"{kind} {tag}", f"{kind} (anonymous)"] if tag else [unknown.name] * unknown.name.startswith(kind)
            return unknown.name in same and not unknown.certain
        case Enum():
            return unknown.name.startswith("enum ")
        case BitInt():
            return "_BitInt" in unknown.name
        case Complex():
            return "complex" in unknown.name.lower() and not unknown.certain
        case Vector():
            return unknown.name == "vector" and not unknown.certain
        case _:
            return False


def moved(prototype: Prototype, subprogram: Subprogram, places: dict[str, str]) -> tuple[str, ...]:
    """Which arguments are elsewhere in this code than where a program reads them: `places` by the arguments' names."""
    placement: Placement = subprogram.adjust(subprogram.by_abi(prototype))
    found: list[str] = []
    for name, argument in zip(argument_names(placement), placement.arguments, strict=True):
        if name not in places:
            continue
        now = place_text(argument.pieces) if argument.readable else ""
        if not now:
            found.append(f"`{name}` cannot be read there: {argument.reason}")
        elif now != places[name]:
            found.append(f"`{name}` is in {now} there, and is read from {places[name]}")
    if "return" in places and not placement.result.readable and not placement.result.memory:
        found.append(f"the result cannot be read there: {placement.result.reason}")
    return tuple(found)

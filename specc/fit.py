"""One function on another kernel: does it have the arguments that a program wants, and where?

In: what is wanted, by name and type, and the function's prototype there with its places.  Out: a `Fit`, with the place
of everything that is the same there, and a `Misfit` for everything that is not.

    fit((Need("locked", Pointer(INT)),), prototype, placement).pieces["locked"]      # (Piece(0, 8, "r9"),)

An argument is the same where it has the same name and a type that is read alike; its position does not matter. Nothing
is guessed: what was renamed is missing, and the text says which argument looks like it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from specc.compare import sign_lost, type_difference
from specc.diagnostics import did_you_mean
from specc.noun import dataclass
from specc.path import Walk, root_key
from specc.place import Piece, Placement, argument_names
from specc.prototype import Array, CType, Enum, Int, Prototype, Record, bare, decay, size_of, spell

RETURN: Final = "return"


@dataclass(frozen=True, slots=True)
class Need:
    """An argument (or "return") that a program records. `type` is as its prototype declares it.

    `optional` says that it may be missing; `any_type` that the spec reads it as a type of its own, so that only its
    size counts.
    """

    name: str
    type: CType
    optional: bool = False
    any_type: bool = False


@dataclass(frozen=True, slots=True)
class Misfit:
    """Why a need is not met. `kind` is "missing", "type", "unreadable" or "unknown"."""

    need: str
    kind: str
    text: str
    help: str | None = None


@dataclass(frozen=True, slots=True)
class Fit:
    """`positions` has the argument's number there, None for an optional one that is missing; `pieces` its place."""

    positions: Mapping[str, int | None]
    pieces: Mapping[str, tuple[Piece, ...]]
    misfits: tuple[Misfit, ...]


def fit(needs: Sequence[Need], theirs: Prototype, placement: Placement) -> Fit:
    """Where `theirs` has what is needed. `placement` is the prototype's own."""
    if theirs.doubt:
        unknown = tuple(Misfit(n.name, "unknown", theirs.doubt) for n in needs)
        return Fit({}, {}, unknown)
    names = argument_names(placement)
    positions: dict[str, int | None] = {}
    pieces: dict[str, tuple[Piece, ...]] = {}
    misfits: list[Misfit] = []
    for need in needs:
        if need.name == RETURN:
            found = _result(need, theirs, placement)
        elif names.count(need.name) > 1:
            found = Misfit(need.name, "unknown", f"two arguments are called `{need.name}`")
        elif need.name not in names:
            found = None if need.optional else _missing(need, needs, theirs, names)
            if found is None:
                positions[need.name] = None
        else:
            positions[need.name] = names.index(need.name)
            argument = placement.arguments[names.index(need.name)]
            found = _argument(need, argument.type, argument.readable, argument.reason)
            if found is None:
                pieces[need.name] = argument.pieces
        if found is not None:
            misfits.append(found)
    return Fit(positions, pieces, tuple(misfits))


def _argument(need: Need, ctype: CType, readable: bool, reason: str) -> Misfit | None:
    why = _differs(need, ctype)
    if why is not None:
        return Misfit(need.name, "type", f"`{need.name}` is `{spell(ctype)}`, not `{spell(need.type)}`: {why}")
    if not readable:
        return Misfit(need.name, "unreadable", f"`{need.name}` cannot be read: {reason}")
    return None


def _differs(need: Need, ctype: CType) -> str | None:
    ours, theirs = decay(need.type), decay(ctype)
    if need.any_type:
        return None if size_of(ours) == size_of(theirs) else f"{size_of(theirs)} bytes, not {size_of(ours)}"
    return type_difference(ours, theirs) or sign_lost(ours, theirs)


def _result(need: Need, theirs: Prototype, placement: Placement) -> Misfit | None:
    why = _differs(need, theirs.result)
    if why is not None:
        return Misfit(RETURN, "type", f"the result is `{spell(theirs.result)}`, not `{spell(need.type)}`: {why}")
    if not placement.result.readable and not placement.result.memory:
        return Misfit(RETURN, "unreadable", f"the result cannot be read: {placement.result.reason}")
    return None


def _missing(need: Need, needs: Sequence[Need], theirs: Prototype, names: Sequence[str]) -> Misfit:
    """An argument that is not there by its name; one with its type that nobody else wants may be it, renamed."""
    wanted = {n.name for n in needs}
    alike = [
        name
        for name, parameter in zip(names, theirs.parameters, strict=True)
        if name not in wanted and not isinstance(_differs(need, parameter.type), str)
    ]
    near = did_you_mean(need.name, alike)
    help_ = near or (f"`{alike[0]}` has its type: was it renamed?" if len(alike) == 1 else None)
    return Misfit(need.name, "missing", f"no argument `{need.name}`: there are {', '.join(names) or 'none'}", help_)


# --- the ends of paths -----------------------------------------------------------------------------------------------


def walk_difference(ours: Walk, theirs: Walk, *, at_least: int | None = None) -> str | None:
    """Why one who follows a path by the first walk would tell a wrong value where the second is right; None if not.

    With `at_least`, as many bytes of an array's memory are read, and its length does not count. CO-RE finds a record by
    its name, so each pointer must lead to a record of the same name.
    """
    different = roots_difference([h.root for h in ours.hops], [h.root for h in theirs.hops])
    return different or end_difference(ours.type, ours.last.bit_width, theirs, at_least=at_least)


def roots_difference(ours: Sequence[CType], theirs: Sequence[CType]) -> str | None:
    """Why two paths do not follow pointers to records of the same names, and to other elements that are as far apart."""
    if len(ours) == len(theirs) and all(map(_same_root, ours, theirs)):
        return None
    ours_by, theirs_by = ([_root(root) for root in roots] for roots in (ours, theirs))
    return f"it goes through {', '.join(theirs_by) or 'no pointer'}, not through {', '.join(ours_by) or 'none'}"


def _same_root(ours: CType, theirs: CType) -> bool:
    if isinstance(bare(ours), Record) or isinstance(bare(theirs), Record):
        return _root(ours) == _root(theirs)
    return size_of(ours) == size_of(theirs) and type_difference(theirs, ours, behind=True) is None


def _root(root: CType) -> str:
    return " ".join(root_key(root)) if isinstance(bare(root), Record) else spell(root)


def end_difference(ours: CType, bit_width: int | None, theirs: Walk, *, at_least: int | None = None) -> str | None:
    """Why what is at the end of a path is not the value that is expected: of the type `ours`."""
    there = theirs.type
    why = _end_difference(ours, there, at_least)
    if why is None and _class(ours) != _class(there):
        why = f"{_class(there)} there"  # CO-RE does not take one for the other
    if why is None and bit_width is None and theirs.last.bit_width is not None:
        why = "a bit-field there"
    return None if why is None else f"it is `{spell(there)}`, not `{spell(ours)}`: {why}"


def _end_difference(a: CType, b: CType, at_least: int | None) -> str | None:
    kind, other = bare(a), bare(b)
    if at_least is not None and isinstance(kind, Record) and isinstance(other, Record):
        return None if other.size >= at_least else f"{other.size} bytes, and {at_least} are wanted"
    if at_least is not None and isinstance(kind, Array) and isinstance(other, Array):
        if other.count and size_of(other) < at_least:
            return f"{size_of(other)} bytes, and {at_least} are wanted"
        return type_difference(other.element, kind.element, behind=True)
    return type_difference(b, a) or sign_lost(a, b)


def _class(ctype: CType) -> str:
    kind = bare(ctype)
    return "an enum" if isinstance(kind, Enum) else "an integer" if isinstance(kind, Int) else "of another kind"

"""What values are called on the kernel that runs, where their names are out of BTF.

In: a probe's description and the running kernel's BTF.  Out: its event with the names of this kernel; what a condition of
it tests by a name that means something else here.

    event = renamed(probe, probe.event, (vmlinux,))
    event.field("gup_flags").names.members          # (("FOLL_WRITE", 1), ...) as this kernel has them
    changed(probe, (vmlinux,), prototype)           # ["`FOLL_PIN` is 524288 here, and 262144 where it was compiled for"]

Names that a spec's headers say stay as they are, but for those that this kernel's BTF contradicts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from specc.describe import ProbeDescription
from specc.diagnostics import Stop
from specc.ir import Event, Field, Names
from specc.noun import replace
from specc.prototype import Array, CType, Enum, Int, Prototype, Qualified, Record, Typedef, bare

if TYPE_CHECKING:
    from specc.btf import Btf


def asks(probe: ProbeDescription) -> bool:
    """Whether anything about the probe depends on what this kernel's values are called."""
    names = any(f.names is not None for f in probe.event.fields)
    enums = any(f.type is not None and _of_kernel(probe, f) and _has_enum(f.type) for f in probe.event.fields)
    return names or enums or bool(probe.constants or probe.assumed)


def _of_kernel(probe: ProbeDescription, field: Field) -> bool:
    """Whether the field's type is out of the kernel's BTF: as the prototype is, or as the members on a path are."""
    return probe.at is not None or any(path.field == field.name for path in probe.paths)


def renamed(probe: ProbeDescription, event: Event, btfs: Sequence[Btf], *, believe_headers: bool = False) -> Event:
    """The event with this kernel's names. Without BTF nobody knows them: then its values are numbers."""

    def field(one: Field) -> Field:
        made = one
        if one.names is not None and one.names.btf:
            made = replace(made, names=replace(one.names, members=_members(one.names, bare_of(one), btfs)))
        elif one.names is not None and not believe_headers:
            here = _constants(one.names, bare_of(one), btfs)
            kept = tuple((n, v) for n, v in one.names.members if _agrees(n, v, here))
            made = replace(made, names=replace(one.names, members=kept))
        if one.type is not None and _of_kernel(probe, one) and _has_enum(one.type):
            made = replace(made, type=_named(one.type, btfs))
        return made

    return replace(event, fields=tuple(map(field, event.fields)))


def told(before: Event, now: Event) -> tuple[str, ...]:
    """For a person: which names are others than those that were compiled in."""
    found: list[str] = []
    for old, new in zip(before.fields, now.fields, strict=True):
        if old.names is None or new.names is None or not old.names.btf or old.names.members == new.names.members:
            continue
        count = len(new.names.members)
        names = f"{count} names of this kernel's BTF" if count else "none, for this kernel's BTF has no such names"
        found.append(f"names of {before.probe}.{old.record_key} (`{old.names.source}`): {names}")
    return tuple(found)


def changed(probe: ProbeDescription, btfs: Sequence[Btf], theirs: Prototype | None) -> list[str]:
    """The names in the probe's condition that do not mean here what they mean in the program. What a header says counts
    where this kernel does not say otherwise."""
    from specc.vocabulary import assumed_here, value_in

    found: list[str] = []
    for name, value in probe.constants:
        try:
            here = value_in(btfs, theirs, name)
        except Stop as problem:
            found.append(f"`{name}`: {problem.diagnostic.message}")
            continue
        if here is None:
            found.append(f"`{name}` is {value} where it was compiled for, and this kernel's BTF does not have it")
        elif here != value:
            found.append(f"`{name}` is {value} where it was compiled for, and {here} in this kernel")
    for name, value in probe.assumed:
        here = assumed_here(btfs, theirs, name)
        if here not in (None, value):
            found.append(f"`{name}` is {value} in the header that the spec names, and {here} in this kernel")
    return found


def contradicted(probe: ProbeDescription, btfs: Sequence[Btf]) -> list[str]:
    """Names of the spec's headers that the same enum, or the constants with the same prefix, of this kernel do not agree
    with: there the name is another value, or the value has another name. The header is another kernel's."""
    found: list[str] = []
    for field in probe.event.fields:
        if field.names is not None and not field.names.btf:
            here = _constants(field.names, bare_of(field), btfs)
            for name, value in field.names.members:
                if not _agrees(name, value, here):
                    other = f"{here[name]}" if name in here else f"`{next(n for n, v in here.items() if v == value)}`"
                    found.append(
                        f"`{name}` of `{field.record_key}` is {value} there, "
                        + (f"and {other} in this kernel" if name in here else f"which is {other} in this kernel")
                    )
    return found


def _agrees(name: str, value: int, here: Mapping[str, int]) -> bool:
    return here[name] == value if name in here else value not in here.values()


def _constants(names: Names, kind: Int | Enum, btfs: Sequence[Btf]) -> dict[str, int]:
    """This kernel's, all of them, as the field would have them."""
    from specc.lower.shown import in_width
    from specc.vocabulary import called_in

    try:
        found = called_in(btfs, names.source) or ()
    except Stop:
        return {}
    flags = names.kind == "flags"
    return {name: value for one in found for name, value in in_width([one], kind, flags=flags)}


def bare_of(field: Field) -> Int | Enum:
    """The type of a field that has names."""
    assert field.type is not None
    kind = bare(field.type)
    assert isinstance(kind, Int | Enum)
    return kind


def _members(names: Names, kind: Int | Enum, btfs: Sequence[Btf]) -> tuple[tuple[str, int], ...]:
    from specc.lower.shown import in_width
    from specc.vocabulary import called_in

    try:
        found = called_in(btfs, names.source)
    except Stop:
        return ()  # several that differ: none of them is the one
    return in_width(found or (), kind, flags=names.kind == "flags")


def _has_enum(ctype: CType) -> bool:
    match ctype:
        case Enum(members=members):
            return bool(members)
        case Typedef(target=target) | Qualified(target=target) | Array(element=target):
            return _has_enum(target)
        case Record(members=members):
            return any(_has_enum(m.type) for m in members or ())
        case _:
            return False


def _named(ctype: CType, btfs: Sequence[Btf]) -> CType:
    """The type, its enums with this kernel's names."""
    match ctype:
        case Enum():
            return replace(ctype, members=_of_enum(ctype, btfs))
        case Typedef(target=target) | Qualified(target=target):
            return replace(ctype, target=_named(target, btfs))
        case Array(element=element):
            return replace(ctype, element=_named(element, btfs))
        case Record(members=members) if members is not None:
            return replace(ctype, members=tuple(replace(m, type=_named(m.type, btfs)) for m in members))
        case _:
            return ctype


def _of_enum(enum: Enum, btfs: Sequence[Btf]) -> tuple[tuple[str, int], ...]:
    """By its tag; of an enum without one, the constants that this kernel has too, and as the same."""
    from specc.vocabulary import value_in

    if enum.tag is not None:
        return _members(Names("enum", enum.tag, ()), enum, btfs)
    kept = []
    for name, value in enum.members:
        try:
            if value_in(btfs, None, name) == value:
                kept.append((name, value))
        except Stop:
            continue  # another enum gives it another value
    return tuple(kept)

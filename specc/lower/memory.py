"""What a probe records of the memory behind a pointer: a string, bytes, or what the pointer points to.

In: an argument's options and its type.  Out: a `Behind`, which says what is copied and how an event holds it; or a
finding.

    behind(spec, probe, known, Pointer(CHAR), report)     # Behind("string", Array(CHAR, 64), 64, user=True)
"""

from __future__ import annotations

from collections.abc import Sequence

from specc.diagnostics import Location, Report, did_you_mean
from specc.ir import Following
from specc.noun import dataclass
from specc.prototype import (
    CHAR,
    UCHAR,
    Array,
    CType,
    Enum,
    Float,
    Function,
    Int,
    Pointer,
    Prototype,
    Qualified,
    Record,
    Typedef,
    Void,
    bare,
    decay,
    size_of,
    spell,
)
from specc.spec import RETURN_KINDS, SYSCALL_KINDS, USER_KINDS, ArgumentSpec, ProbeSpec, Word
from specc.where import Binary, Name, Number, Tree


@dataclass(frozen=True, slots=True)
class Behind:
    """`kind` is "string", "bytes" or "object". `type` is what the event holds; `room` its bytes; `size` the name of the
    argument that says how many, if one does. `path` leads there."""

    kind: str
    type: CType
    room: int
    user: bool
    size: str | None = None
    path: Following | None = None


OPTIONS = ("string", "bytes", "deref")


def wants_memory(spec: ArgumentSpec) -> bool:
    return spec.string is not None or spec.bytes is not None or spec.deref


def behind(
    spec: ArgumentSpec, probe: ProbeSpec, declared: CType, prototype: Prototype, names: Sequence[str], report: Report
) -> Behind | None:
    """What is wanted behind an argument of type `declared`; None when that is nothing that can be."""
    given = [o for o in OPTIONS if o in spec.option_where and (o != "deref" or spec.deref)]
    if len(given) > 1:
        report.error(
            "SP261",
            f"`{given[0]}` and `{given[1]}` of `{spec.name}` exclude one another",
            spec.option_where[given[1]],
            help=f"record it twice: [{{{spec.name}: {{{given[0]}: ...}}}}, {{{spec.name}: {{{given[1]}: ..., as: NAME}}}}]",
        )
        return None
    option = given[0]
    where = spec.option_where[option]
    pointer = bare(decay(declared))
    if not isinstance(pointer, Pointer):
        report.error(
            "SP260",
            f"`{option}` is for pointers, and `{spec.name}` is `{spell(declared)}`",
            where,
            help="leave it out to record the value itself",
        )
        return None
    user = is_user(spec, probe, declared)
    if spec.string is not None:
        return _string(spec, pointer, user, where, report)
    if spec.bytes is not None:
        if isinstance(spec.bytes.size, int):
            return Behind("bytes", Array(UCHAR, spec.bytes.most), spec.bytes.most, user)
        if not _is_a_size(spec.bytes.size, probe, prototype, names, report):
            return None
        return Behind("bytes", Array(UCHAR, spec.bytes.most), spec.bytes.most, user, spec.bytes.size.text)
    return _object(spec, pointer, user, where, report)


def unknown_behind(spec: ArgumentSpec, ctype: CType) -> Behind:
    """For an argument that exists nowhere that is known: the room that it would have."""
    if spec.string is not None:
        return Behind("string", Array(CHAR, spec.string), spec.string, False)
    if spec.bytes is not None:
        return Behind("bytes", Array(UCHAR, spec.bytes.most), spec.bytes.most, False)
    return Behind("object", ctype, size_of(ctype), False)


def _string(spec: ArgumentSpec, pointer: Pointer, user: bool, where: Location, report: Report) -> Behind | None:
    target = bare(pointer.target)
    if not isinstance(target, Void) and not (isinstance(target, Int) and target.size == 1):
        report.error(
            "SP260",
            f"`string` is for pointers to characters, and `{spec.name}` points to `{spell(pointer.target)}`",
            where,
            help="use `bytes` for memory, `deref` for a number",
        )
        return None
    assert spec.string is not None
    return Behind("string", Array(CHAR, spec.string), spec.string, user)


def _object(spec: ArgumentSpec, pointer: Pointer, user: bool, where: Location, report: Report) -> Behind | None:
    target = bare(pointer.target)
    if isinstance(target, Int | Enum | Pointer | Float) and 0 < size_of(target) <= 8:
        return Behind("object", pointer.target, size_of(target), user)
    why = "has no size" if isinstance(target, Void | Function) else "is no number"
    if isinstance(target, Record) and spec.type is not None:
        why = "is read whole only as what it is declared to be, without `type`"
    report.error(
        "SP260",
        f"`deref` records what is behind `{spec.name}`, and `{spell(pointer.target)}` {why}",
        where,
        help="use `bytes` with its size" if not isinstance(target, Function) else "leave `deref` out",
    )
    return None


def _is_a_size(size: Word, probe: ProbeSpec, prototype: Prototype, names: Sequence[str], report: Report) -> bool:
    name, where = size.text, size.where
    at_return = name == "return" and probe.kind in RETURN_KINDS
    if name not in names and not at_return:
        report.error(
            "SP262",
            f"no argument `{name}` in `{prototype.name}` to say the size",
            where,
            help=did_you_mean(name, names),
            notes=[f"arguments: {', '.join(names) or 'none'}"],
        )
        return False
    ctype = prototype.result if at_return else prototype.parameters[list(names).index(name)].type
    kind = bare(decay(ctype))
    if not isinstance(kind, Int | Enum) or kind.size > 8 or (isinstance(kind, Int) and kind.kind == "bool"):
        report.error(
            "SP262",
            f"`{name}` is `{spell(ctype)}`, which says no size",
            where,
            help="name an integer, or give a number",
        )
        return False
    # A result that is negative says that the call failed, and everybody expects it.
    if (
        kind.signed
        and not at_return
        and not (probe.condition is not None and _not_negative(name, probe.condition.tree))
    ):
        report.warning(
            "SP267", f"the size `{name}` is signed (`{spell(ctype)}`): where it is negative, nothing is copied, and the "
            "field is null with EINVAL", where, help=f"`where: {name} >= 0` leaves such calls out",
        )  # fmt: skip
    return True


def _not_negative(name: str, tree: Tree) -> bool:
    """Whether a condition holds only where the argument is not negative, as one of its `&&` says by itself. A literal that
    is unsigned makes the comparison so (C11 6.3.1.8): `num > 0u` holds for -1."""
    match tree:
        case Binary(op="&&", left=left, right=right):
            return _not_negative(name, left) or _not_negative(name, right)
        case Binary(op=">" | ">=" | "==", left=Name(text=text, path=None), right=Number(signed=True)):
            return text == name
        case Binary(op="<" | "<=" | "==", left=Number(signed=True), right=Name(text=text, path=None)):
            return text == name
    return False


def is_user(spec: ArgumentSpec, probe: ProbeSpec, declared: CType) -> bool:
    """A process's memory: by the option, by the probe's kind, or by `__user` in the declaration."""
    if spec.memory is not None:
        return spec.memory == "user"
    return probe.kind in USER_KINDS or probe.kind in SYSCALL_KINDS or _says_user(declared)


def _says_user(ctype: CType) -> bool:
    match ctype:
        case Qualified(target=target, qualifiers=words):
            return "__user" in words or _says_user(target)
        case Typedef(target=target) | Pointer(target=target) | Array(element=target):
            return _says_user(target)
        case _:
            return False

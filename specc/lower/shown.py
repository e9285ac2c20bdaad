"""How a value is shown and named: its `format`, `enum` and `flags` against its type.

    shown(spec, probe, Int(...), None, known.constants, report)     # Shown("errno", None), or None for a finding

The names themselves come from where the prototype does: `Resolved.constants` gives them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeAlias

from specc.diagnostics import Report
from specc.ir import ADDRESSES, Names
from specc.lower.memory import Behind
from specc.noun import dataclass, replace
from specc.prototype import CType, Enum, Int, Pointer, Qualified, Record, Typedef, bare, decay, size_of, spell
from specc.spec import RETURN_KINDS, SYSCALL_KINDS, USER_KINDS, ArgumentSpec, ProbeSpec, Word

Constants: TypeAlias = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Called:
    """The constants of an enum, or with a prefix. Out of the targets' `btf`, those that all of them agree on; `known` has
    those of any."""

    constants: Constants
    known: Constants
    btf: bool = False


# None when there are none, which is reported.
Find: TypeAlias = Callable[[Word, Report], Called | None]

MOST_NAMES: Final = 4096
_MEANS: Final = {
    "ipv4": "an integer of 4 bytes, `struct in_addr`, or behind a pointer `bytes: {size: 4}`",
    "ipv6": "`struct in6_addr`, or behind a pointer `bytes: {size: 16}`",
    "mac": "a struct of 6 bytes, or behind a pointer `bytes: {size: 6}`",
}
LATENCY_FORMAT: Final = "duration"


@dataclass(frozen=True, slots=True)
class Shown:
    """What the table makes of a value, and what records do."""

    format: str | None
    names: Names | None


def shown(
    spec: ArgumentSpec, probe: ProbeSpec, ctype: CType, behind: Behind | None, constants: Find | None, report: Report
) -> Shown | None:
    """How a value of this type, or what is copied from `behind` a pointer, is shown; None when an option does not fit."""
    time = spec.name == "latency" and probe.kind in RETURN_KINDS
    option = "flags" if spec.flags is not None else "enum"
    word = spec.flags or spec.enum
    if word is None:
        format_ = LATENCY_FORMAT if time and spec.format is None else spec.format
        return Shown(format_, None) if _check_format(spec, probe, ctype, behind, time, report) else None
    other = next((o for o in ("enum", "format") if o != option and o in spec.option_where), None)
    if other is not None:
        message = f"`{option}` and `{other}` of `{spec.name}` exclude one another"
        report.error(
            "SP291", message, spec.option_where[other],
            help=f"leave one out, or record it twice: the second time with `as: NAME` and `{other}`",
        )  # fmt: skip
        return None
    kind = bare(ctype)
    whole = not (behind is not None and behind.kind != "object")
    number = isinstance(kind, Int | Enum) and not (isinstance(kind, Int) and kind.kind == "bool")
    if time or not whole or not number or size_of(kind) > 8:
        what = "a time" if time else f"`{spell(ctype)}`" if whole else "memory that is copied"
        help = "use `deref` to record what it points to" if isinstance(kind, Pointer) else f"leave `{option}` out"
        report.error("SP290", f"`{option}` is for integers, and `{spec.name}` is {what}", word.where, help=help)
        return None
    found = constants(word, report) if constants is not None else None
    if found is None:
        return None
    assert isinstance(kind, Int | Enum)
    if len(found.known) > MOST_NAMES:
        report.error(
            "SP296", f"`{word.text}` is more than {MOST_NAMES} names, and all of them would be in the object", word.where,
            help="name an enum, or a longer prefix",
        )  # fmt: skip
        return None
    if not in_width(found.known, kind, flags=option == "flags"):
        message = f"no value of `{word.text}` fits into `{spell(ctype)}`, which `{spec.name}` is"
        report.error("SP293", message, word.where)
        return None
    members = in_width(found.constants, kind, flags=option == "flags")
    return Shown(None, Names(option, word.text, members, found.btf))


def in_width(constants: Iterable[tuple[str, int]], kind: Int | Enum, *, flags: bool) -> Constants:
    """The constants as an integer of this type has them, of two with one value the first; what it cannot have is left out.

    Bits are bits, whatever the sign. A value equals a constant as C compares them: what is narrower than an `int` becomes
    one (C11 6.3.1.1p2), so that 255 is no `signed char`, while -1 and 0xffffffff are the same `unsigned int`.
    """
    bits = 8 * kind.size
    low, high = -(1 << bits - 1), 1 << bits
    if bits < 32 and not flags:
        low, high = (low, 1 << bits - 1) if kind.signed else (0, high)
    kept: dict[int, str] = {}
    for name, value in constants:
        if low <= value < high:
            cut = value & (1 << bits) - 1
            kept.setdefault(cut - (1 << bits) if kind.signed and cut >> bits - 1 else cut, name)
    return tuple((name, value) for value, name in kept.items())


def _check_format(
    spec: ArgumentSpec, probe: ProbeSpec, ctype: CType, behind: Behind | None, time: bool, report: Report
) -> bool:
    """The formats that say what a value stands for; the others are for every integer and pointer."""
    format_ = spec.format
    if format_ not in ("symbol", "errno", "duration", "size", "syscall", "port", *ADDRESSES):
        return True
    where = spec.option_where.get("format", spec.where)
    kind = bare(decay(ctype))
    integer = isinstance(kind, Int) and kind.kind not in ("bool", "char")
    size = size_of(kind)
    of_bytes = behind is not None and behind.kind == "bytes"
    if format_ in ADDRESSES:
        bytes_ = ADDRESSES[format_]
        if of_bytes:
            size = behind.room if behind is not None and behind.size is None else 0
        fits = size == bytes_ and (of_bytes or isinstance(kind, Record) or (integer and format_ == "ipv4"))
        wanted = f"for {bytes_} bytes in the order of the network"
        help = f"use it on {_MEANS[format_]}"
    elif format_ == "errno":
        fits = size in (4, 8) and not of_bytes and (integer or isinstance(kind, Pointer)) and not time
        wanted = "for integers and pointers of 4 or 8 bytes"
        help = "leave `format` out"
    elif format_ in ("syscall", "port"):
        sizes = (4, 8) if format_ == "syscall" else (2,)
        fits = integer and size in sizes and not of_bytes and not time
        wanted = (
            "for integers of 4 or 8 bytes"
            if format_ == "syscall"
            else "for integers of 2 bytes, in the order of the network"
        )
        help = "leave `format` out"
    elif format_ in ("duration", "size"):
        fits = integer and size <= 8 and not of_bytes and not (time and format_ == "size")
        wanted = "for integers that count nanoseconds" if format_ == "duration" else "for integers that count bytes"
        help = "leave `format` out"
    else:
        fits = size == 8 and not of_bytes and (integer or isinstance(kind, Pointer)) and not time
        wanted = "for addresses"
        help = "leave `format` out"
    if not fits:
        what = f"`{spell(ctype)}`" if not time else "a time"
        if of_bytes:
            what = "as many bytes as another argument says" if size == 0 else f"{size} bytes"
        report.error("SP292", f"format `{format_}` is {wanted}, and `{spec.name}` is {what}", where, help=help)
        return False
    return True


def in_process(probe: ProbeSpec) -> bool:
    """Whether `format: symbol` is about addresses in a process there, and not in the kernel."""
    return probe.kind in USER_KINDS or probe.kind in SYSCALL_KINDS


def check_process(probe: ProbeSpec, contexts: Sequence[str], report: Report) -> bool:
    """An address in a process means something together with the process."""
    wanted = [a for a in probe.args or () if a.format == "symbol"] if in_process(probe) else []
    if probe.aggregate is not None:
        for argument in wanted:
            report.error(
                "SP297", "format `symbol` of an address in a process is for events: an aggregate has the calls of many",
                argument.option_where.get("format", argument.where), help="use `format: pointer`",
            )  # fmt: skip
        return not wanted
    if "pid" in contexts:
        return True
    for argument in wanted:
        report.error(
            "SP297", "format `symbol` of an address in a process needs to know which, and `fields` has no `pid`",
            argument.option_where.get("format", argument.where), help="add `pid` to `fields`, or use `format: pointer`",
        )  # fmt: skip
    return not wanted


# --- the same enum on several kernels ---------------------------------------------------------------------------------


def agreed(on: Mapping[str, Iterable[tuple[str, int]]]) -> tuple[Constants, list[str]]:
    """The constants that mean the same on every target that has them; and for each other value, what it is where.

    A value that is called one thing on one kernel and another on the next has no name that a record could tell.
    """
    values = {target: dict(constants) for target, constants in on.items()}
    called = {target: _by_value(constants) for target, constants in values.items()}
    kept: dict[str, int] = {}
    doubtful: dict[int, None] = {}
    for constants in values.values():
        for name, value in constants.items():
            same_name = all(v.get(name, value) == value for v in values.values())
            same_value = all(name in c.get(value, (name,)) for c in called.values())
            if same_name and same_value:
                kept[name] = value
            else:
                doubtful[value] = None
    left = [v for v in doubtful if v not in kept.values()]
    said = [
        f"{value} is {', '.join(f'`{names[value][0]}` on {target}' for target, names in called.items() if value in names)}"
        for value in left
    ]
    return tuple(kept.items()), said


def _by_value(constants: Mapping[str, int]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for name, value in constants.items():
        found.setdefault(value, []).append(name)
    return found


def agreed_type(ctype: CType, others: Sequence[CType]) -> CType:
    """The type, its enums with only the names that the same argument's types on other kernels agree on."""
    match ctype:
        case Record() if ctype.members is not None:
            records = [dict(_named(r)) for other in others if isinstance(r := bare(other), Record)]
            inside = tuple(
                replace(m, type=agreed_type(m.type, [r[m.name] for r in records if m.name in r])) for m in ctype.members
            )
            return ctype if inside == ctype.members else replace(ctype, members=inside)
        case Typedef(target=target) | Qualified(target=target):
            made = agreed_type(target, others)
            return ctype if made is target else replace(ctype, target=made)
        case Enum(members=members):
            enums = [o for other in others if isinstance(o := bare(other), Enum) and o.members != members]
            if not enums:
                return ctype
            kept, _ = agreed({str(i): e.members for i, e in enumerate((ctype, *enums))})
            return replace(ctype, members=kept)
        case _:
            return ctype


def _named(record: Record) -> Iterable[tuple[str, CType]]:
    return ((m.name, m.type) for m in record.members or () if m.name)

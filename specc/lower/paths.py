"""What a `field` path leads to: the walk on every target, and what is read at its end.

In: an argument's pointer, its options, and the types of each target.  Out: a `Behind` with the function that follows the
path; or findings (SP255, SP256, SP263 to SP266).

    end = follow(spec, probe, Pointer(Record("struct", "file", None)), known, report)
    end.behind.path.symbol              # "follow_open_name"
"""

from __future__ import annotations

from collections.abc import Sequence

from specc.diagnostics import Report, Stop, stop
from specc.fit import walk_difference
from specc.ir import ADDRESSES, ALL_BITS, Following, PathNeed
from specc.lower.event import Storage, array_storage, storage
from specc.lower.memory import Behind, behind, is_user, wants_memory
from specc.lower.nouns import RETURN, Elsewhere, Resolved, Value, has_plain_char
from specc.lower.shown import agreed_type
from specc.lower.wholes import check_whole, leaves
from specc.noun import dataclass, replace
from specc.path import Complete, Path, Step, Walk, innermost, told, walk
from specc.place import argument_names
from specc.prototype import (
    Array,
    BitInt,
    CType,
    Enum,
    Float,
    Int,
    Pointer,
    Prototype,
    Record,
    bare,
    decay,
    size_of,
    spell,
)
from specc.spec import KERNEL_KINDS, ArgumentSpec, ProbeSpec

_ADDRESS = "__u64"


@dataclass(frozen=True, slots=True)
class Start:
    """Where a path begins on one target: the argument's type there, and what completes records; `target` is "" for what
    the spec itself says."""

    target: str
    type: CType
    complete: Complete | None


def path_end(
    probe: ProbeSpec, spec: ArgumentSpec, declared: CType, known: Resolved, report: Report, *, everywhere: bool = False
) -> Behind | None:
    """What the path from an argument, or from the result, leads to; None after a finding. `everywhere` says that it begins at
    this type on all targets: at a member of a struct by value, which is the same on all of them."""
    start = _path_start(spec, declared, known, report)
    if start is None:
        return None
    names = argument_names(known.placement)
    starts = [Start(known.target, start, known.complete)]
    for other in known.elsewhere:
        theirs = start if everywhere or spec.type is not None else _type_of(spec.name, other)
        if theirs is not None:
            starts.append(Start(other.target, theirs, other.complete))
    end = follow(spec, probe, starts, known.prototype, names, report)
    return end if end is not None and _check_end(spec, end, known, report) else None


def as_path(probe: ProbeSpec, spec: ArgumentSpec, declared: CType) -> ArgumentSpec:
    """`deref` of a pointer to a record is a path without steps; of one to a plain `char` in the kernel it is the first
    element, since a path's end is held against each kernel, of which some have `char` with a sign and some without."""
    pointer = bare(decay(declared))
    if spec.path is not None or not _alone(spec) or spec.type is not None or not isinstance(pointer, Pointer):
        return spec
    target, where = bare(pointer.target), spec.option_where["deref"]
    if isinstance(target, Record):
        return replace(spec, path=Path("", where, ()))
    if isinstance(target, Int) and target.kind == "char" and probe.kind in KERNEL_KINDS:
        return replace(spec, path=Path("[0]", where, (Step(None, 0, where),)), deref=False)
    return spec


def _alone(spec: ArgumentSpec) -> bool:
    return spec.deref and spec.string is None and spec.bytes is None


def led_to(spec: ArgumentSpec, pointer: Value, end: Behind) -> Value:
    """The value at the end of the path that begins at `pointer`."""
    deref = "*" if end.path is not None and spec.deref else ""
    what = {"string": "the string at ", "bytes": "the memory at "}.get(end.kind, deref)
    return replace(
        pointer, type=end.type, storage=room(end), behind=end, declaration=f"{what}{said(spec)}", place=f"*{pointer.place}",
    )  # fmt: skip


def _type_of(name: str, other: Elsewhere) -> CType | None:
    if name == RETURN:
        return Pointer(other.prototype.result) if other.placement.result.memory else other.prototype.result
    names = argument_names(other.placement)
    return other.placement.arguments[names.index(name)].type if name in names else None


def _path_start(spec: ArgumentSpec, declared: CType, known: Resolved, report: Report) -> CType | None:
    """The type that a path begins at: as declared, or as the spec reads a pointer or an address."""
    if spec.type is None:
        return declared
    try:
        ctype = known.type_named(spec.type.text, spec.type.where)
    except Stop as problem:
        report.diagnostics.append(problem.diagnostic)
        return None
    if (
        isinstance(bare(decay(ctype)), Pointer)
        and isinstance(bare(decay(declared)), Pointer | Int)
        and size_of(decay(declared)) == 8
    ):
        return ctype
    report.error(
        "SP204", f"`{spell(declared, spec.name)}` cannot be read as `{spell(ctype)}` for a path to begin there", spec.type.where,
        help="with `field`, `type` is a pointer to a struct, and the argument a pointer or an address",
    )  # fmt: skip
    return None


def _check_end(spec: ArgumentSpec, end: Behind, known: Resolved, report: Report) -> bool:
    """The options that say how the value at the end is shown."""
    plain = end.kind == "object"
    if not plain and "format" in spec.option_where and not (end.kind == "bytes" and spec.format in ADDRESSES):
        report.error(
            "SP261", f"`format` is for the value itself, and `{said(spec)}` is memory that is copied",
            spec.option_where["format"], help="leave `format` out",
        )  # fmt: skip
        return False
    if plain and not known.char_known and has_plain_char(end.type) and not isinstance(bare(end.type), Array):
        report.error(
            "SP307", f"the sign of `char` at `{said(spec)}` is not known: Linux has it unsigned since 6.2, signed before",
            spec.where, help="take the prototype from BTF, which knows",
        )  # fmt: skip
        return False
    numbers = Int | Enum | Pointer | BitInt
    if plain and spec.format is not None and spec.format not in ADDRESSES and not isinstance(bare(end.type), numbers):
        report.error(
            "SP205", f"format `{spec.format}` is for integers and pointers, and `{said(spec)}` is `{spell(end.type)}`",
            spec.option_where.get("format", spec.where), help="leave `format` out",
        )  # fmt: skip
        return False
    return True


def room(found: Behind) -> Storage:
    if found.path is not None and isinstance(bare(found.type), Array) and found.kind == "object":
        return array_storage(found.type)
    if found.kind == "object":
        return storage(found.type)
    return Storage("char" if found.kind == "string" else "__u8", found.room, (ALL_BITS,))


def follow(
    spec: ArgumentSpec,
    probe: ProbeSpec,
    starts: Sequence[Start],
    prototype: Prototype,
    names: Sequence[str],
    report: Report,
) -> Behind | None:
    """What is recorded at the end of the path, by the first of the `starts` that has it; None after a finding."""
    try:
        found = _walk_all(spec, starts, report)
        if found is None:
            return None
        walked, others = found
        end = _end(spec, probe, walked, prototype, names, report)
        return replace(end, type=agreed_type(end.type, others)) if end is not None and end.kind == "object" else end
    except Stop as problem:
        report.diagnostics.append(problem.diagnostic)
        return None


def said(spec: ArgumentSpec) -> str:
    """The path as C has it from the argument on."""
    assert spec.path is not None
    return told(spec.name, spec.path.text)


def _walk_all(spec: ArgumentSpec, starts: Sequence[Start], report: Report) -> tuple[Walk, list[CType]] | None:
    """The walk that counts, once every target agrees with it, and what is at its end on the others. Raises Stop."""
    assert spec.path is not None
    walks: list[tuple[Start, Walk]] = []
    missing: list[tuple[Start, Stop]] = []
    for start in starts:
        if start.complete is None:
            raise stop("SP265", f"nothing here says what `{spell(start.type)}` has", spec.path.where)
        try:
            walks.append((start, walk(start.type, spec.path, start.complete, spec.name, whole=_alone(spec))))
        except Stop as problem:
            if problem.diagnostic.code != "SP264":
                raise  # what is not known is not missing
            missing.append((start, problem))
    if not walks:
        raise missing[0][1]
    for start, absence in missing if not spec.optional else ():
        d = absence.diagnostic
        report.error(
            "SP255", f"on {start.target}: {d.message}", d.where, notes=d.notes,
            help=f"{walks[0][0].target} has it; `optional: true` makes the field null where it does not exist",
        )  # fmt: skip
    first, ours = walks[0]
    least = _least(spec, ours)
    fine = spec.optional or not missing
    for start, theirs in walks[1:]:
        why = walk_difference(ours, theirs, at_least=least)
        if why is not None:
            fine = False
            report.error(
                "SP256", f"`{said(spec)}` on {start.target} is not what it is on {first.target}: {why}", spec.path.where,
                help="one object cannot tell both: build the spec for each of them alone",
            )  # fmt: skip
    return (ours, [theirs.type for _, theirs in walks[1:]]) if fine else None


def _least(spec: ArgumentSpec, walked: Walk) -> int | None:
    """How many bytes of an array at the end are read when its memory alone is wanted."""
    if not isinstance(bare(walked.type), Array | Record) or not wants_memory(spec):
        return None
    return spec.string or (spec.bytes.most if spec.bytes is not None else None)


def _end(
    spec: ArgumentSpec, probe: ProbeSpec, walked: Walk, prototype: Prototype, names: Sequence[str], report: Report
) -> Behind | None:
    assert spec.path is not None
    assert walked.inside is None, "a path from a struct by value begins at a pointer in it"
    kernel = probe.kind in KERNEL_KINDS
    ends = bare(walked.type)
    steps = walked.last.accesses
    if kernel and isinstance(ends, Array) and walked.last.in_record and steps[-1].name is None:
        raise stop(
            "SP266", f"`{said(spec)}` is a row of an array of arrays, which a kernel's BTF has as one long array",
            spec.path.where, help="name an element of it",
        )  # fmt: skip
    for hop in walked.hops if kernel else ():
        if not hop.in_record and isinstance(innermost(hop.root), Record):
            raise stop(
                "SP266", f"`{said(spec)}` is behind a pointer to `{spell(hop.root)}`: nothing tells how far these arrays are "
                "apart in the running kernel", spec.path.where, help="take a pointer to the struct itself",
            )  # fmt: skip
    users = tuple(not kernel or hop.user for hop in walked.hops)
    if wants_memory(spec):
        if walked.last.bit_width is not None:
            option = next(o for o in ("string", "bytes", "deref") if o in spec.option_where)
            raise stop(
                "SP260", f"`{option}` is for pointers, and `{said(spec)}` is a bit-field", spec.option_where[option]
            )
        if isinstance(ends, Record) and spec.deref:
            if steps or walked.last.index is not None:
                raise stop(
                    "SP260", f"`deref` is for pointers, and `{said(spec)}` is `{spell(walked.type)}`",
                    spec.option_where["deref"], help="leave it out to record the struct",
                )  # fmt: skip
            users = (*users[:-1], is_user(spec, probe, Pointer(walked.last.root)))
            return _whole(spec, probe, walked, users)
        if isinstance(ends, Array | Record):
            return _in_place(spec, probe, walked, ends, users, prototype, names, report)
        found = behind(replace(spec, name=said(spec)), probe, walked.type, prototype, names, report)
        if found is None:
            return None
        path = _following(probe, spec, walked, users, "pointer", _ADDRESS, 0, None)
        return replace(found, path=path)
    if spec.memory is not None:
        users = (*users[:-1], spec.memory == "user")
    return _value(spec, probe, walked, users)


def _in_place(
    spec: ArgumentSpec, probe: ProbeSpec, walked: Walk, there: Array | Record, users: tuple[bool, ...], prototype: Prototype,
    names: Sequence[str], report: Report,
) -> Behind | None:  # fmt: skip
    """Memory of an array or a record at the end: it begins where that does."""
    memory = spec.memory or ("user" if users[-1] else "kernel")
    target = there.element if isinstance(there, Array) else walked.type
    found = behind(replace(spec, name=said(spec), memory=memory), probe, Pointer(target), prototype, names, report)
    if found is None:
        return None
    held = size_of(there)
    bounded = not isinstance(there, Array) or bool(there.count)
    if bounded and found.room > held:
        option = next(o for o in ("string", "bytes", "deref") if o in spec.option_where)
        raise stop(
            "SP266", f"`{said(spec)}` has {held} bytes, and `{option}` would copy {found.room}", spec.option_where[option],
            help=f"at most {held}",
        )  # fmt: skip
    path = _following(probe, spec, walked, users, "address", _ADDRESS, found.room if bounded else 0, None)
    return replace(found, path=path)


def _value(spec: ArgumentSpec, probe: ProbeSpec, walked: Walk, users: tuple[bool, ...]) -> Behind:
    """What is at the end is the value itself."""
    assert spec.path is not None
    ctype = walked.type
    ends = bare(ctype)
    where = spec.path.where
    match ends:
        case Int() | Enum() if walked.last.bit_width is not None:
            start, width = walked.last.bit_offset % 8, walked.last.bit_width or 0
            if start + width > 64:
                raise stop("SP266", f"`{said(spec)}` lies in nine bytes, and eight are read at once", where)
            form = storage(ctype)
            path = _following(probe, spec, walked, users, "bits", form.c_type, ends.size, _sign(ends))
        case Int() | Enum() | Pointer() | Float() if size_of(ends) in (1, 2, 4, 8):
            form = storage(ctype)
            path = _following(
                probe,
                spec,
                walked,
                users,
                "value",
                form.c_type,
                0 if isinstance(ends, Pointer) else size_of(ends),
                _sign(ends),
            )
        case Array(count=count) if count and _is_plain(ends):
            path = _following(probe, spec, walked, users, "memory", "void", size_of(ends), None)
        case Array(count=None | 0):
            raise stop(
                "SP266", f"`{said(spec)}` is `{spell(ctype)}`, whose length is not declared", where,
                help="say how much with `bytes` or `string`",
            )  # fmt: skip
        case Record():
            return _whole(spec, probe, walked, users)
        case _:
            raise stop("SP266", f"`{said(spec)}` is `{spell(ctype)}`, which is no value that can be recorded", where)
    return Behind("object", ctype, size_of(ends), users[-1], path=path)


def _whole(spec: ArgumentSpec, probe: ProbeSpec, walked: Walk, users: tuple[bool, ...]) -> Behind:
    """The record that is at the end."""
    assert spec.path is not None
    what = f"*{said(spec)}" if spec.deref else said(spec)
    check_whole(walked.type, what, spec.path.where)
    path = _following(probe, spec, walked, users, "memory", "void", size_of(walked.type), None)
    if path.relocated:
        path = replace(path, leaves=leaves(walked.last, what, spec.path.where))
    return Behind("object", walked.type, size_of(walked.type), users[-1], path=path)


def _is_plain(array: Array) -> bool:
    inner = innermost(array)
    return size_of(array) > 0 and isinstance(inner, Int | Enum | Pointer | Float) and size_of(inner) in (1, 2, 4, 8)


def _sign(kind: CType) -> bool | None:
    """The sign that BTF must tell. It says nothing sure of enums, of pointers, and (pahole before 1.21) of characters."""
    return kind.signed if isinstance(kind, Int) and kind.size > 1 and kind.kind != "bool" else None


def _symbol(probe: ProbeSpec, spec: ArgumentSpec) -> str:
    """Of two paths never the same: fields have names of their own, and those that are only tested are numbered."""
    tested = spec.field.startswith("__path_")
    return (
        f"tested_{probe.name.text}_{spec.field.removeprefix('__')}"
        if tested
        else f"follow_{probe.name.text}_{spec.field}"
    )


def _following(
    probe: ProbeSpec, spec: ArgumentSpec, walked: Walk, users: tuple[bool, ...], end: str, c_type: str, size: int,
    signed: bool | None,
) -> Following:  # fmt: skip
    # CO-RE tells the sign of members, and not of an array's elements (relo_core.c, bpf_core_calc_field_relo).
    element = bool(walked.last.accesses) and walked.last.accesses[-1].name is None
    need = PathNeed(
        spec.field, spec.name, walked.path.text, walked.start, walked.type, walked.last.bit_width,
        size if end == "address" else None, tuple(hop.root for hop in walked.hops), spec.optional,
    )  # fmt: skip
    return Following(
        _symbol(probe, spec), need.said, need, walked.hops, users, end, c_type,
        size, None if element else signed, element, probe.kind in KERNEL_KINDS,
    )  # fmt: skip

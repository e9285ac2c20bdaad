"""Which values a probe records: the spec's names against the prototype, each with its type, storage and place.

    select(probe, Resolved(prototype, placement, type_named), report)   # [Value("start", ...), ...] or None

Everything that can be wrong with a name or an option is found here.
"""

from __future__ import annotations

from collections.abc import Sequence

from specc.diagnostics import Report, Stop, did_you_mean
from specc.ir import ADDRESSES
from specc.lower.event import storage
from specc.lower.members import into, is_by_value, is_several, member, several
from specc.lower.memory import Behind, behind, unknown_behind, wants_memory
from specc.lower.nouns import LATENCY, RETURN, Resolved, Value, has_plain_char
from specc.lower.paths import as_path, led_to, path_end, room
from specc.lower.shown import agreed_type, shown
from specc.lower.values import argument_value, hidden_pointer, return_value, types_elsewhere
from specc.noun import replace
from specc.place import argument_names
from specc.prototype import (
    ULLONG,
    ULONG,
    BitInt,
    CType,
    Enum,
    Float,
    Int,
    Pointer,
    Unknown,
    Void,
    bare,
    decay,
    size_of,
    spell,
)
from specc.spec import (
    RETURN_KINDS,
    TRAMPOLINE_KINDS,
    WORD_KINDS,
    ArgumentSpec,
    ProbeSpec,
    Word,
)
from specc.tracepoint import tracepoint_problem
from specc.trampoline import trampoline_problem


def select(probe: ProbeSpec, known: Resolved | None, report: Report) -> list[Value] | None:
    """The values that a probe records, in the spec's order; None when something about them is wrong."""
    if known is None:
        # Without a prototype nothing can be named; what was named has been reported by whoever looked for it.
        return [] if probe.args == () else None
    if probe.kind in WORD_KINDS and not _check_trampoline(probe, known, report):
        return None
    if probe.args is None:
        return _everything(probe, known)
    values = [_value(probe, spec, known, report) for spec in probe.args]
    whole = [
        replace(value, format=how.format, names=how.names)
        for value, spec in zip(values, probe.args, strict=True)
        if value is not None
        and (how := shown(spec, probe, value.type, value.behind, known.constants, report)) is not None
    ]
    return whole + _sizes(probe, whole, known) if len(whole) == len(values) else None


def select_one(probe: ProbeSpec, spec: ArgumentSpec, known: Resolved, report: Report) -> Value | None:
    """A hidden value: one that no record has, for what else needs it."""
    value = _value(probe, spec, known, report)
    return replace(value, hidden=True) if value is not None else None


def size_name(argument: str) -> str:
    """What the value is called that says the size of another one's memory."""
    return f"__arg_{argument}"


def _sizes(probe: ProbeSpec, values: Sequence[Value], known: Resolved) -> list[Value]:
    """The arguments that say how much memory is copied, beside those that are recorded themselves."""
    wanted = dict.fromkeys(v.behind.size for v in values if v.behind is not None and v.behind.size is not None)
    names = argument_names(known.placement)
    found = []
    for name in wanted:
        if name == RETURN and probe.kind in RETURN_KINDS:
            spec = replace(_plain(RETURN, probe), as_name=size_name(RETURN))
            found.append(replace(return_value(probe, known, spec), hidden=True))
            continue
        argument = known.placement.arguments[names.index(name)]
        spec = replace(_plain(name, probe), as_name=size_name(name))
        found.append(replace(argument_value(probe, name, argument, known, spec), hidden=True))
    return found


_CHAR_HELP = "say which with `type: signed char` or `type: unsigned char`, or take the prototype from BTF, which knows"


def _everything(probe: ProbeSpec, known: Resolved) -> list[Value]:
    """Without `args`, every argument that can be read, and the result at a return."""
    values = [
        argument_value(probe, name, argument, known, _plain(name, probe))
        for name, argument in zip(argument_names(known.placement), known.placement.arguments, strict=True)
        if argument.readable and argument.size > 0 and (known.char_known or not has_plain_char(argument.type))
    ]
    if probe.kind in RETURN_KINDS and return_problem(probe, known) is None:
        values.append(return_value(probe, known, _plain(RETURN, probe)))
    return values


def _plain(name: str, probe: ProbeSpec) -> ArgumentSpec:
    return ArgumentSpec(name, probe.where, None, None, False, None, {})


def _value(probe: ProbeSpec, spec: ArgumentSpec, known: Resolved, report: Report) -> Value | None:
    if spec.name == RETURN:
        return _checked_return(probe, spec, known, report)
    if spec.name == LATENCY and probe.kind in RETURN_KINDS:
        return _latency(probe, spec, report)
    names = argument_names(known.placement)
    if names.count(spec.name) > 1:
        report.error("SP208", f"two arguments of `{known.prototype.name}` are called `{spec.name}`", spec.where)
        return None
    if spec.name not in names:
        if spec.optional:
            elsewhere = _first_elsewhere(spec.name, known)
            if elsewhere is not None:
                return _value(probe, spec, elsewhere, report)
            return _absent(spec, known, report)
        origin = f" ({known.prototype.source})" if known.prototype.source else ""
        report.error(
            "SP201",
            f"no argument `{spec.name}` in `{known.prototype.name}`",
            spec.where,
            help=did_you_mean(spec.name, names),
            notes=[
                f"arguments{origin}: {', '.join(names) or 'none'}",
                *([known.prototype.doubt] if known.prototype.doubt else []),
            ],
        )
        return None
    argument = known.placement.arguments[names.index(spec.name)]
    if not argument.readable:
        report.error("SP301", f"`{spec.name}` cannot be read here: {argument.reason}", spec.where)
        return None
    if argument.size == 0:
        report.error("SP306", f"`{spec.name}` has no bytes: `{spell(argument.type)}` is empty", spec.where)
        return None
    spec = as_path(probe, spec, argument.type)
    if spec.path is not None:
        return _along_path(probe, spec, argument.type, known, report)
    if wants_memory(spec):
        pointer = argument_value(probe, spec.name, argument, known, spec)
        return _memory_value(probe, spec, argument.type, pointer, known, report)
    if spec.memory is not None:
        report.error(
            "SP261", f"`memory` says whose memory is copied, and none of `{spec.name}` is", spec.option_where["memory"],
            help="add `string`, `bytes` or `deref`, or leave it out",
        )  # fmt: skip
        return None
    if not _check_options(spec, argument.type, known, report):
        return None
    return argument_value(probe, spec.name, argument, known, spec)


def _memory_value(
    probe: ProbeSpec, spec: ArgumentSpec, declared: CType, pointer: Value, known: Resolved, report: Report
) -> Value | None:
    """What `pointer`, whose type is `declared`, leads to."""
    names = argument_names(known.placement)
    found = behind(spec, probe, declared, known.prototype, names, report)
    if found is None or not _check_size(probe, spec, found, known, report):
        return None
    for option in ("type", "format"):
        of_bytes = found.kind == "bytes" and spec.format in ("char", *ADDRESSES)
        if option in spec.option_where and not (option == "format" and (found.kind == "object" or of_bytes)):
            report.error(
                "SP261", f"`{option}` is for the value itself, and `{spec.name}` records what it points to",
                spec.option_where[option], help=f"leave `{option}` out",
            )  # fmt: skip
            return None
    if not known.char_known and found.kind == "object" and has_plain_char(found.type):
        report.error(
            "SP307", f"the sign of `char` behind `{spec.name}` is not known: Linux has it unsigned since 6.2, signed before",
            spec.where, help="use `string` or `bytes`",
        )  # fmt: skip
        return None
    what = {"string": "the string at", "bytes": "the memory at", "object": "what is at"}[found.kind]
    others = [p.target for t in types_elsewhere(spec.name, known) if isinstance(p := bare(decay(t)), Pointer)]
    return replace(
        pointer, type=agreed_type(found.type, others), storage=room(found), behind=found, declaration=f"{what} {pointer.declaration}",
        place=f"*{pointer.place}",
    )  # fmt: skip


def _along_path(probe: ProbeSpec, spec: ArgumentSpec, declared: CType, known: Resolved, report: Report) -> Value | None:
    """What the path from an argument, or from the result, leads to."""
    if spec.name == RETURN and known.placement.result.memory:
        pointer = hidden_pointer(known, spec)
        end = path_end(probe, spec, pointer.type, known, report)
        return led_to(spec, pointer, end) if end is not None and _check_size(probe, spec, end, known, report) else None
    if is_by_value(declared) and spec.type is None:
        return _in_struct(probe, spec, declared, known, report)
    end = path_end(probe, spec, declared, known, report)
    if end is None or not _check_size(probe, spec, end, known, report):
        return None
    if spec.name == RETURN:
        return led_to(spec, return_value(probe, known, spec), end)
    argument = known.placement.arguments[argument_names(known.placement).index(spec.name)]
    return led_to(spec, argument_value(probe, spec.name, argument, known, spec), end)


def _in_struct(probe: ProbeSpec, spec: ArgumentSpec, declared: CType, known: Resolved, report: Report) -> Value | None:
    """A member of a struct by value, or what a path leads to from a pointer in it."""
    assert spec.path is not None
    try:
        inside, rest = into(declared, spec.path, known.complete, spec.name)
    except Stop as problem:
        report.diagnostics.append(problem.diagnostic)
        return None
    if spec.name == RETURN:
        whole = return_value(probe, known, spec)
    else:
        argument = known.placement.arguments[argument_names(known.placement).index(spec.name)]
        whole = argument_value(probe, spec.name, argument, known, spec)
    said = f"{spec.name}.{spec.path.text}"
    if is_several(inside.type):
        return several(whole, inside, said) if _check_several(spec, inside.type, said, report) else None
    value = member(whole, inside, said)
    if rest is not None:
        end = path_end(probe, replace(spec, path=rest), inside.type, known, report, everywhere=True)
        if end is None or not _check_size(probe, spec, end, known, report):
            return None
        return led_to(replace(spec, path=rest), value, end)
    if wants_memory(spec):
        return _memory_value(probe, spec, inside.type, value, known, report)
    if spec.memory is not None:
        report.error("SP261", "`memory` says whose memory is copied, and none is", spec.option_where["memory"])
        return None
    return value if _check_options(spec, inside.type, known, report) else None


def _check_several(spec: ArgumentSpec, ctype: CType, said: str, report: Report) -> bool:
    """The options of an array, or a struct, in a struct by value: it is in no memory that has an address."""
    option = next((o for o in ("string", "bytes", "deref") if o in spec.option_where), None)
    if wants_memory(spec) and option is not None:
        report.error(
            "SP260", f"`{option}` is for pointers, and `{said}` is `{spell(ctype)}`, a part of what is passed by value",
            spec.option_where[option], help="leave it out to record what is there",
        )  # fmt: skip
        return False
    if spec.memory is not None:
        report.error("SP261", "`memory` says whose memory is copied, and none is", spec.option_where["memory"])
        return False
    if spec.format is not None and spec.format not in ADDRESSES:
        report.error(
            "SP205", f"format `{spec.format}` is for integers and pointers, and `{said}` is `{spell(ctype)}`",
            spec.option_where.get("format", spec.where), help="leave `format` out",
        )  # fmt: skip
        return False
    return True


def _check_size(probe: ProbeSpec, spec: ArgumentSpec, found: Behind, known: Resolved, report: Report) -> bool:
    """The argument that says the size must be one that can be read."""
    if found.size is None:
        return True
    if found.size == RETURN and spec.bytes is not None and isinstance(spec.bytes.size, Word):
        problem = return_problem(probe, known)
        if problem is not None:
            report.error(problem[0], problem[1], spec.bytes.size.where, help=problem[2])
        return problem is None
    names = argument_names(known.placement)
    argument = known.placement.arguments[names.index(found.size)]
    if not argument.readable:
        assert spec.bytes is not None and isinstance(spec.bytes.size, Word)
        report.error("SP301", f"`{found.size}` cannot be read here: {argument.reason}", spec.bytes.size.where)
    return argument.readable


def _latency(probe: ProbeSpec, spec: ArgumentSpec, report: Report) -> Value | None:
    if probe.kind in TRAMPOLINE_KINDS:
        report.error(
            "SP302", "fexit does not know when the function was entered, so it has no `latency`", spec.where,
            help="use `kretprobe:`, or `function:` with `at: return`",
        )  # fmt: skip
        return None
    unfit = next((o for o in spec.option_where if o not in ("as", "format", "enum", "flags")), None)
    if unfit is not None:
        report.error(
            "SP261", f"`{unfit}` is for arguments, and `latency` is a time that the program measures",
            spec.option_where[unfit], help=f"leave `{unfit}` out",
        )  # fmt: skip
        return None
    field = spec.as_name or LATENCY
    return Value(
        field, ULLONG, storage(ULLONG), None, False, False, spec.format, "ns from the entry to the return", "",
        "", spec.where, LATENCY, ULLONG,
    )  # fmt: skip


def _first_elsewhere(name: str, known: Resolved) -> Resolved | None:
    """The first further target whose prototype has the argument: its type is the one that all are held against."""
    for number, other in enumerate(known.elsewhere):
        if name in argument_names(other.placement):
            rest = known.elsewhere[number + 1 :]
            return replace(
                known, target=other.target, prototype=other.prototype, placement=other.placement, elsewhere=rest
            )
    return None


def _absent(spec: ArgumentSpec, known: Resolved, report: Report) -> Value | None:
    """An optional argument that this prototype lacks: a field of the given type, or of a register's width."""
    ctype: CType = ULONG
    if spec.type is not None:
        try:
            ctype = known.type_named(spec.type.text, spec.type.where)
        except Stop as problem:
            report.diagnostics.append(problem.diagnostic)
            return None
    name = spec.as_name or spec.name
    found = unknown_behind(spec, ctype) if wants_memory(spec) else None
    if found is not None:
        return Value(
            name, found.type, room(found), None, True, True, spec.format, spell(ctype, name), "absent",
            f"{known.prototype.name} has no argument `{spec.name}`", spec.where, spec.name, ctype, behind=found,
        )  # fmt: skip
    return Value(
        name, decay(ctype), storage(ctype), None, True, True, spec.format, spell(ctype, name), "absent",
        f"{known.prototype.name} has no argument `{spec.name}`", spec.where, spec.name, ctype,
    )  # fmt: skip


def _check_options(spec: ArgumentSpec, declared: CType, known: Resolved, report: Report) -> bool:
    fine = True
    ctype = decay(declared)
    if spec.type is not None:
        try:
            ctype = decay(known.type_named(spec.type.text, spec.type.where))
        except Stop as problem:
            report.diagnostics.append(problem.diagnostic)
            return False
        if size_of(ctype) != size_of(decay(declared)) or isinstance(bare(ctype), Void | Unknown):
            fine = False
            report.error(
                "SP204",
                f"`{spec.name}` has {size_of(decay(declared))} bytes and `{spell(ctype)}` has {size_of(ctype)}",
                spec.type.where,
                notes=[f"it is declared as `{spell(declared, spec.name)}`"],
                help="`type` reads the same bytes as another type, so the sizes must be equal",
            )
    if not known.char_known and has_plain_char(ctype):
        fine = False
        report.error(
            "SP307",
            f"the sign of `char` in `{spell(ctype, spec.name)}` is not known: Linux has it unsigned since 6.2, signed before",
            spec.where,
            help=_CHAR_HELP,
        )
    if (
        spec.format is not None
        and spec.format not in ADDRESSES
        and not isinstance(bare(ctype), Int | Enum | Pointer | BitInt)
    ):
        fine = False
        kind = "a floating value" if isinstance(bare(ctype), Float) else f"`{spell(ctype)}`"
        report.error(
            "SP205",
            f"format `{spec.format}` is for integers and pointers, and `{spec.name}` is {kind}",
            spec.option_where.get("format", spec.where),
            help="leave `format` out: structs are shown member by member, floating values as numbers",
        )
    return fine


def _checked_return(probe: ProbeSpec, spec: ArgumentSpec, known: Resolved, report: Report) -> Value | None:
    problem = return_problem(probe, known)
    if problem is not None:
        code, message, hint = problem
        report.error(code, message, spec.where, help=hint)
        return None
    spec = as_path(probe, spec, known.prototype.result)
    if spec.path is not None:
        return _along_path(probe, spec, known.prototype.result, known, report)
    if wants_memory(spec) and not known.placement.result.memory:
        pointer = return_value(probe, known, spec)
        return _memory_value(probe, spec, known.prototype.result, pointer, known, report)
    if wants_memory(spec) or spec.memory is not None:
        behind(spec, probe, known.prototype.result, known.prototype, (), report) if wants_memory(
            spec
        ) else report.error("SP261", "`memory` says whose memory is copied, and none is", spec.option_where["memory"])
        return None
    if not _check_options(spec, known.prototype.result, known, report):
        return None
    return return_value(probe, known, spec)


def return_problem(probe: ProbeSpec, known: Resolved) -> tuple[str, str, str | None] | None:
    """Why there is no result to record: code, message and help."""
    result = known.placement.result
    function = known.prototype.name
    if isinstance(bare(known.prototype.result), Void):
        return "SP202", f"`{function}` returns nothing", None
    if result.size == 0:
        return "SP202", f"`{function}` returns `{spell(result.type)}`, which has no bytes", None
    if result.memory and probe.kind in TRAMPOLINE_KINDS:
        return (
            "SP302",
            f"the result of `{function}` is returned in memory, which fexit does not show",
            "use `kretprobe:`",
        )
    if not result.readable and not result.memory:
        return "SP302", f"the result of `{function}` cannot be read here: {result.reason}", None
    if probe.args is None and not known.char_known and has_plain_char(result.type):
        return "SP307", "the sign of `char` is not known", None
    if isinstance(bare(known.prototype.result), Unknown):
        return "SP302", f"the result of `{function}` has a type that is not known: {result.reason}", None
    return None


def _check_trampoline(probe: ProbeSpec, known: Resolved, report: Report) -> bool:
    """Nothing may be left to the verifier: an old one that accepts a program it does not understand shows a wrong word."""
    on = [("", known.prototype, known.placement)] + [(e.target, e.prototype, e.placement) for e in known.elsewhere]
    other = {"fentry": "kprobe", "fexit": "kretprobe"}.get(probe.kind)
    find = trampoline_problem if other is not None else tracepoint_problem
    for target, prototype, placement in on:
        problem = find(prototype, placement)
        if problem is not None:
            where = f" on {target}" if target else ""
            report.error(
                "SP303",
                f"{probe.kind} cannot attach to `{prototype.name}`{where}: {problem}",
                probe.kind_where,
                help=f"use `{other}:`"
                if other is not None
                else "leave `prototype` out to take the tracepoint's own from BTF",
            )
            return False
    return True

"""What a lock says of a spec that was compiled.

locked_spec("specs/gup.yaml", program, surveys, outputs, "clang 14.0.6").probes[0].fields
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from specc.cache import sha256
from specc.ir import Event, Probe, Program, Role
from specc.lock.nouns import LockedField, LockedOutput, LockedProbe, LockedSpec, LockedTarget
from specc.noun import replace
from specc.place import Placement, argument_names, place_text
from specc.prototype import CType, Prototype, Record, bare, size_of, spell, spell_prototype
from specc.survey import Row, Survey


def locked_spec(
    path: str, program: Program, surveys: Sequence[Survey], outputs: Mapping[str, bytes], compiler: str = ""
) -> LockedSpec:
    """What a lock says of a spec. `surveys` has the probes with targets; `compiler` made the objects of `outputs`."""
    made = [
        LockedOutput(name, f"sha256:{sha256(data).hexdigest()}", compiler if name.endswith(".o") else "")
        for name, data in sorted(outputs.items())
    ]
    on = {survey.probe: survey for survey in surveys}
    buffer = program.buffer if program.streaming else ""
    probes = tuple(_locked_probe(p, on.get(p.name)) for p in program.probes)
    return LockedSpec(path, program.name, buffer, tuple(made), probes)


def _locked_probe(probe: Probe, survey: Survey | None) -> LockedProbe:
    if survey is not None:
        rows = survey.rows
        first = (_locked_row("", rows[0], survey),) if survey.declared else ()
        targets = (*first, *(_locked_row(r.target, r, survey) for r in rows[len(first) :]))
    elif probe.prototype is not None and probe.placement is not None:
        # Without targets, BTF is that of the running kernel; what can move is from BTF.
        name = "the running kernel" if probe.at is not None else ""
        targets = (_locked_target(name, probe.prototype, probe.placement, probe.used),)
    else:
        targets = ()
    target = probe.target
    code = probe.function or ""
    if target is not None:
        code = f"{target.path}:{target.symbol or ''}" + (f"+{target.offset:#x}" if target.offset else "")
    return LockedProbe(
        probe.name,
        probe.event.number,
        probe.kind,
        code,
        target.build or "" if target is not None else "",
        targets,
        probe.event.size,
        tuple(_fields(probe.event)),
        probe.aggregate.title if probe.aggregate is not None else "",
    )


def _locked_row(name: str, row: Row, survey: Survey) -> LockedTarget:
    if row.prototype is None or row.placement is None:
        return LockedTarget(name, "", ())
    absent = [n for n in survey.wanted if n not in row.places]
    made = _locked_target(name, row.prototype, row.placement, survey.wanted)
    return replace(made, places=(*made.places, *((n, "-") for n in absent)))


def _locked_target(name: str, prototype: Prototype, placement: Placement, used: Sequence[str]) -> LockedTarget:
    named = zip(argument_names(placement), placement.arguments, strict=True)
    places = [(n, place_text(a.pieces) if a.readable else "unreadable") for n, a in named]
    if "return" in used:
        places.append(("return", "*rax" if placement.result.memory else place_text(placement.result.pieces)))
    return LockedTarget(name, spell_prototype(prototype), tuple(places))


def _fields(event: Event) -> Iterator[LockedField]:
    for field in event.fields:
        if field.role is Role.PADDING:
            continue
        ctype = spell(field.type) if field.type is not None else field.c_type
        if field.type is None and field.count is not None:
            ctype += f"[{field.count}]"
        if field.names is not None:
            ctype += f" as {field.names.kind} {field.names.source}"  # who reads records has text, and not a number
        yield LockedField(field.offset, field.size, field.record_key, ctype, field.absent_bit)
        if field.type is not None:
            yield from _members(field.type, field.offset, field.record_key)


def _members(ctype: CType, offset: int, name: str) -> Iterator[LockedField]:
    """What is inside of a struct by value: who reads the record takes it apart."""
    record = bare(ctype)
    if not isinstance(record, Record):
        return
    for number, member in enumerate(record.members or ()):
        inner = bare(member.type)
        path = f"{name}.{member.name or number}"
        bits = "" if member.bit_width is None else f" : {member.bit_width} at bit {member.bit_offset % 8}"
        size = inner.size if isinstance(inner, Record) else None
        at = offset + member.bit_offset // 8
        yield LockedField(at, size if size is not None else size_of(member.type), path, spell(member.type) + bits, None)
        yield from _members(member.type, at, path)

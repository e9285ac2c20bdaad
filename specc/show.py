"""A prototype's places for a person (a picture) and for a program (JSON).

    print(show_text(prototype, placement))
    json.dumps(show_json(prototype, placement))

The JSON's keys are a contract that other tools build on; the text is free to become clearer.
"""

from __future__ import annotations

from specc.ir import Event, Role
from specc.place import STACK, Argument, Piece, Placement, argument_names, place_text
from specc.prototype import (
    BitInt,
    CType,
    Enum,
    Int,
    Pointer,
    Prototype,
    Void,
    bare,
    decay,
    size_of,
    spell,
    spell_prototype,
)


def show_json(prototype: Prototype, placement: Placement) -> dict[str, object]:
    """One object per function: the shape documented in docs/show.md."""
    return {
        "function": prototype.name,
        "source": prototype.source,
        "hidden_return_pointer": placement.hidden_return_pointer,
        "args": [
            _argument_json(name, argument)
            for name, argument in zip(argument_names(placement), placement.arguments, strict=True)
        ],
    }


def _argument_json(name: str, argument: Argument) -> dict[str, object]:
    described: dict[str, object] = {
        "name": name,
        "type": spell(argument.type),
        "size": argument.size,
        "align": argument.align,
        "class": argument.cls,
        "readable": argument.readable,
        "reason": argument.reason,
        "pieces": [piece_json(p) for p in argument.pieces],
    }
    if argument.alternatives:
        described["alternatives"] = [
            {"by": who, "pieces": [piece_json(p) for p in pieces]} for who, pieces in argument.alternatives
        ]
    return described


def piece_json(piece: Piece) -> dict[str, object]:
    base: dict[str, object] = {"arg_offset": piece.arg_offset, "size": piece.size, "where": piece.where}
    if piece.where == STACK:
        return base | {"stack_offset": piece.stack_offset}
    return base | {"reg_offset": piece.reg_offset}


def show_text(prototype: Prototype, placement: Placement) -> str:
    """The picture: a row per argument, then the result, then the stack with its slots."""
    head = [spell_prototype(prototype), *([f"  from {prototype.source}"] if prototype.source else []),
            *([f"  in doubt: {prototype.doubt}"] if prototype.doubt else []), ""]  # fmt: skip
    rows = [["argument", "type", "bytes", "place", "read as", "why"]]
    if placement.hidden_return_pointer:
        rows.append(["(result)", f"{spell(prototype.result)} *", "8", placement.hidden_return_pointer, "",
                     "hidden pointer: the result is returned in memory, and every argument moves by one"])  # fmt: skip
    for name, argument in zip(argument_names(placement), placement.arguments, strict=True):
        place = place_text(argument.pieces) if argument.pieces or argument.size == 0 else "?"
        rows.append(
            [name, spell(argument.type), str(argument.size), place,
             read_as(argument.type, argument.pieces) if argument.readable else "not readable", argument.reason]
        )  # fmt: skip
        rows += [["", "", "", place_text(pieces), "", f"if {who}"] for who, pieces in argument.alternatives]
    if not isinstance(bare(prototype.result), Void):
        result = placement.result
        place = "*rax" if result.memory else place_text(result.pieces)
        how = "at return" if result.readable or result.memory else "not readable"
        rows.append(["return", spell(prototype.result), str(result.size), place, how, result.reason])
    body = _table(rows)
    return "\n".join([*head, *body, *_stack_picture(placement)]) + "\n"


def read_as(ctype: CType, pieces: tuple[Piece, ...]) -> str:
    """How the bits become the value: what is cut, what is extended."""
    kind = bare(decay(ctype))
    if not pieces:
        return "nothing to read"
    match kind:
        case Int(kind="bool"):
            return "low 8 bits, not 0"
        case Int(signed=signed, size=size) | Enum(signed=signed, size=size) if size < 8:
            return f"low {8 * size} bits, {'sign' if signed else 'zero'}-extended"
        case BitInt(width=width, signed=signed) if size_of(kind) <= 8:
            return f"low {width} bits, {'sign' if signed else 'zero'}-extended"
        case Int(size=8) | Enum(size=8) | Pointer():
            return "64 bits"
        case _:
            return f"{size_of(kind)} bytes"


def _table(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    right = {2}  # byte counts
    lines = []
    for row in rows:
        cells = [c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append(("  " + "  ".join(cells)).rstrip())
    return lines


def _stack_picture(placement: Placement) -> list[str]:
    """The slots from the return address up, each with whose bytes it holds."""
    names = argument_names(placement)
    slots: dict[int, str] = {0: "return address"}
    for name, argument in zip(names, placement.arguments, strict=True):
        for piece in argument.pieces:
            if piece.where != STACK:
                continue
            spans = range(piece.stack_offset, piece.stack_offset + piece.size, 8)
            for number, offset in enumerate(spans):
                first = piece.arg_offset + 8 * number
                last = min(first + 8, argument.size) - 1
                slots[offset] = name if len(spans) == 1 else f"{name}, bytes {first} to {last}"
    if len(slots) == 1:
        return ["", "  nothing on the stack"]
    shown: list[tuple[str, str]] = []
    previous = -8
    for offset in sorted(slots):
        if offset > previous + 8:
            gap = offset - previous - 8
            shown.append((f"sp+{previous + 8}", f"({gap} bytes unused: alignment)"))
        shown.append((f"sp+{offset}", slots[offset]))
        previous = offset
    shown = _fold(shown)
    left = max(len(where) for where, _ in shown)
    wide = max(len(what) for _, what in shown)
    edge = f"  {'':{left}}  +{'-' * (wide + 2)}+"
    lines = ["", "  the stack at entry", edge]
    for where, what in shown:
        lines += [f"  {where:<{left}}  | {what:<{wide}} |", edge]
    return lines


def _fold(slots: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """A large struct shows its first and last slot only."""
    out: list[tuple[str, str]] = []
    index = 0
    while index < len(slots):
        name = slots[index][1].partition(", bytes ")[0]
        end = index
        while end + 1 < len(slots) and slots[end + 1][1].startswith(f"{name}, bytes "):
            end += 1
        run = slots[index : end + 1]
        if len(run) > 6 and ", bytes " in slots[index][1]:
            run = [*run[:2], ("...", f"({len(run) - 3} more slots of {name})"), run[-1]]
        out += run
        index = end + 1
    return out


def show_event(event: Event) -> str:
    """An event's layout: offset, bytes, member, and what it is."""
    rows = [["offset", "bytes", "member", "holds"]]
    for field in event.fields:
        count = "" if field.count is None else f"[{field.count}]"
        holds = field.comment or ("padding" if field.role is Role.PADDING else field.role.value)
        rows.append([str(field.offset), str(field.size), f"{field.c_type} {field.name}{count}", holds])
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [f"  {r[0]:>{widths[0]}}  {r[1]:>{widths[1]}}  {r[2]:<{widths[2]}}  {r[3]}".rstrip() for r in rows]
    return "\n".join([f"struct {event.name}, {event.size} bytes", "", *lines]) + "\n"


def event_json(event: Event) -> dict[str, object]:
    """The event's layout for programs: every member with its place and role."""
    return {
        "struct": event.name,
        "probe": event.probe,
        "number": event.number,
        "size": event.size,
        "fields": [
            {
                "name": f.name,
                "key": f.record_key,
                "offset": f.offset,
                "size": f.size,
                "c_type": f.c_type,
                "count": f.count,
                "role": f.role.value,
                "type": None if f.type is None else spell(f.type),
                "format": f.format,
                "status": f.status,
            }
            for f in event.fields
        ],
    }

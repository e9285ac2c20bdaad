"""A value as it is before anybody looks behind it: an argument, or a result, with its type and the place that it has here.

In: a name and its options, and the function's places.  Out: a `Value`.

    argument_value(probe, "locked", placement.arguments[6], known, spec).place       # "sp+8"
"""

from __future__ import annotations

from collections.abc import Sequence

from specc.lower.captures import Wanted
from specc.lower.event import storage
from specc.lower.nouns import RETURN, RETURN_FIELD, Resolved, Value
from specc.lower.shown import agreed_type
from specc.place import STACK, Argument, Piece, argument_names, place_text
from specc.prototype import CType, Pointer, Record, Void, bare, decay, spell
from specc.spec import SYSCALL_KINDS, TRACEPOINT, TRAMPOLINE_KINDS, WORD_KINDS, ArgumentSpec, ProbeSpec
from specc.trampoline import words_of

# Offsets in struct pt_regs (arch/x86/include/asm/ptrace.h) of the registers that hold a system call's arguments.
_PT_REGS = {"r10": 56, "r9": 64, "r8": 72, "rdx": 96, "rsi": 104, "rdi": 112}


def argument_value(probe: ProbeSpec, name: str, argument: Argument, known: Resolved, spec: ArgumentSpec) -> Value:
    """The argument, of the words of a trampoline's or a tracepoint's context where the program has that."""
    ctype = agreed_type(decay(read_as(spec, argument.type, known)), types_elsewhere(name, known))
    form = storage(ctype)
    field = spec.as_name or name
    place, reason = place_text(argument.pieces), argument.reason
    words: tuple[int, ...] = ()
    if probe.kind in WORD_KINDS:
        words = _context_words(known.placement.arguments, argument)
        place = f"ctx[{words[0]}]" if len(words) == 1 else f"ctx[{words[0]}], ctx[{words[1]}]"
        reason = ""
    pieces = () if words else argument.pieces
    if probe.kind in SYSCALL_KINDS:
        pieces = tuple(Piece(p.arg_offset, p.size, STACK, stack_offset=_PT_REGS[p.where]) for p in pieces)
        place = f"{place} of the process"
    declaration = spell(argument.type, name)
    # Linux 5.10 does not let a program on a tracepoint load a struct either.
    by_value = probe.kind == TRACEPOINT and isinstance(bare(argument.type), Record)
    copied = bool(words) and (_is_odd_pointer(argument.type) or by_value)
    wanted = Wanted(field, form, pieces, words, size=argument.size, comment=place, copied=copied)
    return Value(
        field, ctype, form, wanted, True, spec.optional, spec.format, declaration, place, reason, spec.where,
        name, argument.type, spec.type is not None,
    )  # fmt: skip


def return_value(probe: ProbeSpec, known: Resolved, spec: ArgumentSpec) -> Value:
    """The result, in registers or, of one that is returned in memory, whole from there."""
    result = known.placement.result
    ctype = agreed_type(decay(read_as(spec, result.type, known)), [e.prototype.result for e in known.elsewhere])
    form = storage(ctype)
    field = spec.as_name or RETURN_FIELD
    if probe.kind in TRAMPOLINE_KINDS:
        after = sum(words_of(a) for a in known.placement.arguments)
        copied = _is_odd_pointer(result.type)
        wanted = Wanted(field, form, (), (after,), size=result.size, comment=f"ctx[{after}]", copied=copied)
        place = f"ctx[{after}]"
    elif result.memory:
        wanted = Wanted(field, form, memory="ax", size=result.size, comment="rax holds its address")
        place = "*rax"
    else:
        place = place_text(result.pieces)
        wanted = Wanted(field, form, result.pieces, size=result.size, comment=place)
    return Value(
        field, ctype, form, wanted, False, False, spec.format, spell(result.type, RETURN_FIELD), place, result.reason,
        spec.where, RETURN, result.type, spec.type is not None,
    )  # fmt: skip


def hidden_pointer(known: Resolved, spec: ArgumentSpec) -> Value:
    """The address of a result that is returned in memory, which the function leaves in rax (psABI 3.2.3, returning of
    values): a path goes on from there as from any pointer."""
    result = known.placement.result
    pointer = Pointer(result.type)
    field, form = spec.as_name or RETURN_FIELD, storage(pointer)
    wanted = Wanted(field, form, (Piece(0, 8, "rax"),), size=8, comment="rax holds its address")
    return Value(
        field, pointer, form, wanted, False, False, spec.format, spell(result.type, RETURN_FIELD), "rax", result.reason,
        spec.where, RETURN, pointer,
    )  # fmt: skip


def read_as(spec: ArgumentSpec, declared: CType, known: Resolved) -> CType:
    """The type that the spec reads a value as."""
    return known.type_named(spec.type.text, spec.type.where) if spec.type is not None else declared


def types_elsewhere(name: str, known: Resolved) -> list[CType]:
    """The argument's types on the further targets."""
    return [
        argument.type
        for other in known.elsewhere
        for found, argument in zip(argument_names(other.placement), other.placement.arguments, strict=True)
        if found == name
    ]


def _is_odd_pointer(ctype: CType) -> bool:
    """To something else than a struct or plain void. Until Linux 6.13 or so the verifier rejects a load of a pointer from
    a trampoline's context when it leads to a pointer, an enum, a function, `const void`, or (5.10) an integer."""
    pointer = bare(decay(ctype))
    if not isinstance(pointer, Pointer):
        return False
    return not (isinstance(pointer.target, Void) or isinstance(bare(pointer.target), Record))


def _context_words(arguments: Sequence[Argument], wanted: Argument) -> tuple[int, ...]:
    first = 0
    for argument in arguments:
        if argument is wanted:
            break
        first += words_of(argument)
    return tuple(range(first, first + words_of(wanted)))

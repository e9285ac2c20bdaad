"""The `args` of a probe: what each item says, and what the names of an event cannot be.

In: an item of the list, or the arguments that were read.  Out: an `ArgumentSpec`; findings (SP120, SP121, SP123).

    read_argument(node, report).as_name         # "pin_flags", of `{gup_flags: {as: pin_flags}}`
"""

from __future__ import annotations

import re
from typing import Final

from specc.diagnostics import Report, Stop
from specc.path import Path, parse_path
from specc.schema import inline
from specc.source import Node
from specc.spec.nodes import entries_of, int_of, text_of
from specc.spec.nouns import FUNCTION, RETURN_KINDS, TRACEPOINT, ArgumentSpec, BytesSpec, Word

_MOST_BYTES: Final = 64  # of memory whose size an argument says, without `max`

# C23 6.4.1, the GNU spellings, and the macros that GNU C predefines: none can be the name of a struct's member.
_TAKEN_WORDS: Final = """
    alignas alignof auto bool break case char const constexpr continue default do double else enum extern false
    float for goto if inline int long nullptr register restrict return short signed sizeof static static_assert
    struct switch thread_local true typedef typeof typeof_unqual union unsigned void volatile while
    asm linux unix i386
"""
_TAKEN: Final = frozenset(_TAKEN_WORDS.split())
_RESERVED: Final = re.compile(r"_[A-Z]\w*|__\w*__", re.ASCII)  # keywords and predefined macros have these shapes


def read_argument(node: Node, report: Report) -> ArgumentSpec:
    if isinstance(node.value, str):
        return ArgumentSpec(node.value, node.where, None, None, False, None, {})
    [(name, (key, value))] = entries_of(node).items()
    options = {n: e.value for n, e in entries_of(value).items() if not n.startswith("x-")}
    if "as" in options:
        check_c_name(options["as"], "`as`", report)
    return ArgumentSpec(
        name=name,
        where=key.where,
        as_name=text_of(options["as"]) if "as" in options else None,
        format=text_of(options["format"]) if "format" in options else None,
        optional="optional" in options and options["optional"].value is True,
        type=Word(text_of(options["type"]), options["type"].where) if "type" in options else None,
        option_where={name: option.where for name, option in options.items()},
        string=int_of(options["string"]) if "string" in options else None,
        bytes=_bytes(options["bytes"]) if "bytes" in options else None,
        deref="deref" in options and options["deref"].value is True,
        memory=text_of(options["memory"]) if "memory" in options else None,
        enum=Word(text_of(options["enum"]), options["enum"].where) if "enum" in options else None,
        flags=Word(text_of(options["flags"]), options["flags"].where) if "flags" in options else None,
        path=_path(options["field"], report) if "field" in options else None,
    )


def _path(node: Node, report: Report) -> Path | None:
    try:
        return parse_path(text_of(node), node.where)
    except Stop as problem:
        report.diagnostics.append(problem.diagnostic)
        return None


def _bytes(node: Node) -> BytesSpec:
    entries = entries_of(node)
    size = entries["size"].value
    most = int_of(entries["max"].value) if "max" in entries else None
    if not isinstance(size.value, str):
        return BytesSpec(int_of(size), min(int_of(size), most or int_of(size)))
    return BytesSpec(Word(text_of(size), size.where), most or _MOST_BYTES)


def check_c_name(node: Node, label: str, report: Report) -> None:
    name = text_of(node)
    if name in _TAKEN or _RESERVED.fullmatch(name):
        message = f"{label} cannot be `{name}`: C reserves the word"
        report.error("SP121", message, node.where, help=f"such as `{name}_`" if name in _TAKEN else None)


def check_results(args: tuple[ArgumentSpec, ...], kind: str, word: str, report: Report) -> None:
    returns = {"kprobe": "kretprobe", "fentry": "fexit", "uprobe": "uretprobe", "ksyscall": "kretsyscall"}
    for argument in args:
        if argument.name == "return" and kind not in RETURN_KINDS:
            if kind == TRACEPOINT:
                report.error("SP123", "a tracepoint returns nothing, and has no `return`", argument.where)
                continue
            report.error(
                "SP123",
                f"`return` has no value at a function's entry, where `{word}` is",
                argument.where,
                help="say `at: return`" if word == FUNCTION else f"use `{returns[kind]}`",
            )


def check_names(
    args: tuple[ArgumentSpec, ...], fields: tuple[Word, ...], report: Report, *, syntax: str, default_fields: bool
) -> None:
    """Every name of the event's record is there once: `probe`, the context, the arguments, and their errors."""
    context = {word.text: word for word in fields}
    seen: dict[str, ArgumentSpec] = {}
    for argument in args:
        name = argument.field
        where = argument.option_where.get("as", argument.where)
        help = _rename(argument, syntax)
        if name in seen:
            notes = [f"first at {seen[name].option_where.get('as', seen[name].where)}"]
            report.error("SP120", f"two fields of the event are called `{name}`", where, notes=notes, help=help)
        elif name == "probe":
            message = "a field cannot be called `probe`: every event has one, the probe's name"
            report.error("SP120", message, where, help=help)
        elif name in context:
            report.error(
                "SP120",
                f"the argument `{name}` and the context field `{name}` have one name",
                where,
                notes=[
                    "it is one of the `fields` that are recorded by default"
                    if default_fields
                    else f"`fields` has it at {context[name].where}"
                ],
                help=help,
            )
        seen.setdefault(name, argument)
    for name, argument in seen.items():
        for suffix in ("_error", "_truncated"):
            whole = name.removesuffix(suffix)
            if whole != name and whole in seen:
                report.error(
                    "SP120",
                    f"`{name}` is what an event says about `{whole}` when that could not be read whole",
                    argument.option_where.get("as", argument.where),
                    help=_rename(argument, syntax),
                )


def _rename(argument: ArgumentSpec, syntax: str) -> str:
    other = inline({argument.name: {"as": f"{argument.field}_2"}}, syntax)
    return f"give it another name: `{other}`"

"""Document -> Spec: the schema, then what a schema cannot say, then frozen dataclasses.

In: a positioned Document.  Out: a Spec, or None after diagnostics SP101-SP159 went to the Report.

    report = Report()
    spec = read_spec(load(Path("specs/gup.yaml")), report)
    spec.probes[0].function.text, spec.probes[0].args[0].name        # "__get_user_pages", "start"

Everything here is read from the document alone; `files` looks at the disk.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Final

from specc.diagnostics import Location, Report, Stop
from specc.path import Path, parse_path
from specc.schema import check, inline, schema
from specc.source import Document, Entry, Node
from specc.spec.aggregates import read_aggregate
from specc.spec.nouns import (
    FUNCTION,
    KINDS,
    RETURN_KINDS,
    TRACEPOINT,
    USER_KINDS,
    ArgumentSpec,
    Buffer,
    BytesSpec,
    LimitSpec,
    ProbeSpec,
    Spec,
    UserTarget,
    Word,
)
from specc.spec.targets import read_targets
from specc.where.syntax import parse

DEFAULT_FIELDS: Final = ("timestamp", "pid", "tid", "comm")
DEFAULT_RING: Final = 1 << 20
DEFAULT_STACKS: Final = 16384
PAGE: Final = 4096
SYSTEM_PLACES: Final = ("/usr", "/opt", "/lib/modules")  # where packages put C headers
_MOST_BYTES: Final = 64  # of memory whose size an argument says, without `max`
_UNITS: Final = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_SPANS: Final = {"s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}  # of a limit, in ns
_NAME_LENGTH: Final = 64  # of a probe: the emitted functions and structs are named after it, and BTF names are bounded

# C23 6.4.1, the GNU spellings, and the macros that GNU C predefines: none can be the name of a struct's member.
_TAKEN_WORDS: Final = """
    alignas alignof auto bool break case char const constexpr continue default do double else enum extern false
    float for goto if inline int long nullptr register restrict return short signed sizeof static static_assert
    struct switch thread_local true typedef typeof typeof_unqual union unsigned void volatile while
    asm linux unix i386
"""
_TAKEN: Final = frozenset(_TAKEN_WORDS.split())
_RESERVED: Final = re.compile(r"_[A-Z]\w*|__\w*__", re.ASCII)  # keywords and predefined macros have these shapes


def read_spec(document: Document, report: Report) -> Spec | None:
    """The spec that the document is; None when it has errors, all of which are then in the report."""
    findings = Report()
    bad = check(document, schema(), findings)
    entries = document.root.value if isinstance(document.root.value, dict) else {}
    sound = {name: entry.value for name, entry in entries.items() if id(entry.value) not in bad}
    reader = _Reader(findings, document.syntax, bad, default_fields="fields" not in entries)
    if "name" in sound:
        reader.c_name(sound["name"], "`name`")
    # What has an error is left out below, so that the rest still has all of its errors told.
    whole = {name: entry.value for name, entry in entries.items()}
    headers = reader.paths(whole.get("headers"), directories=False)
    include_dirs = reader.paths(whole.get("include_dirs"), directories=True)
    defines = reader.defines(whole.get("defines"))
    buffer = reader.buffer(sound.get("buffer"))
    targets = read_targets(sound["targets"], findings) if "targets" in sound else ()
    fields = tuple(Word(_text(n), n.where) for n in _items(sound.get("fields"))) if "fields" in sound else None
    if fields is None:
        fields = tuple(Word(name, document.root.where) for name in DEFAULT_FIELDS)
    probes = [reader.probe(node, fields) for node in reader.items(whole.get("probes"))]
    reader.unique_probes([probe for probe in probes if probe is not None])
    report.extend(findings)
    if findings.failed:
        return None
    return Spec(
        path=document.file,
        name=_text(sound["name"]),
        description=_text(sound["description"]) if "description" in sound else "",
        license=_text(sound["license"]) if "license" in sound else "GPL",
        headers=headers,
        include_dirs=include_dirs,
        defines=defines,
        fields=fields,
        buffer=buffer,
        probes=tuple(probe for probe in probes if probe is not None),
        where=sound["name"].where,
        targets=targets,
        stack_room=_int(sound["stacks"]) if "stacks" in sound else DEFAULT_STACKS,
    )


class _Reader:
    """The checks that need more than one place of the document, or arithmetic."""

    def __init__(self, report: Report, syntax: str, bad: set[int], *, default_fields: bool) -> None:
        self.report = report
        self.syntax = syntax
        self.bad = bad
        self.default_fields = default_fields

    def items(self, node: Node | None) -> list[Node]:
        """The items of a list that the schema finds nothing wrong with."""
        return [item for item in _items(node) if id(item) not in self.bad]

    def rename(self, argument: ArgumentSpec) -> str:
        other = inline({argument.name: {"as": f"{argument.field}_2"}}, self.syntax)
        return f"give it another name: `{other}`"

    def c_name(self, node: Node, label: str) -> None:
        name = _text(node)
        if name in _TAKEN or _RESERVED.fullmatch(name):
            message = f"{label} cannot be `{name}`: C reserves the word"
            self.report.error("SP121", message, node.where, help=f"such as `{name}_`" if name in _TAKEN else None)

    def paths(self, node: Node | None, *, directories: bool) -> tuple[Word, ...]:
        items = self.items(node)
        for item in items:
            text = _text(item)
            system = text.startswith("<")
            path = PurePosixPath(text.strip("<>"))
            if text.startswith("~"):
                message = f"`{text}`: `~` is not a directory here, and would be another one for each user"
                self.report.error("SP125", message, item.where, help="write a path relative to this file")
            elif system and (path.is_absolute() or ".." in path.parts):
                message = f"`{text}`: a name in angle brackets has no `..` and no leading slash"
                self.report.error("SP125", message, item.where)
            elif path.is_absolute() and not directories:
                self.report.error(
                    "SP125",
                    f"`{text}` is an absolute path: the spec would work on one machine only",
                    item.where,
                    help=_relative_help(path),
                )
            elif path.is_absolute() and (
                ".." in path.parts or not any(path.is_relative_to(place) for place in SYSTEM_PLACES)
            ):
                self.report.error(
                    "SP125",
                    f"`{text}` is an absolute path outside of {', '.join(SYSTEM_PLACES[:-1])} and {SYSTEM_PLACES[-1]}",
                    item.where,
                    help="write a path relative to this file",
                )
        return tuple(Word(_text(item), item.where) for item in items)

    def defines(self, node: Node | None) -> tuple[tuple[str, str], ...]:
        out = []
        for name, entry in _entries(node).items():
            if id(entry.value) in self.bad:
                continue
            match entry.value.value:
                case False:
                    self.report.error(
                        "SP127",
                        f"the macro `{name}` cannot be false: `#ifdef {name}` would still be true",
                        entry.value.where,
                        help="take the line out to leave it undefined, or write 0",
                    )
                case True:
                    out.append((name, "1"))
                case int() | float() as number:
                    out.append((name, str(int(number))))
                case text:
                    out.append((name, str(text)))
        return tuple(out)

    def buffer(self, node: Node | None) -> Buffer:
        entries = _entries(node)
        if "perf" in entries:
            where = entries["perf"].value
            pages = _int(where)
            self.power_of_two(pages, where, 1, str)
            return Buffer("perf", pages)
        if "ring" not in entries:
            return Buffer("ring", DEFAULT_RING)
        where = entries["ring"].value
        if isinstance(where.value, str):
            size = int(where.value[:-3]) * _UNITS[where.value[-3:]]
            if not PAGE <= size <= 1 << 31:
                self.report.error("SP107", f"`ring` cannot be `{where.value}`", where.where, help="from 4KiB to 2GiB")
                return Buffer("ring", size)
        else:
            size = _int(where)
        self.power_of_two(size, where, PAGE, _spell_size)
        return Buffer("ring", size)

    def power_of_two(self, size: int, node: Node, least: int, spell: Callable[[int], str]) -> None:
        if size & (size - 1) == 0:
            return
        below = 1 << (size.bit_length() - 1)
        near = f"{spell(max(below, least))} or {spell(below * 2)}"
        self.report.error("SP128", f"the size of the buffer is not a power of two: {size}", node.where, help=near)

    # Probes

    def probe(self, node: Node, fields: tuple[Word, ...]) -> ProbeSpec | None:
        entries = _entries(node)
        word = next(kind for kind in (*KINDS, FUNCTION) if kind in entries)
        key, value = entries[word]
        kind = self.kind_of(word, entries)
        if kind in ("uprobe", "uretprobe"):
            target = self.target(value, kind)
            function = target.symbol and Word(
                (base := re.split("[@.]", target.symbol.text, maxsplit=1)[0]),
                _cut(target.symbol.where, len(base)),
            )
        else:
            target, function = None, Word(_text(value), value.where)
        name = self.probe_name(entries, function, key)
        args = None
        if "args" in entries:
            args = tuple(self.argument(item) for item in _items(entries["args"].value))
        aggregate = None
        stack = self.stack(entries, kind)
        if "aggregate" in entries:
            aggregate, args = read_aggregate(entries["aggregate"].value, args, stack, self.report)
            if "limit" in entries:
                self.report.error(
                    "SP151", "`limit` is for events: what a limit left out would be missing from every count",
                    entries["limit"].key.where, help="take `limit` away, or `aggregate`",
                )  # fmt: skip
        if args is not None:
            self.reserved(args, kind, word)
            # What is aggregated has the context that it names, and no other.
            self.unique_fields(args, fields if aggregate is None else ())
        if target is not None:
            args = self.at_entry(target, value, kind, args)
        condition = None
        if "where" in entries:
            text = entries["where"].value
            condition = parse(_text(text), text.where, self.report)
        if name is None:
            return None
        prototype = entries.get("prototype")
        return ProbeSpec(
            name=name,
            kind=kind,
            kind_where=key.where,
            function=function,
            target=target,
            prototype=Word(_text(prototype.value), prototype.value.where) if prototype else None,
            args=args,
            where=node.where,
            best=word == FUNCTION,
            condition=condition,
            sample=int(_text(entries["sample"].value).removeprefix("1/")) if "sample" in entries else None,
            limit=_limit(_text(entries["limit"].value)) if "limit" in entries else None,
            stack=stack,
            aggregate=aggregate,
        )

    def stack(self, entries: Mapping[str, Entry], kind: str) -> Word | None:
        if "stack" not in entries:
            return None
        node = entries["stack"].value
        if kind in USER_KINDS and _text(node) != "user":
            self.report.error(
                "SP118", f"a `{kind}` has no stack in the kernel: it is hit in the code of a process", node.where,
                help="write `stack: user`",
            )  # fmt: skip
        return Word(_text(node), node.where)

    def kind_of(self, word: str, entries: Mapping[str, Entry]) -> str:
        """The kind that a probe's key stands for: `function` is a kprobe or kretprobe, unless a trampoline does it."""
        at = entries.get("at")
        if word == FUNCTION:
            return "kretprobe" if at is not None and _text(at.value) == "return" else "kprobe"
        if at is not None:
            self.report.error(
                "SP112", f"`at` is for `function` alone, and this is a `{word}`", at.key.where,
                help="take `at` away" if word == TRACEPOINT else f"write `function:` in place of `{word}:`, or take `at` away",
            )  # fmt: skip
        return word

    def probe_name(self, entries: Mapping[str, Entry], function: Word | None, kind: Node) -> Word | None:
        if "name" in entries:
            node = entries["name"].value
            self.c_name(node, "`name`")
            return Word(_text(node), node.where)
        if function is None:
            self.report.error(
                "SP122", "a probe without a symbol needs a `name`", kind.where, help="add `name:` and what to call it"
            )
            return None
        if len(function.text) > _NAME_LENGTH:
            self.report.error(
                "SP122",
                f"the name of the function is too long for the probe's: {len(function.text)} characters",
                function.where,
                help=f"add a `name:` of at most {_NAME_LENGTH}",
            )
            return None
        return function

    def target(self, node: Node, kind: str) -> UserTarget:
        if isinstance(node.value, str):
            path, _, symbol = node.value.rpartition(":")
            at = len(path)
            return UserTarget(
                path=Word(path, node.part(0, at)),
                symbol=Word(symbol, node.part(at + 1, at + 1 + len(symbol))),
                offset=0,
                pid=None,
                where=node.where,
            )
        entries = _entries(node)
        path_node = entries["path"].value
        symbol_node = entries["symbol"].value if "symbol" in entries else None
        offset = _int(entries["offset"].value) if "offset" in entries else 0
        if symbol_node is None and offset == 0:
            where = entries["offset"].value.where
            self.report.error(
                "SP124", "offset 0 without a symbol is the ELF header, not code", where, help="add `symbol:`"
            )
        if symbol_node is not None and offset and kind == "uretprobe":
            # The kernel replaces the word at the stack pointer, which is the return address at the entry only.
            self.report.error(
                "SP124",
                "a return probe is set at the function's entry: it cannot have an offset from it",
                entries["offset"].value.where,
                notes=["the kernel would take another stack slot for the return address, and the program would crash"],
            )
        return UserTarget(
            path=Word(_text(path_node), path_node.where),
            symbol=Word(_text(symbol_node), symbol_node.where) if symbol_node is not None else None,
            offset=offset,
            pid=_int(entries["pid"].value) if "pid" in entries else None,
            where=node.where,
        )

    def at_entry(
        self, target: UserTarget, node: Node, kind: str, args: tuple[ArgumentSpec, ...] | None
    ) -> tuple[ArgumentSpec, ...] | None:
        """Arguments exist at a function's entry only; with an offset none are recorded, and none may be named."""
        if target.offset == 0:
            return args
        offset = _entries(node)["offset"].value.where
        for argument in args or ():
            if argument.name == "return" and kind == "uretprobe":
                continue
            self.report.error(
                "SP124",
                f"`{argument.name}` cannot be read here: arguments exist at a function's entry only",
                argument.where,
                help="take the offset away, or the argument",
                notes=[f"the offset is {target.offset}, at {offset}"],
            )
        return args if args is not None else ()

    def argument(self, node: Node) -> ArgumentSpec:
        if isinstance(node.value, str):
            return ArgumentSpec(node.value, node.where, None, None, False, None, {})
        [(name, (key, value))] = _entries(node).items()
        options = {n: e.value for n, e in _entries(value).items() if not n.startswith("x-")}
        if "as" in options:
            self.c_name(options["as"], "`as`")
        return ArgumentSpec(
            name=name,
            where=key.where,
            as_name=_text(options["as"]) if "as" in options else None,
            format=_text(options["format"]) if "format" in options else None,
            optional="optional" in options and options["optional"].value is True,
            type=Word(_text(options["type"]), options["type"].where) if "type" in options else None,
            option_where={name: option.where for name, option in options.items()},
            string=_int(options["string"]) if "string" in options else None,
            bytes=self.bytes_of(options["bytes"]) if "bytes" in options else None,
            deref="deref" in options and options["deref"].value is True,
            memory=_text(options["memory"]) if "memory" in options else None,
            enum=Word(_text(options["enum"]), options["enum"].where) if "enum" in options else None,
            flags=Word(_text(options["flags"]), options["flags"].where) if "flags" in options else None,
            path=self.path(options["field"]) if "field" in options else None,
        )

    def path(self, node: Node) -> Path | None:
        try:
            return parse_path(_text(node), node.where)
        except Stop as problem:
            self.report.diagnostics.append(problem.diagnostic)
            return None

    def bytes_of(self, node: Node) -> BytesSpec:
        entries = _entries(node)
        size = entries["size"].value
        most = _int(entries["max"].value) if "max" in entries else None
        if not isinstance(size.value, str):
            return BytesSpec(_int(size), min(_int(size), most or _int(size)))
        return BytesSpec(Word(_text(size), size.where), most or _MOST_BYTES)

    def reserved(self, args: tuple[ArgumentSpec, ...], kind: str, word: str) -> None:
        returns = {"kprobe": "kretprobe", "fentry": "fexit", "uprobe": "uretprobe", "ksyscall": "kretsyscall"}
        for argument in args:
            if argument.name == "return" and kind not in RETURN_KINDS:
                if kind == TRACEPOINT:
                    self.report.error("SP123", "a tracepoint returns nothing, and has no `return`", argument.where)
                    continue
                self.report.error(
                    "SP123",
                    f"`return` has no value at a function's entry, where `{word}` is",
                    argument.where,
                    help="say `at: return`" if word == FUNCTION else f"use `{returns[kind]}`",
                )

    def unique_fields(self, args: tuple[ArgumentSpec, ...], fields: tuple[Word, ...]) -> None:
        """Every name of the event's record is there once: `probe`, the context, the arguments, and their errors."""
        context = {word.text: word for word in fields}
        seen: dict[str, ArgumentSpec] = {}
        for argument in args:
            name = argument.field
            where = argument.option_where.get("as", argument.where)
            help = self.rename(argument)
            if name in seen:
                notes = [f"first at {seen[name].option_where.get('as', seen[name].where)}"]
                self.report.error(
                    "SP120", f"two fields of the event are called `{name}`", where, notes=notes, help=help
                )
            elif name == "probe":
                message = "a field cannot be called `probe`: every event has one, the probe's name"
                self.report.error("SP120", message, where, help=help)
            elif name in context:
                self.report.error(
                    "SP120",
                    f"the argument `{name}` and the context field `{name}` have one name",
                    where,
                    notes=[
                        "it is one of the `fields` that are recorded by default"
                        if self.default_fields
                        else f"`fields` has it at {context[name].where}"
                    ],
                    help=help,
                )
            seen.setdefault(name, argument)
        for name, argument in seen.items():
            for suffix in ("_error", "_truncated"):
                whole = name.removesuffix(suffix)
                if whole != name and whole in seen:
                    self.report.error(
                        "SP120",
                        f"`{name}` is what an event says about `{whole}` when that could not be read whole",
                        argument.option_where.get("as", argument.where),
                        help=self.rename(argument),
                    )

    def unique_probes(self, probes: list[ProbeSpec]) -> None:
        first: dict[str, ProbeSpec] = {}
        for probe in probes:
            before = first.setdefault(probe.name.text, probe)
            if before is not probe:
                self.report.error(
                    "SP126",
                    f"two probes are called `{probe.name.text}`",
                    probe.name.where,
                    notes=[f"first at {before.name.where}"],
                    help="give it another `name`",
                )


def _relative_help(path: PurePosixPath) -> str:
    for place in ("/usr/local/include", "/usr/include"):
        if path.is_relative_to(place) and path != PurePosixPath(place):
            return f"write `<{path.relative_to(place)}>`"
    return "write a path relative to this file, or `<name.h>` for a header of the system"


def _spell_size(size: int) -> str:
    for unit in ("GiB", "MiB", "KiB"):
        if size % _UNITS[unit] == 0:
            return f"{size // _UNITS[unit]}{unit}"
    return str(size)


def _cut(where: Location, length: int) -> Location:
    """The first `length` characters of a place on one line."""
    if where.line != where.end_line or where.end_column - where.column <= length:
        return where
    return Location(where.file, where.line, where.column, where.line, where.column + length)


def _limit(text: str) -> LimitSpec:
    most, _, span = text.partition("/")
    return LimitSpec(text, int(most), _SPANS[span])


def _text(node: Node) -> str:
    assert isinstance(node.value, str)
    return node.value


def _int(node: Node) -> int:
    assert isinstance(node.value, int | float)
    return int(node.value)  # 64.0 is an integer to JSON Schema


def _items(node: Node | None) -> tuple[Node, ...]:
    return node.value if node is not None and isinstance(node.value, tuple) else ()


def _entries(node: Node | None) -> Mapping[str, Entry]:
    return node.value if node is not None and isinstance(node.value, dict) else {}

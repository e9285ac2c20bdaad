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

from specc.diagnostics import Location, Report
from specc.schema import check, schema
from specc.source import Document, Entry, Node
from specc.spec.aggregates import read_aggregate
from specc.spec.arguments import check_c_name, check_names, check_results, read_argument
from specc.spec.nodes import entries_of, int_of, items_of, text_of
from specc.spec.nouns import (
    FUNCTION,
    KINDS,
    TRACEPOINT,
    USER_KINDS,
    ArgumentSpec,
    Buffer,
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
_UNITS: Final = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_SPANS: Final = {"s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}  # of a limit, in ns
_NAME_LENGTH: Final = 64  # of a probe: the emitted functions and structs are named after it, and BTF names are bounded


def read_spec(document: Document, report: Report) -> Spec | None:
    """The spec that the document is; None when it has errors, all of which are then in the report."""
    findings = Report()
    bad = check(document, schema(), findings)
    entries = document.root.value if isinstance(document.root.value, dict) else {}
    sound = {name: entry.value for name, entry in entries.items() if id(entry.value) not in bad}
    reader = _Reader(findings, document.syntax, bad, default_fields="fields" not in entries)
    if "name" in sound:
        check_c_name(sound["name"], "`name`", findings)
    # What has an error is left out below, so that the rest still has all of its errors told.
    whole = {name: entry.value for name, entry in entries.items()}
    headers = reader.paths(whole.get("headers"), directories=False)
    include_dirs = reader.paths(whole.get("include_dirs"), directories=True)
    defines = reader.defines(whole.get("defines"))
    buffer = reader.buffer(sound.get("buffer"))
    targets = read_targets(sound["targets"], findings) if "targets" in sound else ()
    fields = tuple(Word(text_of(n), n.where) for n in items_of(sound.get("fields"))) if "fields" in sound else None
    if fields is None:
        fields = tuple(Word(name, document.root.where) for name in DEFAULT_FIELDS)
    probes = [reader.probe(node, fields) for node in reader.items(whole.get("probes"))]
    reader.unique_probes([probe for probe in probes if probe is not None])
    report.extend(findings)
    if findings.failed:
        return None
    return Spec(
        path=document.file,
        name=text_of(sound["name"]),
        description=text_of(sound["description"]) if "description" in sound else "",
        license=text_of(sound["license"]) if "license" in sound else "GPL",
        headers=headers,
        include_dirs=include_dirs,
        defines=defines,
        fields=fields,
        buffer=buffer,
        probes=tuple(probe for probe in probes if probe is not None),
        where=sound["name"].where,
        targets=targets,
        stack_room=int_of(sound["stacks"]) if "stacks" in sound else DEFAULT_STACKS,
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
        return [item for item in items_of(node) if id(item) not in self.bad]

    def paths(self, node: Node | None, *, directories: bool) -> tuple[Word, ...]:
        items = self.items(node)
        for item in items:
            text = text_of(item)
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
        return tuple(Word(text_of(item), item.where) for item in items)

    def defines(self, node: Node | None) -> tuple[tuple[str, str], ...]:
        out = []
        for name, entry in entries_of(node).items():
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
        entries = entries_of(node)
        if "perf" in entries:
            where = entries["perf"].value
            pages = int_of(where)
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
            size = int_of(where)
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
        entries = entries_of(node)
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
            target, function = None, Word(text_of(value), value.where)
        name = self.probe_name(entries, function, key)
        args = None
        if "args" in entries:
            args = tuple(read_argument(item, self.report) for item in items_of(entries["args"].value))
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
            check_results(args, kind, word, self.report)
            # What is aggregated has the context that it names, and no other.
            check_names(
                args, fields if aggregate is None else (), self.report, syntax=self.syntax,
                default_fields=self.default_fields,
            )  # fmt: skip
        if target is not None:
            args = self.at_entry(target, value, kind, args)
        condition = None
        if "where" in entries:
            text = entries["where"].value
            condition = parse(text_of(text), text.where, self.report)
        if name is None:
            return None
        prototype = entries.get("prototype")
        return ProbeSpec(
            name=name,
            kind=kind,
            kind_where=key.where,
            function=function,
            target=target,
            prototype=Word(text_of(prototype.value), prototype.value.where) if prototype else None,
            args=args,
            where=node.where,
            best=word == FUNCTION,
            condition=condition,
            sample=int(text_of(entries["sample"].value).removeprefix("1/")) if "sample" in entries else None,
            limit=_limit(text_of(entries["limit"].value)) if "limit" in entries else None,
            stack=stack,
            aggregate=aggregate,
        )

    def stack(self, entries: Mapping[str, Entry], kind: str) -> Word | None:
        if "stack" not in entries:
            return None
        node = entries["stack"].value
        if kind in USER_KINDS and text_of(node) != "user":
            self.report.error(
                "SP118", f"a `{kind}` has no stack in the kernel: it is hit in the code of a process", node.where,
                help="write `stack: user`",
            )  # fmt: skip
        return Word(text_of(node), node.where)

    def kind_of(self, word: str, entries: Mapping[str, Entry]) -> str:
        """The kind that a probe's key stands for: `function` is a kprobe or kretprobe, unless a trampoline does it."""
        at = entries.get("at")
        if word == FUNCTION:
            return "kretprobe" if at is not None and text_of(at.value) == "return" else "kprobe"
        if at is not None:
            self.report.error(
                "SP112", f"`at` is for `function` alone, and this is a `{word}`", at.key.where,
                help="take `at` away" if word == TRACEPOINT else f"write `function:` in place of `{word}:`, or take `at` away",
            )  # fmt: skip
        return word

    def probe_name(self, entries: Mapping[str, Entry], function: Word | None, kind: Node) -> Word | None:
        if "name" in entries:
            node = entries["name"].value
            check_c_name(node, "`name`", self.report)
            return Word(text_of(node), node.where)
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
        entries = entries_of(node)
        path_node = entries["path"].value
        symbol_node = entries["symbol"].value if "symbol" in entries else None
        offset = int_of(entries["offset"].value) if "offset" in entries else 0
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
            path=Word(text_of(path_node), path_node.where),
            symbol=Word(text_of(symbol_node), symbol_node.where) if symbol_node is not None else None,
            offset=offset,
            pid=int_of(entries["pid"].value) if "pid" in entries else None,
            where=node.where,
        )

    def at_entry(
        self, target: UserTarget, node: Node, kind: str, args: tuple[ArgumentSpec, ...] | None
    ) -> tuple[ArgumentSpec, ...] | None:
        """Arguments exist at a function's entry only; with an offset none are recorded, and none may be named."""
        if target.offset == 0:
            return args
        offset = entries_of(node)["offset"].value.where
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

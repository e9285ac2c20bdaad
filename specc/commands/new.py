"""`specc new FUNCTION`: a spec with every argument listed and its type as a comment; never overwrites a file."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from specc.cache import unlink_quietly, write_all
from specc.commands.common import FINE, exit_code, tell
from specc.commands.show import as_path, command_line, in_elf, prototypes_named
from specc.diagnostics import Report, Stop
from specc.lower.nouns import has_plain_char
from specc.pipeline import session as open_session
from specc.place import Placement, argument_names, place_text
from specc.prototype import Prototype, Record, Void, bare, spell, spell_prototype
from specc.spec import DEFAULT_FIELDS


def run(options: argparse.Namespace) -> int:
    from specc.abi import place_arguments

    report = Report()
    options.all = False
    session = open_session(options.compiler, options.btf)
    try:
        if options.uprobe is not None and not (options.header or options.prototype):
            # What the kernel has by that name is another function.
            found = in_elf(options.uprobe, options.function)
            prototype, placement = found.prototype, found.placement
        else:
            prototype = next(iter(prototypes_named(options, session)))
            placement = place_arguments(prototype, kernel=options.uprobe is None)
    except Stop as problem:
        report.diagnostics.append(problem.diagnostic)
        tell(report, options.output_format, command_line(options))
        return exit_code(report)
    text = spec_text(prototype, placement, options)
    if options.output is None:
        sys.stdout.write(text)
        return FINE
    try:
        _write(options.output, text)
    except FileExistsError:
        report.error("SP505", f"`{options.output}` exists already", None, help="give another name with -o")
    except OSError as e:
        report.error("SP506", f"cannot write `{options.output}`: {e.strerror}", None,
                     help="make room there, or choose another place with -o")  # fmt: skip
    else:
        print(f"wrote {options.output}", file=sys.stderr)
        return FINE
    tell(report, options.output_format)
    return exit_code(report)


def _write(path: str, text: str) -> None:
    """Make a file, whole or not at all. Raises OSError."""
    # O_EXCL: the file that somebody else makes in the meantime is not overwritten either.
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        write_all(handle, text.encode())
        os.close(handle)  # some file systems tell only here that there is no room
    except BaseException:
        unlink_quietly(path)
        raise


def spec_text(prototype: Prototype, placement: Placement, options: argparse.Namespace) -> str:
    """The YAML of a spec that records everything that can be read."""
    name = re.sub(r"\W", "_", prototype.name, flags=re.ASCII).strip("_") or "probe"
    name = f"f{name}" if name[0].isdigit() else name
    lines = ["specc: 1", f"name: {name}", f"description: Calls of {prototype.name}."]
    base = Path(options.output).resolve().parent if options.output else Path.cwd()
    if options.header:
        headers = [h if h.startswith("<") else os.path.relpath(Path(h).resolve(), base) for h in options.header]
        lines.append(f"headers: [{', '.join(_quoted(h) for h in headers)}]")
    if options.include:
        folders = [os.path.relpath(Path(i).resolve(), base) for i in options.include]
        lines.append(f"include_dirs: [{', '.join(_quoted(f) for f in folders)}]")
    if options.define:
        defines = (
            (name, value if equals else "1") for name, equals, value in (d.partition("=") for d in options.define)
        )
        lines.append(f"defines: {{{', '.join(f'{name}: {_quoted(value)}' for name, value in defines)}}}")
    lines += ["probes:", f"  # {spell_prototype(prototype)}"]
    if options.uprobe is not None:
        lines.append(f"  - uprobe: {{path: {_quoted(as_path(options.uprobe))}, symbol: {_quoted(options.function)}}}")
    else:
        lines.append(f"  - kprobe: {prototype.name}")
    if options.prototype:
        lines.append(f"    prototype: {_quoted(spell_prototype(prototype))}")
    # Linux has `char` unsigned since 6.2, signed before; of headers nobody knows which Linux they are of.
    char_known = options.uprobe is not None or not (options.header or options.prototype)
    rows: list[tuple[str, str]] = []
    labels = argument_names(placement)
    for label, argument in zip(labels, placement.arguments, strict=True):
        declared = spell(argument.type, label)
        if argument.readable and argument.size:
            if char_known or not has_plain_char(argument.type):
                rows.append((f"      - {_item(label, labels)}", f"# {declared}: {place_text(argument.pieces)}"))
            elif isinstance(bare(argument.type), Record):
                rows.append((f"      # - {label}", f"# {declared}: whether its `char` is signed is not known"))
            else:
                rows.append((f"      # - {{{label}: {{type: unsigned char}}}}", f"# {declared}: or signed, as before Linux 6.2"))  # fmt: skip
        else:
            why = argument.reason or "it has no bytes"
            rows.append((f"      # - {label}", f"# {declared}: cannot be read: {why}"))
    if not any(r[0].startswith("      - ") for r in rows):
        lines += ["    args: []", *(f"{left}  {right}" for left, right in rows)]
    else:
        wide = max(len(left) for left, _ in rows)
        lines += ["    args:", *(f"{left:<{wide}}  {right}" for left, right in rows)]
    if not isinstance(bare(prototype.result), Void):
        kind = "uretprobe" if options.uprobe is not None else "kretprobe"
        lines.append(f"  # The result, {spell(prototype.result)}, is seen by a `{kind}` as `return`.")
    return "\n".join(lines) + "\n"


def _item(label: str, labels: Sequence[str]) -> str:
    """An argument in `args`, under another name where something else in the event is called so (SP120)."""
    taken = {"probe", *DEFAULT_FIELDS}
    taken |= {f"{other}{suffix}" for other in labels for suffix in ("_error", "_truncated")}
    name = label
    while name in taken or (name != label and name in labels):
        name += "_2"
    return _quoted(label) if name == label else f"{{{_quoted(label)}: {{as: {name}}}}}"


def _quoted(text: str) -> str:
    """A YAML scalar; double quotes and backslashes where a plain one could mean something else."""
    plain = text.replace("_", "a").replace("/", "a").replace(".", "a").replace("-", "a")
    words = {"null", "true", "false", "~"}
    if text and plain.isalnum() and not text[0].isdigit() and text[0] not in "-." and text.lower() not in words:
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

"""The kernels that a spec or a config file names, as `targets:` has them.

In: a Node that the schema finds nothing wrong with.  Out: `TargetSpec`s; SP125 and SP130 in the Report.

    read_targets(entries["targets"].value, report)    # (TargetSpec(None, (Word("btf/6.1.btf", ...),)),)
"""

from __future__ import annotations

from pathlib import PurePosixPath

from specc.diagnostics import Report
from specc.source import Entry, Node
from specc.spec.nouns import TargetSpec, Word


def read_targets(node: Node, report: Report) -> tuple[TargetSpec, ...]:
    """Each target with the places of its words. Paths are relative to the file that has them, names are unique."""
    made: list[TargetSpec] = []
    named: dict[str, Word] = {}
    for item in node.value if isinstance(node.value, tuple) else ():
        match item.value:
            case str():
                made.append(TargetSpec(None, (_file(item, report),)))
            case dict() as entries:
                name = _name(entries, named, report)
                btf = entries["btf"].value
                files = btf.value if isinstance(btf.value, tuple) else (btf,)
                made.append(TargetSpec(name, tuple(_file(f, report) for f in files)))
            case _:
                raise AssertionError("the schema allows nothing else")
    return tuple(made)


def _name(entries: dict[str, Entry], named: dict[str, Word], report: Report) -> Word | None:
    if "name" not in entries:
        return None
    node = entries["name"].value
    assert isinstance(node.value, str)
    name = Word(node.value, node.where)
    first = named.setdefault(name.text, name)
    if first is not name:
        notes = [f"first at {first.where}"]
        report.error("SP130", f"two targets are called `{name.text}`", name.where, notes=notes)
    return name


def _file(node: Node, report: Report) -> Word:
    assert isinstance(node.value, str)
    text = node.value
    if text.startswith("~"):
        message = f"`{text}`: `~` is not a directory here, and would be another one for each user"
        report.error("SP125", message, node.where, help="write a path relative to this file")
    elif PurePosixPath(text).is_absolute():
        message = f"`{text}` is an absolute path: the target would be there on one machine only"
        help = "write a path relative to this file, or use `--btf` or $SPECC_TARGETS"
        report.error("SP125", message, node.where, help=help)
    return Word(text, node.where)

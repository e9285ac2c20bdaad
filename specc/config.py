"""What a project says for all of its specs: `specc.toml`, or `[tool.specc]` in pyproject.toml.

In: the directory of a spec.  Out: the `Config` that counts there, None without one; its mistakes are Stops.

    configs = Configs()
    configs.near("specs")           # Config("pyproject.toml", ".", (TargetSpec(None, (Word("btf/6.1.btf", ...),)),))
    expand("btf:old/4.18.btf")      # $SPECC_TARGETS: ["btf/5.10.btf", "btf/6.1.btf", ..., "old/4.18.btf"]

The nearest file counts, from the spec's directory up to the project's: the first directory with a `.git`, `.hg`, `.jj`
or `.svn`, so that a checkout means the same wherever it lies. What has no such directory is searched up to the root.
The parser is loaded only for a file that is there, and for a pyproject.toml only where it has the word "specc".
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from specc.diagnostics import Location, Report, Stop, stop
from specc.noun import dataclass, field

if TYPE_CHECKING:
    from specc.source import Document, Node
    from specc.spec import TargetSpec, Word

OWN: Final = "specc.toml"
SHARED: Final = "pyproject.toml"
TARGETS_VARIABLE: Final = "SPECC_TARGETS"
_PROJECT_MARKS: Final = (".git", ".hg", ".jj", ".svn")


@dataclass(frozen=True, slots=True)
class Config:
    """A config file. `folder` is what its paths are relative to."""

    file: str
    folder: str
    targets: tuple[TargetSpec, ...]


@dataclass(frozen=True, slots=True)
class _Found:
    """What a search came to. `absent` are files that would have counted, `read` those that were looked into."""

    config: Config | Stop | None
    read: tuple[str, ...]
    absent: tuple[str, ...]


@dataclass(slots=True)
class Configs:
    """The configs of a run: each directory is searched once, for however many specs."""

    _found: dict[str, _Found] = field(default_factory=dict)

    def near(self, folder: str, dependencies: dict[str, None], absent: dict[str, None]) -> Config | None:
        """The config for the specs of a directory. What the answer depended on is noted. Raises Stop."""
        if folder not in self._found:
            self._found[folder] = _search(folder)
        found = self._found[folder]
        dependencies.update(dict.fromkeys(found.read))
        absent.update(dict.fromkeys(found.absent))
        if isinstance(found.config, Stop):
            raise found.config
        return found.config


def _search(folder: str) -> _Found:
    read: list[str] = []
    absent: list[str] = []
    for here in ancestors(folder):
        for name in (OWN, SHARED):
            path = shown(os.path.join(here, name))
            if not os.path.isfile(path):
                if not os.path.lexists(path):
                    absent.append(path)
                continue
            read.append(path)
            try:
                config = _read(path, name)
            except Stop as problem:
                return _Found(problem, tuple(read), tuple(absent))
            if config is not None:
                return _Found(config, tuple(read), tuple(absent))
    return _Found(None, tuple(read), tuple(absent))


def ancestors(folder: str) -> Iterator[str]:
    """The directory and those above it, up to the project's."""
    # Not realpath: what a link in the project leads to is the project's decision.
    here = os.path.abspath(folder or ".")
    while True:
        yield here
        above = os.path.dirname(here)
        if above == here or any(os.path.lexists(os.path.join(here, mark)) for mark in _PROJECT_MARKS):
            return
        here = above


def shown(path: str) -> str:
    """A path as findings show it: from the working directory on where it is inside."""
    try:
        here = os.getcwd()
    except FileNotFoundError:  # removed under our feet, and nothing relative was named
        return path
    return os.path.relpath(path, here) if path.startswith(here.rstrip("/") + "/") else path


def _read(path: str, name: str) -> Config | None:
    """The config in this file; None when it is about something else. Raises Stop."""
    if name == SHARED and not _mentions_specc(path):
        return None
    from pathlib import Path

    from specc.noun import replace
    from specc.schema import Rule, check, schema
    from specc.source import load
    from specc.spec import read_targets

    try:
        document = load(Path(path))
    except Stop as problem:
        if problem.diagnostic.code == "SP005":  # an empty file
            return Config(path, os.path.dirname(path), ()) if name == OWN else None
        known = _without_places(path) if name == SHARED else None
        if known is None:
            raise
        document = known
    root = document.root
    if name == SHARED:
        table = _table(root, "tool", "specc")
        if table is None:
            return None
        root = table
    elif isinstance(root.value, dict) and "specc" in root.value:
        return None  # a spec of that name
    rule = Rule(types=("object",), accepts=frozenset({dict}), additional=False, properties={"targets": schema().properties["targets"]})  # fmt: skip
    label = "`[tool.specc]`" if name == SHARED else f"`{OWN}`"
    report = Report()
    bad = check(document._replace(root=root), rule, report, label)
    assert isinstance(root.value, dict) or report.failed
    targets: tuple[TargetSpec, ...] = ()
    if isinstance(root.value, dict) and "targets" in root.value and id(root.value["targets"].value) not in bad:
        targets = read_targets(root.value["targets"].value, report)
    if report.failed:
        first, *others = report.diagnostics
        more = [f"also at {d.where}: {d.message}" for d in others]
        raise Stop(replace(first, notes=(*first.notes, *more)))
    return Config(path, os.path.dirname(path), targets)


def _mentions_specc(path: str) -> bool:
    """Most pyproject.toml have nothing about specc, and a parser takes as long to import as a spec to compile."""
    try:
        with open(path, "rb") as file:
            return b"specc" in file.read()
    except OSError:
        return True  # reading it says what is wrong


def _without_places(path: str) -> Document | None:
    """A pyproject.toml with what a spec cannot have, such as a date; None when it is no TOML or says nothing of specc."""
    import tomllib

    from specc.source import Document

    try:
        with open(path, "rb") as file:
            whole = tomllib.load(file)
    except (OSError, ValueError, RecursionError):
        return None
    ours = whole.get("tool")
    ours = ours.get("specc") if isinstance(ours, dict) else None
    tree = {} if ours is None else {"tool": {"specc": ours}}
    return Document(_node(tree, path), path, "toml")


def _node(value: Any, file: str) -> Node:
    from specc.source import Entry, Node

    match value:
        case dict():
            inner: Any = {k: Entry(_node(k, file), _node(v, file)) for k, v in value.items()}
        case list():
            inner = tuple(_node(v, file) for v in value)
        case str() | bool() | int() | float():
            inner = value
        case _:
            inner = str(value)
    return Node(inner, file, 1, 1, 1, 1)


def _table(node: Node, *names: str) -> Node | None:
    for name in names:
        if not isinstance(node.value, dict) or name not in node.value:
            return None
        node = node.value[name].value
    return node


def expand(variable: str) -> list[str]:
    """The files that $SPECC_TARGETS means: separated by colons; a directory is its `*.btf` files, and a name with
    `*`, `?` or `[` all that fit, both in the order of their versions. Raises Stop."""
    found: list[str] = []
    for part in filter(None, variable.split(os.pathsep)):
        if os.path.isdir(part):
            inside = [os.path.join(part, n) for n in os.listdir(part) if n.endswith(".btf")]
        elif any(c in part for c in "*?[") and not os.path.exists(part):
            from glob import glob

            inside = glob(part)
        else:
            found.append(part)
            continue
        if not inside:
            raise stop("SP231", f"cannot read BTF from `{part}`: there is no .btf file", None,
                       notes=[f"it is named in ${TARGETS_VARIABLE}"])  # fmt: skip
        found += sorted(inside, key=version_key)
    return found


def version_key(text: str) -> list[tuple[int, str]]:
    """So that 5.10 comes after 5.4, and before 6.1."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", text)]


@dataclass(frozen=True, slots=True)
class TargetFile:
    """A file with BTF of a target. `where` is the place that names it, None for the command line and the environment."""

    path: str
    name: Word | None = None
    where: Location | None = None


def target_files(targets: Iterable[TargetSpec], folder: str) -> tuple[TargetFile, ...]:
    """The files of targets, from the directory of the file that names them. Raises Stop, which tells all that are missing."""
    found = tuple(
        TargetFile(shown(os.path.abspath(os.path.join(folder, word.text))), target.name, word.where)
        for target in targets
        for word in target.btf
    )
    missing = [file for file in found if not os.path.isfile(file.path)]
    if missing:
        first, *others = missing
        what = "is not a file" if os.path.exists(first.path) else "is not there"
        more = [f"nor is {file.path}, at {file.where}" for file in others]
        raise stop("SP129", f"the target {first.path} {what}", first.where, notes=more)
    return found

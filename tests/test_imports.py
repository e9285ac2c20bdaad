"""Imports go one way: from what runs a stage down to the nouns; and heavy libraries are loaded by whom they belong to."""

from __future__ import annotations

import ast
import graphlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "specc"

# From the bottom up. A module (a package counts as one) imports only from the lines before its own.
LAYERS = (
    "noun cache batch",
    "diagnostics",
    "prototype elf compiler outputs libbpf",
    "place layout compare path source btf build buffers",
    "fit trampoline tracepoint ir abi headers schema where",
    "spec declare records describe syscalls locate dwarf",
    "config",
    "lower emit events sources user_code survey",
    "kernel_code lock consumer vocabulary",
    "resolve show run",
    "pipeline matrix history",
    "commands",
    "api cli",
    "__main__",
)
LEVEL = {module: level for level, line in enumerate(LAYERS) for module in line.split()}

# What a stage may know of, all the way down. The middle is pure: no file, no process, no clock.
KNOWS = {
    "path": "diagnostics prototype",
    "diagnostics": "",
    "cache": "",
    "build": "cache compiler diagnostics",
    "outputs": "cache diagnostics",
    "btf": "diagnostics elf prototype",
    "abi": "diagnostics layout place prototype",
    "headers": "diagnostics layout prototype compare",
    "consumer": "declare describe diagnostics elf emit ir layout path place prototype records",
    "emit": "declare describe diagnostics elf ir layout path place prototype",
    "dwarf": "abi btf diagnostics elf layout place prototype",
    "locate": "diagnostics elf ir path place prototype",
    "describe": "diagnostics elf ir path place prototype",
    "batch": "",
    "fit": "compare diagnostics path place prototype",
    "survey": "compare diagnostics fit path place prototype schema source spec where",
    "where": "diagnostics path prototype",
    "trampoline": "diagnostics place prototype",
    "tracepoint": "diagnostics place prototype",
    "buffers": "batch diagnostics",
    "events": "batch describe diagnostics elf ir path place prototype records",
    "records": "diagnostics ir path place prototype",
    "source": "diagnostics",
    "spec": "diagnostics path prototype schema source where",
    "lower": "compare declare diagnostics fit ir layout path place prototype schema source spec tracepoint trampoline where",
}

# Who alone may import what, and whether only inside of functions, so that nobody else waits for it.
OWNERS = {
    "jinja2": "emit",
    "yaml": "source",
    "tomlkit": "source",
    "pycparser": "headers",
    "argparse": "cli commands",
    "subprocess": "build compiler headers history locate",
    "numpy": "events",
    "pyarrow": "events",
    "zstandard": "btf",
    "lz4": "btf",
    "elftools": "dwarf",
    "socket": "",
    "urllib": "",
    "jsonschema": "",
}


def _name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


SOURCES = {_name(path): path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))}


def _imports(text: str) -> set[str]:
    """Full names of all that a module imports, wherever in it, also for type checkers only."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import():
                found |= {alias.name for alias in node.names}
            case ast.ImportFrom(module=str(module), level=0):
                found |= {f"{module}.{alias.name}" for alias in node.names}
            case ast.ImportFrom():
                raise AssertionError(f"a relative import, line {node.lineno}")
    return found


def _own(full: str) -> str | None:
    """`specc.btf.open.Btf` -> "btf.open": the module of specc that an imported name is in."""
    parts = full.split(".")
    if parts[0] != "specc":
        return None
    for length in range(len(parts), 1, -1):
        if (name := ".".join(parts[1:length])) in SOURCES:
            return name
    return "__init__"


GRAPH = {name: {own for full in _imports(text) if (own := _own(full))} for name, text in SOURCES.items()}


def _whole(name: str) -> str:
    return name.partition(".")[0]


MODULES = sorted({_whole(name) for name in SOURCES} - {"__init__"})


def _direct(module: str) -> set[str]:
    found = {_whole(t) for name, targets in GRAPH.items() if _whole(name) == module for t in targets}
    return found - {module, "__init__"}


def _reachable(module: str) -> set[str]:
    seen: set[str] = set()
    pending = [module]
    while pending:
        for below in _direct(pending.pop()) - seen:
            seen.add(below)
            pending.append(below)
    return seen


def test_every_module_has_its_layer() -> None:
    assert {_whole(name) for name in SOURCES} - {"__init__"} - set(LEVEL) == set()


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down(module: str) -> None:
    upwards = {below for below in _direct(module) if LEVEL[below] >= LEVEL[module]}
    assert upwards == set(), f"{module} imports what is not below it"


def test_no_cycle_within_a_package_either() -> None:
    graph = {name: targets - {name, "__init__"} for name, targets in GRAPH.items()}
    assert list(graphlib.TopologicalSorter(graph).static_order())


@pytest.mark.parametrize(("module", "allowed"), KNOWS.items())
def test_a_stage_knows_only_what_it_needs(module: str, allowed: str) -> None:
    assert _reachable(module) - set(allowed.split()) - {"noun"} == set()


@pytest.mark.parametrize(("library", "owners"), OWNERS.items())
def test_a_library_belongs_to_a_stage(library: str, owners: str) -> None:
    users = {_whole(n) for n, text in SOURCES.items() if any(i.partition(".")[0] == library for i in _imports(text))}
    assert users <= set(owners.split())


LOADED = """
import json, sys
from specc.cli import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
sys.stderr.write(json.dumps(sorted(sys.modules)))
"""


@pytest.mark.parametrize(
    ("arguments", "never"),
    [
        (["--version"], "jinja2 yaml tomlkit pycparser subprocess dataclasses specc.diagnostics specc.pipeline"),
        (["--help"], "jinja2 yaml tomlkit pycparser subprocess dataclasses specc.diagnostics specc.pipeline"),
        (["schema"], "jinja2 yaml tomlkit pycparser subprocess"),
        (["explain", "SP201"], "jinja2 yaml tomlkit pycparser subprocess"),
        (["show", "f", "--prototype", "int f(int a)"], "jinja2 yaml tomlkit specc.btf specc.build"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_loads_only_what_it_uses(arguments: list[str], never: str) -> None:
    done = subprocess.run([sys.executable, "-c", LOADED, *arguments], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stderr[done.stderr.index("[") :]))
    assert loaded & set(never.split()) == set()

"""What a spec says, as frozen values; the golden texts in test_spec_errors.py have its errors."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from specc.diagnostics import Location, Report, Stop
from specc.schema import SCHEMA_FILE
from specc.source import parse
from specc.spec import Buffer, ProbeSpec, Spec, missing_files, read_spec

HEAD = "specc: 1\nname: t\n"
PROBES = "probes: [{kprobe: f}]\n"


def spec_of(text: str, syntax: Any = "yaml") -> Spec:
    report = Report()
    spec = read_spec(parse(text.encode(), "s", syntax), report)
    assert spec is not None, report.diagnostics
    assert not report.diagnostics
    return spec


def errors_of(text: str) -> list[tuple[str, str]]:
    report = Report()
    assert read_spec(parse(text.encode(), "s", "yaml"), report) is None
    return [(d.code, str(d.where)) for d in report.diagnostics]


def probe_of(text: str) -> ProbeSpec:
    [probe] = spec_of(f"{HEAD}probes: [{{{text}}}]\n").probes
    return probe


def at(column: int, length: int, line: int = 3) -> Location:
    return Location("s", line, column, line, column + length)


WHOLE_YAML = """\
specc: 1
name: gup
description: Who pins pages.
license: Dual BSD/GPL
headers: [include/mm.h, <openssl/ssl.h>]
include_dirs: [include, /usr/include]
defines: {A: true, B: 7, C: "(x)", D: 0x10, E: ""}
fields: [cpu, comm]
buffer: {ring: 256KiB}
x-note: [anything, {at: all}]
probes:
  - name: g
    kprobe: __get_user_pages
    args: [start, {gup_flags: {as: flags, format: hex, optional: true, type: unsigned long, x-a: 1}}]
    x-why: because
  - fexit: vfs_read
    prototype: "long vfs_read(int fd)"
    args: []
  - uretprobe: {path: libssl.so.3, symbol: SSL_write@@OPENSSL_3.0.0, pid: 7}
    args: [return]
"""

WHOLE_TOML = """\
specc = 1
name = "gup"
description = "Who pins pages."
license = "Dual BSD/GPL"
headers = ["include/mm.h", "<openssl/ssl.h>"]
include_dirs = ["include", "/usr/include"]
fields = ["cpu", "comm"]
x-note = ["anything", {at = "all"}]
buffer.ring = "256KiB"

[defines]
A = true
B = 7
C = "(x)"
D = 0x10
E = ""

[[probes]]
name = "g"
kprobe = "__get_user_pages"
args = ["start", {gup_flags = {as = "flags", format = "hex", optional = true, type = "unsigned long", x-a = 1}}]
x-why = "because"

[[probes]]
fexit = "vfs_read"
prototype = "long vfs_read(int fd)"
args = []

[[probes]]
args = ["return"]
[probes.uretprobe]
path = "libssl.so.3"
symbol = "SSL_write@@OPENSSL_3.0.0"
pid = 7
"""


@pytest.mark.parametrize(("text", "syntax"), [(WHOLE_YAML, "yaml"), (WHOLE_TOML, "toml")])
def test_a_whole_spec(text: str, syntax: str) -> None:
    spec = spec_of(text, syntax)
    assert (spec.path, spec.name, spec.description, spec.license) == ("s", "gup", "Who pins pages.", "Dual BSD/GPL")
    assert [w.text for w in spec.headers] == ["include/mm.h", "<openssl/ssl.h>"]
    assert [w.text for w in spec.include_dirs] == ["include", "/usr/include"]
    assert spec.defines == (("A", "1"), ("B", "7"), ("C", "(x)"), ("D", "16"), ("E", ""))
    assert [w.text for w in spec.fields] == ["cpu", "comm"]
    assert spec.buffer == Buffer("ring", 256 * 1024)
    first, second, third = spec.probes
    assert (first.name.text, first.kind, first.function and first.function.text) == ("g", "kprobe", "__get_user_pages")
    assert first.target is None and first.prototype is None and first.args is not None
    start, flags = first.args
    assert (start.name, start.as_name, start.format, start.optional, start.type) == ("start", None, None, False, None)
    assert (start.field, start.option_where) == ("start", {})
    assert (flags.name, flags.as_name, flags.field, flags.format) == ("gup_flags", "flags", "flags", "hex")
    assert flags.optional is True and flags.type is not None and flags.type.text == "unsigned long"
    assert flags.option_where.keys() == {"as", "format", "optional", "type"}
    assert (second.name.text, second.kind, second.args) == ("vfs_read", "fexit", ())
    assert second.prototype is not None and second.prototype.text == "long vfs_read(int fd)"
    assert (third.name.text, third.kind, third.function and third.function.text) == (
        "SSL_write",
        "uretprobe",
        "SSL_write",
    )
    target = third.target
    assert target is not None and target.symbol is not None
    assert (target.path.text, target.symbol.text) == ("libssl.so.3", "SSL_write@@OPENSSL_3.0.0")
    assert (target.offset, target.pid) == (0, 7)


def test_defaults() -> None:
    spec = spec_of(HEAD + PROBES)
    assert (spec.description, spec.license, spec.buffer) == ("", "GPL", Buffer("ring", 1 << 20))
    assert (spec.headers, spec.include_dirs, spec.defines) == ((), (), ())
    assert [w.text for w in spec.fields] == ["timestamp", "pid", "tid", "comm"]
    assert (spec.probes[0].name.text, spec.probes[0].args) == ("f", None)


def test_places() -> None:
    spec = spec_of(WHOLE_YAML)
    assert spec.where == at(7, 3, 2)
    assert [w.where for w in spec.headers] == [at(11, 12, 5), at(25, 15, 5)]
    probe = spec.probes[0]
    assert (probe.name.where, probe.kind_where) == (at(11, 1, 12), at(5, 6, 13))
    assert probe.function is not None and probe.function.where == at(13, 16, 13)
    assert probe.args is not None
    assert (probe.args[0].where, probe.args[1].where) == (at(12, 5, 14), at(20, 9, 14))
    assert probe.args[1].option_where["format"] == at(51, 3, 14)
    assert probe.args[1].type is not None and probe.args[1].type.where == at(78, 13, 14)
    assert (probe.where.line, probe.where.column, probe.where.end_line) == (12, 5, 15)
    assert spec.probes[2].function is not None
    assert spec.probes[2].function.where == at(44, 9, 19)  # SSL_write without its version


USER_TARGETS = [
    ("uprobe: libssl.so.3:SSL_write", "libssl.so.3", "SSL_write", at(19, 11), at(31, 9), "SSL_write"),
    ("uprobe: '/a:b/c:d@V_1'", "/a:b/c", "d@V_1", at(20, 6), at(27, 5), "d"),
    ('uprobe: "a\\x3ab"', "a", "b", at(19, 8), at(19, 8), "b"),
    ("uprobe: {path: /x/y, symbol: f@@V}", "/x/y", "f@@V", at(26, 4), at(40, 4), "f"),
]


@pytest.mark.parametrize(("text", "path", "symbol", "path_at", "symbol_at", "function"), USER_TARGETS)
def test_user_target(text: str, path: str, symbol: str, path_at: Location, symbol_at: Location, function: str) -> None:
    probe = probe_of(text)
    assert probe.target is not None and probe.target.symbol is not None and probe.function is not None
    assert (probe.target.path.text, probe.target.symbol.text) == (path, symbol)
    assert (probe.target.path.where, probe.target.symbol.where) == (path_at, symbol_at)
    assert (probe.function.text, probe.name.text) == (function, function)


def test_offset_records_no_arguments() -> None:
    probe = probe_of("uprobe: {path: a, symbol: f, offset: 16}")
    assert probe.args == () and probe.target is not None and probe.target.offset == 16
    assert probe_of("uprobe: {path: a, symbol: f, offset: 16}, args: []").args == ()
    assert probe_of("uprobe: {path: a, symbol: f, offset: 0}, args: [x]").args is not None
    assert probe_of("uprobe: {path: a, symbol: f, offset: 0}").args is None
    bare = probe_of("name: n, uprobe: {path: a, offset: 16}")
    assert (bare.args, bare.function, bare.target and bare.target.symbol) == ((), None, None)
    returning = probe_of("name: n, uretprobe: {path: a, offset: 16}, args: [return]")
    assert returning.args is not None and [a.name for a in returning.args] == ["return"]


@pytest.mark.parametrize(
    ("text", "buffer"),
    [
        ("{ring: 4096}", Buffer("ring", 4096)),
        ("{ring: 4KiB}", Buffer("ring", 4096)),
        ("{ring: 1024KiB}", Buffer("ring", 1 << 20)),
        ("{ring: 2GiB}", Buffer("ring", 1 << 31)),
        ("{ring: 2147483648}", Buffer("ring", 1 << 31)),
        ("{ring: 65536.0}", Buffer("ring", 65536)),
        ("{perf: 1}", Buffer("perf", 1)),
        ("{perf: 65536, x-why: old kernels}", Buffer("perf", 65536)),
    ],
)
def test_buffer(text: str, buffer: Buffer) -> None:
    assert spec_of(f"{HEAD}buffer: {text}\n{PROBES}").buffer == buffer


@pytest.mark.parametrize("text", ["{ring: 2KiB}", "{ring: 4GiB}", "{ring: 4095}", "{ring: 12288}", "{ring: 12KiB}",
                                  "{ring: 1.5}", "{ring: 1 MiB}", "{ring: 1mib}", "{ring: -4096}", "{ring: '4096'}",
                                  "{perf: 0}", "{perf: 3}", "{perf: 131072}", "{perf: 4KiB}"])  # fmt: skip
def test_no_buffer(text: str) -> None:
    [(code, where)] = errors_of(f"{HEAD}buffer: {text}\n{PROBES}")
    assert code in ("SP103", "SP106", "SP107", "SP128") and where == "s:3:16"


@pytest.mark.parametrize("name", ["__get_user_pages", "_x", "a" * 64, "do_exit", "X9"])
def test_sound_probe_names(name: str) -> None:
    assert probe_of(f"kprobe: {name}").name.text == name
    assert probe_of(f"name: {name}, kprobe: f").name.text == name


@pytest.mark.parametrize(
    "name", ["a" * 65, "a-b", "a.b", "9a", "ä", "''", '"a\\n"', "..", "a/b", "__x__", "int", "_Bool"]
)
def test_bad_names(name: str) -> None:
    """Nothing but a free C identifier becomes a name in C, or a part of a file's name."""
    for text in (f"specc: 1\nname: {name}\n{PROBES}", f"{HEAD}probes: [{{name: {name}, kprobe: f}}]",
                 f"{HEAD}probes: [{{kprobe: f, args: [{{a: {{as: {name}}}}}]}}]"):  # fmt: skip
        [(code, _)] = errors_of(text)
        assert code in ("SP106", "SP108", "SP121")


def test_the_same_argument_twice_under_two_names() -> None:
    probe = probe_of("kprobe: f, args: [a, {a: {as: b, format: hex}}]")
    assert probe.args is not None and [(a.name, a.field) for a in probe.args] == [("a", "a"), ("a", "b")]


def test_latency_is_an_argument_at_an_entry() -> None:
    probe = probe_of("kprobe: f, args: [latency]")
    assert probe.args is not None and probe.args[0].name == "latency"


def test_all_errors_in_one_run() -> None:
    """What the schema finds in one place does not hide what only the reader finds in another."""
    text = """\
specc: 2
name: int
licence: GPL
headers: [7, /etc/passwd]
defines: {A: false, B: []}
buffer: {ring: 12288}
probes:
  - {kprobe: f, args: [return]}
  - {kprobe: 7}
  - {kretprobe: f, args: [pid, {a: {format: hx}}]}
  - {kprobe: f}
  - {name: f, wher: x, kprobe: g}
"""
    assert sorted(errors_of(text), key=lambda e: [int(n) for n in e[1].split(":")[1:]]) == [
        ("SP104", "s:1:8"),
        ("SP121", "s:2:7"),
        ("SP101", "s:3:1"),
        ("SP103", "s:4:11"),
        ("SP125", "s:4:14"),
        ("SP127", "s:5:14"),
        ("SP103", "s:5:24"),
        ("SP128", "s:6:16"),
        ("SP123", "s:8:24"),
        ("SP103", "s:9:14"),
        ("SP104", "s:10:45"),
        ("SP126", "s:11:14"),
        ("SP101", "s:12:15"),
    ]


def test_warnings_of_others_do_not_make_a_spec_bad() -> None:
    report = Report()
    report.error("SP999", "of another spec", None)
    assert read_spec(parse((HEAD + PROBES).encode(), "s", "yaml"), report) is not None
    assert len(report.diagnostics) == 1


# Files on the disk


def missing(base: Path, *, headers: list[str] | None = None, include_dirs: list[str] | None = None) -> list[str]:
    spec = spec_of(f"{HEAD}headers: {headers or []}\ninclude_dirs: {include_dirs or []}\n{PROBES}")
    report = Report()
    missing_files(spec, base, report)
    return [f"{d.code} {d.message} | {d.help}" for d in report.diagnostics]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    for name in ("include/mm.h", "specs/local.h", "specs/deep/x.h"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")
    (tmp_path / "outside.h").write_text("")
    return root


def test_files_that_are_there(project: Path) -> None:
    headers = ["local.h", "./local.h", "../include/mm.h", "deep/../local.h", "../specs/deep/x.h"]
    assert missing(project / "specs", headers=headers, include_dirs=["../include", ".", "deep", ".."]) == []


def test_system_headers_are_the_compilers(project: Path) -> None:
    assert missing(project / "specs", headers=["<no/such/header.h>"]) == []


def test_files_that_are_not_there(project: Path) -> None:
    assert missing(project / "specs", headers=["locl.h"]) == [
        "SP129 there is no header `locl.h` | did you mean `local.h`?"
    ]
    assert missing(project / "specs", headers=["../includ/mm.h"]) == [
        "SP129 there is no header `../includ/mm.h` | did you mean `../include/mm.h`?"
    ]
    (project / "specs/nob.sh").write_text("")
    assert missing(project / "specs", headers=["nob.h"]) == ["SP129 there is no header `nob.h` | None"]
    assert missing(project / "specs", headers=["nob.s"]) == ["SP129 there is no header `nob.s` | None"]
    assert missing(project / "specs", headers=["deep"]) == ["SP129 `deep` is not a file | None"]
    assert missing(project / "specs", include_dirs=["deeep"]) == [
        "SP129 there is no directory `deeep` | did you mean `deep`?"
    ]
    assert missing(project / "specs", include_dirs=["local.h"]) == ["SP129 `local.h` is not a directory | None"]
    assert missing(project / "specs", headers=["mm.h"], include_dirs=["../include"]) == [
        "SP129 there is no header `mm.h` | write `<mm.h>` to have it searched for"
    ]
    assert missing(project / "specs", headers=["local.h/x.h"])[0].startswith("SP129 ")
    assert missing(project / "specs", headers=["x" * 300])[0].startswith("SP129 ")


def test_a_link_that_leads_to_itself(project: Path) -> None:
    (project / "specs" / "loop.h").symlink_to("loop.h")
    assert missing(project / "specs", headers=["loop.h"])[0].startswith("SP129 ")


def test_the_project_ends_at_version_control(project: Path) -> None:
    assert missing(project / "specs", headers=["../../outside.h"]) == []  # an exported tree: no mark
    (project / ".git").write_text("gitdir: elsewhere\n")  # a file, as in a work tree
    assert missing(project / "specs", headers=["../include/mm.h"], include_dirs=[".."]) == []
    for escape in ("../../outside.h", "deep/../../../outside.h", "../" * 50 + "etc/passwd"):
        [message] = missing(project / "specs", headers=[escape])
        assert message.startswith(f"SP125 `{escape}` leaves the project")
    [message] = missing(project / "specs", include_dirs=["../.."])
    assert message.startswith("SP125 `../..` leaves the project")


def test_a_relative_directory_of_the_spec(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / ".git").mkdir()
    monkeypatch.chdir(project / "specs" / "deep")
    assert missing(Path(".."), headers=["local.h", "../include/mm.h"]) == []
    assert missing(Path("../../specs"), headers=["../../outside.h"])[0].startswith("SP125 ")


# Robustness


SEEDS = [
    WHOLE_YAML,
    HEAD + PROBES,
    HEAD + "buffer: {perf: 8}\nprobes:\n- uprobe: a:b\n- uprobe: {path: a, offset: 1}\n",
]


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(SEEDS), st.data())
def test_a_mutated_spec_is_read_or_refused(text: str, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.integers(0, 6)))
        piece = data.draw(st.sampled_from(["", "null", "[]", "{}", "7", "1.0", "x", "'", ":", ": ", ", ", "\n", "return",
                                           "- ", "*a", "&a ", "true", "..", "/", "a: b", "é", "@@V", "<", ">", "probe"]))  # fmt: skip
        text = text[:start] + piece + text[end:]
    report = Report()
    try:
        spec = read_spec(parse(text.encode(), "s", "yaml"), report)
    except Stop:
        return
    assert (spec is None) == report.failed
    if spec is not None:
        names = [spec.name, *(p.name.text for p in spec.probes)]
        names += [a.field for p in spec.probes for a in p.args or ()]
        assert all(name.isidentifier() and name.isascii() for name in names)


def test_many_errors_take_no_time_to_speak_of() -> None:
    """Ten thousand wrong keys: every one is told, the costly hints are not sought for all."""
    report = Report()
    text = HEAD + "".join(f"wrong{i}: 1\n" for i in range(10_000)) + PROBES
    assert read_spec(parse(text.encode(), "s", "yaml"), report) is None
    assert len(report.diagnostics) == 10_000


def test_importing_is_light() -> None:
    """The nouns and the reader load no YAML, no TOML and no schema library by themselves."""
    code = "import sys, specc.spec; print(sorted({'yaml', 'tomllib', 'jsonschema', 'tomlkit', 'jinja2'} & set(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "[]"


# The documentation

DOCS = Path(__file__).parent.parent / "docs" / "spec-language.md"
EXAMPLES = re.findall(r"^```(yaml|toml)\n(.*?)^```", DOCS.read_text(encoding="utf-8"), re.M | re.S)


@pytest.mark.parametrize(("syntax", "text"), EXAMPLES, ids=range(len(EXAMPLES)))
def test_documented_examples(syntax: str, text: str, tmp_path: Path) -> None:
    if not re.search("^specc", text, re.M):
        spec_of(HEAD + text + PROBES, syntax)
        return
    spec_of(text, syntax)
    for folder in ("btf", "include"):  # what the examples name
        (tmp_path / folder).symlink_to(DOCS.parent.parent / "specs" / folder)
    (tmp_path / f"example.{syntax}").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "specc", "check", str(tmp_path / f"example.{syntax}")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr


def test_the_documentation_names_every_key() -> None:
    text = DOCS.read_text(encoding="utf-8")
    rules = json.loads(SCHEMA_FILE.read_text())["$defs"]
    words = {key for rule in rules.values() for key in rule.get("properties", ())}
    words |= {word for rule in rules.values() for word in rule.get("enum", ())}
    words |= set(rules["spec"]["properties"]["license"]["enum"])
    assert {word for word in words if f"`{word}`" not in text and f"{{{word}:" not in text} == set()

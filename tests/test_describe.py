"""What objects say of themselves: written and read again, carried by every compiler's object, and never believed when damaged."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from specc.build import compile_object
from specc.cache import Cache
from specc.compare import differences
from specc.compiler.find import find_compiler
from specc.describe import Description, describe
from specc.describe.reader import description_of, parse_description
from specc.diagnostics import Report, Stop
from specc.emit import emit
from specc.ir import Event, Program
from specc.pipeline import Session, front
from specc.prototype import spell, spell_prototype
from specc.records import type_schema

GOLDEN = Path(__file__).parent / "golden" / "programs"
CASES = sorted(p.parent.name for p in GOLDEN.glob("*/spec.*"))


def program_of(case: str) -> Program:
    [spec] = (GOLDEN / case).glob("spec.*")
    report = Report()
    program = front(spec, Session(find_compiler), report)
    assert program is not None, report.diagnostics
    return program


def plain(event: Event) -> Event:
    """Without what a description leaves out: comments, and types, which are compared by what they mean."""
    return replace(event, fields=tuple(replace(f, type=None, comment="") for f in event.fields))


@pytest.mark.parametrize("case", CASES)
def test_what_is_described_is_read_again(case: str) -> None:
    program = program_of(case)
    got = parse_description(describe(program))
    assert (got.name, got.buffer, got.buffer_size) == (program.name, program.buffer, program.buffer_size)
    assert (got.events_map, got.lost_map) == (f"{program.name}_events", f"{program.name}_lost")
    for mine, theirs in zip(got.probes, program.probes, strict=True):
        assert (mine.name, mine.kind, mine.function, mine.target) == (
            theirs.name,
            theirs.kind,
            theirs.function,
            theirs.target,
        )
        assert (mine.symbol, mine.entry) == (theirs.symbol, theirs.entry.symbol if theirs.entry else None)
        assert (mine.declaration is None) == (theirs.prototype is None)
        if mine.declaration is not None and theirs.prototype is not None:
            assert spell_prototype(mine.declaration) == spell_prototype(theirs.prototype)
            assert differences(mine.declaration, theirs.prototype) == ()
            assert mine.declaration.source == theirs.prototype.source
        assert mine.used == theirs.used
        assert plain(mine.event) == plain(theirs.event)
        for field, original in zip(mine.event.fields, theirs.event.fields, strict=True):
            assert (field.type is None) == (original.type is None)
            if field.type is not None and original.type is not None:
                assert spell(field.type, "x") == spell(original.type, "x")
                assert type_schema(field.type) == type_schema(original.type)


def test_places() -> None:
    fields = {f.name: f.place for f in parse_description(describe(program_of("perf"))).probes[0].event.fields}
    assert {name: place for name, place in fields.items() if place} == {"a": "rdi", "g": "sp+8"}


@pytest.mark.parametrize("compiler", ["clang-14", "clang-19", "zig"])
@pytest.mark.parametrize("case", ["structs", "user", "perf"])
def test_an_object_carries_its_description(case: str, compiler: str, tmp_path: Path) -> None:
    try:
        found = find_compiler(compiler)
    except Stop as problem:
        pytest.skip(problem.diagnostic.message)
    program = program_of(case)
    expected = parse_description(describe(program))
    data = compile_object(emit(program), program.name, found, cache=Cache(tmp_path / "cache"))
    assert description_of(data) == expected
    path = tmp_path / "x.bpf.o"
    path.write_bytes(data)
    strip = shutil.which("llvm-strip")
    if strip is not None:
        subprocess.run([strip, "-g", path], check=True)
        assert description_of(path.read_bytes()) == expected
    bpftool = shutil.which("bpftool", path=os.environ["PATH"] + ":/usr/sbin")
    if bpftool is not None:
        # libbpf opens the object for this, and would tell of a section that it does not know.
        done = subprocess.run([bpftool, "gen", "skeleton", path], capture_output=True, text=True, check=True)
        assert done.stderr == ""


def small() -> dict[str, Any]:
    value: dict[str, Any] = json.loads(describe(program_of("structs")))
    return value


def code_of(text: str) -> str:
    with pytest.raises(Stop) as caught:
        parse_description(text)
    return caught.value.diagnostic.code


def field(row: dict[str, Any], number: int) -> dict[str, Any]:
    found: dict[str, Any] = row["probes"][0]["fields"][number]
    return found


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda r: r.pop("specc"), "`specc` is missing or is no int"),
        (lambda r: r.update(specc=True), "`specc` is missing or is no int"),
        (lambda r: r.update(buffer="drum"), "`drum` is no buffer"),
        (lambda r: r.update(probes=[]), "its probes have no names of their own"),
        (lambda r: r.update(probes=r["probes"] * 2), "its probes have no names of their own"),
        (lambda r: r["probes"][0].update(size=12), "overlap"),
        (lambda r: r["probes"][0].update(size=1 << 40), "`size` is out of range"),
        (lambda r: r["probes"][0].update(fields=[]), "no probe number"),
        (lambda r: r["probes"][0].update(target=["a"]), "a target is not"),
        (lambda r: field(r, 0).update(role="status"), "no probe number"),
        (lambda r: field(r, 1).update(at=1), "overlap"),
        (lambda r: field(r, 1).update(at=-8), "`at` is out of range"),
        (lambda r: field(r, 1).update(role="guess"), "`guess` is no role"),
        (lambda r: field(r, 1).update({"as": "float"}), "`float` is no type of a field"),
        (lambda r: field(r, 1).update(status="nothing"), "a status that is no field"),
        (lambda r: field(r, 1).update(absent=0), "no bit that says whether it is there"),
        (lambda r: field(r, 1).update(type=99), "`99` is no type"),
        (lambda r: field(r, 1).update(type=True), "true and false are no types"),
        (lambda r: field(r, 1).update(type={"array": "long", "count": 1 << 19}), "an array is too large"),
        (lambda r: field(r, 1).update(type={"array": "long", "count": 9}), "is smaller than its type"),
        (lambda r: field(r, 1).update(type={"bits": 70, "size": 8, "signed": True, "align": 8}), "more bits"),
        (lambda r: field(r, 1).pop("type"), "has no type"),
        (lambda r: r["types"][0].update(size=1), "lies outside of its record"),
        (lambda r: r["types"].insert(0, {"record": "heap", "tag": None}), "`heap` is no kind of record"),
    ],
)
def test_damage_is_told(change: Any, reason: str) -> None:
    row = small()
    change(row)
    with pytest.raises(Stop, match=reason) as caught:
        parse_description(json.dumps(row))
    assert caught.value.diagnostic.code == "SP461"


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "null", '{"specc": "1"}', "[" * 100_000, '{"specc": 1}'])
def test_what_is_no_description(text: str) -> None:
    assert code_of(text) == "SP461"


def test_another_version() -> None:
    assert code_of(json.dumps(small() | {"specc": 3})) == "SP462"


def test_random_damage_is_a_finding_or_a_description() -> None:
    random_ = random.Random(os.environ["SPECC_SEED"])
    texts = [describe(program_of(case)) for case in ("structs", "options", "user", "aggregates")]
    words = ["0", "1", "-1", "null", "true", '""', "[]", "{}", '"long"', "99999999999999999999", "1e9", "[[[["]
    refused = 0
    for _ in range(3000):
        text = random_.choice(texts)
        for _ in range(random_.randint(1, 3)):
            at = random_.randrange(len(text))
            end = at + random_.randint(0, 12)
            text = text[:at] + random_.choice([*words, "", text[at : at + 30]]) + text[end:]
        try:
            assert isinstance(parse_description(text), Description)
        except Stop as problem:
            assert problem.diagnostic.code in ("SP461", "SP462")
            refused += 1
    assert refused > 1000


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is not an object of specc: it does not begin as an ELF file does"),
        (b"\x7fELF" + bytes(80), "is not an object of specc: it is a 32-bit ELF file"),
        (Path("/bin/true").read_bytes(), "is an ELF file, and not one for BPF"),
    ],
)
def test_what_is_no_object(data: bytes, reason: str) -> None:
    with pytest.raises(Stop, match=reason) as caught:
        description_of(data, "x.o")
    assert caught.value.diagnostic.code == "SP460"


def test_an_object_of_another_tool(tmp_path: Path) -> None:
    data = compile_object("int x;\n", "other", find_compiler(), cache=Cache(tmp_path))
    with pytest.raises(Stop, match=r"has no section \.specc") as caught:
        description_of(data)
    assert caught.value.diagnostic.code == "SP460"

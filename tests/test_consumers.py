"""What --emit python gives, in an interpreter that has no specc: the same values as specc's own decoder, record for record."""

from __future__ import annotations

import json
import os
import random
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from command import specc
from test_events import CASES, GOLDEN, described, program_of, random_record

from specc.consumer import emit_python
from specc.describe import Description
from specc.events import Decoder
from specc.ir import Program, Role
from specc.records import unit_of

SEED = os.environ["SPECC_SEED"]
RECORDS = 200

# Records from stdin, each with its length before it; what the module makes of them on stdout, as repr: floats, which may
# be Decimals, keep every digit.
DRIVER = """
import importlib.util, struct, sys
spec = importlib.util.spec_from_file_location("emitted", sys.argv[1])
module = importlib.util.module_from_spec(spec)
sys.modules["emitted"] = module
spec.loader.exec_module(module)
assert not [m for m in sys.modules if m.partition(".")[0] == "specc"]
while head := sys.stdin.buffer.read(4):
    event = module.decode(sys.stdin.buffer.read(struct.unpack("<I", head)[0]))
    hash(event)
    print(ascii(module.record(event)))
"""


def module_of(program: Program, folder: Path) -> Path:
    path = folder / f"{program.name}_events.py"
    path.write_text(emit_python(program))
    return path


def isolated(*arguments: str | Path, data: bytes = b"", fds: tuple[int, ...] = ()) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-I", *arguments], input=data, capture_output=True, check=False, pass_fds=fds
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().splitlines()


def faults(description: Description, record: bytes, rng: random.Random) -> bytes:
    """The record with reads that failed, and fields that are not there."""
    made = bytearray(record)
    event = description.probes[int.from_bytes(record[:4], "little")].event
    for field in event.fields:
        if field.role is Role.STATUS and rng.random() < 0.3:
            struct.pack_into("<i", made, field.offset, rng.choice([-14, -1, -4000]))
        if field.role is Role.ABSENT:
            struct.pack_into("<Q", made, field.offset, rng.getrandbits(64))
    return bytes(made)


def compare(program: Program, folder: Path, rng: random.Random) -> None:
    description = described(program)
    records = [random_record(rng.choice(description.streaming).event, rng, cut=True) for _ in range(RECORDS)]
    records += [faults(description, r, rng) for r in records]
    data = b"".join(struct.pack("<I", len(r)) + r for r in records)
    said = isolated("-c", DRIVER, module_of(program, folder), data=data)
    decoder = Decoder(description)
    for line, record in zip(said, records, strict=True):
        assert line == ascii(decoder.decode(record))


@pytest.mark.parametrize("case", CASES)
def test_golden_programs(case: str, tmp_path: Path) -> None:
    (spec,) = (GOLDEN / case).glob("spec.*")
    compare(program_of(spec), tmp_path, random.Random(f"{SEED} {case}"))


def tool(*command: str | Path) -> str:
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_linters_find_nothing(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    pytest.importorskip("ruff")
    paths = [module_of(program_of(next((GOLDEN / c).glob("spec.*"))), tmp_path) for c in CASES]
    assert (
        tool(
            "ruff", "check", "--isolated", "--no-cache", "--select", "E,F,W,I,B,UP,SIM,RUF", "--ignore", "E501", *paths
        )
        == ""
    )
    assert tool("mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}", *paths) == ""


HOSTILE = r'''
specc: 1
name: hostile
description: 'ends """ here \ and "'
headers: [h.h]
fields: [timestamp, comm]
probes:
  - name: none
    kretprobe: f
    prototype: "long f(int from, int class_, int bytes, int str, int record, int range, int i, int __x, int _text, int PROBE, int tuple)"
    args: [from, {class_: {as: class}}, bytes, str, record, range, i, __x, _text, PROBE, tuple, return, latency]
  - name: "Event"
    kprobe: g
    args: [self, None]
  - name: event
    kprobe: h
    prototype: "void h(int decode, int struct_, int ctypes)"
  - name: nothing
    kprobe: h
    prototype: "void h(void)"
    args: []
'''
HEADER = """
struct Any { int lambda; int __hidden; struct { long in; union { int a; char b[4]; } is; } None; int bits : 3; unsigned : 2; unsigned more : 7; _Bool truth[2]; };
void g(struct Any self, int None);
"""


def test_names_that_python_has_other_uses_for(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(HOSTILE)
    (tmp_path / "h.h").write_text(HEADER)
    program = program_of(tmp_path / "spec.yaml")
    compare(program, tmp_path, random.Random(SEED))
    path = module_of(program, tmp_path)
    if tool("mypy", "--version") == "":
        assert tool("mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}", path) == ""
    text = path.read_text()
    for shown in ("None2:", "Event2:", "Event3:", "Any2:"):
        assert f"class {shown}" in text
    assert "    from_: int" in text and "    class_: int" in text
    assert 'return_: int = field(metadata={"key": "return"})' in text
    assert "unsigned long long latency, ns" in text


def test_bytes_of_no_event(tmp_path: Path) -> None:
    path = module_of(program_of(GOLDEN / "user" / "spec.yaml"), tmp_path)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from {path.stem} import decode\n"
    for record in (b"", b"\0", bytes(4), b"\xff" * 64):
        said = isolated("-c", code + f"try: decode({record!r})\nexcept ValueError as e: print(e)")
        assert len(said) == 1 and "are no event of user" in said[0]


def test_units() -> None:
    """Only the time and a latency count something that is known."""
    found: set[tuple[str, str]] = set()
    for case in CASES:
        for probe in program_of(next((GOLDEN / case).glob("spec.*"))).probes:
            found |= {(f.record_key, unit) for f in probe.event.fields if (unit := unit_of(f))}
    assert found == {("timestamp", "ns"), ("latency", "ns")}


def test_it_does_not_change(tmp_path: Path) -> None:
    program = program_of(GOLDEN / "structs" / next((GOLDEN / "structs").glob("spec.*")).name)
    assert emit_python(program) == emit_python(program)


def test_the_schema_file_is_the_schema(tmp_path: Path) -> None:
    (spec,) = (GOLDEN / "user").glob("spec.*")
    done = specc("build", spec, "--emit", "jsonschema,python", "-o", tmp_path / "out", cwd=tmp_path)
    assert done.code == 0, done.err
    made = json.loads((tmp_path / "out" / "user.schema.json").read_text())
    assert made.pop("$comment").startswith("specc: sha256 ")
    assert made == json.loads(specc("schema", "--event", spec, cwd=tmp_path).out)
    check = (
        "build",
        spec,
        "--emit",
        "jsonschema,python",
        "-o",
        tmp_path / "out",
        "--check",
        "--output-format",
        "concise",
    )
    assert specc(*check, cwd=tmp_path).code == 0
    for name in ("user.schema.json", "user_events.py"):
        path = tmp_path / "out" / name
        text = path.read_text()
        path.write_text(text.replace("timestamp", "times", 1).replace("user", "usr", 1))
        done = specc(*check, cwd=tmp_path)
        assert done.code == 1 and "SP503" in done.err and name in done.err
        path.write_text(text)


def test_what_emit_does_not_name_this_time_is_no_orphan(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "specs").mkdir()
    path = tmp_path / "specs" / "one.yaml"
    path.write_text('specc: 1\nname: one\nprobes:\n  - kprobe: f\n    prototype: "void f(int a)"\n')
    assert specc("build", "--emit", "c,python,jsonschema", cwd=tmp_path).code == 0
    assert specc("build", "--emit", "c", "--check", cwd=tmp_path).code == 0
    path.write_text(path.read_text().replace("name: one", "name: two"))
    assert specc("build", "--emit", "c", cwd=tmp_path).code == 0
    done = specc("build", "--emit", "c", "--check", "--output-format", "concise", cwd=tmp_path)
    orphans = [line.partition(":")[0] for line in done.err.splitlines() if "SP504" in line]
    assert orphans == [f"generated/{name}" for name in ("one.bpf.c", "one.schema.json", "one_events.py")]
    made = specc("build", "--emit", "python", "-MD", cwd=tmp_path)
    assert made.code == 0 and (tmp_path / "generated" / "two.d").read_text().startswith("generated/two_events.py: ")

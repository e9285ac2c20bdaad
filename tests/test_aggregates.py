"""Aggregates from bytes to text: cells as the kernel would fill them, and the tables, charts, JSON and CSV made of them."""

from __future__ import annotations

import io
import json
import os
import struct
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from command import specc

from specc.compiler.find import find_compiler
from specc.consumer import emit_python
from specc.describe import Description, ProbeDescription, describe
from specc.describe.reader import parse_description
from specc.diagnostics import Report, Stop
from specc.events import open_writer
from specc.events.cells import Interval, Tally, bounds, decoder_of, records, tally_of
from specc.events.charts import bar, chart, label, short, time
from specc.events.intervals import open_intervals
from specc.ir import Program
from specc.lock import Lock, read_lock, write_lock
from specc.lock.changes import spec_changes
from specc.lock.made import locked_spec
from specc.noun import replace
from specc.pipeline import Session, front
from specc.records import record_schema

HERE = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def program() -> Program:
    [spec] = (HERE / "programs" / "aggregates").glob("spec.*")
    made = front(spec, Session(find_compiler), Report())
    assert made is not None
    return made


@pytest.fixture(scope="module")
def description(program: Program) -> Description:
    return parse_description(describe(program))


def named(description: Description, name: str) -> ProbeDescription:
    return next(p for p in description.probes if p.name == name)


def key(probe: ProbeDescription, **values: Any) -> bytes:
    """A key's bytes: numbers as they are, text padded with zeros."""
    raw = bytearray(probe.key.size)
    raw[:4] = struct.pack("<I", probe.key.number)
    for name, value in values.items():
        field = probe.key.field(name)
        data = value if isinstance(value, bytes) else int(value).to_bytes(field.size, "little", signed=value < 0)
        raw[field.offset : field.offset + len(data)] = data
    return bytes(raw)


def words(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}Q", *(n % (1 << 64) for n in numbers))


def tally(probe: ProbeDescription, raw: bytes, *cells: bytes) -> Tally:
    assert probe.aggregate is not None
    return tally_of(probe.aggregate, raw, cells)


# --- cells ------------------------------------------------------------------------------------------------------------


def test_cells_of_all_processors_become_one(description: Description) -> None:
    total, narrow, least, behind = (named(description, n) for n in ("total", "narrow", "least", "behind"))
    # A wide sum: count, the low halves, the high halves with their sign.
    halves = words(3, 2 * 0xFFFFFFFF, -2)
    assert tally(total, b"k", halves, words(0, 0, 0), words(1, 5, 1)) == Tally(
        b"k", 4, 2 * 0xFFFFFFFF - (2 << 32) + 5 + (1 << 32)
    )
    assert tally(narrow, b"k", words(2, -7), words(1, 3)) == Tally(b"k", 3, -4)
    # Of a hit in the kernel: the depth, a count for each depth, an extreme for each.
    once, never = words(0, 2, 0, 0, 0, -7, 5, 5, 5), words(0, *[0] * 8)
    assert tally(least, b"k", once, never, words(0, 1, 3, 0, 1, -8, -9, -99, 4)) == Tally(b"k", 7, -9)
    assert tally(behind, b"k", words(1, -7), words(1, -9)) == Tally(b"k", 2, -7)


def test_a_sum_that_may_have_overflowed_is_none(description: Description) -> None:
    total = named(description, "total")
    most = (1 << 32) - 1
    # The greatest that is certain: so many times the greatest value.
    exact = words(most, most * 0xFFFFFFFF, most * ((1 << 31) - 1))
    assert tally(total, b"k", exact).number == most * ((1 << 63) - 1)
    assert tally(total, b"k", words(1 << 32, 0, 0), words(1, 1, 0)) == Tally(b"k", (1 << 32) + 1, None)
    interval = Interval(total, 1, 2, (Tally(key(total, key=5), 1 << 32, None),))
    [row] = records(interval, decoder_of(total))
    assert (row["sum"], row["sum_error"], row["count"]) == (None, "EOVERFLOW", 1 << 32)


def test_bounds_of_buckets(description: Description) -> None:
    took, results, steps = (named(description, n).aggregate for n in ("took", "results", "steps"))
    assert took is not None and results is not None and steps is not None
    assert bounds(took)[:4] == ((0, 1), (1, 2), (2, 4), (4, 8))
    assert bounds(took)[-1] == (1 << 63, 1 << 64) and len(bounds(took)) == took.buckets == 65
    assert bounds(results)[:3] == ((None, 0), (0, 1), (1, 2))
    assert bounds(results)[-1] == (1 << 30, 1 << 31) and len(bounds(results)) == results.buckets == 33
    assert bounds(steps)[:2] == ((None, 0), (0, 100)) and bounds(steps)[-2:] == ((900, 1000), (1000, None))


# --- text -------------------------------------------------------------------------------------------------------------


def test_words_of_bounds() -> None:
    assert [short(n) for n in (0, 1, 1023, 1024, 1536, 1 << 20, 3 << 30, 1 << 63)] == [
        "0", "1", "1023", "1K", "1536", "1M", "3G", "8E",
    ]  # fmt: skip
    assert [time(n) for n in (0, 1, 512, 1024, 16384, 999_999, 1 << 20, 1 << 30, 60 * 10**9, -2048)] == [
        "0ns", "1ns", "512ns", "1.02us", "16.4us", "1ms", "1.05ms", "1.07s", "1m", "-2.05us",
    ]  # fmt: skip
    assert label((None, 0), duration=False) == "(..., 0)"
    assert label((0, 1), duration=False) == "[0]"
    assert label((1024, 2048), duration=False) == "[1K, 2K)"
    assert label((1000, None), duration=False) == "[1000, ...)"


def test_bars_tell_nothing_from_little() -> None:
    assert [bar(n, 1000, 10, blocks=True) for n in (0, 1, 50, 500, 1000)] == ["", "▏", "▌", "█████", "██████████"]
    assert [bar(n, 1000, 10, blocks=False) for n in (0, 1, 500, 1000)] == ["", "@", "@@@@@", "@@@@@@@@@@"]
    limits = ((0, 1), (1, 2), (2, 4), (4, 8), (8, 16))
    for width in (20, 30, 40, 80, 200):
        lines = chart(limits, (0, 1, 0, 12_345, 0), width=width)
        assert [line.split()[:2] for line in lines] == [["[1]", "1"], ["[2,", "4)"], ["[4,", "8)"]]
        assert max(map(len, lines)) <= max(width, 30)


INTERVAL = (1_000_000_000, 2_000_000_000)


def intervals(description: Description) -> list[Interval]:
    calls, total, narrow, took, results, steps, alone = (
        named(description, n) for n in ("calls", "total", "narrow", "took", "results", "steps", "all_calls")
    )
    ok = {"name_length": 4, "name": b"/etc", "flags": 0x241}
    cut = {"name_length": 32, "name": b"/a/name/that/is/too/long/for/it", "flags": 0}
    return [
        Interval(
            calls, *INTERVAL,
            (
                tally(calls, key(calls, comm=b"cat", **ok), words(3), words(4)),
                tally(calls, key(calls, comm=b"ba\x1bsh", **cut), words(12)),
                tally(calls, key(calls, comm=b"init", name_error=-14, flags=7), words(1)),
            ),
            full=21, unread=1,
        ),
        Interval(alone, *INTERVAL, (tally(alone, key(alone), words(19)),)),
        Interval(total, *INTERVAL, (tally(total, key(total, key=-1), words(2, 10, 0)), tally(total, key(total, key=7), words(1 << 32, 0, 0)))),
        Interval(narrow, *INTERVAL, (tally(narrow, key(narrow, key=3), words(3, -10)), tally(narrow, key(narrow, key=4), words(8, 1)))),
        Interval(took, *INTERVAL, (tally(took, key(took, key=-2), words(*[0] * 11, 3, 12, 0, 1, *[0] * 50)),)),
        Interval(results, *INTERVAL, (tally(results, key(results), words(2, 1, 0, 4, *[0] * 29)),)),
        Interval(steps, *INTERVAL, (tally(steps, key(steps, tid=42), words(0, *[5] * 10, 1)),)),
        Interval(named(description, "least"), *INTERVAL, ()),
    ]  # fmt: skip


def written(description: Description, format_: str, monkeypatch: pytest.MonkeyPatch, *, encoding: str = "utf-8") -> str:
    monkeypatch.setenv("TZ", "UTC")
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, newline="", write_through=True)
    writer = open_writer(format_, description, stream, width=72)
    teller = open_intervals(writer, stream, width=72)
    teller.tell(intervals(description))
    writer.close()
    return raw.getvalue().decode()


@pytest.mark.parametrize(("format_", "name"), [("table", "table.txt"), ("jsonl", "rows.jsonl"), ("csv", "rows.csv")])
def test_what_is_written(format_: str, name: str, description: Description, monkeypatch: pytest.MonkeyPatch) -> None:
    import os
    import time as clock

    monkeypatch.setenv("TZ", "UTC")
    clock.tzset()
    path = HERE / "aggregates" / name
    got = written(description, format_, monkeypatch)
    if os.environ.get("SPECC_UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(got, encoding="utf-8", newline="")
    assert got == path.read_bytes().decode("utf-8")


def test_bars_for_a_terminal_without_blocks(description: Description, monkeypatch: pytest.MonkeyPatch) -> None:
    got = written(description, "table", monkeypatch, encoding="latin-1")
    assert "@@@@" in got and "█" not in got


def test_records_are_as_the_schema_says(program: Program, description: Description) -> None:
    schema = jsonschema.Draft202012Validator(record_schema(program))
    for interval in intervals(description):
        for row in records(interval, decoder_of(interval.probe)):
            schema.validate(json.loads(json.dumps(row)))
    [row] = records(intervals(description)[1], decoder_of(named(description, "all_calls")))
    for wrong in ({"count": 0}, {"more": 1}, {"from": -1}, {"probe": "frees"}):
        with pytest.raises(jsonschema.ValidationError):
            schema.validate(row | wrong)


# --- descriptions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"function": "median"}, "aggregates by no function"),
        ({"symbol": "a; b"}, "cells have no name"),
        ({"key": 12}, "the key ends inside of a field"),
        ({"key": 1 << 20}, "`key` of an aggregate is missing or out of range"),
        ({"by": ["comm"]}, "the key has other fields"),
        ({"value": None}, "no value to count with"),
        ({"value": "probe"}, "no integer"),
        ({"most": 0}, "`most` of an aggregate is missing or out of range"),
        ({"every": -1}, "`every` of an aggregate is missing or out of range"),
        ({"owned": True}, "the thread is not behind the key"),
    ],
)
def test_a_damaged_description_is_refused(change: dict[str, Any], reason: str, program: Program) -> None:
    root = json.loads(describe(program))
    row = next(p for p in root["probes"] if p["name"] == "total")["aggregate"]
    row.update(change)
    with pytest.raises(Stop) as problem:
        parse_description(json.dumps(root))
    assert reason in problem.value.diagnostic.message


def test_an_older_reader_refuses_an_object_with_aggregates(program: Program) -> None:
    assert json.loads(describe(program))["specc"] == 2
    others = json.loads(describe(front_of("scalars")))
    assert others["specc"] == 1


def test_a_module_for_events_needs_events(program: Program) -> None:
    with pytest.raises(Stop) as problem:
        emit_python(replace(program, probes=program.aggregated))
    assert problem.value.diagnostic.code == "SP477"
    assert "Not here is what is counted in the kernel, by calls, all_calls" in emit_python(program)


def test_a_directory_with_and_without_events_has_modules_for_events(tmp_path: Path) -> None:
    probe = "  - uprobe: /nowhere/x:f\n    prototype: int f(int a)\n"
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs/events.yaml").write_text(f"specc: 1\nname: events\nprobes:\n{probe}")
    (tmp_path / "specs/sums.yaml").write_text(f"specc: 1\nname: sums\nprobes:\n{probe}    aggregate: {{sum: a}}\n")
    options = ("--emit", "c,python", "--output-format", "json")
    for more in ((), ("--check",), ()):
        done = specc("build", *options, *more, cwd=tmp_path)
        [found] = json.loads(done.out)["diagnostics"]
        assert (done.code, found["code"], found["severity"], found["file"]) == (
            0,
            "SP477",
            "warning",
            "specs/sums.yaml",
        )
        assert found["notes"] == ["sums_events.py is not made"]
        assert sorted(os.listdir(tmp_path / "generated")) == ["events.bpf.c", "events_events.py", "sums.bpf.c"]
    done = specc("build", "--emit", "python", "specs/sums.yaml", "-o", "other", "-MD", cwd=tmp_path)
    assert done.code == 0 and not (tmp_path / "other").exists()
    done = specc("build", "--emit", "python,jsonschema", "specs/sums.yaml", "-o", "other", "-MD", cwd=tmp_path)
    assert (done.code, sorted(os.listdir(tmp_path / "other"))) == (0, ["sums.d", "sums.schema.json"])


def test_a_lock_has_what_is_counted(program: Program) -> None:
    spec = locked_spec("specs/tallies.yaml", program, (), {})
    text = write_lock(Lock((spec,)))
    assert "    aggregate lhist of size from 0 to 1000 by 100 by tid\n" in text
    assert read_lock(text, "specc.lock") == Lock((spec,))
    other = replace(spec, probes=tuple(replace(p, aggregate="") for p in spec.probes))
    changes = [c for c in spec_changes(other, spec) if c.probe == "least"]
    assert [(c.kind, c.breaks, c.text) for c in changes] == [
        ("retyped", True, "it gives min of value by key, pid, it gave events")
    ]


def front_of(case: str) -> Program:
    [spec] = (HERE / "programs" / case).glob("spec.*")
    made = front(spec, Session(find_compiler), Report())
    assert made is not None
    return made

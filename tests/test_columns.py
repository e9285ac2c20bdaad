"""Columns against single records: the same bytes decoded one by one must be what the columns hold."""

from __future__ import annotations

import io
import math
import os
import random
import sys
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from test_events import CASES, GOLDEN, described, program_of, random_record, spaced, stacks_of

from specc.batch import Batch, batch_of
from specc.describe import Description
from specc.diagnostics import Stop
from specc.events import Decoder, open_writer
from specc.events.program import dumps
from specc.ir import Role

np = pytest.importorskip("numpy")
pytest.importorskip("pyarrow")

from specc.events.columns import Columns, columns, groups  # noqa: E402
from specc.events.lines import json_text  # noqa: E402

SEED = os.environ["SPECC_SEED"]


def comparable(value: Any) -> Any:
    """A column's value as JSON has it: 128-bit integers from decimals, floats that are no numbers as strings."""
    match value:
        case dict():
            return {k: comparable(v) for k, v in value.items()}
        case list():
            return [comparable(v) for v in value]
        case float() if not math.isfinite(value):
            return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
        case Decimal():
            return int(value)
        case _:
            return value


def like(got: Any, value: Any) -> bool:
    """Equal; a floating value that no column can hold is its digits."""
    if isinstance(value, dict):
        return list(got) == list(value) and all(like(got[k], v) for k, v in value.items())
    if isinstance(value, list):
        return len(got) == len(value) and all(map(like, got, value))
    if isinstance(got, str) and isinstance(value, float | Decimal):
        return got == str(value)
    return bool(got == value)


def records_of(description: Description, rng: random.Random, number: int, *, faults: bool) -> list[bytes]:
    made = []
    for _ in range(number):
        event = rng.choice(description.probes).event
        record = bytearray(random_record(event, rng))
        for field in event.fields:
            if faults and field.role is Role.STATUS and rng.random() < 0.2:
                record[field.offset : field.offset + 4] = (-rng.choice((1, 14, 4000))).to_bytes(
                    4, "little", signed=True
                )
            if faults and field.role is Role.ABSENT and rng.random() < 0.2:
                record[field.offset] = rng.randrange(8)
        made.append(bytes(record))
    return made


def random_types(tmp_path: Path, rng: random.Random) -> Description:
    from test_events import random_struct

    text = ["enum colour { RED, GREEN = 7, BLUE = 0x7fffffff };", "typedef int vec4 __attribute__((vector_size(16)));"]
    probes = []
    for i in range(25):
        text.append(f"struct s{i} {{ {random_struct(rng, f'm{i}')} body; long tail[3]; }};\nvoid f{i}(struct s{i} a);")
        probes.append(f"  - uprobe: {{path: prog, symbol: f{i}}}\n    args: [{{a: {{as: a{i}}}}}]\n")
    (tmp_path / "r.h").write_text("\n".join(text) + "\n")
    (tmp_path / "r.yaml").write_text(f"specc: 1\nname: r\nheaders: [r.h]\nfields: [comm]\nprobes:\n{''.join(probes)}")
    return described(program_of(tmp_path / "r.yaml"))


@pytest.fixture(params=[*CASES, "random types"])
def description(request: pytest.FixtureRequest, tmp_path: Path) -> Description:
    if request.param == "random types":
        return random_types(tmp_path, random.Random(f"{SEED} columns"))
    [spec] = (GOLDEN / request.param).glob("spec.*")
    return described(program_of(spec))


@pytest.mark.parametrize("faults", [False, True])
def test_arrow(description: Description, faults: bool) -> None:
    decoder = Decoder(description, stacks_of(description))
    table = Columns(decoder)
    given = records_of(description, random.Random(f"{SEED} arrow"), 200, faults=faults)
    batch = table.record_batch(batch_of(given))
    batch.validate(full=True)
    assert batch.schema == table.schema
    rows = [comparable(r) for r in batch.to_pylist()]
    named = {(p.name, f.record_key) for p in description.probes for f in p.event.fields if f.names is not None}
    for row, record in zip(rows, given, strict=True):
        expected = decoder.decode(record)
        probe = expected["probe"]
        mine = {k: f"{probe}.{k}" if f"{probe}.{k}" in row else k for k in expected}
        for key, value in expected.items():
            text = (probe, key) in named and isinstance(value, int)  # the column has names, and no numbers
            assert like(row[mine[key]], str(value) if text else value), key
        assert all(v is None for k, v in row.items() if k not in mine.values())
    assert table.record_batch(batch_of([])).num_rows == 0


def test_json_from_columns(description: Description) -> None:
    decoder = Decoder(description, stacks_of(description))
    rng = random.Random(f"{SEED} json")
    given = records_of(description, rng, 300, faults=False)
    by_event = [[r for r in given if r[:4] == p.event.number.to_bytes(4, "little")] for p in description.probes]
    for some in [given, *(r for r in by_event if r)]:
        for batch in (batch_of(some), *spaced(some)):
            text = json_text(decoder, batch)
            assert text is not None
            assert bytes(text).decode() == "".join(dumps(decoder.decode(r)) + "\n" for r in some)


def test_json_of_a_failed_read_is_left_to_the_plain_way() -> None:
    decoder = Decoder(described(program_of(GOLDEN / "perf" / "spec.yaml")))
    event = decoder.events[0].event
    fine, failed = bytes(event.size), bytearray(event.size)
    assert json_text(decoder, batch_of([fine])) is not None
    failed[event.field("stack_error").offset] = 1
    assert json_text(decoder, batch_of([fine, failed])) is None


def test_optional_fields_that_are_not_there() -> None:
    decoder = Decoder(described(program_of(GOLDEN / "options" / "spec.yaml")))
    event = decoder.events[0].event
    one = bytearray(event.size)
    one[event.field("absent").offset] = 3
    assert json_text(decoder, batch_of([one, one])) is None


def test_the_line_writer_takes_the_columns_way_in_time() -> None:
    """After many records the lines come from columns, and are the same."""
    description = described(program_of(GOLDEN / "perf" / "spec.yaml"))
    decoder = Decoder(description)
    given = records_of(description, random.Random(SEED), 6000, faults=True)
    out = io.BytesIO()
    writer = open_writer("jsonl", description, out)
    for start in range(0, 6000, 1500):
        writer.write(given[start : start + 1500])
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    writer.write(given[:1000])
    writer.close()
    assert out.getvalue().decode() == "".join(dumps(decoder.decode(r)) + "\n" for r in given + given[:1000])


@pytest.mark.parametrize("format_", ["arrow", "parquet"])
def test_files_of_columns(format_: str, tmp_path: Path) -> None:
    from pyarrow import ipc, parquet

    description = described(program_of(GOLDEN / "returns" / "spec.yaml"))
    given = records_of(description, random.Random(SEED), 500, faults=True)
    path = tmp_path / "events"
    with path.open("w", encoding="utf-8") as stream:
        writer = open_writer(format_, description, stream)
        assert writer.write(given[:400]) == 400
        writer.flush()
        assert writer.write(batch_of(given[400:])) == 100
        assert writer.write([]) == 0
        writer.close()
    table = parquet.read_table(path) if format_ == "parquet" else ipc.open_stream(path.read_bytes()).read_all()
    assert table.to_pylist() == Columns(Decoder(description)).record_batch(batch_of(given)).to_pylist()
    assert table.schema.metadata[b"spec"] == b"returns"
    for field in Columns(Decoder(description)).schema:
        assert (field.metadata or {}).items() <= (
            table.schema.field(field.name).metadata or {}
        ).items()  # types of lists differ in a name


def test_what_columns_mean() -> None:
    """C types and units, where all probes that share a column agree."""
    schema = Columns(Decoder(described(program_of(GOLDEN / "memory" / "spec.yaml")))).schema
    meant = {f.name: dict(f.metadata or {}) for f in schema}
    assert schema.metadata == {b"spec": b"memory"}
    assert meant["latency"] == {b"c_type": b"unsigned long long", b"unit": b"ns"}
    assert meant["data"] == {b"c_type": b"unsigned char [16]"}
    assert meant["name"] == {}  # char[32] for one probe, char[16] for another
    assert meant["name_error"] == meant["name_truncated"] == meant["probe"] == {}
    schema = Columns(Decoder(described(program_of(GOLDEN / "context" / "spec.yaml")))).schema
    assert dict(schema.field("timestamp").metadata) == {b"c_type": b"__u64", b"unit": b"ns"}
    assert dict(schema.field("comm").metadata) == {b"c_type": b"char[16]"}


def test_without_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("specc.events.columns", "specc.events.files"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(Stop, match="the format arrow needs numpy and pyarrow") as caught:
        open_writer("arrow", described(program_of(GOLDEN / "perf" / "spec.yaml")), io.BytesIO())
    assert caught.value.diagnostic.code == "SP465"


def test_numpy(description: Description) -> None:
    decoder = Decoder(description)
    given = records_of(description, random.Random(f"{SEED} numpy"), 200, faults=False)
    found = columns(decoder, batch_of(given))
    for probe in description.probes:
        mine = [decoder.decode(r) for r in given if r[:4] == probe.event.number.to_bytes(4, "little")]
        array = found.get(probe.name, [])
        assert len(array) == len(mine)
        for row, expected in zip(array, mine, strict=True):
            for key in row.dtype.names:
                if isinstance(expected.get(key), int) and row.dtype[key].kind in "iu":
                    assert int(row[key]) == expected[key]
    assert columns(decoder, batch_of([])) == {}


def test_numpy_of_a_record() -> None:
    decoder = Decoder(described(program_of(GOLDEN / "structs" / "spec.yaml")))
    [probe] = [p for p in decoder.description.probes if p.name == "stack"]
    rng = random.Random(SEED)
    given = [random_record(probe.event, rng) for _ in range(20)]
    array = columns(decoder, batch_of(given))["stack"]
    for row, record in zip(array, given, strict=True):
        expected = decoder.decode(record)
        assert row["tight"]["l"] == expected["tight"]["l"]
        assert row["big"]["values"].tolist() == expected["big"]["values"]
        assert row["nested"]["in"]["s"].tolist() == [v["s"] for v in expected["nested"]["in"]]


def test_strange_records() -> None:
    decoder = Decoder(described(program_of(GOLDEN / "perf" / "spec.yaml")))
    sizes = [e.event.size for e in decoder.events]
    fine = [bytes(sizes[0]), b"\1" + bytes(sizes[1] - 1)]
    for wrong in (b"\2" + bytes(sizes[0] - 1), bytes(sizes[0] + 8), bytes(sizes[0] - 8)):
        with pytest.raises(Stop) as caught:
            groups(decoder, batch_of([*fine, wrong]))
        assert caught.value.diagnostic.code == "SP463"


def test_a_batch_of_one_event_is_not_copied() -> None:
    decoder = Decoder(described(program_of(GOLDEN / "scalars" / "spec.yaml")))
    size = decoder.events[0].event.size
    data = memoryview(bytes((size + 8) * 10 + 8))
    [(rows, where)] = groups(decoder, Batch(data, range(8, 8 + (size + 8) * 10, size + 8), size))
    assert rows.data is data
    assert where is None

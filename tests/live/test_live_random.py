"""Functions of random prototypes, probed at entry and return: every byte and every scalar of every event."""

from __future__ import annotations

import math
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from oracle import generate
from oracle.experiment import compilers
from oracle.shapes import Case

from .build import compile_c, live
from .generated import Passed, passed, program

SEED = int(os.environ["SPECC_SEED"])
FUNCTIONS = 60  # of each compiler and level, 240 in all
SAVED = 200  # bytes of entry arguments that a return probe is asked for

HOSTS = {c.kind: c for c in reversed(compilers())}


def spec_of(cases: list[Case], path: Path) -> str:
    """A probe at each entry with all that can be read, and at each return with what can be saved."""
    from specc.abi import place_arguments
    from specc.headers import parse_prototypes

    prototypes = parse_prototypes("".join(c.text for c in cases), [c.name for c in cases])
    lines = ["specc: 1", "name: random", "headers: [cases.h]", "fields: [tid]", "buffer: {ring: 8MiB}", "probes:"]
    for number, case in enumerate(cases):
        placement = place_arguments(prototypes[case.name])
        readable = [a for a in placement.arguments if a.readable and a.size]
        lines += [f"  - name: e{number}", f"    uprobe: {{path: {path}, symbol: {case.name}}}"]
        if not readable:
            lines.append("    args: []")
        if (
            case.result is None
            or placement.result is None
            or not placement.result.readable
            or not placement.result.size
        ):
            continue
        wanted, size = [], 0
        for argument in readable:
            size += -(-argument.size // 8) * 8 + 8
            if size <= SAVED:
                wanted.append(argument.name)
        lines += [f"  - name: r{number}", f"    uretprobe: {{path: {path}, symbol: {case.name}}}",
                  f"    args: [{', '.join([*map(str, wanted), 'return'])}]"]  # fmt: skip
    return "\n".join(lines) + "\n"


@live
@pytest.mark.parametrize("kind", sorted(HOSTS))
@pytest.mark.parametrize("level", ["-O0", "-O2"])
def test_random_functions(kind: str, level: str, tmp_path: Path) -> None:
    import specc

    host = HOSTS[kind]
    cases = [c for c in generate.cases(SEED, 0, 2 * FUNCTIONS) if c.features <= host.features - {"_BitInt"}][:FUNCTIONS]
    # What a compiler leaves in the bits of a _BitInt that are padding is its own affair.
    assert len(cases) == FUNCTIONS
    header, callees, callers = program(cases)
    (tmp_path / "cases.h").write_text(header)
    path = compile_c(tmp_path / "program", callees, callers, flags=(level,), compiler=host.path)
    spec = tmp_path / "random.yaml"
    spec.write_text(spec_of(cases, path))
    with specc.open(spec) as probe:
        raw: dict[str, bytes] = {}
        events: dict[str, dict[str, Any]] = {}
        subprocess.run([path, tmp_path / "out", str(SEED)], check=True, timeout=60)
        probe._session.detach()
        for batch in probe._session.poll(0):
            for record in batch:
                event = probe._decoder.decode(record)
                assert event["probe"] not in events, "each function is called once"
                events[event["probe"]], raw[event["probe"]] = event, bytes(record)
        assert (probe.lost, probe.missed) == (0, 0)
        description = probe.description
    given = passed(tmp_path / "out")
    assert sorted(events) == sorted(p.name for p in description.probes)
    compared = 0
    for one in description.probes:
        number = int(one.name[1:])
        for field in one.event.fields:
            if field.role.value != "value":
                continue
            argument = -1 if field.record_key == "return" else int(field.name[1:])
            what = f"{one.name}: {cases[number].prototype}: {field.record_key} (seed {SEED})"
            compared += check(
                given[number, argument], raw[one.name], field.offset, events[one.name], field.record_key, what
            )
    assert compared > 3 * FUNCTIONS, "so few values that something is refused that was not before"


def check(expected: Passed, record: bytes, offset: int, event: dict[str, Any], key: str, what: str) -> int:
    """The bytes of the value, then every scalar in it as it was decoded. How many were compared."""
    got = record[offset : offset + len(expected.data)]
    assert got.hex() == expected.data.hex(), what
    for path, value in expected.scalars.items():
        found = at_path(event[key], path)
        if isinstance(value, float) and not math.isfinite(value):
            found = float(found)
        if isinstance(value, float) and math.isnan(value):
            assert math.isnan(found), f"{what}{path}"
        else:
            assert found == value, f"{what}{path}"
    return 1 + len(expected.scalars)


def at_path(value: Any, path: str) -> Any:
    for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", path):
        value = value[name] if name else value[int(index)]
    return value

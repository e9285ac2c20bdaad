"""The specs of specs/ on four kernels: what each answers is what happened, and the verifier's work stays small."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from command import ROOT

from kernels.functions import TM
from kernels.gallery import COMPILERS, GALLERY, OF_NO_KERNEL, Entry
from kernels.results import Results

pytestmark = pytest.mark.slow

Events = Mapping[str, list[dict[str, Any]]]
Facts = Mapping[str, Mapping[str, Any]]

STEPS = 50_000  # of the million instructions that a kernel lets the verifier go through
BY_NAME = {entry.spec: entry for entry in GALLERY}
CHECKS: dict[str, Callable[[Events, Facts], None]] = {}


def shows(check: Callable[[Events, Facts], None]) -> Callable[[Events, Facts], None]:
    CHECKS[check.__name__.strip("_")] = check
    return check


def part(event: Mapping[str, Any], names: str) -> dict[str, Any]:
    return {name: event[name] for name in names.split()}


def one(events: list[dict[str, Any]], **values: Any) -> dict[str, Any]:
    found = [e for e in events if all(e[k] == v for k, v in values.items())]
    assert len(found) == 1, f"{len(found)} events with {values}: {events}"
    return found[0]


@shows
def _files(events: Events, facts: Facts) -> None:
    before, after = one(events["read"], count=20), one(events["read_done"], count=20)
    assert (after["return"], before["file"]) == (20, after["file"])
    assert before["file"] >> 48 >= 0xFF00 and before["comm"] == "triggers" and before["mntns"] == after["mntns"] > 0


@shows
def _futex(events: Events, facts: Facts) -> None:
    fact = facts["futex"]
    passed = {"uaddr": fact["uaddr"], "op": 132, "val": 0x11, "uaddr2": fact["uaddr2"], "val3": 0x5A5A1234}
    event = one(events["do_futex"], uaddr=fact["uaddr"])
    assert part(event, "uaddr op val uaddr2 val3") == passed
    assert one(events["futex_done"], uaddr=fact["uaddr"], val3=0x5A5A1234)["return"] == 0


@shows
def _gup(events: Events, facts: Facts) -> None:
    event = one(events["gup"], start=facts["mlock"]["addr"])
    assert (event["nr_pages"], event["locked"] >> 48 >= 0xFF00, event["comm"]) == (37, True, "triggers")
    assert one(events["gup_done"], start=facts["mlock"]["addr"])["return"] == 37


@shows
def _opens(events: Events, facts: Facts) -> None:
    made = one(events["open"], filename="/dev/shm/specc-opens")
    assert part(made, "flags return") == {"flags": 0o2000102, "return": facts["opens"]["opened"]}
    failed = one(events["open"], filename="/dev/shm/specc-nowhere")
    assert part(failed, "flags return") == {"flags": 0o200000, "return": -2}
    assert all(0 < e["latency"] < 10**10 and e["comm"] == "triggers" for e in (made, failed))


@shows
def _rtc(events: Events, facts: Facts) -> None:
    assert events["rtc_tm_to_ktime"][0]["tm"] == TM
    done = next(e for e in events["result"] if e["tm"] == TM)
    assert done["return"] == 1996294028 * 10**9  # 2033-04-05 06:07:08


@shows
def _sockopt(events: Events, facts: Facts) -> None:
    fact = facts["setsockopt"]
    event = one(events["set"], level=6, optname=1)
    assert (event["optval"]["user"], event["optlen"]) == (fact["optval"], 12)
    fact = facts["getsockopt"]
    event = one(events["get"], level=0, optname=2)
    assert (event["optval"]["user"], event["length"]["user"]) == (fact["optval"], fact["optlen"])


@shows
def _tls(events: Events, facts: Facts) -> None:
    first, second = b"GET /secret HTTP/1.1\r\nHost: example.org\r\n", b"password=correct horse"
    assert [part(e, "buf num comm") for e in events["write"]] == [
        {"buf": first.hex(), "num": len(first), "comm": "tls"}
    ]
    assert [part(e, "buf num comm") for e in events["write_ex"]] == [
        {"buf": second.hex(), "num": len(second), "comm": "tls"}
    ]
    assert [part(e, "num return") for e in events["written"]] == [{"num": len(first), "return": len(first)}]
    assert {e["ssl"] for e in events[""]} == {events["write"][0]["ssl"]}


# ----------------------------------------------------------------------------------------------------------------------


def _there(on: Results, entry: Entry) -> None:
    if entry.program in on.plan.gallery.lacking:
        pytest.skip(on.plan.gallery.lacking[entry.program])


def test_every_spec_is_here() -> None:
    specs = {p.stem for p in (ROOT / "specs").iterdir() if p.is_file()}
    assert {*BY_NAME, *OF_NO_KERNEL} == specs
    assert {entry.spec for entry in GALLERY if entry.triggers} == set(CHECKS)


@pytest.mark.parametrize("entry", [e for e in GALLERY if e.triggers], ids=lambda e: e.spec)
def test_the_answer(on: Results, entry: Entry) -> None:
    _there(on, entry)
    if on.plan.kernel.series in entry.refused:
        pytest.skip(f"{entry.spec} is refused on Linux {on.plan.kernel.series}, which the next test looks at")
    run = f"gallery-{entry.spec}"
    result = on.run(run)
    assert (result["code"], result["left"]) == (0, {}), result["err"]
    assert re.fullmatch(r"received [1-9]\d*, lost 0", result["err"].splitlines()[-1]), result["err"]
    CHECKS[entry.spec](on.events(run), on.facts(run))


@pytest.mark.parametrize("entry", [e for e in GALLERY if e.refused], ids=lambda e: e.spec)
def test_what_a_kernel_refuses(on: Results, entry: Entry) -> None:
    if on.plan.kernel.series not in entry.refused:
        pytest.skip(f"Linux {on.plan.kernel.series} does not refuse {entry.spec}")
    (run,) = (r for r in on.plan.runs if r["name"].startswith(f"gallery-{entry.spec}-"))
    result = on.run(run["name"])
    assert (result["code"], result["out"], result["left"]) == (1, "", {}), result["err"]
    assert entry.refused[on.plan.kernel.series] in result["err"], result["err"]


_COUNTED = re.compile(r"^(\w+): the verifier went through (\d+) instructions, (\d+) bytes of stack$", re.MULTILINE)


@pytest.mark.parametrize("entry", GALLERY, ids=lambda e: e.spec)
def test_the_verifier_takes_it_without_much_work(on: Results, entry: Entry) -> None:
    """Objects of both compilers; the stack that it counts is not more than what the instructions show (before it counted by
    slots of 8 bytes, it counted by 32)."""
    _there(on, entry)
    if on.plan.kernel.series in entry.refused:
        pytest.skip(f"{entry.spec} is refused on Linux {on.plan.kernel.series}")
    for run in (r for r in on.plan.runs if re.fullmatch(rf"gallery-{entry.spec}(-\w+)?", r["name"])):
        path = run["arguments"][1]
        stack = on.plan.gallery.stacks[path]
        told = {name: (int(steps), int(depth)) for name, steps, depth in _COUNTED.findall(on.run(run["name"])["err"])}
        assert set(told) <= set(stack) and told
        # A `function` has a program more than is loaded.
        assert set(told) == set(stack) or any("trampoline" in name for name in stack)
        for name, (steps, depth) in told.items():
            assert 0 < steps <= STEPS, f"{name}: {steps}"
            assert depth <= min(512, -(-stack[name] // 32) * 32), f"{name}: {depth}, and it seems to use {stack[name]}"


def test_both_compilers(on: Results) -> None:
    used = {r["arguments"][1].split("/")[-2] for r in on.plan.runs if r["name"].startswith("gallery-")}
    assert used == set(COMPILERS)

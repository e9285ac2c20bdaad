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
Check = Callable[[Events, Facts, str], None]
CHECKS: dict[str, Check] = {}


def shows(check: Check) -> Check:
    CHECKS[check.__name__.strip("_")] = check
    return check


def part(event: Mapping[str, Any], names: str) -> dict[str, Any]:
    return {name: event[name] for name in names.split()}


def one(events: list[dict[str, Any]], **values: Any) -> dict[str, Any]:
    found = [e for e in events if all(e[k] == v for k, v in values.items())]
    assert len(found) == 1, f"{len(found)} events with {values}: {events}"
    return found[0]


@shows
def _chowns(events: Events, facts: Facts, series: str) -> None:
    assert [part(e, "file in to_user to_group return uid comm") for e in events["chown"]] == [
        {"file": "specc-of-another", "in": "/", "to_user": user, "to_group": group, "return": 0, "uid": 0,
         "comm": "triggers"}
        for user, group in ((1234567, 7654321), (-1, 4321))
    ]  # fmt: skip


@shows
def _connects(events: Events, facts: Facts, series: str) -> None:
    """In the order of the network, as the bytes are."""
    fact = facts["connects"]
    port = int.from_bytes(fact["port"].to_bytes(2, "big"), "little")
    assert (fact["accepted"], fact["refused"], fact["six"]) == (0, -111, -111)
    here = int.from_bytes(bytes((127, 0, 0, 2)), "little")
    assert [part(e, "address port return") for e in events["ipv4"]] == [
        {"address": here, "port": port, "return": 0},
        {"address": here, "port": port, "return": -111},
        {
            "address": int.from_bytes(bytes((192, 0, 2, 7)), "little"),
            "port": 443 << 8 & 0xFF00 | 1,
            "return": fact["unreachable"],
        },
    ]
    assert [part(e, "address port return") for e in events["ipv6"]] == [
        {"address": "0" * 31 + "1", "port": port, "return": -111}
    ]
    assert fact["unreachable"] < 0 and all(0 < e["latency"] < 10**10 for e in events[""])


@shows
def _failing(events: Events, facts: Facts, series: str) -> None:
    """By number in JSON: a key may be told in more than one interval."""
    counted: dict[tuple[Any, ...], int] = {}
    for record in events["failed"]:
        key = (record["comm"], record["call"], record["error"])
        counted[key] = counted.get(key, 0) + record["count"]
    fact = facts["failing"]
    wanted = {(3, -9): fact["closes"], (257, -2): fact["opens"], (83, -17): fact["mkdirs"]}
    for (call, error), count in wanted.items():
        assert counted["triggers", call, error] == count
    assert {comm for comm, _, _ in counted} == {"triggers"} and all(-4095 <= error < 0 for _, _, error in counted)


@shows
def _reads(events: Events, facts: Facts, series: str) -> None:
    """The reads that waited are in buckets of their own; the quick ones are all below."""
    fact = facts["reads"]
    buckets: dict[int, int] = {}
    for record in events["reads"]:
        assert record["comm"] == "triggers"
        for bucket in record["buckets"]:
            assert bucket["to"] == 2 * bucket["from"] >= 2000
            buckets[bucket["from"]] = buckets.get(bucket["from"], 0) + bucket["count"]
    waited = {low: n for low, n in buckets.items() if 2 * low > fact["slow_us"] * 1000 * 9 // 10}
    assert sum(waited.values()) >= fact["slow"]
    assert sum(buckets.values()) == sum(record["count"] for record in events["reads"]) >= fact["slow"]


@shows
def _files(events: Events, facts: Facts, series: str) -> None:
    before, after = one(events["read"], count=20), one(events["read_done"], count=20)
    assert (after["return"], before["file"]) == (20, after["file"])
    assert before["file"] >> 48 >= 0xFF00 and before["comm"] == "triggers" and before["mntns"] == after["mntns"] > 0


@shows
def _futex(events: Events, facts: Facts, series: str) -> None:
    fact = facts["futex"]
    passed = {"uaddr": fact["uaddr"], "op": 132, "val": 0x11, "uaddr2": fact["uaddr2"], "val3": 0x5A5A1234}
    event = one(events["do_futex"], uaddr=fact["uaddr"])
    assert part(event, "uaddr op val uaddr2 val3") == passed
    assert one(events["futex_done"], uaddr=fact["uaddr"], val3=0x5A5A1234)["return"] == 0


@shows
def _gup(events: Events, facts: Facts, series: str) -> None:
    event = one(events["gup"], start=facts["mlock"]["addr"])
    assert (event["nr_pages"], event["locked"] >> 48 >= 0xFF00, event["comm"]) == (37, True, "triggers")
    assert one(events["gup_done"], start=facts["mlock"]["addr"])["return"] == 37


@shows
def _opens(events: Events, facts: Facts, series: str) -> None:
    made = one(events["open"], filename="/dev/shm/specc-opens")
    assert part(made, "flags return") == {"flags": 0o2000102, "return": facts["opens"]["opened"]}
    failed = one(events["open"], filename="/dev/shm/specc-nowhere")
    assert part(failed, "flags return") == {"flags": 0o200000, "return": -2}
    assert all(0 < e["latency"] < 10**10 and e["comm"] == "triggers" for e in (made, failed))


# What mlock() passes for a private, writable area, and process_vm_readv(). Where FOLL_... were macros, BTF has no names.
_FOLL = {
    "5.10": ("0x1053", "0x42002"),
    "6.1": ("0x13", "0x42002"),
    "6.12": ("FOLL_WRITE|FOLL_TOUCH|FOLL_UNLOCKABLE", "FOLL_TOUCH|FOLL_REMOTE|FOLL_PIN|FOLL_UNLOCKABLE"),
    "7.2": ("FOLL_WRITE|FOLL_TOUCH|FOLL_UNLOCKABLE", "FOLL_TOUCH|FOLL_REMOTE|FOLL_PIN|FOLL_UNLOCKABLE"),
}
# The header is for kernels before 6.3. Since then most of the names are other bits, and these are left out.
_FOLL_MACROS = {
    "5.10": ("FOLL_WRITE|FOLL_TOUCH|FOLL_FORCE|FOLL_POPULATE|FOLL_MLOCK", "FOLL_TOUCH|FOLL_REMOTE|FOLL_PIN"),
    "6.1": ("FOLL_WRITE|FOLL_TOUCH|FOLL_FORCE", "FOLL_TOUCH|FOLL_REMOTE|FOLL_PIN"),
    "6.12": ("FOLL_WRITE|0x210000", "0x2d0000"),
    "7.2": ("FOLL_WRITE|0x210000", "0x2d0000"),
}


def _check_pins(events: Events, facts: Facts, flags: tuple[str, str]) -> None:
    calls = ((facts["mlock"]["addr"], 37), (facts["vmread"]["page"], 4))
    for (start, pages), named in zip(calls, flags, strict=True):
        event = one(events["pin"], start=start)
        assert part(event, "nr_pages flags pinned comm") == {
            "nr_pages": pages, "flags": named, "pinned": pages, "comm": "triggers",
        }  # fmt: skip


@shows
def _pins(events: Events, facts: Facts, series: str) -> None:
    _check_pins(events, facts, _FOLL[series])


@shows
def _pins_6_1(events: Events, facts: Facts, series: str) -> None:
    _check_pins(events, facts, _FOLL_MACROS[series])


@shows
def _rtc(events: Events, facts: Facts, series: str) -> None:
    assert events["rtc_tm_to_ktime"][0]["tm"] == TM
    done = next(e for e in events["result"] if e["tm"] == TM)
    assert done["return"] == 1996294028 * 10**9  # 2033-04-05 06:07:08


@shows
def _sockopt(events: Events, facts: Facts, series: str) -> None:
    fact = facts["setsockopt"]
    event = one(events["set"], level=6, optname=1)
    assert (event["optval"]["user"], event["optlen"]) == (fact["optval"], 12)
    fact = facts["getsockopt"]
    event = one(events["get"], level=0, optname=2)
    assert (event["optval"]["user"], event["length"]["user"]) == (fact["optval"], fact["optlen"])


@shows
def _tls(events: Events, facts: Facts, series: str) -> None:
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
    last = re.fullmatch(r"received (\d+)(?:, counted (\d+))?, lost 0", result["err"].splitlines()[-1])
    assert last and sum(int(n or 0) for n in last.groups()) > 0, result["err"]
    CHECKS[entry.spec](on.events(run), on.facts(run), on.plan.kernel.series)


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

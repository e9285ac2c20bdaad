"""One object, built once, on four kernels: values of known calls of functions that each declares in its own way."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from kernels.everywhere import CASES, MODULE_CASE, TRAMPOLINES, Everywhere, check
from kernels.functions import PAGE, Case, check_case
from kernels.plan import bpftool
from kernels.results import Results
from kernels.table import place_of
from specc.describe.reader import description_of
from specc.run.fill import fill

pytestmark = pytest.mark.slow

OBJECTS = ("one-clang", "one-zig")
ENOUGH = 20  # functions in the object of all kernels; by now there are 32, and sid's kernel moves


def _built(on: Results) -> Everywhere:
    if isinstance(on.plan.everywhere, str):
        pytest.skip(on.plan.everywhere)
    return on.plan.everywhere


def _check(on: Results, run: str, case: Case) -> None:
    built = _built(on)
    if case.function in built.skipped:
        pytest.skip(built.skipped[case.function])
    for suffix in ("", "_ret"):
        check(case, on.plan.kernel.series, built, suffix, on.events(run), on.facts(run)[case.trigger])


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
@pytest.mark.parametrize("run", OBJECTS)
def test_arguments(on: Results, run: str, case: Case) -> None:
    """At the entry, and at the return with what was saved at the entry."""
    _check(on, run, case)


@pytest.mark.parametrize("case", [c for c in CASES if c.function in TRAMPOLINES], ids=lambda c: c.name)
def test_trampolines(on: Results, case: Case) -> None:
    """fentry and fexit."""
    _check(on, "trampolines-of-all", case)


def test_the_kernels_were_given_the_same_bytes(on: Results) -> None:
    built = _built(on)
    runs = {r["name"]: r for r in on.plan.runs if r["name"] in built.objects and "command" not in r}
    assert {*OBJECTS, "trampolines-of-all", "elsewhere", "isra"} < runs.keys()
    for name in runs:
        assert on.run(name)["sum"] == built.sums[name]
    assert built.sums["one-clang"] != built.sums["one-zig"]


@pytest.mark.parametrize("run", [*OBJECTS, "trampolines-of-all", "elsewhere"])
def test_nothing_is_lost_and_nothing_stays(on: Results, run: str) -> None:
    _built(on)
    result = on.run(run)
    assert (result["code"], result["left"]) == (0, {}), result["err"]
    received = len(result["out"].splitlines())
    assert result["err"].splitlines()[-1] == f"received {received}, lost 0"
    assert received > 0


def test_the_functions_differ(on: Results) -> None:
    """Otherwise this file shows nothing: of each function, some argument is elsewhere on one kernel than on another, or
    is only on one."""
    built = _built(on)
    assert len(built.functions) >= ENOUGH, built.skipped
    for name, function in built.functions.items():
        every = [p[name] for p in built.prototypes.values()]
        places = {tuple(place_of(p, a) for a in (*function.args, *function.optional)) for p in every}
        assert len(places) > 1, name


LOCKED = {"5.10": "sp+8", "6.1": "sp+8", "6.12": "r9", "7.2": "r9"}


@pytest.mark.parametrize("run", [*OBJECTS, "elsewhere", "guard-old", "guard-new"])
def test_where_locked_is(on: Results, run: str) -> None:
    """What `specc run` sets, and shows: the place on each kernel, whatever the object was built for."""
    series = on.plan.kernel.series
    probes = description_of(_built(on).objects[run].read_bytes(), run).probes
    found = [p for p in probes if p.function == "__get_user_pages"]
    assert found
    for probe in found:
        filled = fill(probe, _built(on).prototypes[series]["__get_user_pages"])
        assert not filled.misfits
        field = filled.event.field("locked")
        assert field.place == LOCKED[series]
        assert (field.status is None) == (field.place == "r9")  # a register cannot fail to be read


def _pinned(on: Results, run: str) -> Mapping[str, Any]:
    start = on.facts(run)["mlock"]["addr"]
    (event,) = (e for e in on.events(run)["__get_user_pages"] if e["start"] == start)
    return event


def test_an_object_of_one_kernel_is_right_on_others(on: Results) -> None:
    """It was built for 6.12 alone, and `locked` is in a register there."""
    _built(on)
    event = _pinned(on, "elsewhere")
    assert (event["nr_pages"], event["locked"] >> 48 >= 0xFF00) == (37, True)
    assert event["locked"] % 4 == 0 and event["locked"] % PAGE != 0  # an `int` on a stack
    told = f"__get_user_pages on this kernel: start rsi, nr_pages rdx, locked {LOCKED[on.plan.kernel.series]}\n"
    assert told in on.run("elsewhere")["err"]


_OLD = ("5.10", "6.1")


def test_an_argument_that_is_not_there_is_refused(on: Results) -> None:
    """`vmas` of an object that was built for 5.10 alone."""
    _built(on)
    result = on.run("lacking")
    if on.plan.kernel.series in _OLD:
        assert (result["code"], _pinned(on, "lacking")["vmas"]) == (0, 0)
        return
    assert (result["code"], result["out"], result["left"]) == (1, "", {})
    assert "SP470 `__get_user_pages` of the running kernel does not have what the spec records" in result["err"]
    assert "no argument `vmas`: there are mm, start, nr_pages, gup_flags, pages, locked" in result["err"]


def test_an_argument_that_nobody_knew_is_refused(on: Results) -> None:
    """`vmas` is optional in an object that was built for 6.12 alone, so that no room was made for it."""
    _built(on)
    result = on.run("unforeseen")
    if on.plan.kernel.series not in _OLD:
        assert (result["code"], _pinned(on, "unforeseen")["vmas"]) == (0, None)
        return
    assert (result["code"], result["out"], result["left"]) == (1, "", {})
    assert "SP470 `__get_user_pages` of the running kernel does not have what the spec records" in result["err"]
    assert "`vmas` exists here, and on no kernel that this was compiled for" in result["err"]


def test_a_function_that_is_only_a_copy_of_the_compiler_is_refused(on: Results) -> None:
    """An object for 5.10 and 6.1 on the kernels that have `rtnl_fill_ifinfo.isra.0`."""
    _built(on)
    result = on.run("isra")
    if "rtnl_fill_ifinfo" in on.plan.functions:
        facts = on.facts("isra")["link"]
        (event,) = (e for e in on.events("isra")["rtnl_fill_ifinfo"] if e["seq"] == 0x5EED1234)
        wanted = {"type": 16, "pid": facts["port"], "ext_filter_mask": 9, "tgt_netnsid": -1, "gfp": 0xCC0}
        assert {n: event[n] for n in wanted} == wanted
        (event,) = (e for e in on.events("isra")["rtnl_fill_ifinfo_ret"] if e["seq"] == 0x5EED1234)
        assert (event["gfp"], event["return"], result["code"]) == (0xCC0, 0, 0)
        return
    assert (result["code"], result["out"], result["left"]) == (1, "", {})
    assert "SP441 in this kernel `rtnl_fill_ifinfo` exists only as `rtnl_fill_ifinfo.isra.0`" in result["err"]


@pytest.mark.parametrize(("run", "right_on"), [("guard-old", _OLD), ("guard-new", ("6.12", "7.2"))])
def test_another_loader_loads_it_only_where_it_is_right(on: Results, run: str, right_on: tuple[str, ...]) -> None:
    """bpftool sets no places, so they are those of the first target: 5.10, or 7.2."""
    _built(on)
    if bpftool() is None:
        pytest.skip("bpftool is not installed")
    result = on.run(run)
    if on.plan.kernel.series in right_on:
        assert result["code"] == 0, result["err"]
        return
    assert result["code"] != 0
    assert f"unknown#{0x7EACCED}" in result["err"], result["err"]


def test_a_function_of_a_module(on: Results) -> None:
    """Its prototype is in the module's own BTF, on top of the kernel's."""
    _built(on)
    if on.plan.kernel.series == "5.10":
        pytest.skip("Linux 5.10 has no BTF of modules (it came with 5.11)")
    facts = on.facts("module")[MODULE_CASE.trigger]
    for suffix in ("", "_ret"):
        names = frozenset({"cmd", "arg", "ifreq_len", *(["return"] if suffix else [])})
        case = dataclasses.replace(MODULE_CASE, sometimes=("return",))
        check_case(case, f"{case.function}{suffix}", on.events("module"), facts, names)
    assert (on.run("module")["code"], on.run("module")["left"]) == (0, {})


def test_names_are_those_of_the_kernel_that_runs(on: Results) -> None:
    """Linux 6.12 has an enum with the bits' names, in which `FOLL_TOUCH` is 0x10000. Before it they were macros, which no BTF
    tells, and `FOLL_TOUCH` was 2, which is `FOLL_GET` now: no name may be told of those kernels."""
    _built(on)
    result = on.run("names")
    assert (result["code"], result["left"]) == (0, {}), result["err"]
    found = on.events("names")["__get_user_pages"]
    assert found
    for event in found:
        if on.plan.kernel.series in ("5.10", "6.1"):
            assert event["number"] & 3 == 3 and event["gup_flags"] == hex(event["number"])
        else:
            assert event["number"] & 0x10001 == 0x10001
            words = event["gup_flags"].split("|")
            assert {"FOLL_WRITE", "FOLL_TOUCH"} <= set(words) and all(w.startswith("FOLL_") for w in words), words
            assert "names of __get_user_pages.gup_flags (`FOLL_`): " in result["err"]


def test_a_condition_on_a_constant_that_the_kernel_does_not_tell(on: Results) -> None:
    """Compiled for 6.12 alone, where `FOLL_TOUCH` is 0x10000."""
    _built(on)
    result = on.run("constant")
    if on.plan.kernel.series in ("5.10", "6.1"):
        assert (result["code"], result["out"], result["left"]) == (1, "", {})
        assert (
            "SP471 the condition of `__get_user_pages` may test something else on this kernel: `FOLL_TOUCH` is 65536 where "
            "it was compiled for, and this kernel's BTF does not have it\n"
        ) in result["err"]
    else:
        assert (result["code"], result["left"]) == (0, {}), result["err"]
        assert [e["nr_pages"] for e in on.events("constant")["__get_user_pages"]] == [37]

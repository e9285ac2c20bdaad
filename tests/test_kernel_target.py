"""Kernel functions against /proc/kallsyms and the blacklist, told from samples of both."""

from __future__ import annotations

from pathlib import Path

import pytest

from specc.describe import ProbeDescription
from specc.diagnostics import Report, Severity
from specc.ir import Event
from specc.run import kernel_target

KALLSYMS = """\
ffffffff81000000 T _text
ffffffff81000010 T do_mlock
ffffffff81000020 t type_show
ffffffff81000030 t type_show
ffffffff81000040 t type_show\t[nvme]
ffffffff81000050 t rtnl_fill_ifinfo.isra.0
ffffffff81000060 t rtnl_fill_ifinfo.isra.0.cold
ffffffff81000070 T copied
ffffffff81000080 t copied.constprop.0
ffffffff81000090 t copied.cold
ffffffff810000a0 D jiffies
ffffffff810000b0 T do_int3
ffffffff810000c0 T __x64_sys_mlock
ffffffff810000d0 t in_a_module\t[nvme]
ffffffff810000e0 W weak_one
"""
BLACKLIST = "0xffffffff810000b0-0xffffffff810000c0\tdo_int3\n"


def probe(kind: str, function: str) -> ProbeDescription:
    return ProbeDescription("p", kind, function, None, "s_p", None, None, (), Event("s_p_event", "p", 0, 8, ()))


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("KALLSYMS", KALLSYMS), ("BLACKLIST", BLACKLIST)):
        (tmp_path / name).write_text(text)
        monkeypatch.setattr(kernel_target, name, str(tmp_path / name))
    monkeypatch.setattr(kernel_target, "BTF", str(tmp_path / "none"))
    monkeypatch.setattr(kernel_target, "has_probes", lambda kind: True)


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize(
    ("kind", "function", "code", "words"),
    [
        ("kprobe", "do_mlock", None, ""),
        ("kprobe", "in_a_module", None, ""),
        ("kprobe", "weak_one", None, ""),
        ("ksyscall", "mlock", None, ""),
        ("kretsyscall", "mloc", "SP440", "has no system call `mloc`"),
        ("kprobe", "do_mloc", "SP440", "has no function `do_mloc`"),
        ("kprobe", "do_mloc.", "SP440", "has no function"),
        ("kprobe", "jiffies", "SP440", "is data"),
        ("kretprobe", "rtnl_fill_ifinfo", "SP441", "`rtnl_fill_ifinfo.isra.0`, `rtnl_fill_ifinfo.isra.0.cold`"),
        ("kprobe", "type_show", "SP442", "3 functions called `type_show`"),
        ("kprobe", "do_int3", "SP444", "blacklist"),
    ],
)
def test_functions(kind: str, function: str, code: str | None, words: str) -> None:
    report = Report()
    kernel_target.check_kernel([probe(kind, function)], lambda _: None, report, force=False)
    assert [d.code for d in report.diagnostics] == ([] if code is None else [code])
    assert all(words in d.message for d in report.diagnostics)


@pytest.mark.usefixtures("kernel")
def test_a_copy_beside_the_function_is_a_warning() -> None:
    report = Report()
    kernel_target.check_kernel([probe("kprobe", "copied")], lambda _: None, report, force=False)
    [found] = report.diagnostics
    assert (found.code, found.severity) == ("SP441", Severity.WARNING)
    assert "`copied.constprop.0`" in found.message and "cold" not in found.message


@pytest.mark.usefixtures("kernel")
def test_hints() -> None:
    report = Report()
    probes = [probe("kprobe", "do_mloc"), probe("ksyscall", "mloc")]
    kernel_target.check_kernel(probes, lambda _: None, report, force=False)
    assert [d.help for d in report.diagnostics] == ["did you mean `do_mlock`?", "did you mean `mlock`?"]


@pytest.mark.usefixtures("kernel")
def test_trampolines_need_btf() -> None:
    report = Report()
    kernel_target.check_kernel([probe("fentry", "do_mlock")], lambda _: None, report, force=False)
    assert [d.code for d in report.diagnostics] == ["SP424"]

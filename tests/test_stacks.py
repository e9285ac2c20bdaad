"""Stacks without a kernel: what frames are called, folded lines as flame graph tools read them, files by build ids."""

from __future__ import annotations

import csv
import io
import random
import struct
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from test_events import GOLDEN, described, program_of

from specc.batch import batch_of
from specc.describe import Description, describe
from specc.describe.reader import parse_description
from specc.diagnostics import Stop
from specc.elf import STT_FUNC, Symbol
from specc.events import open_writer
from specc.events.stacks import Frame, Stacks
from specc.run import demangle
from specc.run.code_files import CodeFiles, Functions, mapped_code
from specc.run.demangle import demangled
from specc.run.stacks import kernel_frames, tracepoint_frames, trampoline_frames, user_frames
from specc.run.symbols import Symbols

KALLSYMS = b"""\
ffffffff81000000 T vfs_read
ffffffff81000100 t panic_now
ffffffff81000180 T kretprobe_trampoline
ffffffff81000200 T ksys_read
ffffffff81000300 T traced
ffffffff81000400 d table
ffffffff81000500 T bpf_trace_run2
ffffffff81000600 t __bpf_trace_sys_exit
ffffffff81000700 T __traceiter_sys_exit
ffffffff81000800 T work
ffffffffa0000000 t of_module\t[some_module]
ffffffffc0000000 t bpf_trampoline_1\t[bpf]
"""
BASE = 0xFFFFFFFF81000000


@pytest.fixture
def symbols() -> Symbols:
    return Symbols(io.BytesIO(KALLSYMS))


def raw(*addresses: int) -> bytes:
    return struct.pack(f"<{len(addresses)}Q", *addresses).ljust(127 * 8, b"\0")


@pytest.mark.parametrize(
    ("addresses", "texts"),
    [
        ((BASE, BASE + 0x26B), ["vfs_read", "ksys_read+0x6b"]),
        ((BASE + 5, 0xFFFFFFFFA0000010), ["vfs_read+0x5", "of_module+0x10 [some_module]"]),
        # A call that does not return is the last of its function: it was running, and not what is behind it.
        ((BASE + 1, BASE + 0x180 + 0x80), ["vfs_read+0x1", "kretprobe_trampoline+0x80"]),
        ((BASE + 1, BASE + 0x100), ["vfs_read+0x1", "vfs_read+0x100"]),
        # What a return probe puts in place of a return address begins a function, and is returned to.
        ((BASE + 1, BASE + 0x180), ["vfs_read+0x1", "kretprobe_trampoline"]),
        ((BASE + 0x404, BASE + 0x405), [f"{BASE + 0x404:#x}", f"{BASE + 0x405:#x}"]),  # data
        ((0x1000,), ["0x1000"]),
        ((), []),
    ],
)
def test_frames_of_the_kernel(addresses: Sequence[int], texts: list[str], symbols: Symbols) -> None:
    assert [f.text for f in kernel_frames(raw(*addresses), symbols)] == texts


def test_as_deep_as_the_kernel_goes(symbols: Symbols) -> None:
    frames = [f.text for f in kernel_frames(raw(*[BASE + 8] * 127), symbols)]
    assert frames == ["vfs_read+0x8"] * 127 + ["[at most 127 frames]"]
    assert len([*kernel_frames(raw(*[BASE + 8] * 126), symbols)]) == 126


def test_without_the_kernels_symbols() -> None:
    assert [f.text for f in kernel_frames(raw(BASE, 5), None)] == [f"{BASE:#x}", "0x5"]
    assert [f.text for f in trampoline_frames(raw(7, BASE), None, "traced")] == ["traced", f"{BASE:#x}"]


@pytest.mark.parametrize(
    ("addresses", "texts"),
    [
        # The trampoline was called from the function's first bytes, or from those behind an endbr64, ...
        ((0xFFFFFFFFC0000040, BASE + 0x305, BASE + 0x210), ["traced", "ksys_read+0x10"]),
        ((0xFFFFFFFFC0000040, BASE + 0x309, BASE + 0x210), ["traced", "ksys_read+0x10"]),
        # ... or jumped to, and the function's caller comes next, which may be the function itself.
        ((0xFFFFFFFFC0000040, BASE + 0x210), ["traced", "ksys_read+0x10"]),
        ((0xFFFFFFFFC0000040, BASE + 0x340, BASE + 0x210), ["traced", "traced+0x40", "ksys_read+0x10"]),
        ((0xFFFFFFFFC0000040, BASE + 0x305, BASE + 0x340), ["traced", "traced+0x40"]),
    ],
)
def test_frames_behind_a_trampoline(addresses: Sequence[int], texts: list[str], symbols: Symbols) -> None:
    assert [f.text for f in trampoline_frames(raw(*addresses), symbols, "traced")] == texts


@pytest.mark.parametrize(
    ("addresses", "texts"),
    [
        ((BASE + 0x510, BASE + 0x610, BASE + 0x710, BASE + 0x810, BASE + 0x210), ["work+0x10", "ksys_read+0x10"]),
        # A tracepoint with one program calls it directly.
        ((BASE + 0x510, BASE + 0x610, BASE + 0x810), ["work+0x10"]),
        ((0xFFFFFFFFC0000040, BASE + 0x510, BASE + 0x810, BASE + 0x510), ["work+0x10", "bpf_trace_run2+0x10"]),
        ((BASE + 0x810,), ["work+0x10"]),
        ((), []),
    ],
)
def test_frames_behind_a_tracepoint(addresses: Sequence[int], texts: list[str], symbols: Symbols) -> None:
    assert [f.text for f in tracepoint_frames(raw(*addresses), symbols)] == texts


@pytest.mark.parametrize("first", [0xFFFFFFFFC0000040, BASE + 0x210])
def test_as_deep_as_the_kernel_goes_behind_a_trampoline(first: int, symbols: Symbols) -> None:
    frames = [f.text for f in trampoline_frames(raw(first, *[BASE + 0x210] * 126), symbols, "traced")]
    others = 126 if first != BASE + 0x210 else 127
    assert frames == ["traced", *["ksys_read+0x10"] * others, "[at most 127 frames]"]


# --- the functions of a file ------------------------------------------------------------------------------------------


def function(name: str, start: int, size: int, *, local: bool = False, kind: int = STT_FUNC) -> Symbol:
    return Symbol(name, None, True, kind, local, start, size)


def test_an_address_is_in_a_function_or_in_none() -> None:
    functions = Functions(
        [
            function("__read", 0x100, 0x20), function("read", 0x100, 0x20), function("local", 0x100, 0x20, local=True),
            function("outer", 0x200, 0x100), function("part", 0x220, 0x10), function("later", 0x400, 1),
            function("data", 0x380, 0x10, kind=1), function("nothing", 0x3A0, 0),
        ]
    )  # fmt: skip
    wanted = {
        0xFF: None, 0x100: "read", 0x11F: "read", 0x120: None, 0x200: "outer", 0x21F: "outer", 0x220: "part",
        0x22F: "part", 0x230: "outer", 0x2FF: "outer", 0x300: None, 0x380: None, 0x3A0: None, 0x400: "later", 0x401: None,
    }  # fmt: skip
    assert {a: (s := functions.at(a)) and s.name for a in wanted} == wanted


def test_random_functions() -> None:
    """Against a look at each: of those that hold an address, the one that begins last."""
    rng = random.Random(7)
    for _ in range(200):
        starts = rng.sample(range(100), rng.randint(1, 20))
        made = [function(f"f{s}", s, rng.choice((0, 1, 3, 10, 60))) for s in starts]
        functions = Functions(made)
        for address in range(110):
            holding = [s for s in made if s.value <= address < s.value + s.size]
            found = functions.at(address)
            assert found == (max(holding, key=lambda s: s.value) if holding else None)


def build_id_row(status: int, build: bytes, place: int) -> bytes:
    return struct.pack("<i20sQ", status, build, place)


def test_frames_of_a_process(tmp_path: Path) -> None:
    source, program = tmp_path / "p.c", tmp_path / "p"
    source.write_text("int f(int a) { return a + 1; }\nint main(int n, char **v) { return f(n); }\n")
    build = "0123456789abcdef"  # shorter than the kernel has room for
    subprocess.run(["gcc", "-O0", f"-Wl,--build-id=0x{build}", source, "-o", program], check=True)
    names = subprocess.run(["nm", "-S", program], capture_output=True, text=True, check=True).stdout
    start, size = next([int(w, 16) for w in line.split()[:2]] for line in names.splitlines() if line.endswith(" T f"))
    own = bytes.fromhex(build).ljust(20, b"\0")
    rows = [
        (1, own, start), (1, own, start + 7), (1, own, start + size), (1, own, (1 << 64) - 4096), (1, own, 16),
        (2, bytes(20), 0x7F0000001234), (1, b"\xaa" * 20, 0x10),
    ]  # fmt: skip
    data = b"".join(build_id_row(*row) for row in rows).ljust(127 * 32, b"\0")
    (tmp_path / "proc").mkdir()
    files = CodeFiles([str(program)], proc=str(tmp_path / "proc"))
    assert [f.text for f in user_frames(data, files)] == [
        "f [p]", "f+0x7 [p]", f"f+{size:#x} [p]", "[not code]", "[not code]", "0x7f0000001234", f"[{'aa' * 20}+0x10]",
    ]  # fmt: skip


NAMES = [
    # what the linker has, and what C++ declares (Itanium C++ ABI 5.1)
    ("_ZN4http6Parser4feedEPKcm", "http::Parser::feed(char const*, unsigned long)"),
    ("_ZNSt6vectorIiSaIiEE9push_backERKi", "std::vector<int, std::allocator<int> >::push_back(int const&)"),
    ("_ZN1aC1Ev", "a::a()"),
    ("_Z1fi.isra.0", "f(int).isra.0"),
    ("_Z", "_Z"),
    ("_Zebra", "_Zebra"),
    ("_ZN1", "_ZN1"),
    ("SSL_write", "SSL_write"),
    ("f.cold", "f.cold"),
    ("\xe4", "\xe4"),
]


@pytest.mark.parametrize(("linked", "declared"), NAMES)
def test_names_of_cpp(linked: str, declared: str) -> None:
    if demangle._function() is None and linked != declared:
        pytest.skip("no C++ run-time library is here, so names stay as they are")
    assert demangled(linked) == declared


def test_names_of_cpp_without_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demangle, "_function", lambda: None)
    demangled.cache_clear()
    assert demangled("_ZN1aC1Ev") == "_ZN1aC1Ev"
    demangled.cache_clear()


def test_frames_of_cpp(tmp_path: Path) -> None:
    source, program = tmp_path / "p.c", tmp_path / "p"
    source.write_text(
        'int f(int a) __asm__("_ZN1n1fEi"); int f(int a) { return a; }\nint main(void) { return f(0); }\n'
    )
    subprocess.run(["gcc", "-O0", "-Wl,--build-id=0x0123", source, "-o", program], check=True)
    names = subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout
    start = next(int(line.split()[0], 16) for line in names.splitlines() if line.endswith(" T _ZN1n1fEi"))
    data = build_id_row(1, b"\x01\x23".ljust(20, b"\0"), start).ljust(127 * 32, b"\0")
    (tmp_path / "proc").mkdir()
    files = CodeFiles([str(program)], proc=str(tmp_path / "proc"))
    name = "n::f(int)" if demangle._function() else "_ZN1n1fEi"
    assert [(f.text, f.name) for f in user_frames(data, files)] == [(f"{name} [p]", name)]


def test_mapped_code(tmp_path: Path) -> None:
    (tmp_path / "maps").write_text(
        "55d0000-55d1000 r--p 00000000 fe:00 11                  /bin/a\n"
        "55d1000-55d2000 r-xp 00001000 fe:00 11                  /bin/a\n"
        "7f00000-7f01000 r-xp 00000000 fe:00 12                  /lib/with a space.so (deleted)\n"
        "7f10000-7f11000 r-xp 00000000 00:00 0 \n"
        "7f20000-7f21000 r-xp 00000000 00:00 0                  [vdso]\n"
    )
    assert list(mapped_code(str(tmp_path / "maps"))) == [
        (0x55D1000, 0x55D2000, "fe:00", 11, "/bin/a"),
        (0x7F00000, 0x7F01000, "fe:00", 12, "/lib/with a space.so (deleted)"),
    ]
    assert list(mapped_code(str(tmp_path / "none"))) == []


# --- writers ----------------------------------------------------------------------------------------------------------


def description() -> Description:
    return described(program_of(GOLDEN / "stacks" / "spec.yaml"))


def record(description: Description, probe: str, comm: bytes, **stacks: int) -> bytes:
    """A record with stacks by their ids, or by negative errnos."""
    event = next(p.event for p in description.probes if p.name == probe)
    made = bytearray(event.size)
    made[:4] = event.number.to_bytes(4, "little")
    offset = event.field("comm").offset
    made[offset : offset + len(comm)] = comm
    for name, id in stacks.items():
        struct.pack_into("<i", made, event.field(f"{name}_error").offset, min(id, 0))
        struct.pack_into("<I", made, event.field(name).offset, max(id, 0))
    return bytes(made)


FRAMES = {
    1: (Frame("vfs_read+0x5", "vfs_read"), Frame("ksys_read+0x6b", "ksys_read")),
    2: (Frame("inner [p]", "inner"), Frame("main+0x4 [p]", "main")),
    3: (Frame("inner [p]", "inner"), Frame("main+0x9 [p]", "main")),
    4: (Frame("odd;name\n [p]", "odd;name\n"), Frame("[p+0x5]", "[p]")),
}


def written(format_: str, records: Sequence[bytes]) -> str:
    known = Stacks(FRAMES.__getitem__)
    stacks = {p.name: {"kernel_stack": known, "user_stack": known} for p in description().probes}
    out = io.StringIO()
    writer = open_writer(format_, description(), out, stacks=stacks)
    for one in records:
        assert writer.write(batch_of([one])) == 1
    writer.close()
    return out.getvalue()


def test_folded_lines() -> None:
    given = [
        record(description(), "vfs_read", b"cat", kernel_stack=1, user_stack=2),
        record(description(), "vfs_read", b"cat", kernel_stack=1, user_stack=3),  # which differs in an offset only
        record(description(), "vfs_read", b"dog", kernel_stack=-17, user_stack=2),
        record(description(), "allocated", b"a b", user_stack=4),
        record(description(), "allocated", b"a b", user_stack=-14),
        record(description(), "vfs_read", b"cat", kernel_stack=1, user_stack=2),
    ]
    found = Counter[tuple[str, ...]]()
    for line in written("folded", given).splitlines():
        path, _, count = line.rpartition(" ")
        found[tuple(path.split(";"))] += int(count)
    assert found == {
        ("vfs_read", "cat", "main", "inner", "ksys_read_[k]", "vfs_read_[k]"): 3,
        ("vfs_read", "dog", "main", "inner", "[no kernel_stack: EEXIST]_[k]"): 1,
        ("allocated", "a b", "[p]", r"odd\x3bname\x0a"): 1,
        ("allocated", "a b", "[no user_stack: EFAULT]"): 1,
    }


def test_csv_and_table() -> None:
    given = [
        record(description(), "vfs_read", b"cat", kernel_stack=1, user_stack=-17),
        record(description(), "allocated", b"cat", user_stack=4),
    ]
    rows = list(csv.DictReader(io.StringIO(written("csv", given))))
    assert [(r["kernel_stack"], r["kernel_stack_error"], r["user_stack"], r["user_stack_error"]) for r in rows] == [
        ("vfs_read+0x5;ksys_read+0x6b", "", "", "EEXIST"), ("", "", r"odd\x3bname\x0a [p];[p+0x5]", ""),
    ]  # fmt: skip
    lines = written("table", given).splitlines()
    assert [line for line in lines if line.startswith("    ")] == [
        "    vfs_read+0x5", "    ksys_read+0x6b", "    !user_stack: EEXIST", r"    odd;name\n [p]", "    [p+0x5]",
    ]  # fmt: skip


def test_an_object_that_says_something_else_of_its_stacks() -> None:
    text = describe(program_of(GOLDEN / "stacks" / "spec.yaml"))
    assert parse_description(text).stack_maps == {
        "kernel_stack": "stacks_kernel_stacks", "user_stack": "stacks_user_stacks",
    }  # fmt: skip
    for before, after in (
        ('"role": "stack", "status": "user_stack_error"', '"role": "stack"'),
        ('"name": "user_stack", ', '"name": "other_stack", '),
        ('"as": "__u32", "role": "stack"', '"as": "__s32", "role": "stack"'),
    ):
        assert before in text
        with pytest.raises(Stop, match="is no stack"):
            parse_description(text.replace(before, after, 1))
    for before, after in (
        ('"as": "__u64", "role": "space"', '"as": "__u64", "count": 1, "role": "space"'), ('"name": "pid", ', '"name": "tid", ')
    ):  # fmt: skip
        assert before in text
        with pytest.raises(Stop, match="tells no address space"):
            parse_description(text.replace(before, after))

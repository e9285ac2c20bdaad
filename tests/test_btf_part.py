"""Parts of a BTF: what they keep, that they answer as the whole does, and that others take them for BTF."""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import os
import random
import shutil
import struct
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from btf_writer import Writer
from kernel_sources import cache_dir

from specc.abi import place_arguments
from specc.btf import RUNNING, Btf
from specc.btf import blob as B
from specc.btf.extract import extract
from specc.btf.part import merged, part_of, types_named
from specc.diagnostics import Stop
from specc.noun import replace
from specc.prototype import Array, CType, Enum, Record, Typedef, Unknown, bare, spell_prototype

SEED = int(os.environ["SPECC_SEED"])


def small_kernel() -> Writer:
    w = Writer()
    i = w.int("int", 4, signed=True)
    w.int("signed char", 1, signed=True)
    c = w.int("char", 1)
    w.int("long unsigned int", 8)
    page = w.record("struct", "page", 8, [("flags", i, 0), ("next", w.ptr(w.count + 1), 32)])  # itself, by a pointer
    path = w.record("struct", "path", 16, [("mnt", w.ptr(page), 0), ("n", i, 64), ("c", c, 96)])
    anonymous = w.record("struct", "", 4, [("counter", i, 0)])
    atomic = w.typedef("atomic_t", anonymous)
    path_t = w.typedef("path_t", path)
    color = w.enum("color", [("RED", -1), ("BLUE", 7)], signed=True)
    w.enum("shade", [("BLUE", 8), ("GREY", 1)])
    w.enum("other", [("GREEN", 3)])
    w.func("by_value", w.proto(i, [("p", path), ("e", color)]))
    w.func("by_pointer", w.proto(i, [("p", w.ptr(w.const(path))), ("a", w.ptr(atomic)), ("t", w.ptr(path_t))]))
    w.func("by_typedef", w.proto(path_t, [("v", w.array(i, 4))]))
    w.func("callback", w.proto(0, [("f", w.ptr(w.proto(i, [("", path), ("", w.ptr(page)), ("", 0)])))]))
    w.func("twice", w.proto(0, [("a", i)]))
    w.func("twice", w.proto(0, [("b", c)]))
    w.func("copied", w.proto(0, [("a", i)]))
    w.func("copied.isra.0", w.proto(0, [("a", i)]))
    w.func("only.constprop.0", w.proto(0, [("a", i)]))
    w.func("variadic", w.proto(i, [("f", w.ptr(c)), ("", 0)]))
    w.func("nothing", w.proto(0, []))
    w.var("v", i)
    w.decl_tag("bpf_kfunc", w.first_id)
    return w


def whole() -> Btf:
    return Btf(small_kernel().bytes(), "kernel")


def answer(action: Callable[[], object]) -> object:
    """What it gives, or the code of its refusal."""
    try:
        return action()
    except Stop as problem:
        return problem.diagnostic.code


def tags(btf: Btf, kind: int) -> list[str]:
    return [btf.blob.text(btf.blob.record(i).name_offset) for i in btf.blob.ids_of_kind({kind})]


# ---- what is kept -------------------------------------------------------------------------------------------------

KEPT = [
    # functions, types, records that are complete, records that are declared
    (["by_value"], [], ["path"], ["page"]),
    (["by_pointer"], [], [""], ["path"]),
    (["by_pointer"], ["struct path"], ["path", ""], ["page"]),
    (["by_pointer"], ["path"], ["path", ""], ["page"]),
    (["by_pointer"], ["path_t"], ["path", ""], ["page"]),
    (["by_typedef"], [], ["path"], ["page"]),
    (["callback"], [], ["path"], ["page"]),
    (["nothing"], [], [], []),
    ([], ["struct page"], ["page"], []),
]


@pytest.mark.parametrize(("functions", "types", "complete", "declared"), KEPT)
def test_records_by_value_are_whole_and_others_declared(
    functions: list[str], types: list[str], complete: list[str], declared: list[str]
) -> None:
    part = Btf(part_of(whole(), functions, types), "kernel")
    assert part.functions() == functions
    assert (tags(part, B.STRUCT), tags(part, B.FWD)) == (complete, declared)
    assert tags(part, B.INT) == ["int", "signed char", "char", "long unsigned int"]
    assert tags(part, B.VAR) + tags(part, B.DECL_TAG) == []


@pytest.mark.parametrize("name", whole().functions())
def test_a_part_declares_as_the_whole_does(name: str) -> None:
    part = Btf(part_of(whole(), [name]), "kernel")
    assert answer(lambda: part.prototype(name)) == answer(lambda: whole().prototype(name))
    assert part.find(name) == whole().find(name)


def test_what_is_refused_stays_refused() -> None:
    part = Btf(part_of(whole(), ["twice", "copied"]), "kernel")
    assert answer(lambda: part.prototype("twice")) == "SP235"
    assert answer(lambda: part.prototype("copied.isra.0")) == "SP237"
    assert part.functions() == ["twice", "copied", "copied.isra.0"]


@pytest.mark.parametrize(
    ("functions", "types", "code", "hint"),
    [
        (["by_valeu"], [], "SP234", "`by_value`"),
        (["path"], [], "SP234", "function"),
        (["only"], [], "SP234", "a function that calls it"),
        (["by_value.isra.0"], [], "SP237", "a function that calls it"),
        ([], ["struct pathe"], "SP238", "`path`"),
        ([], ["union path"], "SP238", ""),
        ([], ["struct nothing"], "SP238", ""),
        ([], [""], "SP238", ""),
    ],
)
def test_what_is_not_there(functions: list[str], types: list[str], code: str, hint: str) -> None:
    with pytest.raises(Stop) as caught:
        part_of(whole(), functions, types)
    assert caught.value.diagnostic.code == code
    assert hint in (caught.value.diagnostic.help or "")


def test_char_stays_what_signed_char_tells() -> None:
    for marked in (True, False):  # pahole before 1.21 marked neither
        w = Writer()
        c = w.int("char", 1)
        w.func("f", w.proto(0, [("c", c)]))
        w.int("signed char", 1, signed=marked)
        kernel = Btf(w.bytes(), "kernel")
        part = Btf(part_of(kernel, ["f"]), "kernel")
        assert part.prototype("f") == kernel.prototype("f")
        assert part.prototype("f").parameters[0].type.signed is not marked  # type: ignore[union-attr]


def test_constants_by_their_beginning() -> None:
    """Anonymous enums, as many as there are, and each whole; a constant with two values stays refused."""
    w = Writer()
    i = w.int("int", 4, signed=True)
    w.func("f", w.proto(i, [("flags", i)]))
    w.enum("", [("FOLL_WRITE", 1), ("OTHER", 2)])
    w.enum("named", [("FOLL_PIN", 1 << 19)])
    w.enum("", [("FOLLOW", 3)])
    whole = Btf(w.bytes(), "whole")
    part = Btf(part_of(whole, ["f"], prefixes=["FOLL_", "NONE_"]), "part")
    assert part.constants("FOLL_") == whole.constants("FOLL_") == (("FOLL_WRITE", 1), ("FOLL_PIN", 1 << 19))
    assert [part.constant(n) for n in ("OTHER", "FOLLOW")] == [2, None]
    assert Btf(part_of(whole, ["f"]), "part").constants("FOLL_") == ()
    w.enum("", [("FOLL_PIN", 5), ("X", 6)])
    doubtful = Btf(w.bytes(), "whole")
    part = Btf(part_of(doubtful, ["f"], prefixes=["FOLL_"]), "part")
    assert answer(lambda: part.constants("FOLL_")) == answer(lambda: doubtful.constants("FOLL_")) == "SP235"
    assert part.constant("X") == 6


@pytest.mark.parametrize("told", ["flag", "enum64", "no"])
def test_whether_enums_have_signs_is_kept(told: str) -> None:
    w = Writer()
    w.func("f", w.proto(0, [("e", w.enum("e", [("A", -22)]))]))
    if told == "flag":
        w.enum("large", [(f"L{n}", n) for n in range(50)], signed=True)
        w.enum("small", [("B", -1)], signed=True)
    if told == "enum64":
        w.enum64("wide", [("C", 1 << 40)])
    kernel = Btf(w.bytes(), "kernel")
    part = Btf(part_of(kernel, ["f"]), "kernel")
    made = bare(part.prototype("f").parameters[0].type)
    assert made == Enum("e", 4, told == "no", (("A", -22 if told == "no" else 2**32 - 22),))
    assert part.enum("large") is None


def test_names_that_are_nobodys_choice_stay_so() -> None:
    w = Writer()
    i = w.int("int", 4, signed=True)
    first = w.record("struct", "s", 4, [("a", i, 0)])
    w.record("struct", "s", 8, [("a", i, 0), ("b", i, 32)])
    t = w.typedef("t", i)
    w.typedef("t", w.int("long int", 8, signed=True))
    w.func("f", w.proto(0, [("s", first), ("t", w.ptr(t)), ("e", w.enum("e", [("A", 1), ("B", 2)]))]))
    w.enum("", [("B", 3), ("C", 4)])
    w.enum("", [("C", 5)])
    w.enum("", [("A", 1), ("D", 9)])  # the same value: nothing that contradicts
    kernel = Btf(w.bytes(), "kernel")
    part = Btf(part_of(kernel, ["f"]), "kernel")
    for ask in (
        lambda b: b.complete("struct", "s"), lambda b: b.typedef("t"), lambda b: b.constant("A"),
        lambda b: b.constant("B"), lambda b: b.constant("C"),
    ):  # fmt: skip
        assert answer(lambda ask=ask: ask(part)) == answer(lambda ask=ask: ask(kernel))  # type: ignore[misc]
    assert part.constant("D") is None
    assert (answer(lambda: part.complete("struct", "s")), answer(lambda: part.constant("C"))) == ("SP235", "SP235")


def test_records_of_one_name_are_declared_once() -> None:
    w = Writer()
    i = w.int("int", 4, signed=True)
    a, b = w.record("struct", "s", 4, [("a", i, 0)]), w.record("struct", "s", 4, [("b", i, 0)])
    far, union = w.fwd("s"), w.fwd("s", union=True)
    w.func("f", w.proto(0, [(n, w.ptr(t)) for n, t in (("a", a), ("b", b), ("c", far), ("d", union))]))
    part = Btf(part_of(Btf(w.bytes(), "kernel"), ["f"]), "kernel")
    assert [part.blob.record(i).flag for i in part.blob.ids_of_kind({B.FWD})] == [False, True]
    assert spell_prototype(part.prototype("f")) == "void f(struct s *a, struct s *b, struct s *c, union s *d)"


def test_the_same_part_whatever_the_order() -> None:
    names = ["by_value", "callback", "twice", "by_pointer"]
    made = {part_of(whole(), order) for order in (names, names[::-1], [*names, *names])}
    assert len(made) == 1


def test_a_part_of_a_part_is_the_same_part() -> None:
    once = part_of(whole(), ["by_value", "twice"], ["struct page"])
    assert part_of(Btf(once, "kernel"), ["by_value", "twice"], ["struct page"]) == once


def test_a_module_becomes_one_with_its_base() -> None:
    kernel = small_kernel()
    module = Writer(base=kernel)
    i = module.int("long int", 8, signed=True)
    path = tag_id(kernel, "path")
    own = module.record("struct", "own", 24, [("p", path, 0), ("n", i, 128)])
    module.func("mod", module.proto(i, [("o", own), ("q", module.ptr(path))]))
    module.func("twice", module.proto(i, []))
    base = Btf(kernel.bytes(), "kernel")
    btf = Btf(module.bytes(), "mod", base)
    for data in (part_of(btf, ["mod", "twice"]), merged(btf)):
        part = Btf(data, "mod")
        assert part.base is None
        assert part.prototype("mod") == btf.prototype("mod")
    assert Btf(merged(btf), "mod").functions() == ["mod", "twice"]
    part = Btf(part_of(btf, ["mod", "twice"]), "mod")
    assert [replace(p, source="") for p in part.find("twice")] == [replace(p, source="") for p in btf.find("twice")]
    assert answer(lambda: part.prototype("twice")) == "SP235"


def test_a_part_that_would_say_something_else_is_refused() -> None:
    """A module and its base that disagree on `char`: each is read by its own, and a part has but one."""
    kernel = Writer()
    c = kernel.int("char", 1)
    kernel.int("signed char", 1, signed=True)
    kernel.func("k", kernel.proto(0, [("c", c)]))
    module = Writer(base=kernel)
    own = module.int("char", 1)
    module.int("signed char", 1)
    module.func("m", module.proto(0, [("c", own)]))
    btf = Btf(module.bytes(), "m", Btf(kernel.bytes(), "kernel"))
    assert answer(lambda: part_of(btf, ["m"])) == "SP239"
    assert Btf(part_of(btf, ["k"]), "k").prototype("k").parameters == btf.prototype("k").parameters


def tag_id(w: Writer, tag: str) -> int:
    return Btf(w.bytes(), "x").blob.ids_named(tag, {B.STRUCT})[0]


def test_damage_gives_nothing_but_diagnostics() -> None:
    sample, rng = small_kernel().bytes(), random.Random(SEED)
    made = 0
    for _ in range(1500):
        data = bytearray(sample)
        for _ in range(rng.choice((1, 1, 3))):
            at = rng.randrange(24, len(data))
            data[at] = rng.choice((0, 1, 5, 0xFF, data[at] ^ 1 << rng.randrange(8)))
        try:
            btf = Btf(bytes(data), "fuzz")
            name = rng.choice(whole().functions())
            part = part_of(btf, [name], rng.choice(([], ["path"])))
        except Stop as stopped:
            assert stopped.diagnostic.code in {"SP232", "SP233", "SP234", "SP235", "SP236", "SP237", "SP238", "SP239"}
            continue
        made += 1
        assert Btf(part, "fuzz").find(name) == btf.find(name)
    assert made > 100


# ---- whole kernels ------------------------------------------------------------------------------------------------

SERIES = {"5.10": "bullseye", "6.1": "bookworm", "6.12": "trixie", "7.2": "sid"}
KERNELS = ["running", *SERIES]
_OPENED: dict[str, Btf] = {}


def lab_image(series: str) -> Path:
    """The image of a kernel that the kernel tests run on, where they have fetched it."""
    folder = cache_dir() / "kernels" / SERIES[series]
    current = folder / "current.json"
    if not current.is_file():
        pytest.skip(f"the kernel tests have not fetched {series} yet (make test-kernels)")
    root = folder / json.loads(current.read_text())["root"]
    found = [*root.glob("boot/vmlinuz-*"), *root.glob("usr/lib/modules/*/vmlinuz")]
    if not found:
        pytest.skip(f"no kernel image in {root.name}")
    return found[0]


def kernel(series: str) -> Btf:
    if series not in _OPENED:
        if series == "running":
            if not RUNNING.exists():
                pytest.skip("this machine has no BTF of its kernel")
            data = RUNNING.read_bytes()
        else:
            image = lab_image(series)
            data = extract(image.read_bytes(), image.name).data
        _OPENED[series] = Btf(data, "vmlinux")
    return _OPENED[series]


def by_value(ctype: CType) -> bool:
    return isinstance(bare(ctype), Record | Enum | Array | Unknown)


def interesting(btf: Btf) -> tuple[list[str], list[str]]:
    """Functions that pass something else than integers and pointers, and names of several functions."""
    values: dict[str, None] = {}
    names: dict[str, int] = {}
    for p in btf.prototypes():
        names[p.name] = names.get(p.name, 0) + 1
        if any(by_value(t) for t in (p.result, *(a.type for a in p.parameters))):
            values[p.name] = None
    return list(values), [n for n, count in names.items() if count > 1]


def same(part: Btf, btf: Btf, name: str) -> None:
    ours, theirs = part.find(name), btf.find(name)
    assert ours == theirs and ours
    assert [place_arguments(p, kernel=True) for p in ours] == [place_arguments(p, kernel=True) for p in theirs]
    assert answer(lambda: part.prototype(name)) == answer(lambda: btf.prototype(name))


@pytest.mark.parametrize("series", KERNELS)
def test_parts_of_kernels_answer_as_the_whole(series: str) -> None:
    btf = kernel(series)
    values, shared = interesting(btf)
    rng = random.Random(SEED)
    names = [*rng.sample(btf.functions(), 60), *_some(values, 40, rng), *_some(shared, 20, rng)]
    sizes = []
    for name in names:
        data = part_of(btf, [name])
        sizes.append(len(data))
        same(Btf(data, "vmlinux"), btf, name)
    assert sorted(sizes)[len(sizes) // 2] < 2000


@pytest.mark.parametrize("series", KERNELS)
def test_a_large_part_of_a_kernel(series: str, tmp_path: Path) -> None:
    """A thousand functions in one part; every type and constant that it has by name is the whole's, or is refused."""
    btf = kernel(series)
    values, shared = interesting(btf)
    rng = random.Random(SEED + 1)
    names = list(
        dict.fromkeys([*rng.sample(btf.functions(), 1000), *_some(values, 500, rng), *_some(shared, 300, rng)])
    )
    data = part_of(btf, names)
    part = Btf(data, "vmlinux")
    for name in names:
        same(part, btf, name)
    for kind, ask in (
        (B.STRUCT, lambda b, n: b.complete("struct", n)),
        (B.UNION, lambda b, n: b.complete("union", n)),
        (B.ENUM, lambda b, n: b.enum(n)),
        (B.ENUM64, lambda b, n: b.enum(n)),
        (B.INT, lambda b, n: b.type_named(n)),
    ):
        for tag in _some([t for t in dict.fromkeys(tags(part, kind)) if t], 300, rng):
            ours, theirs = (answer(partial(ask, b, tag)) for b in (part, btf))
            assert ours == theirs, tag
    for name in _some(list(dict.fromkeys(tags(part, B.TYPEDEF))), 300, rng):
        ours, theirs = (answer(partial(b.typedef, name)) for b in (part, btf))
        assert ours == theirs or (isinstance(ours, Typedef) and _incomplete(ours)), name
    enums = map(part.types.whole, part.blob.ids_of_kind({B.ENUM, B.ENUM64}))
    for word in _some([w for e in enums if isinstance(e, Enum) for w, _ in e.members], 1000, rng):
        ours, theirs = (answer(partial(b.constant, word)) for b in (part, btf))
        assert ours == theirs, word
    _others_take(data, tmp_path)
    assert len(data) < len(btf.blob.words)  # a quarter of the whole's bytes


def _some(names: list[str], count: int, rng: random.Random) -> list[str]:
    return rng.sample(names, min(count, len(names)))


def _incomplete(ctype: CType) -> bool:
    inner = bare(ctype)
    while isinstance(inner, Array):
        inner = bare(inner.element)
    return isinstance(inner, Record) and inner.members is None


def _others_take(data: bytes, tmp_path: Path) -> None:
    """bpftool prints it whole, and the kernel's own checks accept it."""
    file = tmp_path / "part.btf"
    file.write_bytes(data)
    tool = shutil.which("bpftool", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if tool is None:
        pytest.skip("bpftool is not installed")
    raw = subprocess.run([tool, "btf", "dump", "file", file], capture_output=True, text=True, check=False)
    assert raw.returncode == 0, raw.stderr
    assert sum(line.startswith("[") for line in raw.stdout.splitlines()) == len(Btf(data, "part").blob.ids())
    text = subprocess.run(
        [tool, "btf", "dump", "file", file, "format", "c"], capture_output=True, text=True, check=False
    )
    assert text.returncode == 0 and "struct " in text.stdout, text.stderr
    if os.geteuid() == 0 and RUNNING.exists():
        assert _loads(file), "the kernel does not accept it"


def _loads(file: Path) -> bool:
    """Whether the kernel takes it, by libbpf; True where there is none to ask."""
    name = ctypes.util.find_library("bpf")
    if name is None:
        return True
    lib = ctypes.CDLL(name)
    lib.btf__parse_raw.restype = ctypes.c_void_p
    btf = ctypes.c_void_p(lib.btf__parse_raw(os.fsencode(file)))
    try:
        return bool(btf.value) and lib.btf__load_into_kernel(btf) == 0
    finally:
        lib.btf__free(btf)


def test_the_checks_of_others_see_what_is_wrong(tmp_path: Path) -> None:
    data = bytearray(part_of(whole(), ["by_value"]))
    data[24 + 4 : 24 + 8] = b"\xff\xff\xff\x7f"
    with pytest.raises((AssertionError, Stop)):
        _others_take(bytes(data), tmp_path)


# ---- the files of the examples ------------------------------------------------------------------------------------

EXAMPLES = Path(__file__).parent.parent / "specs" / "btf"
WANTED = [
    "__get_user_pages", "do_mmap", "rtnl_fill_ifinfo", "do_futex", "vfs_read", "tcp_connect", "ip_make_skb",
    "security_path_chown", "tcp_setsockopt", "do_ip_getsockopt", "rtc_tm_to_ktime", "chown_common", "inet_stream_connect",
    "__traceiter_sys_exit",
]  # fmt: skip


@pytest.mark.parametrize("series", SERIES)
def test_the_examples_files_are_parts_of_their_kernels(series: str, tmp_path: Path) -> None:
    data = (EXAMPLES / f"{series}.btf").read_bytes()
    part = Btf(data, "part")
    assert sorted(part.functions()) == sorted(WANTED)
    # Names of C and no others: no path, no version of a package.
    size, _, types, at, length = struct.unpack_from("<IIIII", data, 4)
    names = data[size + at : size + at + length].decode().strip("\0").split("\0")
    assert types and all(word.isidentifier() for name in names for word in name.split(" "))
    assert [p.name for p in part.prototype("__get_user_pages").parameters][-2:] == (
        ["vmas", "locked"] if series in ("5.10", "6.1") else ["pages", "locked"]
    )
    _others_take(data, tmp_path)


def test_types_are_found_with_and_without_their_keyword() -> None:
    btf = whole()
    assert types_named(btf, "struct path") == types_named(btf, " path ") == btf.ids_named("path", {B.STRUCT})
    assert types_named(btf, "long unsigned int") == btf.ids_named("long unsigned int", {B.INT})

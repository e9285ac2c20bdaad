"""DWARF against what it was compiled from: prototypes, places of optimised code, separate debug files, refusals."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from oracle import generate
from oracle.experiment import Compiler, compilers

from specc.compare import canonical, differences
from specc.diagnostics import Stop
from specc.dwarf import debug_file, open_dwarf
from specc.dwarf.judge import Subprogram
from specc.dwarf.reader import Dwarf
from specc.elf import Symbol, file_build_id, read_elf, symbols
from specc.headers import parse_prototypes
from specc.place import place_text
from specc.prototype import Array, CType, Pointer, Prototype, Qualified, Record, Typedef, Unknown, bare, size_of, spell

SEED = int(os.environ["SPECC_SEED"])
CASES = 60
HOSTS = {c.name: c for c in compilers()}

GCC = shutil.which("gcc")
CLANG = shutil.which("clang")
needs_gcc = pytest.mark.skipif(GCC is None, reason="it needs gcc")
needs_clang = pytest.mark.skipif(CLANG is None, reason="it needs clang")


def compiled(folder: Path, compiler: str, flags: str, text: str, name: str = "lib.so") -> Path:
    source = "source.cc" if "++" in flags else "source.c"
    (folder / source).write_text(text)
    command = [
        compiler,
        "-w",
        *flags.split(),
        *(() if "-c" in flags.split() else ("-shared", "-fPIC")),
        source,
        "-o",
        name,
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:2000]
    return folder / name


def symbol_of(path: Path, name: str) -> Symbol:
    return next(s for s in symbols(read_elf(path.read_bytes())) if s.name == name)


def opened(path: Path) -> Dwarf:
    dwarf = open_dwarf(str(path), path.name)
    assert dwarf is not None
    return dwarf


def found(path: Path, name: str, *, declared: bool = False) -> Subprogram:
    return opened(path).find(symbol_of(path, name), declared=declared)


def places(subprogram: Subprogram) -> list[str]:
    """Where each argument is, or why not."""
    return [place_text(a.pieces) if a.readable else f"not: {a.reason}" for a in subprogram.placement.arguments]


def parts(ctype: CType) -> Iterator[CType]:
    yield ctype
    match bare(ctype):
        case Array(element=t) | Pointer(target=t) | Typedef(target=t) | Qualified(target=t):
            yield from parts(t)
        case Record() as record:
            yield record
            for m in record.members or ():
                yield from parts(m.type)
        case other:
            yield other


def vague(p: Prototype) -> bool:
    """Whether DWARF leaves something out: integers of complex types, members of transparent unions, hidden bits,
    and (clang) that a bit-field of its type's width is one."""
    every = [t for q in (p.result, *(a.type for a in p.parameters)) for t in parts(q)]
    whole = [m for t in every if isinstance(t, Record) for m in t.members or () if m.bit_width == 8 * size_of(m.type)]
    return bool(whole) or any(
        isinstance(t, Unknown) or (isinstance(t, Record) and t.size and not t.members) for t in every
    )


def two_layouts(p: Prototype) -> bool:
    every = [t for q in (p.result, *(a.type for a in p.parameters)) for t in parts(q)]
    return any(isinstance(t, Record) and (t.doubt or t.clang) for t in every)


# ---- random prototypes: the same by the header and by DWARF


@pytest.mark.parametrize("flags", ["-O0 -gdwarf-4", "-O0 -gdwarf-5", "-O2 -gdwarf-4", "-O2 -gdwarf-5"])
@pytest.mark.parametrize("host", HOSTS)
def test_types_and_places_are_those_of_the_header(host: str, flags: str, tmp_path: Path) -> None:
    compiler: Compiler = HOSTS[host]
    fit = (c for c in generate.cases(SEED, 0, 3 * CASES) if c.features <= compiler.features - {"_BitInt"})
    cases = [c for c, _ in zip(fit, range(CASES), strict=False)]
    text = "struct opaque;\n" + "".join(c.text for c in cases)
    prototypes = parse_prototypes("".join(c.text for c in cases), [c.name for c in cases])
    from live.generated import program

    header, callees, _ = program(cases)
    assert text == header
    (tmp_path / "cases.h").write_text(header)
    path = compiled(tmp_path, compiler.path, f"-std=gnu11 {flags}", callees)
    dwarf, by_name = opened(path), {s.name: s for s in symbols(read_elf(path.read_bytes()))}
    same = placed = 0
    for case in cases:
        ours = prototypes[case.name]
        subprogram = dwarf.find(by_name[case.name])
        what = f"{host} {flags} seed {SEED}: {case.text}"
        if two_layouts(ours):
            continue
        assert differences(ours, subprogram.prototype) == (), what
        # DWARF 4 has no word for _Atomic, and gcc drops the typedef of an atomic type with it.
        nameless = "_Atomic" in case.text and "dwarf-4" in flags
        if not vague(subprogram.prototype) and not vague(ours) and not nameless:
            assert canonical(ours) == canonical(subprogram.prototype), what
            same += 1
        by_header, by_dwarf = subprogram.by_abi(ours), subprogram.placement
        for a, b in zip(by_header.arguments, by_dwarf.arguments, strict=True):
            if a.readable and b.readable and b.pieces:
                # What holds no data is a piece of one and not of the other.
                assert a.pieces[: len(b.pieces)] == b.pieces[: len(a.pieces)], f"{what}: {a.name}"
                placed += 1
        if "-O0" in flags:
            unchanged = [a for a, b in zip(subprogram.by_abi().arguments, by_dwarf.arguments, strict=True) if a != b]
            assert unchanged == [], f"{what}: code that is not optimised follows the ABI"
    assert same > CASES / 4
    assert placed > CASES or "-O0" not in flags  # clang's DWARF rarely says where such arguments are in optimised code


# ---- known functions

TEXT = """
#define NOINLINE __attribute__((noinline))
struct P { long x; int y; };
struct B { long x, y, z; };
volatile long sink;
static NOINLINE long unused_first(void *ctx, long a, long b) { sink = a; return a * b; }
static NOINLINE long constarg(int mode, long a, long b) { sink = mode; return a * b + mode; }
static NOINLINE long deref_only(long k, struct P *p, long c) { sink = k; return k + p->y * c; }
static NOINLINE long bigval(struct B b, long c) { sink = c; return b.y * c; }
static NOINLINE long assigned(long a, long b) { a = b; sink = a; return a * 3; }
static NOINLINE long kept(void *p, long a) { sink = a + (long)p; return a * 3; }
NOINLINE long swapped(long a, long b) { long t = a; a = b; b = t; sink = a; return b * 3 - a; }
NOINLINE long unused(void *ctx, long a) { sink = a; return a * 3; }
NOINLINE long over(long a, long b, long c) { b = c; sink = a; return b * 3; }
int start(int n, char **v) {
	struct P p = { n, sink }; struct B b = { sink, sink, n };
	return unused_first(v, sink, sink) + constarg(7, sink, n) + constarg(7, n, sink) + deref_only(n, &p, sink)
		+ bigval(b, n) + assigned(n, sink) + kept(v, n) + swapped(n, sink) + unused(v, sink) + over(n, sink, n);
}
"""
NOT_SAID = "DWARF does not say where it is at the entry"
CHANGED = {  # gcc's copies: arguments are where DWARF has them at the entry
    "unused_first.constprop.0": [NOT_SAID, "rdi", "rsi"],
    "constarg.constprop.0": ["replaced it by the constant 7", "rdi", "rsi"],
    "deref_only.isra.0": ["rdi", NOT_SAID, "rdx"],
    "bigval.isra.0": [NOT_SAID, "rsi"],
    "assigned.constprop.0": [NOT_SAID, "rdi"],
}
FIXED = {"kept": ["rdi", "rsi"], "swapped": ["rdi", "rsi"], "unused": ["rdi", "rsi"], "over": ["rdi", "rsi", "rdx"]}


def check_places(subprogram: Subprogram, wanted: list[str]) -> None:
    for told, one in zip(places(subprogram), wanted, strict=True):
        assert told == one if " " not in one else (told.startswith("not: ") and one in told)


@needs_gcc
@pytest.mark.parametrize("flags", ["-O2 -g", "-O2 -gdwarf-4", "-O3 -g", "-O2 -g -gz"])
def test_copies_of_gcc(flags: str, tmp_path: Path) -> None:
    assert GCC is not None
    path = compiled(tmp_path, GCC, flags, TEXT)
    names = {s.name for s in symbols(read_elf(path.read_bytes()))}
    tried = 0
    for name, wanted in {**CHANGED, **FIXED}.items():
        if name in names:  # which copies are made is up to the version
            check_places(found(path, name), wanted)
            tried += 1
    assert tried > len(FIXED)


@needs_gcc
@pytest.mark.parametrize(
    "flags", ["-O2 -g -gno-variable-location-views", "-O2 -gdwarf-4 -gstrict-dwarf", "-O2 -g -fno-var-tracking"]
)
def test_copies_of_gcc_without_views_are_refused(flags: str, tmp_path: Path) -> None:
    assert GCC is not None
    path = compiled(tmp_path, GCC, flags, TEXT)
    for symbol in symbols(read_elf(path.read_bytes())):
        if ".constprop" in symbol.name or ".isra" in symbol.name:
            assert all(p.startswith("not: ") for p in places(opened(path).find(symbol))), symbol.name


@needs_clang
@pytest.mark.parametrize("compiler", [c for c in ("clang", "clang-14", "clang-19") if shutil.which(c)])
def test_functions_that_clang_changes_keep_their_names(compiler: str, tmp_path: Path) -> None:
    path = compiled(tmp_path, compiler, "-O2 -g -fvisibility=default", TEXT)
    for name, wanted in {
        "unused_first": ["", "rdi where the ABI says rsi", "rsi where the ABI says rdx"],
        "constarg": ["the constant 7", "", ""],
        "assigned": ["", ""],
        "unused": ["callers that the compiler knows do not pass", "rsi"],
        "kept": ["rdi", "rsi"],
    }.items():
        told = places(found(path, name))
        for place, part in zip(told, wanted, strict=True):
            assert place == part if part in ("rdi", "rsi") else (place.startswith("not: ") and part in place), (
                name,
                told,
            )
    # Callers of a function that nobody else can call need not get its result.
    assert not found(path, "unused_first").placement.result.readable
    assert not found(path, "kept").placement.result.readable
    assert found(path, "unused").placement.result.readable
    assert "where the ABI says" in places(found(path, "swapped"))[0]


@needs_gcc
@pytest.mark.parametrize("flags", ["-O0 -g", "-O2 -g"])
def test_another_convention_is_seen(flags: str, tmp_path: Path) -> None:
    """gcc's DWARF does not tell ms_abi; where the arguments are does."""
    assert GCC is not None
    path = compiled(
        tmp_path, GCC, flags, "long sink; __attribute__((ms_abi)) long f(long a, long b) { sink = a; return b; }"
    )
    assert all("it does not follow the System V convention" in p for p in places(found(path, "f")))


# ---- where debug information is


def stripped(path: Path, debug: Path, *, link: bool) -> Path:
    target = path.with_name("stripped.so")
    subprocess.run(["objcopy", "--only-keep-debug", path, debug], check=True)
    subprocess.run(["objcopy", "--strip-debug", path, target], check=True)
    if link:
        subprocess.run(["objcopy", f"--add-gnu-debuglink={debug}", target], check=True)
    return target


@needs_gcc
@pytest.mark.parametrize("folder", ["", ".debug", "root"])
def test_debug_link(folder: str, tmp_path: Path) -> None:
    assert GCC is not None
    path = compiled(tmp_path, GCC, "-O0 -g -Wl,--build-id=none", TEXT)
    root = tmp_path / "root"
    place = root / str(tmp_path).lstrip("/") if folder == "root" else tmp_path / folder
    place.mkdir(parents=True, exist_ok=True)
    target = stripped(path, place / "lib.debug", link=True)
    assert debug_file(str(target), str(root)) == str(place / "lib.debug")
    with (place / "lib.debug").open("ab") as file:
        file.write(b"x")  # the checksum is wrong now
    assert debug_file(str(target), str(root)) is None


@needs_gcc
def test_build_id(tmp_path: Path) -> None:
    assert GCC is not None
    path = compiled(tmp_path, GCC, "-O0 -g -Wl,--build-id=sha1", TEXT)
    own = file_build_id(str(path))
    assert own is not None and len(own) == 40
    assert own in subprocess.run(["readelf", "-n", path], capture_output=True, text=True, check=True).stdout
    debug = tmp_path / "root" / ".build-id" / own[:2] / f"{own[2:]}.debug"
    debug.parent.mkdir(parents=True)
    target = stripped(path, debug, link=False)
    assert debug_file(str(target), str(tmp_path / "root")) == str(debug)
    other = compiled(tmp_path, GCC, "-O1 -g -Wl,--build-id=sha1", TEXT, "other.so")
    shutil.copy(other, debug)
    assert debug_file(str(target), str(tmp_path / "root")) is None


@needs_gcc
def test_no_debug_information(tmp_path: Path) -> None:
    assert GCC is not None
    assert open_dwarf(str(compiled(tmp_path, GCC, "-O0", TEXT)), "lib.so") is None


# ---- refusals


@needs_gcc
@pytest.mark.parametrize(
    ("flags", "text", "code", "message"),
    [
        ("-O0 -g1", "void f(int a) { }", "SP272", "does not describe `f`"),
        ("-O0 -g -gsplit-dwarf", "void f(int a) { }", "SP270", ".dwo files are not read"),
        (
            "-O0 -g",
            '__asm__(".globl f\\n.type f, @function\\nf: ret"); void g(void) { }',
            "SP272",
            "does not describe `f`",
        ),
        ("-O0 -g", 'void g(int a) { } void f(int b) __attribute__((alias("g")));', "SP273", "at `f` `g`"),
    ],
    ids=["-g1", "split", "assembler", "alias"],
)
def test_refusals(flags: str, text: str, code: str, message: str, tmp_path: Path) -> None:
    assert GCC is not None
    path = compiled(tmp_path, GCC, flags, text)
    with pytest.raises(Stop) as raised:
        found(path, "f")
    assert raised.value.diagnostic.code == code and message in raised.value.diagnostic.message


@needs_gcc
def test_an_alias_with_a_declaration_is_no_problem(tmp_path: Path) -> None:
    assert GCC is not None
    path = compiled(tmp_path, GCC, "-O0 -g", 'void g(int a) { } void f(int b) __attribute__((alias("g")));')
    assert places(found(path, "f", declared=True)) == ["rdi"]


@pytest.mark.skipif(shutil.which("g++") is None, reason="it needs g++")
def test_cxx(tmp_path: Path) -> None:
    text = """
        struct plain { long a; int b; };
        struct copied { long a; copied(const copied &); };
        struct empty { };
        struct derived : plain { int c; };
        namespace n { long f(plain p, int &r) { return p.a + r; } }
        long g(copied c, int x) { return x; }
        long h(empty e, int x) { return x; }
        long i(derived d, int x) { return x; }
        struct with { long v; long get(int x) const; };
        long with::get(int x) const { return v + x; }
    """
    path = compiled(tmp_path, "g++", "-O0 -g -xc++", text)
    assert places(found(path, "_ZN1n1fE5plainRi")) == ["rdi:rsi", "rdx"]
    assert places(found(path, "_ZNK4with3getEi")) == ["rdi", "rsi"]
    assert [p.name for p in found(path, "_ZNK4with3getEi").prototype.parameters] == ["this", "x"]
    for name, why in (
        ("_Z1g6copiedi", "C++ passes it by"),
        ("_Z1h5emptyi", "an empty class"),
        ("_Z1i7derivedi", "base classes"),
    ):
        assert [p.startswith("not: ") for p in places(found(path, name))] == [True, True]
        assert why in places(found(path, name))[0]


CXX = [c for c in ("g++", "clang++-14", "clang++-19") if shutil.which(c)]
ATOMIC = """
    struct A { int a; long b; };
    struct T { _Atomic int a; long b; };
    int plain(struct A v, int z) { return z + v.a; }
    int atomic(struct T v, int z) { return z + v.a; }
    int unused(struct A v, int z) { return z; }
    int many(long a, long b, long c, long d, long e, struct A v, int z) { return z + v.a; }
    struct A result(int z) { return (struct A){ z }; }
"""


@needs_clang
@pytest.mark.parametrize("compiler", [c for c in ("clang", "clang-14", "clang-19") if shutil.which(c)])
@pytest.mark.parametrize(
    "flags", ["-O0", "-O2", "-O0 -fsanitize=address -fno-sanitize-link-runtime", "-O0 -fomit-frame-pointer"]
)
def test_members_that_may_be_atomic(flags: str, compiler: str, tmp_path: Path) -> None:
    """DWARF 4 has no word for it, and it moves a record to memory; what is stored by the prologue came in registers."""
    if "address" in flags and compiler != "clang-19":
        pytest.skip("older clangs link a library that may not be installed")
    path = compiled(tmp_path, compiler, f"{flags} -gdwarf-4", ATOMIC)
    told = {name: places(found(path, name)) for name in ("plain", "atomic", "unused", "many", "result")}
    if flags == "-O0":
        assert told["plain"] == told["unused"] == ["rdi:rsi", "rdx"]
    for name, refused in {"atomic": 2, "many": 2, "result": 1}.items():
        assert all("which are _Atomic" in place for place in told[name][-refused:]), (name, told[name])
    assert told["plain"][0] == "rdi:rsi" or "which are _Atomic" in told["plain"][0]


CLANG_RECORDS = """
    struct J { long v __attribute__((aligned(64))); int w; };
    struct K { int x; struct { long v __attribute__((aligned(64))); } in; };
    struct L { int x; int y __attribute__((aligned(16))); int z; } __attribute__((aligned(32)));
    struct P { char a; long b; char c[12]; } __attribute__((packed));
    struct Q { char a; int b; } __attribute__((packed));
    struct R { int : 3; int b : 32; int c : 29; } __attribute__((packed));
    struct S { char a : 1; int b : 32; char c[12]; } __attribute__((packed));
    void to(struct J *j, struct K *k, struct L *l, struct P *p, struct R *r, struct S *s) { }
    void by(struct Q q) { }
"""


@needs_clang
@pytest.mark.parametrize("compiler", [c for c in ("clang", "clang-14", "clang-19") if shutil.which(c)])
@pytest.mark.parametrize("version", [4, 5])
def test_room_in_records_of_clang(version: int, compiler: str, tmp_path: Path) -> None:
    """What attributes explain is known; what is not says what it is about, and no bit-field where there is none."""
    path = compiled(tmp_path, compiler, f"-O0 -gdwarf-{version}", CLANG_RECORDS)
    complete = opened(path).completed_by(symbol_of(path, "to"))
    told = {name: complete(Record("struct", name, None)) for name in "JKLPRS"}
    offsets = {
        name: [(m.bit_offset, m.bit_width) for m in record.members or ()]
        for name, record in told.items()
        if isinstance(record, Record)
    }
    newer = compiler == "clang-19"
    moved = {"R": [(3, 32), (35, 29)], "S": [(0, 1), (1, 32), (40, None)]}
    assert offsets == {
        "J": [(0, None), (64, None)], "K": [(0, None), (512, None)], "L": [(0, None), (128, None), (160, None)],
        "P": [(0, None), (8, None), (72, None)],
    } | (moved if newer else {})  # fmt: skip
    if not newer:
        assert "inside of a byte" in str(told["R"]) or "a bit-field begins" in str(told["R"])
        assert "where in its byte a bit-field begins" in str(told["S"])
    why = "_Atomic" if version == 4 else "" if newer else "an integer in it is not aligned"
    assert why in places(found(path, "by"))[0]


PACKS = """
    template<class... A> __attribute__((noinline)) int pack(A... a, int z) { __asm__ volatile("" ::: "memory"); return z; }
    template<class... A> __attribute__((noinline)) int last(const char *f, A... a) { __asm__ volatile("" ::: "memory"); return 1; }
    struct S { template<class... A> __attribute__((noinline)) int m(A &&... a, short z) { __asm__ volatile("" ::: "memory"); return z; } };
    template int pack<int, long>(int, long, int);
    template int pack<>(int);
    template int last<int, long>(const char *, int, long);
    template int S::m<char, long &>(char &&, long &, short);
"""


@pytest.mark.parametrize("flags", ["-O0 -gdwarf-4", "-O0 -gdwarf-5", "-O2 -g"])
@pytest.mark.parametrize("compiler", CXX)
def test_parameter_packs(compiler: str, flags: str, tmp_path: Path) -> None:
    """g++ has an entry of its own for a pack, with its parameters below it; clang names each of them as the pack."""
    path = compiled(tmp_path, compiler, f"{flags} -xc++", PACKS)
    for name, wanted in {
        "_Z4packIJilEEiDpT_i": [("rdi", None, 4), ("rsi", None, 8), ("rdx", "z", 4)],
        "_Z4packIJEEiDpT_i": [("rdi", "z", 4)],
        "_Z4lastIJilEEiPKcDpT_": [("rdi", "f", 8), ("rsi", None, 4), ("rdx", None, 8)],
        "_ZN1S1mIJcRlEEEiDpOT_s": [("rdi", "this", 8), ("rsi", None, 8), ("rdx", None, 8), ("rcx", "z", 2)],
    }.items():
        told = found(path, name)
        sizes = [(p.name, size_of(p.type)) for p in told.prototype.parameters]
        assert sizes == [w[1:] for w in wanted]
        for place, one in zip(places(told), wanted, strict=True):
            assert place == one[0] or (place.startswith("not: ") and "-O2" in flags and compiler != "g++"), name


@needs_gcc
@pytest.mark.parametrize(
    ("flags", "text", "wanted"),
    [
        ("", "int f(a, b, c, d) char a; short b; float c; _Bool d; { return a; }", ["rdi", "rsi", "xmm0", "rdx"]),
        ("", "int f(float); int f(c) float c; { return c; }", ["xmm0"]),
        ("-mlong-double-64", "int f(int a, long double b, int c) { return a; }", ["rdi", "xmm0", "rsi"]),
        ("-mlong-double-128", "int f(int a, long double b, int c) { return a; }", ["rdi", "xmm0", "rsi"]),
        ("-mabi=ms", "int f(int a, int b) { return a; }", ["ms_abi, by -mabi=ms"] * 2),
        ("-fpcc-struct-return", "struct s { int a; }; struct s f(int a) { return (struct s){ a }; }", ["in memory, by -fpcc"]),
        ("-fpcc-struct-return", "int f(int a, _Complex float b) { return a; }", ["rdi", "xmm0"]),
        ("-mgeneral-regs-only", "struct s { int a; float b; }; int f(struct s a, int b) { return b; }", ["-mgeneral-regs-only"] * 2),
        (
            "",
            """struct __attribute__((scalar_storage_order("big-endian"))) s { int a; short b; };
            int f(int a, struct s b, int c) { return a; }""",
            ["rdi", "in big-endian order", "in big-endian order"],
        ),
    ],
)  # fmt: skip
def test_what_changes_how_values_are_passed(flags: str, text: str, wanted: list[str], tmp_path: Path) -> None:
    assert GCC is not None
    for level in ("-O0", "-O2"):
        told = found(compiled(tmp_path, GCC, f"{level} -g {flags}", text), "f")
        for place, one in zip(places(told), wanted, strict=True):
            assert place == one or (place.startswith("not: ") and one in place), (level, place)
    types = [spell(p.type) for p in told.prototype.parameters]
    if "(a, b, c, d)" in text:
        assert types == ["char", "short", "double", "_Bool"]  # as callers pass them
    if "long-double" in flags:
        assert types[1] == ("double" if "64" in flags else "__float128")


@needs_gcc
def test_an_order_of_bytes_behind_a_pointer(tmp_path: Path) -> None:
    assert GCC is not None
    text = """struct __attribute__((scalar_storage_order("big-endian"))) s { int a; char b; enum { A, B } c; };
        int f(struct s *p) { return p->a; }"""
    path = compiled(tmp_path, GCC, "-O0 -g", text)
    assert "in big-endian order" in str(opened(path).completed_by(symbol_of(path, "f"))(Record("struct", "s", None)))


LEFT_OUT = """
    struct NC { int a; NC(int x) : a(x) { } NC(const NC &o) : a(o.a) { } };
    struct M { int z; int m(NC a, signed char k); NC n(NC a, int k); };
    int M::m(NC a, signed char k) { return k; }
    NC M::n(NC a, int k) { return NC(k); }
    int first(NC a, signed char k) { return k; }
    int second(signed char k, NC a, signed char l) { return k + l; }
    namespace { int local(NC a, int k) { return k; } }
    extern "C" int plain(NC a, signed char k) { return k + 7; }
    extern "C" int harmless(int a, long b) { return a; }
    int all(int a, long b, ...) { return a; }
    int main(int argc, char **argv) { return local(NC(1), argc); }
"""


@pytest.mark.parametrize("flags", ["-O0 -gdwarf-4", "-O0 -gdwarf-5", "-O2 -g"])
@pytest.mark.parametrize("compiler", CXX)
def test_parameters_that_clang_leaves_out(compiler: str, flags: str, tmp_path: Path) -> None:
    """Without -O, those of a class that are passed by reference and not used: what is known elsewhere counts."""
    path = compiled(tmp_path, compiler, f"{flags} -xc++", LEFT_OUT)
    seats = {"_ZN1M1mE2NCa": 2, "_ZN1M1nE2NCi": 2, "_Z5first2NCa": 1, "_Z6seconda2NCa": 2, "plain": 1,
             "_ZN12_GLOBAL__N_15localE2NCi": 1}  # fmt: skip
    names = {s.name for s in symbols(read_elf(path.read_bytes()))}
    refused = 0
    for name, after in seats.items():
        if name not in names or (compiler == "g++" and "GLOBAL" in name):  # whose entry g++ does not name
            continue
        try:
            told = places(found(path, name))
        except Stop as problem:
            assert problem.diagnostic.code == "SP272" and "does not tell all arguments of" in problem.diagnostic.message
            assert compiler != "g++" and "-O0" in flags, problem.diagnostic.notes
            refused += 1
            continue
        assert len(told) > after and all(p.startswith("not: ") for p in told[after:]), (name, told)
    if compiler == "clang++-14" and "-O0" in flags:
        assert refused >= 4
    assert len(found(path, "_Z3allilz").prototype.parameters) == 2
    assert len(found(path, "main").prototype.parameters) == 2
    if compiler == "g++" or "-O2" in flags:
        assert len(found(path, "harmless").prototype.parameters) == 2
    else:
        with pytest.raises(Stop, match="does not tell all arguments of `harmless`"):
            found(path, "harmless")


@pytest.mark.skipif(shutil.which("rustc") is None, reason="it needs rustc")
def test_another_language(tmp_path: Path) -> None:
    (tmp_path / "lib.rs").write_text(
        "#[no_mangle] pub fn f(a: (u64, u32, u8), b: &[u8]) -> u64 { a.0 + b.len() as u64 }"
    )
    subprocess.run(
        ["rustc", "-g", "--crate-type=cdylib", "lib.rs", "-o", "lib.so"], cwd=tmp_path, check=True, capture_output=True
    )
    with pytest.raises(Stop) as raised:
        found(tmp_path / "lib.so", "f")
    assert raised.value.diagnostic.code == "SP274" and "Rust" in raised.value.diagnostic.message


@needs_gcc
def test_damage_is_a_finding(tmp_path: Path) -> None:
    """Whatever is in the debug sections: a function or a finding, and never another exception."""
    from random import Random

    assert GCC is not None
    path = compiled(tmp_path, GCC, "-O2 -g", TEXT)
    data, random = bytearray(path.read_bytes()), Random(SEED)
    elf = read_elf(bytes(data))
    sections = [s for s in elf.sections if s.name.startswith(".debug_") and s.size]
    wanted = [s for s in symbols(elf) if s.name in (*CHANGED, *FIXED)]
    for _ in range(40):
        damaged = bytearray(data)
        for _ in range(random.randrange(1, 6)):
            section = random.choice(sections)
            damaged[section.offset + random.randrange(section.size)] = random.randrange(256)
        target = tmp_path / "damaged.so"
        target.write_bytes(damaged)
        try:
            dwarf = open_dwarf(str(target), "damaged.so")
        except Stop:
            continue
        for symbol in wanted:
            try:
                if dwarf is not None:
                    places(dwarf.find(symbol))
            except Stop:
                continue

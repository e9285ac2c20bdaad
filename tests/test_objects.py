"""The example specs, all the way: C without warnings, headers that compile as C, objects that the kernel takes."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest
from command import PATIENCE, ROOT, specc

from specc.build import compile_object
from specc.compiler.find import find_compiler
from specc.diagnostics import Stop

SPECS = sorted(p for p in (ROOT / "specs").iterdir() if p.is_file())
BPFFS = Path("/sys/fs/bpf")


def _compilers() -> list[str]:
    """Every clang on PATH by its name, and zig."""
    names = {"clang", "zig"}
    for folder in os.get_exec_path():
        if os.path.isdir(folder):
            names |= {name for name in os.listdir(folder) if re.fullmatch(r"clang-\d+", name)}
    return sorted(names, key=lambda name: (len(name), name))


COMPILERS = _compilers()


@pytest.fixture(scope="module", params=COMPILERS)
def generated(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All example specs, built by one compiler."""
    try:
        find_compiler(request.param)
    except Stop as problem:
        pytest.skip(f"--compiler {request.param}: {problem.diagnostic.message}")
    folder = tmp_path_factory.mktemp("generated")
    done = specc("build", "specs", "-o", folder, "--compiler", request.param, cwd=ROOT)
    assert done.code == 0, done.err
    return folder


def _run(*command: str | Path) -> tuple[int, str]:
    done = subprocess.run(
        list(map(str, command)),
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def _load(path: Path, *, first: bool = False) -> tuple[int, str]:
    """How many programs of an object the kernel took (all or none), and what bpftool said. `first`: all are loaded, and
    one is pinned, because bpftool cannot pin all where some are not meant to be loaded."""
    pins = BPFFS / f"specc-tests-{os.getpid()}"
    pins.mkdir()
    try:
        if first:
            code, said = _run("bpftool", "prog", "load", path, pins / "program")
            return int(code == 0), said
        code, said = _run("bpftool", "prog", "loadall", path, pins / "programs")
        return (len(list((pins / "programs").iterdir())) if code == 0 else 0), said
    finally:
        shutil.rmtree(pins)


@cache
def _kernel_lacks(sections: tuple[str, ...]) -> str:
    """What keeps the kernel from loading programs of these kinds that do nothing; empty when it loads them."""
    functions = [
        f'__attribute__((section("{s}"), used)) int f{n}(void *c) {{ return 0; }}' for n, s in enumerate(sections)
    ]
    licence = '__attribute__((section("license"), used)) char licence[] = "GPL";'
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "empty.bpf.o"
        path.write_bytes(compile_object("\n".join([*functions, licence, ""]), "empty", find_compiler()))
        loaded, said = _load(path)
    return "" if loaded else next((line for line in said.splitlines() if "failed" in line), said)


@pytest.mark.parametrize("spec", SPECS, ids=lambda p: p.name)
def test_the_kernel_loads_the_object(spec: Path, generated: Path) -> None:
    name = spec.stem
    if os.geteuid() != 0:
        pytest.skip("loading a program into the kernel needs root")
    if shutil.which("bpftool") is None:
        pytest.skip("no bpftool on PATH")
    if not BPFFS.is_dir() or "bpf" not in _run("stat", "-f", "-c", "%T", BPFFS)[1]:
        pytest.skip(f"no bpf file system on {BPFFS}")
    text = (generated / f"{name}.bpf.c").read_text()
    kinds = r"fentry|fexit|tp_btf|k\w*probe|k\w*syscall|u\w*probe"
    sections = tuple(re.findall(rf'^SEC\("((?:{kinds})[^"]*)"\)', text, re.MULTILINE))
    if problem := _kernel_lacks(sections):
        pytest.skip(f"empty programs of these kinds do not load here either: {problem}")
    optional = 'SEC("?' in text
    loaded, said = _load(generated / f"{name}.bpf.o", first=optional)
    if _is_of_other_kernels(text):
        # bpftool does not know the running kernel's places, so it must not load it.
        assert loaded == 0
        assert "places_are_of_other_kernels();" in said and "invalid func unknown#132828397" in said
    else:
        assert loaded == (1 if optional else len(sections)) > 0, said


def _is_of_other_kernels(text: str) -> bool:
    release = re.match(r"(\d+)\.(\d+)\.(\d+)", os.uname().release)
    assert release
    major, minor, patch = map(int, release.groups())
    here = major << 16 | minor << 8 | min(patch, 255)  # KERNEL_VERSION()
    ranges = re.findall(r"\.__since = (0x[0-9a-f]+), \.__until = (0x[0-9a-f]+)", text)
    return any(not int(since, 16) <= here < int(until, 16) for since, until in ranges)


@pytest.mark.parametrize("spec", SPECS, ids=lambda p: p.name)
def test_the_c_compiles_without_a_warning(spec: Path, generated: Path, tmp_path: Path) -> None:
    """-w is left out, everything else is as `build` compiles it."""
    source = generated / f"{spec.stem}.bpf.c"
    for name in COMPILERS:
        try:
            compiler = find_compiler(name)
        except Stop:
            continue  # `generated` says so
        argv = [word for word in compiler.compile_argv if word not in ("-w", "-Wno-everything")]
        code, said = _run(*argv, "-Wall", "-Wextra", "-Werror", "-c", source, "-o", tmp_path / "x.o")
        assert (code, said) == (0, ""), name


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on PATH")
@pytest.mark.parametrize("spec", SPECS, ids=lambda p: p.name)
def test_the_header_is_c_and_its_asserts_hold(spec: Path, tmp_path: Path) -> None:
    done = specc("build", spec.relative_to(ROOT), "-o", tmp_path, "--emit", "header", cwd=ROOT)
    assert done.code == 0, done.err
    header = tmp_path / f"{spec.stem}.h"
    text = header.read_text()
    strict = ("gcc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-x", "c")
    assert _run(*strict, header) == (0, "")
    # Included twice, with the same names in user space.
    user = tmp_path / "user.c"
    user.write_text(f'#include "{header.name}"\n#include "{header.name}"\nint main(void) {{ return 0; }}\n')
    assert _run(*strict, user) == (0, "")
    if shutil.which("g++") is not None:
        plus = ("g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-x", "c++")
        assert _run(*plus, user) == (0, "")
    # The asserts are asserts: one that is wrong stops the compiler.
    offsets = list(re.finditer(r"_Static_assert\(offsetof\(.*?\) == (\d+)", text))
    assert offsets
    last = offsets[-1]
    header.write_text(text[: last.start(1)] + str(int(last[1]) + 1) + text[last.end(1) :])
    code, said = _run(*strict, header)
    assert code != 0
    assert "static assertion failed" in said


@pytest.mark.parametrize("compiler", COMPILERS)
def test_what_is_saved_until_the_return_fits_the_stack(compiler: str, tmp_path: Path) -> None:
    """A program has 512 bytes of stack: what does not fit is refused, and is never left to the compiler."""
    rng = random.Random(int(os.environ["SPECC_SEED"]))
    declarations, probes = [], []
    for number in range(40):
        parameters = []
        for n in range(rng.randint(4, 30)):
            kind = rng.choice(("long", "int", "char", "struct", "struct", "struct"))
            if kind == "struct":
                kind = f"struct s{number}_{n}"
                count = rng.choice((rng.randint(1, 80), rng.randint(1, 8)))
                declarations.append(f"{kind} {{ {rng.choice(('char', 'char', 'int', 'long'))} v[{count}]; }};")
            parameters.append(f"{kind} a{n}")
        declarations.append(f"long f{number}({', '.join(parameters)});")
        wanted = [p.split()[-1] for p in rng.sample(parameters, rng.randint(1, len(parameters)))]
        probes.append(f"  - {{uretprobe: /bin/true:f{number}, args: [{', '.join(wanted)}, return, latency]}}")
    (tmp_path / "f.h").write_text("\n".join(declarations) + "\n")
    head = "specc: 1\nname: t\nfields: [timestamp, pid, tid, comm]\nheaders: [f.h]\nprobes:\n"
    spec = tmp_path / "t.yaml"
    spec.write_text(head + "\n".join(probes) + "\n")
    found = specc("check", spec, "--output-format", "json", cwd=tmp_path)
    refused = json.loads(found.out)["diagnostics"]
    assert {d["code"] for d in refused} <= {"SP305"}
    lines = {d["line"] for d in refused}
    fits = [p for n, p in enumerate(probes, 1 + head.count("\n")) if n not in lines]
    assert 5 < len(fits) < 40
    spec.write_text(head + "\n".join(fits) + "\n")
    done = specc("build", spec, "-o", tmp_path / "out", "--emit", "obj", "--compiler", compiler, cwd=tmp_path)
    assert done.code == 0, done.err

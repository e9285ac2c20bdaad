"""Where a user probe goes: files by name, symbols by name and version, and the reasons why not."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from specc.diagnostics import Severity, Stop
from specc.elf import file_offset, read_elf, symbols
from specc.ir import Target
from specc.locate import UserPlace, UserTargets, cached_libraries, files, find_file

CC = shutil.which("gcc") or shutil.which("clang")
needs_compiler = pytest.mark.skipif(CC is None, reason="user targets: it needs a C compiler for the host")

LIBRARY = """
int plain(int a) { return a; }
int old_one(int a) { return a + 1; }
int new_one(int a) { return a + 2; }
__asm__(".symver old_one, both@V1");
__asm__(".symver new_one, both@@V2");
static int first(void) { return 7; }
static void *choose(void) { return first; }
int indirect(void) __attribute__((ifunc("choose")));
int data = 5;
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert CC is not None
    made = tmp_path_factory.mktemp("targets")
    (made / "lib.c").write_text(LIBRARY)
    (made / "map").write_text("V1 { global: plain; both; indirect; data; local: *; }; V2 { global: both; } V1;")
    (made / "main.c").write_text("int twin(void) { return 1; } int main(void) { return twin(); }")
    (made / "a.c").write_text("static __attribute__((noinline)) int same(int a) { return a; } int a(int x) { return same(x); } int b(int); int main(void) { return a(1) + b(2); }")  # fmt: skip
    (made / "b.c").write_text("static __attribute__((noinline)) int same(int a) { return a * 3; } int b(int x) { return same(x); }")  # fmt: skip
    commands = [
        ["-shared", "-fPIC", "-Wl,--version-script=map", "lib.c", "-o", "libversions.so.1"],
        ["-pie", "-fPIE", "main.c", "-o", "pie"],
        ["-no-pie", "-fno-pie", "main.c", "-o", "fixed"],
        ["-rdynamic", "main.c", "-o", "exported"],
        ["-c", "main.c", "-o", "object.o"],
        ["-O1", "a.c", "b.c", "-o", "twins"],
    ]
    for command in commands:
        subprocess.run([CC, "-w", *command], cwd=made, check=True)
    subprocess.run(["strip", "exported", "-o", "stripped"], cwd=made, check=True)
    (made / "script").write_text("#!/bin/sh\n")
    (made / "text").write_text("/* GNU ld script */")
    return made


def find(folder: Path, path: str, symbol: str | None, offset: int = 0) -> UserPlace:
    return UserTargets({"LD_LIBRARY_PATH": str(folder), "PATH": str(folder)}).find(
        Target(path, symbol, offset, None), None
    )


def nm(path: Path, *flags: str) -> dict[str, int]:
    lines = subprocess.run(["nm", *flags, path], capture_output=True, text=True, check=True).stdout.splitlines()
    rows = [line.split() for line in lines]
    return {r[2]: int(r[0], 16) for r in rows if len(r) == 3}


def readelf_offset(path: Path, address: int) -> int:
    """By binutils: where the segment with this address puts it in the file."""
    text = subprocess.run(["readelf", "-lW", path], capture_output=True, text=True, check=True).stdout
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["LOAD"] and "E" in words[6:-1]:
            offset, start, size = (int(words[i], 16) for i in (1, 2, 4))
            if start <= address < start + size:
                return address - start + offset
    raise AssertionError("no segment has it")


@needs_compiler
@pytest.mark.parametrize(
    ("path", "symbol", "name"),
    [
        ("pie", "twin", "twin"),
        ("fixed", "twin", "twin"),
        ("stripped", "twin", "twin"),
        ("libversions.so.1", "plain", "plain@@V1"),
        ("libversions.so.1", "both@V1", "both@V1"),
        ("libversions.so.1", "both@@V2", "both@@V2"),
        ("libversions.so.1", "both", "both@@V2"),
    ],
)
def test_offsets_are_those_of_binutils(folder: Path, path: str, symbol: str, name: str) -> None:
    file = folder / path
    place = find(folder, path, symbol)
    addresses = nm(file, "-D") if path in ("stripped", "libversions.so.1") else nm(file)
    assert place.offset == readelf_offset(file, addresses[name])
    assert Path(place.path).resolve() == file.resolve()
    assert place.inode == (file.stat().st_dev, file.stat().st_ino)
    assert [(d.code, d.severity) for d in place.notes] == ([("SP451", Severity.WARNING)] if symbol == "both" else [])


@needs_compiler
@pytest.mark.parametrize(
    ("path", "symbol", "offset", "code", "message"),
    [
        ("absent.so.9", "f", 0, "SP446", "no library `absent.so.9` is installed here"),
        ("absent", "f", 0, "SP446", "no program `absent` is in $PATH"),
        ("./absent", "f", 0, "SP446", "there is no file `./absent`"),
        ("pie", "twim", 0, "SP447", "there is no function `twim`"),
        ("libversions.so.1", "both@V3", 0, "SP447", "has no version `V3`"),
        ("twins", "same", 0, "SP447", "has 2 functions called `same`"),
        ("libversions.so.1", "indirect", 0, "SP448", "is an indirect function"),
        ("libversions.so.1", "data", 0, "SP448", "is not a function"),
        ("script", "main", 0, "SP449", "it does not begin as an ELF file does"),
        ("text", "main", 0, "SP449", "it does not begin as an ELF file does"),
        ("object.o", "main", 0, "SP449", "is neither a program nor a shared library"),
        ("/tmp", "main", 0, "SP449", "`/tmp` is a directory, and has no code to probe"),
        ("/dev/zero", "main", 0, "SP449", "`/dev/zero` is a device, a pipe or a socket, and has no code to probe"),
        ("pie", None, 1, "SP450", "there is no code at offset 0x1"),
        ("pie", "twin", 0x20, "SP450", "so 0x20 is not in it"),
    ],
)
def test_refusals(folder: Path, path: str, symbol: str | None, offset: int, code: str, message: str) -> None:
    name = str(folder / path) if path in ("script", "text", "object.o") else path
    with pytest.raises(Stop) as stopped:
        find(folder, name, symbol, offset)
    assert stopped.value.diagnostic.code == code
    assert message in stopped.value.diagnostic.message


@needs_compiler
def test_hints(folder: Path) -> None:
    with pytest.raises(Stop) as stopped:
        find(folder, "pie", "twim")
    assert stopped.value.diagnostic.help == "did you mean `twin`?"
    with pytest.raises(Stop) as stopped:
        find(folder, "stripped", "helper")
    assert "stripped" in stopped.value.diagnostic.notes[0]
    assert stopped.value.diagnostic.help == (
        "give the function's `offset` in the file, without `symbol`, or take a file that is not stripped"
    )
    with pytest.raises(Stop) as stopped:
        find(folder, "pie", "entirely_else")
    assert stopped.value.diagnostic.help == f"`nm {folder / 'pie'}` lists what is there"
    with pytest.raises(Stop) as stopped:
        find(folder, __file__, "main")
    assert stopped.value.diagnostic.help == "give the path of a program or a shared library for x86-64"
    with pytest.raises(Stop) as stopped:
        find(folder, str(folder / "script"), "main")
    assert stopped.value.diagnostic.help == "it is a script: probe its interpreter, /bin/sh"


def test_the_loaders_cache_is_ldconfigs() -> None:
    ldconfig = shutil.which("ldconfig") or "/sbin/ldconfig"
    if not Path(ldconfig).exists():
        pytest.skip("user targets: there is no ldconfig here")
    lines = subprocess.run([ldconfig, "-p"], capture_output=True, text=True, check=True).stdout.splitlines()[1:]
    theirs = {
        (line.split()[0], line.rpartition("=> ")[2]) for line in lines if "libc6,x86-64" in line and "=> " in line
    }
    assert set(cached_libraries()) == theirs


def test_a_bare_name_is_found_as_the_loader_does(folder: Path) -> None:
    assert find_file("libversions.so.1", None, {"LD_LIBRARY_PATH": f"/nowhere:{folder}"}) == str(
        folder / "libversions.so.1"
    )
    assert find_file("sh", None, {"PATH": "/nowhere:/bin"}) == "/bin/sh"


@needs_compiler
def test_symbols_of_a_file_are_nms(folder: Path) -> None:
    elf = read_elf((folder / "twins").read_bytes())
    ours = {s.name: s.value for s in symbols(elf) if s.type == 2 and not s.local}
    theirs = nm(folder / "twins")
    assert ours and ours == {name: theirs[name] for name in ours}
    assert file_offset(elf, 1 << 40) is None


# --- variants for processors ------------------------------------------------------------------------------------------

LEVELS = ("x86-64-v2", "x86-64-v3", "x86-64-v4")


def variants(folder: Path, levels: tuple[str, ...], *, plain: bool = True) -> Path:
    """A library that says which variant it is, in each of these directories, and a program that prints what it says."""
    for number, level in enumerate(("", *levels)):
        place = folder / "glibc-hwcaps" / level if level else folder
        place.mkdir(parents=True, exist_ok=True)
        text = f"int which(void) {{ return {LEVELS.index(level) + 2 if level else 0}; }}"
        (folder / f"which{number}.c").write_text(text)
        command = [CC, "-shared", "-fPIC", "-Wl,-soname,libwhich.so.1", folder / f"which{number}.c", "-o", place / "libwhich.so.1"]  # fmt: skip
        subprocess.run(command, check=True)
    (folder / "main.c").write_text("#include <stdio.h>\nint which(void); int main(int n, char **v) { printf(\"%d\\n\", which()); fflush(stdout); if (n > 1) getchar(); return 0; }")  # fmt: skip
    subprocess.run([CC, folder / "main.c", folder / "libwhich.so.1", "-o", folder / "main"], check=True)
    if not plain:
        (folder / "libwhich.so.1").unlink()
    return folder / "main"


@needs_compiler
@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("levels", [("x86-64-v2",), ("x86-64-v3", "x86-64-v2"), LEVELS, ()])
@pytest.mark.parametrize("mask", ["", "glibc.cpu.hwcaps=-AVX2", "glibc.cpu.hwcaps=-AVX2,-SSSE3,-AVX512F"])
def test_the_variant_is_the_loaders(levels: tuple[str, ...], plain: bool, mask: str, tmp_path: Path) -> None:
    """Which file it is, the loader itself says by running it, whatever this processor can do."""
    main = variants(tmp_path, levels, plain=plain)
    environ = {"LD_LIBRARY_PATH": str(tmp_path), "GLIBC_TUNABLES": mask}
    done = subprocess.run([main], env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        with pytest.raises(Stop, match=r"no library `libwhich\.so\.1`"):
            find_file("libwhich.so.1", None, environ)
        return
    number = int(done.stdout)
    expected = tmp_path / "libwhich.so.1" if number == 0 else tmp_path / f"glibc-hwcaps/x86-64-v{number}/libwhich.so.1"
    assert find_file("libwhich.so.1", None, environ) == str(expected)
    place = UserTargets(environ).find(Target("libwhich.so.1", "which", 0, None), None)
    assert place.path == str(expected)
    count = len(levels) + plain
    assert [d.code for d in place.notes] == (["SP455"] if count > 1 else [])
    for note in place.notes:
        assert (note.severity, f"in {count} variants; the probe is on {expected}" in note.message) == (Severity.WARNING, True)  # fmt: skip
        assert len(note.notes) == count - 1 and all(line.startswith("not probed: ") for line in note.notes)


@needs_compiler
def test_a_process_that_has_another_variant_is_named(tmp_path: Path) -> None:
    """It was started while there was no variant yet."""
    main = variants(tmp_path, ())
    process = subprocess.Popen(
        [main, "wait"], env={"LD_LIBRARY_PATH": str(tmp_path)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == "0\n"
        level = next(iter(files.searched({})), None)
        if level is None:
            pytest.skip("user targets: this machine's loader searches no glibc-hwcaps")
        better = tmp_path / "glibc-hwcaps" / level
        better.mkdir(parents=True)
        shutil.copy(tmp_path / "libwhich.so.1", better)
        place = UserTargets({"LD_LIBRARY_PATH": str(tmp_path)}).find(Target("libwhich.so.1", "which", 0, None), None)
        assert place.path == str(better / "libwhich.so.1")
        [note] = place.notes
        assert note.notes == (f"not probed: {tmp_path}/libwhich.so.1, which process {process.pid} has loaded",)
        # With --pid it is the file of that process.
        of = UserTargets({"LD_LIBRARY_PATH": str(tmp_path)}, process.pid)
        found = of.find(Target("libwhich.so.1", "which", 0, None), None)
        assert (found.path, found.notes) == (
            f"/proc/{process.pid}/root/{tmp_path}/libwhich.so.1".replace("root//", "root/"),
            (),
        )
    finally:
        process.kill()
        process.communicate()


@needs_compiler
@pytest.mark.skipif(shutil.which("ldconfig", path="/sbin:/usr/sbin") is None, reason="user targets: it needs ldconfig")
def test_variants_in_the_loaders_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variants(tmp_path, LEVELS)
    (tmp_path / "conf").write_text(f"{tmp_path}\n")
    ldconfig = shutil.which("ldconfig", path="/sbin:/usr/sbin")
    assert ldconfig is not None
    subprocess.run([ldconfig, "-X", "-C", tmp_path / "cache", "-f", tmp_path / "conf"], check=True, capture_output=True)
    monkeypatch.setattr(files, "CACHE", str(tmp_path / "cache"))
    for order in (["x86-64-v3", "x86-64-v2"], ["x86-64-v2"], []):
        monkeypatch.setattr(files, "searched", lambda environ, order=order: order)
        expected = tmp_path / "glibc-hwcaps" / order[0] if order else tmp_path
        assert files.find("libwhich.so.1", None, {}).path == str(expected / "libwhich.so.1")
        assert len(files.find("libwhich.so.1", None, {}).others) == 3

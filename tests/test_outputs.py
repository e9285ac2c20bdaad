"""Generated files: whole or untouched, and what --check, --diff and -MD say of them."""

from __future__ import annotations

import os
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import specc.outputs as outputs_module
from specc.diagnostics import Stop
from specc.outputs import (
    check_orphans,
    check_outputs,
    claim,
    diff_outputs,
    make_dependencies,
    seal,
    seal_state,
    write_outputs,
)

ELF = b"\x7fELF\2\1\1\0 object"


def plan(c: str = "int a;\n") -> dict[str, bytes]:
    return {"gup.bpf.c": seal(c).encode(), "gup.bpf.o": ELF, "gup.h": seal("struct gup;\n").encode()}


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "generated"


def mount(place: Path, *options: str) -> None:
    done = subprocess.run(["mount", *options, str(place)], capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"cannot mount here: {done.stderr.decode().strip()}")


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "tiny"
    place.mkdir()
    mount(place, "-t", "tmpfs", "-o", "size=64k", "tmpfs")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


# --- the seal ---------------------------------------------------------------------------------------------------------


def test_the_seal_is_pinned() -> None:
    """Files in users' repositories carry it: it must not change from one version to the next."""
    assert seal("int a;\n") == "int a;\n/* specc: sha256 386593f1475dc210 */\n"
    assert seal("a = 1\n", "python") == "a = 1\n# specc: sha256 cb78bd8a17f7b751\n"
    assert seal('{\n  "a": 1\n}\n', "json") == '{\n  "a": 1,\n  "$comment": "specc: sha256 258d97188c1e1b71"\n}\n'


@pytest.mark.parametrize(
    ("change", "state"),
    [
        (lambda t: t, "intact"),
        (lambda t: t.replace("int a", "int b"), "edited"),
        (lambda t: t + "\n", "edited"),
        (lambda t: t + "int c;\n", "edited"),
        (lambda t: t.replace("/* specc", "  /* specc"), "edited"),
        (lambda t: t.replace("\n", "\r\n"), "edited"),
        (lambda t: t.rstrip("\n"), "edited"),
        (lambda t: "int a;\n", "unsealed"),
        (lambda t: "", "unsealed"),
        (lambda t: t.replace("sha256 ", "sha256 X"), "unsealed"),
        (lambda t: seal(t), "intact"),
        (lambda t: seal(t, "python"), "intact"),
        (lambda t: seal('{\n  "a": 1\n}\n', "json"), "intact"),
        (lambda t: seal('{\n  "a": 1\n}\n', "json").replace("1", "2"), "edited"),
        (lambda t: seal('{\n  "a": 1\n}\n', "json").replace("\n}", ',\n  "b": 2\n}'), "edited"),
        (lambda t: t.replace("int a;\n", ""), "edited"),
    ],
)
def test_seal_state(change: Callable[[str], str], state: str) -> None:
    assert seal_state(change(seal("int a;\n")).encode()) == state


def test_seal_of_a_text_without_a_last_newline() -> None:
    assert seal("int a;") == seal("int a;\n")
    assert seal_state(seal("").encode()) == "intact"


@given(st.text(st.characters(exclude_categories=["Cs"])), st.sampled_from(["c", "python", "json"]), st.data())
def test_every_edit_breaks_the_seal(text: str, language: str, data: st.DataObject) -> None:
    sealed = seal(text, language).encode()
    assert seal_state(sealed) == "intact"
    at = data.draw(st.integers(0, len(sealed) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda b: b != sealed[at]))
    assert seal_state(sealed[:at] + bytes([byte]) + sealed[at + 1 :]) != "intact"
    assert seal_state(sealed[:at] + sealed[at + 1 :]) != "intact"


@given(st.binary(max_size=200))
def test_any_bytes_have_a_state(data: bytes) -> None:
    assert seal_state(data) == "unsealed"
    assert seal_state(data + b"/* specc: sha256 0123456789abcdef */\n") == "edited"


# --- writing ----------------------------------------------------------------------------------------------------------


def test_write_and_write_again(out: Path) -> None:
    assert write_outputs(plan(), str(out)) == dict.fromkeys(plan(), "created")
    assert tree(out) == plan()
    old = time.time() - 1000
    for file in out.iterdir():
        os.utime(file, (old, old))
    inodes = {p.name: (p.stat().st_ino, p.stat().st_mtime) for p in out.iterdir()}

    assert write_outputs(plan(), str(out)) == dict.fromkeys(plan(), "unchanged")
    assert {p.name: (p.stat().st_ino, p.stat().st_mtime) for p in out.iterdir()} == inodes

    done = write_outputs(plan("int b;\n"), str(out))
    assert done == {"gup.bpf.c": "updated", "gup.bpf.o": "unchanged", "gup.h": "unchanged"}
    assert tree(out) == plan("int b;\n")
    assert (out / "gup.h").stat().st_mtime == inodes["gup.h"][1]
    assert (out / "gup.bpf.c").stat().st_mtime > old + 500


def test_an_edited_file_is_repaired(out: Path) -> None:
    write_outputs(plan(), str(out))
    (out / "gup.h").write_text(seal("struct gup;\n").replace("gup", "gap", 1))
    assert write_outputs(plan(), str(out))["gup.h"] == "repaired"
    assert tree(out) == plan()


def test_an_empty_file_is_filled(out: Path) -> None:
    out.mkdir()
    (out / "gup.h").touch()
    (out / "gup.bpf.o").touch()
    done = write_outputs(plan(), str(out))
    assert done == {"gup.bpf.c": "created", "gup.bpf.o": "updated", "gup.h": "updated"}


def test_directories_are_made(tmp_path: Path) -> None:
    write_outputs({"sub/gup.h": b"x"}, str(tmp_path / "a" / "b"))
    assert tree(tmp_path) == {"a/b/sub/gup.h": b"x"}


def test_the_working_directory_is_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for outdir in (".", ""):
        write_outputs({f"{len(outdir)}.h": b"x"}, outdir)
    assert tree(tmp_path) == {"0.h": b"x", "1.h": b"x"}


def test_the_output_directory_may_be_a_link(tmp_path: Path, out: Path) -> None:
    (tmp_path / "real").mkdir()
    out.symlink_to("real")
    write_outputs(plan(), str(out))
    assert tree(tmp_path / "real") == plan()


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_modes_follow_the_umask(out: Path, umask: int, mode: int) -> None:
    out.mkdir()
    (out / "gup.h").write_text(seal("old\n"))
    (out / "gup.h").chmod(0o755)
    before = os.umask(umask)
    try:
        write_outputs(plan(), str(out))
    finally:
        os.umask(before)
    assert {stat.S_IMODE(p.stat().st_mode) for p in out.iterdir()} == {mode}


@pytest.mark.parametrize("name", ["", "/etc/x", "../x", "a/../../x", "a\0b"])
def test_a_plan_cannot_leave_the_directory(out: Path, name: str) -> None:
    with pytest.raises(ValueError, match="output directory"):
        write_outputs({name: b""}, str(out))
    assert not out.exists()


def refused(planned: dict[str, bytes], out: Path) -> tuple[str, str]:
    """The code and the message of a refusal, after which everything is as before."""
    before = tree(out) if out.is_dir() else {}
    with pytest.raises(Stop) as caught:
        write_outputs(planned, str(out))
    assert (tree(out) if out.is_dir() else {}) == before
    return caught.value.diagnostic.code, caught.value.diagnostic.message.replace(str(out), "OUT")


def block(out: Path, what: str) -> None:
    out.mkdir()
    (out / "gup.bpf.c").write_text(seal("old\n"))
    place = out / "gup.h"
    match what:
        case "directory":
            place.mkdir()
        case "link":
            (out / "other").write_text("mine")
            place.symlink_to("other")
        case "dangling link":
            place.symlink_to("nowhere")
        case "pipe":
            os.mkfifo(place)
        case "hand-written":
            place.write_text("struct mine;\n")


@pytest.mark.parametrize(
    ("what", "code", "message"),
    [
        ("directory", "SP507", "a directory is where the output file OUT/gup.h belongs"),
        ("link", "SP507", "a symbolic link is where the output file OUT/gup.h belongs"),
        ("dangling link", "SP507", "a symbolic link is where the output file OUT/gup.h belongs"),
        ("pipe", "SP507", "a named pipe is where the output file OUT/gup.h belongs"),
        ("hand-written", "SP505", "OUT/gup.h exists and was not written by specc"),
    ],
)
def test_what_is_in_the_way_stays(out: Path, what: str, code: str, message: str) -> None:
    block(out, what)
    assert refused(plan(), out) == (code, message)


def test_all_that_is_in_the_way_is_told(out: Path) -> None:
    out.mkdir(exist_ok=True)
    (out / "a.bpf.c").write_text("mine")
    (out / "a.h").mkdir()
    planned = {"a.bpf.c": seal("int a;\n").encode(), "a.bpf.o": b"\x7fELF", "a.h": seal("int b;\n").encode()}
    with pytest.raises(Stop) as caught:
        write_outputs(planned, str(out))
    found = caught.value.diagnostic
    assert (found.code, found.message) == ("SP505", f"{out}/a.bpf.c exists and was not written by specc")
    assert found.notes == (f"also: a directory is where the output file {out}/a.h belongs",)
    assert sorted(p.name for p in out.iterdir()) == ["a.bpf.c", "a.h"]


def test_no_object_over_what_is_no_object(out: Path) -> None:
    out.mkdir()
    (out / "gup.bpf.o").write_text("notes")
    assert refused(plan(), out) == ("SP505", "OUT/gup.bpf.o exists and was not written by specc")


def test_a_file_where_the_directory_belongs(out: Path) -> None:
    out.write_text("mine")
    code, message = refused(plan(), out)
    assert (code, message) == (
        "SP507",
        "cannot write OUT/gup.bpf.c: a part of the path is in the way (Not a directory)",
    )
    assert out.read_text() == "mine"


def test_a_full_disk_changes_nothing(tiny_disk: Path) -> None:
    write_outputs(plan(), str(tiny_disk))
    code, message = refused({**plan("int b;\n"), "big.h": os.urandom(1 << 20)}, tiny_disk)
    assert code == "SP506"
    assert message.endswith("big.h: No space left on device")


def test_a_read_only_directory(tmp_path: Path) -> None:
    place = tmp_path / "ro"
    place.mkdir()
    mount(place, "-t", "tmpfs", "-o", "ro", "tmpfs")
    try:
        assert refused(plan(), place) == ("SP506", "cannot write OUT/gup.bpf.c: Read-only file system")
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_an_interrupt_between_renames(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C after the first of three files: the other two follow, then the interrupt."""
    write_outputs(plan(), str(out))
    planned = {name: data.replace(b"int a", b"int b") for name, data in plan().items()} | {
        "gup.bpf.c": seal("int c;\n").encode(),
        "gup.bpf.o": ELF + b"2",
        "gup.h": seal("struct gup2;\n").encode(),
    }
    real = os.replace
    calls: list[str] = []

    def replace(source: str, target: str) -> None:
        calls.append(target)
        if len(calls) == 1:
            real(source, target)  # the signal comes after the system call
            raise KeyboardInterrupt
        if len(calls) == 2:
            raise KeyboardInterrupt  # and before it
        real(source, target)

    monkeypatch.setattr(outputs_module.os, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        write_outputs(planned, str(out))
    assert tree(out) == planned


# --- checking ---------------------------------------------------------------------------------------------------------


def findings(planned: dict[str, bytes], out: Path) -> list[tuple[str, str]]:
    before = tree(out) if out.exists() else None
    report = check_outputs(planned, str(out))
    assert (tree(out) if out.exists() else None) == before
    for d in report.diagnostics:
        assert d.where is not None and d.help
    return [(d.code, d.message.replace(str(out), "OUT")) for d in report.diagnostics]


def test_check(out: Path) -> None:
    assert [code for code, _ in findings(plan(), out)] == ["SP501"] * 3
    write_outputs(plan(), str(out))
    assert findings(plan(), out) == []
    assert findings(plan("int b;\n"), out) == [("SP502", "OUT/gup.bpf.c is stale: the spec gives something else now")]
    (out / "gup.h").write_text(seal("struct gup;\n").replace("gup", "gap", 1))
    (out / "gup.bpf.o").unlink()
    (out / "gup.bpf.c").write_text("int a;\n")
    assert findings(plan(), out) == [
        ("SP503", "OUT/gup.bpf.c has lost its seal: it was edited, or is not specc's"),
        ("SP501", "OUT/gup.bpf.o is missing"),
        ("SP503", "OUT/gup.h was edited by hand"),
    ]
    (out / "gup.bpf.o").write_bytes(ELF + b"2")
    assert ("SP502", "OUT/gup.bpf.o is stale: the spec gives something else now") in findings(plan(), out)


@pytest.mark.parametrize("what", ["directory", "link", "dangling link", "pipe"])
def test_check_sees_what_is_in_the_way(out: Path, what: str) -> None:
    block(out, what)
    assert [code for code, _ in findings(plan(), out)] == ["SP502", "SP501", "SP507"]


def test_orphans(out: Path) -> None:
    write_outputs(plan() | {"gup.d": b"x", "gup.py": seal("x = 1\n", "python").encode()}, str(out))
    write_outputs({"net.bpf.c": seal("int n;\n").encode(), "net.bpf.o": ELF}, str(out))
    (out / "mine.h").write_text("struct mine;\n")
    (out / "mine.bpf.o").write_bytes(ELF)
    (out / "README.md").write_text("/* specc: sha256 0123456789abcdef */\n")
    (out / "mine.schema.json").write_text("{}\n")
    write_outputs({"old.schema.json": seal("{\n}\n", "json").encode()}, str(out))
    (out / "sub.h").mkdir()
    (out / "edited.h").write_text(seal("old\n") + "more\n")

    def orphans(*names: str) -> list[str]:
        report = check_orphans(names, str(out))
        assert {d.code for d in report.diagnostics} <= {"SP504"}
        return [d.message.removeprefix(f"{out}/").split()[0] for d in report.diagnostics]

    assert orphans(*plan(), "gup.d", "gup.py", "net.bpf.c", "net.bpf.o") == ["edited.h", "old.schema.json"]
    assert orphans("net.bpf.c", "net.bpf.o", "edited.h") == [
        "gup.bpf.c",
        "gup.bpf.o",
        "gup.d",
        "gup.h",
        "gup.py",
        "old.schema.json",
    ]
    assert orphans(*plan(), "gup.py", "net.bpf.c", "edited.h", "old.schema.json") == []
    assert check_orphans([], str(out / "none")).diagnostics == []


def test_claim() -> None:
    taken: dict[str, str] = {}
    assert claim(taken, "specs/a.yaml", ["gup.h", "gup.bpf.c"]) is None
    assert claim(taken, "specs/a.yaml", ["gup.h"]) is None
    assert claim(taken, "specs/b.yaml", ["net.h"]) is None
    found = claim(taken, "specs/c.yaml", ["c.h", "net.h"])
    assert found is not None
    assert (found.code, found.message) == ("SP508", "two specs would write net.h: specs/b.yaml and specs/c.yaml")


def test_diff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert diff_outputs({"a.h": b"1\n2\n"}, "gen") == "--- /dev/null\n+++ b/gen/a.h\n@@ -0,0 +1,2 @@\n+1\n+2\n"
    write_outputs({"a.h": b"1\n2\n3", "b.o": ELF, "c.h": b"same\n"}, "gen")
    assert diff_outputs({"a.h": b"1\nx\n3", "b.o": ELF + b"2", "c.h": b"same\n", "d.o": ELF}, "gen") == (
        "--- a/gen/a.h\n+++ b/gen/a.h\n@@ -1,3 +1,3 @@\n 1\n-2\n+x\n 3\n\\ No newline at end of file\n"
        "Binary files gen/b.o and gen/b.o (planned) differ\n"
        "Binary files /dev/null and gen/d.o (planned) differ\n"
    )
    assert diff_outputs({"c.h": b"same\n"}, "gen") == ""


def test_a_diff_applies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_outputs(plan(), "gen")
    text = diff_outputs({"gup.bpf.c": seal("int b;\n").encode(), "new.h": b"n\n"}, "gen")
    subprocess.run(["git", "apply", "-"], input=text.encode(), check=True)
    assert (tmp_path / "gen/gup.bpf.c").read_text() == seal("int b;\n")
    assert (tmp_path / "gen/new.h").read_text() == "n\n"


# --- make -------------------------------------------------------------------------------------------------------------


def test_make_dependencies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "project"
    for folder in (here / "include", here / "real" / "deep", tmp_path / "shared"):
        folder.mkdir(parents=True)
    (here / "specs").symlink_to("real/deep")
    monkeypatch.chdir(here)
    text = make_dependencies(
        ["generated/gup.bpf.c", f"{here}/generated/gup.bpf.o"],
        [
            "specs/gup.yaml",
            f"{here}/include/mm.h",
            "include/../include/mm.h",  # the same file
            "/usr/include/stdio.h",
            "../shared/s.h",
            f"{tmp_path}/shared/s.h",  # the same file
            "specs/../mm.h",  # real/mm.h, for specs is a link
            "include",
            "/sys/kernel/btf/vmlinux",
        ],
    )
    assert text == (
        "generated/gup.bpf.c generated/gup.bpf.o: specs/gup.yaml \\\n"
        "  include/mm.h \\\n  /usr/include/stdio.h \\\n  ../shared/s.h \\\n  real/mm.h\n"
        "include/mm.h:\n/usr/include/stdio.h:\n../shared/s.h:\nreal/mm.h:\n"
    )


@pytest.mark.parametrize("name", ["a b.h", "a$b.h", "a#b.h", "a%b.h", "a:b.h", "a\\b.h", "a\\ b.h", "ä.h", "a  b$$#.h"])
def test_make_reads_odd_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    for file in ("spec.yaml", "gen.c", name):
        Path(file).touch()
    old = time.time() - 1000
    Path("Makefile").write_text("all: gen.c\ngen.c:\n\t@echo rebuilt\ninclude gen.d\n")
    Path("gen.d").write_text(make_dependencies(["gen.c"], ["spec.yaml", name]))

    def make() -> str:
        return subprocess.run(["make", "-s"], capture_output=True, text=True, check=True).stdout

    for file in ("spec.yaml", name):
        os.utime(file, (old, old))
    assert make() == ""
    os.utime(name, (time.time() + 100, time.time() + 100))
    assert make() == "rebuilt\n"
    os.utime(name, (old, old))
    assert make() == ""
    Path(name).unlink()
    assert make() == "rebuilt\n"  # a header that is gone is no error

"""Compilers: found or told why not; their objects: right, loadable, and the same bytes everywhere."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

import specc.build as build_module
import specc.compiler.ask as ask_module
from specc.build import compile_object, compile_objects
from specc.cache import Cache, digest
from specc.compiler import Compiler, environment
from specc.compiler.find import find_compiler
from specc.diagnostics import Diagnostic, Stop

ROOT = Path(__file__).parent.parent
NO_CACHE = Cache(None)

C_TEXT = """\
typedef unsigned int __u32;
typedef unsigned long long __u64;
#define SEC(name) __attribute__((section(name), used))
#define __uint(name, value) int (*name)[value]

struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
};

static void *(*const bpf_ringbuf_reserve)(void *, __u64, __u64) = (void *)131;
static void (*const bpf_ringbuf_submit)(void *, __u64) = (void *)132;
static long (*const READ)(void *, __u32, const void *) = (void *)NUMBER;
static __u64 (*const bpf_get_current_pid_tgid)(void) = (void *)14;

struct event {
	__u64 pid_tgid;
	__u64 start;
	int seventh;
	int error;
};

struct {
	__uint(type, 27);
	__uint(max_entries, 1 << 20);
} events SEC(".maps");

SEC("SECTION")
int probe(struct pt_regs *ctx)
{
	struct event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

	if (!event)
		return 0;
	event->pid_tgid = bpf_get_current_pid_tgid();
	event->start = ctx->si;
	event->error = READ(&event->seventh, sizeof(event->seventh), (const void *)(ctx->sp + 8));
	bpf_ringbuf_submit(event, 0);
	return 0;
}

_Static_assert(sizeof(struct event) == 24, "event layout");

char LICENSE[] SEC("license") = "GPL";
"""
KPROBE = C_TEXT.replace("NUMBER", "113").replace("READ", "bpf_probe_read_kernel").replace("SECTION", "kprobe/do_futex")
UPROBE = C_TEXT.replace("NUMBER", "112").replace("READ", "bpf_probe_read_user").replace("SECTION", "uprobe//bin/true:x")


@pytest.fixture(scope="module", params=["clang", "clang-14", "clang-19", "zig"])
def compiler(request: pytest.FixtureRequest) -> Compiler:
    try:
        return find_compiler(request.param, cache=NO_CACHE)
    except Stop as problem:
        pytest.skip(f"{request.param}: {problem.diagnostic.message}")


@pytest.fixture(scope="module")
def any_compiler() -> Compiler:
    return find_compiler(cache=NO_CACHE)


def script(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def fake(path: Path, body: str) -> Compiler:
    """A compiler that is a shell script; `$c` and `$o` are its source and its object."""
    path = script(path, f"for a; do case $a in *.bpf.c) c=$a;; *.bpf.o) o=$a;; esac; done\n{body}")
    return Compiler("clang", str(path), "14.0.0", "fake")


def failure(compiler: Compiler, c_text: str = KPROBE, cache: Cache = NO_CACHE) -> Diagnostic:
    with pytest.raises(Stop) as caught:
        compile_object(c_text, "gup", compiler, cache=cache)
    return caught.value.diagnostic


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """$TMPDIR, empty before and after."""
    place = tmp_path / "scratch"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    return place


# --- objects ----------------------------------------------------------------------------------------------------------


def sections(data: bytes) -> dict[str, bytes]:
    return {s.name: s.data() for s in ELFFile(io.BytesIO(data)).iter_sections()}


def test_an_object_has_btf_and_nothing_of_this_machine(compiler: Compiler, scratch: Path) -> None:
    data = compile_object(KPROBE, "gup", compiler, cache=NO_CACHE)
    found = sections(data)
    assert {"kprobe/do_futex", ".maps", "license", ".BTF", ".BTF.ext"} <= set(found)
    assert [name for name in found if name.startswith((".debug_info", ".debug_str", ".debug_line"))] == []
    strings = found[".BTF"].split(b"\0")
    assert b"./gup.bpf.c" in strings
    assert b"\tevent->start = ctx->si;" in strings  # the verifier's log shows these lines
    for leak in (str(scratch), str(ROOT), os.path.expanduser("~/"), compiler.version, "clang", "/tmp"):
        assert leak.encode() not in data, leak
    assert len(data) < 5000
    assert list(scratch.iterdir()) == []


def test_the_object_is_that_of_a_plain_command(compiler: Compiler, tmp_path: Path) -> None:
    """Leaving DWARF out changes neither code nor BTF nor its relocations to source lines."""
    (tmp_path / "gup.bpf.c").write_text(KPROBE)
    start = [compiler.path, "clang"] if compiler.kind == "zig" else [compiler.path]
    options = [
        "-target",
        "bpf",
        "-mcpu=v3",
        "-O2",
        "-g",
        "-fdebug-compilation-dir=.",
        "-c",
        "gup.bpf.c",
        "-o",
        "gup.bpf.o",
    ]
    subprocess.run([*start, *options], cwd=tmp_path, check=True)
    plain = sections((tmp_path / "gup.bpf.o").read_bytes())
    ours = sections(compile_object(KPROBE, "gup", compiler, cache=NO_CACHE))
    assert ".debug_info" in plain
    for name in ("kprobe/do_futex", ".maps", "license", ".BTF", ".BTF.ext"):
        assert ours[name] == plain[name], name


@pytest.mark.skipif(os.geteuid() != 0, reason="loading BPF programs needs root")
@pytest.mark.skipif(shutil.which("bpftool") is None, reason="bpftool is not installed")
@pytest.mark.parametrize("c_text", [KPROBE, UPROBE], ids=["kprobe", "uprobe"])
def test_the_kernel_takes_it(compiler: Compiler, c_text: str, tmp_path: Path) -> None:
    (tmp_path / "gup.bpf.o").write_bytes(compile_object(c_text, "gup", compiler, cache=NO_CACHE))
    pin = Path(f"/sys/fs/bpf/specc_test_{os.getpid()}")
    done = subprocess.run(
        ["bpftool", "prog", "load", str(tmp_path / "gup.bpf.o"), str(pin), "type", "kprobe"],
        capture_output=True,
        text=True,
        check=False,
    )
    if "bpffs" in done.stderr or "Operation not permitted" in done.stderr:
        pytest.skip(f"this kernel or container loads no BPF: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    shown = subprocess.run(["bpftool", "prog", "show", "pinned", str(pin)], capture_output=True, text=True, check=True)
    pin.unlink()
    assert "name probe" in shown.stdout and "gpl" in shown.stdout


_ONCE = """
import sys, hashlib
from specc.build import compile_objects
from specc.cache import Cache
from specc.compiler.find import find_compiler
c_text, workers, compiler = sys.stdin.read(), int(sys.argv[1]), find_compiler(sys.argv[2], cache=Cache(None))
jobs = ((i, f"gup{i}", c_text) for i in range(6))
for i, data in compile_objects(jobs, compiler, workers=workers, cache=Cache(None)):
    print(i, hashlib.sha256(data).hexdigest())
"""


def test_the_same_bytes_everywhere(compiler: Compiler, tmp_path: Path) -> None:
    """Directories, time zones, umasks, hash seeds, languages, the user's settings, the number of compilers."""
    poison = tmp_path / "poison"
    poison.mkdir()
    (poison / "stdint.h").write_text("#error poison\n")
    worlds: list[tuple[str, int, dict[str, str], int]] = [
        ("a", 1, {}, 0o022),
        ("a/much/deeper/directory", 4, {"TZ": "Pacific/Kiritimati", "PYTHONHASHSEED": "1"}, 0o077),
        ("b", 4, {"TZ": "UTC", "PYTHONHASHSEED": "2", "LANG": "de_DE.UTF-8", "SOURCE_DATE_EPOCH": "1"}, 0o002),
        ("c d", 2, {"HOME": "{tmp}/c d", "TMPDIR": "{tmp}/c d", "USER": "nobody", "CPATH": "{tmp}/poison"}, 0o022),
        ("e", 1, {"CCC_OVERRIDE_OPTIONS": "+-DX=1", "C_INCLUDE_PATH": "{tmp}/poison", "LC_ALL": "C.UTF-8"}, 0o022),
    ]
    seen: set[str] = set()
    for folder, workers, settings, umask in worlds:
        place = tmp_path / folder
        place.mkdir(parents=True)
        env = {**os.environ, "PYTHONPATH": str(ROOT)} | {k: v.format(tmp=tmp_path) for k, v in settings.items()}
        done = subprocess.run(
            [sys.executable, "-c", _ONCE, str(workers), compiler.path],
            input=KPROBE,
            capture_output=True,
            text=True,
            check=True,
            cwd=place,
            env=env,
            umask=umask,
        )
        assert len(done.stdout.splitlines()) == 6
        seen.add(done.stdout)
    assert len(seen) == 1


def test_the_name_is_in_the_object(any_compiler: Compiler) -> None:
    one = compile_object(KPROBE, "one", any_compiler, cache=NO_CACHE)
    two = compile_object(KPROBE, "two", any_compiler, cache=NO_CACHE)
    assert one.replace(b"one.bpf.c", b"two.bpf.c") == two


@pytest.mark.parametrize("name", ["", "../x", "a b", "a.b", "ä", "-o"])
def test_a_name_is_an_identifier(any_compiler: Compiler, name: str) -> None:
    with pytest.raises(ValueError, match="identifier"):
        compile_object(KPROBE, name, any_compiler, cache=NO_CACHE)


# --- many objects -----------------------------------------------------------------------------------------------------


def test_results_come_in_the_order_of_the_jobs(tmp_path: Path, scratch: Path) -> None:
    # The first job is the slowest: job i sleeps (5 - i) / 20 s.
    slow = fake(tmp_path / "cc", 'n=${c#j}; n=${n%.bpf.c}; sleep 0.$((25 - 5 * n)); printf "\\177ELF%s" "$n" > "$o"')
    jobs = [(f"tag {i}", f"j{i}", f"text {i}") for i in range(5)]
    results = list(compile_objects(iter(jobs), slow, workers=5, cache=NO_CACHE))
    assert results == [(f"tag {i}", b"\x7fELF%d" % i) for i in range(5)]
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("workers", [1, 3])
def test_so_many_compilers_and_no_more(tmp_path: Path, workers: int) -> None:
    counting = fake(
        tmp_path / "cc",
        f'cd "{tmp_path}"; touch run.$$; ls run.* | wc -l >> seen; sleep 0.05; rm run.$$; cd "$OLDPWD"; printf "\\177ELF" > "$o"',
    )
    jobs = [(i, f"j{i}", f"text {i}") for i in range(9)]
    assert len(list(compile_objects(jobs, counting, workers=workers, cache=NO_CACHE))) == 9
    seen = [int(n) for n in (tmp_path / "seen").read_text().split()]
    assert len(seen) == 9 and max(seen) == workers


def test_the_front_end_works_while_compilers_run(tmp_path: Path) -> None:
    """The next job is drawn before the first compiler has ended, and not all of them at once."""
    waiting = fake(tmp_path / "cc", f'while [ ! -e "{tmp_path}/go" ]; do sleep 0.01; done; printf "\\177ELF" > "$o"')
    drawn: list[int] = []

    def jobs() -> Iterator[tuple[int, str, str]]:
        for i in range(100):
            drawn.append(i)
            if i == 2:
                (tmp_path / "go").touch()  # or no compiler ever ends
            yield i, f"j{i}", f"text {i}"

    results = compile_objects(jobs(), waiting, workers=2, cache=NO_CACHE)
    assert next(results)[0] == 0
    assert 3 <= len(drawn) < 40
    assert [i for i, _ in results] == list(range(1, 100))


def test_no_jobs(any_compiler: Compiler) -> None:
    assert list(compile_objects([], any_compiler, cache=NO_CACHE)) == []


def test_one_bad_job_does_not_stop_the_others(any_compiler: Compiler, scratch: Path) -> None:
    jobs = [(0, "a", KPROBE), (1, "b", "int x = ;\n"), (2, "c", KPROBE)]
    results = [r for _, r in compile_objects(jobs, any_compiler, workers=2, cache=NO_CACHE)]
    assert isinstance(results[0], bytes) and isinstance(results[2], bytes)
    assert isinstance(results[1], Diagnostic) and results[1].code == "SP402"


def test_an_error_in_the_front_end_ends_the_compilers(tmp_path: Path, scratch: Path) -> None:
    slow = fake(tmp_path / "cc", f'echo $$ > "{tmp_path}/pid"; exec sleep 600')

    def jobs() -> Iterator[tuple[int, str, str]]:
        yield 0, "a", "text"
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            time.sleep(0.01)
        raise RuntimeError("front end")

    with pytest.raises(RuntimeError, match="front end"):
        list(compile_objects(jobs(), slow, workers=2, cache=NO_CACHE))
    assert not Path(f"/proc/{int((tmp_path / 'pid').read_text())}").exists()
    assert list(scratch.iterdir()) == []


def test_closing_early_ends_the_compilers(tmp_path: Path, scratch: Path) -> None:
    cc = fake(
        tmp_path / "cc",
        f'case $c in a*) printf "\\177ELF" > "$o";; *) echo $$ >> "{tmp_path}/pids"; exec sleep 600;; esac',
    )
    results = compile_objects([(i, n, n) for i, n in enumerate("abc")], cc, workers=2, cache=NO_CACHE)
    assert next(results) == (0, b"\x7fELF")
    results.close()  # type: ignore[attr-defined]
    pids = (tmp_path / "pids").read_text().split() if (tmp_path / "pids").exists() else []
    assert [p for p in pids if Path(f"/proc/{p}").exists()] == []
    assert list(scratch.iterdir()) == []


# --- the object cache -------------------------------------------------------------------------------------------------


def test_an_object_is_compiled_once(tmp_path: Path) -> None:
    counting = fake(tmp_path / "cc", f'echo >> "{tmp_path}/runs"; cat "$c" | {{ printf "\\177ELF"; cat; }} > "$o"')
    cache = Cache(str(tmp_path / "cache"))

    def runs() -> int:
        return len((tmp_path / "runs").read_text())

    first = compile_object("text", "gup", counting, cache=cache)
    assert (first, runs()) == (b"\x7fELFtext", 1)
    assert (compile_object("text", "gup", counting, cache=cache), runs()) == (first, 1)
    compile_object("text2", "gup", counting, cache=cache)
    assert runs() == 2
    compile_object("text", "gup2", counting, cache=cache)
    assert runs() == 3
    compile_object("text", "gup", Compiler("clang", counting.path, "14.0.0", "another"), cache=cache)
    assert runs() == 4
    compile_object("text", "gup", counting, cache=NO_CACHE)
    assert runs() == 5


def test_an_error_is_not_cached(tmp_path: Path) -> None:
    flaky = fake(tmp_path / "cc", f'[ -e "{tmp_path}/ok" ] && printf "\\177ELF" > "$o"')
    cache = Cache(str(tmp_path / "cache"))
    assert failure(flaky, cache=cache).code == "SP402"
    (tmp_path / "ok").touch()
    assert compile_object(KPROBE, "gup", flaky, cache=cache) == b"\x7fELF"


# --- what can go wrong ------------------------------------------------------------------------------------------------


def test_rejected_c(compiler: Compiler, tmp_path: Path, scratch: Path) -> None:
    bad = KPROBE.replace("return 0;", "return 0 +;").replace("== 24", "== 32")
    cache = Cache(str(tmp_path / "cache"))
    found = failure(compiler, bad, cache)
    line = bad.splitlines().index("\t\treturn 0 +;") + 1
    assert found.code == "SP402"
    assert found.message == "the compiler rejects the C that specc made for `gup`: expected expression"
    assert found.where is not None and (found.where.line, found.where.column) == (line, 13)
    assert Path(found.where.file).read_text() == bad
    assert str(found.where.file).startswith(f"{tmp_path}/cache/")
    assert any("event layout" in note for note in found.notes)
    assert compiler.version in found.notes[-1]
    assert found.help is not None and "bug of specc" in found.help and found.where.file in found.help
    assert list(scratch.iterdir()) == []


def test_rejected_c_is_kept_without_a_cache_too(any_compiler: Compiler, scratch: Path) -> None:
    found = failure(any_compiler, "int x = ;\n")
    assert found.where is not None
    assert Path(found.where.file).read_text() == "int x = ;\n"
    assert scratch in Path(found.where.file).parents


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ("kill -9 $$", "SP406", "the compiler CC was killed by SIGKILL (at `gup`)"),
        (
            "exit 0",
            "SP406",
            "the compiler CC succeeded, but its object cannot be read: No such file or directory (at `gup`)",
        ),
        ('echo text > "$o"', "SP406", "the compiler CC succeeded, but wrote no ELF object (at `gup`)"),
        ("exit 1", "SP402", "the compiler rejects the C that specc made for `gup`: no message"),
        ("echo strange >&2; exit 1", "SP402", "the compiler rejects the C that specc made for `gup`: strange"),
        ("echo 'error: x: No space left on device' >&2; exit 1", "SP407", None),
    ],
)
def test_trouble(tmp_path: Path, scratch: Path, body: str, code: str, message: str | None) -> None:
    cc = fake(tmp_path / "cc", body)
    found = failure(cc, cache=Cache(str(tmp_path / "cache")))
    assert found.code == code
    if message is not None:
        assert found.message.replace(cc.path, "CC") == message
    assert list(scratch.iterdir()) == []


def test_a_compiler_that_is_gone(tmp_path: Path, scratch: Path) -> None:
    cc = fake(tmp_path / "cc", "")
    Path(cc.path).unlink()
    found = failure(cc)
    assert (found.code, found.message) == ("SP406", f"the compiler {cc.path} does not start: No such file or directory")
    assert list(scratch.iterdir()) == []


def test_a_compiler_that_hangs(tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_module, "TIMEOUT_SECONDS", 0.2)
    cc = fake(tmp_path / "cc", f'echo $$ > "{tmp_path}/pid"; exec sleep 600')
    found = failure(cc)
    assert found.code == "SP406" and "did not end within" in found.message
    assert not Path(f"/proc/{int((tmp_path / 'pid').read_text())}").exists()
    assert list(scratch.iterdir()) == []


def test_a_compiler_that_talks_much(tmp_path: Path) -> None:
    """More than a pipe holds; and only the first errors are told, with the number of the others."""
    text = "gup.bpf.c:3:4: error: wrong"
    cc = fake(tmp_path / "cc", f'i=0; while [ $i -lt 20000 ]; do echo "{text} $i"; i=$((i + 1)); done >&2; exit 1')
    found = failure(cc, cache=Cache(str(tmp_path / "cache")))
    assert found.message.endswith(": wrong 0")
    assert found.notes[:5] == ("3:4: wrong 1", "3:4: wrong 2", "3:4: wrong 3", "3:4: wrong 4", "and 19995 more errors")


def test_no_place_for_temporary_files(any_compiler: Compiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "none"))
    found = failure(any_compiler)
    assert (found.code, found.message) == (
        "SP407",
        f"cannot write temporary files in {tmp_path}/none: No such file or directory",
    )


@pytest.mark.parametrize("size", ["20k", "12k"])  # not enough for the source; for the object
def test_a_full_disk(compiler: Compiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: str) -> None:
    place = tmp_path / "tiny"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount a tmpfs here: {mounted.stderr.decode().strip()}")
    try:
        monkeypatch.setenv("TMPDIR", str(place))
        c_text = KPROBE + "/*" + "x" * (20_000 if size == "20k" else 13_000 - len(KPROBE)) + "*/\n"
        found = failure(compiler, c_text)
        assert found.code == "SP407" and "No space left on device" in found.message
        assert list(place.iterdir()) == []
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


_SLOW = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what it runs in the background ignore it
from specc.build import compile_objects
from specc.cache import Cache
from specc.compiler import Compiler
try:
    list(compile_objects([(0, "a", "x"), (1, "b", "y"), (2, "c", "z")], Compiler("clang", sys.argv[1], "14", ""), workers=2, cache=Cache(None)))
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("to", ["process", "group", "compiler"])
def test_ctrl_c(tmp_path: Path, scratch: Path, to: str) -> None:
    """Compilers end, temporary files go, and nothing is told but the interrupt."""
    cc = fake(tmp_path / "cc", f'echo $$ >> "{tmp_path}/pids"; exec sleep 600')
    process = subprocess.Popen(
        [sys.executable, "-c", _SLOW, cc.path],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        start_new_session=True,
    )

    def pids() -> list[int]:
        text = (tmp_path / "pids").read_text() if (tmp_path / "pids").exists() else ""
        return [int(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    while len(pids()) < 2 or not all(comm(pid) == "sleep" for pid in pids()):
        assert process.poll() is None
        time.sleep(0.01)
    match to:
        case "process":
            process.send_signal(signal.SIGINT)
        case "group":
            os.killpg(process.pid, signal.SIGINT)
        case "compiler":
            os.kill(pids()[0], signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert (process.returncode, said) == (130, b"")
    # Those that the signal has ended are there until somebody takes note of it: of orphans, the first process does.
    until = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in pids()) and time.monotonic() < until:
        time.sleep(0.01)
    assert [pid for pid in pids() if Path(f"/proc/{pid}").exists()] == []
    assert list(scratch.iterdir()) == []


def comm(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


# --- finding a compiler -----------------------------------------------------------------------------------------------


def fake_clang(folder: Path, name: str, version: str, *, bpf: bool = True) -> Path:
    folder.mkdir(exist_ok=True)
    reply = (
        "exit 0"
        if bpf
        else """echo "error: unable to create target: 'No available targets are compatible with triple \\"bpf\\"'" >&2; exit 1"""
    )
    return script(
        folder / name,
        f'case "$*" in *--version*) echo "Vendor clang version {version}"; echo Target: x;; *) {reply};; esac',
    )


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty $PATH of one directory, and no zig wheel."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"/nonexistent:{folder}")
    monkeypatch.delenv("SPECC_COMPILER", raising=False)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if not (Path(p) / "ziglang").exists()])
    return folder


def refused(request: str | None) -> Diagnostic:
    with pytest.raises(Stop) as caught:
        find_compiler(request, cache=NO_CACHE)
    return caught.value.diagnostic


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        ({"clang": "14.0.6"}, "clang"),
        ({"clang": "15.0.0", "clang-19": "19.1.7"}, "clang"),
        ({"clang": "11.0.1", "clang-15": "15.0.7", "clang-9": "9.0.0"}, "clang-15"),
        ({"clang-9": "9.0.1", "clang-14": "14.0.6", "clang-20": "20.1.0", "clang-format-21": "21.0"}, "clang-20"),
        ({"clang": "3.8.1-24 (tags/RELEASE)", "clang-100": "100.0.0git"}, "clang-100"),
    ],
)
def test_which_clang(path: Path, there: dict[str, str], taken: str) -> None:
    for name, version in there.items():
        fake_clang(path, name, version)
    found = find_compiler(cache=NO_CACHE)
    assert (found.kind, found.path, found.version) == ("clang", str(path / taken), there[taken].split()[0])
    assert find_compiler("clang", cache=NO_CACHE).path == found.path


def test_no_compiler(path: Path) -> None:
    found = refused(None)
    assert found.code == "SP401"
    assert found.notes[0] == "no `clang` or `clang-NN` on $PATH"
    assert "ziglang" in found.notes[1]
    assert found.help is not None and "pip install 'specc[zig]'" in found.help
    assert refused("clang").code == refused("zig").code == "SP401"
    assert "zig" not in " ".join(refused("clang").notes)


def test_every_clang_is_too_old(path: Path) -> None:
    fake_clang(path, "clang", "11.0.1")
    found = refused(None)
    assert (found.code, found.message) == ("SP403", f"{path}/clang is clang 11.0.1, and specc needs 14 or newer")
    fake_clang(path, "clang-13", "13.0.0", bpf=True)
    fake_clang(path, "clang-16", "16.0.0", bpf=False)
    found = refused(None)
    assert found.code == "SP401"
    assert found.notes == (
        f"{path}/clang is clang 11.0.1, and specc needs 14 or newer",
        f"{path}/clang-16 has no BPF target",
        f"{path}/clang-13 is clang 13.0.0, and specc needs 14 or newer",
    )


def test_zig_when_clang_will_not_do(path: Path) -> None:
    fake_clang(path, "clang", "11.0.1")
    zig = script(
        path / "zig",
        'case "$1 $2" in "clang --version") echo "clang version 22.1.8";; "clang "*) exit 0;; *) echo "error: unknown" >&2; exit 1;; esac',
    )
    found = find_compiler(cache=NO_CACHE)
    assert (found.kind, found.path, found.version) == ("zig", str(zig), "22.1.8")
    assert found.compile_argv[:2] == (str(zig), "clang")
    assert find_compiler("zig", cache=NO_CACHE).path == str(zig)
    assert find_compiler(str(zig), cache=NO_CACHE).kind == "zig"
    assert refused("clang").code == "SP403"


def test_zig_of_the_wheel_comes_before_one_on_the_path(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = '[ "$2" = --version ] && echo "clang version 20.0.0"; exit 0'
    script(path / "zig", body)
    (tmp_path / "site" / "ziglang").mkdir(parents=True)
    wheel = script(tmp_path / "site" / "ziglang" / "zig", body)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "site")])
    assert find_compiler("zig", cache=NO_CACHE).path == str(wheel)


@pytest.mark.parametrize(
    ("request_", "code", "message"),
    [
        ("{bin}/none", "SP405", "no compiler `{bin}/none` (asked for by --compiler)"),
        ("none", "SP405", "no compiler `none` (asked for by --compiler)"),
        ("{bin}", "SP405", "no compiler `{bin}` (asked for by --compiler)"),
        ("{bin}/data", "SP405", "no compiler `{bin}/data` (asked for by --compiler)"),
        ("gcc", "SP405", "`gcc` (asked for by --compiler) is not clang, nor zig"),
        ("broken", "SP405", "`broken` (asked for by --compiler) is not clang, nor zig"),
        ("clang-11", "SP403", "`clang-11` (asked for by --compiler) is clang 11.0.1, and specc needs 14 or newer"),
        ("{bin}/clang-x86", "SP404", "`{bin}/clang-x86` (asked for by --compiler) has no BPF target"),
    ],
)
def test_a_compiler_that_was_asked_for(path: Path, request_: str, code: str, message: str) -> None:
    (path / "data").write_text("not a program")
    script(path / "gcc", "echo 'gcc (Vendor) 12.2.0'")
    (path / "broken").write_bytes(b"\x7fELF broken")
    (path / "broken").chmod(0o755)
    fake_clang(path, "clang-11", "11.0.1")
    fake_clang(path, "clang-x86", "18.1.0", bpf=False)
    fake_clang(path, "clang", "18.1.0")  # never taken instead
    found = refused(request_.format(bin=path))
    assert (found.code, found.message) == (code, message.format(bin=path))
    assert found.help


def test_the_environment_chooses(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("clang", "clang-17", "clang-18"):
        fake_clang(path, name, "17.0.0")
    monkeypatch.setenv("SPECC_COMPILER", "clang-17")
    assert find_compiler(cache=NO_CACHE).path == str(path / "clang-17")
    assert find_compiler("clang-18", cache=NO_CACHE).path == str(path / "clang-18")
    monkeypatch.setenv("SPECC_COMPILER", "clagn")
    assert refused(None).message == "no compiler `clagn` (asked for by $SPECC_COMPILER)"
    monkeypatch.setenv("SPECC_COMPILER", "")
    assert find_compiler(cache=NO_CACHE).path == str(path / "clang")


def test_a_compiler_is_asked_once(compiler: Compiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(str(tmp_path / "cache"))
    first = find_compiler(compiler.path, cache=cache)

    def run(argv: list[str]) -> tuple[int, str]:
        raise AssertionError(f"a process was started: {argv}")

    monkeypatch.setattr(ask_module, "_run", run)
    again = find_compiler(compiler.path, cache=cache)
    assert (again.compile_argv, again.preprocess_argv, again.identity) == (
        first.compile_argv,
        first.preprocess_argv,
        first.identity,
    )


def test_a_wrapper_is_asked_each_time(path: Path, tmp_path: Path) -> None:
    """What is behind a script may change while the script does not."""
    cache = Cache(str(tmp_path / "cache"))
    script(path / "clang", f'[ "$1" = --version ] && read -r v < "{tmp_path}/version" && echo "$v"; exit 0')
    for version in ("15.0.0", "16.0.0"):
        (tmp_path / "version").write_text(f"clang version {version}\n")
        assert find_compiler(cache=cache).version == version


def test_a_compiler_that_changed_is_another(path: Path) -> None:
    identities = set()
    for version in ("15.0.0", "16.0.0"):
        fake_clang(path, "clang", version)
        identities.add(find_compiler(cache=NO_CACHE).identity)
    assert len(identities) == 2


def test_a_compiler_is_frozen(any_compiler: Compiler) -> None:
    with pytest.raises(AttributeError):
        any_compiler.path = "/bin/false"


def test_the_environment_of_compilers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CPATH", "/x")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("HOME", "/h")
    env = environment()
    assert "CPATH" not in env
    assert (env["LC_ALL"], env["HOME"]) == ("C", "/h")


def test_preprocessing_finds_headers(compiler: Compiler, tmp_path: Path) -> None:
    (tmp_path / "x.c").write_text(
        "#include <stddef.h>\n#include <stdio.h>\n#include <limits.h>\nsize_t n = PATH_MAX;\n"
    )
    if compiler.kind == "clang" and not Path("/usr/include/stdio.h").exists():
        pytest.skip("the C library's headers are not installed (libc6-dev)")
    done = subprocess.run(
        [*compiler.preprocess_argv, "x.c"], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True
    )
    assert re.search(r"typedef .* size_t;", done.stdout)
    assert "int fprintf (FILE *" in done.stdout
    assert "size_t n = 4096;" in done.stdout
    assert done.stderr == ""


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None, reason="hiding /usr/include needs root and unshare"
)
def test_zig_brings_its_own_headers(tmp_path: Path) -> None:
    try:
        zig = find_compiler("zig", cache=NO_CACHE)
    except Stop as problem:
        pytest.skip(problem.diagnostic.message)
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.c").write_text("#include <stdio.h>\n#include <sys/socket.h>\n#include <linux/futex.h>\n")
    hide = f'mount --bind "{tmp_path}/empty" /usr/include && exec "$@"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", hide, "sh", *zig.preprocess_argv, "x.c"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    if "mount:" in done.stderr or "unshare:" in done.stderr:
        pytest.skip(f"cannot hide /usr/include here: {done.stderr.strip()}")
    assert (done.returncode, done.stderr) == (0, "")
    assert "int fprintf (FILE *" in done.stdout and "/usr/include/" not in done.stdout


def test_identity_counts(tmp_path: Path) -> None:
    """Two compilers with other identities never share an object."""
    assert digest("object", "a") != digest("object", "b")

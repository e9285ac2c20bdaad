"""The cache: what comes out is what went in, or nothing; and never an error."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import specc.cache as cache_module
from specc.cache import KERNEL_BTF, Cache, Manifest, code_fingerprint, digest, file_digest, kernel_identity, open_cache

ROOT = Path(__file__).parent.parent
KEY = digest("a key")


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(str(tmp_path / "cache"))


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    place = tmp_path / "tiny"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount a tmpfs here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


# --- keys and entries -------------------------------------------------------------------------------------------------


def test_digest_keeps_parts_apart() -> None:
    keys = [digest("ab", "c"), digest("a", "bc"), digest("abc"), digest("abc", ""), digest()]
    assert len(set(keys)) == len(keys)
    assert digest("ä", b"\0") == digest("ä".encode(), b"\0")


def test_digest_is_sha256() -> None:
    import hashlib

    assert digest("abc") == hashlib.sha256(b"3:abc").hexdigest()


def test_file_digest(tmp_path: Path) -> None:
    import hashlib

    (tmp_path / "f").write_bytes(b"x" * 3_000_000)
    assert file_digest(str(tmp_path / "f")) == hashlib.sha256(b"x" * 3_000_000).hexdigest()
    before = file_digest(str(tmp_path))
    (tmp_path / "g").touch()
    assert file_digest(str(tmp_path)) != before
    with pytest.raises(FileNotFoundError):
        file_digest(str(tmp_path / "none"))


@pytest.mark.parametrize("payload", [b"", b"x", b"\0\n" * 100_000])
def test_what_went_in_comes_out(cache: Cache, payload: bytes) -> None:
    assert cache.get("object", KEY) is None
    cache.put("object", KEY, payload)
    assert cache.get("object", KEY) == payload
    assert cache.get("build", KEY) is None
    assert cache.get("object", digest("another")) is None
    assert cache.trouble is None


def entries(cache: Cache) -> list[Path]:
    assert cache.root is not None
    return sorted(p for p in Path(cache.root).rglob("*") if p.is_file())


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "grow", "directory"])
def test_a_damaged_entry_is_not_used(cache: Cache, damage: str) -> None:
    cache.put("object", KEY, b"payload")
    (path,) = entries(cache)
    data = path.read_bytes()
    match damage:
        case "flip":
            path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        case "cut":
            path.write_bytes(data[:-1])
        case "empty":
            path.write_bytes(b"")
        case "grow":
            path.write_bytes(data + b"x")
        case "directory":
            path.unlink()
            path.mkdir()
    assert cache.get("object", KEY) is None
    assert cache.trouble is not None
    if damage != "directory":
        cache.put("object", KEY, b"payload")
        assert cache.get("object", KEY) == b"payload"


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = Cache(str(tmp_path / "file" / "cache"))
    cache.put("object", KEY, b"x")
    assert cache.trouble is not None and "Not a directory" in cache.trouble
    assert cache.get("object", KEY) is None


def test_a_full_disk_is_no_error(tiny_disk: Path) -> None:
    cache = Cache(str(tiny_disk))
    cache.put("object", KEY, os.urandom(1 << 20))
    assert cache.trouble is not None and "No space left" in cache.trouble
    assert entries(cache) == []
    cache.put("object", KEY, b"small")
    assert cache.get("object", KEY) == b"small"


def test_no_cache() -> None:
    cache = Cache(None, "off")
    cache.put("object", KEY, b"x")
    cache.drop("object", KEY)
    assert cache.get("object", KEY) is None


def test_drop(cache: Cache) -> None:
    cache.put("object", KEY, b"x")
    cache.drop("object", KEY)
    assert entries(cache) == []


def test_the_least_recently_used_go_first(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "LIMIT", 256 * 4000)  # 4,000 bytes a shard
    now = time.time()
    keys = [f"aa1{i:061x}" for i in range(10)]  # all in one shard
    for age, key in enumerate(keys):
        cache.put("object", key, bytes(900))
        os.utime(entry(cache, key), (now - 1000 + age, now - 1000 + age))
    shard = entry(cache, keys[0]).parent
    young, old = shard / "x.1.2.tmp", shard / "y.1.2.tmp"  # of a process that writes now, and of one that was killed
    young.touch()
    old.touch()
    os.utime(old, (now - 7200, now - 7200))
    assert cache.get("object", keys[0]) is not None  # used now: the youngest from here on
    last = "aa0" + "f" * 61  # a third digit of 0 looks through the shard
    cache.put("object", last, bytes(900))
    assert set(entries(cache)) == {young, *(entry(cache, k) for k in (keys[0], keys[8], keys[9], last))}


def entry(cache: Cache, key: str) -> Path:
    return next(p for p in entries(cache) if p.name.startswith(key[2:]))


def _hammer(root: str, seed: int) -> int:
    """Puts and gets of the same few keys; how many payloads came out wrong."""
    cache = Cache(root)
    wrong = 0
    for i in range(300):
        key = digest(str((i + seed) % 7))
        expected = key.encode() * 500
        cache.put("object", key, expected)
        wrong += cache.get("object", key) not in (None, expected)
    return wrong


def test_processes_share_a_cache(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        assert pool.starmap(_hammer, [(str(tmp_path / "cache"), seed) for seed in range(4)]) == [0, 0, 0, 0]
    assert not [p for p in entries(Cache(str(tmp_path / "cache"))) if p.suffix == ".tmp"]
    assert len(entries(Cache(str(tmp_path / "cache")))) == 7


# --- where it is ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "root"),
    [
        ({"HOME": "{tmp}"}, "{tmp}/.cache/specc"),
        ({"HOME": "{tmp}", "XDG_CACHE_HOME": "{tmp}/x"}, "{tmp}/x/specc"),
        ({"HOME": "{tmp}", "XDG_CACHE_HOME": "relative"}, "{tmp}/.cache/specc"),
        ({"HOME": "{tmp}", "SPECC_CACHE_DIR": "{tmp}/mine"}, "{tmp}/mine"),
        ({"SPECC_CACHE_DIR": "{tmp}/mine"}, "{tmp}/mine"),
        ({"HOME": "{tmp}", "SPECC_NO_CACHE": "1"}, None),
        ({"SPECC_CACHE_DIR": "{tmp}", "SPECC_NO_CACHE": "1"}, None),
        ({"HOME": "{tmp}", "SPECC_NO_CACHE": "0"}, "{tmp}/.cache/specc"),
        ({}, None),
        ({"HOME": "relative"}, None),
    ],
)
def test_where_the_cache_is(environ: dict[str, str], root: str | None, tmp_path: Path) -> None:
    found = open_cache({name: value.format(tmp=tmp_path) for name, value in environ.items()})
    assert found.root == (None if root is None else root.format(tmp=tmp_path))
    assert (found.trouble is None) == (root is not None)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a directory another user's")
def test_root_does_not_use_another_users_cache(tmp_path: Path) -> None:
    (tmp_path / ".cache").mkdir()
    os.chown(tmp_path / ".cache", 12345, 12345)
    found = open_cache({"HOME": str(tmp_path)})
    assert found.root is None
    assert found.trouble is not None and "another user" in found.trouble
    assert open_cache({"HOME": str(tmp_path), "SPECC_CACHE_DIR": str(tmp_path / ".cache")}).root is not None


# --- whole builds -----------------------------------------------------------------------------------------------------


class Built:
    """A build of two headers, done some time ago."""

    def __init__(self, tmp_path: Path, cache: Cache) -> None:
        self.folder = tmp_path / "include"
        self.folder.mkdir()
        self.header = self.folder / "mm.h"
        self.header.write_text("int f(int a);\n")
        self.young = self.folder / "young.h"
        self.young.write_text("int g(int a);\n")
        self.absent = tmp_path / "absent.h"
        self.outputs = {"gup.bpf.c": b"C\n\n\0", "gup.bpf.o": b"\x7fELF", "empty": b""}
        self.cache = cache
        old = time.time() - 3600
        os.utime(self.header, (old, old))

    def store(self, *dependencies: Path | str, started_ns: int | None = None) -> None:
        Manifest(self.cache).store(
            KEY,
            [str(d) for d in dependencies],
            self.outputs,
            started_ns=time.time_ns() + 1_000_000_000 if started_ns is None else started_ns,
            absent=[str(self.absent)],
        )

    def lookup(self) -> dict[str, bytes] | None:
        return Manifest(self.cache).lookup(KEY)  # another run's


@pytest.fixture
def built(tmp_path: Path, cache: Cache) -> Built:
    return Built(tmp_path, cache)


def test_an_unchanged_build_is_found(built: Built) -> None:
    assert built.lookup() is None
    built.store(built.header, built.young, built.folder)
    found = built.lookup()
    assert found == built.outputs
    assert list(found) == list(built.outputs)


def test_dependencies_come_back_in_order(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(built.folder)
    built.store("young.h", built.header, KERNEL_BTF, "../include/mm.h", built.header)
    folder = str(built.folder)
    assert Manifest(built.cache).dependencies(KEY) == (
        f"{folder}/young.h",
        f"{folder}/mm.h",
        f"{folder}/../include/mm.h",
    )
    assert Manifest(built.cache).dependencies(digest("another")) == ()
    monkeypatch.chdir("/")
    assert built.lookup() == built.outputs


def test_no_dependencies(built: Built) -> None:
    built.store()
    assert built.lookup() == built.outputs


@pytest.mark.parametrize(
    "change", ["edit", "edit, same size and times", "delete", "appear", "new name", "replace by directory"]
)
def test_a_changed_build_is_not(built: Built, change: str) -> None:
    built.store(built.header, built.young, built.folder)
    match change:
        case "edit":
            built.header.write_text("int f(int a, int b);\n")
        case "edit, same size and times":
            st = built.young.stat()
            built.young.write_text("int g(int b);\n")
            os.utime(built.young, ns=(st.st_atime_ns, st.st_mtime_ns))
        case "delete":
            built.header.unlink()
        case "appear":
            built.absent.touch()
        case "new name":
            (built.folder / "new.h").touch()
        case "replace by directory":
            built.header.unlink()
            built.header.mkdir()
    assert built.lookup() is None


def test_a_touched_file_is_unchanged(built: Built) -> None:
    built.store(built.header, built.young)
    os.utime(built.header)
    shutil.copy(built.young, built.young.with_suffix(".new"))
    built.young.with_suffix(".new").rename(built.young)
    assert built.lookup() == built.outputs


def test_what_changed_during_the_build_is_not_stored(built: Built) -> None:
    built.young.write_text("int h(void);\n")
    built.store(built.young, started_ns=time.time_ns())
    assert built.lookup() is None
    time.sleep(0.05)  # the header's inode was changed just now, too
    built.store(built.header, started_ns=time.time_ns())
    assert built.lookup() == built.outputs


def test_what_is_gone_is_not_stored(built: Built) -> None:
    built.store(built.folder / "none.h")
    assert built.lookup() is None


def test_another_kernel(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    built.store(KERNEL_BTF)
    assert built.lookup() == built.outputs
    monkeypatch.setattr(cache_module, "kernel_identity", lambda: "another")
    assert built.lookup() is None


def test_kernel_identity_is_steady() -> None:
    assert kernel_identity() == kernel_identity() != ""


def test_odd_names(built: Built) -> None:
    odd = built.folder / "a\\n\nb\\\\ \udcff.h"
    odd.write_text("int f(void);\n")
    built.outputs = {"a\nb\\n": b"1", "c\\": b"2"}
    built.store(odd)
    assert built.lookup() == built.outputs
    odd.write_text("int f(int);\n")
    assert built.lookup() is None


def test_an_entry_of_another_version(built: Built, cache: Cache) -> None:
    cache.put("build", KEY, b"future\0thing\n\nbody")
    assert built.lookup() is None


def test_fingerprint_follows_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "specc"
    (package / "headers").mkdir(parents=True)
    (package / "__pycache__").mkdir()
    (tmp_path / "templates").mkdir()
    (tmp_path / "pyproject.toml").touch()
    files = [package / "cache.py", package / "headers" / "a.py", package / "spec.json", tmp_path / "templates" / "x.j2"]
    for file in files:
        file.write_text("1")
    monkeypatch.setattr(cache_module, "__file__", str(package / "cache.py"))
    seen = [code_fingerprint()]
    for file in files:
        file.write_text("22")
        seen.append(code_fingerprint())
    (package / "new.py").touch()
    seen.append(code_fingerprint())
    assert len(set(seen)) == len(seen)
    (package / "__pycache__" / "cache.cpython-311.pyc").touch()
    (package / "notes.txt").touch()
    assert code_fingerprint() == seen[-1]


def test_the_fast_path_imports_nothing_heavy() -> None:
    """A rebuild with nothing to do costs about what one of these takes to import."""
    heavy = ["dataclasses", "typing", "enum", "json", "re", "pathlib", "subprocess", "hashlib", "inspect", "tempfile"]
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import specc.cache, specc.compiler, specc.outputs;"
        f"print([m for m in {heavy!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_an_entry_in_the_place_of_another(tmp_path: Path) -> None:
    cache = Cache(str(tmp_path))
    keys = [digest("one"), digest("two")]
    kinds = ("object", "build")
    for kind in kinds:
        for key in keys:
            cache.put(kind, key, b"\xff\0" + kind.encode() + key.encode())
    entries = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert len(entries) == 4
    for mine, data in entries.items():
        for other, theirs in entries.items():
            mine.write_bytes(theirs)
            found = cache.get(mine.suffix[1:], mine.parent.name + mine.stem)
            assert (found is not None) == (mine == other)
            assert mine == other or cache.trouble == f"{mine} is damaged"
        mine.write_bytes(data)

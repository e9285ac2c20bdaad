"""A content-hash cache on disk: what was built once is not built again.

In: keys (bytes and text that decide a result) and payloads.  Out: the payload again, or None.  Never an error: a cache
that cannot be read or written only costs time, and `Cache.trouble` says why, for `--verbose`.

    cache = open_cache()
    cache.put("object", key := digest("C text", "compiler"), b"\\x7fELF...")
    cache.get("object", key)                       # b"\\x7fELF...", or None

This module is on the path of a rebuild that has nothing to do, which costs less than importing dataclasses: hence
neither they nor typing, json, re or pathlib here.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable

try:  # the C modules behind hashlib: hashlib itself takes 4 ms to load OpenSSL
    from _sha2 import sha256 as sha256  # type: ignore[import-not-found, unused-ignore]
except ImportError:
    try:
        from _sha256 import sha256 as sha256  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        from hashlib import sha256 as sha256

LIMIT = 512 << 20  # bytes on disk, about; the least recently used go first
_SHARDS = 256
_STALE = 3600.0  # seconds after which a temporary file is what a killed process left
_MAGIC = b"specc-cache-2\n"
_OFF = ("", "0", "no", "false")


def digest(*parts: str | bytes) -> str:
    """SHA-256 of the parts, each with its length before it, so that ("ab", "c") and ("a", "bc") differ."""
    h = sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else os.fsencode(part)
        h.update(b"%d:" % len(data))
        h.update(data)
    return str(h.hexdigest())


def file_digest(path: str) -> str:
    """SHA-256 of a file's bytes, or of a directory's sorted entry names. Raises OSError."""
    h = sha256()
    try:
        with open(path, "rb", buffering=0) as f:
            while block := f.read(1 << 20):
                h.update(block)
    except IsADirectoryError:
        return digest("directory", *sorted(os.listdir(path)))
    return str(h.hexdigest())


class Cache:
    """One directory of entries. `root` None is a cache that holds nothing. `trouble` is why the last attempt failed."""

    def __init__(self, root: str | None, trouble: str | None = None) -> None:
        self.root = root
        self.trouble = trouble

    def get(self, kind: str, key: str) -> bytes | None:
        """The payload stored under this key; None when there is none, or when its bytes have changed on disk."""
        if self.root is None:
            return None
        path = self._path(kind, key)
        try:
            with open(path, "rb", buffering=0) as f:
                data = f.read()
        except OSError as e:
            if not isinstance(e, FileNotFoundError):
                self.trouble = f"cannot read {path}: {e.strerror}"
            return None
        head = len(_MAGIC) + 32
        payload = data[head:]
        if data[:head] != _head(kind, key, payload):
            self.trouble = f"{path} is damaged"
            return None
        try:
            os.utime(path)  # the time of last use, by which `_prune` chooses
        except OSError:
            pass  # a read-only cache is a good cache; it is whoever writes it that prunes it
        return payload

    def put(self, kind: str, key: str, payload: bytes) -> None:
        """Store a payload: whole under its final name or not at all, whatever runs beside or dies."""
        if self.root is None:
            return
        path = self._path(kind, key)
        shard = os.path.dirname(path)
        temporary = f"{path}.{os.getpid()}.{time.monotonic_ns()}.tmp"
        try:
            try:
                fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:
                os.makedirs(shard, mode=0o700, exist_ok=True)
                fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                write_all(fd, _head(kind, key, payload) + payload)
            finally:
                os.close(fd)
            os.replace(temporary, path)
        except OSError as e:
            self.trouble = f"cannot write {path}: {e.strerror}"
            unlink_quietly(temporary)
            return
        except BaseException:  # Ctrl-C between two writes
            unlink_quietly(temporary)
            raise
        if key[2] == "0":  # keys are uniform: each shard is looked through after 16 stores to it, about
            self._prune(shard)

    def drop(self, kind: str, key: str) -> None:
        """Forget an entry that turned out to be of no use."""
        if self.root is not None:
            unlink_quietly(self._path(kind, key))

    def _path(self, kind: str, key: str) -> str:
        assert self.root is not None
        return os.path.join(self.root, key[:2], f"{key[2:]}.{kind}")

    def _prune(self, shard: str) -> None:
        """Delete a shard's least recently used entries until it holds its share of LIMIT, and leftovers of the killed."""
        now = time.time()
        entries: list[tuple[float, int, str]] = []
        try:
            with os.scandir(shard) as scan:
                for entry in scan:
                    try:
                        st = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue  # pruned by another process
                    if entry.name.endswith(".tmp") and now - st.st_mtime > _STALE:
                        unlink_quietly(entry.path)
                    else:
                        entries.append((st.st_mtime, st.st_size, entry.path))
        except OSError as e:
            self.trouble = f"cannot list {shard}: {e.strerror}"
            return
        total = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries):
            if total <= LIMIT // _SHARDS:
                break
            unlink_quietly(path)
            total -= size


def _head(kind: str, key: str, payload: bytes) -> bytes:
    """What an entry begins with. A digest of its key too: else a file that was put in the place of another would be taken
    for it."""
    h = sha256(f"{kind} {key}\n".encode())
    h.update(payload)
    return _MAGIC + bytes(h.digest())


def open_cache(environ: dict[str, str] | None = None) -> Cache:
    """The cache that the environment names: $SPECC_CACHE_DIR, else $XDG_CACHE_HOME/specc, else ~/.cache/specc.

    $SPECC_NO_CACHE=1 turns it off.
    """
    env = os.environ if environ is None else environ
    if env.get("SPECC_NO_CACHE", "") not in _OFF:
        return Cache(None, "turned off by $SPECC_NO_CACHE")
    if named := env.get("SPECC_CACHE_DIR"):
        return Cache(os.path.abspath(named))
    base = env.get("XDG_CACHE_HOME", "")
    if not base.startswith("/"):  # XDG base directory specification: a relative path is to be ignored
        home = env.get("HOME", "")
        if not home.startswith("/"):
            return Cache(None, "there is no home directory to keep it in")
        base = os.path.join(home, ".cache")
    root = os.path.join(base, "specc")
    # Under `sudo` the home may be another user's: what that user put there must not become what root loads into the
    # kernel. For a directory that does not exist yet, its nearest existing parent decides.
    probe = root
    while True:
        try:
            owner = os.stat(probe).st_uid
            break
        except FileNotFoundError:
            probe = os.path.dirname(probe)
        except OSError as e:
            return Cache(None, f"cannot use {root}: {e.strerror}")
    if owner != os.geteuid() and (probe == root or os.geteuid() == 0):
        return Cache(None, f"{probe} belongs to another user; set $SPECC_CACHE_DIR to use one all the same")
    return Cache(root)


def write_all(fd: int, data: bytes) -> None:
    """os.write until everything is written; a full disk may take a part first."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def unlink_quietly(path: str) -> None:
    """Remove a file that may be gone already, where a failure has no consequence but the file's staying."""
    try:
        os.unlink(path)
    except OSError:
        pass


# --- whole builds -----------------------------------------------------------------------------------------------------

KERNEL_BTF = "/sys/kernel/btf/vmlinux"
_RACY_NS = 2_000_000_000  # a file changed this shortly before it was looked at may change again without a new time
_TICK_NS = 10_000_000  # a file's times come from a clock that moves once in a timer tick, 10 ms at most
_NEVER = 1 << 62


class Manifest:
    """What each spec gave the last time, and which files that depended on (ccache calls it the direct mode).

    A key is the digest of all that is known without reading other files: the spec's bytes and path, options, the
    compiler's identity, `code_fingerprint()`. An entry is good while every dependency is what it was.
    """

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        # A hundred specs depend on the same kernels: each is looked at once in a run.
        self._seen: dict[tuple[bytes, bytes, bytes], bool] = {}
        self._there: dict[bytes, bool] = {}
        self._digests: dict[tuple[str, bytes], str] = {}

    def lookup(self, key: str) -> dict[str, bytes] | None:
        """The outputs of the build with this key ({file name: bytes}, in their order), or None if it must be done."""
        entry = self._cache.get("build", key)
        if entry is None:
            return None
        head, _, body = entry.partition(b"\n\n")
        outputs: dict[str, bytes] = {}
        for line in head.split(b"\n"):
            match line.split(b"\0"):
                case [b"file", path, stamp, sha]:
                    if not self._unchanged(path, stamp, sha):
                        return None
                case [b"absent", path]:
                    if path not in self._there:
                        self._there[path] = os.path.lexists(_unescape(path))
                    if self._there[path]:
                        return None
                case [b"kernel", sha]:
                    if kernel_identity() != sha.decode():
                        return None
                case [b"output", name, size]:
                    outputs[_unescape(name)], body = body[: int(size)], body[int(size) :]
                case _:
                    return None  # written by another version of specc
        return outputs

    def _unchanged(self, path: bytes, stamp: bytes, sha: bytes) -> bool:
        key = (path, stamp, sha)
        if key not in self._seen:
            self._seen[key] = _unchanged(_unescape(path), stamp, sha.decode())
        return self._seen[key]

    def _digest(self, path: str, st: os.stat_result) -> str:
        """A file's digest, computed once in a run while the file stays the same. Raises OSError."""
        key = (path, _stamp(st, _NEVER))
        if key not in self._digests:
            self._digests[key] = file_digest(path)
        return self._digests[key]

    def dependencies(self, key: str) -> tuple[str, ...]:
        """The files that the build with this key depended on, absolute, in the order they were stored with."""
        entry = self._cache.get("build", key) or b""
        lines = (line.split(b"\0") for line in entry.partition(b"\n\n")[0].split(b"\n"))
        return tuple(_unescape(fields[1]) for fields in lines if fields[0] == b"file")

    def store(
        self,
        key: str,
        dependencies: Iterable[str],
        outputs: dict[str, bytes],
        *,
        started_ns: int,
        absent: Iterable[str] = (),
    ) -> None:
        """Remember a build that began at `started_ns` (time.time_ns() before the first dependency was read).

        A dependency is a file or a directory (its list of names counts); KERNEL_BTF stands for the running kernel.
        `absent` are paths that would have been read had they existed. A dependency that changed since the beginning
        may not be what the outputs were made from: then nothing is stored.
        """
        lines: list[bytes] = []
        now = time.time_ns()
        for path in dict.fromkeys(dependencies):
            if path == KERNEL_BTF:
                # sysfs has no useful times, and hashing 5.5 MB takes longer than the rest of a rebuild.
                lines.append(b"kernel\0" + kernel_identity().encode())
                continue
            try:
                st = os.stat(path)
                if max(st.st_mtime_ns, st.st_ctime_ns) >= started_ns - _TICK_NS:
                    self._cache.trouble = f"{path} changed while it was being read"
                    return
                stamp = _stamp(st, now)
                sha = self._digest(path, st)
            except OSError as e:
                self._cache.trouble = f"cannot read {path}: {e.strerror}"
                return
            lines.append(b"\0".join((b"file", _escape(absolute(path)), stamp, sha.encode())))
        lines += [b"absent\0" + _escape(absolute(path)) for path in dict.fromkeys(absent)]
        lines += [b"output\0%s\0%d" % (_escape(name), len(data)) for name, data in outputs.items()]
        self._cache.put("build", key, b"\n".join(lines) + b"\n\n" + b"".join(outputs.values()))


def _stamp(st: os.stat_result, now: int) -> bytes:
    """Size, times and inode as one word; "?" when the file is so young that they prove nothing."""
    if max(st.st_mtime_ns, st.st_ctime_ns) > now - _RACY_NS:
        return b"?"
    return b"%d,%d,%d,%d,%d" % (st.st_size, st.st_mtime_ns, st.st_ctime_ns, st.st_ino, st.st_dev)


def _unchanged(path: str, stamp: bytes, sha: str) -> bool:
    try:
        if stamp != b"?" and _stamp(os.stat(path), _NEVER) == stamp:
            return True
        return file_digest(path) == sha
    except OSError:
        return False


def absolute(path: str) -> str:
    """The path from the root. A `..` stays: what it means depends on whether what stands before it is a link."""
    return path if path.startswith("/") else os.path.join(os.getcwd(), path)


def distinct(paths: Iterable[str]) -> list[str]:
    """The paths without those that mean a file that is there already, in the same directory: `./a.yaml` after `a.yaml`, or a
    link beside it. In another directory, what a spec names is something else."""
    found: dict[tuple[str, str], str] = {}
    for path in paths:
        found.setdefault((os.path.realpath(os.path.dirname(path)), os.path.realpath(path)), path)
    return list(found.values())


def _escape(text: str) -> bytes:
    return os.fsencode(text).replace(b"\\", b"\\\\").replace(b"\n", b"\\n")


def _unescape(raw: bytes) -> str:
    if b"\\" in raw:
        raw = b"\\".join(part.replace(b"\\n", b"\n") for part in raw.split(b"\\\\"))
    return os.fsdecode(raw)


def kernel_identity() -> str:
    """What tells one kernel's BTF from another's: the build id in /sys/kernel/notes, which the linker computed from
    the whole kernel with its BTF; without one, the BTF's own bytes."""
    try:
        with open("/sys/kernel/notes", "rb", buffering=0) as f:
            notes = f.read()
        if b"\3\0\0\0GNU\0" in notes:  # ELF note type 3, NT_GNU_BUILD_ID
            return digest(notes)
    except OSError:
        pass  # not readable in some containers
    try:
        return file_digest(KERNEL_BTF)
    except OSError:
        return "none"


def code_fingerprint() -> str:
    """A digest of specc itself: names, sizes and times of its files, so that an edited checkout rebuilds at once.

    The libraries beside it count by the time of their directory, which any installation or upgrade changes.
    """
    package = os.path.dirname(os.path.abspath(__file__))
    above = os.path.dirname(package)
    words = [sys.version]
    for path in sys.path:
        if path.endswith(("site-packages", "dist-packages")):
            try:
                words.append(f"{path}\0{os.stat(path).st_mtime_ns}")
            except FileNotFoundError:
                continue
    pending = [package]
    if os.path.isfile(os.path.join(above, "pyproject.toml")):
        pending.append(os.path.join(above, "templates"))  # a checkout; a wheel has them inside the package
    while pending:
        with os.scandir(pending.pop()) as scan:
            for entry in scan:
                if entry.is_dir(follow_symlinks=False):
                    if entry.name not in ("__pycache__", "explain"):
                        pending.append(entry.path)
                elif entry.name.endswith((".py", ".j2", ".json")):
                    st = entry.stat()
                    words.append(f"{entry.path}\0{st.st_size}\0{st.st_mtime_ns}")
    return digest(*sorted(words))

"""Generated files: written whole or not at all, and checked against what the specs give now.

In: a plan {relative path: bytes} and an output directory.  Out: files; or a Report of what is missing, stale, edited by
hand or orphaned (SP501 to SP504), or their difference as text.

    text = seal(c_text)                                       # adds "/* specc: sha256 5bd1... */" as the last line
    write_outputs({"gup.bpf.c": text.encode()}, "generated")  # {"gup.bpf.c": "created"}
    check_outputs({"gup.bpf.c": text.encode()}, "generated")  # a Report, empty now

The seal is a digest of the rest of the file. It tells an old file (seal intact, bytes differ from the plan) from one that
somebody edited (seal broken), and both from a file that is not specc's at all (no seal), which is never overwritten.
"""

from __future__ import annotations

import errno
import os
import stat

from specc.cache import absolute, sha256, unlink_quietly, write_all

TYPE_CHECKING = False  # typing itself takes as long to import as a rebuild; type checkers know the name
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from specc.diagnostics import Diagnostic, Report, Stop

# How a write to a stream fails when what is behind it takes no more, or it was closed.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)

_MARK = "specc: sha256 "
_SEALS = {"c": ("/* ", " */"), "python": ("# ", ""), "json": ('  "$comment": "', '"\n}')}
_HEX = frozenset("0123456789abcdef")
_DIGITS = 16


def seal(text: str, language: str = "c") -> str:
    """The text with a last line that carries a digest of the rest. `language` is "c", "python" or "json": an object,
    indented by 2, which gets a last key that JSON Schema has for comments."""
    start, end = _SEALS[language]
    if language == "json":
        text = text.removesuffix("\n").removesuffix("\n}") + ",\n"
    body = text if text.endswith("\n") or not text else text + "\n"
    return f"{body}{start}{_MARK}{_digits(body.encode())}{end}\n"


def _digits(body: bytes) -> str:
    """What `head -n -1 FILE | sha256sum` begins with; -2 for JSON, which ends in a brace."""
    return str(sha256(body).hexdigest())[:_DIGITS]


def seal_state(data: bytes) -> str:
    """ "intact", "edited" (there is a seal, and it does not fit), or "unsealed"."""
    text = data.decode("utf-8", "surrogateescape")
    at = text.rfind(_MARK)
    if at < 0:
        return "unsealed"
    line_start = text.rfind("\n", 0, at) + 1
    start = text[line_start:at]
    found = text[at + len(_MARK) : at + len(_MARK) + _DIGITS]
    if len(found) != _DIGITS or not _HEX.issuperset(found):
        return "unsealed"
    for opening, closing in _SEALS.values():
        if start == opening and text[at + len(_MARK) + _DIGITS :] == f"{closing}\n":
            body = text[:line_start].encode("utf-8", "surrogateescape")
            return "intact" if _digits(body) == found else "edited"
    return "edited"  # something stands after the seal, or before it on its line


def write_outputs(planned: Mapping[str, bytes], outdir: str) -> dict[str, str]:
    """Write all planned files, or none when one cannot be written. Raises Stop (SP505 to SP507).

    Returns what was done with each: "created", "updated", "repaired" (it had been edited by hand) or "unchanged" (not
    touched, its time neither). A file that would change is written beside its place and renamed into it when all are
    there, so that nobody ever reads half of one.
    """
    done: dict[str, str] = {}
    changed: list[tuple[str, bytes]] = []
    problems: list[Exception] = []
    for name, data in planned.items():
        path = _place(outdir, name)
        try:
            state = _look(path, data)
        except Exception as problem:  # a Stop, whose module is not loaded while all is well
            problems.append(problem)
            continue
        done[name] = state
        if state != "unchanged":
            changed.append((path, data))
    if problems:
        raise _all_in_one(problems)
    renames: list[tuple[str, str]] = []  # (temporary, final)
    path = outdir
    try:
        for path, data in changed:
            folder, base = os.path.split(path)
            os.makedirs(folder or ".", exist_ok=True)
            temporary = os.path.join(folder, f".{base}.{os.urandom(6).hex()}.tmp")
            renames.append((temporary, path))
            # 0666 and the umask give the bits that any compiler gives its output.
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            try:
                write_all(fd, data)
            finally:
                os.close(fd)
        _rename_all(renames)
    except OSError as e:
        raise _cannot_write(path, e) from None
    finally:
        for temporary, _ in renames:
            unlink_quietly(temporary)
    return done


def _all_in_one(problems: list[Exception]) -> Exception:
    """The first Stop, with what the others say as notes; or what is no Stop."""
    from specc.diagnostics import Stop
    from specc.noun import replace

    stops = [problem for problem in problems if isinstance(problem, Stop)]
    if len(stops) < len(problems):
        return next(problem for problem in problems if not isinstance(problem, Stop))
    first, *others = (problem.diagnostic for problem in stops)
    return Stop(replace(first, notes=(*first.notes, *(f"also: {d.message}" for d in others))))


def _rename_all(renames: list[tuple[str, str]]) -> None:
    """All renames, also when Ctrl-C comes between two of them: then the rest first, and the interrupt after."""
    interrupt: KeyboardInterrupt | None = None
    for temporary, path in renames:
        while True:
            try:
                os.replace(temporary, path)
            except KeyboardInterrupt as e:
                interrupt = e
                if os.path.lexists(temporary):
                    continue
            break
    if interrupt is not None:
        raise interrupt


def _place(outdir: str, name: str) -> str:
    """The path of a planned file. Names come from validated identifiers: one that leaves the directory is a bug."""
    if not name or name.startswith("/") or "\0" in name or ".." in name.split("/"):
        raise ValueError(f"not a path below the output directory: {name!r}")
    return os.path.join(outdir, name)


def _look(path: str, data: bytes) -> str:
    """What writing these bytes will do to the file at `path`. Raises Stop when it must not or cannot be replaced."""
    try:
        existing = _read(path)
    except OSError as e:
        raise _cannot_write(path, e) from None
    match existing:
        case None:
            return "created"
        case str():
            raise _in_the_way(path, existing)
        case _ if existing == data:
            return "unchanged"
    if not existing:
        return "updated"  # an empty file is nobody's work
    state = seal_state(existing)
    if seal_state(data) == "intact":
        if state == "unsealed":
            raise _foreign(path)
        return "updated" if state == "intact" else "repaired"
    if data[:4] == b"\x7fELF" and existing[:4] != b"\x7fELF":
        raise _foreign(path)
    return "updated"


def _read(path: str) -> bytes | str | None:
    """A regular file's bytes; None when there is none; or what else is there, in words. Raises OSError."""
    try:
        st = os.lstat(path)
    except FileNotFoundError:
        return None
    if stat.S_ISREG(st.st_mode):
        with open(path, "rb", buffering=0) as f:
            return f.read()
    kinds = ((stat.S_ISLNK, "a symbolic link"), (stat.S_ISDIR, "a directory"), (stat.S_ISFIFO, "a named pipe"))
    return next((words for test, words in kinds if test(st.st_mode)), "a device or a socket")


def _in_the_way(path: str, what: str) -> Stop:
    return _stop(
        "SP507", f"{what} is where the output file {path} belongs", path, help="remove it, or choose another -o"
    )


def _foreign(path: str) -> Stop:
    return _stop(
        "SP505",
        f"{path} exists and was not written by specc",
        path,
        help="move it away, or choose another -o; specc overwrites only files that end in its own seal",
    )


def _cannot_write(path: str, e: OSError) -> Stop:
    if isinstance(e, NotADirectoryError | FileExistsError | IsADirectoryError):
        return _stop(
            "SP507",
            f"cannot write {path}: a part of the path is in the way ({e.strerror})",
            path,
            help="remove it, or choose another -o",
        )
    return _stop(
        "SP506", f"cannot write {path}: {e.strerror}", path, help="nothing was changed; make room or give access there"
    )


def _stop(code: str, message: str, path: str, *, help: str) -> Stop:
    from specc.diagnostics import Location, stop

    return stop(code, message, Location(path), help=help)


# --- --check, --diff, -MD ---------------------------------------------------------------------------------------------


def check_outputs(planned: Mapping[str, bytes], outdir: str) -> Report:
    """What `build` would change, as findings: SP501 missing, SP502 stale, SP503 edited by hand. Writes nothing."""
    from specc.diagnostics import Location, Report

    report = Report()
    for name, data in planned.items():
        path = _place(outdir, name)
        where = Location(path)
        try:
            existing = _read(path)
        except OSError as e:
            report.error("SP506", f"cannot read {path}: {e.strerror}", where, help="give access to it")
            continue
        if existing is None:
            report.error("SP501", f"{path} is missing", where, help="run `specc build` and commit the result")
        elif isinstance(existing, str):
            report.diagnostics.append(_in_the_way(path, existing).diagnostic)
        elif existing == data:
            continue
        elif seal_state(data) == "intact" and (state := seal_state(existing)) != "intact":
            what = "was edited by hand" if state == "edited" else "has lost its seal: it was edited, or is not specc's"
            report.error(
                "SP503",
                f"{path} {what}",
                where,
                help="make the change in the spec, and run `specc build`; see `--diff`",
            )
        else:
            report.error(
                "SP502",
                f"{path} is stale: the spec gives something else now",
                where,
                help="run `specc build`; see `--diff`",
            )
    return report


def check_orphans(names: Iterable[str], outdir: str) -> Report:
    """SP504 for every file in `outdir` that specc wrote and that none of the planned `names` accounts for.

    Only for a run over all the specs that share the directory. What carries no seal (an object, a .d file) is counted
    as specc's when it stands beside a sealed orphan of the same stem.
    """
    from specc.diagnostics import Location, Report

    report = Report()
    known = set(names)
    sealed: list[str] = []
    others: list[str] = []
    try:
        found = sorted(os.listdir(outdir))
    except FileNotFoundError:
        return report
    except OSError as e:
        report.error("SP506", f"cannot list {outdir}: {e.strerror}", Location(outdir), help="give access to it")
        return report
    for name in found:
        path = os.path.join(outdir, name)
        if name in known or not os.path.isfile(path) or os.path.islink(path):
            continue
        if name.endswith((".bpf.c", ".h", ".py", ".schema.json")):
            try:
                data = _read(path)
            except OSError as e:
                report.error("SP506", f"cannot read {path}: {e.strerror}", Location(path), help="give access to it")
                continue
            if isinstance(data, bytes) and seal_state(data) != "unsealed":
                sealed.append(name)
        elif name.endswith((".bpf.o", ".d", ".json")):
            others.append(name)
    stems = {name.split(".")[0] for name in sealed}
    for name in sorted(sealed + [n for n in others if n.split(".")[0] in stems]):
        path = os.path.join(outdir, name)
        report.error(
            "SP504", f"{path} is orphaned: no spec gives it", Location(path), help="delete it, or bring its spec back"
        )
    return report


def claim(taken: dict[str, str], spec: str, names: Iterable[str]) -> Diagnostic | None:
    """Note in `taken` ({output: spec}) that `spec` writes these files; SP508 when another spec of this run does too."""
    from specc.diagnostics import Diagnostic, Location

    for name in names:
        other = taken.setdefault(name, spec)
        if other != spec:
            return Diagnostic(
                "SP508",
                f"two specs would write {name}: {other} and {spec}",
                Location(spec),
                help="give one of them another `name:`, or build them into different directories with -o",
            )
    return None


def diff_outputs(planned: Mapping[str, bytes], outdir: str) -> str:
    """A unified diff from the files as they are to the files as planned; one line for a binary file."""
    import difflib

    out: list[str] = []
    for name, data in planned.items():
        path = _place(outdir, name)
        try:
            existing = _read(path)
        except OSError as e:
            raise _cannot_write(path, e) from None
        if isinstance(existing, str):
            raise _in_the_way(path, existing)
        if existing == data:
            continue
        if b"\0" in data or b"\0" in (existing or b""):
            out.append(f"Binary files {path if existing is not None else '/dev/null'} and {path} (planned) differ\n")
            continue
        old = [] if existing is None else existing.decode("utf-8", "replace").splitlines(keepends=True)
        new = data.decode("utf-8", "replace").splitlines(keepends=True)
        label = f"a/{path}" if existing is not None else "/dev/null"
        for line in difflib.unified_diff(old, new, label, f"b/{path}"):
            out.append(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n")
    return "".join(out)


def make_dependencies(targets: Iterable[str], dependencies: Iterable[str]) -> str:
    """The text of a .d file: the targets depend on the files. Every file but the first (the spec) is also a target
    without a rule, as gcc's -MP has it, so that a header which is deleted later does not stop make.

    Directories and what is below /sys are left out: make goes by times, and theirs say nothing.
    """
    files = (d for d in dependencies if not d.startswith("/sys/") and not os.path.isdir(d))
    paths = list(dict.fromkeys(_make_word(d) for d in files))
    # In a target, unlike in a prerequisite, a % makes a pattern unless it is escaped.
    head = " ".join(dict.fromkeys(_make_word(t).replace("%", "\\%") for t in targets))
    text = f"{head}: " + " \\\n  ".join(paths) + "\n"
    return text + "".join(f"{path}:\n".replace("%", "\\%") for path in paths[1:])


def _make_word(path: str) -> str:
    """A path as make reads it: relative to the working directory when they share more than the root, special
    characters escaped. It depends on the file and the working directory only, not on how the path was spelled."""
    path = absolute(path)
    folder, base = os.path.split(path)
    if os.pardir in path.split("/"):
        folder = os.path.realpath(folder)
    path = os.path.normpath(os.path.join(folder, base))
    here = os.getcwd()
    if path.split("/")[1] == here.split("/")[1]:
        path = os.path.relpath(path, here)
    # GNU make, "Rule Syntax" and gcc's mkdeps.cc: a space or tab takes a backslash, and doubles those before it.
    out: list[str] = []
    backslashes = 0
    for c in path:
        if c in " \t":
            out.append("\\" * backslashes + "\\")
        elif c == "$":
            out.append("$")
        elif c in "#:":
            out.append("\\")
        backslashes = backslashes + 1 if c == "\\" else 0
        out.append(c)
    return "".join(out)

"""Find the C compiler to use; when there is none, say what was tried and what to do.

In: what the user asked for ("clang", "zig", a path, or nothing).  Out: a `Compiler`, or a Stop (SP401, SP403 to SP405).

    compiler = find_compiler(None)      # clang 14 or newer, else the zig of `pip install 'specc[zig]'`
"""

from __future__ import annotations

import os
import sys

from specc.cache import Cache, open_cache
from specc.compiler import Compiler, clangs, fingerprint, probable, remember, remembered, which, zig_path
from specc.compiler.ask import INSTALL, Unfit, ask, begin
from specc.diagnostics import Stop, stop


def find_compiler(request: str | None = None, *, cache: Cache | None = None) -> Compiler:
    """The compiler to use. `request` is --compiler: "clang", "zig", a path or a command's name; None asks
    $SPECC_COMPILER and then takes the best there is. Raises Stop."""
    from_env = "" if request else os.environ.get("SPECC_COMPILER", "")
    wanted = request or from_env or None
    cache = open_cache() if cache is None else cache
    match wanted:
        case None:
            return _find_clang(cache, then_zig=True)
        case "clang":
            return _find_clang(cache, then_zig=False)
        case "zig":
            return _find_zig(cache)
        case _:
            origin = "$SPECC_COMPILER" if from_env else "--compiler"
            path = which(wanted)
            if path is None:
                raise _stop(
                    "SP405",
                    f"no compiler `{wanted}` (asked for by {origin})",
                    "no such file, or not executable" if os.sep in wanted else "no such command on $PATH",
                    help=f"{origin} takes `clang`, `zig`, or the path of a clang or zig program",
                )
            found = _examine(path, cache)
            if isinstance(found, Unfit):
                raise _stop(
                    found.code, f"`{wanted}` (asked for by {origin}) {found.message}", *found.notes, help=found.help
                )
            return found


def ask_ahead(request: str | None, *, cache: Cache) -> Compiler | None:
    """Have the compiler that is probably the one asked while the caller goes on. (What must be asked each time is asked,
    and waited for.)"""
    path = probable(request)
    if path is None:
        return None
    if not fingerprint(path)[2]:
        found = _examine(path, cache)
        return found if isinstance(found, Compiler) else None
    begin(path)
    return None


def _find_clang(cache: Cache, *, then_zig: bool) -> Compiler:
    """`clang`, else the highest `clang-NN`, else, when wanted, zig; else all that was tried and why it would not do."""
    from_path: list[tuple[str, Unfit]] = []
    for path in clangs():
        found = _examine(path, cache)
        if isinstance(found, Compiler):
            return found
        from_path.append((path, found))
    if then_zig and (zig := zig_path()) is not None:
        found = _examine(zig, cache)
        if isinstance(found, Compiler):
            return found
        from_path.append((zig, found))
    # One compiler that is nearly right is a more useful message than "there is none".
    if len(from_path) == 1:
        path, unfit = from_path[0]
        raise _stop(unfit.code, f"{path} {unfit.message}", *unfit.notes, help=INSTALL)
    tried = [f"{path} {unfit.message}" for path, unfit in from_path]
    if not tried:
        tried.append("no `clang` or `clang-NN` on $PATH")
        if then_zig:
            tried.append(f"no `ziglang` package in {sys.prefix}, no `zig` on $PATH")
    raise _stop("SP401", "there is no compiler with a BPF target on this machine", *tried, help=INSTALL)


def _find_zig(cache: Cache) -> Compiler:
    path = zig_path()
    if path is None:
        raise _stop(
            "SP401",
            "there is no zig on this machine",
            f"no `ziglang` package in {sys.prefix}, no `zig` on $PATH",
            help="pip install 'specc[zig]'",
        )
    found = _examine(path, cache)
    if isinstance(found, Unfit):
        raise _stop(found.code, f"{path} {found.message}", *found.notes, help=found.help)
    return found


def _examine(path: str, cache: Cache) -> Compiler | Unfit:
    """Whether a program compiles for BPF, and which it is: from the cache, else by having it compile an empty file."""
    known = remembered(path, cache)
    if known is not None:
        return known
    answer = ask(path)
    return answer if isinstance(answer, Unfit) else remember(path, answer, cache)


def _stop(code: str, message: str, *notes: str, help: str) -> Stop:
    return stop(code, message, None, notes=notes, help=help)

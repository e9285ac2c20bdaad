"""The files of a commit, as git has them: the only caller of git.

In: a reference and a directory of the repository.  Out: a temporary directory with the commit's files; else a Stop (SP516).

    with checkout("main", Path("specs")) as (top, tree):
        (tree / "specs" / "gup.yaml").read_bytes()       # as it is in `main`; `top` is where the repository is

Neither the work tree nor the index of the repository is touched.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from specc.diagnostics import Stop, stop

_TIMEOUT: Final = 300.0  # seconds: a large repository takes long, one that hangs must not
# git-check-ref-format(1) and gitrevisions(7), and no word that git could take for an option.
_REFERENCE: Final = re.compile(r"[A-Za-z0-9_@][A-Za-z0-9_./@{}^~+-]{0,255}", re.ASCII)


@contextlib.contextmanager
def checkout(reference: str, folder: Path) -> Iterator[tuple[Path, Path]]:
    """The repository's top directory, and a temporary one with the files of a commit. Raises Stop."""
    if not _REFERENCE.fullmatch(reference):
        raise stop("SP516", f"`{reference}` is not the name of a commit", None,
                   help="such as `git:main`, `git:v1.2` or `git:HEAD~3`")  # fmt: skip
    top = Path(_git(folder, "rev-parse", "--show-toplevel"))
    commit = _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{reference}^{{commit}}")
    with tempfile.TemporaryDirectory(prefix="specc-") as scratch:
        tree = Path(scratch) / "tree"
        (tree / ".git").mkdir(parents=True)  # where a search for a config file ends, as it does in the repository
        index = {"GIT_INDEX_FILE": f"{scratch}/index"}
        _git(top, "read-tree", commit, **index)
        _git(top, "checkout-index", "--all", f"--prefix={tree}/", **index)
        yield top, tree


def _git(folder: Path, *arguments: str, **environ: str) -> str:
    """What git prints, without the line's end. Raises Stop."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}  # a hook's are about another index
    env |= {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C", **environ}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise _cannot("git is not installed") from None
    except subprocess.TimeoutExpired:
        raise _cannot(f"git {arguments[0]} did not end within {_TIMEOUT:.0f} s") from None
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip().partition("\n")[0]
        if arguments[:2] == ("rev-parse", "--verify"):
            said = said or f"there is no commit `{arguments[-1].removesuffix('^{commit}')}`"
        raise _cannot(said or f"git {arguments[0]} failed")
    return done.stdout.decode("utf-8", "surrogateescape").removesuffix("\n")


def _cannot(why: str) -> Stop:
    return stop("SP516", f"cannot take specs from git: {why}", None)

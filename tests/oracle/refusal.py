"""Whether a refusal was needed, as far as the compilers of this machine can tell.

In: who specc says has an argument elsewhere ("clang before 18"), the configurations that were heard.
Out: whether each of them was among those heard. Where one was not, a refusal is neither right nor wrong here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_CLAUSE = re.compile(r"(gcc|clang|any compiler)(?: before (\d+))?")
_FLAG = re.compile(r"(?<!\S)-m[\w.=]+")
_NAME = re.compile(r"(gcc|clang)-(\d+)")


def speaks_of(who: str, configuration: str) -> bool:
    """Does "gcc and clang before 18" include "clang-14 -O2"?"""
    needed = _FLAG.findall(who)
    if needed and not set(needed) & set(configuration.split()):
        return False
    name = _NAME.match(configuration)
    if name is None:
        raise ValueError(f"not the name of a configuration: {configuration}")
    kind, major = name[1], int(name[2])
    return any(
        one in (kind, "any compiler") and (not before or major < int(before)) for one, before in _CLAUSE.findall(who)
    )


def heard(told: Iterable[str], configurations: Sequence[str]) -> bool:
    """Whether every compiler that specc names was asked."""
    return all(any(speaks_of(who, name) for name in configurations) for who in told)


def named_in(reason: str) -> list[str]:
    """Who is named in "sp+8 (gcc and clang); r9 (clang before 18)"."""
    return [text for text in re.findall(r"\(([^)]*)\)", reason) if _CLAUSE.match(text)]

"""Numbers of parameters in mangled names, by a table and against the demangler of binutils."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from specc.dwarf.mangled import parameter_count
from specc.elf import STT_FUNC, read_elf, symbols

LIBRARY = next(iter(sorted(Path("/usr/lib/x86_64-linux-gnu").glob("libstdc++.so.6"))), None)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("_Z1fv", 0),
        ("_Z3nc2a2NCa", 3),
        ("_Z2u9iiiz", 3),  # `...` is none
        ("_ZL2s12NCi", 2),
        ("_ZN12_GLOBAL__N_12anENS_1QEi", 2),
        ("_ZNK3$_0clE2NCi", 2),  # clang's name of a lambda's function
        ("_ZNK4lambMUl2NCiE_clES_i", 2),
        ("_ZN1SIiEC2EOS0_", 1),
        ("_ZN1OC2IJiiEEEiDpOT_", 3),  # a constructor has no result
        ("_ZN1OcvPT_IiEEv", 0),
        ("_Z2pkIJilEEiDpT_i", 3),
        ("_Z2pkIJEEiDpT_i", 1),
        ("_Z2pkIJilEEiDpPKT_i", 3),
        ("_ZN1WIJicEE1fIJlsEEEiicSt5tupleIJDpT_EEDpPT_", 5),
        ("_ZN1WIJicEE1fIJlsEEEiicSt5tupleIJDpT_EEDpPS3_", None),
        ("_Z2pkIJilEEiDpT_S1_", None),  # a substitution after an expansion may be the expansion
        ("_Z1fIiEDTcl1gfp_EET_", None),
        ("_Z1fPFivRKA3_cEM1SFvizEDv4_f", 3),
        ("_ZZ1fvE1x", None),  # a variable
        ("_Z1x", None),
        ("_Z9abc", None),
        ("f", None),
    ],
)
def test_counts(name: str, count: int | None) -> None:
    assert parameter_count(name) == count


def _counted(text: str) -> int:
    """The arguments in a demangled name: commas at the level of its last parentheses."""
    text = re.sub(r"operator(\(\)|<<=|>>=|<=>|<<|>>|->\*|->|<=|>=|<|>)", "operator", text)
    text = re.sub(r"(\s*(const|volatile|&&|&))+$", "", text)
    depth, start = 0, len(text)
    for start in range(len(text) - 1, -1, -1):
        depth += {")": 1, "(": -1}.get(text[start], 0)
        if not depth:
            break
    inside, depth, found = text[start + 1 : -1], 0, [""]
    for character in inside:
        depth += character in "(<[{"
        depth -= character in ")>]}"
        if character == "," and not depth:
            found.append("")
        else:
            found[-1] += character
    return len([f for f in found if f.strip() not in ("", "...")])


@pytest.mark.skipif(LIBRARY is None or shutil.which("c++filt") is None, reason="it needs libstdc++ and c++filt")
def test_every_function_of_a_library() -> None:
    assert LIBRARY is not None
    every = symbols(read_elf(LIBRARY.read_bytes()))
    names = sorted({n for s in every if s.type == STT_FUNC and (n := s.name.partition("@")[0]).startswith("_Z")})
    names = [n for n in names if n[2] not in "TG"]  # thunks and the like
    done = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True)
    told = 0
    for name, text in zip(names, done.stdout.splitlines(), strict=True):
        count = parameter_count(name)
        if count is not None and text != name:
            assert count == _counted(text), f"{name}: {text}"
            told += 1
    assert told > 0.9 * len(names) and len(names) > 1000


def test_no_text_is_too_much() -> None:
    from random import Random

    random = Random(os.environ["SPECC_SEED"])
    for _ in range(2000):
        count = parameter_count("_Z" + "".join(random.choices("NEISTZJLDpt_0123ifvPK", k=random.randrange(1, 60))))
        assert count is None or count >= 0
    assert parameter_count("_Z1f" + "P" * 10_000 + "i") is None
    assert parameter_count("_Z" + "Z" * 10_000) is None
    assert parameter_count("_Z1fI" + "J" * 10_000) is None

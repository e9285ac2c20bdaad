"""What a program wants of a function, against the function on another kernel."""

from __future__ import annotations

import pytest

from specc.abi import place_arguments
from specc.diagnostics import Location
from specc.fit import Need, fit
from specc.headers import HeaderIndex, parse_declaration
from specc.place import place_text
from specc.prototype import Prototype

HEADER = "struct big { long x[3]; }; enum plain { A, B }; enum minus { C = -1, D };"


def prototype(text: str) -> Prototype:
    return parse_declaration(text, HeaderIndex(HEADER), Location("spec.yaml", 1, 1, 1, 1))


OURS = prototype(
    "long f(int a, struct page **pages, int vmas, int *locked, unsigned int flags, enum plain plain, enum minus minus)"
)

TARGETS = "they point to different things: `struct page` against `struct folio`"

# what is wanted; the declaration there; the places, or what is said
ROWS = [
    (["a", "locked"], "long f(int a, int *locked)", {"a": "rdi", "locked": "rsi"}, ()),
    (["locked"], "long f(int x1, int x2, int x3, int x4, int x5, int x6, int *locked)", {"locked": "sp+8"}, ()),
    (["a", "flags"], "long f(unsigned int flags, int a)", {"a": "rsi", "flags": "rdi"}, ()),
    (["a"], "struct big f(int a)", {"a": "rsi"}, ()),  # a result in memory takes rdi
    (["vmas?"], "long f(int a)", {}, ()),
    (["vmas"], "long f(int a)", {}, (("missing", "no argument `vmas`: there are a", "`a` has its type: was it renamed?"),)),
    (["vmas", "a"], "long f(int a)", {"a": "rdi"}, (("missing", "no argument `vmas`: there are a", None),)),
    (["flags"], "long f(unsigned int gup_flags)", {},
     (("missing", "no argument `flags`: there are gup_flags", "did you mean `gup_flags`?"),)),
    (["flags"], "long f(unsigned long flags)", {},
     (("type", "`flags` is `unsigned long`, not `unsigned int`: 4 bytes against 8", None),)),
    (["flags!"], "long f(int flags)", {"flags": "rdi"}, ()),
    (["flags!"], "long f(long flags)", {}, (("type", "`flags` is `long`, not `unsigned int`: 8 bytes, not 4", None),)),
    (["pages"], "long f(struct folio **pages)", {},
     (("type", "`pages` is `struct folio **`, not `struct page **`: " + TARGETS, None),)),
    (["a"], "long f(int a, int a)", {}, (("unknown", "two arguments are called `a`", None),)),
    (["plain"], "long f(unsigned int plain)", {"plain": "rdi"}, ()),
    (["plain"], "long f(int plain)", {},
     (("type", "`plain` is `int`, not `enum plain`: negative values of `int` would be told as positive", None),)),
    (["minus"], "long f(int minus)", {"minus": "rdi"}, ()),
    (["minus"], "long f(unsigned int minus)", {},
     (("type", "`minus` is `unsigned int`, not `enum minus`: large values of `unsigned int` would be told as negative",
       None),)),
    (["a"], "long f(enum plain a)", {"a": "rdi"}, ()),
    (["a"], "long f(enum minus a)", {"a": "rdi"}, ()),
    (["flags"], "long f(enum minus flags)", {},
     (("type", "`flags` is `enum minus`, not `unsigned int`: negative values of `enum minus` would be told as positive",
       None),)),
    (["return"], "int f(void)", {},
     (("type", "the result is `int`, not `long`: 8 bytes against 4", None),)),
    (["return"], "long f(void)", {}, ()),
]  # fmt: skip


@pytest.mark.parametrize(("names", "there", "places", "misfits"), ROWS)
def test_fit(
    names: list[str], there: str, places: dict[str, str], misfits: tuple[tuple[str, str, str | None], ...]
) -> None:
    declared = {p.name: p.type for p in OURS.parameters} | {"return": OURS.result}
    needs = tuple(Need(n.rstrip("?!"), declared[n.rstrip("?!")], n.endswith("?"), n.endswith("!")) for n in names)
    theirs = prototype(there)
    found = fit(needs, theirs, place_arguments(theirs, kernel=True))
    assert {n: place_text(p) for n, p in found.pieces.items()} == places
    assert tuple((m.kind, m.text, m.help) for m in found.misfits) == misfits

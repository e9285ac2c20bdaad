"""specc's own `dataclass` beside the standard library's: the same classes behave the same."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import subprocess
import sys
from typing import Any

import pytest

from specc import noun
from specc.diagnostics import Location, Report
from specc.place import Piece

FROZEN = {"frozen": True, "slots": True}
TEXT = """
from __future__ import annotations
@dataclass(**options)
class Two:
    "Two fields."
    left: int
    right: str = "r"
    def both(self) -> str:
        return f"{self.left}{self.right}"
@dataclass(**options)
class One:
    items: list[int] = field(default_factory=list)
@dataclass(**options)
class Empty:
    pass
"""


def classes(module: Any, **options: bool) -> dict[str, Any]:
    scope: dict[str, Any] = {
        "dataclass": module.dataclass,
        "field": module.field,
        "options": options,
        "__name__": __name__,
    }
    exec(TEXT, scope)
    return scope


def behaviour(module: Any, **options: bool) -> list[object]:
    """What can be seen of the classes from outside."""
    scope = classes(module, **options)
    two, one, empty = scope["Two"], scope["One"], scope["Empty"]
    seen: list[object] = [two.__doc__, two.__slots__, two.__match_args__, one.__match_args__, empty.__match_args__]

    def attempt(what: Any) -> None:
        try:
            result = what()
            seen.append(repr(result) if isinstance(result, tuple | list) else result)
        except Exception as problem:
            seen.append(type(problem).__name__)

    a, b = two(1), two(2, "x")
    attempt(lambda: (a.left, a.right, a.both(), b == two(2, right="x"), a == b, a == (1, "r"), a != b))
    attempt(lambda: hash(a) == hash(two(left=1)))
    attempt(lambda: hash(a) == hash((1, "r")))
    attempt(lambda: (repr(a), repr(one([1])), repr(empty())))
    attempt(lambda: sorted([b, a]))
    attempt(lambda: (a < b, a <= a, a > b, a >= b))
    attempt(lambda: a < (1, "r"))
    attempt(lambda: one().items is one().items)
    attempt(lambda: (one() == one([]), empty() == empty(), hash(empty()) == hash(())))
    for wrong in (lambda: two(), lambda: two(1, 2, 3), lambda: two(1, other=2), lambda: empty(1)):
        attempt(wrong)
    attempt(lambda: setattr(a, "left", 5))
    attempt(lambda: delattr(a, "left"))
    attempt(lambda: a.left)
    attempt(lambda: a.__dict__)
    attempt(lambda: copy.copy(b) == b and copy.deepcopy(b) == b)
    attempt(lambda: (dataclasses.replace(b, left=7), dataclasses.asdict(b), [f.name for f in dataclasses.fields(one)]))
    attempt(lambda: dataclasses.replace(one([3])).items)
    return seen


@pytest.mark.parametrize(
    "options", [FROZEN, {**FROZEN, "order": True}, {"slots": True}, {"slots": True, "order": True}], ids=str
)
def test_as_the_standard_library(options: dict[str, bool]) -> None:
    assert behaviour(noun, **options) == behaviour(dataclasses, **options)


def test_replace() -> None:
    where = Location("a.yaml", 3, 4)
    assert noun.replace(where, line=5) == Location("a.yaml", 5, 4)
    with pytest.raises(TypeError):
        noun.replace(where, nothing=1)


def test_pickling() -> None:
    piece = Piece(0, 8, "rdi")
    assert pickle.loads(pickle.dumps(piece)) == piece
    report = Report()
    report.error("SP201", "message", Location("x"))
    assert pickle.loads(pickle.dumps(report)) == report


def test_a_noun_that_holds_itself_can_be_printed() -> None:
    one = classes(noun, slots=True)["One"]()
    one.items.append(one)
    assert repr(one) == "One(items=[...])"


def test_what_is_not_supported_is_refused() -> None:
    with pytest.raises(TypeError):
        classes(noun, slots=False)
    piece: Any = Piece
    with pytest.raises(TypeError):
        noun.dataclass(slots=True)(type("More", (piece,), {}))


def test_the_standard_library_is_not_loaded() -> None:
    code = "import sys, specc.noun; sys.exit('dataclasses' in sys.modules or 'inspect' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

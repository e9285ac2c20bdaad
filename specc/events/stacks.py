"""Stack traces by the ids that events carry: a function that reads one in, its frames as text out.

    stacks = Stacks(read)               # read(7) -> (Frame("inner+0x4 [prog]", "inner"), Frame("main+0x12 [prog]", "main"))
    stacks[7]                           # ["inner+0x4 [prog]", "main+0x12 [prog]"], the innermost first
    stacks.frames(7)                    # the same with the names alone, as flame graphs want them

An id means the same frames as long as the program runs, so each is read once, when it first comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Frame:
    """`text` is what a record says, with the offset in the function; `name` the function alone, or what there is."""

    text: str
    name: str


# The frames of an id, the innermost first.
Read: TypeAlias = Callable[[int], tuple[Frame, ...]]


class Stacks(dict[int, list[str]]):
    def __init__(self, read: Read) -> None:
        super().__init__()
        self._read = read
        self._frames: dict[int, tuple[Frame, ...]] = {}

    __hash__ = object.__hash__  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return self is other

    def frames(self, id: int) -> tuple[Frame, ...]:
        found = self._frames.get(id)
        if found is None:
            found = self._frames[id] = self._read(id)
        return found

    def __missing__(self, id: int) -> list[str]:
        texts = self[id] = [frame.text for frame in self.frames(id)]
        return texts


def joined(texts: Iterable[str]) -> str:
    """Frames in one line, with `;` between: what ends a frame or the line in a name is escaped."""
    return ";".join(map(escaped, texts))


def escaped(text: str) -> str:
    return "".join(c if c.isprintable() and c != ";" else f"\\x{ord(c):02x}" for c in text)

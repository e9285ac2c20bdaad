"""The nouns of paths. In: nothing. Out: frozen values.

Path("f_inode->i_ino", where, (Step("f_inode", None, ...), Step("i_ino", None, ...)))
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from specc.diagnostics import Location
from specc.noun import dataclass
from specc.prototype import CType, Record, bare


@dataclass(frozen=True, slots=True)
class Step:
    """A member's name, or the index of an element, of an array or behind a pointer: one of them is None."""

    name: str | None
    index: int | None
    where: Location | None


@dataclass(frozen=True, slots=True)
class Path:
    """`text` is as the spec has it."""

    text: str
    where: Location | None
    steps: tuple[Step, ...]


def told(start: str, text: str) -> str:
    """A path from what is called `start`, as C has it."""
    return f"{start}{'->' if text and text[0] != '[' else ''}{text}"


# A record with its members, or why it has none: for a record type that is only named, its typedef around it.
Complete: TypeAlias = Callable[[CType], "Record | str"]


@dataclass(frozen=True, slots=True)
class Access:
    """One step within a record: to a member by its name, those of anonymous records included, or to an element.
    `type` is what is there."""

    name: str | None
    index: int | None
    type: CType


@dataclass(frozen=True, slots=True)
class Hop:
    """From a pointer to `root`, which is followed, to what is `bit_offset` behind where it leads, of the type `type`.

    Without accesses it leads to the record itself, or to the element of which the path says the `index`; only then may `root`
    be no record. `bit_width` is set of a bit-field. `user` says that the pointer is declared to lead to a process's memory.
    """

    root: CType
    accesses: tuple[Access, ...]
    bit_offset: int
    bit_width: int | None
    type: CType
    user: bool
    index: int | None = None

    @property
    def in_record(self) -> bool:
        return isinstance(bare(self.root), Record)


@dataclass(frozen=True, slots=True)
class Walk:
    """A path from a value: the part of it that lies in the value itself (`inside`, of a struct by value), then a hop for
    each pointer that is followed. `path` is what was walked, from a value of the type `start`."""

    path: Path
    start: CType
    inside: Hop | None
    hops: tuple[Hop, ...]

    @property
    def last(self) -> Hop:
        last = self.hops[-1] if self.hops else self.inside
        assert last is not None, "a path has a step"
        return last

    @property
    def type(self) -> CType:
        """What is at its end."""
        return self.last.type

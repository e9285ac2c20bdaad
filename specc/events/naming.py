"""Integers by name: the `Names` of a field in, what a record has instead of the number out.

    Naming(Names("enum", "enum mode", (("OFF", 0), ("ON", 1))), 4)[1]           # "ON"; of 2, for which there is no name, 2
    Naming(Names("flags", "FOLL_", (("FOLL_WRITE", 1),)), 4)[0x41]              # "FOLL_WRITE|0x40"

Nothing is lost: a value of an enum has one name, and the names and the rest of flags are its bits.
"""

from __future__ import annotations

from typing import Final

from specc.ir import Names

_CACHED: Final = 1 << 16


class Naming(dict[int, str | int]):
    """What each value of a field of `size` bytes is called, worked out when it first comes."""

    def __init__(self, names: Names, size: int) -> None:
        super().__init__()
        self.names = names
        self._values: dict[int, str] = {}
        for name, value in names.members:
            self._values.setdefault(value, name)
        self._mask = (1 << 8 * size) - 1
        # A name of several bits goes before those of its parts: O_SYNC has the bit of O_DSYNC.
        bits = [(value & self._mask, name) for value, name in self._values.items()]
        self._flags = sorted((b for b in bits if b[0]), key=lambda b: -b[0].bit_count())

    __hash__ = object.__hash__  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Naming) and other.names == self.names and other._mask == self._mask

    def __missing__(self, value: int) -> str | int:
        if len(self) >= _CACHED:
            self.clear()
        made = self[value] = self._flagged(value) if self.names.kind == "flags" else self._values.get(value, value)
        return made

    def _flagged(self, value: int) -> str:
        rest = value & self._mask
        found: list[tuple[int, str]] = []
        for bits, name in self._flags:
            if rest & bits == bits:
                found.append((bits, name))
                rest ^= bits
                if not rest:
                    break
        if not found and not rest:
            return self._values.get(0, "0")
        return "|".join([name for _, name in sorted(found)] + ([f"{rest:#x}"] if rest else []))

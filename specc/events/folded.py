"""Records as folded stacks, one line for each that differs, with how often it came: what flame graph tools read.

    writer = FoldedWriter(decoder, sys.stdout)
    writer.write(batch)
    writer.close()                      # "nginx;main;serve;vfs_read_[k] 42"

The outermost frame comes first, after the name of the thread where that is recorded; frames of the kernel come last and
end in `_[k]`. What is kept grows with the number of different stacks, not with that of events.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import IO, Any, Final, TypeAlias

from specc.events.decoder import Decoder
from specc.events.program import Compiled, error_name
from specc.events.shape import Slot, text
from specc.events.stacks import escaped
from specc.events.text import Output, as_batch
from specc.ir import Role

_ORDER: Final = ("user_stack", "kernel_stack")  # a process's own code called the kernel's
_IDS: Final = struct.Struct("<iI")  # the errno, and the id after it

# The root of a line, and of each stack its errno and its id.
_Key: TypeAlias = tuple[str, tuple[tuple[int, int], ...]]


class FoldedWriter:
    def __init__(self, decoder: Decoder, stream: IO[Any]) -> None:
        self._out = Output(stream)
        self._decoder = decoder
        self._several = sum(any(s.field.role is Role.STACK for s in e.slots) for e in decoder.events) > 1
        self._stacks = [_stacks(e) for e in decoder.events]
        self._counts: Counter[tuple[int, _Key]] = Counter()
        self._paths: dict[tuple[int, _Key], str] = {}

    def write(self, records: Iterable[bytes | memoryview]) -> int:
        batch = as_batch(records)
        for record in batch:
            event = self._decoder.event_of(record)
            self._add(event, self._stacks[event.event.number], record, 1)
        return len(batch)

    def add(self, key: Compiled, record: bytes, weight: int) -> None:
        """What was counted by a key, whose event this is."""
        self._add(key, _stacks(key), record, weight)

    def _add(self, event: Compiled, stacks: Sequence[Slot], record: bytes | memoryview, weight: int) -> None:
        ids = tuple(_IDS.unpack_from(record, s.status) for s in stacks if s.status is not None)
        key = (event.event.number, (self._root(event, record), ids))
        if key not in self._paths:  # at once: who has run this code may end
            self._paths[key] = self._path(event, stacks, *key[1])
        self._counts[key] += weight

    def flush(self) -> None:
        """Nothing: a line is written when its count is known, at the end."""

    def close(self) -> None:
        lines: Counter[str] = Counter()
        for key, count in self._counts.items():
            lines[self._paths[key]] += count
        self._out.text("".join(f"{path} {count}\n" for path, count in sorted(lines.items())))
        self._out.flush()

    def _root(self, event: Compiled, record: bytes | memoryview) -> str:
        for slot in event.slots:
            if slot.field.role is Role.CONTEXT and slot.key == "comm":
                field = slot.field
                return text(bytes(record[field.offset : field.offset + field.size]))
        return ""

    def _path(self, event: Compiled, stacks: Sequence[Slot], root: str, ids: tuple[tuple[int, int], ...]) -> str:
        parts = [event.probe] if self._several or not root else []
        parts += [root] if root else []
        if not ids:
            parts.append(f"[no stack: {event.probe}]")
        for slot, (status, id) in zip(stacks, ids, strict=True):
            kernel = "_[k]" if slot.key == "kernel_stack" else ""
            if status:
                names = [f"[no {slot.key}: {error_name(status)}]"]
            elif slot.shape.stacks is None:  # type: ignore[union-attr]
                names = [f"[{slot.key} {id}]"]
            else:
                names = [f.name for f in reversed(slot.shape.stacks.frames(id))]  # type: ignore[union-attr]
            parts += [name + kernel for name in names]
        return ";".join(map(escaped, parts))


def _stacks(event: Compiled) -> list[Slot]:
    found = [s for s in event.slots if s.field.role is Role.STACK]
    return sorted(found, key=lambda s: _ORDER.index(s.key))

"""Records as a buffer hands them over: many in one piece of memory, looked at where they lie.

In: nothing, this is a noun; `buffers` makes it.  Out: a sequence of records for everyone, and offsets for who is in a hurry.

    Batch(memory, range(8, 808, 80), 72)            # ten records of 72 bytes
    for record in batch: ...                        # a memoryview each

The memory is the buffer's own: a batch is good until the next one is asked for. `bytes(record)` keeps a record.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload


class Batch(Sequence[memoryview]):
    """Records at `offsets` of `data`; `lengths` is one number when they are all equally long.

    When the offsets are a `range`, the memory goes on for a whole step after the last of them.
    """

    __slots__ = ("data", "lengths", "offsets")

    def __init__(self, data: memoryview, offsets: range | list[int], lengths: int | list[int]) -> None:
        self.data = data
        self.offsets = offsets
        self.lengths = lengths

    def __len__(self) -> int:
        return len(self.offsets)

    @overload
    def __getitem__(self, index: int) -> memoryview: ...

    @overload
    def __getitem__(self, index: slice) -> Batch: ...

    def __getitem__(self, index: int | slice) -> memoryview | Batch:
        if isinstance(index, slice):
            lengths = self.lengths if isinstance(self.lengths, int) else self.lengths[index]
            return Batch(self.data, self.offsets[index], lengths)
        start = self.offsets[index]
        return self.data[start : start + (self.lengths if isinstance(self.lengths, int) else self.lengths[index])]

    def __iter__(self) -> Iterator[memoryview]:
        data, lengths = self.data, self.lengths
        if isinstance(lengths, int):
            return (data[o : o + lengths] for o in self.offsets)
        return (data[o : o + n] for o, n in zip(self.offsets, lengths, strict=True))


def batch_of(records: Sequence[bytes | memoryview]) -> Batch:
    """A batch of records that lie anywhere: they are copied together."""
    offsets, lengths, at = [], [], 0
    for record in records:
        offsets.append(at)
        lengths.append(len(record))
        at += len(record)
    data = memoryview(b"".join(records))
    if lengths and len(set(lengths)) == 1 and lengths[0]:
        return Batch(data, range(0, at, lengths[0]), lengths[0])
    return Batch(data, offsets, lengths)

"""Records to values: a `Description` and bytes in, flat dicts out, as the JSON Schema of the records has them.

decoder = Decoder(description_of(object_bytes))
decoder.decode(record)              # {"probe": "gup", "timestamp": 12, "pid": 7, "start": 4096, "locked": None, ...}
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

from specc.batch import Batch
from specc.describe import Description
from specc.diagnostics import Stop, stop
from specc.events.program import Compiled
from specc.events.stacks import Stacks

StacksOf: TypeAlias = Mapping[str, Mapping[str, Stacks]]


class Decoder:
    """Decodes the records of one object. Each event's functions are made when its first record comes.

    `stacks` has, by probe and field, what knows the stack traces of a program that runs; without it, records have ids.
    """

    def __init__(self, description: Description, stacks: StacksOf = MappingProxyType({})) -> None:
        self.description = description
        self.events = tuple(Compiled(p.name, p.event, stacks.get(p.name, {})) for p in description.probes)

    @property
    def streaming(self) -> tuple[Compiled, ...]:
        """Those of which there are records; what is aggregated stays in the kernel."""
        return tuple(e for e, p in zip(self.events, self.description.probes, strict=True) if p.aggregate is None)

    def decode(self, record: bytes | memoryview) -> dict[str, Any]:
        """One record. Raises Stop for bytes that no probe of this object can have made."""
        return self.event_of(record).build(record)

    def event_of(self, record: bytes | memoryview) -> Compiled:
        number = int.from_bytes(record[:4], "little")
        if len(record) < 4 or number >= len(self.events):
            raise _stranger(f"a record of {len(record)} bytes is of none of the {len(self.events)} probes")
        event = self.events[number]
        if len(record) != event.event.size:
            raise _wrong_size(event, len(record))
        return event

    def only(self, batch: Batch) -> Compiled | None:
        """The event that all records of an evenly spaced batch are of, if it is one."""
        if not isinstance(batch.offsets, range) or not isinstance(batch.lengths, int) or not batch.offsets:
            return None
        if len(self.events) == 1:
            # The number is looked at for one record only: every record comes from a program of this object.
            return self.event_of(batch[0])
        first, step = batch.offsets[0], batch.offsets.step
        if step % 4 or first % 4:
            return None
        words = batch.data[first : first + step * len(batch)].cast("I")
        if len(set(words[:: step // 4].tolist() if step > 4 else words.tolist())) > 1:
            return None
        return self.event_of(batch[0])


def _wrong_size(event: Compiled, size: int) -> Stop:
    return _stranger(f"a record of `{event.probe}` has {size} bytes, and its event has {event.event.size}")


def _stranger(message: str) -> Stop:
    return stop(
        "SP463", message, None, help="the object and the running program differ: build it again and run it anew"
    )

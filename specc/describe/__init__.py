"""What an object says of itself: its probes, and its events completely enough to decode them.

In: a `Program`.  Out: JSON that the emitted C carries, and from an object's bytes a `Description`.

    describe(program)                                   # '{"specc": 1, "name": "gup", ...'
    description_of(Path("gup.bpf.o").read_bytes())      # Description("gup", "ring", (ProbeDescription(...), ...))

`writer` makes the text, `reader` reads it, with `type_reader`, `field_reader` and `aggregate` for its parts and `rows` for
what may stand where. Who builds an object loads no reader.

The text has a line for every record type, probe and field, and is the same for the same program. A type behind a
pointer is only named: its members are not in an event.
"""

from specc.describe.nouns import SECTION, VERSION, Description, ProbeDescription
from specc.describe.writer import describe

__all__ = [
    "SECTION",
    "VERSION",
    "Description",
    "ProbeDescription",
    "describe",
]

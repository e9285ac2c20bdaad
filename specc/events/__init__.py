"""Events as users see them: bytes from a buffer in; values, JSON lines, CSV, tables and columns out.

    decoder = Decoder(description)
    decoder.decode(record)                                          # {"probe": "gup", "pid": 7, "start": 4096, ...}
    writer = open_writer("jsonl", description, sys.stdout)
    writer.write(batch)

Everything here is pure but for what a writer writes; it knows of no kernel, so a recorded stream decodes anywhere.
"""

from specc.events.decoder import Decoder
from specc.events.writers import FORMATS, Writer, open_writer

__all__ = ["FORMATS", "Decoder", "Writer", "open_writer"]

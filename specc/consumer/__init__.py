"""A Python module for programs that read a program's events: `Program` in, its text out.

    emit_python(program)        # the text of gup_events.py

The module needs the standard library and libbpf, not specc. What it decodes is what `specc.events` decodes: the tests
compare the two record for record. Attributes hold what Python has for a value (bytes, tuples, dataclasses, floats that
may be nan); its function `record` turns them into the flat object that `specc run --format jsonl` writes.
"""

from specc.consumer.module import emit_python

__all__ = ["emit_python"]

"""The members of records that a prototype only names: from where its types are.

In: a BTF, and a record type behind a pointer.  Out: the record with its members, or why there are none.

    completed_by(btf)(Record("struct", "file", None))       # Record("struct", "file", (Member("f_mode", ...), ...))
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from specc.btf.reader import Btf
from specc.prototype import CType, Record, record_and_alias


def completed_by(btf: Btf) -> Callable[[CType], Record | str]:
    return partial(_in_btf, btf)


def _in_btf(btf: Btf, ctype: CType) -> Record | str:
    record, alias = record_and_alias(ctype)
    if not isinstance(record, Record):
        return "it is no struct"
    if record.members is not None:
        return record
    if record.tag is None and alias is None:
        return "it has no name to be found by"
    word = f"{record.kind} {record.tag}" if record.tag is not None else str(alias)
    # libbpf relocates by the name too, and takes the kernel's before a module's: a name must mean one thing.
    found = list(dict.fromkeys(btf.records_named(record.kind, record.tag, alias)))
    complete = [r for r in found if r.members is not None]
    if len(complete) > 1:
        return f"the {btf.source} has {len(complete)} different definitions of `{word}`"
    if complete:
        return complete[0]
    if found and found[0].doubt:
        return found[0].doubt
    return f'the {btf.source} does not have `{word}` whole (a small BTF file has it with `specc btf --types "{word}"`)'

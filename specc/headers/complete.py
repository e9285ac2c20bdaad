"""The members of records that a prototype only names: from a spec's headers.

In: the headers' index, and a record type behind a pointer.  Out: the record with its members, or why there are none.

    completed_by(index)(Record("struct", "conn", None))     # Record("struct", "conn", (Member("fd", ...), ...))
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from specc.prototype import CType, Record, bare, record_and_alias

if TYPE_CHECKING:
    from specc.headers.index import HeaderIndex


def completed_by(index: HeaderIndex | None) -> Callable[[CType], Record | str]:
    def complete(ctype: CType) -> Record | str:
        record, alias = record_and_alias(ctype)
        if not isinstance(record, Record):
            return "it is no struct"
        if record.members is not None:
            return record
        if index is None:
            return "the spec has no header that defines it"
        found: CType | None = None
        if record.tag is not None:
            found = index.complete(record.kind, record.tag)
        elif alias is not None:
            found = index.typedef(alias)
        whole = bare(found) if found is not None else None
        if not isinstance(whole, Record) or whole.members is None:
            doubt = whole.doubt if isinstance(whole, Record) else ""
            return doubt or "no header of the spec defines it"
        return whole

    return complete

"""A module's BTF on top of its base: whether the two belong together, and the bases that modules bring along.

In: a module's raw BTF, and the base that it has or is given.  Out: a `Btf`; what does not fit is a Stop (SP236).

    on_base(data, "ext4", vmlinux)                       # split BTF, checked against the base it is put on
    on_distilled(data, distilled, "ext4", None)          # a module with .BTF.base, read alone
    on_distilled(data, distilled, "ext4", vmlinux)       # the same, with the members of the kernel's structs

Split BTF refers to its base by number. On the BTF of another build these numbers mean other things, and nothing in the
format tells, so what can be checked is. A distilled base (Linux 6.12, tools/lib/bpf/btf.c: btf__distill_base) names
the few types of the kernel that a module uses, with their sizes and without members.
"""

from __future__ import annotations

import struct
from typing import Final

from specc.btf import blob as B
from specc.btf.blob import Blob, TypeRecord
from specc.btf.part import Writer
from specc.btf.reader import Btf
from specc.diagnostics import Stop, stop

_ENUMS: Final = frozenset({B.ENUM, B.ENUM64})
_SIZED: Final = frozenset({B.STRUCT, B.UNION, *_ENUMS})


def on_base(data: bytes, name: str, base: Btf) -> Btf:
    """A module's BTF on its kernel's. Raises Stop (SP236) when it was made for another."""
    btf = Btf(data, name, base)
    if not btf.blob.names_are_whole():
        raise _foreign(name, base, "it refers to names of its base that are not there")
    return btf


def _foreign(name: str, base: Btf, why: str) -> Stop:
    return stop(
        "SP236",
        f"the BTF of `{name}` was not made for the kernel of `{base.name}`: {why}",
        None,
        help="give the BTF of exactly the kernel that the module was built for",
    )


def on_distilled(data: bytes, distilled: bytes, name: str, base: Btf | None) -> Btf:
    """A module's BTF on the base that it brings; with `base`, on the kernel's own types of the same names."""
    small = Btf(_declared(distilled, f"{name} (base)"), f"{name} (base)")
    if base is None:
        return on_base(data, name, small)
    return Btf(_relocated(on_base(data, name, Btf(distilled, small.name)).blob, base), name, base)


def _declared(distilled: bytes, name: str) -> bytes:
    """The same types, with records and enums as what they are there: declared, and nothing told about their values.

    Read as they are, a struct would have no members, and a negative constant of an enum no sign.
    """
    blob = Blob(distilled, name)
    data = bytearray(distilled)
    for i in blob.ids():
        record = blob.record(i)
        if record.kind in _SIZED and not record.vlen:
            forward = int(record.kind == B.UNION) << 31 | B.FWD << 24
            struct.pack_into("<II", data, blob.place(i) + 4, forward, 0)  # btf_type: name, info, size or type
    return bytes(data)


def _relocated(module: Blob, base: Btf) -> bytes:
    """The module's own types with the numbers that they and what they refer to have on the kernel's BTF."""
    distilled = module.base
    assert distilled is not None
    numbers = {0: 0}
    for i in distilled.ids():
        numbers[i] = _counterpart(distilled, distilled.record(i), module.name, base)
    first = base.blob.end_id
    numbers.update({i: first + n for n, i in enumerate(module.ids())})
    out = Writer(base.blob.end_string)

    def number(i: int) -> int:
        if i not in numbers:
            raise module.damaged(f"it refers to type {i}, and there are only {module.end_id - 1}")
        return numbers[i]

    for i in module.ids():
        out.add(module, module.record(i), number)
    return out.bytes()


def _counterpart(distilled: Blob, record: TypeRecord, module: str, base: Btf) -> int:
    """The kernel's type that a type of a distilled base stands for: the one of its name, kind and size."""
    name = distilled.text(record.name_offset)
    kinds = _ENUMS if record.kind in _ENUMS else {record.kind}
    if record.kind == B.FWD:
        kinds = {B.UNION if record.flag else B.STRUCT, B.FWD}
    found = base.ids_named(name, kinds)
    if record.kind != B.FWD:
        found = [i for i in found if base.blob.record(i).size_or_type == record.size_or_type]
    if record.kind == B.INT:
        bits = distilled.rest(record, 1)
        found = [i for i in found if base.blob.rest(base.blob.record(i), 1) == bits]
    if not found or (len(found) > 1 and record.kind in _SIZED):
        what = f"{B.KIND_NAMES[record.kind].partition(' ')[2]} `{name}`"
        size = f" of {record.size_or_type} bytes" if record.kind != B.FWD else ""
        raise _foreign(module, base, f"there {'are several' if found else 'is no'} {what}{size}")
    return found[0]

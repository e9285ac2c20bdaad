"""What classes and attributes of the module are called: probes, and the records in their events, to names of Python.

In: probes, one by one.  Out: a name for each of their classes; then, for members of C, names of attributes.

    naming = Naming()
    naming.add(probe)
    naming.of(probe.name)                   # "GetUserPages"
    naming.attributes(["class", "__count"])     # {"class": "class_", "__count": "_count"}

All classes are named before the first attribute: an attribute by the name of a class would hide it.
"""

from __future__ import annotations

import builtins
import keyword
from collections.abc import Iterable
from typing import Final

from specc.ir import Probe, Role
from specc.prototype import Array, Complex, CType, Member, Record, Typedef, Vector, bare, spell

# What the template defines or uses, and may therefore name no class of an event.
_TAKEN: Final = frozenset({"Any", "ClassVar", "Context", "Decimal", "Event", "Iterator", "TypeAlias", *dir(builtins)})
# Words that annotations use: an attribute by such a name would hide it from those after.
_WORDS: Final = frozenset({"bool", "bytes", "float", "int", "str", "tuple", "PROBE"})
# Functions of the module, each called so after an underscore.
HELPERS: Final = ("text", "int", "uint", "bits", "float", "extended", "quad", "error", "flags")


class Naming:
    def __init__(self) -> None:
        self.records: list[Record] = []
        self._names: dict[Record | str, str] = {}

    def of(self, key: Record | str) -> str:
        """The class of a record, or of the probe by this name."""
        return self._names[key]

    def add(self, probe: Probe) -> None:
        """Name the class of a probe's events, and those of the records in them."""
        name = self._class(probe.name, probe.name)
        for field in probe.event.fields:
            if field.role is Role.VALUE and field.type is not None and field.length is None:
                self._name_records(field.type, name + _pascal(field.record_key))

    def _class(self, key: Record | str, wanted: str) -> str:
        if key not in self._names:
            name = plain = _pascal(wanted)
            number = 2
            while name in _TAKEN or keyword.iskeyword(name) or name in self._names.values():
                name, number = f"{plain}{number}", number + 1
            self._names[key] = name
        return self._names[key]

    def _name_records(self, ctype: CType, fallback: str) -> None:
        """Name the records in a type, the inner ones first."""
        alias = ctype.name if isinstance(ctype, Typedef) else ""
        match bare(ctype):
            case Array(element=element) | Vector(element=element):
                self._name_records(element, fallback)
            case Complex() as kind:
                self._name_record(parts_of(kind), spell(kind))
            case Record() as record:
                for member in members_of(record):
                    self._name_records(member.type, fallback + _pascal(member.name))
                self._name_record(record, alias or record.tag or fallback)

    def _name_record(self, record: Record, wanted: str) -> None:
        if record not in self._names:
            self._class(record, wanted)
            self.records.append(record)  # after what it holds, and before what holds it

    def attributes(self, keys: Iterable[str]) -> dict[str, str]:
        """Attributes for names of C: no keyword, nothing that a class mangles, nothing that annotations use."""
        made: dict[str, str] = {}
        for key in keys:
            name = f"_{key.lstrip('_')}" if key.startswith("__") else key
            while (
                keyword.iskeyword(name)
                or name in _WORDS
                or (name.startswith("_") and name[1:] in HELPERS)
                or name in self._names.values()
                or name in made.values()
            ):  # fmt: skip
                name += "_"
            made[key] = name
        return made


def _pascal(name: str) -> str:
    """A class's name: "__get_user_pages" is GetUserPages."""
    made = "".join(part[:1].upper() + part[1:] for part in "".join(c if c.isalnum() else "_" for c in name).split("_"))
    return made if made[:1].isalpha() else f"Of{made}"


def parts_of(kind: Complex) -> Record:
    """A complex number as the struct that C lays it out like (C11 6.2.5p13)."""
    size = kind.element.size
    parts = (Member("real", kind.element, 0), Member("imag", kind.element, 8 * size))
    return Record("struct", spell(kind), parts, 2 * size, size)


def members_of(record: Record) -> Iterable[Member]:
    """Members with names; those of an anonymous one are its parent's, as they are in C."""
    for member in record.members or ():
        inner = bare(member.type)
        if member.name and member.bit_width != 0:
            yield member
        elif isinstance(inner, Record) and member.bit_width is None:
            for deeper in members_of(inner):
                at = member.bit_offset + deeper.bit_offset
                yield Member(deeper.name, deeper.type, at, deeper.bit_width, deeper.aligned, deeper.packed)

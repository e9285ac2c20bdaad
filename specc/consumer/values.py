"""How the module decodes a value: C types to annotations of Python, and to expressions over an event's bytes.

In: a type, and where its bytes are.  Out: text; and in `helpers` and `tables`, what the module must define for it.

    values.typed(Array(UINT, 4))                        # "tuple[int, ...]"
    values.value(UINT, "raw", "", 8)                    # "_uint(raw[8:12])"
    values.helpers                                      # {"uint"}
"""

from __future__ import annotations

from typing import Final

from specc.consumer.naming import HELPERS, Naming, parts_of
from specc.ir import Field, Names
from specc.prototype import (
    Array,
    BitInt,
    Complex,
    CType,
    Enum,
    Float,
    Int,
    Pointer,
    Record,
    Vector,
    bare,
    size_of,
)

CODES: Final = {1: "b", 2: "h", 4: "i", 8: "q"}
_FLOATS: Final = {"_Float16": "e", "float": "f", "double": "d"}
_FLOATS_BY_SIZE: Final = {2: "e", 4: "f", 8: "d"}


class Values:
    def __init__(self, naming: Naming) -> None:
        self.helpers: set[str] = set()
        self.tables: list[dict[int, str]] = []
        self._naming = naming

    def of_field(self, field: Field, ctype: CType, variables: dict[str, str]) -> tuple[str, str]:
        """The annotation of a field's value, and the expression that decodes it from the variables of its event."""
        variable = variables[field.name]
        if field.length is not None and field.c_type != "char":
            return "bytes", f"{variable}[:{variables[field.length]}]"
        kind = bare(ctype)
        if code_of(ctype) in ("?", ""):
            truth = field.format == "bool" and isinstance(kind, Int | BitInt) and code_of(ctype) != "?"
            if truth:
                whole = f"{variable}[0:{size_of(ctype)}]"
                return "bool", f"{self.helped('uint', whole)} != 0"
            if code_of(ctype) == "?":
                return "bool", variable
            return self.typed(ctype), self.value(ctype, variable, "", 0)
        if isinstance(kind, Float):
            return "float", variable
        if field.format == "bool":
            return "bool", f"{variable} != 0"
        return ("int", variable) if field.names is None else self._named(field.names, size_of(ctype), variable)

    def _named(self, names: Names, size: int, variable: str) -> tuple[str, str]:
        """A value by name, as records have it: of two names for one value the first, of flags those of most bits."""
        values = {value: name for name, value in reversed(names.members)}
        if names.kind == "flags":
            mask = (1 << 8 * size) - 1
            first = sorted(dict(reversed(values.items())).items(), key=lambda v: -(v[0] & mask).bit_count())
            table = self._table({value & mask: name for value, name in first})
            return "str", self.helped("flags", f"{variable} & {mask:#x}, {table}")
        return "int | str", f"{self._table(dict(reversed(values.items())))}.get({variable}, {variable})"

    def _table(self, values: dict[int, str]) -> str:
        if values not in self.tables:
            self.tables.append(values)
        return f"_names_{self.tables.index(values)}"

    def typed(self, ctype: CType) -> str:
        """The annotation of a value."""
        kind = bare(ctype)
        match kind:
            case Int(kind="bool", size=1):
                return "bool"
            case Int() | Enum() | Pointer() | BitInt() if size_of(kind):
                return "int"
            case Float(size=size):
                return "float | Decimal" if size == 16 else "float"
            case Complex():
                return self._naming.of(parts_of(kind))
            case Array(element=element) if _is_text(kind):
                return "str"
            case Array(element=element) | Vector(element=element):
                inner = self.typed(element)
                return f"tuple[{inner}, ...]"
            case Record():
                return self._naming.of(kind)
            case _:
                return "None"

    def value(self, ctype: CType, raw: str, base: str, offset: int, depth: int = 0) -> str:
        """An expression for the value at `base + offset` of the bytes `raw`, of which `base` is a variable or ""."""
        kind = bare(ctype)

        def part(size: int) -> str:
            if not base:
                return f"{raw}[{offset}:{offset + size}]"
            return f"{raw}[{_sum(base, offset)} : {_sum(base, offset + size)}]"

        match kind:
            case Int(kind="bool", size=1):
                return f"{raw}[{_sum(base, offset)}] != 0"
            case Int(size=size, signed=signed) | Enum(size=size, signed=signed) if size:
                return self.helped("int" if signed else "uint", part(size))
            case BitInt(width=width, signed=signed, size=size):
                return self.bits(part(size), 0, width, signed)
            case Pointer():
                return self.helped("uint", part(8))
            case Float(name="__bf16"):
                return self.helped("float", f'"<f", b"\\0\\0" + {part(2)}')  # the upper half of a float
            case Float(size=size) if size in (2, 4, 8):
                return self.helped("float", f'"<{_FLOATS_BY_SIZE[size]}", {part(size)}')
            case Float(data=10):
                return self.helped("extended", part(10))
            case Float(size=16):
                return self.helped("quad", part(16))
            case Array(count=count) if _is_text(kind):
                return self.helped("text", part(count or 0))
            case Array(element=element, count=count):
                return self._items(element, count or 0, raw, base, offset, depth)
            case Vector(element=element, size=size):
                return self._items(element, size // max(1, size_of(element)), raw, base, offset, depth)
            case Complex():
                return f"_struct_{self._naming.of(parts_of(kind))}({part(size_of(kind))})"
            case Record(size=size):
                return f"_struct_{self._naming.of(kind)}({part(size)})"
            case _:
                return "None"

    def _items(self, element: CType, count: int, raw: str, base: str, offset: int, depth: int) -> str:
        size = size_of(element)
        if not size or not count:
            return "()"
        loop = loop_name(depth)
        inner = self.value(element, raw, loop, 0, depth + 1)
        first, last = _sum(base, offset), _sum(base, offset + size * count)
        return f"tuple({inner} for {loop} in range({first}, {last}, {size}))"

    def bits(self, raw: str, first: int, width: int, signed: bool) -> str:
        return self.helped("bits", f"{raw}, {first}, {width}, {signed}")

    def helped(self, helper: str, arguments: str) -> str:
        assert helper in HELPERS
        self.helpers.add(helper)
        return f"_{helper}({arguments})"


def _is_text(kind: Array) -> bool:
    inner = bare(kind.element)
    return isinstance(inner, Int) and inner.kind == "char"


def code_of(ctype: CType) -> str:
    """What `struct` calls the type; "" when it has no word for it."""
    match bare(ctype):
        case Int(kind="bool", size=1):
            return "?"
        case Int(size=size, signed=signed) | Enum(size=size, signed=signed) if size in CODES:
            return CODES[size] if signed else CODES[size].upper()
        case Pointer():
            return "Q"
        case Float(name=name):
            return _FLOATS.get(name, "")
        case _:
            return ""


def _sum(base: str, offset: int) -> str:
    return str(offset) if not base else f"{base} + {offset}" if offset else base


def loop_name(depth: int) -> str:
    return f"i{depth + 1}" if depth else "i"


def is_loop_name(name: str) -> bool:
    return name[:1] == "i" and (name[1:].isdigit() or not name[1:])

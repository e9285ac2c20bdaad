"""What decides how a function's values are passed, beside their types: what DWARF leaves out, and what it tells of the
compiler's options.

In: the entry of a function, or a type.  Out: a reason why its arguments cannot be told, or the type that is passed.

    left_out(die, links, symbol, sure=False)       # "it describes 1 of 2: ...", or ""
    Passing(frozenset({"-fpcc-struct-return"}), False, "gcc", frozenset()).result(record)      # Unknown
"""

from __future__ import annotations

from typing import Final

from specc.dwarf.dies import Die, flag, inherited_text, parameters
from specc.dwarf.mangled import parameter_count
from specc.elf import Symbol
from specc.noun import dataclass
from specc.prototype import (
    DOUBLE,
    FLOAT,
    Array,
    Complex,
    CType,
    Float,
    Record,
    Unknown,
    Vector,
    bare,
    spell,
)


def left_out(source: Die, links: list[Die], symbol: Symbol, *, sure: bool) -> str:
    """Why a function of C++ may have more parameters than its entry has; "" when it has not.

    clang without -O leaves out a parameter that is passed by reference, as its class is not trivial to copy, and that the
    function does not use. The class's declaration of a member function has all of them, and a mangled name has their
    types. A function without either (`extern "C"`) is believed where the compiler is one that leaves none out.
    """
    told = parameters(source)
    declared = {len(parameters(d)) for d in links if d is not source and flag(d, "declaration")}
    implicit = sum(flag(p, "artificial") for p in told)
    count = parameter_count(inherited_text(source, "linkage_name") or symbol.name)
    if count is not None:
        declared.add(count + implicit)
    if any(n != len(told) for n in declared):
        return (
            f"it describes {len(told) - implicit} of {max(declared) - implicit}: clang without -O leaves out those of a"
            " class that are passed by reference and not used"
        )
    if not declared and not sure and symbol.name != "main":
        return (
            "clang without -O leaves out those of a class that are passed by reference and not used, and nothing tells"
            " how many there are"
        )
    return ""


def tagged(record: Record) -> str:
    return f"{record.kind} {record.tag or '(anonymous)'}"


# gcc's manual, "x86 Options": without SSE, its registers take no values.
_WITHOUT_SSE: Final = frozenset({"-mno-sse", "-mgeneral-regs-only", "-msoft-float"})


@dataclass(frozen=True, slots=True)
class Passing:
    """What decides how a function's values are passed beside their types: the compiler's options, as far as they are told,
    and whether the callers of a function without a prototype promote them (`promoting`). `stored` are the parameters that
    the prologue stores out of registers."""

    options: frozenset[str]
    promoting: bool
    compiler: str
    stored: frozenset[int]

    def argument(self, ctype: CType) -> CType:
        if self.promoting and bare(ctype) == FLOAT:
            # C11 6.5.2.2p6: a `double` is passed. Narrow integers are `int`s, whose low bytes are the value.
            return (
                DOUBLE
                if self.compiler
                else Unknown("float", "the function may have no prototype, and callers may pass a `double`")
            )
        return self._without_sse(ctype)

    def result(self, ctype: CType) -> CType:
        inner = bare(ctype)
        if isinstance(inner, Record) and "-fpcc-struct-return" in self.options:
            return Unknown(tagged(inner), "its code returns it in memory, by -fpcc-struct-return", True)
        return self._without_sse(ctype)

    def _without_sse(self, ctype: CType) -> CType:
        without = sorted(self.options & _WITHOUT_SSE)
        if without and _floats(ctype):
            return Unknown(spell(ctype), f"its code has no registers for floating types, by {without[0]}", True)
        return ctype


def _floats(ctype: CType) -> bool:
    match bare(ctype):
        case Float() | Complex() | Vector():
            return True
        case Array(element=element):
            return _floats(element)
        case Record(members=members):
            return any(_floats(m.type) for m in members or ())
        case _:
            return False

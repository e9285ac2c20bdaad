"""What is known of a probe when it is lowered, and the values that come of it.

In: nothing, these are nouns; `resolve` makes a `Resolved`, `select` the values.

    Resolved(prototype, placement, type_named)
"""

from __future__ import annotations

from collections.abc import Callable

from specc.diagnostics import Location
from specc.ir import Names
from specc.lower.captures import Wanted
from specc.lower.event import Storage
from specc.lower.memory import Behind
from specc.lower.shown import Find
from specc.noun import dataclass
from specc.path import Complete
from specc.place import Placement
from specc.prototype import Array, CType, Function, Int, Prototype, Record, bare, decay

RETURN = "return"
LATENCY = "latency"  # of a call, on a return probe
# The field in C of the result: `return` is a keyword there, and records call it `return`.
RETURN_FIELD = "return_value"


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The same function on a further target."""

    target: str
    prototype: Prototype
    placement: Placement
    complete: Complete | None = None


@dataclass(frozen=True, slots=True)
class Resolved:
    """A probe's prototype with its places. `type_named` parses a C type name in the prototype's source (may Stop).

    A prototype out of BTF is that of the first `target`, and `elsewhere` has the others: places are then filled in when
    the program is loaded. Without a target the spec itself says what the prototype is.

    `char_known` says that the sign of a plain `char` is known: from BTF, or because the ABI says it (psABI 3.1.2). A
    header does not tell it for kernel code, which is compiled with -funsigned-char since Linux 6.2.
    """

    prototype: Prototype
    placement: Placement
    type_named: Callable[[str, Location], CType]
    char_known: bool = True
    target: str = ""
    elsewhere: tuple[Elsewhere, ...] = ()
    build: str | None = None  # of the ELF file whose debug information the prototype or the places are from
    # What an enum's values are called, or the constants with a prefix; None when there are none, which is reported.
    constants: Find | None = None
    # The value of an enum constant or a macro, for conditions, and whether it is out of BTF; or why it has none.
    constant: Callable[[str], tuple[int, bool] | str | None] | None = None
    complete: Complete | None = None  # the members of records that the prototype only names


@dataclass(frozen=True, slots=True)
class Value:
    """One value of an event. `wanted` is None for an optional argument that this prototype does not have.

    `argument` is its name in the prototype (or "return"), `declared` its type there; `any_type` says that the spec reads
    it as another type. With `behind`, the event has what the argument points to, or what a path from it leads to, and
    `wanted` is the pointer. A `hidden` one is in no record: it says a size.
    """

    name: str
    type: CType
    storage: Storage
    wanted: Wanted | None
    entry: bool
    optional: bool
    format: str | None
    declaration: str
    place: str
    reason: str
    where: Location
    argument: str
    declared: CType
    any_type: bool = False
    behind: Behind | None = None
    hidden: bool = False
    names: Names | None = None


def has_plain_char(ctype: CType) -> bool:
    """Whether a value of this type shows the sign of a plain `char`; an array of them is text, which has none."""
    match bare(decay(ctype)):
        case Int(kind="char"):
            return True
        case Record() as record:
            return any(
                has_plain_char(m.type) for m in record.members or () if not isinstance(bare(m.type), Array | Function)
            )
        case _:
            return False

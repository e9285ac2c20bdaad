"""Two prototypes of one function, from different sources: do they agree?

In: two `Prototype`s, say from a header and from BTF.  Out: sentences about what differs, none if they agree.

    differences(header, btf)
    # ("`locked` is argument 7 in include/mm.h:12 and argument 6 in BTF of vmlinux",)
    argument_differences(header, btf, ["start"])       # (): nothing that moves or changes `start`

What one of the sources cannot know is not a difference: missing names, typedefs, qualifiers, alignment that BTF leaves
out, an assembler function's empty prototype, a type that is unknown on one side. `canonical` gives the form in which
two sources that know the same are equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from specc.prototype import (
    Array,
    BitInt,
    Complex,
    CType,
    Enum,
    Float,
    Function,
    Int,
    Member,
    Parameter,
    Pointer,
    Prototype,
    Qualified,
    Record,
    Typedef,
    Unknown,
    Vector,
    Void,
    bare,
    decay,
    size_of,
    spell,
)

_QUALIFIERS: Final = ("const", "volatile", "restrict")


def canonical(p: Prototype) -> Prototype:
    """The prototype as every source can tell it: decayed parameters, ordered qualifiers, no attributes, no places."""
    parameters = tuple(Parameter(a.name, _parameter_type(a.type)) for a in p.parameters)
    return Prototype(p.name, canonical_type(p.result), parameters, p.variadic)


def canonical_type(ctype: CType) -> CType:
    """The type without what only some sources know: attributes, tags such as `__user`, whether a layout is exact."""
    match ctype:
        case Pointer(target=target):
            return Pointer(canonical_type(target))
        case Array():
            element, count = _flat(ctype)
            return Array(canonical_type(element), count or None)
        case Vector(element=element, size=size):
            return Array(canonical_type(element), size // size_of(element) or None)  # so BTF has it inside of records
        case Function(result=result, parameters=parameters, variadic=variadic):
            return Function(canonical_type(result), tuple(map(_parameter_type, parameters)), variadic)
        case Typedef(name=name, target=target):
            return Typedef(name, canonical_type(target))
        case Qualified(target=target, qualifiers=qualifiers):
            return _qualify(canonical_type(target), {q for q in qualifiers if q in _QUALIFIERS})
        case Record(members=None):
            return Record(ctype.kind, ctype.tag, None)
        case Record(members=members):
            kept = tuple(
                Member(m.name, canonical_type(m.type), m.bit_offset, m.bit_width)
                for m in members or ()
                if m.name or m.bit_width is None  # BTF leaves unnamed bit-fields out
            )
            return Record(ctype.kind, ctype.tag, kept, ctype.size)
        case Enum():
            return ctype
        case _:
            return ctype


def _flat(array: Array) -> tuple[CType, int]:
    """Element and count as BTF has them: pahole stores `[3][4]` as `[12]`, and `[]` as `[0]`."""
    count = array.count or 0
    inner = array.element
    while isinstance(inner, Array):
        count *= inner.count or 0
        inner = inner.element
    return inner, count


def _parameter_type(ctype: CType) -> CType:
    """C11 6.7.6.3p7-8 and p15: arrays and functions are pointers, and a parameter's own qualifiers do not count."""
    made = canonical_type(decay(ctype))
    return made.target if isinstance(made, Qualified) else made


def _qualify(target: CType, words: set[str]) -> CType:
    """C11 6.7.3p9: the qualifiers of an array are its elements'."""
    if isinstance(target, Array) and words:
        return Array(_qualify(target.element, words), target.count)
    if isinstance(target, Qualified):
        words |= set(target.qualifiers)
        target = target.target
    return Qualified(target, tuple(q for q in _QUALIFIERS if q in words)) if words else target


def differences(a: Prototype, b: Prototype) -> tuple[str, ...]:
    """Everything in which the two disagree, and that both can know."""
    if a.doubt or b.doubt:
        return ()
    pair = _Pair(a, b)
    found: list[str] = []
    result = type_difference(a.result, b.result)
    if result:
        found.append(pair.say("the result", spell(a.result), spell(b.result), result))
    if a.variadic != b.variadic:
        with_dots, without = (a, b) if a.variadic else (b, a)
        found.append(f"{_source(with_dots, 'one')} has `...` at the end, {_source(without, 'the other')} does not")
    found += pair.counts()
    return tuple(dict.fromkeys(found + _arguments(pair, range(max(len(a.parameters), len(b.parameters))))))


def argument_differences(a: Prototype, b: Prototype, names: Sequence[str]) -> tuple[str, ...]:
    """Where the two disagree about the arguments of `a` with these names: position, name, type, or what comes before.

    The name "return" is the result.
    """
    if a.doubt or b.doubt:
        return ()
    pair = _Pair(a, b)
    wanted = [i for i, p in enumerate(a.parameters) if p.name in names]
    found = _arguments(pair, wanted)
    if not found:
        found = _signs(pair, wanted)
    result = type_difference(a.result, b.result)
    if result and "return" in names:
        found.append(pair.say("the result", spell(a.result), spell(b.result), result))
    elif "return" in names and (lost := sign_lost(a.result, b.result)):
        found.append(pair.say("the result", spell(a.result), spell(b.result), lost))
    elif result and wanted and any(isinstance(bare(t), Record) for t in (a.result, b.result)):
        # psABI 3.2.3: a result in memory takes the first register.
        found.append(pair.say("the result", spell(a.result), spell(b.result), "this may move all arguments"))
    if wanted and any(p.name is None for p in (*a.parameters, *b.parameters)):
        found += pair.counts()  # without names, nobody can tell which argument was put in
    for i in range(min(max(wanted, default=0), len(a.parameters), len(b.parameters))):
        x, y = a.parameters[i], b.parameters[i]
        if i not in wanted and _shape(decay(x.type)) != _shape(decay(y.type)):
            found.append(pair.say(_nth(i, x), spell(x.type), spell(y.type), "this moves later arguments"))
    return tuple(dict.fromkeys(found))


def _signs(pair: _Pair, positions: Sequence[int]) -> list[str]:
    """Where values of the second prototype's arguments would be told wrongly by the types of the first."""
    found: list[str] = []
    for i in positions:
        if i < len(pair.b.parameters):
            x, y = pair.a.parameters[i], pair.b.parameters[i]
            if lost := sign_lost(decay(x.type), decay(y.type)):
                found.append(pair.say(_nth(i, x), spell(x.type), spell(y.type), lost))
    return found


class _Pair:
    """The two prototypes and how a person names their sources."""

    def __init__(self, a: Prototype, b: Prototype) -> None:
        self.a, self.b = a, b
        self.ours = _source(a, "the first declaration")
        self.theirs = _source(b, "the second declaration")

    def counts(self) -> list[str]:
        ours, theirs = len(self.a.parameters), len(self.b.parameters)
        return [f"{_count(ours)} in {self.ours}, {_count(theirs)} in {self.theirs}"] if ours != theirs else []

    def say(self, what: str, ours: str, theirs: str, why: str) -> str:
        return f"{what} is `{ours}` in {self.ours} and `{theirs}` in {self.theirs}: {why}"


def _source(p: Prototype, default: str) -> str:
    return p.source or (p.where.short() if p.where else default)


def _count(n: int) -> str:
    return f"{n} argument{'' if n == 1 else 's'}"


def _nth(i: int, p: Parameter) -> str:
    return f"argument {i + 1}" + (f" (`{p.name}`)" if p.name else "")


def _arguments(pair: _Pair, positions: Sequence[int]) -> list[str]:
    """Differences of the arguments at these positions of the first prototype."""
    a, b = pair.a.parameters, pair.b.parameters
    ours = {p.name: i for i, p in enumerate(a) if p.name}
    theirs = {p.name: i for i, p in enumerate(b) if p.name}
    found: list[str] = []
    for i in positions:
        x = a[i] if i < len(a) else None
        y = b[i] if i < len(b) else None
        if x is None:
            assert y is not None
            if not y.name or y.name not in ours:
                found.append(f"{_nth(i, y)} is only in {pair.theirs}")
            continue
        if x.name in theirs and theirs[x.name] != i:
            found.append(
                f"`{x.name}` is argument {i + 1} in {pair.ours} and argument {theirs[x.name] + 1} in {pair.theirs}"
            )
            continue
        if y is None or (x.name and y.name and x.name != y.name and y.name in ours):
            found.append(f"{_nth(i, x)} is only in {pair.ours}")
            continue
        if x.name and y.name and x.name != y.name:
            found.append(f"argument {i + 1} is `{x.name}` in {pair.ours} and `{y.name}` in {pair.theirs}")
        why = type_difference(decay(x.type), decay(y.type))
        if why:
            found.append(pair.say(_nth(i, x), spell(x.type), spell(y.type), why))
    return found


def type_difference(a: CType, b: CType, *, behind: bool = False) -> str | None:
    """Why two types are not the same to one who reads a value of them; None if they are, or if nobody can know."""
    a, b = bare(a), bare(b)
    if isinstance(a, Unknown) or isinstance(b, Unknown):
        return None
    if behind and (isinstance(a, Void) or isinstance(b, Void)):
        return None  # `void *` points to anything
    match a, b:
        case (Int() | Enum() | BitInt(), Int() | Enum() | BitInt()):
            return _integer_difference(a, b, behind)
        case (Pointer(target=x), Pointer(target=y)):
            inner = type_difference(x, y, behind=True)
            return f"they point to different things: {inner}" if inner and not behind else inner
        case (Record(), Record()):
            return _record_difference(a, b)
        case (Float(name=x), Float(name=y)):
            return None if (x, a.size) == (y, b.size) else "different floating types"
        case (Complex(element=x), Complex(element=y)):
            return type_difference(x, y)
        case (Function(), Function()) | (Void(), Void()):
            return None  # what a callback takes changes nothing about the value of its address
        case (Array(), Array()):
            (x, n), (y, m) = _flat(a), _flat(b)
            if n != m:
                return f"{n} elements against {m}"
            text = all(isinstance(t, Int) and t.kind == "char" for t in (bare(x), bare(y)))
            return type_difference(x, y, behind=behind or text)
        case (Vector(), Vector() | Array()) | (Array(), Vector()):
            return None if size_of(a) == size_of(b) else f"{size_of(a)} bytes against {size_of(b)}"
        case _:
            return f"{_kind(a)} against {_kind(b)}"


def _integer_difference(a: Int | Enum | BitInt, b: Int | Enum | BitInt, behind: bool) -> str | None:
    if a.size != b.size:
        return f"{a.size} bytes against {b.size}"
    if isinstance(a, BitInt) and isinstance(b, BitInt) and a.width != b.width:
        return f"{a.width} bits against {b.width}"
    if isinstance(a, Enum) and isinstance(b, Enum):
        return None if a.tag == b.tag or not (a.tag and b.tag) else "different enums"
    if _is_bool(a) != _is_bool(b):
        return (
            "true or false against a number" if _is_bool(a) else "a number against true or false"
        )  # 2 is read as false
    if isinstance(a, Enum) or isinstance(b, Enum) or a.signed == b.signed:
        return None  # an enum's sign is the compiler's choice
    plain = [t for t in (a, b) if isinstance(t, Int) and t.kind == "char"]
    if plain and behind:
        return None  # text is text
    if len(plain) == 2:
        return "plain `char` is signed in one and unsigned in the other (Linux is built with -funsigned-char since 6.2)"
    return "signed against unsigned" if a.signed else "unsigned against signed"


def _is_bool(t: Int | Enum | BitInt) -> bool:
    return isinstance(t, Int) and t.kind == "bool"


def _record_difference(a: Record, b: Record) -> str | None:
    if a.kind != b.kind or (a.tag and b.tag and a.tag != b.tag):
        return f"`{spell(a)}` against `{spell(b)}`"
    if a.members is None or b.members is None:
        return None
    if a.size != b.size:
        return f"{a.size} bytes against {b.size}"
    if not a.members or not b.members:
        return None  # gcc's debug information drops the members of transparent unions
    ours, theirs = dict(_leaves(a, 0)), dict(_leaves(b, 0))
    closed = tuple(
        f"{n}." for leaves in (ours, theirs) for n, (_, _, t) in leaves.items() if isinstance(bare(t), Record)
    )
    ours, theirs = ({n: w for n, w in leaves.items() if not f"{n}.".startswith(closed)} for leaves in (ours, theirs))
    for name, (offset, width, ctype) in ours.items():
        if name not in theirs:
            return f"member `{name}` is only in one of them"
        other_offset, other_width, other_type = theirs[name]
        if (offset, width) != (other_offset, other_width):
            return f"member `{name}` is at {_at(offset, width)} in one and at {_at(other_offset, other_width)} in the other"
        why = type_difference(ctype, other_type)
        if why:
            return f"member `{name}`: {why}"
    extra = [n for n in theirs if n not in ours]
    return f"member `{extra[0]}` is only in one of them" if extra else None


def sign_lost(ours: CType, theirs: CType) -> str | None:
    """Why a number of the type `theirs` may be told wrongly by one who takes it for `ours`, which it does not differ
    from but for its sign: an enum without negative values is unsigned, and a result that became one was often an errno."""
    a, b = bare(ours), bare(theirs)
    if isinstance(a, Int | Enum) and isinstance(b, Int | Enum):
        if a.signed == b.signed or (isinstance(a, Int) and isinstance(b, Int)):
            return None
        if a.signed and isinstance(b, Enum):
            return None  # its values are those that it names
        which, other = ("negative", "positive") if b.signed else ("large", "negative")
        return f"{which} values of `{spell(theirs)}` would be told as {other}"
    match a, b:
        case (Record(), Record()):
            there = dict(_leaves(b, 0))
            for name, (_, _, ctype) in _leaves(a, 0):
                if name in there and (why := sign_lost(ctype, there[name][2])):
                    return f"member `{name}`: {why}"
            return None
        case (Array(element=x), Array(element=y)):
            return sign_lost(x, y)
        case _:
            return None


def _leaves(record: Record, base: int) -> list[tuple[str, tuple[int, int | None, CType]]]:
    """Named members by their path, through records by value, so that an anonymous record is no difference.

    A record is itself a leaf when it has a size and its members are not known.
    """
    found: list[tuple[str, tuple[int, int | None, CType]]] = []
    for m in record.members or ():
        inner = bare(m.type)
        if isinstance(inner, Record) and (inner.members or not inner.size):
            prefix = f"{m.name}." if m.name else ""
            found += [(prefix + n, where) for n, where in _leaves(inner, base + m.bit_offset)]
        elif m.name:
            whole = (
                m.bit_width == 8 * size_of(m.type) and m.bit_offset % 8 == 0
            )  # clang calls such a bit-field a member
            found.append((m.name, (base + m.bit_offset, None if whole else m.bit_width, m.type)))
    return found


def _at(offset: int, width: int | None) -> str:
    where = f"byte {offset // 8}" + (f" bit {offset % 8}" if offset % 8 else "")
    return where if width is None else f"{where} with {width} bits"


def _kind(ctype: CType) -> str:
    match ctype:
        case Pointer():
            return "a pointer"
        case Int() | Enum() | BitInt():
            return "an integer"
        case Float() | Complex():
            return "a floating type"
        case Record(kind=kind):
            return f"a {kind} by value"
        case Void():
            return "nothing"
        case Function():
            return "a function"
        case _:
            return "an array or vector"


def _shape(ctype: CType) -> object:
    """What placement depends on: scalars of one general register are alike, whatever they are called."""
    inner = bare(ctype)
    match inner:
        case Pointer() | Int() | Enum() | BitInt() if size_of(inner) <= 8:
            return "INTEGER"
        case Int() | BitInt():
            return ("INTEGER", size_of(inner))
        case Float(name=name):
            return name if name not in ("float", "double", "_Float16") else "SSE"
        case Complex(element=element):
            return ("complex", element.name)
        case Record():
            return (inner.size, *((offset, width, _shape(t)) for _, (offset, width, t) in _leaves(inner, 0)))
        case Array() | Vector():
            return ("bytes", size_of(inner))
        case _:
            return type(inner).__name__

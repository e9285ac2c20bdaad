"""Random C functions, and the same functions as another kernel might declare them.

In: a seed and a number.  Out: a `Pair`: the function, its mutation, and what was changed.

    pair(seed=1, number=7).changes       # ("inserted `x3` at 0", "`struct s1` has a new member `m9`")

Names are stable under a mutation, unlike those of `oracle.shapes`: a struct that did not change keeps its tag.
Shares no code with specc.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from oracle.shapes import Case, Leaf, LeafKind, Parameter


@dataclass(frozen=True, slots=True)
class Plain:
    spelling: str
    size: int
    signed: bool
    boolean: bool = False


@dataclass(frozen=True, slots=True)
class Pointer:
    to: str


@dataclass(frozen=True, slots=True)
class Enum:
    tag: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Alias:
    name: str
    of: Type


@dataclass(frozen=True, slots=True)
class Member:
    name: str
    type: Type
    bits: int | None = None
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Record:
    keyword: str
    tag: str
    members: tuple[Member, ...]
    attribute: str = ""


Type = Plain | Pointer | Enum | Alias | Record


@dataclass(frozen=True, slots=True)
class Function:
    name: str
    result: Type | None
    parameters: tuple[tuple[str, Type], ...]


@dataclass(frozen=True, slots=True)
class Pair:
    first: Function
    other: Function
    changes: tuple[str, ...]
    kinds: tuple[str, ...]


INTEGERS: Final = (
    Plain("char", 1, True), Plain("signed char", 1, True), Plain("unsigned char", 1, False), Plain("short", 2, True),
    Plain("unsigned short", 2, False), Plain("int", 4, True), Plain("unsigned int", 4, False), Plain("long", 8, True),
    Plain("unsigned long", 8, False), Plain("long long", 8, True), Plain("unsigned long long", 8, False),
)  # fmt: skip
BOOL: Final = Plain("_Bool", 1, False, boolean=True)
WIDE: Final = (Plain("__int128", 16, True), Plain("unsigned __int128", 16, False))
TARGETS: Final = ("void", "char", "const char", "int", "unsigned long", "struct page", "struct file", "struct page *")
ENUMS: Final = (("0", "1"), ("-1", "5"), ("0", "1 << 30"))
ATTRIBUTES: Final = ("packed", "aligned(8)", "aligned(16)", "aligned(32)", "packed, aligned(4)")
MOST: Final = 12  # parameters


# --- what is declared -------------------------------------------------------------------------------------------------


class Maker:
    """Draws types; each new one has a name of its own."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.used = 0

    def fresh(self, letter: str) -> str:
        self.used += 1
        return f"{letter}{self.used}"

    def scalar(self) -> Type:
        roll = self.random.random()
        if roll < 0.5:
            return self.random.choice(INTEGERS)
        if roll < 0.75:
            return Pointer(self.random.choice(TARGETS))
        if roll < 0.83:
            return BOOL
        return Enum(self.fresh("e"), self.random.choice(ENUMS))

    def member(self, depth: int) -> Member:
        roll = self.random.random()
        if roll < 0.12:
            whole = self.random.choice(INTEGERS)
            return Member(self.fresh("m"), whole, bits=self.random.randint(1, 8 * whole.size))
        if roll < 0.25:
            return Member(self.fresh("m"), self.random.choice(INTEGERS), count=self.random.choice((1, 2, 3, 5, 8)))
        if roll < 0.35 and depth:
            return Member(self.fresh("m"), self.record(depth - 1))
        return Member(self.fresh("m"), self.alias(self.scalar()))

    def record(self, depth: int = 1) -> Record:
        keyword = "union" if self.random.random() < 0.15 else "struct"
        members = tuple(self.member(depth) for _ in range(self.random.choice((1, 1, 2, 2, 2, 3, 4, 6))))
        attribute = self.random.choice(ATTRIBUTES) if self.random.random() < 0.12 else ""
        return Record(keyword, self.fresh("s"), members, attribute)

    def alias(self, made: Type) -> Type:
        while self.random.random() < 0.15:
            made = Alias(self.fresh("t"), made)
        return made

    def type(self) -> Type:
        roll = self.random.random()
        if roll < 0.28:
            return self.alias(self.record())
        if roll < 0.31:
            return self.alias(self.random.choice(WIDE))
        return self.alias(self.scalar())

    def result(self) -> Type | None:
        return None if self.random.random() < 0.3 else self.type()

    def function(self, name: str) -> Function:
        count = self.random.choice((1, 2, 3, 4, 5, 6, 7, 7, 8, 8, 9, 10, 11, MOST))
        return Function(name, self.result(), tuple((self.fresh("x"), self.type()) for _ in range(count)))


# --- what another kernel declares -------------------------------------------------------------------------------------


def changed(made: Type, change: Callable[[Type], Type]) -> Type:
    """The type with `change` done to it and to all that it is made of, from the inside."""
    match made:
        case Alias(of=of):
            made = replace(made, of=changed(of, change))
        case Record(members=members):
            made = replace(made, members=tuple(replace(m, type=changed(m.type, change)) for m in members))
        case _:
            pass
    return change(made)


def inside(made: Type) -> Iterator[Type]:
    yield made
    match made:
        case Alias(of=of):
            yield from inside(of)
        case Record(members=members):
            for m in members:
                yield from inside(m.type)
        case _:
            pass


def _everywhere(f: Function, old: Type, new: Type) -> Function:
    """The one definition of a type is everybody's."""

    def change(made: Type) -> Type:
        return new if made == old else made

    result = None if f.result is None else changed(f.result, change)
    return replace(f, result=result, parameters=tuple((n, changed(t, change)) for n, t in f.parameters))


def _all(f: Function) -> list[Type]:
    every = [t for _, p in f.parameters for t in inside(p)] + ([] if f.result is None else list(inside(f.result)))
    return list(dict.fromkeys(every))


def insert(f: Function, maker: Maker) -> tuple[Function, str] | None:
    at, name = maker.random.randint(0, len(f.parameters)), maker.fresh("x")
    made = (name, maker.type())
    return replace(f, parameters=(*f.parameters[:at], made, *f.parameters[at:])), f"inserted `{name}` at {at}"


def remove(f: Function, maker: Maker) -> tuple[Function, str] | None:
    if not f.parameters:
        return None
    at = maker.random.randrange(len(f.parameters))
    gone = f.parameters[at][0]
    return replace(f, parameters=(*f.parameters[:at], *f.parameters[at + 1 :])), f"removed `{gone}`"


def swap(f: Function, maker: Maker) -> tuple[Function, str] | None:
    if len(f.parameters) < 2:
        return None
    a, b = maker.random.sample(range(len(f.parameters)), 2)
    order = list(f.parameters)
    order[a], order[b] = order[b], order[a]
    return replace(f, parameters=tuple(order)), f"swapped {a} and {b}"


def _one(
    f: Function, maker: Maker, change: Callable[[str, Type], tuple[str, Type]], what: str
) -> tuple[Function, str] | None:
    if not f.parameters:
        return None
    at = maker.random.randrange(len(f.parameters))
    name, made = f.parameters[at]
    parameters = (*f.parameters[:at], change(name, made), *f.parameters[at + 1 :])
    return replace(f, parameters=parameters), f"{what} `{name}`"


def retype(f: Function, maker: Maker) -> tuple[Function, str] | None:
    return _one(f, maker, lambda name, _: (name, maker.type()), "another type for")


def rename(f: Function, maker: Maker) -> tuple[Function, str] | None:
    return _one(f, maker, lambda _, made: (maker.fresh("x"), made), "renamed")


def rename_over(f: Function, maker: Maker) -> tuple[Function, str] | None:
    """An argument gets the name that another had, which is gone."""
    if len(f.parameters) < 2:
        return None
    a, b = maker.random.sample(range(len(f.parameters)), 2)
    taken = (f.parameters[a][0], f.parameters[b][1])
    parameters = [taken if i == b else p for i, p in enumerate(f.parameters) if i != a]
    return replace(f, parameters=tuple(parameters)), f"`{f.parameters[b][0]}` is called `{taken[0]}`, which is gone"


def other_result(f: Function, maker: Maker) -> tuple[Function, str] | None:
    large = Record("struct", maker.fresh("s"), (Member("m", INTEGERS[7], count=maker.random.choice((2, 3, 5))),))
    return replace(f, result=maker.random.choice((None, large, large, maker.type()))), "another result"


def _of_record(f: Function, maker: Maker, change: Callable[[list[Member]], str]) -> tuple[Function, str] | None:
    records = [t for t in _all(f) if isinstance(t, Record)]
    if not records:
        return None
    record = maker.random.choice(records)
    members = list(record.members)
    what = change(members)
    if not members:
        return None
    new = replace(record, members=tuple(members))
    return _everywhere(f, record, new), f"`{record.keyword} {record.tag}`: {what}"


def insert_member(f: Function, maker: Maker) -> tuple[Function, str] | None:
    def change(members: list[Member]) -> str:
        members.insert(maker.random.randint(0, len(members)), maker.member(0))
        return "a new member"

    return _of_record(f, maker, change)


def change_member(f: Function, maker: Maker) -> tuple[Function, str] | None:
    def change(members: list[Member]) -> str:
        at = maker.random.randrange(len(members))
        roll = maker.random.random()
        if roll < 0.25:
            del members[at]
            return "a member is gone"
        if roll < 0.5:
            members[at] = replace(members[at], name=maker.fresh("m"))
            return "a member is called otherwise"
        if roll < 0.75:
            other = maker.random.randrange(len(members))
            members[at], members[other] = members[other], members[at]
            return "two members are swapped"
        members[at] = replace(maker.member(0), name=members[at].name)
        return "a member has another type"

    return _of_record(f, maker, change)


def other_attribute(f: Function, maker: Maker) -> tuple[Function, str] | None:
    records = [t for t in _all(f) if isinstance(t, Record)]
    if not records:
        return None
    record = maker.random.choice(records)
    attribute = "" if record.attribute else maker.random.choice(ATTRIBUTES)
    return _everywhere(f, record, replace(record, attribute=attribute)), f"`{record.tag}` is `{attribute}`"


def other_alias(f: Function, maker: Maker) -> tuple[Function, str] | None:
    """A typedef is called otherwise, comes or goes: nothing moves."""
    aliases = [t for t in _all(f) if isinstance(t, Alias)]
    if aliases and maker.random.random() < 0.7:
        alias = maker.random.choice(aliases)
        new = alias.of if maker.random.random() < 0.4 else Alias(maker.fresh("t"), alias.of)
        return _everywhere(f, alias, new), f"typedef `{alias.name}`"
    return _one(f, maker, lambda name, made: (name, Alias(maker.fresh("t"), made)), "a typedef for")


def other_integer(f: Function, maker: Maker) -> tuple[Function, str] | None:
    """An enum becomes an integer, or the other way around; an integer another one, or a pointer."""
    scalars = [i for i, (_, t) in enumerate(f.parameters) if isinstance(t, Plain | Enum | Pointer)]
    if not scalars:
        return None
    enums = [i for i in scalars if isinstance(f.parameters[i][1], Enum)]
    at = maker.random.choice(enums if enums and maker.random.random() < 0.5 else scalars)
    name, old = f.parameters[at]
    new: Type
    match old:
        case Enum():
            new = maker.random.choice((*INTEGERS[5:8], BOOL))
        case Plain(size=size, signed=signed):
            alike = [i for i in (*INTEGERS, BOOL) if i.size == size and i != old]
            choices: list[Type] = [*alike, *(i for i in INTEGERS if i.size != size and i.signed == signed)]
            new = maker.random.choice([*choices, Enum(maker.fresh("e"), ENUMS[0]), Pointer("void")])
        case _:
            new = maker.random.choice((INTEGERS[8], INTEGERS[7], Pointer(maker.random.choice(TARGETS))))
    return replace(f, parameters=(*f.parameters[:at], (name, new), *f.parameters[at + 1 :])), f"`{name}` is {new}"


def nothing(f: Function, maker: Maker) -> tuple[Function, str] | None:
    return f, "nothing"


MUTATIONS: Final = {
    m.__name__: m
    for m in (
        insert, remove, swap, retype, rename, rename_over, other_result, insert_member, change_member,
        other_attribute, other_alias, other_integer, nothing,
    )
}  # fmt: skip


def pair(seed: int, number: int) -> Pair:
    """The same seed and number make the same pair."""
    random = Random(f"{seed}/{number}")
    maker = Maker(random)
    first = maker.function(f"f{number}")
    other, changes, kinds = first, [], []
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        kind = random.choice(list(MUTATIONS))
        made = MUTATIONS[kind](other, maker)
        if made is not None and len(made[0].parameters) <= MOST + 2:
            other, what = made
            changes.append(what)
            kinds.append(kind)
    return Pair(first, other, tuple(changes), tuple(kinds))


# --- as C -------------------------------------------------------------------------------------------------------------


class Text:
    """Spells types, defining each once. All that it defines begins with `prefix`."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.lines = ["struct page; struct file;"]
        self.known: set[str] = set()

    def declare(self, made: Type, name: str) -> str:
        match made:
            case Plain(spelling=spelling):
                return f"{spelling} {name}".strip()
            case Pointer(to=to):
                return f"{to} *{name}"
            case Enum(tag=tag, values=values):
                listed = ", ".join(f"{self.prefix}{tag}_{i} = {v}" for i, v in enumerate(values))
                self.define(tag, lambda: f"enum {self.prefix}{tag} {{ {listed} }};")
                return f"enum {self.prefix}{tag} {name}".strip()
            case Alias(name=alias, of=of):
                self.define(alias, lambda: f"typedef {self.declare(of, self.prefix + alias)};")
                return f"{self.prefix}{alias} {name}".strip()
            case Record(keyword=keyword, tag=tag):
                self.define(tag, lambda: self.record(made))
                return f"{keyword} {self.prefix}{tag} {name}".strip()

    def define(self, name: str, text: Callable[[], str]) -> None:
        if name not in self.known:
            self.known.add(name)
            self.lines.append(text())

    def record(self, made: Record) -> str:
        members = " ".join(f"{self.declare(m.type, m.name)}{_suffix(m)};" for m in made.members)
        attribute = f" __attribute__(({made.attribute}))" if made.attribute else ""
        return f"{made.keyword} {self.prefix}{made.tag} {{ {members} }}{attribute};"


def _suffix(member: Member) -> str:
    return f" : {member.bits}" if member.bits is not None else "" if member.count is None else f"[{member.count}]"


def leaves(made: Type, path: str = "") -> Iterator[Leaf]:
    match made:
        case Alias(of=of):
            yield from leaves(of, path)
        case Record(members=members):
            for m in members:
                inner = f"{path}.{m.name}"
                if m.bits is not None:
                    yield Leaf(inner, "bitfield", m.bits)
                elif m.count is not None:
                    yield Leaf(inner, "bytes")
                else:
                    yield from leaves(m.type, inner)
        case Plain(boolean=True):
            kind: LeafKind = "bool"
            yield Leaf(path, kind)
        case _:
            yield Leaf(path, "bytes")


def case_of(f: Function, prefix: str) -> Case:
    """The function for the oracle, and as C text: `prefix` is before its name and all that it declares."""
    text = Text(prefix)
    name = f"{prefix}{f.name}"
    declared = [text.declare(made, parameter) for parameter, made in f.parameters]
    head = f"{name}({', '.join(declared) or 'void'})"
    prototype = f"void {head}" if f.result is None else text.declare(f.result, head)
    parameters = tuple(Parameter(n, text.declare(made, ""), tuple(leaves(made))) for n, made in f.parameters)
    result = None if f.result is None else Parameter("result", text.declare(f.result, ""), tuple(leaves(f.result)))
    lines = "".join(f"{line}\n" for line in text.lines)
    return Case(name, lines, prototype, parameters, result, False, frozenset(), None)  # type: ignore[arg-type]

"""A path through C types, step by step: which member of which record, behind which pointer.

In: the type of a value, a path from it, and what completes records.  Out: a `Walk`; a Stop names the step that is wrong.

    walk(Pointer(Record("struct", "file", None)), path, complete).hops[0].bit_offset

Members of anonymous records are found as if they were their parent's (C11 6.7.2.1p13). `p[2]` of a pointer is what it
is in C (6.5.2.1p2), and what follows two elements after where it leads. Nothing is read here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from specc.diagnostics import Location, did_you_mean, stop
from specc.noun import replace
from specc.path.nouns import Access, Complete, Hop, Path, Step, Walk
from specc.prototype import (
    Array,
    CType,
    Function,
    Member,
    Pointer,
    Qualified,
    Record,
    Typedef,
    Void,
    bare,
    decay,
    size_of,
    spell,
)

_MOST_LISTED: Final = 24
# Where no array says how many elements there are, one has to begin before this many bytes: no process has memory below
# that (vm.mmap_min_addr), so nothing is read by way of a null pointer; and libbpf counts offsets in 32 bits.
_MOST_BEHIND: Final = 1 << 16


def walk(start: CType, path: Path, complete: Complete, what: str = "", *, whole: bool = False) -> Walk:
    """The walk from a value of the type `start`, which is called `what`. Raises Stop: SP264, SP265.

    With `whole`, a pointer to a record at the end is followed too; only then may the path have no steps.
    """
    walker = _Walker(decay(start), complete, what)
    for step in path.steps:
        walker.take(step)
    if whole:
        walker.land(path)
    walker.close()
    return Walk(path, start, walker.inside, tuple(walker.hops))


class _Walker:
    """The type that was reached, and the hop that leads there from the last pointer."""

    def __init__(self, start: CType, complete: Complete, what: str) -> None:
        self.complete = complete
        self.type = start
        self.said = what  # the path so far, as a person reads it
        self.inside: Hop | None = None
        self.hops: list[Hop] = []
        self.root: CType | None = None if isinstance(bare(start), Pointer) else start
        self.by_value = self.root is not None
        self.user = False
        self.index: int | None = None
        self.accesses: list[Access] = []
        self.bits = 0
        self.width: int | None = None

    def close(self) -> None:
        """The hop ends here."""
        if self.root is None:
            return
        hop = Hop(self.root, tuple(self.accesses), self.bits, self.width, self.type, self.user, self.index)
        if self.by_value:
            self.inside = hop
        else:
            self.hops.append(hop)
        self.by_value = False

    def take(self, step: Step) -> None:
        if step.name is not None:
            self.member(step, step.name)
        else:
            assert step.index is not None
            self.element(step, step.index)

    def member(self, step: Step, name: str) -> None:
        pointer = bare(self.type)
        if isinstance(pointer, Pointer):
            self.follow(pointer)
        inner = bare(self.type)
        if not isinstance(inner, Record):
            raise stop(
                "SP265",
                f"`{self.said}` {'points to' if isinstance(pointer, Pointer) else 'is'} `{spell(self.type)}`, which has "
                f"no member `{name}`",
                step.where,
                help=_why_no_members(inner, first=not self.accesses and not self.hops),
            )
        record = self.fill(step.where) if inner.members is None else inner
        found = _find(record, name, self.complete)
        if found is None:
            raise _no_member(record, self.type, name, step, self.complete)
        member, offset = found
        self.bits += offset
        self.width = member.bit_width
        self.type = member.type
        self.accesses.append(Access(name, None, member.type))
        self.said = f"{self.said}{'->' if isinstance(pointer, Pointer) else '.'}{name}" if self.said else name

    def follow(self, pointer: Pointer) -> None:
        self.close()
        self.root, self.user, self.index = pointer.target, _is_users(pointer.target), None
        self.type, self.accesses, self.bits, self.width = pointer.target, [], 0, None

    def land(self, path: Path) -> None:
        """To the record that a pointer at the end leads to, with its members."""
        pointer = bare(self.type)
        if not isinstance(pointer, Pointer) or not isinstance(bare(pointer.target), Record):
            return
        self.follow(pointer)
        self.fill(path.where)

    def fill(self, where: Location | None) -> Record:
        """The members of the record that was reached, or of which it is an array."""
        named = self.type
        while isinstance(array := bare(named), Array):
            named = array.element
        record = self.complete(named)
        if isinstance(record, str):
            raise stop(
                "SP265", f"the members of `{spell(named)}`, which `{self.said}` leads to, are not known: {record}",
                where,
            )  # fmt: skip
        self.type = _with(self.type, record)
        return record

    def element(self, step: Step, index: int) -> None:
        array = bare(self.type)
        if isinstance(array, Pointer):
            self.behind(array, step, index)
            return
        if not isinstance(array, Array) or self.root is None:
            raise stop(
                "SP265", f"`{self.said}` is `{spell(self.type)}`, and only an array or a pointer has elements",
                step.where,
            )  # fmt: skip
        if array.count and index >= array.count:
            raise stop(
                "SP265", f"`{self.said}` has {array.count} elements, so there is no [{index}]", step.where,
                help=f"the last is [{array.count - 1}]",
            )  # fmt: skip
        if not size_of(array.element):
            raise stop("SP265", f"the elements of `{self.said}` have no size: `{spell(array.element)}`", step.where)
        if not array.count:
            self.near(step, index, size_of(array.element))
        self.bits += 8 * index * size_of(array.element)
        self.type = array.element
        self.accesses.append(Access(None, index, array.element))
        self.said = f"{self.said}[{index}]"

    def behind(self, pointer: Pointer, step: Step, index: int) -> None:
        """An element of what a pointer leads to, as if there were an array."""
        self.follow(pointer)
        record = self.fill(step.where) if isinstance(innermost(self.type), Record) else None
        why, help_ = "", None
        if record is not None and record.doubt:
            why = f"has a size that is not sure: {record.doubt}"
        elif record is not None and index and (name := flexible_member(record)) is not None:
            why = f"is as long as its member `{name}`, of no declared length: the next one may be anywhere"
        elif isinstance(bare(self.type), Function):
            why = "is code"
        elif not size_of(self.type):
            why = "has no size"
            if isinstance(bare(self.type), Void) and not self.hops and self.inside is None:
                help_ = 'say what it points to with `type: "struct NAME *"`'
        if why:
            raise stop("SP265", f"`{self.said}` points to `{spell(self.type)}`, which {why}", step.where, help=help_)
        self.near(step, index, size_of(self.type))
        self.bits, self.index = 8 * index * size_of(self.type), index
        self.said = f"{self.said}[{index}]"

    def near(self, step: Step, index: int, size: int) -> None:
        if index * size >= _MOST_BEHIND:
            raise stop(
                "SP265", f"`{self.said}[{index}]` would begin {index * size} bytes after the first element, and an element "
                f"of no array of a known length begins before {_MOST_BEHIND}", step.where,
            )  # fmt: skip


def _find(record: Record, name: str, complete: Complete) -> tuple[Member, int] | None:
    """The member of that name, and where it begins, in bits."""
    for member in record.members or ():
        if member.name == name:
            return member, member.bit_offset
        inner = bare(member.type)
        if not member.name and member.bit_width is None and isinstance(inner, Record):
            found = _find(inner, name, complete)
            if found is not None:
                return found[0], member.bit_offset + found[1]
    return None


def member_names(record: Record) -> Iterator[str]:
    """Members by name, those of anonymous records as its own."""
    for member in record.members or ():
        inner = bare(member.type)
        if member.name:
            yield member.name
        elif isinstance(inner, Record) and member.bit_width is None:
            yield from member_names(inner)


def _no_member(record: Record, ctype: CType, name: str, step: Step, complete: Complete) -> Exception:
    names = list(dict.fromkeys(member_names(record)))
    return stop(
        "SP264", f"`{spell(ctype)}` has no member `{name}`", step.where, help=did_you_mean(name, names),
        notes=[f"members of {spell(ctype)}: {_listed(names)}"],
    )  # fmt: skip


def _listed(names: Sequence[str]) -> str:
    if len(names) <= _MOST_LISTED:
        return ", ".join(names) or "none"
    return f"{', '.join(names[:_MOST_LISTED])} and {len(names) - _MOST_LISTED} more"


def _why_no_members(kind: CType, *, first: bool) -> str | None:
    match kind:
        case Void():
            return 'say what it points to with `type: "struct NAME *"`' if first else "nothing says what is there"
        case Pointer():
            return "a path follows a pointer to a struct; this one leads to another pointer, which is `[0]` of it"
        case Array():
            return "name an element: `[0]`"
        case Function():
            return "it is code"
        case _:
            return "only structs and unions have members"


def innermost(ctype: CType) -> CType:
    """What the elements of an array of arrays are; the type itself of what is no array."""
    inner = bare(ctype)
    while isinstance(inner, Array):
        inner = bare(inner.element)
    return inner


def flexible_member(record: Record) -> str | None:
    """A member, here or in a record inside, that is an array without a length."""
    for member in record.members or ():
        inner = bare(member.type)
        while isinstance(inner, Array):
            if not inner.count:
                return member.name or "(unnamed)"
            inner = bare(inner.element)
        if isinstance(inner, Record) and (name := flexible_member(inner)) is not None:
            return f"{member.name}.{name}" if member.name else name
    return None


def _with(ctype: CType, record: Record) -> CType:
    """The type, with the record itself where it is only named."""
    match ctype:
        case Qualified(target=target) | Typedef(target=target):
            return replace(ctype, target=_with(target, record))
        case Array(element=element):
            return replace(ctype, element=_with(element, record))
        case _:
            return record


def _is_users(ctype: CType) -> bool:
    """Whether what a pointer leads to is declared `__user`."""
    match ctype:
        case Qualified(target=target, qualifiers=words):
            return "__user" in words or _is_users(target)
        case Typedef(target=target) | Array(element=target):
            return _is_users(target)
        case _:
            return False

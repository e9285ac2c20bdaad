"""The parts of a kernel's record types that paths go through, as C that libbpf relocates.

In: hops.  Out: declarations of records with only the members that are used, and each hop's type and member in them.

    types = LocalTypes(hops)
    types.declarations[0]       # ("struct qstr___specc {", "\tvoid *name;", "};")
    types.word(hops[0])         # "struct file___specc"
    access(hops[0])             # "f_path.dentry"

libbpf matches a record by its name up to `___`, a member by its name, also where an anonymous record holds it in only
one of the two (relo_core.c, bpf_core_match_member). Sizes of integers do not matter to it; programs look at them
themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from specc.path.nouns import Hop
from specc.prototype import Array, CType, Enum, Float, Int, Pointer, Record, bare, record_and_alias

Key: TypeAlias = tuple[str, str]  # "struct", "union" or "typedef", and the name

_INTS = {1: "char", 2: "short", 4: "int", 8: "long long"}


class _Member:
    """`spelled` is a scalar's type, or the name of an enum; a record has `record` when it has a name, else `members` of
    its own."""

    def __init__(self) -> None:
        self.spelled = ""
        self.dimensions: list[int] = []
        self.record: Key | None = None
        self.kind = "struct"
        self.members: dict[str, _Member] = {}


_Space: TypeAlias = "dict[Key, dict[str, _Member]]"


class LocalTypes:
    def __init__(self, hops: Iterable[Hop]) -> None:
        # Two records of one name that do not go together, say of a header and of BTF, are in two name spaces.
        self._spaces: list[_Space] = []
        self._space_of: dict[Hop, int] = {}
        self._enums: dict[str, None] = {}
        for hop in hops:
            if hop not in self._space_of:
                self._space_of[hop] = self._add(hop)
        records = [d for n, space in enumerate(self._spaces) for d in self._declared(space, n)]
        self.declarations = (*((f"enum {e} {{ {e}_any }};",) for e in self._enums), *records)

    def word(self, hop: Hop) -> str:
        return _word(root_key(hop.root), self._space_of[hop])

    def _add(self, hop: Hop) -> int:
        for number, space in enumerate(self._spaces):
            if _fits(hop, space):
                _enter(hop, space)
                return number
        self._spaces.append({})
        _enter(hop, self._spaces[-1])
        return len(self._spaces) - 1

    def _declared(self, space: _Space, number: int) -> list[tuple[str, ...]]:
        """Each record after those that it contains."""
        done: dict[Key, tuple[str, ...]] = {}

        def declare(key: Key) -> None:
            if key in done:
                return
            for inner in _contained(space[key].values()):
                declare(inner)
            kind, name = key
            whole = f"{name}{_suffix(number)}"
            # No type is without a name: over an enum that is, clang corrupts its memory (14 to 22, with -gcodeview).
            opening = f"typedef struct {name}__type {{" if kind == "typedef" else f"{kind} {whole} {{"
            closing = f"}} {whole};" if kind == "typedef" else "};"
            done[key] = (opening, *self._lines(space[key], f"{name}_", number, 1), closing)

        for key in space:
            declare(key)
        return list(done.values())

    def _enum(self, name: str, number: int) -> str:
        """libbpf takes an enum for another of the same name, whatever is in it, and for one without a name."""
        word = f"{name}{_suffix(number)}"
        self._enums[word] = None
        return word

    def _lines(self, members: dict[str, _Member], within: str, number: int, depth: int) -> list[str]:
        tabs = "\t" * depth
        lines: list[str] = []
        for name, member in members.items():
            array = "".join(f"[{n}]" for n in member.dimensions)
            if member.record is not None:
                lines.append(f"{tabs}{_word(member.record, number)} {name}{array};")
            elif member.kind == "enum":
                lines.append(f"{tabs}enum {self._enum(member.spelled or within + name, number)} {name}{array};")
            elif member.spelled:
                star = "" if member.spelled.endswith("*") else " "
                lines.append(f"{tabs}{member.spelled}{star}{name}{array};")
            else:
                inner = self._lines(member.members, f"{within}{name}_", number, depth + 1)
                lines += [f"{tabs}{member.kind} {within}{name}{_suffix(number)} {{", *inner, f"{tabs}}} {name}{array};"]
        return lines


def access(hop: Hop) -> str:
    """The member in C, as it is reached from the record."""
    steps = _steps(hop)
    return ".".join(f"{name}[{indexes[0]}]" if indexes else name for name, indexes, _ in steps)


def element_pair(hop: Hop) -> tuple[str, str] | None:
    """Of an array's element, itself or the next one, and the one before that: as far apart as an element has bytes. None
    when there is but one. (LLVM 14 to 22 corrupts its memory when it is asked for the size of an element itself.)"""
    name, indexes, _ = _steps(hop)[-1]
    outer = ".".join([*access(hop).split(".")[:-1], name])
    array = next(bare(a.type) for a in reversed(hop.accesses) if a.name is not None)
    count = array.count if isinstance(array, Array) else None
    if count == 1 and not isinstance(bare(array.element) if isinstance(array, Array) else None, Array):
        return None
    upper = max(indexes[0], 1)
    return f"{outer}[{upper}]", f"{outer}[{upper - 1}]"


def whole_array(hop: Hop) -> str:
    """The array itself that the element at the end is in."""
    return access(hop).rpartition("[")[0]


def _suffix(number: int) -> str:
    return "___specc" if number == 0 else f"___specc{number + 1}"


def root_key(ctype: CType) -> Key:
    """What a record is found by."""
    record, alias = record_and_alias(ctype)
    assert isinstance(record, Record)
    if record.tag is not None:
        return record.kind, record.tag
    assert alias is not None, "a record without a name is not completed"
    return "typedef", alias


def _word(key: Key, number: int) -> str:
    kind, name = key
    return f"{name}{_suffix(number)}" if kind == "typedef" else f"{kind} {name}{_suffix(number)}"


def _contained(members: Iterable[_Member]) -> Iterable[Key]:
    for member in members:
        if member.record is not None:
            yield member.record
        yield from _contained(member.members.values())


def _steps(hop: Hop) -> list[tuple[str, list[int], CType]]:
    """Members by name, the index that follows, and the type that is there then.

    An array of arrays is one long array, as pahole writes it into a kernel's BTF.
    """
    found: list[tuple[str, list[int], CType]] = []
    for one in hop.accesses:
        if one.name is not None:
            found.append((one.name, [], one.type))
        else:
            name, indexes, array = found[-1]
            inner = bare(array)
            assert one.index is not None and isinstance(inner, Array)
            number = one.index + (indexes[0] * (inner.count or 0) if indexes else 0)
            found[-1] = (name, [number], one.type)
    return found


def _fits(hop: Hop, space: _Space) -> bool:
    members = space.get(root_key(hop.root))
    for name, indexes, ctype in _steps(hop):
        if members is None or name not in members:
            return True
        there, made = members[name], _made(indexes, ctype)
        if (there.spelled, there.record, there.kind, len(there.dimensions)) != (
            made.spelled, made.record, made.kind, len(made.dimensions),
        ):  # fmt: skip
            return False
        members = space.get(there.record) if there.record is not None else there.members
    return True


def _enter(hop: Hop, space: _Space) -> None:
    members = space.setdefault(root_key(hop.root), {})
    for name, indexes, ctype in _steps(hop):
        made = _made(indexes, ctype)
        member = members.setdefault(name, made)
        member.dimensions = [max(a, b) for a, b in zip(member.dimensions, made.dimensions, strict=True)]
        members = space.setdefault(member.record, {}) if member.record is not None else member.members


def _made(indexes: list[int], ctype: CType) -> _Member:
    made = _Member()
    made.dimensions = [max(n, 1) + 1 for n in indexes]  # of two elements the distance is their size
    inner = bare(ctype)
    if isinstance(inner, Array):  # an array whose address is taken
        made.dimensions = [1]
    while isinstance(inner, Array):
        ctype = inner.element
        inner = bare(ctype)
    match inner:
        case Record(kind=kind, tag=tag):
            made.kind = kind
            made.record = (kind, tag) if tag is not None else None
        case Enum(tag=tag):
            made.kind, made.spelled = "enum", tag or ""
        case Pointer():
            made.spelled = "void *"
        case Float(name=name):
            made.spelled = name
        case Int(kind="bool"):
            made.spelled = "_Bool"
        case Int(size=size, signed=signed) if size in _INTS:
            sign = ("signed " if size == 1 else "") if signed else "unsigned "
            made.spelled = f"{sign}{_INTS[size]}"
        case _:
            raise AssertionError(f"no path ends in {type(inner).__name__}")
    return made

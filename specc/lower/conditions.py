"""A probe's `where`: its names against the prototype and the context, and the part of the program that tests it.

    asked = ask(probe, known, values, report)       # Asked: the typed tests, and the values that only they need
    test = condition(probe, symbol, asked, tested, saved, moved)

What is tested is captured as what is recorded is, but into locals and before there is an event. Tests of registers and of
the context come first, then memory is read, and those of strings are last.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from specc.diagnostics import Location, Report, did_you_mean
from specc.ir import (
    CONTEXT,
    FALLIBLE_CONTEXT,
    Bits,
    Capture,
    Condition,
    ContextWord,
    Elapsed,
    Moving,
    Places,
    Register,
    Saved,
    Source,
    TestedText,
    TestedValue,
)
from specc.lower.arguments import return_problem, select_one, size_name
from specc.lower.captures import Captured
from specc.lower.filling import is_of_entry
from specc.lower.memory import is_user
from specc.lower.nouns import LATENCY, RETURN, Resolved, Value
from specc.noun import dataclass, replace
from specc.path import Path, told
from specc.place import argument_names
from specc.prototype import Array, CType, Enum, Int, Pointer, bare, decay, size_of, spell
from specc.spec import RETURN_KINDS, USER_KINDS, ArgumentSpec, ProbeSpec
from specc.where import IntType, Meaning, Test, check, spell_test
from specc.where.typing import Operation, TextTest, Typed

_WORDS = {"true": 1, "false": 0}
_ENTERED = "__entered"


@dataclass(frozen=True, slots=True)
class Asked:
    """`values` are hidden ones, of the arguments in the condition."""

    tests: tuple[Test, ...]
    values: tuple[Value, ...]
    users: frozenset[str]  # variables whose strings are in a process's memory
    variables: Mapping[str, str]  # by the values' names
    constants: tuple[tuple[str, int], ...]  # out of BTF
    assumed: tuple[tuple[str, int], ...]  # out of headers


def ask(probe: ProbeSpec, known: Resolved | None, report: Report) -> Asked | None:
    """The condition of a probe that has one; None after a finding."""
    assert probe.condition is not None
    names = _Names(probe, known, report)
    tests = check(probe.condition, names.meaning, report)
    if tests is None:
        return None
    variables = {v.name: variable for variable, v in names.values.items()}
    return Asked(
        tuple(tests), tuple(names.values.values()), frozenset(names.users), variables, tuple(names.constants.items()),
        tuple(names.assumed.items()),
    )  # fmt: skip


class _Names:
    def __init__(self, probe: ProbeSpec, known: Resolved | None, report: Report) -> None:
        self.probe = probe
        self.known = known
        self.report = report
        self.values: dict[str, Value] = {}  # by the variable's name
        self.paths: dict[str, Meaning] = {}
        self.users: set[str] = set()
        self.constants: dict[str, int] = {}
        self.assumed: dict[str, int] = {}

    def meaning(self, name: str, path: Path | None, where: Location) -> Meaning | None:
        """What a name means, or what the path from it leads to."""
        if path is None:
            return self.of_name(name, where)
        arguments = argument_names(self.known.placement) if self.known is not None else []
        if name in arguments or (name == RETURN and self.probe.kind in RETURN_KINDS and self.known is not None):
            return self.at_end(name, path, where)
        found = self.of_name(name, where)
        if found is not None:
            parts = "elements" if path.steps[0].name is None else "members"
            self.report.error("SP265", f"`{name}` has no {parts}: it is {found.what or 'a constant'}", where,
                              help="a path begins at an argument, or at `return`")  # fmt: skip
        return None

    def at_end(self, name: str, path: Path, where: Location) -> Meaning | None:
        """What a path leads to: a number or an address, or the place of a text."""
        assert self.known is not None
        whole = told(name, path.text)
        if whole in self.paths:
            return self.paths[whole]
        if name != RETURN and not self.at_entry(name, where):
            return None
        variable = f"path_{len(self.paths)}"
        spec = ArgumentSpec(name, where, f"__{variable}", None, False, None, {}, path=path)
        value = select_one(self.probe, spec, self.known, self.report)
        if value is None:
            return None
        if value.wanted is not None and value.wanted.span is not None:
            return Meaning(
                variable, IntType(8, False), f"`{spell(value.type)}`", problem="which is no integer of 8 bytes"
            )
        if value.behind is None or value.behind.path is None:
            return self.in_struct(variable, whole, spec, value)
        following, kind = value.behind.path, bare(value.type)
        what = f"`{spell(value.type)}`"
        if isinstance(kind, Array):
            if not _is_text(value.type) or kind.count is None:
                return Meaning(variable, IntType(8, False), what, problem="which is no integer of 8 bytes")
            # The text is compared where it is; a literal that leaves no room for the NUL could reach behind the array.
            following = replace(following, end="address", c_type="__u64")
            meaning = Meaning(variable, IntType(8, False, pointer=True), what, text=True, most=kind.count - 1)
            user = following.users[-1]
        else:
            meaning = _of_type(variable, value.type, value.type, text=_leads_to_bytes(kind))
            user = is_user(spec, self.probe, value.type)
            width = following.need.bit_width
            if width is not None and width < 32:
                # C11 6.3.1.1p2: an int holds all values of such a bit-field, which is promoted to it.
                meaning = replace(meaning, type=IntType(4, True))
                following = replace(following, c_type="__s32")
        if user:
            self.users.add(variable)
        self.values[variable] = replace(value, behind=replace(value.behind, path=following))
        self.paths[whole] = meaning
        return meaning

    def in_struct(self, variable: str, whole: str, spec: ArgumentSpec, value: Value) -> Meaning:
        """A member of a struct by value, which is as near as its argument."""
        assert value.wanted is not None and value.wanted.part is not None
        meaning = _of_type(variable, value.type, value.type, text=_leads_to_bytes(bare(value.type)))
        width = value.wanted.part.width
        if width is not None and width < 32:
            meaning = replace(meaning, type=IntType(4, True))  # as above
            form = replace(value.storage, c_type="__s32")
            value = replace(value, storage=form, wanted=replace(value.wanted, storage=form))
        if is_user(spec, self.probe, value.type):
            self.users.add(variable)
        self.values[variable] = value
        self.paths[whole] = meaning
        return meaning

    def at_entry(self, name: str, where: Location) -> bool:
        if self.probe.target is None or not self.probe.target.offset:
            return True
        self.report.error("SP284", f"`{name}` cannot be read here: arguments exist at a function's entry only",
                          where, help="take the offset away, or the condition")  # fmt: skip
        return False

    def of_name(self, name: str, where: Location) -> Meaning | None:
        """An argument goes before the context, as the inner scope does in C, and both before constants."""
        arguments = argument_names(self.known.placement) if self.known is not None else []
        optional = any(a.name == name and a.optional for a in self.probe.args or ())
        returns = self.probe.kind in RETURN_KINDS
        if name in arguments or optional:
            return self.argument(name, where, optional=optional)
        if name in (RETURN, LATENCY):
            if not returns:
                self.report.error("SP284", f"`{name}` has no value at a function's entry", where,
                                  help="put the condition on a return probe")  # fmt: skip
                return None
            return self.result(where) if name == RETURN else self.latency(where)
        if name in CONTEXT:
            if name == "comm":
                return Meaning(name, IntType(1, True), "the name of the task", text=True)
            c_type, size, _ = CONTEXT[name]
            return Meaning(f"own_{name}", IntType(size, c_type.startswith("__s")), "a context field")
        if name in _WORDS:
            return Meaning("", IntType(4, True), value=_WORDS[name])
        if name == "NULL":
            return Meaning("", IntType(8, False, pointer=True), value=0)
        found = self.known.constant(name) if self.known is not None and self.known.constant is not None else None
        if isinstance(found, tuple):
            value, of_btf = found
            (self.constants if of_btf else self.assumed)[name] = value
            fits = next(k for k in ((4, True), (4, False), (8, True), (8, False)) if value < 1 << (8 * k[0] - k[1]))
            return Meaning("", IntType(8, True) if value < -(1 << 31) else IntType(*fits), value=value)
        if found is not None:
            self.report.error("SP282", f"`{name}` is not the same on all targets", where, notes=[found],
                              help="write the number that is meant, and where: in a spec for each")  # fmt: skip
            return None
        self.unknown(name, where, arguments)
        return None

    def unknown(self, name: str, where: Location, arguments: Sequence[str]) -> None:
        ends = [RETURN, LATENCY] if self.probe.kind in RETURN_KINDS else []
        notes = [f"arguments: {', '.join([*arguments, *ends]) or 'none'}", f"context: {', '.join(CONTEXT)}"]
        if self.known is None:
            notes[0] = "no prototype is known, so it has no arguments"
        self.report.error(
            "SP282", f"nothing here is called `{name}`", where, help=did_you_mean(name, [*arguments, *ends, *CONTEXT]),
            notes=notes,
        )  # fmt: skip

    def argument(self, name: str, where: Location, *, optional: bool) -> Meaning | None:
        assert self.known is not None
        if not self.at_entry(name, where):
            return None
        spec = ArgumentSpec(name, where, size_name(name), None, optional, None, {})
        value = select_one(self.probe, spec, self.known, self.report)
        if value is None:
            return None
        self.values[f"arg_{name}"] = value
        text = _is_text(value.declared) or any(a.name == name and a.string for a in self.probe.args or ())
        recorded = next((a for a in self.probe.args or () if a.name == name and a.string), spec)
        if is_user(recorded, self.probe, value.declared):
            self.users.add(f"arg_{name}")
        return _of_type(f"arg_{name}", value.type, value.declared, text=text and value.wanted is not None)

    def result(self, where: Location) -> Meaning | None:
        assert self.known is not None or self.probe.kind in RETURN_KINDS
        if self.known is None:
            self.report.error("SP284", "`return` has no type here: no prototype is known", where,
                              help="add a `prototype:` to the probe")  # fmt: skip
            return None
        problem = return_problem(self.probe, self.known)
        if problem is not None:
            self.report.error(problem[0], problem[1], where, help=problem[2])
            return None
        spec = ArgumentSpec(RETURN, where, size_name(RETURN), None, False, None, {})
        value = select_one(self.probe, spec, self.known, self.report)
        if value is None:
            return None
        self.values["arg_return"] = value
        recorded = next((a for a in self.probe.args or () if a.name == RETURN and a.string), None)
        if is_user(recorded or spec, self.probe, value.declared):
            self.users.add("arg_return")
        return _of_type("arg_return", value.type, value.declared, text=recorded is not None or _is_text(value.declared))

    def latency(self, where: Location) -> Meaning | None:
        if self.known is None:
            self.report.error("SP284", "`latency` needs the prototype of the function", where,
                              help="add a `prototype:` to the probe")  # fmt: skip
            return None
        spec = ArgumentSpec(LATENCY, where, size_name(LATENCY), None, False, None, {})
        value = select_one(self.probe, spec, self.known, self.report)
        if value is None:
            return None
        self.values["arg_latency"] = value
        return Meaning("arg_latency", IntType(8, False), "a time in ns")


def _is_text(ctype: CType) -> bool:
    pointer = bare(decay(ctype))
    target = bare(pointer.target) if isinstance(pointer, Pointer) else None
    return isinstance(target, Int) and target.kind == "char"


def _leads_to_bytes(kind: CType) -> bool:
    """Names in the kernel's structs are of `unsigned char`, too."""
    target = bare(kind.target) if isinstance(kind, Pointer) else None
    return isinstance(target, Int) and target.size == 1 and target.kind != "bool"


def _of_type(variable: str, ctype: CType, declared: CType, *, text: bool) -> Meaning:
    what = f"`{spell(declared)}`"
    kind = bare(decay(ctype))
    match kind:
        case Int(signed=signed, kind=flavour) if kind.size <= 8:
            return Meaning(variable, IntType(kind.size, signed and flavour != "bool"), what)
        case Enum(signed=signed):
            return Meaning(variable, IntType(kind.size, signed), what)
        case Pointer():
            return Meaning(variable, IntType(8, False, pointer=True), what, text=text)
    size = size_of(kind)
    why = "which has no member to compare yet" if type(kind).__name__ == "Record" else "which is no integer of 8 bytes"
    return Meaning(variable, IntType(size, False), what, problem=why)


# --- the part of the program ------------------------------------------------------------------------------------------


def condition(
    probe: ProbeSpec, symbol: str, asked: Asked, values: Sequence[Value], tested: Captured, saved: Captured | None,
    places: Places | None,
) -> Condition:  # fmt: skip
    """The tests in their order. `values` are those of `asked`, with the places that they have now."""
    assert probe.condition is not None
    wanted = {asked.variables[v.name]: v for v in values}
    early: list[TestedValue] = []
    late: list[TestedValue] = []
    fails: dict[str, str] = {}
    slow: set[str] = set()
    for variable, value in wanted.items():
        source, failing = _source(value, tested, saved, places)
        if source is None:
            fails[variable] = "1"  # it is nowhere
            early.append(TestedValue(variable, value.storage.c_type, None))
            continue
        if value.behind is not None and value.behind.path is not None:
            path = value.behind.path
            late.append(TestedValue(variable, path.c_type, source, path=path, after=tuple(failing)))
            fails[variable] = f"!!{variable}_error"
            slow.add(variable)
            continue
        if failing:
            fails[variable] = " | ".join(failing)
        made = TestedValue(variable, value.storage.c_type, source, value.storage.masks[0])
        if any(f.startswith("!!t->") for f in failing) or not _at_hand(source):
            slow.add(variable)
            late.append(made)
        else:
            early.append(made)
    contexts = tuple(c for c in CONTEXT if any(f"own_{c}" in t.variables for t in asked.tests))
    fails |= {f"own_{c}": f"!!own_{c}_error" for c in contexts if c in FALLIBLE_CONTEXT}
    slow |= {f"own_{c}" for c in contexts if c in FALLIBLE_CONTEXT}
    texts: list[TestedText] = []

    def call(test: TextTest) -> str:
        name = f"{symbol}_text_{len(texts)}"
        memory = "comm" if test.variable == "comm" else "user" if test.variable in asked.users else "kernel"
        texts.append(TestedText(name, memory, test.text, test.begins))
        return f"{name}({'' if memory == 'comm' else f'{test.variable}, '}text, &failed)"

    def cost(test: Test) -> int:
        if test.reads:
            return 2
        return 1 if any(v in slow for v in test.variables) else 0

    ordered = sorted(asked.tests, key=cost)
    first = tuple(spell_test(t.tree, fails, call) for t in ordered if cost(t) == 0)
    rest = tuple(spell_test(t.tree, fails, call) for t in ordered if cost(t) > 0)
    # A value that only a late test wants is loaded then; those of both are loaded once.
    soon = {v for t in ordered if cost(t) == 0 for v in t.variables}
    late = [v for v in early if v.name not in soon] + late
    early = [v for v in early if v.name in soon]
    return Condition(
        probe.condition.text, f"{symbol}_wanted", tested.capture, tested.statuses, contexts, tuple(early), first,
        tuple(late), rest, tuple(texts), any("quotient(" in t or "remainder(" in t for t in first + rest),
        any("fail(" in t for t in first + rest), _handed([v.source for v in early + late], tested.capture), asked.constants,
        () if probe.kind in USER_KINDS else asked.assumed,
        saved is not None and any(_of_entry(probe, variable, value, asked) for variable, value in wanted.items()),
    )  # fmt: skip


def _of_entry(probe: ProbeSpec, variable: str, value: Value, asked: Asked) -> bool:
    text = variable in asked.users and any(isinstance(t, TextTest) and t.variable == variable for t in _texts(asked))
    return is_of_entry(probe, value) or (text and value.entry and probe.kind not in USER_KINDS)


def _texts(asked: Asked) -> Iterator[Typed]:
    waiting = [t.tree for t in asked.tests]
    while waiting:
        tree = waiting.pop()
        if isinstance(tree, Operation):
            waiting += tree.operands
        yield tree


def _handed(sources: Sequence[Source | None], capture: Capture) -> tuple[str, ...]:
    """What of a program's own variables the sources are in."""
    found = {"ctx"} if capture != Capture() else set()
    for source in (s.word if isinstance(s, Bits) else s for s in sources):
        match source:
            case Elapsed():
                found |= {"entry", "now"}
            case Saved():
                found.add("entry")
            case Register() | ContextWord() | Moving():
                found.add("ctx")
    return tuple(name for name in ("ctx", "entry", "now") if name in found)


def _source(
    value: Value, tested: Captured, saved: Captured | None, places: Places | None
) -> tuple[Source | None, list[str]]:
    """Where a value comes from, and what tells that it is not there."""
    if value.argument == LATENCY and not value.entry:
        return Elapsed(_ENTERED), []
    if value.wanted is None:
        return None, ["1"]
    failing = []
    if value.optional and places is not None:
        failing.append(f"!{places.symbol}.{value.name}")
    if saved is not None and value.entry:
        status = saved.status_of.get(value.name)
        return Saved(value.name), failing + ([f"!!entry->{status}"] if status else [])
    status = tested.status_of.get(value.name)
    return tested.words[value.name], failing + ([f"!!t->{status}"] if status else [])


def _at_hand(source: Source) -> bool:
    match source:
        case Bits(word=word):
            return _at_hand(word)
        case Register() | Saved() | Elapsed():
            return True
        case ContextWord(copied=copied):
            return not copied
        case Moving(copied=copied, register=register, context=context):
            return not copied and (register or context)
        case _:
            return False

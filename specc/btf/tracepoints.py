"""Tracepoints of one BTF by name: what a program on them is given, with what the kernel's source calls it.

In: a `Btf` and a name.  Out: prototypes without the `void *__data` that no program sees.

    tracepoint(btf, "sys_exit", where)        # void sys_exit(struct pt_regs *regs, long ret)
    find_tracepoint(btf, "cpu_idle")          # on Linux 5.10: (void cpu_idle(unsigned int, unsigned int),)

`typedef void (*btf_trace_NAME)(void *__data, ...)` tells the types (include/trace/bpf_probe.h), and BTF keeps no names in
a type of a function. `__traceiter_NAME`, which calls the programs on it (include/linux/tracepoint.h), has the same
parameters with their names; pahole leaves some functions of Linux 5.10 out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from specc.btf import blob as B
from specc.btf.blob import Blob
from specc.btf.reader import Btf, near
from specc.diagnostics import Location, did_you_mean, stop
from specc.prototype import VOID, CType, Parameter, Pointer, Prototype, Void, bare, spell_prototype

TYPEDEF_PREFIX: Final = "btf_trace_"
FUNCTION_PREFIX: Final = "__traceiter_"

_Parameters = list[tuple[str | None, CType]]


def tracepoint(btf: Btf, name: str, where: Location | None = None) -> Prototype:
    """The tracepoint of that name. Raises Stop: SP247 there is none, SP248 nothing names its parameters, SP235."""
    found = find_tracepoint(btf, name)
    if not found:
        raise stop(
            "SP247", f"no tracepoint `{name}` in the {btf.source}", where,
            help=did_you_mean(name, near(name, tracepoints(btf)))
            or "tracepoints of a module are in the module's BTF (give it with `--btf`)",
        )  # fmt: skip
    if len(found) > 1:
        raise stop(
            "SP235", f"the {btf.source} has {len(found)} tracepoints named `{name}`", where,
            notes=[spell_prototype(p) for p in found],
        )  # fmt: skip
    [made] = found
    if any(p.name is None for p in made.parameters):
        raise stop(
            "SP248", f"the {btf.source} does not name the parameters of the tracepoint `{name}`", where,
            notes=[f"it has their types: {spell_prototype(made)}"],
            help=f"name them in their order: prototype: \"{_example(made)}\"",
        )  # fmt: skip
    return made


def find_tracepoint(btf: Btf, name: str) -> tuple[Prototype, ...]:
    """Every different tracepoint of that name; its parameters have no names where nothing tells them."""
    found: dict[Prototype, None] = {}
    for owner in _owners(btf):
        for parameters in _declared(owner, name):
            typed = tuple(t for _, t in parameters)
            names = _names(btf, name, typed)
            made = tuple(Parameter(n, t) for n, t in zip(names or (None,) * len(typed), typed, strict=True))
            found[Prototype(name, VOID, made[1:], False, source=owner.source)] = None
        if found:  # a module's own hides the kernel's
            break
    return tuple(found)


def tracepoints(btf: Btf) -> list[str]:
    """Names of all tracepoints, a module's before its base's."""
    names = (_text(o.blob, i) for o in _owners(btf) for i in o.blob.ids_of_kind(frozenset({B.TYPEDEF})))
    return list(dict.fromkeys(n.removeprefix(TYPEDEF_PREFIX) for n in names if n.startswith(TYPEDEF_PREFIX)))


def _owners(btf: Btf | None) -> Iterable[Btf]:
    while btf is not None:
        yield btf
        btf = btf.base


def _text(blob: Blob, type_id: int) -> str:
    return blob.text(blob.record(type_id).name_offset)


def _declared(btf: Btf, name: str) -> Iterable[_Parameters]:
    """The parameters of each `btf_trace_NAME`, `__data` included."""
    blob = btf.blob
    for i in blob.ids_named(TYPEDEF_PREFIX + name, frozenset({B.TYPEDEF})):
        pointer = blob.record(blob.record(i).size_or_type)
        proto = blob.record(pointer.size_or_type) if pointer.kind == B.PTR else pointer
        if proto.kind != B.FUNC_PROTO:
            raise blob.damaged(f"`{TYPEDEF_PREFIX}{name}` is no pointer to a function")
        _, parameters, variadic = btf.types.signature(proto, btf.types.whole)
        first = bare(parameters[0][1]) if parameters else VOID
        if variadic or not isinstance(first, Pointer) or not isinstance(bare(first.target), Void):
            raise blob.damaged(f"`{TYPEDEF_PREFIX}{name}` is not as the kernel declares it")
        yield parameters


def _names(btf: Btf, name: str, types: tuple[CType, ...]) -> tuple[str, ...] | None:
    """What the function that calls the programs calls its parameters; None when there is none with these very types."""
    found: set[tuple[str | None, ...]] = set()
    for prototype in btf.find(FUNCTION_PREFIX + name):
        if tuple(p.type for p in prototype.parameters) == types:
            found.add(tuple(p.name for p in prototype.parameters))
    if len(found) != 1:
        return None
    [names] = found
    known = tuple(n for n in names if n)
    return known if len(known) == len(types) else None


def _example(prototype: Prototype) -> str:
    named = tuple(Parameter(f"NAME{i}", p.type) for i, p in enumerate(prototype.parameters, 1))
    return spell_prototype(Prototype(prototype.name, prototype.result, named, False))

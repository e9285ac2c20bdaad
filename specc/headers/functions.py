"""A declaration -> the prototype of the function that it declares, with every type that its ABI depends on complete.

In: a `Parsed` declaration and the converter.  Out: a `Prototype`; None when it declares something else.

    prototype_of(converter, parsed, decl, "SSL_write", "ssl.h:12")
    convention_of(converter, parsed, decl)      # {"ms_abi"}, of a `typedef` that is declared so
"""

from __future__ import annotations

from typing import Any

from specc.diagnostics import stop
from specc.headers.attributes import CONVENTIONS
from specc.headers.convert import Converter
from specc.headers.meaning import RESHAPING, check_known, memory_tag
from specc.headers.syntax import Parsed, innermost
from specc.prototype import CType, Function, Parameter, Prototype, Record, bare, spell


def prototype_of(converter: Converter, parsed: Parsed, decl: Any, name: str, source: str) -> Prototype | None:
    """The prototype of a function that `decl` declares; None when it declares something else."""
    node = decl.type
    attributes = [a for a, _ in parsed.entity.get(id(decl), ())]
    where = parsed.place(decl)
    if type(node).__name__ == "FuncDecl":
        tags = [t for a in attributes if (t := memory_tag(parsed, a))]
        base = [a for a in attributes if a.name in RESHAPING]
        result = converter.derived(parsed, node.type, True, tags, base)
        nodes, variadic = converter.parameters(parsed, node)
        parameters = []
        for p in nodes:
            declarator = innermost(p)
            place = declarator if declarator is not None and declarator.coord is not None else p
            ctype = converter.declared(parsed, p, type(p.type).__name__ != "ArrayDecl")
            _usable(ctype, parsed, place)
            parameters.append(Parameter(getattr(p, "name", None), ctype, parsed.place(place)))
    elif type(node).__name__ == "TypeDecl":
        function = bare(converter.declared(parsed, decl, False))
        if not isinstance(function, Function):
            return None
        # `typedef int fn(struct s); fn foo;`: the types of the typedef, completed
        result = converter.completed(function.result, parsed, decl)
        variadic = function.variadic
        parameters = [Parameter(None, converter.completed(t, parsed, decl), where) for t in function.parameters]
    else:
        return None
    _usable(result, parsed, decl)
    conventions = {a.name for a in attributes if a.name in CONVENTIONS}
    for a in attributes:
        check_known(parsed, a)
    conventions |= convention_of(converter, parsed, decl)
    return Prototype(name, result, tuple(parameters), variadic, " ".join(sorted(conventions)) or "sysv", where, source)


def repeats(parsed: Parsed, decl: Any) -> bool:
    """`extern typeof(f) f;`, which the kernel's EXPORT_SYMBOL makes, tells nothing new of f."""
    inner = innermost(decl)
    names = getattr(inner.type, "names", [""]) if inner is not None else [""]
    holder = parsed.cleaned.placeholders.get(names[0])
    return holder is not None and parsed.scan.text[holder.start : holder.end].strip() == decl.name


def convention_of(converter: Converter, parsed: Parsed, decl: Any) -> set[str]:
    """The calling conventions that the typedef or `typeof` which a declaration is made with brings along."""
    inner = innermost(decl)
    found: set[str] = set()
    if inner is None or inner is not decl.type or type(inner.type).__name__ != "IdentifierType":
        return found
    for name in inner.type.names:
        holder = parsed.cleaned.placeholders.get(name)
        if holder is not None and holder.kind.startswith("typeof"):
            name = parsed.scan.text[holder.start : holder.end].strip()
        found |= converter.environment.conventions_of(name)
    return found


def _usable(ctype: CType, parsed: Parsed, node: Any) -> None:
    """Refuse a value whose layout is not known; a pointer to it would be fine."""
    inner = bare(ctype)
    if isinstance(inner, Record) and inner.members is None:
        reason = inner.doubt or "it is declared, but never defined, in these headers"
        raise stop(
            "SP217",
            f"`{spell(inner)}` is used by value, but specc cannot lay it out: {reason}",
            parsed.place(node),
            help="add the header that defines it to `headers`" if not inner.doubt else None,
        )

"""`prototype:` of a spec -> Prototype: one C declaration, with or without headers behind it.

In: "int SSL_write(void *ssl, const void *buf, int num)".  Out: its Prototype, or a Stop that points into the spec.

    parse_declaration("ssize_t read(int fd, void *buf, size_t n)", None, where)
"""

from __future__ import annotations

import re
from typing import Final

from specc.diagnostics import Location, Stop, did_you_mean, stop
from specc.headers.clean import clean
from specc.headers.index import HeaderIndex
from specc.headers.names import declared_names, type_candidates
from specc.headers.scan import Scan
from specc.prototype import Parameter, Prototype

_NAME: Final = "<prototype>"
# GNU C, "Controlling Names Used in Assembler Code": the name is a string, or several in a row.
_LABEL: Final = re.compile(r"\b(?:asm|__asm__|__asm)\s*\(((?:\s*\"[^\"]*\")+)\s*\)")


def parse_declaration(text: str, index: HeaderIndex | None, where: Location) -> Prototype:
    """The prototype that `text` declares. Its type names come from `index`, then from the well-known table."""
    stripped = text.strip()
    if not stripped:
        raise stop("SP216", "an empty prototype", where, help=_LIKE)
    if re.search(r"[#\\{}]|/[/*]", stripped):
        raise stop("SP216", "a prototype is one C declaration: no body, comment, directive or record", where)
    source = stripped if stripped.endswith(";") else stripped + ";"
    try:
        return _parse(source, index, where)
    except Stop as e:
        d = e.diagnostic
        if d.where is None or d.where.file != _NAME:
            raise
        excerpt = _excerpt(stripped, d.where)
        note = f"in the prototype, column {d.where.column}" + (f": `{excerpt}`" if excerpt else "")
        raise stop(
            d.code, d.message, where, notes=(*d.notes, note), help=d.help or (_LIKE if d.code == "SP213" else None)
        ) from None


_LIKE: Final = "write one C declaration, such as `int f(int a)`"


def symbol_of(text: str, prototype: Prototype) -> str:
    """The symbol of the function that `text` declares: its asm label, which replaces its name, or that."""
    label = _LABEL.search(text)
    return "".join(re.findall(r'"([^"]*)"', label[1])) if label is not None else prototype.name


def _excerpt(text: str, where: Location) -> str:
    lines = text.split("\n")
    line = lines[where.line - 1] if where.line <= len(lines) else ""
    return line[where.column - 1 :][:40].strip()


def _parse(source: str, index: HeaderIndex | None, where: Location) -> Prototype:
    scan = Scan(source, _NAME)
    sub = HeaderIndex(source, _NAME, parent=index, well_known=True)
    if len(scan.starts) != 1:
        raise stop("SP216", f"{len(scan.starts)} declarations: a prototype is exactly one", where)
    known = set(sub.type_names())
    cleaned = clean(scan, 0, len(source))
    candidates = [name for name, _ in type_candidates(cleaned.text)]
    unknown = [n for n in candidates if n not in known and n not in cleaned.placeholders]
    if unknown:
        raise stop(
            "SP214",
            f"unknown type `{unknown[0]}`",
            where,
            notes=[f"also unknown: `{n}`" for n in dict.fromkeys(unknown[1:]) if n != unknown[0]],
            help=did_you_mean(unknown[0], known)
            or "name a header that declares it in `headers`, or write the type it stands for",
        )
    declared = declared_names(scan, 0, len(source))
    if any(d.typedef for d in declared) or not declared:
        raise stop("SP216", "this does not declare a function", where, help="write it like `int f(int a)`")
    if len(declared) != 1:
        raise stop("SP216", f"{len(declared)} declarators: a prototype declares exactly one function", where)
    prototype = sub.prototype(declared[0].name)
    if prototype is None or prototype.where is None or prototype.where.file != _NAME:
        raise stop(
            "SP216", f"`{declared[0].name}` is not declared as a function", where, help="write it like `int f(int a)`"
        )
    if "=" in source:
        raise stop("SP216", "a function cannot be initialised", where)
    parameters = tuple(Parameter(p.name, p.type, where) for p in prototype.parameters)
    return Prototype(
        prototype.name,
        prototype.result,
        parameters,
        prototype.variadic,
        prototype.convention,
        where,
        f"the prototype at {where.short()}",
    )

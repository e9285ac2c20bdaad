"""Functions of one ELF file by their addresses, out of its DWARF.

In: the paths of the file and of its debug information.  Out: a `Subprogram` for a symbol; Stop says why there is none.

    dwarf = Dwarf("/usr/bin/nginx", "nginx", "/usr/lib/debug/.build-id/4f/2d6c.debug")
    dwarf.find(symbol, where).prototype

A function is looked for by the address that a probe goes to: names can be those of several functions, of declarations,
and of functions that were put into their callers.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from specc.diagnostics import Location, Stop, stop
from specc.dwarf.dies import (
    Damaged,
    Die,
    chain,
    children,
    compiler_of,
    flag,
    has,
    identifier,
    inherited_text,
    number,
    options,
    parameters,
    tells_bits,
    text,
    type_of,
)
from specc.dwarf.files import mapped
from specc.dwarf.judge import Facts, Subprogram, judge
from specc.dwarf.passing import Passing, left_out, tagged
from specc.dwarf.places import OWN_FRAME, PLACE, AtEntry, at_entry, frame_of, in_own_frame
from specc.dwarf.types import CXX, C, Types, hidden_doubt, is_certain
from specc.elf import STT_FUNC, Symbol, symbols
from specc.place import STACK
from specc.prototype import (
    CType,
    Parameter,
    Prototype,
    Record,
    Unknown,
    Void,
    bare,
    decay,
    record_and_alias,
    size_of,
)

_ASSEMBLER: Final = (0x31, 0x8001)  # DW_LANG_Assembly, DW_LANG_Mips_Assembler
_SPLIT: Final = ("dwo_name", "GNU_dwo_name", "GNU_dwo_id")
_NO_CALL: Final = 3  # DW_CC_nocall
_ORDINARY: Final = (None, 1, 2, _NO_CALL)  # DW_CC_normal, DW_CC_program
# Suffixes of a symbol that leave the function what it is: made local or global, or an alias.
_HARMLESS: Final = re.compile(r"\.(?:lto_priv|localalias|\d+)\b")
_LOCAL: Final = re.compile(r"\.(?:llvm|__uniq)\b")
_MIDDLE: Final = re.compile(r"\.(?:part|cold|resume|destroy|cleanup)\b")
_SCOPES: Final = ("DW_TAG_namespace", "DW_TAG_class_type", "DW_TAG_structure_type", "DW_TAG_subprogram")
_FAILURES: Final = (KeyError, ValueError, IndexError, AssertionError, NotImplementedError, OverflowError, TypeError)


class Dwarf:
    def __init__(self, path: str, name: str, debug_path: str, where: Location | None = None) -> None:
        from elftools.common.exceptions import ELFError
        from elftools.elf.elffile import ELFFile

        self.path: Final = path
        self.name: Final = name
        self.debug_path: Final = debug_path
        self._types: Final = Types()
        self._units: dict[int, list[Die]] = {}
        self._addresses: Any = None
        self._covered: list[tuple[int, int, Any]] | None = None
        try:
            with open(debug_path, "rb") as file:
                self._info: Final[Any] = ELFFile(file, self._alternative).get_dwarf_info()
            self._lists: Final[Any] = self._info.location_lists()
        except (ELFError, *_FAILURES, OSError) as problem:
            raise self._damaged(problem, where) from None

    @property
    def source(self) -> str:
        return f"DWARF of {self.name}"

    def _alternative(self, link: str | bytes) -> io.BytesIO:
        """What `dwz` moved into a file that several share (.gnu_debugaltlink)."""
        link = os.fsdecode(link)
        path = os.path.join(os.path.dirname(os.path.realpath(self.debug_path)), link)
        with open(path, "rb") as file:
            return io.BytesIO(file.read())

    def find(self, symbol: Symbol, where: Location | None = None, *, declared: bool = False) -> Subprogram:
        """The function that a symbol of the file is at. Raises Stop.

        `declared` says that its declaration is known: then it may have another name in the DWARF, or another language.
        """
        from elftools.common.exceptions import DWARFError, ELFError

        try:
            return self._find(symbol, where, declared)
        except (DWARFError, ELFError, *_FAILURES) as problem:
            raise self._damaged(problem, where) from None

    def completed_by(self, symbol: Symbol) -> Callable[[CType], Record | str]:
        """What gives the members of records that a function's prototype only names: its own unit, else the one that has
        them, if only one has or all have the same."""
        from elftools.common.exceptions import DWARFError, ELFError

        def complete(ctype: CType) -> Record | str:
            record, alias = record_and_alias(ctype)
            if not isinstance(record, Record):
                return "it is no struct"
            if record.members is not None:
                return record
            name = record.tag or alias
            if name is None:
                return "it has no name to be found by"
            kind = "typedef" if record.tag is None else f"{'structure' if record.kind == 'struct' else 'union'}_type"
            try:
                own = self._unit_at(symbol.value)
                found = self._records(own, kind, name) if own is not None else []
                found = found or [r for unit in self._info.iter_CUs() for r in self._records(unit, kind, name)]
            except (DWARFError, ELFError, *_FAILURES):
                return f"the {self.source} is damaged"
            whole = list(dict.fromkeys(r for r in found if r.members is not None))
            if len(whole) > 1:
                return f"the {self.source} has {len(whole)} different definitions of `{name}`"
            if whole:
                return whole[0]
            return next((r.doubt for r in found if r.doubt), f"the {self.source} does not define it")

        return complete

    def _records(self, unit: Any, kind: str, name: str) -> list[Record]:
        """The definitions of that name at the top of a unit."""
        dies = (d for d in children(unit.get_top_DIE(), kind) if text(d, "name") == name and not flag(d, "declaration"))
        return [r for die in dies if isinstance(r := bare(self._types.whole(die)), Record)]

    def functions(self) -> Iterator[Subprogram]:
        """Every function with a symbol of its own, in the order of addresses; those that cannot be told are left out."""
        elf = mapped(self.path)
        named: dict[int, Symbol] = {}
        for symbol in sorted(symbols(elf), key=lambda s: (s.local, s.name)):
            if symbol.type == STT_FUNC:
                named.setdefault(symbol.value, symbol)
        for _, symbol in sorted(named.items()):
            try:
                yield self.find(symbol)
            except Stop as problem:
                if problem.diagnostic.code == "SP270":
                    raise

    def _damaged(self, problem: Exception, where: Location | None) -> Exception:
        said = str(problem) if isinstance(problem, Damaged | NotImplementedError) and str(problem) else "it is damaged"
        if isinstance(problem, OSError):
            said = f"it needs `{problem.filename}`, which cannot be read: {problem.strerror}"
        return stop("SP270", f"cannot read the debug information of `{self.name}`: {said}", where,
                    notes=[f"it is in {self.debug_path}"] if self.debug_path != self.path else [])  # fmt: skip

    def _find(self, symbol: Symbol, where: Location | None, declared: bool) -> Subprogram:
        name = symbol.name.partition(".")[0]
        if _MIDDLE.search(symbol.name):
            raise stop(
                "SP271",
                f"`{symbol.name}` is a part of `{name}` that the compiler made: its arguments are not those of a call",
                where,
                help=f"probe `{name}`, or a function that calls it",
            )
        unit = self._unit_at(symbol.value)
        found = [] if unit is None else [d for d in self._entries(unit) if self._entry(d) == symbol.value]
        if not found:
            raise self._not_described(symbol, "it is assembler, or its file was compiled without -g", where)
        ours = [d for d in found if name in (inherited_text(d, "name"), inherited_text(d, "linkage_name"))]
        ours = ours or [d for d in found if _same_name(d, name)]
        if len(ours or found) > 1:
            raise stop("SP272", f"the debug information of `{self.name}` has several functions at `{symbol.name}`", where,
                       help="add a `prototype:` to the probe")  # fmt: skip
        if not ours and not declared:
            other = inherited_text(found[0], "name")
            raise stop(
                "SP273",
                f"the debug information of `{self.name}` calls the function at `{symbol.name}` `{other}`",
                where,
                notes=["the names and types of its arguments may not be those of the declaration"],
                help="add a header that declares it to `headers`, or a `prototype:` to the probe",
            )
        return self._subprogram((ours or found)[0], symbol, where)

    def _not_described(self, symbol: Symbol, why: str, where: Location | None) -> Stop:
        return stop(
            "SP272",
            f"the debug information of `{self.name}` does not describe `{symbol.name}`",
            where,
            notes=[why],
            help="add a header that declares it to `headers`, or a `prototype:` to the probe",
        )

    # ---- where in the file a function is

    def _unit_at(self, address: int) -> Any:
        """The unit with the code at an address: by .debug_aranges, which few files lack, or by asking all units."""
        if self._addresses is None:
            self._addresses = self._info.get_aranges() or False
        offset = self._addresses.cu_offset_at_addr(address) if self._addresses else None
        if offset is not None:
            return self._info.get_CU_at(offset)
        if self._covered is None:
            tops = ((unit, unit.get_top_DIE()) for unit in self._info.iter_CUs())
            self._covered = [(start, end, unit) for unit, top in tops for start, end in self._ranges(top)]
        return next((unit for start, end, unit in self._covered if start <= address < end), None)

    def _ranges(self, die: Die) -> Iterator[tuple[int, int]]:
        """The addresses of an entry (DWARF 5, 2.17)."""
        low, high = number(die, "low_pc"), die.attributes.get("DW_AT_high_pc")
        if high is not None and low is not None:
            yield low, high.value if high.form == "DW_FORM_addr" else low + high.value
            return
        ranges = die.attributes.get("DW_AT_ranges")
        lists = self._info.range_lists()
        if ranges is None or lists is None:
            return
        base = number(die.cu.get_top_DIE(), "low_pc") or 0
        for one in lists.get_range_list_at_offset(ranges.value, die.cu):
            if hasattr(one, "base_address"):
                base = one.base_address
            else:
                shift = 0 if getattr(one, "is_absolute", False) else base
                yield one.begin_offset + shift, one.end_offset + shift

    def _entry(self, die: Die) -> int | None:
        """The address at which a function is entered; None for one that has no code of its own (DWARF 5, 2.18)."""
        given = number(die, "entry_pc")
        if given is None or die.attributes["DW_AT_entry_pc"].form == "DW_FORM_addr":
            first = given if given is not None else number(die, "low_pc")
            return first if first is not None else next((start for start, _ in self._ranges(die)), None)
        base = number(die, "low_pc")
        return None if base is None else base + given

    def _entries(self, unit: Any) -> list[Die]:
        """The functions of a unit, also those in namespaces, classes and other functions."""
        if unit.cu_offset not in self._units:
            top = unit.get_top_DIE()
            if any(has(top, name) for name in _SPLIT):
                raise Damaged("it was compiled with -gsplit-dwarf, and .dwo files are not read")
            self._units[unit.cu_offset] = list(_functions(top, 0))
        return self._units[unit.cu_offset]

    # ---- a function

    def _subprogram(self, die: Die, symbol: Symbol, where: Location | None) -> Subprogram:
        links = list(chain(die))
        unit = links[-1].cu.get_top_DIE()
        language = number(unit, "language")
        if language in _ASSEMBLER:
            raise self._not_described(symbol, "it is assembler", where)
        if language not in C and language not in CXX:
            raise stop("SP274", f"`{symbol.name}` is written in {_language(language)}, whose calls specc does not know", where,
                       notes=[f"says the {self.source}"],
                       help="if it follows the C ABI, give its C `prototype:`")  # fmt: skip
        # An instance has its parameters in an order of its own, and without those that it lost.
        source = next((d for d in links[1:] if not flag(d, "declaration")), links[0])
        convention = number(die, "calling_convention") or next(
            (number(d, "calling_convention") for d in links if has(d, "calling_convention")), None
        )
        compiler, viewed = compiler_of(die)
        # clang sets the flag with -O1 and more.
        tells = has(die, "call_all_calls") or has(die, "GNU_all_call_sites")
        flags = frozenset[str]().union(*(options(d) for d in links))
        kept = "sysv" if convention in _ORDINARY else "one of its own"
        if "-mabi=ms" in flags:
            kept = "ms_abi, by -mabi=ms"
        # C11 6.5.2.2p6. C++ has only prototypes, and its compilers do not say so.
        promoting = language in C and not any(flag(d, "prototyped") for d in links)
        frame = frame_of(die, symbol.value, _parser(die), self._lists)
        own = {_original(c): c for c in parameters(die)}
        stored = frozenset(p for p, c in own.items() if compiler == "clang" and not tells and in_own_frame(c, frame))
        how = Passing(flags, promoting, compiler, stored)
        prototype = self._prototype(source, symbol, kept, where, how)
        if not prototype.parameters and isinstance(prototype.result, Void) and len(links) == 1 and not _has_types(unit):
            raise self._not_described(symbol, "its unit has no types at all, as with -g1", where)
        if language in CXX and (lost := left_out(source, links, symbol, sure=compiler == "gcc" or tells)):
            raise stop(
                "SP272",
                f"the debug information of `{self.name}` does not tell all arguments of `{symbol.name}`",
                where,
                notes=[lost],
                help="add a header that declares it to `headers`, or a `prototype:` to the probe",
            )
        entries = tuple(
            at_entry(own.get(_original(p)), size_of(decay(t.type)), frame)
            for p, t in zip(parameters(source), prototype.parameters, strict=True)
        )
        suffix = _HARMLESS.sub("", symbol.name[len(symbol.name.partition(".")[0]) :])
        marked = convention == _NO_CALL or bool(_LOCAL.sub("", suffix).strip(".0123456789"))
        changeable = marked or (compiler != "gcc" and (symbol.local or bool(suffix)))
        optimised = True
        if compiler == "clang":
            # Without -O1, all parameters are stored by the prologue.
            optimised = tells or marked or any(e.kind != OWN_FRAME for e in entries if not _in_memory(e))
        return judge(Facts(symbol.name, prototype, entries, compiler, optimised, changeable, marked, viewed))

    def _prototype(self, die: Die, symbol: Symbol, convention: str, where: Location | None, how: Passing) -> Prototype:
        made: list[Parameter] = []
        for entry in parameters(die):
            name = inherited_text(entry, "name")
            if flag(entry, "artificial") and name != "this":
                raise stop("SP274", f"`{symbol.name}` has arguments of C++'s own (`{name}`)", where,
                           help="probe a function that it calls")  # fmt: skip
            made.append(
                Parameter(
                    identifier(name), how.argument(self._passed(entry, in_registers=_original(entry) in how.stored))
                )
            )
        names = [p.name for p in made]
        # clang names all arguments of a parameter pack as the pack; none can be meant by that name.
        made = [p if names.count(p.name) == 1 else Parameter(None, p.type) for p in made]
        result = how.result(self._passed(die))
        variadic = bool(children(die, "unspecified_parameters"))
        name = symbol.name.partition("@")[0]
        return Prototype(name, result, tuple(made), variadic, convention, source=self.source)

    def _passed(self, entry: Die, *, in_registers: bool = False) -> CType:
        """The type of an argument or result; where DWARF may hide what decides how it is passed, that is said."""
        atomic = compiler_of(entry)[0] != "gcc" and entry.cu["version"] < 5 and not in_registers
        ctype = self._types.whole(type_of(entry))
        inner = bare(ctype)
        if not isinstance(inner, Record):
            return ctype
        doubt = inner.doubt if inner.members is None else hidden_doubt(inner, atomic=atomic, bits=tells_bits(entry))
        return Unknown(tagged(inner), doubt, is_certain(doubt)) if doubt else ctype


def _functions(die: Die, depth: int) -> Iterator[Die]:
    for child in die.iter_children():
        if child.tag == "DW_TAG_subprogram":
            yield child
        if depth < 8 and child.tag in _SCOPES and child.has_children:
            yield from _functions(child, depth + 1)


def _same_name(die: Die, name: str) -> bool:
    """C++: several symbols of one constructor, whose entry has the name of only one of them."""
    linked = inherited_text(die, "linkage_name")
    return linked is not None and re.sub(r"([CD])[0-4]E", r"\1E", linked) == re.sub(r"([CD])[0-4]E", r"\1E", name)


def _language(code: int | None) -> str:
    from elftools.dwarf.constants import DW_LANG

    known = {int(one): one.name.replace("_", " ") for one in DW_LANG}
    return known.get(code or 0, "a language that specc does not know")


def _has_types(unit: Die) -> bool:
    return any(str(c.tag).endswith("_type") for c in unit.iter_children())


def _parser(die: Die) -> Any:
    from elftools.dwarf.dwarf_expr import DWARFExprParser

    return DWARFExprParser(die.cu.structs)


def _original(parameter: Die) -> int:
    """The entry of the declaration or abstract function that a parameter is an instance of."""
    *_, last = chain(parameter)
    return int(last.offset)


def _in_memory(entry: AtEntry) -> bool:
    return entry.kind == PLACE and all(p.where == STACK for p in entry.pieces)

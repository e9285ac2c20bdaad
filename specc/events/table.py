"""Records as a table for a person: batches in, aligned rows out, no wider than the terminal.

    writer = TableWriter(decoder, sys.stdout, width=100, wall_offset_ns=offset)
    writer.write(batch)

    TIME             PID    TID    COMM  start           nr_pages  locked
    12:00:01.000250  4711   4711   bash  0x7f0000000000  37        0xffff888000000010

Every probe has columns of its own: its header comes before its first row, and again when it has gone out of sight. A
row that is wider than the terminal goes on in the next line. Columns only grow, so that rows stay under one another.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from decimal import Decimal
from functools import partial
from typing import IO, Any, Final, TypeAlias

from specc.events.decoder import Decoder
from specc.events.formats import (
    address_text,
    duration_text,
    errno_text,
    port_text,
    shown_address,
    size_text,
    syscall_text,
)
from specc.events.program import Compiled
from specc.events.shape import Slot, Value
from specc.events.text import Output, as_batch
from specc.ir import Field, Role
from specc.prototype import Array, CType, Enum, Float, Int, Pointer, Record, Vector, bare, decay, size_of

_HEADER_EVERY: Final = 40  # lines of other things, after which a header has gone out of sight
_INDENT: Final = "    "
_GAP: Final = "  "
_WIDEST: Final = {"timestamp": 15, "comm": 15, "pid": 6, "tid": 6, "ppid": 6, "cpu": 3}

# An address in the kernel to what is there, "vfs_read+0x12"; None where that is not known.
Symbol: TypeAlias = Callable[[int], str | None]
# The same in a process: its number, what tells its address space, an address.
SymbolOfProcess: TypeAlias = Callable[[int, int, int], str | None]

_BOLD, _DIM, _RED, _OFF = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[0m"


class Column:
    """A column: its title, how a value is shown, and the width that its values have needed so far. What is shown is the
    record's value, or its bytes, where `raw` says which. `space` says which tell the address space of an address."""

    __slots__ = ("key", "raw", "right", "show", "space", "title", "width")

    def __init__(
        self,
        title: str,
        key: str,
        show: Callable[[Any], str],
        width: int,
        *,
        right: bool,
        raw: slice | None = None,
        space: slice | None = None,
    ) -> None:
        self.title = title
        self.key = key
        self.show = show
        self.width = max(width, len(title))
        self.right = right
        self.raw = raw
        self.space = space


class TableWriter:
    def __init__(
        self,
        decoder: Decoder,
        stream: IO[Any],
        *,
        colour: bool = False,
        width: int | None = None,
        wall_offset_ns: int = 0,
        symbol: Symbol | None = None,
        in_process: SymbolOfProcess | None = None,
    ) -> None:
        self._decoder = decoder
        self._symbol = symbol
        self._in_process = in_process
        self._out = Output(stream)
        self._colour = colour
        self._width = width
        self._offset = wall_offset_ns
        self._columns: dict[int, list[Column]] = {}
        self._headers: dict[int, tuple[int, tuple[int, ...]]] = {}  # per event: after which line, and the widths then
        self._lines = 0

    def write(self, records: Iterable[bytes | memoryview]) -> int:
        batch = as_batch(records)
        out: list[str] = []
        for record in batch:
            event = self._decoder.event_of(record)
            self._row(event, record, out)
        if out:
            self._out.text("\n".join(out) + "\n")
        return len(batch)

    def flush(self) -> None:
        self._out.flush()

    def close(self) -> None:
        self.flush()

    def _row(self, event: Compiled, record: bytes | memoryview, out: list[str]) -> None:
        values = event.build(record)
        number = event.event.number
        columns = self._columns.get(number)
        if columns is None:
            several = len(self._decoder.streaming) > 1
            columns = self._columns[number] = self.columns_of(event, several=several)
        shown, failed = self.cells(columns, values, record)
        for column, text in zip(columns, shown, strict=True):
            column.width = max(column.width, len(text))
        widths = tuple(c.width for c in columns)
        since, before = self._headers.get(number, (-_HEADER_EVERY, ()))
        rows = self._broken(widths)
        if self._lines - since >= _HEADER_EVERY or len(self._broken(before)) != len(rows) or before[:1] == ():
            titles = self._aligned(columns, [c.title for c in columns], rows, set(), heading=True)
            out += titles
            self._lines += len(titles)
            self._headers[number] = (self._lines, widths)
        lines = self._aligned(columns, shown, rows, failed) + self.frames(event, values)
        out += lines
        self._lines += len(lines)

    def frames(self, event: Compiled, values: dict[str, Any]) -> list[str]:
        """Stack traces, a frame a line under their row; those of the kernel, which was called last, first."""
        lines: list[str] = []
        for slot in (s for s in event.slots if s.field.role is Role.STACK):
            frames, error = values[slot.key], values.get(f"{slot.key}_error")
            if error is not None:
                text = f"!{slot.key}: {error}"
                lines.append(_INDENT + (f"{_RED}{text}{_OFF}" if self._colour else text))
                continue
            texts = map(printable, frames) if isinstance(frames, list) else [f"{slot.key} {frames}"]
            lines += [_INDENT + (f"{_DIM}{text}{_OFF}" if self._colour else text) for text in texts]
        return lines

    def cells(
        self, columns: list[Column], values: dict[str, Any], record: bytes | memoryview
    ) -> tuple[list[str], set[int]]:
        """What is shown of a record's values, and which of them are errors."""
        shown = []
        failed = set()
        for position, column in enumerate(columns):
            error = values.get(f"{column.key}_error")
            if error is not None:
                failed.add(position)
            value = values[column.key]
            if column.raw is not None and value is not None:
                value = bytes(record[column.raw])
            if column.space is not None and value and self._in_process is not None:
                space = int.from_bytes(record[column.space], "little")
                value = self._in_process(values["pid"], space, value) or value
            text = f"!{error}" if error is not None else column.show(value)
            shown.append(text + ("…" if f"{column.key}_truncated" in values else ""))
        return shown, failed

    def interrupted(self) -> None:
        """Something else was written between the rows: headers come anew."""
        self._headers.clear()

    def _broken(self, widths: tuple[int, ...]) -> list[range]:
        """Which columns go on which line."""
        if self._width is None:
            return [range(len(widths))]
        lines, start, used = [], 0, 0
        for i, width in enumerate(widths):
            needed = width + (len(_GAP) if i > start else 0)
            if i > start and used + needed > self._width:
                lines.append(range(start, i))
                start, used, needed = i, len(_INDENT), width
            used += needed
        return [*lines, range(start, len(widths))]

    def _aligned(
        self, columns: list[Column], cells: list[str], rows: list[range], failed: set[int], *, heading: bool = False
    ) -> list[str]:
        lines = []
        for row in rows:
            parts = []
            for i in row:
                cell, width = cells[i], columns[i].width
                text = cell.rjust(width) if columns[i].right else cell.ljust(width)
                if self._colour and (heading or i in failed):
                    text = text.replace(cell, f"{_BOLD if heading else _RED}{cell}{_OFF}", 1)
                parts.append(text)
            lines.append(((_INDENT if row.start else "") + _GAP.join(parts)).rstrip())
        return lines

    def columns_of(self, event: Compiled, *, several: bool = False) -> list[Column]:
        """The columns of an event, or of a key; with `several` events, one that tells which it is."""
        columns = []
        if several:
            widest = max(len(e.probe) for e in self._decoder.streaming)
            columns.append(Column("PROBE", "probe", printable, widest, right=False))
        space = next((f for f in event.event.fields if f.role is Role.SPACE), None)
        return columns + [self.column(slot, space) for slot in event.slots if slot.field.role is not Role.STACK]

    def column(self, slot: Slot, space: Field | None = None) -> Column:
        """How a value of events, or of keys, is shown. `space` tells the address space of an event."""
        if slot.field.role is Role.CONTEXT:
            name = slot.key
            if name == "timestamp":
                return Column("TIME", name, self._time, _WIDEST[name], right=False)
            if name == "comm":
                return Column("COMM", name, _or_absent(printable), _WIDEST[name], right=False)
            return Column(name.upper(), name, _or_absent(str), _WIDEST.get(name, 0), right=True)
        assert slot.field.type is not None
        ctype, format_ = slot.field.type, slot.field.format
        address = shown_address(ctype, format_, slot.field.size)
        if address is not None:
            raw = slice(slot.field.offset, slot.field.offset + address)
            spell = partial(address_text, format_ or "")
            return Column(slot.key, slot.key, _or_absent(spell), 0, right=False, raw=raw)
        if slot.field.names is not None:
            return Column(slot.key, slot.key, _or_absent(_plain), 0, right=False)
        if format_ == "symbol" and space is not None:
            where = slice(space.offset, space.offset + space.size)
            return Column(slot.key, slot.key, _or_absent(_named_or_pointer), 0, right=False, space=where)
        if format_ == "symbol" and self._symbol is not None:
            mask = (1 << 8 * slot.field.size) - 1
            return Column(slot.key, slot.key, _or_absent(partial(_symbolic, self._symbol, mask)), 0, right=False)
        if format_ == "char" and isinstance(bare(ctype), Array):
            return Column(slot.key, slot.key, _or_absent(_text), 0, right=False)
        if slot.field.length is not None and slot.field.c_type != "char":
            return Column(slot.key, slot.key, _or_absent(str), 0, right=False)
        kind = bare(decay(ctype))
        numeric = isinstance(kind, Int | Enum | Float) and format_ in (None, "dec", "errno", "duration", "size", "port")
        if isinstance(kind, Enum) and kind.members and format_ is None:
            numeric = False
        return Column(slot.key, slot.key, _or_absent(shower(ctype, format_)), 0, right=numeric)

    def _time(self, ns: int) -> str:
        whole = ns + self._offset
        return time.strftime("%H:%M:%S", time.localtime(whole // 10**9)) + f".{whole // 1000 % 10**6:06d}"


def _symbolic(symbol: Symbol, mask: int, value: int) -> str:
    return symbol(value & mask) or _pointer(value & mask)


def _named_or_pointer(value: int | str) -> str:
    return _pointer(value) if isinstance(value, int) else printable(value)


def _or_absent(show: Callable[[Any], str]) -> Callable[[Any], str]:
    return lambda value: "-" if value is None else show(value)


def shower(ctype: CType, format_: str | None = None) -> Callable[[Any], str]:
    """How a value of this type is shown: pointers in hex, structs member by member, text with its controls escaped."""
    kind = bare(decay(ctype)) if format_ is not None or not isinstance(bare(ctype), Array) else bare(ctype)
    match format_:
        case "hex":
            mask = (1 << 8 * size_of(kind)) - 1
            return lambda v: f"{v & mask:#x}"
        case "oct":
            octal = (1 << 8 * size_of(kind)) - 1
            return lambda v: f"0{v & octal:o}" if v else "0"
        case "pointer" | "symbol":
            address = (1 << 8 * size_of(kind)) - 1
            return lambda v: _pointer(v & address)
        case "errno":
            plain, size = shower(ctype), size_of(kind)
            return lambda v: errno_text(v, size, plain(v))
        case "duration":
            return duration_text
        case "size":
            return size_text
        case "syscall":
            return syscall_text
        case "port":
            return port_text
        case "char":
            return lambda v: printable(repr(chr(v))) if 0 <= v < 128 else str(v)
        case "dec":
            return str
    match kind:
        case Pointer():
            return _pointer
        case Int(kind="bool"):
            return _plain
        case Enum(members=members):
            return _by_name(members)
        case Int():
            return _plain
        case Record():
            return lambda v: _object(kind, v)
        case Array(element=element):
            inner = bare(element)
            if isinstance(inner, Int) and inner.kind == "char":
                return lambda v: f'"{printable(v)}"'
            each = shower(element)
            return lambda v: f"[{' '.join(map(each, v))}]"
        case Vector(element=element):
            each = shower(element)
            return lambda v: f"[{' '.join(map(each, v))}]"
        case _:
            return _plain


def _by_name(members: tuple[tuple[str, int], ...]) -> Callable[[Any], str]:
    names = {value: name for name, value in reversed(members)}
    return lambda v: printable(names[v]) if v in names else str(v)


def _text(digits: str) -> str:
    """Bytes, which a record has in hex, as what they spell."""
    return f'"{printable(bytes.fromhex(digits).decode("utf-8", "backslashreplace"))}"'


def _pointer(value: int) -> str:
    return f"{value:#x}" if value else "NULL"


def _plain(value: Value) -> str:
    match value:
        case True:
            return "true"
        case False:
            return "false"
        case float():
            return repr(value)
        case Decimal() | int():
            return str(value)
        case dict():
            return f"{{{' '.join(f'{k}={_plain(v)}' for k, v in value.items())}}}"
        case list():
            return f"[{' '.join(map(_plain, value))}]"
        case None:
            return "-"
        case str():
            return printable(value)


def _object(record: Record, value: dict[str, Any]) -> str:
    return f"{{{' '.join(_members(record, value))}}}"


def _members(record: Record, value: dict[str, Any]) -> Iterable[str]:
    for member in record.members or ():
        inner = bare(member.type)
        if member.name and member.name in value:
            show = shower(member.type) if member.bit_width is None or isinstance(inner, Enum) else _plain
            yield f"{member.name}={show(value[member.name])}"
        elif not member.name and isinstance(inner, Record):
            yield from _members(inner, value)


def printable(text: str) -> str:
    """Text that moves no cursor: controls and what is not printable as escapes."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(char: str) -> str:
    known = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\x1b": "\\e"}
    code = ord(char)
    return known.get(char) or (
        f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 1 << 16 else f"\\U{code:08x}"
    )

"""Records as columns: batches in, numpy structured arrays and Arrow record batches out.

    columns(decoder, batch)             # {"gup": array([(12, 7, ...), ...], dtype=[("timestamp", "<u8"), ...])}
    Columns(decoder).record_batch(batch)                # a pyarrow.RecordBatch, nested as the records are

numpy and pyarrow are optional (`pip install 'specc[arrow]'`): this module is imported by whom has asked for columns, or
found pyarrow to be there. Integers keep their width and sign, so nothing passes through a double.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc

from specc.batch import Batch
from specc.events.decoder import Decoder
from specc.events.naming import Naming
from specc.events.program import Compiled, error_name
from specc.events.shape import Items, Leaf, Object, Shape, finish, text
from specc.events.stacks import Stacks
from specc.ir import Field, Role
from specc.prototype import spell
from specc.records import unit_of

Array = Any  # numpy and pyarrow have no types for what an array holds


class Rows:
    """Records of one event: `count` of them in `data`, from `first` on, `step` bytes apart."""

    __slots__ = ("count", "data", "event", "first", "step")

    def __init__(self, event: Compiled, data: memoryview, first: int, step: int, count: int) -> None:
        self.event = event
        self.data = data
        self.first = first
        self.step = step
        self.count = count

    def raw(self, offset: int, code: str) -> Array:
        """What a `struct` code would unpack at `offset` of each record, as an array that looks into the memory."""
        kind = np.dtype("u1" if code == "?" else f"V{code[:-1]}" if code.endswith("s") else f"<{code}")
        return np.ndarray((self.count,), kind, self.data, self.first + offset, (self.step,))


def groups(decoder: Decoder, batch: Batch) -> list[tuple[Rows, Array | None]]:
    """The records of each event, and where they were in the batch (None: it has no others)."""
    event = decoder.only(batch)
    if event is not None:
        assert isinstance(batch.offsets, range)
        return [(Rows(event, batch.data, batch.offsets[0], batch.offsets.step, len(batch)), None)]
    offsets = np.asarray(batch.offsets, np.intp)
    lengths = np.broadcast_to(np.asarray(batch.lengths, np.intp), offsets.shape)
    memory = np.frombuffer(batch.data, np.uint8)
    numbers = memory[offsets[:, None] + np.arange(4)].copy().view("<u4").ravel()
    found: list[tuple[Rows, Array | None]] = []
    for number in np.unique(numbers).tolist():
        where = np.flatnonzero(numbers == number)
        size = decoder.event_of(batch[int(where[0])]).event.size
        odd = np.flatnonzero(lengths[where] != size)
        if odd.size:
            decoder.event_of(batch[int(where[odd[0]])])  # says what is wrong with it
        together = memory[offsets[where][:, None] + np.arange(size)]
        found.append((Rows(decoder.events[number], memoryview(together).cast("B"), 0, size, len(where)), where))
    return found


# --- numpy ------------------------------------------------------------------------------------------------------------


def dtype(event: Compiled) -> Array:
    """The structured type that looks at an event: fields at their offsets, records nested, `long double` as numpy's.

    What numpy has no type for stays bytes: a record with bit-fields, 128-bit integers, `__float128`. A stack trace is its
    id.
    """
    fields = [f for f in event.event.fields if f.role not in (Role.PROBE, Role.PADDING, Role.SPACE)]
    keys = {slot.field.name: slot for slot in event.slots}
    formats = [_dtype(keys[f.name].shape, f.offset, f.size) if f.name in keys else _PLAIN[f.role] for f in fields]
    names = [f.record_key for f in fields]
    offsets = [f.offset for f in fields]
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": event.event.size})


_PLAIN = {Role.STATUS: np.dtype("<i4"), Role.LENGTH: np.dtype("<u4"), Role.ABSENT: np.dtype("<u8")}


def _dtype(of: Shape, base: int, size: int) -> Array:
    match of:
        case Leaf(kind="int" | "float" | "truth" | "named" | "stack", code=code):
            return np.dtype(f"<{code}")
        case Leaf(kind="bool"):
            return np.dtype("?")
        case Leaf(kind="text", code=code) if code != "0s":
            return np.dtype(f"S{code[:-1]}")
        case Leaf(code="10s"):
            return np.dtype("longdouble")
        case Object(members=members) if members and not any(_is_bits(m) for _, m in members):
            starts = [_start(m) for _, m in members]
            formats = [_dtype(m, s, _extent(m)) for (_, m), s in zip(members, starts, strict=True)]
            names = [name for name, _ in members]
            if len(set(names)) == len(names):
                offsets = [s - base for s in starts]
                return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": size})
        case Items(items=items) if items and not any(_is_bits(i) for i in items):
            return np.dtype((_dtype(items[0], _start(items[0]), _extent(items[0])), len(items)))
    return np.dtype(f"V{size}")


def _is_bits(of: Shape) -> bool:
    return isinstance(of, Leaf) and of.kind.startswith("bits")


def _leaves(of: Shape) -> Iterator[Leaf]:
    match of:
        case Leaf():
            yield of
        case Object(members=members):
            for _, inner in members:
                yield from _leaves(inner)
        case Items(items=items):
            for inner in items:
                yield from _leaves(inner)


def _start(of: Shape) -> int:
    return min((leaf.offset for leaf in _leaves(of)), default=0)


def _extent(of: Shape) -> int:
    if isinstance(of, Leaf) and of.code == "10s":
        return 16
    return max((leaf.offset + (16 if leaf.code == "10s" else leaf.size) for leaf in _leaves(of)), default=0) - _start(
        of
    )


def columns(decoder: Decoder, batch: Batch) -> dict[str, Array]:
    """The records of each probe as a structured array of its own, in their order. They are copies, to be kept."""
    made: dict[str, Array] = {}
    for rows, _ in groups(decoder, batch) if len(batch) else ():
        looked = np.ndarray((rows.count,), dtype(rows.event), rows.data, rows.first, (rows.step,))
        made[rows.event.probe] = looked.copy()
    return made


# --- Arrow ------------------------------------------------------------------------------------------------------------


def numbers(leaf: Leaf, rows: Rows) -> Array:
    """A leaf of the kinds that numpy has numbers for."""
    raw = rows.raw(leaf.offset, leaf.code)
    match leaf.kind:
        case "bool" | "truth":
            return raw != 0
        case "bits" | "bits truth":
            bits = raw >> raw.dtype.type(leaf.shift) & raw.dtype.type((1 << leaf.width) - 1)
            if leaf.kind == "bits truth":
                return bits != 0
            if leaf.signed:
                sign = raw.dtype.type(1 << leaf.width - 1)
                return ((bits ^ sign) - sign).view(np.dtype(f"i{raw.dtype.itemsize}"))
            return bits
        case _:
            return np.ascontiguousarray(raw)


NUMBERS = ("int", "bool", "truth", "bits", "bits truth", "float")


def arrow_type(of: Shape) -> Any:
    match of:
        case Object(members=members):
            return pa.struct([(name, arrow_type(inner)) for name, inner in dict(members).items()])
        case Items(items=items):
            return pa.list_(arrow_type(items[0]) if items else pa.null())
        case Leaf(element=element) if element is not None:
            return pa.list_(arrow_type(element))
        case Leaf(kind="bool" | "truth" | "bits truth" | "wide truth"):
            return pa.bool_()
        case Leaf(kind="int" | "float", code=code):
            return pa.from_numpy_dtype(np.dtype(f"<{code}"))
        case Leaf(kind="bits" | "wide", width=width, signed=signed):
            # By its width alone: the unit that a bit-field is read from differs between the elements of an array.
            size = next((n for n in (1, 2, 4, 8) if width <= 8 * n), None)
            if size is not None:
                return pa.from_numpy_dtype(np.dtype(f"{'i' if signed else 'u'}{size}"))
            return pa.decimal256(39, 0)  # 2**128 has 39 digits
        case Leaf(kind="nothing"):
            return pa.null()
        case Leaf(kind="stack"):
            return pa.list_(pa.string())
        case _:
            return pa.string()  # text, and floating values that no column can hold


def arrow_array(of: Shape, rows: Rows) -> Array:
    match of:
        case Leaf(kind=kind) if kind in NUMBERS:
            return pa.array(numbers(of, rows)).cast(arrow_type(of))
        case Leaf(kind="text"):
            return spelled(of, rows, text)
        case Leaf(naming=naming) if naming is not None:
            return by_value(of, rows, naming, str)
        case Leaf(stacks=stacks) if stacks is not None:
            found = pa.array(np.ascontiguousarray(rows.raw(of.offset, of.code))).dictionary_encode()
            return pa.array([stacks[i] for i in found.dictionary.to_pylist()], arrow_type(of)).take(found.indices)
        case Leaf(kind="nothing"):
            return pa.nulls(rows.count)
        case Object(members=members) if members:
            unique = dict(members)
            return pa.StructArray.from_arrays([arrow_array(m, rows) for m in unique.values()], list(unique))
        case Items(items=items) if items:
            columns_of = pa.concat_arrays([arrow_array(i, rows) for i in items])
            by_record = np.arange(len(items) * rows.count).reshape(len(items), rows.count).T.ravel()
            return _lists(columns_of.take(pa.array(by_record)), len(items), rows.count)
        case Leaf(element=element, size=size) if element is not None:
            raw = np.ascontiguousarray(rows.raw(of.offset, of.code))
            length = _pitch(of)
            inner = Rows(rows.event, raw.data.cast("B"), 0, size // length, length * rows.count)
            return _lists(arrow_array(element, inner), length, rows.count)
        case Leaf():
            values = [finish(of, v) for v in rows.raw(of.offset, of.code).tolist()]
            return pa.array([str(v) for v in values] if of.kind == "number" else values, arrow_type(of))
        case _:
            empty: Any = {} if isinstance(of, Object) else []
            return pa.array([empty] * rows.count, arrow_type(of))


def _pitch(of: Leaf) -> int:
    """How many elements a list has."""
    assert of.convert is not None
    value = of.convert(bytes(of.size))
    assert isinstance(value, list)
    return len(value)


def _lists(values: Array, length: int, count: int) -> Array:
    return pa.ListArray.from_arrays(pa.array(np.arange(count + 1, dtype=np.int32) * length), values)


def spelled(leaf: Leaf, rows: Rows, spell: Any) -> Array:
    """Bytes as text, each different value spelled once."""
    width = int(leaf.code[:-1])
    if not width:
        return pa.array([spell(b"")] * rows.count, pa.string())
    raw = np.ascontiguousarray(rows.raw(leaf.offset, leaf.code))
    found = pa.Array.from_buffers(pa.binary(width), rows.count, [None, pa.py_buffer(raw)]).dictionary_encode()
    return pa.array([spell(v) for v in found.dictionary.to_pylist()], pa.string()).take(found.indices)


def by_value(leaf: Leaf, rows: Rows, naming: Naming | Stacks, spell: Callable[[Any], str]) -> Array:
    """Named integers as text, each different value spelled once."""
    found = pa.array(np.ascontiguousarray(rows.raw(leaf.offset, leaf.code))).dictionary_encode()
    return pa.array([spell(naming[v]) for v in found.dictionary.to_pylist()], pa.string()).take(found.indices)


def _meaning(field: Field) -> dict[str, str]:
    """What a column's metadata says of a field, "" where it does not know."""
    c_type = spell(field.type) if field.type is not None else f"{field.c_type}{'' if field.count is None else f'[{field.count}]'}"  # fmt: skip
    return {"c_type": c_type, "unit": unit_of(field)}


class Columns:
    """Record batches with one schema for all probes: the union of their columns, with nulls for what one has not.

    A key that two probes give different types is two columns; the second is called PROBE.KEY. A column's metadata has its
    `c_type` and, where it is known, its `unit`; the schema's has the name of the `spec`.
    """

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._names: dict[tuple[int, str], str] = {}
        fields: dict[str, Any] = {"probe": pa.string()}
        meanings: dict[str, dict[str, set[str]]] = {}
        for event in decoder.events:
            for slot in event.slots:
                kind = arrow_type(slot.shape)
                kinds = {slot.key: kind}
                kinds |= {f"{slot.key}_truncated": pa.bool_()} if slot.cut is not None else {}
                kinds |= {f"{slot.key}_error": pa.string()} if slot.status is not None else {}
                for key, type_ in kinds.items():
                    name = key
                    if name in fields and fields[name] != type_:
                        name = f"{event.probe}.{key}"
                    fields[name] = type_
                    self._names[event.event.number, key] = name
                    for what, meaning in _meaning(slot.field).items() if key == slot.key else ():
                        meanings.setdefault(name, {}).setdefault(what, set()).add(meaning)
        # Where two probes share a column and mean different things by it, it says nothing of them.
        known = {n: {k: min(v) for k, v in kinds.items() if len(v) == 1 and min(v)} for n, kinds in meanings.items()}
        columns_of = [pa.field(n, kind, metadata=known.get(n) or None) for n, kind in fields.items()]
        self.schema = pa.schema(columns_of, metadata={"spec": decoder.description.name})

    def stream(self, sink: Any) -> Any:
        """A writer of Arrow's streaming format."""
        return pa.ipc.new_stream(sink, self.schema)

    def parquet(self, sink: Any) -> Any:
        from pyarrow import parquet

        return parquet.ParquetWriter(sink, self.schema)

    def record_batch(self, batch: Batch) -> Array:
        """The records as one RecordBatch, in their order."""
        found = groups(self._decoder, batch) if len(batch) else []
        if not found:
            return pa.RecordBatch.from_pylist([], self.schema)
        tables = [self._of_event(rows) for rows, _ in found]
        if len(tables) == 1:
            return tables[0]
        order = np.argsort(np.concatenate([where for _, where in found]), kind="stable")
        return pa.Table.from_batches(tables).take(pa.array(order)).combine_chunks().to_batches()[0]

    def _of_event(self, rows: Rows) -> Array:
        event = rows.event
        made: dict[str, Any] = {"probe": pa.repeat(pa.scalar(event.probe), rows.count)}
        for slot in event.slots:
            array = arrow_array(slot.shape, rows)
            missing = np.zeros(rows.count, bool)
            if slot.absent is not None:
                missing |= rows.raw(slot.absent[0], "Q") >> np.uint64(slot.absent[1]) & np.uint64(1) != 0
            if slot.status is not None:
                status = rows.raw(slot.status, "i")
                failed = (status != 0) & ~missing
                missing |= failed
                errors = [error_name(s) if f else None for s, f in zip(status.tolist(), failed.tolist(), strict=True)]
                made[self._names[event.event.number, f"{slot.key}_error"]] = pa.array(errors, pa.string())
            if slot.cut is not None:
                cut = (rows.raw(slot.cut[0], "I") > slot.cut[1]) & ~missing
                made[self._names[event.event.number, f"{slot.key}_truncated"]] = pa.array(cut, mask=~cut)
            if missing.any():
                array = array.take(pa.array(np.arange(rows.count), mask=missing))
            made[self._names[event.event.number, slot.key]] = array
        arrays = [made[f.name].cast(f.type) if f.name in made else pa.nulls(rows.count, f.type) for f in self.schema]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

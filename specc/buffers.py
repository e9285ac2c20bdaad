"""The buffers that events come through: a map's descriptor in, batches of records out.

    reader = open_buffer("ring", map_fd, 1 << 20)
    for batch in reader.poll(100):          # what is there, or comes within 100 ms
        writer.write(batch)                 # its memory is the kernel's again when the next one is asked for
    reader.close()

Records are looked at where the kernel wrote them. Reading from shared memory needs an order: the producer's position
is read before a record's header, the header before the record, and the consumer's position is written after all. x86
keeps loads in their order and stores after earlier loads (TSO; Intel SDM 3A 8.2.2), and CPython does them one by one
where the code says so: a memoryview of format I or Q loads and stores an item with one instruction. `struct` does not.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import mmap
import os
import select
import struct
import threading
import time
from collections.abc import Iterator
from typing import Final, Protocol

from specc.batch import Batch
from specc.diagnostics import stop

PAGE: Final = mmap.PAGESIZE

# linux/bpf.h: flags in a ring record's length.
_BUSY: Final = 1 << 31
_DISCARD: Final = 1 << 30
_HEADER: Final = 8

_MOST_BYTES: Final = 256 << 10  # of one batch: its room is the producer's again while the next one is being read
_FEW: Final = 8  # records in a row that make it worth to treat them as evenly spaced
_PAUSE_SECONDS: Final = 0.001
_LOOK_MS: Final = 8  # how long a lone event may wait in a perf buffer


class Reader(Protocol):
    """`lost` counts the events that a perf buffer says it had no room for; its programs count the same ones."""

    lost: int

    def poll(self, timeout_ms: int) -> Iterator[Batch]: ...

    def close(self) -> None: ...


class NoEvents:
    """The reader of programs that make no events: it lets the time pass."""

    lost = 0

    def poll(self, timeout_ms: int) -> Iterator[Batch]:
        time.sleep(timeout_ms / 1000)
        return iter(())

    def close(self) -> None: ...


def open_buffer(kind: str, map_fd: int, size: int) -> Reader:
    """A reader of a "ring" of `size` bytes, or of a "perf" buffer with `size` pages for each processor. Raises Stop."""
    try:
        return RingReader(map_fd, size) if kind == "ring" else PerfReader(map_fd, size)
    except (OSError, ValueError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)
        help_ = "it needs CAP_BPF, and a perf buffer CAP_PERFMON" if isinstance(problem, PermissionError) else None
        raise stop("SP464", f"the {kind} buffer of the events cannot be opened: {reason}", None, help=help_) from None


class _Pace:
    """When to look again.

    A producer wakes who waits only if everything before its event had been read. So a reader that sleeps a moment after
    each catch, instead of waiting at once, is woken once for each catch and not for each event; and one that found
    nothing waits in the kernel, where it costs nothing and is told of a lone event at once.
    """

    def __init__(self, descriptors: list[int], room: int) -> None:
        self._poll = select.poll()
        for descriptor in descriptors:
            self._poll.register(descriptor, select.POLLIN)
        self._enough = room // 4
        self.caught = 0

    def before(self, timeout_ms: int) -> None:
        if 0 < self.caught < self._enough and timeout_ms > 0:
            time.sleep(_PAUSE_SECONDS)
        self.caught = 0

    def wait(self, timeout_ms: int) -> None:
        self._poll.poll(timeout_ms)


class RingReader:
    """BPF_MAP_TYPE_RINGBUF: a page with the consumer's position, a page with the producer's, and the data twice in a
    row, so that no record is in two parts. A record is a header (u32 length and flags, u32 page) and its bytes, rounded
    up to 8."""

    def __init__(self, map_fd: int, size: int) -> None:
        if size < PAGE or size & size - 1:
            raise ValueError(f"a ring has a power of two of bytes, not {size}")
        self.lost = 0
        self._size = size
        self._consumer = mmap.mmap(map_fd, PAGE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._producer = mmap.mmap(map_fd, PAGE + 2 * size, mmap.MAP_SHARED, mmap.PROT_READ, offset=PAGE)
        self._consumed = memoryview(self._consumer)[:8].cast("Q")
        self._produced = memoryview(self._producer)[:8].cast("Q")
        self._data = memoryview(self._producer)[PAGE:]
        self._words = self._data.cast("I")
        self._pace = _Pace([map_fd], size)
        self._fence = threading.Lock()

    def poll(self, timeout_ms: int) -> Iterator[Batch]:
        """What is there; and when nothing is, what comes within the time. Records that come meanwhile wait for the
        next call, so that a busy buffer cannot keep its reader."""
        self._pace.before(timeout_ms)
        end = self._produced[0]
        if self._consumed[0] == end and timeout_ms:
            self._pace.wait(timeout_ms)
            end = self._produced[0]
        position = self._consumed[0]
        while position != end:
            batch, position = self._next(position, end)
            if batch is None:
                if position != self._consumed[0]:
                    self._advance(position)  # only discarded records
                    continue
                return  # the next record is still being written
            self._pace.caught += position - self._consumed[0]
            yield batch
            self._advance(position)

    def close(self) -> None:
        """Give the memory back. Where a caller keeps a record of it, it goes when that does."""
        for view in (self._consumed, self._produced, self._words, self._data, self._consumer, self._producer):
            with contextlib.suppress(BufferError):
                view.close() if isinstance(view, mmap.mmap) else view.release()

    def _advance(self, position: int) -> None:
        self._consumed[0] = position
        # The producer writes its position and then reads ours, to see whether to wake us; we write ours and then read
        # its. Without a full fence between (x86 may move a load before an earlier store) both could see the old one,
        # and an event would wait for the next. A lock's atomic exchange is one.
        with self._fence:
            pass

    def _next(self, position: int, end: int) -> tuple[Batch | None, int]:
        """Records from `position` on, and where they end. No batch when the first of them is busy or discarded."""
        start = position & self._size - 1
        words, first = self._words, start >> 2
        length = words[first]
        if length & _BUSY:
            return None, position
        if length & _DISCARD:
            return None, position + (((length & _DISCARD - 1) + 7) & ~7) + _HEADER
        step = ((length + 7) & ~7) + _HEADER
        limit = max(step, min(end - position, _MOST_BYTES, self._size // 8))
        number = limit // step
        if number > _FEW:
            # Look at the headers as if all records had one size: that is so when there is one probe.
            headers = words[first : first + number * step // 4 : step >> 2].tolist()
            same = headers.count(length)
            if same < number:
                same = next(i for i, h in enumerate(headers) if h != length)
            if same > _FEW:
                offsets = range(start + _HEADER, start + _HEADER + same * step, step)
                return Batch(self._data, offsets, length), position + same * step
        listed: list[int] = []
        lengths: list[int] = []
        at, last = start, start + min(limit, end - position)
        while at < last:
            length = words[at >> 2]
            if length & _BUSY:
                break
            if length & _DISCARD:
                length &= _DISCARD - 1
            else:
                listed.append(at + _HEADER)
                lengths.append(length)
            at += ((length + 7) & ~7) + _HEADER
        return Batch(self._data, listed, lengths), position + at - start


# --- perf buffers -----------------------------------------------------------------------------------------------------

# linux/perf_event.h
_ATTR: Final = struct.Struct("<IIQQQQQIIQ")
_PERF_TYPE_SOFTWARE: Final = 1
_PERF_COUNT_SW_BPF_OUTPUT: Final = 10
_PERF_SAMPLE_RAW: Final = 1 << 10
_WATERMARK: Final = 1 << 14  # wake the reader for so many bytes, not for each event
_PERF_FLAG_FD_CLOEXEC: Final = 1 << 3
_PERF_EVENT_IOC_ENABLE: Final = 0x2400
_PERF_RECORD_LOST: Final = 2
_PERF_RECORD_SAMPLE: Final = 9
_DATA_HEAD, _DATA_TAIL = 1024 // 8, 1032 // 8  # of struct perf_event_mmap_page, in u64
_RAW: Final = 12  # a sample: struct perf_event_header, u32 size, the bytes

# asm/unistd_64.h, linux/bpf.h
_SYS_PERF_EVENT_OPEN: Final = 298
_SYS_BPF: Final = 321
_BPF_MAP_UPDATE_ELEM: Final = 2


def _system_call(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    result = int(libc.syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def _online() -> list[int]:
    with open("/sys/devices/system/cpu/online", encoding="ascii") as file:
        parts = file.read().split(",")
    found: list[int] = []
    for part in parts:
        first, _, last = part.strip().partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


class _Processor:
    """The ring of one processor: a page of positions, and the data, once: a record may begin at its end."""

    def __init__(self, map_fd: int, number: int, pages: int) -> None:
        software = (_PERF_TYPE_SOFTWARE, _ATTR.size, _PERF_COUNT_SW_BPF_OUTPUT, 1, _PERF_SAMPLE_RAW, 0)
        attributes = ctypes.create_string_buffer(_ATTR.pack(*software, _WATERMARK, pages * PAGE // 4, 0, 0))
        self.fd = _system_call(
            _SYS_PERF_EVENT_OPEN,
            attributes,
            ctypes.c_int(-1),
            ctypes.c_int(number),
            ctypes.c_int(-1),
            ctypes.c_ulong(_PERF_FLAG_FD_CLOEXEC),
        )
        self.memory: mmap.mmap | None = None
        try:
            self.size = pages * PAGE
            self.memory = mmap.mmap(self.fd, PAGE + self.size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
            self.positions = memoryview(self.memory)[:PAGE].cast("Q")
            self.data = memoryview(self.memory)[PAGE:]
            _update(map_fd, number, self.fd)
            fcntl.ioctl(self.fd, _PERF_EVENT_IOC_ENABLE, 0)
        except BaseException:
            self.close()
            raise

    def take(self, end: int) -> bytearray:
        """A copy of what is there up to the position `end`, or of a part: the last record may be cut."""
        tail = self.positions[_DATA_TAIL]
        wanted = min(end - tail, _MOST_BYTES)
        start = tail & self.size - 1
        copied = bytearray(self.data[start : start + wanted])
        copied += self.data[: wanted - len(copied)]
        return copied

    def close(self) -> None:
        if self.memory is not None:
            self.positions.release()
            self.data.release()
            self.memory.close()
        os.close(self.fd)


def _update(map_fd: int, key: int, value: int) -> None:
    key_bytes, value_bytes = ctypes.c_uint32(key), ctypes.c_uint32(value)
    attributes = ctypes.create_string_buffer(
        struct.pack("<IIQQQ", map_fd, 0, ctypes.addressof(key_bytes), ctypes.addressof(value_bytes), 0)
    )
    _system_call(_SYS_BPF, ctypes.c_int(_BPF_MAP_UPDATE_ELEM), attributes, ctypes.c_uint(32))


class PerfReader:
    """BPF_MAP_TYPE_PERF_EVENT_ARRAY: a ring for each processor that is online. The events of one processor are in
    their order; those of different processors are not."""

    def __init__(self, map_fd: int, pages: int) -> None:
        if pages < 1 or pages & pages - 1:
            raise ValueError(f"a perf buffer has a power of two of pages, not {pages}")
        self.lost = 0
        self._processors: list[_Processor] = []
        try:
            for number in _online():
                self._processors.append(_Processor(map_fd, number, pages))
        except BaseException:
            self.close()
            raise
        self._pace = _Pace([p.fd for p in self._processors], pages * PAGE)

    def poll(self, timeout_ms: int) -> Iterator[Batch]:
        self._pace.before(timeout_ms)
        # A perf buffer cannot tell whether its reader has caught up, and waking it for each event would cost the probed
        # program several times the event itself. So it wakes for a quarter of the buffer, and is looked at now and then.
        deadline = time.monotonic() + timeout_ms / 1000
        while self._empty() and (left := deadline - time.monotonic()) > 0:
            self._pace.wait(min(_LOOK_MS, max(1, round(left * 1000))))
        for processor in self._processors:
            end = processor.positions[_DATA_HEAD]
            while processor.positions[_DATA_TAIL] != end:
                batch, used = self._records(processor.take(end))
                # It is a copy, so its room can be given back at once.
                processor.positions[_DATA_TAIL] += used
                self._pace.caught += used
                if len(batch):
                    yield batch

    def close(self) -> None:
        for processor in self._processors:
            processor.close()
        self._processors.clear()

    def _empty(self) -> bool:
        return all(p.positions[_DATA_HEAD] == p.positions[_DATA_TAIL] for p in self._processors)

    def _records(self, copied: bytearray) -> tuple[Batch, int]:
        """The samples among the records that were copied, and how many bytes the whole records have."""
        there = len(copied)
        data = memoryview(copied + bytes(_RAW))  # a batch's memory goes on for a whole step after its last record
        at = 0
        offsets: list[int] = []
        lengths: list[int] = []
        kind, _, size = struct.unpack_from("<IHH", data)
        if kind == _PERF_RECORD_SAMPLE:
            # As if all were samples of one size: that is so when there is one probe and nothing was lost.
            number = there // size
            headers = data[: number * size].cast("Q")[:: size >> 3].tolist()
            if headers.count(headers[0]) == number:
                (raw,) = struct.unpack_from("<I", data, _HEADER)
                return Batch(data, range(_RAW, _RAW + number * size, size), raw & ~7), number * size
        while at + _HEADER <= there:
            kind, _, size = struct.unpack_from("<IHH", data, at)
            if at + size > there:
                break
            if kind == _PERF_RECORD_SAMPLE:
                (raw,) = struct.unpack_from("<I", data, at + _HEADER)
                # The kernel fills a sample up to a multiple of 8 with its 4 bytes of size; events are multiples of 8.
                offsets.append(at + _RAW)
                lengths.append(raw & ~7)
            elif kind == _PERF_RECORD_LOST:
                self.lost += int(struct.unpack_from("<QQ", data, at + _HEADER)[1])
            at += size
        return Batch(data, offsets, lengths), at

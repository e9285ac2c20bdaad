"""Reading buffers: the kernel's own, filled by a program, and rings made by hand for what a kernel shows only for moments."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Callable, Iterator

import pytest
from event_source import EVENT, event_source

from specc.batch import Batch, batch_of
from specc.buffers import PAGE, Reader, RingReader, open_buffer
from specc.diagnostics import Stop

PAGES = 16


def expected(number: int, mixed: bool) -> tuple[int, ...]:
    longer = mixed and number % 5 == 4
    tail = (number, number, number) if longer else ()
    return (int(longer), number & 0xFFFFFFFF, number, 1, 2, 3, 4, 5, *tail)


def unpacked(record: memoryview) -> tuple[int, ...]:
    first = struct.unpack_from("<II8xQQQQQQ", record)
    return (*first, *struct.unpack_from("<QQQ", record, EVENT)) if len(record) > EVENT else first


def drain(reader: Reader, timeout_ms: int = 0) -> list[bytes]:
    return [bytes(record) for batch in reader.poll(timeout_ms) for record in batch]


@pytest.fixture(params=["ring", "perf"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[False, True], ids=["equal", "mixed"])
def mixed(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def one_processor() -> None:
    """Events of one processor keep their order in a perf buffer."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


@pytest.fixture
def pinned() -> Iterator[None]:
    before = os.sched_getaffinity(0)
    one_processor()
    yield
    os.sched_setaffinity(0, before)


def test_every_record_comes_once_and_whole(kind: str, mixed: bool, pinned: None) -> None:
    """Many times around a small buffer, with records that begin at its end."""
    with event_source(kind, size=PAGES * PAGE, mixed=mixed) as source:
        reader = open_buffer(kind, source.events, PAGES * PAGE if kind == "ring" else PAGES)
        seen = 0
        assert drain(reader) == []
        for runs in [1, 2, 7, 100, 3, 555, 13, 600] * 12:
            source.fill(runs)
            got = drain(reader)
            assert [unpacked(memoryview(r)) for r in got] == [expected(seen + i, mixed) for i in range(runs)]
            seen += runs
        assert drain(reader, 1) == []
        assert source.tally() == (seen, 0)
        assert reader.lost == 0
        reader.close()


def test_what_was_lost_is_counted_exactly(kind: str, mixed: bool, pinned: None) -> None:
    with event_source(kind, size=PAGES * PAGE, mixed=mixed) as source:
        reader = open_buffer(kind, source.events, PAGES * PAGE if kind == "ring" else PAGES)
        received = 0
        for _ in range(5):
            source.fill(3000)  # about three times what there is room for
            received += len(drain(reader))
        source.fill(1)  # a perf buffer tells of losses before its next record
        received += len(drain(reader))
        made, lost = source.tally()
        assert made == 15001
        assert received + lost == made
        assert lost > 1000
        assert reader.lost == (lost if kind == "perf" else 0)
        reader.close()


def test_reading_while_it_is_written(kind: str, mixed: bool) -> None:
    with event_source(kind, size=PAGES * PAGE, mixed=mixed) as source:
        reader = open_buffer(kind, source.events, PAGES * PAGE if kind == "ring" else PAGES)
        child = os.fork()
        if child == 0:
            one_processor()
            for _ in range(20):
                source.fill(10_000)
            os._exit(0)
        numbers: list[int] = []
        running = True
        while running:
            running = os.waitpid(child, os.WNOHANG) == (0, 0)
            for batch in reader.poll(20):
                for record in batch:
                    row = unpacked(record)
                    assert row == expected(row[2], mixed)
                    numbers.append(row[2])
        numbers += [unpacked(memoryview(r))[2] for r in drain(reader)]
        made, lost = source.tally()
        assert made == 200_000
        assert len(numbers) + lost == made
        assert numbers == sorted(set(numbers))
        reader.close()


def test_poll_waits_for_a_lone_event(kind: str) -> None:
    with event_source(kind, size=PAGES * PAGE) as source:
        reader = open_buffer(kind, source.events, PAGES * PAGE if kind == "ring" else PAGES)
        for _ in range(3):
            child = os.fork()
            if child == 0:
                os.sched_yield()
                source.fill(1)
                os._exit(0)
            got: list[bytes] = []
            for _ in range(100):
                got += drain(reader, 100)
                if got:
                    break
            assert len(got) == 1
            os.waitpid(child, 0)
        reader.close()


def test_a_record_may_outlive_its_reader(kind: str) -> None:
    with event_source(kind, size=PAGES * PAGE) as source:
        reader = open_buffer(kind, source.events, PAGES * PAGE if kind == "ring" else PAGES)
        source.fill(3)
        [batch] = reader.poll(0)
        kept = batch[1]
        reader.close()
        assert unpacked(kept) == expected(1, False)


# --- a ring made by hand ----------------------------------------------------------------------------------------------


class Ring:
    """The kernel's side of a ring of one page."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("ring")
        os.ftruncate(self.fd, 2 * PAGE + 2 * PAGE)
        self.memory = mmap.mmap(self.fd, 4 * PAGE)
        self.position = 0

    @property
    def consumed(self) -> int:
        (value,) = struct.unpack_from("<Q", self.memory)
        return int(value)

    def write(self, payload: bytes, flags: int = 0) -> int:
        """A record; where its header is."""
        at = self.position % PAGE
        raw = struct.pack("<II", len(payload) | flags, 0) + payload
        raw = raw.ljust(-(-len(raw) // 8) * 8, b"\0")
        for i, byte in enumerate(raw):
            for copy in ((at + i) % PAGE, (at + i) % PAGE + PAGE):
                self.memory[2 * PAGE + copy] = byte
        self.position += len(raw)
        struct.pack_into("<Q", self.memory, PAGE, self.position)
        return at

    def finish(self, at: int, flags: int = 0) -> None:
        for copy in (at, at + PAGE):
            (length,) = struct.unpack_from("<I", self.memory, 2 * PAGE + copy)
            struct.pack_into("<I", self.memory, 2 * PAGE + copy, length & 0x3FFFFFFF | flags)


BUSY, DISCARD = 1 << 31, 1 << 30


@pytest.fixture
def ring() -> Iterator[Ring]:
    made = Ring()
    yield made
    made.memory.close()
    os.close(made.fd)


def test_a_busy_record_holds_back_what_follows(ring: Ring) -> None:
    reader = RingReader(ring.fd, PAGE)
    ring.write(b"a" * 8)
    busy = ring.write(b"b" * 8, BUSY)
    ring.write(b"c" * 8)
    assert drain(reader) == [b"a" * 8]
    assert drain(reader) == []
    assert ring.consumed == 16
    ring.finish(busy)
    assert drain(reader) == [b"b" * 8, b"c" * 8]
    assert ring.consumed == ring.position == 48
    reader.close()


def test_many_equal_records_with_a_busy_one_among_them(ring: Ring) -> None:
    reader = RingReader(ring.fd, PAGE)
    places = [ring.write(bytes([i]) * 24, BUSY if i == 20 else 0) for i in range(40)]
    assert drain(reader) == [bytes([i]) * 24 for i in range(20)]
    ring.finish(places[20], DISCARD)
    assert drain(reader) == [bytes([i]) * 24 for i in range(21, 40)]
    assert ring.consumed == ring.position
    reader.close()


def test_only_discarded_records(ring: Ring) -> None:
    reader = RingReader(ring.fd, PAGE)
    for _ in range(1000):
        ring.write(b"x" * 17, DISCARD)
        assert drain(reader) == []
        assert ring.consumed == ring.position
    reader.close()


def test_lengths_that_are_no_multiple_of_8(ring: Ring) -> None:
    reader = RingReader(ring.fd, PAGE)
    for length in [*range(1, 40), 1, 700, 3]:
        payload = bytes(i & 0xFF for i in range(length))
        ring.write(payload)
        ring.write(payload)
        assert drain(reader) == [payload, payload]
    reader.close()


def test_room_is_given_back_batch_by_batch(ring: Ring) -> None:
    reader = RingReader(ring.fd, PAGE)
    for i in range(50):
        ring.write(bytes([i]) * 64)
    before = []
    for batch in reader.poll(0):
        before.append(ring.consumed)
        assert len(batch) * 72 < PAGE // 8 + 72
    assert before == sorted(set(before))
    assert before[0] == 0
    assert ring.consumed == ring.position
    reader.close()


def test_who_stops_in_the_middle_sees_the_rest_later(ring: Ring) -> None:
    reader = RingReader(ring.fd, PAGE)
    for i in range(50):
        ring.write(bytes([i]) * 64)
    polled = reader.poll(0)
    first = [bytes(r) for r in next(polled)]
    second = [bytes(r) for r in next(polled)]
    polled.close()  # the second was not finished with: it comes again
    assert first + drain(reader) == [bytes([i]) * 64 for i in range(50)]
    assert second[0] == bytes([len(first)]) * 64
    reader.close()


# --- what cannot be opened, and batches -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda fd: open_buffer("ring", fd, 5000), "a ring has a power of two of bytes, not 5000"),
        (lambda fd: open_buffer("perf", fd, 3), "a perf buffer has a power of two of pages, not 3"),
        (lambda fd: open_buffer("ring", -1, PAGE), "the ring buffer of the events cannot be opened: "),
        (lambda fd: open_buffer("ring", fd, PAGE), "the ring buffer of the events cannot be opened: "),
        (lambda fd: open_buffer("perf", fd, 1), "the perf buffer of the events cannot be opened: "),
    ],
)
def test_what_cannot_be_opened(make: Callable[[int], Reader], reason: str) -> None:
    reads, writes = os.pipe()
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(Stop, match=reason) as caught:
        make(reads)
    assert caught.value.diagnostic.code == "SP464"
    assert len(os.listdir("/proc/self/fd")) == before
    os.close(reads)
    os.close(writes)


def test_batches_are_sequences() -> None:
    data = memoryview(bytes(range(40)))
    even = Batch(data, range(8, 40, 8), 4)
    odd = Batch(data, [0, 5, 6], [5, 1, 2])
    assert [bytes(r) for r in even] == [bytes(range(i, i + 4)) for i in (8, 16, 24, 32)]
    assert [bytes(r) for r in odd] == [bytes(range(5)), b"\5", b"\6\7"]
    assert [bytes(r) for r in odd[1:]] == [b"\5", b"\6\7"]
    assert [bytes(r) for r in even[:2]] == [bytes(even[0]), bytes(even[1])]
    assert (len(even), len(odd), len(even[9:]), bytes(odd[-1])) == (4, 3, 0, b"\6\7")
    assert isinstance(even[:2].offsets, range)
    assert not even[4:]


def test_batch_of_records_from_anywhere() -> None:
    records = [b"ab", b"cd", b"ef"]
    assert [bytes(r) for r in batch_of(records)] == records
    assert batch_of(records).offsets == range(0, 6, 2)
    assert [bytes(r) for r in batch_of([b"ab", b"c", b""])] == [b"ab", b"c", b""]
    assert list(batch_of([])) == []

"""Objects that the kernel refuses: the verifier's words, at the place of the probe."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from random import Random

import pytest
from command import specc

from specc.build import compile_object
from specc.compiler.find import find_compiler
from specc.describe.reader import description_of
from specc.diagnostics import Location, Report
from specc.elf import read_elf
from specc.libbpf import LibbpfError, Library
from specc.pipeline import emit_all, front, session
from specc.run.load import Options, Refused
from specc.run.open import open_session

from .build import live

SPEC = """specc: 1
name: bad
fields: []
probes:
  - uprobe: {path: libc.so.6, symbol: malloc}
    prototype: "void *malloc(unsigned long size)"
"""


def broken(folder: Path, old: str, new: str) -> bytes:
    (folder / "bad.yaml").write_text(SPEC)
    report = Report()
    program = front(folder / "bad.yaml", session(None), report)
    assert program is not None, report.diagnostics
    text = emit_all(program).c_text
    assert old in text
    return compile_object(text.replace(old, new), "bad", find_compiler())


@live
def test_the_verifiers_no_is_at_the_probe(tmp_path: Path) -> None:
    data = broken(tmp_path, "e->size = ctx->di;", "e->size = *(__u64 *)ctx->di;")
    where = Location("bad.yaml", 5, 13)
    report = Report()
    with pytest.raises(Refused):
        open_session(data, description_of(data), Options(where={"malloc": where}.get), report)
    [found] = report.diagnostics
    assert (found.code, found.where) == ("SP430", where)
    assert "rejects the program of `malloc`" in found.message and "invalid mem access" in found.message
    everything = Report()
    with pytest.raises(Refused):
        open_session(data, description_of(data), Options(verbose=True), everything)
    # Addresses of maps differ from load to load.
    assert everything.diagnostics[0].notes[-1].startswith("processed ")
    assert len(everything.diagnostics[0].notes) > len(found.notes)
    assert any("ctx->di" in note for note in found.notes), "the log names the line of the C text"


@live
def test_libbpfs_own_words(tmp_path: Path) -> None:
    with Library() as library:
        with pytest.raises(LibbpfError) as caught:
            library.open(b"\x7fELF" + bytes(100), "nothing")
        assert "libbpf: " in caught.value.log and caught.value.errno > 0
        data = broken(tmp_path, "e->size = ctx->di;", "e->size = *(__u64 *)ctx->di;")
        with library.open(data, "bad") as thing, pytest.raises(LibbpfError) as caught:
            thing.load()
    assert (caught.value.operation, "BEGIN PROG LOAD LOG" in caught.value.log) == ("bpf_object__load", True)


@live
def test_types_that_are_damaged_do_not_end_the_process(tmp_path: Path) -> None:
    """libbpf 1.1 follows a reference to a type that is not there, and crashes."""
    elf = read_elf(data := broken(tmp_path, "e->size", "e->size"))
    section = elf.find(".BTF")
    assert section is not None
    random = Random(os.environ["SPECC_SEED"])
    refused = 0
    for number in range(300):
        damaged = bytearray(data)
        for _ in range(random.choice((1, 1, 2, 4))):
            at = section.offset + random.randrange(section.size)
            damaged[at] = random.choice((0, 255, random.randrange(256), damaged[at] ^ 1))
        child = os.fork()
        if child == 0:  # what crashes is this process
            code = 9
            with contextlib.suppress(BaseException):
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
                report = Report()
                try:
                    open_session(bytes(damaged), description_of(data), Options(), report).close()
                    code = 0
                except Refused:
                    code = 1 if report.failed else 2  # what of the description it contradicts, others see
            os._exit(code)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in (0, 1), (number, status)
        refused += status
    assert refused > 30


@live
def test_a_type_that_is_not_there(tmp_path: Path) -> None:
    data = bytearray(broken(tmp_path, "e->size", "e->size"))
    section = read_elf(bytes(data)).find(".BTF")
    assert section is not None
    pointer = section.offset + 24 + 8  # of the first type, behind the header: what it points to
    assert data[pointer - 1] & 0x1F == 2
    data[pointer : pointer + 4] = (2752523).to_bytes(4, "little")
    (tmp_path / "bad.bpf.o").write_bytes(data)
    done = specc("run", "bad.bpf.o", "--output-format", "concise", cwd=tmp_path)
    assert (done.code, done.out) == (1, "")
    assert re.fullmatch(
        r"SP461 the object `bad` is damaged: the BTF of `bad` is damaged: type 1 refers to type 2752523, "
        r"and there are only \d+ \(build it again with this specc\)\n", done.err,
    )  # fmt: skip

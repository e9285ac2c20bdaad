"""Objects that the kernel refuses: the verifier's words, at the place of the probe."""

from __future__ import annotations

from pathlib import Path

import pytest

from specc.build import compile_object
from specc.compiler.find import find_compiler
from specc.describe.reader import description_of
from specc.diagnostics import Location, Report
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

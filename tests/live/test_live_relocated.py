"""Fields behind pointers in a kernel whose records are laid out otherwise than where the spec was compiled.

The kernel is made up: random records, compiled by clang to BTF in one order for specc and in another for libbpf, which
relocates the object by it. The emitted program runs as it is, over objects of the second order that lie in a map, at the
addresses that they have in the real kernel; what is at the end of each path is told by C.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import re
import struct
import subprocess
from pathlib import Path

import pytest
from btf_compiled import clang, compile_btf

from specc.build import compile_object
from specc.compiler.find import find_compiler
from specc.describe.reader import description_of
from specc.diagnostics import Report, Sources, render
from specc.events import Decoder
from specc.libbpf import Library, Object
from specc.libbpf.interface import OpenOptions
from specc.pipeline import Session, emit_all, front

from .build import compile_c, live
from .nests import RUNTIME, Nest
from .test_live_fields import PATHS, group, same

SEED = int(os.environ["SPECC_SEED"])
ARENA = 1 << 20
ROOM = 1 << 13
OTHER_TYPE = "EOVERFLOW"

pytestmark = [live, pytest.mark.skipif(clang() is None, reason="no clang with a BPF target")]

MOVED = """
static unsigned long long base;
#define AT(x) ((void *)(base + ((char *)(x) - (char *)&arena)))
#define SHOWN(x) ((x) ? (unsigned long)(x) - (unsigned long)&arena + kernel : 0)
static unsigned long kernel;
"""


class Relocated(Object):
    """An object that libbpf relocates by the BTF in a file."""

    def __init__(self, library: Library, data: bytes, btf: Path) -> None:
        self._calls = library.calls
        self._data = ctypes.create_string_buffer(data, len(data))
        options = OpenOptions(sz=ctypes.sizeof(OpenOptions), object_name=b"nest", btf_custom_path=str(btf).encode())
        self._pointer = self._calls.check("bpf_object__open_mem", self._data, len(data), ctypes.byref(options))


def run(program: int) -> None:
    """BPF_PROG_TEST_RUN of a raw tracepoint's program."""
    attributes = ctypes.create_string_buffer(struct.pack("<I76x", program))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.syscall(321, 10, attributes, len(attributes) - 1) == 0, os.strerror(ctypes.get_errno())


def harness(text: str, probes: int, offsets: list[int]) -> str:
    """The emitted C, its programs called with the address of an object, and its events left in a map."""
    text = re.sub(r'SEC\("fentry/f\d+"\)\nint (\w+)\(', r"static __always_inline int \1(", text)
    text = text.replace("e = bpf_ringbuf_reserve(&nest_events, sizeof(*e), 0);", "e = (void *)result;")
    text = text.replace("bpf_ringbuf_submit(e, 0);", "")
    arena = f'char arena[{ARENA}] SEC(".data.arena") = {{1}}; char result[{ROOM}] SEC(".data.result") = {{1}};\n'
    text = text.replace(
        "struct nest_p0_event {", f'{arena}__u64 address SEC(".data.where") = 1;\nstruct nest_p0_event {{', 1
    )
    runs = "".join(
        f'SEC("raw_tracepoint/r{n}") int run{n}(void *ctx)\n{{\n\t__u64 words[13] = {{(__u64)arena + {offsets[n]}}};\n'
        f"\treturn nest_p{n}(words);\n}}\n"
        for n in range(probes)
    )
    return f'{text}SEC("raw_tracepoint/w") int where(void *ctx)\n{{\n\taddress = (__u64)arena;\n\treturn 0;\n}}\n{runs}'


@pytest.mark.parametrize("compiler", ["clang", "zig"])
@pytest.mark.parametrize("changes", [False, True])
def test_moved_members(compiler: str, changes: bool, tmp_path: Path) -> None:
    rng = random.Random(f"{SEED} {compiler} {changes}")
    nest = Nest(rng, records=12, packed=False)
    paths = nest.paths(PATHS)
    groups = group(paths)
    changed: dict[str, str] = {}
    while changes and not any(p.last.name in changed for p in paths if not p.tests):
        changed = nest.changed(rng)  # until one is at an end that no pointer leads away from
    seed = rng.random()
    declared = "".join(f"int f{n}(struct s{root} *o);\n" for n, (root, _) in enumerate(groups))
    declared += "".join(f"struct s{i} whole{i};\n" for i in range(len(nest.records)))
    parameters = {f"f{n}": ["o"] for n in range(len(groups))}
    here, there = nest.declarations(), nest.declarations(random.Random(seed), changed)
    for name, records in (("here", here), ("there", there)):
        (tmp_path / f"{name}.btf").write_bytes(compile_btf(records + declared, parameters, 0))

    lines = ["specc: 1", "name: nest", "fields: []", "probes:"]
    for n, (_, members) in enumerate(groups):
        lines += [
            f"  - name: p{n}",
            f"    fentry: f{n}",
            "    args:",
            *(f"      - {p.spec(f'v{i}')}" for i, p in members),
        ]
    (tmp_path / "nest.yaml").write_text("\n".join(lines) + "\n")
    report = Report()
    targets = [tmp_path / "here.btf"] if changes else [tmp_path / "here.btf", tmp_path / "there.btf"]
    program = front(tmp_path / "nest.yaml", Session(find_compiler, btf_files=tuple(targets)), report)
    assert program is not None, render(report.diagnostics, "full", Sources())

    tells = "".join(
        f"static void tell{n}(struct s{root} *o)\n{{\n{''.join(p.tells(i) for i, p in members)}}}\n"
        for n, (root, members) in enumerate(groups)
    )
    calls = "".join(f"\ttell{n}(&o{root}[{n % 2}]);\n" for n, (root, _) in enumerate(groups))
    places = "".join(
        f'\tprintf("%ld\\n", (long)((char *)&o{root}[{n % 2}] - (char *)&arena));\n'
        for n, (root, _) in enumerate(groups)
    )
    main = (
        f'{MOVED}{RUNTIME}#include "nest.h"\n{nest.fill()}{tells}int main(int n, char **v)\n{{\n'
        "\tif (n == 1) {\n" + places + "\treturn 0;\n\t}\n"
        "\tkernel = strtoul(v[2], 0, 10); base = (unsigned long)&arena; state = atoll(v[1]);\n\tfill_all();\n"
        + calls
        + "\tbase = kernel; state = atoll(v[1]);\n\tfill_all();\n"
        '\tFILE *out = fopen(v[3], "w"); fwrite(&arena, sizeof(arena), 1, out);\n\treturn fclose(out);\n}\n'
    )
    (tmp_path / "nest.h").write_text(there)
    host = compile_c(tmp_path / "program", main, flags=("-O1", f"-I{tmp_path}"), compiler=str(clang()))
    offsets = [int(w) for w in subprocess.run([host], check=True, capture_output=True, text=True).stdout.split()]

    made = compile_object(harness(emit_all(program).c_text, len(groups), offsets), "nest", find_compiler(compiler))
    decoder = Decoder(description_of(made))
    got: dict[int, object] = {}
    failed: dict[int, str] = {}
    with Library() as library, Relocated(library, made, tmp_path / "there.btf") as loaded:
        loaded.load()
        maps = {name.partition(".")[2]: fd for name, fd in loaded.maps.items() if "data." in name}
        run(loaded.programs["where"])
        address = int.from_bytes(library.lookup(maps["data.where"], 0, 8), "little")
        told = subprocess.run(
            [host, str(SEED), str(address), tmp_path / "bytes"], check=True, capture_output=True, text=True
        ).stdout
        objects = (tmp_path / "bytes").read_bytes()
        assert len(objects) <= ARENA
        library.update(maps["data.arena"], 0, objects.ljust(ARENA, b"\0"))
        for n, (_, members) in enumerate(groups):
            run(loaded.programs[f"run{n}"])
            event = decoder.decode(library.lookup(maps["data.result"], 0, ROOM)[: program.probes[n].event.size])
            assert event["probe"] == f"p{n}"
            for i, _ in members:
                got[i] = event[f"v{i}"]
                if (why := event.get(f"v{i}_error")) is not None:
                    failed[i] = str(why)
    wanted = dict(json.loads(line) for line in told.splitlines())
    assert len(wanted) == PATHS
    refused = {i for i, p in enumerate(paths) if p.last.name in changed and wanted[i] is not None}
    wrong = [
        f"{paths[i].text} of {paths[i].last}: {got[i]!r} {failed.get(i)}, not {wanted[i]!r}"
        for i in wanted
        if not (failed.get(i) == OTHER_TYPE if i in refused else same(got[i], wanted[i]))
    ]
    assert wrong == [], f"seed {SEED}"
    assert sum(v is not None for v in wanted.values()) > PATHS // 3
    assert bool(refused) == changes

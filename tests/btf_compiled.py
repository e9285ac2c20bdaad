"""C declarations to BTF, by clang, which lays the types out; the names of parameters are put in afterwards.

In: C text with declarations of functions, the parameters' names.  Out: BTF as pahole makes it. Shares no code with specc.

    compile_btf("int f(int a, struct s b);", {"f": ["a", "b"]}, prefix_length=0)

clang makes BTF for its BPF target alone, where functions may have five arguments: but a declaration of a function whose
address is taken may have any.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

_INT, _ARRAY, _STRUCT, _UNION, _ENUM, _TYPEDEF, _FUNC, _PROTO, _VAR, _DATASEC, _TAG, _ENUM64 = (
    1, 3, 4, 5, 6, 8, 12, 13, 14, 15, 17, 19,
)  # fmt: skip
_NAMED: Final = (_STRUCT, _UNION, _ENUM, _TYPEDEF, _FUNC, _ENUM64)


def clang() -> str | None:
    """A clang with the BPF target."""
    found = shutil.which("clang")
    if found is None:
        return None
    done = subprocess.run([found, "--print-targets"], capture_output=True, text=True, check=False)
    return found if " bpf " in done.stdout else None


def compile_btf(text: str, parameters: Mapping[str, Sequence[str]], prefix_length: int) -> bytes:
    """`prefix_length` characters are cut from the name of each type and function, so that many may have one name."""
    uses = "".join(f"void *use_{name}(void) {{ return (void *)&{name}; }}\n" for name in parameters)
    with tempfile.TemporaryDirectory(prefix="btf-") as folder:
        source, made = Path(folder) / "x.c", Path(folder) / "x.o"
        source.write_text(text + uses)
        command = [str(clang()), "-target", "bpf", "-O1", "-g", "-w", "-std=gnu11", "-c", str(source), "-o", str(made)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return _named(_section(made.read_bytes(), b".BTF"), parameters, prefix_length)


def _section(elf: bytes, wanted: bytes) -> bytes:
    """Of a little-endian 64-bit ELF file (gABI, "Sections")."""
    (table,) = struct.unpack_from("<Q", elf, 0x28)
    size, count, names = struct.unpack_from("<HHH", elf, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", elf, table + size * i) for i in range(count)]
    strings = headers[names][4]
    for name, _, _, _, offset, length in headers:
        if elf[strings + name :].split(b"\0", 1)[0] == wanted:
            return elf[offset : offset + length]
    raise AssertionError(f"no section {wanted!r}")


def _rest(kind: int, count: int) -> int:
    """Bytes after a type's first three words (the kernel's Documentation/bpf/btf.rst)."""
    return {
        _INT: 4, _ARRAY: 12, _STRUCT: 12 * count, _UNION: 12 * count, _ENUM: 8 * count, _PROTO: 8 * count, _VAR: 4,
        _DATASEC: 12 * count, _TAG: 4, _ENUM64: 12 * count,
    }.get(kind, 0)  # fmt: skip


def _named(btf: bytes, parameters: Mapping[str, Sequence[str]], prefix_length: int) -> bytes:
    head = struct.unpack_from("<HBBIIIII", btf)
    start = head[3]
    types = bytearray(btf[start + head[4] : start + head[4] + head[5]])
    strings = bytearray(btf[start + head[6] : start + head[6] + head[7]])
    places: list[tuple[int, int, int]] = [(0, 0, 0)]  # of each type: where it is, its kind, its count
    at = 0
    while at < len(types):
        (info,) = struct.unpack_from("<I", types, at + 4)
        kind, count = info >> 24 & 0x1F, info & 0xFFFF
        places.append((at, kind, count))
        at += 12 + _rest(kind, count)
    # What clang counts arrays with has 4 bytes on BPF; a kernel's has 8 (clang) or is not there (gcc).
    strings = strings.replace(
        b"\0__ARRAY_SIZE_TYPE__\0", b"\0unsigned int\0".ljust(len("__ARRAY_SIZE_TYPE__") + 2, b"\0")
    )
    for at, kind, _ in places[1:]:
        (name,) = struct.unpack_from("<I", types, at)
        spelled = strings[name : strings.index(0, name)].decode()
        if kind not in _NAMED or not name or spelled in ("page", "file") or spelled.startswith("use_"):
            continue
        struct.pack_into("<I", types, at, name + prefix_length)
        if kind == _FUNC and spelled in parameters:
            (proto,) = struct.unpack_from("<I", types, at + 8)
            inner, _, count = places[proto]
            assert count == len(parameters[spelled]), spelled
            for i, parameter in enumerate(parameters[spelled]):
                struct.pack_into("<I", types, inner + 12 + 8 * i, len(strings))
                strings += parameter.encode() + b"\0"
    header = struct.pack("<HBBIIIII", *head[:3], 24, 0, len(types), len(types), len(strings))
    return header + bytes(types) + bytes(strings)

"""The BPF functions of an object: how many instructions each has, and how deep it goes into its 512 bytes of stack.

functions(Path("gup.bpf.o").read_bytes())      # [Function("gup_gup", "kprobe/__get_user_pages", 74, 24), ...]

Instructions are counted as the kernel does (BPF_MAXINSNS): a load of 64 bits is two.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

from elftools.elf.elffile import ELFFile

_INSTRUCTION = struct.Struct("<BBhi")  # opcode, dst and src registers, offset, immediate (linux/bpf.h)
_LDX, _ST, _STX, _ALU64 = 1, 2, 3, 7  # BPF_CLASS()
_MOV_REGISTER, _ADD_NUMBER = 0xBF, 0x07  # BPF_ALU64 | BPF_MOV | BPF_X, BPF_ALU64 | BPF_ADD | BPF_K
_FRAME = 10


@dataclass(frozen=True, slots=True)
class Function:
    """`section` is what it is attached to; of functions that programs call, ".text"."""

    name: str
    section: str
    instructions: int
    stack: int


def functions(data: bytes) -> list[Function]:
    """In the order of the file."""
    elf = ELFFile(io.BytesIO(data))
    found: list[tuple[int, int, Function]] = []
    for symbol in elf.get_section_by_name(".symtab").iter_symbols():
        if symbol["st_info"]["type"] == "STT_FUNC":
            section, start = elf.get_section(symbol["st_shndx"]), symbol["st_value"]
            code = section.data()[start : start + symbol["st_size"]]
            function = Function(symbol.name, section.name, len(code) // 8, stack_of(code))
            found.append((symbol["st_shndx"], start, function))
    return [function for _, _, function in sorted(found, key=lambda f: f[:2])]


def stack_of(code: bytes) -> int:
    """How far below the frame pointer (r10) an instruction reads or writes, or an address begins that is made from it."""
    lowest = 0
    frames = {_FRAME}  # registers that are r10 as it is
    for opcode, registers, offset, number in _INSTRUCTION.iter_unpack(code):
        destination, source = registers & 15, registers >> 4
        kind = opcode & 7
        if (kind == _LDX and source in frames) or (kind in (_ST, _STX) and destination in frames):
            lowest = min(lowest, offset)
        if opcode == _MOV_REGISTER and source in frames:
            frames.add(destination)
        elif opcode == _ADD_NUMBER and destination in frames - {_FRAME}:
            lowest = min(lowest, number)
            frames.discard(destination)
        elif kind in (0, _LDX, 4, _ALU64):
            frames -= {destination} - {_FRAME}
    return -lowest

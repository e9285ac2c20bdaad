"""BTF out of what people have: kernel images, packages, archives, modules, compressed or not.

In: the bytes of a file.  Out: `Found`, the raw BTF in it and what tells where it is from; else a Stop.

    found = extract(data, "linux-image-6.1.0-44-cloud-amd64.deb")
    found.what               # "Debian package, kernel image (bzImage, xz)"
    found.release            # "6.1.0-44-cloud-amd64"
    extract(data, "linux-image.deb", "ext4")         # the BTF of a module in it

A file is peeled: a package has an archive, the archive a kernel image, the image a compressed ELF file, which has the
BTF. Each layer is told by its bytes, never by the file's name.
"""

from __future__ import annotations

import re
from typing import Final

from specc.btf import archive, unpack
from specc.btf.unpack import Stream
from specc.diagnostics import did_you_mean, stop
from specc.noun import dataclass, replace

_RAW: Final = b"\x9f\xeb"
_ELF: Final = b"\x7fELF"
_HEAD: Final = 0x206  # bytes that tell what a file is: a boot image has its mark at 0x202
_DEEPEST: Final = 4  # layers of compression and archives around each other
# What is worth looking into in an archive: a kernel image as distributions name it, or raw BTF as archives of it do.
_KERNEL: Final = re.compile(r"(?:^|/)(?:vmlinu[xz](?:-[^/]+)?|bzImage(?:-[^/]+)?|[^/]+\.btf)$")
_MODULE: Final = re.compile(r"(?:^|/)([^/]+)\.ko(?:\.(?:xz|zst|gz))?$")
_BANNER: Final = re.compile(rb"Linux version ((\d+\.\d+[^ \0\n]{0,100})[^\0\n]{0,400})\n")
_RELEASE: Final = re.compile(r"\d+\.\d+[\w.+~-]*\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Found:
    """Raw BTF. `distilled` is the .BTF.base of a module, `module` its name; `release` is "" where nothing tells it."""

    data: bytes
    what: str
    release: str = ""
    banner: str = ""
    module: str = ""
    distilled: bytes | None = None


def extract(data: bytes | memoryview, name: str, module: str | None = None) -> Found:
    """The BTF of a kernel in this file, or of one of its modules. Raises Stop."""
    found = _extract(data, name, module, 0)
    if module is not None and not _same_module(found.module, module):
        raise _nothing(name, module, [])
    return found


def is_image(head: bytes | memoryview) -> bool:
    """Documentation/arch/x86/boot.rst of Linux: the mark of a boot image."""
    return bytes(head[0x202:0x206]) == b"HdrS"


def _extract(data: bytes | memoryview, name: str, module: str | None, depth: int) -> Found:
    head = bytes(data[:_HEAD])
    if head.startswith(_RAW):
        return Found(bytes(data), "raw BTF")
    if head.startswith(_ELF):
        return from_elf(data, name)
    if is_image(head):
        return _image(data, name)
    if head.startswith(archive.AR):
        inside = archive.package(data, name)
        if inside is None:
            raise stop("SP232", f"`{name}` is an archive of object files or the like, not a Debian package", None)
        member, view = inside
        found = _stream(_opened(view, member), name, module, depth + 1, first=True)
        return replace(found, what=f"Debian package, {found.what}")
    if archive.is_tar(head) or unpack.compression(head):
        found = _stream(_opened(data, name), name, module, depth + 1, first=False)
        return replace(found, what=f"{unpack.compression(head) or 'tar'}, {found.what}")
    start = bytes(head[:4]).hex(" ") or "nothing"
    raise stop(
        "SP232",
        f"`{name}` holds no BTF that specc can find: it begins with {start}",
        None,
        help="give raw BTF, an ELF file, a kernel image (vmlinuz), a Debian package, or a .tar.xz of them",
    )


def _opened(data: bytes | memoryview, name: str) -> Stream:
    return unpack.unpacked(data, name) if unpack.compression(data) else unpack.plain(data, name)


def _stream(stream: Stream, name: str, module: str | None, depth: int, *, first: bool) -> Found:
    """What an archive, or the one file that was compressed, has. `first` ends the search at the first fit."""
    if depth > _DEEPEST:
        raise stop("SP232", f"`{name}` is packed in itself more than {_DEEPEST} times", None)
    if not archive.is_tar(stream.peek(512)):
        head = stream.peek(_HEAD)
        # What is nothing of all that need not be unpacked to the end to be told so.
        return _extract(stream.rest() if _worth(head) else head, name, module, depth)
    found: list[tuple[str, Found]] = []
    seen: list[str] = []
    for member in archive.members(stream):
        base = member.name.rpartition("/")[2]
        fits, known = _fits(member.name, module)
        seen += known
        if not fits or member.size > unpack.LARGEST or not _worth(stream.peek(min(_HEAD, member.size))):
            continue
        made = _extract(stream.read(member.size), base, None, depth)
        stem = base.removesuffix(".btf")
        if not made.release and base != stem and _RELEASE.match(stem):
            made = replace(made, release=stem)
        found.append((member.name, made))
        if first:
            break
    if not found:
        raise _nothing(name, module, seen)
    if len({made.data for _, made in found}) > 1:  # a kernel's image and its BTF beside each other are one
        raise stop(
            "SP244",
            f"`{name}` holds {len(found)} kernels or modules that fit",
            None,
            notes=[", ".join(member for member, _ in found)],
            help="unpack it, and give the one that is meant",
        )
    return found[0][1]


def _fits(name: str, module: str | None) -> tuple[bool, list[str]]:
    """Whether an archive's member may be what is looked for, and its name if it is of that kind."""
    if module is None:
        return _KERNEL.search(name) is not None, []
    kind = _MODULE.search(name)
    return (False, []) if kind is None else (_same_module(kind[1], module), [kind[1]])


def _same_module(a: str, b: str) -> bool:
    """Kbuild makes `-` in a file's name `_` in the module's."""
    return a.replace("-", "_") == b.replace("-", "_")


def _worth(head: bytes) -> bool:
    """Whether bytes begin as something that may have BTF, and not as a script called vmlinux-gdb.py."""
    if head.startswith((_RAW, _ELF, archive.AR)):
        return True
    return is_image(head) or archive.is_tar(head) or unpack.compression(head) is not None


def _nothing(name: str, module: str | None, seen: list[str]) -> Exception:
    if module is not None:
        return stop(
            "SP244",
            f"no module `{module}` in `{name}`",
            None,
            help=did_you_mean(module, sorted(set(seen))) or "name the package that has the kernel's modules",
        )
    return stop(
        "SP244",
        f"no kernel image and no BTF in `{name}`",
        None,
        help="name the package that has /boot/vmlinuz-RELEASE (of Debian: linux-image-RELEASE or linux-binary-RELEASE)",
    )


def _image(data: bytes | memoryview, name: str) -> Found:
    """A bzImage. Documentation/arch/x86/boot.rst: the names of fields and their places are from there."""

    def number(at: int, size: int) -> int:
        return int.from_bytes(data[at : at + size], "little")

    if len(data) < 0x250 or number(0x206, 2) < 0x0208:
        raise stop("SP232", f"`{name}` is a kernel image of before Linux 2.6.26, which had no BTF", None)
    setup = 512 * ((number(0x1F1, 1) or 4) + 1)  # setup_sects, and the boot sector
    start, length = setup + number(0x248, 4), number(0x24C, 4)  # payload_offset, payload_length
    if start + length > len(data):
        raise unpack.damaged(name, f"its payload ends at byte {start + length}, and there are only {len(data)}")
    payload = memoryview(data)[start : start + length]
    kind = unpack.compression(payload)
    if kind is None:
        plain = bytes(payload[:4]) == _ELF
        if not plain:
            raise stop(
                "SP232", f"the payload of the kernel image `{name}` is compressed in a way that is not known", None
            )
        content = bytes(payload)
    else:
        # scripts/Makefile.lib, size_append: the unpacked size follows; gzip has it at the end by itself.
        size = int.from_bytes(payload[-4:], "little")
        content = unpack.unpacked(payload if kind == "gzip" else payload[:-4], name).rest()
        if len(content) != size:
            raise unpack.damaged(name, f"its payload unpacks to {len(content)} bytes, and it says {size}")
    found = from_elf(content, name)
    version = number(0x20E, 2)
    banner = ""
    if version:
        text = bytes(data[0x200 + version : min(0x200 + version + 512, setup)]).split(b"\0")[0]
        banner = text.decode("ascii", "replace")
    release = banner.split(" ")[0] if _RELEASE.match(banner.split(" ")[0]) else found.release
    return replace(
        found,
        what=f"kernel image (bzImage, {kind or 'not compressed'})",
        release=release,
        banner=found.banner or banner,
    )


def from_elf(data: bytes | memoryview, name: str) -> Found:
    """The .BTF section of an ELF file: a kernel, a module, or a BPF object."""
    from specc.elf import EM_BPF, EM_X86_64, NotElf, read_elf

    try:
        elf = read_elf(data)
        if elf.machine not in (EM_X86_64, EM_BPF):
            raise stop("SP232", f"`{name}` is an ELF file of another machine; specc knows x86-64 only", None)
        section = elf.find(".BTF")
        if section is None:
            raise stop(
                "SP232",
                f"`{name}` is an ELF file without a .BTF section",
                None,
                help="build it with `clang -target bpf -g`, or add the section with `pahole -J`; "
                "a kernel needs CONFIG_DEBUG_INFO_BTF, and for its modules CONFIG_DEBUG_INFO_BTF_MODULES",
            )
        raw = bytes(elf.contents(section))
        if elf.machine == EM_BPF:
            return Found(raw, "BPF object")
        info = elf.find(".modinfo")
        if info is not None and elf.type == 1:
            facts = dict(line.split("=", 1) for line in _texts(bytes(elf.contents(info))) if "=" in line)
            # Since Linux 6.12 a module that is built outside of the kernel's tree carries the few types of its
            # base that it uses, and its own types build on these.
            distilled = elf.find(".BTF.base")
            return Found(
                raw,
                "kernel module",
                release=facts.get("vermagic", "").split(" ")[0],
                module=facts.get("name", ""),
                distilled=bytes(elf.contents(distilled)) if distilled else None,
            )
        distilled = elf.find(".BTF.base")
        banner = _BANNER.search(data)
        return Found(
            raw,
            "ELF file" if banner is None else "kernel (ELF)",
            release=banner[2].decode("ascii", "replace") if banner else "",
            banner=banner[1].decode("ascii", "replace") if banner else "",
            distilled=bytes(elf.contents(distilled)) if distilled else None,
        )
    except NotElf as e:
        raise stop("SP232", f"cannot read BTF from the ELF file `{name}`: {e}", None) from None


def _texts(data: bytes) -> list[str]:
    return [t.decode("utf-8", "replace") for t in data.split(b"\0")]

"""`specc btf`, and `--btf` with what people have: kernel images, packages, archives and modules, whole and damaged."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import random
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from btf_writer import Writer
from command import ROOT, Done, environment, files, specc
from image_writer import PACKERS, SUFFIXES, ar, bzimage, deb, elf, module, tar
from test_btf_part import SERIES, lab_image

from specc.btf import RUNNING, Btf, open_btf, unpack
from specc.btf.extract import extract
from specc.btf.open import open_file
from specc.cli import main
from specc.diagnostics import Stop
from specc.prototype import Record, bare, spell_prototype

SEED = int(os.environ["SPECC_SEED"])
RELEASE = "6.1.0-56-cloud-amd64"


def _kernel() -> Writer:
    w = Writer()
    i = w.int("int", 4, signed=True)
    path = w.record("struct", "path", 8, [("n", i, 0), ("m", i, 32)])
    file = w.record("struct", "file", 8, [("f_path", path, 0)])
    w.enum("mode", [("R_OK", 1)])
    w.func("vfs_read", w.proto(i, [("file", w.ptr(file)), ("p", path)]))
    w.func("cleanup", w.proto(0, []))
    w.func("cleanup", w.proto(0, [("n", i)]))
    return w


def _module(base: Writer) -> Writer:
    w = Writer(base=base)
    i = w.int("long int", 8, signed=True)
    w.func("ext4_read", w.proto(i, [("p", 2), ("file", w.ptr(3))]))
    return w


KERNEL = _kernel()
BTF = KERNEL.bytes()
MODULE = _module(KERNEL).bytes()
VMLINUX = elf({".rodata": b"Linux version %s (a@b) (gcc 12) #1 SMP\n\0" % RELEASE.encode(), ".BTF": BTF}) + bytes(4096)
IMAGE = bzimage(VMLINUX, "xz", RELEASE)
KO = module(MODULE, "ext4", RELEASE)


def code(action: Callable[[], object]) -> str:
    with pytest.raises(Stop) as caught:
        action()
    return caught.value.diagnostic.code


# ---- what it is found in ------------------------------------------------------------------------------------------

FOUND = [
    ("raw", BTF, "raw BTF", ""),
    ("vmlinux", VMLINUX, "kernel (ELF)", RELEASE),
    ("other ELF", elf({".BTF": BTF}), "ELF file", ""),
    ("BPF object", elf({".BTF": BTF}, kind=1, machine=247), "BPF object", ""),
    *(
        (f"vmlinuz {p}", bzimage(VMLINUX, p, RELEASE), f"kernel image (bzImage, {p})", RELEASE)
        for p in PACKERS
    ),
    ("vmlinuz without a release", bzimage(elf({".BTF": BTF}), "gzip"), "kernel image (bzImage, gzip)", ""),
    *((f"packed {p}", pack(VMLINUX), f"{p}, kernel (ELF)", RELEASE) for p, pack in PACKERS.items()),
    *(
        (f"deb {s or 'plain'}", deb({f"./boot/vmlinuz-{RELEASE}": IMAGE}, s), "Debian package, kernel image (bzImage, xz)", RELEASE)
        for s in ("", *SUFFIXES)
    ),
    (
        "debug package",
        deb({"./usr/lib/debug/scripts/vmlinux-gdb.py": b"import gdb\n", "./usr/lib/debug/boot/vmlinux-6.1.0": VMLINUX}),
        "Debian package, kernel (ELF)",
        RELEASE,
    ),
    ("image beside modules", deb({"./usr/lib/modules/x/vmlinuz": IMAGE}), "Debian package, kernel image (bzImage, xz)", RELEASE),
    ("BTF archive", lzma.compress(tar({"5.8.0-1041-aws.btf": BTF})), "xz, raw BTF", "5.8.0-1041-aws"),
    ("tar", tar({"./kernel.btf": BTF}), "tar, raw BTF", ""),
    (
        "pax",
        tar({f"./{'d' * 300}/6.1.0-é.btf": BTF}, format=tarfile.PAX_FORMAT),
        "tar, raw BTF",
        "",
    ),
    ("long name", tar({f"./{'d' * 300}/5.4.0.btf": BTF}), "tar, raw BTF", "5.4.0"),
    ("image and its BTF", tar({"boot/vmlinuz": IMAGE, "6.1.btf": BTF}), "tar, kernel image (bzImage, xz)", RELEASE),
    ("in itself", gzip.compress(lzma.compress(BTF)), "gzip, xz, raw BTF", ""),
]  # fmt: skip


@pytest.mark.parametrize(("data", "what", "release"), [f[1:] for f in FOUND], ids=[f[0] for f in FOUND])
def test_btf_is_found(data: bytes, what: str, release: str, tmp_path: Path) -> None:
    found = extract(data, "file")
    assert (found.data, found.what, found.release) == (BTF, what, release)
    (tmp_path / "file").write_bytes(data)
    assert spell_prototype(open_btf(tmp_path / "file").prototype("vfs_read")) == (
        "int vfs_read(struct file *file, struct path p)"
    )


def test_the_banner_is_told() -> None:
    assert extract(VMLINUX, "x").banner == f"{RELEASE} (a@b) (gcc 12) #1 SMP"
    assert extract(bzimage(elf({".BTF": BTF}), "xz", RELEASE), "x").banner == (
        f"{RELEASE} (someone@somewhere) #1 SMP Debian"
    )


MODULES = [
    ("plain", KO, None, "kernel module"),
    *((f"ext4.ko.{p}", PACKERS[p](KO), None, f"{p}, kernel module") for p in ("xz", "zstd", "gzip")),
    *(
        (f"package {s}", deb({f"./boot/vmlinuz-{RELEASE}": IMAGE, f"./lib/modules/{RELEASE}/fs/ext4.ko{s}": pack(KO)}), "ext4", w)
        for s, pack, w in (
            ("", bytes, "Debian package, kernel module"),
            (".xz", lzma.compress, "Debian package, xz, kernel module"),
            (".zst", PACKERS["zstd"], "Debian package, zstd, kernel module"),
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize(("data", "name", "what"), [m[1:] for m in MODULES], ids=[m[0] for m in MODULES])
@pytest.mark.parametrize("base", [BTF, VMLINUX, IMAGE], ids=["raw", "vmlinux", "vmlinuz"])
def test_a_module_on_its_kernel(data: bytes, name: str | None, what: str, base: bytes, tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(data)
    (tmp_path / "base").write_bytes(base)
    btf, found = open_file(tmp_path / "m", tmp_path / "base", name)
    assert (found.what, found.module, found.release) == (what, "ext4", RELEASE)
    assert spell_prototype(btf.prototype("ext4_read")) == "long ext4_read(struct path p, struct file *file)"
    assert isinstance(path := bare(btf.prototype("ext4_read").parameters[0].type), Record)
    assert [m.name for m in path.members or ()] == ["n", "m"]


def test_a_module_finds_the_kernel_of_its_package(tmp_path: Path) -> None:
    ko = module(MODULE, "nf_tables", RELEASE)
    (tmp_path / "linux.deb").write_bytes(deb({"./boot/vmlinuz-6": IMAGE, "./lib/nf-tables.ko": ko, "./lib/x.ko": KO}))
    btf, _ = open_file(tmp_path / "linux.deb", module="nf_tables")
    assert spell_prototype(btf.prototype("ext4_read")) == "long ext4_read(struct path p, struct file *file)"


def test_a_module_is_not_put_on_another_kernel(tmp_path: Path) -> None:
    other = Writer()
    other.int("unsigned int", 4)
    other.record("struct", "other_path", 16, [("n", 1, 0)])
    other.func("another", other.proto(0, []))
    (tmp_path / "ext4.ko").write_bytes(KO)
    (tmp_path / "raw").write_bytes(MODULE)
    (tmp_path / "other").write_bytes(other.bytes())
    (tmp_path / "newer").write_bytes(elf({".rodata": b"Linux version 6.1.0-57-cloud-amd64 (a)\n", ".BTF": BTF}))
    for file, base in (("ext4.ko", "other"), ("raw", "other"), ("ext4.ko", "newer")):
        assert code(lambda f=file, b=base: open_file(tmp_path / f, tmp_path / b)) == "SP236"  # type: ignore[misc]
    assert code(lambda: open_file(tmp_path / "ext4.ko")) == "SP236"


def _distilled() -> tuple[bytes, bytes]:
    """A module with the base that libbpf distills for it: names, sizes, no members."""
    base = Writer()
    i = base.int("int", 4, signed=True)
    path = base.add(4, "path", 8)
    mode = base.add(6, "mode", 4)
    file = base.fwd("file")
    w = Writer(base=base)
    ptr = w.ptr(file)
    w.func("out_read", w.proto(i, [("p", path), ("file", ptr), ("m", mode), ("n", i)]))
    own = w.record("struct", "own", 12, [("path", path, 0), ("n", i, 64)])
    w.func("own_read", w.proto(i, [("o", own)]))
    return w.bytes(), base.bytes()


def test_a_module_with_a_base_of_its_own(tmp_path: Path) -> None:
    data, base = _distilled()
    (tmp_path / "out.ko").write_bytes(module(data, "out", RELEASE, base=base))
    (tmp_path / "vmlinuz").write_bytes(IMAGE)
    alone, _ = open_file(tmp_path / "out.ko")
    p, _, m, _ = alone.prototype("out_read").parameters
    assert [bare(p.type), bare(m.type)] == [Record("struct", "path", None), Record("struct", "mode", None)]
    assert spell_prototype(alone.prototype("out_read")).endswith("struct file *file, struct mode m, int n)")
    assert isinstance(own := bare(alone.prototype("own_read").parameters[0].type), Record)
    assert own.members is None

    whole, _ = open_file(tmp_path / "out.ko", tmp_path / "vmlinuz")
    assert spell_prototype(whole.prototype("out_read")) == (
        "int out_read(struct path p, struct file *file, enum mode m, int n)"
    )
    kernel = Btf(BTF, "k")
    assert whole.prototype("out_read").parameters[0].type == kernel.complete("struct", "path")
    assert whole.prototype("out_read").parameters[2].type == kernel.enum("mode")
    assert isinstance(own := bare(whole.prototype("own_read").parameters[0].type), Record)
    assert [m.name for m in own.members or ()] == ["path", "n"]


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w.record("struct", "path", 12, [("n", 1, 0)]),  # another size
        lambda w: w.record("union", "path", 8, [("n", 1, 0)]),
        lambda w: [w.record("struct", "path", 8, [("n", 1, 0)]), w.record("struct", "path", 8, [("m", 1, 0)])],
        lambda w: w.int("nothing", 4),
    ],
    ids=["size", "kind", "two", "none"],
)
def test_a_base_of_its_own_that_does_not_fit(change: Callable[[Writer], object], tmp_path: Path) -> None:
    w = Writer()
    w.int("int", 4, signed=True)
    change(w)
    w.enum("mode", [("R", 1)])
    w.fwd("file")
    data, base = _distilled()
    (tmp_path / "out.ko").write_bytes(module(data, "out", RELEASE, base=base))
    (tmp_path / "base").write_bytes(w.bytes())
    assert code(lambda: open_file(tmp_path / "out.ko", tmp_path / "base")) == "SP236"


# ---- what it is not found in --------------------------------------------------------------------------------------

TAR = tar({"./a.btf": BTF})
NO_RELEASE = bzimage(b"not an ELF file", "gzip")
REFUSED = [
    ("empty", b"", "SP232", "nothing"),
    ("text", b"#!/bin/sh\n", "SP232", "23 21 2f 62"),
    ("lzo image", bzimage(b"", "\x89LZO\0\r\n\x1a\n"), "SP232", "lzo"),
    ("unknown payload", bzimage(b"????????", "\x01\x02\x03\x04"), "SP232", "not known"),
    ("old image", IMAGE[:0x206] + b"\x07\x02" + IMAGE[0x208:], "SP232", "2.6.26"),
    ("image of no kernel", NO_RELEASE, "SP232", "ELF"),
    ("kernel without BTF", bzimage(elf({".text": b"x"}), "xz"), "SP232", "without a .BTF section"),
    ("another machine", elf({".BTF": BTF}, machine=183), "SP232", "another machine"),
    ("library archive", ar({"a.o": b"\x7fELF"}), "SP232", "not a Debian package"),
    ("metapackage", deb({"./usr/share/doc/copyright": b"(c)"}), "SP244", "no kernel image"),
    ("two kernels", tar({"a.btf": BTF, "b.btf": Writer().bytes()}), "SP244", "2 kernels"),
    ("wrong size", bzimage(VMLINUX, "xz", size=7), "SP243", "it says 7"),
    ("image cut off", IMAGE[:-200], "SP243", "there are only"),
    ("deb cut off", deb({"./boot/vmlinuz-1": IMAGE})[:-200], "SP243", "cut off"),
    ("deb header", b"!<arch>\n" + b"x" * 60, "SP243", "header"),
    ("tar checksum", TAR[:148] + b"000000\0 " + TAR[156:], "SP243", "header"),
    ("tar checksum of letters", TAR[:148] + b"x" * 8 + TAR[156:], "SP243", "header"),
    ("tar size of letters", gzip.compress(TAR[:124] + b"x" * 12 + TAR[136:]), "SP243", "header"),
    ("tar cut off", TAR[:600], "SP243", "cut off"),
    ("tar of nothing", gzip.compress(TAR[:262] + bytes(250)), "SP243", "header"),
    *((f"{p} cut off", pack(VMLINUX)[:-9], "SP243", "cut off") for p, pack in PACKERS.items()),
]  # fmt: skip


@pytest.mark.parametrize(("data", "expected", "words"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_what_is_not_found_is_told(data: bytes, expected: str, words: str) -> None:
    with pytest.raises(Stop) as caught:
        extract(data, "file")
    assert (caught.value.diagnostic.code, words in caught.value.diagnostic.message) == (expected, True)


@pytest.mark.parametrize(
    "record", [b"0 path=x\n", b"3 path=x\n", b"99 path=x\n", b"x path=x\n", b"9 path:x\n", b"-9 path=x\n", b""]
)
def test_extended_headers_that_are_damaged_end(record: bytes) -> None:
    data = tar({"d" * 150 + "/a.btf": BTF}, format=tarfile.PAX_FORMAT)
    at = data.index(b" path=") - 3
    assert data[at : at + 4] == b"166 " and extract(data, "x").data == BTF
    assert code(lambda: extract(data[:at] + record.ljust(166, b"\0") + data[at + 166 :], "x")) == "SP243"


def test_deep_packing_ends() -> None:
    data = BTF
    for _ in range(9):
        data = gzip.compress(data)
    assert code(lambda: extract(data, "x")) == "SP232"


@pytest.mark.parametrize("packer", PACKERS)
def test_bombs_are_left_alone(packer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "LARGEST", 1 << 20)
    monkeypatch.setattr(unpack, "LARGEST_STREAM", 40 << 20)
    zeros = PACKERS[packer](b"\x7fELF" + bytes(24 << 20))
    image = bzimage(bytes(24 << 20), packer)
    archive = PACKERS[packer](tar({"x": bytes(48 << 20)}))
    assert max(len(zeros), len(archive)) < 1 << 20
    for data in (zeros, image, archive):
        assert code(lambda d=data: extract(d, "x")) == "SP243"  # type: ignore[misc]


def test_what_is_no_kernel_is_not_unpacked_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "LARGEST", 1 << 20)
    assert code(lambda: extract(gzip.compress(bytes(24 << 20)), "x")) == "SP232"


def test_a_member_that_is_too_large_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "LARGEST", 1 << 16)
    assert extract(tar({"a.btf": bytes(1 << 17), "b.btf": BTF}), "x").data == BTF


HOSTILE = ["../../../etc/6.1.btf", "/etc/6.1.btf", "a\nb/6.1.btf", "\x1b[31m/6.1.btf", "é/6.1.btf", "./6.1.btf"]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_in_an_archive_are_no_paths(name: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.tar").write_bytes(tar({name: BTF, f"{name}.ko": KO}))
    done = specc("btf", "x.tar", "-o", "out.btf", cwd=tmp_path / "in")
    assert (done.code, files(tmp_path)) == (0, {"in/x.tar": tar({name: BTF, f"{name}.ko": KO}), "in/out.btf": BTF})
    two = tar({name: BTF, f"{name[:-4]}x.btf": Writer().bytes()})
    (tmp_path / "in" / "x.tar").write_bytes(two)
    done = specc("btf", "x.tar", cwd=tmp_path / "in")
    assert (done.code, "\x1b" in done.err) == (1, False)


@pytest.mark.parametrize("seed", range(4))
def test_random_damage_gives_nothing_but_diagnostics(seed: int) -> None:
    rng = random.Random(SEED + seed)
    samples = [
        IMAGE, deb({"./boot/vmlinuz-6": IMAGE}), deb({"./boot/vmlinuz-6": IMAGE}, ""), tar({"a.btf": BTF, "b": b"x"}),
        tar({"d" * 200 + "/a.btf": BTF}, format=tarfile.PAX_FORMAT), KO, VMLINUX,
        *(pack(VMLINUX) for pack in PACKERS.values()),
    ]  # fmt: skip
    for _ in range(400):
        data = bytearray(rng.choice(samples))
        for _ in range(rng.choice((1, 1, 2, 8))):
            match rng.randrange(3):
                case 0:
                    data = data[: rng.randrange(len(data) + 1)]
                case 1 if data:
                    data[rng.randrange(min(len(data), rng.choice((64, 1024, 1 << 20))))] = rng.randrange(256)
                case 2 if data:
                    at = rng.randrange(len(data))
                    data[at:at] = rng.randbytes(rng.randrange(8))
        try:
            found = extract(bytes(data), "fuzz")
            Btf(found.data, "fuzz").find("vfs_read")
        except Stop as stopped:
            assert stopped.diagnostic.code in {"SP232", "SP233", "SP236", "SP243", "SP244"}


@pytest.mark.parametrize(("packer", "package"), [("zstd", "zstandard"), ("lz4", "lz4")])
def test_a_package_that_is_not_installed(packer: str, package: str, tmp_path: Path) -> None:
    (tmp_path / "vmlinuz").write_bytes(bzimage(VMLINUX, packer))
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "sitecustomize.py").write_text(f"import sys\nsys.modules[{package!r}] = None\n")
    done = specc("btf", "vmlinuz", cwd=tmp_path, env=environment(PYTHONPATH=f"{tmp_path / 'hidden'}:{ROOT}"))
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith(f"SP240 `vmlinuz` is compressed with {packer}")
    assert "pip install 'specc[images]'" in done.err


# ---- the command --------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "vmlinuz").write_bytes(IMAGE)
    (tmp_path / "ext4.ko").write_bytes(KO)
    return tmp_path


def test_the_summary(folder: Path) -> None:
    done = specc("btf", "vmlinuz", cwd=folder)
    assert done == Done(
        0,
        f"vmlinuz\n  what       kernel image (bzImage, xz)\n  release    {RELEASE}\n"
        f"  banner     {RELEASE} (a@b) (gcc 12) #1 SMP\n  functions  2 names for 3 functions\n"
        f"  types      {KERNEL.count}\n  bytes      {len(BTF)}\n",
        "",
    )
    done = specc("btf", "ext4.ko", "--base", "vmlinuz", "--functions", "ext4_read", cwd=folder)
    assert done.out.splitlines()[:4] == [
        "ext4.ko", "  what       kernel module", "  module     ext4", f"  release    {RELEASE}",
    ]  # fmt: skip
    assert "  functions  ext4_read\n" in done.out


def test_all_of_it_is_written(folder: Path) -> None:
    assert specc("btf", "vmlinuz", "-o", "deep/all.btf", cwd=folder) == Done(0, "", "")
    assert (folder / "deep" / "all.btf").read_bytes() == BTF
    assert specc("btf", "ext4.ko", "--base", "vmlinuz", "-o", "ext4.btf", cwd=folder) == Done(0, "", "")
    assert open_btf(folder / "ext4.btf").prototype("ext4_read").parameters == (
        open_file(folder / "ext4.ko", folder / "vmlinuz")[0].prototype("ext4_read").parameters
    )
    assert specc("btf", "vmlinuz", "--base", "ext4.btf", cwd=folder).err == (
        "specc btf: vmlinuz is complete by itself; --base is not needed\n"
    )


def test_what_is_read_is_not_written_over(folder: Path) -> None:
    (folder / "all.btf").write_bytes(BTF)
    (folder / "link.btf").hardlink_to(folder / "all.btf")
    before = files(folder)
    for arguments in (
        ("all.btf", "-o", "all.btf"),
        ("all.btf", "--functions", "vfs_read", "-o", "./link.btf"),
        ("ext4.ko", "--base", "all.btf", "-o", "all.btf"),
    ):
        done = specc("btf", *arguments, "--output-format", "concise", cwd=folder)
        assert (done.code, done.out, files(folder)) == (1, "", before)
        assert done.err == f"SP507 `{arguments[-1]}` is what is read, and would be lost (choose another -o)\n"


def test_a_part_of_it_is_written(folder: Path) -> None:
    assert specc("btf", "vmlinuz", "--functions", "vfs_read, cleanup", "-o", "p.btf", cwd=folder) == Done(0, "", "")
    part = open_btf(folder / "p.btf")
    assert part.functions() == ["vfs_read", "cleanup"]
    assert code(lambda: part.prototype("cleanup")) == "SP235"
    assert part.complete("struct", "file") is None
    again = ["btf", "p.btf", "--functions", "vfs_read", "--functions", "cleanup", "-o", "q.btf"]
    assert specc(*again, cwd=folder, env=environment(PYTHONHASHSEED="7")).code == 0
    assert (folder / "q.btf").read_bytes() == (folder / "p.btf").read_bytes()
    assert (
        specc("btf", "vmlinuz", "--functions", "vfs_read", "--types", "struct file", "-o", "p.btf", cwd=folder).code
        == 0
    )
    assert open_btf(folder / "p.btf").complete("struct", "file") == open_btf(folder / "vmlinuz").complete(
        "struct", "file"
    )


def test_what_is_missing_is_told_all_at_once(folder: Path) -> None:
    arguments = ["btf", "vmlinuz", "--functions", "vfs_raed,vfs_read", "--types", "struct fiel", "-o", "p.btf"]
    done = specc(*arguments, "--output-format", "concise", cwd=folder)
    assert (done.code, done.out, [line.split(" ")[0] for line in done.err.splitlines()]) == (1, "", ["SP234", "SP238"])
    assert "did you mean `vfs_read`?" in specc(*arguments, cwd=folder).err
    assert not (folder / "p.btf").exists()
    done = specc(*arguments, "--optional", cwd=folder)
    assert (done.code, done.err.count("specc btf: left out: ")) == (0, 2)
    assert open_btf(folder / "p.btf").functions() == ["vfs_read"]


def test_findings_for_machines(folder: Path) -> None:
    done = specc("btf", "vmlinuz", "--functions", "vfs_raed", "--output-format", "json", cwd=folder)
    assert (done.code, [d["code"] for d in json.loads(done.out)["diagnostics"]], done.err) == (1, ["SP234"], "")
    assert specc("btf", "vmlinuz", "--output-format", "json", cwd=folder).out.startswith("vmlinuz\n")


@pytest.mark.parametrize(
    "arguments", [["--functions", ""], ["--functions", " , "], ["--types", ""], ["--spec", "u.yaml"]]
)
def test_a_list_of_nothing_writes_nothing(arguments: list[str], folder: Path) -> None:
    (folder / "u.yaml").write_text("specc: 1\nname: u\nprobes: [{uprobe: {path: /bin/sh, symbol: main}, args: []}]\n")
    done = specc("btf", "vmlinuz", *arguments, "-o", "x.btf", cwd=folder)
    assert (done.code, done.out, (folder / "x.btf").exists()) == (2, "", False)
    assert done.err == "specc btf: no function or type is named, and no spec has a kernel probe\n"


def test_what_specs_need(folder: Path) -> None:
    (folder / "specs").mkdir()
    (folder / "specs" / "a.yaml").write_text(
        "specc: 1\nname: a\nprobes:\n  - kprobe: vfs_read\n    args: [{file: {type: struct file}}]\n"
        "  - name: done\n    kretprobe: vfs_read\n    args: [return]\n  - uprobe: {path: /bin/sh, symbol: main}\n    args: [c]\n"
    )
    done = specc("btf", "vmlinuz", "--spec", "specs", "-o", "a.btf", cwd=folder)
    assert done == Done(0, "", "")
    part = open_btf(folder / "a.btf")
    assert (part.functions(), part.complete("struct", "file") is None) == (["vfs_read"], False)
    assert part.enum("mode") is None
    for option in ("enum: mode", "flags: R_", "flags: S_"):  # the last is of a header
        (folder / "specs" / "c.yaml").write_text(
            f"specc: 1\nname: c\nprobes: [{{kprobe: vfs_read, args: [{{count: {{{option}}}}}]}}]\n"
        )
        done = specc("btf", "vmlinuz", "--spec", "specs/c.yaml", "-o", "c.btf", cwd=folder)
        assert done == Done(0, "", "")
        assert (open_btf(folder / "c.btf").enum("mode") is None) == (option == "flags: S_")
    (folder / "specs" / "c.yaml").write_text(
        "specc: 1\nname: c\nprobes: [{kprobe: vfs_read, args: [p], where: file == R_OK}]\n"
    )
    assert specc("btf", "vmlinuz", "--spec", "specs/c.yaml", "-o", "c.btf", cwd=folder) == Done(0, "", "")
    assert open_btf(folder / "c.btf").constant("R_OK") == 1
    (folder / "specs" / "b.yaml").write_text("specc: 1\nname: b\nprobes:\n  - kprobe: vfs_raed\n    args: [file]\n")
    assert "SP234" in specc("btf", "vmlinuz", "--spec", "specs/b.yaml", cwd=folder).err
    (folder / "specs" / "b.yaml").write_text("specc: 1\nname: b\nprobes: 3\n")
    assert specc("btf", "vmlinuz", "--spec", "specs/b.yaml", "-o", "b.btf", cwd=folder).code == 1
    assert not (folder / "b.btf").exists()


@pytest.mark.parametrize(
    ("output", "expected", "exit_code"),
    [("notes.txt", "SP505", 1), ("folder", "SP507", 1), ("notes.txt/x", "SP507", 1), ("folder/", "SP507", 1), ("link", "SP507", 1)],
)  # fmt: skip
def test_other_files_are_not_overwritten(output: str, expected: str, exit_code: int, folder: Path) -> None:
    (folder / "notes.txt").write_text("mine\n")
    (folder / "folder").mkdir()
    (folder / "link").symlink_to("nowhere")
    before = files(folder)
    done = specc("btf", "vmlinuz", "-o", output, cwd=folder)
    assert (done.code, done.err.split(" ")[0], files(folder)) == (exit_code, expected, before)


def test_btf_is_overwritten_whole(folder: Path) -> None:
    (folder / "x.btf").write_bytes(b"\x9f\xeb old")
    assert specc("btf", "vmlinuz", "-o", "x.btf", cwd=folder).code == 0
    assert files(folder) == {"vmlinuz": IMAGE, "ext4.ko": KO, "x.btf": BTF}


@pytest.mark.parametrize("where", ["unpacking", "reading"])
def test_an_interrupt_leaves_nothing(
    where: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    if where == "unpacking":
        monkeypatch.setitem(unpack._READERS, "xz", interrupted)  # type: ignore[arg-type]
    else:
        monkeypatch.setattr("specc.btf.part.part_of", interrupted)
    monkeypatch.chdir(folder)
    before = files(folder)
    assert main(["btf", "vmlinuz", "--functions", "vfs_read", "-o", "x.btf"]) == 130
    assert (capsys.readouterr().err, files(folder)) == ("interrupted\n", before)


def test_no_temporary_files(folder: Path) -> None:
    (folder / "tmp").mkdir()
    (folder / "linux.deb").write_bytes(
        deb({"./boot/vmlinuz-1": bzimage(VMLINUX, "lz4"), "./ext4.ko.xz": lzma.compress(KO)})
    )
    env = environment(TMPDIR=str(folder / "tmp"))
    assert specc("btf", "linux.deb", "-o", "x.btf", cwd=folder, env=env).code == 0
    assert specc("btf", "linux.deb", "--module", "ext4", "-o", "y.btf", cwd=folder, env=env).code == 0
    (folder / "linux.deb").write_bytes((folder / "linux.deb").read_bytes()[:-50])
    assert specc("btf", "linux.deb", "--module", "ext4", "-o", "z.btf", cwd=folder, env=env).code == 1
    assert sorted(files(folder)) == ["ext4.ko", "linux.deb", "vmlinuz", "x.btf", "y.btf"]


@pytest.mark.parametrize(
    ("arguments", "expected", "words"),
    [
        (["nowhere"], "SP231", "no such file"),
        (["."], "SP231", "directory"),
        (["ext4.ko"], "SP236", "kernel's own BTF"),
        (["vmlinuz", "--module", "ext4"], "SP244", "no module `ext4`"),
        (["ext4.ko", "--module", "xfs"], "SP244", "no module `xfs`"),
        (["linux.deb", "--module", "ext5"], "SP244", "did you mean `ext4`"),
        (["linux.deb"], "SP244", "no kernel image"),
        (["--module", "../vmlinux"], "SP244", "no module"),
    ],
)
def test_what_cannot_be_is_told(arguments: list[str], expected: str, words: str, folder: Path) -> None:
    (folder / "linux.deb").write_bytes(deb({"./lib/ext4.ko": KO}))
    done = specc("btf", *arguments, cwd=folder)
    assert (done.code, done.out, done.err.split(" ")[0], words in done.err) == (1, "", expected, True)


def test_other_commands_take_the_same_files(folder: Path) -> None:
    (folder / "linux.deb").write_bytes(deb({"./boot/vmlinuz-1": IMAGE}))
    for name in ("vmlinuz", "linux.deb"):
        done = specc("show", "vfs_read", "--btf", name, "--format", "json", cwd=folder)
        assert (done.code, json.loads(done.out)["source"]) == (0, f"BTF of {name}")
    done = specc("show", "ext4_read", "--btf", "vmlinuz", "--btf", "ext4.ko", "--format", "json", cwd=folder)
    assert (done.code, [a["name"] for a in json.loads(done.out)["args"]]) == (0, ["p", "file"])


def test_the_running_kernel(tmp_path: Path) -> None:
    if not RUNNING.exists():
        pytest.skip("this machine has no BTF of its kernel")
    done = specc("btf", cwd=tmp_path)
    assert (done.code, f"  release    {os.uname().release}\n" in done.out) == (0, True)
    modules = sorted(p.name for p in RUNNING.parent.iterdir() if p != RUNNING)
    if not modules:
        pytest.skip("the running kernel has no module with BTF")
    done = specc("btf", "--module", modules[0], "-o", "m.btf", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert open_btf(tmp_path / "m.btf").functions() == open_btf(RUNNING.parent / modules[0]).functions()


# ---- kernels as distributions ship them ---------------------------------------------------------------------------


@pytest.mark.parametrize("series", SERIES)
def test_images_of_real_kernels(series: str, tmp_path: Path) -> None:
    image = lab_image(series)
    done = specc("btf", image, "-o", "all.btf", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    running = image.parents[1] / "vmlinux.btf"  # what the kernel itself gave when it ran
    if running.is_file():
        assert (tmp_path / "all.btf").read_bytes() == running.read_bytes()
    release = image.name.removeprefix("vmlinuz-") if "-" in image.name else image.parent.name
    assert f"  release    {release}\n" in specc("btf", image, cwd=tmp_path).out


@pytest.mark.parametrize("series", ["6.1", "6.12", "7.2"])
def test_modules_of_real_kernels(series: str, tmp_path: Path) -> None:
    image = lab_image(series)
    root = next(p for p in image.parents if (p / "lib" / "modules").is_dir())
    found = sorted((root / "lib" / "modules").rglob("xfs.ko*"))
    if not found:
        pytest.skip(f"the kernel {series} has no xfs module")
    btf, kernel = open_file(found[0], image)
    assert (kernel.module, "kernel module" in kernel.what) == ("xfs", True)
    assert specc("btf", found[0], "--base", image, "-o", "xfs.btf", cwd=tmp_path).code == 0
    alone = open_btf(tmp_path / "xfs.btf")
    assert alone.functions() == btf.functions()
    for name in random.Random(SEED).sample(btf.functions(), 100):
        assert [p.parameters for p in alone.find(name)] == [p.parameters for p in btf.find(name)][
            : len(alone.find(name))
        ]
    others = [s for s in SERIES if s != series]
    assert code(lambda: open_file(found[0], lab_image(others[0]))) == "SP236"

"""Real headers, read by specc and by libclang: every prototype, record, typedef and enum must be the same.

The text is preprocessed once and given to both, so both see the same macros. What is compared: arity, names and types
of parameters, results, calling conventions; size, alignment and every field's bit offset of records; enum values.
"""

from __future__ import annotations

import ctypes
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kernel_sources import KernelSources, Unavailable, kernel_sources

from specc.diagnostics import Stop
from specc.headers import HeaderIndex, preprocess
from specc.prototype import (
    Array,
    BitInt,
    Complex,
    CType,
    Enum,
    Float,
    Function,
    Int,
    Pointer,
    Qualified,
    Record,
    Typedef,
    Unknown,
    Vector,
    Void,
    align_of,
    bare,
    decay,
    size_of,
)

cindex = pytest.importorskip("clang.cindex", reason="libclang (PyPI) is not installed")
K = cindex.TypeKind
C = cindex.CursorKind

_LIBC = """
aio.h alloca.h argp.h argz.h arpa/inet.h assert.h byteswap.h complex.h cpio.h crypt.h ctype.h dirent.h dlfcn.h elf.h
endian.h envz.h err.h errno.h error.h execinfo.h fcntl.h features.h fenv.h fmtmsg.h fnmatch.h fstab.h fts.h ftw.h
gconv.h getopt.h glob.h gnu-versions.h grp.h gshadow.h iconv.h ifaddrs.h inttypes.h langinfo.h libgen.h libintl.h
limits.h link.h locale.h malloc.h math.h mcheck.h memory.h mntent.h monetary.h mqueue.h net/ethernet.h net/if.h
net/if_arp.h net/route.h netdb.h netinet/icmp6.h netinet/if_ether.h netinet/igmp.h netinet/in.h netinet/in_systm.h
netinet/ip.h netinet/ip6.h netinet/ip_icmp.h netinet/tcp.h netinet/udp.h nl_types.h nss.h obstack.h paths.h poll.h
printf.h proc_service.h pthread.h pty.h pwd.h regex.h resolv.h sched.h search.h semaphore.h setjmp.h sgtty.h shadow.h
signal.h spawn.h stdio.h stdio_ext.h stdlib.h string.h strings.h sys/acct.h sys/auxv.h sys/cdefs.h sys/epoll.h
sys/eventfd.h sys/fanotify.h sys/file.h sys/fsuid.h sys/gmon.h sys/inotify.h sys/io.h sys/ioctl.h sys/ipc.h sys/kd.h
sys/klog.h sys/mman.h sys/mount.h sys/msg.h sys/mtio.h sys/param.h sys/personality.h sys/poll.h sys/prctl.h
sys/procfs.h sys/ptrace.h sys/quota.h sys/random.h sys/reboot.h sys/reg.h sys/resource.h sys/select.h sys/sem.h
sys/sendfile.h sys/shm.h sys/signalfd.h sys/single_threaded.h sys/socket.h sys/stat.h sys/statfs.h sys/statvfs.h
sys/swap.h sys/syscall.h sys/sysinfo.h sys/syslog.h sys/sysmacros.h sys/time.h sys/timeb.h sys/timerfd.h sys/times.h
sys/timex.h sys/types.h sys/ucontext.h sys/uio.h sys/un.h sys/user.h sys/utsname.h sys/vfs.h sys/vt.h sys/wait.h
sys/xattr.h syslog.h tar.h termios.h tgmath.h thread_db.h threads.h time.h uchar.h ucontext.h ulimit.h unistd.h
utime.h utmp.h utmpx.h values.h wait.h wchar.h wctype.h wordexp.h
"""
LIBC = _LIBC.split()
_OPENSSL = """
openssl/ssl.h openssl/x509v3.h openssl/cms.h openssl/ocsp.h openssl/pkcs12.h openssl/ts.h openssl/engine.h
openssl/evp.h openssl/ec.h openssl/rsa.h openssl/dsa.h openssl/dh.h openssl/cmac.h openssl/hmac.h openssl/http.h
openssl/provider.h openssl/store.h openssl/ct.h openssl/kdf.h openssl/des.h openssl/aes.h openssl/rand.h
"""
OPENSSL = _OPENSSL.split()
OWN = {"max_align_t"}  # each compiler's stddef.h has its own, with other member names
SYSTEM = Path("/usr/include")

# Functions that specc refuses and libclang accepts, by prefix, and what specc must say about them.
REFUSED = {"__tg_": "`overloadable`"}  # clang's tgmath.h: their symbols have mangled names


def compilers() -> dict[str, list[str]]:
    found = {name: [name] for name in ("clang", "clang-19", "gcc") if shutil.which(name)}
    try:
        import ziglang  # noqa: F401
    except ImportError:
        return found
    return {**found, "zig": [sys.executable, "-m", "ziglang", "cc"]}


def existing(names: list[str]) -> list[Path]:
    triplet = SYSTEM / "x86_64-linux-gnu"
    return [Path(n) for n in names if (SYSTEM / n).is_file() or (triplet / n).is_file()]


# --- libclang's side, as nested tuples ---------------------------------------------------------------------------

_CLANG_INTS = {
    K.BOOL: "_Bool", K.CHAR_S: "char", K.CHAR_U: "char", K.SCHAR: "signed char", K.UCHAR: "unsigned char",
    K.SHORT: "short", K.USHORT: "unsigned short", K.INT: "int", K.UINT: "unsigned int", K.LONG: "long",
    K.ULONG: "unsigned long", K.LONGLONG: "long long", K.ULONGLONG: "unsigned long long", K.INT128: "__int128",
    K.UINT128: "unsigned __int128", K.FLOAT: "float", K.DOUBLE: "double", K.LONGDOUBLE: "long double",
    K.FLOAT128: "__float128", K.HALF: "_Float16",
}  # fmt: skip
if hasattr(K, "FLOAT16"):
    _CLANG_INTS[K.FLOAT16] = "_Float16"


def clang_type(t: Any) -> Any:
    t = t.get_canonical()
    words = [w for w, on in (
        ("const", t.is_const_qualified()), ("volatile", t.is_volatile_qualified()),
        ("restrict", t.is_restrict_qualified()),
    ) if on]  # fmt: skip
    plain = clang_plain(t)
    return with_qualifiers(plain, tuple(words)) if words else plain


def with_qualifiers(t: Any, words: tuple[str, ...]) -> Any:
    """libclang hangs the qualifiers of an array's elements on the array."""
    if t[0] == "array":
        return ("array", t[1], with_qualifiers(t[2], words))
    if t[0] == "qualified":
        return ("qualified", tuple(w for w in ("const", "volatile", "restrict") if w in (*words, *t[1])), t[2])
    return ("qualified", words, t)


def clang_plain(t: Any) -> Any:
    kind = t.kind
    if kind in _CLANG_INTS:
        return _CLANG_INTS[kind]
    if kind == K.VOID:
        return "void"
    if kind == K.POINTER:
        return ("pointer", clang_type(t.get_pointee()))
    if kind in (K.CONSTANTARRAY, K.INCOMPLETEARRAY, K.VARIABLEARRAY):
        return ("array", t.element_count if kind == K.CONSTANTARRAY else None, clang_type(t.element_type))
    if kind == K.FUNCTIONPROTO:
        parameters = tuple(clang_parameter(a) for a in t.argument_types())
        return ("function", clang_type(t.get_result()), parameters, t.is_function_variadic())
    if kind == K.FUNCTIONNOPROTO:
        return ("function", clang_type(t.get_result()), (), False)
    if kind in (K.RECORD, K.ENUM):
        return clang_tagged(t)
    if kind == K.COMPLEX:
        return ("complex", clang_type(t.element_type))
    if kind in (K.VECTOR, K.EXTVECTOR if hasattr(K, "EXTVECTOR") else K.VECTOR):
        return ("vector", clang_type(t.element_type), t.get_size())
    if "_BitInt" in t.spelling:
        return t.spelling.split()[-1] if not t.spelling.startswith("unsigned") else t.spelling
    if "_Atomic" in t.spelling:
        return ("atomic", t.get_size())
    raise AssertionError(f"libclang type {t.spelling} of kind {kind}")


def clang_decayed(t: Any) -> Any:
    t = t.get_canonical()
    return ("pointer", clang_type(t)) if t.kind in (K.FUNCTIONPROTO, K.FUNCTIONNOPROTO) else clang_type(t)


def clang_parameter(t: Any) -> Any:
    """As a function type has it: without the qualifiers that libclang leaves on the parameter itself."""
    found = clang_decayed(t)
    return found[2] if isinstance(found, tuple) and found[0] == "qualified" else found


def clang_tagged(t: Any) -> Any:
    declaration = t.get_declaration()
    kind = {C.STRUCT_DECL: "struct", C.UNION_DECL: "union", C.ENUM_DECL: "enum"}[declaration.kind]
    return (kind, clang_tag(declaration))


def clang_tag(declaration: Any) -> str | None:
    """The tag, read from the tokens of the type's spelling: a typedef's name for an anonymous type is none."""
    spelling = declaration.type.get_canonical().spelling
    for word in ("const ", "volatile ", "restrict "):
        spelling = spelling.replace(word, "")
    kind, _, tag = spelling.partition(" ")
    return tag if kind in ("struct", "union", "enum") and "(" not in tag else None


def clang_layout(t: Any) -> Any:
    """Size, alignment and fields of a complete record, anonymous ones nested."""
    t = t.get_canonical()
    fields = []
    for f in clang_fields(t.get_declaration()):
        inner = f.type.get_canonical()
        if f.kind in (C.STRUCT_DECL, C.UNION_DECL):
            fields.append(("", f, None))
            continue
        element = inner
        while element.kind == K.CONSTANTARRAY:
            element = element.element_type.get_canonical()
        fields.append((
            clang_name(f), f.get_field_offsetof() if f.spelling else None,
            f.get_bitfield_width() if f.is_bitfield() else None, clang_type(f.type),
            clang_layout(element) if element.kind == K.RECORD else inner.get_size(),
        ))  # fmt: skip
    return (t.get_size(), t.get_align(), tuple(fields))


def clang_name(f: Any) -> str:
    return "" if "(" in f.spelling else str(f.spelling)


def clang_fields(declaration: Any) -> Iterator[Any]:
    yield from declaration.type.get_fields()


# --- specc's side, in the same shape -----------------------------------------------------------------------------


def our_type(t: CType) -> Any:
    words: set[str] = set()
    while isinstance(t, Qualified | Typedef):
        if isinstance(t, Qualified):
            words |= set(t.qualifiers)
        t = t.target
    words -= {w for w in words if w.startswith("__")}
    if "_Atomic" in words:
        return ("atomic", size_of(t))
    if isinstance(t, Array):  # C11 6.7.3p9: qualifiers of an array are its element's
        element = Qualified(t.element, tuple(words)) if words else t.element
        return ("array", t.count, our_type(element))
    order = tuple(w for w in ("const", "volatile", "restrict") if w in words)
    return ("qualified", order, our_plain(t)) if order else our_plain(t)


def our_plain(t: CType) -> Any:
    match t:
        case Int(name=name) | Float(name=name):
            return name
        case Void():
            return "void"
        case Pointer(target=target):
            return ("pointer", our_type(target))
        case Function(result=result, parameters=parameters, variadic=variadic):
            return ("function", our_type(result), tuple(our_parameter(p) for p in parameters), variadic)
        case Record(kind=kind, tag=tag):
            return (kind, tag)
        case Enum(tag=tag):
            return ("enum", tag)
        case Complex(element=element):
            return ("complex", our_type(element))
        case Vector(element=element, size=size):
            return ("vector", our_type(element), size)
        case BitInt(width=width, signed=signed):
            return f"{'' if signed else 'unsigned '}_BitInt({width})"
        case Unknown(name=name, reason=reason):
            return ("unknown", name, reason)
        case _:
            raise AssertionError(t)


def our_parameter(t: CType) -> Any:
    """As a function type has it: decayed, and without qualifiers on the parameter itself (C11 6.7.6.3p15)."""
    t = decay(t)
    words: set[str] = set()
    while isinstance(t, Qualified | Typedef):
        words |= set(t.qualifiers) if isinstance(t, Qualified) else set()
        t = t.target
    return our_type(decay(t))


def our_declared(t: CType) -> Any:
    if isinstance(bare(t), Function):
        return our_type(decay(t))
    return our_type(t)


def our_layout(t: CType) -> Any:
    t = bare(t)
    assert isinstance(t, Record) and t.members is not None, t
    record = t.clang or t
    fields = []
    for m in record.members or ():
        if m.bit_width is not None and not m.name:
            offset = None
        else:
            offset = m.bit_offset
        element = bare(m.type)
        while isinstance(element, Array) and element.count is not None:
            element = bare(element.element)
        inner = our_layout(element) if isinstance(element, Record) else size_of(m.type)
        fields.append((m.name, offset, m.bit_width, our_type(m.type), inner))
    return (record.size, record.align, tuple(fields))


def normal_layout(layout: Any) -> Any:
    """Both sides give no offset for what has no name, and -1/-2 sizes of flexible arrays become 0."""
    if not isinstance(layout, tuple):
        return max(layout, 0)
    size, align, fields = layout
    return (
        size,
        align,
        tuple((n, o if n else None, w, t, normal_layout(inner)) for n, o, w, t, inner in fields),
    )


# --- the comparison ----------------------------------------------------------------------------------------------


class Counts:
    def __init__(self) -> None:
        self.functions = self.refused = self.records = self.typedefs = self.enums = self.fields = 0
        self.wrong: list[str] = []

    def check(self, what: str, ours: Any, theirs: Any) -> None:
        if ours != theirs:
            self.wrong.append(f"{what}\n    specc:    {ours}\n    libclang: {theirs}")


def calling_convention(t: Any) -> str:
    function = cindex.conf.lib.clang_getFunctionTypeCallingConv
    function.argtypes, function.restype = [cindex.Type], ctypes.c_int
    return {1: "sysv", 10: "ms_abi"}.get(function(t), str(function(t)))


def clang_unit(text: str, flags: list[str]) -> Any:
    name = "specc-test.c"
    unit = cindex.Index.create().parse(
        name, args=["-x", "c", "--target=x86_64-linux-gnu", *flags], unsaved_files=[(name, text)]
    )
    errors = [str(d) for d in unit.diagnostics if d.severity >= cindex.Diagnostic.Error]
    assert not errors, errors[:5]
    return unit


def tags_of(cursor: Any, out: dict[tuple[str, str], Any]) -> None:
    kinds = {C.STRUCT_DECL: "struct", C.UNION_DECL: "union", C.ENUM_DECL: "enum"}
    for child in cursor.get_children():
        if child.kind in kinds:
            if child.is_definition() and (tag := clang_tag(child)) is not None:
                out[kinds[child.kind], tag] = child
            tags_of(child, out)
        elif child.kind in (C.TYPEDEF_DECL, C.FIELD_DECL, C.VAR_DECL):
            tags_of(child, out)


def compare(text: str, reference: str | None = None, flags: list[str] | None = None) -> Counts:
    """Compare specc's reading of `text` with libclang's of `reference` (the same text by default)."""
    unit = clang_unit(reference or text, flags or [])
    same_text = reference is None
    counts = Counts()
    index = HeaderIndex(text)
    ours = index.functions()
    theirs: dict[str, list[Any]] = {}
    typedefs: dict[str, Any] = {}
    for cursor in unit.cursor.get_children():
        if cursor.kind == C.FUNCTION_DECL:
            theirs.setdefault(cursor.spelling, []).append(cursor)
        elif cursor.kind == C.TYPEDEF_DECL:
            typedefs[cursor.spelling] = cursor
    if same_text:
        counts.check("names of functions", [n for n in ours if n not in theirs], [n for n in theirs if n not in ours])
    for name in [n for n in ours if n in theirs]:
        compare_function(index, name, theirs[name], counts, same_text)
    tags: dict[tuple[str, str], Any] = {}
    tags_of(unit.cursor, tags)
    if same_text:
        found = {t for t in index.records() if index.complete(*t) or t[0] == "enum"}
        counts.check("tags", sorted(found - set(tags)), sorted(set(tags) - found))
    for (kind, tag), cursor in tags.items():
        if kind == "enum":
            compare_enum(index, tag, cursor, counts, same_text)
        elif same_text or index.complete(kind, tag) is not None:
            compare_record(f"{kind} {tag}", index.complete(kind, tag), cursor.type, counts)
    for name, cursor in typedefs.items():
        if not same_text and (index.typedef(name) is None or name in OWN):
            continue
        compare_typedef(index, name, cursor, counts)
    return counts


def compare_function(index: HeaderIndex, name: str, cursors: list[Any], counts: Counts, same_place: bool) -> None:
    try:
        p = index.prototype(name)
    except Stop as e:
        reason = next((r for prefix, r in REFUSED.items() if name.startswith(prefix)), None)
        if reason is None or reason not in e.diagnostic.message:
            counts.wrong.append(f"{name}: {e.diagnostic}")
        else:
            counts.refused += 1
        return
    assert p is not None and p.where is not None, name
    if same_place:
        place = (p.where.file, p.where.line, p.where.column)
        cursors = [c for c in cursors if presumed(c.location) == place]
        if not cursors:
            counts.wrong.append(f"{name}: libclang sees no declaration at {p.where}")
            return
    cursor = cursors[-1]
    counts.functions += 1
    arguments = list(cursor.get_arguments())
    counts.check(f"{name}: result", our_type(p.result), clang_type(cursor.result_type))
    if same_place:
        counts.check(f"{name}: parameter names", [a.name or "" for a in p.parameters], [a.spelling for a in arguments])
    counts.check(
        f"{name}: parameters", [our_declared(a.type) for a in p.parameters], [clang_decayed(a.type) for a in arguments]
    )
    variadic = cursor.type.kind == K.FUNCTIONPROTO and cursor.type.is_function_variadic()
    counts.check(f"{name}: variadic", p.variadic, variadic)
    counts.check(f"{name}: convention", p.convention, calling_convention(cursor.type))
    for ours, theirs in zip(
        [p.result, *(a.type for a in p.parameters)], [cursor.result_type, *(a.type for a in arguments)], strict=False
    ):
        if isinstance(bare(ours), Record):
            compare_record(f"{name}: {ours}", bare(ours), theirs, counts)
        elif not isinstance(bare(ours), Array | Function | Void):
            counts.check(f"{name}: size", size_of(ours), theirs.get_size())


def presumed(location: Any) -> tuple[str, int, int]:
    """Where the line markers say that a location is; libclang's own properties give the place in the text."""
    function = cindex.conf.lib.clang_getPresumedLocation
    file, line, column = cindex._CXString(), ctypes.c_uint(), ctypes.c_uint()
    function.argtypes = [cindex.SourceLocation, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    function.restype = None
    function(location, ctypes.byref(file), ctypes.byref(line), ctypes.byref(column))
    return cindex.conf.lib.clang_getCString(file), line.value, column.value


def compare_record(what: str, ours: CType | None, theirs: Any, counts: Counts) -> None:
    if ours is None or (isinstance(ours, Record) and ours.members is None):
        counts.wrong.append(f"{what}: not laid out: {ours}")
        return
    counts.records += 1
    a, b = normal_layout(our_layout(ours)), normal_layout(clang_layout(theirs))
    counts.fields += len(a[2])
    counts.check(what, a, b)


def compare_enum(index: HeaderIndex, tag: str, cursor: Any, counts: Counts, same_text: bool) -> None:
    ours = index.enumeration(tag)
    if ours is None:
        if same_text:
            counts.wrong.append(f"enum {tag} is missing")
        return
    counts.enums += 1
    members = [(c.spelling, c.enum_value) for c in cursor.get_children() if c.kind == C.ENUM_CONSTANT_DECL]
    size = cursor.type.get_size()
    counts.check(f"enum {tag}", (list(ours.members), ours.size), (members, size))
    base = cursor.enum_type.get_canonical().kind
    counts.check(f"enum {tag}: sign", ours.signed, base in (K.INT, K.LONG, K.CHAR_S, K.SCHAR, K.SHORT, K.LONGLONG))
    for name, value in members:
        if value < 2**63:
            counts.check(f"constant {name}", index.constant(name), value)


def compare_typedef(index: HeaderIndex, name: str, cursor: Any, counts: Counts) -> None:
    ours = index.typedef(name)
    if ours is None:
        counts.wrong.append(f"typedef {name} is missing")
        return
    counts.typedefs += 1
    underlying = cursor.underlying_typedef_type
    counts.check(f"typedef {name}", our_type(ours), clang_type(underlying))
    size = underlying.get_size()
    if size >= 0 and not isinstance(bare(ours), Function | Void | Unknown):
        counts.check(f"typedef {name}: size, align", (size_of(ours), align_of(ours)), (size, cursor.type.get_align()))
    if isinstance(bare(ours), Record) and size >= 0:
        compare_record(f"typedef {name}", bare(ours), underlying, counts)


def report(title: str, counts: Counts) -> None:
    print(
        f"{title}: {counts.functions} functions ({counts.refused} refused on purpose), {counts.records} record layouts ({counts.fields} fields), "
        f"{counts.typedefs} typedefs, {counts.enums} enums compared"
    )
    assert not counts.wrong, f"{len(counts.wrong)} differences\n" + "\n".join(counts.wrong[:10])


GROUPS = {
    "libc": (LIBC, [("_GNU_SOURCE", "1")], 2000),
    "openssl": (OPENSSL, [], 4000),
    "zlib": (["zlib.h"], [], 60),
    "sqlite3": (["sqlite3.h"], [], 200),
}


def reference_compiler() -> list[str]:
    found = compilers()
    if "clang" not in found:
        pytest.skip("libclang reads what clang preprocesses, and clang is not installed")
    return found["clang"]


@pytest.mark.parametrize("group", GROUPS)
def test_headers(group: str) -> None:
    names, defines, least = GROUPS[group]
    headers = existing(names)
    if not headers:
        pytest.skip(f"the headers of {group} are not installed")
    counts = compare(preprocess(headers, [], defines, reference_compiler()).text)
    report(group, counts)
    assert counts.functions >= least


@pytest.mark.parametrize(
    ("group", "compiler"),
    [("libc", "gcc"), ("sqlite3", "gcc"), ("libc", "clang-19"), ("libc", "zig")],
)
def test_other_preprocessors(group: str, compiler: str) -> None:
    """The same through other compilers. libclang cannot read gcc's built-in types, so it reads clang's text there,
    and what both texts declare is compared."""
    names, defines, least = GROUPS[group]
    found, headers = compilers(), existing(names)
    if compiler not in found:
        pytest.skip(f"{compiler} is not installed")
    if not headers:
        pytest.skip(f"the headers of {group} are not installed")
    if compiler == "zig":  # which carries a C library of its own
        headers = [h for h in headers if str(h) in ("stdio.h", "stdlib.h", "string.h", "unistd.h", "sys/stat.h")]
        least = 400
    text = preprocess(headers, [], defines, found[compiler]).text
    reference = preprocess(headers, [], defines, reference_compiler()).text if compiler == "gcc" else None
    counts = compare(text, reference)
    report(f"{group} by {compiler}", counts)
    assert counts.functions >= least


@pytest.fixture(scope="module")
def kernel() -> KernelSources:
    try:
        return kernel_sources()
    except Unavailable as e:
        pytest.skip(f"no kernel headers: {e}")


KERNEL_LIBCLANG = ["-std=gnu11", "-fshort-wchar"]


def kernel_header(kernel: KernelSources, name: str) -> Path:
    if name != "mm/gup.c":
        return Path(name)
    if kernel.gup is None:
        pytest.skip(f"no mm/gup.c: {kernel.without_gup}")
    return kernel.gup


@pytest.mark.parametrize("name", ["linux/mm.h", "mm/gup.c"])
def test_kernel(kernel: KernelSources, name: str) -> None:
    header = kernel_header(kernel, name)
    text = preprocess([header], [], [], reference_compiler(), flags=kernel.flags).text
    counts = compare(text, flags=KERNEL_LIBCLANG)
    report(f"{name} of {kernel.release}, {len(text) / 1e6:.1f} MB", counts)
    assert counts.functions >= 6000 and counts.records >= 1000


def test_kernel_by_gcc(kernel: KernelSources) -> None:
    header = kernel_header(kernel, "mm/gup.c")
    found = compilers()
    if "gcc" not in found:
        pytest.skip("gcc is not installed")
    texts = [preprocess([header], [], [], c, flags=kernel.flags).text for c in (found["gcc"], reference_compiler())]
    counts = compare(*texts, flags=KERNEL_LIBCLANG)
    report(f"mm/gup.c of {kernel.release} by gcc", counts)
    assert counts.functions >= 6000 and counts.records >= 1000

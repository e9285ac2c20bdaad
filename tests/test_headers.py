"""The header front end on small cases: what each construct means, and what each error says.

The meaning of C is not ours to decide, so sizes, offsets and types that specc finds in a snippet are written back as
`_Static_assert`s and redeclarations, and gcc and clang compile them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from specc.diagnostics import Location, Stop
from specc.headers import HeaderIndex, parse_declaration, parse_prototypes, preprocess, start_preprocess
from specc.prototype import (
    BOOL,
    CHAR,
    DOUBLE,
    FLOAT,
    INT,
    INT128,
    LONG,
    LONG_DOUBLE,
    UCHAR,
    UINT,
    ULONG,
    VOID,
    Array,
    BitInt,
    Complex,
    CType,
    Enum,
    Function,
    Pointer,
    Qualified,
    Record,
    Typedef,
    Unknown,
    Vector,
    align_of,
    bare,
    decay,
    size_of,
    spell,
    spell_prototype,
)

HERE = Location("spec.yaml", 7, 17, 7, 20)
COMPILERS = [c for c in ("gcc", "clang", "clang-19") if shutil.which(c)]
CLANG = ["clang"] if shutil.which("clang") else [sys.executable, "-m", "ziglang", "cc"]

# --- layouts, proven by the compilers ----------------------------------------------------------------------------

# Name of the case -> C; everything that it defines under a name is checked.
LAYOUTS = {
    "packed-after-brace": "struct s { char a; long b; } __attribute__((packed));",
    "packed-after-keyword": "struct __attribute__((__packed__)) s { char a; long b; };",
    "packed-typedef": "typedef struct { char a; long b; } __attribute__((packed)) t;",
    "packed-after-typedef-name": "typedef struct s { char a; long b; } t __attribute__((packed));",
    "packed-member": "struct s { char a; long b __attribute__((packed)); long c; };",
    "packed-member-prefix": "struct s { char a; __attribute__((packed)) long b; long c; };",
    "packed-two-members": "struct s { char a; long __attribute__((packed)) b, c; long d; };",
    "packed-second-member": "struct s { char a; int b, __attribute__((packed)) c; char d; long e; };",
    "packed-last-member": "struct s { char a, b; int c, d __attribute__((packed)); char e; int f __attribute__((packed)); };",
    "aligned-type": "struct s { char a; } __attribute__((aligned(16)));",
    "aligned-no-argument": "struct s { char a; } __attribute__((aligned));",
    "aligned-empty": "struct s { char a; int b __attribute__((aligned())); };",
    "aligned-expression": "enum { N = 2 }; struct s { char a; int b __attribute__((aligned(1 << (N + 1)))); };",
    "aligned-sizeof": "struct s { char a; int b __attribute__((aligned(sizeof(long) * 2))); };",
    "aligned-alignof": "struct s { char a; int b __attribute__((__aligned__(__alignof__(long long)))); };",
    "aligned-member-prefix": "struct s { char a; __attribute__((aligned(8))) int b, c; };",
    "aligned-member-one": "struct s { char a; int b __attribute__((aligned(8))), c; };",
    "aligned-after-tag": "struct i { int x; }; struct s { char a; struct i __attribute__((aligned(32))) b; };",
    "aligned-twice": "struct s { char a; int b __attribute__((aligned(4))) __attribute__((aligned(16))); };",
    "aligned-list": "struct s { char a; int b __attribute__((aligned(4), packed)); };",
    "aligned-typedef": "typedef long a16 __attribute__((aligned(16))); struct s { char a; a16 b; char c; };",
    "aligned-typedef-prefix": "typedef int __attribute__((aligned(8))) a8; struct s { char a; a8 b; };",
    "aligned-typedef-lower": "typedef long a2 __attribute__((aligned(2))); struct s { char a; a2 b; };",
    "aligned-typedef-two": "typedef int a4, a32 __attribute__((aligned(32))); struct s { a4 a; a32 b; };",
    "aligned-typedef-struct": "typedef struct { char c; } __attribute__((aligned(4))) t; struct s { char a; t b; };",
    "alignas": "struct s { char a; _Alignas(16) int b; _Alignas(long) char c; _Alignas(0) char d; };",
    "member-array": "struct s { char a; int b[3] __attribute__((aligned(16))); };",
    "nested-attribute": "struct s { char a; struct { char b; long c; } __attribute__((packed)) d; long e; };",
    "nested-tag": "struct s { struct in { char x; int y; } a, b[2]; union un { long l; char c[3]; } u; };",
    "packed-nested": "struct __attribute__((packed)) s { char a; struct { char b; long c; } d; };",
    "pragma-pack": "#pragma pack(push, 1)\nstruct s { char a; long b; };\n#pragma pack(pop)\nstruct t { char a; long b; };",
    "pragma-pack-set": "#pragma pack(2)\nstruct s { char a; long b; int c; };\n#pragma pack()\nstruct t { char a; long b; };",
    "pragma-pack-nested": "#pragma pack(push)\n#pragma pack(4)\nstruct s { char a; long b; };\n#pragma pack(push, 2)\n"
    "struct t { char a; int b; };\n#pragma pack(pop)\nstruct u { char a; long b; };\n#pragma pack(pop)\n"
    "struct v { char a; long b; };",
    "pragma-pack-label": "#pragma pack(push, mine, 1)\nstruct s { char a; int b; };\n#pragma pack(push, 8)\n"
    "#pragma pack(pop, mine)\nstruct t { char a; int b; };",
    "pragma-pack-zero": "#pragma pack(1)\n#pragma pack(0)\nstruct s { char a; int b; };",
    "pragma-operator": '_Pragma("pack(push, 1)") struct s { char a; int b; }; _Pragma("pack(pop)") struct t { char a; int b; };',
    "pragma-in-text": '#pragma GCC diagnostic push\nstruct s { char a; int b; };\n#pragma GCC diagnostic ignored "-Wpack"\n'
    "struct t { char a; int b; };",
    "bit-fields": "struct s { unsigned a : 3, b : 7; int : 0; long c : 40; unsigned char d : 5; _Bool e : 1; };",
    "bit-field-expressions": "enum { W = 3 }; struct s { int a : W * 2 + 1; int b : sizeof(char); int : W; int c : 1 ? 4 : 2; };",
    "bit-field-packed": "struct s { char a; int b : 20; int c : 20; } __attribute__((packed));",
    "bit-field-enum": "enum e { A, B }; struct s { enum e x : 2; enum e y : 2; };",
    "anonymous": "struct s { int a; union { int b; struct { char c; long d; }; }; int e; };",
    "flexible": "struct s { int n; long data[]; }; struct z { int n; long data[0]; };",
    "empty": "struct s {}; union u {}; struct t { struct s a; int b; };",
    "arrays": "enum { N = 4 }; struct s { int a[N][2]; char b[sizeof(long) * N]; char c[N == 4 ? 3 : 5]; char d['a' - 90]; };",
    "array-offsetof": "struct i { char c; long l; }; struct s { char a[__builtin_offsetof(struct i, l)]; "
    "char b[(unsigned long)&((struct i *)0)->l]; };",
    "array-casts": "struct s { char a[(unsigned char)300]; char b[(int)2.9]; char c[-1 < 1u ? 1 : 2]; char d[(0x7fffffff + 1u) >> 29]; };",
    "array-builtin": "struct s { char a[__builtin_types_compatible_p(int, signed int) + 1]; "
    "char b[__builtin_choose_expr(1, 2, 3)]; char c[__builtin_constant_p(4) ? 3 : 1]; char d[64 - __builtin_clzl(255)]; };",
    "array-kernel-bitmap": "struct s { unsigned long b[(((65) + ((sizeof(long) * 8)) - 1) / ((sizeof(long) * 8)))]; };",
    "array-sizeof-member": "struct i { int x[5]; }; struct s { char a[sizeof(((struct i *)0)->x) / sizeof(((struct i *)0)->x[0])]; };",
    "array-string": 'struct s { char a[sizeof("abc\\n")]; };',
    "array-generic": "struct s { char a[_Generic((long)1, int: 2, long: 3, default: 4)]; };",
    "static-assert": 'struct s { int a; _Static_assert(sizeof(int) == 4, "{;"); char b; }; _Static_assert(1, "");',
    "enum-sizes": "enum small { A = 1 }; enum neg { B = -1 }; enum big { C = 0x100000000 }; enum bigneg { D = -1, E = 0x80000000 }; "
    "enum edge { F = 0xffffffff }; struct s { enum small a; enum neg b; enum big c; enum bigneg d; enum edge e; };",
    "enum-packed": "enum __attribute__((packed)) e { A, B = 200 }; enum f { C = -1, D = 127 } __attribute__((packed)); "
    "enum g { E = 300 } __attribute__((packed)); struct s { enum e a; enum f b; enum g c; };",
    "enum-expressions": "enum e { A = 1 << 4, B = A | 3, C, D = ~A, E = sizeof(int), F = -5 / 2, G = -5 % 3, H = 'z', I = '\\x41', J = A > 3 && B };"
    "struct s { char a[C]; };",
    "vectors": "typedef float v4 __attribute__((vector_size(16))); typedef int __attribute__((vector_size(8))) v2; "
    "struct s { char a; v4 b; v2 c; };",
    "modes": "typedef int di __attribute__((mode(DI))); typedef unsigned int __attribute__((__mode__(__QI__))) qi; "
    "typedef int word __attribute__((mode(word))); typedef float df __attribute__((mode(DF))); "
    "typedef unsigned ti __attribute__((mode(TI))); struct s { qi a; di b; word c; df d; ti e; };",
    "complex": "struct s { char a; float _Complex b; _Complex double c; __complex__ long double d; _Complex int e; };",
    "wide": "struct s { char a; __int128 b; unsigned __int128 c; __int128_t d; long double e; __float128 f; };",
    "float-types": "struct s { char a; _Float16 b; };",
    "transparent-union": "typedef union { int *i; long *l; } __attribute__((transparent_union)) u; "
    "union w { int a; int b; } __attribute__((transparent_union)); struct s { u a; union w b; };",
    "typeof": "struct i { short a; }; struct s { char a; typeof(long) b; __typeof__(struct i) c; __typeof__(((struct i *)0)->a) d; "
    "typeof(1 + 2L) e; typeof(int *) f; };",
    "typeof-variable": "extern long counter; struct s { char a; __typeof__(counter) b; };",
    "atomic": "struct s { char a; _Atomic int b; _Atomic(long) c; };",
    "declarators": "struct s { int (*f)(int), *p, **q, (*r)[4], *t[4]; int (*(*u)(void))[3]; void (*v[2])(int a, char b); };",
    "keyword-spellings": "struct s { __signed__ char a; __const int b; __volatile__ long c; char *__restrict d; __extension__ long long e; };",
    "typedef-chain": "typedef struct i i_t; struct i { char a; i_t *next; }; typedef i_t j_t; struct s { j_t a; i_t b[2]; };",
    "typedef-shadowed": "typedef int list; struct s { unsigned list; struct { long list; } x; };",
    "typedef-after-use": "struct s { int later; }; typedef long later; struct t { later a; };",
    "typedef-repeated": "typedef unsigned long ul; typedef unsigned long ul; struct s { char a; ul b; };",
    "va-list": "typedef __builtin_va_list va; struct s { char a; va b; };",
    "multi-line": "struct\ns\n{\n  char a;\n  long b\n    __attribute__((\n      packed)); };",
    "asm-and-bodies": "extern int x __asm__(\"y;{\"); static inline int f(int a) { struct local { char c[9]; } l; return a + '}' + sizeof(l); }\n"
    '__asm__(".globl z\\n"); struct s { char a; int b; };',
    "strings": "static const char *text = \"}; struct no { int a; \\\" };\"; static char quote = '\"', brace = '{'; struct s { char a; int b; };",
    "initialisers": "struct s { int a; char b; }; static struct s one = { .a = 1 }, two = (struct s) { 2, 3 }; struct t { struct s x[2]; };",
    "c23-attributes": "struct [[gnu::packed]] s { char a; long b; };",
    "harmless": "struct s { int a __attribute__((deprecated)); char b __attribute__((__unused__)); } __attribute__((may_alias, designated_init));",
}
READ_BY = {
    "packed-second-member": {"clang", "clang-19"},
    "c23-attributes": {"clang-19"},
    "float-types": {"gcc", "clang-19"},
}  # which compilers read the snippet at all


def proof(text: str) -> str:
    """C that compiles only if specc's sizes, alignments, offsets and prototypes of a snippet are the compiler's."""
    index = HeaderIndex(text)
    out = [text]

    def check(what: str, value: int) -> None:
        out.append(f'_Static_assert({what} == {value}, "{what}");')

    def members(name: str, record: Record, prefix: str = "", base: int = 0) -> None:
        for m in record.members or ():
            inner = bare(m.type)
            if not m.name and isinstance(inner, Record):
                members(name, inner, prefix, base + m.bit_offset)
            elif m.name and m.bit_width is None:
                check(f"__builtin_offsetof({name}, {prefix}{m.name})", (base + m.bit_offset) // 8)
                if not (isinstance(inner, Array) and inner.count is None):
                    check(f"sizeof((({name} *)0)->{prefix}{m.name})", size_of(m.type))
                if isinstance(inner, Record):
                    members(name, inner, f"{prefix}{m.name}.", base + m.bit_offset)

    for kind, tag in index.records():
        if kind == "enum":
            enum = index.enumeration(tag)
            assert enum is not None
            check(f"sizeof(enum {tag})", enum.size)
            check(f"(enum {tag})-1 < 0", int(enum.signed))
            for name, value in enum.members:
                check(name, value)
            continue
        record = index.complete(kind, tag)
        assert record is not None and record.members is not None and record.clang is None, record
        check(f"sizeof({kind} {tag})", record.size)
        check(f"_Alignof({kind} {tag})", record.align)
        members(f"{kind} {tag}", record)
    for name in index.typedefs():
        typedef = index.typedef(name)
        assert typedef is not None
        check(f"sizeof({name})", size_of(typedef))
        check(f"_Alignof({name})", align_of(typedef))
        if isinstance(record := bare(typedef), Record):
            members(name, record)
    for name in index.functions():
        p = index.prototype(name)
        assert p is not None
        if "static" not in text:
            out.append(spell_prototype(p) + ";")
    return "\n".join(out) + "\n"


def compiles(compiler: str, text: str) -> None:
    done = subprocess.run(
        [compiler, "-x", "c", "-std=gnu11", "-w", "-fsyntax-only", "-"],
        input=text,
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[:3000]


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.skipif(not COMPILERS, reason="no C compiler is installed")
def test_layout(name: str) -> None:
    text = proof(LAYOUTS[name])
    assert text.count("_Static_assert") > LAYOUTS[name].count("_Static_assert"), "nothing was checked"
    for compiler in COMPILERS:
        if compiler in READ_BY.get(name, set(COMPILERS)):
            compiles(compiler, text)


def test_a_wrong_layout_does_not_compile() -> None:
    """The proof can fail."""
    text = proof(LAYOUTS["packed-member"]).replace("packed", "unused", 1)
    with pytest.raises(AssertionError, match=r"static assertion failed|static_assert failed"):
        compiles((COMPILERS or ["cc"])[0], text)


# --- prototypes --------------------------------------------------------------------------------------------------

S = Record("struct", "s", None)
CONST_CHAR = Qualified(CHAR, ("const",))
S_TEXT = "struct s { int a; };"


def f(text: str, name: str = "f") -> tuple[CType, list[CType], bool, str]:
    p = HeaderIndex(text).prototype(name)
    assert p is not None
    return p.result, [a.type for a in p.parameters], p.variadic, p.convention


PROTOTYPES: dict[str, tuple[str, tuple[CType, list[CType], bool, str]]] = {
    "plain": ("int f(char a, unsigned long b);", (INT, [CHAR, ULONG], False, "sysv")),
    "no-names": ("int f(char, unsigned long);", (INT, [CHAR, ULONG], False, "sysv")),
    "void": ("void f(void);", (VOID, [], False, "sysv")),
    "void-typedef": ("typedef void nothing; int f(nothing);", (INT, [], False, "sysv")),
    "unprototyped": ("int f();", (INT, [], False, "sysv")),
    "variadic": ("int f(const char *format, ...);", (INT, [Pointer(CONST_CHAR)], True, "sysv")),
    "variadic-only": ("int f(...);", (INT, [], True, "sysv")),
    "definition": ("static inline int f(int a) { struct { int b; } x = { a }; return x.b; }", (INT, [INT], False, "sysv")),
    "after-struct-body": ("struct s { int a; } f(int);", (bare(HeaderIndex(S_TEXT).complete("struct", "s") or VOID), [INT], False, "sysv")),
    "pointer-to-incomplete": ("struct s; int f(struct s *p);", (INT, [Pointer(S)], False, "sysv")),
    "pointer-to-complete": (S_TEXT + "int f(struct s *p);", (INT, [Pointer(S)], False, "sysv")),
    "function-pointer": (
        "int f(int (*callback)(void *, struct s *), void (*)(int, ...));",
        (INT, [Pointer(Function(INT, (Pointer(VOID), Pointer(S)))), Pointer(Function(VOID, (INT,), True))], False, "sysv"),
    ),
    "function-parameter": ("int f(int callback(char));", (INT, [Function(INT, (CHAR,))], False, "sysv")),
    "array-parameter": ("int f(int a[3], char b[], long c[static 2][4]);",
        (INT, [Array(INT, 3), Array(CHAR, None), Array(Array(LONG, 4), 2)], False, "sysv")),
    "variable-array": ("int f(int n, int a[n], int b[*]);", (INT, [INT, Array(INT, None), Array(INT, None)], False, "sysv")),
    "parenthesised": ("int (f)(int);", (INT, [INT], False, "sysv")),
    "returns-function-pointer": (
        "void (*f(int sig, void (*handler)(int)))(int);",
        (Pointer(Function(VOID, (INT,))), [INT, Pointer(Function(VOID, (INT,)))], False, "sysv"),
    ),
    "function-typedef": ("typedef int fn(char, long); fn f;", (INT, [CHAR, LONG], False, "sysv")),
    "function-typedef-chain": ("typedef int fn(char); typedef fn gn; extern gn g, f;", (INT, [CHAR], False, "sysv")),
    "typeof-function": ("int g(char); extern __typeof__(g) f;", (INT, [CHAR], False, "sysv")),
    "several-declarators": ("int g(int), *f(char), x;", (Pointer(INT), [CHAR], False, "sysv")),
    "qualified": (
        "int f(const char *const a, char *restrict b, volatile int c);",
        (INT, [Qualified(Pointer(CONST_CHAR), ("const",)), Qualified(Pointer(CHAR), ("restrict",)), Qualified(INT, ("volatile",))],
         False, "sysv"),
    ),
    "asm-label": ('int f(int) __asm__("other") __attribute__((nothrow));', (INT, [INT], False, "sysv")),
    "ms-abi": ("int f(int) __attribute__((ms_abi));", (INT, [INT], False, "ms_abi")),
    "ms-abi-prefix": ("__attribute__((ms_abi)) int f(int);", (INT, [INT], False, "ms_abi")),
    "ms-abi-middle": ("int __attribute__((__ms_abi__)) f(int);", (INT, [INT], False, "ms_abi")),
    "ms-abi-typedef": ("typedef int __attribute__((ms_abi)) fn(int); fn f;", (INT, [INT], False, "ms_abi")),
    "ms-abi-typeof": ("int g(int) __attribute__((ms_abi)); extern __typeof__(g) f;", (INT, [INT], False, "ms_abi")),
    "typeof-itself": ("int f(char a) __attribute__((ms_abi)); extern typeof(f) f;", (INT, [CHAR], False, "ms_abi")),
    "ms-abi-after-star": ("void *__attribute__((ms_abi)) f(int);", (Pointer(VOID), [INT], False, "ms_abi")),
    "ms-abi-in-parentheses": ("int (__attribute__((ms_abi)) f)(int);", (INT, [INT], False, "ms_abi")),
    "ms-abi-of-another": ("int g(int) __attribute__((ms_abi)), f(int);", (INT, [INT], False, "sysv")),
    "ms-abi-of-a-parameter": ("int f(void (__attribute__((ms_abi)) *callback)(int));",
        (INT, [Pointer(Function(VOID, (INT,)))], False, "sysv")),
    "regparm": ("int f(int) __attribute__((regparm(3)));", (INT, [INT], False, "regparm")),
    "sysv-abi": ("int f(int) __attribute__((sysv_abi));", (INT, [INT], False, "sysv")),
    "user-pointer": ("int f(const char __user *p);", (INT, [Pointer(Qualified(CHAR, ("const", "__user")))], False, "sysv")),
    "user-address-space": (
        "int f(void __attribute__((noderef, address_space(1))) *p);", (INT, [Pointer(Qualified(VOID, ("__user",)))], False, "sysv")
    ),
    "user-type-tag": ('int f(char __attribute__((btf_type_tag("user"))) *p, char *__attribute__((btf_type_tag("rcu"))) q);',
        (INT, [Pointer(Qualified(CHAR, ("__user",))), Qualified(Pointer(CHAR), ("__rcu",))], False, "sysv")),
    "user-of-a-pointer": ("int f(char *__user *p);", (INT, [Pointer(Qualified(Pointer(CHAR), ("__user",)))], False, "sysv")),
    "user-as-a-name": ("int f(const char *__user, int __group);", (INT, [Pointer(CONST_CHAR), INT], False, "sysv")),
    "parameter-attribute": ("int f(int a __attribute__((unused)), __attribute__((nonnull)) char *b);",
        (INT, [INT, Pointer(CHAR)], False, "sysv")),
    "vector-parameter": ("int f(float __attribute__((vector_size(16))) v);", (INT, [Vector(FLOAT, 16)], False, "sysv")),
    "ext-vector": ("typedef float v3 __attribute__((ext_vector_type(3))); v3 f(void);", (Typedef("v3", Vector(FLOAT, 16)), [], False, "sysv")),
    "bitint": ("int f(_BitInt(7) a, unsigned _BitInt(70) b);", (INT, [BitInt(7, True, 1, 1), BitInt(70, False, 16, 8)], False, "sysv")),
    "complex": ("double _Complex f(_Complex float a, _Complex b);", (Complex(DOUBLE), [Complex(FLOAT), Complex(DOUBLE)], False, "sysv")),
    "complex-of-gcc": ("_Complex _Float64 f(_Float64x a, _Float32 b);", (Complex(DOUBLE), [LONG_DOUBLE, FLOAT], False, "sysv")),
    "int128": ("__int128 f(unsigned __int128 a, _Bool b);", (INT128, [HeaderIndex("").type("unsigned __int128", None), BOOL], False, "sysv")),
    "word-order": ("long unsigned int f(int long long unsigned a, short const int b);",
        (ULONG, [HeaderIndex("").type("unsigned long long", None), Qualified(HeaderIndex("").type("short", None), ("const",))], False, "sysv")),
    "enum": ("enum e { A, B }; int f(enum e x);", (INT, [Enum("e", 4, False, (("A", 0), ("B", 1)))], False, "sysv")),
    "fixed-enum": ("enum e : unsigned char { A }; int f(enum e x);", (INT, [Enum("e", 1, False, (("A", 0),))], False, "sysv")),
    "alignment-of-typedef": ("typedef long a16 __attribute__((aligned(16))); int f(a16 x);", (INT, [Typedef("a16", LONG, 16)], False, "sysv")),
    "shadowing-name": ("typedef int list; int f(char list, list b);", (INT, [CHAR, Typedef("list", INT)], False, "sysv")),
    "typedef-later": ("int f(char later); typedef int later;", (INT, [CHAR], False, "sysv")),
    "decimal": ("int f(_Decimal64 x);", (INT, [Unknown("_Decimal64", "decimal floating point is passed in xmm registers and not laid out by specc")], False, "sysv")),
    "bool-keyword": ("bool f(bool a);", (BOOL, [BOOL], False, "sysv")),
    "c23-attribute": ("[[nodiscard]] int f(int a [[maybe_unused]]);", (INT, [INT], False, "sysv")),
}  # fmt: skip


@pytest.mark.parametrize("name", PROTOTYPES)
def test_prototype(name: str) -> None:
    text, expected = PROTOTYPES[name]
    assert f(text) == expected
    assert "f" in HeaderIndex(text).functions()


def test_tags_are_found_behind_attributes() -> None:
    """Without the table of all tags, which `records()` makes."""
    text = "struct __attribute__((packed, aligned(4))) s { char a; long b; }; enum __attribute__((packed)) e { A }; "
    _, types, _, _ = f(text + "int f(struct s x, enum e y);")
    assert [(size_of(t), align_of(t)) for t in types] == [(12, 4), (1, 1)]
    assert HeaderIndex(text).records() == [("struct", "s"), ("enum", "e")]


def test_undecidable_typeof_is_unknown() -> None:
    result, (parameter,), _, _ = f("int f(__typeof__(({ 1; })) x);")
    assert result == INT
    assert isinstance(parameter, Unknown) and "statement expression" in parameter.reason


def test_va_list_is_a_pointer() -> None:
    _, (parameter,), _, _ = f("typedef __builtin_va_list va_list; int f(va_list ap);")
    pointer = decay(parameter)
    assert isinstance(pointer, Pointer) and isinstance(pointer.target, Record) and pointer.target.size == 24


def test_records_behind_pointers_stay_incomplete() -> None:
    text = "struct b { int x; }; typedef struct { struct b *p; struct b v; } t; int f(t *a, t b);"
    _, (pointer, value), _, _ = f(text)
    assert pointer == Pointer(Typedef("t", Record("struct", None, None)))
    record = bare(value)
    assert isinstance(record, Record) and record.members is not None and record.size == 16
    assert record.members[0].type == Pointer(Record("struct", "b", None))
    assert isinstance(record.members[1].type, Record) and record.members[1].type.members is not None


def test_locations_follow_line_markers() -> None:
    text = '# 1 "a.h" 1\nint g(int);\n# 40 "dir/b.h" 2\n\nstatic int\n  f(int a,\n# 50 "dir/b.h"\n    char *b);\n'
    p = HeaderIndex(text).prototype("f")
    assert p is not None and p.where == Location("dir/b.h", 42, 3, 42, 4) and p.source == "dir/b.h:42"
    assert [a.where for a in p.parameters] == [Location("dir/b.h", 42, 9, 42, 10), Location("dir/b.h", 50, 11, 50, 12)]


def test_redeclarations() -> None:
    """The last declaration that names all parameters wins, and an unprototyped one never does."""
    p = HeaderIndex("int f(int a, char b); int f(int, char); int f();").prototype("f")
    assert p is not None and [a.name for a in p.parameters] == ["a", "b"]
    p = HeaderIndex("int f(int a); int f(const int b) { return b; }").prototype("f")
    assert p is not None and [a.name for a in p.parameters] == ["b"]


def test_empty_parentheses_are_a_doubt() -> None:
    doubts = [
        HeaderIndex(t).prototype("f").doubt for t in ("int f();", "int f() { return 1; }", "int f(); int f(void);")
    ]  # type: ignore[union-attr]
    assert doubts == ["it is declared with empty parentheses, which tell nothing of its parameters", "", ""]
    assert parse_declaration("int f()", None, HERE).doubt == ""


def test_functions_in_order() -> None:
    text = (
        "typedef int fn(int); typedef int (*fp)(int); int a(int), v, (*p)(int), b(void); fn c; fp q; "
        "static inline int d(int x) { int no(int); return no(x); } struct s { int (*e)(int); } g(void); int (h)(int); "
        "int array[sizeof(int)]; int i = (1); extern int a(int);"
    )
    assert HeaderIndex(text).functions() == ["a", "b", "c", "d", "g", "h"]


def test_names_that_are_not_functions() -> None:
    index = HeaderIndex("typedef int t; int v; struct f { int x; }; int g(int f);")
    assert [index.prototype(n) for n in ("t", "v", "f", "x", "nothing", "not an identifier", "")] == [None] * 7


def test_parse_prototypes() -> None:
    text = "int a(int); int b(char); int c(long);"
    assert list(parse_prototypes(text)) == ["a", "b", "c"]
    assert spell_prototype(parse_prototypes(text, ["b", "zzz"])["b"]) == "int b(char)"


def test_queries() -> None:
    index = HeaderIndex(
        "enum e { A = 3, B }; struct s { int x[B]; }; typedef struct s s_t; typedef struct u u_t; enum { C = B * 2 };"
    )
    assert (index.constant("A"), index.constant("B"), index.constant("C"), index.constant("Z")) == (3, 4, 8, None)
    record = index.complete("struct", "s")
    assert record is not None and record.size == 16
    assert index.complete("struct", "u") is None and index.complete("union", "s") is None
    assert index.typedef("s_t") == Typedef("s_t", record)
    assert index.typedef("u_t") == Typedef("u_t", Record("struct", "u", None))
    assert index.typedef("nope") is None
    assert index.type("struct s", HERE) == record
    assert index.type("s_t *", HERE) == Pointer(Typedef("s_t", Record("struct", "s", None)))
    assert index.type("unsigned int", HERE) == UINT
    assert index.type("int (*)[3]", HERE) == Pointer(Array(INT, 3))
    assert spell(index.type("u32", HERE)) == "u32" and size_of(index.type("u32", HERE)) == 4


# --- errors ------------------------------------------------------------------------------------------------------

ERRORS = {
    # case: (text, code, line:column, message, help)
    "unknown-attribute": ("struct s { int a; } __attribute__((paked)); int f(struct s x);", "SP212", "1:36",
        "unknown attribute `paked`", "did you mean `packed`?"),
    "unknown-attribute-of-a-function": ("int f(int) __attribute__((zoom(3)));", "SP212", "1:27", "unknown attribute `zoom`", None),
    "randomised": ("struct s { int a; } __attribute__((randomize_layout)); int f(struct s x);", "SP219", "1:36",
        "the attribute `randomize_layout` is not supported: the kernel's randstruct plugin shuffles the members of this record", None),
    "overloadable": ("int __attribute__((overloadable)) f(int);", "SP219", "1:20",
        "the attribute `overloadable` is not supported: the symbol of an overloaded function has another name, one for each set of parameters", None),
    "syntax": ("int f(int a b);", "SP213", "1:13", "this C is not understood: `b` is not expected here", None),
    "unclosed": ("struct s { int a;", "SP213", "1:10", "this `{` is never closed", None),
    "unknown-type": ("int f(foo_t x);", "SP214", "1:7", "unknown type `foo_t`", None),
    "unknown-type-close": ("typedef int food_t; int f(foo_t x);", "SP214", "1:27", "unknown type `foo_t`", "did you mean `food_t`?"),
    "unknown-type-alone": ("int f(foo_t);", "SP214", "1:7", "`foo_t` is not a type (and old K&R parameter lists are not supported)", None),
    "unknown-result": ("foo_t f(int);", "SP214", "1:1", "unknown type `foo_t`", None),
    "unknown-member": ("struct s { foo_t x; }; int f(struct s a);", "SP214", "1:12", "unknown type `foo_t`", None),
    "conflict": ("int f(int a);\nint f(long a);", "SP215", "2:5", "conflicting declarations of `f`: parameter 1: `int` and `long`",
        "only one of them can be the one that was compiled; leave the other header out"),
    "conflict-count": ("int f(int);\nint f(int, int);", "SP215", "2:5", "conflicting declarations of `f`: 1 and 2 parameters",
        "only one of them can be the one that was compiled; leave the other header out"),
    "incomplete": ("struct s; int f(struct s x);", "SP217", "1:24",
        "`struct s` is used by value, but only declared, never defined, in these headers", "add the header that defines it to `headers`"),
    "incomplete-result": ("struct s f(void);", "SP217", "1:8",
        "`struct s` is used by value, but only declared, never defined, in these headers", "add the header that defines it to `headers`"),
    "incomplete-member": ("struct i; struct s { struct i x; }; int f(struct s a);", "SP217", "1:29",
        "`struct i` is used by value, but only declared, never defined, in these headers", "add the header that defines it to `headers`"),
    "contains-itself": ("struct s { struct s x; }; int f(struct s a);", "SP217", "1:8", "`struct s` contains itself", None),
    "typedef-of-itself": ("typedef t t; int f(t a);", "SP214", "1:9", "unknown type `t`", "`t` becomes a type only further down"),
    "not-constant": ("int n; struct s { char a[n]; }; int f(struct s x);", "SP218", "1:26",
        "this is not a constant expression that specc can evaluate: `n` is not a constant", None),
    "division": ("struct s { char a[1 / 0]; }; int f(struct s x);", "SP218", "1:19",
        "this is not a constant expression that specc can evaluate: it divides by zero", None),
    "negative-array": ("struct s { char a[1 - 2]; }; int f(struct s x);", "SP218", "1:19", "an array of -1 elements", None),
    "enum-of-itself": ("enum e { A = A + 1 }; int f(enum e x);", "SP218", "1:1",
        "the value of a constant of this enum depends on itself", None),
    "complex": ("int f(_Complex _Float4 x);", "SP214", "1:16", "unknown type `_Complex _Float4`", None),
    "wide-bit-field": ("struct s { int a : 33; }; int f(struct s x);", "SP218", "1:20", "a bit-field of 33 bits in `int`", None),
    "alignment": ("struct s { int a __attribute__((aligned(3))); }; int f(struct s x);", "SP219", "1:33",
        "an alignment of 3: it must be a power of two", None),
    "vector": ("typedef int v __attribute__((vector_size(12))); int f(v x);", "SP219", "1:30",
        "12 bytes do not hold a power of two of `int`", None),
    "mode": ("typedef float t __attribute__((mode(DI))); int f(t x);", "SP219", "1:32", "`mode(DI)` of `float` is not understood", None),
    "pragma": ("#pragma pack(3)\nstruct s { int a; }; int f(struct s x);", "SP219", "1:1", "`#pragma pack(3)` is not understood", "use 1, 2, 4, 8 or 16, `push`, `pop`, or nothing"),
    "pragma-inside": ("struct s { char a;\n#pragma pack(1)\nint b; }; int f(struct s x);", "SP219", "1:8",
        "`#pragma pack` inside a record is not understood", None),
    "ms-extension": ("struct i { int a; }; struct s { struct i; int b; }; int f(struct s x);", "SP213", "1:40",
        "`struct i` without a member name declares a member only under -fms-extensions, and whether that was given is not known",
        "give the member a name, or take the tag away"),
    "misplaced": ("typedef int *__attribute__((aligned(16))) p; int f(p x);", "SP219", "1:29", "`aligned` after a `*` is not understood", None),
    "defined-twice": ("struct s { int a; }; struct s { long a; }; int f(struct s x);", "SP215", "1:29",
        "`struct s` is defined twice, and not alike", None),
    "vector-of-a-record": ("struct s { int a; } __attribute__((vector_size(16))); int f(struct s x);", "SP219", "1:36",
        "`vector_size` on a struct is not understood", None),
    "transparent-parameter": ("union u { int *a; }; int f(union u x __attribute__((transparent_union)));", "SP219", "1:53",
        "`transparent_union` belongs to a union or a typedef of one", None),
    "clang-pragma": ('#pragma clang attribute push(__attribute__((packed)), apply_to = record)\nstruct s { int a; }; int f(struct s x);',
        "SP219", "1:1", "`#pragma clang attribute push(__attribute__((packed)), apply_to = record)` changes layouts", None),
    "byte-order-pragma": ("#pragma scalar_storage_order big-endian\nstruct s { int a; }; int f(struct s x);",
        "SP219", "1:1", "`#pragma scalar_storage_order big-endian` changes layouts", None),
    "kr": ("int f(a) int a; { return a; }", "SP214", "1:7", "unknown type `a`", None),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_error(name: str) -> None:
    text, code, place, message, help_ = ERRORS[name]
    with pytest.raises(Stop) as caught:
        HeaderIndex(text, "h.h").prototype("f")
    d = caught.value.diagnostic
    assert d.where is not None
    assert (d.code, f"{d.where.line}:{d.where.column}", d.message, d.help) == (code, place, message, help_)
    assert d.where.file == "h.h"


UNUSED = [
    "struct bad { int a; } __attribute__((never_heard_of));",
    "struct bad { foo_t x; };",
    "int bad(foo_t x);",
    "typedef foo_t bad;",
    "int bad(int a b c);",
    "@ ` garbage;",
    "\n#pragma pack(3)\nstruct bad { int a; };\n",
    "\n#pragma clang attribute push (__attribute__((preserve_access_index)), apply_to = record)\n",
]


@pytest.mark.parametrize("text", UNUSED)
def test_what_is_not_needed_may_be_anything(text: str) -> None:
    p = HeaderIndex(f"{text} int f(int a);").prototype("f")
    assert p is not None and spell_prototype(p) == "int f(int a)"


HOSTILE = {
    "deep-pointer": "int f(int " + "*" * 5000 + "p);",
    "deep-parentheses": "int f(int " + "(" * 3000 + "a" + ")" * 3000 + ");",
    "deep-struct": "struct s {" * 400 + "int a;" + "} x;" * 399 + "}; int f(struct s x);",
    "deep-expression": "struct s { int a[" + "(" * 3000 + "1" + ")" * 3000 + "]; }; int f(struct s x);",
    "unterminated-string": 'const char *s = "abc; int f(int a);',
    "lonely-brace": "} } int f(int a);",
    "nul": "int f(\0int a);",
    "only-f": "f",
    "f-call": "f(1, 2);",
    "huge-array": "struct s { char a[0xffffffffffffffff]; }; int f(struct s x);",
    "huge-number": "struct s { char a[" + "9" * 400 + "]; }; int f(struct s x);",
    "huge-shift": "struct s { char a[1 << 1000000000]; }; int f(struct s x);",
    "typedef-circle": "typedef a b; typedef b a; a f; typedef t t; t f; t t;",
    "call-of-a-call": "struct s { char a[g(1)(2)]; char b[g(1)->x]; }; int f(struct s x);",
    "attribute-open": "int f(int) __attribute__((packed",
    "attribute-empty": "int f(int a) __attribute__(()) __attribute__((,,));",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_never_ends_in_a_traceback(name: str) -> None:
    index = None
    try:
        index = HeaderIndex(HOSTILE[name])
        index.functions()
        index.prototype("f")
    except Stop as e:
        assert e.diagnostic.code.startswith("SP21")


_TOKENS = """
( ) { } [ ] ; , * struct union enum s f x = 1 " ' __attribute__((packed)) __attribute__((aligned(8))) typedef typeof(
_Alignas(4) \\ ... $ $0 _BitInt(3) __user asm("x") : const sizeof [[ int
"""


def mutated(rng: Random, texts: list[str]) -> str:
    text = rng.choice(texts) + rng.choice(["", " " + rng.choice(texts)])
    for _ in range(rng.randint(1, 4)):
        at, other = rng.randrange(len(text) + 1), rng.randrange(len(text) + 1)
        change = rng.randrange(3)
        if change == 0:
            text = text[:at] + text[at + rng.randint(1, 6) :]
        elif change == 1:
            text = f"{text[:at]} {rng.choice([*_TOKENS.split(), chr(10) + '#pragma pack(1)' + chr(10)])} {text[at:]}"
        else:
            text = text[:at] + text[other : other + 20] + text[at:]
    return text


def test_broken_text_gives_diagnostics_only() -> None:
    """Any other exception fails the test; the text is in the report."""
    rng = Random(int(os.environ["SPECC_SEED"]))
    texts = [*LAYOUTS.values(), *(t for t, _ in PROTOTYPES.values()), *(e[0] for e in ERRORS.values())]
    refused_ = 0
    for _ in range(2000):
        text = mutated(rng, texts)
        with contextlib.suppress(Stop):
            parse_declaration(text, None, HERE)
        try:
            index = HeaderIndex(text)
            for name in index.functions():
                index.prototype(name)
            for kind, tag in index.records():
                index.complete(kind, tag) if kind != "enum" else index.enumeration(tag)
            for name in index.typedefs():
                index.typedef(name)
        except Stop as e:
            refused_ += 1
            assert e.diagnostic.code.startswith("SP21") and e.diagnostic.where is not None, text
    assert 200 < refused_ < 1900


# --- prototype: in a spec ----------------------------------------------------------------------------------------

DECLARATIONS = {
    "int SSL_write(void *ssl, const void *buf, int num)": "int SSL_write(void *ssl, const void *buf, int num)",
    "  ssize_t read(int fd, void *buf, size_t count) ; ": "ssize_t read(int fd, void *buf, size_t count)",
    "u64 f(u8 a, __be16 b, loff_t *c, pid_t d, bool e)": "u64 f(u8 a, __be16 b, loff_t *c, pid_t d, _Bool e)",
    "long f(const char __user *path, struct page **pages)": "long f(const __user char *path, struct page **pages)",
    "static inline void f(void (*callback)(size_t, u32 *))": "void f(void (*callback)(size_t, u32 *))",
    "int f(struct s *(*get)(int), ...)": "int f(struct s *(*get)(int), ...)",
    "int (f)(int)": "int f(int)",
    "__be32 f(__wsum x) __attribute__((nothrow))": "__be32 f(__wsum x)",
}


@pytest.mark.parametrize("text", DECLARATIONS)
def test_declaration(text: str) -> None:
    p = parse_declaration(text, None, HERE)
    assert spell_prototype(p) == DECLARATIONS[text]
    assert p.where == HERE and p.source == "the prototype at spec.yaml:7"
    assert {a.where for a in p.parameters} <= {HERE}


def test_declaration_with_headers() -> None:
    index = HeaderIndex("typedef struct { long a, b, c; } big_t; struct s { char x; }; typedef unsigned char size_t;")
    p = parse_declaration("size_t f(big_t a, struct s b, enum e *c)", index, HERE)
    assert size_of(p.result) == 1, "a header's own typedef comes before the well-known one"
    assert [size_of(a.type) for a in p.parameters] == [24, 1, 8]


BAD_DECLARATIONS = {
    # text: (code, message, help)
    "": ("SP216", "an empty prototype", "write one C declaration, such as `int f(int a)`"),
    "int x": ("SP216", "`x` is not declared as a function", "write it like `int f(int a)`"),
    "typedef int f(int)": ("SP216", "this does not declare a function", "write it like `int f(int a)`"),
    "int": ("SP216", "this does not declare a function", "write it like `int f(int a)`"),
    "int f(int); int g(int)": ("SP216", "2 declarations: a prototype is exactly one", None),
    "int f(int), g(int)": ("SP216", "2 declarators: a prototype declares exactly one function", None),
    "int f(int) { return 1; }": ("SP216", "a prototype is one C declaration: no body, comment, directive or record", None),
    "int f(int /* a */)": ("SP216", "a prototype is one C declaration: no body, comment, directive or record", None),
    "#define x": ("SP216", "a prototype is one C declaration: no body, comment, directive or record", None),
    "int (*f)(int)": ("SP216", "`f` is not declared as a function", "write it like `int f(int a)`"),
    "int f(sise_t n)": ("SP214", "unknown type `sise_t`", "did you mean `size_t`?"),
    "int f(int a, xyzzy *b)": ("SP214", "unknown type `xyzzy`",
        "name a header that declares it in `headers`, or write the type it stands for"),
    "xyzzy f(int a)": ("SP214", "unknown type `xyzzy`", "name a header that declares it in `headers`, or write the type it stands for"),
    "int f(void (*g)(xyzzy))": ("SP214", "unknown type `xyzzy`",
        "name a header that declares it in `headers`, or write the type it stands for"),
    "int f(struct s a)": ("SP217", "`struct s` is used by value, but only declared, never defined, in these headers",
        "add the header that defines it to `headers`"),
    "int f(": ("SP213", "this C is not understood: it ends too early", "write one C declaration, such as `int f(int a)`"),
    "int f(int a, 5)": ("SP213", "this C is not understood: invalid declaration", "write one C declaration, such as `int f(int a)`"),
    "int f(int a)) ;": ("SP213", "this C is not understood: `)` is not expected here", "write one C declaration, such as `int f(int a)`"),
    "int f(int a": ("SP213", "this C is not understood: it ends too early", "write one C declaration, such as `int f(int a)`"),
    "int f(int a) __attribute__((zoom))": ("SP212", "unknown attribute `zoom`", None),
}  # fmt: skip


@pytest.mark.parametrize("text", BAD_DECLARATIONS)
def test_bad_declaration(text: str) -> None:
    with pytest.raises(Stop) as caught:
        parse_declaration(text, None, HERE)
    d = caught.value.diagnostic
    assert (d.code, d.message, d.help) == BAD_DECLARATIONS[text]
    assert d.where == HERE


BAD_TYPES = {
    "": ("SP213", "`` is not the name of a C type"),
    "1 + 2": ("SP213", "`1 + 2` is an expression, not the name of a C type"),
    "int; int": ("SP213", "`int; int` is not the name of a C type"),
    "int)]; int y[sizeof(int": ("SP213", "`int)]; int y[sizeof(int` is not the name of a C type"),
    "struct nowhere": (
        "SP217",
        "`struct nowhere` is used by value, but only declared, never defined, in these headers",
    ),
}


@pytest.mark.parametrize("text", BAD_TYPES)
def test_bad_type(text: str) -> None:
    with pytest.raises(Stop) as caught:
        HeaderIndex("").type(text, HERE)
    d = caught.value.diagnostic
    assert ((d.code, d.message), d.where) == (BAD_TYPES[text], HERE)


# --- preprocessing -----------------------------------------------------------------------------------------------


def refused(action: object, *arguments: object, **named: object) -> tuple[str, str, str, str | None]:
    with pytest.raises(Stop) as caught:
        action(*arguments, **named)  # type: ignore[operator]
    d = caught.value.diagnostic
    return d.code, d.message, str(d.where), d.help


def test_preprocess(tmp_path: Path) -> None:
    (tmp_path / "inc").mkdir()
    (tmp_path / "inc" / "types.h").write_text("typedef unsigned N_TYPE n_t;\n")
    header = tmp_path / "a.h"
    header.write_text('#pragma once\n#include "types.h"\n\n  int f(n_t a);\n')
    done = preprocess([header, header], [tmp_path / "inc"], {"N_TYPE": "char", "M": ""}, CLANG)
    p = HeaderIndex(done.text).prototype("f")
    assert p is not None and p.parameters[0].type == Typedef("n_t", UCHAR)
    assert p.where == Location(str(header), 4, 7, 4, 8)
    assert [Path(d).name for d in done.dependencies] == ["a.h", "types.h"]


def test_preprocess_errors(tmp_path: Path) -> None:
    header = tmp_path / "a.h"
    header.write_text('\n#include "missing.h"\n')
    where = Location("spec.yaml", 3, 11)
    add = "add the directory that holds it to `include_dirs`, or install the package that brings it"
    assert refused(preprocess, [header], [], [], CLANG) == (
        "SP210", "header `missing.h` not found", f"{header}:2:10", add,
    )  # fmt: skip
    (tmp_path / "missin.h").write_text("")
    assert refused(preprocess, [header], [], [], CLANG)[3] == "did you mean `missin.h`?"
    (tmp_path / "missin.h").rename(tmp_path / "missin.sh")
    assert refused(preprocess, [header], [], [], CLANG)[3] == add
    assert refused(preprocess, [tmp_path / "b.h"], [], [], CLANG, places=[where]) == (
        "SP210", f"header `{tmp_path / 'b.h'}` not found", str(where), "did you mean `a.h`?",
    )  # fmt: skip
    header.write_text("#ifndef GOOD\n# error define GOOD\n#endif\n")
    assert refused(preprocess, [header], [], [], CLANG) == (
        "SP211", "the preprocessor failed: define GOOD", f"{header}:2:3", None,
    )  # fmt: skip
    assert preprocess([header], [], [("GOOD", "1")], CLANG).dependencies == (str(header),)
    assert refused(preprocess, [header], [], {"A B": "1"}, CLANG)[:2] == ("SP211", "`A B` is not the name of a macro")


def test_headers_that_cannot_be_headers(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo.h"
    os.mkfifo(fifo)
    assert refused(preprocess, [fifo], [], [], CLANG)[:2] == ("SP210", f"`{fifo}` is not a file")
    assert refused(preprocess, [tmp_path], [], [], CLANG)[:2] == ("SP210", f"`{tmp_path}` is not a file")
    assert refused(preprocess, [Path('a"b.h')], [], [], CLANG)[0] == "SP210"
    assert refused(preprocess, [Path('x.h\n#include "/etc/passwd"')], [], [], CLANG)[0] == "SP210"
    assert refused(preprocess, [Path("<x.h>\n<y.h>")], [], [], CLANG)[0] == "SP210"


def test_compiler_that_does_not_start(tmp_path: Path) -> None:
    code, message, _, _ = refused(preprocess, [tmp_path / "a.h"], [], [], [str(tmp_path / "no-such-cc")])
    assert code == "SP220" and message.endswith("could not be started: No such file or directory")


def test_system_headers_and_cancel() -> None:
    start_preprocess([Path("<stddef.h>")], [], [], CLANG).cancel()
    text = preprocess([Path("<stddef.h>")], [], [], CLANG).text
    index = HeaderIndex(text)
    assert index.typedef("size_t") == Typedef("size_t", ULONG)
    assert parse_declaration("size_t f(ptrdiff_t d)", index, HERE).result == Typedef("size_t", ULONG)


@pytest.mark.parametrize("name", ["my_typedef", "typedef_f", "a_typedef_b"])
def test_a_word_inside_of_a_name_means_nothing(name: str) -> None:
    text = f"void {name}(long a);\nlong {name}2(long a, int (*b)(int));\n"
    assert HeaderIndex(text).functions() == [name, f"{name}2"]
    assert sorted(parse_prototypes(text, [name, f"{name}2"])) == [name, f"{name}2"]


def test_lines_in_any_order() -> None:
    """The place of a declaration is the same whether what stands before it was asked for first, or what stands after."""
    text = (
        '# 1 "a.h" 1\n\nvoid a(int x);\n# 40 "b.h"\nvoid b(int x);\n\n\nvoid c(int x);\n# 5 "a.h" 2\nvoid d(int x);\n'
    )
    places = {"a": "a.h:2", "b": "b.h:40", "c": "b.h:43", "d": "a.h:5"}
    for order in ("abcd", "dcba", "cadb", "bdac"):
        index = HeaderIndex(text)
        found = {name: index.prototype(name) for name in order}
        assert {name: p.source for name, p in found.items() if p is not None} == places

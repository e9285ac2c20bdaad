"""Small kernels for tests: BTF files with a few functions, written without a compiler.

kernel(folder / "6.1.btf", {"f": "int a, struct page ** pages, -> long"})
"""

from __future__ import annotations

from pathlib import Path

from btf_writer import Writer

_INTS = {
    "int": (4, True),
    "unsigned int": (4, False),
    "long": (8, True),
    "unsigned long": (8, False),
    "char": (1, True),
}


def kernel(
    path: Path, functions: dict[str, str], *, base: Writer | None = None, tracepoints: dict[str, str] | None = None
) -> Writer:
    """Write the BTF of functions, each as "TYPE NAME, ... -> TYPE". A name with `#2` after it is one more of that name.

    Tracepoints have no result. One whose text begins with `?` has no function that names its parameters.
    """
    writer = Writer(base=base)
    made: dict[str, int] = {}

    def type_id(text: str) -> int:
        text = text.strip()
        if text == "void":
            return 0
        if text not in made:
            if text.endswith("*"):
                made[text] = writer.ptr(type_id(text[:-1]))
            elif text.startswith("struct "):
                name, _, size = text.removeprefix("struct ").partition("/")  # `struct pair/16` has 16 bytes
                longs: list[tuple[str, int, int] | tuple[str, int, int, int]] = [
                    (f"m{i}", type_id("long"), 64 * i) for i in range(int(size or 8) // 8)
                ]
                made[text] = writer.record("struct", name, int(size or 8), longs)
            elif text in ("double", "float"):
                made[text] = writer.float(text, 8 if text == "double" else 4)
            else:
                size_, signed = _INTS[text]
                made[text] = writer.int(text, size_, signed=signed)
        return made[text]

    for name, text in functions.items():
        arguments, _, result = text.partition("->")
        pairs = [a.strip().rpartition(" ") for a in arguments.split(",") if a.strip()]
        parameters = [(argument, type_id(ctype)) for ctype, _, argument in pairs]
        writer.func(name.partition("#")[0], writer.proto(type_id(result or "int"), parameters))
    for name, text in (tracepoints or {}).items():
        pairs = [a.strip().rpartition(" ") for a in f"void* __data, {text.lstrip('?')}".split(",") if a.strip()]
        types = [("", type_id(ctype)) for ctype, _, _ in pairs]
        writer.typedef(f"btf_trace_{name.partition('#')[0]}", writer.ptr(writer.proto(0, types)))
        if not text.startswith("?"):
            named = [(argument, type_id(ctype)) for ctype, _, argument in pairs]
            writer.func(f"__traceiter_{name.partition('#')[0]}", writer.proto(type_id("int"), named))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(writer.bytes())
    return writer

"""YAML 1.2 and TOML text -> one `Document`: plain data, and the place of every key and value.

In: a path or bytes.  Out: a Document, or `Stop` with the one thing that makes the text unreadable (SP001-SP029).

    document = load(Path("specs/gup.yaml"))
    document.root.value["name"].value.where      # Location of the name's value
    parse(b"specc = 1", "gup.toml", "toml")
"""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Final, Literal

from specc.diagnostics import Location, did_you_mean, stop
from specc.source.document import MAX_BYTES, MAX_DEPTH, MAX_VALUES, Document, Entry, Node, Value, plain

__all__ = ["MAX_BYTES", "MAX_DEPTH", "MAX_VALUES", "Document", "Entry", "Node", "Value", "load", "parse", "plain"]

SYNTAXES: Final[dict[str, Literal["yaml", "toml"]]] = {".yaml": "yaml", ".yml": "yaml", ".toml": "toml"}

# Neither YAML 1.2 nor TOML lets control characters stand in a file. The line ends of YAML 1.1 (U+0085, U+2028,
# U+2029, a lone CR) go too, because the next reader does not count them; and so do bidirectional overrides, which
# show a reviewer another text than the compiler reads.
_FORBIDDEN: Final = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff]|\r(?!\n)"
)


def load(path: Path, shown: str | None = None) -> Document:
    """Read a file; `shown` is its name in diagnostics. The suffix says which syntax it has."""
    file = shown if shown is not None else str(path)
    syntax = SYNTAXES.get(path.suffix)
    if path.suffix == ".o":
        raise stop(
            "SP004", f"`{path.name}` is an object, not a spec", None, help="name the spec that it was built from"
        )
    if syntax is None:
        raise stop(
            "SP004",
            f"`{path.name}` is neither YAML nor TOML by its name",
            Location(file),
            help=did_you_mean(path.suffix, SYNTAXES) if path.suffix else None,
            notes=[f"the name of a spec ends in {', '.join(SYNTAXES)}"],
        )
    return parse(_read(path, file), file, syntax)


def parse(text: bytes, file: str, syntax: Literal["yaml", "toml"]) -> Document:
    """One document out of bytes that were already read."""
    if len(text) > MAX_BYTES:
        raise stop("SP002", f"`{file}` is larger than {MAX_BYTES >> 20} MiB, the most a spec may have", Location(file))
    characters = _decode(text, file)
    if syntax == "yaml":
        from specc.source.yaml_reader import read_yaml

        root = read_yaml(characters, file)
    else:
        from specc.source.toml_reader import read_toml

        root = read_toml(characters, file)
    if root is None:
        raise stop(
            "SP005", "the spec is empty", Location(file), help="the smallest spec has `specc`, `name` and `probes`"
        )
    return Document(root, file, syntax)


def _read(path: Path, file: str) -> bytes:
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):  # before it is opened: opening a FIFO waits for a writer
            kind = "directory" if stat.S_ISDIR(mode) else "device, pipe or socket"
            raise stop("SP001", f"`{file}` is a {kind}, not a file", Location(file))
        with path.open("rb") as stream:
            text = stream.read(MAX_BYTES + 1)  # one more, so that `parse` sees that it is too large
    except OSError as error:
        raise stop("SP001", f"cannot read `{file}`: {error.strerror}", Location(file)) from None
    except ValueError:  # a NUL in the name
        raise stop("SP001", f"cannot read `{file}`: not a file name", Location(file)) from None
    return text


def _decode(text: bytes, file: str) -> str:
    if text[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise stop("SP003", "the file is UTF-16 or UTF-32", Location(file), help="save it as UTF-8")
    if b"\0" in text:
        before = text[: text.index(b"\0")].decode("utf-8", errors="replace")
        raise stop("SP003", "this is a binary file, not text", _at(before, len(before), file))
    try:
        characters = text.decode("utf-8")
    except UnicodeDecodeError as error:
        before = text[: error.start].decode("utf-8")
        message = f"byte 0x{text[error.start]:02x} is not UTF-8"
        raise stop("SP003", message, _at(before, len(before), file), help="save the file as UTF-8") from None
    characters = characters.removeprefix("\ufeff")
    bad = _FORBIDDEN.search(characters)
    if bad is None:
        return characters
    character, where = bad.group(), _at(characters, bad.start(), file)
    if character == "\r":
        raise stop("SP003", "a carriage return that ends no line", where, help="end lines with LF or CR LF")
    raise stop("SP003", f"the character U+{ord(character):04X} must not stand in a spec", where, help="take it out")


def _at(text: str, offset: int, file: str) -> Location:
    text = text[:offset].removeprefix("\ufeff")
    line = text.count("\n") + 1
    column = len(text) - (text.rfind("\n") + 1) + 1
    return Location(file, line, column, line, column + 1)

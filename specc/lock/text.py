"""A lock as text, and back.

In: a Lock, or its text.  Out: the other; a line that is none of a lock is a Stop (SP514), and so is another version (SP515).

    spec specs/gup.yaml
      name gup
      buffer ring
      output gup.bpf.c sha256:...
      probe 0 gup: kprobe __get_user_pages
        on 6.12
          prototype long __get_user_pages(struct mm_struct *mm, ...)
          at start: rsi
        event of 64 bytes
          field 32 8 start: unsigned long
"""

from __future__ import annotations

import json
import re
from typing import Final

from specc.diagnostics import Location, Stop, stop
from specc.lock.nouns import Lock, LockedField, LockedOutput, LockedProbe, LockedSpec, LockedTarget
from specc.noun import dataclass, field

VERSION: Final = 1
_HEAD: Final = (
    "# What the specs give: `specc lock` writes this file, `specc check` and `specc build --locked` compare with it.\n"
    f"version {VERSION}\n"
)


def write_lock(lock: Lock) -> str:
    blocks = ["\n" + "".join(f"{line}\n" for line in spec_lines(spec)) for spec in sorted(lock.specs, key=_path)]
    return _HEAD + "".join(blocks)


def _path(spec: LockedSpec) -> str:
    return spec.path


def spec_lines(spec: LockedSpec) -> list[str]:
    """The lines of one spec."""
    lines = [f"spec {_text(spec.path)}"]
    lines += [f"  {word} {value}" for word, value in (("name", spec.name), ("buffer", spec.buffer)) if value]
    lines += [f"  output {o.name} {o.digest}" + (f" by {_text(o.by)}" if o.by else "") for o in spec.outputs]
    for probe in spec.probes:
        lines.append(f"  probe {probe.number} {probe.name}: {probe.kind} {_text(probe.code)}")
        if probe.build:
            lines.append(f"    build {_text(probe.build)}")
        for target in probe.targets:
            lines.append(f"    on {_text(target.name)}" if target.name else "    declared")
            lines.append(f"      prototype {_text(target.prototype)}" if target.prototype else "      nowhere")
            lines += [f"      at {_name(name)}: {place}" for name, place in target.places]
        if probe.aggregate:
            lines.append(f"    aggregate {_text(probe.aggregate)}")
        lines.append(f"    event of {probe.size} bytes")
        for f in probe.fields:
            kind = "field" if f.bit is None else f"optional {f.bit}"
            lines.append(f"      {kind} {f.offset} {f.size} {_name(f.name)}: {_text(f.type)}")
    return lines


def _text(text: str) -> str:
    """What ends a line: as it is, or as a JSON string where that could not be read back. A file can have any name."""
    return text if text.isprintable() and text == text.strip() and text and text[0] != '"' else json.dumps(text)


def _name(text: str) -> str:
    return text if re.fullmatch(r"[\w.]+", text, re.ASCII) else json.dumps(text)


_NAME: Final = r'([A-Za-z0-9_.]+|"(?:[^"\\]|\\.)*")'
_LINES: Final = {
    "version": r"version (\d{1,9})",
    "spec": r"spec (.+)",
    "name": r"  name (\w+)",
    "buffer": r"  buffer (ring|perf)",
    "output": r"  output (\S+) (sha256:[0-9a-f]{64})(?: by (.+))?",
    "probe": r"  probe (\d{1,9}) (\w+): (\w+) (.+)",
    "build": r"    build (.+)",
    "on": r"    on (.+)",
    "declared": r"    declared()",
    "prototype": r"      prototype (.+)",
    "nowhere": r"      nowhere()",
    "at": rf"      at {_NAME}: (.+)",
    "aggregate": r"    aggregate (.+)",
    "event": r"    event of (\d{1,9}) bytes",
    "field": rf"      field (\d{{1,9}}) (\d{{1,9}}) {_NAME}: (.+)",
    "optional": rf"      optional (\d{{1,2}}) (\d{{1,9}}) (\d{{1,9}}) {_NAME}: (.+)",
}


@dataclass(slots=True)
class _Target:
    name: str
    prototype: str = ""
    places: list[tuple[str, str]] = field(default_factory=list)


@dataclass(slots=True)
class _Probe:
    head: list[str]
    build: str = ""
    aggregate: str = ""
    size: int = 0
    targets: list[_Target] = field(default_factory=list)
    fields: list[LockedField] = field(default_factory=list)


@dataclass(slots=True)
class _Spec:
    path: str
    name: str = ""
    buffer: str = ""
    outputs: list[LockedOutput] = field(default_factory=list)
    probes: list[_Probe] = field(default_factory=list)


def read_lock(text: str, file: str) -> Lock:
    """A lock from its text. Raises Stop (SP514) with the first line that cannot be one of a lock."""
    specs: list[_Spec] = []
    version = ""
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        kind = line.split()[0]
        match = re.fullmatch(_LINES[kind], line, re.ASCII) if kind in _LINES else None
        if match is None or (kind == "version") == bool(version):
            raise _not_a_lock(file, number, line)
        try:
            words = [_unquote(word) for word in match.groups()]
            if kind == "version":
                version = words[0]
                if version != str(VERSION):
                    raise stop("SP515", f"this is a lock of version {version}; this specc knows {VERSION}",
                               Location(file, number, 1), help="use the specc that wrote it")  # fmt: skip
            else:
                _add(specs, kind, words)
        except (IndexError, ValueError):  # what the line belongs to is not there, or its string is none
            raise _not_a_lock(file, number, line) from None
    if not version:
        raise stop("SP514", "this is not a lock: it has no version", Location(file), help=_AGAIN)
    return Lock(tuple(_spec(s) for s in specs))


def _add(specs: list[_Spec], kind: str, words: list[str]) -> None:
    """One line into what was read so far. Raises IndexError when the line that it belongs to is missing."""
    match kind:
        case "spec":
            specs.append(_Spec(words[0]))
        case "name":
            specs[-1].name = words[0]
        case "buffer":
            specs[-1].buffer = words[0]
        case "output":
            specs[-1].outputs.append(LockedOutput(*words))
        case "probe":
            specs[-1].probes.append(_Probe(words))
        case "build":
            specs[-1].probes[-1].build = words[0]
        case "aggregate":
            specs[-1].probes[-1].aggregate = words[0]
        case "on" | "declared":
            specs[-1].probes[-1].targets.append(_Target(words[0]))
        case "prototype" | "nowhere":
            specs[-1].probes[-1].targets[-1].prototype = words[0]
        case "at":
            specs[-1].probes[-1].targets[-1].places.append((words[0], words[1]))
        case "event":
            specs[-1].probes[-1].size = int(words[0])
        case _:
            bit = int(words[0]) if kind == "optional" else None
            offset, size, name, ctype = words[-4:]
            specs[-1].probes[-1].fields.append(LockedField(int(offset), int(size), name, ctype, bit))


def _spec(spec: _Spec) -> LockedSpec:
    return LockedSpec(spec.path, spec.name, spec.buffer, tuple(spec.outputs), tuple(_probe(p) for p in spec.probes))


def _probe(probe: _Probe) -> LockedProbe:
    number, name, kind, code = probe.head
    targets = tuple(LockedTarget(t.name, t.prototype, tuple(t.places)) for t in probe.targets)
    return LockedProbe(
        name, int(number), kind, code, probe.build, targets, probe.size, tuple(probe.fields), probe.aggregate
    )


def _unquote(word: str | None) -> str:
    """Raises ValueError for what is no string, or one that no file can be called."""
    if word is None:
        return ""
    text = str(json.loads(word)) if word.startswith('"') else word
    text.encode("utf-8", "surrogateescape")
    if "\0" in text:
        raise ValueError(text)
    return text


_AGAIN: Final = "take it from the repository again, or write it anew with `specc lock`"


def _not_a_lock(file: str, number: int, line: str) -> Stop:
    shown = line.strip() if len(line) <= 60 else line.strip()[:57] + "..."
    return stop("SP514", f"`{shown}` is not a line of a lock, or not where it belongs",
                Location(file, number, 1, number, len(line) + 1), help=_AGAIN)  # fmt: skip

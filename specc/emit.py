"""Program -> C text, through the templates; everything is decided before, here it is only spelled.

    emit(program)           # the text of gup.bpf.c
    emit_header(program)    # the text of gup.h

The text holds no date, version, path or anything else of the machine: same program, same bytes.
"""

from __future__ import annotations

import contextlib
import os
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from specc.declare import Declarations
from specc.describe import describe
from specc.ir import (
    ALL_BITS,
    DEEPEST_STACK,
    FALLIBLE_CONTEXT,
    STACKS,
    AddressSpace,
    Aggregate,
    Bits,
    Condition,
    Constant,
    ContextWord,
    Elapsed,
    Field,
    Following,
    Joined,
    Moving,
    Now,
    PlaceConstant,
    Probe,
    Program,
    Register,
    Role,
    Saved,
    Setting,
    Source,
    StackSlot,
    TestedText,
)
from specc.path import Hop, LocalTypes, access, element_pair, whole_array
from specc.place import GENERAL_REGISTERS, NOWHERE, REGISTER_CODES
from specc.prototype import Enum, Float, Int, bare

if TYPE_CHECKING:
    from jinja2 import Environment, Template

_HERE = Path(__file__).parent
# In a wheel the templates are inside the package; in a checkout they are beside it.
TEMPLATES = _HERE / "templates" if (_HERE / "templates").is_dir() else _HERE.parent / "templates"


def emit(program: Program) -> str:
    """The BPF C of a program."""
    contexts = {c for p in program.probes for c in (*p.contexts, *(p.condition.contexts if p.condition else ()))}
    return (
        _environment()
        .get_template("program.bpf.c.j2")
        .render(
            program=program,
            description=describe(program).splitlines(keepends=True),
            helpers=_helpers(program, contexts),
            task_fields=[
                *sorted(contexts & set(FALLIBLE_CONTEXT)),
                *(["space"] if any(p.space for p in _all(program)) else []),
                *(["memory"] if any(p.entry and p.entry.space for p in _all(program)) else []),
            ],
            uses_registers=any(not p.by_words for p in _all(program)),
            moves=_moves(program),
            fetches=_fetches(program),
            local_types=LocalTypes(
                h
                for p in program.probes
                for f in p.followings
                if f.relocated
                for h in (*f.hops, *(leaf.hop for leaf in f.leaves))
                if h.in_record
            ),
            stacks=[w for w in STACKS if any(w in p.stacks for p in program.probes)],
            divides=any(p.condition.divides for p in _all(program) if p.condition),
            fails=any(p.condition.fails for p in _all(program) if p.condition),
            limits=(limits := any(p.limit for p in program.probes)),
            hashes=limits or any(p.entry for p in program.probes),
            tests=any(p.condition for p in _all(program)),
            registers=[(f"IN_{r.upper()}", r.removeprefix("r") if r[1].isalpha() else r) for r in GENERAL_REGISTERS],
        )
    )


def _all(program: Program) -> list[Probe]:
    """Every probe, and the other program of those that have one."""
    return [one for p in program.probes for one in (p, p.trampoline) if one is not None]


def _fetches(program: Program) -> dict[str, set[str]]:
    """Kinds of what is copied, by whose memory it is."""
    found: dict[str, set[str]] = {}
    for fetch in (f for p in _all(program) for f in p.capture.fetches):
        found.setdefault("user" if fetch.user else "kernel", set()).add(fetch.kind)
    return found


def _moves(program: Program) -> frozenset[str]:
    """Which parts of places.j2 a program uses."""
    found: set[str] = set()
    for probe in (p for p in _all(program) if p.at is not None):
        assert probe.at is not None
        captures = [probe.capture, *([probe.entry.capture] if probe.entry else [])]
        captures += [probe.condition.capture] if probe.condition else []
        wanted: list[Source | None] = [s.source for c in captures for s in c.stores]
        wanted += [source for c in captures for f in c.fetches for source in (f.pointer, f.size)]
        if probe.condition is not None:
            wanted += [v.source for v in (*probe.condition.early, *probe.condition.late)]
        sources = [s for w in wanted for s in _words_of(w) if isinstance(s, Moving)]
        found |= {"kprobe"} if not probe.by_words else set()
        found |= {"register" for s in sources if not s.context}
        found |= {"stack" for s in sources if not s.context and not s.register}
        found |= {"alone" if s.alone else "copied" if s.copied else "word" for s in sources if s.context}
        found |= {"guard"} if probe.at.until else set()
        found |= {"tracepoint"} if probe.kind == "raw_tracepoint" else set()
    return frozenset(found)


def _words_of(source: Source | None) -> tuple[Source | None, ...]:
    match source:
        case Bits(word=word):
            return (word,)
        case Joined(low=low, high=high):
            return low, high
        case _:
            return (source,)


def emit_header(program: Program) -> str:
    """The header for programs that read the events: the same structs, spelled for user space."""
    declarations = Declarations(program.name, user=True)
    structs = [p.event if p.aggregate is None else p.aggregate.key for p in program.probes]
    fields = {(s.name, f.name): _user_member(f, declarations) for s in structs for f in s.fields}
    template = _environment().get_template("events.h.j2")
    return template.render(program=program, layouts=declarations.proofs, fields=fields)


def _user_member(field: Field, declarations: Declarations) -> str:
    """A member of an event as user space sees it: a record as itself, a floating value as such."""
    if field.role is Role.VALUE and field.type is not None:
        word = declarations.of_type(field.name, field.type)
        if word is not None:
            record = bare(field.type)
            # The event is aligned to 8, so a type that wants more is kept as bytes there; its struct can be copied to.
            size, align = getattr(record, "size", 0), getattr(record, "align", 1)
            if align <= 8:
                tail = field.size - size
                return f"{word} {field.name};" + (f" __u8 __{field.name}_tail[{tail}];" if tail else "")
            return f"__u64 {field.name}[{field.count}]; /* {word}, which is aligned to {align} */"
        kind = bare(field.type)
        if isinstance(kind, Float) and kind.size in (4, 8) and field.count is None:
            return f"{kind.name} {field.name};"
    count = "" if field.count is None else f"[{field.count}]"
    return f"{field.c_type} {field.name}{count};"


# By byte: what a C string literal cannot hold as it is.
_ESCAPES = {byte: f"\\{byte:03o}" for byte in range(256) if not 32 <= byte < 127}
_ESCAPES |= {ord("\\"): "\\\\", ord('"'): '\\"', ord("\n"): "\\n"}


def c_string(text: str) -> str:
    """A C string literal; no byte of it can end the literal or start a trigraph.

    Where an attribute takes one (C2x: an unevaluated string literal), clang refuses escapes that are numbers: printable
    ASCII has none.
    """
    return '"' + text.encode().decode("latin-1").translate(_ESCAPES).replace("??", "?\\?") + '"'


def comment(text: str) -> str:
    """Text that is safe inside a C comment, without control characters."""
    clean = "".join(c if c.isprintable() or c == "\n" else " " for c in text)
    return clean.replace("*/", "* /").replace("/*", "/ *").rstrip("\\")


def _step_literal(a: Aggregate, number: int) -> str:
    """Where a step of an lhist begins, as C of the value's sign."""
    value = a.low + number * a.step
    if not a.signed:
        return f"{value}ULL"
    return "(-9223372036854775807LL - 1)" if value == -(1 << 63) else f"{value}LL"


_CODE_NAMES = {code: f"IN_{register.upper()}" for register, code in REGISTER_CODES.items()} | {NOWHERE: "NOWHERE"}


def _codes(constant: PlaceConstant, by_words: bool) -> str:
    """The initial value of a place's constant."""
    words = [str(v) if by_words or v not in _CODE_NAMES else _CODE_NAMES[v] for v in constant.values]
    return words[0] if constant.count is None else f"{{{', '.join(words)}}}"


# uapi numbers of the helpers (linux/bpf.h), beside those of maps, which the preamble always has.
_HELPERS = {
    "bpf_ktime_get_ns": "static __u64 (*const bpf_ktime_get_ns)(void) = (void *)5;",
    "bpf_get_prandom_u32": "static __u32 (*const bpf_get_prandom_u32)(void) = (void *)7;",
    "bpf_get_smp_processor_id": "static __u32 (*const bpf_get_smp_processor_id)(void) = (void *)8;",
    "bpf_get_current_pid_tgid": "static __u64 (*const bpf_get_current_pid_tgid)(void) = (void *)14;",
    "bpf_get_current_uid_gid": "static __u64 (*const bpf_get_current_uid_gid)(void) = (void *)15;",
    "bpf_get_current_comm": "static long (*const bpf_get_current_comm)(void *buf, __u32 size) = (void *)16;",
    "bpf_perf_event_output": "static long (*const bpf_perf_event_output)(void *ctx, void *map, __u64 flags, void *data, "
    "__u64 size) = (void *)25;",
    "bpf_get_stackid": "static long (*const bpf_get_stackid)(void *ctx, void *map, __u64 flags) = (void *)27;",
    "bpf_get_current_task": "static __u64 (*const bpf_get_current_task)(void) = (void *)35;",
    "bpf_current_task_under_cgroup": "static long (*const bpf_current_task_under_cgroup)(void *map, __u32 index) = "
    "(void *)37;",
    "bpf_get_current_cgroup_id": "static __u64 (*const bpf_get_current_cgroup_id)(void) = (void *)80;",
    "bpf_probe_read_user": "static long (*const bpf_probe_read_user)(void *dst, __u32 size, const void *src) = "
    "(void *)112;",
    "bpf_probe_read_kernel": "static long (*const bpf_probe_read_kernel)(void *dst, __u32 size, const void *src) = "
    "(void *)113;",
    "bpf_probe_read_user_str": "static long (*const bpf_probe_read_user_str)(void *dst, __u32 size, const void *src) = "
    "(void *)114;",
    "bpf_probe_read_kernel_str": "static long (*const bpf_probe_read_kernel_str)(void *dst, __u32 size, "
    "const void *src) = (void *)115;",
    "bpf_ringbuf_reserve": "static void *(*const bpf_ringbuf_reserve)(void *ring, __u64 size, __u64 flags) = "
    "(void *)131;",
    "bpf_ringbuf_submit": "static void (*const bpf_ringbuf_submit)(void *data, __u64 flags) = (void *)132;",
}

_CONTEXT_HELPERS = {
    "timestamp": "bpf_ktime_get_ns",
    "pid": "bpf_get_current_pid_tgid",
    "tid": "bpf_get_current_pid_tgid",
    "uid": "bpf_get_current_uid_gid",
    "gid": "bpf_get_current_uid_gid",
    "cpu": "bpf_get_smp_processor_id",
    "comm": "bpf_get_current_comm",
    "cgroup": "bpf_get_current_cgroup_id",
    "ppid": "bpf_get_current_task",
    "mntns": "bpf_get_current_task",
    "pidns": "bpf_get_current_task",
}


def _helpers(program: Program, contexts: set[str]) -> list[str]:
    """Declarations of the helpers that a program calls, and of no others."""
    used = {_CONTEXT_HELPERS[c] for c in contexts}
    used |= {"bpf_get_current_pid_tgid", "bpf_get_current_comm", "bpf_current_task_under_cgroup"}  # of unwanted()
    used |= {"bpf_get_prandom_u32"} if any(p.sample for p in program.probes) else set()
    used |= {"bpf_ktime_get_ns"} if any(p.limit for p in program.probes) else set()
    if not program.streaming:
        pass
    elif program.buffer == "ring":
        used |= {"bpf_ringbuf_reserve", "bpf_ringbuf_submit"}
    else:
        used |= {"bpf_perf_event_output"}
    if contexts & set(FALLIBLE_CONTEXT):
        used |= {"bpf_probe_read_kernel"}
    if "alone" in _moves(program):
        used |= {"bpf_probe_read_kernel"}
    for probe in _all(program):
        if probe.capture.reads or (probe.entry and probe.entry.capture.reads):
            used |= {"bpf_probe_read_user" if probe.user else "bpf_probe_read_kernel"}
        if probe.capture.words or (probe.at and probe.at.slots):
            used |= {"bpf_probe_read_kernel"}
        for fetch in probe.capture.fetches:
            reads = f"bpf_probe_read_{'user' if fetch.user else 'kernel'}"
            used |= {reads, f"{reads}_str"} if fetch.kind == "string" else {reads}
            used |= {"bpf_probe_read_kernel"} if fetch.room > 64 else set()
            used |= {
                f"bpf_probe_read_{'user' if user else 'kernel'}" for user in (fetch.path.users if fetch.path else ())
            }
        used |= {"bpf_get_stackid"} if probe.stacks else set()
        notes_space = probe.space or (probe.entry is not None and probe.entry.space)
        used |= {"bpf_get_current_task", "bpf_probe_read_kernel"} if notes_space else set()
        if probe.condition is not None:
            used |= _test_helpers(probe, probe.condition)
        timed = probe.entry.capture.stores if probe.entry else ()
        if probe.timed or any(isinstance(s.source, Now) for s in timed):
            used |= {"bpf_ktime_get_ns"}
    return [text for name, text in _HELPERS.items() if name in used]


def template(name: str) -> Template:
    return _environment().get_template(name)


def _test_helpers(probe: Probe, test: Condition) -> set[str]:
    used = {f"bpf_probe_read_{'user' if probe.user else 'kernel'}"} if test.capture.reads else set()
    used |= {"bpf_probe_read_kernel"} if test.capture.words or test.capture.at else set()
    for value in test.late:
        users = value.path.users if value.path is not None else ()
        used |= {f"bpf_probe_read_{'user' if user else 'kernel'}" for user in users}
    memories = {text.memory for text in test.texts}
    used |= {"bpf_get_current_comm"} if "comm" in memories else set()
    return used | {f"bpf_probe_read_{memory}_str" for memory in memories - {"comm"}}


def _text_words(text: TestedText) -> list[tuple[int, int, str]]:
    """Number, mask and literal of each word that counts. The NUL counts in `comm`; elsewhere the copied length tells."""
    length = len(text.text) + (text.memory == "comm" and not text.begins)
    padded = text.text + bytes(8)
    made = []
    for at in range(0, length, 8):
        size = min(8, length - at)
        made.append((at // 8, (1 << 8 * size) - 1, f"{int.from_bytes(padded[at : at + size], 'little'):#x}ULL"))
    return made


def _signed_bits(following: Following) -> bool:
    kind = bare(following.need.type)
    return isinstance(kind, Int | Enum) and kind.signed and not (isinstance(kind, Int) and kind.kind == "bool")


def _bits(hop: Hop) -> tuple[int, int, int, int]:
    """Of a bit-field at a place that is known: the first byte and how many, and how far its unit is shifted up and down."""
    assert hop.bit_width is not None
    first = hop.bit_offset // 8
    size = (hop.bit_offset + hop.bit_width + 7) // 8 - first
    return first, size, 64 - (hop.bit_offset - 8 * first) - hop.bit_width, 64 - hop.bit_width


def prepare() -> None:
    """Import and set up what `emit` needs; worth doing while another process is waited for."""
    _environment()


@cache
def _environment() -> Environment:
    from jinja2 import BytecodeCache, Environment, FileSystemLoader, StrictUndefined
    from jinja2.bccache import Bucket

    class Compiled(BytecodeCache):
        """Templates as bytecode beside specc's own: compiling them takes as long as compiling the C they make.

        What is read is checked by Jinja against the template's text and the versions of Jinja and Python.
        """

        def load_bytecode(self, bucket: Bucket) -> None:
            with contextlib.suppress(OSError), open(self._path(bucket), "rb") as file:
                bucket.load_bytecode(file)

        def dump_bytecode(self, bucket: Bucket) -> None:
            if sys.dont_write_bytecode:
                return
            path = self._path(bucket)
            temporary = f"{path}.{os.getpid()}"
            # An installation that cannot be written to works without.
            with contextlib.suppress(OSError):
                try:
                    with open(temporary, "xb") as file:
                        bucket.write_bytecode(file)
                    os.replace(temporary, path)
                finally:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(temporary)

        def _path(self, bucket: Bucket) -> str:
            return str(_HERE / "__pycache__" / f"{bucket.key}.{sys.implementation.cache_tag}.jinja")

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        bytecode_cache=Compiled(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,  # nobody edits a template while a build runs
        autoescape=False,
    )
    environment.filters.update(c_string=c_string, comment=comment, codes=_codes)
    environment.tests.update(
        register=lambda s: isinstance(s, Register),
        slot=lambda s: isinstance(s, StackSlot),
        word=lambda s: isinstance(s, ContextWord),
        saved=lambda s: isinstance(s, Saved),
        moving=lambda s: isinstance(s, Moving),
        bits=lambda s: isinstance(s, Bits),
        joined=lambda s: isinstance(s, Joined),
        now=lambda s: isinstance(s, Now),
        address_space=lambda s: isinstance(s, AddressSpace),
        elapsed=lambda s: isinstance(s, Elapsed),
        setting=lambda s: isinstance(s, Setting),
        constant=lambda s: isinstance(s, Constant),
        padding=lambda f: f.role is Role.PADDING,
    )
    environment.tests["signed_bits"] = _signed_bits
    environment.filters.update(access=access, bits=_bits, element_pair=element_pair, whole_array=whole_array)
    environment.globals["ALL_BITS"] = ALL_BITS
    environment.globals["DEEPEST_STACK"] = DEEPEST_STACK
    environment.filters["text_words"] = _text_words
    environment.filters["step_literal"] = _step_literal
    return environment

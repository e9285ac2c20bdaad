"""What a kernel said of a program that it did not load, as the diagnostic that a user sees."""

from __future__ import annotations

import pytest

from specc.describe import Description, ProbeDescription
from specc.diagnostics import Location
from specc.ir import Event
from specc.libbpf import LibbpfError
from specc.run.load import Options, _not_loaded, verified

HERE = Location("f.yaml", 5, 13)


def said(kind: str, log: str) -> LibbpfError:
    program = f"prog 'f_{kind}': -- BEGIN PROG LOAD LOG --\n{log}\n-- END PROG LOAD LOG --\n"
    return LibbpfError("bpf_object__load", 22, "Invalid argument", f"libbpf: {program}")


def description(kind: str) -> Description:
    event = Event("f_p_event", "p", 0, 8, ())
    probe = ProbeDescription("p", kind, "chown_it", None, f"f_{kind}", None, None, (), event)
    return Description("f", "ring", 4096, (probe,))


# Linux 5.10 to 7.2, kernel/bpf/btf.c, btf_distill_func_proto().
@pytest.mark.parametrize(
    "line",
    [
        "The function chown_it arg1 type STRUCT is unsupported.",
        "The function chown_it return type STRUCT is unsupported.",
        "The function chown_it has 13 arguments. Too many.",
        "The function chown_it with variable args is unsupported.",
    ],
)
@pytest.mark.parametrize(("kind", "instead"), [("fentry", "kprobe"), ("fexit", "kretprobe")])
def test_a_function_that_no_trampoline_takes(line: str, kind: str, instead: str) -> None:
    log = f"{line}\nprocessed 0 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0"
    found = _not_loaded(said(kind, log), description(kind), Options(where={"p": HERE}.get))
    assert (found.code, found.where, found.notes, found.help) == ("SP426", HERE, (line,), f"use a {instead}")
    assert found.message.endswith(f"do not take `chown_it`, which {kind} needs")


@pytest.mark.parametrize("kind", ["fentry", "kprobe"])
def test_another_no_is_the_verifiers(kind: str) -> None:
    log = "0: (79) r1 = *(u64 *)(r1 +800)\ninvalid bpf_context access off=800 size=8\nprocessed 1 insns (limit 1000000)"
    found = _not_loaded(said(kind, log), description(kind), Options())
    assert (found.code, found.notes) == ("SP430", ("0: (79) r1 = *(u64 *)(r1 +800)",))
    assert found.message.endswith("invalid bpf_context access off=800 size=8")


def test_what_the_verifier_counted() -> None:
    """With -v, also of a program that it refuses; then what is wrong stands before it."""
    counted = "verification time 101 usec\nstack depth 24+40\nprocessed 88 insns (limit 1000000) max_states_per_insn 0 total_states 4 peak_states 4 mark_read 2"
    assert verified(said("kprobe", counted).log) == [
        "f_kprobe: the verifier went through 88 instructions, 64 bytes of stack"
    ]
    found = _not_loaded(said("kprobe", f"1: (b7) r0 = 1\nR9 !read_ok\n{counted}"), description("kprobe"), Options())
    assert found.message.endswith("R9 !read_ok")
    assert verified("prog 'a': failed to load: -13\n") == []


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("libbpf: map 'f_events': failed to create: Invalid argument(-22)\n", "SP425"),
        # With -v, libbpf tells of what went well too.
        ("libbpf: map 'f_events': created successfully, fd=4\nlibbpf: failed to load object 'f'\n", "SP431"),
    ],
)
def test_a_kernel_without_ring_buffers(line: str, code: str) -> None:
    problem = LibbpfError("bpf_object__load", 22, "Invalid argument", line)
    given = description("kprobe")
    assert given.events_map == "f_events"
    assert _not_loaded(problem, given, Options()).code == code

"""What is left to go wrong once an event is laid out: two members of one name, or no room on the program's stack.

In: a probe's event and captures.  Out: findings, and whether there were none.
"""

from __future__ import annotations

import re

from specc.diagnostics import Report
from specc.ir import (
    Condition,
    Event,
    Role,
)
from specc.lower.captures import STACK_BYTES, Captured
from specc.lower.nouns import Value
from specc.spec import ProbeSpec, Spec

# What is in no record and yet is a member beside what is: a size, a value that is only tested, a time, a thread, padding.
_OWN = re.compile(r"__arg_\w+|__path_[0-9]+|__pad[0-9]+|__entered|__owner|__memory")


def check_fields(
    probe: ProbeSpec, event: Event, values: list[Value], constants: frozenset[str], report: Report
) -> bool:
    """No two members of an event or of its `constants`, and no two keys of a record, have one name; the value is what can
    be renamed."""
    places = {v.name: v.where for v in values}
    shown = [f for f in event.fields if f.role in (Role.CONTEXT, Role.VALUE)]
    taken = {f.name for f in event.fields if f.role is not Role.VALUE} | {"probe"} | constants
    # A record tells a failed read under the key NAME_error.
    taken |= {f"{f.record_key}_error" for f in shown if f.status is not None}
    fine = True
    for field in (f for f in shown if f.role is Role.VALUE):
        for name in dict.fromkeys((field.name, field.record_key)):
            own = name == field.name and _OWN.fullmatch(name) is not None
            if name in taken or own:
                fine = False
                report.error(
                    "SP241",
                    f"`{name}` is what specc calls values of its own"
                    if own
                    else f"two fields of `{probe.name.text}` would be called `{name}`",
                    places.get(field.name, probe.where),
                    help=f"give it another name: {{{name}: {{as: {name}_}}}}",
                )
            taken.add(name)
    return fine


def check_room(spec: Spec, probe: ProbeSpec, event: Event, now: Captured, report: Report) -> bool:
    used = 8 * now.capture.slots + (event.size if spec.buffer.kind == "perf" or probe.aggregate is not None else 0)
    if used <= STACK_BYTES:
        return True
    if probe.aggregate is not None:
        report.error(
            "SP289", f"what `{probe.name.text}` aggregates takes {used} bytes of the program's stack, on which it is put "
            f"together, of {STACK_BYTES}", probe.aggregate.where, help="use fewer keys, or shorter strings",
        )  # fmt: skip
        return False
    report.error(
        "SP304",
        f"the event of `{probe.name.text}` has {event.size} bytes, too many for a perf buffer: it is put together on "
        f"the program's stack, which holds {STACK_BYTES - 8 * now.capture.slots} beside the rest",
        probe.where,
        help="use `buffer: {ring: 1MiB}`, or record less",
    )
    return False


def check_test(spec: Spec, probe: ProbeSpec, event: Event, test: Condition, now: Captured, report: Report) -> bool:
    """What is tested is copied to the stack, as what is recorded is, and as is an event for a perf buffer."""
    used = event.size if spec.buffer.kind == "perf" or probe.aggregate is not None else 0
    used += 8 * (test.capture.slots + now.capture.slots + test.capture.words) + 80 * bool(test.texts)
    if used <= STACK_BYTES:
        return True
    report.error(
        "SP289", f"what `{probe.name.text}` tests and records takes {used} bytes of the program's stack, of {STACK_BYTES}",
        probe.condition.where if probe.condition is not None else probe.where,
        help="record fewer of the arguments on the stack, or test none of them",
    )  # fmt: skip
    return False

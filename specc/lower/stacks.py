"""The members of an event that tell of a stack trace, and of the address space that an address is in.

In: a probe.  Out: an errno and an id for each stack that it takes.

    stack_fields(probe)         # (Planned("kernel_stack_error", ...), Planned("kernel_stack", ...))

The frames themselves are in a map of the kernel, each different stack once: its place there is its id.
"""

from __future__ import annotations

from specc.ir import Role
from specc.lower.event import Planned
from specc.lower.shown import in_process
from specc.spec import ProbeSpec


def stack_fields(probe: ProbeSpec) -> list[Planned]:
    planned: list[Planned] = []
    for whose in probe.stacks:
        name, status = f"{whose}_stack", f"{whose}_stack_error"
        comment = f"0, or the negative errno that kept {name} from being taken"
        planned.append(Planned(status, "__s32", None, Role.STATUS, comment=comment))
        planned.append(Planned(name, "__u32", None, Role.STACK, status=status, comment="a key of the map of stacks"))
    return planned


def wants_space(probe: ProbeSpec) -> bool:
    return in_process(probe) and any(a.format == "symbol" for a in probe.args or ())


def space_field(probe: ProbeSpec) -> list[Planned]:
    """Where the process's stack began: random, and another after each exec."""
    comment = "where the process's stack began, which tells it from the next of this number; 0 where it has none"
    return [Planned("address_space", "__u64", None, Role.SPACE, comment=comment)] if wants_space(probe) else []

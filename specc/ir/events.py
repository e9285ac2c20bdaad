"""Events: the struct that a probe fills, member by member, and why each member is there.

In: nothing, these are nouns.  Out: one layout for the emitted C and for every decoder, so that they cannot drift apart.

    event.field("pid").role             # Role.CONTEXT
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from specc.noun import dataclass
from specc.prototype import CType

CONTEXT: Final[dict[str, tuple[str, int, int | None]]] = {  # name: C type, bytes of one element, elements
    "timestamp": ("__u64", 8, None),
    "pid": ("__u32", 4, None),
    "tid": ("__u32", 4, None),
    "ppid": ("__u32", 4, None),
    "uid": ("__u32", 4, None),
    "gid": ("__u32", 4, None),
    "cpu": ("__u32", 4, None),
    "comm": ("char", 1, 16),
    "cgroup": ("__u64", 8, None),
    "mntns": ("__u32", 4, None),
    "pidns": ("__u32", 4, None),
}
OWNER: Final = "__owner"  # of an event: the thread whose own a cell is
ADDRESSES: Final = {"ipv4": 4, "ipv6": 16, "mac": 6}  # formats of whole structs and bytes, and how many bytes

STACKS: Final = ("kernel", "user")  # whose stack; the event's field and the map are called after it
DEEPEST_STACK: Final = 127  # frames: what kernel.perf_event_max_stack is, unless someone changed it

# These walk the task's own structs, and such a read can fail (a task that exits has no namespaces any more).
FALLIBLE_CONTEXT: Final = ("ppid", "mntns", "pidns")


class Role(Enum):
    """Why a member is in an event. CONTEXT, VALUE and STACK reach a record; the others are how it is carried."""

    PROBE = "probe"  # which probe of the spec made the event
    STATUS = "status"  # 0, or the negative errno of a read
    LENGTH = "length"  # how many bytes a value behind a pointer has, in truth
    ABSENT = "absent"  # a bit per optional field that this kernel does not have
    CONTEXT = "context"
    VALUE = "value"
    STACK = "stack"  # the id of a stack trace in one of the program's maps, which has its frames
    SPACE = "space"  # what tells the address space of a process from those before and after it
    PADDING = "padding"


@dataclass(frozen=True, slots=True)
class Names:
    """What an integer's values are called in records: each value ("enum"), or its bits ("flags").

    `source` is what the spec calls them: an enum, or a prefix. The values are as the field has them: cut to its width, with
    its sign, and each has one name. With `btf` they are out of the targets' BTF, and on all of them: who knows the kernel
    that runs takes its names instead.
    """

    kind: str
    source: str
    members: tuple[tuple[str, int], ...]
    btf: bool = False


@dataclass(frozen=True, slots=True)
class Field:
    """One member of an event struct: `size` bytes at `offset`, spelled `c_type name` or `c_type name[count]`.

    `type` is the C type of the value for the decoder (None for what is not a VALUE). `status` names the STATUS field
    that says whether the value could be read; `absent_bit` is its bit in the ABSENT field; `length` names the LENGTH
    field of a string or of bytes, which is more than the member holds when the value was cut. With `names`, a record has
    the value by name.
    """

    name: str
    offset: int
    size: int
    c_type: str
    count: int | None
    role: Role
    type: CType | None = None
    format: str | None = None
    status: str | None = None
    absent_bit: int | None = None
    comment: str = ""
    key: str = ""  # the name in records, where it is not `name`: `return` is a keyword of C
    place: str = ""  # of a VALUE, for a person: "rsi", "sp+8", "absent"
    length: str | None = None
    names: Names | None = None

    @property
    def record_key(self) -> str:
        return self.key or self.name


@dataclass(frozen=True, slots=True)
class Event:
    """The record of one probe. `name` is the struct's tag; `size` is a multiple of 8 and has no hidden padding."""

    name: str
    probe: str
    number: int
    size: int
    fields: tuple[Field, ...]

    def field(self, name: str) -> Field:
        return next(f for f in self.fields if f.name == name)

"""Document -> Spec, and the nouns that a Spec is made of.

In: a positioned Document.  Out: a Spec, or None after diagnostics SP101-SP159 went to the Report.

    spec = read_spec(load(Path("specs/gup.yaml")), report)
    missing_files(spec, Path("specs"), report)
"""

from specc.spec.files import missing_files
from specc.spec.nouns import (
    KERNEL_KINDS,
    KINDS,
    RETURN_KINDS,
    SYSCALL_KINDS,
    TRACEPOINT,
    TRAMPOLINE_KINDS,
    USER_KINDS,
    WORD_KINDS,
    AggregateSpec,
    ArgumentSpec,
    Buffer,
    ProbeSpec,
    Spec,
    TargetSpec,
    UserTarget,
    Word,
)
from specc.spec.reader import DEFAULT_FIELDS, read_spec
from specc.spec.targets import read_targets

__all__ = [
    "DEFAULT_FIELDS",
    "KERNEL_KINDS",
    "KINDS",
    "RETURN_KINDS",
    "SYSCALL_KINDS",
    "TRACEPOINT",
    "TRAMPOLINE_KINDS",
    "USER_KINDS",
    "WORD_KINDS",
    "AggregateSpec",
    "ArgumentSpec",
    "Buffer",
    "ProbeSpec",
    "Spec",
    "TargetSpec",
    "UserTarget",
    "Word",
    "missing_files",
    "read_spec",
    "read_targets",
]

"""specc compiles declarative probe specs to libbpf C and BPF objects, and runs them.

with specc.open("specs/gup.yaml") as probe:
    for event in probe: ...
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from specc.api import Running as Running
    from specc.api import SpeccError as SpeccError
    from specc.api import open as open

__version__ = "0.1.0"

_API = ("Running", "SpeccError", "open")


def __getattr__(name: str) -> object:
    """The interface for programs is loaded when it is first used: the command line starts without it."""
    if name not in _API:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from specc import api

    return getattr(api, name)

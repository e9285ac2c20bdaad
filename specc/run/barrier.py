"""Waiting until no program runs any more that ran a moment ago.

In: libbpf.  Out: a `Barrier`, which holds two small maps.

    barrier = Barrier(library)
    barrier.wait()

The kernel promises it to who changes a map of maps: the update returns after a grace period of RCU, so that the map that was
there is no program's any more (maybe_wait_bpf_programs() of kernel/bpf/syscall.c). membarrier(2) waits in the same way, but
not with nohz_full, and not where there is one processor, on which a program may yet have been preempted.
"""

from __future__ import annotations

import os
from typing import Final

from specc.libbpf import Library

_KEY: Final = bytes(4)


class Barrier:
    """Made before privileges are given up: to make a map takes more than to change one."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._inner = library.create_map("array", value_size=4)
        try:
            self._outer = library.create_map("array_of_maps", value_size=4, inner=self._inner)
        except BaseException:
            os.close(self._inner)
            raise

    def wait(self) -> None:
        """Return when every BPF program that ran at the time of the call has ended. Raises LibbpfError."""
        self._library.update_bytes(self._outer, _KEY, self._inner.to_bytes(4, "little"))

    def close(self) -> None:
        for descriptor in (self._outer, self._inner):
            if descriptor >= 0:
                os.close(descriptor)
        self._inner = self._outer = -1

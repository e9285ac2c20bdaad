"""specc.lock: what specs give, one fact a line, to be read in reviews and compared later.

In: compiled specs.  Out: a `Lock`, its text, a lock read from text, and what differs between two.

    lock = Lock((locked_spec("specs/gup.yaml", program, surveys, {"gup.bpf.c": b"..."}),))
    text = write_lock(lock)
    read_lock(text, "specc.lock") == lock
    event_changes(old, new)          # (EventChange("specs/gup.yaml", "gup", "vmas", "removed", True, "..."),)

The text is sorted by spec, and within it has the order of the spec, which means something: the first target says what
the types are, and the number of a probe is in its events. Nothing in it depends on the machine but what an object was
compiled by, which stands beside its hash.
"""

from specc.lock.changes import EventChange, event_changes, lock_difference, spec_changes
from specc.lock.files import NAME, Locks, load_lock, lock_folder, path_in
from specc.lock.made import locked_spec
from specc.lock.nouns import Lock, LockedField, LockedOutput, LockedProbe, LockedSpec, LockedTarget
from specc.lock.text import read_lock, write_lock

__all__ = [
    "NAME",
    "EventChange",
    "Lock",
    "LockedField",
    "LockedOutput",
    "LockedProbe",
    "LockedSpec",
    "LockedTarget",
    "Locks",
    "event_changes",
    "load_lock",
    "lock_difference",
    "lock_folder",
    "locked_spec",
    "path_in",
    "read_lock",
    "spec_changes",
    "write_lock",
]

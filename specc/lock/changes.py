"""What differs between two locks: line by line for a review, and for those who read the events.

In: two locked specs, or two locks.  Out: lines with `-` and `+`; or `EventChange`s, which say whether they break readers.

    lock_difference(old, new)        # ["    on 6.12", "-       at locked: sp+8", "+       at locked: r9"]
    event_changes(old, new)          # (EventChange("specs/gup.yaml", "gup", "vmas", "removed", True, "`vmas` is gone"),)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from specc.lock.nouns import Lock, LockedProbe, LockedSpec
from specc.lock.text import spec_lines
from specc.noun import dataclass, replace


def lock_difference(old: LockedSpec, new: LockedSpec, *, written: bool = False) -> list[str]:
    """The lines that differ, with `-` and `+` before them, each run with what it stands in. None when they agree.

    An output is compared where both have it: `check` makes no objects. Where the new ones are to be `written`, one that
    the lock does not have is a difference too.
    """
    made = {o.name for o in new.outputs}
    both = {o.name for o in old.outputs} & made
    ours, theirs = (
        spec_lines(replace(spec, outputs=tuple(o for o in spec.outputs if o.name in names)))
        for spec, names in ((old, both), (new, made if written else both))
    )
    found: list[str] = []
    shown: list[str] = []
    for tag, i, i_end, j, j_end in SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        around = _standing_in(theirs, j) if j < j_end else _standing_in(ours, i)
        found += [f"  {line}" for line in around if line not in shown]
        shown = around + theirs[j:j_end]
        found += [f"- {line}" for line in ours[i:i_end]] + [f"+ {line}" for line in theirs[j:j_end]]
    return found


def _standing_in(lines: Sequence[str], at: int) -> list[str]:
    """The lines around one, from the outside in: those before it that are indented less."""
    indent, around = _indent(lines[at]), []
    for line in reversed(lines[1:at]):
        if _indent(line) < indent:
            around.append(line)
            indent = _indent(line)
    return around[::-1]


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


@dataclass(frozen=True, slots=True)
class EventChange:
    """What is other in an event. `kind` is "removed", "moved", "resized", "retyped", "nullable", "renumbered", "renamed" or
    "added"; `field` is empty when it is about the probe, and `probe` when it is about the spec. `breaks` says that who reads the events must change."""

    spec: str
    probe: str
    field: str
    kind: str
    breaks: bool
    text: str


def event_changes(old: Lock, new: Lock) -> tuple[EventChange, ...]:
    """What those who read the events of the old specs meet in those of the new ones; breaking or not."""
    found: list[EventChange] = []
    for spec in old.specs:
        now = new.spec(spec.path)
        if now is None:
            found.append(EventChange(spec.path, "", "", "removed", True, "the spec is gone"))
        else:
            found += spec_changes(spec, now)
    paths = {spec.path for spec in old.specs}
    found += [EventChange(s.path, "", "", "added", False, "the spec is new") for s in new.specs if s.path not in paths]
    return tuple(sorted(found, key=lambda change: change.spec))


def spec_changes(old: LockedSpec, new: LockedSpec) -> list[EventChange]:
    """The same for two specs, whatever they are called."""
    there = {probe.name: probe for probe in new.probes}
    before = {probe.name for probe in old.probes}
    found: list[EventChange] = []
    if old.name != new.name:
        text = f"files, maps, structs and modules are called after `{new.name}`, they were after `{old.name}`"
        found.append(EventChange(new.path, "", "", "renamed", True, text))
    if old.buffer and new.buffer and old.buffer != new.buffer:
        text = f"events come by a {new.buffer} buffer, they came by a {old.buffer} buffer"
        found.append(EventChange(new.path, "", "", "moved", True, text))
    for probe in old.probes:
        now = there.get(probe.name)
        if now is None:
            found.append(EventChange(new.path, probe.name, "", "removed", True, "the probe is gone"))
            continue
        if probe.number != now.number:
            text = f"its events have the number {now.number}, they had {probe.number}"
            found.append(EventChange(new.path, probe.name, "", "renumbered", True, text))
        if probe.aggregate != now.aggregate:
            text = f"it gives {now.aggregate or 'events'}, it gave {probe.aggregate or 'events'}"
            found.append(EventChange(new.path, probe.name, "", "retyped", True, text))
        found += _field_changes(new.path, probe, now)
    added = [probe for probe in new.probes if probe.name not in before]
    return found + [EventChange(new.path, p.name, "", "added", False, "the probe is new") for p in added]


def _field_changes(path: str, old: LockedProbe, new: LockedProbe) -> Iterator[EventChange]:
    there = {field.name: field for field in new.fields}
    before = {field.name for field in old.fields}

    def change(name: str, kind: str, text: str, *, breaks: bool = True) -> EventChange:
        return EventChange(path, new.name, name, kind, breaks, text)

    for field in old.fields:
        now = there.get(field.name)
        if now is None:
            yield change(field.name, "removed", f"`{field.name}` is gone")
            continue
        if field.type != now.type:
            yield change(field.name, "retyped", f"`{field.name}` is `{now.type}`, it was `{field.type}`")
        if field.size != now.size:
            yield change(field.name, "resized", f"`{field.name}` has {now.size} bytes, it had {field.size}")
        if field.offset != now.offset:
            yield change(field.name, "moved", f"`{field.name}` is at byte {now.offset}, it was at {field.offset}")
        if field.bit is None and now.bit is not None:
            yield change(field.name, "nullable", f"`{field.name}` may be null, it was always there")
        elif field.bit is not None and now.bit is not None and field.bit != now.bit:
            yield change(field.name, "moved", f"`{field.name}` has bit {now.bit} of `absent`, it had {field.bit}")
    for field in new.fields:
        if field.name not in before:
            yield change(field.name, "added", f"`{field.name}` is new, at byte {field.offset}", breaks=False)

"""Makes a failing signature smaller, one step at a time, while it fails.

In: a Signature and a test that takes many at once (one compilation for a whole round).  Out: a smaller Signature.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from .shapes import LONG, Array, Record, Signature, Type, Typedef

Failing = Callable[[Sequence[Signature]], Sequence[bool]]
ROUNDS = 40


def shrink(signature: Signature, failing: Failing) -> Signature:
    for _ in range(ROUNDS):
        smaller = list(dict.fromkeys(steps(signature)))
        if not smaller:
            break
        failed = [one for one, bad in zip(smaller, failing(smaller), strict=True) if bad]
        if not failed:
            break
        signature = min(failed, key=weight)
    return signature


def weight(signature: Signature) -> int:
    extra = 0 if signature.returns is None else _weight(signature.returns)
    return sum(map(_weight, signature.parameters)) + extra + signature.variadic


def _weight(type_: Type) -> int:
    match type_:
        case Array(element=element, length=length):
            return 2 + _weight(element) + (length or 0)
        case Typedef(base=base, attributes=attributes):
            return 2 + _weight(base) + len(attributes)
        case Record(members=members, attributes=attributes, pack=pack):
            own = sum(_weight(one.type) + len(one.attributes) + (one.bits or 0) + 1 for one in members)
            return 8 + own + len(attributes) + (pack or 0)
        case _:
            return 3 if type_ == LONG else 4


def steps(signature: Signature) -> Iterator[Signature]:
    """Every signature that is one simplification away."""
    types = signature.parameters
    if signature.returns is not None:
        yield replace(signature, returns=None)
        yield from (replace(signature, returns=one) for one in _simpler(signature.returns))
    if signature.variadic:
        yield replace(signature, variadic=False)
    for index, type_ in enumerate(types):
        before, after = types[:index], types[index + 1 :]
        if len(types) > 1 or not signature.variadic:
            yield replace(signature, parameters=before + after)
        for one in _simpler(type_):
            yield replace(signature, parameters=(*before, one, *after))


def _simpler(type_: Type) -> Iterator[Type]:
    if type_ != LONG:
        yield LONG
    match type_:
        case Typedef(base=base):
            yield base
        case Array(element=element, length=length):
            yield element
            if length and length > 1:
                yield replace(type_, length=1)
                yield replace(type_, length=length - 1)
        case Record():
            yield from _simpler_record(type_)
        case _:
            pass


def _simpler_record(record: Record) -> Iterator[Type]:
    if record.attributes:
        yield replace(record, attributes="")
    if record.pack is not None:
        yield replace(record, pack=None)
    for index, one in enumerate(record.members):
        before, after = record.members[:index], record.members[index + 1 :]
        yield replace(record, members=before + after)
        if one.attributes:
            yield replace(record, members=(*before, replace(one, attributes=""), *after))
        for simple in _simpler(one.type):
            if one.bits is not None or (not one.named and not isinstance(simple, Record)):
                continue
            yield replace(record, members=(*before, replace(one, type=simple), *after))

"""`@dataclass` for specc's nouns: as the standard library's with slots, made in a tenth of the time.

In: a class with annotated fields.  Out: the class with slots, `__init__`, `__eq__`, `__hash__`, `__repr__`, `__match_args__`.

    @dataclass(frozen=True, slots=True)
    class Piece: ...

The standard library writes and compiles the source of six methods for each class, which for all of specc's takes as
long as compiling a probe. Here the methods are shared, but for `__init__`, which is compiled when the class is first
used. Type checkers see the standard library's, and `dataclasses.fields`, `replace` and `asdict` work on these classes.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import dataclass, field, replace

    __all__ = ["dataclass", "field", "replace"]

else:

    def dataclass(*, slots: bool, frozen: bool = False, order: bool = False) -> Callable[[type], type]:
        if not slots:
            raise TypeError("a noun has slots")
        return lambda cls: _noun(cls, frozen, order)

    def field(*, default_factory: Callable[[], object]) -> _Factory:
        return _Factory(default_factory)

    def replace(noun: Any, /, **changes: object) -> Any:
        values = {name: getattr(noun, name) for name in noun.__match_args__}
        return type(noun)(**(values | changes))


class _Factory:
    """The default of a field that is made anew for each object."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[[], object]) -> None:
        self.make = make


def _noun(cls: type, frozen: bool, order: bool) -> type:
    if any("__match_args__" in vars(base) for base in cls.__mro__[1:-1]):
        raise TypeError(f"{cls.__name__}: a noun is not derived from another one")
    names = tuple(cls.__annotations__)
    body = {k: v for k, v in vars(cls).items() if k not in ("__dict__", "__weakref__")}
    defaults = {name: body.pop(name) for name in names if name in body}
    methods = {**_SHARED, **(_FROZEN if frozen else {"__hash__": None}), **(_ordering() if order else {})}
    body = {**methods, **body, "__slots__": names, "__match_args__": names, "__dataclass_fields__": _Fields(defaults)}
    body["_values"] = staticmethod(_values_of(names))
    made = type(cls)(cls.__name__, cls.__bases__, body)
    if "__init__" not in vars(cls):

        def first(self: object, *args: object, **named: object) -> None:
            init = _init(names, defaults, frozen)
            made.__init__ = init  # type: ignore[misc]
            init(self, *args, **named)

        made.__init__ = first  # type: ignore[misc]
    return made


def _values_of(names: tuple[str, ...]) -> Callable[[object], tuple[object, ...]]:
    """A function that gives an object's fields as a tuple; in C where there are two or more."""
    if len(names) > 1:
        return attrgetter(*names)
    return lambda noun: tuple(getattr(noun, name) for name in names)


def _init(names: tuple[str, ...], defaults: dict[str, object], frozen: bool) -> Callable[..., None]:
    scope: dict[str, Any] = {"_set": object.__setattr__, "_MISSING": object()}
    parameters, lines = [], []
    for number, name in enumerate(names):
        parameter, value = name, name
        if name in defaults:
            default = defaults[name]
            if isinstance(default, _Factory):
                scope[f"_d{number}"] = default.make
                parameter, value = f"{name}=_MISSING", f"_d{number}() if {name} is _MISSING else {name}"
            else:
                scope[f"_d{number}"] = default
                parameter = f"{name}=_d{number}"
        parameters.append(parameter)
        lines.append(f" _set(self, {name!r}, {value})" if frozen else f" self.{name} = {value}")
    exec(f"def __init__({', '.join(['self', *parameters])}):\n" + ("\n".join(lines) or " pass"), scope)
    made: Callable[..., None] = scope["__init__"]
    return made


def _eq(self: Any, other: Any) -> Any:
    return self._values(self) == other._values(other) if self.__class__ is other.__class__ else NotImplemented


def _hash(self: Any) -> int:
    return hash(self._values(self))


_printing: set[int] = set()


def _repr(self: Any) -> str:
    if id(self) in _printing:
        return "..."
    _printing.add(id(self))
    try:
        values = zip(self.__match_args__, self._values(self), strict=True)
        return f"{type(self).__qualname__}({', '.join(f'{name}={value!r}' for name, value in values)})"
    finally:
        _printing.discard(id(self))


def _refuse(self: object, name: str, *_: object) -> None:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot change `{name}` of a {type(self).__name__}")


def _setstate(self: object, state: tuple[None, dict[str, object]]) -> None:
    """Copying and unpickling write to a frozen object."""
    for name, value in state[1].items():
        object.__setattr__(self, name, value)


def _ordering() -> dict[str, Callable[[Any, Any], Any]]:
    from operator import ge, gt, le, lt

    def method(compare: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def ordered(self: Any, other: Any) -> Any:
            same = self.__class__ is other.__class__
            return compare(self._values(self), other._values(other)) if same else NotImplemented

        return ordered

    return {"__lt__": method(lt), "__le__": method(le), "__gt__": method(gt), "__ge__": method(ge)}


class _Fields:
    """`__dataclass_fields__`, made by the standard library when somebody asks for it."""

    __slots__ = ("defaults", "made")

    def __init__(self, defaults: dict[str, object]) -> None:
        self.defaults = defaults
        self.made: dict[str, Any] | None = None

    def __get__(self, noun: object, cls: type) -> dict[str, Any]:
        if self.made is None:
            import dataclasses

            def described(default: object) -> Any:
                if isinstance(default, _Factory):
                    return dataclasses.field(default_factory=default.make)
                return dataclasses.field(default=default)

            body = {name: described(default) for name, default in self.defaults.items()}
            body["__annotations__"] = cls.__annotations__
            self.made = vars(dataclasses.dataclass(type(cls.__name__, (), body)))["__dataclass_fields__"]
        return self.made


_SHARED = {"__eq__": _eq, "__repr__": _repr, "__setstate__": _setstate}
_FROZEN = {"__hash__": _hash, "__setattr__": _refuse, "__delattr__": _refuse}

"""dataclass: that of the standard library, but for methods that cost nothing until they are called.

    @dataclass(frozen=True)         fields, equality and `replace` as `dataclasses.dataclass` makes them
    __init__                        is written and compiled when a few objects were made
    __eq__, __hash__, __repr__ ..   are the same few functions for all classes; fields are compared as tuples are, in
                                    every Python: one object is equal to itself, though it be NaN

The standard library writes and compiles up to six functions a class when its module is imported, half a millisecond;
who loads a network imports more than a hundred classes, and has made objects of seventy by the first answer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, FrozenInstanceError, fields
from operator import attrgetter
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(cls=None, /, *, frozen=False, eq=True, kw_only=False, slots=False):
        """Turn a class into a dataclass, or give what does; one with slots is the standard library's in all.

        >>> @dataclass(frozen=True)
        ... class Point:
        ...     x: int
        ...     y: int = 0
        >>> Point(1), Point(1) == Point(1, 0), {Point(2, 3): "there"}[Point(2, 3)]
        (Point(x=1, y=0), True, 'there')
        """
        if slots:
            return dataclasses.dataclass(cls, frozen=frozen, eq=eq, kw_only=kw_only, slots=True)

        def make(cls: type) -> type:
            # Where there is none its signature would be put there, which takes a millisecond.
            cls.__doc__ = cls.__doc__ or cls.__name__
            made = dataclasses.dataclass(init=False, repr=False, eq=False, kw_only=kw_only)(cls)
            added = {"__init__": _first_init(made, frozen), "__repr__": _representation(made)}
            own = vars(cls)
            if eq:
                added["__eq__"] = _equality(made)
                if own.get("__hash__") is None:
                    made.__hash__ = _hash(made) if frozen else None
            if frozen:
                added |= {"__setattr__": _refuse_to_set(made), "__delattr__": _refuse_to_delete(made)}
            for name, function in added.items():
                if name not in own:
                    setattr(made, name, function)
            return made

        return make if cls is None else make(cls)


FEW = 8
"""Objects of a class whose fields are put in one by one: writing and compiling `__init__` takes as long as dozens."""


def _first_init(cls: type, frozen: bool) -> Callable[..., None]:
    """An `__init__` that fills in the first few objects, and then writes the class's own in its place."""
    taken: list[Field[Any]] = []
    count = 0

    def __init__(self: Any, /, *given: Any, **named: Any) -> None:
        nonlocal count, taken
        count, taken = count + 1, taken or list(fields(cls))
        if count <= FEW and _fill_in(self, taken, given, named):
            return
        written = _write_init(cls, frozen)
        if vars(cls).get("__init__") is __init__:
            type.__setattr__(cls, "__init__", written)
        written(self, *given, **named)

    return __init__


def _fill_in(made: Any, taken: list[Field[Any]], given: Sequence[Any], named: dict[str, Any]) -> bool:
    """Give an object its fields; False, and nothing done, where arguments do not fit: who says so is `__init__`."""
    words = [each.name for each in taken if each.init and not each.kw_only]
    values = dict(zip(words, given, strict=False))
    known = {each.name for each in taken if each.init}
    if len(given) > len(words) or not named.keys() <= known or named.keys() & values.keys():
        return False
    values |= named
    needed = (each for each in taken if each.init and each.default is each.default_factory is MISSING)
    if any(each.name not in values for each in needed):
        return False
    for each in taken:
        if each.name not in values:
            if each.default_factory is not MISSING:
                values[each.name] = each.default_factory()
            elif each.init:
                values[each.name] = each.default
            else:
                continue
        object.__setattr__(made, each.name, values[each.name])
    if hasattr(made, "__post_init__"):
        made.__post_init__()
    return True


def _write_init(cls: type, frozen: bool) -> Callable[..., None]:
    """The `__init__` of a class: its fields in their order, those by keyword alone behind them."""
    taken = [each for each in fields(cls) if each.init]
    known: dict[str, Any] = {"_set": object.__setattr__, "_missing": MISSING}
    words = [_parameter(each, known) for each in taken if not each.kw_only]
    named = [_parameter(each, known) for each in taken if each.kw_only]
    lines = [f"def __init__({', '.join(['self', *words, *(['*', *named] if named else [])])}):"]
    for each in fields(cls):
        if each.default_factory is not MISSING:
            known[f"_make_{each.name}"] = each.default_factory
            value = f"_make_{each.name}()"
            value = f"{value} if {each.name} is _missing else {each.name}" if each.init else value
        elif each.init:
            value = each.name
        else:
            continue
        lines.append(f" _set(self, {each.name!r}, {value})" if frozen else f" self.{each.name} = {value}")
    lines.append(" self.__post_init__()" if hasattr(cls, "__post_init__") else " pass")
    exec("\n".join(lines), known)
    made: Callable[..., None] = known["__init__"]
    made.__qualname__, made.__module__ = f"{cls.__qualname__}.__init__", cls.__module__
    return made


def _parameter(each: Field[Any], known: dict[str, Any]) -> str:
    """How a field stands among the parameters; its default is put among what is known."""
    if each.default_factory is not MISSING:
        return f"{each.name}=_missing"
    if each.default is MISSING:
        return each.name
    known[f"_default_{each.name}"] = each.default
    return f"{each.name}=_default_{each.name}"


def _values(names: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    """What gives the attributes of these names as a tuple."""
    if len(names) > 1:
        return attrgetter(*names)
    return lambda each: tuple([getattr(each, name) for name in names])


def _equality(cls: type) -> Callable[[Any, Any], Any]:
    values = _values([each.name for each in fields(cls) if each.compare])

    def __eq__(self: Any, other: object) -> Any:
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    return __eq__


def _hash(cls: type) -> Callable[[Any], int]:
    values = _values([e.name for e in fields(cls) if (e.compare if e.hash is None else e.hash)])

    def __hash__(self: Any) -> int:
        return hash(values(self))

    return __hash__


def _representation(cls: type) -> Callable[[Any], str]:
    names = [each.name for each in fields(cls) if each.repr]
    values, said = _values(names) if names else lambda each: (), ", ".join(f"{name}=%r" for name in names)

    @recursive_repr("...")
    def __repr__(self: Any) -> str:
        return f"{self.__class__.__qualname__}({said % values(self)})"

    return __repr__


def _refuse_to_set(cls: Any) -> Callable[[Any, str, Any], None]:
    names = {each.name for each in fields(cls)}

    def __setattr__(self: Any, name: str, value: Any) -> None:
        if type(self) is cls or name in names:
            raise FrozenInstanceError(f"cannot assign to field {name!r}")
        super(cls, self).__setattr__(name, value)

    return __setattr__


def _refuse_to_delete(cls: Any) -> Callable[[Any, str], None]:
    names = {each.name for each in fields(cls)}

    def __delattr__(self: Any, name: str) -> None:
        if type(self) is cls or name in names:
            raise FrozenInstanceError(f"cannot delete field {name!r}")
        super(cls, self).__delattr__(name)

    return __delattr__


__all__ = ["dataclass"]

"""A class of ours is what the standard library makes of it, but for when its methods are written."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, field
from typing import Any

import pytest

from convmat import lazy_dataclass
from convmat.lazy_dataclass import dataclass

NAN = float("nan")


def _kinds(make: Any) -> dict[str, Any]:
    """Classes of every kind that is used, made by `make`."""

    @make(frozen=True)
    class Plain:
        """Fields with and without defaults."""

        a: int
        b: Any = 2

    @make(frozen=True, kw_only=True)
    class ByKeyword:
        b: int = 1
        a: int

    @make(frozen=True)
    class Derived(Plain):
        c: list[int] = field(default_factory=list)
        d: int = field(default=4, compare=False, repr=False)
        e: int = field(init=False, compare=False)

        def __post_init__(self) -> None:
            object.__setattr__(self, "e", 5)

    @make(frozen=True, eq=False)
    class ItsOwn:
        a: int

    @make
    class Changing:
        a: int
        f: dict[str, int] = field(default_factory=dict)

    @make(frozen=True)
    class Hashed:
        a: int
        b: int = 0

        def __hash__(self) -> int:
            return hash(self.a)

    @make(frozen=True)
    class Nothing:
        pass

    @make(frozen=True, slots=True)
    class Slotted:
        a: int
        b: int = 0

    return {
        each.__name__: each
        for each in (Plain, ByKeyword, Derived, ItsOwn, Changing, Hashed, Nothing, Slotted)
    }


OURS, THEIRS = _kinds(dataclass), _kinds(dataclasses.dataclass)

CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("Plain", (1,), {}), ("Plain", (1, 3), {}), ("Plain", (), {"b": 1, "a": 2}), ("Plain", (NAN, NAN), {}),
    ("Plain", (), {}), ("Plain", (1, 2, 3), {}), ("Plain", (1,), {"z": 1}), ("ByKeyword", (), {"a": 2}),
    ("ByKeyword", (1,), {}), ("Derived", (1,), {}), ("Derived", (1, 2, [3]), {"d": 7}), ("Derived", (1,), {"e": 1}),
    ("ItsOwn", (1,), {}), ("Changing", (1,), {}), ("Changing", (1, {"a": 2}), {}), ("Hashed", (1, 2), {}),
    ("Nothing", (), {}), ("Nothing", (1,), {}),
    ("Slotted", (1,), {}),
]  # fmt: skip


def _told(make: Any) -> Any:
    """What a call gives, or the kind of error and what it says."""
    try:
        return make()
    except (TypeError, FrozenInstanceError) as error:
        return type(error), str(error).replace("_kinds.<locals>.", "")


@pytest.mark.parametrize("few", [0, lazy_dataclass.FEW])
@pytest.mark.parametrize("call", CALLS, ids=repr)
def test_it_is_what_dataclasses_makes(
    call: tuple[str, tuple[Any, ...], dict[str, Any]], few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where fields are put in one by one, of the first objects of a class."""
    monkeypatch.setattr(lazy_dataclass, "FEW", few)
    name, given, named = call
    OURS = _kinds(dataclass)
    ours, theirs = (_told(lambda kind=kind: kind[name](*given, **named)) for kind in (OURS, THEIRS))
    if isinstance(theirs, tuple):
        assert ours == theirs
        return
    assert repr(ours) == repr(theirs)
    assert getattr(ours, "__dict__", None) == getattr(theirs, "__dict__", None)
    assert [each.name for each in dataclasses.fields(ours)] == [
        each.name for each in dataclasses.fields(theirs)
    ]
    for kind, one in ((OURS, ours), (THEIRS, theirs)):
        other = kind[name](*given, **named)
        # From 3.13 on theirs compares field by field, where a NaN is not itself; ours compares tuples, where it is.
        same = name != "ItsOwn" and (kind is OURS or NAN not in given or sys.version_info < (3, 13))
        assert (one == other) is same, kind
        assert (one == copy.copy(one)) is same
        assert one.__eq__(3) is NotImplemented
        assert (dataclasses.replace(one) == one) is same
    assert _told(lambda: hash(ours) == hash(ours)) == _told(lambda: hash(theirs) == hash(theirs))
    for change in (lambda x: setattr(x, "a", 9), lambda x: delattr(x, "a"), lambda x: setattr(x, "z", 9)):
        assert _told(lambda change=change: change(ours)) == _told(lambda change=change: change(theirs))


@dataclass(frozen=True)
class Kept:
    """What is pickled."""

    a: int
    b: tuple[int, ...] = ()


def test_it_is_pickled_before_and_after_the_first_is_made() -> None:
    made = pickle.loads(pickle.dumps(Kept(1, (2,))))
    assert (made, hash(made), repr(made)) == (Kept(1, (2,)), hash(Kept(1, (2,))), "Kept(a=1, b=(2,))")


def test_threads_that_make_the_first_ones_together_all_get_theirs() -> None:
    for _ in range(20):
        kind = _kinds(dataclass)["Derived"]
        with ThreadPoolExecutor(4) as pool:
            assert [each.a for each in pool.map(kind, range(4))] == [0, 1, 2, 3]


def test_no_method_is_written_before_a_few_objects() -> None:
    kind = _kinds(dataclass)["Plain"]
    waiting = kind.__init__
    for _ in range(lazy_dataclass.FEW):
        assert kind(1).b == 2
        assert kind.__init__ is waiting
    assert kind(1).b == 2
    assert kind.__init__ is not waiting
    assert kind(1).__init__.__func__ is kind.__init__

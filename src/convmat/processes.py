"""What belongs to one process: locks that a forked child finds open or that end with it, objects that stay in it.

A child made by `fork` has one thread, the one that forked. A lock that another thread held then is held for ever there,
so every lock of the package is made here, and opened in a child. They are reentrant, since a signal handler runs in
the midst of whatever its thread is doing.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, NoReturn, Self, TypeVar, overload

from .errors import EngineError

T = TypeVar("T")


class Lock:
    """A reentrant lock that is open in a forked child, unless the thread that forked holds it.

    >>> lock = Lock()
    >>> with lock, lock:
    ...     "ours"
    'ours'
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *exception: object) -> None:
        self._lock.release()

    def reopen(self) -> None:
        """Be open, in a child in which no other thread is left to release it."""
        if self._lock.acquire(
            blocking=False
        ):  # nobody's, or ours: whoever forked amid `with` still leaves it
            self._lock.release()
        else:
            self._lock = threading.RLock()


class Condition(Lock):
    """A Lock to wait at for what other threads do; who waited in the parent does not in a child.

    >>> changed = Condition()
    >>> with changed:
    ...     changed.notify_all()
    ...     changed.wait(0.001)
    False
    """

    def __init__(self) -> None:
        super().__init__()
        self._waiting = threading.Condition(self._lock)

    def wait(self, seconds: float) -> bool:
        """Let go of the lock until notified, or for so long; whether notified. The lock is held."""
        return self._waiting.wait(seconds)

    def notify_all(self) -> None:
        """Wake all who wait. The lock is held."""
        self._waiting.notify_all()

    def reopen(self) -> None:
        """Be open, and waited at by nobody."""
        super().reopen()
        self._waiting = threading.Condition(self._lock)


_locks: weakref.WeakSet[Lock] = weakref.WeakSet()


def _reopen() -> None:
    for lock in list(_locks):
        lock.reopen()


def run_in_child(function: Callable[[], None]) -> Callable[[], None]:
    """Call a function, which takes no lock, first thing in every child that is forked from now on."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)
    return function


run_in_child(_reopen)


def lock_file(descriptor: int) -> bool:
    """Take the lock of an open file if no process has it; whether that was so. It ends with the process.

    Where a file system has no locks, nobody is kept waiting: all may have one.

    >>> import tempfile
    >>> with tempfile.TemporaryFile() as file:
    ...     lock_file(file.fileno())
    True
    """
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True
    return True


_imports = Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_imports.__enter__, after_in_parent=_imports.__exit__, after_in_child=_imports.__exit__
    )


@contextmanager
def importing(module: str) -> Iterator[None]:
    """Without garbage collection, where it is on, until `module` is imported; what is there then counts as old.

    What modules make stays: to walk over it again and again until a network is loaded takes an eighth of that time.
    A fork waits until then: its child would wait for good for a module that another thread imports. Of a module that
    is there already, nothing is done.

    >>> import gc
    >>> with importing("not_imported_yet"):
    ...     gc.isenabled()
    False
    >>> with importing("gc"):
    ...     gc.isenabled()
    True
    """
    if module in sys.modules:
        yield
        return
    with _imports, collecting_nothing() as collects:
        try:
            yield
        finally:
            if collects and not gc.get_freeze_count():  # else somebody keeps objects out of it for good
                gc.freeze()
                gc.unfreeze()


@contextmanager
def collecting_nothing() -> Iterator[bool]:
    """Without garbage collection until the end, where it is on: whether it was.

    What makes many objects that stay would have all of them walked over again and again, and those of other modules.

    >>> import gc
    >>> with collecting_nothing(), collecting_nothing() as collects:
    ...     collects, gc.isenabled()
    (False, False)
    >>> gc.isenabled()
    True
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield collects
    finally:
        if collects:
            gc.enable()


class kept_property(Generic[T]):
    """A property worked out once for each object and kept in its `__dict__`, without a lock.

    The standard library's holds one lock a class on Python 3.11, also in a forked child. Threads that meet here may
    each work it out; the first value is what all of them get.

    >>> class Circle:
    ...     @kept_property
    ...     def area(self):
    ...         print("worked out")
    ...         return 3
    >>> circle = Circle()
    >>> circle.area, circle.area
    worked out
    (3, 3)
    """

    def __init__(self, function: Callable[[Any], T]) -> None:
        self.__wrapped__ = function
        self.__doc__, self.__module__ = function.__doc__, function.__module__
        self._name = function.__name__

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None) -> T: ...
    def __get__(self, instance: object | None, owner: type | None = None) -> Self | T:
        """The value, of a class the property itself."""
        if instance is None:
            return self
        value = self.__wrapped__(instance)
        kept: T = instance.__dict__.setdefault(self._name, value)
        return kept


class OfThisProcess:
    """Holds addresses, which mean nothing elsewhere: a copy is the object itself, which nothing changes.

    >>> import copy
    >>> one = OfThisProcess()
    >>> copy.deepcopy(one) is one
    True
    """

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise EngineError(
            f"pickle: {type(self).__name__} holds addresses of this process, which mean nothing in another\n"
            "  pickle the Plan, the bound layer or the Network that it is of"
        )


__all__ = [
    "Condition",
    "Lock",
    "OfThisProcess",
    "collecting_nothing",
    "importing",
    "kept_property",
    "lock_file",
    "run_in_child",
]

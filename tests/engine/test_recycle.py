"""Memory comes back once nobody holds it, is bounded, and is never lent twice."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from convmat.engine.runtime import buffers

FLOAT = np.dtype("float32")


@pytest.fixture(autouse=True)
def emptied() -> Iterator[None]:
    buffers.clear()
    yield
    buffers.clear()


def test_memory_is_used_again_once_the_last_view_is_gone() -> None:
    first = buffers.empty((1024, 1024), FLOAT)
    where, view = first.ctypes.data, first[3:5]
    del first
    assert buffers.empty((1024, 1024), FLOAT).ctypes.data != where
    buffers.clear()
    del view
    assert buffers.empty((1024, 1024), FLOAT).ctypes.data == where


def test_small_arrays_and_huge_ones_are_not_kept() -> None:
    del_me = buffers.empty((10,), FLOAT)
    assert del_me.base is None
    buffers.give(buffers.take(buffers.MOST_BYTES))
    assert not buffers._kept


def test_the_store_is_bounded() -> None:
    held = [buffers.empty((1024 + n, 1024), FLOAT) for n in range(40)]
    held.clear()
    assert 0 < sum(each.nbytes for each in buffers._kept.values()) <= buffers.MOST_BYTES


def test_no_memory_is_lent_to_two_at_once() -> None:
    wrong = []

    def work(mark: int) -> None:
        for n in range(200):
            array = buffers.empty((257 + n % 3, 1024), FLOAT)
            array[:] = mark
            if (array != mark).any():
                wrong.append(mark)

    threads = [threading.Thread(target=work, args=(mark,)) for mark in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_slots_lend_what_was_given_back_and_pickle_without_it() -> None:
    slots = buffers.Slots(1 << 12)
    first = slots.empty((16, 16), FLOAT)
    where = first.ctypes.data
    assert slots.empty((8, 8), FLOAT).ctypes.data != where
    del first
    again = pickle.loads(pickle.dumps(slots))
    assert (again.size, again.empty((8, 8), FLOAT).ctypes.data != where) == (1 << 12, True)
    assert slots.empty((8, 8), FLOAT).ctypes.data == where


def test_the_store_keeps_more_for_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffers, "_kept", {})
    monkeypatch.setattr(buffers, "_bound", 4 << 20)
    monkeypatch.setattr(buffers, "MOST_BYTES", 4 << 20)

    def kept() -> int:
        for memory in [buffers.take((2 << 20) + 8 * n) for n in range(5)]:
            buffers.give(memory)
        return sum(each.nbytes >> 20 for each in buffers._kept.values())

    assert kept() <= 4
    buffers.keep_more(7 << 20)
    assert kept() == 10
    buffers.keep_more(0)  # what another asked for stays
    assert kept() == 10

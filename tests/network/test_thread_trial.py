"""Chains of short jobs find by their own calls whether one thread is quicker."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest

import convmat
from convmat.engine import thread_pool
from convmat.network.graph import Spec
from convmat.network.preparing import chains
from convmat.network.preparing.chains import Chain
from convmat.network.preparing.thread_trial import CALLS, THREADS, UNTIMED, ThreadTrial

from .made import model, node, normal


@pytest.mark.parametrize(("alone", "together"), [(1.0, 3.0), (3.0, 1.0), (2.0, 2.0)])
def test_the_quicker_stays(alone: float, together: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread where its calls took less; jobs that one thread does anyway stay as they are."""
    jobs = [[0, 5, 2], [0, 1, 1], [0, 9, 4]]
    now, done = [0.0], []

    def launch_all(addresses: str) -> None:
        done.append((addresses, [job[THREADS] for job in jobs]))
        disturbed = 100.0 if len(done) == UNTIMED + 3 else 0.0
        now[0] += disturbed + (alone if jobs[0][THREADS] == 1 else together)

    monkeypatch.setattr(thread_pool, "launch_all", launch_all)
    monkeypatch.setattr(
        "convmat.network.preparing.thread_trial.time", SimpleNamespace(perf_counter=lambda: now[0])
    )
    trial = ThreadTrial(jobs)
    while not trial.over:
        trial.launch("addresses")
    assert done[:3] == [("addresses", each) for each in ([2, 1, 4], [1, 1, 1], [2, 1, 4])]
    assert len(done) == UNTIMED + 2 * CALLS
    assert [job[THREADS] for job in jobs] == ([1, 1, 1] if alone < together else [2, 1, 4])


def test_nothing_is_tried_where_one_thread_does_all() -> None:
    assert ThreadTrial([[0, 5, 1]]).over


def trials(net: convmat.network.Network, x: np.ndarray) -> Iterator[ThreadTrial | None]:
    """Those of the chains that a call of the network runs."""
    state = net.program({"x": Spec(x.shape, x.dtype)}).state()
    return (work.trial for work in state.work if isinstance(work, Chain))


@pytest.mark.parametrize(("seconds", "tried"), [(1e-9, True), (1.0, False), (1e-15, False)])
def test_doubt_is_between_what_is_clear(seconds: float, tried: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where handing over takes far less than what it spares, or more, nothing is timed; answers are the same."""
    net = convmat.load(
        model(
            [node("Conv", "x w", "a", pads=[1] * 4), node("Conv", "a v", "y")],
            {"x": (1, 4, 9, 9)},
            "y",
            {"w": normal(8, 4, 3, 3), "v": normal(4, 8, 1, 1)},
        )
    )
    x = normal(1, 4, 9, 9)
    monkeypatch.setattr(chains, "handover_seconds", lambda threads: 1e-10)
    monkeypatch.setattr(chains, "_mean_seconds", lambda calls: seconds)
    with convmat.threads(1):
        wanted = net(x)
    with convmat.threads(2):
        found = [net(x) for _ in range(UNTIMED + 2 * CALLS + 2)]
        assert all(np.array_equal(each, wanted) for each in found)
        assert [trial is not None and trial.over for trial in trials(net, x)] == [tried]

"""Streams give what the whole gives, for blocks of any size."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import convmat
from convmat.errors import PlanError

CASES: dict[str, dict[str, Any]] = {
    "causal": {"padding": ((4, 0),)},
    "centred": {"padding": 2},
    "valid": {},
    "strided": {"padding": 3, "stride": 2},
    "far strided": {"stride": 7, "padding": ((1, 2),)},
    "dilated": {"padding": ((8, 0),), "dilation": 2},
    "cropped": {"padding": ((-3, -2),)},
    "grouped": {"padding": 2, "groups": 2},
    "channels last": {"padding": 2, "layout": "NHWC"},
}


@pytest.mark.parametrize("case", CASES)
def test_blocks_of_any_size_give_the_whole(case: str) -> None:
    options = CASES[case]
    pick = np.random.default_rng(5)
    last = options.get("layout") == "NHWC"
    x = pick.integers(-9, 9, (2, 40, 4) if last else (2, 4, 40)).astype(np.float32)
    w = pick.integers(-9, 9, (6, 4 // options.get("groups", 1), 5)).astype(np.float32)
    bias = pick.integers(-9, 9, 6).astype(np.float32)
    plan = convmat.plan(x.shape, w.shape, bias=True, activation="relu", exact=True, **options)
    stream = convmat.Stream(plan, w, bias)
    wanted, axis = plan(x, w, bias), 1 if last else 2
    for _ in range(3):
        cuts = np.sort(pick.integers(0, 41, int(pick.integers(0, 9))))
        parts = [stream.push(block) for block in np.split(x, cuts, axis)]
        assert np.array_equal(np.concatenate([*parts, stream.flush()], axis), wanted)


def test_rows_of_images_and_what_is_kept() -> None:
    pick = np.random.default_rng(6)
    x, w = pick.random((1, 3, 20, 15)), pick.random((4, 3, 3, 3))
    plan = convmat.plan(x.shape, w.shape, padding=1, dtype="float64", exact=True)
    stream = convmat.Stream(plan, w)
    assert stream.latency == 1
    parts = [stream.push(x[:, :, i : i + 1]) for i in range(20)]
    assert [part.shape[2] for part in parts] == [0, *[1] * 19]
    assert np.array_equal(stream.state, x[:, :, 18:])
    assert np.allclose(np.concatenate([*parts, stream.flush()], 2), plan(x, w), rtol=1e-14)
    assert not stream.state.any()


def test_what_cannot_be_streamed_says_why() -> None:
    mirrored = convmat.plan((1, 1, 9), (1, 1, 3), padding=1, padding_mode="reflect")
    with pytest.raises(
        PlanError, match=r"^stream: the plan has borders other than zeros, which lie at the end\n"
    ):
        convmat.Stream(mirrored, np.ones((1, 1, 3)))
    plain = convmat.Stream(convmat.plan((1, 1, 9), (1, 1, 3)), np.ones((1, 1, 3), np.float32))
    message = "stream: the block does not fit the plan\n  block.shape = (1, 2, 4)\n"
    message += "  give (1, 1, 4), with any extent along axis 2"
    with pytest.raises(PlanError, match=f"^{re.escape(message)}$"):
        plain.push(np.ones((1, 2, 4)))

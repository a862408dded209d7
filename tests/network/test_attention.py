"""The operator Attention, each of its attributes and outputs, beside a definition that goes element by element."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from convmat.network.graph import Node

from .cases import Array
from .made import normal
from .runtime import outside, run, said


def made(version: int = 25, outputs: str = "y pk pv s", **attributes: Any) -> Node:
    """A node called 'here'; "-" stands for an output without a name."""
    return Node("Attention", (), tuple(n.strip("-") for n in outputs.split()), attributes, "here", version)


def definition(node: Node, inputs: Sequence[Array | None]) -> list[Array]:
    """In float64, a score at a time: q, k, v by heads, (B, H, T, D)."""
    given: list[Array | None] = list(inputs)
    q, k, v, mask, past_k, past_v, lengths = given + [None] * (7 - len(given))
    assert q is not None
    assert k is not None
    assert v is not None
    past = 0
    if past_k is not None and past_v is not None:
        past, k, v = past_k.shape[2], np.concatenate([past_k, k], 2), np.concatenate([past_v, v], 2)
    (B, H, T, D), S = q.shape, k.shape[2]
    scale, cap, mode = (
        node.get("scale", D**-0.5),
        node.get("softcap", 0.0),
        node.get("qk_matmul_output_mode", 0),
    )
    left, right = node.get("left_window_size", -1), node.get("right_window_size", -1)
    y, seen = np.zeros((B, H, T, v.shape[3])), np.zeros((B, H, T, S))
    for b, h, t in np.ndindex(B, H, T):
        group, bias, ways = h * k.shape[1] // H, np.zeros(S), np.zeros((4, S))
        at = t + (past if lengths is None else int(lengths[b]) - T)
        for j in range(S):
            raw = scale * math.fsum(q[b, h, t].astype(float) * k[b, group, j])
            out = (node.get("is_causal", 0) and j > at) or (lengths is not None and j >= lengths[b])
            out = out or (left >= 0 and j < at - left) or (right >= 0 and j > at + right)
            if mask is not None:
                whole = np.broadcast_to(mask, (B, H, T, mask.shape[-1]))[b, h, t]
                its = whole[j] if j < len(whole) else (False if mask.dtype == bool else -np.inf)
                bias[j] = (0 if its else -np.inf) if mask.dtype == bool else its
            bias[j] += -np.inf if out else 0
            capped = cap * math.tanh(raw / cap) if cap else raw
            ways[:3, j] = raw, capped, capped + bias[j]
        if not np.isneginf(bias).all():
            grown = np.exp(ways[2] - ways[2].max())
            ways[3] = grown / grown.sum()
        y[b, h, t], seen[b, h, t] = ways[3] @ v[b, group], ways[mode]
    return [y, k, v, seen]


def agrees(node: Node, *inputs: Array | None) -> list[Array]:
    """What a node gives, once the definition has given the same."""
    found = run(node, *inputs)
    for a, b in zip(found, definition(node, list(inputs)), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)
    return found


Q, K, V = normal(2, 4, 3, 8), normal(2, 2, 5, 8), normal(2, 2, 5, 6)


@pytest.mark.parametrize("mode", range(4))
def test_what_is_shown_of_the_products(mode: int) -> None:
    mask = normal(2, 1, 3, 5)
    mask[0, 0, 1] = -np.inf  # a query that is left nothing
    found = agrees(made(qk_matmul_output_mode=mode, softcap=0.5, is_causal=1), Q, K, V, mask)
    assert not found[0][0, :, 1].any()
    plain = agrees(made(qk_matmul_output_mode=mode), Q, K, V)
    theirs = outside(made(24, qk_matmul_output_mode=mode), Q, K, V)
    if theirs is not None:
        np.testing.assert_allclose(plain[3], theirs[3], rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(("left", "right"), [(-1, -1), (1, -1), (0, 0), (1, 2)])
@pytest.mark.parametrize("causal", [0, 1])
def test_windows_and_padding(left: int, right: int, causal: int) -> None:
    node = made(is_causal=causal, left_window_size=left, right_window_size=right)
    agrees(node, Q, K, V)
    agrees(node, Q, K, V, None, None, None, np.array([5, 2]))
    agrees(node, Q, K, V, None, normal(2, 2, 2, 8), normal(2, 2, 2, 6))


def test_masks() -> None:
    for mask in (
        normal(3, 5) > 0, normal(5), normal(4, 1, 5), normal(2, 4, 3, 5) > 0, normal(3, 2), normal(3, 4) > 0,
    ):  # fmt: skip
        agrees(made(), Q, K, V, mask)
    agrees(made(), Q, K, V, np.ones((3, 1), bool))  # one key, the others are left out
    old = run(made(23), Q, K, V, np.ones((3, 1), bool))  # and before set 24, one mask for all
    np.testing.assert_array_equal(old[0], run(made(23), Q, K, V)[0])


def test_scales_and_precisions() -> None:
    agrees(made(scale=0.3), Q, K, V)
    agrees(made(scale=-0.3), Q, K, V)
    agrees(made(scale=0.0), Q, K, V)
    wide = [x.astype(np.float64) for x in (Q, K, V)]
    for precision in (1, 11):
        agrees(made(softmax_precision=precision), Q, K, V)
        for a, b in zip(run(made(softmax_precision=precision), *wide), definition(made(), wide), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)
    half = [x.astype(np.float16) for x in (Q, K, V)]
    exact = run(made(), *(x.astype(np.float32) for x in half))
    for a, b in zip(run(made(), *half), exact, strict=True):
        assert a.dtype == np.float16
        np.testing.assert_array_equal(a, b.astype(np.float16))


def test_heads_side_by_side() -> None:
    flat = [x.swapaxes(1, 2).reshape(2, x.shape[2], -1) for x in (Q, K, V)]
    y, k, _, s = run(made(q_num_heads=4, kv_num_heads=2), *flat)
    wanted = run(made(), Q, K, V)
    np.testing.assert_array_equal(y, wanted[0].swapaxes(1, 2).reshape(2, 3, -1))
    np.testing.assert_array_equal(k, K)
    np.testing.assert_array_equal(s, wanted[3])
    (alone,) = run(made(outputs="y"), Q, K, V)
    np.testing.assert_array_equal(alone, wanted[0])
    none = run(made(), Q, K[:, :, :0], V[:, :, :0])[0]
    assert none.shape == (2, 4, 3, 6)
    assert not none.any()


def test_refusals() -> None:
    assert said(made(), Q[0], K[0], V[0]) == (
        "  its Q is float32[4,3,8], q_num_heads = None\n"
        "  (batch, heads, length, size) is needed, or (batch, length, heads * size) with the number of heads"
    )
    assert said(made(), Q[:, :3], K, V) == (
        "  its inputs do not fit each other\n  by heads Q is (2, 3, 3, 8), K (2, 2, 5, 8), V (2, 2, 5, 6)\n"
        "  as many images and keys are needed, Q's heads a multiple of K's, and keys as long as queries"
    )
    assert said(made(), Q, K, V, None, K) == (
        "  it has one of past_key and past_value\n  both are needed, or none"
    )
    assert said(made(), Q, K, V, None, K, K) == (
        "  its past does not fit\n  past_key (2, 2, 5, 8), past_value (2, 2, 5, 8)\n"
        "  (2, 2, 'n', 8) and (2, 2, 'n', 6) are needed"
    )
    assert said(made(), Q, K, V, None, K, V, np.array([1, 1])) == (
        "  it has a past and nonpad_kv_seqlen\n  one of them alone is needed"
    )
    assert said(made(), Q, K, V, None, None, None, np.array([1])) == (
        "  its nonpad_kv_seqlen is int64[1]\n  one number for each of 2 images is needed"
    )
    assert said(made(), Q, K, V, normal(2, 3, 5)) == (
        "  its attn_mask is float32[2,3,5]\n  one that broadcasts to (2, 4, 3, 5) is needed"
    )
    assert said(made(qk_matmul_output_mode=4), Q, K, V) == (
        "  its qk_matmul_output_mode is 4\n  one of 0, 1, 2, 3 is needed"
    )
    assert said(made(left_window_size=-2), Q, K, V) == "  its left_window_size is -2\n  -1 or more is needed"

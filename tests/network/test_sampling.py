"""GridSample, DeformConv and MaxUnpool beside their definitions, element by element in float64."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

import convmat
from convmat.network.graph import Node
from convmat.network.ops import OPERATORS, sampling

from .cases import Array
from .made import normal
from .runtime import outside, run, said

# -- GridSample --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_kernels_read_what_numpy_does(rank: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images that are large enough, with numbers that are none in them, and coordinates far outside."""
    draw, found = np.random.default_rng(rank), []
    for mode, padding, aligned in itertools.product(sampling.MODES, sampling.PADDINGS, (0, 1)):
        x = normal(2, 3, *(5, 9, 4)[:rank])
        x[draw.random(x.shape) < 0.05] = np.nan
        outputs = (23, 31, 3)[:rank] if rank > 1 else (701,)
        grid = draw.uniform(-1.5, 1.5, (2, *outputs, rank)).astype(np.float32)
        grid[draw.random(grid.shape) < 0.01] = draw.choice([np.nan, np.inf, 1e30, -1e30])
        about = {"mode": mode, "padding_mode": padding, "align_corners": aligned}
        found.append((Node("GridSample", (), ("y",), about, "here", 20), x, grid))
    by_kernels = [run(*each)[0] for each in found]
    monkeypatch.setattr(sampling, "LEAST", 1 << 40)
    sampling.find_reader.cache_clear()
    for (made, x, grid), y in zip(found, by_kernels, strict=True):
        np.testing.assert_allclose(
            y, run(made, x, grid)[0], rtol=1e-5, atol=1e-5, err_msg=str(made.attributes)
        )
    sampling.find_reader.cache_clear()


def reflected(x: float, lo: float, hi: float) -> float:
    if lo >= hi:
        return lo
    while not lo <= x <= hi:
        x = 2 * lo - x if x < lo else 2 * hi - x
    return x


def keys(d: float) -> float:
    a, d = -0.75, abs(d)
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a


def along(x: float, n: int, mode: str, padding: str, aligned: bool) -> list[tuple[int, float]]:
    """The elements that a coordinate between -1 and 1 reads, with their weights."""
    x = x if math.isfinite(x) else -1.0
    lo, hi = (0.0, n - 1.0) if aligned else (-0.5, n - 0.5)
    x = (x + 1) / 2 * (n - 1) if aligned else ((x + 1) * n - 1) / 2
    if mode == "nearest":
        x = float(np.rint(x))
    if padding == "border" and mode != "cubic":
        x = min(max(x, 0.0), n - 1.0)
    if padding == "reflection":
        x = reflected(x, lo, hi)
    first = math.floor(x)
    t = x - first
    terms = {"nearest": [(first, 1.0)], "linear": [(first, 1 - t), (first + 1, t)]}.get(
        mode, [(first + k, keys(t - k)) for k in (-1, 0, 1, 2)]
    )
    if padding == "zeros":
        return [(i, w) for i, w in terms if 0 <= i < n]
    if padding == "reflection":
        terms = [(int(reflected(i, lo, hi)), w) for i, w in terms]
    return [(min(max(i, 0), n - 1), w) for i, w in terms]


def sampled(node: Node, x: Array, grid: Array) -> Array:
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(node.attributes["mode"], node.attributes["mode"])
    about = (mode, node.attributes["padding_mode"], bool(node.attributes["align_corners"]))
    y = np.zeros((*x.shape[:2], *grid.shape[1:-1]))
    for b, *p in np.ndindex(*grid.shape[:-1]):
        terms = [along(float(g), n, *about) for g, n in zip(grid[(b, *p)][::-1], x.shape[2:], strict=True)]
        for corner in itertools.product(*terms):
            weight = math.prod(w for _, w in corner)
            y[(b, slice(None), *p)] += weight * x[(b, slice(None), *(i for i, _ in corner))]
    return y


def drawn_grid(
    seed: int, dtype: Any, modes: tuple[str, ...] = ("linear", "nearest", "cubic")
) -> tuple[Node, list[Array]]:
    draw = np.random.default_rng(seed)
    rank = int(draw.integers(1, 4))
    mode = modes[seed % len(modes)]
    about = {
        "mode": mode,
        "padding_mode": ("zeros", "border", "reflection")[seed // 3 % 3],
        "align_corners": seed // 9 % 2,
    }
    version = 20 + 2 * (seed % 2)
    if rank == 2 and seed % 5 == 0:
        version, about["mode"] = 16, {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode)
    x = draw.standard_normal((int(draw.integers(1, 3)), 2, *draw.integers(1, 6, rank))).astype(dtype)
    grid = draw.uniform(-2.5, 2.5, (x.shape[0], *draw.integers(1, 5, rank), rank)).astype(dtype)
    return Node("GridSample", (), ("y",), about, "here", version), [x, grid]


def test_samples_of_every_mode() -> None:
    for seed in range(54):
        for dtype, bound in ((np.float64, 1e-12), (np.float32, 2e-5)):
            node, (x, grid) = drawn_grid(seed, dtype)
            y = run(node, x, grid)[0]
            assert y.dtype == dtype
            np.testing.assert_allclose(y, sampled(node, x, grid), rtol=bound, atol=bound, err_msg=str(node))


def test_samples_of_odd_places_and_types() -> None:
    """Halfway goes to the even element; no number counts as -1; nothing leaks from outside; whole numbers stay."""
    about = {"mode": "nearest", "padding_mode": "border", "align_corners": 1}
    node = Node("GridSample", (), ("y",), about, "here", 22)
    x = np.array([[[1, 2, 3, 4, 5]]], np.int16)
    halves = (np.array([0.5, 1.5, 2.5, np.nan, np.inf, -np.inf, 3e38], np.float32) / 2 - 1)[None, :, None]
    y = run(node, x, halves)[0]
    assert y.dtype == np.int16
    np.testing.assert_array_equal(y[0, 0], [1, 3, 3, 1, 1, 1, 5])
    linear = Node("GridSample", (), ("y",), {"mode": "linear", "align_corners": 1}, "here", 22)
    np.testing.assert_array_equal(run(linear, x * 2, halves)[0][0, 0], [3, 5, 7, 2, 2, 2, 0])
    wild = np.array([[[np.inf, 2, 3, np.nan]]], np.float32)
    far = np.array([[[-9.0], [9.0], [1e30], [0.0]]], np.float32)
    np.testing.assert_array_equal(run(linear, wild, far)[0][0, 0], [0, 0, 0, 2.5])
    cubic = Node("GridSample", (), ("y",), {"mode": "cubic", "padding_mode": "border"}, "here", 22)
    high = np.array([[[0, 255, 255, 0, 0]]], np.uint8)
    places = np.linspace(-1, 1, 21, dtype=np.float32)[None, :, None]
    y = run(cubic, high, places)[0]
    right = np.clip(run(cubic, high.astype(np.float64), places)[0], 0, 255)
    np.testing.assert_array_equal(y, np.trunc(right).astype(np.uint8))  # it does not wrap


def test_samples_of_nothing() -> None:
    node = Node("GridSample", (), ("y",), {}, "here", 20)
    x, grid = np.zeros((0, 3, 4, 5), np.float32), np.zeros((0, 6, 7, 2), np.float32)
    assert run(node, x, grid)[0].shape == (0, 3, 6, 7)
    assert run(node, np.zeros((2, 0, 4, 5), np.float32), np.zeros((2, 6, 7, 2), np.float32))[0].shape == (
        2,
        0,
        6,
        7,
    )
    one = np.zeros((1, 1, 1, 1), np.float32) + 3
    mirrored = Node("GridSample", (), ("y",), {"padding_mode": "reflection", "align_corners": 1}, "here", 20)
    np.testing.assert_array_equal(run(mirrored, one, np.full((1, 1, 1, 2), 0.3, np.float32))[0], one)


def test_grids_that_do_not_fit() -> None:
    x = normal(1, 2, 4, 5)
    assert said(Node("GridSample", (), ("y",), {}, "here", 20), x, normal(1, 3, 3, 3)) == (
        "  its X is float32[1,2,4,5] and its grid float32[1,3,3,3]\n"
        "  (N, C, d1 ... dr) and (N, p1 ... pr, r) are needed"
    )
    assert said(Node("GridSample", (), ("y",), {"mode": "area"}, "here", 20), x, normal(1, 3, 3, 2)) == (
        "  its mode is 'area' and its padding_mode 'zeros'\n"
        "  linear, nearest or cubic (before operator set 20 bilinear, nearest or bicubic) "
        "and zeros, border, reflection are needed"
    )


# -- DeformConv --------------------------------------------------------------------------------------------------------


def deformed(
    node: Node, x: Array, w: Array, offset: Array, bias: Array | None = None, mask: Array | None = None
) -> Array:
    about, rank, F = node.attributes, x.ndim - 2, w.shape[2:]
    (B, C), O, P = x.shape[:2], w.shape[0], offset.shape[2:]
    G, parts = about["group"], about["offset_group"]
    moved = offset.astype(float).reshape(B, parts, *F, rank, *P)
    share = None if mask is None else mask.astype(float).reshape(B, parts, *F, *P)
    y = np.zeros((B, O, *P))
    for b, o, c in np.ndindex(B, O, C // G):
        channel = o // (O // G) * (C // G) + c
        part = channel // (C // parts)
        for f, p in itertools.product(np.ndindex(*F), np.ndindex(*P)):
            terms = []
            for a in range(rank):
                at = p[a] * about["strides"][a] + f[a] * about["dilations"][a] - about["pads"][a]
                at = at + moved[(b, part, *f, a, *p)]
                low = math.floor(at)
                terms.append(
                    [(i, t) for i, t in ((low, low + 1 - at), (low + 1, at - low)) if 0 <= i < x.shape[2 + a]]
                )
            read = sum(
                math.prod(t for _, t in corner) * float(x[(b, channel, *(i for i, _ in corner))])
                for corner in itertools.product(*terms)
            )
            y[(b, o, *p)] += float(w[(o, c, *f)]) * read * (1 if share is None else share[(b, part, *f, *p)])
    return y if bias is None else y + bias.reshape(-1, *(1,) * rank)


def drawn_deformed(seed: int, rank: int, dtype: Any = np.float32) -> tuple[Node, list[Array | None]]:
    draw = np.random.default_rng(seed)
    G, parts, more = (int(n) for n in draw.integers(1, 3, 3))
    C, O = G * parts * more, G * int(draw.integers(1, 3))
    while True:
        I, F = draw.integers(2, 6, rank), draw.integers(1, 4, rank)
        s, d, pads = draw.integers(1, 3, rank), draw.integers(1, 3, rank), draw.integers(0, 2, 2 * rank)
        P = (I + pads[:rank] + pads[rank:] - d * (F - 1) - 1) // s + 1
        if P.min() > 0:
            break
    B, taps = int(draw.integers(1, 3)), parts * int(np.prod(F))

    def some(*shape: int) -> Array:
        return draw.standard_normal(shape).astype(dtype)

    arrays: list[Array | None] = [some(B, C, *I), some(O, C // G, *F), some(B, taps * rank, *P)]
    arrays.append(some(O) if seed % 2 else None)
    arrays.append(some(B, taps, *P) if seed // 2 % 2 else None)
    about = {
        "group": G, "offset_group": parts, "strides": tuple(s.tolist()), "dilations": tuple(d.tolist()),
        "pads": tuple(pads.tolist()),
    }  # fmt: skip
    return Node("DeformConv", (), ("y",), about, "here", 19 + seed % 2 * 3), arrays


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_taps_look_beside_their_places(rank: int) -> None:
    for seed in range(12 if rank < 3 else 4):
        node, arrays = drawn_deformed(seed, rank)
        right = deformed(node, *(a for a in arrays))  # type: ignore[arg-type]
        np.testing.assert_allclose(run(node, *arrays)[0], right, rtol=1e-4, atol=1e-4, err_msg=str(node))


def test_without_offsets_it_is_a_convolution() -> None:
    x, w = normal(2, 4, 9, 8), normal(6, 2, 3, 3)
    node = Node("DeformConv", (), ("y",), {"group": 2, "pads": (1, 1, 1, 1)}, "here", 22)
    y = run(node, x, w, np.zeros((2, 18, 9, 8), np.float32))[0]
    np.testing.assert_allclose(y, convmat.conv(x, w, groups=2, padding=1), rtol=1e-4, atol=1e-5)
    x[0, 0, 0, 0] = np.inf  # nothing of it beyond its windows
    assert np.isfinite(run(node, x, w, np.full((2, 18, 9, 8), 100.0, np.float32))[0]).all()
    assert run(node, x[:0], w, np.zeros((0, 18, 9, 8), np.float32))[0].shape == (0, 6, 9, 8)


def test_deformed_windows_that_do_not_fit() -> None:
    x, w = normal(1, 4, 5, 5), normal(2, 4, 3, 3)
    node = Node("DeformConv", (), ("y",), {}, "here", 22)
    assert said(node, x, w, normal(1, 18, 5, 5)) == (
        "  its offset is float32[1,18,5,5]\n  float32[1,18,3,3] is needed: "
        "the outputs are (3, 3), the window (3, 3), offset_group 1"
    )
    assert said(
        Node("DeformConv", (), ("y",), {"offset_group": 3}, "here", 22), x, w, normal(1, 54, 3, 3)
    ) == (
        "  its group is 1 and its offset_group 3\n  its X is float32[1,4,5,5] and its W float32[2,4,3,3]: "
        "both divide 4 channels, group divides 2 filters too, and W has 4 / group channels"
    )


# -- MaxUnpool ---------------------------------------------------------------------------------------------------------


def test_maxima_return_to_their_places() -> None:
    x = normal(2, 3, 8, 6)
    about = {"kernel_shape": (2, 3), "strides": (2, 3)}
    pooled, places = OPERATORS["MaxPool"](Node("MaxPool", (), ("y", "i"), about, "", 12), [x])
    y = run(Node("MaxUnpool", (), ("y",), about, "here", 11), pooled, places)[0]
    right = np.where(x == pooled.repeat(2, 2).repeat(3, 3), x, 0)
    np.testing.assert_array_equal(y, right)
    larger = run(Node("MaxUnpool", (), ("y",), about, "here", 9), pooled, places, np.array([2, 3, 9, 7]))[0]
    np.testing.assert_array_equal(larger, np.pad(right, ((0, 0), (0, 0), (0, 1), (0, 1))))
    node = Node("MaxUnpool", (), ("y",), about, "here", 22)
    assert said(node, pooled, places + 288) == (
        f"  its I are {places.min() + 288} to {places.max() + 288}\n"
        "  its window makes (2, 3, 8, 6): 0 to 287 are needed"
    )
    assert said(node, pooled, places, np.array([2, 3, 8, 5])) == (
        "  its output_shape is (2, 3, 8, 5)\n  at least (2, 3, 8, 6) is needed, by its window"
    )


# -- an outside opinion ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_drawn_nodes_beside_onnxruntime() -> None:
    asked = 0
    for seed in range(200, 260):
        for node, arrays in (drawn_grid(seed, np.float32), drawn_deformed(seed, 2)):
            theirs = outside(node, *arrays)
            if theirs is not None:
                asked += 1
                np.testing.assert_allclose(
                    run(node, *arrays)[0], theirs[0], rtol=1e-3, atol=1e-4, err_msg=str(node)
                )
    assert asked >= 80

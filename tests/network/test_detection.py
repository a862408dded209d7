"""NonMaxSuppression and RoiAlign beside their definitions, box by box and point by point."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from convmat.network.graph import Node
from convmat.network.ops import detection, sampling

from .cases import Array
from .made import normal
from .runtime import outside, run, said

# -- NonMaxSuppression -------------------------------------------------------------------------------------------------


def suppressed(
    node: Node, boxes: Array, scores: Array, most: Any = None, overlap: Any = None, least: Any = None
) -> list[list[int]]:
    most, overlap = (0 if each is None else float(np.ravel(each)[0]) for each in (most, overlap))

    def corners(box: Array) -> tuple[Any, Any]:
        box = box.astype(float)
        if node.get("center_point_box"):
            return box[:2] - box[2:] / 2, box[:2] + box[2:] / 2
        return np.minimum(box[:2], box[2:]), np.maximum(box[:2], box[2:])

    def over(one: Array, two: Array) -> float:
        (a, b), (c, d) = corners(one), corners(two)
        shared = float(np.prod(np.maximum(np.minimum(b, d) - np.maximum(a, c), 0)))
        union = float(np.prod(b - a) + np.prod(d - c)) - shared
        return shared / union if shared > 0 and union > 0 else 0.0

    found = []
    for n, c in np.ndindex(*scores.shape[:2]):
        kept: list[int] = []
        for i in sorted(range(scores.shape[2]), key=lambda i, n=n, c=c: (-scores[n, c, i], i)):  # type: ignore[misc]
            if least is not None and not scores[n, c, i] > np.ravel(least)[0]:
                continue
            if len(kept) < most and all(over(boxes[n, i], boxes[n, j]) <= overlap for j in kept):
                kept.append(i)
                found.append([n, c, i])
    return found


def drawn_boxes(seed: int) -> tuple[Node, list[Array | None]]:
    draw = np.random.default_rng(seed)
    count, B, C = int(draw.integers(1, 25)), int(draw.integers(1, 3)), int(draw.integers(1, 4))
    arrays: list[Array | None] = [
        draw.uniform(0, 4, (B, count, 4)).astype(np.float32),
        draw.integers(0, 10, (B, C, count)).astype(np.float32) / 8,  # many equal scores
        np.array(draw.integers(0, 9)),
        *map(np.asarray, draw.uniform(0, 1, 2).astype(np.float32)),
    ]
    if seed % 2:
        arrays[2:] = [np.reshape(each, 1) for each in arrays[2:] if each is not None]
    if seed % 3 == 0:
        arrays[3] = None
    if seed % 5 == 0:
        arrays = arrays[:4]
    return Node(
        "NonMaxSuppression", (), ("y",), {"center_point_box": seed // 2 % 2}, "here", 10 + seed % 2
    ), arrays


def test_boxes_that_overlap_are_left_out() -> None:
    for seed in range(60):
        node, arrays = drawn_boxes(seed)
        y = run(node, *arrays)[0]
        assert y.dtype == np.int64
        assert y.tolist() == suppressed(node, *arrays), node  # type: ignore[arg-type]


def test_boxes_that_are_no_numbers_overlap_nothing() -> None:
    """And scores that are none come last: by the kernels as by NumPy, with many boxes and few that are wanted."""
    for seed in range(12):
        draw = np.random.default_rng(seed)
        n, C = int(draw.integers(100, 700)), int(draw.integers(1, 4))
        boxes = draw.uniform(0, 3, (2, n, 4)).astype(np.float32)
        boxes[draw.random(boxes.shape) < 0.03] = draw.choice([np.nan, np.inf])
        scores = (draw.integers(0, 40, (2, C, n)) / 40).astype(np.float32)
        scores[draw.random(scores.shape) < 0.1] = draw.choice([np.nan, np.inf, -np.inf])
        node = Node("NonMaxSuppression", (), ("y",), {"center_point_box": seed % 2}, "here", 11)
        most, bound = int(draw.integers(1, 60)), np.array(draw.choice([0, 0.3, 0.7]), np.float32)
        least = (
            None if seed % 3 == 0 else np.array(draw.choice([-0.0, 0.5, 0.975, -np.inf, np.nan]), np.float32)
        )
        wanted = []
        with np.errstate(all="ignore"):
            first, last = detection._corners(boxes, bool(seed % 2))
            for b, c in np.ndindex(2, C):
                order = np.argsort(-scores[b, c], kind="stable")
                order = order if least is None else order[scores[b, c][order] > least]
                chosen = detection._choose_boxes(first[b], last[b], order, most, float(bound))
                wanted += [[b, c, box] for box in chosen]
        assert run(node, boxes, scores, np.array([most]), bound, least)[0].tolist() == wanted


def test_thresholds_and_what_is_absent() -> None:
    node = Node("NonMaxSuppression", (), ("y",), {}, "here", 11)
    boxes = np.array([[[0, 0, 1, 1], [1, 1, 0, 0], [0, 0, 1, 2], [3, 3, 3, 3]]], np.float32)
    scores = np.array([[[0.5, 0.5, 0.25, 0.125]]], np.float32)
    ten, half = np.array(10), np.array([0.5], np.float32)
    assert run(node, boxes, scores)[0].shape == (0, 3)  # none may be chosen
    assert run(node, boxes, scores, np.array([-1]))[0].shape == (0, 3)
    assert run(node, boxes, scores, ten)[0].tolist() == [[0, 0, 0], [0, 0, 3]]
    assert run(node, boxes, scores, ten, half)[0].tolist() == [
        [0, 0, 0],
        [0, 0, 2],
        [0, 0, 3],
    ]  # half is not more
    assert run(node, boxes, scores, ten, half, np.array(0.125, np.float32))[0].tolist() == [
        [0, 0, 0],
        [0, 0, 2],
    ]
    assert run(node, boxes, scores, np.array(1), half)[0].tolist() == [[0, 0, 0]]
    assert run(node, boxes[:, :0], scores[:, :, :0], ten)[0].shape == (0, 3)
    assert said(node, boxes, scores, ten, half * 3) == (
        "  its iou_threshold is 1.5\n  a number from 0 to 1 is needed"
    )
    assert said(node, boxes, scores, np.array([1, 2])) == (
        "  its max_output_boxes_per_class is int64[2]\n  one number is needed"
    )
    assert said(node, boxes, scores[:, :, 1:]) == (
        "  its boxes are float32[1,4,4] and its scores float32[1,1,3]\n"
        "  (batches, n, 4) and (batches, classes, n) are needed"
    )


# -- RoiAlign ----------------------------------------------------------------------------------------------------------


def aligned(node: Node, x: Array, rois: Array, images: Array) -> Array:
    about, (H, W) = node.attributes, x.shape[2:]
    height, width, ratio = about["output_height"], about["output_width"], about["sampling_ratio"]
    legacy = node.version < 16 or about.get("coordinate_transformation_mode") == "output_half_pixel"
    y = np.zeros((len(rois), x.shape[1], height, width))

    def pixels(at: float, n: int) -> list[tuple[int, float]]:
        if not -1 <= at <= n:
            return [(0, 0.0), (0, 0.0)]
        at = min(max(at, 0.0), n - 1.0)
        low = math.floor(at)
        return [(low, low + 1 - at), (min(low + 1, n - 1), at - low)]

    for r, roi in enumerate(rois):
        x1, y1, x2, y2 = (float(v) * about["spatial_scale"] - (0 if legacy else 0.5) for v in roi)
        w, h = (max(s, 1) if legacy else s for s in (x2 - x1, y2 - y1))
        ny, nx = (ratio or max(math.ceil(s / bins), 0) for s, bins in ((h, height), (w, width)))
        for i, j in np.ndindex(height, width):
            points = []
            for p, q in np.ndindex(ny, nx):
                rows = pixels(y1 + (i + (p + 0.5) / ny) * h / height, H)
                columns = pixels(x1 + (j + (q + 0.5) / nx) * w / width, W)
                points.append([x[images[r], :, a, b] * (u * v) for a, u in rows for b, v in columns])
            if points and about["mode"] == "avg":
                y[r, :, i, j] = np.sum(points, (0, 1)) / (ny * nx)
            elif points:
                y[r, :, i, j] = np.max(points, (0, 1))
    return y


def drawn_regions(seed: int, dtype: Any = np.float32) -> tuple[Node, list[Array]]:
    draw = np.random.default_rng(seed)
    version = (10, 16, 22)[seed % 3]
    about: dict[str, Any] = {
        "mode": ("avg", "max")[seed % 2], "output_height": int(draw.integers(1, 4)),
        "output_width": int(draw.integers(1, 4)), "sampling_ratio": int(draw.integers(0, 3)),
        "spatial_scale": (1.0, 0.5)[seed // 2 % 2],
    }  # fmt: skip
    if version > 10:
        about["coordinate_transformation_mode"] = ("half_pixel", "output_half_pixel")[seed // 4 % 2]
    x = draw.standard_normal((int(draw.integers(1, 3)), 2, *draw.integers(1, 9, 2))).astype(dtype)
    rois = draw.uniform(-2, 8, (4, 4))
    rois[:, 2:] = rois[:, :2] + draw.uniform(-0.5, 8, (4, 2))
    node = Node("RoiAlign", (), ("y",), about, "here", version)
    return node, [x, rois.astype(dtype), draw.integers(0, x.shape[0], 4)]


@pytest.mark.parametrize("least", [0, sampling.LEAST])
def test_bins_of_regions(least: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """By kernels, and by NumPy."""
    monkeypatch.setattr(sampling, "LEAST", least)
    sampling.find_reader.cache_clear()
    for seed in range(48):
        for dtype, bound in ((np.float64, 1e-12), (np.float32, 1e-4)):
            node, arrays = drawn_regions(seed, dtype)
            y = run(node, *arrays)[0]
            assert y.dtype == dtype
            np.testing.assert_allclose(y, aligned(node, *arrays), rtol=bound, atol=bound, err_msg=str(node))
    sampling.find_reader.cache_clear()


def test_kernels_read_regions_as_numpy_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many at a time, with numbers that are none between them and regions outside or inside out; some are too large."""
    draw, found = np.random.default_rng(5), []
    for ratio, shift in itertools.product((0, 1, 3), ("half_pixel", "output_half_pixel")):
        about = {"output_height": 5, "output_width": 7, "sampling_ratio": ratio}
        node = Node("RoiAlign", (), ("y",), about | {"coordinate_transformation_mode": shift}, "here", 16)
        x = normal(3, 33, 20, 30)
        x[draw.random(x.shape) < 0.01] = draw.choice([np.nan, np.inf])
        rois = draw.uniform(-9, 40, (75, 4)).astype(np.float32)
        rois[0] = -1e3, -1e3, 1e3, 1e3
        found.append((node, x, rois, draw.integers(0, 3, 75).astype(draw.choice(["int32", "int64"]))))
    by_kernels = [run(*each)[0] for each in found]
    asked: list[tuple[int, ...]] = []
    monkeypatch.setattr(detection, "find_reader", lambda *about: asked.append(about))
    for each, y in zip(found, by_kernels, strict=True):
        np.testing.assert_allclose(y, run(*each)[0], rtol=1e-4, atol=1e-5, err_msg=str(each[0]))
    assert {about[0] for about in asked} >= {1, 64}


def test_regions_that_do_not_fit() -> None:
    node, x = Node("RoiAlign", (), ("y",), {}, "here", 16), normal(2, 3, 4, 4)
    rois = np.array([[0, 0, 2, 2]], np.float32)
    assert run(node, x, rois[:0], np.zeros(0, np.int64))[0].shape == (0, 3, 1, 1)
    assert said(node, x, rois, np.array([2])) == (
        "  its batch_indices are 2 to 2\n  its X has 2 images: 0 to 1 are needed"
    )
    assert said(node, x, rois[0], np.array([0])) == (
        "  its X is float32[2,3,4,4], its rois float32[4] and its batch_indices int64[1]\n"
        "  (N, C, H, W), (n, 4) of the same type, and (n,) of whole numbers are needed"
    )
    assert said(node, x, rois * 1e6, np.array([0])) == (
        "  one of its regions is 2000000.0 pixels long\n  at most 65536 in 1 bins are read"
    )
    far = Node("RoiAlign", (), ("y",), {"sampling_ratio": 2}, "here", 16)
    wild = np.full((1, 1, 4, 4), np.inf, np.float32)
    np.testing.assert_array_equal(run(far, wild, rois + 50, np.array([0]))[0], [[[[0]]]])


@pytest.mark.slow
def test_drawn_nodes_beside_onnxruntime() -> None:
    asked = 0
    for seed in range(300, 340):
        for node, arrays in (drawn_boxes(seed), drawn_regions(seed)):
            theirs = outside(node, *arrays)
            if theirs is not None:
                asked += 1
                np.testing.assert_allclose(
                    run(node, *arrays)[0], theirs[0], rtol=1e-3, atol=1e-4, err_msg=str(node)
                )
    assert asked >= 60

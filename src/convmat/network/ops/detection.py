"""Boxes in images: NonMaxSuppression chooses among them, RoiAlign reads what lies in them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ...engine import Sweep, above, buffers, thread_pool
from ...engine import suppress as suppress_boxes
from ...errors import EngineError
from ..graph import Array, Node, Spec
from .base import Specs, Unknown, has_input, input_at, operator
from .sampling import find_reader

SUPPRESSION = ("boxes", "scores", "max_output_boxes_per_class", "iou_threshold", "score_threshold")


def _suppress_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    boxes, scores = input_at(node, specs, 0), input_at(node, specs, 1)
    fits = boxes.rank == scores.rank == 3 and boxes.shape[2] == 4
    if not fits or scores.shape[::2] != boxes.shape[:2]:
        raise node.error(
            f"its boxes are {boxes} and its scores {scores}\n  (batches, n, 4) and (batches, classes, n) are needed"
        )
    for at in range(2, 5):
        if has_input(specs, at) and input_at(node, specs, at).size != 1:
            raise node.error(f"its {SUPPRESSION[at]} is {input_at(node, specs, at)}\n  one number is needed")
    raise Unknown


@operator("NonMaxSuppression", shape=_suppress_shape)
def suppress(
    node: Node,
    boxes: Array,
    scores: Array,
    most: Array | None = None,
    overlap: Array | None = None,
    least: Array | None = None,
) -> Any:
    """(n, 3): image, class and box of those chosen, by falling score, each class for itself.

    A box is left out if its score is not above `score_threshold`, or if its intersection with one already chosen is
    more than `iou_threshold` of their union; of equal scores the first box comes first.
    """
    count = 0 if most is None else int(most.reshape(-1)[0])
    bound = 0.0 if overlap is None else float(overlap.reshape(-1)[0])
    if not 0 <= bound <= 1:
        raise node.error(f"its iou_threshold is {bound}\n  a number from 0 to 1 is needed")
    found: list[tuple[int, int, int]] = []
    centred = bool(node.get("center_point_box", 0))
    if count > 0 and (chosen := _choose_by_kernel(boxes, scores, centred, (count, bound, least))) is not None:
        return chosen
    first, last = _corners(boxes, centred)
    for b, c in np.ndindex(*scores.shape[:2]) if count > 0 else ():
        score = scores[b, c]
        order = np.argsort(-score, kind="stable")
        if least is not None:
            order = order[score[order] > least.reshape(-1)[0]]
        found += [(b, c, box) for box in _choose_boxes(first[b], last[b], order, count, bound)]
    return np.array(found, np.int64).reshape(-1, 3)


def _choose_by_kernel(
    boxes: Array, scores: Array, centred: bool, limits: tuple[int, float, Array | None]
) -> Array | None:
    """`suppress` by kernels: image, class and box of those chosen, (n, 3); None where there are none."""
    (count, bound, least), (B, C, n) = limits, scores.shape
    made = _kernels(B, C, n, min(count, n), centred, thread_pool.count()) if scores.size else None
    if made is None or boxes.dtype != np.float32 or scores.dtype != np.float32:
        return None
    by_score, choosing, room = made
    places, held = np.empty((B * C, n), np.int64), np.empty(B * C, np.int64)
    scratch = buffers.empty((room,), np.dtype(np.uint8))
    limit = np.array([-np.inf], np.float32) if least is None else least.reshape(-1)[:1].astype(np.float32)
    if limit[0] != limit[0]:  # no score is above it
        return np.empty((0, 3), np.int64)
    by_score(scores, limit, scratch, held, places)
    if least is None:  # those with the least score there is, and none at all, come last, as they are
        for line, score in zip(np.flatnonzero(held < n), scores.reshape(-1, n)[held < n], strict=True):
            rest = np.flatnonzero(~(score > limit))
            places[line, held[line] :] = rest[np.argsort(-score[rest], kind="stable")]
            held[line] = n
    found, chosen = np.empty(B * C, np.int64), np.empty((B * C, min(count, n)), np.int64)
    choosing(boxes, places, held, np.array([bound], np.float32), scratch, found, chosen)
    if B * C == 1:
        answer = np.zeros((int(found[0]), 3), np.int64)
        answer[:, 2] = chosen[0, : len(answer)]
        return answer
    lines = np.repeat(np.arange(B * C), found)
    answer = np.empty((len(lines), 3), np.int64)
    np.divmod(lines, C, out=(answer[:, 0], answer[:, 1]))
    answer[:, 2] = chosen[np.arange(chosen.shape[1]) < found[:, None]]
    return answer


@lru_cache(maxsize=64)
def _kernels(
    B: int, C: int, n: int, most: int, centred: bool, threads: int
) -> tuple[Sweep, Sweep, int] | None:
    """What sorts scores above a limit, and what chooses boxes, loaded; and bytes of scratch, enough for either."""
    sorting, choosing = above(B * C, n, "float32", threads), suppress_boxes(B, C, n, most, centred, threads)
    if isinstance(sorting, str) or isinstance(choosing, str):
        return None
    sweeps = Sweep(sorting[0]), Sweep(choosing[0])
    try:
        for each in sweeps:
            each.load()
    except EngineError:  # where nothing is compiled
        return None
    return *sweeps, max(sorting[1], choosing[1])


def _corners(boxes: Array, centred: bool) -> tuple[Array, Array]:
    """(..., 2) each: the corners of least and of largest coordinates."""
    if centred:
        middle, half = boxes[..., :2], boxes[..., 2:] / 2
        return middle - half, middle + half
    return np.minimum(boxes[..., :2], boxes[..., 2:]), np.maximum(boxes[..., :2], boxes[..., 2:])


def _choose_boxes(first: Array, last: Array, order: Array, count: int, bound: float) -> list[int]:
    """The boxes that stay, in their order; those that are left are compared with each one that is chosen."""
    area = np.prod(last - first, axis=1)
    found: list[int] = []
    while order.size and len(found) < count:
        box, order = int(order[0]), order[1:]
        found.append(box)
        sides = np.minimum(last[order], last[box]) - np.maximum(first[order], first[box])
        shared = np.prod(np.maximum(sides, 0), axis=1)
        union = area[order] + area[box] - shared
        real = (area[order] > 0) & (area[box] > 0) & (union > 0) & (shared > 0)
        order = order[~(real & (shared / np.where(real, union, 1) > bound))]
    return found


# -- RoiAlign ----------------------------------------------------------------------------------------------------------


def _align_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, rois, images = (input_at(node, specs, i) for i in range(3))
    height, width = node.get("output_height", 1), node.get("output_width", 1)
    mode, shift = (
        str(node.get("mode", "avg")).lower(),
        node.get("coordinate_transformation_mode", "half_pixel"),
    )
    ratio = node.get("sampling_ratio", 0)
    if mode not in ("avg", "max") or shift not in ("half_pixel", "output_half_pixel"):
        raise node.error(
            f"its mode is {mode!r} and its coordinate_transformation_mode {shift!r}\n"
            f"  avg or max, and half_pixel or output_half_pixel are needed"
        )
    if min(height, width) < 1 or ratio < 0:
        raise node.error(
            f"its output_height is {height}, its output_width {width}, its sampling_ratio {ratio}\n"
            f"  numbers from 1, 1 and 0 on are needed"
        )
    fits = x.rank == 4 and rois.rank == 2 and rois.shape[1] == 4 and images.shape == rois.shape[:1]
    if not fits or images.dtype.kind not in "iu" or rois.dtype != x.dtype:
        raise node.error(
            f"its X is {x}, its rois {rois} and its batch_indices {images}\n"
            f"  (N, C, H, W), (n, 4) of the same type, and (n,) of whole numbers are needed"
        )
    return (Spec((rois.shape[0], x.shape[1], height, width), x.dtype),)


@operator("RoiAlign", shape=_align_shape)
def align(node: Node, x: Array, rois: Array, images: Array) -> Any:
    """(n, C, H', W'): each region in bins, each bin the mean or the maximum of points that are read between pixels.

    The maximum is the one of the four weighted pixels around each point, as the standard's own cases have it. Before
    operator set 16 pixels were not shifted by half of one.
    """
    height, width = node.get("output_height", 1), node.get("output_width", 1)
    out = np.zeros((len(rois), x.shape[1], height, width), x.dtype)
    if images.size and not 0 <= images.min() <= images.max() < x.shape[0]:
        raise node.error(
            f"its batch_indices are {images.min()} to {images.max()}\n  its X has {x.shape[0]} images: "
            f"0 to {x.shape[0] - 1} are needed"
        )
    if not x.size:
        return out
    legacy = node.version < 16 or node.get("coordinate_transformation_mode", "half_pixel") != "half_pixel"
    scale = x.dtype.type(node.get("spatial_scale", 1.0))
    most = str(node.get("mode", "avg")).lower() == "max"
    corners = rois * scale - x.dtype.type(0 if legacy else 0.5)
    many = _count(node, corners[:, 3:1:-1] - corners[:, 1::-1], (height, width), legacy)
    for rows, columns in {
        (i, j) for i, j in many.tolist() if i and j
    }:  # others are turned inside out: no points
        which = np.flatnonzero((many == (rows, columns)).all(1))
        if not most:
            which = _align_by_kernel(x, corners, images, which, out, (rows, columns), legacy)
        for n in which:
            left, top, right, bottom = corners[n]
            down = _points(top, bottom, height, rows, x.shape[2], legacy)
            along = _points(left, right, width, columns, x.shape[3], legacy)
            image = x[images[n]]
            if most:
                for i, j in np.ndindex(height, width):
                    out[n, :, i, j] = _largest(image, down, along, i, j)
            else:
                across = _mean(image, down)
                out[n] = _mean(across.swapaxes(1, 2), along).swapaxes(1, 2)
    return out


MOST_POINTS = 1 << 16
"""Along an axis of a bin."""

MOST_TERMS = 1 << 18
"""Pixels with their weights that are written down at a time: they stay in a cache."""


class Points(NamedTuple):
    """Along one axis, (..., bins, points) each: pixels below and above, the part of the upper one, if there are any."""

    low: Array
    high: Array
    part: Array
    inside: Array


def _count(node: Node, sizes: Array, bins: tuple[int, int], legacy: bool) -> Array:
    """sizes: (n, 2) -> the same: how many points a bin has along each axis."""
    ratio = int(node.get("sampling_ratio", 0))
    sizes = np.maximum(sizes, sizes.dtype.type(1)) if legacy else sizes
    each = sizes / np.array(bins, sizes.dtype)
    wrong = np.argwhere(~np.isfinite(sizes) | ~(each <= MOST_POINTS))
    if len(wrong):
        n, axis = wrong[0]
        raise node.error(
            f"one of its regions is {sizes[n, axis]} pixels long\n"
            f"  at most {MOST_POINTS * bins[axis]} in {bins[axis]} bins are read"
        )
    return np.full(sizes.shape, ratio) if ratio else np.maximum(np.ceil(each), 0).astype(np.int64)


def _points(start: Any, end: Any, bins: int, many: int, extent: int, legacy: bool) -> Points:
    """Where the points of regions lie, or of one."""
    size = np.maximum(end - start, start.dtype.type(1)) if legacy else end - start
    step = (size / start.dtype.type(bins))[..., np.newaxis, np.newaxis]
    at = start[..., np.newaxis, np.newaxis] + np.arange(bins, dtype=start.dtype)[:, None] * step
    at = at + (np.arange(many, dtype=start.dtype) + start.dtype.type(0.5)) * step / start.dtype.type(many)
    inside = (at >= -1) & (at <= extent)
    at = np.clip(at, 0, extent - 1)
    below = np.floor(at)
    low = below.astype(np.int64)
    return Points(low, np.minimum(low + 1, extent - 1), at - below, inside)


def _align_by_kernel(
    x: Array, corners: Array, images: Array, which: Array, out: Array, many: tuple[int, int], legacy: bool
) -> Array:
    """Means of the regions `which`, whose bins have as many points; those that are left to NumPy."""
    (_, C, H, W), (height, width), threads = x.shape, out.shape[2:], thread_pool.count()
    terms = 4 * many[0] * many[1]
    most = MOST_TERMS // (terms * height * width)
    while len(which) and most and x.dtype == np.float32:
        B = 1 << (min(len(which), most).bit_length() - 1)  # few numbers, for each of which there is a plan
        reader = find_reader(B, C, H * W, terms, height * width, threads)
        if reader is None:
            break
        some, which = which[:B], which[B:]
        left, top, right, bottom = corners[some].T
        rows, by_row = _weigh_pixels(_points(top, bottom, height, many[0], H, legacy), W * x.itemsize)
        columns, by_column = _weigh_pixels(_points(left, right, width, many[1], W, legacy), x.itemsize)
        place = rows[:, :, None, :, None] + columns[:, None, :, None, :]
        weight = by_row[:, :, None, :, None] * by_column[:, None, :, None, :]
        y = np.empty((B, C, height, width), x.dtype)
        reader(x, images[some].astype(np.int64), place, weight, y)
        out[some] = y
    return which


def _weigh_pixels(points: Points, step: int) -> tuple[Array, Array]:
    """(regions, 2 * points, bins) each: how many bytes from the first each pixel is, and its part of the mean.

    A point outside is nowhere: below 0, and still so with what another axis adds.
    """
    many = points.low.shape[-1]
    place = np.concatenate([points.low, points.high], axis=-1) * step
    part = np.concatenate([1 - points.part, points.part], axis=-1) / points.part.dtype.type(many)
    place[~np.concatenate([points.inside, points.inside], axis=-1)] = -(2**30)
    return place.swapaxes(1, 2).astype(np.int32, order="C"), part.swapaxes(1, 2).astype(np.float32, order="C")


def _mean(image: Array, points: Points) -> Array:
    """image: (C, H, W) -> (C, bins, W): the mean of each bin's points along the first axis of pixels."""
    bins, many = points.low.shape
    found = np.zeros((image.shape[0], bins, image.shape[2]), image.dtype)
    for b in range(bins):
        kept = points.inside[b]
        if kept.any():
            part = points.part[b, kept][:, None]
            read = image[:, points.low[b, kept]] * (1 - part) + image[:, points.high[b, kept]] * part
            found[:, b] = read.sum(1) / many
    return found


def _largest(image: Array, rows: Points, columns: Points, i: int, j: int) -> Array:
    """(C,): the largest weighted pixel around the points of a bin."""
    found = None
    for y, wy in ((rows.low[i], 1 - rows.part[i]), (rows.high[i], rows.part[i])):
        for x, wx in ((columns.low[j], 1 - columns.part[j]), (columns.high[j], columns.part[j])):
            value = image[:, y[:, None], x] * (wy[:, None] * wx)
            found = value if found is None else np.maximum(found, value)
    inside = rows.inside[i][:, None] & columns.inside[j]
    assert found is not None
    return np.asarray(np.where(inside, found, 0).max((1, 2)))

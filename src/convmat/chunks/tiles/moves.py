"""Rules of operators that move elements: joined, split, transposed, cut out, padded, interleaved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...network.graph import Node, Spec
from ...network.ops.movement import cuts, pads_around
from .parts import Needed, Part, first, others, require_all

FAR = 2**62
"""Behind every end: where a part's Slice ends."""


def concat(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
    """All is needed along the axis that is joined."""
    axis = node.get("axis", 1) % out.rank
    require_all((axis,), out, part)
    given = [spec for spec in inputs if spec is not None]
    return Needed(tuple((*part[:axis], (0, s.shape[axis]), *part[axis + 1 :]) for s in given), part)


def split(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
    """All is needed along the axis that is split."""
    axis, x = node.get("axis", 0) % out.rank, inputs[0]
    assert x is not None
    require_all((axis,), out, part)
    return Needed(((*part[:axis], (0, x.shape[axis]), *part[axis + 1 :]), *others(inputs)), part)


def transpose(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
    """The axes in another order."""
    order = tuple(node.get("perm") or range(out.rank)[::-1])
    found: list[tuple[int, int]] = [(0, 0)] * out.rank
    for to, source in enumerate(order):
        found[source] = part[to]
    return Needed((tuple(found),), part)


def depth_to_space(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
    """Whole blocks are needed."""
    b, x = node.get("blocksize"), first(inputs)
    inner = tuple((p // b, -(-q // b)) for p, q in part[2:])
    return Needed(
        ((part[0], (0, x.shape[1]), *inner),),
        (part[0], (0, out.shape[1]), *((p * b, q * b) for p, q in inner)),
    )


def space_to_depth(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
    """Whole blocks are needed."""
    b, x = node.get("blocksize"), first(inputs)
    parts = (part[0], (0, x.shape[1]), *((p * b, q * b) for p, q in part[2:]))
    return Needed((parts,), (part[0], (0, out.shape[1]), *part[2:]))


def slice_(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
    """What lies `start` further on, every step-th of it; an axis that is turned round is needed whole."""
    x, parts = first(inputs), list(part)
    starts, ends, steps = [0] * x.rank, [FAR] * x.rank, [1] * x.rank
    for a, cut in enumerate(cuts(node, inputs)):
        each, (p, q) = range(*cut.indices(x.shape[a])), part[a]
        steps[a] = each.step
        if each.step > 0:
            parts[a] = each.start + p * each.step, each.start + (q - 1) * each.step + 1
            continue
        require_all((a,), out, part)
        parts[a], starts[a], ends[a] = (0, x.shape[a]), each.start, each.stop if each.stop >= 0 else -FAR
    given = {"starts": starts, "ends": ends, "axes": list(range(x.rank)), "steps": steps}
    if node.version < 10:
        changed: dict[str, Any] = {word: tuple(given[word]) for word in ("starts", "ends", "axes")}
        return Needed((tuple(parts),), part, changed)
    arrays = {1 + at: np.asarray(numbers, np.int64) for at, numbers in enumerate(given.values())}
    return Needed((tuple(parts), *others(inputs)), part, inputs=arrays)


def pad(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
    """What is inside; the margin as far as the part reaches into it, and what the margin repeats."""
    x, mode = first(inputs), node.get("mode", "constant")
    parts, makes, lows, highs = list(part), list(part), [0] * x.rank, [0] * x.rank
    for a, (lo, hi) in enumerate(pads_around(node, inputs)):
        (p, q), n = part[a], x.shape[a]
        if (lo, hi) == (0, 0):
            continue
        if mode == "wrap" or (mode == "reflect" and max(lo, hi) >= n):
            require_all((a,), out, part)
            parts[a], lows[a], highs[a] = (0, n), lo, hi
            continue
        before, behind = max(lo - p, 0), max(q - lo - n, 0)
        start, stop = min(max(p - lo, 0), n - 1), max(min(q - lo, n), 1)
        if mode == "reflect":
            stop = max(stop, before + 1) if before else stop
            start = min(start, n - 1 - behind) if behind else start
        parts[a], lows[a], highs[a] = (start, max(stop, start + 1)), before, behind
        makes[a] = start + lo - before, max(stop, start + 1) + lo + behind
    pads = (*lows, *highs)
    given = (tuple(parts), *others(inputs))
    if node.version < 11:
        return Needed(given, tuple(makes), {"pads": pads})
    return Needed(given, tuple(makes), inputs={1: np.asarray(pads, np.int64)}, omit=(3,))


def squeeze(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
    """The part of x at the same place, with the one element of each axis that goes."""
    x, left = first(inputs), list(part)
    named = _axes(node, inputs, x.rank)
    gone = named or [a for a, n in enumerate(x.shape) if n == 1]
    kept = iter(left)
    return Needed((tuple((0, 1) if a in gone else next(kept) for a in range(x.rank)), *others(inputs)), part)


def unsqueeze(node: Node, inputs: Sequence[Spec | None], out: Spec, part: Part) -> Needed:
    """The part of x at the same place, without the axes that are new."""
    new = _axes(node, inputs, out.rank)
    return Needed((tuple(p for a, p in enumerate(part) if a not in new), *others(inputs)), part)


def _axes(node: Node, inputs: Sequence[Spec | None], rank: int) -> list[int]:
    given = inputs[1].value if len(inputs) > 1 and inputs[1] is not None else node.get("axes")
    return [] if given is None else [int(a) % rank for a in given]


__all__ = [
    "concat", "depth_to_space", "pad", "slice_", "space_to_depth", "split", "squeeze", "transpose", "unsqueeze",
]  # fmt: skip

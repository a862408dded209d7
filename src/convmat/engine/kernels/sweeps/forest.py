"""Forest: every row of x walks down all trees, and what votes at the leaves is added up.

    at      = child[at, test(x[r, feature[at]], split[at])]      depth times from each root; a leaf leads to itself
    y[r, e] += weight[v]                                         v over the votes of the leaf, e = target[v]

A node takes 32 bytes: place of its feature in a row and whether NaN passes, its split, and the places of its children.
Some trees are walked at a time, one step each in turn, for a step waits for one load after the other; every few steps
it is asked whether all of them are at leaves, for most lie far above the deepest. Rows go down the same trees one after
the other, whose nodes stay near. Votes are added in the order of the trees, in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce

import numpy as np

from ....lazy_dataclass import dataclass
from ...ir.emitter import Function
from ...ir.instructions import (
    Value,
    and_,
    const,
    equal,
    f64,
    greater,
    greater_equal,
    i1,
    i32,
    i64,
    less,
    less_equal,
    lshr,
    minimum,
    not_equal,
    or_,
    sext,
    trunc,
    xor,
    zext,
)
from .base import Array, Share, SweepPlan, SweepRecipe, kernel_refusal, share_lines

TESTS: tuple[Callable[[Value, Value], Value], ...] = (
    less_equal, less, greater_equal, greater, equal, not_equal,
)  # fmt: skip
"""Tests of a feature against a split, by their numbers."""

TOGETHER = (12, 4, 1)
"""Trees that are walked at a time, as many as there are: their steps wait for each other's loads no longer."""

ROWS = 16
"""Rows that walk down the same trees one after the other."""

STEPS = 2
"""Steps between two looks at whether all are at leaves."""

NODE = 32
"""Bytes of a node."""


@dataclass(frozen=True)
class Forest(SweepRecipe):
    """`test`: the number of all nodes' test; `misses`: whether NaN passes at some."""

    test: int
    misses: bool
    words = ("depth", "x row", "y row")
    arrays = ("x", "nodes", "roots", "first", "targets", "weights", "y")

    def write(self, fn: Function, words: Mapping[str, Value], share: Share) -> None:
        """A line is a row of x, and a column a tree."""
        with fn.loop(share.first, share.stop, ROWS) as block:
            begin, end = block.index, minimum(block.index + ROWS, share.stop)
            first: Value = const(i64, 0)
            for count in TOGETHER:
                with fn.loop(first, words["columns"] - (count - 1), count, carried=[first]) as some:
                    with fn.loop(begin, end) as line:
                        self._trees(fn, words, line.index, some.index, count)
                    some.carry(some.index + count)
                (first,) = some.results

    def _trees(self, fn: Function, words: Mapping[str, Value], line: Value, tree: Value, count: int) -> None:
        """Walk a row down some trees, and add the votes of their leaves."""
        x, y = words["x"] + line * words["x row"], words["y"] + line * words["y row"]
        roots = [fn.load(words["roots"], i64, (tree + number) * 8) for number in range(count)]
        with fn.loop(0, words["depth"], STEPS, carried=[const(i64, 1), *roots]) as walk:
            going, *places = walk.carried
            with fn.if_(not_equal(going, 0), default=walk.carried) as further:
                before = places
                for _ in range(STEPS):
                    before, places = places, [self._step(fn, x, words["nodes"] + at) for at in places]
                moved = [xor(old, new) for old, new in zip(before, places, strict=True)]
                further.carry(reduce(or_, moved), *places)
            walk.carry(*further.results)
        for at in walk.results[1:]:
            leaf = words["first"] + lshr(at, 5) * 8
            with fn.loop(fn.load(leaf, i64), fn.load(leaf, i64, 8)) as vote:
                place = y + fn.load(words["targets"], i64, vote.index * 8)
                fn.store(fn.load(place, f64) + fn.load(words["weights"], f64, vote.index * 8), place)

    def _step(self, fn: Function, x: Value, node: Value) -> Value:
        """The place of the child that a row goes to from a node."""
        value = fn.load(x, f64, sext(fn.load(node, i32), to=i64))
        passed = TESTS[self.test](value, fn.load(node, f64, 8))
        if self.misses:
            missing = trunc(fn.load(node, i32, 4), to=i1)
            passed = or_(passed, and_(not_equal(value, value), missing))
        return fn.load(node + zext(passed, to=i64) * 8, i64, 16)


def pack_nodes(features: Array, splits: Array, children: Array, missing: Array) -> Array:
    """The nodes as the kernel reads them: features, splits, missing: (n,), children: (n, 2), their numbers -> (n, 4).

    >>> import numpy as np
    >>> ones = np.ones(1)
    >>> pack_nodes(ones.astype(int), ones, np.zeros((1, 2), int), ones.astype(bool)).view(np.int32)[0].tolist()
    [8, 1, 0, 1072693248, 0, 0, 0, 0]
    """
    made = np.empty((len(features), NODE // 8), np.int64)
    made.view(np.int32)[:, 0], made.view(np.int32)[:, 1] = features * 8, missing
    made.view(np.float64)[:, 1] = splits
    made[:, 2:] = children * NODE
    return made


def forest(
    rows: int, features: int, trees: int, depth: int, targets: int, test: int, misses: bool, threads: int
) -> SweepPlan | str:
    """The kernel that walks trees with one kind of test; a sentence where there is none.

    x: (rows, features) float64; nodes: see `pack_nodes`; roots: (trees,), their places in bytes; first: of each node
    the first of its votes, and behind all of them how many there are; targets: of each vote, in bytes; weights: float64
    -> what they add up to is added to y: (rows, targets) float64. Whole numbers are int64.

    >>> import numpy as np
    >>> from convmat.engine import Sweep
    >>> made = Sweep(forest(1, 1, 1, 1, 1, 0, False, 1))
    >>> made.load()
    >>> children = np.array([[2, 1], [1, 1], [2, 2]])
    >>> nodes = pack_nodes(np.zeros(3, int), np.full(3, 0.5), children, np.zeros(3, bool))
    >>> y = np.zeros((1, 1))
    >>> votes = np.array([0, 0, 1, 2]), np.zeros(2, int), np.array([7.0, 9.0])
    >>> made(np.array([[0.25]]), nodes, np.zeros(1, int), *votes, y)
    >>> y
    array([[7.]])
    """
    if refusal := kernel_refusal():
        return refusal
    if not rows or not trees or not depth:
        return f"walks down trees with tests for rows, got {rows} rows, {trees} trees {depth} deep"
    words, tasks = share_lines(rows, trees * depth, threads, whole=True)
    words |= {"columns": trees, "piece": trees, "depth": depth, "x row": features * 8, "y row": targets * 8}
    return SweepPlan(Forest(test, misses), words, tasks, threads, rows * max(features, targets))


__all__ = ["Forest", "forest", "pack_nodes"]

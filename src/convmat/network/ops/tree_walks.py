"""Rows walked down trees: all trees at once by NumPy, or by a kernel.

    child[n, 0 or 1]  = where a row goes from node n if its test fails or holds; a leaf leads to itself
    at[r, t]          = the node that row r has reached in tree t, first the tree's root
    at               <- child[at, test(x[r, feature[at]], split[at])]          as often as the deepest tree has tests
    y[r, e]           = the sum (mean, least, largest) of the votes for e at the leaves reached

Tests and sums are taken in float64. A kernel has one kind of test for all nodes, and adds votes up.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...engine import Sweep, SweepPlan, forest, pack_nodes, start_anew, thread_pool
from ...errors import EngineError
from ...lazy_dataclass import dataclass
from ...processes import kept_property
from ..graph import Array, Spec
from .options import Options

TESTS = (np.less_equal, np.less, np.greater_equal, np.greater, np.equal, np.not_equal)
"""Tests of a feature against a split, in the order of their numbers in TreeEnsemble."""

MEMBER = len(TESTS)
"""The number of the test whether a feature is one of several numbers."""

LEAF = MEMBER + 1
"""Number that leaves have in place of a test's."""


@dataclass(frozen=True)
class Trees:
    """Nodes and leaves of all trees, one after the other; see the module. `modes`: numbers of tests, LEAF for leaves.

    `missing`: whether NaN passes a node's test; `sets`: the numbers of a MEMBER. `votes`: leaf, target and weight of
    each vote, sorted by leaf; those of leaf n begin at `first[n]` and end at `first[n + 1]`.
    """

    features: Array
    splits: Array
    modes: Array
    missing: Array
    children: Array
    roots: Array
    sets: dict[int, Array]
    votes: tuple[Array, Array]
    first: Array

    @kept_property
    def tests(self) -> list[int]:
        """The kinds of tests that there are."""
        return [n for n in np.unique(self.modes).tolist() if n < MEMBER]

    @kept_property
    def depth(self) -> int:
        """Tests from a root to a leaf, at most."""
        level, count, own = np.unique(self.roots), 0, np.arange(len(self.children))
        while (inner := level[(self.children[level] != own[level][:, None]).any(axis=1)]).size:
            level, count = np.unique(self.children[inner]), count + 1
        return count

    @kept_property
    def misses(self) -> bool:
        """Whether NaN passes some test."""
        return bool(self.missing.any())

    def find_leaves(self, x: Array) -> Array:
        """The leaf of each tree that each row ends at: (N, C) float64 -> (N, trees)."""
        at = np.broadcast_to(self.roots, (len(x), len(self.roots)))
        begin, children = np.arange(len(x))[:, None] * x.shape[1], self.children.reshape(-1)
        while True:
            below = children.take(2 * at + self._test(x.reshape(-1), begin, at))
            if np.array_equal(below, at):
                return below
            at = below

    def _test(self, x: Array, begin: Array, at: Array) -> Array:
        """Whether each row passes the test of the node that it stands at."""
        values, splits = x.take(begin + self.features.take(at)), self.splits.take(at)
        passed = np.zeros(at.shape, bool)
        for n in self.tests:
            found = TESTS[n](values, splits)
            passed = found if len(self.tests) == 1 else np.where(self.modes.take(at) == n, found, passed)
        for node, members in self.sets.items():
            here = at == node
            passed[here] = np.isin(values[here], members)
        return passed | (np.isnan(values) & self.missing.take(at)) if self.misses else passed

    def scores(self, x: Array, targets: int, aggregate: str) -> Array:
        """The votes of each row's leaves, for each target: (N, C) -> (N, targets), 0 where nothing votes."""
        leaves = self.find_leaves(x)
        counts = self.first[leaves + 1] - self.first[leaves]
        rows = np.repeat(np.arange(len(x)), counts.sum(axis=1))
        begin = np.repeat(self.first[leaves].reshape(-1), counts.reshape(-1))
        ends = np.cumsum(counts.reshape(-1))
        which = begin + np.arange(len(begin)) - np.repeat(ends - counts.reshape(-1), counts.reshape(-1))
        places, weights = rows * targets + self.votes[0][which], self.votes[1][which]
        if aggregate in ("SUM", "AVERAGE"):
            sums: Array = np.bincount(places, weights, len(x) * targets).reshape(len(x), targets)
            return sums / max(len(self.roots), 1) if aggregate == "AVERAGE" else sums
        some = np.zeros(len(x) * targets, bool)
        some[places] = True
        extreme = np.minimum if aggregate == "MIN" else np.maximum
        found = np.full(len(x) * targets, np.inf if aggregate == "MIN" else -np.inf)
        extreme.at(found, places, weights)
        kept: Array = np.where(some, found, 0.0).reshape(len(x), targets)
        return kept


@dataclass(frozen=True)
class KernelScorer:
    """Votes for each target of so many rows by a kernel: (N, C) float64 -> (N, targets), over `count`."""

    sweep: Sweep
    own: tuple[Array, ...]
    add_votes: Callable[..., None]
    shape: tuple[int, int]
    count: int

    def __call__(self, x: Array) -> Array:
        """The votes."""
        y = np.zeros(self.shape)
        self.add_votes(x, y)
        return y if self.count == 1 else y / self.count


@dataclass(frozen=True)
class Walked:
    """A step whose trees a kernel walks down."""

    step: Callable[..., None]
    way = "walked down"

    def __call__(self, *arrays: Array) -> None:
        """Inputs first, then the outputs that are written."""
        self.step(*arrays)


def open_scorer(
    trees: Trees, x: Spec, targets: int, options: Options, aggregate: str = "SUM"
) -> Callable[[Array], Array]:
    """What gives the votes for each target of rows of x, (N, C) float64: a kernel where there is one, or NumPy."""
    walk = plan_walk(trees, x, targets, aggregate)
    if walk is None:
        return lambda x: trees.scores(x, targets, aggregate)
    sweep, own = Sweep(walk.plan), walk.own
    try:
        sweep.load()
    except EngineError:  # where nothing is compiled
        return lambda x: trees.scores(x, targets, aggregate)
    if options.record is not None:
        options.record.add_program(sweep)
    add_votes = start_anew(sweep.block([own[0], *own, own[0]]), 0, len(own) + 1)
    return KernelScorer(sweep, own, add_votes, (x.shape[0] if x.rank == 2 else 1, targets), walk.count)


@dataclass(frozen=True)
class PlannedWalk:
    """The plan of a kernel that walks down trees, the arrays that it reads of them, and how many trees share a vote."""

    plan: SweepPlan
    own: tuple[Array, ...]
    count: int


def plan_walk(trees: Trees, x: Spec, targets: int, aggregate: str) -> PlannedWalk | None:
    """The kernel that adds up the votes for each target of rows of x; None where there is none."""
    if aggregate not in ("SUM", "AVERAGE") or len(trees.tests) != 1 or trees.sets:
        return None
    rows, features = x.shape if x.rank == 2 else (1, x.size)
    sizes = (rows, features, len(trees.roots), trees.depth, targets)
    plan = forest(*sizes, trees.tests[0], trees.misses, thread_pool.count())
    if isinstance(plan, str):
        return None
    nodes = pack_nodes(trees.features, trees.splits, trees.children, trees.missing)
    given = (nodes, trees.roots * nodes.strides[0], trees.first, trees.votes[0] * 8, trees.votes[1])
    count = len(trees.roots) if aggregate == "AVERAGE" else 1
    return PlannedWalk(plan, tuple(map(np.ascontiguousarray, given)), count)


__all__ = ["LEAF", "MEMBER", "KernelScorer", "PlannedWalk", "Trees", "Walked", "open_scorer", "plan_walk"]

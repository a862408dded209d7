"""Ensembles of decision trees as kernels in a row: x in float64, votes added up, what labels and scores are of them.

    x -> x64 -> sums of votes -> scores
                              -> labels: of the largest, or where one sum decides between two, by that

One sum s that decides gives both scores, f(a + b s), with an a and a b for each label.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...engine import (
    Expression,
    Indexed,
    Strides,
    Sweep,
    SweepPlan,
    elementwise,
    extreme_places,
    indexed_copy,
    softmax,
    strided_copy,
    thread_pool,
)
from ..graph import Array, Node, Shape, Spec
from .base import Specs, input_at
from .classical import DOMAIN
from .expressions import Spelling
from .planned import Moved
from .tree_walks import plan_walk
from .trees import Ensemble, open_ensemble

Source = int | Array
"""A step's array by its number, or a constant."""


class _KernelRow:
    """Kernels one after the other for a node with one input and some outputs; `failed` where one cannot be had."""

    def __init__(self, outputs: int) -> None:
        self._next = 1 + outputs
        self.moves: list[tuple[Sweep, tuple[Source, ...], int]] = []
        self.between: list[Spec] = []
        self.failed = False

    def lie_between(self, shape: Shape, dtype: str) -> int:
        """The number of one more array that lies between them."""
        self.between.append(Spec(shape, np.dtype(dtype)))
        self._next += 1
        return self._next - 1

    def add(self, plan: SweepPlan | str, sources: tuple[Source, ...], target: int) -> None:
        """One more kernel."""
        if isinstance(plan, str):
            self.failed = True
        else:
            self.moves.append((Sweep(plan), sources, target))

    def cast(self, source: int, shape: Shape, types: tuple[str, str], target: int) -> None:
        """A copy in another element type."""
        spelt = Spelling(types[:1])
        if types[0] != types[1]:
            spelt.cast(0, types[1])
        self.add(
            elementwise(Expression(types[:1], spelt.steps), [shape], shape, thread_pool.count()),
            (source,),
            target,
        )

    def finish(self) -> Moved | None:
        """The step of them all."""
        return None if self.failed else Moved(tuple(self.moves), "walked down", tuple(self.between))


def find_walk(node: Node, specs: Specs, made: Sequence[Spec]) -> Moved | None:
    """The step of an ensemble of trees; None where it has tests, votes or scores that no kernel has."""
    x, ensemble = input_at(node, specs, 0), open_ensemble(node, specs, made)
    if any(spec.dtype.hasobject for spec in made) or ensemble.way not in WAYS:
        return None
    rows, row = ensemble.rows, _KernelRow(len(made))
    walk = plan_walk(ensemble.trees, x, ensemble.targets, ensemble.aggregate)
    if walk is None or (ensemble.both and ensemble.way == "SOFTMAX"):
        return None
    wide, sums = 0, row.lie_between((rows, ensemble.targets), "float64")
    if x.dtype != np.float64:
        wide = row.lie_between(x.shape, "float64")
        row.cast(0, x.shape, (x.dtype.name, "float64"), wide)
    nothing, item = np.zeros(1), Strides(0, (8,))
    count = rows * ensemble.targets
    row.add(strided_copy((count,), Strides(0, (0,)), item, 8, thread_pool.count()), (nothing,), sums)
    row.add(walk.plan, (wide, *walk.own), sums)
    if walk.count > 1 or ensemble.base.any():
        _finish_sums(row, sums, (rows, ensemble.targets), walk.count, ensemble.base)
    outputs = iter(range(1, 1 + len(made)))
    if ensemble.labels is not None and node.outputs[0]:
        _label(row, ensemble, sums, next(outputs))
    if (target := next(outputs, None)) is not None:
        _score(row, ensemble, sums, target, made[-1])
    return row.finish()


WALKED = tuple(f"{DOMAIN}.{op}" for op in ("TreeEnsemble", "TreeEnsembleRegressor", "TreeEnsembleClassifier"))
"""Operators of trees, with their domain."""

WAYS = ("NONE", "LOGISTIC", "SOFTMAX")
"""Values of post_transform that have kernels."""


def _finish_sums(row: _KernelRow, sums: int, shape: Shape, count: int, base: Array) -> None:
    """The mean over trees, and what is added to each target's."""
    spelt = Spelling(("float64", "float64"))
    mean = spelt("div", 0, spelt.const(count)) if count > 1 else 0
    spelt("add", mean, 1)
    said = Expression(spelt.types, spelt.steps)
    row.add(elementwise(said, [shape, base.shape], shape, thread_pool.count()), (sums, base), sums)


def _label(row: _KernelRow, ensemble: Ensemble, sums: int, target: int) -> None:
    """The label of each row."""
    labels, rows, threads = ensemble.labels, ensemble.rows, thread_pool.count()
    assert labels is not None
    if ensemble.both:
        spelt = Spelling(("float64", "int64", "int64"))
        spelt("select", spelt("greater", 0, spelt.const(ensemble.least)), 2, 1)
        said, shapes = Expression(spelt.types, spelt.steps), [(rows,), (1,), (1,)]
        row.add(elementwise(said, shapes, (rows,), threads), (sums, labels[:1], labels[1:]), target)
        return
    plain = (labels == np.arange(len(labels))).all()
    place = target if plain else row.lie_between((rows,), "int64")
    row.add(extreme_places((rows, ensemble.targets), 1, "float64", threads), (sums,), place)
    if not plain:
        where = Indexed(1, rows, 8, (len(labels),), 0, 8)
        row.add(indexed_copy(where, "int64", threads), (labels, place, np.array([len(labels)])), target)


def _score(row: _KernelRow, ensemble: Ensemble, sums: int, target: int, made: Spec) -> None:
    """The scores of each row."""
    threads, logistic = thread_pool.count(), ensemble.way == "LOGISTIC"
    if ensemble.way == "SOFTMAX":
        row.add(softmax((ensemble.rows, ensemble.targets), (1, 2), False, "float64", threads), (sums,), sums)
    given = ensemble.both
    spelt = Spelling(("float64",) * (1 + len(given)))
    score = spelt("add", 1, spelt("mul", 2, 0)) if given else 0
    score = spelt("sigmoid", score) if logistic else score
    if made.dtype != np.float64:
        spelt.cast(score, made.dtype.name)
    shapes = [(ensemble.rows, ensemble.targets), *(each.shape for each in given)]
    row.add(
        elementwise(Expression(spelt.types, spelt.steps), shapes, made.shape, threads), (sums, *given), target
    )


__all__ = ["WALKED", "find_walk"]

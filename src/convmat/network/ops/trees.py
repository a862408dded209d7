"""Ensembles of decision trees, of `ai.onnx.ml`, read from attributes: `tree_walks` walks them.

TreeEnsemble counts nodes and leaves through; TreeEnsembleRegressor and TreeEnsembleClassifier have numbers within each
tree, which become places in the same arrays. Tests and sums are taken in float64, and y is rounded once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...lazy_dataclass import dataclass
from ..graph import Array, Node, Spec
from .base import Specs, Step, input_at, step_operator
from .classical import DOMAIN, FLOAT, labels_of, transform_scores, two_scores
from .options import Options
from .tree_walks import LEAF, MEMBER, KernelScorer, Trees, Walked, open_scorer

MODES = {f"BRANCH_{name}": n for n, name in enumerate(("LEQ", "LT", "GTE", "GT", "EQ", "NEQ"))} | {
    "LEAF": LEAF
}
"""The numbers of tests by the names that the older operators have for them."""

AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")
"""What becomes of votes for the same target, in the order of their numbers in TreeEnsemble."""

CIRCLE = "a node of its trees is below itself\n  every branch must end at a leaf"

TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")
"""What becomes of scores, in the order of their numbers in TreeEnsemble."""


def _votes(node: Node, nodes: int, leaves: Array, targets: Array, weights: Array, most: int) -> Any:
    """Votes sorted by leaf, and where those of each begin. Raises NetworkError."""
    if not len(leaves) == len(targets) == len(weights):
        raise node.error(
            f"its votes have {len(leaves)} leaves, {len(targets)} targets and {len(weights)} weights\n"
            "  one of each is needed"
        )
    if targets.size and not 0 <= targets.min() <= targets.max() < most:
        raise node.error(
            f"its votes are for targets {targets.min()} to {targets.max()}\n  from 0 to {most - 1} are needed"
        )
    order = np.argsort(leaves, kind="stable")
    first = np.searchsorted(leaves[order], np.arange(nodes + 1))
    return (targets[order], weights[order]), first


def _ints(node: Node, name: str) -> Array:
    return np.array(node.get(name, ()), np.int64).reshape(-1)


def _floats(node: Node, name: str) -> Array:
    """Numbers of an attribute, or of its twin in float64."""
    given = node.get(f"{name}_as_tensor")
    return np.array(node.get(name, ()) if given is None else given, np.float64).reshape(-1)


def _lengths(node: Node, found: dict[str, Array]) -> int:
    """How many entries attributes have that must be alike. Raises NetworkError."""
    sizes = {len(each) for each in found.values()}
    if len(sizes) != 1:
        words = ", ".join(f"{name} {len(each)}" for name, each in found.items())
        raise node.error(f"its nodes have {words} entries\n  as many each are needed")
    return sizes.pop()


def _require_trees(node: Node, children: Array, roots: Array, nodes: int) -> None:
    """Raise NetworkError where children or roots do not exist, or a node is below itself."""
    for name, each in (("children", children), ("roots", roots)):
        if each.size and not 0 <= each.min() <= each.max() < nodes:
            raise node.error(
                f"its {name} are nodes {each.min()} to {each.max()}\n  it has {nodes} of them, from 0 on"
            )
    level, own = roots, np.arange(nodes)
    for _ in range(nodes + 1):
        inner = level[(children[level] != own[level][:, None]).any(axis=1)]
        if not inner.size:
            return
        level = np.unique(children[inner])
    raise node.error(CIRCLE)


# -- TreeEnsemble ------------------------------------------------------------------------------------------------------


def _sets(node: Node, modes: Array) -> dict[int, Array]:
    """The numbers of each MEMBER node, in the order of the nodes; NaN ends a set. Raises NetworkError."""
    asking = np.flatnonzero(modes == MEMBER).tolist()
    given = np.array(node.get("membership_values", ()), np.float64).reshape(-1)
    ends = np.flatnonzero(np.isnan(given)).tolist()
    if given.size and not np.isnan(given[-1]):
        ends.append(given.size)
    if len(ends) != len(asking):
        raise node.error(
            f"its membership_values are {len(ends)} sets\n  {len(asking)} nodes ask for one each"
        )
    begins = [0, *(end + 1 for end in ends)]
    return {n: given[begins[i] : ends[i]] for i, n in enumerate(asking)}


def _read_ensemble(node: Node, targets: int) -> Trees:
    """The trees of a TreeEnsemble: its nodes, and behind them its leaves."""
    features, splits = _ints(node, "nodes_featureids"), _floats(node, "nodes_splits")
    numbers, missing = _floats(node, "nodes_modes"), _ints(node, "nodes_missing_value_tracks_true")
    sides = {side: _ints(node, f"nodes_{side}nodeids") for side in ("false", "true")}
    ends = {side: _ints(node, f"nodes_{side}leafs") for side in ("false", "true")}
    words = {"featureids": features, "splits": splits, "modes": numbers}
    words |= {f"{side}nodeids": sides[side] for side in sides}
    words |= {f"{side}leafs": ends[side] for side in ends}
    nodes = _lengths(node, words | ({"missing_value_tracks_true": missing} if missing.size else {}))
    odd = [n for n in numbers.tolist() if n not in range(MEMBER + 1)]
    if odd:
        raise node.error(f"one of its nodes_modes is {odd[0]:g}\n  from 0 to {MEMBER} are needed")
    leaves = len(_ints(node, "leaf_targetids"))
    modes = np.concatenate([numbers.astype(np.int64), np.full(leaves, LEAF)])
    below = np.stack([np.where(ends[side] != 0, sides[side] + nodes, sides[side]) for side in sides], axis=1)
    children = np.concatenate([below, np.repeat(np.arange(nodes, nodes + leaves), 2).reshape(-1, 2)])
    roots = _ints(node, "tree_roots")
    _require_trees(node, children, roots, nodes + leaves)
    votes, first = _votes(
        node, nodes + leaves, np.arange(nodes, nodes + leaves), _ints(node, "leaf_targetids"),
        _floats(node, "leaf_weights"), targets,
    )  # fmt: skip
    pad = (0, leaves)
    known = np.pad(missing != 0, pad) if missing.size else np.zeros(nodes + leaves, bool)
    return Trees(
        np.pad(features, pad), np.pad(splits, pad), modes, known, children, roots, _sets(node, modes), votes, first
    )  # fmt: skip


def _of_number(node: Node, name: str, words: Sequence[str], default: int) -> str:
    """The word that a number of an attribute stands for. Raises NetworkError."""
    number = int(node.get(name, default))
    if not 0 <= number < len(words):
        raise node.error(f"its {name} is {number}\n  from 0 to {len(words) - 1} are needed")
    return words[number]


def _ensemble_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x = input_at(node, specs, 0)
    return (Spec((_rows_of(node, x), node.get("n_targets", 1)), x.dtype),)


@step_operator(f"{DOMAIN}.TreeEnsemble", shape=_ensemble_shape)
def walk_trees(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """The votes of all trees for each target, transformed: x (N, C) -> (N, targets), of x's type."""
    return _scoring(node, open_ensemble(node, specs, made), input_at(node, specs, 0), options)


@dataclass(frozen=True)
class Ensemble:
    """A node's trees, what is made of the votes for its targets, and for how many rows.

    `labels`: those of a classifier. `both`: where one sum s decides between two of them, their scores are a + b s, from
    `least` on the second is chosen; a and b.
    """

    trees: Trees
    rows: int
    targets: int
    aggregate: str
    way: str
    base: Array
    labels: Array | None = None
    both: tuple[Array, ...] = ()
    least: float = 0.0


def open_ensemble(node: Node, specs: Specs, made: Sequence[Spec]) -> Ensemble:
    """What a node of trees is. Raises NetworkError."""
    x = input_at(node, specs, 0)
    rows = _rows_of(node, x)
    if node.op == "TreeEnsembleClassifier":
        return _open_classifier(node, x, rows)
    targets = made[0].shape[1]
    if node.op == "TreeEnsemble":
        trees, base = _read_ensemble(node, targets), np.zeros(1)
        aggregate = _of_number(node, "aggregate_function", AGGREGATES, 1)
        way = _of_number(node, "post_transform", TRANSFORMS, 0)
    else:
        trees, base = _read_numbered(node, "target", targets), _base(node, targets)
        aggregate, way = node.get("aggregate_function", "SUM"), node.get("post_transform", "NONE")
    _require_features(node, trees, x)
    if aggregate not in AGGREGATES:
        raise node.error(
            f"its aggregate_function is {aggregate!r}\n  one of {', '.join(AGGREGATES)} is needed"
        )
    return Ensemble(trees, rows, targets, aggregate, way, base)


def _open_classifier(node: Node, x: Spec, rows: int) -> Ensemble:
    labels, way = labels_of(node, "classlabels_int64s"), node.get("post_transform", "NONE")
    classes = len(labels)
    trees, base = _read_numbered(node, "class", classes), _base(node, classes)
    _require_features(node, trees, x)
    named, positive = set(trees.votes[0].tolist()), not (trees.votes[1] < 0).any()
    if classes != 2 or len(named) != 1:
        return Ensemble(trees, rows, classes, "SUM", way, base, labels)
    voted = named.pop()
    own = base[voted] if base.size > 1 else base[0]
    alone = replace(trees, votes=(np.zeros_like(trees.votes[0]), trees.votes[1]))
    if voted == 1:  # of the first there is nothing but what is added to it
        both = np.array([base[0], 0.0]), np.array([0.0, 1.0])
    elif positive and way != "LOGISTIC":
        both = np.array([1.0, 0.0]), np.array([-1.0, 1.0])
    else:
        both = np.zeros(2), np.array([-1.0, 1.0])
    return Ensemble(alone, rows, 1, "SUM", way, np.array([own]), labels, both, 0.5 if positive else 0.0)


# -- TreeEnsembleRegressor, TreeEnsembleClassifier ---------------------------------------------------------------------


def _rows_of(node: Node, x: Spec) -> int:
    if x.rank not in (1, 2):
        raise node.error(f"its input is {x}\n  rows of features are needed: (N, C)")
    return x.shape[0] if x.rank == 2 else 1


def _require_features(node: Node, trees: Trees, x: Spec) -> None:
    asked = trees.features
    if asked.size and not 0 <= asked.min() <= asked.max() < x.shape[-1]:
        raise node.error(
            f"it tests features {asked.min()} to {asked.max()}\n  its input is {x}: {asked.max() + 1} are needed"
        )


def _find_places(node: Node, table: dict[tuple[int, int], int], trees: Array, ids: Array, what: str) -> Array:
    """Places of nodes by the numbers of their trees and their own. Raises NetworkError."""
    pairs = list(zip(trees.tolist(), ids.tolist(), strict=False))
    for tree, own in pairs:
        if (tree, own) not in table:
            raise node.error(f"its {what} name node {own} of tree {tree}\n  there is none such")
    return np.array([table[pair] for pair in pairs], np.int64)


def _read_numbered(node: Node, votes: str, targets: int) -> Trees:
    """The trees of the two older operators, whose attributes of votes begin with `votes`."""
    of, ids = _ints(node, "nodes_treeids"), _ints(node, "nodes_nodeids")
    features, splits = _ints(node, "nodes_featureids"), _floats(node, "nodes_values")
    names, missing = node.get("nodes_modes", ()), _ints(node, "nodes_missing_value_tracks_true")
    odd = [each for each in names if each not in MODES]
    if odd:
        raise node.error(f"one of its nodes_modes is {odd[0]!r}\n  one of {', '.join(MODES)} is needed")
    modes = np.array([MODES[each] for each in names], np.int64)
    sides = {side: _ints(node, f"nodes_{side}nodeids") for side in ("false", "true")}
    words = {"treeids": of, "nodeids": ids, "featureids": features, "values": splits, "modes": modes}
    words |= {f"{side}nodeids": sides[side] for side in sides}
    nodes = _lengths(node, words | ({"missing_value_tracks_true": missing} if missing.size else {}))
    table: dict[tuple[int, int], int] = {}
    for n, pair in enumerate(zip(of.tolist(), ids.tolist(), strict=True)):
        if table.setdefault(pair, n) != n:
            raise node.error(
                f"its nodes {table[pair]} and {n} are both node {pair[1]} of tree {pair[0]}\n"
                "  each node of a tree needs a number of its own"
            )
    inner, own = modes != LEAF, np.arange(nodes)
    children = np.repeat(own, 2).reshape(-1, 2)
    for at, side in enumerate(sides):
        children[inner, at] = _find_places(node, table, of[inner], sides[side][inner], f"nodes_{side}nodeids")
    below = np.zeros(nodes, bool)
    below[children[inner].reshape(-1)] = True
    roots = np.flatnonzero(~below)
    if not np.isin(of, of[roots]).all():
        raise node.error(CIRCLE)
    _require_trees(node, children, roots, nodes)
    leaves = _find_places(
        node, table, _ints(node, f"{votes}_treeids"), _ints(node, f"{votes}_nodeids"), f"{votes}_nodeids"
    )
    kept, first = _votes(
        node, nodes, leaves, _ints(node, f"{votes}_ids"), _floats(node, f"{votes}_weights"), targets
    )
    known = missing != 0 if missing.size else np.zeros(nodes, bool)
    tested = np.where(inner, features, 0)  # what leaves have there, nobody asks for
    return Trees(tested, splits, modes, known & inner, children, roots, {}, kept, first)


def _base(node: Node, targets: int) -> Array:
    """What is added to each target's votes. Raises NetworkError."""
    base = _floats(node, "base_values")
    if base.size not in (0, 1, targets):
        raise node.error(
            f"it has {base.size} base_values\n  one for each of its {targets} targets is needed, or none"
        )
    return base if base.size else np.zeros(1)


def _scoring(node: Node, ensemble: Ensemble, x: Spec, options: Options) -> Step:
    """The step that writes transformed scores."""
    base, plain = ensemble.base, not ensemble.base.any()
    score = open_scorer(ensemble.trees, x, ensemble.targets, options, ensemble.aggregate)

    def step(x: Array, out: Array) -> None:
        sums = score(x.reshape(len(out), -1).astype(np.float64))
        out[...] = transform_scores(node, sums if plain else sums + base, ensemble.way)

    return Walked(step) if isinstance(score, KernelScorer) else step


def _regress_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    return (Spec((_rows_of(node, input_at(node, specs, 0)), node.get("n_targets", 1)), FLOAT),)


@step_operator(f"{DOMAIN}.TreeEnsembleRegressor", shape=_regress_shape)
def regress_by_trees(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """The votes of all trees for each target and its base value, transformed: x (N, C) -> (N, targets), float32."""
    return _scoring(node, open_ensemble(node, specs, made), input_at(node, specs, 0), options)


def _classify_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    rows, labels = _rows_of(node, input_at(node, specs, 0)), labels_of(node, "classlabels_int64s")
    return Spec((rows,), labels.dtype), Spec((rows, len(labels)), FLOAT)


@step_operator(f"{DOMAIN}.TreeEnsembleClassifier", shape=_classify_shape)
def classify_by_trees(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """The label of each row and a score for each label: x (N, C) -> (N,), (N, E).

    Where all votes are for the first of two labels, one sum decides between them. The standard is silent there: as in
    onnxruntime the sum belongs to the second label, which is chosen from 0.5 on where no vote is negative, else from 0.
    """
    labels, x = labels_of(node, "classlabels_int64s"), input_at(node, specs, 0)
    classes = len(labels)
    trees, base = _read_numbered(node, "class", classes), _base(node, classes)
    _require_features(node, trees, x)
    named, plain = set(trees.votes[0].tolist()), not base.any()
    positive = not (trees.votes[1] < 0).any()
    score, rows = open_scorer(trees, x, classes, options), _rows_of(node, x)
    decided = named.pop() if classes == 2 and len(named) == 1 else None
    least = 0.5 if positive else 0.0
    at = [i for i, name in enumerate(node.outputs) if name]

    def step(x: Array, *outs: Array) -> None:
        sums = score(x.reshape(rows, -1).astype(np.float64))
        sums = sums if plain else sums + base
        if decided is None:
            chosen = sums.argmax(axis=1) if sums.size else np.zeros(len(sums), np.int64)
        else:
            chosen = (sums[:, decided] > least).view(np.int8)
        for i, out in zip(at, outs, strict=True):
            if i == 0:
                out[...] = labels.take(chosen)
            elif decided == 0:
                out[...] = _of_one_sum(node, sums[:, :1], positive)
            else:
                out[...] = transform_scores(node, sums)

    return Walked(step) if isinstance(score, KernelScorer) else step


def _of_one_sum(node: Node, one: Array, positive: bool) -> Array:
    """(N, 1) sums for the second of two labels -> the scores of both: (N, 2)."""
    if positive or node.get("post_transform", "NONE") in ("LOGISTIC", "PROBIT"):
        return two_scores(node, one)
    return np.concatenate([-one, one], axis=1)

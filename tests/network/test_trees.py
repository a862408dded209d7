"""Ensembles of trees: worked by hand, drawn at random beside onnxruntime's, the standard's own cases, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper

import convmat
from convmat.engine.cpu import host
from convmat.network.graph import Node, Spec
from convmat.network.ops import OPERATORS
from convmat.network.ops.options import Options
from convmat.network.ops.tree_walks import KernelScorer, open_scorer
from convmat.network.ops.trees import _read_numbered
from convmat.network.ops.walked import find_walk

from .cases import Array, single
from .runtime import outside, run, said

DRAWN = np.random.default_rng(0)
NAMES = ("LEQ", "LT", "GTE", "GT", "EQ", "NEQ")


@pytest.fixture(autouse=True)
def draw_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test draws the same, whichever ran before it."""
    monkeypatch.setitem(globals(), "DRAWN", np.random.default_rng(0))


def older(op: str, version: int = 3, outputs: tuple[str, ...] = ("y",), **attributes: Any) -> Node:
    """A node called 'here' of the two older operators."""
    return Node(op, (), outputs, attributes, "here", version, "ai.onnx.ml")


def stump(kind: str, **more: Any) -> dict[str, Any]:
    """One test, whether feature 0 is at most 0.5: 3.0 for target 0 if so, else -1.0; `more` goes before."""
    made = {
        "nodes_treeids": (0, 0, 0), "nodes_nodeids": (0, 1, 2), "nodes_featureids": (0, 0, 0),
        "nodes_values": (0.5, 0.0, 0.0), "nodes_modes": ("BRANCH_LEQ", "LEAF", "LEAF"),
        "nodes_truenodeids": (1, 0, 0), "nodes_falsenodeids": (2, 0, 0),
        f"{kind}_treeids": (0, 0), f"{kind}_nodeids": (1, 2), f"{kind}_ids": (0, 0), f"{kind}_weights": (3.0, -1.0),
    }  # fmt: skip
    return made | more


def forest(
    kind: str, features: int, targets: int, modes: tuple[str, ...] = NAMES, trees: int = 5
) -> dict[str, Any]:
    """Trees of random tests, three deep where they are whole; a leaf votes for one or two targets."""
    made: dict[str, list[Any]] = {
        f"nodes_{name}": []
        for name in ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids",
                     "missing_value_tracks_true")
    }  # fmt: skip
    votes: dict[str, list[Any]] = {f"{kind}_{name}": [] for name in ("treeids", "nodeids", "ids", "weights")}

    def add(tree: int, depth: int) -> int:
        own = made["nodes_treeids"].count(tree)
        leaf = depth == 3 or (depth > 0 and DRAWN.random() < 0.2)
        at = len(made["nodes_modes"])
        mode = "LEAF" if leaf else f"BRANCH_{DRAWN.choice(modes)}"
        feature, split, passes = DRAWN.integers((features, 5, 2)).tolist()
        row = (tree, own, feature, split - 2.0, mode, 0, 0, passes * (not leaf))
        for kept, value in zip(made.values(), row, strict=True):
            kept.append(value)
        if leaf:
            for target in DRAWN.permutation(targets)[: DRAWN.integers(1, 3)].tolist():
                for name, value in zip(votes, (tree, own, target, float(DRAWN.normal())), strict=True):
                    votes[name].append(value)
        else:
            made["nodes_truenodeids"][at] = add(tree, depth + 1)
            made["nodes_falsenodeids"][at] = add(tree, depth + 1)
        return own

    for tree in range(trees):
        add(tree, 0)
    return {name: tuple(value) for name, value in (made | votes).items()}


def rows(n: int, features: int, missing: bool = False) -> Array:
    """Whole numbers, so that tests meet their splits, and NaN here and there."""
    x = DRAWN.integers(-3, 4, (n, features)).astype(np.float32)
    x[(DRAWN.random(x.shape) < 0.1) & missing] = np.nan
    return x


def agrees(node: Node, x: Array) -> list[Array]:
    """What a node gives, once onnxruntime has given the same."""
    found, theirs = run(node, x), outside(node, x)
    assert theirs is not None
    for a, b in zip(found, theirs, strict=True):
        assert (a.shape, a.dtype.kind) == (b.shape, b.dtype.kind)
        if a.dtype.kind == "f":
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-5)
        else:
            assert a.tolist() == b.tolist()
    return found


def by_kernels(node: Node, x: Array) -> list[Array] | None:
    """What a node gives by a row of kernels; None where it has none."""
    specs = [Spec(x.shape, x.dtype)]
    made = OPERATORS[node.key].shape(node, specs)
    outputs = [np.full(spec.shape, 77, spec.dtype) for spec in made]
    step = find_walk(node, specs, made)
    if step is not None:
        for kernel in step.kernels:
            kernel.load()
        step(x, *outputs)
    return None if step is None else outputs


@pytest.mark.skipif(not host().fma, reason="the jit makes no code for this CPU")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("way", ["NONE", "LOGISTIC", "SOFTMAX"])
@pytest.mark.parametrize("targets", [1, 2, 5])
def test_a_row_of_kernels_has_the_numbers_of_numpy(targets: int, way: str, threads: int) -> None:
    """Sums, means, what is added, labels of any numbers, and one sum that decides between two labels."""
    with convmat.threads(threads):
        for seed, count in enumerate((1, 9, 300)):
            given, x = forest("target", 4, targets, ("LEQ",), 3 + 5 * seed), rows(count, 4, missing=True)
            base = tuple(DRAWN.normal(size=targets).tolist()) if seed else ()
            for aggregate in ("SUM", "AVERAGE"):
                more: dict[str, Any] = {"aggregate_function": aggregate, "base_values": base}
                node = older("TreeEnsembleRegressor", n_targets=targets, post_transform=way, **given, **more)
                found = by_kernels(node, x)
                assert found is not None
                np.testing.assert_allclose(found[0], run(node, x)[0], rtol=1e-6, atol=1e-7)
            given = {name.replace("target_", "class_"): value for name, value in given.items()}
            labels = tuple(range(targets)) if seed else tuple((7 - np.arange(targets) * 5).tolist())
            if targets == 1:  # of two, and no other has votes
                given["class_ids"] = (seed % 2,) * len(given["class_ids"])
                labels, base = (3, -4) if seed else (0, 1), base[:1]
                if seed == 1:
                    given["class_weights"] = tuple(map(abs, given["class_weights"]))
            node = older(
                "TreeEnsembleClassifier", outputs=("y", "z"), classlabels_int64s=labels, post_transform=way,
                base_values=base, **given,
            )  # fmt: skip
            found, right = by_kernels(node, x), run(node, x)
            if targets == 1 and way == "SOFTMAX":
                assert found is None
                continue
            assert found is not None
            assert found[0].tolist() == right[0].tolist()
            np.testing.assert_allclose(found[1], right[1], rtol=1e-6, atol=1e-7)


def test_one_test_by_hand() -> None:
    x = np.array([[0.5], [0.6], [np.nan]], np.float32)
    node = older("TreeEnsembleRegressor", n_targets=1, **stump("target"))
    assert run(node, x)[0].tolist() == [[3], [-1], [-1]]
    node = older("TreeEnsembleRegressor", **stump("target", nodes_missing_value_tracks_true=(1, 0, 0)))
    assert run(node, x)[0].tolist() == [[3], [-1], [3]]
    node = older("TreeEnsembleRegressor", n_targets=2, base_values=(1.0, 2.0), **stump("target"))
    assert run(node, x)[0].tolist() == [[4, 2], [0, 2], [0, 2]]
    assert run(node, x.astype(np.float64))[0].dtype == np.float32
    assert run(node, x[:0])[0].shape == (0, 2)


@pytest.mark.parametrize("aggregate", ["SUM", "AVERAGE", "MIN", "MAX"])
@pytest.mark.parametrize("way", ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"])
def test_regression_as_onnxruntime_has_it(aggregate: str, way: str) -> None:
    about = forest("target", 4, 3) | {"aggregate_function": aggregate, "post_transform": way}
    agrees(older("TreeEnsembleRegressor", n_targets=3, **about), rows(50, 4, missing=True))


@pytest.mark.parametrize("mode", NAMES)
def test_each_kind_of_test(mode: str) -> None:
    about = forest("target", 3, 2, (mode,))
    agrees(older("TreeEnsembleRegressor", n_targets=2, **about), rows(40, 3, missing=mode != "NEQ"))


@pytest.mark.skipif(not host().fma, reason="the jit makes no code for this CPU")
@pytest.mark.parametrize("mode", NAMES)
@pytest.mark.parametrize("trees", [3, 8, 21])
def test_a_kernel_adds_up_what_numpy_does(mode: str, trees: int) -> None:
    """To the same bits, on any number of threads, whatever rows miss."""
    about = forest("target", 3, 2, (mode,), trees)
    read = _read_numbered(older("TreeEnsembleRegressor", n_targets=2, **about), "target", 2)
    for n in (1, 700):
        x = rows(n, 3, missing=True).astype(np.float64)
        for aggregate in ("SUM", "AVERAGE"):
            wanted = read.scores(x, 2, aggregate)
            for threads in (1, 3):
                with convmat.threads(threads):
                    score = open_scorer(read, Spec.of(x), 2, Options(), aggregate)
                assert isinstance(score, KernelScorer)
                np.testing.assert_array_equal(score(x), wanted)


@pytest.mark.skipif(not host().fma, reason="the jit makes no code for this CPU")
@pytest.mark.parametrize(("modes", "way"), [(("LEQ",), "walked down"), (("LEQ", "GT"), "numpy")])
def test_summaries_say_who_walks(modes: tuple[str, ...], way: str) -> None:
    about = forest("target", 4, 1, modes, 8)
    tree = helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", n_targets=1, **about)
    declared = [helper.make_tensor_value_info(name, 1, ["n", count]) for name, count in (("x", 4), ("y", 1))]
    graph = helper.make_graph([tree], "g", declared[:1], declared[1:])
    sets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    net = convmat.load(helper.make_model(graph, opset_imports=sets, ir_version=8))
    x = rows(6, 4)
    node = older("TreeEnsembleRegressor", n_targets=1, **about)
    np.testing.assert_allclose(net(x), run(node, x)[0], rtol=1e-6)
    assert way in str(net.with_shapes(n=6).summary())


@pytest.mark.parametrize("way", ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"])
def test_classes_as_onnxruntime_has_them(way: str) -> None:
    about = forest("class", 4, 4)  # what has no vote has 0, which onnxruntime never takes for the largest
    about["class_weights"] = tuple(abs(each) for each in about["class_weights"])
    about |= {"classlabels_strings": ("a", "b", "c", "d"), "post_transform": way}
    labels, scores = agrees(older("TreeEnsembleClassifier", 1, ("y", "z"), **about), rows(50, 4))
    assert len(set(labels.tolist())) > 2
    assert scores.shape == (50, 4)
    about = {name: value for name, value in about.items() if name != "classlabels_strings"}
    about |= {"classlabels_int64s": (7, 5, 3, 1), "base_values": (0.1, 0.2, 0.3, 0.4)}
    agrees(older("TreeEnsembleClassifier", 3, ("y", "z"), **about), rows(50, 4))


@pytest.mark.parametrize("weights", [(0.3, 0.8), (-0.3, 0.8)])
@pytest.mark.parametrize("way", ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"])
@pytest.mark.parametrize("target", [0, 1])
def test_one_sum_decides_between_two_labels(weights: tuple[float, float], way: str, target: int) -> None:
    """From 0.5 on where no vote is negative, else from 0; the sum is the second label's."""
    about = stump("class", class_weights=weights, class_ids=(target,) * 2, classlabels_int64s=(5, 9))
    node = older("TreeEnsembleClassifier", 3, ("y", "z"), post_transform=way, **about)
    labels, scores = agrees(node, np.array([[0], [1]], np.float32))
    assert labels.tolist() == [5, 9]
    if way == "NONE" and target == 0 and weights[0] > 0:
        np.testing.assert_allclose(scores, [[0.7, 0.3], [0.2, 0.8]], rtol=1e-6)


def test_two_labels_with_votes_for_both_go_to_the_larger_sum() -> None:
    about = stump(
        "class", class_treeids=(0,) * 4, class_nodeids=(1, 1, 2, 2), class_ids=(0, 1, 0, 1),
        class_weights=(0.7, 0.3, 0.2, 0.8), classlabels_int64s=(5, 9),
    )  # fmt: skip
    x = np.array([[0], [1]], np.float32)
    labels, scores = run(older("TreeEnsembleClassifier", 3, ("y", "z"), **about), x)
    assert labels.tolist() == [5, 9]
    np.testing.assert_allclose(scores, [[0.7, 0.3], [0.2, 0.8]], rtol=1e-6)
    (only,) = run(older("TreeEnsembleClassifier", 3, ("", "z"), **about), x)[1:]
    np.testing.assert_array_equal(only, scores)


def test_the_standards_cases() -> None:
    tried = 0
    for case in single(
        {"TreeEnsemble", "TreeEnsembleRegressor", "TreeEnsembleClassifier"}, domains=("ai.onnx.ml",)
    ):
        found = convmat.load(case.model.SerializeToString())(case.inputs)
        (wanted,) = case.outputs.values()
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
        assert found.dtype == wanted.dtype
        tried += 1
    assert tried >= 2


def ensemble(**more: Any) -> bytes:
    """A TreeEnsemble: node 0 asks whether x[0] <= 0, node 1 whether it is 1 or 0, node 2 whether it is 5."""
    tensors = {
        "nodes_modes": np.array([0, 6, 6], np.uint8), "nodes_splits": np.zeros(3, np.float32),
        "leaf_weights": np.array([1, 2, 4, 8], np.float32),
        "membership_values": np.array([1, 0, np.nan, 5, np.nan], np.float32),
    }  # fmt: skip
    about: dict[str, Any] = {
        "nodes_featureids": [0, 0, 0], "nodes_truenodeids": [2, 0, 2], "nodes_falsenodeids": [1, 1, 3],
        "nodes_trueleafs": [0, 1, 1], "nodes_falseleafs": [0, 1, 1], "tree_roots": [0],
        "leaf_targetids": [0, 1, 0, 1], "n_targets": 2,
        **{name: numpy_helper.from_array(value, name) for name, value in tensors.items()},
    }  # fmt: skip
    node = helper.make_node("TreeEnsemble", ["x"], ["y"], name="here", domain="ai.onnx.ml", **(about | more))
    graph = helper.make_graph(
        [node], "one", [helper.make_tensor_value_info("x", 1, ["n", 1])],
        [helper.make_empty_tensor_value_info("y")],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 5)]
    data: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
    return data


def test_sets_lie_in_the_order_of_their_nodes() -> None:
    """Node 2 is met first, and its set is the second; a set may hold 0."""
    x = np.array([[-3], [0], [1], [2], [np.nan]], np.float32)
    assert convmat.load(ensemble())(x).tolist() == [[0, 8], [0, 8], [1, 0], [0, 2], [0, 2]]
    found = convmat.load(ensemble(nodes_missing_value_tracks_true=[1, 0, 1]))(x)
    assert found.tolist() == [[0, 8], [0, 8], [1, 0], [0, 2], [4, 0]]


def test_scores_of_an_ensemble_are_transformed() -> None:
    """The standard's own reference leaves them as they are."""
    found = convmat.load(ensemble(post_transform=2))(np.array([[1]], np.float32))
    np.testing.assert_allclose(found, [[1 / (1 + np.exp(-1)), 0.5]], rtol=1e-6)


@pytest.mark.parametrize(
    ("op", "more", "text"),
    [
        ("TreeEnsembleRegressor", {"nodes_modes": ("BRANCH_LEQ", "LEAF")},
         "  its nodes have treeids 3, nodeids 3, featureids 3, values 3, modes 2, falsenodeids 3, truenodeids 3 "
         "entries\n  as many each are needed"),
        ("TreeEnsembleRegressor", {"nodes_modes": ("BRANCH", "LEAF", "LEAF")},
         "  one of its nodes_modes is 'BRANCH'\n  one of BRANCH_LEQ, BRANCH_LT, BRANCH_GTE, BRANCH_GT, BRANCH_EQ, "
         "BRANCH_NEQ, LEAF is needed"),
        ("TreeEnsembleRegressor", {"nodes_truenodeids": (7, 0, 0)},
         "  its nodes_truenodeids name node 7 of tree 0\n  there is none such"),
        ("TreeEnsembleRegressor", {"nodes_nodeids": (0, 1, 1)},
         "  its nodes 1 and 2 are both node 1 of tree 0\n  each node of a tree needs a number of its own"),
        ("TreeEnsembleRegressor", {"nodes_featureids": (4, 0, 0)},
         "  it tests features 0 to 4\n  its input is float32[1,2]: 5 are needed"),
        ("TreeEnsembleRegressor", {"target_ids": (0, 3)},
         "  its votes are for targets 0 to 3\n  from 0 to 0 are needed"),
        ("TreeEnsembleRegressor", {"target_weights": (1.0,)},
         "  its votes have 2 leaves, 2 targets and 1 weights\n  one of each is needed"),
        ("TreeEnsembleRegressor", {"base_values": (1.0, 2.0)},
         "  it has 2 base_values\n  one for each of its 1 targets is needed, or none"),
        ("TreeEnsembleRegressor", {"aggregate_function": "MEAN"},
         "  its aggregate_function is 'MEAN'\n  one of AVERAGE, SUM, MIN, MAX is needed"),
        ("TreeEnsembleRegressor",
         {"nodes_modes": ("BRANCH_LEQ", "BRANCH_LEQ", "LEAF"), "nodes_truenodeids": (1, 2, 0),
          "nodes_falsenodeids": (2, 1, 0)},
         "  a node of its trees is below itself\n  every branch must end at a leaf"),
        ("TreeEnsembleRegressor",
         {"nodes_modes": ("BRANCH_LEQ", "BRANCH_LEQ", "LEAF"), "nodes_truenodeids": (1, 0, 0),
          "nodes_falsenodeids": (2, 2, 0)},
         "  a node of its trees is below itself\n  every branch must end at a leaf"),
    ],
)  # fmt: skip
def test_what_is_refused(op: str, more: dict[str, Any], text: str) -> None:
    node = older(op, **stump("target", **more))
    assert said(node, np.zeros((1, 2), np.float32)) == text
    good = older(op, **stump("target"))
    assert run(good, np.zeros((1, 2), np.float32))[0].tolist() == [[3]]


def test_what_leaves_have_in_place_of_a_feature_is_not_asked_for() -> None:
    x = rows(9, 2)
    for leaf in (-2, 7):
        made = run(older("TreeEnsembleRegressor", **stump("target", nodes_featureids=(0, leaf, leaf))), x)
        np.testing.assert_array_equal(made[0], run(older("TreeEnsembleRegressor", **stump("target")), x)[0])


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"tree_roots": [9]}, "  its roots are nodes 9 to 9\n  it has 7 of them, from 0 on"),
        ({"aggregate_function": 7}, "  its aggregate_function is 7\n  from 0 to 3 are needed"),
        ({"nodes_modes": numpy_helper.from_array(np.array([0, 6, 9], np.uint8), "nodes_modes")},
         "  one of its nodes_modes is 9\n  from 0 to 6 are needed"),
        ({"membership_values": numpy_helper.from_array(np.array([1, np.nan], np.float32), "membership_values")},
         "  its membership_values are 1 sets\n  2 nodes ask for one each"),
    ],
)  # fmt: skip
def test_what_is_refused_of_ensembles(more: dict[str, Any], text: str) -> None:
    with pytest.raises(convmat.NetworkError) as error:
        convmat.load(ensemble(**more))(np.zeros((1, 1), np.float32))
    assert str(error.value).partition("cannot run\n")[2] == text

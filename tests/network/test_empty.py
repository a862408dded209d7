"""Networks without a batch, or without extents: the empty answer, of the right shape and type."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import convmat
from convmat.network.graph import Node
from convmat.network.ops import OPERATORS
from convmat.network.ops.half import NARROW
from convmat.network.reading.read import read_graph

from .cases import Array, single
from .made import model, normal
from .made import node as made_node
from .test_ops import ints, node, run

F = np.float32
C3, W = np.ones(3, F), np.ones((4, 3, 3, 3), F)


@pytest.mark.parametrize(
    ("made", "more", "shape"),
    [
        (node("Conv", pads=(1, 1, 1, 1)), [W], (0, 4, 6, 8)),
        (node("ConvTranspose", strides=(2, 2)), [W.transpose(1, 0, 2, 3)], (0, 4, 13, 17)),
        (node("MatMul"), [np.ones((8, 5), F)], (0, 3, 6, 5)),
        (node("MaxPool", kernel_shape=(2, 2)), [], (0, 3, 5, 7)),
        (node("AveragePool", kernel_shape=(2, 2)), [], (0, 3, 5, 7)),
        (node("LpPool", kernel_shape=(2, 2)), [], (0, 3, 5, 7)),
        (node("GlobalAveragePool"), [], (0, 3, 1, 1)),
        (node("GlobalMaxPool"), [], (0, 3, 1, 1)),
        (node("GlobalLpPool"), [], (0, 3, 1, 1)),
        (node("Pad", mode="reflect"), [ints(0, 0, 1, 2, 0, 0, 1, 2)], (0, 3, 8, 12)),
        (node("Pad", mode="edge"), [ints(0, 0, 1, 2, 0, 0, 1, 2)], (0, 3, 8, 12)),
        (node("Resize", mode="linear"), [None, np.array([1, 1, 2, 2], F)], (0, 3, 12, 16)),
        (node("BatchNormalization"), [C3, C3, C3, C3], (0, 3, 6, 8)),
        (node("InstanceNormalization"), [C3, C3], (0, 3, 6, 8)),
        (node("GroupNormalization", 21, num_groups=3), [C3, C3], (0, 3, 6, 8)),
        (node("LayerNormalization"), [np.ones(8, F)], (0, 3, 6, 8)),
        (node("LpNormalization"), [], (0, 3, 6, 8)),
        (node("MeanVarianceNormalization"), [], (0, 3, 6, 8)),
        (node("LRN", size=3), [], (0, 3, 6, 8)),
        (node("Softmax"), [], (0, 3, 6, 8)),
        (node("ArgMax", axis=1), [], (0, 1, 6, 8)),
        (node("TopK"), [ints(2)], (0, 3, 6, 2)),
        (node("CumSum"), [np.array(1)], (0, 3, 6, 8)),
        (node("ReduceMax", axis=1), [ints(1)], (0, 1, 6, 8)),
        (node("ReduceMean", axis=1), [ints(1)], (0, 1, 6, 8)),
        (node("Reshape"), [ints(0, -1)], (0, 144)),
        (node("Flatten"), [], (0, 144)),
        (node("DepthToSpace", blocksize=1), [], (0, 3, 6, 8)),
        (node("Einsum", equation="bchw,bcij->bhi"), [np.zeros((0, 3, 6, 8), F)], (0, 6, 6)),
        (node("Clip", 13), [np.array(0, F), np.array(1, F)], (0, 3, 6, 8)),
        (node("Sigmoid"), [], (0, 3, 6, 8)),
    ],
    ids=lambda each: each.op + str(each.get("mode", "")) if isinstance(each, Node) else "",
)
@pytest.mark.parametrize("dtype", [F, np.float16])
def test_no_batch(made: Node, more: list[Array | None], shape: tuple[int, ...], dtype: Any) -> None:
    """By the operator and, its first input apart, as a network with constants."""
    narrow = [a if a is None or a.dtype != F or made.op == "Resize" else a.astype(dtype) for a in more]
    found = OPERATORS[made.op](made, [np.zeros((0, 3, 6, 8), dtype), *narrow])[0]
    assert found.shape == shape
    assert made.op == "ArgMax" or found.dtype == dtype
    names = [f"c{i}" if a is not None else "-" for i, a in enumerate(narrow)]
    inner = made_node(
        made.op, " ".join(["x", *names]), "y z" if made.op == "TopK" else "y", **made.attributes
    )
    for key in ("axis",) if made.op.startswith("Reduce") else ():
        del inner.attribute[[a.name for a in inner.attribute].index(key)]
    constants = {name: a for name, a in zip(names, narrow, strict=True) if a is not None}
    kind = 10 if np.dtype(dtype).name in NARROW else 1
    net = convmat.load(model([inner], {"x": ("b", 3, 6, 8)}, "y", constants, opset=made.version, dtype=kind))
    assert net(np.zeros((0, 3, 6, 8), dtype)).shape == shape


def test_nothing_to_sum_over() -> None:
    """What a sum of nothing is: 0; a mean NaN, a maximum the least number there is."""
    x = np.zeros((2, 3, 0), F)
    assert run(node("ReduceSum"), x, ints(2)).tolist() == [[[0]] * 3] * 2
    assert np.isnan(run(node("ReduceMean"), x, ints(2))).all()
    assert np.isnan(run(node("GlobalAveragePool"), x)).all()
    assert (run(node("GlobalMaxPool"), x) == -math.inf).all()
    assert run(node("MatMul"), np.zeros((2, 0), F), np.zeros((0, 3), F)).tolist() == [[0] * 3] * 2
    for op, more in (("MatMul", {}), ("Gemm", {"c": np.arange(3.0, dtype=F)})):
        inner = made_node(op, " ".join(["x", "w", *more]), "y")
        net = convmat.load(model([inner], {"x": ("b", 0)}, "y", {"w": np.zeros((0, 3), F), **more}))
        assert net(np.zeros((2, 0), F)).tolist() == [[0, 1, 2] if more else [0] * 3] * 2


def test_a_whole_network_without_a_batch() -> None:
    nodes = [
        made_node("Conv", "x w", "a", pads=[1, 1, 1, 1]),
        made_node("Relu", "a", "b"),
        made_node("MaxPool", "b", "c", kernel_shape=[2, 2], strides=[2, 2]),
        made_node("Reshape", "c shape", "d"),
        made_node("Gemm", "d v", "e"),
        made_node("Softmax", "e", "y"),
    ]
    constants = {"w": normal(4, 3, 3, 3), "v": normal(48, 10), "shape": ints(0, -1)}
    net = convmat.load(model(nodes, {"x": ("b", 3, 6, 8)}, "y", constants))
    assert net(np.zeros((0, 3, 6, 8), F)).shape == (0, 10)
    assert net(normal(2, 3, 6, 8)).shape == (2, 10)


def test_errors_name_the_inputs_that_there_are() -> None:
    """A product by constants is a convolution inside: its errors are not one's."""
    net = convmat.load(model([made_node("MatMul", "x w", "y")], {"x": ("a", "b")}, "y", {"w": normal(4, 3)}))
    with pytest.raises(convmat.NetworkError) as error:
        net(normal(2, 5))
    assert str(error.value) == (
        "load: MatMul 'MatMul_y' cannot run\n  its inputs float32[2,5] and float32[4,3] are no product\n"
        "  (..., m, k) @ (..., k, n) is needed"
    )


NO_BATCH = {
    "BatchNormalization",
    "Compress",
    "DynamicQuantizeLinear",
    "Einsum",
    "Expand",
    "Flatten",
    "GRU",
    "Gather",
    "GatherElements",
    "GatherND",
    "LSTM",
    "LayerNormalization",
    "MaxUnpool",
    "NonZero",
    "RNN",
    "Reshape",
    "Shape",
    "Size",
    "Transpose",
    "Unsqueeze",
}
"""Operators whose outputs, or some of them, do not begin with the axis that their first input begins with."""


@pytest.mark.slow
def test_every_operator_without_a_batch() -> None:
    """The standard's inputs cut off: the empty answer, or a sentence where other inputs tell of a batch."""
    wrong = []
    for case in single({op for op in OPERATORS if op not in NO_BATCH and not op.startswith("Reduce")}):
        arrays = (*case.inputs.values(), *case.outputs.values())
        if not all(isinstance(each, np.ndarray) for each in arrays):
            continue
        (made,) = read_graph(case.model.SerializeToString()).nodes
        first = case.inputs.get(made.inputs[0]) if made.inputs else None
        if first is None or first.ndim < 2 or not first.size:
            continue
        given = [
            (a[:0] if (a := case.inputs[n]).shape == first.shape else a) if n else None for n in made.inputs
        ]
        wanted = [((0, *y.shape[1:]), y.dtype) for y in case.outputs.values()]
        try:
            found = [
                (y.shape, y.dtype)
                for y, name in zip(OPERATORS[made.op](made, given), made.outputs, strict=False)
                if name
            ]
        except convmat.NetworkError:
            continue
        if found != wanted:
            wrong.append(f"{case.name}: {found}, not {wanted}")
    assert not wrong, "\n".join(wrong)

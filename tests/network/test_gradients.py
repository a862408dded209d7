"""Rules of differentiation, each against finite differences in float64."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from convmat.engine import host
from convmat.errors import NetworkError
from convmat.network.gradients import RULES, differentiate
from convmat.network.graph import Graph, Input, Node, Spec
from convmat.network.ops import Options, operator_of
from convmat.network.ops.base import OWN
from convmat.network.ops.gradients.convolution import grad_plan
from convmat.network.ops.planned import Multiplied, Swept
from convmat.network.preparing.programs import Programs, Setting

from .differences import check, node, normal, run

Array = npt.NDArray[Any]


CONVOLUTIONS: dict[str, tuple[Node, list[tuple[int, ...]]]] = {
    "plain": (node("Conv", "x w b"), [(2, 3, 6, 5), (4, 3, 3, 3), (4,)]),
    "strided": (node("Conv", "x w", strides=[2, 2], pads=[1, 0, 1, 1]), [(2, 2, 7, 6), (3, 2, 3, 2)]),
    "grouped": (node("Conv", "x w", group=2, dilations=[2], pads=[2, 1]), [(2, 4, 9), (6, 2, 3)]),
    "same": (node("Conv", "x w", auto_pad="SAME_UPPER", strides=[2, 2]), [(1, 2, 5, 6), (2, 2, 3, 3)]),
    "transposed": (
        node("ConvTranspose", "x w b", strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 0]),
        [(2, 3, 4, 4), (3, 2, 3, 3), (2,)],
    ),
    "transposed groups": (node("ConvTranspose", "x w", group=2, strides=[3]), [(1, 4, 5), (4, 3, 3)]),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name: str) -> None:
    made, shapes = CONVOLUTIONS[name]
    check(made, [normal(*shape) for shape in shapes])


def test_filters_of_a_transposed_convolution_sum_along_pixels() -> None:
    """As those of the convolution from y back to x do: one product, whatever the stride."""
    made = node("ConvTranspose", "x w", strides=[2, 2], output_padding=[1, 1], pads=[1, 1, 0, 0])
    x, w = Spec((2, 6, 8, 9), np.dtype(np.float32)), Spec((6, 5, 3, 3), np.dtype(np.float32))
    dy = Spec((2, 5, 17, 19), np.dtype(np.float32))
    shape = Spec((4,), np.dtype(np.int64), np.array(w.shape))
    grad = Node(
        "ConvWeightGrad", ("x", "dy", "s"), ("dw",), {**made.attributes, "transposed": 1}, "g", 0, OWN
    )
    products = grad_plan(grad, [x, dy, shape], Options()).problem.geometry
    assert (products.m, products.k) == (6, 2 * 8 * 9)


@pytest.mark.parametrize("left", [0, 1])
@pytest.mark.parametrize("right", [0, 1])
def test_gemm(left: int, right: int) -> None:
    shapes = [(3, 4)[:: -1 if left else 1], (4, 5)[:: -1 if right else 1], (1, 5)]
    words: dict[str, Any] = {"transA": left, "transB": right, "alpha": 0.5, "beta": 2.0}
    check(node("Gemm", "a b c", **words), [normal(*shape) for shape in shapes])


ONE: dict[str, dict[str, Any]] = {
    "Relu": {}, "LeakyRelu": {"alpha": 0.1}, "Elu": {"alpha": 0.7}, "Celu": {"alpha": 0.8}, "Selu": {}, "Sigmoid": {},
    "Tanh": {}, "Tan": {}, "Exp": {}, "HardSigmoid": {}, "Neg": {}, "Abs": {}, "Erf": {}, "Atan": {}, "Gelu": {},
    "Swish": {"alpha": 1.3}, "Mish": {}, "Softplus": {}, "Softsign": {}, "HardSwish": {},
    "ThresholdedRelu": {"alpha": 0.4}, "Sin": {}, "Cos": {}, "Identity": {}, "Softmax": {"axis": 1}, "LogSoftmax": {},
    "Reciprocal": {}, "Transpose": {}, "Sinh": {}, "Cosh": {}, "Asin": {}, "Acos": {}, "Asinh": {}, "Atanh": {},
    "Shrink": {"lambd": 0.15, "bias": 0.1}, "Cast": {"to": 11}, "Dropout": {},
}  # fmt: skip


@pytest.mark.parametrize("op", ONE)
def test_functions_of_one(op: str) -> None:
    check(node(op, "x", **ONE[op]), [np.clip(0.2 * normal(3, 7, 2), -0.8, 0.8)])


def test_more_functions_of_one() -> None:
    check(node("Gelu", "x", approximate="tanh"), [normal(3, 7)])
    check(node("Acosh", "x"), [np.abs(normal(3, 7)) + 1.5])
    check(node("CastLike", "x like"), [normal(3, 7)], {"like": np.array(0.0)})
    check(node("Log", "x"), [np.abs(normal(3, 7)) + 0.5])
    check(node("Sqrt", "x"), [np.abs(normal(3, 7)) + 0.5])
    check(node("Clip", "x lo hi"), [normal(3, 7)], {"lo": np.array(-0.5), "hi": np.array(0.6)})
    check(node("Softmax", "x", version=11, axis=1), [normal(2, 3, 4)])
    for p in (2.0, 3.0):
        check(node("Pow", "x p"), [normal(3, 4)], {"p": np.array(p)})


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean"])
def test_functions_of_two_that_broadcast(op: str) -> None:
    check(node(op, "a b"), [normal(2, 3, 4), normal(3, 1)])
    if op not in ("Max", "Min"):
        check(node(op, "a a"), [normal(2, 3)])


def test_prelu_where_and_expand() -> None:
    check(node("PRelu", "x s"), [normal(2, 3, 4), normal(3, 1)])
    check(node("Where", "c a b"), [normal(2, 3), normal(3)], {"c": normal(2, 3, seed=5) > 0})
    check(node("Expand", "x s"), [normal(3, 1)], {"s": np.array([2, 3, 4])})


@pytest.mark.parametrize(
    ("op", "axes"),
    [
        (op, axes)
        for op in (
            "ReduceSum",
            "ReduceMean",
            "ReduceMax",
            "ReduceMin",
            "ReduceL1",
            "ReduceL2",
            "ReduceSumSquare",
        )
        for axes in ([1], [0, 2])
    ],
)
def test_reductions(op: str, axes: list[int]) -> None:
    check(node(op, "x a", keepdims=0), [normal(2, 3, 4)], {"a": np.array(axes)})
    if op not in ("ReduceSum",):
        check(node(op, "x", version=11, axes=axes), [normal(2, 3, 4)])


def test_sums_of_exponentials() -> None:
    check(node("ReduceLogSumExp", "x a"), [normal(2, 3)], {"a": np.array([1])})
    check(node("ReduceLogSum", "x a"), [np.abs(normal(2, 3)) + 0.1], {"a": np.array([1])})


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
def test_pools(op: str) -> None:
    check(node(op, "x", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 0]), [normal(2, 2, 7, 6)])
    check(node(op, "x", kernel_shape=[2, 2], strides=[2, 2]), [normal(2, 3, 6, 8)])


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool"])
def test_pools_of_everything(op: str) -> None:
    check(node(op, "x"), [normal(2, 3, 4, 5)])


MOVED: dict[str, tuple[Node, list[tuple[int, ...]], dict[str, Any]]] = {
    "reshape": (node("Reshape", "x s"), [(2, 3, 4)], {"s": [4, 6]}),
    "flatten": (node("Flatten", "x", axis=2), [(2, 3, 4)], {}),
    "squeeze": (node("Squeeze", "x a"), [(2, 1, 4)], {"a": [1]}),
    "unsqueeze": (node("Unsqueeze", "x a"), [(2, 4)], {"a": [0, -1]}),
    "transpose": (node("Transpose", "x", perm=[1, 2, 0]), [(2, 3, 4)], {}),
    "concat": (node("Concat", "a b", axis=-1), [(2, 3), (2, 2)], {}),
    "split": (node("Split", "x s", "y z", axis=1), [(2, 5)], {"s": [2, 3]}),
    "slice": (
        node("Slice", "x lo hi a by"), [(4, 7)], {"lo": [6, 1], "hi": [0, 3], "a": [1, 0], "by": [-2, 1]}
    ),
    "pad": (node("Pad", "x p"), [(3, 4)], {"p": [1, -1, 0, 2]}),
    "pad edge": (node("Pad", "x p", mode="edge"), [(3, 4)], {"p": [1, 2, 0, 2]}),
    "pad reflect": (node("Pad", "x p", mode="reflect"), [(3, 4)], {"p": [1, 2, 2, 3]}),
    "gather": (node("Gather", "x i", axis=1), [(3, 4)], {"i": [[0, -1], [2, 0]]}),
    "tile": (node("Tile", "x t"), [(3, 2)], {"t": [2, 3]}),
    "depth to space": (node("DepthToSpace", "x", blocksize=2, mode="CRD"), [(1, 8, 2, 3)], {}),
    "space to depth": (node("SpaceToDepth", "x", blocksize=2), [(1, 2, 4, 6)], {}),
}  # fmt: skip


@pytest.mark.parametrize("name", MOVED)
def test_what_moves_elements(name: str) -> None:
    made, shapes, constants = MOVED[name]
    check(made, [normal(*shape) for shape in shapes], {k: np.array(v) for k, v in constants.items()})


@pytest.mark.parametrize(
    ("mode", "how", "scales"),
    [
        ("nearest", "asymmetric", [1, 1, 2, 3]),
        ("nearest", "half_pixel", [1, 1, 1.5, 0.7]),
        ("linear", "half_pixel", [1, 1, 2, 1.5]),
        ("linear", "align_corners", [1, 1, 2, 0.6]),
    ],
)
def test_resize(mode: str, how: str, scales: list[float]) -> None:
    made = node("Resize", "x r s", mode=mode, coordinate_transformation_mode=how)
    made = replace(made, inputs=("x", "", "s"))
    check(made, [normal(1, 2, 4, 5)], {"s": np.array(scales, np.float32)})


NORMS = {
    "instance": (node("InstanceNormalization", "x s b"), [(2, 3, 4, 2), (3,), (3,)]),
    "group": (node("GroupNormalization", "x s b", version=21, num_groups=2), [(2, 4, 5), (4,), (4,)]),
    "old group": (node("GroupNormalization", "x s b", num_groups=2), [(2, 4, 5), (2,), (2,)]),
    "layer": (node("LayerNormalization", "x s b", axis=1), [(3, 4, 2), (4, 2), (2,)]),
    "layer last": (node("LayerNormalization", "x s"), [(3, 2, 5), (5,)]),
}


@pytest.mark.parametrize("name", NORMS)
def test_norms(name: str) -> None:
    made, shapes = NORMS[name]
    check(made, [normal(*shape) for shape in shapes])


def test_upsample() -> None:
    scales = {"s": np.array([1, 1, 2, 3], np.float32)}
    check(node("Upsample", "x s", version=9, mode="nearest"), [normal(1, 2, 2, 3)], scales)


def test_batch_normalization() -> None:
    x, scale, bias, mean = (normal(*shape) for shape in ((4, 3, 2, 2), (3,), (3,), (3,)))
    given = {"m": mean, "v": np.abs(mean) + 0.5}
    check(node("BatchNormalization", "x s b m v"), [x, scale, bias], given)
    outputs = ("y", "mean", "by", "spread", "add")
    for words in ({}, {"limits": (-0.5, 0.75)}):
        check(Node("BatchNorm", ("x", "s", "b"), outputs, words, "bn", 0, OWN), [x, scale, bias], seen=("y",))


@pytest.mark.parametrize(
    "shapes",
    [
        [(3, 4), (4, 2)],
        [(2, 3, 4), (4, 2)],
        [(2, 1, 3, 4), (5, 4, 2)],
        [(4,), (4, 2)],
        [(2, 3, 4), (4,)],
        [(4,), (4,)],
    ],
    ids=str,
)
def test_matmul(shapes: list[tuple[int, ...]]) -> None:
    check(node("MatMul", "a b"), [normal(*shape) for shape in shapes])


@pytest.mark.parametrize(
    "shapes",
    [[(32, 24), (24, 40)], [(3, 16, 24), (24, 40)], [(16, 24), (3, 24, 40)], [(2, 3, 16, 24), (3, 24, 40)]],
    ids=str,
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_matmul_by_kernels(shapes: list[tuple[int, ...]], dtype: str) -> None:
    a, b = (normal(*shape, seed=i).astype(dtype) for i, shape in enumerate(shapes))
    dy = normal(*(a @ b).shape, seed=7).astype(dtype)
    inputs = tuple(Input(name, each.dtype, each.shape) for name, each in (("a", a), ("b", b), ("dy", dy)))
    graph = Graph((node("MatMul", "a b"),), inputs, ("y",), {})
    whole, gradients = differentiate(graph, {"y": "dy"}, ["a", "b"])
    programs = Programs(whole, Setting(Options(exact=True, swept=True)))
    given = {"a": a, "b": b, "dy": dy}
    program = programs.program({name: Spec(each.shape, each.dtype) for name, each in given.items()})
    if host().fma:
        assert sum(isinstance(task.run, Multiplied) for task in program.tasks) == 3
    found = program(given)
    wide = {name: each.astype(np.float64) for name, each in given.items()}
    da, db = wide["dy"] @ wide["b"].swapaxes(-1, -2), wide["a"].swapaxes(-1, -2) @ wide["dy"]
    for name, wanted in (("a", da), ("b", db)):
        wanted = wanted.sum(tuple(range(wanted.ndim - given[name].ndim)))
        close = np.linalg.norm(found[gradients[name]] - wanted) / np.linalg.norm(wanted)
        assert close < (1e-6 if dtype == "float32" else 1e-14)


def test_every_rule_stands_beside_finite_differences() -> None:
    here = Path(__file__).parent
    text = "".join(path.read_text(encoding="utf-8") for path in here.glob("test_gradients*.py"))
    drawn = {"convmat.DropoutDrawn"}  # anew at each call: by whole networks, beside PyTorch
    assert not [name for name in set(RULES) - drawn if f'"{name.split(".")[-1]}"' not in text]


def test_what_cannot_be_differentiated_is_listed() -> None:
    nodes = (node("Det", "x", "a"), node("Det", "x", "b"), node("Add", "a b", "y"))
    graph = Graph(nodes, (Input("x", np.dtype(np.float64), (2, 2)),), ("y",), {})
    with pytest.raises(NetworkError) as error:
        differentiate(graph, ["y"], ["x"])
    assert str(error.value) == (
        "train: the network cannot be differentiated\n  no rule for Det (2); the first is Det 'Det'\n"
        "  freeze what stands before it (frozen=...), or train a part of the network that has none of these"
    )


def test_a_kept_input_is_written_in_place() -> None:
    x = Input("x", np.dtype(np.float64), (3,))
    total = Input("total", np.dtype(np.float64), (3,))
    graph = Graph((node("Add", "total x", "next"),), (x, total), ("next",), {}, kept={"total": "next"})
    held = {"total": np.zeros(3)}
    programs = Programs(graph, Setting(Options(), held=held))
    for _ in range(3):
        assert (
            programs.program({"x": Spec((3,), np.dtype(np.float64))})({"x": np.array([1.0, 2.0, 3.0])}) == {}
        )
    assert held["total"].tolist() == [3.0, 6.0, 9.0]


WINDOWS = {
    "3x3 by 2, as in ResNet": ((3, 3), (2, 2), (1, 1), (1, 1), (32, 32)),
    "3x3 by 2, odd, nothing after": ((3, 3), (2, 2), (1, 0), (0, 1), (33, 19)),
    "2x5 by 1": ((2, 5), (1, 1), (0, 2), (1, 2), (17, 40)),
    "3x2 by 4x3, elements in no window": ((3, 2), (4, 3), (0, 0), (0, 0), (30, 50)),
    "2x2 by 2, one left over": ((2, 2), (2, 2), (0, 0), (0, 0), (31, 33)),
}


@pytest.mark.parametrize(
    ("name", "dtype"), [*((name, "float32") for name in WINDOWS), (next(iter(WINDOWS)), "float64")]
)
def test_maxima_of_windows_that_overlap_by_kernel(name: str, dtype: str) -> None:
    taps, strides, lo, hi, extents = WINDOWS[name]
    words = {"kernel_shape": taps, "strides": strides, "pads": (*lo, *hi)}
    rng = np.random.default_rng(0)
    x = rng.integers(-3, 4, (4, 3, *extents)).astype(dtype)  # with many equal ones
    pool = Graph(
        (Node("MaxPool", ("x",), ("y",), words, "", 12),), (Input("x", x.dtype, x.shape),), ("y",), {}
    )
    y = run(pool, {"x": x})["y"]
    dy = rng.integers(-9, 10, y.shape).astype(dtype)
    node = Node("MaxPoolGrad", ("dy", "x", "y"), ("dx",), words, "", 18, OWN)
    specs = [Spec(each.shape, each.dtype) for each in (dy, x, y)]
    prepare = operator_of(node).prepare
    assert prepare is not None
    step = prepare(node, specs, (specs[1],), Options())
    assert isinstance(step, Swept)
    found = np.full_like(x, np.nan)
    step(dy, x, y, found)
    expected = np.zeros_like(x)
    for place in np.ndindex(y.shape):
        b, c, *p = place
        window = [
            (b, c, i, j)
            for i in range(p[0] * strides[0] - lo[0], p[0] * strides[0] - lo[0] + taps[0])
            for j in range(p[1] * strides[1] - lo[1], p[1] * strides[1] - lo[1] + taps[1])
            if 0 <= i < extents[0] and 0 <= j < extents[1]
        ]
        expected[next(at for at in window if x[at] == y[place])] += dy[place]
    assert np.array_equal(found, expected)

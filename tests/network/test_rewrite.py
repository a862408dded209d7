"""Each rule alone: which nodes are left, and the answer of the graph as it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import pytest

import convmat
from convmat.network.graph import Spec
from convmat.network.ops import operator_of
from convmat.network.rewriting.rewrite import RULES
from tests.network.made import Array, model, node, normal

X = normal(2, 4, 6, 5)
CONV = node("Conv", "x w b", "a", pads=[1, 1, 1, 1])
BARE = node("Conv", "x w", "a", group=2)
TURNED = node("ConvTranspose", "x v", "a", group=2, strides=[2, 2])
SCORES = (
    node("Concat", "x x x x", "long", axis=3),
    node("Transpose", "long", "turned", perm=[0, 1, 3, 2]),
)
CONSTANTS = {
    "w": normal(4, 4, 3, 3, seed=1),
    "b": normal(4, seed=2),
    "v": normal(4, 3, 2, 2, seed=3),
    "half": normal(4, 2, 1, 1, seed=4),
    "each": normal(1, 4, 1, 1, seed=5),
    "six": normal(6, 1, 1, seed=6),
    "row": normal(5, seed=7),
    "two": np.float32(2),
    "three": np.float32(3),
    "sixth": np.float32(1 / 6),
    "near": np.nextafter(np.float32(1 / 6), np.float32(1)),
    "coarse": np.float32(0.1667),
    "axes": np.full((1,) * 5, 6, np.float32),
    "one": np.float32(1),
    "point": np.float32(0.5),
    "root": np.float32(2**0.5),
    "inverse": np.float32(0.5**0.5),
    "zero": np.float32(0),
    "most": np.float32(6),
    "dense": normal(7, 120, seed=11),
    "step": np.float32(0.03125),
    "middle": np.uint8(128),
    "wide": normal(5, 7, seed=12),
    "square": normal(5, 5, seed=13),
    "line": normal(7, seed=14),
    "lines": normal(1, 1, 1, 7, seed=15),
    "grid": normal(6, 7, seed=16),
    "gamma": normal(4, seed=8),
    "mean": normal(4, seed=9),
    "variance": np.abs(normal(4, seed=10)) + 0.5,
    "around": np.array([0, 0, 1, 0, 0, 0, 2, 1]),
    "first": np.array(0),
    "second": np.array(1),
    "third": np.array([2]),
    "fourth": np.array([3]),
    "fifth": np.array([4]),
    "along": np.array([1]),
    "grid.T": normal(5, 7, seed=17),
    "six_by": normal(6, 3, seed=18),
    "channels": np.array([0, 1, 0, 0, 0, 0, 0, 0]),
}
NORM = node("BatchNormalization", "a gamma b mean variance", "y", epsilon=1e-3)


@dataclass(frozen=True)
class Case:
    """Nodes, the one rule that is tried, and the operators that are left."""

    rule: str
    nodes: tuple[Any, ...]
    left: str
    outputs: str = "y"

    def __str__(self) -> str:
        return f"{self.rule}-{'-'.join(n.op_type for n in self.nodes)}-{self.left.replace(' ', '')}"


def spelt_gelu(scaled: str, added: str, first: str, second: str) -> tuple[Any, ...]:
    """x * 0.5 * (1 + erf(x / sqrt(2))) of nodes with these inputs: e is the Add, f the first product."""
    op, *inputs = scaled.split()
    return (
        node(op, " ".join(inputs), "c"), node("Erf", "c", "d"), node("Add", added, "e"), node("Mul", first, "f"),
        node("Mul", second, "y"),
    )  # fmt: skip


ROUNDED = (node("QuantizeLinear", "x step middle", "c"), node("DequantizeLinear", "c step middle", "d"))
WIDE = node("MatMul", "x wide", "a")
HALF = node("Conv", "x half", "a", group=2)
CASES = [
    Case("fold_scale", (CONV, NORM), "Conv"),
    Case("fold_scale", (HALF, NORM), "Conv"),
    Case("fold_scale", (TURNED, node("Mul", "a six", "y")), "ConvTranspose"),
    Case("fold_scale", (CONV, node("Mul", "each a", "y")), "Conv"),
    Case("fold_scale", (CONV, node("Div", "a two", "y")), "Conv"),
    Case("fold_scale", (CONV, node("Sub", "a each", "y")), "Conv"),
    Case("fold_scale", (CONV, node("Add", "two a", "y")), "Conv"),
    Case("fold_scale", (CONV, node("Mul", "a each", "c"), node("Add", "c each", "d"), node("Div", "d two", "y")),
         "Conv"),
    Case("fold_scale", (TURNED, node("Mul", "a six", "c"), node("Div", "c two", "y")), "ConvTranspose"),
    Case("fold_scale", (CONV, node("Sub", "two a", "y")), "Conv Sub"),
    Case("fold_scale", (CONV, node("Mul", "a row", "y")), "Conv Mul"),
    Case("fold_scale", (CONV, node("Mul", "a two", "y")), "Conv Mul", outputs="y a"),
    Case("fold_scale", (CONV, node("Mul", "a two", "c"), node("Add", "a c", "y")), "Conv Mul Add"),
    Case("fold_columns", (WIDE, node("Mul", "a line", "y")), "MatMul"),
    Case("fold_columns", (WIDE, node("Mul", "two a", "c"), node("Sub", "c lines", "d"), node("Div", "d line", "y")),
         "MatMul"),
    Case("fold_columns", (WIDE, node("Add", "a two", "y")), "MatMul"),
    Case("fold_columns", (WIDE, node("Sub", "line a", "y")), "MatMul Sub"),
    Case("fold_columns", (WIDE, node("Mul", "a grid", "y")), "MatMul Mul"),
    Case("fold_columns", (WIDE, node("Mul", "a axes", "y")), "MatMul Mul"),
    Case("fold_columns", (WIDE, node("Mul", "a two", "y")), "MatMul Mul", outputs="y a"),
    Case("fold_columns", (WIDE, node("Mul", "a two", "c"), node("MatMul", "x wide", "d"), node("Add", "c d", "y")),
         "MatMul Mul MatMul Add"),
    Case("scale_before", (node("Mul", "x each", "c"), node("Conv", "c w b", "y", pads=[1, 0, 0, 1])), "Conv"),
    Case("scale_before", (node("Div", "x two", "c"), node("Conv", "c half", "y", group=2)), "Conv"),
    Case("scale_before", (node("Mul", "x row", "c"), node("Conv", "c w b", "y")), "Mul Conv"),
    Case("shift_before", (node("Add", "each x", "c"), node("Conv", "c w b", "y", strides=[2, 1])), "Conv"),
    Case("shift_before", (node("Sub", "x two", "c"), node("Conv", "c half", "y", group=2)), "Conv"),
    Case("shift_before", (node("Sub", "two x", "c"), node("Conv", "c w", "y")), "Sub Conv"),
    Case("shift_before", (node("Add", "x each", "c"), node("Conv", "c w b", "y", pads=[0, 0, 0, 1])), "Add Conv"),
    Case("shift_before", (node("Add", "x each", "c"), node("Conv", "c w", "y", auto_pad="SAME_UPPER")), "Add Conv"),
    Case("join", (node("Mul", "x each", "c"), node("Add", "c row", "d"), node("Relu", "d", "y")), "Elementwise"),
    Case("join", (node("Sigmoid", "x", "c"), node("Mul", "x c", "d"), node("Max", "d two x", "y")), "Elementwise"),
    Case("join", (node("Sub", "two x", "c"), node("Exp", "x", "d"), node("Div", "c d", "y")), "Elementwise"),
    Case("join", (node("Clip", "x - most", "c"), node("HardSigmoid", "c", "y", alpha=0.0)), "Elementwise"),
    Case("join", (node("Abs", "x", "c"), node("Sqrt", "c", "d"), node("Pow", "d two", "y")), "Elementwise"),
    Case("join", (node("Abs", "x", "c"), node("Neg", "c", "y")), "Abs Neg", outputs="y c"),
    Case("layer_norm", (node("ReduceMean", "x", "zm", axes=[3]), node("Sub", "x zm", "zd"), node("Pow", "zd two", "ze"),
                        node("ReduceMean", "ze", "zv", axes=[-1]), node("Add", "zv point", "zu"),
                        node("Sqrt", "zu", "zr"),
                        node("Div", "zd zr", "zq"), node("Mul", "zq row", "zp"), node("Add", "zp row", "y")),
         "LayerNormalization"),
    Case("layer_norm", (node("ReduceMean", "x", "zm", axes=[3]), node("Sub", "x zm", "zd"), node("Mul", "zd zd", "ze"),
                        node("ReduceMean", "ze", "zv", axes=[2]), node("Add", "zv point", "zu"),
                        node("Sqrt", "zu", "zr"),
                        node("Div", "zd zr", "zq"), node("Mul", "zq row", "zp"), node("Add", "zp row", "y")),
         "ReduceMean Sub Mul ReduceMean Add Sqrt Div Mul Add"),
    Case("batch_as_pass", (node("BatchNormalization", "x gamma b mean variance", "y"),), "Elementwise"),
    Case("join", (node("Exp", "x", "c"), node("Erf", "c", "d"), node("Mul", "d x", "y")), "Elementwise"),
    Case("join", (*ROUNDED, node("Softmax", "d", "y")), "Elementwise Softmax"),
    Case("join", (*ROUNDED, node("Tanh", "d", "e"), node("QuantizeLinear", "e step middle", "y")),
         "QuantizeLinear Elementwise"),
    Case("join", (node("Exp", "x", "c"), node("PRelu", "c row", "d"), node("Neg", "d", "y")), "Elementwise"),
    Case("join", (node("Softmax", "x", "c"),
                  node("PRelu", "c each", "d"), node("Neg", "d", "y")), "Softmax Elementwise"),
    Case("join", (node("Exp", "x", "c"), node("Cos", "c", "d"), node("Mul", "d x", "y")), "Elementwise"),
    Case("join", (node("ReduceMax", "x", "c", axes=[2, 3]), node("Neg", "c", "d"), node("Mul", "d x", "y")),
         "ReduceMax Neg Mul"),
    Case("join", (node("Relu", "x", "c"), node("Pow", "c three", "d"), node("Add", "d x", "y")), "Elementwise"),
    Case("pad_into_conv", (node("Pad", "x around", "c"), node("Conv", "c w", "y", pads=[1, 1, 0, 0])), "Conv"),
    Case("pad_into_conv", (node("Pad", "x around zero", "c"), node("Conv", "c w", "y", strides=[2, 1])), "Conv"),
    Case("pad_into_conv", (node("Pad", "x around two", "c"), node("Conv", "c w", "y")), "Pad Conv"),
    Case("pad_into_conv", (node("Pad", "x around", "c", mode="edge"), node("Conv", "c w", "y")), "Pad Conv"),
    Case("swish", (node("Sigmoid", "x", "c"), node("Mul", "x c", "y")), "Swish"),
    Case("swish", (node("HardSigmoid", "x", "c", alpha=1 / 6), node("Mul", "c x", "y")), "HardSwish"),
    Case("swish", (node("HardSigmoid", "x", "c"), node("Mul", "c x", "y")), "HardSigmoid Mul"),
    Case(
        "swish",
        (node("Add", "x three", "c"), node("Clip", "c zero most", "d"), node("Div", "d most", "y")),
        "HardSigmoid",
    ),
    Case(
        "swish",
        (node("Add", "x three", "c"), node("Clip", "c zero most", "d"), node("Mul", "d sixth", "y")),
        "HardSigmoid",
    ),
    Case("swish", (node("HardSigmoid", "x", "c", alpha=0.1667), node("Mul", "c x", "y")), "HardSigmoid Mul"),
    *(
        Case(
            "swish",
            (node("Add", "x three", "c"), node("Clip", "c zero most", "d"), node(op, f"d {other}", "y")),
            left,
        )
        for op, other, left in (
            ("Mul", "near", "HardSigmoid"),
            ("Mul", "coarse", "Add Clip Mul"),
            ("Div", "axes", "Add Clip Div"),
        )
    ),
    Case("swish", (node("Sigmoid", "x", "c"), node("Mul", "x c", "y")), "Sigmoid Mul", outputs="y c"),
    Case(
        "swish",
        (
            node("Add", "x three", "c"),
            node("Clip", "c zero most", "d"),
            node("Mul", "d x", "e"),
            node("Div", "e most", "y"),
        ),
        "HardSwish",
    ),
    *(
        Case("gelu", spelt_gelu(scaled, added, first, second), left)
        for scaled, added, first, second, left in (
            ("Div x root", "d one", "x point", "f e", "Gelu"),
            ("Mul x inverse", "one d", "point x", "e f", "Gelu"),
            ("Mul inverse x", "d one", "x e", "f point", "Gelu"),
            ("Div x root", "d one", "e x", "point f", "Gelu"),
            ("Div x root", "d one", "e point", "x f", "Gelu"),
            ("Div x root", "one d", "point e", "f x", "Gelu"),
            ("Div x two", "d one", "x point", "f e", "Div Erf Add Mul Mul"),
            ("Div root x", "d one", "x point", "f e", "Div Erf Add Mul Mul"),
            ("Div x root", "d two", "x point", "f e", "Div Erf Add Mul Mul"),
            ("Div x root", "d one", "x two", "f e", "Div Erf Add Mul Mul"),
            ("Div x root", "d one", "e e", "f point", "Div Erf Add Mul Mul"),
        )
    ),
    Case("gelu", spelt_gelu("Div x root", "d one", "x point", "f e"), "Div Erf Add Mul Mul", outputs="y d"),
    Case("add_into_epilogue", (CONV, node("Relu", "x", "c"), node("Add", "c a", "y")), "Relu Conv"),
    Case("add_into_epilogue", (CONV, node("Add", "a a", "y")), "Conv Add"),
    Case("add_into_epilogue", (CONV, node("Add", "a row", "y")), "Conv Add"),
    Case("add_into_epilogue", (CONV, node("Add", "a x", "y")), "Conv"),
    Case("add_bias", (WIDE, node("Add", "a line", "y")), "MatMul"),
    Case("add_bias", (WIDE, node("Add", "lines a", "y")), "MatMul"),
    Case("add_bias", (WIDE, node("Add", "a grid", "y")), "MatMul Add"),
    Case("add_bias", (WIDE, node("Add", "a two", "y")), "MatMul Add"),
    Case("add_bias", (WIDE, node("Add", "a line", "y")), "MatMul Add", outputs="y a"),
    Case("add_bias", (WIDE, node("Add", "a line", "c"), node("Add", "c line", "y")), "MatMul Add"),
    Case("add_into_epilogue", (node("MatMul", "x square", "a"), node("Add", "x a", "y")), "MatMul"),
    Case("add_into_epilogue", (node("MatMul", "x square", "a"), node("Add", "a row", "y")), "MatMul Add"),
    Case(
        "add_into_epilogue",
        (
            node("Flatten", "x", "c"),
            node("Gemm", "c dense line", "d", transB=1),
            node("Gemm", "c dense", "e", transB=1),
            node("Relu", "e", "f"),
            node("Add", "d f", "y"),
        ),
        "Flatten Gemm Relu Gemm",
    ),
    Case("activate", (WIDE, node("Tanh", "a", "y")), "MatMul"),
    Case("activate", (CONV, node("Relu", "a", "y")), "Conv"),
    Case("activate", (CONV, node("LeakyRelu", "a", "y", alpha=0.3)), "Conv"),
    Case("activate", (CONV, node("Clip", "a zero most", "y")), "Conv"),
    Case("activate", (CONV, node("Clip", "a zero", "y")), "Conv"),
    Case("activate", (CONV, node("Clip", "a most zero", "y")), "Conv Clip"),
    Case("activate", (CONV, node("HardSwish", "a", "y")), "Conv"),
    Case("activate", (TURNED, node("Tanh", "a", "y")), "ConvTranspose"),
    Case("activate", (CONV, node("Relu", "a", "c"), node("Tanh", "c", "y")), "Conv Tanh"),
    Case(
        "activate",
        (
            node("Flatten", "x", "c"),
            node("Gemm", "c dense three", "d", transB=1, alpha=0.5, beta=2.0),
            node("Relu", "d", "y"),
        ),
        "Flatten Gemm",
    ),
    Case("activate", (CONV, node("Relu", "a", "y")), "Conv Relu", outputs="y a"),
    Case(
        "cancel_transposes",
        (
            node("Transpose", "x", "c", perm=[0, 2, 3, 1]),
            node("Transpose", "c", "d", perm=[0, 3, 1, 2]),
            node("Neg", "d", "y"),
        ),
        "Neg",
    ),
    Case(
        "cancel_transposes",
        (node("Transpose", "x", "c", perm=[0, 2, 3, 1]), node("Transpose", "c", "y", perm=[0, 2, 1, 3])),
        "Transpose",
    ),
    Case(
        "cancel_transposes",
        (node("ReduceMean", "x", "c", axes=[2, 3]), node("Transpose", "c", "y", perm=[0, 2, 3, 1])),
        "ReduceMean Reshape",
    ),
    Case(
        "choose_first",
        (node("Transpose", "x", "c", perm=[2, 0, 3, 1]), node("Gather", "c first", "y", axis=-2)),
        "Gather Transpose",
    ),
    Case(  # two of five: less is moved
        "choose_first",
        (
            node("Transpose", "x", "c", perm=[2, 0, 3, 1]),
            node("Gather", "c first", "d", axis=2),
            node("Gather", "c second", "e", axis=2),
            node("Add", "d e", "y"),
        ),
        "Gather Transpose Gather Transpose Add",
    ),
    Case(
        "choose_first",
        (
            node("Transpose", "x", "c", perm=[2, 0, 3, 1]),
            node("Gather", "c first", "d", axis=2),
            node("Neg", "c", "e"),
        ),
        "Transpose Gather Neg",
        outputs="d e",
    ),
    Case(
        "turn_in_product",
        (*SCORES, node("MatMul", "turned long", "y")),
        "Concat Einsum",
    ),
    Case(
        "turn_in_product",
        (
            node("Concat", "x x x x", "long", axis=3),
            node("Transpose", "long", "turned", perm=[1, 0, 3, 2]),
            node("Transpose", "long", "other", perm=[1, 0, 2, 3]),
            node("MatMul", "turned other", "c"),
            node("Transpose", "c", "y", perm=[1, 2, 0, 3]),
        ),
        "Concat Einsum",
    ),
    Case(
        "turn_in_product",
        (*SCORES, node("MatMul", "turned long", "y")),
        "Concat Transpose MatMul",
        outputs="y turned",
    ),
    Case(  # too small for a kernel
        "turn_in_product",
        (node("Transpose", "x", "turned", perm=[0, 1, 3, 2]), node("MatMul", "turned x", "y")),
        "Transpose MatMul",
    ),
    Case(
        "multiply_once",
        (
            node("Gather", "x first", "a", axis=1),
            node("Gather", "x second", "b0", axis=1),
            node("MatMul", "a wide", "c"),
            node("MatMul", "b0 wide", "d"),
            node("Add", "c d", "y"),
        ),
        "MatMul Gather Gather Add",
    ),
    Case(
        "multiply_once",
        (
            node("Gather", "x first", "a0", axis=0),
            node("Gather", "x second", "a1", axis=0),
            node("Gather", "a0 first", "c0", axis=0),
            node("Gather", "a0 second", "c1", axis=0),
            node("Gather", "a1 first", "c2", axis=0),
            node("Gather", "a1 second", "c3", axis=0),
            *(node("Gemm", f"c{i} wide line", f"d{i}") for i in range(4)),
            node("Sum", "d0 d1 d2 d3", "y"),
        ),
        "MatMul Gather Gather Gather Gather Gather Gather Gather Gather Sum",
    ),
    Case(
        "multiply_once",
        (
            node("Slice", "x third fourth along", "a"),
            node("Slice", "x fourth fifth along", "b0"),
            node("Squeeze", "a along", "c"),
            node("Squeeze", "b0 along", "d"),
            node("MatMul", "c wide", "e"),
            node("MatMul", "d wide", "f"),
            node("Add", "e f", "y"),
        ),
        "MatMul Slice Squeeze Slice Squeeze Add",
    ),
    Case(
        "reduce_unstacked",
        (
            node("Neg", "x", "c"),
            node("Exp", "x", "d"),
            *(node("Unsqueeze", f"{name} along", f"{name}1") for name in ("x", "c", "d")),
            node("Concat", "x1 c1 d1", "e", axis=1),
            node("ReduceMax", "e", "y", axes=[1], keepdims=0),
        ),
        "Neg Exp Max",
    ),
    Case("skip", (node("Identity", "x", "c"), node("Dropout", "c", "d"), node("Neg", "d", "y")), "Neg"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_rule_and_its_answer(case: Case) -> None:
    source = model(case.nodes, {"x": ("n", 4, "h", "w")}, case.outputs, CONSTANTS)
    net = convmat.load(source, rewrite=[case.rule], exact=True)
    plain = convmat.load(source, rewrite=False, exact=True)(X)
    found = net(X)
    left = [each.op for each in net.program({"x": Spec(X.shape, X.dtype)}).graph.nodes]
    assert left == case.left.split()
    for a, b in zip(arrays(found), arrays(plain), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)


def arrays(found: Any) -> list[Array]:
    return list(found.values()) if isinstance(found, dict) else [found]


def test_every_rule_is_tried() -> None:
    elsewhere = {
        "rows_first",
        "quantise_constants",
        "quantised",
        "in_float",
        "mean_of_bytes",
        "steps_in_bytes",
        "requantise_in_product",
        "add_in_product",
        "scale_as_pass",
    }  # of 8-bit numbers and of ai.onnx.ml, in their own files
    assert {case.rule for case in CASES} | elsewhere == set(RULES)


def test_stacks_that_others_read_or_that_more_is_reduced_of_stay() -> None:
    for op in ("ReduceMax", "ReduceMin", "ReduceSum", "ReduceMean"):
        stacked = [node("Neg", "x", "c"), *(node("Unsqueeze", f"{n} along", f"{n}1") for n in ("x", "c"))]
        for axis, reduced, outputs, keep, gone in (
            (1, [1], "y", 0, True), (1, [1], "y", 1, True), (1, [-4], "y", 1, True), (1, [1], "y e", 0, False),
            (1, [0], "y", 0, False), (1, [1, 2], "y", 0, False), (2, [1], "y", 0, False),
        ):  # fmt: skip
            many = [node("Concat", "x1 c1", "e", axis=axis)]
            axes: dict[str, Any] = {"axes": reduced} if op != "ReduceSum" else {}
            name = "e" if axes else "e axes"
            nodes = [*stacked, *many, node(op, name, "y", keepdims=keep, **axes)]
            constants = {"along": np.array([1]), "axes": np.array(reduced)}
            source = model(nodes, {"x": ("n", 4, "h", "w")}, outputs, constants)
            net = convmat.load(source, rewrite=["reduce_unstacked"])
            left = {each.op for each in net.program({"x": Spec(X.shape, X.dtype)}).graph.nodes}
            assert (op not in left) == gone, (op, axis, reduced, outputs)
            for a, b in zip(arrays(net(X)), arrays(convmat.load(source, rewrite=False)(X)), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-6)


def products_of_slices(*cuts: str, **attributes: Any) -> list[str]:
    """The operators that are left of products of slices of x, added up: "Gather x first" cuts, w what multiplies."""
    nodes = []
    for i, cut in enumerate(cuts):
        op, inputs, w = cut.split(" ", 1)[0], " ".join(cut.split()[1:-1]), cut.split()[-1]
        nodes += [node(op, inputs, f"cut{i}", **attributes), node("MatMul", f"cut{i} {w}", f"product{i}")]
    nodes.append(node("Sum", " ".join(f"product{i}" for i in range(len(cuts))), "y"))
    source = model(nodes, {"x": ("n", 4, "h", "w")}, "y", CONSTANTS)
    net = convmat.load(source, rewrite=["multiply_once"])
    return [each.op for each in net.program({"x": Spec(X.shape, X.dtype)}).graph.nodes]


def test_products_of_few_slices_or_by_other_weights_stay() -> None:
    once = products_of_slices("Gather x first wide", "Gather x second wide", axis=2)
    assert once.count("MatMul") == 2, "two of six rows"
    assert products_of_slices("Gather x first wide", axis=0).count("MatMul") == 1
    apart = products_of_slices("Gather x first wide", "Gather x second grid.T", axis=0)
    assert apart.count("MatMul") == 2, "weights of their own"
    both = products_of_slices(*(f"Gather x {at} wide" for at in ("first", "second")), axis=0)
    assert both.count("MatMul") == 1


def test_products_of_rows_cut_along_their_last_axis_stay() -> None:
    """There a slice is no row but a column of x."""
    shared = products_of_slices("Gather x first six_by", "Gather x second six_by", axis=3)
    assert shared.count("MatMul") == 2


def test_a_block_becomes_its_convolutions() -> None:
    """What a residual block is made of, in the order in which its file has it."""
    nodes = [
        node("Conv", "x w b", "a", pads=[1, 1, 1, 1]),
        node("BatchNormalization", "a gamma b mean variance", "c"),
        node("Relu", "c", "d"),
        node("Conv", "d w", "e", pads=[1, 1, 1, 1]),
        node("BatchNormalization", "e gamma b mean variance", "f"),
        node("Add", "x f", "g"),
        node("Relu", "g", "y"),
    ]
    source = model(nodes, {"x": ("n", 4, "h", "w")}, "y", CONSTANTS)
    net = convmat.load(source, exact=True)
    np.testing.assert_allclose(
        net(X), convmat.load(source, rewrite=False, exact=True)(X), rtol=2e-5, atol=2e-5
    )
    assert [each.op for each in net.program({"x": Spec(X.shape, X.dtype)}).graph.nodes] == ["Conv", "Conv"]


def test_a_gelu_spelt_out_goes_into_the_product_before_it() -> None:
    nodes = (CONV, *spelt_gelu("Div a root", "d one", "a point", "f e"))
    source = model(nodes, {"x": X.shape}, "y", CONSTANTS)
    net = convmat.load(source, exact=True)
    plain = convmat.load(source, rewrite=False, exact=True)(X)
    np.testing.assert_allclose(net(X), plain, rtol=2e-5, atol=2e-5)
    assert [each.op for each in net.program({"x": Spec(X.shape, X.dtype)}).graph.nodes] == ["Conv"]


@pytest.mark.parametrize("form", ["none", "tanh"])
def test_a_gelu_goes_into_the_product_before_it(form: str) -> None:
    source = model((CONV, node("Gelu", "a", "y", approximate=form)), {"x": X.shape}, "y", CONSTANTS, opset=20)
    net = convmat.load(source, exact=True)
    plain = convmat.load(source, rewrite=False, exact=True)(X)
    np.testing.assert_allclose(net(X), plain, rtol=2e-5, atol=2e-5)
    assert [each.op for each in net.program({"x": Spec(X.shape, X.dtype)}).graph.nodes] == ["Conv"]


def test_a_dense_layer_is_one_node() -> None:
    """Bias, Gelu and residual as exporters of transformers write them."""
    nodes = (
        node("MatMul", "x wide", "k"), node("Add", "line k", "a"),
        *spelt_gelu("Div a root", "d one", "a point", "f e")[:-1], node("Mul", "f e", "g"),
        node("MatMul", "g back", "h"), node("Add", "h row", "i"), node("Add", "x i", "y"),
    )  # fmt: skip
    source = model(nodes, {"x": X.shape}, "y", CONSTANTS | {"back": normal(7, 5, seed=17)})
    net = convmat.load(source)
    np.testing.assert_allclose(net(X), convmat.load(source, rewrite=False)(X), rtol=2e-5, atol=2e-5)
    ops = [each.op for each in net.program({"x": Spec(X.shape, X.dtype)}).graph.nodes]
    assert ops == ["MatMul", "MatMul"]


def test_scales_and_shifts_on_both_sides() -> None:
    """A shift before a convolution goes through what scales it afterwards, whichever is seen first."""
    nodes = [
        node("Mul", "x each", "p"), node("Add", "p each", "q"), node("Conv", "q w b", "a"),
        node("BatchNormalization", "a gamma b mean variance", "c"), node("Mul", "c three", "y"),
    ]  # fmt: skip
    source = model(nodes, {"x": ("n", 4, "h", "w")}, "y", CONSTANTS)
    plain = convmat.load(source, rewrite=False, exact=True)(X)
    for rules in (True, ["fold_scale", "shift_before"], ["shift_before", "fold_scale"]):
        np.testing.assert_allclose(
            convmat.load(source, rewrite=rules, exact=True)(X), plain, rtol=2e-5, atol=2e-5
        )


@pytest.mark.parametrize("rows", [1, 9])
@pytest.mark.parametrize("turned", [0, 1])
def test_normalisations_behind_dense_layers_go_into_their_weights(turned: int, rows: int) -> None:
    """As training leaves them behind each layer; alpha and beta count before the normalisation does."""
    x, w, v = normal(rows, 24), normal(24, 10, seed=1), normal(10, 6, seed=2)
    kept = {
        "w": np.ascontiguousarray(w.T) if turned else w,
        "v": v,
        "c": normal(1, 10, seed=3),
        "d": np.float32(3),
    }
    kept |= {name: normal(10, seed=n) for n, name in enumerate(("gamma", "beta", "mean"), 4)}
    kept |= {"variance": np.abs(normal(10, seed=7)) + 0.5, "scale": normal(6, seed=8)}
    nodes = [
        node("Gemm", "x w c", "a", alpha=0.5, beta=-2.0, transB=turned),
        node("BatchNormalization", "a gamma beta mean variance", "b"), node("Relu", "b", "e"),
        node("MatMul", "e v", "f"), node("Div", "f d", "g"), node("Mul", "scale g", "y"),
    ]  # fmt: skip
    source = model(nodes, {"x": ("n", 24)}, "y", kept)
    net, plain = convmat.load(source), convmat.load(source, rewrite=False, exact=True)
    np.testing.assert_allclose(net(x), plain(x), rtol=2e-5, atol=2e-5)
    graph = net.program({"x": Spec(x.shape, x.dtype)}).graph
    assert [each.op for each in graph.nodes] == ["Gemm", "MatMul"]
    assert graph.constants["w"] is net.graph.constants["w"]
    value = x
    for each in graph.nodes:  # what they mean beside what runs
        (value,) = operator_of(each)(each, [value, *(graph.constants[name] for name in each.inputs[1:])])
    np.testing.assert_allclose(value, plain(x), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("factor", [np.inf, np.nan, 0.0, 1e16])
@pytest.mark.parametrize("product", ["Conv", "MatMul"])
def test_factors_that_weights_do_not_bear_stay_apart(product: str, factor: float) -> None:
    """Sums times inf are inf, weights times inf make NaN of them; large weights and factors cancel small numbers."""
    w, axis = (normal(4, 4, 1, 1), 1) if product == "Conv" else (normal(8, 8), 3)
    x, shape = normal(2, 4, 8, 8, seed=1), [1, 1, 1, 1]
    shape[axis] = x.shape[axis]
    large = np.float32(1e15 if factor == 1e16 else 1)
    first = node(product, "x w", "a")
    for nodes in (
        (first, node("Mul", "a s", "b"), node("Mul", "s b", "y")),
        (first, node("Div", "a s", "y")),
        (node("Mul", "x s", "a"), node(product, "a w", "y")),
        (node("Div", "x s", "a"), node(product, "a w", "y")),
    ):
        source = model(nodes, {"x": x.shape}, "y", {"w": w * large, "s": np.full(shape, factor, np.float32)})
        plain = convmat.load(source, rewrite=False)(x / large)
        np.testing.assert_allclose(convmat.load(source)(x / large), plain, rtol=1e-4, atol=1e-5)


def test_hard_sigmoid_of_doubles_needs_the_digits_of_doubles() -> None:
    """An attribute of 32 bits is no sixth beside numbers of 64, nor are whole numbers the gate of anything."""
    nodes = [node("HardSigmoid", "x", "c", alpha=1 / 6), node("Mul", "c x", "y")]
    source = model(nodes, {"x": (5,)}, "y", dtype=onnx.TensorProto.DOUBLE, opset=22)
    x = np.linspace(-4, 4, 5)
    np.testing.assert_array_equal(
        convmat.load(source)(x), x * np.clip(float(np.float32(1 / 6)) * x + 0.5, 0, 1)
    )
    nodes = [node("Add", "x three", "c"), node("Clip", "c zero most", "d"), node("Div", "d most", "y")]
    kept = {"three": np.int32(3), "zero": np.int32(0), "most": np.int32(6)}
    source = model(nodes, {"x": (3,)}, "y", kept, dtype=onnx.TensorProto.INT32)
    assert convmat.load(source)(np.array([-9, 0, 5], np.int32)).tolist() == [0, 0, 1]


def test_scaled_weights_are_not_kept() -> None:
    net = convmat.load(model((CONV, NORM), {"x": X.shape}, "y", CONSTANTS))
    net(X)
    assert net.program({"x": Spec(X.shape, X.dtype)}).graph.constants["w"] is net.graph.constants["w"]


@pytest.mark.parametrize("rules", [["fuse"], "skip", 3], ids=str)
def test_an_unknown_rule(rules: Any) -> None:
    with pytest.raises(convmat.NetworkError) as error:
        convmat.load(model([node("Relu", "x", "y")], {"x": (1,)}, "y"), rewrite=rules)
    assert str(error.value) == (
        f"load: there is no rule of that name\n  rewrite = {rules!r}\n"
        f"  True, False, or some of {', '.join(map(repr, RULES))}"
    )


@pytest.mark.parametrize("rows", [1, 3])
def test_a_bias_goes_beside_a_residual(rows: int) -> None:
    """As cells spell it: x w + h r + b, whose bias comes last."""
    w, r, b = normal(20, 40), normal(10, 40, seed=1), normal(40, seed=2)
    nodes = [
        node("MatMul", "x w", "p"), node("MatMul", "h r", "q"), node("Add", "p q", "s"), node("Add", "s b", "t"),
        node("Sigmoid", "t", "y"),
    ]  # fmt: skip
    net = convmat.load(model(nodes, {"x": (rows, 20), "h": (rows, 10)}, "y", {"w": w, "r": r, "b": b}))
    x, h = normal(rows, 20, seed=3), normal(rows, 10, seed=4)
    np.testing.assert_allclose(net({"x": x, "h": h}), 1 / (1 + np.exp(-(x @ w + h @ r + b))), rtol=1e-5)
    specs = {"x": Spec((rows, 20), np.dtype(np.float32)), "h": Spec((rows, 10), np.dtype(np.float32))}
    assert [each.op for each in net.program(specs).graph.nodes] == ["MatMul", "MatMul"]

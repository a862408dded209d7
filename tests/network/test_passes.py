"""Operators on single elements as kernels of a network: of many element types, several in one pass."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import helper

import convmat
from convmat.engine import host
from convmat.network.graph import Node, Spec
from convmat.network.ops import OPERATORS, attention
from convmat.network.ops.dtypes import number_of

from .cases import Array
from .made import model, node, normal

pytestmark = pytest.mark.skipif(not host().fma or os.name != "posix", reason="the jit makes no code here")
SHAPE = (3, 5, 331)
Case = tuple[str, Sequence[Array], dict[str, Any]]


def whole(name: str, seed: int = 0) -> Array:
    ends = np.iinfo(name)
    pick = np.random.default_rng(seed)
    few, many = pick.integers(max(ends.min, -3), 4, SHAPE), pick.integers(ends.min, ends.max, SHAPE, name)
    return np.where(pick.random(SHAPE) < 0.5, few, many).astype(name)


def run(cases: Sequence[Case], version: int = 24) -> None:
    """One network of all nodes: each by a kernel, each as the operator by itself."""
    nodes: list[Any] = []
    inputs: dict[str, Array] = {}
    for i, (op, arrays, attributes) in enumerate(cases):
        names = [f"x{i}_{j}" for j in range(len(arrays))]
        inputs |= dict(zip(names, arrays, strict=True))
        nodes.append(node(op, " ".join(names), f"y{i}", **attributes))
    kinds = {name: number_of(x.dtype) for name, x in inputs.items()}
    outputs = [f"y{i}" for i in range(len(cases))]
    net = convmat.load(
        model(nodes, {n: x.shape for n, x in inputs.items()}, " ".join(outputs), opset=version, kinds=kinds)
    )
    found: Mapping[str, Array] = net(inputs)
    # By what they write: half precision is widened before its nodes, by casts of their own.
    engines = {
        name: layer.engine for layer in net.summary().layers for name, _ in layer.outputs if name in outputs
    }
    assert engines == dict.fromkeys(outputs, "jit")
    for i, (op, arrays, attributes) in enumerate(cases):
        (wanted,) = OPERATORS[op](Node(op, (), ("y",), attributes, op, version), arrays)
        made = found[f"y{i}"]
        assert (made.dtype, made.shape) == (wanted.dtype, wanted.shape), op
        if made.dtype.kind in "iub":
            np.testing.assert_array_equal(made, wanted, err_msg=f"{op} of {arrays[0].dtype}")
        else:
            half = made.dtype.itemsize == 2
            a, b = (each.astype(np.float64) for each in (made, wanted))
            np.testing.assert_allclose(a, b, rtol=8e-3 if half else 2e-6, atol=1e-6, err_msg=op)


def test_functions_of_floats() -> None:
    x, y = normal(*SHAPE), normal(*SHAPE, seed=1)
    with np.errstate(all="ignore"):
        x[0, 0, :6] = [np.nan, np.inf, -np.inf, 0, -0.0, 1e30]
    of_one = [
        "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Celu", "Cos", "Cosh", "Elu", "Erf", "Exp",
        "Floor", "Gelu", "HardSigmoid", "HardSwish", "IsInf", "IsNaN", "LeakyRelu", "Log", "Mish", "Neg", "Reciprocal",
        "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Tan",
        "Tanh", "ThresholdedRelu",
    ]  # fmt: skip
    cases: list[Case] = [(op, [x], {}) for op in of_one]
    cases += [("Swish", [x], {"alpha": 1.5}), ("Mod", [x, y], {"fmod": 1}), ("Pow", [np.abs(x), y], {})]
    cases += [("Pow", [np.abs(x), np.array(p, np.float32)], {}) for p in (2, 3, -1, 0.5)]
    cases += [("Mean", [x, y, x], {}), ("Clip", [x, np.array(-1, "f"), np.array(1, "f")], {})]
    cases += [("Pow", [x, np.random.default_rng(0).integers(-3, 4, SHAPE)], {})]
    run(cases)


def test_places_of_extremes() -> None:
    """Of equal ones the first or the last, along the last axis and others, NaN before all."""
    x = np.round(normal(*SHAPE), 1)
    x[0, 0, 5], x[1, :, 3], x[2, 4, -2:] = np.nan, np.nan, np.inf
    ways = [(op, last) for op in ("ArgMax", "ArgMin") for last in (0, 1)]
    run([
        (op, [x], {"axis": axis, "select_last_index": last, "keepdims": last})
        for op, last in ways for axis in range(3)
    ])  # fmt: skip
    run([(op, [whole(t)], {"axis": 1 + (t == "int8")}) for op, _ in ways[::2] for t in ("int64", "int8")])


def test_running_sums() -> None:
    """Along every axis, from either end, with and without the element itself, of numbers of every type."""
    draws: list[Array] = [
        np.round(normal(*SHAPE), 2),
        normal(*SHAPE).astype(np.float64),
        *map(whole, ("int32", "int64", "uint64")),
    ]
    ways = [(x, axis, e, r) for x in draws for axis in range(3) for e in (0, 1) for r in (0, 1)]
    nodes, inputs, constants = [], {}, {f"a{axis}": np.array(axis) for axis in range(3)}
    for i, (x, axis, exclusive, reverse) in enumerate(ways):
        inputs[f"x{i}"] = x
        nodes.append(node("CumSum", f"x{i} a{axis}", f"y{i}", exclusive=exclusive, reverse=reverse))
    kinds = {name: number_of(x.dtype) for name, x in inputs.items()}
    outputs = [f"y{i}" for i in range(len(ways))]
    net = convmat.load(
        model(
            nodes,
            {n: x.shape for n, x in inputs.items()},
            " ".join(outputs),
            constants,
            opset=14,
            kinds=kinds,
        )
    )
    assert {layer.engine for layer in net.summary().layers} == {"jit"}
    found = net(inputs)
    for i, (x, axis, exclusive, reverse) in enumerate(ways):
        about = {"exclusive": exclusive, "reverse": reverse}
        (wanted,) = OPERATORS["CumSum"](Node("CumSum", (), ("y",), about, "n", 14), (x, np.array(axis)))
        np.testing.assert_array_equal(found[f"y{i}"], wanted, err_msg=f"{x.dtype} {axis} {about}")


@pytest.mark.parametrize("named", ["v i", "v ", " i"])
def test_the_first_in_order(named: str) -> None:
    """Along every axis, one, few and many of them; of both outputs those that have a name."""
    x = np.round(normal(*SHAPE), 1)
    x[0, 0, 5], x[1, :, 3], x[2, 4, -2:] = np.nan, np.nan, np.inf
    draws: dict[str, Array] = {"f": x, "d": x.astype(np.float64), "i": whole("int32"), "b": whole("uint8")}
    ways = list(itertools.product(draws, range(3), ("1", "few", "all"), (0, 1)))
    nodes, constants, outputs = [], {}, []
    for i, (kind, axis, many, largest) in enumerate(ways):
        constants[f"k{i}"] = np.array([{"1": 1, "few": 3, "all": SHAPE[axis]}[many]])
        made = [f"{each}{i}" if each else "" for each in named.split(" ")]
        outputs.append(made)
        nodes.append(helper.make_node("TopK", [kind, f"k{i}"], made, f"n{i}", axis=axis, largest=largest))
    kinds = {name: number_of(each.dtype) for name, each in draws.items()}
    names = [each for made in outputs for each in made if each]
    net = convmat.load(
        model(
            nodes, {n: x.shape for n, x in draws.items()}, " ".join(names), constants, opset=11, kinds=kinds
        )
    )
    found = net(draws)
    assert {layer.engine for layer in net.summary().layers} == {"jit"}
    for i, (kind, axis, _, largest) in enumerate(ways):
        about = {"axis": axis, "largest": largest}
        wanted = OPERATORS["TopK"](
            Node("TopK", (), ("v", "i"), about, "n", 11), (draws[kind], constants[f"k{i}"])
        )
        for name, right in zip(outputs[i], wanted, strict=False):
            if name:
                np.testing.assert_array_equal(found[name], right, err_msg=f"{ways[i]}")


def test_margins_of_a_mirror() -> None:
    """From both sides of every axis, as wide as there is anything to mirror; wider ones by NumPy."""
    x = normal(2, 3, 40, 50)
    margins = [
        ((0, 0), (0, 0), (2, 1), (3, 4)),
        ((0, 1), (1, 2), (39, 5), (0, 49)),
        ((0, 0), (0, 0), (0, 0), (60, 60)),
    ]
    nodes, constants, wanted, engines = [], {}, {}, {}
    for i, each in enumerate(margins):
        constants[f"p{i}"] = np.array([lo for lo, _ in each] + [hi for _, hi in each])
        longest_of: dict[Any, int] = {"reflect": 49, "edge": 99, "wrap": 50}
        for mode, longest in longest_of.items():
            nodes.append(node("Pad", f"x p{i}", f"{mode}{i}", mode=mode))
            wanted[f"{mode}{i}"] = np.pad(x, each, mode)
            engines[f"{mode}{i}"] = "jit" if max(max(pair) for pair in each) <= longest else "numpy"
    net = convmat.load(model(nodes, {"x": x.shape}, " ".join(wanted), constants, opset=19))
    assert {layer.outputs[0][0]: layer.engine for layer in net.summary().layers} == engines
    found = net(x)
    for name, right in wanted.items():
        np.testing.assert_array_equal(found[name], right, err_msg=name)


def test_integers_of_every_size() -> None:
    cases: list[Case] = []
    for i, name in enumerate(f"{sign}int{bits}" for sign in ("u", "") for bits in (8, 16, 32, 64)):
        a, b = whole(name), whole(name, 1)
        ops = [
            "Add",
            "Sub",
            "Mul",
            "Div",
            "Mod",
            "Max",
            "Min",
            "Less",
            "GreaterOrEqual",
            "Equal",
            "BitwiseXor",
        ]
        cases += [(op, [a, b], {}) for op in ops[i % 2 :: 2]]
        cases += [("Sign", [a], {}), ("BitwiseNot", [a], {})][i % 2 :: 2]
        if name[0] == "u":
            cases.append(("BitShift", [a, b % 70], {"direction": ("LEFT", "RIGHT")[i % 2]}))
    run(cases)


def test_choices_and_logic() -> None:
    x, y = normal(*SHAPE), normal(5, 1, seed=1)
    p, q = x > 0.3, normal(331) > 0
    cases: list[Case] = [(op, [p, q], {}) for op in ("And", "Or", "Xor", "Equal")]
    cases += [("Not", [p], {}), ("Where", [p, x, y], {}), ("Where", [q, whole("int8"), whole("int8", 2)], {})]
    cases += [("Where", [p, x.astype(np.float16), y.astype(np.float16)], {})]
    run(cases)


def test_half_precision_and_casts() -> None:
    x, kinds = normal(*SHAPE), onnx.TensorProto
    cases: list[Case] = []
    for dtype in (np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)):
        half, small = x.astype(dtype), normal(5, 1, seed=2).astype(dtype)
        cases += [("Mul", [half, small], {}), ("Exp", [half], {}), ("Less", [half, small], {})]
        cases += [
            ("Cast", [half], {"to": kinds.FLOAT}),
            ("Cast", [x], {"to": number_of(dtype)}),
        ]
    cases += [("Cast", [x * 50], {"to": to}) for to in (kinds.INT8, kinds.INT64, kinds.BOOL, kinds.DOUBLE)]
    cases += [("Cast", [whole("int64") % 99], {"to": to}) for to in (kinds.FLOAT, kinds.UINT8, kinds.FLOAT16)]
    cases += [("Cast", [x > 0], {"to": to}) for to in (kinds.FLOAT, kinds.INT32)]
    run(cases)


def test_nodes_of_several_types_are_one_pass() -> None:
    nodes = [
        node("Greater", "x limit", "above"),
        node("Cast", "above", "one", to=onnx.TensorProto.FLOAT),
        node("Mul", "one x", "kept"),
        node("Not", "above", "below"),
        node("Where", "below zero kept", "y"),
    ]
    constants = {"limit": np.array(0.5, np.float32), "zero": np.zeros(331, np.float32)}
    net = convmat.load(model(nodes, {"x": SHAPE}, "y", constants))
    x = normal(*SHAPE)
    np.testing.assert_array_equal(net(x), np.where(x > 0.5, x, 0))
    assert len(net.summary().layers) == 1


def test_small_arrays_of_integers_stay_with_numpy() -> None:
    nodes = [node("Add", "i i", "j"), node("Relu", "x", "y")]
    kinds = {"i": onnx.TensorProto.INT64}
    net = convmat.load(model(nodes, {"i": (8,), "x": SHAPE}, "j y", kinds=kinds))
    net({"i": np.arange(8), "x": normal(*SHAPE)})
    assert [layer.engine for layer in net.summary().layers] == ["numpy", "jit"]


# -- sums along axes ---------------------------------------------------------------------------------------------------


def test_reductions_along_any_axes() -> None:
    x, ops = normal(6, 5, 7, 33), ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSumExp")
    some = [(1,), (0, 2), (0, 1, 2), (3,), (0, 1, 2, 3), (1, 3)]
    cases: list[Case] = [
        (f"Reduce{op}", [x], {"axes": some[i % len(some)], "keepdims": i % 2}) for i, op in enumerate(ops)
    ]
    cases += [("ReduceMean", [x], {"axes": axes}) for axes in some]
    cases += [("ReduceLogSum", [np.abs(x)], {"axes": (0, 1)})]
    cases += [
        (f"Reduce{op}", [whole("int32").astype(np.int64)], {"axes": (1,)}) for op in ("Sum", "Max", "Min")
    ]
    run(cases, 11)


def test_softmax_along_any_axis() -> None:
    x = normal(6, 5, 7, 33) * 9
    run([(op, [x], {"axis": a}) for op in ("Softmax", "LogSoftmax") for a in (0, 1, 2, -1)])
    run([("Softmax", [x], {"axis": a}) for a in (1, 2)], 11)


def test_normalisations() -> None:
    x, scale, bias = normal(3, 6, 11, 33) * 3 + 7, normal(6, seed=1), normal(6, seed=2)
    along = [normal(11, 33, seed=i) for i in (3, 4)]
    cases: list[Case] = [("InstanceNormalization", [x, scale, bias], {"epsilon": 1e-3})]
    cases += [("GroupNormalization", [x, scale, bias], {"num_groups": g}) for g in (1, 2, 6)]
    cases += [("LayerNormalization", [x, *along], {"axis": 2}), ("LayerNormalization", [x, normal(33)], {})]
    cases += [("RMSNormalization", [x, normal(33)], {})]
    run(cases)
    run([("GroupNormalization", [x, scale[:g], bias[:g]], {"num_groups": g}) for g in (1, 2)], 18)


def test_batch_normalisation_that_no_convolution_takes() -> None:
    names = ("scale", "bias", "mean")
    constants = {name: normal(5, seed=i) for i, name in enumerate(names)} | {
        "variance": np.abs(normal(5)) + 1
    }
    nodes = [
        node("Relu", "x", "a"),
        node("BatchNormalization", f"a {' '.join(names)} variance", "b"),
        node("Relu", "b", "y"),
    ]
    source = model(nodes, {"x": (3, 5, 331)}, "y", constants)
    net, x = convmat.load(source), normal(*SHAPE)
    found = net(x)
    assert [(layer.op, layer.engine) for layer in net.summary().layers] == [("Elementwise", "jit")]
    np.testing.assert_array_equal(found, convmat.load(source, rewrite=False)(x))


# -- products of two computed arrays -----------------------------------------------------------------------------------


def test_products_of_computed_matrices() -> None:
    def whole_numbers(*shape: int) -> Array:
        return np.random.default_rng(len(shape)).integers(-4, 5, shape).astype(np.float32)

    a, b = whole_numbers(2, 3, 40, 24), whole_numbers(2, 3, 24, 50)
    cases: list[Case] = [("MatMul", [a, b], {}), ("MatMul", [a, b[0]], {}), ("MatMul", [a, b[:1, :1]], {})]
    cases += [("MatMul", [a[0, 0], b], {}), ("MatMul", [a[0, 0], b[0, 0]], {})]
    for equation, first, second in (
        ("bct,bcs->bts", (4, 24, 61), (4, 24, 50)),
        ("bts,bcs->bct", (4, 61, 50), (4, 24, 50)),
        ("bihd,bjhd->bhij", (2, 50, 4, 32), (2, 60, 4, 32)),
        ("bhij,bjhd->bihd", (2, 4, 50, 60), (2, 60, 4, 32)),
        ("aij,bjk->abik", (3, 30, 20), (2, 20, 10)),
        ("ijk,kl->lij", (5, 16, 7), (7, 19)),
        ("...ij,jk", (3, 30, 20), (20, 10)),
        ("bij,bj->bi", (3, 70, 80), (3, 80)),
        ("bi,bj->bij", (3, 70), (3, 80)),
        ("bij,bjk->bik", (1, 30, 20), (3, 20, 10)),
    ):
        cases.append(("Einsum", [whole_numbers(*first), whole_numbers(*second)], {"equation": equation}))
    run(cases)
    with convmat.threads(1):
        run(cases[::4])


def test_attention_in_one_row_of_kernels() -> None:
    """softmax(q k^T / 8 + mask) v, against float64."""
    nodes = [
        node("Transpose", "k", "kt", perm=[0, 1, 3, 2]),
        node("MatMul", "q kt", "s"),
        node("Mul", "s scale", "t"),
        node("Add", "t mask", "u"),
        node("Softmax", "u", "p"),
        node("MatMul", "p v", "y"),
    ]
    shape = (2, 3, 60, 32)
    q, k, v = (normal(*shape, seed=i) for i in range(3))
    mask = np.triu(np.full((60, 60), -np.inf, np.float32), 1)
    source = model(nodes, dict.fromkeys("qkv", shape), "y", {"scale": np.array(0.125, "f"), "mask": mask})
    net = convmat.load(source)
    found = net({"q": q, "k": k, "v": v})
    wide = [each.astype(np.float64) for each in (q, k, v)]
    scores = np.exp(wide[0] @ wide[1].swapaxes(2, 3) / 8 + mask)
    wanted = scores / scores.sum(3, keepdims=True) @ wide[2]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rows", [48, 96])
def test_attention_kept_in_cache_has_the_same_bits(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block of rows after the other, as if no more fitted a cache: as step by step."""
    monkeypatch.setattr(attention, "_rows", lambda scores: rows)
    T, S = 96, 300
    q, k, v = (normal(2, 3, n, 24, seed=i) for i, n in enumerate((T, S, S)))
    nodes = [
        node("Relu", "q", "a"),
        node("Neg", "k", "b"),
        node("Neg", "v", "c"),
        node("Einsum", "a b", "s", equation="bhid,bhjd->bhij"),
        node("Mul", "s scale", "t"),
        node("Add", "t mask", "u"),
        node("Softmax", "u", "p"),
        node("MatMul", "p c", "o"),
        node("Add", "o a", "y"),
    ]
    constants = {"scale": np.array(0.2, "f"), "mask": normal(T, S, seed=4) * 2}
    net = convmat.load(model(nodes, {"q": q.shape, "k": k.shape, "v": v.shape}, "y", constants))
    inputs = {"q": q, "k": k, "v": v}
    found = net(inputs)
    program = net.program({name: Spec(x.shape, x.dtype) for name, x in inputs.items()})
    assert len(program.layout.groups) == 1
    np.testing.assert_array_equal(program(inputs, watch=lambda task: None)["y"], found)
    with convmat.threads(1):
        np.testing.assert_array_equal(net(inputs), found)
    scores = np.einsum("bhid,bhjd->bhij", np.maximum(q, 0), -k.astype(float)) * 0.2 + constants["mask"]
    power = np.exp(scores - scores.max(-1, keepdims=True))
    wanted = power / power.sum(-1, keepdims=True) @ -v.astype(float) + np.maximum(q, 0)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_attention_of_what_comes_with_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose places change from call to call, step by step."""
    monkeypatch.setattr(attention, "_rows", lambda scores: 32)
    nodes = [
        node("MatMul", "q k", "s"),
        node("Softmax", "s", "p"),
        node("MatMul", "p v", "o"),
        node("Neg", "o", "y"),
    ]
    shapes = {"q": (2, 64, 16), "k": (2, 16, 90), "v": (2, 90, 16)}
    q, k, v = (normal(*shape) for shape in shapes.values())
    scores = np.exp((q @ k).astype(float))
    wanted = -(scores / scores.sum(-1, keepdims=True)) @ v
    np.testing.assert_allclose(
        convmat.load(model(nodes, shapes, "y"))({"q": q, "k": k, "v": v}), wanted, 1e-4, 1e-5
    )


# -- movement ----------------------------------------------------------------------------------------------------------


def test_movement_of_every_kind() -> None:
    x = normal(2, 8, 12, 22)
    y, small = normal(2, 8, 5, 22, seed=1), (x * 40).astype(np.int8)
    nodes: list[Any] = []
    constants: dict[str, Array] = {}

    def add(op: str, inputs: str, wanted: Array | list[Array], *given: Any, **attributes: Any) -> None:
        names = [f"c{len(constants) + i}" for i in range(len(given))]
        constants.update({name: np.array(each) for name, each in zip(names, given, strict=True)})
        several = wanted if isinstance(wanted, list) else [wanted]
        outputs = [f"y{len(answers) + i}" for i in range(len(several))]
        answers.update(dict(zip(outputs, several, strict=True)))
        nodes.append(node(op, " ".join([inputs, *names]), " ".join(outputs), **attributes))

    answers: dict[str, Array] = {}
    for perm in ((0, 2, 3, 1), (3, 2, 1, 0), (1, 0, 2, 3), (0, 1, 3, 2)):
        add("Transpose", "x", x.transpose(perm), perm=perm)
        add("Transpose", "small", small.transpose(perm), perm=perm)
    add("Concat", "x y x", np.concatenate([x, y, x], 2), axis=2)
    add("Concat", "x x", np.concatenate([x, x], -1), axis=-1)
    add("Split", "x", np.split(x, [3, 5], 1), [3, 2, 3], axis=1)
    add("Slice", "x", x[:, 1:7:2, ::-1], [1, -1], [7, -99], [1, 2], [2, -1])
    add("Pad", "x half", np.pad(x, ((0, 0), (1, 0), (2, 3), (1, 1)), constant_values=0.5))
    nodes[-1].input.insert(1, "pads")
    constants["pads"] = np.array([0, 1, 2, 1, 0, 0, 3, 1])
    add("Pad", "x", np.pad(x, ((0, 0), (0, 0), (2, 3), (1, 1)))[:, :, 3:], [0, 0, -1, 1, 0, 0, 3, 1])
    add("Tile", "x", np.tile(x, (1, 2, 1, 3)), [1, 2, 1, 3])
    add("Expand", "column", np.broadcast_to(x[:, :, :, :1], x.shape), x.shape)
    add("Gather", "x", x[:, :, -2], np.array(-2), axis=2)
    net = convmat.load(
        model(
            nodes,
            {"x": x.shape, "y": y.shape, "small": x.shape, "column": (2, 8, 12, 1), "half": ()},
            " ".join(answers), constants, kinds={"small": onnx.TensorProto.INT8},
        )
    )  # fmt: skip
    found = net({"x": x, "y": y, "small": small, "column": x[:, :, :, :1].copy(), "half": np.array(0.5, "f")})
    for name, wanted in answers.items():
        np.testing.assert_array_equal(found[name], wanted, err_msg=name)
    assert {layer.engine for layer in net.summary().layers} == {"jit"}


def test_blocks_of_pixels_and_back() -> None:
    x = normal(2, 16, 12, 20)
    run([("DepthToSpace", [x], {"blocksize": b, "mode": mode}) for b in (2, 4) for mode in ("DCR", "CRD")])
    run([("SpaceToDepth", [x], {"blocksize": b}) for b in (2, 4)])


# -- what runs where ---------------------------------------------------------------------------------------------------


def test_the_share_of_time_that_each_engine_takes() -> None:
    nodes = [node("Conv", "x w", "a"), node("Sin", "a", "b"), node("Trilu", "b", "y")]
    constants = {"w": normal(8, 3, 3, 3)}
    net = convmat.load(model(nodes, {"x": (1, 3, 64, 64)}, "y", constants))
    net(normal(1, 3, 64, 64))
    shares = net.summary().shares
    assert set(shares) == {"jit", "numpy"}
    assert abs(sum(shares.values()) - 1) < 1e-9
    assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert "of the whole network's predicted time: " in str(net.summary())


# -- resized images ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["linear", "cubic", "nearest"])
def test_resized_planes(mode: str) -> None:
    """By kernels, as by matrices: larger, smaller, in both directions, wider and narrower than a vector."""
    nodes, shapes, constants = [], {"x": (2, 3, 11, 70), "z": (2, 3, 40, 5)}, {}
    words = ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel")
    for i, (name, scale) in enumerate(
        [("x", s) for s in ((2, 2), (1, 3.3), (3, 1.1), (0.5, 0.4), (2.5, 1))]
        + [("z", (1.5, 4)), ("z", (0.3, 2))]
    ):
        constants[f"s{i}"] = np.array([1, 1, *scale], np.float32)
        how = {"coordinate_transformation_mode": words[i % 4], "mode": mode}
        nodes.append(node("Resize", f"{name} - s{i}", f"y{i}", **how))
    net = convmat.load(model(nodes, shapes, " ".join(f"y{i}" for i in range(len(nodes))), constants))
    inputs = {name: normal(*shape) for name, shape in shapes.items()}
    inputs["x"][0, 1, 4, 30], inputs["x"][1, 2, 10, 69], inputs["z"][1, 1, 20, 2] = np.inf, -np.inf, np.nan
    found = net(inputs)
    assert {layer.engine for layer in net.summary().layers} == {"jit"}
    for i, each in enumerate(nodes):
        attributes = {a.name: onnx.helper.get_attribute_value(a).decode() for a in each.attribute}
        plain = Node("Resize", ("x", "", "s"), ("y",), attributes, "r", 17)
        (wanted,) = OPERATORS["Resize"](plain, [inputs[each.input[0]], None, constants[f"s{i}"]])
        np.testing.assert_allclose(found[f"y{i}"], wanted, rtol=2e-6, atol=2e-6, err_msg=str(each))

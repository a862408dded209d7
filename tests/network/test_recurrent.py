"""RNN, GRU and LSTM beside their equations, taken sequence by sequence and step by step in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

import convmat
from convmat.network.graph import Node, Spec
from convmat.network.ops import OPERATORS
from convmat.network.ops.options import Options
from convmat.network.ops.recurrent import recurrent
from convmat.network.ops.rolled import Rolled, RolledToTheEnd

from .cases import Array
from .made import model, normal
from .made import node as made
from .runtime import outside

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
FUNCTIONS = {"RNN": 1, "GRU": 2, "LSTM": 3}

# -- the definition ----------------------------------------------------------------------------------------------------

FORMULAS: dict[str, Callable[[float, float, float], float]] = {
    "Relu": lambda x, a, b: max(x, 0.0),
    "Tanh": lambda x, a, b: math.tanh(x),
    "Sigmoid": lambda x, a, b: 1 / (1 + math.exp(-x)),
    "Affine": lambda x, a, b: a * x + b,
    "LeakyRelu": lambda x, a, b: x if x >= 0 else a * x,
    "ThresholdedRelu": lambda x, a, b: x if x >= a else 0.0,
    "ScaledTanh": lambda x, a, b: a * math.tanh(b * x),
    "HardSigmoid": lambda x, a, b: min(max(a * x + b, 0.0), 1.0),
    "Elu": lambda x, a, b: x if x >= 0 else a * (math.exp(x) - 1),
    "Softsign": lambda x, a, b: x / (1 + abs(x)),
    "Softplus": lambda x, a, b: math.log(1 + math.exp(x)),
}
ALPHAS = {
    "Affine": 1.0,
    "LeakyRelu": 0.01,
    "ThresholdedRelu": 1.0,
    "ScaledTanh": None,
    "HardSigmoid": 0.2,
    "Elu": 1.0,
}
BETAS = {"Affine": 0.0, "ScaledTanh": None, "HardSigmoid": 0.5}
USUAL = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}


def definition(
    node: Node,
    X: Any,
    W: Any,
    R: Any,
    B: Any = None,
    lens: Any = None,
    h0: Any = None,
    c0: Any = None,
    P: Any = None,
) -> list[Array]:
    """All outputs, in float64: the equations of the standard, one sequence at a time."""
    op, about = node.op, node.attributes
    X, W, R = (np.asarray(each, np.float64) for each in (X, W, R))
    first = about.get("layout", 0)
    X, (D, _, H) = X.swapaxes(0, 1) if first else X, R.shape
    T, N, _ = X.shape
    names = about.get("activations", USUAL[op] * D)
    alphas, betas = iter(about.get("activation_alpha", ())), iter(about.get("activation_beta", ()))
    functions = []
    for name in names:
        alpha = next(alphas, ALPHAS[name]) if name in ALPHAS else None
        beta = next(betas, BETAS[name]) if name in BETAS else None
        functions.append(
            np.vectorize(lambda x, n=name, a=alpha, b=beta: FORMULAS[n](x, a, b), otypes=[float])
        )
    limit = about.get("clip", np.inf)
    Y, Yh, Yc = np.zeros((T, D, N, H)), np.zeros((D, N, H)), np.zeros((D, N, H))
    for d, n in np.ndindex(D, N):
        Wb, Rb = np.zeros((2, W.shape[1])) if B is None else np.asarray(B[d], float).reshape(2, -1)
        here = functions[d * FUNCTIONS[op] : (d + 1) * FUNCTIONS[op]]
        f, g = _clipped(here[0], limit), _clipped(here[-1 if op == "GRU" else len(here) // 2], limit)
        start = [None if each is None else np.asarray(each, float) for each in (h0, c0)]
        h, c = (np.zeros(H) if s is None else s[n, d] if first else s[d, n] for s in start)
        Pi, Po, Pf = np.zeros((3, H)) if P is None else np.asarray(P[d], float).reshape(3, H)
        length = T if lens is None else int(lens[n])
        turns = range(length)
        backwards = about.get("direction") == "reverse" or d == 1
        for t in reversed(turns) if backwards else turns:
            x, r = W[d] @ X[t, n] + Wb, R[d] @ h + Rb
            if op == "RNN":
                h = f(x + r)
            elif op == "GRU":
                z, reset = f((x + r)[:H]), f((x + r)[H : 2 * H])
                if about.get("linear_before_reset"):
                    new = g(x[2 * H :] + reset * r[2 * H :])
                else:
                    new = g(x[2 * H :] + R[d][2 * H :] @ (reset * h) + Rb[2 * H :])
                h = (1 - z) * new + z * h
            else:
                si, so, sf, sc = (x + r).reshape(4, H)
                i = f(si + Pi * c)
                forget = 1 - i if about.get("input_forget") else f(sf + Pf * c)
                c = forget * c + i * g(sc)
                h = f(so + Po * c) * np.asarray(here[2](c))
            Y[t, d, n] = h
        if length:
            Yh[d, n], Yc[d, n] = h, c
    if first:
        Y, Yh, Yc = Y.transpose(2, 0, 1, 3), Yh.swapaxes(0, 1), Yc.swapaxes(0, 1)
    return [Y, Yh, Yc][: 3 if op == "LSTM" else 2]


def _clipped(function: Any, limit: float) -> Callable[[Array], Array]:
    return lambda sums: np.asarray(function(np.clip(sums, -limit, limit)))


# -- drawn nodes -------------------------------------------------------------------------------------------------------


def drawn(op: str, seed: int, dtype: Any = np.float32, **about: Any) -> tuple[Node, list[Array | None]]:
    """A node with its inputs: what is not said is drawn."""
    draw = np.random.default_rng(seed)

    def some(*shape: int) -> Array:
        return (draw.standard_normal(shape) / 2).astype(
            dtype
        )  # some activations make ever larger states of 1

    def perhaps() -> bool:
        return bool(draw.integers(2))

    T, N, inputs, H = (int(draw.integers(1, 6)) for _ in range(4))
    about.setdefault("direction", str(draw.choice(["forward", "reverse", "bidirectional"])))
    D, G = 2 if about["direction"] == "bidirectional" else 1, GATES[op]
    if perhaps():
        about.setdefault("activations", [str(n) for n in draw.choice(list(FORMULAS), FUNCTIONS[op] * D)])
    names = about.get("activations", [])
    # without numbers onnxruntime's Affine is 0, and its threshold
    if {"ScaledTanh", "Affine", "ThresholdedRelu"}.intersection(names) or perhaps():
        for what, having in (("activation_alpha", ALPHAS), ("activation_beta", BETAS)):
            numbers = draw.uniform(0.1, 0.9, sum(name in having for name in names)).astype(np.float32)
            if numbers.size:
                about.setdefault(what, [float(v) for v in numbers])
    if perhaps():
        about.setdefault("clip", float(np.float32(draw.uniform(0.2, 2))))
    if op == "LSTM" and draw.integers(4) == 0:
        about.setdefault("input_forget", 1)
    if op == "GRU" and perhaps():
        about.setdefault("linear_before_reset", 1)
    state = (N, D, H) if about.get("layout") else (D, N, H)
    arrays: list[Array | None] = [
        some(N, T, inputs) if about.get("layout") else some(T, N, inputs), some(D, G * H, inputs), some(D, G * H, H),
        some(D, 2 * G * H) if perhaps() else None,
        draw.integers(0, T + 1, N).astype(np.int32) if perhaps() else None,
        some(*state) if perhaps() else None,
    ]  # fmt: skip
    if op == "LSTM":
        arrays += [some(*state) if perhaps() else None, some(D, 3 * H) if perhaps() else None]
    outputs = tuple(f"y{i}" if perhaps() else "" for i in range(len(FUNCTIONS) - (op != "LSTM")))
    if not any(outputs):
        outputs = ("y0",)
    return Node(op, (), outputs, {"hidden_size": H, **about}, "here", 14), arrays


def agrees(found: Any, wanted: list[Array], node: Node, rtol: float, atol: float) -> None:
    for name, y, right in zip(node.outputs, found, wanted, strict=False):
        if name:
            assert y.shape == right.shape, (node, y.shape, right.shape)
            np.testing.assert_allclose(y.astype(float), right, rtol=rtol, atol=atol, err_msg=str(node))


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("layout", [0, 1])
def test_the_equations_step_by_step(op: str, layout: int) -> None:
    for seed in range(12):
        for dtype, rtol, atol in ((np.float64, 1e-12, 1e-13), (np.float32, 1e-4, 1e-5)):
            node, arrays = drawn(op, seed, dtype, **({"layout": 1} if layout else {}))
            found = OPERATORS[op](node, arrays)
            assert all(y.dtype == dtype for y in found)
            agrees(found, definition(node, *arrays), node, rtol, atol)


@pytest.mark.parametrize("op", GATES)
def test_every_activation_has_its_numbers_in_their_order(op: str) -> None:
    for at in range(len(FORMULAS)):
        names = [list(FORMULAS)[at - i] for i in range(FUNCTIONS[op])]
        numbers = {"activation_alpha": [0.3, 0.7, 0.4], "activation_beta": [0.6, 0.2, 0.9]}
        for about in (numbers, {} if "ScaledTanh" not in names else numbers):
            node, arrays = drawn(op, at, np.float64, direction="forward", activations=names, **about)
            agrees(OPERATORS[op](node, arrays), definition(node, *arrays), node, 1e-12, 1e-13)


# -- by kernels --------------------------------------------------------------------------------------------------------

QUICK = (
    ("RNN", 1, 70, {"direction": "reverse", "activations": ["Relu"]}),
    ("GRU", 1, 130, {"direction": "bidirectional"}),
    ("GRU", 6, 40, {"linear_before_reset": 1, "layout": 1}),
    ("LSTM", 1, 300, {"direction": "reverse"}),
    ("LSTM", 5, 37, {"direction": "bidirectional", "layout": 1, "clip": 0.7, "input_forget": 1}),
)


@pytest.mark.parametrize(("op", "N", "H", "about"), QUICK, ids=range(len(QUICK)))
def test_kernels_take_the_steps(op: str, N: int, H: int, about: dict[str, Any]) -> None:
    """The definition's numbers, whatever is given and asked for; the same bits on any number of threads."""
    D, G, T, I = 2 if about.get("direction") == "bidirectional" else 1, GATES[op], 5, 12
    state = (N, D, H) if about.get("layout") else (D, N, H)
    for everything in (True, False):
        arrays: list[Array | None] = [
            normal(*((N, T, I) if about.get("layout") else (T, N, I))), normal(D, G * H, I, seed=1) / 4,
            normal(D, G * H, H, seed=2) / 8, normal(D, 2 * G * H, seed=3) if everything else None,
            np.full(N, T, np.int32) if everything else None, normal(*state, seed=4) if everything else None,
        ]  # fmt: skip
        if op == "LSTM":
            arrays += [normal(*state, seed=5), normal(D, 3 * H, seed=6)] if everything else [None] * 2
        outputs = ("y", "h", "c") if everything else ("", "h", "")
        node = Node(op, ("x",) * len(arrays), outputs[: 3 if op == "LSTM" else 2], about, "here", 14)
        bits: list[list[bytes]] = []
        found: list[Array] = []
        for count in (1, 3):
            with convmat.threads(count):
                specs = [None if each is None else Spec.of(each) for each in arrays]
                shapes = [
                    s for s, name in zip(OPERATORS[op].shape(node, specs), outputs, strict=False) if name
                ]
                step = recurrent(node, specs, tuple(shapes), Options())
                assert isinstance(step, Rolled)
                found[:] = [np.full(spec.shape, np.nan, spec.dtype) for spec in shapes]
                step(*(each for each in arrays if each is not None), *found)
            bits.append([y.tobytes() for y in found])
        named = [y for y, name in zip(definition(node, *arrays), outputs, strict=False) if name]
        for y, right in zip(found, named, strict=True):
            np.testing.assert_allclose(y, right, rtol=1e-4, atol=2e-5)
        assert bits[0] == bits[1]


@pytest.mark.parametrize("op", ["GRU", "LSTM"])
@pytest.mark.parametrize("steps", [1, 4])
def test_states_that_callers_carry_are_read_and_written_in_one_chain(op: str, steps: int) -> None:
    """As streaming networks have it: all that is machine code runs without coming back to Python."""
    W, R = normal(2, GATES[op] * 64, 32, seed=1) / 4, normal(2, GATES[op] * 64, 64, seed=2) / 8
    states = "h" if op == "GRU" else "h c"
    one = made(
        op,
        f"x W R - - {states}",
        f"y {states.replace(' ', '1 ')}1",
        hidden_size=64,
        direction="bidirectional",
    )
    inputs = {"a": (steps, 1, 32)} | dict.fromkeys(states.split(), (2, 1, 64))
    nodes = [made("Relu", "a", "x"), one, made("Tanh", "y", "z")]
    data = model(nodes, inputs, f"z {states.replace(' ', '1 ')}1", {"W": W, "R": R})
    node = Node(op, (), one.output, {"direction": "bidirectional"}, "", 14)
    for threads in (1, 2):
        with convmat.threads(threads):
            net = convmat.load(data)
            for seed in range(3):
                given = {
                    name: normal(*shape, seed=7 * seed + at)
                    for at, (name, shape) in enumerate(inputs.items())
                }
                found = net(given)
                a, *rest = given.values()
                y, *after = definition(node, np.maximum(a, 0), W, R, None, None, *rest)
                for array, right in zip(found.values(), (np.tanh(y), *after), strict=True):
                    np.testing.assert_allclose(array, right, rtol=1e-4, atol=2e-5)
            specs = {name: Spec(shape, np.dtype(np.float32)) for name, shape in inputs.items()}
            assert [type(each).__name__ for each in net.program(specs).state().work] == ["Chain"]


def test_what_kernels_do_not_take() -> None:
    """Weights that are computed, sequences that end, activations without a kernel; little work they do."""
    X, W, R = (Spec.of(normal(9, 1, 8)), Spec.of(normal(1, 64, 8)), Spec.of(normal(1, 64, 64)))
    shape = (Spec((9, 1, 1, 64), np.dtype(np.float32)),)

    def quick(specs: list[Spec | None], **about: Any) -> bool:
        node = Node("RNN", ("x",) * len(specs), ("y", ""), about, "here", 14)
        return isinstance(recurrent(node, specs, shape, Options()), Rolled)

    assert quick([X, W, R])
    assert not quick([X, W, Spec(R.shape, R.dtype)])
    assert not quick([X, W, R, None, Spec.of(np.array([4], np.int32))])
    assert not quick([X, W, R], activations=["Softsign"])
    assert quick([Spec((1, 1, 8), X.dtype), W, R])
    assert quick([Spec((1, 1, 8), X.dtype), Spec.of(normal(1, 2, 8)), Spec.of(normal(1, 2, 2))])


@pytest.mark.parametrize("op", GATES)
def test_kernels_take_sequences_that_are_told_to_be_whole(op: str) -> None:
    """As exporters of packed sequences write it: lengths are computed, and each call decides."""
    G, N = GATES[op], 2
    X, W, R = normal(7, N, 8), normal(2, G * 64, 8), normal(2, G * 64, 64) / 8
    outputs = "y h c" if op == "LSTM" else "y h"
    cell = made(op, "x W R l lengths", outputs, hidden_size=64, direction="bidirectional")
    cell.input[:] = ["x", "W", "R", "", "lengths"]
    nodes, kinds = [made("Abs", "l", "lengths"), cell], {"l": onnx.TensorProto.INT32}
    net = convmat.load(model(nodes, {"x": X.shape, "l": (N,)}, outputs, {"W": W, "R": R}, kinds=kinds))
    node = Node(op, (), tuple(outputs.split()), {"direction": "bidirectional"}, "", 14)
    for lengths in ([7, 7], [7, 3], [2, 0], [7, 7]):
        ends = np.array(lengths, np.int32)
        for found, right in zip(
            net({"x": X, "l": ends}).values(), definition(node, X, W, R, None, ends), strict=True
        ):
            np.testing.assert_allclose(found, right, rtol=1e-4, atol=2e-5)
    specs = {"x": Spec(X.shape, np.dtype(np.float32)), "l": Spec((N,), np.dtype(np.int32))}
    (step,) = [task.run for task in net.program(specs).tasks if task.node.op == op]
    assert isinstance(step, RolledToTheEnd)


def test_a_network_counts_what_its_kernels_take() -> None:
    W, R = normal(2, 256, 32), normal(2, 256, 64) / 8
    one = made("LSTM", "x W R", "y", hidden_size=64, direction="bidirectional")
    net = convmat.load(model([made("Relu", "a", "x"), one], {"a": (9, 1, 32)}, "y", {"W": W, "R": R}))
    x = normal(9, 1, 32)
    node = Node("LSTM", (), ("y", "", ""), {"direction": "bidirectional"}, "", 14)
    np.testing.assert_allclose(net(x), definition(node, np.maximum(x, 0), W, R)[0], rtol=1e-4, atol=1e-5)
    assert "all steps" in str(net.summary())
    assert net.memory().weights >= W.nbytes + R.nbytes
    assert net.memory().scratch >= 9 * 512 * 4


def test_sequences_end() -> None:
    """Outputs behind the end are 0, the state is the one there."""
    one = np.ones((3, 1, 1), np.float32)
    node = Node("LSTM", (), ("y", "h", "c"), {"hidden_size": 1}, "here", 14)
    y, h, c = OPERATORS["LSTM"](node, [one, np.ones((1, 4, 1), np.float32), np.ones((1, 4, 1), np.float32), None,
                                       np.array([1], np.int32)])  # fmt: skip
    i = 1 / (1 + math.exp(-1))
    np.testing.assert_allclose(y.ravel(), [i * math.tanh(i * math.tanh(1)), 0, 0], rtol=1e-6)
    np.testing.assert_allclose(
        [*h.ravel(), *c.ravel()], [i * math.tanh(i * math.tanh(1)), i * math.tanh(1)], rtol=1e-6
    )


@pytest.mark.parametrize("op", GATES)
def test_sixteen_bits_are_summed_in_float32(op: str) -> None:
    """The result is the float32 one rounded once: many steps do not add up their roundings."""
    import ml_dtypes

    T, H, G = 40, 8, GATES[op]
    for dtype in (np.float16, np.dtype(ml_dtypes.bfloat16)):
        arrays = [
            (normal(*shape, seed=i) / 2).astype(dtype)
            for i, shape in enumerate(((T, 2, 300), (1, G * H, 300), (1, G * H, H), (1, 2 * G * H)))
        ]
        node = Node(op, (), ("y", "h"), {"hidden_size": H}, "here", 22)
        found = OPERATORS[op](node, arrays)
        wide = OPERATORS[op](node, [each.astype(np.float32) for each in arrays])
        for y, right in zip(found, wide, strict=True):
            assert y.dtype == dtype
            np.testing.assert_array_equal(y, right.astype(dtype))


def test_nothing_to_do() -> None:
    """No steps, no sequences, no inputs: zeros and empty arrays."""
    for op, G in GATES.items():
        for T, N, inputs in ((0, 2, 3), (4, 0, 3), (4, 2, 0)):
            node = Node(op, (), ("y", "h"), {"hidden_size": 2}, "here", 14)
            arrays = [normal(T, N, inputs), normal(1, G * 2, inputs), normal(1, G * 2, 2), normal(1, G * 4)]
            agrees(OPERATORS[op](node, arrays), definition(node, *arrays), node, 1e-5, 1e-6)


def test_a_network_of_both_directions() -> None:
    """Weights constant, lengths given with each call: prepared once, right for each."""
    W, R = normal(2, 12, 4), normal(2, 12, 3)
    one = made("LSTM", "x W R - n", "y - c", hidden_size=3, direction="bidirectional")
    net = convmat.load(
        model(
            [one], {"x": (5, 2, 4), "n": (2,)}, "y c", {"W": W, "R": R}, kinds={"n": onnx.TensorProto.INT32}
        )
    )
    node = Node("LSTM", (), ("y", "", "c"), {"direction": "bidirectional"}, "", 14)
    for seed, lens in enumerate(([5, 3], [1, 5], [0, 2])):
        x, n = normal(5, 2, 4, seed=seed), np.array(lens, np.int32)
        found = net({"x": x, "n": n})
        right = definition(node, x, W, R, None, n)
        np.testing.assert_allclose(found["y"], right[0], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found["c"], right[2], rtol=1e-4, atol=1e-5)


# -- what does not fit -------------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_said() -> None:
    X, W, R = Spec((3, 2, 5), np.dtype(np.float32)), normal(1, 16, 5), normal(1, 16, 4)

    def said(*more: Any, **about: Any) -> str:
        specs = [X, *(None if each is None else Spec.of(each) for each in (W, R, *more))]
        with pytest.raises(convmat.NetworkError) as error:
            OPERATORS["LSTM"].shape(Node("LSTM", (), ("y",), about, "here", 14), specs)
        return str(error.value).removeprefix("load: LSTM 'here' cannot run\n")

    assert said(normal(1, 31)) == (
        "  its B is float32[1,31]\n  float32[1,32] is needed: X is float32[3,2,5], hidden_size 4, 1 direction(s)"
    )
    assert said(None, normal(2)) == (
        "  its sequence_lens is float32[2]\n  int32[2] is needed: X is float32[3,2,5], hidden_size 4, 1 direction(s)"
    )
    assert said(direction="both") == (
        "  its direction is 'both' and its layout 0\n  forward, reverse or bidirectional, and 0 or 1 are needed"
    )
    assert said(hidden_size=7) == "  its hidden_size is 7\n  its R float32[1,16,4] has 4"
    assert said(clip=-1.0) == "  its clip is -1.0\n  a bound from 0 on is needed"
    assert said(activations=["Sigmoid", "Tanh"]) == (
        "  its activations are Sigmoid, Tanh\n"
        "  3 for each of 1 direction(s) are needed, e.g. Sigmoid, Tanh, Tanh"
    )
    assert said(activations=["Sigmoid", "Tanh", "Gelu"]) == (
        "  it has the activation 'Gelu'\n  there are Relu, Tanh, Sigmoid, Affine, LeakyRelu, ThresholdedRelu, "
        "ScaledTanh, HardSigmoid, Elu, Softsign, Softplus"
    )
    assert said(activations=["Sigmoid", "ScaledTanh", "Tanh"]) == (
        "  its activation ScaledTanh has no alpha or no beta, and the standard has no default for them\n"
        "  give both, e.g. activation_alpha=[1.7159], activation_beta=[0.6667]"
    )
    given = {"activation_alpha": [1.7159], "activation_beta": [0.6667]}  # the fix
    node = Node("LSTM", (), ("y",), {"activations": ["Sigmoid", "ScaledTanh", "Tanh"], **given}, "here", 14)
    assert OPERATORS["LSTM"].shape(node, [X, Spec.of(W), Spec.of(R)])[0].shape == (3, 1, 2, 4)
    node = Node("LSTM", (), ("y",), {}, "here", 14)
    with pytest.raises(convmat.NetworkError) as error:
        OPERATORS["LSTM"](node, [normal(3, 2, 5), W, R, None, np.array([1, 4], np.int32)])
    assert str(error.value) == (
        "load: LSTM 'here' cannot run\n  its sequence_lens are 1 to 4\n  X has 3 steps: 0 to 3 are needed"
    )


@pytest.mark.slow
@pytest.mark.parametrize("op", GATES)
def test_drawn_nodes_beside_onnxruntime(op: str) -> None:
    asked = 0
    for seed in range(100, 130):
        node, arrays = drawn(op, seed)
        found, theirs = OPERATORS[op](node, arrays), outside(node, *arrays)
        agrees(found, definition(node, *arrays), node, 1e-3, 1e-4)
        if theirs is not None:
            asked += 1
            agrees(found, [y.astype(float) for y in theirs], node, 1e-3, 1e-4)
    assert asked >= 20

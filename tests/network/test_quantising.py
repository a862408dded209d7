"""Networks quantised from examples: which values and layers, their numbers, the file, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

import convmat
from convmat import NetworkError
from convmat.network.quantising.ranges import BINS, Grain, SeenRange, least_error, of_filters
from tests.network.made import model, node, normal
from tests.slips import Slip, hold

Array = npt.NDArray[Any]

W1, B1, W2, W3, W4 = (
    normal(8, 3, 3, 3),
    normal(8, seed=1),
    normal(8, 8, 1, 1, seed=2),
    normal(8, 8, seed=3),
    normal(8, 4, seed=4),
)
GAMMA = np.linspace(0.5, 1.5, 8).astype(np.float32)


def residual(opset: int = 17) -> bytes:
    """Convolutions with normalisation, a sum around one of them, pooling and two dense layers."""
    nodes = [
        node("Conv", "x w1 b1", "a", pads=[1, 1, 1, 1]),
        node("BatchNormalization", "a gamma b1 b1 gamma", "b"),
        node("Relu", "b", "c"),
        node("MaxPool", "c", "d", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", "d w2", "e"),
        node("Add", "e d", "f"),
        node("Relu", "f", "g"),
        node("GlobalAveragePool", "g", "h"),
        node("Flatten", "h", "i"),
        node("Gemm", "i w3 b1", "j", transB=1),
        node("Relu", "j", "k"),
        node("MatMul", "k w4", "l"),
        node("Add", "l b4", "y"),
    ]
    constants = {
        "w1": W1,
        "b1": B1,
        "w2": W2,
        "w3": W3,
        "w4": W4,
        "gamma": GAMMA,
        "b4": np.ones(4, np.float32),
    }
    return model(nodes, {"x": ("n", 3, 8, 8)}, "y", constants, opset=opset)


EXAMPLES = [normal(4, 3, 8, 8, seed=10 + n) for n in range(4)]


def quantised(source: Any = None, batches: Any = None, **words: Any) -> Any:
    words = {"keep_quicker": False, "seconds": 0, **words}
    return convmat.quantize(
        residual() if source is None else source, EXAMPLES if batches is None else batches, **words
    )


def operators(net: convmat.Network) -> list[str]:
    return [each.op for each in net.graph.nodes]


@pytest.mark.parametrize("activations", ["uint8", "int8"])
@pytest.mark.parametrize("method", ["l2.4", "mse", "min-max"])
def test_answers_stay_near(method: str, activations: str) -> None:
    found = quantised(method=method, activations=activations)
    assert [(each.op, each.bits) for each in found.layers] == [
        ("Conv", 8),
        ("Conv", 8),
        ("Gemm", 8),
        ("MatMul", 8),
    ]
    x = normal(16, 3, 8, 8, seed=99)
    wanted, y = convmat.load(residual())(x), found.network(x)
    assert np.linalg.norm(y - wanted) < 0.05 * np.linalg.norm(wanted)
    assert 0 < max(each.error for each in found.layers) < 0.05
    zeros = {a.dtype.name for n, a in found.network.graph.constants.items() if n.startswith("x.zero")}
    assert zeros == {activations}


def test_values_between_layers_are_in_8_bits_once() -> None:
    net = quantised().network
    assert "BatchNormalization" not in operators(net)  # in the weights
    between = {each.inputs[0] for each in net.graph.nodes if each.op == "QuantizeLinear"}
    assert between == {
        "x",
        "c",
        "d",
        "e",
        "g",
        "h",
        "i",
        "k",
    }  # none before a Relu, nor what the network gives
    scales = {each.inputs[0]: each.inputs[1] for each in net.graph.nodes if each.op == "QuantizeLinear"}
    assert scales["c"] == scales["d"]
    assert scales["h"] == scales["i"]


def test_the_file_is_the_standards_and_runs_again(tmp_path: Path) -> None:
    found, path = quantised(), tmp_path / "small.onnx"
    found.network.to_onnx(path)
    onnx.checker.check_model(str(path), full_check=True)
    x = EXAMPLES[0]
    np.testing.assert_array_equal(convmat.load(path)(x), found.network(x))
    plain = convmat.load(path, rewrite=False)(x)
    assert np.linalg.norm(plain - found.network(x)) < 0.01 * np.linalg.norm(plain)


def test_outputs_that_layers_read_keep_their_names(tmp_path: Path) -> None:
    nodes = [node("Conv", "x w1", "a"), node("Relu", "a", "b"), node("Conv", "b w2", "y")]
    source = model(nodes, {"x": (1, 3, 8, 8)}, "b y", {"w1": W1, "w2": W2})
    found = quantised(source, [each[:1] for each in EXAMPLES])
    wanted, y = convmat.load(source)(EXAMPLES[0][:1]), found.network(EXAMPLES[0][:1])
    assert list(y) == ["b", "y"]
    for name in y:
        assert np.linalg.norm(y[name] - wanted[name]) < 0.05 * np.linalg.norm(wanted[name])


def test_old_operator_sets_are_converted() -> None:
    nodes = [node("Conv", "x w1", "a"), node("Relu", "a", "y")]
    found = quantised(model(nodes, {"x": ("n", 3, 8, 8)}, "y", {"w1": W1}, opset=11))
    assert {each.version for each in found.network.graph.nodes} == {13}


def test_concat_and_its_inputs_have_one_scale() -> None:
    nodes = [
        node("Conv", "x w1", "a"), node("Conv", "x w1", "b", strides=[1, 1]), node("Relu", "b", "c"),
        node("Concat", "a c", "d", axis=0), node("Conv", "d w2", "y"),
    ]  # fmt: skip
    net = quantised(model(nodes, {"x": ("n", 3, 8, 8)}, "y", {"w1": W1, "w2": W2})).network
    scales = {each.inputs[0]: each.inputs[1] for each in net.graph.nodes if each.op == "QuantizeLinear"}
    assert scales["a"] == scales["c"] == scales["d"] != scales["x"]


def test_the_gate_of_an_activation_stays_in_float32() -> None:
    nodes = [
        node("Conv", "x w1", "a"), node("Sigmoid", "a", "s"), node("Mul", "a s", "b"), node("Conv", "b w2", "y"),
    ]  # fmt: skip
    net = quantised(model(nodes, {"x": ("n", 3, 8, 8)}, "y", {"w1": W1, "w2": W2})).network
    assert {each.inputs[0] for each in net.graph.nodes if each.op == "QuantizeLinear"} == {"x", "a", "b"}


# -- numbers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high"), [(-1.0, 3.0), (0.5, 2.0), (-3.0, -1.0), (0.0, 0.0), (-1e-30, 1e-30)]
)
@pytest.mark.parametrize("name", ["uint8", "int8"])
def test_grains_hold_0_and_the_ends(name: str, low: float, high: float) -> None:
    grain = Grain.of(low, high, np.dtype(name))
    limits = np.iinfo(name)
    ends = [(n - float(grain.zero)) * float(grain.scale) for n in (limits.min, limits.max)]
    assert grain.zero.dtype == name
    assert ends[0] <= min(low, 0) + float(grain.scale)
    assert ends[1] >= max(high, 0) - float(grain.scale)


def test_weights_by_least_error_are_no_worse_than_by_range() -> None:
    w = np.random.default_rng(0).standard_t(6, (2, 50_000)).astype(np.float32)

    def errors(method: str) -> Array:
        s = of_filters(w, 0, method)[:, None]
        apart = np.clip(np.rint(w / s), -127, 127) * s - w
        return np.asarray((apart**2).sum(1))

    assert np.all(errors("mse") <= errors("min-max"))
    assert errors("mse").sum() < 0.95 * errors("min-max").sum()


def test_outliers_are_cut_where_there_are_many_others() -> None:
    seen = SeenRange(-10.0, 20.0)
    x = np.append(np.random.default_rng(0).standard_normal(200_000).clip(-6, 6), 20.0)
    seen.bins += np.histogram(x, BINS, (-10.0, 20.0))[0]
    low, high = least_error(seen)
    assert -6 < low < -3
    assert 5 < high < 17


def test_bias_correction_takes_off_the_mean_error() -> None:
    w = np.round(normal(6, 400, seed=5) * 8) + 0.4  # rounded down, all of them
    w[:, 0] = 127
    x = [np.abs(normal(32, 400, seed=n)) for n in range(3)]
    source = model([node("Gemm", "x w", "y", transB=1)], {"x": ("n", 400)}, "y", {"w": w.astype(np.float32)})
    wanted = np.concatenate([convmat.load(source)(each) for each in x])
    means = []
    for correct in (True, False):
        net = quantised(source, x, method="min-max", correct_bias=correct).network
        means.append(np.abs((np.concatenate([net(each) for each in x]) - wanted).mean(0)).max())
    assert means[0] < 0.1 * means[1]


def test_dead_channels_and_large_biases() -> None:
    w, b = W1.copy(), B1.copy()
    w[2], b[2] = 0, 1e6
    nodes = [node("Conv", "x w b", "y")]
    source = model(nodes, {"x": ("n", 3, 8, 8)}, "y", {"w": w, "b": b})
    y, wanted = quantised(source).network(EXAMPLES[0]), convmat.load(source)(EXAMPLES[0])
    np.testing.assert_allclose(y[:, 2], 1e6, rtol=1e-6)
    assert np.linalg.norm(y[:, 3] - wanted[:, 3]) < 0.05 * np.linalg.norm(wanted[:, 3])


# -- what stays in float32 ---------------------------------------------------------------------------------------------


def test_layers_are_kept_by_name() -> None:
    found = quantised(keep=["Conv_a", "Gemm*"])
    assert [(each.bits, each.why) for each in found.layers] == [
        (32, "kept by name"), (8, ""), (32, "kept by name"), (8, "")
    ]  # fmt: skip
    assert found.layers[0].error == 0


def test_an_example_with_hardly_any_output_does_not_decide_alone() -> None:
    source = model([node("Conv", "x w1", "y")], {"x": ("n", 3, 8, 8)}, "y", {"w1": W1})
    nothing = [np.full((1, 3, 8, 8), 1e-4, np.float32)]  # less than half a step of x: all of it is lost
    found = convmat.quantize(source, EXAMPLES, keep_quicker=False, seconds=0)
    beside = convmat.quantize(source, [*EXAMPLES, *nothing], keep_quicker=False, seconds=0)
    assert abs(beside.drop - found.drop) < 0.1 * found.drop


def test_sensitive_layers_are_kept_until_the_answers_change_little() -> None:
    w = W2.copy()
    w[0] *= np.array([1e3, *[1] * 7], np.float32)[:, None, None]  # one channel that hides the others
    nodes = [node("Conv", "x w1", "a"), node("Conv", "a w", "b"), node("Conv", "b w2", "y")]
    source = model(nodes, {"x": ("n", 3, 8, 8)}, "y", {"w1": W1, "w": w, "w2": W2})
    whole = quantised(source, method="min-max")
    limit = 0.8 * whole.drop
    found = quantised(source, method="min-max", max_drop=limit)
    assert found.drop <= limit < whole.drop
    assert 0 < found.quantised < 3
    assert {each.why for each in found.layers if each.bits == 32} == {"sensitive"}
    with pytest.raises(NetworkError, match="any layer in 8 bits changes the answers by more than max_drop"):
        quantised(source, max_drop=1e-9)


def test_the_drop_of_scores_is_that_of_the_best_class() -> None:
    found = quantised()
    x = np.concatenate(EXAMPLES)
    other = found.network(x).argmax(1) != convmat.load(residual())(x).argmax(1)
    assert (found.measure, found.drop, found.examples) == ("best class", other.mean(), 16)


def test_sums_that_may_pass_int32_stay_in_float32() -> None:
    w = normal(2, 40_000)
    nodes = [node("Gemm", "x w", "a", transB=1), node("Gemm", "a v", "y")]
    source = model(
        nodes,
        {
            "x": ("n", 40_000),
        },
        "y",
        {"w": w, "v": normal(2, 3)},
    )
    found = quantised(source, [normal(2, 40_000, seed=1)])
    assert [each.why for each in found.layers] == ["sums may pass int32", ""]


def test_weights_that_are_not_finite_stay_in_float32() -> None:
    v = normal(3, 2)
    v[1, 1] = np.inf
    source = model([node("MatMul", "x w", "y"), node("MatMul", "x v", "z")], {"x": ("n", 3)}, "y z", {
        "w": normal(3, 5), "v": v,
    })  # fmt: skip
    found = quantised(source, [np.abs(normal(4, 3, seed=1)) + 1])
    assert [each.why for each in found.layers] == ["", "its weights are not finite"]


def test_transposed_convolutions_are_layers_too() -> None:
    nodes = [
        node("Conv", "x w1 b1", "a", pads=[1, 1, 1, 1]),
        node("ConvTranspose", "a w2 b2", "b", strides=[2, 2]),
        node("Relu", "b", "y"),
    ]
    constants = {"w1": W1, "b1": B1, "w2": normal(8, 5, 2, 2, seed=5), "b2": normal(5, seed=6)}
    examples = [normal(4, 3, 8, 11, seed=each) for each in range(4)]  # as wide as no array has channels
    found = quantised(model(nodes, {"x": ("n", 3, 8, 11)}, "y", constants), examples)
    assert [(each.op, each.bits) for each in found.layers] == [("Conv", 8), ("ConvTranspose", 8)]
    assert found.drop < 0.03
    assert "IntegerConvTranspose" in str(found.network.with_shapes(n=4).summary())


def test_the_table_has_times_where_they_are_measured() -> None:
    found = quantised(seconds=0.01)
    assert all(each.before and each.after for each in found.layers)
    assert "times as fast" in str(found)
    assert found.as_dict()["layers"][0]["seconds_before"] == found.layers[0].before


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("batches", "said"),
    [
        ([], "there are no examples\n  0 batches"),
        ([normal(0, 3, 8, 8)], "there are no examples\n  1 batches"),
        ([EXAMPLES[0], normal(1, 3, 8)], "example 1 does not fit the network\n"),
        ([EXAMPLES[0].astype(int)], "example 0 does not fit the network\n"),
        ([EXAMPLES[0], np.full((1, 3, 8, 8), np.nan, np.float32)], "192 of 192 in 'x', the first at (0, 0, 0, 0)"),
        (7, "the examples are no sequence"),
        ([np.full((1, 3, 8, 8), 3e38, np.float32)], "the network computes numbers that are not finite"),
        ([normal(1, 4, 8, 8)], "example 0 does not fit the network\n  Conv"),
        ([EXAMPLES[0], normal(1, 4, 8, 8)], "example 1 does not fit the network\n"),
    ],
)  # fmt: skip
def test_bad_examples_are_refused(batches: Any, said: str) -> None:
    with pytest.raises(NetworkError) as error:
        quantised(batches=batches)
    assert said in str(error.value)


SLIPS = {
    "no layers": Slip(
        "quantize(relu, photos)",
        "quantize: there is nothing to quantise in this network\n"
        "  1 nodes, none of them a Conv, ConvTranspose, Gemm or MatMul of float32 by constant weights\n"
        "  give one that has some",
        "quantize(net, photos)",
    ),
    "all layers kept": Slip(
        "quantize(net, photos, keep='*')",
        "quantize: no layer is left to quantise\n  all 1 stay in float32: kept by name\n  keep fewer",
        "quantize(net, photos, keep=())",
    ),
    "a name of no layer": Slip(
        "quantize(net, photos, keep='head')",
        "quantize: no layer has a name like that\n  keep = 'head'\n  the layers: Conv_y",
        "quantize(net, photos, keep=())",
    ),
    "quantised already": Slip(
        "quantize(quantize(net, photos).network, photos)",
        "quantize: the network is quantised already\n"
        "  QuantizeLinear 'x.quantized/QuantizeLinear' is one of its nodes\n"
        "  give the one in float32 that it was made of",
        "quantize(net, photos)",
    ),
    "no examples": Slip(
        "quantize(net, [])",
        "quantize: there are no examples\n"
        "  0 batches, no element in them\n"
        "  give arrays that the network takes, some dozens of them",
        "quantize(net, photos)",
    ),
    "examples without elements": Slip(
        "quantize(net, [photos[0][:0]])",
        "quantize: there are no examples\n"
        "  1 batches, no element in them\n"
        "  give arrays that the network takes, some dozens of them",
        "quantize(net, photos)",
    ),
    "a method of another name": Slip(
        "quantize(net, photos, method='best')",
        "quantize: method must be one of l2.4, mse, min-max\n  method = 'best'\n  e.g. method='l2.4'",
        "quantize(net, photos, method='l2.4')",
    ),
    "activations of four bits": Slip(
        "quantize(net, photos, activations='int4')",
        "quantize: activations must be one of uint8, int8\n"
        "  activations = 'int4'\n"
        "  e.g. activations='uint8'",
        "quantize(net, photos, activations='uint8')",
    ),
    "a drop below nothing": Slip(
        "quantize(net, photos, max_drop=-1)",
        "quantize: max_drop must be a number from 0 on\n  max_drop = -1\n  e.g. max_drop=0.01",
        "quantize(net, photos, max_drop=0.9)",
    ),
    "seconds without end": Slip(
        "quantize(net, photos, seconds=inf)",
        "quantize: seconds must be a number from 0 on\n  seconds = inf\n  e.g. seconds=0.01",
        "quantize(net, photos, seconds=0.01)",
    ),
}


@pytest.mark.parametrize("name", SLIPS)
def test_what_is_suggested_works(name: str) -> None:
    conv = model([node("Conv", "x w", "y")], {"x": ("n", 3, 8, 8)}, "y", {"w": normal(4, 3, 3, 3)})
    relu = model([node("Relu", "x", "y")], {"x": ("n", 3, 8, 8)}, "y")
    hold(
        SLIPS[name], net=convmat.load(conv), relu=convmat.load(relu), photos=[normal(4, 3, 8, 8)], inf=np.inf
    )


@pytest.mark.outside
def test_others_compute_the_same(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    found, path = quantised(), tmp_path / "small.onnx"
    found.network.to_onnx(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for x in EXAMPLES:
        (theirs,), ours = session.run(None, {"x": x}), found.network(x)
        assert np.linalg.norm(theirs - ours) < 0.01 * np.linalg.norm(theirs)

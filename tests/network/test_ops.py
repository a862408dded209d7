"""What the standard's own cases leave out: older operator sets, arrays of many blocks, shapes that lie."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest

import convmat
from convmat.network.graph import Node, Spec
from convmat.network.ops import OPERATORS, Options, Unknown
from convmat.network.ops.base import specs_of
from convmat.network.ops.blocks import BYTES, blockwise, cut_slabs
from convmat.network.ops.resize import _scale_extent

from .cases import Array
from .made import model, normal
from .made import node as made_node


def node(op: str, version: int = 22, outputs: int = 1, **attributes: Any) -> Node:
    return Node(op, (), tuple(f"y{i}" for i in range(outputs)), attributes, "here", version)


def run(made: Node, *arrays: Array | None) -> Any:
    found = OPERATORS[made.op](made, arrays)
    return found[0] if len(made.outputs) == 1 else found


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


# -- older operator sets -----------------------------------------------------------------------------------------------


def test_operands_began_at_an_axis() -> None:
    x, channels = np.abs(normal(2, 3, 4, 5)), normal(3)
    for op, ufunc in (("Add", np.add), ("Mul", np.multiply), ("Div", np.divide), ("Pow", np.power)):
        found = run(node(op, 6, broadcast=1, axis=1), x, channels)
        np.testing.assert_array_equal(found, ufunc(x, channels[:, None, None]))
    x = -x
    np.testing.assert_array_equal(
        run(node("PRelu", 6), x, channels), np.where(x < 0, x * channels[:, None, None], x)
    )


def test_softmax_was_over_all_axes_behind() -> None:
    x = normal(2, 3, 4)
    both = run(node("Softmax", 11), x)
    np.testing.assert_allclose(both.sum((1, 2)), [1, 1], rtol=1e-6)
    np.testing.assert_allclose(run(node("Softmax", 13, axis=1), x).sum(1), np.ones((2, 4)), rtol=1e-6)


def test_inputs_that_were_attributes() -> None:
    x = normal(3, 4)
    np.testing.assert_array_equal(run(node("Clip", 6, min=-0.5, max=0.5), x), np.clip(x, -0.5, 0.5))
    np.testing.assert_array_equal(run(node("Slice", 9, starts=(1,), ends=(-1,), axes=(1,)), x), x[:, 1:-1])
    np.testing.assert_array_equal(
        run(node("Pad", 10, pads=(0, 1, 0, 2), value=7.0), x), np.pad(x, ((0, 0), (1, 2)), constant_values=7)
    )
    np.testing.assert_array_equal(run(node("Unsqueeze", 11, axes=(0, 3)), x), x[None, :, :, None])
    np.testing.assert_array_equal(run(node("Squeeze", 11), x[None]), x)
    np.testing.assert_array_equal(run(node("ReduceMean", 17, axes=(1,), keepdims=0), x), x.mean(1))
    np.testing.assert_array_equal(run(node("ReduceSum", 11), x), x.sum(keepdims=True))
    first, second = run(node("Split", 11, 2, axis=1, split=(1, 3)), x)
    np.testing.assert_array_equal(np.concatenate([first, second], 1), x)
    values, places = run(node("TopK", 9, 2, k=2), x)
    np.testing.assert_array_equal(values, np.take_along_axis(x, places, 1))
    values, places = run(node("TopK", 9, 2, k=1), x[:, :1])
    np.testing.assert_array_equal(values, x[:, :1])
    assert places.tolist() == [[0]] * len(x)
    np.testing.assert_array_equal(run(node("Upsample", 7, scales=(1.0, 2.0)), x), x.repeat(2, 1))


def test_normalisation_by_running_means_has_one_output() -> None:
    """Before operator set 14 `momentum` says nothing about training: wanting the measured means does."""
    x, scale, bias, mean, variance = normal(4, 3, 5), *(normal(3, seed=s) ** 2 + 0.1 for s in range(4))
    fixed = (x - mean[:, None]) / np.sqrt(variance + 1e-5)[:, None] * scale[:, None] + bias[:, None]
    arrays = (x, scale, bias, mean, variance)
    np.testing.assert_allclose(
        run(node("BatchNormalization", 9, momentum=0.9), *arrays), fixed, rtol=1e-4, atol=1e-5
    )
    y, after, *_ = run(node("BatchNormalization", 9, 5, momentum=0.9), *arrays)
    np.testing.assert_allclose(y.mean((0, 2)), bias, atol=1e-5)
    np.testing.assert_allclose(after, mean * 0.9 + x.mean((0, 2)) * 0.1, rtol=1e-5, atol=1e-6)


def test_extents_of_long_signals_are_counted_exactly() -> None:
    """float32 counts to 2^24 alone; a third as float32 has it times 30 falls short of 10."""
    assert [_scale_extent(n, s) for n, s in ((57_600_001, 2.0), (30, float(np.float32(1 / 3))), (57_600_001, 0.5))] == [
        115_200_002, 10, 28_800_000
    ]  # fmt: skip


@pytest.mark.parametrize(("version", "shift"), [(10, 0.0), (11, 0.5)])
def test_coordinates_of_resized_images(version: int, shift: float) -> None:
    """Corners were aligned at 0; since operator set 11 the middles of pixels are."""
    x = np.arange(8.0, dtype=np.float32).reshape(1, 1, 1, 8)
    scales = np.array([1, 1, 1, 2], np.float32)
    inputs = (x, scales) if version == 10 else (x, None, scales)
    at = (np.arange(16) + shift) / 2 - shift
    np.testing.assert_allclose(
        run(node("Resize", version, mode="linear"), *inputs).ravel(), np.clip(at, 0, 7)
    )


# -- many blocks -------------------------------------------------------------------------------------------------------

LARGE = normal(2, 3, 150, 301)  # several blocks, none of them even


@pytest.mark.parametrize(
    "op",
    [
        "Sigmoid",
        "Gelu",
        "Elu",
        "HardSwish",
        "Softplus",
        "Mish",
        "LeakyRelu",
        "Softmax",
        "Erf",
        "LRN",
        "Clip",
        "Relu",
    ],
)
def test_blocks_make_the_whole(op: str) -> None:
    made = node(op, size=3) if op == "LRN" else node(op)
    specs = [Spec(LARGE.shape, LARGE.dtype)]
    operator = OPERATORS[op]
    assert operator.prepare is not None
    step, y = (
        operator.prepare(made, specs, tuple(operator.shape(made, specs)), Options()),
        np.empty_like(LARGE),
    )
    assert step is not None
    step(LARGE, y)
    small = [run(made, each[None]) for each in LARGE]
    np.testing.assert_allclose(y, np.concatenate(small), rtol=1e-6, atol=1e-7)
    if operator.in_place:
        x = LARGE.copy()
        step(x, x)
        np.testing.assert_array_equal(x, y)


def test_blocks_cover_everything_once() -> None:
    for shape, keep in (
        ((3, 5, 7), 0),
        ((2, 3, 500, 501), 2),
        ((2, 70_000), 0),
        ((2, 2, 70_000), 1),
        ((), 0),
        ((0, 3), 1),
    ):
        seen = np.zeros(shape, int)
        for index in cut_slabs(shape, 4, keep):
            seen[index] += 1
            assert keep or seen[index].nbytes <= 4 * BYTES
        assert (seen == 1).all()


def test_several_inputs_that_broadcast() -> None:
    a, b, out = LARGE, normal(3, 1, 301), np.empty_like(LARGE)
    blockwise(np.multiply, out, a, b)
    np.testing.assert_array_equal(out, a * b)
    blockwise(np.add, out, out, np.array(1, np.float32))
    np.testing.assert_array_equal(out, a * b + 1)


@pytest.mark.parametrize(("dtype", "units"), [(np.float64, 8), (np.float32, 4)])
def test_the_error_function(dtype: Any, units: int) -> None:
    """Within a few units in the last place, odd, and 0 at 0."""
    grid: list[Array] = [np.linspace(-6, 6, 4001), np.logspace(-30, 0, 301), np.array([np.inf, 0.5, 40.0])]
    x = np.concatenate(grid).astype(dtype)
    wanted = np.array([math.erf(v) for v in x])
    found = run(node("Erf"), x)
    np.testing.assert_allclose(found, wanted, rtol=units * float(np.finfo(dtype).eps), atol=0)
    np.testing.assert_array_equal(run(node("Erf"), -x), -found)
    zeros = run(node("Erf"), np.array([0.0, -0.0], dtype))
    assert not zeros.any()
    assert np.signbit(zeros).tolist() == [False, True]


def test_gelu_keeps_the_digits_of_its_tail() -> None:
    x = np.array([-9.0, -5.0, -3.0, -1.0, 0.0, 1e-6, 2.0, 20.0])
    exact = np.array([0.5 * v * math.erfc(-v / math.sqrt(2)) for v in x])
    inner = [math.sqrt(2 / math.pi) * (v + 0.044715 * v**3) for v in x]
    rough = np.array([v / (1 + math.exp(-2 * u)) for v, u in zip(x, inner, strict=True)])
    for approximate, wanted in (("none", exact), ("tanh", rough)):
        found = run(node("Gelu", approximate=approximate), x.astype(np.float32))
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=0)


def test_windows_with_ceilings_and_margins() -> None:
    """Every window by itself, beside boxes taken axis after axis."""
    x = normal(1, 2, 9, 8)
    attributes: dict[str, Any] = {
        "kernel_shape": (3, 2),
        "strides": (2, 3),
        "dilations": (1, 2),
        "pads": (1, 0, 2, 1),
        "ceil_mode": 1,
    }
    padded = np.pad(x, ((0, 0), (0, 0), (1, 9), (0, 9)), constant_values=np.nan)
    means, most = run(node("AveragePool", 22, **attributes), x), run(node("MaxPool", 22, **attributes), x)
    for i, j in np.ndindex(*means.shape[2:]):
        window = padded[:, :, 2 * i : 2 * i + 3, 3 * j : 3 * j + 3 : 2]
        np.testing.assert_allclose(means[:, :, i, j], np.nanmean(window, (2, 3)), rtol=1e-6, atol=1e-7)
        np.testing.assert_array_equal(most[:, :, i, j], np.nanmax(window, (2, 3)))


# -- shapes that lie ---------------------------------------------------------------------------------------------------


def said(made: Node, *arrays: Any) -> str:
    specs = [a if a is None or isinstance(a, Spec) else Spec.of(a) for a in arrays]
    with pytest.raises(convmat.NetworkError) as error:
        OPERATORS[made.op].shape(made, specs)
    return str(error.value)


X = Spec((2, 3, 8, 8), np.dtype(np.float32))


def test_errors_name_the_node_and_its_values() -> None:
    assert said(node("Add"), X, Spec((5,), X.dtype)) == (
        "load: Add 'here' cannot run\n  its inputs of shapes 2x3x8x8 and 5 do not broadcast"
    )
    assert said(node("Reshape"), X, ints(7, -1)) == (
        "load: Reshape 'here' cannot run\n  its shape (7, -1) does not fit its input\n"
        "  float32[2,3,8,8] has 384 elements"
    )
    assert said(node("MaxPool", kernel_shape=(9, 9)), X) == (
        "load: MaxPool 'here' cannot run\n  its window is wider than the padded input\n  9 of 0 + 8 + 0"
    )
    assert (
        said(node("Concat", axis=4), X, X)
        == "load: Concat 'here' cannot run\n  axis 4 of an array with 4 axes"
    )
    assert said(node("MatMul"), X, Spec((7, 2), X.dtype)) == (
        "load: MatMul 'here' cannot run\n  its inputs float32[2,3,8,8] and float32[7,2] are no product\n"
        "  (..., m, k) @ (..., k, n) is needed"
    )
    assert said(node("Resize"), X, None, np.array([1, 1, 0, np.nan], np.float32)) == (
        "load: Resize 'here' cannot run\n  its scales or sizes are [1.0, 1.0, 0.0, nan]\n  numbers above 0 are needed"
    )
    assert said(node("Squeeze"), X, ints(0)) == (
        "load: Squeeze 'here' cannot run\n  its axes (0,) are not all of extent 1\n  float32[2,3,8,8]"
    )


@pytest.mark.parametrize(
    ("made", "more", "elements"),
    [
        (node("Expand"), (ints(10**6, 10**6, 2, 3, 8, 8),), 10**12 * 384),
        (node("Tile"), (ints(1, 1, 10**9, 10**9),), 384 * 10**18),
        (node("Pad", pads=()), (ints(0, 0, 0, 10**15, 0, 0, 0, 0),), 2 * 3 * 8 * (10**15 + 8)),
        (node("Resize"), (None, None, ints(2, 3, 10**9, 10**9)), 6 * 10**18),
        (node("MaxPool", kernel_shape=(1, 1), pads=(10**12,) * 4), (), 6 * (2 * 10**12 + 8) ** 2),
    ],
)
def test_shapes_are_told_before_memory_is_taken(
    made: Node, more: tuple[Array | None, ...], elements: int
) -> None:
    (spec, *_) = OPERATORS[made.op].shape(made, [X, *specs_of(more)])
    assert spec.size == elements


def test_shapes_that_depend_on_values_are_unknown() -> None:
    asked = Spec((4,), np.dtype(np.int64))
    for op in ("Reshape", "Expand", "Tile", "Pad", "Unsqueeze"):
        with pytest.raises(Unknown):
            OPERATORS[op].shape(node(op), [X, asked])
    with pytest.raises(Unknown):
        OPERATORS["ConstantOfShape"].shape(node("ConstantOfShape"), [asked])


# -- means, exactly ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [1234.5, 0.1, -1e6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("made", "weights"),
    [
        (node("InstanceNormalization"), 3),
        (node("GroupNormalization", 21, num_groups=3), 3),
        (node("LayerNormalization", axis=2), 0),
        (node("MeanVarianceNormalization"), -1),
        (node("BatchNormalization", 15, training_mode=1), 3),
    ],
    ids=lambda each: each.op if isinstance(each, Node) else "",
)
def test_what_is_constant_is_normalised_to_nothing(
    made: Node, weights: int, dtype: Any, value: float
) -> None:
    x: Array = np.full((2, 3, 7, 11), value, dtype)
    scale: list[Array] = (
        [] if weights < 0 else [np.ones(weights or (7, 11), dtype), np.zeros(weights or (7, 11), dtype)]
    )
    more: list[Array] = [np.zeros(3, dtype), np.ones(3, dtype)] if made.op == "BatchNormalization" else []
    assert not run(made, x, *scale, *more).any()


def test_a_channel_far_from_nothing_keeps_its_digits() -> None:
    """Mean 1234.5, deviation 0.01: with the mean rounded to float32 first, half the digits are wrong."""
    x = (1234.5 + 0.01 * normal(1, 2, 64, 64).astype(np.float64)).astype(np.float32)
    wide, by = x.astype(np.float64), np.ones(2, np.float32)
    about = wide - wide.mean((2, 3), keepdims=True)
    wanted = about / np.sqrt((about**2).mean((2, 3), keepdims=True) + 1e-5)
    for made in (node("InstanceNormalization"), node("GroupNormalization", 21, num_groups=2)):
        np.testing.assert_allclose(run(made, x, by, 0 * by), wanted, rtol=0, atol=2e-6)
    mean, variance = wide.mean((0, 2, 3)), (about**2).mean((0, 2, 3))
    arrays = (x, by, 0 * by, mean, variance)  # the means in float64, as the standard allows
    np.testing.assert_allclose(run(node("BatchNormalization", 15), *arrays), wanted, rtol=0, atol=2e-6)


def test_the_means_that_a_layer_normalization_gives() -> None:
    x, scale = normal(4, 6), np.ones(6, np.float32)
    for dtype in (np.float32, np.float64):
        y, mean, inverse = run(node("LayerNormalization", 17, 3), x.astype(dtype), scale.astype(dtype))
        assert (y.dtype, mean.dtype, inverse.dtype) == (dtype, np.float32, np.float32)
        np.testing.assert_allclose(mean, x.mean(1, keepdims=True), rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(inverse, 1 / np.sqrt(x.var(1, keepdims=True) + 1e-5), rtol=1e-6)
    assert said(node("LayerNormalization", stash_type=7), X, X) == (
        "load: LayerNormalization 'here' cannot run\n  its stash_type is 7\n  one of 1, 11, 16 is taken"
    )


# -- windows -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [0, 1])
def test_maxima_and_their_places_by_the_definition(order: int) -> None:
    """NaN is kept and found, -infinity too, the first of equals in C order, whatever order indices count in."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 3, (2, 2, 6, 5)).astype(np.float32)
    x[0, 0, 2, 1] = x[0, 0, 2, 2] = x[1, 1, 5, 4] = np.nan
    x[1, 0] = -np.inf
    made = node("MaxPool", 22, 2, kernel_shape=(3, 2), strides=(2, 1), pads=(1, 1, 1, 1), storage_order=order)
    most, places = run(made, x)
    for b, c, i, j in np.ndindex(*most.shape):
        inside = [
            (h, w)
            for h in range(2 * i - 1, 2 * i + 2)
            for w in range(j - 1, j + 1)
            if 0 <= h < 6 and 0 <= w < 5
        ]
        values = [float(x[b, c, h, w]) for h, w in inside]
        best = next((n for n, v in enumerate(values) if math.isnan(v)), values.index(max(values)))
        h, w = inside[best]
        np.testing.assert_equal(float(most[b, c, i, j]), values[best])
        assert places[b, c, i, j] == (b * 2 + c) * 30 + (w * 6 + h if order else h * 5 + w)


@pytest.mark.parametrize("shape", [(1, 1, 1000, 1000), (1, 1, 1, 100_000)])
def test_averages_of_many_are_as_good_as_pairwise_sums(shape: tuple[int, ...]) -> None:
    x = np.abs(normal(*shape))
    wanted = x.astype(np.float64).mean()
    for found in (run(node("AveragePool", kernel_shape=shape[2:]), x), run(node("GlobalAveragePool"), x)):
        assert float(found.item()) == pytest.approx(wanted, rel=4e-7)


# -- sizes of whole numbers --------------------------------------------------------------------------------------------

WHOLE = [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.uint64, np.int64]


@pytest.mark.parametrize("dtype", WHOLE)
@pytest.mark.parametrize(
    "attributes",
    [
        {"mode": "linear"},
        {"mode": "cubic"},
        {"mode": "cubic", "exclude_outside": 1},
        {"mode": "linear", "antialias": 1},
        {"mode": "cubic", "antialias": 1},
    ],
    ids=str,
)
def test_whole_numbers_are_rounded_once_and_kept_in_range(dtype: Any, attributes: dict[str, Any]) -> None:
    """Steps between the least and the most, along both axes, larger and smaller."""
    limits = np.iinfo(dtype)
    steps = np.array([limits.min, limits.max, limits.max // 3], dtype)
    x = steps[np.random.default_rng(0).integers(0, 3, (1, 1, 9, 8))]
    scales = np.array([1, 1, 1.7, 0.6] if "antialias" in attributes else [1, 1, 1.7, 2.3], np.float32)
    found = run(node("Resize", 19, **attributes), x, None, scales)
    exact = run(node("Resize", 19, **attributes), x.astype(np.longdouble), None, scales)
    assert found.dtype == dtype
    off = np.abs(found.astype(np.longdouble) - np.clip(exact, limits.min, limits.max))
    # the sums round where numbers are large
    assert (
        off.max()
        <= 0.5 + limits.max * float(np.finfo(np.float64 if limits.bits < 64 else np.longdouble).eps) * 64
    )


def test_a_step_between_bytes_enlarged() -> None:
    x = np.array([0, 255], np.uint8).reshape(1, 1, 1, 2)
    for made in (node("Resize", 13, mode="cubic"), node("Resize", 19, mode="cubic", exclude_outside=1)):
        y = run(made, x, None, np.array([1, 1, 1, 4], np.float32)).ravel()
        assert (y[0], y[-1]) == (0, 255)
        assert (np.diff(y.astype(int)) >= 0).all()
    assert run(node("Upsample", 9, mode="linear"), x, np.array([1, 1, 1, 2], np.float32)).tolist() == [
        [[[0, 128, 255, 255]]]
    ]
    crop = node(
        "Resize",
        13,
        mode="linear",
        coordinate_transformation_mode="tf_crop_and_resize",
        extrapolation_value=300.0,
    )
    region = np.array([0, 0, 0, -2, 1, 1, 1, 2], np.float32)
    y = run(crop, x, region, np.array([1, 1, 1, 4], np.float32))
    assert y.ravel()[0] == 255


# -- element types that NumPy lacks, and texts -------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["MatMul", "Gemm"])
def test_products_of_bfloat16_stay_so_when_shapes_come_late(op: str) -> None:
    a = np.arange(6).astype(ml_dtypes.bfloat16).reshape(2, 3)
    nodes = [made_node("Reshape", "a s", "r"), made_node(op, "r b", "y")]
    kinds = {"s": onnx.TensorProto.INT64}
    source = model(
        nodes, {"a": (6,), "s": (2,)}, "y", {"b": a.T}, dtype=onnx.TensorProto.BFLOAT16, kinds=kinds
    )
    found = convmat.load(source)({"a": a.ravel(), "s": np.array([2, 3])})
    assert found.dtype == a.dtype
    np.testing.assert_array_equal(found.astype(float), [[5, 14], [14, 50]])


def test_texts_are_objects() -> None:
    """From constants, conversions, inputs, operators of our own and of the reference alike."""
    nodes = [
        made_node("Constant", "", "constant", value_strings=["x", "y"]),
        made_node("Cast", "numbers", "cast", to=onnx.TensorProto.STRING),
        made_node("Identity", "words", "same"),
        made_node("StringConcat", "words constant", "joined"),
        made_node("Concat", "joined cast", "all", axis=0),
    ]
    source = model(
        nodes, {"words": (2,)}, "constant cast same joined all", {"numbers": np.array([1.5, 2], np.float32)},
        dtype=onnx.TensorProto.STRING, opset=20,
    )  # fmt: skip
    found = convmat.load(source)(np.array(["a", "b"], object))
    assert all(array.dtype == object for array in found.values())
    assert found["all"].tolist() == ["ax", "by", "1.5", "2"]


@pytest.mark.parametrize("word", ["NOTSET", "SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize(
    ("stride", "extent", "wanted"),
    [
        (4, None, [1, 2, 0, 0, 10, 20, 0, 0, 100, 200, 0, 0]),
        (2, 9, [1, 2, 10, 20, 100, 200, 0, 0, 0]),
        (2, 7, [1, 2, 10, 20, 100, 200, 0]),
    ],
)
def test_transposed_convolutions_end_in_what_no_window_reaches(
    word: str, stride: int, extent: int | None, wanted: list[int]
) -> None:
    x, w = np.array([[[1, 10, 100]]], np.float32), np.array([[[1, 2]]], np.float32)
    attributes: dict[str, Any] = {"strides": (stride,), "auto_pad": word}
    if extent is not None:
        attributes["output_shape"] = (extent,)
    elif word == "NOTSET":
        wanted = wanted[:10]
    assert run(node("ConvTranspose", 11, **attributes), x, w).ravel().tolist() == wanted


@pytest.mark.parametrize("dtype", WHOLE)
def test_whole_numbers_divide_and_average_exactly(dtype: Any) -> None:
    """Towards zero, at the ends of the range too; sums and products wrap as the machine's do."""
    limits = np.iinfo(dtype)
    x = np.array([[limits.min, limits.min, 0, 7], [limits.max, limits.max, limits.max - 1, 3]], dtype)
    wanted = [int(abs(sum(row)) // 4) * (-1 if sum(row) < 0 else 1) for row in x.tolist()]
    assert run(node("ReduceMean", 18, keepdims=0), x, ints(1)).tolist() == wanted
    divisor = np.array(3, dtype)
    assert run(node("Div"), x, divisor).tolist() == [
        [abs(v) // 3 * (-1 if v < 0 else 1) for v in row] for row in x.tolist()
    ]
    assert run(node("ReduceLogSumExp", 18, keepdims=0), np.full((1, 4), 5, dtype), ints(1)).tolist() == [6]
    if limits.min < 0:
        low = x[0, :1]
        assert run(node("Abs"), low).tolist() == run(node("Neg"), low).tolist() == [limits.min]
        assert run(node("Div"), low, np.array([-1], dtype)).tolist() == [limits.min]
        assert run(node("Mod", fmod=1), low, np.array([-3], dtype)).tolist() == [math.fmod(limits.min, -3)]
        assert run(node("Mod"), np.array([-7, 7], dtype), np.array([3, -3], dtype)).tolist() == [2, -2]


def test_transposed_windows_side_by_side_with_a_bias_that_is_computed() -> None:
    """Constant filters large enough that pixels are interleaved by a kernel, were the bias known too."""
    x, w, b = (normal(*shape) for shape in ((2, 16, 64, 72), (16, 8, 2, 2), (8,)))
    nodes = [made_node("ConvTranspose", "x w b", "y", strides=[2, 2])]
    net = convmat.load(model(nodes, {"x": x.shape, "b": b.shape}, "y", {"w": w}))
    wanted = np.einsum("bchw,coij->bohiwj", x, w).reshape(2, 8, 128, 144) + b[:, None, None]
    np.testing.assert_allclose(net({"x": x, "b": b}), wanted, rtol=0, atol=1e-4)


def test_sums_of_single_elements_are_of_the_functions_of_them() -> None:
    """As the standard has it where a node reduces along no axis: what a node does to each element is done."""
    x = np.array([[1.0, -2.0], [3.0, 0.5]])
    wanted = {
        "ReduceSum": x, "ReduceMean": x, "ReduceProd": x, "ReduceMax": x, "ReduceMin": x, "ReduceL1": np.abs(x),
        "ReduceL2": np.abs(x), "ReduceSumSquare": x * x, "ReduceLogSumExp": x,
    }  # fmt: skip
    for op, y in wanted.items():
        for keepdims in (0, 1):
            made = node(op, 18, noop_with_empty_axes=1, keepdims=keepdims)
            np.testing.assert_allclose(run(made, x), y, rtol=1e-14)
            np.testing.assert_allclose(run(made, x, ints()), y, rtol=1e-14)
    np.testing.assert_array_equal(
        run(node("ReduceLogSum", 18, noop_with_empty_axes=1), np.abs(x)), np.log(np.abs(x))
    )


@pytest.mark.parametrize("kind", [np.int64, np.int32])
def test_rows_are_gathered_by_indices_of_a_call(kind: Any) -> None:
    """Those below 0 count from the end; one outside is refused, and says which there are."""
    table = normal(9, 5)
    kinds = {"at": onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind))}
    net = convmat.load(
        model([made_node("Gather", "t at", "y")], {"at": ("n",)}, "y", {"t": table}, kinds=kinds)
    )
    for at in ([3, 0, 8], [-9, -1, 4], [-1], []):
        np.testing.assert_array_equal(net(np.array(at, kind)), table[np.array(at, int)])
    for at in ([9], [0, -10]):
        with pytest.raises(convmat.NetworkError, match="there are 9 places: -9 to 8 are needed"):
            net(np.array(at, kind))

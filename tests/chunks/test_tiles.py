"""Networks tile by tile: equal to the whole image's output, whatever the tiles; what looks at all of it is named."""

from __future__ import annotations

import pickle
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from onnx import TensorProto, helper, numpy_helper

import convmat
from convmat.chunks.memory import SPARE
from convmat.chunks.tiles import tiled
from convmat.errors import NetworkError, PlanError
from tests.chunks.networks import Built, unet
from tests.network.test_quantised import Drawn

Array = npt.NDArray[Any]


def image(*shape: int, integers: bool = True) -> Array:
    rng = np.random.default_rng(1)
    drawn = rng.integers(-2, 3, shape) if integers else rng.standard_normal(shape)
    return drawn.astype("float32")


@pytest.mark.parametrize("tile", [37, (16, 200), "auto", None])
def test_a_unet_of_integers_is_equal(tile: Any) -> None:
    """No Winograd in it, whose fractions round: its sums are whole numbers."""
    net, x = unet(exact=True), image(1, 3, 96, 128)
    np.testing.assert_array_equal(net.tiled(x, tile=tile), net(x))


def test_extents_of_tiles_are_numbers_of_any_kind() -> None:
    n = Built(integers=True)
    n.conv("x", "y", 3, 4)
    net, x = n.load("y", 3), image(1, 3, 30, 20)
    tiles: list[Any] = [np.int64(9), (9, 17), np.array(9), np.array([9, 17]), [np.int32(9), 17]]
    for tile in tiles:
        np.testing.assert_array_equal(net.tiled(x, tile=tile), net(x))


def test_fractions_have_the_bits_of_the_whole() -> None:
    """Among them, on most CPUs, Winograd's tiles, which tiles of the image do not cut."""
    n = Built(integers=False)
    n.conv(n.node("Sigmoid", [n.conv("x", "a", 64, 64)], "s"), "y", 64, 64)
    wide, y = n.load("y", 64), image(1, 64, 44, 50, integers=False)
    net, x = unet(integers=False), image(1, 3, 96, 128, integers=False)
    for tile in (41, 7):
        np.testing.assert_array_equal(net.tiled(x, tile=tile), net(x))
        np.testing.assert_array_equal(wide.tiled(y, tile=tile, same_bits=True), wide(y))
    da = pytest.importorskip("dask.array")
    lazy = net(da.from_array(x, chunks=(1, 3, 40, 50)))
    np.testing.assert_array_equal(lazy.compute(scheduler="threads"), net(x))


def test_eight_bits_are_followed_through_their_rewriting() -> None:
    n = Built(integers=True)
    step, zero = n.constant("step", np.float32(0.25)), n.constant("zero", np.int8(3))
    q = n.node("DequantizeLinear", [n.node("QuantizeLinear", ["x", step, zero], "q"), step, zero], "d")
    kept = n.rng.integers(-9, 9, (5, 3, 3, 3)).astype(np.int8)
    w = n.node("DequantizeLinear", [n.constant("w", kept), step, n.constant("none", np.int8(0))], "dw")
    c = n.node("Conv", [q, w], "c", pads=[1, 1, 1, 1])
    wide = n.constant("wide", np.float32(2))
    n.node("DequantizeLinear", [n.node("QuantizeLinear", [c, wide, zero], "qc"), wide, zero], "y")
    net, x = n.load("y", 3), image(1, 3, 40, 50)
    np.testing.assert_array_equal(net.tiled(x, tile=(9, 17)), net(x))


@pytest.mark.parametrize("rank", [1, 2])
def test_parts_of_eight_bits_have_the_bits_of_the_whole(rank: int) -> None:
    """Integers in tiles and blocks too, whose sums are scaled once: float32 rounds otherwise."""
    d, rng = Drawn(), np.random.default_rng(rank)
    filters = [rng.integers(-127, 128, (c, 8, *(3,) * rank)).astype(np.int8) for c in (8, 5)]
    read = d.node("DequantizeLinear", "x", *d.grain(0.05, 121, np.uint8))
    between = d.node("Conv", read, d.weights(filters[0], 0.01), pads=[1, 1] * rank)
    q = d.node("QuantizeLinear", between, *d.grain(0.7, 100, np.uint8))
    read = d.node("DequantizeLinear", q, *d.grain(0.7, 100, np.uint8))
    d.node("Conv", read, d.weights(filters[1], 0.01), pads=[1, 1] * rank, out="y")
    net = convmat.load(d.model({"x": (1, 8, *(40,) * rank)}, "y", TensorProto.FLOAT))
    x = rng.integers(0, 256, (1, 8, *(40,) * rank)).astype(np.uint8)
    np.testing.assert_array_equal(net.tiled(x, tile=17), net(x))
    if rank == 1:
        stream = net.stream()
        parts = [*(stream.push(x[..., at : at + 10]) for at in range(0, 40, 10)), stream.flush()]
        np.testing.assert_array_equal(np.concatenate(parts, -1), net(x))


def test_axes_of_one_and_three_pixels() -> None:
    for rank, shape in ((1, (500,)), (3, (20, 18, 22))):
        n = Built(integers=True)
        n.conv(n.node("Relu", [n.conv("x", "a", 1, 4, rank=rank, d=3)], "r"), "y", 4, 2, s=2, rank=rank)
        net = n.load("y", 1, tuple("dhw"[:rank]), exact=True)
        x = image(1, 1, *shape)
        np.testing.assert_array_equal(net.tiled(x, tile=7), net(x))


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("scale", [2.0, 0.5])
def test_resizing(mode: str, scale: float) -> None:
    n = Built(integers=True)
    scales = n.constant("s", np.array([1, 1, scale, scale], "float32"))
    n.node("Resize", [n.conv("x", "a", 2, 3), "", scales], "y", mode=mode)
    net, x = n.load("y", 2), image(1, 2, 40, 44)
    np.testing.assert_allclose(net.tiled(x, tile=(13, 11)), net(x), rtol=0, atol=1e-4)


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
def test_margins_and_cuts(mode: str) -> None:
    n = Built(integers=True)
    pads = n.constant("p", np.array([0, 0, 3, 5, 0, 0, 4, 2]))
    a = n.node("Pad", [n.conv("x", "a", 2, 3), pads, n.constant("v", np.float32(7))], "pad", mode=mode)
    a = n.node("Unsqueeze", [n.conv(a, "b", 3, 3), n.constant("new", np.array([2]))], "u")
    numbers = {"lo": [2, -30], "hi": [-1, 2**60], "ax": [3, 4], "by": [2, 1]}
    a = n.node("Slice", [a, *(n.constant(k, np.array(v)) for k, v in numbers.items())], "cut")
    a = n.node("Squeeze", [a, "new"], "s")
    m = n.node("MatMul", [a, n.weights("w", 30, 4)], "m")  # with a bias, and then a residual
    m = n.node("Add", [m, n.constant("row", np.arange(4, dtype="f4"))], "added")
    n.node("Add", [n.node("MatMul", [a, n.weights("z", 30, 4)], "other"), m], "y")
    net, x = n.load("y", 2, exact=True), image(1, 2, 41, 40)
    np.testing.assert_array_equal(net.tiled(x, tile=(7, 4)), net(x))


@pytest.mark.parametrize("ending", ["Concat", "ArgMax", "ReduceMax"])
def test_the_last_node_joins_channels_or_reduces_them(ending: str) -> None:
    n = Built(integers=True)
    a = n.conv("x", "a", 3, 4)
    if ending == "Concat":
        wide = n.node("Expand", [n.node("Slice", ["x", *_cut(n, 0, 1)], "red"), _ones(n)], "wide")
        n.node("Concat", [n.node("Sin", [a], "sin"), wide], "y", axis=1)
    elif ending == "ArgMax":
        n.node("ArgMax", [a], "y", axis=1, keepdims=0)
    else:
        n.node("ReduceMax", [a], "y", axes=[1], keepdims=0)
    net, x = n.load("y", 3), image(1, 3, 30, 41)
    found = net.tiled(x, tile=9 if ending == "Concat" else (10,))
    np.testing.assert_array_equal(found, net(x))


def _cut(n: Built, start: int, stop: int) -> list[str]:
    return [n.constant(name, np.array([k])) for name, k in (("lo", start), ("hi", stop), ("axis", 1))]


def _ones(n: Built) -> str:
    return n.constant("ones", np.ones(4, np.int64))


@pytest.mark.parametrize("kind", ["dense", "matrix", "wide"])
def test_what_was_pooled_is_computed_whole(kind: str) -> None:
    """Squeeze and excite with dense layers, and what was pooled spread over the image again (PSPNet, DeepLab)."""
    n = Built(integers=False)
    a = n.conv("x", "a", 3, 8)
    if kind == "dense":
        p = n.node("ReduceMean", [a], "p", axes=[2, 3], keepdims=0)
        g = n.node("Gemm", [p, n.weights("m", 8, 8), n.weights("v", 8)], "g", transB=1)
        g = n.node("Reshape", [n.node("Softmax", [g], "s"), n.constant("to", np.array([0, 8, 1, 1]))], "r")
    else:
        p = n.node("GlobalAveragePool", [a], "p")
        axes = n.constant("axes", np.array([2, 3]))
        g = n.node("MatMul", [n.node("Squeeze", [p, axes], "q"), n.weights("m", 8, 8)], "g")
        g = n.node("Unsqueeze", [g, axes], "r")
    if kind == "wide":
        sizes = n.constant("sizes", np.array([1, 8, 30, 41]))
        n.node("Concat", [a, n.node("Resize", [g, "", "", sizes], "up", mode="linear")], "y", axis=1)
    else:
        n.node("Mul", [a, g], "y")
    net, x = n.load("y", 3), image(1, 3, 30, 41, integers=False)
    for same in (False, True):
        found = net.tiled(x, tile=16, exact_globals=True, same_bits=same)
        np.testing.assert_allclose(found, net(x), rtol=0, atol=3e-6)


def test_tiles_are_alike_and_as_small_as_costs_little(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiled, "anonymous_bytes", lambda: 0)
    monkeypatch.setattr(tiled, "UNIT", 16)
    net, x, memory = unet(integers=False), image(1, 3, 720, 800), SPARE + (9 << 20)
    plan = net.plan_tiles(x, memory=memory)
    monkeypatch.setattr(tiled, "CHEAP", 0)
    large = net.plan_tiles(x, memory=memory)
    assert large.bytes < 9 << 20
    assert 1 < large.tiles < plan.tiles
    assert plan.bytes < 0.7 * large.bytes
    assert plan.work < 1.07 * large.work
    for extents in (plan.extents, large.extents):
        for n, each in zip((720, 800), extents[2:], strict=True):
            count = -(-n // each)
            assert count * (each - 16) < n <= count * each
    assert net.plan_tiles(x, memory=1 << 30).tiles == 1


def test_average_pooling_counts_what_is_inside() -> None:
    for padded in (0, 1):
        n = Built(integers=True)
        n.node("AveragePool", ["x"], "y", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=padded)
        net, x = n.load("y", 2), image(1, 2, 30, 31)
        np.testing.assert_allclose(net.tiled(x, tile=9), net(x), rtol=1e-6, atol=1e-6)


def test_global_pooling_is_named_or_taken_first_or_by_tile() -> None:
    net, x = unet(integers=False, squeeze=True), image(1, 3, 64, 80, integers=False)
    with pytest.raises(NetworkError) as refused:
        net.tiled(x, tile=32)
    assert str(refused.value) == (
        "tiled: GlobalAveragePool 'gap' cannot be computed tile by tile\n  it looks at every pixel\n"
        "  call the network with the whole image; exact_globals=True takes global pooling in passes of its own, "
        "approximate=True each tile for a whole image"
    )
    expected = net(x)
    scale = float(np.abs(expected).max())
    exact = net.tiled(x, tile=32, exact_globals=True)
    np.testing.assert_allclose(exact, expected, rtol=0, atol=2e-6 * scale)
    near = net.tiled(x, tile=32, approximate=True)
    assert 1e-5 * scale < float(np.abs(near - expected).max()) < 0.2 * scale


@pytest.mark.parametrize("parts", [3, 5, 6])
@pytest.mark.parametrize("said", ["scales", "sizes"])
@pytest.mark.parametrize("rounding", ["floor", "ceil", ""])
def test_far_along_a_third_is_a_third(parts: int, said: str, rounding: str) -> None:
    """In single precision it is none: what is read of x would lie further off from tile to tile."""
    n, extent = Built(integers=False), 30_000
    by = n.constant("scales", np.array([1, 1, 1 / parts], "float32"))
    to = n.constant("sizes", np.array([1, 1, extent // parts]))
    words = {"mode": "nearest", "nearest_mode": rounding} if rounding else {"mode": "linear"}
    words["coordinate_transformation_mode"] = "asymmetric" if rounding else "half_pixel"
    net = n.load(
        n.node("Resize", ["x", "", *([by] if said == "scales" else ["", to])], "y", **words), 1, ("w",)
    )
    x = np.random.default_rng(0).standard_normal((1, 1, extent)).astype("float32")
    expected = x[..., ::parts] if rounding else net(x)
    np.testing.assert_array_equal(net(x), expected)
    np.testing.assert_array_equal(net.tiled(x, tile=1000), expected)


@pytest.mark.parametrize("rounding", ["floor", "ceil", "round_prefer_floor"])
def test_what_lies_over_an_element_may_be_another(rounding: str) -> None:
    """Four outputs an element, rounded down or up: a tile's last ones read one element before or behind their own."""
    n = Built(integers=True)
    scales = n.constant("scales", np.array([1, 1, 4, 1], "float32"))
    net = n.load(n.node("Resize", ["x", "", scales], "y", mode="nearest", nearest_mode=rounding), 1)
    x = image(1, 1, 33, 5)
    for tile in (3, 6, 30):
        np.testing.assert_array_equal(net.tiled(x, tile=(tile, 5)), net(x))


def test_tiles_too_small_for_the_way_of_the_whole() -> None:
    """Of one output a channel, the depthwise lowering makes nothing; im2col sums in the same order."""
    n = Built(integers=False)
    net = n.load(n.node("Conv", ["x", n.weights("w", 8, 1, 3)], "y", strides=[3], group=4), 4, ("w",))
    x = image(1, 4, 30, integers=False)
    np.testing.assert_array_equal(net.tiled(x, tile=1, same_bits=True), net(x))
    da = pytest.importorskip("dask.array")
    w = image(8, 1, 3, integers=False)
    lazy: Any = convmat.conv(da.from_array(x, chunks=(1, 4, 3)), w, stride=3, groups=4)
    np.testing.assert_array_equal(lazy.compute(scheduler="sync"), convmat.conv(x, w, stride=3, groups=4))


@pytest.mark.parametrize("opset", [9, 10, 17])
def test_a_tile_that_counts_for_an_image_is_resized_to_its_own_size(opset: int) -> None:
    """Resized to a fixed size by no whole number, a ramp stays a ramp; nothing is moved elsewhere."""
    numbers = numpy_helper.from_array
    rows = np.arange(64, dtype="float32")[:, None] + np.zeros((1, 80), "float32")
    scales = numbers(np.array([1, 1, 0.75, 0.75], "float32"), "scales")
    sizes = numbers(np.array([1, 1, 48, 60]), "sizes")
    op = "Upsample" if opset == 9 else "Resize"
    reads = ["x", "scales"] if opset < 11 else ["x", "", "", "sizes"]
    graph = helper.make_graph(
        [helper.make_node(op, reads, ["y"], mode="linear")],
        "g",
        [helper.make_tensor_value_info("x", 1, [1, 1, 64, 80])],
        [helper.make_tensor_value_info("y", 1, None)],
        [scales if opset < 11 else sizes],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    net, x = convmat.load(model), rows[None, None]
    near = net.tiled(x, tile=16, approximate=True)
    assert near.shape == (1, 1, 48, 60)
    assert float(np.abs(near - net(x)).max()) < 1.5
    np.testing.assert_array_equal(net.tiled(x, tile=100, approximate=True), net(x))


def test_what_is_taken_of_a_tile_has_the_pixels_that_are_asked_for() -> None:
    """A mean along rows, subtracted: the halo of what reads it has means of its own."""
    n = Built(integers=True)
    c = n.conv("x", "c1", 3, 4)
    mean = n.node("ReduceMean", [c], "mean", axes=[3], keepdims=1)
    net = n.load(n.conv(n.node("Sub", [c, mean], "less"), "c2", 4, 2), 3)
    x = image(1, 3, 32, 40)
    assert net.tiled(x, tile=(8, 16), approximate=True).shape == (1, 2, 32, 40)
    np.testing.assert_allclose(net.tiled(x, tile=(8, 40), approximate=True), net(x), rtol=1e-5, atol=1e-4)


def test_what_no_tile_can_count_for_is_said() -> None:
    n = Built(integers=True)
    flat = n.node("Reshape", [n.conv("x", "c", 3, 4), n.constant("shape", np.array([0, 0, -1]))], "flat")
    turned = n.node("Transpose", [flat], "turned", perm=[0, 2, 1])
    net = n.load(n.node("MatMul", [turned, flat], "product"), 3)
    with pytest.raises(
        NetworkError,
        match="a tile cannot be taken for a whole image\n  it makes 1x64x0 where 1x1280x16 is needed\n"
        "  call the network with the whole image",
    ):
        net.tiled(image(1, 3, 32, 40), tile=16, approximate=True)


@pytest.mark.parametrize(
    "equation", ["bchw,bdhw->bdhw", "bchw,bdhw->bdwh", "bchw,bchv->bhwv", "bchw,c->bwh", "bchw,cdhw->bdhw"]
)
def test_contractions_read_what_their_letters_say(equation: str) -> None:
    n = Built(integers=True)
    other = equation.partition("->")[0].partition(",")[2]
    b = n.conv("x", "d", 3, 6) if other[0] == "b" and other[1] != "c" else n.conv("x", "e", 3, 4)
    if other[0] == "c":
        b = n.constant("k", np.arange(4 * 6 * 32 * 40, dtype=np.float32).reshape(4, 6, 32, 40) % 5)
        b = b if other != "c" else n.constant("each", np.arange(4, dtype=np.float32))
    net = n.load(n.node("Einsum", [n.conv("x", "c", 3, 4), b], "y", equation=equation), 3)
    x = image(1, 3, 32, 40)
    np.testing.assert_array_equal(net.tiled(x, tile=16), net(x))


def squeezed(n: Built, x: str, name: str, channels: int) -> str:
    """Squeeze and excite."""
    pooled = n.conv(n.node("GlobalAveragePool", [x], f"{name}_gap"), f"{name}_gate", channels, channels, k=1)
    return n.node("Mul", [x, n.node("Sigmoid", [pooled], f"{name}_sigmoid")], f"{name}_mul")


def test_passes_go_on_from_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    n = Built(integers=False)
    first = n.conv("x", "first", 3, 8)
    second = n.conv(squeezed(n, first, "a", 8), "second", 8, 8)
    n.conv(n.node("Add", [squeezed(n, second, "b", 8), first], "sum"), "y", 8, 2)
    net, x = n.load("y", 3), image(1, 3, 64, 80, integers=False)
    plan = net.plan_tiles(x, tile=32, exact_globals=True)
    assert [(each.name, each.tiles, each.kept, each.pools) for each in plan.passes] == [
        ("first", 6, 0, ("GlobalAveragePool 'a_gap'",)),  # small enough for memory
        ("second", 6, 0, ("GlobalAveragePool 'b_gap'",)),
    ]
    monkeypatch.setattr("convmat.chunks.tiles.stages.SMALL", 0)
    plan = net.plan_tiles(x, tile=32, exact_globals=True)
    assert plan.kept == 2 * 8 * 64 * 80 * 4
    assert 1 < plan.work < 1.3  # nothing is computed in every pass again
    assert str(plan).splitlines()[1:] == [
        "2 passes before, for what looks at the whole image, 320 KiB on disk:",
        f"  first, and GlobalAveragePool 'a_gap': 6 tiles, {plan.passes[0].work:.2f} of the multiplications, "
        "160 KiB kept on disk",
        f"  second, and GlobalAveragePool 'b_gap': 6 tiles, {plan.passes[1].work:.2f} of the multiplications, "
        "160 KiB kept on disk",
    ]
    told: list[tuple[int, int]] = []
    found = net.tiled(x, tile=32, exact_globals=True, progress=lambda done, of: told.append((done, of)))
    assert told == [(each, 6) for _ in range(3) for each in range(1, 7)]
    expected = net(x)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6 * float(np.abs(expected).max()))


def test_what_passes_keep_is_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    n = Built(integers=False)
    n.conv(squeezed(n, n.conv("x", "wide", 1, 32), "a", 32), "y", 32, 1)
    net, x = n.load("y", 1), image(1, 1, 512, 512, integers=False)
    assert net.plan_tiles(x, tile=64, exact_globals=True).kept == 32 * 512 * 512 * 4
    seen: list[int] = []

    def look(done: int, of: int) -> None:
        seen.append(sum(each.stat().st_size for each in tmp_path.rglob("*.npy")))

    net.tiled(x, tile=64, exact_globals=True)  # prepared
    tracemalloc.start()
    try:
        net.tiled(x, tile=64, exact_globals=True, progress=look)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert max(seen) > 32 * 512 * 512 * 4 > 4 * most
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(PlanError) as error:
        net.tiled(x, tile=64, exact_globals=True)
    assert str(error.value) == (
        "tiled: there is no room for what passes keep between them\n"
        f"  they take 33,554,432 bytes in {tmp_path}, 1,000 are free\n"
        "  make room there, or set TMPDIR to a folder that has it"
    )


def test_the_next_call_prepares_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = unet(integers=False), image(1, 3, 64, 80, integers=False)
    expected = net.tiled(x, tile=32)
    prepared: list[Any] = []
    monkeypatch.setattr("convmat.chunks.tiles.tiled.prepare_tiles", lambda *_: prepared.append(1))
    np.testing.assert_array_equal(net.tiled(x, tile=32), expected)
    assert not prepared
    assert pickle.loads(pickle.dumps(net)).tiles is None


def test_lazy_images() -> None:
    da = pytest.importorskip("dask.array")
    net, x = unet(exact=True), image(2, 3, 60, 52)
    y: Any = net(da.from_array(x, chunks=(1, 3, 23, 52)))
    assert y.chunks == ((1, 1), (2,), (23, 23, 14), (52,))
    np.testing.assert_array_equal(y.compute(scheduler="threads"), net(x))


def test_receptive_field() -> None:
    n = Built(integers=True)
    n.conv(n.conv("x", "a", 1, 1, s=2), "y", 1, 1, d=2)
    (field,) = n.load("y", 1).receptive_field()
    assert [(a.reach, a.stride, a.offset) for a in field.axes] == [(11, 2.0, -5.0)] * 2
    assert str(field) == "y <- x: 11 (stride 2, from -5) x 11 (stride 2, from -5)"
    (field,) = unet(squeeze=True).receptive_field()
    assert str(field) == "y <- all of x: GlobalAveragePool 'gap' cannot be computed tile by tile"


def test_borders_cut_no_receptive_field_off() -> None:
    n, x = Built(integers=True), "x"
    for at in range(6):
        x = n.conv(x, f"c{at}", 1, 1, d=2)
    net = n.load(x, 1, pixels=("h", "w")).with_shapes(x=(1, 1, 16, 12))
    (field,) = net.receptive_field()
    assert [(a.reach, a.stride, a.offset) for a in field.axes] == [(25, 1.0, -12.0)] * 2
    summary = net.summary()
    assert "\nreceptive field: c5 <- x: 25 (stride 1, from -12) x 25 (stride 1, from -12)" in str(summary)
    assert summary.as_dict()["receptive_field"][0]["axes"][1] == {"reach": 25, "stride": 1.0, "offset": -12.0}


@pytest.mark.parametrize(
    ("op", "shape", "said"),
    [
        ("NonZero", (1, 2, 8, 8), "its shape depends on values"),
        ("Flatten", (1, 2, 8, 8), "it has no pixels"),
        ("Shape", (1, 2, 8, 8), "it has no pixels"),
        ("Unsqueeze", (1, 2, 8), "its axes are not those of the output"),
    ],
)
def test_receptive_fields_of_what_has_none(op: str, shape: tuple[int, ...], said: str) -> None:
    onnx = pytest.importorskip("onnx")
    axes = "int64[1] axes = {0}" if op == "Unsqueeze" else ""
    kind = "int64" if op in ("NonZero", "Shape") else "float"
    net = convmat.load(
        onnx.parser.parse_model(
            f'<ir_version: 8, opset_import: ["": 17]> g (float[{",".join(map(str, shape))}] x) => ({kind}[] y) '
            f"<{axes}> {{ y = {op} (x{', axes' if axes else ''}) }}"
        ).SerializeToString()
    )
    (field,) = net.receptive_field()
    assert str(field) == f"y <- all of x: {said}"


def test_what_is_asked_wrongly() -> None:
    net, x = unet(), image(1, 3, 32, 32)
    with pytest.raises(PlanError, match="tile is no extent"):
        net.tiled(x, tile=(4, 4, 4))
    with pytest.raises(PlanError, match="nothing runs within so little memory"):
        net.tiled(x, memory=1000)


def test_whatever_is_sliced_like_an_array_is_taken(tmp_path: Path) -> None:
    net, x = unet(exact=True), image(2, 3, 16, 20)
    np.save(tmp_path / "x.npy", x.astype(">f4"))
    for given in (np.load(tmp_path / "x.npy", mmap_mode="r"), x.tolist(), np.asfortranarray(x), {"x": x}):
        np.testing.assert_array_equal(net.tiled(given, tile=8), net(x))


def test_no_images_are_no_tiles() -> None:
    da = pytest.importorskip("dask.array")
    net, x = unet(exact=True), image(0, 3, 16, 20)
    assert net.tiled(x, tile=8).shape == net(da.from_array(x, chunks=7)).compute().shape == (0, 2, 16, 20)


def test_what_is_no_input_or_no_tile_is_said() -> None:
    net, x = unet(exact=True), image(1, 3, 16, 20)
    for given, said in (
        (
            x.astype("f8"),
            "tiled: the input 'x' has another element type than the network's\n  float64, expected float32\n"
            "  convert it, e.g. x.astype('float32')",
        ),
        (
            {"z": x},
            "tiled: the inputs are not those of the network\n  given: 'z'\n  inputs: x: float32 bx3xhxw",
        ),
    ):
        with pytest.raises(NetworkError) as error:
            net.tiled(given, tile=8)
        assert str(error.value) == said
    wrong: Any
    for wrong in (0, True, 8.5, (8, 8, 8), (8, 0.5), "large"):
        with pytest.raises(PlanError) as refused:
            net.tiled(x, tile=wrong)
        assert str(refused.value) == (
            f"tiled: tile is no extent of the output's pixels\n  tile = {wrong!r}, the output is 1x2x16x20\n"
            "  a number, one for each of 2 axes, or 'auto'"
        )

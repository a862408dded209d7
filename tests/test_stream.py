"""Streams give what the whole gives, for blocks of any size."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import convmat
from convmat import nn
from convmat.errors import ConvmatError, PlanError

CASES: dict[str, dict[str, Any]] = {
    "causal": {"padding": ((4, 0),)},
    "centred": {"padding": 2},
    "valid": {},
    "strided": {"padding": 3, "stride": 2},
    "far strided": {"stride": 7, "padding": ((1, 2),)},
    "dilated": {"padding": ((8, 0),), "dilation": 2},
    "cropped": {"padding": ((-3, -2),)},
    "grouped": {"padding": 2, "groups": 2},
    "channels last": {"padding": 2, "layout": "NHWC"},
}


@pytest.mark.parametrize("case", CASES)
def test_blocks_of_any_size_give_the_whole(case: str) -> None:
    options = CASES[case]
    pick = np.random.default_rng(5)
    last = options.get("layout") == "NHWC"
    x = pick.integers(-9, 9, (2, 40, 4) if last else (2, 4, 40)).astype(np.float32)
    w = pick.integers(-9, 9, (6, 4 // options.get("groups", 1), 5)).astype(np.float32)
    bias = pick.integers(-9, 9, 6).astype(np.float32)
    plan = convmat.plan(x.shape, w.shape, bias=True, activation="relu", exact=True, **options)
    stream = convmat.Stream(plan, w, bias)
    wanted, axis = plan(x, w, bias), 1 if last else 2
    for _ in range(3):
        cuts = np.sort(pick.integers(0, 41, int(pick.integers(0, 9))))
        parts = [stream.push(block) for block in np.split(x, cuts, axis)]
        assert np.array_equal(np.concatenate([*parts, stream.flush()], axis), wanted)


@pytest.mark.parametrize("padding", [(0, 1), (1, 1), (-2, 3), (3, 2)], ids=str)
@pytest.mark.parametrize("taps", [1, 2])
@pytest.mark.parametrize("stride", [2, 3])
def test_windows_that_lie_in_the_padding_alone(stride: int, taps: int, padding: tuple[int, int]) -> None:
    """Where a stride passes over the end, the last windows begin behind it; all extents are tried."""
    w = np.arange(1.0, 2 * taps + 1).reshape(1, 2, taps)
    for n in range(1, 9):
        x = np.arange(1.0, 2 * n + 1).reshape(1, 2, n)
        if n + sum(padding) < taps:
            continue
        plan = convmat.plan(x.shape, w.shape, stride=stride, padding=(padding,), dtype="float64", exact=True)
        for size in (1, 2, n):
            stream = convmat.Stream(plan, w)
            parts = [stream.push(x[:, :, at : at + size]) for at in range(0, n, size)]
            assert np.array_equal(np.concatenate([*parts, stream.flush()], 2), plan(x, w))


@pytest.mark.parametrize("size", [1, 3, 7, 40])
def test_a_network_whose_last_windows_lie_in_the_padding(size: int) -> None:
    layers = nn.Conv(3, 5, stride=3, dilation=2), nn.Relu(), nn.Conv(4, 1, stride=2, padding=1)
    for n in range(15, 30):
        net = nn.build(nn.Sequential(*layers), (2, n))
        x = np.random.default_rng(n).integers(-9, 9, (1, 2, n)).astype(np.float32)
        stream = net.stream()
        parts = [stream.push(x[:, :, at : at + size]) for at in range(0, n, size)]
        assert np.allclose(np.concatenate([*parts, stream.flush()], 2), net(x), atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_blocks_too_short_for_the_way_of_the_whole(dtype: str) -> None:
    """Grouped windows of one element are no depthwise product; they are computed all the same."""
    w = np.arange(1, 10).astype(dtype).reshape(9, 1, 1)
    x = np.arange(90).astype(dtype).reshape(1, 3, 30)
    plan = convmat.plan(x.shape, w.shape, stride=3, padding=((2, 0),), groups=3, dtype=dtype)
    stream = convmat.Stream(plan, w)
    parts = [stream.push(x[:, :, at : at + 1]) for at in range(30)]
    assert np.array_equal(np.concatenate([*parts, stream.flush()], 2), plan(x, w))


def test_rows_of_images_and_what_is_kept() -> None:
    pick = np.random.default_rng(6)
    x, w = pick.random((1, 3, 20, 15)), pick.random((4, 3, 3, 3))
    plan = convmat.plan(x.shape, w.shape, padding=1, dtype="float64", exact=True)
    stream = convmat.Stream(plan, w)
    assert stream.latency == 1
    parts = [stream.push(x[:, :, i : i + 1]) for i in range(20)]
    assert [part.shape[2] for part in parts] == [0, *[1] * 19]
    assert np.array_equal(stream.state, x[:, :, 18:])
    assert np.allclose(np.concatenate([*parts, stream.flush()], 2), plan(x, w), rtol=1e-14)
    assert not stream.state.any()


def test_what_cannot_be_streamed_says_why() -> None:
    mirrored = convmat.plan((1, 1, 9), (1, 1, 3), padding=1, padding_mode="reflect")
    with pytest.raises(
        PlanError, match=r"^stream: the plan has borders other than zeros, which lie at the end\n"
    ):
        convmat.Stream(mirrored, np.ones((1, 1, 3)))
    plain = convmat.Stream(convmat.plan((1, 1, 9), (1, 1, 3)), np.ones((1, 1, 3), np.float32))
    message = "stream: the block does not fit the plan\n  block.shape = (1, 2, 4)\n"
    message += "  give (1, 1, 4), with any extent along axis 2"
    with pytest.raises(PlanError, match=f"^{re.escape(message)}$"):
        plain.push(np.ones((1, 2, 4), np.float32))


def stream_of_plan() -> Any:
    """A plan's stream, of one input channel and three causal taps."""
    plan = convmat.plan((1, 1, 9), (1, 1, 3), padding=((2, 0),), exact=True)
    return convmat.Stream(plan, np.array([[[1, 10, 100]]], np.float32))


def stream_of_network() -> Any:
    """A network's stream, of the same."""
    import onnx.parser

    text = '<ir_version: 8, opset_import: ["": 17]> g (float[1,1,n] x) => (float[1,1,m] y) '
    text += "<float[1,1,3] w = {1, 10, 100}> { y = Conv <pads = [2, 0]> (x, w) }"
    return convmat.load(onnx.parser.parse_model(text).SerializeToString()).stream()


STREAMS = {"plan": stream_of_plan, "network": stream_of_network}

ODD_BLOCKS: dict[str, tuple[Any, str]] = {
    "float64": (
        np.full((1, 1, 2), 1e3),
        "stream: block has another element type than planned\n  block.dtype = float64, expected float32\n"
        "  convert it, e.g. block.astype('float32')",
    ),
    "complex": (
        np.full((1, 1, 2), 1 + 2j, np.complex64),
        "stream: block has another element type than planned\n  block.dtype = complex64, expected float32\n"
        "  convert it, e.g. block.real.astype('float32')",
    ),
    "texts": (
        np.array([[["1", "2"]]]),
        "stream: block has an element type that is not taken\n  block.dtype = <U1\n  one of float32, float64, float16, "
        "bfloat16, complex64, complex128, int8, uint8: give numbers, e.g. np.asarray(block, dtype='float32')",
    ),
    "masked": (
        np.ma.masked_array(np.ones((1, 1, 2), np.float32), mask=[[[False, True]]]),
        "stream: block is a masked array, and a product has no masks\n  1 of 2 elements are masked\n"
        "  say what they count as, e.g. block.filled(0)",
    ),
    "nothing": (
        None,
        "stream: block is not an array\n  block = None\n"
        "  give a NumPy array, nested lists of equal lengths, or an array on the CPU",
    ),
}


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("case", ODD_BLOCKS)
def test_a_block_of_other_elements_is_refused_and_did_not_come(case: str, kind: str) -> None:
    block, message = ODD_BLOCKS[case]
    stream = STREAMS[kind]()
    first = stream.push(np.array([[[1, 2]]], np.float32))
    with pytest.raises(ConvmatError) as refused:
        stream.push(block)
    assert str(refused.value) == message
    if "e.g. " in message:
        fixed = eval(message.rpartition("e.g. ")[2], {"np": np, "block": block})  # the suggestion works
        STREAMS[kind]().push(fixed)
    second = stream.push([[[3, 4]]])  # written by hand
    assert np.concatenate([first, second], 2).tolist() == [[[100, 210, 321, 432]]]


@pytest.mark.parametrize("kind", STREAMS)
def test_odd_blocks_that_are_signals(kind: str) -> None:
    stream = STREAMS[kind]()
    x = np.array([[[1, np.nan, 2, 3, 4, 5]]], np.float32)
    assert stream.push(x[..., :0]).shape == (1, 1, 0)
    locked = x[..., :3].copy()
    locked.flags.writeable = False
    parts = [stream.push(locked), stream.push(x[..., :0]), stream.push(x[..., 3:].astype(">f4"))]
    found = np.concatenate(parts, 2)
    assert np.array_equal(found, [[[100, np.nan, np.nan, np.nan, 432, 543]]], equal_nan=True)
    assert stream.flush().shape == stream.flush().shape == (1, 1, 0)
    assert stream.push(x[..., 2:4]).tolist() == [[[200, 320]]]  # nothing is left of what came before


def test_streams_in_threads_of_their_own_do_not_disturb_each_other() -> None:
    plan = convmat.plan((1, 2, 50), (3, 2, 5), padding=((4, 0),), exact=True)
    pick = np.random.default_rng(8)
    w = pick.integers(-9, 9, (3, 2, 5)).astype(np.float32)
    signals = [pick.integers(-9, 9, (1, 2, 60)).astype(np.float32) for _ in range(4)]

    def follow(x: Any) -> Any:
        stream = convmat.Stream(plan, w)
        return np.concatenate([stream.push(x[:, :, i : i + 3]) for i in range(0, 60, 3)], 2)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(follow, signals))
    for x, y in zip(signals, found, strict=True):
        assert np.array_equal(y, convmat.conv(x, w, padding=((4, 0),), exact=True))


def test_a_block_that_could_not_be_computed_did_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = stream_of_plan()
    stream.push(np.array([[[1, 2]]], np.float32))
    with monkeypatch.context() as patched:

        def fail(extent: int) -> Any:
            raise MemoryError

        patched.setattr(stream, "_bound", fail)
        with pytest.raises(MemoryError):
            stream.push(np.array([[[3]]], np.float32))
    assert stream.push(np.array([[[3]]], np.float32)).tolist() == [[[321]]]

"""What errors suggest, tried: the whole text of each, and the call that its last line tells a caller to write."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import pytest

import convmat
from convmat import ConvmatError, conv, conv1d, conv2d, conv_input_grad, conv_transpose, plan

rng = np.random.default_rng(0)
BYTES = rng.integers(0, 256, (1, 3, 9, 8)).astype(np.uint8)
PHOTO = rng.integers(0, 256, (9, 8, 3)).astype(np.float32)
GREY = PHOTO[..., 0].copy()
SOUND = GREY[0].copy()
FILTERS = rng.integers(-4, 5, (2, 3, 3, 3)).astype(np.float32)
SOBEL = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]], np.float32)
LINE = SOBEL[0].copy()


class Slip(NamedTuple):
    """A wrong call, what it says, and the same call with what is said; x, w and b are what the caller has."""

    wrong: str
    said: str
    right: str
    x: Any = PHOTO
    w: Any = FILTERS
    b: Any = None

    def run(self, call: str) -> Any:
        names = {
            "x": self.x, "w": self.w, "b": self.b, "bias": self.b, "np": np, "conv": conv, "conv1d": conv1d,
            "conv2d": conv2d, "conv_transpose": conv_transpose, "conv_input_grad": conv_input_grad, "plan": plan,
        }  # fmt: skip
        return eval(call, names)


TAKEN = "float32, float64, float16, bfloat16, complex64, complex128, int8, uint8"
AXES = "x and w must have a batch or filter axis, a channel axis and the same spatial axes"
CHANNELS = "the channels of x do not match the filters in groups"

SLIPS = {
    "bytes and a float filter": Slip(
        "conv(x, w)",
        "conv: x and w have different element types\n  x.dtype = uint8, w.dtype = float32\n"
        "  convert x, e.g. x.astype('float32')",
        "conv(x.astype('float32'), w)", BYTES,
    ),
    "floats and a filter of bytes": Slip(
        "conv(x, w)",
        "conv: x and w have different element types\n  x.dtype = float64, w.dtype = int8\n"
        "  convert w, e.g. w.astype('float64')",
        "conv(x, w.astype('float64'))", BYTES.astype(np.float64), FILTERS.astype(np.int8),
    ),
    "a written filter of fractions": Slip(
        "conv(x, w)",
        "conv: x and w have different element types\n  x.dtype = uint8, w.dtype = float64\n"
        "  convert x, e.g. x.astype('float64')",
        "conv(x.astype('float64'), w)", BYTES, (FILTERS / 2).tolist(),
    ),
    "real and complex": Slip(
        "conv(x, w)",
        "conv: x and w have different element types\n  x.dtype = float32, w.dtype = complex64\n"
        "  convert x, e.g. x.astype('complex64')",
        "conv(x.astype('complex64'), w)", BYTES.astype(np.float32), FILTERS.astype(np.complex64),
    ),
    "two widths": Slip(
        "conv(x, w)",
        "conv: x and w have different element types\n  x.dtype = float32, w.dtype = float64\n"
        "  convert w, e.g. w.astype('float32')",
        "conv(x, w.astype('float32'))", BYTES.astype(np.float32), FILTERS.astype(np.float64),
    ),
    "a picture of 16 bits": Slip(
        "conv(x, w)",
        f"conv: x has an element type that is not taken\n  x.dtype = uint16\n"
        f"  one of {TAKEN}: convert it first, e.g. x.astype('float32')",
        "conv(x.astype('float32'), w)", BYTES.astype(np.uint16) * 257,
    ),
    "extended precision": Slip(
        "conv(x, w)",
        f"conv: x has an element type that is not taken\n  x.dtype = {np.dtype(np.clongdouble)}\n"
        f"  one of {TAKEN}: convert it first, e.g. x.astype('complex128')",
        "conv(x.astype('complex128'), w)", BYTES.astype(np.clongdouble), FILTERS.astype(np.complex128),
    ),
    "objects that are numbers": Slip(
        "conv(x, w)",
        f"conv: x has an element type that is not taken\n  x.dtype = object\n"
        f"  one of {TAKEN}: give numbers, e.g. np.asarray(x, dtype='float32')",
        "conv(np.asarray(x, dtype='float32'), w)", BYTES.astype(object),
    ),
    "a bias of 64-bit integers": Slip(
        "conv(x, w, bias)",
        f"conv: bias has an element type that is not taken\n  bias.dtype = int64\n"
        f"  one of {TAKEN}, int32: convert it first, e.g. bias.astype('int32')",
        "conv(x, w, bias.astype('int32'))", BYTES, FILTERS.astype(np.uint8), np.array([300, -7]),
    ),
    "a bias of floats beside bytes": Slip(
        "conv(x, w, bias)",
        "conv: bias has another element type than the result\n  bias.dtype = float64, the result is int32\n"
        "  convert it, e.g. np.rint(bias).astype('int32')",
        "conv(x, w, np.rint(bias).astype('int32'))", BYTES, FILTERS.astype(np.uint8), np.array([3.0, -7.0]),
    ),
    "floats for a plan of bytes": Slip(
        "plan((1, 3, 9, 8), (2, 3, 3, 3), dtype='int8')(x, w)",
        "plan: w has another element type than planned\n  w.dtype = float32, expected int8\n"
        "  plan with dtype='float32' and convert it, e.g. w.astype('float32')",
        "plan((1, 3, 9, 8), (2, 3, 3, 3), dtype='float32')(x, w.astype('float32'))", BYTES.astype(np.float32),
    ),
    "a photo, channels last": Slip(
        "conv(x, w)",
        f"conv: {CHANNELS}\n  x 1x9x8x3 with layout='NCHW' has C = 9, w 2x3x3x3 takes 3;  groups = 1\n"
        "  its last axis has 3: say layout='NHWC'",
        "conv(x, w, layout='NHWC')",
    ),
    "a batch of photos, channels last": Slip(
        "conv2d(x, w)",
        f"conv: {CHANNELS}\n  x 1x9x8x3 with layout='NCHW' has C = 9, w 2x3x3x3 takes 3;  groups = 1\n"
        "  its last axis has 3: say layout='NHWC'",
        "conv2d(x, w, layout='NHWC')", PHOTO[None],
    ),
    "channels first, and NHWC": Slip(
        "conv(x, w, layout='NHWC')",
        f"conv: {CHANNELS}\n  x 1x3x9x8 with layout='NHWC' has C = 8, w 2x3x3x3 takes 3;  groups = 1\n"
        "  its second axis has 3: say layout='NCHW'",
        "conv(x, w, layout='NCHW')", BYTES.astype(np.float32),
    ),
    "transposed, channels last": Slip(
        "conv_transpose(x, w)",
        f"conv_transpose: {CHANNELS}\n  x 1x9x8x3 with layout='NCHW' has C = 9, w 3x2x3x3 takes 3;  groups = 1\n"
        "  its last axis has 3: say layout='NHWC'",
        "conv_transpose(x, w, layout='NHWC')", PHOTO, FILTERS.reshape(3, 2, 3, 3),
    ),
    "a plan, channels last": Slip(
        "plan((4, 71, 99, 6), (8, 3, 5, 5), groups=2)",
        f"plan: {CHANNELS}\n  x 4x71x99x6 with layout='NCHW' has C = 71, w 8x3x5x5 takes 6;  groups = 2\n"
        "  its last axis has 6: say layout='NHWC'",
        "plan((4, 71, 99, 6), (8, 3, 5, 5), groups=2, layout='NHWC')",
    ),
    "one grey image and one filter": Slip(
        "conv(x, w)",
        f"conv: {AXES}\n  x has 2 axes 9x8;  w has 2 axes 3x3\n  x: (B, C, *I) and w: (O, C//G, *F): "
        "give both two more axes, x[None, None] and w[None, None] (lists: [[x]] and [[w]])",
        "conv(x[None, None], w[None, None])", GREY, SOBEL,
    ),
    "the same as lists": Slip(
        "conv(x, w)",
        f"conv: {AXES}\n  x has 2 axes 9x8;  w has 2 axes 3x3\n  x: (B, C, *I) and w: (O, C//G, *F): "
        "give both two more axes, x[None, None] and w[None, None] (lists: [[x]] and [[w]])",
        "conv([[x]], [[w]])", GREY.tolist(), SOBEL.tolist(),
    ),
    "one grey image": Slip(
        "conv2d(x, w)",
        f"conv: {AXES}\n  x has 2 axes 9x8;  w has 4 axes 1x1x3x3\n  x: (B, C, *I) and w: (O, C//G, *F): "
        "give x two more axes, x[None, None] (a list: [[x]])",
        "conv2d(x[None, None], w)", GREY, SOBEL[None, None],
    ),
    "one grey image for three channels": Slip(
        "conv2d(x, w)",
        f"conv: {AXES}\n  x has 2 axes 9x8;  w has 4 axes 2x3x3x3\n  x: (B, C, *I) and w: (O, C//G, *F): "
        "give x the other's channels too, (1, 3, 9, 8), e.g. np.stack([x] * 3)[None]",
        "conv2d(np.stack([x] * 3)[None], w)", GREY,
    ),
    "one filter": Slip(
        "conv2d(x, w)",
        "conv2d: w must have 4 axes\n  w has 2: (3, 3)\n"
        "  give it two more axes, w[None, None], and x likewise if it is one image of one channel",
        "conv2d(x[None, None], w[None, None])", GREY, SOBEL,
    ),
    "one written filter": Slip(
        "conv1d(x, w)",
        "conv1d: w must have 3 axes\n  w has 1: (3,)\n"
        "  give it two more axes, [[w]], and x likewise if it is one image of one channel",
        "conv1d([[x]], [[w]])", SOUND.tolist(), LINE.tolist(),
    ),
    "another rank": Slip(
        "conv2d(x, w)",
        "conv2d: w must have 4 axes\n  w has 3: (1, 1, 3)\n"
        "  (O, C//G, *F) with 2 spatial axes, or call conv, which takes any rank",
        "conv(x, w)", SOUND[None, None], LINE[None, None],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SLIPS)
def test_what_is_suggested_works(name: str) -> None:
    slip = SLIPS[name]
    with pytest.raises(ConvmatError) as caught:
        slip.run(slip.wrong)
    assert str(caught.value) == slip.said
    slip.run(slip.right)


def test_fractions_of_a_filter_survive_what_is_suggested() -> None:
    """A photo of bytes under a filter of fractions: what is said gives the definition's numbers."""
    w = FILTERS / 8
    y = conv(BYTES.astype("float32"), w, exact=True)
    assert (y == conv(BYTES.astype(np.float64), w.astype(np.float64))).all()


def test_objects_without_numbers() -> None:
    with pytest.raises(ConvmatError) as caught:
        conv(np.array([[[None, "a"]]]), FILTERS)
    assert str(caught.value) == (
        "conv: x has an element type that is not taken\n  x.dtype = object\n"
        f"  one of {TAKEN}: give an array of numbers"
    )


# -- objects of other libraries ---------------------------------------------------------------------------------------


class Device:
    def __init__(self, kind: str) -> None:
        self.type = kind


class Tensor:
    """What a tensor of PyTorch looks like to NumPy: `__array__` refuses, and says why."""

    def __init__(
        self, why: str, dtype: str = "torch.float32", device: str = "cpu", grad: bool = False
    ) -> None:
        self.why, self.dtype, self.device, self.requires_grad = why, dtype, Device(device), grad

    def __array__(self, *rest: Any, **more: Any) -> Any:
        raise TypeError(self.why)


@pytest.mark.parametrize(
    ("tensor", "fix"),
    [
        (Tensor("Got unsupported ScalarType BFloat16", "torch.bfloat16"), "NumPy has no bfloat16: give x.float()"),
        (Tensor("Can't call numpy() on it", grad=True), "give it without its gradient, x.detach()"),
        (Tensor("can't convert it", device="cuda"), "give it on the CPU, x.cpu()"),
        (Tensor("no"), "give a NumPy array, nested lists of equal lengths, or an array on the CPU"),
    ],
)  # fmt: skip
def test_tensors_that_are_no_arrays(tensor: Tensor, fix: str) -> None:
    with pytest.raises(ConvmatError) as caught:
        conv(tensor, FILTERS)
    assert str(caught.value) == (
        f"conv: x cannot be read as an array\n  x is a Tensor: {tensor.why}\n  {fix}"
    )


@pytest.mark.outside
def test_tensors_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    x = torch.ones((1, 3, 9, 8), dtype=torch.bfloat16)
    with pytest.raises(ConvmatError, match=re.escape("convert w, e.g. w.astype('bfloat16')")):
        conv(x, FILTERS)
    assert conv(x, FILTERS.astype(ml_dtypes.bfloat16)).dtype == torch.bfloat16
    y: Any = conv(torch.ones((1, 3, 9, 8), requires_grad=True), FILTERS)
    assert (tuple(y.shape), y.requires_grad) == ((1, 2, 7, 6), True)


def test_numpy_s_own_bfloat16_is_taken() -> None:
    x = BYTES.astype(ml_dtypes.bfloat16)
    assert conv(x, FILTERS.astype(ml_dtypes.bfloat16)).dtype == ml_dtypes.bfloat16


# -- keywords whose own methods raise ---------------------------------------------------------------------------------


class Hostile:
    """A value whose every answer is an error."""

    def _no(self, *rest: Any) -> Any:
        raise RuntimeError("no")

    __index__ = __int__ = __float__ = __repr__ = __str__ = __iter__ = __len__ = __eq__ = __hash__ = _no
    __array__ = __getitem__ = __contains__ = __bool__ = _no


KEYWORDS = (
    "x_shape", "w_shape", "dtype", "reuse_weights", "stride", "padding", "dilation", "groups", "padding_mode",
    "activation", "bias", "residual", "layout", "lowering", "engine", "workspace_limit", "weight_limit", "rtol",
    "exact", "deterministic", "direction", "transposed", "output_padding", "tune", "seconds", "progress",
)  # fmt: skip


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("name", KEYWORDS)
def test_plans_refuse_hostile_keywords_with_a_sentence(name: str, inside: bool) -> None:
    value: Any = (Hostile(), Hostile()) if inside else Hostile()
    given: dict[str, Any] = {"x_shape": (1, 3, 9, 8), "w_shape": (2, 3, 3, 3), name: value}
    with pytest.raises(ConvmatError) as caught:
        plan(given.pop("x_shape"), given.pop("w_shape"), **given)
    assert str(caught.value).startswith("plan: ")
    assert name in str(caught.value)


@pytest.mark.parametrize("name", ["x", "w", "bias", "residual", "out"])
def test_calls_refuse_hostile_arrays_with_a_sentence(name: str) -> None:
    given: dict[str, Any] = {"x": BYTES, "w": FILTERS.astype(np.uint8), name: Hostile()}
    with pytest.raises(ConvmatError) as caught:
        conv(given.pop("x"), given.pop("w"), **given)
    assert str(caught.value).startswith(f"conv: {name} ")


MADE = plan((1, 3, 9, 8), (2, 3, 3, 3))
CALLS: dict[str, Callable[[Any], object]] = {
    "im2col: kernel_size": lambda bad: convmat.im2col(PHOTO[None], bad),
    "im2col: unknown order": lambda bad: convmat.im2col(PHOTO[None], 3, order=bad),
    "col2im: x_shape": lambda bad: convmat.col2im(PHOTO[0], bad, 3),
    "threads: ": lambda bad: convmat.threads(bad),
    "load: it cannot be read from a Hostile": lambda bad: convmat.load(bad),
    "load: memory_limit": lambda bad: convmat.load(b"", memory_limit=bad),
    "load: there is no rule": lambda bad: convmat.load(b"", rewrite=bad),
    "load: unknown tune": lambda bad: convmat.load(b"", tune=bad),
    "compare: x ": lambda bad: MADE.compare(bad),
    "plan: w ": lambda bad: MADE.bind(bad),
    "conv: groups": lambda bad: convmat.Geometry.of((1, 3, 9, 8), (2, 3, 3, 3), groups=bad),
    "draw: size": lambda bad: MADE.draw("x.svg", size=bad),
    "draw: frames": lambda bad: MADE.draw("x.gif", frames=bad),
    "draw: speed": lambda bad: MADE.draw("x.gif", speed=bad),
    "draw: no picture of that lowering": lambda bad: MADE.draw("x.svg", lowering=bad),
    "page: unknown direction": lambda bad: MADE.page("x.html", direction=bad),
}


@pytest.mark.parametrize("begins", CALLS)
def test_other_calls_refuse_hostile_values_with_a_sentence(begins: str) -> None:
    with pytest.raises(ConvmatError) as caught:
        CALLS[begins](Hostile())
    assert str(caught.value).startswith(begins)


def test_a_number_of_threads_is_one() -> None:
    with pytest.raises(ConvmatError) as caught:
        convmat.threads(np.array([1, 1]))  # type: ignore[arg-type]
    assert str(caught.value).startswith(
        "threads: array([1, 1]) is not a number of threads\n  from 1 to 1024; "
    )
    assert str(caught.value).endswith("\n  for example convmat.threads(1)")
    with convmat.threads(1):
        assert convmat.threads() == 1

"""Sums of 8-bit integers, bias and residual: the right int32, or a sentence before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest

import convmat
from convmat import GeometryError

Array = npt.NDArray[Any]
LIMITS: dict[Any, tuple[int, int]] = {np.uint8: (255, 33_025), np.int8: (-128, 131_071)}
"""The number whose squares are the greatest product, and how many of those int32 holds."""

PASSES: dict[str, Callable[[Array], Array]] = {
    "forward": lambda v: convmat.conv(v.reshape(1, -1, 1), v.reshape(1, -1, 1)),
    "forward taps": lambda v: convmat.conv(v, v),
    "input": lambda v: convmat.conv_input_grad(v.reshape(1, -1, 1), v.reshape(-1, 1, 1), (1, 1, 1)),
    "weight": lambda v: convmat.conv_weight_grad(v, v, (1, 1, 1)),
    "weight batch": lambda v: convmat.conv_weight_grad(v.reshape(-1, 1, 1), v.reshape(-1, 1, 1), (1, 1, 1)),
    "transposed": lambda v: convmat.conv_transpose(v.reshape(1, -1, 1), v.reshape(-1, 1, 1)),
    "borders": lambda v: convmat.conv_input_grad(
        v, v[:, :, :1], (1, 1, 1), padding=((0, v.size - 1),), padding_mode="edge"
    ),
}


@pytest.mark.parametrize("kind", LIMITS)
@pytest.mark.parametrize("name", PASSES)
def test_the_longest_sum_that_fits_is_right_and_longer_ones_are_refused(name: str, kind: Any) -> None:
    value, most = LIMITS[kind]
    assert PASSES[name](np.full((1, 1, most), value, kind)).item() == most * value * value
    with pytest.raises(GeometryError) as refused:
        PASSES[name](np.full((1, 1, most + 1), value, kind))
    first = "dy" if name in ("input", "borders") else "x"
    call = {"input": "conv_input_grad", "borders": "conv_input_grad", "transposed": "conv_transpose"}.get(
        name, "conv_weight_grad" if "weight" in name else "conv"
    )
    assert str(refused.value) == (
        f"{call}: the sums may pass what int32 holds\n"
        f"  sums of {most + 1} products of {np.dtype(kind)};  at most {most}\n"
        f"  convert both arrays, e.g. {first}.astype('float64')"
    )
    assert PASSES[name](np.full((1, 1, most + 1), value, np.float64)).item() == (most + 1) * value * value


def test_a_stride_shortens_the_sums_of_an_input_gradient() -> None:
    ones = np.full((1, 1, 40_000), 255, np.uint8)
    dx = convmat.conv_input_grad(ones[..., :1], ones, (1, 1, 40_000), stride=2)
    assert (dx == 255 * 255).all()


def test_bias_and_residual_are_added_exactly_or_refused() -> None:
    x, w = np.full((1, 1, 2), 255, np.uint8), np.full((1, 1, 1), 255, np.uint8)
    room = 2**31 - 1 - 255 * 255
    plain: Array = np.full((1, 1, 2), room - 2**24 - 1, np.int32)
    for bias, residual in ((room, None), (2**24 + 1, plain), (None, plain + 2**24)):
        given = None if bias is None else np.array([bias], np.int32)
        y = convmat.conv(x, w, given, residual=residual)
        wanted = 255 * 255 + (bias or 0) + (0 if residual is None else residual[0, 0, 0].astype(int))
        assert (y == wanted).all()
    with pytest.raises(GeometryError) as refused:
        convmat.conv(x, w, np.array([room + 1], np.int32))
    assert str(refused.value) == (
        "conv: the bias may take the sums past what int32 holds\n"
        "  products of uint8 sum up to 0 .. 65025;  bias 2147418623 .. 2147418623\n"
        "  0 .. 2147483648 in all: convolve without, and add to y.astype('int64')"
    ).replace("\n  0 ..", f"\n  {room + 1} ..")
    out = np.full((1, 1, 2), 7, np.int32)
    bound = convmat.plan(x.shape, w.shape, dtype="uint8", residual=True).bind(w)
    with pytest.raises(GeometryError, match="the residual may take the sums past"):
        bound(x, residual=np.full((1, 1, 2), room + 1, np.int32), out=out)
    assert (out == 7).all()


def test_col2im_sums_exactly_or_refuses() -> None:
    assert convmat.col2im(np.full((2, 3), 60, np.int8), (1, 1, 4), 2).tolist() == [[[60, 120, 120, 60]]]
    assert convmat.col2im(np.full((2, 3), -64, np.int8), (1, 1, 4), 2).min() == -128
    for kind, value, bounds, sums in (
        ("int8", 100, "-128 .. 127", "100 .. 200"),
        ("int64", 2**62, f"{-(2**63)} .. {2**63 - 1}", f"0 .. {2**63}"),
    ):
        with pytest.raises(GeometryError) as refused:
            convmat.col2im(np.full((2, 3), value, kind), (1, 1, 4), 2)
        assert str(refused.value) == (
            f"col2im: the sums pass what {kind} holds\n  {sums};  {bounds}\n"
            f"  convert cols, e.g. cols.astype('float64')"
        )


@pytest.mark.parametrize("kind", [np.float16, ml_dtypes.bfloat16])
def test_sums_of_16_bits_are_rounded_once(kind: Any) -> None:
    rng = np.random.default_rng(0)
    dy, w = (rng.integers(-64, 64, shape).astype(kind) for shape in ((1, 3, 13, 13), (3, 2, 3, 3)))
    for mode in ("reflect", "symmetric", "edge", "wrap"):
        wide = convmat.conv_input_grad(
            dy.astype("f8"), w.astype("f8"), (1, 2, 9, 9), padding=3, padding_mode=mode
        )
        dx = convmat.conv_input_grad(dy, w, (1, 2, 9, 9), padding=3, padding_mode=mode)
        assert (dx == wide.astype(np.float32).astype(kind)).all()
    cols = rng.integers(0, 100, (300, 301)).astype(kind)
    wide = convmat.col2im(cols.astype("f4"), (1, 1, 600), 300)
    assert (convmat.col2im(cols, (1, 1, 600), 300) == wide.astype(kind)).all()

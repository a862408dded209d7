"""What other libraries' users write: arguments by position, their names of paddings, "same" of a transposed layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import convmat

rng = np.random.default_rng(0)
X, W = (
    rng.integers(-5, 6, (2, 4, 7, 8)).astype(np.float32),
    rng.integers(-5, 6, (6, 2, 3, 3)).astype(np.float32),
)
BIAS = np.arange(6, dtype=np.float32)


def test_arguments_by_position_come_in_pytorch_s_order() -> None:
    named = convmat.conv(X, W, BIAS, stride=2, padding=1, dilation=2, groups=2)
    assert (convmat.conv2d(X, W, BIAS, 2, 1, 2, 2) == named).all()
    assert (convmat.conv(X, W, BIAS, (2, 2), (1, 1), (2, 2), 2) == named).all()
    line = convmat.conv(X[:, :, 0], W[:, :, 0], None, stride=1, padding=2, dilation=1, groups=2)
    assert (convmat.conv1d(X[:, :, 0], W[:, :, 0], None, 1, 2, 1, 2) == line).all()
    w = W.reshape(4, 3, 3, 3)
    turned = convmat.conv_transpose(X, w, BIAS, stride=2, padding=1, output_padding=1, groups=2, dilation=2)
    assert (convmat.conv_transpose2d(X, w, BIAS, 2, 1, 1, 2, 2) == turned).all()
    assert (convmat.conv_transpose(X, w, BIAS, 2, 1, 1, 2, 2) == turned).all()


@pytest.mark.parametrize(
    ("given", "name"),
    [("reflect", "reflect"), ("symmetric", "symmetric"), ("edge", "edge"), ("wrap", "wrap"),
     ("replicate", "edge"), ("circular", "wrap")],
)  # fmt: skip
def test_paddings_are_those_of_numpy(given: str, name: str) -> None:
    padded = np.pad(X, ((0, 0), (0, 0), (9, 3), (2, 17)), mode=name)  # type: ignore[call-overload]
    y = convmat.conv(X, W, groups=2, padding=((9, 3), (2, 17)), padding_mode=given)
    assert (y == convmat.conv(padded, W, groups=2)).all()
    dy = rng.integers(-3, 4, y.shape).astype(np.float32)
    options: dict[str, Any] = {"groups": 2, "padding": ((9, 3), (2, 17)), "padding_mode": given}
    dx = convmat.conv_input_grad(dy, W, X.shape, **options)
    dw = convmat.conv_weight_grad(X, dy, W.shape, **options)
    assert np.vdot(dx, X) == np.vdot(dy, y) == np.vdot(dw, W)


def test_same_padding_of_a_transposed_convolution_is_the_adjoint_s() -> None:
    x, w = np.array([[[1.0, 10, 100]]]), np.array([[[1.0, 2]]])
    y = convmat.conv_transpose(x, w, stride=4, padding="same")
    assert y.tolist() == [[[1, 2, 0, 0, 10, 20, 0, 0, 100, 200, 0, 0]]]
    assert (y == convmat.conv_input_grad(x, w, (1, 1, 12), stride=4, padding="same")).all()


@pytest.mark.parametrize("padding", ["same", "same_lower"])
@pytest.mark.parametrize("stride", [1, 2, 3, 4, 7])
def test_same_padding_is_the_adjoint_s_whatever_the_stride(padding: str, stride: int) -> None:
    x = rng.integers(-5, 6, (1, 2, 3, 4)).astype(np.float64)
    for taps, dilation in ((1, 1), (2, 1), (3, 1), (3, 2), (6, 1)):
        w = rng.integers(-5, 6, (2, 1, taps, taps)).astype(np.float64)
        options: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
        wanted = convmat.conv_input_grad(x, w, (1, 1, 3 * stride, 4 * stride), **options)
        for extra in (0, stride // 2):
            assert (convmat.conv_transpose(x, w, output_padding=extra, **options) == wanted).all()

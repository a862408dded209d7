"""Arrays of other libraries, by DLPack: one of a kind in, one of that kind out."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import convmat
from convmat import nn

strict = pytest.importorskip("array_api_strict")


class Handed:
    """An array of a library that hands its own over and takes others', and names no namespace."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.array = array

    @property
    def dtype(self) -> Any:
        return self.array.dtype

    def __dlpack__(self, **how: Any) -> Any:
        return self.array.__dlpack__(**how)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


class Elsewhere(Handed):
    """An array on a device that NumPy does not read."""

    def __dlpack__(self, **how: Any) -> Any:
        raise BufferError("it is on the GPU")

    def __dlpack_device__(self) -> Any:
        return (2, 0)


def normal(*shape: int) -> Any:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


def as_strict(array: Any) -> Any:
    return strict.from_dlpack(array.copy())


KINDS = {
    "array_api_strict": (as_strict, lambda y: np.from_dlpack(y)),
    "one without a namespace": (Handed, lambda y: y.array),
}


@pytest.fixture(params=KINDS)
def library(request: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What makes an array of a library, and NumPy's of one."""
    monkeypatch.setattr(Handed, "__module__", "handed.arrays")
    monkeypatch.setitem(sys.modules, "handed", SimpleNamespace(from_dlpack=Handed))
    make, back = KINDS[request.param]
    return SimpleNamespace(make=make, back=back, kind=type(make(np.ones(1, np.float32))))


X, W, BIAS = normal(2, 4, 9, 9), normal(6, 4, 3, 3), normal(6)
Y = convmat.conv(X, W, padding=1)
COLUMNS = convmat.im2col(X, 3)
HOLES = np.where(X > 1, np.float32(np.nan), X)
BYTES = np.arange(10, dtype=np.int8).reshape(1, 2, 5)
NET = nn.build(nn.Conv(3, 3), (4, 9, 9))
CALLS: dict[str, Any] = {
    "conv": lambda a: convmat.conv(a(X), a(W), a(BIAS), padding=1, activation="relu"),
    "conv2d": lambda a: convmat.conv2d(a(X), a(W), stride=2),
    "weights of NumPy": lambda a: convmat.conv(a(X), W),
    "an image": lambda a: convmat.conv(a(X[0]), a(W), residual=a(Y[0]), padding=1),
    "channels last": lambda a: convmat.conv(a(X.transpose(0, 2, 3, 1).copy()), a(W), layout="NHWC"),
    "missing": lambda a: convmat.conv(a(HOLES), a(np.abs(W)), missing="nan"),
    "a mask": lambda a: convmat.conv(a(HOLES), a(np.abs(W)), missing=a(np.isnan(HOLES))),
    "all missing": lambda a: convmat.conv(a(X), a(np.abs(W)), missing=True),
    "scales": lambda a: convmat.conv(a(BYTES), a(BYTES[..., :2]), scale=a(np.full(1, 0.5, np.float32))),
    "not normalised": lambda a: convmat.conv(a(HOLES), a(W), missing="nan", normalize=False),
    "bytes": lambda a: convmat.conv(a(BYTES), a(BYTES[..., :2]), scale=0.5, w_zero_point=1, x_zero_point=3),
    "conv_transpose": lambda a: convmat.conv_transpose(a(Y), a(W), stride=2),
    "input gradient": lambda a: convmat.conv_input_grad(a(Y), a(W), X.shape, padding=1),
    "weight gradient": lambda a: convmat.conv_weight_grad(a(X), a(Y), W.shape, padding=1),
    "its dy alone": lambda a: convmat.conv_weight_grad(X, a(Y), W.shape, padding=1),
    "gradients": lambda a: convmat.conv_grads(a(X), a(W), a(Y), padding=1).w,
    "im2col": lambda a: convmat.im2col(a(X), 3, stride=2),
    "col2im": lambda a: convmat.col2im(a(COLUMNS), X.shape, 3),
    "a network": lambda a: NET(a(X)),
}


@pytest.mark.parametrize("call", CALLS)
def test_an_array_of_a_kind_gives_one_of_that_kind(call: str, library: Any) -> None:
    found, wanted = CALLS[call](library.make), CALLS[call](lambda array: array)
    assert type(found) is library.kind
    assert type(wanted) is np.ndarray
    assert library.back(found).dtype == wanted.dtype
    assert np.array_equal(library.back(found), wanted, equal_nan=True)


def test_the_kind_is_that_of_x_and_plans_read_it(library: Any) -> None:
    assert type(convmat.conv(X, library.make(W))) is np.ndarray
    assert convmat.plan(library.make(X), W.shape).problem.dtype == "float32"
    out = np.empty((2, 6, 7, 7), np.float32)
    made: Any = convmat.conv(library.make(X), library.make(W), out=out)
    assert made is out
    assert np.array_equal(out, convmat.conv(X, W))


def test_what_no_library_takes_back_stays_numpys() -> None:
    """A type from a package that has no from_dlpack; and NumPy's own kinds, which share its door to DLPack."""
    assert type(convmat.conv(Handed(X), W)) is np.ndarray
    assert type(convmat.conv(X.view(np.memmap), W)) is np.ndarray


def test_errors_are_those_of_numpys_arrays(library: Any) -> None:
    for arrays in ((X, W.astype(np.float64)), (X, W[:, :3]), (X.astype(np.int64), W), (X[..., :2], W)):
        texts = []
        for make in (library.make, lambda array: array):
            with pytest.raises(convmat.ConvmatError) as error:
                convmat.conv(*map(make, arrays))
            texts.append(str(error.value))
        assert texts[0] == texts[1]


def test_bfloat16_that_numpy_cannot_read_is_refused_in_words_of_no_library() -> None:
    x = Handed(X.astype(ml_dtypes.bfloat16))
    with pytest.raises(convmat.GeometryError) as error:
        convmat.conv(x, W)
    assert str(error.value).endswith("\n  NumPy has no bfloat16: give x as float32")
    as_float = x.array.astype(np.float32)
    assert np.array_equal(convmat.conv(Handed(as_float), W), convmat.conv(as_float, W))


def test_arrays_on_other_devices_are_refused() -> None:
    with pytest.raises(convmat.GeometryError) as error:
        convmat.conv(Elsewhere(X), W)
    assert str(error.value) == (
        "conv: x cannot be read as an array\n  x is a Elsewhere: it is on the GPU\n"
        "  give a NumPy array, nested lists of equal lengths, or an array on the CPU"
    )

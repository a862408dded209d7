"""Errors of SciPy's door: whole texts, which are SciPy's own, and the calls that they are about made right."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import scipy
from scipy import ndimage as their_ndimage
from scipy import signal as their_signal

from convmat.scipy import ndimage, signal

Call = tuple[str, tuple[Any, ...], dict[str, Any]]

X = np.arange(12.0).reshape(3, 4)
W = np.ones((3, 3))
FLAGS = "Acceptable mode flags are 'valid', 'same', or 'full'."


def call(name: str, *given: Any, **words: Any) -> Call:
    return name, given, words


NDIMAGE: list[tuple[Call, type[Exception], str]] = [
    (call("correlate", X, W, mode="odd"), RuntimeError, "boundary mode not supported"),
    (call("correlate", X, W, mode=["wrap"] * 2), RuntimeError, "A sequence of modes is not supported"),
    (call("uniform_filter", X, [3] * 3), RuntimeError, "sequence argument must have length equal to input rank"),
    (call("uniform_filter", X, 3, axes=1.5), TypeError, "'float' object cannot be interpreted as an integer"),
    (call("uniform_filter", X, 3, axes=object()), ValueError, "axes must be an integer, iterable of integers, or None"),
    (call("uniform_filter", X, 3, axes=2), np.exceptions.AxisError, "axis 2 is out of bounds for array of dimension 2"),
    (call("uniform_filter", X, 3, axes=(0, 2)), ValueError, "specified axis: 2 is out of range"),
    (call("uniform_filter", X, 3, axes=(0, -2)), ValueError, "axes must be unique"),
    (call("uniform_filter1d", X, 3, 2), np.exceptions.AxisError, "axis 2 is out of bounds for array of dimension 2"),
    (call("uniform_filter", X.astype(np.float16)), RuntimeError, "array type dtype('float16') not supported"),
    (call("gaussian_filter", X * 1j, 1, output=float), RuntimeError, "output must have complex dtype"),
    (call("correlate", X * 1j, W, output="float64"), RuntimeError, "output must have complex dtype"),
    (call("correlate", X, W, output="U3"), RuntimeError, "output must have numeric dtype"),
    (call("correlate", X, W, output=np.ones(3)), RuntimeError, "output shape not correct"),
    (call("correlate", X * 1j, W, output=np.ones((3, 4))), RuntimeError, "output must have complex dtype"),
    (call("maximum_filter", X, 3, cval=1j, mode="constant"), TypeError, "must be real number, not complex"),
    (call("gaussian_filter1d", X, 1, radius=-1), ValueError, "Radius must be a nonnegative integer."),
    (call("gaussian_filter1d", X, 1, order=-1), ValueError, "order must be non-negative"),
    (call("maximum_filter1d", X, 0), RuntimeError, "incorrect filter size"),
    (call("uniform_filter1d", X, 0), RuntimeError, "incorrect filter size"),
    (call("maximum_filter1d", X, 3, origin=2), ValueError, "invalid origin"),
    (call("maximum_filter", X, footprint=np.zeros((3, 3))), ValueError, "All-zero footprint is not supported."),
    (call("minimum_filter", X), RuntimeError, "no footprint provided"),
    (
        call("minimum_filter", X, footprint=[1, 0, 1]), RuntimeError,
        "footprint.ndim (1) must match len(axes) (2)",
    ),
    (
        call("minimum_filter", X, footprint=np.eye(3), axes=1), RuntimeError,
        "footprint.ndim (2) must match len(axes) (1)",
    ),
    (
        call("minimum_filter", X, footprint=np.eye(3), mode=["wrap"] * 2), RuntimeError,
        "A sequence of modes is not supported for non-separable footprints",
    ),
    (call("maximum_filter", X * 1j, 3), TypeError, "Complex type not supported"),
    (
        call("correlate", X, W * 1j, cval=1j), ValueError,
        "Cannot provide a complex-valued cval when the input is real.",
    ),
    (call("correlate", X, [1.0, 2.0]), RuntimeError, "weights.ndim (1) must match len(axes) (2)"),
    (call("correlate", X, W, axes=1), RuntimeError, "weights.ndim (2) must match len(axes) (1)"),
    (call("correlate1d", X, []), RuntimeError, "no filter weights given"),
]  # fmt: skip
"""What is wrong with a call of scipy.ndimage's, and what both say."""

OURS: list[tuple[Call, Call, type[Exception], str]] = [
    (
        call("correlate", X, filters=W[None], axes=(1, 0)),
        call("correlate", X, filters=W[None]),
        ValueError, "filters=, stride= and dilation= go along all axes, in order",
    ),
    (
        call("correlate", X, filters=W), call("correlate", X, filters=W[None]),
        RuntimeError, "filters must have a number axis and 2 more with elements, got shape (3, 3)",
    ),
]  # fmt: skip
"""What is wrong with keywords that SciPy has not, with the call made right."""

SIGNAL: list[tuple[Call, type[Exception], str]] = [
    (call("convolve", X, W[0]), ValueError, "volume and kernel should have the same dimensionality"),
    (call("convolve", X, W, method="slow"), ValueError, "Acceptable method flags are 'auto', 'direct', or 'fft'."),
    (call("convolve", X, W, "odd", "direct"), ValueError, FLAGS),
    (call("correlate", X, W[0]), ValueError, "in1 and in2 should have the same dimensionality"),
    (call("correlate", X, W, "odd"), ValueError, FLAGS),
    (call("fftconvolve", X, W[0]), ValueError, "in1 and in2 should have the same dimensionality"),
    (
        call("fftconvolve", X, np.ones((2, 3)), axes=1), ValueError,
        "incompatible shapes for in1 and in2: (3, 4) and (2, 3)",
    ),
    (call("fftconvolve", X, W, "odd"), ValueError, "acceptable mode flags are 'valid', 'same', or 'full'"),
    (call("fftconvolve", X, W, axes=()), ValueError, "when provided, axes cannot be empty"),
    (call("fftconvolve", X, W, axes=1.5), ValueError, "axes must be a scalar or iterable of integers"),
    (call("fftconvolve", X, W, axes=2), ValueError, "axes exceeds dimensionality of input"),
    (call("fftconvolve", X, W, axes=(0, -2)), ValueError, "all axes must be unique"),
    (call("convolve2d", X, W[0]), ValueError, "convolve2d inputs must both be 2-D arrays"),
    (call("correlate2d", X, W[0]), ValueError, "correlate2d inputs must both be 2-D arrays"),
    (
        call("convolve", X, np.ones((4, 1)), "valid"), ValueError,
        "For 'valid' mode, one must be at least as large as the other in every dimension",
    ),
    (call("convolve2d", X, W, "odd"), ValueError, FLAGS),
    (
        call("convolve2d", X, W, boundary="odd"), ValueError,
        "Acceptable boundary flags are 'fill', 'circular' (or 'wrap'), and 'symmetric' (or 'symm').",
    ),
    (
        call("convolve2d", X, W, fillvalue=[1, 2]), ValueError,
        "`fillvalue` must be scalar or an array with one element.",
    ),
    (
        call("convolve2d", X, W, fillvalue=1j), ValueError,
        "could not cast `fillvalue` directly to the output type (it was first converted to complex).",
    ),
]  # fmt: skip
"""The same of scipy.signal's."""

NEW = tuple(map(int, scipy.__version__.split(".")[:2])) >= (1, 17)


def refused(module: Any, wrong: Call, kind: type[Exception]) -> str:
    name, given, words = wrong
    with pytest.raises(kind) as error:
        getattr(module, name)(*given, **words)
    assert error.type is kind
    return str(error.value)


@pytest.mark.parametrize(("module", "theirs", "cases"), [
    (ndimage, their_ndimage, NDIMAGE), (signal, their_signal, SIGNAL),
], ids=["ndimage", "signal"])  # fmt: skip
def test_errors_are_scipys(module: Any, theirs: Any, cases: list[tuple[Call, type[Exception], str]]) -> None:
    """In the words of 1.17, whichever SciPy is there."""
    for wrong, kind, text in cases:
        assert refused(module, wrong, kind) == text
        if NEW:
            with warnings.catch_warnings(action="ignore"):  # that a part of what is refused then is lost
                assert refused(theirs, wrong, kind) == text


@pytest.mark.parametrize(("wrong", "right", "kind", "text"), OURS)
def test_errors_of_our_own_keywords(wrong: Call, right: Call, kind: type[Exception], text: str) -> None:
    assert refused(ndimage, wrong, kind) == text
    name, given, words = right
    assert getattr(ndimage, name)(*given, **words).shape == (1, 3, 4)

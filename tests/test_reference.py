"""The definition, held to sums worked by hand: everything else is held to the definition."""

from __future__ import annotations

import numpy as np

from convmat.geometry import Geometry
from convmat.reference import convolve


def test_a_line() -> None:
    """1*10 + 2*1, 2*10 + 3*1."""
    assert convolve(
        np.array([[[1, 2, 3]]]), np.array([[[10, 1]]]), Geometry.of((1, 1, 3), (1, 1, 2))
    ).tolist() == [[[12, 23]]]


def test_padding_stride_and_dilation() -> None:
    """With a zero before and two behind, every second window of x[p - 1] and 10 * x[p + 1]: 0+20, 2+40, 4+0."""
    g = Geometry.of((1, 1, 4), (1, 1, 2), padding=((1, 2),), stride=2, dilation=2)
    assert convolve(np.array([[[1, 2, 3, 4]]]), np.array([[[1, 10]]]), g).tolist() == [[[20, 42, 4]]]


def test_negative_padding_crops() -> None:
    g = Geometry.of((1, 1, 5), (1, 1, 1), padding=((-1, -2),))
    assert convolve(np.arange(5)[None, None], np.ones((1, 1, 1)), g).tolist() == [[[1, 2]]]


def test_channels_are_summed_and_groups_are_not() -> None:
    x, w = np.array([[[1], [2], [3], [4]]]), np.array([[[1], [10]], [[100], [1000]]])
    assert convolve(x, w, Geometry.of(x.shape, w.shape, groups=2)).tolist() == [[[21], [4300]]]
    whole = np.array([[[1], [10], [100], [1000]]])
    assert convolve(x, whole, Geometry.of(x.shape, whole.shape)).tolist() == [[[4321]]]


def test_two_axes_and_two_images() -> None:
    """Each window is its four corners' sum, weighted by the place."""
    x = np.array([[[[1, 2, 3], [4, 5, 6]]], [[[0, 0, 1], [0, 1, 0]]]])
    w = np.array([[[[1, 10], [100, 1000]]]])
    assert convolve(x, w, Geometry.of(x.shape, w.shape)).tolist() == [[[[5421, 6532]]], [[[1000, 110]]]]


def test_input_dilation_skips_taps_between_elements() -> None:
    """x with a zero between its elements, 1 0 2: 1*1 + 0 + 100*2 and nothing else."""
    g = Geometry.of((1, 1, 2), (1, 1, 3), input_dilation=2)
    assert convolve(np.array([[[1, 2]]]), np.array([[[1, 10, 100]]]), g).tolist() == [[[201]]]


def test_complex_weights_are_not_conjugated_and_nothing_sums_to_zero() -> None:
    found = convolve(np.array([[[1j]]]), np.array([[[2 + 1j]]]), Geometry.of((1, 1, 1), (1, 1, 1)))
    assert found.tolist() == [[[-1 + 2j]]]
    assert found.dtype == np.complex128
    empty = convolve(np.ones((1, 0, 2)), np.ones((1, 0, 1)), Geometry.of((1, 0, 2), (1, 0, 1)))
    assert empty.tolist() == [[[0, 0]]]

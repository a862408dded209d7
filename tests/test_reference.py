"""The definition, held to sums worked by hand: everything else is held to the definition."""

from __future__ import annotations

import numpy as np
import pytest

from convmat.cases import CASES, Case
from convmat.geometry import Geometry
from convmat.reference import convolve
from tests.engine.drawn import by_generator, kind, sized
from tests.support import TAILS, by_taps, gradients, integers


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


def hold(g: Geometry, kind: str) -> None:
    """Sums by taps are those by elements, of the definition and of products scattered back."""
    rng = np.random.default_rng(g.k)
    x, w, dy = (integers(rng, shape, kind) for shape in (g.x_shape, g.w_shape, g.y_shape))
    y, *found = by_taps(x, w, dy, g, x.dtype)
    np.testing.assert_array_equal(y, convolve(x, w, g))
    for one, other in zip(found, gradients(x, w, dy, g), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "each", [pytest.param(each, marks=() if each in TAILS else pytest.mark.slow) for each in CASES], ids=str
)
def test_sums_by_taps_are_the_definition_s(each: Case) -> None:
    """What most tests are judged by; every fourth case in complex numbers."""
    hold(each.geometry, "real" if CASES.index(each) % 4 else "complex")


def test_sums_by_taps_are_the_definition_s_on_random_geometries() -> None:
    pick, small = by_generator(np.random.default_rng(5)), 0
    while small < 40:
        g = sized(kind(pick), pick).geometry
        if np.prod(g.y_shape) * g.k <= 20_000:
            small += 1
            hold(g, "real" if small % 4 else "complex")

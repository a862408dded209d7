"""What no geometry can be: each refusal's whole text, and what it suggests; and what geometries say of themselves."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convmat import Geometry, GeometryError
from tests.slips import Slip, hold

SLIPS = {
    "one column too wide": Slip(
        "of((1, 1, 4, 4), (1, 1, 3, 7), padding=1)",
        "conv: the filter is wider than the padded input on axis W\n"
        "  input W = 4, padding (1, 1) -> 6;  filter W = 7, dilation 1 -> reach 7\n"
        "  7 > 6: one more column is enough, e.g. padding=((1, 1), (1, 2))",
        "of((1, 1, 4, 4), (1, 1, 3, 7), padding=((1, 1), (1, 2)))",
    ),
    "too wide on two axes": Slip(
        "of((1, 1, 2, 4), (1, 1, 5, 7), dilation=(2, 1))",
        "conv: the filter is wider than the padded input on axis H\n"
        "  input H = 2, padding (0, 0) -> 2;  filter H = 5, dilation 2 -> reach 9\n"
        "  9 > 2: 7 more rows are enough, e.g. padding=((0, 7), (0, 3))",
        "of((1, 1, 2, 4), (1, 1, 5, 7), dilation=(2, 1), padding=((0, 7), (0, 3)))",
    ),
    "too wide for the spread input": Slip(
        "of((1, 1, 3), (1, 1, 9), input_dilation=2)",
        "conv: the filter is wider than the padded input on axis W\n"
        "  input W = 3 (5 with input dilation), padding (0, 0) -> 5;  filter W = 9, dilation 1 -> "
        "reach 9\n"
        "  9 > 5: 4 more columns are enough, e.g. padding=((0, 4),)",
        "of((1, 1, 3), (1, 1, 9), input_dilation=2, padding=((0, 4),))",
    ),
    "too deep, of four axes": Slip(
        "of((1, 1, 2, 2, 2, 2), (1, 1, 3, 1, 1, 1))",
        "conv: the filter is wider than the padded input on axis 0\n"
        "  input 0 = 2, padding (0, 0) -> 2;  filter 0 = 3, dilation 1 -> reach 3\n"
        "  3 > 2: one more element is enough, e.g. padding=((0, 1), (0, 0), (0, 0), (0, 0))",
        "of((1, 1, 2, 2, 2, 2), (1, 1, 3, 1, 1, 1), padding=((0, 1), (0, 0), (0, 0), (0, 0)))",
    ),
    "more elements than offsets": Slip(
        "of((2**40, 2**10, 2**10), (1, 2**10, 1))",
        "geometry: x has too many elements to address\n"
        "  x 1099511627776x1024x1024 = 1152921504606846976 elements of up to 16 bytes\n"
        "  at most 576460752303423487 elements fit 64-bit offsets: split the batch or the image",
        "of((2**38, 2**10, 2**10), (1, 2**10, 1))",
    ),
    "a step beyond offsets": Slip(
        "of((1, 2**30, 2**10), (1, 2**30, 1), stride=2**30)",
        "geometry: a step along axis W passes what 64-bit offsets reach\n"
        "  stride 1073741824, dilation 1, input dilation 1, padding (0, 0);  1073741824 elements "
        "lie beside each other\n"
        "  at most 536870911 in all: take less",
        "of((1, 2**30, 2**10), (1, 2**30, 1), stride=2**29 - 1)",
    ),
    "too many phases": Slip(
        "of((1, 1, 5, 5, 5, 5), (1, 1, 190, 190, 190, 190), input_dilation=127, stride=3, dilation=2, padding=200)",
        "geometry: the input dilation makes too many phases\n"
        "  input dilation 127x127x127x127 (the stride, of a transposed convolution or an input "
        "gradient), dilation 2x2x2x2: more than 4096 dense products\n"
        "  at most 4096: put zeros between the elements of x first, and convolve with stride 1",
        "of((1, 1, 509, 509, 509, 509), (1, 1, 190, 190, 190, 190), stride=1, dilation=2, padding=200)",
    ),
    "transposed filters of other channels": Slip(
        "transposed((1, 4, 8, 8), (3, 2, 3, 3))",
        "conv_transpose: the channels of x do not match the filters in groups\n"
        "  x has C = 4, w 3x2x3x3 is (C, O//G, *F) and takes C = 3;  groups = 1\n"
        "  C must be w.shape[0] and a multiple of groups, e.g. w of shape (4, 2, 3, 3) with groups=1",
        "transposed((1, 4, 8, 8), (4, 2, 3, 3), groups=1)",
    ),
    "transposed groups that do not divide": Slip(
        "transposed((1, 4, 8, 8), (4, 2, 3, 3), groups=3)",
        "conv_transpose: the channels of x do not match the filters in groups\n"
        "  x has C = 4, w 4x2x3x3 is (C, O//G, *F) and takes C = 4;  groups = 3\n"
        "  C must be w.shape[0] and a multiple of groups, e.g. w of shape (4, 2, 3, 3) with groups=1",
        "transposed((1, 4, 8, 8), (4, 2, 3, 3), groups=1)",
    ),
    "transposed, all padded away": Slip(
        "transposed((1, 4, 2, 2), (4, 2, 3, 3), padding=3)",
        "conv_transpose: the padding leaves no output on axis H\n"
        "  input H = 2, stride 1, filter 3, dilation 1, output_padding 0 -> 4;  padding (3, 3)\n"
        "  4 - 3 - 3 < 1: less padding is needed, e.g. padding=0",
        "transposed((1, 4, 2, 2), (4, 2, 3, 3), padding=0)",
    ),
    "transposed, of nothing": Slip(
        "transposed((1, 4, 0), (4, 2, 1))",
        "conv_transpose: the padding leaves no output on axis W\n"
        "  input W = 0, stride 1, filter 1, dilation 1, output_padding 0 -> 0;  padding (0, 0)\n"
        "  0 - 0 - 0 < 1: x needs an element along W",
        "transposed((1, 4, 1), (4, 2, 1))",
    ),
    "transposed, less than no output padding": Slip(
        "transposed((1, 4, 8, 8), (4, 2, 3, 3), output_padding=-1)",
        "conv_transpose: output_padding is too small\n"
        "  output_padding = -1\n"
        "  at least 0 is needed, e.g. output_padding=1",
        "transposed((1, 4, 8, 8), (4, 2, 3, 3), output_padding=1)",
    ),
}


@pytest.mark.parametrize("name", SLIPS)
def test_what_is_suggested_works(name: str) -> None:
    hold(SLIPS[name])


@given(
    st.lists(st.integers(1, 9), min_size=2, max_size=2), st.lists(st.integers(1, 9), min_size=2, max_size=2),
    st.integers(1, 4), st.integers(1, 3), st.integers(1, 2), st.integers(-1, 3), st.booleans(),
)  # fmt: skip
def test_a_geometry_of_other_extents_is_what_it_would_have_been(
    first: list[int], second: list[int], F: int, stride: int, dilation: int, padding: int, transposed: bool
) -> None:
    def make(batch: int, pixels: list[int]) -> Geometry | None:
        x, w = (batch, 4, *pixels), (4, 4, F, F)
        of = Geometry.transposed if transposed else Geometry.of
        try:
            return of(x, w, padding=padding, stride=stride, dilation=dilation)
        except GeometryError:
            return None

    known = make(1, first)
    if known is not None:
        assert known.resize(2, (second[0], second[1])) == make(2, second)
        assert known.resize(2, (0, 3)) is None


@given(*[st.integers(1, 9)] * 4, st.integers(-1, 3))
def test_the_phase_of_undilated_x_is_that_of_its_axes(
    I: int, F: int, stride: int, dilation: int, padding: int
) -> None:
    try:
        g = Geometry.of((1, 2, I, I + 1), (3, 2, F, 1), stride=stride, dilation=dilation, padding=padding)
    except GeometryError:
        return
    [axes] = itertools.product(*(g._axis_phases(a) for a in range(2)))
    assert g.phases() == (g._phase(axes),)

"""What each lowering refuses, in whole sentences, and that the plan it is forced upon says so, with a way out."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from convmat import PlanError, plan
from convmat.lowering import ALL


class Refused(NamedTuple):
    """A lowering, the filter's shape and keywords that it refuses, and its sentence; x is as small as it can be."""

    lowering: str
    w: tuple[int, ...]
    options: dict[str, Any]
    said: str

    @property
    def x(self) -> tuple[int, ...]:
        return 1, self.w[1], *(extent + 5 for extent in self.w[2:])


W = (4, 4, 3, 3)
REFUSED = (
    Refused("pointwise", W, {}, "needs a 1x1 filter, got 3x3"),
    Refused("pointwise", (4, 4, 1, 1), {"padding": 1},
            "needs every output inside the input, got padding ((1, 1), (1, 1))"),
    Refused("depthwise", W, {}, "needs one input channel a group, got 4"),
    Refused("dots", W, {},
            "needs a filter of as many positions as the output, which has up to 1,024: got 3x3 and 6x6"),
    Refused("dots", (9, 1, 3, 3), {}, "takes up to 8 pairs of an image and a filter a group, got 9"),
    Refused("dots", (4, 4, 3, 3, 3), {}, "takes one or two spatial axes, got 3"),
    Refused("dots", (1, 1, 3, 3), {"dtype": "int8"}, "sums in strands of floating-point numbers, got int8"),
    Refused("mec", (4, 4, 1, 3), {}, "needs a filter of two rows or more to overlap, got 1"),
    Refused("mec", W, {"dilation": (2, 1)},
            "needs dilation 1 on the first spatial axis (a window's rows must be one run), got 2"),
    Refused("mec", W[:3], {}, "needs two spatial axes or more: the first one stays as it is, got 1"),
    Refused("kn2row", (4, 4, 1, 1), {}, "needs more than one filter position: with one it is the pointwise product"),
    Refused("kn2row", (1, 1, 17, 17), {}, "makes a product of each filter position, at most 256, got 289"),
    Refused("winograd 4", W, {"stride": 2}, "takes stride 1 along an axis of several taps, got 2x2 for 3x3"),
    Refused("winograd 4", (4, 4, 1, 1), {}, "needs more than one filter position: a 1x1 filter multiplies no less"),
    Refused("winograd 4", (1, 1, 9, 9), {}, "takes filters up to 7 wide, got 9x9"),
    Refused("winograd 2", (1, 1, 3, 3, 3, 3), {},
            "tiles two axes of stride 1 and takes one more, got 4 axes, stride 1x1x1x1"),
    Refused("winograd 2", (1, 1, 3, 3, 3), {"stride": (2, 2, 1)},
            "tiles two axes of stride 1 and takes one more, got 3 axes, stride 2x2x1"),
    Refused("pieces", (*W[:3], 3, 3), {}, "takes one or two spatial axes, got 3"),
    Refused("pieces", W, {"stride": 2}, "takes stride 1, got 2x2"),
    Refused("pieces", W, {},
            "needs a filter longer than the output, and several outputs, on an axis: got 3x3 and 6x6"),
    Refused("fft", (4, 4, 1, 1), {}, "needs two filter positions in a window: with one it multiplies no less"),
    Refused("fft", W, {"dtype": "int8"}, "rounds: sums of int8 are exact otherwise"),
    Refused("bfloat16", W, {"dtype": "float64"}, "rounds float32 to bfloat16, got float64"),
    Refused("bfloat16", W, {"deterministic": True}, "adds two products at once, in an order of its own"),
)  # fmt: skip


@pytest.mark.parametrize("each", REFUSED, ids=lambda each: f"{each.lowering}: {each.said.split(',')[0]}")
def test_a_refusal_and_the_way_out(each: Refused) -> None:
    with pytest.raises(PlanError) as caught:
        plan(each.x, each.w, lowering=each.lowering, **each.options)
    problem = plan(each.x, each.w, **each.options).problem
    assert str(caught.value) == (
        f"plan: the lowering {each.lowering!r} refuses this problem: {each.said}\n"
        f"  {problem.geometry}, {problem.dtype}\n"
        "  omit lowering=, or use lowering='im2col' with engine='blas', which refuses nothing but memory limits"
    )
    assert plan(each.x, each.w, lowering="im2col", engine="blas", **each.options).chosen.lowering == "im2col"


def test_all_but_im2col_refuse_something() -> None:
    families = {each.lowering.split()[0] for each in REFUSED}
    assert families | {"im2col"} == {each.name.split()[0] for each in ALL}

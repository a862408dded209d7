"""What people write where numbers are wanted: every refusal's whole text, and what it suggests."""

from __future__ import annotations

import pytest

from tests.slips import Slip, hold

SLIPS = {
    "too small": Slip(
        "of((1, 4, 8, 8), (4, 4, 3, 3), groups=0)",
        "conv: groups is too small\n  groups = 0\n  at least 1 is needed, e.g. groups=1",
        "of((1, 4, 8, 8), (4, 4, 3, 3), groups=1)",
    ),
    "a fraction": Slip(
        "of((1, 4, 8, 8), (4, 4, 3, 3), groups=1.5)",
        "conv: groups must be a whole number\n  groups = 1.5\n  give an int of at least 1, e.g. groups=1",
        "of((1, 4, 8, 8), (4, 4, 3, 3), groups=1)",
    ),
    "a truth": Slip(
        "of((1, 4, 8, 8), (4, 4, 3, 3), groups=True)",
        "conv: groups must be a whole number\n  groups = True\n  give an int of at least 1, e.g. groups=1",
        "of((1, 4, 8, 8), (4, 4, 3, 3), groups=1)",
    ),
    "beyond 64 bits": Slip(
        "of((1, 4, 8, 8), (4, 4, 3, 3), stride=2**63)",
        "conv: stride does not fit 64 bits\n"
        "  stride = 9223372036854775808\n"
        "  at most 9223372036854775807, e.g. stride=1",
        "of((1, 4, 8, 8), (4, 4, 3, 3), stride=1)",
    ),
    "a number an axis, and one more": Slip(
        "of((1, 4, 8, 8), (4, 4, 3, 3), stride=(1, 2, 3))",
        "conv: stride has the wrong number of entries\n"
        "  stride = (1, 2, 3) has 3, the convolution has 2 spatial axes (H, W)\n"
        "  give one number, or one per axis, e.g. stride=(1, 1)",
        "of((1, 4, 8, 8), (4, 4, 3, 3), stride=(1, 1))",
    ),
    "one of several": Slip(
        "of((1, 4, 8, 8), (4, 4, 3, 3), dilation=(1, 0))",
        "conv: dilation[1] is too small\n  dilation[1] = 0\n  at least 1 is needed, e.g. 1",
        "of((1, 4, 8, 8), (4, 4, 3, 3), dilation=(1, 1))",
    ),
    "a word": Slip(
        'of((1, 4, 8, 8), (4, 4, 3, 3), padding="full")',
        "conv: unknown padding\n"
        "  padding = 'full'\n"
        '  give a number, one per axis, (lo, hi) per axis, "valid", "same" or "same_lower"',
        'of((1, 4, 8, 8), (4, 4, 3, 3), padding="same_lower")',
    ),
    "three numbers on two axes": Slip(
        "of((1, 4, 8, 8), (4, 4, 3, 3), padding=(1, 2, 3))",
        "conv: padding has the wrong number of entries\n"
        "  padding = (1, 2, 3) has 3, the convolution has 2 spatial axes (H, W)\n"
        "  give one number, or one per axis, e.g. padding=(1, 1)",
        "of((1, 4, 8, 8), (4, 4, 3, 3), padding=(1, 1))",
    ),
    "a pair and a number": Slip(
        "of((1, 4, 8, 8), (4, 4, 3, 3), padding=((1, 2), 3))",
        "conv: nested padding needs one (lo, hi) pair per axis\n"
        "  padding = ((1, 2), 3)\n"
        "  2 spatial axes, e.g. padding=((1, 1), (1, 1))",
        "of((1, 4, 8, 8), (4, 4, 3, 3), padding=((1, 1), (1, 1)))",
    ),
    "a word in a pair": Slip(
        'of((1, 4, 8, 8), (4, 4, 3, 3), padding=((1, 2), (3, "a")))',
        "conv: padding[1][1] must be a whole number\n  padding[1][1] = 'a'\n  give an int, e.g. 1",
        "of((1, 4, 8, 8), (4, 4, 3, 3), padding=((1, 2), (3, 1)))",
    ),
    "nothing": Slip(
        "of((1, 4, 8, 8), (4, 4, 3, 3), padding=None)",
        "conv: padding must be a whole number\n  padding = None\n  give an int, e.g. padding=1",
        "of((1, 4, 8, 8), (4, 4, 3, 3), padding=1)",
    ),
    "a shape that is a number": Slip(
        "of(8, (4, 3, 3, 3))",
        "conv: x_shape must be a sequence of whole numbers, at most 64\n"
        "  x_shape = 8\n"
        "  e.g. x_shape=(1, 3, 8, 8)",
        "of((1, 3, 8, 8), (4, 3, 3, 3))",
    ),
    "a shape that is a word": Slip(
        'of((1, 3, 8, 8), "4433")',
        "conv: w_shape must be a sequence of whole numbers, at most 64\n"
        "  w_shape = '4433'\n"
        "  e.g. w_shape=(4, 3, 3, 3)",
        "of((1, 3, 8, 8), (4, 3, 3, 3))",
    ),
    "a negative extent": Slip(
        "of((1, 4, -8, 8), (4, 4, 1, 1))",
        "conv: x_shape[2] is too small\n  x_shape[2] = -8\n  at least 0 is needed, e.g. 1",
        "of((1, 4, 1, 8), (4, 4, 1, 1))",
    ),
    "no spatial axes": Slip(
        "of((1, 4), (4, 4))",
        "conv: x and w must have a batch or filter axis, a channel axis and the same spatial axes\n"
        "  x has 2 axes 1x4;  w has 2 axes 4x4\n"
        "  x: (B, C, *I) and w: (O, C//G, *F): give both two more axes, x[None, None] and w[None, "
        "None] (lists: [[x]] and [[w]])",
        "of((1, 1, 1, 4), (1, 1, 4, 4), padding=2)",
    ),
    "axes that differ": Slip(
        "of((1, 4, 8, 8), (4, 4, 3))",
        "conv: x and w must have a batch or filter axis, a channel axis and the same spatial axes\n"
        "  x has 4 axes 1x4x8x8;  w has 3 axes 4x4x3\n"
        "  x: (B, C, *I) and w: (O, C//G, *F): with one spatial axis or more, e.g. x 1x3x8x8 and w "
        "4x3x3x3",
        "of((1, 3, 8, 8), (4, 3, 3, 3))",
    ),
    "a filter of no width": Slip(
        "of((1, 4, 8, 8), (4, 4, 3, 0))",
        "conv: the filter has no elements along an axis\n"
        "  w 4x4x3x0\n"
        "  every spatial extent of w must be at least 1, e.g. w of shape (4, 4, 3, 1)",
        "of((1, 4, 8, 8), (4, 4, 3, 1))",
    ),
    "groups left out": Slip(
        "of((1, 4, 8, 8), (4, 2, 3, 3))",
        "conv: the channels of x do not match the filters in groups\n"
        "  x has C = 4, w 4x2x3x3 is (O, C//G, *F) and takes 2 channels a group;  groups = 1\n"
        "  1 * 2 != 4: groups=2 fits these arrays",
        "of((1, 4, 8, 8), (4, 2, 3, 3), groups=2)",
    ),
    "filters that do not divide": Slip(
        "of((1, 4, 8, 8), (5, 2, 3, 3), groups=2)",
        "conv: the channels of x do not match the filters in groups\n"
        "  x has C = 4, w 5x2x3x3 is (O, C//G, *F) and takes 2 channels a group;  groups = 2\n"
        "  5 filters do not divide into 2 groups: give w the shape (6, 2, 3, 3)",
        "of((1, 4, 8, 8), (6, 2, 3, 3), groups=2)",
    ),
    "filters of other channels": Slip(
        "of((1, 4, 8, 8), (4, 3, 3, 3), groups=2)",
        "conv: the channels of x do not match the filters in groups\n"
        "  x has C = 4, w 4x3x3x3 is (O, C//G, *F) and takes 3 channels a group;  groups = 2\n"
        "  2 * 3 != 4: give w the shape (4, 2, 3, 3)",
        "of((1, 4, 8, 8), (4, 2, 3, 3), groups=2)",
    ),
    "groups that fit neither": Slip(
        "of((1, 4, 8, 8), (4, 4, 3, 3), groups=3)",
        "conv: the channels of x do not match the filters in groups\n"
        "  x has C = 4, w 4x4x3x3 is (O, C//G, *F) and takes 4 channels a group;  groups = 3\n"
        "  3 * 4 != 4: groups=1 fits these arrays",
        "of((1, 4, 8, 8), (4, 4, 3, 3), groups=1)",
    ),
    "channels that do not divide": Slip(
        "of((1, 4, 8, 8), (6, 3, 3, 3), groups=3)",
        "conv: the channels of x do not match the filters in groups\n"
        "  x has C = 4, w 6x3x3x3 is (O, C//G, *F) and takes 3 channels a group;  groups = 3\n"
        "  4 channels do not divide into 3 groups: groups=2 fits w of shape (6, 2, 3, 3)",
        "of((1, 4, 8, 8), (6, 2, 3, 3), groups=2)",
    ),
}


@pytest.mark.parametrize("name", SLIPS)
def test_what_is_suggested_works(name: str) -> None:
    hold(SLIPS[name])

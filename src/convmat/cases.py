"""Named geometries: the table that tests, benchmarks and docs share.

A name is read from left to right: `2d/depthwise/tail` has two spatial axes, one channel a group, and extents that no
vector divides. Most kinds come in three variants:

    plain          pixels and output channels fill whole vectors of 16 and of 8
    tail           one short of, or one over, a multiple of either
    strided-tail   the same with a stride more along each axis, another one on each

All are small: the definition's loops need a fraction of a second. `LAYERS` and `IMAGES` are what benchmarks run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import PlanError
from .geometry import Geometry

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Case:
    """A name, the shapes of x and w, and the keywords that make a Geometry of them.

    With `transposed`, w is (C, O//G, *F) and `options` are those of `Geometry.transposed`.

    >>> case("2d/3x3/tail").geometry.y_shape
    (2, 5, 5, 17)
    """

    name: str
    x_shape: Shape
    w_shape: Shape
    options: Mapping[str, Any] = field(default_factory=dict)
    transposed: bool = False

    @property
    def geometry(self) -> Geometry:
        """The case as a Geometry."""
        make = Geometry.transposed if self.transposed else Geometry.of
        return make(self.x_shape, self.w_shape, **self.options)

    def __str__(self) -> str:
        return self.name


def case(name: str) -> Case:
    """The case or layer of that name; KeyError if there is none.

    >>> case("3x3 64->64 @56 pad 1").geometry.P
    (56, 56)
    """
    found = next((each for each in (*CASES, *LAYERS, *IMAGES) if each.name == name), None)
    if found is None:
        raise KeyError(name)
    return found


def _kind(
    name: str,
    F: Shape,
    *,
    C: Shape = (4, 3),
    O: Shape = (16, 5),
    G: Shape = (1, 1),
    I: tuple[Shape, Shape] | None = None,
    stride: int = 1,
    transposed: bool = False,
    **options: Any,
) -> Iterator[Case]:
    """The three variants of a kind; pairs are (plain, tail), `I` the input's extents."""
    rank = len(F)
    plain, tail = I or ((*(3,) * (rank - 1), 16), (*(5,) * (rank - 1), 17))
    more = tuple(stride + 1 + (rank - 1 - a) % 2 for a in range(rank))
    for variant, extents, at, s in (
        ("plain", plain, 0, (stride,) * rank),
        ("tail", tail, 1, (stride,) * rank),
        ("strided-tail", tail, 1, more),
    ):
        channels, filters = (C[at], O[at] // G[at]) if transposed else (O[at], C[at] // G[at])
        given: dict[str, Any] = dict(options)
        if s != (1,) * rank:
            given["stride"] = s
        if G[at] > 1:
            given["groups"] = G[at]
        yield Case(f"{name}/{variant}", (2, C[at], *extents), (channels, filters, *F), given, transposed)


CASES: tuple[Case, ...] = (
    *_kind("2d/3x3", (3, 3), padding=1),
    *_kind("2d/first-layer", (7, 7), C=(3, 3), stride=2, padding=3, I=((4, 32), (5, 33))),
    *_kind("2d/1x1", (1, 1), C=(16, 5)),
    *_kind("2d/1x7", (1, 7), padding=(0, 3)),
    *_kind("2d/valid", (3, 3), I=((4, 18), (5, 19))),
    *_kind("2d/padding-beyond-filter", (3, 2), padding=(3, 4), I=((2, 9), (1, 10))),
    *_kind("2d/asymmetric", (3, 3), padding=((0, 2), (2, 1)), I=((3, 15), (3, 16))),
    *_kind("2d/crop", (3, 3), padding=((-1, 0), (1, -2)), I=((5, 19), (6, 18))),
    *_kind("2d/same", (3, 4), padding="same"),
    *_kind("2d/same-lower", (2, 4), padding="same_lower"),
    *_kind("2d/dilated", (3, 3), padding=2, dilation=2),
    *_kind("2d/dilated-apart", (2, 3), padding=(2, 3), dilation=(2, 3)),
    *_kind("2d/grouped", (3, 3), C=(8, 6), O=(32, 9), G=(2, 3), padding=1),
    *_kind("2d/grouped-narrow", (3, 3), C=(32, 10), O=(32, 10), G=(8, 5), padding=1),
    *_kind("2d/grouped-1x1", (1, 1), C=(8, 6), O=(32, 9), G=(2, 3)),
    *_kind("2d/depthwise", (3, 3), C=(16, 5), O=(16, 5), G=(16, 5), padding=1),
    *_kind("2d/depthwise-multiplier", (3, 3), C=(8, 3), O=(16, 9), G=(8, 3), padding=1),
    *_kind("2d/depthwise-dilated", (3, 3), C=(16, 3), O=(16, 3), G=(16, 3), padding=2, dilation=2),
    *_kind("2d/transposed", (3, 3), transposed=True, stride=2, padding=1, I=((2, 8), (2, 9))),
    *_kind("2d/transposed-gaps", (2, 2), transposed=True, stride=3, I=((2, 5), (1, 6))),
    *_kind("2d/transposed-dilated", (3, 2), transposed=True, dilation=(2, 3), padding=((1, 0), (0, 2))),
    *_kind("2d/transposed-extra", (3, 3), transposed=True, stride=3, output_padding=2, I=((2, 5), (1, 6))),
    *_kind(
        "2d/transposed-depthwise", (4, 4), C=(16, 3), O=(16, 6), G=(16, 3), transposed=True, stride=2, padding=1,
        I=((2, 8), (2, 9)),
    ),
    *_kind("1d/3", (3,), padding=1, I=((32,), (33,))),
    *_kind("1d/1", (1,), C=(16, 5), I=((32,), (33,))),
    *_kind("1d/long-filter", (19,), C=(1, 2), padding=9, I=((16,), (17,))),
    *_kind("1d/dilated", (3,), padding=4, dilation=4, I=((32,), (33,))),
    *_kind("1d/depthwise", (5,), C=(16, 5), O=(16, 5), G=(16, 5), padding=2, I=((32,), (33,))),
    *_kind("1d/transposed", (4,), transposed=True, stride=2, padding=1, I=((16,), (17,))),
    *_kind("3d/3x3x3", (3, 3, 3), C=(2, 3), O=(8, 5), padding=1, I=((2, 2, 8), (2, 3, 9))),
    *_kind("3d/1x1x1", (1, 1, 1), C=(16, 5), I=((2, 2, 8), (2, 3, 9))),
    *_kind("3d/grouped", (2, 3, 2), C=(4, 6), O=(16, 9), G=(2, 3), padding=(1, 1, 0), I=((2, 2, 9), (2, 3, 8))),
    *_kind("3d/depthwise", (2, 2, 3), C=(8, 3), O=(8, 3), G=(8, 3), padding=(0, 1, 1), I=((2, 2, 8), (3, 2, 9))),
    *_kind("3d/transposed", (2, 2, 3), C=(2, 3), O=(8, 5), transposed=True, stride=2, I=((1, 2, 4), (2, 1, 5))),
    *_kind("4d/dense", (2, 1, 2, 2), C=(2, 3), O=(8, 5), padding=(1, 0, 0, 1), I=((1, 2, 2, 7), (2, 1, 2, 8))),
    *_kind("4d/transposed", (2, 1, 1, 2), C=(2, 3), O=(8, 3), transposed=True, I=((1, 2, 1, 4), (2, 1, 2, 3))),
    Case("2d/batch-0", (0, 3, 5, 6), (4, 3, 3, 3), {"padding": 1}),
    Case("2d/channels-0", (2, 0, 5, 6), (4, 0, 3, 3), {"padding": 1}),
    Case("2d/filters-0", (2, 3, 5, 6), (0, 3, 3, 3), {"padding": 1}),
    Case("2d/nothing-but-padding", (2, 3, 0, 5), (4, 3, 2, 2), {"padding": 1}),
    Case("2d/one-pixel", (1, 1, 1, 1), (1, 1, 1, 1)),
    Case("2d/one-pixel-padded", (2, 3, 1, 1), (4, 3, 3, 3), {"padding": 1}),
    Case("2d/whole-image", (3, 2, 5, 4), (6, 2, 5, 4)),
    Case("2d/stride-skips-input", (2, 3, 9, 11), (4, 3, 2, 1), {"stride": (4, 5)}),
    Case("2d/wide-image", (1, 1, 2, 150), (2, 1, 2, 3), {"padding": (0, 1)}),
    Case("2d/many-channels", (1, 300, 2, 3), (3, 300, 1, 2)),
    Case("2d/deep", (1, 2100, 1, 3), (2, 2100, 1, 1)),
    Case("1d/one-element", (1, 1, 1), (1, 1, 1)),
    Case("1d/batch-0", (0, 2, 7), (3, 2, 3), {"stride": 2}),
    Case("2d/transposed-batch-0", (0, 2, 3, 4), (2, 3, 3, 3), {"stride": 2}, transposed=True),
)  # fmt: skip
"""Small geometries, one for each way that code can go wrong."""


def _layer(name: str, C: int, O: int, size: int, F: int | Shape, **options: Any) -> Case:
    taps = (F, F) if isinstance(F, int) else F
    return Case(name, (1, C, size, size), (O, C // options.get("groups", 1), *taps), options)


LAYERS: tuple[Case, ...] = (
    _layer("3x3 64->64 @56 pad 1", 64, 64, 56, 3, padding=1),
    _layer("7x7 s2 3->64 @224 pad 3", 3, 64, 224, 7, stride=2, padding=3),
    _layer("1x1 64->256 @56", 64, 256, 56, 1),
    _layer("1x1 256->64 @56", 256, 64, 56, 1),
    _layer("3x3 128->128 @28 pad 1", 128, 128, 28, 3, padding=1),
    _layer("1x1 s2 256->512 @56", 256, 512, 56, 1, stride=2),
    _layer("3x3 256->256 @14 pad 1", 256, 256, 14, 3, padding=1),
    _layer("1x1 1024->256 @14", 1024, 256, 14, 1),
    _layer("3x3 512->512 @7 pad 1", 512, 512, 7, 3, padding=1),
    _layer("1x1 512->2048 @7", 512, 2048, 7, 1),
    _layer("3x3 64->64 @224 pad 1", 64, 64, 224, 3, padding=1),
    _layer("3x3 128->128 @112 pad 1", 128, 128, 112, 3, padding=1),
    _layer("3x3 512->512 @28 pad 1", 512, 512, 28, 3, padding=1),
    _layer("depthwise 3x3 s2 96 @112 pad 1", 96, 96, 112, 3, stride=2, padding=1, groups=96),
    _layer("depthwise 3x3 144 @56 pad 1", 144, 144, 56, 3, padding=1, groups=144),
    _layer("depthwise 3x3 960 @7 pad 1", 960, 960, 7, 3, padding=1, groups=960),
    _layer("1x1 16->96 @112", 16, 96, 112, 1),
    _layer("1x7 192->192 @17 pad (0,3)", 192, 192, 17, (1, 7), padding=(0, 3)),
    _layer("3x3 128->128 groups 32 @56 pad 1", 128, 128, 56, 3, padding=1, groups=32),
    _layer("3x3 dilation 2 256->256 @28 pad 2", 256, 256, 28, 3, padding=2, dilation=2),
)
"""The 20 layers of the benchmark, batch 1: of ResNet-50, VGG-16, MobileNetV2, Inception-v3 and ResNeXt-50."""

IMAGES: tuple[Case, ...] = tuple(
    _layer(f"image {F}x{F} @2048 pad {F // 2}", 1, 1, 2048, F, padding=F // 2) for F in (3, 7, 15, 31, 63)
)
"""One channel of 2048 x 2048 pixels, filters of five sizes."""


def select_layers(
    wanted: Sequence[str], among: Sequence[Case] = LAYERS, *, call: str = "bench"
) -> tuple[str, ...]:
    """Names of the layers that are meant: by number from 1 ("3", "1-5") or by a part of the name; all by default.

    Raises PlanError, with the layers there are.

    >>> select_layers(["2", "1024"])
    ('7x7 s2 3->64 @224 pad 3', '1x1 1024->256 @14')
    """
    names = [layer.name for layer in among]
    if not wanted:
        return tuple(names)
    found: set[int] = set()
    for text in wanted:
        numbers = re.fullmatch(r"(\d+)(?:-(\d+))?", text)
        if numbers and 1 <= int(numbers[1]) <= len(names):
            found.update(range(int(numbers[1]) - 1, min(int(numbers[2] or numbers[1]), len(names))))
            continue
        matches = [i for i, name in enumerate(names) if text in name]
        if not matches:
            listed = "\n".join(f"  {i + 1:2}  {name}" for i, name in enumerate(names))
            raise PlanError(
                f"{call}: no layer matches {text!r}\n{listed}\n  give a number, a range or a part of a name"
            )
        found.update(matches)
    return tuple(names[i] for i in sorted(found))

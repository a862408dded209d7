"""The demonstration: a photograph through two banks of filters, each one convolution, and each one matrix product.

    first layer    x: (1, 3, H, W) less its mean colour    w: (64, 3, 7, 7), stride 2, padding 3
    classical      x: (3, 1, H, W), colours as a batch     w: (8, 1, 7, 7), the edge repeated

and the ways in which the first could have been computed, measured beside what the plan expected.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from convmat.api import plan
from convmat.explain.demo import filters, sheet, ways
from convmat.explain.demo.photo import Photo
from convmat.explain.extras import require_module
from convmat.explain.terminal import plan_report
from convmat.planner import Plan, trial
from convmat.planner.trial import Measured
from convmat.planner.units import format_bytes, format_seconds

Array = npt.NDArray[Any]
Tell = Callable[[str], object]

FILTERS, PIXELS = 2, 6
"""The definition is timed on so many filters and on so many pixels a side."""


@dataclass(frozen=True, eq=False)
class Demo:
    """What was computed and measured: `ways` of the first layer (chosen one first), and the bank's own way."""

    picture: Photo
    layer: filters.FirstLayer
    layer_plan: Plan
    maps: Array
    ways: tuple[Measured, ...]
    bank: tuple[filters.Classical, ...]
    bank_plan: Plan
    pictures: Array
    bank_way: Measured

    @property
    def chosen(self) -> Measured:
        """The way that the plan chose."""
        return self.ways[0]

    def as_dict(self) -> dict[str, Any]:
        """Plans and figures, for JSON; sizes in bytes, times in seconds."""
        measured = {m.way.candidate: m for m in self.ways if m.way.candidate}
        bank = {self.bank_plan.chosen: self.bank_way}
        return {
            "picture": {
                "name": self.picture.name,
                "size": self.picture.size,
                "original": self.picture.original,
            },
            "first_layer": {
                "plan": plan_report.as_dict(self.layer_plan, measured),
                "ways": [{**m.as_dict(), "chosen": m is self.chosen} for m in self.ways],
            },
            "classical": {
                "filters": [each.name for each in self.bank],
                "plan": plan_report.as_dict(self.bank_plan, bank),
            },
        }


def run(picture: Photo, seconds: float = 4.0, tell: Tell = lambda text: None) -> Demo:
    """Compute both banks and measure the ways for about so many seconds. `tell` hears what is going on."""
    tell("planning")
    x = np.ascontiguousarray(picture.pixels.transpose(2, 0, 1)[None], np.float32) / 255
    layer, bank = filters.first_layer(), filters.classical()
    centred = x - x.mean(axis=(2, 3), keepdims=True)
    layer_plan = plan(x.shape, layer.w.shape, stride=2, padding=3)
    tell("64 filters of 7x7, stride 2, as one matrix product")
    maps = layer_plan(centred, layer.w)

    colours = np.ascontiguousarray(x.transpose(1, 0, 2, 3))
    w = np.stack([each.kernel for each in bank]).astype(np.float32)[:, None]
    bank_plan = plan(colours.shape, w.shape, padding=3, padding_mode="edge")
    tell(f"{len(bank)} classical filters as one matrix product")
    pictures = bank_plan(colours, w)

    chosen, *others = trial.runnable_ways(layer_plan, centred, layer.w)
    g = layer_plan.problem.geometry
    by_hand = ways.by_hand(centred, layer.w, g, layer_plan.problem.threads)
    definition = ways.by_definition(centred, layer.w, g, FILTERS, PIXELS)
    measured = trial.measure_ways([chosen, *others, by_hand, definition], seconds, tell)
    [bank_way] = trial.measure_ways(trial.runnable_ways(bank_plan, colours, w)[:1], seconds / 8, tell)
    return Demo(
        picture=picture, layer=layer, layer_plan=layer_plan, maps=maps[0], ways=tuple(measured), bank=bank,
        bank_plan=bank_plan, pictures=pictures.transpose(1, 0, 2, 3), bank_way=bank_way,
    )  # fmt: skip


def write(demo: Demo, path: Path) -> None:
    """The contact sheet as a PNG, whatever the name of the file."""
    require_module("PIL", "demo", "the contact sheet")
    g = demo.layer_plan.problem.geometry
    sizes = g.bytes(demo.layer_plan.itemsize)
    width, height = demo.picture.size
    name = demo.picture.name.encode("ascii", "replace").decode()  # the sheet's typeface has no more
    lines = (
        f"{name if len(name) < 50 else name[:47] + '...'}, {width} x {height} pixels in three colours.",
        "Each bank is one matrix product of flattened filters and the unrolled input; a row of it is a map.",
        f"The first layer's unrolled input, a column for each of {g.n:,} windows, would be "
        f"{format_bytes(sizes['unrolled'])}: {g.duplication:.3g} times the picture.",
        f"The way chosen, {demo.chosen.way.name}, took {format_bytes(demo.chosen.memory)} of scratch and "
        f"{format_seconds(demo.chosen.seconds)}.",
    )
    made = sheet.Sheet(
        photograph=demo.picture.pixels,
        title="Two convolutions, two matrix products",
        lines=lines,
        layer=demo.layer,
        maps=demo.maps,
        layer_text=describe_product(demo.layer_plan),
        bank=demo.bank,
        pictures=demo.pictures,
        bank_text=describe_product(demo.bank_plan),
    )
    sheet.draw(made).save(path, format="PNG")


def describe_product(plan: Plan) -> str:
    """(64 x 147) @ (147 x 17,120): the product that a plan takes."""
    g = plan.problem.geometry
    return f"({g.m:,} x {g.k:,}) @ ({g.k:,} x {g.n:,})"

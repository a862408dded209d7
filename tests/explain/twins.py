"""Geometries to hold the page's numbers to Python's, and what Python says about them."""

from __future__ import annotations

import itertools
import math
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

import convmat
from convmat.cases import CASES
from convmat.explain.story.colour import ink, tint
from convmat.explain.story.costs import list_costs
from convmat.explain.story.digits import dy_digit, w_digit, x_digit
from convmat.explain.story.sample import NARROW, WIDE, sample_of
from convmat.explain.story.scene import Scene
from convmat.explain.webpage.page import DRAWN, geometry_fields
from convmat.geometry import Geometry
from convmat.lowering import find_lowering
from tests.support import by_taps

WEB = Path(convmat.__file__).parent / "explain" / "webpage" / "web"
HARNESS = (Path(__file__).parent / "harness.js").read_text()
SMALL = 1200  # multiplications: the page's plain loops stay quick


@lru_cache
def geometries() -> tuple[Geometry, ...]:
    """Named cases, large layers, and random ones of ranks 1 to 3; none of which a plan would drop an axis."""
    random = np.random.default_rng(7)
    named = [case.geometry for case in CASES if 0 not in (*case.x_shape, *case.geometry.y_shape)]
    drawn = (*named, *LAYERS, *(_random(random) for _ in range(200)))
    return tuple(g for g in drawn if g.rank == 1 or not any(map(g.is_idle, range(g.rank))))


LAYERS = (
    Geometry.of((1, 3, 3, 3), (1, 3, 2, 2)),
    Geometry.of((1, 3, 224, 224), (64, 3, 7, 7), stride=2, padding=3),
    Geometry.of((8, 512, 7, 7), (512, 512, 3, 3), padding=1),
    Geometry.of((1, 1, 16000), (64, 1, 400), stride=160),
    Geometry.of((2, 96, 112, 112), (96, 1, 3, 3), stride=2, padding=1, groups=96),
    Geometry.of((1, 1, 300, 300), (1, 1, 255, 255), dilation=1, padding=2),
    Geometry.of((1, 2, 90, 90), (2, 2, 3, 3), dilation=40),
)


def _random(random: np.random.Generator) -> Geometry:
    """A small convolution with everything that may differ between axes."""
    rank = int(random.integers(1, 4))
    most = {1: 12, 2: 6, 3: 4}[rank]
    while True:
        G = int(random.choice([1, 1, 1, 2, 3]))
        C, O = (G * int(random.integers(1, 4)) for _ in "CO")

        def each(low: int, high: int, rank: int = rank) -> list[int]:
            return [int(v) for v in random.integers(low, high, rank)]

        I, F, s, d, e = each(1, most + 1), each(1, 5 - rank // 2), each(1, 4), each(1, 3), each(1, 3)
        if random.random() < 0.7:
            e = [1] * rank
        lo, hi = each(-1, 4), each(-1, 4)
        try:
            return Geometry.of(
                (int(random.integers(1, 3)), C, *I), (O, C // G, *F), stride=s, dilation=d, groups=G,
                padding=list(zip(lo, hi, strict=True)), input_dilation=e,
            )  # fmt: skip
        except convmat.GeometryError:
            continue


def is_small(g: Geometry) -> bool:
    """Whether all numbers of all passes are compared, not only sizes."""
    return g.G * g.m * g.n * g.k <= SMALL


def questions() -> list[dict[str, Any]]:
    """What the harness is asked."""
    return [{"fields": geometry_fields(g), "small": is_small(g)} for g in geometries()]


def expected(g: Geometry) -> dict[str, Any]:
    """What Python says where the harness answers with sizes, as JSON would bring it."""
    return {
        "error": None,
        "text": str(g),
        "numbers": {
            **{name: list(getattr(g, name)) for name in ("P", "E", "reach", "x_shape", "w_shape", "y_shape")},
            **{name: getattr(g, name) for name in ("m", "n", "k", "flops", "unrolled", "duplication")},
        },
        "grad_input": _lists(geometry_fields(g.grad_input())),
        "grad_weight": _lists(geometry_fields(g.grad_weight())),
        "phases": _phases(g),
        "wide": _sample(g, WIDE),
        "narrow": _sample(g, NARROW),
        "tints": [[colour, ink(colour)] for colour in (tint(0, 0, 1), tint(g.C % 6, 0.25, 0.5))],
    }


def _phases(g: Geometry) -> list[dict[str, Any]]:
    """Every phase that has outputs and taps, those of a kind one by one, by where they begin."""
    found = [
        {
            "geometry": _lists(geometry_fields(p.geometry)),
            "start": [start + r * by for start, r, by in zip(p.start, at, p.apart, strict=True)],
            "step": list(p.step),
            "tapStart": [start - r * by for start, r, by in zip(p.tap_start, at, p.back, strict=True)],
            "tapStep": list(p.tap_step),
        }
        for p in g.phases()
        if all((*p.geometry.F, *p.geometry.P))
        for at in itertools.product(*map(range, p.count))
    ]
    return sorted(found, key=lambda phase: phase["start"])


def expected_ways(g: Geometry) -> dict[str, tuple[str | None, int, int]]:
    """Refusal, stored elements and FLOPs of each way that the page draws."""
    found = {c.name: (c.refusal, c.stored, c.flops) for c in list_costs(g, 3) if c.name in DRAWN}
    for name in (name for name in found if name.startswith("winograd")):
        reasons = (_undrawn(each) or find_lowering(name).refuses_geometry(each) for each in _dense(g))
        reason = next(filter(None, reasons), None)
        assert reason is not None or found[name][0] is None, f"{name} draws what is refused: {g}"
        found[name] = found[name] if reason is None else (reason, 0, 0)
    return found


def _dense(g: Geometry) -> list[Geometry]:
    return [phase.geometry for phase in g.phases()]


def _undrawn(g: Geometry) -> str | None:
    """Why tiles of this geometry are not on the page, though Winograd takes them: no axis is drawn in slices."""
    if g.rank > 2:
        return f"is drawn with one or two spatial axes, got {g.rank}"
    return None if set(g.s) == {1} else f"is drawn with stride 1, got {'x'.join(map(str, g.s))}"


def arrays(g: Geometry) -> tuple[Any, Any, Any]:
    """x, w and dy with the digits that the page has."""
    x, w, dy = (
        digit(np.arange(math.prod(shape))).reshape(shape).astype(np.float64)
        for digit, shape in ((x_digit, g.x_shape), (w_digit, g.w_shape), (dy_digit, g.y_shape))
    )
    return x, w, dy


@cache
def results(g: Geometry) -> tuple[Any, Any, Any]:
    """y, dx and dw of the digits, by the definition."""
    x, w, dy = arrays(g)
    return by_taps(x, w, dy, g)


def unrolled(g: Geometry) -> list[list[Any]]:
    """Row, column, value and colour of each element of U that is drawn, from the picture's own scene."""
    scene = Scene(g)
    return [[c.row, c.col, int(c.value), c.tint if c.kind == "element" else None] for c in scene.U.cells]


def _sample(g: Geometry, budget: Any) -> dict[str, Any]:
    return _lists(vars(sample_of(g, budget)))


def _lists(values: dict[str, Any]) -> dict[str, Any]:
    return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}

"""How the phases of a thin product run together on one CPU: which are taken, the recipe, and how planes are shared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ....product import Coordinate, Product, View
from ...cpu import Cpu
from ...ir.instructions import TYPES
from ...operands import Dtypes, Shapes, contiguous_strides, strides
from ..base import KernelPlan
from ..direct.sharing import share_planes
from ..effort import Effort
from ..panel.walk import distance_refusal
from .recipe import PhaseAxis, PhasesRecipe

MOST_TAPS, MOST_PHASES, MOST_ROWS, MOST_TERMS = 64, 8, 4, 256
"""Taps of all phases, phases of one axis, rows of A, terms of a phase's sum: taps are written out, and longer sums
taken in parts."""

TOO_MANY = f"writes out up to {MOST_PHASES} phases an axis and {MOST_TAPS} taps"

LOAD, WEAVE = 0.5, 4.0
"""Multiplications of a vector whose time a load of x takes, and weaving and writing the phases of a line."""

WAIT, AHEAD = 8.0, 32
"""Sums that a core adds to in turns without waiting for one, and terms of them that it looks ahead."""


def plan_phases(
    products: Sequence[Product], dtypes: Dtypes, shapes: Shapes, threads: int, cpu: Cpu
) -> PhasesPlan | str:
    """The step of products that together write y, or the sentence why they run one by one."""
    first = products[0]
    (a, b), c = first.terms[0], first.c
    refusal = _refuses(products, dtypes)
    if refusal is not None:
        return refusal
    pixels = _pixels(b, c)
    axes = [at for at, each in enumerate(c.coordinates) if pixels & dict(each.terms).keys()]
    if len(axes) not in (1, 2) or axes[-1] != len(c.coordinates) - 1 or len(b.rows) != 1 + len(axes):
        return "takes one or two pixel axes, which are the last ones"
    item = dtypes.array.itemsize
    x = strides(b, shapes["x"], item)
    phases = _phases(b, c)
    rows = [index for index in c.rows if index.name not in phases]
    m, channels = rows[0].extent, b.rows[0].extent
    if len(rows) != 1 or m > MOST_ROWS or x[c.cols[-1].name] != item:
        return f"takes up to {MOST_ROWS} rows of A, along pixels side by side"
    found = _read_phases(products, axes, shapes, item)
    if isinstance(found, str):
        return found
    down, across, offsets = found
    if (
        max(len(down), len(across)) > MOST_PHASES
        or sum(axis.taps for axis in down) * sum(axis.taps for axis in across) > MOST_TAPS
    ):
        return TOO_MANY
    terms = channels * max(axis.taps for axis in down) * max(axis.taps for axis in across)
    if terms > MOST_TERMS or m * len(across) > cpu.vector_registers // 2:
        return f"keeps a row of all phases in registers, sums of up to {MOST_TERMS} terms, got {terms}"
    outer = (*(i for i in c.batch if i.name not in phases), *c.cols[: -len(axes)])
    w = strides(a, shapes["w"], item)
    recipe = PhasesRecipe(
        outer=tuple((index.name, ()) for index in outer),
        rows=down,
        columns=across,
        channels=channels,
        w_channel=w[b.rows[0].name],
        m=m,
        w_row=w.get(rows[0].name, 0),
        # A bias comes once for each row of A, those of phases included.
        bias_row=first.m // m * dtypes.work.itemsize,
        array=TYPES[dtypes.array.name],
        work=TYPES[dtypes.work.name],
        out=TYPES[dtypes.out.name],
        lanes=cpu.lanes(dtypes.work.itemsize),
        bias=first.epilogue.bias is not None,
        residual=first.epilogue.residual is not None,
        activation=first.epilogue.activation,
    )
    return distance_refusal(b) or PhasesPlan(products, dtypes, shapes, threads, recipe, axes, offsets)


def _refuses(products: Sequence[Product], dtypes: Dtypes) -> str | None:
    """The sentence why sums like these run one by one, if they do."""
    if any(
        len(each.terms) != 1 or each.transforms or each.maximum or each.counted or each.strands
        for each in products
    ):
        return "sums products as the definition has them"
    known = {dtypes.array.name, dtypes.out.name} <= TYPES.keys() and dtypes.array.kind not in "iu"
    if not known or dtypes.weights is not None or dtypes.work.name not in ("float32", "float64"):
        return f"multiplies real numbers, got {dtypes.array.name}"
    return None


def has_phases(product: Product) -> bool:
    """Whether a product writes phases of a kind, which are indices of it.

    They are alike but for where they read w and write y.
    """
    several = not product.transforms and any(len(each.terms) > 1 for each in product.c.coordinates)
    return several and any(_phases(b, product.c) for _, b in product.terms[:1])


def _pixels(b: View, c: View) -> set[str]:
    """The columns that windows move along: with an index of B's rows each shares an array axis."""
    rows = {index.name for index in b.rows}
    along = (dict(each.terms).keys() for each in b.coordinates)
    windows = set[str]().union(*(names for names in along if names & rows))
    return {index.name for index in c.cols} & windows


def _phases(b: View, c: View) -> set[str]:
    """The indices that lie between the columns of pixels along an array axis of C."""
    pixels = _pixels(b, c)
    along = (dict(each.terms).keys() for each in c.coordinates)
    return set[str]().union(*(names - pixels for names in along if names & pixels))


Phased = tuple[tuple[PhaseAxis, ...], tuple[PhaseAxis, ...], list[int]]


def _read_phases(products: Sequence[Product], axes: list[int], shapes: Shapes, item: int) -> Phased | str:
    """The phases along rows and columns, and where the first taps of all lie; phases of a kind are taken apart."""
    steps = contiguous_strides(shapes["w"], item)
    found: list[dict[int, PhaseAxis]] = [{} for _ in axes]
    pixels = [index.name for index in products[0].c.cols[-len(axes) :]]
    steps_of = [
        dict(products[0].c.coordinates[at].terms).get(p, 1) for p, at in zip(pixels, axes, strict=True)
    ]
    for product in products:
        (a, b), c = product.terms[0], product.c
        for number, at in enumerate(axes):
            coordinate, tap = c.coordinates[at], b.rows[1 + number].name
            kind = next((name for name, _ in coordinate.terms if name != pixels[number]), "")
            count = c.extents[kind] if kind else 1
            if count > MOST_PHASES:  # of a kind: there may be millions
                return TOO_MANY
            for r in range(count):
                start = coordinate.offset + dict(coordinate.terms).get(kind, 0) * r
                made = _read_axis(a, b, (tap, pixels[number], kind), r, steps)
                if isinstance(made, str):
                    return made
                if dict(coordinate.terms)[pixels[number]] != steps_of[number]:
                    return "writes phases that lie equally far apart"
                if found[number].setdefault(start, made) != made:
                    return "takes phases whose taps along an axis do not depend on the other's"
    lines = []
    offsets = []
    for number, at in enumerate(axes):
        extent = min(steps_of[number], products[0].c.coordinates[at].extent)
        if sorted(found[number]) != list(range(extent)):
            return "writes every phase of y"
        each = [found[number][start] for start in range(extent)]
        least = min((axis.offset for axis in each if axis.taps), default=0)
        offsets.append(least)
        lines.append(tuple(replace(axis, offset=axis.offset - least if axis.taps else 0) for axis in each))
    if len(lines) == 1:
        return (PhaseAxis(1, 0, 1, 0, 0),), lines[0], [0, *offsets]
    return lines[0], lines[1], offsets


def _read_axis(
    a: View, b: View, names: tuple[str, str, str], r: int, steps: tuple[int, ...]
) -> PhaseAxis | str:
    """One phase along an axis, the r-th of its kind; names: the indices of taps, pixels and phases."""
    f, p, kind = names
    x = next((each for each in b.coordinates if p in dict(each.terms)), None)
    w = next(
        ((each, step) for each, step in zip(a.coordinates, steps, strict=True) if f in dict(each.terms)), None
    )
    if x is None or w is None or dict(x.terms)[p] != 1:
        return "reads x at every position"
    (coordinate, step), terms = w, dict(w[0].terms)
    taps, by = b.extents[f], dict(x.terms)[f]
    if by < 0:
        return "reads x forwards"
    first = (coordinate.offset + terms.get(kind, 0) * r) * step
    return (
        PhaseAxis(taps, x.offset + dict(x.terms).get(kind, 0) * r, by, first, terms[f] * step)
        if taps
        else PhaseAxis(0, 0, 1, 0, 0)
    )


class PhasesPlan(KernelPlan):
    """All phases of a product, their recipe, and the words of its block; holds no arrays."""

    weight_tasks = 0
    reads_in_place = True

    def __init__(
        self,
        products: Sequence[Product],
        dtypes: Dtypes,
        shapes: Shapes,
        threads: int,
        recipe: PhasesRecipe,
        axes: list[int],
        offsets: list[int],
    ) -> None:
        super().__init__(products[0], dtypes, shapes, threads)
        self.recipe, self._flops = recipe, sum(each.flops for each in products)
        (a, b), c, item = products[0].terms[0], products[0].c, dtypes.array.itemsize
        x, w = strides(b, shapes["x"], item), strides(a, shapes["w"], item)
        y = strides(c, shapes["y"], dtypes.out.itemsize)
        self.origin = {"x": 0, "w": 0, "y": 0}
        self.weight_bytes = math.prod(shapes["w"]) * item
        extents = [c.coordinates[at].extent for at in axes]
        self.lines, self.columns = extents if len(axes) == 2 else (1, extents[0])
        rows = -(-self.lines // len(recipe.rows))
        pixels, phases = _pixels(b, c), _phases(b, c)
        limits = [each for each in b.coordinates if pixels & dict(each.terms).keys()]
        height = limits[0] if len(axes) == 2 else Coordinate(1, ())
        self.planes = math.prod(c.extents[name] for name, _ in recipe.outer)
        per, parts, tall = share_planes(self._flops, threads, self.planes, 1, rows, 1, 1)
        words = {
            "planes": self.planes, "per": per, "parts": parts, "height": tall, "rows": rows,
            "lines": self.lines, "columns": self.columns, "lane offset": offsets[1], "lane limit": limits[-1].extent,
            "row offset": offsets[0], "row limit": height.extent, "x c": x[b.rows[0].name],
            "x row": x[c.cols[-2].name] if len(axes) == 2 else 0,
            "y row": y[c.cols[-2].name] // dict(c.coordinates[axes[0]].terms)[c.cols[-2].name] if len(axes) == 2 else 0,
        }  # fmt: skip
        group = c.batch[0].name
        o = next(index.name for index in c.rows if index.name not in phases)
        words["y m"] = y[o]
        for name, _ in recipe.outer:
            bias = products[0].m * dtypes.work.itemsize if name == group else 0
            words |= {
                f"count {name}": c.extents[name], f"x {name}": x.get(name, 0), f"y {name}": y[name],
                f"w {name}": w.get(name, 0), f"bias {name}": bias,
            }  # fmt: skip
        self.tasks = -(-self.planes // per) * parts
        self.lay_out(recipe.arguments(), words, ("x", "y", "w", "a", "bias", "residual"))

    @property
    def flops(self) -> int:
        """Multiplications and additions of all phases."""
        return self._flops

    @property
    def effort(self) -> Effort:
        """What one call makes the machine do: every tap, and every load, of a chunk of all phases."""
        r = self.recipe
        chunks = self.planes * self.words["rows"] * -(-self.columns // (r.lanes * len(r.columns)))
        loads = (
            r.channels
            * sum(axis.taps for axis in r.rows)
            * len({p for axis in r.columns for p, _ in axis.positions})
        )
        sums, terms = (
            len(r.columns) * r.m,
            r.channels * max(a.taps for a in r.rows) * max(a.taps for a in r.columns),
        )
        waiting = max(WAIT / sums * min(terms / AHEAD, 1), 1)
        each = r.taps * waiting + LOAD * loads + WEAVE * len(r.rows) * sums
        touched = sum(math.prod(self.shapes[name]) * self.dtypes.array.itemsize for name in ("x", "w", "y"))
        return Effort(round(2 * r.lanes * chunks * each), 0, 0, touched, 0, self.tasks, True)


__all__ = ["PhasesPlan", "has_phases", "plan_phases"]

"""How dot products run on one CPU: which products are taken, the recipe, and how the pairs of lines are shared."""

from __future__ import annotations

import math

from ....product import Coordinate, Product, View
from ...cpu import Cpu
from ...ir.instructions import TYPES
from ...operands import Dtypes, Shapes, origin, strides
from ..base import KernelPlan
from ..direct.planes import WindowSteps
from ..effort import Effort
from ..panel.walk import distance_refusal
from .recipe import LINES, OFFSETS, DotsRecipe

FARTHEST = 64
"""Lines of x between the first and the last that a row of w meets at a block of taps, at most: code is written out."""

STEPS = 256
"""Multiplications that a strand adds up in a row, where an image has no more: the images of a part."""

TASKS, TASK_FLOPS = 4, 100_000
"""Tasks that a thread should have, and the work that one is worth waking for."""

CHUNK = 24
"""Multiplications of a vector that a chunk of an image takes the time of, beside its own."""


def plan_dots(product: Product, dtypes: Dtypes, shapes: Shapes, threads: int, cpu: Cpu) -> DotsPlan | str:
    """The step of a product that sums in strands, or the sentence why no kernel is made for it."""
    (a, b), c = product.terms[0], product.c
    known = {dtypes.array.name, dtypes.out.name} <= TYPES.keys() and dtypes.array.kind not in "iu"
    if not known or dtypes.work.name not in ("float32", "float64"):
        return f"sums products of real numbers, got {dtypes.array.name}"
    if len(c.batch) != 1 or len(c.rows) != 1 or len(b.rows) > 3 or not product.flops:
        return "takes products with elements, one index each of groups, rows and channels"
    if any(by < 0 for coordinate in b.coordinates for _, by in coordinate.terms):
        return "reads x forwards"
    item = dtypes.array.itemsize
    x, w = strides(b, shapes["x"], item), strides(a, shapes["w"], item)
    lane, (columns, _) = b.rows[-1].name, _window(b, -1)
    column = _is_line(b, x, w, item)
    if not column and (w[lane] != item or x[lane] != columns.step * item):
        return "reads both arrays along their last pixel axis, one element after the other"
    residual = product.epilogue.residual is not None
    if residual and not column:
        return "adds no residual to its sums"
    rows, _ = _window(b, -2)
    if max(rows.step * 8 + rows.reach, columns.step) > FARTHEST:
        return f"walks over lines up to {FARTHEST} apart"
    strands = 64 // dtypes.work.itemsize
    recipe = DotsRecipe(
        rows=rows, columns=columns, strands=strands, array=TYPES[dtypes.array.name], work=TYPES[dtypes.work.name],
        out=TYPES[dtypes.out.name], lanes=min(cpu.lanes(dtypes.work.itemsize), strands),
        registers=cpu.vector_registers, signs=cpu.vector_bytes < 64,
        bias=product.epilogue.bias is not None, activation=product.epilogue.activation,
        column=column, residual=residual,
    )  # fmt: skip
    return distance_refusal(b) or DotsPlan(product, dtypes, shapes, threads, recipe)


def _is_line(b: View, x: dict[str, int], w: dict[str, int], item: int) -> bool:
    """Whether a product of one column, as its whole is, has its terms one behind the other in both arrays."""
    run = item
    for index in reversed(b.rows):
        if index.extent > 1 and not x[index.name] == w[index.name] == run:
            return False
        run *= index.extent
    return b.inside and b.ordered.columns == 1


def _window(b: View, which: int) -> tuple[WindowSteps, Coordinate]:
    """How w's positions and the outputs lie along the axis of the last index of the sum, or the one before."""
    if len(b.rows) - 1 < -which:
        return WindowSteps(1, 1, 1), Coordinate(1, ())
    f, p = b.rows[which], b.cols[which]
    axis = next(each for each in b.coordinates if f.name in dict(each.terms))
    terms = dict(axis.terms)
    return WindowSteps(terms[f.name], p.extent, terms[p.name]), axis


class DotsPlan(KernelPlan):
    """One product, its recipe, and the words of its block; holds no arrays."""

    weight_tasks = 0
    reads_in_place = True

    def __init__(
        self, product: Product, dtypes: Dtypes, shapes: Shapes, threads: int, recipe: DotsRecipe
    ) -> None:
        super().__init__(product, dtypes, shapes, threads)
        self.recipe = recipe
        (a, b), c, item = product.terms[0], product.c, dtypes.array.itemsize
        x, w = strides(b, shapes["x"], item), strides(a, shapes["w"], item)
        y = strides(c, shapes["y"], dtypes.out.itemsize)
        self.origin = {
            "x": origin(b, shapes["x"], item) if recipe.column else 0,
            "w": origin(a, shapes["w"], item),
            "y": origin(c, shapes["y"], dtypes.out.itemsize),
        }
        self.weight_bytes = math.prod(shapes["w"]) * item
        (group,), (o,), image, term = c.batch, c.rows, c.cols[0], b.rows[0]
        (_, down), (_, across) = _window(b, -2), _window(b, -1)
        two = len(b.rows) == 3
        self.lines = b.rows[1].extent if two else 1
        length = product.k if recipe.column else b.rows[-1].extent
        self.chunks = -(-length // recipe.strands)
        count = group.extent * o.extent * image.extent
        wanted = max(1, min(TASKS * threads, product.flops // TASK_FLOPS)) if threads > 1 else 1
        per = -(-count // wanted)
        if recipe.column:
            per = -(-per // LINES) * LINES
        self.tasks = -(-count // per)
        part = STEPS * recipe.strands if recipe.column else max(STEPS // (self.lines * self.chunks), 1)
        words = {
            "per": per, "count": count, "count o": o.extent, "count b": image.extent, "images": term.extent,
            "part": part, "lines": self.lines,
            "length": length, "x row": x[b.rows[1].name] // recipe.rows.step if two else 0,
            "w row": w[b.rows[1].name] if two else 0, "y row": y[c.cols[-2].name] if two else 0,
            "y column": y[c.cols[-1].name], "row offset": down.offset, "column offset": across.offset,
            "height": down.extent, "width": across.extent,
        }  # fmt: skip
        moves, names = {"x": x, "w": w, "y": y}, {"g": group, "o": o, "b": image, "c": term}
        words |= {
            f"{array} {letter}": moves[array].get(names[letter].name, 0)
            for array, letters in OFFSETS.items()
            for letter in letters
        }
        self.lay_out(recipe.arguments(), words, ("x", "w", "y", "a", "bias", "residual"))

    @property
    def effort(self) -> Effort:
        """What one call makes the machine do."""
        r, p = self.recipe, self.product
        down, across, high = r.block
        taps = r.rows.taps * r.columns.taps
        vectors = self.words["count"] * self.words["images"] * self.chunks * r.vectors
        # A load that crosses a cache line takes as long as two multiplications.
        loads = 2 * (high - 1 + down) * across / (high * down * across)
        each = self.lines * taps * max(loads, 1.0) + CHUNK * len(r.blocks())
        if r.column:
            vectors, each = self.words["count"] * self.chunks * r.vectors, 1 + 1 / LINES
        touched = sum(math.prod(self.shapes[name]) * self.dtypes.array.itemsize for name in ("x", "w", "y"))
        vectors_kept = p.m * p.batch * taps
        return Effort(
            round(2 * r.lanes * vectors * each), 0, vectors_kept, touched, 0, self.tasks, planes=p.batch
        )


__all__ = ["DotsPlan", "plan_dots"]

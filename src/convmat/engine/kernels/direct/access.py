"""What the direct kernels need to know of a Product: strides of its arrays, and how windows lie along the axes of x."""

from __future__ import annotations

from collections.abc import Mapping

from ....product import Coordinate, Index, Product
from ...operands import Dtypes, Shapes, strides
from .planes import OuterIndex, WindowSteps


class Reading:
    """A product with one term over arrays of these types and shapes: Views, strides in bytes, windows."""

    def __init__(self, product: Product, dtypes: Dtypes, shapes: Shapes) -> None:
        self.product, self.dtypes = product, dtypes
        ((self.a, self.b),) = product.terms
        self.c = product.c
        self.item, self.out, self.work = dtypes.array.itemsize, dtypes.out.itemsize, dtypes.work.itemsize
        self.x = strides(self.b, shapes["x"], self.item)
        self.y = strides(self.c, shapes["y"], self.out)
        self.w = strides(self.a, shapes["w"], self.item)
        self.extents = {i.name: i.extent for i in product.c.indices + self.b.rows}

    @property
    def apart(self) -> set[str]:
        """Indices of which each value has an x of its own: groups and images, which no tap moves along."""
        alone = {c.terms[0][0] for c in self.b.coordinates if len(c.terms) == 1}
        return alone & {i.name for i in self.c.batch + self.c.cols}

    def axis(self, name: str) -> Coordinate | None:
        """The axis of x along which an index moves, if it is one alone."""
        found = [c for c in self.b.coordinates if name in dict(c.terms)]
        return found[0] if len(found) == 1 else None

    @property
    def beside(self) -> Index | None:
        """The last index of the sum, if x is contiguous along it: a group's channels, channels last."""
        last = self.b.rows[-1]
        return last if last.extent > 1 and self.x[last.name] == self.item else None

    def _follow(self, lane_axis: Coordinate) -> bool:
        """Whether lines of an image of x follow each other without a gap, in the order of the columns."""
        *outer, row, lane = self.c.cols
        return bool(outer) and self.x[row.name] == lane_axis.extent * self.x[lane.name]

    def windows(self, but: Index | None = None) -> Windows | str:
        """How windows lie along the last pixel axes, and what a plane fixes and checks; `but` an index of the sum."""
        cols, k = self.c.cols, [index for index in self.b.rows if index != but]
        lane_axis = self.axis(cols[-1].name)
        lane = _window(lane_axis, cols[-1].name, k)
        if lane is None or lane_axis is None:
            return "sums along the last pixel axis last"
        rows_axis, rows = self.axis(cols[-2].name) if len(cols) > 1 else None, None
        if rows_axis is not None and (len(rows_axis.terms) > 1 or self._follow(lane_axis)):
            # Of axes that no tap moves along only lines of x one after the other are worth a block of rows.
            rows = _window(rows_axis, cols[-2].name, k)
        rows_axis = rows_axis if rows else None
        outer = cols[:-2] if rows else cols[:-1]
        rest = {each.name for each in k}
        fixed = {each.name for each in (*self.c.batch, *outer, *([but] if but else []))}
        checked = []
        for at, coordinate in enumerate(self.b.coordinates):
            if coordinate is lane_axis or coordinate is rows_axis:
                continue
            names = {name for name, _ in coordinate.terms}
            deep = names & rest
            if not names <= fixed | rest or len(deep) > 1 or (at in self.b.risky and not deep):
                return "moves along each axis of x by one index of the columns and one of the sum"
            if deep and len(names) > 1:
                checked.append(coordinate)
        return Windows(
            (*lane, lane_axis), (*rows, rows_axis) if rows and rows_axis else None, outer, k, checked
        )


class Windows:
    """What `Reading.windows` finds: window, tap and axis of the lanes and rows, what a plane fixes, the rest of k."""

    def __init__(
        self,
        lane: tuple[WindowSteps, str, Coordinate],
        rows: tuple[WindowSteps, str, Coordinate] | None,
        outer: tuple[Index, ...],
        k: list[Index],
        checked: list[Coordinate],
    ) -> None:
        self.lane, self.lane_tap, self.lane_axis = lane
        self.rows: WindowSteps | None = None
        self.row_tap = ""
        self.rows_axis: Coordinate | None = None
        if rows is not None:
            self.rows, self.row_tap, self.rows_axis = rows
        self.outer, self.k, self.checked = outer, k, checked

    def terms(self, steps: Mapping[str, int]) -> tuple[OuterIndex, ...]:
        """The indices of the sum outside the windows; `steps` in bytes in the weights."""
        found = []
        for index in self.k:
            moved = [dict(c.terms).get(index.name, 0) for c in self.checked]
            number = next((n for n, by in enumerate(moved) if by), -1)
            found.append(
                OuterIndex(
                    index.name, index.extent, steps[index.name], number, moved[number] if number >= 0 else 0
                )
            )
        return tuple(found)

    def moves(self, indices: tuple[Index, ...]) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Indices that a plane fixes, with the step of each along the checked axes."""
        return tuple((i.name, tuple(dict(c.terms).get(i.name, 0) for c in self.checked)) for i in indices)


def _window(axis: Coordinate | None, name: str, k: list[Index]) -> tuple[WindowSteps, str] | None:
    """How windows lie along an axis, and its tap ("": none), which is taken off `k`. None if it is not the last there.

    Indices of one value may be anywhere: they order nothing.
    """
    terms = dict(axis.terms) if axis else {}
    step = terms.pop(name, 0)
    if step < 1 or len(terms) > 1:
        return None
    if not terms:
        return WindowSteps(step, 1, 1), ""
    ((found, by),) = terms.items()
    at = next((at for at, index in enumerate(k) if index.name == found), len(k))
    if at == len(k) or any(index.extent > 1 for index in k[at + 1 :]):
        return None
    return WindowSteps(step, k.pop(at).extent, by), found


__all__ = ["Reading", "Windows"]

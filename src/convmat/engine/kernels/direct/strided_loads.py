"""How the direct kernel reads vectors of x along its contiguous axis: for each tap the elements `step` apart.

    vector(f)[lane] = x[lane * step + f * dilation]

    step 1      a load, wherever it begins
    step 2      two loads and a shuffle; the second tap of a pair takes the other elements of the same two, and a tap
                two elements on is the vector before, moved by a lane, with one element more
    step 3, 4   whole vectors and shuffles; beyond, each lane by its address

Under masks, positions are compared as a vector: lanes outside [0, limit) are `outside` and are not read. Without masks
nothing is read behind the last element that is wanted, but for the odd one of a pair: `behind` tells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ....lazy_dataclass import dataclass
from ...ir.emitter import Function
from ...ir.instructions import Type, Value, below, const, i1, i32, i64, less, select, shuffle, splat, trunc
from ...ir.shuffles import load_every, pick_every, widen
from ..epilogue import gather_at

EVERY = 4
"""Steps that are read as whole vectors."""

Masks = dict[int, Value]


def count_beside_loads(step: int) -> int:
    """Instructions that a vector of elements so far apart takes beside one load, on average over a line's taps.

    >>> [count_beside_loads(step) for step in (1, 2, 3, 4)]
    [0, 1, 4, 6]
    """
    return 1 if step == 2 else 2 * (step - 1)


@dataclass(frozen=True)
class Reads:
    """Vectors of `lanes` elements of type `array`, `step` apart, widened to `work`; `outside` where a mask says so.

    `signs`: the CPU has no registers for masks. Each is then kept as a vector of signs, which its masked loads take as
    it is; LLVM would compare the positions again before each of them. `zero`: a number that elements inside count from.
    """

    array: Type
    work: Type
    signed: bool
    lanes: int
    step: int
    signs: bool
    outside: float = 0.0
    zero: Value | None = None

    def masks(self, position: Value, limit: Value, distances: Sequence[int]) -> Masks:
        """The mask of each load that the taps at these distances need, by where it begins.

        position: of lane 0 at distance 0. limit: of positions, i64.
        """
        n = self.lanes
        spread = 1 if self.step <= EVERY else self.step
        first = splat(trunc(position, to=i32), lanes=n)
        bound = splat(trunc(limit, to=i32), lanes=n)
        found = {}
        for begin in self._loads(distances)[0]:
            inside = below(first + const(i32.x(n), [begin + i * spread for i in range(n)]), bound)
            found[begin] = self.keep(inside)
        return found

    def keep(self, mask: Value) -> Value:
        """A mask as it is kept."""
        return select(mask, self._sign(-1), self._sign(0)) if self.signs else mask

    def _sign(self, number: int) -> Value:
        return const((i64 if self.work.bytes == 8 else i32).x(self.lanes), number)

    def _mask(self, kept: Value) -> Value:
        return less(kept, self._sign(0)) if self.signs else kept

    def whole(self, fn: Function, x: Value, distance: int, mask: Value | None) -> Value:
        """The vector at a distance from `x`; where a mask is not set, `outside`."""
        made = self._widen(fn.load(x, self.array.x(self.lanes), distance * self.array.bytes, mask=mask))
        return made if mask is None else self._fill_outside(made, mask)

    def inside(self, value: Value, kept: Value) -> Value:
        """A vector, `outside` where a mask that was kept is not set."""
        return select(self._mask(kept), value, const(self.work.x(self.lanes), self.outside))

    def behind(self, distances: Sequence[int]) -> int:
        """How far behind its first element an unmasked vector of these taps is read."""
        last = max(distances) + self.step * (self.lanes - 1)
        return max([last, *(begin + 2 * self.lanes - 1 for begin in self._loads(distances)[1])])

    def _loads(self, distances: Sequence[int]) -> tuple[list[int], list[int]]:
        """Where the loads under masks begin, and of those the pairs."""
        if self.step != 2:
            vectors = self.step if self.step <= EVERY else 1
            return sorted({each + v * self.lanes for each in distances for v in range(vectors)}), []
        found: list[int] = []
        pairs: list[int] = []
        for at, distance in enumerate(distances):
            if distance - 2 in distances[:at]:
                found.append(distance + 2 * self.lanes - 2)
            elif distance - 1 not in pairs:
                pairs.append(distance)
                found += [distance, distance + self.lanes]
        return found, pairs

    def line(self, fn: Function, x: Value, masks: Masks | None) -> Callable[[int], Value]:
        """The function that gives the vector at a distance from `x`, each made once.

        Asked for in the order in which `masks` was given the distances.
        """
        made: dict[int, Value] = {}
        pairs: dict[int, tuple[Value, Value]] = {}
        n, item = self.lanes, self.array.bytes

        def load(begin: int) -> Value:
            return self.whole(fn, x, begin, None if masks is None else self._mask(masks[begin]))

        def every_second(distance: int) -> Value:
            if distance - 2 in made:
                end = distance + 2 * n - 2
                if masks is None:
                    last = splat(self._widen(fn.load(x, self.array, end * item)), lanes=n)
                else:
                    last = load(end)
                return shuffle(made[distance - 2], last, indices=[*range(1, n), n])
            if distance - 1 in pairs:
                return shuffle(*pairs[distance - 1], indices=range(1, 2 * n, 2))
            pairs[distance] = load(distance), load(distance + n)
            return shuffle(*pairs[distance], indices=range(0, 2 * n, 2))

        def apart(distance: int) -> Value:
            if masks is None and self.step <= EVERY:
                return self._widen(load_every(fn, x, self.array.x(n), self.step, distance * item))
            if masks is not None and self.step <= EVERY:
                return pick_every([load(distance + v * n) for v in range(self.step)], self.step)
            mask = const(i1.x(n), 1) if masks is None else self._mask(masks[distance])
            places = const(i64.x(n), [(distance + i * self.step) * item for i in range(n)])
            return self._fill_outside(self._widen(gather_at(fn, x, places, self.array.x(n), mask)), mask)

        def vector(distance: int) -> Value:
            if distance not in made:
                made[distance] = (load if self.step == 1 else every_second if self.step == 2 else apart)(
                    distance
                )
            return made[distance]

        return vector

    def _fill_outside(self, value: Value, mask: Value) -> Value:
        """The value, `outside` where the mask is not set."""
        if not self.outside and self.zero is None:
            return value  # masked loads give 0
        return select(mask, value, const(self.work.x(self.lanes), self.outside))

    def _widen(self, value: Value) -> Value:
        made = widen(value, self.work, signed=self.signed)
        if self.zero is None:
            return made
        return made - (splat(self.zero, lanes=made.type.lanes) if made.type.lanes else self.zero)


__all__ = ["EVERY", "Masks", "Reads", "count_beside_loads"]

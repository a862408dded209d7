"""Cell steps: the code of the steps of an RNN, a GRU or an LSTM, what the inputs add to the gates already being there.

    y[t] = h[t] = cell(x[t] + R h[t - 1], ...)       x[t]: (B, G*H), h: (B, H), R: (G*H, H)

A task has some sequences of one direction and some of its blocks of H. For a block it keeps the sums of all gates in
registers: R is packed as [block of H][k][gate][lanes of a block], so it is read from its beginning to its end, while
the numbers of the state before are broadcast, `many` sequences at a time. The gates are passed over while sums are in
registers, and the new state goes where the next step reads it. Sums are taken along k in order, whatever the tasks.

With one piece of H, a task takes all steps; with several, which need the whole state, a job is one step.

An LSTM may have R in 8 bits: each task then counts the state in bytes first, and R h is a sum of integers
(`byte_states`).

    LSTM    i, k = f(x + s + P c), k or 1 - i;  c' = k c + i g(x + s);  o = f(x + s + P c');  h' = o h(c')
    GRU     z, r = f(x + s);  n = g(x + r (s + b)), or g(x + R (r h));  h' = (1 - z) n + z h
    RNN     h' = f(x + s)                                                s = R h
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ....lazy_dataclass import dataclass
from ...ir.activations import FORMULAS
from ...ir.emitter import Function, prefix_mask
from ...ir.instructions import Type, Value, const, fma, less, maximum, minimum, select, splat, udiv, urem
from .base import Share, SweepRecipe
from .byte_states import StateBytes

Applied = tuple[str, tuple[float, ...]]
"""An activation by its name in FORMULAS, and its parameters."""

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


@dataclass(frozen=True)
class CellRecipe:
    """What is constant in a cell. `clip` bounds the sums of gates; `coupled`: the forget gate is 1 - i; `peepholes`:
    the gates of an LSTM see c; `before`: a GRU resets h before the product, else behind it, where `within` is added."""

    name: str
    functions: tuple[Applied, ...]
    directions: int = 1
    clip: float | None = None
    coupled: bool = False
    peepholes: bool = False
    before: bool = False
    within: bool = False

    @property
    def arrays(self) -> tuple[str, ...]:
        """The arrays of one direction: what inputs add, the state before, outputs, the last output, R, and others."""
        more = {"LSTM": ("c", "cc"), "GRU": ("z", "rh") if self.before else (), "RNN": ()}[self.name]
        return ("x", "h", "y", "last", "R", *more, *("P",) * self.peepholes, *("within",) * self.within)


@dataclass(frozen=True)
class Recurrence(SweepRecipe):
    """A cell of numbers of one type; a block has `vectors` of so many lanes, a tile `many` sequences.

    `states`: how states and R are kept in bytes, None where they are not. `q` is then where a direction keeps them.
    """

    cell: CellRecipe
    type: Type
    lanes: int
    vectors: int
    many: int
    states: StateBytes | None = None

    @property
    def arrays(self) -> tuple[str, ...]:
        """Arrays of each direction, one after the other."""
        names = (*self.cell.arrays, *("q",) * (self.states is not None))
        return tuple(f"{name} {d}" for d in range(self.cell.directions) for name in names)

    @property
    def words(self) -> tuple[str, ...]:
        """Extents, and the bytes from one sequence to the next (`row`), from one step to the next (`step`)."""
        rows = tuple(f"{name} row" for name in ("x", "h", "y", "last", "c", "cc"))
        steps = tuple(f"{name} step {d}" for name in "xy" for d in range(self.cell.directions))
        counted = ("quads", "q row", "q numbers", "q size") * (self.states is not None)
        return ("H", "B", "group", "groups", "steps", *rows, *steps, *counted)

    def write(self, fn: Function, words: Mapping[str, Value], share: Share) -> None:
        """All steps of a job."""
        _Writer(self, fn, words, share).steps()


@dataclass(frozen=True)
class _Now:
    """Where a step reads and writes: of the first sequence, and the bytes from one to the next."""

    x: Value
    h: Value
    h_row: Value
    y: Value
    c: Value
    c_row: Value


@dataclass(frozen=True)
class _SequenceTile:
    """Some sequences from `row` on, and a block of H: `column` is its first element."""

    row: Value
    many: int
    block: Value
    column: Value


class _Writer:
    """Writes the body of a task."""

    def __init__(self, recipe: Recurrence, fn: Function, words: Mapping[str, Value], share: Share) -> None:
        self.recipe, self.cell, self.fn, self.words, self.share = recipe, recipe.cell, fn, words, share
        self.item, self.kind = recipe.type.bytes, recipe.type.x(recipe.lanes)
        names = (*self.cell.arrays, "x step", "y step")
        self.own = {name: self._of_direction(name) for name in names}
        group = urem(share.first, words["groups"])
        self.first = group * words["group"]
        self.end = minimum(self.first + words["group"], words["B"])
        if recipe.states is not None:  # a task has lines of its own
            task = group * words["pieces"] + udiv(share.begin, words["piece"])
            self.q = self._of_direction("q") + task * words["q size"]

    def _of_direction(self, name: str) -> Value:
        """The word of the task's direction."""
        first = self.words[f"{name} 0"]
        if self.cell.directions == 1:
            return first
        return select(less(self.share.first, self.words["groups"]), first, self.words[f"{name} 1"])

    def steps(self) -> None:
        """Step after step; the next reads the state where this one wrote it."""
        own, words, long = self.own, self.words, self.cell.name == "LSTM"
        cells = (own["c"], words["c row"]) if long else (own["h"], words["h row"])
        states = self.recipe.states
        with self.fn.loop(
            0, words["steps"], carried=[own["x"], own["h"], words["h row"], own["y"], *cells]
        ) as turn:
            now = _Now(*turn.carried)
            if states is not None:
                self._count_in_bytes(states, now)
            if self.cell.before:
                self._tiles(lambda tile: self._reset(tile, now))
                self._tiles(lambda tile: self._renew(tile, now))
            else:
                self._tiles(lambda tile: self._whole(tile, now))
            after = (own["cc"], words["cc row"]) if long else (now.y, words["y row"])
            turn.carry(now.x + own["x step"], now.y, words["y row"], now.y + own["y step"], *after)

    def _count_in_bytes(self, states: StateBytes, now: _Now) -> None:
        """The state of every sequence as bytes."""
        with self.fn.loop(self.first, self.end) as row:
            line = self._line(row.index)
            h = now.h + row.index * now.h_row
            states.quantise(self.fn, h, self.words["H"], line, line + self.words["q numbers"])

    def _line(self, row: Value) -> Value:
        """The bytes of a sequence's state."""
        return self.q + (row - self.first) * self.words["q row"]

    def _byte_sums(self, states: StateBytes, tile: _SequenceTile) -> Callable[[int, int, int], Value]:
        """R h of a tile in 8 bits, as `_sums` has it."""
        vectors, quads = self.recipe.vectors, self.words["quads"]
        columns = GATES[self.cell.name] * vectors
        r = self.own["R"] + tile.block * states.block_bytes(quads, columns)
        lines = [self._line(tile.row + b) for b in range(tile.many)]
        numbers = [line + self.words["q numbers"] for line in lines]
        found = states.sums(self.fn, r, quads, lines, numbers, columns)
        return lambda b, gate, v: found[b * columns + gate * vectors + v]

    def _tiles(self, body: Callable[[_SequenceTile], None]) -> None:
        """Every block of the task with all its sequences."""
        many, size = self.recipe.many, self.recipe.vectors * self.recipe.lanes
        with self.fn.loop(self.share.begin, self.share.end) as block:
            column = block.index * size
            with self.fn.loop(self.first, self.end - (many - 1), many, carried=[self.first]) as rows:
                body(_SequenceTile(rows.index, many, block.index, column))
                rows.carry(rows.index + many)
            if many > 1:
                with self.fn.loop(rows.results[0], self.end) as rest:
                    body(_SequenceTile(rest.index, 1, block.index, column))

    def _sums(
        self, tile: _SequenceTile, gates: int, r: Value, h: Value, h_row: Value
    ) -> Callable[[int, int, int], Value]:
        """R h of a tile: from sequence, gate and vector to a sum. r: the packed R of such gates."""
        size, vectors = gates * self.recipe.vectors * self.recipe.lanes * self.item, self.recipe.vectors
        r = r + tile.block * self.words["H"] * size
        states = [h + (tile.row + b) * h_row for b in range(tile.many)]
        zeros = [const(self.kind, 0.0)] * (tile.many * gates * vectors)
        with self.fn.loop(0, self.words["H"], carried=zeros, at_least_once=True) as k:
            at, width = r + k.index * size, self.recipe.lanes * self.item
            columns = [self.fn.load(at, self.kind, i * width) for i in range(gates * vectors)]
            sums, before = [], iter(k.carried)
            for state in states:
                one = splat(
                    self.fn.load(state, self.recipe.type, k.index * self.item), lanes=self.recipe.lanes
                )
                sums += [fma(each, one, next(before)) for each in columns]
            k.carry(*sums)
        return lambda b, gate, v: k.results[(b * gates + gate) * vectors + v]

    def _vectors(self, tile: _SequenceTile, body: Callable[[int, int, Value, Value, Value], None]) -> None:
        """Each sequence and vector of a tile: their numbers, the sequence, the bytes to the vector, its mask."""
        for b in range(tile.many):
            for v in range(self.recipe.vectors):
                column = tile.column + v * self.recipe.lanes
                mask = prefix_mask(self.recipe.lanes, self.words["H"] - column)
                body(b, v, tile.row + b, column * self.item, mask)

    def _load(self, at: Value, offset: Value, mask: Value) -> Value:
        return self.fn.load(at, self.kind, offset, mask=mask)

    def _load_input(self, now: _Now, gate: int, row: Value, offset: Value, mask: Value) -> Value:
        """Product of the inputs that a gate adds."""
        at = now.x + row * self.words["x row"] + self.words["H"] * (gate * self.item)
        return self._load(at, offset, mask)

    def _apply(self, at: int, sums: Value, *, bounded: bool = True) -> Value:
        """An activation of the cell."""
        clip, (name, parameters) = self.cell.clip, self.cell.functions[at]
        if clip is not None and bounded:  # the constant first, so that a NaN comes through
            sums = minimum(const(self.kind, clip), maximum(const(self.kind, -clip), sums))
        return FORMULAS[name](sums, *parameters)

    def _keep(self, new: Value, now: _Now, row: Value, offset: Value, mask: Value) -> None:
        """Store a new state."""
        self.fn.store(new, now.y + row * self.words["y row"], offset, mask=mask)
        self.fn.store(new, self.own["last"] + row * self.words["last row"], offset, mask=mask)

    def _whole(self, tile: _SequenceTile, now: _Now) -> None:
        """All of a cell."""
        states = self.recipe.states
        sums = (
            self._sums(tile, GATES[self.cell.name], self.own["R"], now.h, now.h_row)
            if states is None
            else self._byte_sums(states, tile)
        )
        finish = {"RNN": self._finish_simple, "GRU": self._finish_gru, "LSTM": self._finish_lstm}[
            self.cell.name
        ]
        self._vectors(
            tile,
            lambda b, v, row, offset, mask: self._keep(
                finish(lambda gate: sums(b, gate, v), now, row, offset, mask), now, row, offset, mask
            ),
        )

    def _finish_simple(
        self, sums: Callable[[int], Value], now: _Now, row: Value, offset: Value, mask: Value
    ) -> Value:
        return self._apply(0, self._load_input(now, 0, row, offset, mask) + sums(0))

    def _finish_gru(
        self, sums: Callable[[int], Value], now: _Now, row: Value, offset: Value, mask: Value
    ) -> Value:
        z, r = (self._apply(0, self._load_input(now, at, row, offset, mask) + sums(at)) for at in range(2))
        new = sums(2)
        if self.cell.within:
            new = new + self._load(self.own["within"], offset, mask)
        return self._mix(z, fma(r, new, self._load_input(now, 2, row, offset, mask)), now, row, offset, mask)

    def _mix(self, z: Value, sums: Value, now: _Now, row: Value, offset: Value, mask: Value) -> Value:
        """h' of a GRU, from the sums of its new part."""
        n, h = self._apply(1, sums), self._load(now.h + row * now.h_row, offset, mask)
        return (1.0 - z) * n + z * h

    def _finish_lstm(
        self, sums: Callable[[int], Value], now: _Now, row: Value, offset: Value, mask: Value
    ) -> Value:
        c = self._load(now.c + row * now.c_row, offset, mask)

        def gate(at: int, c: Value) -> Value:
            found = self._load_input(now, at, row, offset, mask) + sums(at)
            if self.cell.peepholes:
                found = fma(
                    self._load(self.own["P"] + self.words["H"] * (at * self.item), offset, mask), c, found
                )
            return self._apply(0, found)

        i = gate(0, c)
        k = 1.0 - i if self.cell.coupled else gate(2, c)
        n = self._apply(1, self._load_input(now, 3, row, offset, mask) + sums(3))
        c = fma(k, c, i * n)
        self.fn.store(c, self.own["cc"] + row * self.words["cc row"], offset, mask=mask)
        return gate(1, c) * self._apply(2, c, bounded=False)

    def _reset(self, tile: _SequenceTile, now: _Now) -> None:
        """z and r h of a GRU that resets before the product, each (B, H)."""
        sums = self._sums(tile, 2, self.own["R"], now.h, now.h_row)

        def finish(b: int, v: int, row: Value, offset: Value, mask: Value) -> None:
            z, r = (
                self._apply(0, self._load_input(now, at, row, offset, mask) + sums(b, at, v))
                for at in range(2)
            )
            h, here = self._load(now.h + row * now.h_row, offset, mask), row * self.words["H"] * self.item
            self.fn.store(z, self.own["z"] + here, offset, mask=mask)
            self.fn.store(r * h, self.own["rh"] + here, offset, mask=mask)

        self._vectors(tile, finish)

    def _renew(self, tile: _SequenceTile, now: _Now) -> None:
        """The rest of it. R of its new part lies behind that of the other two."""
        size = self.recipe.vectors * self.recipe.lanes * self.item
        behind = self.words["columns"] * self.words["H"] * (2 * size)
        line = self.words["H"] * self.item
        sums = self._sums(tile, 1, self.own["R"] + behind, self.own["rh"], line)

        def finish(b: int, v: int, row: Value, offset: Value, mask: Value) -> None:
            z = self._load(self.own["z"] + row * line, offset, mask)
            new = self._load_input(now, 2, row, offset, mask) + sums(b, 0, v)
            self._keep(self._mix(z, new, now, row, offset, mask), now, row, offset, mask)

        self._vectors(tile, finish)


__all__ = ["GATES", "Applied", "CellRecipe", "Recurrence"]

"""Recurrent networks: RNN, GRU, LSTM.

    Y[t] = H[t] = cell(X[t], H[t - 1])        t = 0 ... T - 1, or backwards; both side by side when bidirectional

What the inputs add to the gates is one product for all steps, X W^T + b: (T*B, I) @ (I, G*H). Kernels take the steps
(`rolled`); what they do not take is done here, in NumPy. A sequence of the batch
ends at its `sequence_lens`: outputs beyond are 0, its last state is the one at its end, and backwards it begins there.
A sequence of no steps has no last output, and its last state is 0 (so onnxruntime).

With layout 1 the batch stands first: X (B, T, I), Y (B, T, D, H), states (B, D, H).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ..graph import Array, Node, Shape, Spec
from .base import Specs, Step, has_input, input_at, step_operator
from .cells import CellWeights, Gated, LongShort, Named, RecurrentCell, Simple, State, functions_of
from .options import Options
from .rolled import Extents, Rolled, RolledToTheEnd, Wiring, roll_cell

INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
CELLS: dict[str, type[Simple] | type[Gated] | type[LongShort]] = {
    "RNN": Simple, "GRU": Gated, "LSTM": LongShort,
}  # fmt: skip
DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
"""Whether each direction runs backwards."""


def recurrent_extents(node: Node, specs: Specs) -> Extents:
    """The extents, all inputs checked against them."""
    x, _, r = (input_at(node, specs, i) for i in range(3))
    direction, layout, G = node.get("direction", "forward"), node.get("layout", 0), GATES[node.op]
    if direction not in DIRECTIONS or layout not in (0, 1):
        raise node.error(
            f"its direction is {direction!r} and its layout {layout}\n"
            f"  forward, reverse or bidirectional, and 0 or 1 are needed"
        )
    if x.rank != 3 or r.rank != 3:
        raise node.error(f"its X is {x} and its R {r}\n  both need three axes")
    T, B = x.shape[:2][:: -1 if layout else 1]
    e = Extents(T, B, x.shape[2], len(DIRECTIONS[direction]), r.shape[2], G, bool(layout))
    needed: list[Shape] = [
        x.shape, (e.D, G * e.H, e.I), (e.D, G * e.H, e.H), (e.D, 2 * G * e.H), (B,), e.state, e.state, (e.D, 3 * e.H),
    ]  # fmt: skip
    for at, (name, shape) in enumerate(zip(INPUTS, needed, strict=True)):
        if not has_input(specs, at):
            continue
        spec = input_at(node, specs, at)
        fits = spec.dtype.kind in "iu" if name == "sequence_lens" else spec.dtype == x.dtype
        if spec.shape != shape or not fits:
            kind = "int32" if name == "sequence_lens" else x.dtype
            raise node.error(
                f"its {name} is {spec}\n  {kind}[{','.join(map(str, shape))}] is needed: X is {x}, "
                f"hidden_size {e.H}, {e.D} direction(s)"
            )
    if node.get("hidden_size", e.H) != e.H:
        raise node.error(f"its hidden_size is {node.get('hidden_size')}\n  its R {r} has {e.H}")
    functions_of(node, e.D)
    return e


def _recurrent_shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    e, dtype = recurrent_extents(node, specs), input_at(node, specs, 0).dtype
    return (Spec(e.output, dtype), *(Spec(e.state, dtype),) * (2 if node.op == "LSTM" else 1))


Products = Sequence[Callable[[Array], Array]]
"""h R^T of each direction of an LSTM."""


@step_operator("RNN", "GRU", "LSTM", shape=_recurrent_shape)
def recurrent(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """Y, the outputs of all steps; Y_h and Y_c, the state after the last."""
    wiring, functions = wire(node, specs)
    inputs = {INPUTS[at]: spec for at, spec in enumerate(specs) if spec is not None}

    def roll(told: Wiring) -> Rolled | None:
        return roll_cell(node, inputs, told, functions, options)

    return roll_whole_sequences(
        inputs.get("sequence_lens"), wiring, roll, lambda: step_by_step(node, wiring, functions)
    )


def roll_whole_sequences(
    lengths: Spec | None, wiring: Wiring, roll: Callable[[Wiring], Rolled | None], alone: Callable[[], Step]
) -> Step:
    """The step that `roll` makes, which knows nothing of lengths, where no sequence ends early; else that of `alone`.

    Lengths that a call brings are looked at there: `roll` then gets a wiring without them.
    """
    if lengths is None or lengths.value is not None:
        ends = lengths is not None and bool(np.any(lengths.value != wiring.e.T))
        return (None if ends else roll(wiring)) or alone()
    at = wiring.names.index("sequence_lens")
    rolled = roll(replace(wiring, names=(*wiring.names[:at], *wiring.names[at + 1 :])))
    return alone() if rolled is None else RolledToTheEnd(rolled, at, wiring.e.T, alone())


def wire(node: Node, specs: Specs) -> tuple[Wiring, list[list[Named]]]:
    """What a node reads and writes, and the activations of each direction."""
    e = recurrent_extents(node, specs)
    names = tuple(INPUTS[at] for at, spec in enumerate(specs) if spec is not None)
    wanted = tuple(at for at, name in enumerate(node.outputs) if name)
    backwards = DIRECTIONS[node.get("direction", "forward")]
    return Wiring(e, names, wanted, backwards, input_at(node, specs, 0).dtype), functions_of(node, e.D)


def step_by_step(
    node: Node, wiring: Wiring, functions: list[list[Named]], products: Products | None = None
) -> Step:
    """The step of a node in NumPy."""
    e, names, wanted = wiring.e, wiring.names, wiring.wanted

    def step(*arrays: Array) -> None:
        inputs = dict(zip(names, arrays, strict=False))
        outputs = dict(zip(wanted, arrays[len(names) :], strict=True))
        lengths = inputs.get("sequence_lens")
        if lengths is not None and lengths.size and not 0 <= lengths.min() <= lengths.max() <= e.T:
            raise node.error(
                f"its sequence_lens are {lengths.min()} to {lengths.max()}\n  X has {e.T} steps: 0 to {e.T} are needed"
            )
        x = inputs["X"].swapaxes(0, 1) if e.batch_first else inputs["X"]
        for d, back in enumerate(wiring.backwards):
            cell = _cell(node, inputs, d, functions[d], products)
            state = tuple(
                part_of(e, inputs[name], d) if name in inputs else np.zeros((e.B, e.H), x.dtype)
                for name in ("initial_h", "initial_c")[: 2 if node.op == "LSTM" else 1]
            )
            Y = outputs.get(0)
            y = None if Y is None else Y[:, :, d].swapaxes(0, 1) if e.batch_first else Y[:, d]
            order, seen = None, x
            if back and lengths is None:
                seen, y = x[::-1], None if y is None else y[::-1]
            elif back and lengths is not None:
                order = order_backwards(e, lengths)
                seen = x[order]
            found = _run(e, cell, _products(seen, inputs["W"][d], cell.bias), state, lengths, y)
            if y is not None and order is not None:
                y[...] = y[order]
            for at, part in enumerate(found, 1):
                if at in outputs:
                    part_of(e, outputs[at], d)[...] = part

    return step


def part_of(e: Extents, state: Array, d: int) -> Array:
    """The state of one direction: (B, H)."""
    return state[:, d] if e.batch_first else state[d]


def _cell(
    node: Node, inputs: dict[str, Array], d: int, functions: list[Named], products: Products | None
) -> RecurrentCell:
    """The cell of one direction with its weights."""
    Wb, Rb = inputs["B"][d].reshape(2, -1) if "B" in inputs else (None, None)
    P = inputs["P"][d] if "P" in inputs else None
    weights = CellWeights(inputs["R"][d], Wb, Rb, P, None if products is None else products[d])
    return CELLS[node.op](node, weights, functions)


def _products(x: Array, w: Array, bias: Array | None) -> Array:
    """x: (T, B, I), w: (G*H, I) -> (T, B, G*H), what the inputs add to the gates of all steps."""
    T, B, I = x.shape
    found = x.reshape(T * B, I) @ w.T
    if bias is not None:
        found += bias
    made: Array = found.reshape(T, B, w.shape[0])
    return made


def order_backwards(e: Extents, lengths: Array) -> tuple[Array, Array]:
    """Indices (T, B) that turn each sequence round and leave what is behind its end: done twice, nothing is changed."""
    steps, ends = np.arange(e.T)[:, None], lengths.astype(np.int64)
    return np.where(steps < ends, ends - 1 - steps, steps), np.arange(e.B)[None, :]


def _run(
    e: Extents, cell: RecurrentCell, x: Array, state: State, lengths: Array | None, y: Array | None
) -> State:
    """Steps over x: (T, B, G*H), their outputs into y: (T, B, H) if there is one; the state after the last."""
    first = e.T if lengths is None else int(lengths.min(initial=e.T))
    last = e.T if lengths is None else int(lengths.max(initial=0))
    for t in range(last):
        after = cell(x[t], state)
        if t >= first:
            assert lengths is not None
            going = (lengths > t)[:, None]
            after = tuple(np.where(going, new, old) for new, old in zip(after, state, strict=True))
            if y is not None:
                y[t] = np.where(going, after[0], 0)
        elif y is not None:
            y[t] = after[0]
        state = after
    if y is not None:
        y[last:] = 0
    if first > 0:
        return state
    ran = np.zeros((e.B, 1), bool) if lengths is None else (lengths > 0)[:, None]
    return tuple(np.where(ran, part, 0) for part in state)

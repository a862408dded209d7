"""Gradients of RNN, GRU and LSTM: steps are gone back from the last to the first.

    a[t] = x[t] W^T + h[t-1] R^T + biases, the sums of the gates        da: what changes the loss by them
    dx[t] = da W     dW = sum of da^T x[t]     dh[t-1] = da R + ..     dR = sum of da^T h[t-1]     db = sum of da

All h are in Y, so the gates of all steps are one product again, and what a step back multiplies by is known before the
first. One product is left in each step, dh[t-1]; dW, dR and dx are products over all steps. The new gate of a GRU reads
r h, or multiplies what comes of h by r: `into_h` is what stands beside h then. Werbos, "Backpropagation through time",
1990. In NumPy: a step is small, and there are many.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ....lazy_dataclass import dataclass
from ...graph import Array, Node, Spec
from ..activations import sigmoid
from ..base import Specs, Step, input_at, own_operator
from ..options import Options, repeatable
from ..recurrent import DIRECTIONS, INPUTS, order_backwards, part_of, recurrent_extents
from ..rolled import Extents


@dataclass(frozen=True)
class RecurrentPass:
    """One direction, in the order in which it runs: x (T, B, I), h (T, B, H) before each step, and its weights.

    `c` is the first cell of a LSTM, P its peepholes or None; `going` (T, B, 1) says which sequences have the step, None
    for all; `dy` (T, B, H) or None, and `ends`, of the states after the last step, are what the loss changes by.
    """

    x: Array
    h: Array
    c: Array
    W: Array
    R: Array
    Wb: Array
    Rb: Array
    P: Array | None
    going: Array | None
    dy: Array | None
    ends: list[Array]

    def sums(self, gates: slice = slice(None)) -> Array:
        """x W^T + h R^T and biases, of some of the gates: (T, B, ..)."""
        found = multiply(self.x, self.W[gates].T)
        found += multiply(self.h, self.R[gates].T)
        found += self.Wb[gates] + self.Rb[gates]
        return found

    def into(self, t: int, dh: Array) -> Array:
        """The gradient of h after a step: what later steps say of it, and dy."""
        return dh if self.dy is None else dh + self.dy[t]


@dataclass(frozen=True)
class RecurrentGradients:
    """Gradients of one direction: of the sums of the gates, beside x and beside h (T, B, G*H), and of the first states.

    `cells` (T, B, H) are those of a LSTM after each step; `reset` is r h where the new gate of a GRU reads that.
    """

    into_x: Array
    into_h: Array
    before: list[Array]
    cells: Array | None = None
    reset: Array | None = None


def multiply(x: Array, w: Array) -> Array:
    """(T, B, n) by (n, m), as one product."""
    found: Array = (flatten_steps(x) @ w).reshape(*x.shape[:-1], w.shape[1])
    return found


def flatten_steps(x: Array) -> Array:
    """(T, B, n) as (T*B, n), where there are none of these, too."""
    return x.reshape(x.shape[0] * x.shape[1], x.shape[2])


def _still(go: RecurrentPass, t: int, after: Array, before: Array) -> Array:
    """The gradient before a step: what was after it, where a sequence has ended."""
    return before if go.going is None else np.where(go.going[t], before, after)


def _cut(go: RecurrentPass, t: int, da: Array) -> None:
    if go.going is not None:
        da *= go.going[t]


def go_back_simple(node: Node, go: RecurrentPass, y: Array) -> RecurrentGradients:
    """An RNN whose function is tanh: da = dh (1 - y^2)."""
    da, (dh,) = 1 - y * y, go.ends
    for t in reversed(range(len(y))):
        d = go.into(t, dh)
        da[t] *= d
        _cut(go, t, da[t])
        dh = _still(go, t, d, da[t] @ go.R)
    return RecurrentGradients(da, da, [dh])


def go_back_gated(node: Node, go: RecurrentPass, y: Array) -> RecurrentGradients:
    """A GRU: y = (1 - z) n + z h, n = tanh(x + r m), m of h; or n = tanh(x + m), m of r h."""
    H, inside = go.R.shape[1], bool(node.get("linear_before_reset", 0))
    gates = sigmoid(go.sums(slice(2 * H)))
    z, r, new = gates[..., :H], gates[..., H:], go.R[2 * H :]
    reset = None if inside else r * go.h
    m = multiply(go.h if reset is None else reset, new.T) + go.Rb[2 * H :]
    n = np.tanh(multiply(go.x, go.W[2 * H :].T) + go.Wb[2 * H :] + (r * m if inside else m))
    slopes = ((go.h - n) * z * (1 - z), r * (1 - r) * (m if inside else go.h), (1 - z) * (1 - n * n))
    into_x = np.concatenate(slopes, -1)
    into_h = np.empty_like(into_x) if inside else into_x
    (dh,) = go.ends
    for t in reversed(range(len(y))):
        d, da = go.into(t, dh), into_x[t]
        da[:, :H] *= d
        da[:, 2 * H :] *= d
        through = da[:, 2 * H :] if inside else da[:, 2 * H :] @ new
        da[:, H : 2 * H] *= through
        _cut(go, t, da)
        if inside:
            into_h[t] = da
            into_h[t, :, 2 * H :] *= r[t]
            before = into_h[t] @ go.R
        else:
            before = da[:, : 2 * H] @ go.R[: 2 * H] + through * r[t]
        dh = _still(go, t, d, before + d * z[t])
    return RecurrentGradients(into_x, into_h, [dh], reset=reset)


def go_back_long_short(node: Node, go: RecurrentPass, y: Array) -> RecurrentGradients:
    """A LSTM: y = o tanh(c), c = k c[t-1] + i n; the gates stand as i, o, k, n."""
    H, T = go.R.shape[1], len(y)
    a, P = go.sums(), None if go.P is None else go.P.reshape(3, H)
    n = np.tanh(a[..., 3 * H :])
    cells = np.empty((T + 1, *go.c.shape), go.c.dtype)
    cells[0] = go.c
    if P is None:
        gates = sigmoid(a[..., : 3 * H])
        i, o, k = (gates[..., at * H : (at + 1) * H] for at in range(3))
    else:
        i, o, k = (np.empty_like(n) for _ in range(3))
    for t in range(T):
        if P is not None:
            i[t], k[t] = (
                sigmoid(a[t, :, :H] + P[0] * cells[t]),
                sigmoid(a[t, :, 2 * H : 3 * H] + P[2] * cells[t]),
            )
        np.add(k[t] * cells[t], i[t] * n[t], out=cells[t + 1])
        if P is not None:
            o[t] = sigmoid(a[t, :, H : 2 * H] + P[1] * cells[t + 1])
    tops = np.tanh(cells[1:])
    da = np.concatenate([n * i * (1 - i), tops * o * (1 - o), cells[:-1] * k * (1 - k), i * (1 - n * n)], -1)
    into_c = o * (1 - tops * tops)
    dh, dc = go.ends
    for t in reversed(range(T)):
        d, at = go.into(t, dh), da[t].reshape(len(da[t]), 4, H)
        at[:, 1] *= d
        inner = dc + d * into_c[t] + (0 if P is None else at[:, 1] * P[1])
        at[:, 0] *= inner
        at[:, 2:] *= inner[:, None]
        _cut(go, t, da[t])
        before = inner * k[t] + (0 if P is None else at[:, 0] * P[0] + at[:, 2] * P[2])
        dh, dc = _still(go, t, d, da[t] @ go.R), _still(go, t, dc, before)
    return RecurrentGradients(da, da, [dh, dc], cells=cells)


BACK = {"RNN": go_back_simple, "GRU": go_back_gated, "LSTM": go_back_long_short}


def _shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x = input_at(node, specs, 0)
    return tuple(x if spec is None else Spec(spec.shape, spec.dtype) for spec in specs[: len(INPUTS)])


@own_operator("RecurrentGrad", shape=_shape)
def recurrent_grad(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """The eight inputs of the node, Y and the gradients of its three outputs -> gradients of those inputs."""
    of = node.attributes["of"]
    e = recurrent_extents(of, specs[: len(INPUTS)])
    given = (*INPUTS, "Y", "dY", "dY_h", "dY_c")
    names = [given[at] for at, spec in enumerate(specs) if spec is not None]
    wanted = [INPUTS[at] for at, name in enumerate(node.outputs) if name]

    def step(*arrays: Array) -> None:
        inputs = dict(zip(names, arrays, strict=False))
        outs = dict(zip(wanted, arrays[len(names) :], strict=True))
        for out in outs.values():
            out.fill(0)
        for d, back in enumerate(DIRECTIONS[of.get("direction", "forward")]):
            _go_back(of, e, inputs, outs, d, back)

    return repeatable(step, options)


def _go_back(
    of: Node, e: Extents, inputs: dict[str, Array], outs: dict[str, Array], d: int, back: bool
) -> None:
    """Add what one direction gives to the gradients."""
    lengths = inputs.get("sequence_lens")
    turned = order_backwards(e, np.full(e.B, e.T) if lengths is None else lengths)
    order = turned if back else (slice(None), slice(None))
    go, y = _read_pass(of, e, inputs, d, order)
    found = BACK[of.op](of, go, y)
    into_x, into_h = map(flatten_steps, (found.into_x, found.into_h))
    h, total = flatten_steps(go.h), dict[str, Array]()
    if "R" in outs:
        total["R"] = into_h.T @ h
        if found.reset is not None:
            total["R"][2 * e.H :] = into_h[:, 2 * e.H :].T @ flatten_steps(found.reset)
    if "W" in outs:
        total["W"] = into_x.T @ flatten_steps(go.x)
    if "B" in outs:
        total["B"] = np.stack([into_x.sum(0), into_h.sum(0)])
    if "P" in outs and found.cells is not None:
        beside = (found.cells[:-1], found.cells[1:], found.cells[:-1])
        gates = found.into_x.reshape(e.T, e.B, 4, e.H)
        total["P"] = np.stack([(gates[:, :, at] * c).sum((0, 1)) for at, c in enumerate(beside)])
    for name, value in total.items():
        outs[name][d] = value.reshape(outs[name][d].shape)
    for name, value in zip(("initial_h", "initial_c"), found.before, strict=False):
        if name in outs:
            part_of(e, outs[name], d)[...] = value
    if "X" in outs:
        dx = outs["X"].swapaxes(0, 1) if e.batch_first else outs["X"]
        dx += multiply(found.into_x, go.W)[order]


def _read_pass(
    of: Node, e: Extents, inputs: dict[str, Array], d: int, order: Any
) -> tuple[RecurrentPass, Array]:
    """What a direction runs over, and its h after each step."""
    dtype, lengths = inputs["X"].dtype, inputs.get("sequence_lens")
    nothing = np.zeros((e.B, e.H), dtype)

    def state(name: str) -> Array:
        return part_of(e, inputs[name], d) if name in inputs else nothing

    def steps(name: str) -> Array:
        whole = inputs[name]
        return np.ascontiguousarray((whole[:, :, d].swapaxes(0, 1) if e.batch_first else whole[:, d])[order])

    y = steps("Y")
    h = np.concatenate([state("initial_h")[None], y])[: e.T]
    x = np.ascontiguousarray((inputs["X"].swapaxes(0, 1) if e.batch_first else inputs["X"])[order])
    Wb, Rb = inputs["B"][d].reshape(2, -1) if "B" in inputs else np.zeros((2, e.G * e.H), dtype)
    going = None if lengths is None else (np.arange(e.T)[:, None] < lengths)[..., None]
    ends = [state(name) for name in ("dY_h", "dY_c")[: 2 if of.op == "LSTM" else 1]]
    if lengths is not None:
        ends = [each * (lengths > 0)[:, None] for each in ends]
    dy = steps("dY") if "dY" in inputs else None
    if dy is not None and going is not None:
        dy = dy * going
    P = inputs["P"][d] if "P" in inputs else None
    return RecurrentPass(
        x, h, state("initial_c"), inputs["W"][d], inputs["R"][d], Wb, Rb, P, going, dy, ends
    ), y

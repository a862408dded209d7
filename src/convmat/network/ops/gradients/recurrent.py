"""Gradients of RNN, GRU and LSTM: the states are computed again, then steps are gone back from the last to the first.

    a[t] = x[t] W^T + h[t-1] R^T + biases, the sums of the gates        da: what changes the loss by them
    dx[t] = da W     dW = sum of da^T x[t]     dh[t-1] = da R + ..     dR = sum of da^T h[t-1]     db = sum of da

The new gate of a GRU reads r h, or multiplies what comes of h by r: `into_h` is what stands beside h then. Werbos,
"Backpropagation through time", 1990. In NumPy: a step is small, and there are many.
"""

from __future__ import annotations

import numpy as np

from ....lazy_dataclass import dataclass
from ...graph import Array, Node, Spec
from ..activations import sigmoid
from ..base import Specs, Step, input_at, own_operator
from ..cells import State
from ..options import Options
from ..recurrent import DIRECTIONS, INPUTS, order_backwards, part_of, recurrent_extents
from ..rolled import Extents

STATES = ("initial_h", "initial_c")


@dataclass(frozen=True)
class StepBack:
    """What a step gives back: gradients of its sums and of the state before; what belongs to R, its bias and P.

    `into_x`, `into_h`: (B, G*H), of the sums of the gates, beside x and beside h; `dR`: (G*H, H); `dP`: (3*H,) or None.
    """

    into_x: Array
    into_h: Array
    before: State
    dR: Array
    dP: Array | None = None


Weights = dict[str, Array]
"""Weights of one direction, by the standard's names; the two halves of its bias are Wb and Rb."""


def step_simple(
    node: Node, x: Array, state: State, d: State | None, w: Weights
) -> tuple[State, StepBack | None]:
    """The step of an RNN whose function is tanh, and back."""
    (h,), R = state, w["R"]
    y = np.tanh(x + w["Wb"] + h @ R.T + w["Rb"])
    if d is None:
        return (y,), None
    da = d[0] * (1 - y * y)
    return (y,), StepBack(da, da, (da @ R,), da.T @ h)


def step_gated(
    node: Node, x: Array, state: State, d: State | None, w: Weights
) -> tuple[State, StepBack | None]:
    """The step of a GRU, and back."""
    (h,), H, R, b = state, w["R"].shape[1], w["R"], w["Rb"]
    x = x + w["Wb"]
    inside = bool(node.get("linear_before_reset", 0))
    gates = sigmoid(x[:, : 2 * H] + h @ R[: 2 * H].T + b[: 2 * H])
    z, r = gates[:, :H], gates[:, H:]
    product = h @ R[2 * H :].T + b[2 * H :] if inside else (r * h) @ R[2 * H :].T + b[2 * H :]
    n = np.tanh(x[:, 2 * H :] + (r * product if inside else product))
    after = ((1 - z) * n + z * h,)
    if d is None:
        return after, None
    dn = d[0] * (1 - z) * (1 - n * n)
    through = dn @ R[2 * H :]  # to r h
    dr = (dn * product if inside else through * h) * r * (1 - r)
    dz = d[0] * (h - n) * z * (1 - z)
    into_h = np.concatenate([dz, dr, dn * r if inside else dn], axis=1)
    dR = into_h.T @ h
    before = d[0] * z + into_h[:, : 2 * H] @ R[: 2 * H]
    if inside:
        before += into_h[:, 2 * H :] @ R[2 * H :]
    else:
        dR[2 * H :] = dn.T @ (r * h)
        before += through * r
    return after, StepBack(np.concatenate([dz, dr, dn], axis=1), into_h, (before,), dR)


def step_long_short(
    node: Node, x: Array, state: State, d: State | None, w: Weights
) -> tuple[State, StepBack | None]:
    """The step of an LSTM, and back."""
    (h, c), H, R = state, w["R"].shape[1], w["R"]
    P = w["P"].reshape(3, H)
    a = x + w["Wb"] + h @ R.T + w["Rb"]
    i, n = sigmoid(a[:, :H] + P[0] * c), np.tanh(a[:, 3 * H :])
    k = sigmoid(a[:, 2 * H : 3 * H] + P[2] * c)
    cell = k * c + i * n
    o, t = sigmoid(a[:, H : 2 * H] + P[1] * cell), np.tanh(cell)
    if d is None:
        return (o * t, cell), None
    do = d[0] * t * o * (1 - o)
    dc = d[1] + d[0] * o * (1 - t * t) + do * P[1]
    di, dk = dc * n * i * (1 - i), dc * c * k * (1 - k)
    da = np.concatenate([di, do, dk, dc * i * (1 - n * n)], axis=1)
    dP = np.concatenate([(di * c).sum(0), (do * cell).sum(0), (dk * c).sum(0)])
    return (o * t, cell), StepBack(da, da, (da @ R, dc * k + di * P[0] + dk * P[2]), da.T @ h, dP)


STEPS = {"RNN": step_simple, "GRU": step_gated, "LSTM": step_long_short}


def _shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x = input_at(node, specs, 0)
    return tuple(x if spec is None else Spec(spec.shape, spec.dtype) for spec in specs[: len(INPUTS)])


@own_operator("RecurrentGrad", shape=_shape)
def recurrent_grad(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """The eight inputs of the node and the gradients of its three outputs -> gradients of those inputs."""
    of = node.attributes["of"]
    e = recurrent_extents(of, specs[: len(INPUTS)])
    given = (*INPUTS, "dY", "dY_h", "dY_c")
    names = [given[at] for at, spec in enumerate(specs) if spec is not None]
    wanted = [INPUTS[at] for at, name in enumerate(node.outputs) if name]

    def step(*arrays: Array) -> None:
        inputs = dict(zip(names, arrays, strict=False))
        outs = dict(zip(wanted, arrays[len(names) :], strict=True))
        for out in outs.values():
            out.fill(0)
        for d, back in enumerate(DIRECTIONS[of.get("direction", "forward")]):
            _go_back(of, e, inputs, outs, d, back)

    return step


def _go_back(of: Node, e: Extents, inputs: Weights, outs: Weights, d: int, back: bool) -> None:
    """Add what one direction gives to the gradients."""
    dtype = inputs["X"].dtype
    lengths = inputs.get("sequence_lens", np.full(e.B, e.T))
    order = order_backwards(e, lengths) if back else (slice(None), slice(None))
    x = (inputs["X"].swapaxes(0, 1) if e.batch_first else inputs["X"])[order]
    Wb, Rb = inputs["B"][d].reshape(2, -1) if "B" in inputs else np.zeros((2, 1), dtype)
    P = inputs["P"][d] if "P" in inputs else np.zeros(3 * e.H, dtype)
    wide = np.zeros(e.G * e.H, dtype)
    w = {"R": inputs["R"][d], "Wb": Wb + wide, "Rb": Rb + wide, "P": P}
    run, sums = STEPS[of.op], x @ inputs["W"][d].T
    parts = STATES[: 2 if of.op == "LSTM" else 1]
    nothing = np.zeros((e.B, e.H), dtype)
    states = [tuple(part_of(e, inputs[name], d) if name in inputs else nothing for name in parts)]
    going = [(lengths > t)[:, None] for t in range(e.T)]
    for t in range(e.T):
        after, _ = run(of, sums[t], states[-1], None, w)
        states.append(tuple(np.where(going[t], a, b) for a, b in zip(after, states[-1], strict=True)))
    ran = (lengths > 0)[:, None]
    ends = ("dY_h", "dY_c")[: len(parts)]
    state = tuple(part_of(e, inputs[name], d) * ran if name in inputs else nothing for name in ends)
    dY = inputs.get("dY")
    if dY is not None:
        dY = (dY[:, :, d].swapaxes(0, 1) if e.batch_first else dY[:, d])[order]
    into_x = np.zeros((e.T, e.B, e.G * e.H), dtype)
    total = {"R": np.zeros_like(w["R"]), "B": np.zeros((2, e.G * e.H), dtype), "P": np.zeros_like(P)}
    for t in reversed(range(e.T)):
        first = state[0] if dY is None else state[0] + dY[t]
        _, found = run(of, sums[t], states[t], tuple(v * going[t] for v in (first, *state[1:])), w)
        assert found is not None
        into_x[t] = found.into_x
        total["R"] += found.dR
        total["B"] += np.stack([found.into_x.sum(0), found.into_h.sum(0)])
        if found.dP is not None:
            total["P"] += found.dP
        state = tuple(new + old * ~going[t] for new, old in zip(found.before, state, strict=True))
    total["W"] = np.einsum("tbg,tbi->gi", into_x, x)
    for name in total.keys() & outs.keys():
        outs[name][d] = total[name].reshape(outs[name][d].shape)
    for name, value in zip(parts, state, strict=True):
        if name in outs:
            part_of(e, outs[name], d)[...] = value
    if "X" in outs:
        dx = outs["X"].swapaxes(0, 1) if e.batch_first else outs["X"]
        dx += (into_x @ inputs["W"][d])[order]

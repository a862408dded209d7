"""Cells of recurrent networks: one step from the state before to the state after, for all sequences of a batch.

    x: (B, G*H), what the inputs add to the sums of all gates    h, c: (B, H), the state    R: (G*H, H)

    RNN     h' = f(x + h R^T)
    GRU     z, r = f(x + h R^T);  n = g(x + (r h) R^T), or g(x + r (h R^T + b));  h' = (1 - z) n + z h
    LSTM    i = f(x + h R^T + P c);  k = f(x + h R^T + P c), or 1 - i;  c' = k c + i g(x + h R^T)
            o = f(x + h R^T + P c');  h' = o h(c')

Gates lie one after the other along the last axis: z r n in a GRU, i o k c in an LSTM. `clip` bounds the sums of the
gates, not the cell c' that h(c') reads: so does onnxruntime, and the standard's sentence can be read so.
Hochreiter, Schmidhuber, 1997; Cho et al., 2014.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from ...lazy_dataclass import dataclass
from ..graph import Array, Node
from .activations import sigmoid

State = tuple[Array, ...]


class RecurrentCell(Protocol):
    """One step. `bias` is what is added to the sums of the gates in all steps."""

    bias: Array | None

    def __call__(self, x: Array, state: State) -> State:
        """The state after the step, its first part the output."""
        ...


@dataclass(frozen=True)
class CellWeights:
    """The weights of one direction: R (G*H, H), two biases (G*H,), peepholes (3*H,).

    `product`: h R^T of an LSTM, where it is another than that of floats.
    """

    R: Array
    Wb: Array | None = None
    Rb: Array | None = None
    P: Array | None = None
    product: Callable[[Array], Array] | None = None


class Simple:
    """The cell of an RNN."""

    def __init__(self, node: Node, weights: CellWeights, functions: list[Named]) -> None:
        self.R = weights.R.T
        (self.f,) = functions
        self.bias = None if weights.Wb is None or weights.Rb is None else weights.Wb + weights.Rb

    def __call__(self, x: Array, state: State) -> State:
        """h' from h."""
        return (self.f(x + state[0] @ self.R),)


class Gated:
    """The cell of a GRU."""

    def __init__(self, node: Node, weights: CellWeights, functions: list[Named]) -> None:
        H = weights.R.shape[1]
        self.H, self.inside = H, bool(node.get("linear_before_reset", 0))
        self.gates, self.new, self.all = weights.R[: 2 * H].T, weights.R[2 * H :].T, weights.R.T
        self.f, self.g = functions
        self.bias = weights.Wb
        self.within: Array | float = 0.0
        if weights.Wb is not None and weights.Rb is not None:
            self.bias = weights.Wb + weights.Rb
            if self.inside:  # the reset gate multiplies this part of the bias too
                self.bias[2 * H :] = weights.Wb[2 * H :]
                self.within = weights.Rb[2 * H :]

    def __call__(self, x: Array, state: State) -> State:
        """h' from h."""
        (h,), H = state, self.H
        product = h @ (self.all if self.inside else self.gates)
        gates = self.f(x[:, : 2 * H] + product[:, : 2 * H])
        z, r = gates[:, :H], gates[:, H:]
        inner = r * (product[:, 2 * H :] + self.within) if self.inside else (r * h) @ self.new
        n = self.g(x[:, 2 * H :] + inner)
        return ((1 - z) * n + z * h,)


class LongShort:
    """The cell of an LSTM."""

    def __init__(self, node: Node, weights: CellWeights, functions: list[Named]) -> None:
        self.H, R = weights.R.shape[1], weights.R.T
        self.product = weights.product or (lambda h: h @ R)
        self.f, self.g, self.h = functions[0], functions[1], functions[2]
        self.coupled = bool(node.get("input_forget", 0))
        self.P = None if weights.P is None else weights.P.reshape(3, self.H)
        self.bias = None if weights.Wb is None or weights.Rb is None else weights.Wb + weights.Rb

    def __call__(self, x: Array, state: State) -> State:
        """h', c' from h, c."""
        (h, c), P = state, self.P
        gates = x + self.product(h)
        i, o, k, n = (gates[:, at * self.H : (at + 1) * self.H] for at in range(4))
        i = self.f(i if P is None else i + P[0] * c)
        k = 1 - i if self.coupled else self.f(k if P is None else k + P[2] * c)
        c = k * c + i * self.g(n)
        o = self.f(o if P is None else o + P[1] * c)
        return o * self.h(c), c


# -- activations -------------------------------------------------------------------------------------------------------

Bare = Callable[[Array, Any, Any], Any]

BARE: dict[str, tuple[Bare, float | None, float | None]] = {
    "relu": (lambda x, a, b: np.maximum(x, 0), None, None),
    "tanh": (lambda x, a, b: np.tanh(x), None, None),
    "sigmoid": (lambda x, a, b: sigmoid(x), None, None),
    "affine": (lambda x, a, b: a * x + b, 1.0, 0.0),
    "leakyrelu": (lambda x, a, b: np.where(x < 0, a * x, x), 0.01, None),
    "thresholdedrelu": (lambda x, a, b: np.where(x < a, x.dtype.type(0), x), 1.0, None),
    "scaledtanh": (lambda x, a, b: a * np.tanh(b * x), np.nan, np.nan),
    "hardsigmoid": (lambda x, a, b: np.clip(a * x + b, 0, 1), 0.2, 0.5),
    "elu": (lambda x, a, b: np.where(x < 0, a * np.expm1(np.minimum(x, 0)), x), 1.0, None),
    "softsign": (lambda x, a, b: x / (1 + np.abs(x)), None, None),
    "softplus": (lambda x, a, b: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))), None, None),
}
"""The activations by their names in small letters: the formula of x, alpha and beta, and the defaults of those two.

None where a formula has no such number, NaN where it must be given.
"""

NAMES = "Relu, Tanh, Sigmoid, Affine, LeakyRelu, ThresholdedRelu, ScaledTanh, HardSigmoid, Elu, Softsign, Softplus"

USUAL = {
    "RNN": ("Tanh",),
    "GRU": ("Sigmoid", "Tanh"),
    "LSTM": ("Sigmoid", "Tanh", "Tanh"),
}
"""The activations of one direction where none are named."""


@dataclass(frozen=True)
class Named:
    """An activation with its numbers, None where it has none; `clip` bounds what it is given."""

    name: str
    alpha: float | None
    beta: float | None
    clip: float | None

    @property
    def parameters(self) -> tuple[float, ...]:
        """Numbers that it has."""
        return tuple(float(each) for each in (self.alpha, self.beta) if each is not None)

    def __call__(self, x: Array) -> Any:
        """Apply it to an array."""
        bounded = x if self.clip is None else np.clip(x, -self.clip, self.clip)
        return BARE[self.name][0](bounded, self.alpha, self.beta)


def functions_of(node: Node, directions: int) -> list[list[Named]]:
    """The activations of each direction; NetworkError where they are not those of the standard.

    `activation_alpha` and `activation_beta` are read in the order of the functions that have such a number.
    """
    usual = USUAL[node.op]
    names = tuple(node.get("activations") or usual * directions)
    if len(names) != len(usual) * directions:
        raise node.error(
            f"its activations are {', '.join(map(str, names))}\n"
            f"  {len(usual)} for each of {directions} direction(s) are needed, e.g. {', '.join(usual * directions)}"
        )
    clip = node.get("clip")
    if clip is not None and not clip >= 0:
        raise node.error(f"its clip is {clip}\n  a bound from 0 on is needed")
    alphas, betas = (iter(node.get(name) or ()) for name in ("activation_alpha", "activation_beta"))
    found: list[Named] = []
    for name in names:
        if not isinstance(name, str) or name.lower() not in BARE:
            raise node.error(f"it has the activation {name!r}\n  there are {NAMES}")
        _, alpha, beta = BARE[name.lower()]
        alpha, beta = (
            None if usually is None else next(given, usually)
            for given, usually in ((alphas, alpha), (betas, beta))
        )
        if name.lower() == "scaledtanh" and (np.isnan(alpha or 0) or np.isnan(beta or 0)):
            raise node.error(
                "its activation ScaledTanh has no alpha or no beta, and the standard has no default for them\n"
                "  give both, e.g. activation_alpha=[1.7159], activation_beta=[0.6667]"
            )
        reads_cell = len(usual) == 3 and len(found) % 3 == 2
        found.append(Named(name.lower(), alpha, beta, None if reads_cell else clip))
    return [found[i : i + len(usual)] for i in range(0, len(found), len(usual))]

"""CausalConvWithState: a depthwise convolution along time, one block of a signal at a time.

    u = (past_state, x)                                 (B, C, k-1 + L), zeros where no state is given
    y[b, c, t] = activation(bias[c] + sum over f of w[c, 0, f] * u[b, c, t+f])
    present_state = the last k-1 elements of u

What `convmat.Stream` does with its plan, the state an input and an output instead of carried.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ... import api
from ...engine import buffers
from ...lazy_dataclass import dataclass
from ...planner import Bound, PlanOptions, Prepared
from ...problem import WORK_DTYPES
from ..graph import Array, Node, Spec
from .base import Specs, Step, has_input, input_at, operator
from .options import Options, bind_node, plan_node


def _shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    x, w = input_at(node, specs, 0), input_at(node, specs, 1)
    if x.rank != 3 or w.rank != 3 or w.shape[:2] != (x.shape[1], 1) or w.dtype != x.dtype or not w.shape[2]:
        raise node.error(f"its inputs {x} and {w} do not fit\n  (B, C, L) and (C, 1, k) are needed")
    state = Spec((*x.shape[:2], w.shape[2] - 1), x.dtype)
    wanted = {2: Spec(x.shape[1:2], x.dtype), 3: state}
    for at, spec in wanted.items():
        if has_input(specs, at) and input_at(node, specs, at) != spec:
            raise node.error(f"its input {at} is {specs[at]}, expected {spec}")
    return Spec(x.shape, x.dtype), state


def _activation(node: Node) -> str | None:
    word = node.get("activation") or "none"
    if word not in ("none", "silu", "swish"):
        raise node.error(f"its activation is {word!r}\n  none, silu or swish")
    return None if word == "none" else "silu"


def _join_state(x: Array, past: Array | None, k: int) -> Array:
    """The input behind what came before it."""
    u = buffers.empty((*x.shape[:2], k - 1 + x.shape[2]), x.dtype)
    u[:, :, : k - 1] = 0 if past is None else past
    u[:, :, k - 1 :] = x
    return u


@dataclass(frozen=True)
class Causal:
    """The step: a plan without padding over the joined input; `pick` finds x, the state, y and the state to come."""

    bound: Bound
    pick: Callable[[Sequence[Array]], tuple[Array, Array | None, Array | None, Array | None]]
    k: int

    def __call__(self, *arrays: Array) -> None:
        """Write the outputs, which are the last of the arrays."""
        x, past, y, present = self.pick(arrays)
        u = _join_state(x, past, self.k)
        if y is not None:
            self.bound(u, None, y)
        if present is not None:
            present[...] = u[:, :, u.shape[2] - self.k + 1 :]

    @property
    def plan(self) -> Prepared:
        """Which product, and how."""
        return self.bound.plan

    @property
    def packed(self) -> dict[int, int]:
        """See HoldsWeights."""
        return {self.bound.weights: self.bound.weight_bytes}


def _prepare(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step | None:
    """Constant weights are packed now; those that are computed are left to `run`."""
    x, w = input_at(node, specs, 0), input_at(node, specs, 1)
    bias = input_at(node, specs, 2) if has_input(specs, 2) else None
    if w.value is None or (bias is not None and bias.value is None) or x.dtype.name not in WORK_DTYPES:
        return None
    B, C, L = x.shape
    k = w.shape[2]
    asked = PlanOptions(groups=C, bias=bias is not None, activation=_activation(node))
    plan = plan_node(options, (B, C, k - 1 + L), w.shape, x.dtype, asked)
    bound = bind_node(options, plan, w.value, None if bias is None else bias.value)
    past = 2 + has_input(specs, 2) if has_input(specs, 3) else None
    first, second = (*map(bool, node.outputs), False)[:2]

    def pick(arrays: Sequence[Array]) -> tuple[Array, Array | None, Array | None, Array | None]:
        state = None if past is None else arrays[past]
        return arrays[0], state, arrays[-1 - second] if first else None, arrays[-1] if second else None

    return Causal(bound, pick, k)


@operator("CausalConvWithState", shape=_shape, prepare=_prepare)
def causal(
    node: Node, x: Array, w: Array, bias: Array | None = None, past: Array | None = None
) -> tuple[Any, Any]:
    """x: (B, C, L), w: (C, 1, k), bias: (C,), past: (B, C, k-1) -> y like x, and the state to come."""
    k = w.shape[2]
    u = _join_state(x, past, k)
    y = api.conv(u, w, bias, groups=x.shape[1], activation=_activation(node), exact=True)
    return y, u[:, :, u.shape[2] - k + 1 :].copy()


__all__ = ["causal"]

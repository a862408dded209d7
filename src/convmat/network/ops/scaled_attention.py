"""Attention: every query's mean of the values, weighted by how its product with each key compares.

    s[b, h, t, j] = scale * (q[b, h, t] . k[b, h, j]),  with softcap c:  c tanh(s / c)
    p = softmax over j of s + bias                      y[b, h, t] = sum over j of p[b, h, t, j] v[b, h, j]

Query heads share those of keys and values in groups. What the mask, the causal order, a window or the padding of the
keys leaves out has a bias of -inf; a query that is left nothing gives zeros. Taken head by head: the scores of one head
of one image are there at a time. Vaswani et al., 2017; Ainslie et al., 2023 (groups).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...lazy_dataclass import dataclass
from ..graph import Array, Node, Shape, Spec
from .base import Specs, Step, has_input, input_at, step_operator
from .dtypes import dtype_numbered
from .options import Options, repeatable

WORDS = ("Q", "K", "V", "attn_mask", "past_key", "past_value", "nonpad_kv_seqlen")
"""The standard's names of the inputs."""

RAW, CAPPED, BIASED, SOFT = range(4)
"""What the fourth output shows: products, these after the softcap, with the bias, after the softmax."""


@dataclass(frozen=True)
class _AttentionExtents:
    """Images, query heads, key heads, queries, past and new keys, and lengths of a key and of a value."""

    B: int
    H: int
    G: int
    T: int
    past: int
    new: int
    D: int
    E: int

    @property
    def S(self) -> int:
        """All keys."""
        return self.past + self.new


def _by_heads(node: Node, spec: Spec, heads: str, word: str) -> Shape:
    """(B, H, T, D) of an input as it is, or of (B, T, H*D). Raises NetworkError."""
    if spec.rank == 4:
        return spec.shape
    count = node.get(heads)
    if spec.rank != 3 or not count or count < 0 or spec.shape[2] % count:
        raise node.error(
            f"its {word} is {spec}, {heads} = {count}\n"
            f"  (batch, heads, length, size) is needed, or (batch, length, heads * size) with the number of heads"
        )
    B, T, both = spec.shape
    return (B, count, T, both // count)


def _extents(node: Node, specs: Specs) -> _AttentionExtents:
    q, k, v = (
        _by_heads(node, input_at(node, specs, i), name, WORDS[i])
        for i, name in enumerate(("q_num_heads", "kv_num_heads", "kv_num_heads"))
    )
    if q[0] != k[0] or k[:3] != v[:3] or q[3] != k[3] or (q[1] % k[1] if k[1] else q[1]):
        raise node.error(
            f"its inputs do not fit each other\n  by heads Q is {q}, K {k}, V {v}\n"
            f"  as many images and keys are needed, Q's heads a multiple of K's, and keys as long as queries"
        )
    past = 0
    if has_input(specs, 4) != has_input(specs, 5):
        raise node.error("it has one of past_key and past_value\n  both are needed, or none")
    if has_input(specs, 4):
        old_k, old_v = input_at(node, specs, 4).shape, input_at(node, specs, 5).shape
        past = old_k[2] if len(old_k) == 4 else -1
        if (old_k, old_v) != ((*k[:2], past, k[3]), (*k[:2], past, v[3])):
            raise node.error(
                f"its past does not fit\n  past_key {old_k}, past_value {old_v}\n"
                f"  {(*k[:2], 'n', k[3])} and {(*k[:2], 'n', v[3])} are needed"
            )
        if has_input(specs, 6):
            raise node.error("it has a past and nonpad_kv_seqlen\n  one of them alone is needed")
    if has_input(specs, 6) and input_at(node, specs, 6).shape != (q[0],):
        raise node.error(
            f"its nonpad_kv_seqlen is {input_at(node, specs, 6)}\n  one number for each of {q[0]} images is needed"
        )
    return _AttentionExtents(q[0], q[1], k[1], q[2], past, k[2], q[3], v[3])


def _shape(node: Node, specs: Specs) -> tuple[Spec, ...]:
    n, x, v = _extents(node, specs), input_at(node, specs, 0), input_at(node, specs, 2)
    y = (n.B, n.T, n.H * n.E) if x.rank == 3 else (n.B, n.H, n.T, n.E)
    return (
        Spec(y, x.dtype),
        Spec((n.B, n.G, n.S, n.D), input_at(node, specs, 1).dtype),
        Spec((n.B, n.G, n.S, n.E), v.dtype),
        Spec((n.B, n.H, n.T, n.S), x.dtype),
    )


def _mask(node: Node, mask: Array | None, n: _AttentionExtents) -> Array | None:
    """The mask for all heads and keys, -inf where it is no number: keys that it is too short for are left out."""
    if mask is None:
        return None
    added = np.where(mask, np.float32(0), np.float32(-np.inf)) if mask.dtype == bool else mask
    broadcasts = (
        2 if node.version < 24 else 1
    )  # from then on one element is a short mask, not one for all keys
    if mask.ndim and broadcasts <= mask.shape[-1] < n.S:
        rest = np.full((*mask.shape[:-1], n.S - mask.shape[-1]), -np.inf, added.dtype)
        added = np.concatenate([added, rest], axis=-1)
    try:
        return np.broadcast_to(added, (n.B, n.H, n.T, n.S))
    except ValueError:
        raise node.error(
            f"its attn_mask is {Spec.of(mask)}\n  one that broadcasts to {(n.B, n.H, n.T, n.S)} is needed"
        ) from None


def _hide_keys(node: Node, n: _AttentionExtents, offset: int, there: int) -> Array:
    """(T, S): the keys that a query may not see; `offset`: those before the first query, `there`: those that count."""
    at, key = np.arange(n.T)[:, None] + offset, np.arange(n.S)
    out = np.broadcast_to(key >= there, (n.T, n.S)).copy()
    if node.get("is_causal", 0):
        out |= key > at
    for name, sign in (("left_window_size", 1), ("right_window_size", -1)):
        size = node.get(name, -1)
        if size < -1:
            raise node.error(f"its {name} is {size}\n  -1 or more is needed")
        if size >= 0:
            out |= sign * (at - key) > size
    return out


@step_operator("Attention", shape=_shape)
def attend(node: Node, specs: Specs, made: tuple[Spec, ...], options: Options) -> Step:
    """Y; past and new keys and values; and what `qk_matmul_output_mode` shows of the products."""
    n, mode = _extents(node, specs), node.get("qk_matmul_output_mode", RAW)
    if mode not in (RAW, CAPPED, BIASED, SOFT):
        raise node.error(f"its qk_matmul_output_mode is {mode}\n  one of 0, 1, 2, 3 is needed")
    _hide_keys(node, n, 0, 0)
    inputs = [at for at, spec in enumerate(specs) if spec is not None]
    outputs = [at for at, name in enumerate(node.outputs) if name]

    def step(*arrays: Array) -> None:
        given = dict(zip(inputs, arrays, strict=False))
        wanted = dict(zip(outputs, arrays[len(inputs) :], strict=True))
        _attend(node, n, mode, [given.get(i) for i in range(len(WORDS))], [wanted.get(i) for i in range(4)])

    return repeatable(step, options)


def _attend(node: Node, n: _AttentionExtents, mode: int, inputs: list[Any], outputs: list[Any]) -> None:
    q, k, v, mask, past_k, past_v, lengths = inputs
    y, keys, values, shown = outputs
    q, k, v = (
        x if x.ndim == 4 else x.reshape(n.B, x.shape[1], heads, -1).swapaxes(1, 2)
        for x, heads in ((q, n.H), (k, n.G), (v, n.G))
    )
    if past_k is not None:
        k, v = np.concatenate([past_k, k], axis=2), np.concatenate([past_v, v], axis=2)
    for out, x in ((keys, k), (values, v)):
        if out is not None:
            out[...] = x
    added = _mask(node, mask, n)
    for b in range(n.B):
        there = n.S if lengths is None else int(lengths[b])
        offset = n.past if lengths is None else there - n.T
        out = _hide_keys(node, n, offset, there)
        for h in range(n.H):
            group = h // (n.H // n.G)
            p, seen = _scores(node, mode, q[b, h], k[b, group], None if added is None else added[b, h], out)
            if shown is not None:
                shown[b, h] = seen
            if y is not None:
                place = y[b, :, h * n.E : (h + 1) * n.E] if y.ndim == 3 else y[b, h]
                place[...] = p.astype(v.dtype, copy=False) @ v[b, group]


def _scores(
    node: Node, mode: int, q: Array, k: Array, added: Array | None, out: Array
) -> tuple[Array, Array]:
    """q: (T, D), k: (S, D) -> the weights of the values, (T, S), and what is shown of the way there."""
    scale = node.get("scale", 1 / math.sqrt(max(q.shape[1], 1)))
    root = q.dtype.type(math.sqrt(abs(scale)))
    s = (q * root) @ (k.T * (root if scale > 0 else -root))
    seen = s
    if (cap := node.get("softcap", 0.0)) > 0:
        s = np.tanh(s / s.dtype.type(cap)) * s.dtype.type(cap)
    seen = s if mode == CAPPED else seen
    bias = np.where(out, s.dtype.type(-np.inf), s.dtype.type(0))
    if added is not None:
        bias = bias + added.astype(s.dtype)
    s = s + bias
    seen = s if mode == BIASED else seen
    p = _softmax(node, s, np.isneginf(bias).all(axis=1))
    return p, (p if mode == SOFT else seen)


def _softmax(node: Node, s: Array, nothing: Array) -> Array:
    """The softmax of rows, zeros where nothing is left of one; in float32 at least, float64 where the node says so."""
    precision = node.get("softmax_precision")
    wanted = s.dtype if precision is None else dtype_numbered(node, precision, "softmax_precision")
    wide = s.astype(np.float64) if wanted == np.float64 else s
    with np.errstate(all="ignore"):
        top = wide.max(axis=1, keepdims=True, initial=-np.inf)
        p = np.exp(wide - top)
        p /= p.sum(axis=1, keepdims=True)
    p[nothing | np.isneginf(top[:, 0])] = 0
    made: Array = p.astype(s.dtype, copy=False)
    return made

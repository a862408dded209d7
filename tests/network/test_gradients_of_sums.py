"""Rules of operators that sum or multiply along axes, or take elements from places: differences, and PyTorch beside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from convmat.network.gradients import differentiate
from convmat.network.graph import Graph, Input, Node

from .differences import Array, check, node, normal, run

EQUATIONS: dict[str, list[tuple[int, ...]]] = {
    "ik,kj->ij": [(3, 4), (4, 2)],
    "bhid,bhjd->bhij": [(2, 1, 3, 4), (2, 2, 5, 4)],  # one head broadcasts
    "ij,jk,kl->il": [(2, 3), (3, 4), (4, 2)],
    "...i,i->...": [(2, 3, 4), (4,)],
    "ij->i": [(3, 4)],
    "ij,ij->": [(1, 3), (4, 3)],
    "ij,ij->i": [(3, 1), (3, 4)],
    "ii->i": [(3, 3)],
    "iij,j->ji": [(2, 2, 3), (3,)],
    "i,j": [(2,), (3,)],
}


@pytest.mark.parametrize("equation", EQUATIONS)
def test_sums_of_products(equation: str) -> None:
    shapes = EQUATIONS[equation]
    made = node("Einsum", " ".join("abc"[: len(shapes)]), equation=equation)
    check(made, [normal(*shape, seed=i) for i, shape in enumerate(shapes)])


def test_a_product_with_itself() -> None:
    check(node("Einsum", "a a", equation="ij,ik->jk"), [normal(3, 4)])


@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("reverse", [0, 1])
def test_cumulative_sums(exclusive: int, reverse: int) -> None:
    check(node("CumSum", "x a", exclusive=exclusive, reverse=reverse), [normal(2, 5, 3)], {"a": np.array(1)})


@pytest.mark.parametrize("axes", [[1], [0, 2], [0, 1, 2]], ids=str)
def test_products_with_zeros_among_them(axes: list[int]) -> None:
    x = normal(2, 3, 4)
    x[0, 1, 2] = x[1, 0, 0] = x[1, 2, 0] = 0
    check(node("ReduceProd", "x a", keepdims=0), [x], {"a": np.array(axes)})
    check(node("ReduceProd", "x", version=11, axes=axes), [x])


def test_products_of_everything_and_of_nothing() -> None:
    check(node("ReduceProd", "x", version=11), [normal(2, 3)])
    check(node("ReduceProd", "x a", noop_with_empty_axes=1), [normal(2, 3)], {"a": np.array([], np.int64)})


@pytest.mark.parametrize("p", [1, 2, 3])
def test_norms_of_windows(p: int) -> None:
    words: dict[str, Any] = {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 0]}
    check(node("LpPool", "x", p=p, **words), [normal(2, 2, 7, 5)])
    check(node("GlobalLpPool", "x", p=p), [normal(2, 2, 4, 3)])


def test_a_norm_of_zeros_has_no_gradient() -> None:
    made = node("LpPool", "x", kernel_shape=[2], strides=[2])
    x = np.array([[[0.0, 0.0, 3.0, 0.0]]])
    graph = Graph((made,), (Input("x", x.dtype, x.shape),), ("y",), {})
    whole, names = differentiate(graph, ["y"], ["x"])
    assert run(whole, {"x": x})[names["x"]].tolist() == [[[0.0, 0.0, 1.0, 0.0]]]


@pytest.mark.parametrize("size", [1, 3, 4, 9])
def test_normalisation_by_neighbours(size: int) -> None:
    check(node("LRN", "x", size=size, alpha=0.5, beta=0.6, bias=1.3), [normal(2, 5, 3, 2)])


def test_normalisation_by_squares() -> None:
    check(node("RMSNormalization", "x s", version=23, axis=1), [normal(3, 4, 2), normal(4, 2)])
    check(node("RMSNormalization", "x s", version=23), [normal(3, 2, 5), normal(5)])


def test_elements_from_places() -> None:
    twice = np.array([[0, -1, 2, 2, 2], [3, 0, 0, 1, 1]])
    check(node("GatherElements", "x i", axis=1), [normal(3, 4)], {"i": twice})
    check(node("GatherND", "x i"), [normal(3, 4, 2)], {"i": np.array([[0, 1], [2, -1], [0, 1]])})
    check(node("GatherND", "x i", batch_dims=1), [normal(3, 4, 2)], {"i": np.array([[0], [2], [-1]])})
    check(node("TopK", "x k", "y i", axis=1), [normal(3, 6)], {"k": np.array([3])}, seen=("y",))


# -- beside PyTorch ----------------------------------------------------------------------------------------------------


def _place(*numbers: int) -> Array:
    return np.array(numbers, np.int64)


BESIDE: dict[str, tuple[Node, list[tuple[int, ...]], dict[str, Array], Callable[..., Any]]] = {
    "einsum": (
        node("Einsum", "a b", equation="bhid,bhjd->bhij"), [(2, 3, 5, 8), (2, 3, 7, 8)], {},
        lambda torch, a, b: torch.einsum("bhid,bhjd->bhij", a, b),
    ),
    "cumsum": (node("CumSum", "x i"), [(3, 9, 4)], {"i": _place(1)}, lambda torch, x: torch.cumsum(x, 1)),
    "prod": (node("ReduceProd", "x i", keepdims=0), [(4, 6)], {"i": _place(1)}, lambda torch, x: torch.prod(x, 1)),
    "rms": (
        node("RMSNormalization", "x s", version=23), [(4, 3, 16), (16,)], {},
        lambda torch, x, s: torch.nn.functional.rms_norm(x, (16,), s, 1e-5),
    ),
    "norms": (
        node("LpPool", "x", kernel_shape=[3], strides=[2]), [(2, 3, 15)], {},
        lambda torch, x: torch.nn.functional.lp_pool1d(x, 2.0, 3, 2),
    ),
    "neighbours": (
        node("LRN", "x", size=5, alpha=0.3, beta=0.75, bias=2.0), [(2, 9, 4, 5)], {},
        lambda torch, x: torch.nn.functional.local_response_norm(x, 5, 0.3, 0.75, 2.0),
    ),
    "places": (
        node("GatherElements", "x i", axis=1), [(2, 5)], {"i": np.array([[0, 4, 4], [2, 1, 0]])},
        lambda torch, x: torch.gather(x, 1, torch.tensor([[0, 4, 4], [2, 1, 0]])),
    ),
    "largest": (
        node("TopK", "x i", "y at", axis=1), [(3, 8)], {"i": _place(3)}, lambda torch, x: torch.topk(x, 3, 1)[0],
    ),
}  # fmt: skip


@pytest.mark.outside
@pytest.mark.parametrize("name", BESIDE)
def test_gradients_beside_pytorch(name: str) -> None:
    import torch

    made, shapes, constants, theirs = BESIDE[name]
    names = [each for each in made.inputs if each not in constants]
    given = {each: normal(*shape, seed=i) for i, (each, shape) in enumerate(zip(names, shapes, strict=True))}
    leaves = [torch.tensor(each, requires_grad=True) for each in given.values()]
    y = theirs(torch, *leaves)
    dy = normal(*y.shape, seed=9)
    y.backward(torch.tensor(dy))
    inputs = tuple(Input(each, x.dtype, x.shape) for each, x in {**given, "dy": dy}.items())
    whole, gradients = differentiate(Graph((made,), inputs, ("y",), constants), {"y": "dy"}, names)
    found = run(whole, {**given, "dy": dy})
    assert np.allclose(found["y"], y.detach().numpy(), rtol=1e-12)
    for each, leaf in zip(names, leaves, strict=True):
        assert np.allclose(found[gradients[each]], leaf.grad.numpy(), rtol=1e-10, atol=1e-12), each

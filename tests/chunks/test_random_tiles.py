"""Random networks in random tiles: the bits of the whole, for products of fractions in which any other order shows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from convmat import Network
from tests.chunks.networks import Built

Array = npt.NDArray[Any]


class Drawn:
    """A network of a few nodes, an image and a tile, drawn by a seed."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = np.random.default_rng(seed)
        self.net, self.nodes = Built(integers=False, seed=seed), 0
        self.rank = int(rng.integers(1, 4))
        first = C = int(rng.choice([3, 16, 40, 150, 300][: 5 if self.rank < 3 else 3]))
        x = "x"
        for _ in range(int(rng.integers(1, 5))):
            x, C = self.layer(x, C)
        self.net.node("Identity", [x], "y")
        self.extents = tuple(map(int, rng.integers(9, (200, 40, 14)[self.rank - 1], self.rank)))
        self.x = (rng.standard_normal((1, first, *self.extents)) * 0.3).astype("float32")
        self.network = self.net.load("y", first, tuple("dhw"[: self.rank]))

    def name(self) -> str:
        self.nodes += 1
        return f"v{self.nodes}"

    def layer(self, x: str, C: int) -> tuple[str, int]:
        rng, net, rank, name = self.rng, self.net, self.rank, self.name()
        kind = str(rng.choice(["conv", "conv", "conv", "up", "pool", "mean", "residual", "norm", "dense"]))
        O = int(rng.choice([4, 16, 33, 80]))
        odd = {
            "k": int(rng.choice([1, 3, 5][: 3 if rank < 3 else 2])),
            "d": int(rng.choice([1, 1, 2])),
            "rank": rank,
        }
        if kind == "conv":
            made = net.conv(x, name, C, O, s=int(rng.choice([1, 1, 2])), **odd)
            return net.node(str(rng.choice(["Relu", "Sigmoid", "HardSwish"])), [made], self.name()), O
        if kind == "up":
            k = int(rng.integers(2, 5))
            w = net.weights(f"{name}w", C, O, *[k] * rank)
            return net.node("ConvTranspose", [x, w], name, strides=[2] * rank, pads=[1, 0] * rank), O
        if kind == "residual":
            return net.node("Add", [x, net.conv(x, self.name(), C, C, **odd)], name), C
        if kind == "norm":
            numbers = [net.constant(f"{name}{i}", rng.random(C).astype("f4") + 0.5) for i in range(4)]
            return net.node("Tanh", [net.node("BatchNormalization", [x, *numbers], name)], self.name()), C
        if kind == "dense":
            last, order = rank + 1, [0, *range(2, rank + 2), 1]
            t = net.node("Transpose", [x], name, perm=order)
            m = net.node("MatMul", [t, net.weights(f"{name}w", C, O)], self.name())
            return net.node("Transpose", [m], self.name(), perm=[0, last, *range(1, last)]), O
        words: dict[str, Any] = {"kernel_shape": [2] * rank, "strides": [int(rng.integers(1, 3))] * rank}
        return net.node("MaxPool" if kind == "pool" else "AveragePool", [x], name, **words), C


def check(seed: int) -> None:
    drawn = Drawn(seed)
    whole = drawn.network(drawn.x)
    tile = tuple(int(drawn.rng.integers(3, n + 3)) for n in whole.shape[2:])
    made = drawn.network.tiled(drawn.x, tile=tile, same_bits=True)
    near = drawn.network.tiled(drawn.x, tile=tile)
    # Winograd's rounding, which a normalisation behind it may enlarge: as far as the whole is from exact products.
    network = drawn.network
    exact = Network(network.graph, replace(network.options, exact=True), network.memory_limit)(drawn.x)
    rounding = float(np.abs(whole - exact).max())
    np.testing.assert_allclose(near, exact, rtol=0, atol=2 * rounding + 1e-5 * float(np.abs(whole).max()))
    # Over all elements it is the same rounding, of tiles that lie elsewhere.
    assert mean_square(near - exact) <= 1.25 * mean_square(whole - exact) + 1e-7 * mean_square(whole)
    if blas(drawn):
        np.testing.assert_allclose(made, whole, rtol=0, atol=3e-6 * float(np.abs(whole).max()))
    else:
        np.testing.assert_array_equal(made, whole, f"{seed}: {drawn.extents} in tiles of {tile}")


def mean_square(differences: Array) -> float:
    """The root of the mean square."""
    return float(np.sqrt(np.mean(np.square(differences, dtype=np.float64))))


def blas(drawn: Drawn) -> bool:
    """Whether something of the whole is left to a BLAS, which promises no bits."""
    summary = drawn.network.with_shapes({"x": drawn.x.shape}).summary()
    return any(layer.engine == "blas" for layer in summary.layers)


def test_random_tiles_have_the_bits_of_the_whole() -> None:
    for seed in range(6):
        check(seed)


@pytest.mark.slow
def test_many_random_tiles_have_the_bits_of_the_whole() -> None:
    for seed in range(1000, 1100):
        check(seed)

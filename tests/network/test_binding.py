"""Steps that are prepared on several threads are those of one thread, and so is the error."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import convmat
from convmat.errors import NetworkError
from convmat.network.graph import Node
from convmat.network.ops import Options, convolution
from convmat.network.ops.options import PackedConstants
from convmat.network.preparing.binding import LEAST_BYTES, prepare_steps

NODES = [Node("Conv", ("x",), (f"y{at}",), {}, f"node {at}", 17) for at in range(6)]
MUCH: Any = {0: SimpleNamespace(weight_bytes=LEAST_BYTES)}
LITTLE: Any = {0: SimpleNamespace(weight_bytes=LEAST_BYTES - 1)}


def test_steps_stand_in_the_order_of_their_nodes() -> None:
    met = threading.Barrier(2)

    def prepare(node: Node) -> Any:
        if node in NODES[:2]:
            met.wait(30)  # both at a time
        return node

    with convmat.threads(2):
        steps: list[Any] = [*prepare_steps(NODES, prepare, Options(), MUCH)]
    assert steps == NODES


@pytest.mark.parametrize(
    ("plans", "packed", "threads"), [(LITTLE, False, 2), (MUCH, True, 2), (MUCH, False, 1)]
)
def test_one_thread_prepares_where_little_is_packed_or_it_was_before(
    plans: Any, packed: bool, threads: int
) -> None:
    known = PackedConstants()
    if packed:
        known._known["a constant"] = []
    found = []
    with convmat.threads(threads):
        prepare_steps(NODES, lambda node: found.append(threading.get_ident()), Options(packed=known), plans)
    assert found == [threading.get_ident()] * len(NODES)


def test_the_error_is_that_of_the_first_node() -> None:
    def prepare(node: Node) -> Any:
        at = NODES.index(node)
        time.sleep(0.01 * (at == 2))
        if at in (2, 3):
            raise NetworkError(f"node {at}")

    with convmat.threads(2), pytest.raises(NetworkError, match="node 2"):
        prepare_steps(NODES, prepare, Options(), MUCH)


def test_a_geometry_that_was_met_takes_no_other_numbers_for_its_own() -> None:
    """2.0 equals 2, and a memory of values would take one for the other."""

    def geometry(strides: Any) -> Any:
        node = Node("Conv", ("x", "w"), ("y",), {"strides": strides}, "a node", 17)
        return convolution.geometry_of(node, (1, 2, 9, 9), (2, 2, 3, 3))[1]

    assert geometry((2, 2)) is geometry((2, 2))
    assert geometry((2, 2)).s == (2, 2)
    for strides in ((2.0, 2), (True, 2), (np.float32(2), 2)):
        with pytest.raises(NetworkError, match="must be a whole number"):
            geometry(strides)

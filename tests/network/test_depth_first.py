"""Layers computed depth first: the same bits as layer by layer, from the call on in which that pays."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import convmat
from convmat.network.graph import Spec
from convmat.network.net import Network
from convmat.network.ops import depth_first
from convmat.network.ops.depth_first import FusedGroup, find_groups
from convmat.network.preparing import layouts
from convmat.network.preparing import program as programs
from convmat.network.preparing.layouts import Turn
from convmat.network.preparing.program import Program

from .made import model, node, normal

Layer = tuple[Sequence[int], dict[str, Any]]
"""The shape of w and the attributes of a Conv."""


def network(
    x: Sequence[int], layers: Sequence[Layer], *, around: bool = False, adds: bool = False
) -> Network:
    """Convolutions with biases and Relus, one after the other; `around`: between nodes, else from input to output.

    `adds`: the last result to what comes in.
    """
    nodes, constants = [node("Neg", "x", "a")] if around else [], dict[str, Any]()
    first = name = "a" if around else "x"
    for at, (shape, attributes) in enumerate(layers):
        constants |= {f"w{at}": normal(*shape, seed=at), f"b{at}": normal(shape[0], seed=at + 50)}
        nodes.append(node("Conv", f"{name} w{at} b{at}", f"c{at}", **attributes))
        nodes.append(node("Relu", f"c{at}", f"r{at}"))
        name = f"r{at}"
    if adds:
        nodes[-1:] = [node("Add", f"c{len(layers) - 1} {first}", "sum")]
        name = "sum"
    nodes.append(node("Sigmoid" if around else "Identity", name, "y"))
    return convmat.load(model(nodes, {"x": x}, "y", constants), exact=True)


def deepened(net: Network, x: Any, rows: int, monkeypatch: pytest.MonkeyPatch) -> Program:
    """The network's program, all of whose layers run together from now on, so many rows at a time."""
    monkeypatch.setattr(programs, "find_groups", lambda g, specs, steps: whole_runs(g, specs, steps, rows))
    program = net.program({"x": Spec(x.shape, x.dtype)})
    program.go_deep()
    assert program.layout is not program._by_layers
    return program


def whole_runs(graph: Any, specs: Any, steps: Any, rows: int) -> list[FusedGroup]:
    """All layers that follow each other, whatever that saves."""
    found = []
    for run in depth_first._find_runs(graph, specs, steps):
        layers = tuple(depth_first.FusedLayer.of(graph.nodes[at], steps[id(graph.nodes[at])]) for at in run)
        found.append(FusedGroup(tuple(run), layers, rows, 1.0))
    return found


POINT: dict[str, Any] = {"kernel_shape": [1, 1]}
PADDED: dict[str, Any] = {"pads": [1, 1, 1, 1]}
KINDS: dict[str, tuple[Sequence[int], Sequence[Layer], int]] = {
    "expand, depthwise, project": (
        (1, 8, 22, 19),
        [((24, 8, 1, 1), POINT), ((24, 1, 3, 3), PADDED | {"group": 24}), ((8, 24, 1, 1), POINT)],
        5,
    ),
    "stride 2": (
        (1, 3, 23, 18),
        [
            ((16, 3, 3, 3), PADDED | {"strides": [2, 2]}),
            ((16, 1, 5, 5), {"pads": [2, 2, 2, 2], "strides": [2, 2], "group": 16}),
            ((20, 16, 1, 1), POINT),
        ],
        2,
    ),
    "dilated": (
        (1, 6, 21, 17),
        [((9, 6, 3, 3), {"pads": [3, 2, 3, 2], "dilations": [3, 2]}), ((5, 9, 2, 3), {"dilations": [2, 1]})],
        4,
    ),
    "padded on one side": (
        (1, 4, 15, 16),
        [((16, 4, 3, 3), {"pads": [0, 0, 2, 2]}), ((16, 1, 3, 3), {"pads": [2, 0, 0, 1], "group": 16})],
        3,
    ),
    "more padding than rows": (
        (1, 4, 3, 16),
        [((8, 4, 3, 3), {"pads": [4, 1, 5, 1]}), ((8, 8, 3, 3), {"pads": [6, 1, 6, 1]})],
        2,
    ),
    "images": ((3, 5, 9, 17), [((8, 5, 1, 1), POINT), ((6, 8, 3, 3), PADDED), ((4, 6, 3, 3), PADDED)], 4),
    "lines": ((2, 4, 40), [((8, 4, 5), {"pads": [2, 2]}), ((8, 8, 3), {"strides": [2]})], 7),
    "volumes": (
        (1, 2, 9, 8, 10),
        [((4, 2, 3, 3, 3), {"pads": [1] * 6}), ((3, 4, 3, 3, 3), {"pads": [1] * 6})],
        2,
    ),
    "one row": ((1, 4, 5, 33), [((8, 4, 1, 1), POINT), ((8, 8, 3, 3), PADDED)], 1),
}


@pytest.mark.parametrize("around", [False, True], ids=["alone", "amid"])
@pytest.mark.parametrize("kind", KINDS)
def test_bits_of_layers_stay(kind: str, around: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the network's input to its output, whose places are new in each call; and between other nodes."""
    shape, layers, rows = KINDS[kind]
    net, x = network(shape, layers, around=around), normal(*shape, seed=9)
    wanted = net(x)
    program = deepened(net, x, rows, monkeypatch)
    for given in (x, x + 1, x):
        layer_by_layer = program({"x": given}, watch=lambda task: None)["y"]
        np.testing.assert_array_equal(program({"x": given})["y"], layer_by_layer)
    np.testing.assert_array_equal(net(x), wanted)


@pytest.mark.parametrize("threads", [1, 3])
def test_residuals_and_numbers_of_threads(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the last layer adds is read where it lies, be it the input; more threads than strips share one each."""
    layers = [((12, 4, 1, 1), POINT), ((12, 1, 3, 3), PADDED | {"group": 12}), ((4, 12, 1, 1), POINT)]
    for around in (False, True):
        net, x = network((1, 4, 14, 16), layers, around=around, adds=True), normal(1, 4, 14, 16, seed=5)
        wanted = net(x)
        with convmat.threads(threads):
            program = deepened(net, x, 7, monkeypatch)
            assert [len(each.shares) for _, each in program.layout.groups.values()] == [min(threads, 2)]
            np.testing.assert_array_equal(program({"x": x})["y"], wanted)


def test_what_is_handed_on_takes_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only strips of it are there; watched calls, which show each node's values, have all of them."""
    shape, layers, _ = KINDS["expand, depthwise, project"]
    net, x = network(shape, layers, around=True), normal(*shape)
    net(x)
    plain = net.program({"x": Spec(x.shape, x.dtype)}).memory.size
    program = deepened(net, x, 4, monkeypatch)
    assert (plain, program.memory.size) == (2 * 24 * 22 * 19 * 4, 2 * 8 * 22 * 19 * 4)
    seen = []
    program({"x": x}, watch=lambda task: seen.append(task.node.op))
    assert seen == ["Neg", "Conv", "Conv", "Conv", "Sigmoid"]
    ways = [layer.way for layer in net.summary().layers]
    assert [way.endswith(", depth first") for way in ways] == [False, True, True, True, False]
    assert net.memory().scratch >= 2 * 4 * 24 * 19 * 4
    assert "timed one by one" in str(net.profile(x, seconds=0.01))


def slow_memory(threads: int) -> Any:
    """Rates of a machine that waits for memory."""
    return SimpleNamespace(l3_bandwidth=1e6, memory_bandwidth=1e6, fma_flops=1e11)


def groups_of(net: Network, x: Any) -> list[FusedGroup]:
    program = net.program({"x": Spec(x.shape, x.dtype)})
    return find_groups(program.graph, program.specs, {id(task.node): task.run for task in program.tasks})


def test_groups_where_memory_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strips fit half a second cache; where memory is quick, or arrays are small, nothing is gained."""
    shape = (1, 8, 24, 32)
    layers = [((32, 8, 1, 1), POINT), ((32, 1, 3, 3), PADDED | {"group": 32}), ((8, 32, 1, 1), POINT)]
    net, x = network(shape, layers), normal(*shape)
    host = SimpleNamespace(l2=64 << 10, l3=8 << 20)
    monkeypatch.setattr(depth_first, "host", lambda: host)
    monkeypatch.setattr(depth_first, "peaks", slow_memory)
    with convmat.threads(1):
        (group,) = groups_of(net, x)
        assert len(group.places) == 3
        rows = group.rows
        assert 32 * ((rows + 2) * 32 + rows * 32) * 4 + 8 * rows * 32 * 4 <= 32 << 10
        assert group.saved > 0
        monkeypatch.setattr(depth_first, "peaks", lambda threads: SimpleNamespace(
            l3_bandwidth=1e15, memory_bandwidth=1e15, fma_flops=1e11))  # fmt: skip
        assert groups_of(net, x) == []
        monkeypatch.setattr(depth_first, "peaks", slow_memory)
        host.l2 = 8 << 20
        assert groups_of(net, x) == []
        host.l2 = 1 << 10  # not even a row fits
        assert groups_of(net, x) == []


def test_groups_end_where_others_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that two nodes read, or that the network gives away, is written whole."""
    monkeypatch.setattr(depth_first, "host", lambda: SimpleNamespace(l2=16 << 10, l3=8 << 20))
    monkeypatch.setattr(depth_first, "peaks", slow_memory)
    w = {f"w{i}": normal(8, 8, 1, 1, seed=i) for i in range(4)}
    nodes = [
        node("Conv", "x w0", "a"),
        node("Conv", "a w1", "b"),
        node("Conv", "b w2", "c"),
        node("Conv", "c w3", "d"),
        node("Mul", "d b", "y"),
    ]
    for outputs, wanted in (("y", [(0, 1), (2, 3)]), ("y c", [(0, 1)])):
        net = convmat.load(model(nodes, {"x": (1, 8, 32, 32)}, outputs, w), exact=True)
        assert [group.places for group in groups_of(net, normal(1, 8, 32, 32))] == wanted


def test_the_turn_comes_when_it_has_paid(monkeypatch: pytest.MonkeyPatch) -> None:
    """As soon as what calls would have saved is what preparing strips takes; never where nothing is gained."""
    seconds = map(float, range(100))
    clock = SimpleNamespace(perf_counter=lambda: next(seconds))
    monkeypatch.setattr("convmat.network.preparing.layouts.time", clock)
    saved = FusedGroup((0, 1), (), 4, layouts.PRICE / 4.5)
    turn = Turn()
    assert [turn.has_come(lambda: [saved]) for _ in range(6)] == [False] * 4 + [True] * 2
    never = Turn()
    assert not any(never.has_come(list) for _ in range(100))
    looked: list[int] = []
    once, saved = Turn(), replace(saved, saved=1e-9)

    def look() -> list[FusedGroup]:
        looked.append(1)
        return [saved]

    assert not any(once.has_come(look) for _ in range(5))
    assert looked == [1]


def test_networks_go_deep_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    """After some calls, in which nothing changes but the time; a refusal of a block leaves layers as they are."""
    shape, layers, rows = KINDS["expand, depthwise, project"]
    monkeypatch.setattr(
        programs,
        "find_groups",
        lambda g, specs, steps: [replace(each, saved=1e9) for each in whole_runs(g, specs, steps, rows)],
    )
    net, x = network(shape, layers), normal(*shape)
    wanted = net(x)
    program = net.program({"x": Spec(x.shape, x.dtype)})
    for _ in range(3):
        np.testing.assert_array_equal(net(x), wanted)
    assert program.layout is not program._by_layers

    def refuses(*given: Any) -> Any:
        raise convmat.PlanError("no blocks today")

    for module, name in ((depth_first, "plan_block"), (programs, "find_groups")):
        monkeypatch.setattr(module, name, refuses)
        other = network(shape, layers)
        for _ in range(4):
            np.testing.assert_array_equal(other(x), wanted)
        program = other.program({"x": Spec(x.shape, x.dtype)})
        assert program.layout is program._by_layers
        assert not program._turns


def test_one_thread_at_a_time_looks_whether_the_turn_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """The calls of others meanwhile answer as ever, and do not look."""
    net, x = network((1, 4, 9, 9), [((8, 4, 1, 1), POINT), ((8, 8, 3, 3), PADDED)]), normal(1, 4, 9, 9)
    wanted, looked = net(x), list[int]()

    def has_come(turn: Turn, find: Any) -> bool:
        looked.append(len(looked))
        if len(looked) == 1:
            with ThreadPoolExecutor(1) as other:
                np.testing.assert_array_equal(other.submit(net, x).result(), wanted)
        return False

    monkeypatch.setattr(Turn, "has_come", has_come)
    for done in range(1, 3):
        np.testing.assert_array_equal(net(x), wanted)
        assert len(looked) == done


def test_layers_behind_what_is_made_at_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """They run one by one: where that lies is not known before; others go deep."""
    w = {f"w{i}": normal(8, 8, 1, 1, seed=i) for i in range(4)}
    nodes = [
        node("Conv", "x w0", "a"),
        node("Conv", "a w1", "b"),
        node("LpNormalization", "b", "c"),
        node("Conv", "c w2", "d"),
        node("Conv", "d w3", "y"),
    ]
    net = convmat.load(model(nodes, {"x": (1, 8, 12, 16)}, "y", w), exact=True)
    x = normal(1, 8, 12, 16)
    wanted = net(x)
    program = deepened(net, x, 5, monkeypatch)
    assert [length for length, _ in program.layout.groups.values()] == [2]
    assert program.layout.absent == ("a",)
    np.testing.assert_array_equal(net(x), wanted)

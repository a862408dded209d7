"""A network at another size of its input: weights stay packed, and bits are those of a network loaded anew."""

from __future__ import annotations

import dataclasses
import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import numpy as np
import onnx
import onnx.helper as oh
import onnx.parser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, numpy_helper

import convmat
from convmat.engine.ir.arguments import Arguments
from convmat.engine.ir.emitter import Module
from convmat.engine.kernels.base import DEPTHS
from convmat.engine.kernels.panel.pack_a import APacker
from convmat.engine.kernels.panel.plan import PanelPlan
from convmat.engine.kernels.panel.recipe import PACKS, PanelRecipe
from convmat.engine.kernels.text import kernel_text
from convmat.network.ops.planned import Planned
from convmat.network.preparing import programs
from convmat.network.preparing.layouts import ProgramLayout
from convmat.network.preparing.program import Program
from convmat.network.preparing.sharing import Arena, Arenas, IdleStates
from convmat.network.preparing.tasks import State
from convmat.network.rewriting.rewrite import rewrite
from convmat.problem import Problem

CHANNELS = 16


def network() -> onnx.ModelProto:
    """3x3, with what BatchNormalization leaves, depthwise, strided 3x3, 1x1 and a dense layer behind a pool."""
    rng = np.random.default_rng(0)

    def weights(name: str, *shape: int) -> onnx.TensorProto:
        values = rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        return numpy_helper.from_array(values.astype(np.float32), name)

    kept = [
        weights("w0", CHANNELS, CHANNELS, 3, 3), weights("w1", CHANNELS, 1, 3, 3), weights("w2", 32, CHANNELS, 3, 3),
        weights("w3", 24, 32, 1, 1), weights("w4", 24, 10),
        *(numpy_helper.from_array(np.linspace(0.5, 2, CHANNELS, dtype=np.float32), name) for name in ("g", "v")),
        *(numpy_helper.from_array(np.zeros(CHANNELS, np.float32), name) for name in ("b", "m")),
    ]  # fmt: skip
    nodes = [
        oh.make_node("Conv", ["x", "w0"], ["a"], pads=[1] * 4),
        oh.make_node("BatchNormalization", ["a", "g", "b", "m", "v"], ["n"]),
        oh.make_node("Conv", ["n", "w1"], ["c"], pads=[1] * 4, group=CHANNELS),
        oh.make_node("Conv", ["c", "w2"], ["d"], pads=[1] * 4, strides=[2, 2]),
        oh.make_node("Conv", ["d", "w3"], ["e"]),
        oh.make_node("GlobalAveragePool", ["e"], ["p"]),
        oh.make_node("Flatten", ["p"], ["f"]),
        oh.make_node("Gemm", ["f", "w4"], ["y"]),
    ]
    graph = oh.make_graph(
        nodes, "sizes", [oh.make_tensor_value_info("x", TensorProto.FLOAT, ["n", CHANNELS, "h", "w"])],
        [oh.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])], kept,
    )  # fmt: skip
    return oh.make_model(graph, opset_imports=[oh.make_opsetid("", 17)], ir_version=8)


def image(*shape: int) -> Any:
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def packed(net: convmat.Network) -> list[dict[int, int]]:
    return [program.packed for program in net._programs.kept]


def test_another_size_shares_packed_weights() -> None:
    # By measured rates, or near a border, the sizes might be multiplied differently: then there is nothing to share.
    net = convmat.load(network(), exact=True, deterministic=True)
    x, wider = image(1, CHANNELS, 80, 80), image(1, CHANNELS, 80, 96)
    net(x)
    found = net(wider)
    first, second = packed(net)
    assert first
    assert first == second
    np.testing.assert_array_equal(found, convmat.load(network(), exact=True, deterministic=True)(wider))
    assert net._programs._weight_bytes() == sum(first.values())


def test_what_nobody_holds_is_packed_anew() -> None:
    net, x = convmat.load(network()), image(1, CHANNELS, 40, 40)
    answer = net(x)
    known = net._programs._shared.packed
    assert known._known
    net._programs._kept.clear()
    net._programs.latest = net._latest = None
    gc.collect()
    assert all(bound() is None for several in known._known.values() for _, bound, _ in several)
    np.testing.assert_array_equal(net(x), answer)


@pytest.mark.parametrize(
    ("w", "words"),
    [
        ((16, 16, 3, 3), {"padding": 1}),
        ((16, 16, 3, 3), {"padding": 1, "exact": True}),
        ((16, 16, 3, 3), {"padding": 1, "layout": "NHWC"}),
        ((32, 16, 3, 3), {"stride": 2, "padding": 1}),
        ((24, 32, 1, 1), {}),
        ((16, 1, 3, 3), {"groups": 16, "padding": 1}),
        ((16, 1, 3, 3), {"groups": 16, "padding": 1, "layout": "NHWC"}),
        ((300, 200, 1, 1), {"dtype": "float64"}),
        ((16, 16, 3, 3), {"transposed": True, "stride": 2}),
    ],
)
def test_packing_reads_the_words_that_it_is_told_apart_by(
    w: tuple[int, ...], words: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    channels = w[0] if words.get("transposed") else w[1] * words.get("groups", 1)
    x = (1, 24, 24, channels) if words.get("layout") == "NHWC" else (1, channels, 24, 24)
    plan, read = convmat.plan(x, w, engine="jit", **words), set()
    load = Arguments.load

    def noted(self: Arguments, fn: Any, args: Any, name: str, *type: Any) -> Any:
        if fn.name == "weights":
            read.add(name)
        return load(self, fn, args, name, *type)

    monkeypatch.setattr(Arguments, "load", noted)
    for step in plan.program.steps:
        read.clear()
        kernel_text(step.recipe, plan.program.cpu)
        others = {each for each in read if each[:2] not in ("a ", "w ") and each not in (*DEPTHS, "a", "w")}
        assert {each for each in others if not each.startswith("count ")} == set()
        for each in others:  # along which neither w nor A moves, where it is no batch of theirs
            assert f"w {each[6:]}" in step.words


@pytest.mark.parametrize(
    ("w", "words"),
    [
        ((40, 24, 3, 3), {"padding": 1}),
        ((96, 64, 1, 1), {}),
        ((96, 64, 3, 3), {"stride": 2, "padding": 1, "layout": "NHWC"}),
        ((128, 64, 3, 3), {"groups": 2}),
        ((64, 64, 3, 3), {"transposed": True}),
        ((64, 64, 3, 3), {"transposed": True, "layout": "NHWC"}),
    ],
)
def test_packing_reads_the_fields_that_it_is_told_apart_by(
    w: tuple[int, ...], words: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    channels = w[0] if words.get("transposed") else w[1] * words.get("groups", 1)
    x = (1, 24, 24, channels) if words.get("layout") == "NHWC" else (1, channels, 24, 24)
    lowering = "im2col" if w[2] > 1 else "pointwise"
    program = convmat.plan(x, w, lowering=lowering, engine="jit", exact=True, **words).program
    recipes, read = [step.recipe for step in program.steps if isinstance(step, PanelPlan)], set()
    fields = {each.name for each in dataclasses.fields(PanelRecipe)}
    assert recipes

    def noted(self: PanelRecipe, name: str) -> Any:
        read.add(name)
        return object.__getattribute__(self, name)

    monkeypatch.setattr(PanelRecipe, "__getattribute__", noted)
    for recipe in recipes:
        arguments = recipe.arguments()
        read.clear()
        APacker(recipe, arguments, Module("", fused=True)).write_weights()
        assert read & fields <= {*PACKS}


def test_kernels_that_read_x_otherwise_share_packed_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines of 8 outputs are read in place where they are as long as half a panel, and packed where they are not."""
    w = (128, 128, 3, 3)
    found = [
        convmat.plan((1, 128, n, n), w, stride=2, padding=1, lowering="im2col", engine="jit")
        for n in (14, 16)
    ]
    first, second = (plan.program.steps[0] for plan in found)
    assert first.recipe != second.recipe
    assert found[0].packing == found[1].packing
    weights = np.random.default_rng(0).standard_normal(w).astype(np.float32)
    x = image(1, 128, 16, 16)
    shared = found[1].share(found[0].bind(weights), None)
    np.testing.assert_array_equal(shared(x), found[1].bind(weights)(x))


@settings(max_examples=12, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40)), min_size=2, max_size=6))
def test_bits_do_not_depend_on_the_sizes_before(sizes: list[tuple[int, int, int]]) -> None:
    """Maps of one pixel, of fewer than a filter has, odd ones with stride 2, other batches: as in a network anew."""
    for made in (network, same_padded):
        net = convmat.load(made(), exact=True)
        for n, h, w in sizes:
            x, alone = image(n, CHANNELS, h, w), convmat.load(made(), exact=True)
            found, wanted = net(x), alone(x)
            ways = [
                [t.run.plan.chosen.way for t in prepared(each).tasks if isinstance(t.run, Planned)]
                for each in (net, alone)
            ]
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
            if ways[0] == ways[1]:
                np.testing.assert_array_equal(found, wanted)


def branching() -> onnx.ModelProto:
    """A shape decides which branch runs, as exporters write Squeeze; behind it a Reshape by what follows from x."""
    return onnx.parser.parse_model(BRANCHING)


BRANCHING = """
<ir_version: 8, opset_import: ["": 17]>
g (float[n,3,h,w] x) => (y) <int64[1] two = {2}, int64[1] three = {3}, int64[1] less = {-1}, int64[1] zero = {0},
 int64[1] four = {4}>
{
  shape = Shape (x)
  h = Slice (shape, two, three, zero)
  is_four = Equal (h, four)
  r = Relu (x)
  c = If (is_four) <then_branch = t () => (a) { a = Neg (r) }, else_branch = e () => (b) { b = Abs (r) }>
  wanted = Concat <axis = 0> (h, less)
  y = Reshape (c, wanted)
}
"""


@pytest.mark.parametrize("reshaped", [True, False])
def test_a_shape_that_chooses_a_branch_chooses_anew_at_each_size(reshaped: bool) -> None:
    """Where nothing else reads the shape, what it chose is all that is left of it."""
    model = branching()
    if not reshaped:
        model.graph.output[0].name = "c"
    net = convmat.load(model)
    for h in (5, 4, 6, 4, 5):
        x = image(2, 3, h, 7)
        r = np.maximum(x, 0)
        right = -r if h == 4 else r
        np.testing.assert_array_equal(net(x), right.reshape(h, -1) if reshaped else right)


def test_another_size_is_not_rewritten_again(monkeypatch: pytest.MonkeyPatch) -> None:
    images = [image(2, CHANNELS, 40, 40), image(2, CHANNELS, 48, 32), image(3, CHANNELS, 40, 40)]
    plain = convmat.load(network(), exact=True, rewrite=False)
    answers, specs = [plain(x) for x in images], []
    for x in images:
        alone = convmat.load(network(), exact=True)
        alone(x)
        specs.append(prepared(alone).specs)
    net, rewritten = convmat.load(network(), exact=True), []

    def noted(*given: Any) -> Any:
        rewritten.append(given)
        return rewrite(*given)

    monkeypatch.setattr(programs, "rewrite", noted)
    for x, answer, wanted in zip(images, answers, specs, strict=True):
        np.testing.assert_allclose(net(x), answer, rtol=1e-5, atol=1e-5)
        found = prepared(net).specs
        read = {name for node in prepared(net).graph.nodes for name in (*node.reads, *node.outputs)}
        assert {name: found[name] for name in read} == {name: wanted[name] for name in read}
    assert len(rewritten) == 1


def prepared(net: convmat.Network) -> Program:
    """What a network was prepared to last."""
    assert net._programs.latest is not None
    return net._programs.latest


def residual(broadcast: bool) -> onnx.ModelProto:
    """Two layers added: of the same extents at every size of x, or such that one of them has but one row at some."""
    rng = np.random.default_rng(0)
    kept = [
        numpy_helper.from_array(rng.standard_normal((8, 8, 3, 3)).astype(np.float32), name) for name in "vw"
    ]
    far = {"strides": [2, 1], "pads": [0, 1, 0, 1]} if broadcast else {"pads": [1] * 4}
    nodes = [
        oh.make_node("Conv", ["x", "v"], ["a"], **far),
        oh.make_node("Conv", ["x", "w"], ["b"], pads=[0, 1, 0, 1] if broadcast else [1] * 4),
        oh.make_node("Add", ["a", "b"], ["y"]),
    ]
    given = oh.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8, "h", "w"])
    graph = oh.make_graph(
        nodes, "sum", [given], [oh.make_tensor_value_info("y", TensorProto.FLOAT, None)], kept
    )
    return oh.make_model(graph, opset_imports=[oh.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("broadcast", [False, True])
def test_extents_that_were_one_for_one_by_chance_are_rewritten_anew(broadcast: bool) -> None:
    # Of 3 rows both layers leave one: y is their sum element by element; of 4 rows one leaves 1 and the other 2.
    net = convmat.load(residual(broadcast), exact=True)
    for rows in (3, 4, 3):
        x = image(1, 8, rows, 20)
        plain = convmat.load(residual(broadcast), exact=True, rewrite=False)(x)
        np.testing.assert_allclose(net(x), plain, rtol=1e-5, atol=1e-5)


BY_CHANCE = """
<ir_version: 8, opset_import: ["": 17]>
g (float[n,4] x) => (float[a,b] y) <int64[3] shape = {1, 4, -1}> {
  r = Reshape (x, shape)
  stack = Concat <axis = 0> (r, r)
  y = ReduceMax <axes = [0], keepdims = 0> (stack)
}
"""


def test_a_reshape_that_changes_nothing_by_chance_changes_other_sizes() -> None:
    # 4 rows of 4 have the shape of what is reduced already; 8 rows become 4 of 8.
    net = convmat.load(onnx.parser.parse_model(BY_CHANCE))
    for rows in (4, 8, 4, 2):
        x = np.arange(4.0 * rows, dtype=np.float32).reshape(rows, 4)
        np.testing.assert_array_equal(net(x), x.reshape(4, rows))


TEXT = """
<ir_version: 8, opset_import: ["": 17]>
g (float[n,6,h,w] x) => (y, z)
<float[12,6,3,3] a, float[12] s, float[12,12] m, float[12] b, int64[1] two = {2}, int64[1] four = {4},
 int64[1] less = {-1}, int64[1] zero = {0}, float[4] scales = {1, 1, 2, 2}, float two_f = {2}>
{
  c = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (x, a)
  r = Relu (c)
  up = Resize <mode = "nearest"> (r, , scales)
  shape = Shape (up)
  size = Slice (shape, two, four, zero)
  d = Conv <pads = [2, 2, 2, 2]> (x, a)
  head = Shape <end = 2> (d)
  wanted = Concat <axis = 0> (head, size)
  fit = Resize <mode = "nearest"> (d, , , wanted)
  sum = Add (up, fit)
  batch = Slice (shape, zero, one, zero)
  one = Constant <value_ints = [1]> ()
  lines = Concat <axis = 0> (batch, twelve, less)
  twelve = Constant <value_ints = [12]> ()
  flat = Reshape (sum, lines)
  turned = Transpose <perm = [0, 2, 1]> (flat)
  mean = ReduceMean <axes = [-1]> (turned)
  apart = Sub (turned, mean)
  square = Pow (apart, two_f)
  spread = ReduceMean <axes = [-1]> (square)
  near = Constant <value_float = 0.00001> ()
  inside = Add (spread, near)
  root = Sqrt (inside)
  normal = Div (apart, root)
  scaled = Mul (normal, s)
  moved = Add (scaled, b)
  product = MatMul (moved, m)
  y = Add (product, b)
  z = GlobalAveragePool (sum)
}
"""


def pictured() -> bytes:
    """What recognisers of text are made of: maps shaped like others, lines of pixels, a normalisation over channels."""
    lines = TEXT.replace("  one = Constant <value_ints = [1]> ()\n", "")
    lines = lines.replace("  twelve = Constant <value_ints = [12]> ()\n", "")
    lines = lines.replace(
        "int64[1] two = {2}", "int64[1] two = {2}, int64[1] one = {1}, int64[1] twelve = {12}"
    )
    model = onnx.parser.parse_model(lines)
    rng = np.random.default_rng(0)
    drawn = {"a": (12, 6, 3, 3), "s": (12,), "m": (12, 12), "b": (12,)}
    known = {each.name: each for each in model.graph.initializer}
    for name, shape in drawn.items():
        made = numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)
        if name in known:
            known[name].CopyFrom(made)
        else:
            model.graph.initializer.append(made)
    return bytes(model.SerializeToString())


def test_shapes_that_are_computed_follow_without_rewriting(monkeypatch: pytest.MonkeyPatch) -> None:
    net, plain, rewritten = (
        convmat.load(pictured(), exact=True),
        convmat.load(pictured(), exact=True, rewrite=False),
        [],
    )

    def noted(*given: Any) -> Any:
        rewritten.append(given)
        return rewrite(*given)

    sizes = [(1, 16, 22), (1, 16, 26), (1, 20, 26), (1, 32, 6), (2, 16, 22), (3, 18, 20), (2, 2, 80)]
    wanted = [plain(image(n, 6, h, w)) for n, h, w in sizes]
    monkeypatch.setattr(programs, "rewrite", noted)
    for (n, h, w), answers in zip(sizes, wanted, strict=True):
        found = net(image(n, 6, h, w))
        for name, answer in answers.items():
            np.testing.assert_allclose(found[name], answer, rtol=1e-4, atol=1e-4)
    assert len(rewritten) == 3  # for one image, for several, and for maps of one row
    assert "LayerNormalization" in {node.op for node in prepared(net).graph.nodes}


def test_a_size_that_serves_no_other_leaves_what_did(monkeypatch: pytest.MonkeyPatch) -> None:
    # 12 pixels are as many as there are channels.
    net, rewritten = convmat.load(pictured(), exact=True), []
    sizes = [(16, 22), (6, 2), (16, 26), (4, 3 * 2), (20, 26), (2, 6)]
    wanted = [convmat.load(pictured(), exact=True)(image(1, 6, h, w)) for h, w in sizes]

    def noted(*given: Any) -> Any:
        rewritten.append(given)
        return rewrite(*given)

    monkeypatch.setattr(programs, "rewrite", noted)
    for (h, w), answers in zip(sizes, wanted, strict=True):
        found = net(image(1, 6, h, w))
        for name, answer in answers.items():
            np.testing.assert_allclose(found[name], answer, rtol=1e-5, atol=1e-5)
    assert len(rewritten) == 3  # twice for 12 pixels: maps of one row are yet others


def same_padded() -> onnx.ModelProto:
    """Padding that follows from the size, and a transposed convolution."""
    made = network()
    for node in made.graph.node[:1]:
        del node.attribute[:]
        node.attribute.append(oh.make_attribute("auto_pad", "SAME_UPPER"))
        node.attribute.append(oh.make_attribute("strides", [2, 2]))
    turned = np.random.default_rng(2).standard_normal((CHANNELS, CHANNELS, 3, 3)).astype(np.float32)
    made.graph.initializer.append(numpy_helper.from_array(turned, "t"))
    made.graph.node.insert(1, oh.make_node("ConvTranspose", ["a", "t"], ["u"], strides=[2, 2], pads=[1] * 4))
    made.graph.node[2].input[0] = "u"
    return made


@pytest.mark.parametrize("made", [network, same_padded])
@pytest.mark.parametrize("words", [{}, {"exact": True}, {"workspace_limit": 1 << 20}])
def test_plans_of_another_size_are_those_of_a_network_loaded_anew(made: Any, words: dict[str, Any]) -> None:
    net = convmat.load(made(), **words)
    for shape in [(1, 40, 40), (1, 41, 48), (2, 33, 17), (1, 80, 80)]:
        x = image(shape[0], CHANNELS, *shape[1:])
        alone = convmat.load(made(), **words)
        np.testing.assert_allclose(net(x), alone(x), rtol=1e-4, atol=1e-4)
        found, wanted = (
            [t.run.plan for t in prepared(n).tasks if isinstance(t.run, Planned)] for n in (net, alone)
        )
        assert [plan.problem for plan in found] == [plan.problem for plan in wanted]
        assert [plan.chosen.way for plan in found] == [plan.chosen.way for plan in wanted]
        assert len(found) > 3


@given(
    st.sampled_from(["NCHW", "NHWC"]), st.integers(1, 3), st.lists(st.integers(5, 20), min_size=4, max_size=4),
    st.booleans(), st.integers(1, 3),
)  # fmt: skip
def test_a_problem_of_other_extents_is_what_it_would_have_been(
    layout: str, batch: int, extents: list[int], transposed: bool, stride: int
) -> None:
    make = convmat.Geometry.transposed if transposed else convmat.Geometry.of
    w = (6, 4, 3, 3) if not transposed else (8, 3, 3, 3)
    first, second = (
        make((n, 8, *pixels), w, stride=stride, padding=at, groups=2)
        for n, pixels, at in ((1, extents[:2], 0), (batch, extents[2:], 1))
    )
    words: dict[str, Any] = {"x": layout, "y": layout, "transposed": transposed, "threads": 2}
    assert Problem.of(first, **words).resize(second) == Problem.of(second, **words)


def test_sizes_take_turns_at_one_arena() -> None:
    net = convmat.load(network(), exact=True)
    images = [image(1, CHANNELS, n, n) for n in (40, 64, 24, 64, 40)]
    alone = [convmat.load(network(), exact=True)(x) for x in images]
    for x, answer in zip(images, alone, strict=True):
        np.testing.assert_array_equal(net(x), answer)
    arenas = net._programs._shared.arenas
    assert len(arenas._free) == 1
    states = [state for program in net._programs.kept for state in program.idle._states]
    assert len(states) == 3
    assert all(state.arena is arenas._free[0] for state in states)


def test_an_arena_that_is_too_large_by_far_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "PROGRAMS", 2)
    net = convmat.load(network(), exact=True)
    for n in (160, 40, 48, 44):
        net(image(1, CHANNELS, n, n))
    assert all(
        a.values.nbytes <= 2 * net._programs.kept[-2].memory.size for a in net._programs._shared.arenas._free
    )


def test_calls_of_other_sizes_at_once_have_arenas_of_their_own() -> None:
    net = convmat.load(network(), exact=True)
    images = [image(1, CHANNELS, n, n) for n in (40, 48, 56, 64)]
    answers = [net(x) for x in images]

    def call(at: int) -> bool:
        return all(np.array_equal(net(images[at]), answers[at]) for _ in range(20))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(call, range(4)))


def test_states_in_arenas_that_go_while_they_are_looked_at_are_let_go() -> None:
    """A call looks whether it may have a state's arena, which another one gives back meanwhile, and a third drops."""

    class Meanwhile(Arenas):
        taken: Arena | None = None

        def claim(self, arena: Arena) -> bool:
            had = super().claim(arena)
            if self.taken is not None:
                given, self.taken = self.taken, None
                self.give(given)
                self.give(self.take(2 * given.values.nbytes))
            return had

    arenas = Meanwhile()
    idle, layout = IdleStates(arenas), cast(ProgramLayout, object())
    first = arenas.take(100, idle)
    gone = weakref.ref(first)
    idle.keep(State([], [], layout, first), layout)
    assert arenas.claim(first)
    arenas.taken = first
    del first
    for _ in range(2):
        assert idle.claim() is None
    gc.collect()
    assert gone() is None


def test_an_arena_is_given_back_by_a_call_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x = convmat.load(network(), exact=True), image(1, CHANNELS, 40, 40)
    answer, arenas = net(x), net._programs._shared.arenas
    [arena] = arenas._free

    def fail(*given: Any) -> Any:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(Program, "_collect_outputs", fail)
        with pytest.raises(MemoryError):
            net(x)
    assert arenas._free == [arena]
    np.testing.assert_array_equal(net(x), answer)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 12)), min_size=2, max_size=6))
def test_answers_do_not_depend_on_the_sizes_before(sizes: list[tuple[int, int, int]]) -> None:
    net = convmat.load(pictured(), exact=True)
    for n, h, w in sizes:
        x = image(n, 6, 2 * h, 2 * w)
        alone = convmat.load(pictured(), exact=True)(x)
        for name, y in net(x).items():
            np.testing.assert_allclose(y, alone[name], rtol=1e-5, atol=1e-5)


def test_a_size_that_does_not_fit_says_so_by_the_files_nodes() -> None:
    net, alone = convmat.load(network()), convmat.load(network())
    net(image(1, CHANNELS, 24, 24))
    said = []
    for each in (net, alone):
        with pytest.raises(convmat.NetworkError) as refused:
            each(image(1, CHANNELS + 1, 32, 32))
        said.append(str(refused.value))
    assert said[0] == said[1]

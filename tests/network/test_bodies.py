"""Bodies of If, Loop and Scan, beside what they mean in NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import convmat
from convmat.network.graph import Spec
from tests.network.made import Array, body, model, node, normal, typed


def flagged(data: bytes, *names: str) -> bytes:
    """The model with further inputs, of one truth value each."""
    proto = onnx.load_from_string(data)
    for name in names:
        proto.graph.input.append(helper.make_tensor_value_info(name, onnx.TensorProto.BOOL, []))
    made: bytes = proto.SerializeToString()
    return made


# -- If ----------------------------------------------------------------------------------------------------------------

W, S = normal(4, 3, 3, 3, seed=1), np.abs(normal(4, seed=2)) + 0.5
BRANCHED = flagged(
    model(
        [
            node("Conv", "x w", "c", pads=[1, 1, 1, 1]),
            node(
                "If", "flag", "z",
                then_branch=body("", [node("BatchNormalization", "c s s s s", "n"), node("Relu", "n", "t")], "t"),
                else_branch=body("", [node("Conv", "c v b", "t", pads=[1, 1, 1, 1])], "t", {"b": normal(4)}),
            ),
            node("Add", "z c", "y"),
        ],
        {"x": ("n", 3, "h", "w_")},
        "y",
        {"w": W, "s": S, "v": normal(4, 4, 3, 3, seed=3)},
    ),
    "flag",
)  # fmt: skip


def branched(x: Array, flag: bool) -> Array:
    c = convmat.conv(x, W, padding=1, exact=True)
    if flag:
        s = S[:, None, None]
        return np.maximum((c - s) / np.sqrt(s + 1e-5) * s + s, 0) + c
    return convmat.conv(c, normal(4, 4, 3, 3, seed=3), normal(4), padding=1, exact=True) + c


def test_branches_run_on_our_own_operators() -> None:
    """BatchNormalization there is inference, a convolution is planned, weights come from around; any shape goes."""
    net = convmat.load(BRANCHED)
    for shape in ((1, 3, 8, 8), (2, 3, 5, 9)):
        for flag in (True, False, True):
            x = normal(*shape, seed=5)
            found = net({"x": x, "flag": np.array(flag)})
            np.testing.assert_allclose(found, branched(x, flag), rtol=1e-5, atol=1e-5)


def test_what_both_branches_agree_on_is_known_beforehand() -> None:
    net = convmat.load(BRANCHED)
    program = net.program({"x": Spec((1, 3, 8, 8), np.dtype(np.float32)), "flag": Spec((), np.dtype(bool))})
    assert program.specs["z"] == Spec((1, 4, 8, 8), np.dtype(np.float32))


def test_an_if_whose_condition_is_constant_gives_way_to_its_branch() -> None:
    """Names of the branch that stand for others outside stay apart; the convolution's epilogue takes what follows."""
    inner = body("", [node("Conv", "x w", "c"), node("Relu", "c", "x2")], "x2")
    outer = body(
        "",
        [
            node("Shape", "x", "s"),
            node("Size", "s", "n"),
            node("Equal", "n four", "is"),
            node("If", "is", "r", then_branch=inner, else_branch=body("", [node("Neg", "x", "o")], "o")),
            node("Identity", "x", "same"),
        ],
        "r r same w four",
    )
    nodes = [
        node("Neg", "x", "c"),  # what the branch calls c is another
        node("If", "yes", "y r same w2 four2", then_branch=outer, else_branch=outer),
    ]
    made = model(
        nodes,
        {"x": ("n", 3, 6, 6)},
        "y c r same w2 four2",
        {"yes": np.array(True), "four": np.array(4), "w": W},
    )
    net, x = convmat.load(made), normal(1, 3, 6, 6)
    found = net(x)
    wanted = np.maximum(convmat.conv(x, W), 0)
    np.testing.assert_allclose(found["y"], wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found["r"], wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(found["c"], -x)
    np.testing.assert_array_equal(found["same"], x)
    np.testing.assert_array_equal(found["w2"], W)
    assert found["four2"] == 4
    ops = [each.node.op for each in net.program({"x": Spec(x.shape, x.dtype)}).tasks]
    assert sorted(ops) == ["Conv", "Identity", "Identity", "Neg"]


def test_branches_of_other_shapes() -> None:
    """What follows takes whichever shape comes."""
    nodes = [
        node("If", "flag", "z", then_branch=body("", [node("Concat", "x x", "t", axis=1)], "t"),
             else_branch=body("", [node("Identity", "x", "t")], "t")),
        node("ReduceSum", "z", "y", keepdims=0),
    ]  # fmt: skip
    net, x = convmat.load(flagged(model(nodes, {"x": (2, 3)}, "y z"), "flag")), normal(2, 3)
    for flag, times in ((True, 2), (False, 1)):
        found = net({"x": x, "flag": np.array(flag)})
        np.testing.assert_allclose(found["y"], times * x.sum(), rtol=1e-5)
        np.testing.assert_array_equal(found["z"], np.concatenate([x] * times, axis=1))


def test_branches_that_do_not_fit() -> None:
    one, two = body("", [node("Neg", "x", "t")], "t"), body("", [node("Neg", "x", "t")], "t t")
    for nodes, said in (
        ([node("If", "flag", "y", then_branch=one, else_branch=two)],
         "its else_branch does not fit it\n  0 inputs and 2 outputs, 0 and 1 are needed"),
        ([node("If", "flag", "y", then_branch=one)], "its else_branch is missing\n  a graph is needed"),
        ([node("If", "x", "y", then_branch=one, else_branch=one)],
         "its condition is not one truth value\n  float32[2]"),
    ):  # fmt: skip
        net = convmat.load(flagged(model(nodes, {"x": (2,)}, "y"), "flag"))
        with pytest.raises(convmat.NetworkError) as error:
            net({"x": normal(2), "flag": np.array(True)})
        assert str(error.value) == f"load: If 'If_y' cannot run\n  {said}"


@pytest.mark.parametrize("levels", [24, 25])
def test_bodies_lie_at_most_so_deep(levels: int) -> None:
    inner, other = (body("", [node(op, "x", "t")], "t") for op in ("Neg", "Relu"))
    for _ in range(levels - 1):
        inner = body("", [node("If", "flag", "t", then_branch=inner, else_branch=other)], "t")
    made = flagged(
        model([node("If", "flag", "y", then_branch=inner, else_branch=other)], {"x": (2,)}, "y"), "flag"
    )
    if levels == 24:
        found = convmat.load(made)({"x": normal(2), "flag": np.array(True)})
        np.testing.assert_array_equal(found, -normal(2))
        return
    with pytest.raises(convmat.NetworkError) as error:
        convmat.load(made)
    assert str(error.value) == (
        "load: the model: its bodies lie too deep within each other\n  at most 24 levels are read"
    )


def test_unknown_operators_of_bodies_are_named_at_load() -> None:
    inner = body("", [node("Fold", "x", "t")], "t")
    made = model([node("If", "flag", "y", then_branch=inner, else_branch=inner)], {"x": (2,)}, "y")
    with pytest.raises(convmat.NetworkError) as error:
        convmat.load(flagged(made, "flag"))
    assert str(error.value) == (
        "load: the model: some of its operators are not known\n  Fold (2 nodes)\n"
        "  those of the ONNX standard are; export the model without the others"
    )


# -- Loop --------------------------------------------------------------------------------------------------------------


def looped(
    inner: Any,
    inputs: str,
    outputs: str,
    given: dict[str, tuple[Any, ...]],
    constants: dict[str, Any] | None = None,
) -> convmat.Network:
    return convmat.load(model([node("Loop", inputs, outputs, body=inner)], given, outputs, constants))


POWERS = body(
    "i go a",
    [
        node("Mul", "a k", "b"),
        node("ReduceSum", "b", "total", keepdims=0),
        node("Less", "total limit", "on"),
        node("Cast", "i", "turn", to=1),
    ],
    "on b total b turn",
)


def powers(trips: int | None, go: bool | None, limit: float) -> convmat.Network:
    constants: dict[str, Any] = {"k": np.float32(2), "limit": np.float32(limit)}
    constants |= {} if trips is None else {"trips": np.array([trips])}
    constants |= {} if go is None else {"go": np.array(go)}
    names = f"{'-' if trips is None else 'trips'} {'-' if go is None else 'go'} x"
    return looped(POWERS, names, "last totals all turns", {"x": (2, 3)}, constants)


@pytest.mark.parametrize(
    ("trips", "go", "limit", "turns"),
    [(3, True, np.inf, 3), (3, None, np.inf, 3), (None, True, 90, 4), (None, None, 90, 4), (9, True, 90, 4),
     (0, True, np.inf, 0), (5, False, np.inf, 0), (-1, None, np.inf, 0)],
)  # fmt: skip
def test_a_loop_gathers_what_its_turns_give(
    trips: int | None, go: bool | None, limit: float, turns: int
) -> None:
    """Scalars make a vector, matrices keep their axes; without a turn there is nothing, of known type and shape."""
    x = np.ones((2, 3), np.float32)
    found = powers(trips, go, limit)(x)
    whole = np.stack([x * 2.0 ** (i + 1) for i in range(4)])[:turns].astype(np.float32)
    wanted = {
        "last": whole[-1] if turns else x,
        "totals": whole.sum((1, 2)),
        "all": whole,
        "turns": np.arange(turns, dtype=np.float32),
    }
    for name, y in wanted.items():
        np.testing.assert_array_equal(found[name], y)
        assert (found[name].shape, found[name].dtype) == (y.shape, y.dtype)


def test_what_a_loop_carries_may_change_its_shape() -> None:
    inner = body("i go a", [node("Concat", "a x", "b", axis=0), node("Identity", "go", "on")], "on b")
    net, x = looped(inner, "n - x", "y", {"x": (2, 3)}, {"n": np.array(5)}), normal(2, 3)
    np.testing.assert_array_equal(net(x), np.concatenate([x] * 6))


def test_rows_of_a_loop_are_of_one_shape_and_keep_to_the_memory() -> None:
    inner = body("i go a", [node("Concat", "a x", "b", axis=0), node("Identity", "go", "on")], "on b b")
    with pytest.raises(convmat.NetworkError) as error:
        looped(inner, "n - x", "y r", {"x": (2, 3)}, {"n": np.array(5)})(normal(2, 3))
    assert str(error.value) == (
        "load: Loop 'Loop_y' cannot run\n  its turns give rows that cannot be joined\n"
        "  float32[4,3] and float32[6,3]"
    )
    inner = body("i go a", [node("Neg", "a", "b"), node("Identity", "go", "on")], "on b b")
    made = model([node("Loop", "n - x", "y r", body=inner)], {"x": (10, 25)}, "y r", {"n": np.array(500)})
    with pytest.raises(convmat.NetworkError) as error:
        convmat.load(made, memory_limit=10_000)(normal(10, 25))
    assert str(error.value) == (
        "load: Loop 'Loop_y' cannot run\n  what its turns give takes too much memory\n"
        "  11,000 bytes after 11 turns; memory_limit = 10,000"
    )


def test_loops_of_loops_read_names_from_around_and_hide_others() -> None:
    """The inner body's k is its own; x, w and the outer state come from around."""
    inner = body(
        "j more s",
        [node("Conv", "s w", "c", pads=[1, 1, 1, 1]), node("Add", "c k", "d"), node("Add", "d a", "e"),
         node("Identity", "more", "on2")],
        "on2 e",
        {"k": np.float32(3)},
    )  # fmt: skip
    outer = body(
        "i go a",
        [node("Loop", "two - x", "f", body=inner), node("Mul", "f k", "b"), node("Identity", "go", "on")],
        "on b",
    )
    w, x = normal(3, 3, 3, 3, seed=4) / 5, normal(1, 3, 6, 6)
    constants = {"n": np.array(2), "two": np.array(2), "w": w, "k": np.float32(2)}
    net = looped(outer, "n - x", "y", {"x": (1, 3, "h", "w_")}, constants)
    a = x
    for _ in range(2):
        s = x
        for _ in range(2):
            s = convmat.conv(s, w, padding=1, exact=True) + 3 + a
        a = s * 2
    np.testing.assert_allclose(net(x), a, rtol=1e-4, atol=1e-4)


def test_a_loop_over_constants_is_folded() -> None:
    inner = body("i go a", [node("Add", "a a", "b"), node("Identity", "go", "on")], "on b")
    nodes = [node("Loop", "n - one", "s", body=inner), node("Mul", "x s", "y")]
    net = convmat.load(model(nodes, {"x": (2,)}, "y", {"n": np.array(4), "one": np.float32(1)}))
    x = normal(2)
    np.testing.assert_array_equal(net(x), 16 * x)
    assert [task.node.op for task in net.program({"x": Spec((2,), x.dtype)}).tasks] == ["Mul"]


def test_a_loop_that_draws_is_not_folded() -> None:
    turn = [node("RandomNormal", "", "r", shape=[2]), node("Add", "a r", "b"), node("Identity", "go", "on")]
    made = [node("Loop", "n - one", "s", body=body("i go a", turn, "on b")), node("Mul", "x s", "y")]
    net = convmat.load(model(made, {"x": (2,)}, "y", {"n": np.array(2), "one": np.float32(1)}))
    x = np.ones(2, np.float32)
    assert net(x)[0] != net(x)[0]


@pytest.mark.parametrize("op", ["Loop", "Scan"])
def test_states_that_no_turn_changes_are_constants_of_the_body(op: str) -> None:
    """Weights that are carried on, as they are or by an Identity, are packed once; both states still come out.

    Of two alike states that change places each turn, none is.
    """
    turn = [
        node("MatMul", "a w", "c"),
        node("Mul", "c s", "d"),
        node("Add", "d p", "b"),
        node("Identity", "w", "v"),
    ]
    w, s, x = normal(16, 16, seed=1) / 4, np.float32(0.5), normal(4, 16)
    constants = {
        "n": np.array(3),
        "w0": w,
        "s0": s,
        "p0": np.float32(1),
        "q0": np.float32(2),
        "t": normal(3, 1),
    }
    if op == "Loop":
        inner = body("i go a w s p q", [*turn, node("Identity", "go", "on")], "on b v s q p")
        made = node("Loop", "n - x w0 s0 p0 q0", "y u z p1 q1", body=inner)
    else:
        inner = body("a w s p q i", [*turn, node("Neg", "i", "r")], "b v s q p r")
        made = node("Scan", "x w0 s0 p0 q0 t", "y u z p1 q1 rows", body=inner, num_scan_inputs=1)
    net = convmat.load(model([made], {"x": (4, 16)}, "y u z p1 q1", constants))
    right = x
    for added in (1, 2, 1):
        right = right @ w * s + np.float32(added)
    for _ in range(2):
        found = net({"x": x})
        np.testing.assert_allclose(found["y"], right, rtol=1e-4, atol=1e-5)
        for name, wanted in (("u", w), ("z", s), ("p1", 2), ("q1", 1)):
            np.testing.assert_array_equal(found[name], wanted)
        for array in found.values():
            array[...] = np.nan  # they are the caller's
    (program,) = net.program({"x": Spec(x.shape, x.dtype)}).bodies[0].kept
    assert program.weight_bytes >= w.nbytes


def test_what_a_body_gives_back_as_it_came_is_apart_from_what_came() -> None:
    """A state may be given back, given twice and gathered; what the caller gave stays the caller's."""
    inner = body("i go a", [node("Identity", "go", "on")], "on a a")
    net, x = looped(inner, "n - x", "y rows", {"x": (2, 3)}, {"n": np.array(2)}), normal(2, 3)
    found, kept = net(x), x.copy()
    np.testing.assert_array_equal(found["rows"], [x, x])
    found["y"][...] = found["rows"][...] = 0
    np.testing.assert_array_equal(x, kept)
    branch = body("", [node("Identity", "x", "t")], "t t"), body("", [node("Neg", "x", "t")], "t t")
    made = node("If", "flag", "y z", then_branch=branch[0], else_branch=branch[1])
    both = convmat.load(flagged(model([made], {"x": (2, 3)}, "y z"), "flag"))(
        {"x": x, "flag": np.array(True)}
    )
    both["y"][...] = 0
    np.testing.assert_array_equal(both["z"], kept)
    np.testing.assert_array_equal(x, kept)


# -- Scan --------------------------------------------------------------------------------------------------------------

SUMS = body(
    "s a b",
    [node("Add", "s a", "t"), node("Mul", "t b", "u"), node("ReduceSum", "u", "v", keepdims=0)],
    "t u v",
)


@pytest.mark.parametrize("length", [4, 1, 0])
def test_scan_along_axes_and_backwards(length: int) -> None:
    attributes = {
        "num_scan_inputs": 2, "scan_input_axes": [1, -1], "scan_input_directions": [0, 1],
        "scan_output_axes": [-1, 0], "scan_output_directions": [1, 0],
    }  # fmt: skip
    scan = node("Scan", "s a b", "t u v", body=SUMS, **attributes)
    net = convmat.load(model([scan], {"s": (2, 3), "a": (2, None, 3), "b": (2, 3, None)}, "t u v"))
    s, a, b = normal(2, 3, seed=1), normal(2, length, 3, seed=2), normal(2, 3, length, seed=3)
    found = net({"s": s, "a": a, "b": b})
    rows = []
    for i in range(length):
        s = s + a[:, i]
        rows.append(s * b[:, :, length - 1 - i])
    u = np.stack(rows[::-1], -1) if rows else np.empty((2, 3, 0), np.float32)
    v = np.array([row.sum() for row in rows], np.float32)
    np.testing.assert_array_equal(found["t"], s)
    np.testing.assert_array_equal(found["u"], u)
    np.testing.assert_allclose(found["v"], v, rtol=1e-5, atol=1e-6)
    specs = net.program({n: Spec(x.shape, x.dtype) for n, x in (("s", s), ("a", a), ("b", b))}).specs
    assert [specs[name].shape for name in "tuv"] == [(2, 3), (2, 3, length), (length,)]


@pytest.mark.parametrize("lengths", [None, (3, 1, 0), (2, 4, 4)])
def test_scan_of_operator_set_8(lengths: tuple[int, ...] | None) -> None:
    """A batch axis first, a length for each image, zeros behind it; what goes backwards begins at that length."""
    scan = node(
        "Scan",
        f"{'lens' if lengths else '-'} s a b",
        "t u v",
        body=SUMS,
        num_scan_inputs=2,
        directions=[0, 1],
    )
    given = {"s": (3, 2), "a": (3, 4, 2), "b": (3, 4, 2)}
    constants = {"lens": np.array(lengths)} if lengths else {}
    net = convmat.load(model([scan], given, "t u v", constants, opset=8))
    s, a, b = normal(3, 2, seed=1), normal(3, 4, 2, seed=2), normal(3, 4, 2, seed=3)
    found = net({"s": s, "a": a, "b": b})
    u = np.zeros((3, 4, 2), np.float32)
    s = s.copy()
    for image, n in enumerate(lengths or (4, 4, 4)):
        for i in range(n):
            s[image] += a[image, i]
            u[image, i] = s[image] * b[image, n - 1 - i]
    np.testing.assert_array_equal(found["t"], s)
    np.testing.assert_array_equal(found["u"], u)
    np.testing.assert_allclose(found["v"], u.sum(2), rtol=1e-5, atol=1e-6)
    nothing = {n: np.empty((0, *shape[1:]), np.float32) for n, shape in given.items()}
    if lengths is None:
        assert [net(nothing)[name].shape for name in "tuv"] == [(0, 2), (0, 4, 2), (0, 4)]


def test_scans_that_do_not_fit() -> None:
    for attributes, said in (
        ({"num_scan_inputs": 4}, "its num_scan_inputs does not fit it\n  4; it has 3 inputs and 3 outputs"),
        ({"num_scan_inputs": 2, "scan_input_axes": [0]}, "its scan_input_axes do not fit it\n  (0,) for 2"),
        ({"num_scan_inputs": 2}, "its inputs are not of one length\n  2, 3"),
    ):  # fmt: skip
        scan = node("Scan", "s a b", "t u v", body=SUMS, **attributes)
        net = convmat.load(model([scan], {"s": (2,), "a": (3, 2), "b": (2, 2)}, "t u v"))
        with pytest.raises(convmat.NetworkError) as error:
            net({"s": normal(2), "a": normal(3, 2), "b": normal(2, 2)})
        assert str(error.value) == f"load: Scan 'Scan_t' cannot run\n  {said}"


# -- sequences ---------------------------------------------------------------------------------------------------------


def test_sequences_go_in_and_come_out() -> None:
    nodes = [
        node("SequenceInsert", "s x zero", "front"),
        node("SequenceErase", "front one", "fewer"),
        node("SequenceAt", "fewer last", "back"),
        node("SequenceLength", "fewer", "n"),
        node("ConcatFromSequence", "fewer", "whole", axis=1),
        node("SplitToSequence", "whole two", "parts", axis=1),
        node("SequenceConstruct", "x back", "pair"),
        node("ConcatFromSequence", "pair", "stacked", axis=-1, new_axis=1),
        node("SplitToSequence", "x", "rows", keepdims=0),
    ]
    constants = {"zero": np.array(0), "one": np.array(1), "last": np.array(-1), "two": np.array(2)}
    made = model(nodes, {"s": (2, None), "x": (2, 3)}, "fewer n whole parts stacked rows", constants)
    net = convmat.load(typed(made, s="sequence"))
    assert [str(each) for each in net.inputs] == ["s: sequence of float32 2x?", "x: float32 2x3"]
    x, s = normal(2, 3), [normal(2, n, seed=n) for n in (1, 2, 3)]
    found = net({"s": s, "x": x})
    whole = np.concatenate([x, s[1], s[2]], 1)
    wanted = {
        "fewer": [x, s[1], s[2]],
        "n": np.array(3),
        "whole": whole,
        "parts": [whole[:, i : i + 2] for i in range(0, 8, 2)],
        "stacked": np.stack([x, s[2]], -1),
        "rows": list(x),
    }
    for name, value in wanted.items():
        assert type(found[name]) is type(value)
        several = (found[name], value) if isinstance(value, list) else ([found[name]], [value])
        for a, b in zip(*several, strict=True):
            np.testing.assert_array_equal(a, b)
    found["fewer"][1][:] = 0  # the answer is the caller's alone
    assert s[1].all()


def test_sequences_that_do_not_fit() -> None:
    def said(nodes: list[Any], given: Any, kind: str = "sequence") -> str:
        made = model(nodes, {"s": (2,)}, "y", {"at": np.array(5)})
        with pytest.raises(convmat.NetworkError) as error:
            convmat.load(typed(made, s=kind))({"s": given})
        return str(error.value)

    one = [normal(2)]
    assert said([node("SequenceAt", "s at", "y")], one) == (
        "load: SequenceAt 'SequenceAt_y' cannot run\n  there is no place 5 in its sequence\n  it has 1"
    )
    assert said([node("ConcatFromSequence", "s", "y", axis=0)], []) == (
        "load: ConcatFromSequence 'ConcatFromSequence_y' cannot run\n  its sequence has nothing to join\n"
        "  a sequence of 0"
    )
    assert said([node("OptionalGetElement", "s", "y")], None, "optional") == (
        "load: OptionalGetElement 'OptionalGetElement_y' cannot run\n  its optional is empty\n"
        "  ask OptionalHasElement first"
    )
    assert said([node("SequenceLength", "s", "y")], normal(2)) == (
        "call: the input 's' is no sequence\n  ndarray; the network takes s: sequence of float32 2\n"
        "  give a list of arrays"
    )


def test_a_loop_gathers_into_a_sequence(tmp_path: Path) -> None:
    """Of optional state, beside a memory limit; saved, too."""
    inner = body(
        "i go s",
        [
            node("OptionalHasElement", "s", "has"),
            node(
                "If", "has", "now",
                then_branch=body("", [node("OptionalGetElement", "s", "t")], "t"),
                else_branch=body("", [node("SequenceEmpty", "", "t")], "t"),
            ),
            node("Cast", "i", "f", to=1),
            node("Add", "x f", "row"),
            node("SequenceInsert", "now row", "more"),
            node("Identity", "go", "on"),
        ],
        "on more",
    )  # fmt: skip
    made = model([node("Loop", "n - s", "y", body=inner)], {"s": (3,), "x": (3,)}, "y", {"n": np.array(4)})
    made = typed(made, s="optional sequence")
    net, x = convmat.load(made), normal(3)
    net({"s": None, "x": x})
    net.save(tmp_path / "net.convmat")
    for each in (net, convmat.load(tmp_path / "net.convmat", trust=True)):
        for first in (None, [x, x]):
            found = each({"s": first, "x": x})
            np.testing.assert_array_equal(
                np.stack(found), np.stack([*(first or []), *(x + i for i in range(4))])
            )
    with pytest.raises(convmat.NetworkError) as error:
        convmat.load(made, memory_limit=40)({"s": None, "x": x})
    assert str(error.value) == (
        "load: SequenceInsert 'SequenceInsert_more' cannot run\n  its sequence takes too much memory\n"
        "  4 elements are 48 bytes; memory_limit = 40"
    )


# -- saved -------------------------------------------------------------------------------------------------------------


def test_bodies_are_saved(tmp_path: Path) -> None:
    net, x = convmat.load(BRANCHED), normal(1, 3, 8, 8)
    flags = [{"x": x, "flag": np.array(flag)} for flag in (True, False)]
    wanted = [net(each) for each in flags]
    net.save(tmp_path / "net.convmat")
    again = convmat.load(tmp_path / "net.convmat", trust=True)
    for each, y in zip(flags, wanted, strict=True):
        np.testing.assert_array_equal(again(each), y)

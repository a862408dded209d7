"""What takes elements from places, or puts them there, beside loops over every index."""

from __future__ import annotations

import ctypes
import itertools
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

import convmat
from convmat.engine import thread_pool
from convmat.network.graph import Node, Spec
from convmat.network.ops import OPERATORS
from convmat.network.ops.kernels import run_sweep
from convmat.network.ops.options import Options
from convmat.network.ops.planned import Moved

from .cases import Array
from .made import model, normal
from .made import node as make
from .runtime import outside, run, said

JOINED: dict[str, Any] = {
    "none": lambda old, new: new, "add": lambda old, new: old + new, "mul": lambda old, new: old * new,
    "max": max, "min": min,
}  # fmt: skip


def node(op: str, version: int = 18, **about: Any) -> Node:
    return Node(op, (), ("y",), about, "here", version)


def definition(made: Node, x: Array, indices: Array, updates: Array | None = None) -> Array:
    """One index after the other, in Python's own numbers."""
    axis, batch = made.get("axis", 0), made.get("batch_dims", 0)
    if made.op == "GatherElements":
        y = np.empty(indices.shape, x.dtype)
        for at in np.ndindex(*indices.shape):
            y[at] = x[(*at[: axis % x.ndim], indices[at], *at[axis % x.ndim + 1 :])]
        return y
    if made.op == "GatherND":
        y = np.empty((*indices.shape[:-1], *x.shape[batch + indices.shape[-1] :]), x.dtype)
        for at in np.ndindex(*indices.shape[:-1]):
            y[at] = x[(*at[:batch], *indices[at])]
        return y
    assert updates is not None
    y, join = x.copy(), JOINED[made.get("reduction", "none")]
    for at in np.ndindex(*indices.shape[:-1] if made.op == "ScatterND" else indices.shape):
        if made.op == "ScatterND":
            place: tuple[Any, ...] = tuple(indices[at])
            y[place] = np.vectorize(join, otypes=[x.dtype])(y[place], updates[at])
        else:
            place = (*at[: axis % x.ndim], indices[at], *at[axis % x.ndim + 1 :])
            y[place] = join(y[place], updates[at])
    return y


def drawn(op: str, seed: int) -> tuple[Node, list[Array]]:
    draw = np.random.default_rng(seed)
    rank = int(draw.integers(1, 5))
    shape = tuple(int(n) for n in draw.integers(1, 5, rank))
    dtype = (np.float32, np.int64, np.float64, np.int32)[seed % 4]
    x = (draw.standard_normal(shape) * 9).astype(dtype)
    about: dict[str, Any] = {}
    if op in ("GatherElements", "ScatterElements"):
        axis = int(draw.integers(-rank, rank))
        extents = [int(draw.integers(1, n + 1)) for n in shape]
        if op == "GatherElements":
            extents[axis] = int(draw.integers(1, 7))
        about["axis"] = axis
        indices = draw.integers(-shape[axis], shape[axis], extents)
        indices = indices.astype((np.int64, np.int32)[seed % 2])
        updates = (draw.standard_normal(extents) * 9).astype(dtype)
    else:
        batch = int(draw.integers(0, rank)) if op == "GatherND" else 0
        depth = int(draw.integers(1, rank - batch + 1))
        before = (*shape[:batch], *(int(n) for n in draw.integers(1, 4, int(draw.integers(0, 3)))))
        indices = np.stack([draw.integers(-n, n, before) for n in shape[batch : batch + depth]], -1)
        about |= {"batch_dims": batch} if op == "GatherND" else {}
        updates = (draw.standard_normal((*before, *shape[depth:])) * 9).astype(dtype)
    if op.startswith("Gather"):
        return node(op, 13, **about), [x, indices]
    how = list(JOINED)[seed // 4 % 5]
    if how == "none":  # which of several stays is not said
        return node(op, (11, 13)[seed % 2], **about), [x, *_apart(op, about, x, indices, updates)]
    return node(op, 18, reduction=how, **about), [x, indices, updates]


def _apart(op: str, about: Any, x: Array, indices: Array, updates: Array) -> tuple[Array, Array]:
    """No place twice."""
    if op == "ScatterElements":
        axis = about["axis"]
        n = x.shape[axis]
        cut = (*(slice(None),) * (axis % x.ndim), slice(0, n))
        indices, updates = indices[cut], updates[cut]
        order = np.arange(indices.shape[axis]).reshape(-1, *(1,) * (x.ndim - 1 - axis % x.ndim))
        return np.broadcast_to((order + 1) % n - n * (n > 1), indices.shape).astype(indices.dtype), updates
    return indices.reshape(-1, indices.shape[-1])[:1], updates.reshape(-1, *x.shape[indices.shape[-1] :])[:1]


@pytest.mark.parametrize("op", ["GatherElements", "GatherND", "ScatterElements", "ScatterND"])
def test_every_index_by_itself(op: str) -> None:
    for seed in range(40):
        made, arrays = drawn(op, seed)
        (y,) = run(made, *arrays)
        right = definition(made, *arrays)
        assert y.dtype == right.dtype
        np.testing.assert_allclose(y, right, rtol=1e-5, atol=1e-5, err_msg=str(made))


LARGE: list[tuple[str, dict[str, Any], tuple[int, ...], tuple[int, ...], int]] = [
    ("Gather", {"axis": 0}, (90, 770), (3, 40), 90),
    ("Gather", {"axis": 1}, (7, 60, 130), (90,), 60),
    ("Gather", {"axis": -1}, (300, 60), (400,), 60),
    ("GatherElements", {"axis": 0}, (40, 130), (90, 130), 40),
    ("GatherElements", {"axis": 1}, (9, 40, 13), (9, 55, 13), 40),
    ("GatherElements", {"axis": -1}, (90, 70), (90, 50), 70),
    ("GatherElements", {"axis": 1}, (90, 70), (85, 50), 70),
    ("GatherND", {}, (30, 30, 33), (150, 2), 30),
    ("GatherND", {"batch_dims": 1}, (12, 30, 33), (12, 20, 1), 30),
    ("GatherND", {}, (30, 30, 30), (5000, 3), 30),
]


SCATTERED: list[tuple[str, dict[str, Any], tuple[int, ...], tuple[int, ...], int]] = [
    ("ScatterElements", {"axis": 0}, (40, 130), (90, 130), 40),
    ("ScatterElements", {"axis": 1}, (9, 40, 13), (9, 55, 13), 40),
    ("ScatterElements", {"axis": -1}, (90, 70), (90, 150), 70),
    ("ScatterElements", {"axis": 1}, (90, 70), (85, 50), 70),
    ("ScatterND", {}, (30, 30, 33), (950, 2), 30),
    ("ScatterND", {}, (30, 300), (90, 1), 30),
    ("ScatterND", {}, (12, 12, 12), (5000, 3), 12),
]


def kernels_of(made: Node, *arrays: Array) -> tuple[Moved | None, Array]:
    """The step by kernels, and an output to write."""
    specs = [Spec(each.shape, each.dtype) for each in arrays]
    outputs = OPERATORS[made.op].shape(made, specs)
    step = run_sweep(made, specs, outputs)
    assert step is None or isinstance(step, Moved)
    for kernel in step.kernels if step else ():
        kernel.load()
    return step, np.zeros(outputs[0].shape, outputs[0].dtype)


def check_refusals(step: Moved, out: Array, n: int, arrays: list[Array]) -> None:
    """Where an index is outside nothing is written, and jobs say so that were not asked before."""
    for wrong in (n, -n - 1):
        arrays[1].reshape(-1)[-1], out[...] = wrong, 1
        with pytest.raises(convmat.NetworkError, match=f"there are {n} places: -{n} to {n - 1} are needed"):
            step(*arrays, out)
        assert (out == 1).all()
        held = [*arrays, out]
        blocks = step.jobs(held, 0)
        assert blocks is not None
        for block in blocks:
            thread_pool.launch(ctypes.addressof(block))
        words = [each.outside for each in step.kernels]
        said = [block[word] for block, word in zip(blocks, words, strict=True) if word is not None]
        assert said == [1]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("seed", range(len(LARGE)))
def test_kernels_copy_what_indices_name(seed: int, threads: int) -> None:
    """Elements of every width by indices of both types, some below 0."""
    op, about, shape, places, n = LARGE[seed]
    made, draw = node(op, 13, **about), np.random.default_rng(seed)
    with convmat.threads(threads):
        for dtype in ("bool", "int16", "float32", "float64", "complex128"):
            for kind in ("int32", "int64"):
                x, indices = (
                    draw.standard_normal(shape).astype(dtype),
                    draw.integers(-n, n, places).astype(kind),
                )
                step, out = kernels_of(made, x, indices)
                if step is None:  # indices leave elements out: NumPy
                    assert places[0] == 85
                    continue
                step(x, indices, out)
                assert out.tobytes() == run(made, x, indices)[0].tobytes()
                check_refusals(step, out, n, [x, indices])


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("seed", range(len(SCATTERED)))
def test_kernels_put_where_indices_name(seed: int, threads: int) -> None:
    """Types and reductions, to the bits of one update after the other; many of them of one place."""
    op, about, shape, places, n = SCATTERED[seed]
    draw = np.random.default_rng(seed)
    kinds = ["float32", "float32", "float64", "int8", "uint8", "int32", "uint64"]
    pairs = [*zip(kinds, np.roll([*JOINED, "add", "max"], seed), strict=True)]
    pairs += [("bool", "none"), ("float16", "none"), ("complex128", "none")]
    with convmat.threads(threads), np.errstate(all="ignore"):
        for dtype, how in pairs:
            kind = str(draw.choice(["int32", "int64"]))
            indices = draw.integers(-n, n, places).astype(kind)
            extent = places if op == "ScatterElements" else (*places[:-1], *shape[places[-1] :])
            x, updates = ((draw.standard_normal(each) * 90).astype(dtype) for each in (shape, extent))
            if dtype == "float32":
                x.reshape(-1)[:3], updates.reshape(-1)[::97] = (np.nan, -0.0, np.inf), np.nan
                updates.reshape(-1)[5::89], updates.reshape(-1)[7::83] = -0.0, -np.inf
            made = node(op, 18, axis=about.get("axis", 0), reduction=how)
            step, out = kernels_of(made, x, indices, updates)
            if step is None:  # NumPy
                assert places[0] == 85 or (dtype == "complex128" and op == "ScatterElements")
                continue
            step(x, indices, updates, out)
            right = run(made, x, indices, updates)[0]
            if how in ("min", "max"):
                np.testing.assert_array_equal(out, right)  # of zeros, which is the lesser is not said
            else:
                assert out.tobytes() == right.tobytes()
            check_refusals(step, out, n, [x, indices, updates])


def test_a_row_of_kernels_refuses_indices_outside() -> None:
    """When all of it ran, with the sentence of the node; the calls after it answer as before."""
    whole = model(
        [
            make("Gather", "w i", "rows"),
            make("Exp", "rows", "e"),
            make("ScatterElements", "e j u", "s", axis=1, reduction="add"),
            make("Neg", "s", "y"),
        ],
        {"w": (90, 60), "i": (40,), "j": (40, 30), "u": (40, 30)}, "y", opset=18,
        kinds={"i": TensorProto.INT64, "j": TensorProto.INT64},
    )  # fmt: skip
    net, draw = convmat.load(whole), np.random.default_rng(0)
    given = {"w": normal(90, 60), "i": draw.integers(-90, 90, 40), "j": draw.integers(-60, 60, (40, 30))}
    given["u"] = normal(40, 30)
    scattered = definition(
        node("ScatterElements", axis=1, reduction="add"),
        np.exp(given["w"][given["i"]]),
        given["j"],
        given["u"],
    )
    for threads in (1, 2):
        with convmat.threads(threads):
            for _ in range(2):
                np.testing.assert_allclose(net(given), -scattered, rtol=1e-5, atol=1e-5)
                for name, n, op in (("i", 90, "Gather"), ("j", 60, "ScatterElements")):
                    wrong = {**given, name: given[name].copy()}
                    wrong[name].reshape(-1)[7] = n
                    with pytest.raises(
                        convmat.NetworkError, match=f"{op}.*\n.* to {n}\n  there are {n} places"
                    ):
                        net(wrong)
            program = net._programs.latest
            assert program is not None
            assert len(program.state().work) == 1


def test_sequences_are_turned_by_kernels() -> None:
    """Long enough ones, either axis first, of lengths from 0 to all."""
    draw = np.random.default_rng(0)
    for time, kind in itertools.product((0, 1), ("int32", "int64")):
        x, lengths = normal(*((50, 9), (9, 50))[time], 33), draw.integers(0, 51, 9).astype(kind)
        lengths[:2] = 0, 50
        made = node("ReverseSequence", 10, time_axis=time, batch_axis=1 - time)
        specs, prepare = (
            [Spec.of(x), Spec(lengths.shape, lengths.dtype)],
            OPERATORS["ReverseSequence"].prepare,
        )
        assert prepare is not None
        step, out = prepare(made, specs, (Spec.of(x),), Options()), np.zeros_like(x)
        assert step is not None
        step(x, lengths, out)
        np.testing.assert_array_equal(out, run(made, x, lengths)[0])
        lengths[3], out[...] = 51, 1
        with pytest.raises(convmat.NetworkError, match="0 to 50 are needed"):
            step(x, lengths, out)
        assert (out == 1).all()


@pytest.mark.parametrize("how", [*JOINED])
def test_rows_whose_elements_go_together_are_joined_in_their_order(how: str) -> None:
    """As Expand makes indices: the bits are those of one update after the other, however often a row is named."""
    x, rows = normal(5, 3, 2), np.random.default_rng(0).integers(-5, 5, (40, 1, 1))
    updates = normal(40, 3, 2, seed=1)
    elements = np.ascontiguousarray(np.broadcast_to(rows, updates.shape))
    for op, indices in (("ScatterElements", elements), ("ScatterND", rows.reshape(40, 1))):
        made = node(op, 18, reduction=how)
        right = definition(made, x, indices, updates)
        np.testing.assert_array_equal(run(made, x, indices, updates)[0], right)
        whole = model([make(op, "x i u", "a", reduction=how), make("Neg", "a", "y")],
                      {"x": x.shape, "i": indices.shape, "u": updates.shape}, "y", opset=18,
                      kinds={"i": TensorProto.INT64})  # fmt: skip
        net = convmat.load(whole)
        for _ in range(2):
            np.testing.assert_array_equal(net({"x": x, "i": indices, "u": updates}), -right)


def test_the_first_scatter_is_the_later_one() -> None:
    x, indices, updates = np.zeros((3, 3), np.float32), np.array([[1, 0, 2], [0, 2, 1]]), normal(2, 3)
    for axis in (0, 1):
        found, right = (
            run(node(op, v, axis=axis), x, indices, updates)[0]
            for op, v in (("Scatter", 9), ("ScatterElements", 11))
        )
        np.testing.assert_array_equal(found, right)


def test_maxima_keep_what_is_no_number() -> None:
    x = np.array([1, np.nan, 3], np.float32)
    y = run(
        node("ScatterElements", reduction="max"), x, np.array([0, 1, 2]), np.array([2, 2, np.nan], np.float32)
    )
    np.testing.assert_array_equal(y[0], [2, np.nan, np.nan])


def test_nothing_is_taken() -> None:
    x, none = normal(2, 3), np.zeros((0, 3), np.int64)
    assert run(node("GatherElements"), x, none)[0].shape == (0, 3)
    assert run(node("GatherND"), x, np.zeros((0, 2), np.int64))[0].shape == (0,)
    np.testing.assert_array_equal(run(node("ScatterElements"), x, none, normal(0, 3))[0], x)
    for how in ("none", "add", "mul", "max", "min"):
        made = run(node("ScatterND", reduction=how), x, np.zeros((0, 1), np.int64), normal(0, 3))
        np.testing.assert_array_equal(made[0], x)
        made = run(node("ScatterElements", reduction=how), x, none, normal(0, 3))
        np.testing.assert_array_equal(made[0], x)


def test_indices_outside_are_refused() -> None:
    x, far = normal(2, 3), np.array([[0, 5, 0]])
    beyond = "  its indices are 0 to 5\n  there are 2 places: -2 to 1 are needed"
    assert said(node("GatherElements"), x, far) == beyond
    assert said(node("ScatterElements"), x, far, normal(1, 3)) == beyond
    assert said(node("GatherND"), x, np.array([[0], [5]])) == beyond
    assert said(node("ScatterND"), x, np.array([[0], [5]]), normal(2, 3)) == beyond
    assert said(node("Gather"), x, far) == beyond
    assert said(node("Gather", axis=1), x, np.array(-4)) == (
        "  its indices are -4 to -4\n  there are 3 places: -3 to 2 are needed"
    )
    assert said(node("GatherElements"), x, np.zeros((1, 4), int)) == (
        "  its indices int64[1,4] do not lie within its input, but for its axis\n  float32[2,3]"
    )
    assert said(node("ScatterND", reduction="mean"), x, np.array([[0]]), normal(1, 3)) == (
        "  its reduction is 'mean'\n  there are none, add, mul, max, min"
    )


# -- OneHot, NonZero ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "uint64", "float32", "float64"])
def test_one_of_many_places(dtype: str) -> None:
    values, depths = (
        np.array([2, 5], np.int16),
        (np.array(4), np.array([4.7], np.float32), np.array(4, np.uint8)),
    )
    inside: list[float] = [0, 3, 1, 4, 200] if dtype.startswith("u") else [0, 3, -1, -4, -5, 4, 9]
    if dtype.startswith("f"):
        inside += [1.9, -0.5, -4.5, np.inf, np.nan, 1e30]
    indices = np.array(inside).astype(dtype)
    if dtype == "uint64":
        indices[-1] = 2**64 - 1  # it is not -1
    for axis in (-1, 0, 1):
        for depth in depths:
            (y,) = run(node("OneHot", 11, axis=axis), indices, depth, values)
            right = np.full((len(indices), 4), 2, np.int16)
            for i, at in enumerate(indices.tolist()):
                if -5 < at < 4 and int(at) >= -4:
                    right[i, int(at)] = 5
            np.testing.assert_array_equal(y, right.T if axis == 0 else right)
    (scalar,) = run(node("OneHot", 9), np.array(1).astype(dtype), np.array(3), np.array([False, True]))
    np.testing.assert_array_equal(scalar, [False, True, False])
    many = np.array([0, 200]).astype(dtype)
    assert run(node("OneHot", 11), many, np.array(1000), values)[0].argmax(1).tolist() == [0, 200]


@pytest.mark.parametrize("dtype", ["float32", "bool", "int8", "complex64", "bfloat16", "float16"])
def test_what_is_not_zero(dtype: str) -> None:
    import ml_dtypes

    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    x = (np.arange(24) % 5 > 1).reshape(2, 3, 4).astype(kind)
    (y,) = run(node("NonZero", 13), x)
    assert y.dtype == np.int64
    np.testing.assert_array_equal(y, np.nonzero(np.arange(24).reshape(2, 3, 4) % 5 > 1))
    for value, shape in ((0, (0, 0)), (3, (0, 1))):
        assert run(node("NonZero", 9), np.array(value).astype(kind))[0].shape == shape
    assert run(node("NonZero", 9), x[:0])[0].shape == (3, 0)
    assert run(node("NonZero", 9), np.zeros((2, 2)).astype(kind))[0].shape == (2, 0)


@pytest.mark.slow
@pytest.mark.parametrize("op", ["GatherElements", "GatherND", "ScatterElements", "ScatterND"])
def test_drawn_nodes_beside_onnxruntime(op: str) -> None:
    asked = 0
    for seed in range(400, 440):
        made, arrays = drawn(op, seed)
        theirs = outside(made, *arrays)
        if theirs is not None:
            asked += 1
            np.testing.assert_allclose(
                run(made, *arrays)[0], theirs[0], rtol=1e-4, atol=1e-4, err_msg=str(made)
            )
    assert asked >= 20

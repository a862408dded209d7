"""Convolutions of Dask arrays: lazy, and bit by bit what they are in memory, whatever the chunks."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import convmat
from convmat.chunks import work
from convmat.chunks.work import assemble

da = pytest.importorskip("dask.array")

Array = npt.NDArray[Any]

# Older versions warn of it in a process that has a client, which other tests of the process made.
pytestmark = pytest.mark.filterwarnings("ignore:Running on a single-machine scheduler:UserWarning")


def same_bits(found: Array, expected: Array) -> None:
    """Equal, and of one type and shape; integers compare the bits, NaN and zeros with signs included."""
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)


def normal(*shape: int, dtype: str = "float32", seed: int = 0) -> Array:
    drawn = np.random.default_rng(seed).standard_normal(shape)
    return drawn.astype(dtype)


def test_equal_to_the_result_in_memory() -> None:
    x, w, b = normal(2, 8, 40, 37), normal(6, 8, 3, 3), normal(6)
    lazy = da.from_array(x, chunks=(1, 5, (7, 20, 13), 16))
    y: Any = convmat.conv(lazy, w, b, padding=1, activation="relu")
    assert isinstance(y, da.Array)
    assert y.chunks == ((1, 1), (6,), (7, 20, 13), (16, 16, 5))
    assert (y.dtype, y._meta.shape) == (np.dtype("float32"), (0, 0, 0, 0))
    for scheduler in ("sync", "threads"):
        same_bits(y.compute(scheduler=scheduler), convmat.conv(x, w, b, padding=1, activation="relu"))


def test_blocks_are_written_at_their_places() -> None:
    x, w = normal(1, 4, 512, 512), normal(4, 4, 3, 3)
    y: Any = convmat.conv(da.from_array(x, chunks=(1, 4, 64, 128)), w, padding=1)
    same_bits(y.compute(scheduler="sync"), convmat.conv(x, w, padding=1))
    tracemalloc.start()
    try:
        y.compute(scheduler="sync")
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert y.nbytes < most < 1.5 * y.nbytes  # all blocks and what they are joined in were twice as much
    assert type(y + 1) is da.Array


def test_results_are_lazy_operands() -> None:
    x, w = normal(1, 4, 30, 20), normal(4, 4, 3, 3)
    first: Any = convmat.conv(da.from_array(x, chunks=(1, 4, 10, 20)), w, padding=1)
    second: Any = convmat.conv(first, w, padding=1)
    assert isinstance(second, da.Array)
    same_bits(second.compute(scheduler="sync"), convmat.conv(convmat.conv(x, w, padding=1), w, padding=1))


def test_chunks_without_elements() -> None:
    x, w = normal(2, 4, 30, 20), normal(4, 4, 3, 3)
    lazy = da.from_array(x, chunks=((0, 1, 0, 1), (4, 0), (0, 10, 0, 20), (20,)))
    y: Any = convmat.conv(lazy, w, padding=1)
    assert y.chunks == ((0, 1, 0, 1), (4,), (10, 20), (20,))
    same_bits(y.compute(scheduler="sync"), convmat.conv(x, w, padding=1))
    found: Any = convmat.conv_weight_grad(lazy, y, w.shape, padding=1)
    expected = convmat.conv_weight_grad(x, convmat.conv(x, w, padding=1), w.shape, padding=1)
    np.testing.assert_allclose(found.compute(scheduler="sync"), expected, rtol=1e-5, atol=1e-3)


def test_chunks_of_another_byte_order_and_of_no_arrays() -> None:
    x, w = normal(1, 4, 30, 20), normal(4, 4, 3, 3)
    lazy = da.from_array(x.astype(">f4"), chunks=15)
    y: Any = convmat.conv(lazy, w)
    same_bits(y.compute(scheduler="sync"), convmat.conv(x, w))
    masked = da.ma.masked_greater(da.from_array(x, chunks=15), 1)
    with pytest.raises(convmat.GeometryError) as error:
        convmat.conv(masked, w)
    assert str(error.value) == (
        "conv: the chunks of x are no arrays of NumPy's\n  x has chunks of MaskedArray\n"
        "  say what masked elements count as, da.ma.filled(x, 0)"
    )
    filled: Any = convmat.conv(da.ma.filled(masked, 0), w)
    same_bits(filled.compute(scheduler="sync"), convmat.conv(np.where(x > 1, 0, x), w))


@pytest.mark.parametrize("kinds", [("uint8", "int8"), ("int8", "uint8")])
@pytest.mark.parametrize("call", [convmat.conv, convmat.conv_transpose])
def test_bytes_with_a_sign_and_without(call: Any, kinds: tuple[str, str]) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 120, (2, 4, 12, 10)).astype(kinds[0])
    w = rng.integers(0, 120, (4, 4, 3, 3)).astype(kinds[1])
    zeros: tuple[dict[str, Any], ...] = ({}, {"x_zero_point": 100, "padding": 1})
    for more in zeros:
        expected = call(x, w, **more)
        assert expected.dtype == np.int32
        same_bits(call(da.from_array(x, chunks=(1, 2, 5, 4)), w, **more).compute(), expected)


def test_small_slabs_of_a_chunk_travel_together() -> None:
    x, w = da.ones((1, 4, 60, 60), dtype="float32", chunks=(1, 4, 20, 20)), normal(3, 4, 3, 3)
    y: Any = convmat.conv(x, w, padding=1)
    names = [key[0].partition("-")[0] for key in y.dask if isinstance(key, tuple)]
    assert (names.count("slabs"), names.count("slab"), names.count("conv")) == (9, 0, 9)
    wide = da.ones((1, 1, 2, 4 * 2**20), dtype="float32", chunks=(1, 1, 1, 4 * 2**20))
    tall: Any = convmat.conv(wide, normal(1, 1, 3, 1), padding=((1, 1), (0, 0)))
    assert not [key for key in tall.dask if key[0].startswith("slab")]  # whole chunks: nothing is cut off


@pytest.mark.parametrize("there", [True, False])
def test_slabs_keep_chunks_alive_only_where_these_are_there_anyhow(there: bool) -> None:
    """A chunk may be a part of what its task made, as behind map_overlap; nobody else holds it then."""
    x, w = da.from_array(normal(1, 4, 60, 60), chunks=(1, 4, 20, 20)), normal(3, 4, 3, 3)
    lazy = x if there else x.map_blocks(lambda chunk: np.pad(chunk, 1)[1:-1, 1:-1, 1:-1, 1:-1])
    y: Any = convmat.conv(lazy, w, padding=1)
    keys = [key for key in y.dask if isinstance(key, tuple) and key[0].startswith("slabs-")]
    for parts in da.Array.__dask_scheduler__(y.dask, keys, num_workers=1):
        assert all((part.base is not None) == there for part in parts)


def test_blocks_are_put_together_in_one_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fresh pages can take longer than the products do."""
    x, w, places = normal(1, 4, 200, 300), normal(3, 4, 3, 3), set()

    def told(*given: Any) -> Array:
        made = assemble(*given)
        places.add(made.ctypes.data)
        return made

    monkeypatch.setattr(work, "assemble", told)
    chunked = da.from_array(x, chunks=(1, 4, 25, 300))
    y: Any = convmat.conv(chunked.map_blocks(np.copy), w, padding=1)
    same_bits(y.compute(scheduler="sync"), convmat.conv(x, w, padding=1))
    assert len(places) == 1
    places.clear()
    there: Any = convmat.conv(chunked, w, padding=1)
    da.store(there, kept := np.empty_like(x, shape=there.shape), scheduler="sync")
    same_bits(kept, convmat.conv(x, w, padding=1))
    assert len(places) == 8  # where they lie


def lie_differently(x: Array, how: str) -> Array:
    """The same numbers in memory of another kind."""
    if how == "every second":
        return np.repeat(x, 2, axis=2)[:, :, ::2]
    if how == "turned round":
        return np.ascontiguousarray(x[..., ::-1])[..., ::-1]
    if how == "broadcast":
        return np.broadcast_to(x[:, :, :1], x.shape)
    if how == "a part":
        return np.pad(x, 3)[3:-3, 3:-3, 3:-3, 3:-3]
    return np.asfortranarray(x)


@pytest.mark.parametrize("how", ["every second", "turned round", "broadcast", "a part", "columns"])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("chunks", [(1, 5, 6, 7), (2, 10, 12, 14), (1, 10, 5, 14)])
def test_chunks_that_lie_in_larger_arrays(how: str, layout: str, chunks: tuple[int, ...]) -> None:
    """Read where they lie or copied, with blocks written to their places: always the same bits."""
    x = lie_differently(normal(2, 10, 12, 14), how)
    w, bias = normal(3, x.shape[1 if layout == "NCHW" else 3], 3, 3), normal(3, seed=1)
    with_names: dict[str, Any] = {"padding": 1, "layout": layout, "activation": "relu"}
    residual = convmat.conv(x, w, **with_names)
    lazy: Any = da.from_array(x, chunks=chunks)
    several: tuple[dict[str, Any], ...] = ({}, {"residual": residual})
    for more in several:
        expected = convmat.conv(x, w, bias, **with_names, **more)
        for each in (lazy, lazy.map_blocks(np.copy), lazy.persist(scheduler="sync")):
            made: Any = convmat.conv(each, w, bias, **with_names, **more)
            same_bits(made.compute(scheduler="sync"), expected)
            same_bits(made.compute(scheduler="threads"), expected)
            same_bits(made.persist(scheduler="threads").compute(), expected)


def test_no_scheduler_is_asked_for_what_lies_in_one_array() -> None:
    x, w, told = normal(1, 4, 40, 30), normal(3, 4, 3, 3), list[Any]()
    callback = pytest.importorskip("dask.callbacks").Callback
    made: Any = convmat.conv(da.from_array(x, chunks=(1, 4, 10, 15)), w, padding=1)
    same_bits(made.compute(), convmat.conv(x, w, padding=1))
    with callback(pretask=lambda key, *_: told.append(key)):  # who watches is told
        same_bits(made.compute(), convmat.conv(x, w, padding=1))
    assert len(told) > 8


def _negative_to_zero(y: Any) -> None:
    y[y < 0] = 0


def _one_more(y: Any) -> None:
    np.add(y, 1, out=y)


@pytest.mark.parametrize("change", [_negative_to_zero, _one_more])
@pytest.mark.parametrize("there", [True, False])
def test_results_that_are_changed_in_place(change: Any, there: bool) -> None:
    x, w = normal(2, 3, 20, 20), normal(4, 3, 3, 3)
    chunked = da.from_array(x, chunks=(1, 3, 10, 10))
    y: Any = convmat.conv(chunked if there else chunked + 0, w, padding=1)
    expected = convmat.conv(x, w, padding=1)
    change(y)
    change(expected)
    same_bits(y.compute(), expected)


def test_graphs_with_arrays_of_another_name() -> None:
    x, w = normal(1, 3, 20, 20), normal(4, 3, 3, 3)
    graph = {(name, 0, 0, 0, 0): x * factor for name, factor in (("before", 2), ("x", 1), ("behind", 3))}
    lazy = da.Array(graph, "x", chunks=((1,), (3,), (20,), (20,)), dtype=x.dtype)
    y: Any = convmat.conv(lazy, w, padding=1)
    same_bits(y.compute(), convmat.conv(x, w, padding=1))


@pytest.mark.parametrize("extent", [10, 30])
def test_a_chunk_smaller_than_its_array_says_is_not_read_beyond_its_end(extent: int) -> None:
    x, w = normal(1, 3, 40, 40), normal(4, 3, 3, 3)
    graph = {("x", 0, 0, 0, 0): x[:, :, :extent]}
    lazy = da.Array(graph, "x", chunks=((1,), (3,), (40,), (40,)), dtype=x.dtype)
    y: Any = convmat.conv(lazy, w, padding=1)
    with pytest.raises(ValueError, match="could not broadcast input array"):
        y.compute()


def test_two_worker_processes(workers: Any) -> None:
    x, w = normal(2, 16, 60, 50), normal(24, 16, 3, 3)
    y: Any = convmat.conv(da.from_array(x, chunks=(1, 16, 25, 25)), w, padding=1)
    same_bits(y.compute(scheduler=workers), convmat.conv(x, w, padding=1))


def test_plans_persist_and_xarray() -> None:
    xarray = pytest.importorskip("xarray")
    x, w = normal(2, 4, 30, 20), normal(3, 4, 3, 3)
    lazy = da.from_array(x, chunks=(1, 4, 10, 20))
    expected = convmat.conv(x, w, padding=1)
    y: Any = convmat.conv(lazy, w, padding=1)
    assert y.name == convmat.conv(lazy, w, padding=1).name  # type: ignore[attr-defined]
    same_bits((y.persist() * 2).map_blocks(np.negative).compute(), -2 * expected)
    image = xarray.DataArray(lazy, dims=("b", "c", "i", "j"))
    named = xarray.apply_ufunc(
        lambda each: convmat.conv(each, w, padding=1),
        image,
        input_core_dims=[["b", "c", "i", "j"]],
        output_core_dims=[["b", "o", "i", "j"]],
        dask="allowed",
    )
    assert named.chunks is not None
    same_bits(named.values, expected)
    printed = str(convmat.plan(lazy, w.shape, padding=1))
    assert "chunks: 2x3x1 of y, 1x3x10x20 at most; equal, bit by bit, to the result in memory" in printed


def test_gradients_of_borders_that_repeat_join_chunks_along_space() -> None:
    x, w, dy = normal(2, 4, 20, 18), normal(3, 4, 3, 3), normal(2, 3, 20, 18, seed=1)
    lazy = da.from_array(dy, chunks=(1, 3, 7, 9))
    dx: Any = convmat.conv_input_grad(lazy, w, x.shape, padding=1, padding_mode="reflect")
    same_bits(dx.compute(), convmat.conv_input_grad(dy, w, x.shape, padding=1, padding_mode="reflect"))
    assert dx.chunks == ((1, 1), (4,), (20,), (18,))
    chunked = da.from_array(x, chunks=(1, 4, 7, 9))
    plan: Any = convmat.plan(chunked, w.shape, padding=1, padding_mode="reflect", direction="input")
    assert plan.figures.chunks == (2, 1, 1)
    assert plan.figures.largest == (1, 4, 20, 18)


def test_weight_gradients_of_chunks_too_short_for_the_way_of_the_whole() -> None:
    x, dy = normal(1, 3, 43, 26, dtype="float64"), normal(1, 4, 38, 24, dtype="float64", seed=1)
    chunked = da.from_array(dy, chunks=(1, 4, 4, 2))
    found: Any = convmat.conv_weight_grad(x, chunked, (4, 3, 6, 3), lowering="pieces")
    np.testing.assert_allclose(
        found.compute(scheduler="sync"), convmat.conv_weight_grad(x, dy, (4, 3, 6, 3)), rtol=0, atol=1e-11
    )


@pytest.mark.parametrize("chunks", [9, 5, 1])
def test_borders_wrap_round_the_array_and_no_chunk(chunks: int) -> None:
    """As reported of others' filters of Dask arrays, which wrapped each chunk, or refused those below a window."""
    x = np.arange(1, 10, dtype="float32")
    y: Any = convmat.conv(
        da.from_array(x, chunks=chunks)[None, None],
        np.array([[[1, -1, 0, 1, -1]]], "float32"),
        padding=2,
        padding_mode="wrap",
    )
    expected = np.roll(x, 2) - np.roll(x, 1) + np.roll(x, -1) - np.roll(x, -2)
    same_bits(y.compute(scheduler="sync")[0, 0], expected)


def test_a_filter_larger_than_the_array_and_chunks_of_one_plane() -> None:
    x, w = np.ones((1, 1, 2, 5), "float32"), np.ones((1, 1, 7, 7), "float32")
    y: Any = convmat.conv(da.from_array(x, chunks=1), w, padding=3)
    same_bits(y.compute(scheduler="sync"), np.array([[[[8, 10, 10, 10, 8]] * 2]], "float32"))


def test_what_is_not_known_is_refused() -> None:
    x, w = da.from_array(normal(2, 4, 30, 20), chunks=(1, 4, 10, 20)), normal(3, 4, 3, 3)
    unknown = x[:, :, da.from_array(np.arange(30) > 3, chunks=10)]
    with pytest.raises(convmat.GeometryError, match="unknown sizes"):
        convmat.conv(unknown, w)
    with pytest.raises(convmat.GeometryError, match="takes no out"):
        convmat.conv(x, w, out=np.empty((2, 3, 28, 18), "float32"))
    with pytest.raises(convmat.GeometryError, match="different element types"):
        convmat.conv(x, w.astype("float64"))


@pytest.mark.parametrize("keyword", ["missing", "scale", "w_zero_point"])
def test_what_lazy_arrays_do_not_take_is_refused(keyword: str) -> None:
    lazy, w = da.ones((1, 1, 8, 8), chunks=4, dtype="float32"), np.ones((1, 1, 3, 3), np.float32)
    given: dict[str, Any] = {keyword: "nan" if keyword == "missing" else 1}
    with pytest.raises(convmat.GeometryError) as error:
        convmat.conv(lazy, w, **given)
    assert str(error.value) == (
        f"conv: {keyword}= goes with NumPy's arrays\n  x is a dask.array.core.Array\n"
        f"  give the array, e.g. numpy.asarray(x), or omit {keyword}="
    )
    assert np.isfinite(convmat.conv(np.asarray(lazy), w, missing="nan")).all()

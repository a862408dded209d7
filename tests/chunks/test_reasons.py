"""Whole texts of why networks are not computed tile by tile or block by block, and of what clusters and disks lack."""

from __future__ import annotations

import shutil
import sys
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convmat
from convmat.chunks.files import cluster, stores
from convmat.errors import NetworkError, PlanError
from tests.network.made import model, node, normal

INSTEAD_OF_TILES = (
    "  call the network with the whole image; exact_globals=True takes global pooling in passes of its own, "
    "approximate=True each tile for a whole image"
)
INSTEAD_OF_A_STREAM = "  call the network with the whole signal, or with windows of it"

X = normal(1, 4, 8, 8)


def load(
    *nodes: Any, outputs: str = "y", inputs: Any = None, opset: int = 17, **constants: Any
) -> convmat.Network:
    return convmat.load(model(nodes, inputs or {"x": (1, 4, 8, 8)}, outputs, constants, opset=opset))


TILES = {
    "no constant matrix": (
        load(node("MatMul", "x x", "y")), "MatMul 'MatMul_y'", "multiplies by no constant matrix"
    ),
    "all axes reduced": (load(node("ReduceMean", "x", "y")), "ReduceMean 'ReduceMean_y'", "reduces all axes"),
    "pixels reduced": (
        load(node("ArgMax", "x", "y", axis=3)), "ArgMax 'ArgMax_y'", "reduces pixels",
    ),
    "no rule": (
        load(node("CumSum", "x axis", "y"), axis=np.array(3)),
        "CumSum 'CumSum_y'", "has no rule that says which part of its input it looks at",
    ),
    "ceil_mode": (
        load(node("AveragePool", "x", "y", kernel_shape=[3, 3], strides=[3, 3], ceil_mode=1, count_include_pad=1)),
        "AveragePool 'AveragePool_y'", "counts padding, and its last window reaches beyond that (ceil_mode)",
    ),
    "corners": (
        load(
            node("Resize", "x - scales", "y", mode="linear", coordinate_transformation_mode="align_corners"),
            scales=np.array([1, 1, 2, 2], np.float32),
        ),
        "Resize 'Resize_y'", "takes its coordinates (align_corners) from the whole extent",
    ),
    "no whole number": (
        load(node("Resize", "x - - sizes", "y", mode="linear"), sizes=np.array([1, 4, 12, 12])),
        "Resize 'Resize_y'", "resizes 8 to 12, by no whole number",
    ),
    "shapes known late": (
        load(node("NonZero", "x", "n"), node("Cast", "n", "y", to=1)),
        "NonZero 'NonZero_n'", "makes what is known only when it runs",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TILES)
def test_what_tiles_are_refused_for(name: str) -> None:
    net, who, why = TILES[name]
    with pytest.raises(NetworkError) as error:
        net.tiled(X, tile=3)
    assert str(error.value) == f"tiled: {who} cannot be computed tile by tile\n  it {why}\n{INSTEAD_OF_TILES}"
    assert np.asarray(net(X)).size


S = normal(1, 4, 30)
TIME = {"x": (1, 4, "t")}
TURNS = np.ones((1, 8, 4), np.float32), np.ones((1, 8, 2), np.float32), np.zeros(16, np.float32)

STREAMS = {
    "numbers known late": (
        load(node("NonZero", "x", "n"), node("Cast", "n", "y", to=1), inputs=TIME),
        "NonZero 'NonZero_n'", "makes what is known only when it runs",
    ),
    "a number of the whole": (
        load(
            node("Shape", "x", "n"), node("Cast", "n", "f", to=1), node("Slice", "f two three", "t"),
            node("Div", "x t", "y"),
            inputs=TIME, two=np.array([2]), three=np.array([3]),
        ),
        "Div 'Div_y'", "reads 't', which depends on the extent of the whole",
    ),
    "output_shape": (
        load(node("ConvTranspose", "x w", "y", output_shape=[30]), inputs=TIME, w=normal(4, 2, 3)),
        "ConvTranspose 'ConvTranspose_y'", "has the extent of the whole in its output_shape",
    ),
    "padding that is counted": (
        load(
            node("AveragePool", "x", "y", kernel_shape=[3], strides=[2], ceil_mode=1, count_include_pad=1),
            inputs=TIME,
        ),
        "AveragePool 'AveragePool_y'",
        "counts padding in a last window whose place follows from the extent of the whole",
    ),
    "what does not grow": (
        load(node("Slice", "x zero three two", "y"), inputs=TIME, zero=np.array([0]), three=np.array([3]),
             two=np.array([2])),
        "Slice 'Slice_y'", "makes what does not grow with its input along one axis",
    ),
    "lengths of sequences": (
        load(
            node("Transpose", "x", "t", perm=[2, 0, 1]), node("LSTM", "t w r b n", "y", hidden_size=2),
            inputs=TIME, w=TURNS[0], r=TURNS[1], b=TURNS[2][None], n=np.array([30], np.int32),
        ),
        "LSTM 'LSTM_y'", "has sequence_lens, which say where each sequence of a batch ends",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STREAMS)
def test_what_streams_are_refused_for(name: str) -> None:
    net, who, why = STREAMS[name]
    with pytest.raises(NetworkError) as error:
        net.stream()
    assert (
        str(error.value)
        == f"stream: {who} cannot be computed block by block\n  it {why}\n{INSTEAD_OF_A_STREAM}"
    )
    assert np.asarray(net(S)).size


def test_streams_of_open_extents() -> None:
    net = load(node("Relu", "x", "y"), inputs={"x": (1, "c", "t")})
    with pytest.raises(NetworkError) as error:
        net.stream()
    assert str(error.value) == (
        "stream: the extent of axis 1 is open\n  x: float32 1xcxt\n"
        "  fill it in, e.g. net.with_shapes({'x': (1, 64, 64)}).stream()"
    )
    assert net.with_shapes({"x": (1, 64, 64)}).stream().push(normal(1, 64, 5)).shape == (1, 64, 5)


def test_tiles_need_one_output_with_pixels() -> None:
    net = load(node("Relu", "x", "y"), node("Neg", "x", "z"), outputs="y z")
    with pytest.raises(NetworkError) as error:
        net.tiled(X)
    assert str(error.value) == (
        "tiled: the network has 2 outputs\n  y, z\n"
        "  ask for one, e.g. convmat.load(...) of a file that ends with it"
    )
    assert load(node("Relu", "x", "y")).tiled(X, tile=4).shape == X.shape
    flat = load(node("MatMul", "x w", "y"), inputs={"x": (64, 4)}, w=normal(4, 4))
    with pytest.raises(NetworkError) as error:
        flat.tiled(X.reshape(64, 4))
    assert str(error.value) == (
        "tiled: the output has no pixels\n  it is 64x4\n  call the network with the whole image"
    )
    assert flat(X.reshape(64, 4)).shape == (64, 4)


# -- clusters, disks, packages -------------------------------------------------------------------------------------


def test_no_scheduler_and_workers_that_differ() -> None:
    pytest.importorskip("distributed")
    with pytest.raises(PlanError) as error:
        cluster.client_of("nowhere")
    first, said, fix = str(error.value).splitlines()
    assert (first, fix) == (
        "files: there is no scheduler at nowhere",
        "  start one, `dask scheduler`, and workers, `dask worker nowhere`",
    )
    assert said.strip()
    version, cpu, compiled = cluster.worker_facts()
    for workers, text in (
        ({}, "files: the scheduler has no workers\n  0 workers\n  start some: dask worker tcp://.."),
        (
            {"a": ("old", cpu, compiled)},
            f"files: a worker has another version of convmat\n  a has old, here is {version}\n"
            "  install the same on all workers",
        ),
        (
            {"a": (version, "an 8086", not compiled)},
            f"files: a worker's CPU does not give the bits of this one\n"
            f"  a: an 8086, compiled kernels: {not compiled};  here: {cpu}, {compiled}\n  leave that worker out",
        ),
    ):
        with pytest.raises(PlanError) as error:
            cluster.require_alike(workers)
        assert str(error.value) == text
    cluster.require_alike({"a": cluster.worker_facts()})


def test_a_disk_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    path, shape, dtype = tmp_path / "y.npy", (10, 100), np.dtype(np.float32)
    monkeypatch.setattr(shutil, "disk_usage", lambda where: usage(9, 9, 3999))
    with pytest.raises(PlanError) as error:
        stores.require_room(path, shape, dtype)
    assert str(error.value) == (
        f"files: there is no room for {path}\n  it takes 4,000 bytes, 3,999 are free\n"
        "  write elsewhere, or make room"
    )
    monkeypatch.setattr(shutil, "disk_usage", lambda where: usage(9, 9, 4000))
    stores.require_room(path, shape, dtype)


@pytest.mark.parametrize(
    ("package", "name", "kind"), [("zarr", "x.zarr", "Zarr"), ("tifffile", "x.tif", "TIFF")]
)
def test_packages_that_are_not_there(
    package: str, name: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).mkdir() if name.endswith("zarr") else (tmp_path / name).touch()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(PlanError) as error:
        stores.open_array(tmp_path / name)
    assert str(error.value) == (
        f"files: {kind} needs {package}, which is not installed\n  no module {package}\n"
        "  pip install 'convmat[zarr]'"
    )


def test_lazy_arrays_that_do_not_fit() -> None:
    da = pytest.importorskip("dask.array")
    delayed = pytest.importorskip("dask").delayed
    x, w = np.ones((1, 2, 8, 8), np.float32), np.ones((4, 2, 3, 3), np.float32)
    lazy, dy = da.from_array(x, chunks=(1, 2, 4, 4)), da.ones((1, 4, 6, 6), np.float64)

    def said(call: Any) -> str:
        with pytest.raises(convmat.GeometryError) as error:
            call()
        return str(error.value)

    assert said(lambda: convmat.conv(delayed(np.ones)(3), w)) == (
        "conv: x is a lazy object that is no array\n  x is a Delayed\n"
        "  give a dask.array, e.g. x.to_dask_array(lengths=True)"
    )
    assert said(lambda: convmat.conv_input_grad(dy, w, x.shape)) == (
        "conv_input_grad: dy and w have different element types\n"
        "  dy.dtype = float64, w.dtype = float32\n  convert one, e.g. dy.astype('float32')"
    )
    assert convmat.conv_input_grad(dy.astype("float32"), w, x.shape).shape == x.shape
    assert said(lambda: convmat.conv_weight_grad(lazy, dy, w.shape)) == (
        "conv_weight_grad: x and dy have different element types\n"
        "  x.dtype = float32, dy.dtype = float64\n  convert one, e.g. dy.astype('float32')"
    )
    assert convmat.conv_weight_grad(lazy, dy.astype("float32"), w.shape).shape == w.shape
    assert said(lambda: convmat.conv(lazy, w, residual=np.ones((1, 4, 5, 6), np.float32))) == (
        "conv: residual does not fit the result\n"
        "  residual is 1x4x5x6 of float32, expected 1x4x6x6 of float32\n"
        "  give an array of that shape and type"
    )
    assert convmat.conv(lazy, w, residual=np.ones((1, 4, 6, 6), np.float32)).shape == (1, 4, 6, 6)

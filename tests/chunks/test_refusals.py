"""Files, tiles and lazy arrays: every refusal's whole text, and what it suggests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convmat
from convmat import chunks
from convmat.errors import PlanError
from tests.network.made import model, node
from tests.slips import Slip, hold

ENOUGH = 1 << 31

FILES = {
    "a name that is no array": Slip(
        "open_file('x.csv')",
        "files: x.csv is no array that can be read in pieces\n"
        "  its name ends in '.csv'\n"
        "  give a .npy, .zarr, .tif or .tiff",
        "open_file('x.npy')",
    ),
    "what is being written": Slip(
        "open_file('late.npy')",
        "files: late.npy is still being written\n"
        "  late.npy.part is there\n"
        "  wait for the run that writes it, or finish it with --resume",
        "open_file('x.npy')",
    ),
    "words": Slip(
        "open_file('words.npy')",
        "files: words.npy does not hold numbers\n"
        "  its type is '<U1'\n"
        "  save it as numbers, e.g. array.astype('float32')",
        "open_file('x.npy')",
    ),
    "a group of several arrays": Slip(
        "open_file('several.zarr')",
        "files: several.zarr is a Zarr group of several arrays\n  a, b\n  give one, e.g. several.zarr/a",
        "open_file('several.zarr/a')",
    ),
    "a group of groups": Slip(
        "open_file('deep.zarr')",
        "files: deep.zarr is a Zarr group without arrays of its own\n"
        "  groups: inner\n"
        "  give the path of an array in it, e.g. deep.zarr/inner",
        "open_file('deep.zarr/inner')",
    ),
    "complex numbers for real weights": Slip(
        "open_file('complex.npy')",
        "conv: the file's numbers do not fit the weights' element type\n"
        "  x is complex64, w is float32\n"
        "  save w as complex64",
        "open_file('complex.npy', w.astype('complex64'))",
    ),
    "more digits than the weights have": Slip(
        "open_file('double.npy')",
        "conv: the file's numbers do not fit the weights' element type\n"
        "  x is float64, w is float32\n"
        "  save w as float64",
        "open_file('double.npy', w.astype('float64'))",
    ),
    "integers that 16 bits round": Slip(
        "open_file('short.npy', w.astype('float16'))",
        "conv: the file's numbers do not fit the weights' element type\n"
        "  x is int16, w is float16\n"
        "  save w as float32",
        "open_file('short.npy', w.astype('float32'))",
    ),
    "integers that bytes cut off": Slip(
        "open_file('short.npy', w.astype('int8'))",
        "conv: the file's numbers do not fit the weights' element type\n"
        "  x is int16, w is int8\n"
        "  save w as float32",
        "open_file('short.npy', w.astype('float32'))",
    ),
    "a bias of another extent": Slip(
        "plan_files('x.npy', w, w[:2, 0, 0, 0], {}, 2**31)",
        "conv: bias does not fit the result\n"
        "  bias.shape = (2,), expected (4,)\n"
        "  give an array of that shape",
        "plan_files('x.npy', w, w[:4, 0, 0, 0], {}, 2**31)",
    ),
    "a bias of another type": Slip(
        "plan_files('x.npy', w, w[:, 0, 0, 0].astype('f8'), {}, 2**31)",
        "conv: bias has another element type than the result\n"
        "  bias.dtype = float64, the result is float32\n"
        "  convert it, e.g. bias.astype('float32')",
        "plan_files('x.npy', w, w[:, 0, 0, 0].astype('f8').astype('float32'), {}, 2**31)",
    ),
    "weights of other axes": Slip(
        "open_file('x.npy', w[0, 0])",
        "conv: the file and the weights have different axes\n"
        "  x 1x2x20x20;  w 3x3\n"
        "  x: (B, C, *I) or (C, *I) and w: (O, C//G, *F); or, plain, x: (*I) and w: (*F)",
        "open_file('x.npy', w)",
    ),
    "a result of another kind": Slip(
        "make_file(job, Path('y.png'))",
        "files: results are written as .npy or .zarr\n  out = y.png\n  e.g. y.zarr",
        "make_file(job, Path('y.zarr'))",
    ),
    "nothing to resume": Slip(
        "make_file(job, Path('other.npy'), resume=True)",
        "files: there is nothing to resume at other.npy\n"
        "  no other.npy.manifest and other.npy.part beside it\n"
        "  omit --resume",
        "make_file(job, Path('other.npy'))",
    ),
}

LAZY = {
    "out of a lazy result": Slip(
        "conv(lazy, w, out=np.empty((1, 4, 6, 6), np.float32))",
        "conv: a lazy result is not written yet, and takes no out\n"
        "  out is a ndarray\n"
        "  omit out=, and store the result, e.g. da.store(y, out)",
        "da.store(conv(lazy, w), np.empty((1, 4, 6, 6), np.float32))",
    ),
    "chunks of unknown sizes": Slip(
        "conv(unknown, w)",
        "conv: the chunks of x have unknown sizes\n"
        "  x.chunks = ((nan, nan, nan), (4,), (8,), (8,))\n"
        "  find them out first: x.compute_chunk_sizes()",
        "conv(unknown.compute_chunk_sizes(), w)",
    ),
    "a bias of a lazy result": Slip(
        "conv(lazy, w, w[:2, 0, 0, 0])",
        "conv: bias does not fit the result\n"
        "  bias.shape = (2,), expected (4,)\n"
        "  give an array of that shape",
        "conv(lazy, w, w[:, 0, 0, 0])",
    ),
    "extents of three axes": Slip(
        "net.tiled(x, tile=(2, 2, 2))",
        "tiled: tile is no extent of the output's pixels\n"
        "  tile = (2, 2, 2), the output is 1x4x8x8\n"
        "  a number, one for each of 2 axes, or 'auto'",
        "net.tiled(x, tile=4)",
    ),
    "one array for two inputs": Slip(
        "both.tiled(x)",
        "tiled: the network has 2 inputs, one array was given\n"
        "  inputs: x: float32 1x4x8x8, y: float32 1x4x8x8\n"
        "  give a dict of arrays by name",
        "both.tiled({'x': x, 'y': x})",
    ),
    "two inputs along time": Slip(
        "both.stream()",
        "stream: the network has 2 inputs, one is streamed\n"
        "  inputs: x: float32 1x4x8x8, y: float32 1x4x8x8\n"
        "  make the others constants of the model, or run it by windows of the signal",
        "net.stream()",
    ),
    "an axis that is not there": Slip(
        "net.stream(axis=7)",
        "stream: the input has no axis 7\n"
        "  x: float32 1x4x8x8\n"
        "  say which one grows, net.stream(axis=1), or the shape: net.with_shapes(x=(1, 80, 100))",
        "net.stream(axis=2)",
    ),
}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Names of the calls below, in a folder with files good and bad."""
    zarr, tifffile = pytest.importorskip("zarr"), pytest.importorskip("tifffile")
    monkeypatch.chdir(tmp_path)
    x = np.ones((1, 2, 20, 20), np.float32)
    np.save("x.npy", x)
    np.save("complex.npy", x.astype(np.complex64))
    np.save("double.npy", x.astype(np.float64))
    np.save("short.npy", x.astype(np.int16))
    np.save("words.npy", np.array(["a", "b"]))
    Path("broken.npy").write_text("no array at all")
    Path("broken.tif").write_text("no image at all")
    Path("folder").mkdir()
    Path("x.csv").write_text("1,2")
    Path("late.npy.part").touch()
    for name in ("a", "b"):
        zarr.create_array("several.zarr", name=name, shape=x.shape, dtype="f4")
    zarr.create_group("deep.zarr").create_group("inner").create_array("a", shape=x.shape, dtype="f4")
    w = np.ones((4, 2, 3, 3), np.float32)
    job = chunks.plan_files("x.npy", w, None, {}, ENOUGH)
    return {"w": w, "job": job, "open_file": lambda path, w=w: chunks.plan_files(path, w, None, {}, ENOUGH),
            "make_file": chunks.make_file, "plan_files": chunks.plan_files, "Path": Path,
            "x": x, "zarr": zarr, "tifffile": tifffile}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_files_that_are_refused(name: str, files: dict[str, Any]) -> None:
    hold(FILES[name], **files)


@pytest.mark.parametrize(
    ("name", "kind", "right"),
    [
        ("broken.npy", "a .npy file", "np.save('broken.npy', x)"),
        ("folder", "a Zarr array", "zarr.save_array('folder', x)"),
        ("broken.tif", "a TIFF image", "tifffile.imwrite('broken.tif', x[0])"),
    ],
)
def test_files_that_are_damaged(name: str, kind: str, right: str, files: dict[str, Any]) -> None:
    """The second line is what their library says."""
    with pytest.raises(PlanError) as error:
        files["open_file"](name)
    first, _, last = str(error.value).splitlines()
    assert first == f"files: {name} cannot be read as {kind}"
    assert last.startswith("  save it with ")
    eval(right, {"np": np, **files})
    files["open_file"](name)


@pytest.mark.parametrize("name", LAZY)
def test_lazy_arrays_tiles_and_streams_that_are_refused(name: str) -> None:
    da = pytest.importorskip("dask.array")
    weights = {"w": np.ones((4, 4, 3, 3), np.float32)}
    net = model([node("Conv", "x w", "z", pads=[1, 1, 1, 1])], {"x": (1, 4, 8, 8)}, "z", weights)
    both = model([node("Add", "x y", "z")], {"x": (1, 4, 8, 8), "y": (1, 4, 8, 8)}, "z")
    some = da.from_array(np.array([True, False, True]), chunks=1)
    hold(
        LAZY[name],
        da=da,
        net=convmat.load(net),
        both=convmat.load(both),
        lazy=da.ones((1, 4, 8, 8), chunks=(1, 4, 4, 8), dtype=np.float32),
        unknown=da.ones((3, 4, 8, 8), chunks=(1, 4, 8, 8), dtype=np.float32)[some],
    )

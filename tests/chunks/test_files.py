"""Convolutions from file to file: equal to those in memory, within a number of bytes, stopped and resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import convmat
from convmat import chunks
from convmat.chunks.files import conv
from convmat.chunks.memory import SPARE

Array = npt.NDArray[Any]


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def read(path: Path) -> Array:
    if path.suffix == ".npy":
        return np.asarray(np.load(path))
    zarr = pytest.importorskip("zarr")
    return np.asarray(zarr.open(str(path), mode="r")[...])


@pytest.mark.parametrize("out", ["y.npy", "y.zarr"])
@pytest.mark.parametrize("version", [2, 3])
def test_from_zarr(tmp_path: Path, out: str, version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conv, "anonymous", lambda: 0)
    zarr = pytest.importorskip("zarr")
    x, w = normal(2, 8, 50, 40), normal(6, 8, 3, 3)
    made = zarr.create_array(
        str(tmp_path / "x.zarr"), shape=x.shape, chunks=(1, 4, 16, 40), dtype="f4", zarr_format=version
    )
    made[...] = x
    job = chunks.plan_files(tmp_path / "x.zarr", w, None, {"padding": 1}, SPARE + (400 << 10))
    assert job.count > 1
    chunks.make_file(job, tmp_path / out)
    np.testing.assert_array_equal(read(tmp_path / out), convmat.conv(x, w, padding=1))
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["x.zarr", out])

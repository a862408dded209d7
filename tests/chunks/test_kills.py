"""Kills at random moments: nothing half written, nothing made again that was done, the same bits in the end."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from convmat.chunks.files.manifest import manifest_path

pytest.importorskip("onnx")

Array = npt.NDArray[Any]
SUFFIX = {"npy": ".npy", "zarr": ".zarr", "tiles": ".npy"}


def run(kind: str, out: Path, seconds: float | None, *, resume: bool) -> tuple[bool, float]:
    """Whether a run ended by itself, and how long it took once it had begun. It is killed after so many seconds."""
    words = [kind, str(out.parent), str(out), f"{out}.log", *["--resume"] * resume]
    command = [sys.executable, "-m", "tests.chunks.killed", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        begun = time.monotonic()
        try:
            said = process.communicate(timeout=seconds)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            return False, seconds or 0.0
    assert process.returncode == 0, said
    return True, time.monotonic() - begun


def read(out: Path) -> Array:
    if out.suffix == ".npy":
        return np.array(np.load(out))
    import zarr

    found: Array = np.asarray(zarr.open(str(out), mode="r")[...])
    return found


def require_nothing_twice(log: Path) -> None:
    """No block is begun again whose line the manifest had."""
    done = set()
    for line in log.read_text().splitlines():
        word, _, block = line.partition(" ")
        assert not (word == "c" and block in done)
        if word == "d":
            done.add(block)


def kill(kind: str, folder: Path, kills: int) -> None:
    """So many kills of runs, each gone on with until it is done."""
    np.save(folder / "x.npy", np.random.default_rng(0).standard_normal((1, 3, 256, 192)).astype("float32"))
    whole, chance, killed = folder / f"whole{SUFFIX[kind]}", random.Random(kills), 0
    run(kind, whole, None, resume=False)
    (folder / f"{whole.name}.log").unlink()
    lasts = run(kind, whole, None, resume=False)[1]
    expected = read(whole)
    while killed < kills:
        out, ended = folder / f"y{SUFFIX[kind]}", False
        while not ended and not (out.exists() and not manifest_path(out).exists()):
            ended, _ = run(kind, out, chance.random() * lasts, resume=manifest_path(out).exists())
            killed += not ended
        np.testing.assert_array_equal(read(out), expected)
        require_nothing_twice(folder / f"{out.name}.log")
        assert sorted(each.name for each in folder.glob("y*")) == [out.name, f"{out.name}.log"]
        out.rename(folder / f"done{killed}{SUFFIX[kind]}")
        (folder / f"{out.name}.log").unlink()


def test_a_kill(tmp_path: Path) -> None:
    kill("tiles", tmp_path, 1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", SUFFIX)
def test_a_hundred_kills(kind: str, tmp_path: Path) -> None:
    if kind == "zarr":
        pytest.importorskip("zarr")
    kill(kind, tmp_path, 34)

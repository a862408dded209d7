"""`make bench-scale`: chunks, workers, tiles of a network, and a volume from file to file, beside the result in memory.

Answers are compared, bit by bit, before anything is timed. Ways take turns; figures are medians.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

import convmat

PLANES = 256
"""Of 512 x 512 voxels: what the volume in a file has unless more is asked for."""


EXTENT = 1024
"""Pixels of a side of an image unless more are asked for."""


def median(ways: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median seconds of each way, run in turns."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(each) for name, each in taken.items()}


def in_chunks(rounds: int) -> dict[str, float]:
    """Seconds of a 3x3 convolution of 64 channels: in memory, and in eight chunks, here and on two worker processes."""
    import dask.array as da
    from distributed import Client, LocalCluster

    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 64, 1024, 512), "float32"), rng.standard_normal((64, 64, 3, 3), "float32")
    lazy: Any = convmat.conv(da.from_array(x, chunks=(1, 64, 128, 512)), w, padding=1)
    expected = convmat.conv(x, w, padding=1)
    assert np.array_equal(lazy.compute(scheduler="threads", num_workers=2), expected)
    several: dict[str, Any] = {"scheduler": "threads", "num_workers": 2}
    stored = np.empty_like(expected)
    ways: dict[str, Callable[[], Any]] = {
        "in memory": lambda: convmat.conv(x, w, padding=1),
        "8 chunks, kept as they are": lambda: lazy.persist(**several),
        "8 chunks, stored": lambda: da.store(lazy, stored, lock=False, **several),
        "8 chunks, joined by Dask": lambda: lazy.compute(**several),
    }
    found = median(ways, rounds)
    assert np.array_equal(stored, expected)
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        # The chunks are made where they are used: what is timed is computing, and what the slabs travel. They are four
        # times as large, as they should be where a task costs milliseconds.
        large = (1, 64, 4096, 512)
        there: Any = da.random.default_rng(0).standard_normal(
            large, dtype="float32", chunks=(1, 64, 512, 512)
        )
        there = there.persist()
        result: Any = convmat.conv(there, w, padding=1).sum()
        whole: Any = there.sum()
        client.compute(result).result()
        timed = median(
            {"conv": lambda: client.compute(result).result(), "sum": lambda: client.compute(whole).result()},
            rounds,
        )
        found["8 chunks of 64 MiB, two workers"] = timed["conv"] - timed["sum"]
    x = rng.standard_normal(large, "float32")
    return found | median({"the same in memory": lambda: convmat.conv(x, w, padding=1)}, rounds)


def in_tiles(rounds: int, extent: int) -> dict[str, float]:
    """Seconds of a U-Net on a square image: whole, and in tiles of a quarter of its side and more."""
    from convmat import nn

    net = nn.unet((1, extent, extent), depth=4)
    x = np.random.default_rng(0).standard_normal((1, 1, extent, extent), "float32")
    ways: dict[str, Callable[[], Any]] = {f"U-Net, {extent} x {extent}": lambda: net(x)}
    for tile in (extent // 4, extent // 2):
        np.testing.assert_array_equal(net.tiled(x, tile=tile, same_bits=True), net(x))
        ways[f"in tiles of {tile}"] = partial(net.tiled, x, tile=tile)
    return median(ways, rounds)


def image_in_file(extent: int) -> dict[str, float]:
    """Microseconds a pixel of a U-Net: from file to file in tiles within 2 GiB, and on 2048 x 2048 pixels whole."""
    from convmat import chunks, nn

    side = 2048
    with tempfile.TemporaryDirectory() as folder:
        image = np.lib.format.open_memmap(f"{folder}/x.npy", "w+", "float32", (1, 1, extent, extent))
        for row in range(0, extent, side):
            image[0, 0, row : row + side] = np.random.default_rng(row).random(extent, "float32")
        del image
        net = nn.unet((1, extent, extent), depth=4)
        job = chunks.TileJob(net, Path(f"{folder}/x.npy"), chunks.TileOptions(memory=2 << 30))
        with Watch() as watch:
            done = chunks.make_file(job, f"{folder}/y.npy")
    small, x = nn.unet((1, side, side), depth=4), np.zeros((1, 1, side, side), "float32")
    small(x)
    whole = median({"whole": lambda: small(x)}, 5)["whole"]
    return {
        f"us/pixel: U-Net, {extent}, {job.count} tiles": done.computing / extent**2 * 1e6,
        "us/pixel: with its files": done.seconds / extent**2 * 1e6,
        f"us/pixel: {side}, whole": whole / side**2 * 1e6,
        "U-Net: GiB of anonymous memory": watch.most / 2**30,
    }


def by_others(path: str, w: Any) -> dict[str, float]:
    """Seconds of the same filter over the same file: SciPy over overlapping blocks, and dask_image if it is there."""
    from scipy import ndimage

    volume = np.load(path, mmap_mode="r")
    step = 32

    def blocks() -> None:
        for first in range(0, len(volume), step):
            low, high = max(first - 1, 0), min(first + step + 1, len(volume))
            ndimage.correlate(np.asarray(volume[low:high]), w, mode="constant")[first - low :][:step]

    ways: dict[str, Callable[[], Any]] = {"file: scipy.ndimage, by blocks": blocks}
    try:
        import dask.array as da
        from dask_image import ndfilters
    except ImportError:
        pass
    else:
        lazy = da.from_array(volume, chunks=(step, *volume.shape[1:]))
        several = {"scheduler": "threads", "num_workers": 2}
        made = ndfilters.convolve(lazy, w, mode="constant").map_blocks(_nothing, dtype="float32")
        ways["file: dask_image"] = lambda: made.compute(**several)
    return median(ways, 1)


def _nothing(block: Any) -> Any:
    """A block that nobody keeps."""
    return block[:1, :1, :1]


class Watch:
    """The most anonymous memory that the process has while it is open, looked at from time to time (Linux)."""

    def __enter__(self) -> Watch:
        self.most, self._end = 0, threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def _look(self) -> None:
        while not self._end.wait(0.01):
            lines = Path("/proc/self/status").read_text().splitlines()
            found = [int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon:")]
            self.most = max(self.most, *found)

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


def from_file(planes: int) -> dict[str, float]:
    """Seconds of reading, computing and writing a 3x3x3 filter over a volume in a file, within 1 GiB."""
    from convmat import chunks

    with tempfile.TemporaryDirectory() as folder:
        shape = (planes, 512, 512)
        volume = np.lib.format.open_memmap(f"{folder}/x.npy", "w+", "float32", shape)
        for plane in range(planes):
            volume[plane] = np.random.default_rng(plane).standard_normal(shape[1:], "float32")
        w = np.random.default_rng(0).standard_normal((3, 3, 3), "float32")
        job = chunks.plan_files(f"{folder}/x.npy", w, None, {"padding": 1}, 1 << 30, plain=True)
        with Watch() as watch:
            done = chunks.make_file(job, f"{folder}/y.npy")
        part = convmat.conv(np.asarray(volume[:34])[None, None], w[None, None], padding=1)[0, 0, :33]
        np.testing.assert_array_equal(np.load(f"{folder}/y.npy", mmap_mode="r")[:33], part)
        figures = done.as_dict()
        found = {f"file: {name}": each for name, each in figures.items()}
        found["file: GiB of anonymous memory"] = watch.most / 2**30
        return found | by_others(f"{folder}/x.npy", w)


def main(
    rounds: Annotated[int, typer.Option(help="Rounds in which the ways take turns.")] = 5,
    extent: Annotated[
        int, typer.Option(help="Pixels of a side of the image that a U-Net is given.")
    ] = EXTENT,
    planes: Annotated[int, typer.Option(help="Planes of 512 x 512 voxels in a file.")] = PLANES,
    image: Annotated[
        int, typer.Option(help="Pixels of a side of an image in a file that a U-Net is given; 0: none.")
    ] = 0,
    out: Annotated[Path, typer.Option(help="Where the figures go.")] = Path("out/bench/scale.json"),
) -> None:
    """Time chunks beside the result in memory, on this machine."""
    found = image_in_file(image) if image else {}  # the process is small at first
    found |= from_file(planes) | in_chunks(rounds) | in_tiles(rounds, extent)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(found, indent=2) + "\n")
    for name, seconds in found.items():
        typer.echo(f"{name:32} {seconds:8.3f}")


if __name__ == "__main__":
    typer.run(main)

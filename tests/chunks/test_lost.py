"""Workers and schedulers that are lost midway: what was lost is made again, to the same bits, or said in a sentence."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import convmat
from convmat import chunks
from convmat.chunks.files import conv
from convmat.chunks.memory import SPARE
from convmat.errors import PlanError
from tests.chunks.networks import unet

da = pytest.importorskip("dask.array")
pytest.importorskip("distributed")

Array = npt.NDArray[Any]


def die_once(flag: str) -> None:
    """End this process as a kill does, unless one ended here before."""
    if not Path(flag).exists():
        Path(flag).touch()
        os._exit(1)


class Mortal:
    """A job in whose block `at` a worker dies, once; `seconds` are slept in every block."""

    def __init__(self, job: Any, flag: Path, at: int, seconds: float = 0.0) -> None:
        self.job, self.flag, self.at, self.seconds = job, str(flag), at, seconds

    def __getattr__(self, name: str) -> Any:
        if name == "job" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.job, name)

    def compute(self, block: int, x: Array, threads: int) -> Array:
        if block == self.at:
            die_once(self.flag)
        time.sleep(self.seconds)
        made: Array = self.job.compute(block, x, threads)
        return made


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """That of a convolution in several blocks."""
    monkeypatch.setattr(conv, "anonymous_bytes", lambda: 0)
    np.save(tmp_path / "x.npy", normal(1, 4, 400, 64))
    made = chunks.plan_files(
        tmp_path / "x.npy", normal(4, 4, 3, 3), None, {"padding": 1, "exact": True}, SPARE + (160 << 10)
    )
    assert made.count > 6
    return made


def expected(job: Any) -> Any:
    return convmat.conv(np.load(job.source), job.whole.w, padding=1, exact=True)


def test_a_worker_that_is_lost_with_blocks_of_a_file(
    job: Any, workers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers are in another folder than who asks, and paths are relative here."""
    monkeypatch.chdir(tmp_path)
    address = workers.scheduler.address
    done = chunks.make_file(Mortal(job, tmp_path / "dead", 3), "y.npy", scheduler=address)
    assert (done.blocks, (tmp_path / "dead").exists()) == (job.count, True)
    np.testing.assert_array_equal(np.load("y.npy"), expected(job))
    workers.wait_for_workers(2, timeout=300)


def test_a_worker_that_is_lost_with_tiles_of_a_network(workers: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", normal(1, 3, 64, 80))
    net = unet(integers=False, exact=True)
    tiles = chunks.TileJob(net, tmp_path / "x.npy", chunks.TileOptions(16, 1 << 31))
    chunks.make_file(
        Mortal(tiles, tmp_path / "dead", 5), tmp_path / "y.npy", scheduler=workers.scheduler.address
    )
    assert (tmp_path / "dead").exists()
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), net(np.load(tmp_path / "x.npy")))
    workers.wait_for_workers(2, timeout=300)


def test_a_worker_that_is_lost_with_chunks_of_lazy_arrays(workers: Any, tmp_path: Path) -> None:
    x, w, net = normal(1, 3, 64, 80), normal(4, 3, 3, 3), unet(integers=False, exact=True)

    def mortal(block: Array, block_info: Any = None) -> Array:
        if block_info[0]["chunk-location"][-1] == 2:
            die_once(f"{tmp_path}/{kind}")
        return block

    lazy = da.from_array(x, chunks=(1, 3, 20, 20))
    several: list[tuple[str, Any, Array]] = [
        ("conv", convmat.conv(lazy, w, padding=1, exact=True), convmat.conv(x, w, padding=1, exact=True)),
        ("net", net(lazy), net(x)),
    ]
    for kind, made, whole in several:
        found = made.map_blocks(mortal, dtype="float32").compute(scheduler=workers)
        assert (tmp_path / kind).exists()
        np.testing.assert_array_equal(found, whole)
        workers.wait_for_workers(2, timeout=300)


CLUSTER = """
import time
from distributed import LocalCluster
if __name__ == "__main__":
    cluster = LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0")
    print(cluster.scheduler.address, flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(os.name == "nt", reason="kills a group of processes")
def test_what_is_done_when_the_scheduler_is_lost_stays_done(job: Any, tmp_path: Path) -> None:
    (tmp_path / "cluster.py").write_text(CLUSTER)
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "cluster.py")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as cluster:
        assert cluster.stdout is not None
        address = cluster.stdout.readline().strip()

        def kill(done: int, count: int, left: float) -> None:
            if done == 2:
                os.killpg(cluster.pid, signal.SIGKILL)

        slow, out = Mortal(job, tmp_path / "dead", -1, 0.3), tmp_path / "y.npy"
        with pytest.raises(PlanError) as error:
            chunks.make_file(slow, out, scheduler=address, progress=kill)
    lines = str(error.value).splitlines()
    assert lines[0] == "files: the scheduler or its workers were lost"
    assert lines[2] == "  go on with what is done, here or on other workers: --resume"
    assert chunks.make_file(job, out, resume=True).before >= 2
    np.testing.assert_array_equal(np.load(out), expected(job))


def test_what_a_link_points_at_is_written(job: Any, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    for name in ("y.npy", "y.zarr"):
        (tmp_path / name).symlink_to(tmp_path / "elsewhere" / name)
        for _ in range(2):
            chunks.make_file(job, tmp_path / name)
            assert (tmp_path / name).is_symlink()
    np.testing.assert_array_equal(np.load(tmp_path / "elsewhere" / "y.npy"), expected(job))
    assert sorted(each.name for each in (tmp_path / "elsewhere").iterdir()) == ["y.npy", "y.zarr"]


def test_a_link_that_points_at_itself_gives_way_to_the_file(job: Any, tmp_path: Path) -> None:
    (tmp_path / "y.npy").symlink_to(tmp_path / "y.npy")
    chunks.make_file(job, tmp_path / "y.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), expected(job))

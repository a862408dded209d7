"""Convolutions from file to file: equal to those in memory, within a number of bytes, stopped and resumed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import convmat
from convmat import chunks
from convmat.chunks.files import conv, stream
from convmat.chunks.files.manifest import describe_change, manifest_path
from convmat.chunks.memory import SPARE
from convmat.chunks.tiles.tiler import Tiler
from convmat.errors import GeometryError, PlanError
from convmat.network.preparing import sharing
from convmat.network.preparing.sharing import Arena
from tests.chunks.networks import unet

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
    monkeypatch.setattr(conv, "anonymous_bytes", lambda: 0)
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


@pytest.mark.parametrize("order", ["columns", "rows"])
def test_columns_side_by_side_are_read_as_they_are(
    tmp_path: Path, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks are cut along the axis along which the file is cheaply read."""
    monkeypatch.setattr(conv, "anonymous_bytes", lambda: 0)
    x, w = normal(30, 24, 36), normal(3, 3, 3)
    np.save(tmp_path / "x.npy", np.asfortranarray(x) if order == "columns" else x)
    job = chunks.plan_files(tmp_path / "x.npy", w, None, {"padding": 1}, SPARE + (200 << 10), plain=True)
    assert job.count > 2
    assert [len(cuts) == 2 for cuts in job.cutting.spatial] == [order == "columns", True, order == "rows"]
    chunks.make_file(job, tmp_path / "y.npy")
    expected = convmat.conv(x[None, None], w[None, None], padding=1)[0, 0]
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), expected)


def test_names_of_files_in_capitals_and_none_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("zarr")
    np.save(tmp_path / "x.npy", normal(20, 24))
    (tmp_path / "x.npy").rename(tmp_path / "X.NPY")
    job = chunks.plan_files(tmp_path / "X.NPY", normal(3, 3), None, {}, 1 << 31, plain=True)
    chunks.make_file(job, tmp_path / "y.npy")
    assert read(tmp_path / "y.npy").shape == (18, 22)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PlanError, match="cannot be read as a Zarr array"):
        chunks.plan_files(".", normal(3, 3), None, {}, 1 << 31, plain=True)


@pytest.mark.parametrize(
    "kinds", ["uint8 int8", "int8 uint8", "uint8 float16", "int32 float32", ">f8 float64"]
)
def test_numbers_of_one_type_and_weights_of_another(tmp_path: Path, kinds: str) -> None:
    stored, kind = kinds.split()
    rng = np.random.default_rng(0)
    x = rng.integers(0, 128 if stored == "int8" else 200, (1, 2, 20, 24)).astype(stored)
    w = rng.integers(0 if kind == "uint8" else -2, 3, (3, 2, 3, 3)).astype(kind)
    np.save(tmp_path / "x.npy", x)
    job = chunks.plan_files(tmp_path / "x.npy", w, None, {"padding": 1}, 1 << 31)
    chunks.make_file(job, tmp_path / "y.npy")
    found = np.load(tmp_path / "y.npy")
    assert found.dtype == (np.int32 if kind in ("int8", "uint8") else kind)
    np.testing.assert_array_equal(found, convmat.conv(x.astype("f8"), w.astype("f8"), padding=1))


def test_from_tiff_without_channels(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    x = np.random.default_rng(0).integers(0, 1000, (90, 70)).astype("uint16")
    tifffile.imwrite(tmp_path / "x.tif", x, tile=(32, 32))
    w = normal(3, 3)
    job = chunks.plan_files(
        tmp_path / "x.tif", w, None, {"padding": 1, "padding_mode": "reflect"}, 1 << 31, plain=True
    )
    chunks.make_file(job, tmp_path / "y.npy")
    wide = x.astype("float32")[None, None]
    expected = convmat.conv(wide, w[None, None], padding=1, padding_mode="reflect")[0, 0]
    np.testing.assert_array_equal(read(tmp_path / "y.npy"), expected)


def test_blocks_take_turns_in_the_same_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With memory to spare a volume is still cut, so that reading and writing overlap, and few arrays are new."""
    monkeypatch.setattr(conv, "BLOCK_BYTES", 9 << 10)
    x, w = normal(42, 16, 16), normal(3, 3, 3)
    np.save(tmp_path / "x.npy", x)
    job = chunks.plan_files(tmp_path / "x.npy", w, None, {"padding": 1}, 1 << 31, plain=True)
    assert list(job.cutting.spatial[0]) == [
        0,
        16,
        32,
        42,
    ]  # no fewer than 8 times the 2 planes that are read twice
    made = [job.compute(block, job.read(block), 1).copy() for block in (0, 1, 2, 1)]
    assert [len(slots._free) for slots in job.slots] == [1, 1]
    expected = convmat.conv(x[None, None], w[None, None], padding=1)[0, 0]
    np.testing.assert_array_equal(np.concatenate(made[:3]), expected)
    np.testing.assert_array_equal(made[3], made[1])
    assert chunks.make_file(job, tmp_path / "y.npy").blocks == 3
    np.testing.assert_array_equal(read(tmp_path / "y.npy"), expected)


# -- stopped and resumed ----------------------------------------------------------------------------------------------

SCRIPT = """
import sys, numpy as np
from convmat import chunks
from convmat.chunks import memory
from convmat.chunks.files import conv
conv.anonymous_bytes = lambda: 0
folder, resume = sys.argv[1], sys.argv[2] == "resume"
w, limit = np.load(f"{folder}/w.npy"), memory.SPARE + (1200 << 10)
job = chunks.plan_files(f"{folder}/x.npy", w, None, {"padding": 1, "lowering": "im2col"}, limit)
compute = job.compute
def told(block, x, threads):
    print("block", block, flush=True)
    return compute(block, x, threads)
job.compute = told
done = chunks.make_file(job, f"{folder}/{sys.argv[3]}", resume=resume)
print("done", job.count, done.before, flush=True)
"""


def run_until(folder: Path, out: str, resume: bool, seconds: float | None) -> tuple[int, list[str]]:
    """The script, killed after so long; its exit code and lines."""
    words = [sys.executable, "-c", SCRIPT, str(folder), "resume" if resume else "anew", out]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().strip()]
        if seconds is not None:
            time.sleep(seconds)
            process.kill()
        lines += [line.strip() for line in process.stdout]
        return process.wait(), [line for line in lines if line]


def kill_and_resume(folder: Path, out: str, kills: int, seed: int) -> None:
    """A run that is killed at random moments, and at the end gives what it gives in memory."""
    rng = np.random.default_rng(seed)
    x, w = normal(1, 8, 400, 128), normal(16, 8, 3, 3)
    np.save(folder / "x.npy", x)
    np.save(folder / "w.npy", w)
    finished: set[int] = set()
    code = 1
    for attempt in range(kills + 1):
        begun = manifest_path(folder / out).exists()
        seconds = None if attempt == kills else float(rng.uniform(0, 0.05))
        code, lines = run_until(folder, out, begun, seconds)
        again = {
            int(line.split()[1]) for line in lines if re.fullmatch(r"block \d+", line)
        }  # others are torn
        assert not again & finished  # nothing is made twice
        if code == 0 or (folder / out).exists():
            break  # killed when all was done, perhaps: what has the name of the output is whole
        finished = {int(line) for line in manifest_path(folder / out).read_bytes().split(b"\n")[1:-1]}
    if code == 0:
        assert sorted(p.name for p in folder.iterdir()) == ["w.npy", "x.npy", out]
    # One way of summing is asked for: processes measure what the machine reaches, and a busy one may choose another.
    np.testing.assert_array_equal(read(folder / out), convmat.conv(x, w, padding=1, lowering="im2col"))


def test_killed_and_resumed(tmp_path: Path) -> None:
    kill_and_resume(tmp_path, "y.npy", 2, 0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(34))
def test_killed_again_and_again(tmp_path: Path, seed: int) -> None:
    pytest.importorskip("zarr")
    kill_and_resume(tmp_path, "y.zarr" if seed % 2 else "y.npy", 3, seed)


def test_memory_is_kept(tmp_path: Path) -> None:
    """The peak of anonymous memory of a process that convolves 200 MB."""
    part = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", "float32", (1, 4, 3200, 4096))
    part[..., ::7] = 1.0
    del part
    np.save(tmp_path / "w.npy", normal(4, 4, 3, 3))
    limit = 220
    words = ["convmat", "conv", str(tmp_path / "x.npy"), str(tmp_path / "w.npy"), str(tmp_path / "y.npy")]
    script = (
        "import sys, threading, time, re; from pathlib import Path; from convmat.cli.app import run\n"
        "most = 0\n"
        "def watch():\n"
        "    global most\n"
        "    while True:\n"
        "        most = max(most, int(re.search(r'RssAnon:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]))\n"
        "        time.sleep(0.002)\n"
        "threading.Thread(target=watch, daemon=True).start()\n"
        f"sys.argv = {[*words, '--padding', '1', '--memory', f'{limit}MiB']!r}\n"
        "code = run(); print('most', most // 1024); sys.exit(code)\n"
    )
    if not Path("/proc/self/status").exists():
        pytest.skip("the system does not say how much memory is anonymous")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    blocks, most = (
        re.search(r"^(\d+) blocks", done.stdout, re.MULTILINE),
        re.search(r"most (\d+)", done.stdout),
    )
    assert blocks is not None
    assert most is not None
    assert int(blocks[1]) > 1
    assert int(most[1]) <= limit


# -- bad input --------------------------------------------------------------------------------------------------------


def test_sentences_before_anything_is_written(tmp_path: Path) -> None:
    x, w = tmp_path / "x.npy", normal(4, 2, 3, 3)
    np.save(x, normal(1, 2, 20, 20))
    plan: Any = chunks.plan_files
    with pytest.raises(PlanError, match="there is no"):
        plan(tmp_path / "other.npy", w, None, {}, 1 << 31)
    with pytest.raises(PlanError, match="are enough: --memory"):
        plan(x, w, None, {}, 1000)
    with pytest.raises(GeometryError, match="different axes"):
        plan(x, w[0, 0], None, {}, 1 << 31)
    job = plan(x, w, None, {"padding": 1}, 1 << 31)
    with pytest.raises(PlanError, match="nothing to resume"):
        chunks.make_file(job, tmp_path / "y.npy", resume=True)
    with pytest.raises(PlanError, match=r"written as .npy or .zarr"):
        chunks.make_file(job, tmp_path / "y.png")
    (tmp_path / "z.npy.part").touch()
    with pytest.raises(PlanError, match="still being written"):
        plan(tmp_path / "z.npy", w, None, {}, 1 << 31)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.npy", "z.npy.part"]


def test_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "x.npy", normal(1, 2, 20, 20))
    job = chunks.plan_files(tmp_path / "x.npy", normal(4, 2, 3, 3), None, {}, 1 << 31)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=100))
    with pytest.raises(PlanError, match="there is no room"):
        chunks.make_file(job, tmp_path / "y.npy")
    assert [p.name for p in tmp_path.iterdir()] == ["x.npy"]


def test_stored_chunks_are_decoded_few_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zarr = pytest.importorskip("zarr")
    monkeypatch.setattr("convmat.chunks.files.conv.BLOCK_BYTES", 1 << 12)
    for name, size in (("few", 32), ("many", 2)):
        made = zarr.create_array(
            store=str(tmp_path / f"{name}.zarr"), shape=(64, 64), dtype="float32", chunks=(size, 64)
        )
        made[:] = 1
    counts = [
        chunks.plan_files(
            tmp_path / f"{name}.zarr", normal(3, 3), None, {"padding": 1}, 1 << 31, plain=True
        ).count
        for name in ("few", "many")
    ]
    assert counts == [1, 4]  # blocks of 16 rows; of the chunks of 32 rows each would be read two times


def test_what_two_runs_say_is_told_in_a_line() -> None:
    ways = [{f"node {n}": ["jit", "im2col", "in place"] for n in range(100)}]
    other = [{name: ["jit", "winograd 4", "in place"] for name in ways[0]}]
    assert describe_change("ways", ways, other) == (
        "ways: node 0, ['jit', 'im2col', 'in place'] then, ['jit', 'winograd 4', 'in place'] now; and 99 more"
    )
    assert describe_change("shape", [1, 2], None) == "shape: [1, 2] then, None now"
    assert len(describe_change("cuts", [[*range(1000)]], [[*range(999)]])) < 250


def test_another_run_is_not_resumed(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", normal(1, 2, 20, 20))
    job = chunks.plan_files(tmp_path / "x.npy", normal(4, 2, 3, 3), None, {}, 1 << 31)
    stream.begin(job, tmp_path / "y.npy", resume=False).release()
    other = chunks.plan_files(tmp_path / "x.npy", normal(4, 2, 3, 3, seed=1), None, {}, 1 << 31)
    with pytest.raises(PlanError, match="was begun by another run") as error:
        chunks.make_file(other, tmp_path / "y.npy", resume=True)
    assert str(error.value).endswith(
        f"  say the same again; or delete {tmp_path}/y.npy.manifest to begin anew"
    )
    wider = chunks.plan_files(tmp_path / "x.npy", normal(4, 2, 3, 3), None, {"padding": 1}, 1 << 31)
    with pytest.raises(PlanError, match=r"\n  convolution: '1x2x20x20 .*' then, '.*, padding .*' now\n"):
        chunks.make_file(wider, tmp_path / "y.npy", resume=True)
    with pytest.raises(PlanError, match="did not finish"):
        chunks.make_file(job, tmp_path / "y.npy")
    chunks.make_file(job, tmp_path / "y.npy", resume=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.npy", "y.npy"]


def test_a_network_from_file_to_file(tmp_path: Path) -> None:
    net = unet(exact=True)
    x = np.random.default_rng(0).integers(0, 4, (1, 3, 72, 60)).astype("uint8")
    np.save(tmp_path / "x.npy", x)
    job = chunks.TileJob(net, tmp_path / "x.npy", chunks.TileOptions(32, 1 << 31))
    assert job.count == 6
    chunks.make_file(job, tmp_path / "y.npy")
    np.testing.assert_array_equal(read(tmp_path / "y.npy"), net(x.astype("float32")))


def test_tiles_are_prepared_while_others_are_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the thread that reads; their values lie in memory that is taken once, for the largest of them."""
    net, taken, by = unet(exact=True), list[int](), set[str]()
    find_kind = Tiler._find_kind

    class Noted(Arena):
        def __init__(self, size: int) -> None:
            super().__init__(size)
            taken.append(size)

    def find(self: Tiler, part: Any, output: str) -> Any:
        by.add(threading.current_thread().name)
        return find_kind(self, part, output)

    monkeypatch.setattr(sharing, "Arena", Noted)
    monkeypatch.setattr(Tiler, "_find_kind", find)
    x = normal(1, 3, 96, 128)
    np.save(tmp_path / "x.npy", x)
    job = chunks.TileJob(net, tmp_path / "x.npy", chunks.TileOptions(32, 1 << 31))
    chunks.make_file(job, tmp_path / "y.npy")
    assert len(taken) == 1
    assert len(by) == 1
    assert threading.current_thread().name not in by
    np.testing.assert_array_equal(read(tmp_path / "y.npy"), net.tiled(x, tile=32))
    assert len(taken) == 2  # once for each of the two

"""Runs from file to file that were stopped: by whom they are gone on with, what is kept of them, what is taken away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from convmat import chunks
from convmat.chunks.files import conv, stores, stream
from convmat.chunks.files.manifest import Manifest, manifest_path
from convmat.chunks.memory import SPARE
from convmat.chunks.tiles import passes, tiled
from convmat.errors import PlanError
from tests.chunks.networks import Built, unet

Array = npt.NDArray[Any]
ENOUGH = 1 << 31


def normal(*shape: int) -> Array:
    return np.random.default_rng(0).standard_normal(shape).astype("float32")


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def planned(folder: Path, memory: int = SPARE + (60 << 10), **keywords: Any) -> Any:
    """The job of a convolution in some blocks."""
    if not (folder / "x.npy").exists():
        np.save(folder / "x.npy", normal(1, 4, 200, 16))
    given = {"padding": 1, **keywords}
    return chunks.plan_files(folder / "x.npy", normal(4, 4, 3, 3), None, given, memory)


def stop_after(job: Any, out: Path, blocks: int) -> None:
    """What a run leaves that was killed when so many blocks were done."""
    manifest = stream.begin(job, out, resume=False)
    for block in range(blocks):
        stores.open_part(out).write(job.place(block), job.compute(block, job.read(block), 1))
        manifest.add(block)
    manifest.release()


def whole_result(folder: Path) -> Any:
    """The same in one block."""
    chunks.make_file(planned(folder, ENOUGH), folder / "whole.npy")
    return np.load(folder / "whole.npy")


@pytest.fixture
def unladen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has nothing yet."""
    monkeypatch.setattr(conv, "anonymous_bytes", lambda: 0)


@pytest.mark.usefixtures("unladen")
def test_blocks_are_those_of_the_run_that_is_resumed(tmp_path: Path) -> None:
    first, out = planned(tmp_path), tmp_path / "y.npy"
    assert first.count > 3
    stop_after(first, out, 2)
    more = planned(tmp_path, SPARE + (150 << 10))  # a process that has less already fits larger ones
    assert more.count < first.count
    found = chunks.make_file(more, out, resume=True)
    assert (found.before, found.blocks) == (2, first.count - 2)
    np.testing.assert_array_equal(np.load(out), whole_result(tmp_path))


@pytest.mark.usefixtures("unladen")
def test_blocks_that_no_longer_fit_are_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conv, "SPARE", 0)
    out = tmp_path / "y.npy"
    stop_after(planned(tmp_path, 1 << 20), out, 0)
    with pytest.raises(PlanError, match="nothing runs within so little memory"):
        chunks.make_file(planned(tmp_path, 100 << 10), out, resume=True)
    chunks.make_file(planned(tmp_path, 1 << 20), out, resume=True)


@pytest.mark.usefixtures("unladen")
def test_the_way_is_that_of_the_run_that_is_resumed(tmp_path: Path) -> None:
    """What is quickest was measured, perhaps anew since."""
    out, other = tmp_path / "y.npy", planned(tmp_path, lowering="kn2row")
    stop_after(other, out, 2)
    job = planned(tmp_path)
    assert job.whole.way.lowering != "kn2row"
    other.follow(job.run)
    assert other.whole.way.lowering == "kn2row"  # it was asked for
    chunks.make_file(job, out, resume=True)
    chunks.make_file(planned(tmp_path, lowering="kn2row"), tmp_path / "again.npy")
    np.testing.assert_array_equal(np.load(out), np.load(tmp_path / "again.npy"))


def test_two_runs_do_not_write_one_file(tmp_path: Path) -> None:
    job, out = planned(tmp_path, ENOUGH), tmp_path / "y.npy"
    held = stream.begin(job, out, resume=False)
    for resume in (False, True):
        with pytest.raises(PlanError) as error:
            chunks.make_file(job, out, resume=resume)
        assert str(error.value) == (
            f"files: another run writes {out} now\n  it holds {out}.manifest\n  wait for it, or write elsewhere"
        )
    held.release()
    chunks.make_file(job, out, resume=True)
    assert names(tmp_path) == ["x.npy", "y.npy"]


@pytest.mark.parametrize("kind", ["npy", "zarr"])
def test_whatever_moment_a_run_was_killed_at(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a block, amid the first line, between any two renames."""
    pytest.importorskip("zarr")
    job, out = planned(tmp_path, ENOUGH), tmp_path / f"y.{kind}"
    chunks.make_file(job, out)
    manifest_path(out).write_text('{"conv')
    chunks.make_file(job, out, resume=True)
    steps = (Path, "rename", f".{kind}"), (os, "replace", ".part"), (stores, "_remove", ".old")
    for owner, step, suffix in (*steps, (Manifest, "close", "")):
        real: Any = getattr(owner, step)

        def killed(first: Any, *rest: Any, real: Any = real, suffix: str = suffix) -> Any:
            if not isinstance(first, Path) or first.suffix == suffix:
                raise KeyboardInterrupt
            return real(first, *rest)

        with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
            patch.setattr(owner, step, killed)
            chunks.make_file(job, out)
            assert (step, kind) == ("rename", "npy")  # a file takes another's place at once
        if manifest_path(out).exists():
            chunks.make_file(job, out, resume=True)
        assert names(tmp_path) == ["x.npy", out.name]


def test_what_is_gone_is_said(tmp_path: Path) -> None:
    job, out = planned(tmp_path, ENOUGH), tmp_path / "y.npy"
    stop_after(job, out, 1)
    stores.unfinished_path(out).unlink()
    with pytest.raises(PlanError) as error:
        chunks.make_file(job, out, resume=True)
    assert str(error.value) == (
        f"files: what was written of {out} is gone\n  1 block of it, and no y.npy.part is there\n"
        f"  delete {out}.manifest to begin anew"
    )


def test_nothing_of_another_kind_is_replaced(tmp_path: Path) -> None:
    job = planned(tmp_path, ENOUGH)
    for name, what in (("y.npy", "a folder"), ("y.zarr", "a folder")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.txt").touch()
        with pytest.raises(PlanError) as error:
            chunks.make_file(job, tmp_path / name)
        assert str(error.value) == (
            f"files: {tmp_path / name} is there, and no .{name[2:]}\n  it is {what} of something else\n"
            "  write elsewhere, or take it away"
        )
    assert names(tmp_path) == ["x.npy", "y.npy", "y.zarr"]


# -- passes -----------------------------------------------------------------------------------------------------------


def gated(folder: Path) -> Path:
    np.save(folder / "x.npy", normal(1, 3, 64, 80))
    return folder / "x.npy"


def test_passes_are_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net, x, out = unet(integers=False, squeeze=True), gated(tmp_path), tmp_path / "y.npy"
    options = chunks.TileOptions(32, ENOUGH, exact_globals=True)
    chunks.make_file(chunks.TileJob(net, x, options), tmp_path / "expected.npy")
    computed: list[int] = []

    def told(done: int, count: int) -> None:
        computed.append(done)
        if len(computed) in (2, 4):
            raise KeyboardInterrupt

    for resume in (False, True):
        with pytest.raises(KeyboardInterrupt):
            chunks.make_file(chunks.TileJob(net, x, options, progress=told), out, resume=resume)
        assert "y.npy.passes" in names(tmp_path)
    with pytest.raises(PlanError, match="did not finish"):  # said before a pass is made
        chunks.make_file(chunks.TileJob(net, x, options, progress=told), out)
    chunks.make_file(chunks.TileJob(net, x, options, progress=told), out, resume=True)
    assert computed == 3 * [1, 2, 3, 4, 5, 6]  # three passes, no tile of one twice
    np.testing.assert_array_equal(np.load(out), np.load(tmp_path / "expected.npy"))
    assert names(tmp_path) == ["expected.npy", "x.npy", "y.npy"]


def test_tiles_are_those_of_the_run_that_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiled, "anonymous_bytes", lambda: 0)
    monkeypatch.setattr(tiled, "UNIT", 8)
    net, x, out = unet(integers=False), gated(tmp_path), tmp_path / "y.npy"
    jobs = [chunks.TileJob(net, x, chunks.TileOptions("auto", SPARE + (kib << 10))) for kib in (150, 250)]
    assert jobs[0].count > jobs[1].count
    stop_after(jobs[0], out, 1)
    found = chunks.make_file(jobs[1], out, resume=True)
    assert found.before + found.blocks == jobs[0].count
    np.testing.assert_array_equal(np.load(out), net(np.load(x)))


@pytest.mark.parametrize("loose", ["", "exact_globals", "approximate"])
def test_nodes_run_the_way_of_the_run_that_is_resumed(tmp_path: Path, loose: str) -> None:
    """What is quickest was measured, on another CPU perhaps: bits are those of the run that began."""
    net, x, out = unet(integers=False, squeeze=bool(loose)), gated(tmp_path), tmp_path / "y.npy"
    options = chunks.TileOptions(32, ENOUGH, **dict.fromkeys((loose,) if loose else (), True))
    first, again, plain = (chunks.TileJob(net, x, options) for _ in range(3))
    other = [
        {
            name: ["jit", "winograd 2", "a panel at a time"] if name in ("r1", "r4") else way
            for name, way in ways.items()
        }
        for ways in first.run["ways"]
    ]
    assert other != first.run["ways"]
    for job in (first, again):
        job.follow({**job.run, "ways": other})
        assert job.run["ways"] == other
    first.prepare(tmp_path / "passes")
    stop_after(first, out, 2)
    assert chunks.make_file(plain, out, resume=True).before == 2
    assert plain.run["ways"] == other
    chunks.make_file(again, tmp_path / "again.npy")
    np.testing.assert_array_equal(np.load(out), np.load(tmp_path / "again.npy"))
    chunks.make_file(chunks.TileJob(net, x, options), tmp_path / "own.npy")
    assert (np.load(out) != np.load(tmp_path / "own.npy")).any()


def test_ways_that_nobody_knows_are_another_run(tmp_path: Path) -> None:
    net, x, out = unet(integers=False), gated(tmp_path), tmp_path / "y.npy"
    job = chunks.TileJob(net, x, chunks.TileOptions(32, ENOUGH))
    stop_after(job, out, 1)
    unheard = {name: ["jit", "unheard", "in place"] for name in job.run["ways"][0]}
    several: list[list[dict[str, list[str]]]] = [[], [{}], [unheard]]
    for said in several:
        run = {**job.run, "ways": said}
        manifest_path(out).write_text(f"{json.dumps(run)}\n0\n")
        with pytest.raises(PlanError, match="begun by another run\n  ways: "):
            chunks.make_file(chunks.TileJob(net, x, chunks.TileOptions(32, ENOUGH)), out, resume=True)


def test_another_network_is_another_run(tmp_path: Path) -> None:
    """Nodes of the same names with other attributes, or other options."""
    x, out = gated(tmp_path), tmp_path / "y.npy"
    options, jobs = chunks.TileOptions(32, ENOUGH), []
    for padded in (0, 1):
        n = Built(integers=True)
        n.node("AveragePool", ["x"], "y", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=padded)
        jobs.append(chunks.TileJob(n.load("y", 3), x, options))
    stop_after(jobs[0], out, 1)
    with pytest.raises(PlanError, match="begun by another run\n  network: "):
        chunks.make_file(jobs[1], out, resume=True)
    exact = chunks.TileJob(unet(exact=True), x, options)
    assert exact.run["options"] != jobs[0].run["options"]


def test_what_a_killed_process_left_is_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    script = (
        "import os, sys, tempfile; from pathlib import Path; from convmat.chunks.tiles import passes\n"
        "folder = passes.TemporaryFolder(Path(sys.argv[1])); (folder.path / '1.npy').write_bytes(bytes(2048))\n"
        "print(folder.path.name, flush=True); sys.stdin.read(1); os._exit(1)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        left = tmp_path / process.stdout.readline().strip()
        ours = passes.TemporaryFolder(tmp_path)  # both live
        assert names(tmp_path) == sorted([left.name, ours.path.name])
        process.kill()
    with pytest.warns(UserWarning, match="took away") as warned:
        passes.remove_abandoned(tmp_path)
    assert str(warned[0].message) == f"tiled: took away what a killed run left: {left}, 2 KiB"
    assert names(tmp_path) == [ours.path.name]
    del ours
    assert not names(tmp_path)

"""`convmat info` and `convmat cache`: the machine as convmat sees it."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convmat
from convmat.engine.cpu import host, usable_cores
from convmat.engine.measure import machine
from convmat.engine.runtime import jit_cache
from convmat.errors import EngineError

Run = Callable[..., Any]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A cache of objects that is nobody's."""
    jit_cache.use_folder(tmp_path / "objects")
    yield tmp_path / "objects"
    jit_cache.use_folder(None)


@pytest.fixture
def figures(tmp_path: Path) -> Iterator[None]:
    """Figures of the machine that are forgotten afterwards."""
    machine.use_rates_file(tmp_path / "machine.json")
    yield
    machine.use_rates_file(None)


def test_facts(run: Run) -> None:
    found = run("info", "--no-measure", "--json").json
    assert found["versions"]["convmat"] == convmat.__version__
    assert found["versions"]["numpy"] == np.__version__
    assert found["versions"]["python"] == platform.python_version()
    assert found["cpu"]["vector_bits"] == host().vector_bytes * 8
    assert found["cores"]["allowed"] == usable_cores()
    assert found["cores"]["threads"] == convmat.threads()
    assert found["rates"] == []


def test_facts_for_people(run: Run) -> None:
    out = run("info", "--no-measure").out
    for word in ("CPU", "vectors", "caches", "cores", "BLAS", "versions", "kernels"):
        assert word in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.usefixtures("figures")
def test_rates_are_measured(run: Run) -> None:
    found = run("info", "--json").json
    assert [rates["threads"] for rates in found["rates"]] == sorted({1, int(convmat.threads())})
    for rates in found["rates"]:
        assert all(rate > 1e6 for name, rate in rates.items() if name != "threads")
    out = run("info").out
    assert "NumPy's product" in out
    assert "1 thread" in out


@pytest.mark.usefixtures("figures")
def test_without_kernels_it_says_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(threads: int) -> None:
        raise EngineError("no code can be made executable here\n  mmap: not permitted")

    monkeypatch.setattr(machine, "peaks", refuse)
    found = run("info", "--json").json
    assert found["remarks"][0] == "no kernels can be run here: no code can be made executable here"
    assert all("fma_flops" not in rates for rates in found["rates"])
    assert "no kernels can be run here" in run("info").out


@pytest.mark.usefixtures("figures")
def test_rates_are_measured_again_on_request(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    forgotten = []
    monkeypatch.setattr(machine, "remeasure", lambda: forgotten.append(True))
    monkeypatch.setattr(machine, "peaks", lambda threads: machine.Peaks(threads, lambda name: 1e9))
    run("info", "--json")
    assert not forgotten
    run("info", "--again", "--json")
    assert forgotten == [True]


def test_cache(run: Run, folder: Path) -> None:
    assert run("cache", "info", "--json").json == {
        "path": str(folder),
        "files": 0,
        "bytes": 0,
        "limit": 256 << 20,
        "refused": None,
        "recordings": {"files": 0, "bytes": 0, "limit": 1 << 30},
    }
    jit_cache.recordings().put(bytes(32), b"recorded")
    jit_cache.disk().put(bytes(32), b"code")
    out = run("cache", "info").out
    assert out.startswith("1 kernel, ")
    assert "96 B that networks recorded" in out
    assert str(folder) in out.replace("\n", "")
    assert run("cache", "clear").out == "1 kernel deleted\n"
    assert run("cache", "clear", "--json").json == {"deleted": 0}
    out = run("cache", "info").out
    assert out.startswith("0 kernels, 0 B")
    assert "0 B that networks recorded" in out


def test_a_cache_that_is_not_ours_is_said(run: Run, folder: Path) -> None:
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    with pytest.warns(RuntimeWarning, match="does not keep compiled kernels"):
        out = run("cache", "info").out
    assert "not used: others may write there" in out


def test_cache_alone_shows_its_help(run: Run) -> None:
    out = run("cache").out
    assert "info" in out
    assert "clear" in out

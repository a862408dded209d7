"""`python -m benchmarks`, run in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import convmat
from benchmarks import choices as drawn
from benchmarks import lowerings
from benchmarks.__main__ import commands
from tests.cli.conftest import Done

Run = Callable[..., Done]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`run("choices", ...)`, 80 characters wide unless `width` says more."""
    with convmat.threads(convmat.threads()):

        def invoke(*arguments: str, width: int = 80) -> Done:
            monkeypatch.setenv("COLUMNS", str(width))
            result = CliRunner().invoke(commands, list(arguments))
            if result.exception is not None and not isinstance(result.exception, SystemExit):
                raise result.exception
            return Done(result.exit_code, result.output)

        yield invoke


def test_choices_among_drawn_layers(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = drawn.Layer("1x1", (1, 8, 7, 7), (16, 8, 1, 1), {"padding": 0})
    monkeypatch.setattr(drawn, "draw", lambda seed, number: small)
    arguments = (
        "choices",
        "-n",
        "2",
        "--seconds",
        "0.01",
        "--out",
        str(tmp_path),
        "--wait",
        "-t",
        "1",
    )
    done = run(*arguments, width=120)
    assert done.code == 0
    assert done.out.startswith("2 layers, 1 thread, ")
    assert len(run(*arguments, "--json").out.split('"untuned"')) == 3


@pytest.mark.skipif(find_spec("matplotlib") is None, reason="draws with matplotlib, of the extra bench")
def test_lowerings_along_lines(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lowerings, "LINES", (replace(lowerings.LINES[0], points=(8,)),))
    done = run("lowerings", "--seconds", "0", "--out", str(tmp_path), "--wait", width=500)
    assert done.code == 0
    assert sorted(map(Path, done.out.splitlines())) == sorted(p for p in tmp_path.rglob("*") if p.is_file())
    assert "kn2row" in (tmp_path / "lowerings.json").read_text()


def test_a_package_that_pictures_need_is_asked_for_first(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(lowerings, "run", None)
    done = run("lowerings")
    assert (done.code, done.out) == (
        1,
        "convmat: this command needs matplotlib, which is not installed\n  pip install 'convmat[bench]'\n",
    )

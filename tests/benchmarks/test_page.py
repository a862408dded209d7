"""Tables, page and picture of a run made by hand; and that the page in docs/ is what its data give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import page, plot
from benchmarks.jobs import Job
from benchmarks.results import Entry, Library, Measured, Run
from benchmarks.show import pieces, show
from benchmarks.stats import settle
from benchmarks.tables import Table, remarks, tables
from convmat.cases import LAYERS
from convmat.planner.sampling import Sample
from tests.benchmarks import made

DOCS = Path(__file__).parents[2] / "docs"


def troubled() -> Run:
    """A run in which everything that can go wrong went wrong."""
    run = made.run()
    disturbed = [Sample(1e-3, True)] * 5
    entries = {
        "convmat": Entry(settle(disturbed), 1e-7, 0, samples=tuple(disturbed)),
        "torch eager": Entry(failed="its process was ended by SIGSEGV"),
        "litert": Entry(refused="takes images"),
    }
    peers = {
        **run.peers,
        "onnxruntime": Library("onnxruntime", "", True, None, "no module named onnxruntime"),
    }
    return replace(
        run, measured=[Measured(Job(LAYERS[0].name), entries)], peers=peers, partial="interrupted after 1 of 56",
        machine={**run.machine, "load": 3.0}, peaks={}, startup={},
    )  # fmt: skip


def shown(run: Run, width: int) -> str:
    console = Console(file=StringIO(), width=width)
    show(run, console)
    assert isinstance(console.file, StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n"


def test_the_page(golden: Callable[[str, str], None]) -> None:
    golden("bench-page.md", page.page(made.run().without_samples()))


def test_the_terminal(golden: Callable[[str, str], None]) -> None:
    golden("bench-terminal.txt", shown(made.run(), 160))


def test_trouble_is_told(golden: Callable[[str, str], None]) -> None:
    golden("bench-trouble.txt", shown(troubled(), 100))
    assert len(remarks(troubled())) == 5


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_no_figure_is_cut_off_whatever_the_width(width: int) -> None:
    run = made.run()
    text = shown(run, width)
    figures = [
        cell for table in tables(run) if "goal" not in table.head for row in table.rows for cell in row
    ]
    if width >= 80:
        assert "…" not in text
        assert all(cell in text for cell in figures)


def test_pieces_have_every_column_once() -> None:
    table = Table(
        "t", ("layer", "a", "b", "c d"), [("x", "1", "2", "3"), ("y", "4", "5", "6")], frozenset({(1, 3)})
    )
    parts = list(pieces(table, 13))
    assert [part.head for part in parts] == [("layer", "a"), ("layer", "b"), ("layer", "c d")]
    assert [part.marked for part in parts] == [frozenset(), frozenset(), frozenset({(1, 1)})]
    assert [part.head for part in pieces(table, 80)] == [table.head]


def test_publishing_writes_the_page_and_what_it_is_made_of(tmp_path: Path) -> None:
    run = made.run()
    if find_spec("matplotlib") is None:
        run = replace(run, peaks={})  # without shares of a peak there is nothing to draw
    written = page.publish(run, tmp_path)
    again = Run.from_json((tmp_path / "benchmarks.json").read_text())
    assert (tmp_path / "benchmarks.md").read_text() == page.page(again)
    assert set(written) == set(tmp_path.iterdir())


def test_the_page_in_docs_is_written_not_typed() -> None:
    """Page and data are there together or not at all, and one follows from the other."""
    for name in (page.LAYERS, page.NETWORKS):
        text, data = DOCS / f"{name}.md", DOCS / f"{name}.json"
        assert text.exists() == data.exists()
        if text.exists():
            run = Run.from_json(data.read_text(encoding="utf-8"))
            assert text.read_text(encoding="utf-8") == page.page(run)
            assert run.networks == (name == page.NETWORKS)


@pytest.mark.skipif(find_spec("matplotlib") is None, reason="draws with matplotlib, of the extra bench")
@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_the_picture_is_the_same_each_time(tmp_path: Path, suffix: str) -> None:
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    plot.plot(made.run(), first)
    plot.plot(made.run(), second)
    assert first.read_bytes() == second.read_bytes()
    if suffix == ".svg":
        assert all(layer.name.replace(">", "&gt;") in first.read_text() for layer in LAYERS)


@pytest.mark.skipif(find_spec("matplotlib") is None, reason="draws with matplotlib, of the extra bench")
def test_pictures_lie_on_the_ground_of_their_page(tmp_path: Path) -> None:
    """The page's ground shows through, the text reads on it; by itself a picture is on white."""
    texts = {}
    for dark in (None, False, True):
        plot.plot(made.run(), tmp_path / "a.svg", dark=dark)
        texts[dark] = (tmp_path / "a.svg").read_text()
    assert ["fill: #ffffff" in texts[dark] for dark in (None, False, True)] == [True, False, False]
    assert ["fill: #e5e7eb" in texts[dark] for dark in (None, False, True)] == [False, False, True]
    files = [path.name for path in page.publish(made.run(), tmp_path)]
    assert files == ["benchmarks.md", "benchmarks.json", "benchmarks.svg", "dark-benchmarks.svg"]
    for name, kind in (("benchmarks", "light"), ("dark-benchmarks", "dark")):
        assert f"]({name}.svg#only-{kind})" in (tmp_path / "benchmarks.md").read_text()


def test_nothing_is_drawn_without_a_peak(tmp_path: Path) -> None:
    plot.plot(troubled(), tmp_path / "a.svg")
    assert list(tmp_path.iterdir()) == []

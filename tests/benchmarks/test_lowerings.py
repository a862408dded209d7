"""Lowerings along lines of layers: the lines, one point measured, what is written, and its pictures."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import lowerings, lowerplot
from benchmarks.lowerings import LINES, Figures, Lowerings, Series
from convmat.lowering import ALL

DOCS = Path(__file__).parents[2] / "docs"
WAYS = (("im2col", "jit", 1.0), ("im2col", "blas", 1.5), ("winograd 4", "jit", 0.5), ("fft", "blas", 3.0))


def made_up() -> Lowerings:
    """Every line, with four ways whose figures grow with the point."""
    series = tuple(
        Series(
            line.name,
            line.words,
            tuple(
                Figures(at, name, engine, f"{name}, in place", share * at * 1e-5, at << 10, 512, 1e-7, 4e-7)
                for at in line.points
                for name, engine, share in WAYS
            ),
        )
        for line in LINES
    )
    return Lowerings("A CPU", "2026-01-02T03:04:05+00:00", "0.1.0", series)


def test_the_lines() -> None:
    assert [str(line.layer(line.points[-1])) for line in LINES] == [
        "1x512x28x28 * 512x512x3x3 -> 1x512x28x28, padding (1, 1) (1, 1)",
        "1x32x56x56 * 32x32x15x15 -> 1x32x56x56, padding (7, 7) (7, 7)",
        "1x64x112x112 * 64x64x3x3 -> 1x64x112x112, padding (1, 1) (1, 1)",
    ]
    for line in LINES:
        assert all(line.layer(at).I == line.layer(at).P for at in line.points), "the image keeps its size"


def test_a_point_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each lowering that runs, on each engine, once: its error within the estimate."""
    monkeypatch.setattr(lowerings, "LINES", (replace(LINES[2], points=(7,)),))
    told: list[str] = []
    made = lowerings.run(0.0, told.append)
    assert told == ["3x3, 64 channels: image width 7"]
    [series] = made.series
    ran = [(each.lowering, each.engine) for each in series.figures]
    assert len(ran) == len(set(ran))
    assert {("im2col", "jit"), ("im2col", "blas"), ("winograd 4", "jit"), ("kn2row", "blas")} <= set(ran)
    assert not {"pointwise", "depthwise"} & {name for name, _ in ran}, "they refuse a full 3x3"
    names = [each.name for each in ALL]
    assert [names.index(name) for name, _ in ran] == sorted(names.index(name) for name, _ in ran)
    for each in series.figures:
        assert each.seconds > 0
        assert each.memory >= each.weights > 0
        assert 0 < each.error <= each.estimate
        assert series.along(each.lowering, each.engine) == [each]


def test_what_is_written_is_read_again() -> None:
    assert Lowerings.from_json(made_up().as_json()) == made_up()


@pytest.mark.skipif(find_spec("matplotlib") is None, reason="draws with matplotlib, of the extra bench")
def test_the_pictures(tmp_path: Path) -> None:
    """Named, the same each time, well-formed, with every curve's name, every panel and no ground of their own."""
    written = lowerings.publish(made_up(), tmp_path / "a")
    again = lowerings.publish(made_up(), tmp_path / "b")
    assert [path.read_bytes() for path in written] == [path.read_bytes() for path in again]
    data, *pictures = written
    assert Lowerings.from_json(data.read_text()) == made_up()
    assert [path.name for path in pictures] == [
        f"{ground}lowerings-{name}.svg" for name in ("time", "memory", "error") for ground in ("", "dark-")
    ]
    for path, ground in zip(pictures, 3 * lowerplot.GROUNDS, strict=True):
        text = path.read_text()
        words = [node.text for node in ElementTree.fromstring(text).iter("{http://www.w3.org/2000/svg}text")]
        assert {f"{name} ({engine})" for name, engine, _ in WAYS} <= set(words)
        assert {line.words for line in LINES} | {line.name for line in LINES} <= set(words)
        assert "A CPU, one thread, float32, batch 1; convmat 0.1.0, 2026-01-02" in words
        assert ground.ink in text
        assert "fill: #ffffff" not in text
        assert ("1 ms" in words) == (path.name == f"{ground.prefix}lowerings-time.svg")


def test_the_page_shows_what_was_measured() -> None:
    """The figures in docs/ are those of the lines as they are now, and the page shows every picture, light and dark."""
    made = Lowerings.from_json((DOCS / "lowerings.json").read_text(encoding="utf-8"))
    for line, series in zip(LINES, made.series, strict=True):
        assert (series.name, series.words) == (line.name, line.words)
        assert sorted({each.at for each in series.figures}) == list(line.points)
        assert all(each.error <= each.estimate for each in series.figures)
    page = (DOCS / "lowerings.md").read_text(encoding="utf-8")
    for picture in lowerplot.PICTURES:
        for ground, only in zip(lowerplot.GROUNDS, ("light", "dark"), strict=True):
            name = f"images/{ground.prefix}lowerings-{picture.name}.svg"
            assert (DOCS / name).exists()
            assert f"({name}#only-{only})" in page

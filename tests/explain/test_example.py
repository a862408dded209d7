"""The worked example: every number, by hand."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from rich.console import Console

from convmat.explain.story import example
from convmat.explain.story.example import work_out
from convmat.explain.terminal import example_report

FLAT_KERNEL = [1, 2, 0, 1, 2, 0, 1, 1, 0, 1, 2, -1]

UNROLLED = [
    # channel 0 of x:   1 2 3 / 4 5 6 / 7 8 9
    [1, 2, 4, 5],
    [2, 3, 5, 6],
    [4, 5, 7, 8],
    [5, 6, 8, 9],
    # channel 1:        1 0 1 / 0 2 0 / 1 0 1
    [1, 0, 0, 2],
    [0, 1, 2, 0],
    [0, 2, 1, 0],
    [2, 0, 0, 1],
    # channel 2:        0 1 2 / 2 1 0 / 1 0 3
    [0, 1, 2, 1],
    [1, 2, 1, 0],
    [2, 1, 1, 0],
    [1, 0, 0, 3],
]

PER_CHANNEL = [
    # 1*1+2*2+0*4+1*5, 1*2+2*3+0*5+1*6, 1*4+2*5+0*7+1*8, 1*5+2*6+0*8+1*9
    [10, 14, 22, 26],
    # 2*1+0*0+1*0+1*2, 2*0+0*1+1*2+1*0, 2*0+0*2+1*1+1*0, 2*2+0*0+1*0+1*1
    [4, 2, 1, 5],
    # 0*0+1*1+2*2-1*1, 0*1+1*2+2*1-1*0, 0*2+1*1+2*1-1*0, 0*1+1*0+2*0-1*3
    [4, 4, 3, -3],
]

OUTPUT = [18, 20, 26, 28]


def test_shapes() -> None:
    e = work_out()
    assert (e.x.shape, e.w.shape, e.y.shape) == ((3, 3, 3), (3, 2, 2), (2, 2))
    assert (e.A.shape, e.U.shape, e.Y.shape) == ((1, 12), (12, 4), (1, 4))
    assert e.geometry.y_shape == (1, 1, 2, 2)


def test_every_number() -> None:
    e = work_out()
    assert e.A.tolist() == [FLAT_KERNEL]
    assert e.U.tolist() == UNROLLED
    assert e.per_channel.tolist() == PER_CHANNEL
    assert e.Y.tolist() == [OUTPUT]
    assert e.y.ravel().tolist() == OUTPUT


def test_every_origin() -> None:
    e = work_out()
    for i in range(12):
        c, kr, kc = i // 4, i // 2 % 2, i % 2
        assert e.taps[i].tolist() == [c, kr, kc]
        for j in range(4):
            assert e.origins[i, j].tolist() == [c, j // 2 + kr, j % 2 + kc]
            assert e.U[i, j] == e.x[tuple(e.origins[i, j])]


def test_the_chain_is_equal_link_by_link() -> None:
    e = work_out()
    assert [step.name for step in e.chain] == [
        "convolution, by its definition",
        "2-D dot products",
        "unrolled 1-D dot products",
        "matrix multiplication",
        "convmat.conv",
    ]
    for step in e.chain:
        assert step.values.ravel().tolist() == OUTPUT
    assert e.equal


def test_the_numbers_are_computed() -> None:
    """Other data, other numbers: nothing is typed."""
    rng = np.random.default_rng(1)
    x, w = rng.integers(-4, 5, (2, 4, 5)).astype(float), rng.integers(-4, 5, (2, 3, 2)).astype(float)
    e = work_out(x, w)
    assert e.U.shape == (12, 8)
    assert e.equal
    assert np.array_equal(e.Y.ravel(), e.y.ravel())
    assert all(e.U[i, j] == x[tuple(e.origins[i, j])] for i in range(12) for j in range(8))


def test_a_wrong_link_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(example, "conv", lambda x, w: np.zeros((1, 1, 2, 2)))
    assert not work_out().equal


def test_json() -> None:
    found = json.loads(json.dumps(work_out().as_dict()))
    assert found["A"] == [FLAT_KERNEL]
    assert found["U"] == UNROLLED
    assert found["y"] == [OUTPUT[:2], OUTPUT[2:]]
    assert found["U_origins"][4] == [[1, 0, 0], [1, 0, 1], [1, 1, 0], [1, 1, 1]]
    assert found["equal"] is True


# -- in a terminal ----------------------------------------------------------------------------------------------------


def printed(width: int, colours: bool = False) -> str:
    console = Console(
        file=io.StringIO(), width=width, force_terminal=colours, color_system="standard" if colours else None
    )
    example_report.show(work_out(), console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_page() -> None:
    lines = [line.strip() for line in printed(80).splitlines()]
    assert "A =   1  2  0  1  2  0  1  1  0  1  2 -1" in lines
    cells = [line.split() for line in lines]
    assert ["0", "(0,1,0)", "4", "x(0,1,0)", "5", "x(0,1,1)", "7", "x(0,2,0)", "8", "x(0,2,1)"] in cells
    assert ["-1", "(2,1,1)", "1", "x(2,1,1)", "0", "x(2,1,2)", "0", "x(2,2,1)", "3", "x(2,2,2)"] in cells
    assert ["A", "@", "U", "18", "20", "26", "28"] in cells
    assert "1*1+2*2+0*4+1*5 + 2*1+0*0+1*0+1*2 + 0*0+1*1+2*2-1*1 = 18" in lines
    assert "by channel: 10+4+4 = 18,  14+2+4 = 20,  22+1+3 = 26,  26+5-3 = 28" in lines
    assert lines[-1] == "All equal."


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_it_fits(width: int) -> None:
    out = printed(width)
    assert max(map(len, out.splitlines())) <= width
    assert out.count("x(2,2,2)") == 1


def test_channels_have_colours() -> None:
    out = printed(80, colours=True)
    for code in ("31", "32", "94"):  # red, green, bright blue
        assert f"\x1b[{code}m" in out

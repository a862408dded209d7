"""Layers drawn at random, and how good the choices among their ways are: drawing, going on, summing up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import choices
from benchmarks.choices import Choices, Found, Layer

SMALL = Layer("1x1", (1, 8, 7, 7), (16, 8, 1, 1), {"padding": 0})
Run = Callable[..., Any]


def found(number: int, untuned: str = "jit: b", quick: str = "jit: a") -> Found:
    layer = Layer("3x3", (1, 8, number + 3, 9), (16, 8, 3, 3), {"padding": 1})
    return Found(layer, {"jit: a": 2e-3, "jit: b": 1e-3}, {"jit: a": 1e-3, "jit: b": 1.5e-3}, untuned, quick)


def test_layers_are_those_of_networks_and_always_the_same() -> None:
    layers = [choices.draw(3, number) for number in range(200)]
    assert layers == [choices.draw(3, number) for number in range(200)]
    assert layers != [choices.draw(4, number) for number in range(200)]
    assert {layer.kind for layer in layers} == set(choices.KINDS)
    for layer in layers:
        g = layer.geometry
        assert g.flops <= 2e9
        assert max(g.C * g.I[0] * g.I[1], g.O * g.P[0] * g.P[1]) <= 3_300_000
        assert (g.d != (1, 1)) == (layer.kind == "dilated")
        assert (g.G == g.C) == layer.kind.startswith("depthwise")


def test_a_layer_is_examined() -> None:
    made = choices.examine(SMALL, 1, 0.01)
    assert set(made.measured) <= set(made.predicted)
    assert {made.untuned, made.quick, made.best} <= set(made.measured)
    assert made.loss(made.best) == 1.0
    assert made.loss(made.untuned) >= 1.0


def test_a_run_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Layer] = []

    def examine(layer: Layer, threads: int, seconds: float) -> Found:
        drawn.append(layer)
        return found(len(drawn))

    monkeypatch.setattr(choices, "examine", examine)
    path = tmp_path / "out" / "choices.json"
    heard: list[int] = []
    first = choices.run(path, 1, 2, 3, 0.5, tell=heard.append)
    assert (len(first.found), heard) == (3, [1, 2, 3])
    again = choices.run(path, 1, 2, 5, 0.5)
    assert again.found[:3] == first.found
    assert drawn == [choices.draw(1, number) for number in range(5)]
    assert choices.run(path, 1, 2, 5, 0.5) == again
    assert choices.run(path, 1, 2, 9, 0.5, keep_to=0.0) == again
    assert len(choices.run(path, 1, 1, 1, 0.5).found) == 1, "other threads, other figures"


def test_what_is_written_is_read_again() -> None:
    made = Choices(1, 2, "a CPU", (found(1), found(2)))
    assert Choices.from_json(made.as_json()) == made


def test_summary() -> None:
    made = Choices(1, 1, "a CPU", (found(1), found(2, untuned="jit: a"), found(3, quick="jit: b"), found(4)))
    assert choices.summary(made) == "\n".join(
        [
            "4 layers, 1 thread, a CPU: 25 % of untuned choices within 10 % of the best, 75 % of quickly tuned ones "
            "within 3 %",
            "mean loss: 1.355 untuned, 1.107 quickly tuned",
            "",
            "kind  layers  near  nearer  untuned  quick",
            "3x3        4   25%     75%    1.355  1.107",
            "",
            "lost most, untuned",
            *(
                f"  1.50  3x3: 1x8x{n + 3}x9 * 16x8x3x3 -> 1x16x{n + 3}x9, padding (1, 1) (1, 1);  jit: b 1.5 ms, "
                "best jit: a 1 ms"
                for n in (1, 3, 4)
            ),
        ]
    )
    assert choices.summary(Choices(1, 1, "a CPU")) == "nothing was measured"

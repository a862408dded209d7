"""The page recomputes what Python computes: the same numbers, in node and in the browser."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import numpy as np
import pytest

from convmat.geometry import Geometry
from tests.explain import twins


def by_node(questions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    node = shutil.which("node")
    assert node is not None
    run = subprocess.run(
        [node, str(twins.WEB.parents[4] / "tests/explain/node.mjs"), str(twins.WEB)],
        input=json.dumps(questions),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    answers: list[dict[str, Any]] = json.loads(run.stdout)
    return answers


def by_browser(questions: list[dict[str, Any]], example: Any) -> list[dict[str, Any]]:
    script = f"(questions) => {{ {twins.HARNESS}; return answer(globalThis.convmat, questions); }}"
    # As text: Playwright would turn large numbers and missing values into its own.
    found = example.evaluate(f"(text) => JSON.stringify(({script})(JSON.parse(text)))", json.dumps(questions))
    answers: list[dict[str, Any]] = json.loads(found)
    return answers


def held(answers: list[dict[str, Any]], every: int = 1) -> None:
    """Every answer, or one of so many, is Python's."""
    assert len(twins.geometries()) > 300
    stories = 0
    for g, answer in zip(twins.geometries()[::every], answers, strict=True):
        expected = twins.expected(g)
        assert {name: answer[name] for name in expected} == expected, str(g)
        ways = {way["name"]: (way["refusal"], way["stored"], way["flops"]) for way in answer["ways"]}
        known = twins.expected_ways(g)
        assert {name: ways[name] for name in known} == known, str(g)
        if "y" in answer:
            stories += same_numbers(g, answer)
    assert stories > 1500 // every


def same_numbers(g: Geometry, answer: dict[str, Any]) -> int:
    """All elements of y, dx and dw, of the unrolled input, and of what every story ends with."""
    y, dx, dw = twins.results(g)
    for name, array in (("y", y), ("dx", dx), ("dw", dw)):
        assert answer[name] == array.ravel().tolist(), (name, str(g))
    assert answer["U"] == twins.unrolled(g), str(g)
    for story in answer["stories"]:
        at = f"{story['way']}, {story['pass']}, {g}"
        # Where all that is drawn of x is padding, an input gradient ends with nothing.
        assert story["ends"] or story["pass"] == "input", at
        assert story["sums"], at
        assert story["steps"] > 1, at
        for name, value in story["ends"]:
            assert value == _element(g, story["pass"], name, y, dx, dw), f"{name}: {at}"
    return len(answer["stories"])


def _element(g: Geometry, direction: str, name: str, y: Any, dx: Any, dw: Any) -> float:
    """The element of a name like x[0, 1, 2], of the last image."""
    symbol, _, rest = name.partition("[")
    at = tuple(int(v) for v in rest.strip("])").replace("(", "").replace(")", "").split(", "))
    if direction == "weight":
        return float(dw[at])
    return float((dx if symbol == "x" else y)[(g.B - 1, *at)])


@pytest.mark.node
def test_node_computes_the_same_numbers(slow: bool) -> None:
    """One in three, all with --slow."""
    every = 1 if slow else 3
    held(by_node(twins.questions()[::every]), every)


@pytest.mark.browser
def test_the_browser_computes_the_same_numbers(example: Any, slow: bool) -> None:
    """One in seven where node has more: it is the same engine."""
    every = 1 if slow or shutil.which("node") is None else 7
    held(by_browser(twins.questions()[::every], example), every)


@pytest.mark.node
def test_a_filter_that_is_too_wide_gets_the_same_sentence() -> None:
    wide = Geometry.of((1, 1, 4, 4), (1, 1, 3, 3))
    numbers = {**{name: getattr(wide, name) for name in "BCOGIFsd"}, "lo": (1, 0), "hi": (1, 0), "e": (1, 1)}
    (answer,) = by_node([{"fields": {**numbers, "F": (3, 7)}, "small": False}])
    with pytest.raises(ValueError) as error:
        Geometry.of((1, 1, 4, 4), (1, 1, 3, 7), padding=(1, 0))
    assert answer["error"] == str(error.value)


def test_digits_are_small_and_cover_what_they_may_be() -> None:
    x, w, dy = twins.arrays(Geometry.of((1, 3, 8, 8), (4, 3, 3, 3)))
    assert set(np.unique(x)) == set(range(10))
    assert set(np.unique(w)) == set(np.unique(dy)) == {-2, -1, 0, 1, 2}

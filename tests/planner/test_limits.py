"""Limits are obeyed by choosing within them, or refused with the nearest that would do; and why() says which."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import convmat
from convmat.engine.measure import machine
from convmat.errors import PlanError
from convmat.planner import choices

SHAPES = (1, 32, 24, 24), (32, 32, 3, 3)


def plan(**options: Any) -> convmat.Plan:
    return convmat.plan(*SHAPES, padding=1, **options)


def refused(**options: Any) -> str:
    with pytest.raises(PlanError) as caught:
        plan(**options)
    return str(caught.value)


def ways() -> list[str]:
    return [c.way for c in plan(rtol=1e-3).candidates if c.cost]


def test_weights_are_kept_to_their_limit() -> None:
    every = [c.cost.weight_bytes for c in plan(rtol=1e-3).candidates if c.cost]
    assert max(every) > 2 * min(every), "transformed weights are larger"
    for limit in sorted(set(every)):
        found = plan(rtol=1e-3, weight_limit=limit)
        assert found.weight_bytes <= limit
        assert found.bind(np.ones(SHAPES[1], np.float32)).plan is found
        over = [c for c in found.candidates if c.refusal and "bound weights" in c.refusal]
        assert len(over) == sum(each > limit for each in every)
    assert plan(weight_limit=0, reuse_weights=False).weight_bytes == 0


def test_the_nearest_weight_limit_is_named_and_does() -> None:
    said = refused(weight_limit=100)
    lines = said.splitlines()
    assert lines[:2] == [
        "plan: nothing runs within the weight limit",
        "  1x32x24x24 * 32x32x3x3 -> 1x32x24x24, padding (1, 1) (1, 1), float32;  weight_limit = 100 bytes",
    ]
    least = min(c.cost.weight_bytes for c in plan(rtol=1e-3).candidates if c.cost)
    assert lines[-1] == f"  {least:,} bytes are enough: weight_limit={least}, or None for whatever it takes"
    assert plan(weight_limit=least).weight_bytes == least
    assert f"weight_limit={least}" in refused(weight_limit=least - 1).splitlines()[-1]


def test_two_limits_at_once() -> None:
    said = refused(weight_limit=100, workspace_limit=100, lowering="winograd 2")
    head, problem, *_, fix = said.splitlines()
    assert head == "plan: no way of the lowering 'winograd 2' runs within the limits"
    assert problem.endswith(";  workspace_limit = 100 bytes, weight_limit = 100 bytes")
    words = fix.split()
    assert (words[1], words[3:]) == ("and", ["are", "enough"])
    given = {name: int(value) for name, value in (word.split("=") for word in (words[0], words[2]))}
    assert list(given) == ["workspace_limit", "weight_limit"]
    plan(**given, lowering="winograd 2")
    for name, value in given.items():
        with pytest.raises(PlanError):
            plan(**{**given, name: value - 1}, lowering="winograd 2")


def test_the_nearest_tolerance_is_named_and_does() -> None:
    said = refused(rtol=1e-9, lowering="winograd 4").splitlines()
    assert said[0] == "plan: no way of the lowering 'winograd 4' runs within the tolerance"
    assert said[1].endswith(";  rtol = 1e-09")
    fix = said[-1].split()
    assert fix[1:] == ["is", "enough"]
    rtol = float(fix[0].removeprefix("rtol="))
    assert plan(rtol=rtol, lowering="winograd 4").chosen.cost.error <= rtol  # type: ignore[union-attr]
    assert plan(rtol=1e-9).exact, "the definition's own products are always admitted"


@pytest.mark.parametrize("value", [-1, 1.5, "4MiB", True])
def test_a_weight_limit_is_a_number_of_bytes(value: Any) -> None:
    assert refused(weight_limit=value) == (
        f"plan: weight_limit must be a number of bytes\n  weight_limit = {value!r}\n"
        f"  e.g. weight_limit=16777216, or None"
    )


def test_deterministic_plans_ask_no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    def clock(*arguments: object) -> Any:
        raise AssertionError("something was timed")

    monkeypatch.setattr(machine, "machine", clock)
    monkeypatch.setattr(machine, "peaks", clock)
    monkeypatch.setattr(choices, "lookup", clock)
    for options in ({}, {"dtype": "complex64"}, {"direction": "weight"}, {"exact": True}):
        found = convmat.plan((1, 6, 13, 13), (10, 6, 3, 3), deterministic=True, **options)
        assert found.problem.deterministic
        assert found.chosen.engine == ("blas" if "dtype" in options else "jit")
        assert found.why().splitlines()[-1].startswith("Deterministic: predicted for a nominal machine")


def test_a_blas_of_several_threads_is_left_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    fast = machine.Machine(blas_flops=1e18, copy_bandwidth=1e18)
    monkeypatch.setattr(machine, "machine", lambda threads: fast)
    shapes = (1, 256, 28, 28), (257, 256, 1, 1)
    with convmat.threads(2):
        found = convmat.plan(*shapes)
        quickest = min(
            (c for c in found.candidates if c.cost), key=lambda c: c.cost.seconds if c.cost else 0.0
        )
        assert (found.chosen.engine, quickest.engine) == ("jit", "blas")
        assert found.why().splitlines()[-1] == (
            "On 2 threads a BLAS is left aside where the jit can run: its threads stay awake after a product, "
            "on the cores that the next one needs. engine='blas' asks for it."
        )
        assert convmat.plan(*shapes, engine="blas").chosen.engine == "blas"
    with convmat.threads(1):
        assert convmat.plan(*shapes).chosen.engine == "blas"


def test_deterministic_functions_give_what_others_give() -> None:
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((2, 6, 13, 13), (10, 6, 3, 3)))
    y = convmat.conv(x, w, padding=1, deterministic=True)
    np.testing.assert_allclose(y, convmat.conv(x, w, padding=1), rtol=0, atol=1e-4)
    with convmat.threads(1):
        np.testing.assert_array_equal(y, convmat.conv(x, w, padding=1, deterministic=True))
    one = convmat.conv(x[:1], w, padding=1, deterministic=True)
    np.testing.assert_allclose(y[:1], one, rtol=0, atol=1e-4)
    dx = convmat.conv_input_grad(y, w, x.shape, padding=1, deterministic=True)
    dw = convmat.conv_weight_grad(x, y, w.shape, padding=1, deterministic=True)
    assert (dx.shape, dw.shape) == (x.shape, w.shape)


def test_why_names_what_a_limit_keeps_away() -> None:
    quick = plan(rtol=1e-3)
    assert not quick.exact
    limit = min(c.cost.weight_bytes for c in quick.candidates if c.cost)
    found = plan(rtol=1e-3, weight_limit=limit)
    lines = found.why().splitlines()
    assert lines[0].startswith(f"{found.chosen.name} ({found.chosen.engine}): predicted ")
    away = [line for line in lines if "would admit it." in line]
    assert any(
        line.startswith(f"{quick.chosen.name} (jit): predicted ")
        and f"the limit is {limit:,}; weight_limit={quick.weight_bytes} would admit it." in line
        for line in away
    )


def test_why_speaks_of_every_way_that_can_run() -> None:
    found = plan(rtol=1e-3)
    lines = found.why().splitlines()
    for c in found.candidates:
        if c.cost is not None:
            assert any(line.startswith(f"{c.name} ({c.engine}): ") for line in lines), c.way
        else:
            # Where it is predicted quicker than the chosen way, what would admit it follows.
            said = (f": {c.refusal}.", f", but {c.refusal}; ") if c.beyond else (f": {c.refusal}.",)
            assert any(words in line for line in lines for words in said), c.way
    assert lines[1].startswith("It takes ")
    assert "times fewer than the definition" in lines[1]
    assert any("it multiplies 10.6 MFLOP, not " in line for line in lines)
    assert plan(lowering="kn2row").why().startswith("kn2row, a panel at a time (blas): asked for.\n")

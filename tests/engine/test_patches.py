"""Patches as wide as a vector are packed by transposing squares: equal to the definition, inside their arrays."""

from __future__ import annotations

import numpy as np
import pytest

from convmat.engine import jit
from convmat.engine.cpu import Cpu
from convmat.lowering.im2col import Im2col
from convmat.planner.candidates import dtypes_of, operand_extents
from convmat.product import Packing
from tests.engine.test_direct import TARGETS, Kind, example, fenced, runs_here

KINDS = (
    Kind("patches", (16, 16), G=1, c=3, m=20, s=(16, 16)),
    Kind("patches of one row, further apart", (1, 16), G=2, c=2, m=9, s=(1, 19)),
    Kind("patches in one dimension", (16,), G=1, c=4, m=12, s=(16,)),
    Kind("patches, double", (3, 16), G=1, c=2, m=20, s=(2, 17), dtype="float64"),
    Kind("patches, half", (2, 16), G=1, c=2, m=20, s=(2, 16), dtype="float16"),
)


@pytest.fixture(params=TARGETS)
def cpu(request: pytest.FixtureRequest) -> Cpu:
    """This machine as it is, and as if it had no more than AVX2."""
    return runs_here(request.param)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_equals_the_definition_and_stays_inside(cpu: Cpu, kind: Kind) -> None:
    """Panels that end amid a line of patches, run on across lines, and have lanes to spare."""
    step = kind.s[-1]
    for batch, high, wide in ((1, 1, 1), (2, 3, 5), (1, 4, 14), (1, 2, 37)):
        extents = [(high - 1) * s + f for s, f in zip(kind.s[:-1], kind.F[:-1], strict=True)]
        sizes = batch, (*extents, (wide - 1) * step + 16), ((0, 0),) * len(kind.F)
        problem = kind.problem(sizes)
        made = jit.prepare(
            Im2col().products(problem), Packing.PANEL, dtypes_of(problem), operand_extents(problem), 1 << 24,
            bound=False, threads=1, cpu=cpu,
        )  # fmt: skip
        assert isinstance(made, jit.JitProgram), made
        (plan,) = made.steps
        assert plan.recipe.walk.square or wide == 1
        given = example(kind, sizes)
        for at_end in (True, False):
            np.testing.assert_array_equal(
                fenced(made, given, at_end=at_end), given["y"], f"{sizes}, {at_end=}"
            )

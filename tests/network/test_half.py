"""Half precision between the products: computed in float32, rounded once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from convmat.network.graph import Node, Spec
from convmat.network.ops import OPERATORS, Options, Unknown
from convmat.network.read import read

from .cases import Array, Case, single

HALVES = [np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)]


def ulps(found: Array, wanted: Array) -> float:
    """The largest distance of half precision numbers from float64 ones, in units of their last place."""
    about = ml_dtypes.finfo(found.dtype)
    wanted = wanted.astype(np.float64)
    size = np.maximum(np.abs(wanted), float(about.smallest_normal))
    unit = 2.0 ** np.floor(np.log2(size)) * float(about.eps)
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = wanted.astype(found.dtype).astype(np.float64)
        off = np.abs(found.astype(np.float64) - wanted) / unit
    same = (found.astype(np.float64) == rounded) | (np.isnan(wanted) & np.isnan(found.astype(np.float64)))
    return float(np.where(same, 0, off).max(initial=0))


@cache
def standard_cases() -> dict[str, list[Case]]:
    """The standard's cases of single nodes that read float32, by operator."""
    found: dict[str, list[Case]] = {}
    for case in single(set(OPERATORS) - LEFT_OUT):
        tensors = all(value.type.HasField("tensor_type") for value in case.model.graph.input)
        if tensors and any(array.dtype == np.float32 for array in case.inputs.values()):
            found.setdefault(case.op, []).append(case)
    return found


def narrowed(array: Array, dtype: np.dtype[Any]) -> Array:
    with np.errstate(over="ignore"):
        return array.astype(dtype) if array.dtype == np.float32 else array


def outputs(made: Node, arrays: list[Array | None]) -> Iterator[Array]:
    """Of a step where there is one, of `run` elsewhere."""
    operator, specs = OPERATORS[made.op], [None if a is None else Spec.of(a) for a in arrays]
    moving = [
        None if s is None else Spec(s.shape, s.dtype, s.value if i else None) for i, s in enumerate(specs)
    ]
    try:
        shapes = operator.shape(made, moving)
    except Unknown:
        shapes = ()
    named = [spec for spec, name in zip(shapes, made.outputs, strict=False) if name]
    step = (
        operator.prepare(made, moving, tuple(named), Options(exact=True))
        if operator.prepare and shapes
        else None
    )
    if step is None:
        yield from operator(made, arrays)
        return
    ready = [np.empty(spec.shape, spec.dtype) for spec in named]
    with np.errstate(all="ignore"):
        step(*(a for a in arrays if a is not None), *ready)
    yield from ready


LEFT_OUT = {"Conv", "ConvTranspose"}
"""The engine's own tests hold these."""

KEPT = 3
"""Cases of an operator: some have dozens."""


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_every_operator_rounds_once(dtype: np.dtype[Any]) -> None:
    """On the standard's inputs, narrowed: within a unit in the last place of what float64 gives of the same numbers."""
    wrong = []
    for op, cases in standard_cases().items():
        for case in cases[:KEPT]:
            (made,) = read(case.model.SerializeToString()).nodes
            given = [narrowed(case.inputs[name], dtype) if name else None for name in made.inputs]
            wide = [a if a is None or a.dtype != dtype else a.astype(np.float64) for a in given]
            for found, wanted in zip(outputs(made, given), OPERATORS[op](made, wide), strict=False):
                if found.dtype == dtype and (off := ulps(found, wanted)) > 1:
                    wrong.append(f"{case.name}: {off:.1f} units")
    assert not wrong, "\n".join(wrong)

"""Which kernels of the matrix a quick run compiles: all that differ in more than sizes, once for each element type.

    trait       one field of a recipe and its value, sizes told apart as 0, 1 and more: a branch of what writes kernels
    covering    cases whose kernels have together every trait that the kernels of all cases have

In float32, channels first, they have every two traits as well that some kernel of the tails has together. The other
groups below repeat what these show about sums. The sets are found for vectors of 32 and of 64 bytes; `--slow` takes
all cases. Other tests that run every way of many cases take the same ones: their kernels are there already.
"""

from __future__ import annotations

import dataclasses
import enum
import itertools
from collections.abc import Iterable
from functools import cache
from typing import Any

from convmat import lowering
from convmat.cases import Case, case
from convmat.engine import jit
from convmat.planner.candidates import make_program
from tests.support import PASSES, Way, problem_of

COVERING = {
    "float32 NCHW": (
        "1d/batch-0", "1d/depthwise/tail", "1d/dilated/tail", "1d/transposed/plain", "1d/transposed/tail",
        "2d/1x1/tail", "2d/batch-0", "2d/channels-0", "2d/deep", "2d/depthwise-dilated/tail",
        "2d/depthwise/strided-tail", "2d/depthwise/tail", "2d/filters-0", "2d/first-layer/tail",
        "2d/many-channels", "2d/nothing-but-padding", "2d/one-pixel",
        "2d/padding-beyond-filter/tail", "2d/same-lower/tail", "2d/stride-skips-input", "2d/transposed-batch-0",
        "2d/transposed-depthwise/strided-tail", "2d/transposed-depthwise/tail", "2d/transposed-dilated/tail",
        "2d/transposed-extra/tail", "2d/valid/tail", "2d/whole-image", "2d/wide-image", "3d/1x1x1/tail",
        "3d/3x3x3/tail", "3d/depthwise/tail", "3d/transposed/strided-tail", "3d/transposed/tail", "4d/dense/plain",
        "4d/transposed/tail",
    ),
    "float32 NHWC": (
        "1d/depthwise/tail", "2d/batch-0", "2d/deep", "2d/depthwise-dilated/tail", "2d/first-layer/tail",
        "2d/grouped-narrow/tail", "2d/many-channels", "2d/nothing-but-padding", "2d/one-pixel",
        "2d/transposed-depthwise/tail", "2d/transposed-extra/tail", "3d/1x1x1/tail", "3d/depthwise/tail",
    ),
    "float64": (
        "1d/batch-0", "1d/depthwise/tail", "1d/transposed/tail", "2d/depthwise/tail", "2d/first-layer/tail",
        "2d/many-channels", "2d/nothing-but-padding", "2d/one-pixel", "2d/stride-skips-input",
        "2d/transposed-depthwise/tail", "2d/transposed-extra/tail", "3d/1x1x1/tail", "3d/3x3x3/tail",
        "3d/transposed/tail",
    ),
    "narrow": (
        "2d/deep", "2d/depthwise-dilated/tail", "2d/nothing-but-padding", "2d/one-pixel", "2d/stride-skips-input",
        "2d/transposed-depthwise/tail",
    ),
    "int8": (
        "2d/deep", "2d/depthwise-dilated/tail", "2d/depthwise-multiplier/tail", "2d/one-pixel",
        "2d/one-pixel-padded", "2d/stride-skips-input", "2d/transposed-extra/tail",
    ),
}  # fmt: skip
"""The cases by group."""


def group(dtype: str, layout: str) -> str:
    """The group of an element type and a layout."""
    if dtype in ("int8", "uint8"):
        return "int8"
    return f"float32 {layout}" if dtype == "float32" else dtype if dtype == "float64" else "narrow"


def compiles(each: Case, dtype: str, layout: str) -> bool:
    """Whether a quick run compiles the kernels of a case."""
    return (dtype == "float32" or layout == "NCHW") and each.name in COVERING[group(dtype, layout)]


def covering(dtype: str) -> list[Case]:
    """Cases whose kernels, channels first, a quick run compiles in this element type."""
    return [case(name) for name in COVERING[group(dtype, "NCHW")]]


def traits(recipe: Any) -> set[str]:
    """What a recipe says beside sizes, numbers and element types: a line a field."""
    name = type(recipe).__name__
    found = {name}
    for field in dataclasses.fields(recipe):
        value = getattr(recipe, field.name)
        if value is None or isinstance(value, bool | str | enum.Enum):
            found.add(f"{name}.{field.name} {value}")
        elif isinstance(value, int):
            found.add(f"{name}.{field.name} {min(max(value, -1), 2)}")
        elif isinstance(value, tuple):
            found.add(f"{name}.{field.name} of {min(len(value), 4)}")
        elif dataclasses.is_dataclass(value) and field.name not in ("array", "work", "out"):
            found |= {f"{name}.{field.name} {each}" for each in traits(value)}
    return found


def traits_of(
    combinations: Iterable[tuple[Case, str, str, Way]], together: int = 1, cpu: str = "host"
) -> set[tuple[str, ...]]:
    """The traits of all kernels that these compile, in all three passes: so many of each kernel together.

    `cpu` names the one that kernels are written for now: what was found for it is remembered.
    """
    kernels = {kernel for each in combinations for kernel in _kernels(*each, cpu)}
    return {some for kernel in kernels for some in itertools.combinations(kernel, together)}


@cache
def _kernels(each: Case, dtype: str, layout: str, way: Way, cpu: str) -> tuple[tuple[str, ...], ...]:
    """The traits, in order, of each kernel that a combination compiles."""
    engine, name, packing = way
    taken, found = next(each for each in lowering.ALL if each.name == name), []
    for direction in PASSES:
        problem = problem_of(each, dtype, layout, direction)
        if engine == "jit" and taken.refuses(problem) is None:
            program = make_program(problem, taken, packing, engine)
            if isinstance(program, jit.JitProgram):
                found += [tuple(sorted(traits(step.recipe))) for step in program.steps]
    return tuple(found)

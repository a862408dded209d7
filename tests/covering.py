"""Which kernels of the matrix a quick run compiles: all that differ in more than sizes, once for each element type.

    trait       one field of a recipe and its value, sizes told apart as 0, 1 and more: a branch of what writes kernels
    covering    passes of cases, each one way, whose kernels have together every trait that those of all cases have

In float32, channels first, they have every two traits as well that some kernel of the tails has together, and each
tail is among them; every way is in each of its passes. The other groups below repeat what these show about sums. The
sets are found for vectors of 32 and of 64 bytes (`python -m tests.find_covering`); `--slow` takes all cases. Other
tests that run every way of many cases take the same ones: their kernels are there already.
"""

from __future__ import annotations

import dataclasses
import enum
import itertools
import re
from collections.abc import Iterable
from functools import cache
from typing import Any

from convmat import lowering
from convmat.cases import Case, case
from convmat.engine import jit
from convmat.planner.candidates import make_program
from tests.support import Way, problem_of, way_name

COVERING: dict[str, dict[str, str]] = {
    "float32 NCHW": {
        "1d/1/tail": "pointwise-nothing input",
        "1d/3/tail": "im2col-panel input",
        "1d/batch-0": "im2col-nothing input; im2col-panel weight",
        "1d/depthwise/strided-tail": "im2col-panel input",
        "1d/depthwise/tail": "im2col-panel input weight; pieces-panel weight; winograd 4-panel forward",
        "1d/dilated/tail": "bfloat16-panel forward; im2col-nothing input weight; im2col-panel input weight",
        "1d/long-filter/tail": "im2col-panel input; pieces-panel forward",
        "1d/one-element": "im2col-panel forward",
        "1d/transposed/plain": "bfloat16-panel input",
        "1d/transposed/tail": "bfloat16-panel forward; im2col-panel forward input",
        "2d/1x1/tail": "pointwise-nothing input",
        "2d/1x7/tail": "im2col-panel weight",
        "2d/3x3/tail": "im2col-panel input",
        "2d/asymmetric/tail": "pieces-panel weight",
        "2d/batch-0": "im2col-panel weight",
        "2d/channels-0": "im2col-panel forward",
        "2d/crop/tail": "pieces-panel weight",
        "2d/deep": "bfloat16-panel input; im2col-panel input weight; pointwise-panel forward input",
        "2d/depthwise-dilated/plain": "depthwise-nothing forward",
        "2d/depthwise-dilated/strided-tail": "im2col-panel weight",
        "2d/depthwise-dilated/tail": (
            "depthwise-nothing forward; dots-nothing weight; im2col-nothing weight; im2col-panel input weight"
        ),
        "2d/depthwise-multiplier/tail": "im2col-panel input",
        "2d/depthwise/strided-tail": "depthwise-nothing input; pieces-panel weight",
        "2d/depthwise/tail": "im2col-panel input; pieces-panel weight",
        "2d/dilated-apart/tail": "im2col-panel input",
        "2d/dilated/tail": "im2col-panel input",
        "2d/filters-0": "im2col-panel input",
        "2d/first-layer/tail": "im2col-panel forward input weight; pieces-panel weight",
        "2d/grouped-1x1/strided-tail": "dots-nothing weight",
        "2d/grouped-1x1/tail": "dots-nothing weight; pointwise-panel input",
        "2d/grouped-narrow/tail": "im2col-panel input",
        "2d/grouped/tail": "im2col-panel input",
        "2d/many-channels": (
            "bfloat16-panel input; im2col-nothing forward; im2col-panel input; "
            "winograd 2-panel forward input weight; winograd 6-panel forward input weight"
        ),
        "2d/nothing-but-padding": "pieces-panel weight; winograd 2-panel weight; winograd 4-panel weight",
        "2d/one-pixel": (
            "bfloat16-panel input; depthwise-nothing weight; dots-nothing forward; pointwise-nothing forward; "
            "pointwise-panel weight"
        ),
        "2d/one-pixel-padded": "bfloat16-panel forward; im2col-panel forward weight",
        "2d/padding-beyond-filter/tail": "im2col-panel input; pieces-panel weight; winograd 2-panel input",
        "2d/same-lower/tail": "pieces-panel weight",
        "2d/same/tail": "im2col-panel input",
        "2d/stride-skips-input": "im2col-nothing forward input; im2col-panel input weight",
        "2d/transposed-batch-0": "im2col-nothing forward",
        "2d/transposed-depthwise/strided-tail": "depthwise-nothing forward",
        "2d/transposed-depthwise/tail": "bfloat16-panel input; depthwise-nothing forward; im2col-panel input",
        "2d/transposed-dilated/plain": "im2col-panel forward; pieces-panel input",
        "2d/transposed-dilated/tail": "im2col-nothing forward; im2col-panel input weight",
        "2d/transposed-extra/tail": "bfloat16-panel forward; dots-nothing input; im2col-panel forward weight",
        "2d/transposed-gaps/tail": "im2col-panel weight",
        "2d/transposed/tail": "im2col-panel input",
        "2d/valid/tail": "im2col-panel weight",
        "2d/whole-image": "im2col-nothing weight; pointwise-nothing weight; pointwise-panel weight",
        "2d/wide-image": (
            "bfloat16-panel forward input; dots-nothing weight; pieces-panel weight; winograd 2-panel input"
        ),
        "3d/1x1x1/tail": "im2col-nothing input; im2col-panel input weight; pointwise-nothing input",
        "3d/3x3x3/tail": "im2col-panel input",
        "3d/depthwise/plain": "depthwise-nothing forward",
        "3d/depthwise/tail": "depthwise-nothing forward input; im2col-panel input weight; winograd 4-panel input",
        "3d/grouped/strided-tail": "im2col-panel weight",
        "3d/grouped/tail": "im2col-panel weight",
        "3d/transposed/strided-tail": "im2col-panel weight",
        "3d/transposed/tail": "bfloat16-panel forward; im2col-nothing input; im2col-panel forward input",
        "4d/dense/plain": "im2col-nothing forward; im2col-panel input weight",
        "4d/dense/tail": "im2col-panel input",
        "4d/transposed/tail": "im2col-panel weight",
    },
    "float32 NHWC": {
        "1d/3/tail": "im2col-panel input; winograd 6-panel input",
        "1d/depthwise/tail": "im2col-nothing forward; pieces-panel weight",
        "2d/deep": "bfloat16-panel input; pointwise-panel input",
        "2d/depthwise-dilated/tail": "im2col-nothing input",
        "2d/depthwise/tail": "im2col-panel weight; pieces-panel weight",
        "2d/first-layer/tail": "pieces-panel weight",
        "2d/grouped-narrow/tail": "im2col-nothing forward",
        "2d/many-channels": "winograd 2-panel forward input; winograd 4-panel forward; winograd 6-panel forward",
        "2d/nothing-but-padding": "pieces-panel weight",
        "2d/one-pixel": (
            "bfloat16-panel input; depthwise-nothing input weight; dots-nothing forward input weight; "
            "im2col-nothing weight; pointwise-nothing forward input weight; pointwise-panel forward weight"
        ),
        "2d/transposed-batch-0": "im2col-panel weight",
        "2d/transposed-depthwise/tail": "im2col-nothing input",
        "2d/transposed-extra/tail": "bfloat16-panel forward",
        "2d/transposed-gaps/tail": "im2col-panel forward",
        "3d/1x1x1/tail": "im2col-panel input",
        "3d/depthwise/tail": "depthwise-nothing forward; im2col-panel input weight; winograd 2-panel input",
        "3d/transposed/tail": "bfloat16-panel forward",
        "4d/dense/tail": "winograd 4-panel input",
    },
    "float64": {
        "1d/3/tail": "winograd 6-panel input",
        "1d/batch-0": "im2col-nothing input",
        "1d/depthwise/tail": "im2col-panel input weight; pieces-panel weight",
        "1d/long-filter/tail": "pieces-panel forward",
        "2d/deep": "depthwise-nothing weight; im2col-panel input; winograd 2-panel weight; winograd 6-panel weight",
        "2d/depthwise-dilated/tail": "im2col-nothing weight; im2col-panel forward weight",
        "2d/depthwise-multiplier/tail": "im2col-panel input",
        "2d/depthwise/tail": "pieces-panel weight",
        "2d/first-layer/tail": "im2col-nothing weight; im2col-panel weight; pieces-panel weight",
        "2d/grouped-1x1/tail": "pointwise-panel input",
        "2d/many-channels": "winograd 2-panel forward input; winograd 4-panel forward weight; winograd 6-panel forward",
        "2d/nothing-but-padding": "pieces-panel weight; winograd 2-panel weight",
        "2d/one-pixel": (
            "depthwise-nothing input; dots-nothing forward; pointwise-nothing forward input weight; "
            "pointwise-panel forward weight"
        ),
        "2d/stride-skips-input": "im2col-nothing input; im2col-panel input",
        "2d/transposed-depthwise/tail": "depthwise-nothing forward; im2col-nothing forward",
        "2d/transposed-extra/tail": "dots-nothing input",
        "2d/whole-image": "im2col-nothing weight",
        "2d/wide-image": "dots-nothing weight",
        "3d/1x1x1/tail": "im2col-nothing input",
        "3d/depthwise/tail": "im2col-panel input; winograd 2-panel input",
        "3d/grouped/tail": "im2col-panel weight",
        "3d/transposed/tail": "im2col-panel forward input",
        "4d/transposed/tail": "winograd 4-panel input",
    },
    "narrow": {
        "2d/deep": "bfloat16-panel input; im2col-panel input",
        "2d/depthwise-dilated/tail": "im2col-nothing weight; im2col-panel input weight",
        "2d/depthwise/tail": "im2col-panel forward",
        "2d/dilated-apart/tail": "im2col-nothing input",
        "2d/first-layer/tail": "im2col-panel weight",
        "2d/grouped-1x1/tail": "pointwise-panel input",
        "2d/one-pixel": (
            "bfloat16-panel input; depthwise-nothing input weight; dots-nothing forward; "
            "pointwise-nothing forward input weight; pointwise-panel forward weight"
        ),
        "2d/stride-skips-input": "im2col-nothing input; im2col-panel input",
        "2d/transposed-batch-0": "im2col-nothing forward",
        "2d/transposed-depthwise/tail": "depthwise-nothing forward; im2col-panel input",
        "2d/transposed-extra/tail": "bfloat16-panel forward; dots-nothing input",
        "2d/whole-image": "im2col-nothing weight",
        "2d/wide-image": "dots-nothing weight",
    },
    "int8": {
        "2d/deep": "im2col-panel weight; pointwise-panel input",
        "2d/depthwise-dilated/tail": "im2col-nothing weight; im2col-panel input weight",
        "2d/depthwise/tail": "im2col-panel input weight",
        "2d/first-layer/tail": "im2col-nothing weight",
        "2d/one-pixel": (
            "depthwise-nothing forward input weight; im2col-nothing forward input; "
            "pointwise-nothing forward input weight; pointwise-panel forward weight"
        ),
        "2d/one-pixel-padded": "im2col-panel input",
        "2d/stride-skips-input": "im2col-panel input",
        "2d/transposed-depthwise/tail": "im2col-panel input",
        "2d/transposed-extra/tail": "im2col-panel forward",
        "2d/whole-image": "im2col-nothing weight",
    },
}  # fmt: skip
"""By group and case: lowering and packing, and the passes of it whose kernels are compiled."""


def group(dtype: str, layout: str) -> str:
    """The group of an element type and a layout."""
    if dtype in ("int8", "uint8"):
        return "int8"
    return f"float32 {layout}" if dtype == "float32" else dtype if dtype == "float64" else "narrow"


@cache
def _read(group: str) -> dict[tuple[str, str], tuple[str, ...]]:
    """The passes of each case and way (without its engine) of a group."""
    found = {}
    for name, line in COVERING[group].items():
        for part in line.split("; "):
            way, *passes = re.findall(r"[a-z0-9]+(?: \d)?-[a-z]+|[a-z]+", part)
            found[name, way] = tuple(passes)
    return found


def compiled_passes(each: Case, dtype: str, layout: str, way: Way) -> tuple[str, ...]:
    """The passes of a case, gone one way of the jit's, whose kernels a quick run compiles."""
    if dtype != "float32" and layout != "NCHW":
        return ()
    return _read(group(dtype, layout)).get((each.name, way_name(way).removeprefix("jit-")), ())


def covering(dtype: str) -> list[Case]:
    """Cases of whose kernels, channels first, a quick run compiles some in this element type."""
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
    combinations: Iterable[tuple[Case, str, str, Way, str]], together: int = 1, cpu: str = "host"
) -> set[tuple[str, ...]]:
    """The traits of all kernels that these passes compile: so many of each kernel together.

    `cpu` names the one that kernels are written for now: what was found for it is remembered.
    """
    kernels = {kernel for each in combinations for kernel in _kernels(*each, cpu)}
    return {some for kernel in kernels for some in itertools.combinations(kernel, together)}


@cache
def _kernels(
    each: Case, dtype: str, layout: str, way: Way, direction: str, cpu: str
) -> tuple[tuple[str, ...], ...]:
    """The traits, in order, of each kernel that a pass compiles."""
    return tuple(tuple(sorted(traits(recipe))) for recipe in recipes_of(each, dtype, layout, way, direction))


def recipes_of(each: Case, dtype: str, layout: str, way: Way, direction: str) -> list[Any]:
    """What the kernels of a pass are made from; nothing where it is refused."""
    engine, name, packing = way
    taken = next(each for each in lowering.ALL if each.name == name)
    problem = problem_of(each, dtype, layout, direction)
    if engine != "jit" or taken.refuses(problem) is not None:
        return []
    program = make_program(problem, taken, packing, engine)
    return [step.recipe for step in program.steps] if isinstance(program, jit.JitProgram) else []

"""What may be asked of a convolution beside its arrays: a typed record, and keywords that are handed on.

    PlanOptions       all of it, as it was given: the one thing that goes from a public function to the planner
    ConvKeywords      keywords of `conv` that have no position, for the functions that hand them to `conv`
    TransposeKeywords the same of `conv_transpose`

What each of them means is said in one place, the docstrings of `conv` and `plan`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypedDict

import numpy.typing as npt

from ..arguments import Padding, PerAxis

Array = npt.NDArray[Any]

ActivationLike = str | tuple[str | float, ...] | None

Progress = Callable[[int, int], object]


class PlanOptions(NamedTuple):
    """How a convolution is asked for, not checked yet: shapes and element type come beside it. Built by keyword.

    A tuple with names, since each `conv` makes one: a frozen dataclass of so many fields takes 3 us longer.

    `bias` and `residual`: whether calls have one. With `transposed`, w is (C, O//G, *F). Of 8-bit integers `w_dtype` is
    that of w, None as that of x; `w_zero_point`, `scale` and `requantise` say whether calls have them.
    """

    stride: PerAxis = 1
    padding: Padding = 0
    dilation: PerAxis = 1
    groups: int = 1
    padding_mode: str = "zeros"
    activation: ActivationLike = None
    bias: bool = False
    residual: bool = False
    layout: str = "NCHW"
    lowering: str | None = None
    engine: str | None = None
    workspace_limit: int | None = None
    weight_limit: int | None = None
    rtol: float | None = None
    exact: bool = False
    deterministic: bool = False
    reuse_weights: bool = False
    direction: str = "forward"
    transposed: bool = False
    output_padding: PerAxis = 0
    w_dtype: str | None = None
    x_zero_point: int = 0
    w_zero_point: bool = False
    scale: bool = False
    out_dtype: str | None = None
    y_zero_point: int = 0
    requantise: bool = False


@dataclass(frozen=True, slots=True)
class Tuning:
    """What is measured before a choice: `effort` "none", "quick" or "full", for about so many `seconds`.

    None for the seconds leaves them to the effort. `progress(done, all)` is called after every step.
    """

    effort: str
    seconds: float | None = None
    progress: Progress | None = None


class TransposeKeywords(TypedDict, total=False):
    """Keywords of `conv_transpose` that have no position."""

    activation: ActivationLike
    residual: Any
    out: Array | None
    layout: str
    lowering: str | None
    engine: str | None
    workspace_limit: int | None
    rtol: float | None
    exact: bool
    deterministic: bool
    x_zero_point: int
    w_zero_point: Any
    scale: Any
    out_dtype: Any
    y_zero_point: int
    requantise: Any
    residual_factors: Any


class ConvKeywords(TransposeKeywords, total=False):
    """Keywords of `conv` that have no position."""

    padding_mode: str
    missing: Any
    normalize: bool


__all__ = ["ActivationLike", "ConvKeywords", "PlanOptions", "Progress", "TransposeKeywords", "Tuning"]

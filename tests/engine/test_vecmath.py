"""Activations: at most 4 ulp from the truth for floats of every magnitude, no call, NaN in and NaN out."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from convmat import product
from convmat.engine.gaussian import CUBE
from convmat.engine.ir.activations import FORMULAS
from convmat.engine.ir.emitter import Module
from convmat.engine.ir.exponential import LN2, constants, economise
from convmat.engine.ir.instructions import Type, f32, f64, i64, ptr

PARAMETERS: dict[str, tuple[float, ...]] = {
    "clip": (-1.25, 2.5),
    "leaky_relu": (0.2,),
    "hardsigmoid": (0.2, 0.5),
}
FUNCTIONS = [
    "expm1", "sinh", "cosh", "mish", "log", "log1p", "asinh", "acosh", "atanh", "softplus", "sin", "cos", "tan", "asin",
    "acos", "atan",
]  # fmt: skip
"""Of sweeps alone: no epilogue has them."""
ACTIVATIONS = [(name, ()) for name in FORMULAS if name not in ("clip", *FUNCTIONS)] + list(PARAMETERS.items())
CASES = [*ACTIVATIONS, *(pytest.param(name, (), marks=pytest.mark.slow) for name in FUNCTIONS)]
KINDS = [f32, f64]
# The truth is computed in NumPy's longdouble, which is wide enough on x86 and AArch64 Linux, not everywhere.
pytestmark = pytest.mark.skipif(
    np.finfo(np.longdouble).nmant < 63, reason="longdouble is too narrow to judge"
)


def named(value: object) -> str | None:
    if isinstance(value, Type):
        return value.kind
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "default"
    return None


def module(name: str, parameters: tuple[float, ...], type: Type, fused: bool = True) -> Module:
    """Function f(x, y, n) that applies it to n elements, a multiple of the lanes."""
    module = Module(fused=fused)
    fn = module.function("f", {"x": ptr, "y": ptr, "n": i64})
    x, y, n = fn.arguments
    with fn.loop(0, n, max(type.lanes, 1)) as loop:
        at = loop.index * type.scalar.bytes
        fn.store(FORMULAS[name](fn.load(x + at, type), *parameters), y + at)
    return module


@cache
def points(kind: Type) -> NDArray[Any]:
    """A float out of each of 2^17 equal ranges of bit patterns, a dense grid where functions bend, special ones."""
    rng = np.random.default_rng(1)
    bits = np.dtype(f"u{kind.bytes}")
    width = 8 * kind.bytes - 17
    spread = (np.arange(1 << 17, dtype=bits) << bits.type(width)) + rng.integers(
        0, 1 << width, 1 << 17, dtype=bits
    )
    # 800: beyond the last result of float64 that is not 0 or infinite
    dense = [rng.uniform(-limit, limit, 1 << 15) for limit in (0.5, 1, 4, 20, 120, 800)]
    tiny = np.finfo(kind.dtype)
    special = [0.0, np.inf, np.nan, 3.0, 6.0, 2.5, tiny.max, tiny.smallest_normal, tiny.smallest_subnormal]
    parts = [spread.view(kind.dtype), *dense, [*special, *(-each for each in special)] * 16]
    return np.concatenate([np.asarray(part, kind.dtype) for part in parts])


def ulps(got: NDArray[Any], truth: NDArray[Any]) -> float:
    """The largest error in units of the last place of the true value; infinite where infinity or NaN differ."""
    with np.errstate(over="ignore"):
        rounded = truth.astype(got.dtype)
    finite = np.isfinite(rounded) & np.isfinite(got)
    if not np.array_equal(got[~finite], rounded[~finite], equal_nan=True):
        return float("inf")
    size = np.minimum(
        np.abs(rounded[finite]), np.finfo(got.dtype).max / 2
    )  # the spacing of the last one overflows
    unit = np.maximum(np.spacing(size), np.finfo(got.dtype).smallest_subnormal)
    return float(np.max(np.abs(got[finite] - truth[finite]) / unit, initial=0))


Wide = NDArray[Any]
ROOT_PI: Any = np.sqrt(np.arctan(np.longdouble(1)) * 4)
ROOT_TWO: Any = np.sqrt(np.longdouble(2))


def tail(v: Wide) -> Any:
    """1 - Phi(v), v >= 0: by the series of Phi around 0, by its continued fraction from 2 on."""
    v, whole = np.unique(v, return_inverse=True)  # most floats are larger than what callers clip to
    upper: Any = v.astype(np.float32).astype(np.longdouble)
    density = np.exp(-upper * upper / 2) * np.exp(-(v - upper) * (v + upper) / 2) / (ROOT_TWO * ROOT_PI)
    near, far = v[v < 2], v[~(v < 2)]
    found, term = np.zeros_like(near), near
    for n in range(60):
        found, term = found + term, term * near * near / (2 * n + 3)
    below = np.zeros_like(far)
    for n in range(200, 0, -1):
        below = n / (far + below)
    made = np.empty_like(v)
    made[v < 2] = np.longdouble(0.5) - density[v < 2] * found
    made[~(v < 2)] = density[~(v < 2)] / (far + below)
    return made[whole]


def erf(x: Wide) -> Any:
    """By its series around 0, of positive terms; by `tail` further out."""
    near = np.clip(x, -1.5, 1.5)
    found, term = np.zeros_like(x), near
    for n in range(60):
        found, term = found + term, term * 2 * near * near / (2 * n + 3)
    far = np.copysign(1 - 2 * tail(np.minimum(np.abs(x), 30) * np.sqrt(np.longdouble(2))), x)
    return np.where(np.abs(x) < 1.5, found * np.exp(-near * near) * 2 / ROOT_PI, far)


def gelu(x: Wide) -> Any:
    size: Any = np.minimum(np.abs(x), 100)
    return np.maximum(x, 0) - size * tail(size)


def gelu_tanh(x: Wide) -> Any:
    size: Any = np.minimum(np.abs(x), 100)
    u: Any = ROOT_TWO / ROOT_PI * (size + CUBE * size * size * size)
    return np.maximum(x, 0) - size / (1 + np.exp(2 * u))


TRUTHS: dict[str, Callable[..., Any]] = {"erf": erf, "gelu": gelu, "gelu_tanh": gelu_tanh}
"""Where the meaning is no formula of NumPy's."""


def truth(name: str, parameters: tuple[float, ...], x: NDArray[Any]) -> Any:
    meaning: Callable[..., Any] = TRUTHS.get(name) or FORMULAS[name].meaning
    with np.errstate(all="ignore"):
        return meaning(x.astype(np.longdouble), *parameters)


@pytest.mark.parametrize("kind", KINDS, ids=named)
@pytest.mark.parametrize(("name", "parameters"), ACTIVATIONS, ids=named)
def test_within_four_ulp(
    name: str, parameters: tuple[float, ...], kind: Type, slow: bool, compiled: Callable[[Module], Any]
) -> None:
    """At all points with --slow; otherwise at a third of them. With fused multiply-adds and without."""
    x = points(kind) if slow else np.ascontiguousarray(points(kind)[::3])
    x = x[: len(x) // 8 * 8]
    y, right = np.empty_like(x), truth(name, parameters, x)
    for fused in (True, False):
        compiled(module(name, parameters, kind.x(8), fused)).f(x, y, len(x))
        assert ulps(y, right) <= 4, f"{fused=}"


@pytest.mark.parametrize("kind", KINDS, ids=named)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_within_four_ulp(name: str, kind: Type, compiled: Callable[[Module], Any]) -> None:
    if FORMULAS[name].single:
        kind = f32
    x = points(kind)[::3]
    y = np.empty_like(x[: len(x) // 8 * 8])
    compiled(module(name, (), kind.x(8))).f(np.ascontiguousarray(x), y, len(y))
    assert ulps(y, truth(name, (), x[: len(y)])) <= 4


@pytest.mark.slow
@pytest.mark.parametrize(("name", "parameters"), CASES, ids=named)
def test_every_sixteenth_float32_within_four_ulp(
    name: str, parameters: tuple[float, ...], compiled: Callable[[Module], Any]
) -> None:
    function = compiled(module(name, parameters, f32.x(16))).f
    for start in range(0, 1 << 32, 1 << 26):
        x = (np.arange(start, start + (1 << 26), 16, dtype=np.uint32) + np.uint32(start >> 26) % 16).view("f")
        y = np.empty_like(x)
        function(x, y, len(x))
        assert ulps(y, truth(name, parameters, x)) <= 4, hex(start)


@pytest.mark.parametrize("kind", KINDS, ids=named)
@pytest.mark.parametrize(("name", "parameters"), CASES, ids=named)
def test_scalars_and_other_widths_give_the_same_bits(
    name: str, parameters: tuple[float, ...], kind: Type, compiled: Callable[[Module], Any]
) -> None:
    if FORMULAS[name].single:
        kind = f32
    x = points(kind)[-4096:]
    results = []
    for lanes in (0, 2, 4, 16):
        y = np.empty_like(x)
        compiled(module(name, parameters, kind.x(lanes))).f(x, y, len(x))
        results.append(y)
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])


@pytest.mark.parametrize("kind", KINDS, ids=named)
@pytest.mark.parametrize(("name", "parameters"), CASES, ids=named)
def test_no_call_to_anything(
    name: str,
    parameters: tuple[float, ...],
    kind: Type,
    assembly: Callable[[Module], str],
    arm: Callable[[Module], str],
) -> None:
    if FORMULAS[name].single:
        kind = f32
    for lanes in (0, 4, 8, 16):
        written = module(name, parameters, kind.x(lanes))
        assert "call" not in assembly(written)
        assert "\tbl\t" not in arm(written)


def test_nan_comes_through(compiled: Callable[[Module], Any]) -> None:
    x = np.full(8, np.nan, "f")
    for name, parameters in [*ACTIVATIONS, *((name, ()) for name in FUNCTIONS)]:
        y = np.zeros(8, "f")
        compiled(module(name, parameters, f32.x(8))).f(x, y, 8)
        assert np.isnan(y).all(), name


@pytest.mark.parametrize("kind", KINDS, ids=named)
@pytest.mark.parametrize("name", TRUTHS)
def test_what_it_means_to_numpy(name: str, kind: Type, slow: bool) -> None:
    """To a few units in the last place of the input; at a third of the points without --slow."""
    x = points(kind) if slow else points(kind)[1::3]
    with np.errstate(all="ignore"):
        found, wanted = FORMULAS[name].meaning(x), truth(name, (), x).astype(kind.dtype)
    np.testing.assert_allclose(
        found, wanted, rtol=8 * np.finfo(kind.dtype).eps, atol=np.finfo(kind.dtype).eps
    )


def test_zeros_keep_their_sign(compiled: Callable[[Module], Any]) -> None:
    x = np.array([0.0, -0.0] * 4, "f")
    for name in ("tanh", "silu", "hardswish", "leaky_relu", "erf", "gelu", "gelu_tanh"):
        y = np.ones(8, "f")
        compiled(module(name, (), f32.x(8))).f(x, y, 8)
        np.testing.assert_array_equal(y, x)
        np.testing.assert_array_equal(np.signbit(y), np.signbit(x))


def test_the_names_are_those_of_product() -> None:
    assert set(FORMULAS) == {*product.ACTIVATIONS, "exp", "erf", *FUNCTIONS}


# ---- where the constants come from ---------------------------------------------------------------------------


def test_ln2_in_two_parts_is_ln2() -> None:
    assert abs(float(LN2) - np.log(2)) < 1e-16
    for kind, bits in (("f32", 39), ("f64", 94)):
        of = constants(kind)
        assert abs(Fraction(of.ln2_high) + Fraction(of.ln2_low) - LN2) < Fraction(1, 2**bits)


@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_the_polynomial_is_good_to_a_seventh_of_an_ulp(kind: str) -> None:
    """Before its coefficients are rounded: |r^2 * (q(r) - exact)| over the interval, exactly in fractions."""
    of = constants(kind)
    series = [Fraction(1, np.prod(range(1, k + 3), dtype=object)) for k in range(30)]
    width = LN2 / 2
    q = economise(series[: len(of.q) + 12], width, len(of.q) - 1)
    worst = max(
        abs(r * r * sum((c - q[k] if k < len(q) else c) * r**k for k, c in enumerate(series)))
        for r in (width * i / 50 for i in range(-50, 51))
    )
    # e^r is at least 1/sqrt(2), where an ulp is 2^-(mantissa + 1)
    assert worst < Fraction(1, 7) / 2 ** (of.mantissa + 1)

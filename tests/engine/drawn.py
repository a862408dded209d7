"""Random problems of the sizes at which kernels go wrong, and what the definition gives for them.

Extents lie one short of, at and one over whole vectors; padding is asymmetric, negative, or larger than the filter.
What is constant in a kernel (`Kind`) is drawn apart from what is not (batch and extents), because making a kernel
takes as long as a hundred runs of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from convmat import lowering
from convmat.engine import jit
from convmat.geometry import Geometry
from convmat.layout import Layout
from convmat.planner.arrays import split_dims
from convmat.planner.candidates import make_program
from convmat.problem import EpilogueForm, Problem
from convmat.product import Activation
from tests.support import REFUSED_BY_JIT, Array, by_taps, dtype_of, integers, kind_of, put, turned

Pick = Callable[[Sequence[Any]], Any]
"""Chooses one of several values: by a random generator, or by hypothesis."""

MOST_TERMS = 10_000_000
"""Products of one convolution: keeps the definition to a tenth of a second."""

# Exact on small integers, so that results can be equal.
ACTIVATIONS = (
    None,
    None,
    Activation("relu"),
    Activation("leaky_relu", (0.25,)),
    Activation("clip", (-7.0, 20.0)),
)


def enlarged(g: Geometry, by: Sequence[int]) -> Geometry:
    """The same layer over a larger image."""
    extents = (extent + more for extent, more in zip(g.I, by, strict=True))
    return Geometry.of(
        (g.B, g.C, *extents), g.w_shape, padding=tuple(zip(g.lo, g.hi, strict=True)), stride=g.s, dilation=g.d,
        groups=g.G,
    )  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """What is constant in a kernel."""

    F: tuple[int, ...]
    s: tuple[int, ...]
    d: tuple[int, ...]
    e: tuple[int, ...]
    lo: tuple[int, ...]
    c: int
    o: int
    G: int
    dtype: str
    x: str
    y: str
    transposed: bool
    direction: str
    epilogue: EpilogueForm


@dataclass(frozen=True)
class Drawn:
    """A kind with a batch and extents."""

    kind: Kind
    B: int
    I: tuple[int, ...]
    hi: tuple[int, ...]

    @property
    def geometry(self) -> Geometry:
        """The forward pass."""
        k = self.kind
        return Geometry.of(
            (self.B, k.G * k.c, *self.I),
            (k.G * k.o, k.c, *k.F),
            stride=k.s,
            padding=tuple(zip(k.lo, self.hi, strict=True)),
            dilation=k.d,
            groups=k.G,
            input_dilation=k.e,
        )

    def problem(self, **rest: Any) -> Problem:
        """The pass that the kind names."""
        k = self.kind
        made = Problem.of(
            self.geometry, k.dtype, x=k.x, y=k.y, transposed=k.transposed, epilogue=k.epilogue, **rest
        )
        if k.direction == "forward":
            return made
        return made.grad_input() if k.direction == "input" else made.grad_weight()

    def __str__(self) -> str:
        k = self.kind
        extra = [name for name in ("bias", "residual") if getattr(k.epilogue, name)]
        extra += [k.epilogue.activation.name] if k.epilogue.activation else []
        extra += ["transposed w"] if k.transposed else []
        return (
            f"B {self.B} G {k.G} c {k.c} o {k.o} I {self.I} F {k.F} s {k.s} d {k.d} e {k.e} lo {k.lo} hi {self.hi}; "
            + " ".join([k.dtype, f"{k.x}->{k.y}", k.direction, *extra])
        )


def kind(pick: Pick) -> Kind:
    """Any kind."""
    rank = pick((1, 2, 2, 2, 3))
    small = rank > 2
    F: list[int] = []
    s: list[int] = []
    d: list[int] = []
    e: list[int] = []
    lo: list[int] = []
    for _ in range(rank):
        F.append(pick((1, 2, 3) if small else (1, 1, 2, 3, 3, 4, 5, 7)))
        room = 6 // math.prod(s) if s else 4  # an input gradient has a phase for each combination of strides
        s.append(min(pick((1, 1, 2) if small else (1, 1, 1, 2, 3, 4)), room))
        d.append(pick((1, 1, 1, 2, 3)))
        e.append(pick((1, 1, 1, 1, 1, 2, 3)) if math.prod(e) == 1 else 1)
        reach = d[-1] * (F[-1] - 1) + 1
        lo.append(pick((0, 0, 1, 1, reach // 2, reach - 1, reach + 2, -1)))
    width = pick(("dense", "dense", "dense", "groups", "narrow", "depthwise", "deep", "many"))
    counts = (1, 2, 3, 4, 5, 7, 8, 9, 14, 15, 16, 17, 24, 31, 32, 33, 48, 79, 80)
    if width == "deep":
        c, o, G = pick((65, 130)), pick((1, 3, 9, 16)), 1
    elif width == "many":  # of which those outside x are left out
        c, o, G = pick((128, 130)), pick((66, 80)), 1
    elif width == "depthwise":
        c, o, G = 1, pick((1, 1, 2, 3)), pick((3, 8, 16, 17, 33))
    elif width == "narrow":
        c, o, G = pick((2, 3, 4)), pick((1, 2, 4, 5)), pick((3, 4, 9))
    else:
        c, o, G = pick(counts), pick(counts), 1 if width == "dense" else pick((2, 3))
    direction = pick(("forward", "forward", "input", "weight"))
    x = pick(("NCHW", "NCHW", "NHWC", "NHWC", *_blocked(c, G)))
    y = x
    if x.startswith("nChw") or pick(range(4)) == 0:
        y = pick(("NCHW", "NHWC", *2 * _blocked(o, G)))
    dtype = pick(("float32",) * 8 + ("float64", "float64", "float16", "bfloat16", "int8", "uint8"))
    epilogue = EpilogueForm()
    if direction == "forward":
        # What bytes may have is refused by nobody below the planner, so nothing else is drawn.
        activations = ACTIVATIONS[:3] if dtype.endswith("int8") else ACTIVATIONS
        epilogue = EpilogueForm(
            bias=pick((False, True)), residual=pick((False, False, True)), activation=pick(activations)
        )
    return Kind(
        F=tuple(F), s=tuple(s), d=tuple(d), e=tuple(e), lo=tuple(lo), c=c, o=o, G=G,
        dtype=dtype, x=x, y=y, transposed=pick((False, False, True)),
        direction=direction, epilogue=epilogue,
    )  # fmt: skip


def _blocked(channels: int, groups: int) -> tuple[str, ...]:
    """The layouts whose blocks these channels fill: part of a vector, one, several, or neither."""
    return tuple(f"nChw{n}c" for n in (3, 8, 12, 16, 24, 40) if channels % n == 0 and groups == 1)


def laid(array: Array, layout: str) -> Array:
    """An NCHW array in any layout, contiguous."""
    if layout.startswith("nChw"):
        block = int(layout[4:-1])
        split = array.reshape(len(array), -1, block, *array.shape[2:])
        return np.ascontiguousarray(np.moveaxis(split, 2, -1))
    return put(array, layout)


LONG = (1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 49, 65)
"""Outputs along the last axis: those about whole vectors."""


def sized(made: Kind, pick: Pick) -> Drawn:
    """A kind with random extents.

    In a third of the cases that have phases the result is shorter than the stride between them: some have no output.
    """
    rank = len(made.F)
    room = MOST_TERMS // (made.G * made.c * made.o * math.prod(made.F))
    I, hi = [], []
    for a in range(rank):
        some = LONG if a == rank - 1 else (1, 2, 3, 4, 7, 17) if rank < 3 else (1, 2, 3)
        reach, lo, e = made.d[a] * (made.F[a] - 1) + 1, made.lo[a], made.e[a]
        short = max(e, made.s[a] * (made.direction == "input")) > 1 and pick(range(3)) == 0
        P = min(pick(range(1, e) if short and e > 1 else some), max(room, 1))
        room //= P
        after = pick((0, 0, 1, reach // 2, reach - 1, reach + 2, -1))
        wanted = (P - 1) * made.s[a] + reach + pick(range(made.s[a])) - lo - after
        extent = -(-(wanted - 1) // e) + 1 if wanted > 0 else 1
        if short and e == 1:
            extent = pick(range(1, made.s[a]))
        I.append(extent)
        hi.append(after + max(0, reach - lo - after - (extent - 1) * e - 1))
    return Drawn(made, min(pick((1, 1, 2, 3)), max(room, 1)), tuple(I), tuple(hi))


def by_generator(rng: np.random.Generator) -> Pick:
    """Choices of a random generator."""
    return lambda values: values[int(rng.integers(len(values)))]


# -- the definition ---------------------------------------------------------------------------------------------------


@dataclass
class Exact:
    """Operands of small integers, NumPy arrays as the problem wants them, and the result."""

    first: Array
    second: Array
    bias: Array | None
    residual: Array | None
    result: Array


def exact(drawn: Drawn, seed: int) -> Exact:
    """Data for one pass, on which every order of summation gives the same."""
    k, g = drawn.kind, drawn.geometry
    rng = np.random.default_rng(seed)
    x, w, dy, bias, residual = (
        integers(rng, shape, kind_of(k.dtype))
        for shape in (g.x_shape, g.w_shape, g.y_shape, (g.O,), g.y_shape)
    )
    given, out = dtype_of(k.dtype), dtype_of("int32" if k.dtype.endswith("int8") else k.dtype)
    y, dx, dw = by_taps(x, w, None if k.direction == "forward" else dy, g)
    weights = turned(w, g.G) if k.transposed else w
    if k.direction == "input":
        return Exact(
            laid(dy, k.y).astype(given), weights.astype(given), None, None, laid(dx, k.x).astype(out)
        )
    if k.direction == "weight":
        dw = turned(dw, g.G) if k.transposed else dw
        return Exact(laid(x, k.x).astype(given), laid(dy, k.y).astype(given), None, None, dw.astype(out))
    e = k.epilogue
    if e.bias:
        y = y + bias.reshape(-1, *(1,) * g.rank)
    if e.residual:
        y = y + residual
    y = activated(e.activation, y)
    return Exact(
        laid(x, k.x).astype(given),
        weights.astype(given),
        bias.astype(out) if e.bias else None,
        laid(residual, k.y).astype(out) if e.residual else None,
        laid(y, k.y).astype(out),
    )


def activated(activation: Activation | None, y: Array) -> Array:
    """One of ACTIVATIONS."""
    if activation is None:
        return y
    if activation.name == "leaky_relu":
        return np.where(y < 0, y * activation.parameters[0], y)
    low, high = activation.parameters or (0.0, np.inf)
    return np.minimum(np.maximum(y, low), high)


# -- programs ---------------------------------------------------------------------------------------------------------


def programs(problem: Problem) -> Iterator[tuple[str, jit.JitProgram]]:
    """Every different program that the jit has for a problem, with its lowering's name."""
    seen = set()
    for way in lowering.ALL:
        if way.name not in REFUSED_BY_JIT and way.refuses(problem) is None:
            for packing in way.packings:
                program = make_program(problem, way, packing, "jit")
                if isinstance(program, jit.JitProgram):
                    made_of = tuple((step.recipe, step.template) for step in program.steps)
                    if made_of not in seen:
                        seen.add(made_of)
                        yield way.name, program


def views(problem: Problem, arrays: dict[str, Array]) -> dict[str, Array]:
    """The operands as an engine takes them: one axis per Dim of its layout."""
    layouts: dict[str, Layout] = {
        "x": problem.x, "w": problem.w, "y": problem.y, "residual": problem.y,
    }  # fmt: skip
    return {n: split_dims(layouts[n], a) if n in layouts else a for n, a in arrays.items()}


def without_epilogue(made: Kind) -> Kind:
    """The same kind, stored as it is summed."""
    return replace(made, epilogue=EpilogueForm())

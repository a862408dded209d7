"""Every way a problem could run: lowerings x packings x engines, each with its cost or its refusal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ..engine import ENGINES, prepare
from ..errors import EngineError, shorten_error
from ..lazy_dataclass import dataclass
from ..lowering import ALL, Lowering
from ..problem import WORKSPACE_LIMIT, Problem
from ..product import Packing
from . import nominal
from .cost import BOUND_CALLS, START, Cost, blas_cost, error_estimate
from .jitcost import bytes_from_memory, jit_cost
from .units import format_apart

if TYPE_CHECKING:
    from ..engine import BlasProgram, Counted, Dtypes, JitProgram, Machine, Peaks

    Program = BlasProgram | JitProgram | Counted


PASSES = 3
"""NumPy's passes over arrays, each counted as a start, around products of differences."""


@dataclass(frozen=True)
class Candidate:
    """One lowering with one schedule: what it is predicted to cost, or the sentence why it cannot run.

    `product` is (m, n, k) of its largest product (of one group); None where the lowering refused. `beyond` is the
    cost of one that is refused by a limit alone. `measured` is the seconds of a call, where tuning has timed it.
    """

    engine: str
    lowering: str
    packing: Packing
    product: tuple[int, int, int] | None = None
    cost: Cost | None = None
    refusal: str | None = None
    beyond: Cost | None = None
    measured: float | None = None

    @property
    def name(self) -> str:
        """How reports and errors call it: the lowering and what it stores."""
        return f"{self.lowering}, {self.packing.value}"

    @property
    def way(self) -> str:
        """How it is called among the ways of all engines."""
        return f"{self.engine}: {self.name}"


def dtype_of(name: Any) -> np.dtype[Any]:
    """The NumPy dtype of a name; bfloat16 comes from ml_dtypes, which whoever has such arrays has."""
    if name == "bfloat16":
        import ml_dtypes

        name = ml_dtypes.bfloat16
    made: np.dtype[Any] = np.dtype(name)
    return made


def dtypes_of(problem: Problem) -> Dtypes:
    """The element types of a problem's arrays, sums and of what its products store."""
    return _dtypes(problem.dtype, problem.work_dtype, problem.stored_dtype, problem.w_dtype)


@lru_cache(maxsize=64)
def _dtypes(array: str, work: str, stored: str, w: str | None) -> Dtypes:
    """The same by their names: there are few, and each way and each plan asks."""
    from ..engine import Dtypes

    return Dtypes(dtype_of(array), dtype_of(work), dtype_of(stored), None if w is None else dtype_of(w))


def operand_extents(problem: Problem) -> dict[str, tuple[int, ...]]:
    """The shape of each operand with one extent per Dim, as Views see it."""
    shapes = {name: tuple(d.extent for d in layout.dims) for name, layout in _layouts(problem).items()}
    return {**shapes, "residual": shapes["y"], "bias": (problem.geometry.O,)}


def _layouts(problem: Problem) -> dict[str, Any]:
    return {"x": problem.squeezed.x, "w": problem.squeezed.w, "y": problem.squeezed.y}


def padding_bytes(problem: Problem) -> int:
    """Bytes of the explicitly padded input and of its largest slab, 0 without one."""
    if problem.pad is None:
        return 0
    layout, name = (
        (problem.x, problem.dtype) if problem.pad.operand == "x" else (problem.y, problem.stored_dtype)
    )
    whole = int(np.prod(layout.shape, dtype=object)) * dtype_of(name).itemsize
    extents_ = problem.geometry.I if problem.pad.operand == "x" else problem.geometry.P
    # NumPy copies a border slab through a buffer, since it lies in the array that it comes from.
    return whole + whole // max(min(extents_), 1)


def byte_limit(problem: Problem) -> int:
    """The bytes that a plan should keep to: the caller's limit, or the soft default."""
    return WORKSPACE_LIMIT if problem.workspace_limit is None else problem.workspace_limit


def make_program(
    problem: Problem,
    lowering: Lowering,
    packing: Packing,
    engine: str,
    around: Mapping[str, tuple[int, ...]] | None = None,
) -> Program | str:
    """An engine's program for one lowering and packing, within the limit if there is any, or its refusal.

    `around`: for x and y the shapes of larger arrays that they may be parts of.
    """
    if engine == "blas" and problem.counted:
        return _make_counted(problem, lowering, packing, engine)
    if engine == "blas" and problem.deterministic and problem != problem.alone():
        return _image_by_image(problem, lowering, packing)
    found = prepare(
        engine,
        lowering.products(problem),
        packing,
        dtypes_of(problem),
        operand_extents(problem) | _extents_around(problem, around or {}),
        byte_limit(problem) - padding_bytes(problem),
        bound=problem.reuse_weights,
        threads=problem.threads,
    )
    return (
        _make_counted(problem, lowering, packing, engine)
        if isinstance(found, str) and problem.counted
        else found
    )


def _extents_around(problem: Problem, around: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The shapes around operands, one extent per Dim; those that the axes of layouts do not divide are left out."""
    plain, found = problem.squeezed, dict[str, tuple[int, ...]]()
    if problem.pad is not None or problem.counted or plain is not problem:
        return found
    for name, shape in around.items():
        axes = (problem.x if name == "x" else problem.y).axes
        inner = [tuple(d.extent for d in axis[1:]) for axis in axes]
        if all(n % math.prod(rest) == 0 for n, rest in zip(shape, inner, strict=True)):
            each = zip(shape, inner, strict=True)
            found[f"around {name}"] = tuple(
                n for whole, rest in each for n in (whole // math.prod(rest), *rest)
            )
    return found


def _make_counted(problem: Problem, lowering: Lowering, packing: Packing, engine: str) -> Program | str:
    """An engine's program for differences from zero points, and what makes them and finishes its sums."""
    from ..engine import Counted

    inner = make_program(problem.differences(), lowering, packing, engine)
    if isinstance(inner, str):
        return inner
    assert not isinstance(inner, Counted)
    return Counted(inner, lowering.products(problem), dtypes_of(problem), operand_extents(problem))


def _image_by_image(problem: Problem, lowering: Lowering, packing: Packing) -> Program | str:
    """A BLAS's program for one image on one thread, run for each: its bits depend on neither batch nor threads."""
    from ..engine import BlasProgram

    alone, problem = problem.alone(), problem.squeezed
    program = make_program(alone, lowering, packing, "blas")
    if not isinstance(program, BlasProgram):
        return program
    if problem.geometry.B == alone.geometry.B:
        return program.image_by_image(1, {})
    layouts = {"x": problem.x, "y": problem.y, "residual": problem.y}
    axes = {name: [d.role for d in layout.dims].index("b") for name, layout in layouts.items()}
    return program.image_by_image(problem.geometry.B, axes)


@dataclass(frozen=True)
class Weighed:
    """All candidates of a problem in the order of `ALL`, and by their ways the programs of those that have one."""

    candidates: tuple[Candidate, ...]
    programs: Mapping[str, Program]


def weigh(problem: Problem, machine: Machine, peak: Peaks | None = None) -> Weighed:
    """Every way, weighed; `peak` are the rates of compiled kernels, by default this machine's."""
    found: list[Candidate] = []
    programs: dict[str, Program] = {}
    for lowering in ALL:
        for packing in lowering.packings:
            for engine in ENGINES:
                candidate, program = weigh_way(problem, lowering, packing, engine, machine, peak)
                found.append(candidate)
                if program is not None:
                    programs[candidate.way] = program
    return Weighed(tuple(found), programs)


def weigh_way(
    problem: Problem,
    lowering: Lowering,
    packing: Packing,
    engine: str,
    machine: Machine,
    peak: Peaks | None = None,
) -> tuple[Candidate, Program | None]:
    """One way and its program: weighed, or refused by its lowering, by `exact=True` or by its engine."""
    refusal = lowering.refuses(problem)
    if problem.exact and not lowering.exact:
        refusal = "multiplies otherwise than the definition, exact=True admits nothing else"
    if refusal is not None:
        return Candidate(engine, lowering.name, packing, refusal=refusal), None
    return _weigh_one(problem, lowering, packing, engine, machine, peak)


def weigh_blas(problem: Problem) -> tuple[Candidate, ...]:
    """The ways of the blas engine that can run, weighed by nominal figures: nothing is measured."""
    machine = nominal.machine(problem.threads)
    found = (
        _weigh_one(problem, way, packing, "blas", machine, None)[0]
        for way in ALL
        if way.refuses(problem) is None and (way.exact or not problem.exact)
        for packing in way.packings
    )
    return tuple(each for each in found if each.cost is not None)


def _weigh_one(
    problem: Problem, lowering: Lowering, packing: Packing, engine: str, machine: Machine, peak: Peaks | None
) -> tuple[Candidate, Program | None]:
    products = lowering.products(problem)
    largest = max(products, key=lambda p: p.flops, default=None)
    shape = (largest.m, largest.n, largest.k) if largest else None
    candidate = Candidate(engine, lowering.name, packing, shape)
    program = make_program(problem, lowering, packing, engine)
    if isinstance(program, str):
        return replace(candidate, refusal=program), None
    try:
        cost = _cost(problem, program, machine, peak, lowering.roundings(problem))
    except EngineError as error:
        return replace(candidate, refusal=shorten_error(error)), None
    beyond = broken_limits(problem, cost, lowering)
    if beyond:
        refusal = "; ".join(_breach(problem, name, needed) for name, needed in beyond.items())
        return replace(candidate, refusal=refusal, beyond=cost), program
    return Candidate(engine, lowering.name, packing, shape, cost), program


def _cost(problem: Problem, program: Program, machine: Machine, peak: Peaks | None, roundings: float) -> Cost:
    from ..engine import BlasProgram, Counted, peaks

    padding = padding_bytes(problem)
    if isinstance(program, Counted):
        inner = _cost(problem.differences(), program.inner, machine, peak, roundings)
        return replace(
            inner,
            moved=inner.moved + 8 * program.swept,
            workspace=program.workspace + padding,
            seconds=inner.seconds + 8 * program.swept / machine.copy_bandwidth + PASSES * START,
            error=error_estimate(problem),
        )
    if isinstance(program, BlasProgram):
        cost = blas_cost(problem, program, padding, machine, roundings)
        packing = 3 * program.weight_bytes / machine.copy_bandwidth / BOUND_CALLS
        return replace(cost, seconds=max(cost.seconds, _least_seconds(problem, peak)) + packing)
    return jit_cost(problem, program, padding, peak or peaks(problem.threads), roundings)


def _least_seconds(problem: Problem, peak: Peaks | None) -> float:
    """What memory takes, whoever multiplies; 0 where no kernels can be compiled, which alone measure that."""
    from ..engine import host, peaks

    far = bytes_from_memory(problem, host())
    if not far:
        return 0.0
    try:
        return far / (peak or peaks(problem.threads)).memory_bandwidth
    except EngineError:
        return 0.0


def broken_limits(problem: Problem, cost: Cost, lowering: Lowering) -> dict[str, float]:
    """The limits that a lowering's cost breaks, by the name of their keyword, each with the least that would admit it.

    No `rtol` refuses what rounds no more than the definition's own products.
    """
    found: dict[str, float] = {}
    if not lowering.rounds_least(problem) and cost.error > problem.rtol:
        found["rtol"] = cost.error
    if cost.workspace > byte_limit(problem):
        found["workspace_limit"] = cost.workspace
    if problem.weight_limit is not None and cost.weight_bytes > problem.weight_limit:
        found["weight_limit"] = cost.weight_bytes
    return found


def format_keyword(name: str, needed: float) -> str:
    """A limit as one would type it; a tolerance rounded up to two digits.

    >>> format_keyword("rtol", 3.14e-6), format_keyword("weight_limit", 512)
    ('rtol=3.2e-06', 'weight_limit=512')
    """
    if name != "rtol":
        return f"{name}={needed}"
    unit = 10.0 ** (math.floor(math.log10(needed)) - 1)
    return f"rtol={math.ceil(needed / unit) * unit:.2g}"


def _breach(problem: Problem, name: str, needed: float) -> str:
    """One broken limit as a sentence."""
    if name == "rtol":
        off, most = format_apart(needed, problem.rtol)
        return f"is expected to be off by {off}, rtol is {most}"
    if name == "workspace_limit":
        return f"needs {needed:,} bytes of workspace, the limit is {byte_limit(problem):,}"
    return f"needs {needed:,} bytes of bound weights, the limit is {problem.weight_limit:,}"


def admit(candidate: Candidate) -> Candidate:
    """A candidate refused by a limit alone, with its cost instead."""
    return replace(candidate, cost=candidate.beyond, refusal=None, beyond=None)

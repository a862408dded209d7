"""A Decision with its program, ready to run, and the same with its weights bound.

    Prepared    called with x and w; `bind` packs the weights once     -> Bound, called with x alone

`run` is the third of the three hops from `conv` to the arithmetic. `Plan` is this with its reports.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..engine import buffers, preloaded
from ..errors import EngineError, PlanError
from ..lowering import Lowering
from ..processes import kept_property
from . import pad
from .arrays import allocate, require_operand, require_output
from .bias import read_bias
from .candidates import Candidate, dtype_of, dtypes_of, make_program, padding_bytes, weigh_blas
from .counting import read_channels, require_absent
from .decision import Decision
from .integers import require_small

if TYPE_CHECKING:
    from ..engine import Launcher, LooseLauncher
    from .candidates import Program

Array = npt.NDArray[Any]
Weights = Any  # what the engine's program packed: only it looks inside
Rows = dict[str, Array]  # what each channel of y has, by its name in `engine.launch`


class Prepared:
    """Runs one Problem the way that was decided. It holds no arrays and may be used from several threads at once."""

    def __init__(self, decision: Decision, program: Program | None = None) -> None:
        """`program`: that of the chosen candidate, where it was prepared already."""
        self.decision = decision
        self.problem = problem = decision.problem
        self.program: Any = program or _program_of(decision)
        self._bound = False
        self._loose: LooseLauncher | None = None
        self._two_operands = not (
            self.program.by_dims
            or problem.reuse_weights
            or problem.pad
            or problem.counted
            or problem.epilogue.bias
            or problem.epilogue.residual
        )
        self._stored = dtypes_of(problem).out
        self._dtypes = replace(dtypes_of(problem), out=dtype_of(problem.out_dtype))
        # What every call asks for, worked out once: the shapes as owners see them.
        self._shapes = {name: problem.shape(name) for name in ("x", "w", "y")}

    @kept_property
    def _dims(self) -> dict[str, tuple[int, ...]]:
        """The same with one axis per Dim."""
        plain = self.problem.squeezed
        layouts = {"x": plain.x, "w": plain.w, "y": plain.y, "residual": plain.y}
        return {name: tuple([d.extent for d in layout.dims]) for name, layout in layouts.items()}

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """All ways with their costs or refusals."""
        return self.decision.candidates

    @property
    def chosen(self) -> Candidate:
        """The way that runs."""
        return self.decision.chosen

    @property
    def forced(self) -> bool:
        """Whether the caller asked for it."""
        return self.decision.forced

    @property
    def itemsize(self) -> int:
        """Bytes of an element of x."""
        return self.decision.itemsize

    @property
    def lowering(self) -> Lowering:
        """The chosen one."""
        return self.decision.lowering

    @property
    def workspace(self) -> int:
        """Bytes that a call allocates beyond inputs, output and packed weights, for C-contiguous arrays.

        Buffers of the BLAS library itself are not in it.
        """
        own: int = self.program.workspace
        return own + padding_bytes(self.problem)

    @property
    def weight_bytes(self) -> int:
        """Bytes of the packed weights that `bind` makes, and that a call without `bind` makes for its duration.

        0 with reuse_weights=False: calls then read w where it lies, or pack it within `workspace`.
        """
        packed: int = self.program.weight_bytes
        return packed

    def __call__(
        self,
        x: Any,
        w: Any,
        bias: Any = None,
        *,
        residual: Any = None,
        out: Array | None = None,
        scale: Any = None,
        w_zero_point: Any = None,
        requantise: Any = None,
        residual_factors: Any = None,
        call: str = "plan",
    ) -> Array:
        """x: (B, C, *I), w: (O, C//G, *F), bias: (O,), residual like y -> y: (B, O, *P), in the problem's layouts.

        Numbers of 8-bit integers are those of `bind`; `call` is what errors about them say was called. Raises
        GeometryError for arrays that do not fit the plan, before anything is written.
        """
        numbers = {
            "scale": scale, "w_zero_point": w_zero_point, "requantise": requantise,
            "residual_factors": residual_factors,
        }  # fmt: skip
        if self.problem.reuse_weights:
            return self._bind(*self._read(call, w, bias, numbers))(x, residual=residual, out=out)
        if self._two_operands and bias is residual is None and all(each is None for each in numbers.values()):
            made = self._run_plain(x, w, out)
            if made is not None:
                return made
        w, rows = self._read(call, w, bias, numbers)
        return Bound(self, None, rows, w)(x, residual=residual, out=out)

    def bind(
        self,
        w: Any,
        bias: Any = None,
        *,
        scale: Any = None,
        w_zero_point: Any = None,
        requantise: Any = None,
        residual_factors: Any = None,
        lasting: bool = False,
    ) -> Bound:
        """Pack the weights once; the Bound that comes back is called with x. Later changes of w don't reach it.

        `lasting`: there are none, and what is not packed is read where it lies. Of 8-bit integers: `scale`,
        `w_zero_point` and the two of `requantise` are one number, or one for each channel of y; `residual_factors`
        three numbers. See `conv`.
        """
        numbers = {
            "scale": scale, "w_zero_point": w_zero_point, "requantise": requantise,
            "residual_factors": residual_factors,
        }  # fmt: skip
        return self._bind(*self._read("plan", w, bias, numbers), lasting=lasting)

    def _bind(self, w: Array, given: Rows, *, lasting: bool = False) -> Bound:
        """The same for arrays that fit the plan."""
        rows = {name: array.copy() for name, array in given.items()}
        if not self.problem.reuse_weights:
            return Bound(self, None, rows, w if lasting else w.copy())
        weights = self._make_ready().bind(w.reshape(self._dims["w"]), rows, lasting=lasting)
        self._bound = True
        return Bound(self, weights, rows, None)

    @property
    def packing(self) -> tuple[Any, ...] | None:
        """What decides how `bind` packs weights, once it is known what runs: plans in which it is equal may share them.

        None where nobody can say.
        """
        found: tuple[Any, ...] | None = self._make_ready().packing if self.problem.reuse_weights else None
        return found

    def share(self, other: Bound, bias: Any) -> Bound:
        """Bound to the packed weights that another plan of equal `packing` was bound to, and to a bias."""
        self._bound = True
        return Bound(self, other._weights, {k: a.copy() for k, a in self._read_bias(bias).items()}, None)

    def _read(self, call: str, w: Any, bias: Any, numbers: Mapping[str, Any]) -> tuple[Array, Rows]:
        """The weights, and what each channel of y has, as arrays that fit the plan."""
        problem, array = self.problem, require_operand("w", w, self._shapes["w"], self._dtypes.w)
        rows = self._read_bias(bias)
        if not problem.counted:
            require_absent(**numbers)
            return array, rows
        return array, rows | read_channels(call, problem, numbers)

    def _read_bias(self, bias: Any) -> Rows:
        """The bias as an array that fits the plan."""
        kind = np.dtype(np.int32) if self.problem.integral else self._dtypes.out
        added = read_bias(self.problem, bias, kind)
        return {} if added is None else {"bias": added}

    def load(self) -> None:
        """Get the machine code now, compiled if it is new. Raises EngineError where none can be made or run."""
        if self.chosen.engine == "jit":
            self.program.load()

    def _launcher(self, weights: Weights | None, rows: Rows) -> Launcher | None:
        """The short way of a bound call, where nothing but x and out is left to say."""
        if self.program.by_dims or weights is None or self.problem.pad:
            return None
        launcher: Launcher = self.program.launcher(weights, rows)
        return launcher

    def _run_plain(self, x: Any, w: Any, out: Any) -> Array | None:
        """The result where x, w and out are just what was planned and lie apart; None where they are not."""
        fits = type(w) is np.ndarray and w.dtype == self._dtypes.w and w.shape == self._shapes["w"]
        if not fits or not w.flags.c_contiguous:
            return None
        y = allocate("conv", self._shapes["y"], self._dtypes.out) if out is None else out
        if not self._is_plain(x, y, None):
            return None
        if self._loose is None and not self._make_ready().by_dims:
            self._loose = self.program.loose_launcher()
        if self._loose is None or not self._loose.start(x, w, y):
            self._loose = None
            return None
        made: Array = y
        return made

    def _is_plain(self, x: Any, out: Any, residual: Any) -> bool:
        """Whether the arrays are just what was planned: all checks of the short way, in a microsecond."""
        if not self.problem.epilogue.residual:
            fits = residual is None
        else:
            fits = (
                type(residual) is np.ndarray
                and (
                    residual.dtype.kind != "i" or self.problem.epilogue.weighed
                )  # whose size is looked at first
                and residual.dtype == self._dtypes.out
                and residual.shape == self._shapes["y"]
                and residual.flags.c_contiguous
            )
        return (
            fits
            and type(x) is np.ndarray
            and type(out) is np.ndarray
            and x.dtype == self._dtypes.array
            and out.dtype == self._dtypes.out
            and x.shape == self._shapes["x"]
            and out.shape == self._shapes["y"]
            and x.flags.c_contiguous
            and out.flags.carray
        )

    def _make_ready(self) -> Any:
        """The program once it can run. Where no code can be made or run here, that of the blas engine instead."""
        program = self.program
        if self.chosen.engine == "jit" and not program.loaded:
            try:
                program.load()
            except EngineError as error:
                if self._bound:  # weights are packed for this program, and another would misread them
                    raise
                self._fall_back(error)
        return self.program

    def _fall_back(self, error: EngineError) -> None:
        others = [c for c in self.candidates if c.engine == "blas" and c.cost is not None]
        others = others or list(weigh_blas(self.problem))
        if not others:
            raise error
        chosen = min(others, key=lambda c: c.cost.seconds if c.cost else 0.0)
        decision = self.decision.instead(chosen)
        self.program, self.decision = _program_of(decision), decision
        warn_once(f"convmat computes with NumPy's BLAS, more slowly: {error}")

    # -- running -------------------------------------------------------------------------------------------------------

    def run(
        self,
        x: Array,
        w: Array | None,
        weights: Weights | None,
        rows: Rows,
        residual: Array | None,
        out: Array,
    ) -> None:
        """Checked arrays in, `out` written: the third of the three hops from `conv` to the arithmetic."""
        problem, padding = self.problem, self.problem.pad
        folded = out
        if padding is not None and padding.operand == "x":
            padded = buffers.empty(problem.x.shape, self._dtypes.array)
            pad.pad(padding, pad.spatial_axes(problem.x, "i"), x, padded)
            x = padded
        elif padding is not None:
            folded = buffers.empty(problem.y.shape, self._stored)
        program = self._make_ready()
        operands = {"x": x, "y": folded}
        if weights is None:
            assert w is not None
            operands["w"] = w
        if residual is not None:
            operands["residual"] = residual
        if program.by_dims:
            # One axis per Dim: axes are split, so each is a view of its array.
            operands = {name: array.reshape(self._dims[name]) for name, array in operands.items()}
        operands |= rows
        try:
            program.run(operands, weights, problem.threads)
        except MemoryError:
            raise EngineError(
                "conv: no memory for what it takes beside the arrays\n"
                f"  {self.workspace:,} bytes of scratch, and a copy of each array that is not C-contiguous\n"
                "  take a smaller batch, or parts of the image"
            ) from None
        if padding is not None and folded is not out:
            pad.fold_padding(padding, pad.spatial_axes(problem.y, "p"), folded, out)


def load_plans(plans: Sequence[Prepared]) -> None:
    """Make the kernels of several plans, side by side; a plan whose kernels cannot be made says so when it runs."""
    programs = [plan.program for plan in plans if plan.chosen.engine == "jit"]
    if programs:
        from ..engine import load_together

        load_together(programs)


class Bound:
    """A plan with its weights (packed, or as they are in w where `weights` is None): called with x alone.

    It never changes, so a copy is the Bound itself; a pickle is right on CPUs of this kind, and refused on others.
    """

    def __init__(self, plan: Prepared, weights: Weights | None, rows: Rows, w: Array | None) -> None:
        self.plan = plan
        self._weights = weights
        self._rows = rows
        self._w = w
        self._launcher = plan._launcher(weights, rows)
        self._parts = self._launcher

    def __copy__(self) -> Bound:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Bound:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        if self._weights is None:
            return Bound, (self.plan, None, self._rows, self._w)
        return _bind_packed, (self.plan, _weights_name(self.plan.program), self._weights, self._rows)

    def __repr__(self) -> str:
        problem, packed = self.plan.problem, self._weights is not None
        return (
            f"<Bound {problem.geometry}, {problem.dtype}: {self.plan.chosen.name}, "
            f"weights {'packed' if packed else 'as they are'}>"
        )

    def with_bias(self, bias: Any) -> Bound:
        """The same packed weights, held by both, with another bias."""
        added = {name: array.copy() for name, array in self.plan._read_bias(bias).items()}
        return Bound(self.plan, self._weights, {**self._rows, **added}, self._w)

    @property
    def weights(self) -> int:
        """The identity of its packed weights: Bounds that share them have it in common."""
        return id(self._w if self._weights is None else self._weights)

    @property
    def weight_bytes(self) -> int:
        """Bytes that binding took: what is read of lasting weights where they lie is not in it."""
        if self._weights is None:
            return 0 if self._w is None or not self._w.flags.writeable else self._w.nbytes
        taken: int = self.plan.program.bytes_of(self._weights)
        return taken

    @property
    def scratch(self) -> int:
        """Bytes that `jobs` needs beside the arrays."""
        return self._launcher.workspace if self._launcher else 0

    @property
    def part_scratch(self) -> int:
        """Bytes that `part_jobs` needs beside the arrays."""
        workspace: int = self.plan.program.workspace
        return workspace

    def jobs(self, x: Array, residual: Array | None, out: Array, scratch: int) -> list[Any] | None:
        """The jobs of a call with these arrays, for `pool.launch_all`, or None where it takes another way.

        The arrays do not overlap, but the residual may be `out`; `scratch` is the address of so many bytes. All of it
        must outlive the jobs, and so must this.
        """
        if self._launcher is None or not self.plan._is_plain(x, out, residual):
            return None
        return self._launcher.blocks(x, out, residual, scratch)

    def part_jobs(self, x: Array, residual: Array | None, out: Array, scratch: int) -> list[Any]:
        """The same of a plan on the jit for arrays that lie in larger ones just as it was planned (`plan_block`).

        The residual lies as `out` does. Nothing is checked.
        """
        if self._parts is None:
            assert self._weights is not None
            self._parts = self.plan.program.launcher(self._weights, self._rows)
        return self._parts.blocks(x, out, residual, scratch)

    def __call__(self, x: Any, residual: Any = None, out: Array | None = None) -> Array:
        """x: (B, C, *I), residual like y -> y: (B, O, *P); `out` is written and returned where it is given.

        Raises GeometryError for arrays that do not fit, before anything is written.
        """
        plan, problem = self.plan, self.plan.problem
        short = self._launcher
        if short:
            if out is None and type(x) is np.ndarray and x.shape == plan._shapes["x"]:
                out = allocate("conv", plan._shapes["y"], plan._dtypes.out)
            if out is not None and plan._is_plain(x, out, residual) and short.start(x, out, residual):
                return out
        x = require_operand("x", x, plan._shapes["x"], plan._dtypes.array)
        if problem.epilogue.residual != (residual is not None):
            raise PlanError(
                f"plan: made {'with' if problem.epilogue.residual else 'without'} a residual, called "
                f"{'with' if residual is not None else 'without'} one\n"
                f"  residual = {'an array' if residual is not None else None}\n"
                f"  plan again with residual={residual is not None}"
            )
        shape = plan._shapes["y"]
        if residual is not None:
            residual = require_operand("residual", residual, shape, plan._dtypes.out)
            if not problem.epilogue.weighed:
                require_small(problem, bias=self._rows.get("bias"), residual=residual)
        inputs = [array for array in (x, self._w, *self._rows.values()) if array is not None]
        out = require_output(out, shape, plan._dtypes.out, inputs, residual)
        plan.run(x, self._w, self._weights, self._rows, residual, out)
        return out


def _program_of(decision: Decision) -> Program:
    """The program of the chosen candidate, which can run."""
    chosen = decision.chosen
    program = make_program(decision.problem, decision.lowering, chosen.packing, chosen.engine)
    assert not isinstance(program, str), program
    return program


_warned = False


def warn_once(message: str) -> None:
    """Say it the first time in a process: what LLVM says differs from kernel to kernel, the first tells enough."""
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(message, RuntimeWarning, stacklevel=4)


def _weights_name(program: Any) -> tuple[str, ...]:
    """What packed weights mean something to: a version of convmat and, of machine code, a CPU."""
    return (preloaded.version(), *program.weights_name)


def _bind_packed(plan: Prepared, name: object, weights: Weights, rows: Rows) -> Bound:
    """A Bound from weights that were packed before, here or elsewhere."""
    program = plan._make_ready()
    if _weights_name(program) != name:
        raise PlanError(
            "plan: the pickle's weights are packed for another CPU, or by another version of convmat\n"
            f"  {plan.problem.geometry}, {plan.problem.dtype}: {plan.chosen.name}\n"
            "  pickle w beside the plan, and bind it where it is read: plan.bind(w)"
        )
    plan._bound = True
    return Bound(plan, program.adopt(weights), rows, None)


__all__ = ["Bound", "Prepared", "load_plans", "warn_once"]

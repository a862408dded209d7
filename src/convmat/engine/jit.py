"""The jit engine: machine code for this kind of product on this CPU.

`prepare` looks at each Product and decides what is constant in its kernel (a Recipe) and what is not (words in a
block); the kernel is made, or found, at the first call. Batch, spatial extents and strides are words: a new image
size compiles nothing.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from ..errors import EngineError
from ..processes import OfThisProcess, kept_property
from ..product import Packing, Product
from .cpu import Cpu, host
from .job import HEADER, WORD, address
from .kernels.base import KernelPlan
from .kernels.direct.plan import plan_direct
from .kernels.dots.plan import plan_dots
from .kernels.effort import Effort
from .kernels.panel.plan import plan_step
from .kernels.phases.plan import has_phases, plan_phases
from .kernels.pieces.plan import plan_pieces, sums_over_pieces
from .kernels.quads.plan import BYTES, plan_quads
from .kernels.sweeps.base import OUTSIDE, SweepPlan
from .kernels.text import kernel_text
from .kernels.winograd.plan import plan_transformed
from .launch import (
    ROWS,
    Launcher,
    LooseLauncher,
    Rows,
    Weights,
    allocate_aligned,
    fill_arrays,
    fill_weights,
    make_block,
    make_contiguous,
    pack_weights,
    read_rows,
    rows_a_bias,
    start,
)
from .operands import Array, Dtypes, Operands, Shapes, aligned_size, contiguous_strides
from .runtime import buffers, jit_cache, preloaded, thread_pool
from .runtime.loader import Loaded


def prepare(
    products: tuple[Product, ...],
    packing: Packing,
    dtypes: Dtypes,
    shapes: Shapes,
    limit: int,
    *,
    bound: bool = True,
    threads: int = 1,
    cpu: Cpu | None = None,
) -> JitProgram | str:
    """A program for the products, or the sentence why the jit makes no code for them.

    `limit`: bytes of scratch that its tasks should keep to (they may need more: see `workspace`). `bound`: weights are
    packed once, by `bind`; otherwise each call packs them in its workspace. `cpu`: a target set by hand. What
    has a shape "around" it is a part of a larger array, read or written in place.
    """
    target = cpu or host()
    copied = dtypes.names[0] in BYTES or any(p.rounded for p in products)
    around = {name: shapes[f"around {name}"] for name in "xy" if f"around {name}" in shapes and not copied}
    shapes = {**shapes, **around}
    if not target.fma:
        return f"makes code for CPUs with fused multiply-add, this one is {target.model}"
    if packing is Packing.NOTHING and (len(products) > 1 or any(map(has_phases, products))):
        together = plan_phases(products, dtypes, shapes, threads, target)
        if not isinstance(together, str):
            return JitProgram((together,), dtypes, target, bound=bound, around=around)
    steps: list[KernelPlan] = []
    for product in products:
        made = _plan_steps(product, packing, dtypes, shapes, threads, target, bound)
        if isinstance(made, str):
            return made
        steps += made
    if packing is Packing.WHOLE:
        return "never stores the unrolled input: it packs a panel at a time"
    return JitProgram(tuple(steps), dtypes, target, bound=bound, around=around)


def _planner(product: Product, packing: Packing, bound: bool) -> Callable[..., KernelPlan | str]:
    """What plans the kernel of a product."""
    if product.transforms:
        return plan_pieces if sums_over_pieces(product) else partial(plan_transformed, bound=bound)
    if product.strands:
        return plan_dots
    return plan_direct if packing is Packing.NOTHING else plan_step


def _plan_steps(
    product: Product, packing: Packing, dtypes: Dtypes, shapes: Shapes, threads: int, cpu: Cpu, bound: bool
) -> tuple[KernelPlan, ...] | str:
    """What is run one after the other for a product, or the sentence why no code is made for it."""
    if packing is Packing.PANEL and (product.rounded or dtypes.names[0] in BYTES):
        found = plan_quads(product, dtypes, shapes, threads, cpu)
        if not isinstance(found, str) or product.counted or product.rounded or dtypes.weights is not None:
            return found
    if (product.counted or dtypes.weights is not None) and packing is not Packing.NOTHING:
        return "counts from zero points, scales or takes two types where it packs panels alone"
    step = _planner(product, packing, bound)(product, dtypes, shapes, threads, cpu)
    return step if isinstance(step, str) else (step,)


_NOTHING = np.empty(0, np.uint8)


class JitProgram(OfThisProcess):
    """Products made ready to run by kernels; holds neither arrays nor code, and may be shared by threads.

    Code is held while it runs and by launchers: the many programs that a planner remembers would keep all of it.
    `around`: for x and y the shapes of larger arrays that they are parts of, which are then read and written in place.
    """

    def __init__(
        self, steps: tuple[KernelPlan, ...], dtypes: Dtypes, cpu: Cpu, *, bound: bool, around: Shapes
    ) -> None:
        self.steps = steps
        self.around = around
        self.by_dims = bool(around)
        self.dtypes = dtypes
        self.cpu = cpu
        self.bound = bound
        self._code: tuple[weakref.ref[Loaded], ...] = ()
        self._held: list[Loaded] = []
        # allocate_aligned asks for a cache line more
        self.weight_bytes = (
            sum(s.weight_bytes + s.kept_bytes + (64 if s.weight_tasks else 0) for s in steps) if bound else 0
        )
        loose = (
            max((aligned_size(s.weight_bytes) + 64 for s in steps if s.weight_tasks), default=0)
            if not bound
            else 0
        )
        repeated = sum(
            s.product.m * s.product.batch * dtypes.work.itemsize for s in steps if rows_a_bias(s) > 1
        )
        self.workspace = max((s.workspace for s in steps), default=0) + loose + (0 if bound else repeated)

    @property
    def recipes(self) -> list[Any]:
        """The recipe of each step's kernel."""
        return [step.recipe for step in self.steps]

    @property
    def code(self) -> list[Loaded]:
        """The machine code of each step, compiled if it is new: it stays as long as it is held."""
        found = self._find_code()
        if len(found) < len(self.steps):
            found = jit_cache.load(self.recipes, self.cpu, kernel_text, self.kernel_names)
            self.keep_code(found)
        return found

    def keep_code(self, found: Sequence[Loaded]) -> None:
        """Remember the machine code of each step, as long as somebody holds it."""
        self._code = tuple(map(weakref.ref, found))

    def _find_code(self) -> list[Loaded]:
        """The loaded code of the last call, as far as it is still in memory."""
        return [code for each in self._code if (code := each()) is not None]

    @property
    def weights_name(self) -> tuple[str, ...]:
        """Changes with whatever changes how A is packed: CPU, version and what is constant in the kernels."""
        return self.kernel_names

    @kept_property
    def kernel_names(self) -> tuple[str, ...]:
        """The name of each step's kernel."""
        return tuple(preloaded.kernel_name(each, self.cpu) for each in self.recipes)

    @kept_property
    def packing(self) -> tuple[Any, ...] | None:
        """What decides how weights are packed: programs in which it is equal may share them; None: nobody can say."""
        return tuple(step.packing for step in self.steps) if self.bound else None

    @property
    def efforts(self) -> list[Effort]:
        """What each step makes the machine do."""
        return [step.effort for step in self.steps]

    @property
    def loaded(self) -> bool:
        """Whether the kernels are there."""
        return bool(self._code) and len(self._find_code()) == len(self.steps)

    def load(self) -> None:
        """Get the kernels now. Raises EngineError where they cannot be compiled or run."""
        _ = self.code

    def bind(self, w: Array, rows: Rows | None = None, *, lasting: bool = False) -> Weights:
        """Pack A of every product as its kernel reads it.

        What kernels read of w itself is a copy, unless it is `lasting`: then nobody writes to it any more.
        """
        w = make_contiguous(w)
        itself = [step.reads_w and (not step.weight_tasks or step.kept_bytes > 0) for step in self.steps]
        kept = w if lasting or not any(itself) else w.copy()
        made = []
        for step, code, whole in zip(self.steps, self.code, itself, strict=True):
            held = kept if whole else _NOTHING
            packed = held
            if step.weight_tasks:
                packed = allocate_aligned(step.weight_bytes)
                pack_weights(step, code, w, address(packed), step.threads)
            made.append((packed, held))
        return made

    def bytes_of(self, weights: Weights) -> int:
        """Bytes that `bind` took for them: not those of a w that lasts, which is read-only."""
        own = {id(held): held.nbytes for _, held in weights if held.flags.writeable}
        return sum(step.weight_bytes for step in self.steps if step.weight_tasks) + sum(own.values())

    def adopt(self, weights: Weights) -> Weights:
        """Weights that a program of the same `weights_name` packed, and that lie elsewhere now."""
        made = []
        for step, (packed, held) in zip(self.steps, weights, strict=True):
            out = held
            if step.weight_tasks:
                out = allocate_aligned(step.weight_bytes)
                np.copyto(out, packed)
            made.append((out, held))
        return made

    def launcher(self, weights: Weights, rows: Rows) -> Launcher:
        """Everything of a call that does not change from one to the next: bound weights are called through it."""
        return Launcher(self.steps, self.code, self.workspace, weights, rows)

    def loose_launcher(self) -> LooseLauncher:
        """The same for calls whose weights are not bound."""
        return LooseLauncher(self.steps, self.code, self.workspace)

    def run(self, operands: Operands, weights: Weights | None, threads: int) -> None:
        """Compute: reads "x", "residual" and what rows have (and "w" without `weights`), writes "y"; of any shape."""
        y = operands["y"]
        target = y if self._lies_right("y", y) else self._find_place("y", y)
        x, residual = self._place("x", operands["x"]), operands.get("residual")
        residual = None if residual is None else self._place("y", residual)
        rows = {name: operands[name] for name in ROWS if name in operands}
        buffer = buffers.take(self.workspace)
        scratch = address(buffer) + 63 & -64
        w = make_contiguous(operands["w"]) if weights is None else x
        for i, (step, code) in enumerate(zip(self.steps, self.code, strict=True)):
            at_w = address(w)
            if weights is not None:
                a, at_w = map(address, weights[i])
            elif step.weight_tasks:
                a = scratch + aligned_size(step.workspace)
                pack_weights(step, code, w, a, threads)
            else:
                a = at_w
            block = make_block(step, code.symbols["task"], step.tasks, min(threads, step.threads))
            held = read_rows(step, rows)
            fill_weights(step, block, a, at_w, held)
            start(
                step,
                block,
                address(x),
                address(target),
                scratch,
                address(residual) if residual is not None else 0,
            )
        buffers.give(buffer)
        if target is not y:
            np.copyto(y, target)

    def _lies_right(self, name: str, array: Array) -> bool:
        """Whether an array lies as kernels take it: C-contiguous, or as a part of the array that it is planned in."""
        larger = self.around.get(name)
        if larger is None:
            return bool(array.flags.c_contiguous)
        steps = contiguous_strides(larger, array.itemsize)
        return all(n == 1 or a == b for n, a, b in zip(array.shape, array.strides, steps, strict=True))

    def _place(self, name: str, array: Array) -> Array:
        """An array that is read, where it lies right, or a copy that does."""
        if self._lies_right(name, array):
            return array
        made = self._find_place(name, array)
        np.copyto(made, array)
        return made

    def _find_place(self, name: str, array: Array) -> Array:
        """Memory for an array, where kernels read or write it."""
        larger = self.around.get(name, array.shape)
        return np.empty(larger, array.dtype)[tuple(slice(n) for n in array.shape)]

    def loose_blocks(self, x: int, w: int, y: int, scratch: int) -> list[Any]:
        """The jobs of a call that packs w too, for `pool.launch_all`: as long as they live, and so does this.

        Addresses of C-contiguous arrays that do not overlap; scratch: that of `workspace` bytes, a line's multiple.
        """
        self._held = held = self.code
        found = []
        for step, code in zip(self.steps, held, strict=True):
            a = scratch + aligned_size(step.workspace)
            if step.weight_tasks:
                pack = make_block(step, code.symbols["weights"], step.weight_tasks, step.threads)
                pack[step.at["w"]], pack[step.at["a"]] = w + step.origin["w"], a
                found.append(pack)
            block = make_block(step, code.symbols["task"], step.tasks, step.threads)
            fill_weights(step, block, a if step.weight_tasks else w, w, {})
            fill_arrays(step, block, x, y, scratch, 0)
            found.append(block)
        return found


def load_together(made: Sequence[JitProgram | Sweep]) -> None:
    """Get the kernels of several programs and sweeps, what is new compiled side by side.

    What cannot be compiled says so in its own `load`.
    """
    new = [*{id(each): each for each in made if not each.loaded}.values()]
    for cpu in {each.cpu for each in new}:
        here = [each for each in new if each.cpu == cpu]
        recipes = [recipe for each in here for recipe in each.recipes]
        names = [name for each in here for name in each.kernel_names]
        with suppress(EngineError):
            found = iter(jit_cache.load(recipes, cpu, kernel_text, names))
            for each in here:
                each.keep_code([next(found) for _ in each.kernel_names])


class Sweep(OfThisProcess):
    """A sweep's plan with its kernel: arrays of the planned shapes are passed over once.

    May be called from several threads at once.
    """

    def __init__(self, plan: SweepPlan) -> None:
        self.plan = plan
        self._code: Loaded | None = None

    @property
    def cpu(self) -> Cpu:
        """The CPU that its kernel is made for."""
        return self.plan.cpu

    @property
    def recipes(self) -> list[Any]:
        """The recipe of its kernel, alone in a list."""
        return [self.plan.recipe]

    @property
    def loaded(self) -> bool:
        """Whether the kernel is there."""
        return self._code is not None

    def load(self) -> None:
        """Get the kernel. Raises EngineError where it can be neither found nor compiled."""
        if self._code is None:
            self.keep_code(jit_cache.load(self.recipes, self.cpu, kernel_text, self.kernel_names))

    @kept_property
    def kernel_names(self) -> tuple[str, ...]:
        """The name of its kernel, alone in a tuple."""
        return (preloaded.kernel_name(self.plan.recipe, self.cpu),)

    def keep_code(self, found: Sequence[Loaded]) -> None:
        """Run this machine code, alone in a list."""
        (code,) = found
        self._template, self._task = self.plan.template, code.symbols["task"]
        self._code = code  # last: another thread takes it as the sign that all is there

    @property
    def outside(self) -> int | None:
        """The word of its jobs that is set where an index that its kernel read names no place, if it reads any."""
        arguments = self.plan.recipe.arguments
        return HEADER // WORD + arguments.offset(OUTSIDE) // WORD if OUTSIDE in arguments.names else None

    def block(self, arrays: Sequence[Array]) -> Any:
        """The job for these C-contiguous arrays, for the pool; an output may lie exactly where an input does."""
        made = (ctypes.c_int64 * (len(self._template) // WORD)).from_buffer_copy(self._template)
        made[0] = self._task
        for at, array in enumerate(arrays, HEADER // WORD):  # addresses are the first of its words
            made[at] = address(array)
        return made

    def __call__(self, *arrays: Array) -> None:
        """Write the last of the arrays, which is C-contiguous as all that is written; others may have any strides."""
        held = [np.ascontiguousarray(each) for each in arrays[:-1]]
        block = self.block([*held, arrays[-1]])
        thread_pool.launch(ctypes.addressof(block))


__all__ = ["JitProgram", "Sweep", "load_together", "prepare"]

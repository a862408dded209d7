"""The jit engine: machine code for this kind of product on this CPU.

`prepare` looks at each Product and decides what is constant in its kernel (a Recipe) and what is not (words in a
block); the kernel is made, or found, at the first call. Batch, spatial extents and strides are words: a new image
size compiles nothing.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from ..errors import EngineError
from ..processes import OfThisProcess
from ..product import Packing, Product, Transform, count_values
from .cpu import Cpu, host
from .job import HEADER, WORD, address
from .kernels.base import KernelPlan
from .kernels.direct.plan import plan_direct
from .kernels.dots.plan import plan_dots
from .kernels.effort import Effort
from .kernels.panel.plan import plan_step
from .kernels.phases.plan import plan_phases
from .kernels.pieces.plan import plan_pieces
from .kernels.quads.plan import BYTES, plan_quads
from .kernels.sweeps.base import SweepPlan
from .kernels.text import kernel_text
from .kernels.winograd.plan import plan_transformed
from .operands import Array, Dtypes, Operands, Shapes, aligned_size
from .runtime import buffers, jit_cache, preloaded, thread_pool
from .runtime.loader import Loaded

Weights = list[Array]
Rows = Mapping[str, Array]
"""What each row of C has, by its name in ROWS."""

ROWS = ("bias", "scale", "w zero")


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
    packed once, by `bind`; otherwise each call packs them in its workspace. `cpu`: a target set by hand.
    """
    target = cpu or host()
    if not target.fma:
        return f"makes code for CPUs with fused multiply-add, this one is {target.model}"
    if packing is Packing.NOTHING and len(products) > 1:
        together = plan_phases(products, dtypes, shapes, threads, target)
        if not isinstance(together, str):
            return JitProgram((together,), dtypes, target, bound=bound)
    steps: list[KernelPlan] = []
    for product in products:
        made = _steps(product, packing, dtypes, shapes, threads, target, bound)
        if isinstance(made, str):
            return made
        steps += made
    if packing is Packing.WHOLE:
        return "never stores the unrolled input: it packs a panel at a time"
    return JitProgram(tuple(steps), dtypes, target, bound=bound)


def _planner(product: Product, packing: Packing, bound: bool) -> Callable[..., KernelPlan | str]:
    """What plans the kernel of a product."""
    if product.transforms:
        in_pieces = isinstance(product.transforms[0], Transform) and len(product.terms[0][1].rows) > 1
        return plan_pieces if in_pieces else partial(plan_transformed, bound=bound)
    if product.strands:
        return plan_dots
    return plan_direct if packing is Packing.NOTHING else plan_step


def _steps(
    product: Product, packing: Packing, dtypes: Dtypes, shapes: Shapes, threads: int, cpu: Cpu, bound: bool
) -> tuple[KernelPlan, ...] | str:
    """What is run one after the other for a product, or the sentence why no code is made for it."""
    if packing is Packing.PANEL and (product.rounded or dtypes.array.name in BYTES):
        found = plan_quads(product, dtypes, shapes, threads, cpu)
        if not isinstance(found, str) or product.counted or product.rounded or dtypes.weights is not None:
            return found
    if (product.counted or dtypes.weights is not None) and packing is not Packing.NOTHING:
        return "counts from zero points, scales or takes two types where it packs panels alone"
    step = _planner(product, packing, bound)(product, dtypes, shapes, threads, cpu)
    return step if isinstance(step, str) else (step,)


class JitProgram(OfThisProcess):
    """Products made ready to run by kernels; holds neither arrays nor code, and may be shared by threads.

    Code is held while it runs and by launchers: the many programs that a planner remembers would keep all of it.
    """

    by_dims = False

    def __init__(self, steps: tuple[KernelPlan, ...], dtypes: Dtypes, cpu: Cpu, *, bound: bool) -> None:
        self.steps = steps
        self.dtypes = dtypes
        self.cpu = cpu
        self.bound = bound
        self._code: tuple[weakref.ref[Loaded], ...] = ()
        self._held: list[Loaded] = []
        # _aligned asks for a cache line more
        self.weight_bytes = (
            sum(s.weight_bytes + s.kept_bytes + (64 if s.weight_tasks else 0) for s in steps) if bound else 0
        )
        loose = (
            max((aligned_size(s.weight_bytes) + 64 for s in steps if s.weight_tasks), default=0)
            if not bound
            else 0
        )
        repeated = sum(
            s.product.m * s.product.batch * dtypes.work.itemsize for s in steps if _rows_a_bias(s) > 1
        )
        self.workspace = max((s.workspace for s in steps), default=0) + loose + (0 if bound else repeated)

    @property
    def recipes(self) -> list[Any]:
        """The recipe of each step's kernel."""
        return [step.recipe for step in self.steps]

    @property
    def code(self) -> list[Loaded]:
        """The machine code of each step, compiled if it is new: it stays as long as it is held."""
        found = self._found()
        if len(found) < len(self.steps):
            found = jit_cache.load(self.recipes, self.cpu, kernel_text)
            self._code = tuple(map(weakref.ref, found))
        return found

    def _found(self) -> list[Loaded]:
        """The loaded code of the last call, as far as it is still in memory."""
        return [code for each in self._code if (code := each()) is not None]

    @property
    def weights_name(self) -> tuple[str, ...]:
        """Changes with whatever changes how A is packed: CPU, version and what is constant in the kernels."""
        return tuple(preloaded.kernel_name(each, self.cpu) for each in self.recipes)

    @property
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
        return bool(self._code) and len(self._found()) == len(self.steps)

    def load(self) -> None:
        """Get the kernels now. Raises EngineError where they cannot be compiled or run."""
        _ = self.code

    def bind(self, w: Array, rows: Rows | None = None) -> Weights:
        """Pack A of every product as its kernel reads it; a copy of w where A is packed on the way."""
        w = _whole(w)
        made = []
        for step, code in zip(self.steps, self.code, strict=True):
            if not step.reads_w:
                made.append(np.empty(0, np.uint8))
                continue
            out = _aligned(step.weight_bytes + step.kept_bytes) if step.weight_tasks else w.copy()
            if step.weight_tasks:
                _pack(step, code, w, address(out), step.threads)
            if step.kept_bytes:
                out[step.weight_bytes :] = w.reshape(-1).view(np.uint8)
            made.append(out)
        return made

    def adopt(self, weights: Weights) -> Weights:
        """Weights that a program of the same `weights_name` packed, and that lie elsewhere now."""
        made = []
        for step, packed in zip(self.steps, weights, strict=True):
            out = (
                _aligned(step.weight_bytes + step.kept_bytes) if step.weight_tasks else np.empty_like(packed)
            )
            np.copyto(out, packed)
            made.append(out)
        return made

    def launcher(self, weights: Weights, rows: Rows) -> Launcher:
        """Everything of a call that does not change from one to the next: bound weights are called through it."""
        return Launcher(self, weights, rows)

    def loose_launcher(self) -> LooseLauncher:
        """The same for calls whose weights are not bound."""
        return LooseLauncher(self)

    def run(self, operands: Operands, weights: Weights | None, threads: int) -> None:
        """Compute: reads "x", "residual" and what rows have (and "w" without `weights`), writes "y"; of any shape."""
        y = operands["y"]
        target = y if y.flags.c_contiguous else np.empty(y.shape, y.dtype)
        x, residual = _whole(operands["x"]), operands.get("residual")
        residual = None if residual is None else _whole(residual)
        rows = {name: operands[name] for name in ROWS if name in operands}
        buffer = buffers.take(self.workspace)
        scratch = address(buffer) + 63 & -64
        w = _whole(operands["w"]) if weights is None else x
        for i, (step, code) in enumerate(zip(self.steps, self.code, strict=True)):
            at_w = address(w)
            if weights is not None:
                a = address(weights[i])
                at_w = a + step.weight_bytes if step.kept_bytes else a
            elif step.weight_tasks:
                a = scratch + aligned_size(step.workspace)
                _pack(step, code, w, a, threads)
            else:
                a = at_w
            block = _block(step, code.symbols["task"], step.tasks, min(threads, step.threads))
            held = _read_rows(step, rows)
            _fill(step, block, a, at_w, held)
            _start(
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

    def loose_blocks(self, x: int, w: int, y: int, scratch: int) -> list[Any]:
        """The jobs of a call that packs w too, for `pool.launch_all`: as long as they live, and so does this.

        Addresses of C-contiguous arrays that do not overlap; scratch: that of `workspace` bytes, a line's multiple.
        """
        self._held = held = self.code
        found = []
        for step, code in zip(self.steps, held, strict=True):
            a = scratch + aligned_size(step.workspace)
            if step.weight_tasks:
                pack = _block(step, code.symbols["weights"], step.weight_tasks, step.threads)
                pack[step.at["w"]], pack[step.at["a"]] = w + step.origin["w"], a
                found.append(pack)
            block = _block(step, code.symbols["task"], step.tasks, step.threads)
            _fill(step, block, a if step.weight_tasks else w, w, {})
            _aim(step, block, x, y, scratch, 0)
            found.append(block)
        return found


def load_together(made: Sequence[JitProgram | Sweep]) -> None:
    """Get the kernels of several programs and sweeps, what is new compiled side by side.

    What cannot be compiled says so in its own `load`.
    """
    new = [each for each in made if not each.loaded]
    for cpu in {each.cpu for each in new}:
        recipes = [recipe for each in new if each.cpu == cpu for recipe in each.recipes]
        with suppress(EngineError):
            jit_cache.load(recipes, cpu, kernel_text)


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
            (found,) = jit_cache.load(self.recipes, self.cpu, kernel_text)
            self._template, self._task = self.plan.template, found.symbols["task"]
            self._code = found  # last: another thread takes it as the sign that all is there

    def block(self, arrays: Sequence[Array]) -> Any:
        """The job for these C-contiguous arrays, for the pool; an output may lie exactly where an input does."""
        made = (ctypes.c_int64 * (len(self._template) // WORD)).from_buffer_copy(self._template)
        made[0] = self._task
        for at, array in enumerate(arrays, HEADER // WORD):  # addresses are the first of its words
            made[at] = address(array)
        return made

    def __call__(self, *arrays: Array) -> None:
        """Write the last of the arrays, which is C-contiguous; the others may have any strides."""
        held = [np.ascontiguousarray(each) for each in arrays[:-1]]
        block = self.block([*held, arrays[-1]])
        thread_pool.launch(ctypes.addressof(block))


class Launcher(OfThisProcess):
    """A program with its weights, bias and blocks filled in: what remains is a few addresses a call.

    Scratch is kept for each Python thread and used again, up to KEPT_BYTES.
    """

    def __init__(self, program: JitProgram, weights: Weights, rows: Rows) -> None:
        self.workspace = program.workspace
        code, held = program.code, [_read_rows(step, rows) for step in program.steps]
        self._held = (program, code, weights, held)  # whose addresses are in the blocks
        self._blocks: list[tuple[KernelPlan, Any, bytes]] = []
        for step, each, packed, given in zip(program.steps, code, weights, held, strict=True):
            block = _block(step, each.symbols["task"], step.tasks, step.threads)
            a = address(packed)
            _fill(step, block, a, a + step.weight_bytes if step.kept_bytes else a, given)
            self._blocks.append((step, type(block), bytes(block)))

    def start(self, x: Array, y: Array, residual: Array | None = None) -> bool:
        """Compute y from x, C-contiguous arrays of the planned shapes; False, and nothing done, if they overlap.

        The residual may be y itself.
        """
        at_x, at_y, at_r = address(x), address(y), 0
        if at_x < at_y + y.nbytes and at_y < at_x + x.nbytes:
            return False
        if residual is not None:
            at_r = address(residual)
            if at_r != at_y and at_r < at_y + y.nbytes and at_y < at_r + y.nbytes:
                return False
        held, scratch = _scratch(self.workspace)
        for step, kind, template in self._blocks:
            _start(step, kind.from_buffer_copy(template), at_x, at_y, scratch, at_r)
        del held
        return True

    def blocks(self, x: Array, y: Array, residual: Array | None, scratch: int) -> list[Any]:
        """The jobs of a call with these arrays, for `pool.launch_all`: as long as they live, and so does this.

        x, y and residual as for `start`, not overlapping; scratch: the address of `workspace` bytes, a line's multiple.
        """
        found = []
        for step, kind, template in self._blocks:
            block = kind.from_buffer_copy(template)
            _aim(step, block, address(x), address(y), scratch, 0 if residual is None else address(residual))
            found.append(block)
        return found


class LooseLauncher(OfThisProcess):
    """The same of a program that packs w in each call, or reads it where it lies, and takes nothing else.

    The kernels are not held between calls: a plan is remembered for longer than the code of all plans fits.
    """

    def __init__(self, program: JitProgram) -> None:
        self.workspace = program.workspace
        code = program.code
        self._code = [weakref.ref(each) for each in code]
        self._blocks: list[tuple[KernelPlan, Any, bytes, bytes, int]] = []
        for step, each in zip(program.steps, code, strict=True):
            block = _block(step, each.symbols["task"], step.tasks, step.threads)
            pack = b""
            if step.weight_tasks:
                pack = bytes(_block(step, each.symbols["weights"], step.weight_tasks, step.threads))
            self._blocks.append((step, type(block), bytes(block), pack, aligned_size(step.workspace)))

    def start(self, x: Array, w: Array, y: Array) -> bool:
        """Compute y from x and w, C-contiguous arrays of the planned shapes.

        False, and nothing done, if y overlaps one of them, or the kernels are no longer there.
        """
        at_x, at_w, at_y = address(x), address(w), address(y)
        end = at_y + y.nbytes
        if (at_x < end and at_y < at_x + x.nbytes) or (at_w < end and at_y < at_w + w.nbytes):
            return False
        held = [each() for each in self._code]
        if None in held:
            return False
        memory, scratch = _scratch(self.workspace)
        for step, kind, template, packing, beyond in self._blocks:
            at, a = step.at, at_w
            if packing:
                a = scratch + beyond
                block = kind.from_buffer_copy(packing)
                block[at["w"]], block[at["a"]] = at_w + step.origin["w"], a
                thread_pool.launch(ctypes.addressof(block))
            block = kind.from_buffer_copy(template)
            block[at["a"]], block[at["w"]] = a, at_w + step.origin["w"]
            _start(step, block, at_x, at_y, scratch, 0)
        del memory, held
        return True


KEPT_BYTES = 4 << 20
"""Scratch that a Python thread keeps for its next call."""


class _Kept(threading.local):
    memory: Array | None = None
    at = 0


_kept = _Kept()


def _scratch(count: int) -> tuple[Array, int]:
    """Scratch of so many bytes for this Python thread's next launch, and where it begins."""
    memory = _kept.memory
    if memory is not None and memory.nbytes >= count:
        return memory, _kept.at
    fresh = np.empty(count, np.uint8)
    at = address(fresh) + 63 & -64
    if count <= KEPT_BYTES:
        _kept.memory, _kept.at = fresh, at
    return fresh, at


def _block(step: KernelPlan, kernel: int, tasks: int, threads: int) -> Any:
    """A fresh copy of the step's block, addressed to a kernel."""
    block = (ctypes.c_int64 * (len(step.template) // WORD)).from_buffer_copy(step.template)
    block[0], block[1], block[2] = kernel, tasks, threads
    return block


def _pack(step: KernelPlan, code: Loaded, w: Array, out: int, threads: int) -> None:
    """Pack A at `out`, all blocks of it at once."""
    block = _block(step, code.symbols["weights"], step.weight_tasks, min(threads, step.threads))
    block[step.at["w"]] = address(w) + step.origin["w"]
    block[step.at["a"]] = out
    thread_pool.launch(ctypes.addressof(block))


def _read_rows(step: KernelPlan, rows: Rows) -> dict[str, Array]:
    """What rows have, contiguous and in the types in which the step reads it: a number for each row."""
    kinds = {"bias": step.bias_dtype, "scale": np.dtype(np.float32), "w zero": np.dtype(np.int32)}
    found = {name: np.ascontiguousarray(array, kinds[name]) for name, array in rows.items()}
    if (times := _rows_a_bias(step)) > 1:
        found["bias"] = np.repeat(found["bias"], times)
    return found


def _rows_a_bias(step: KernelPlan) -> int:
    """How many rows of C, one below the other, one number of the bias is added to."""
    bias = step.product.epilogue.bias
    return 1 if bias is None else step.product.m // max(count_values(bias.indices[len(bias.batch) :]), 1)


def _fill(step: KernelPlan, block: Any, a: int, w: int, rows: Rows) -> None:
    """What a block says of weights and of what rows have: where A as it is packed begins, and w itself."""
    block[step.at["a"]], block[step.at["w"]] = a, w + step.origin["w"]
    for name, array in rows.items():
        block[step.at[name]] = address(array)


def _aim(step: KernelPlan, block: Any, x: int, y: int, scratch: int, residual: int) -> None:
    """What a block says of the arrays of a call."""
    at, origin = step.at, step.origin
    block[at["x"]] = x + origin["x"]
    block[at["y"]] = y + origin["y"]
    block[at["residual"]] = residual + origin["y"]
    if "scratch" in at:
        block[at["scratch"]] = scratch


def _start(step: KernelPlan, block: Any, x: int, y: int, scratch: int, residual: int) -> None:
    """Run a filled block on the arrays at these addresses."""
    _aim(step, block, x, y, scratch, residual)
    thread_pool.launch(ctypes.addressof(block))


def _aligned(count: int) -> Array:
    """Bytes that begin on a cache line."""
    memory = np.empty(count + 64, np.uint8)
    start = -address(memory) % 64
    return memory[start : start + count]


def _whole(array: Array) -> Array:
    return array if array.flags.c_contiguous else np.ascontiguousarray(array)


__all__ = ["JitProgram", "Launcher", "LooseLauncher", "Sweep", "load_together", "prepare"]

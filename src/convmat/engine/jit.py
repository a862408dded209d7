"""The jit engine: machine code for this kind of product on this CPU.

`prepare` looks at each Product and decides what is constant in its kernel (a Recipe) and what is not (words in a
block); the kernel is made, or found, at the first call. Batch, spatial extents and strides are words: a new image
size compiles nothing.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from ..product import Packing, Product
from . import kernel, objects, pool
from .blas import Dtypes, Operands
from .cpu import Cpu, host
from .ir import PREFER_512
from .memory import Array, room
from .kernel import Recipe
from .schedule import Step, plan_step
from .slots import BLOCK, WORD

Weights = list[Array]


def prepare(
    products: tuple[Product, ...],
    packing: Packing,
    dtypes: Dtypes,
    shapes: Mapping[str, tuple[int, ...]],
    limit: int,
    *,
    bound: bool = True,
    threads: int = 1,
    cpu: Cpu | None = None,
) -> Program | str:
    """A program for the products, or the sentence why the jit makes no code for them.

    `limit`: bytes of scratch that its tasks should keep to (they may need more: see `workspace`). `bound`: weights are
    packed once, by `bind`; otherwise each call packs them in its workspace. `cpu`: a target set by hand.
    """
    target = cpu or host()
    if not target.fma:
        return f"makes code for CPUs with fused multiply-add, this one is {target.model}"
    steps = []
    for product in products:
        step = plan_step(product, dtypes, shapes, threads, target)
        if isinstance(step, str):
            return step
        steps.append(step)
    if packing is not Packing.PANEL:
        whole = packing is Packing.WHOLE
        return "never stores the unrolled input: it packs a panel at a time" if whole else "packs a panel at a time"
    return Program(tuple(steps), dtypes, target, bound=bound)


class Program:
    """Products made ready to run by kernels; holds no arrays and may be shared by threads."""

    def __init__(self, steps: tuple[Step, ...], dtypes: Dtypes, cpu: Cpu, *, bound: bool) -> None:
        self.steps = steps
        self.dtypes = dtypes
        self.cpu = cpu
        self.bound = bound
        self.weight_bytes = sum(s.weight_bytes for s in steps) if bound else 0
        loose = max((room(s.weight_bytes) + 64 for s in steps if s.packs), default=0) if not bound else 0
        self.workspace = max((s.workspace for s in steps), default=0) + loose

    @cached_property
    def kernels(self) -> list[tuple[int, int]]:
        """The addresses of each step's `task` and `weights`; compiles what is new."""
        loaded = objects.load([text(s.recipe, self.cpu) for s in self.steps], self.cpu)
        return [(each.symbols["task"], each.symbols.get("weights", 0)) for each in loaded]

    @property
    def loaded(self) -> bool:
        """Whether the kernels are there."""
        return "kernels" in self.__dict__

    def load(self) -> None:
        """Get the kernels now. Raises EngineError where they cannot be compiled or run."""
        assert self.kernels is not None

    def __getstate__(self) -> dict[str, Any]:
        """Addresses mean nothing elsewhere."""
        return {name: value for name, value in self.__dict__.items() if name != "kernels"}

    def bind(self, w: Array) -> Weights:
        """Pack A of every product as its kernel reads it; a copy of w where A is packed on the way."""
        w = _whole(w)
        made = []
        for step, (_, kernel) in zip(self.steps, self.kernels, strict=True):
            out = w.copy() if not step.packs else _aligned(step.weight_bytes)
            if step.packs:
                _pack(step, kernel, w, address(out), step.threads)
            made.append(out)
        return made

    def run(self, operands: Operands, weights: Weights | None, threads: int) -> None:
        """Compute: reads "x", "bias", "residual" (and "w" without `weights`), writes "y".

        Arrays have one axis per coordinate of their Views.
        """
        y = operands["y"]
        target = y if y.flags.c_contiguous else np.empty(y.shape, y.dtype)
        buffer = np.empty(self.workspace, np.uint8)
        x = _whole(operands["x"])
        start = -(-address(buffer) // 64) * 64
        w = _whole(operands["w"]) if weights is None else x
        for i, (step, (task, pack)) in enumerate(zip(self.steps, self.kernels, strict=True)):
            if weights is not None:
                a = address(weights[i])
            elif step.packs:
                a = start + room(step.workspace)
                _pack(step, pack, w, a, threads)
            else:
                a = address(w)
            _run(step, task, operands, x, target, a, start, threads)
        if target is not y:
            np.copyto(y, target)


@lru_cache(maxsize=1024)
def text(recipe: Recipe, cpu: Cpu) -> str:
    """The IR of a recipe for a CPU."""
    attributes = PREFER_512 if cpu.vector_bytes == 64 else ""
    return str(kernel.module(recipe, attributes, fused=cpu.fma))


def _block(step: Step, kernel: int, tasks: int, threads: int) -> Any:
    """A fresh copy of the step's block, addressed to a kernel."""
    block = (ctypes.c_int64 * (len(step.template) // WORD)).from_buffer_copy(step.template)
    block[0], block[1], block[2] = kernel, tasks, threads
    return block


def _pack(step: Step, kernel: int, w: Array, out: int, threads: int) -> None:
    """Pack A at `out`, all blocks of it at once."""
    tasks = step.product.batch * step.recipe.blocks
    block = _block(step, kernel, tasks, min(threads, step.threads))
    block[step.at["w"]] = address(w) + step.origin["w"]
    block[step.at["a"]] = out
    pool.launch(ctypes.addressof(block))


def _run(
    step: Step, kernel: int, operands: Operands, x: Array, y: Array, packed: int, scratch: int, threads: int
) -> None:
    block = _block(step, kernel, step.tasks, min(threads, step.threads))
    at, origin = step.at, step.origin
    block[at["x"]] = address(x) + origin["x"]
    block[at["y"]] = address(y) + origin["y"]
    block[at["a"]], block[at["w"]] = packed, packed + origin["w"]
    block[at["scratch"]] = scratch
    bias = residual = None
    if step.recipe.bias:
        bias = np.ascontiguousarray(operands["bias"], step.dtypes.work)
        block[at["bias"]] = address(bias)
    if step.recipe.residual:
        residual = _whole(operands["residual"])
        block[at["residual"]] = address(residual) + origin["y"]
    pool.launch(ctypes.addressof(block))


def _aligned(count: int) -> Array:
    """Bytes that begin on a cache line."""
    memory = np.empty(count + 64, np.uint8)
    start = -address(memory) % 64
    return memory[start : start + count]


def address(array: Array) -> int:
    """Where an array's first element is."""
    found: int = array.__array_interface__["data"][0]
    return found


def _whole(array: Array) -> Array:
    return array if array.flags.c_contiguous else np.ascontiguousarray(array)


__all__ = ["BLOCK", "Program", "prepare", "text"]

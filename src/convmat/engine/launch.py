"""Blocks of kernel arguments: made, filled in and started; and what fills in all of them that calls share."""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..processes import OfThisProcess
from ..product import count_values
from .job import HEADER, SPARE, WORD, address
from .kernels.base import KernelPlan
from .operands import Array, aligned_size
from .runtime import thread_pool
from .runtime.loader import Loaded

Weights = list[tuple[Array, Array]]
"""A of each step as its kernel reads it, and w itself, where the kernel reads that too: else nothing."""


Rows = Mapping[str, Array]
"""What each row of C has, by its name in ROWS."""


Steps = tuple[KernelPlan, ...]


ROWS = ("bias", "scale", "w zero", "factor", "offset", "addition")


class Launcher(OfThisProcess):
    """A program with its weights, bias and blocks filled in: what remains is a few addresses a call.

    Scratch is kept for each Python thread and used again, up to KEPT_BYTES.
    """

    def __init__(
        self, steps: Steps, code: Sequence[Loaded], workspace: int, weights: Weights, rows: Rows
    ) -> None:
        self.workspace = workspace
        held = [read_rows(step, rows) for step in steps]
        self._held = (steps, code, weights, held)  # whose addresses are in the blocks
        self._blocks: list[tuple[KernelPlan, Any, bytes]] = []
        for step, each, (packed, w), given in zip(steps, code, weights, held, strict=True):
            block = make_block(step, each.symbols["task"], step.tasks, step.threads)
            # An array without elements is not read, and may have no address.
            a, at_w = (address(array) if array.size else 0 for array in (packed, w))
            fill_weights(step, block, a, at_w, given)
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
            start(step, kind.from_buffer_copy(template), at_x, at_y, scratch, at_r)
        del held
        return True

    def blocks(self, x: Array, y: Array, residual: Array | None, scratch: int) -> list[Any]:
        """The jobs of a call with these arrays, for `pool.launch_all`: as long as they live, and so does this.

        x, y and residual as for `start`, not overlapping; scratch: the address of `workspace` bytes, a line's multiple.
        """
        found = []
        for step, kind, template in self._blocks:
            block = kind.from_buffer_copy(template)
            fill_arrays(
                step, block, address(x), address(y), scratch, 0 if residual is None else address(residual)
            )
            found.append(block)
        return found


class LooseLauncher(OfThisProcess):
    """The same of a program that packs w in each call, or reads it where it lies, and takes nothing else.

    The kernels are not held between calls: a plan is remembered for longer than the code of all plans fits.
    """

    def __init__(self, steps: Steps, code: Sequence[Loaded], workspace: int) -> None:
        self.workspace = workspace
        self._code = [weakref.ref(each) for each in code]
        self._blocks: list[tuple[KernelPlan, Any, bytes, bytes, int]] = []
        for step, each in zip(steps, code, strict=True):
            block = make_block(step, each.symbols["task"], step.tasks, step.threads)
            pack = b""
            if step.weight_tasks:
                pack = bytes(make_block(step, each.symbols["weights"], step.weight_tasks, step.threads))
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
            start(step, block, at_x, at_y, scratch, 0)
        del memory, held
        return True


KEPT_BYTES = 4 << 20
"""Scratch that a Python thread keeps for its next call."""


class _ThreadScratch(threading.local):
    memory: Array | None = None
    at = 0


_kept = _ThreadScratch()


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


def make_block(step: KernelPlan, kernel: int, tasks: int, threads: int) -> Any:
    """A fresh copy of the step's block, addressed to a kernel."""
    block = (ctypes.c_int64 * (len(step.template) // WORD)).from_buffer_copy(step.template)
    block[0], block[1], block[2] = kernel, tasks, threads
    return block


def start_anew(block: Any, *places: int) -> Callable[..., None]:
    """What starts a sweep's job for other arrays in some of its places, C-contiguous ones; the rest must live as long.

    >>> from convmat.engine import Expression, ExpressionStep, Sweep, elementwise
    >>> added = Expression(("float32",) * 2, (ExpressionStep("add", (0, 1)),))
    >>> made, ones = Sweep(elementwise(added, [(2,), (2,)], (2,), 1)), np.ones(2, np.float32)
    >>> made.load()
    >>> add_one, y = start_anew(made.block([ones, ones, ones]), 0, 2), np.empty(2, np.float32)
    >>> add_one(np.array([3, 4], np.float32), y)
    >>> y.tolist()
    [4.0, 5.0]
    """
    kind, template, words = type(block), bytes(block), [HEADER // WORD + place for place in places]

    def run(*arrays: Array) -> None:
        made = kind.from_buffer_copy(template)
        for word, array in zip(words, arrays, strict=True):
            made[word] = address(array)
        thread_pool.launch(ctypes.addressof(made))

    return run


def join_in_turn(rows: Sequence[Sequence[Any]], threads: int) -> Any:
    """One job, each task of which does the jobs of a row one after the other, alone: all of them lie in its memory."""
    begin = 2 * len(rows)
    made = (ctypes.c_int64 * (HEADER // WORD + begin + sum(len(job) for row in rows for job in row)))()
    start = ctypes.addressof(made)
    made[0], made[1], made[2] = thread_pool.start().in_turn, len(rows), threads
    at = HEADER // WORD + begin
    for number, row in enumerate(rows):
        place = HEADER // WORD + 2 * number
        made[place], made[place + 1] = at * WORD - HEADER, len(row)
        for job in row:
            ctypes.memmove(start + at * WORD, job, len(job) * WORD)
            made[at + SPARE] = len(job) * WORD
            at += len(job)
    return made


def pack_weights(step: KernelPlan, code: Loaded, w: Array, out: int, threads: int) -> None:
    """Pack A at `out`, all blocks of it at once."""
    block = make_block(step, code.symbols["weights"], step.weight_tasks, min(threads, step.threads))
    block[step.at["w"]] = address(w) + step.origin["w"]
    block[step.at["a"]] = out
    thread_pool.launch(ctypes.addressof(block))


def read_rows(step: KernelPlan, rows: Rows) -> dict[str, Array]:
    """What rows have, contiguous and in the types in which the step reads it: a number for each row."""
    kinds = {"bias": step.bias_dtype, "w zero": np.dtype(np.int32)}
    single = np.dtype(np.float32)
    found = {name: np.ascontiguousarray(array, kinds.get(name, single)) for name, array in rows.items()}
    if (times := rows_a_bias(step)) > 1:
        found["bias"] = np.repeat(found["bias"], times)
    return found


def rows_a_bias(step: KernelPlan) -> int:
    """How many rows of C, one below the other, one number of the bias is added to."""
    bias = step.product.epilogue.bias
    return 1 if bias is None else step.product.m // max(count_values(bias.indices[len(bias.batch) :]), 1)


def fill_weights(step: KernelPlan, block: Any, a: int, w: int, rows: Rows) -> None:
    """What a block says of weights and of what rows have: where A as it is packed begins, and w itself."""
    block[step.at["a"]], block[step.at["w"]] = a, w + step.origin["w"]
    for name, array in rows.items():
        block[step.at[name]] = address(array)


def fill_arrays(step: KernelPlan, block: Any, x: int, y: int, scratch: int, residual: int) -> None:
    """What a block says of the arrays of a call."""
    at, origin = step.at, step.origin
    block[at["x"]] = x + origin["x"]
    block[at["y"]] = y + origin["y"]
    block[at["residual"]] = residual + origin["y"]
    if "scratch" in at:
        block[at["scratch"]] = scratch


def start(step: KernelPlan, block: Any, x: int, y: int, scratch: int, residual: int) -> None:
    """Run a filled block on the arrays at these addresses."""
    fill_arrays(step, block, x, y, scratch, residual)
    thread_pool.launch(ctypes.addressof(block))


def allocate_aligned(count: int) -> Array:
    """Zeros that begin on a cache line: what packing leaves out holds no addresses that lay there before."""
    memory = np.zeros(count + 64, np.uint8)
    start = -address(memory) % 64
    return memory[start : start + count]


def make_contiguous(array: Array) -> Array:
    """The array, or a copy of it that is C-contiguous."""
    return array if array.flags.c_contiguous else np.ascontiguousarray(array)

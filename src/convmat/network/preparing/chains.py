"""Runs of steps that are machine code: done one after the other by the pool, with Python asked once for all of them.

What a chain needs to know are addresses. Those of values in an arena stay; the network's inputs and outputs lie
elsewhere in each call. Which words of a job say where, its maker is not asked: it is made for two places that no memory
is at, and what differs by as much as these do is written anew in each call.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from ...engine import address, contiguous_strides, handover_seconds, strided_views, thread_pool
from ...errors import EngineError
from ...lazy_dataclass import dataclass
from ...planner.jitcost import CALL
from ...processes import OfThisProcess
from ..graph import Array, Spec, Value
from ..ops.attention import WovenAttention
from ..ops.depth_first import DepthFirst
from ..ops.planned import Compared, Moved, Multiplied, Planned, Swept
from ..ops.rolled import Rolled
from .thread_trial import ThreadTrial, use_threads

NOWHERE, APART, MOVED = 1 << 44, 1 << 40, 1 << 12
"""The first address of arrays that stand in for those of a call, bytes from one to the next, and by what they move."""

Aim = tuple[int, Any, int, int]
"""The place of a value, a job, the word of it that says where the value lies, and bytes that are added to that."""


@dataclass(frozen=True)
class Chain(OfThisProcess):
    """Jobs for the pool, by the addresses of their blocks; what they need stays alive as long as this.

    `aims`: where in them the arrays of a call are written; those are C-contiguous. `trial`: where it is not known
    whether one thread is quicker. `outside`: the words that jobs set where an index names no place.
    """

    addresses: Any
    blocks: Sequence[Any]
    scratch: Array
    calls: Sequence[Call]
    aims: tuple[Aim, ...] = ()
    trial: ThreadTrial | None = None
    outside: tuple[tuple[Any, int], ...] = ()

    def __call__(self, values: Sequence[Value]) -> bool:
        """Do them all; whether every index that was read names a place."""
        for slot, block, word, offset in self.aims:
            array: Any = values[slot]
            block[word] = address(array) + offset
        if self.trial is None or self.trial.over:
            thread_pool.launch_all(self.addresses)
        else:
            self.trial.launch(self.addresses)
        for block, word in self.outside:
            if block[word]:
                for each, its in self.outside:
                    each[its] = 0
                return False
        return True


@dataclass(frozen=True)
class Call:
    """A step, the task that it is of, and its arrays if they stay the same from call to call.

    `places`: where its arrays stand among the values; `changing`: what is known of those that change. `parts`: the
    calls of steps that run in turns, which have their places.
    """

    task: Any
    run: Any
    arrays: Sequence[Any] | None
    places: Sequence[int] = ()
    changing: Mapping[int, Spec] | None = None
    values: Sequence[Value] = ()
    parts: Sequence[Call] = ()

    @staticmethod
    def in_turns(run: Any, parts: Sequence[Call]) -> Call | None:
        """The calls of steps that `run` does in turns as one; None where it is not known where their arrays lie."""
        arrays = [part.arrays for part in parts]
        if None not in arrays:
            return Call(parts[0].task, run, arrays, parts=parts)
        if not isinstance(run, DepthFirst) or any(p.arrays is None and p.changing is None for p in parts):
            return None
        changing = {slot: spec for part in parts for slot, spec in (part.changing or {}).items()}
        return Call(parts[0].task, run, None, changing=changing, parts=parts)


@dataclass(frozen=True)
class _Jobs:
    """What the pool does for a step, which of its words change with each call, and which say that an index is wrong."""

    blocks: list[Any]
    aims: tuple[Aim, ...] = ()
    outside: tuple[tuple[Any, int], ...] = ()


def join_turns(calls: Sequence[Call], groups: Mapping[int, tuple[int, Any]]) -> list[Call]:
    """The calls, those of nodes that run in turns as one where it is known where their arrays lie.

    `groups`: by the place of the first call, how many they are and what runs them.
    """
    found, at = list[Call](), 0
    while at < len(calls):
        length, run = groups.get(at, (1, None))
        parts = calls[at : at + length]
        together = None if run is None else Call.in_turns(run, parts)
        found += parts if together is None else [together]
        at += length
    return found


def chain_calls(calls: Sequence[Call], take: Callable[[int], tuple[Array, int]]) -> list[Any]:
    """The tasks of the calls in their order, those of machine code on arrays that stay joined to Chains.

    `take` gives them scratch of so many bytes, and its address.
    """
    scratch, at = take(max((c.run.scratch for c in calls if _kernel(c)), default=0))
    return list(_join([(call, _jobs(call, at)) for call in calls], scratch))


def _join(jobs: Sequence[tuple[Call, _Jobs | None]], scratch: Array) -> Iterator[Any]:
    for alone, group in groupby(jobs, lambda each: each[1] is None):
        if alone:
            yield from (part.task for call, _ in group for part in call.parts or (call,))
            continue
        together = list(group)
        blocks = [block for _, some in together if some for block in some.blocks]
        gain = _gain_by_threads([call for call, _ in together])
        if gain < 1:
            use_threads([(block, 1) for block in blocks], alone=True)
        trial = ThreadTrial(blocks) if 1 <= gain < IN_DOUBT else None
        aims = tuple(aim for _, some in together if some for aim in some.aims)
        addresses = (ctypes.c_int64 * len(blocks))(*map(ctypes.addressof, blocks))
        outside = tuple(each for _, some in together if some for each in some.outside)
        yield Chain(addresses, blocks, scratch, [call for call, _ in together], aims, trial, outside)


IN_DOUBT = 6
"""How many times as long as a hand-over what threads spare takes, at most, where calls say what is quicker.

Up to 4 of them were found to be slower than one thread on a virtual machine: what is handed over has to be fetched.
"""


def _gain_by_threads(calls: Sequence[Call]) -> float:
    """What other threads spare of a product of calls, in times that handing it over takes; infinite where not known."""
    threads, seconds = thread_pool.count(), _mean_seconds(calls)
    if threads == 1 or math.isinf(seconds):
        return math.inf
    try:
        return seconds * (threads - 1) / (handover_seconds(threads) * threads)
    except EngineError:  # nothing is compiled here
        return math.inf


def _mean_seconds(calls: Sequence[Call]) -> float:
    """What a product of a chain takes on one thread, as predicted; infinite where nothing was."""
    found = [
        (cost.seconds - CALL) * call.run.plan.problem.threads
        for call in calls
        if isinstance(call.run, Planned) and (cost := call.run.plan.chosen.cost) is not None
    ]
    return sum(found) / len(found) if found else math.inf


def _jobs(call: Call, scratch: int) -> _Jobs | None:
    """A step's jobs, or None where it is called by itself."""
    if not _kernel(call):
        return None
    if call.arrays is not None:
        blocks = call.run.jobs(call.arrays, scratch)
        return None if blocks is None else _Jobs(blocks, outside=_outside(call, blocks))
    blocks, moved = (call.run.jobs(_arrays(call, by), scratch) for by in (0, MOVED))
    if blocks is None or moved is None:
        return None
    slots = {(slot + 1) * MOVED: slot for slot in call.changing or ()}
    aims = []
    for block, other in zip(blocks, moved, strict=True):
        for word, (here, there) in enumerate(zip(block, other, strict=True)):
            if here == there:
                continue
            slot = slots.get(there - here)
            if slot is None:
                return None
            aims.append((slot, block, word, here - _nowhere(slot)))
    return _Jobs(blocks, tuple(aims), _outside(call, blocks))


def _outside(call: Call, blocks: Sequence[Any]) -> tuple[tuple[Any, int], ...]:
    """The words of a step's jobs that are set where an index names no place."""
    if not isinstance(call.run, Moved) or call.run.check is None:
        return ()
    pairs = zip(blocks, call.run.kernels, strict=True)
    return tuple((block, sweep.outside) for block, sweep in pairs if sweep.outside is not None)


def _arrays(call: Call, by: int) -> list[Any]:
    """The arrays of a step, or those of each of several: see `_standing_in`."""
    if not call.parts:
        return _standing_in(call, by)
    return [_standing_in(p, by) if p.arrays is None else list(p.arrays) for p in call.parts]


def _standing_in(call: Call, by: int) -> list[Array]:
    """The arrays of a step; those that change have no memory, and are moved each by another multiple of `by`."""
    found: list[Any] = []
    for slot in call.places:
        spec = (call.changing or {}).get(slot)
        if spec is None:
            found.append(call.values[slot])
            continue
        at = _nowhere(slot) + by * (slot + 1)
        steps = contiguous_strides(spec.shape, spec.dtype.itemsize)
        found.append(strided_views.array_at(at, spec.shape, steps, spec.dtype))
    return found


def _nowhere(slot: int) -> int:
    return NOWHERE + APART * slot


def _kernel(call: Call) -> bool:
    if call.arrays is None and call.changing is None:
        return False
    kinds = Planned | Compared | Moved | Multiplied | Swept | Rolled | DepthFirst
    return isinstance(call.run, kinds) or (call.arrays is not None and isinstance(call.run, WovenAttention))

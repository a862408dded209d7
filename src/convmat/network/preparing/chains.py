"""Runs of steps that are machine code: done one after the other by the pool, with Python asked once for all of them.

What a chain needs to know are addresses. Those of values in an arena stay; a step that reads an input of the network,
or writes one of its outputs, is called by itself.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from ...engine import thread_pool
from ...processes import OfThisProcess
from ..graph import Array
from ..ops.attention import Woven
from ..ops.planned import Compared, Moved, Multiplied, Planned, Swept
from ..ops.rolled import Rolled

LINE = 64
"""Bytes to whose multiple scratch is aligned."""


@dataclass(frozen=True)
class Chain(OfThisProcess):
    """Jobs for the pool, by the addresses of their blocks; what they need stays alive as long as this."""

    addresses: Any
    held: tuple[Any, ...]

    def __call__(self) -> None:
        """Do them all."""
        thread_pool.launch_all(self.addresses)


@dataclass(frozen=True)
class Call:
    """A step, the task that it is of, and its arrays if they stay the same from call to call."""

    task: Any
    run: Any
    arrays: Sequence[Any] | None


def chain_calls(calls: Sequence[Call]) -> list[Any]:
    """The tasks of the calls in their order, those of machine code on arrays that stay joined to Chains."""
    scratch = np.empty(LINE + max((c.run.scratch for c in calls if _kernel(c)), default=0), np.uint8)
    at = -(-_address(scratch) // LINE) * LINE
    jobs = [(call, call.run.jobs(call.arrays, at) if _kernel(call) else None) for call in calls]
    return list(_joined(jobs, scratch))


def _joined(jobs: Sequence[tuple[Call, list[Any] | None]], scratch: Array) -> Iterator[Any]:
    for alone, group in groupby(jobs, lambda each: each[1] is None):
        if alone:
            yield from (call.task for call, _ in group)
            continue
        together = list(group)
        blocks = [block for _, some in together for block in some or ()]
        addresses = (ctypes.c_int64 * len(blocks))(*map(ctypes.addressof, blocks))
        yield Chain(addresses, (blocks, scratch, [call for call, _ in together]))


def _kernel(call: Call) -> bool:
    return call.arrays is not None and isinstance(
        call.run, Planned | Compared | Moved | Multiplied | Swept | Rolled | Woven
    )


def _address(array: Array) -> int:
    found: int = array.ctypes.data
    return found

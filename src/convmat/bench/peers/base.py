"""What a peer is: a library, or one way of using it, that can do a job.

A peer is a file in this folder and an entry in `convmat.bench.peers.ALL`; nothing else is edited. It imports its
library inside its methods, so that it can be asked about where the library is missing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from convmat.bench.jobs import Job

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Prepared:
    """A job made ready: `call()` is what is timed, `answer()` its result, channels second, as NumPy sees it.

    `workspace` is the scratch of a call in bytes, `predicted` its time in seconds, where the peer can tell.
    """

    call: Callable[[], object]
    answer: Callable[[], Array]
    workspace: int | None = None
    predicted: float | None = None


class Peer(ABC):
    """One way of computing a convolution, to be timed beside others.

    `library`: peers of one library share a process when several threads are measured. `about`: a sentence for the
    reader of the results: layout, and when weights are packed. `direct`: it multiplies as often as the definition
    does. `default`: it runs when nobody says which peers are wanted.
    """

    name: str
    library: str
    about: str
    directions: tuple[str, ...] = ("forward",)
    direct: bool = True
    default: bool = True

    @abstractmethod
    def version(self) -> str:
        """The library's version. Raises ImportError where it is missing."""

    def refuses(self, job: Job) -> str | None:
        """Why this job is not for this peer, or None."""
        if job.direction not in self.directions:
            return "does no gradients" if job.direction != "forward" else "does gradients alone"
        return None

    @abstractmethod
    def prepare(self, job: Job, a: Array, b: Array) -> Prepared:
        """Everything that happens before the clock starts, with the job's operands (`convmat.bench.jobs.operands`)."""


def channels_last(array: Array) -> Array:
    """(B, C, *I) -> (B, *I, C), contiguous."""
    return np.ascontiguousarray(np.moveaxis(array, 1, -1))


def channels_second(array: Array) -> Array:
    """(B, *I, C) -> (B, C, *I), contiguous."""
    return np.ascontiguousarray(np.moveaxis(array, -1, 1))


def only_symmetric_2d(job: Job) -> str | None:
    """The refusal of libraries whose layers are images with equal padding on both sides."""
    g = job.geometry
    if g.rank != 2 or g.lo != g.hi or min(g.lo) < 0:
        return f"takes images with equal padding on both sides, got {g}"
    return None

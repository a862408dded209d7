"""What a peer is: a library, or one way of using it, that can do a job: a layer, or a whole network.

A peer is a file in this folder and an entry in `benchmarks.peers.ALL`; nothing else is edited. It imports its
library inside its methods, so that it can be asked about where the library is missing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.jobs import Job
from benchmarks.netjobs import AnyJob, NetJob

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Prepared:
    """A job made ready: `call()` is what is timed, `answer()` its result, as NumPy sees it: of a layer channels second,
    of a network as `benchmarks.netjobs.joined` has it.

    `workspace` is the scratch of a call in bytes, `predicted` its time in seconds, where the peer can tell.
    """

    call: Callable[[], object]
    answer: Callable[[], Array]
    workspace: int | None = None
    predicted: float | None = None


class RefusedError(Exception):
    """A network that a library cannot read, or that nobody wrote for it here: the reason, for the results."""


class Peer(ABC):
    """One way of computing a convolution or a network of them, to be timed beside others.

    `library`: peers of one library share a process when several threads are measured. `about`: a sentence for the
    reader of the results: layout, and when weights are packed; `about_networks` where that is another one.
    `directions`: of a layer, and "network". `direct`: it multiplies as often as the definition does. `default`: it
    runs when nobody says which peers are wanted.
    """

    name: str
    library: str
    about: str
    about_networks: str = ""
    directions: tuple[str, ...] = ("forward",)
    direct: bool = True
    default: bool = True

    @abstractmethod
    def version(self) -> str:
        """The library's version. Raises ImportError where it is missing."""

    def runs(self, networks: bool) -> bool:
        """Whether it does anything with networks, or with layers."""
        return any((direction == "network") == networks for direction in self.directions)

    @property
    def where(self) -> tuple[str, ...]:
        """Which benchmarks it takes part in.

        >>> from benchmarks.peers import peer
        >>> peer("litert").where, peer("ncnn").where
        (('make bench',), ('make bench', 'make bench-nets'))
        """
        return tuple(
            name
            for name, networks in (("make bench", False), ("make bench-nets", True))
            if self.runs(networks)
        )

    def refuses(self, job: AnyJob) -> str | None:
        """Why this job is not for this peer, or None."""
        if job.direction in self.directions:
            return None
        return {"forward": "runs no single layers", "network": "runs no networks"}.get(
            job.direction, "does no gradients"
        )

    def prepare(self, job: Job, a: Array, b: Array) -> Prepared:
        """Everything that happens before the clock starts, with the job's operands (`benchmarks.jobs.operands`)."""
        raise NotImplementedError(self.refuses(job))

    def load(self, job: NetJob, *inputs: Array) -> Prepared:
        """The same for a network: its file read, its weights packed, for these inputs. Raises RefusedError."""
        raise NotImplementedError(self.refuses(job))


def only_input(inputs: Sequence[Array]) -> Array:
    """The one input of a network, for peers that are written for no more here. Raises RefusedError."""
    if len(inputs) != 1:
        raise RefusedError(f"takes networks of one input here, got one of {len(inputs)}")
    return inputs[0]


def channels_last(array: Array) -> Array:
    """(B, C, *I) -> (B, *I, C), contiguous."""
    return np.ascontiguousarray(np.moveaxis(array, 1, -1))


def channels_second(array: Array) -> Array:
    """(B, *I, C) -> (B, C, *I), contiguous."""
    return np.ascontiguousarray(np.moveaxis(array, -1, 1))


def only_one_channel(job: AnyJob) -> str | None:
    """The refusal of libraries that filter one channel to as many pixels; of networks, not asked."""
    if isinstance(job, NetJob):
        return None
    g = job.geometry
    if (g.B, g.C, g.O) != (1, 1, 1) or g.rank != 2 or {*g.s, *g.d} != {1} or g.P != g.I or g.lo != g.hi:
        return f"filters one channel to as many pixels, got {g}"
    return None


def only_symmetric_2d(job: AnyJob) -> str | None:
    """The refusal of libraries whose layers are images with equal padding on both sides; of networks, not asked."""
    if isinstance(job, NetJob):
        return None
    g = job.geometry
    if g.rank != 2 or g.lo != g.hi or min(g.lo) < 0:
        return f"takes images with equal padding on both sides, got {g}"
    return None

"""SciPy: `oaconvolve`, overlapping tiles added, and `fftconvolve`, the image transformed whole."""

from __future__ import annotations

import numpy as np

from benchmarks.jobs import Job
from benchmarks.netjobs import AnyJob
from benchmarks.peers.base import Array, Peer, Prepared, only_one_channel


class SciPy(Peer):
    """A function of `scipy.signal` on the flipped filter, its transforms with the job's threads."""

    library = "scipy"
    direct = False
    default = False

    def __init__(self, function: str, about: str) -> None:
        self.name, self.about, self._function = f"scipy {function}", about, function

    def version(self) -> str:
        """The library's."""
        import scipy

        return str(scipy.__version__)

    def refuses(self, job: AnyJob) -> str | None:
        """One channel."""
        return super().refuses(job) or only_one_channel(job)

    def prepare(self, job: Job, a: Array, b: Array) -> Prepared:
        """Flip the filter; a new output in each call."""
        from scipy import fft, signal

        function = getattr(signal, self._function)
        x, w = a[0, 0], np.ascontiguousarray(b[0, 0, ::-1, ::-1])

        def call() -> Array:
            with fft.set_workers(job.threads):
                found: Array = function(x, w, mode="same")
            return found

        return Prepared(call, lambda: call()[None, None])


PEERS: tuple[Peer, ...] = (
    SciPy("oaconvolve", "one channel, overlapping tiles, a new output in each call"),
    SciPy("fftconvolve", "one channel, the image whole, a new output in each call"),
)

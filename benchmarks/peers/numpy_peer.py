"""NumPy alone: im2col stored whole, one product. The yardstick of the blas engine."""

from __future__ import annotations

import numpy as np

from benchmarks import numpy_im2col
from benchmarks.jobs import Job
from benchmarks.peers.base import Array, Peer, Prepared


class NumPy(Peer):
    """Padding, `sliding_window_view`, reshape, `@`; BLAS threads are set by the process's environment."""

    name = "numpy im2col"
    library = "numpy"
    about = "NCHW, the unrolled input stored whole in each call, multiplied by NumPy's BLAS"

    def version(self) -> str:
        """NumPy's, and its BLAS's."""
        from convmat.engine import blas_threads

        return f"{np.__version__} ({', '.join(blas_threads.describe_libraries()) or 'no BLAS found'})"

    def prepare(self, job: Job, a: Array, b: Array) -> Prepared:
        """Nothing can be prepared."""
        g = job.geometry

        def call() -> Array:
            return numpy_im2col.convolve(a, b, g)

        return Prepared(call, call)


PEERS: tuple[Peer, ...] = (NumPy(),)

"""OpenCV: `filter2D`, a correlation in float32 that takes a discrete Fourier transform for larger filters."""

from __future__ import annotations

import numpy as np

from benchmarks.jobs import Job
from benchmarks.netjobs import AnyJob
from benchmarks.peers.base import Array, Peer, Prepared, only_one_channel


class OpenCV(Peer):
    """Zeros beyond the border; the output's memory is reused."""

    name = "opencv filter2D"
    library = "opencv"
    about = "one channel, zeros beyond the border, `dst=` reused"
    direct = False
    default = False

    def version(self) -> str:
        """The library's."""
        import cv2

        return str(cv2.__version__)

    def refuses(self, job: AnyJob) -> str | None:
        """One channel."""
        return super().refuses(job) or only_one_channel(job)

    def prepare(self, job: Job, a: Array, b: Array) -> Prepared:
        """Nothing is prepared: the filter is an argument."""
        import cv2

        cv2.setNumThreads(job.threads)
        x, w = a[0, 0], b[0, 0]
        out: Array = np.empty_like(x)

        def call() -> object:
            return cv2.filter2D(x, -1, w, dst=out, borderType=cv2.BORDER_CONSTANT)

        def answer() -> Array:
            call()
            return np.ascontiguousarray(out)[None, None]

        return Prepared(call, answer)


PEERS: tuple[Peer, ...] = (OpenCV(),)

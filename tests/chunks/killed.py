"""A run from file to file that is there to be killed: python -m tests.chunks.killed KIND FOLDER OUT LOG [--resume].

LOG gets a line for each block that is begun (`c 3`), and one for each that the manifest has (`d 3`).
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from convmat import chunks
from convmat.chunks.files import conv
from convmat.chunks.files.manifest import Manifest
from convmat.chunks.memory import SPARE
from tests.chunks.networks import unet

PAUSE = 0.01
"""Seconds that a block takes at least: kills are to find some begun, and some done."""


def job_of(kind: str, folder: Path) -> Any:
    """A network with passes in tiles, or a convolution in blocks."""
    if kind == "tiles":
        options = chunks.TileOptions(64, 1 << 31, exact_globals=True)
        return chunks.TileJob(unet(integers=False, squeeze=True, exact=True), folder / "x.npy", options)
    w = np.random.default_rng(1).standard_normal((3, 3, 3, 3)).astype("float32")
    with patch.object(conv, "anonymous_bytes", lambda: 0):  # the blocks are to be small
        return chunks.plan_files(
            folder / "x.npy", w, None, {"padding": 1, "lowering": "im2col"}, SPARE + (300 << 10)
        )


def main(kind: str, folder: str, out: str, log: str, *resume: str) -> None:
    """Write OUT."""
    job, add = job_of(kind, Path(folder)), Manifest.add
    compute = job.compute
    with Path(log).open("a", buffering=1) as lines:

        def computed(block: int, x: Any, threads: int) -> Any:
            lines.write(f"c {block}\n")
            time.sleep(PAUSE)
            return compute(block, x, threads)

        def added(manifest: Manifest, block: int) -> None:
            add(manifest, block)
            lines.write(f"d {block}\n")

        job.compute = computed
        print("begins", flush=True)
        with patch.object(Manifest, "add", added):
            chunks.make_file(job, out, resume=bool(resume))


if __name__ == "__main__":
    main(*sys.argv[1:])

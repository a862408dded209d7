"""ncnn: a network, of one layer or of all, written here as its text and its weights.

    Convolution            0=O  1=kw 11=kh  2=dw 12=dh  3=sw 13=sh  4=left 14=top  5=bias  6=weights
    ConvolutionDepthWise   the same with 7=groups

Weights follow as a flag (0: float32 as it is) and numbers. It takes Winograd tiles for 3x3 layers where it thinks them
faster, so it does not multiply as often as the definition. It has no batches.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from convmat.bench.jobs import Job
from convmat.bench.netjobs import AnyJob, NetJob
from convmat.bench.peers.base import Array, Peer, Prepared, only_symmetric_2d
from convmat.bench.peers.ncnn_network import MAGIC, network
from convmat.geometry import Geometry


class Ncnn(Peer):
    """A net whose weights are packed when it is loaded; its own memory for outputs, which it uses again."""

    name = "ncnn"
    library = "ncnn"
    about = "NCHW, blocked inside, weights packed at load, Winograd where it takes it"
    directions = ("forward", "network")
    direct = False

    def version(self) -> str:
        """The package's."""
        import ncnn

        return str(ncnn.__version__)

    def refuses(self, job: AnyJob) -> str | None:
        """One image with equal padding on both sides."""
        if job.batch != 1:
            return f"takes one image at a time, got {job.batch}"
        return super().refuses(job) or only_symmetric_2d(job)

    def prepare(self, job: Job, a: Array, b: Array) -> Prepared:
        """Write the layer, load it, share the input's memory."""
        weights = bytes(4) + np.ascontiguousarray(b, np.float32).tobytes()
        return _loaded(layer(job.geometry), weights, "x", "y", a, job.threads)

    def load(self, job: NetJob, x: Array) -> Prepared:
        """Write the network, load it, share the input's memory."""
        return _loaded(*network(job.file, x), x, job.threads)


def _loaded(text: str, weights: bytes, start: str, end: str, a: Array, threads: int) -> Prepared:
    """The net of text and weights, from the blob `start` to the blob `end`. Raises ValueError if ncnn refuses it."""
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = threads
    for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(net.opt, f"use_{name}", False)
    with tempfile.TemporaryDirectory() as folder:
        param, data = Path(folder, "net.param"), Path(folder, "net.bin")
        param.write_text(text)
        data.write_bytes(weights)
        if net.load_param(str(param)) or net.load_model(str(data)):
            raise ValueError(f"ncnn does not take this:\n{text}")
    x = ncnn.Mat(np.ascontiguousarray(a[0])).clone()

    def call() -> object:
        extractor = net.create_extractor()
        extractor.input(start, x)
        return extractor.extract(end)[1]

    return Prepared(call, lambda: np.array(call())[None])


def layer(g: Geometry) -> str:
    """The net's text: an input and a layer.

    >>> print(layer(Geometry.of((1, 4, 8, 8), (6, 4, 3, 3), padding=1)).splitlines()[-1])
    Convolution y 1 1 x y 0=6 1=3 11=3 2=1 12=1 3=1 13=1 4=1 14=1 5=0 6=216
    """
    pairs = [(1, g.F), (2, g.d), (3, g.s), (4, g.lo)]
    values = {0: g.O} | {key + 10 * (1 - axis): each[axis] for key, each in pairs for axis in (1, 0)}
    values |= {5: 0, 6: g.O * (g.C // g.G) * g.F[0] * g.F[1]} | ({7: g.G} if g.G > 1 else {})
    kind = "ConvolutionDepthWise" if g.G > 1 else "Convolution"
    settings = " ".join(f"{key}={value}" for key, value in values.items())
    return f"{MAGIC}\n2 2\nInput x 0 1 x\n{kind} y 1 1 x y {settings}\n"


PEERS: tuple[Peer, ...] = (Ncnn(),)

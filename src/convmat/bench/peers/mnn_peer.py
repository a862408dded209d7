"""MNN: ONNX models turned into its own by the wheel's native converter, one layer or a whole network.

The wheel's script `mnnconvert` does the same, and then reports to its makers; so it is left alone.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from convmat.bench.jobs import Job
from convmat.bench.netjobs import NetJob
from convmat.bench.peers.base import Array, Peer, Prepared
from convmat.bench.peers.onnx_layer import layer_model


class Mnn(Peer):
    """A module in high precision (float32): its input stays, its output is its own."""

    name = "mnn"
    library = "mnn"
    about = "NCHW in and out, blocked inside, weights packed at load, Winograd where it takes it"
    directions = ("forward", "network")
    direct = False

    def version(self) -> str:
        """The library's; layers are made with the onnx package, which must be there too."""
        import MNN
        import onnx  # noqa: F401  # asked for here so that it is reported as missing

        return str(MNN.version())

    def prepare(self, job: Job, a: Array, b: Array) -> Prepared:
        """A model of one Conv."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "layer.onnx")
            file.write_bytes(layer_model(job, b))
            return _module(str(file), a, job.threads)

    def load(self, job: NetJob, x: Array) -> Prepared:
        """The network's file."""
        return _module(job.file, x, job.threads)


def _module(file: str, a: Array, threads: int) -> Prepared:
    """The model as a Module, which keeps its input: a Session would write over it."""
    import MNN.expr
    import MNN.nn

    settings = {"backend": "CPU", "precision": "high", "numThread": threads}
    manager = MNN.nn.create_runtime_manager((settings,))
    module = MNN.nn.load_module_from_file(str(converted(file)), [], [], runtime_manager=manager)
    x = MNN.expr.const(a, list(a.shape), MNN.expr.NCHW)

    def call() -> object:
        return module.forward([x])[0]

    def answer() -> Array:
        y = module.forward([x])[0]
        return np.array(y.read()).reshape(y.shape)

    return Prepared(call, answer)


def converted(file: str) -> Path:
    """The model beside an ONNX file, made of it unless it is there. Raises ValueError where MNN takes it not."""
    import _tools

    made = Path(file).with_suffix(".mnn")
    if not made.exists():
        words = ["-f", "ONNX", "--modelFile", file, "--MNNModel", str(made), "--bizCode", "convmat"]
        if not _tools.mnnconvert(["mnnconvert", *words]) or not made.exists():
            raise ValueError(f"MNN does not take the model {file}")
    return made


PEERS: tuple[Peer, ...] = (Mnn(),)

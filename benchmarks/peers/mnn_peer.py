"""MNN: ONNX models turned into its own by the wheel's native converter, one layer or a whole network.

The wheel's script `mnnconvert` does the same, and then reports to its makers; so it is left alone.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.jobs import Job
from benchmarks.netjobs import NetJob, joined, names
from benchmarks.peers.base import Array, Peer, Prepared, RefusedError
from benchmarks.peers.onnx_layer import layer_model


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
            call, outputs = _module(str(file), (a,), job.threads)
        return Prepared(call, lambda: outputs()[0])

    def load(self, job: NetJob, *inputs: Array) -> Prepared:
        """The network's file."""
        if any(x.dtype != np.float32 for x in inputs):
            raise RefusedError(f"takes inputs of float32 here, got {', '.join(str(x.dtype) for x in inputs)}")
        call, outputs = _module(job.file, inputs, job.threads)
        return Prepared(call, lambda: joined(outputs()))


def _module(
    file: str, inputs: Sequence[Array], threads: int
) -> tuple[Callable[[], object], Callable[[], list[Array]]]:
    """A call and one that gives outputs, of the model as a Module: a Session would write over its inputs."""
    import MNN.expr
    import MNN.nn

    settings = {"backend": "CPU", "precision": "high", "numThread": threads}
    manager = MNN.nn.create_runtime_manager((settings,))
    sources, targets = names(file)
    module = MNN.nn.load_module_from_file(str(converted(file)), sources, targets, runtime_manager=manager)
    given = [MNN.expr.const(x, list(x.shape), MNN.expr.NCHW) for x in inputs]

    def call() -> object:
        return module.forward(given)

    def outputs() -> list[Array]:
        return [np.array(y.read()).reshape(y.shape) for y in module.forward(given)]

    return call, outputs


def converted(file: str) -> Path:
    """The model beside an ONNX file, made of it unless it is there. Raises RefusedError where MNN takes it not."""
    import _tools

    model = Path(file).absolute()
    made = model.with_suffix(".mnn")
    if not made.exists():
        words = ["-f", "ONNX", "--modelFile", str(model), "--MNNModel", str(made), "--bizCode", "convmat"]
        with contextlib.chdir(made.parent):  # it leaves an empty file where it is run, even where it crashes
            converted = _tools.mnnconvert(["mnnconvert", *words])
        if not converted or not made.exists():
            raise RefusedError(f"MNN's converter does not take {model.name}")
    return made


PEERS: tuple[Peer, ...] = (Mnn(),)

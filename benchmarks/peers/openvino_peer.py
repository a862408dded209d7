"""OpenVINO: a model of one Conv node or of a whole network, in float32 where its own choice may be bfloat16."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.jobs import Job
from benchmarks.netjobs import NetJob, joined
from benchmarks.peers.base import Array, Peer, Prepared
from benchmarks.peers.onnx_layer import layer_model


class OpenVino(Peer):
    """A model compiled for one stream and the input's shape; its outputs lie in its own memory."""

    name = "openvino"
    library = "openvino"
    about = "NCHW in and out (blocked inside), f32 forced, weights packed at load, output memory reused"
    directions = ("forward", "network")

    def version(self) -> str:
        """The release, without the build; layers are made with the onnx package, which must be there too."""
        import onnx  # noqa: F401  # asked for here so that it is reported as missing
        import openvino

        return str(openvino.__version__).partition("-")[0]

    def prepare(self, job: Job, a: Array, b: Array) -> Prepared:
        """A request with the input bound."""
        request = _request(layer_model(job, b), (a,), job.threads)

        def answer() -> Array:
            request.infer()
            return np.array(request.output_tensors[0].data)

        return Prepared(request.infer, answer)

    def load(self, job: NetJob, *inputs: Array) -> Prepared:
        """The same, of a file."""
        request = _request(job.file, inputs, job.threads)

        def answer() -> Array:
            request.infer()
            return joined([each.data for each in request.output_tensors])

        return Prepared(request.infer, answer)


def _request(model: bytes | str, inputs: Sequence[Array], threads: int) -> Any:
    """Read, compile, bind the inputs."""
    import openvino

    core = openvino.Core()
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,
    }
    request = core.compile_model(core.read_model(model), "CPU", settings).create_infer_request()
    for at, x in enumerate(inputs):
        request.set_input_tensor(at, openvino.Tensor(x))
    return request


PEERS: tuple[Peer, ...] = (OpenVino(),)

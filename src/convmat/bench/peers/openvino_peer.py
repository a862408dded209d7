"""OpenVINO: whole networks, in float32 where its own choice on some CPUs would be bfloat16."""

from __future__ import annotations

import numpy as np

from convmat.bench.netjobs import NetJob
from convmat.bench.peers.base import Array, Peer, Prepared


class OpenVino(Peer):
    """A model compiled for one stream and the image's shape; input and output lie in its own memory."""

    name = "openvino"
    library = "openvino"
    about = "NCHW in and out (blocked inside), f32 forced, weights packed at load, output memory reused"
    directions = ("network",)

    def version(self) -> str:
        """The release, without the build."""
        import openvino

        return str(openvino.__version__).partition("-")[0]

    def load(self, job: NetJob, x: Array) -> Prepared:
        """Read, compile, bind the input."""
        import openvino

        core = openvino.Core()
        model = core.read_model(job.file)
        model.reshape({model.input(0): list(x.shape)})
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": job.threads,
            "ENABLE_CPU_PINNING": False,
        }
        request = core.compile_model(model, "CPU", settings).create_infer_request()
        request.set_input_tensor(openvino.Tensor(x))

        def answer() -> Array:
            request.infer()
            return np.array(request.get_output_tensor().data)

        return Prepared(request.infer, answer)


PEERS: tuple[Peer, ...] = (OpenVino(),)

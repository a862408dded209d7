"""ONNX Runtime: a model of one Conv node or of a whole network, with input and output bound to memory that stays."""

from __future__ import annotations

from convmat.bench.jobs import Job
from convmat.bench.netjobs import NetJob
from convmat.bench.peers.base import Array, Peer, Prepared
from convmat.bench.peers.onnx_layer import layer_model


class OnnxRuntime(Peer):
    """The CPU provider with every graph optimisation; weights are initializers, packed at load."""

    name = "onnxruntime"
    library = "onnxruntime"
    about = "NCHW in and out (blocked inside where it likes), weights packed at load, output memory reused"
    directions = ("forward", "network")

    def version(self) -> str:
        """ONNX Runtime's; the model is made with the onnx package, which must be there too."""
        import onnx  # noqa: F401  # asked for here so that it is reported as missing
        import onnxruntime

        return str(onnxruntime.__version__)

    def prepare(self, job: Job, a: Array, b: Array) -> Prepared:
        """A session, and an IO binding."""
        return _bound(layer_model(job, b), a, job.threads)

    def load(self, job: NetJob, x: Array) -> Prepared:
        """The same, of a file."""
        return _bound(job.file, x, job.threads)


def _bound(model: bytes | str, a: Array, threads: int) -> Prepared:
    """A session of the model, its input bound to `a`, its output to memory of the shape that a first run tells."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    source, target = session.get_inputs()[0].name, session.get_outputs()[0].name
    x = onnxruntime.OrtValue.ortvalue_from_numpy(a)
    shape = session.run([target], {source: a})[0].shape
    y = onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, a.dtype)
    binding = session.io_binding()
    binding.bind_ortvalue_input(source, x)
    binding.bind_ortvalue_output(target, y)

    def answer() -> Array:
        session.run_with_iobinding(binding)
        array: Array = y.numpy()
        return array

    return Prepared(lambda: session.run_with_iobinding(binding), answer)


PEERS: tuple[Peer, ...] = (OnnxRuntime(),)

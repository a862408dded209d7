"""ONNX Runtime: a model of one Conv node or of a whole network, with input and output bound to memory that stays."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.jobs import Job
from benchmarks.netjobs import NetJob, joined
from benchmarks.peers.base import Array, Peer, Prepared
from benchmarks.peers.onnx_layer import layer_model


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
        call, outputs = _bound(layer_model(job, b), (a,), job.threads)
        return Prepared(call, lambda: outputs()[0])

    def load(self, job: NetJob, *inputs: Array) -> Prepared:
        """The same, of a file."""
        call, outputs = _bound(job.file, inputs, job.threads)
        return Prepared(call, lambda: joined(outputs()))


def _bound(
    model: bytes | str, inputs: Sequence[Array], threads: int
) -> tuple[Callable[[], object], Callable[[], list[Array]]]:
    """A call and one that gives outputs: a session, its inputs bound, outputs to memory that stays."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    given = {each.name: x for each, x in zip(session.get_inputs(), inputs, strict=True)}
    targets = [each.name for each in session.get_outputs()]
    kept = [onnxruntime.OrtValue.ortvalue_from_numpy(y) for y in session.run(targets, given)]
    binding = session.io_binding()
    for source, x in given.items():
        binding.bind_ortvalue_input(source, onnxruntime.OrtValue.ortvalue_from_numpy(x))
    for target, y in zip(targets, kept, strict=True):
        binding.bind_ortvalue_output(target, y)

    def call() -> object:
        return session.run_with_iobinding(binding)

    def outputs() -> list[Array]:
        call()
        return [y.numpy() for y in kept]

    return call, outputs


PEERS: tuple[Peer, ...] = (OnnxRuntime(),)

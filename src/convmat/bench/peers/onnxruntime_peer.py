"""ONNX Runtime: a model of one Conv node, with input and output bound to memory that stays."""

from __future__ import annotations

from convmat.bench.jobs import Job
from convmat.bench.peers.base import Array, Peer, Prepared


class OnnxRuntime(Peer):
    """The CPU provider with every graph optimisation; weights are an initializer, packed at load."""

    name = "onnxruntime"
    library = "onnxruntime"
    about = "NCHW in and out (blocked inside where it likes), weights packed at load, output memory reused"

    def version(self) -> str:
        """ONNX Runtime's; the model is made with the onnx package, which must be there too."""
        import onnx  # noqa: F401  # asked for here so that it is reported as missing
        import onnxruntime

        return str(onnxruntime.__version__)

    def prepare(self, job: Job, a: Array, b: Array) -> Prepared:
        """A session, and an IO binding."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = job.threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(_model(job, b), options, providers=["CPUExecutionProvider"])
        x = onnxruntime.OrtValue.ortvalue_from_numpy(a)
        y = onnxruntime.OrtValue.ortvalue_from_shape_and_type(job.shapes[2], a.dtype)
        binding = session.io_binding()
        binding.bind_ortvalue_input("x", x)
        binding.bind_ortvalue_output("y", y)

        def answer() -> Array:
            session.run_with_iobinding(binding)
            array: Array = y.numpy()
            return array

        return Prepared(lambda: session.run_with_iobinding(binding), answer)


def _model(job: Job, w: Array) -> bytes:
    """y = Conv(x, w) as an ONNX model."""
    from onnx import TensorProto, helper, numpy_helper

    g = job.geometry
    x_shape, _, y_shape = job.shapes
    node = helper.make_node(
        "Conv",
        ["x", "w"],
        ["y"],
        strides=g.s,
        pads=[*g.lo, *g.hi],
        dilations=g.d,
        group=g.G,
        kernel_shape=g.F,
    )
    graph = helper.make_graph(
        [node],
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x_shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, y_shape)],
        [numpy_helper.from_array(w, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data: bytes = model.SerializeToString()
    return data


PEERS: tuple[Peer, ...] = (OnnxRuntime(),)

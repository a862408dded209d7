"""One layer as an ONNX model, for libraries that take nothing smaller than a file of a network."""

from __future__ import annotations

from benchmarks.jobs import Job
from benchmarks.peers.base import Array


def layer_model(job: Job, w: Array) -> bytes:
    """y = Conv(x, w) as an ONNX model, w in it."""
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

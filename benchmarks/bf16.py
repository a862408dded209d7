"""Layers multiplied in bfloat16 beside PyTorch and OpenVINO, on one or two threads, in turns.

Two questions a layer, each with the peer that answers the same one:

    arrays     x, w and y of 16 bits, channels last: PyTorch
    rounded    x and y of float32, operands rounded to 16 bits on the way: OpenVINO, told to compute in bf16

Answers are compared first with float32's, by the norm: at most 1 % apart. Of each peer the quicker layout counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

import convmat
from benchmarks.turns import Array, Call, Subject
from convmat.cases import case
from convmat.geometry import Geometry

RTOL = 1e-2

KINDS = ("arrays", "rounded")
"""The questions."""


@dataclass(frozen=True)
class Bfloat16Layer(Subject):
    """A layer by its name and one of KINDS; answers are y: (B, O, *P) in float32."""

    layer: str
    kind: str

    peers: ClassVar[tuple[str, ...]] = ("convmat", "torch", "torch channels_last", "openvino")
    limit: ClassVar[float] = RTOL
    rounds: ClassVar[int] = 25

    @property
    def title(self) -> str:
        """Layer and question."""
        return f"{self.layer}, bf16 {self.kind}"

    def call(self, peer: str, threads: int) -> Call | None:
        """A peer's call; each answers one question, and convmat both."""
        g = case(self.layer).geometry
        x, w = _operands(g)
        if peer == "convmat":
            convmat.threads(threads)
            return (_arrays if self.kind == "arrays" else _rounded)(g, x, w)
        if self.kind == "rounded":
            return _openvino(g, x, w, threads) if peer == "openvino" else None
        return _torch(g, x, w, threads, peer) if peer.startswith("torch") else None

    def apart(self, answers: Mapping[str, Array]) -> float:
        """The largest norm-wise distance from float32's answer."""
        g = case(self.layer).geometry
        wanted = convmat.conv(*_operands(g), **_words(g))
        return max(float(np.linalg.norm(y - wanted) / np.linalg.norm(wanted)) for y in answers.values())


def _operands(g: Geometry) -> tuple[Array, Array]:
    """x and w, float32."""
    random = np.random.default_rng(0)
    x, w = (random.standard_normal(shape).astype(np.float32) for shape in (g.x_shape, g.w_shape))
    return x, w


def _words(g: Geometry) -> dict[str, Any]:
    """The keywords of a geometry."""
    return {"stride": g.s, "dilation": g.d, "groups": g.G, "padding": tuple(zip(g.lo, g.hi, strict=True))}


def _arrays(g: Geometry, x: Array, w: Array) -> Call:
    import ml_dtypes

    last = np.ascontiguousarray(np.moveaxis(x, 1, -1)).astype(ml_dtypes.bfloat16)
    plan = convmat.plan(
        last.shape, w.shape, dtype="bfloat16", layout="NHWC", rtol=RTOL, reuse_weights=True, **_words(g)
    )
    bound = plan.bind(w.astype(ml_dtypes.bfloat16))
    out = bound(last)
    return Call(
        lambda: bound(last, out=out), lambda: np.moveaxis(bound(last, out=out), -1, 1).astype(np.float32)
    )


def _torch(g: Geometry, x: Array, w: Array, threads: int, peer: str) -> Call | None:
    try:
        import torch
    except ImportError:
        return None
    if g.lo != g.hi:
        return None
    torch.set_num_threads(threads)
    layout = torch.channels_last if peer.endswith("channels_last") else torch.contiguous_format
    xt, wt = (torch.from_numpy(a).bfloat16().contiguous(memory_format=layout) for a in (x, w))

    def call() -> Any:
        with torch.inference_mode():
            return torch.nn.functional.conv2d(xt, wt, None, g.s, list(g.lo), g.d, g.G)

    return Call(call, lambda: np.asarray(call().float().numpy()))


def _rounded(g: Geometry, x: Array, w: Array) -> Call:
    bound = convmat.plan(x.shape, w.shape, rtol=RTOL, reuse_weights=True, **_words(g)).bind(w)
    out = np.empty(g.y_shape, np.float32)
    return Call.plain(lambda: bound(x, out=out))


def _openvino(g: Geometry, x: Array, w: Array, threads: int) -> Call | None:
    try:
        import openvino as ov
    except ImportError:
        return None
    core = ov.Core()
    wanted = {
        "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "bf16",
    }  # fmt: skip
    model = core.compile_model(core.read_model(_model(g, w), b""), "CPU", wanted)
    request = model.create_infer_request()
    return Call.plain(lambda: np.asarray(request.infer({0: x}, share_inputs=True, share_outputs=True)[0]))


def _model(g: Geometry, w: Array) -> bytes:
    """The convolution alone, as an ONNX file."""
    from onnx import TensorProto, helper, numpy_helper

    node = helper.make_node(
        "Conv",
        ["x", "w"],
        ["y"],
        strides=g.s,
        dilations=g.d,
        pads=[*g.lo, *g.hi],
        group=g.G,
        kernel_shape=g.F,
    )
    graph = helper.make_graph(
        [node], "layer", [helper.make_tensor_value_info("x", TensorProto.FLOAT, g.x_shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, g.y_shape)], [numpy_helper.from_array(w, "w")],
    )  # fmt: skip
    made: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9
    ).SerializeToString()
    return made


__all__ = ["KINDS", "Bfloat16Layer"]

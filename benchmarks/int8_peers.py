"""One of the benchmark's layers in 8 bits: uint8 x and y, int8 filters, a scale for each channel.

    NCHW    convmat; onnxruntime and OpenVINO, of one QDQ file; ncnn
    NHWC    convmat; LiteRT (XNNPACK), PyTorch (oneDNN)

LiteRT's bytes are signed: x, y and their zero points are 128 less, and sums the same. ncnn has no zero points: its x is
counted from 0, which is as much work. Libraries that are not installed are left out.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import convmat
from benchmarks.peers.base import channels_last, channels_second
from benchmarks.turns import Array, Call, Subject
from convmat.cases import Case, case
from convmat.geometry import Geometry

SCALE, ZERO, FILTER_SCALE = 0.02, 117, 0.01
"""Steps of x and of w; what x and y count from."""

_INT8 = np.uint32(0x000D4B38)
"""The tag that ncnn's weights begin with where they are int8."""


@dataclass(frozen=True)
class Quantised:
    """A layer with its numbers; x: (B, C, *I), w: (O, C//G, *F), bias: (O,) in int32; `y_scale`: the step of y."""

    geometry: Geometry
    x: Array
    w: Array
    bias: Array
    y_scale: float

    @classmethod
    def of(cls, case: Case) -> Quantised:
        """Random numbers, and a scale that y's range fits."""
        g, rng = case.geometry, np.random.default_rng(0)
        x = rng.integers(0, 256, g.x_shape).astype(np.uint8)
        w = rng.integers(-127, 128, g.w_shape).astype(np.int8)
        bias = rng.integers(-1000, 1000, g.O).astype(np.int32)
        return cls(g, x, w, bias, float(SCALE * FILTER_SCALE * 74 * 73 * np.sqrt(g.k) / 40))

    @property
    def scales(self) -> Array:
        """Steps of w for each filter."""
        return np.full(self.geometry.O, FILTER_SCALE, np.float32)

    @property
    def float_bias(self) -> Array:
        """The numbers added to the sums: (O,), float32."""
        return (self.bias * (self.scales * np.float32(SCALE))).astype(np.float32)

    @property
    def signed(self) -> Array:
        """x for those that count from 0: int8, from -127."""
        return np.clip(self.x.astype(np.int16) - 128, -127, 127).astype(np.int8)

    def exact(self, x: Array, zero: int) -> Array:
        """y of another x, both counted from `zero`, before it is cut to 8 bits."""
        g = self.geometry
        sums = convmat.conv(
            x, self.w, x_zero_point=zero, stride=g.s, dilation=g.d, groups=g.G,
            padding=tuple(zip(g.lo, g.hi, strict=True)),
        )  # fmt: skip
        return np.asarray(
            np.rint((sums + self.bias.reshape(-1, *(1,) * g.rank)) * (SCALE * FILTER_SCALE / self.y_scale))
            + zero
        )


@dataclass(frozen=True)
class EightBitLayer(Subject):
    """A layer by its name, requantised to uint8; answers are y: (B, O, *P), within a step of the definition's."""

    layer: str
    layout: str

    peers: ClassVar[tuple[str, ...]] = ("convmat", "onnxruntime", "openvino", "ncnn", "torch", "litert")
    limit: ClassVar[float] = 1
    rounds: ClassVar[int] = 25

    @property
    def title(self) -> str:
        """Layer and layout."""
        return f"{self.layer}, {self.layout}"

    def call(self, peer: str, threads: int) -> Call | None:
        """A peer's call; each has one layout."""
        calls = _CHANNELS_LAST if self.layout == "NHWC" else _CHANNELS_SECOND
        q = Quantised.of(case(self.layer))
        if peer == "convmat":
            convmat.threads(threads)
            return own(q, self.layout)
        return calls[peer](q, threads) if peer in calls else None

    def apart(self, answers: Mapping[str, Array]) -> float:
        """The most steps between an answer and what the definition's integers give."""
        q = Quantised.of(case(self.layer))
        wanted = np.clip(q.exact(q.x, ZERO), 0, 255)
        signed = np.clip(q.exact(q.signed, 0), -127, 127) if "ncnn" in answers else wanted
        return max(
            float(np.abs(y - (signed if peer == "ncnn" else wanted)).max()) for peer, y in answers.items()
        )


def own(q: Quantised, layout: str) -> Call:
    """This library's call; arrays of x and y lie as the layout says."""
    g, last = q.geometry, layout == "NHWC"
    x = channels_last(q.x) if last else q.x
    plan = convmat.plan(
        x.shape, g.w_shape, dtype="uint8", w_dtype="int8", stride=g.s, dilation=g.d, groups=g.G, bias=True,
        padding=tuple(zip(g.lo, g.hi, strict=True)), x_zero_point=ZERO, scale=True, out_dtype="uint8",
        y_zero_point=ZERO, layout=layout,
    )  # fmt: skip
    scale = np.full(g.O, np.float32(SCALE) * np.float32(FILTER_SCALE) / np.float32(q.y_scale), np.float32)
    bound = plan.bind(q.w, q.bias, scale=scale)
    out = np.empty(bound(x).shape, np.uint8)

    def run() -> Array:
        return bound(x, out=out)

    return Call(run, lambda: (channels_second(run()) if last else run()).astype(np.int32))


def onnxruntime_call(model: bytes, x: Array, threads: int) -> Call | None:
    """onnxruntime's call of an ONNX model's one input x."""
    try:
        import onnxruntime as ort
    except ImportError:
        return None
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return Call.plain(lambda: np.asarray(session.run(None, {name: x})[0]))


def openvino_call(model: bytes, x: Array, threads: int) -> Call | None:
    """OpenVINO's call of an ONNX model's one input x."""
    try:
        import openvino as ov
    except ImportError:
        return None
    core = ov.Core()
    wanted = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    try:
        request = core.compile_model(core.read_model(model, b""), "CPU", wanted).create_infer_request()
    except RuntimeError:  # it refuses weights that a node quantises
        return None
    return Call.plain(lambda: np.asarray(request.infer({0: x}, share_inputs=True, share_outputs=True)[0]))


def onnx_model(q: Quantised) -> bytes:
    """The layer as a QDQ file."""
    from onnx import TensorProto, helper, numpy_helper

    g = q.geometry
    constants = {
        "xs": np.float32(SCALE), "xz": np.uint8(ZERO), "w": q.w, "ws": q.scales, "wz": np.zeros(g.O, np.int8),
        "b": q.bias, "bs": q.scales * np.float32(SCALE), "bz": np.zeros(g.O, np.int32), "ys": np.float32(q.y_scale),
        "yz": np.uint8(ZERO),
    }  # fmt: skip
    words = {"strides": g.s, "dilations": g.d, "pads": [*g.lo, *g.hi], "group": g.G, "kernel_shape": g.F}
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "xs", "xz"], ["xf"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wf"], axis=0),
        helper.make_node("DequantizeLinear", ["b", "bs", "bz"], ["bf"], axis=0),
        helper.make_node("Conv", ["xf", "wf", "bf"], ["yf"], **words),
        helper.make_node("QuantizeLinear", ["yf", "ys", "yz"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "layer", [helper.make_tensor_value_info("x", TensorProto.UINT8, g.x_shape)],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, g.y_shape)],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()],
    )  # fmt: skip
    made: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9
    ).SerializeToString()
    return made


def _torch(q: Quantised, threads: int) -> Call | None:
    try:
        import torch
    except ImportError:
        return None
    g = q.geometry
    if g.lo != g.hi or "onednn" not in torch.backends.quantized.supported_engines:
        return None
    torch.set_num_threads(threads)
    torch.backends.quantized.engine = "onednn"
    warnings.filterwarnings("ignore", "torch.quantize_per_tensor")
    make: Any = torch
    each, none = torch.from_numpy(q.scales), torch.zeros(g.O, dtype=torch.long)
    w = make._make_per_channel_quantized_tensor(torch.from_numpy(q.w), each, none, 0)
    x = make._make_per_tensor_quantized_tensor(torch.from_numpy(q.x), SCALE, ZERO)
    x = x.contiguous(memory_format=torch.channels_last)
    bias = torch.from_numpy(q.float_bias)
    layer = torch.ops.quantized.conv2d_prepack(w, bias, list(g.s), list(g.lo), list(g.d), g.G)

    def run() -> Any:
        return torch.ops.quantized.conv2d(x, layer, q.y_scale, ZERO)

    return Call(run, lambda: np.asarray(run().int_repr().numpy()))


def _litert(q: Quantised, threads: int) -> Call | None:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        return None
    from benchmarks.peers.litert_peer import Steps, model

    g = q.geometry
    if g.G not in (1, g.C) or g.lo != g.hi:
        return None
    steps = Steps(SCALE, ZERO - 128, q.scales, q.y_scale, ZERO - 128, q.bias)
    interpreter = Interpreter(model_content=model(g, q.w, steps), num_threads=threads)
    interpreter.allocate_tensors()
    signed = (q.x.astype(np.int16) - 128).astype(np.int8)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], channels_last(signed))
    y = interpreter.get_output_details()[0]["index"]

    def answer() -> Array:
        interpreter.invoke()
        return channels_second(interpreter.get_tensor(y).astype(np.int16) + 128)

    return Call(interpreter.invoke, answer)


def _ncnn(q: Quantised, threads: int) -> Call | None:
    try:
        import ncnn
    except ImportError:
        return None
    from benchmarks.peers.ncnn_peer import layer

    g = q.geometry
    if g.B > 1 or g.lo != g.hi:
        return None
    text = layer(g).rstrip().replace(" 5=0 ", " 5=1 ") + " 8=101\n"
    factors = [1 / (q.scales[: g.G] if g.G > 1 else q.scales), [1 / SCALE], [1 / q.y_scale]]
    data = _INT8.tobytes() + q.w.tobytes() + bytes(-q.w.nbytes % 4) + q.float_bias.tobytes()
    data += b"".join(np.asarray(each, np.float32).tobytes() for each in factors)
    net = ncnn.Net()
    net.opt.num_threads = threads
    with tempfile.TemporaryDirectory() as folder:
        param, weights = Path(folder, "net.param"), Path(folder, "net.bin")
        param.write_text(text)
        weights.write_bytes(data)
        if net.load_param(str(param)) or net.load_model(str(weights)):
            return None
    signed = q.signed[0]  # a Mat does not keep what it is made of
    x = ncnn.Mat(signed).clone()

    def run(as_it_is: int = 1) -> Any:  # its own layout; 0 gives float32, channels second
        extractor = net.create_extractor()
        extractor.input("x", x)
        return extractor.extract("y", as_it_is)[1]

    return Call(run, lambda: np.array(run(0))[None])


_CHANNELS_SECOND: dict[str, Callable[[Quantised, int], Call | None]] = {
    "onnxruntime": lambda q, threads: onnxruntime_call(onnx_model(q), q.x, threads),
    "openvino": lambda q, threads: openvino_call(onnx_model(q), q.x, threads),
    "ncnn": _ncnn,
}
_CHANNELS_LAST: dict[str, Callable[[Quantised, int], Call | None]] = {"torch": _torch, "litert": _litert}

__all__ = ["EightBitLayer", "Quantised", "onnxruntime_call", "openvino_call"]

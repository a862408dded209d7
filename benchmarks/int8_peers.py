"""Other libraries' calls of one quantised convolution: uint8 x and y, int8 filters, a scale for each channel.

    channels second   onnxruntime and OpenVINO, of one QDQ file; ncnn
    channels last     LiteRT (XNNPACK), PyTorch (oneDNN)

LiteRT's bytes are signed: x, y and their zero points are 128 less, and sums the same. ncnn has no zero points: its x is
counted from 0, which is as much work. Libraries that are not installed are left out.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import convmat
from benchmarks.peers.base import channels_last, channels_second
from convmat.cases import Case
from convmat.geometry import Geometry

Array = npt.NDArray[Any]
SCALE, ZERO, FILTER_SCALE = 0.02, 117, 0.01
"""Steps of x and of w; what x and y count from."""

_INT8 = np.uint32(0x000D4B38)
"""The tag that ncnn's weights begin with where they are int8."""


@dataclass(frozen=True)
class Call:
    """`run()` is what is timed; `answer()` what it computes, y: (B, O, *P); `wanted` what that is by the definition,
    where x is another than the layer's."""

    run: Callable[[], Any]
    answer: Callable[[], Array]
    wanted: Array | None = None

    @classmethod
    def plain(cls, run: Callable[[], Array]) -> Call:
        """A call whose result is its answer."""
        return cls(run, run)


Calls = dict[str, Call]


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


def calls_of_model(model: bytes, x: Array, threads: int) -> Calls:
    """Each other library's call of an ONNX model's one input x."""
    found: Calls = {}
    with suppress(ImportError):
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        found["onnxruntime"] = Call.plain(lambda: np.asarray(session.run(None, {name: x})[0]))
    with suppress(ImportError, RuntimeError):  # OpenVINO refuses weights that a node quantises
        import openvino as ov

        core = ov.Core()
        wanted = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        request = core.compile_model(core.read_model(model, b""), "CPU", wanted).create_infer_request()
        found["openvino"] = Call.plain(
            lambda: np.asarray(request.infer({0: x}, share_inputs=True, share_outputs=True)[0])
        )
    return found


def channels_second_calls(q: Quantised, threads: int) -> Calls:
    """Calls of x: (B, C, *I)."""
    return calls_of_model(onnx_model(q), q.x, threads) | _ncnn(q, threads)


def channels_last_calls(q: Quantised, threads: int) -> Calls:
    """Calls of x: (B, *I, C), whose answers are y: (B, O, *P) again."""
    return _torch(q, threads) | _litert(q, threads)


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


def _torch(q: Quantised, threads: int) -> Calls:
    try:
        import torch
    except ImportError:
        return {}
    g = q.geometry
    if g.lo != g.hi or "onednn" not in torch.backends.quantized.supported_engines:
        return {}
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

    return {"torch": Call(run, lambda: np.asarray(run().int_repr().numpy()))}


def _litert(q: Quantised, threads: int) -> Calls:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        return {}
    from benchmarks.peers.litert_peer import Steps, model

    g = q.geometry
    if g.G not in (1, g.C) or g.lo != g.hi:
        return {}
    steps = Steps(SCALE, ZERO - 128, q.scales, q.y_scale, ZERO - 128, q.bias)
    interpreter = Interpreter(model_content=model(g, q.w, steps), num_threads=threads)
    interpreter.allocate_tensors()
    signed = (q.x.astype(np.int16) - 128).astype(np.int8)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], channels_last(signed))
    y = interpreter.get_output_details()[0]["index"]

    def answer() -> Array:
        interpreter.invoke()
        return channels_second(interpreter.get_tensor(y).astype(np.int16) + 128)

    return {"litert": Call(interpreter.invoke, answer)}


def _ncnn(q: Quantised, threads: int) -> Calls:
    try:
        import ncnn
    except ImportError:
        return {}
    from benchmarks.peers.ncnn_peer import layer

    g = q.geometry
    if g.B > 1 or g.lo != g.hi:
        return {}
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
            return {}
    signed = np.clip(q.x[0].astype(np.int16) - 128, -127, 127).astype(np.int8)
    x = ncnn.Mat(signed).clone()

    def run(as_it_is: int = 1) -> Any:  # its own layout; 0 gives float32, channels second
        extractor = net.create_extractor()
        extractor.input("x", x)
        return extractor.extract("y", as_it_is)[1]

    wanted = np.clip(q.exact(signed[None], 0), -127, 127)
    return {"ncnn": Call(run, lambda: np.array(run(0))[None], wanted)}


__all__ = ["Call", "Calls", "Quantised", "calls_of_model", "channels_last_calls", "channels_second_calls"]

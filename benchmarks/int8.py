"""8-bit layers and networks beside onnxruntime and OpenVINO: the same QDQ files, one thread, in turns.

A layer takes uint8 pixels and int8 filters, a scale for each channel, and gives uint8 again. A network is one of the
benchmark's, quantised by onnxruntime's static quantiser (QDQ, uint8 activations, int8 weights a channel). Answers are
compared first: a layer's with the integers that its definition gives, by one step at most; a network's with
onnxruntime's. Peers that are not installed are left out.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import convmat
from benchmarks.models import MODELS, Net
from convmat.cases import LAYERS, Case
from convmat.engine import peaks

Array = npt.NDArray[Any]
Calls = dict[str, Callable[[], Array]]

SCALE, ZERO, FILTER_SCALE = 0.02, 117, 0.01
ROUNDS = 25


@dataclass(frozen=True)
class Measured:
    """Medians of a layer or a network in seconds, by peer; `share`: of the integer peak that convmat reaches."""

    name: str
    seconds: dict[str, float]
    apart: float
    share: float | None = None

    @property
    def ratio(self) -> float:
        """How many times as long as convmat the fastest peer takes."""
        others = [s for peer, s in self.seconds.items() if peer not in ("convmat", "convmat f32")]
        return min(others, default=float("nan")) / self.seconds["convmat"]


def in_turns(calls: Calls, rounds: int = ROUNDS) -> dict[str, float]:
    """The median seconds of each call, taken in turns."""
    for call in calls.values():
        call()
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            found[name].append(time.perf_counter() - start)
    return {name: float(np.median(each)) for name, each in found.items()}


def peers(model: bytes, x: Array) -> Calls:
    """Each other library's call of a model's one input x, on one thread."""
    found: Calls = {}
    with suppress(ImportError):
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        found["onnxruntime"] = lambda: np.asarray(session.run(None, {"x": x})[0])
    with suppress(ImportError):
        import openvino as ov

        core = ov.Core()
        wanted = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"}
        request = core.compile_model(core.read_model(model, b""), "CPU", wanted).create_infer_request()
        found["openvino"] = lambda: np.asarray(
            request.infer({0: x}, share_inputs=True, share_outputs=True)[0]
        )
    return found


def layer_model(case: Case, w: Array, bias: Array, y_scale: float) -> bytes:
    """One quantised convolution as a QDQ file: uint8 x and y."""
    from onnx import TensorProto, helper, numpy_helper

    g = case.geometry
    scales = np.full(g.O, FILTER_SCALE, np.float32)
    constants = {
        "xs": np.float32(SCALE), "xz": np.uint8(ZERO), "w": w, "ws": scales, "wz": np.zeros(g.O, np.int8), "b": bias,
        "bs": scales * np.float32(SCALE), "bz": np.zeros(g.O, np.int32), "ys": np.float32(y_scale),
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


def layer(case: Case, peak: float) -> Measured:
    """One of the benchmark's layers, requantised to uint8."""
    g, rng = case.geometry, np.random.default_rng(0)
    x = rng.integers(0, 256, g.x_shape).astype(np.uint8)
    w = rng.integers(-127, 128, g.w_shape).astype(np.int8)
    bias = rng.integers(-1000, 1000, g.O).astype(np.int32)
    y_scale = float(SCALE * FILTER_SCALE * 74 * 73 * np.sqrt(g.k) / 40)
    model = layer_model(case, w, bias, y_scale)
    plan = convmat.plan(
        g.x_shape, g.w_shape, dtype="uint8", w_dtype="int8", stride=g.s, dilation=g.d, groups=g.G, bias=True,
        padding=tuple(zip(g.lo, g.hi, strict=True)), x_zero_point=ZERO, scale=True, out_dtype="uint8",
        y_zero_point=ZERO,
    )  # fmt: skip
    scale = np.full(g.O, np.float32(SCALE) * np.float32(FILTER_SCALE) / np.float32(y_scale), np.float32)
    bound, out = plan.bind(w, bias, scale=scale), np.empty(g.y_shape, np.uint8)
    calls: Calls = {"convmat": lambda: bound(x, out=out), **peers(model, x)}
    wanted = out_of(bound(x))
    apart = max((float(np.abs(out_of(call()) - wanted).max()) for call in calls.values()), default=0.0)
    seconds = in_turns(calls)
    return Measured(case.name, seconds, apart, g.flops / seconds["convmat"] / peak)


def out_of(y: Array) -> Array:
    """Bytes as wider integers, to be subtracted."""
    return y.astype(np.int32)


def network(name: str, net: Net) -> Measured:
    """One of the benchmark's networks, quantised by onnxruntime."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    rng = np.random.default_rng(0)
    batches = iter([{"x": rng.standard_normal(net.shape).astype(np.float32)} for _ in range(2)])

    class Reader:
        """The batches, one after the other."""

        def get_next(self) -> Any:
            return next(batches, None)

    with tempfile.TemporaryDirectory() as folder:
        whole, small = Path(folder, "float.onnx"), Path(folder, "int8.onnx")
        whole.write_bytes(net.make())
        quantize_static(
            whole, small, Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        )  # fmt: skip
        model, floats = small.read_bytes(), convmat.load(whole)
    x = rng.standard_normal(net.shape).astype(np.float32)
    loaded = convmat.load(model)
    calls: Calls = {
        "convmat": lambda: np.asarray(loaded(x)), **peers(model, x), "convmat f32": lambda: np.asarray(floats(x)),
    }  # fmt: skip
    apart = (
        float(np.abs(calls["convmat"]() - calls["onnxruntime"]()).max()) if "onnxruntime" in calls else 0.0
    )
    return Measured(name, in_turns(calls, 15), apart)


def run(names: Sequence[str], *, nets: bool, tell: Callable[[str], object] = print) -> list[Measured]:
    """Layers whose names have one of these parts in them (all by default), then the networks."""
    found = []
    with convmat.threads(1):
        peak = peaks(1).dot_ops
        for case in LAYERS:
            if not names or any(each in case.name for each in names):
                found.append(layer(case, peak))
                tell(line(found[-1]))
        for name, net in MODELS.items() if nets else ():
            found.append(network(name, net))
            tell(line(found[-1]))
    tell(summary(found))
    return found


def line(each: Measured) -> str:
    """One line of the table."""
    times = "  ".join(f"{peer} {seconds * 1e3:.3f}" for peer, seconds in each.seconds.items())
    share = "" if each.share is None else f"  {each.share:.0%} of the peak"
    return f"{each.name}: {times} ms{share}  {each.ratio:.2f} x  apart {each.apart:g}"


def summary(found: Sequence[Measured]) -> str:
    """Geometric means."""
    ratios = [each.ratio for each in found if np.isfinite(each.ratio)]
    shares = [each.share for each in found if each.share is not None]
    said = [f"peak {peaks(1).dot_ops / 1e9:.0f} GOP/s"]
    if shares:
        said.append(f"share of the peak {np.exp(np.mean(np.log(shares))):.0%}")
    if ratios:
        said.append(
            f"against the fastest peer {np.exp(np.mean(np.log(ratios))):.2f}, least {min(ratios):.2f}"
        )
    return "geometric means: " + "; ".join(said)


__all__ = ["Measured", "in_turns", "layer", "network", "run"]

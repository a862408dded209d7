"""Layers multiplied in bfloat16 beside PyTorch and OpenVINO, on one or two threads, in turns.

Two questions a layer, each with the peer that answers the same one:

    arrays     x, w and y of 16 bits, channels last: PyTorch
    rounded    x and y of float32, operands rounded to 16 bits on the way: OpenVINO, told to compute in bf16

Answers are compared first with float32's, by the norm: at most 1 % apart. Of each peer the quicker layout counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

import convmat
from benchmarks.int8 import Measured, in_turns
from convmat.cases import LAYERS, Case
from convmat.engine import peaks

Array = npt.NDArray[Any]
Calls = dict[str, Callable[[], Array]]

RTOL = 1e-2


def layer(case: Case, threads: int) -> list[Measured]:
    """Both questions of one of the benchmark's layers."""
    g, rng = case.geometry, np.random.default_rng(0)
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in (g.x_shape, g.w_shape))
    words: dict[str, Any] = {
        "stride": g.s, "dilation": g.d, "groups": g.G, "padding": tuple(zip(g.lo, g.hi, strict=True)),
    }  # fmt: skip
    wanted = convmat.conv(x, w, **words)
    found = []
    for name, made in (("arrays", _of_arrays), ("rounded", _rounded)):
        calls = made(case, x, w, words, threads)
        apart = max(
            float(np.linalg.norm(call().astype(np.float32) - wanted) / np.linalg.norm(wanted))
            for call in calls.values()
        )
        if apart > RTOL:
            raise SystemExit(f"{case.name}, {name}: answers are {apart:.1e} apart")
        found.append(Measured(f"{case.name}, bf16 {name}", in_turns(calls, threads=threads), apart))
    return found


def _of_arrays(case: Case, x: Array, w: Array, words: dict[str, Any], threads: int) -> Calls:
    import ml_dtypes

    g = case.geometry
    last = np.ascontiguousarray(np.moveaxis(x, 1, -1)).astype(ml_dtypes.bfloat16)
    plan = convmat.plan(
        last.shape, w.shape, dtype="bfloat16", layout="NHWC", rtol=RTOL, reuse_weights=True, **words
    )
    bound = plan.bind(w.astype(ml_dtypes.bfloat16))
    out = bound(last)
    calls: Calls = {"convmat": lambda: np.moveaxis(bound(last, out=out), -1, 1)}
    with suppress(ImportError):
        import torch

        torch.set_num_threads(threads)
        lo, hi = list(g.lo), list(g.hi)
        for name, layout in (("torch", torch.contiguous_format), ("torch_cl", torch.channels_last)):
            xt, wt = (torch.from_numpy(a).bfloat16().contiguous(memory_format=layout) for a in (x, w))
            if lo == hi:
                calls[name] = _torch_call(torch, xt, wt, g)
    return calls


def _torch_call(torch: Any, x: Any, w: Any, g: Any) -> Callable[[], Array]:
    class Result:
        """A tensor that becomes an array only where one asks: NumPy has no bfloat16."""

        def __init__(self, tensor: Any) -> None:
            self.tensor = tensor

        def astype(self, kind: Any) -> Array:
            made: Array = self.tensor.float().numpy().astype(kind)
            return made

    def call() -> Any:
        with torch.inference_mode():
            return Result(torch.nn.functional.conv2d(x, w, None, g.s, list(g.lo), g.d, g.G))

    return call


def _rounded(case: Case, x: Array, w: Array, words: dict[str, Any], threads: int) -> Calls:
    plan = convmat.plan(x.shape, w.shape, rtol=RTOL, reuse_weights=True, **words)
    bound, out = plan.bind(w), np.empty(case.geometry.y_shape, np.float32)
    calls: Calls = {"convmat": lambda: bound(x, out=out)}
    with suppress(ImportError):
        import openvino as ov

        core = ov.Core()
        wanted = {
            "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "bf16",
        }  # fmt: skip
        request = core.compile_model(
            core.read_model(_model(case, w), b""), "CPU", wanted
        ).create_infer_request()
        calls["openvino"] = lambda: np.asarray(
            request.infer({0: x}, share_inputs=True, share_outputs=True)[0]
        )
    return calls


def _model(case: Case, w: Array) -> bytes:
    """The convolution alone, as an ONNX file."""
    from onnx import TensorProto, helper, numpy_helper

    g = case.geometry
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


def run(names: Sequence[str], threads: int, tell: Callable[[str], object]) -> list[Measured]:
    """Layers whose names have one of these parts in them (all by default)."""
    from benchmarks.int8 import line, summary

    found = []
    with convmat.threads(threads):
        for case in LAYERS:
            if not names or any(each in case.name for each in names):
                for each in layer(case, threads):
                    found.append(each)
                    tell(line(each))
    tell(f"bf16, {summary(found, peaks(threads).dot_ops)}")
    return found


__all__ = ["layer", "run"]

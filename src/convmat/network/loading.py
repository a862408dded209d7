"""load: the network of an ONNX file, or of one that `Network.save` wrote.

What reads and prepares is imported only where no earlier process recorded what the network does.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import TYPE_CHECKING, BinaryIO

from .graph import MEMORY_LIMIT
from .net import Network
from .starts.start import Start

if TYPE_CHECKING:
    from onnx import ModelProto


def load(
    source: str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | ModelProto,
    *,
    exact: bool = False,
    rtol: float | None = None,
    workspace_limit: int | None = None,
    weight_limit: int | None = None,
    deterministic: bool = False,
    tune: str = "none",
    precision: str = "float32",
    memory_limit: int = MEMORY_LIMIT,
    rewrite: bool | Collection[str] = True,
    trust: bool = False,
) -> Network:
    """The network of an ONNX file, or of one that `Network.save` wrote.

    `source`: its path, its bytes, an open binary file (read from where it stands to its end), or an `onnx.ModelProto`.

    The keywords up to `tune` are those of `plan`, for each of its convolutions and dense layers. `precision`: networks
    of half precision (float16, bfloat16) run in float32 inside, which is quicker and rounds less; "float16" keeps each
    value between their products in the file's own type, which takes half the memory; "bfloat16" lets products of
    float32 round what they multiply, where the CPU is quicker then. `memory_limit`: bytes that any one of its values
    may take. `rewrite`: False runs the nodes as the file has them, names of rules (see
    `convmat.network.rewriting`) apply those alone. A saved network was saved with its own; what is given here goes
    first. `trust`: run the machine code of a saved network, whoever wrote it. Raises NetworkError, and PlanError for
    keywords that mean nothing.

    >>> import numpy as np, onnx
    >>> text = '<ir_version: 8, opset_import: ["": 17]> g (float[n] x) => (float[n] y) { y = Relu(x) }'
    >>> net = load(onnx.parser.parse_model(text))
    >>> net(np.array([-1.0, 2.0], np.float32))
    array([0., 2.], dtype=float32)

    A file, its convolutions by the definition's own products, and what each of its values may take:

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "relu.onnx")
    ...     _ = path.write_bytes(onnx.parser.parse_model(text).SerializeToString())
    ...     print(*load(path, exact=True, memory_limit=2**20).inputs)
    x: float32 n
    """
    words = {
        "exact": exact, "rtol": rtol, "workspace_limit": workspace_limit, "weight_limit": weight_limit,
        "deterministic": deterministic, "tune": tune, "precision": precision,
    }  # fmt: skip
    usual = {**PLAIN, "memory_limit": MEMORY_LIMIT, "rewrite": True, "trust": False}
    given = {**words, "memory_limit": memory_limit, "rewrite": rewrite, "trust": trust}
    plain = all(type(given[name]) is type(word) and given[name] == word for name, word in usual.items())
    start = Start.of(source) if plain else None
    if start is not None and start.known:
        return Network.from_start(start)
    from .opening import open_network

    return open_network(source, words, memory_limit, rewrite, trust, start)


PLAIN = {
    "exact": False, "rtol": None, "workspace_limit": None, "weight_limit": None, "deterministic": False, "tune": "none",
    "precision": "float32",
}  # fmt: skip
"""The keywords of networks that are recorded."""

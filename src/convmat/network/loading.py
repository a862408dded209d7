"""load: the network of an ONNX file, or of one that `Network.save` wrote."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ..engine import jit_cache
from ..errors import PlanError, format_value
from ..planner import require_limits
from .files import save
from .files.readings import Readings
from .net import Network
from .ops import Options
from .ops.options import PRECISIONS
from .preparing import infer
from .reading.read import read_graph
from .reading.sources import locate
from .rewriting.rewrite import choose_rules

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
    memory_limit: int = infer.MEMORY_LIMIT,
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

    >>> import onnx
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
    rules = _read_rules(rewrite)
    _require_bytes(memory_limit)
    given = Options(exact, rtol, workspace_limit, weight_limit, deterministic, tune, precision)
    _require_options(given)
    source = locate(source)
    if save.is_saved(source):
        found = save.unpack(source, trust)
        options = save.merge_saved_options(found.options, given)
        kept = found.rules if rules is None else rules
        return Network(found.graph, options, memory_limit, kept, found.choices)
    jit_cache.expect_kernels()
    made = Network(read_graph(source, Readings()), given, memory_limit, rules)
    made.source = source
    return made


def _read_rules(rewrite: bool | Collection[str]) -> tuple[str, ...] | None:
    """The rules by which a network is rewritten; None: all. Raises NetworkError for names that there are not."""
    rules = None if rewrite is True else () if rewrite is False else rewrite
    choose_rules(rules)
    return None if rules is None else tuple(rules)


def _require_bytes(limit: Any) -> None:
    """Raise PlanError for a limit of memory that is no number of bytes."""
    if isinstance(limit, bool) or not isinstance(limit, (int, np.integer)) or limit < 0:
        raise PlanError(
            f"load: memory_limit must be a number of bytes\n  memory_limit = {format_value(limit)}\n"
            f"  e.g. memory_limit={infer.MEMORY_LIMIT}"
        )


def _require_options(given: Options) -> None:
    """Raise PlanError for keywords that mean nothing, alone or beside each other."""
    if given.precision not in PRECISIONS:
        raise PlanError(
            f"load: precision must be one of {', '.join(PRECISIONS)}\n  precision = {format_value(given.precision)}\n"
            '  e.g. precision="float32"'
        )
    if given.precision == "bfloat16" and (given.exact or given.deterministic):
        keyword = "exact" if given.exact else "deterministic"
        raise PlanError(
            f"load: precision='bfloat16' rounds what products multiply, {keyword}=True admits no such product\n"
            f"  omit {keyword}=, or use precision='float32'"
        )
    require_limits(
        "load",
        rtol=given.rtol,
        workspace_limit=given.workspace_limit,
        weight_limit=given.weight_limit,
        deterministic=given.deterministic,
        tune=given.tune,
    )

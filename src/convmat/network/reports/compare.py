"""The same network on the same input in another runtime: how far apart the outputs are, and what each took.

    largest   max|a - b|, and the same divided by max|b|
    norm      |a - b| / |b|

b is the other's. Both run on the same number of threads and take turns.
"""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import NetworkError
from ...lazy_dataclass import dataclass
from ...planner.columns import align_columns
from ...planner.units import format_seconds
from ..graph import Array
from ..reading.read import read_whole
from .cells import format_extents, shorten_name
from .summary import count_threads

Source = str | os.PathLike[str] | bytes

FEWEST, MOST = 3, 50
"""Calls of each, however long or short they are."""


@dataclass(frozen=True)
class Difference:
    """How far one output is from the peer's."""

    name: str
    shape: tuple[int, ...]
    largest: float
    relative: float
    norm: float

    def as_dict(self) -> dict[str, Any]:
        """The figures, for JSON, which knows no infinity and no NaN: None."""
        figures = {"largest": self.largest, "relative": self.relative, "norm": self.norm}
        finite = {name: n if math.isfinite(n) else None for name, n in figures.items()}
        return {"name": self.name, "shape": list(self.shape), **finite}


@dataclass(frozen=True)
class Comparison:
    """Differences and medians of seconds, this one's and the peer's."""

    peer: str
    outputs: tuple[Difference, ...]
    seconds: float
    peer_seconds: float
    runs: int
    threads: int

    def as_dict(self) -> dict[str, Any]:
        """The figures, for JSON; times in seconds."""
        return {
            "peer": self.peer,
            "seconds": self.seconds,
            "peer_seconds": self.peer_seconds,
            "runs": self.runs,
            "threads": self.threads,
            "outputs": [each.as_dict() for each in self.outputs],
        }

    def __str__(self) -> str:
        head = ("output", "shape", "max|a-b|", "of max|b|", "|a-b|/|b|")
        rows = [
            (
                shorten_name(each.name),
                format_extents(each.shape),
                f"{each.largest:.1e}",
                f"{each.relative:.1e}",
                f"{each.norm:.1e}",
            )
            for each in self.outputs
        ]
        ratio = self.peer_seconds / self.seconds if self.seconds else 0.0
        return "\n".join(
            [
                *align_columns(head, rows, words=2),
                "",
                f"convmat {format_seconds(self.seconds)}, {self.peer} {format_seconds(self.peer_seconds)} on "
                f"{count_threads(self.threads)}, medians of {self.runs} in turns: {ratio:.2f} times as fast",
            ]
        )


def difference(name: str, a: Array, b: Array) -> Difference:
    """How far a is from b, in float64; where both are the same NaN or infinity they are not apart."""
    if a.shape != b.shape:
        return Difference(name, a.shape, np.inf, np.inf, np.inf)
    if a.dtype.kind not in "fciub" or b.dtype.kind not in "fciub":
        apart = float(not np.array_equal(a, b))
        return Difference(name, a.shape, apart, apart, apart)
    wide = np.complex128 if "c" in (a.dtype.kind, b.dtype.kind) else np.float64
    a, b = a.astype(wide), b.astype(wide)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(all="ignore"):
        gap = np.where(same, 0, np.abs(a - b))
        size = np.where(same & ~np.isfinite(b), 0, np.abs(b))
        most, norm = float(np.max(gap, initial=0)), float(np.linalg.norm(gap))
        of, whole = float(np.max(size, initial=0)), float(np.linalg.norm(size))
    return Difference(
        name, a.shape, most, most / of if of else float(most > 0), norm / whole if whole else float(norm > 0)
    )


def compare(
    run: Callable[[], Mapping[str, Array]],
    source: Source | None,
    inputs: Mapping[str, Array],
    outputs: Sequence[str],
    peer: str,
    count: int,
    seconds: float = 1.0,
) -> Comparison:
    """Run both on the same inputs, for about so many seconds. Raises NetworkError."""
    if peer != "onnxruntime":
        raise NetworkError(
            f"compare: there is no peer of that name\n  peer = {peer!r}\n  onnxruntime is the one there is"
        )
    if source is None:
        raise NetworkError(
            "compare: the network was not loaded from an ONNX file\n  onnxruntime needs one\n"
            "  load it with convmat.load('model.onnx')"
        )
    session = _session(source, count)
    ours = run()
    theirs = dict(zip(outputs, _run(session, outputs, inputs), strict=True))
    mine: list[float] = []
    other: list[float] = []
    while len(mine) < FEWEST or (sum(mine) + sum(other) < seconds and len(mine) < MOST):
        start = time.perf_counter()
        run()
        middle = time.perf_counter()
        session.run(list(outputs), dict(inputs))
        mine.append(middle - start)
        other.append(time.perf_counter() - middle)
    return Comparison(
        peer=peer,
        outputs=tuple(difference(name, ours[name], np.asarray(theirs[name])) for name in ours),
        seconds=statistics.median(mine),
        peer_seconds=statistics.median(other),
        runs=len(mine),
        threads=count,
    )


def _session(source: Source, count: int) -> Any:
    """The model in onnxruntime, checked as it is for us, so that it reads no file of its own choice.

    Declared extents are taken away, since convmat takes any that fit.
    """
    try:
        import onnxruntime
    except ImportError:
        raise NetworkError(
            "compare: onnxruntime is not installed\n  no module onnxruntime\n  pip install onnxruntime"
        ) from None
    model = read_whole(source)
    for value in (*model.graph.input, *model.graph.output):
        for i, extent in enumerate(value.type.tensor_type.shape.dim):
            extent.Clear()
            extent.dim_param = f"{value.name}_{i}"
    del model.graph.value_info[:]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = count
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its C++ errors have no common ground
        raise _refusal(error) from None


def _run(session: Any, outputs: Sequence[str], inputs: Mapping[str, Array]) -> Any:
    try:
        return session.run(list(outputs), dict(inputs))
    except Exception as error:
        raise _refusal(error) from None


def _refusal(error: Exception) -> NetworkError:
    said = " ".join(str(error).split())[:300]
    return NetworkError(f"compare: onnxruntime refuses the model or its inputs\n  {said}")

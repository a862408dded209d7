"""What a network answered, for people: each output in a line, and the best of its scores by name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from zipfile import ZipFile

import numpy as np
import numpy.typing as npt

from convmat.errors import NetworkError
from convmat.network.reports.cells import format_extents, shorten_name
from convmat.planner.columns import align_columns

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Answer:
    """Outputs by name; `top` is how many of the best scores are told of each that is one line of scores."""

    outputs: Mapping[str, Array]
    labels: Sequence[str] = ()
    top: int = 5

    def find_best(self, array: Array) -> list[tuple[int, float, str]]:
        """Index, score and label of the best, where the array is a line of scores."""
        line = np.squeeze(array)
        if line.ndim != 1 or line.size < 2 or line.dtype.kind not in "fiu":
            return []
        order = np.argsort(-line.astype(np.float64), kind="stable")[: self.top]
        return [(int(i), float(line[i]), self.labels[i] if i < len(self.labels) else "") for i in order]

    def as_dict(self) -> dict[str, Any]:
        """Shapes, ranges and the best scores, for JSON; None for what is not finite."""
        found = {}
        for name, array in self.outputs.items():
            low, mean, high = _range(array)
            found[name] = {
                "shape": list(array.shape),
                "dtype": str(array.dtype),
                "least": _as_finite(low),
                "mean": _as_finite(mean),
                "most": _as_finite(high),
                "top": [
                    {"index": i, "score": _as_finite(score), "label": label or None}
                    for i, score, label in self.find_best(array)
                ],
            }
        return found

    def __str__(self) -> str:
        head = ("output", "shape", "type", "least", "mean", "most")
        rows = [
            (
                shorten_name(name),
                format_extents(array.shape),
                str(array.dtype),
                *(f"{n:.4g}" for n in _range(array)),
            )
            for name, array in self.outputs.items()
        ]
        lines = align_columns(head, rows, words=3)
        for name, array in self.outputs.items():
            best = self.find_best(array)
            if best:
                lines += ["", f"the best of {name}"]
                scores = [(str(i), f"{score:.4g}", label) for i, score, label in best]
                lines += align_columns(("index", "score", "label"), scores, words=1)
        return "\n".join(lines)


def write(file: BinaryIO, outputs: Mapping[str, Array]) -> None:
    """One output as .npy, several as .npz by their names."""
    if len(outputs) == 1:
        np.save(file, next(iter(outputs.values())), allow_pickle=False)
    else:
        # np.savez takes a name for an option of its own: "file", and "allow_pickle" before NumPy 2.1.
        with ZipFile(file, "w") as archive:
            for name, array in outputs.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)


def read_labels(path: Path, outputs: Mapping[str, Array]) -> list[str]:
    """One label a line, for the outputs that are lines of scores. Raises NetworkError."""
    try:
        labels = path.read_text("utf-8", "replace").splitlines()
    except OSError as error:
        raise NetworkError(
            f"run: the labels cannot be read\n  {path}: {error.strerror}\n  give a text file, one label a line"
        ) from None
    sizes = {name: array.size for name, array in outputs.items() if np.squeeze(array).ndim == 1}
    if len(labels) not in sizes.values():
        have = (
            ", ".join(f"{name} has {n:,} scores" for name, n in sizes.items())
            or "no output is a line of scores"
        )
        raise NetworkError(
            f"run: the labels do not fit the outputs\n  {path}: {len(labels):,} lines; {have}\n"
            f"  give one line for each score"
        )
    return labels


def _range(array: Array) -> tuple[float, float, float]:
    if not array.size or array.dtype.kind not in "fiub":
        return math.nan, math.nan, math.nan
    wide = array.astype(np.float64)
    return float(wide.min()), float(wide.mean()), float(wide.max())


def _as_finite(n: float) -> float | None:
    return n if math.isfinite(n) else None

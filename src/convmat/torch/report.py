"""What `accelerate` measured of a model, and what it did; printed, a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convmat.planner.columns import align_columns


@dataclass(frozen=True)
class SwappedLayer:
    """One convolution of a model, or normalisation in training: seconds of PyTorch's and of ours on its input.

    `borrows`: in training its weight gradient stays PyTorch's, which is quicker.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    theirs: float
    ours: float
    swapped: bool
    borrows: bool = False


@dataclass(frozen=True)
class Report:
    """What was measured; printed, a table. `before` and `after` are seconds of the whole model on the example."""

    layers: tuple[SwappedLayer, ...]
    fused: int
    before: float
    after: float

    def __str__(self) -> str:
        head = ("layer", "input", "PyTorch", "convmat", "ratio", "")
        rows = [
            (each.name, "x".join(map(str, each.shape)), f"{each.theirs * 1e3:.3f} ms", f"{each.ours * 1e3:.3f} ms",
             f"{each.theirs / each.ours:.2f}", _say_what_became(each))
            for each in self.layers
        ]  # fmt: skip
        norms = [each for each in self.layers if each.kind.startswith("BatchNorm")]
        counts = [f"{_count([each for each in self.layers if each not in norms])} convolutions"]
        counts += [f"{_count(norms)} normalisations"] if norms else []
        last = (
            f"{' and '.join(counts)} swapped, {self.fused} fused with what follows them; "
            f"the model took {self.before * 1e3:.2f} ms, takes {self.after * 1e3:.2f} ms"
        )
        return "\n".join([*align_columns(head, rows, words=2), last])


def _say_what_became(layer: SwappedLayer) -> str:
    if not layer.swapped:
        return "left as it is"
    return "swapped, its weight gradient PyTorch's" if layer.borrows else "swapped"


def _count(layers: Sequence[SwappedLayer]) -> str:
    """How many of them were swapped, of how many."""
    return f"{sum(each.swapped for each in layers)} of {len(layers)}"


__all__ = ["Report", "SwappedLayer"]

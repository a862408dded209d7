"""What quantising did to each layer, and to the network's answers.

error   |y' - y| / |y| of what a layer gives, all before it being quantised too, on the examples
drop    the share of examples whose best class is another, where the network gives scores of classes; otherwise
        |y' - y| / |y| of the outputs
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...lazy_dataclass import dataclass
from ...planner.columns import align_columns
from ...planner.units import format_seconds
from ..reports.cells import shorten_name

if TYPE_CHECKING:
    from ..net import Network


@dataclass(frozen=True)
class QuantisedLayer:
    """One product: `bits` of its weights and inputs, `why` they are 32; seconds as measured, None where not."""

    name: str
    op: str
    bits: int
    why: str
    error: float
    before: float | None = None
    after: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """The figures, for JSON."""
        return {
            "name": self.name, "op": self.op, "bits": self.bits, "why": self.why, "error": self.error,
            "seconds_before": self.before, "seconds_after": self.after,
        }  # fmt: skip


@dataclass(frozen=True)
class Quantised:
    """A quantised network and what became of its layers. Print it; `network.to_onnx(path)` writes it.

    `drop` is by `measure`: "best class" or "distance". `seconds` of a call, before and after, None where not measured.
    """

    network: Network
    layers: tuple[QuantisedLayer, ...]
    examples: int
    drop: float
    measure: str
    seconds: tuple[float, float] | None

    @property
    def quantised(self) -> int:
        """Layers in 8 bits."""
        return sum(each.bits == 8 for each in self.layers)

    def as_dict(self) -> dict[str, Any]:
        """The figures, for JSON; times in seconds."""
        before, after = self.seconds or (None, None)
        return {
            "examples": self.examples, "drop": self.drop, "measure": self.measure, "seconds_before": before,
            "seconds_after": after, "layers": [each.as_dict() for each in self.layers],
        }  # fmt: skip

    def __str__(self) -> str:
        timed = self.seconds is not None
        head = ("layer", "operator", "bits", "error", *(("before", "after") if timed else ()), "")
        rows = [
            (
                shorten_name(each.name),
                each.op,
                str(each.bits),
                f"{each.error:.1e}",
                *((format_seconds(each.before or 0.0), format_seconds(each.after or 0.0)) if timed else ()),
                each.why,
            )
            for each in self.layers
        ]
        width = max((len(row[-1]) for row in rows), default=0)
        rows = [(*row[:-1], row[-1].ljust(width)) for row in rows]
        lines = [line.rstrip() for line in align_columns(head, rows, words=2)]
        return "\n".join([*lines, "", *self._describe()])

    def _describe(self) -> list[str]:
        count = f"{self.examples} example{'' if self.examples == 1 else 's'}"
        if self.measure == "best class":
            drop = f"another best class in {self.drop:.2%} of {count}"
        else:
            drop = f"outputs {self.drop:.2e} apart, norm-wise, on {count}"
        said = [f"{self.quantised} of {len(self.layers)} layers in 8 bits; {drop}"]
        if self.seconds is not None:
            before, after = self.seconds
            said.append(
                f"{format_seconds(before)} a call before, {format_seconds(after)} after: {before / after:.2f} "
                f"times as fast"
            )
        return said


__all__ = ["Quantised", "QuantisedLayer"]

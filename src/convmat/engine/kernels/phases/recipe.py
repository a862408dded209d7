"""What is constant in the kernel of phases: the taps of each along both axes, types and the epilogue."""

from __future__ import annotations

from ....lazy_dataclass import dataclass
from ....product import Activation
from ...ir.arguments import Arguments
from ...ir.instructions import Type
from ..direct.planes import OuterIndex, RoundingAgain, argument_names


@dataclass(frozen=True)
class PhaseAxis:
    """A phase along an axis: its taps' first position beside the others', their distance, and where they lie in w.

    `w_at`, `w_step`: bytes of the first tap, and from one to the next.
    """

    taps: int
    offset: int
    dilation: int
    w_at: int
    w_step: int

    @property
    def positions(self) -> list[tuple[int, int]]:
        """Position of each tap along x, from the word that says where the first one of all lies, and its place in w."""
        return [(self.offset + f * self.dilation, self.w_at + f * self.w_step) for f in range(self.taps)]


@dataclass(frozen=True)
class PhasesRecipe:
    """All that is constant in the kernel; `rows` and `columns` are the phases along both axes, in C's order.

    `outer`: the indices that a plane of y fixes. `channels`: terms of the sum beside the taps, `w_channel` bytes apart.
    `m`: rows of A, `w_row` and `bias_row` bytes apart.
    """

    outer: tuple[tuple[str, tuple[int, ...]], ...]
    rows: tuple[PhaseAxis, ...]
    columns: tuple[PhaseAxis, ...]
    channels: int
    w_channel: int
    m: int
    w_row: int
    bias_row: int
    array: Type
    work: Type
    out: Type
    lanes: int
    bias: bool
    residual: bool
    activation: Activation | None
    terms: tuple[OuterIndex, ...] = ()
    checks: int = 0

    scale = False
    again = RoundingAgain()

    @property
    def weights(self) -> str:
        """The word that says where the weights are."""
        return "w"

    @property
    def taps(self) -> int:
        """Multiplications of one element of each phase and row of A."""
        rows, columns = (sum(axis.taps for axis in axes) for axes in (self.rows, self.columns))
        return rows * columns * self.channels * self.m

    def arguments(self) -> Arguments:
        """The words the kernel reads."""
        return Arguments([*argument_names(self), "lines", "x c", "y m"])


__all__ = ["PhaseAxis", "PhasesRecipe"]

"""Taps along the rows of x share a copy: where windows move by one row, each row is packed once for all of them.

    copy[(c, f1), (p0, p1)] = x[c, p0 - lo, p1*s + f1 - lo1], 0 outside        rows p0 of the task, and those behind it
    B[(c, f0, f1), (p0, p1)] = copy[(c, f1), (p0 + f0*d, p1)]                  f0*d whole lines of columns further on

Lines of the copy run on across rows without a gap, as panels do. So a panel is no more than an address in it, the tap
f0 a step that all panels share, and a 3x3 filter packs a third of the vectors, beside the `halo` that is behind the
task's columns.
"""

from __future__ import annotations

from ....lazy_dataclass import dataclass
from ....product import Index, View
from ...operands import odd_lines_size
from .k_parts import count_separate_taps, part_sizes
from .partition import PANEL_BYTES
from .walk import MOST_NEAR

WORTH = 0.7
"""Share of the vectors that panels take: of more, as where lines are long and the halo wide, panels are packed."""


@dataclass(frozen=True)
class SharedRows:
    """How taps share rows: `tap` is their index, of `taps` values, each `apart` rows from the next.

    `near`: steps of k for each of them, side by side in the copy.
    """

    tap: str
    taps: int
    apart: int
    near: int

    @classmethod
    def of(cls, b: View, run: tuple[Index, ...], item: int) -> SharedRows | None:
        """Those of a View whose columns are rows and their elements, if sharing packs fewer vectors; else None."""
        if len(run) != 2 or len(b.rows) < 2:
            return None
        (row, lane), (tap, near) = run, b.rows[-2:]
        moved = [dict(c.terms) for c in b.coordinates if {row.name, tap.name} & {name for name, _ in c.terms}]
        if len(moved) != 1 or moved[0].keys() != {row.name, tap.name} or moved[0][row.name] != 1:
            return None
        last = dict(b.coordinates[-1].terms)
        if last.keys() - {near.name} != {lane.name} or not {near.name} <= last.keys() or tap.extent < 2:
            return None
        kc = part_sizes(b)[1]
        made = cls(tap.name, tap.extent, moved[0][tap.name], near.extent)
        if not 1 <= near.extent <= MOST_NEAR or kc % made.steps or count_separate_taps(b):
            return None  # not all taps are in every part of k
        columns = min(row.extent * lane.extent, made.most_columns(kc, lane.extent, item))
        packed = columns + made.halo(lane.extent)
        return made if columns > 0 and packed <= WORTH * made.taps * columns else None

    @property
    def steps(self) -> int:
        """Steps of k for each index before the taps."""
        return self.taps * self.near

    def halo(self, width: int) -> int:
        """Columns behind a task's own that its last tap reads, of rows of `width`."""
        return self.apart * (self.taps - 1) * width

    def most_columns(self, kc: int, width: int, item: int) -> int:
        """Columns of a task whose copy stays in a second-level cache, for parts of `kc`."""
        return PANEL_BYTES // max(kc // self.taps * item, 1) - self.halo(width)

    def pitch(self, columns: int, width: int, item: int) -> int:
        """Bytes from one line of the copy to the next, for a task of so many columns."""
        return odd_lines_size((columns + self.halo(width)) * item)

    def words(self, columns: int, width: int, item: int) -> dict[str, int]:
        """Kernel arguments of a copy for so many columns a task."""
        return {
            "copy pitch": self.pitch(columns, width, item), "row step": self.apart * width * item,
            "halo": self.halo(width),
        }  # fmt: skip


ARGUMENTS = ("copy pitch", "row step", "halo")
"""copy pitch: bytes from one line of the copy to the next; row step: from tap to tap; halo: in columns."""

__all__ = ["ARGUMENTS", "SharedRows"]

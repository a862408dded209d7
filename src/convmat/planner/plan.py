"""Plan: every candidate with its cost or refusal, and the one chosen, ready to run and to give account of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from . import report, why
from .prepared import Prepared
from .presenter import Presentable

if TYPE_CHECKING:
    from collections.abc import Callable

    from .comparison import CandidateTimes

Array = npt.NDArray[Any]


class Plan(Prepared, Presentable):
    """How one Problem runs. Call it with arrays, or `bind` the weights first; print it; pickle it.

    `decision` is what was weighed and chosen: `candidates`, all ways with their costs or refusals, and `chosen`, the
    one that runs. It holds no arrays and may be used from several threads at once.

    >>> import convmat
    >>> import numpy as np
    >>> plan = convmat.plan((1, 3, 8, 8), (4, 3, 3, 3), padding=1)
    >>> plan(np.ones((1, 3, 8, 8), np.float32), np.ones((4, 3, 3, 3), np.float32))[0, 0, 0]
    array([12., 18., 18., 18., 18., 18., 18., 12.], dtype=float32)
    """

    @property
    def exact(self) -> bool:
        """Whether the products are the definition's own: a NaN or inf then goes where the definition takes it.

        >>> import convmat
        >>> convmat.plan((1, 64, 56, 56), (64, 64, 3, 3), padding=1, exact=True).exact
        True
        """
        return self.decision.exact

    def why(self) -> str:
        """Reasons in words: why this way, what the others would take, and what keeps quicker ones away.

        >>> import convmat
        >>> print(convmat.plan((1, 8, 9, 9), (8, 8, 1, 1), lowering="pointwise", engine="blas").why().splitlines()[0])
        pointwise, in place (blas): asked for.
        """
        return "\n".join(why.list_reasons(self.decision))

    def compare(
        self,
        x: Any = None,
        w: Any = None,
        *,
        seconds: float = 3.0,
        progress: Callable[[str], object] | None = None,
    ) -> CandidateTimes:
        """Run every candidate in turns, for about so many seconds: what it took beside what was predicted.

        x and w are arrays for it; without them random ones of the plan's shapes. `progress` is told in words what is
        being done. Errors are those from the same product in float64. Raises GeometryError.

        >>> import convmat
        >>> found = convmat.plan((1, 4, 9, 9), (6, 4, 3, 3), exact=True).compare(seconds=0.01)
        >>> found.measured[0].way.name == found.plan.chosen.name, found.loss >= 1
        (True, True)
        >>> print(*str(found).split()[:4])
        way engine predicted measured
        """
        from .comparison import compare

        return compare(self, x, w, seconds, progress)

    def __str__(self) -> str:
        return report.report_text(self.decision)

    def __repr__(self) -> str:
        return f"<Plan {self.problem.geometry}, {self.problem.dtype}: {self.chosen.name}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return Plan, (self.decision,)


__all__ = ["Plan"]

"""The lazy result of a convolution: a Dask array whose blocks go to their places in the result as they are made.

Dask's own `compute` keeps all blocks and joins them in new memory when the last is there: all of the result twice, and
a copy for which everything waits. What is derived from it (y + 1, y.sum()) is a plain Dask array.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import dask
import dask.array as da
import numpy as np
import numpy.typing as npt
from dask.base import get_scheduler

Array = npt.NDArray[Any]


class LazyResult(da.Array):  # type: ignore[misc]  # Dask's classes have no types
    """A Dask array that `compute` writes block by block where the blocks are made by threads of this process."""

    __slots__ = ()

    def compute(self, **keywords: Any) -> Any:
        """The result in memory. `keywords` are those of Dask's own `compute`."""
        scheduler = get_scheduler(scheduler=keywords.get("scheduler"), collections=[self])
        if scheduler not in (dask.threaded.get, dask.local.get_sync):
            return super().compute(**keywords)
        target = _StoreTarget(np.empty(self.shape, self.dtype))
        da.store(self, target, lock=False, **keywords)
        return target.array


class _StoreTarget:
    """An array that blocks are stored in, and that Dask does not hash."""

    def __init__(self, array: Array) -> None:
        self.array, self._token = array, uuid4().hex
        self.shape, self.dtype = array.shape, array.dtype

    def __setitem__(self, place: Any, block: Array) -> None:
        self.array[place] = block

    def __dask_tokenize__(self) -> str:
        return self._token


__all__ = ["LazyResult"]

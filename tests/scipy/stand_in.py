"""A pytest plugin: SciPy's own tests meet convmat's functions where they look for SciPy's.

    python -m pytest -p tests.scipy.stand_in path/to/scipy/ndimage/tests/test_filters.py

The names are replaced in scipy.ndimage and scipy.signal before a test file is imported. The new functions take
the old ones' entries in SciPy's table of what each supports, where its tests look them up.
"""

from __future__ import annotations

from typing import Any

import scipy.ndimage
import scipy.signal
from scipy._lib import _array_api

from convmat.scipy import ndimage, signal


def replace(theirs: Any, ours: Any) -> None:
    table = _array_api.xp_capabilities_table
    for name in ours.__all__:
        old, new = getattr(theirs, name), getattr(ours, name)
        if old in table:
            table[new] = table[old]
        setattr(theirs, name, new)


replace(scipy.ndimage, ndimage)
replace(scipy.signal, signal)

"""Everything convmat raises on purpose.

    ConvmatError
    ├── GeometryError (also a ValueError)   the numbers do not make a convolution
    ├── PlanError                           nothing that was allowed can run it
    ├── EngineError                         the machine's side: compiling, loading, threads
    └── NetworkError                        a model file, named by its node

A message has up to three lines: what is wrong and where; the values; the rule, and a fix that works.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any


class ConvmatError(Exception):
    """The root: catch this to catch all that convmat raises on purpose.

    >>> import convmat
    >>> issubclass(convmat.GeometryError, convmat.ConvmatError)
    True
    """


class GeometryError(ConvmatError, ValueError):
    """Shapes, strides, paddings or arrays that do not make a convolution.

    >>> import convmat
    >>> try:
    ...     convmat.conv([[[1.0, 2.0]]], [[[1.0, 1.0, 1.0]]])
    ... except convmat.GeometryError as error:
    ...     print(error)
    conv: the filter is wider than the padded input on axis W
      input W = 2, padding (0, 0) -> 2;  filter W = 3, dilation 1 -> reach 3
      3 > 2: one more column is enough, e.g. padding=((0, 1),)
    """


class PlanError(ConvmatError):
    """No candidate is left under the given limits, or the one asked for refuses.

    >>> import convmat
    >>> try:
    ...     convmat.plan((1, 4, 8, 8), (4, 4, 3, 3), lowering="pointwise")
    ... except convmat.PlanError as error:
    ...     print(str(error).splitlines()[0])
    plan: the lowering 'pointwise' refuses this problem: needs a 1x1 filter, got 3x3
    """


class EngineError(ConvmatError):
    """The machine's side failed: compiling, loading, caching or running machine code.

    >>> import convmat
    >>> issubclass(convmat.EngineError, convmat.ConvmatError)
    True
    """


class NetworkError(ConvmatError):
    """A model file that cannot be read or run; the message names the node.

    >>> import convmat
    >>> issubclass(convmat.NetworkError, convmat.ConvmatError)
    True
    """


def format_value(value: Any, most: int = 100) -> str:
    """A value as errors show it: on one line, shortened, and whatever its `repr` does.

    >>> format_value([0] * 100, 20)
    '[0, 0, 0, 0, 0, 0...'
    """
    try:
        text = " ".join(repr(value).split())
    except Exception:  # a caller's own `__repr__` may raise anything
        text = f"<{type(value).__name__}>"
    return text if len(text) <= most else f"{text[: most - 3]}..."


def shorten_error(error: Exception) -> str:
    """The first two lines of an error, what and why, as one: what a table of candidates has room for.

    >>> shorten_error(EngineError("compiler: no code for znver4\\n  No module named 'llvmlite'\\n  install it"))
    "compiler: no code for znver4: No module named 'llvmlite'"
    """
    what, _, rest = str(error).strip().partition("\n")
    why = rest.strip().partition("\n")[0]
    return f"{what}: {why}" if why else what


def cannot_write(call: str, path: str | os.PathLike[str], error: OSError) -> PlanError:
    """The error for a file that could not be written, with what to do about it.

    >>> import errno
    >>> print(cannot_write("draw", "layer.svg", OSError(errno.ENOSPC, "No space left on device")))
    draw: cannot write layer.svg
      No space left on device
      make room on the disk, or give a path on another
    """
    import tempfile  # which imports a dozen modules, for a sentence that is seldom said

    target = Path(path)
    missing = next((each for each in target.parents if each.exists()), Path())
    elsewhere = Path(tempfile.gettempdir(), target.name or "out")
    fix = f"give a path that can be written, e.g. {elsewhere}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        fix = "make room on the disk, or give a path on another"
    elif error.errno == errno.ENAMETOOLONG:
        fix = f"give a shorter name, e.g. {elsewhere.with_name('out' + target.suffix[:8])}"
    elif target.is_dir():
        fix = f"give the name of a file, e.g. {target / ('out' + target.suffix)}"
    elif not target.parent.exists() and missing.is_dir() and os.access(missing, os.W_OK):
        fix = f"make the folder first, or give another: mkdir -p {target.parent}"
    return PlanError(f"{call}: cannot write {path}\n  {error.strerror or error}\n  {fix}")

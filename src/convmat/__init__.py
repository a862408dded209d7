"""convmat: every convolution is a matrix product whose second operand, the unrolled input, need not exist.

    import convmat
    y = convmat.conv(x, w, stride=2, padding=1)        x: (B, C, *I), w: (O, C//G, *F) -> y: (B, O, *P)
    print(convmat.plan(x.shape, w.shape, stride=2, padding=1))

Importing this loads NumPy alone: functions load when they are first asked for, an engine at the first product.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .doors import BY_DLPACK, serve
from .errors import ConvmatError, EngineError, GeometryError, NetworkError, PlanError
from .geometry import Geometry
from .processes import importing

if TYPE_CHECKING:
    from .api import (
        col2im,
        conv,
        conv1d,
        conv2d,
        conv3d,
        conv_grads,
        conv_input_grad,
        conv_transpose,
        conv_transpose1d,
        conv_transpose2d,
        conv_transpose3d,
        conv_weight_grad,
        im2col,
        plan,
    )
    from .engine import threads
    from .network import Network, load, quantize
    from .planner import Plan, export_choices, forget_choices, import_choices
    from .stream import Stream

__version__ = "0.3.0"

__all__ = [
    "ConvmatError",
    "EngineError",
    "Geometry",
    "GeometryError",
    "Network",
    "NetworkError",
    "Plan",
    "PlanError",
    "Stream",
    "col2im",
    "conv",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_grads",
    "conv_input_grad",
    "conv_transpose",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "conv_weight_grad",
    "export_choices",
    "forget_choices",
    "im2col",
    "import_choices",
    "load",
    "plan",
    "quantize",
    "threads",
]


def __getattr__(name: str) -> Any:
    """Functions, plans, networks and threads load with their rooms when they are first asked for, and stay."""
    if name == "threads":
        from .engine import threads

        return threads
    if name == "Stream":
        from .stream import Stream

        return Stream
    if name in ("load", "Network", "quantize"):
        with importing("convmat.network"):
            from . import network

            return getattr(network, name)
    if name == "nn":
        return import_module("convmat.nn")
    if name == "train":
        return import_module("convmat.train")
    if name in __all__:
        with importing("convmat.api"):
            from . import api, planner
        found = globals()[name] = getattr(api if hasattr(api, name) else planner, name)
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """All names, those that load later too."""
    return sorted({*globals(), *__all__})


def _train() -> Any:
    """The room that trains networks, opened when one is first asked for its trainer."""
    from . import train

    return train


serve("train", _train)


def _presenter() -> Any:
    """The room that draws plans, opened when a plan is first asked to show itself."""
    from . import explain

    return explain


serve("plans shown", _presenter)


def _chunks() -> Any:
    """The room that computes on lazy arrays, opened when the first of them comes."""
    from . import chunks

    return chunks


serve("arrays of dask", _chunks)
serve("chunks", _chunks)


def _torch() -> Any:
    """The room that stands inside PyTorch, opened when the first of its tensors comes."""
    from . import torch

    return torch


serve("arrays of torch", _torch)


def _foreign() -> Any:
    """The room that takes arrays of other libraries, opened when the first of them comes."""
    from . import foreign

    return foreign


serve(BY_DLPACK, _foreign)

"""What PyTorch's tools take our modules for: those that they stand for.

`torch.jit.script` reads a module's source and knows no NumPy: it is given PyTorch's own over the same parameters.
`torch.fx` takes PyTorch's modules for one node each, by the package that they are from; ours say it themselves.
"""

from __future__ import annotations

from typing import Any

from torch import fx, nn

from .memory import Tensor


class Standing:
    """A module of ours, which stands for PyTorch's with another computation."""

    def __prepare_scriptable__(self) -> nn.Module:  # PyTorch's name for it
        """PyTorch's own module with all that this one has."""
        theirs: Any = next(kind for kind in type(self).__mro__ if kind.__module__.startswith("torch.nn."))
        return over_state(theirs, self.__dict__)

    def as_node(self, x: Tensor) -> Any | None:
        """The node of a symbolic trace that this module is, if x stands for a tensor in one."""
        if not isinstance(x, fx.Proxy):
            return None
        return x.tracer.create_proxy("call_module", x.tracer.path_of_module(self), (x,), {})


def over_state(kind: Any, state: dict[str, Any]) -> nn.Module:
    """A module of a class with the attributes of another one: the same parameters and hooks, submodules listed anew.

    >>> over_state(nn.ReLU, nn.ReLU(inplace=True).__dict__)
    ReLU(inplace=True)
    """
    made: nn.Module = kind.__new__(kind)
    made.__dict__.update(state)
    made.__dict__["_modules"] = dict(state["_modules"])
    return made


__all__ = ["Standing", "over_state"]

"""Arrays of other libraries in convmat's functions: an array of a kind in, one of that kind out.

    x of a library  --DLPack-->  NumPy's, over the same memory  ->  the function  ->  y  --its from_dlpack-->  x's kind

A library is what the array names as its namespace (the array API standard), else the package that its type comes from.
Where that can read no array of another's, the result stays NumPy's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from inspect import signature
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import api
from .planner import Plan, PlanOptions
from .planner.arrays import read_array, read_foreign, read_numbers

Array = npt.NDArray[Any]

GIVEN_AS_ARRAYS = frozenset(
    {"bias", "residual", "out", "scale", "w_zero_point", "requantise", "residual_factors"}
)
"""Parameters of which options say only whether they are given."""


class Exchange(NamedTuple):
    """How operands of a call, by their names in errors, become NumPy's arrays, and a result becomes the caller's."""

    take: Callable[[str, str, Any], Any]
    give: Callable[[Array], Any]


def compute(
    exchange: Exchange, call: str, options: PlanOptions, operands: Mapping[str, Any], more: Mapping[str, Any]
) -> Any:
    """What the function itself gives for arrays of another library, as arrays of that.

    `more`: keywords beside the options, read as they are. Raises what the function raises.
    """
    taken = [exchange.take(call, name, value) for name, value in operands.items()]
    found = getattr(api, call)(*taken, **keywords_of(call, options), **more)
    if isinstance(found, api.ConvGrads):
        return api.ConvGrads(*map(exchange.give, found))
    return found if more.get("out") is not None else exchange.give(found)


def keywords_of(call: str, options: PlanOptions) -> dict[str, Any]:
    """The options that a function takes, beside its arrays."""
    return {name: value for name, value in options._asdict().items() if name in _names(call)}


@lru_cache(maxsize=8)
def _names(call: str) -> frozenset[str]:
    return frozenset(signature(getattr(api, call)).parameters) - GIVEN_AS_ARRAYS


def _take(call: str, name: str, value: Any) -> Any:
    """NumPy's array over another library's; lists and shapes as they are. Raises GeometryError."""
    return read_array(name, value, call) if hasattr(value, "__dlpack__") else value


def _library_of(*arrays: Any) -> Any | None:
    """The namespace of the first of these arrays that is another library's."""
    for array in arrays:
        if hasattr(array, "__dlpack__") and not isinstance(array, np.ndarray | np.generic):
            if hasattr(array, "__array_namespace__"):
                return array.__array_namespace__()
            return sys.modules.get(type(array).__module__.partition(".")[0])
    return None


def _exchange_with(*arrays: Any) -> Exchange:
    """The exchange with the library of the first of these arrays that has one.

    >>> _exchange_with(np.ones(2)).give(np.ones(2))
    array([1., 1.])
    """
    library = _library_of(*arrays)

    def give(array: Array) -> Any:
        # NumPy hands nobody its bfloat16; and a library may refuse what it has no type for.
        for read in ("from_dlpack", "asarray"):
            with suppress(Exception):
                return getattr(library, read)(array)
        return array

    return Exchange(_take, give)


# -- what a door asks its room for -------------------------------------------------------------------------------------


def convolve(
    call: str, options: PlanOptions, x: Any, w: Any, bias: Any, residual: Any, out: Any, more: Mapping[str, Any]
) -> Any:  # fmt: skip
    """`conv` and `conv_transpose` of another library's array. Raises GeometryError and PlanError as they do."""
    # A mask is no array of numbers, and a scale need be no array at all.
    beside = {n: read_foreign(n, a, call) if hasattr(a, "__dlpack__") else a for n, a in more.items()}
    given = {"bias": bias, "residual": residual, "out": out, **beside}
    given = {name: value for name, value in given.items() if value is not None}
    return compute(_exchange_with(x), call, options, {"x": x, "w": w}, given)


def input_grad(call: str, options: PlanOptions, dy: Any, w: Any, shape: tuple[int, ...], out: Any) -> Any:
    """`conv_input_grad` of another library's array. Raises GeometryError and PlanError as it does."""
    return compute(_exchange_with(dy), call, options, {"dy": dy, "w": w, "shape": shape}, _out(out))


def weight_grad(call: str, options: PlanOptions, x: Any, dy: Any, shape: tuple[int, ...], out: Any) -> Any:
    """`conv_weight_grad` of other libraries' arrays. Raises GeometryError and PlanError as it does."""
    return compute(_exchange_with(x, dy), call, options, {"x": x, "dy": dy, "shape": shape}, _out(out))


def grads(call: str, options: PlanOptions, x: Any, w: Any, dy: Any) -> Any:
    """`conv_grads` of other libraries' arrays. Raises GeometryError and PlanError as it does."""
    return compute(_exchange_with(x, w, dy), call, options, {"x": x, "w": w, "dy": dy}, {})


def unroll(call: str, x: Any, *rest: Any, **keywords: Any) -> Any:
    """`im2col` and `col2im` of another library's array, with what stands behind it. Raises GeometryError."""
    array = read_numbers("x" if call == "im2col" else "cols", x, call)
    return _exchange_with(x).give(getattr(api, call)(array, *rest, **keywords))


def plan(options: PlanOptions, x: Any, w: tuple[int, ...]) -> Plan:
    """`plan` of an array in the place of its shape."""
    array = _take("plan", "x", x)
    return api.plan(array.shape, w, dtype=array.dtype, **keywords_of("plan", options))


def run(network: Any, x: Any) -> Any:
    """`network(x)` of another library's arrays, a `convmat.Network`: its outputs as arrays of that. NetworkError."""
    given = dict(x) if isinstance(x, Mapping) else {"": x}
    exchange = _exchange_with(*given.values())
    arrays = {name: _take("call", name, value) for name, value in given.items()}
    found = network(arrays if isinstance(x, Mapping) else arrays[""])
    return give_values(exchange.give, found)


def give_values(give: Callable[[Array], Any], found: Any) -> Any:
    """Outputs of a network as arrays of another library; texts and maps as they are."""
    if isinstance(found, dict):
        return {name: give_values(give, value) for name, value in found.items()}
    if isinstance(found, list):
        return [give_values(give, each) for each in found]
    return give(found) if isinstance(found, np.ndarray) and not found.dtype.hasobject else found


def _out(out: Any) -> dict[str, Any]:
    return {} if out is None else {"out": out}

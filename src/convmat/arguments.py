"""What people write, read once: numbers, tuples and words become shapes, or a sentence that says why not.

    stride, dilation    3             one number for all axes        (3, 2)            one per axis
    padding             3, (3, 2)     the same before and after      ((3, 4), (0, 1))  (lo, hi) per axis
                        "valid"       none                           "same"            so that P = ceil(I / s)

"same" puts an odd element behind (TensorFlow, ONNX SAME_UPPER), "same_lower" before. Every reader names the call and
the argument, shows its value, and gives one that works.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

from .errors import GeometryError, format_value

Shape = tuple[int, ...]
Padding = int | str | Sequence[int] | Sequence[Sequence[int]]
PerAxis = int | Sequence[int]

LARGEST = 2**63 - 1
_NAMES = {1: ("W",), 2: ("H", "W"), 3: ("D", "H", "W")}
_MOST_AXES = 64  # NumPy's own bound; also keeps an endless iterator from being read to its end


def axis_names(rank: int) -> tuple[str, ...]:
    """What errors call the spatial axes: W; H W; D H W; from four on their numbers.

    >>> axis_names(2)
    ('H', 'W')
    """
    return _NAMES.get(rank, tuple(str(a) for a in range(rank)))


def format_shape(shape: Sequence[int]) -> str:
    """A shape as errors write it.

    >>> format_shape((1, 3, 8, 8)), format_shape(())
    ('1x3x8x8', '()')
    """
    return "x".join(map(str, shape)) if shape else "()"


def _axes(shape: Shape) -> str:
    return "1 axis" if len(shape) == 1 else f"{len(shape)} axes"


def require_whole(call: str, name: str, value: Any, *, least: int) -> int:
    """A whole number of at least `least`. Raises GeometryError.

    >>> require_whole("conv", "groups", 2, least=1)
    2
    """
    try:
        # True is an int to Python, and a slip of the pen here
        number = None if type(value).__name__ in ("bool", "bool_") else operator.index(value)
    except Exception:  # a caller's own `__index__` may raise anything
        number = None
    example = f"e.g. {name}={max(least, 1)}" if name.isidentifier() else f"e.g. {max(least, 1)}"
    if number is None:
        bound = f" of at least {least}" if least > -LARGEST else ""
        raise GeometryError(
            f"{call}: {name} must be a whole number\n  {name} = {format_value(value)}\n  give an int{bound}, {example}"
        )
    if number < least:
        raise GeometryError(
            f"{call}: {name} is too small\n  {name} = {format_value(number)}\n  at least {least} is needed, {example}"
        )
    if number > LARGEST:
        raise GeometryError(
            f"{call}: {name} does not fit 64 bits\n  {name} = {format_value(number)}\n  at most {LARGEST}, {example}"
        )
    return number


def entries_of(value: Any) -> tuple[Any, ...] | None:
    """The entries of a sequence of any kind; None for a word, a single number, or what cannot be walked.

    >>> entries_of([1, 2]), entries_of("same"), entries_of(3)
    ((1, 2), None, None)
    """
    if isinstance(value, str | bytes):
        return None
    try:
        return tuple(islice(iter(value), _MOST_AXES + 1))
    except Exception:  # a caller's own `__iter__` may raise anything
        return None


def read_per_axis(call: str, name: str, value: Any, rank: int, *, least: int) -> Shape:
    """A number for each axis, from one number or one per axis. Raises GeometryError.

    >>> read_per_axis("conv", "stride", 2, 3, least=1)
    (2, 2, 2)
    """
    values = entries_of(value)
    if values is None:
        return (require_whole(call, name, value, least=least),) * rank
    if len(values) != rank:
        raise GeometryError(
            f"{call}: {name} has the wrong number of entries\n"
            f"  {name} = {format_value(values)} has {len(values)}, the convolution has {rank} spatial "
            f"{'axis' if rank == 1 else 'axes'} ({', '.join(axis_names(rank))})\n"
            f"  give one number, or one per axis, e.g. {name}={(max(least, 1),) * rank}"
        )
    return tuple(require_whole(call, f"{name}[{i}]", v, least=least) for i, v in enumerate(values))


def read_shape(call: str, name: str, value: Any) -> Shape:
    """A shape, from a sequence of whole numbers. Raises GeometryError.

    >>> read_shape("plan", "x_shape", [1, 3, 8, 8])
    (1, 3, 8, 8)
    """
    values = entries_of(value)
    if values is None or len(values) > _MOST_AXES:
        raise GeometryError(
            f"{call}: {name} must be a sequence of whole numbers, at most {_MOST_AXES}\n"
            f"  {name} = {format_value(value)}\n"
            f"  e.g. {name}={(4, 3, 3, 3) if name[0] == 'w' else (1, 3, 8, 8)}"
        )
    return tuple(require_whole(call, f"{name}[{i}]", n, least=0) for i, n in enumerate(values))


def read_shapes(call: str, x_shape: Any, w_shape: Any) -> tuple[Shape, Shape, int]:
    """The shapes of x and w and how many spatial axes they have. Raises GeometryError."""
    x, w = read_shape(call, "x_shape", x_shape), read_shape(call, "w_shape", w_shape)
    if len(x) != len(w) or len(x) < 3:
        raise GeometryError(
            f"{call}: x and w must have a batch or filter axis, a channel axis and the same spatial axes\n"
            f"  x has {_axes(x)} {format_shape(x)};  w has {_axes(w)} {format_shape(w)}\n"
            f"  x: (B, C, *I) and w: (O, C//G, *F): {_with_axes(x, w)}"
        )
    if 0 in w[2:]:
        raise GeometryError(
            f"{call}: the filter has no elements along an axis\n  w {format_shape(w)}\n"
            f"  every spatial extent of w must be at least 1, e.g. w of shape {tuple(max(n, 1) for n in w)}"
        )
    return x, w, len(x) - 2


def _with_axes(x: Shape, w: Shape) -> str:
    """The axes that x and w lack, if it is two of them: pictures and filters as they come, of one channel."""
    single = {"x": x, "w": w}
    if len(x) == len(w) in (1, 2):
        return "give both two more axes, x[None, None] and w[None, None] (lists: [[x]] and [[w]])"
    for name, other in (("x", w), ("w", x)):
        lacking = single[name]
        if len(lacking) == len(other) - 2 and lacking:
            if other[1] == 1:
                return f"give {name} two more axes, {name}[None, None] (a list: [[{name}]])"
            stacked = f"np.stack([{name}] * {other[1]})[None]"
            return f"give {name} the other's channels too, {(1, other[1], *lacking)}, e.g. {stacked}"
    return "with one spatial axis or more, e.g. x 1x3x8x8 and w 4x3x3x3"


def require_layout(
    call: str, x: Shape, w: Shape, groups: Any, *, channels_last: bool, transposed: bool
) -> None:
    """Raise GeometryError where x would fit the filters with its channels in the other place.

    x: the shape as it was given.

    >>> require_layout("conv", (1, 71, 99, 3), (8, 3, 5, 5), 1, channels_last=False, transposed=False)
    Traceback (most recent call last):
    ...
    convmat.errors.GeometryError: conv: the channels of x do not match the filters in groups
      x 1x71x99x3 with layout='NCHW' has C = 71, w 8x3x5x5 takes 3;  groups = 1
      its last axis has 3: say layout='NHWC'
    """
    if not len(x) == len(w) >= 3 or type(groups) is not int:
        return  # what is wrong then is said elsewhere
    wanted = w[0] if transposed else w[1] * groups
    here, there = (x[-1], x[1]) if channels_last else (x[1], x[-1])
    if here == wanted or there != wanted:
        return
    given, other = ("NHWC", "NCHW") if channels_last else ("NCHW", "NHWC")
    raise GeometryError(
        f"{call}: the channels of x do not match the filters in groups\n"
        f"  x {format_shape(x)} with layout={given!r} has C = {here}, w {format_shape(w)} takes {wanted};  "
        f"groups = {groups}\n"
        f"  its {'second' if channels_last else 'last'} axis has {wanted}: say layout={other!r}"
    )


def read_paddings(call: str, value: Any, rank: int, same: Callable[[int], int]) -> tuple[Shape, Shape]:
    """(lo, hi) from a number, a flat tuple, a nested one or a word; `same(axis)` is the total that "same" needs.

    Raises GeometryError.

    >>> read_paddings("conv", ((1, 2),), 1, lambda axis: 0)
    ((1,), (2,))
    """
    if isinstance(value, str):
        if value == "valid":
            return (0,) * rank, (0,) * rank
        if value not in ("same", "same_lower"):
            raise GeometryError(
                f"{call}: unknown padding\n  padding = {format_value(value)}\n"
                f'  give a number, one per axis, (lo, hi) per axis, "valid", "same" or "same_lower"'
            )
        total = [same(a) for a in range(rank)]
        small, large = tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
        return (small, large) if value == "same" else (large, small)
    entries = entries_of(value)
    if entries is None:
        each = (require_whole(call, "padding", value, least=-LARGEST),) * rank
        return each, each
    pairs = [entries_of(entry) for entry in entries]
    if all(pair is None for pair in pairs):
        flat = read_per_axis(call, "padding", entries, rank, least=-LARGEST)
        return flat, flat
    if len(pairs) != rank or any(pair is None or len(pair) != 2 for pair in pairs):
        raise GeometryError(
            f"{call}: nested padding needs one (lo, hi) pair per axis\n  padding = {format_value(value)}\n"
            f"  {rank} spatial {'axis' if rank == 1 else 'axes'}, e.g. padding={((1, 1),) * rank}"
        )
    lo, hi = zip(*(pair or () for pair in pairs), strict=True)
    return (
        tuple(require_whole(call, f"padding[{a}][0]", v, least=-LARGEST) for a, v in enumerate(lo)),
        tuple(require_whole(call, f"padding[{a}][1]", v, least=-LARGEST) for a, v in enumerate(hi)),
    )


def describe_channel_mismatch(call: str, C: int, O: int, G: int, w: Shape) -> str:
    """The sentence for channels that do not match the filters in groups, w: (O, C//G, *F)."""
    head = f"{call}: the channels of x do not match the filters in groups\n"
    values = f"  x has C = {C}, w {format_shape(w)} is (O, C//G, *F) and takes {w[1]} channels a group;  groups = {G}\n"
    taps = w[2:]
    if w[1] and C % w[1] == 0 and w[1] <= C and O % (C // w[1]) == 0:
        return head + values + f"  {G} * {w[1]} != {C}: groups={C // w[1]} fits these arrays"
    if C % G == 0 and O % G:
        fit = -(-O // G) * G
        return (
            head
            + values
            + f"  {O} filters do not divide into {G} groups: give w the shape {(fit, C // G, *taps)}"
        )
    if C % G == 0:
        return head + values + f"  {G} * {w[1]} != {C}: give w the shape {(O, C // G, *taps)}"
    fit = math.gcd(C, O) or 1
    return (
        head
        + values
        + f"  {C} channels do not divide into {G} groups: groups={fit} fits w of shape {(O, C // fit, *taps)}"
    )

"""What is typed, read: shapes, numbers per axis, padding, bytes. Refusals are sentences like everybody's."""

from __future__ import annotations

import re
from typing import Any
from zipfile import BadZipFile

from convmat.errors import GeometryError, PlanError

Numbers = int | tuple[int, ...]

UNITS = {"": 1, "B": 1, "K": 2**10, "KIB": 2**10, "KB": 10**3, "M": 2**20, "MIB": 2**20, "MB": 10**6,
         "G": 2**30, "GIB": 2**30, "GB": 10**9}  # fmt: skip
"""Bytes of each unit that a size may have, in capitals."""


def shape(name: str, text: str) -> tuple[int, ...]:
    """1x64x56x56 or 1,64,56,56 -> (1, 64, 56, 56). Raises GeometryError.

    >>> shape("x", "1x64x56x56")
    (1, 64, 56, 56)
    """
    try:
        return tuple(int(part) for part in re.split(r"\s*[x,×*]\s*", text.strip().lower()))
    except ValueError:
        raise GeometryError(
            f"convmat: the shape of {name} is not understood\n  {name} = {text!r}\n"
            f"  whole numbers with an x between them, e.g. {'1x64x56x56' if name == 'x' else '128x64x3x3'}"
        ) from None


def operand(name: str, text: str) -> tuple[tuple[int, ...], Any]:
    """A shape, or a .npy file with the numbers themselves: the shape and the array (None where there is none).

    >>> operand("x", "1x3x8x8")
    ((1, 3, 8, 8), None)

    Raises: GeometryError for what is neither; PlanError for a file that is not one array of numbers.
    """
    if not text.strip().lower().endswith(".npy"):
        return shape(name, text), None
    found = array(name, text.strip(), ", or give a shape, e.g. 1x3x8x8")
    return found.shape, found


def array(name: str, path: str, otherwise: str = "") -> Any:
    """The one array of numbers in a .npy file; `otherwise` is what else an error advises. Raises PlanError."""
    import numpy as np

    reason = "no NumPy file of one array of numbers"
    found: Any = None
    try:
        with open(path, "rb") as stream:
            found = np.load(stream, allow_pickle=False)
    except OSError as error:
        reason = error.strerror or reason
    except (ValueError, EOFError, BadZipFile):  # another file, a torn one, objects
        pass
    if not isinstance(found, np.ndarray):
        raise PlanError(
            f"convmat: the array {name} cannot be read\n  {path}: {reason}\n"
            f"  write it with numpy.save({path!r}, {name}){otherwise}"
        )
    return found


def numbers(name: str, text: str) -> Numbers:
    """2 -> 2, and 2,1 (or 2x1) -> (2, 1). Raises GeometryError.

    >>> numbers("stride", "2"), numbers("stride", "2,1")
    (2, (2, 1))
    """
    try:
        found = tuple(int(part) for part in re.split(r"\s*[x,]\s*", text.strip().lower()))
    except ValueError:
        raise GeometryError(
            f"convmat: {name} is not understood\n  {name} = {text!r}\n"
            f"  one number, or one per axis with commas between them, e.g. --{name.replace('_', '-')} 2,1"
        ) from None
    return found[0] if len(found) == 1 else found


def fractions(name: str, text: str) -> tuple[float, ...]:
    """0.5,0.4 or 0.5 -> a tuple; nothing -> (). Raises PlanError.

    >>> fractions("mean", "0.485,0.456,0.406"), fractions("std", "")
    ((0.485, 0.456, 0.406), ())
    """
    try:
        return tuple(float(part) for part in text.split(",")) if text.strip() else ()
    except ValueError:
        raise PlanError(
            f"convmat: {name} is not understood\n  {name} = {text!r}\n"
            f"  a number, or one a channel with commas between them, e.g. --{name} 0.485,0.456,0.406"
        ) from None


def padding(text: str) -> str | Numbers | tuple[tuple[int, int], ...]:
    """1, or 1,0 per axis, or 0:1,2:2 before and after per axis, or a word. Raises GeometryError.

    >>> padding("1"), padding("0:1,2:2"), padding("same")
    (1, ((0, 1), (2, 2)), 'same')
    """
    if text.strip().replace("_", "").isalpha():
        return text.strip()
    try:
        if ":" not in text:
            return numbers("padding", text)
        pairs = [part.split(":") for part in text.split(",")]
        return tuple(
            (int(lo), int(hi)) for lo, hi in (pair * 2 if len(pair) == 1 else pair for pair in pairs)
        )
    except ValueError:
        raise GeometryError(
            f"convmat: padding is not understood\n  padding = {text!r}\n"
            f"  a number, one per axis (1,0), before:after per axis (0:1,0:1), valid, same or same_lower"
        ) from None


def size(name: str, text: str) -> int:
    """16MiB, 500kB, 1.5G or 4096 -> bytes. Raises PlanError.

    >>> size("workspace_limit", "16MiB"), size("workspace_limit", "4096")
    (16777216, 4096)
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([A-Za-z]*)\s*", text)
    if found is None or found[2].upper() not in UNITS:
        raise PlanError(
            f"convmat: {name} is not understood\n  {name} = {text!r}\n"
            f"  bytes, with B, KiB, MiB, GiB, kB, MB or GB, e.g. 16MiB"
        )
    return int(float(found[1]) * UNITS[found[2].upper()])


def activation(text: str) -> tuple[str | float, ...]:
    """relu, or clip:0,6 with its numbers. Raises GeometryError.

    >>> activation("relu"), activation("clip:0,6")
    (('relu',), ('clip', 0.0, 6.0))
    """
    name, _, rest = text.partition(":")
    try:
        return (name.strip(), *(float(part) for part in rest.split(",") if rest))
    except ValueError:
        raise GeometryError(
            f"convmat: the activation is not understood\n  activation = {text!r}\n"
            f"  a name, and its numbers after a colon, e.g. relu, leaky_relu:0.2 or clip:0,6"
        ) from None

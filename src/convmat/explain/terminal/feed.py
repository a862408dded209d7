"""What a network is fed from the command line: arrays from .npy files, pictures as its input wants them.

pixels   0 to 255, or 0 to 1 with `unit`; red, green, blue, or turned round with `bgr`; grey for one channel
x        (pixels - mean) / std, channel by channel; batch of 1; at the input's height and width where it has them
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from convmat.errors import NetworkError
from convmat.explain.demo import photo
from convmat.explain.extras import require_module
from convmat.network.graph import Input

Array = npt.NDArray[Any]

LAYOUTS = {"NCHW": 4, "NHWC": 4, "CHW": 3, "HWC": 3}
"""Where a picture's channels may stand, and how many axes that makes."""


@dataclass(frozen=True)
class Preparation:
    """How a picture becomes an input. `layout` is one of LAYOUTS, "" for what the input's extents say."""

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    layout: str = ""
    unit: bool = False
    bgr: bool = False


def read_input(
    path: Path, wanted: Input, how: Preparation, tell: Callable[[str], object] = lambda text: None
) -> Array:
    """The input from a file: .npy as it is, anything else as a picture. Raises NetworkError, GeometryError.

    `tell` hears of a picture that is scaled to the size that the network takes.
    """
    if path.suffix.lower() == ".npy":
        return _numbers(path, wanted)
    pixels = photo.read(path, side=None, call="run").pixels
    made = fit_picture(pixels, wanted, how)
    height, width = (made.shape[_layout(wanted, how.layout).index(axis)] for axis in "HW")
    if (height, width) != pixels.shape[:2]:
        tell(
            f"{path} is scaled from {pixels.shape[1]}x{pixels.shape[0]} to the {width}x{height} pixels "
            f"of the input {wanted.name!r}"
        )
    return made


def _numbers(path: Path, wanted: Input) -> Array:
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        said = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise NetworkError(
            f"run: {path} is no array\n  {said}\n  write it with numpy.save, numbers alone"
        ) from None
    if not isinstance(found, np.ndarray):
        found.close()
        raise NetworkError(f"run: {path} is no array\n  it is an archive\n  write it with numpy.save")
    floats = found.dtype.kind == wanted.dtype.kind == "f"
    return found.astype(wanted.dtype) if floats else found


def fit_picture(pixels: Array, wanted: Input, how: Preparation) -> Array:
    """(H, W, 3) of bytes as the input that is wanted. Raises NetworkError.

    >>> x = fit_picture(np.zeros((4, 6, 3), np.uint8), Input("x", np.dtype("float32"), (1, 3, 2, 2)), Preparation())
    >>> x.shape, x.dtype
    ((1, 3, 2, 2), dtype('float32'))
    """
    require_module("PIL", "run", "reading a picture")
    from PIL import Image

    layout = _layout(wanted, how.layout)
    extents = wanted.shape if wanted.shape is not None else (None,) * LAYOUTS[layout]
    height, width, channels = (extents[layout.index(axis)] for axis in "HWC")
    image = Image.fromarray(pixels)
    size = (
        width if isinstance(width, int) else image.width,
        height if isinstance(height, int) else image.height,
    )
    if size != image.size:
        image = image.resize(size)
    if channels not in (1, 3) and isinstance(channels, int):
        raise NetworkError(
            f"run: a picture has 1 or 3 channels, the network takes {channels}\n  {wanted}, layout {layout}\n"
            f"  say where the channels are, --layout NCHW or NHWC, or give an array, --input x.npy"
        )
    values = np.asarray(image.convert("L"))[..., None] if channels == 1 else np.asarray(image)
    if how.bgr:
        values = values[..., ::-1]
    made = _scale(values, wanted, how)
    if layout.endswith("CHW"):
        made = made.transpose(2, 0, 1)
    return np.ascontiguousarray(made[None] if "N" in layout else made)


def _layout(wanted: Input, given: str) -> str:
    shape = wanted.shape
    layout = given.upper()
    if not layout:
        rank = 4 if shape is None else len(shape)
        last = shape is not None and rank in (3, 4) and shape[-1] in (1, 3) and shape[rank - 3] not in (1, 3)
        layout = ("NHWC" if last else "NCHW")[4 - rank :] if rank in (3, 4) else "NCHW"
    if layout not in LAYOUTS or (shape is not None and len(shape) != LAYOUTS[layout]):
        raise NetworkError(
            f"run: a picture does not fit the input {wanted.name!r}\n  {wanted}; layout {layout}\n"
            f"  layouts are {', '.join(LAYOUTS)}; anything else needs an array, --input x.npy"
        )
    return layout


def _scale(values: Array, wanted: Input, how: Preparation) -> Array:
    if wanted.dtype.kind != "f" and not (how.mean or how.std or how.unit):
        return values.astype(wanted.dtype)
    made = values.astype(np.float32) / np.float32(255 if how.unit else 1)
    channels = values.shape[-1]
    for name, numbers in (("mean", how.mean), ("std", how.std)):
        if len(numbers) not in (0, 1, channels) or (name == "std" and 0 in numbers):
            raise NetworkError(
                f"run: {name} does not fit the picture\n"
                f"  {name} = {', '.join(map(str, numbers))}; {channels} channels\n"
                f"  give one number or {channels}, for std none of them 0"
            )
    shifted = made - np.array(how.mean or (0,), np.float32)
    return np.asarray(shifted / np.array(how.std or (1,), np.float32)).astype(wanted.dtype)

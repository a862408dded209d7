"""A picture from a file, as an array: the shipped photograph, or any that is given, however odd its file is."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from convmat.errors import GeometryError
from convmat.explain.extras import require_module
from convmat.network.pictures import convert_to_colours, is_deep

Array = npt.NDArray[Any]

SHIPPED = "coffee.png"

LARGEST_SIDE = 640
"""Pixels along a side of what is convolved; larger pictures are reduced."""

MOST_PIXELS = 100_000_000
"""Pixels that a file may claim to have: reading them takes four bytes each."""


@dataclass(frozen=True, eq=False)
class Photo:
    """`pixels`: (H, W, 3), uint8; `original`: the (width, height) in the file."""

    name: str
    pixels: Array
    original: tuple[int, int]

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) as it is convolved."""
        return self.pixels.shape[1], self.pixels.shape[0]


def read_shipped(name: str = SHIPPED) -> Photo:
    """A photograph that comes with convmat; its source is in data/SOURCES.md.

    >>> read_shipped().size
    (320, 213)
    """
    with resources.as_file(resources.files("convmat") / "data" / name) as path:
        return read(path)


def read(path: Path, side: int | None = LARGEST_SIDE, call: str = "demo") -> Photo:
    """A picture in any format that Pillow reads: first frame, upright, on white, at most `side` pixels a side.

    Raises GeometryError for whatever cannot be read as one.
    """
    require_module("PIL", call, "reading a picture")

    def refuse(what: str, fix: str) -> GeometryError:
        return GeometryError(f"{call}: the picture cannot be read\n  {path}: {what}\n  {fix}")

    if not path.is_file():
        what = "it is no file" if path.exists() else "there is no such file"
        option = "--image" if call == "demo" else "--input"
        raise refuse(what, f"give the path of a picture, e.g. {option} photo.jpg")
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow, about files that are large or a little wrong
            with Image.open(path) as image:
                size = image.size
                if size[0] * size[1] > MOST_PIXELS:
                    raise refuse(
                        f"{size[0]} x {size[1]} pixels, at most {MOST_PIXELS:,}",
                        "give a smaller picture",
                    )
                pixels = _pixels(image, side)
    except GeometryError:
        raise
    except UnidentifiedImageError:
        raise refuse("no format that Pillow knows", "give a PNG, JPEG, GIF, TIFF or WebP") from None
    except Exception as error:
        # Decoders of two dozen formats raise whatever they trip over in a broken or hostile file.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise refuse(reason, "save it again as PNG or JPEG, or give another") from None
    return Photo(path.name, pixels, size)


def _pixels(image: Any, side: int | None) -> Array:
    from PIL import Image

    most = (side, side) if side is not None else image.size
    image.thumbnail(most, Image.Resampling.BOX if is_deep(image) else Image.Resampling.LANCZOS)
    return np.asarray(convert_to_colours(image))

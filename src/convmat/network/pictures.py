"""Pictures and archives of examples, read the same way whether a network learns from them or is given them.

A picture is 8 bits of red, green and blue, the right way up: deeper ones from their darkest to their brightest value,
transparent ones on white.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ..errors import NetworkError
from .graph import Array


def is_deep(image: Any) -> bool:
    """Whether a Pillow image has 16 or 32 bits a pixel."""
    return bool(image.mode.startswith(("I", "F")))


def convert_to_colours(image: Any) -> Any:
    """The Pillow image in RGB, as its EXIF says turned.

    >>> from PIL import Image
    >>> deep = Image.fromarray(np.array([[0, 30000], [15000, 60000]], np.uint16))
    >>> np.asarray(convert_to_colours(deep))[..., 0].tolist()
    [[0, 128], [64, 255]]
    """
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image)
    if is_deep(image):
        values = np.nan_to_num(np.asarray(image, np.float64))
        low, high = float(values.min()), float(values.max())
        image = Image.fromarray(np.rint((values - low) / max(high - low, 1e-12) * 255).astype(np.uint8))
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image.convert("RGB")


def read_archive(path: str | os.PathLike[str], call: str) -> dict[str, Array]:
    """The arrays of a .npz file by name, numbers alone. Raises NetworkError.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/a.npz", x=np.arange(3))
    ...     read_archive(f"{folder}/a.npz", "train")["x"].tolist()
    [0, 1, 2]
    """
    try:
        with open(path, "rb") as opened:
            found: Any = np.load(opened, allow_pickle=False)
            if isinstance(found, np.ndarray):
                raise ValueError("it is one array, no archive")
            with found as file:
                arrays = {name: file[name] for name in file.files}
        odd = [name for name, each in arrays.items() if not isinstance(each, np.ndarray)]
        if odd:
            raise ValueError(f"its member {odd[0]!r} is no array")
    except Exception as error:  # zip and npy readers raise what they trip over in a torn or hostile file
        said = getattr(error, "strerror", None) or " ".join(str(error).split())[:200] or type(error).__name__
        raise NetworkError(
            f"{call}: {path} cannot be read\n  {said}\n  write it with numpy.savez, numbers alone"
        ) from None
    return arrays


__all__ = ["convert_to_colours", "is_deep", "read_archive"]

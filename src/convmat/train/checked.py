"""What a trainer and a fit are given, checked before anything is trained."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import NetworkError, format_value
from ..network import Network
from ..network.graph import Graph, Spec, specs_of
from ..network.preparing import infer
from .data import Data, Examples
from .parameters import parameters
from .ranges import is_between
from .step import Rules

if TYPE_CHECKING:
    from .trainer import Trainer


def require_one_way(graph: Graph) -> None:
    """Require a graph to have one input and one output."""
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise NetworkError(
            f"train: one input and one output are trained\n  inputs {[each.name for each in graph.inputs]}, "
            f"outputs {list(graph.outputs)}\n  make a network of the part that is to be trained"
        )


def read_rules(clip: Any, accumulate: Any) -> Rules:
    """What a step does beside its loss and optimiser. Raises NetworkError."""
    if not isinstance(accumulate, int | np.integer) or isinstance(accumulate, bool) or accumulate < 1:
        raise NetworkError(
            f"train: accumulate is a number of batches\n  accumulate = {format_value(accumulate)}\n"
            f"  e.g. accumulate=4"
        )
    if clip is not None and not (is_between(clip, 0, math.inf) and clip):
        raise NetworkError(
            f"train: clip is the norm that gradients may have\n  clip = {format_value(clip)}\n"
            f"  e.g. clip=1.0, or None"
        )
    return Rules(clip, int(accumulate))


def require_flag(name: str, value: object) -> None:
    """Require True or False."""
    if not isinstance(value, bool | np.bool_):
        raise NetworkError(
            f"train: {name} must be True or False\n  {name} = {format_value(value)}\n  e.g. {name}=True"
        )


def choose_parameters(network: Network, frozen: Any) -> list[str]:
    """The names of the parameters that none of the patterns names. Raises NetworkError."""
    every = parameters(network.graph)
    patterns = [frozen] if isinstance(frozen, str) else frozen
    if not isinstance(patterns, Sequence | set | frozenset) or not all(
        isinstance(each, str) for each in patterns
    ):
        raise NetworkError(
            f"train: frozen is a list of patterns of names\n  frozen = {format_value(frozen)}\n"
            "  e.g. frozen=['features.*']"
        )
    for each in patterns:
        if not fnmatch.filter(every, each):
            raise NetworkError(
                f"train: a pattern names no parameter\n  frozen = {format_value(each)}\n"
                f"  there are {', '.join(every[:8])}{' ..' if len(every) > 8 else ''}"
            )
    found = [name for name in every if not any(fnmatch.fnmatch(name, each) for each in patterns)]
    if not found:
        raise NetworkError(
            f"train: there is nothing to train\n  {len(every)} parameters, frozen = {list(patterns)}\n"
            "  name fewer in frozen, or train a network with weights"
        )
    return found


def read_limit(limit: Any) -> int | None:
    """Bytes that a step may take; None: any. Raises NetworkError."""
    if limit is None:
        return None
    if isinstance(limit, int | np.integer) and not isinstance(limit, bool) and limit > 0:
        return int(limit)
    raise NetworkError(
        f"train: memory_limit is a number of bytes\n  memory_limit = {format_value(limit)}\n"
        "  e.g. memory_limit=2**30, or None"
    )


def read_examples(data: Any, validate: Any) -> tuple[Examples, Examples | None]:
    """What is learned from, and what is judged by. Raises NetworkError."""
    for name, given in (("data", data), ("validate", validate)):
        if not isinstance(given, Data | Examples) and (name == "data" or given is not None):
            raise NetworkError(
                f"train: {name} is no set of examples\n  {name} = {format_value(given)}\n"
                "  e.g. train.Examples(x, target), or train.digits()"
            )
    examples = data.train if isinstance(data, Data) else data
    if validate is None:
        judged = data.test if isinstance(data, Data) else None
    else:
        judged = validate.test if isinstance(validate, Data) else validate
    if not len(examples):
        raise NetworkError("train: there are no examples to learn from\n  0 examples\n  give some")
    return examples, judged


def require_last_batch(trainer: Trainer, examples: Examples, batch: int) -> None:
    """Require that a single example left over by the batches can be learned from: a normalisation of it cannot."""
    if len(examples) % batch != 1 or len(examples) == 1:
        return
    entry, limit = trainer.source.inputs[0], trainer.source.memory_limit
    x = Spec((1, *examples.x.shape[1:]), entry.dtype)
    target = {trainer.made.built.target.name: trainer.loss.target(trainer.output(x))}
    try:
        infer.infer_specs(trainer.made.graph, {entry.name: x, **target, **specs_of(trainer.held)}, limit)
    except NetworkError as error:
        other = next(n for n in count(batch + 1) if len(examples) % n != 1)
        raise NetworkError(
            f"train: the last batch of each epoch would be one example\n"
            f"  {len(examples):,} examples, batch = {batch}; {str(error).splitlines()[0].removeprefix('load: ')}\n"
            f"  e.g. batch={other}"
        ) from None


def require_callables(**given: object) -> None:
    """Require what is called while a fit runs to be functions, or None."""
    for name, each in given.items():
        if each is not None and not callable(each):
            raise NetworkError(
                f"train: {name} is no function\n  {name} = {format_value(each)}\n  e.g. {_FUNCTIONS[name]}"
            )


_FUNCTIONS = {
    "augment": "augment=train.flips()", "progress": "progress=print", "each_epoch": "each_epoch=print",
}  # fmt: skip

__all__ = [
    "choose_parameters", "read_examples", "read_limit", "read_rules", "require_callables", "require_flag",
    "require_last_batch", "require_one_way",
]  # fmt: skip

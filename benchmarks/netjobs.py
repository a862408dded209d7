"""Jobs that are whole networks: one input through each of `NETS`, on some number of threads.

    x, e.g. (1, 3, 224, 224)  ->  all outputs, flat, one after the other

A network is a file, written before anything is measured, that declares the shapes of its inputs and no others: peers
may prepare themselves for them. x is normal float32, made from the network's name; other inputs are always the same.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.jobs import Array, Job, operands
from benchmarks.kinds import KINDS
from benchmarks.models import MODELS
from benchmarks.trained import TRAINED, WILD
from convmat.errors import PlanError

NETS = MODELS | KINDS | TRAINED | WILD
"""Every network by its name, those with random weights first, those that nobody tuned to last."""


@dataclass(frozen=True)
class NetJob:
    """A network by its name, one input on some number of threads.

    `shape`: of the input; `flops`: by the definition; `file`: its ONNX model.

    >>> NetJob("resnet50", threads=2).name
    'resnet50, batch 1, 2 threads'
    """

    net: str
    threads: int = 1
    flops: int = 0
    shape: tuple[int, ...] = (1, 3, 224, 224)
    file: str = field(default="", compare=False)

    direction = "network"
    kind = "networks"
    batch = 1

    @property
    def subject(self) -> str:
        """What it is about: the network."""
        return self.net

    @property
    def name(self) -> str:
        """How logs and errors call it."""
        return f"{self.net}, batch 1, {self.threads} thread{'s' * (self.threads > 1)}"


AnyJob = Job | NetJob


def made(fields: Mapping[str, Any]) -> AnyJob:
    """A job from its fields, as messages and results have them.

    >>> made({"net": "vgg16"}), made({"layer": "2d/one-pixel"}).subject
    (NetJob(net='vgg16', threads=1, flops=0, shape=(1, 3, 224, 224), file=''), '2d/one-pixel')
    """
    if "net" not in fields:
        return Job(**fields)
    shape = {"shape": tuple(fields["shape"])} if "shape" in fields else {}
    return NetJob(**{**fields, **shape})


def given(job: AnyJob) -> tuple[Array, ...]:
    """What a job starts from: both operands of a layer, or the inputs of a network, in the order of its written file.

    >>> [array.shape for array in given(NetJob("vgg16"))]
    [(1, 3, 224, 224)]
    """
    if isinstance(job, Job):
        return operands(job)
    random = np.random.default_rng(zlib.crc32(job.net.encode()))
    x = random.standard_normal(job.shape, np.float32)
    if (net := NETS.get(job.net)) is None:
        return (x,)
    return (x * np.float32(net.scale), *net.others.values())


def joined(outputs: Iterable[Array]) -> Array:
    """The answer of a network: its outputs in the order of its file, flat, since some peers drop axes of extent 1.

    >>> joined([np.ones((1, 2)), np.zeros(1)])
    array([1., 1., 0.])
    """
    return np.concatenate([np.ravel(each) for each in outputs])


def written(net: str, folder: Path) -> Path:
    """A network's model as a file in that folder, for an input of its shape. Raises NetworkError if it can't be had."""
    import onnx

    model = onnx.load_from_string(NETS[net].make())
    order(model, NETS[net].others)
    if NETS[net].declared:
        declare(model, (NETS[net].shape, *(array.shape for array in NETS[net].others.values())))
    file = folder / f"{net}.onnx"
    file.write_bytes(model.SerializeToString())
    return file


def order(model: Any, others: Iterable[str]) -> None:
    """Leave a model its inputs that are no weights, x first and then these others."""
    graph = model.graph
    kept = {tensor.name for tensor in graph.initializer}
    found = {value.name: value for value in graph.input if value.name not in kept}
    (x,) = found.keys() - set(others)
    del graph.input[:]
    graph.input.extend(found[name] for name in (x, *others))


def declare(model: Any, shapes: Sequence[Sequence[int]]) -> None:
    """Let the inputs of a model have these shapes, and leave whatever was said of other values to follow from them."""
    graph = model.graph
    for own, shape in zip(graph.input, shapes, strict=True):
        own.type.tensor_type.shape.SetInParent()
        del own.type.tensor_type.shape.dim[:]
        for extent in shape:
            own.type.tensor_type.shape.dim.add().dim_value = extent
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")
    del graph.value_info[:]


def names(file: str) -> tuple[list[str], list[str]]:
    """The names of the inputs and the outputs of a written model."""
    import onnx

    graph = onnx.load(file).graph
    return [value.name for value in graph.input], [value.name for value in graph.output]


def chosen(wanted: Sequence[str]) -> tuple[str, ...]:
    """Names of the networks that are meant, by a part of the name; all by default. Raises PlanError.

    >>> chosen(["net"])
    ('resnet50', 'mobilenet_v2', 'squeezenet1.1', 'efficientnet-b0', 'efficientnet-lite0')
    """
    for text in wanted:
        if not any(text in name for name in NETS):
            raise PlanError(
                f"bench: no network matches {text!r}\n  there are {', '.join(NETS)}\n  give a part of a name"
            )
    return tuple(name for name in NETS if not wanted or any(text in name for text in wanted))

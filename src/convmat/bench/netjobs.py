"""Jobs that are whole networks: one image through each of `convmat.bench.models`, on some number of threads.

    x (1, 3, 224, 224)  ->  y (1, 1000)

A network is a file, written before anything is measured; x is standard normal float32, made from the network's name.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from convmat.bench.jobs import Array, Job, operands
from convmat.bench.models import MODELS
from convmat.errors import PlanError

SHAPE = (1, 3, 224, 224)


@dataclass(frozen=True)
class NetJob:
    """A network by its name, one image on some number of threads. `flops` by the definition; `file`: its ONNX model.

    >>> NetJob("resnet50", threads=2).name
    'resnet50, batch 1, 2 threads'
    """

    net: str
    threads: int = 1
    flops: int = 0
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
    (NetJob(net='vgg16', threads=1, flops=0, file=''), '2d/one-pixel')
    """
    return NetJob(**fields) if "net" in fields else Job(**fields)


def given(job: AnyJob) -> tuple[Array, ...]:
    """What a job starts from: both operands of a layer, or the image of a network.

    >>> [array.shape for array in given(NetJob("vgg16"))]
    [(1, 3, 224, 224)]
    """
    if isinstance(job, Job):
        return operands(job)
    random = np.random.default_rng(zlib.crc32(job.net.encode()))
    return (random.standard_normal(SHAPE, np.float32),)


def written(net: str, folder: Path) -> Path:
    """A network's model as a file in that folder."""
    file = folder / f"{net}.onnx"
    file.write_bytes(MODELS[net]())
    return file


def chosen(wanted: Sequence[str]) -> tuple[str, ...]:
    """Names of the networks that are meant, by a part of the name; all by default. Raises PlanError.

    >>> chosen(["net"])
    ('resnet50', 'mobilenet_v2', 'squeezenet1.1')
    """
    for text in wanted:
        if not any(text in name for name in MODELS):
            raise PlanError(
                f"bench: no network matches {text!r}\n  there are {', '.join(MODELS)}\n  give a part of a name"
            )
    return tuple(name for name in MODELS if not wanted or any(text in name for text in wanted))

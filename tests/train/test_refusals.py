"""Training and building: every refusal's whole text, and what it suggests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from convmat import nn, train
from tests.slips import Slip, hold

NAMES: dict[str, Any] = {
    "nn": nn,
    "train": train,
    "net": nn.build(nn.Sequential(nn.Flatten(), nn.Linear(3)), (1, 4, 4)),
    "images": np.ones((2, 1, 4, 4), np.float32),
    "classes": np.array([0, 1]),
    "numbers": np.zeros((2, 3), np.float32),
}

SLIPS = {
    "smoothing of everything": Slip(
        "train.CrossEntropy(smoothing=1)",
        "train: smoothing is a share of each target\n"
        "  smoothing = 1\n"
        "  a number from 0 to below 1 is needed, e.g. smoothing=0.1",
        "train.CrossEntropy(smoothing=0.1)",
    ),
    "one class too few": Slip(
        "net.trainer().step(images, classes[:1])",
        "train: the targets do not fit the network's output\n"
        "  targets int64[1], output float32[2,3]\n"
        "  whole numbers of shape (2,) are needed, each a class from 0 to 2",
        "net.trainer().step(images, classes)",
    ),
    "classes as fractions": Slip(
        "net.trainer().step(images, classes / 2)",
        "train: the targets do not fit the network's output\n"
        "  targets float64[2], output float32[2,3]\n"
        "  whole numbers of shape (2,) are needed, each a class from 0 to 2",
        "net.trainer().step(images, classes)",
    ),
    "numbers of another shape": Slip(
        "net.trainer(loss='mean_squared_error').step(images, classes)",
        "train: the targets do not fit the network's output\n"
        "  targets int64[2], output float32[2,3]\n"
        "  a number is needed for each of the output",
        "net.trainer(loss='mean_squared_error').step(images, numbers)",
    ),
    "numbers that are none": Slip(
        "net.trainer(loss='mean_squared_error').step(images, numbers + np.inf)",
        "train: a target is no number\n  6 of 6 are NaN or inf\n  leave these examples out",
        "net.trainer(loss='mean_squared_error').step(images, numbers)",
    ),
    "an output that is no loss": Slip(
        "net.trainer(loss='output').step(images, np.empty(0, np.float32))",
        "train: the network's output is no loss\n"
        "  it is float32[2,3], more than one number\n"
        "  give loss=..., or let the network end in a mean",
        "net.trainer(loss='mean_squared_error').step(images, numbers)",
    ),
    "a loss by another name": Slip(
        "net.trainer(loss='hinge')",
        "train: there is no loss of that name\n"
        "  loss = 'hinge'\n"
        "  one of 'cross_entropy', 'binary_cross_entropy', 'mean_squared_error', "
        "'mean_absolute_error', 'output', or an object of convmat.train",
        "net.trainer(loss='cross_entropy')",
    ),
    "no batch at all": Slip(
        "net.trainer(accumulate=0)",
        "train: accumulate is a number of batches\n  accumulate = 0\n  e.g. accumulate=4",
        "net.trainer(accumulate=4)",
    ),
    "gradients of no length": Slip(
        "net.trainer(clip=0)",
        "train: clip is the norm that gradients may have\n  clip = 0\n  e.g. clip=1.0, or None",
        "net.trainer(clip=1.0)",
    ),
    "a length in letters": Slip(
        "net.trainer(clip='1')",
        "train: clip is the norm that gradients may have\n  clip = '1'\n  e.g. clip=1.0, or None",
        "net.trainer(clip=1.0)",
    ),
    "smoothing in letters": Slip(
        "train.CrossEntropy(smoothing='0.1')",
        "train: smoothing is a share of each target\n"
        "  smoothing = '0.1'\n"
        "  a number from 0 to below 1 is needed, e.g. smoothing=0.1",
        "train.CrossEntropy(smoothing=0.1)",
    ),
    "a rate in letters": Slip(
        "train.SGD('0.1')",
        "train: rate is neither a number from 0 on nor a schedule\n"
        "  rate = '0.1'\n"
        "  e.g. 0.01, or train.Cosine(0.1, steps=1000)",
        "train.SGD(train.Cosine(0.1, steps=1000))",
    ),
    "a rate uphill": Slip(
        "train.AdamW(rate=-0.1)",
        "train: rate is neither a number from 0 on nor a schedule\n"
        "  rate = -0.1\n"
        "  e.g. 0.01, or train.Cosine(0.1, steps=1000)",
        "train.AdamW(0.01)",
    ),
    "one beta": Slip(
        "train.Adam(betas=0.9)",
        "train: betas are out of range\n"
        "  betas = 0.9\n"
        "  two numbers from 0 to below 1 are needed, e.g. betas=(0.9, 0.999)",
        "train.Adam(betas=(0.9, 0.999))",
    ),
    "steps without length": Slip(
        "train.Steps(0.1, every=0)",
        "train: every is out of range\n  every = 0\n  a number from 1 to below inf is needed",
        "train.Steps(0.1, every=1)",
    ),
    "a pattern that fits nothing": Slip(
        "net.trainer(frozen='stem.*')",
        "train: a pattern names no parameter\n  frozen = 'stem.*'\n  there are 1.weight, 1.bias",
        "net.trainer(frozen='1.bias')",
    ),
    "all of it frozen": Slip(
        "net.trainer(frozen='*')",
        "train: there is nothing to train\n"
        "  2 parameters, frozen = ['*']\n"
        "  name fewer in frozen, or train a network with weights",
        "net.trainer(frozen=())",
    ),
    "Nesterov without momentum": Slip(
        "train.SGD(0.1, nesterov=True)",
        "train: Nesterov's step needs momentum\n"
        "  momentum = 0.0\n"
        "  e.g. SGD(0.1, momentum=0.9, nesterov=True)",
        "train.SGD(0.1, momentum=0.9, nesterov=True)",
    ),
    "a target too many": Slip(
        "train.Examples(images, np.zeros(3))",
        "train: there is not one target for each example\n"
        "  2 examples, 3 targets\n"
        "  leave out what has no other half",
        "train.Examples(images, np.zeros(2))",
    ),
    "a data set by another name": Slip(
        "train.data.data_of('cifar')",
        "train: there is no data set of that name\n"
        "  data = 'cifar'\n"
        "  one of 'mnist', 'fashion-mnist', 'digits', a .npz file, or a folder of pictures",
        "train.data.data_of('digits')",
    ),
    "first weights by another name": Slip(
        "nn.build(nn.Sequential(nn.Flatten(), nn.Linear(3, init='ones')), (1, 4, 4))",
        "build: unknown first weights\n  init = 'ones'\n  one of 'pytorch', 'he', 'glorot'",
        "nn.build(nn.Sequential(nn.Flatten(), nn.Linear(3, init='he')), (1, 4, 4))",
    ),
    "an image for a dense layer": Slip(
        "nn.build(nn.Sequential(nn.Linear(3)), (1, 4, 4))",
        "build: Linear takes rows\n  its input is float32[1,1,4,4]\n  put a Flatten before it",
        "nn.build(nn.Sequential(nn.Flatten(), nn.Linear(3)), (1, 4, 4))",
    ),
    "a cluster that is none": Slip(
        "net.trainer().fit(train.Examples(images, classes), epochs=1, shards=2, client=7)",
        "train: client is a dask.distributed.Client that waits\n"
        "  client = int\n"
        "  client = dask.distributed.Client('tcp://..') is one",
        "net.trainer().fit(train.Examples(images, classes), epochs=1, shards=2)",
    ),
}


@pytest.mark.parametrize("name", SLIPS)
def test_what_is_suggested_works(name: str) -> None:
    hold(SLIPS[name], **NAMES)

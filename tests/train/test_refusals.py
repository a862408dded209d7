"""Training and building: every refusal's whole text, and what it suggests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import convmat
from convmat import nn, train
from tests.network.made import model, node
from tests.slips import Slip, hold


def scaled(**words: Any) -> train.Trainer:
    """A trainer of a network whose pictures are enlarged by what it reads from a table."""
    nodes = [
        node("Gather", "sizes at", "s"),
        node("Resize", "x - s", "large"),
        node("GlobalAveragePool", "large", "m"),
        node("Flatten", "m", "f"),
        node("Gemm", "f w", "y"),
    ]
    constants = {
        "sizes": np.array([1, 2], np.float32),
        "at": np.array([0, 0, 1, 1]),
        "w": np.ones((1, 3), np.float32),
    }
    return train.Trainer(convmat.load(model(nodes, {"x": ("n", 1, 4, 4)}, "y", constants)), **words)


NAMES: dict[str, Any] = {
    "scaled": scaled,
    "nn": nn,
    "train": train,
    "net": nn.build(nn.Sequential(nn.Flatten(), nn.Linear(3)), (1, 4, 4)),
    "images": np.ones((2, 1, 4, 4), np.float32),
    "classes": np.array([0, 1]),
    "numbers": np.zeros((2, 3), np.float32),
    "normed": nn.build(nn.Sequential(nn.BatchNorm(), nn.Linear(3)), (3,)),
}

SLIPS = {
    "pictures too small for LeNet": Slip(
        "nn.models.lenet((1, 8, 8))",
        "lenet: the pictures are too small\n"
        "  shape = (1, 8, 8)\n"
        "  two 5x5 convolutions and two pools need 16x16; resnet20 takes any size",
        "nn.models.resnet20((1, 8, 8))",
    ),
    "pictures that a U-Net cannot halve": Slip(
        "nn.models.unet((1, 8, 12))",
        "unet: the pictures cannot be halved 3 times\n"
        "  shape = (1, 8, 12)\n"
        "  multiples of 8 are needed: pad them, or take a smaller depth",
        "nn.models.unet((1, 8, 12), depth=2)",
    ),
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
        "train: a target is no number\n  6 of 6 are NaN or inf in float32\n  leave these examples out",
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
    "a loss that is a class": Slip(
        "net.trainer(loss=train.CrossEntropy)",
        "train: loss is none\n"
        "  loss = <class 'convmat.train.losses.CrossEntropy'>\n"
        "  one of 'cross_entropy', 'binary_cross_entropy', 'mean_squared_error', 'mean_absolute_error', 'output', "
        "or an object of convmat.train, e.g. train.CrossEntropy()",
        "net.trainer(loss=train.CrossEntropy())",
    ),
    "an optimiser by its name": Slip(
        "net.trainer(optimiser='sgd')",
        "train: optimiser is none\n"
        "  optimiser = 'sgd'\n"
        "  an object of convmat.train is needed, e.g. train.SGD(0.1, momentum=0.9)",
        "net.trainer(optimiser=train.SGD(0.1, momentum=0.9))",
    ),
    "weights in letters": Slip(
        "train.CrossEntropy(weights='abc')",
        "train: weights are no numbers of classes\n"
        "  weights = 'abc'\n"
        "  a number from 0 on is needed for each class, e.g. weights=(1.0, 0.5)",
        "train.CrossEntropy(weights=(1.0, 0.5))",
    ),
    "a weight below nothing": Slip(
        "train.CrossEntropy(weights=(1, -2))",
        "train: weights are no numbers of classes\n"
        "  weights = (1, -2)\n"
        "  a number from 0 on is needed for each class, e.g. weights=(1.0, 0.5)",
        "train.CrossEntropy(weights=(1, 2))",
    ),
    "a weight too few": Slip(
        "net.trainer(loss=train.CrossEntropy(weights=(1, 2))).step(images, classes)",
        "train: the weights do not fit the network's classes\n"
        "  2 weights, output float32[2,3]\n"
        "  a weight is needed for each of 3 classes",
        "net.trainer(loss=train.CrossEntropy(weights=(1, 2, 3))).step(images, classes)",
    ),
    "nothing to ignore": Slip(
        "train.CrossEntropy(ignore=None)",
        "train: ignore is a target that takes no part\n"
        "  ignore = None\n"
        "  a whole number is needed, e.g. ignore=-100",
        "train.CrossEntropy(ignore=-100)",
    ),
    "a class beyond 63 bits": Slip(
        "net.trainer().step(images, np.full(2, 2**64 - 100, np.uint64))",
        "train: a target is no class\n"
        "  target[0] = 18446744073709551516; the network has 3 classes\n"
        "  0 to 2, or -100 for what takes no part",
        "net.trainer().step(images, np.full(2, -100))",
    ),
    "a share beyond all": Slip(
        "net.trainer(loss='binary_cross_entropy').step(images, numbers + 2)",
        "train: a target is no share\n"
        "  target[0, 0] = 2.0\n"
        "  numbers from 0 to 1 are needed: that something is so",
        "net.trainer(loss='binary_cross_entropy').step(images, numbers + 1)",
    ),
    "examples in words": Slip(
        "net.trainer().step('images', classes)",
        "train: the examples are no numbers\n"
        "  x = 'images'\n"
        "  an array like the network's input is needed: x: float32 batchx1x4x4",
        "net.trainer().step(images, classes)",
    ),
    "complex examples": Slip(
        "net.trainer().step(images[:1, :, :1, :1] * 1j, classes)",
        "train: the examples are no numbers\n"
        "  x = array([[[[0.+1.j]]]], dtype=complex64)\n"
        "  an array like the network's input is needed: x: float32 batchx1x4x4",
        "net.trainer().step(images, classes)",
    ),
    "a seed in letters": Slip(
        "net.trainer(seed='a')",
        "train: seed must be a whole number\n  seed = 'a'\n  give an int of at least 0, e.g. seed=1",
        "net.trainer(seed=1)",
    ),
    "one batch, as a flag": Slip(
        "net.trainer(accumulate=True)",
        "train: accumulate is a number of batches\n  accumulate = True\n  e.g. accumulate=4",
        "net.trainer(accumulate=4)",
    ),
    "patterns that are none": Slip(
        "net.trainer(frozen=[3])",
        "train: frozen is a list of patterns of names\n  frozen = [3]\n  e.g. frozen=['features.*']",
        "net.trainer(frozen=['1.b*'])",
    ),
    "neither true nor false": Slip(
        "net.trainer(deterministic='no')",
        "train: deterministic must be True or False\n  deterministic = 'no'\n  e.g. deterministic=True",
        "net.trainer(deterministic=True)",
    ),
    "a schedule without rates": Slip(
        "net.trainer(optimiser=train.SGD(lambda step: None)).step(images, classes)",
        "train: the schedule gives no rate\n  rate = None at step 0\n  a number from 0 on is needed",
        "net.trainer(optimiser=train.SGD(lambda step: 0.1)).step(images, classes)",
    ),
    "a batch of nothing": Slip(
        "net.trainer().fit(train.Examples(images, classes), batch=0)",
        "train: batch is too small\n  batch = 0\n  at least 1 is needed, e.g. batch=1",
        "net.trainer().fit(train.Examples(images, classes), batch=1)",
    ),
    "epochs in letters": Slip(
        "net.trainer().fit(train.Examples(images, classes), epochs='a')",
        "train: epochs must be a whole number\n  epochs = 'a'\n  give an int of at least 0, e.g. epochs=1",
        "net.trainer().fit(train.Examples(images, classes), epochs=1)",
    ),
    "a pair for examples": Slip(
        "net.trainer().fit((0, 1))",
        "train: data is no set of examples\n"
        "  data = (0, 1)\n"
        "  e.g. train.Examples(x, target), or train.digits()",
        "net.trainer().fit(train.Examples(images, classes))",
    ),
    "no examples": Slip(
        "net.trainer().fit(train.Examples(images[:0], classes[:0]))",
        "train: there are no examples to learn from\n  0 examples\n  give some",
        "net.trainer().fit(train.Examples(images, classes))",
    ),
    "a number for changes": Slip(
        "net.trainer().fit(train.Examples(images, classes), augment=3)",
        "train: augment is no function\n  augment = 3\n  e.g. augment=train.flips()",
        "net.trainer().fit(train.Examples(images, classes), augment=train.flips())",
    ),
    "examples that are one number": Slip(
        "train.Examples(3.0, classes)",
        "train: x is no array of examples\n"
        "  x = 3.0\n"
        "  its first axis is that of the examples, e.g. x: (N, C, H, W) and target: (N,)",
        "train.Examples(images, classes)",
    ),
    "examples of several lengths": Slip(
        "train.Examples([[1, 2], [3]], classes)",
        "train: x is no array of examples\n"
        "  x = [[1, 2], [3]]\n"
        "  its first axis is that of the examples, e.g. x: (N, C, H, W) and target: (N,)",
        "train.Examples([[1, 2], [3, 4]], classes)",
    ),
    "a scale that is trained": Slip(
        "scaled().step(images, classes)",
        "train: shapes depend on numbers, not on the shape of the input alone\n"
        "  those of the output 'y'; sizes, w are trained\n"
        "  freeze parameters that shapes are computed of, or train a part of the network",
        "scaled(frozen=['sizes']).step(images, classes)",
    ),
    "one example left over": Slip(
        "normed.trainer().fit(train.Examples(np.ones((5, 3), np.float32), np.arange(5) % 3), batch=2)",
        "train: the last batch of each epoch would be one example\n"
        "  5 examples, batch = 2; BatchNorm '0.batchnormalization.1' cannot run\n"
        "  e.g. batch=3",
        "normed.trainer().fit(train.Examples(np.ones((5, 3), np.float32), np.arange(5) % 3), batch=3)",
    ),
    "filters below nothing": Slip(
        "nn.build(nn.Conv(-1, 3), (1, 4, 4))",
        "build: channels is too small\n  channels = -1\n  at least 1 is needed, e.g. channels=1",
        "nn.build(nn.Conv(1, 3), (1, 4, 4))",
    ),
    "groups that do not divide": Slip(
        "nn.build(nn.ConvTranspose(5, 3, groups=2), (4, 4, 4))",
        "build: channels do not divide into groups\n  channels = 5, groups = 2\n  e.g. channels=6",
        "nn.build(nn.ConvTranspose(6, 3, groups=2), (4, 4, 4))",
    ),
    "a window in letters": Slip(
        "nn.build(nn.Conv(4, '33'), (1, 4, 4))",
        "build: kernel must be a whole number\n  kernel = '33'\n  give an int of at least 0, e.g. kernel=1",
        "nn.build(nn.Conv(4, 1), (1, 4, 4))",
    ),
    "a way between pixels": Slip(
        "nn.build(nn.Upsample(2, 'cubic'), (1, 4, 4))",
        "build: there is no mode of that name\n  mode = 'cubic'\n  one of 'nearest', 'linear'",
        "nn.build(nn.Upsample(2, 'linear'), (1, 4, 4))",
    ),
    "more than all left out": Slip(
        "nn.build(nn.Dropout(1.5), (4,))",
        "build: share is how much is left out\n"
        "  share = 1.5\n"
        "  a number from 0 to 1 is needed, e.g. nn.Dropout(0.5)",
        "nn.build(nn.Dropout(0.5), (4,))",
    ),
    "a layer that is a word": Slip(
        "nn.Sequential('relu')",
        "build: 0 is no layer\n  0 = 'relu'\n  e.g. nn.Relu()",
        "nn.Sequential(nn.Relu())",
    ),
    "a layer that is a class": Slip(
        "nn.build(nn.Relu, (4,))",
        "build: model is no layer\n  model = <class 'convmat.nn.layers.Relu'>\n  e.g. nn.Relu()",
        "nn.build(nn.Relu(), (4,))",
    ),
    "an extent below nothing": Slip(
        "nn.build(nn.Linear(2), (-3,))",
        "build: shape[0] is too small\n  shape[0] = -3\n  at least 1 is needed, e.g. 1",
        "nn.build(nn.Linear(2), (1,))",
    ),
    "a shape in letters": Slip(
        "nn.build(nn.Linear(2), 'ab')",
        "build: shape is that of one example\n  shape = 'ab'\n  e.g. shape=(1, 28, 28)",
        "nn.build(nn.Sequential(nn.Flatten(), nn.Linear(2)), shape=(1, 28, 28))",
    ),
    "weights of more digits": Slip(
        "nn.build(nn.Linear(2), (3,), dtype=np.longdouble)",
        "build: dtype is the weights' element type\n"
        "  dtype = <class 'numpy.longdouble'>\n"
        "  float32, float64 or float16, e.g. dtype=np.float32",
        "nn.build(nn.Linear(2), (3,), dtype=np.float32)",
    ),
    "weights of whole numbers": Slip(
        "nn.build(nn.Linear(2), (3,), dtype=np.int32)",
        "build: dtype is the weights' element type\n"
        "  dtype = <class 'numpy.int32'>\n"
        "  float32, float64 or float16, e.g. dtype=np.float32",
        "nn.build(nn.Linear(2), (3,), dtype=np.float32)",
    ),
}


@pytest.mark.parametrize("name", SLIPS)
def test_what_is_suggested_works(name: str) -> None:
    hold(SLIPS[name], **NAMES)


def test_shares_may_be_numbers_of_numpy() -> None:
    half: Any = np.float32(0.5)
    built = nn.build(nn.Dropout(half), (4,)).graph
    assert [each.item() for each in built.constants.values()] == [0.5]

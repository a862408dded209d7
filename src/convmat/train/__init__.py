"""Training: a step (forward, loss, gradients, update) is one prepared graph, run as any network is.

trainer = convmat.load("model.onnx").trainer(loss=train.CrossEntropy(), optimiser=train.SGD(0.1, momentum=0.9))
trainer.step(x, target)
tuned = trainer.network()
"""

from __future__ import annotations

from .augment import flips, shifts, then
from .data import Data, Examples, digits, fashion_mnist, from_folder, from_npz, mnist
from .fit import Epoch, Progress
from .losses import BinaryCrossEntropy, CrossEntropy, MeanAbsoluteError, MeanSquaredError, Output
from .optimisers import SGD, Adam, AdamW
from .schedules import Cosine, Steps, WarmUp
from .trainer import Trainer

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "BinaryCrossEntropy",
    "Cosine",
    "CrossEntropy",
    "Data",
    "Epoch",
    "Examples",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Output",
    "Progress",
    "Steps",
    "Trainer",
    "WarmUp",
    "digits",
    "fashion_mnist",
    "flips",
    "from_folder",
    "from_npz",
    "mnist",
    "shifts",
    "then",
]

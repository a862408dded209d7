"""PyTorch's own tools over our modules and accelerated models: they see the model that it is."""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

import convmat
import convmat.torch as ours
from convmat.engine import thread_pool
from convmat.torch.norms import BatchNorm2d

pytestmark = [pytest.mark.outside, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(autouse=True)
def own_threads() -> Iterator[None]:
    yield
    thread_pool.use_team(None)


class Branching(nn.Module):
    """A model whose forward's argument has a name."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.up = nn.ConvTranspose2d(16, 4, 2, stride=2)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Twice as wide and high."""
        return self.up(self.first(image))


def accelerated() -> tuple[Any, Any, Any]:
    """A fused model of our own modules alone, an image, and what PyTorch gives for it."""
    torch.manual_seed(0)
    model, image = Branching().eval(), torch.randn(2, 3, 12, 12)
    with torch.no_grad():
        wanted = model(image)
    ours.accelerate(model, image)
    model.first[0].__class__, model.up.__class__ = ours.Conv2d, ours.ConvTranspose2d
    return model, image, wanted


def as_onnx(model: Any, image: Any) -> Callable[[Any], Any]:
    file = io.BytesIO()
    torch.onnx.export(model, (image,), file, dynamo=False)
    network = convmat.load(file.getvalue())
    return lambda x: torch.from_numpy(network(x.numpy()))


TOOLS: dict[str, Callable[[Any, Any], Any]] = {
    "jit.script": lambda model, image: torch.jit.script(model),
    "jit.trace": lambda model, image: torch.jit.trace(model, image),
    "fx": lambda model, image: torch.fx.symbolic_trace(model),
    "export by name": lambda model, image: torch.export.export(
        model, (), {"image": image}, dynamic_shapes={"image": {0: torch.export.Dim("n", min=1, max=64)}}
    ).module(),
    "compile": lambda model, image: torch.compile(model, backend="aot_eager", fullgraph=True),
    "onnx": as_onnx,
}


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_sees_the_model_that_it_is(tool: str) -> None:
    model, image, wanted = accelerated()
    with torch.no_grad():
        made = TOOLS[tool](model, image)
        found = made(image=image) if tool == "export by name" else made(image)
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(model(image), wanted, rtol=1e-4, atol=1e-4)


def test_a_symbolic_trace_has_the_nodes_that_it_had() -> None:
    def nodes_of(model: Any) -> list[Any]:
        nodes = torch.fx.symbolic_trace(model).graph.nodes
        return [(node.op, node.target) for node in nodes if node.users or node.op == "output"]

    model = Branching()
    before = nodes_of(model)
    model.first[0].__class__, model.up.__class__ = ours.Conv2d, ours.ConvTranspose2d
    model.first[1].__class__ = BatchNorm2d
    assert nodes_of(model) == before


def test_an_accelerated_model_has_its_own_arguments() -> None:
    model, image, wanted = accelerated()
    assert list(inspect.signature(model.forward).parameters) == ["image"]
    with torch.no_grad():
        torch.testing.assert_close(model(image=image), wanted, rtol=1e-4, atol=1e-4)


def test_scripted_parts_stay_as_they_are() -> None:
    scripted = torch.jit.script(nn.Conv2d(3, 4, 3))
    model, image = nn.Sequential(scripted, nn.ReLU(), nn.Conv2d(4, 4, 3)).eval(), torch.randn(1, 3, 9, 9)
    with torch.no_grad():
        wanted = model(image)
        ours.accelerate(model, image)
        torch.testing.assert_close(model(image), wanted, rtol=1e-4, atol=1e-4)
    assert model[0] is scripted


def test_lazy_modules_become_what_they_are_to_be() -> None:
    image = torch.randn(2, 3, 9, 9)
    model = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.BatchNorm2d(4), nn.LazyConv2d(5, 3))
    report = ours.accelerate(model, image)
    assert [each.kind for each in report.layers] == ["Conv2d", "BatchNorm2d", "BatchNorm2d", "Conv2d"]
    assert model[0].weight.shape == (4, 3, 3, 3)
    for norm in (model[1], model[2]):
        assert not norm.running_mean.any()
        assert norm.num_batches_tracked == 0


NO_ARRAYS: dict[str, tuple[Callable[[Any], Any], str, str]] = {
    "sparse": (lambda x: x.to_sparse(), "is no array of numbers\n  it is of torch.sparse_coo", "to_dense()"),
    "oneDNN's": (lambda x: x.to_mkldnn(), "is no array of numbers\n  it is of torch._mkldnn", "to_dense()"),
    "quantised": (
        lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8),
        "is no array of numbers\n  it is of torch.qint8", "dequantize()",
    ),
    "8-bit floats": (
        lambda x: x.to(torch.float8_e4m3fn),
        "has an element type that is not taken\n  its type is torch.float8_e4m3fn", "float()",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", NO_ARRAYS)
def test_tensors_that_are_no_arrays(kind: str) -> None:
    make, reason, fix = NO_ARRAYS[kind]
    x, w = torch.ones(1, 1, 5), torch.ones(1, 1, 2)
    with pytest.raises(convmat.GeometryError) as error:
        convmat.conv(make(x), w)
    numbers = "numbers of another, e.g." if fix == "float()" else "its numbers,"
    assert str(error.value) == f"conv: a tensor {reason}\n  give {numbers} x.{fix}"
    y: Any = convmat.conv(eval(f"x.{fix}", {"x": make(x)}), w)
    torch.testing.assert_close(y, torch.full((1, 1, 4), 2.0), rtol=0.1, atol=0.1)
    plain, made = nn.Conv1d(1, 1, 2), ours.Conv1d(1, 1, 2)
    assert answer(made, make(x)) == answer(plain, make(x))


def answer(layer: Any, x: Any) -> Any:
    """The shape of what a layer gives, or what it refuses x with."""
    try:
        return layer(x).shape
    except Exception as error:
        return type(error), str(error)

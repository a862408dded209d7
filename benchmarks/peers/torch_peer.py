"""PyTorch on the CPU: eager in NCHW and channels_last, and channels_last with weights packed beforehand by oneDNN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.jobs import Job
from benchmarks.netjobs import AnyJob, NetJob, joined
from benchmarks.peers.base import Array, Peer, Prepared, only_input, only_symmetric_2d
from benchmarks.peers.torch_network import network


class Torch(Peer):
    """`torch.nn.functional.conv2d` and `aten.convolution_backward` on contiguous tensors of one memory format."""

    library = "torch"
    directions: tuple[str, ...] = ("forward", "input", "weight")

    def __init__(self, name: str, about: str, *, last: bool, networks: bool = False) -> None:
        self.name = name
        self.about = about
        self._last = last
        if networks:
            self.directions = (*self.directions, "network")
            self.about_networks = f"{about}, normalisation folded into weights, nothing compiled"

    def version(self) -> str:
        """PyTorch's."""
        import torch

        return str(torch.__version__)

    def refuses(self, job: AnyJob) -> str | None:
        """Images with equal padding on both sides alone."""
        return super().refuses(job) or only_symmetric_2d(job)

    def prepare(self, job: Job, a: Array, b: Array) -> Prepared:
        """Tensors in the memory format; no autograd graph is recorded."""
        import torch

        torch.set_grad_enabled(False)
        torch.set_num_threads(job.threads)
        tensors = self._tensors(a, b)
        call = self._call(job, *tensors)
        return Prepared(call, lambda: _array(call()))

    def load(self, job: NetJob, *inputs: Array) -> Prepared:
        """The graph's functions one after the other."""
        import torch

        x = only_input(inputs)

        torch.set_grad_enabled(False)
        torch.set_num_threads(job.threads)
        run = network(job.file, x)

        def call() -> Any:
            with torch.inference_mode():
                return run()

        return Prepared(call, lambda: joined([_array(each) for each in call()]))

    def _tensors(self, a: Array, b: Array) -> tuple[Any, Any]:
        import torch

        layout = torch.channels_last if self._last else torch.contiguous_format
        first, second = (torch.from_numpy(each).contiguous(memory_format=layout) for each in (a, b))
        return first, second

    def _call(self, job: Job, a: Any, b: Any) -> Callable[[], Any]:
        import torch

        g = job.geometry
        if job.direction == "forward":
            return lambda: torch.nn.functional.conv2d(a, b, None, g.s, g.lo, g.d, g.G)
        backward = torch.ops.aten.convolution_backward
        layout = torch.channels_last if self._last else torch.contiguous_format
        # The operand that is asked for only lends its shape and memory format.
        like = torch.empty(job.shapes[2]).contiguous(memory_format=layout)
        common = (list(g.s), list(g.lo), list(g.d), False, [0, 0], g.G)
        if job.direction == "input":
            return lambda: backward(a, like, b, None, *common, [True, False, False])[0]
        return lambda: backward(b, a, like, None, *common, [False, True, False])[1]


class Prepacked(Torch):
    """oneDNN's convolution with weights in the layout that it chooses: what `torch.compile` freezes a model to."""

    directions = ("forward",)

    def _call(self, job: Job, a: Any, b: Any) -> Callable[[], Any]:
        import torch

        g = job.geometry
        s, lo, d = list(g.s), list(g.lo), list(g.d)
        packed = torch._C._nn.mkldnn_reorder_conv2d_weight(b.to_mkldnn(), lo, s, d, g.G, list(a.shape))
        convolve = torch.ops.mkldnn._convolution_pointwise.default
        return lambda: convolve(a, packed, None, lo, s, d, g.G, "none", [], "")


def _array(tensor: Any) -> Array:
    array: Array = tensor.contiguous().numpy()
    return array


PEERS: tuple[Peer, ...] = (
    Torch("torch eager", "NCHW tensors, weights packed and output allotted in each call", last=False),
    Torch(
        "torch channels_last",
        "channels_last tensors, weights packed and output allotted in each call",
        last=True,
        networks=True,
    ),
    Prepacked(
        "torch prepacked",
        "channels_last tensors, weights packed by oneDNN beforehand, output allotted in each call",
        last=True,
    ),
)

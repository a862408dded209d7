"""ncnn: a layer written here as its text and its weights, a network as pnnx, its converter, writes it.

    Convolution            0=O  1=kw 11=kh  2=dw 12=dh  3=sw 13=sh  4=left 14=top  5=bias  6=weights
    ConvolutionDepthWise   the same with 7=groups

Weights follow as a flag (0: float32 as it is) and numbers. It takes Winograd tiles for 3x3 layers where it thinks them
faster, so it does not multiply as often as the definition. It has no batches.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.jobs import Job
from benchmarks.netjobs import AnyJob, NetJob, joined
from benchmarks.peers.base import Array, Peer, Prepared, RefusedError, only_input, only_symmetric_2d
from convmat.geometry import Geometry

MAGIC = "7767517"


class Ncnn(Peer):
    """A net whose weights are packed when it is loaded; its own memory for outputs, which it uses again.

    An input has no batch axis here; outputs come without axes of extent 1.
    """

    name = "ncnn"
    library = "ncnn"
    about = "NCHW, blocked inside, weights packed at load, Winograd where it takes it"
    about_networks = "converted by pnnx; blocked inside, weights packed at load, Winograd where it takes it"
    directions = ("forward", "network")
    direct = False

    def version(self) -> str:
        """The package's."""
        import ncnn

        return str(ncnn.__version__)

    def refuses(self, job: AnyJob) -> str | None:
        """One image with equal padding on both sides."""
        if job.batch != 1:
            return f"takes one image at a time, got {job.batch}"
        return super().refuses(job) or only_symmetric_2d(job)

    def prepare(self, job: Job, a: Array, b: Array) -> Prepared:
        """Write the layer, load it, share the input's memory."""
        weights = bytes(4) + np.ascontiguousarray(b, np.float32).tobytes()
        with tempfile.TemporaryDirectory() as folder:
            param, data = Path(folder, "net.param"), Path(folder, "net.bin")
            param.write_text(layer(job.geometry))
            data.write_bytes(weights)
            call = _loaded(param, data, a, job.threads)
        return Prepared(call, lambda: np.array(call()[0])[None])

    def load(self, job: NetJob, *inputs: Array) -> Prepared:
        """Convert the network, load it, share the input's memory."""
        x = only_input(inputs)
        call = _loaded(*converted(job.file, x.shape), x, job.threads)
        return Prepared(call, lambda: joined([np.array(each) for each in call()]))


def _loaded(param: Path, data: Path, a: Array, threads: int) -> Callable[[], list[Any]]:
    """A call of the net of text and weights that gives all its outputs. Raises RefusedError if ncnn lacks a layer."""
    import ncnn

    kinds = {line.split()[0] for line in param.read_text().splitlines()[2:]}
    missing = sorted(kind for kind in kinds if ncnn.layer_to_index(kind) < 0)
    if missing:
        raise RefusedError(f"ncnn has no layer {', '.join(missing)}, which pnnx leaves in the network")

    net = ncnn.Net()
    net.opt.num_threads = threads
    for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
        setattr(net.opt, f"use_{name}", False)
    if net.load_param(str(param)) or net.load_model(str(data)):
        raise ValueError(f"ncnn does not take this:\n{param.read_text()}")
    x = ncnn.Mat(np.ascontiguousarray(a[0])).clone()
    (start,), ends = net.input_names(), sorted(net.output_names(), key=lambda name: (len(name), name))

    def call() -> list[Any]:
        extractor = net.create_extractor()
        extractor.input(start, x)
        return [extractor.extract(end)[1] for end in ends]

    return call


def converted(file: str, shape: Sequence[int]) -> tuple[Path, Path]:
    """Text and weights beside an ONNX file, made of it by pnnx unless they are there. Raises RefusedError."""
    import pnnx

    source = Path(file)
    param, data = (source.with_name(f"{source.stem}.ncnn.{kind}") for kind in ("param", "bin"))
    if not param.exists():
        with tempfile.TemporaryDirectory(dir=source.parent) as folder:
            # It writes eight more files, beside the one it is given.
            link = Path(folder, source.name)
            link.symlink_to(source.resolve())
            words = [f"inputshape=[{','.join(map(str, shape))}]f32", "fp16=0"]
            words += [f"ncnn{kind}={path.resolve()}" for kind, path in (("param", param), ("bin", data))]
            done = subprocess.run(
                [pnnx.EXEC_PATH, str(link), *words], capture_output=True, text=True, check=False
            )
        if done.returncode or not param.exists():
            said = (done.stderr.strip() or done.stdout.strip() or "it says nothing").splitlines()[-1]
            raise RefusedError(f"pnnx does not take {source.name}: {said}")
    return param, data


def layer(g: Geometry) -> str:
    """The net's text: an input and a layer.

    >>> print(layer(Geometry.of((1, 4, 8, 8), (6, 4, 3, 3), padding=1)).splitlines()[-1])
    Convolution y 1 1 x y 0=6 1=3 11=3 2=1 12=1 3=1 13=1 4=1 14=1 5=0 6=216
    """
    pairs = [(1, g.F), (2, g.d), (3, g.s), (4, g.lo)]
    values = {0: g.O} | {key + 10 * (1 - axis): each[axis] for key, each in pairs for axis in (1, 0)}
    values |= {5: 0, 6: g.O * (g.C // g.G) * g.F[0] * g.F[1]} | ({7: g.G} if g.G > 1 else {})
    kind = "ConvolutionDepthWise" if g.G > 1 else "Convolution"
    settings = " ".join(f"{key}={value}" for key, value in values.items())
    return f"{MAGIC}\n2 2\nInput x 0 1 x\n{kind} y 1 1 x y {settings}\n"


PEERS: tuple[Peer, ...] = (Ncnn(),)

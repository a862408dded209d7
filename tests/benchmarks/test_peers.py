"""Each peer that is installed answers as the definition does; those that are not say so."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import numpy as np
import pytest

from benchmarks import peers
from benchmarks.jobs import Job, operands
from benchmarks.peers.convmat_peer import on_engine
from benchmarks.truth import Truth
from convmat.errors import PlanError

NEEDS = {
    "convmat": (),
    "numpy": (),
    "torch": ("torch",),
    "onnxruntime": ("onnx", "onnxruntime"),
    "litert": ("ai_edge_litert",),
    "ncnn": ("ncnn",),
    "openvino": ("openvino",),
    "mnn": ("MNN", "onnx"),
    "opencv": ("cv2",),
    "scipy": ("scipy",),
}
THERE = [peer for peer in peers.ALL if all(map(find_spec, NEEDS[peer.library]))]
FILTERS = [peer for peer in THERE if peer.library in ("opencv", "scipy")]
HERE = [peer for peer in THERE if peer not in FILTERS]
WITH_LAYERS = [peer for peer in HERE if peer.runs(networks=False)]

LAYERS = (
    "2d/3x3/tail",
    "2d/first-layer/plain",
    "2d/dilated/plain",
    "2d/1x1/strided-tail",
    "2d/grouped/tail",
    "2d/depthwise/plain",
    "2d/depthwise/strided-tail",
    "2d/1x7/plain",
)
JOBS = [
    *(Job(layer) for layer in LAYERS),
    *(Job("2d/3x3/tail", direction, batch=3) for direction in ("input", "weight")),
]  # fmt: skip


@pytest.mark.parametrize("job", JOBS, ids=lambda job: f"{job.layer}-{job.direction}")
@pytest.mark.parametrize("peer", WITH_LAYERS, ids=lambda peer: peer.name)
def test_its_answers_are_right(peer: peers.Peer, job: Job) -> None:
    refusal = peer.refuses(job)
    if refusal is not None:
        assert job.direction not in peer.directions
        return
    ready = peer.prepare(job, *operands(job))
    ready.call()
    assert Truth(job).error(ready.answer()) < (1e-6 if peer.direct else 2e-6)


@pytest.mark.parametrize("peer", FILTERS, ids=lambda peer: peer.name)
def test_images_are_filtered_right(peer: peers.Peer) -> None:
    job = Job("image 31x31 @2048 pad 15")  # enough taps for the sums to be taken as transforms
    ready = peer.prepare(job, *operands(job))
    assert Truth(job).error(ready.answer()) < 2e-6
    assert peer.refuses(Job("2d/3x3/tail")) == (
        "filters one channel to as many pixels, got 1x3x5x17 * 5x3x3x3 -> 1x5x5x17, padding (1, 1) (1, 1)"
    )


@pytest.mark.parametrize("peer", THERE, ids=lambda peer: peer.name)
def test_it_tells_its_version(peer: peers.Peer) -> None:
    assert any(character.isdigit() for character in peer.version())


@pytest.mark.parametrize("name", ["torch eager", "onnxruntime", "litert"])
def test_a_library_that_is_not_installed_is_an_import_error(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("torch", "onnx", "onnxruntime", "ai_edge_litert", "ai_edge_litert.interpreter"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError):
        peers.peer(name).version()


def test_images_with_equal_padding_alone() -> None:
    g = Job("2d/asymmetric/plain").geometry
    refusal = f"takes images with equal padding on both sides, got {g}"
    assert peers.peer("torch eager").refuses(Job("2d/asymmetric/plain")) == refusal
    assert peers.peer("litert").refuses(Job("1d/3/plain")) is not None
    assert peers.peer("litert").refuses(Job("2d/3x3/plain", "weight")) == "does no gradients"


def test_names_are_one_each() -> None:
    names = [peer.name for peer in peers.ALL]
    assert len(set(names)) == len(names)
    assert all(peer.about and peer.library for peer in peers.ALL)


def test_which_peers_a_wish_means() -> None:
    defaults = [peer.name for peer in peers.ALL if peer.default and peer.runs(networks=False)]
    assert list(peers.chosen([])) == defaults
    assert peers.chosen(["numpy im2col", "convmat"]) == (
        "convmat",
        "convmat per call",
        "convmat fewest",
        "convmat NHWC",
        "numpy im2col",
    )
    assert peers.chosen(["torch"], engine="blas")[:3] == (
        "convmat blas",
        "convmat blas per call",
        "torch eager",
    )
    with pytest.raises(PlanError) as caught:
        peers.chosen(["tensorflow"])
    lines = str(caught.value).splitlines()
    assert lines[0] == "bench: there is no peer 'tensorflow'"
    assert lines[-1] == "  give a name, or a library for all of its own"
    with pytest.raises(PlanError) as caught:
        peers.chosen([], engine="gpu")
    assert (
        str(caught.value)
        == "bench: no peer runs convmat on the engine 'gpu'\n  engine = 'gpu'\n  e.g. 'blas'"
    )


def test_an_engine_can_be_asked_for() -> None:
    import convmat

    plan = convmat.plan((1, 3, 8, 8), (4, 3, 3, 3), padding=1)
    forced = on_engine(plan, "blas")
    assert forced.chosen.engine == "blas"
    x, w = np.ones((1, 3, 8, 8), np.float32), np.ones((4, 3, 3, 3), np.float32)
    np.testing.assert_array_equal(forced(x, w), plan(x, w))
    with pytest.raises(PlanError, match="no candidate of the engine 'gpu' can run this"):
        on_engine(plan, "gpu")

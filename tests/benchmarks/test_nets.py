"""Whole networks, as small as has every operator that the benchmark's have: truth, peers, runs, goals, page."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convmat
from benchmarks import command, firsts, lock, netgoals, netjobs, netstart, page, peers, run, tables, worker
from benchmarks.goals import Goal
from benchmarks.models import Builder, Net
from benchmarks.netjobs import NetJob, given
from benchmarks.nettruth import NetTruth, maxima, transposed
from benchmarks.results import Entry, Library, Measured, Run
from benchmarks.run import Wish
from convmat.errors import NetworkError, PlanError
from tests.benchmarks import made
from tests.benchmarks.test_peers import HERE

pytestmark = pytest.mark.skipif(find_spec("onnx") is None, reason="reads ONNX models, of the extra onnx")

NETWORKS = [peer for peer in HERE if peer.runs(networks=True)]


def small() -> bytes:
    """What the benchmark's networks are made of, once each, and values that are read twice."""
    b = Builder(1)
    zero, six = b.tensor(np.float32(0)), b.tensor(np.float32(6))
    x = b.pool(b.relu(b.conv("x", 3, 8, 5, stride=8)), 3, 2, ceil=1)
    y = b.node("Clip", b.conv(b.conv(x, 8, 16, 1), 16, 16, 3, groups=16), zero, six)
    x = b.relu(b.node("Add", b.conv(y, 16, 8, 1, gain=0.2), x))
    x = b.node(
        "Concat", b.relu(b.conv(x, 8, 4, 1, norm=False)), b.relu(b.conv(x, 8, 4, 3, norm=False)), axis=1
    )
    sides = [b.node("Flatten", each) for each in (b.pool(x, 2, 2, 1), b.node("GlobalAveragePool", x))]
    x = b.relu(b.dense(b.node("Concat", *sides, axis=1), 8 * 8 * 8 + 8, 20))
    return b.model(b.node("Softmax", b.dense(x, 20, 10)))


FLOPS = 2 * (28**2 * 8 * 75 + 14**2 * (2 * 16 * 8 + 16 * 9 + 8 * 4 * (1 + 9)) + 520 * 20 + 20 * 10)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("nets") / "small.onnx"
    path.write_bytes(small())
    return path


@pytest.fixture(scope="module")
def job(file: Path) -> NetJob:
    return NetJob("small", file=str(file))


@pytest.fixture(scope="module")
def truth(job: NetJob) -> NetTruth:
    return NetTruth(job)


def several() -> bytes:
    """Two outputs of an input that is declared smaller than it is meant: wider, narrower, padded on one side more."""
    import onnx
    from onnx import helper, numpy_helper

    random = np.random.default_rng(3)
    tensors = {
        "a": random.standard_normal((6, 3, 3, 3), np.float32) / 5,
        "b": random.standard_normal((6, 4, 2, 2), np.float32) / 5,
    }
    nodes = [
        helper.make_node("Conv", ["input.1", "a"], ["half"], auto_pad="SAME_UPPER", strides=[2, 2]),
        helper.make_node("ConvTranspose", ["half", "b"], ["whole"], strides=[2, 2]),
        helper.make_node("Sigmoid", ["whole"], ["537"]),
        helper.make_node("Relu", ["half"], ["538"]),
    ]
    value, kind = helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "several",
        [value("input.1", kind, [10, 3, 4, 4]), *(value(n, kind, w.shape) for n, w in tensors.items())],
        [value("537", kind, [10, 4, 4, 4]), value("538", kind, [10, 6, 2, 2])],
        [numpy_helper.from_array(array, name) for name, array in tensors.items()],
        value_info=[value("whole", kind, [10, 4, 4, 4])],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)
    data: bytes = made.SerializeToString()
    return data


@pytest.fixture
def several_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetJob:
    monkeypatch.setitem(netjobs.NETS, "several", Net(several, (1, 3, 16, 24)))
    return NetJob("several", shape=(1, 3, 16, 24), file=str(netjobs.written("several", tmp_path)))


def stepping() -> bytes:
    """A state that comes in beside x, whose weights are inputs too, as older files have them."""
    import onnx
    from onnx import helper, numpy_helper

    value, kind = helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    w = numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["more"]),
        helper.make_node("Add", ["state", "more"], ["after"]),
    ]
    inputs = [value("w", kind, [4, 4]), value("state", kind, ["n", 4]), value("x", kind, ["n", 4])]
    graph = helper.make_graph(nodes, "stepping", inputs, [value("after", kind, ["n", 4])], [w])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)
    data: bytes = model.SerializeToString()
    return data


# -- answers ----------------------------------------------------------------------------------------------------------


def test_the_truth_is_what_the_nodes_say_one_by_one(truth: NetTruth, job: NetJob) -> None:
    """convmat runs the same nodes without rewriting them, by the definition's products, in float32."""
    y = convmat.load(job.file, exact=True, rewrite=False)(given(job)[0])
    (expected,) = truth.expected
    assert expected.dtype == np.float64
    assert expected.sum() == pytest.approx(1, abs=1e-12)
    assert truth.error(y) < 1e-6
    assert truth.flops == FLOPS
    assert truth.error(y[:, :9]) == truth.error(y * np.nan) == np.inf
    assert truth.error(1.01 * expected) == pytest.approx(0.01)


def test_maxima_of_windows_that_begin_in_the_padding_are_left_out() -> None:
    x = np.arange(5.0).reshape(1, 1, 5)
    about = {"kernel_shape": [2], "strides": [2], "pads": [0, 1], "ceil_mode": 1}
    np.testing.assert_array_equal(maxima(x, about), [[[1, 3, 4]]])
    about = {"kernel_shape": [1], "strides": [3], "pads": [0, 1], "ceil_mode": 1}
    np.testing.assert_array_equal(maxima(x, about), [[[0, 3]]])


def test_a_transposed_convolution_is_the_standards_own() -> None:
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    random = np.random.default_rng(0)
    x, w = random.standard_normal((1, 4, 3, 5)), random.standard_normal((4, 3, 3, 2))
    about = {"strides": [2, 3], "pads": [1, 0, 0, 1], "output_padding": [1, 0], "dilations": [1, 2]}
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], **about)
    (y,) = ReferenceEvaluator(node).run(None, {"x": x, "w": w})
    np.testing.assert_allclose(transposed(x, w, about), y, rtol=0, atol=1e-12)


@pytest.mark.parametrize("peer", NETWORKS, ids=lambda peer: peer.name)
def test_networks_with_several_inputs_take_x_first(
    peer: peers.Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = Net(stepping, (1, 4), others={"state": np.arange(4, dtype=np.float32)[None]}, scale=2)
    monkeypatch.setitem(netjobs.NETS, "stepping", net)
    job = NetJob("stepping", shape=(1, 4), file=str(netjobs.written("stepping", tmp_path)))
    assert netjobs.names(job.file) == (["x", "state"], ["after"])
    x, state = given(job)
    np.testing.assert_array_equal(NetTruth(job).expected[0], x.astype(np.float64) + state)
    if peer.library in ("ncnn", "torch"):
        with pytest.raises(peers.RefusedError, match="one input"):
            peer.load(job, x, state)
        return
    ready = peer.load(job, x, state)
    np.testing.assert_allclose(ready.answer(), (x + state).ravel(), rtol=1e-6)


@pytest.mark.parametrize("peer", NETWORKS, ids=lambda peer: peer.name)
def test_networks_with_several_outputs_take_the_shape_that_is_meant(
    peer: peers.Peer, several_job: NetJob
) -> None:
    truth = NetTruth(several_job)
    assert [y.shape for y in truth.expected] == [(1, 4, 16, 24), (1, 6, 8, 12)]
    assert truth.flops == 2 * 8 * 12 * 6 * (3 * 9 + 4 * 4)
    ready = peer.load(several_job, *given(several_job))
    answer = ready.answer()
    assert truth.error(answer) < 5e-6
    answer[-1] += 1  # of the last output
    assert truth.error(answer) > 1e-3


@pytest.mark.parametrize("peer", NETWORKS, ids=lambda peer: peer.name)
def test_its_answer_is_right_again_and_again(peer: peers.Peer, job: NetJob, truth: NetTruth) -> None:
    assert peer.refuses(job) is None
    ready = peer.load(job, *given(job))
    ready.call()
    assert truth.error(ready.answer()) < 5e-6
    if peer.library == "convmat":
        assert ready.workspace
        assert ready.predicted


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torch channels_last", "no function is written here for ReduceMax 'reducemax_0'"),
        ("ncnn", "ncnn has no layer ReduceMax, which pnnx leaves in the network"),
    ],
)
def test_what_a_peer_has_no_layer_for_is_named(
    name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if peers.peer(name) not in NETWORKS:
        return

    def largest() -> bytes:
        b = Builder()
        return b.model(b.node("Flatten", b.node("ReduceMax", "x", axes=[2, 3])))

    monkeypatch.setitem(netjobs.NETS, "largest", Net(largest))
    job = NetJob("largest", file=str(netjobs.written("largest", tmp_path)))
    with pytest.raises(peers.RefusedError) as caught:
        peers.peer(name).load(job, *given(job))
    assert str(caught.value) == message


def test_a_refusal_is_no_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(self: peers.Peer, job: NetJob, x: Any) -> None:
        raise peers.RefusedError("has no layer Sin")

    monkeypatch.setattr(type(peers.peer("convmat")), "load", refuse)
    message = {"do": "prepare", "peer": "convmat", "job": {"net": "small"}, "answer": str(tmp_path / "y.npy")}
    assert worker.Worker().answer(message) == {"refused": "has no layer Sin"}


def test_who_runs_what() -> None:
    job = NetJob("resnet50")
    assert peers.peer("litert").refuses(job) == "runs no networks"
    assert peers.chosen([], networks=True)[0] == "convmat"
    with pytest.raises(PlanError) as caught:
        peers.chosen(["litert"], networks=True)
    first, *listed, last = str(caught.value).splitlines()
    assert (first, last) == (
        "bench: 'litert' runs no networks",
        "  it takes part in `make bench`",
    )
    assert len(listed) == len([peer for peer in peers.ALL if peer.runs(networks=True)])
    with pytest.raises(PlanError) as caught:
        peers.chosen(["tensorflow"], networks=True)
    assert str(caught.value).splitlines()[0] == "bench: there is no peer 'tensorflow'"
    with pytest.raises(PlanError) as caught:
        command.networks(["alexnet"], [], "1")
    assert str(caught.value) == (
        "bench: no network matches 'alexnet'\n  there are resnet50, vgg16, mobilenet_v2, squeezenet1.1, keywords, "
        "autoencoder, style, segments, pose, pulse, efficientnet-b0, transformer, centerface, "
        "pp-ocr-det, pp-ocr-rec, pp-ocr-cls, blazeface-front, blazeface-back, dnsmos-v8, dnsmos-sig, basic-pitch, "
        "efficientnet-lite0, ddddocr-det, ddddocr-read, tinyocr-det, tinyocr-rec, silero-vad, smart-turn, spindles, "
        "seizure, captcha-whisperer, terrain, mtcnn-proposals, mtcnn-refining, mtcnn-points, "
        "blazeface-full, orientation, fsmn-vad, mlsd-large, mlsd-tiny\n"
        "  give a part of a name"
    )


# -- runs -------------------------------------------------------------------------------------------------------------


def test_a_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(lock, "default_path", lambda: tmp_path / "lock")
    monkeypatch.setitem(netjobs.NETS, "small", Net(small))

    def gone() -> bytes:
        raise NetworkError("fetch: gone 1.0 cannot be had from PyPI\n  no route to host")

    monkeypatch.setitem(netjobs.NETS, "gone", Net(gone))
    wish = Wish(
        layers=(),
        nets=("gone", "small"),
        peers=("convmat",),
        threads=(1,),
        seconds=1e-6,
        least_rounds=3,
        startup=False,
    )
    told: list[str] = []
    found = run.run(wish, tell=told.append)
    assert (found.partial, found.jobs, found.networks) == (None, 1, True)
    assert found.left_out == {"gone": "fetch: gone 1.0 cannot be had from PyPI no route to host"}
    assert tables.remarks(found)[0] == f"left out: gone: {found.left_out['gone']}"
    (m,) = found.measured
    entry = m.entries["convmat"]
    assert (m.job.subject, m.job.flops) == ("small", FLOPS)
    assert entry.failed is None
    assert entry.error is not None
    assert 0 < entry.error < 5e-6
    assert len(entry.samples) == 3
    assert found.peers["convmat"].about.startswith("`convmat.load(file)(x)`")
    words = ["small: written, and run in float64", "1 thread: starting", "small, batch 1, 1 thread"]
    assert [text for text in told if text in words] == words
    assert Run.from_json(found.as_json()).without_samples() == found.without_samples()
    about = {"net": "small", "threads": 1, "flops": FLOPS, "shape": [1, 3, 224, 224]}
    assert json.loads(found.as_json())["measured"][0]["job"] == about


def test_first_answers_in_fresh_processes(tmp_path: Path) -> None:
    """Of one layer: each kind of start compiles it, or finds it."""
    b, file = Builder(1), tmp_path / "layer.onnx"
    file.write_bytes(b.model(b.conv("x", 3, 8, 5, stride=8)))
    found = netstart.measure(file, 1)
    libraries = ["convmat", *(["onnxruntime"] if find_spec("onnxruntime") else [])]
    assert set(found.seconds) == {"cold", "cached", "saved", *libraries[1:]}
    assert {f"{library} {kind}" for library in libraries for kind in ("resident", "peak")} == set(found.bytes)
    assert all(seconds > 0 for (seconds,) in found.seconds.values())
    assert all(size > 1 << 20 for (size,) in found.bytes.values())


def test_first_answers_of_each_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(netjobs.NETS, "small", Net(small))
    told: list[str] = []
    found = list(firsts.measure(["small"], 1, told.append))
    if find_spec("onnxruntime") is None:
        assert (found, told) == ([], ["first answers are compared on Linux, where onnxruntime is installed"])
        return
    assert told == []
    (each,) = found
    assert min(each.cold, each.warm, each.other) > 0
    assert each.kernels > 0
    assert min(each.resident, each.other_resident) > 1 << 20
    assert firsts.row(each).split()[0] == "small"


# -- what is made of them ---------------------------------------------------------------------------------------------

SECONDS = {"convmat": 1.0, "torch channels_last": 2.0, "onnxruntime": 1.5, "ncnn": 1.2}
"""Seconds of each peer in units of convmat's."""


def by_hand() -> Run:
    """A run of networks whose every figure can be worked out on paper."""
    library = {
        peer.name: Library(peer.library, peer.about_networks or peer.about, peer.direct, "1.0")
        for peer in peers.ALL
    }
    measured = []
    for threads in (1, 2):
        for flops, (net, about) in enumerate(netjobs.NETS.items(), 1):
            one = flops / 50 / threads
            entries = {name: made.entry(one * ratio, 1e-7 * flops) for name, ratio in SECONDS.items()}
            entries["openvino"] = Entry(failed="RuntimeError: no")
            if net == "dnsmos-v8":
                entries["ncnn"] = Entry(refused="ncnn has no layer ReduceMax")
            measured.append(Measured(NetJob(net, threads, flops * 10**9, about.shape), entries))
    return replace(
        made.run(), jobs=80, measured=measured, peers={name: library[name] for name in (*SECONDS, "openvino")},
        startup={"cold": [4.0], "cached": [2.0, 1.0, 0.5], "saved": [0.25], "onnxruntime": [0.5]},
        memory={"convmat resident": [300 << 20], "convmat peak": [400 << 20],
                "onnxruntime resident": [100 << 20], "onnxruntime peak": [200 << 20]},
    )  # fmt: skip


def test_every_goal() -> None:
    found = {(goal.text, goal.statistic): goal for goal in netgoals.goals(by_hand())}
    values: dict[tuple[str, str], Any] = {
        key: (goal.value, goal.wanted, goal.met) for key, goal in found.items()
    }
    start = "resnet50, from file to first answer"
    for t, mean in (("1 thread", 1.25), ("2 threads", 1.2)):
        middle = (1.2**39 * 1.5) ** (1 / 40)  # one of them is not for the fastest
        assert values.pop((f"{t}: against the fastest peer", "geometric mean")) == (
            pytest.approx(middle), mean, middle >= mean,
        )  # fmt: skip
        assert values.pop((f"{t}: against the fastest peer", "least")) == (pytest.approx(1.2), 0.95, True)
        assert values.pop((f"{t}: against onnxruntime", "geometric mean")) == (pytest.approx(1.5), None, None)
        assert values.pop((f"{t}: against onnxruntime", "least")) == (pytest.approx(1.5), 1.0, True)
        assert values.pop((f"{t}: norm-wise error", "most")) == (pytest.approx(4e-6), 1e-5, True)
    assert values == {
        (f"{start}, compiling", "median"): (4.0, 2.5, False),
        (f"{start}, from the disk cache", "median"): (1.0, 0.3, False),
        (f"{start}, saved with its machine code", "median"): (0.25, 0.3, True),
        (f"{start}, in onnxruntime", "median"): (0.5, None, None),
        ("resnet50, resident memory of convmat", "median"): (300 << 20, None, None),
        ("resnet50, resident memory of onnxruntime", "median"): (100 << 20, None, None),
        ("resnet50, resident memory, in that of onnxruntime", "median"): (3.0, 1.0, False),
        ("resnet50, peak memory of convmat", "median"): (400 << 20, None, None),
        ("resnet50, peak memory of onnxruntime", "median"): (200 << 20, None, None),
        ("resnet50, peak memory, in that of onnxruntime", "median"): (2.0, 1.0, False),
    }


def test_some_networks_say_nothing_of_the_mean() -> None:
    run = by_hand()
    goals = {
        g.text: g for g in netgoals.goals(replace(run, measured=run.measured[:2])) if "mean" in g.statistic
    }
    goal: Goal = goals["1 thread: against the fastest peer"]
    assert (goal.over, goal.of, goal.met) == (2, 40, None)


def test_the_page(golden: Callable[[str, str], None], tmp_path: Path) -> None:
    run = by_hand().without_samples()
    golden("bench-networks-page.md", page.page(run))
    written = page.publish(replace(run, peaks={}), tmp_path)
    assert [path.name for path in written] == ["benchmarks-networks.md", "benchmarks-networks.json"]


@pytest.mark.parametrize("name", ["keywords", "pose"])
def test_a_kind_is_the_network_that_it_says(name: str, tmp_path: Path) -> None:
    """Its file is read, and convmat's answer is that of the graph in float64."""
    file = netjobs.written(name, tmp_path)
    job = NetJob(name, shape=netjobs.NETS[name].shape, file=str(file))
    ready = peers.peer("convmat").load(job, *given(job))
    assert NetTruth(job).error(ready.answer()) < 1e-5

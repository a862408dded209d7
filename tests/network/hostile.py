"""Mutated models, run in a process of its own: `python -m tests.network.hostile FIRST COUNT`.

Prints a JSON line for each model that gave neither an answer nor a NetworkError, then how many gave which. Memory is
limited, and so is the time for each model: what takes longer is a hang.
"""

from __future__ import annotations

import json
import math
import random
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx

import convmat
from tests.network.made import model, node, normal

ADDRESSES = 6 * 2**30
"""Bytes of addresses that the process may take: libraries, threads and caches use most of two of them."""

VALUE = 2**22
"""`memory_limit` of the models: bytes of a value."""

SECONDS = 20
"""Of processor time, which a busy machine does not shorten; the test stops what sleeps for good."""

NUMBERS = (
    -(2**63),
    -(2**31),
    -7,
    -2,
    -1,
    0,
    1,
    2,
    3,
    5,
    13,
    255,
    2**16,
    2**31 - 1,
    2**31,
    2**40,
    2**62,
    2**63 - 1,
)
OPERATORS = (
    "Add", "AveragePool", "BatchNormalization", "Bernoulli", "Cast", "CenterCropPad", "Clip", "Col2Im",
    "Concat", "ConstantOfShape", "Conv", "ConvTranspose", "CumSum", "DeformConv", "DepthToSpace", "Div",
    "Dropout", "Einsum", "Expand", "EyeLike", "Flatten", "Gather", "Gemm", "GlobalAveragePool", "GridSample",
    "HannWindow", "If", "InstanceNormalization", "LayerNormalization", "LpPool", "LRN", "MatMul", "MaxPool",
    "MaxUnpool", "Mod", "Mul", "NonZero", "OneHot", "Pad", "Pow", "PRelu", "RandomNormalLike", "Range",
    "ReduceMean", "Relu", "Reshape", "Resize", "ReverseSequence", "RoiAlign", "ScatterND", "Shape", "Sigmoid",
    "Slice", "Softmax", "SpaceToDepth", "Split", "Squeeze", "Sub", "Tile", "TopK", "Transpose", "Trilu",
    "Unsqueeze", "Upsample", "Where",
)  # fmt: skip


def body(inputs: str, nodes: list[Any], outputs: str) -> Any:
    """A graph for an attribute."""
    untyped = [
        [onnx.helper.make_empty_tensor_value_info(n) for n in each.split()] for each in (inputs, outputs)
    ]
    return onnx.helper.make_graph(nodes, "body", *untyped)


def bodies() -> bytes:
    """A Loop, an If and a Scan, one behind the other, then what waits for a shape."""
    turn = body(
        "i go a",
        [
            node("Conv", "a w", "c", pads=[1, 1]),
            node("ReduceMean", "c", "m", keepdims=0),
            node("Less", "m hi", "on"),
        ],
        "on c m",
    )
    sums = body("s r", [node("Add", "s r", "t")], "t t")
    return model(
        [
            node("Loop", "n yes x", "l means", body=turn),
            node("Shape", "l", "s"),
            node("Size", "s", "rank"),
            node("Equal", "rank n", "three"),
            node("If", "three", "f", then_branch=body("", [node("Neg", "l", "b")], "b"),
                 else_branch=body("", [node("Squeeze", "l", "b")], "b")),
            node("Scan", "zero f", "last all", body=sums, num_scan_inputs=1, scan_input_axes=[2]),
            node("NonZero", "last", "places"),
            node("Gather", "all at", "g", axis=0),
            node("SplitToSequence", "g", "parts", axis=0),
            node("ConcatFromSequence", "parts", "y", axis=0),
        ],
        {"x": (1, 2, 9)},
        "y means places",
        {"n": np.array(3), "yes": np.array(True), "w": normal(2, 2, 3) / 4, "hi": np.float32(9),
         "zero": np.zeros((1, 2), np.float32), "at": np.array([0])},
    )  # fmt: skip


def models() -> list[Any]:
    """Small networks of the shapes that real ones have."""
    i = np.array
    return [
        onnx.load_from_string(each)
        for each in (
            bodies(),
            model(
                [
                    node("Conv", "x w b", "a", strides=[2, 2], pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
                    node("BatchNormalization", "a s s b s", "n"),
                    node("Relu", "n", "r"),
                    node("Conv", "r d -", "e", group=8, auto_pad="SAME_UPPER", dilations=[2, 1]),
                    node("Clip", "e lo hi", "c"),
                    node("Add", "c r", "t"),
                    node("MaxPool", "t", "p", kernel_shape=[2, 2], strides=[2, 2]),
                    node("GlobalAveragePool", "p", "g"),
                    node("Flatten", "g", "f"),
                    node("Gemm", "f v", "l", alpha=0.5, transB=1),
                    node("Softmax", "l", "y", axis=1),
                ],
                {"x": ("n", 3, 12, 12)},
                "y",
                {"w": normal(8, 3, 3, 3), "b": normal(8), "s": np.abs(normal(8)), "d": normal(8, 1, 3, 3),
                 "v": normal(5, 8), "lo": np.float32(0), "hi": np.float32(6)},
            ),
            model(
                [
                    node("Shape", "x", "s"),
                    node("Slice", "s two four", "hw"),
                    node("Mul", "hw twice", "hw2"),
                    node("Concat", "nc hw2", "sizes", axis=0),
                    node("Resize", "x - - sizes", "z", mode="linear"),
                    node("Pad", "z pads zero", "p", mode="constant"),
                    node("ConvTranspose", "p w", "u", strides=[2, 2], output_padding=[1, 1]),
                    node("Transpose", "u", "t", perm=[0, 2, 3, 1]),
                    node("Reshape", "t to", "q"),
                    node("ReduceMean", "q", "m", axes=[1], keepdims=1),
                    node("Sub", "q m", "y"),
                ],
                {"x": (1, 2, 5, 6)},
                "y",
                {"two": i([2]), "four": i([4]), "twice": i([2, 2]), "nc": i([1, 2]), "zero": np.float32(0),
                 "pads": i([0, 0, 1, 0, 0, 0, 0, 2]), "w": normal(2, 4, 3, 3), "to": i([0, -1, 4])},
            ),
            model(
                [
                    node("Split", "x", "a b", axis=1, num_outputs=2),
                    node("Transpose", "b", "bt", perm=[0, 2, 1]),
                    node("MatMul", "a bt", "ab"),
                    node("Sigmoid", "ab", "sg"),
                    node("Mul", "ab sg", "h"),
                    node("Gather", "h at", "g", axis=1),
                    node("Squeeze", "g one", "q"),
                    node("Expand", "q to", "e"),
                    node("Where", "yes e zero", "y"),
                    node("TopK", "q k", "top which", axis=-1),
                ],
                {"x": (2, 8, 6)},
                "y top which",
                {"at": i([1]), "one": i([1]), "to": i([3, 2, 4]), "yes": i([True, False, True, True]),
                 "zero": np.float32(0), "k": i([2])},
                opset=18,
            ),
            model(
                [
                    node("Unsqueeze", "x axes", "i"),
                    node("Conv", "i w", "c", pads=[3, 3], strides=[2]),
                    node("LeakyRelu", "c", "l", alpha=0.1),
                    node("AveragePool", "l", "p", kernel_shape=[3], auto_pad="SAME_LOWER"),
                    node("Cast", "p", "o", to=1),
                    node("Pow", "o two", "o2"),
                    node("ReduceSum", "o2 last", "r", keepdims=0),
                    node("ConstantOfShape", "shape", "k"),
                    node("Div", "r k", "y"),
                ],
                {"x": (2, 40)},
                "y",
                {"axes": i([1]), "w": normal(4, 1, 7), "two": np.float32(2), "last": i([2]), "shape": i([2, 4])},
            ),
        )
    ]  # fmt: skip


# -- mutations ---------------------------------------------------------------------------------------------------------


def flipped(data: bytes, rng: random.Random) -> bytes:
    made = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        made[rng.randrange(len(made))] ^= 1 << rng.randrange(8)
    return bytes(made)


def cut(data: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.5:
        return data[: rng.randrange(len(data))]
    first, length = rng.randrange(len(data)), rng.randrange(1, 40)
    return (
        data[:first]
        + (data[first : first + length] * 2 if rng.random() < 0.5 else b"")
        + data[first + length :]
    )


def edit(proto: Any, rng: random.Random) -> None:
    """One field set to what it should not be."""
    if proto.graph.initializer and proto.graph.node and proto.graph.input and proto.graph.output:
        rng.choice(EDITS)(proto.graph, rng)
    if rng.random() < 0.05:
        proto.opset_import[0].version = rng.choice((1, 6, 7, 9, 11, 13, 20, 25, 1000))


def _dims(graph: Any, rng: random.Random) -> None:
    tensor = rng.choice(graph.initializer)
    if tensor.dims and rng.random() < 0.8:
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(NUMBERS)
    else:
        tensor.dims.append(rng.choice(NUMBERS))


def _kind(graph: Any, rng: random.Random) -> None:
    rng.choice(graph.initializer).data_type = rng.randrange(25)


def _values(graph: Any, rng: random.Random) -> None:
    """Other numbers in a constant; shapes, axes and sizes are constants too."""
    whole = [t for t in graph.initializer if t.data_type == onnx.TensorProto.INT64]
    tensor = rng.choice(whole or graph.initializer)
    if whole and len(tensor.raw_data) == 8 * math.prod(tensor.dims) > 0:
        values = onnx.numpy_helper.to_array(tensor).copy().ravel()
        values[rng.randrange(len(values))] = rng.choice(NUMBERS)
        tensor.raw_data = values.tobytes()
    else:
        tensor.raw_data = tensor.raw_data[: rng.randrange(len(tensor.raw_data) + 1)]


def _inside(graph: Any, rng: random.Random) -> None:
    """An edit of a graph in an attribute."""
    found = [a.g for n in graph.node for a in n.attribute if a.HasField("g") and a.g.node]
    if found:
        rng.choice((_attribute, _wiring, _operator))(rng.choice(found), rng)


def _missing(graph: Any, rng: random.Random) -> None:
    found = [each for each in (graph.initializer, graph.node, graph.input, graph.output) if each]
    if found:
        rng.choice(found).pop()


def _attribute(graph: Any, rng: random.Random) -> None:
    attributes = [a for n in graph.node for a in n.attribute]
    if not attributes:
        return
    found = rng.choice(attributes)
    way = rng.randrange(5)
    if way == 0:
        found.type = rng.randrange(15)
    elif way == 1 and found.ints:
        found.ints[rng.randrange(len(found.ints))] = rng.choice(NUMBERS)
    elif way == 2 and found.ints:
        found.ints.append(rng.choice(NUMBERS))
    elif way == 3:
        found.name = rng.choice(attributes).name
    else:
        found.i = rng.choice(NUMBERS)
        found.f = rng.choice((0.0, -1.0, float("nan"), float("inf"), 1e38))
        found.s = rng.choice((b"", b"SAME_UPPER", b"\xff\xfe", b"reflect", b"VALID"))


def _wiring(graph: Any, rng: random.Random) -> None:
    names = [
        *(t.name for t in graph.initializer),
        *(o for n in graph.node for o in n.output),
        "x",
        "",
        "nowhere",
    ]
    node = rng.choice(graph.node)
    side = rng.choice((node.input, node.input, node.output))
    if rng.random() < 0.2 and side:
        side.pop()
    elif rng.random() < 0.2 or not side:
        side.append(rng.choice(names))
    else:
        side[rng.randrange(len(side))] = rng.choice(names)


def _operator(graph: Any, rng: random.Random) -> None:
    rng.choice(graph.node).op_type = rng.choice(OPERATORS)


def _declared(graph: Any, rng: random.Random) -> None:
    kind = rng.choice(graph.input).type.tensor_type
    if rng.random() < 0.5:
        kind.elem_type = rng.randrange(25)
    elif kind.shape.dim:
        rng.choice(kind.shape.dim).dim_value = rng.choice((-1, 0, 1, 2, 7, 30))


def _twice(graph: Any, rng: random.Random) -> None:
    graph.node.append(rng.choice(graph.node))
    if rng.random() < 0.5:
        graph.node[-1].output[0] = "again"
    graph.output[0].name = rng.choice([*(o for n in graph.node for o in n.output), "x"])


Edit = Callable[[Any, random.Random], None]
EDITS: tuple[Edit, ...] = (
    _dims, _kind, _values, _values, _missing, _attribute, _attribute, _attribute, _wiring, _wiring, _operator,
    _operator, _declared, _twice, _inside,
)  # fmt: skip


def mutated(whole: list[Any], seed: int) -> bytes:
    """One model that is not what it was."""
    rng = random.Random(seed)
    proto = onnx.ModelProto()
    proto.CopyFrom(rng.choice(whole))
    if seed % 4 == 0:
        return flipped(proto.SerializeToString(), rng)
    if seed % 16 == 1:
        return cut(proto.SerializeToString(), rng)
    for _ in range(rng.choice((1, 1, 2, 3))):
        edit(proto, rng)
    return bytes(proto.SerializeToString())


# -- trying ------------------------------------------------------------------------------------------------------------


def attempt(data: bytes) -> str:
    """What became of a model: `answer`, or `error` where it was refused with a sentence."""
    try:
        net = convmat.load(data, memory_limit=VALUE)
        given = {}
        for each in net.inputs:
            shape = [n if isinstance(n, int) else 2 for n in each.shape or (2,)]
            if np.prod(shape, dtype=np.float64) > 1e5:
                return "large"
            given[each.name] = np.ones(shape, each.dtype)
        net(given)
    except convmat.NetworkError:
        return "error"
    return "answer"


class Late(BaseException):
    """A model took too long."""


def _late(*_: object) -> None:
    raise Late


def main(first: int, count: int) -> None:
    whole = models()
    for each in whole:
        assert attempt(each.SerializeToString()) == "answer"  # or all the others prove nothing
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    signal.signal(signal.SIGPROF, _late)
    counts: dict[str, int] = {}
    slowest = (0.0, -1)
    for seed in range(first, first + count):
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        start = time.perf_counter()
        try:
            found = attempt(mutated(whole, seed))
        except BaseException as error:  # what this looks for
            found = "failed"
            said = traceback.format_exc().strip().splitlines()
            print(json.dumps({"seed": seed, "error": type(error).__name__, "said": said[-14:]}), flush=True)
        signal.setitimer(signal.ITIMER_PROF, 0)
        slowest = max(slowest, (time.perf_counter() - start, seed))
        counts[found] = counts.get(found, 0) + 1
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"counts": counts, "slowest": slowest, "peak": most}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))

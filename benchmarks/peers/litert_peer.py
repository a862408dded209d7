"""LiteRT (TensorFlow Lite) with XNNPACK, its default on a CPU: a model of one layer, written here.

    x: (B, *I, C)  ->  [PAD]  ->  CONV_2D or DEPTHWISE_CONV_2D  ->  y: (B, *P, O)

CONV_2D takes filters as (O, *F, C/G), DEPTHWISE_CONV_2D as (1, *F, O). Its only paddings are SAME and VALID; any
other becomes a PAD before a VALID layer, which XNNPACK fuses into it. The file format's classes come with the package.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.jobs import Job
from benchmarks.netjobs import AnyJob
from benchmarks.peers.base import Array, Peer, Prepared, channels_last, channels_second, only_symmetric_2d
from convmat.errors import EngineError
from convmat.geometry import Geometry

_IDENTIFIER = b"TFL3"

Scales = tuple[Array, int, int]
"""Of a tensor of integers: its scales, its zero point, and the axis along which they lie."""


class LiteRT(Peer):
    """An interpreter with the default delegate; the model's weights are packed when it is made."""

    name = "litert"
    library = "litert"
    about = "NHWC (XNNPACK), weights packed at load, input and output memory reused"

    def version(self) -> str:
        """The package's; its `__init__` tells none."""
        from importlib.metadata import version

        import ai_edge_litert.interpreter  # noqa: F401  # asked for here so that it is reported as missing

        return version("ai-edge-litert")

    def refuses(self, job: AnyJob) -> str | None:
        """Images with equal padding on both sides alone."""
        return super().refuses(job) or only_symmetric_2d(job)

    def prepare(self, job: Job, a: Array, b: Array) -> Prepared:
        """Model, interpreter, input. Raises EngineError if XNNPACK did not take the whole model."""
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_content=model(job.geometry, b), num_threads=job.threads)
        interpreter.allocate_tensors()
        kinds = [each["op_name"] for each in interpreter._get_ops_details()]
        if kinds[-1:] != ["DELEGATE"]:
            raise EngineError(
                f"bench: LiteRT runs this layer without XNNPACK\n  its operations: {', '.join(kinds)}\n"
                "  a build of ai-edge-litert with XNNPACK is needed"
            )
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], channels_last(a))
        y = interpreter.get_output_details()[0]["index"]

        def answer() -> Array:
            interpreter.invoke()
            return channels_second(interpreter.get_tensor(y))

        return Prepared(interpreter.invoke, answer)


@dataclass(frozen=True)
class Steps:
    """Of a layer of int8: scale and zero point of x, scales of w for each channel of y, y's, and an int32 bias."""

    x: float
    x_zero: int
    w: Array
    y: float
    y_zero: int
    bias: Array


def model(g: Geometry, w: Array, steps: Steps | None = None) -> bytes:
    """One layer as a .tflite file, of float32 or with `steps` of int8; w: (O, C//G, *F)."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    depthwise = g.G == g.C and g.C > 1
    filters = np.moveaxis(w, 1, -1) if not depthwise else w.reshape(g.O, *g.F).transpose(1, 2, 0)[None]
    same = _is_same(g)
    graph, kind = _Graph(schema), w.dtype.name.upper()
    x_steps = None if steps is None else (np.full(1, steps.x), steps.x_zero, 0)
    x = graph.tensor("x", (g.B, *g.I, g.C), kind, x_steps)
    graph.inputs.append(x)
    if not same and any((*g.lo, *g.hi)):
        paddings = np.array([(0, 0), *zip(g.lo, g.hi, strict=True), (0, 0)], np.int32)
        wide = tuple(lo + i + hi for lo, i, hi in zip(g.lo, g.I, g.hi, strict=True))
        padded = graph.tensor("padded", (g.B, *wide, g.C), kind, x_steps)
        graph.add("PAD", schema.PadOptionsT(), [x, graph.constant("paddings", paddings)], padded)
        x = padded
    y_steps = None if steps is None else (np.full(1, steps.y), steps.y_zero, 0)
    y = graph.tensor("y", (g.B, *g.P, g.O), kind, y_steps)
    options = schema.DepthwiseConv2DOptionsT() if depthwise else schema.Conv2DOptionsT()
    options.padding = schema.Padding.SAME if same else schema.Padding.VALID
    options.strideH, options.strideW = g.s
    options.dilationHFactor, options.dilationWFactor = g.d
    if depthwise:
        options.depthMultiplier = g.m
    if steps is None:
        bias = graph.constant("bias", np.zeros(g.O, np.float32))
        weights = graph.constant("w", np.ascontiguousarray(filters))
    else:
        bias = graph.constant("bias", steps.bias, (steps.w * steps.x, 0, 0))
        weights = graph.constant("w", np.ascontiguousarray(filters), (steps.w, 0, 3 * depthwise))
    graph.add("DEPTHWISE_CONV_2D" if depthwise else "CONV_2D", options, [x, weights, bias], y)
    graph.outputs.append(y)
    builder = flatbuffers.Builder(w.nbytes + 4096)
    builder.Finish(graph.model().Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())


def _is_same(g: Geometry) -> bool:
    """Whether this padding is what the format means by SAME."""
    total = [max((-(-i // s) - 1) * s + reach - i, 0) for i, s, reach in zip(g.I, g.s, g.reach, strict=True)]
    return all(lo == t // 2 and hi == t - t // 2 for lo, hi, t in zip(g.lo, g.hi, total, strict=True))


class _Graph:
    """Tensors, buffers and operators, numbered as they are added."""

    def __init__(self, schema: Any) -> None:
        self._schema = schema
        self._tensors: list[Any] = []
        self._buffers = [schema.BufferT()]  # number 0 is by convention empty: the buffer of what is computed
        self._codes: list[Any] = []
        self._operators: list[Any] = []
        self.inputs: list[int] = []
        self.outputs: list[int] = []

    def tensor(
        self, name: str, shape: tuple[int, ...], kind: str, steps: Scales | None = None, buffer: int = 0
    ) -> int:
        made = self._schema.TensorT()
        made.name, made.shape, made.buffer = name, list(shape), buffer
        made.type = getattr(self._schema.TensorType, kind)
        if steps is not None:
            scales, zero, axis = steps
            made.quantization = self._schema.QuantizationParametersT()
            made.quantization.scale, made.quantization.quantizedDimension = [*map(float, scales)], axis
            made.quantization.zeroPoint = [zero] * len(scales)
        self._tensors.append(made)
        return len(self._tensors) - 1

    def constant(self, name: str, array: Array, steps: Scales | None = None) -> int:
        buffer = self._schema.BufferT()
        buffer.data = np.frombuffer(array.tobytes(), np.uint8)
        self._buffers.append(buffer)
        return self.tensor(name, array.shape, array.dtype.name.upper(), steps, len(self._buffers) - 1)

    def add(self, kind: str, options: Any, inputs: list[int], output: int) -> None:
        code = self._schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(self._schema.BuiltinOperator, kind)
        code.version = 1
        self._codes.append(code)
        made = self._schema.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = len(self._codes) - 1, inputs, [output]
        made.builtinOptions = options
        made.builtinOptionsType = getattr(
            self._schema.BuiltinOptions, type(options).__name__.removesuffix("T")
        )
        self._operators.append(made)

    def model(self) -> Any:
        graph = self._schema.SubGraphT()
        graph.name, graph.tensors, graph.operators = "layer", self._tensors, self._operators
        graph.inputs, graph.outputs = self.inputs, self.outputs
        made = self._schema.ModelT()
        made.version, made.description = 3, "one convolution"
        made.operatorCodes, made.subgraphs, made.buffers = self._codes, [graph], self._buffers
        return made


PEERS: tuple[Peer, ...] = (LiteRT(),)

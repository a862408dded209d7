"""Network: a graph ready to be called with arrays."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..doors import open_room, open_room_of_arrays
from ..errors import NetworkError
from .calls import CalledGraph
from .graph import Array, Graph, Input, Spec

if TYPE_CHECKING:
    from ..planner import Record
    from .input_shapes import Extents
    from .preparing.sharing import Shared
    from .reports.compare import Comparison
    from .reports.profile import Profile
    from .reports.summary import Memory, Summary


OTHERS = 8
"""The same network with other outputs: how many of those that calls asked for are kept."""


class Network(CalledGraph):
    """A convolutional network. Call it with its input, or with a dict of its inputs by name.

    It prepares itself for the shapes that it is called with (plans, packed weights, memory) and keeps what it
    prepared. May be called from several threads at once.

    >>> import convmat, onnx
    >>> text = '<ir_version: 8, opset_import: ["": 17]> g (float[n,2] a, float[2] b) => (y) { y = Mul(a, b) }'
    >>> net = convmat.load(onnx.parser.parse_model(text).SerializeToString())
    >>> print(*net.inputs, sep="; ")
    a: float32 nx2; b: float32 2
    >>> net({"a": np.ones((1, 2), np.float32), "b": np.array([3, 4], np.float32)})
    array([[3., 4.]], dtype=float32)
    """

    tiles: tuple[Any, Any] | None = None
    """What `tiled` prepared last, and what it was asked."""

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy and a pickle hold the graph and what it was loaded with, and prepare themselves anew."""
        made = (self.graph, self.options, self.memory_limit, self._rules(), self.choices)
        return Network, made, {"source": self.source}

    def __repr__(self) -> str:
        nodes = len(self.graph.nodes)
        inputs, outputs = ", ".join(map(str, self.inputs)), ", ".join(self.outputs)
        return f"<Network {inputs} -> {outputs}: {nodes} node{'' if nodes == 1 else 's'}>"

    @property
    def inputs(self) -> tuple[Input, ...]:
        """What it takes: names, element types and declared extents."""
        return self.graph.inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of what it gives."""
        return self.graph.outputs

    def __call__(self, x: Any, outputs: Sequence[str] | None = None) -> Any:
        """An array if the network has one output, else a dict by name. Raises NetworkError.

        Sequences are lists of arrays, here as in `x` (those of maps, lists of dicts); an optional without a value is
        None.

        `outputs`: names of any values of the network, or of nodes for what they write first; the answer is then a
        dict by these names. What stands between two nodes that run as one is computed apart for it.
        """
        if outputs is not None:
            from .inputs import find_values

            wanted = find_values(self.graph, outputs)
            values = self._with_outputs(tuple(dict.fromkeys(wanted)))._run(x)
            return {given: values[name] for given, name in zip(outputs, wanted, strict=True)}
        found = self._run_again(x)
        if found is None:
            lazy = open_room_of_arrays(*(x.values() if isinstance(x, Mapping) else (x,)))
            if lazy is not None:
                return lazy.run(self, x)
            found = self._run(x)
        names = tuple(found) if self._graph is None else self._graph.outputs
        return found[names[0]] if len(names) == 1 else found

    # -- training ------------------------------------------------------------------------------------------------------

    def trainer(self, **words: Any) -> Any:
        """What changes its parameters by examples: see `convmat.train.Trainer`, which has the keywords.

        >>> from convmat import nn, train
        >>> trainer = nn.lenet().trainer(loss="cross_entropy", optimiser=train.SGD(0.05, momentum=0.9))
        >>> x = np.zeros((2, 1, 28, 28), np.float32)
        >>> trainer.step(x, np.array([3, 3])) > trainer.step(x, np.array([3, 3]))
        True
        """
        return open_room("train").Trainer(self, **words)

    # -- larger than memory --------------------------------------------------------------------------------------------

    def tiled(
        self,
        x: Any,
        *,
        tile: int | str | Sequence[int] | None = None,
        memory: int | None = None,
        same_bits: bool = False,
        approximate: bool = False,
        exact_globals: bool = False,
        progress: Callable[[int, int], object] | None = None,
    ) -> Array:
        """What a call gives, computed in tiles of the output: each from just the part of x that it looks at.

        x: an array, or what is sliced like one (a memory map, a Zarr array); several inputs by name. `tile`: pixels of
        a tile along each axis, or "auto": as many as help and keep the process within `memory` bytes (None: a quarter
        of what is free). Padding is where the image's border is and nowhere else, so tiles fit together without seams.

        What looks at the whole image is refused with its name. `exact_globals`: global pooling is computed first, in
        passes over the tiles (`plan_tiles` says how many, and what they take), which keep values for later ones in the
        folder for temporary files. `approximate`: each tile counts for a whole image there. `progress` is told tiles
        done and all tiles. Tiles run in the way that is planned for the whole: on the jit engine the bits are those of
        a call, but for Winograd's products, which agree to rounding. `same_bits`: those too, for more work at the
        seams. What the last call prepared is kept for the next one that asks the same of inputs of the same shapes.
        Raises NetworkError or PlanError.

        >>> import convmat, onnx
        >>> text = '<ir_version: 8, opset_import: ["": 17]> g (float[1,1,n] x, float[1,1,3] w) => (y) { y = Conv(x,w) }'
        >>> net = convmat.load(onnx.parser.parse_model(text).SerializeToString())
        >>> x, w = np.arange(10, dtype=np.float32).reshape(1, 1, 10), np.ones((1, 1, 3), np.float32)
        >>> net.tiled({"x": x, "w": w}, tile=3)[0, 0]
        array([ 3.,  6.,  9., 12., 15., 18., 21., 24.], dtype=float32)
        """
        from .inputs import read_numbers

        chunks = open_room("chunks")
        options = chunks.TileOptions(read_numbers(tile), memory, same_bits, approximate, exact_globals)
        made: Array = chunks.run_tiled(self, x, options, progress)
        return made

    def plan_tiles(
        self,
        x: Any,
        *,
        tile: int | str | Sequence[int] | None = None,
        memory: int | None = None,
        same_bits: bool = False,
        approximate: bool = False,
        exact_globals: bool = False,
    ) -> Any:
        """What `tiled` with the same keywords would do: its tiles, and the passes before them. Print it.

        It says how many multiplications there are beside those of a call, and what passes keep on disk. Only the shape
        and the element type of x are looked at. Raises NetworkError or PlanError.

        >>> import convmat, onnx
        >>> text = '<ir_version: 8, opset_import: ["": 17]> g (float[1,1,n] x, float[1,1,3] w) => (y) { y = Conv(x,w) }'
        >>> net = convmat.load(onnx.parser.parse_model(text).SerializeToString())
        >>> print(net.plan_tiles({"x": np.ones((1, 1, 1002), np.float32), "w": np.ones((1, 1, 3), "f4")}, tile=100))
        10 tiles of 1x1x100 of y 1x1x1000, about 1.992 KiB each; 1.00 times the multiplications of the whole
        """
        from .inputs import read_numbers

        chunks = open_room("chunks")
        options = chunks.TileOptions(read_numbers(tile), memory, same_bits, approximate, exact_globals)
        return chunks.plan_tiles(self, x, options)

    def stream(self, axis: int = 2) -> Any:
        """The network fed block by block along an axis of its input, 2 for (B, C, T): a `convmat.Stream`.

        `push` gives what can be computed with each block, `flush` the rest; together they are what a call with the
        whole gives. Every node carries over what its next outputs read. Raises NetworkError, naming the node, where
        something looks at all of the axis.

        >>> import convmat, onnx
        >>> text = '<ir_version: 8, opset_import: ["": 17]> g (float[1,1,n] x) => (y)'
        >>> text += ' { y = AveragePool <kernel_shape = [2], strides = [2]> (x) }'
        >>> stream = convmat.load(onnx.parser.parse_model(text)).stream()
        >>> [stream.push(np.ones((1, 1, n), np.float32)).shape for n in (1, 2, 3)], stream.latency
        ([(1, 1, 0), (1, 1, 1), (1, 1, 2)], 1)
        """
        return open_room("chunks").NetworkStream(self, axis)

    def receptive_field(self) -> tuple[Any, ...]:
        """How far each output looks into each input: reach, stride and offset along every pixel axis.

        Output p of an axis looks at `reach` inputs, from about p*stride + offset on, in an image so large that no
        border cuts windows off. Print one. Raises NetworkError.

        >>> import convmat, onnx
        >>> text = '<ir_version: 8, opset_import: ["": 17]> g (float[1,1,n] x, float[1,1,3] w) => (y) { y = Conv(x,w) }'
        >>> net = convmat.load(onnx.parser.parse_model(text).SerializeToString())
        >>> print(net.receptive_field()[0])
        y <- x: 3 (stride 1, from 0)
        """
        found: tuple[Any, ...] = open_room("chunks").receptive_field(self)
        return found

    # -- saving --------------------------------------------------------------------------------------------------------

    def save(
        self,
        path: str | os.PathLike[str],
        shapes: Mapping[str, int | Extents] | Sequence[Mapping[str, int | Extents]] | None = None,
    ) -> None:
        """Write the network to a file that `convmat.load` reads without onnx, and runs without compiling.

        `shapes`: those that it is prepared for, as `with_shapes` takes them, or several of them in a list; None: those
        it was called with, else the declared ones; (): none. Any others run as well, once their kernels are compiled.
        Beside the graph and its weights the file has the choices of the plans and the kernels, for this CPU and number
        of threads; who loads it says `trust=True` for these to be run. Raises NetworkError.

        >>> import convmat, onnx, tempfile
        >>> text = '<ir_version: 8, opset_import: ["": 17]> g (float[n] x) => (float[n] y) { y = Relu(x) }'
        >>> net = convmat.load(onnx.parser.parse_model(text).SerializeToString())
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     net.save(f"{folder}/relu.convmat", {"n": 2})
        ...     convmat.load(f"{folder}/relu.convmat", trust=True)(np.array([-1.0, 2.0], np.float32))
        array([0., 2.], dtype=float32)
        """
        from .files import save
        from .files.contents import Contents
        from .input_shapes import declared_specs, override_shapes, random_inputs

        if shapes is None:
            wanted = self._programs.met or [declared_specs(self.graph, "save", limit=self.memory_limit)]
        else:
            several = [shapes] if isinstance(shapes, Mapping) else shapes
            graphs = (override_shapes(self.graph, each) for each in several)
            wanted = [declared_specs(each, "save", limit=self.memory_limit) for each in graphs]

        def run(specs: Mapping[str, Spec], record: Record) -> None:
            made = self._programs.prepare(specs, record)
            with suppress(NetworkError):  # it may need inputs that are not random
                made(random_inputs(specs))
            made.go_deep()

        save.save(Path(path), Contents(self.graph, self.options, self._rules()), run, wanted)

    def to_onnx(self, path: str | os.PathLike[str]) -> None:
        """Write the network as an ONNX file, checked by the onnx package. Raises NetworkError and PlanError.

        >>> import convmat, tempfile
        >>> net = convmat.nn.lenet()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     net.to_onnx(f"{folder}/lenet.onnx")
        ...     again = convmat.load(f"{folder}/lenet.onnx")
        >>> x = np.ones((1, 1, 28, 28), np.float32)
        >>> bool((again(x) == net(x)).all())
        True
        """
        from .files import to_onnx

        to_onnx.write(path, self.graph)

    # -- seeing --------------------------------------------------------------------------------------------------------

    def with_shapes(
        self, shapes: Mapping[str, int | Extents] | None = None, /, **more: int | Extents
    ) -> Network:
        """The same network with other declared shapes, which `summary`, `memory` and `profile` go by.

        A name is that of an input (`x=(1, 3, 224, 224)`) or a word that stands for an extent (`batch=1`); those that
        are no words of Python go into a dict. Calls take whatever fits, as before. Raises NetworkError.

        >>> import convmat, onnx
        >>> text = '<ir_version: 8, opset_import: ["": 17]> g (float[n,m] x) => (float[n,m] y) { y = Relu(x) }'
        >>> net = convmat.load(onnx.parser.parse_model(text).SerializeToString())
        >>> print(*net.with_shapes(n=2, m=5).inputs)
        x: float32 2x5
        """
        from .input_shapes import override_shapes

        return self._around(override_shapes(self.graph, {**(shapes or {}), **more}))

    def summary(self) -> Summary:
        """Its nodes for the declared shapes: their products, ways, parameters and predicted times. Print it.

        Raises NetworkError where an extent is left open: `with_shapes` fills it in.
        """
        from ..engine import thread_pool
        from .input_shapes import declared_specs
        from .reports.summary import summarise

        program = self.program(declared_specs(self.graph, "summary", limit=self.memory_limit))
        return summarise(program, thread_pool.count(), self.receptive_field())

    def memory(self) -> Memory:
        """Bytes of weights, arena and peak for the declared shapes, beside the unrolled inputs. Raises NetworkError."""
        from .input_shapes import declared_specs
        from .reports.summary import summarise_memory

        return summarise_memory(self.program(declared_specs(self.graph, "memory", limit=self.memory_limit)))

    def profile(self, x: Any = None, seconds: float = 1.0) -> Profile:
        """Measured seconds of each node, in calls for about so many seconds; on random inputs where x is None.

        Raises NetworkError.
        """
        from ..engine import thread_pool
        from .input_shapes import declared_specs, random_inputs
        from .reports.profile import profile

        given = (
            random_inputs(declared_specs(self.graph, "profile", limit=self.memory_limit))
            if x is None
            else self.inputs_of(x)
        )
        return profile(self._prepare(given), given, thread_pool.count(), seconds)

    def compare(self, x: Any = None, peer: str = "onnxruntime", seconds: float = 1.0) -> Comparison:
        """Outputs and times of this network beside the peer's on the same input; random where x is None.

        Raises NetworkError where the peer is not installed or refuses the model.
        """
        from ..engine import thread_pool
        from .input_shapes import declared_specs, random_inputs
        from .reports.compare import compare

        given = (
            random_inputs(declared_specs(self.graph, "compare", limit=self.memory_limit))
            if x is None
            else self.inputs_of(x)
        )
        program = self._prepare(given)

        def run() -> dict[str, Array]:
            return {name: y for name, y in program(given).items() if isinstance(y, np.ndarray)}

        return compare(run, self.source, given, self.outputs, peer, thread_pool.count(), seconds)

    def _around(self, graph: Graph, shared: Shared | None = None) -> Network:
        """The same network around another graph; nothing prepared is shared but what is said to be."""
        made = Network(graph, self.options, self.memory_limit, self.rules, self.choices, shared)
        made.source = self.source
        return made

    def _with_outputs(self, outputs: tuple[str, ...]) -> Network:
        """The network with other outputs; the latest few are kept."""
        with self._lock:
            found = self._others.pop(outputs, None) or self._around(replace(self.graph, outputs=outputs))
            self._others[outputs] = found
            while len(self._others) > OTHERS:
                self._others.popitem(last=False)
            return found

"""ONNX files, believed in nothing: a Graph, or a NetworkError that says why not.

Models that have nothing unusual in them are read without the onnx package, all others with it.

Checked here: that the bytes are a model, its operator sets, that every operator is known and computed, that names are
written once and that some order writes each before it is read; its values are those of `values`. What a node's shapes
and attributes allow is checked when it is prepared.
"""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import NetworkError
from ..graph import Array, Graph, Input, Node, captured_names
from ..ops.held import list_refused
from . import foreign, values, wire
from .ahead import ReadAhead
from .known import KnownGraphs, Parted
from .messages import read_model
from .package import parse_model, require_graph, require_onnx
from .sources import Source, open_source
from .usual import USUAL, NeedsPackage
from .values import Values, all_graphs, all_nodes, captured_values, graphs, shorten_error, tensors
from .wire import Place, Unclear

STANDARD = {"": "ai.onnx", "ai.onnx": "ai.onnx", "ai.onnx.ml": "ai.onnx.ml"}
"""The domains whose operators the standard defines."""

OLDEST = 6
"""The first operator set that is read."""

MOST_NODES = 1_000_000

MOST_DEPTH = 24
"""Bodies within bodies."""


def read_graph(source: Source, readings: KnownGraphs | None = None) -> Graph:
    """The graph of an ONNX file, or of the bytes of one, perhaps from earlier `readings`. Raises NetworkError."""
    with open_source(source) as (name, folder, stream, size):
        parted = _part(stream, size)
        ahead = None if parted is None else ReadAhead.start(stream, parted[1])
        try:
            if parted is not None and readings is not None:
                known = readings.find(parted, ModelReader(None, name, folder, stream, parted[1], ahead))
                if known is not None:
                    return known
            usual = _read_usual(name, folder, stream, parted, ahead)
            if usual is not None:
                return usual
            onnx = require_onnx()
            model, places, apart = _model(onnx, stream, parted)
            reader = ModelReader(onnx, name, folder, stream, places, ahead if apart else None)
            graph = reader.graph(require_graph(model, name, size))
            if parted is not None and apart and readings is not None and reader.told:
                readings.add(parted, graph, reader)
            return graph
        finally:
            if ahead is not None:
                ahead.close()


def _read_usual(
    name: str, folder: Path | None, stream: io.BufferedIOBase, parted: Parted | None, ahead: ReadAhead | None
) -> Graph | None:
    """The graph of a model that has nothing unusual in it, and nothing wrong, read without the onnx package."""
    if parted is None:
        return None
    places = parted[1]
    try:
        model: Any = read_model(parted[0])
        odd = not model.HasField("graph") or not model.opset_import or model.functions
        if odd or len(places) != len(model.graph.initializer):
            return None
        return ModelReader(USUAL, name, folder, stream, places, ahead).graph(model)
    except (Unclear, NeedsPackage, NetworkError):  # the package says what is wrong, or nothing is
        return None


def read_whole(source: str | os.PathLike[str] | bytes) -> Any:
    """The model as the onnx package has it, for others to read: after all checks, external data in it.

    Raises NetworkError.
    """
    onnx = require_onnx()
    with open_source(source) as (name, folder, stream, size):
        stream.seek(0)
        model = require_graph(parse_model(onnx, stream.read()), name, size)
    reader = ModelReader(onnx, name, folder, places=[None] * len(model.graph.initializer))
    if len(model.functions):
        model = reader.inline(model)
        reader.places = [None] * len(model.graph.initializer)
    reader.graph(model)
    for tensor in tensors(model.graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            array = reader.tensor(tensor, f"the tensor {tensor.name!r}")
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    return model


def _part(stream: io.BufferedIOBase, size: int) -> Parted | None:
    """The bytes of a model without raw data, and where these are; None where the bytes are no model."""
    with suppress(wire.Unclear):
        return wire.part_raw_data(stream, size)
    return None


def _model(
    onnx: Any, stream: io.BufferedIOBase, parted: Parted | None
) -> tuple[Any, Sequence[Place | None], bool]:
    """The model, without raw data where that is told, and where these are; None where the bytes are no model."""
    if parted is not None:
        data, places = parted
        model = parse_model(onnx, data)
        # What replaces functions by their nodes is to find all of the model.
        if model is not None and len(places) == len(model.graph.initializer) and not len(model.functions):
            return model, places, True
    stream.seek(0)
    model = parse_model(onnx, stream.read())
    return model, [None] * len(model.graph.initializer if model is not None else ()), False


class ModelReader(Values):
    """One model on its way to a Graph."""

    def graph(self, model: Any) -> Graph:
        """All checks, in the order in which their errors help most."""
        if len(model.functions):
            model = self.inline(model)
            self.places = [None] * len(model.graph.initializer)
        versions = self.versions(model)
        graph = model.graph
        self.refuse_many(graph)
        self.refuse_bytes(graph)
        self.refuse_unknown(graph, versions)
        self.refuse_unheld(graph, versions)
        self.refuse_hidden(graph)
        constants, nodes = self.parts(graph, versions, self.places)
        inputs = tuple(self.input(value) for value in graph.input if value.name not in constants)
        outputs = tuple(value.name for value in graph.output)
        self.named = bool(graph.name)
        made = self.connect(nodes, inputs, outputs, constants, graph.name or self.name)
        return made if self.whole else replace(made, whole=False)

    def body(self, graph: Any, versions: dict[str, int]) -> Graph:
        """The graph in an attribute of a node: what it reads of the values around it are further inputs."""
        constants, nodes = self.parts(graph, versions, [None] * len(graph.initializer))
        own, around = [value.name for value in graph.input], sorted(captured_values(graph))
        if len(set(own)) < len(own):
            raise self.error(f"two inputs of a body have the same name\n  its inputs: {', '.join(own)}")
        constants = {name: array for name, array in constants.items() if name not in own}
        inputs = tuple(Input(name, np.dtype(object), None) for name in (*own, *around))
        outputs = tuple(value.name for value in graph.output)
        made = self.connect(nodes, inputs, outputs, constants, graph.name)
        return replace(made, declared=tuple(map(self.read_output, graph.output)), captured=tuple(around))

    def parts(
        self, graph: Any, versions: dict[str, int], places: Sequence[Place | None]
    ) -> tuple[dict[str, Array], list[Node]]:
        """The constants and the nodes of a graph."""
        constants = self.initializers(graph.initializer, places)
        for sparse in graph.sparse_initializer:
            constants[sparse.values.name] = self.dense(sparse)
        nodes = []
        for proto in graph.node:
            if proto.op_type == "Constant" and proto.domain in ("", "ai.onnx") and len(proto.output) == 1:
                constants[proto.output[0]] = self.constant(proto)
            elif foreign.is_read(proto.domain, proto.op_type, versions[""]):
                spelt = self.spell(proto, versions, constants)
                self.told = False  # some are spelt by what their constants hold
                nodes += spelt.nodes
                constants |= spelt.constants
            else:
                nodes.append(self.node(proto, versions))
        return constants, nodes

    def connect(
        self,
        nodes: list[Node],
        inputs: tuple[Input, ...],
        outputs: tuple[str, ...],
        constants: dict[str, Array],
        name: str,
    ) -> Graph:
        """The graph of these, once every value that is read or given away is written, and once."""
        ordered = self.order_nodes(nodes, {each.name for each in inputs} | set(constants))
        there = {each.name for each in inputs} | set(constants) | {n for node in nodes for n in node.outputs}
        for output in outputs:
            if output not in there:
                raise self.error(f"nothing computes the output {output!r}")
        if not outputs:
            raise self.error("the graph has no outputs")
        return Graph(ordered, inputs, outputs, constants, name)

    def inline(self, model: Any) -> Any:
        """The model without functions of its own: each call is replaced by the function's nodes."""
        if circle := values.find_circle(model.functions):  # some versions of onnx end the process for it
            raise self.error(f"its functions call each other without end\n  {' <- '.join(circle)}")
        try:
            from onnx import inliner

            return inliner.inline_local_functions(model)
        except Exception as error:  # C++ behind it: whatever it says, the model is not one
            raise self.error(f"its functions cannot be inlined\n  {shorten_error(error)}") from None

    def versions(self, model: Any) -> dict[str, int]:
        """Which version of each domain's operators the model means."""
        newest = self.onnx.defs.onnx_opset_version()
        found = {each.domain: each.version for each in model.opset_import}
        main = found.get("", found.get("ai.onnx", newest))
        if not OLDEST <= main <= newest:
            fix = (
                "pip install --upgrade onnx"
                if main > newest
                else "convert it, e.g. with onnx.version_converter.convert_version(model, 13)"
            )
            raise self.error(
                f"its operators are of a set that is not read\n"
                f"  operator set {main}; {OLDEST} to {newest} are read\n  {fix}"
            )
        return found | {"": main, "ai.onnx": main}

    def refuse_many(self, graph: Any) -> None:
        """More nodes than are read, or bodies too deep within bodies: whoever walks them does so by recursion."""
        count, level = 0, [graph]
        for depth in itertools.count():
            count += sum(len(each.node) for each in level)
            if count > MOST_NODES:
                raise self.error(f"too many nodes\n  {count:,}, at most {MOST_NODES:,} are read")
            level = [inner for each in level for proto in each.node for inner in graphs(proto)]
            if not level:
                return
            if depth == MOST_DEPTH:
                raise self.error(
                    f"its bodies lie too deep within each other\n  at most {MOST_DEPTH} levels are read"
                )

    def refuse_bytes(self, graph: Any) -> None:
        """Names that are no text: protobuf hands those over as bytes."""
        for proto in all_nodes(graph):
            own = (proto.op_type, proto.domain, proto.name, *(each.name for each in proto.attribute))
            for name in (*own, *proto.input, *proto.output):
                if not isinstance(name, str):
                    raise self.error(f"a name in it is no text\n  {name!r} is not UTF-8")
        for each in all_graphs(graph):
            values = (*each.input, *each.output, *each.initializer)
            for name in (each.name, *(value.name for value in values)):
                if not isinstance(name, str):
                    raise self.error(f"a name in it is no text\n  {name!r} is not UTF-8")

    def refuse_hidden(self, graph: Any) -> None:
        """External data where only the standard's reference would read it, from wherever it says."""
        for proto in all_nodes(graph):
            kept = proto.op_type == "Constant"  # read here, with all checks, as initializers are
            own = () if kept else tensors(proto, inside=False)
            if any(t.data_location == self.onnx.TensorProto.EXTERNAL for t in own):
                label = f"{proto.op_type} {(proto.name or next(iter(proto.output), ''))!r}"
                raise self.error(
                    f"{label} keeps external data in an attribute\n"
                    f"  only initializers and Constant nodes may\n  save it within the model"
                )

    def refuse_unknown(self, graph: Any, versions: dict[str, int]) -> None:
        """All operators that nobody here knows, in one error."""
        missing: dict[str, int] = {}
        for proto in all_nodes(graph):
            read = foreign.is_read(proto.domain, proto.op_type, versions[""])
            if not read and not self.is_standard(proto, versions):
                word = f"{proto.domain}.{proto.op_type}" if proto.domain else proto.op_type
                missing[word] = missing.get(word, 0) + 1
        if missing:
            raise self.error(
                "some of its operators are not known\n  "
                + ", ".join(f"{word} ({n} node{'s' if n > 1 else ''})" for word, n in sorted(missing.items()))
                + "\n  those of the ONNX standard are; export the model without the others"
            )

    def refuse_unheld(self, graph: Any, versions: dict[str, int]) -> None:
        """All operators, in one error, that nobody wrote here and whose reference is not known to be right."""
        own = (proto for proto in all_nodes(graph) if self.is_standard(proto, versions))
        found = list_refused(self.onnx, own, versions)
        if found:
            raise self.error("\n  ".join(("some of its operators are not computed here", *found)))

    def is_standard(self, proto: Any, versions: dict[str, int]) -> bool:
        """Whether the standard has the operator."""
        try:
            domain = "" if proto.domain == "ai.onnx" else proto.domain
            known = self.onnx.defs.has(proto.op_type, versions.get(proto.domain, 1), domain)
            return proto.domain in STANDARD and bool(known)
        except TypeError:  # a version that is no int of C
            return False

    # -- nodes ---------------------------------------------------------------------------------------------------------

    def node(self, proto: Any, versions: dict[str, int]) -> Node:
        """A node, its attributes read. Raises NetworkError."""
        what = f"{proto.op_type} {(proto.name or next(filter(None, proto.output), ''))!r}"
        known = self.signature(proto, what, versions)
        attributes = {}
        for each in proto.attribute:
            # The type of an optional's element says nothing that its element does not.
            if each.name in known and each.type != self.onnx.AttributeProto.TYPE_PROTO:
                graph = each.type == self.onnx.AttributeProto.GRAPH
                attributes[each.name] = self.body(each.g, versions) if graph else self.attribute(each, what)
        around = captured_names(attributes)
        return Node(
            op=proto.op_type,
            inputs=tuple(proto.input),
            outputs=tuple(proto.output),
            attributes=attributes,
            name=proto.name,
            version=versions.get(proto.domain, 1),
            domain="" if proto.domain == "ai.onnx" else proto.domain,
            source=proto.SerializeToString() if not graphs(proto) else b"",
            captured=around,
            inside=around,
        )

    def spell(self, proto: Any, versions: dict[str, int], constants: dict[str, Array]) -> foreign.Spelt:
        """A node of onnxruntime's own operators as nodes of the standard. Raises NetworkError."""
        what = f"{proto.domain}.{proto.op_type} {(proto.name or next(filter(None, proto.output), ''))!r}"
        types = dict(self.onnx.AttributeProto.AttributeType.items())
        wrong = foreign.misfit(proto, [(each.name, each.type) for each in proto.attribute], types)
        if wrong is not None:
            raise self.error(f"{what}{wrong}")
        attributes = {each.name: self.attribute(each, what) for each in proto.attribute}
        name, version = proto.name or next(filter(None, proto.output), ""), max(versions[""], foreign.OLDEST)
        made = foreign.Spelt(name, tuple(proto.input), tuple(proto.output), attributes, version, constants)
        wrong = foreign.FOREIGN[proto.op_type].spell(made)
        if wrong is not None:
            raise self.error(f"{what}{wrong}")
        return made

    def signature(self, proto: Any, what: str, versions: dict[str, int]) -> frozenset[str]:
        """The attributes that the standard knows of an operator, once the node's counts and types are those it has."""
        domain = "" if proto.domain == "ai.onnx" else proto.domain
        schema = self.onnx.defs.get_schema(proto.op_type, versions.get(proto.domain, 1), domain)
        counts = (
            ("inputs", len(proto.input), schema.min_input, schema.max_input),
            ("outputs", len(proto.output), schema.min_output, schema.max_output),
        )
        for word, count, least, most in counts:
            if not least <= count <= most:
                wanted = (
                    f"{least}"
                    if least == most
                    else f"{least} to {most}"
                    if most < 2**31 - 1
                    else f"at least {least}"
                )
                raise self.error(f"{what} has {count} {word}\n  the operator has {wanted}")
        for each in proto.attribute:
            wanted = schema.attributes.get(each.name)
            if wanted is not None and each.type != wanted.type.value:
                raise self.error(
                    f"{what}: its attribute {each.name!r} is of type {each.type}\n"
                    f"  the operator has {wanted.type.name}, {wanted.type.value}"
                )
        return frozenset(schema.attributes)

    def order_nodes(self, nodes: list[Node], given: set[str]) -> tuple[Node, ...]:
        """Nodes, each behind those that it reads from. Raises for names written twice, missing names, and cycles."""
        writer: dict[str, int] = {}
        for i, node in enumerate(nodes):
            for name in filter(None, node.outputs):
                if name in writer or name in given:
                    raise self.error(f"{node.label} writes {name!r}, which is there already")
                writer[name] = i
        for node in nodes:
            for name in node.reads:
                if name not in writer and name not in given:
                    raise self.error(
                        f"{node.label} reads {name!r}, which nothing computes\n"
                        f"  it is no input, constant or output of a node"
                    )
        if all(writer.get(name, -1) < i for i, node in enumerate(nodes) for name in node.reads):
            return tuple(nodes)
        before = {i: [writer[name] for name in node.reads if name in writer] for i, node in enumerate(nodes)}
        try:
            return tuple(nodes[i] for i in TopologicalSorter(before).static_order())
        except CycleError as error:
            round_trip = [nodes[i].label for i in error.args[1]]
            raise self.error("its nodes wait for each other\n  " + " <- ".join(round_trip[:8])) from None

"""A network in 8 bits: examples through it, a scale for each value, whole numbers for weights, and what that cost."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any

import numpy as np

from ...engine import peaks, thread_pool
from ...errors import NetworkError, PlanError, format_value
from ...lazy_dataclass import dataclass
from ..graph import Array, Graph, specs_of
from ..loading import load
from ..net import Network
from ..reports.compare import difference
from ..reports.layers import list_layers as layers_of
from . import ranges
from .equalise import equalise, find_pairs, largest
from .plain import plain, version_of
from .qdq import LayerWeights, weights_of, write_qdq
from .ranges import METHODS, Grain, SeenRange
from .regions import QuantisedRegion, Regions, layers
from .report import Quantised, QuantisedLayer

TYPES = ("uint8", "int8")

MOST_TERMS = 2**30 // (255 * 128)
"""Products in a sum beside whose greatest there is room in int32 for as large a bias."""

Tell = Callable[[str], object]


@dataclass(frozen=True)
class QuantisingSetting:
    """How numbers become 8-bit ones: see `quantize`."""

    method: str
    activations: str
    correct_bias: bool


def quantize(
    network: Any,
    batches: Iterable[Any],
    *,
    method: str = "l2.4",
    activations: str = "uint8",
    correct_bias: bool = True,
    keep: str | Collection[str] = (),
    max_drop: float | None = None,
    keep_quicker: bool = True,
    seconds: float = 1.0,
    progress: Tell | None = None,
) -> Quantised:
    """A network whose convolutions and dense layers multiply 8-bit integers, measured on examples of its input.

    `network`: one that was loaded, or what `load` takes. `batches`: inputs as a call takes them, an array or a dict
    each; some dozens of examples do. The result prints a table of layers, `network` of it is called like any other,
    and `network.to_onnx(path)` writes the standard's QuantizeLinear and DequantizeLinear, which others run as well.

    `method` of choosing scales: "l2.4" for the least |error|^2.4, "mse" for the least squared error, "min-max" for the
    whole range; the channels that a depthwise layer alone reads are brought to one range before. `activations`:
    "uint8" or "int8"; weights are int8 with a scale for each output channel. `correct_bias` takes off what rounding
    the weights adds on average. Layers stay in float32 whose names match a pattern of `keep` ("head.*"), which the
    plan expects to be quicker so (`keep_quicker`), and as many of the most sensitive as it takes for the answers to
    change by `max_drop` at most: the share of examples whose best class is another, or |y' - y| / |y| where outputs
    are no scores of classes. `seconds`: how long each of both networks is timed, 0 for not at all. `progress` is told
    what is being done. Raises NetworkError and PlanError.

    >>> import onnx
    >>> text = '<ir_version: 8, opset_import: ["": 17]> g (float[n,1,4] x) => (y) <float[1,1,2] w = {1, 0.5}>'
    >>> net = load(onnx.parser.parse_model(text + "{ y = Conv(x, w) }"))
    >>> found = quantize(net, [np.arange(4, dtype=np.float32).reshape(1, 1, 4)], keep_quicker=False, seconds=0)
    >>> print(found)
    layer  operator  bits    error
    y      Conv         8  1.6e-03
    <BLANKLINE>
    1 of 1 layers in 8 bits; outputs 1.60e-03 apart, norm-wise, on 1 example
    >>> found.network(np.array([[[0, 1, 2, 3]]], np.float32)).round(1)
    array([[[0.5, 2. , 3.5]]], dtype=float32)
    """
    setting = QuantisingSetting(method, activations, correct_bias)
    _require(setting, max_drop, seconds)
    patterns = (keep,) if isinstance(keep, str) else tuple(keep)
    net = network if isinstance(network, Network) else load(network)
    tell = progress or (lambda text: None)
    tell("reading examples")
    work = QuantisingWork.of(net, _examples(net, batches), setting)
    why = work.find_kept(patterns)
    work.equalise(why, tell)
    work.calibrate(why, tell)
    if keep_quicker:
        tell("asking the plans what is quicker")
        why |= work.find_quicker(why)
    if max_drop is not None:
        why |= work.find_sensitive(why, max_drop, tell)
    return work.result(why, seconds, tell)


def _require(setting: QuantisingSetting, max_drop: Any, seconds: Any) -> None:
    for word, value, of in (("method", setting.method, METHODS), ("activations", setting.activations, TYPES)):
        if value not in of:
            raise PlanError(
                f"quantize: {word} must be one of {', '.join(of)}\n  {word} = {format_value(value)}\n"
                f"  e.g. {word}={of[0]!r}"
            )
    for word, value in (("max_drop", max_drop), ("seconds", seconds)):
        number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if value is not None and not (number and 0 <= value < math.inf):
            raise PlanError(
                f"quantize: {word} must be a number from 0 on\n  {word} = {format_value(value)}\n  e.g. {word}=0.01"
            )


def _examples(net: Network, batches: Iterable[Any]) -> list[dict[str, Array]]:
    """The inputs of each call. Raises NetworkError where there is none, or one that the network does not take."""
    try:
        given = list(() if isinstance(batches, str | bytes | Mapping) else batches)
    except TypeError:
        raise NetworkError(
            f"quantize: the examples are no sequence of inputs\n  batches = {format_value(batches)}\n"
            f"  give a list of arrays"
        ) from None
    found = []
    for at, each in enumerate(given):
        try:
            inputs = net.inputs_of(each)
        except NetworkError as error:
            raise _misfit(at, error) from None
        for name, array in inputs.items():
            if isinstance(array, np.ndarray) and array.dtype.kind == "f" and not np.isfinite(array).all():
                places = np.argwhere(~np.isfinite(array))
                raise NetworkError(
                    f"quantize: example {at} has numbers that are not finite\n"
                    f"  {len(places)} of {array.size} in {name!r}, the first at {(*places[0].tolist(),)}\n"
                    "  leave it out, or mend it"
                )
        if all(array.size for array in inputs.values()):
            found.append(inputs)
    if not found:
        raise NetworkError(
            f"quantize: there are no examples\n  {len(given)} batches, no element in them\n"
            "  give arrays that the network takes, some dozens of them"
        )
    return found


def _misfit(at: int, error: NetworkError) -> NetworkError:
    """The same for an example by its number."""
    said = str(error).removeprefix("call: ").removeprefix("load: ")
    return NetworkError(f"quantize: example {at} does not fit the network\n  {said}")


@dataclass
class QuantisingWork:
    """One network on its way: in float32, its layers, and what its values are on the examples."""

    net: Network
    floats: Network
    examples: list[dict[str, Array]]
    setting: QuantisingSetting
    every: tuple[QuantisedRegion, ...]
    whole: Regions
    seen: dict[str, SeenRange] = field(default_factory=dict)
    grains: dict[str, Grain] = field(default_factory=dict)
    _answers: list[dict[str, Array]] = field(default_factory=list)
    _weights: dict[str, LayerWeights] = field(default_factory=dict)

    @classmethod
    def of(cls, net: Network, examples: list[dict[str, Array]], setting: QuantisingSetting) -> QuantisingWork:
        """What is known before anything is run. Raises NetworkError where there is nothing to quantise."""
        already = next(
            (node for node in net.graph.nodes if "Linear" in node.op or "Integer" in node.op), None
        )
        if already is not None:
            raise NetworkError(
                f"quantize: the network is quantised already\n  {already.label} is one of its nodes\n"
                "  give the one in float32 that it was made of"
            )
        try:
            graph, specs = plain(net.graph, specs_of(examples[0]), net.memory_limit)
        except NetworkError as error:
            raise _misfit(0, error) from None
        found = layers(graph, specs)
        if not found:
            raise NetworkError(
                "quantize: there is nothing to quantise in this network\n"
                f"  {len(graph.nodes)} nodes, none of them a Conv, ConvTranspose, Gemm or MatMul of float32 by "
                "constant weights\n"
                "  give one that has some"
            )
        return cls(net, _around(net, graph), examples, setting, found, Regions(graph, found))

    def find_kept(self, patterns: Sequence[str]) -> dict[str, str]:
        """Layers that stay in float32, and why, before anything is measured. Raises NetworkError."""
        names = [layer.name for layer in self.every]
        why = {layer.name: "sums may pass int32" for layer in self.every if layer.terms > MOST_TERMS}
        why |= {layer.name: "its weights are not finite" for layer in self.every if not _is_finite(layer)}
        for pattern in patterns:
            found = fnmatch.filter(names, pattern)
            if not found:
                raise NetworkError(
                    f"quantize: no layer has a name like that\n  keep = {format_value(pattern)}\n"
                    f"  the layers: {', '.join(names[:8])}{', ..' if len(names) > 8 else ''}"
                )
            why |= dict.fromkeys(found, "kept by name")
        if len(why) == len(names):
            reasons = ", ".join(sorted({*why.values()}))
            raise NetworkError(
                f"quantize: no layer is left to quantise\n  all {len(names)} stay in float32: {reasons}\n  keep fewer"
            )
        return why

    def equalise(self, why: Container[str], tell: Tell) -> None:
        """Bring the channels that depthwise layers read to one range, where they are not to stay in float32."""
        chosen = [layer for layer in self.every if layer.name not in why]
        pairs = find_pairs(self.whole.graph, chosen)
        if pairs:
            most = largest(self._run([each.x for _, each in pairs], tell), self.examples, pairs)
            graph, self.every = equalise(self.whole.graph, self.every, pairs, most)
            self.floats, self.whole = _around(self.net, graph), Regions(graph, self.every)

    def _run(self, names: Collection[str], tell: Tell) -> ranges.Run:
        """What gives these values of an example in float32. Raises NetworkError, with the example's number."""

        def run(inputs: Mapping[str, Array]) -> Mapping[str, Array]:
            tell(f"running {len(self.examples)} batches")
            try:
                found: Mapping[str, Array] = self.floats(inputs, outputs=list(names))
            except NetworkError as error:
                at = next(n for n, each in enumerate(self.examples) if each is inputs)
                raise _misfit(at, error) from None
            return found

        return run

    def calibrate(self, why: Container[str], tell: Tell) -> None:
        """Scales and zero points of all values that may come to be in 8 bits, and the mean of what layers read."""
        regions = Regions(self.whole.graph, tuple(each for each in self.every if each.name not in why))
        axes: dict[str, int | None] = dict.fromkeys(regions.values)
        for layer in regions.layers:
            axes[layer.x] = 1 if layer.node.op in ("Conv", "ConvTranspose") else -1
        self.whole, run = regions, self._run(axes, tell)
        self.seen = ranges.watch(run, self.examples, axes, regions.grain)
        power = ranges.POWERS.get(self.setting.method)
        if power is not None:
            ranges.count_bins(run, self.examples, self.seen, regions.grain)
        dtype = np.dtype(self.setting.activations)
        for name in dict.fromkeys(map(regions.grain, regions.values)):
            each = self.seen[name]
            ends = each.ends if power is None else ranges.least_error(each, power)
            self.grains[name] = Grain.of(*ends, dtype)

    def regions(self, why: Container[str]) -> Regions:
        """The layers that are not to stay in float32, and what is in 8 bits around them."""
        return self.whole.of({layer.name for layer in self.whole.layers if layer.name not in why})

    def network(self, regions: Regions) -> Network:
        """The network with these layers in 8 bits."""
        made = {layer.name: self._weights_of(layer) for layer in regions.layers}
        version = version_of(regions.graph)
        return _around(self.net, write_qdq(regions, self.grains, made, version))

    def _weights_of(self, layer: QuantisedRegion) -> LayerWeights:
        if layer.name not in self._weights:
            corrected = self.setting.correct_bias and (layer.node.op != "MatMul" or layer.bias is not None)
            mean = self.seen[layer.x].mean if corrected else None
            x = self.grains[self.whole.grain(layer.x)]
            self._weights[layer.name] = weights_of(layer, x, mean, self.setting.method)
        return self._weights[layer.name]

    # -- what stays in float32 -----------------------------------------------------------------------------------------

    def find_quicker(self, why: Mapping[str, str]) -> dict[str, str]:
        """Layers that the plans expect to be quicker in float32, what is converted before and behind them counted."""
        specs = specs_of(self.examples[0])
        before, after = (
            {each.name: each for each in layers_of(net.program(specs)) if each.seconds is not None}
            for net in (self.floats, self.network(self.regions(why)))
        )
        rate = peaks(thread_pool.count()).memory_bandwidth
        found = {}
        for layer in self.regions(why).layers:
            old, new = before.get(layer.name), after.get(layer.name)
            if old is None or new is None or old.seconds is None or new.seconds is None:
                continue
            converted = 1.25 * old.moved / rate  # four bytes and one for each element
            if old.seconds + converted < new.seconds:
                found[layer.name] = "float32 is quicker"
        return found if len(found) < len(self.regions(why).layers) else {}

    def find_sensitive(self, why: Mapping[str, str], most: float, tell: Tell) -> dict[str, str]:
        """The most sensitive layers, as many as it takes for the answers to change by no more than `most`."""
        names = [layer.name for layer in self.regions(why).layers]
        if self.drop(self.network(self.regions(why)))[0] <= most:
            return {}
        apart = {}
        for at, name in enumerate(names):
            tell(f"measuring how sensitive layers are: {at + 1} of {len(names)}")
            apart[name] = self.distance(self.network(self.whole.of({name})))
        order = sorted(names, key=lambda name: -apart[name])
        low, high = 1, len(order)  # how many it takes is between them; all of them change nothing
        while low < high:
            middle = (low + high) // 2
            tell(f"trying {middle} of {len(order)} layers in float32")
            left = self.whole.of(set(order[middle:]))
            low, high = (low, middle) if self.drop(self.network(left))[0] <= most else (middle + 1, high)
        if low == len(order):
            least = self.drop(self.network(self.whole.of({order[-1]})))[0]
            raise NetworkError(
                f"quantize: any layer in 8 bits changes the answers by more than max_drop\n"
                f"  max_drop = {most}; {order[-1]!r} alone changes them by {least:.3g}\n"
                "  allow more, or give more examples"
            )
        return dict.fromkeys(order[:low], "sensitive")

    # -- what it did to the answers ------------------------------------------------------------------------------------

    @property
    def answers(self) -> list[dict[str, Array]]:
        """The outputs in float32, batch by batch."""
        if not self._answers:
            self._answers = [self.floats(each, outputs=self.floats.outputs) for each in self.examples]
        return self._answers

    @property
    def classifies(self) -> bool:
        """Whether the network gives scores of classes, one line an example."""
        shapes = [array.shape for array in self.answers[0].values()]
        return len(shapes) == 1 and len(shapes[0]) == 2 and shapes[0][1] > 1

    def drop(self, net: Network) -> tuple[float, str]:
        """How much the answers change, and what is meant by that."""
        if not self.classifies:
            return self.distance(net), "distance"
        other = count = 0
        for inputs, wanted in zip(self.examples, self.answers, strict=True):
            ((name, scores),) = wanted.items()
            found = net(inputs, outputs=[name])[name]
            other += int(np.sum(found.argmax(1) != scores.argmax(1)))
            count += len(scores)
        return other / max(count, 1), "best class"

    def distance(self, net: Network) -> float:
        """|y' - y| / |y| of the outputs over all batches, the largest of any output.

        Batches count together: where an output says that nothing was found, all of it is near 0.
        """
        found = [net(inputs, outputs=net.outputs) for inputs in self.examples]

        def of(name: str, batches: list[dict[str, Array]]) -> Array:
            return np.concatenate([np.ravel(each[name]) for each in batches])

        return max(difference(name, of(name, found), of(name, self.answers)).norm for name in net.outputs)

    def result(self, why: Mapping[str, str], seconds: float, tell: Tell) -> Quantised:
        """The network, and the table."""
        regions = self.regions(why)
        net = self.network(regions)
        tell("comparing answers")
        drop, measure = self.drop(net)
        names = [layer.output for layer in self.every]
        first = self.examples[0]
        wanted, found = (each(first, outputs=names) for each in (self.floats, net))
        times: list[dict[str, float]] = [{}, {}]
        totals = None
        if seconds:
            tell("measuring")
            profiles = [each.profile(first, seconds) for each in (self.floats, net)]
            times = [{a.name: s for a, s in zip(p.layers, p.seconds, strict=True)} for p in profiles]
            totals = (profiles[0].total, profiles[1].total)
        rows = [
            QuantisedLayer(
                layer.name, layer.node.op, 32 if layer.name in why else 8, why.get(layer.name, ""),
                difference(layer.output, found[layer.output], wanted[layer.output]).norm,
                times[0].get(layer.name), times[1].get(layer.name),
            )
            for layer in self.every
        ]  # fmt: skip
        count = sum(
            len(next(iter(each.values()))) if next(iter(each.values())).ndim else 1 for each in self.examples
        )
        return Quantised(net, tuple(rows), count, drop, measure, totals)


def _is_finite(layer: QuantisedRegion) -> bool:
    """Whether all weights of a layer are numbers, and its bias."""
    bias = layer.bias is None or np.isfinite(layer.bias).all()
    return bool(bias and np.isfinite(layer.w).all())


def _around(net: Network, graph: Graph) -> Network:
    return Network(graph, net.options, net.memory_limit, net.rules)


__all__ = ["quantize"]

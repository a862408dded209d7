"""Networks on images larger than memory: `net.tiled`, lazy inputs of `net(x)`, and files."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ...arguments import format_shape
from ...errors import NetworkError, PlanError, format_value
from ...network.graph import Input, Spec
from ...network.net import Network
from ..memory import SPARE, anonymous_bytes, available_bytes, describe_least_limit, largest_blocks
from .inputs import cut_out, name_inputs
from .parts import Part, middle_part
from .stages import Stages, Tell
from .tiler import Tiler

Array = npt.NDArray[Any]
Tile = int | str | tuple[int, ...] | None

UNIT = 64
"""Pixels that a tile's extents are multiples of where they are found here: of the strides of most networks."""

CHEAP = 1 / 16
"""More work at seams, as a part of all of it, for which tiles may take less memory than there is."""

SHARE = 4
"""Tiles take one part in so many of the memory that is there, where nothing else is said."""


def tiler_of(
    network: Network, given: Mapping[str, Any], *, approximate: bool, same_bits: bool = False
) -> Tiler:
    """The tiler for inputs of these shapes and element types. Raises NetworkError."""
    specs = {
        name: Spec(tuple(map(int, x.shape)), np.dtype(x.dtype).newbyteorder("=")) for name, x in given.items()
    }
    made = Tiler(network, specs, approximate=approximate, same_bits=same_bits)
    made.require_shape()
    return made


def tile_of(tiler: Tiler, tile: Tile, memory: int | None) -> tuple[int, ...]:
    """The extents of a tile of the output. Raises PlanError or NetworkError."""
    shape = tiler.shape
    if len(shape) < 3:
        raise NetworkError(
            f"tiled: the output has no pixels\n  it is {format_shape(shape)}\n  call the network with the whole image"
        )
    if tile is not None and tile != "auto":
        numbers: tuple[Any, ...] = tile if isinstance(tile, tuple) else (tile,) * (len(shape) - 2)
        whole = all(isinstance(n, int | np.integer) and not isinstance(n, bool) and n >= 1 for n in numbers)
        if len(numbers) != len(shape) - 2 or not whole:
            raise PlanError(
                f"tiled: tile is no extent of the output's pixels\n"
                f"  tile = {format_value(tile)}, the output is {format_shape(shape)}\n"
                f"  a number, one for each of {len(shape) - 2} axes, or 'auto'"
            )
        return (*shape[:2], *(min(int(n), p) for n, p in zip(numbers, shape[2:], strict=True)))
    present = anonymous_bytes()
    limit = (available_bytes() + present) // SHARE if memory is None else memory
    bound = tiler.weight_bytes

    def needs(block: tuple[int, ...]) -> int:
        return tiler.bytes(middle_part(shape, block)) + bound

    fitting = []
    for most in _widths(shape[2:]):
        found = largest_blocks(most, [UNIT] * (len(shape) - 2), needs, limit - present - SPARE)
        if found is not None:
            fitting.append(found)
        if found == most:  # a smaller one reads more beyond its seams
            break
    if not fitting:
        raise describe_least_limit("tiled", limit, needs((1,) * (len(shape) - 2)), present)

    @cache
    def count_work(block: tuple[int, ...]) -> float:
        return tiler.work(middle_part(shape, block)) / math.prod(block)

    best = min(dict.fromkeys(spread_evenly(shape[2:], each) for each in fitting), key=count_work)
    return (*shape[:2], *cut_while_cheap(shape[2:], best, count_work))


def spread_evenly(pixels: tuple[int, ...], block: tuple[int, ...]) -> tuple[int, ...]:
    """As many tiles as of this extent, all of about one size: less memory, as many seams.

    >>> spread_evenly((8192, 8192), (3392, 2048))
    (2752, 2048)
    """
    return tuple(
        min(n, b, -(-n // -(-n // b) // UNIT) * UNIT or UNIT) for n, b in zip(pixels, block, strict=True)
    )


def cut_while_cheap(
    pixels: tuple[int, ...], block: tuple[int, ...], count_work: Callable[[tuple[int, ...]], float]
) -> tuple[int, ...]:
    """Half of a tile, and half of that, along whichever axis adds least work, while all of that is less than CHEAP.

    `count_work`: that of a tile of an extent, for each pixel. Memory that tiles leave alone keeps files that are read
    and written, and need not be found: a first write to fresh pages can take longer than the products that it is for.
    An image that fits whole has no seams, and stays so.

    >>> cut_while_cheap((4096, 4096), (1024, 2048), lambda block: 1 + 10 / block[0] + 10 / block[1])
    (256, 512)
    """
    most = count_work(block) * (1 + CHEAP)
    while block != pixels:
        halves = [
            spread_evenly(pixels, (*block[:a], -(-n // 2), *block[a + 1 :]))
            for a, n in enumerate(block)
            if n > UNIT
        ]
        best = min(halves, key=count_work, default=block)
        if best == block or count_work(best) > most:
            break
        block = best
    return block


def require_fit(tiler: Tiler, extents: tuple[int, ...], memory: int) -> None:
    """Raise PlanError where tiles of these extents do not keep within so many bytes."""
    present, needed = (
        anonymous_bytes(),
        tiler.bytes(middle_part(tiler.shape, extents[2:])) + tiler.weight_bytes,
    )
    if needed > memory - present - SPARE // 2:  # what a process has by chance differs
        raise describe_least_limit("tiled", memory, needed, present)


def _widths(pixels: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """What tiles may be at most: all of an image, then less and less along all axes but the first."""
    yield pixels
    inner = pixels[1:]
    while max(inner, default=0) > UNIT:
        inner = tuple(min(n, max(UNIT, n // 2)) for n in inner)
        yield (pixels[0], *inner)


@dataclass(frozen=True)
class TileOptions:
    """What is asked of tiles: the keywords of `Network.tiled`."""

    tile: Tile = None
    memory: int | None = None
    same_bits: bool = False
    approximate: bool = False
    exact_globals: bool = False


@dataclass(frozen=True)
class Tiled:
    """A network prepared for tiles: the tiler of its output, the extents of a tile, and the passes before, if any."""

    tiler: Tiler
    extents: tuple[int, ...]
    stages: Stages | None = None

    @property
    def parts(self) -> list[Part]:
        """The tiles, in order."""
        return list(self.tiler.grid(self.extents))

    @property
    def tilers(self) -> list[Tiler]:
        """Those of the passes, in their order, and that of the output."""
        stages = [] if self.stages is None else self.stages.stages
        return [*(stage.tiler for stage in stages), self.tiler]


def prepare_tiles(network: Network, given: Mapping[str, Any], options: TileOptions) -> Tiled:
    """Plan the whole and its tiles, for inputs of these shapes and element types. Raises NetworkError or PlanError."""
    loose = options.approximate or options.exact_globals
    tiler = tiler_of(network, given, approximate=loose, same_bits=options.same_bits)
    if options.exact_globals:
        # What global nodes make is small, whatever is looked at.
        extents = tile_of(tiler, options.tile, options.memory)
        stages = Stages(tiler, approximate=options.approximate)
        made = Tiled(stages.last, extents, stages)
    else:
        tiler.refuse()
        tiler.decide()
        made = Tiled(tiler, tile_of(tiler, options.tile, options.memory))
    if options.approximate:
        made.tiler.require_whole_images(made.extents)
    return made


def run_tiled(network: Network, x: Any, options: TileOptions, progress: Tell | None = None) -> Array:
    """What `network(x)` is, tile by tile: see `Network.tiled`."""
    given = name_inputs(network, x)
    shapes = tuple((name, tuple(each.shape), np.dtype(each.dtype)) for name, each in sorted(given.items()))
    latest = network.tiles
    if latest is None or latest[0] != (shapes, options):
        latest = network.tiles = None  # its memory goes first
        latest = network.tiles = (shapes, options), prepare_tiles(network, given, options)
    tiled: Tiled = latest[1]
    if tiled.stages is not None:
        given |= tiled.stages.compute(given, tiled.extents, None, progress)
    tiler, parts = tiled.tiler, tiled.parts
    out = np.empty(tiler.shape, tiler.dtype)
    if parts:
        tiler.reserve(tiled.extents)
    for at, part in enumerate(parts):
        read = {name: cut_out(given[name], place) for name, place in tiler.inputs(part).items()}
        out[tuple(slice(a, b) for a, b in part)] = tiler.run(part, read)
        if progress is not None:
            progress(at + 1, len(parts))
    return out


# -- how far an output looks ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reach:
    """What an output sees along one axis: output p looks at `reach` inputs from about p*stride + offset on."""

    reach: int
    stride: float
    offset: float


@dataclass(frozen=True)
class ReceptiveField:
    """How far an output looks into an input, along each of its pixel axes; `whole` names what looks at all of it."""

    output: str
    input: str
    axes: tuple[Reach, ...]
    whole: str = ""

    def __str__(self) -> str:
        if self.whole:
            return f"{self.output} <- all of {self.input}: {self.whole}"
        each = (f"{a.reach} (stride {a.stride:g}, from {a.offset:g})" for a in self.axes)
        return f"{self.output} <- {self.input}: {' x '.join(each)}"


PERIOD, WIDE = 64, 4096
"""Outputs over which a window is followed, and the extent that pixel axes have at least while it is."""


def receptive_field(network: Network) -> tuple[ReceptiveField, ...]:
    """See `Network.receptive_field`."""
    found = []
    for name in network.outputs:
        tiler = _wide_tiler(network._with_outputs((name,)))
        found += [_field(tiler, name, each.name) for each in network.inputs]
    return tuple(found)


def _wide_tiler(network: Network) -> Tiler:
    """The tiler of images so large that no border cuts windows off; of the declared ones where others do not fit."""
    try:
        tiler = Tiler(network, {each.name: _wide_spec(each, WIDE) for each in network.inputs})
        if tiler.output in tiler.specs:
            return tiler
    except NetworkError:
        pass
    return Tiler(network, {each.name: _wide_spec(each, 0) for each in network.inputs})


def _wide_spec(given: Input, least: int) -> Spec:
    """An input whose pixel axes are a multiple of what is declared, and `least` at least; open axes are WIDE."""
    if given.shape is None:
        raise NetworkError(
            f"receptive_field: the rank of input {given.name!r} is not declared\n  {given}\n"
            f"  say it: net.with_shapes({given.name}=(1, 3, 512, 512))"
        )
    extents = []
    for axis, n in enumerate(given.shape):
        if not isinstance(n, int):
            extents.append(1 if axis < 1 else WIDE)
        else:
            extents.append(n * -(-least // n) if axis > 1 and 0 < n < least else n)
    return Spec(tuple(extents), given.dtype)


def _field(tiler: Tiler, output: str, source: str) -> ReceptiveField:
    if output not in tiler.specs:
        return ReceptiveField(output, source, (), "its shape depends on values")
    shape = tiler.shape
    if len(shape) < 3:
        return ReceptiveField(output, source, (), "it has no pixels")
    if len(tiler.specs[source].shape) != len(shape):
        return ReceptiveField(output, source, (), "its axes are not those of the output")
    period = [min(PERIOD + 1, n) for n in shape[2:]]
    first = [(n - p) // 2 for n, p in zip(shape[2:], period, strict=True)]

    def find_source(at: int) -> Part:
        """What the output reads that is `at` from the first along every axis: none has a say in another."""
        pixels = [(f + min(at, p - 1), f + min(at, p - 1) + 1) for f, p in zip(first, period, strict=True)]
        part: Part = (*((0, n) for n in shape[:2]), *pixels)
        return tuple((place.start, place.stop) for place in tiler.inputs(part)[source])

    axes = []
    try:
        places = [find_source(at) for at in range(max(period))]
        for axis in range(len(shape) - 2):
            ends = [place[2 + axis] for place in places[: period[axis]]]
            stride = (ends[-1][0] - ends[0][0]) / max(period[axis] - 1, 1)
            offset = min(a - stride * (first[axis] + at) for at, (a, _) in enumerate(ends))
            axes.append(Reach(max(b - a for a, b in ends), stride, offset))
    except NetworkError as error:
        return ReceptiveField(output, source, (), str(error).splitlines()[0].removeprefix("tiled: "))
    except KeyError:
        return ReceptiveField(output, source, (), "it does not look at it")
    return ReceptiveField(output, source, tuple(axes))


# -- lazy inputs ------------------------------------------------------------------------------------------------------


def tile_task(tiler: Tiler, part: Part, names: Sequence[str], pieces: Sequence[Array]) -> Array:
    """The task of a lazy tile."""
    from ..work import one_at_a_time

    given = {name: np.ascontiguousarray(piece) for name, piece in zip(names, pieces, strict=True)}
    with one_at_a_time():
        return tiler.run(part, given)


def run_lazily(network: Network, x: Any) -> Any:
    """`network(x)` of Dask arrays: a chunk of the output for each chunk of the first input."""
    import dask.array as da
    from dask.base import tokenize
    from dask.highlevelgraph import HighLevelGraph

    from ..dask_arrays import require_lazy

    given = {
        name: require_lazy("call", name, each if isinstance(each, da.Array) else da.asarray(each))
        for name, each in name_inputs(network, x).items()
    }
    tiler = tiler_of(network, given, approximate=False)
    tiler.refuse()
    tiler.decide()
    first, shape = next(iter(given.values())), tiler.shape
    if 0 in shape:
        return da.zeros(shape, dtype=tiler.dtype, chunks=shape)
    cuts = [
        _scale_boundaries(first.chunks[a], p) if len(shape) == first.ndim and a != 1 else (0, p)
        for a, p in enumerate(shape)
    ]
    token = tokenize(*(v.name for v in given.values()), tiler.graph.outputs, id(network))
    name, graph, layers = f"network-{token}", {f"tiler-{token}": tiler}, []
    for at in itertools.product(*(range(len(c) - 1) for c in cuts)):
        part = tuple((c[i], c[i + 1]) for c, i in zip(cuts, at, strict=True))
        keys, names = [], []
        for source, place in tiler.inputs(part).items():
            piece = given[source][place].rechunk(-1)
            layers.append(piece)
            names.append(source)
            keys.append((piece.name, *(0 for _ in place)))
        graph[(name, *at)] = (tile_task, f"tiler-{token}", part, names, keys)  # type: ignore[index, assignment]
    layered = HighLevelGraph.from_collections(name, graph, dependencies=layers)
    chunks = tuple(tuple(b - a for a, b in itertools.pairwise(c)) for c in cuts)
    return da.Array(layered, name, chunks, dtype=tiler.dtype, meta=np.empty((0,) * len(shape), tiler.dtype))


def _scale_boundaries(chunks: Sequence[int], extent: int) -> tuple[int, ...]:
    """The boundaries of an input's chunks, as far along the output."""
    cuts = (0, *itertools.accumulate(chunks))
    return tuple(sorted({round(c * extent / max(cuts[-1], 1)) for c in cuts}))


__all__ = [
    "Reach",
    "ReceptiveField",
    "TileOptions",
    "Tiled",
    "prepare_tiles",
    "receptive_field",
    "require_fit",
    "run_lazily",
    "run_tiled",
    "tile_of",
    "tiler_of",
]

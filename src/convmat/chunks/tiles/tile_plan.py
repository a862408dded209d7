"""The plan of a network's tiles: how many, what they take beside the whole, and the passes that go before."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...arguments import format_shape
from ...planner.units import format_bytes
from .parts import middle_part, whole
from .stages import Stage
from .tiled import Tiled
from .tiler import Tiler


@dataclass(frozen=True)
class TilePass:
    """A pass over the tiles of a value: `work`, its multiplications as a part of the whole network's.

    `kept`: bytes that it leaves on disk for later ones; `pools`: the global nodes that are computed in it.
    """

    name: str
    tiles: int
    work: float
    kept: int
    pools: tuple[str, ...]

    def __str__(self) -> str:
        then = f", and {', '.join(self.pools)}" if self.pools else ""
        keeps = f", {format_bytes(self.kept)} kept on disk" if self.kept else ""
        tiles = f"{self.tiles} tile{'s' * (self.tiles != 1)}"
        return f"{self.name}{then}: {tiles}, {self.work:.2f} of the multiplications{keeps}"


@dataclass(frozen=True)
class TilePlan:
    """What a network's tiles come to. Print it.

    `shape`: of the output; `extents`: of a tile; `bytes`: what a tile allocates; `work`: multiplications of all tiles
    and passes, as a multiple of those of a call with the whole image; `passes` go before the `tiles`, in this order.
    """

    output: str
    shape: tuple[int, ...]
    extents: tuple[int, ...]
    tiles: int
    bytes: int
    work: float
    passes: tuple[TilePass, ...] = ()

    @property
    def kept(self) -> int:
        """Bytes that passes keep on disk."""
        return sum(each.kept for each in self.passes)

    def __str__(self) -> str:
        lines = [
            f"{self.tiles} tile{'s' * (self.tiles != 1)} of {format_shape(self.extents)} of {self.output} "
            f"{format_shape(self.shape)}, about {format_bytes(self.bytes)} each; "
            f"{self.work:.2f} times the multiplications of the whole"
        ]
        if self.passes:
            count, room = len(self.passes), f", {format_bytes(self.kept)} on disk" if self.kept else ""
            lines.append(
                f"{count} pass{'es' * (count != 1)} before, for what looks at the whole image{room}:"
            )
            lines += [f"  {each}" for each in self.passes]
        return "\n".join(lines)


def describe_tiles(tiled: Tiled) -> TilePlan:
    """The plan of tiles that are prepared."""
    tiler, stages = tiled.tiler, tiled.stages.stages if tiled.stages is not None else []
    total = tiler.work(whole(tiler.shape)) + sum(s.tiler.work(whole(s.spec.shape)) for s in stages)
    passes = tuple(_describe_pass(stage, tiled, total) for stage in stages)
    last = _work(tiler, tiled.extents) / max(total, 1.0)
    return TilePlan(
        output=tiler.output,
        shape=tiler.shape,
        extents=tiled.extents,
        tiles=_count(tiler.shape, tiled.extents),
        bytes=tiler.bytes(middle_part(tiler.shape, tiled.extents[2:])),
        work=last + sum(each.work for each in passes),
        passes=passes,
    )


def _describe_pass(stage: Stage, tiled: Tiled, total: float) -> TilePass:
    extents = stage.tile(tiled.extents, tiled.tiler.shape)
    return TilePass(
        name=stage.name,
        tiles=_count(stage.spec.shape, extents),
        work=_work(stage.tiler, extents) / max(total, 1.0),
        kept=stage.kept_bytes,
        pools=tuple(node.label for node in stage.pools),
    )


def _count(shape: tuple[int, ...], extents: tuple[int, ...]) -> int:
    return math.prod(-(-n // max(e, 1)) for n, e in zip(shape, extents, strict=True))


def _work(tiler: Tiler, extents: tuple[int, ...]) -> float:
    """Estimate the multiplications of all tiles from those of one in the middle, for each so many elements."""
    part = middle_part(tiler.shape, extents[2:]) if len(extents) > 2 else whole(extents)
    return tiler.work(part) * math.prod(tiler.shape) / max(math.prod(extents), 1)


__all__ = ["TilePass", "TilePlan", "describe_tiles"]

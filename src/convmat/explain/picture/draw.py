"""A plan as a file: .svg text, .png pixels, .gif moving.

SVG needs nothing but Python; pixels and their movement are painted with Pillow, from the extra `draw`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from convmat.errors import PlanError, format_value
from convmat.geometry import Geometry
from convmat.planner import Plan
from convmat.planner.units import format_bytes
from convmat.problem import Problem
from convmat.whole_files import replace_when_whole

from ..extras import require_module
from ..story.colour import DARK, LIGHT, Theme, channels
from ..story.costs import WayCost, list_costs
from ..story.example import W, X
from ..story.sample import sample_of
from ..story.scene import Scene
from ..story.tiles import TileScene, has_slices, tile_of
from .animation import Act, build_acts
from .animation import frames as animate
from .canvas import smooth
from .picture import Picture
from .tilepicture import TilePicture
from .tilestory import tile_acts

if TYPE_CHECKING:
    from PIL import Image

KINDS = (".svg", ".png", ".gif")
PICTURES = ("im2col", "winograd 2", "winograd 4", "winograd 6")
"""The lowerings that are drawn: the others are im2col's product in another order."""

PER_SECOND = 12.5
"""Frames of an animation, where their number is not given: 8 hundredths of a second each, which GIF can say exactly."""

MOST_PIXELS = 32_000_000
MOST_FRAMES = 2000

Progress = Callable[[int, int], None]


def draw(
    plan: Plan,
    path: str | os.PathLike[str],
    *,
    x: Any = None,
    w: Any = None,
    dark: bool = False,
    size: int | None = None,
    frames: int | None = None,
    speed: float = 1.0,
    lowering: str = "im2col",
    progress: Progress | None = None,
) -> Path:
    """Draw a plan's convolution as one matrix product, to a file whose name ends in .svg, .png or .gif.

    `x` and `w` are arrays to take the numbers from, of the plan's shapes; without them small digits stand in. `size`
    is the width in pixels, `dark` a dark ground. A .gif tells the story: `frames` sets their number, `speed` 2 makes
    it twice as fast, `progress(done, all)` is called after each frame. Layers too large for a page are drawn as a
    sample with torn edges; sizes and sums are true. `lowering` is "im2col", or "winograd 2", "winograd 4" or
    "winograd 6" for tiles, their transforms and the products between. Returns the path. Raises PlanError.

    >>> import convmat, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = draw(convmat.plan((1, 3, 3, 3), (1, 3, 2, 2)), f"{folder}/layer.svg")
    ...     path.read_text().count("<rect")
    108
    """
    kind = _kind(path, frames)
    picture = picture_of(plan, x=x, w=w, theme=DARK if dark else LIGHT, lowering=lowering)
    return write(picture, path, kind, size=size, frames=frames, speed=speed, progress=progress)


def picture(
    plan: Plan,
    *,
    x: Any = None,
    w: Any = None,
    dark: bool = False,
    size: int | None = None,
    frames: int | None = None,
    lowering: str = "im2col",
) -> str:
    """The SVG text that `draw` writes, for a notebook; an animation needs a path. Raises PlanError.

    >>> import convmat
    >>> picture(convmat.plan((1, 3, 3, 3), (1, 3, 2, 2))).count("<rect")
    108
    """
    if frames is not None:
        raise PlanError(
            f"draw: an animation needs a file\n  frames = {format_value(frames)}, no path\n  e.g. 'layer.gif'"
        )
    made = picture_of(plan, x=x, w=w, theme=DARK if dark else LIGHT, lowering=lowering)
    return _svg(made, _scale(made, size, 1.0))


def draw_example(
    path: str | os.PathLike[str],
    *,
    dark: bool = False,
    size: int | None = None,
    frames: int | None = None,
    speed: float = 1.0,
    lowering: str = "im2col",
    progress: Progress | None = None,
) -> Path:
    """Draw the worked example, input 3x3x3 and kernel 3x2x2, with its own numbers; the keywords are those of `draw`.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     draw_example(f"{folder}/example.svg").name
    'example.svg'
    """
    kind = _kind(path, frames)
    g = Geometry.of((1, *X.shape), (1, *W.shape))
    notes = [
        "A convolution is a matrix multiplication whose second operand, the unrolled input, need not exist."
    ]
    theme = DARK if dark else LIGHT
    heading = "Input 3x3x3, kernel 3x2x2, output 2x2"
    picture: Picture | TilePicture
    if _way(g, lowering) is None:
        picture = Picture(Scene(g, X[None], W[None]), theme, heading, notes)
    else:
        picture = TilePicture(TileScene(g, tile_of(lowering), X[None], W[None]), theme, heading, notes)
    return write(picture, path, kind, size=size, frames=frames, speed=speed, progress=progress)


def write(
    picture: Picture | TilePicture,
    path: str | os.PathLike[str],
    kind: str,
    *,
    size: int | None,
    frames: int | None,
    speed: float,
    progress: Progress | None,
) -> Path:
    """A picture as a file of one of `KINDS`."""
    target = Path(path)
    scale = _scale(picture, size, 2.0 if kind == ".png" else 1.0)
    count, pace = _count(frames), _pace(speed)
    with replace_when_whole(target, "draw") as part:
        if kind == ".svg":
            part.write_text(_svg(picture, scale), encoding="utf-8")
        elif kind == ".png":
            picture.drawing().paint(scale).save(part, "PNG", optimize=True)
        else:
            _gif(picture, part, scale, count, pace, progress)
    return target


def _kind(path: str | os.PathLike[str], frames: int | None) -> str:
    """What the path's ending asks for. Raises PlanError."""
    target = Path(path)
    kind = target.suffix.lower()
    if kind not in KINDS:
        raise PlanError(
            f"draw: the name does not say what to write\n  path = {str(path)!r} ends in {target.suffix!r}\n"
            f"  one of {', '.join(KINDS)}, e.g. {str(target.with_suffix('.svg'))!r}"
        )
    if kind != ".gif" and frames is not None:
        raise PlanError(
            f"draw: only an animation has frames\n  frames = {format_value(frames)}, path = {str(path)!r}\n"
            f"  give {str(target.with_suffix('.gif'))!r}, or omit frames="
        )
    if kind != ".svg":
        require_module("PIL", "draw", f"a {kind} file")
    return kind


def picture_of(
    plan: Plan, *, x: Any = None, w: Any = None, theme: Theme = LIGHT, lowering: str = "im2col"
) -> Picture | TilePicture:
    """The picture of a plan's convolution, headed by it and by what the plan chose."""
    problem, g = plan.problem, plan.problem.geometry
    way = _way(g, lowering)
    arrays = require_array("draw", problem, "x", x), require_array("draw", problem, "w", w)
    if way is not None:
        return _tiles(plan, way, arrays, theme)
    scene = Scene(g, *arrays)
    groups = f"{g.G} groups of " if g.G > 1 else ""
    stored = format_bytes(g.unrolled * plan.itemsize)
    times = "once" if g.duplication == 1 else f"{g.duplication:.3g} times"
    notes = [
        f"{groups}({g.m} x {g.k}) @ ({g.k} x {g.n}); U whole: {stored}, every element of x {times}",
        f"planned: {plan.chosen.name}, with {format_bytes(plan.workspace)} beside the arrays",
    ]
    return Picture(scene, theme, str(g), [*notes, *_parts(g, scene.sample.whole)])


def _parts(g: Geometry, whole: bool) -> list[str]:
    """A line on what is drawn, where it is not all."""
    parts = ["a sample, sums are those of the whole"] if not whole else []
    parts += [f"group 1 of {g.G}"] if g.G > 1 else []
    parts += [f"image 1 of {g.B}"] if g.B > 1 else []
    return [f"drawn: {', '.join(parts)}"] if parts else []


def _way(g: Geometry, lowering: Any) -> WayCost | None:
    """What a lowering by tiles costs; None for im2col. Raises PlanError."""
    if not isinstance(lowering, str) or lowering not in PICTURES:
        raise PlanError(
            f"draw: no picture of that lowering\n  lowering = {format_value(lowering)}\n"
            f"  one of {', '.join(map(repr, PICTURES))}; the page has more: convmat explain"
        )
    if lowering == "im2col":
        return None
    sample_of(g)
    way = next(cost for cost in list_costs(g, 1) if cost.name == lowering)
    if way.refusal is not None:
        raise PlanError(
            f"draw: {lowering} refuses this convolution\n  {g}: {way.refusal}\n"
            f"  omit lowering= for im2col, which refuses nothing"
        )
    if has_slices(g):
        raise PlanError(
            f"draw: {lowering} is drawn where it tiles every axis\n  {g}: one axis is cut into slices\n"
            f"  omit lowering= for im2col"
        )
    return way


def _tiles(plan: Plan, way: WayCost, arrays: tuple[Any, Any], theme: Theme) -> TilePicture:
    g = plan.problem.geometry
    scene = TileScene(g, tile_of(way.name), *arrays)
    phases = g.phase_count
    notes = [
        f"{way.name}: {way.flops:,} FLOP between the transforms, {g.flops:,} by the definition",
        *([f"drawn: the first of {phases} phases of the input dilation"] if phases > 1 else []),
        *_parts(g, scene.whole),
    ]
    return TilePicture(scene, theme, str(g), notes)


def require_array(call: str, problem: Problem, name: str, value: Any) -> Any:
    """An array of the plan's shape with its axes in the order (B, C, *I) or (O, C//G, *F); None stays None.

    Raises PlanError for other shapes, for numbers that are not real, and for explicitly padded inputs.
    """
    if value is None:
        return None
    array = np.asarray(value)
    shape = problem.shape(name)
    if array.shape != shape:
        raise PlanError(
            f"{call}: {name} is not the plan's\n  {name} has shape {array.shape}, the plan takes {shape}\n"
            f"  give an array of shape {shape}, or omit {name}= for digits"
        )
    if array.dtype.kind not in "biuf" and array.dtype.name != "bfloat16":
        raise PlanError(
            f"{call}: {name} does not hold real numbers\n  {name}.dtype = {array.dtype}\n"
            f"  give its real part, e.g. {name}={name}.real, or omit {name}= for digits"
        )
    layout = getattr(problem, name)
    if problem.shape(name) != layout.shape:
        raise PlanError(
            f"{call}: an input that is padded explicitly cannot be drawn with its numbers\n"
            f"  padding_mode = {problem.pad.mode if problem.pad else 'zeros'!r}, x {shape} -> {layout.shape}\n"
            f"  omit {name}= for digits"
        )
    flips = tuple(slice(None, None, -1) if axis[0].flip else slice(None) for axis in layout.axes)
    roles = [axis[-1].role for axis in layout.axes]
    groups = [axis[-1].role for axis in layout.axes if axis[0].role == "g" and axis[0].extent > 1]
    order = ["b", "c"] if name == "x" else ["o", "c"]
    spatial = sorted(role for role in roles if role[0] in "if")
    if sorted(roles) != sorted([*order, *spatial]) or groups not in ([], ["c" if name == "x" else "o"]):
        raise PlanError(
            f"{call}: arrays in this layout cannot be drawn with their numbers\n  {name} has shape {shape}\n"
            f"  omit {name}= for digits"
        )
    return array[flips].transpose([roles.index(role) for role in (*order, *spatial)]).astype(np.float64)


def _gif(
    picture: Picture | TilePicture,
    path: Path,
    scale: float,
    count: int | None,
    speed: float,
    progress: Progress | None,
) -> None:
    """All frames with one palette; where nothing moves one frame lasts."""
    story: list[Act[Any]]
    story = build_acts(picture.scene) if isinstance(picture, Picture) else [*tile_acts(picture.scene)]
    moments = list(animate(story, count, PER_SECOND / max(speed, 0.25)))
    if len(moments) > MOST_FRAMES:
        raise PlanError(
            f"draw: the animation would be too long\n  {len(moments)} frames;  at most {MOST_FRAMES}\n"
            f"  set their number, e.g. frames=200"
        )
    from PIL import Image

    still = picture.blank()
    still.shapes += picture.static()
    ground = still.fine(scale)
    palette = _palette(picture, scale)
    images: list[Image.Image] = []
    durations: list[int] = []
    for i, (moment, seconds) in enumerate(moments):
        frame = picture.blank()
        frame.shapes += picture.moving(moment)
        images.append(smooth(frame.fine(scale, ground)).quantize(palette=palette, dither=Image.Dither.NONE))
        durations.append(max(round(seconds / speed * 100), 2) * 10)
        if progress is not None:
            progress(i + 1, len(moments))
    images[0].save(
        path, "GIF", save_all=True, append_images=images[1:], duration=durations, loop=0, optimize=False, disposal=1
    )  # fmt: skip


def _palette(picture: Picture | TilePicture, scale: float) -> Image.Image:
    """256 colours: those of the finished picture, and the theme's own exactly."""
    from PIL import Image

    theme = picture.theme
    names = ("paper", "ink", "muted", "faint", "line", "accent", "result", "on_result")
    own = [channels(getattr(theme, name)) for name in names]
    flat = picture.drawing().paint(scale).quantize(256 - len(own)).getpalette() or []
    found = zip(flat[::3], flat[1::3], flat[2::3], strict=True)
    # A colour almost the theme's would take its place: Pillow looks colours up a little roughly.
    apart = [
        c for c in found if min(max(abs(a - b) for a, b in zip(c, each, strict=True)) for each in own) > 6
    ]
    palette = Image.new("P", (1, 1))
    palette.putpalette([v for colour in (*own, *apart) for v in colour])
    return palette


def _svg(picture: Picture | TilePicture, scale: float) -> str:
    """A picture as text, so many times its usual size."""
    drawing = picture.drawing()
    if scale == 1.0:
        return drawing.svg()
    w, h = f'width="{drawing.width:g}"', f'height="{drawing.height:g}"'
    scaled = f'width="{drawing.width * scale:.0f}"', f'height="{drawing.height * scale:.0f}"'
    return drawing.svg().replace(f"{w} {h} role", f"{scaled[0]} {scaled[1]} role", 1)


def _scale(picture: Picture | TilePicture, size: Any, usual: float) -> float:
    if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 100):
        raise PlanError(
            f"draw: size must be a width in pixels\n  size = {format_value(size)}\n  at least 100, e.g. size=1200"
        )
    scale = usual if size is None else size / picture.width
    pixels = picture.width * picture.height * scale**2
    if pixels > MOST_PIXELS:
        most = int(size * math.sqrt(MOST_PIXELS / pixels)) // 100 * 100 if size else 1200
        raise PlanError(
            f"draw: the picture would be too large\n  size = {size} makes {pixels / 1e6:.0f} million pixels;  "
            f"at most {MOST_PIXELS // 10**6} million\n  e.g. size={most}, or a .svg file, which is sharp at any size"
        )
    return scale


def _count(frames: Any) -> int | None:
    whole = isinstance(frames, int) and not isinstance(frames, bool)
    if frames is not None and not (whole and 2 <= frames <= MOST_FRAMES):
        raise PlanError(
            f"draw: frames must be a number of pictures\n  frames = {format_value(frames)}\n"
            f"  from 2 to {MOST_FRAMES}, e.g. frames=120"
        )
    return None if frames is None else int(frames)


def _pace(speed: Any) -> float:
    if not isinstance(speed, int | float) or isinstance(speed, bool) or not 0.1 <= speed <= 20:
        raise PlanError(
            f"draw: speed must say how many times as fast\n  speed = {format_value(speed)}\n"
            f"  from 0.1 to 20, e.g. speed=2"
        )
    return float(speed)

"""A plan as a page: one HTML file that needs no network, in which every number is recomputed as sliders move.

The modules in `web` are plain JavaScript; a template (jinja2, from the extra `page`) puts them into the file.
"""

from __future__ import annotations

import json
import math
import os
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convmat import api
from convmat.errors import PlanError, format_value
from convmat.geometry import Geometry
from convmat.lowering import find_lowering
from convmat.planner import Plan
from convmat.problem import Problem
from convmat.whole_files import replace_when_whole

from ..extras import require_module
from ..picture.draw import require_array
from ..story.costs import way_name
from ..story.example import W, X
from ..story.sample import sample_of
from ..story.tiles import has_slices
from .linker import link, read_module

if TYPE_CHECKING:
    import numpy.typing as npt

PASSES = ("forward", "input", "weight")
DRAWN = (
    "im2col", "panels", "direct", "mec", "kn2row", "pointwise", "depthwise", "winograd 2", "winograd 4", "winograd 6",
)  # fmt: skip
"""The ways that have a module in web/lowering."""

MOST_GIVEN = 50_000
"""Elements of a given array that a page carries; larger ones would make it slow to open."""


def page(
    plan: Plan,
    path: str | os.PathLike[str],
    *,
    x: Any = None,
    w: Any = None,
    title: str | None = None,
    direction: str = "forward",
    lowering: str | None = None,
    theme: str | None = None,
) -> Path:
    """Write a plan's convolution as a page to step through: path ends in .html.

    `x` and `w` are arrays to take the numbers from, of the plan's shapes; without them small digits stand in.
    `direction` and `lowering` say what it opens with: "forward", "input" or "weight", and a lowering's name (the
    plan's own without it). `theme` is "light" or "dark"; without it the reader's system decides. Returns the path.
    Raises PlanError.

    >>> import convmat, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = page(convmat.plan((1, 3, 3, 3), (1, 3, 2, 2)), f"{folder}/layer.html")
    ...     "https://" in path.read_text()
    False
    """
    target = Path(path)
    if target.suffix.lower() not in (".html", ".htm"):
        raise PlanError(
            f"page: the name does not say that it is a page\n  path = {str(path)!r} ends in {target.suffix!r}\n"
            f"  e.g. {str(target.with_suffix('.html'))!r}"
        )
    text = html(plan, x=x, w=w, title=title, direction=direction, lowering=lowering, theme=theme)
    with replace_when_whole(target, "page") as part:
        part.write_text(text, encoding="utf-8")
    return target


def page_example(
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
    direction: str = "forward",
    lowering: str | None = None,
    theme: str | None = None,
) -> Path:
    """Write the worked example, input 3x3x3 and kernel 3x2x2, with its own numbers; the keywords are those of `page`.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page_example(f"{folder}/example.html").name
    'example.html'
    """
    plan = api.plan((1, *X.shape), (1, *W.shape), dtype=X.dtype)
    return page(
        plan,
        path,
        x=X[None],
        w=W[None],
        title=title,
        direction=direction,
        lowering=lowering or "im2col",
        theme=theme,
    )


def html(
    plan: Plan,
    *,
    x: Any = None,
    w: Any = None,
    title: str | None = None,
    direction: str = "forward",
    lowering: str | None = None,
    theme: str | None = None,
) -> str:
    """The page as text; the keywords are those of `page`."""
    problem, g = plan.problem, plan.problem.geometry
    _one_of("direction", direction, PASSES)
    if lowering is not None:
        _one_of("lowering", lowering, DRAWN)
    if theme is not None:
        _one_of("theme", theme, ("light", "dark"))
    require_module("jinja2", "page", "a page")
    sample_of(g)
    config = {
        "geometry": geometry_fields(g),
        "pass": direction,
        "way": lowering or _choose_way(plan, direction),
        "panel": max(min(math.prod(g.P) // 2, 4), 1),
        "itemsize": plan.itemsize,
        "given": {
            name: _flat(name, require_array("page", problem, name, value))
            for name, value in (("x", x), ("w", w))
            if value is not None
        },
    }
    import jinja2

    from convmat import __version__

    template = jinja2.Environment(autoescape=True).from_string(read_module("page.html.jinja"))
    made: str = template.render(
        title=title or "Convolution is one matrix product",
        config=_inside_script(json.dumps(config)),
        style=read_module("style.css"),
        script=link(),
        report=str(plan),
        version=__version__,
        theme=theme,
    )
    return made


def _choose_way(plan: Plan, direction: str) -> str:
    """The way that the plan chose, where the page has it for that direction; otherwise im2col."""
    name, g = way_name(plan.chosen.lowering, plan.chosen.packing), plan.problem.geometry
    if name not in DRAWN:
        return "im2col"
    if not name.startswith("winograd"):
        return name
    # By tiles a gradient is a convolution of its own.
    own = {"forward": g, "input": g.grad_input(), "weight": g.grad_weight()}[direction]
    drawn = find_lowering(name).refuses(Problem.of(own)) is None and not has_slices(own)
    return name if drawn else "im2col"


def notebook(plan: Plan) -> str:
    """What a notebook shows of a plan: the page in a frame, or the plan as text where jinja2 is missing.

    >>> import convmat
    >>> notebook(convmat.plan((1, 3, 3, 3), (1, 3, 2, 2)))[:7]
    '<iframe'
    """
    try:
        text = html(plan)
    except PlanError as error:
        return f"<pre>{escape(str(plan))}</pre><p>{escape(str(error)).replace(chr(10), '<br>')}</p>"
    return (
        f'<iframe srcdoc="{escape(text)}" title="{escape(str(plan.problem.geometry))}" '
        'style="width: 100%; height: 880px; border: 1px solid #8884; border-radius: 8px"></iframe>'
    )


def geometry_fields(g: Geometry) -> dict[str, Any]:
    """The fields of a geometry, as the page reads them."""
    names = ("B", "C", "O", "G", "I", "F", "s", "d", "lo", "hi", "e")
    return {name: getattr(g, name) for name in names}


def _flat(name: str, array: npt.NDArray[Any]) -> list[float]:
    if array.size > MOST_GIVEN:
        raise PlanError(
            f"page: {name} is too large to put into a page\n"
            f"  {name} has {array.size:,} elements;  at most {MOST_GIVEN:,}\n"
            f"  omit {name}=: digits stand in for it"
        )
    return [int(v) if float(v).is_integer() else float(v) for v in array.ravel()]


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in allowed:
        raise PlanError(
            f"page: unknown {name}\n  {name} = {format_value(value)}\n  one of {', '.join(map(repr, allowed))}"
        )


def _inside_script(text: str) -> str:
    """JSON that cannot end the script it stands in."""
    return text.replace("<", "\\u003c")

"""What a Plan shows of itself beside its text: pictures, animations, pages.

They are made in a room far above this one. The planner does not know it: it is served at a door (`convmat.doors`), and
looked for when a plan is first asked to show itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, overload

from ..doors import open_room

DOOR = "plans shown"
"""Behind it is what has `draw`, `picture`, `page` and `notebook`, plan first."""


class Svg(str):
    """A picture as SVG text; a notebook's cell shows it.

    >>> Svg("<svg></svg>")._repr_svg_()
    '<svg></svg>'
    """

    def _repr_svg_(self) -> str:
        return str(self)


class Presentable:
    """A plan's methods that need a presenter."""

    @overload
    def draw(
        self,
        path: None = None,
        *,
        x: Any = None,
        w: Any = None,
        dark: bool = False,
        size: int | None = None,
        lowering: str = "im2col",
    ) -> Svg: ...

    @overload
    def draw(
        self,
        path: str | os.PathLike[str],
        *,
        x: Any = None,
        w: Any = None,
        dark: bool = False,
        size: int | None = None,
        frames: int | None = None,
        speed: float = 1.0,
        lowering: str = "im2col",
        progress: Callable[[int, int], None] | None = None,
    ) -> Path: ...

    def draw(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        x: Any = None,
        w: Any = None,
        dark: bool = False,
        size: int | None = None,
        frames: int | None = None,
        speed: float = 1.0,
        lowering: str = "im2col",
        progress: Callable[[int, int], None] | None = None,
    ) -> Path | Svg:
        """Draw the convolution as one matrix product: path ends in .svg, .png or, for the animation, .gif.

        Without a path: the picture itself, which a notebook shows. `x` and `w` are arrays to take the numbers from;
        without them small digits stand in. `size` is the width in pixels, `dark` a dark ground; `frames` and `speed`
        are the animation's, and `progress(done, all)` is called after each frame. Large layers are drawn as a sample,
        with true sizes and sums. `lowering` "winograd 2", "winograd 4" or "winograd 6" draws tiles, their transforms
        and the products between. Raises PlanError.

        >>> import convmat, tempfile
        >>> plan = convmat.plan((1, 3, 5, 5), (4, 3, 3, 3))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     plan.draw(f"{folder}/layer.svg").name
        'layer.svg'
        >>> plan.draw(dark=True)[:4]
        '<svg'
        """
        if path is None:
            text: str = open_room(DOOR).picture(
                self, x=x, w=w, dark=dark, size=size, frames=frames, lowering=lowering
            )
            return Svg(text)
        made: Path = open_room(DOOR).draw(
            self, path, x=x, w=w, dark=dark, size=size, frames=frames, speed=speed, lowering=lowering,
            progress=progress,
        )  # fmt: skip
        return made

    def page(
        self,
        path: str | os.PathLike[str],
        *,
        x: Any = None,
        w: Any = None,
        title: str | None = None,
        direction: str = "forward",
        lowering: str | None = None,
        theme: str | None = None,
    ) -> Path:
        """Write a page to step through the convolution: one HTML file that needs no network.

        `x` and `w` are as for `draw`. `direction` ("forward", "input", "weight") and `lowering` say what the page
        opens with, `theme` ("light", "dark") how it looks where the reader's system shall not decide. Needs jinja2,
        from the extra `page`. Raises PlanError.

        >>> import convmat, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     convmat.plan((1, 3, 5, 5), (4, 3, 3, 3)).page(f"{folder}/layer.html").name
        'layer.html'
        """
        made: Path = open_room(DOOR).page(
            self, path, x=x, w=w, title=title, direction=direction, lowering=lowering, theme=theme
        )
        return made

    def _repr_html_(self) -> str:
        """A notebook's cell shows the page in a frame."""
        made: str = open_room(DOOR).notebook(self)
        return made

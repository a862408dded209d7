"""A plan as picture, animation and page: how any convolution becomes one matrix product.

    draw(plan, "layer.svg")     the picture; .png for pixels, .gif for the animation
    page(plan, "layer.html")    one self-contained page to step through

Both are methods of a Plan too.
"""

from __future__ import annotations

from .picture.draw import draw, picture
from .webpage.page import notebook, page

__all__ = ["draw", "notebook", "page", "picture"]
